#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every message of the OASIS KMIP profile test cases: XML -> TTLV -> structures -> TTLV is the same
# bytes. The cases are not part of kyok: $KYOK_KMIP_TESTCASES, else ../shared/kmip-testcases.
. "$(dirname "$0")/../support/lib.sh"

cases=${KYOK_KMIP_TESTCASES:-$SOURCE/../shared/kmip-testcases}
[ -d "$cases" ] || skip_all "no KMIP profile test cases in $cases (set KYOK_KMIP_TESTCASES)"
mapfile -t files < <(find "$cases" -name '*.xml' | sort)
[ ${#files[@]} -gt 0 ] || skip_all "no XML files in $cases"

out=$("$SUPPORT/kmip_xml_tool" check "${files[@]}" 2>&1)
status=$?
count() { grep -c "^$1 " <<<"$out"; }
is "every message could be run" "$status" 0
is "no message differs" "$(grep '^differs' <<<"$out")" ""
messages=$(perl -0777 -ne 's/<!--.*?-->//gs; $n += () = /<Re(?:quest|sponse)Message[ >]/g; END { print $n }' "${files[@]}")
is "each message of the files was run" "$(($(count same) + $(count "left out")))" "$messages"
at_least "messages that are the same" "$(count same)" 3800
diag "$(count same) messages of ${#files[@]} files are byte-identical through the structures"
diag "left out, since kyok has no structures for the operation (payload kept as it is, identical too):"
diag "$(sed -n 's/^left out .*: //p' <<<"$out" | sort | uniq -c)"
for version in 1.0 1.1 1.2 1.3 1.4; do
    at_least "messages of version $version" "$(grep -c "^same .*/v$version/" <<<"$out")" 1
done
done_testing
