/* SPDX-License-Identifier: Apache-2.0 */
/* Streams over keys in memory: every size around a chunk, every damage, pipes, and replaced
 * envelopes. */
#include "common/envelope/chunks.h"
#include "tests/support/memory_keyholder.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static const struct kyok_envelope_claims claims = {"backup", "db1", 1};
static const struct kyok_envelope_expected expected = {.use = "backup", .owner = "db1"};

static struct memory_keys keys;
static struct kyok_keyholder holder;
static struct kyok_policy *policy;

#define A "pkcs11:object=a"
#define B "pkcs11:object=b"
#define FULL ((size_t)1 << KYOK_CHUNK_LOG2)
#define WIRE (FULL + 20) /* a full chunk with frame and tag */

static int setup(void **state)
{
    struct kyok_error err;

    (void)state;
    memset(&keys, 0, sizeof(keys));
    memory_add(&keys, A, 1, NULL);
    memory_add(&keys, B, 2, NULL);
    holder = memory_keyholder(&keys);
    return kyok_policy_parse(A, KYOK_FROM_CONFIGURATION, NULL, &policy, &err) != KYOK_OK;
}

static int teardown(void **state)
{
    (void)state;
    kyok_policy_free(policy);
    return 0;
}

/* --- files in memory ------------------------------------------------------------------------- */

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("stream_test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

struct content {
    uint8_t *data;
    size_t size;
};

static struct content content_of(int fd)
{
    struct content content = {.size = (size_t)lseek(fd, 0, SEEK_END)};

    content.data = malloc(content.size + 1);
    assert_int_equal(pread(fd, content.data, content.size, 0), (ssize_t)content.size);
    close(fd);
    return content;
}

static struct content pattern(size_t size)
{
    struct content content = {malloc(size + 1), size};

    for (size_t i = 0; i < size; i++)
        content.data[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 18));
    return content;
}

static struct content sealed(const struct content *plain)
{
    int in = file_of(plain->data, plain->size), out = file_of("", 0);
    struct kyok_error err;

    if (kyok_stream_seal_with(&holder, policy, &claims, in, out, NULL, &err) != KYOK_OK)
        fail_msg("%s", err.what);
    close(in);
    return content_of(out);
}

static enum kyok_status opened_to(const uint8_t *data, size_t size, struct content *plain,
                                  struct kyok_error *err)
{
    int in = file_of(data, size), out = file_of("", 0);
    enum kyok_status status = kyok_stream_open_with(&holder, in, out, &expected, NULL, NULL, err);

    close(in);
    *plain = content_of(out);
    return status;
}

/* Whatever came out before the failure must be the beginning of the plaintext. */
static void assert_fails(const uint8_t *data, size_t size, enum kyok_status wanted,
                         const char *check, const struct content *plain)
{
    struct content out;
    struct kyok_error err = {0};
    enum kyok_status status = opened_to(data, size, &out, &err);

    if (status != wanted || strstr(err.what, check) == NULL)
        fail_msg("wanted %s \"%s\", got %s \"%s\"", kyok_status_name(wanted), check,
                 kyok_status_name(status), err.what);
    assert_true(out.size <= plain->size);
    assert_memory_equal(out.data, plain->data, out.size);
    free(out.data);
}

static size_t header_size(const struct content *stream)
{
    size_t json = (size_t)stream->data[8] << 24 | (size_t)stream->data[9] << 16 |
                  (size_t)stream->data[10] << 8 | stream->data[11];

    return (12 + json + 4095) / 4096 * 4096;
}

/* --- round trips ----------------------------------------------------------------------------- */

static void every_size_opens(void **state)
{
    static const size_t sizes[] = {0,        1,        4095,         FULL - 1,     FULL,
                                   FULL + 1, 2 * FULL, 2 * FULL + 7, 9 * FULL + 13};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct content plain = pattern(sizes[i]), stream = sealed(&plain), out;
        struct kyok_error err;
        size_t chunks = sizes[i] == 0 ? 1 : (sizes[i] + FULL - 1) / FULL;

        assert_true(kyok_stream_is(kyok_bytes(stream.data, stream.size)));
        assert_int_equal(stream.size, header_size(&stream) + sizes[i] + 20 * chunks);
        if (opened_to(stream.data, stream.size, &out, &err) != KYOK_OK)
            fail_msg("%zu bytes: %s", sizes[i], err.what);
        assert_int_equal(out.size, plain.size);
        assert_memory_equal(out.data, plain.data, plain.size);
        free(plain.data);
        free(stream.data);
        free(out.data);
    }
}

struct feed {
    int fd;
    const struct content *content;
};

/* In pieces that fit no chunk. */
static void *feed_pipe(void *argument)
{
    struct feed *feed = argument;
    size_t at = 0;

    while (at < feed->content->size) {
        size_t step = feed->content->size - at < 7777 ? feed->content->size - at : 7777;
        ssize_t count = write(feed->fd, feed->content->data + at, step);

        if (count < 0)
            break;
        at += (size_t)count;
    }
    close(feed->fd);
    return NULL;
}

static enum kyok_status open_from_pipe(const struct content *stream, int out,
                                       struct kyok_error *err)
{
    int ends[2];
    pthread_t thread;
    enum kyok_status status;

    assert_int_equal(pipe(ends), 0);
    struct feed feed = {ends[1], stream};
    assert_int_equal(pthread_create(&thread, NULL, feed_pipe, &feed), 0);
    status = kyok_stream_open_with(&holder, ends[0], out, &expected, NULL, NULL, err);
    close(ends[0]);
    pthread_join(thread, NULL);
    return status;
}

static void pipes_carry_streams(void **state)
{
    struct content plain = pattern(3 * FULL + 5), stream = sealed(&plain), out;
    int file = file_of("", 0);
    struct kyok_error err;

    (void)state;
    assert_int_equal(open_from_pipe(&stream, file, &err), KYOK_OK);
    out = content_of(file);
    assert_int_equal(out.size, plain.size);
    assert_memory_equal(out.data, plain.data, plain.size);
    free(plain.data);
    free(stream.data);
    free(out.data);
}

static void *drain_pipe(void *argument)
{
    uint8_t buffer[65536];

    while (read(*(int *)argument, buffer, sizeof(buffer)) > 0)
        continue;
    return NULL;
}

/* What was written to a pipe is out: damage later on is "incomplete", damage at the start is not.
 */
static void damage_after_bytes_left_is_incomplete(void **state)
{
    struct content plain = pattern(3 * FULL), stream = sealed(&plain);
    static const size_t chunks[] = {0, 2};
    static const enum kyok_status wanted[] = {KYOK_TAMPERED, KYOK_INCOMPLETE};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int ends[2], in;
        pthread_t thread;
        struct kyok_error err;

        stream.data[header_size(&stream) + chunks[i] * WIRE + 100] ^= 1;
        in = file_of(stream.data, stream.size);
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(pthread_create(&thread, NULL, drain_pipe, &ends[0]), 0);
        assert_int_equal(kyok_stream_open_with(&holder, in, ends[1], &expected, NULL, NULL, &err),
                         wanted[i]);
        assert_int_equal(err.status, wanted[i]);
        close(ends[1]);
        pthread_join(thread, NULL);
        close(ends[0]);
        close(in);
        stream.data[header_size(&stream) + chunks[i] * WIRE + 100] ^= 1;
    }
    free(plain.data);
    free(stream.data);
}

/* --- damage ---------------------------------------------------------------------------------- */

static void every_changed_byte_is_refused(void **state)
{
    struct content plain = pattern(600), stream = sealed(&plain);

    (void)state;
    for (size_t i = 0; i < stream.size; i++) {
        struct content out;
        struct kyok_error err;

        stream.data[i] ^= 0x01;
        if (opened_to(stream.data, stream.size, &out, &err) == KYOK_OK)
            fail_msg("byte %zu of %zu", i, stream.size);
        assert_int_equal(out.size, 0);
        free(out.data);
        stream.data[i] ^= 0x01;
    }
    free(plain.data);
    free(stream.data);
}

static void every_cut_is_incomplete(void **state)
{
    struct content plain = pattern(2 * FULL + 50), stream = sealed(&plain);
    size_t head = header_size(&stream);
    const size_t sizes[] = {0,
                            5,
                            11,
                            100,
                            head - 1,
                            head,
                            head + 3,
                            head + 4,
                            head + 1000,
                            head + WIRE,
                            head + WIRE + 1,
                            head + WIRE + 4,
                            head + 2 * WIRE,
                            stream.size - 17,
                            stream.size - 1};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_fails(stream.data, sizes[i], KYOK_INCOMPLETE, "cut", &plain);
    free(plain.data);
    free(stream.data);
}

static void chunks_keep_their_place(void **state)
{
    struct content plain = pattern(4 * FULL), stream = sealed(&plain), other = sealed(&plain);
    size_t head = header_size(&stream);
    uint8_t *first = stream.data + head, *moved = malloc(stream.size + WIRE);

    (void)state;
    memcpy(moved, stream.data, stream.size); /* two chunks change places */
    memcpy(moved + head + WIRE, first + 2 * WIRE, WIRE);
    memcpy(moved + head + 2 * WIRE, first + WIRE, WIRE);
    assert_fails(moved, stream.size, KYOK_TAMPERED, "chunk 1 of the stream was altered", &plain);
    memcpy(moved, stream.data, stream.size); /* one is left out */
    memcpy(moved + head + WIRE, first + 2 * WIRE, 2 * WIRE);
    assert_fails(moved, stream.size - WIRE, KYOK_TAMPERED, "chunk 1 of", &plain);
    memcpy(moved, stream.data, head + 2 * WIRE); /* one comes twice */
    memcpy(moved + head + 2 * WIRE, first + WIRE, 3 * WIRE);
    assert_fails(moved, stream.size + WIRE, KYOK_TAMPERED, "chunk 2 of", &plain);
    memcpy(moved, stream.data, stream.size); /* one of another stream */
    memcpy(moved + head + WIRE, other.data + header_size(&other) + WIRE, WIRE);
    assert_fails(moved, stream.size, KYOK_TAMPERED, "chunk 1 of", &plain);
    memcpy(moved, stream.data, stream.size); /* the first made the last */
    moved[head] |= 0x80;
    assert_fails(moved, head + WIRE, KYOK_TAMPERED, "chunk 0 of", &plain);
    memcpy(moved, stream.data, stream.size); /* the last made an ordinary one */
    moved[head + 3 * WIRE] &= 0x7f;
    assert_fails(moved, stream.size, KYOK_TAMPERED, "chunk 3 of", &plain);
    memcpy(moved, stream.data, stream.size); /* something after the end */
    moved[stream.size] = 0;
    assert_fails(moved, stream.size + 1, KYOK_TAMPERED, "bytes follow", &plain);
    memcpy(moved, stream.data, stream.size); /* larger than a chunk may be */
    moved[head + 1] = 0x7f;
    assert_fails(moved, stream.size, KYOK_TAMPERED, "wrong size", &plain);
    free(moved);
    free(plain.data);
    free(stream.data);
    free(other.data);
}

static void other_claims_write_nothing(void **state)
{
    struct content plain = pattern(1000), stream = sealed(&plain), out;
    const struct kyok_envelope_expected other = {.use = "backup", .owner = "db2"};
    int in = file_of(stream.data, stream.size), file = file_of("", 0);
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_stream_open_with(&holder, in, file, &other, NULL, NULL, &err),
                     KYOK_REFUSED);
    out = content_of(file);
    assert_int_equal(out.size, 0);
    close(in);
    free(plain.data);
    free(stream.data);
    free(out.data);
}

/* --- another envelope ------------------------------------------------------------------------ */

static void a_replaced_envelope_leaves_the_chunks(void **state)
{
    struct content plain = pattern(3 * FULL + 9), stream = sealed(&plain), again, out;
    int in = file_of(stream.data, stream.size), file = file_of("", 0);
    struct kyok_buffer json = {0}, rewrapped = {0};
    struct kyok_policy *other;
    struct kyok_error err;

    (void)state;
    assert_int_equal(
        kyok_policy_parse("all-of(" B "," A ")", KYOK_FROM_CONFIGURATION, NULL, &other, &err),
        KYOK_OK);
    assert_int_equal(kyok_stream_read_envelope(in, &json, &err), KYOK_OK);
    assert_int_equal(kyok_envelope_rewrap_with(&holder, kyok_buffer_bytes(&json), &expected, other,
                                               NULL, &rewrapped, &err),
                     KYOK_OK);
    assert_int_equal(kyok_stream_replace_envelope(in, file, kyok_buffer_bytes(&rewrapped), &err),
                     KYOK_OK);
    again = content_of(file);
    assert_memory_equal(again.data + header_size(&again), stream.data + header_size(&stream),
                        stream.size - header_size(&stream));
    assert_int_equal(opened_to(again.data, again.size, &out, &err), KYOK_OK);
    assert_memory_equal(out.data, plain.data, plain.size);
    keys.keys[1].behaviour = MEMORY_AWAY;
    free(out.data);
    assert_int_equal(opened_to(again.data, again.size, &out, &err), KYOK_UNREACHABLE);
    kyok_policy_free(other);
    kyok_buffer_free(&json);
    kyok_buffer_free(&rewrapped);
    close(in);
    free(plain.data);
    free(stream.data);
    free(again.data);
    free(out.data);
}

/* --- files under a name ---------------------------------------------------------------------- */

static size_t files_in(const char *folder)
{
    DIR *list = opendir(folder);
    size_t count = 0;

    for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list))
        count += entry->d_name[0] != '.';
    closedir(list);
    return count;
}

static void a_name_appears_with_the_commit(void **state)
{
    char folder[] = "/tmp/kyok-new-file-XXXXXX", path[64], missing[64];
    struct kyok_new_file file;
    struct kyok_error err;
    struct stat about;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/out", folder);
    snprintf(missing, sizeof(missing), "%s/none/out", folder);
    assert_int_equal(kyok_new_file_create(path, 0600, &file, &err), KYOK_OK);
    assert_int_equal(kyok_new_file_write(&file, kyok_bytes_of_text("half"), &err), KYOK_OK);
    assert_int_equal(access(path, F_OK), -1);
    kyok_new_file_discard(&file);
    assert_int_equal(files_in(folder), 0);
    assert_int_equal(kyok_new_file_create(path, 0600, &file, &err), KYOK_OK);
    assert_int_equal(kyok_new_file_write(&file, kyok_bytes_of_text("whole"), &err), KYOK_OK);
    assert_int_equal(kyok_new_file_commit(&file, &err), KYOK_OK);
    kyok_new_file_discard(&file);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(about.st_size, 5);
    assert_int_equal(files_in(folder), 1);
    assert_int_equal(kyok_new_file_create(missing, 0600, &file, &err), KYOK_SYSTEM);
    kyok_new_file_discard(&file);
    assert_int_equal(kyok_new_file_create(folder, 0600, &file, &err), KYOK_INVALID);
    kyok_new_file_discard(&file);
    unlink(path);
    rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_size_opens),
        TEST(pipes_carry_streams),
        TEST(damage_after_bytes_left_is_incomplete),
        TEST(every_changed_byte_is_refused),
        TEST(every_cut_is_incomplete),
        TEST(chunks_keep_their_place),
        TEST(other_claims_write_nothing),
        TEST(a_replaced_envelope_leaves_the_chunks),
        TEST(a_name_appears_with_the_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
