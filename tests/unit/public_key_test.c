/* SPDX-License-Identifier: Apache-2.0 */
/* ECDSA-Sig-Value beside OpenSSL's own writer. */
#include "common/base/public_key.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static size_t openssl_der(const uint8_t *raw, size_t half, uint8_t **der)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    int size;

    assert_int_equal(ECDSA_SIG_set0(pair, BN_bin2bn(raw, (int)half, NULL),
                                    BN_bin2bn(raw + half, (int)half, NULL)),
                     1);
    *der = NULL;
    size = i2d_ECDSA_SIG(pair, der);
    ECDSA_SIG_free(pair);
    assert_true(size > 0);
    return (size_t)size;
}

static void same_as_openssl(const uint8_t *raw, size_t half)
{
    uint8_t der[150], *expected;
    size_t size = sizeof(der), wanted = openssl_der(raw, half, &expected);

    assert_true(kyok_ecdsa_der_from_raw(kyok_bytes(raw, 2 * half), der, &size));
    assert_int_equal(size, wanted);
    assert_memory_equal(der, expected, wanted);
    size = wanted;
    assert_true(kyok_ecdsa_der_from_raw(kyok_bytes(raw, 2 * half), der, &size));
    size = wanted - 1;
    assert_false(kyok_ecdsa_der_from_raw(kyok_bytes(raw, 2 * half), der, &size));
    OPENSSL_free(expected);
}

static void writes_what_openssl_writes(void **state)
{
    static const size_t halves[] = {1, 20, 28, 32, 48, 66};
    uint8_t raw[2 * 66];

    (void)state;
    for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++) {
        size_t half = halves[i];

        for (int round = 0; round < 2000; round++) {
            assert_int_equal(RAND_bytes(raw, sizeof(raw)), 1);
            /* Leading zeros of every length, in one half or both. */
            memset(raw, 0, (size_t)round % half);
            memset(raw + half, 0, (size_t)(round / 7) % half);
            raw[half - 1] |= 1;
            raw[2 * half - 1] |= 1;
            same_as_openssl(raw, half);
        }
        memset(raw, 0xff, sizeof(raw));
        same_as_openssl(raw, half);
        memset(raw, 0, sizeof(raw));
        same_as_openssl(raw, half);
    }
}

static void refuses_other_sizes(void **state)
{
    uint8_t raw[200] = {1}, der[300];
    size_t size;

    (void)state;
    for (size_t length = 0; length < sizeof(raw); length++) {
        bool fits = length != 0 && length % 2 == 0 && length <= 132;

        size = sizeof(der);
        assert_int_equal(kyok_ecdsa_der_from_raw(kyok_bytes(raw, length), der, &size), fits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_openssl_writes),
        cmocka_unit_test(refuses_other_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
