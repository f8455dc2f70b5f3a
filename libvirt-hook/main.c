/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt calls: kyok VM OPERATION SUB-OPERATION EXTRA, the domain's XML on standard input; for
 * every domain of the host at every step. So this program is the C library and a glance at the XML;
 * only where that may matter to kyok is the rest loaded (handle.c). */
#include "libvirt-hook/glance.h"
#include "libvirt-hook/hook.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What libvirt tells and what kyok does then; everything else ends at once. */
static const struct {
    const char *operation, *step;
    enum hook_action action;
} moments[] = {
    {"prepare", "begin", HOOK_PREPARE}, /* the only one before libvirt looks for disk secrets */
    {"started", "begin", HOOK_RELEASE}, /* QEMU has them, the vTPM too */
    {"release", "end", HOOK_RELEASE},   /* also after a failed start */
    {"unlock", "begin", HOOK_HOLD},     /* kyok vm unlock and lock; no words of libvirt's */
    {"lock", "begin", HOOK_DROP},       {"plug", "begin", HOOK_PLUG}, /* kyok vm attach and copy */
    {"unplug", "begin", HOOK_UNPLUG},
};

static enum hook_action action_of(const char *operation, const char *step)
{
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++)
        if (strcmp(moments[i].operation, operation) == 0 && strcmp(moments[i].step, step) == 0)
            return moments[i].action;
    return HOOK_NOTHING;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One more byte than is allowed, so that too much is seen as such. */
static char *read_input(size_t *size)
{
    char *text = NULL;
    size_t room = 0;
    int64_t end = now_ms() + HOOK_TIMEOUT_MS;
    struct pollfd input = {.fd = 0, .events = POLLIN};
    for (*size = 0; *size <= DOMAIN_XML_MAX;) {
        if (*size == room) {
            room = room ? room * 2 : 65536;
            char *grown = realloc(text, room);
            if (!grown)
                break;
            text = grown;
        }
        int64_t left = end - now_ms();
        if (left <= 0 || poll(&input, 1, (int)left) <= 0)
            break;
        ssize_t got = read(0, text + *size, room - *size);
        if (got == 0)
            return text;
        if (got < 0 && errno != EINTR)
            break;
        *size += got > 0 ? (size_t)got : 0;
    }
    if (*size > DOMAIN_XML_MAX)
        return text;
    free(text);
    return NULL;
}

/* Whoever runs the hook has an environment; what names code comes from fixed places alone. */
static void clean_environment(void)
{
    static const char *const names[] = {"KYOK_CONF", "OPENSSL_CONF", "OPENSSL_MODULES",
                                        "OPENSSL_ENGINES", "SOFTHSM2_CONF"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

static int load_and_handle(const struct hook_call *call)
{
    void *library = dlopen(HOOK_HANDLER, RTLD_NOW | RTLD_LOCAL);
    hook_handler *handle = NULL;
    if (library)
        *(void **)&handle = dlsym(library, HOOK_HANDLER_SYMBOL);
    if (!handle) {
        fprintf(stderr, "kyok: %s cannot be loaded: %s; install kyok again\n", HOOK_HANDLER,
                dlerror());
        return 1;
    }
    return handle(call);
}

static bool may_matter(const struct hook_call *call)
{
    if (!call->xml || call->size > DOMAIN_XML_MAX)
        return true;
    if (call->action == HOOK_PREPARE)
        return glance_may_encrypt(call->xml, call->size) ||
               glance_may_be_in(HOOK_LOCKED, call->xml, call->size);
    if (call->action == HOOK_RELEASE)
        return glance_may_be_in(HOOK_STARTING, call->xml, call->size);
    return true;
}

static int look(enum hook_action action, const char *vm)
{
    struct hook_call call = {.action = action, .vm = vm};
    char *xml = read_input(&call.size);
    call.xml = xml;
    int result = may_matter(&call) ? load_and_handle(&call) : 0;
    free(xml);
    return result;
}

int main(int argc, char **argv)
{
    /* In events this is not the administrator's command, though libvirt's folder calls both kyok.
     */
    program_invocation_short_name = "kyok-libvirt-hook";
    clean_environment();
    if (argc == 2 && strncmp(argv[1], "--", 2) == 0)
        return load_and_handle(&(struct hook_call){.option = argv[1]});
    if (argc < 4)
        return load_and_handle(&(struct hook_call){.option = ""});
    enum hook_action action = action_of(argv[2], argv[3]);
    return action == HOOK_NOTHING ? 0 : look(action, argv[1]);
}
