/* SPDX-License-Identifier: Apache-2.0 */
/* A host that has taken another configuration logs out of what only the last one named. */
#include "common/key/context.h"

struct farewell {
    struct kyok_custodian *custodian; /* of left */
    struct kyok_context *left, *kept; /* kept may be NULL */
    struct kyok_deadline deadline;
};

static enum kyok_status leave(void *body, struct kyok_error *err)
{
    struct farewell *farewell = body;

    (void)err;
    farewell->custodian->ops->leave(farewell->custodian, farewell->kept, farewell->deadline);
    return KYOK_OK;
}

static void end(void *body)
{
    struct farewell *farewell = body;

    kyok_context_free(farewell->left);
    kyok_context_free(farewell->kept);
}

static const struct kyok_job_type leave_type = {
    .name = "leave", .body_size = sizeof(struct farewell), .run = leave, .destroy = end};

static void leave_one(struct kyok_custodian *custodian, struct kyok_context *left,
                      struct kyok_deadline deadline)
{
    struct kyok_lane *lane = kyok_custodian_lane(custodian);
    struct kyok_job *job = lane == NULL ? NULL : kyok_job_new(&leave_type);
    struct kyok_context *kept = kyok_context_host();
    struct kyok_error ignored;

    if (job == NULL)
        return;
    kyok_context_up_ref(left);
    if (kept != NULL)
        kyok_context_up_ref(kept);
    *(struct farewell *)kyok_job_body(job) = (struct farewell){custodian, left, kept, deadline};
    (void)kyok_job_run(job, lane, KYOK_WORK_ISOLATE, deadline, &ignored);
    kyok_job_free(job);
}

void kyok_context_leave(struct kyok_context *context, struct kyok_deadline deadline)
{
    struct kyok_custodian *custodian = atomic_load(&context->custodians);

    if (context == kyok_context_host())
        return;
    for (; custodian != NULL; custodian = custodian->next) {
        if (custodian->ops->leave != NULL)
            leave_one(custodian, context, deadline);
    }
}
