#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What PyKMIP's client sends and its server answers, for every operation and version that it has
# (1.0 to 1.4 and 2.0): read into structures and written again it is the same bytes.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/pykmip.sh"

pykmip_needed
messages=$SANDBOX/messages
mkdir "$messages"
ok "PyKMIP made its messages" /usr/bin/python3 -W ignore "$TESTS/support/kmip_pykmip_messages.py" "$messages"
out=$("$SUPPORT/kmip_xml_tool" again "$messages"/*-re* | sed "s#$messages/##")

# PyKMIP's client sends some of them to versions that do not have them, and 1.x's template in Re-key 2.0.
known='^differs (1\.[01]-[0-9]+-(request|response):1: KMIP 1\.[01] has no (Encrypt|Decrypt|Sign|SignatureVerify|MAC|EncodingOption);|2\.0-[0-9]+-request:1: at byte 193 of 200 )'
is "every difference is one that is known" "$(grep '^differs' <<<"$out" | grep -Ev "$known")" ""
at_most "known differences" "$(grep -c '^differs' <<<"$out")" 13
for version in 1.0 1.1 1.2 1.3 1.4 2.0; do
    for kind in request response; do
        at_least "$kind messages of $version that are the same" "$(grep -c "^same $version-.*$kind" <<<"$out")" 33
    done
    # A server's answer to each operation, successes among them, was there to be read.
    successes=$(for file in "$messages/$version"-*-response; do "$KYOK" kmip dump "$file"; done | grep -c 'ResultStatus Enumeration Success')
    at_least "answers of $version that are a success" "$successes" 29
    derived=$(for file in "$messages/$version"-*-response; do "$KYOK" kmip dump "$file"; done | grep -A1 'Operation Enumeration DeriveKey' | grep -c 'Success')
    at_least "keys derived in $version" "$derived" 4
done
done_testing
