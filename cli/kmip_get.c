/* SPDX-License-Identifier: Apache-2.0 */
/* kyok kmip get: a key out of a KMIP server, to a file or descriptor, never onto a screen. */
#include "cli/kmip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum kyok_status cannot_create(struct cli *cli, const char *path)
{
    bool exists = errno == EEXIST;

    kyok_fail_errno(&cli->error, path, "cannot create the file");
    return exists ? kyok_remedy(&cli->error, "name a file that does not exist yet")
                  : cli->error.status;
}

/* Only once there is something to put into it: whoever gives up waiting for the server leaves no
 * empty file in the way of the next attempt. */
static enum kyok_status create_file(struct cli *cli, const char *path, int *fd)
{
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *fd >= 0 ? KYOK_OK : cannot_create(cli, path);
}

/* What is open already; a file comes later, and must not be there now. */
static enum kyok_status open_output(struct cli *cli, int *fd)
{
    const char *path = cli_option(cli, "--out"), *number = cli_option(cli, "--fd");
    unsigned descriptor = STDOUT_FILENO;

    if (path != NULL && number != NULL)
        return cli_usage(cli, "--out and --fd exclude each other");
    if (path == NULL) {
        KYOK_TRY(cli_kmip_number(cli, "--fd", 0, 65535, &descriptor));
        *fd = fcntl((int)descriptor, F_DUPFD_CLOEXEC, 0);
        if (*fd < 0)
            return kyok_fail_errno(&cli->error, number, "no such descriptor");
        return KYOK_OK;
    }
    struct stat there;
    if (lstat(path, &there) != 0)
        return KYOK_OK;
    errno = EEXIST;
    return cannot_create(cli, path);
}

static enum kyok_status refuse_terminal(struct cli *cli, int fd)
{
    if (!isatty(fd) || cli_option(cli, "--reveal") != NULL)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, "standard output", "a key is not shown on a terminal");
    return kyok_remedy(&cli->error, "give --out FILE, or --reveal if you mean it");
}

static enum kyok_status write_all(struct cli *cli, int fd, struct kyok_bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t wrote = write(fd, bytes.data, bytes.size);
        if (wrote < 0 && errno != EINTR)
            return kyok_fail_errno(&cli->error, cli_option(cli, "--out"), "cannot write the key");
        if (wrote > 0)
            bytes = kyok_bytes(bytes.data + wrote, bytes.size - (size_t)wrote);
    }
    return KYOK_OK;
}

static enum kyok_status write_key(struct cli *cli, int fd, struct kyok_bytes bytes)
{
    KYOK_AUTO_SECRET struct kyok_secret *text = NULL;

    if (cli_option(cli, "--hex") == NULL)
        return write_all(cli, fd, bytes);
    text = kyok_secret_new(2 * bytes.size + 1);
    if (text == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    kyok_hex_encode(bytes, (char *)kyok_secret_data(text));
    kyok_secret_data(text)[2 * bytes.size] = '\n';
    return write_all(cli, fd, kyok_secret_bytes(text));
}

static enum kyok_status content_of(struct cli *cli, const struct kyok_kmip_reply *reply,
                                   struct kyok_bytes *content)
{
    const struct kyok_kmip_object *object = &reply->item->payload.get.object;

    *content = object->value.size != 0 ? object->value : object->key.value.material;
    if (content->size != 0)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_UNSUPPORTED, reply->endpoint,
              "the object came in a form that kyok does not write out");
    return kyok_remedy(&cli->error, "ask for another --format");
}

static enum kyok_status report(struct cli *cli, struct kyok_kmip_client *client,
                               const struct kyok_kmip_reply *reply, size_t size)
{
    const struct kyok_kmip_get_response *got = &reply->item->payload.get;
    const char *type = kyok_kmip_enum_name(KYOK_KMIP_TAG_OBJECT_TYPE, got->object_type);
    bool to_stdout = cli_option(cli, "--out") == NULL && cli_option(cli, "--fd") == NULL;
    json_t *result = NULL;

    if (cli->json)
        result = json_pack("{s:o, s:s, s:i}", "identifier", cli_json_text(cli->operands[1]), "type",
                           type != NULL ? type : "?", "bytes", (int)size);
    cli_kmip_say_revocation(cli, client, result);
    if (!cli->json)
        return KYOK_OK;
    if (!to_stdout)
        return cli_json(cli, result);
    json_decref(result);
    return KYOK_OK;
}

static enum kyok_status transfer(struct cli *cli, int *fd)
{
    const char *path = cli_option(cli, "--out");
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_expectation anything = {0};
    struct kyok_bytes content;
    uint32_t format;

    if (path == NULL)
        KYOK_TRY(refuse_terminal(cli, *fd));
    KYOK_TRY(cli_kmip_enum(cli, "--format", KYOK_KMIP_TAG_KEY_FORMAT_TYPE, &format));
    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(kyok_kmip_get(client, cli_kmip_identifier(cli), format, &anything,
                           kyok_kmip_client_deadline(client), &reply, &cli->error));
    KYOK_TRY(content_of(cli, &reply, &content));
    if (path != NULL)
        KYOK_TRY(create_file(cli, path, fd));
    KYOK_TRY(write_key(cli, *fd, content));
    return report(cli, client, &reply, content.size);
}

static enum kyok_status run(struct cli *cli)
{
    const char *path = cli_option(cli, "--out");
    int fd = -1;

    KYOK_TRY(open_output(cli, &fd));
    enum kyok_status status = transfer(cli, &fd);
    if (fd >= 0 && close(fd) != 0 && status == KYOK_OK)
        status = kyok_fail_errno(&cli->error, path, "cannot write the key");
    if (status != KYOK_OK && fd >= 0 && path != NULL)
        unlink(path);
    return status;
}

static const struct cli_option options[] = {
    {.name = "--out",
     .letter = 'o',
     .argument = "FILE",
     .summary = "a new file that only its owner can read"},
    {.name = "--fd", .argument = "NUMBER", .summary = "an open descriptor"},
    {.name = "--format",
     .argument = "NAME",
     .summary = "the key format to ask for: raw, pkcs-8, x-509..."},
    {.name = "--hex", .summary = "write hexadecimal digits"},
    {.name = "--reveal", .summary = "allow a terminal"},
};

const struct cli_verb cli_kmip_get_verbs[] = {
    {.words = "kmip get",
     .operands = "GROUP ID",
     .least = 2,
     .most = 2,
     .summary = "Take a key or secret out of a KMIP server",
     .description =
         "Writes the object's bytes to a new file of mode 0600, to a descriptor, or to standard "
         "output when that is no terminal. The answer is checked to be about this object and to be "
         "consistent in type, algorithm and length.",
     CLI_OPTIONS(options),
     .run = run},
    {0}};
