#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two cloned tokens as one group, require = never-extractable: balance, failover inside a call, return,
# a member that appears late, and one that holds another key.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
must 'an HSM' hsm_new ec rsa
softhsm_clone soft soft2
ok 'its clone' faulty_new hsm2 soft2 clone
group() {
    kyok_conf '[token test]' "uri = pkcs11:token=test?module-path=$SANDBOX/hsm.so" \
        "uri = pkcs11:token=test?module-path=$SANDBOX/$1.so" "pin-source = file:$SANDBOX/pin" \
        'timeout = 3' 'require = never-extractable'
}
group hsm2
both() { faulty hsm "$@"; faulty hsm2 "$@"; }

# The least busy member is the one with the fewest calls in flight; equals take turns. What a member gets
# follows how quickly it answers: so both answer equally slowly here, and the scheduler decides nothing.
both delay signs 10ms
ok '16 threads sign' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 16 20
at_least 'the first member gets its share of 320' "$(faulty hsm count C_Sign)" 120
at_least 'and the second' "$(faulty hsm2 count C_Sign)" 120
both clear
both reset
ok 'one thread signs' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 40
is 'one caller uses equal members in turn' "$(faulty hsm count C_Sign) $(faulty hsm2 count C_Sign)" '20 20'
both reset
both delay signs 1ms
faulty hsm delay signs 10ms
ok 'one is ten times slower' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 16 20
at_least 'the faster gets more' "$(perl -e 'printf "%.1f", $ARGV[0] / ($ARGV[1] + 1)' "$(faulty hsm2 count C_Sign)" "$(faulty hsm count C_Sign)")" 2
both clear

# One dies under load: no call fails.
background "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 8 200 10
runner=$PID log=$LOG
sleep 0.7
faulty hsm remove
sleep 0.7
faulty hsm return
sleep 0.7
faulty hsm2 fail calls CKR_DEVICE_ERROR
sleep 0.5
faulty hsm2 clear
faulty hsm2 restart
wait_for 60 sh -c "! kill -0 $runner"
like 'members die and return in turn under load: no signature fails' "$(cat "$log")" '^ok=1600 failed=0'
diag "$(cat "$log")"

signer 'pkcs11:token=test;object=rsa'
signer_ask sign >/dev/null
faulty hsm remove
good=0
for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && good=$((good + 1)); done
is 'with one member away 6 of 6 signatures succeed' $good 6
both reset
faulty hsm return
for _ in $(seq 40); do signer_ask 'threads 4' >/dev/null; [ "$(faulty hsm count C_Sign)" -gt 0 ] && break; sleep 0.25; done
at_least 'the member that returned is used again, without a restart' "$(faulty hsm count C_Sign)" 1
both remove
like 'both away: an error that names the group' "$(signer_ask sign)" '^failed .*test'
both return
sleep 1
good=0
for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && { good=1; break; }; sleep 0.5; done
is 'both back' $good 1
signer_end

# Late: the second member is away when the program starts.
both clear
faulty hsm2 remove
signer 'pkcs11:token=test;object=ec'
like 'one member is away at the start: signs' "$(signer_ask sign)" '^ok'
both reset
faulty hsm2 return
for _ in $(seq 40); do signer_ask 'threads 4' >/dev/null; [ "$(faulty hsm2 count C_Sign)" -gt 0 ] && break; sleep 0.25; done
at_least 'it appears late and is used' "$(faulty hsm2 count C_Sign)" 1
signer_end

# A process ends while a thread of kyok's is inside a module, looking for a member that is away: the module's
# destructors would run under it.
both clear
faulty hsm2 remove
faulty hsm delay C_GetSlotList 600ms
both reset
ok 'a process ends while a lost member is looked for' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
at_least 'by another thread' "$(faulty hsm count C_GetSlotList)" 3
is 'which has left the module by then' "$(faulty hsm inside)" 0
both clear
faulty hsm2 return

# A member with another key under the same name is quarantined and named.
softhsm_new other && softhsm_token other test && token_key other test ec 01 EC:prime256v1
faulty_new hsm3 other clone
group hsm3
ok 'a member with another key: the group signs with the right one' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 8 20
is 'the other never signs, or never the first' "$(faulty hsm3 count C_Sign)" 0
listed=$("$KYOK" key list test 2>&1; "$KYOK" doctor 2>&1)
like 'kyok names the member that differs' "$listed" 'hsm3|differ|quarantine'

# An imported copy cannot be never-extractable: refused by attribute.
softhsm_new imported && softhsm_token imported test
without_provider openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$SANDBOX/soft.pem" 2>/dev/null
token_import imported test soft 09 "$SANDBOX/soft.pem"
faulty_new hsm4 imported clone
kyok_conf '[token test]' "module = $SANDBOX/hsm4.so" 'uri = pkcs11:token=test' "pin-source = file:$SANDBOX/pin" 'require = never-extractable'
refused 'require names the attribute that failed' any 'ALWAYS_SENSITIVE|NEVER_EXTRACTABLE' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=soft' 1 1
is 'before any private operation' "$(faulty hsm4 count C_SignInit)" 0
sed -i 's/never-extractable/non-extractable/' "$SANDBOX/kyok.conf"
ok 'an imported key meets non-extractable' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=soft' 1 1
faulty hsm4 profile hpcs
sed -i 's/non-extractable/never-extractable/' "$SANDBOX/kyok.conf"
refused 'a token that does not know an attribute is told apart' any 'not know|unknown|does not (have|tell|say)' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=soft' 1 1
done_testing
