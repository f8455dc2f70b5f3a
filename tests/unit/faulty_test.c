/* SPDX-License-Identifier: Apache-2.0 */
/* The faulty HSM does what the other tests rely on. Skipped where SoftHSM is not installed. */
#include "tests/support/faulty_member.h"
#include "tests/support/faulty_profile.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"

static struct {
    char directory[64];
    CK_FUNCTION_LIST *list;
    struct faulty_control *control;
    CK_SLOT_ID slot;
} hsm;

static CK_FUNCTION_LIST *load_member(const char *name, struct faulty_control **control)
{
    char path[256];
    *control = faulty_member_make(hsm.directory, name);
    assert_non_null(*control);
    snprintf(path, sizeof(path), "%s/%s.so", hsm.directory, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    CK_C_GetFunctionList get;
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    CK_FUNCTION_LIST *list;
    assert_int_equal(get(&list), CKR_OK);
    return list;
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session;
    assert_int_equal(hsm.list->C_OpenSession(hsm.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                             NULL, &session),
                     CKR_OK);
    return session;
}

static CK_RV login(CK_SESSION_HANDLE session, const char *pin)
{
    return hsm.list->C_Login(session, CKU_USER, (unsigned char *)(uintptr_t)pin, strlen(pin));
}

static void make_token(void)
{
    unsigned char label[32];
    memset(label, ' ', sizeof(label));
    memcpy(label, "faulty", sizeof("faulty") - 1);
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    assert_int_equal(hsm.list->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(hsm.list->C_InitToken(slots[0], (unsigned char *)"5678", 4, label), CKR_OK);
    /* SoftHSM gives the new token its lasting slot number at the next start. */
    assert_int_equal(hsm.list->C_Finalize(NULL), CKR_OK);
    assert_int_equal(hsm.list->C_Initialize(NULL), CKR_OK);
    count = 8;
    assert_int_equal(hsm.list->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    hsm.slot = slots[0];
    CK_SESSION_HANDLE session = open_session();
    assert_int_equal(hsm.list->C_Login(session, CKU_SO, (unsigned char *)"5678", 4), CKR_OK);
    assert_int_equal(hsm.list->C_InitPIN(session, (unsigned char *)"1234", 4), CKR_OK);
    assert_int_equal(hsm.list->C_Logout(session), CKR_OK);
    assert_int_equal(hsm.list->C_CloseSession(session), CKR_OK);
}

static int group_setup(void **state)
{
    (void)state;
    strcpy(hsm.directory, "/tmp/kyok-faulty-XXXXXX");
    assert_non_null(mkdtemp(hsm.directory));
    unsetenv("OPENSSL_CONF");
    unsetenv("SOFTHSM2_CONF");
    hsm.list = load_member("member", &hsm.control);
    assert_int_equal(hsm.list->C_Initialize(NULL), CKR_OK);
    make_token();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    hsm.list->C_Finalize(NULL);
    faulty_member_shell("rm -rf %s", hsm.directory);
    return 0;
}

/* Each test begins with no session and no fault. */
static int fresh(void **state)
{
    (void)state;
    hsm.list->C_CloseAllSessions(hsm.slot);
    for (int i = 0; i < FAULTY_FUNCTION_COUNT; i++) {
        struct faulty_function_control *function = &hsm.control->functions[i];
        function->calls = 0;
        function->failures = 0;
        function->delay_us = 0;
        function->fail_calls = 0;
        function->lose_calls = 0;
        function->peak = 0;
    }
    hsm.control->removed = hsm.control->session_limit = hsm.control->hostile = 0;
    hsm.control->pin_limit = hsm.control->pin_failures = hsm.control->profile = 0;
    return 0;
}

/* --- keys --------------------------------------------------------------------------------------
 */

static CK_OBJECT_HANDLE make_ec_key(CK_SESSION_HANDLE session)
{
    static unsigned char curve[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
    static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE public_template[] = {
        {CKA_EC_PARAMS, curve, sizeof(curve)}, {CKA_TOKEN, &no, 1}, {CKA_VERIFY, &yes, 1}};
    CK_ATTRIBUTE private_template[] = {{CKA_TOKEN, &no, 1}, {CKA_SIGN, &yes, 1}};
    CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE public_key, private_key;
    assert_int_equal(hsm.list->C_GenerateKeyPair(session, &mechanism, public_template, 3,
                                                 private_template, 2, &public_key, &private_key),
                     CKR_OK);
    return private_key;
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ULONG *size)
{
    static unsigned char digest[32], signature[64];
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    *size = sizeof(signature);
    CK_RV rv = hsm.list->C_SignInit(session, &mechanism, key);
    return rv != CKR_OK ? rv : hsm.list->C_Sign(session, digest, 32, signature, size);
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void counts_every_call(void **state)
{
    (void)state;
    CK_ULONG size;
    CK_SESSION_HANDLE session = open_session();
    assert_int_equal(login(session, "1234"), CKR_OK);
    CK_OBJECT_HANDLE key = make_ec_key(session);
    for (int i = 0; i < 5; i++)
        assert_int_equal(sign(session, key, &size), CKR_OK);
    assert_int_equal(size, 64);
    assert_int_equal(hsm.control->functions[FAULTY_C_SignInit].calls, 5);
    assert_int_equal(hsm.control->functions[FAULTY_C_Sign].calls, 5);
    assert_int_equal(hsm.control->functions[FAULTY_C_Login].calls, 1);
    assert_int_equal(hsm.control->functions[FAULTY_C_Sign].in_flight, 0);
    assert_int_equal(hsm.control->functions[FAULTY_C_Sign].peak, 1);
    assert_int_equal(faulty_control_sessions(hsm.control), 1);
}

static void delays_one_function_alone(void **state)
{
    (void)state;
    struct timespec before, after;
    hsm.control->functions[FAULTY_C_GetSessionInfo].delay_us = 30000;
    CK_SESSION_HANDLE session = open_session();
    CK_SESSION_INFO info;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(hsm.list->C_GetSessionInfo(session, &info), CKR_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >=
                30000000L);
}

static void restart_makes_every_handle_stale(void **state)
{
    (void)state;
    CK_ULONG size;
    CK_SESSION_HANDLE session = open_session();
    assert_int_equal(login(session, "1234"), CKR_OK);
    CK_OBJECT_HANDLE key = make_ec_key(session);
    hsm.control->epoch++;
    assert_int_equal(sign(session, key, &size), CKR_SESSION_HANDLE_INVALID);
    CK_SESSION_HANDLE again = open_session();
    assert_int_not_equal(again, session);
    assert_int_equal(sign(again, key, &size), CKR_KEY_HANDLE_INVALID);
    CK_SESSION_INFO info;
    assert_int_equal(hsm.list->C_GetSessionInfo(again, &info), CKR_OK);
    assert_int_equal(info.state, CKS_RW_PUBLIC_SESSION);
    assert_int_equal(hsm.list->C_GetAttributeValue(again, key, NULL, 0), CKR_OBJECT_HANDLE_INVALID);
    assert_int_equal(faulty_control_sessions(hsm.control), 1);
}

static void sessions_are_limited(void **state)
{
    (void)state;
    hsm.control->session_limit = 2;
    open_session();
    CK_SESSION_HANDLE second = open_session(), third;
    CK_FLAGS flags = CKF_SERIAL_SESSION;
    assert_int_equal(hsm.list->C_OpenSession(hsm.slot, flags, NULL, NULL, &third),
                     CKR_SESSION_COUNT);
    CK_TOKEN_INFO info;
    assert_int_equal(hsm.list->C_GetTokenInfo(hsm.slot, &info), CKR_OK);
    assert_int_equal(info.ulMaxSessionCount, 2);
    assert_int_equal(info.ulSessionCount, 2);
    assert_int_equal(hsm.list->C_CloseSession(second), CKR_OK);
    assert_int_equal(hsm.list->C_OpenSession(hsm.slot, flags, NULL, NULL, &third), CKR_OK);
}

static void fails_as_often_as_asked(void **state)
{
    (void)state;
    struct faulty_function_control *function = &hsm.control->functions[FAULTY_C_OpenSession];
    CK_SESSION_HANDLE session;
    function->fail_rv = CKR_DEVICE_ERROR;
    function->fail_calls = 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            hsm.list->C_OpenSession(hsm.slot, CKF_SERIAL_SESSION, NULL, NULL, &session),
            CKR_DEVICE_ERROR);
    open_session();
    assert_int_equal(function->failures, 2);
}

static void does_it_and_loses_the_answer(void **state)
{
    (void)state;
    struct faulty_function_control *function = &hsm.control->functions[FAULTY_C_OpenSession];
    CK_SESSION_HANDLE session;
    uint32_t before = faulty_control_sessions(hsm.control);
    function->fail_rv = CKR_DEVICE_ERROR;
    function->lose_calls = 1;
    assert_int_equal(hsm.list->C_OpenSession(hsm.slot, CKF_SERIAL_SESSION, NULL, NULL, &session),
                     CKR_DEVICE_ERROR);
    assert_int_equal(faulty_control_sessions(hsm.control), before + 1);
    open_session();
    assert_int_equal(function->failures, 1);
}

static void token_leaves_and_returns(void **state)
{
    (void)state;
    CK_ULONG count = 0, size;
    CK_TOKEN_INFO info;
    CK_SESSION_HANDLE session = open_session();
    hsm.control->removed = 1;
    assert_int_equal(hsm.list->C_GetTokenInfo(hsm.slot, &info), CKR_TOKEN_NOT_PRESENT);
    assert_int_equal(sign(session, 1, &size), CKR_DEVICE_REMOVED);
    assert_int_equal(hsm.list->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
    assert_int_equal(count, 0);
    hsm.control->epoch++;
    hsm.control->removed = 0;
    assert_int_equal(hsm.list->C_GetTokenInfo(hsm.slot, &info), CKR_OK);
    assert_int_equal(sign(session, 1, &size), CKR_SESSION_HANDLE_INVALID);
}

static void pin_locks_after_its_limit(void **state)
{
    (void)state;
    CK_TOKEN_INFO info;
    hsm.control->pin_limit = 2;
    CK_SESSION_HANDLE session = open_session();
    assert_int_equal(login(session, "9999"), CKR_PIN_INCORRECT);
    assert_int_equal(hsm.list->C_GetTokenInfo(hsm.slot, &info), CKR_OK);
    assert_true((info.flags & CKF_USER_PIN_FINAL_TRY) != 0);
    assert_int_equal(login(session, "9999"), CKR_PIN_INCORRECT);
    assert_int_equal(login(session, "1234"), CKR_PIN_LOCKED);
}

static void *hang_in_random(void *argument)
{
    unsigned char byte;
    CK_SESSION_HANDLE *session = argument;
    return (void *)(uintptr_t)hsm.list->C_GenerateRandom(*session, &byte, 1);
}

static void hangs_until_released(void **state)
{
    (void)state;
    pthread_t thread;
    void *rv;
    CK_SESSION_HANDLE session = open_session();
    CK_SESSION_INFO info;
    hsm.control->functions[FAULTY_C_GenerateRandom].hang_calls = 1;
    assert_int_equal(pthread_create(&thread, NULL, hang_in_random, &session), 0);
    for (int i = 0; i < 500 && faulty_control_hanging(hsm.control) == 0; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    assert_int_equal(faulty_control_hanging(hsm.control), 1);
    /* Others go on, a restart included. */
    assert_int_equal(hsm.list->C_GetSessionInfo(session, &info), CKR_OK);
    faulty_control_release(hsm.control);
    assert_int_equal(pthread_join(thread, &rv), 0);
    assert_int_equal((uintptr_t)rv, CKR_OK);
}

static void lies_about_lengths(void **state)
{
    (void)state;
    CK_ULONG size, count;
    CK_SESSION_HANDLE session = open_session();
    assert_int_equal(login(session, "1234"), CKR_OK);
    CK_OBJECT_HANDLE key = make_ec_key(session);
    hsm.control->hostile = FAULTY_LIE_SIGNATURE_LENGTH | FAULTY_LIE_ATTRIBUTE_LENGTH |
                           FAULTY_LIE_SLOT_COUNT | FAULTY_LIE_OBJECT_COUNT;
    assert_int_equal(sign(session, key, &size), CKR_OK);
    assert_true(size > 64);
    CK_ATTRIBUTE attribute = {CKA_EC_PARAMS, NULL, 0};
    assert_int_equal(hsm.list->C_GetAttributeValue(session, key, &attribute, 1), CKR_OK);
    assert_true(attribute.ulValueLen > 1UL << 50);
    assert_int_equal(hsm.list->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
    assert_true(count > 1UL << 50);
    CK_OBJECT_HANDLE found;
    assert_int_equal(hsm.list->C_FindObjectsInit(session, NULL, 0), CKR_OK);
    assert_int_equal(hsm.list->C_FindObjects(session, &found, 1, &count), CKR_OK);
    assert_true(count > 1);
    assert_int_equal(hsm.list->C_FindObjectsFinal(session), CKR_OK);
}

static void child_starts_anew(void **state)
{
    (void)state;
    CK_SESSION_HANDLE session = open_session();
    CK_SESSION_INFO info;
    pid_t child = fork();
    if (child == 0) {
        bool forgot = hsm.list->C_GetSessionInfo(session, &info) == CKR_CRYPTOKI_NOT_INITIALIZED;
        bool starts = hsm.list->C_Initialize(NULL) == CKR_OK;
        bool stale = hsm.list->C_GetSessionInfo(session, &info) == CKR_SESSION_HANDLE_INVALID;
        _exit(forgot && starts && stale ? 0 : 1);
    }
    child_ended_well(child);
    assert_int_equal(hsm.list->C_GetSessionInfo(session, &info), CKR_OK);
    assert_int_equal(faulty_control_sessions(hsm.control), 1);
}

static void two_members_are_apart(void **state)
{
    (void)state;
    struct faulty_control *other_control;
    CK_FUNCTION_LIST *other = load_member("other", &other_control);
    CK_INFO info;
    assert_ptr_not_equal(other, hsm.list);
    other_control->functions[FAULTY_C_GetInfo].fail_rv = CKR_DEVICE_ERROR;
    other_control->functions[FAULTY_C_GetInfo].fail_calls = FAULTY_FOREVER;
    assert_int_equal(other->C_GetInfo(&info), CKR_DEVICE_ERROR);
    assert_int_equal(hsm.list->C_GetInfo(&info), CKR_OK);
    assert_int_equal(hsm.control->functions[FAULTY_C_GetInfo].calls, 1);
    assert_int_equal(other_control->functions[FAULTY_C_GetInfo].calls, 1);
}

static void profiles_take_away(void **state)
{
    (void)state;
    CK_ULONG all = 0, fewer = 0;
    assert_int_equal(hsm.list->C_GetMechanismList(hsm.slot, NULL, &all), CKR_OK);
    for (int i = 1; faulty_profiles[i].name != NULL; i++) {
        hsm.control->profile = (uint32_t)i;
        assert_int_equal(hsm.list->C_GetMechanismList(hsm.slot, NULL, &fewer), CKR_OK);
        assert_true(fewer > 0 && fewer < all);
    }
}

static void profile_lacks_function_attribute_and_use(void **state)
{
    (void)state;
    CK_MECHANISM_INFO info;
    CK_BBOOL yes;
    CK_SESSION_HANDLE session = open_session();
    assert_int_equal(login(session, "1234"), CKR_OK);
    CK_OBJECT_HANDLE key = make_ec_key(session);
    CK_ATTRIBUTE attributes[] = {{CKA_NEVER_EXTRACTABLE, &yes, 1}, {CKA_SENSITIVE, &yes, 1}};
    hsm.control->profile = (uint32_t)faulty_profile_by_name("hpcs");
    assert_int_equal(hsm.list->C_GetAttributeValue(session, key, attributes, 2),
                     CKR_ATTRIBUTE_TYPE_INVALID);
    assert_int_equal(attributes[0].ulValueLen, CK_UNAVAILABLE_INFORMATION);
    assert_int_equal(attributes[1].ulValueLen, 1);
    assert_int_equal(hsm.list->C_GetMechanismInfo(hsm.slot, CKM_RSA_X_509, &info),
                     CKR_MECHANISM_INVALID);
    hsm.control->profile = (uint32_t)faulty_profile_by_name("google");
    assert_int_equal(hsm.list->C_DeriveKey(session, NULL, key, NULL, 0, NULL),
                     CKR_FUNCTION_NOT_SUPPORTED);
    assert_int_equal(hsm.list->C_GetMechanismInfo(hsm.slot, CKM_RSA_PKCS, &info), CKR_OK);
    assert_true((info.flags & CKF_SIGN) != 0 && (info.flags & CKF_DECRYPT) == 0);
    CK_MECHANISM decryption = {CKM_RSA_PKCS, NULL, 0};
    assert_int_equal(hsm.list->C_DecryptInit(session, &decryption, key), CKR_MECHANISM_INVALID);
    CK_MECHANISM generation = {CKM_AES_KEY_GEN, NULL, 0};
    assert_int_equal(hsm.list->C_GenerateKey(session, &generation, NULL, 0, &key),
                     CKR_TEMPLATE_INCOMPLETE);
}

#define TEST(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
    char path[256];
    const struct CMUnitTest tests[] = {
        TEST(counts_every_call),
        TEST(delays_one_function_alone),
        TEST(restart_makes_every_handle_stale),
        TEST(sessions_are_limited),
        TEST(fails_as_often_as_asked),
        TEST(does_it_and_loses_the_answer),
        TEST(token_leaves_and_returns),
        TEST(pin_locks_after_its_limit),
        TEST(hangs_until_released),
        TEST(lies_about_lengths),
        TEST(child_starts_anew),
        TEST(two_members_are_apart),
        TEST(profiles_take_away),
        TEST(profile_lacks_function_attribute_and_use),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (!faulty_member_softhsm(path, sizeof(path))) {
        printf("1..0 # SKIP SoftHSM is not installed\n");
        return 0;
    }
    return cmocka_run_group_tests_name("faulty", tests, group_setup, group_teardown);
}
