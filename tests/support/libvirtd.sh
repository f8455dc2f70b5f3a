# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A real libvirtd without systemd, in a mount namespace of the test's own: nothing of the host's /etc,
# /run or /var is touched. A test begins with these lines:
#
#   . "$(dirname "$0")/../support/libvirtd.sh"
#   libvirtd_enter "$0" "$@"   runs the test again inside the namespace (or skips it, saying why), with lib.sh
#                              and leaks.sh at hand, in $SANDBOX
#
#   LIBVIRT_NET=1 before libvirtd_enter: with a network of its own, too
#   libvirtd_start             starts virtlogd and libvirtd, waits until they answer (deadline 30 s)
#   libvirtd_stop, libvirtd_restart
#   libvirtd_domain NAME FORMAT IMAGE SECRET [METADATA] [DEVICES]   prints a 32 MiB domain's XML
#   libvirtd_hook_install [TOKEN]   the hook, a SoftHSM token ("bank") with the AES key "root", kyok.conf
#   libvirtd_hooks VM          prints the hooks that are at work for its start
#   libvirtd_vm NAME IMAGE [FORMAT]   defines a VM with a disk of kyok's, bound to it
#
# $LIBVIRT_DIR is the test's scratch folder; it is removed when the test ends.

# What libvirt has learnt about this machine's QEMU, from test to test: asking takes seconds of processor
# time. libvirt itself checks that it is of this QEMU, this libvirt and this kernel.
libvirtd_learnt=${BUILD:-build}/tests/libvirt-capabilities
libvirtd_remember() {
    local new
    [ ! -e "$libvirtd_learnt" ] && [ -n "$(ls -A /var/cache/libvirt/qemu/capabilities 2>/dev/null)" ] || return 0
    new=$(mktemp -d "$libvirtd_learnt.XXXXXX") && cp -a /var/cache/libvirt/qemu/capabilities/. "$new" &&
        mv -T "$new" "$libvirtd_learnt" 2>/dev/null || rm -rf "$new" # another test was quicker
}

libvirtd_skip() { echo "1..0 # SKIP $1"; exit 0; }

libvirtd_enter() {
    if [ -n "${LIBVIRT_DIR:-}" ]; then libvirtd_begin "$1"; return; fi
    [ "$(id -u)" = 0 ] || libvirtd_skip "needs root: a mount namespace of its own"
    local tool
    for tool in unshare libvirtd virtlogd virsh qemu-img qemu-system-x86_64; do
        command -v "$tool" >/dev/null || libvirtd_skip "$tool is not installed"
    done
    unshare -m -u true 2>/dev/null || libvirtd_skip "no mount namespaces here"
    LIBVIRT_DIR=$(mktemp -d "${TMPDIR:-/tmp}/kyok-virt.XXXXXX") || exit 1
    export LIBVIRT_DIR
    local result=0
    unshare -m -u ${LIBVIRT_NET:+-n} "$@" || result=$?
    rm -rf "$LIBVIRT_DIR"
    exit $result
}

# libvirtd_begin TEST: the test itself, inside.
libvirtd_begin() {
    libvirtd_namespace
    . "$(dirname "$1")/../support/lib.sh"
    . "$(dirname "$1")/../support/leaks.sh"
    at_end+=(libvirtd_stop)
    cd "$SANDBOX" || exit 1
}

# Private /etc (an overlay), /run and libvirt folders.
libvirtd_namespace() {
    local d=$LIBVIRT_DIR name
    [ -z "${LIBVIRT_NET:-}" ] || ip link set lo up || exit 1
    mount --make-rprivate / && hostname "${LIBVIRT_HOST:-kyoktest}" || exit 1
    mkdir -p "$d"/{upper,work,run,lib/qemu,log/qemu,cache/qemu}
    mount -t tmpfs -o mode=755 kyok-run "$d/run"
    # An overlay's upper layer may not itself lie on an overlay: a tmpfs always serves.
    mkdir -p "$d/overlay" && mount -t tmpfs -o mode=755 kyok-etc "$d/overlay"
    mkdir -p "$d/overlay/upper" "$d/overlay/work"
    mount -t overlay -o "lowerdir=/etc,upperdir=$d/overlay/upper,workdir=$d/overlay/work" overlay /etc ||
        libvirtd_skip "no overlay file system here"
    rm -rf /etc/libvirt/qemu /etc/libvirt/secrets /etc/libvirt/storage /etc/libvirt/hooks /etc/kyok
    mkdir -p /etc/libvirt/qemu /etc/libvirt/hooks/qemu.d /etc/kyok/vm
    mkdir -m 700 /etc/libvirt/secrets
    mount --bind "$d/run" /run && mkdir -p /run/libvirt /run/lock
    for name in lib log cache; do
        mkdir -p "/var/$name/libvirt" && mount --bind "$d/$name" "/var/$name/libvirt"
    done
    [ ! -d "$libvirtd_learnt" ] || cp -a "$libvirtd_learnt" /var/cache/libvirt/qemu/capabilities
    # User root: with another user and a root-only /dev/kvm libvirt probes QEMU again at every call.
    printf '%s\n' 'user = "root"' 'group = "root"' 'dynamic_ownership = 0' 'remember_owner = 0' \
        'security_driver = "none"' 'namespaces = []' 'cgroup_controllers = []' >>/etc/libvirt/qemu.conf
    printf '%s\n' 'unix_sock_group = "root"' 'unix_sock_rw_perms = "0700"' 'auth_unix_ro = "none"' \
        'auth_unix_rw = "none"' "log_outputs = \"2:file:$d/libvirtd.log\"" \
        "host_uuid = \"$(cat /proc/sys/kernel/random/uuid)\"" >"$d/libvirtd.conf"
    export LIBVIRT_DEFAULT_URI=qemu:///system
    LIBVIRT_TYPE=qemu
    [ -r /dev/kvm ] && [ -w /dev/kvm ] && LIBVIRT_TYPE=kvm
    [ "${LIBVIRT_FORCE_TCG:-}" = 1 ] && LIBVIRT_TYPE=qemu
}

libvirtd_pid() { cat "$LIBVIRT_DIR/libvirtd.pid" 2>/dev/null; }

libvirtd_ready() {
    local tries=300
    until virsh -q list >/dev/null 2>&1; do
        kill -0 "$(libvirtd_pid)" 2>/dev/null || { echo "libvirtd died" >&2; return 1; }
        tries=$((tries - 1)); [ $tries -gt 0 ] || { echo "libvirtd does not answer" >&2; return 1; }
        sleep 0.1
    done
}

# Its number goes to a file, since tests call this in subshells.
libvirtd_launch() {
    setsid libvirtd -f "$LIBVIRT_DIR/libvirtd.conf" -p /run/libvirt/l.pid >/dev/null 2>>"$LIBVIRT_DIR/libvirtd.err" &
    echo $! >"$LIBVIRT_DIR/libvirtd.pid"
    disown # else the shell tells of one that had to be killed
}

libvirtd_start() {
    [ -f /run/libvirt/vl.pid ] || virtlogd -d -p /run/libvirt/vl.pid || return 1
    libvirtd_launch
    libvirtd_ready
}

# SIGNAL: how the daemon is told to end.
libvirtd_end_daemon() {
    local pid tries=200
    pid=$(libvirtd_pid) || return 0
    kill "-${1:-TERM}" "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null; do
        tries=$((tries - 1)); [ $tries -gt 0 ] || { kill -9 "$pid" 2>/dev/null; break; }
        sleep 0.05
    done
    rm -f "$LIBVIRT_DIR/libvirtd.pid"
}

libvirtd_restart() { libvirtd_end_daemon; libvirtd_launch; libvirtd_ready; }

libvirtd_stop() {
    local file pid
    libvirtd_end_daemon
    libvirtd_remember
    for file in /run/libvirt/qemu/*.pid /run/libvirt/qemu/swtpm/*.pid /run/libvirt/vl.pid; do
        [ -f "$file" ] && pid=$(cat "$file") && [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null
    done
    # The hook's guard, in this namespace alone.
    for file in /proc/[0-9]*; do
        [ "$(readlink "$file/ns/mnt" 2>/dev/null)" = "$(readlink /proc/self/ns/mnt)" ] &&
            tr '\0' ' ' <"$file/cmdline" 2>/dev/null | grep -q -- '^kyok --guard' && kill "${file#/proc/}"
    done
    return 0
}

# VM: the hooks that prepare its start, in this test's namespace: others run beside it.
libvirtd_hooks() {
    local pid
    for pid in $(pgrep -f "^/etc/libvirt/hooks/qemu.d/kyok $1 prepare"); do
        [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || echo "$pid"
    done
}

# NAME FORMAT IMAGE SECRET [METADATA] [DEVICES]; SECRET is uuid='…' or usage='…'
libvirtd_domain() {
    cat <<X
<domain type='$LIBVIRT_TYPE'><name>$1</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
 <metadata>${5:-}</metadata>
 <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
 <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
 <disk type='file' device='disk'><driver name='qemu' type='$2'/>
  <source file='$3'><encryption format='luks'><secret type='passphrase' $4/></encryption></source>
  <target dev='vda' bus='virtio'/></disk>${6:-}
 <memballoon model='none'/><controller type='usb' model='none'/></devices></domain>
X
}

# What the hook finds is what libvirtd's environment leaves: files in their usual places.
libvirtd_hook_install() {
    local token=${1:-bank}
    ln -s "$BUILD/libvirt-hook/kyok" /etc/libvirt/hooks/qemu.d/kyok
    softhsm_new bank && softhsm_token bank "$token" && rm -rf /etc/softhsm && mkdir /etc/softhsm &&
        cp "$SANDBOX/bank.conf" /etc/softhsm/softhsm2.conf || return 1
    p11tool bank --token-label "$token" --keygen --key-type AES:32 --label root --id 01 --sensitive \
        >/dev/null 2>&1 || return 1
    printf '%s\n' "[token $token]" "module = $(softhsm_module)" "uri = pkcs11:token=$token" \
        "pin-source = file:$(pin_file)" 'timeout = 2s' '[key root]' \
        "uri = pkcs11:token=$token;object=root" >/etc/kyok/kyok.conf
}

libvirtd_vm() {
    local uuid secret
    uuid=$(cat /proc/sys/kernel/random/uuid)
    "$KYOK" disk create "$2" --size 4M --key root --format "${3:-raw}" --vm "$uuid" >"$2.xml" || return 1
    secret=$(grep -o "uuid='[^']*'" "$2.xml")
    libvirtd_domain "$1" "${3:-raw}" "$2" "$secret" | sed "s|</name>|</name><uuid>$uuid</uuid>|" >"$2.domain"
    virsh -q define "$2.domain" >/dev/null
}
