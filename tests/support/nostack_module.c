/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded: no memory for the stacks of fibers, which the nginx module maps without access and
 * with MAP_STACK. Threads' own are mapped inside the C library, out of reach.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *mmap(void *where, size_t size, int access, int flags, int fd, off_t from)
{
    if ((flags & MAP_STACK) && access == PROT_NONE) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, where, size, access, flags, fd, from);
}

/* Its name where files have 64-bit offsets. */
void *mmap64(void *where, size_t size, int access, int flags, int fd, off64_t from)
    __attribute__((alias("mmap")));
