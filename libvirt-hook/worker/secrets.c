/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/worker/secrets.h"
#include "libvirt-hook/hook.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTION_START "kyok: "

struct secrets {
    virConnectPtr connection;
};

static void quiet(void *data, virErrorPtr error)
{
    (void)data, (void)error;
}

static enum kyok_status libvirt_failed(struct kyok_error *err, const char *object, const char *what)
{
    const char *text = virGetLastErrorMessage();
    kyok_fail(err, KYOK_UNREACHABLE, object, "%s", what);
    return kyok_because(err, "libvirt: %s", text ? text : "no reason given");
}

enum kyok_status secrets_connect(struct secrets **secrets, struct kyok_error *err)
{
    virSetErrorFunc(NULL, quiet);
    *secrets = calloc(1, sizeof(**secrets));
    if (!*secrets)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for a connection");
    (*secrets)->connection = virConnectOpen("secret:///system");
    if ((*secrets)->connection)
        return KYOK_OK;
    secrets_close(*secrets);
    *secrets = NULL;
    return libvirt_failed(err, "secret:///system", "libvirt's secret driver cannot be reached");
}

void secrets_close(struct secrets *secrets)
{
    if (secrets && secrets->connection)
        virConnectClose(secrets->connection);
    free(secrets);
}

static enum secret_state state_of(virSecretPtr secret)
{
    char *xml = virSecretGetXMLDesc(secret, 0);
    bool ours = xml && strstr(xml, "<description>" DESCRIPTION_START) &&
                strstr(xml, "ephemeral='yes'") && strstr(xml, "private='yes'");
    free(xml);
    return ours ? SECRET_OURS : SECRET_FOREIGN;
}

static virSecretPtr look_up(struct secrets *secrets, const struct secret_name *name)
{
    int type = name->vtpm ? VIR_SECRET_USAGE_TYPE_VTPM : VIR_SECRET_USAGE_TYPE_VOLUME;
    return name->usage ? virSecretLookupByUsage(secrets->connection, type, name->usage)
                       : virSecretLookupByUUIDString(secrets->connection, name->uuid);
}

enum kyok_status secrets_find(struct secrets *secrets, struct secret_name *name,
                              enum secret_state *state, struct kyok_error *err)
{
    virSecretPtr secret = look_up(secrets, name);
    *state = SECRET_ABSENT;
    if (!secret) {
        virErrorPtr error = virGetLastError();
        return error && error->code == VIR_ERR_NO_SECRET
                   ? KYOK_OK
                   : libvirt_failed(err, name->usage ? name->usage : name->uuid,
                                    "the secret cannot be looked up");
    }
    *state = state_of(secret);
    bool named = name->uuid[0] || virSecretGetUUIDString(secret, name->uuid) == 0;
    virSecretFree(secret);
    return named ? KYOK_OK : libvirt_failed(err, name->usage, "the secret has no UUID");
}

/* usage comes from XML and goes into XML. */
static bool append_escaped(struct kyok_buffer *xml, const char *text)
{
    static const struct {
        char character;
        const char *entity;
    } escapes[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'\'', "&apos;"}, {'"', "&quot;"}};
    bool good = true;
    for (; *text && good; text++) {
        const char *entity = NULL;
        for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++)
            if (escapes[i].character == *text)
                entity = escapes[i].entity;
        good = entity ? kyok_buffer_append_text(xml, entity) : kyok_buffer_append(xml, text, 1);
    }
    return good;
}

bool secrets_xml(const struct secret_name *name, const char *description, struct kyok_buffer *xml)
{
    const char *type = name->vtpm ? "vtpm" : "volume", *element = name->vtpm ? "name" : "volume";
    bool good = kyok_buffer_printf(xml,
                                   "<secret ephemeral='yes' private='yes'><uuid>%s</uuid>"
                                   "<description>" DESCRIPTION_START,
                                   name->uuid) &&
                append_escaped(xml, description) &&
                kyok_buffer_printf(xml, "</description><usage type='%s'><%s>", type, element);
    if (name->usage)
        good = good && append_escaped(xml, name->usage);
    else
        good = good && kyok_buffer_printf(xml, HOOK_USAGE "%s", name->uuid);
    return good && kyok_buffer_printf(xml, "</%s></usage></secret>", element) &&
           kyok_buffer_append(xml, "", 1);
}

enum kyok_status secrets_set(struct secrets *secrets, const struct secret_name *name,
                             const char *description, struct kyok_bytes value,
                             struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    if (!secrets_xml(name, description, &xml))
        return kyok_fail(err, KYOK_SYSTEM, name->uuid, "no memory for a secret");
    virSecretPtr secret = virSecretDefineXML(secrets->connection, (const char *)xml.data, 0);
    if (!secret)
        return libvirt_failed(err, name->uuid, "the secret cannot be defined");
    bool set = virSecretSetValue(secret, value.data, value.size, 0) == 0;
    enum kyok_status status =
        set ? KYOK_OK : libvirt_failed(err, name->uuid, "the secret's value cannot be set");
    if (!set)
        virSecretUndefine(secret);
    virSecretFree(secret);
    return status;
}

enum kyok_status secrets_remove(struct secrets *secrets, const char *uuid, struct kyok_error *err)
{
    virSecretPtr secret = virSecretLookupByUUIDString(secrets->connection, uuid);
    if (!secret) {
        virErrorPtr error = virGetLastError();
        return error && error->code == VIR_ERR_NO_SECRET
                   ? KYOK_OK
                   : libvirt_failed(err, uuid, "the secret cannot be looked up");
    }
    bool done = state_of(secret) != SECRET_OURS || virSecretUndefine(secret) == 0;
    virSecretFree(secret);
    return done ? KYOK_OK : libvirt_failed(err, uuid, "the secret cannot be removed");
}
