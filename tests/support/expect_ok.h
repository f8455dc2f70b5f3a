/* SPDX-License-Identifier: Apache-2.0 */
/* For unit tests that keep one error: OK(expression) fails with its words. After cmocka.h. */
#ifndef KYOK_TESTS_EXPECT_OK_H
#define KYOK_TESTS_EXPECT_OK_H

#include "common/base/base.h"

static struct kyok_error err;

static const char *text(void)
{
    static char line[1200];

    return kyok_error_text(&err, line, sizeof(line));
}

#define OK(expression)                                                                             \
    do {                                                                                           \
        if ((expression) != KYOK_OK)                                                               \
            fail_msg("%s: %s", #expression, text());                                               \
    } while (0)

#endif
