/* SPDX-License-Identifier: Apache-2.0 */
#include "common/work/work.h"
#include "qemu-secret/qemu_secret.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_KEY_SECONDS 60

static const char usage[] =
    "usage: kyok-qemu-secret [OPTIONS] --disk ID=IMAGE ... -- COMMAND ...\n"
    "       kyok-qemu-secret [OPTIONS] --disk ID=IMAGE --qmp SOCKET [--device DRIVER,...]\n"
    "Opens the disks' records and runs COMMAND with each @ID@ replaced by /dev/fd/N, a pipe that\n"
    "holds the passphrase: --object secret,id=s0,file=@ID@\n"
    "  --disk ID=IMAGE     a disk of kyok's: raw LUKS, qcow2 or block device\n"
    "  --record ID=FILE    its record, besides IMAGE.kyok and /etc/kyok/vm\n"
    "  --kmip GROUP        the disks have no records: this KMIP group has the passphrases\n"
    "  --vm UUID           refuse records that are bound to another VM\n"
    "  --memfd             a sealed memory file, for programs that read twice\n"
    "  --keyring[=SECONDS] @ID@ is a key in the kernel's user keyring, kept for SECONDS (60):\n"
    "                      --object secret_keyring,id=s0,serial=@ID@\n"
    "  --qmp SOCKET        add the disk to a running QEMU, as block node ID\n"
    "  --device DRIVER,... and a device for it, with this QEMU -device text\n"
    "  --config FILE       instead of /etc/kyok/kyok.conf\n"
    "  --timeout SECONDS   for all custodians together (30)\n"
    "  --version, --help\n";

static int fail(const struct kyok_error *err)
{
    char text[1400];
    fprintf(stderr, "kyok-qemu-secret: %s\n", kyok_error_text(err, text, sizeof(text)));
    return kyok_status_exit_code(err->status);
}

static enum kyok_status check_id(const char *id, struct kyok_error *err)
{
    bool good = *id && strlen(id) <= 31 && isalpha((unsigned char)*id);
    for (const char *at = id; *at; at++)
        good = good && (isalnum((unsigned char)*at) || *at == '-' || *at == '_');
    return good ? KYOK_OK
                : kyok_fail(err, KYOK_INVALID, id,
                            "a disk's ID is a letter and up to 30 letters, digits, - and _");
}

static struct disk *find_disk(struct options *options, const char *id)
{
    for (size_t i = 0; i < options->disk_count; i++)
        if (strcmp(options->disks[i].id, id) == 0)
            return &options->disks[i];
    return NULL;
}

static enum kyok_status add_disk(struct options *options, char *text, bool record,
                                 struct kyok_error *err)
{
    char *value = strchr(text, '=');
    if (!value || !value[1])
        return kyok_fail(err, KYOK_INVALID, text, "expected ID=FILE");
    *value++ = 0;
    KYOK_TRY(check_id(text, err));
    struct disk *disk = find_disk(options, text);
    if (!disk && options->disk_count == QEMU_SECRET_MAX_DISKS)
        return kyok_fail(err, KYOK_INVALID, text, "more than %d disks", QEMU_SECRET_MAX_DISKS);
    if (!disk)
        disk = &options->disks[options->disk_count++];
    disk->id = text;
    const char **field = record ? &disk->record : &disk->image;
    if (*field)
        return kyok_fail(err, KYOK_INVALID, text, "the ID is given twice");
    *field = value;
    return KYOK_OK;
}

static enum kyok_status parse_seconds(const char *text, unsigned most, unsigned *seconds,
                                      struct kyok_error *err)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || number == 0 || number > most)
        return kyok_fail(err, KYOK_INVALID, text, "expected seconds from 1 to %u", most);
    *seconds = (unsigned)number;
    return KYOK_OK;
}

static enum kyok_status take_option(struct options *options, int option, struct kyok_error *err)
{
    unsigned seconds;
    switch (option) {
    case 'd':
        return add_disk(options, optarg, false, err);
    case 'r':
        return add_disk(options, optarg, true, err);
    case 'v':
        options->vm = optarg;
        return KYOK_OK;
    case 'K':
        options->kmip = optarg;
        return KYOK_OK;
    case 'm':
        options->way = WAY_MEMFD;
        return KYOK_OK;
    case 'k':
        options->way = WAY_KEYRING;
        return optarg ? parse_seconds(optarg, 86400, &options->key_seconds, err) : KYOK_OK;
    case 'q':
        options->way = WAY_QMP;
        options->qmp = optarg;
        return KYOK_OK;
    case 'D':
        options->device = optarg;
        return KYOK_OK;
    case 'c':
        options->config = optarg;
        return KYOK_OK;
    case 't':
        KYOK_TRY(parse_seconds(optarg, 3600, &seconds, err));
        options->timeout_ms = seconds * 1000;
        return KYOK_OK;
    default:
        return kyok_fail(err, KYOK_INVALID, NULL, "wrong usage; see kyok-qemu-secret --help");
    }
}

static enum kyok_status check_options(const struct options *options, struct kyok_error *err)
{
    char text[KYOK_UUID_TEXT];
    if (options->vm && !kyok_uuid_canonical(options->vm, text))
        return kyok_fail(err, KYOK_INVALID, options->vm, "--vm wants a UUID");
    if (options->disk_count == 0)
        return kyok_fail(err, KYOK_INVALID, NULL, "no --disk is given");
    for (size_t i = 0; i < options->disk_count; i++)
        if (!options->disks[i].image)
            return kyok_fail(err, KYOK_INVALID, options->disks[i].id,
                             "--record is given without --disk");
    bool command = options->command && *options->command;
    if (options->way == WAY_QMP ? command || options->disk_count > 1 : !command)
        return kyok_fail(err, KYOK_INVALID, NULL,
                         "expected -- COMMAND, or --qmp with one disk and no command");
    if (options->device && options->way != WAY_QMP)
        return kyok_fail(err, KYOK_INVALID, NULL, "--device goes with --qmp");
    return KYOK_OK;
}

static enum kyok_status parse_options(int argc, char **argv, struct options *options,
                                      struct kyok_error *err)
{
    static const struct option table[] = {
        {"disk", required_argument, NULL, 'd'},
        {"record", required_argument, NULL, 'r'},
        {"vm", required_argument, NULL, 'v'},
        {"memfd", no_argument, NULL, 'm'},
        {"keyring", optional_argument, NULL, 'k'},
        {"qmp", required_argument, NULL, 'q'},
        {"device", required_argument, NULL, 'D'},
        {"config", required_argument, NULL, 'c'},
        {"timeout", required_argument, NULL, 't'},
        {"kmip", required_argument, NULL, 'K'},
        {NULL, 0, NULL, 0},
    };
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+", table, NULL)) != -1)
        KYOK_TRY(take_option(options, option, err));
    options->command = argv + optind;
    return check_options(options, err);
}

static enum kyok_status add_keys(struct options *options, struct kyok_error *err)
{
    for (size_t i = 0; i < options->disk_count; i++)
        KYOK_TRY(keyring_add(&options->disks[i], options->key_seconds, err));
    return KYOK_OK;
}

static enum kyok_status deliver(struct options *options, struct kyok_error *err)
{
    KYOK_TRY(disks_open(options, err));
    if (options->way == WAY_QMP)
        return qmp_add_disk(options, &options->disks[0], err);
    if (options->way == WAY_KEYRING)
        KYOK_TRY(add_keys(options, err));
    KYOK_TRY(command_substitute(options, err));
    disks_close(options);
    execvp(options->command[0], options->command);
    return kyok_fail_errno(err, options->command[0], "the program cannot be run");
}

int main(int argc, char **argv)
{
    struct options options = {.timeout_ms = DEFAULT_TIMEOUT_MS, .key_seconds = DEFAULT_KEY_SECONDS};
    struct kyok_error err;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return puts("kyok-qemu-secret " KYOK_VERSION) < 0;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage, stdout) < 0;
    kyok_secret_harden_process();
    enum kyok_status status = parse_options(argc, argv, &options, &err);
    if (status == KYOK_OK)
        status = deliver(&options, &err);
    disks_close(&options);
    int code = status == KYOK_OK ? 0 : fail(&err);
    /* A call that outlived its deadline must not see the destructors of its module's library. */
    struct kyok_work_figures figures;
    kyok_work_figures(&figures);
    if (figures.threads > 0)
        _exit(code);
    return code;
}
