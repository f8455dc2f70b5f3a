/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of a layer's alternatives the first that answers suffices. They are started one after the other,
 * the next as soon as one has failed or been silent for a while, each in its custodian's own lane;
 * whoever still waits inside a call when the race is over finds its result not wanted and wipes it.
 */
#include "common/envelope/keyholder.h"
#include "common/work/work.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct race {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned references; /* under lock: the caller and every attempt */
    size_t failed;
    struct kyok_secret *cek; /* the winner's */
    size_t winner;
    struct kyok_error worst; /* the most telling failure so far */
};

struct attempt {
    struct race *race;
    struct kyok_keyholder holder;
    struct kyok_jwe_recipient recipient;
    char *kid;
    size_t index;
};

/* --- failures -------------------------------------------------------------------------------- */

/* What explains best why nothing opened: damage first, then what may pass by itself (a custodian
 * away: worth another try), then a refusal, last keys that this host does not know. */
static int telling(enum kyok_status status)
{
    static const int order[] = {
        [KYOK_TAMPERED] = 9, [KYOK_UNREACHABLE] = 8, [KYOK_TIMEOUT] = 8,   [KYOK_BUSY] = 8,
        [KYOK_REFUSED] = 7,  [KYOK_PIN] = 6,         [KYOK_FAULT] = 5,     [KYOK_UNSUPPORTED] = 4,
        [KYOK_SYSTEM] = 3,   [KYOK_AMBIGUOUS] = 2,   [KYOK_NOT_FOUND] = 1,
    };

    return (size_t)status < sizeof(order) / sizeof(order[0]) ? order[status] : 0;
}

static void note_failure(struct race *race, const struct kyok_error *err)
{
    if (race->failed++ == 0 || telling(err->status) > telling(race->worst.status))
        race->worst = *err;
}

static enum kyok_status all_failed(struct race *race, size_t count, struct kyok_error *err)
{
    const struct kyok_error *worst = &race->worst;

    if (count == 1) {
        *err = *worst;
        return err->status;
    }
    kyok_fail(err, worst->status, worst->object,
              "none of %zu alternatives opened the layer: %.200s", count, worst->what);
    if (worst->reason[0] != '\0')
        kyok_because(err, "%s", worst->reason);
    if (worst->remedy[0] != '\0')
        kyok_remedy(err, "%s", worst->remedy);
    return err->status;
}

/* --- the race's life ------------------------------------------------------------------------- */

static struct race *race_new(void)
{
    struct race *race = calloc(1, sizeof(*race));
    pthread_condattr_t monotonic;

    if (race == NULL)
        return NULL;
    pthread_mutex_init(&race->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&race->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    race->references = 1;
    return race;
}

static void race_drop(struct race *race)
{
    bool last;

    pthread_mutex_lock(&race->lock);
    last = --race->references == 0;
    pthread_mutex_unlock(&race->lock);
    if (!last)
        return;
    kyok_secret_free(race->cek);
    pthread_cond_destroy(&race->changed);
    pthread_mutex_destroy(&race->lock);
    free(race);
}

static void race_auto_drop(struct race **race)
{
    if (*race != NULL)
        race_drop(*race);
}

/* --- an attempt, in an executor thread ------------------------------------------------------- */

static enum kyok_status attempt_run(void *body, struct kyok_error *err)
{
    struct attempt *attempt = body;
    struct race *race = attempt->race;
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    enum kyok_status status = attempt->holder.type->unwrap(
        attempt->holder.self, &attempt->recipient, attempt->kid, &cek, err);

    pthread_mutex_lock(&race->lock);
    if (status != KYOK_OK) {
        note_failure(race, err);
    } else if (race->cek == NULL) {
        race->cek = cek;
        race->winner = attempt->index;
        cek = NULL;
    }
    pthread_cond_signal(&race->changed);
    pthread_mutex_unlock(&race->lock);
    return status;
}

static void attempt_destroy(void *body)
{
    struct attempt *attempt = body;

    kyok_jwe_recipient_free(&attempt->recipient);
    free(attempt->kid);
    if (attempt->holder.type != NULL)
        kyok_keyholder_free(&attempt->holder);
    if (attempt->race != NULL)
        race_drop(attempt->race);
}

static const struct kyok_job_type attempt_type = {
    .name = "unwrap",
    .body_size = sizeof(struct attempt),
    .run = attempt_run,
    .destroy = attempt_destroy,
};

/* --- lanes, one per custodian ---------------------------------------------------------------- */

struct named_lane {
    struct named_lane *next;
    struct kyok_lane *lane;
    char name[];
};

struct lanes {
    _Atomic(struct named_lane *) first; /* grows only */
};

static void *lanes_create(void)
{
    return calloc(1, sizeof(struct lanes));
}

static struct kyok_lane *lane_new(struct lanes *lanes, const char *name)
{
    struct named_lane *lane = calloc(1, sizeof(*lane) + strlen(name) + 1);

    if (lane == NULL)
        return NULL;
    strcpy(lane->name, name);
    lane->lane = kyok_lane_new(lane->name);
    if (lane->lane == NULL) {
        free(lane);
        return NULL;
    }
    lane->next = atomic_load(&lanes->first);
    while (!atomic_compare_exchange_weak(&lanes->first, &lane->next, lane))
        continue; /* two racing threads may each make one of the same name: both serve */
    return lane->lane;
}

static struct kyok_lane *lane_for(const char *name)
{
    struct lanes *lanes = kyok_process_state(KYOK_PROCESS_ENVELOPE_LANES, lanes_create, free);

    if (lanes == NULL)
        return NULL;
    for (struct named_lane *lane = atomic_load(&lanes->first); lane != NULL; lane = lane->next)
        if (strcmp(lane->name, name) == 0)
            return lane->lane;
    return lane_new(lanes, name);
}

/* --- the caller ------------------------------------------------------------------------------ */

struct runners {
    const struct kyok_keyholder *holder;
    const struct kyok_jwe_recipients *recipients;
    const char *kid;
    size_t order[KYOK_ENVELOPE_MAX_RECIPIENTS]; /* best-ranked first */
    size_t started;
    struct kyok_deadline next_start;
};

static void rank_runners(struct runners *runners)
{
    size_t placed = 0;
    int ranks[KYOK_ENVELOPE_MAX_RECIPIENTS];
    const char *custodian;

    for (size_t i = 0; i < runners->recipients->count; i++)
        ranks[i] = runners->holder->type->rank(runners->holder->self,
                                               runners->recipients->list[i].kid, &custodian);
    for (int rank = 0; rank <= 2; rank++)
        for (size_t i = 0; i < runners->recipients->count; i++)
            if (ranks[i] == rank)
                runners->order[placed++] = i;
}

static enum kyok_status fill_attempt(struct attempt *attempt, const struct runners *runners,
                                     struct race *race, size_t index, struct kyok_error *err)
{
    attempt->index = index;
    KYOK_TRY(kyok_jwe_recipient_copy(&runners->recipients->list[index], &attempt->recipient, err));
    if (runners->kid != NULL && (attempt->kid = strdup(runners->kid)) == NULL)
        return kyok_no_memory(err);
    attempt->holder = *runners->holder;
    attempt->holder.type->up_ref(attempt->holder.self);
    pthread_mutex_lock(&race->lock);
    race->references++;
    pthread_mutex_unlock(&race->lock);
    attempt->race = race;
    return KYOK_OK;
}

static enum kyok_status start_next(struct runners *runners, struct race *race,
                                   struct kyok_error *err)
{
    size_t index = runners->order[runners->started++];
    struct kyok_job *job = kyok_job_new(&attempt_type);
    const char *custodian = "";
    struct kyok_lane *lane;

    runners->next_start = kyok_deadline_in_ms(KYOK_RACE_HEAD_START_MS);
    if (job == NULL)
        return kyok_no_memory(err);
    runners->holder->type->rank(runners->holder->self, runners->recipients->list[index].kid,
                                &custodian);
    lane = lane_for(custodian);
    if (lane == NULL || fill_attempt(kyok_job_body(job), runners, race, index, err) != KYOK_OK) {
        kyok_job_free(job);
        return lane == NULL ? kyok_no_memory(err) : err->status;
    }
    return kyok_job_start(job, lane, err);
}

/* Waits for a change; the lock is held. */
static void await_change(struct race *race, const struct runners *runners,
                         struct kyok_deadline deadline)
{
    struct kyok_deadline until = deadline;
    struct timespec at;

    if (runners->started < runners->recipients->count)
        until = kyok_deadline_sooner(deadline, runners->next_start);
    at = kyok_deadline_timespec(until);
    pthread_cond_timedwait(&race->changed, &race->lock, &at);
}

/* True once the race is decided, or one more runner is due. */
static bool settled(const struct race *race, const struct runners *runners,
                    struct kyok_deadline deadline)
{
    bool more = runners->started < runners->recipients->count;

    return race->cek != NULL || race->failed == runners->started ||
           (more && kyok_deadline_passed(runners->next_start)) || kyok_deadline_passed(deadline);
}

static enum kyok_status out_of_time(const struct runners *runners, struct kyok_error *err)
{
    const char *kid = runners->recipients->list[0].kid;

    if (runners->recipients->count == 1)
        return kyok_fail(err, KYOK_TIMEOUT, kid, "its custodian did not answer in time");
    return kyok_fail(err, KYOK_TIMEOUT, kid, "none of %zu alternatives opened the layer in time",
                     runners->recipients->count);
}

static enum kyok_status run_race(struct race *race, struct runners *runners,
                                 struct kyok_deadline deadline, struct kyok_error *err)
{
    size_t count = runners->recipients->count;
    bool won = false, lost = false;

    while (!won && !lost) {
        if (kyok_deadline_passed(deadline))
            return out_of_time(runners, err);
        if (runners->started < count)
            KYOK_TRY(start_next(runners, race, err));
        pthread_mutex_lock(&race->lock);
        while (!settled(race, runners, deadline))
            await_change(race, runners, deadline);
        won = race->cek != NULL;
        lost = race->failed == count;
        pthread_mutex_unlock(&race->lock);
    }
    return won ? KYOK_OK : all_failed(race, count, err);
}

static struct kyok_deadline patience(const struct runners *runners, struct kyok_deadline deadline)
{
    int64_t ms = runners->holder->type->timeout_ms(runners->holder->self) +
                 (int64_t)KYOK_RACE_HEAD_START_MS * (int64_t)runners->recipients->count;

    return kyok_deadline_sooner(deadline, kyok_deadline_in_ms(ms));
}

enum kyok_status kyok_race_unwrap(const struct kyok_keyholder *holder,
                                  const struct kyok_jwe_recipients *recipients, const char *kid,
                                  struct kyok_deadline deadline, struct kyok_secret **cek,
                                  size_t *opened_by, struct kyok_error *err)
{
    struct runners runners = {.holder = holder, .recipients = recipients, .kid = kid};
    KYOK_CLEANUP(race_auto_drop) struct race *race = NULL;

    *cek = NULL;
    if (opened_by != NULL)
        *opened_by = 0;
    /* Nobody to race and the group's own timeout is enough: no thread, no hop. */
    if (recipients->count == 1 && kyok_deadline_is_never(deadline))
        return holder->type->unwrap(holder->self, &recipients->list[0], kid, cek, err);
    race = race_new();
    if (race == NULL)
        return kyok_no_memory(err);
    rank_runners(&runners);
    KYOK_TRY(run_race(race, &runners, patience(&runners, deadline), err));
    pthread_mutex_lock(&race->lock);
    *cek = race->cek;
    race->cek = NULL;
    if (opened_by != NULL)
        *opened_by = race->winner;
    pthread_mutex_unlock(&race->lock);
    return KYOK_OK;
}
