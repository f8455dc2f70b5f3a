/* SPDX-License-Identifier: Apache-2.0 */
/* An event per signature would drown the log: one per key, process and minute says how many. */
#include "common/key/job.h"

#define EVERY_NS INT64_C(60000000000)

static void tell(struct kyok_key *key, uint64_t count, const char *result)
{
    struct kyok_event event = {.type = "signatures",
                               .key = key->reference->text,
                               .custodian = key->custodian->name,
                               .result = result,
                               .count = count};

    if (count > 0)
        kyok_event_emit(&event);
}

static void tell_all(struct kyok_key *key)
{
    tell(key, atomic_exchange(&key->signatures.count, 0), kyok_status_name(KYOK_OK));
    tell(key, atomic_exchange(&key->signatures.failures, 0), "failed");
}

/* A child does not tell its parent's signatures again. */
static void own_by_process(struct kyok_tally *tally)
{
    uint64_t now = kyok_process_generation(), was = atomic_load(&tally->process);

    if (was == now || !atomic_compare_exchange_strong(&tally->process, &was, now))
        return;
    atomic_store(&tally->count, 0);
    atomic_store(&tally->failures, 0);
    atomic_store(&tally->told_ns, kyok_now_ns());
}

void kyok_key_tally(struct kyok_key *key, enum kyok_status status)
{
    struct kyok_tally *tally = &key->signatures;
    int64_t now = kyok_now_ns(), told;

    own_by_process(tally);
    atomic_fetch_add(status == KYOK_OK ? &tally->count : &tally->failures, 1);
    told = atomic_load(&tally->told_ns);
    if (now - told > EVERY_NS && atomic_compare_exchange_strong(&tally->told_ns, &told, now))
        tell_all(key);
}

void kyok_key_tally_end(struct kyok_key *key)
{
    if (atomic_load(&key->signatures.process) == kyok_process_generation())
        tell_all(key);
}
