/* SPDX-License-Identifier: Apache-2.0 */
/* What the provider's DER decoders read: candidates out of a BIO, and wrappers with their nonce. */
#include "openssl-provider/wrapper.c"

#include <openssl/bio.h>
#include <stdlib.h>

static struct kp_provider provider = {.nonce = "0123456789abcdef0123456789abcde"};

static void round_trip(struct kyok_bytes reference)
{
    struct kyok_bytes read;
    size_t size;
    uint8_t *wrapped = kp_wrapper_write(&provider, reference, &size);

    if (wrapped == NULL)
        return;
    read = kyok_bytes(wrapped, size);
    if (!kp_wrapper_read(&provider, &read) || !kyok_bytes_equal(read, reference))
        abort();
    wrapped[size - reference.size - 5] ^= 1; /* in the nonce, or in a length */
    read = kyok_bytes(wrapped, size);
    if (reference.size < 128 && kp_wrapper_read(&provider, &read))
        abort();
    OPENSSL_free(wrapped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_buffer der = {.limit = 2 * KP_REFERENCE_LIMIT};
    struct kyok_bytes bytes = kyok_bytes(data, size);
    BIO *in = BIO_new_mem_buf(data, (int)size);

    if (kp_wrapper_read_candidate(in, &der) && (der.size > size || der.data[0] != SEQUENCE))
        abort();
    kyok_buffer_free(&der);
    BIO_free(in);
    if (kp_wrapper_read(&provider, &bytes) && bytes.size >= size)
        abort();
    if (size <= KP_REFERENCE_LIMIT)
        round_trip(kyok_bytes(data, size));
    return 0;
}
