#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of keys at a KMIP server: states and dates, which are the server's, suspension, which is kyok's;
# versions by Re-key and, at the smallest server, by Create; descendants; each of it killed at every write.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
need python3
cd "$SANDBOX" || exit 1
kmip_server s "key plain aes-256 alice" "key ec ec-p256 alice" || skip_all "the scripted server does not start"
{
    kmip_group s alice "$PORT" "timeout = 30"
    kmip_group r alice "$PORT" "timeout = 30" "release = yes"
    kmip_group b bob "$PORT" "timeout = 30"
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf
echo 'a secret' >secret
mkdir empty
k() { echo "kmip://s?name=$1"; }
seal() { "$KYOK" seal --to "$1" secret -o "$2"; }
opens() { [ "$("$KYOK" open "$1" 2>&1)" = 'a secret' ]; }
versions() { "$KYOK" --json key state "$1" | python3 -c '
import json, sys
print(" ".join(v["label"] + ":" + v["state"] for v in json.load(sys.stdin)["versions"]))'; }
identifier() { "$KYOK" --json key state "$1" | python3 -c '
import json, sys
print(json.load(sys.stdin)["versions"][-1]["identifier"])'; }
kid() { "$KYOK" --json inspect "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][0][0]["kid"])'; }
asked() { kmip_tell s stats | grep -o " $1=[0-9]*" | cut -d= -f2; }

# --- a key of one's own: import promises that nobody sees it -------------------------------------------
head -c 32 /dev/urandom >material
refused 'import into a server: the host would see the key' 1 'passes this host in the clear' "$KYOK" key import "$(k byok)" --begin -o transport
like 'and the command that says so' "$("$KYOK" key import "$(k byok)" --begin -o transport 2>&1)" 'kyok kmip register s FILE --type symmetric-key'
is 'nothing was written' "$(ls transport 2>/dev/null)" ''
ok 'that brings it' "$KYOK" kmip register s material --type symmetric-key --name byok
ok 'and it is sealed to' seal "$(k byok)" byok.jwe
ok 'and opens' opens byok.jwe

# --- states ------------------------------------------------------------------------------------------
ok 'a pre-active key' "$KYOK" key generate "$(k p)" --type aes-256 --pre-active
is 'is pre-active' "$(versions "$(k p)")" p:pre-active
refused 'nothing is sealed to it' 1 'not Active' seal "$(k p)" x.jwe
like 'the server enforces that' "$("$KYOK" key state "$(k p)")" 'pre-active.*the KMIP server'
refused 'it cannot be suspended' 1 'pre-active cannot become suspended' "$KYOK" key state "$(k p)" suspended
refused 'nor deactivated' 1 'pre-active cannot become deactivated' "$KYOK" key state "$(k p)" deactivated
ok 'it is activated' "$KYOK" key state "$(k p)" active
ok 'and sealed to' seal "$(k p)" p.jwe
ok 'suspend' "$KYOK" key state "$(k p)" suspended
like 'by kyok alone' "$("$KYOK" key state "$(k p)")" 'suspended.*kyok alone: KMIP has no such state'
refused 'nothing opens' 1 'suspended' "$KYOK" open p.jwe
refused 'nothing is sealed' 1 'suspended' seal "$(kid p.jwe)" x.jwe
ok 'wake it' "$KYOK" key state "$(k p)" active
ok 'it opens' opens p.jwe
ok 'suspend again' "$KYOK" key state "$(k p)" suspended
refused 'nothing opens again' 1 'suspended' "$KYOK" open p.jwe
ok 'a suspended key is deactivated' "$KYOK" key state "$(k p)" deactivated
is 'is deactivated' "$(versions "$(k p)")" p:deactivated
refused 'and stays so' 1 'deactivated cannot become active' "$KYOK" key state "$(k p)" active
refused 'nor suspended' 1 'deactivated cannot become suspended' "$KYOK" key state "$(k p)" suspended
kmip_tell s 'deny alice AddAttribute' >/dev/null
refused 'a server that keeps no word of kyok'"'"'s' 1 'AddAttribute|Add Attribute' "$KYOK" key state kmip://s/plain suspended
kmip_tell s 'allow alice AddAttribute' >/dev/null
kmip_tell s 'fault AddAttribute 1 error 5' >/dev/null
refused 'or has no such operation, with the alternative' 1 'permission away at the server, or deactivate' \
    "$KYOK" key state kmip://s/plain suspended

# --- dates: the server's -------------------------------------------------------------------------------
ok 'a key for later' "$KYOK" key generate "$(k d)" --type aes-256 --activate-on 2d --deactivate-on 4d
is 'is pre-active' "$(versions "$(k d)")" d:pre-active
like 'its dates are the server'"'"'s' "$("$KYOK" key state "$(k d)" | tr '\n' ' ')" 'active from 20.*deactivated from 20.*\(the KMIP server\)'
refused 'nothing is sealed to it yet' 1 'not Active' seal "$(k d)" x.jwe
kmip_tell s "clock $((3 * 86400))" >/dev/null
ok 'the day comes: it seals' seal "$(k d)" d.jwe
is 'is active' "$(versions "$(k d)")" d:active
kmip_tell s "clock $((5 * 86400))" >/dev/null
is 'the last day comes' "$(versions "$(k d)")" d:deactivated
refused 'nothing is sealed' 1 'not Active' seal "$(k d)" x.jwe
kmip_tell s "clock 0" >/dev/null
ok 'a key without dates' "$KYOK" key generate "$(k e)" --type aes-256
ok 'gets one' "$KYOK" key state "$(k e)" --deactivate-on 2d
ok 'and another' "$KYOK" key state "$(k e)" --deactivate-on 9d
kmip_tell s "clock $((3 * 86400))" >/dev/null
is 'the first counts no more' "$(versions "$(k e)")" e:active
kmip_tell s "clock 0" >/dev/null
refused 'a date is not taken away' 1 'moved, not taken away' "$KYOK" key state "$(k e)" --deactivate-on never
refused 'what is active is not activated' 1 'not activated by a date' "$KYOK" key state "$(k e)" --activate-on 2d
ok 'a pair for later' "$KYOK" key generate "$(k pair)" --type rsa-2048 --pre-active
is 'is pre-active' "$(versions "$(k pair)")" pair:pre-active
ok 'is activated, both halves' "$KYOK" key state "$(k pair)" active
ok 'and sealed to' seal "$(k pair)" pair.jwe
ok 'opens' opens pair.jwe

# --- versions by Re-key ----------------------------------------------------------------------------------
ok 'a key' "$KYOK" key generate "$(k root)" --type aes-256
ok 'sealed to' seal "$(k root)" r1.jwe
first=$(kid r1.jwe)
kmip_tell s reset-stats >/dev/null
ok 'rotate' "$KYOK" key rotate "$(k root)"
is 'by Re-key, once' "$(asked ReKey) $(asked Create)" '1 '
is 'both versions stand' "$(versions "$(k root)" | tr ' ' '\n' | grep -c :active)" 2
ok 'the first still opens' opens r1.jwe
ok 'seal again' seal "$(k root)" r2.jwe
unlike 'to the new version' "$(kid r2.jwe)" "^$first\$"
ok 'rotate again, by the identifier of the first' "$KYOK" key rotate "$first"
ok 'seal once more' seal "$(k root)" r3.jwe
is 'three versions' "$(versions "$(k root)" | wc -w)" 3
is 'rewrap brings all to the newest' "$("$KYOK" rewrap r1.jwe r2.jwe r3.jwe)" '2 rewrapped, 1 unchanged, 0 failed'
is 'which all name' "$(kid r1.jwe) $(kid r2.jwe)" "$(kid r3.jwe) $(kid r3.jwe)"
ok 'and it opens' opens r1.jwe

# --- versions by name: where the server has no Re-key, and of a pair ------------------------------------
kmip_tell s 'profile nine' >/dev/null
n='kmip://r?name=small'
ok 'a key at the smallest server' "$KYOK" key generate "$n" --type aes-256
ok 'sealed to, with a key that the group releases' seal "$n" n1.jwe
ok 'rotate' "$KYOK" key rotate "$n"
is 'versions by name' "$(versions "$n")" 'small:active small.v2:active'
ok 'the first still opens' opens n1.jwe
ok 'seal again' seal "$n" n2.jwe
is 'to the second version' "$(kid n2.jwe)" "kmip://r/$(identifier "$n")"
ok 'rotate by the identifier of the first' "$KYOK" key rotate "$(kid n1.jwe)"
is 'makes the third' "$(versions "$n")" 'small:active small.v2:active small.v3:active'
ok 'suspension at the smallest server' "$KYOK" key state 'kmip://r?name=small.v3' suspended
ok 'seals to the newest that is active' seal "$n" n3.jwe
is 'which is the second' "$(kid n3.jwe)" "$(kid n2.jwe)"
ok 'wake it' "$KYOK" key state 'kmip://r?name=small.v3' active
is 'rewrap follows the names' "$("$KYOK" rewrap n1.jwe n2.jwe n3.jwe)" '3 rewrapped, 0 unchanged, 0 failed'
for version in small small.v2; do
    "$KYOK" key state "kmip://r?name=$version" deactivated >/dev/null
    ok "destroy $version" "$KYOK" key destroy "kmip://r?name=$version" --in empty --confirm "$version"
done
is 'the name means what is left' "$(versions "$n")" small.v3:active
ok 'opens' opens n1.jwe
ok 'seals' seal "$n" n4.jwe
ok 'rotates: no number is used twice' "$KYOK" key rotate "$n"
is 'the fourth' "$(versions "$n")" 'small.v3:active small.v4:active'
kmip_tell s 'profile full' >/dev/null
ok 'a pair has versions by name too' "$KYOK" key rotate "$(k pair)"
is 'both stand' "$(versions "$(k pair)")" 'pair:active pair.v2:active'
ok 'the first opens' opens pair.jwe
ok 'the second is sealed to' seal "$(k pair)" pair2.jwe
ok 'and opens' opens pair2.jwe
refused 'an EC key has none' 1 'AES and RSA keys have versions' "$KYOK" key rotate kmip://s/ec
refused 'nor a key that is not there' any 'no object is named|no such' "$KYOK" key rotate "$(k nowhere)"

# --- descendants: objects of their own ---------------------------------------------------------------------
ok 'a descendant' "$KYOK" key descend "$(k root)" --for vendor-a
ok 'another' "$KYOK" key descend "$(k root)" --for vendor-b
refused 'not twice' 1 'exists' "$KYOK" key descend "$(k root)" --for vendor-a
refused 'not below a pair' 1 'AES' "$KYOK" key descend "$(k pair)" --for vendor-c
like 'the tree' "$("$KYOK" key list s --tree | tr '\n' '|')" '\|root  active.*\|  vendor-a  active[^|]*\|  vendor-b  active'
seal "$(k vendor-a)" a.jwe
seal "$(k vendor-b)" b.jwe
sum=$(cksum a.jwe b.jwe; stat -c %y a.jwe b.jwe)
ok 'the root is rotated' "$KYOK" key rotate "$(k root)"
is 'no envelope is touched' "$(cksum a.jwe b.jwe; stat -c %y a.jwe b.jwe)" "$sum"
ok 'they open' opens a.jwe
like 'the tree holds' "$("$KYOK" key list s --tree | tr '\n' '|')" '\|root  active[^|]*\|  vendor-a  active[^|]*\|  vendor-b'
ok 'suspend one' "$KYOK" key state "$(k vendor-a)" suspended
refused 'it opens nothing' 1 'suspended' "$KYOK" open a.jwe
ok 'its sibling works' opens b.jwe
ok 'wake it' "$KYOK" key state "$(k vendor-a)" active
ok 'rotate it' "$KYOK" key rotate "$(k vendor-a)"
ok 'it opens' opens a.jwe
like 'its versions stay below the root' "$("$KYOK" key list s --tree | tr '\n' '|')" '\|root  active[^|]*\|  vendor-a  active  2 versions'
refused 'another identity cannot use it' any '' env KYOK_CONF="$SANDBOX/kyok.conf" "$KYOK" open --foreign --key "kmip://b/$(identifier "$(k vendor-b)")" b.jwe

# --- destruction -------------------------------------------------------------------------------------------
mkdir used && cp b.jwe used/
vendor_b=$(kid b.jwe)
refused 'not while an envelope needs it' 1 'would lose this key' "$KYOK" key destroy "$vendor_b" --in used --confirm "${vendor_b##*/}"
refused 'not without its name' 1 'its name was not given' "$KYOK" key destroy "$vendor_b" --in empty --confirm x
refused 'not while it is active' 1 'deactivate it first' "$KYOK" key destroy "$vendor_b" --in empty --confirm "${vendor_b##*/}"
refused 'nor by force: the server would not' 1 'deactivate it first' "$KYOK" key destroy "$vendor_b" --in used --force --confirm "${vendor_b##*/}"
ok 'deactivated' "$KYOK" key state "$vendor_b" deactivated
refused 'still not while an envelope needs it' 1 'would lose this key' "$KYOK" key destroy "$vendor_b" --in used --confirm "${vendor_b##*/}"
ok 'by force' "$KYOK" key destroy "$vendor_b" --in used --force --confirm "${vendor_b##*/}"
refused 'it is gone' any 'no such|not found|NOT_FOUND|Item Not Found' "$KYOK" open b.jwe
ok 'its sibling works' opens a.jwe

# --- killed at every write ----------------------------------------------------------------------------------
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
    writes=write,sendto,sendmsg,writev
    # killed NAME CHECK COMMAND...: at its first, third, ... write (each one with KYOK_LONG), then run again.
    step=$([ -n "${KYOK_LONG:-}" ] && echo 1 || echo 2)
    killed() {
        local name=$1 check=$2 nth=$((1 - step)) bad='' status=137
        shift 2
        while [ $status -eq 137 ] && [ $nth -lt 60 ]; do
            nth=$((nth + step))
            { strace -f -qq -o /dev/null -e trace=$writes -e "inject=$writes:signal=SIGKILL:when=$nth" "$@" >/dev/null; } 2>/dev/null
            status=$?
            $check before || bad="$bad $nth:unreadable"
            [ $status -ne 137 ] || "$@" >/dev/null 2>&1 || [ "${again:-}" = taken ] || bad="$bad $nth:second-run"
            $check after || bad="$bad $nth:incomplete"
        done
        is "$name: killed at writes up to the ${nth}th" "$bad" ''
        at_least "$name: it was killed often enough" $((nth - 1)) 5
    }
    whole() { # CHECK KEY ENVELOPE: it opens; afterwards no version is left unactivated
        opens "$3" && { [ "$1" = before ] || ! versions "$2" | grep -q pre-active; }
    }
    "$KYOK" key generate "$(k kr)" --type aes-256 >/dev/null && seal "$(k kr)" kr.jwe
    by_rekey() { whole "$1" "$(k kr)" kr.jwe; }
    killed 'rotate by Re-key' by_rekey "$KYOK" key rotate "$(k kr)"
    "$KYOK" key generate "$(k kn)" --type rsa-2048 >/dev/null && seal "$(k kn)" kn.jwe
    by_name() { whole "$1" "$(k kn)" kn.jwe; }
    killed 'rotate by name' by_name "$KYOK" key rotate "$(k kn)"
    # A second descend finds the name taken, and the key of that name is in use.
    descended() { opens kr.jwe && { [ "$1" = before ] || { seal "$(k kd)" kd.jwe 2>/dev/null && rm kd.jwe; }; }; }
    again=taken killed 'descend' descended "$KYOK" key descend "$(k kr)" --for kd
    "$KYOK" key generate "$(k kx)" --type aes-256 >/dev/null && "$KYOK" key state "$(k kx)" deactivated >/dev/null
    gone() { opens kr.jwe && { [ "$1" = before ] || ! "$KYOK" key state "$(k kx)" >/dev/null 2>&1; }; }
    again=taken killed 'destroy' gone "$KYOK" key destroy "$(k kx)" --in empty --confirm kx
else
    skip 'strace cannot trace here' 8
fi
done_testing
