/* SPDX-License-Identifier: Apache-2.0 */
/* The arena of a message that was read. */
#include "common/kmip/message.h"

#include <stdlib.h>
#include <string.h>

struct kyok_kmip_arena_block {
    alignas(16) struct kyok_kmip_arena_block *next;
};

#define BLOCK_SIZE ((size_t)32 << 10)

void kyok_kmip_arena_init(struct kyok_kmip_arena *arena, size_t limit)
{
    arena->at = arena->first;
    arena->end = arena->first + sizeof(arena->first);
    arena->blocks = NULL;
    arena->total = 0;
    arena->limit = limit != 0 ? limit : KYOK_KMIP_ARENA_LIMIT;
}

/* A new block with room for size bytes; what is left of the current one is given up. */
static bool grow(struct kyok_kmip_arena *arena, size_t size)
{
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    if (size > arena->limit || room > arena->limit - arena->total)
        return false;
    struct kyok_kmip_arena_block *block = malloc(sizeof(*block) + room);
    if (block == NULL)
        return false;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->total += room;
    arena->at = (unsigned char *)(block + 1);
    arena->end = arena->at + room;
    return true;
}

void *kyok_kmip_arena_take(struct kyok_kmip_arena *arena, size_t count, size_t size)
{
    size_t wanted;

    if (__builtin_mul_overflow(count, size, &wanted) || wanted > SIZE_MAX - 15)
        return NULL;
    wanted = (wanted + 15) & ~(size_t)15;
    if (wanted > (size_t)(arena->end - arena->at) && !grow(arena, wanted))
        return NULL;
    void *taken = arena->at;
    arena->at += wanted;
    return memset(taken, 0, wanted);
}

void kyok_kmip_arena_free(struct kyok_kmip_arena *arena)
{
    while (arena->blocks != NULL) {
        struct kyok_kmip_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    kyok_kmip_arena_init(arena, arena->limit);
}
