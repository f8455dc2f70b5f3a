#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A KMIP identity whose private key stays in an HSM: key = pkcs11:... in the [kmip] section.

. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"

need openssl softhsm2-util pkcs11-tool
[ -e "$MODULES/kyok.so" ] || skip_all "the provider is not built"
softhsm_module >/dev/null || skip_all "SoftHSM is not installed"
kmip_server one "key k aes-256" "key rsa rsa-2048" || skip_all "the scripted server does not start"

softhsm_new hsm && softhsm_token hsm identity && token_key hsm identity client 01 EC:prime256v1 ||
    skip_all "SoftHSM does not work here"
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
key="pkcs11:token=identity;object=client;type=private"
{
    printf '%s\n' "[token identity]" "module = $(softhsm_module)" "uri = pkcs11:token=identity" \
        "pin-source = file:$(pin_file)"
    kmip_group one alice "$PORT" "timeout = 5" | sed "s|^key = .*|key = $key|; s|^certificate = .*|certificate = $SANDBOX/client.crt|"
    kmip_group absent alice "$PORT" "timeout = 5" | sed "s|^key = .*|key = pkcs11:token=identity;object=nobody;type=private|"
    kmip_group other alice "$PORT" "timeout = 5" | sed "s|^key = .*|key = $key|"
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf

# The certificate request is signed by the token's key.
openssl_conf
ok "a certificate request by the token's key" openssl req -new -key "$key" -subj /CN=alice -out "$SANDBOX/client.csr"
printf 'extendedKeyUsage=clientAuth\n' >"$SANDBOX/client.ext"
ok "signed by the CA" without_provider openssl x509 -req -in "$SANDBOX/client.csr" -CA "$CERTS/ca.crt" \
    -CAkey "$CERTS/ca.key" -set_serial 77 -days 2 -extfile "$SANDBOX/client.ext" -out "$SANDBOX/client.crt"

unset OPENSSL_CONF
like "ping with that identity" "$("$KYOK" kmip ping one 2>/dev/null)" 'identity +/CN=alice'
ok "get" "$KYOK" kmip get one k --out "$SANDBOX/k"
ok "TLS 1.2 too" kmip_tell one "tls 1.2"
ok "get over TLS 1.2" "$KYOK" kmip get one k --out "$SANDBOX/k2"
openssl_conf
printf data >"$SANDBOX/data"
ok "a program whose own provider is kyok signs with a kmip: key" \
    openssl dgst -sha256 -sign kmip://one/rsa -out "$SANDBOX/sig" "$SANDBOX/data"
ok "the public half" openssl pkey -in kmip://one/rsa -pubout -out "$SANDBOX/rsa.pub"
ok "verifies" without_provider openssl dgst -sha256 -verify "$SANDBOX/rsa.pub" -signature "$SANDBOX/sig" "$SANDBOX/data"
ok "without OPENSSL_CONF the connection does not need it" \
    env -u OPENSSL_CONF "$KYOK" key reference kmip://one/rsa -o "$SANDBOX/rsa.pem"
refused "an absent key is named" any 'nobody' "$KYOK" kmip ping absent
refused "a certificate of another key" any 'does not belong to the client key' "$KYOK" kmip ping other
rm "$SANDBOX/pin"
refused "no PIN, no identity" any 'client key cannot be used' "$KYOK" kmip ping one

done_testing
