/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faulty_control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAULTY_NAME(name) #name,
const char *const faulty_function_names[FAULTY_FUNCTION_COUNT] = {FAULTY_FUNCTIONS(FAULTY_NAME)};
#undef FAULTY_NAME

int faulty_function_by_name(const char *name)
{
    for (int i = 0; i < FAULTY_FUNCTION_COUNT; i++) {
        if (strcmp(faulty_function_names[i], name) == 0)
            return i;
    }
    return -1;
}

static struct faulty_control *map(int fd)
{
    void *address =
        mmap(NULL, sizeof(struct faulty_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    errno = error;
    return address == MAP_FAILED ? NULL : address;
}

struct faulty_control *faulty_control_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return NULL;
    /* The umask does not apply: workers of another user must be able to write. */
    if (fchmod(fd, 0666) != 0 || ftruncate(fd, sizeof(struct faulty_control)) != 0) {
        close(fd);
        return NULL;
    }
    struct faulty_control *control = map(fd);
    if (control == NULL)
        return NULL;
    memset(control, 0, sizeof(*control));
    control->magic = FAULTY_MAGIC;
    control->version = FAULTY_VERSION;
    return control;
}

struct faulty_control *faulty_control_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(struct faulty_control)) {
        close(fd);
        errno = EINVAL;
        return NULL;
    }
    struct faulty_control *control = map(fd);
    if (control != NULL && (control->magic != FAULTY_MAGIC || control->version != FAULTY_VERSION)) {
        faulty_control_close(control);
        errno = EINVAL;
        return NULL;
    }
    return control;
}

void faulty_control_close(struct faulty_control *control)
{
    munmap(control, sizeof(*control));
}

void faulty_control_release(struct faulty_control *control)
{
    for (int i = 0; i < FAULTY_FUNCTION_COUNT; i++)
        atomic_store(&control->functions[i].hang_calls, 0);
    atomic_fetch_add(&control->release, 1);
    syscall(SYS_futex, &control->release, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void faulty_control_wait_release(struct faulty_control *control, uint32_t seen)
{
    while (atomic_load(&control->release) == seen)
        syscall(SYS_futex, &control->release, FUTEX_WAIT, seen, NULL, NULL, 0);
}

uint32_t faulty_control_sessions(struct faulty_control *control)
{
    uint32_t sum = 0;
    for (int i = 0; i < FAULTY_PROCESSES; i++) {
        int32_t pid = atomic_load(&control->processes[i].pid);
        if (pid == 0)
            continue;
        if (kill(pid, 0) != 0 && errno == ESRCH) {
            /* It died without closing: a token frees such a client's sessions as well. */
            atomic_store(&control->processes[i].sessions, 0);
            atomic_store(&control->processes[i].hanging, 0);
            atomic_compare_exchange_strong(&control->processes[i].pid, &pid, 0);
            continue;
        }
        sum += (uint32_t)atomic_load(&control->processes[i].sessions);
    }
    return sum;
}

uint32_t faulty_control_hanging(struct faulty_control *control)
{
    uint32_t sum = 0;
    faulty_control_sessions(control); /* frees the entries of the dead */
    for (int i = 0; i < FAULTY_PROCESSES; i++)
        sum += (uint32_t)atomic_load(&control->processes[i].hanging);
    return sum;
}
