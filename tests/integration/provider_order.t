#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Activation: both orders, alone, other names, programs that never use a key; and all of them leave
# cleanly under valgrind.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }
generate RSA rsa rsa_keygen_bits:2048 && generate ED25519 ed && generate EC ec256 group:P-256 ||
    { fail 'keys'; done_testing; }
echo data >data

# --- both orders: software keys stay software keys, the token's stay the token's
for order in 'default kyok' 'kyok default'; do
    openssl_conf "$order"
    like "$order: both are active" "$(openssl list -providers)" 'kyok: keys in an HSM'
    for algorithm in 'RSA rsa_keygen_bits:2048' 'EC group:P-256' 'ED25519' 'X25519' 'RSA-PSS' 'ED448' 'X448'; do
        set -- $algorithm
        ok "$order: $1 is generated without the token" openssl genpkey -algorithm "$1" ${2:+-pkeyopt "$2"} -out soft.key
        like '... as a software key' "$(head -1 soft.key)" 'BEGIN PRIVATE KEY'
        ok '... which everyone reads' without_provider openssl pkey -in soft.key -noout
        ok '... and this order too' openssl pkey -in soft.key -noout -text
    done
    ok "$order: an encrypted software key" openssl genpkey -algorithm EC -pkeyopt group:P-256 -aes256 -pass pass:kyok -out soft.key
    ok '... is read' openssl pkey -in soft.key -passin pass:kyok -out clear.key
    refused '... not with a wrong passphrase' any 'Could not read|error' openssl pkey -in soft.key -passin pass:wrong -noout
    ok '... it signs' openssl dgst -sha256 -sign clear.key -out sig data
    ok '... it verifies' openssl dgst -sha256 -prverify clear.key -signature sig data
    ok "$order: parameters" sh -c 'openssl ecparam -name P-384 -genkey -noout | openssl pkey -noout'
    ok "$order: the token's RSA key signs" openssl dgst -sha256 -sign rsa.ref -out sig data
    ok "$order: the token's Ed25519 key signs (SoftHSM comes back to this libcrypto)" openssl pkeyutl -sign -rawin -inkey ed.ref -in data -out sig
    ok "$order: generation in the token" generate EC "new-${order%% *}" group:P-256
done
openssl_conf 'default kyok'
faulty hsm reset
ok 'software keys' sh -c 'openssl genpkey -algorithm RSA -out s.key && openssl dgst -sha256 -sign s.key -out sig data'
ok 'lists' sh -c 'for what in -providers -key-managers -signature-algorithms -store-loaders -decoders -encoders -asymcipher-algorithms; do
    openssl list $what || exit 1; done'
is 'neither touches the module' "$(faulty hsm count | grep -c .)" 0

# --- alone
openssl_conf kyok
for command in 'dgst -sha256 data' 'pkey -in rsa.ref -noout' 'pkey -in pkcs11:token=test;object=rsa -noout' \
    'genpkey -algorithm EC -pkeyopt group:P-256' 'rand -hex 4' 'req -x509 -key rsa.ref -subj /CN=x -config req.cnf'; do
    # shellcheck disable=SC2086
    refused "alone: openssl ${command%% *} names what is missing" any 'provider "kyok" is active but "default" is not' \
        timeout 20 openssl $command
    # shellcheck disable=SC2086
    is '... once' "$(timeout 20 openssl $command 2>&1 | grep -c '"default" is not')" 1
done
ok 'alone: openssl list works' openssl list -providers -verbose

# --- another name
sed 's/^kyok = /pkcs11 = /' openssl.cnf >named.cnf
openssl_conf
sed 's/^kyok = /pkcs11 = /' openssl.cnf >named.cnf
like 'the property is the name of activation' "$(OPENSSL_CONF=named.cnf openssl list -key-managers)" '@ pkcs11$'
ok '?provider=pkcs11 finds it' sh -c 'OPENSSL_CONF=named.cnf openssl genpkey -propquery "?provider=pkcs11" -algorithm EC \
    -pkeyopt group:P-256 -pkeyopt "pkcs11_uri:pkcs11:token=test;object=named" -out named.ref'
like 'in the token' "$(head -1 named.ref)" 'PKCS#11 PROVIDER URI'
refused 'provider=kyok does not' any 'fetch|unsupported|nitializ' env OPENSSL_CONF=named.cnf openssl genpkey -propquery provider=kyok -algorithm EC
printf '%s\n' '[algorithms]' 'default_properties = ?provider=pkcs11' >>named.cnf
sed -i 's/^providers = providers/providers = providers\nalg_section = algorithms/' named.cnf
for command in 'dgst -sha256 -sign rsa.ref -out sig data' 'genpkey -algorithm RSA -out s.key' 'dgst -sha256 -sign s.key -out sig data' \
    'pkeyutl -sign -rawin -inkey ed.ref -in data -out sig' 'req -x509 -key rsa.ref -subj /CN=x -config req.cnf -out x.crt'; do
    # shellcheck disable=SC2086
    ok "with default_properties = ?provider=pkcs11: ${command%% -*}" env OPENSSL_CONF=named.cnf openssl $command
done

# --- random numbers of the token
openssl_conf 'default kyok'
unlike 'no random numbers are offered by default' "$(openssl list -random-generators)" 'KYOK-RAND'
openssl_conf 'default kyok' 'rand = yes'
printf '%s\n' '[random]' 'random = KYOK-RAND' >>openssl.cnf
sed -i 's/^providers = providers/providers = providers\nrandom = random/' openssl.cnf
faulty hsm reset
ok 'rand = yes: they are the token'"'"'s' openssl rand -hex 16
at_least 'by C_GenerateRandom' "$(faulty hsm count C_GenerateRandom)" 1
sed -i '/^uri/a isolate = yes' "$KYOK_CONF"
faulty hsm reset
ok 'with isolate too, though SoftHSM asks this OpenSSL for random numbers in another thread' timeout 60 openssl rand -hex 16
at_least 'by C_GenerateRandom' "$(faulty hsm count C_GenerateRandom)" 1
sed -i '/^isolate/d' "$KYOK_CONF"
openssl_conf

# --- leaving
command -v valgrind >/dev/null || { skip 'valgrind is not installed' 8; done_testing; }
clean() { valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --suppressions=valgrind.supp "$@"; }
# What SoftHSM 2.6.1 itself leaves behind; nothing with libkyok or kyok.so in it is suppressed.
printf '%s\n' '{' '   ld.so-reads-words' '   Memcheck:Addr8' '   fun:strncmp' '   fun:is_dst' '   ...' '}' \
    '{' '   softhsm' '   Memcheck:Leak' '   ...' '   obj:*libsofthsm2*' '   obj:*libsofthsm2*' '   ...' '}' >valgrind.supp
for order in 'default kyok' 'kyok default'; do
    openssl_conf "$order"
    ok "$order: a program without a key is clean" clean openssl dgst -sha256 data
    ok "$order: openssl list is clean" clean openssl list -providers
    ok "$order: a signature is clean" clean openssl dgst -sha256 -sign rsa.ref -out sig data
    ok "$order: a key that fails to load is clean" sh -c "$(declare -f clean); "'! clean openssl pkey -in "pkcs11:token=test;object=none" -noout 2>&1 | grep -q "=="'
done
done_testing
