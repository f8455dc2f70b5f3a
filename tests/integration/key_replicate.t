#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The same key in another token of its group: wrapped from token to token where the key may leave, a clear
# refusal where not.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need pkcs11-tool python3
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm one
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
conf() {
    kyok_conf '[token hsm]' "module = $(softhsm_module)" "$@" "pin-source = file:$(pin_file)" \
        '[key made]' 'uri = pkcs11:object=made?kyok-group=hsm' '[key free]' 'uri = pkcs11:object=free?kyok-group=hsm'
}
conf 'uri = pkcs11:token=one'
ok 'a key that kyok makes' "$KYOK" key generate made --type aes-256
p11tool hsm --token-label one --keygen --key-type AES:32 --label free --id 0f --sensitive --extractable --usage-decrypt --usage-wrap >/dev/null 2>&1
echo 'a secret' >secret
ok 'seals' "$KYOK" seal --to free secret -o s.jwe
softhsm_token hsm two
conf 'uri = pkcs11:token=one' 'uri = pkcs11:token=two'

refused 'a key that never leaves is refused' 1 'never to leave its token' "$KYOK" key replicate made --to two --allow-oaep-sha1
refused 'not into a token outside the group' 1 'needs token "three"' "$KYOK" key replicate free --to three
refused 'OAEP with SHA-1 must be allowed' 1 'allow-oaep-sha1' "$KYOK" key replicate free --to two
ok 'replicates' "$KYOK" key replicate free --to two --allow-oaep-sha1
ok 'again: nothing to do' "$KYOK" key replicate free --to two --allow-oaep-sha1
like 'it is there, and cannot leave from there' "$(p11tool hsm --token-label two -O --type secrkey 2>&1 | tr '\n' ' ')" 'label: *free.*Access: *sensitive *(uri:|$)'
unlike 'no transport key stays' "$(p11tool hsm --token-label two -O 2>&1)" 'RSA'
# --- pairs -----------------------------------------------------------------------------------------
r() { echo "pkcs11:object=$1?kyok-group=hsm"; }
p11tool hsm --token-label one --keypairgen --key-type rsa:2048 --label rsa --id 0a --sensitive --extractable --usage-sign --usage-decrypt >/dev/null 2>&1
p11tool hsm --token-label one --keypairgen --key-type EC:prime256v1 --label ec --id 0b --sensitive --extractable --usage-sign >/dev/null 2>&1
p11tool hsm --token-label one --keypairgen --key-type EC:edwards25519 --label ed --id 0c --sensitive --extractable --usage-sign >/dev/null 2>&1
ok 'an RSA key that kyok makes' "$KYOK" key generate 'pkcs11:token=one;object=own' --type rsa-2048
for key in rsa ec; do
    ok "replicates, $key" "$KYOK" key replicate "$(r $key)" --to two --allow-oaep-sha1
    is "both halves are there, $key" "$(p11tool hsm --token-label two -O 2>/dev/null | grep -c "label: *$key\$")" 2
    like "it cannot leave from there, $key" "$("$KYOK" key list | grep "token=two.*object=$key;type=private" || "$KYOK" --json key list)" 'imported|never-extractable'
    ok "both members sign the same, $key" "$KYOK" key show "$(r $key)"
done
refused 'one that never leaves is refused, with the way out' 1 'never to leave its token' "$KYOK" key replicate "$(r own)" --to two --allow-oaep-sha1
like 'which is the vendor'"'"'s tool' "$("$KYOK" key replicate "$(r own)" --to two --allow-oaep-sha1 2>&1)" 'clone the token'
refused 'a type that no token unwraps is refused, with the way out' 1 'into token "two" by CKM_AES_KEY_WRAP_PAD: AES, RSA and EC keys' "$KYOK" key replicate "$(r ed)" --to two --allow-oaep-sha1
unlike 'nothing of them is left there' "$(p11tool hsm --token-label two -O 2>&1)" 'label: *(own|ed)$'

# A destruction that was killed after the first token, and a key that the other token has not got yet.
r2=$(r part)
usage() { p11tool hsm --token-label "$1" -O --type secrkey 2>/dev/null | grep -A2 "label: *$2\$" | grep Usage; }
p11tool hsm --token-label one --keygen --key-type AES:32 --label part --id 0e --sensitive --extractable --usage-decrypt --usage-wrap >/dev/null 2>&1
ok 'suspends a key that one of the tokens lacks' "$KYOK" key state "$r2" suspended
ok 'replicates it' "$KYOK" key replicate "$r2" --to two --allow-oaep-sha1
like 'suspended as it is' "$(usage two part)" 'none'
ok 'activates it again' "$KYOK" key state "$r2" active
is 'in both' "$({ usage one part; usage two part; } | grep -c 'encrypt, decrypt.*wrap, unwrap')" 2
p11tool hsm --token-label one --login --delete-object --type secrkey --label part >/dev/null 2>&1
mkdir -p empty
ok 'destroys what the first token has lost already' "$KYOK" key destroy "$r2" --in empty --confirm part
unlike 'in the second, too' "$(p11tool hsm --token-label two -O --type secrkey 2>&1)" 'label: *part$'

# --- a new version in both ---------------------------------------------------------------------------
count() { p11tool hsm --token-label "$1" -O 2>/dev/null | grep -c "label: *$2\$"; }
versions() { "$KYOK" --json key state "$(r "$1")" | python3 -c '
import json, sys
print(" ".join(v["label"] + ":" + v["state"] for v in json.load(sys.stdin)["versions"]))'; }
refused 'rotate: a key that never leaves is refused, before anything is made' 1 'never to leave its token' "$KYOK" key rotate "$(r made)"
like 'with the way out' "$("$KYOK" key rotate "$(r made)" 2>&1)" 'clone it with the vendor'
is 'nothing was made' "$(count one made.v2) $(count two made.v2) $(versions made)" '0 0 made:active'
ok 'in one token, which is named, it is rotated' "$KYOK" key rotate 'pkcs11:token=one;object=made'
is 'there alone' "$(count one made.v2) $(count two made.v2) $(versions made)" '1 0 made:deactivated made.v2:active'
refused 'rotate: a type that no token unwraps' 1 'does not pass by CKM_AES_KEY_WRAP_PAD' "$KYOK" key rotate "$(r ed)"
refused 'rotate: SHA-1 must be allowed' 1 'allow-oaep-sha1' "$KYOK" key rotate "$(r free)"
is 'then neither token has a new version' "$(count one free.v2) $(count two free.v2) $(versions free)" '0 0 free:active'
for key in free rsa; do
    ok "rotates in both tokens, $key" "$KYOK" key rotate "$(r $key)" --allow-oaep-sha1
    halves=2
    [ $key != free ] || halves=1
    is "each has the new version, $key" "$(count one $key.v2) $(count two $key.v2)" "$halves $halves"
    ok "the same, $key" "$KYOK" key show "$(r $key.v2)"
done
is 'the old one is deactivated' "$(versions free)" 'free:deactivated free.v2:active'
like 'it cannot leave either token' "$(for token in one two; do p11tool hsm --token-label $token -O --type secrkey 2>&1; done | tr '\n' ' ')" '(label: *free.v2.*Access: *sensitive .*){2}'
unlike 'no key of the moment stays' "$(p11tool hsm --token-label one -O --type secrkey 2>&1; p11tool hsm --token-label two -O --type secrkey 2>&1)" 'extract[^a-z]*$|label: *$'
echo 'a newer secret' >newer
ok 'seals to the new version' "$KYOK" seal --to free newer -o v2.jwe
ok 'what was sealed before opens' bash -c "'$KYOK' open s.jwe | cmp - secret"

conf 'uri = pkcs11:token=two'
refused 'the envelope names the first token, which this group lacks' any '' "$KYOK" open s.jwe
conf 'uri = pkcs11:token=one' 'uri = pkcs11:token=two' 'require = non-extractable'
ok 'where keys must be non-extractable, it rotates too' "$KYOK" key rotate "$(r free)" --allow-oaep-sha1
is 'to a third version' "$(versions free)" 'free:deactivated free.v2:deactivated free.v3:active'
conf 'uri = pkcs11:token=one' 'uri = pkcs11:token=two' 'require = never-extractable'
refused 'where keys must never have been extractable, it is refused' any 'never' "$KYOK" key rotate "$(r free)" --allow-oaep-sha1
conf 'uri = pkcs11:token=one' 'uri = pkcs11:token=two'
mv hsm all && mkdir -m 700 hsm
for folder in all/*; do grep -q two "$folder/token.object" && cp -a "$folder" hsm/; done
ok 'with the first token gone, the second opens it' bash -c "'$KYOK' open s.jwe | cmp - secret"
ok 'and what was sealed to the newer version' bash -c "'$KYOK' open v2.jwe | cmp - newer"
refused 'a rotation with a token gone is refused' 3 'bring the others back' "$KYOK" key rotate "$(r free)" --allow-oaep-sha1

# --- tokens that differ, and a slow one ----------------------------------------------------------------
softhsm_new first && softhsm_token first one && softhsm_new second && softhsm_token second two
faulty_new wise first && faulty_new plain second clone
kyok_conf '[token hsm]' 'uri = pkcs11:token=one?module-path='"$SANDBOX/wise.so" 'uri = pkcs11:token=two?module-path='"$SANDBOX/plain.so" \
    "pin-source = file:$(pin_file)" 'timeout = 3'
p11tool first --token-label one --keygen --key-type AES:32 --label free --id 0f --sensitive --extractable --usage-decrypt --usage-wrap >/dev/null 2>&1
faulty wise lie oaep-hash
ok 'replicates' "$KYOK" key replicate "$(r free)" --to two --allow-oaep-sha1
of() { p11tool "$1" --token-label "$2" -O --type secrkey 2>/dev/null | grep -c "label: *$3\$"; }
refused 'the first token takes RSA-OAEP with SHA-256, the second does not' 1 'allow-oaep-sha1' "$KYOK" key rotate "$(r free)"
is 'what the first had got is taken back' "$(of first one free.v2) $(of second two free.v2)" '0 0'
ok 'with SHA-1 both take it' "$KYOK" key rotate "$(r free)" --allow-oaep-sha1
is 'each has one, and it is the same' "$(of first one free.v2) $(of second two free.v2) $("$KYOK" key show "$(r free.v2)" >/dev/null && echo same)" '1 1 same'
p11tool first --token-label one --keypairgen --key-type EC:prime256v1 --label ec --id 0b --sensitive --extractable --usage-sign >/dev/null 2>&1
faulty plain lie oaep-hash
refused 'a new key needs one token' any 'tokens of group hsm fit' "$KYOK" key generate "$(r new)" --type aes-256
like 'or the word that it may be wrapped' "$("$KYOK" key generate "$(r new)" --type aes-256 2>&1)" 'clone the key with the vendor.*where non-extractable is enough: kyok key generate --replicate'
refused 'not in one token' any 'leave out --replicate' "$KYOK" key generate 'pkcs11:token=one;object=new' --type aes-256 --replicate
refused 'not of a type that does not pass' 1 'CKM_AES_KEY_WRAP_PAD' "$KYOK" key generate "$(r new)" --type ed25519 --replicate
refused 'not with a life to come' 2 'kyok key state' "$KYOK" key generate "$(r new)" --type aes-256 --replicate --pre-active
faulty plain fail C_UnwrapKey CKR_DEVICE_ERROR
refused 'not where one token fails' any 'CKR_DEVICE_ERROR' "$KYOK" key generate "$(r new)" --type aes-256 --replicate
faulty plain clear && faulty plain lie oaep-hash
is 'then none has it, nor a record' "$(of first one new) $(of second two new) $(p11tool first --token-label one -O --type data 2>/dev/null | grep -c "'new'")" '0 0 0'
ok 'then each gets it' "$KYOK" key generate "$(r new)" --type aes-256 --replicate
is 'active, in both' "$(of first one new) $(of second two new) $(versions new)" '1 1 new:active'
like 'it cannot leave, and is no key that never could' "$(p11tool first --token-label one -O --type secrkey 2>/dev/null | grep -A4 'label: *new$' | grep -m1 Access)" 'Access: *sensitive *$'
refused 'a second one of the name is refused' 1 'already' "$KYOK" key generate "$(r new)" --type aes-256 --replicate
faulty plain delay C_GenerateKeyPair 3200ms
ok 'a token that makes its pair beyond the deadline costs the other none' "$KYOK" key replicate "$(r ec)" --to two --allow-oaep-sha1
done_testing
