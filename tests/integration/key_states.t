#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# States of keys in a token (NIST SP 800-57): every transition, allowed and refused; dates; what the token
# enforces and what kyok alone.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need pkcs11-tool python3
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm t
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
kyok_conf '[token hsm]' "module = $(softhsm_module)" 'uri = pkcs11:token=t' "pin-source = file:$(pin_file)" \
    'require = never-extractable'
openssl_conf
provider_conf=$OPENSSL_CONF
unset OPENSSL_CONF
signs() { OPENSSL_CONF=$provider_conf "$SUPPORT/sign_tool" run "$(k "$1")" 1 1; }
echo 'a secret' >secret
k() { echo "pkcs11:token=t;object=$1"; }
seal() { "$KYOK" seal --to "$(k "$1")" secret -o "$2"; }
state() { "$KYOK" --json key state "$(k "$1")" | python3 -c '
import json, sys
print(" ".join(v["state"] for v in json.load(sys.stdin)["versions"]))'; }
exact() { "$KYOK" --json inspect "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][0][0]["kid"])'; }
usage() { p11tool hsm --token-label t -O --type secrkey 2>&1 | grep -A3 "label: *$1\$" | sed -n 's/^ *Usage: *//p'; }
mkdir empty

# --- pre-active --------------------------------------------------------------------------------------
ok 'a pre-active key' "$KYOK" key generate "$(k p)" --type aes-256 --pre-active
is 'is pre-active' "$(state p)" pre-active
is 'the token lets it do nothing' "$(usage p)" none
refused 'nothing is sealed to it' 1 'no version of this key is active' seal p x.jwe
id=$("$KYOK" --json key state "$(k p)" | python3 -c 'import json, sys; print(json.load(sys.stdin)["versions"][0]["id"])')
refused 'not by its exact name either' 1 'pre-active' "$KYOK" seal --to "$(k p);id=$(sed 's/../%&/g' <<<"$id")" secret -o x.jwe
like 'who enforces that' "$("$KYOK" key state "$(k p)")" 'pre-active.*the token, against everyone without its PIN'
refused 'the name is taken' 1 'already has a key' "$KYOK" key generate "$(k p)" --type aes-256 --pre-active
ok 'a pre-active RSA root' "$KYOK" key generate "$(k pr)" --type rsa-2048 --pre-active
like 'whose public half kyok alone guards' "$("$KYOK" key state "$(k pr)")" 'pre-active.*kyok alone for encryption to the public half'
refused 'nothing is sealed to it' 1 'no version of this key is active' seal pr x.jwe
ok 'it is activated' "$KYOK" key state "$(k pr)" active
ok 'and used' seal pr pr.jwe
ok 'opens' "$KYOK" open pr.jwe
ok 'a pre-active EC key' "$KYOK" key generate "$(k pe)" --type ec-p256 --pre-active
refused 'signs nothing' any 'CKR_KEY_FUNCTION_NOT_PERMITTED' signs pe
ok 'until it is activated' "$KYOK" key state "$(k pe)" active
ok 'then it signs' signs pe

# --- every transition --------------------------------------------------------------------------------
# FROM, then what becomes of active, suspended, deactivated, destroyed.
bring() { # KEY STATE: a new key in that state
    case $2 in
    pre-active) "$KYOK" key generate "$(k "$1")" --type aes-256 --pre-active ;;
    *) "$KYOK" key generate "$(k "$1")" --type aes-256 && { [ "$2" = active ] || to "$1" "$2"; } ;;
    esac >/dev/null
}
to() {
    if [ "$2" = destroyed ]; then "$KYOK" key destroy "$(k "$1")" --in empty --confirm "$1"
    else "$KYOK" key state "$(k "$1")" "$2"; fi >/dev/null
}
while read -r from rest; do
    n=0
    for wanted in $rest; do
        n=$((n + 1))
        target=$(echo active suspended deactivated destroyed | cut -d' ' -f$n)
        key=$from-$target
        bring "$key" "$from"
        if [ "$wanted" = yes ]; then
            ok "$from to $target" to "$key" "$target"
            is "$from to $target: the word" "$(state "$key")" "$target"
        else
            refused "$from to $target is refused" 1 "$from cannot become $target|destroyed" to "$key" "$target"
            is "$from to $target: stays" "$(state "$key")" "$from"
        fi
    done
done <<'TABLE'
pre-active yes no no yes
active yes yes yes yes
suspended yes yes yes yes
deactivated no no yes yes
destroyed no no no yes
TABLE
is 'active: all uses' "$(usage suspended-active)" 'encrypt, decrypt, wrap, unwrap'
is 'suspended: none' "$(usage active-suspended)" none
is 'deactivated: what reads old data' "$(usage active-deactivated)" 'decrypt, unwrap'
refused 'pre-active is no state to go back to' 2 'a state is' "$KYOK" key state "$(k active-active)" pre-active

# --- dates -------------------------------------------------------------------------------------------
ok 'a key for later' "$KYOK" key generate "$(k d)" --type aes-256 --activate-on 2099-01-01T10:00 --deactivate-on 2099-06-01
is 'is pre-active' "$(state d)" pre-active
like 'the dates are kyok'"'"'s alone' "$("$KYOK" key state "$(k d)" | tr '\n' ' ')" \
    'active from 2099-01-01T10:00:00Z, deactivated from 2099-06-01T00:00:00Z +\(kyok alone'
cat >token.py <<'PY'
import ctypes, json, sys
# dates LABEL: CKA_START_DATE and CKA_END_DATE of its objects; SoftHSM 2.6.1 keeps a private object's and
# answers CKR_GENERAL_ERROR when asked for them, with an empty value where there is none. past LABEL: the date of activation in its
# record goes into the past behind kyok's back, as time does it.
m = ctypes.CDLL(sys.argv[1]); U = ctypes.c_ulong; m.C_Initialize(None)
class A(ctypes.Structure): _fields_ = [("t", U), ("p", ctypes.c_void_p), ("n", U)]
n = U(8); slots = (U * 8)(); m.C_GetSlotList(1, slots, ctypes.byref(n))
for slot in slots[:n.value]:
    s = U()
    if m.C_OpenSession(U(slot), U(6), None, None, ctypes.byref(s)) == 0 and m.C_Login(s, 1, b"1234", 4) == 0: break
def get(o, t):
    v = ctypes.create_string_buffer(65536); a = A(t, ctypes.cast(v, ctypes.c_void_p), 65536)
    rv = m.C_GetAttributeValue(s, U(o), ctypes.byref(a), 1)
    return v.raw[:a.n] if rv == 0 else b"untold" if rv == 5 else b""
label = sys.argv[3].encode(); keep = ctypes.create_string_buffer(label, len(label))
m.C_FindObjectsInit(s, ctypes.byref(A(3, ctypes.cast(keep, ctypes.c_void_p), len(label))), 1)
found = (U * 8)(); c = U(); m.C_FindObjects(s, found, 8, ctypes.byref(c)); m.C_FindObjectsFinal(s)
for o in found[:c.value]:
    if sys.argv[2] == "dates":
        if get(o, 0) == bytes(U(4)): print(get(o, 0x110).decode(), get(o, 0x111).decode())
    elif get(o, 0x10) == b"kyok":
        record = json.loads(get(o, 0x11)); record["versions"][0]["activate"] = 1000000000; record["serial"] += 1
        values = [(0, U(0)), (1, b"\1"), (2, b"\1"), (0x10, b"kyok"), (3, label), (0x11, json.dumps(record).encode())]
        keep = [ctypes.create_string_buffer(bytes(v), len(bytes(v))) for _, v in values]
        t = (A * 6)(*[A(a, ctypes.cast(k, ctypes.c_void_p), len(k)) for (a, _), k in zip(values, keep)])
        sys.exit(m.C_CreateObject(s, t, 6, ctypes.byref(U())) != 0)
PY
like 'the token has them too' "$(python3 token.py "$(softhsm_module)" dates d)" '^(20990101|untold) (20990601|untold)$'
is 'and none where none was given' "$(python3 token.py "$(softhsm_module)" dates p)" ' '
refused 'before its day nothing is sealed to it' 1 'no version of this key is active' seal d x.jwe
ok 'its day is moved, and has come' "$KYOK" key state "$(k d)" --activate-on 2020-01-01
is 'showing it makes it active' "$(state d)" active
is 'in the token too' "$(usage d)" 'encrypt, decrypt, wrap, unwrap'
ok 'it seals' seal d d.jwe
ok 'another key for later' "$KYOK" key generate "$(k e)" --type aes-256 --activate-on 90d
ok 'its day has come unseen' python3 token.py "$(softhsm_module)" past e
ok 'sealing with it makes it active first' seal e e.jwe
ok 'and it opens' "$KYOK" open e.jwe
ok 'the end of a key has come' "$KYOK" key state "$(k d)" --deactivate-on 2021-01-01
is 'it is deactivated' "$(state d)" deactivated
is 'in the token too' "$(usage d)" 'decrypt, unwrap'
ok 'what was sealed opens' "$KYOK" open d.jwe
refused 'nothing new is sealed' 1 'no version of this key is active' seal d x.jwe
refused 'not by its exact name' 1 'deactivated' "$KYOK" seal --to "$(exact d.jwe)" secret -o x.jwe
refused 'a date brings nothing back' 1 'not deactivated by a date' "$KYOK" key state "$(k d)" --deactivate-on never
refused 'nor activates what is active' 1 'not activated by a date' "$KYOK" key state "$(k e)" --activate-on 90d
ok 'an end may be taken back before it has come' "$KYOK" key state "$(k e)" --deactivate-on 90d
ok 'by saying never' "$KYOK" key state "$(k e)" --deactivate-on never
unlike 'no date is left' "$("$KYOK" key state "$(k e)" | grep -i deactivated)" .
refused 'an end before the beginning' 2 'after it is activated' "$KYOK" key generate "$(k f)" --type aes-256 --activate-on 2099-02-01 --deactivate-on 2099-01-01
unlike 'and nothing was made' "$("$KYOK" key list)" 'object=f'
refused 'no such time' 2 'must be like' "$KYOK" key generate "$(k f)" --type aes-256 --activate-on soon
ok 'a descendant may end' "$KYOK" key descend "$(k e)" --for v
seal v v.jwe
ok 'on a day that has come' "$KYOK" key state "$(k v)" --deactivate-on 2021-01-01
ok 'it opens' "$KYOK" open v.jwe
refused 'and seals nothing' 1 'no version of this key is active' seal v x.jwe
ok 'an RSA key may end' "$KYOK" key state "$(k pr)" --deactivate-on 2021-01-01
refused 'kyok alone guards its public half' 1 'deactivated' "$KYOK" seal --to "$(exact pr.jwe)" secret -o x.jwe
done_testing
