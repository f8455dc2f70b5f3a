/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk records: the envelope of a volume's passphrase, bound to the volume's LUKS UUID and to one
 * VM, and the choice among a record's copies (sidecar, store, domain metadata).
 *
 * A record is a plain envelope with use "vm-disk". A second copy under the same name with ".next"
 * is pending: a re-key that has not ended. Copies are untrusted until the envelope has
 * authenticated them.
 */
#ifndef KYOK_DISK_RECORD_H
#define KYOK_DISK_RECORD_H

#include "common/disk/volume.h"
#include "common/envelope/envelope.h"

#define KYOK_RECORD_USE "vm-disk"
#define KYOK_RECORD_MAX ((size_t)256 << 10)
#define KYOK_RECORD_MAX_COPIES 12
#define KYOK_RECORD_SUFFIX ".kyok"
#define KYOK_RECORD_PENDING_SUFFIX ".next"
#ifndef KYOK_RECORD_STORE
#define KYOK_RECORD_STORE "/etc/kyok/vm"
#endif
#define KYOK_RECORD_OWNER_TEXT 96

/* What a record's passphrase is for. Exactly one of luks_uuid and vtpm_uuid. */
struct kyok_record_binding {
    const char *luks_uuid;
    const char *vtpm_uuid; /* UUID of the secret that encrypts a vTPM's state */
    const char *vm_uuid;   /* NULL: none yet, or any */
    bool any_vm;
};

/* The envelope's owner: "luks:UUID vm:UUID" ("vtpm:…"); "vm:any": every VM; "vm:none": no VM before
 * it is bound, though an administrator opens it. */
enum kyok_status kyok_record_owner(const struct kyok_record_binding *binding,
                                   char owner[KYOK_RECORD_OWNER_TEXT], struct kyok_error *err);
/* Splits an owner again; false when it is none of these. vm is a UUID, "any" or "none". */
bool kyok_record_owner_parse(const char *owner, bool *vtpm, char volume[KYOK_UUID_TEXT],
                             char vm[KYOK_UUID_TEXT]);

struct kyok_record_copy {
    char *where; /* file, or "metadata of VM, disk" */
    bool pending;
    struct kyok_buffer json;
};

struct kyok_record_copies {
    struct kyok_record_copy list[KYOK_RECORD_MAX_COPIES];
    size_t count;
};

/* Adds a copy of bytes. Refuses one too many and one too large. */
enum kyok_status kyok_record_copies_add(struct kyok_record_copies *copies, const char *where,
                                        bool pending, struct kyok_bytes bytes,
                                        struct kyok_error *err);
/* Adds path and path.next, where they exist. Regular files only, never waits. */
enum kyok_status kyok_record_copies_read(struct kyok_record_copies *copies, const char *path,
                                         struct kyok_error *err);
/* Adds what lies beside the image and in the store. image may be NULL, and is for block devices. */
enum kyok_status kyok_record_copies_find(struct kyok_record_copies *copies, const char *image,
                                         const char *uuid, struct kyok_error *err);
void kyok_record_copies_free(struct kyok_record_copies *copies);

/* IMAGE.kyok, or KYOK_RECORD_STORE/UUID.kyok; the caller frees. NULL: no memory. */
char *kyok_record_sidecar_path(const char *image);
char *kyok_record_store_path(const char *uuid);

struct kyok_record_opened {
    struct kyok_secret *passphrase;
    uint64_t generation;
    char vm[KYOK_UUID_TEXT]; /* as kyok_record_owner_parse() gives it */
    size_t copy;             /* index among the copies */
    unsigned slot;           /* of the volume, when there was one */
    char key[256];           /* the record's first recipient, for messages */
};

/*
 * Opens the record: the pending generation if it already opens the volume, else the highest
 * generation among the copies, and never a lower one. use, owner and maker are checked before any
 * custodian is asked, and the passphrase is proved on volume (NULL only for a vTPM).
 * KYOK_NOT_FOUND: there is no copy. binding->vm_uuid NULL: whatever VM (for an administrator).
 */
enum kyok_status kyok_record_open(struct kyok_context *context,
                                  const struct kyok_record_copies *copies,
                                  const struct kyok_record_binding *binding,
                                  const struct kyok_volume *volume, unsigned timeout_ms,
                                  struct kyok_record_opened *opened, struct kyok_error *err);
void kyok_record_opened_free(struct kyok_record_opened *opened);

/* Without a record: the passphrase is an object of a KMIP group (release = yes) whose name is the
 * LUKS UUID: Secret Data, or an AES key whose hexadecimal digits are the passphrase. It is bound to
 * no VM. KYOK_NOT_FOUND: the group has none. */
enum kyok_status kyok_record_fetch(struct kyok_context *context, const char *kmip_group,
                                   const struct kyok_volume *volume,
                                   struct kyok_secret **passphrase, struct kyok_error *err);
/* The same for a volume that is about to be made with this UUID: registers and activates Secret
 * Data, or on a server without Register makes an AES key. */
enum kyok_status kyok_record_make_plain(struct kyok_context *context, const char *kmip_group,
                                        const char *luks_uuid, struct kyok_secret **passphrase,
                                        struct kyok_error *err);

/* Seals passphrase to policy. A policy whose every layer has an RSA alternative is refused: such a
 * record would prove nothing about its maker. */
enum kyok_status kyok_record_seal(struct kyok_context *context, const struct kyok_policy *policy,
                                  const struct kyok_record_binding *binding, uint64_t generation,
                                  struct kyok_bytes passphrase, struct kyok_buffer *json,
                                  struct kyok_error *err);

#endif
