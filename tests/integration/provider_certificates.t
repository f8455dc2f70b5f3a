#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# CSRs, certificates, a CA, CRLs, CMS, timestamps and S/MIME with keys in a token, all checked without kyok.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }
generate RSA rsa rsa_keygen_bits:2048 && generate_ec && generate ED25519 ed && generate RSA-PSS pss ||
    { fail 'keys'; done_testing; }
plain() { without_provider openssl "$@"; }

# --- requests and self-signed certificates
for label in rsa $EC_KEYS ed; do
    ok "request with $label" openssl req -new -key $label.ref -subj "/CN=$label" -config req.cnf -out $label.csr
    ok '... verifies' plain req -verify -noout -in $label.csr -config req.cnf
    ok "certificate with $label" certificate $label
    ok '... verifies' plain verify -CAfile $label.crt $label.crt
done
like 'the curve is named in the request' "$(plain req -in ec384.csr -noout -text -config req.cnf)" 'ASN1 OID: secp384r1'
ok 'by URI' openssl req -new -key 'pkcs11:token=test;object=ec256' -subj /CN=uri -config req.cnf -out uri.csr
ok '... verifies' plain req -verify -noout -in uri.csr -config req.cnf
for digest in sha256 sha384 sha512; do
    ok "PSS certificate, $digest" certificate rsa -$digest -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
    ok '... verifies' plain verify -CAfile rsa.crt rsa.crt
    like '... says how' "$(plain x509 -in rsa.crt -noout -text)" "Hash Algorithm: $digest"
done
ok 'PSS with SHA-1 has the default identifiers' certificate rsa -sha1 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20
ok '... verifies' plain verify -auth_level 0 -CAfile rsa.crt rsa.crt
certificate rsa
ok 'a request in the token with a new key' openssl req -new -newkey rsa:2048 -nodes -keyout plain.key -subj /CN=x -config req.cnf -out x.csr
like 'which makes a software key when no reference is named' "$(cat plain.key)" 'BEGIN PRIVATE KEY'

# --- a CA
mkdir ca && : >ca/index && echo 01 >ca/serial && echo 01 >ca/crlnumber
printf '%s\n' '[ca]' 'default_ca = it' '[it]' 'dir = ca' 'database = ca/index' 'serial = ca/serial' \
    'crlnumber = ca/crlnumber' 'new_certs_dir = ca' 'default_md = sha256' 'default_days = 2' 'default_crl_days = 2' 'policy = any' \
    '[any]' 'commonName = supplied' '[req]' 'distinguished_name = name' '[name]' \
    '[v3]' 'basicConstraints = critical, CA:true' >ca.cnf
for label in rsa ec256 ed; do
    openssl req -x509 -key $label.ref -subj "/CN=CA $label" -config ca.cnf -extensions v3 -out ca-$label.crt
    ok "openssl ca with $label" openssl ca -batch -config ca.cnf -keyfile $label.ref -cert ca-$label.crt \
        -subj "/CN=by $label" -in ec384.csr -out by.crt -notext
    ok '... verifies' plain verify -CAfile ca-$label.crt by.crt
    ok "x509 -req with $label" openssl x509 -req -in ec521.csr -CA ca-$label.crt -CAkey $label.ref -set_serial 7 -out by.crt
    ok '... verifies' plain verify -CAfile ca-$label.crt by.crt
    ok "a CRL with $label" openssl ca -gencrl -config ca.cnf -keyfile $label.ref -cert ca-$label.crt -out ca.crl
    ok '... verifies' plain crl -in ca.crl -CAfile ca-$label.crt -noout
done

# --- CMS and S/MIME
echo 'a message' >message
for label in rsa ec256 ec521; do
    ok "CMS signature with $label" openssl cms -sign -in message -signer $label.crt -inkey $label.ref -out m.cms
    ok '... verifies' plain cms -verify -in m.cms -CAfile $label.crt -purpose any -out got
    ok '... and has the text' same_text got message
    ok "... without attributes" openssl cms -sign -noattr -binary -nodetach -in message -signer $label.crt -inkey $label.ref -out m.cms
    ok '... verifies' plain cms -verify -in m.cms -CAfile $label.crt -purpose any -out got
    plain cms -encrypt -aes256 -in message -out m.enc $label.crt
    ok "CMS decryption with $label" openssl cms -decrypt -in m.enc -recip $label.crt -inkey $label.ref -out got
    ok '... has the text' same_text got message
done
ok 'CMS with PSS' openssl cms -sign -in message -signer rsa.crt -inkey rsa.ref -keyopt rsa_padding_mode:pss -out m.cms
ok '... verifies' plain cms -verify -in m.cms -CAfile rsa.crt -purpose any -out got
for digest in sha1 sha256; do
    plain cms -encrypt -aes256 -in message -out m.enc -recip rsa.crt -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:$digest
    ok "CMS with OAEP and $digest" openssl cms -decrypt -in m.enc -recip rsa.crt -inkey rsa.ref -out got
    ok '... has the text' same_text got message
done
ok 'S/MIME signature' openssl smime -sign -in message -signer rsa.crt -inkey rsa.ref -out m.smime
ok '... verifies' plain smime -verify -in m.smime -CAfile rsa.crt -purpose any -out got
plain smime -encrypt -aes256 -in message -out m.smime rsa.crt
ok 'S/MIME decryption' openssl smime -decrypt -in m.smime -recip rsa.crt -inkey rsa.ref -out got
ok '... has the text' same_text got message
ok 'a PKCS#12 of certificates alone' openssl pkcs12 -export -nokeys -in rsa.crt -passout pass:x -out certs.p12
refused 'the private key cannot be put into one' any '.' openssl pkcs12 -export -in rsa.crt -inkey rsa.ref -passout pass:x -out key.p12
done_testing
