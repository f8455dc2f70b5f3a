#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keys that live at a KMIP server, through the provider and the command: signatures, decryption,
# envelopes, PEM references, require.

. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"

need openssl
[ -e "$MODULES/kyok.so" ] || skip_all "the provider is not built"
kmip_server one "key rsa rsa-2048" "key p256 ec-p256" "key p384 ec-p384" "key kek aes-256" \
    "key rsa-nolink rsa-2048" "link rsa-nolink off" "key kept rsa-2048" "attribute kept extractable no" \
    "key sleeping rsa-2048" "state sleeping pre-active" "key wrapped rsa-2048" \
    "attribute wrapped sensitive yes" "attribute wrapped extractable yes" || skip_all "the scripted server does not start"
{
    kmip_group one alice "$PORT" "timeout = 3"
    kmip_group strict alice "$PORT" "timeout = 3" "require = never-extractable"
    kmip_group released alice "$PORT" "timeout = 3" "release = yes"
    kmip_group old alice "$PORT" "timeout = 3" "version = 1.2"
    kmip_group later alice "$PORT" "timeout = 3" "require = none"
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf
openssl_conf

cd "$SANDBOX" || exit 1
printf 'to be signed' >data
head -c 200000 /dev/urandom >long

public() { openssl pkey -in "kmip://one/$1" -pubout -out "$1.pub"; }
sign() { openssl dgst -sha256 -sign "$1" -out sig "${@:3}" "$2"; }
verify() { without_provider openssl dgst -sha256 -verify "$1" -signature sig "${@:3}" "$2"; }

for key in rsa p256 p384; do
    ok "$key: the public half, from the Link attribute" public $key
    ok "$key: sign" sign "kmip://one/$key" data
    ok "$key: verifies" verify $key.pub data
    ok "$key: sign 200 kB, as a digest" sign "kmip://one/$key" long
    ok "$key: verifies" verify $key.pub long
    kmip_tell one "profile no-digest" >/dev/null
    ok "$key: a server that signs whole data only" sign "kmip://one/$key" data
    ok "$key: verifies" verify $key.pub data
    refused "$key: and no more than 64 KiB" any 'whole messages only|65536' sign "kmip://one/$key" long
    kmip_tell one "profile full" >/dev/null
    ok "$key: KMIP 1.2, which has no digests" sign "kmip://old/$key" data
    ok "$key: verifies" verify $key.pub data
done
pss=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest)
ok "RSA-PSS" sign kmip://one/rsa data "${pss[@]}"
ok "verifies, with the salt asked for" verify rsa.pub data "${pss[@]}"

ok "OAEP: encrypt" without_provider openssl pkeyutl -encrypt -pubin -inkey rsa.pub -in data -out oaep \
    -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256
ok "OAEP: decrypt" openssl pkeyutl -decrypt -inkey kmip://one/rsa -in oaep -out plain \
    -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256
ok "OAEP: the same" cmp data plain
ok "PKCS#1: encrypt" without_provider openssl pkeyutl -encrypt -pubin -inkey rsa.pub -in data -out pkcs1
ok "PKCS#1: decrypt" openssl pkeyutl -decrypt -inkey kmip://one/rsa -in pkcs1 -out plain
ok "PKCS#1: the same" cmp data plain

# --- the public half --------------------------------------------------------------------------------
refused "no Link attribute: said so" any 'public half is not known' \
    openssl pkey -in kmip://one/rsa-nolink -pubout
ok "no Link attribute: ?public=" openssl pkey -in 'kmip://one/rsa-nolink?public=rsa-nolink-pub' -pubout -out nolink.pub
ok "sign with it" sign 'kmip://one/rsa-nolink?public=rsa-nolink-pub' data
ok "verifies" verify nolink.pub data
refused "another key's public half" any 'not one of the key' \
    sign 'kmip://one/rsa-nolink?public=rsa-pub' data

ok "by name" sign 'kmip://one?name=p256' data
ok "verifies" verify p256.pub data
refused "no such key" any 'no such object|ItemNotFound' sign kmip://one/nothing data
refused "no such name" any 'no object is named' sign 'kmip://one?name=nothing' data
refused "a key that is not active" any 'state is PreActive' sign kmip://one/sleeping data

# --- PEM references -----------------------------------------------------------------------------------
ok "a PEM reference" "$KYOK" key reference kmip://one/p256 -o p256.pem
like "with kyok's label" "$(cat p256.pem)" 'BEGIN KYOK KEY REFERENCE'
kmip_tell one down >/dev/null
ok "loads without the server" openssl pkey -in p256.pem -pubout -out offline.pub
ok "the public half is there" cmp p256.pub offline.pub
refused "but does not sign" any 'cannot connect' sign p256.pem data
kmip_tell one up >/dev/null
ok "signs when the server is back" sign p256.pem data
ok "verifies" verify p256.pub data

# --- require ----------------------------------------------------------------------------------------------
refused "require: an identity that may Get what it signs with" any 'does not meet require.*may Get' \
    sign kmip://strict/rsa data
ok "require: a key that the server keeps" sign kmip://strict/kept data
refused "require: a sensitive key that Get gives wrapped" any 'does not meet require.*may Get' \
    sign kmip://strict/wrapped data
kmip_tell one "deny alice Get" >/dev/null
unlike "require: not where the identity has no Get at all" "$(sign kmip://strict/wrapped data 2>&1)" 'require'
kmip_tell one "allow alice Get" >/dev/null
"$KYOK" key reference kmip://later/rsa -o later.pem
sed -i '/^\[kmip later\]/,$ s/require = none/require = non-extractable/' kyok.conf
ok "a deferred key loads whatever require says" openssl pkey -in later.pem -noout
refused "and is refused before its first signature" any 'does not meet require' sign later.pem data
like "ping warns" "$("$KYOK" kmip ping one 2>/dev/null)" 'may Sign with kmip://one/rsa and Get'
unlike "ping does not warn of a key that stays" "$("$KYOK" kmip ping one 2>/dev/null)" 'kmip://one/kept'

# --- faults in signatures ----------------------------------------------------------------------------------
kmip_tell one "fault Sign 2 identifier" >/dev/null
refused "an answer about another key" any 'another object' sign kmip://one/rsa data
kmip_tell one "fault none" >/dev/null
ok "the next one works" sign kmip://one/rsa data

# --- envelopes ------------------------------------------------------------------------------------------------
ok "seal to an AES key that stays at the server" "$KYOK" seal --to kmip://one/kek data -o data.kyok
ok "open" "$KYOK" open data.kyok -o opened
ok "the same" cmp data opened
ok "seal to an RSA key" "$KYOK" seal --to kmip://one/rsa data -o rsa.kyok
rm -f opened
ok "open" "$KYOK" open rsa.kyok -o opened
ok "the same" cmp data opened
kmip_tell one "fault Encrypt 1 other-iv" >/dev/null
refused "an IV of the server's own is not overlooked" any 'another IV' "$KYOK" seal --to kmip://one/kek data -o iv.kyok
# Another program takes the stream's name while the server thinks.
"$KYOK" seal --stream --to kmip://one/kek long -o raced.kyok
"$KYOK" seal --stream --to kmip://one/kek data -o other.kyok
kmip_tell one reset-stats >/dev/null
kmip_tell one "fault Decrypt 1 delay 1500" >/dev/null
"$KYOK" rewrap raced.kyok --fresh >/dev/null 2>raced.err &
rewrapping=$!
asked() { kmip_tell one stats | grep -q Decrypt=; }
ok "a rewrap is under way" wait_for 10 asked
cp other.kyok other.new && mv other.new raced.kyok
wait "$rewrapping"
is "it fails" $? 1
like "saying why" "$(cat raced.err)" 'changed by another program'
ok "the other program's stream stays as it is" cmp raced.kyok other.kyok
kmip_tell one "profile nine" >/dev/null
refused "a server that does not encrypt, and release = no" 1 'release = yes' \
    "$KYOK" seal --to kmip://one/kek data -o nine.kyok
ok "release = yes: seal" "$KYOK" seal --to kmip://released/kek data -o released.kyok
rm -f opened
ok "release = yes: open" "$KYOK" open released.kyok -o opened
ok "the same" cmp data opened
kmip_tell one "profile full" >/dev/null
ok "generate" "$KYOK" key generate 'kmip://one?name=made' --type ec-p256
ok "sign with it" sign 'kmip://one?name=made' data
like "list" "$("$KYOK" key list one 2>&1)" 'kmip://one/kek'

done_testing
