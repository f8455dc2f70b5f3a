/* SPDX-License-Identifier: Apache-2.0 */
/* kyok.conf: any bytes; what is accepted must have all that its sections require. */
#include "common/config/config.h"
#include "tests/fuzz/need.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    if (kyok_config_parse(kyok_bytes(data, size), "fuzz", &config, &err) != KYOK_OK) {
        need(config == NULL && err.what[0] != '\0' && err.object[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < config->token_count; i++)
        need(config->tokens[i].uri_count > 0 && config->tokens[i].timeout_ms > 0);
    for (size_t i = 0; i < config->kmip_count; i++)
        need(config->kmips[i].server_count > 0 && config->kmips[i].key != NULL);
    for (size_t i = 0; i < config->key_count; i++)
        need(kyok_config_key(config, config->keys[i].name)->uri != NULL);
    kyok_config_free(config);
    return 0;
}
