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
done_testing
