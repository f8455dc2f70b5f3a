/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KMIP codec beside PyKMIP's, in one run, alternating: a Get response of 280 bytes decoded, a
 * Get request and that response encoded. Prints medians (of CPU time) and their ratios; asserts
 * nothing. kmip_codec_bench [ROUNDS]
 */
#include "common/kmip/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 31

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

    memset(&item, 0, sizeof(item));
    item.operation = KYOK_KMIP_OPERATION_GET;
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
} what[WHAT_COUNT] = {{"Get response decoded", decode_response},
                      {"Get request encoded", encode_request},
                      {"Get response encoded", encode_response}};

/* Of this process alone: nothing here waits, and other programs' turns do not count. */
static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Calls per second over about a tenth of a second. */
static double rate(int which, const uint8_t *message, size_t size)
{
    uint8_t data[1024];
    volatile size_t sink = 0;
    long calls = 0;

    memcpy(data, message, size);
    size_t room = which == DECODE_RESPONSE ? size : sizeof(data);
    int64_t start = cpu_ns(), now = start;
    while (now - start < 100000000) {
        for (int i = 0; i < 1000; i++)
            sink = sink + what[which].run(data, room);
        calls += 1000;
        now = cpu_ns();
    }
    return (double)calls * 1e9 / (double)(now - start);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

/* One round of PyKMIP: three rates on a line; false when it is not installed. */
static bool peer_round(const char *hex, double rates[WHAT_COUNT])
{
    char command[2048];
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -W ignore tests/bench/kmip_codec_peer.py %s 2>/dev/null", hex);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL)
        return false;
    int found = fscanf(pipe, "%lf %lf %lf", &rates[0], &rates[1], &rates[2]);
    return pclose(pipe) == 0 && found == WHAT_COUNT;
}

static int once(const char *hex, const uint8_t *message, size_t size)
{
    printf("%s", hex);
    for (int i = 0; i < WHAT_COUNT; i++)
        printf(" %.0f", rate(i, message, size));
    printf("\n");
    return 0;
}

int main(int count, char **arguments)
{
    bool is_once = count > 1 && strcmp(arguments[1], "once") == 0;
    int rounds = count > 1 ? atoi(arguments[1]) : 5;
    static double own[WHAT_COUNT][ROUNDS_MAX], peer[WHAT_COUNT][ROUNDS_MAX];
    uint8_t message[512];
    char hex[1025];
    bool have_peer = true;

    size_t size = encode_response(message, sizeof(message));
    kyok_hex_encode(kyok_bytes(message, size), hex);
    if (is_once)
        return once(hex, message, size);
    if (rounds < 1 || rounds > ROUNDS_MAX)
        return 2;
    for (int round = 0; round < rounds; round++) {
        double rates[WHAT_COUNT];
        for (int i = 0; i < WHAT_COUNT; i++)
            own[i][round] = rate(i, message, size);
        have_peer = have_peer && peer_round(hex, rates);
        for (int i = 0; i < WHAT_COUNT && have_peer; i++)
            peer[i][round] = rates[i];
    }
    printf("KMIP codec, medians of %d rounds; the response has %zu bytes\n", rounds, size);
    for (int i = 0; i < WHAT_COUNT; i++) {
        double mine = median(own[i], rounds), other = have_peer ? median(peer[i], rounds) : 0;
        printf("%-22s kyok %9.0f/s (%4.0f ns)", what[i].name, mine, 1e9 / mine);
        if (have_peer)
            printf("   PyKMIP %7.0f/s   ratio %6.0f", other, mine / other);
        printf("\n");
    }
    if (!have_peer)
        printf("PyKMIP (python3-pykmip) is not installed or does not run here: no ratios\n");
    return 0;
}
