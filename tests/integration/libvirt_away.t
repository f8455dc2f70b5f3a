#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A custodian that a network partition hides: nothing refuses, nothing answers. The start is refused within
# the hook's deadline, libvirtd goes on, and the next start works when the custodian is back.
. "$(dirname "$0")/../support/libvirtd.sh"
LIBVIRT_NET=1 libvirtd_enter "$0" "$@"
. "$TESTS/support/kmip.sh"

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
kmip_server bank "key kek aes-256" || skip_all "the scripted KMIP server does not start"
# The group's own patience is longer than the hook's.
{ kmip_group party alice "$PORT" 'timeout = 50s'; printf '%s\n' '[key bank]' 'uri = kmip://party/kek'; } >>/etc/kyok/kyok.conf
ok "libvirtd answers" libvirtd_start
ok "the host is hardened" "$KYOK" vm harden
u=$(cat /proc/sys/kernel/random/uuid)
"$KYOK" disk create "$SANDBOX/one.img" --size 1M --key bank --vm "$u" >one.xml
libvirtd_domain one raw "$SANDBOX/one.img" "$(grep -o "uuid='[^']*'" one.xml)" | sed "s|</name>|</name><uuid>$u</uuid>|" >one.domain
must "a VM whose key a KMIP server has" virsh -q define one.domain
ok "its secrets are looked for" leaks_watch one.img
ok "it starts" virsh -q start --paused one
virsh -q destroy one >/dev/null
no_secrets() { [ "$(virsh -q secret-list | grep -c .)" = 0 ]; }
hook_runs() { [ -n "$(libvirtd_hooks one)" ]; }

# away HOW: the hook's deadline is 3 s; what has none would take 50 s or for ever.
away() {
    local begun listed
    begun=$(now_ms)
    virsh -q start --paused one >start.out 2>&1 & starter=$!
    wait_for 30 hook_runs
    listed=$(now_ms)
    ok "$1: virsh list --all answers meanwhile" timeout 60 virsh -q list --all
    at_most "and waits no longer than the deadline (ms; a busy machine's time beside)" $(($(now_ms) - listed)) 15000
    wait $starter
    at_most "the start ends with the deadline (ms)" $(($(now_ms) - begun)) 15000
    like "refused, naming VM, disk, key and what is wrong" "$(cat start.out)" 'VM one: .*(party|kek).*(time|deadline|answer)'
    ok "no secret is left" no_secrets
    is "no mark is left" "$(ls /run/kyok/starting)" ""
}
back() {
    ok "back: the next start works" virsh -q start --paused one
    virsh -q destroy one >/dev/null
    no_leaks "$1"
}

# --- connections are accepted, by the kernel, and nobody speaks ---
server=${started[-1]}
kill -STOP "$server"
away 'a server that is silent'
kill -CONT "$server"
back 'a server that was silent'

# --- packets vanish ---
drop() { iptables "$1" INPUT -p tcp --dport "$PORT" -j DROP; }
if command -v iptables >/dev/null && drop -A 2>/dev/null; then
    away 'a server that no packet reaches'
    refused "kyok vm autostart would try again later" 3 '.' sh -c "virsh -q autostart one && '$KYOK' vm autostart"
    drop -D
    ok "and starts it then" "$KYOK" vm autostart
    virsh -q destroy one >/dev/null
    back 'a server that no packet reached'
else
    skip 'packets cannot be dropped here' 10
fi
done_testing
