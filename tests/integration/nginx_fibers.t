#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The nginx module's fibers without any custodian: every signature of a file key is suspended for a
# while (tests/support/pause_module.c), in every protocol, and in every state in which nginx may end.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
nginx_preload="${nginx_preload:+$nginx_preload:}$SUPPORT/pause_module.so"
nginx_level=${KYOK_NGINX_LOG:-info}

# Signatures that are paused: how many now, how many at most, and "together N": none ends before so many are.
export KYOK_PAUSE_FILE=$SANDBOX/pauses
paused() { od -An -tu4 -N4 "$KYOK_PAUSE_FILE" | tr -d ' '; }
paused_most() { od -An -tu4 -j4 -N4 "$KYOK_PAUSE_FILE" | tr -d ' '; }
paused_reach() { [ "$(paused)" -ge "$1" ]; }
together() { perl -e 'print pack "L3", 0, 0, shift' "$1" | dd of="$KYOK_PAUSE_FILE" conv=notrunc status=none; }
release() { perl -e 'print pack "L", 0' | dd of="$KYOK_PAUSE_FILE" conv=notrunc bs=4 seek=2 status=none; }
for_good=1000000
install -m 666 /dev/null "$KYOK_PAUSE_FILE"
together 0
load_begin() { "$SUPPORT/tls_load_tool" "$https" "$@" >"$SANDBOX/load" & busy=$!; }

ca_new
for name in server client; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
        -keyout "$SANDBOX/$name.key" -out "$SANDBOX/$name.csr" 2>/dev/null
    ca_sign "$SANDBOX/$name.csr" "$SANDBOX/$name.pem"
done
openssl req -new -newkey rsa:2048 -nodes -subj /CN=server -keyout "$SANDBOX/rsa.key" \
    -out "$SANDBOX/rsa.csr" 2>/dev/null
ca_sign "$SANDBOX/rsa.csr" "$SANDBOX/rsa.pem"

https=$(free_port) plain=$(free_port) proxied=$(free_port) mtls=$(free_port) front=$(free_port)
streams=$(free_port) stream_front=$(free_port) imaps=$(free_port) auth=$(free_port) smtp=$(free_port)

certificate="ssl_certificate $SANDBOX/server.pem; ssl_certificate_key $SANDBOX/server.key;
ssl_certificate $SANDBOX/rsa.pem; ssl_certificate_key $SANDBOX/rsa.key;"
client="proxy_ssl_certificate $SANDBOX/client.pem; proxy_ssl_certificate_key $SANDBOX/client.key;"
servers="server { listen 127.0.0.1:$https ssl http2; listen 127.0.0.1:$plain; $certificate
    location / { return 200 \"hello\\n\"; } location = /kyok { kyok_status; } }
  server { listen 127.0.0.1:$proxied ssl proxy_protocol; $certificate
    location / { return 200 \"\$proxy_protocol_addr\\n\"; } }
  server { listen 127.0.0.1:$mtls ssl; $certificate ssl_client_certificate $SANDBOX/ca.pem;
    ssl_verify_client on; location / { return 200 \"\$ssl_client_s_dn\\n\"; } }
  server { listen 127.0.0.1:$auth; location / { add_header Auth-Status 'no such account'; return 204; } }
  server { listen 127.0.0.1:$front; location / { proxy_pass https://127.0.0.1:$mtls; $client
    proxy_ssl_session_reuse off; } }"

main='' tail=''
if [ -e $nginx_modules/ngx_stream_module.so ]; then
    main="load_module $nginx_modules/ngx_stream_module.so;"
    tail="stream { server { listen 127.0.0.1:$streams ssl; ssl_protocols TLSv1.2 TLSv1.3;
            $certificate proxy_pass 127.0.0.1:$plain; }
        server { listen 127.0.0.1:$stream_front; proxy_pass 127.0.0.1:$mtls; proxy_ssl on; $client } }"
fi
if [ -e $nginx_modules/ngx_mail_module.so ]; then
    main="$main load_module $nginx_modules/ngx_mail_module.so;"
    tail="$tail mail { auth_http 127.0.0.1:$auth/; server_name localhost; ssl_protocols TLSv1.2 TLSv1.3;
        $certificate
        server { listen 127.0.0.1:$imaps ssl; protocol imap; }
        server { listen 127.0.0.1:$smtp; protocol smtp; starttls on; } }"
fi

# begin PAUSE_MS [MAIN]: nginx anew
begin() {
    nginx_stop TERM
    export KYOK_PAUSE_MS=$1
    together 0
    : >"$NGX/error.log"
    nginx_conf "$main ${2:-}" "$servers" "$tail"
    nginx_start || { fail "nginx starts"; done_testing; }
}

no_trouble() { is "$1: nothing worse than an error in the log" "$(nginx_bad_lines)" ""; }

begin 50
for tls in 1.2 1.3; do
    for sigalgs in ECDSA+SHA256 RSA-PSS+SHA256; do
        together 24
        load "$https" clients=32 count=192 tls=$tls sigalgs=$sigalgs timeout=120
        is "TLS $tls with $sigalgs: every handshake succeeds" "$load_failed $load_done" "0 192"
        at_least "TLS $tls with $sigalgs: they are suspended at the same time" "$(paused_most)" 24
    done
done
is "HTTP/2" "$(tls_get "$https" --http2 -w '%{http_version}' -o /dev/null)" 2
is "plain HTTP beside it" "$(curl -sS "http://127.0.0.1:$plain/")" hello
like "plain HTTP to the TLS port is told so" "$(curl -sS "http://127.0.0.1:$https/")" 'plain HTTP request was sent to HTTPS port'
load "$proxied" clients=8 count=32 proxy=yes
is "PROXY protocol" "$load_failed $load_done" "0 32"
is "a certificate is asked of the client" "$(tls_get "$mtls" --cert "$SANDBOX/client.pem" --key "$SANDBOX/client.key")" CN=client
is "proxied request with a client certificate" "$(curl -sS "http://127.0.0.1:$front/")" CN=client
begin 400
together 12
for i in $(seq 12); do curl -sS -m 120 "http://127.0.0.1:$front/" >"$SANDBOX/proxied.$i" & pids[i]=$!; done
for i in $(seq 12); do wait "${pids[i]}"; done
is "twelve of them at once" "$(cat "$SANDBOX"/proxied.* | sort | uniq -c | tr -s ' ')" " 12 CN=client"
at_least "they are suspended at the same time" "$(paused_most)" 12
if [ -e $nginx_modules/ngx_stream_module.so ]; then
    load "$streams" clients=16 count=64
    is "stream" "$load_failed $load_done" "0 64"
    is "stream with a client certificate upstream" "$(curl -sS "http://127.0.0.1:$stream_front/")" CN=client
else skip "nginx's stream module is not installed" 2; fi
if [ -e $nginx_modules/ngx_mail_module.so ]; then
    mail_greeting() { # PORT OPTION...
        (sleep 1; echo 'a logout') | timeout 20 openssl s_client -quiet -verify_quiet -CAfile "$SANDBOX/ca.pem" \
            -connect "127.0.0.1:$1" "${@:2}" 2>/dev/null
    }
    like "mail: IMAP over TLS" "$(mail_greeting "$imaps")" 'OK IMAP4 ready'
    like "mail: STARTTLS" "$(timeout 20 openssl s_client -starttls smtp -connect "127.0.0.1:$smtp" </dev/null 2>&1)" 'Cipher is (TLS|ECDHE)'
else skip "nginx's mail module is not installed" 2; fi
no_trouble "every protocol"

# --- another request on that worker -----------------------------------------------------------------
begin 0
together $for_good
load_begin clients=32 count=32 timeout=120
ok "32 handshakes are suspended" wait_for 50 paused_reach 32
is "a plain request does not wait for them" "$(curl -sS -m 60 "http://127.0.0.1:$plain/") $(paused)" "hello 32"
release
wait $busy
like "which then succeed" "$(cat "$SANDBOX/load")" 'done=32 failed=0 '

# --- peers that go away ------------------------------------------------------------------------------
begin 1000
together $for_good
load "$https" clients=20 count=20 abort_ms=200 tls=1.3
wait_for 50 eval "[ \$(grep -c 'peer closed connection while its key operation' '$NGX/error.log') -ge 20 ]"
is "clients that go away are noticed while the operation runs" \
    "$(grep -c 'peer closed connection while its key operation' "$NGX/error.log")" 20
release
load "$https" clients=4 count=4
is "the worker is healthy" "$load_failed $load_done" "0 4"
for i in $(seq 11); do
    curl -sS -m 1.3 "http://127.0.0.1:$front/" >/dev/null 2>&1 & pids[i]=$!
done
for i in $(seq 11); do wait "${pids[i]}"; done
is "requests ended in the upstream's suspended handshake: the worker is healthy" \
    "$(curl -sS "http://127.0.0.1:$front/")" CN=client
no_trouble "peers that go away"

# --- deadlines ------------------------------------------------------------------------------------------
begin 300 'kyok_timeout 300ms;'
together $for_good
load "$https" tls=1.3
is "an operation beyond its deadline: the client gets an alert" "$load_failed $load_alerts" "1 1"
is "at the deadline, while it still runs" "$(paused)" 1
is "and the worker answers" "$(curl -sS -m 60 "http://127.0.0.1:$plain/")" hello

# --- reload, quit, kill -----------------------------------------------------------------------------------
nginx_workers=2
begin 20
load_begin clients=24 seconds=600
reloads=0
for i in 1 2 3 4 5; do sleep 0.5; nginx_reload && reloads=$((reloads + 1)); done
kill -USR1 $busy
wait $busy
is "five reloads" $reloads 5
like "five reloads under load: no handshake fails" "$(cat "$SANDBOX/load")" 'done=[1-9][0-9]* failed=0 '
no_trouble "reloads"
nginx_workers=1

# A master upgrades only when it is a daemon.
begin 20
nginx_stop TERM
nginx_run
wait_for 60 nginx_has_workers
MASTER=$(cat "$NGX/nginx.pid")
lib_started+=("$MASTER")
load_begin clients=16 seconds=600
sleep 0.5
nginx_signal USR2
ok "a binary upgrade starts a second master" wait_for 60 eval "[ -s '$NGX/nginx.pid.oldbin' ] && [ -s '$NGX/nginx.pid' ] && nginx_has_workers"
nginx_signal QUIT
ok "the first one quits" wait_for 60 nginx_gone
sleep 0.5
kill -USR1 $busy
wait $busy
like "no handshake fails meanwhile" "$(cat "$SANDBOX/load")" 'done=[1-9][0-9]* failed=0 '
MASTER=$(cat "$NGX/nginx.pid")
lib_started+=("$MASTER")
no_trouble "binary upgrade"

quitting() { ps -o cmd= --ppid "$MASTER" | grep -q 'shutting down'; }
begin 0
together $for_good
load_begin clients=8 count=8 timeout=120
ok "eight handshakes are in flight" wait_for 50 paused_reach 8
nginx_signal QUIT
ok "a worker is told to quit" wait_for 50 quitting
release
wait $busy
like "handshakes in flight when the worker is told to quit complete" "$(cat "$SANDBOX/load")" 'done=8 failed=0 '
ok "and then it quits" wait_for 60 nginx_gone
no_trouble "quit"
MASTER=

begin 0 'worker_shutdown_timeout 500ms;'
together $for_good
load_begin clients=8 count=8 timeout=120
ok "eight handshakes are in flight again" wait_for 50 paused_reach 8
nginx_signal QUIT
ok "worker_shutdown_timeout ends handshakes in flight" wait_for 40 nginx_gone
is "whose signatures have not come" "$(paused)" 8
wait $busy
is "with no signal" "$(grep 'exited on signal' "$NGX/error.log")" ""
MASTER=

begin 300
"$SUPPORT/tls_load_tool" "$https" clients=8 count=64 >"$SANDBOX/load" &
busy=$!
sleep 1
kill -KILL "$(nginx_worker)"
wait $busy
load "$https" clients=8 count=8
is "a killed worker is replaced" "$load_failed $load_done" "0 8"

# --- limits ---------------------------------------------------------------------------------------------
nginx_connections=24
begin 200
load "$https" clients=64 count=128 timeout=5
at_least "worker_connections exhausted: what is accepted succeeds" "$load_done" 1
wait_for 60 eval "load '$https' clients=4 count=4; [ \$load_done = 4 ]"
load "$https" clients=4 count=4
is "and afterwards all" "$load_failed $load_done" "0 4"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
nginx_connections=4096

begin 0 'kyok_max_inflight 4; kyok_threads 2;'
together $for_good
load_begin clients=16 count=16 timeout=120
ok "kyok_max_inflight refuses what is beyond" wait_for 50 metric_reaches "$plain" kyok_refused_total 12
release
wait $busy
like "and serves the rest" "$(cat "$SANDBOX/load")" 'done=4 failed=12 .*alerts=12 '

begin 20 'kyok off;'
load "$https" clients=16 count=32
is "kyok off: handshakes block, and succeed" "$load_failed $load_done" "0 32"
at_least "kyok off: one after the other, ms" "$(perl -e "print 1000 * 32 / ($load_rate || 1)")" 600

# --- wrong directives -----------------------------------------------------------------------------------
wrong() { # NAME DIRECTIVE REGEX
    nginx_conf "$2" "server { listen 127.0.0.1:$plain; }"
    refused "$1" any "$3" nginx_run -t
}
wrong "kyok takes on or off" 'kyok maybe;' 'invalid value "maybe" in "kyok" directive.*nginx.conf:[0-9]+'
wrong "kyok twice" 'kyok on; kyok off;' '"kyok" directive is duplicate in .*nginx.conf:[0-9]+'
wrong "kyok_timeout takes a time" 'kyok_timeout soon;' 'directive invalid value in .*nginx.conf:[0-9]+'
wrong "kyok_threads has bounds" 'kyok_threads 0;' 'value must be .* in .*nginx.conf:[0-9]+'
wrong "kyok_max_inflight takes a number" 'kyok_max_inflight -1;' 'invalid number in .*nginx.conf:[0-9]+'
wrong "and none that is cut" 'kyok_max_inflight 4294967297;' 'value must be .* in .*nginx.conf:[0-9]+'
wrong "kyok_timeout has a bound" 'kyok_timeout 50d;' 'directive value must be .* in .*nginx.conf:[0-9]+'
nginx_conf "" "kyok on; server { listen 127.0.0.1:$plain; }"
refused "kyok belongs to the main level" any '"kyok" directive is not allowed here in .*nginx.conf:[0-9]+' nginx_run -t

nginx_stop
done_testing
