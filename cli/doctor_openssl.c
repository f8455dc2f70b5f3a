/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: openssl.cnf, certificates, and PEM key references. */
#include "cli/doctor.h"
#include "common/config/provider_parameters.h"

#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define OPENSSL "openssl.cnf"
#define SOON_DAYS 30

/* --- openssl.cnf ------------------------------------------------------------------------------ */

static bool is_active(const CONF *conf, const char *section)
{
    const char *value = NCONF_get_string(conf, section, "activate");
    static const char *const no[] = {"0", "no", "off", "false"};
    for (size_t i = 0; value != NULL && i < sizeof(no) / sizeof(no[0]); i++) {
        if (strcasecmp(value, no[i]) == 0)
            return false;
    }
    return value != NULL;
}

static bool is_kyok(const CONF *conf, const CONF_VALUE *entry)
{
    const char *module = NCONF_get_string(conf, entry->value, "module");
    const char *name = module != NULL ? strrchr(module, '/') : NULL;
    if (module != NULL)
        return strcmp(name != NULL ? name + 1 : module, "kyok.so") == 0;
    return strcmp(entry->name, "kyok") == 0;
}

/* OpenSSL passes a misspelt parameter over in silence, and the provider cannot see it. */
static void check_parameter(struct doctor *doctor, const char *path, const char *name)
{
#define NAME(name, setter) name,
    static const char *const known[] = {KYOK_PROVIDER_PARAMETERS(NAME) "module", "activate",
                                        "identity", "soft_load"};
#undef NAME
    struct cli_nearest nearest = {.word = name};
    char remedy[128] = "take it out; the parameters are in kyok-provider(7)", safe[64];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i]) == 0)
            return;
        cli_nearest_try(&nearest, known[i]);
    }
    if (nearest.best != NULL)
        snprintf(remedy, sizeof(remedy), "did you mean %s?", nearest.best);
    doctor_find(doctor, DOCTOR_BAD, OPENSSL, path, remedy,
                "\"%s\" in kyok's section is no parameter that it knows, and has no effect",
                cli_safe(name, safe, sizeof(safe)));
}

static void check_section(struct doctor *doctor, const CONF *conf, const char *path,
                          const char *section)
{
    const STACK_OF(CONF_VALUE) *lines = NCONF_get_section(conf, section);
    for (int i = 0; lines != NULL && i < sk_CONF_VALUE_num(lines); i++)
        check_parameter(doctor, path, sk_CONF_VALUE_value(lines, i)->name);
    const char *module = NCONF_get_string(conf, section, "module");
    const char *pin = NCONF_get_string(conf, section, "pkcs11-module-token-pin");
    struct kyok_error ignored;
    if (pin != NULL && kyok_pin_source_check(pin, &ignored) != KYOK_OK)
        doctor_find(doctor, DOCTOR_BAD, OPENSSL, path,
                    "name a source instead, credential:NAME or file:PATH, and change the PIN",
                    "pkcs11-module-token-pin holds a PIN, for all to read");
    if (module != NULL && module[0] == '/')
        doctor_check_file(doctor, OPENSSL, module, false);
}

/* Position of the last active provider of each kind in the order of activation, from 1; 0: none. */
struct activation {
    int kyok, standard, other;
};

static struct activation read_activation(struct doctor *doctor, const CONF *conf, const char *path,
                                         const STACK_OF(CONF_VALUE) * providers)
{
    struct activation found = {0, 0, 0};
    for (int i = 0; i < sk_CONF_VALUE_num(providers); i++) {
        const CONF_VALUE *entry = sk_CONF_VALUE_value(providers, i);
        if (!is_active(conf, entry->value))
            continue;
        if (is_kyok(conf, entry)) {
            found.kyok = i + 1;
            check_section(doctor, conf, path, entry->value);
        } else if (strcmp(entry->name, "default") == 0 || strcmp(entry->name, "fips") == 0) {
            found.standard = i + 1;
        } else {
            found.other = i + 1;
        }
    }
    return found;
}

static void judge_activation(struct doctor *doctor, const char *path, struct activation found)
{
    if (found.kyok == 0)
        doctor_find(doctor, DOCTOR_NOTE, OPENSSL, path,
                    "add the lines that \"kyok setup --dry-run\" prints",
                    "kyok is not activated: programs cannot use PEM key references");
    else if (found.standard == 0)
        doctor_find(doctor, DOCTOR_BAD, OPENSSL, path,
                    "add \"default = default_section\" before kyok, with activate = 1",
                    "kyok is activated alone: OpenSSL then leaves default out, and nothing works");
    else if (found.standard > found.kyok)
        doctor_find(doctor, DOCTOR_WARNING, OPENSSL, path,
                    "put default before kyok in the section of the providers",
                    "kyok is activated before default: every generation and import asks it first");
    else
        doctor_find(doctor, DOCTOR_GOOD, OPENSSL, path, NULL, "default, then kyok is activated");
}

static void check_conf(struct doctor *doctor, const CONF *conf, const char *path)
{
    const char *init = NCONF_get_string(conf, NULL, "openssl_conf");
    const char *section = init != NULL ? NCONF_get_string(conf, init, "providers") : NULL;
    const STACK_OF(CONF_VALUE) *providers =
        section != NULL ? NCONF_get_section(conf, section) : NULL;
    struct activation none = {0, 0, 0};
    judge_activation(doctor, path,
                     providers != NULL ? read_activation(doctor, conf, path, providers) : none);
}

void doctor_check_openssl(struct doctor *doctor)
{
    const char *named = cli_option(doctor->cli, "--openssl-conf");
    char *path = named != NULL ? OPENSSL_strdup(named) : CONF_get1_default_config_file();
    CONF *conf = NCONF_new(NULL);
    long line = 0;
    if (path != NULL && conf != NULL && NCONF_load(conf, path, &line) > 0)
        check_conf(doctor, conf, path);
    else if (line > 0)
        doctor_find(doctor, DOCTOR_BAD, OPENSSL, path, "correct that line",
                    "OpenSSL cannot read line %ld of its configuration", line);
    else
        doctor_find(doctor, DOCTOR_WARNING, OPENSSL, path, "see \"kyok setup --dry-run\"",
                    "OpenSSL's configuration cannot be read");
    ERR_clear_error();
    NCONF_free(conf);
    OPENSSL_free(path);
}

/* --- certificates ----------------------------------------------------------------------------- */

static void x509_auto_free(X509 **certificate)
{
    X509_free(*certificate);
}

static void bio_auto_free(BIO **bio)
{
    BIO_free(*bio);
}

static void pkey_auto_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static X509 *read_certificate(const char *path)
{
    KYOK_CLEANUP(bio_auto_free) BIO *bio = BIO_new_file(path, "r");
    X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    return certificate;
}

void doctor_check_certificate(struct doctor *doctor, const char *check, const char *path)
{
    KYOK_CLEANUP(x509_auto_free) X509 *certificate = read_certificate(path);
    int days = 0, seconds = 0;
    if (certificate == NULL) {
        doctor_find(doctor, DOCTOR_BAD, check, path, "name a PEM file",
                    "there is no certificate in it");
        return;
    }
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        doctor_find(doctor, DOCTOR_BAD, check, path, "check the clock and the certificate",
                    "it is not valid yet");
        return;
    }
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate));
    if (days < 0 || seconds < 0)
        doctor_find(doctor, DOCTOR_BAD, check, path, "renew it", "it expired %d days ago", -days);
    else if (days < SOON_DAYS)
        doctor_find(doctor, DOCTOR_WARNING, check, path, "renew it", "it expires in %d days", days);
    else
        doctor_find(doctor, DOCTOR_GOOD, check, path, NULL, "it is valid for another %d days",
                    days);
}

static int no_passphrase(char *buffer, int size, int writing, void *caller)
{
    (void)buffer, (void)size, (void)writing, (void)caller;
    return -1;
}

void doctor_check_client_key(struct doctor *doctor, const char *check, const char *certificate,
                             const char *key)
{
    if (kyok_reference_is(key) || !doctor_check_file(doctor, check, key, true))
        return;
    KYOK_CLEANUP(x509_auto_free) X509 *x509 = read_certificate(certificate);
    KYOK_CLEANUP(bio_auto_free) BIO *bio = BIO_new_file(key, "r");
    KYOK_CLEANUP(pkey_auto_free)
    EVP_PKEY *pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    if (pkey == NULL)
        doctor_find(doctor, DOCTOR_BAD, check, key, "name a PEM file without passphrase",
                    "there is no private key in it that can be read");
    else if (x509 != NULL && X509_check_private_key(x509, pkey) != 1)
        doctor_find(doctor, DOCTOR_BAD, check, key, "name the key of that certificate",
                    "it does not belong to the certificate %s", certificate);
    ERR_clear_error();
}

/* --- PEM key references ----------------------------------------------------------------------- */

struct pem {
    char *label, *header;
    unsigned char *data;
    long size;
};

static void pem_free(struct pem *pem)
{
    OPENSSL_free(pem->label);
    OPENSSL_free(pem->header);
    OPENSSL_free(pem->data);
}

static enum kyok_status read_reference(const char *path, struct pem *pem,
                                       struct kyok_pem_reference *reference, struct kyok_error *err)
{
    KYOK_CLEANUP(bio_auto_free) BIO *bio = BIO_new_file(path, "r");
    bool read = bio != NULL && PEM_read_bio(bio, &pem->label, &pem->header, &pem->data, &pem->size);
    ERR_clear_error();
    if (!read || (strcmp(pem->label, KYOK_PEM_LABEL_URI) != 0 &&
                  strcmp(pem->label, KYOK_PEM_LABEL_REFERENCE) != 0)) {
        kyok_fail(err, KYOK_INVALID, path, "the file holds no key reference");
        return kyok_remedy(err, "write one with \"kyok key reference REF -o FILE\"");
    }
    return kyok_pem_reference_parse(kyok_bytes(pem->data, (size_t)pem->size), reference, err);
}

static enum kyok_status check_reference(struct doctor *doctor, const char *path,
                                        struct kyok_error *err)
{
    KYOK_CLEANUP(pem_free) struct pem pem = {0};
    struct kyok_pem_reference read = {{NULL, 0}, {NULL, 0}};
    struct kyok_reference *reference = NULL;
    KYOK_TRY(read_reference(path, &pem, &read, err));
    KYOK_AUTO_FREE char *uri = strndup((const char *)read.uri.data, read.uri.size);
    if (uri == NULL)
        return kyok_fail(err, KYOK_SYSTEM, path, "memory is short");
    KYOK_TRY(kyok_reference_parse(uri, KYOK_FROM_CONFIGURATION, doctor->config, &reference, err));
    enum kyok_status status = KYOK_OK;
    if (reference->pin_value != NULL)
        doctor_find(doctor, DOCTOR_BAD, "reference", path,
                    "write it again without; set pin-source in kyok.conf, and change the PIN",
                    "it holds a PIN");
    if (cli_option(doctor->cli, "--login") != NULL && !doctor->near_lock)
        status = doctor_open_key(doctor, reference, read.public_key, err);
    if (status == KYOK_OK)
        doctor_find(doctor, DOCTOR_GOOD, "reference", path, NULL, "%s", reference->text);
    kyok_reference_free(reference);
    return status;
}

void doctor_check_reference(struct doctor *doctor, const char *path)
{
    struct kyok_error err;
    if (doctor_check_file(doctor, "reference", path, false) &&
        check_reference(doctor, path, &err) != KYOK_OK)
        doctor_find_error(doctor, DOCTOR_BAD, "reference", &err);
}
