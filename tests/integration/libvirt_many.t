#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many VMs: one after another beside a stored secret, all at once, by themselves at boot. Logins are
# counted at the HSM. KYOK_LONG=1: 50 starts in sequence, 20 in parallel, 50 at boot.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"
need cryptsetup

sequence=${KYOK_LONG:+50}; sequence=${sequence:-3}
parallel=${KYOK_LONG:+20}; parallel=${parallel:-4}
boot=${KYOK_LONG:+50}; boot=${boot:-5}
hook=$BUILD/libvirt-hook/kyok
ok "hook, token and kyok.conf are in place" libvirtd_hook_install
faulty_new counted bank
sed -i "s|^module = .*|module = $SANDBOX/counted.so|" /etc/kyok/kyok.conf
ok "libvirtd answers" libvirtd_start
ok "the host is hardened" "$KYOK" vm harden
logins() { faulty counted count C_Login; }
no_secrets() { [ "$(virsh -q secret-list | grep -c .)" = 0 ]; }
running() { virsh -q list --name | grep -c "^$1"; }

# --- in sequence, beside a stored secret ---
must "a VM" libvirtd_vm sealed "$SANDBOX/sealed.img"
ok "its secrets are looked for" leaks_watch sealed.img
printf %064d 7 >pass
truncate -s 6M stored.img
cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-size 512 --hash sha256 --key-file pass stored.img
u=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
echo "<secret ephemeral='no' private='yes'><uuid>$u</uuid></secret>" >secret.xml
virsh -q secret-define secret.xml >/dev/null && virsh -q secret-set-value $u --file pass --plain >/dev/null
libvirtd_domain stored raw "$SANDBOX/stored.img" "uuid='$u'" >stored.xml
ok "a VM with a stored secret" virsh -q define stored.xml
in_sequence() {
    local i begun
    for ((i = 0; i < sequence; i++)); do
        for vm in stored sealed; do
            begun=$(now_ms)
            virsh -q start --paused $vm || return 1
            echo $(($(now_ms) - begun)) >>$vm.ms
            virsh -q destroy $vm || return 1
        done
    done
}
faulty counted reset
ok "$sequence starts of each, by turns" in_sequence
is "one login for each of the sealed" "$(logins)" "$sequence"
is "only the stored secret is left" "$(virsh -q secret-list | grep -c .)" 1
median() { sort -n "$1" | perl -e '@v = <>; print $v[@v / 2]'; }
diag "median: $(median stored.ms) ms with the stored secret, $(median sealed.ms) ms with kyok"
virsh -q secret-undefine $u >/dev/null
no_leaks "$sequence starts in sequence"

# --- in parallel ---
for i in $(seq "$parallel"); do libvirtd_vm "p$i" "$SANDBOX/p$i.img" || diag "p$i is not made"; done
in_parallel() {
    local i pids=() result=0
    for i in $(seq "$parallel"); do virsh -q start --paused "p$i" & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i" || result=1; done
    return $result
}
leaks_watch p1.img p2.img
# What is tested is that they do not hinder each other, not how busy this machine is; KYOK_DEADLINE= keeps
# the default of 3 s.
[ -z "${KYOK_DEADLINE-60s}" ] || echo "timeout = ${KYOK_DEADLINE-60s}" >/etc/kyok/libvirt-hook.conf
faulty counted reset
begun=$(now_ms)
ok "$parallel VMs start in parallel" in_parallel
diag "in $(($(now_ms) - begun)) ms"
is "all run" "$(running p)" "$parallel"
is "one login for each" "$(logins)" "$parallel"
rm -f /etc/kyok/libvirt-hook.conf
ok "no secret is left" no_secrets
is "no mark is left" "$(ls /run/kyok/starting)" ""
no_leaks "$parallel starts in parallel"
for i in $(seq "$parallel"); do virsh -q destroy "p$i" >/dev/null; done

# --- at boot ---
for i in $(seq "$boot"); do
    libvirtd_vm "b$i" "$SANDBOX/b$i.img" && virsh -q autostart "b$i" || diag "b$i is not made"
done
leaks_watch b1.img b2.img
libvirtd_end_daemon; rm -f /run/libvirt/qemu/autostarted
faulty counted reset
begun=$(now_ms)
ok "the records of $boot VMs are opened before libvirtd starts" "$hook" --preload
opened=$(($(now_ms) - begun))
is "with one login" "$(logins)" 1
libvirtd_launch
ok "libvirtd answers" libvirtd_ready
diag "records opened in $opened ms, all VMs up after $(($(now_ms) - begun)) ms"
is "all run" "$(running b)" "$boot"
is "no more logins" "$(logins)" 1
ok "afterwards" "$hook" --preload-end
ok "no secret is left" no_secrets
no_leaks "$boot VMs started by themselves"

# --- those that waited for a custodian: by priority ---
for i in 1 2 3 4; do virsh -q destroy b$i >/dev/null; done
priority() { virsh -q metadata "$1" --uri urn:kyok:libvirt:1 --key kyok --set "<vm priority='$2'/>" --config; }
ok "priorities" sh -c : && priority b3 20 && priority b1 5 && priority b4 -1
vm=$(virsh -q domuuid b3 | head -1)
ok "a record in the metadata" "$KYOK" disk bind b3.img --vm "$vm" --metadata
like "leaves the priority there" "$(virsh -q metadata b3 urn:kyok:libvirt:1)" "priority=.20"
is "the highest first, then by name" "$("$KYOK" vm autostart | tr '\n' ' ')" 'b3 started b1 started b2 started b4 started '
no_leaks 'start by priority'
for i in $(seq "$boot"); do virsh -q destroy "b$i" >/dev/null; done
done_testing
