#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Moving from pkcs11-provider is a change of the module's path in openssl.cnf, and moving back too.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
softhsm_new soft && softhsm_token soft test && faulty_new hsm soft || { fail 'token'; done_testing; }
token_key soft test ec 01 EC:prime256v1
token_key soft test rsa 02 rsa:2048
echo data >data

# moved LINE...: openssl.cnf as pkcs11-provider's manual writes it, with kyok's module; no kyok.conf.
moved() {
    printf '%s\n' 'openssl_conf = openssl_init' '[openssl_init]' 'providers = provider_sect' '[provider_sect]' \
        'default = default_sect' 'pkcs11 = pkcs11_sect' '[default_sect]' 'activate = 1' '[pkcs11_sect]' \
        "module = $MODULES/kyok.so" "pkcs11-module-path = $SANDBOX/hsm.so" "$@" 'activate = 1' >moved.cnf
    export OPENSSL_CONF=$SANDBOX/moved.cnf KYOK_CONF=$SANDBOX/empty.conf
    : >empty.conf
}
sign() { openssl dgst -sha256 -sign "$1" -out sig data && openssl pkey -in "$1" -pubout -out pub &&
    without_provider openssl dgst -sha256 -verify pub -signature sig data; }
pin_file >/dev/null

moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-load-behavior = early' \
    'pkcs11-module-quirks = no-deinit no-operation-state no-session-callbacks no-allowed-mechanisms' \
    'pkcs11-module-cache-pins = cache' 'pkcs11-module-cache-keys = false' 'pkcs11-module-cache-sessions = 5' \
    'pkcs11-module-login-behavior = auto'
ok 'PIN in the section: ECDSA' sign 'pkcs11:token=test;object=ec'
ok 'RSA' sign 'pkcs11:token=test;object=rsa;type=private'
ok 'the key is written' openssl pkey -in 'pkcs11:token=test;object=ec' -out ec.pem
like "as pkcs11-provider's form" "$(cat ec.pem)" 'BEGIN PKCS#11 PROVIDER URI'
# Without its type, pkcs11-provider takes the pair's private or public object, whichever the token names last.
like 'naming the private object' "$(openssl asn1parse -in ec.pem)" ';type=private$'
ok 'and read' sign ec.pem
faulty hsm reset
ok 'load-behavior = early' openssl list -providers
is 'contacts nothing either' "$(faulty hsm count | grep -c .)" 0
moved "pkcs11-module-token-pin = file:$SANDBOX/pin"
ok 'PIN in a file' sign 'pkcs11:token=test;object=ec'
moved "pkcs11-module-token-pin = $SANDBOX/pin"
ok 'PIN in a file, without file:' sign 'pkcs11:token=test;object=ec'
moved
ok 'PIN in the URI' sign "pkcs11:token=test;object=ec?pin-value=$PIN"
ok 'PIN source in the URI' sign "pkcs11:token=test;object=ec?pin-source=file:$SANDBOX/pin"
refused 'no PIN at all: no prompt, an error' any 'PIN' timeout 20 openssl pkey -in 'pkcs11:token=test;object=ec' -noout
moved "pkcs11-module-token-pin = 9999"
refused 'a wrong PIN' any 'PIN' openssl pkey -in 'pkcs11:token=test;object=ec' -noout
unlike 'is not shown' "$(openssl pkey -in 'pkcs11:token=test;object=ec' -noout 2>&1)" 9999
for cache in true false; do
    moved "pkcs11-module-token-pin = $PIN" "pkcs11-module-cache-keys = $cache"
    faulty hsm reset
    ok "cache-keys = $cache" "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 9
    is 'a copy of the key or none' "$cache $(faulty hsm count C_CopyObject)" "$([ $cache = true ] && echo true 1 || echo false 0)"
done
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-cache-keys = session'
refused 'cache-keys = session' any 'pkcs11-module-cache-keys = session: expected' sign 'pkcs11:token=test;object=ec'
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-encode-provider-uri-to-pem = false'
ok 'encode-provider-uri-to-pem = false: no reference is written' sh -c '! openssl pkey -in "pkcs11:token=test;object=ec" -out no.pem'
unlike 'and no file says otherwise' "$(cat no.pem 2>/dev/null)" 'PROVIDER URI'
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-block-operations = digest rand signature'
unlike 'block-operations = signature' "$(openssl list -signature-algorithms)" '@ pkcs11'
like 'blocks nothing else' "$(openssl list -key-managers)" '@ pkcs11'
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-allow-export = 1'
ok 'allow-export = 1: the key signs and verifies' sign 'pkcs11:token=test;object=ec'
ok 'a request too' sh -c 'openssl req -new -key "pkcs11:token=test;object=rsa" -subj /CN=x -config req.cnf -out x.csr && openssl req -verify -noout -in x.csr -config req.cnf'
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-assume-fips = true'
ok 'assume-fips: found with fips=yes' openssl genpkey -propquery 'fips=yes' -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt 'pkcs11_uri:pkcs11:token=test;object=fips' -out fips.pem
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-init-args = p=1'
refused 'init-args are handed on: SoftHSM refuses any' any 'C_Initialize.*CKR_ARGUMENTS_BAD' sign 'pkcs11:token=test;object=ec'
moved "pkcs11-module-token-pin = $PIN"
sed "s|pkcs11-module-path = .*|pkcs11-module-path = /nonexistent.so|" moved.cnf >env.cnf
ok 'PKCS11_PROVIDER_MODULE wins over the section' env OPENSSL_CONF="$SANDBOX/env.cnf" PKCS11_PROVIDER_MODULE="$SANDBOX/hsm.so" \
    openssl pkey -in 'pkcs11:token=test;object=ec' -noout
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-login-behavior = never'
ok 'login-behavior = never: public keys' openssl pkey -pubin -in 'pkcs11:token=test;object=ec;type=public' -noout
faulty hsm reset
openssl storeutl -noout pkcs11:token=test >/dev/null 2>&1
is 'without any login' "$(faulty hsm count | grep -c '^C_Login ')" 0
moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-login-behavior = always'
faulty hsm reset
ok 'login-behavior = always' openssl pkey -pubin -in 'pkcs11:token=test;object=ec;type=public' -noout
is 'logs in' "$(faulty hsm count | grep -c '^C_Login ')" 1

peer=$(ls /usr/lib/*/ossl-modules/pkcs11.so 2>/dev/null | head -1)
if [ -n "$peer" ]; then
    # SoftHSM wants no-deinit of pkcs11-provider: it falls at exit without.
    moved "pkcs11-module-token-pin = $PIN" 'pkcs11-module-quirks = no-deinit'
    openssl pkey -in 'pkcs11:token=test;object=ec' -out ec.pem
    sed -i "s|module = .*kyok.so|module = $peer|" moved.cnf
    ok 'moving back: pkcs11-provider reads the file that kyok wrote' sign ec.pem
else
    skip 'pkcs11-provider is not installed here'
fi

# --- the manual names every parameter
manual=$SOURCE/openssl-provider/kyok-provider.7
for parameter in $(sed -n 's/^    {"\([a-z0-9-]*\)", \(set_\|accept\).*/\1/p' "$SOURCE/openssl-provider/params.c"); do
    like "kyok-provider(7) has $parameter" "$(grep '^\.It Ic' "$manual")" "[ ,]$parameter( |\$)"
done
done_testing
