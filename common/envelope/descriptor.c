/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/descriptor.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* True if the call is worth repeating; waits until a non-blocking descriptor is ready. */
static bool retry(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};

    if (errno == EINTR)
        return true;
    return (errno == EAGAIN || errno == EWOULDBLOCK) &&
           (poll(&ready, 1, -1) >= 0 || errno == EINTR);
}

/* Waits until there is something to read; false when the reading was stopped meanwhile. */
static bool may_read(const struct kyok_source *source)
{
    struct pollfd ready[] = {{.fd = source->fd, .events = POLLIN},
                             {.fd = source->stop != NULL ? *source->stop : -1, .events = POLLIN}};

    if (source->stop == NULL)
        return true;
    while (poll(ready, 2, -1) < 0 && errno == EINTR)
        continue;
    return ready[1].revents == 0;
}

static size_t take_begun(struct kyok_source *source, uint8_t *data, size_t size)
{
    size_t taken = source->begun.size < size ? source->begun.size : size;

    if (taken == 0) /* begun may have no address at all */
        return 0;
    memcpy(data, source->begun.data, taken);
    source->begun = kyok_bytes(source->begun.data + taken, source->begun.size - taken);
    return taken;
}

enum kyok_status kyok_source_read(struct kyok_source *source, uint8_t *data, size_t size,
                                  size_t *got, struct kyok_error *err)
{
    *got = take_begun(source, data, size);
    while (*got < size) {
        ssize_t count;

        if (!may_read(source))
            return kyok_fail(err, KYOK_CANCELLED, NULL, "reading was stopped");
        count = read(source->fd, data + *got, size - *got);
        if (count == 0)
            break;
        if (count > 0)
            *got += (size_t)count;
        else if (!retry(source->fd, POLLIN))
            return kyok_fail_errno(err, NULL, "reading the input failed");
    }
    return KYOK_OK;
}

enum kyok_status kyok_descriptor_write(int fd, struct kyok_bytes bytes, struct kyok_error *err)
{
    while (bytes.size > 0) {
        ssize_t count = write(fd, bytes.data, bytes.size);

        if (count >= 0)
            bytes = kyok_bytes(bytes.data + count, bytes.size - (size_t)count);
        else if (!retry(fd, POLLOUT))
            return kyok_fail_errno(err, NULL, "writing the output failed");
    }
    return KYOK_OK;
}
