#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A module that hangs in a call. With isolate the deadline holds for every caller. Without it a hanging call
# holds its caller alone, and the others treat the member as hung once the call is older than "timeout".
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
HSM_LINES=('timeout = 1500ms' 'isolate = yes')
must 'an HSM, isolate = yes' hsm_new ec
signer 'pkcs11:token=test;object=ec'
like 'signs' "$(signer_ask sign)" '^ok'
faulty hsm hang C_Sign
answer=$(signer_ask sign)
like 'a hanging C_Sign: an error' "$answer" '^failed'
like 'that names the token and the time' "$answer" 'test'
at_least 'not before the deadline' "$(cut -d' ' -f2 <<<"$answer")" 1400
at_most 'and at the deadline' "$(cut -d' ' -f2 <<<"$answer")" 3000
answer=$(signer_ask 'threads 8')
at_most 'eight more callers are released as well' "$(cut -d' ' -f2 <<<"$answer")" 4000
at_most 'the threads lost to it are bounded' "$(faulty hsm hanging)" 16
faulty hsm release
ok 'released' wait_for 10 sh -c "[ \$('$SUPPORT/faulty_tool' '$SANDBOX/hsm.so.control' hanging) = 0 ]"
good=0
for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && { good=1; break; }; sleep 0.5; done
is 'then it signs again' $good 1
faulty hsm hang C_Login
faulty hsm restart
answer=$(signer_ask sign)
like 'a hanging login' "$answer" '^failed'
at_most 'ends at the deadline too' "$(cut -d' ' -f2 <<<"$answer")" 4000
faulty hsm release
good=0
for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && { good=1; break; }; sleep 0.5; done
is 'and signs again' $good 1
signer_end

# isolate = no: one caller is held, the others are not.
sed -i '/^isolate/d' "$SANDBOX/kyok.conf"
faulty hsm clear
faulty hsm reset
background "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 8 60 100
runner=$PID log=$LOG
wait_for 10 sh -c "[ \$('$SUPPORT/faulty_tool' '$SANDBOX/hsm.so.control' count C_Sign) -gt 20 ]"
faulty hsm hang C_Sign 1
wait_for 5 sh -c "[ \$('$SUPPORT/faulty_tool' '$SANDBOX/hsm.so.control' hanging) = 1 ]"
is 'one call hangs' "$(faulty hsm hanging)" 1
sleep 3
before=$(faulty hsm count C_Sign)
sleep 0.5
diag "while the call is older than timeout: $(($(faulty hsm count C_Sign) - before)) more calls"
at_most 'the member is not asked while it counts as hung' $(($(faulty hsm count C_Sign) - before)) 1
faulty hsm release
wait_for 30 sh -c "! kill -0 $runner"
diag "$(cat "$log")"
like 'the others got an error naming the hang, and signed again afterwards' "$(cat "$log")" 'ok=[1-9][0-9]* .*'
unlike 'no caller waited much beyond the deadline, but the one that was held' "$(cat "$log")" 'max_ms=[0-9]{5}'

# A group: the healthy member takes over, with and without isolate.
softhsm_clone soft soft2
ok 'a clone as second member' faulty_new hsm2 soft2 clone
for isolate in yes no; do
    kyok_conf '[token test]' "uri = pkcs11:token=test?module-path=$SANDBOX/hsm.so" \
        "uri = pkcs11:token=test?module-path=$SANDBOX/hsm2.so" "pin-source = file:$SANDBOX/pin" \
        'timeout = 1500ms' "isolate = $isolate" 'require = never-extractable'
    faulty hsm clear
    faulty hsm2 clear
    signer 'pkcs11:token=test;object=ec'
    like "group, isolate = $isolate: signs" "$(signer_ask 'threads 8')" '^ok'
    if [ $isolate = yes ]; then
        faulty hsm hang C_Sign
        answer=$(signer_ask 'threads 8')
        diag "$answer"
        for _ in 1 2 3; do answer=$(signer_ask sign); done
        like 'one member hangs: the group signs' "$answer" '^ok'
        at_most 'at once' "$(cut -d' ' -f2 <<<"$answer")" 500
        faulty hsm release
    fi
    signer_end
done

# Two groups whose tokens must be looked at before it is known which of them a reference means: that look
# obeys isolate and the deadline as well, and a group that hangs does not hide the other.
softhsm_new soft3
softhsm_token soft3 spare
ok 'another token' faulty_new hsm3 soft3 clone
faulty hsm clear
kyok_conf '[token spare]' "uri = pkcs11:token=spare?module-path=$SANDBOX/hsm3.so" "pin-source = file:$SANDBOX/pin" \
    'timeout = 300ms' 'isolate = yes' \
    '[token test]' "uri = pkcs11:token=test?module-path=$SANDBOX/hsm.so" "pin-source = file:$SANDBOX/pin" \
    'timeout = 30s' 'isolate = yes'
for call in C_GetSlotList C_GetTokenInfo C_FindObjectsInit; do
    faulty hsm3 clear
    faulty hsm3 hang $call
    ok "$call hangs in one group: the key of the other signs" timeout 60 "$SUPPORT/sign_tool" \
        run 'pkcs11:object=ec;manufacturer=SoftHSM%20project' 1 1
done
faulty hsm3 clear
faulty hsm3 hang C_GetSlotList
refused 'a key that only the hanging group could have: an error at the deadline, which names it' any 'spare: look was not answered' \
    timeout 60 "$KYOK" key show 'pkcs11:object=ec;manufacturer=Nobody'
faulty hsm3 release

# Calls that change a key's life obey isolate as any other (each of them, and what becomes of such a call
# afterwards: tests/unit/life_hang_test.c).
NEW='pkcs11:token=test;object=new' ROOT='pkcs11:token=test;object=root'
faulty hsm clear
kyok_conf '[token test]' "uri = pkcs11:token=test?module-path=$SANDBOX/hsm.so" "pin-source = file:$SANDBOX/pin" \
    'timeout = 1500ms' 'isolate = yes'
ok 'a root key' "$KYOK" key generate "$ROOT" --type aes-256
hung() { # CALL, KYOK ARGUMENTS
    local call=$1
    shift
    faulty hsm hang "$call"
    refused "$call hangs: kyok $1 $2 ends at the deadline" any 'was not answered within its deadline' \
        timeout 60 "$KYOK" "$@"
    faulty hsm clear
}
calls=$(faulty hsm count C_GenerateKeyPair)
faulty hsm hang C_GenerateKeyPair
refused 'C_GenerateKeyPair hangs: the error says that the key may be there, and how to look for it' any \
    'generate was not answered .*whether the key has been made is not known' \
    timeout 60 "$KYOK" key generate "$NEW" --type ec-p256
is 'and it was asked for once' $(($(faulty hsm count C_GenerateKeyPair) - calls)) 1
faulty hsm clear
ok 'another run makes it' "$KYOK" key generate "$NEW" --type ec-p256
ok 'a descendant' "$KYOK" key descend "$ROOT" --for child
hung C_UnwrapKey key rotate "$ROOT"
ok 'the rotation is completed' "$KYOK" key rotate "$ROOT"
is 'in one new version' "$("$KYOK" --json key state "$ROOT" | grep -o '"label": *"root[^"]*"' | sort -u | wc -l)" 2
hung C_DestroyObject key destroy "$NEW" --confirm new

# Groups that no section defines: a reference's module-path, and pkcs11-module-path. The provider's section
# says isolate for them, and overrides kyok.conf.
faulty hsm clear
kyok_conf '# no group'
LONE="pkcs11:token=test;object=ec?module-path=$SANDBOX/hsm.so&pin-source=file:$SANDBOX/pin"
signs_by() { # REFERENCE
    timeout 60 openssl pkeyutl -sign -rawin -inkey "$1" -in "$SANDBOX/pin" -out "$SANDBOX/signature"
}
isolated_group() { # NAME REFERENCE
    faulty hsm clear
    ok "$1: signs" signs_by "$2"
    faulty hsm hang C_SignInit
    sed -i 's/^timeout = .*/timeout = 1s/' "$OPENSSL_CONF"
    refused "$1: a hanging call ends at the deadline" any 'was not answered within its deadline' signs_by "$2"
    sed -i 's/^timeout = .*/timeout = 60s/' "$OPENSSL_CONF"
}
openssl_conf 'default kyok' 'isolate = yes' 'timeout = 60s'
isolated_group 'a reference with module-path' "$LONE"
openssl_conf 'default kyok' 'isolate = yes' 'timeout = 60s' "pkcs11-module-path = $SANDBOX/hsm.so" \
    "pkcs11-module-token-pin = file:$SANDBOX/pin"
isolated_group 'pkcs11-module-path' 'pkcs11:token=test;object=ec'
kyok_conf '[token test]' "uri = pkcs11:token=test?module-path=$SANDBOX/hsm.so" "pin-source = file:$SANDBOX/pin"
openssl_conf 'default kyok' 'isolate = yes' 'timeout = 60s'
isolated_group 'a group of kyok.conf that does not say it' 'pkcs11:token=test;object=ec'
done_testing
