/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/domain.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct domain *domain;
    char *why;
    size_t why_size;
};

static bool refuse(struct reader *reader, const char *what)
{
    snprintf(reader->why, reader->why_size, "%s", what);
    return false;
}

/* --- elements and attributes --- */

static bool is(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static xmlNode *child(const xmlNode *parent, const char *name)
{
    for (xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
        if (is(node, name))
            return node;
    return NULL;
}

/* A copy that free() takes, since libxml2's allocator need not be malloc's. */
static char *own(xmlChar *text)
{
    char *copy = text ? strdup((const char *)text) : NULL;
    xmlFree(text);
    return copy;
}

static char *attribute(const xmlNode *node, const char *name)
{
    return node ? own(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

static char *content(const xmlNode *node)
{
    return node ? own(xmlNodeGetContent(node)) : NULL;
}

static bool attribute_is(const xmlNode *node, const char *name, const char *value)
{
    char *text = attribute(node, name);
    bool same = text && strcmp(text, value) == 0;
    free(text);
    return same;
}

/* --- disks --- */

static struct domain_volume *add_volume(struct domain *domain)
{
    struct domain_volume *grown =
        realloc(domain->volumes, (domain->volume_count + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    domain->volumes = grown;
    grown[domain->volume_count] = (struct domain_volume){0};
    return &grown[domain->volume_count++];
}

static struct domain_volume *new_volume(struct reader *reader)
{
    struct domain_volume *volume = NULL;
    if (reader->domain->volume_count == DOMAIN_MAX_VOLUMES)
        refuse(reader, "the domain has more than 256 encrypted images");
    else if (!(volume = add_volume(reader->domain)))
        refuse(reader, "no memory for the domain's disks");
    return volume;
}

static void read_secret(const xmlNode *secret, struct domain_volume *volume)
{
    volume->secret_uuid = attribute(secret, "uuid");
    volume->secret_usage = attribute(secret, "usage");
}

/* Layered encryption names several. None of kyok's disks has more than one: the others stand as
 * images of their own, without a path. */
static bool read_more_secrets(struct reader *reader, const xmlNode *first)
{
    for (const xmlNode *node = first ? first->next : NULL; node; node = node->next) {
        if (!is(node, "secret"))
            continue;
        struct domain_volume *volume = new_volume(reader);
        if (!volume)
            return false;
        read_secret(node, volume);
    }
    return true;
}

/* encryption stands inside source, or (before libvirt 3.9) beside it. */
static bool read_source(struct reader *reader, const xmlNode *holder, const xmlNode *disk)
{
    const xmlNode *source = child(holder, "source");
    const xmlNode *encryption = child(source, "encryption");
    if (!encryption)
        encryption = child(holder, "encryption");
    if (!encryption || !attribute_is(encryption, "format", "luks")) {
        reader->domain->plain_disks += source != NULL;
        return true;
    }
    const xmlNode *secret = child(encryption, "secret");
    if (!read_more_secrets(reader, secret))
        return false;
    struct domain_volume *volume = new_volume(reader);
    if (!volume)
        return false;
    volume->path = attribute(source, "file");
    if (!volume->path) {
        volume->path = attribute(source, "dev");
        volume->block = volume->path != NULL;
    }
    volume->protocol = volume->path ? NULL : attribute(source, "protocol");
    volume->target = attribute(child(disk, "target"), "dev");
    read_secret(secret, volume);
    return true;
}

/* The disk's own source, then its backing chain; libxml2 bounds the depth. */
static bool read_disk(struct reader *reader, const xmlNode *disk)
{
    for (const xmlNode *holder = disk; holder; holder = child(holder, "backingStore"))
        if (!read_source(reader, holder, disk))
            return false;
    const xmlNode *mirror = child(disk, "mirror");
    return !mirror || read_source(reader, mirror, disk);
}

static void read_tpm(struct domain *domain, const xmlNode *tpm)
{
    const xmlNode *backend = child(tpm, "backend");
    if (!backend || !attribute_is(backend, "type", "emulator"))
        return;
    domain->has_tpm = true;
    if (!domain->vtpm_secret)
        domain->vtpm_secret = attribute(child(backend, "encryption"), "secret");
}

static bool read_devices(struct reader *reader, const xmlNode *devices)
{
    for (const xmlNode *node = devices ? devices->children : NULL; node; node = node->next) {
        if (is(node, "tpm"))
            read_tpm(reader->domain, node);
        if (is(node, "disk") && !read_disk(reader, node))
            return false;
    }
    return true;
}

/* --- metadata --- */

static bool in_namespace(const xmlNode *node)
{
    return node->ns && node->ns->href &&
           strcmp((const char *)node->ns->href, DOMAIN_NAMESPACE) == 0;
}

static bool read_record(struct reader *reader, const xmlNode *node)
{
    struct domain *domain = reader->domain;
    if (domain->record_count == DOMAIN_MAX_RECORDS)
        return refuse(reader, "the domain's metadata holds more than 512 records");
    struct domain_record *grown =
        realloc(domain->records, (domain->record_count + 1) * sizeof(*grown));
    if (!grown)
        return refuse(reader, "no memory for the domain's records");
    domain->records = grown;
    struct domain_record *record = &grown[domain->record_count++];
    *record = (struct domain_record){.uuid = attribute(node, "disk")};
    if (!record->uuid) {
        record->uuid = attribute(node, "vtpm");
        record->vtpm = true;
    }
    record->pending = attribute_is(node, "pending", "yes");
    record->json = content(node);
    if (!record->uuid || !record->json)
        return refuse(reader, "a record in the domain's metadata names neither disk= nor vtpm=");
    if (strlen(record->json) > DOMAIN_RECORD_MAX)
        return refuse(reader, "a record in the domain's metadata is larger than 256 KiB");
    return true;
}

static long read_priority(const xmlNode *vm)
{
    char *text = attribute(vm, "priority");
    long priority = text ? strtol(text, NULL, 10) : 0;
    free(text);
    return priority;
}

static bool read_metadata(struct reader *reader, const xmlNode *metadata)
{
    for (const xmlNode *vm = metadata ? metadata->children : NULL; vm; vm = vm->next) {
        if (!is(vm, "vm") || !in_namespace(vm))
            continue;
        reader->domain->priority = read_priority(vm);
        for (const xmlNode *node = vm->children; node; node = node->next)
            if (is(node, "record") && in_namespace(node) && !read_record(reader, node))
                return false;
    }
    return true;
}

/* --- document --- */

/* A document type can only bring entities, which no domain of libvirt's has. */
static void refuse_document_type(void *context, const xmlChar *name, const xmlChar *external,
                                 const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    xmlParserCtxtPtr parser = context;
    parser->_private = parser;
    xmlStopParser(parser);
}

static xmlDoc *read_document(struct reader *reader, const char *xml, size_t size)
{
    if (size > DOMAIN_XML_MAX) {
        refuse(reader, "the domain's XML is larger than 8 MiB");
        return NULL;
    }
    xmlParserCtxtPtr parser = xmlNewParserCtxt();
    if (!parser) {
        refuse(reader, "no memory for the domain's XML");
        return NULL;
    }
    parser->sax->internalSubset = refuse_document_type;
    xmlDoc *document = xmlCtxtReadMemory(parser, xml, (int)size, NULL, NULL,
                                         XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (parser->_private)
        refuse(reader, "the domain's XML has a document type, and kyok reads no entities");
    else if (!document)
        refuse(reader, "the domain's XML is broken");
    if (document && parser->_private) {
        xmlFreeDoc(document);
        document = NULL;
    }
    xmlFreeParserCtxt(parser);
    return document;
}

/* libvirt's save images and migration cookies wrap the domain; snapshots hold it. */
static const xmlNode *find_domain(const xmlDoc *document)
{
    const xmlNode *root = xmlDocGetRootElement(document);
    if (!root || is(root, "domain"))
        return root;
    return child(root, "domain");
}

static bool read_domain(struct reader *reader, const xmlNode *root)
{
    struct domain *domain = reader->domain;
    if (!root || !is(root, "domain"))
        return refuse(reader, "there is no domain in the XML");
    domain->name = content(child(root, "name"));
    domain->uuid = content(child(root, "uuid"));
    domain->nvram = content(child(child(root, "os"), "nvram"));
    return read_devices(reader, child(root, "devices")) &&
           read_metadata(reader, child(root, "metadata"));
}

bool domain_parse(const char *xml, size_t size, struct domain *domain, char *why, size_t why_size)
{
    struct reader reader = {.domain = domain, .why = why, .why_size = why_size};
    *domain = (struct domain){0};
    xmlDoc *document = read_document(&reader, xml, size);
    if (!document)
        return false;
    bool good = read_domain(&reader, find_domain(document));
    xmlFreeDoc(document);
    if (!good)
        domain_free(domain);
    return good;
}

bool stored_secret_parse(const char *xml, size_t size, struct stored_secret *secret)
{
    char why[256];
    struct reader reader = {.why = why, .why_size = sizeof(why)};
    *secret = (struct stored_secret){0};
    xmlDoc *document = read_document(&reader, xml, size);
    const xmlNode *root = document ? xmlDocGetRootElement(document) : NULL;
    bool good = root && is(root, "secret");
    if (good) {
        const xmlNode *usage = child(root, "usage");
        char *description = content(child(root, "description"));
        secret->uuid = content(child(root, "uuid"));
        secret->usage = content(child(usage, "volume"));
        secret->ours = description && strncmp(description, "kyok: ", 6) == 0;
        free(description);
    }
    xmlFreeDoc(document);
    return good;
}

void stored_secret_free(struct stored_secret *secret)
{
    free(secret->uuid);
    free(secret->usage);
    *secret = (struct stored_secret){0};
}

void domain_free(struct domain *domain)
{
    for (size_t i = 0; i < domain->volume_count; i++) {
        struct domain_volume *volume = &domain->volumes[i];
        free(volume->target);
        free(volume->path);
        free(volume->protocol);
        free(volume->secret_uuid);
        free(volume->secret_usage);
    }
    for (size_t i = 0; i < domain->record_count; i++) {
        free(domain->records[i].uuid);
        free(domain->records[i].json);
    }
    free(domain->volumes);
    free(domain->records);
    free(domain->name);
    free(domain->uuid);
    free(domain->nvram);
    free(domain->vtpm_secret);
    *domain = (struct domain){0};
}
