#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keys at PyKMIP through the provider: a TLS server whose RSA signatures are made there, two
# identities, envelopes by its Encrypt and Decrypt.

. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
. "$(dirname "$0")/../support/pykmip.sh"

need openssl
pykmip_needed
[ -e "$MODULES/kyok.so" ] || skip_all "the provider is not built"
kmip_certs
at_end+=(pykmip_stop)
pykmip_start pykmip "$CERTS" || skip_all "PyKMIP does not start"
{
    kmip_group alice alice "$PORT"
    kmip_group bob bob "$PORT"
    kmip_group strict alice "$PORT" "require = non-extractable"
    kmip_group old alice "$PORT" "version = 1.2"
    kmip_group new alice "$PORT" "version = 2.0"
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf
openssl_conf
cd "$SANDBOX" || exit 1

pair=$("$KYOK" kmip create alice --algorithm RSA --length 2048 --name web 2>/dev/null)
id=$(head -1 <<<"$pair") public=$(sed -n 's/^public //p' <<<"$pair")
printf data >data

refused "PyKMIP links no public half" any 'public half is not known' openssl pkey -in "kmip://alice/$id" -pubout
reference="kmip://alice/$id?public=$public"
ok "with ?public=" openssl pkey -in "$reference" -pubout -out web.pub
for group in alice old new; do
    ok "$group: sign" openssl dgst -sha256 -sign "kmip://$group/$id?public=$public" -out sig data
    ok "$group: verifies" without_provider openssl dgst -sha256 -verify web.pub -signature sig data
done
refused "a digest alone: PyKMIP signs whole data" any 'signs no digests' \
    openssl pkeyutl -sign -inkey "$reference" -rawin -in /dev/null -out sig
openssl dgst -sha256 -binary -out digest data
refused "a bare digest" any 'signs no digests' \
    openssl pkeyutl -sign -inkey "$reference" -in digest -out sig -pkeyopt digest:sha256
refused "PSS: PyKMIP takes the longest salt, and that is noticed" any 'another PSS salt length' \
    openssl dgst -sha256 -sign "$reference" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest -out sig data
ok "PSS with the longest salt" openssl dgst -sha256 -sign "$reference" -sigopt rsa_padding_mode:pss \
    -sigopt rsa_pss_saltlen:222 -out sig data
refused "another identity" any 'PermissionDenied|Could not locate' \
    openssl dgst -sha256 -sign "kmip://bob/$id?public=$public" -out sig data
refused "require: on PyKMIP who signs may also Get" any 'does not meet require.*may Get' \
    openssl dgst -sha256 -sign "kmip://strict/$id?public=$public" -out sig data

# --- a TLS server ------------------------------------------------------------------------------------
ca_new
ok "a certificate request, signed at the server" openssl req -new -key "$reference" -subj /CN=localhost -out web.csr
ok "its certificate" ca_sign web.csr web.crt
ok "a PEM reference" "$KYOK" key reference "$reference" -o web.pem
web=$(free_port)
background openssl s_server -accept "$web" -www -cert web.crt -key web.pem -tls1_2 -sigalgs RSA+SHA256
wait_for 10 port_answers "$web"
ok "a TLS handshake with a remote RSA signature" tls_get "$web" -o page
like "and the page" "$(cat page)" 'ECDHE-RSA'
ok "another" tls_get "$web" -o page

# --- envelopes ----------------------------------------------------------------------------------------
kek=$("$KYOK" kmip create alice --algorithm AES --length 256 --name kek 2>/dev/null)
ok "seal by PyKMIP's Encrypt (AES-GCM)" "$KYOK" seal --to "kmip://alice/$kek" data -o data.kyok
ok "open by its Decrypt" "$KYOK" open data.kyok -o opened
ok "the same" cmp data opened
refused "another identity cannot use the key" any 'PermissionDenied' \
    "$KYOK" seal --to "kmip://bob/$kek" data -o bob.kyok
"$KYOK" kmip revoke alice "$kek" >/dev/null 2>&1
refused "a revoked key does not open it" any 'Deactivated|not Active' "$KYOK" open data.kyok -o opened2

done_testing
