/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMIP codec beside PyKMIP's: a Get response of 280 bytes decoded, a Get request and that
 * response encoded. kmip_codec_bench PEER, where PEER is kmip_codec_peer.py, prints for each its
 * name, both rates (per second of processor time) and their ratio. The two take turns of a few
 * milliseconds and the figures are medians over them, since other programs share the machine.
 */
#include "common/kmip/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLICES 101
#define SLICE_NS 2000000

static struct kyok_kmip_response_item response_item(void)
{
    static const uint8_t material[32] = {1, 2, 3};
    struct kyok_kmip_response_item item = {.operation = KYOK_KMIP_OPERATION_GET,
                                           .has_payload = true};
    struct kyok_kmip_get_response *get = &item.payload.get;
    get->object_type = get->object.type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    get->unique_identifier = kyok_bytes_of_text("1");
    get->object.key.format = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
    get->object.key.value.material = kyok_bytes(material, sizeof(material));
    get->object.key.algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES;
    get->object.key.length = kyok_kmip_integer(256);
    return item;
}

static size_t encode_response(uint8_t *data, size_t size)
{
    struct kyok_kmip_response_item item = response_item();
    struct kyok_kmip_response response = {
        .version = {1, 4}, .time_stamp = kyok_kmip_long(1700000000), .items = {&item, 1}};
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(data, size);
    struct kyok_error err;
    if (kyok_kmip_response_write(&response, &writer, &err) != KYOK_OK ||
        !kyok_ttlv_written(&writer))
        abort();
    return writer.size;
}

static size_t encode_request(uint8_t *data, size_t size)
{
    struct kyok_kmip_request_item item;
    struct kyok_kmip_request request;
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(data, size);
    struct kyok_error err;

    kyok_kmip_request_item_init(&item, KYOK_KMIP_OPERATION_GET);
    item.payload.get.unique_identifier = kyok_bytes_of_text("1");
    kyok_kmip_request_one(&request, KYOK_KMIP_1_4, &item);
    if (kyok_kmip_request_write(&request, &writer, &err) != KYOK_OK || !kyok_ttlv_written(&writer))
        abort();
    return writer.size;
}

static size_t decode_response(uint8_t *data, size_t size)
{
    struct kyok_kmip_arena arena;
    struct kyok_kmip_response response;
    struct kyok_error err;

    kyok_kmip_arena_init(&arena, 0);
    if (kyok_kmip_response_read(kyok_bytes(data, size), &arena, &response, &err) != KYOK_OK)
        abort();
    size = response.items.items[0].payload.get.object.key.value.material.size;
    kyok_kmip_arena_free(&arena);
    return size;
}

enum { DECODE_RESPONSE, ENCODE_REQUEST, ENCODE_RESPONSE, WHAT_COUNT };
static const struct {
    const char *name;
    size_t (*run)(uint8_t *data, size_t size);
} what[WHAT_COUNT] = {
    {"decode", decode_response}, {"request", encode_request}, {"response", encode_response}};

/* Of this process alone: nothing here waits, and other programs' turns do not count. */
static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The processor time of one call, over a slice of some milliseconds. */
static double own_slice(int which, const uint8_t *message, size_t size)
{
    uint8_t data[1024];
    volatile size_t sink = 0;
    long calls = 0;

    memcpy(data, message, size);
    size_t room = which == DECODE_RESPONSE ? size : sizeof(data);
    int64_t start = cpu_ns(), now = start;
    while (now - start < SLICE_NS) {
        for (int i = 0; i < 100; i++)
            sink = sink + what[which].run(data, room);
        calls += 100;
        now = cpu_ns();
    }
    return (double)(now - start) / (double)calls;
}

/* PyKMIP, in a process of its own that waits while it is not its turn. */
struct peer {
    FILE *to, *from;
};

static bool peer_start(struct peer *peer, const char *script, const char *hex)
{
    int to[2], from[2];

    if (pipe(to) != 0 || pipe(from) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        close(to[1]);
        close(from[0]);
        execl("/usr/bin/python3", "python3", "-W", "ignore", script, hex, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    peer->to = fdopen(to[1], "w");
    peer->from = fdopen(from[0], "r");
    return child > 0 && peer->to != NULL && peer->from != NULL;
}

static bool peer_slice(struct peer *peer, int which, double *ns)
{
    return fprintf(peer->to, "%d\n", which) > 0 && fflush(peer->to) == 0 &&
           fscanf(peer->from, "%lf", ns) == 1;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values)
{
    qsort(values, SLICES, sizeof(*values), compare);
    return values[SLICES / 2];
}

/* kyok, PyKMIP, kyok: what slows the machine for a while meets both, and a ratio is of neighbours.
 */
static bool measure(int which, struct peer *peer, const uint8_t *message, size_t size)
{
    double own[SLICES], other[SLICES], ratio[SLICES];

    for (int i = 0; i < SLICES; i++) {
        double before = own_slice(which, message, size);
        if (!peer_slice(peer, which, &other[i]))
            return false;
        own[i] = (before + own_slice(which, message, size)) / 2;
        ratio[i] = other[i] / own[i];
    }
    printf("%s %.0f %.0f %.0f\n", what[which].name, 1e9 / median(own), 1e9 / median(other),
           median(ratio));
    return true;
}

int main(int count, char **arguments)
{
    uint8_t message[512];
    char hex[1025];
    struct peer peer;

    if (count != 2)
        return 2;
    size_t size = encode_response(message, sizeof(message));
    kyok_hex_encode(kyok_bytes(message, size), hex);
    if (!peer_start(&peer, arguments[1], hex))
        return 1;
    for (int i = 0; i < WHAT_COUNT; i++)
        if (!measure(i, &peer, message, size))
            return 1;
    return 0;
}
