/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: KMIP groups: files, certificates, servers. */
#include "cli/doctor.h"

#include <stdio.h>

static void check_kmip(struct doctor *doctor, const struct kyok_kmip_config *config)
{
    char check[80], text[80];
    snprintf(check, sizeof(check), "kmip %s", config->name);
    snprintf(text, sizeof(text), "kmip://%s", config->name);
    doctor_check_file(doctor, check, config->ca, false);
    doctor_check_certificate(doctor, check, config->ca);
    doctor_check_certificate(doctor, check, config->certificate);
    doctor_check_client_key(doctor, check, config->certificate, config->key);
    if (config->crl != NULL)
        doctor_check_file(doctor, check, config->crl, false);
    if (config->release)
        doctor_find(doctor, DOCTOR_WARNING, check, NULL,
                    "set release = no where the server can Encrypt, Decrypt and Sign",
                    "keys leave this server (release = yes): it cannot take back what was got");
    doctor_check_keys(doctor, check, config->require, text);
}

void doctor_check_kmips(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->kmip_count; i++)
        check_kmip(doctor, &doctor->config->kmips[i]);
}
