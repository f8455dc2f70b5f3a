#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Envelopes with keys in tokens: policies, claims, damage, custodians away or hanging, the number of
# calls and logins, other recipients, and what rests on a key.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need python3

# Two custodians, each a SoftHSM library and directory of its own behind a faulty module.
softhsm_new alpha && softhsm_token alpha alpha
softhsm_new beta && softhsm_token beta beta
faulty_new one alpha && faulty_new two beta clone || skip_all "no faulty module"
pin=$(pin_file)
kyok_conf '[token alpha]' "module = $SANDBOX/one.so" 'uri = pkcs11:token=alpha' "pin-source = file:$pin" \
    'timeout = 3' '[token beta]' "module = $SANDBOX/two.so" 'uri = pkcs11:token=beta' \
    "pin-source = file:$pin" 'timeout = 3' '[key a]' 'uri = pkcs11:token=alpha;object=a' \
    '[key b]' 'uri = pkcs11:token=beta;object=b' '[key r]' 'uri = pkcs11:token=alpha;object=r' \
    '[key a2]' 'uri = pkcs11:token=alpha;object=a2'
cd "$SANDBOX" || exit 1

ok 'an AES key in the first token' "$KYOK" key generate a --type aes-256
ok 'another' "$KYOK" key generate a2 --type aes-256
ok 'an RSA key in the first token' "$KYOK" key generate r --type rsa-2048
ok 'an AES key in the second token' "$KYOK" key generate b --type aes-256
printf 'a secret \0 with a NUL' >secret

opens() { rm -f opened; "$KYOK" open "$@" -o opened && cmp secret opened; }
absent() { if [ -e "$2" ]; then fail "$1" "$2 exists"; else pass "$1"; fi; }

# --- policies ------------------------------------------------------------------------------------
for policy in a r b 'any-of(a, b)' 'all-of(a, b)' 'all-of(r, any-of(a2, b))'; do
    ok "seals to $policy" "$KYOK" seal --to "$policy" --use disk --owner vm1 --generation 3 secret -o s.jwe
    ok "opens with $policy" opens s.jwe
done
ok 'seals with A256KW' "$KYOK" seal --to a --algorithm A256KW secret -o kw.jwe
ok 'opens with A256KW' opens kw.jwe
is 'an opened file is its owner'"'"'s alone' "$(stat -c %a opened)" 600
is 'standard input and output' "$("$KYOK" seal --to a <secret | "$KYOK" open | cksum)" "$(cksum <secret)"
refused 'no secret on a terminal' 2 '' script -qec "'$KYOK' open kw.jwe" /dev/null
is 'unless it is told to' "$(script -qec "'$KYOK' open --reveal kw.jwe" /dev/null </dev/null | cksum)" "$(cksum <secret)"
refused 'no such key' any 'no|not' "$KYOK" seal --to 'pkcs11:token=alpha;object=zzz' secret -o none.jwe
absent 'then nothing is written' none.jwe

# --- claims --------------------------------------------------------------------------------------
"$KYOK" seal --to a --use disk --owner vm1 --generation 3 secret -o s.jwe
ok 'expected claims' opens s.jwe --use disk --owner vm1 --generation 3
rm -f opened
faulty one reset
refused 'another use' 1 'use is "disk", not "boot"' "$KYOK" open s.jwe --use boot -o opened
refused 'another owner' 1 'owner is "vm1", not "vm2"' "$KYOK" open s.jwe --owner vm2 -o opened
refused 'an older generation' 1 'generation is 3, older' "$KYOK" open s.jwe --generation 4 -o opened
refused 'a newer generation' 1 'generation is 3, newer' "$KYOK" open s.jwe --generation 2 -o opened
refused 'generation 0, which would stand for any' 2 '0 cannot be insisted on' "$KYOK" open s.jwe --generation 0 -o opened
is 'the token was never asked' "$(faulty one count C_Decrypt)" 0
absent 'nothing was written' opened
like 'inspect tells the claims' "$("$KYOK" --json inspect s.jwe | tr -d ' \n')" \
    '"use":"disk","owner":"vm1","generation":3'

# --- damage --------------------------------------------------------------------------------------
"$KYOK" seal --to 'any-of(a, b)' --owner o secret -o any.jwe
damage() { # HOW: edits any.jwe as a Python statement on the object j, written canonically
    python3 - "$1" <<'PY'
import json, sys
j = json.load(open("any.jwe"))
exec(sys.argv[1])
open("bad.jwe", "w").write(json.dumps(j, separators=(",", ":")))
PY
}
while IFS='|' read -r how check; do
    damage "$how"
    refused "refused: $how" any "$check" "$KYOK" open bad.jwe -o opened
done <<'CASES'
j["recipients"].pop()|has 1 recipients, its protected header names 2
j["recipients"].append(j["recipients"][0])|has 3 recipients
j["recipients"].reverse()|recipient 1 is not the one
j["recipients"][1]["header"]["kid"]="pkcs11:token=alpha;object=a2"|recipient 2 is not the one
j["recipients"][1]["encrypted_key"]=j["recipients"][0]["encrypted_key"]|wrapped keys are not those
j["ciphertext"]=j["ciphertext"][:-4]+"AAAA"|content or protected header was altered
j["tag"]=j["iv"]+"AAAAAA"|canonical|altered
j["x"]=1|canonical
CASES
absent 'nothing was written' opened
printf ' %s' "$(cat any.jwe)" >bad.jwe
refused 'white space' 2 'canonical|not an envelope' "$KYOK" open bad.jwe -o opened
bad_bytes=0
size=$(stat -c %s any.jwe)
for ((at = 3; at < size; at += 61)); do
    python3 -c '
import sys
b = bytearray(open("any.jwe", "rb").read()); b[int(sys.argv[1])] ^= 1; open("bad.jwe", "wb").write(b)' $at
    if "$KYOK" open bad.jwe -o opened 2>/dev/null || [ -e opened ]; then
        bad_bytes=$((bad_bytes + 1)); diag "byte $at"
    fi
done
is 'no changed byte opens' $bad_bytes 0
python3 - <<'PY'
import base64, hashlib, json
def b64(b): return base64.urlsafe_b64encode(b).rstrip(b"=").decode()
dump = lambda x: json.dumps(x, separators=(",", ":"))
for name, kid in (("module", "pkcs11:token=alpha;object=a?module-path=/tmp/evil.so"),
                  ("pin", "pkcs11:token=alpha;object=a?pin-source=file:/etc/shadow"),
                  ("serial", "pkcs11:token=alpha;serial=1;object=a")):
    j = json.load(open("s.jwe"))
    j["recipients"][0]["header"]["kid"] = kid
    p = j["protected"]
    h = json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)))
    h["kyok"]["recipients"][0]["kid"] = kid
    h["kyok"]["wrapped"] = b64(hashlib.sha256(dump(j["recipients"]).encode()).digest())
    j["protected"] = b64(dump(h).encode())
    open(name + ".jwe", "w").write(dump(j))
PY
refused 'a kid that names a module' any 'module' "$KYOK" open module.jwe -o opened
refused 'a kid that names a PIN source' any 'pin' "$KYOK" open pin.jwe -o opened
refused 'a kid that names a serial' 1 'nothing but token, object and id' "$KYOK" open serial.jwe -o opened

# --- custodians away, hanging ----------------------------------------------------------------------
"$KYOK" seal --to 'all-of(a, b)' secret -o all.jwe
"$KYOK" seal --to 'any-of(a, b)' secret -o any.jwe
"$KYOK" seal --to a secret -o alone.jwe
"$KYOK" seal --to a --stream secret -o alone.kyok
rm -f opened
for member in one two; do
    faulty $member remove
    refused "all-of with $member away" 3 '' "$KYOK" open all.jwe -o opened
    absent 'nothing is revealed' opened
    ok "any-of with $member away" opens any.jwe
    faulty $member return
    rm -f opened
    faulty $member fail C_DecryptInit CKR_KEY_FUNCTION_NOT_PERMITTED
    refused "all-of with $member refusing" 1 '' "$KYOK" open all.jwe -o opened
    absent 'nothing is revealed' opened
    ok "any-of with $member refusing" opens any.jwe
    faulty $member clear
    faulty $member hang C_Decrypt
    begun=$(now_ms)
    ok "any-of with $member hanging" opens any.jwe
    at_most 'the healthy one does not wait for the hanging one' $(($(now_ms) - begun)) 1500
    rm -f opened
    refused "all-of with $member hanging" 3 'did not answer in time' "$KYOK" open all.jwe --timeout 1500 -o opened
    absent 'nothing is revealed' opened
    faulty $member release
    faulty $member clear
    rm -f opened
done
faulty one hang C_Decrypt
refused 'a single recipient hanging: the caller does not wait' 3 'object=a.*did not answer in time' \
    "$KYOK" open alone.jwe --timeout 500 -o opened
absent 'nothing is revealed' opened
refused 'nor for a stream' 3 'did not answer in time' "$KYOK" open alone.kyok --timeout 500 -o opened
absent 'nothing is revealed' opened
faulty one release
faulty one clear
for ms in 0 4294967296 86400001 -1 1s ''; do
    refused "--timeout '$ms'" 2 'timeout' "$KYOK" open alone.jwe --timeout "$ms" -o opened
done
ok 'both back' opens all.jwe
for key in a b; do
    "$KYOK" key state $key suspended >/dev/null
    rm -f opened
    refused "all-of with $key revoked" 1 'suspended' "$KYOK" open all.jwe -o opened
    absent 'nothing is revealed' opened
    is 'nor on a pipe' "$("$KYOK" open all.jwe 2>/dev/null | wc -c)" 0
    ok "any-of with $key revoked" opens any.jwe
    refused "nothing is sealed to it" 1 'no version of this key is active' "$KYOK" seal --to "all-of(a, b)" secret -o none.jwe
    absent 'nothing is written' none.jwe
    "$KYOK" key state $key active >/dev/null
done
rm -f opened
ok 'both consent again' opens all.jwe
softhsm alpha pkcs11-tool --module "$(softhsm_module)" --token-label alpha --login --pin "$PIN" --keygen --key-type AES:16 \
    --label short --id 0c >/dev/null 2>&1
refused 'an AES key of 128 bits' any '256 bits, this one has 128' "$KYOK" seal --to 'pkcs11:token=alpha;object=short' secret -o none.jwe
absent 'nothing is written' none.jwe

# --- calls and logins ------------------------------------------------------------------------------
"$KYOK" seal --to a secret -o gcm.jwe
"$KYOK" seal --to r secret -o rsa.jwe
faulty one reset
ok 'opens' opens gcm.jwe
is 'A256GCMKW: one C_DecryptInit, one C_Decrypt' "$(faulty one count C_DecryptInit) $(faulty one count C_Decrypt)" '1 1'
faulty one reset
ok 'opens' opens rsa.jwe
is 'RSA-OAEP-256: one C_DecryptInit, one C_Decrypt' "$(faulty one count C_DecryptInit) $(faulty one count C_Decrypt)" '1 1'
mkdir -p many/below
for i in $(seq 20); do "$KYOK" seal --to a --owner "o$i" secret -o "many/below/$i.jwe"; done
echo 'no envelope' >many/README
head -c 300000 /dev/urandom >bulk
"$KYOK" seal --to a bulk -o many/bulk.kyok

# --- other recipients ------------------------------------------------------------------------------
like 'a dry run' "$("$KYOK" rewrap many --to 'all-of(a, b)' --dry-run | tail -1)" '^21 would be rewrapped, 0 unchanged, 0 failed'
like 'changed nothing' "$("$KYOK" inspect many/below/1.jwe)" 'opened by'
unlike 'still one layer' "$("$KYOK" inspect many/below/1.jwe)" 'and by'
faulty one reset
faulty two reset
is 'rewraps a folder' "$("$KYOK" rewrap many --to 'all-of(a, b)')" '21 rewrapped, 0 unchanged, 0 failed'
is 'with one login each' "$(faulty one count C_Login) $(faulty two count C_Login)" '1 1'
is 'again: nothing to do' "$("$KYOK" rewrap many --to 'all-of(a, b)')" '0 rewrapped, 21 unchanged, 0 failed'
ok 'they open' opens many/below/7.jwe --owner o7
ok 'the stream too' bash -c "'$KYOK' open many/bulk.kyok | cmp - bulk"
rm -f opened
faulty two remove
refused 'now the second custodian is needed' 3 '' "$KYOK" open many/bulk.kyok -o opened
absent 'nothing appears' opened
faulty two return
"$KYOK" seal --to a secret -o g.jwe
ok 'grants' "$KYOK" rewrap g.jwe --add b
faulty one remove
ok 'the granted key opens alone' opens g.jwe
faulty one return
kid=$("$KYOK" --json inspect g.jwe | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["layers"][0][0]["kid"])')
ok 'revokes' "$KYOK" rewrap g.jwe --remove "$kid"
faulty two remove
refused 'the revoked key opens no more' 3 'beta' "$KYOK" open g.jwe -o /dev/null
faulty two return
ok 'the other does' opens g.jwe
refused 'the last one cannot be removed' any 'without a recipient' "$KYOK" rewrap g.jwe \
    --remove "$("$KYOK" --json inspect g.jwe | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["layers"][0][0]["kid"])')"
cp any.jwe broken.jwe && printf 'x' >>broken.jwe
mkdir mixed && cp any.jwe mixed/1.jwe && cp broken.jwe mixed/2.jwe
refused 'some of many' 4 '1 of 2 envelopes were not rewrapped' "$KYOK" rewrap mixed --to a
head -c 600 many/bulk.kyok >mixed/cut.kyok
rm mixed/2.jwe
refused 'a cut stream in a folder is not passed over' 4 '1 of 2 envelopes were not rewrapped' "$KYOK" rewrap mixed --to b
mkdir behind && "$KYOK" seal --to 'any-of(a, b)' secret -o behind/l.jwe && ln -s behind/l.jwe link.jwe
ok 'rewraps what a link names' "$KYOK" rewrap link.jwe --remove "$kid"
ok 'the link stays' test -L link.jwe
unlike 'and the file behind it lost the recipient' "$(cat behind/l.jwe)" "$kid"
many=()
for i in $(seq 65); do many+=(--remove "pkcs11:token=alpha;object=none$i"); done
refused 'more removals than it takes' 2 'at most 64' "$KYOK" rewrap g.jwe "${many[@]}"

# --- what rests on a key -----------------------------------------------------------------------------
"$KYOK" key reference r -o r.pem >/dev/null
mkdir site && cp all.jwe gcm.jwe many/bulk.kyok r.pem site/
printf 'server {\n  ssl_certificate_key %s/site/r.pem;\n}\n' "$SANDBOX" >site/nginx.conf
printf '[kyok]\nkey = pkcs11:token=alpha;object=a\n' >site/openssl.cnf
printf '<metadata><k:record>%s</k:record></metadata>' "$(sed 's/"/\&quot;/g' all.jwe)" >site/domain.xml
uses() { "$KYOK" --json uses "$1" site | python3 -c '
import json, os, sys
print(" ".join(sorted(os.path.basename(u["file"]) + ":" + u["kind"] for u in json.load(sys.stdin)["uses"])))'; }
is 'uses of the first key' "$(uses a)" 'all.jwe:envelope bulk.kyok:stream domain.xml:record gcm.jwe:envelope openssl.cnf:configuration'
is 'uses of a key of an inner layer' "$(uses b)" 'all.jwe:envelope bulk.kyok:stream domain.xml:record'
is 'uses of a signing key' "$(uses r)" 'nginx.conf:configuration r.pem:pem-reference'
mkdir site/sites-enabled && ln -s "$SANDBOX/site/r.pem" link.pem
echo 'ssl_certificate_key r.pem;' >site/sites-enabled/relative.conf
echo "bind :443 ssl crt $SANDBOX/link.pem" >site/haproxy.cfg
echo 'the name of another file: other-r.pem r.pem.old' >site/notes
is 'named relatively, and through a link' "$(uses r)" \
    'haproxy.cfg:configuration nginx.conf:configuration r.pem:pem-reference relative.conf:configuration'
rm -r site/sites-enabled site/haproxy.cfg site/notes
python3 - <<'PY'
import json
j = open("all.jwe").read()
for old, new in (("&", "&amp;"), ("<", "&lt;"), ('"', "&#34;")):
    j = j.replace(old, new)
open("site/domain.xml", "a").write("\n<domain><metadata><k:disk>" + j + "</k:disk></metadata></domain>")
PY
is 'a record in other entities' "$("$KYOK" --json uses b site | grep -o domain.xml | wc -l)" 2
yes 'a line of a long text' | head -c 5000000 >site/long.txt
refused 'a text too long to be read whole is not passed over' 4 'long.txt: this file cannot be read' "$KYOK" uses a2 site
rm site/long.txt
is 'a key that nothing uses' "$(uses a2)" ''
head -c 600 many/bulk.kyok >site/cut.kyok
refused 'a file that may use it and cannot be read' 4 'cut.kyok: this file cannot be read' "$KYOK" uses a2 site
refused 'then the key is not destroyed' 4 'cut.kyok: this file cannot be read' "$KYOK" key destroy a2 --confirm a2 --in site
ok 'it is still there' "$KYOK" key show a2
done_testing
