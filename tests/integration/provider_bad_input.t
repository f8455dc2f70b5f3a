#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What is wrong is told once, by name, with what to do; nothing crashes and nothing is guessed.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }
generate EC ec256 group:P-256 || { fail 'key'; done_testing; }
token_key soft test twin 51 EC:prime256v1
token_key soft test twin 52 EC:prime256v1
echo data >data
load() { openssl pkey -in "$1" -noout; }

# --- references
while read -r uri regex; do
    refused "$uri" any "$regex" load "$uri"
done <<'TABLE'
pkcs11:serial=0000000000000000;object=ec256 no token of group test is as the reference says
pkcs11:manufacturer=Nobody;object=ec256 no token of group test is as the reference says
pkcs11:slot-id=4294967295;object=ec256 no token of group test is as the reference says
pkcs11:object=ec256;model=other?kyok-group=test no token of group test is as the reference says
pkcs11:token=test;object=none kyok.*token "test" .* has no such key; see kyok key list test
pkcs11:token=none;object=ec256 kyok.*no token of the group is present; check module and uri in the key reference
pkcs11:token=test;objekt=ec256 unknown attribute "objekt"; RFC 7512
pkcs11:token=test;object=ec256;object=ec256 attribute object is given twice
pkcs11:token=test;object=%zz attribute object holds a character that must be percent-encoded
pkcs11:token=test;object=a%00b attribute object holds a NUL
pkcs11:token=test;id=%5 attribute id holds a character that must be percent-encoded
pkcs11:token=test;object=ec256;type=spoon attribute type must be one of private, public, cert
pkcs11:token=test;object=ec256?pin-value=1234&pin-source=file:/x both pin-value and pin-source are given
pkcs11:object an attribute is not NAME=VALUE
pkcs11:token=test;slot-id=x attribute slot-id is not a slot number
pkcs11:token=test;object=ec256?module-path=relative.so relative.so: cannot load the PKCS#11 module .*; check the module's path
pkcs11:token=test;object=ec256?module-path=/nonexistent.so /nonexistent.so: cannot load the PKCS#11 module .*; check the module's path
pkcs11:token=test;object=ec256?kyok-group=none group "none" is not configured; add a section \[token none\]
kmip://nowhere/1 group "nowhere" is not configured; add a section \[kmip nowhere\]
kmip: kyok.*expected "kmip://" and the name of a \[kmip\] section
TABLE
mkfifo fifo.so
refused 'a module path that is a pipe, which would hang' any 'is no regular file' timeout 60 openssl pkey -noout -in "pkcs11:token=test;object=ec256?module-path=$PWD/fifo.so"
refused 'a module path that is no PKCS#11 module' any 'is no PKCS#11 module: it has no C_GetFunctionList; name the vendor' load "pkcs11:token=test;object=ec256?module-path=$(ls /usr/lib/*/libz.so.1 /lib/*/libz.so.1 2>/dev/null | head -1)"
refused 'two keys for one reference' any 'has more than one such key; add id= or object=' load 'pkcs11:token=test;object=twin'
is 'and each of them by its id' "$(for id in 51 52; do openssl pkey -in "pkcs11:token=test;object=twin;id=%$id" -pubout | sha256sum; done | sort -u | wc -l)" 2
refused 'a long reference is refused' any 'kyok.*a reference is longer than 4096 bytes' load "pkcs11:token=test;object=$(head -c 100000 /dev/zero | tr '\0' a)"

# --- PEM references
pem() { # LABEL FIRST URI: writes bad.pem
    perl -e 'my ($label, $first, $uri) = @ARGV; use MIME::Base64;
        sub tlv { my ($t, $v) = @_; my $n = length $v;
            chr($t) . ($n < 128 ? chr $n : $n < 256 ? "\x81" . chr $n : "\x82" . pack("n", $n)) . $v }
        print "-----BEGIN $label-----\n", encode_base64(tlv(0x30, tlv(0x1a, $first) . tlv(0x0c, $uri))), "-----END $label-----\n"' "$@" >bad.pem
}
URI='PKCS#11 PROVIDER URI'
FIRST='PKCS#11 Provider URI v1.0'
pem "$URI" "$FIRST" 'pkcs11:token=test;object=ec256'
ok 'a reference made by hand is read' load bad.pem
pem "$URI" 'PKCS#11 Provider URI v9.9' 'pkcs11:token=test;object=ec256'
refused 'another version is refused' any 'its first member names no version that kyok knows; write it again with "kyok key reference"' load bad.pem
pem "$URI" "$FIRST" 'http://example.org/'
refused 'another scheme is refused' any 'its URI is neither pkcs11: nor kmip:' load bad.pem
pem "$URI" "$FIRST" 'pkcs11:token=test;object=none'
refused 'a key that is not there' any 'has no such key; see kyok key list' load bad.pem
is 'is told once' "$(load bad.pem 2>&1 | grep -c 'no such key')" 1
pem "$URI" "$FIRST" ''
refused 'an empty URI' any 'its URI is neither pkcs11: nor kmip:' load bad.pem
pem "$URI" "$FIRST" "pkcs11:token=test;object=$(head -c 40000 /dev/zero | tr '\0' a)"
refused 'a very long URI' any 'broken PEM key reference.*of 4[0-9]{4} bytes' load bad.pem
printf -- '-----BEGIN %s-----\nAAAA\n-----END %s-----\n' "$URI" "$URI" >bad.pem
refused 'no DER' any 'it is not one DER sequence; write it again' load bad.pem
printf -- '-----BEGIN %s-----\n!!!!\n-----END %s-----\n' "$URI" "$URI" >bad.pem
refused 'no base64' any 'Could not (read|find)' load bad.pem
printf -- '-----BEGIN %s-----\nMEAaGVBL\n' "$URI" >bad.pem
refused 'no end' any 'Could not (read|find)' load bad.pem
head -c 5000 /dev/urandom >noise
refused 'noise' any 'Could not (read|find)' load noise
openssl pkey -in ec256.ref -outform DER -out ec256.der
size=$(stat -c %s ec256.der)
crashed=0
for ((cut = 0; cut < size; cut++)); do
    head -c $cut ec256.der >cut.der
    openssl pkey -inform DER -in cut.der -noout >/dev/null 2>&1
    status=$?
    { [ $status -ne 0 ] && [ $status -lt 124 ]; } || crashed=$((crashed + 1))
done
is "each of $size truncations is refused" $crashed 0

printf '\x30\x81\x00\x1a' >empty.der
head -c 3000 /dev/zero >>empty.der
refused 'an empty SEQUENCE' any 'Could not' openssl pkey -inform DER -in empty.der -noout
printf '\x30\x82\xff\xff\x1a' >huge.der
head -c 70000 /dev/zero >>huge.der
refused 'a long one' any 'Could not' openssl pkey -inform DER -in huge.der -noout

# --- who may name modules and PIN sources: PEM files of root or the caller, not whoever's bytes
pem "$URI" "$FIRST" "pkcs11:token=test;object=ec256?pin-source=file:$SANDBOX/pin"
ok 'a PIN source in an own file' load bad.pem
refused 'not out of a pipe' any 'attribute pin-source is refused in a reference that comes from data; name the module and the PIN source' sh -c 'cat bad.pem | openssl pkey -noout'
chmod 666 bad.pem
refused 'not out of a file that anyone may write' any 'attribute pin-source is refused in a reference that comes from data; name the module and the PIN source' load bad.pem
chmod 660 bad.pem
refused 'nor its group' any 'attribute pin-source is refused in a reference that comes from data; name the module and the PIN source' load bad.pem
chmod 600 bad.pem
if [ "$(id -u)" = 0 ]; then
    chown 12345 bad.pem
    refused "not out of another user's file" any 'attribute pin-source is refused in a reference that comes from data; name the module and the PIN source' load bad.pem
else
    skip 'needs root: a file of another user'
fi
for what in module-path=/tmp/evil.so module-name=evil pin-value=1234; do
    pem "$URI" "$FIRST" "pkcs11:token=test;object=ec256?$what"
    refused "nor ${what%%=*}" any "attribute ${what%%=*} is refused in a reference that comes from data" sh -c 'cat bad.pem | openssl pkey -noout'
    unlike '... whose value is not told' "$(sh -c 'cat bad.pem | openssl pkey -noout' 2>&1)" '1234'
done
pem "$URI" "$FIRST" 'pkcs11:token=test;object=ec256'
ok 'but a reference that only selects may come out of a pipe' sh -c 'cat bad.pem | openssl pkey -noout'

# --- PINs
chmod 644 pin
refused 'a PIN file that others can read' any 'others than its owner have access to the PIN file; chmod 0600 it' load ec256.ref
chmod 600 pin
mv pin gone
refused 'a PIN file that is missing' any '/pin: the PIN file cannot be opened .ENOENT' load ec256.ref
mv gone pin
echo 9999 >pin
refused 'a wrong PIN is told' any 'login refused; the PIN came from file:/.*/pin .CKR_PIN_INCORRECT' load ec256.ref
unlike 'and not shown' "$(load ec256.ref 2>&1)" '9999'
echo "$PIN" >pin
ok 'a right one is taken again' load ec256.ref

# --- configuration
refuses_conf() { # NAME REGEX LINE...
    local name=$1 regex=$2
    shift 2
    kyok_conf "$@"
    refused "$name" any "$regex" load ec256.ref
}
refuses_conf 'kyok.conf: an unknown word' 'kyok.conf:2: unknown setting "modul".*; expected one of module, uri' '[token test]' 'modul = /x'
refuses_conf 'kyok.conf: no section' 'kyok.conf:1: a line before the first section; expected .token NAME' 'module = /x'
refuses_conf 'kyok.conf: an absent module' '/nonexistent/hsm.so: cannot load the PKCS#11 module' '[token test]' 'module = /nonexistent/hsm.so' 'uri = pkcs11:token=test'
kyok_conf '[token test]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=test' "pin-source = file:$SANDBOX/pin" 'require = never-extractable'
ok 'require = never-extractable is met by a key of the token' load ec256.ref
without_provider openssl genpkey -algorithm EC -pkeyopt group:P-256 -out soft.key
token_import soft test imported 77 soft.key
refused 'and not by an imported one, which says why' any 'does not meet "require = never-extractable" .CKA_ALWAYS_SENSITIVE is false.*; use a key generated in the token' load 'pkcs11:token=test;object=imported'
kyok_conf '[token test]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=test' "pin-source = file:$SANDBOX/pin"
openssl_conf 'default kyok' 'config = /nonexistent/kyok.conf'
refused 'config = a file that is not there' any '/nonexistent/kyok.conf: the configuration cannot be opened .ENOENT' load ec256.ref
for line in 'timeout = soon' 'kmip = perhaps' 'pkcs11-module-allow-export = 7' 'pkcs11-module-login-behavior = often' \
    'pkcs11-module-block-operations = all'; do
    openssl_conf 'default kyok' "$line"
    refused "openssl.cnf: $line" any "openssl.cnf has ${line%% *}" load ec256.ref
    ok '... does not stop a program that uses no key' openssl dgst -sha256 data
done
openssl_conf 'default kyok' 'kmip = no'
refused 'kmip = no' any 'unregistered scheme.*scheme=kmip|No store loader.*Scheme.*kmip' load kmip://any/1
openssl_conf

# --- a token that answers nonsense
for lie in signature-length attribute-length attribute-grows attribute-empty attribute-noise slot-count object-count mechanism-count; do
    faulty hsm lie $lie
    output=$(timeout 20 openssl dgst -sha256 -sign ec256.ref -out sig data 2>&1)
    status=$?
    if [ $status -lt 124 ]; then pass "lie $lie: ends in order ($status)"; else fail "lie $lie" "exit $status" "$output"; fi
    faulty hsm lie
done
for rv in CKR_GENERAL_ERROR CKR_FUNCTION_FAILED CKR_DEVICE_MEMORY CKR_KEY_FUNCTION_NOT_PERMITTED CKR_MECHANISM_INVALID; do
    faulty hsm fail C_SignInit $rv 1000
    refused "C_SignInit answers $rv: told by name" any "$rv" timeout 60 openssl dgst -sha256 -sign ec256.ref -out sig data
    faulty hsm clear
done
done_testing
