#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok disk: every verb. (Killed and on a full disk: disk_killed.t. Block devices: libvirt_block.t.)
. "$(dirname "$0")/../support/lib.sh"
need qemu-img qemu-io pkcs11-tool softhsm2-util

cd "$SANDBOX" || exit 1
softhsm_new hsm
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
for t in bank hosts; do
    softhsm_token hsm $t
    p11tool hsm --token-label $t --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
done
p11tool hsm --token-label bank --keypairgen --key-type rsa:2048 --label public --id 02 --usage-decrypt >/dev/null 2>&1
p11tool hsm --token-label hosts --keygen --key-type AES:32 --label group2 --id 03 --sensitive >/dev/null 2>&1
kyok_conf '[token bank]' "module = $(softhsm_module)" 'uri = pkcs11:token=bank' "pin-source = file:$(pin_file)" \
    '[token hosts]' "module = $(softhsm_module)" 'uri = pkcs11:token=hosts' "pin-source = file:$(pin_file)" \
    '[key bank]' 'uri = pkcs11:token=bank;object=root' '[key hosts]' 'uri = pkcs11:token=hosts;object=root' \
    '[key group2]' 'uri = pkcs11:token=hosts;object=group2' '[key public]' 'uri = pkcs11:token=bank;object=public'
disk() { local verb=$1; shift; "$KYOK" disk "$verb" "$@"; }
generation() { disk info "$1" --json | grep -o '"generation": [0-9]*' | head -1 | cut -d' ' -f2; }
slots() { disk info "$1" --json | grep -c '"iterations"'; }

# --- create ---
ok "a disk" disk create a.img --size 2M --key bank
is "its record is for its owner's eyes" "$(stat -c %a a.img.kyok)" 600
ok "verify opens it" disk verify a.img
refused "an existing image is not overwritten" 1 'exists' disk create a.img --size 2M --key bank
refused "no size" 2 'size' disk create b.img --key bank
refused "a size that is none" 2 'expected bytes' disk create b.img --key bank --size 12Q
refused "an unknown key" any '.' disk create b.img --size 2M --key nobody
refused "a record sealed to public keys only" any 'AES' disk create b.img --size 2M --key public
is "nothing is left of what was refused" "$(ls b.img* 2>/dev/null)" ""
ok "RSA in one layer of two" disk create rsa.img --size 1M --key 'all-of(public, bank)'
ok "opens" disk verify rsa.img
ok "qcow2" disk create q.qcow2 --size 100M --format qcow2 --key 'any-of(bank, hosts)'
ok "opens" disk verify q.qcow2
refused "some of many: exit code 4" 4 '.' disk verify a.img absent.img
touch gone.img.kyok
refused "the record of an image that is away is not overwritten" 1 'without its image' disk create gone.img --size 1M --key bank
like "info prints the XML" "$(disk info a.img)" "<encryption format='luks' engine='qemu'>"

# --- the key slot is cheap, and the header QEMU's ---
begun=$(now_ms)
"$BUILD/kyok-qemu-secret" --disk s=a.img -- qemu-io -r --object secret,id=s,file=@s@ -c 'read 0 512' --image-opts driver=luks,key-secret=s,file.filename=a.img >/dev/null
at_most "a disk opens and reads in (ms)" $(($(now_ms) - begun)) 1000

# --- a backup beside the record is nobody's temporary file ---
for name in backup 202611 saved1; do cp a.img.kyok a.img.kyok.$name; done

# --- recipients ---
ok "a host group is granted the disk" disk grant a.img hosts
ok "rewrap to that group alone" disk rewrap a.img --key hosts
unlike "the bank is no recipient any more" "$(disk info a.img)" 'token=bank'
ok "the group opens it" disk verify a.img
ok "the bank again, beside it" disk rewrap a.img --key 'any-of(bank, hosts)'
ok "the group is revoked" disk revoke a.img hosts
unlike "and no recipient" "$(disk info a.img)" 'token=hosts'
refused "the last recipient cannot go" any '.' disk revoke a.img bank
refused "a stranger cannot be revoked" 1 'no such recipient' disk revoke a.img group2
refused "a layer must be named" 2 'layer' disk grant rsa.img hosts
ok "the second layer" disk grant rsa.img hosts --layer 2
ok "opens" disk verify rsa.img
is "none of that changed the generation" "$(generation a.img)" 1
is "nor touched the record's backups" "$(ls a.img.kyok.* | tr '\n' ' ')" "a.img.kyok.202611 a.img.kyok.backup a.img.kyok.saved1 "

# --- bind ---
u=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
ok "bind to a VM" disk bind a.img --vm $u
like "info says so, and since when" "$(disk info a.img)" "generation 1 of 20..-..-..T..:..:..Z, bound to VM $u"
ok "an administrator still opens it" disk verify a.img
ok "bind to any VM" disk bind a.img --any-vm
refused "bind needs a VM" 2 'missing' disk bind a.img

# --- adopt ---
printf %s 'correct horse battery staple' >pass
adopted() { wait_for 60 qemu-img create -q --object secret,id=s,file=pass -f "$2" -o "$3" "$1" 1M; }
ok "an image of qemu-img's" adopted old.img luks key-secret=s,iter-time=10
refused "a wrong passphrase" 1 'does not open' disk adopt old.img --key bank --passphrase-file a.img.kyok
is "leaves nothing" "$(ls old.img.kyok* 2>/dev/null)" ""
ok "adopt it" disk adopt old.img --key bank --passphrase-file pass
is "both slots are there" "$(slots old.img)" 2
ok "the record opens it" disk verify old.img
refused "not twice" 1 'has a record' disk adopt old.img --key bank --passphrase-file pass
ok "forget the old passphrase" disk adopt old.img --forget-old
is "one slot is left" "$(slots old.img)" 1
refused "the old passphrase is refused" any '.' qemu-io -r --object secret,id=s,file=pass -c 'read 0 512' --image-opts driver=luks,key-secret=s,file.filename=old.img
ok "the record opens it" disk verify old.img
ok "a qcow2 image of qemu-img's" adopted old.qcow2 qcow2 encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10
ok "adopt it" disk adopt old.qcow2 --key bank --passphrase-file pass
ok "the record opens it" disk verify old.qcow2

# --- a header whose free slot lies in the data: nothing is written there ---
cp a.img odd.img; cp a.img.kyok odd.img.kyok
perl -e 'open $f, "+<", "odd.img"; seek $f, 104, 0; read $f, $p, 4; seek $f, 208 + 48 + 40, 0; print $f pack "N", unpack("N", $p) + 8'
before=$(cksum <odd.img)
refused "a key slot in the data" any 'slot 1 lies in the data' disk rekey odd.img
is "nothing was written" "$(cksum <odd.img)" "$before"
rm odd.img*

# --- rekey and reencrypt ---
mark() { "$BUILD/kyok-qemu-secret" --disk s="$1" -- qemu-io --object secret,id=s,file=@s@ -c "$2" --image-opts "driver=${3:-luks},${4:-}key-secret=s,file.filename=$1"; }
ok "a marker is written" mark a.img 'write -P 77 4096 4096'
ok "a marker is written (qcow2)" mark q.qcow2 'write -P 77 4096 4096' qcow2 encrypt.
cp a.img before.img; cp a.img.kyok before.img.kyok
for i in a.img q.qcow2; do
    ok "rekey $i" disk rekey $i
    is "one slot is left" "$(slots $i)" 1
    is "the generation counts" "$(generation $i)" 2
    ok "verify" disk verify $i
done
cp before.img.kyok lower.kyok; cp a.img.kyok current.kyok; cp lower.kyok a.img.kyok
refused "a record of lower generation does not open it" 1 'generation 1 does not open' disk verify a.img
cp current.kyok a.img.kyok
head -c 700 a.img >header.now
# Who may have the file stays: owner and mode, ACLs and labels, which are extended attributes.
attributes() { python3 -c 'import os, sys; f = sys.argv[1]; s = os.stat(f); print(oct(s.st_mode), s.st_uid, s.st_gid, [(n, os.getxattr(f, n)) for n in sorted(os.listxattr(f))])' "$1"; }
chmod 640 a.img
if python3 -c 'import os, struct
os.setxattr("a.img", "user.kyok", b"tested")
acl = [(1, 6, -1), (2, 6, 65534), (4, 0, -1), (16, 6, -1), (32, 0, -1)]
os.setxattr("a.img", "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xffffffff) for t, p, i in acl))' 2>/dev/null; then
    held=$(attributes a.img)
    like "an ACL and an attribute are on the image" "$held" 'posix_acl_access.*user.kyok'
else
    held=$(attributes a.img)
    skip "this file system has no ACLs and user attributes"
fi
for i in a.img q.qcow2; do
    ok "reencrypt $i" disk reencrypt $i
    is "the generation counts" "$(generation $i)" 3
    ok "verify" disk verify $i
done
is "reencrypt keeps owner, mode, ACL and attributes" "$(attributes a.img)" "$held"
ok "the data is there" mark a.img 'read -P 77 4096 4096'
ok "the data is there (qcow2)" mark q.qcow2 'read -P 77 4096 4096' qcow2 encrypt.
is "the LUKS UUID stays" "$(disk info a.img --json | grep '"luks"')" "$(disk info before.img --json | grep '"luks"')"
cp a.img swapped.img; cp before.img.kyok swapped.img.kyok
dd if=before.img of=swapped.img bs=1M count=2 conv=notrunc status=none
refused "an old header and record read nothing of the new data" any '.' mark swapped.img 'read -P 77 4096 4096'
is "no copy is left" "$(ls ./*.reencrypt 2>/dev/null)" ""
ok "reencrypt --to (qcow2)" disk reencrypt q.qcow2 --to new.qcow2
ok "the data is there (qcow2)" mark new.qcow2 'read -P 77 4096 4096' qcow2 encrypt.
ok "verify both" disk verify q.qcow2 new.qcow2
unlike "another LUKS UUID" "$(disk info new.qcow2 --json | grep '"luks"')" "$(disk info q.qcow2 --json | grep '"luks"' | cut -d'"' -f4)"
ok "reencrypt --to (raw)" disk reencrypt a.img --to moved.img
is "keeps them too" "$(attributes moved.img)" "$held"

# --- no key slot is free: what was begun is taken back, so that revoking goes on ---
export PATH=$PATH:/usr/sbin:/sbin
if command -v cryptsetup >/dev/null; then
    "$BUILD/kyok-qemu-secret" --disk d=a.img -- cat @d@ >now
    for i in 1 2 3 4 5 6 7; do printf %s "more $i" >added; cryptsetup luksAddKey -q --pbkdf-force-iterations 1000 --key-file now a.img added; done
    is "eight slots" "$(slots a.img)" 8
    refused "rekey finds no room" any 'slot' disk rekey a.img
    is "nothing is pending" "$(ls a.img.kyok.next 2>/dev/null)" ""
    ok "grant" disk grant a.img group2
    ok "the others go" disk adopt a.img --forget-old
    ok "rekey" disk rekey a.img
    is "one slot is left" "$(slots a.img)" 1
else
    skip "cryptsetup is not installed" 7
fi
done_testing
