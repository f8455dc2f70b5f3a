
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The kyok_config directive: what openssl.cnf and the environment would say
 * to other programs.  The master reads kyok.conf and the PINs, at start and at
 * each reload; workers inherit both.
 */


#include "ngx_kyok.h"
#include "common/config/config.h"
#include "common/key/key.h"

#include <openssl/conf.h>
#include <openssl/provider.h>

#include <dlfcn.h>


typedef struct {
    struct kyok_context  *context;
    struct kyok_context  *previous;
} ngx_kyok_host_context_t;


/* For the logout from what is not used any more (ms): it may hang. */
#define NGX_KYOK_LEAVE_PATIENCE  2000


static char *ngx_kyok_config_order(ngx_conf_t *cf);
static ngx_int_t ngx_kyok_config_load(ngx_conf_t *cf, ngx_kyok_conf_t *kcf);
static enum kyok_status ngx_kyok_config_pins(struct kyok_config *config,
    struct kyok_error *err);
static void ngx_kyok_config_cleanup(void *data);
static ngx_int_t ngx_kyok_config_activate(ngx_conf_t *cf);
static char *ngx_kyok_config_provider(u_char *buf, size_t size);


/* Blocks that load keys: these would be loaded without the provider. */

static const char  *ngx_kyok_config_later[] = {
    "ngx_http_module",
    "ngx_stream_module",
    "ngx_mail_module",
    NULL
};


char *
ngx_kyok_config(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_kyok_conf_t *kcf = conf;

    char       *rv;
    ngx_str_t  *value;

    if (kcf->config.data) {
        return "is duplicate";
    }

    rv = ngx_kyok_config_order(cf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;
    kcf->config = value[1];

    if (ngx_conf_full_name(cf->cycle, &kcf->config, 1) != NGX_OK
        || ngx_kyok_config_load(cf, kcf) != NGX_OK
        || ngx_kyok_config_activate(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_kyok_config_order(ngx_conf_t *cf)
{
    ngx_uint_t      i, n;
    ngx_module_t  **modules;

    modules = cf->cycle->modules;

    for (i = 0; modules[i]; i++) {
        if (modules[i]->type != NGX_CORE_MODULE
            || cf->cycle->conf_ctx[modules[i]->index] == NULL)
        {
            continue;
        }

        for (n = 0; ngx_kyok_config_later[n]; n++) {
            if (ngx_strcmp(modules[i]->name, ngx_kyok_config_later[n]) == 0) {
                return "must come before the \"http\", \"stream\" and "
                       "\"mail\" blocks, whose keys need it";
            }
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_kyok_config_load(ngx_conf_t *cf, ngx_kyok_conf_t *kcf)
{
    char                      text[1200];
    struct kyok_error         err;
    struct kyok_config       *config;
    ngx_pool_cleanup_t       *cln;
    ngx_kyok_host_context_t  *host;

    cln = ngx_pool_cleanup_add(cf->cycle->pool,
                               sizeof(ngx_kyok_host_context_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    host = cln->data;

    if (kyok_config_load((char *) kcf->config.data, &config, &err) != KYOK_OK) {
        goto failed;
    }

    if (ngx_kyok_config_pins(config, &err) != KYOK_OK) {
        kyok_config_free(config);
        goto failed;
    }

    if (kyok_context_new(config, &host->context, &err) != KYOK_OK) {
        goto failed;
    }

    /* comes back if the rest of the new configuration is refused */

    host->previous = kyok_context_host();

    if (host->previous) {
        kyok_context_up_ref(host->previous);
    }

    kyok_context_set_host(host->context);

    cln->handler = ngx_kyok_config_cleanup;
    kcf->host = host;

    return NGX_OK;

failed:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "kyok: %s",
                       kyok_error_text(&err, text, sizeof(text)));

    return NGX_ERROR;
}


/* Workers log in by themselves, and may not be allowed to read the PINs. */

static enum kyok_status
ngx_kyok_config_pins(struct kyok_config *config, struct kyok_error *err)
{
    size_t  i;

    for (i = 0; i < config->token_count; i++) {
        if (config->tokens[i].pin_source) {
            KYOK_TRY(kyok_pin_source_keep(config->tokens[i].pin_source, err));
        }
    }

    return KYOK_OK;
}


void
ngx_kyok_config_commit(ngx_kyok_conf_t *kcf)
{
    ngx_kyok_host_context_t *host = kcf->host;

    if (host == NULL) {
        kyok_context_set_host(NULL);
        return;
    }

    kyok_context_free(host->previous);
    host->previous = NULL;
}


static void
ngx_kyok_config_cleanup(void *data)
{
    ngx_kyok_host_context_t *host = data;

    if (kyok_context_host() == host->context) {
        kyok_context_set_host(host->previous);
        host->previous = NULL;
    }

    /* a process that ends leaves every token by that */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_HELPER
        && !ngx_terminate && !ngx_quit)
    {
        kyok_context_leave(host->context,
                           kyok_deadline_in_ms(NGX_KYOK_LEAVE_PATIENCE));
    }

    kyok_context_free(host->previous);
    kyok_context_free(host->context);
}


/*
 * OpenSSL 3.0 hands parameters to a provider from a configuration only, and
 * finds one elsewhere than in its own directory by one.
 */

static ngx_int_t
ngx_kyok_config_activate(ngx_conf_t *cf)
{
    BIO     *bio;
    CONF    *conf;
    char    *module;
    long     line;
    u_char   buf[NGX_MAX_PATH];

    if (OSSL_PROVIDER_available(NULL, "kyok")
        && OSSL_PROVIDER_available(NULL, "default"))
    {
        return NGX_OK;
    }

    module = ngx_kyok_config_provider(buf, sizeof(buf));

    bio = BIO_new(BIO_s_mem());
    conf = NCONF_new(NULL);

    if (bio == NULL || conf == NULL
        || BIO_printf(bio, "openssl_conf = init\n[init]\nproviders = list\n"
                           "[list]\ndefault = first\nkyok = second\n"
                           "[first]\nactivate = 1\n"
                           "[second]\n%s%s\nactivate = 1\n",
                      module ? "module = " : "", module ? module : "") <= 0
        || NCONF_load_bio(conf, bio, &line) <= 0
        || CONF_modules_load(conf, NULL, CONF_MFLAGS_DEFAULT_SECTION) <= 0
        || !OSSL_PROVIDER_available(NULL, "kyok"))
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "kyok: provider \"%s\" cannot be activated",
                      module ? module : "kyok");
        NCONF_free(conf);
        BIO_free(bio);
        return NGX_ERROR;
    }

    NCONF_free(conf);
    BIO_free(bio);

    return NGX_OK;
}


/* Beside libkyok, built or installed; elsewhere, OpenSSL may know the place. */

static char *
ngx_kyok_config_provider(u_char *buf, size_t size)
{
    char        *slash;
    u_char      *last;
    Dl_info      info;
    ngx_uint_t   i;

    static char  *places[] = { "", "/..", NULL };

    if (dladdr((void *) (uintptr_t) kyok_work_fd, &info) == 0
        || info.dli_fname == NULL)
    {
        return NULL;
    }

    slash = strrchr(info.dli_fname, '/');
    if (slash == NULL) {
        return NULL;
    }

    for (i = 0; places[i]; i++) {
        last = ngx_snprintf(buf, size - 1, "%*s%s/ossl-modules/kyok.so",
                            (size_t) (slash - info.dli_fname), info.dli_fname,
                            places[i]);
        *last = '\0';

        if (access((char *) buf, R_OK) == 0) {
            return (char *) buf;
        }
    }

    return NULL;
}
