/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of which a part runs in a child process. After cmocka.h. */
#ifndef KYOK_TESTS_CHILD_H
#define KYOK_TESTS_CHILD_H

#include <sys/types.h>
#include <sys/wait.h>

/* It has exited by itself with 0: whatever else it gives is the number of what went wrong. */
static void child_ended_well(pid_t child)
{
    int status = -1;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
