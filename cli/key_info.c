/* SPDX-License-Identifier: Apache-2.0 */
/* What the command says of one key: copies, JSON, and the flags of keys that could leave. */
#include "cli/cli.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

const char *cli_object_word(enum kyok_object_type type)
{
    static const char *const words[] = {
        [KYOK_OBJECT_ANY] = "object",        [KYOK_OBJECT_PRIVATE] = "private",
        [KYOK_OBJECT_PUBLIC] = "public",     [KYOK_OBJECT_CERTIFICATE] = "cert",
        [KYOK_OBJECT_SECRET] = "secret-key", [KYOK_OBJECT_DATA] = "data",
    };
    return words[type];
}

/* --- kinds: the words of key generate --type -------------------------------------------------- */

static const struct {
    const char *word;
    enum kyok_key_type type;
    unsigned bits;
} kinds[] = {
    {"rsa-2048", KYOK_KEY_RSA, 2048}, {"rsa-3072", KYOK_KEY_RSA, 3072},
    {"rsa-4096", KYOK_KEY_RSA, 4096}, {"ec-p256", KYOK_KEY_EC, 256},
    {"ec-p384", KYOK_KEY_EC, 384},    {"ec-p521", KYOK_KEY_EC, 521},
    {"ed25519", KYOK_KEY_ED25519, 0}, {"aes-256", KYOK_KEY_AES, 256},
};

void cli_key_kind_read(const char *word, enum kyok_key_type *type, unsigned *bits)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].word, word) == 0) {
            *type = kinds[i].type;
            *bits = kinds[i].bits;
        }
    }
}

const char *cli_key_kind(const struct kyok_key_info *info, char *room)
{
    snprintf(room, CLI_KIND_SIZE, "%s", kyok_key_type_name(info->type));
    if (info->type == KYOK_KEY_UNKNOWN)
        snprintf(room, CLI_KIND_SIZE, "-");
    else if (info->type == KYOK_KEY_EC)
        snprintf(room, CLI_KIND_SIZE, "ec-p%u", info->bits);
    else if (info->type == KYOK_KEY_RSA || info->type == KYOK_KEY_AES)
        snprintf(room, CLI_KIND_SIZE, "%s-%u", kyok_key_type_name(info->type), info->bits);
    return room;
}

/* --- copies ----------------------------------------------------------------------------------- */

static void free_info(struct kyok_key_info *info)
{
    free(info->reference);
    free(info->label);
    free(info->id);
    free(info->public_key);
    free(info->certificate);
    free(info->custodian);
}

static bool copy_text(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool copy_bytes(uint8_t **to, const uint8_t *from, size_t size)
{
    *to = from != NULL ? malloc(size + 1) : NULL;
    if (from == NULL || *to == NULL)
        return from == NULL;
    memcpy(*to, from, size);
    return true;
}

static bool copy_info(struct kyok_key_info *to, const struct kyok_key_info *from)
{
    *to = *from;
    to->reference = to->label = to->custodian = NULL;
    to->id = to->public_key = to->certificate = NULL;
    return copy_text(&to->reference, from->reference) && copy_text(&to->label, from->label) &&
           copy_text(&to->custodian, from->custodian) &&
           copy_bytes(&to->id, from->id, from->id_size) &&
           copy_bytes(&to->public_key, from->public_key, from->public_key_size) &&
           copy_bytes(&to->certificate, from->certificate, from->certificate_size);
}

bool cli_keys_visit(void *caller, const struct kyok_key_info *info)
{
    struct cli_keys *keys = caller;
    struct kyok_key_info *more = realloc(keys->items, (keys->count + 1) * sizeof(*more));
    if (more != NULL)
        keys->items = more;
    keys->failed = more == NULL || !copy_info(&more[keys->count], info);
    keys->count += more != NULL;
    return !keys->failed;
}

void cli_keys_free(struct cli_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free_info(&keys->items[i]);
    free(keys->items);
    *keys = (struct cli_keys){0};
}

/* --- flags ------------------------------------------------------------------------------------ */

size_t cli_key_flags(const struct kyok_key_info *info, const char **words, size_t count)
{
    const struct {
        bool is;
        const char *word;
    } flags[CLI_KEY_FLAGS] = {
        {info->extractable == KYOK_YES, "extractable"},
        {info->sensitive == KYOK_NO, "not sensitive"},
        {info->never_extractable == KYOK_NO && info->extractable != KYOK_YES,
         "was extractable or imported"},
        {info->always_sensitive == KYOK_NO && info->never_extractable != KYOK_NO &&
             info->sensitive != KYOK_NO,
         "was not always sensitive"},
    };
    size_t found = 0;
    if (info->object != KYOK_OBJECT_PRIVATE && info->object != KYOK_OBJECT_SECRET)
        return 0;
    for (size_t i = 0; i < CLI_KEY_FLAGS && found < count; i++) {
        if (flags[i].is)
            words[found++] = flags[i].word;
    }
    return found;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void set_hex(json_t *object, const char *name, const uint8_t *data, size_t size)
{
    KYOK_AUTO_FREE char *hex = malloc(2 * size + 1);
    if (hex == NULL)
        return;
    kyok_hex_encode(kyok_bytes(data, size), hex);
    json_object_set_new(object, name, json_string(hex));
}

static void set_pem(json_t *object, const char *name, const char *label, const uint8_t *der,
                    size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (bio != NULL && PEM_write_bio(bio, label, "", der, (long)size) > 0) {
        long length = BIO_get_mem_data(bio, &text);
        json_object_set_new(object, name, json_stringn(text, (size_t)length));
    }
    BIO_free(bio);
}

static json_t *json_attributes(const struct kyok_key_info *info)
{
    static const char *const answers[] = {
        [KYOK_NO] = "no", [KYOK_YES] = "yes", [KYOK_NOT_KNOWN] = "not known"};
    const struct {
        const char *name;
        enum kyok_answer answer;
    } attributes[] = {
        {"sensitive", info->sensitive},
        {"always-sensitive", info->always_sensitive},
        {"extractable", info->extractable},
        {"never-extractable", info->never_extractable},
        {"local", info->local},
        {"always-authenticate", info->always_authenticate},
        {"sign", info->may_sign},
        {"encrypt", info->may_encrypt},
        {"decrypt", info->may_decrypt},
        {"derive", info->may_derive},
        {"wrap", info->may_wrap},
        {"unwrap", info->may_unwrap},
    };
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        json_object_set_new(object, attributes[i].name, json_string(answers[attributes[i].answer]));
    return object;
}

json_t *cli_key_json(const struct kyok_key_info *info)
{
    const char *words[CLI_KEY_FLAGS];
    size_t count = cli_key_flags(info, words, CLI_KEY_FLAGS);
    json_t *object = json_object(), *flags = json_array();
    if (info->reference != NULL)
        json_object_set_new(object, "reference", cli_json_text(info->reference));
    json_object_set_new(object, "object", json_string(cli_object_word(info->object)));
    json_object_set_new(object, "type", json_string(kyok_key_type_name(info->type)));
    json_object_set_new(object, "bits", json_integer(info->bits));
    if (info->label != NULL)
        json_object_set_new(object, "label", cli_json_text(info->label));
    if (info->id != NULL)
        set_hex(object, "id", info->id, info->id_size);
    if (info->custodian != NULL)
        json_object_set_new(object, "custodian", cli_json_text(info->custodian));
    if (info->object == KYOK_OBJECT_PRIVATE || info->object == KYOK_OBJECT_SECRET)
        json_object_set_new(object, "attributes", json_attributes(info));
    for (size_t i = 0; i < count; i++)
        json_array_append_new(flags, json_string(words[i]));
    json_object_set_new(object, "flags", flags);
    if (info->public_key != NULL)
        set_pem(object, "public-key", "PUBLIC KEY", info->public_key, info->public_key_size);
    if (info->certificate != NULL)
        set_pem(object, "certificate", "CERTIFICATE", info->certificate, info->certificate_size);
    return object;
}
