/* SPDX-License-Identifier: Apache-2.0 */
#include "common/key/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool kyok_key_needs_job(const struct kyok_custodian *custodian)
{
    return custodian->isolate || kyok_work_isolates() || kyok_work_can_suspend();
}

struct kyok_job *kyok_key_job_new(const struct kyok_job_type *type, struct kyok_error *err)
{
    struct kyok_job *job = kyok_job_new(type);

    if (job == NULL)
        kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for an operation");
    return job;
}

enum kyok_status kyok_key_job_run(struct kyok_job *job, const struct kyok_custodian *custodian,
                                  const char *object, struct kyok_deadline deadline,
                                  struct kyok_error *err)
{
    struct kyok_lane *lane = kyok_custodian_lane(custodian);
    enum kyok_status status;

    if (lane == NULL)
        return kyok_fail(err, KYOK_SYSTEM, custodian->name, "no memory for an executor");
    status = kyok_job_run(
        job, lane, custodian->isolate || kyok_work_isolates() ? KYOK_WORK_ISOLATE : KYOK_WORK_ANY,
        deadline, err);
    if ((status == KYOK_TIMEOUT || status == KYOK_CANCELLED) && err->object[0] == '\0')
        snprintf(err->object, sizeof(err->object), "%s", object);
    return status;
}

bool kyok_key_job_copy(struct kyok_bytes from, struct kyok_bytes *copy)
{
    uint8_t *data;

    *copy = kyok_bytes(NULL, 0);
    if (from.size == 0)
        return true;
    data = malloc(from.size);
    if (data == NULL)
        return false;
    memcpy(data, from.data, from.size);
    *copy = kyok_bytes(data, from.size);
    return true;
}

void kyok_key_job_drop(struct kyok_bytes *copy)
{
    if (copy->data != NULL)
        kyok_wipe((void *)copy->data, copy->size);
    free((void *)copy->data);
    *copy = kyok_bytes(NULL, 0);
}

void kyok_job_auto_free(struct kyok_job **job)
{
    if (*job != NULL)
        kyok_job_free(*job);
}
