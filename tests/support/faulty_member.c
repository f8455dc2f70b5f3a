/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faulty_member.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void faulty_member_shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

bool faulty_member_softhsm(char *path, size_t size)
{
    const char *named = getenv("KYOK_SOFTHSM");
    glob_t found;

    if (named != NULL)
        return (size_t)snprintf(path, size, "%s", named) < size;
    bool is_there = glob("/usr/lib*/*/softhsm/libsofthsm2.so", 0, NULL, &found) == 0 ||
                    glob("/usr/lib/softhsm/libsofthsm2.so", 0, NULL, &found) == 0;
    if (is_there)
        snprintf(path, size, "%s", found.gl_pathv[0]);
    globfree(&found);
    return is_there;
}

struct faulty_control *faulty_member_make(const char *directory, const char *name)
{
    const char *build = getenv("BUILD") != NULL ? getenv("BUILD") : "build";
    struct faulty_control *control;
    char path[256], softhsm[256];

    if (!faulty_member_softhsm(softhsm, sizeof(softhsm)))
        return NULL;
    faulty_member_shell(
        "cp %s/tests/support/faulty_module.so %s/%s.so && cp %s %s/softhsm-%s.so && "
        "mkdir -p %s/%s && printf 'directories.tokendir = %s/%s\\nlog.level = ERROR\\n"
        "library.reset_on_fork = true\\n' > %s/%s.conf",
        build, directory, name, softhsm, directory, name, directory, name, directory, name,
        directory, name);
    snprintf(path, sizeof(path), "%s/%s.so.control", directory, name);
    control = faulty_control_create(path);
    assert_non_null(control);
    snprintf(control->module, sizeof(control->module), "%s/softhsm-%s.so", directory, name);
    strcpy(control->environment_name, "SOFTHSM2_CONF");
    snprintf(control->environment_value, sizeof(control->environment_value), "%s/%s.conf",
             directory, name);
    return control;
}

void faulty_member_token(const char *directory, const char *name)
{
    faulty_member_shell("umask 077; printf " FAULTY_MEMBER_PIN " > %s/pin; SOFTHSM2_CONF=%s/%s.conf"
                        " softhsm2-util --init-token --free --label member --pin " FAULTY_MEMBER_PIN
                        " --so-pin " FAULTY_MEMBER_PIN " > /dev/null",
                        directory, directory, name);
}
