/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a structure of a message looks, as a table that serves reading and writing: one row per
 * field, in the order of the specification's table. Private to the message_*.c files and their
 * tests.
 */
#ifndef KYOK_KMIP_MESSAGE_SHAPE_H
#define KYOK_KMIP_MESSAGE_SHAPE_H

#include "common/kmip/message.h"

enum kyok_kmip_kind {
    KYOK_KMIP_KIND_INT,      /* int32_t */
    KYOK_KMIP_KIND_INTEGER,  /* struct kyok_kmip_integer */
    KYOK_KMIP_KIND_INTERVAL, /* struct kyok_kmip_integer */
    KYOK_KMIP_KIND_LONG,     /* struct kyok_kmip_long */
    KYOK_KMIP_KIND_DATE,     /* struct kyok_kmip_long */
    KYOK_KMIP_KIND_ENUM,     /* an enum; absent when 0 */
    KYOK_KMIP_KIND_RESULT,   /* an enum that is always there, 0 included */
    KYOK_KMIP_KIND_BOOLEAN,  /* enum kyok_kmip_boolean */
    KYOK_KMIP_KIND_TEXT,     /* struct kyok_bytes */
    KYOK_KMIP_KIND_BYTES,    /* struct kyok_bytes */
    KYOK_KMIP_KIND_BIG,      /* struct kyok_bytes, a Big Integer */
    KYOK_KMIP_KIND_CONTENT,  /* struct kyok_bytes, the TTLV content of a structure */
    KYOK_KMIP_KIND_STRUCT,   /* a structure with a shape, in place */
    KYOK_KMIP_KIND_POINTER,  /* a pointer to a structure with a shape */
    KYOK_KMIP_KIND_SPECIAL,  /* by functions of its own */
};

enum {
    KYOK_KMIP_OPTIONAL = 0,
    KYOK_KMIP_REQUIRED = 1,
    KYOK_KMIP_REPEATED = 2, /* a KYOK_KMIP_LIST of kind, any number */
    KYOK_KMIP_FORMS = 4,    /* the rows after it that have OR are other forms of it */
    KYOK_KMIP_OR = 8,       /* of forms, one is there; writing takes the one of the version */
    KYOK_KMIP_ALIAS = 16,   /* a form whose writing the first form does */
};

struct kyok_kmip_shape;
struct kyok_kmip_special;
struct kyok_kmip_reading;
struct kyok_kmip_writing;

struct kyok_kmip_field {
    uint32_t tag;
    uint8_t kind, need;
    uint16_t since, until;
    uint16_t offset, size; /* of the member */
    const struct kyok_kmip_shape *shape;
    const struct kyok_kmip_special *special;
};

/* Fields by rows; or, where the content depends on itself, by functions (fields NULL). */
struct kyok_kmip_shape {
    const struct kyok_kmip_field *fields;
    uint16_t count, size;
    enum kyok_status (*read)(struct kyok_kmip_reading *reading, struct kyok_ttlv_reader *reader,
                             uint32_t tag, void *target);
    enum kyok_status (*write)(struct kyok_kmip_writing *writing, uint32_t tag, const void *source);
};
#define KYOK_KMIP_SHAPE_FIELDS_MAX 32

/* Rows. need is OPTIONAL, REQUIRED or REPEATED, and for forms | FORMS in the first, | OR in the
 * others. */
#define KYOK_KMIP_ROW(structure, need_, kind_, tag_, member, since_, until_, shape_, special_)     \
    {                                                                                              \
        .tag = KYOK_KMIP_TAG_##tag_, .kind = KYOK_KMIP_KIND_##kind_, .need = (need_),              \
        .since = KYOK_KMIP_##since_, .until = KYOK_KMIP_##until_,                                  \
        .offset = offsetof(struct kyok_kmip_##structure, member),                                  \
        .size = sizeof(((struct kyok_kmip_##structure *)0)->member), .shape = (shape_),            \
        .special = (special_)                                                                      \
    }
/* A field of a plain kind; one with a shape; one with functions; one that some version dropped. */
#define KYOK_KMIP_FIELD(structure, need, kind, tag, member, since)                                 \
    KYOK_KMIP_ROW(structure, KYOK_KMIP_##need, kind, tag, member, since, 2_1, NULL, NULL)
#define KYOK_KMIP_NESTED(structure, need, kind, tag, member, shape, since)                         \
    KYOK_KMIP_ROW(structure, KYOK_KMIP_##need, kind, tag, member, since, 2_1, shape, NULL)
#define KYOK_KMIP_PECULIAR(structure, need, tag, member, special, since)                           \
    KYOK_KMIP_ROW(structure, KYOK_KMIP_##need, SPECIAL, tag, member, since, 2_1, NULL, special)
#define KYOK_KMIP_UNTIL(structure, need, kind, tag, member, shape, since, until)                   \
    KYOK_KMIP_ROW(structure, need, kind, tag, member, since, until, shape, NULL)
#define KYOK_KMIP_DEFINE(name, structure, fields_)                                                 \
    const struct kyok_kmip_shape name = {.fields = (fields_),                                      \
                                         .count = sizeof(fields_) / sizeof((fields_)[0]),          \
                                         .size = sizeof(struct kyok_kmip_##structure)}

/* --- reading --- */

struct kyok_kmip_reading {
    struct kyok_kmip_arena *arena;
    const uint8_t *start; /* of the message, for places in errors */
    int32_t batch_count;
    struct kyok_error *err;
};

struct kyok_kmip_special {
    /* item has the row's tag and is of any type; reader is what gave it; target is the member, or
     * the next element of a list. */
    enum kyok_status (*read)(struct kyok_kmip_reading *reading,
                             const struct kyok_ttlv_reader *reader,
                             const struct kyok_ttlv_item *item, void *target);
    bool (*present)(const void *source); /* NULL: it always is */
    enum kyok_status (*write)(struct kyok_kmip_writing *writing, uint32_t tag, const void *source);
    uint16_t size; /* of an element */
};

/* KYOK_FAULT at the item: "malformed KMIP message: <tag> <complaint>". */
enum kyok_status kyok_kmip_malformed(struct kyok_kmip_reading *reading, const uint8_t *at,
                                     uint32_t tag, const char *complaint);
/* Reads the items that are left in reader into target, by shape. tag names the structure in errors.
 */
enum kyok_status kyok_kmip_read_fields(struct kyok_kmip_reading *reading,
                                       struct kyok_ttlv_reader *reader, uint32_t tag,
                                       const struct kyok_kmip_shape *shape, void *target);
/* item must be a structure: its content by shape. */
enum kyok_status kyok_kmip_read_structure(struct kyok_kmip_reading *reading,
                                          const struct kyok_ttlv_reader *reader,
                                          const struct kyok_ttlv_item *item,
                                          const struct kyok_kmip_shape *shape, void *target);
/* The same into the arena. */
enum kyok_status kyok_kmip_read_pointer(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item,
                                        const struct kyok_kmip_shape *shape, const void **pointer);
/* item must be of that type. */
enum kyok_status kyok_kmip_expect(struct kyok_kmip_reading *reading,
                                  const struct kyok_ttlv_item *item, enum kyok_ttlv_type type);
/* A structure whose content is kept as it is, checked at all depths. */
enum kyok_status kyok_kmip_read_content(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item,
                                        struct kyok_bytes *content);
/* The next item of reader: *more is false at its end. */
enum kyok_status kyok_kmip_next(struct kyok_kmip_reading *reading, struct kyok_ttlv_reader *reader,
                                struct kyok_ttlv_item *item, bool *more);
enum kyok_status kyok_kmip_enter(struct kyok_kmip_reading *reading,
                                 const struct kyok_ttlv_reader *outer,
                                 const struct kyok_ttlv_item *item, struct kyok_ttlv_reader *inner);
/* Every KYOK_KMIP_LIST looks like this. */
struct kyok_kmip_any_list {
    const void *items;
    size_t count;
};
struct kyok_kmip_list {
    void *items;
    size_t count;
};
/* The next element of a repeated row; the first makes room for all. */
enum kyok_status kyok_kmip_read_element(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item,
                                        const struct kyok_kmip_field *field,
                                        struct kyok_kmip_list *list);
/* Items that a structure does not have are no error; what is inside them must still be TTLV. */
enum kyok_status kyok_kmip_skip(struct kyok_kmip_reading *reading,
                                const struct kyok_ttlv_reader *reader,
                                const struct kyok_ttlv_item *item);
/* KYOK_FAULT: what the reader found at its cursor; a field that tag's structure lacks. */
enum kyok_status kyok_kmip_broken_rule(struct kyok_kmip_reading *reading,
                                       const struct kyok_ttlv_reader *reader,
                                       enum kyok_ttlv_result result);
enum kyok_status kyok_kmip_missing(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_reader *reader, uint32_t tag,
                                   const struct kyok_kmip_field *field);
/* Of one element of a repeated field. */
size_t kyok_kmip_element_size(const struct kyok_kmip_field *field);
void *kyok_kmip_take(struct kyok_kmip_reading *reading, size_t count, size_t size);

/* --- writing --- */

struct kyok_kmip_writing {
    struct kyok_ttlv_writer *writer;
    unsigned version;
    struct kyok_error *err;
};

enum kyok_status kyok_kmip_write_fields(struct kyok_kmip_writing *writing, uint32_t tag,
                                        const struct kyok_kmip_shape *shape, const void *source);
/* A structure under tag. */
enum kyok_status kyok_kmip_write_structure(struct kyok_kmip_writing *writing, uint32_t tag,
                                           const struct kyok_kmip_shape *shape, const void *source);
/* A row whose field is absent, or that the version writes in another form or not at all. */
enum kyok_status kyok_kmip_leave_out(struct kyok_kmip_writing *writing, uint32_t tag,
                                     const struct kyok_kmip_field *field, bool present);
/* list is the KYOK_KMIP_LIST of a repeated row. */
enum kyok_status kyok_kmip_write_list(struct kyok_kmip_writing *writing,
                                      const struct kyok_kmip_field *field,
                                      const struct kyok_kmip_any_list *list);
/* KYOK_UNSUPPORTED: "<tag> does not exist in KMIP <version>". */
enum kyok_status kyok_kmip_not_in_version(struct kyok_kmip_writing *writing, const char *what);

/* --- shapes that several files use --- */

extern const struct kyok_kmip_shape kyok_kmip_name_shape, kyok_kmip_cryptographic_parameters_shape,
    kyok_kmip_domain_parameters_shape, kyok_kmip_x509_identifier_shape,
    kyok_kmip_x509_subject_shape, kyok_kmip_x509_issuer_shape,
    kyok_kmip_certificate_identifier_shape, kyok_kmip_certificate_subject_shape,
    kyok_kmip_certificate_issuer_shape, kyok_kmip_digest_shape, kyok_kmip_usage_limits_shape,
    kyok_kmip_revocation_reason_shape, kyok_kmip_link_shape, kyok_kmip_application_shape,
    kyok_kmip_alternative_name_shape, kyok_kmip_key_value_location_shape,
    kyok_kmip_rng_parameters_shape;

/* Template-Attribute in 1.x, Attributes in 2.x: into a struct kyok_kmip_template. */
extern const struct kyok_kmip_shape kyok_kmip_template_shape, kyok_kmip_template_2_shape;
/* Attributes in 2.x, into a kyok_kmip_attributes. */
extern const struct kyok_kmip_shape kyok_kmip_attributes_2_shape;
extern const struct kyok_kmip_special kyok_kmip_optional_attributes_2_special;
/* One attribute: Attribute of 1.x; in 2.x the one inside Current or New Attribute. */
extern const struct kyok_kmip_shape kyok_kmip_attribute_shape, kyok_kmip_attribute_2_shape;
/* Attribute Name of 1.x, Attribute Reference of 2.x. */
extern const struct kyok_kmip_special kyok_kmip_attribute_name_special,
    kyok_kmip_attribute_reference_special;
extern const struct kyok_kmip_special kyok_kmip_object_special;
extern const struct kyok_kmip_shape kyok_kmip_key_wrapping_specification_shape,
    kyok_kmip_authentication_shape;

extern const struct kyok_kmip_shape kyok_kmip_request_shape, kyok_kmip_response_shape;

#endif
