#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How many PKCS#11 calls a new process makes before it signs or opens an envelope, and how many each
# signature takes: behind a network every call is a round trip.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so" "$KYOK"
must 'an HSM' hsm_new rsa ec ed
must 'an AES key' "$KYOK" key generate 'pkcs11:token=test;object=aes' --type aes-256
run() { "$SUPPORT/sign_tool" run "$@"; }
# calls COMMAND...: what it called but C_Initialize and C_Login.
calls() {
    faulty hsm reset
    "$@" >"$SANDBOX/called" 2>&1 || { diag "$(cat "$SANDBOX/called")"; echo failed; return; }
    faulty hsm count calls
}

# C_GetInfo, twice C_GetSlotList, C_GetTokenInfo of two slots, C_GetSlotInfo, C_OpenSession,
# C_GetMechanismInfo: 8. The search of an object: 3, its attributes: 1. A signature: 2.
is 'a new process signs with an RSA key: 8 + 4 + 2' "$(calls run 'pkcs11:token=test;object=rsa' 1 1)" 14
# A private EC key does not hold its public half: the public key or certificate is sought too.
is 'with an EC key: 8 + 2 * 4 + 2' "$(calls run 'pkcs11:token=test;object=ec' 1 1)" 18
is 'with an Edwards key: as many' "$(calls run 'pkcs11:token=test;object=ed' 1 1)" 18
is 'each further signature: 2' "$(calls run 'pkcs11:token=test;object=ec' 1 101)" $((18 + 200))
is 'one login' "$(faulty hsm count C_Login)" 1
reference ec
is 'by a PEM key reference: the same' "$(calls run "$SANDBOX/ec.key" 1 1)" 18
echo secret >"$SANDBOX/in"
ok 'an envelope' "$KYOK" seal --to 'pkcs11:token=test;object=aes' "$SANDBOX/in" -o "$SANDBOX/out"
# What an AES key's token can do is asked where it is to seal.
is 'a new process opens it: 7 + 4 + 2' "$(calls "$KYOK" open "$SANDBOX/out" -o "$SANDBOX/again")" 13
is 'to what was sealed' "$(cat "$SANDBOX/again")" secret

# A module that stops at the first attribute that an object lacks: asked in sets, then one by one.
sed -i '/^uri/a require = never-extractable' "$SANDBOX/kyok.conf"
faulty hsm lie attribute-stops
for key in rsa ec ed; do
    ok "$key: a module that stops at the first attribute it lacks" run "pkcs11:token=test;object=$key" 1 2
done
faulty hsm lie attribute-stops attribute-empty
refused 'there too an attribute that is not told is not true' any 'NEVER_EXTRACTABLE|SENSITIVE|EXTRACTABLE|has no such key' \
    "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
done_testing
