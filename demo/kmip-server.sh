# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The KMIP part of demo/demo.sh, which reads it: the same web server with a key at a KMIP server. It uses
# the demo's functions, folder and list of processes.
# shellcheck disable=SC2154

bank_certs=$D/bank-certs

# The tests' server speaks KMIP 1.0 to 2.1. It says its port, and obeys what is written to its console; a
# console that it holds open itself does not end with this script (KEEP=1).
bank_start() {
    mkfifo -m 600 bank.console
    setsid "$BUILD/tests/support/kmip_server_tool" --certs "$bank_certs" <>bank.console >bank.out 2>bank.err &
    echo $! >>"$state"
    for _ in $(seq 300); do
        bank_port=$(sed -n 's/^port //p' bank.out)
        [ -z "$bank_port" ] || return 0
        sleep 0.1
    done
    die 'the KMIP server does not start'
}

# The bank obeys: prints the command, waits for its "ok".
bank_console() {
    local before
    before=$(grep -c '^ok' bank.out)
    printf '   bank> %s\n' "$*"
    echo "$*" >bank.console
    for _ in $(seq 300); do
        [ "$(grep -c '^ok' bank.out)" = "$before" ] || return 0
        sleep 0.1
    done
    die "the KMIP server does not obey: $(tail -1 bank.out)"
}

# The host's identity at the server; the worker uses it after it has given up root.
bank_identity() {
    without_kyok "$here/../tests/support/certs.sh" "$bank_certs" >/dev/null 2>&1 || die 'no identities'
    chmod 711 "$bank_certs"
    chmod 644 "$bank_certs/ca.crt" "$bank_certs/alice.crt"
    [ "$(id -u)" != 0 ] || chown www-data "$bank_certs/alice.key"
}

bank_section() {
    printf '%s\n' '[kmip bank]' "server = kmips://127.0.0.1:$bank_port" "ca = $bank_certs/ca.crt" \
        "certificate = $bank_certs/alice.crt" "key = $bank_certs/alice.key"
}

bank_visit() {
    env -u OPENSSL_CONF -u KYOK_CONF curl -sS --max-time 20 --cacert "$D/shop.pem" \
        --resolve "localhost:$shop_port:127.0.0.1" "https://localhost:$shop_port/"
}
bank_served() {
    printf '   $ curl --cacert shop.pem https://localhost:%s/\n' "$shop_port"
    answer=$(bank_visit 2>&1) || { tail -5 error.log; die "curl does not get its page: $answer"; }
    printf '     %s\n' "$answer"
}

step 'Another custodian: a bank'\''s KMIP server' \
    'A process and keys of its own, at which this host is a client with a certificate. (It is the tests'\'' server.)'
bank_identity
bank_start
bank_section | tee -a kyok.conf | sed 's/^/     /' | short
show "$BUILD/kyok" kmip ping bank

step 'A key is made there' 'Its reference carries the public half: a server that starts asks nobody.'
show "$BUILD/kyok" key generate 'kmip://bank?name=shop' --type ec-p256
shop=$(grep -o 'kmip://bank/[^ ]*' <<<"$output" | head -1)
show "$BUILD/kyok" key reference "$shop" -o shop.key
show openssl req -x509 -key shop.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 1 -out shop.pem

step 'Stock nginx serves TLS with it' 'Each handshake is signed at the bank.'
shop_port=$(free_port)
sed -e "s|127.0.0.1:$port ssl|127.0.0.1:$shop_port ssl|; s|$D/web\.|$D/shop.|; s|$D/nginx.pid|$D/shop.pid|" \
    -e 's|a key that no file holds|a key at the bank|' nginx.conf >shop.conf
show grep ssl_certificate shop.conf
nginx -e "$D/error.log" -c "$D/shop.conf" -p "$D" || { tail -5 error.log; die 'nginx does not start'; }
cat shop.pid >>"$state"
bank_served

step 'The bank revokes its key' 'On its own server; nothing is done on this host. The next handshake fails:'
bank_console "state ${shop#kmip://bank/} deactivated"
printf '   $ curl --cacert shop.pem https://localhost:%s/\n' "$shop_port"
answer=$(bank_visit 2>&1) && die 'a revoked key still serves'
printf '     %s\n' "$answer"
printf '   and nginx'\''s log says why:\n'
for _ in $(seq 300); do
    reason=$(grep -o 'kmips:[^:]*:[0-9]*: the server refused[^)]*)' error.log | tail -1)
    [ -z "$reason" ] || break
    sleep 0.1
done
[ -n "$reason" ] || die 'the log does not say it'
printf '     %s\n' "$reason"

step 'And allows it again'
bank_console "state ${shop#kmip://bank/} active"
bank_served
