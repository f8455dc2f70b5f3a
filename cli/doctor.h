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
void doctor_check_certificate(struct doctor *doctor, const char *check, const char *path);
void doctor_check_client_key(struct doctor *doctor, const char *check, const char *certificate,
                             const char *key);
void doctor_check_reference(struct doctor *doctor, const char *path);
void doctor_check_tokens(struct doctor *doctor);
void doctor_check_kmips(struct doctor *doctor);

#endif
