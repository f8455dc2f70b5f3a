#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command as a hostile or careless user calls it: garbage for arguments, an odd environment, descriptors
# that are closed, few of them, folders that cannot be written, links and pipes for files. It ends by itself
# with an exit code of its own, says why, and leaves nothing behind.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util python3
softhsm_root
printf 'secret' >secret
"$KYOK" seal --to root secret -o s.jwe
head -c 2000000 /dev/urandom >plain
"$KYOK" seal --to root plain -o s.kyok
absent() { if [ -e "$2" ] || [ -L "$2" ]; then fail "$1" "$2 exists"; else pass "$1"; fi; }

# --- arguments -----------------------------------------------------------------------------------------
"$KYOK" --help --json | python3 -c '
import json, sys
for c in json.load(sys.stdin)["commands"]: print(c["command"])' >verbs
long=$(head -c 100000 /dev/zero | tr '\0' A)
bad=''
while read -r verb; do
    # What would wait for a person, change the machine or write much is left out: it is given no file that exists.
    for argument in '' "$long" '%s%n%x' $'\xff\xfe' '../../../etc/passwd' 'pkcs11:' 'kmip://' '-' '--' '--=' \
        'pkcs11:token=%00' 'pkcs11:object=%' 'all-of(' "any-of($(printf 'root,%.0s' $(seq 200))root)"; do
        case "$verb $argument" in *' -' | *' --') continue ;; esac
        # shellcheck disable=SC2086
        KYOK_CONF=$SANDBOX/none.conf timeout 60 "$KYOK" $verb "$argument" >out 2>&1 </dev/null
        status=$?
        [ $status -le 4 ] || bad="$bad $verb '${argument:0:20}' ($status)"
    done
done < <(grep -v '^vm \|^disk \|^doctor\|^module' verbs)
is 'garbage for an operand: an exit code of its own' "$bad" ''
bad=''
for number in -1 99999999999999999999 0x10 1e3 ' 1' '1 ' '' nan "$long"; do
    for option in 'seal --to root secret -o x.jwe --generation' 'open s.jwe -o x --generation' 'rewrap s.jwe --layer' 'open s.jwe -o x --timeout'; do
        # shellcheck disable=SC2086
        timeout 60 "$KYOK" $option "$number" >out 2>&1
        [ $? = 2 ] || bad="$bad '$option ${number:0:10}'"
    done
done
is 'numbers that are none: wrong usage' "$bad" ''
refused 'a generation beyond 2^53' any 'generation' "$KYOK" seal --to root secret -o x.jwe --generation 9007199254740993
refused 'a layer that is not there' any '.' "$KYOK" rewrap s.jwe --layer 18446744073709551615 --add root
refused 'a use that is none' any 'use' "$KYOK" seal --to root secret -o x.jwe --use "$long"
refused 'an owner with a line break' any 'owner' "$KYOK" seal --to root secret -o x.jwe --owner $'a\nb'
absent 'nothing was written' x.jwe

# --- environment -----------------------------------------------------------------------------------------
opens() { [ "$("$@" 2>err)" = secret ]; }
ok 'an environment of two variables' opens env -i KYOK_CONF="$KYOK_CONF" SOFTHSM2_CONF="$SOFTHSM2_CONF" "$KYOK" open s.jwe
ok 'a locale that is not there' opens env LC_ALL=xx_XX.UTF-8 "$KYOK" open s.jwe
ok 'a TERM of nonsense' opens env TERM="$long" "$KYOK" open s.jwe
ok 'an openssl.cnf that breaks libcrypto' opens env OPENSSL_CONF="$SANDBOX/plain" "$KYOK" open s.jwe
refused 'a configuration that is a folder' any '.' env KYOK_CONF="$SANDBOX" "$KYOK" open s.jwe
refused 'a configuration that never ends' any '.' timeout 60 env KYOK_CONF=/dev/zero "$KYOK" open s.jwe
refused 'a configuration of random bytes' any '.' env KYOK_CONF="$SANDBOX/plain" "$KYOK" open s.jwe
refused 'an empty name of one' any '.' env KYOK_CONF="$long" "$KYOK" open s.jwe
ok 'an event socket of nonsense' opens env KYOK_EVENT_SOCKET="$long" "$KYOK" open s.jwe

# --- descriptors -------------------------------------------------------------------------------------------
("$KYOK" open s.jwe -o opened 0<&- 1>&- 2>&-)
is 'all three closed: opens to a file' $? 0
ok 'the right one' cmp secret opened
rm -f opened
("$KYOK" seal --to root secret -o closed.jwe 0<&- 1>&- 2>&-)
is 'all three closed: seals to a file' $? 0
is 'and nothing else went into it' "$("$KYOK" open closed.jwe)" secret
("$KYOK" open s.jwe 1>&- 2>err)
at_least 'standard output closed: no success' $? 1
("$KYOK" key list t 1>&- 2>err)
at_least 'nor for a list' $? 1
("$KYOK" seal --to root 0<&- >x.jwe 2>err)
at_least 'standard input closed: no success' $? 1
for limit in 4 5 6 8 10 16; do
    (ulimit -n $limit && exec timeout 60 "$KYOK" open s.jwe -o opened) >out 2>&1
    status=$?
    if [ $status = 0 ]; then cmp -s secret opened || status=wrong; fi
    case $status in 0 | 1 | 2 | 3) pass "$limit descriptors: exit $status" ;; *) fail "$limit descriptors" "exit $status" "$(cat out)" ;; esac
    rm -f opened
done
is 'nothing is left behind' "$(find . -name 'opened.??????')" ''
(ulimit -v 60000 && exec timeout 60 "$KYOK" open s.jwe -o opened) >out 2>&1
status=$?
at_most 'little memory: an end of its own' "$status" 127
rm -f opened

# --- files ---------------------------------------------------------------------------------------------------
ln -s target link
ok 'a link for an output that is not there' "$KYOK" open s.jwe -o link
is 'never follows it elsewhere' "$(ls target 2>/dev/null; cat link)" secret
rm -f link target
echo precious >target && ln -s target link
"$KYOK" open s.jwe -o link
is 'a link for an output: what it names is untouched' "$(cat target)" precious
echo old >wide && chmod 666 wide
ok 'a file that all may read, for an output' "$KYOK" open s.jwe -o wide
is 'is another one afterwards, its owner alone reads it' "$(cat wide) $(stat -c %a wide)" 'secret 600'
rm wide
rm -f link target
mkdir folder
refused 'a folder for an output' any 'regular file|is a folder|EISDIR' "$KYOK" open s.jwe -o folder
refused 'an output in a folder that is not there' any 'ENOENT' "$KYOK" open s.jwe -o nowhere/x
refused 'a folder for an input' any 'folder' "$KYOK" open folder
refused 'an input that is not there' any 'ENOENT' "$KYOK" open nowhere
refused 'a name that is too long' any 'ENAMETOOLONG' "$KYOK" open "$long"
if [ "$(id -u)" != 0 ]; then
    chmod 555 folder
    refused 'a folder that cannot be written' 1 'EACCES' "$KYOK" open s.jwe -o folder/x
    chmod 755 folder
elif chattr +i folder 2>/dev/null; then
    refused 'a folder that cannot be written' 1 'EPERM|EACCES' "$KYOK" open s.jwe -o folder/x
    chattr -i folder
else
    pass 'a folder that cannot be written: root may write here'
fi
mkfifo in out1
(cat s.jwe >in &)
is 'a named pipe for an input' "$(timeout 60 "$KYOK" open in)" secret
(timeout 60 cat out1 >got &)
ok 'a named pipe for an output' timeout 60 "$KYOK" open s.jwe -o out1
wait_for 30 cmp secret got
ok 'has it' cmp secret got
ok 'the pipe stays a pipe' test -p out1
cp s.jwe same.jwe
ok 'input and output are one file' "$KYOK" rewrap same.jwe --fresh
"$KYOK" seal --to root same.jwe -o same.jwe
ok 'sealed onto itself: an envelope of the envelope' bash -c "'$KYOK' open same.jwe | '$KYOK' open | cmp - secret"
refused 'an endless input that is no envelope' any 'envelope' timeout 60 "$KYOK" open /dev/zero
refused 'nor to inspect' any '.' timeout 60 "$KYOK" inspect /dev/zero
: >nothing
refused 'an empty input' any 'envelope' "$KYOK" open nothing
mkdir -p deep && (cd deep && for _ in $(seq 60); do mkdir d && cd d || exit; done)
ln -s ../deep deep/loop
ok 'a loop of links below a folder' timeout 60 "$KYOK" uses root deep
ok 'a name with a line break and colours' bash -c "cp s.jwe \$'deep/a\n\e[31mb.jwe' && '$KYOK' uses root deep >out"
unlike 'does not reach the terminal' "$(cat out)" $'\e'
is 'the secret lies in no file but those it was written to' "$(grep -rlx secret . 2>/dev/null | sort | tr '\n' ' ')" './got ./secret '
done_testing
