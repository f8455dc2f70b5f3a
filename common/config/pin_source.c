/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PIN sources. Values that must outlive a loss of privilege or a descriptor that can be read only
 * once are kept in a list that children inherit. It takes no lock: a child could inherit one that a
 * lost thread holds.
 */
#include "common/config/pin_source.h"

#include "common/config/text.h"

#include <errno.h>
#include <fcntl.h>
#include <p11-kit/pin.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIN_MAX ((size_t)1024)
#define READ_TIMEOUT_MS 10000

/* --- kept values ------------------------------------------------------------------------------ */

struct kept_pin {
    struct kept_pin *next;
    char *source;
    _Atomic(struct kyok_secret *) value;
    _Atomic uint64_t locked_in; /* the process generation whose memory lock holds */
};

/* Entries are added and never removed. A value that was replaced is wiped unless someone may be
 * copying it; a reader that a fork lost only makes later replacements leak. */
static _Atomic(struct kept_pin *) kept_pins;
static _Atomic unsigned kept_readers;

static struct kept_pin *find_kept(const char *source)
{
    for (struct kept_pin *pin = atomic_load(&kept_pins); pin != NULL; pin = pin->next) {
        if (strcmp(pin->source, source) == 0)
            return pin;
    }
    return NULL;
}

static struct kyok_secret *kept_copy(const char *source)
{
    struct kept_pin *pin = find_kept(source);
    struct kyok_secret *copy = NULL;
    if (pin == NULL)
        return NULL;
    atomic_fetch_add(&kept_readers, 1);
    struct kyok_secret *value = atomic_load(&pin->value);
    uint64_t generation = kyok_process_generation();
    if (value != NULL && atomic_exchange(&pin->locked_in, generation) != generation)
        kyok_secret_relock(value);
    if (value != NULL)
        copy = kyok_secret_copy(kyok_secret_bytes(value));
    atomic_fetch_sub(&kept_readers, 1);
    return copy;
}

static struct kept_pin *add_kept(const char *source)
{
    struct kept_pin *pin = calloc(1, sizeof(*pin));
    if (pin == NULL || (pin->source = strdup(source)) == NULL) {
        free(pin);
        return NULL;
    }
    pin->next = atomic_load(&kept_pins);
    while (!atomic_compare_exchange_weak(&kept_pins, &pin->next, pin))
        continue;
    return pin;
}

static bool same_secret(struct kyok_secret *a, struct kyok_secret *b)
{
    return a != NULL && kyok_bytes_equal_secret(kyok_secret_bytes(a), kyok_secret_bytes(b));
}

/* Keeps a copy of value. */
static bool keep(const char *source, struct kyok_secret *value)
{
    struct kept_pin *pin = find_kept(source);
    KYOK_AUTO_SECRET struct kyok_secret *present = kept_copy(source);
    if (same_secret(present, value))
        return true;
    struct kyok_secret *copy = kyok_secret_copy(kyok_secret_bytes(value));
    if (pin == NULL)
        pin = add_kept(source);
    if (pin == NULL || copy == NULL) {
        kyok_secret_free(copy);
        return false;
    }
    atomic_store(&pin->locked_in, kyok_process_generation());
    struct kyok_secret *old = atomic_exchange(&pin->value, copy);
    if (atomic_load(&kept_readers) == 0)
        kyok_secret_free(old);
    return true;
}

/* --- forms ------------------------------------------------------------------------------------ */

enum form { FORM_FILE, FORM_CREDENTIAL, FORM_DESCRIPTOR, FORM_CALLBACK, FORM_WRONG };

static enum form file_form(const char *path, const char **rest)
{
    /* RFC 8089: file:/path, file:///path, file://localhost/path. */
    if (strncmp(path, "//localhost/", 12) == 0)
        path += 11;
    else if (strncmp(path, "///", 3) == 0)
        path += 2;
    *rest = path;
    return path[0] == '/' && path[1] != '\0' && path[1] != '/' ? FORM_FILE : FORM_WRONG;
}

static bool is_scheme(const char *source)
{
    size_t length = strspn(source, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    return length > 0 && source[0] >= 'a' && source[0] <= 'z' && source[length] == ':' &&
           source[length + 1] != '\0';
}

static enum form find_form(const char *source, const char **rest)
{
    uint64_t number;
    *rest = source;
    if (source[0] == '/')
        return file_form(source, rest);
    if (strncmp(source, "file:", 5) == 0)
        return file_form(source + 5, rest);
    if (strncmp(source, "credential:", 11) == 0) {
        *rest = source + 11;
        return kyok_text_is_name(kyok_bytes_of_text(*rest)) ? FORM_CREDENTIAL : FORM_WRONG;
    }
    if (strncmp(source, "fd:", 3) == 0) {
        *rest = source + 3;
        return kyok_text_number(kyok_bytes_of_text(*rest), 1 << 20, &number) ? FORM_DESCRIPTOR
                                                                             : FORM_WRONG;
    }
    return is_scheme(source) ? FORM_CALLBACK : FORM_WRONG;
}

enum kyok_status kyok_pin_source_check(const char *source, struct kyok_error *err)
{
    const char *rest;
    if (find_form(source, &rest) != FORM_WRONG)
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, kyok_text_quote(kyok_bytes_of_text(source)).text,
              "this is no PIN source");
    return kyok_remedy(err, "expected file:/PATH, credential:NAME or fd:NUMBER");
}

/* --- reading ---------------------------------------------------------------------------------- */

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum kyok_status read_all(int fd, const char *source, struct kyok_secret *room, size_t *size,
                                 struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_deadline_in_ms(READ_TIMEOUT_MS);
    *size = 0;
    while (*size < kyok_secret_size(room)) {
        struct pollfd poller = {fd, POLLIN, 0};
        int ready = poll(&poller, 1, kyok_deadline_left_ms(deadline));
        if (ready == 0)
            return kyok_fail(err, KYOK_TIMEOUT, source, "the PIN did not arrive within 10 s");
        ssize_t got =
            ready < 0 ? -1
                      : read(fd, kyok_secret_data(room) + *size, kyok_secret_size(room) - *size);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0) {
            kyok_fail_errno(err, source, "the PIN cannot be read");
            return err->status = KYOK_PIN;
        }
        if (got == 0)
            return KYOK_OK;
        *size += (size_t)got;
    }
    return kyok_fail(err, KYOK_PIN, source, "the PIN is longer than 1024 bytes");
}

/* Cuts one line end; what is left must be there. */
static enum kyok_status finish(const char *source, struct kyok_secret *pin, size_t size,
                               struct kyok_error *err)
{
    const uint8_t *data = kyok_secret_data(pin);
    if (size > 0 && data[size - 1] == '\n')
        size--;
    if (size > 0 && data[size - 1] == '\r')
        size--;
    if (size == 0)
        return kyok_fail(err, KYOK_PIN, source, "the PIN is empty");
    kyok_secret_truncate(pin, size);
    return KYOK_OK;
}

static enum kyok_status read_descriptor(int fd, const char *source, struct kyok_secret **pin,
                                        struct kyok_error *err)
{
    size_t size = 0;
    KYOK_AUTO_SECRET struct kyok_secret *read = kyok_secret_new(PIN_MAX + 1);
    if (read == NULL)
        return kyok_text_no_memory(err);
    KYOK_TRY(read_all(fd, source, read, &size, err));
    KYOK_TRY(finish(source, read, size, err));
    *pin = read;
    read = NULL;
    return KYOK_OK;
}

/* forbidden: the permissions that nobody may have. */
static enum kyok_status check_file(int fd, const char *source, mode_t forbidden,
                                   struct kyok_error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        kyok_fail_errno(err, source, "the PIN file cannot be examined");
        return err->status = KYOK_PIN;
    }
    if (!S_ISREG(status.st_mode))
        return kyok_fail(err, KYOK_PIN, source, "the PIN file is not a regular file");
    if (status.st_uid != 0 && status.st_uid != geteuid()) {
        kyok_fail(err, KYOK_PIN, source, "the PIN file belongs to user %lu",
                  (unsigned long)status.st_uid);
        return kyok_remedy(err, "it must belong to root or to the user of this process");
    }
    if ((status.st_mode & forbidden) != 0) {
        kyok_fail(err, KYOK_PIN, source, "others than its owner have access to the PIN file");
        return kyok_remedy(err, "chmod 0600 it, and change the PIN if others could read it");
    }
    return KYOK_OK;
}

static enum kyok_status read_file(const char *path, const char *source, mode_t forbidden,
                                  struct kyok_secret **pin, struct kyok_error *err)
{
    KYOK_CLEANUP(close_file) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == EACCES || errno == ENOENT) && (*pin = kept_copy(source)) != NULL)
        return KYOK_OK;
    if (fd < 0) {
        kyok_fail_errno(err, source, "the PIN file cannot be opened");
        return err->status = KYOK_PIN;
    }
    KYOK_TRY(check_file(fd, source, forbidden, err));
    return read_descriptor(fd, source, pin, err);
}

/* systemd grants a service's user its credentials by an access list, which shows as group bits:
 * reading by the group is therefore allowed here. */
static enum kyok_status read_credential(const char *name, const char *source,
                                        struct kyok_secret **pin, struct kyok_error *err)
{
    const char *directory = secure_getenv("CREDENTIALS_DIRECTORY");
    KYOK_AUTO_FREE char *path = NULL;
    if (directory == NULL || directory[0] != '/') {
        if ((*pin = kept_copy(source)) != NULL)
            return KYOK_OK;
        kyok_fail(err, KYOK_PIN, source, "systemd gave this process no credentials");
        return kyok_remedy(err, "add LoadCredentialEncrypted=%s to the unit", name);
    }
    if (asprintf(&path, "%s/%s", directory, name) < 0) {
        path = NULL;
        return kyok_text_no_memory(err);
    }
    return read_file(path, source, S_IRWXO | S_IWGRP | S_IXGRP, pin, err);
}

static enum kyok_status read_once(const char *number, const char *source, struct kyok_secret **pin,
                                  struct kyok_error *err)
{
    if ((*pin = kept_copy(source)) != NULL)
        return KYOK_OK;
    KYOK_TRY(read_descriptor(atoi(number), source, pin, err));
    if (keep(source, *pin))
        return KYOK_OK;
    kyok_secret_free(*pin);
    *pin = NULL;
    return kyok_text_no_memory(err);
}

/* p11-kit takes its lock for callbacks, and in a forked child a lost thread may hold it. */
static pid_t loaded_by;
__attribute__((constructor)) static void remember_process(void)
{
    loaded_by = getpid();
}

static enum kyok_status read_callback(const char *source, struct kyok_secret **pin,
                                      struct kyok_error *err)
{
    if ((*pin = kept_copy(source)) != NULL)
        return KYOK_OK;
    P11KitPin *given = NULL;
    if (getpid() == loaded_by)
        given = p11_kit_pin_request(source, NULL, "token", P11_KIT_PIN_FLAGS_USER_LOGIN);
    if (given == NULL) {
        kyok_fail(err, KYOK_PIN, source, "this program has no p11-kit callback for the PIN source");
        return kyok_remedy(err, "expected file:/PATH, credential:NAME or fd:NUMBER");
    }
    size_t size = 0;
    const unsigned char *value = p11_kit_pin_get_value(given, &size);
    *pin = kyok_secret_copy(kyok_bytes(value, size));
    p11_kit_pin_unref(given);
    return *pin != NULL ? KYOK_OK : kyok_text_no_memory(err);
}

enum kyok_status kyok_pin_source_read(const char *source, struct kyok_secret **pin,
                                      struct kyok_error *err)
{
    const char *rest;
    *pin = NULL;
    switch (find_form(source, &rest)) {
    case FORM_FILE:
        return read_file(rest, source, S_IRWXG | S_IRWXO, pin, err);
    case FORM_CREDENTIAL:
        return read_credential(rest, source, pin, err);
    case FORM_DESCRIPTOR:
        return read_once(rest, source, pin, err);
    case FORM_CALLBACK:
        return read_callback(source, pin, err);
    default:
        return kyok_pin_source_check(source, err);
    }
}

enum kyok_status kyok_pin_source_keep(const char *source, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *pin = NULL;
    KYOK_TRY(kyok_pin_source_read(source, &pin, err));
    return keep(source, pin) ? KYOK_OK : kyok_text_no_memory(err);
}

static bool unreadable(const char *path)
{
    return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0;
}

bool kyok_pin_source_only_kept(const char *source)
{
    const char *directory = secure_getenv("CREDENTIALS_DIRECTORY"), *rest;
    KYOK_AUTO_FREE char *path = NULL;

    if (find_kept(source) == NULL)
        return false;
    switch (find_form(source, &rest)) {
    case FORM_FILE:
        return unreadable(rest);
    case FORM_CREDENTIAL:
        if (directory != NULL && asprintf(&path, "%s/%s", directory, rest) < 0)
            path = NULL;
        return path == NULL || unreadable(path);
    default:
        return true;
    }
}
