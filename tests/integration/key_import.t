#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bringing a key of one's own: AES, RSA and EC keys, wrapped elsewhere for a key of the token's making; what
# tells that it is the right one; what is refused.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need pkcs11-tool python3 openssl
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm t
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
conf() {
    kyok_conf '[token hsm]' "module = $(softhsm_module)" 'uri = pkcs11:token=t' "pin-source = file:$(pin_file)" \
        "require = $1"
}
openssl_conf
provider_conf=$OPENSSL_CONF
unset OPENSSL_CONF
echo 'a secret' >secret
sealed() { "$KYOK" seal --to "$1" --owner test secret -o "$2"; }
opens() { [ "$("$KYOK" open "$1" 2>&1)" = 'a secret' ]; }
k() { echo "pkcs11:token=t;object=$1"; }
# brings NAME MATERIAL: begin, seal elsewhere, import.
brings() {
    rm -f "$1".*
    "$KYOK" key import "$(k "$1")" --begin --allow-oaep-sha1 -o "$1.transport" >/dev/null &&
        env -u KYOK_CONF "$KYOK" key seal --transport "$1.transport" "$2" --allow-oaep-sha1 -o "$1.sealed" &&
        "$KYOK" key import "$(k "$1")" "$1.sealed"
}

# --- import ----------------------------------------------------------------------------------------
conf non-extractable
head -c 32 /dev/urandom >material
paper=$(head -c 16 /dev/zero | openssl enc -aes-256-ecb -nopad -K "$(xxd -p -c 64 material 2>/dev/null || python3 -c 'print(open("material","rb").read().hex())')" | head -c 3 | od -An -tx1 | tr -d ' \n' | tr a-f A-F)
byok='pkcs11:token=t;object=byok'
refused 'OAEP with SHA-1 must be allowed' 1 'allow-oaep-sha1' "$KYOK" key import "$byok" --begin -o transport
ok 'a transport key' "$KYOK" key import "$byok" --begin --allow-oaep-sha1 -o transport
refused 'the other machine must allow it too' 1 'allow-oaep-sha1' env -u KYOK_CONF "$KYOK" key seal --transport transport material -o sealed
like 'its check value is the paper'"'"'s' "$(env -u KYOK_CONF "$KYOK" key seal --transport transport material --allow-oaep-sha1 -o sealed 2>&1)" "check value $paper"
unlike 'the material is not in the file' "$(xxd -p -c 0 sealed 2>/dev/null | tr -d '\n')" "$(xxd -p -c 0 material 2>/dev/null | tr -d '\n' || echo none)"
like 'so is the token'"'"'s' "$("$KYOK" key import "$byok" sealed 2>&1)" "check value $paper"
unlike 'the transport key is gone' "$("$KYOK" key list)" transport
sealed "$byok" byok.jwe
ok 'it works' opens byok.jwe
ok 'a second run finds it done' "$KYOK" key import "$byok" sealed
python3 - <<'PY'
import json
j = json.load(open("sealed")); j["material"] = "00" + j["material"][2:]; json.dump(j, open("bad", "w"))
PY
"$KYOK" key import 'pkcs11:token=t;object=byok2' --begin --allow-oaep-sha1 -o transport2 >/dev/null
refused 'sealed for another transport key' any '' "$KYOK" key import 'pkcs11:token=t;object=byok2' bad
like 'an imported key is flagged' "$("$KYOK" key list)" 'byok.*imported'
conf never-extractable
refused 'and cannot meet never-extractable' 1 'never-extractable' "$KYOK" open byok.jwe
conf non-extractable

# --- pairs -------------------------------------------------------------------------------------------
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem 2>/dev/null
for curve in 256 384 521; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-$curve -out ec$curve.pem 2>/dev/null; done
openssl pkey -in ec384.pem -outform DER -out ec384.der
signs() {
    OPENSSL_CONF=$provider_conf openssl dgst -sha256 -sign "$(k "$1");type=private" -out sig secret &&
        openssl dgst -sha256 -verify "$2" -signature sig secret
}
for key in rsa.pem ec256.pem ec384.der ec521.pem; do
    name=${key%.*}
    openssl pkey -in "$key" -pubout -out "$name.pub"
    fingerprint=$(openssl pkey -in "$key" -pubout -outform DER | sha256sum | head -c 6 | tr a-f A-F)
    like "$name: its check value is that of its public half, on both sides" "$(brings "in-$name" "$key" 2>&1 | grep -c "check value $fingerprint")" '^2$'
    ok "$name: signs, and the public half that never left verifies" signs "in-$name" "$name.pub"
    ok "$name: a second run finds it done" "$KYOK" key import "$(k "in-$name")" "in-$name.sealed"
    like "$name: cannot leave, and is flagged as imported" "$("$KYOK" key list)" "private.*object=in-$name.*imported"
done
unlike 'no transport key is left' "$("$KYOK" key list)" 'in-.*transport'
like 'the token has both halves' "$(p11tool hsm --token-label t -O 2>/dev/null | grep -c 'label: *in-ec256$')" '^2$'
printf plain >plain
openssl pkeyutl -encrypt -pubin -inkey rsa.pub -in plain -out oaep -pkeyopt rsa_padding_mode:oaep
is 'the RSA key decrypts' "$(OPENSSL_CONF=$provider_conf openssl pkeyutl -decrypt -inkey "$(k in-rsa);type=private" -in oaep -pkeyopt rsa_padding_mode:oaep)" plain
"$KYOK" key import "$(k swap)" --begin --allow-oaep-sha1 -o swap.transport >/dev/null
"$KYOK" key seal --transport swap.transport ec256.pem --allow-oaep-sha1 -o swap.sealed 2>/dev/null
python3 - <<'PY'
import hashlib, json, subprocess
j = json.load(open("swap.sealed"))
subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "other.pem"], check=True, stderr=subprocess.DEVNULL)
spki = subprocess.run(["openssl", "pkey", "-in", "other.pem", "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
material = j["material"]
j["material"] = ("0" if material[0] != "0" else "1") + material[1:]; json.dump(j, open("damaged", "w")); j["material"] = material
j["public-key"] = spki.hex(); j["check-value"] = hashlib.sha256(spki).hexdigest()[:6]
json.dump(j, open("swapped", "w"))
j["public-key"] = spki.hex()[:-2]; json.dump(j, open("cut", "w"))
j["type"] = "dsa"; json.dump(j, open("dsa", "w"))
PY
refused 'another public half than the private one' any 'does not belong to its private half' "$KYOK" key import "$(k swap)" swapped
unlike 'and nothing of it stays' "$("$KYOK" key list)" 'private.*object=swap;|object=swap$'
refused 'a private half that was altered' any '' "$KYOK" key import "$(k swap)" damaged
unlike 'leaves no public half' "$(p11tool hsm --token-label t -O --type pubkey 2>/dev/null)" 'label: *swap$'
refused 'a public half that is none' any '' "$KYOK" key import "$(k swap)" cut
refused 'a type that kyok does not bring' any 'no usable "type"' "$KYOK" key import "$(k swap)" dsa
ok 'then the right one' "$KYOK" key import "$(k swap)" swap.sealed
openssl genpkey -algorithm ED25519 -out ed.pem
refused 'an Ed25519 key is refused where it is sealed' any 'RSA or EC' "$KYOK" key seal --transport swap.transport ed.pem --allow-oaep-sha1 -o x
openssl pkcs8 -topk8 -in ec256.pem -passout pass:x -out locked.pem
refused 'an encrypted key too' any 'unencrypted' "$KYOK" key seal --transport swap.transport locked.pem --allow-oaep-sha1 -o x

# --- lengths, and the vector of RFC 5649 ---------------------------------------------------------------
head -c 16 /dev/urandom >m16
brings short m16 >/dev/null 2>&1
like 'a key of 128 bits is listed as such, though the token does not tell' "$("$KYOK" key list)" 'aes-128 .*object=short' 
refused 'and takes no envelope' 1 '256 bits, this one has 128' sealed "$(k short)" x.jwe
brings untold material >/dev/null 2>&1
ok 'a key whose record tells 256 bits takes an envelope' sealed "$(k untold)" u.jwe
p11tool hsm --token-label t --delete-object --type data --label untold >/dev/null 2>&1
refused 'without the record nobody tells its length: no envelope' 1 "does not tell this AES key's length" sealed "$(k untold)" x.jwe
like 'with the way out' "$(sealed "$(k untold)" x.jwe 2>&1)" 'known to have 256 bits'
ok 'what it sealed opens still' "$KYOK" open u.jwe
is 'AES-KWP as RFC 5649 has it, section 6' "$(printf '\xc3\x7b\x7e\x64\x92\x58\x43\x40\xbe\xd1\x22\x07\x80\x89\x41\x15\x50\x68\xf7\x38' >v20
    openssl enc -e -id-aes192-wrap-pad -K 5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8 -iv A65959A6 -in v20 2>/dev/null | od -An -tx1 | tr -d ' \n')" \
    138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a
cat >vector.py <<'PY'
import ctypes, sys
# The token unwraps RFC 5649's own example with the RFC's key to the RFC's value: C_UnwrapKey is what import uses.
m = ctypes.CDLL(sys.argv[1]); U = ctypes.c_ulong; m.C_Initialize(None)
class A(ctypes.Structure): _fields_ = [("t", U), ("p", ctypes.c_void_p), ("n", U)]
class M(ctypes.Structure): _fields_ = [("m", U), ("p", ctypes.c_void_p), ("n", U)]
n = U(8); slots = (U * 8)(); m.C_GetSlotList(1, slots, ctypes.byref(n))
for slot in slots[:n.value]:
    s = U()
    if m.C_OpenSession(U(slot), U(6), None, None, ctypes.byref(s)) == 0 and m.C_Login(s, 1, b"1234", 4) == 0: break
def T(*l):
    keep = [ctypes.create_string_buffer(bytes(v), len(bytes(v))) for _, v in l]
    return (A * len(l))(*[A(a, ctypes.cast(k, ctypes.c_void_p), len(k)) for (a, _), k in zip(l, keep)]), keep
t, k1 = T((0, U(4)), (0x100, U(0x1f)), (1, b"\0"), (0x107, b"\1"), (0x11, bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")))
by = U(); assert m.C_CreateObject(s, t, 5, ctypes.byref(by)) == 0
w = bytes.fromhex("138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a")
t, k2 = T((0, U(4)), (0x100, U(0x10)), (1, b"\0"), (0x103, b"\0"), (0x162, b"\1"))
o = U(); assert m.C_UnwrapKey(s, ctypes.byref(M(0x210a, None, 0)), by, w, U(len(w)), t, U(5), ctypes.byref(o)) == 0
v = ctypes.create_string_buffer(64); a = A(0x11, ctypes.cast(v, ctypes.c_void_p), 64)
assert m.C_GetAttributeValue(s, o, ctypes.byref(a), 1) == 0
print(v.raw[:a.n].hex())
PY
is 'the token too' "$(python3 vector.py "$(softhsm_module)")" c37b7e6492584340bed12207808941155068f738
done_testing
