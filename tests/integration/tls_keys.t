#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Stock nginx and curl with every key type in a token, by PEM references: TLS 1.2 and 1.3, RSA key
# exchange, PSS, client certificates; and that a handshake costs two PKCS#11 calls.
. "$(dirname "$0")/../support/lib.sh"
need nginx curl softhsm2-util pkcs11-tool "$MODULES/kyok.so"
keys=(rsa ec ec384 ec521 ed)
must 'an HSM with a key of each type' hsm_new "${keys[@]}"
ca_new
declare -A port
for key in "${keys[@]}"; do
    ok "$key: reference" reference "$key"
    must "$key: request and certificate" certificate "$key"
    port[$key]=$(free_port)
    nginx_server "${port[$key]}" "$key"
done
port[mutual]=$(free_port)
nginx_server "${port[mutual]}" ec "ssl_verify_client on; ssl_client_certificate $SANDBOX/ca.pem;"
must 'nginx starts' nginx_start

for key in "${keys[@]}"; do
    for version in 1.2 1.3; do
        like "$key: TLS $version" "$(tls_get "${port[$key]}" "--tlsv$version" --tls-max "$version" 2>&1)" "^served with $key$"
    done
done
# shellcheck disable=SC2153
like 'rsa: RSA key exchange' \
    "$(tls_get "${port[rsa]}" --tls-max 1.2 --ciphers AES128-GCM-SHA256 2>&1)" '^served with rsa$'
s_client() {
    without_provider openssl s_client -connect "127.0.0.1:$1" -CAfile "$SANDBOX/ca.pem" -verify_return_error "${@:2}" </dev/null 2>&1
}
like 'rsa: TLS 1.2 with PSS' "$(s_client "${port[rsa]}" -tls1_2 -sigalgs RSA-PSS+SHA256)" 'Peer signature type: (RSA-PSS|rsa_pss)'
like 'rsa: TLS 1.2 with PKCS #1' "$(s_client "${port[rsa]}" -tls1_2 -sigalgs RSA+SHA384)" 'Peer signature type: (RSA$|rsa_pkcs1)'
like 'rsa: TLS 1.3 with PSS and SHA-512' "$(s_client "${port[rsa]}" -tls1_3 -sigalgs RSA-PSS+SHA512)" 'Peer signing digest: SHA512'

# Client certificate: curl itself with kyok.
mutual() {
    curl -sS --max-time 20 --cacert "$SANDBOX/ca.pem" --resolve "localhost:${port[mutual]}:127.0.0.1" \
        --cert "$SANDBOX/$1.pem" --key "$SANDBOX/$1.key" "https://localhost:${port[mutual]}/" 2>&1
}
for key in rsa ec ed; do like "curl: client certificate, $key" "$(mutual $key)" '^served with ec$'; done
unlike 'without it the server refuses' "$(tls_get "${port[mutual]}" 2>&1)" '^served'

# Two calls per handshake, whatever the key.
for key in "${keys[@]}"; do
    tls_get "${port[$key]}"
    faulty hsm reset
    for _ in 1 2 3 4 5; do tls_get "${port[$key]}" >/dev/null 2>&1; done
    is "$key: five handshakes, ten calls" "$(faulty hsm count calls)/$(faulty hsm count C_SignInit)/$(faulty hsm count C_Sign)" 10/5/5
done

# openssl's own server and client, key by URI.
uri_port=$(free_port)
background openssl s_server -accept "127.0.0.1:$uri_port" -cert "$SANDBOX/ec.pem" -key 'pkcs11:token=test;object=ec;type=private' -www
ok 'openssl s_server with a URI' wait_for 10 port_answers "$uri_port"
like 'answers' "$(s_client "$uri_port")" 'Verify return code: 0 \(ok\)'
stop "$PID"
like 'openssl s_client with a client certificate by URI' \
    "$(openssl s_client -connect "127.0.0.1:${port[mutual]}" -CAfile "$SANDBOX/ca.pem" -cert "$SANDBOX/rsa.pem" \
        -key 'pkcs11:token=test;object=rsa' -ign_eof 2>&1 <<<$'GET / HTTP/1.0\r\n\r')" 'served with ec'
done_testing
