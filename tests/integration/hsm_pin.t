#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A wrong PIN is tried once, until its source changes; the message says where the PIN came from and never
# what it was; a changed source is picked up at the next login.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
must 'an HSM' hsm_new ec
faulty hsm pin-limit 3
signer 'pkcs11:token=test;object=ec'
like 'the right PIN' "$(signer_ask sign)" '^ok'

# The PIN changes at the HSM, which then restarts: the program's source is out of date.
(umask 077; echo 99887766 >"$SANDBOX/pin")
faulty hsm reset
faulty hsm restart
answer=$(signer_ask sign)
like 'a wrong PIN: failure' "$answer" '^failed'
like 'that says CKR_PIN_INCORRECT' "$answer" 'CKR_PIN_INCORRECT'
like 'and where the PIN came from' "$answer" "$SANDBOX/pin"
unlike 'and never what it was' "$answer" '99887766'
is 'tried once' "$(faulty hsm count C_Login)" 1
for _ in 1 2 3 4 5; do signer_ask sign >/dev/null; done
like 'many threads' "$(signer_ask 'threads 16')" '^failed'
is 'and not again while the source is the same' "$(faulty hsm count C_Login)" 1
like 'the message stays clear' "$(signer_ask sign)" 'PIN'
touch -d '1 hour ago' "$SANDBOX/pin"
signer_ask sign >/dev/null
is 'touching the file changes nothing' "$(faulty hsm count C_Login)" 1
(umask 077; echo $PIN >"$SANDBOX/pin")
like 'a changed source is picked up' "$(signer_ask sign)" '^ok'
is 'with one login' "$(faulty hsm count C_Login)" 2
signer_end

# At the start of a program, and by the command.
(umask 077; echo 00000 >"$SANDBOX/pin")
faulty hsm reset
refused 'a program that begins with a wrong PIN' any 'PIN' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 8 2
is 'tries it once' "$(faulty hsm count C_Login)" 1
(umask 077; echo $PIN >"$SANDBOX/pin")
faulty hsm clear

# Sources that must not be used.
chmod 644 "$SANDBOX/pin"
refused 'a PIN file that others can read is refused' any "$SANDBOX/pin" "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
rm "$SANDBOX/pin"
refused 'a missing PIN file is named' any "$SANDBOX/pin" "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
is 'no login was tried with nothing' "$(faulty hsm count C_Login)" 1

# A locked PIN is told as such, and not tried.
pin_file >/dev/null
faulty hsm pin-limit 1
faulty hsm reset
softhsm soft pkcs11-tool --module "$SANDBOX/hsm.so" --login --pin 5555 -O >/dev/null 2>&1
refused 'a locked PIN is told as such' any 'CKR_PIN_LOCKED|locked' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 4 1
at_most 'tries' "$(($(faulty hsm count C_Login) - 1))" 1
faulty hsm clear

# pin-source from systemd's credentials and from a descriptor.
mkdir -m 700 "$SANDBOX/credentials" && (umask 077; printf %s $PIN >"$SANDBOX/credentials/hsm-pin")
sed -i 's|^pin-source.*|pin-source = credential:hsm-pin|' "$SANDBOX/kyok.conf"
CREDENTIALS_DIRECTORY=$SANDBOX/credentials ok 'credential:NAME' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 2 2
refused 'without systemd'\''s folder it says so' any 'hsm-pin' env -u CREDENTIALS_DIRECTORY "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
sed -i 's|^pin-source.*|pin-source = fd:9|' "$SANDBOX/kyok.conf"
from_fd() { "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 2 2 9<<<$PIN; }
ok 'fd:N' from_fd
done_testing
