/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one process object: all mutable state of libkyok hangs from it, so that a forked child, which
 * must not touch a lock that a lost thread may hold, simply starts with an empty one.
 */
#ifndef KYOK_BASE_PROCESS_H
#define KYOK_BASE_PROCESS_H

#include <stdint.h>

/* One slot per layer; a layer creates its state on first use and never frees it. */
enum kyok_process_slot {
    KYOK_PROCESS_WORK,
    KYOK_PROCESS_PKCS11,
    KYOK_PROCESS_KMIP,
    KYOK_PROCESS_KEY,
    KYOK_PROCESS_KEPT_KEYS,
    KYOK_PROCESS_EVENT,
    KYOK_PROCESS_ENVELOPE,
    KYOK_PROCESS_ENVELOPE_LANES,
    KYOK_PROCESS_SLOTS
};

/* Differs between a parent and each of its children (also without pthread_atfork). Never 0. */
uint64_t kyok_process_generation(void);

/* This process's state in a slot, made by create() when it has none yet. When threads race, one
 * result wins and discard() gets the others. NULL only if create() gave NULL. */
void *kyok_process_state(enum kyok_process_slot slot, void *(*create)(void),
                         void (*discard)(void *));

#endif
