/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/kmip_peer.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *kmip_peer_tool(void)
{
    const char *build = getenv("BUILD");
    static char path[512];

    snprintf(path, sizeof path, "%s/tests/support/kmip_server_tool",
             build != NULL ? build : "build");
    return path;
}

bool kmip_peer_certificates(char directory[64])
{
    char command[128];

    snprintf(directory, 64, "/tmp/kyok-kmip-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return false;
    snprintf(command, sizeof command, "tests/support/certs.sh %s", directory);
    return system(command) == 0;
}

void kmip_peer_remove(const char *directory)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %.64s", directory);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", directory);
}

static void become_server(const char *certificates, int in, int out)
{
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execl(kmip_peer_tool(), kmip_peer_tool(), "--certs", certificates, (char *)NULL);
    _exit(127);
}

bool kmip_peer_start(struct kmip_peer *peer, const char *certificates)
{
    int in[2], out[2];
    char line[256];

    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return false;
    peer->pid = fork();
    if (peer->pid == 0)
        become_server(certificates, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    peer->to = fdopen(in[1], "w");
    peer->from = fdopen(out[0], "r");
    return fgets(line, sizeof line, peer->from) != NULL &&
           sscanf(line, "port %d", &peer->port) == 1;
}

/* It ends when its standard input does. */
void kmip_peer_stop(struct kmip_peer *peer)
{
    fclose(peer->to);
    fclose(peer->from);
    waitpid(peer->pid, NULL, 0);
}

const char *kmip_peer_tell(struct kmip_peer *peer, const char *format, ...)
{
    static char line[1024];
    va_list list;

    va_start(list, format);
    vfprintf(peer->to, format, list);
    va_end(list);
    fputc('\n', peer->to);
    fflush(peer->to);
    return fgets(line, sizeof line, peer->from);
}

long kmip_peer_stat(struct kmip_peer *peer, const char *name)
{
    const char *line = kmip_peer_tell(peer, "stats"), *at;
    char wanted[64];

    snprintf(wanted, sizeof wanted, " %s=", name);
    at = line == NULL ? NULL : strstr(line, wanted);
    return at == NULL ? 0 : strtol(at + strlen(wanted), NULL, 10);
}
