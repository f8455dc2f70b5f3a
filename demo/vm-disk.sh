#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The second part of `make demo`: a VM whose disk needs two parties, a vendor's HSM and a bank's KMIP
# server. libvirtd runs in a mount namespace of the demo's own; nothing of the host's is touched.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../tests/support/libvirtd.sh"
libvirtd_skip() { echo "kyok demo: the VM's part is left out: $1"; exit 0; }
libvirtd_enter "$0" "$@"
unset KEEP # what is kept running is the first part; here everything ends with the namespace
. "$here/../tests/support/lib.sh"
. "$here/../tests/support/kmip.sh"
at_end+=(libvirtd_stop)

bold='' plain=''
[ ! -t 1 ] || { bold=$(printf '\033[1m') plain=$(printf '\033[0m'); }
number=0
step() { number=$((number + 1)); printf '\n%s%d. %s%s\n' "$bold" $number "$1" "$plain"; shift; [ $# -eq 0 ] || printf '   %s\n' "$@"; }
short() { sed "s|$BUILD/kyok|kyok|g; s|$SANDBOX/||g; s|(LC_ALL=C [^)]*)|(…)|"; }
die() { echo "kyok demo: $1" >&2; exit 1; }
run() {
    printf '   $ %s\n' "$*" | short
    output=$("$@" 2>&1)
    status=$?
    [ -z "$output" ] || printf '%s\n' "$output" | short | fold -s -w 110 | sed 's/^/     /'
    return $status
}
show() { run "$@" || die "the demo's command failed: $*"; }
show_failure() { ! run "$@" || die "this should have failed: $*"; }
cd "$SANDBOX" || exit 1

step 'Two custodians' 'The vendor has an HSM (SoftHSM stands for it). The bank has a KMIP server: a process and keys of its own,' \
    'at which this host is a client with a certificate. (It is the tests'\'' server, which speaks KMIP 1.0 to 2.1.)'
libvirtd_hook_install vendor || die 'the token cannot be made'
kmip_server bankserver 'key vendor-4711 aes-256' || die 'the KMIP server does not start'
{ kmip_group bank alice "$PORT" 'timeout = 2s'; printf '%s\n' '[key bank-key]' 'uri = kmip://bank/vendor-4711'; } |
    cat >>/etc/kyok/kyok.conf
sed -i 's/^\[key root\]/[key vendor-key]/' /etc/kyok/kyok.conf
grep -v '^$' /etc/kyok/kyok.conf | short | sed 's/^/     /'
libvirtd_start || die 'libvirtd does not start'

step 'A disk that needs both' 'Its passphrase is random; it is sealed to the vendor'\''s key AND the bank'\''s, and bound to the VM.'
vm=$(cat /proc/sys/kernel/random/uuid)
show "$KYOK" disk create disk.img --size 8M --key 'all-of(vendor-key, bank-key)' --vm "$vm"
libvirtd_domain payroll raw "$SANDBOX/disk.img" "$("$KYOK" disk info disk.img | grep -o "uuid='[^']*'")" |
    sed "s|</name>|</name><uuid>$vm</uuid>|" >payroll.xml
virsh -q define payroll.xml >/dev/null || die 'the VM cannot be defined'

step 'libvirt starts the VM' 'The hook asks both custodians, proves the passphrase, hands it to libvirt, and takes it back.'
show virsh -q start --paused payroll
show "$KYOK" vm list
show virsh -q secret-list

step 'The VM writes; the host sees ciphertext'
# Through the running QEMU's own device, as the guest would; what it says goes to QEMU's log.
guest() { virsh -q qemu-monitor-command payroll --hmp "qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend \"$*\""; }
guest 'write -P 0x4b 0 64k'
virsh -q destroy payroll >/dev/null
printf '   64 KiB of the letter K were written. Ten of them in a row in disk.img: %s\n' "$(grep -c KKKKKKKKKK disk.img)"
[ "$(grep -c KKKKKKKKKK disk.img)" = 0 ] || die 'the data is in clear'
show "$BUILD/kyok-qemu-secret" --config /etc/kyok/kyok.conf --disk d=disk.img -- qemu-io -r --object secret,id=s,file=@d@ \
    -c 'read -P 0x4b 0 64k' --image-opts driver=luks,key-secret=s,file.filename=disk.img

step 'The bank revokes its key' 'On its own server; nothing is done on this host.'
kmip_tell bankserver 'state vendor-4711 deactivated' >/dev/null || die 'the server does not obey'
show_failure virsh -q start --paused payroll

step 'And allows it again'
kmip_tell bankserver 'state vendor-4711 active' >/dev/null || die 'the server does not obey'
show virsh -q start --paused payroll
virsh -q destroy payroll >/dev/null
printf '\nThe VM was started only while both parties consented. Guide: docs/vm-disks.md\n'
