#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VMs that libvirtd starts by itself: preloaded secrets, no call while it starts up, nothing left.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"

hook=$BUILD/libvirt-hook/kyok
ok "hook, token and kyok.conf are in place" libvirtd_hook_install
ok "libvirtd answers" libvirtd_start
ok "the host is hardened" "$KYOK" vm harden
for i in 1 2 3; do
    ok "VM a$i" libvirtd_vm "a$i" "$SANDBOX/a$i.img"
    ok "starts by itself from now on" virsh -q autostart "a$i"
done
leaks_watch a1.img a2.img
# Each names its secrets in another way: uuid= alone, usage=, uuid= and a vTPM.
sed "s|<secret type='passphrase' uuid='[^']*'/>|<secret type='passphrase' usage='/disk \&amp; \&lt;2>'/>|" a2.img.domain >a2.xml
ok "one names its secret by usage=" virsh -q define a2.xml
tpm=$(cat /proc/sys/kernel/random/uuid) held=3
if command -v swtpm >/dev/null && command -v swtpm_setup >/dev/null; then
    "$KYOK" vm tpm a3 --key root --secret "$tpm" >/dev/null; held=4
    sed "s|<memballoon|<tpm model='tpm-tis'><backend type='emulator' version='2.0'><encryption secret='$tpm'/></backend></tpm><memballoon|" a3.img.domain >a3.xml
    ok "one has an encrypted vTPM" virsh -q define a3.xml
else
    skip 'no swtpm'
fi
ok "a VM that does not" libvirtd_vm other "$SANDBOX/other.img"
stored=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
echo "<secret ephemeral='no' private='no'><uuid>$stored</uuid></secret>" >stored.xml
virsh -q secret-define stored.xml >/dev/null; virsh -q secret-set-value $stored "$(echo -n kept | base64)" >/dev/null 2>&1
sed "s/$stored/8e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11/" stored.xml >gone.xml; virsh -q secret-define gone.xml >/dev/null

# reboot: no VM runs, and libvirtd has forgotten that it ever started one
reboot() { local i; for i in 1 2 3; do virsh -q destroy "a$i"; done >/dev/null 2>&1; libvirtd_end_daemon; rm -f /run/libvirt/qemu/autostarted; }
answers() { timeout "$1" virsh -q list --all >/dev/null; }
running() { virsh -q list --name | grep -c '^a'; }

# --- without preloading: the hook's deadline is what stands between the host and a deadlock ---
reboot
echo 'timeout = 1s' >/etc/kyok/libvirt-hook.conf
begun=$(now_ms)
libvirtd_launch
ok "without preloading libvirtd answers in the end" libvirtd_ready
at_most "after one deadline for each VM (ms)" $(($(now_ms) - begun)) 60000
is "no VM runs" "$(running)" 0
like "and the log names the cure" "$(cat "$LIBVIRT_DIR/libvirtd.log")" 'kyok-vm-preload'
is "no mark is left" "$(ls /run/kyok/starting 2>/dev/null)" ""
rm /etc/kyok/libvirt-hook.conf
ok "a start by hand works" virsh -q start a1

# --- preloaded ---
reboot
ok "the records are opened before libvirtd starts" "$hook" --preload
is "their secrets lie in memory, the vTPM's too" "$(find /etc/libvirt/secrets -name '*.base64' ! -name "$stored*" | wc -l)" $held
like "not on disk" "$(findmnt -n -o FSTYPE /etc/libvirt/secrets)" 'tmpfs|ramfs'
is "for root alone" "$(stat -c %a /etc/libvirt/secrets)" 700
ok "the stored secret is still there" test -f /etc/libvirt/secrets/$stored.base64
ok "preloading twice does nothing" "$hook" --preload
deadlines() { grep -c 'the deadline of' "$LIBVIRT_DIR/libvirtd.log"; }
before=$(deadlines)
at_least "(each waited before)" "$before" 3
libvirtd_launch
ok "libvirtd answers" libvirtd_ready
is "and no hook waited for it" "$(deadlines)" "$before"
is "all three VMs run" "$(running)" 3
echo "<secret ephemeral='no' private='no'><uuid>7e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11</uuid></secret>" >late.xml
ok "a secret is stored meanwhile" virsh -q secret-define late.xml
# A stored secret that is removed meanwhile stays removed, and none is rewritten without need.
gone=8e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
ok "a stored secret is removed meanwhile" virsh -q secret-undefine $gone
inode=$(stat -c %i:%Y /run/kyok/stored/$stored.base64)
if strace -o /dev/null true 2>/dev/null; then
    new=7e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
    for nth in 1 2 3 4 5 6; do
        (strace -f -qq -o /dev/null -e trace=write,fsync,renameat,unlinkat,umount2 -P /run/kyok/stored/.$new.xml.kyok -P /run/kyok/stored \
            -P /etc/libvirt/secrets -e inject=write,fsync,renameat,unlinkat,umount2:signal=KILL:when=$nth "$hook" --preload-end) >/dev/null 2>&1
    done
fi
ok "afterwards, though killed several times on the way" "$hook" --preload-end
is "a stored secret is as it was" "$(base64 -d </etc/libvirt/secrets/$stored.base64)" kept
is "and was not touched" "$(stat -c %i:%Y /etc/libvirt/secrets/$stored.base64)" "$inode"
is "what was removed is gone from the disk" "$(find /etc/libvirt/secrets -name "$gone*" | wc -l)" 0
is "no memory file system is left" "$(grep -c kyok/secrets /proc/self/mounts)" 0
ok "the folder on disk is back" test -f /etc/libvirt/secrets/$stored.base64
ok "with the secret that was stored meanwhile" test -f /etc/libvirt/secrets/7e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11.xml
is "only stored secrets are left in libvirtd" "$(virsh -q secret-list | grep -c .)" 2
no_leaks 'preloading'
is "no mark is left" "$(find /run/kyok/held /run/kyok/starting -name "*-*" 2>/dev/null | wc -l)" 0
ok "the VMs still run after a restart of libvirtd" libvirtd_restart
is "all three" "$(running)" 3
ok "another VM starts as ever" virsh -q start other

# Two are enough for what follows.
ok "one no longer starts by itself" virsh -q autostart a3 --disable

# --- a locked VM: none of its keys is on the host ---
ok "one VM is locked" "$KYOK" vm lock a1
reboot
like "its record is not opened" "$("$hook" --preload 2>&1)" '1 of 1'
luks1=$("$KYOK" disk info a1.img --json | grep -o '"luks": "[^"]*"' | cut -d'"' -f4)
is "nothing of it lies there" "$(grep -l "$luks1" /etc/libvirt/secrets/*.xml | wc -l)" 0
libvirtd_launch
ok "libvirtd answers" libvirtd_ready
is "the other one runs" "$(running)" 1
ok "afterwards" "$hook" --preload-end
ok "unlock" "$KYOK" vm unlock a1

# --- one record cannot be opened: the others start, that one later ---
reboot
mv a2.img.kyok a2.away; echo '{}' >a2.img.kyok
refused "one of two fails, and says so" 1 '1 of 2' "$hook" --preload
libvirtd_launch
ok "libvirtd answers" libvirtd_ready
is "one VM runs" "$(running)" 1
ok "afterwards" "$hook" --preload-end
mv a2.away a2.img.kyok
ok "the other starts when its record is back" "$KYOK" vm autostart
is "both run" "$(running)" 2
ok "nothing to do" "$KYOK" vm autostart

# --- the custodian is away at boot ---
reboot
mv /etc/softhsm/softhsm2.conf /etc/softhsm/away
refused "no record opens" 1 '0 of 2' "$hook" --preload
libvirtd_launch
ok "libvirtd answers nevertheless" libvirtd_ready
ok "afterwards" "$hook" --preload-end
refused "the VMs cannot start" 3 '2 of 2 VMs cannot be started' "$KYOK" vm autostart
like "and each is told why" "$("$KYOK" vm autostart 2>&1 | tr '\n' ' ')" 'VM a1: .*key pkcs11:token=bank.*VM a2: .*key pkcs11:token=bank'
mv /etc/softhsm/away /etc/softhsm/softhsm2.conf
ok "and start when it is back" "$KYOK" vm autostart
is "both run" "$(running)" 2
done_testing
