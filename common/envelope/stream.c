/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream: magic, size of the envelope (32 bits, big-endian), the envelope, zeros up to a multiple
 * of 4096 bytes, then the chunks. The padding lets a file system share the chunks' blocks when
 * another envelope takes the place of the first. The envelope holds: format (1), log2 of the chunk
 * size, the nonces' prefix, the key.
 */
#include "common/envelope/chunks.h"
#include "common/envelope/descriptor.h"
#include "common/envelope/keyholder.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_SIZE (KYOK_STREAM_MAGIC_SIZE + 4)
#define ALIGNMENT 4096
#define KEY_FORMAT 1
#define KEY_SECRET_SIZE (2 + KYOK_CHUNK_PREFIX_SIZE + KYOK_CEK_SIZE)

static const uint8_t magic[KYOK_STREAM_MAGIC_SIZE] = "kyokstr1";

bool kyok_stream_is(struct kyok_bytes start)
{
    return start.size >= sizeof(magic) && memcmp(start.data, magic, sizeof(magic)) == 0;
}

/* --- header ---------------------------------------------------------------------------------- */

static enum kyok_status write_header(int out, struct kyok_bytes json, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer header = {0};
    uint8_t size[4] = {(uint8_t)(json.size >> 24), (uint8_t)(json.size >> 16),
                       (uint8_t)(json.size >> 8), (uint8_t)json.size};
    static const uint8_t zeros[ALIGNMENT];

    if (!kyok_buffer_append(&header, magic, sizeof(magic)) ||
        !kyok_buffer_append(&header, size, sizeof(size)) ||
        !kyok_buffer_append(&header, json.data, json.size) ||
        !kyok_buffer_append(&header, zeros, -header.size % ALIGNMENT))
        return kyok_no_memory(err);
    return kyok_descriptor_write(out, kyok_buffer_bytes(&header), err);
}

static enum kyok_status read_whole(struct kyok_source *in, uint8_t *data, size_t size,
                                   struct kyok_error *err)
{
    size_t got;

    KYOK_TRY(kyok_source_read(in, data, size, &got, err));
    return got == size ? KYOK_OK
                       : kyok_fail(err, KYOK_INCOMPLETE, NULL, "the stream is cut in its envelope");
}

static enum kyok_status read_padding(struct kyok_source *in, size_t size, struct kyok_error *err)
{
    uint8_t padding[ALIGNMENT];

    KYOK_TRY(read_whole(in, padding, size, err));
    for (size_t i = 0; i < size; i++)
        if (padding[i] != 0)
            return kyok_fail(err, KYOK_TAMPERED, NULL,
                             "the padding after the stream's envelope was altered");
    return KYOK_OK;
}

static enum kyok_status read_envelope(struct kyok_source *in, struct kyok_buffer *json,
                                      struct kyok_error *err)
{
    uint8_t head[HEAD_SIZE];
    struct kyok_cursor cursor = kyok_cursor(kyok_bytes(head, sizeof(head)));
    struct kyok_bytes start;
    uint32_t size = 0;
    uint8_t *room;

    KYOK_TRY(read_whole(in, head, sizeof(head), err));
    if (!kyok_cursor_take(&cursor, sizeof(magic), &start) || !kyok_stream_is(start))
        return kyok_fail(err, KYOK_INVALID, NULL, "not a stream");
    if (!kyok_cursor_u32(&cursor, &size) || size > KYOK_ENVELOPE_MAX)
        return kyok_fail(err, KYOK_INVALID, NULL, "the stream's envelope exceeds %zu bytes",
                         KYOK_ENVELOPE_MAX);
    room = kyok_buffer_reserve(json, size);
    if (room == NULL)
        return kyok_no_memory(err);
    KYOK_TRY(read_whole(in, room, size, err));
    json->size += size;
    return read_padding(in, -(HEAD_SIZE + (size_t)size) % ALIGNMENT, err);
}

enum kyok_status kyok_stream_read_envelope(int in, struct kyok_buffer *json, struct kyok_error *err)
{
    struct kyok_source source = {.fd = in};

    return read_envelope(&source, json, err);
}

/* --- key ------------------------------------------------------------------------------------- */

static enum kyok_status new_key(struct kyok_secret **secret, struct kyok_error *err)
{
    *secret = kyok_secret_new(KEY_SECRET_SIZE);
    if (*secret == NULL)
        return kyok_no_memory(err);
    KYOK_TRY(kyok_crypto_random(kyok_secret_data(*secret), KEY_SECRET_SIZE, err));
    kyok_secret_data(*secret)[0] = KEY_FORMAT;
    kyok_secret_data(*secret)[1] = KYOK_CHUNK_LOG2;
    return KYOK_OK;
}

static enum kyok_status read_key(const struct kyok_secret *secret, struct kyok_chunk_key *key,
                                 struct kyok_error *err)
{
    struct kyok_cursor cursor = kyok_cursor(kyok_secret_bytes(secret));
    uint8_t format = 0, size_log2 = 0;

    if (!kyok_cursor_u8(&cursor, &format) || format != KEY_FORMAT ||
        !kyok_cursor_u8(&cursor, &size_log2) || size_log2 < KYOK_CHUNK_MIN_LOG2 ||
        size_log2 > KYOK_CHUNK_MAX_LOG2 ||
        !kyok_cursor_take(&cursor, KYOK_CHUNK_PREFIX_SIZE, &key->prefix) ||
        !kyok_cursor_take(&cursor, KYOK_CEK_SIZE, &key->key) || kyok_cursor_left(&cursor) != 0)
        return kyok_fail(err, KYOK_UNSUPPORTED, NULL, "the stream is of an unknown format");
    key->size_log2 = size_log2;
    return KYOK_OK;
}

/* --- sealing and opening --------------------------------------------------------------------- */

static struct kyok_source source_of(int in, const struct kyok_envelope_options *options)
{
    return (struct kyok_source){.fd = in,
                                .begun = options != NULL ? options->begun : (struct kyok_bytes){0}};
}

static struct kyok_chunk_job chunk_job(struct kyok_source *in, int out,
                                       const struct kyok_chunk_key *key,
                                       const struct kyok_envelope_options *options)
{
    return (struct kyok_chunk_job){in, out, key, options != NULL ? options->progress : NULL,
                                   options != NULL ? options->caller : NULL};
}

/* What went through a pipe cannot be taken back: whoever reads it must know that it is not all.
 * When the system fails, nobody knows how much of a chunk went. */
static enum kyok_status judge(int out, uint64_t written, enum kyok_status status,
                              struct kyok_error *err)
{
    struct stat about;
    bool file = fstat(out, &about) == 0 && S_ISREG(about.st_mode);

    if (status == KYOK_OK)
        return KYOK_OK;
    if (!file && (written > 0 || status == KYOK_SYSTEM))
        err->status = KYOK_INCOMPLETE;
    return err->status;
}

enum kyok_status kyok_stream_seal_with(const struct kyok_keyholder *holder,
                                       const struct kyok_policy *policy,
                                       const struct kyok_envelope_claims *claims, int in, int out,
                                       const struct kyok_envelope_options *options,
                                       struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};
    struct kyok_chunk_key key;
    struct kyok_source source = source_of(in, options);
    struct kyok_chunk_job job = chunk_job(&source, out, &key, options);
    enum kyok_status status;

    KYOK_TRY(new_key(&secret, err));
    KYOK_TRY(read_key(secret, &key, err));
    KYOK_TRY(kyok_envelope_seal_with(holder, policy, claims, KYOK_ENVELOPE_STREAM_KEY,
                                     kyok_secret_bytes(secret), options, &json, err));
    status = write_header(out, kyok_buffer_bytes(&json), err);
    if (status == KYOK_OK)
        status = kyok_chunks_seal(&job, err);
    return judge(out, 0, status, err);
}

enum kyok_status kyok_stream_open_with(const struct kyok_keyholder *holder, int in, int out,
                                       const struct kyok_envelope_expected *expected,
                                       const struct kyok_envelope_options *options,
                                       struct kyok_envelope **opened, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};
    KYOK_CLEANUP(kyok_envelope_auto_free) struct kyok_envelope *envelope = NULL;
    struct kyok_chunk_key key;
    struct kyok_source source = source_of(in, options);
    struct kyok_chunk_job job = chunk_job(&source, out, &key, options);
    uint64_t written = 0;
    enum kyok_status status;

    if (opened != NULL)
        *opened = NULL;
    KYOK_TRY(read_envelope(&source, &json, err));
    KYOK_TRY(kyok_envelope_open_with(holder, kyok_buffer_bytes(&json), expected,
                                     KYOK_ENVELOPE_STREAM_KEY, options, &secret, &envelope, err));
    KYOK_TRY(read_key(secret, &key, err));
    status = kyok_chunks_open(&job, &written, err);
    KYOK_TRY(judge(out, written, status, err));
    if (opened != NULL) {
        *opened = envelope;
        envelope = NULL;
    }
    return KYOK_OK;
}

/* --- another envelope for the same chunks ---------------------------------------------------- */

#define COPY_STEP ((size_t)1 << 30)
#define COPY_BUFFER ((size_t)256 << 10)

static enum kyok_status copy_by_hand(int in, int out, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer buffer = {0};
    uint8_t *room = kyok_buffer_reserve(&buffer, COPY_BUFFER);
    struct kyok_source source = {.fd = in};
    size_t got = COPY_BUFFER;

    if (room == NULL)
        return kyok_no_memory(err);
    while (got == COPY_BUFFER) {
        KYOK_TRY(kyok_source_read(&source, room, COPY_BUFFER, &got, err));
        KYOK_TRY(kyok_descriptor_write(out, kyok_bytes(room, got), err));
    }
    return KYOK_OK;
}

/* copy_file_range() shares blocks where the file system can, and is refused across some. */
static enum kyok_status copy_rest(int in, int out, struct kyok_error *err)
{
    ssize_t count = 1;

    while (count > 0 || (count < 0 && errno == EINTR))
        count = copy_file_range(in, NULL, out, NULL, COPY_STEP, 0);
    if (count == 0)
        return KYOK_OK;
    if (errno == ENOSPC || errno == EIO || errno == EDQUOT || errno == EFBIG)
        return kyok_fail_errno(err, NULL, "copying the stream's chunks failed");
    return copy_by_hand(in, out, err);
}

enum kyok_status kyok_stream_replace_envelope(int in, int out, struct kyok_bytes json,
                                              struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer old = {.limit = KYOK_ENVELOPE_MAX};

    if (lseek(in, 0, SEEK_SET) != 0)
        return kyok_fail_errno(err, NULL, "a stream's envelope is replaced in a file only");
    KYOK_TRY(kyok_stream_read_envelope(in, &old, err));
    KYOK_TRY(write_header(out, json, err));
    return copy_rest(in, out, err);
}
