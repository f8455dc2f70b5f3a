#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second real product: tpm2-pkcs11 over a software TPM. RSA and ECDSA in TLS, a CSR, and what a TPM
# cannot do, said so.
. "$(dirname "$0")/../support/lib.sh"
module=$(ls /usr/lib/*/libtpm2_pkcs11.so.1 /usr/lib/*/pkcs11/libtpm2_pkcs11.so 2>/dev/null | head -1)
need swtpm tpm2_ptool openssl nginx "${module:-/libtpm2_pkcs11.so}" "$MODULES/kyok.so"
mkdir "$SANDBOX/tpm" "$SANDBOX/store"
tpm_port=$(free_port)
background swtpm socket --tpm2 --tpmstate "dir=$SANDBOX/tpm" --server "type=tcp,port=$tpm_port" \
    --ctrl "type=tcp,port=$((tpm_port + 1))" --flags not-need-init,startup-clear
wait_for 10 port_answers $((tpm_port + 1))
export TPM2_PKCS11_STORE=$SANDBOX/store TPM2_PKCS11_TCTI=swtpm:host=127.0.0.1,port=$tpm_port
export TPM2TOOLS_TCTI=$TPM2_PKCS11_TCTI TPM2_PKCS11_LOG_LEVEL=0 TSS2_LOG=all+NONE
ok 'a store' tpm2_ptool init --path "$SANDBOX/store"
must 'a token' tpm2_ptool addtoken --pid=1 --sopin=$SO_PIN --userpin=$PIN --label=test --path "$SANDBOX/store"
ok 'an RSA key' tpm2_ptool addkey --algorithm=rsa2048 --label=test --key-label=rsa --userpin=$PIN --path "$SANDBOX/store"
ok 'an EC key' tpm2_ptool addkey --algorithm=ecc256 --label=test --key-label=ec --userpin=$PIN --path "$SANDBOX/store"
kyok_conf '[token test]' "module = $module" 'uri = pkcs11:token=test' "pin-source = file:$(pin_file)" 'timeout = 20'
openssl_conf
like 'kyok lists them' "$("$KYOK" key list test 2>&1)" 'ec'
ca_new
for key in rsa ec; do
    ok "$key: signs and verifies, 4 threads" "$SUPPORT/sign_tool" run "pkcs11:token=test;object=$key" 4 5
    ok "$key: reference" reference $key
    must "$key: certificate" certificate $key
done
port=$(free_port) port2=$(free_port)
nginx_server "$port" rsa
nginx_server "$port2" ec
sed_env() { sed -i 's/env KYOK_CONF;/env KYOK_CONF; env TPM2_PKCS11_STORE; env TPM2_PKCS11_TCTI; env TSS2_LOG; env TPM2_PKCS11_LOG_LEVEL;/' "$SANDBOX/nginx.conf"; }
nginx_conf
sed_env
background nginx -e "$SANDBOX/nginx-error.log" -c "$SANDBOX/nginx.conf" -p "$SANDBOX" -g 'daemon off;'
must 'nginx with keys in a TPM' wait_for 15 port_answers "$port"
for version in 1.2 1.3; do
    like "RSA, TLS $version" "$(tls_get "$port" "--tlsv$version" --tls-max $version 2>&1)" '^served with rsa'
    like "ECDSA, TLS $version" "$(tls_get "$port2" "--tlsv$version" --tls-max $version 2>&1)" '^served with ec'
done
refused 'what a TPM cannot do is refused with the mechanism' any 'CKM_|ed25519|Ed25519' \
    "$KYOK" key generate 'pkcs11:token=test;object=no' --type ed25519
done_testing
