#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cache-keys: copies of keys in session objects sign, two calls each as ever; what the token refuses, what
# is lost, and what becomes of a key that is suspended or destroyed.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so" "$KYOK"
HSM_LINES=('cache-keys = 60s' 'require = never-extractable')
must 'an HSM' hsm_new rsa ec ed
kyok() { "$KYOK" "$@" >"$SANDBOX/kyok.out" 2>&1; }
run() { "$SUPPORT/sign_tool" run "$@"; }
count() { faulty hsm count "$@"; }
# cached TIME: what kyok.conf says from here on.
cached() { sed -i "s/^cache-keys = .*/cache-keys = $1/" "$SANDBOX/kyok.conf"; }
# many N: the signer of now signs N times; prints how often it did.
many() { for ((i = 0; i < $1; i++)); do signer_ask sign; done | grep -c '^ok'; }

# --- the copy signs --------------------------------------------------------------------------------
for key in rsa ec ed; do
    reference $key
    faulty hsm reset
    ok "$key: 20 signatures, each verified" run "$SANDBOX/$key.key" 1 20
    is "$key: one copy" "$(count C_CopyObject)" 1
    is "$key: two calls a signature" "$(count C_SignInit) $(count C_Sign)" '20 20'
done
faulty hsm reset
ok '8 threads' run "$SANDBOX/ec.key" 8 20
ok 'a session has one copy at most' [ "$(count C_CopyObject)" -le "$(count C_OpenSession)" ]
faulty hsm reset
ok 'a key that signs once' run "$SANDBOX/ec.key" 1 1
is 'is not copied' "$(count C_CopyObject)" 0
cached no
faulty hsm reset
ok 'cache-keys = no' run "$SANDBOX/ec.key" 1 20
is 'no copy' "$(count C_CopyObject)" 0
cached 60s

# --- a token that makes none, or none as well kept as the key ---------------------------------------
for rv in CKR_FUNCTION_NOT_SUPPORTED CKR_TEMPLATE_INCONSISTENT CKR_DEVICE_MEMORY CKR_SESSION_READ_ONLY CKR_GENERAL_ERROR; do
    faulty hsm clear
    faulty hsm reset
    faulty hsm fail C_CopyObject $rv
    like "$rv: the key itself signs" "$(run "$SANDBOX/ec.key" 1 20)" 'ok=20 failed=0'
    is "$rv: asked once" "$(count C_CopyObject)" 1
done
faulty hsm clear
signer "$SANDBOX/ec.key"
is 'a copy of which the token tells nothing' "$(many 1)" 1
faulty hsm reset
faulty hsm fail C_GetAttributeValue CKR_FUNCTION_FAILED
is 'is not used' "$(many 9) $(count C_CopyObject)" '9 1'
faulty hsm clear
faulty hsm reset
is 'nor made again' "$(many 9) $(count C_CopyObject)" '9 0'
signer_end
ok 'another EC key' kyok key generate 'pkcs11:token=test;object=ec2' --type ec-p256
# Two keys in one session; the answers of sign_tool are verified signatures.
sed -i 's/^cache-keys/sessions = 1\n&/' "$SANDBOX/kyok.conf"
while read -r lie what; do
    signer 'pkcs11:token=test;object=ec'
    faulty hsm lie $lie
    faulty hsm reset
    like "$what: one key" "$(signer_ask key 'pkcs11:token=test;object=ec')" '^ok'
    is 'signs' "$(many 5)" 5
    like 'and another' "$(signer_ask key 'pkcs11:token=test;object=ec2')" '^ok'
    is 'which signs, and not the copy of the first' "$(many 5)" 5
    is 'each was copied' "$(count C_CopyObject)" 2
    signer_end
    faulty hsm clear
done <<'LIES'
other-copy the token gives another key's copy
one-number the token gives a key the number of another, which is no more
LIES
# SoftHSM shows a copy as the token's own until it is ready.
sed -i '/^sessions/d' "$SANDBOX/kyok.conf"
faulty hsm lie copy-shown
faulty hsm delay C_CopyObject 200ms
run "$SANDBOX/ec.key" 16 20 20 >"$SANDBOX/shown" &
for ((i = 0; i < 40; i++)); do faulty hsm fail C_SignInit CKR_KEY_HANDLE_INVALID 1; sleep 0.01; done
wait $!
like 'keys are looked for while copies are made' "$(cat "$SANDBOX/shown")" 'ok=320 failed=0'
faulty hsm clear
sed -i 's/^cache-keys/sessions = 1\n&/' "$SANDBOX/kyok.conf"
# A copy that takes long stands for the key from when that began to sign.
cached 2s
signer 'pkcs11:token=test;object=ec'
is 'signs' "$(many 1)" 1
faulty hsm delay C_CopyObject 2s
is 'a copy that is ready when its time is over' "$(many 1)" 1
faulty hsm fail C_SignInit CKR_KEY_FUNCTION_NOT_PERMITTED 1
like 'does not sign: the key does, and is refused' "$(signer_ask sign)" '^failed.*NOT_PERMITTED'
signer_end
faulty hsm clear
cached 60s
sed -i '/^sessions/d' "$SANDBOX/kyok.conf"
softhsm soft pkcs11-tool --module "$(softhsm_module)" --token-label test --login --pin "$PIN" --keypairgen \
    --key-type EC:prime256v1 --label each --id 0e --always-auth >/dev/null 2>&1
faulty hsm reset
ok 'a key that wants a login each time' run 'pkcs11:token=test;object=each' 1 9
is 'is not copied' "$(count C_CopyObject)" 0

# --- loss ------------------------------------------------------------------------------------------
signer "$SANDBOX/ec.key"
is 'copied' "$(many 9)" 9
faulty hsm restart
faulty hsm reset
is 'the HSM starts anew: 6 of 6' "$(many 6)" 6
is 'and the key is copied again' "$(count C_CopyObject)" 1
for rv in CKR_KEY_HANDLE_INVALID CKR_OBJECT_HANDLE_INVALID CKR_KEY_FUNCTION_NOT_PERMITTED CKR_FUNCTION_FAILED \
    CKR_USER_NOT_LOGGED_IN CKR_SESSION_HANDLE_INVALID CKR_DEVICE_ERROR CKR_DEVICE_REMOVED; do
    signer_end
    signer "$SANDBOX/ec.key"
    is "$rv: signs" "$(many 5)" 5
    faulty hsm fail C_SignInit $rv 1
    is "$rv of the copy: nobody notices" "$(many 5)" 5
done
like 'the key is found anew, and its copies are not' "$(signer_ask key 'pkcs11:token=test;object=ec')" '^ok'
is 'no object is ever destroyed: its number may be another' "$(count C_DestroyObject)" 0
like 'forked children sign' "$(signer_ask fork)" '^ok'
signer_end

# --- more keys than a session keeps copies of ------------------------------------------------------
for n in 1 2 3 4 5 6 7 8 9 10; do
    ok "key $n" kyok key generate "pkcs11:token=test;object=k$n" --type ec-p256
done
sed -i 's/^cache-keys/sessions = 1\n&/' "$SANDBOX/kyok.conf"
faulty hsm reset
signer "$SANDBOX/ec.key"
for turn in 1 2 3 4; do
    for n in 1 2 3 4 5 6 7 8 9 10; do signer_ask key "pkcs11:token=test;object=k$n"; done
done >"$SANDBOX/turns"
is 'ten keys in turn, each time loaded anew, in one session' "$(grep -c '^ok' "$SANDBOX/turns")" 40
is 'one session' "$(count C_OpenSession)" 1
is 'eight copies' "$(count C_CopyObject)" 8
signer_end
cached 1s
signer "$SANDBOX/ec.key"
for n in 1 2 3 4 5 6 7 8; do signer_ask key "pkcs11:token=test;object=k$n"; done >"$SANDBOX/turns"
is 'eight keys that sign once' "$(grep -c '^ok' "$SANDBOX/turns")" 8
sleep 1.1
faulty hsm reset
like 'a ninth' "$(signer_ask key 'pkcs11:token=test;object=k9')" '^ok'
is 'that signs often' "$(many 9)" 9
is 'is copied' "$(count C_CopyObject)" 1
signer_end
cached 60s
sed -i '/^sessions/d' "$SANDBOX/kyok.conf"

mkdir "$SANDBOX/nothing"
# --- a key that is suspended or destroyed ------------------------------------------------------------
state() { kyok key state 'pkcs11:token=test;object=k1' "$1"; }
signer 'pkcs11:token=test;object=k1'
is 'a copy is in use' "$(many 9)" 9
ok 'suspended' state suspended
is 'within the time, the copy signs on' "$(many 3)" 3
signer_end
like 'a new process does not sign' "$(run 'pkcs11:token=test;object=k1' 1 1 2>&1)" 'failed|suspended|not permitted'
ok 'active again' state active
cached 1s
signer 'pkcs11:token=test;object=k1'
is 'a copy is in use' "$(many 9)" 9
ok 'suspended' state suspended
sleep 1.1
like 'after the time it signs no more' "$(signer_ask sign)" '^failed'
like 'nor later' "$(signer_ask sign)" '^failed'
ok 'active again' state active
is 'signs again' "$(many 9)" 9
ok 'deactivated' state deactivated
ok 'destroyed' kyok key destroy 'pkcs11:token=test;object=k1' --in "$SANDBOX/nothing" --confirm k1
sleep 1.1
like 'a destroyed key signs no more' "$(signer_ask sign)" '^failed'
signer_end
done_testing
