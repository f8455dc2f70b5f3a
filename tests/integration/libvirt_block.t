#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Block devices end to end (loop devices), and reencrypt --to: onto another device or file, while the VM
# runs and when it is off.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"
loops=()
loops_end() { local l; for l in "${loops[@]}"; do losetup -d "$l"; done; }
at_end+=(loops_end)
need losetup cryptsetup
export PATH=$PATH:/usr/sbin:/sbin

# loop NAME MIB: $NAME is a new, empty device
loop() {
    truncate -s "$2M" "$1.bytes"
    local device
    device=$(losetup -f --show "$1.bytes" 2>/dev/null) || skip_all "no loop devices here"
    loops+=("$device"); printf -v "$1" %s "$device"
}
loop one 8; loop two 8; loop old 8; loop small 1
ok "hook, token and kyok.conf are in place" libvirtd_hook_install
disk() { local verb=$1; shift; "$KYOK" disk "$verb" "$@"; }
field() { disk info "$1" --json | grep -o "\"$2\": [^,]*" | head -1 | cut -d' ' -f2- | tr -d '"'; }
slots() { disk info "$1" --json | grep -c '"iterations"'; }
mark() { "$BUILD/kyok-qemu-secret" --disk s="$1" -- qemu-io --object secret,id=s,file=@s@ -c "$2" --image-opts "driver=luks,key-secret=s,file.driver=${3:-host_device},file.filename=$1"; }

# --- create, info, verify, bind, rekey ---
refused "a device too small for a header" any 'too small' disk create "$small" --key root
refused "a device is raw" 2 'raw' disk create "$one" --key root --format qcow2
dd if=/dev/urandom of="$one" bs=4k count=1 seek=9 conv=notrunc status=none
refused "a device that holds something is not overwritten" 1 'not empty' disk create "$one" --key root
blkdiscard -z "$one" 2>/dev/null || dd if=/dev/zero of="$one" bs=1M count=8 status=none
ok "create" sh -c "'$KYOK' disk create '$one' --key root >one.xml"
like "the XML names the device" "$(cat one.xml)" "<source dev='$one'>"
uuid=$(field "$one" luks)
is "the record is in the store" "$(stat -c %a "/etc/kyok/vm/$uuid.kyok")" 600
is "info: a block device" "$(field "$one" block-device)" true
ok "verify" disk verify "$one"
ok "cryptsetup takes the header for its own" cryptsetup isLuks --type luks1 "$one"
ok "a marker is written" mark "$one" 'write -P 77 4096 4096'
vm=$(cat /proc/sys/kernel/random/uuid)
ok "bind" disk bind "$one" --vm "$vm"
is "info: bound" "$(field "$one" vm)" "$vm"
ok "rekey" disk rekey "$one"
is "generation and slots" "$(field "$one" generation) $(slots "$one")" "2 1"
ok "verify" disk verify "$one"

# --- a copy of the device has the same UUID and so the same record ---
loop copy 8
dd if="$one" of="$copy" bs=1M conv=notrunc status=none
refused "rekey of the copy would take the record from the device" 1 "is a copy with the same LUKS UUID" disk rekey "$copy"
refused "and the other way round" 1 "is a copy with the same LUKS UUID" disk rekey "$one"
ok "the copy becomes a disk of its own" disk reencrypt "$copy" --to "$SANDBOX/own.img"
ok "verify" disk verify own.img
dd if=/dev/zero of="$copy" bs=1M count=8 conv=notrunc status=none
ok "the device still opens" disk verify "$one"

# --- adopt ---
printf %s 'an old passphrase' >pass
cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file pass "$old"
ok "adopt" disk adopt "$old" --key root --passphrase-file pass
ok "the old passphrase still opens it" cryptsetup luksOpen --test-passphrase --key-file pass "$old"
ok "verify" disk verify "$old"
ok "forget the old one" disk adopt "$old" --forget-old
refused "it opens nothing" any '.' cryptsetup luksOpen --test-passphrase --key-file pass "$old"
ok "verify" disk verify "$old"

# --- a QEMU without libvirt: the device is added to it, and re-keyed through it ---
qemu-system-x86_64 -machine pc,accel=tcg -m 32 -display none -nodefaults -S -daemonize -pidfile "$SANDBOX/vm.pid" -qmp "unix:$SANDBOX/qmp.sock,server=on,wait=off"
qemu_end() { [ ! -f "$SANDBOX/vm.pid" ] || kill "$(cat "$SANDBOX/vm.pid")"; }
at_end+=(qemu_end)
ask() {
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or die; <$s>; for my $c (q({"execute":"qmp_capabilities"}), $ARGV[1]) { print $s "$c\n"; $a = <$s>; } print $a' "$SANDBOX/qmp.sock" "$1"
}
ok "a device is added to a running QEMU" "$BUILD/kyok-qemu-secret" --disk blk="$old" --qmp "$SANDBOX/qmp.sock" --device virtio-blk-pci,id=dev2
like "as a host device" "$(ask '{"execute":"query-named-block-nodes"}')" '"node-name": "blk".*"host_device"|"host_device".*"node-name": "blk"'
refused "it is not re-keyed past that QEMU" 1 'has the volume open|QEMU has the device open' disk rekey "$old"
ok "but through it" disk rekey "$old" --qmp "$SANDBOX/qmp.sock"
is "generation and slots" "$(field "$old" generation) $(slots "$old")" "2 1"
ok "the new record opens it" disk verify "$old"
refused "create does not overwrite it, whatever is forced" 1 'QEMU has the device open' disk create "$old" --key root --force
unlike "QEMU keeps no passphrase" "$(ask '{"execute":"qom-list","arguments":{"path":"/objects"}}')" 'kyok-'
qemu_end; gone() { ! kill -0 "$(cat "$SANDBOX/vm.pid" 2>/dev/null)" 2>/dev/null; }
ok "it ends" wait_for 30 gone

# --- reencrypt: to another device, VM off ---
refused "in place there is no room" 1 'another device' disk reencrypt "$one"
dd if=/dev/urandom of="$two" bs=4k count=1 conv=notrunc status=none
refused "not onto a device that holds something" 1 'not empty' disk reencrypt "$one" --to "$two"
dd if=/dev/zero of="$two" bs=1M count=8 conv=notrunc status=none
if strace -e trace=none true 2>/dev/null; then
    (strace -f -qq -o /dev/null -e trace=fsync -e inject=fsync:signal=KILL:when=4 "$KYOK" disk reencrypt "$one" --to "$two"; exit $?) >/dev/null 2>&1
    is "killed halfway" $? 137
    ok "the old one opens" disk verify "$one"
else
    skip "strace cannot trace here" 2
fi
ok "reencrypt --to" sh -c "'$KYOK' disk reencrypt '$one' --to '$two' >two.xml"
like "the XML names the new device" "$(cat two.xml)" "<source dev='$two'>"
ok "verify" disk verify "$two"
ok "the data is there" mark "$two" 'read -P 77 4096 4096'
ok "the old device still opens" disk verify "$one"
is "still bound to the VM" "$(field "$two" vm)" "$vm"
unlike "another LUKS UUID" "$(field "$two" luks)" "$uuid"
is "no mark is left" "$(ls /etc/kyok/vm/*.from 2>/dev/null)" ""
dd if="$two" of=new.header bs=1M count=2 status=none; dd if="$one" of=copy.img bs=1M status=none
dd if=new.header of=copy.img conv=notrunc bs=1M status=none
refused "the new key reads nothing of the old data" any 'Pattern verification failed' "$BUILD/kyok-qemu-secret" --disk s=copy.img -- \
    qemu-io --object secret,id=s,file=@s@ -c 'read -P 77 4096 4096' --image-opts driver=luks,key-secret=s,file.filename=copy.img

# --- killed at its very last step: what is written to the new disk since is not overwritten ---
if strace -e trace=none true 2>/dev/null; then
    (strace -f -qq -o /dev/null -e trace=unlink -e inject=unlink:signal=KILL:when=1 "$KYOK" disk reencrypt "$one" --to "$SANDBOX/late.img"; exit $?) >/dev/null 2>&1
    is "killed before the mark goes" "$? $(ls late.img*.from)" "137 late.img.kyok.from"
    ok "the new disk is used" mark late.img 'write -P 99 4096 4096' file
    ok "a second run completes" disk reencrypt "$one" --to "$SANDBOX/late.img"
    ok "and copies nothing again" mark late.img 'read -P 99 4096 4096' file
else
    skip "strace cannot trace here" 4
fi
touch gone.img.kyok.next
refused "a pending record without its image may be all that opens it" 1 'without its image' disk create gone.img --size 1M --key root
mknod char c 1 5
strace -f -qq -o opened -e trace=openat,open "$KYOK" disk verify char >/dev/null 2>&1
unlike "a character device is not opened, not even to look" "$(grep '/char"' opened 2>/dev/null | grep -v O_PATH)" 'char'
cp own.img odd.img; mknod odd.img.kyok c 1 5
refused "a record that is one" 2 'the disk record is no regular file' "$KYOK" disk verify odd.img
strace -f -qq -o opened -e trace=openat,open "$KYOK" disk verify odd.img >/dev/null 2>&1
unlike "is not opened either" "$(grep 'odd.img.kyok"' opened 2>/dev/null | grep -v O_PATH)" 'kyok'
rm odd.img*

# --- a VM on the device ---
ok "libvirtd answers" libvirtd_start
libvirtd_domain blk raw "$two" "$(grep -o "uuid='[^']*'" two.xml)" | sed "s|</name>|</name><uuid>$vm</uuid>|; s|type='file' device|type='block' device|; s|source file=|source dev=|" >blk.xml
ok "a VM" virsh -q define blk.xml
ok "with the record in its metadata" disk bind "$two" --vm "$vm" --metadata
ok "starts" virsh -q start blk
# As with libvirt's own /dev: QEMU's locks are on another node of the device.
mknod node b $((0x$(stat -c %t "$two"))) $((0x$(stat -c %T "$two")))
refused "--files-only looks for no VM, but the kernel knows of it" 1 'QEMU has the device open' disk rekey node --files-only
refused "nor is it copied under the guest" 1 'QEMU has the device open' disk reencrypt node --to "$SANDBOX/torn.img" --files-only
refused "create does not overwrite a device that a VM runs on, whatever is forced" 1 'VM .* has it as a disk|QEMU has the device open' disk create "$two" --key root --force
refused "nor by another node of it" 1 'QEMU has the device open' disk create node --key root --force
odd() { virsh -q metadata blk --uri urn:kyok:libvirt:1 --key k --set "$1" --live; }
before=$(virsh -q metadata blk --uri urn:kyok:libvirt:1)
ok "the running VM gets metadata that kyok refuses to read" odd '<vm><record/></vm>'
refused "its disk is not taken for that of a VM that is gone" 1 'has the disk, or may have, and cannot be read' disk rekey "$two"
is "and nothing was changed" "$(field "$two" generation) $(slots "$two")" "1 1"
ok "another's disk is not held up" disk verify "$old"
ok "nor its rekey" disk rekey "$old"
ok "the metadata is as it was" odd "$before"
ok "rekey while it runs" disk rekey "$two"
is "generation and slots" "$(field "$two" generation) $(slots "$two")" "2 1"
refused "reencrypt is told of --to" 1 'another device|--to' disk reencrypt "$two"
record() { virsh -q metadata blk --uri urn:kyok:libvirt:1 --config 2>/dev/null | grep -o 'record disk=.[0-9a-f-]*' | cut -c 14-; }
"$KYOK" disk reencrypt "$two" --to "$SANDBOX/three.img" >/dev/null 2>&1 & pid=$!
begun() { [ -e three.img.kyok ]; }
wait_for 30 begun; kill -9 $pid; wait $pid 2>/dev/null
ok "reencrypt --to a file while it runs; a run before was killed" disk reencrypt "$two" --to "$SANDBOX/three.img"
is "it runs" "$(virsh -q domstate blk | head -1)" running
like "with the new disk" "$(virsh -q domblklist blk)" 'vda +.*three.img'
like "also after the next start" "$(virsh -q domblklist blk --inactive)" 'vda +.*three.img'
is "its metadata has the new disk's record alone" "$(record)" "$(field three.img luks)"
is "no mark is left" "$(ls /etc/kyok/vm/*.from three.img.kyok.from 2>/dev/null)" ""
is "libvirt holds no secret" "$(virsh -q secret-list | grep -c .)" 0
virsh -q destroy blk >/dev/null
# A VM that is off, and that has a device without encryption.
libvirtd_domain off raw "$small" "uuid='$vm'" | sed "s|<encryption.*</encryption>||; s|type='file' device|type='block' device|; s|source file=|source dev=|" >off.xml
virsh -q define off.xml
refused "create does not overwrite a device of a VM that is off" 1 'has it as a disk' disk create "$small" --key root --force
# Removable media: what the XML names is not read but for a record in the VM's own metadata.
mknod cd b 11 250
libvirtd_domain cd raw "$SANDBOX/cd" "uuid='$vm'" | sed "s|</name>|</name><uuid>$(cat /proc/sys/kernel/random/uuid)</uuid>|; s|type='file' device='disk'|type='block' device='cdrom'|; s|source file=|source dev=|" >cd.xml
strace -f -qq -o opened -e trace=openat,open "$BUILD/libvirt-hook/kyok" cd prepare begin - <cd.xml >said 2>&1
like "a CD-ROM in a VM's XML is refused, with the remedy" "$(cat said)" 'removable medium.*kyok disk bind .*/cd --vm cd --metadata'
unlike "and not opened" "$(grep '/cd"\|/proc/self/fd' opened 2>/dev/null | grep -v O_PATH)" 'open'
sed "s|<metadata>|<metadata><k:vm xmlns:k='urn:kyok:libvirt:1'><k:record disk='$vm'>{}</k:record></k:vm>|" cd.xml |
    strace -f -qq -o opened -e trace=openat,open "$BUILD/libvirt-hook/kyok" cd prepare begin - >said 2>&1
like "(it is with a record in the metadata)" "$(grep '/proc/self/fd' opened 2>/dev/null | grep -v O_PATH)" 'ENXIO|ENODEV|ENOMEDIUM'
ok "it starts from it" virsh -q start blk
virsh -q destroy blk >/dev/null; virsh -q undefine off >/dev/null
ok "the data is there" mark three.img 'read -P 77 4096 4096' file
refused "another disk's name is not taken" 1 'exists' disk reencrypt "$one" --to "$SANDBOX/three.img"
# --- the blocks of docs/vm-disks.md that need a libvirt, on a host that has no hook yet ---
rm /etc/libvirt/hooks/qemu.d/kyok /var/log/libvirt/qemu/*.log
printf '%s\n' '[key bank-2026]' 'uri = pkcs11:token=bank;object=bank-2026' >>/etc/kyok/kyok.conf
mkdir -p guide/bin /var/lib/libvirt/images
ln -s "$KYOK" guide/bin/
# systemd's part: libvirtd restarts; units that are enabled are there.
cat >guide/bin/systemctl <<X
#!/bin/bash
. "$SOURCE/tests/support/libvirtd.sh"
case \$1 in
restart) libvirtd_restart ;;
enable) cd "$SOURCE/libvirt-hook" && shift && ls "\$@" ;;
*) exit 1 ;;
esac
X
chmod +x guide/bin/systemctl
libvirtd_domain db raw /x "uuid='$vm'" | sed 's|</memory>|&|; /<disk/,/<target.*<.disk>/d' >db.xml
ok "a VM without a disk" virsh -q define db.xml
python3 - "$SOURCE/docs/vm-disks.md" <<'PY'
import re, sys
for number, body in enumerate(re.findall(r"^```sh libvirt\n(.*?)^```$", open(sys.argv[1]).read(), re.M | re.S)):
    open(f"guide/{number}.sh", "w").write(body)
PY
sed -i "s|/usr/local/lib/kyok/libvirt-hook|$BUILD/libvirt-hook|; s|20G|20M|" guide/*.sh
guide() { (cd guide && PATH=$PWD/bin:$PATH bash -e "$1.sh"); }
ok "the guide: set-up of a host" guide 0
like "the hook is libvirt's" "$(readlink -f /etc/libvirt/hooks/qemu.d/kyok)" 'libvirt-hook/kyok$'
like "libvirt's keys are in memory" "$(findmnt -n -o FSTYPE /var/lib/libvirt/qemu)" 'tmpfs|ramfs'
ok "the guide: a disk" guide 1
is "its VM runs" "$(virsh -q domstate db | head -1)" running
ok "the guide: a new volume key for it" guide 2
like "it goes on with the new disk" "$(virsh -q domblklist db)" 'vda +/var/lib/libvirt/images/new.img'
disk create /var/lib/libvirt/images/more.img --size 1M --key bank-2026 --vm db >/dev/null
ok "the guide: hot-plug, secrets for a snapshot, lock and unlock" guide 3
like "the second disk is there" "$(virsh -q domblklist db)" 'vdb +/var/lib/libvirt/images/more.img'
is "libvirt holds no secret" "$(virsh -q secret-list | grep -c .)" 0
virsh -q destroy db >/dev/null
done_testing
