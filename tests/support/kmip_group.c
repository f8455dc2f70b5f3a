/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/kmip_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct kmip_peer kmip_one, kmip_two;
char kmip_group_directory[64];

/* --- servers --------------------------------------------------------------------------------- */

const char *kmip_group_tell(struct kmip_peer *peer, const char *format, ...)
{
    char command[256];
    va_list list;

    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    const char *line = kmip_peer_tell(peer, "%s", command);
    if (line == NULL || strncmp(line, "ok", 2) != 0)
        fail_msg("%s: %s", command, line == NULL ? "the server is gone" : line);
    return line;
}

/* --- groups ---------------------------------------------------------------------------------- */

void kmip_group_open(struct kmip_group *group, const char *name, const char *identity,
                     unsigned timeout, struct kmip_peer *first, struct kmip_peer *second)
{
    struct kyok_error err;
    struct kmip_peer *peers[] = {first, second};

    memset(group, 0, sizeof *group);
    group->config.name = (char *)name;
    group->config.where = "test.conf:1";
    group->config.servers = group->servers;
    for (size_t i = 0; i < 2 && peers[i] != NULL; i++) {
        snprintf(group->urls[i], sizeof group->urls[i], "kmips://127.0.0.1:%d", peers[i]->port);
        group->servers[i] = group->urls[i];
        group->config.server_count++;
    }
    snprintf(group->files[0], sizeof group->files[0], "%s/ca.crt", kmip_group_directory);
    snprintf(group->files[1], sizeof group->files[1], "%s/%s.crt", kmip_group_directory, identity);
    snprintf(group->files[2], sizeof group->files[2], "%s/%s.key", kmip_group_directory, identity);
    group->config.ca = group->files[0];
    group->config.certificate = group->files[1];
    group->config.key = group->files[2];
    group->config.timeout_ms = timeout;
    assert_int_equal(kyok_kmip_client_new(&group->config, &group->client, &err), KYOK_OK);
}

void kmip_group_close(struct kmip_group *group)
{
    kyok_kmip_client_free(group->client);
}

static const struct kyok_kmip_expectation aes = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                 KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 256, 0};

enum kyok_status kmip_group_get(struct kmip_group *group, const char *id, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    enum kyok_status status =
        kyok_kmip_get(group->client, kyok_bytes_of_text(id), KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &aes,
                      kyok_kmip_client_deadline(group->client), &reply, err);
    if (status == KYOK_OK)
        assert_int_equal(reply.item->payload.get.object.key.value.material.size, 32);
    return status;
}

void kmip_group_expect(struct kmip_group *group, const char *id)
{
    struct kyok_error err;
    char text[1200];

    if (kmip_group_get(group, id, &err) != KYOK_OK)
        fail_msg("%s", kyok_error_text(&err, text, sizeof text));
}

struct kyok_kmip_creation kmip_group_aes(const char *name)
{
    return (struct kyok_kmip_creation){.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                       .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                       .bits = 256,
                                       .usage = KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                                                KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
                                       .name = name};
}

enum kyok_status kmip_group_create(struct kmip_group *group,
                                   const struct kyok_kmip_creation *creation,
                                   struct kyok_kmip_created *created, struct kyok_error *err)
{
    return kyok_kmip_create(group->client, creation, kyok_kmip_client_deadline(group->client),
                            created, err);
}

void kmip_group_pause(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

void kmip_group_section(struct kyok_buffer *text, const char *name, const char *more)
{
    kyok_buffer_printf(text,
                       "[kmip %s]\nserver = kmips://127.0.0.1:%d\nca = %s/ca.crt\n"
                       "certificate = %s/alice.crt\nkey = %s/alice.key\n%s\n",
                       name, kmip_one.port, kmip_group_directory, kmip_group_directory,
                       kmip_group_directory, more);
}

/* --- the program ----------------------------------------------------------------------------- */

int kmip_group_reset(void **state)
{
    static const char *const commands[] = {"up",
                                           "fault none",
                                           "profile full",
                                           "tls 1.3",
                                           "certificate server",
                                           "hold-handshake off",
                                           "versions 1.4 1.3 1.2 1.1 1.0"};
    struct kmip_peer *peers[] = {&kmip_one, &kmip_two};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof commands / sizeof *commands; j++)
            kmip_group_tell(peers[i], "%s", commands[j]);
    return 0;
}

static bool (*own_set_up)(void);
static void (*own_tear_down)(void);

static int set_up(void **state)
{
    (void)state;
    if (!kmip_peer_certificates(kmip_group_directory) ||
        !kmip_peer_start(&kmip_one, kmip_group_directory) ||
        !kmip_peer_start(&kmip_two, kmip_group_directory))
        return -1;
    kmip_group_tell(&kmip_one, "key k aes-256");
    kmip_group_tell(&kmip_two, "key k aes-256");
    return own_set_up == NULL || own_set_up() ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (own_tear_down != NULL)
        own_tear_down();
    kmip_peer_stop(&kmip_one);
    kmip_peer_stop(&kmip_two);
    kmip_peer_remove(kmip_group_directory);
    return 0;
}

int kmip_group_run(const struct CMUnitTest *tests, size_t count, bool (*before)(void),
                   void (*after)(void))
{
    if (access(kmip_peer_tool(), X_OK) != 0) {
        print_message("1..0 # SKIP %s is not built (make tests)\n", kmip_peer_tool());
        return 0;
    }
    own_set_up = before;
    own_tear_down = after;
    return _cmocka_run_group_tests("kmip", tests, count, set_up, tear_down);
}
