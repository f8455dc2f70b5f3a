/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Get over one live connection costs the client.
 *
 *   kmip_client_bench PORT CERTIFICATES ID COUNT
 *
 * prints the processor time per request in microseconds (user and system), after a first request
 * that connects and negotiates. CERTIFICATES is a directory of tests/support/certs.sh; the identity
 * is alice.
 */
#include "common/kmip/kmip.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static double cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return ((double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec) * 1e6 +
           (double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec;
}

static enum kyok_status get(struct kyok_kmip_client *client, const char *id, struct kyok_error *err)
{
    static const struct kyok_kmip_expectation aes = {
        .object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
        .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
        .bits = 256};
    KYOK_KMIP_AUTO_REPLY(reply);

    return kyok_kmip_get(client, kyok_bytes_of_text(id), 0, &aes, kyok_kmip_client_deadline(client),
                         &reply, err);
}

static enum kyok_status run(struct kyok_kmip_client *client, const char *id, long count,
                            struct kyok_error *err)
{
    KYOK_TRY(get(client, id, err));
    double began = cpu_us();
    for (long i = 0; i < count; i++)
        KYOK_TRY(get(client, id, err));
    printf("%.2f\n", (cpu_us() - began) / (double)count);
    return KYOK_OK;
}

int main(int count, char **arguments)
{
    char url[64], ca[512], certificate[512], key[512], text[1200];
    char *servers[] = {url};
    struct kyok_kmip_config config = {.name = "bench",
                                      .where = "bench:1",
                                      .servers = servers,
                                      .server_count = 1,
                                      .ca = ca,
                                      .certificate = certificate,
                                      .key = key};
    struct kyok_kmip_client *client = NULL;
    struct kyok_error err;

    if (count != 5) {
        fprintf(stderr, "usage: kmip_client_bench PORT CERTIFICATES ID COUNT\n");
        return 2;
    }
    snprintf(url, sizeof url, "kmips://127.0.0.1:%.5s", arguments[1]);
    snprintf(ca, sizeof ca, "%s/ca.crt", arguments[2]);
    snprintf(certificate, sizeof certificate, "%s/alice.crt", arguments[2]);
    snprintf(key, sizeof key, "%s/alice.key", arguments[2]);
    enum kyok_status status = kyok_kmip_client_new(&config, &client, &err);
    if (status == KYOK_OK)
        status = run(client, arguments[3], strtol(arguments[4], NULL, 10), &err);
    kyok_kmip_client_free(client);
    if (status == KYOK_OK)
        return 0;
    fprintf(stderr, "kmip_client_bench: %s\n", kyok_error_text(&err, text, sizeof text));
    return 1;
}
