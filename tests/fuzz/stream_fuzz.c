/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: the header, and chunks under a known key, of which only the prefix that a sealer made
 * may ever come out. */
#include "common/envelope/chunks.h"
#include "common/envelope/crypto.h"
#include "tests/fuzz/need.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    need(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static const uint8_t key_bytes[KYOK_CEK_SIZE], prefix_bytes[KYOK_CHUNK_PREFIX_SIZE];

static struct kyok_chunk_key known_key(void)
{
    return (struct kyok_chunk_key){kyok_bytes(key_bytes, sizeof(key_bytes)),
                                   kyok_bytes(prefix_bytes, sizeof(prefix_bytes)),
                                   KYOK_CHUNK_MIN_LOG2};
}

/* What opens, sealed again, is the same bytes: there is one encoding. */
static void check_chunks(const uint8_t *data, size_t size)
{
    struct kyok_chunk_key key = known_key();
    int in = file_of(data, size), out = file_of(data, 0), again = file_of(data, 0);
    struct kyok_source sealed = {.fd = in}, plain = {.fd = out};
    struct kyok_chunk_job open_job = {.in = &sealed, .out = out, .key = &key};
    struct kyok_chunk_job seal_job = {.in = &plain, .out = again, .key = &key};
    struct kyok_error err = {0};
    uint64_t written = 0;
    uint8_t *back = malloc(size + 1);

    if (kyok_chunks_open(&open_job, &written, &err) == KYOK_OK) {
        need(lseek(out, 0, SEEK_CUR) == (off_t)written && lseek(out, 0, SEEK_SET) == 0);
        need(kyok_chunks_seal(&seal_job, &err) == KYOK_OK);
        need(pread(again, back, size + 1, 0) == (ssize_t)size && memcmp(back, data, size) == 0);
    } else {
        need(err.status != KYOK_OK && err.what[0] != '\0');
    }
    free(back);
    close(in);
    close(out);
    close(again);
}

static void check_header(const uint8_t *data, size_t size)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};
    struct kyok_error err = {0};
    int in = file_of(data, size);

    if (kyok_stream_read_envelope(in, &json, &err) == KYOK_OK)
        need(kyok_stream_is(kyok_bytes(data, size)) && lseek(in, 0, SEEK_CUR) % 4096 == 0);
    close(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_header(data, size);
    check_chunks(data, size);
    return 0;
}
