#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok-qemu-secret with each of QEMU's programs: pipes, memory files, the kernel's keyring, QMP.
. "$(dirname "$0")/../support/lib.sh"
need qemu-img qemu-io qemu-nbd qemu-storage-daemon qemu-system-x86_64 pkcs11-tool softhsm2-util

cd "$SANDBOX" || exit 1
softhsm_new hsm; softhsm_token hsm bank; softhsm_token hsm vendor
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
for t in bank vendor; do
    p11tool hsm --token-label $t --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
done
kyok_conf '[token bank]' "module = $(softhsm_module)" 'uri = pkcs11:token=bank' "pin-source = file:$(pin_file)" \
    '[token vendor]' "module = $(softhsm_module)" 'uri = pkcs11:token=vendor' "pin-source = file:$(pin_file)" \
    '[key bank]' 'uri = pkcs11:token=bank;object=root' '[key vendor]' 'uri = pkcs11:token=vendor;object=root'
run() { "$BUILD/kyok-qemu-secret" "$@"; }
ok "a raw disk" "$KYOK" disk create a.img --size 4M --key bank
ok "another" "$KYOK" disk create c.img --size 1M --key bank
ok "a qcow2 disk that needs two parties" "$KYOK" disk create b.qcow2 --size 4M --format qcow2 --key 'all-of(bank, vendor)'
a=driver=luks,key-secret=s0,file.filename=a.img
b=driver=qcow2,encrypt.key-secret=s1,file.filename=b.qcow2

# Nothing of a running program that others can read: arguments, environment, and its descriptors hold no
# passphrase that is still to be read.
clean() { # NAME PID
    unlike "$1: no passphrase in its arguments" "$(tr '\0' '\n' <"/proc/$2/cmdline")" '[0-9a-f]{64}'
    unlike "$1: nor in its environment" "$(tr '\0' '\n' <"/proc/$2/environ")" '[0-9a-f]{64}'
    is "$1: nor in a descriptor" "$(for f in /proc/$2/fd/*; do case $(readlink "$f") in pipe:* | /memfd:*) timeout 2 head -c 64 "$f" 2>/dev/null | grep -Eo '[0-9a-f]{64}' ;; esac; done)" ""
}

# --- each program ---
ok "qemu-io writes a marker" run --disk s0=a.img -- qemu-io --object secret,id=s0,file=@s0@ -c 'write -P 90 0 4096' --image-opts $a
ok "qemu-io reads it back" run --disk s0=a.img -- qemu-io --object secret,id=s0,file=@s0@ -c 'read -P 90 0 4096' --image-opts $a
ok "qemu-img converts between two disks" run --disk s0=a.img --disk s1=b.qcow2 -- qemu-img convert -n \
    --object secret,id=s0,file=@s0@ --object secret,id=s1,file=@s1@ --image-opts --target-image-opts $a $b
ok "both parties' disk holds it" run --disk s1=b.qcow2 -- qemu-io --object secret,id=s1,file=@s1@ -c 'read -P 90 0 4096' --image-opts $b
ok "a marker is in clear in neither" sh -c '! grep -q ZZZZZZZZZZZZZZZZ a.img && ! grep -q ZZZZZZZZZZZZZZZZ b.qcow2'
ok "a sealed memory file serves as well" run --memfd --disk s0=a.img -- qemu-io --object secret,id=s0,file=@s0@ -c 'read -P 90 0 4096' --image-opts $a
ok "qemu-storage-daemon exports it" sh -c "'$BUILD/kyok-qemu-secret' --disk s0=a.img -- qemu-storage-daemon --daemonize --pidfile sd.pid --object secret,id=s0,file=@s0@ \
    --blockdev driver=file,node-name=f,filename=a.img --blockdev driver=luks,node-name=l,file=f,key-secret=s0 \
    --nbd-server addr.type=unix,addr.path=$SANDBOX/sd.sock --export type=nbd,id=e,node-name=l,name=x >sd.log 2>&1"
clean qemu-storage-daemon "$(cat sd.pid)"
ok "and a client reads the marker" qemu-io -r -c 'read -P 90 0 4096' "nbd+unix:///x?socket=$SANDBOX/sd.sock"
kill "$(cat sd.pid)"; wait_for 10 sh -c '! kill -0 $(cat sd.pid)'
ok "qemu-nbd forks and exports it" sh -c "'$BUILD/kyok-qemu-secret' --disk s0=a.img -- qemu-nbd --fork --pid-file nbd.pid -t -k $SANDBOX/nbd.sock --object secret,id=s0,file=@s0@ --image-opts $a >nbd.log 2>&1"
clean qemu-nbd "$(cat nbd.pid)"
ok "and a client reads the marker" qemu-io -r -c 'read -P 90 0 4096' "nbd+unix:///?socket=$SANDBOX/nbd.sock"
kill "$(cat nbd.pid)"; wait_for 10 sh -c '! kill -0 $(cat nbd.pid)'

# --- a running QEMU ---
vm() {
    sh -c "exec '$BUILD/kyok-qemu-secret' --disk s0=a.img -- qemu-system-x86_64 -machine pc,accel=tcg -m 32 -display none -nodefaults -S -daemonize -pidfile $SANDBOX/vm.pid \
    -qmp unix:$SANDBOX/qmp.sock,server=on,wait=off --object secret,id=s0,file=@s0@ \
    -blockdev driver=file,node-name=f,filename=$SANDBOX/a.img -blockdev driver=luks,node-name=l,file=f,key-secret=s0 -device virtio-blk-pci,drive=l" >vm.log 2>&1
}
ok "qemu-system starts with it" vm
ok "a second disk is added through QMP" run --disk d1="$SANDBOX/b.qcow2" --qmp "$SANDBOX/qmp.sock" --device virtio-blk-pci,id=dev1
refused "the same once more: refused by QEMU, and said so" 1 'QEMU refused' run --disk d1="$SANDBOX/b.qcow2" --qmp "$SANDBOX/qmp.sock"
ask() {
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or die; <$s>; for my $c (q({"execute":"qmp_capabilities"}), $ARGV[1]) { print $s "$c\n"; $a = <$s>; } print $a' "$SANDBOX/qmp.sock" "$1"
}
like "QEMU has the block node" "$(ask '{"execute":"query-named-block-nodes"}')" '"node-name": "d1"'
like "and the device" "$(ask '{"execute":"qom-list","arguments":{"path":"/machine/peripheral"}}')" '"dev1"'
unlike "and no longer the secret" "$(ask '{"execute":"qom-list","arguments":{"path":"/objects"}}')" 'kyok-'
clean qemu-system "$(cat vm.pid)"
refused "a disk that a VM has open is not re-keyed" 1 'has the volume open' "$KYOK" disk rekey a.img --files-only
for i in a.img b.qcow2; do
    run --disk d=$i -- cat @d@ >$i.old
    ok "$i: but through that QEMU it is" "$KYOK" disk rekey $i --qmp "$SANDBOX/qmp.sock"
    run --disk d=$i -- cat @d@ >$i.new
    like "$i: generation 2, one slot" "$("$KYOK" disk info $i --json | tr -d '\n')" '"slots": \[[^]]*\].*"generation": 2'
    is "$i: one slot" "$("$KYOK" disk info $i --json | grep -c '"iterations"')" 1
    unlike "$i: another passphrase" "$(cat $i.new)" "$(cat $i.old)"
done
unlike "QEMU keeps neither passphrase" "$(ask '{"execute":"qom-list","arguments":{"path":"/objects"}}')" 'kyok-'
refused "a QEMU that has another disk open: said so" any 'block nodes are this volume' "$KYOK" disk rekey c.img --qmp "$SANDBOX/qmp.sock"
refused "no QEMU behind the socket" any 'cannot be reached' "$KYOK" disk rekey a.img --qmp "$SANDBOX/absent.sock"
kill "$(cat vm.pid)"; wait_for 10 sh -c '! kill -0 $(cat vm.pid) 2>/dev/null'

# --- the kernel's keyring ---
if keyctl show @u >/dev/null 2>&1; then
    ok "a key in the user keyring" run --keyring=5 --disk s0=a.img -- qemu-io \
        --object secret_keyring,id=s0,serial=@s0@ -c 'read -P 90 0 4096' --image-opts $a
    run --keyring=5 --disk s0=a.img -- sh -c 'grep "^$(printf %08x "$1")" /proc/keys' sh @s0@ >key.seen
    like "it expires by itself" "$(cat key.seen)" ' [1-5]s '
    like "the user's alone: nothing for group and others" "$(cat key.seen)" ' [0-9a-f]{4}0000 '
    gone() { ! keyctl show @u | grep -q 'kyok:s0'; }
    ok "expires" wait_for 20 gone
else
    skip "no kernel keyring here" 4
fi

# --- refusals ---
refused "no placeholder in the command" 2 '@s0@' run --disk s0=a.img -- true
refused "no such image" 1 'cannot be opened' run --disk s0=absent.img -- echo @s0@
refused "no command" 2 'expected -- COMMAND' run --disk s0=a.img
refused "no disk" 2 'no --disk' run -- true
refused "an ID that is none" 2 'letter' run --disk 0s=a.img -- true
refused "another VM's UUID, for a disk bound to none" 1 'bound to no VM' run --vm 6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11 --disk s0=a.img -- echo @s0@
cp a.img.kyok kept; cp b.qcow2.kyok a.img.kyok
refused "another disk's record" 1 'another volume' run --disk s0=a.img -- echo @s0@
cp kept a.img.kyok; mv b.qcow2.kyok elsewhere
refused "no record" 1 'has no record' run --disk s1=b.qcow2 -- echo @s1@
ok "a record named on the command line" run --disk s1=b.qcow2 --record s1=elsewhere -- test -e @s1@
mv elsewhere b.qcow2.kyok
printf '%s\n' '[token bank]' "module = $(softhsm_module)" 'uri = pkcs11:token=bank' "pin-source = file:$SANDBOX/pin" >one.conf
refused "one of two parties is not enough" any 'vendor' run --config one.conf --disk s1=b.qcow2 -- echo @s1@
ok "the program's exit code is its own" sh -c "'$BUILD/kyok-qemu-secret' --disk s0=a.img -- sh -c 'test -e @s0@ && exit 7'; test \$? = 7"
is "a pipe can be read once" "$(run --disk s0=a.img -- sh -c 'cat "$1" >/dev/null; cat "$1" | wc -c' sh @s0@)" 0
is "and is a pipe that nobody can fill" "$(run --disk s0=a.img -- sh -c 'readlink "$1" | cut -c1-5; cat "$1" >/dev/null; timeout 20 cat "$1" && echo ended' sh @s0@ | tr '\n' ' ')" "pipe: ended "
is "each place has a pipe of its own" "$(run --disk s0=a.img -- cat @s0@ @s0@ | wc -c)" 128
is "a memory file can be read twice" "$(run --memfd --disk s0=a.img -- sh -c 'cat "$1" "$1" | wc -c' sh @s0@)" 128
refused "and not be written" any '.' run --memfd --disk s0=a.img -- sh -c 'printf x >"$1"' sh @s0@
refused "nor cut" any '.' run --memfd --disk s0=a.img -- truncate -s 0 @s0@
count='ls /proc/self/fd | wc -l'
is "the program gets that one descriptor more" "$(run --disk s0=a.img -- sh -c "$count" sh @s0@)" $(($(sh -c "$count" sh) + 1))
is "what the pipe holds ends after the passphrase" "$(run --disk s0=a.img -- cat @s0@ | wc -c)" 64
done_testing
