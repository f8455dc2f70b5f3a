#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# OCSP around suspended handshakes: client certificates that nginx asks a responder about before the request, and
# the staple of its own certificate; with a responder that knows, revokes, or is not there.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need ss
nginx_level=${KYOK_NGINX_LOG:-info}
NGINX_GROUP=('timeout = 60s')
must "a token with a server's key" nginx_token server
for name in friend foe; do nginx_key $name; done
https=$(free_port) stapled=$(free_port) plain=$(free_port) responder=$(free_port) nobody=$(free_port) silent=$(free_port)

serial() { openssl x509 -in "$SANDBOX/$1.pem" -noout -serial | cut -d= -f2; }
printf '%s\n' "V	491231235959Z		$(serial friend)	unknown	/CN=friend" \
    "R	491231235959Z	251101000000Z	$(serial foe)	unknown	/CN=foe" \
    "V	491231235959Z		$(serial server)	unknown	/CN=server" >"$SANDBOX/index.txt"
background openssl ocsp -port "$responder" -index "$SANDBOX/index.txt" -CA "$SANDBOX/ca.pem" \
    -rsigner "$SANDBOX/ca.pem" -rkey "$SANDBOX/ca.key" -ignore_err
# A connection without a request would keep it busy for ever.
listens() { ss -Hltn "sport = :$1" | grep -q LISTEN; }
wait_for 30 listens "$responder"

certificate="ssl_certificate $SANDBOX/server.pem; ssl_certificate_key $SANDBOX/server.ref;
    ssl_client_certificate $SANDBOX/ca.pem; ssl_trusted_certificate $SANDBOX/ca.pem;"
asks() { # PORT RESPONDER-PORT
    echo "server { listen 127.0.0.1:$1 ssl; $certificate ssl_verify_client on; ssl_ocsp on;
        ssl_ocsp_responder http://127.0.0.1:$2/; location / { return 200 \"\$ssl_client_s_dn\\n\"; } }"
}
nginx_conf "kyok_config $SANDBOX/kyok.conf;" "$(asks "$https" "$responder") $(asks "$silent" "$nobody")
    server { listen 127.0.0.1:$stapled ssl; $certificate ssl_stapling on; ssl_stapling_verify off;
        ssl_stapling_responder http://127.0.0.1:$responder/; location / { return 200 hello; } }
    server { listen 127.0.0.1:$plain; location / { return 200 hello; } location = /kyok { kyok_status; } }"
must "nginx starts" nginx_start
ok "the worker has tried its key" wait_for 60 metric_reaches "$plain" 'kyok_keys{state="good"}' 1

hanging() { [ "$(faulty one hanging)" -ge "$1" ]; }
together() { # PORT CLIENT: eight requests, whose signatures the HSM answers once it has them all
    local i pids=()
    faulty one hang C_Sign
    for i in 1 2 3 4 5 6 7 8; do
        tls_get "$1" --max-time 60 --cert "$SANDBOX/$2.pem" --key "$SANDBOX/$2.key" -w '%{http_code}' \
            -o /dev/null >"$SANDBOX/answer.$i" 2>/dev/null & pids+=($!)
    done
    wait_for 50 hanging 8 && echo together
    faulty one release
    wait "${pids[@]}"
    for i in 1 2 3 4 5 6 7 8; do cat "$SANDBOX/answer.$i"; echo; done | sort | uniq -c | tr -s ' '
}
is "clients whose certificate is good, in handshakes suspended together" "$(together "$https" friend)" $'together\n 8 200'
is "such whose certificate is revoked" "$(together "$https" foe)" $'together\n 8 400'
like "as the log says" "$(cat "$NGX/error.log")" 'certificate revoked|OCSP.*revoked'
is "a responder that is not there" "$(together "$silent" friend)" $'together\n 8 400'
faulty one delay C_Sign 500ms

staple() {
    without_provider timeout 60 openssl s_client -connect "127.0.0.1:$stapled" -status "$@" </dev/null 2>&1 |
        grep -q 'OCSP Response Status: successful'
}
for tls in -tls1_2 -tls1_3; do
    ok "a staple comes with a suspended handshake, $tls" wait_for 60 staple $tls
done
load "$stapled" clients=8 count=16
is "handshakes beside it" "$load_failed $load_done" "0 16"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
nginx_stop
done_testing
