/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)32 << 20)

bool program_exists(const char *name)
{
    const char *path = getenv("PATH");
    KYOK_AUTO_FREE char *copy = strdup(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    for (char *rest = copy, *folder; rest && (folder = strsep(&rest, ":"));) {
        char file[PATH_MAX];
        int size = snprintf(file, sizeof(file), "%s/%s", folder, name);
        if (size > 0 && (size_t)size < sizeof(file) && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

int program_secret(struct kyok_bytes passphrase)
{
    int ends[2];
    if (passphrase.size > 4096 || pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    bool good = write(ends[1], passphrase.data, passphrase.size) == (ssize_t)passphrase.size;
    close(ends[1]);
    if (good)
        return ends[0];
    close(ends[0]);
    return -1;
}

struct program {
    pid_t pid;
    int pidfd, streams[2]; /* standard output and error */
    struct kyok_buffer text[2];
};

static void program_end(struct program *program)
{
    for (size_t i = 0; i < 2; i++) {
        if (program->streams[i] >= 0)
            close(program->streams[i]);
        kyok_buffer_free(&program->text[i]);
    }
    if (program->pidfd >= 0)
        close(program->pidfd);
}

static void become(const char *const *argv, const int *fds, int input, const int outputs[2])
{
    int null = input >= 0 ? input : open("/dev/null", O_RDONLY | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setenv("LC_ALL", "C", 1);
    for (; fds && *fds >= 0; fds++)
        fcntl(*fds, F_SETFD, 0);
    if (null >= 0 && dup2(null, 0) == 0 && dup2(outputs[0], 1) == 1 && dup2(outputs[1], 2) == 2)
        execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(2, "%s", strerror(errno));
    _exit(127);
}

static bool program_start(struct program *program, const char *const *argv, const int *fds,
                          int input)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1};
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0)
        return false;
    program->streams[0] = out[0];
    program->streams[1] = errors[0];
    program->pid = fork();
    if (program->pid == 0)
        become(argv, fds, input, (int[]){out[1], errors[1]});
    close(out[1]);
    close(errors[1]);
    program->pidfd = program->pid > 0 ? (int)syscall(SYS_pidfd_open, program->pid, 0) : -1;
    return program->pidfd >= 0;
}

/* False when the stream ended. */
static bool take(struct program *program, size_t stream)
{
    struct kyok_buffer *text = &program->text[stream];
    text->limit = OUTPUT_MAX;
    uint8_t *room = kyok_buffer_reserve(text, 65536);
    ssize_t got = room ? read(program->streams[stream], room, 65536) : 0;
    if (got < 0 && errno == EINTR)
        return true;
    text->size += got > 0 ? (size_t)got : 0;
    return got > 0;
}

static bool program_wait(struct program *program, struct kyok_deadline deadline)
{
    bool open[2] = {true, true};
    for (;;) {
        struct pollfd fds[3] = {{.fd = open[0] ? program->streams[0] : -1, .events = POLLIN},
                                {.fd = open[1] ? program->streams[1] : -1, .events = POLLIN},
                                {.fd = open[0] || open[1] ? -1 : program->pidfd, .events = POLLIN}};
        int ready = poll(fds, 3, kyok_deadline_left_ms(deadline));
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return false;
        for (size_t i = 0; ready > 0 && i < 2; i++)
            if (fds[i].revents)
                open[i] = take(program, i);
        if (ready > 0 && fds[2].revents)
            return true;
    }
}

/* What is worth repeating of a line: libvirt puts the hook's whole environment before what the hook
 * says, and "error: " is kyok's own job. */
static char *essence(char *line)
{
    char *said = strstr(line, ": kyok: ");
    if (said)
        return said + strlen(": kyok: ");
    return strncmp(line, "error: ", 7) == 0 ? line + 7 : line;
}

/* The last lines are the ones that say why. */
static void append_reason(char *text, char *what, size_t size)
{
    size_t length = 0;
    what[0] = 0;
    for (char *rest = text, *line; rest && (line = strsep(&rest, "\n"));) {
        line = essence(line);
        if (*line && length < size)
            length +=
                (size_t)snprintf(what + length, size - length, "%s%s", length ? ": " : "", line);
    }
}

static enum kyok_status judge(struct program *program, const char *name, struct kyok_error *err)
{
    int status = 0;
    char what[300];
    waitpid(program->pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return KYOK_OK;
    kyok_buffer_append(&program->text[1], "", 1);
    append_reason((char *)program->text[1].data, what, sizeof(what));
    return kyok_fail(err, KYOK_REFUSED, name, "%s", *what ? what : "the program failed silently");
}

enum kyok_status program_run(const char *const *argv, const int *fds, unsigned timeout_ms,
                             struct kyok_buffer *output, struct kyok_error *err)
{
    return program_feed(argv, fds, -1, timeout_ms, output, err);
}

enum kyok_status program_feed(const char *const *argv, const int *fds, int input,
                              unsigned timeout_ms, struct kyok_buffer *output,
                              struct kyok_error *err)
{
    KYOK_CLEANUP(program_end) struct program program = {.pidfd = -1, .streams = {-1, -1}};
    if (!program_start(&program, argv, fds, input))
        return kyok_fail_errno(err, argv[0], "the program cannot be run");
    if (!program_wait(&program,
                      timeout_ms ? kyok_deadline_in_ms(timeout_ms) : kyok_deadline_never())) {
        kill(program.pid, SIGKILL);
        waitpid(program.pid, NULL, 0);
        return kyok_fail(err, KYOK_TIMEOUT, argv[0], "the program does not end");
    }
    KYOK_TRY(judge(&program, argv[0], err));
    if (output && !kyok_buffer_append(output, program.text[0].data, program.text[0].size))
        return kyok_fail(err, KYOK_SYSTEM, argv[0], "its output is too large");
    return KYOK_OK;
}
