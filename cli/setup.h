/* SPDX-License-Identifier: Apache-2.0 */
/* Private to setup: what it found, and what it writes and prints of it. */
#ifndef KYOK_CLI_SETUP_H
#define KYOK_CLI_SETUP_H

#include "cli/cli.h"

/* The first line of a kyok.conf that setup made. */
#define SETUP_MARK "# Made by \"kyok setup\"; \"kyok setup --undo\" takes it back.\n"
#define SETUP_GROUPS_MAX 64

/* Tokens of one module with one label: vendors clone them so. */
struct setup_group {
    char name[65];
    char *module;
    char *label;
    char *pin_source;
    json_t *mechanisms; /* what every token of the group has */
    size_t tokens;
};

struct setup {
    struct cli *cli;
    const char *path;
    struct setup_group groups[SETUP_GROUPS_MAX];
    size_t group_count;
    json_t *problems;  /* modules that could not be asked */
    const char *kmip;  /* --kmip: the name of its group, or NULL */
    json_t *endpoints; /* its servers, once tried */
    struct kyok_buffer conf, openssl, nginx, libvirt, credentials;
};

enum kyok_status setup_no_memory(struct setup *setup);
bool setup_has_word(const json_t *words, const char *word);
/* Asks the modules, fills groups and problems. */
enum kyok_status setup_find_tokens(struct setup *setup);
/* --kmip and what belongs to it: checked, written into conf, tried with --test, printed. */
enum kyok_status setup_check_kmip(struct setup *setup);
enum kyok_status setup_write_kmip(struct setup *setup);
enum kyok_status setup_test_kmip(struct setup *setup, const struct kyok_config *config);
void setup_print_kmip(const struct setup *setup);
/* Fills conf, and the lines for programs. */
enum kyok_status setup_write_texts(struct setup *setup);
/* Prints it all; written: setup->path has it. */
enum kyok_status setup_report(struct setup *setup, bool written);

#endif
