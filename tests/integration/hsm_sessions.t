#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A token with few sessions and many threads: callers wait for a session under their deadline; no error,
# no storm of calls.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
must 'an HSM' hsm_new ec rsa
faulty hsm limit 4
faulty hsm delay signs 1ms
ok '64 threads, 4 sessions, 1 ms per call: 20 signatures each' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 64 20
at_most 'sessions at once' "$(faulty hsm session-peak)" 4
at_most 'C_OpenSession is called' "$(faulty hsm count C_OpenSession)" 8
is 'one login' "$(faulty hsm count C_Login)" 1
is 'two calls per signature' "$(faulty hsm count signs)" $((2 * 64 * 20))
ok 'none is left open in the token' wait_for 5 sh -c "[ \$('$SUPPORT/faulty_tool' '$SANDBOX/hsm.so.control' sessions) = 0 ]"

# The same where the token does not say its limit but only refuses.
faulty hsm clear
faulty hsm reset
faulty hsm fail C_OpenSession CKR_SESSION_COUNT 3
ok 'CKR_SESSION_COUNT three times is waited out' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 16 10

# Another client holds all but one.
faulty hsm clear
faulty hsm limit 4
signer 'pkcs11:token=test;object=ec' && signer_ask 'threads 3' >/dev/null
ok 'a second process shares the limit' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=rsa' 8 5
like 'and the first goes on' "$(signer_ask 'threads 8')" '^ok'
signer_end

# "sessions" in kyok.conf is the same limit by configuration.
faulty hsm clear
faulty hsm reset
sed -i '/^uri/a sessions = 2' "$SANDBOX/kyok.conf"
faulty hsm delay signs 1ms
ok 'sessions = 2: 32 threads' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 32 10
at_most 'sessions at once' "$(faulty hsm session-peak)" 3

# Processes that write at once. SoftHSM rewrites its token at each login, and others find none meanwhile:
# they look again as long as they have asked nothing of it, and never twice for one key.
faulty hsm clear
generate() { "$KYOK" key generate "pkcs11:token=test;object=$1" --type ec-p256; }
keys() { "$KYOK" key list test | grep -c "object=$1"; }
made=()
for n in 1 2 3 4 5 6 7 8; do generate "at-once-$n" >"$SANDBOX/made.$n" 2>&1 & made+=($!); done
for pid in "${made[@]}"; do wait "$pid" || diag "$(cat "$SANDBOX"/made.*)"; done
is '8 processes generate at once: 8 keys' "$(keys at-once-)" 8
for fault in 'C_OpenSession CKR_SLOT_ID_INVALID 4' 'C_Login CKR_USER_PIN_NOT_INITIALIZED 2' 'C_FindObjectsInit CKR_DEVICE_ERROR 3'; do
    faulty hsm reset
    # shellcheck disable=SC2086
    faulty hsm fail $fault
    ok "${fault% *}, then the token is there: a key" generate "after-${fault%% *}"
    is 'one, and asked for once' "$(faulty hsm count C_GenerateKeyPair) $(keys "after-${fault%% *}")" '1 1'
    faulty hsm clear
done
faulty hsm reset
faulty hsm fail C_GenerateKeyPair CKR_DEVICE_ERROR 1
refused 'a generation that may have been done is an error' 3 'CKR_DEVICE_ERROR' generate doubtful
is 'and not asked for again' "$(faulty hsm count C_GenerateKeyPair)" 1
faulty hsm clear
ok 'by hand it is' generate doubtful
refused 'once' 1 'already has a key of this name' generate doubtful
# The token did it, and its answer was lost: whatever that answer says, there is no second key. Where kyok
# may try again it finds the one that it has made by its id, and that is success.
lost() { # CK_RV REGEX
    faulty hsm reset
    faulty hsm lose C_GenerateKeyPair "$1" 1
    local output status
    output=$(generate "lost-$1" 2>&1)
    status=$?
    faulty hsm clear
    is "done, but $1: asked for once, one pair" "$(faulty hsm count C_GenerateKeyPair) $(keys "lost-$1")" '1 1'
    like '... and that is told as it is' "$status $output" "$2"
}
for rv in CKR_DEVICE_ERROR CKR_DEVICE_REMOVED CKR_SESSION_HANDLE_INVALID; do lost $rv "^[1-4] .*$rv"; done
# Dates in the token are left out where it refuses them, and only there.
faulty hsm reset
faulty hsm lose C_GenerateKey CKR_DATA_INVALID 1
refused 'with dates: an answer that says nothing of them is told' any 'CKR_DATA_INVALID' \
    "$KYOK" key generate 'pkcs11:token=test;object=dated' --type aes-256 --deactivate-on 2050-01-01
faulty hsm clear
is '... and no second key is made' "$(faulty hsm count C_GenerateKey | awk '{ print $NF }')" 1
for rv in CKR_FUNCTION_FAILED CKR_USER_NOT_LOGGED_IN; do lost $rv "^0 pkcs11:.*object=lost-$rv"; done
done_testing
