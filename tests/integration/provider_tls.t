#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# TLS with keys in a token: every key type, TLS 1.0 to 1.3, static RSA, client certificates; in both
# orders of activation, with software keys in each.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util curl
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }
generate RSA rsa rsa_keygen_bits:2048 && generate_ec && generate ED25519 ed && generate ED448 ed448 ||
    { fail 'keys'; done_testing; }
for label in rsa $EC_KEYS ed ed448; do certificate $label || fail "certificate of $label"; done
without_provider openssl req -x509 -newkey rsa:2048 -nodes -keyout soft.key -out soft.crt -subj /CN=localhost \
    -config req.cnf -addext 'subjectAltName=DNS:localhost' 2>/dev/null

# server LABEL KEY [OPTION...]: s_server with the token's key, ready; $PORT.
server() {
    local label=$1 key=$2
    shift 2
    PORT=$(free_port)
    background openssl s_server -accept "127.0.0.1:$PORT" -key "$key" -cert "$label.crt" -www "$@"
    wait_for 10 port_answers "$PORT"
}
# client LABEL [OPTION...]: knows nothing of kyok.
client() {
    local label=$1
    shift
    without_provider timeout 20 openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$label.crt" -servername localhost \
        -verify_return_error "$@" </dev/null 2>&1
}
handshake() { # NAME LABEL KEY SERVER-OPTIONS CLIENT-OPTIONS REGEX
    local answer
    # shellcheck disable=SC2086
    server "$2" "$3" $4
    # shellcheck disable=SC2086
    answer=$(client "$2" $5)
    if grep -q 'Verify return code: 0' <<<"$answer" && grep -Eq -- "$6" <<<"$answer"; then pass "$1"
    else fail "$1" "$answer" "$(cat "$LOG")"; fi
    stop "$PID"
}

both_orders() {
    local label weak='DEFAULT@SECLEVEL=0' order
    for order in 'default kyok' 'kyok default'; do
        openssl_conf "$order"
        for label in rsa $EC_KEYS ed ed448; do
            handshake "$order: TLS 1.3 with $label" $label $label.ref -tls1_3 -tls1_3 'TLSv1.3, Cipher is TLS_'
            handshake "$order: TLS 1.2 with $label" $label $label.ref -tls1_2 -tls1_2 'TLSv1.2, Cipher is ECDHE'
        done
        handshake "$order: a URI instead of a file" rsa 'pkcs11:token=test;object=rsa;type=private' '' '' 'Cipher is TLS_'
        handshake "$order: TLS 1.2, RSA key exchange" rsa rsa.ref '-tls1_2 -cipher AES128-GCM-SHA256' \
            '-tls1_2 -cipher AES128-GCM-SHA256' 'Cipher is AES128-GCM-SHA256'
        handshake "$order: TLS 1.2, PKCS#1 v1.5 signature" rsa rsa.ref '-tls1_2 -sigalgs RSA+SHA256' \
            '-tls1_2 -sigalgs RSA+SHA256' 'Cipher is ECDHE'
        handshake "$order: TLS 1.1, MD5-SHA1" rsa rsa.ref "-tls1_1 -cipher $weak" "-tls1_1 -cipher $weak" 'Cipher is ECDHE'
        handshake "$order: TLS 1.0, MD5-SHA1" rsa rsa.ref "-tls1 -cipher $weak" "-tls1 -cipher $weak" 'Cipher is ECDHE'
        handshake "$order: TLS 1.0, RSA key exchange" rsa rsa.ref "-tls1 -cipher AES128-SHA@SECLEVEL=0" \
            "-tls1 -cipher AES128-SHA@SECLEVEL=0" 'Cipher is AES128-SHA'
        handshake "$order: a software key" soft soft.key '' '' 'Cipher is TLS_'
        for group in X25519 P-256 P-384 X448 ffdhe2048; do
            handshake "$order: key exchange $group" ec256 ec256.ref "-groups $group" "-groups $group" 'Cipher is TLS_'
        done
    done
}
both_orders
openssl_conf

# --- client certificates: curl, and s_client
for label in rsa ec256 ed; do
    PORT=$(free_port)
    background env -u OPENSSL_CONF -u KYOK_CONF openssl s_server -accept "127.0.0.1:$PORT" -key soft.key -cert soft.crt -www \
        -Verify 1 -CAfile $label.crt -verify_return_error
    wait_for 10 port_answers "$PORT"
    for version in '--tlsv1.2 --tls-max 1.2' --tlsv1.3; do
        # shellcheck disable=SC2086
        ok "curl with the client certificate of $label, $version" curl -sS --max-time 20 $version --cacert soft.crt \
            --resolve "localhost:$PORT:127.0.0.1" --cert $label.crt --key $label.ref -o page "https://localhost:$PORT/"
        like '... the server has verified it' "$(cat page 2>/dev/null)" "O ?= ?$label"
    done
    ok "s_client with the client certificate of $label" sh -c "timeout 20 openssl s_client -connect 127.0.0.1:$PORT -CAfile soft.crt \
        -cert $label.crt -key $label.ref -verify_return_error </dev/null"
    stop "$PID"
done

# --- what does not fit
refused 'a certificate of another key is refused when the server starts' any 'mismatch|do not match|not match' \
    openssl s_server -accept 127.0.0.1:0 -key rsa.ref -cert ec256.crt -www
openssl req -x509 -key rsa.ref -subj /CN=x -config req.cnf -out rsa-other.crt
generate RSA rsa2 && certificate rsa2
refused 'also of another key of its type' any 'mismatch|not match' openssl s_server -accept 127.0.0.1:0 -key rsa.ref -cert rsa2.crt -www
done_testing
