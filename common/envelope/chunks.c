/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/chunks.h"
#include "common/envelope/crypto.h"

#include <openssl/err.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FRAME_SIZE 4
#define LAST_FLAG 0x80000000u
#define CHUNKS_MAX UINT32_MAX

/* One worker's chunk: frame, text, and on sealing one byte more, read ahead to know the last. */
struct chunk {
    uint8_t *block;
    size_t size; /* of the text */
    uint32_t number;
    bool last;
    EVP_CIPHER_CTX *cipher;
};

/* Workers take turns at reading, encrypt or decrypt side by side, and take turns at writing. */
struct line {
    const struct kyok_chunk_job *job;
    const struct direction *direction;
    size_t full; /* text size of every chunk but the last */

    pthread_mutex_t read_lock;
    uint64_t next_read;
    bool read_all;
    bool has_ahead; /* sealing: one byte was read ahead */
    uint8_t ahead;

    pthread_mutex_t lock;
    pthread_cond_t turn;
    uint64_t next_write;
    uint64_t done; /* plaintext bytes written or read */
    bool stopped;
    int stop; /* eventfd, readable once stopped: a worker may be waiting for input that never comes
               */
    struct kyok_error err;
};

struct direction {
    int encrypt;
    enum kyok_status (*read)(struct line *line, struct chunk *chunk, struct kyok_error *err);
    enum kyok_status (*crypt)(struct line *line, struct chunk *chunk, struct kyok_error *err);
    enum kyok_status (*write)(struct line *line, const struct chunk *chunk, struct kyok_error *err);
};

/* --- frame and nonce ------------------------------------------------------------------------- */

static void put_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint8_t *text_of(const struct chunk *chunk)
{
    return chunk->block + FRAME_SIZE;
}

static bool start_cipher(const struct line *line, struct chunk *chunk)
{
    uint8_t nonce[KYOK_GCM_IV_SIZE];

    memcpy(nonce, line->job->key->prefix.data, KYOK_CHUNK_PREFIX_SIZE);
    put_u32(nonce + KYOK_CHUNK_PREFIX_SIZE, chunk->number);
    nonce[KYOK_GCM_IV_SIZE - 1] = chunk->last;
    return EVP_CipherInit_ex2(chunk->cipher, NULL, NULL, nonce, line->direction->encrypt, NULL) ==
           1;
}

static enum kyok_status cipher_failed(struct kyok_error *err)
{
    ERR_clear_error();
    return kyok_fail(err, KYOK_SYSTEM, "OpenSSL", "AES-256-GCM failed on a chunk");
}

/* --- sealing --------------------------------------------------------------------------------- */

static enum kyok_status read_text(struct line *line, struct chunk *chunk, struct kyok_error *err)
{
    uint8_t *text = text_of(chunk);
    size_t ahead = line->has_ahead, got;

    if (ahead)
        text[0] = line->ahead;
    KYOK_TRY(kyok_source_read(line->job->in, text + ahead, line->full + 1 - ahead, &got, err));
    chunk->size = got + ahead;
    chunk->last = chunk->size <= line->full;
    line->has_ahead = !chunk->last;
    if (!chunk->last)
        line->ahead = text[--chunk->size];
    return KYOK_OK;
}

static enum kyok_status seal_chunk(struct line *line, struct chunk *chunk, struct kyok_error *err)
{
    uint8_t *text = text_of(chunk);
    int size, final;

    if (!start_cipher(line, chunk) ||
        EVP_EncryptUpdate(chunk->cipher, text, &size, text, (int)chunk->size) != 1 ||
        EVP_EncryptFinal_ex(chunk->cipher, text + size, &final) != 1 ||
        EVP_CIPHER_CTX_ctrl(chunk->cipher, EVP_CTRL_AEAD_GET_TAG, KYOK_GCM_TAG_SIZE,
                            text + chunk->size) != 1)
        return cipher_failed(err);
    put_u32(chunk->block, (uint32_t)chunk->size | (chunk->last ? LAST_FLAG : 0));
    return KYOK_OK;
}

static enum kyok_status write_sealed(struct line *line, const struct chunk *chunk,
                                     struct kyok_error *err)
{
    return kyok_descriptor_write(
        line->job->out, kyok_bytes(chunk->block, FRAME_SIZE + chunk->size + KYOK_GCM_TAG_SIZE),
        err);
}

/* --- opening --------------------------------------------------------------------------------- */

static enum kyok_status cut(const struct chunk *chunk, struct kyok_error *err)
{
    return kyok_fail(err, KYOK_INCOMPLETE, NULL, "the stream is cut in chunk %lu, before its end",
                     (unsigned long)chunk->number);
}

static enum kyok_status read_frame(struct line *line, struct chunk *chunk, struct kyok_error *err)
{
    size_t got;
    uint32_t frame;

    KYOK_TRY(kyok_source_read(line->job->in, chunk->block, FRAME_SIZE, &got, err));
    if (got < FRAME_SIZE)
        return cut(chunk, err);
    frame = get_u32(chunk->block);
    chunk->last = (frame & LAST_FLAG) != 0;
    chunk->size = frame & ~LAST_FLAG;
    if (chunk->size > line->full || (!chunk->last && chunk->size != line->full) ||
        (chunk->size == 0 && chunk->number > 0))
        return kyok_fail(err, KYOK_TAMPERED, NULL, "chunk %lu of the stream has a wrong size",
                         (unsigned long)chunk->number);
    return KYOK_OK;
}

static enum kyok_status read_sealed(struct line *line, struct chunk *chunk, struct kyok_error *err)
{
    uint8_t beyond;
    size_t got;

    KYOK_TRY(read_frame(line, chunk, err));
    KYOK_TRY(kyok_source_read(line->job->in, text_of(chunk), chunk->size + KYOK_GCM_TAG_SIZE, &got,
                              err));
    if (got < chunk->size + KYOK_GCM_TAG_SIZE)
        return cut(chunk, err);
    if (!chunk->last)
        return KYOK_OK;
    KYOK_TRY(kyok_source_read(line->job->in, &beyond, 1, &got, err));
    if (got > 0)
        return kyok_fail(err, KYOK_TAMPERED, NULL, "bytes follow the stream's last chunk");
    return KYOK_OK;
}

static enum kyok_status open_chunk(struct line *line, struct chunk *chunk, struct kyok_error *err)
{
    uint8_t *text = text_of(chunk);
    int size, final;

    if (!start_cipher(line, chunk) ||
        EVP_CIPHER_CTX_ctrl(chunk->cipher, EVP_CTRL_AEAD_SET_TAG, KYOK_GCM_TAG_SIZE,
                            text + chunk->size) != 1 ||
        EVP_DecryptUpdate(chunk->cipher, text, &size, text, (int)chunk->size) != 1)
        return cipher_failed(err);
    if (EVP_DecryptFinal_ex(chunk->cipher, text + size, &final) == 1)
        return KYOK_OK;
    ERR_clear_error();
    return kyok_fail(err, KYOK_TAMPERED, NULL, "chunk %lu of the stream was altered or moved",
                     (unsigned long)chunk->number);
}

static enum kyok_status write_text(struct line *line, const struct chunk *chunk,
                                   struct kyok_error *err)
{
    return kyok_descriptor_write(line->job->out, kyok_bytes(text_of(chunk), chunk->size), err);
}

static const struct direction sealing = {1, read_text, seal_chunk, write_sealed};
static const struct direction opening = {0, read_sealed, open_chunk, write_text};

/* --- workers --------------------------------------------------------------------------------- */

static bool chunk_prepare(struct chunk *chunk, const struct line *line,
                          const struct kyok_crypto *crypto)
{
    chunk->block = malloc(FRAME_SIZE + line->full + KYOK_GCM_TAG_SIZE);
    chunk->cipher = EVP_CIPHER_CTX_new();
    return chunk->block != NULL && chunk->cipher != NULL &&
           EVP_CipherInit_ex2(chunk->cipher, crypto->gcm, line->job->key->key.data, NULL,
                              line->direction->encrypt, NULL) == 1;
}

static void chunk_release(struct chunk *chunk, const struct line *line)
{
    if (chunk->block != NULL)
        kyok_wipe(chunk->block, FRAME_SIZE + line->full + KYOK_GCM_TAG_SIZE);
    free(chunk->block);
    EVP_CIPHER_CTX_free(chunk->cipher);
}

/* The next chunk for this worker; false when there is none. A failed read keeps its place in the
 * line, so that all chunks before it are still written. */
static bool take_chunk(struct line *line, struct chunk *chunk, enum kyok_status *status,
                       struct kyok_error *err)
{
    bool more;

    pthread_mutex_lock(&line->read_lock);
    more = !line->read_all;
    if (more) {
        chunk->number = (uint32_t)line->next_read++;
        *status = line->direction->read(line, chunk, err);
        if (*status == KYOK_OK && !chunk->last && chunk->number == CHUNKS_MAX)
            *status = kyok_fail(err, KYOK_INVALID, NULL, "the stream has too many chunks");
        line->read_all = *status != KYOK_OK || chunk->last;
    }
    pthread_mutex_unlock(&line->read_lock);
    return more;
}

static bool await_turn(struct line *line, uint32_t number)
{
    bool stopped;

    pthread_mutex_lock(&line->lock);
    while (line->next_write != number && !line->stopped)
        pthread_cond_wait(&line->turn, &line->lock);
    stopped = line->stopped;
    pthread_mutex_unlock(&line->lock);
    return !stopped;
}

static void end_turn(struct line *line, const struct chunk *chunk, enum kyok_status status,
                     const struct kyok_error *err)
{
    pthread_mutex_lock(&line->lock);
    line->next_write++;
    if (status == KYOK_OK) {
        line->done += chunk->size;
    } else {
        line->stopped = true;
        line->err = *err;
        eventfd_write(line->stop, 1); /* -1: then that worker sees it with its next bytes */
    }
    pthread_cond_broadcast(&line->turn);
    pthread_mutex_unlock(&line->lock);
}

static void work_on(struct line *line, struct chunk *chunk)
{
    struct kyok_error err = {0};
    enum kyok_status status = KYOK_OK;

    while (take_chunk(line, chunk, &status, &err)) {
        if (status == KYOK_OK)
            status = line->direction->crypt(line, chunk, &err);
        if (!await_turn(line, chunk->number))
            return;
        if (status == KYOK_OK)
            status = line->direction->write(line, chunk, &err);
        if (status == KYOK_OK && line->job->progress != NULL)
            line->job->progress(line->job->caller, line->done + chunk->size);
        end_turn(line, chunk, status, &err);
        if (status != KYOK_OK)
            return;
    }
}

struct worker {
    struct line *line;
    struct chunk chunk;
    pthread_t thread;
    bool running;
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    work_on(worker->line, &worker->chunk);
    return NULL;
}

/* Signals are the host program's business: not this thread's. */
static void worker_start(struct worker *worker)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->running = pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The calling thread is the first worker, so that one suffices when no thread can be had. */
static enum kyok_status run_line(struct line *line, struct kyok_error *err)
{
    const struct kyok_crypto *crypto = kyok_crypto(err);
    struct worker workers[KYOK_CHUNK_WORKERS] = {0};
    bool ready = crypto != NULL;

    for (size_t i = 0; ready && i < KYOK_CHUNK_WORKERS; i++) {
        workers[i].line = line;
        ready = chunk_prepare(&workers[i].chunk, line, crypto);
    }
    for (size_t i = 1; ready && i < KYOK_CHUNK_WORKERS; i++)
        worker_start(&workers[i]);
    if (ready)
        work_on(line, &workers[0].chunk);
    for (size_t i = 0; i < KYOK_CHUNK_WORKERS; i++) {
        if (workers[i].running)
            pthread_join(workers[i].thread, NULL);
        chunk_release(&workers[i].chunk, line);
    }
    if (!ready)
        return crypto != NULL ? kyok_fail(err, KYOK_SYSTEM, NULL, "out of memory") : err->status;
    if (line->stopped)
        *err = line->err;
    return line->stopped ? err->status : KYOK_OK;
}

static enum kyok_status run(const struct kyok_chunk_job *job, const struct direction *direction,
                            uint64_t *done, struct kyok_error *err)
{
    struct line line = {
        .job = job,
        .direction = direction,
        .full = (size_t)1 << job->key->size_log2,
        .read_lock = PTHREAD_MUTEX_INITIALIZER,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .turn = PTHREAD_COND_INITIALIZER,
        .stop = eventfd(0, EFD_CLOEXEC),
    };
    enum kyok_status status;

    job->in->stop = &line.stop;
    status = run_line(&line, err);
    job->in->stop = NULL;
    if (line.stop >= 0)
        close(line.stop);
    *done = line.done;
    pthread_cond_destroy(&line.turn);
    pthread_mutex_destroy(&line.lock);
    pthread_mutex_destroy(&line.read_lock);
    return status;
}

enum kyok_status kyok_chunks_seal(const struct kyok_chunk_job *job, struct kyok_error *err)
{
    uint64_t done;

    return run(job, &sealing, &done, err);
}

enum kyok_status kyok_chunks_open(const struct kyok_chunk_job *job, uint64_t *written,
                                  struct kyok_error *err)
{
    return run(job, &opening, written, err);
}
