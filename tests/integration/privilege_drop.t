#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# nginx loads as root and its worker is www-data: with a token that the worker can read everything works,
# the PIN file staying root's; with one that it cannot, the log says what is wrong.
. "$(dirname "$0")/../support/lib.sh"
need nginx curl softhsm2-util "$MODULES/kyok.so"
[ "$(id -u)" = 0 ] || skip_all 'needs root: privileges to drop'
id www-data >/dev/null 2>&1 || skip_all 'needs root: the user www-data'
must 'an HSM' hsm_new ec
ca_new
reference ec
must 'certificate' certificate ec
port=$(free_port)
nginx_server "$port" ec
chown -R www-data "$SANDBOX/soft"
must 'nginx starts, user www-data' nginx_start 'user www-data;'
for n in 1 2 3; do like "handshake $n" "$(tls_get "$port" 2>&1)" '^served with ec'; done
is 'the worker is www-data' "$(ps -o user= --ppid "$NGINX_PID" | head -1 | tr -d ' ')" www-data
faulty hsm restart
like 'the HSM restarts: the worker logs in again with the PIN handed down' "$(tls_get "$port" 2>&1)" '^served with ec'
kill -HUP "$NGINX_PID"
sleep 1
like 'after a reload' "$(tls_get "$port" 2>&1)" '^served with ec'
stop "$NGINX_PID"

: >"$SANDBOX/nginx-error.log"
chown -R root "$SANDBOX/soft"
chmod 700 "$SANDBOX/soft"
ok 'the token is root'\''s alone: nginx starts' nginx_start 'user www-data;'
unlike 'a handshake fails' "$(tls_get "$port" 2>&1)" '^served'
log=$(cat "$SANDBOX/nginx-error.log")
like 'the log names the token, not a handshake mystery' "$log" 'test'
like 'and what to do' "$log" 'www-data|user|permission|readable|may not|privilege'
diag "$(grep -m1 'SSL_do_handshake' "$SANDBOX/nginx-error.log")"
done_testing
