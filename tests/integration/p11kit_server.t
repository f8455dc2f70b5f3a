#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A real loss: SoftHSM behind `p11-kit server`, the whole process group killed and started again.
. "$(dirname "$0")/../support/lib.sh"
client=$(ls /usr/lib/*/pkcs11/p11-kit-client.so 2>/dev/null | head -1)
need p11-kit softhsm2-util pkcs11-tool "${client:-/p11-kit-client.so}" "$MODULES/kyok.so"
must 'a token' hsm_new ec rsa
export P11_KIT_SERVER_ADDRESS="unix:path=$SANDBOX/p11.sock"
server_start() {
    rm -f "$SANDBOX/p11.sock"
    SOFTHSM2_CONF=$SANDBOX/soft.conf background p11-kit server --foreground --name "$SANDBOX/p11.sock" \
        --provider "$(softhsm_module)" 'pkcs11:token=test'
    SERVER=$PID
    wait_for 10 test -S "$SANDBOX/p11.sock"
}
kyok_conf '[token test]' "module = $client" 'uri = pkcs11:token=test' "pin-source = file:$SANDBOX/pin" 'timeout = 5'
ok 'p11-kit server' server_start
signer 'pkcs11:token=test;object=ec'
like 'signs through it' "$(signer_ask sign)" '^ok'
like 'with 8 threads' "$(signer_ask 'threads 8')" '^ok'
for n in 1 2; do
    stop "$SERVER" KILL
    answer=$(signer_ask sign)
    like "loss $n: the server is killed: an error, and the program lives (no SIGPIPE)" "$answer" '^failed .*test'
    ok 'it is back' server_start
    good=0
    for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && good=$((good + 1)); done
    is '6 of 6 signatures succeed, without a restart' $good 6
done
stop "$SERVER" KILL
ok 'killed and started while nobody signs' server_start
good=0
for _ in 1 2 3 4 5 6; do [[ $(signer_ask sign) == ok* ]] && good=$((good + 1)); done
is '6 of 6 signatures succeed' $good 6
like 'and 8 threads' "$(signer_ask 'threads 8')" '^ok'
signer_end
done_testing
