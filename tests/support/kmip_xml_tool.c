/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KMIP's profile test cases (XML) through the codec.
 *
 *   kmip_xml_tool check FILE...       XML -> TTLV -> structures -> TTLV for every message; one line
 *                                     each: "same", "left out" (an operation without structures:
 * its payload is kept raw, and is the same too) or "differs" kmip_xml_tool write FOLDER FILE...
 * each message's TTLV into a file of FOLDER, named by contents
 *
 * The mapping is that of the KMIP profiles' XML: element names are tags, no type is a structure, an
 * enumeration inside Attribute Value has the table of the attribute that its sibling names, masks
 * are names between blanks. Placeholders: $NOW and offsets from it are one fixed time, others stand
 * for their own text.
 */
#include "common/kmip/message.h"
#include "common/kmip/message_operations.h"

#include <ctype.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOW INT64_C(1700000000)

struct place {
    const char *file;
    int line;
};

static _Noreturn void die(struct place place, const char *what, const char *value)
{
    fprintf(stderr, "%s:%d: %s: %s\n", place.file, place.line, what, value);
    exit(2);
}

static char *property(xmlNode *node, const char *name)
{
    return (char *)xmlGetProp(node, (const xmlChar *)name);
}

static void free_property(char **text)
{
    xmlFree(*text);
}
#define PROPERTY KYOK_CLEANUP(free_property) char *

/* "Cryptographic   Length", as the documents' line breaks left it, has one blank. */
static void squeeze(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++)
        if (!isspace((unsigned char)*from) ||
            (to > text && to[-1] != ' ' && from[1] != '\0' && !isspace((unsigned char)from[1])))
            *to++ = isspace((unsigned char)*from) ? ' ' : *from;
    *to = '\0';
}

/* Which table an Attribute Value's names are from. */
static uint32_t tag_of_attribute(xmlNode *value)
{
    for (xmlNode *node = value->parent->children; node != NULL; node = node->next) {
        if (strcmp((const char *)node->name, "AttributeName") != 0)
            continue;
        PROPERTY name = property(node, "value");
        squeeze(name);
        return kyok_kmip_attribute_tag(kyok_kmip_attribute_name(kyok_bytes_of_text(name)).id);
    }
    return 0;
}

static uint32_t tag_of(xmlNode *node, struct place place)
{
    uint32_t tag = kyok_kmip_tag_by_name((const char *)node->name);
    if (strcmp((const char *)node->name, "TTLV") == 0) {
        PROPERTY number = property(node, "tag");
        tag = (uint32_t)strtoul(number, NULL, 16);
    }
    if (tag == 0)
        die(place, "unknown tag", (const char *)node->name);
    return tag;
}

static int64_t number(const char *text, struct place place)
{
    char *end;
    bool hexadecimal = strncmp(text, "0x", 2) == 0;
    int64_t value = hexadecimal ? (int64_t)strtoull(text + 2, &end, 16) : strtoll(text, &end, 10);
    if (*end != '\0' || end == text)
        die(place, "not a number", text);
    return value;
}

static int32_t integer(uint32_t table, char *text, struct place place)
{
    int32_t value = 0;
    if (isdigit((unsigned char)text[0]) || text[0] == '-')
        return (int32_t)number(text, place);
    for (char *at, *word = strtok_r(text, " \t\n", &at); word;
         word = strtok_r(NULL, " \t\n", &at)) {
        uint32_t bit;
        if (!kyok_kmip_mask_by_name(table, word, &bit))
            die(place, "unknown mask bit", word);
        value |= (int32_t)bit;
    }
    return value;
}

static int64_t date(const char *text, struct place place)
{
    struct tm parts = {0};
    if (strncmp(text, "$NOW", 4) == 0)
        return NOW + (text[4] != '\0' ? strtoll(text + 4, NULL, 10) : 0);
    if (text[0] == '0' && text[1] == 'x')
        return number(text, place);
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL)
        die(place, "not a date", text);
    int hours = 0, minutes = 0;
    char sign = '+';
    if (*rest != 'Z' && *rest != '\0' && sscanf(rest, "%c%d:%d", &sign, &hours, &minutes) < 2)
        die(place, "not a time zone", rest);
    int64_t offset = hours * 3600 + minutes * 60;
    return (int64_t)timegm(&parts) - (sign == '-' ? -offset : offset);
}

/* Hexadecimal digits, or a placeholder's own text. */
static struct kyok_bytes bytes_of(const char *text, struct kyok_buffer *buffer, struct place place)
{
    size_t size = strlen(text);
    uint8_t *room = kyok_buffer_reserve(buffer, size + 1);
    if (text[0] == '$') {
        memcpy(room, text, size + 1);
        return kyok_bytes(room, size);
    }
    if (size % 2 != 0 || !kyok_hex_decode(text, size, room, size / 2))
        die(place, "not hexadecimal", text);
    return kyok_bytes(room, size / 2);
}

static void write_leaf(struct kyok_ttlv_writer *writer, xmlNode *node, uint32_t tag,
                       enum kyok_ttlv_type type, struct place place)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer buffer = {0};
    PROPERTY text = property(node, "value");
    uint32_t table = tag == KYOK_KMIP_TAG_ATTRIBUTE_VALUE ? tag_of_attribute(node) : tag;
    uint32_t value;

    if (tag == KYOK_KMIP_TAG_ATTRIBUTE_NAME)
        squeeze(text);
    switch (type) {
    case KYOK_TTLV_INTEGER:
        kyok_ttlv_write_integer(writer, tag, integer(table, text, place));
        return;
    case KYOK_TTLV_LONG_INTEGER:
        kyok_ttlv_write_long_integer(writer, tag, number(text, place));
        return;
    case KYOK_TTLV_BIG_INTEGER:
        kyok_ttlv_write_big_integer(writer, tag, bytes_of(text, &buffer, place));
        return;
    case KYOK_TTLV_ENUMERATION:
        if (!kyok_kmip_enum_by_name(table, text, &value))
            die(place, "unknown enumeration", text);
        kyok_ttlv_write_enumeration(writer, tag, value);
        return;
    case KYOK_TTLV_BOOLEAN:
        kyok_ttlv_write_boolean(writer, tag, strcmp(text, "true") == 0);
        return;
    case KYOK_TTLV_TEXT_STRING:
        kyok_ttlv_write_text(writer, tag, kyok_bytes_of_text(text));
        return;
    case KYOK_TTLV_BYTE_STRING:
        kyok_ttlv_write_bytes(writer, tag, bytes_of(text, &buffer, place));
        return;
    case KYOK_TTLV_DATE_TIME:
        kyok_ttlv_write_date_time(writer, tag, date(text, place));
        return;
    case KYOK_TTLV_INTERVAL:
        kyok_ttlv_write_interval(writer, tag, (uint32_t)number(text, place));
        return;
    default:
        die(place, "unexpected type", (const char *)node->name);
    }
}

static void write_node(struct kyok_ttlv_writer *writer, xmlNode *node, const char *file)
{
    struct place place = {file, (int)xmlGetLineNo(node)};
    PROPERTY name = property(node, "type");
    enum kyok_ttlv_type type = KYOK_TTLV_STRUCTURE;
    uint32_t tag = tag_of(node, place);

    if (name != NULL && !kyok_ttlv_type_by_name(name, &type))
        die(place, "unknown type", name);
    if (type != KYOK_TTLV_STRUCTURE) {
        write_leaf(writer, node, tag, type, place);
        return;
    }
    kyok_ttlv_begin(writer, tag);
    for (xmlNode *child = node->children; child != NULL; child = child->next)
        if (child->type == XML_ELEMENT_NODE)
            write_node(writer, child, file);
    kyok_ttlv_end(writer);
}

/* --- checking ------------------------------------------------------------------------------------
 */

static const char *first_raw_operation(uint32_t operation)
{
    return kyok_kmip_operation_shapes(operation) == NULL
               ? kyok_kmip_enum_name(KYOK_KMIP_TAG_OPERATION, operation)
               : NULL;
}

/* Reads and writes; *left_out is an operation that is kept raw. */
static enum kyok_status again_request(struct kyok_bytes message, struct kyok_buffer *out,
                                      const char **left_out, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request request;

    kyok_kmip_arena_init(&arena, 0);
    KYOK_TRY(kyok_kmip_request_read(message, &arena, &request, err));
    for (size_t i = 0; i < request.items.count && *left_out == NULL; i++)
        *left_out = first_raw_operation(request.items.items[i].operation);
    return kyok_kmip_request_append(&request, out, err);
}

static enum kyok_status again_response(struct kyok_bytes message, struct kyok_buffer *out,
                                       const char **left_out, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response response;

    kyok_kmip_arena_init(&arena, 0);
    KYOK_TRY(kyok_kmip_response_read(message, &arena, &response, err));
    for (size_t i = 0; i < response.items.count && *left_out == NULL; i++)
        *left_out = first_raw_operation(response.items.items[i].operation);
    return kyok_kmip_response_append(&response, out, err);
}

static bool check(const char *file, int line, bool request, struct kyok_bytes message)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer out = {0};
    struct kyok_error err = {0};
    const char *left_out = NULL;
    char text[1024];

    enum kyok_status status = request ? again_request(message, &out, &left_out, &err)
                                      : again_response(message, &out, &left_out, &err);
    if (status != KYOK_OK) {
        printf("differs %s:%d: %s\n", file, line, kyok_error_text(&err, text, sizeof(text)));
        return false;
    }
    size_t at = 0;
    while (at < out.size && at < message.size && out.data[at] == message.data[at])
        at++;
    if (at < out.size || at < message.size) {
        printf("differs %s:%d: at byte %zu of %zu (%zu written)\n", file, line, at, message.size,
               out.size);
        return false;
    }
    if (left_out != NULL)
        printf("left out %s:%d: %s\n", file, line, left_out);
    else
        printf("same %s:%d\n", file, line);
    return true;
}

/* --- files ---------------------------------------------------------------------------------------
 */

/* The message's own hash (FNV-1a) names the file: one file for equal messages. */
static bool save(const char *folder, bool request, struct kyok_bytes message)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    char path[4096];

    for (size_t i = 0; i < message.size; i++)
        hash = (hash ^ message.data[i]) * UINT64_C(0x100000001b3);
    snprintf(path, sizeof(path), "%s/%s-%016llx", folder, request ? "request" : "response",
             (unsigned long long)hash);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return perror(path), false;
    bool written = fwrite(message.data, 1, message.size, file) == message.size;
    return fclose(file) == 0 && written;
}

static bool run_message(const char *folder, const char *file, xmlNode *node)
{
    static uint8_t room[1 << 20];
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(room, sizeof(room));
    bool request = strcmp((const char *)node->name, "RequestMessage") == 0;
    struct place place = {file, (int)xmlGetLineNo(node)};

    write_node(&writer, node, file);
    if (!kyok_ttlv_written(&writer))
        die(place, "cannot be written", (const char *)node->name);
    struct kyok_bytes message = kyok_bytes(room, writer.size);
    if (folder != NULL)
        return save(folder, request, message);
    return check(file, place.line, request, message);
}

static bool run_file(const char *folder, const char *file)
{
    bool good = true;
    xmlDoc *document = xmlReadFile(file, NULL, XML_PARSE_NONET);

    if (document == NULL)
        return false;
    for (xmlNode *node = xmlDocGetRootElement(document)->children; node != NULL; node = node->next)
        if (node->type == XML_ELEMENT_NODE)
            good = run_message(folder, file, node) && good;
    xmlFreeDoc(document);
    return good;
}

static bool run_binary(const char *file)
{
    static uint8_t room[1 << 20];
    FILE *stream = fopen(file, "rb");

    if (stream == NULL)
        return perror(file), false;
    size_t size = fread(room, 1, sizeof(room), stream);
    fclose(stream);
    return check(file, 1, size > 2 && room[2] == 0x78, kyok_bytes(room, size));
}

int main(int count, char **arguments)
{
    const char *mode = count > 2 ? arguments[1] : "";
    bool writes = strcmp(mode, "write") == 0, again = strcmp(mode, "again") == 0, good = true;

    if (!writes && !again && strcmp(mode, "check") != 0) {
        fprintf(stderr, "usage: kmip_xml_tool check|again FILE... | write FOLDER FILE...\n");
        return 2;
    }
    for (int i = writes ? 3 : 2; i < count; i++)
        good = (again ? run_binary(arguments[i])
                      : run_file(writes ? arguments[2] : NULL, arguments[i])) &&
               good;
    xmlCleanupParser();
    return good ? 0 : 1;
}
