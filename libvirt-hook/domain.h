/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kyok needs of a libvirt domain's XML: its encrypted disks, its vTPM's secret, and the
 * records in its metadata. The XML may come from a tenant: no entities, no network, bounded size
 * and counts. It needs libxml2 alone, so that a start without encrypted disks loads nothing else.
 * It never trusts what it reads: a record says nothing until its envelope has been authenticated.
 */
#ifndef KYOK_HOOK_DOMAIN_H
#define KYOK_HOOK_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>

#define DOMAIN_XML_MAX ((size_t)8 << 20) /* libvirt itself passes on 4 MiB */
#define DOMAIN_MAX_VOLUMES 256
#define DOMAIN_MAX_RECORDS 512
#define DOMAIN_RECORD_MAX ((size_t)256 << 10)
#define DOMAIN_NAMESPACE "urn:kyok:libvirt:1"

/* One encrypted image: a disk's source, or one of its backing chain. */
struct domain_volume {
    char *target;      /* "vda" */
    char *path;        /* file or block device; NULL for network, volume and others */
    char *protocol;    /* of a network disk, else NULL */
    char *secret_uuid; /* as the XML has it; one of these two, or neither */
    char *secret_usage;
    bool block;
    bool foreign; /* somebody else stored its secret: set by hook_mark_foreign() */
};

/* <kyok:record disk='LUKS-UUID'>JSON</kyok:record>, or vtpm='SECRET-UUID'; pending='yes'. */
struct domain_record {
    char *uuid;
    bool vtpm, pending;
    char *json;
};

struct domain {
    char *name, *uuid;
    char *vtpm_secret; /* UUID of the secret of the vTPM's state; NULL: none */
    bool vtpm_foreign; /* as of a volume */
    bool has_tpm;      /* an emulated one, encrypted or not */
    char *nvram;       /* path, or NULL */
    long priority;     /* <kyok:vm priority='N'>: which start first after a reboot; 0 */
    struct domain_volume *volumes;
    size_t volume_count;
    size_t plain_disks; /* disks with a file or device that are not encrypted */
    struct domain_record *records;
    size_t record_count;
};

/* A stored secret's XML: who is meant by it, and whether kyok made it. */
struct stored_secret {
    char *uuid, *usage;
    bool ours;
};
bool stored_secret_parse(const char *xml, size_t size, struct stored_secret *secret);
void stored_secret_free(struct stored_secret *secret);

/* Fills *domain; false and a sentence in why when the XML is refused. Fuzzed. */
bool domain_parse(const char *xml, size_t size, struct domain *domain, char *why, size_t why_size);
void domain_free(struct domain *domain);

#endif
