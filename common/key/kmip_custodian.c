/* SPDX-License-Identifier: Apache-2.0 */
/* The key layer's half of a KMIP server group. */
#include "common/key/context.h"
#include "common/key/kmip_key.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* --- a key's life --- */

static enum kyok_status own_new(struct kyok_key *key, struct kyok_error *err)
{
    struct kyok_kmip_key *own = calloc(1, sizeof *own);

    if (own == NULL ||
        getrandom(own->rejection, sizeof own->rejection, 0) != (ssize_t)sizeof own->rejection) {
        free(own);
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    }
    own->client = key->custodian->own;
    key->own = own;
    return KYOK_OK;
}

static enum kyok_status open_key(struct kyok_key *key, struct kyok_deadline deadline,
                                 struct kyok_error *err)
{
    KYOK_TRY(own_new(key, err));
    return kyok_kmip_key_look(key, deadline, err);
}

static enum kyok_status defer_key(struct kyok_key *key, struct kyok_error *err)
{
    return own_new(key, err);
}

static void release_key(struct kyok_key *key)
{
    struct kyok_kmip_key *own = kyok_kmip_own(key);

    free(atomic_load(&own->found));
    EVP_PKEY_free(atomic_load(&own->verifier));
    kyok_wipe(own, sizeof *own);
    free(own);
}

static bool wants_data(const struct kyok_key *key)
{
    return kyok_kmip_wants_data(kyok_kmip_own(key)->client);
}

static enum kyok_status derive(struct kyok_key *key, struct kyok_bytes peer,
                               struct kyok_secret **secret, struct kyok_deadline deadline,
                               struct kyok_error *err)
{
    (void)peer;
    (void)secret;
    (void)deadline;
    return kyok_fail(err, KYOK_UNSUPPORTED, key->reference->text,
                     "KMIP servers agree on no keys (ECDH)");
}

/* --- listing --- */

#define LIST_MOST 10000

struct listing {
    struct kyok_custodian *custodian;
    const struct kyok_reference *reference;
    kyok_key_visitor *visit;
    void *caller;
    struct kyok_deadline deadline;
    bool go_on;
};

static enum kyok_kmip_object_type kmip_type(enum kyok_object_type type)
{
    switch (type) {
    case KYOK_OBJECT_PRIVATE:
        return KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY;
    case KYOK_OBJECT_PUBLIC:
        return KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY;
    case KYOK_OBJECT_CERTIFICATE:
        return KYOK_KMIP_OBJECT_TYPE_CERTIFICATE;
    case KYOK_OBJECT_SECRET:
        return KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    default:
        return 0;
    }
}

/* An object that disappears, or is denied, between Locate and Get Attributes is left out. */
static enum kyok_status visit_object(struct listing *listing, struct kyok_bytes identifier,
                                     struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    struct kyok_kmip_found found;
    struct kyok_key_info info = {0};

    enum kyok_status status = kyok_kmip_get_facts(listing->custodian->own, identifier, &anything,
                                                  listing->deadline, &reply, &facts, err);
    if (status == KYOK_NOT_FOUND || status == KYOK_REFUSED)
        return KYOK_OK;
    KYOK_TRY(status);
    KYOK_TRY(kyok_kmip_take_found(&facts, identifier, &found, err));
    status = kyok_kmip_key_describe(listing->custodian, &found, NULL, &info, err);
    if (status == KYOK_OK)
        listing->go_on = listing->visit(listing->caller, &info);
    kyok_key_info_clear(&info);
    return status;
}

static enum kyok_status list_located(struct listing *listing, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer ids = {0};
    struct kyok_kmip_name name;
    struct kyok_kmip_attribute filters[2];
    size_t filter_count = 0, count;
    bool more;

    if (listing->reference->name != NULL) {
        name = (struct kyok_kmip_name){kyok_bytes_of_text(listing->reference->name),
                                       KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
        filters[filter_count++] = kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, &name);
    }
    if (kmip_type(listing->reference->type) != 0)
        filters[filter_count++] = kyok_kmip_attribute_enumeration(
            KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, kmip_type(listing->reference->type));
    KYOK_TRY(kyok_kmip_locate(listing->custodian->own, filters, filter_count, LIST_MOST,
                              listing->deadline, &ids, &count, &more, err));
    const char *id = (const char *)ids.data;
    for (size_t i = 0; i < count && listing->go_on; i++, id += strlen(id) + 1)
        KYOK_TRY(visit_object(listing, kyok_bytes_of_text(id), err));
    return KYOK_OK;
}

static enum kyok_status list(struct kyok_custodian *custodian,
                             const struct kyok_reference *reference, bool login,
                             kyok_key_visitor *visit, void *caller, struct kyok_deadline deadline,
                             struct kyok_error *err)
{
    struct listing listing = {custodian, reference, visit, caller, deadline, true};

    (void)login; /* the client certificate is the login */
    if (reference->identifier != NULL)
        return visit_object(&listing, kyok_bytes_of_text(reference->identifier), err);
    return list_located(&listing, err);
}

/* --- generation --- */

static const struct {
    enum kyok_key_type type;
    enum kyok_kmip_object_type object_type;
    enum kyok_kmip_cryptographic_algorithm algorithm;
    uint32_t usage, public_usage;
} kinds[] = {
    {KYOK_KEY_RSA, KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY, KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN | KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY | KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT},
    {KYOK_KEY_EC, KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY, KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY},
    {KYOK_KEY_AES, KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT | KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT, 0},
};

static enum kyok_kmip_recommended_curve curve_of(enum kyok_key_type type, unsigned bits)
{
    if (type != KYOK_KEY_EC)
        return 0;
    return bits == 256   ? KYOK_KMIP_RECOMMENDED_CURVE_P_256
           : bits == 384 ? KYOK_KMIP_RECOMMENDED_CURVE_P_384
                         : KYOK_KMIP_RECOMMENDED_CURVE_P_521;
}

static uint32_t usage_of(unsigned uses, uint32_t usual)
{
    uint32_t mask = 0;

    if (uses == 0)
        return usual;
    if ((uses & KYOK_USE_SIGN) != 0)
        mask |= KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN;
    if ((uses & KYOK_USE_DECRYPT) != 0)
        mask |= usual & (KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                         KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT);
    if ((uses & KYOK_USE_WRAP) != 0)
        mask |= KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_WRAP_KEY |
                KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_UNWRAP_KEY;
    if ((uses & KYOK_USE_DERIVE) != 0)
        mask |= KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DERIVE_KEY;
    return mask;
}

static enum kyok_status fill_creation(const struct kyok_reference *reference,
                                      const struct kyok_generate_request *request,
                                      struct kyok_kmip_creation *creation, struct kyok_error *err)
{
    if (reference->name == NULL) {
        kyok_fail(err, KYOK_INVALID, reference->text, "a new key needs a name");
        return kyok_remedy(err, "write kmip://%s?name=NAME", reference->group);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].type == request->type) {
            *creation =
                (struct kyok_kmip_creation){.object_type = kinds[i].object_type,
                                            .algorithm = kinds[i].algorithm,
                                            .bits = request->bits,
                                            .activation = request->activate,
                                            .deactivation = request->deactivate,
                                            .curve = curve_of(request->type, request->bits),
                                            .usage = usage_of(request->uses, kinds[i].usage),
                                            .public_usage = kinds[i].public_usage,
                                            .name = reference->name};
            return KYOK_OK;
        }
    return kyok_fail(err, KYOK_UNSUPPORTED, reference->text, "KMIP servers generate no %s keys",
                     kyok_key_type_name(request->type));
}

static enum kyok_status generate(struct kyok_custodian *custodian,
                                 const struct kyok_reference *reference,
                                 const struct kyok_generate_request *request,
                                 struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_kmip_creation creation;
    struct kyok_kmip_created created;

    KYOK_TRY(fill_creation(reference, request, &creation, err));
    KYOK_TRY(kyok_kmip_create(custodian->own, &creation, deadline, &created, err));
    if (request->dormant)
        return KYOK_OK;
    KYOK_TRY(
        kyok_kmip_activate(custodian->own, kyok_bytes_of_text(created.identifier), deadline, err));
    if (created.public_identifier[0] == '\0')
        return KYOK_OK;
    return kyok_kmip_activate(custodian->own, kyok_bytes_of_text(created.public_identifier),
                              deadline, err);
}

/* --- random bytes, figures --- */

#define RANDOM_AT_ONCE ((size_t)1024)

static enum kyok_status draw_random(struct kyok_custodian *custodian, uint8_t *data, size_t size,
                                    struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    while (size > 0) {
        size_t part = size < RANDOM_AT_ONCE ? size : RANDOM_AT_ONCE;
        struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_RNG_RETRIEVE,
                                              .payload.rng_retrieve = {(int32_t)part}};
        KYOK_TRY(kyok_kmip_call(custodian->own, &item, deadline, &reply, err));
        struct kyok_bytes got = reply.item->payload.rng_retrieve.data;
        if (got.size == 0 || got.size > part)
            return kyok_fail(err, KYOK_FAULT, reply.endpoint,
                             "RNG Retrieve: the server sent %zu bytes for %zu", got.size, part);
        memcpy(data, got.data, got.size);
        data += got.size;
        size -= got.size;
    }
    return KYOK_OK;
}

struct figures_visit {
    struct kyok_custodian *custodian;
    kyok_figures_visitor *visit;
    void *caller;
};

static void visit_figures(void *caller, const struct kyok_kmip_endpoint_figures *endpoint)
{
    struct figures_visit *visit = caller;
    struct kyok_custodian_figures figures = {
        .custodian = visit->custodian->name,
        .member = endpoint->url,
        .state = endpoint->state,
        .operations = endpoint->operations,
        .failures = endpoint->failures,
        .timeouts = endpoint->timeouts,
        .failovers = endpoint->failovers,
        .logins = endpoint->opened,
        .in_flight = endpoint->in_flight,
        .sessions = endpoint->connections,
        .took_ns = endpoint->took_ns,
    };

    memcpy(figures.latency, endpoint->latency, sizeof figures.latency);
    visit->visit(visit->caller, &figures);
}

static void figures(struct kyok_custodian *custodian, kyok_figures_visitor *visit, void *caller)
{
    struct figures_visit state = {custodian, visit, caller};

    kyok_kmip_figures(custodian->own, visit_figures, &state);
}

/* --- the custodian --- */

static void free_custodian(struct kyok_custodian *custodian)
{
    kyok_kmip_client_free(custodian->own);
    free(custodian->name);
    free(custodian);
}

static const struct kyok_custodian_ops ops = {
    .open = open_key,
    .defer = defer_key,
    .check = kyok_kmip_key_look,
    .release = release_key,
    .wants_data = wants_data,
    .sign = kyok_kmip_key_sign,
    .decrypt = kyok_kmip_key_decrypt,
    .encrypt = kyok_kmip_key_encrypt,
    .value = kyok_kmip_key_value,
    .derive = derive,
    .list = list,
    .generate = generate,
    .random = draw_random,
    .figures = figures,
    .free = free_custodian,
};

enum kyok_status kyok_kmip_custodian_new(const struct kyok_kmip_config *config,
                                         struct kyok_custodian **custodian, struct kyok_error *err)
{
    struct kyok_custodian *fresh = calloc(1, sizeof *fresh);
    struct kyok_kmip_client *client;

    if (fresh == NULL || (fresh->name = strdup(config->name)) == NULL) {
        free(fresh);
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory");
    }
    if (kyok_kmip_client_new(config, &client, err) != KYOK_OK) {
        free(fresh->name);
        free(fresh);
        return err->status;
    }
    fresh->ops = &ops;
    fresh->own = client;
    fresh->timeout_ms = config->timeout_ms;
    *custodian = fresh;
    return KYOK_OK;
}
