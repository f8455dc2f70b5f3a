/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/live.h"
#include "common/pkcs11/refused_pins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A member's own pin-source (a group of several vendors) goes before the section's. */
static const char *pin_source(const struct kyok_group *group, const struct kyok_token *token)
{
    const struct kyok_reference *uri = kyok_group_uri_of(group, token);

    return uri != NULL && uri->pin_source != NULL ? uri->pin_source : group->config->pin_source;
}

static const char *source_text(const struct kyok_group *group, const struct kyok_token *token)
{
    const char *source = pin_source(group, token);

    if (group->pin != NULL)
        return group->config->pin != NULL ? "pkcs11-module-token-pin in openssl.cnf"
                                          : "the reference's pin-value";
    return source == NULL ? "no PIN source" : source;
}

/* Else it was the token's state that refused (locked, not initialised, somebody else's login): that
 * passes, and the PIN may well be right. */
static bool tells_a_wrong_pin(CK_RV rv)
{
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE ||
           rv == CKR_PIN_EXPIRED;
}

static bool was_refused(struct kyok_group *group, const struct kyok_token *token,
                        const struct kyok_secret *pin)
{
    return kyok_refused_pins_have(group->refused, token->serial, token->label, pin);
}

/* --- one login --- */

static enum kyok_status get_pin(struct kyok_group *group, const struct kyok_token *token,
                                const char *text, struct kyok_secret **pin, struct kyok_error *err)
{
    const char *source = pin_source(group, token);
    struct kyok_error ignored;

    if (group->pin != NULL) {
        *pin = kyok_secret_copy(kyok_secret_bytes(group->pin));
        return *pin != NULL ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, text, "no memory");
    }
    if (source == NULL) {
        kyok_fail(err, KYOK_PIN, text, "a login is needed and no PIN source is configured");
        return kyok_remedy(err, "set pin-source in [token %s]", group->config->name);
    }
    KYOK_TRY(kyok_pin_source_read(source, pin, err));
    /* For a worker of this process that may not read the source any more. */
    (void)kyok_pin_source_keep(source, &ignored);
    return KYOK_OK;
}

/* What makes a corrected PIN count in this process. */
static const char *then_what(const struct kyok_group *group, const struct kyok_token *token)
{
    const char *source = pin_source(group, token);

    return group->pin == NULL && source != NULL && kyok_pin_source_only_kept(source)
               ? ", then reload this program: it cannot read the PIN source itself, and has the "
                 "value that it was handed"
               : "";
}

static enum kyok_status refused(struct kyok_group *group, const struct kyok_token *token,
                                const char *text, const struct kyok_secret *pin, CK_RV rv,
                                struct kyok_error *err)
{
    kyok_rv_fail(err, rv, text, "login refused");
    if (err->status == KYOK_PIN) {
        snprintf(err->what, sizeof(err->what), "login refused; the PIN came from %s",
                 source_text(group, token));
        if (pin != NULL && tells_a_wrong_pin(rv))
            kyok_refused_pins_add(group->refused, token->serial, token->label, pin);
        if (err->remedy[0] == '\0' && tells_a_wrong_pin(rv))
            kyok_remedy(err, "correct it there%s: it is not tried again until it changes",
                        then_what(group, token));
    }
    return err->status;
}

static enum kyok_status refuse_again(struct kyok_group *group, const struct kyok_token *token,
                                     const char *text, struct kyok_error *err)
{
    kyok_fail(err, KYOK_PIN, text, "the PIN from %s was refused before and is not tried again",
              source_text(group, token));
    return kyok_remedy(err, "correct it there%s", then_what(group, token));
}

static enum kyok_status refuse_last_try(struct kyok_group *group, const struct kyok_token *token,
                                        const char *text, struct kyok_error *err)
{
    kyok_fail(err, KYOK_PIN, text, "only one try is left before the PIN locks; not using it");
    return kyok_remedy(err, "log in once with the vendor's tool and the PIN in %s",
                       source_text(group, token));
}

/* What the token says of its PIN now; what the scan has just read for a new process is as good. */
static CK_RV pin_flags(const struct kyok_lease *lease, CK_FLAGS *flags)
{
    struct kyok_token *token = lease->token;
    CK_TOKEN_INFO info;
    CK_RV rv = CKR_OK;
    bool fresh;

    pthread_mutex_lock(&token->module->lock);
    fresh = token->logins == 1 && kyok_now_ns() - token->flags_ns < KYOK_DISCOVER_NS;
    *flags = token->flags;
    pthread_mutex_unlock(&token->module->lock);
    if (!fresh) {
        rv = lease->f->C_GetTokenInfo(token->slot, &info);
        *flags = info.flags;
    }
    return rv;
}

static enum kyok_status try_pin(struct kyok_lease *lease, struct kyok_group *group,
                                const char *text, CK_RV *rv, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *pin = NULL;
    const struct kyok_token *token = lease->token;
    CK_FLAGS flags;

    *rv = pin_flags(lease, &flags);
    if (*rv != CKR_OK)
        return kyok_rv_fail(err, *rv, text, "C_GetTokenInfo failed");
    if (!(flags & CKF_LOGIN_REQUIRED))
        return KYOK_OK;
    if (flags & CKF_USER_PIN_LOCKED)
        return refused(group, lease->token, text, NULL, CKR_PIN_LOCKED, err);
    if (!(flags & CKF_PROTECTED_AUTHENTICATION_PATH) || group->pin != NULL ||
        pin_source(group, token) != NULL) {
        KYOK_TRY(get_pin(group, token, text, &pin, err));
        if (was_refused(group, token, pin))
            return refuse_again(group, token, text, err);
        if (flags & CKF_USER_PIN_FINAL_TRY)
            return refuse_last_try(group, token, text, err);
    }
    *rv = lease->f->C_Login(lease->handle, CKU_USER, pin == NULL ? NULL : kyok_secret_data(pin),
                            pin == NULL ? 0 : kyok_secret_size(pin));
    if (*rv == CKR_USER_ALREADY_LOGGED_IN)
        *rv = CKR_OK;
    return *rv == CKR_OK ? KYOK_OK : refused(group, lease->token, text, pin, *rv, err);
}

/* A wrong PIN is one try of the token's few, not one for each worker of a server. */
static enum kyok_status try_pin_in_turn(struct kyok_lease *lease, struct kyok_group *group,
                                        const char *text, struct kyok_deadline deadline, CK_RV *rv,
                                        struct kyok_error *err)
{
    const struct kyok_token *token = lease->token;
    struct kyok_pin_turn *turn =
        kyok_refused_pins_enter(group->refused, token->serial, token->label, deadline);
    enum kyok_status status = try_pin(lease, group, text, rv, err);

    kyok_refused_pins_leave(turn);
    return status;
}

static void tell(const struct kyok_group *group, const char *text, enum kyok_status status,
                 const struct kyok_error *err)
{
    struct kyok_event event = {.type = "login",
                               .custodian = group->config->name,
                               .result = kyok_status_name(status),
                               .detail = status == KYOK_OK ? text : err->what};

    kyok_event_emit(&event);
}

enum kyok_status kyok_token_login(struct kyok_lease *lease, struct kyok_group *group,
                                  struct kyok_deadline deadline, CK_RV *rv, struct kyok_error *err)
{
    struct kyok_token *token = lease->token;
    enum kyok_status status;
    uint64_t epoch = token->epoch;
    bool waited = true;
    char text[128];

    kyok_token_text(token, text, sizeof(text));
    while (token->login == KYOK_LOGGING_IN && waited)
        waited = kyok_module_wait(token->module, &token->changed, deadline);
    if (token->epoch != epoch) { /* renewed while this thread waited: its session is gone too */
        *rv = CKR_SESSION_HANDLE_INVALID;
        return kyok_rv_fail(err, *rv, text, "cannot log in");
    }
    if (token->login == KYOK_LOGGED_IN)
        return KYOK_OK;
    if (!waited)
        return kyok_fail(err, KYOK_TIMEOUT, text, "another thread's login does not end");
    token->login = KYOK_LOGGING_IN;
    token->logins++;
    pthread_mutex_unlock(&token->module->lock);
    status = try_pin_in_turn(lease, group, text, deadline, rv, err);
    tell(group, text, status, err);
    pthread_mutex_lock(&token->module->lock);
    /* A renewal in the meantime has made this login void. */
    if (token->epoch == epoch)
        token->login = status == KYOK_OK ? KYOK_LOGGED_IN : KYOK_LOGGED_OUT;
    pthread_cond_broadcast(&token->changed);
    return status;
}

CK_RV kyok_session_sees_all(const struct kyok_lease *lease)
{
    CK_SESSION_INFO info;
    CK_RV rv = lease->f->C_GetSessionInfo(lease->handle, &info);

    if (rv != CKR_OK || !(lease->token->flags & CKF_LOGIN_REQUIRED))
        return rv;
    return info.state == CKS_RO_PUBLIC_SESSION || info.state == CKS_RW_PUBLIC_SESSION
               ? CKR_USER_NOT_LOGGED_IN
               : CKR_OK;
}

CK_RV kyok_context_login(const struct kyok_lease *lease, struct kyok_group *group,
                         struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *pin = NULL;
    const struct kyok_token *token = lease->token;
    char text[128];
    CK_RV rv;

    kyok_token_text(token, text, sizeof(text));
    if (!(token->flags & CKF_PROTECTED_AUTHENTICATION_PATH)) {
        if (get_pin(group, token, text, &pin, err) != KYOK_OK)
            return CKR_PIN_INCORRECT;
        if (was_refused(group, token, pin)) {
            refuse_again(group, token, text, err);
            return CKR_PIN_INCORRECT;
        }
    }
    rv = lease->f->C_Login(lease->handle, CKU_CONTEXT_SPECIFIC,
                           pin == NULL ? NULL : kyok_secret_data(pin),
                           pin == NULL ? 0 : kyok_secret_size(pin));
    /* The PIN may have been changed since the session's login: each operation would burn a try. */
    if (kyok_rv_status(rv) == KYOK_PIN)
        refused(group, token, text, pin, rv, err);
    return rv;
}
