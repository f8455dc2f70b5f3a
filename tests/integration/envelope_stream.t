#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Streams through the command: files and pipes, cuts, damage, signals, memory.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util python3
softhsm_root
head -c 3000000 /dev/urandom >plain
sum=$(cksum <plain)
files() { find . -maxdepth 1 -name 'out*' | wc -l; }

ok 'a file to a file' "$KYOK" seal --to root --use backup --owner db plain -o s.kyok
ok 'and back' "$KYOK" open s.kyok --use backup --owner db -o out
is 'the same' "$(cksum <out)" "$sum"
is 'pipes' "$(cat plain | "$KYOK" seal --to root | cat | "$KYOK" open | cksum)" "$sum"
is 'a small one, as a stream when told to' "$(echo hi | "$KYOK" seal --to root --stream | "$KYOK" open)" hi
is 'an empty one' "$("$KYOK" seal --to root --stream </dev/null | "$KYOK" open | wc -c)" 0
like 'inspect' "$("$KYOK" inspect s.kyok)" 's.kyok: stream, use "backup", owner "db", generation 1'
refused 'a stream key is no secret' 1 'key of a stream' bash -c \
    "python3 -c 'import struct; b=open(\"s.kyok\",\"rb\").read(); n=struct.unpack(\">I\", b[8:12])[0]; open(\"head.jwe\",\"wb\").write(b[12:12+n])'; '$KYOK' open head.jwe -o out2"
rm -f out

for size in 12 100 4096 5000 270000 1000000 3004000; do
    head -c $size s.kyok >cut.kyok
    refused "cut at $size, to a file" 4 'cut' "$KYOK" open cut.kyok -o out
    "$KYOK" open <cut.kyok >piped 2>/dev/null
    is "cut at $size, to a pipe" $? 4
    ok 'what came out is the beginning' cmp -n "$(stat -c %s piped)" piped plain
done
damaged() { python3 -c '
import sys
b = bytearray(open("s.kyok", "rb").read()); b[int(sys.argv[1])] ^= 4; open("bad.kyok", "wb").write(b)' "$1"; }
for at in 9 60 4000 4100 266000 2000000 3004200; do
    damaged $at
    refused "byte $at, to a file" any '.' "$KYOK" open bad.kyok -o out
done
damaged 2000000
"$KYOK" open <bad.kyok 2>/dev/null | cat >piped
is 'damage after bytes have left: incomplete' "$("$KYOK" open <bad.kyok 2>/dev/null | cat >/dev/null; echo "${PIPESTATUS[0]}")" 4
ok 'only authenticated bytes left' cmp -n "$(stat -c %s piped)" piped plain
is 'no file appeared' "$(files)" 0

# Killed at any moment there is no file under the name, and an older one stays as it was.
echo old >out
mkfifo slow
"$KYOK" open slow -o out 2>/dev/null &
pid=$!
exec 5>slow
head -c 2000000 s.kyok >&5
kill -9 $pid
{ wait $pid; } 2>/dev/null
exec 5>&-
is 'killed half-way, the older file stays' "$(cat out)" old
refused 'a full disk' any '' bash -c "ulimit -f 1000; trap '' XFSZ; '$KYOK' open s.kyok -o out"
is 'leaves the older file too' "$(cat out)" old

if [ -x /usr/bin/time ]; then
    head -c 100000000 /dev/zero | /usr/bin/time -f %M -o memory "$KYOK" seal --to root -o large.kyok
    at_most 'memory for sealing 100 MB, KiB' "$(tail -1 memory)" 16384
    /usr/bin/time -f %M -o memory "$KYOK" open large.kyok >/dev/null
    at_most 'memory for opening it, KiB' "$(tail -1 memory)" 16384
else
    skip '/usr/bin/time is not installed' 2
fi
done_testing
