#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok kmip dump: a file, hexadecimal, standard input, a message that is cut off; nothing secret.
. "$(dirname "$0")/../support/lib.sh"

# A Get response with a key of 16 bytes c0ffee...: header, item, payload, key block.
item() { printf '42%s%s%08x%s' "$1" "$2" "$3" "$4"; }
structure() { item "$1" 01 $((${#2} / 2)) "$2"; }
version=$(structure 0069 "$(item 006a 02 4 0000000100000000)$(item 006b 02 4 0000000400000000)")
header=$(structure 007a "$version$(item 0092 09 8 000000006553f100)$(item 000d 02 4 0000000100000000)")
block=$(structure 0040 "$(item 0042 05 4 0000000100000000)$(structure 0045 "$(item 0043 08 16 c0ffeec0ffeec0ffeec0ffeec0ffeec0)")")
payload=$(structure 007c "$(item 0057 05 4 0000000200000000)$(item 0094 07 1 3100000000000000)$(structure 008f "$block")")
message=$(structure 007b "$header$(structure 000f "$(item 005c 05 4 0000000a00000000)$(item 007f 05 4 0000000000000000)$payload")")
perl -e 'print pack "H*", $ARGV[0]' "$message" >"$SANDBOX/message"
echo "$message" >"$SANDBOX/hex"

text=$("$KYOK" kmip dump "$SANDBOX/message")
like "tags and values by name" "$text" '^    Operation Enumeration Get$'
like "dates are readable" "$text" 'TimeStamp DateTime 2023-11-14T22:13:20Z'
like "the key is its length" "$text" 'KeyMaterial ByteString \(16 bytes, not shown\)'
unlike "no byte of the key" "$text" '[cC]0[fF]{2}'
is "hexadecimal is recognised" "$("$KYOK" kmip dump "$SANDBOX/hex")" "$text"
is "so is standard input" "$("$KYOK" kmip dump <"$SANDBOX/message")" "$text"
is "and hexadecimal with blanks and colons" "$(sed 's/../&:/g; s/\(.\{60\}\)/\1\n/g' "$SANDBOX/hex" | "$KYOK" kmip dump --hex -)" "$text"
is "two messages" "$(cat "$SANDBOX/message" "$SANDBOX/message" | "$KYOK" kmip dump)" "$text
$text"
ok "JSON" sh -c "'$KYOK' kmip dump --json '$SANDBOX/message' | grep -q '\"ResponseMessage\"'"

head -c 150 "$SANDBOX/message" >"$SANDBOX/cut"
refused "a message that is cut off" 1 'runs past its structure at byte' "$KYOK" kmip dump "$SANDBOX/cut"
like "what there is of it is shown" "$("$KYOK" kmip dump "$SANDBOX/cut" 2>/dev/null)" 'Operation Enumeration Get'
head -c 290 "$SANDBOX/message" >"$SANDBOX/cut"
unlike "but no part of a key" "$("$KYOK" kmip dump "$SANDBOX/cut" 2>/dev/null)" 'c0ff'
refused "no hexadecimal" 2 'not hexadecimal' "$KYOK" kmip dump --hex "$SANDBOX/message"
refused "no such file" 1 'ENOENT|No such file' "$KYOK" kmip dump "$SANDBOX/nothing"
refused "nothing" 2 'empty' sh -c "'$KYOK' kmip dump </dev/null"
refused "a web server's answer" 1 'malformed TTLV' sh -c "printf 'HTTP/1.1 400 Bad' | '$KYOK' kmip dump"
done_testing
