/* SPDX-License-Identifier: Apache-2.0 */
/* LUKS1 headers: kyok's are opened by qemu-io and cryptsetup, theirs by kyok; a test per rule. */
#include "common/disk/luks.h"
#include "common/disk/removable.h"
#include "common/disk/uuid.h"
#include "common/disk/volume.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

static const char passphrase[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/* uuid.uuid5() of Python agrees. */
#define KNOWN_SECRET_UUID "5cf2e58a-b419-54fc-8277-ffcbb7e304ef"
static const char other[] = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
static char folder[] = "/tmp/kyok-luks.XXXXXX";

static struct kyok_bytes bytes_of(const char *text)
{
    return kyok_bytes(text, strlen(text));
}

static int set_up(void **state)
{
    (void)state;
    FILE *file;
    if (!mkdtemp(folder) || chdir(folder) != 0 || !(file = fopen("pass", "w")))
        return -1;
    fputs(passphrase, file);
    return fclose(file);
}

static int tear_down(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return chdir("/") == 0 ? system(command) : -1;
}

static void make_as(const char *path, enum kyok_volume_format format, uint64_t size)
{
    struct kyok_error err;
    struct kyok_luks luks = {.uuid = ""};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(kyok_volume_create(fd, path, format, size, bytes_of(passphrase), &luks, &err),
                     KYOK_OK);
    close(fd);
}

static void make(const char *path)
{
    make_as(path, KYOK_VOLUME_RAW, 1 << 20);
}

/* qemu-img measures the processor and under load fails with "Unable to get accurate CPU usage". */
static int run_again(const char *command)
{
    int result = -1;
    for (int i = 0; i < 10 && result != 0; i++)
        result = system(command);
    return result;
}

static enum kyok_status unlock(const char *path, const char *with)
{
    struct kyok_error err;
    struct kyok_volume volume;
    enum kyok_status status = kyok_volume_open(path, KYOK_VOLUME_READ, &volume, &err);
    if (status == KYOK_OK)
        status = kyok_volume_unlock(&volume, bytes_of(with), NULL, NULL, &err);
    kyok_volume_close(&volume);
    return status;
}

static void made_volume_opens(void **state)
{
    (void)state;
    make("own.luks");
    assert_int_equal(unlock("own.luks", passphrase), KYOK_OK);
    assert_int_equal(unlock("own.luks", other), KYOK_REFUSED);
    struct stat status;
    assert_int_equal(stat("own.luks", &status), 0);
    assert_int_equal(status.st_size, (2 << 20) + (1 << 20));
}

static bool have(const char *program)
{
    char command[128];
    snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", program);
    return system(command) == 0;
}

static void qemu_opens_own(void **state)
{
    (void)state;
    if (!have("qemu-io"))
        skip();
    make("q.luks");
    assert_int_equal(system("qemu-io --object secret,id=s,file=pass -c 'write -P 7 0 4096' -c "
                            "'read -P 7 0 4096' --image-opts "
                            "driver=luks,key-secret=s,file.filename=q.luks >/dev/null"),
                     0);
}

static void cryptsetup_opens_own(void **state)
{
    (void)state;
    if (!have("cryptsetup"))
        skip();
    make("c.luks");
    assert_int_equal(system("cryptsetup luksOpen --test-passphrase --key-file pass c.luks"), 0);
}

static void others_volumes_open(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "qemu-img create -q --object secret,id=s,file=pass -f luks -o key-secret=s,iter-time=10 "
        "x.img 1M",
        "qemu-img create -q --object secret,id=s,file=pass -f qcow2 -o "
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 x.img 1M",
        "qemu-img create -q --object secret,id=s,file=pass -f qcow2 -o "
        "compat=0.10,encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 x.img 1M",
        "truncate -s 4M x.img && cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations "
        "1000 "
        "--cipher aes-cbc-essiv:sha256 --key-size 256 --hash sha1 --key-file pass x.img",
        "truncate -s 4M x.img && cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations "
        "1000 "
        "--cipher aes-xts-plain64 --key-size 256 --hash sha512 --key-slot 3 --key-file pass x.img",
    };
    if (!have("qemu-img") || !have("cryptsetup"))
        skip();
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        unlink("x.img");
        assert_int_equal(run_again(commands[i]), 0);
        assert_int_equal(unlock("x.img", passphrase), KYOK_OK);
        assert_int_equal(unlock("x.img", other), KYOK_REFUSED);
    }
}

static void removable_media_are_known(void **state)
{
    (void)state;
    assert_int_equal(system("mkdir -p sys/dev/block sys/disk/part sys/stick/part && "
                            "echo 0 >sys/disk/removable && echo 1 >sys/stick/removable && "
                            "cd sys/dev/block && ln -s ../../disk 8:0 && ln -s ../../disk/part 8:1 "
                            "&& ln -s ../../stick 8:16 && ln -s ../../stick/part 8:17"),
                     0);
    assert_false(kyok_device_is_removable("sys", makedev(8, 0)));
    assert_false(kyok_device_is_removable("sys", makedev(8, 1)));
    assert_true(kyok_device_is_removable("sys", makedev(8, 16)));
    assert_true(kyok_device_is_removable("sys", makedev(8, 17)));
    assert_false(kyok_device_is_removable("sys", makedev(8, 99)));
    assert_true(kyok_device_is_removable("sys", makedev(2, 0)));
    assert_true(kyok_device_is_removable("sys", makedev(11, 5)));
}

static void slots_come_and_go(void **state)
{
    (void)state;
    struct kyok_error err;
    struct kyok_volume volume;
    unsigned old, fresh;
    KYOK_AUTO_SECRET struct kyok_secret *key = NULL;
    make("s.luks");
    assert_int_equal(kyok_volume_open("s.luks", KYOK_VOLUME_WRITE, &volume, &err), KYOK_OK);
    assert_int_equal(kyok_volume_unlock(&volume, bytes_of(passphrase), &old, &key, &err), KYOK_OK);
    assert_int_equal(kyok_volume_erase_slot(&volume, old, &err), KYOK_REFUSED); /* the last one */
    assert_int_equal(
        kyok_volume_add_slot(&volume, kyok_secret_bytes(key), bytes_of(other), &fresh, &err),
        KYOK_OK);
    assert_int_not_equal(old, fresh);
    assert_int_equal(unlock("s.luks", other), KYOK_OK);
    assert_int_equal(unlock("s.luks", passphrase), KYOK_OK);
    assert_int_equal(kyok_volume_erase_slot(&volume, old, &err), KYOK_OK);
    assert_int_equal(unlock("s.luks", passphrase), KYOK_REFUSED);
    assert_int_equal(unlock("s.luks", other), KYOK_OK);
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS - 1; i++)
        assert_int_equal(
            kyok_volume_add_slot(&volume, kyok_secret_bytes(key), bytes_of(other), &fresh, &err),
            KYOK_OK);
    assert_int_equal(
        kyok_volume_add_slot(&volume, kyok_secret_bytes(key), bytes_of(other), &fresh, &err),
        KYOK_BUSY);
    kyok_volume_close(&volume);
}

/* A run that was killed between the header and the noise leaves material in a free slot. */
static void free_slots_are_scrubbed(void **state)
{
    (void)state;
    static const char left[] = "material of a slot that is free";
    char now[sizeof(left)];
    struct kyok_error err;
    struct kyok_volume volume;
    make("f.luks");
    assert_int_equal(kyok_volume_open("f.luks", KYOK_VOLUME_WRITE, &volume, &err), KYOK_OK);
    off_t at = (off_t)volume.start + (off_t)volume.luks.slots[5].offset * KYOK_LUKS_SECTOR;
    assert_false(volume.luks.slots[5].active);
    assert_int_equal(pwrite(volume.fd, left, sizeof(left), at), sizeof(left));
    assert_int_equal(kyok_volume_scrub_free_slots(&volume, &err), KYOK_OK);
    assert_int_equal(pread(volume.fd, now, sizeof(now), at), sizeof(now));
    assert_memory_not_equal(now, left, sizeof(left));
    kyok_volume_close(&volume);
    assert_int_equal(unlock("f.luks", passphrase), KYOK_OK);
}

#define CHECK_QCOW2                                                                                \
    "qemu-img check -q --object secret,id=s,file=pass --image-opts "                               \
    "driver=qcow2,encrypt.key-secret=s,file.filename=g.qcow2"

static void qcow2_of_any_size(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {512, 1 << 20, 3000000000ull / 512 * 512, (uint64_t)64 << 40};
    struct kyok_error err;
    struct kyok_volume volume;
    unsigned old, fresh;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        KYOK_AUTO_SECRET struct kyok_secret *key = NULL;
        make_as("g.qcow2", KYOK_VOLUME_QCOW2, sizes[i]);
        assert_int_equal(kyok_volume_open("g.qcow2", KYOK_VOLUME_WRITE, &volume, &err), KYOK_OK);
        assert_int_equal(volume.format, KYOK_VOLUME_QCOW2);
        assert_int_equal(kyok_volume_unlock(&volume, bytes_of(passphrase), &old, &key, &err),
                         KYOK_OK);
        assert_int_equal(
            kyok_volume_add_slot(&volume, kyok_secret_bytes(key), bytes_of(other), &fresh, &err),
            KYOK_OK);
        assert_int_equal(kyok_volume_erase_slot(&volume, fresh, &err), KYOK_OK);
        kyok_volume_close(&volume);
        if (!have("qemu-img"))
            continue;
        assert_int_equal(system(CHECK_QCOW2), 0);
        assert_int_equal(system("qemu-io --object secret,id=s,file=pass -c 'write -P 7 0 512' "
                                "-c 'read -P 7 0 512' --image-opts "
                                "driver=qcow2,encrypt.key-secret=s,file.filename=g.qcow2"
                                " >/dev/null"),
                         0);
        assert_int_equal(system(CHECK_QCOW2), 0);
        assert_int_equal(unlock("g.qcow2", passphrase), KYOK_OK);
    }
}

static void broken_qcow2_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        uint8_t value;
        const char *rule;
    } cases[] = {
        {0, 'X', "magic"},          {7, 4, "version"},        {35, 1, "crypt method"},
        {103, 3, "header length"},  {104, 0xff, "extension"}, {111, 17, "extension length"},
        {112, 0xff, "LUKS offset"}, {126, 0, "LUKS size"},
    };
    struct kyok_error err;
    uint64_t offset, size;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer image = {0};
    assert_int_equal(kyok_qcow2_new(1 << 20, 600, &image, &offset, &err), KYOK_OK);
    assert_int_equal(kyok_qcow2_luks_offset(kyok_buffer_bytes(&image), "t", &offset, &size, &err),
                     KYOK_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t kept = image.data[cases[i].offset];
        image.data[cases[i].offset] = cases[i].value;
        if (cases[i].offset == 126)
            image.data[125] = 0;
        if (kyok_qcow2_luks_offset(kyok_buffer_bytes(&image), "t", &offset, &size, &err) !=
            KYOK_INVALID)
            fail_msg("%s", cases[i].rule);
        image.data[cases[i].offset] = kept;
    }
    for (size_t cut = 0; cut < 128; cut++)
        assert_int_equal(
            kyok_qcow2_luks_offset(kyok_bytes(image.data, cut), "t", &offset, &size, &err),
            KYOK_INVALID);
    assert_int_equal(kyok_qcow2_new(0, 600, &image, &offset, &err), KYOK_INVALID);
    assert_int_equal(kyok_qcow2_new(513, 600, &image, &offset, &err), KYOK_INVALID);
    assert_int_equal(kyok_qcow2_new(UINT64_MAX / 512 * 512, 600, &image, &offset, &err),
                     KYOK_INVALID);
}

static void an_open_image_is_busy(void **state)
{
    (void)state;
    struct kyok_error err;
    struct kyok_volume first, second;
    make("b.luks");
    assert_int_equal(kyok_volume_open("b.luks", KYOK_VOLUME_WRITE, &first, &err), KYOK_OK);
    assert_int_equal(kyok_volume_open("b.luks", KYOK_VOLUME_WRITE, &second, &err), KYOK_BUSY);
    kyok_volume_close(&first);
    assert_int_equal(kyok_volume_open("b.luks", KYOK_VOLUME_WRITE, &second, &err), KYOK_OK);
    kyok_volume_close(&second);
}

static void what_is_no_volume_is_refused(void **state)
{
    (void)state;
    struct kyok_error err;
    struct kyok_volume volume;
    assert_int_equal(kyok_volume_open("absent", KYOK_VOLUME_READ, &volume, &err), KYOK_NOT_FOUND);
    assert_int_equal(kyok_volume_open("/dev/null", KYOK_VOLUME_READ, &volume, &err), KYOK_INVALID);
    assert_int_equal(mkfifo("fifo", 0600), 0); /* must not wait for a writer */
    assert_int_equal(kyok_volume_open("fifo", KYOK_VOLUME_READ, &volume, &err), KYOK_INVALID);
    assert_int_equal(kyok_volume_open("pass", KYOK_VOLUME_READ, &volume, &err), KYOK_INVALID);
    assert_int_equal(system("truncate -s 0 empty"), 0);
    assert_int_equal(kyok_volume_open("empty", KYOK_VOLUME_READ, &volume, &err), KYOK_INVALID);
    make("cut.luks");
    assert_int_equal(truncate("cut.luks", 8192), 0);
    assert_int_equal(unlock("cut.luks", passphrase), KYOK_INVALID);
}

/* One hostile change per rule of the header: byte offset (specification 2.3), value. */
static void broken_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        uint8_t value;
        enum kyok_status status;
        const char *rule;
    } cases[] = {
        {0, 'X', KYOK_INVALID, "magic"},
        {7, 2, KYOK_UNSUPPORTED, "version"},
        {8, 0x01, KYOK_INVALID, "cipher name"},
        {104, 0xff, KYOK_OK, "payload is no matter of the parser's"},
        {111, 65, KYOK_INVALID, "key size"},
        {164, 0xff, KYOK_INVALID, "digest iterations"},
        {168, 'z', KYOK_INVALID, "uuid"},
        {208, 1, KYOK_INVALID, "slot state"},
        {212, 0xff, KYOK_INVALID, "slot iterations"},
        {248, 0xff, KYOK_INVALID, "slot offset"},
        {254, 0, KYOK_INVALID, "stripes"},
        {299, 8, KYOK_INVALID, "slots overlap"},
    };
    struct kyok_error err;
    struct kyok_luks luks;
    KYOK_AUTO_SECRET struct kyok_secret *key = NULL;
    assert_int_equal(kyok_luks_new(&luks, NULL, 1000, &key, &err), KYOK_OK);
    luks.slots[0].active = true;
    luks.slots[0].iterations = 1000;
    uint8_t good[KYOK_LUKS_HEADER_SIZE], bad[KYOK_LUKS_HEADER_SIZE];
    kyok_luks_write(&luks, good);
    struct kyok_luks again;
    assert_int_equal(kyok_luks_parse(kyok_bytes(good, sizeof(good)), "t", &again, &err), KYOK_OK);
    kyok_luks_write(&again, bad);
    assert_memory_equal(good, bad, sizeof(good));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(bad, good, sizeof(bad));
        bad[cases[i].offset] = cases[i].value;
        if (cases[i].offset == 299)
            bad[298] = 0; /* slot 1's offset becomes slot 0's */
        enum kyok_status status = kyok_luks_parse(kyok_bytes(bad, sizeof(bad)), "t", &again, &err);
        if (status != cases[i].status)
            fail_msg("%s: %s", cases[i].rule, kyok_status_name(status));
    }
    for (size_t size = 0; size < sizeof(good); size++)
        assert_int_equal(kyok_luks_parse(kyok_bytes(good, size), "t", &again, &err), KYOK_INVALID);
}

static void unknown_ciphers_are_named(void **state)
{
    (void)state;
    struct kyok_error err;
    struct kyok_luks luks;
    KYOK_AUTO_SECRET struct kyok_secret *key = NULL, *found = NULL;
    assert_int_equal(kyok_luks_new(&luks, NULL, 1000, &key, &err), KYOK_OK);
    luks.slots[0].iterations = 1000;
    strcpy(luks.cipher, "serpent");
    uint8_t *material = calloc(1, kyok_luks_material_size(&luks));
    assert_int_equal(kyok_luks_open_slot(&luks, 0, bytes_of(passphrase),
                                         kyok_bytes(material, kyok_luks_material_size(&luks)), "t",
                                         &found, &err),
                     KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "serpent"));
    free(material);
}

static void uuids(void **state)
{
    (void)state;
    char text[KYOK_UUID_TEXT], again[KYOK_UUID_TEXT];
    assert_true(kyok_uuid_random(text) && kyok_uuid_canonical(text, again));
    assert_int_equal(text[14], '4');
    assert_true(kyok_uuid_of_secret("6E1C9A1E-3A5C-4D6F-9D52-0C2B4D1F6B11", text));
    assert_true(kyok_uuid_of_secret("6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11", again));
    assert_string_equal(text, again);
    assert_string_equal(text, KNOWN_SECRET_UUID);
    assert_false(kyok_uuid_of_secret("6e1c9a1e", text));
    assert_false(kyok_uuid_canonical("6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b1g", text));
    assert_false(kyok_uuid_canonical(NULL, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_volume_opens),
        cmocka_unit_test(qemu_opens_own),
        cmocka_unit_test(cryptsetup_opens_own),
        cmocka_unit_test(others_volumes_open),
        cmocka_unit_test(removable_media_are_known),
        cmocka_unit_test(slots_come_and_go),
        cmocka_unit_test(free_slots_are_scrubbed),
        cmocka_unit_test(qcow2_of_any_size),
        cmocka_unit_test(broken_qcow2_is_refused),
        cmocka_unit_test(an_open_image_is_busy),
        cmocka_unit_test(what_is_no_volume_is_refused),
        cmocka_unit_test(broken_headers_are_refused),
        cmocka_unit_test(unknown_ciphers_are_named),
        cmocka_unit_test(uuids),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
