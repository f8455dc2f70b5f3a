/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config/settings.h"

#include "common/config/pin_source.h"
#include "common/config/reference.h"
#include "common/config/text.h"

#include <stdlib.h>
#include <string.h>

static enum kyok_status expected(struct kyok_error *err, const char *value, const char *what)
{
    kyok_fail(err, KYOK_INVALID, NULL, "\"%s\" is not what is expected here",
              kyok_text_quote(kyok_bytes_of_text(value)).text);
    return kyok_remedy(err, "expected %s", what);
}

static enum kyok_status set_text(void *field, const char *value, struct kyok_error *err)
{
    char **text = field;
    *text = strdup(value);
    return *text != NULL ? KYOK_OK : kyok_text_no_memory(err);
}

/* What a relative path means would depend on the program that reads it. */
static enum kyok_status set_path(void *field, const char *value, struct kyok_error *err)
{
    if (value[0] != '/')
        return expected(err, value, "an absolute path");
    return set_text(field, value, err);
}

static enum kyok_status set_pin_source(void *field, const char *value, struct kyok_error *err)
{
    KYOK_TRY(kyok_pin_source_check(value, err));
    return set_text(field, value, err);
}

static enum kyok_status set_boolean(void *field, const char *value, struct kyok_error *err)
{
    bool *flag = field;
    *flag = strcmp(value, "yes") == 0;
    if (!*flag && strcmp(value, "no") != 0)
        return expected(err, value, "yes or no");
    return KYOK_OK;
}

static enum kyok_status set_sessions(void *field, const char *value, struct kyok_error *err)
{
    uint64_t number = 0;
    if (!kyok_text_number(kyok_bytes_of_text(value), KYOK_CONF_MAX_SESSIONS, &number) ||
        number == 0)
        return expected(err, value, "a number of sessions, 1 to 4096");
    *(unsigned *)field = (unsigned)number;
    return KYOK_OK;
}

/* 1 ms to most_ms, as "10", "10s" or "500ms". */
static bool read_time(const char *value, uint64_t most_ms, unsigned *time_ms)
{
    size_t digits = strspn(value, "0123456789");
    const char *unit = value + digits;
    uint64_t number = 0;
    bool milliseconds = strcmp(unit, "ms") == 0;
    bool good = kyok_text_number(kyok_bytes(value, digits), most_ms, &number) &&
                (milliseconds || strcmp(unit, "s") == 0 || unit[0] == '\0');
    number = milliseconds ? number : number * 1000;
    if (!good || number == 0 || number > most_ms)
        return false;
    *time_ms = (unsigned)number;
    return true;
}

static enum kyok_status set_timeout(void *field, const char *value, struct kyok_error *err)
{
    if (!read_time(value, KYOK_CONF_MAX_TIMEOUT_MS, field))
        return expected(err, value, "a time such as 10, 10s or 500ms, 1ms to 3600s");
    return KYOK_OK;
}

static enum kyok_status set_cache_keys(void *field, const char *value, struct kyok_error *err)
{
    *(unsigned *)field = 0;
    if (strcmp(value, "no") != 0 && !read_time(value, KYOK_CONF_MAX_CACHE_KEYS_MS, field))
        return expected(err, value, "no, or a time such as 1s or 500ms, 1ms to 60s");
    return KYOK_OK;
}

static enum kyok_status set_require(void *field, const char *value, struct kyok_error *err)
{
    static const char *const words[] = {
        [KYOK_REQUIRE_NONE] = "none",
        [KYOK_REQUIRE_NON_EXTRACTABLE] = "non-extractable",
        [KYOK_REQUIRE_NEVER_EXTRACTABLE] = "never-extractable",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(value, words[i]) == 0) {
            *(enum kyok_require *)field = (enum kyok_require)i;
            return KYOK_OK;
        }
    }
    return expected(err, value, "none, non-extractable or never-extractable");
}

/* KMIP versions that exist; 2.x is offered where the server has it. */
static enum kyok_status set_version(void *field, const char *value, struct kyok_error *err)
{
    static const char *const versions[] = {"1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1"};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (strcmp(value, versions[i]) == 0) {
            *(unsigned *)field = (unsigned)((value[0] - '0') * 10 + (value[2] - '0'));
            return KYOK_OK;
        }
    }
    return expected(err, value, "a KMIP version, 1.0 to 1.4, 2.0 or 2.1");
}

/* host:port behind kmips://; an IPv6 address stands in brackets (RFC 3986 3.2.2). */
static bool is_endpoint(const char *text)
{
    const char *port = strrchr(text, ':');
    uint64_t number = 0;
    if (port == NULL || port == text ||
        !kyok_text_number(kyok_bytes_of_text(port + 1), 65535, &number) || number == 0)
        return false;
    size_t host = (size_t)(port - text);
    if (text[0] == '[')
        return host > 2 && strspn(text + 1, "0123456789abcdefABCDEF:.") == host - 2 &&
               text[host - 1] == ']';
    return host <= 253 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789.-_") == host;
}

static enum kyok_status set_server(void *field, const char *value, struct kyok_error *err)
{
    if (strncmp(value, "kmips://", 8) != 0 || !is_endpoint(value + 8))
        return expected(err, value, "kmips://HOST:PORT");
    return set_text(field, value, err);
}

static enum kyok_status set_client_key(void *field, const char *value, struct kyok_error *err)
{
    if (!kyok_reference_is(value))
        return set_path(field, value, err);
    struct kyok_reference *reference = NULL;
    KYOK_TRY(kyok_reference_parse(value, KYOK_FROM_CONFIGURATION, NULL, &reference, err));
    enum kyok_reference_kind kind = reference->kind;
    bool pin = reference->pin_value != NULL;
    kyok_reference_free(reference);
    if (kind != KYOK_REFERENCE_PKCS11 || pin)
        return expected(err, pin ? "pin-value" : value,
                        "a PEM file, or a pkcs11: reference without pin-value");
    return set_text(field, value, err);
}

/* A member of a group: token attributes, and for groups of several vendors a module of its own. */
static enum kyok_status set_member(void *field, const char *value, struct kyok_error *err)
{
    struct kyok_reference *reference = NULL;
    if (!kyok_reference_is(value))
        return expected(err, value, "a pkcs11: URI");
    KYOK_TRY(kyok_reference_parse(value, KYOK_FROM_CONFIGURATION, NULL, &reference, err));
    bool token = reference->kind == KYOK_REFERENCE_PKCS11 && reference->group == NULL &&
                 reference->object == NULL && !reference->has_id &&
                 reference->type == KYOK_OBJECT_ANY;
    bool pin = reference->pin_value != NULL;
    kyok_reference_free(reference);
    if (pin)
        return expected(err, "pin-value", "no PIN in this file, but pin-source");
    if (!token)
        return expected(err, value, "a pkcs11: URI that names tokens, not objects or groups");
    return set_text(field, value, err);
}

/* Checked against the groups once all sections are read. */
static enum kyok_status set_key_uri(void *field, const char *value, struct kyok_error *err)
{
    if (!kyok_reference_is(value))
        return expected(err, value, "a pkcs11: or kmip: reference");
    return set_text(field, value, err);
}

#define TOKEN(field) offsetof(struct kyok_token_config, field)
#define KMIP(field) offsetof(struct kyok_kmip_config, field)
#define KEY(field) offsetof(struct kyok_named_key, field)

static const struct kyok_setting token_settings[] = {
    {"module", set_path, TOKEN(module), 0, false},
    {"uri", set_member, TOKEN(uris), TOKEN(uri_count), true},
    {"pin-source", set_pin_source, TOKEN(pin_source), 0, false},
    {"sessions", set_sessions, TOKEN(sessions), 0, false},
    {"timeout", set_timeout, TOKEN(timeout_ms), 0, false},
    {"require", set_require, TOKEN(require), 0, false},
    {"isolate", set_boolean, TOKEN(isolate), 0, false},
    {"cache-keys", set_cache_keys, TOKEN(cache_keys_ms), 0, false},
};

static const struct kyok_setting kmip_settings[] = {
    {"server", set_server, KMIP(servers), KMIP(server_count), true},
    {"ca", set_path, KMIP(ca), 0, true},
    {"certificate", set_path, KMIP(certificate), 0, true},
    {"key", set_client_key, KMIP(key), 0, true},
    {"crl", set_path, KMIP(crl), 0, false},
    {"timeout", set_timeout, KMIP(timeout_ms), 0, false},
    {"version", set_version, KMIP(version), 0, false},
    {"release", set_boolean, KMIP(release), 0, false},
    {"require", set_require, KMIP(require), 0, false},
};

static const struct kyok_setting key_settings[] = {
    {"uri", set_key_uri, KEY(uri), 0, true},
};

#define SECTION(word, settings)                                                                    \
    {                                                                                              \
        word, settings, sizeof(settings) / sizeof(settings[0])                                     \
    }

const struct kyok_section kyok_sections[KYOK_SECTION_KINDS] = {
    [KYOK_SECTION_TOKEN] = SECTION("token", token_settings),
    [KYOK_SECTION_KMIP] = SECTION("kmip", kmip_settings),
    [KYOK_SECTION_KEY] = SECTION("key", key_settings),
};
