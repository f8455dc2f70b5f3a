#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second real product beside SoftHSM: openCryptoki's soft token, with its daemon in namespaces of the
# test's own (mounts and shared memory), so that nothing of the host's openCryptoki is touched.
module=$(ls /usr/lib/*/opencryptoki/libopencryptoki.so.0 /usr/lib/*/pkcs11/libopencryptoki.so 2>/dev/null | head -1)
if [ -z "${KYOK_INSIDE:-}" ] && [ "$(id -u)" = 0 ] && [ -n "$module" ] && unshare -m -i true 2>/dev/null; then
    KYOK_INSIDE=1 exec unshare -m -i "$0" "$@"
fi
. "$(dirname "$0")/../support/lib.sh"
need pkcsslotd pkcs11-tool openssl nginx curl "${module:-/libopencryptoki.so}" "$MODULES/kyok.so"
[ -n "${KYOK_INSIDE:-}" ] || skip_all 'needs root: namespaces for pkcsslotd'

mount --make-rprivate /
for directory in /var/lib/opencryptoki /run /dev/shm; do mount -t tmpfs -o mode=755 kyok-test "$directory"; done
mkdir -p /var/lib/opencryptoki/swtok/TOK_OBJ /run/lock/opencryptoki/swtok /run/opencryptoki
chgrp -R pkcs11 /var/lib/opencryptoki /run/lock/opencryptoki /run/opencryptoki
chown "$(id -u pkcsslotd 2>/dev/null || echo 0)" /run/opencryptoki # Debian 13's daemon gives up root
chmod -R 770 /var/lib/opencryptoki /run/lock/opencryptoki
# Debian 13's goes to the background whatever it is told.
daemon_end() {
    local file
    for file in /run/pkcsslotd.pid /run/opencryptoki/pkcsslotd.pid; do
        [ ! -s $file ] || kill -KILL "$(cat $file)" 2>/dev/null
    done
}
at_end+=(daemon_end)
background pkcsslotd -f
PIN=11223344 SO_PIN=56785678
tool() { pkcs11-tool --module "$module" --slot 3 "$@"; }
slot_is_there() { pkcs11-tool --module "$module" -L 2>/dev/null | grep -q '(0x3)'; }
must 'pkcsslotd' wait_for 10 slot_is_there
must 'a token' tool --init-token --label test --so-pin 87654321
ok 'its SO PIN' tool --login --login-type so --so-pin 87654321 --change-pin --new-pin $SO_PIN
ok 'its first user PIN' tool --login --login-type so --so-pin $SO_PIN --init-pin --pin 99887766
ok 'its user PIN' tool --login --pin 99887766 --change-pin --new-pin $PIN
kyok_conf '[token test]' "module = $module" 'uri = pkcs11:token=test' "pin-source = file:$(pin_file)" \
    'require = never-extractable' 'timeout = 20'
openssl_conf
ca_new
declare -A types=([rsa]=rsa-2048 [rsa4096]=rsa-4096 [ec]=ec-p256)
offers() { tool -M 2>/dev/null | grep -q "^ *$1,"; }
keys='rsa rsa4096'
if offers ECDSA-KEY-PAIR-GEN || offers EC-KEY-PAIR-GEN; then keys+=' ec'; fi # from Debian 13 on
for key in $keys; do
    must "$key: kyok key generate" "$KYOK" key generate "pkcs11:token=test;object=$key" --type "${types[$key]}"
    ok "$key: signs and verifies, 8 threads" "$SUPPORT/sign_tool" run "pkcs11:token=test;object=$key" 8 5
    ok "$key: reference" reference $key
    must "$key: request and certificate" certificate $key
    declare "port_$key=$(free_port)"
    port=port_$key
    nginx_server "${!port}" $key
done
# shellcheck disable=SC2154
{
must 'nginx' nginx_start
for version in 1.2 1.3; do
    for key in $keys; do
        port=port_$key
        like "$key: TLS $version" "$(tls_get "${!port}" "--tlsv$version" --tls-max $version 2>&1)" "^served with $key"
    done
done
like 'RSA key exchange' "$(tls_get "$port_rsa" --tls-max 1.2 --ciphers AES128-GCM-SHA256 2>&1)" '^served with rsa'
}
refused 'a key of another tool that could leave the token is refused' any 'CKA_EXTRACTABLE' \
    sh -c "pkcs11-tool --module '$module' --slot 3 --login --pin $PIN --keypairgen --key-type rsa:2048 --label weak --id 77 >/dev/null &&
        '$SUPPORT/sign_tool' run 'pkcs11:token=test;object=weak' 1 1"
missing='ed25519 ec-p256' # but for the last that it has
for type in ${missing%"${types[${keys##* }]}"}; do
    refused "this token has no $type keys: refused, saying so" any 'offers no CKM_' "$KYOK" key generate 'pkcs11:token=test;object=no' --type $type
done
like 'doctor finds nothing broken' "$("$KYOK" doctor 2>&1)" 'test'
signer 'pkcs11:token=test;object=rsa'
like 'signs' "$(signer_ask sign)" '^ok'
like 'a forked child signs' "$(signer_ask fork)" '^ok'
like 'and so does its parent' "$(signer_ask 'threads 4')" '^ok'
signer_end
done_testing
