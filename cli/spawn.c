/* SPDX-License-Identifier: Apache-2.0 */
/* The command calling itself, for what may hang or crash: asking a module about itself. */
#include "cli/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)1 << 20)

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static enum kyok_status start(const char *const *arguments, int output, pid_t *pid,
                              struct kyok_error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    errno = posix_spawn(pid, "/proc/self/exe", &actions, NULL, (char *const *)(uintptr_t)arguments,
                        environ);
    posix_spawn_file_actions_destroy(&actions);
    return errno == 0 ? KYOK_OK : kyok_fail_errno(err, arguments[0], "a child cannot be started");
}

static enum kyok_status read_output(int fd, const char *object, struct kyok_deadline deadline,
                                    struct kyok_buffer *output, struct kyok_error *err)
{
    for (;;) {
        struct pollfd poller = {fd, POLLIN, 0};
        int ready = poll(&poller, 1, kyok_deadline_left_ms(deadline));
        if (ready == 0)
            return kyok_fail(err, KYOK_TIMEOUT, object, "this module does not answer");
        uint8_t *room = kyok_buffer_reserve(output, 4096);
        if (room == NULL)
            return kyok_fail(err, KYOK_FAULT, object, "this module has too much to say");
        ssize_t got = ready < 0 ? -1 : read(fd, room, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kyok_fail_errno(err, object, "the child's answer cannot be read");
        if (got == 0)
            return KYOK_OK;
        output->size += (size_t)got;
    }
}

static enum kyok_status parse_output(const struct kyok_buffer *output, const char *object,
                                     int status, json_t **answer, struct kyok_error *err)
{
    json_error_t ignored;
    *answer =
        json_loadb((const char *)output->data, output->size, JSON_REJECT_DUPLICATES, &ignored);
    if (json_is_object(*answer))
        return KYOK_OK;
    json_decref(*answer);
    *answer = NULL;
    if (WIFSIGNALED(status)) {
        kyok_fail(err, KYOK_FAULT, object, "this module brings its process down");
        return kyok_because(err, "%s", strsignal(WTERMSIG(status)));
    }
    return kyok_fail(err, KYOK_FAULT, object, "this module ends its process (exit %d)",
                     WEXITSTATUS(status));
}

enum kyok_status cli_spawn(const char *const *arguments, const char *object,
                           struct kyok_deadline deadline, json_t **answer, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {.limit = OUTPUT_MAX};
    KYOK_CLEANUP(close_file) int from = -1;
    KYOK_CLEANUP(close_file) int to = -1;
    int ends[2], status = 0;
    pid_t pid = -1;
    *answer = NULL;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return kyok_fail_errno(err, object, "no pipe");
    from = ends[0];
    to = ends[1];
    KYOK_TRY(start(arguments, to, &pid, err));
    close_file(&to);
    enum kyok_status result = read_output(from, object, deadline, &output, err);
    if (result != KYOK_OK)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    KYOK_TRY(result);
    return parse_output(&output, object, status, answer, err);
}
