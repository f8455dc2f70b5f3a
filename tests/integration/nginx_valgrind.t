#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A worker under valgrind: suspended handshakes of both sides, clients and upstream requests that go away
# meanwhile. Stacks of fibers are announced to valgrind, so that it has nothing to say.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need valgrind
[ -z "$nginx_preload" ] || skip_all "the module is built with a sanitizer"
softhsm_new hsm && softhsm_token hsm web
ca_new
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$SANDBOX/ec.key" 2>/dev/null
openssl req -new -key "$SANDBOX/ec.key" -subj /CN=localhost -out "$SANDBOX/ec.csr" 2>/dev/null
ca_sign "$SANDBOX/ec.csr" "$SANDBOX/ec.pem"
token_import hsm web ec 01 "$SANDBOX/ec.key"
faulty_new one hsm
[ "$(id -u)" -ne 0 ] || chown -R nobody "$SANDBOX/hsm"
kyok_conf '[token web]' "module = $SANDBOX/one.so" 'uri = pkcs11:token=web' "pin-source = file:$(pin_file)" 'timeout = 20'
"$KYOK" key reference "pkcs11:token=web;object=ec" -o "$SANDBOX/ec.ref"
https=$(free_port) front=$(free_port)
unset KYOK_CONF
nginx_conf "kyok_config $SANDBOX/kyok.conf;" "server { listen 127.0.0.1:$https ssl http2; ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key $SANDBOX/ec.ref; ssl_client_certificate $SANDBOX/ca.pem; ssl_verify_client optional; location / { return 200 \$ssl_client_s_dn; } }
server { listen 127.0.0.1:$front; location / { proxy_pass https://127.0.0.1:$https; proxy_ssl_certificate $SANDBOX/ec.pem; proxy_ssl_certificate_key $SANDBOX/ec.ref; proxy_ssl_session_reuse off; } }"

background valgrind --trace-children=yes --log-file="$SANDBOX/valgrind.%p" nginx -p "$NGX" -e "$NGX/error.log" \
    -c "$NGX/nginx.conf" -g 'daemon off;'
MASTER=$PID
wait_for 60 nginx_has_workers
wait_for 60 eval "load '$https' clients=1 count=1 timeout=60; [ \$load_failed = 0 ]"
worker=$(nginx_worker)
faulty one delay C_Sign 200ms
load "$https" clients=8 count=24 timeout=60
is "handshakes" "$load_failed $load_done" "0 24"
is "with a client certificate upstream" "$(curl -sS -m 60 "http://127.0.0.1:$front/")" CN=localhost
faulty one delay C_Sign 2s
load "$https" clients=4 count=4 abort_ms=500
curl -sS -m 1 "http://127.0.0.1:$front/" >/dev/null 2>&1
sleep 3
faulty one delay C_Sign 0ms
load "$https" clients=4 count=8 timeout=60
is "after clients that went away" "$load_failed $load_done" "0 8"
nginx_stop
like "valgrind finds no error" "$(cat "$SANDBOX/valgrind.$worker")" 'ERROR SUMMARY: 0 errors'
done_testing
