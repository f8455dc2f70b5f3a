#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install and uninstall, and what README.md has a newcomer type, word for word, with /etc, /usr and
# the tokens' folder covered by private copies.
. "$(dirname "$0")/../support/lib.sh"
need make pkg-config softhsm2-util openssl
tree=$SANDBOX/tree
make_it() { make -C "$SOURCE" --no-print-directory BUILD="$BUILD" "$@" >"$SANDBOX/make.log" 2>&1; }

for prefix in /usr/local /usr /opt/kyok; do
    ok "install PREFIX=$prefix" make_it install-files PREFIX=$prefix DESTDIR="$tree"
    ok 'the command runs from there' env LD_LIBRARY_PATH="$tree$prefix/lib/kyok" "$tree$prefix/bin/kyok" --version
    is 'and is told where its library will be' \
        "$(readelf -d "$tree$prefix/bin/kyok" | grep -c "RUNPATH.*\[$prefix/lib/kyok\]")" 1
    module=$(sed -n 's/^module = //p' "$tree$prefix/share/doc/kyok/openssl.cnf.example")
    ok "openssl.cnf's example names the module that is there: $module" test -f "$tree$module"
    ok 'so does the manual' grep -q "^module = $module\$" "$tree$prefix/share/man/man7/kyok-provider.7"
    ok 'there is a folder for the configuration' test -d "$tree/etc/kyok"
    ok 'uninstall' make_it uninstall PREFIX=$prefix DESTDIR="$tree"
    is 'leaves nothing' "$(find "$tree" -mindepth 1)" ''
done

# --- README.md, "Use it"
cat >"$SANDBOX/private.sh" <<'END'
set -e
mount --make-rprivate /
mkdir -p "$SANDBOX/over" && mount -t tmpfs tmpfs "$SANDBOX/over"
for dir in etc usr var/lib; do
    mkdir -p "$SANDBOX/over/$dir/upper" "$SANDBOX/over/$dir/work"
    mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$SANDBOX/over/$dir/upper,workdir=$SANDBOX/over/$dir/work" "/$dir"
done
[ ! -d /etc/kyok ] || mount -t tmpfs tmpfs /etc/kyok # a configuration of this machine's own
unset SOFTHSM2_CONF KYOK_CONF OPENSSL_CONF
mkdir -p "$SANDBOX/home" && cd "$SANDBOX/home"
make -s -C "$SOURCE" BUILD="$BUILD" install-files PREFIX=/usr >/dev/null
PS4='$ '
set -x
. "$SANDBOX/steps"
END
sed -n '/^A first key/,/^`web.key` goes/s/^    //p' "$SOURCE/README.md" >"$SANDBOX/steps"
if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
    skip 'needs root and mount namespaces: a private /etc and /usr'
else
    export SOURCE BUILD SANDBOX
    ok "README's first key" unshare -m bash "$SANDBOX/private.sh"
    like 'ends with a reference that holds no key' "$(cat "$SANDBOX/home/web.key")" 'BEGIN PKCS#11 PROVIDER URI'
    ok 'a request that verifies' openssl req -verify -noout -in "$SANDBOX/home/web.csr"
    openssl x509 -in "$SANDBOX/home/web.pem" -pubkey -noout >"$SANDBOX/home/web.pub"
    ok 'and a signature' openssl dgst -sha256 -verify "$SANDBOX/home/web.pub" -signature "$SANDBOX/home/web.sig" "$SANDBOX/home/web.pem"
    ok 'nothing of it is on this machine' test ! -e /etc/kyok/pin
fi
done_testing
