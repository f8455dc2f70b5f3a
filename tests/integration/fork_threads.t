#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Forks of a process whose threads sign: no hung child; children that sign; forks before and after first
# use; daemonising. The token forgets a forked child's login, as real ones do.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
must 'an HSM' hsm_new ec
key='pkcs11:token=test;object=ec'
output=$("$SUPPORT/sign_tool" fork "$key" 4 "${KYOK_FORKS:-1000}" 2>&1)
like '1000 forks while 4 threads sign, the child leaves at once: none hangs, none fails' "$output" '^forks=[0-9]+ hung=0 failed=0 .* unsigned=0$'
diag "$output"

signer "$key"
like 'forked before first use: the child signs' "$(signer_ask fork)" '^ok'
like 'the parent signs' "$(signer_ask sign)" '^ok'
like 'forked after first use: the child signs' "$(signer_ask fork)" '^ok'
like 'the parent still signs' "$(signer_ask sign)" '^ok'
good=0
for _ in $(seq 20); do [[ $(signer_ask fork) == ok* ]] && good=$((good + 1)); done
is '20 children in a row sign' $good 20
like 'the parent has not noticed' "$(signer_ask 'threads 8')" '^ok'
like 'daemonising: the child goes on' "$(signer_ask daemon)" '^ok'
like 'and signs' "$(signer_ask sign)" '^ok'
signer_end
ok 'no session is left in the token' wait_for 5 sh -c "[ \$('$SUPPORT/faulty_tool' '$SANDBOX/hsm.so.control' sessions) = 0 ]"

# Each child logs in for itself, once.
faulty hsm reset
signer "$key"
signer_ask sign >/dev/null
for _ in 1 2 3; do signer_ask fork >/dev/null; done
is 'four processes, four logins' "$(faulty hsm count C_Login)" 4
signer_end
done_testing
