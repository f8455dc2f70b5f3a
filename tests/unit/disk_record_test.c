/* SPDX-License-Identifier: Apache-2.0 */
/* Disk records: what they are bound to, and every refusal that comes before a custodian is asked.
 */
#include "common/disk/record.h"
#include "tests/support/memory_keyholder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LUKS "6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11"
#define OTHER "7e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11"
#define VM "8e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11"

static struct memory_keys keys;
static struct kyok_keyholder holder;
static struct kyok_context *context;

static int set_up(void **state)
{
    (void)state;
    struct kyok_error err;
    memory_add(&keys, "pkcs11:object=a", 1, NULL);
    memory_add(&keys, "pkcs11:object=r", 0, EVP_RSA_gen(2048));
    holder = memory_keyholder(&keys);
    return kyok_context_new(kyok_config_new(), &context, &err) == KYOK_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kyok_context_free(context);
    EVP_PKEY_free(keys.keys[1].pkey);
    return 0;
}

static void owners(void **state)
{
    (void)state;
    static const struct {
        struct kyok_record_binding binding;
        const char *owner;
    } cases[] = {
        {{.luks_uuid = LUKS}, "luks:" LUKS " vm:none"},
        {{.luks_uuid = LUKS, .any_vm = true}, "luks:" LUKS " vm:any"},
        {{.luks_uuid = LUKS, .vm_uuid = VM}, "luks:" LUKS " vm:" VM},
        {{.vtpm_uuid = OTHER, .vm_uuid = VM}, "vtpm:" OTHER " vm:" VM},
        {{.luks_uuid = "6E1C9A1E-3A5C-4D6F-9D52-0C2B4D1F6B11"}, "luks:" LUKS " vm:none"},
    };
    char owner[KYOK_RECORD_OWNER_TEXT], volume[KYOK_UUID_TEXT], vm[KYOK_UUID_TEXT];
    struct kyok_error err;
    bool vtpm;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(kyok_record_owner(&cases[i].binding, owner, &err), KYOK_OK);
        assert_string_equal(owner, cases[i].owner);
        assert_true(kyok_record_owner_parse(owner, &vtpm, volume, vm));
        assert_true(vtpm == (cases[i].binding.vtpm_uuid != NULL));
    }
    const struct kyok_record_binding bad = {.luks_uuid = "x"},
                                     bad_vm = {.luks_uuid = LUKS, .vm_uuid = "any"};
    assert_int_equal(kyok_record_owner(&bad, owner, &err), KYOK_INVALID);
    assert_int_equal(kyok_record_owner(&bad_vm, owner, &err), KYOK_INVALID);
}

static void strange_owners_are_refused(void **state)
{
    (void)state;
    static const char *const owners_of_others[] = {
        "",
        "luks:",
        "disk:" LUKS " vm:any",
        "luks:" LUKS,
        "luks:" LUKS " vm:",
        "luks:" LUKS " vm:all",
        "luks:" LUKS " vm:any ",
        "luks:" LUKS "  vm:any",
        "luks:zz1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11 vm:any",
        "luks:" LUKS " vm:" VM "0"};
    char volume[KYOK_UUID_TEXT], vm[KYOK_UUID_TEXT];
    bool vtpm;
    for (size_t i = 0; i < sizeof(owners_of_others) / sizeof(owners_of_others[0]); i++)
        assert_false(kyok_record_owner_parse(owners_of_others[i], &vtpm, volume, vm));
}

/* Seals with keys in memory, which the real key layer then does not know. */
static void add_sealed(struct kyok_record_copies *copies, const char *policy_text, const char *use,
                       const char *owner, uint64_t generation)
{
    struct kyok_policy *policy = NULL;
    struct kyok_error err;
    const struct kyok_envelope_claims claims = {use, owner, generation};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    assert_int_equal(kyok_policy_parse(policy_text, KYOK_FROM_CONFIGURATION, NULL, &policy, &err),
                     KYOK_OK);
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes_of_text("p"), NULL, &json, &err),
                     KYOK_OK);
    kyok_policy_free(policy);
    assert_int_equal(kyok_record_copies_add(copies, "test", false, kyok_buffer_bytes(&json), &err),
                     KYOK_OK);
}

static void refusals_before_any_custodian(void **state)
{
    (void)state;
    static const struct {
        const char *policy, *use, *owner, *says;
    } cases[] = {
        {"pkcs11:object=a", "vm-disk", "luks:" OTHER " vm:" VM, "another volume"},
        {"pkcs11:object=a", "vm-disk", "luks:" LUKS " vm:" OTHER, "another VM"},
        {"pkcs11:object=a", "vm-disk", "luks:" LUKS " vm:none", "no VM yet"},
        {"pkcs11:object=a", "vm-disk", "vtpm:" LUKS " vm:" VM, "another vTPM"},
        {"pkcs11:object=a", "vm-disk", "something", "no disk"},
        {"pkcs11:object=a", "backup", "luks:" LUKS " vm:" VM, "no disk record"},
        {"pkcs11:object=r", "vm-disk", "luks:" LUKS " vm:" VM, "public keys only"},
    };
    const struct kyok_record_binding binding = {.luks_uuid = LUKS, .vm_uuid = VM};
    const struct kyok_volume volume = {.fd = -1};
    struct kyok_record_opened opened;
    struct kyok_error err;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
        add_sealed(&copies, cases[i].policy, cases[i].use, cases[i].owner, 1);
        assert_int_equal(kyok_record_open(context, &copies, &binding, &volume, 1000, &opened, &err),
                         KYOK_REFUSED);
        if (!strstr(err.what, cases[i].says))
            fail_msg("case %zu: %s", i, err.what);
        assert_null(opened.passphrase);
    }
}

/* One that may be tried goes on to the custodian, which here is unknown. */
static void a_good_record_reaches_its_custodian(void **state)
{
    (void)state;
    static const char *const policies[] = {"pkcs11:object=a",
                                           "all-of(pkcs11:object=r, pkcs11:object=a)"};
    const struct kyok_record_binding binding = {.luks_uuid = LUKS, .vm_uuid = VM},
                                     administrator = {.luks_uuid = LUKS};
    const struct kyok_volume volume = {.fd = -1};
    struct kyok_record_opened opened;
    struct kyok_error err;
    for (size_t i = 0; i < 2; i++) {
        KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
        add_sealed(&copies, policies[i], "vm-disk", "luks:" LUKS " vm:" VM, 1);
        kyok_record_open(context, &copies, &binding, &volume, 1000, &opened, &err);
        assert_string_not_equal(opened.key, "");
        kyok_record_open(context, &copies, &administrator, &volume, 1000, &opened, &err);
        assert_string_not_equal(opened.key, "");
    }
}

static void copies_are_bounded(void **state)
{
    (void)state;
    KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer large = {0};
    const struct kyok_record_binding binding = {.luks_uuid = LUKS};
    struct kyok_record_opened opened;
    struct kyok_error err;
    assert_int_equal(kyok_record_open(context, &copies, &binding, NULL, 1000, &opened, &err),
                     KYOK_NOT_FOUND);
    assert_non_null(kyok_buffer_reserve(&large, KYOK_RECORD_MAX + 1));
    large.size = KYOK_RECORD_MAX + 1;
    memset(large.data, ' ', large.size);
    assert_int_equal(kyok_record_copies_add(&copies, "t", false, kyok_buffer_bytes(&large), &err),
                     KYOK_INVALID);
    for (size_t i = 0; i < KYOK_RECORD_MAX_COPIES; i++)
        assert_int_equal(
            kyok_record_copies_add(&copies, "t", false, kyok_bytes_of_text("{}"), &err), KYOK_OK);
    assert_int_equal(kyok_record_copies_add(&copies, "t", false, kyok_bytes_of_text("{}"), &err),
                     KYOK_INVALID);
    assert_int_not_equal(kyok_record_open(context, &copies, &binding, NULL, 1000, &opened, &err),
                         KYOK_OK);
}

static void files_are_read_with_care(void **state)
{
    (void)state;
    char folder[] = "/tmp/kyok-record.XXXXXX";
    struct kyok_error err;
    KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(kyok_record_copies_read(&copies, "absent.kyok", &err), KYOK_OK);
    assert_int_equal(copies.count, 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(kyok_record_copies_read(&copies, "fifo", &err), KYOK_INVALID);
    assert_int_equal(system("echo '{}' > a; echo '{}' > a.next; truncate -s 1M large"), 0);
    assert_int_equal(kyok_record_copies_read(&copies, "large", &err), KYOK_INVALID);
    assert_int_equal(kyok_record_copies_read(&copies, "a", &err), KYOK_OK);
    assert_int_equal(copies.count, 2);
    assert_false(copies.list[0].pending);
    assert_true(copies.list[1].pending);
    assert_int_equal(copies.list[0].json.size, 2); /* the final newline is not the record's */
    assert_int_equal(system("rm -f fifo a a.next large"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners),
        cmocka_unit_test(strange_owners_are_refused),
        cmocka_unit_test(refusals_before_any_custodian),
        cmocka_unit_test(a_good_record_reaches_its_custodian),
        cmocka_unit_test(copies_are_bounded),
        cmocka_unit_test(files_are_read_with_care),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
