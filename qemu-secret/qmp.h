/* SPDX-License-Identifier: Apache-2.0 */
/* A client of QEMU's QMP (QEMU docs/interop/qmp-spec): one command at a time, under a deadline. */
#ifndef KYOK_QEMU_SECRET_QMP_H
#define KYOK_QEMU_SECRET_QMP_H

#include "common/base/base.h"

#include <jansson.h>

struct qmp {
    int fd; /* -1: not connected */
    const char *path;
    struct kyok_deadline deadline;
    struct kyok_buffer input; /* what was read beyond the last line */
};

/* qmp->path and deadline are set. */
enum kyok_status qmp_connect(struct qmp *qmp, struct kyok_error *err);
void qmp_close(struct qmp *qmp);
/* Sends one command and waits for its answer. Takes arguments; NULL is a lack of memory. *result
 * (result may be NULL) is the caller's. KYOK_REFUSED: QEMU's error, with its text. */
enum kyok_status qmp_execute(struct qmp *qmp, const char *name, json_t *arguments, json_t **result,
                             struct kyok_error *err);
/* Adds a secret object of printable text; qmp_execute() "object-del" removes it. */
enum kyok_status qmp_add_secret(struct qmp *qmp, const char *id, struct kyok_bytes secret,
                                struct kyok_error *err);

#endif
