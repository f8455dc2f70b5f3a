#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Envelopes and other JWE implementations, both ways: the jose command (A256GCMKW, A256KW; jose 11 has no
# RSA-OAEP-256) and python3-jwcrypto (all three), with keys that the token and the peer both hold.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need pkcs11-tool openssl /usr/bin/python3
cd "$SANDBOX" || exit 1

softhsm_new hsm && softhsm_token hsm t
head -c 32 /dev/urandom >aes.key
p11tool hsm --token-label t --write-object aes.key --type secrkey --key-type AES:32 --label aes --id 01 \
    --usage-decrypt --usage-wrap >/dev/null 2>&1
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem 2>/dev/null
token_import hsm t rsa 02 rsa.pem
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
kyok_conf '[token hsm]' "module = $(softhsm_module)" 'uri = pkcs11:token=t' "pin-source = file:$(pin_file)" \
    '[key aes]' 'uri = pkcs11:token=t;object=aes' '[key rsa]' 'uri = pkcs11:token=t;object=rsa'
printf 'shared \0 secret\n' >secret
/usr/bin/python3 - <<'PY'
import base64, json
k = base64.urlsafe_b64encode(open("aes.key", "rb").read()).rstrip(b"=").decode()
json.dump({"kty": "oct", "k": k}, open("aes.jwk", "w"))
PY

for alg in A256GCMKW A256KW; do
    "$KYOK" seal --to aes --algorithm $alg --owner o secret -o k-$alg.jwe
done
"$KYOK" seal --to rsa secret -o k-RSA-OAEP-256.jwe
"$KYOK" seal --to 'any-of(rsa, aes)' secret -o k-any.jwe
"$KYOK" seal --to 'all-of(rsa, aes)' secret -o k-all.jwe

if command -v jose >/dev/null; then
    for alg in A256GCMKW A256KW; do
        is "jose opens kyok's $alg" "$(jose jwe dec -i k-$alg.jwe -k aes.jwk 2>&1 | cksum)" "$(cksum <secret)"
        jose jwe enc -i "{\"protected\":{\"alg\":\"$alg\",\"enc\":\"A256GCM\"}}" -I secret -k aes.jwk -o j-$alg.jwe
        is "kyok opens jose's $alg" "$("$KYOK" open j-$alg.jwe --foreign --key aes 2>&1 | cksum)" "$(cksum <secret)"
        refused "not without --foreign" 2 'not' "$KYOK" open j-$alg.jwe -o nothing
    done
else
    skip 'jose is not installed' 6
fi

cat >peer.py <<'PY'
import base64, json, sys
from jwcrypto import jwe, jwk
aes = jwk.JWK(**json.load(open("aes.jwk")))
rsa = jwk.JWK.from_pem(open("rsa.pem", "rb").read())
secret = open("secret", "rb").read()
verb, alg, path = sys.argv[1:4]
key = rsa if alg.startswith("RSA") else aes
if verb == "open":
    token = jwe.JWE(algs=["A256GCMKW", "A256KW", "RSA-OAEP-256", "A256GCM"])
    token.deserialize(open(path).read(), key)
    sys.stdout.buffer.write(token.payload)
elif verb == "open-all":  # the outer layer is RSA's, the inner one AES's
    token = jwe.JWE()
    token.deserialize(open(path).read(), rsa)
    inner = jwe.JWE()
    inner.deserialize(token.payload.decode(), aes)
    sys.stdout.buffer.write(inner.payload)
elif verb == "seal":
    token = jwe.JWE(secret, json.dumps({"enc": "A256GCM", "alg": alg}))
    token.add_recipient(key)
    open(path, "w").write(token.serialize())
elif verb == "seal-two":
    token = jwe.JWE(secret, json.dumps({"enc": "A256GCM"}))
    token.add_recipient(rsa, json.dumps({"alg": "RSA-OAEP-256", "kid": "pkcs11:token=t;object=rsa"}))
    token.add_recipient(aes, json.dumps({"alg": "A256KW", "kid": "pkcs11:token=t;object=aes"}))
    open(path, "w").write(token.serialize())
elif verb == "seal-claims":  # claims as kyok writes them, in no canonical form
    kid = "pkcs11:token=t;object=aes"
    claims = {"owner": "o", "use": "disk", "v": 1, "generation": 4, "recipients": [{"kid": kid, "alg": alg}]}
    token = jwe.JWE(secret, json.dumps({"kyok": claims, "enc": "A256GCM"}))
    token.add_recipient(aes, json.dumps({"alg": alg, "kid": kid}))
    open(path, "w").write(token.serialize())
PY
peer() { /usr/bin/python3 peer.py "$@"; }
if /usr/bin/python3 -c 'import jwcrypto' 2>/dev/null; then
    for alg in A256GCMKW A256KW RSA-OAEP-256; do
        key=aes && [ $alg != RSA-OAEP-256 ] || key=rsa
        is "jwcrypto opens kyok's $alg" "$(peer open $alg k-$alg.jwe 2>&1 | cksum)" "$(cksum <secret)"
        peer seal $alg p-$alg.jwe
        is "kyok opens jwcrypto's $alg" "$("$KYOK" open p-$alg.jwe --foreign --key $key 2>&1 | cksum)" "$(cksum <secret)"
        refused 'a changed byte of it' 1 'altered' bash -c \
            "sed 's/\"tag\": *\"[A-Za-z0-9_-]\{22\}\"}\$/\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\"}/' p-$alg.jwe >x.jwe; '$KYOK' open x.jwe --foreign --key $key -o nothing"
    done
    is 'jwcrypto opens any-of with the AES key' "$(peer open A256GCMKW k-any.jwe 2>&1 | cksum)" "$(cksum <secret)"
    is 'jwcrypto opens any-of with the RSA key' "$(peer open RSA-OAEP-256 k-any.jwe 2>&1 | cksum)" "$(cksum <secret)"
    is 'jwcrypto opens all-of layer by layer' "$(peer open-all x k-all.jwe 2>&1 | cksum)" "$(cksum <secret)"
    peer seal-two x p-two.jwe
    is 'kyok opens two recipients with references' "$("$KYOK" open p-two.jwe --foreign 2>&1 | cksum)" "$(cksum <secret)"
    peer seal-claims A256GCMKW p-claims.jwe
    is 'kyok reads claims of a foreign envelope' "$("$KYOK" open p-claims.jwe --foreign --use disk --owner o 2>&1 | cksum)" "$(cksum <secret)"
    refused 'and insists on them' 1 'owner' "$KYOK" open p-claims.jwe --foreign --owner other -o nothing
    refused 'expected claims that are not there' 1 'says nothing of its use' "$KYOK" open p-two.jwe --foreign --owner o -o nothing
else
    skip 'python3-jwcrypto is not installed' 16
fi
# RFC 3394, 4.6: 256 bits wrapped with 256 bits. The vector's key is the content key of a JWE.
python3 - <<'PY'
import struct
open("rfc3394.key", "wb").write(bytes(range(32)))
PY
p11tool hsm --token-label t --write-object rfc3394.key --type secrkey --key-type AES:32 --label rfc3394 --id 03 \
    --usage-decrypt --usage-wrap >/dev/null 2>&1
if /usr/bin/python3 -c 'import jwcrypto' 2>/dev/null; then
    /usr/bin/python3 - <<'PY'
import base64, json
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=").decode()
cek = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
wrapped = bytes.fromhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")
protected = b64(json.dumps({"alg": "A256KW", "enc": "A256GCM"}).encode())
iv = bytes(12)
sealed = AESGCM(cek).encrypt(iv, open("secret", "rb").read(), protected.encode())
json.dump({"protected": protected, "encrypted_key": b64(wrapped), "iv": b64(iv),
           "ciphertext": b64(sealed[:-16]), "tag": b64(sealed[-16:])}, open("rfc3394.jwe", "w"))
PY
    is 'RFC 3394 vector, unwrapped in the token' \
        "$("$KYOK" open rfc3394.jwe --foreign --key 'pkcs11:token=t;object=rfc3394' 2>&1 | cksum)" "$(cksum <secret)"
else
    skip 'python3-jwcrypto is not installed'
fi
done_testing
