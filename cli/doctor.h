/* SPDX-License-Identifier: Apache-2.0 */
/* Private to doctor: how its checks report what they find. */
#ifndef KYOK_CLI_DOCTOR_H
#define KYOK_CLI_DOCTOR_H

#include "cli/cli.h"

enum doctor_level { DOCTOR_GOOD, DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_BAD };

struct doctor {
    struct cli *cli;
    struct kyok_config *config; /* its own copy; NULL when it cannot be read */
    json_t *findings;
    json_t *probes; /* path of a module -> its answer, or {"error": ...} */
    bool near_lock; /* a token's next wrong PIN locks it: nothing may log in */
    size_t counts[DOCTOR_BAD + 1];
    enum kyok_status worst; /* of the first bad finding */
};

/* check: the area, "token hsm". A text without a final stop. */
void doctor_find(struct doctor *doctor, enum doctor_level level, const char *check,
                 const char *object, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
void doctor_find_error(struct doctor *doctor, enum doctor_level level, const char *check,
                       const struct kyok_error *err);

/* A file that decides what this process does: nobody but its owner may write it or put another in
 * its place. secret: nor may others read it. False when it is not there. */
bool doctor_check_file(struct doctor *doctor, const char *check, const char *path, bool secret);

void doctor_check_configuration(struct doctor *doctor);
void doctor_check_system(struct doctor *doctor);
void doctor_check_openssl(struct doctor *doctor);
void doctor_check_nginx(struct doctor *doctor);
void doctor_check_certificate(struct doctor *doctor, const char *check, const char *path);
void doctor_check_client_key(struct doctor *doctor, const char *check, const char *certificate,
                             const char *key);
void doctor_check_reference(struct doctor *doctor, const char *path);
/* The keys that a group shows after a login; reference names the whole group. */
void doctor_check_keys(struct doctor *doctor, const char *check, enum kyok_require require,
                       const char *reference);
/* The [key] sections: each key is there and good (logs in). */
void doctor_check_named_keys(struct doctor *doctor);
/* Opens and checks a key on every member that answers. */
enum kyok_status doctor_open_key(struct doctor *doctor, const struct kyok_reference *reference,
                                 struct kyok_bytes public_key, struct kyok_error *err);
void doctor_check_tokens(struct doctor *doctor);
void doctor_check_kmips(struct doctor *doctor);

#endif
