#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The hook killed at any of its steps: libvirtd stays healthy, what it left is swept, and the next start
# works. KYOK_LONG=1 kills it at each call that changes something, at many others, and gives the guard the 50 s
# that it has by default.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"
need strace flock
strace -o /dev/null true 2>/dev/null || skip_all 'strace cannot trace here'

hook=$BUILD/libvirt-hook/kyok
must "hook, token and kyok.conf are in place" libvirtd_hook_install
must "libvirtd answers" libvirtd_start
must "it is hardened" "$KYOK" vm harden
must "a VM" libvirtd_vm one "$SANDBOX/one.img"
ok "its secrets are looked for" leaks_watch "$SANDBOX/one.img"

# The hook as libvirt runs it, killed in the operation $SANDBOX/plan says: its call number N of some set, in
# whichever of its processes comes there first.
rm /etc/libvirt/hooks/qemu.d/kyok
cat >/etc/libvirt/hooks/qemu.d/kyok <<X
#!/bin/bash
read -r operation calls nth <"$SANDBOX/plan"
[ "\$2" = "\$operation" ] || exec "$hook" "\$@"
exec strace -f -qq -o "$SANDBOX/trace" -e trace="\$calls" -e inject="\$calls:signal=KILL:when=\$nth" "$hook" "\$@"
X
chmod 755 /etc/libvirt/hooks/qemu.d/kyok

no_secrets() { [ "$(virsh -q secret-list | grep -c .)" = 0 ]; }
marks() { find /run/kyok/starting /run/kyok/held -type f 2>/dev/null; }
# Of this namespace alone.
hook_processes() {
    local file
    for file in /proc/[0-9]*; do
        [ "$(readlink "$file/ns/mnt" 2>/dev/null)" = "$(readlink /proc/self/ns/mnt)" ] &&
            tr '\0' ' ' <"$file/cmdline" 2>/dev/null | grep -E '^[^ ]*kyok (one (prepare|started|release)|--)'
    done
}
no_hook() { ! hook_processes | grep -q .; }
# A sweep passes over marks that are new.
sweep() { find /run/kyok/starting -type f -exec touch -d '-2 minutes' {} + 2>/dev/null; "$hook" --sweep; }

# One start with the hook killed; prints what is wrong afterwards. Status 1: it was not killed.
killed_start() {
    local killed
    echo "$*" >plan
    rm -f trace
    virsh -q start --paused one >start.out 2>&1
    killed=$(cat trace 2>/dev/null | grep -c 'killed by SIGKILL')
    timeout 30 virsh -q list --all >list.out 2>&1 || echo "$*: libvirtd does not answer"
    [ "$(virsh -q domstate one | head -1)" = 'shut off' ] || virsh -q destroy one >/dev/null
    echo 'none - 0' >plan
    wait_for 30 no_hook || echo "$*: left processes: $(hook_processes)"
    sweep || echo "$*: the sweep fails"
    no_secrets || echo "$*: left a secret"
    [ -z "$(marks)" ] || echo "$*: left marks: $(marks)"
    [ "$killed" != 0 ]
}

# kill_all OPERATION CALLS STEP [FIRST]: until no call is left to be killed at.
kill_all() {
    local n=${4:-1}
    points=0
    : >wrong
    while [ $n -lt 6000 ] && killed_start "$1" "$2" $n >>wrong; do
        points=$((points + 1))
        n=$((n + $3))
    done
}

# The guard would be traced too, and waited for: here a lock stands for it. What it does is tested below.
mkdir -p /run/kyok
exec {GUARD}>/run/kyok/guard
flock -n "$GUARD"
# What a hook changes, and what its supervisor waits for.
changes=write,mkdir,unlink,flock,connect,sendto,sendmsg,ftruncate
frame=clone,clone3,pipe2,wait4,waitid,pidfd_open,dup2
every=${KYOK_LONG:+1}
for operation in prepare started; do
    for calls in $changes $frame; do
        # Beginning anywhere, so that many runs see all.
        kill_all $operation $calls "${every:-23}" "${every:-$((RANDOM % 3 + 1))}"
        at_least "'$operation' killed at many of $calls" $points 1
        is "libvirtd answers and nothing is left, each time" "$(cat wrong)" ''
    done
done
if [ -n "${KYOK_LONG:-}" ]; then
    for operation in prepare started; do
        # strace counts each kind of call by itself, so a run ends at the first kind's Nth.
        kill_all $operation all 11
        at_least "'$operation' killed at every 11th call of each kind" $points 10
        is "libvirtd answers and nothing is left, each time" "$(cat wrong)" ''
    done
fi
echo 'none - 0' >plan
ok "afterwards it starts" virsh -q start --paused one
no_leaks 'the hook was killed everywhere'
virsh -q destroy one >/dev/null
exec {GUARD}>&-

# --- the guard itself removes what a killed hook left ---
# libvirtd believes in a hook that died after it gave the secret.
limit=60
[ -n "${KYOK_LONG:-}" ] || echo 'sweep = 2s' >/etc/kyok/libvirt-hook.conf
cat >/etc/libvirt/hooks/qemu.d/kyok <<X
#!/bin/bash
[ "\$2" = prepare ] || exit 0
"$hook" "\$@" || exit 1
[ ! -e "$SANDBOX/die" ] || { kill -9 \$\$; sleep 60; }
X
touch die
refused "a hook that is killed after it gave the secret" any 'Hook|hook' virsh -q start --paused one
is "leaves one secret" "$(virsh -q secret-list | grep -c .)" 1
begun=$SECONDS
ok "which is gone within a minute" wait_for 120 no_secrets
at_most "by the guard (s)" $((SECONDS - begun)) $limit
ok "and its mark" wait_for 30 test -z "$(marks)"
ok "the guard ends" wait_for 60 no_hook
rm die; ln -sf "$hook" /etc/libvirt/hooks/qemu.d/kyok; rm -f /etc/kyok/libvirt-hook.conf
ok "it starts" virsh -q start --paused one
ok "no secret is left" no_secrets
no_leaks 'the guard swept'
virsh -q destroy one >/dev/null

# --- preloading killed: nothing is exposed, and --preload-end clears it away ---
virsh -q autostart one
clear_away() {
    "$hook" --preload-end || echo "$1: --preload-end fails"
    no_secrets || echo "$1: left a secret"
    [ -z "$(marks)" ] || echo "$1: left marks"
    ! grep -q kyok/secrets /proc/self/mounts || echo "$1: left a mount"
    [ ! -e /run/kyok/preloaded ] || echo "$1: left its mark"
    leaks_search
}
preload_killed() {
    local calls=write,mkdir,mount,umount2,unlink,openat n=1
    points=0
    while [ $n -lt 400 ]; do
        (strace -f -qq -o trace -e trace=$calls -e "inject=$calls:signal=KILL:when=$n" "$hook" --preload) >/dev/null 2>&1
        grep -q 'killed by SIGKILL' trace || break
        points=$((points + 1))
        clear_away "$n"
        n=$((n + ${1:-23}))
    done
    clear_away end
}
preload_killed "${KYOK_LONG:+1}" >wrong 2>/dev/null
at_least "preloading killed at many calls" $points 3
is "nothing is left after --preload-end" "$(cat wrong)" ''
ok "afterwards it preloads" "$hook" --preload
ok "and ends" "$hook" --preload-end
no_leaks 'preloading was killed'
done_testing
