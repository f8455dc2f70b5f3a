#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A module that lies about lengths and counts, or answers with noise: an error or the right result, in
# bounded time and memory, never a crash; and the truth works again afterwards.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so" "$KYOK"
HSM_LINES=('timeout = 3')
must 'an HSM' hsm_new rsa ec
survives() {
    local status output
    output=$(ulimit -v 4000000; timeout 30 "$@" 2>&1)
    status=$?
    if [ $status -lt 124 ]; then pass "$name: $(basename "$1") ${*:2:2}: exit $status"; else
        fail "$name: $(basename "$1")" "exit $status" "$output"
    fi
}
run="$SUPPORT/sign_tool run"
for lie in signature-length attribute-length attribute-grows attribute-empty attribute-noise slot-count \
    object-count mechanism-count decrypted-length; do
    name=$lie
    faulty hsm lie $lie
    # shellcheck disable=SC2086
    survives $run 'pkcs11:token=test;object=rsa' 2 3
    # shellcheck disable=SC2086
    survives $run 'pkcs11:token=test;object=ec' 2 3
    survives "$KYOK" key list test
    survives "$KYOK" doctor
    survives openssl storeutl -noout 'pkcs11:token=test'
done
faulty hsm lie signature-length
refused 'a signature longer than its buffer is refused as such' any 'claims a signature of [0-9]+ bytes' \
    "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
faulty hsm lie
ok 'the truth works' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=rsa' 4 5
# In a process that goes on.
signer 'pkcs11:token=test;object=ec'
for lie in signature-length attribute-length attribute-grows attribute-empty attribute-noise slot-count object-count; do
    faulty hsm lie $lie
    faulty hsm restart
    signer_ask sign >/dev/null
    signer_ask 'threads 4' >/dev/null
    faulty hsm lie
    faulty hsm restart
    good=0
    for _ in {1..300}; do [[ $(signer_ask sign) == ok* ]] && { good=1; break; }; sleep 0.1; done
    is "$lie, then the truth: the program signs" $good 1
done
# A key that cannot be read is looked for at growing intervals (each look: three searches), not in every call.
faulty hsm lie attribute-empty
faulty hsm restart
faulty hsm reset
for _ in {1..60}; do signer_ask sign >/dev/null; done
at_least 'a key that is not told is looked for' "$(faulty hsm count C_FindObjectsInit)" 1
at_most 'at intervals' "$(faulty hsm count C_FindObjectsInit)" 60
signer_end

# SoftHSM on a full disk says CKR_OK and keeps nothing. A record of a key's life is looked at before the one
# that it follows is removed.
EC='pkcs11:token=test;object=ec'
faulty hsm lie
faulty hsm restart
ok 'a key with a record' "$KYOK" key state "$EC" suspended
before=$("$KYOK" --json key state "$EC")
faulty hsm lie forgets
refused 'a token that keeps nothing: the change is refused, not said to be done' any 'did not keep it' \
    "$KYOK" key state "$EC" active
refused 'a rotation is too' any 'did not keep it' "$KYOK" key rotate "$EC"
faulty hsm lie
is 'and the record that there was is still there' "$("$KYOK" --json key state "$EC")" "$before"
ok 'once it keeps things it is done' "$KYOK" key state "$EC" active
done_testing
