/* SPDX-License-Identifier: Apache-2.0 */
/* The few QMP commands that add an encrypted disk to a running QEMU (QEMU docs/interop/qmp-spec).
 */
#include "qemu-secret/qemu_secret.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QMP_LINE_MAX ((size_t)1 << 20)

struct qmp {
    int fd;
    const char *path;
    struct kyok_deadline deadline;
    struct kyok_buffer input; /* what was read beyond the last line */
};

static void qmp_close(struct qmp *qmp)
{
    if (qmp->fd >= 0)
        close(qmp->fd);
    kyok_buffer_free(&qmp->input);
}

static enum kyok_status wait_for(struct qmp *qmp, short events, struct kyok_error *err)
{
    struct pollfd fd = {.fd = qmp->fd, .events = events};
    int ready = poll(&fd, 1, kyok_deadline_left_ms(qmp->deadline));
    if (ready > 0 || (ready < 0 && errno == EINTR))
        return KYOK_OK;
    return kyok_fail(err, KYOK_TIMEOUT, qmp->path, "QEMU does not answer");
}

static enum kyok_status send_all(struct qmp *qmp, struct kyok_bytes bytes, struct kyok_error *err)
{
    while (bytes.size > 0) {
        KYOK_TRY(wait_for(qmp, POLLOUT, err));
        ssize_t put = send(qmp->fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno != EAGAIN && errno != EINTR)
            return kyok_fail_errno(err, qmp->path, "QEMU does not listen");
        size_t sent = put > 0 ? (size_t)put : 0;
        bytes = kyok_bytes(bytes.data + sent, bytes.size - sent);
    }
    return KYOK_OK;
}

/* One line of JSON, which the caller releases. */
static enum kyok_status read_line(struct qmp *qmp, json_t **message, struct kyok_error *err)
{
    for (;;) {
        uint8_t *end = qmp->input.size ? memchr(qmp->input.data, '\n', qmp->input.size) : NULL;
        if (end) {
            size_t size = (size_t)(end - qmp->input.data) + 1;
            *message = json_loadb((const char *)qmp->input.data, size, 0, NULL);
            memmove(qmp->input.data, end + 1, qmp->input.size - size);
            qmp->input.size -= size;
            return *message ? KYOK_OK
                            : kyok_fail(err, KYOK_FAULT, qmp->path, "QEMU sent no proper JSON");
        }
        if (qmp->input.size > QMP_LINE_MAX)
            return kyok_fail(err, KYOK_FAULT, qmp->path, "QEMU sent too long a line");
        KYOK_TRY(wait_for(qmp, POLLIN, err));
        uint8_t *room = kyok_buffer_reserve(&qmp->input, 4096);
        ssize_t got = room ? recv(qmp->fd, room, 4096, MSG_DONTWAIT) : -1;
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return kyok_fail(err, KYOK_UNREACHABLE, qmp->path, "QEMU closed the connection");
        qmp->input.size += got > 0 ? (size_t)got : 0;
    }
}

/* Sends one command and waits for its answer; events in between are passed over. */
static enum kyok_status execute(struct qmp *qmp, const char *name, struct kyok_bytes arguments,
                                struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    kyok_buffer_printf(&text, "{\"execute\":\"%s\",\"arguments\":", name);
    kyok_buffer_append(&text, arguments.data, arguments.size);
    kyok_buffer_append_text(&text, "}\n");
    KYOK_TRY(send_all(qmp, kyok_buffer_bytes(&text), err));
    for (;;) {
        json_t *answer = NULL;
        KYOK_TRY(read_line(qmp, &answer, err));
        json_t *error = json_object_get(answer, "error");
        bool done = error || json_object_get(answer, "return");
        const char *why = json_string_value(json_object_get(error, "desc"));
        if (error) {
            kyok_fail(err, KYOK_REFUSED, qmp->path, "QEMU refused %s", name);
            kyok_because(err, "%s", why ? why : "no reason given");
        }
        json_decref(answer);
        if (done)
            return error ? err->status : KYOK_OK;
    }
}

static enum kyok_status execute_json(struct qmp *qmp, const char *name, json_t *arguments,
                                     struct kyok_error *err)
{
    char *text = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    json_decref(arguments);
    if (!text)
        return kyok_fail(err, KYOK_INVALID, name, "the command cannot be written as JSON");
    enum kyok_status status = execute(qmp, name, kyok_bytes_of_text(text), err);
    free(text);
    return status;
}

static enum kyok_status qmp_connect(struct qmp *qmp, struct kyok_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    json_t *greeting = NULL;
    if (strlen(qmp->path) >= sizeof(address.sun_path))
        return kyok_fail(err, KYOK_INVALID, qmp->path, "the socket's path is too long");
    strcpy(address.sun_path, qmp->path);
    qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (qmp->fd < 0 || connect(qmp->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return kyok_fail_errno(err, qmp->path, "QEMU cannot be reached");
    KYOK_TRY(read_line(qmp, &greeting, err));
    json_decref(greeting);
    return execute(qmp, "qmp_capabilities", kyok_bytes_of_text("{}"), err);
}

/* The passphrase goes from locked memory to the socket: hexadecimal digits need no escapes, and a
 * JSON library would keep copies. */
static enum kyok_status add_secret(struct qmp *qmp, const struct disk *disk, struct kyok_error *err)
{
    struct kyok_bytes secret = kyok_secret_bytes(disk->passphrase);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    for (size_t i = 0; i < secret.size; i++)
        if (secret.data[i] < ' ' || secret.data[i] > '~' || secret.data[i] == '"' ||
            secret.data[i] == '\\')
            return kyok_fail(err, KYOK_UNSUPPORTED, disk->id, "the passphrase is no plain text");
    kyok_buffer_printf(&text, "{\"qom-type\":\"secret\",\"id\":\"kyok-%s\",\"data\":\"", disk->id);
    kyok_buffer_append(&text, secret.data, secret.size);
    kyok_buffer_append_text(&text, "\"}");
    return execute(qmp, "object-add", kyok_buffer_bytes(&text), err);
}

static json_t *block_node(const struct disk *disk)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer secret = {0};
    kyok_buffer_printf(&secret, "kyok-%s", disk->id);
    kyok_buffer_append(&secret, "", 1);
    const char *name = (const char *)secret.data;
    json_t *file = json_pack("{s:s,s:s}", "driver", "file", "filename", disk->image);
    if (disk->format == KYOK_VOLUME_RAW)
        return json_pack("{s:s,s:s,s:s,s:o}", "driver", "luks", "node-name", disk->id, "key-secret",
                         name, "file", file);
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "driver", "qcow2", "node-name", disk->id,
                     "encrypt", "format", "luks", "key-secret", name, "file", file);
}

/* "DRIVER,name=value,...", as on QEMU's command line. */
static json_t *device(const char *text, const char *drive)
{
    json_t *arguments = json_pack("{s:s}", "drive", drive);
    KYOK_AUTO_FREE char *copy = strdup(text);
    char *rest = copy, *part = strsep(&rest, ",");
    json_object_set_new(arguments, "driver", json_string(part));
    while (rest && (part = strsep(&rest, ","))) {
        char *value = strchr(part, '=');
        if (value)
            *value++ = 0;
        json_object_set_new(arguments, part, json_string(value ? value : "on"));
    }
    return arguments;
}

enum kyok_status qmp_add_disk(const struct options *options, struct disk *disk,
                              struct kyok_error *err)
{
    KYOK_CLEANUP(qmp_close)
    struct qmp qmp = {
        .fd = -1, .path = options->qmp, .deadline = kyok_deadline_in_ms(options->timeout_ms)};
    struct kyok_error ignored;
    KYOK_TRY(qmp_connect(&qmp, err));
    KYOK_TRY(add_secret(&qmp, disk, err));
    enum kyok_status status = execute_json(&qmp, "blockdev-add", block_node(disk), err);
    /* QEMU has the volume key now, or will not have it. */
    execute_json(&qmp, "object-del", json_pack("{s:s+}", "id", "kyok-", disk->id), &ignored);
    KYOK_TRY(status);
    if (!options->device)
        return KYOK_OK;
    status = execute_json(&qmp, "device_add", device(options->device, disk->id), err);
    if (status != KYOK_OK)
        execute_json(&qmp, "blockdev-del", json_pack("{s:s}", "node-name", disk->id), &ignored);
    return status;
}
