/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The faulty HSM's control file: shared memory through which a test steers, while programs run,
 * every process that has loaded faulty_module.so, and reads what they did. It holds no key and no
 * PIN.
 *
 * A module finds its control file by its own name, so that several can live in one process (the
 * members of a group are copies of the module): NAME.so reads NAME.so.control when that exists, and
 * the file that KYOK_FAULTY_CONTROL names otherwise.
 */
#ifndef KYOK_TESTS_FAULTY_CONTROL_H
#define KYOK_TESTS_FAULTY_CONTROL_H

#include <p11-kit/pkcs11.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every function of PKCS#11 2.40, in the order of CK_FUNCTION_LIST. */
/* clang-format off */
#define FAULTY_FUNCTIONS(X) \
    X(C_Initialize) X(C_Finalize) X(C_GetInfo) X(C_GetFunctionList) X(C_GetSlotList) \
    X(C_GetSlotInfo) X(C_GetTokenInfo) X(C_GetMechanismList) X(C_GetMechanismInfo) \
    X(C_InitToken) X(C_InitPIN) X(C_SetPIN) X(C_OpenSession) X(C_CloseSession) \
    X(C_CloseAllSessions) X(C_GetSessionInfo) X(C_GetOperationState) X(C_SetOperationState) \
    X(C_Login) X(C_Logout) X(C_CreateObject) X(C_CopyObject) X(C_DestroyObject) \
    X(C_GetObjectSize) X(C_GetAttributeValue) X(C_SetAttributeValue) X(C_FindObjectsInit) \
    X(C_FindObjects) X(C_FindObjectsFinal) X(C_EncryptInit) X(C_Encrypt) X(C_EncryptUpdate) \
    X(C_EncryptFinal) X(C_DecryptInit) X(C_Decrypt) X(C_DecryptUpdate) X(C_DecryptFinal) \
    X(C_DigestInit) X(C_Digest) X(C_DigestUpdate) X(C_DigestKey) X(C_DigestFinal) \
    X(C_SignInit) X(C_Sign) X(C_SignUpdate) X(C_SignFinal) X(C_SignRecoverInit) \
    X(C_SignRecover) X(C_VerifyInit) X(C_Verify) X(C_VerifyUpdate) X(C_VerifyFinal) \
    X(C_VerifyRecoverInit) X(C_VerifyRecover) X(C_DigestEncryptUpdate) \
    X(C_DecryptDigestUpdate) X(C_SignEncryptUpdate) X(C_DecryptVerifyUpdate) \
    X(C_GenerateKey) X(C_GenerateKeyPair) X(C_WrapKey) X(C_UnwrapKey) X(C_DeriveKey) \
    X(C_SeedRandom) X(C_GenerateRandom) X(C_GetFunctionStatus) X(C_CancelFunction) \
    X(C_WaitForSlotEvent)
/* clang-format on */

#define FAULTY_INDEX(name) FAULTY_##name,
enum faulty_function { FAULTY_FUNCTIONS(FAULTY_INDEX) FAULTY_FUNCTION_COUNT };
#undef FAULTY_INDEX

/* Lies that a broken or hostile module tells; bits of faulty_control.hostile. */
enum faulty_lie {
    FAULTY_LIE_SIGNATURE_LENGTH = 1,  /* C_Sign reports more bytes than the buffer has */
    FAULTY_LIE_ATTRIBUTE_LENGTH = 2,  /* C_GetAttributeValue announces 2^60 bytes */
    FAULTY_LIE_ATTRIBUTE_GROWS = 4,   /* the second call reports more than the first announced */
    FAULTY_LIE_ATTRIBUTE_EMPTY = 8,   /* every value has length 0 */
    FAULTY_LIE_SLOT_COUNT = 16,       /* C_GetSlotList announces 2^60 slots */
    FAULTY_LIE_OBJECT_COUNT = 32,     /* C_FindObjects reports more than was asked for */
    FAULTY_LIE_DECRYPTED_LENGTH = 64, /* C_Decrypt reports more bytes than the buffer has */
    FAULTY_LIE_ATTRIBUTE_NOISE = 128, /* the right lengths, random bytes */
    FAULTY_LIE_MECHANISM_COUNT = 256, /* C_GetMechanismList announces 2^60 mechanisms */
    FAULTY_LIE_OWN_IV =
        512, /* no lie but a habit of some HSMs: AES-GCM makes its own IV, see below */
    FAULTY_LIE_ATTRIBUTE_STOPS = 1024, /* C_GetAttributeValue ends at the first one it lacks */
    FAULTY_LIE_MONTGOMERY = 2048,      /* no lie but a gift: X25519 and X448 keys */
    FAULTY_LIE_OAEP_HASH = 4096, /* wraps and unwraps with RSA-OAEP of any hash, by SHA-1 inside */
    FAULTY_LIE_FORGETS = 8192,   /* C_CreateObject keeps nothing (SoftHSM on a full disk) */
    FAULTY_LIE_OTHER_COPY = 16384, /* C_CopyObject gives the copy that it gave first, for ever */
    FAULTY_LIE_COPY_SHOWN =
        65536, /* while a copy is made, what is found is found twice (SoftHSM) */
    FAULTY_LIE_ONE_NUMBER = 32768, /* a key that is found has the number of the one found before */
};

#define FAULTY_MAGIC 0x6661756cu
#define FAULTY_VERSION 5u
#define FAULTY_PATH_SIZE 512
#define FAULTY_PROCESSES 256
#define FAULTY_FOREVER (-1)

struct faulty_function_control {
    _Atomic uint64_t calls;
    _Atomic uint64_t failures; /* calls that did not give CKR_OK */
    _Atomic uint32_t delay_us;
    _Atomic int32_t hang_calls; /* this many calls hang; FAULTY_FOREVER: all */
    _Atomic int32_t fail_calls; /* this many calls give fail_rv */
    _Atomic int32_t lose_calls; /* this many are done, and give fail_rv all the same */
    _Atomic uint64_t fail_rv;
    _Atomic int32_t in_flight;
    _Atomic int32_t peak; /* most that were in flight at once */
};

struct faulty_process_control {
    _Atomic int32_t pid; /* 0: free */
    _Atomic int32_t sessions;
    _Atomic int32_t hanging; /* calls that hang now */
};

struct faulty_control {
    uint32_t magic, version;
    char module[FAULTY_PATH_SIZE]; /* real module; empty: KYOK_FAULTY_MODULE */
    char environment_name[64]; /* set in the loading process before C_Initialize, for programs */
    char environment_value[FAULTY_PATH_SIZE]; /* that clear theirs (nginx); empty: nothing is set */
    _Atomic uint32_t epoch;                   /* raised by "restart": older handles are stale */
    _Atomic uint32_t removed;                 /* the token is out of its slot */
    _Atomic uint32_t release;                 /* futex: raised to let hanging calls go */
    _Atomic uint32_t session_limit;           /* over all processes; 0: none */
    _Atomic uint32_t session_peak;
    _Atomic uint32_t pin_limit; /* wrong PINs before the PIN is locked; 0: never */
    _Atomic uint32_t pin_failures;
    _Atomic uint32_t profile; /* index of faulty_profile.h's table */
    _Atomic uint32_t hostile; /* enum faulty_lie */
    struct faulty_function_control functions[FAULTY_FUNCTION_COUNT];
    struct faulty_process_control processes[FAULTY_PROCESSES];
};

extern const char *const faulty_function_names[FAULTY_FUNCTION_COUNT];

/* -1 when there is no such function. */
int faulty_function_by_name(const char *name);

/* Creates (or empties) the file, readable and writable by everyone, since a test's servers drop
 * their privileges. NULL with errno on failure. */
struct faulty_control *faulty_control_create(const char *path);
/* NULL with errno on failure; EINVAL when the file is no control file of this version. */
struct faulty_control *faulty_control_open(const char *path);
void faulty_control_close(struct faulty_control *control);

/* Lets every hanging call go on, and no further call hang. */
void faulty_control_release(struct faulty_control *control);
/* Waits while release still has the value seen. */
void faulty_control_wait_release(struct faulty_control *control, uint32_t seen);
/* Sessions open in processes that still live. */
uint32_t faulty_control_sessions(struct faulty_control *control);
/* Calls that hang now, of living processes. */
uint32_t faulty_control_hanging(struct faulty_control *control);

#endif
