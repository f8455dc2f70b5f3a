#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Disks without a record: a KMIP server keeps the passphrase under the LUKS UUID. The scripted server, with
# and without Register, and PyKMIP where it runs.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
. "$(dirname "$0")/../support/pykmip.sh"
need openssl qemu-io

cd "$SANDBOX" || exit 1
kmip_server scripted "key other aes-256" || skip_all "the scripted KMIP server does not start"
{
    kmip_group keeper alice "$PORT" 'release = yes'
    kmip_group stranger bob "$PORT" 'release = yes'
    kmip_group strict alice "$PORT"
    kmip_group bank alice "$PORT" 'release = yes'
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf
disk() { local verb=$1; shift; "$KYOK" disk "$verb" "$@"; }
uuid() { disk info "$1" --json | grep -o '"luks": "[^"]*"' | cut -d'"' -f4; }
# each GROUP IMAGE FORMAT
each() {
    ok "$1: a disk" disk create "$2" --size 1M --kmip "$1" --format "$3"
    is "$1: no record lies beside it" "$(ls "$2"*)" "$2"
    like "$1: info knows none" "$(disk info "$2")" '^record +none'
    ok "$1: verify opens and reads it" disk verify "$2" --kmip "$1"
    like "$1: and says that the server gives it out" "$(disk verify "$2" --kmip "$1" --json)" 'the KMIP server, which gives it out'
    is "$1: the passphrase is 64 hexadecimal digits" "$("$BUILD/kyok-qemu-secret" --kmip "$1" --disk d="$2" -- cat @d@ | grep -Ec '^[0-9a-f]{64}$')" 1
    refused "$1: without --kmip there is no record" 1 'has no record' disk verify "$2"
    refused "$1: rekey has nothing to seal, and says what to do" 1 'New passphrase: kyok kmip register' disk rekey "$2"
    refused "$1: nor has reencrypt" 1 'New volume key: kyok disk create NEW --kmip GROUP' disk reencrypt "$2"
    refused "$1: nor onto another" 1 'New volume key: kyok disk create NEW --kmip GROUP' disk reencrypt "$2" --to other.img
}

# --- the scripted server ---
refused "a group that does not release" 1 'release = yes' disk create no.img --size 1M --kmip strict
is "leaves neither image nor object" "$(ls no.img* 2>/dev/null)$("$KYOK" kmip locate keeper 2>/dev/null | grep -vc other)" 0
each keeper a.img raw
is "it is Secret Data" "$("$KYOK" kmip locate keeper --name "$(uuid a.img)" --type secret-data | grep -c .)" 1
refused "another identity may not have it" any 'stranger|Denied|denied' disk verify a.img --kmip stranger
ok "the server loses Register" kmip_tell scripted "fault Register 99 error 5"
each keeper b.qcow2 qcow2
is "it is an AES key" "$("$KYOK" kmip locate keeper --name "$(uuid b.qcow2)" --type symmetric-key | grep -c .)" 1
kmip_tell scripted "fault none" >/dev/null

# --- new keys for one: the blocks of docs/vm-disks.md ---
export PATH=$PATH:/usr/sbin:/sbin
if command -v cryptsetup >/dev/null; then
    mkdir bin; ln -s "$KYOK" "$BUILD/kyok-qemu-secret" bin/
    disk create db.img --size 1M --kmip bank >/dev/null
    mark() { "$BUILD/kyok-qemu-secret" --kmip bank --disk s="$1" -- qemu-io --object secret,id=s,file=@s@ -c "$2 -P 77 4096 4096" --image-opts "driver=luks,key-secret=s,file.filename=$1"; }
    secret() { "$BUILD/kyok-qemu-secret" --kmip bank --disk d="$1" -- cat @d@; }
    ok "a marker is written" mark db.img write
    before=$(secret db.img)
    perl -0777 -ne 'while (/^```sh kmip\n(.*?)^```$/msg) { open my $out, ">", "block" . $n++ . ".sh" or die; print $out $1 }' \
        "$SOURCE/docs/vm-disks.md"
    ok "a new disk" env PATH="$SANDBOX/bin:$PATH" bash -e block0.sh
    ok "has the data" mark new.img read
    unlike "and a passphrase of its own" "$(secret new.img)" "$before"
    ok "a new passphrase for the disk" env PATH="$SANDBOX/bin:$PATH" bash -e block1.sh
    unlike "is another" "$(secret db.img)" "$before"
    ok "opens the data" mark db.img read
    is "one slot is left" "$(disk info db.img --json | grep -c '"iterations"')" 1
    is "and no second object" "$("$KYOK" kmip locate bank --name "$(uuid db.img)-next" 2>/dev/null | grep -c .)" 0
else
    skip "cryptsetup is not installed" 8
fi

# --- an existing LUKS disk whose passphrase the administrator registers ---
if command -v cryptsetup >/dev/null; then
    truncate -s 4M own.img; printf %s 'an administrator chose this' >own.pass
    cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file own.pass own.img
    ok "a passphrase of one's own" "$KYOK" kmip register keeper own.pass --type secret-data --name "$(uuid own.img)"
    ok "opens" disk verify own.img --kmip keeper
else
    skip "cryptsetup is not installed" 2
fi
id=$("$KYOK" kmip locate keeper --name "$(uuid a.img)" --type secret-data | head -1)
ok "deactivated at the server" "$KYOK" kmip revoke keeper "$id"
refused "it no longer opens" any 'state|Deactivated|not active|deactivated' disk verify a.img --kmip keeper
ok "doctor says that the keys of the group leave it" sh -c "'$KYOK' doctor 2>/dev/null | grep -i 'keeper.*leave'"

# --- PyKMIP ---
if /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 12))' && [ -e /usr/bin/pykmip-server ] &&
    /usr/bin/python3 -W ignore -c 'import kmip' 2>/dev/null; then
    at_end+=(pykmip_stop)
    pykmip_start pykmip "$CERTS" || fail "PyKMIP starts"
    kmip_group pykmip alice "$PORT" 'release = yes' >>"$SANDBOX/kyok.conf"
    each pykmip d.img raw
else
    skip "PyKMIP does not run on Python 3.12 and later" 10
fi
done_testing
