#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keys: generated in the token, found by URI, written and read as PEM references, listed by storeutl.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util pkcs11-tool
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }

# --- generation
ok 'RSA is generated in the token' generate RSA rsa rsa_keygen_bits:2048
for curve in 256 384 521; do
    ok "P-$curve is generated in the token" generate EC "ec$curve" "group:P-$curve"
done
ok 'Ed25519 is generated in the token' generate ED25519 ed
ok 'Ed448 is generated in the token' generate ED448 ed448
ok 'RSA-PSS is an RSA key in the token' generate RSA-PSS pss rsa_pss_keygen_md:sha384 rsa_pss_keygen_saltlen:48
ok "pkcs11-provider's parameter names generate too" openssl genpkey -propquery provider=kyok -algorithm EC \
    -pkeyopt group:P-256 -pkeyopt 'pkcs11_uri:pkcs11:token=test;object=moved' \
    -pkeyopt 'pkcs11_key_usage:digitalSignature keyAgreement' -out moved.ref
objects=$(p11tool soft --token-label test -O --type privkey 2>/dev/null)
for label in rsa ec256 ec384 ec521 ed ed448 pss moved; do
    like "the token has the private key of $label" "$objects" "label: +$label\$"
done
like 'it is sensitive and never leaves' "$(grep -A6 'label: *rsa$' <<<"$objects")" 'never extractable'
unlike 'no secret is in the PEM file' "$(cat rsa.ref)" 'PRIVATE KEY'
refused 'a label that exists is not taken twice' any 'rsa' openssl genpkey -propquery provider=kyok \
    -algorithm RSA -pkeyopt 'kyok_uri:pkcs11:token=test;object=rsa' -out /dev/null
refused 'an unknown use is refused' any 'unknown key use' openssl genpkey -propquery provider=kyok \
    -algorithm EC -pkeyopt group:P-256 -pkeyopt 'kyok_uri:pkcs11:token=test;object=x' -pkeyopt kyok_use:fly
refused 'a curve that tokens lack is refused' any 'P-256, P-384 or P-521' openssl genpkey \
    -propquery provider=kyok -algorithm EC -pkeyopt group:secp256k1 -pkeyopt 'kyok_uri:pkcs11:token=test;object=x'
refused 'a mechanism that the token lacks is told' any 'X25519|CKR_MECHANISM' generate X25519 x

# --- PEM references
for label in rsa ec256 ed pss; do
    like "$label.ref is the two-member form" "$(head -1 $label.ref)" '^-----BEGIN PKCS#11 PROVIDER URI-----$'
    ok "$label.ref is read" openssl pkey -in $label.ref -noout
    ok "$label: public half" openssl pkey -in $label.ref -pubout -out $label.pub
    ok "$label: the default provider reads it" without_provider openssl pkey -pubin -in $label.pub -noout
    ok "$label: as DER" openssl pkey -in $label.ref -outform DER -out $label.der
    ok "$label: DER is read" openssl pkey -inform DER -in $label.der -pubout -out again.pub
    ok "$label: and is the same key" cmp $label.pub again.pub
done
like 'the text names the reference' "$(openssl pkey -in rsa.ref -noout -text)" 'Reference: pkcs11:token=test;'
like 'the text shows the public half' "$(openssl pkey -in rsa.ref -noout -text)" 'Modulus:'
like 'curves are written by name' "$(openssl pkey -pubin -in ec256.pub -noout -text)" 'ASN1 OID: prime256v1'
ok 'openssl rsa writes the PKCS#1 public key' openssl rsa -in rsa.ref -RSAPublicKey_out -out rsa.pkcs1
like 'PKCS#1 it is' "$(head -1 rsa.pkcs1)" 'BEGIN RSA PUBLIC KEY'
ok 'openssl ec reads it' openssl ec -in ec256.ref -pubout -out /dev/null
ok 'openssl pkey -check asks the custodian' openssl pkey -in rsa.ref -check -noout

cat ec256.ref rsa.ref >two.pem
ok 'the first of two references is taken' sh -c 'openssl pkey -in two.pem -pubout | cmp - ec256.pub'
ok 'a certificate before the reference is passed over' sh -c 'openssl req -x509 -key ec256.ref -subj /CN=x \
    -config req.cnf -out c.pem && cat c.pem ec256.ref >both.pem && openssl pkey -in both.pem -noout'

openssl_conf 'default kyok' 'with-public = yes'
ok 'with-public writes' openssl pkey -in ec256.ref -out three.ref
like 'the three-member form' "$(head -1 three.ref)" '^-----BEGIN KYOK KEY REFERENCE-----$'
openssl_conf
faulty hsm reset
ok 'which is read' openssl pkey -in three.ref -pubout -out three.pub
is 'without any call to the token' "$(faulty hsm count | grep -vc '^C_GetFunctionList')" 0
ok 'and gives the public half' cmp three.pub ec256.pub
openssl_conf 'default kyok' 'with-public = yes'
openssl pkey -in rsa.ref -out rsa3.ref
openssl_conf
perl -ne 'print unless /-----/' three.ref | base64 -d >three.der
perl -ne 'print unless /-----/' rsa3.ref | base64 -d >rsa3.der
# the reference of one key with the public half of another
perl -e 'local $/; open F,"<","three.der"; my $a=<F>; open G,"<","rsa3.der"; my $b=<G>;
    my $spki=$ARGV[0]; open P,"-|","openssl pkey -in rsa.ref -pubout -outform DER"; my $pub=<P>;
    my $body=substr($a, 4 * (ord(substr($a,1,1)) == 0x82) || (ord(substr($a,1,1)) == 0x81 ? 3 : 2));
    open Q,"-|","openssl pkey -in ec256.ref -pubout -outform DER"; my $own=<Q>;
    $body=substr($body,0,length($body)-length($own)).$pub;
    print "\x30\x82".pack("n",length $body).$body;' >mixed.der
{ echo '-----BEGIN KYOK KEY REFERENCE-----'; base64 mixed.der; echo '-----END KYOK KEY REFERENCE-----'; } >mixed.ref
echo data >data
refused 'a public half of another key is refused before a signature' any 'kyok' openssl dgst -sha256 -sign mixed.ref -out /dev/null data

openssl_conf 'default kyok' 'with-public = yes'
openssl genpkey -propquery provider=kyok -algorithm RSA-PSS -pkeyopt rsa_pss_keygen_md:sha384 \
    -pkeyopt rsa_pss_keygen_mgf1_md:sha384 -pkeyopt rsa_pss_keygen_saltlen:48 -pkeyopt 'kyok_uri:pkcs11:token=test;object=pss3' -out pss3.ref 2>/dev/null
openssl_conf
like 'the RSA-PSS restriction is kept in the three-member form' "$(openssl pkey -in pss3.ref -noout -text)" 'Hash Algorithm: SHA2-384'
ok 'it signs with its digest' openssl dgst -sha384 -sign pss3.ref -out sig data
refused 'and with no other' any 'RSA-PSS key is for SHA' openssl dgst -sha256 -sign pss3.ref -out sig data
refused 'and no other padding' any 'PSS only' openssl dgst -sha384 -sigopt rsa_padding_mode:pkcs1 -sign pss3.ref -out sig data

# --- the store
openssl req -x509 -key ec256.ref -subj '/O=kyok/CN=first' -set_serial 4711 -config req.cnf -outform DER -out first.der
openssl req -x509 -key rsa.ref -subj '/O=kyok/CN=second' -set_serial 4712 -config req.cnf -outform DER -out second.der
p11tool soft --token-label test --write-object first.der --type cert --label first --id aa >/dev/null 2>&1
p11tool soft --token-label test --write-object second.der --type cert --label second --id bb >/dev/null 2>&1
all=$(openssl storeutl -noout pkcs11:token=test)
like 'private keys are listed' "$all" ': Pkey$'
like 'public keys are listed' "$all" ': Public key$'
like 'certificates are listed' "$all" ': Certificate$'
count() { grep -c "$1" <<<"$2"; }
is 'storeutl -certs lists both certificates' "$(count Certificate "$(openssl storeutl -noout -certs pkcs11:token=test)")" 2
is 'storeutl -keys lists the private keys' "$(count Pkey "$(openssl storeutl -noout -keys pkcs11:token=test)")" \
    "$(count 'Private Key Object' "$(p11tool soft --token-label test -O --type privkey 2>/dev/null)")"
is 'by subject' "$(count Certificate "$(openssl storeutl -noout -certs -subject '/O=kyok/CN=second' pkcs11:token=test)")" 1
is 'by issuer and serial' "$(count Certificate "$(openssl storeutl -noout -certs -issuer '/O=kyok/CN=first' -serial 4711 pkcs11:token=test)")" 1
is 'not by a serial that none has' "$(count Certificate "$(openssl storeutl -noout -certs -issuer '/O=kyok/CN=first' -serial 4712 pkcs11:token=test 2>&1)")" 0
is 'by alias' "$(count Certificate "$(openssl storeutl -noout -certs -alias second pkcs11:token=test)")" 1
ok 'a certificate by its URI' sh -c "openssl x509 -in 'pkcs11:token=test;object=first;type=cert' -outform DER | cmp - first.der"
ok 'a private key by its URI' sh -c "openssl pkey -in 'pkcs11:token=test;object=rsa;type=private' -pubout | cmp - rsa.pub"
ok 'a public key by its URI' sh -c "openssl pkey -pubin -in 'pkcs11:token=test;object=rsa' -pubout | cmp - rsa.pub"
ok 'a public key with type=public' sh -c "openssl pkey -pubin -in 'pkcs11:token=test;object=ec256;type=public' -pubout | cmp - ec256.pub"
mv pin pin.away
ok 'certificates need no PIN' openssl x509 -in 'pkcs11:token=test;object=first' -noout
like 'and whoever looks around without one sees what is public' "$(openssl storeutl -noout pkcs11:token=test 2>&1)" 'Certificate'
mv pin.away pin
done_testing
