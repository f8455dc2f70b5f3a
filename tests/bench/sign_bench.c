/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures per second: of a PKCS#11 module called directly (the denominator of every ratio), and
 * of an EVP_PKEY from a file, an OSSL_STORE URI or an engine.
 *
 *   sign_bench raw MODULE TOKEN-LABEL PIN KEY-LABEL THREADS SECONDS
 *   sign_bench evp KEY THREADS SECONDS     (KEY: a file, pkcs11:..., or engine:ID:NAME)
 *
 * prints "RATE ERRORS". With "asked" for SECONDS one thread measures as often as it is told to: a
 * line with seconds of processor time on standard input, one with the figures back; so that short
 * turns of several processes can alternate, and what disturbs the machine meets them all. Each
 * operation of evp is what libssl does: a new EVP_MD_CTX, DigestSignInit, DigestSign over 130
 * bytes. The process leaves with _exit: exit handlers are not what is measured.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tests/support/key_load.h"

#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 256

struct signer;

struct run {
    void (*prepare)(struct run *run, struct signer *signer); /* in the thread that will sign */
    bool (*sign)(const struct run *run, const struct signer *signer);
    int threads;
    double seconds;
    atomic_bool go, stop;
    _Atomic unsigned long done, errors;
    EVP_PKEY *key;
    CK_FUNCTION_LIST *module;
    CK_SLOT_ID slot;
    CK_MECHANISM_TYPE mechanism;
    const char *label, *digest;
};

/* What one thread signs with. */
struct signer {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "sign_bench: %s\n", what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

/* --- the module itself ---------------------------------------------------------------------------
 */

static CK_SESSION_HANDLE open_session(struct run *run)
{
    CK_SESSION_HANDLE session;
    if (run->module->C_OpenSession(run->slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        fail("C_OpenSession");
    return session;
}

static CK_OBJECT_HANDLE find_key(struct run *run, CK_SESSION_HANDLE session, CK_KEY_TYPE *type)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof(class)},
                               {CKA_LABEL, (void *)(uintptr_t)run->label, strlen(run->label)}};
    CK_ATTRIBUTE kind = {CKA_KEY_TYPE, type, sizeof(*type)};
    CK_OBJECT_HANDLE key;
    CK_ULONG found = 0;
    run->module->C_FindObjectsInit(session, template, 2);
    run->module->C_FindObjects(session, &key, 1, &found);
    run->module->C_FindObjectsFinal(session);
    if (found != 1 || run->module->C_GetAttributeValue(session, key, &kind, 1) != CKR_OK)
        fail("no such key in the token");
    return key;
}

static void raw_prepare(struct run *run, struct signer *signer)
{
    CK_KEY_TYPE type;
    signer->session = open_session(run);
    signer->key = find_key(run, signer->session, &type);
}

static bool raw_sign(const struct run *run, const struct signer *signer)
{
    static unsigned char digest_info[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60,
                                            0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                                            0x01, 0x05, 0x00, 0x04, 0x20};
    unsigned char signature[1024];
    CK_MECHANISM mechanism = {run->mechanism, NULL, 0};
    CK_ULONG input = run->mechanism == CKM_RSA_PKCS ? sizeof(digest_info) : 32;
    CK_ULONG size = sizeof(signature);
    return run->module->C_SignInit(signer->session, &mechanism, signer->key) == CKR_OK &&
           run->module->C_Sign(signer->session, digest_info, input, signature, &size) == CKR_OK;
}

static CK_SLOT_ID find_token(CK_FUNCTION_LIST *module, const char *label)
{
    CK_SLOT_ID slots[64];
    CK_ULONG slot_count = 64;
    CK_TOKEN_INFO info;
    module->C_GetSlotList(CK_TRUE, slots, &slot_count);
    for (CK_ULONG i = 0; i < slot_count; i++) {
        size_t size = strlen(label);
        if (module->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            memcmp(info.label, label, size) == 0 && (size == 32 || info.label[size] == ' '))
            return slots[i];
    }
    fail("no such token");
    return 0;
}

static void raw_open(struct run *run, char **argv)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_C_GetFunctionList get = NULL;
    CK_KEY_TYPE type;
    void *library = dlopen(argv[0], RTLD_NOW);
    if (library != NULL)
        *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&run->module) != CKR_OK || run->module->C_Initialize(&args) != CKR_OK)
        fail("the module does not load");
    run->slot = find_token(run->module, argv[1]);
    run->label = argv[3];
    CK_SESSION_HANDLE session = open_session(run);
    if (run->module->C_Login(session, CKU_USER, (unsigned char *)argv[2], strlen(argv[2])) !=
        CKR_OK)
        fail("C_Login");
    find_key(run, session, &type);
    run->mechanism = type == CKK_RSA ? CKM_RSA_PKCS : type == CKK_EC ? CKM_ECDSA : CKM_EDDSA;
    run->prepare = raw_prepare;
    run->sign = raw_sign;
}

/* --- EVP -----------------------------------------------------------------------------------------
 */

static EVP_PKEY *key_from_engine(const char *text)
{
    char id[64];
    const char *colon = strchr(text, ':');
    if (colon == NULL ||
        (size_t)snprintf(id, sizeof(id), "%.*s", (int)(colon - text), text) >= sizeof(id))
        return NULL;
    ENGINE *engine = ENGINE_by_id(id);
    return engine != NULL && ENGINE_init(engine)
               ? ENGINE_load_private_key(engine, colon + 1, NULL, NULL)
               : NULL;
}

static void evp_prepare(struct run *run, struct signer *signer)
{
    (void)run;
    (void)signer;
}

static bool evp_sign(const struct run *run, const struct signer *signer)
{
    static const unsigned char message[130];
    unsigned char signature[1024];
    size_t size = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        EVP_DigestSignInit_ex(context, NULL, run->digest, NULL, NULL, run->key, NULL) == 1 &&
        EVP_DigestSign(context, signature, &size, message, sizeof(message)) == 1;
    (void)signer;
    EVP_MD_CTX_free(context);
    return good;
}

static void evp_open(struct run *run, const char *name)
{
    run->key = strncmp(name, "engine:", 7) == 0 ? key_from_engine(name + 7) : key_load(name);
    if (run->key == NULL)
        fail(name);
    run->digest = key_load_digest(run->key);
    run->prepare = evp_prepare;
    run->sign = evp_sign;
    if (!evp_sign(run, NULL))
        fail("the first signature fails");
}

/* --- measuring -----------------------------------------------------------------------------------
 */

static void *worker(void *arg)
{
    struct run *run = arg;
    struct signer signer;
    run->prepare(run, &signer);
    while (!atomic_load(&run->go))
        usleep(100);
    while (!atomic_load(&run->stop))
        atomic_fetch_add(run->sign(run, &signer) ? &run->done : &run->errors, 1);
    return NULL;
}

static void measure(struct run *run)
{
    pthread_t threads[THREADS_MAX];
    for (int i = 0; i < run->threads; i++) {
        if (pthread_create(&threads[i], NULL, worker, run) != 0)
            fail("pthread_create");
    }
    usleep(200000); /* sessions are open and keys found before the clock runs */
    double begin = now(CLOCK_MONOTONIC);
    atomic_store(&run->go, true);
    usleep((useconds_t)(run->seconds * 1e6));
    unsigned long done = atomic_load(&run->done);
    double passed = now(CLOCK_MONOTONIC) - begin;
    atomic_store(&run->stop, true);
    for (int i = 0; i < run->threads; i++)
        pthread_join(threads[i], NULL);
    printf("%.1f %lu\n", (double)done / passed, atomic_load(&run->errors));
    fflush(stdout);
}

/* Where the heap's blocks lie against cache lines and pages makes some percent of a signature in
 * software, always the same for the same program: chance takes that out of a comparison. */
static void move_heap(void)
{
    static void *hole;
    unsigned char by[2] = {0};
    RAND_bytes(by, sizeof(by));
    hole = malloc((size_t)(by[0] << 8 | by[1]) + 1);
    if (hole == NULL)
        fail("no memory");
}

static void measure_when_asked(struct run *run)
{
    struct signer signer;
    char line[32];
    run->prepare(run, &signer);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        unsigned long done = 0, errors = 0;
        double begin = now(CLOCK_PROCESS_CPUTIME_ID), seconds = strtod(line, NULL), passed;
        do {
            if (run->sign(run, &signer))
                done++;
            else
                errors++;
            passed = now(CLOCK_PROCESS_CPUTIME_ID) - begin;
        } while (passed < seconds);
        printf("%.1f %lu\n", (double)done / passed, errors);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    bool raw = argc == 8 && strcmp(argv[1], "raw") == 0;
    bool evp = argc == 5 && strcmp(argv[1], "evp") == 0;
    if (!raw && !evp)
        fail("usage: sign_bench raw MODULE TOKEN PIN LABEL THREADS SECONDS | evp KEY THREADS "
             "SECONDS");
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
    run.threads = atoi(argv[argc - 2]);
    run.seconds = strtod(argv[argc - 1], NULL);
    bool asked = strcmp(argv[argc - 1], "asked") == 0;
    if (asked)
        move_heap();
    if (run.threads < 1 || run.threads > THREADS_MAX || (run.seconds <= 0 && !asked))
        fail("threads and seconds");
    if (raw)
        raw_open(&run, argv + 2);
    else
        evp_open(&run, argv[2]);
    if (asked)
        measure_when_asked(&run);
    else
        measure(&run);
    _exit(0);
}
