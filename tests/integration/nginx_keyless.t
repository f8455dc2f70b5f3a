#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keyless: an edge nginx that holds neither key nor PIN nor PKCS#11 module. Its keys are at two KMIP
# servers, each of which may be gone, slow or dead; and sessions resume over a fleet without any.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
. "$TESTS/support/kmip.sh"
nginx_need
nginx_level=${KYOK_NGINX_LOG:-info}

ca_new
nginx_key ec && nginx_key rsa rsa
keys=("key rsa rsa-2048" "load rsa $SANDBOX/rsa.key" "key ec ec-p256" "load ec $SANDBOX/ec.key")
kmip_server one "${keys[@]}" || skip_all "the scripted server does not start"
one=$PORT
kmip_server two "${keys[@]}"
two=$PORT
kmip_group edge alice "$one,$two" 'timeout = 60' >"$SANDBOX/kyok.conf"
# The identity is not the key: nginx's workers read it after they have given up root.
chmod 711 "$CERTS"
chmod 644 "$CERTS"/ca.crt "$CERTS"/alice.crt
[ "$(id -u)" -ne 0 ] || chown nobody "$CERTS/alice.key"
export KYOK_CONF=$SANDBOX/kyok.conf
for type in ec rsa; do
    ok "a reference to the $type key, with its public half" "$KYOK" key reference "kmip://edge/$type" -o "$SANDBOX/$type.ref"
done
chmod 644 "$SANDBOX"/*.ref
rm -f "$SANDBOX"/ec.key "$SANDBOX"/rsa.key
unset KYOK_CONF

https=$(free_port) plain=$(free_port) second=$(free_port)
both="ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key $SANDBOX/ec.ref;
    ssl_certificate $SANDBOX/rsa.pem; ssl_certificate_key $SANDBOX/rsa.ref;"
servers() { # RESUMPTION
    echo "server { listen 127.0.0.1:$https ssl; listen 127.0.0.1:$plain; $both $1
        location / { return 200 \"hello\\n\"; } location = /kyok { kyok_status; } }"
}
begin() {
    nginx_stop TERM
    : >"$NGX/error.log"
    nginx_conf "kyok_config $SANDBOX/kyok.conf;" "$(servers "${1:-}")"
    nginx_start || { fail "nginx starts"; done_testing; }
}
signs() { kmip_tell "$1" stats | grep -o 'Sign=[0-9]*' | cut -d= -f2; }

load_begin() { "$SUPPORT/tls_load_tool" "$https" clients=4 seconds=600 >"$SANDBOX/load" & busy=$!; }
load_goes_on() { wait_for 120 metric_reaches "$plain" kyok_full_handshakes_total $(($(metric "$plain" kyok_full_handshakes_total) + $1)); }
serves() { load "$https" clients=4 count=16; [ "$load_failed $load_done" = "0 16" ]; }

begin
for tls in 1.2 1.3; do
    for sigalgs in ECDSA+SHA256 RSA-PSS+SHA256; do
        load "$https" clients=8 count=32 tls=$tls sigalgs=$sigalgs
        is "TLS $tls with $sigalgs" "$load_failed $load_done" "0 32"
    done
done
at_least "both servers sign, the first" "$(signs one)" 1
at_least "and the second" "$(signs two)" 1

kmip_tell one "fault Sign 1000 delay 50" >/dev/null
kmip_tell two "fault Sign 1000 delay 50" >/dev/null
load "$https" clients=32 count=128 tls=1.3
is "+50 ms: every handshake succeeds" "$load_failed $load_done" "0 128"
diag "full handshakes/s at +50 ms, 32 clients: $load_rate"
for server in one two; do
    kmip_tell $server "fault none" >/dev/null
    kmip_tell $server "fault Sign 1000 delay 3000" >/dev/null
done
"$SUPPORT/tls_load_tool" "$https" clients=16 count=16 timeout=120 >"$SANDBOX/load" & busy=$!
ok "they wait at the same time" wait_for 60 metric_reaches "$plain" kyok_suspended 8
wait $busy
like "and succeed" "$(cat "$SANDBOX/load")" 'done=16 failed=0 '
kmip_tell one "fault none" >/dev/null
kmip_tell two "fault none" >/dev/null

worker=$(nginx_worker)
load_begin
load_goes_on 100
kmip_tell one down >/dev/null
load_goes_on 300
kmip_tell one up >/dev/null
load_goes_on 300
kill -USR1 $busy
wait $busy
diag "$(cat "$SANDBOX/load")"
at_least "a server that dies and comes back: handshakes" "$(grep -o 'done=[0-9]*' "$SANDBOX/load" | cut -d= -f2)" 50
at_most "at most 1 % of them fail" "$(grep -o 'failed=[0-9]*' "$SANDBOX/load" | cut -d= -f2)" \
    "$(perl -ne 'print int($1 / 100) if /done=(\d+)/' "$SANDBOX/load")"
is "with no restart" "$(nginx_worker)" "$worker"

sed -i 's/^timeout = .*/timeout = 2/' "$SANDBOX/kyok.conf"
begin
ok "keys are good" wait_for 120 metric_reaches "$plain" 'kyok_keys{state="good"}' 2
kmip_tell one "fault Sign 1000 silent" >/dev/null
kmip_tell two "fault Sign 1000 silent" >/dev/null
load "$https" clients=2 count=2 tls=1.3
is "servers that never answer: the clients get alerts" "$load_failed $load_alerts" "2 2"
is "and the worker answers" "$(curl -sS -m 60 "http://127.0.0.1:$plain/")" hello
kmip_tell one "fault none" >/dev/null
kmip_tell two "fault none" >/dev/null
ok "they answer again: so does nginx" wait_for 60 serves
sed -i 's/^timeout = .*/timeout = 60/' "$SANDBOX/kyok.conf"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""

# --- resumption ---------------------------------------------------------------------------------------
openssl rand 80 >"$SANDBOX/ticket.key"
for way in "ssl_session_cache shared:tls:1m;" "ssl_session_tickets on; ssl_session_ticket_key $SANDBOX/ticket.key;"; do
    begin "$way"
    load "$https" clients=1 count=1
    before=$(($(signs one) + $(signs two)))
    load "$https" clients=4 count=200 tls=1.2 resume=yes
    is "${way%% *}: TLS 1.2: all but the first of each client resume" "$load_failed $load_resumed" "0 196"
    load "$https" clients=4 count=200 tls=1.3 resume=yes
    is "${way%% *}: TLS 1.3" "$load_failed $load_resumed" "0 196"
    diag "resumed handshakes/s: $load_rate"
    is "${way%% *}: which need no signature" $(($(signs one) + $(signs two) - before)) 8
    page=$(sleep 1.2; curl -sS "http://127.0.0.1:$plain/kyok")
    is "${way%% *}: and are counted" "$(awk '$1 == "kyok_resumed_handshakes_total" { print $2 }' <<<"$page")" 392
done
# Another machine of the fleet is another nginx with the same ticket key.
first=$MASTER NGX=$SANDBOX/second
mkdir -p "$NGX" && chmod 755 "$NGX"
nginx_conf "kyok_config $SANDBOX/kyok.conf;" "$(servers "$way" | sed "s/:$https /:$second /; s/:$plain;/:$(free_port);/")"
nginx_start
session() { without_provider openssl s_client -connect "127.0.0.1:$1" -servername localhost -CAfile "$SANDBOX/ca.pem" -tls1_2 "${@:2}" </dev/null 2>&1; }
session "$https" -sess_out "$SANDBOX/session" >/dev/null
like "a ticket of one machine resumes at another with the same key" "$(session "$second" -sess_in "$SANDBOX/session")" '^Reused, TLSv1.2'
nginx_stop
MASTER=$first NGX=$SANDBOX/nginx
nginx_stop

# --- early data ---------------------------------------------------------------------------------------
begin "ssl_session_cache shared:tls:1m; ssl_session_tickets on; ssl_early_data on;"
early() { without_provider openssl s_client -connect "127.0.0.1:$https" -servername localhost -tls1_3 "$@" 2>&1; }
printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >"$SANDBOX/request"
(sleep 0.5; cat "$SANDBOX/request"; sleep 1) | early -sess_out "$SANDBOX/early" -ign_eof >/dev/null
answer=$(sleep 1 | early -sess_in "$SANDBOX/early" -early_data "$SANDBOX/request" -ign_eof)
like "early data is accepted" "$answer" 'Early data was accepted'
like "and answered" "$answer" '^hello'
load "$https" clients=8 count=32 tls=1.3
is "full handshakes beside it" "$load_failed $load_done" "0 32"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
nginx_stop
done_testing
