/* SPDX-License-Identifier: Apache-2.0 */
/* The key management functions that all key types share, and their dispatch table. */
#ifndef KYOK_PROVIDER_KEYMGMT_H
#define KYOK_PROVIDER_KEYMGMT_H

#include "openssl-provider/provider.h"

void *kp_keymgmt_load(const void *reference, size_t size);
int kp_keymgmt_has(const void *data, int selection);
int kp_keymgmt_match(const void *a, const void *b, int selection);
int kp_keymgmt_validate(const void *data, int selection, int check);
void *kp_keymgmt_dup(const void *data, int selection);
int kp_keymgmt_import(void *data, int selection, const OSSL_PARAM params[]);
int kp_keymgmt_export(void *data, int selection, OSSL_CALLBACK *callback, void *argument);
int kp_keymgmt_get_params(void *data, OSSL_PARAM params[]);
int kp_keymgmt_set_params(void *data, const OSSL_PARAM params[]);

/* keymgmt_gen.c */
void *kp_gen_init(struct kp_provider *provider, const struct kp_type *type, int selection,
                  const OSSL_PARAM params[]);
int kp_gen_set_template(void *data, void *template);
int kp_gen_set_params(void *gen, const OSSL_PARAM params[]);
void *kp_gen(void *gen, OSSL_CALLBACK *callback, void *argument);
void kp_gen_cleanup(void *gen);

#define KP_GEN_OWN_PARAMETERS                                                                      \
    OSSL_PARAM_utf8_string("kyok_uri", NULL, 0), OSSL_PARAM_utf8_string("kyok_use", NULL, 0),      \
        OSSL_PARAM_utf8_string("pkcs11_uri", NULL, 0),                                             \
        OSSL_PARAM_utf8_string("pkcs11_key_usage", NULL, 0)

/* One type's new, gen_init, query_operation_name, and the table; the lists are the type's. */
#define KP_KEYMGMT_TABLE(type, export_list, get_list, set_list, gen_list)                          \
    static void *type##_new(void *provctx)                                                         \
    {                                                                                              \
        return kp_key_new(provctx, &kp_##type);                                                    \
    }                                                                                              \
    static void *type##_gen_init(void *provctx, int selection, const OSSL_PARAM params[])          \
    {                                                                                              \
        return kp_gen_init(provctx, &kp_##type, selection, params);                                \
    }                                                                                              \
    static const char *type##_query(int operation)                                                 \
    {                                                                                              \
        return operation == OSSL_OP_KEYEXCH ? kp_##type.exchange : kp_##type.signature;            \
    }                                                                                              \
    static const OSSL_DISPATCH type##_keymgmt[] = {                                                \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_NEW, type##_new),                                            \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_FREE, kp_key_free),                                          \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_LOAD, kp_keymgmt_load),                                      \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_HAS, kp_keymgmt_has),                                        \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_MATCH, kp_keymgmt_match),                                    \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_VALIDATE, kp_keymgmt_validate),                              \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_DUP, kp_keymgmt_dup),                                        \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, kp_keymgmt_import),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, export_list),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT, kp_keymgmt_export),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, export_list),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, kp_keymgmt_get_params),                          \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, get_list),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_SET_PARAMS, kp_keymgmt_set_params),                          \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, set_list),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, type##_query),                         \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GEN_INIT, type##_gen_init),                                  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, kp_gen_set_template),                      \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, kp_gen_set_params),                          \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, gen_list),                              \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GEN, kp_gen),                                                \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GEN_CLEANUP, kp_gen_cleanup),                                \
        KP_END,                                                                                    \
    };

#endif
