/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunks of a stream: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar 2015) over
 * AES-256-GCM. Nonce: 7 random bytes, the chunk's number, 1 in the last chunk. On the wire each
 * chunk is its frame (32 bits, big-endian: the highest is set in the last chunk, the others are the
 * plaintext's size), the ciphertext, the tag. Every chunk but the last is full; an empty one is
 * only ever the single chunk of an empty stream.
 */
#ifndef KYOK_ENVELOPE_CHUNKS_H
#define KYOK_ENVELOPE_CHUNKS_H

#include "common/envelope/descriptor.h"
#include "common/envelope/envelope.h"

#define KYOK_CHUNK_LOG2 19 /* what is written: 512 KiB */
#define KYOK_CHUNK_MIN_LOG2 12
#define KYOK_CHUNK_MAX_LOG2 20 /* what is read: bounds memory */
#define KYOK_CHUNK_PREFIX_SIZE 7
#define KYOK_CHUNK_WORKERS 3

/* What the stream's envelope holds. Views. */
struct kyok_chunk_key {
    struct kyok_bytes key;    /* 32 bytes, of this stream alone */
    struct kyok_bytes prefix; /* KYOK_CHUNK_PREFIX_SIZE */
    unsigned size_log2;
};

struct kyok_chunk_job {
    struct kyok_source *in;
    int out;
    const struct kyok_chunk_key *key;
    kyok_envelope_progress *progress;
    void *caller;
};

enum kyok_status kyok_chunks_seal(const struct kyok_chunk_job *job, struct kyok_error *err);
/* Writes chunk by chunk what is authenticated; *written counts plaintext bytes also on failure.
 * KYOK_INCOMPLETE: the input ends too early. KYOK_TAMPERED: anything else that does not fit. */
enum kyok_status kyok_chunks_open(const struct kyok_chunk_job *job, uint64_t *written,
                                  struct kyok_error *err);

#endif
