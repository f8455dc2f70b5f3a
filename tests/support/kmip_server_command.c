/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's commands. */
#include "tests/support/kmip_server.h"

#include <openssl/ssl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 12

typedef const char *command_run(struct server *server, char **words, size_t count);

/* Each returns NULL, or what is wrong. */

static const char *profile(struct server *server, char **words, size_t count)
{
    static const char *const names[] = {"full", "nine", "no-digest"};

    for (size_t i = 0; count == 2 && i < 3; i++)
        if (strcmp(words[1], names[i]) == 0) {
            server->profile = (enum server_profile)i;
            return NULL;
        }
    return "profile full|nine|no-digest";
}

static const char *versions(struct server *server, char **words, size_t count)
{
    server->version_count = 0;
    for (size_t i = 1; i < count && server->version_count < 8; i++)
        server->versions[server->version_count++] =
            (unsigned)atoi(words[i]) << 8 | (unsigned)atoi(strchr(words[i], '.') + 1);
    return count > 1 ? NULL : "versions MAJOR.MINOR...";
}

static const char *certificate(struct server *server, char **words, size_t count)
{
    if (count != 2)
        return "certificate NAME";
    snprintf(server->certificate, sizeof server->certificate, "%s", words[1]);
    return NULL;
}

static const char *tls(struct server *server, char **words, size_t count)
{
    static const struct {
        const char *name;
        int version;
    } known[] = {{"1.1", TLS1_1_VERSION}, {"1.2", TLS1_2_VERSION}, {"1.3", TLS1_3_VERSION}};

    for (size_t i = 0; count == 2 && i < 3; i++)
        if (strcmp(words[1], known[i].name) == 0) {
            server->tls_version = known[i].version;
            return NULL;
        }
    return "tls 1.1|1.2|1.3";
}

static const char *hold_handshake(struct server *server, char **words, size_t count)
{
    server->hold_handshake = count == 2 && strcmp(words[1], "on") == 0;
    return count == 2 ? NULL : "hold-handshake on|off";
}

static struct server_object *new_object(struct server *server, const char *id, const char *owner,
                                        uint32_t usage)
{
    struct server_object *object = server_add(server, id, owner);

    if (object == NULL)
        return NULL;
    object->usage = usage;
    object->state = KYOK_KMIP_STATE_ACTIVE;
    snprintf(object->name, sizeof object->name, "%.*s", SERVER_TEXT - 1, id);
    return object;
}

static bool new_pair(struct server *server, const char *id, const char *type, const char *owner)
{
    bool rsa = strncmp(type, "rsa-", 4) == 0;
    char public_id[SERVER_TEXT];

    snprintf(public_id, sizeof public_id, "%.100s-pub", id);
    struct server_object *private_key =
        new_object(server, id, owner,
                   KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN |
                       (rsa ? (uint32_t)KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT : 0));
    struct server_object *public_key =
        new_object(server, public_id, owner,
                   KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY |
                       (rsa ? (uint32_t)KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT : 0));
    return private_key != NULL && public_key != NULL &&
           server_make_pair(private_key, public_key,
                            rsa ? KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA
                                : KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA,
                            rsa ? (unsigned)atoi(type + 4) : 0,
                            strcmp(type, "ec-p384") == 0 ? KYOK_KMIP_RECOMMENDED_CURVE_P_384
                                                         : KYOK_KMIP_RECOMMENDED_CURVE_P_256);
}

static const char *key(struct server *server, char **words, size_t count)
{
    const char *owner = count == 4 ? words[3] : "*";

    if (count != 3 && count != 4)
        return "key ID TYPE [OWNER]";
    if (strncmp(words[2], "rsa-", 4) == 0 || strncmp(words[2], "ec-", 3) == 0)
        return new_pair(server, words[1], words[2], owner) ? NULL : "no such key pair";
    if (strcmp(words[2], "aes-256") != 0 && strcmp(words[2], "aes-128") != 0)
        return "no such type";
    struct server_object *object = new_object(server, words[1], owner,
                                              KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                                                  KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT);
    if (object == NULL)
        return "full";
    object->type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    object->algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES;
    return server_make_secret(object, (unsigned)atoi(words[2] + 4)) ? NULL : "no random bytes";
}

static const char *load(struct server *server, char **words, size_t count)
{
    char public_id[SERVER_TEXT];

    if (count != 3)
        return "load ID FILE";
    snprintf(public_id, sizeof public_id, "%.100s-pub", words[1]);
    struct server_object *private_key = server_find(server, kyok_bytes_of_text(words[1]));
    struct server_object *public_key = server_find(server, kyok_bytes_of_text(public_id));
    if (private_key == NULL || public_key == NULL)
        return "no such key pair";
    return server_load_pair(private_key, public_key, words[2]) ? NULL : "no such key in the file";
}

static const char *state(struct server *server, char **words, size_t count)
{
    static const char *const names[] = {"pre-active", "active", "deactivated", "compromised"};
    struct server_object *object =
        count == 3 ? server_find(server, kyok_bytes_of_text(words[1])) : NULL;

    for (size_t i = 0; object != NULL && i < 4; i++)
        if (strcmp(words[2], names[i]) == 0) {
            object->state = (enum kyok_kmip_state)(i + 1);
            return NULL;
        }
    return "state ID STATE";
}

static const char *nonce(struct server *server, char **words, size_t count)
{
    struct server_object *object =
        count == 3 ? server_find(server, kyok_bytes_of_text(words[1])) : NULL;

    if (object == NULL)
        return "nonce ID NUMBER";
    object->nonce = strtoul(words[2], NULL, 0);
    return NULL;
}

static const char *attribute(struct server *server, char **words, size_t count)
{
    struct server_object *object =
        count == 4 ? server_find(server, kyok_bytes_of_text(words[1])) : NULL;

    if (object == NULL)
        return "attribute ID sensitive|extractable yes|no";
    enum kyok_kmip_boolean value = kyok_kmip_boolean(strcmp(words[3], "yes") == 0);
    if (strcmp(words[2], "sensitive") == 0)
        object->sensitive = value;
    else
        object->extractable = value;
    return NULL;
}

static const char *link_command(struct server *server, char **words, size_t count)
{
    struct server_object *object =
        count == 3 ? server_find(server, kyok_bytes_of_text(words[1])) : NULL;

    if (object == NULL)
        return "link ID on|off";
    object->show_link = strcmp(words[2], "on") == 0;
    return NULL;
}

static const char *clock_command(struct server *server, char **words, size_t count)
{
    if (count != 2)
        return "clock SECONDS";
    server->clock = strtol(words[1], NULL, 10);
    return NULL;
}

static const char *deny(struct server *server, char **words, size_t count)
{
    if (count != 3 || server->denial_count == SERVER_DENIALS)
        return "deny CN OPERATION";
    struct server_denial *denial = &server->denials[server->denial_count++];
    snprintf(denial->client, sizeof denial->client, "%s", words[1]);
    snprintf(denial->operation, sizeof denial->operation, "%s", words[2]);
    return NULL;
}

static const char *allow(struct server *server, char **words, size_t count)
{
    for (size_t i = 0; count == 3 && i < server->denial_count; i++)
        if (strcmp(server->denials[i].client, words[1]) == 0 &&
            strcmp(server->denials[i].operation, words[2]) == 0) {
            server->denials[i] = server->denials[--server->denial_count];
            return NULL;
        }
    return "nothing like that was denied";
}

static const char *fault(struct server *server, char **words, size_t count)
{
    if (count == 2 && strcmp(words[1], "none") == 0) {
        server->fault_count = 0;
        return NULL;
    }
    if (count < 4 || count > 5 || server->fault_count == SERVER_FAULTS)
        return "fault OPERATION COUNT KIND [N]";
    struct server_fault *made = &server->faults[server->fault_count++];
    snprintf(made->operation, sizeof made->operation, "%s", words[1]);
    made->count = (unsigned)strtoul(words[2], NULL, 10);
    snprintf(made->kind, sizeof made->kind, "%s", words[3]);
    made->number = count == 5 ? strtol(words[4], NULL, 0) : 0;
    return NULL;
}

static const char *down(struct server *server, char **words, size_t count)
{
    (void)words;
    (void)count;
    server_down(server, true);
    return NULL;
}

static const char *up(struct server *server, char **words, size_t count)
{
    (void)words;
    (void)count;
    server_up(server);
    return NULL;
}

static const char *drop_idle(struct server *server, char **words, size_t count)
{
    (void)words;
    (void)count;
    server_down(server, false);
    return NULL;
}

static const char *stats(struct server *server, char **words, size_t count)
{
    size_t open = 0;

    (void)words;
    (void)count;
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        open += server->connections[i] >= 0;
    printf("ok accepted=%lu open=%zu requests=%lu", server->accepted, open, server->requests);
    for (size_t i = 0; i < SERVER_OPERATIONS; i++)
        if (server->operations[i] != 0)
            printf(" %s=%lu", server_operation_name((enum kyok_kmip_operation)i),
                   server->operations[i]);
    putchar('\n');
    return "";
}

static const char *reset_stats(struct server *server, char **words, size_t count)
{
    (void)words;
    (void)count;
    server->accepted = server->requests = 0;
    memset(server->operations, 0, sizeof server->operations);
    return NULL;
}

static const struct {
    const char *name;
    command_run *run;
    bool unlocked; /* it waits for threads that need the lock */
} commands[] = {
    {"profile", profile, false},
    {"versions", versions, false},
    {"certificate", certificate, false},
    {"tls", tls, false},
    {"hold-handshake", hold_handshake, false},
    {"key", key, false},
    {"load", load, false},
    {"nonce", nonce, false},
    {"state", state, false},
    {"attribute", attribute, false},
    {"link", link_command, false},
    {"clock", clock_command, false},
    {"deny", deny, false},
    {"allow", allow, false},
    {"fault", fault, false},
    {"down", down, true},
    {"up", up, true},
    {"drop-idle", drop_idle, true},
    {"stats", stats, false},
    {"reset-stats", reset_stats, false},
};

static size_t split(char *line, char *words[WORDS])
{
    size_t count = 0;

    for (char *word = strtok(line, " \t\r\n"); word != NULL && count < WORDS;
         word = strtok(NULL, " \t\r\n"))
        words[count++] = word;
    return count;
}

static const char *obey(struct server *server, size_t at, char **words, size_t count)
{
    if (!commands[at].unlocked)
        pthread_mutex_lock(&server->lock);
    const char *wrong = commands[at].run(server, words, count);
    if (!commands[at].unlocked)
        pthread_mutex_unlock(&server->lock);
    return wrong;
}

void server_command(struct server *server, char *line)
{
    char *words[WORDS];
    size_t count = split(line, words);
    const char *wrong = "no such command";

    if (count == 0 || words[0][0] == '#')
        return;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, words[0]) == 0)
            wrong = obey(server, i, words, count);
    if (wrong == NULL)
        printf("ok\n");
    else if (wrong[0] != '\0')
        printf("error %s\n", wrong);
    fflush(stdout);
}
