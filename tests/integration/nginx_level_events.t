#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The module under a level-triggered event method, as poll and select are: a suspended connection whose peer has sent
# more, or has gone, must not spin, and goes on afterwards. The distribution's nginx has epoll alone, so the test
# brings a method of its own (tests/support/level_event).
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need gcc
nginx_level=${KYOK_NGINX_LOG:-info}
source=${NGINX_SRC:-/usr/share/nginx/src}/src
objects=$BUILD/obj/nginx-module
[ -e "$objects/ngx_auto_config.h" ] || skip_all "the nginx module is not built (nginx headers: Debian's nginx-dev)"
sanitize=()
[ -z "$nginx_preload" ] || sanitize=(-fsanitize=address)
must "the event method builds" gcc -O1 -g -fPIC -shared "${sanitize[@]}" -I"$source/core" -I"$source/event" \
    -I"$source/event/modules" -I"$source/event/quic" -I"$source/os/unix" -I"$objects" -DNGX_HAVE_DYNAMIC -o "$SANDBOX/level.so" \
    "$TESTS/support/level_event/ngx_level_event_module.c"
NGINX_GROUP=('timeout = 120s')
must "a token with two keys" nginx_token server client
https=$(free_port) front=$(free_port) plain=$(free_port)
nginx_connections='256; use level'
nginx_conf "load_module $SANDBOX/level.so; kyok_config $SANDBOX/kyok.conf;" "
    server { listen 127.0.0.1:$https ssl http2; ssl_certificate $SANDBOX/server.pem; ssl_certificate_key $SANDBOX/server.ref;
        ssl_client_certificate $SANDBOX/ca.pem; ssl_verify_client optional; location / { return 200 \"\$ssl_client_s_dn\\n\"; } }
    server { listen 127.0.0.1:$front; location / { proxy_pass https://127.0.0.1:$https; proxy_ssl_session_reuse off;
        proxy_ssl_certificate $SANDBOX/client.pem; proxy_ssl_certificate_key $SANDBOX/client.ref; } }
    server { listen 127.0.0.1:$plain; location / { return 200 \"hello\\n\"; } location = /kyok { kyok_status; } }"
must "nginx starts" nginx_start
like "with that method" "$(cat "$NGX/error.log")" 'using the "level" event method'
ok "the worker has tried its keys" wait_for 60 metric_reaches "$plain" 'kyok_keys{state="good"}' 2
hanging() { [ "$(faulty one hanging)" -ge "$1" ]; }
for tls in 1.2 1.3; do
    faulty one hang C_Sign
    "$SUPPORT/tls_load_tool" "$https" clients=16 count=64 tls=$tls timeout=120 >"$SANDBOX/load" & busy=$!
    ok "TLS $tls: signatures of one worker are at the HSM at once" wait_for 60 hanging 16
    faulty one release
    wait $busy
    like "TLS $tls: every handshake succeeds" "$(cat "$SANDBOX/load")" 'done=64 failed=0 '
done
is "a client certificate upstream" "$(curl -sS -m 60 "http://127.0.0.1:$front/")" CN=client

# Clients that have gone stay readable: the worker must not ask again and again.
cpu() { awk '{ print $14 + $15 }' "/proc/$(nginx_worker)/stat"; }
faulty one hang C_Sign
"$SUPPORT/tls_load_tool" "$https" clients=8 count=8 abort_ms=500 >/dev/null 2>&1
ok "signatures of clients that have gone hang" wait_for 60 hanging 8
before=$(cpu)
sleep 2
at_most "the worker does not spin, clock ticks in 2 s" $(($(cpu) - before)) 60
is "and answers" "$(curl -sS -m 60 "http://127.0.0.1:$plain/")" hello
faulty one release
faulty one delay C_Sign 0ms
load "$https" clients=8 count=32
is "afterwards all is well" "$load_failed $load_done" "0 32"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
nginx_stop
done_testing
