/* SPDX-License-Identifier: Apache-2.0 */
/* Data from one encrypted volume to another, through qemu-img. */
#include "cli/disk_move.h"

#include <string.h>
#include <unistd.h>

/* QEMU's option text; a comma in a name is written twice. */
static bool image_options(struct kyok_buffer *text, const struct kyok_volume *volume,
                          const char *secret)
{
    bool qcow2 = volume->format == KYOK_VOLUME_QCOW2, good;
    good =
        kyok_buffer_printf(text, "driver=%s,%s=%s,file.driver=%s,file.locking=off,file.filename=",
                           qcow2 ? "qcow2" : "luks", qcow2 ? "encrypt.key-secret" : "key-secret",
                           secret, volume->block_device ? "host_device" : "file");
    for (const char *at = volume->path; *at && good; at++)
        good = (*at != ',' || kyok_buffer_append(text, ",", 1)) && kyok_buffer_append(text, at, 1);
    return good && kyok_buffer_append(text, "", 1);
}

static void close_pipes(int pipes[2])
{
    for (int i = 0; i < 2; i++)
        if (pipes[i] >= 0)
            close(pipes[i]);
}

enum kyok_status disk_copy_data(struct cli *cli, const struct kyok_volume *from,
                                struct kyok_bytes old, const struct kyok_volume *to,
                                struct kyok_bytes fresh)
{
    char objects[2][64];
    int pipes[2] = {program_secret(old), program_secret(fresh)};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer source = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer target = {0};
    for (int i = 0; i < 2; i++)
        snprintf(objects[i], sizeof(objects[i]), "secret,id=s%d,file=/dev/fd/%d", i, pipes[i]);
    const char *argv[] = {"qemu-img", "convert",      "-n",
                          "--object", objects[0],     "--object",
                          objects[1], "--image-opts", "--target-image-opts",
                          NULL,       NULL,           NULL};
    enum kyok_status status = KYOK_SYSTEM;
    if (pipes[0] < 0 || pipes[1] < 0 || !image_options(&source, from, "s0") ||
        !image_options(&target, to, "s1")) {
        kyok_fail(&cli->error, KYOK_SYSTEM, from->path, "qemu-img cannot be prepared");
    } else {
        argv[9] = (const char *)source.data;
        argv[10] = (const char *)target.data;
        status = program_run(argv, (const int[]){pipes[0], pipes[1], -1}, 0, NULL, &cli->error);
    }
    close_pipes(pipes);
    return status;
}
