#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An HSM that restarts, refuses for a while, loses its token: no signature of a running program fails that
# can succeed, and a program needs no restart.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
HSM_LINES=('timeout = 5')
must 'an HSM' hsm_new rsa ec ed

for key in rsa ec ed; do
    signer "pkcs11:token=test;object=$key" || { fail "$key: signer"; continue; }
    like "$key: signs" "$(signer_ask sign)" '^ok'
    faulty hsm restart
    good=0
    for _ in 1 2 3 4 5 6; do
        answer=$(signer_ask sign)
        [[ $answer == ok* ]] && good=$((good + 1)) || diag "$answer"
        sleep 0.1
    done
    is "$key: after a restart of the HSM 6 of 6 signatures succeed" $good 6
    signer_end
done

signer 'pkcs11:token=test;object=ec'
signer_ask sign >/dev/null
faulty hsm restart
faulty hsm reset
like '32 threads meet a restart together' "$(signer_ask threads 32)" '^ok'
is 'with one login for all of them' "$(faulty hsm count C_Login)" 1
at_most 'and a session each, the lost one anew' "$(faulty hsm count C_OpenSession)" 33

# Each stale handle and lost device by its own CK_RV, in each function that can say so.
for rv in CKR_SESSION_HANDLE_INVALID CKR_SESSION_CLOSED CKR_KEY_HANDLE_INVALID CKR_OBJECT_HANDLE_INVALID \
    CKR_USER_NOT_LOGGED_IN CKR_DEVICE_ERROR CKR_DEVICE_REMOVED CKR_TOKEN_NOT_PRESENT CKR_TOKEN_NOT_RECOGNIZED CKR_CRYPTOKI_NOT_INITIALIZED; do
    for function in C_SignInit C_Sign; do
        faulty hsm fail $function $rv 1
        like "$function gives $rv once" "$(signer_ask sign)" '^ok'
        faulty hsm clear
    done
done
like 'a refusal that no retry can cure is told with its name' \
    "$(faulty hsm fail C_SignInit CKR_KEY_FUNCTION_NOT_PERMITTED; signer_ask sign)" '^failed [0-9]+ .*CKR_KEY_FUNCTION_NOT_PERMITTED'
faulty hsm clear
like 'and the next signature works' "$(signer_ask sign)" '^ok'

faulty hsm remove
answer=$(signer_ask sign)
like 'the token is out: an error that names it' "$answer" '^failed .*test'
at_most 'within the deadline' "$(cut -d' ' -f2 <<<"$answer")" 6000
faulty hsm return
good=0
for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && good=$((good + 1)); sleep 0.2; done
at_least 'the token is back: so are signatures, without a restart' $good 5
like 'and stay' "$(signer_ask sign)" '^ok'
signer_end

# A token that is not there at the start and appears later.
"$KYOK" key reference 'pkcs11:token=test;object=ec' --with-public -o "$SANDBOX/late.key" || diag 'no key reference'
faulty hsm remove
refused 'a program that starts without the token fails clearly' any 'test' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
ok 'a reference with its public half loads without the token' signer "$SANDBOX/late.key"
like 'signing fails until' "$(signer_ask sign)" '^failed'
faulty hsm return
sleep 1
good=0
for _ in 1 2 3 4 5; do [[ $(signer_ask sign) == ok* ]] && { good=1; break; }; sleep 0.5; done
is 'the token appears' $good 1
signer_end
done_testing
