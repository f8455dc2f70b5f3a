/* SPDX-License-Identifier: Apache-2.0 */
/* kyok kmip create, register: new objects at a KMIP server. */
#include "cli/kmip.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* --- results --------------------------------------------------------------------------------- */

static enum kyok_status print_created(struct cli *cli, struct kyok_kmip_client *client,
                                      const struct kyok_kmip_created *created)
{
    json_t *result = NULL;
    char room[300];

    if (cli->json) {
        result = json_pack("{s:o, s:o, s:b}", "identifier", cli_json_text(created->identifier),
                           "name", cli_json_text(created->name), "found", created->found);
        if (created->public_identifier[0] != '\0')
            json_object_set_new(result, "public", cli_json_text(created->public_identifier));
    } else {
        printf("%s\n", cli_safe(created->identifier, room, sizeof room));
        if (created->public_identifier[0] != '\0')
            printf("public %s\n", cli_safe(created->public_identifier, room, sizeof room));
        if (created->found)
            fprintf(stderr,
                    "note: the server's answer was lost; the object was found by its name\n");
    }
    cli_kmip_say_revocation(cli, client, result);
    return cli->json ? cli_json(cli, result) : KYOK_OK;
}

static enum kyok_status activate_both(struct cli *cli, struct kyok_kmip_client *client,
                                      const struct kyok_kmip_creation *creation,
                                      const struct kyok_kmip_created *created)
{
    struct kyok_deadline deadline = kyok_kmip_client_deadline(client);

    if (cli_option(cli, "--no-activate") != NULL ||
        creation->object_type ==
            KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT) /* which has no state (3.22) */
        return KYOK_OK;
    KYOK_TRY(
        kyok_kmip_activate(client, kyok_bytes_of_text(created->identifier), deadline, &cli->error));
    if (created->public_identifier[0] == '\0')
        return KYOK_OK;
    return kyok_kmip_activate(client, kyok_bytes_of_text(created->public_identifier), deadline,
                              &cli->error);
}

static enum kyok_status create_and_print(struct cli *cli, struct kyok_kmip_client *client,
                                         const struct kyok_kmip_creation *creation)
{
    struct kyok_kmip_created created;

    KYOK_TRY(kyok_kmip_create(client, creation, kyok_kmip_client_deadline(client), &created,
                              &cli->error));
    enum kyok_status status = activate_both(cli, client, creation, &created);
    if (status != KYOK_OK) {
        kyok_remedy(&cli->error, "the object \"%.100s\" exists and is not active",
                    created.identifier);
        return status;
    }
    return print_created(cli, client, &created);
}

/* --- create ---------------------------------------------------------------------------------- */

#define ENCRYPT_DECRYPT                                                                            \
    (KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT | KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT)

/* What the algorithm is for, unless --usage says otherwise. */
static const struct {
    enum kyok_kmip_cryptographic_algorithm algorithm;
    bool pair;
    unsigned bits;
    uint32_t usage, public_usage;
} usual[] = {
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA, true, 2048,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN | KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY | KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA, true, 256, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_EC, true, 256, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, false, 256, ENCRYPT_DECRYPT, 0},
};

static enum kyok_kmip_recommended_curve curve_of(unsigned bits)
{
    switch (bits) {
    case 256:
        return KYOK_KMIP_RECOMMENDED_CURVE_P_256;
    case 384:
        return KYOK_KMIP_RECOMMENDED_CURVE_P_384;
    case 521:
        return KYOK_KMIP_RECOMMENDED_CURVE_P_521;
    default:
        return 0;
    }
}

static enum kyok_status fill_usual(struct cli *cli, struct kyok_kmip_creation *creation)
{
    creation->object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    creation->usage = ENCRYPT_DECRYPT;
    creation->bits = 256;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (usual[i].algorithm != creation->algorithm)
            continue;
        creation->bits = usual[i].bits;
        creation->usage = usual[i].usage;
        creation->public_usage = usual[i].public_usage;
        if (usual[i].pair)
            creation->object_type = KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY;
    }
    KYOK_TRY(cli_kmip_number(cli, "--length", 8, 16384, &creation->bits));
    if (creation->algorithm == KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA ||
        creation->algorithm == KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_EC) {
        creation->curve = curve_of(creation->bits);
        if (creation->curve == 0)
            return cli_usage(cli, "--length is 256, 384 or 521 for elliptic curves");
    }
    return KYOK_OK;
}

static enum kyok_status run_create(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    struct kyok_kmip_creation creation = {.name = cli_option(cli, "--name")};
    uint32_t algorithm;

    KYOK_TRY(cli_kmip_enum(cli, "--algorithm", KYOK_KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM, &algorithm));
    creation.algorithm = algorithm;
    KYOK_TRY(fill_usual(cli, &creation));
    if (cli_option(cli, "--usage") != NULL)
        KYOK_TRY(cli_kmip_usage(cli, cli_option(cli, "--usage"), &creation.usage));
    KYOK_TRY(cli_kmip_client(cli, &client));
    return create_and_print(cli, client, &creation);
}

/* --- register -------------------------------------------------------------------------------- */

#define REGISTER_MAX ((size_t)64 << 10)

static enum kyok_status read_secret(struct cli *cli, const char *path, struct kyok_secret **secret)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    KYOK_AUTO_SECRET struct kyok_secret *room = kyok_secret_new(REGISTER_MAX + 1);
    size_t size = 0;
    ssize_t got = 1;

    if (fd < 0)
        return kyok_fail_errno(&cli->error, path, "cannot open the file");
    if (room == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, path, "no memory for the object");
    while (got > 0 && size <= REGISTER_MAX) {
        got = read(fd, kyok_secret_data(room) + size, REGISTER_MAX + 1 - size);
        size += got > 0 ? (size_t)got : 0;
    }
    int error = errno;
    if (fd != STDIN_FILENO)
        close(fd);
    errno = error;
    if (got < 0)
        return kyok_fail_errno(&cli->error, path, "cannot read the file");
    if (size == 0 || size > REGISTER_MAX)
        return kyok_fail(&cli->error, KYOK_INVALID, path, "an object has 1 to %zu bytes",
                         REGISTER_MAX);
    kyok_secret_truncate(room, size);
    *secret = room;
    room = NULL;
    return KYOK_OK;
}

static enum kyok_status fill_object(struct cli *cli, struct kyok_bytes content,
                                    struct kyok_kmip_creation *creation,
                                    struct kyok_kmip_object *object)
{
    object->type = creation->object_type;
    switch (creation->object_type) {
    case KYOK_KMIP_OBJECT_TYPE_CERTIFICATE:
        object->certificate_type = KYOK_KMIP_CERTIFICATE_TYPE_X_509;
        object->value = content;
        return KYOK_OK;
    case KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT:
        object->opaque_data_type = (enum kyok_kmip_opaque_data_type)0x80000000;
        object->value = content;
        return KYOK_OK;
    case KYOK_KMIP_OBJECT_TYPE_SECRET_DATA:
        object->secret_data_type = KYOK_KMIP_SECRET_DATA_TYPE_PASSWORD;
        object->key.format = KYOK_KMIP_KEY_FORMAT_TYPE_OPAQUE;
        break;
    case KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY:
        object->key.format = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
        object->key.algorithm = creation->algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES;
        creation->bits = (unsigned)content.size * 8;
        object->key.length = kyok_kmip_integer((int32_t)creation->bits);
        creation->usage = ENCRYPT_DECRYPT;
        break;
    default:
        return cli_usage(cli, "--type: only symmetric-key, secret-data, certificate and "
                              "opaque-object can be registered");
    }
    object->key.value.material = content;
    return KYOK_OK;
}

static enum kyok_status run_register(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *content = NULL;
    struct kyok_kmip_creation creation = {.name = cli_option(cli, "--name")};
    struct kyok_kmip_object object = {0};
    uint32_t type;

    KYOK_TRY(cli_kmip_enum(cli, "--type", KYOK_KMIP_TAG_OBJECT_TYPE, &type));
    creation.object_type = type;
    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(read_secret(cli, cli->operands[1], &content));
    KYOK_TRY(fill_object(cli, kyok_secret_bytes(content), &creation, &object));
    if (cli_option(cli, "--usage") != NULL)
        KYOK_TRY(cli_kmip_usage(cli, cli_option(cli, "--usage"), &creation.usage));
    creation.object = &object;
    return create_and_print(cli, client, &creation);
}

static const struct cli_option create_options[] = {
    {.name = "--algorithm",
     .argument = "NAME",
     .summary = "AES, RSA, ECDSA or another that the server has",
     .required = true},
    {.name = "--length",
     .argument = "BITS",
     .summary = "256 for AES and ECDSA, 2048 for RSA if not given"},
    {.name = "--name",
     .argument = "NAME",
     .summary = "its Name attribute; one is made up if not given"},
    {.name = "--usage",
     .argument = "USES",
     .summary = "its usage mask, e.g. encrypt,decrypt or sign (of a pair: the private half's)"},
    {.name = "--no-activate", .summary = "leave it in the state Pre-Active"},
};

static const struct cli_option register_options[] = {
    {.name = "--type",
     .argument = "TYPE",
     .summary = "symmetric-key, secret-data, certificate (DER) or opaque-object",
     .required = true},
    {.name = "--name",
     .argument = "NAME",
     .summary = "its Name attribute; one is made up if not given"},
    {.name = "--usage", .argument = "USES", .summary = "its usage mask, e.g. encrypt,decrypt"},
    {.name = "--no-activate", .summary = "leave it in the state Pre-Active"},
};

const struct cli_verb cli_kmip_create_verbs[] = {
    {.words = "kmip create",
     .operands = "GROUP",
     .least = 1,
     .most = 1,
     .summary = "Create a key, or a key pair, in a KMIP server",
     .description =
         "Creates the key, activates it and prints its identifier. If the server's answer is lost, "
         "the object is looked up by its name and taken as the result; nothing is ever created "
         "twice. When it is not found, the command fails and names the name to look for.",
     CLI_OPTIONS(create_options),
     .run = run_create},
    {.words = "kmip register",
     .operands = "GROUP IN",
     .least = 2,
     .most = 2,
     .summary = "Store an existing key or secret in a KMIP server",
     .description =
         "Registers the bytes of a file (\"-\": standard input), at most 64 KiB, activates "
         "the object and prints its identifier. A lost answer is treated as by kmip create.",
     CLI_OPTIONS(register_options),
     .run = run_register},
    {0}};
