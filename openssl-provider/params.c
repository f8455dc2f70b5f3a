/* SPDX-License-Identifier: Apache-2.0 */
/* The provider's section of openssl.cnf: kyok's own parameters, and pkcs11-provider's by their
 * names, so that moving there and back is a change of the module's path. */
#include "common/config/provider_parameters.h"
#include "openssl-provider/provider.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Each setter gets the text of a parameter that is present; false: *settings has an unusable value,
 * said in settings->invalid. */
typedef bool setter(struct kp_settings *settings, const char *name, const char *value);

static bool refuse(struct kp_settings *settings, const char *name, const char *value,
                   const char *expected)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};

    if (settings->invalid == NULL &&
        kyok_buffer_printf(&text, "%s = %s: expected %s", name, value, expected))
        settings->invalid = strndup((const char *)text.data, text.size);
    return false;
}

static bool set_text(char **field, const char *value)
{
    free(*field);
    *field = strdup(value);
    return *field != NULL;
}

static bool read_bool(struct kp_settings *settings, const char *name, const char *value,
                      bool *field)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},   {"1", true},
                 {"no", false}, {"false", false}, {"off", false}, {"0", false}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(value, words[i].word) == 0) {
            *field = words[i].value;
            return true;
        }
    }
    return refuse(settings, name, value, "yes or no");
}

static bool set_config(struct kp_settings *settings, const char *name, const char *value)
{
    (void)name;
    return set_text(&settings->config, value);
}

static bool set_timeout(struct kp_settings *settings, const char *name, const char *value)
{
    char *end;
    unsigned long number, unit;

    errno = 0;
    number = strtoul(value, &end, 10);
    unit = strcmp(end, "ms") == 0 ? 1 : 1000;
    if (errno != 0 || *value < '0' || *value > '9' || number == 0 || number > 3600000 / unit ||
        (*end != '\0' && strcmp(end, "ms") != 0 && strcmp(end, "s") != 0))
        return refuse(settings, name, value, "a number of seconds, or one with the unit s or ms");
    settings->timeout_ms = (unsigned)(number * unit);
    return true;
}

#define BOOLEAN_SETTER(field)                                                                      \
    static bool set_##field(struct kp_settings *settings, const char *name, const char *value)     \
    {                                                                                              \
        return read_bool(settings, name, value, &settings->field);                                 \
    }
BOOLEAN_SETTER(kmip)
BOOLEAN_SETTER(implicit_rejection)
BOOLEAN_SETTER(with_public)
BOOLEAN_SETTER(encode_references)
BOOLEAN_SETTER(assume_fips)

static bool set_isolate(struct kp_settings *settings, const char *name, const char *value)
{
    settings->isolate_given = true;
    return read_bool(settings, name, value, &settings->isolate);
}

/* pkcs11-provider's default is true. */
static bool set_cache_keys(struct kp_settings *settings, const char *name, const char *value)
{
    bool cache = false;

    settings->cache_keys_given = true;
    if (!read_bool(settings, name, value, &cache))
        return false;
    settings->cache_keys_ms = cache ? KYOK_CACHE_KEYS_MS : 0;
    return true;
}

/* yes (the first token group of kyok.conf), no, or a group's name. */
static bool set_rand(struct kp_settings *settings, const char *name, const char *value)
{
    (void)name;
    settings->rand = strcasecmp(value, "no") != 0;
    return strcasecmp(value, "yes") == 0 || !settings->rand ||
           set_text(&settings->rand_group, value);
}

static bool set_module(struct kp_settings *settings, const char *name, const char *value)
{
    (void)name;
    return set_text(&settings->module, value);
}

static bool set_init_args(struct kp_settings *settings, const char *name, const char *value)
{
    (void)name;
    return set_text(&settings->init_args, value);
}

/* pkcs11-provider takes "file:PATH", and anything else for the PIN itself. */
static bool set_token_pin(struct kp_settings *settings, const char *name, const char *value)
{
    (void)name;
    if (strncmp(value, "file:", 5) == 0 || strncmp(value, "credential:", 11) == 0 ||
        strncmp(value, "fd:", 3) == 0 || *value == '/')
        return set_text(&settings->pin_source, value);
    kyok_secret_free(settings->pin);
    settings->pin = kyok_secret_copy(kyok_bytes_of_text(value));
    return settings->pin != NULL;
}

static bool set_login(struct kp_settings *settings, const char *name, const char *value)
{
    static const char *const words[] = {"auto", "always", "never"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(value, words[i]) == 0) {
            settings->login = (enum kp_login)i;
            return true;
        }
    }
    return refuse(settings, name, value, "auto, always or never");
}

/* 0 allows the export of public keys, 1 forbids it. */
static bool set_allow_export(struct kp_settings *settings, const char *name, const char *value)
{
    if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return refuse(settings, name, value, "0 (export of public keys allowed) or 1 (forbidden)");
    settings->allow_export = *value == '0';
    return true;
}

static bool set_blocked(struct kp_settings *settings, const char *name, const char *value)
{
    static const struct {
        const char *word;
        int operation;
    } words[] = {
        {"digest", OSSL_OP_DIGEST},   {"cipher", OSSL_OP_CIPHER},
        {"mac", OSSL_OP_MAC},         {"kdf", OSSL_OP_KDF},
        {"rand", OSSL_OP_RAND},       {"keymgmt", OSSL_OP_KEYMGMT},
        {"keyexch", OSSL_OP_KEYEXCH}, {"signature", OSSL_OP_SIGNATURE},
        {"kem", OSSL_OP_KEM},         {"asym-cipher", OSSL_OP_ASYM_CIPHER},
        {"encoder", OSSL_OP_ENCODER}, {"decoder", OSSL_OP_DECODER},
        {"store", OSSL_OP_STORE},     {"skeymgmt", 0},
    };
    size_t length, i;

    for (; *value != '\0'; value += length + strspn(value + length, " ,")) {
        length = strcspn(value, " ,");
        for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (strlen(words[i].word) == length && strncmp(value, words[i].word, length) == 0)
                break;
        }
        if (i == sizeof(words) / sizeof(words[0]))
            return refuse(settings, name, value,
                          "names of operations (keymgmt, signature, asym-cipher, keyexch, encoder, "
                          "decoder, store, rand)");
        settings->blocked |= 1u << words[i].operation;
    }
    return true;
}

/* Known and harmless: kyok has nothing that the parameter would change. */
static bool set_nothing(struct kp_settings *settings, const char *name, const char *value)
{
    (void)settings;
    (void)name;
    (void)value;
    return true;
}

#define ROW(name, what) {name, set_##what},
static const struct {
    const char *name;
    setter *set;
} parameters[] = {KYOK_PROVIDER_PARAMETERS(ROW)};
#undef ROW
#define PARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

static bool read_section(struct kp_provider *provider, char **values)
{
    OSSL_PARAM request[PARAMETERS + 1];

    for (size_t i = 0; i < PARAMETERS; i++)
        request[i] = OSSL_PARAM_construct_utf8_ptr(parameters[i].name, &values[i], 0);
    request[PARAMETERS] = OSSL_PARAM_construct_end();
    return provider->get_params(provider->core, request) == 1;
}

/* A wrong value must not keep programs that use no key from starting: it is told at first use. */
int kp_settings_read(struct kp_provider *provider)
{
    struct kp_settings *settings = &provider->settings;
    char *values[PARAMETERS] = {NULL};
    const char *module = secure_getenv("PKCS11_PROVIDER_MODULE");

    settings->kmip = true;
    settings->implicit_rejection = true;
    settings->encode_references = true;
    settings->allow_export = true;
    if (!read_section(provider, values))
        return 0;
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (values[i] != NULL && !parameters[i].set(settings, parameters[i].name, values[i]) &&
            settings->invalid == NULL)
            return 0;
    }
    /* As with pkcs11-provider, the environment wins over the section. */
    return module == NULL || set_text(&settings->module, module);
}

void kp_settings_free(struct kp_settings *settings)
{
    free(settings->config);
    free(settings->rand_group);
    free(settings->module);
    free(settings->init_args);
    free(settings->pin_source);
    free(settings->invalid);
    kyok_secret_free(settings->pin);
}

/* --- the context ----------------------------------------------------------------------------- */

static enum kyok_status add_module(struct kp_provider *provider, struct kyok_config *config,
                                   struct kyok_error *err)
{
    struct kp_settings *settings = &provider->settings;
    char any[] = "pkcs11:";
    char *uris[] = {any};
    struct kyok_token_config token = {.name = provider->name,
                                      .where = provider->name,
                                      .module = settings->module,
                                      .uris = uris,
                                      .uri_count = 1,
                                      .pin_source = settings->pin_source,
                                      .pin = settings->pin,
                                      .timeout_ms = KYOK_DEFAULT_TIMEOUT_MS,
                                      .init_args = settings->init_args};

    return settings->module == NULL ? KYOK_OK : kyok_config_add_token(config, &token, err);
}

/* What the section says of every group, whoever defines it. */
static void override_groups(const struct kp_settings *settings, struct kyok_config *config)
{
    for (size_t i = 0; settings->timeout_ms != 0 && i < config->token_count; i++)
        config->tokens[i].timeout_ms = settings->timeout_ms;
    for (size_t i = 0; settings->timeout_ms != 0 && i < config->kmip_count; i++)
        config->kmips[i].timeout_ms = settings->timeout_ms;
    for (size_t i = 0; settings->isolate_given && i < config->token_count; i++)
        config->tokens[i].isolate = settings->isolate;
    for (size_t i = 0; settings->cache_keys_given && i < config->token_count; i++)
        config->tokens[i].cache_keys_ms = settings->cache_keys_ms;
    config->reference_timeout_ms = settings->timeout_ms;
    config->reference_isolate = settings->isolate;
    config->reference_cache_keys_ms = settings->cache_keys_ms;
}

static enum kyok_status make_context(struct kp_provider *provider, struct kyok_context **context,
                                     struct kyok_error *err)
{
    const struct kp_settings *settings = &provider->settings;
    struct kyok_config *config = NULL;
    enum kyok_status status;

    if (settings->invalid != NULL)
        return kyok_fail(err, KYOK_INVALID, provider->name, "openssl.cnf has %s",
                         settings->invalid);
    KYOK_TRY(kyok_config_load(settings->config, &config, err));
    status = add_module(provider, config, err);
    if (status != KYOK_OK) {
        kyok_config_free(config);
        return status;
    }
    override_groups(settings, config);
    return kyok_context_new(config, context, err);
}

/* Without a lock, which a fork could leave held: threads that race make two and drop one. */
struct kyok_context *kp_context(struct kp_provider *provider)
{
    struct kyok_context *expected = NULL, *context = atomic_load(&provider->context);
    struct kyok_error err = {0};

    if (provider->settings.config == NULL && provider->settings.module == NULL &&
        kyok_context_host() != NULL)
        return kyok_context_host();
    if (context != NULL)
        return context;
    if (!kp_default_present(provider))
        return NULL;
    if (make_context(provider, &context, &err) != KYOK_OK) {
        kp_raise_error(provider, &err);
        return NULL;
    }
    if (atomic_compare_exchange_strong(&provider->context, &expected, context))
        return context;
    kyok_context_free(context);
    return expected;
}
