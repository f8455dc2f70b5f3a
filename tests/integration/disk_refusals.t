#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Records and disks that are not what they should be: each is refused, and says why; the true record still
# opens the disk afterwards.
. "$(dirname "$0")/../support/lib.sh"
need pkcs11-tool softhsm2-util python3

cd "$SANDBOX" || exit 1
softhsm_new hsm
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
for t in bank rack; do
    softhsm_token hsm $t
    p11tool hsm --token-label $t --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
done
p11tool hsm --token-label bank --keypairgen --key-type rsa:2048 --label public --id 02 --usage-decrypt >/dev/null 2>&1
groups() { # TOKEN...: [token] sections
    local t
    for t; do printf '%s\n' "[token $t]" "module = $(softhsm_module)" "uri = pkcs11:token=$t" "pin-source = file:$(pin_file)"; done
}
kyok_conf "$(groups bank rack)" '[key bank]' 'uri = pkcs11:token=bank;object=root' '[key rack]' 'uri = pkcs11:token=rack;object=root' \
    '[key public]' 'uri = pkcs11:token=bank;object=public'
mine=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11 other=11111111-3a5c-4d6f-9d52-0c2b4d1f6b11
open() { "$BUILD/kyok-qemu-secret" "$@" -- test -e @d@; }
must "a disk of one VM" "$KYOK" disk create a.img --size 1M --key bank --vm $mine
ok "another disk of that VM" "$KYOK" disk create b.img --size 1M --key bank --vm $mine
luks=$("$KYOK" disk info a.img --json | grep -o '"luks": "[^"]*"' | cut -d'"' -f4)
cp a.img.kyok true.kyok
ok "its VM opens it" open --vm $mine --disk d=a.img
# try NAME REGEX [OPTIONS]: with the record that lies there now, by the program and by the administrator
try() {
    local name=$1 regex=$2
    shift 2
    refused "$name" any "$regex" open "$@" --disk d=a.img
    [ $# -gt 0 ] || refused "$name (kyok disk verify)" any "$regex" "$KYOK" disk verify a.img
    cp true.kyok a.img.kyok
    open --vm $mine --disk d=a.img >/dev/null 2>&1 || fail "afterwards the true record opens it"
}

try "another VM" "a.img.kyok: the record belongs to another VM, $mine" --vm $other
cp b.img.kyok a.img.kyok
try "another disk's record" 'a.img.kyok: the record belongs to another volume'
cp a.img c.img; cp b.img.kyok c.img.kyok
refused "a path that leads to another disk" 1 'c.img.kyok: the record belongs to another volume' open --vm $mine --disk d=c.img

# --- generations ---
ok "rekey" "$KYOK" disk rekey a.img --files-only
cp true.kyok old.kyok; cp a.img.kyok true.kyok; cp old.kyok a.img.kyok
try "a record of lower generation" "a.img.kyok: the record's generation 1 does not open the volume"
cp old.kyok lower.kyok
ok "beside it the higher one counts" open --vm $mine --record d=lower.kyok --disk d=a.img
"$KYOK" seal - --to bank --use vm-disk --owner "luks:$luks vm:$mine" --generation 9 -o a.img.kyok <<<"0123456789abcdef"
try "a higher generation with another passphrase, though a custodian sealed it" "generation 9 does not open the volume"
"$KYOK" seal - --to bank --use vm-disk --owner "luks:$luks vm:$mine" --generation 9 -o higher.kyok <<<"0123456789abcdef"
refused "beside it the lower one is not taken" 1 "generation 9 does not open the volume" open --vm $mine --record d=higher.kyok --disk d=a.img

# --- forged ---
"$KYOK" seal - --to public --use vm-disk --owner "luks:$luks vm:any" --generation 9 -o a.img.kyok <<<"0123456789abcdef"
ok "whoever has a public key can make a record" test -s a.img.kyok
try "which is refused for that" 'a.img.kyok: the record is sealed to public keys only, so anybody may have made it'
"$KYOK" seal - --to bank --use secret --owner "luks:$luks vm:any" -o a.img.kyok <<<"0123456789abcdef"
try "an envelope of another use" 'a.img.kyok: this envelope is no disk record'
"$KYOK" seal - --to bank --use vm-disk --owner "a.img" -o a.img.kyok <<<"0123456789abcdef"
try "a record of no disk" 'a.img.kyok: the record is bound to no disk'

# --- tampered ---
# edit CODE: the record's JSON as j, its protected header as p
edit() {
    python3 - "$1" <<'PY'
import base64, hashlib, json, sys
j = json.load(open("true.kyok"))
un = lambda t: base64.urlsafe_b64decode(t + "=" * (-len(t) % 4))
to = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
p = json.loads(un(j["protected"]))
def flip(t): return ("B" if t[0] == "A" else "A") + t[1:]
def rewrap():  # whoever knows the format: the digest too
    text = json.dumps(j["recipients"], separators=(",", ":"))
    p["kyok"]["wrapped"] = to(hashlib.sha256(text.encode()).digest())
exec(sys.argv[1])
j["protected"] = to(json.dumps(p, separators=(",", ":")).encode())
open("a.img.kyok", "w").write(json.dumps(j, separators=(",", ":")))
PY
}
edit ''
ok "written anew by another program it is the same" cmp -s <(tr -d '\n' <true.kyok) a.img.kyok
edit 'p["kyok"]["owner"] = p["kyok"]["owner"].split(" ")[0] + " vm:any"'
try "bound to any VM by hand" "a.img.kyok: the envelope's content or protected header was altered"
edit 'p["kyok"]["generation"] = 7'
try "its generation raised by hand" "a.img.kyok: the envelope's content or protected header was altered"
edit 'j["ciphertext"] = flip(j["ciphertext"])'
try "a byte of the ciphertext" "a.img.kyok: the envelope's content or protected header was altered"
edit 'j["recipients"][0]["encrypted_key"] = flip(j["recipients"][0]["encrypted_key"])'
try "a byte of the wrapped key" "a.img.kyok: the recipients' wrapped keys are not those of the protected header"
head -c 300 true.kyok >a.img.kyok
try "cut short" 'a.img.kyok: not an envelope: not JSON'
head -c 300000 /dev/zero | tr '\0' ' ' >a.img.kyok
try "300 kB of it" 'a.img.kyok: a disk record has at most'
rm a.img.kyok; mkfifo a.img.kyok
refused "a FIFO in its place" any 'a.img.kyok: the disk record is no regular file' timeout 20 "$BUILD/kyok-qemu-secret" --disk d=a.img -- test -e @d@
rm a.img.kyok; cp true.kyok a.img.kyok

# --- what a record may not name ---
for what in module-path=/tmp/evil.so module-name=evil pin-source=file:/etc/shadow pin-value=1234; do
    edit "kid = 'pkcs11:token=bank;id=%01;object=root?$what'
j['recipients'][0]['header']['kid'] = kid; p['kyok']['recipients'][0]['kid'] = kid; rewrap()"
    try "a record that names ${what%%=*}" "attribute ${what%%=*} is refused in a reference that comes from data"
done
edit "kid = 'pkcs11:token=elsewhere;object=root'
j['recipients'][0]['header']['kid'] = kid; p['kyok']['recipients'][0]['kid'] = kid; rewrap()"
try "a record that names a token of no group" 'pkcs11:token=elsewhere;object=root: no .token. section of kyok.conf fits'

# --- a copy elsewhere ---
printf '%s\n' "$(groups rack)" >other.conf
refused "the disk and its record on a host without that group" any 'token=bank' open --config other.conf --vm $mine --disk d=a.img
softhsm_new thief; softhsm_token thief bank
p11tool thief --token-label bank --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
refused "on a host with a key of the same name" any 'token=bank' env SOFTHSM2_CONF="$SANDBOX/thief.conf" \
    "$BUILD/kyok-qemu-secret" --vm $mine --disk d=a.img -- test -e @d@
ok "granted to another group" "$KYOK" disk grant a.img rack --files-only
ok "it opens there" open --config other.conf --vm $mine --disk d=a.img
ok "revoked" "$KYOK" disk revoke a.img rack --files-only
refused "it no longer does" any 'token=bank' open --config other.conf --vm $mine --disk d=a.img
done_testing
