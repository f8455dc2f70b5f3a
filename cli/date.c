/* SPDX-License-Identifier: Apache-2.0 */
/* Moments as people write them, in UTC. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool cli_moment(const char *text, int64_t *seconds)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%dT%H:%M:%SZ"};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm fields = {0}, real;
        const char *end = strptime(text, forms[i], &fields);

        if (end != NULL && *end == '\0') {
            real = fields;
            /* timegm makes 2 March of 30 February, which is nobody's intention. */
            *seconds = timegm(&real);
            return *seconds > 0 && real.tm_mday == fields.tm_mday;
        }
    }
    return false;
}

/* "12h", "90d": so long from now. */
static bool from_now(const char *text, int64_t *seconds)
{
    char *end;
    long count = strtol(text, &end, 10);

    if (end == text || count <= 0 || count > 100000 || (*end != 'h' && *end != 'd') ||
        end[1] != '\0')
        return false;
    *seconds = time(NULL) + (int64_t)count * (*end == 'h' ? 3600 : 86400);
    return true;
}

enum kyok_status cli_date(struct cli *cli, const char *name, int64_t *seconds)
{
    const char *text = cli_option(cli, name);

    *seconds = 0;
    if (text == NULL || strcmp(text, "never") == 0 || cli_moment(text, seconds) ||
        from_now(text, seconds))
        return KYOK_OK;
    return cli_usage(cli, "%s must be like 2026-11-21, 2026-11-21T18:30 (UTC), 12h, 90d or never",
                     name);
}

const char *cli_date_text(int64_t seconds, char room[CLI_DATE_SIZE])
{
    time_t moment = (time_t)seconds;
    struct tm fields;

    if (gmtime_r(&moment, &fields) == NULL ||
        strftime(room, CLI_DATE_SIZE, "%Y-%m-%dT%H:%M:%SZ", &fields) == 0)
        room[0] = '\0';
    return room;
}
