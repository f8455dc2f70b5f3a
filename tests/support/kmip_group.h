/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of the KMIP client: two scripted servers that live as long as the program, and
 * groups of kyok.conf that name them. Each test begins with both as they were at the start, so that
 * one that fails does not take the next ones with it.
 */
#ifndef KYOK_TESTS_KMIP_GROUP_H
#define KYOK_TESTS_KMIP_GROUP_H

#include "common/kmip/client_call.h"
#include "tests/support/kmip_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A deadline that only a hang reaches, on a loaded machine and under a sanitizer too. */
#define KMIP_LONG_MS 60000

struct kmip_group {
    struct kyok_kmip_config config;
    char urls[4][64];
    char *servers[4];
    char files[4][128];
    struct kyok_kmip_client *client;
};

/* Both have a key "k". */
extern struct kmip_peer kmip_one, kmip_two;
extern char kmip_group_directory[64]; /* of their certificates */

/* A command that must succeed; its answer. */
const char *kmip_group_tell(struct kmip_peer *peer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* second: or NULL. */
void kmip_group_open(struct kmip_group *group, const char *name, const char *identity,
                     unsigned timeout, struct kmip_peer *first, struct kmip_peer *second);
void kmip_group_close(struct kmip_group *group);
/* Get of an AES-256 key; the second fails the test unless it comes. */
enum kyok_status kmip_group_get(struct kmip_group *group, const char *id, struct kyok_error *err);
void kmip_group_expect(struct kmip_group *group, const char *id);
/* Of an AES-256 key that encrypts and decrypts; name: or NULL. */
struct kyok_kmip_creation kmip_group_aes(const char *name);
enum kyok_status kmip_group_create(struct kmip_group *group,
                                   const struct kyok_kmip_creation *creation,
                                   struct kyok_kmip_created *created, struct kyok_error *err);

void kmip_group_pause(long ms);

/* Appends a section of kyok.conf with alice's identity at the first server; more: lines of it. */
void kmip_group_section(struct kyok_buffer *text, const char *name, const char *more);

#define kmip_group_test(name) cmocka_unit_test_setup(name, kmip_group_reset)
int kmip_group_reset(void **state);
/* As main() returns it. set_up, which says whether it did, and tear_down may be NULL: they run with
 * the servers there. */
int kmip_group_run(const struct CMUnitTest *tests, size_t count, bool (*set_up)(void),
                   void (*tear_down)(void));

#endif
