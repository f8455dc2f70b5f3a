/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a token really does, not what its list of mechanisms says: each is tried with keys that live
 * for the session only. For setup, in a process of its own; it logs in once.
 */
#ifndef KYOK_PKCS11_TRIAL_H
#define KYOK_PKCS11_TRIAL_H

#include "common/base/base.h"

/* word: as in probe.h ("rsa-pss"), or "rsa-oaep-sha256" and "rsa-oaep-sha1"; answer: "CKR_OK", or
 * the CK_RV by name. */
typedef void kyok_trial_visitor(void *caller, const char *word, const char *answer);

/* Loads the module at path, logs in to the first token with this label, tries. Nothing is left in
 * the token. KYOK_PIN when the login fails. */
enum kyok_status kyok_trial_run(const char *path, const char *label, struct kyok_bytes pin,
                                kyok_trial_visitor *visit, void *caller, struct kyok_error *err);

#endif
