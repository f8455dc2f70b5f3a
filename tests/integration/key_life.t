#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of keys in a token: states, rotation, descendants, destruction; nothing of them leaves the token.
# Killed at every write: key_kills.t; every transition of states: key_states.t; import: key_import.t.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need pkcs11-tool python3
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm t
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
conf() {
    kyok_conf '[token hsm]' "module = $(softhsm_module)" 'uri = pkcs11:token=t' "pin-source = file:$(pin_file)" \
        "require = $1" '[key root]' 'uri = pkcs11:token=t;object=root' '[key a]' 'uri = pkcs11:token=t;object=a' \
        '[key b]' 'uri = pkcs11:token=t;object=b' '[key r]' 'uri = pkcs11:token=t;object=r'
}
conf never-extractable
echo 'a secret' >secret
sealed() { "$KYOK" seal --to "$1" --owner test secret -o "$2"; }
opens() { [ "$("$KYOK" open "$1" 2>&1)" = 'a secret' ]; }
state() { "$KYOK" --json key state "$1" | python3 -c '
import json, sys
print(" ".join(v["label"] + ":" + v["state"] for v in json.load(sys.stdin)["versions"]))'; }

ok 'a root key' "$KYOK" key generate root --type aes-256
ok 'an RSA root' "$KYOK" key generate r --type rsa-2048
is 'is active' "$(state root)" root:active
sealed root r.jwe
sealed r rsa.jwe

# --- states ----------------------------------------------------------------------------------------
ok 'suspend' "$KYOK" key state root suspended
refused 'a suspended key opens nothing' 1 'suspended' "$KYOK" open r.jwe
refused 'and seals nothing' any 'no version of this key is active|suspended|permitted' sealed root x.jwe
unlike 'the token enforces it' "$(p11tool hsm --token-label t -O 2>&1 | grep -A2 'label: *root$')" 'crypt|wrap'
ok 'back to active' "$KYOK" key state root active
ok 'it opens again' opens r.jwe
ok 'deactivate the RSA root' "$KYOK" key state r deactivated
ok 'what was sealed still opens' opens rsa.jwe
refused 'nothing new is sealed to its public half' 1 'no version of this key is active' "$KYOK" seal --to r secret -o x.jwe
rsa=$("$KYOK" --json inspect rsa.jwe | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["layers"][0][0]["kid"])')
refused 'not by its exact name either' 1 'deactivated: nothing is sealed to it' "$KYOK" seal --to "$rsa" secret -o x.jwe
refused 'nor brought back' 1 'cannot become active' "$KYOK" key state r active
refused 'an unknown state' 2 'a state is' "$KYOK" key state root compromised

# --- descendants -----------------------------------------------------------------------------------
ok 'a descendant' "$KYOK" key descend root --for a
ok 'another' "$KYOK" key descend root --for b
refused 'not twice' 1 'already' "$KYOK" key descend root --for a
ok 'another RSA root' "$KYOK" key generate 'pkcs11:token=t;object=r2' --type rsa-2048
refused 'not below an RSA key' any 'AES' "$KYOK" key descend 'pkcs11:token=t;object=r2' --for c
sealed a a.jwe
sealed b b.jwe
ok 'opens, though the group requires never-extractable' opens a.jwe
unlike 'the descendant is no object on the token' "$(p11tool hsm --token-label t -O --type secrkey 2>&1)" 'label: *a$'
like 'the tree' "$("$KYOK" key list hsm --tree | tr '\n' '|')" 'root.*\|  (a|b)  active.*\|  (a|b)  active'
ok 'suspend one' "$KYOK" key state a suspended
refused 'it opens nothing' 1 'suspended' "$KYOK" open a.jwe
ok 'its sibling works' opens b.jwe
ok 'wake it' "$KYOK" key state a active
ok 'it opens again' opens a.jwe

# --- nothing leaves --------------------------------------------------------------------------------
extracted=0
for id in $(p11tool hsm --token-label t -O --type secrkey 2>/dev/null | sed -n 's/^ *ID: *//p'); do
    p11tool hsm --token-label t --read-object --type secrkey --id "$id" -o leaked >/dev/null 2>&1 && [ -s leaked ] && extracted=1
done
is 'no secret key is read out' $extracted 0
cat >wrap.py <<'PY'
import ctypes, os, sys
# C_WrapKey of the root by itself and by an AES key of the attacker's, through the module itself.
m = ctypes.CDLL(sys.argv[1]); U = ctypes.c_ulong
m.C_Initialize(None)
n = U(8); slots = (U * 8)(); m.C_GetSlotList(1, slots, ctypes.byref(n))
class A(ctypes.Structure): _fields_ = [("t", U), ("p", ctypes.c_void_p), ("n", U)]
class M(ctypes.Structure): _fields_ = [("m", U), ("p", ctypes.c_void_p), ("n", U)]
def attrs(*list):
    keep = [ctypes.create_string_buffer(v, len(v)) for _, v in list]
    return (A * len(list))(*[A(t, ctypes.cast(k, ctypes.c_void_p), len(v)) for (t, v), k in zip(list, keep)]), keep
num = lambda v: v.to_bytes(8, "little")
leaks = []; seen = 0
for slot in slots[:n.value]:
    s = U()
    if m.C_OpenSession(slot, 6, None, None, ctypes.byref(s)) or m.C_Login(s, 1, b"1234", 4): continue
    t, keep = attrs((0, num(4)), (1, b"\0"), (0x100, num(0x1f)), (0x106, b"\1"), (0x162, b"\1"), (0x11, b"k" * 32))
    own = U(); m.C_CreateObject(s, t, 6, ctypes.byref(own))
    t, keep = attrs((0, num(4)), (1, b"\1")); m.C_FindObjectsInit(s, t, 2)
    found = (U * 64)(); c = U(); m.C_FindObjects(s, found, 64, ctypes.byref(c)); m.C_FindObjectsFinal(s)
    for key in found[:c.value]:
        for by in list(found[:c.value]) + [own.value]:
            for mech in (0x2109, 0x210a, 0x1081, 0x1082, 0x1085, 0x1087, 0x132, 0x133, 0x136, 0x1, 0x3, 0x9):
                out = ctypes.create_string_buffer(256); length = U(256)
                if m.C_WrapKey(s, ctypes.byref(M(mech, None, 0)), U(by), U(key), out, ctypes.byref(length)) == 0: leaks.append((key, by))
        v = ctypes.create_string_buffer(64); a = A(0x11, ctypes.cast(v, ctypes.c_void_p), 64)
        if m.C_GetAttributeValue(s, U(key), ctypes.byref(a), 1) == 0: leaks.append(key)
        copy = U(); t2, keep2 = attrs((0x162, b"\1"), (0x103, b"\0"))
        if m.C_CopyObject(s, U(key), t2, 2, ctypes.byref(copy)) == 0: leaks.append(("copy", key))
        if m.C_SetAttributeValue(s, U(key), t2, U(2)) == 0: leaks.append(("set", key))
        for n2 in (1, 2): # each alone: SENSITIVE off, EXTRACTABLE on
            one = (A * 1)(t2[n2 - 1])
            if m.C_SetAttributeValue(s, U(key), one, U(1)) == 0: leaks.append(("set", n2, key))
            if m.C_CopyObject(s, U(key), one, U(1), ctypes.byref(copy)) == 0: leaks.append(("copy", n2, key))
        # A digest of a whole random key is no way back to it, and SoftHSM gives SHA digests; nothing shorter.
        if m.C_DigestInit(s, ctypes.byref(M(0x250, None, 0))) == 0:
            d = ctypes.create_string_buffer(64); dn = U(64)
            if m.C_DigestKey(s, U(key)) == 0 and (m.C_DigestFinal(s, d, ctypes.byref(dn)) or dn.value != 32): leaks.append(("digest", key))
        # By AES-ECB of data of the attacker's, by concatenation and by truncation: to a key that may leave.
        t3, keep3 = attrs((0, num(4)), (0x100, num(0x10)), (1, b"\0"), (0x103, b"\0"), (0x162, b"\1"), (0x161, num(16)))
        data = ctypes.create_string_buffer(16); string = (U * 2)(ctypes.addressof(data), 16)
        for mech in (0x1104, 0x360, 0x362, 0x363, 0x364, 0x365):
            derived = U()
            if m.C_DeriveKey(s, ctypes.byref(M(mech, ctypes.cast(string, ctypes.c_void_p), 16)), U(key), t3, U(6), ctypes.byref(derived)) == 0: leaks.append(("derive", mech, key))
    # What the token says of each key that kyok makes: SENSITIVE, ALWAYS_SENSITIVE, NEVER_EXTRACTABLE, not EXTRACTABLE.
    for o in (3, 4):
        t, keep = attrs((0, num(o)), (1, b"\1")); m.C_FindObjectsInit(s, t, U(2))
        found = (U * 64)(); c = U(); m.C_FindObjects(s, found, U(64), ctypes.byref(c)); m.C_FindObjectsFinal(s)
        for key in found[:c.value]:
            said = b""
            for attribute in (0x103, 0x165, 0x164, 0x162):
                v = ctypes.create_string_buffer(1); a = A(attribute, ctypes.cast(v, ctypes.c_void_p), 1)
                said += v.raw if m.C_GetAttributeValue(s, U(key), ctypes.byref(a), U(1)) == 0 else b"?"
            if said != b"\1\1\1\0": leaks.append(("attributes", o, key, said))
            seen += 1
        for key in found[:c.value] if o == 3 else []: # private keys: read, wrapped, changed
            for attribute in (0x123, 0x124, 0x125, 0x11):
                v = ctypes.create_string_buffer(1024); a = A(attribute, ctypes.cast(v, ctypes.c_void_p), 1024)
                if m.C_GetAttributeValue(s, U(key), ctypes.byref(a), U(1)) == 0 and a.n: leaks.append(("read", attribute, key))
            for mech in (0x2109, 0x210a, 0x1085):
                out = ctypes.create_string_buffer(8192); length = U(8192)
                if m.C_WrapKey(s, ctypes.byref(M(mech, None, 0)), own, U(key), out, ctypes.byref(length)) == 0: leaks.append(("wrap", key))
print(seen >= 3, end=" ")
print(leaks)
PY
is 'not by wrapping, reading, copying, changing attributes, digests or derivation; and born so' \
    "$(python3 wrap.py "$(softhsm_module)" 2>&1)" 'True []'

# --- rotation --------------------------------------------------------------------------------------
"$KYOK" seal --to root --stream secret -o r.kyok
sum=$(cksum r.jwe a.jwe b.jwe; stat -c %y r.jwe a.jwe b.jwe)
ok 'rotate the root' "$KYOK" key rotate root
is 'no envelope is touched' "$(cksum r.jwe a.jwe b.jwe; stat -c %y r.jwe a.jwe b.jwe)" "$sum"
is 'the older version only opens' "$(state root)" 'root:deactivated root.v2:active'
for file in r.jwe a.jwe b.jwe; do ok "$file still opens" opens $file; done
sealed root r2.jwe
like 'new envelopes name the new version' "$("$KYOK" inspect r2.jwe)" 'object=root\.v2'
is 'rewrap follows' "$("$KYOK" rewrap r.jwe r.kyok r2.jwe a.jwe)" '2 rewrapped, 2 unchanged, 0 failed'
like 'to the new version' "$("$KYOK" inspect r.jwe r.kyok)" 'object=root\.v2'
ok 'it opens' opens r.jwe
ok 'rotate a descendant' "$KYOK" key rotate a
ok 'its envelopes still open' opens a.jwe
sealed a a2.jwe
like 'new ones name the new version' "$("$KYOK" inspect a2.jwe)" 'object=a\.v2'
ok 'rotate the root again' "$KYOK" key rotate root
ok 'older descendants open' opens a.jwe
ok 'newer too' opens a2.jwe
mkdir many
for n in 1 2 3; do cp a.jwe many/$n.jwe; done
is 'several under one descendant, in one process' "$("$KYOK" rewrap many 2>&1)" '3 rewrapped, 0 unchanged, 0 failed'
for n in 1 2 3; do ok "envelope $n opens" opens many/$n.jwe; done

# --- destruction -----------------------------------------------------------------------------------
sealed root r3.jwe
refused 'not while an envelope needs it' 1 'would lose this key' \
    "$KYOK" key destroy 'pkcs11:token=t;object=root.v3' --in . --confirm root.v3
mkdir empty
refused 'not while others descend from it' 1 'descends from this key' \
    "$KYOK" key destroy 'pkcs11:token=t;object=root.v3' --in empty --confirm root.v3
refused 'not without its name' 1 'its name was not given' \
    "$KYOK" key destroy 'pkcs11:token=t;object=root' --in empty --confirm rot
ok 'the oldest version' "$KYOK" key destroy root --in empty --confirm root
is 'the word stays' "$(state root)" 'root:destroyed root.v2:deactivated root.v3:active'
ok 'what was rewrapped opens' opens r.jwe
ok 'a descendant' "$KYOK" key destroy b --in empty --confirm b
refused 'it opens nothing' 1 'destroyed' "$KYOK" open b.jwe
ok 'its sibling works' opens a2.jwe

done_testing
