#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# vm audit finds each leak of a host that is not hardened; vm harden closes what can be closed.
. "$(dirname "$0")/../support/libvirtd.sh"
# A master key in memory is no finding, and /tmp may be in memory.
[ "$(stat -f -c %T "${TMPDIR:-/tmp}")" != tmpfs ] || export TMPDIR=/var/tmp
[ "$(stat -f -c %T "${TMPDIR:-/tmp}")" != tmpfs ] || libvirtd_skip 'no temporary folder on disk'
libvirtd_enter "$0" "$@"

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
ok "libvirtd answers" libvirtd_start
ok "a VM" libvirtd_vm one "$SANDBOX/one.img"
audit() { "$KYOK" vm audit 2>/dev/null; }
pass=$("$BUILD/kyok-qemu-secret" --config /etc/kyok/kyok.conf --disk d=one.img -- cat @d@)
# stolen FOLDER: what that folder on disk and libvirt's log yield to somebody who copies them
stolen() {
    local key line
    for key in "$1"/domain-*/master-key.aes; do
        [ -f "$key" ] || continue
        line=$(grep -h -o '"data":"[^"]*","keyid":"masterKey0","iv":"[^"]*"' /var/log/libvirt/qemu/one.log | tail -1)
        echo "$(cut -d'"' -f4 <<<"$line")" | openssl enc -d -aes-256-cbc -a -A -K "$(xxd -p -c 64 "$key")" \
            -iv "$(cut -d'"' -f12 <<<"$line" | base64 -d | xxd -p)" 2>/dev/null
    done
}

# --- not hardened: everything is found ---
virsh -q start --paused one >/dev/null
is "with stock libvirt the passphrase can be computed from what lies on the host" "$(stolen /var/lib/libvirt/qemu)" "$pass"
like "audit: the master key" "$(audit)" '^master-key: /var/lib/libvirt/qemu/domain-'
like "audit: the log" "$(audit)" '^log: .*one.log'
head -c 8180 /dev/zero | tr '\0' x >/var/log/libvirt/qemu/one.log.0; cat /var/log/libvirt/qemu/one.log >>/var/log/libvirt/qemu/one.log.0
like "audit: a rotated log, across its pieces" "$(audit)" '^log: .*one.log.0'
rm /var/log/libvirt/qemu/one.log.0
sed "s|<name>one<|<name>poison<|; s|<uuid>.*</uuid>||; s|<metadata></metadata>|<metadata><k:vm xmlns:k='urn:kyok:libvirt:1'><k:record/></k:vm></metadata>|" one.img.domain >poison.xml
ok "a VM with metadata that cannot be read" virsh -q define poison.xml
like "audit: that is one finding" "$(audit)" '^unreadable: '
like "and hides no other" "$(audit)" '^master-key: '
ok "list shows the others" sh -c "'$KYOK' vm list | grep -q '^one '"
virsh -q autostart poison; virsh -q autostart one; virsh -q destroy one
refused "autostart tells of it" 1 'poison.*neither disk= nor vtpm=' "$KYOK" vm autostart
is "and starts the others" "$(virsh domstate one | head -1)" running
virsh -q destroy one; virsh -q start --paused one; virsh -q autostart --disable one
virsh -q undefine poison >/dev/null
refused "audit's exit code is 1 when there is a finding" 1 'findings' "$KYOK" vm audit
refused "harden refuses while a VM runs" 1 'one: the VM runs' "$KYOK" vm harden
unit=$SOURCE/libvirt-hook/kyok-vm-harden.service
is "its unit cannot be started by hand, nor when libvirtd has run" "$(grep -cx 'RefuseManualStart=yes\|ConditionPathExists=!/run/libvirt/libvirt-sock' "$unit")" 2
refused "its unit, started by hand, too" 1 'a VM runs' "$KYOK" vm harden --boot
virsh -q managedsave one >/dev/null
like "audit: a save image" "$(audit)" '^save-image: .*one.save'
virsh -q managedsave-remove one >/dev/null
echo "<secret ephemeral='no' private='no'><uuid>6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11</uuid></secret>" >s.xml
virsh -q secret-define s.xml >/dev/null; virsh -q secret-set-value 6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11 "$(echo -n x | base64)" >/dev/null 2>&1
like "audit: a stored secret" "$(audit)" '^stored-secret: '
virsh -q secret-undefine 6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11 >/dev/null
truncate -s 1M plain.img
sed "s|<memballoon|<disk type='file' device='disk'><source file='$SANDBOX/plain.img'/><target dev='vdb' bus='virtio'/></disk><tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm><memballoon|" one.img.domain >mixed.xml
virsh -q define mixed.xml >/dev/null
like "audit: a disk in clear" "$(audit)" '^plain-disk: one'
like "audit: a TPM in clear" "$(audit)" '^vtpm: one'
virsh -q autostart one >/dev/null
like "audit: autostart without preloading" "$(audit)" '^autostart: one'
virsh -q autostart one --disable >/dev/null
virsh -q define one.img.domain >/dev/null
mv one.img.kyok away
like "audit: no record" "$(audit)" '^no-record: .*one.img'
sed "s|<metadata>.*</metadata>|<metadata><k:vm xmlns:k='urn:kyok:libvirt:1'><k:record disk='$(cat /proc/sys/kernel/random/uuid)'>{}</k:record></k:vm></metadata>|" one.img.domain >bogus.xml
virsh -q define bogus.xml
like "audit: no record, though the metadata hold another's" "$(audit)" '^no-record: .*one.img'
virsh -q define mixed.xml
mv away one.img.kyok
unlike "audit: with its record all is well there" "$(audit)" '^no-record'
mkdir -p /var/lib/libvirt/qemu/dump /var/lib/libvirt/qemu/snapshot/one; touch /var/lib/libvirt/qemu/dump/one-1
echo "<domainsnapshot><memory snapshot='external' file='/x'/></domainsnapshot>" >/var/lib/libvirt/qemu/snapshot/one/s.xml
like "audit: a dump" "$(audit)" '^dump: .*/one-1'
like "audit: a snapshot of memory" "$(audit)" '^memory-snapshot: .*/s.xml'
rm -r /var/lib/libvirt/qemu/dump/one-1 /var/lib/libvirt/qemu/snapshot/one
ok "--json" sh -c "'$KYOK' vm audit --json 2>/dev/null | perl -MJSON::PP -0777 -ne 'decode_json \$_'"

# --- hardened ---
mkdir -p /var/lib/libvirt/qemu/nvram; echo variables >/var/lib/libvirt/qemu/nvram/one_VARS.fd
echo own >/var/lib/libvirt/qemu/db_VARS.fd; mkdir /var/lib/libvirt/qemu/varstore; echo own >/var/lib/libvirt/qemu/varstore/db.json
ok "harden" "$KYOK" vm harden
is "what else lies there is still there" "$(cat /var/lib/libvirt/qemu/db_VARS.fd /var/lib/libvirt/qemu/varstore/db.json | tr '\n' ' ')" 'own own '
echo changed >/var/lib/libvirt/qemu/db_VARS.fd
is "and on disk" "$(cat /run/kyok/qemu/db_VARS.fd)" changed
ok "twice does nothing" "$KYOK" vm harden
like "the folder is in memory" "$(findmnt -n -o FSTYPE /var/lib/libvirt/qemu)" 'tmpfs|ramfs'
is "nvram is still on disk" "$(cat /var/lib/libvirt/qemu/nvram/one_VARS.fd)" variables
rm -f /var/log/libvirt/qemu/one.log
ok "the VM starts" virsh -q start --paused one
unlike "audit: no master key on disk" "$(audit)" '^master-key'
ok "libvirtd restarts with the VM running" libvirtd_restart
is "it stays up" "$(virsh domstate one | head -1)" paused
leaks_watch one.img
no_leaks 'restart of libvirtd on a hardened host'
is "nothing on disk yields the passphrase" "$(stolen /run/kyok/qemu)" ""
is "no master key lies below" "$(find /run/kyok/qemu -name master-key.aes)" ""
ok "managed save" virsh -q managedsave one
ok "its image is on disk" test -s /run/kyok/qemu/save/one.save
no_leaks 'managed save'
ok "restore" virsh -q start one
refused "removal is refused while a VM runs" 1 'one: the VM runs' "$KYOK" vm harden --remove
virsh -q destroy one >/dev/null
ok "removal" "$KYOK" vm harden --remove
is "what changed there stays" "$(cat /var/lib/libvirt/qemu/db_VARS.fd)" changed
is "the folder is on disk again" "$(grep -c ' /var/lib/libvirt/qemu ' /proc/self/mounts)" 0
ok "the VM starts" virsh -q start --paused one
virsh -q destroy one >/dev/null
done_testing
