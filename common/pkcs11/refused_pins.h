/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to pkcs11/: PINs that a token has refused, so that none is tried twice: neither by this
 * process nor by those that are forked from it, before or after. A PIN is not kept, only a keyed
 * mark of it.
 */
#ifndef KYOK_PKCS11_REFUSED_PINS_H
#define KYOK_PKCS11_REFUSED_PINS_H

#include "common/base/base.h"

struct kyok_refused_pins;

struct kyok_refused_pins *kyok_refused_pins_new(void); /* NULL: no memory */
void kyok_refused_pins_free(struct kyok_refused_pins *pins);

/* serial and label name the token. */
bool kyok_refused_pins_have(struct kyok_refused_pins *pins, const char *serial, const char *label,
                            const struct kyok_secret *pin);
void kyok_refused_pins_add(struct kyok_refused_pins *pins, const char *serial, const char *label,
                           const struct kyok_secret *pin);

/* One of these processes at a time tries a PIN at a token, so that the others know what became of
 * it. NULL: a login there has not ended for a while (it may hang), and is not waited for. */
struct kyok_pin_turn;
struct kyok_pin_turn *kyok_refused_pins_enter(struct kyok_refused_pins *pins, const char *serial,
                                              const char *label, struct kyok_deadline deadline);
void kyok_refused_pins_leave(struct kyok_pin_turn *turn); /* NULL is allowed */

#endif
