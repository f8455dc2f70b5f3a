/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PKCS#11 module and its tokens say of themselves, without a login. For setup and doctor,
 * which call it in a process of its own: a module may hang, or take the process down.
 */
#ifndef KYOK_PKCS11_PROBE_H
#define KYOK_PKCS11_PROBE_H

#include "common/base/base.h"

/* Texts are trimmed copies that live until the visitor returns. */
struct kyok_probed_token {
    unsigned long slot;
    char label[33], manufacturer[33], model[17], serial[17];
    char slot_description[65], slot_manufacturer[33];
    bool initialised, login_required, protected_path;
    bool user_pin_set, pin_count_low, pin_final_try, pin_locked;
    unsigned long most_sessions; /* 0: no limit, or not said */
    const char *const
        *mechanisms; /* what kyok uses and the token has, by kyok's words; NULL ends */
};

struct kyok_probed_module {
    char manufacturer[33], description[33];
    unsigned version_major, version_minor;   /* of the library */
    unsigned cryptoki_major, cryptoki_minor; /* of the interface */
};

typedef void kyok_probe_visitor(void *caller, const struct kyok_probed_token *token);

/* Loads, initialises and finalises the module at path (unless this process had initialised it
 * before). Not for use in a process that uses keys. */
enum kyok_status kyok_probe_module(const char *path, struct kyok_probed_module *module,
                                   kyok_probe_visitor *visit, void *caller, struct kyok_error *err);

/* The modules that p11-kit is configured with (it loads them to say so). */
typedef void kyok_probe_name_visitor(void *caller, const char *name, const char *path);
enum kyok_status kyok_probe_configured(kyok_probe_name_visitor *visit, void *caller,
                                       struct kyok_error *err);

#endif
