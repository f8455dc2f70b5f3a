/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS#11 module may hang or crash and libvirtd may not answer: the work runs in a child. */
#include "libvirt-hook/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 8192

struct child {
    pid_t pid;
    int pidfd, messages;
    size_t size;
    char text[MESSAGE_MAX];
};

static const char *vm_name(const struct hook_request *request)
{
    return request->domain_count && request->domains[0].name ? request->domains[0].name : "";
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void become_worker(const struct hook_request *request, hook_worker *work, pid_t parent,
                          int messages)
{
    const struct rlimit no_core = {0, 0};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it died before, and nobody holds the deadline */
    setrlimit(RLIMIT_CORE, &no_core);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(messages, 2) < 0)
        _exit(1);
    _exit(work(request));
}

static bool start(const struct hook_request *request, hook_worker *work, struct child *child)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t parent = getpid();
    child->pid = fork();
    if (child->pid == 0)
        become_worker(request, work, parent, ends[1]);
    close(ends[1]);
    child->messages = ends[0];
    if (child->pid < 0)
        return false;
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    return child->pidfd >= 0;
}

/* Keeps the beginning; what is too long is read and dropped, so that the writer never waits. */
static void take_messages(struct child *child)
{
    char rest[1024];
    bool full = child->size >= MESSAGE_MAX - 1;
    ssize_t got =
        full ? read(child->messages, rest, sizeof(rest))
             : read(child->messages, child->text + child->size, MESSAGE_MAX - 1 - child->size);
    if (got > 0 && !full)
        child->size += (size_t)got;
    if (got == 0 || (got < 0 && errno != EINTR)) {
        close(child->messages);
        child->messages = -1; /* poll() passes over it */
    }
}

/* True when the child ended; false at the deadline. */
static bool watch(struct child *child, int64_t deadline)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = child->pidfd, .events = POLLIN},
                                {.fd = child->messages, .events = POLLIN}};
        int64_t left = deadline - now_ms();
        if (left <= 0)
            return false;
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
            return false;
        if (fds[1].revents)
            take_messages(child);
        else if (fds[0].revents)
            return true;
    }
}

/* The work's exit code, or 1 and a message for a crash. */
static int judge(const struct hook_request *request, struct child *child)
{
    int status = 0;
    waitpid(child->pid, &status, 0);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    fprintf(stderr, "kyok: VM %s: the worker crashed (signal %d) while %s; see kyok doctor\n",
            vm_name(request), WTERMSIG(status), request->progress->doing);
    return 1;
}

static int give_up(const struct hook_request *request, struct child *child)
{
    kill(child->pid, SIGKILL);
    fprintf(stderr, "kyok: VM %s: the deadline of %u ms passed while %s; %s\n", vm_name(request),
            request->timeout_ms, request->progress->doing, request->progress->remedy);
    return 1;
}

static void child_end(struct child *child)
{
    if (child->messages >= 0)
        close(child->messages);
    if (child->pidfd >= 0)
        close(child->pidfd);
}

/* One child's life. Its messages are shown unless another try follows. */
static int try_once(const struct hook_request *request, hook_worker *work, int64_t deadline,
                    bool last)
{
    struct child child = {.messages = -1, .pidfd = -1};
    int result = 1;
    if (!start(request, work, &child))
        fprintf(stderr, "kyok: no process for the hook's work: %s\n", strerror(errno));
    else if (!watch(&child, deadline))
        result = give_up(request, &child);
    else
        result = judge(request, &child);
    if (result != HOOK_AWAY || last)
        fwrite(child.text, 1, child.size, stderr);
    child_end(&child);
    return result;
}

/* Different for each hook of many that began together. */
static void pause_before(unsigned try)
{
    struct timespec wait = {.tv_nsec = (long)(20 + getpid() % 61) * 1000000 * try};
    nanosleep(&wait, NULL);
}

/* A custodian that is away is asked again by a new process, which loads the module anew:
 * SoftHSM 2.6 for one shows no token to a process that starts while another logs in. */
int hook_supervise(const struct hook_request *given, hook_worker *work)
{
    int64_t start_ms = now_ms();
    struct hook_request request = *given;
    request.progress = mmap(NULL, sizeof(*request.progress), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (request.progress == MAP_FAILED)
        return 1;
    snprintf(request.progress->doing, sizeof(request.progress->doing), "beginning");
    for (unsigned try = 1;; try++) {
        bool last = try == HOOK_TRIES || now_ms() - start_ms > request.timeout_ms / 3;
        int result = try_once(&request, work, start_ms + given->timeout_ms, last);
        if (result != HOOK_AWAY || last)
            return result ? 1 : 0;
        pause_before(try);
        int64_t left = start_ms + given->timeout_ms - now_ms();
        request.timeout_ms = left > 400 ? (unsigned)left : 400;
    }
}
