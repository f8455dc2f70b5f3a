#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# haproxy with and without ssl-mode-async: one thread has many operations in flight with it, one without.
. "$(dirname "$0")/../support/lib.sh"
need haproxy curl softhsm2-util pkcs11-tool "$MODULES/kyok.so"
must 'an HSM' hsm_new ec rsa ed
ca_new
for key in ec rsa ed; do
    reference $key
    must "$key: certificate" certificate $key
    cat "$SANDBOX/$key.pem" "$SANDBOX/$key.key" >"$SANDBOX/$key.both"
done

unprivileged=()
haproxy_start() {
    local key
    declare -gA port=()
    {
        printf '%s\n' global ' nbthread 1' ' maxconn 256' "$@" 'defaults' ' mode http' ' timeout connect 5s' \
            ' timeout client 20s' ' timeout server 20s'
        for key in ec rsa ed; do
            port[$key]=$(free_port)
            printf '%s\n' "frontend $key" " bind 127.0.0.1:${port[$key]} ssl crt $SANDBOX/$key.both no-tls-tickets" \
                " http-request return status 200 content-type text/plain string \"served with $key\""
        done
    } >"$SANDBOX/haproxy.cfg"
    background "${unprivileged[@]}" haproxy -db -f "$SANDBOX/haproxy.cfg"
    wait_for 10 port_answers "${port[ec]}" || { cat "$LOG" >&2; return 1; }
}
# Sixteen clients at once; prints how many were served and the milliseconds that it took.
crowd() {
    local begin i
    begin=$(now_ms)
    for i in $(seq 16); do tls_get "${port[$1]}" "${@:2}" >"$SANDBOX/answer.$i" 2>&1 & clients[i]=$!; done
    wait "${clients[@]}"
    echo "$(grep -l "^served with $1" "$SANDBOX"/answer.* | wc -l) $(($(now_ms) - begin))"
    rm -f "$SANDBOX"/answer.*
}

# haproxy forbids new processes, and so threads, to a user that is not root: "insecure-fork-wanted" allows them.
for mode in '' ssl-mode-async; do
    must "haproxy starts ${mode:-without it}" haproxy_start " ${mode:-# blocking}" ' insecure-fork-wanted'
    for key in ec rsa ed; do
        for version in 1.2 1.3; do
            like "$key: TLS $version" "$(tls_get "${port[$key]}" "--tlsv$version" --tls-max $version 2>&1)" "^served with $key"
        done
    done
    like 'RSA key exchange' "$(tls_get "${port[rsa]}" --tls-max 1.2 --ciphers AES128-GCM-SHA256 2>&1)" '^served with rsa'
    faulty hsm reset
    faulty hsm delay C_Sign 200ms
    for key in ec rsa; do
        read -r served ms <<<"$(crowd $key)"
        is "$key: 16 clients at once are served" "$served" 16
        diag "${mode:-blocking}: $ms ms"
    done
    if [ -n "$mode" ]; then
        at_least 'operations really paused: C_Sign in flight at once' "$(faulty hsm peak C_Sign)" 4
    else
        is 'without it one C_Sign is in flight' "$(faulty hsm peak C_Sign)" 1
    fi
    faulty hsm clear
    # Operations that end before haproxy could wait for them, among those that pause.
    all=0
    for _ in 1 2 3 4; do
        faulty hsm restart
        read -r served ms <<<"$(crowd ec)"
        all=$((all + served))
    done
    is 'restarts of a fast HSM under load: all are served' $all 64
    faulty hsm restart
    read -r served ms <<<"$(crowd ec)"
    is 'the HSM restarts: 16 of 16 are served' "$served" 16
    if [ -n "$mode" ]; then
        faulty hsm delay C_Sign 500ms
        for i in 1 2 3 4 5 6; do tls_get "${port[ec]}" --max-time 0.1 >/dev/null 2>&1; done
        sleep 1
        faulty hsm clear
        like 'clients gone while their operation was paused: haproxy is well' "$(tls_get "${port[ec]}" 2>&1)" '^served with ec'
    fi
    ok 'haproxy lives' kill -0 "$PID"
    stop "$PID"
done
# Without it there are no threads, and so no pause; but every handshake is served. (Root may have threads: another user.)
if [ "$(id -u)" = 0 ]; then
    # The build may lie where only root looks, and haproxy returns to where it was started.
    cd "$SANDBOX" || exit 1
    mkdir "$SANDBOX/ossl-modules" && cp "$MODULES/kyok.so" "$SANDBOX/ossl-modules/" && cp "$BUILD"/libkyok.so.? "$SANDBOX/"
    sed -i "s|$MODULES|$SANDBOX/ossl-modules|" "$OPENSSL_CONF"
    chown -R nobody "$SANDBOX"
    unprivileged=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
must 'haproxy starts that may have no threads' haproxy_start ' ssl-mode-async'
read -r served ms <<<"$(crowd ec)"
is '16 clients at once are served' "$served" 16
# Whatever a key may need is done on the job's stack of 32 KiB there: a search and what a copy of it takes, at a
# token that stops at the first attribute that it lacks.
stop "$PID"
sed -i 's/^uri/cache-keys = 60s\n&/' "$SANDBOX/kyok.conf"
must 'haproxy starts again' haproxy_start ' ssl-mode-async'
faulty hsm lie attribute-stops
for key in ec rsa ed; do
    faulty hsm restart
    read -r served ms <<<"$(crowd $key)"
    is "$key: found and copied on the stack of a job" "$served" 16
done
ok 'haproxy lives' kill -0 "$PID"
faulty hsm clear
stop "$PID"
ok 'no session is left in the token' wait_for 5 sh -c "[ \$('$SUPPORT/faulty_tool' '$SANDBOX/hsm.so.control' sessions) = 0 ]"
done_testing
