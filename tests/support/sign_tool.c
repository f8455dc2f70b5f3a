/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that signs with whatever OPENSSL_CONF configures, for tests that watch it from outside.
 *
 *   sign_tool run KEY THREADS COUNT [MS]      each thread signs COUNT times, MS apart, and verifies
 *   sign_tool fork KEY THREADS FORKS [signs]  THREADS sign while the main thread forks FORKS times;
 *                                             a child leaves at once, or signs once
 *   sign_tool ask KEY                         reads commands: "sign", "threads N" (each signs
 *                                             once), "fork" (a child signs), "daemon" (goes on in a
 *                                             child), "key KEY" (another from now on, then signs)
 *
 * KEY: a PEM file or a URI. run prints "ok=N failed=N max_ms=N" and the first error; fork prints
 * "forks=N hung=N failed=N"; ask answers each line with "ok MS" or "failed MS TEXT". Signatures are
 * verified by the default provider with the exported public half. SIGN_TOOL_PSS in the environment
 * makes RSA signatures PSS.
 */
#include "tests/support/key_load.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 512
#define HUNG_SECONDS 8

static struct {
    EVP_PKEY *key, *public_key;
    const char *digest;
    int count, interval_ms;
    atomic_bool stop;
    _Atomic int good, failed, max_ms;
    pthread_mutex_t lock; /* first_error */
    char first_error[600];
} tool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- the key
 * --------------------------------------------------------------------------------------- */

/* The public half as software: through its SubjectPublicKeyInfo. */
static EVP_PKEY *public_half(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    const unsigned char *at = der;
    EVP_PKEY *half = size > 0 ? d2i_PUBKEY(NULL, &at, size) : NULL;
    OPENSSL_free(der);
    return half;
}

static void error_text(char *text, size_t size)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long code = ERR_peek_last_error_all(NULL, NULL, NULL, &data, &flags);
    snprintf(text, size, "%s: %s",
             code == 0                               ? "no error"
             : ERR_reason_error_string(code) != NULL ? ERR_reason_error_string(code)
                                                     : "?",
             data != NULL ? data : "");
}

static void load_key(const char *name)
{
    char text[600];
    tool.key = key_load(name);
    tool.public_key = tool.key == NULL ? NULL : public_half(tool.key);
    if (tool.public_key == NULL) {
        error_text(text, sizeof(text));
        printf("failed 0 the key does not load: %s\n", text);
        exit(1);
    }
    tool.digest = key_load_digest(tool.key);
}

/* --- one signature
 * --------------------------------------------------------------------------------- */

static bool set_padding(EVP_PKEY_CTX *context)
{
    if (getenv("SIGN_TOOL_PSS") == NULL || !EVP_PKEY_is_a(tool.key, "RSA"))
        return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0;
}

static bool sign(unsigned char *signature, size_t *size, const unsigned char *message,
                 size_t length)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *inner = NULL; /* belongs to context */
    bool good =
        EVP_DigestSignInit_ex(context, &inner, tool.digest, NULL, NULL, tool.key, NULL) == 1 &&
        set_padding(inner) && EVP_DigestSign(context, signature, size, message, length) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

static bool verify(const unsigned char *signature, size_t size, const unsigned char *message,
                   size_t length)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *inner = NULL;
    bool good = EVP_DigestVerifyInit_ex(context, &inner, tool.digest, NULL, NULL, tool.public_key,
                                        NULL) == 1 &&
                set_padding(inner) &&
                EVP_DigestVerify(context, signature, size, message, length) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

/* Signs, verifies, and looks for errors that a success has left behind. */
static bool sign_once(char *text, size_t text_size)
{
    unsigned char signature[1024], message[32];
    size_t size = sizeof(signature);
    memset(message, (int)now_ms() & 0xff, sizeof(message));
    ERR_clear_error();
    bool good = sign(signature, &size, message, sizeof(message));
    if (!good)
        error_text(text, text_size);
    else if (ERR_peek_error() != 0)
        snprintf(text, text_size, "a stale error was left behind");
    else if (!verify(signature, size, message, sizeof(message)))
        snprintf(text, text_size, "the signature does not verify");
    else
        return true;
    return false;
}

static bool timed_sign(int *ms, char *text, size_t size)
{
    int64_t begin = now_ms();
    bool good = sign_once(text, size);
    *ms = (int)(now_ms() - begin);
    return good;
}

static void record(bool good, int ms, const char *text)
{
    atomic_fetch_add(good ? &tool.good : &tool.failed, 1);
    int seen = atomic_load(&tool.max_ms);
    while (ms > seen && !atomic_compare_exchange_weak(&tool.max_ms, &seen, ms))
        ;
    if (good)
        return;
    pthread_mutex_lock(&tool.lock);
    if (tool.first_error[0] == '\0')
        snprintf(tool.first_error, sizeof(tool.first_error), "%s", text);
    pthread_mutex_unlock(&tool.lock);
}

/* --- run
 * ------------------------------------------------------------------------------------------- */

static void *run_thread(void *unused)
{
    char text[600];
    int ms;
    for (int i = 0; i < tool.count && !atomic_load(&tool.stop); i++) {
        bool good = timed_sign(&ms, text, sizeof(text));
        record(good, ms, text);
        if (tool.interval_ms > 0)
            usleep((useconds_t)tool.interval_ms * 1000);
    }
    return unused;
}

static void with_threads(int count, void (*meanwhile)(void))
{
    pthread_t threads[THREADS_MAX];
    for (int i = 0; i < count; i++) {
        if (pthread_create(&threads[i], NULL, run_thread, NULL) != 0)
            abort();
    }
    if (meanwhile != NULL) {
        meanwhile();
        atomic_store(&tool.stop, true);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static int run(int threads)
{
    with_threads(threads, NULL);
    printf("ok=%d failed=%d max_ms=%d%s%s\n", tool.good, tool.failed, tool.max_ms,
           tool.failed > 0 ? " first error: " : "", tool.first_error);
    return tool.failed == 0 ? 0 : 1;
}

/* --- fork
 * ------------------------------------------------------------------------------------------ */

static struct {
    int forks, hung, failed;
    bool child_signs;
} forking;

static int reap(pid_t child)
{
    int status;
    for (int64_t end = now_ms() + HUNG_SECONDS * 1000; now_ms() < end; usleep(200)) {
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return -1;
}

static void fork_all(void)
{
    char text[600];
    for (int i = 0; i < forking.forks; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(!forking.child_signs || sign_once(text, sizeof(text)) ? 0 : 1);
        int result = reap(child);
        forking.hung += result < 0;
        forking.failed += result > 0;
    }
}

static int run_forks(int threads)
{
    tool.count = 1 << 30;
    with_threads(threads, fork_all);
    printf("forks=%d hung=%d failed=%d signatures=%d unsigned=%d\n", forking.forks, forking.hung,
           forking.failed, tool.good, tool.failed);
    return forking.hung == 0 && forking.failed == 0 && tool.failed == 0 ? 0 : 1;
}

/* --- ask
 * ------------------------------------------------------------------------------------------- */

static void answer(bool good, int ms, const char *text)
{
    if (good)
        printf("ok %d\n", ms);
    else
        printf("failed %d %s\n", ms, text);
    fflush(stdout);
}

static void ask_threads(int count)
{
    tool.good = tool.failed = tool.max_ms = 0;
    tool.first_error[0] = '\0';
    tool.count = 1;
    with_threads(count, NULL);
    answer(tool.failed == 0, tool.max_ms, tool.first_error);
}

static void ask_fork(void)
{
    char text[600] = "";
    int64_t begin = now_ms();
    pid_t child = fork();
    if (child == 0) {
        bool good = sign_once(text, sizeof(text));
        if (!good)
            fprintf(stderr, "%s\n", text);
        _exit(good ? 0 : 1);
    }
    int result = reap(child);
    answer(result == 0, (int)(now_ms() - begin),
           result < 0 ? "the child hangs" : "the child failed");
}

static void ask_key(char *name)
{
    name[strcspn(name, "\n")] = '\0';
    EVP_PKEY_free(tool.key);
    EVP_PKEY_free(tool.public_key);
    load_key(name);
}

static int ask(void)
{
    char line[300], text[600];
    int ms;
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        bool other = strncmp(line, "key ", 4) == 0;
        if (other)
            ask_key(line + 4);
        if (other || strncmp(line, "sign", 4) == 0) {
            bool good = timed_sign(&ms, text, sizeof(text));
            answer(good, ms, text);
        } else if (strncmp(line, "threads ", 8) == 0) {
            ask_threads(atoi(line + 8));
        } else if (strncmp(line, "fork", 4) == 0) {
            ask_fork();
        } else if (strncmp(line, "daemon", 6) == 0) {
            pid_t child = fork();
            if (child > 0)
                _exit(0);
            setsid();
            answer(child == 0, 0, "fork");
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    load_key(argv[2]);
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    if (threads < 1 || threads > THREADS_MAX)
        return 2;
    if (strcmp(argv[1], "run") == 0 && argc >= 5) {
        tool.count = atoi(argv[4]);
        tool.interval_ms = argc > 5 ? atoi(argv[5]) : 0;
        return run(threads);
    }
    if (strcmp(argv[1], "fork") == 0 && argc >= 5) {
        forking.forks = atoi(argv[4]);
        forking.child_signs = argc > 5;
        return run_forks(threads);
    }
    if (strcmp(argv[1], "ask") == 0)
        return ask();
    return 2;
}
