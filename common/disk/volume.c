/* SPDX-License-Identifier: Apache-2.0 */
#include "common/disk/volume.h"
#include "common/disk/removable.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* QEMU's image locks are open-file-description locks on single bytes from 100 (permissions held)
 * and from 200 (permissions not shared): block/file-posix.c, RAW_LOCK_PERM_BASE and _SHARED_BASE.
 * The byte below is kyok's own: two runs of kyok exclude each other also where QEMU has the volume.
 */
#define KYOK_LOCK_START 99
#define QEMU_LOCK_LENGTH 200

static bool read_at(int fd, void *data, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static bool write_at(int fd, const void *data, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(fd, (const char *)data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return false;
        }
        done += (size_t)put;
    }
    return true;
}

void kyok_volume_close(struct kyok_volume *volume)
{
    if (volume->fd >= 0)
        close(volume->fd);
    free(volume->path);
    *volume = (struct kyok_volume){.fd = -1};
}

static enum kyok_status take_locks(struct kyok_volume *volume, enum kyok_volume_access access,
                                   struct kyok_error *err)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = KYOK_LOCK_START,
                         .l_len = access == KYOK_VOLUME_WRITE ? 1 + QEMU_LOCK_LENGTH : 1};
    if (fcntl(volume->fd, F_OFD_SETLK, &lock) == 0)
        return KYOK_OK;
    if (errno != EAGAIN && errno != EACCES)
        return kyok_fail_errno(err, volume->path, "the volume cannot be locked");
    if (access == KYOK_VOLUME_BESIDE_QEMU) {
        kyok_fail(err, KYOK_BUSY, volume->path, "another run of kyok is at work on the volume");
        return kyok_remedy(err, "wait for its end");
    }
    kyok_fail(err, KYOK_BUSY, volume->path, "a VM or another program has the volume open");
    return kyok_remedy(err, "stop the VM first");
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* What may be opened at all: a path out of a domain's XML may be a FIFO, or a device for which
 * being opened is a command (a watchdog, a tape). */
static enum kyok_status check_kind(int found, const char *path, enum kyok_volume_access access,
                                   struct kyok_volume *volume, struct kyok_error *err)
{
    struct stat status;
    if (fstat(found, &status) != 0)
        return kyok_fail_errno(err, path, "the volume cannot be examined");
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return kyok_fail(err, KYOK_INVALID, path, "this is neither a file nor a block device");
    volume->block_device = S_ISBLK(status.st_mode);
    if (access == KYOK_VOLUME_LOOK && volume->block_device &&
        kyok_device_is_removable("/sys", status.st_rdev))
        return kyok_fail(err, KYOK_REFUSED, path, "a removable medium is not read unasked");
    return KYOK_OK;
}

static enum kyok_status open_file(const char *path, enum kyok_volume_access access,
                                  struct kyok_volume *volume, struct kyok_error *err)
{
    bool reads = access == KYOK_VOLUME_READ || access == KYOK_VOLUME_LOOK;
    char name[32];
    volume->path = strdup(path);
    KYOK_CLEANUP(close_fd) int found = open(path, O_PATH | O_CLOEXEC);
    if (!volume->path || found < 0) {
        enum kyok_status status_of_open = errno == ENOENT ? KYOK_NOT_FOUND : KYOK_SYSTEM;
        kyok_fail_errno(err, path, "the volume cannot be opened");
        return err->status = status_of_open;
    }
    KYOK_TRY(check_kind(found, path, access, volume, err));
    snprintf(name, sizeof(name), "/proc/self/fd/%d", found);
    volume->fd = open(name, (reads ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (volume->fd < 0)
        return kyok_fail_errno(err, path, "the volume cannot be opened");
    return reads ? KYOK_OK : take_locks(volume, access, err);
}

/* size: bytes for the header and its key slots; 0 where the header itself says so. */
static enum kyok_status find_header(struct kyok_volume *volume, uint64_t *size,
                                    struct kyok_error *err)
{
    uint8_t magic[4];
    *size = 0;
    if (!read_at(volume->fd, magic, sizeof(magic), 0))
        return kyok_fail(err, KYOK_INVALID, volume->path, "there is no LUKS header");
    if (memcmp(magic, "QFI\xfb", 4) != 0)
        return KYOK_OK;
    volume->format = KYOK_VOLUME_QCOW2;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer head = {0};
    uint8_t *room = kyok_buffer_reserve(&head, KYOK_QCOW2_HEAD);
    ssize_t got = room ? pread(volume->fd, room, KYOK_QCOW2_HEAD, 0) : -1;
    if (got < 0)
        return kyok_fail_errno(err, volume->path, "the qcow2 header cannot be read");
    return kyok_qcow2_luks_offset(kyok_bytes(room, (size_t)got), volume->path, &volume->start, size,
                                  err);
}

/* A slot in the data, in use or not, would be written to some day. QEMU and cryptsetup refuse such
 * headers as well. */
static enum kyok_status check_slots(const struct kyok_volume *volume, uint64_t room,
                                    struct kyok_error *err)
{
    uint64_t size = kyok_luks_material_size(&volume->luks);
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        if (volume->luks.slots[i].offset * (uint64_t)KYOK_LUKS_SECTOR + size > room)
            return kyok_fail(err, KYOK_INVALID, volume->path, "LUKS key slot %u lies in the data",
                             i);
    return KYOK_OK;
}

static enum kyok_status open_parsed(const char *path, enum kyok_volume_access access,
                                    struct kyok_volume *volume, struct kyok_error *err)
{
    uint8_t bytes[KYOK_LUKS_HEADER_SIZE];
    uint64_t room;
    KYOK_TRY(open_file(path, access, volume, err));
    KYOK_TRY(find_header(volume, &room, err));
    if (!read_at(volume->fd, bytes, sizeof(bytes), volume->start))
        return kyok_fail(err, KYOK_INVALID, path, "the LUKS header is cut short");
    KYOK_TRY(kyok_luks_parse(kyok_bytes(bytes, sizeof(bytes)), path, &volume->luks, err));
    return check_slots(volume, room ? room : volume->luks.payload * (uint64_t)KYOK_LUKS_SECTOR,
                       err);
}

enum kyok_status kyok_volume_open(const char *path, enum kyok_volume_access access,
                                  struct kyok_volume *volume, struct kyok_error *err)
{
    *volume = (struct kyok_volume){.fd = -1};
    enum kyok_status status = open_parsed(path, access, volume, err);
    if (status != KYOK_OK)
        kyok_volume_close(volume);
    return status;
}

static uint64_t material_offset(const struct kyok_volume *volume, unsigned slot)
{
    return volume->start + (uint64_t)volume->luks.slots[slot].offset * KYOK_LUKS_SECTOR;
}

static enum kyok_status unlock_slot(const struct kyok_volume *volume, unsigned slot,
                                    struct kyok_bytes passphrase, struct kyok_secret **volume_key,
                                    struct kyok_error *err)
{
    size_t size = kyok_luks_material_size(&volume->luks);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer material = {0};
    uint8_t *room = kyok_buffer_reserve(&material, size);
    if (!room || !read_at(volume->fd, room, size, material_offset(volume, slot)))
        return kyok_fail(err, KYOK_INVALID, volume->path, "LUKS key slot %u cannot be read", slot);
    return kyok_luks_open_slot(&volume->luks, slot, passphrase, kyok_bytes(room, size),
                               volume->path, volume_key, err);
}

enum kyok_status kyok_volume_unlock(const struct kyok_volume *volume, struct kyok_bytes passphrase,
                                    unsigned *slot, struct kyok_secret **volume_key,
                                    struct kyok_error *err)
{
    kyok_fail(err, KYOK_REFUSED, volume->path, "the volume has no active key slot");
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++) {
        KYOK_AUTO_SECRET struct kyok_secret *found = NULL;
        if (!volume->luks.slots[i].active)
            continue;
        enum kyok_status status = unlock_slot(volume, i, passphrase, &found, err);
        if (status == KYOK_REFUSED)
            continue;
        KYOK_TRY(status);
        if (slot)
            *slot = i;
        if (volume_key) {
            *volume_key = found;
            found = NULL;
        }
        return KYOK_OK;
    }
    return err->status;
}

unsigned kyok_volume_active_slots(const struct kyok_volume *volume)
{
    unsigned active = 0;
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        active += volume->luks.slots[i].active;
    return active;
}

static enum kyok_status write_header(int fd, const char *path, uint64_t start,
                                     const struct kyok_luks *luks, struct kyok_error *err)
{
    uint8_t bytes[KYOK_LUKS_HEADER_SIZE];
    kyok_luks_write(luks, bytes);
    if (!write_at(fd, bytes, sizeof(bytes), start) || fsync(fd) != 0)
        return kyok_fail_errno(err, path, "the LUKS header cannot be written");
    return KYOK_OK;
}

static enum kyok_status write_slot(int fd, const char *path, uint64_t start, struct kyok_luks *luks,
                                   unsigned slot, struct kyok_bytes volume_key,
                                   struct kyok_bytes passphrase, struct kyok_error *err)
{
    size_t size = kyok_luks_material_size(luks);
    struct kyok_luks_slot *target = &luks->slots[slot];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer material = {0};
    uint8_t *room = kyok_buffer_reserve(&material, size);
    target->iterations = KYOK_VOLUME_ITERATIONS;
    if (!room || RAND_bytes(target->salt, sizeof(target->salt)) != 1)
        return kyok_fail(err, KYOK_SYSTEM, path, "LUKS key slot %u cannot be made", slot);
    KYOK_TRY(kyok_luks_fill_slot(luks, slot, passphrase, volume_key, room, path, err));
    if (!write_at(fd, room, size, start + (uint64_t)target->offset * KYOK_LUKS_SECTOR) ||
        fsync(fd) != 0)
        return kyok_fail_errno(err, path, "LUKS key slot %u cannot be written", slot);
    target->active = true;
    return write_header(fd, path, start, luks, err);
}

enum kyok_status kyok_volume_add_slot(struct kyok_volume *volume, struct kyok_bytes volume_key,
                                      struct kyok_bytes passphrase, unsigned *slot,
                                      struct kyok_error *err)
{
    unsigned free_slot = 0;
    while (free_slot < KYOK_LUKS_SLOTS && volume->luks.slots[free_slot].active)
        free_slot++;
    if (free_slot == KYOK_LUKS_SLOTS) {
        kyok_fail(err, KYOK_BUSY, volume->path, "all eight LUKS key slots are taken");
        return kyok_remedy(err, "remove one with cryptsetup luksKillSlot or qemu-img amend");
    }
    struct kyok_luks changed = volume->luks;
    KYOK_TRY(write_slot(volume->fd, volume->path, volume->start, &changed, free_slot, volume_key,
                        passphrase, err));
    volume->luks = changed;
    *slot = free_slot;
    return KYOK_OK;
}

static enum kyok_status scrub_slot(struct kyok_volume *volume, unsigned slot,
                                   struct kyok_error *err)
{
    size_t size = kyok_luks_material_size(&volume->luks);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer noise = {0};
    uint8_t *room = kyok_buffer_reserve(&noise, size);

    if (!room || RAND_bytes(room, (int)size) != 1 ||
        !write_at(volume->fd, room, size, material_offset(volume, slot)) || fsync(volume->fd) != 0)
        return kyok_fail_errno(err, volume->path, "LUKS key slot %u cannot be erased", slot);
    return KYOK_OK;
}

/* The header first: killed in between, the slot is free, and kyok_volume_scrub_free_slots() does
 * the rest. The other way round a slot that nothing opens would stay taken for good. */
enum kyok_status kyok_volume_erase_slot(struct kyok_volume *volume, unsigned slot,
                                        struct kyok_error *err)
{
    if (slot >= KYOK_LUKS_SLOTS || !volume->luks.slots[slot].active)
        return kyok_fail(err, KYOK_INVALID, volume->path, "LUKS key slot %u is not in use", slot);
    if (kyok_volume_active_slots(volume) == 1)
        return kyok_fail(err, KYOK_REFUSED, volume->path, "slot %u is the last LUKS key slot",
                         slot);
    volume->luks.slots[slot].active = false;
    KYOK_TRY(write_header(volume->fd, volume->path, volume->start, &volume->luks, err));
    return scrub_slot(volume, slot, err);
}

enum kyok_status kyok_volume_scrub_free_slots(struct kyok_volume *volume, struct kyok_error *err)
{
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        if (!volume->luks.slots[i].active)
            KYOK_TRY(scrub_slot(volume, i, err));
    return KYOK_OK;
}

static enum kyok_status make_room(int fd, const char *path, uint64_t payload, uint64_t size,
                                  struct kyok_error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return kyok_fail_errno(err, path, "the volume cannot be examined");
    if (S_ISBLK(status.st_mode)) {
        off_t end = lseek(fd, 0, SEEK_END);
        if (end < 0 || (uint64_t)end <= payload)
            return kyok_fail(err, KYOK_INVALID, path, "the device is too small for a LUKS header");
        return KYOK_OK;
    }
    if (size > INT64_MAX - payload)
        return kyok_fail(err, KYOK_INVALID, path, "the size is too large");
    if (ftruncate(fd, (off_t)(payload + size)) != 0)
        return kyok_fail_errno(err, path, "the volume cannot be sized");
    return KYOK_OK;
}

static enum kyok_status write_qcow2(int fd, const char *path, uint64_t size, uint64_t luks_size,
                                    uint64_t *start, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer image = {0};
    KYOK_TRY(kyok_qcow2_new(size, luks_size, &image, start, err));
    if (!write_at(fd, image.data, image.size, 0))
        return kyok_fail_errno(err, path, "the image cannot be written");
    return KYOK_OK;
}

enum kyok_status kyok_volume_create(int fd, const char *path, enum kyok_volume_format format,
                                    uint64_t size, struct kyok_bytes passphrase,
                                    struct kyok_luks *luks, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *key = NULL;
    uint64_t start = 0;
    char uuid[KYOK_UUID_TEXT];
    memcpy(uuid, luks->uuid, sizeof(uuid));
    KYOK_TRY(kyok_luks_new(luks, *uuid ? uuid : NULL, KYOK_VOLUME_ITERATIONS, &key, err));
    uint64_t payload = (uint64_t)luks->payload * KYOK_LUKS_SECTOR;
    if (format == KYOK_VOLUME_QCOW2)
        KYOK_TRY(write_qcow2(fd, path, size, payload, &start, err));
    else
        KYOK_TRY(make_room(fd, path, payload, size, err));
    return write_slot(fd, path, start, luks, 0, kyok_secret_bytes(key), passphrase, err);
}

enum kyok_status kyok_passphrase_new(struct kyok_secret **passphrase, struct kyok_error *err)
{
    uint8_t bytes[32];
    char text[2 * sizeof(bytes) + 1];
    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "there are no random numbers");
    kyok_hex_encode(kyok_bytes(bytes, sizeof(bytes)), text);
    *passphrase = kyok_secret_copy(kyok_bytes(text, sizeof(text) - 1));
    kyok_wipe(bytes, sizeof(bytes));
    kyok_wipe(text, sizeof(text));
    return *passphrase ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for a passphrase");
}
