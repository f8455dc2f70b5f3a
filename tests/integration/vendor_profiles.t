#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# HSM products by what they lack (faulty_tool profiles): what works on each, and what is refused with its
# alternative.
. "$(dirname "$0")/../support/lib.sh"
need softhsm2-util pkcs11-tool "$MODULES/kyok.so"
must 'an HSM' hsm_new rsa ec ed
p11tool soft --token-label test --keypairgen --key-type rsa:2048 --label dec --id 0a --usage-decrypt >/dev/null 2>&1
for key in rsa ec; do reference $key >/dev/null; done
openssl pkey -in "$SANDBOX/rsa.key" -pubout -out "$SANDBOX/rsa.pub" 2>/dev/null
openssl pkey -in 'pkcs11:token=test;object=dec' -pubout -out "$SANDBOX/dec.pub" 2>/dev/null
echo 'twelve bytes' >"$SANDBOX/plain"
without_provider openssl pkeyutl -encrypt -pubin -inkey "$SANDBOX/dec.pub" -in "$SANDBOX/plain" -out "$SANDBOX/pkcs1"
without_provider openssl pkeyutl -encrypt -pubin -inkey "$SANDBOX/dec.pub" -pkeyopt rsa_padding_mode:oaep -in "$SANDBOX/plain" -out "$SANDBOX/oaep"
sign_with() {
    openssl dgst -sha256 "${@:2}" -sign "$SANDBOX/$1.key" -out "$SANDBOX/signature" "$SANDBOX/plain" &&
        without_provider openssl dgst -sha256 "${@:2}" -verify "$SANDBOX/$1.pub" -signature "$SANDBOX/signature" "$SANDBOX/plain"
}
openssl pkey -in "$SANDBOX/ec.key" -pubout -out "$SANDBOX/ec.pub" 2>/dev/null
decrypt() { openssl pkeyutl -decrypt -inkey 'pkcs11:token=test;object=dec' -in "$SANDBOX/$1" "${@:2}"; }
# What each product can do of: PKCS #1 decryption, OAEP decryption, generation of an EC key.
declare -A pkcs1=([hpcs]=yes [cloudhsm]=yes [google]=no [azure]=no)
declare -A oaep=([hpcs]=yes [cloudhsm]=yes [google]=yes [azure]=no)
declare -A generates=([hpcs]=yes [cloudhsm]=yes [google]=no [azure]=yes)
for profile in hpcs cloudhsm google azure; do
    faulty hsm profile $profile
    ok "$profile: RSA PKCS #1 signature" sign_with rsa
    ok "$profile: RSA PSS signature" sign_with rsa -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
    ok "$profile: ECDSA signature" sign_with ec
    refused "$profile: Ed25519 is refused, with the mechanism and the alternative" any 'no CKM_EDDSA.*use an EC key on P-256' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ed' 1 1
    if [ "${pkcs1[$profile]}" = yes ]; then
        is "$profile: PKCS #1 decryption" "$(decrypt pkcs1 2>&1)" 'twelve bytes'
    else
        refused "$profile: PKCS #1 decryption is refused, with the mechanisms and a way out" any \
            'neither CKM_RSA_X_509 nor CKM_RSA_PKCS to decrypt with: encrypt to an RSA key of another token' decrypt pkcs1
    fi
    if [ "${oaep[$profile]}" = yes ]; then
        is "$profile: OAEP decryption" "$(decrypt oaep -pkeyopt rsa_padding_mode:oaep 2>&1)" 'twelve bytes'
    else
        refused "$profile: OAEP decryption is refused, with the mechanisms and a way out" any \
            'neither CKM_RSA_PKCS_OAEP nor CKM_RSA_X_509 to decrypt with: encrypt to an RSA key of another token' decrypt oaep -pkeyopt rsa_padding_mode:oaep
    fi
    refused "$profile: an Edwards key is not generated: the mechanism and the alternative" any \
        'no CKM_EC_EDWARDS_KEY_PAIR_GEN.*' "$KYOK" key generate "pkcs11:token=test;object=ed-$profile" --type ed25519
    if [ "${generates[$profile]}" = yes ]; then
        ok "$profile: an EC key is generated" "$KYOK" key generate "pkcs11:token=test;object=new-$profile" --type ec-p256
    else
        refused "$profile: generation is refused, with a way out" any \
            "the token wants attributes of its vendor's own: make the key with the vendor's tool" "$KYOK" key generate "pkcs11:token=test;object=new-$profile" --type ec-p256
    fi
done
faulty hsm profile hpcs
sed -i '/^uri/a require = never-extractable' "$SANDBOX/kyok.conf"
refused 'hpcs: require = never-extractable: the token does not know the attribute, told apart from no' any \
    'does not know|not known|unknown' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
sed -i 's/^require.*/require = non-extractable/' "$SANDBOX/kyok.conf"
ok 'hpcs: non-extractable can be asked' "$SUPPORT/sign_tool" run 'pkcs11:token=test;object=ec' 1 1
done_testing
