#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Client keys of nginx itself in a token: towards http, grpc and stream upstreams that ask for a certificate,
# suspended at the same time; upstream requests that end meanwhile; a key by variable; an HSM that hangs.
# The log is at debug level: no message of nginx's may trip over a fiber.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need
nginx_level=${KYOK_NGINX_LOG:-debug}
NGINX_GROUP=('timeout = 120s')
must "a token with a client's key" nginx_token client
nginx_key server
https=$(free_port) h2=$(free_port) http=$(free_port) grpc=$(free_port) streams=$(free_port) hasty=$(free_port) named=$(free_port) plain=$(free_port)

verify="ssl_certificate $SANDBOX/server.pem; ssl_certificate_key $SANDBOX/server.key;
    ssl_client_certificate $SANDBOX/ca.pem; ssl_verify_client on; location / { return 200 \"\$ssl_client_s_dn\\n\"; }"
client() { # DIRECTIVE-PREFIX [REFERENCE]
    echo "${1}_ssl_certificate $SANDBOX/client.pem; ${1}_ssl_certificate_key ${2:-$SANDBOX/client.ref}; ${1}_ssl_session_reuse off;"
}
main="kyok_config $SANDBOX/kyok.conf;" tail=''
if [ -e $nginx_modules/ngx_stream_module.so ]; then
    main="load_module $nginx_modules/ngx_stream_module.so; $main"
    tail="stream { server { listen 127.0.0.1:$streams; proxy_pass 127.0.0.1:$https; proxy_ssl on; $(client proxy) }
        server { listen 127.0.0.1:$hasty; proxy_pass 127.0.0.1:$https; proxy_ssl on; proxy_connect_timeout 4s; $(client proxy) } }"
fi
nginx_conf "$main" "server { listen 127.0.0.1:$https ssl; $verify }
    server { listen 127.0.0.1:$h2 ssl http2; $verify }
    server { listen 127.0.0.1:$http; location / { proxy_pass https://127.0.0.1:$https; $(client proxy) } }
    server { listen 127.0.0.1:$named; location / { proxy_pass https://127.0.0.1:$https; $(client proxy "$SANDBOX/\$arg_n.ref") } }
    server { listen 127.0.0.1:$grpc http2; location / { grpc_pass grpcs://127.0.0.1:$h2; $(client grpc) } }
    server { listen 127.0.0.1:$plain; location / { return 200 \"hello\\n\"; } location = /kyok { kyok_status; } }" "$tail"
must "nginx starts" nginx_start
ok "the worker has tried its key" wait_for 60 metric_reaches "$plain" 'kyok_keys{state="good"}' 1

ask() { # PORT [ARGUMENT...]: eight requests at once
    local i pids=() port=$1
    shift
    for i in 1 2 3 4 5 6 7 8; do
        curl -sS -m 120 "$@" "http://127.0.0.1:$port/?n=client" >"$SANDBOX/answer.$i" 2>&1 & pids+=($!)
    done
    wait "${pids[@]}"
    sort "$SANDBOX"/answer.* | uniq -c | tr -s ' '
}
hanging() { [ "$(faulty one hanging)" -ge "$1" ]; }
together() { # NAME PORT [ARGUMENT...]: the HSM answers once it has all eight
    local busy
    faulty one reset
    faulty one hang C_Sign
    ask "${@:2}" >"$SANDBOX/answers" &
    busy=$!
    ok "$1: eight signatures of one worker are at the HSM at once" wait_for 100 hanging 8
    faulty one release
    wait $busy
    is "$1: eight requests" "$(cat "$SANDBOX/answers")" ' 8 CN=client'
    is "$1: one for each request" "$(faulty one count C_Sign | awk '{ print $NF }')" 8
}
together "http" "$http"
together "http, key by variable" "$named"
together "grpc" "$grpc" --http2-prior-knowledge
if [ -n "$tail" ]; then
    together "stream" "$streams"
else skip "nginx's stream module is not installed" 3; fi

# --- a key by variable is found once --------------------------------------------------------------
# It is kept for a minute: that may have passed.
unlooked() {
    ask "$named" >"$SANDBOX/answers"
    faulty one reset
    [ "$(ask "$named")" = ' 8 CN=client' ] && [ "$(faulty one count finds)" -eq 0 ]
}
ok "a key by variable that is known is not looked for again" wait_for 30 unlooked

# --- upstream connections that end while their signature is in flight ----------------------------------
# The stream proxy does not look at its client before it is connected: there its timeout ends the handshake.
for way in http stream; do
    port=$http
    [ $way = http ] || port=$hasty
    if [ $way = stream ] && [ -z "$tail" ]; then skip "nginx's stream module is not installed" 4; continue; fi
    before=$(metric "$plain" kyok_cancellations_total)
    faulty one hang C_Sign
    pids=()
    for i in 1 2 3 4 5; do curl -sS "http://127.0.0.1:$port/" >/dev/null 2>&1 & pids+=($!); done
    ok "$way: five signatures hang" wait_for 60 hanging 5
    [ $way = stream ] || kill "${pids[@]}"
    wait "${pids[@]}" 2>/dev/null
    ok "$way: its end cancels the operation" wait_for 60 metric_reaches "$plain" kyok_cancellations_total $((before + 5))
    is "$way: the worker answers" "$(curl -sS -m 60 "http://127.0.0.1:$plain/")" hello
    faulty one release
    is "$way: and signs again" "$(ask "$port")" ' 8 CN=client'
done

# --- a key that is opened outside any fiber, at an HSM that hangs ---------------------------------------
# nginx opens a client key by variable before it connects: the worker waits for it, but not beyond the deadline.
nginx_stop
sed -i 's/^timeout = .*/timeout = 2s/' "$SANDBOX/kyok.conf"
must "nginx starts again" nginx_start
ok "the worker has tried its key again" wait_for 60 metric_reaches "$plain" 'kyok_keys{state="good"}' 1
faulty one hang finds
curl -sS -m 120 "http://127.0.0.1:$named/?n=client" >"$SANDBOX/answer.1" 2>&1 &
busy=$!
ok "a client key by variable is looked for, and hangs" wait_for 60 hanging 1
is "the worker answers when its deadline has passed" "$(curl -sS -m 120 "http://127.0.0.1:$plain/")" hello
wait $busy
like "and the request has failed" "$(cat "$SANDBOX/answer.1")" '50[0-9]'
faulty one release
ok "it goes on when the HSM does" wait_for 60 eval "[ \"\$(ask $named)\" = ' 8 CN=client' ]"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
nginx_stop
is "no session is left" "$(faulty one sessions)" 0
done_testing
