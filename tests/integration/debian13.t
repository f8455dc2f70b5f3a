#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok on Debian 13 (OpenSSL 3.5, nginx 1.26, libvirt 11, QEMU 10): built from this source in a tree made by
# debootstrap; unit tests, the provider's tests and those of VM disks run there (all of libvirt's with
# KYOK_LONG=1). The tree is kept in $KYOK_CACHE (/var/tmp/kyok-cache) for the
# next run; KYOK_MIRROR names another mirror.
. "$(dirname "$0")/../support/lib.sh"
[ "$(id -u)" = 0 ] || skip_all 'needs root: debootstrap and chroot'
need debootstrap unshare curl
mirror=${KYOK_MIRROR:-$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep -v security | head -n 1)}
suite=trixie
cache=${KYOK_CACHE:-/var/tmp/kyok-cache}
mkdir -p "$cache" || skip_all "needs root: a writable $cache"

# The packages that the release has, of those that the tests there need.
wanted=$(sed -n 's/^\(build\|nginx\|demo\) *//p' "$TESTS/support/packages" | tr '\n' ' ')
wanted+=' libcmocka-dev opensc haproxy p11-kit p11-kit-modules pkcs11-provider libnginx-mod-stream libnginx-mod-mail libnginx-mod-http-lua libengine-pkcs11-openssl'
wanted+=' swtpm swtpm-tools cryptsetup-bin xxd keyutils strace'
tree=$cache/$suite-$(md5sum <<<"$wanted" | cut -c1-12)

make_tree() {
    curl -sfI --max-time 20 "$mirror/dists/$suite/Release" >/dev/null || skip_all "no mirror with trixie: $mirror"
    local new
    new=$(mktemp -d "$cache/new.XXXXXX") || return 1
    chmod 755 "$new"
    diag "debootstrap $suite from $mirror into $tree"
    if debootstrap --variant=minbase "$suite" "$new" "$mirror" >"$SANDBOX/debootstrap.log" 2>&1 &&
        printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d" && chmod 755 "$new/usr/sbin/policy-rc.d" &&
        cp /etc/resolv.conf "$new/etc/resolv.conf" &&
        in_tree "$new" sh -c "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted" \
            >"$SANDBOX/install.log" 2>&1 && rm -rf "$new"/var/cache/apt/archives/*.deb; then
        mv "$new" "$tree"
    else
        tail -5 "$SANDBOX/debootstrap.log" "$SANDBOX/install.log" 2>/dev/null
        rm -rf "$new"
        return 1
    fi
}
# in_tree TREE COMMAND...: in a mount and process namespace of its own, with the source at /src (read-only).
in_tree() {
    local root=$1
    shift
    # shellcheck disable=SC2016
    unshare -m -p -f --kill-child sh -c '
        root=$1 source=$2; shift 2
        mount --make-rprivate / && mount --bind "$root" "$root" && mount -t proc proc "$root/proc" &&
        mount --rbind /sys "$root/sys" && mount -t tmpfs tmpfs "$root/dev" && mkdir "$root/dev/shm" "$root/dev/pts" &&
        mount -t tmpfs tmpfs "$root/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$root/tmp" || exit 1
        for d in null zero random urandom full tty kvm loop-control; do
            [ -e "/dev/$d" ] || continue
            touch "$root/dev/$d" && mount --bind "/dev/$d" "$root/dev/$d"
        done
        ln -s /proc/self/fd "$root/dev/fd"; ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
        printf "127.0.0.1 localhost\n::1 localhost\n" >"$root/etc/hosts"
        mkdir -p "$root/src" "$root/build" && mount --bind "$source" "$root/src" &&
        mount -o remount,bind,ro "$root/src" && mount -t tmpfs tmpfs "$root/build" || exit 1
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C BUILD=/build "$@"' \
        sh "$root" "$SOURCE" "$@"
}

if [ ! -d "$tree" ]; then must 'a Debian 13 tree' make_tree; fi
versions=$(in_tree "$tree" sh -c 'openssl version; nginx -v 2>&1; gcc --version | head -1')
diag "$versions"
like 'it has OpenSSL 3.5 or later' "$versions" 'OpenSSL 3\.([5-9]|[1-9][0-9])'

# One run builds and tests; its TAP is told file by file.
tests='tls_keys hsm_restart group_failover fork_threads haproxy_async p11kit_server provider_keys
    provider_certificates provider_move provider_operations nginx_keys nginx_upstream nginx_early_data nginx_workers'
libvirt='libvirt_baseline libvirt_hook disk'
[ -z "${KYOK_LONG:-}" ] || libvirt=$(cd "$TESTS/integration" && basename -s .t libvirt_*.t disk*.t qemu_secret.t | tr '\n' ' ')
tests+=" $libvirt"
# shellcheck disable=SC2086
in_tree "$tree" sh -c '
    cd /src && make -s -j"$(nproc)" BUILD=/build tests >/tmp/make.log 2>&1; echo "make $?"; tail -5 /tmp/make.log
    for t in /build/tests/unit/*_test; do
        CMOCKA_MESSAGE_OUTPUT=TAP tests/support/run_test.sh "$t" >/tmp/log 2>&1; echo "unit $? $(basename "$t")"; grep "^not ok" /tmp/log
    done
    for t in "$@"; do
        [ -e "tests/integration/$t.t" ] || continue
        # What libvirt keeps on disk has to lie on one: /tmp is memory here.
        TMPDIR=/var/tmp tests/support/run_test.sh "tests/integration/$t.t" >/tmp/log 2>&1; echo "integration $? $t"
        grep -a -A4 "^not ok\|# SKIP" /tmp/log | head -30
    done' sh $tests >"$SANDBOX/result" 2>&1
ok 'it builds there, warnings being errors' grep -q '^make 0' "$SANDBOX/result"
is 'unit tests' "$(grep '^unit ' "$SANDBOX/result" | grep -vc '^unit 0')" 0
for name in $tests; do
    [ -e "$TESTS/integration/$name.t" ] || continue
    ok "$name.t" grep -q "^integration 0 $name\$" "$SANDBOX/result"
done
[ "$tap_failed" -eq 0 ] || diag "$(grep -v '^integration 0\|^unit 0' "$SANDBOX/result")"
done_testing
