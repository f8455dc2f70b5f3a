#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every operation with a token's key, each checked by OpenSSL without kyok, and what it costs: two
# calls to the token per signature.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }
generate RSA rsa rsa_keygen_bits:2048 && generate_ec && generate ED25519 ed && generate ED448 ed448 ||
    { fail 'keys'; done_testing; }
for label in rsa $EC_KEYS ed ed448; do openssl pkey -in $label.ref -pubout -out $label.pub; done
echo 'what is signed' >data
plain() { without_provider openssl "$@"; }

# --- digest-sign
for label in rsa $EC_KEYS; do
    for digest in sha1 sha224 sha256 sha384 sha512 sha3-256 sha3-512; do
        ok "$label signs with $digest" openssl dgst -$digest -sign $label.ref -out sig data
        ok "$label with $digest verifies" plain dgst -$digest -verify $label.pub -signature sig data
    done
    ok "$label verifies with the reference itself" openssl dgst -sha3-512 -prverify $label.ref -signature sig data
    echo other >other
    refused "$label: other data do not verify" any 'ailure' openssl dgst -sha3-512 -prverify $label.ref -signature sig other
done
for label in ed ed448; do
    ok "$label signs" openssl pkeyutl -sign -rawin -inkey $label.ref -in data -out sig
    ok "$label verifies" plain pkeyutl -verify -rawin -pubin -inkey $label.pub -in data -sigfile sig
done
: >empty
ok 'an empty message is signed' openssl dgst -sha256 -sign rsa.ref -out sig empty
ok 'and verifies' plain dgst -sha256 -verify rsa.pub -signature sig empty
head -c 3000000 /dev/zero >big
ok 'a message of 3 MB is hashed here' openssl dgst -sha256 -sign ec256.ref -out sig big
ok 'and verifies' plain dgst -sha256 -verify ec256.pub -signature sig big

# --- PSS
pss() { openssl dgst -"$1" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:"$2" ${3:+-sigopt "$3"} "${@:4}"; }
for salt in digest max auto 20 0; do
    for digest in sha256 sha384 sha512; do
        ok "PSS with $digest, salt $salt" pss $digest $salt '' -sign rsa.ref -out sig data
        ok '... verifies' plain dgst -$digest -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:auto \
            -verify rsa.pub -signature sig data
    done
done
pss sha256 max '' -sign rsa.ref -out sig data
ok 'max is the largest salt' plain dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:222 \
    -verify rsa.pub -signature sig data
refused 'a salt that does not fit is refused' any 'does not fit' pss sha256 400 '' -sign rsa.ref -out sig data
ok 'PSS by padding of pkeyutl' sh -c 'openssl dgst -sha256 -binary data >digest &&
    openssl pkeyutl -sign -inkey rsa.ref -in digest -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -out sig'
ok '... verifies' plain pkeyutl -verify -pubin -inkey rsa.pub -in digest -pkeyopt digest:sha256 \
    -pkeyopt rsa_padding_mode:pss -sigfile sig

# --- sign without digest
ok 'PKCS#1 of a digest' openssl pkeyutl -sign -inkey rsa.ref -in digest -pkeyopt digest:sha256 -out sig
ok '... verifies' plain pkeyutl -verify -pubin -inkey rsa.pub -in digest -pkeyopt digest:sha256 -sigfile sig
ok 'PKCS#1 of raw bytes' openssl pkeyutl -sign -inkey rsa.ref -in digest -out sig
ok '... is recovered' sh -c 'openssl pkeyutl -verifyrecover -inkey rsa.ref -in sig | cmp - digest'
perl -e 'print "\0", "\x42" x 255' >block
ok 'ECDSA of a digest' openssl pkeyutl -sign -inkey ec256.ref -in digest -out sig
ok '... verifies' plain pkeyutl -verify -pubin -inkey ec256.pub -in digest -sigfile sig
refused 'a digest of the wrong size is refused' any 'bytes given' openssl pkeyutl -sign -inkey rsa.ref -in data -pkeyopt digest:sha256 -out sig

# --- decryption
crypt() { # NAME OPTION...
    local name=$1 option options=()
    shift
    for option in "$@"; do options+=(-pkeyopt "$option"); done
    plain pkeyutl -encrypt -pubin -inkey rsa.pub "${options[@]}" -in "${input:-digest}" -out secret
    ok "$name" openssl pkeyutl -decrypt -inkey rsa.ref "${options[@]}" -in secret -out clear
    ok '... gives the text' cmp clear "${input:-digest}"
}
crypt 'PKCS#1 v1.5 decryption' rsa_padding_mode:pkcs1
crypt 'OAEP with SHA-1' rsa_padding_mode:oaep
for digest in sha256 sha384 sha512; do crypt "OAEP with $digest" rsa_padding_mode:oaep rsa_oaep_md:$digest; done
crypt 'OAEP with another MGF1 digest' rsa_padding_mode:oaep rsa_oaep_md:sha256 rsa_mgf1_md:sha1
crypt 'OAEP with a label' rsa_padding_mode:oaep rsa_oaep_md:sha256 rsa_oaep_label:6b796f6b
input=block crypt 'raw decryption' rsa_padding_mode:none
ok 'encryption with the reference is done here' openssl pkeyutl -encrypt -inkey rsa.ref -in digest -out secret
plain pkeyutl -encrypt -pubin -inkey rsa.pub -pkeyopt rsa_padding_mode:oaep -in digest -out secret
refused 'OAEP with a wrong label fails' any 'kyok' openssl pkeyutl -decrypt -inkey rsa.ref \
    -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_label:00 -in secret -out clear

# --- PKCS#1 v1.5 outside TLS is no oracle
head -c 256 /dev/zero | tr '\0' '\1' >noise
ok 'a broken PKCS#1 block decrypts to something' openssl pkeyutl -decrypt -inkey rsa.ref -in noise -out clear1
ok 'to the same each time' sh -c 'openssl pkeyutl -decrypt -inkey rsa.ref -in noise -out clear2 && cmp clear1 clear2'
openssl_conf 'default kyok' 'implicit-rejection = no'
refused 'and is an error where implicit rejection is switched off' any 'kyok' openssl pkeyutl -decrypt -inkey rsa.ref -in noise -out clear1
openssl_conf

# --- derivation
for bits in 256 384 521; do
    plain genpkey -algorithm EC -pkeyopt group:P-$bits -out peer.key
    plain pkey -in peer.key -pubout -out peer.pub
    ok "ECDH on P-$bits" openssl pkeyutl -derive -inkey ec$bits.ref -peerkey peer.pub -out one
    plain pkeyutl -derive -inkey peer.key -peerkey ec$bits.pub -out two
    ok '... agrees' cmp one two
done
refused 'a peer on another curve is refused' any 'error' openssl pkeyutl -derive -inkey ec256.ref -peerkey peer.pub -out one

# X25519 and X448: SoftHSM has them by the names of Edwards keys only; the faulty HSM gives them their own.
faulty hsm lie montgomery
for curve in X25519 X448; do
    ok "$curve is generated in the token" openssl genpkey -propquery provider=kyok -algorithm $curve \
        -pkeyopt "kyok_uri:pkcs11:token=test;object=$curve" -out $curve.ref
    like "$curve: a reference" "$(head -1 $curve.ref)" 'PKCS#11 PROVIDER URI'
    openssl pkey -in $curve.ref -pubout -out $curve.pub
    plain genpkey -algorithm $curve -out peer.key
    plain pkey -in peer.key -pubout -out peer.pub
    faulty hsm reset
    ok "$curve: ECDH" openssl pkeyutl -derive -inkey $curve.ref -peerkey peer.pub -out one
    is "$curve: in the token" "$(faulty hsm count C_DeriveKey)" 1
    plain pkeyutl -derive -inkey peer.key -peerkey $curve.pub -out two
    ok "$curve: both sides agree" cmp one two
done
refused 'X25519 with a peer on X448 is refused' any 'error|does not match' openssl pkeyutl -derive -inkey X25519.ref -peerkey peer.pub -out one
refused 'X25519 does not sign' any 'error|not supported' openssl pkeyutl -sign -rawin -inkey X25519.ref -in "$0" -out one
faulty hsm lie

# --- two calls per signature
calls() { faulty hsm count | awk '{ sum += $2 } END { print sum + 0 }'; }
for label in rsa ec256 ed; do
    faulty hsm reset
    ok "$label signs 10 times" "$SUPPORT/sign_tool" run $label.ref 1 10
    few=$(calls)
    faulty hsm reset
    ok "$label signs 60 times" "$SUPPORT/sign_tool" run $label.ref 1 60
    is "$label: 50 signatures more are 100 calls more" $(($(calls) - few)) 100
done
done_testing
