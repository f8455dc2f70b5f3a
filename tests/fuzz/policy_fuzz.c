/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: what is accepted keeps its limits, and no clause is empty. */
#include "common/config/config.h"
#include "tests/fuzz/need.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_error err = {0};
    struct kyok_policy *policy = NULL;
    KYOK_AUTO_FREE char *text = malloc(size + 1);
    need(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (kyok_policy_parse(text, KYOK_FROM_DATA, NULL, &policy, &err) != KYOK_OK) {
        need(policy == NULL && err.what[0] != '\0');
        return 0;
    }
    need(policy->count > 0 && policy->count <= KYOK_POLICY_MAX_CLAUSES);
    for (size_t i = 0; i < policy->count; i++)
        need(policy->clauses[i].count > 0 &&
             policy->clauses[i].count <= KYOK_POLICY_MAX_ALTERNATIVES);
    kyok_policy_free(policy);
    return 0;
}
