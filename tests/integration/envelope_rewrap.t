#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many envelopes rewrapped, with one login; a run that is killed at each system call that writes; disks that
# are full and pipes that are cut; what an open by a new process costs at a distant HSM.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm t
faulty_new far hsm || skip_all "no faulty module"
kyok_conf '[token t]' "module = $SANDBOX/far.so" 'uri = pkcs11:token=t' "pin-source = file:$(pin_file)" 'timeout = 60' \
    '[key a]' 'uri = pkcs11:token=t;object=a' '[key b]' 'uri = pkcs11:token=t;object=b'
must 'a key' "$KYOK" key generate a --type aes-256
must 'another' "$KYOK" key generate b --type aes-256
printf 'a secret' >secret
head -c 700000 /dev/urandom >plain
"$KYOK" seal --to a --owner o secret -o one.jwe
"$KYOK" seal --to a plain -o one.kyok
opens() { [ "$("$KYOK" open "$1" 2>/dev/null | cksum)" = "$(cksum <"$2")" ]; }
left() { find . -name "$1.kyok-tmp.??????" | wc -l; }

# --- many ------------------------------------------------------------------------------------------
count=100
[ -z "${KYOK_LONG:-}" ] || count=1000
mkdir many
for ((i = 0; i < count; i++)); do cp one.jwe many/$i.jwe; done
before=$(find many -type f -printf '%i %T@ %s %p\n' | sort)
faulty far reset
is 'a dry run of many' "$("$KYOK" rewrap many --to 'all-of(a, b)' --dry-run | tail -1)" \
    "$count would be rewrapped, 0 unchanged, 0 failed"
is 'with one login' "$(faulty far count C_Login)" 1
is 'changed no file' "$(find many -type f -printf '%i %T@ %s %p\n' | sort)" "$before"
faulty far reset
is 'rewrapped' "$("$KYOK" rewrap many --to 'all-of(a, b)')" "$count rewrapped, 0 unchanged, 0 failed"
is 'with one login' "$(faulty far count C_Login)" 1
# Per envelope: opened with a, wrapped for a and for b; keys and their records are looked for anew.
calls=$(faulty far count calls)
diag "$((calls / count)) calls per envelope"
at_most 'and few calls for each' $((calls / count)) 40
opened=0
for i in 0 $((count / 2)) $((count - 1)); do opens many/$i.jwe secret && opened=$((opened + 1)); done
is 'they open' $opened 3

# --- stopped half-way ------------------------------------------------------------------------------
half=$((count / 2))
for ((i = 0; i < half; i++)); do cp one.jwe many/$i.jwe; done
faulty far fail C_Encrypt CKR_DEVICE_ERROR
refused 'a custodian that fails: none of those left is touched' any '.' "$KYOK" rewrap many --to 'all-of(a, b)'
faulty far clear
is 'the second run does what is left' "$("$KYOK" rewrap many --to 'all-of(a, b)')" \
    "$half rewrapped, $((count - half)) unchanged, 0 failed"

# --- killed at each system call that writes ----------------------------------------------------------
cp -a hsm hsm.kept # SoftHSM that is killed while it logs in loses its token
calls=openat,write,pwrite64,copy_file_range,fchmod,fchown,fsync,linkat,rename,unlink
# killed CALLS N FILE [OPTION...]: rewrap of FILE, killed at the Nth of CALLS; false if it came to its end.
killed() {
    local what=$1 n=$2 file=$3
    shift 3
    ! { strace -f -qq -o /dev/null "$@" -e trace="$what" -e "inject=$what:signal=KILL:when=$n" \
        "$KYOK" rewrap "$file" --to b >/dev/null; } 2>/dev/null
}
if strace -e trace=none true 2>/dev/null; then
    for kind in jwe kyok; do
        original=secret
        [ $kind = jwe ] || original=plain
        cp one.$kind victim.$kind
        killed=0 unreadable='' unfinished=''
        for n in $(seq 400); do
            rm -f victim.$kind.kyok-tmp.??????
            # Only what touches the envelope or its folder.
            killed $calls $n "$SANDBOX/victim.$kind" -P "$SANDBOX/victim.$kind" -P "$SANDBOX" || break
            killed=$n
            rm -rf hsm && cp -a hsm.kept hsm
            opens victim.$kind $original || unreadable="$unreadable $n"
            "$KYOK" rewrap victim.$kind --to b >/dev/null 2>&1 && opens victim.$kind $original || unfinished="$unfinished $n"
            "$KYOK" rewrap victim.$kind --to a >/dev/null 2>&1
        done
        diag "$kind: killed at $killed calls"
        at_least "$kind: killed at so many calls on its path" $killed 3
        is "$kind: readable after each" "$unreadable" ''
        is "$kind: a second run completed each" "$unfinished" ''
    done
    # And by number, wherever in the process: what is killed in the module is the module's.
    for kind in jwe kyok; do
        original=secret
        [ $kind = jwe ] || original=plain
        cp one.$kind victim.$kind
        strace -f -c -qq -o counts -e trace=$calls "$KYOK" rewrap victim.$kind --to b >/dev/null
        bad='' times=0
        for call in write copy_file_range fchmod fchown fsync linkat rename; do
            total=$(awk -v c=$call '$NF == c { print $4 }' counts)
            first=1 # the envelope is written last; the long form kills in the module's writes, too
            [ $call != write ] || [ -n "${KYOK_LONG:-}" ] || [ "$total" -lt 5 ] || first=$((total - 3))
            for ((n = first; n <= ${total:-0}; n++)); do
                cp one.$kind victim.$kind
                killed $call $n victim.$kind && times=$((times + 1))
                rm -rf hsm && cp -a hsm.kept hsm
                opens victim.$kind $original && "$KYOK" rewrap victim.$kind --to b >/dev/null &&
                    opens victim.$kind $original || bad="$bad $call:$n"
            done
        done
        at_least "$kind: killed so many times" $times 4
        is "$kind: readable each time, then completed" "$bad" ''
    done
else
    skip 'no strace here' 10
fi
rm -f victim.*

# --- no space, no reader -----------------------------------------------------------------------------
# small KiB: a tmpfs of that size, as $SANDBOX/small.
small() { mkdir -p small && mount -t tmpfs -o "size=${1}k" kyok-test small 2>/dev/null && at_end+=("umount $SANDBOX/small"); }
if [ "$(id -u)" = 0 ] && small 320; then
    cp one.jwe small/one.jwe
    refused 'seal, no space' 1 'ENOSPC' "$KYOK" seal --to a plain -o small/out.kyok
    is 'leaves nothing' "$(ls small)" one.jwe
    refused 'open, no space' 1 'ENOSPC' "$KYOK" open one.kyok -o small/out
    is 'leaves nothing' "$(ls small)" one.jwe
    head -c 200000 /dev/urandom | "$KYOK" seal --to a -o small/stream.kyok
    sum=$(cksum <small/stream.kyok)
    refused 'rewrap of a stream, no space' any 'ENOSPC' "$KYOK" rewrap small/stream.kyok --to b
    is 'the old one stays' "$(cksum <small/stream.kyok)" "$sum"
    ok 'and opens' "$KYOK" open small/stream.kyok -o out
    dd if=/dev/zero of=small/filler bs=1k 2>/dev/null
    refused 'rewrap, no space at all' any 'ENOSPC' "$KYOK" rewrap small/one.jwe --to b
    ok 'the old one stays' cmp one.jwe small/one.jwe
    refused 'seal, no space at all' 1 'ENOSPC' "$KYOK" seal --to a secret -o small/new.jwe
    is 'nothing is left behind' "$(find small -type f | sort | tr '\n' ' ')" 'small/filler small/one.jwe small/stream.kyok '
    umount small
    at_end=()
else
    skip 'needs root: a small file system' 11
fi
for what in 'seal --to a plain' 'open one.kyok'; do # shellcheck disable=SC2086
    refused "${what%% *}, files may not be as large" 1 'EFBIG' bash -c "ulimit -f 100; exec '$KYOK' $what -o large"
done
cp one.kyok large.kyok
refused 'rewrap, files may not be as large' any 'EFBIG' bash -c "ulimit -f 100; exec '$KYOK' rewrap large.kyok --to b"
is 'nothing is left behind' "$(echo large*)" large.kyok
ok 'and the old one stays' cmp one.kyok large.kyok
# A process that is killed half-way leaves nothing of the plaintext: the file has no name yet.
mkfifo half
"$KYOK" open -o halved <half >/dev/null 2>&1 &
pid=$!
exec 6>half
head -c 600000 one.kyok >&6
written() { [ -n "$(find -L "/proc/$pid/fd" -maxdepth 1 -type f -size +255k 2>/dev/null)" ]; }
wait_for 90 written
ok 'half of it is written' written
is 'under no name' "$(echo halved*)" 'halved*'
kill -KILL $pid
wait $pid 2>/dev/null
exec 6>&-
is 'killed then, it leaves nothing' "$(echo halved*)" 'halved*'
if [ -w /dev/full ]; then
    refused 'seal to a full device' any 'ENOSPC' "$KYOK" seal --to a secret -o /dev/full
    refused 'open to a full device' 1 'ENOSPC' "$KYOK" open one.jwe -o /dev/full
    refused 'a stream to a full device' any 'ENOSPC' "$KYOK" open one.kyok -o /dev/full
else
    skip 'no /dev/full' 3
fi
"$KYOK" open one.kyok 2>cut.err | head -c 100 >/dev/null
is 'a reader that leaves a stream: incomplete' "${PIPESTATUS[0]}" 4
like 'and says so' "$(cat cut.err)" 'EPIPE'
"$KYOK" seal --to a plain 2>cut.err | head -c 100 >/dev/null
is 'one that leaves while a stream is sealed: incomplete too' "${PIPESTATUS[0]}" 4
# Whole before it is fed, and known to differ in its first chunk alone.
head -c 600000 one.kyok >damaged.kyok
byte=$(od -An -tu1 -j 500000 -N 1 damaged.kyok)
printf "\\x$(printf %02x $((byte ^ 120)))" | dd of=damaged.kyok bs=1 seek=500000 conv=notrunc status=none
is 'one byte is another' "$(cmp -l -n 600000 one.kyok damaged.kyok | awk '{ print $1 }')" 500001
mkfifo feed
"$KYOK" open <feed >piped 2>cut.err &
pid=$!
exec 6>feed
cat damaged.kyok >&6
wait_for 90 grep -q altered cut.err
like 'a damaged chunk is told while the input goes on' "$(cat cut.err)" 'altered'
exec 6>&-
wait $pid
(exec 0<&- && "$KYOK" seal --to a -o closed.jwe) 2>/dev/null
is 'no standard input is no empty secret' "$(ls closed.jwe 2>/dev/null)" ''

# --- a distant HSM -----------------------------------------------------------------------------------
faulty far delay calls 50ms
faulty far delay logins 300ms
faulty far reset
begun=$(now_ms)
ok 'opens at 50 ms per call and 300 ms per login' opens one.jwe secret
took=$(($(now_ms) - begun))
calls=$(faulty far count calls)
is 'one login' "$(faulty far count C_Login)" 1
diag "an open by a new process: $calls calls, $took ms"
at_most 'so many calls by a new process' "$calls" 40
# What a reader of the figures can rely on: nothing but the calls, the login and a start costs time.
at_least 'the time is the calls and the login' "$took" $((calls * 50))
faulty far clear
done_testing
