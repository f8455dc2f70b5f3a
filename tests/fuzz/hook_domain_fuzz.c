/* SPDX-License-Identifier: Apache-2.0 */
/* Domain XML as a tenant may have written it; what the parser sees, the glance before it may not
 * pass by. */
#include "libvirt-hook/domain.h"
#include "libvirt-hook/glance.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct domain domain;
    char why[128] = "";
    bool passed_by = !glance_may_encrypt((const char *)data, size);
    if (!domain_parse((const char *)data, size, &domain, why, sizeof(why))) {
        if (!why[0])
            abort(); /* a refusal says why */
        return 0;
    }
    if (domain.volume_count > DOMAIN_MAX_VOLUMES || domain.record_count > DOMAIN_MAX_RECORDS)
        abort();
    if (passed_by && (domain.volume_count || domain.vtpm_secret))
        abort();
    domain_free(&domain);
    return 0;
}
