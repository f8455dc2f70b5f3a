# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# nginx in a prefix of its own, after lib.sh. The module is loaded unless nginx_module is empty.
#
#   nginx_conf MAIN HTTP [TAIL]   writes $NGX/nginx.conf: MAIN at main level, HTTP in http {}, TAIL behind
#   nginx_start                   $MASTER is the master; fails when it does not come up
#   nginx_stop [SIGNAL]           QUIT by default

NGX=$SANDBOX/nginx
nginx_module=$BUILD/nginx-module/ngx_kyok_module.so
nginx_modules=/usr/lib/nginx/modules
nginx_level=info
nginx_workers=1
nginx_connections=4096
nginx_preload=
# A sanitized module needs its runtime first in a program that is built without.
if nm -D "$nginx_module" 2>/dev/null | grep -q __asan_init; then
    nginx_preload=$(${CC:-gcc} -print-file-name=libasan.so)
    export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0:detect_odr_violation=0
fi
MASTER=

nginx_need() {
    need nginx openssl curl
    [ -e "$nginx_module" ] || skip_all "the nginx module is not built (nginx headers: Debian's nginx-dev)"
    # Another account's temporary files need the way to them.
    mkdir -p "$NGX" && chmod 755 "$NGX"
}

nginx_conf() {
    {
        [ -z "$nginx_module" ] || echo "load_module $nginx_module;"
        [ "$(id -u)" -ne 0 ] || echo 'user nobody nogroup;'
        printf '%s\n' "worker_processes $nginx_workers;" "pid $NGX/nginx.pid;" \
            "error_log $NGX/error.log $nginx_level;" 'env KYOK_PAUSE_MS; env KYOK_PAUSE_FILE; env ASAN_OPTIONS; env LD_PRELOAD;' "$1" \
            "events { worker_connections $nginx_connections; }" 'http {' \
            "access_log ${nginx_access_log:-off};" \
            'ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;' \
            "client_body_temp_path $NGX/body; proxy_temp_path $NGX/proxy;" \
            "fastcgi_temp_path $NGX/fastcgi; uwsgi_temp_path $NGX/uwsgi; scgi_temp_path $NGX/scgi;" \
            "$2" '}' "${3:-}"
    } >"$NGX/nginx.conf"
}

nginx_run() { LD_PRELOAD=$nginx_preload "$(command -v nginx)" -p "$NGX" -e "$NGX/error.log" -c "$NGX/nginx.conf" "$@"; }

nginx_start() {
    if [ -n "$nginx_preload" ]; then
        background env LD_PRELOAD="$nginx_preload" nginx -p "$NGX" -e "$NGX/error.log" \
            -c "$NGX/nginx.conf" -g 'daemon off;'
    else
        background nginx -p "$NGX" -e "$NGX/error.log" -c "$NGX/nginx.conf" -g 'daemon off;'
    fi
    MASTER=$PID
    if ! wait_for 60 nginx_has_workers; then
        diag "nginx did not start" "$(cat "$LOG" "$NGX/error.log" 2>/dev/null | tail -20)"
        return 1
    fi
}

nginx_children() { pgrep -P "$(cat "$NGX/nginx.pid")" 2>/dev/null; }
nginx_has_workers() { [ -s "$NGX/nginx.pid" ] && [ "$(nginx_children | wc -l)" -ge "$nginx_workers" ]; }
nginx_worker() { nginx_children | head -1; }
nginx_gone() { ! kill -0 "$MASTER" 2>/dev/null; }

nginx_signal() { kill "-$1" "$MASTER"; }

nginx_stop() {
    [ -n "$MASTER" ] || return 0
    nginx_signal "${1:-QUIT}"
    wait_for 60 nginx_gone || stop "$MASTER" KILL
    wait "$MASTER" 2>/dev/null
    MASTER=
}

# After a reload: the old workers are gone and new ones are there. SoftHSM hides its token for the moment in which
# another process logs in: a reload that is refused for that is asked for again.
nginx_reload() { # [SECONDS]
    local old hidden end=$((SECONDS + ${1:-60}))
    old=$(nginx_children | sort | tr '\n' ' ')
    while [ $SECONDS -lt $end ]; do
        hidden=$(nginx_hidden)
        nginx_signal HUP
        # shellcheck disable=SC2086
        wait_for $((end - SECONDS)) eval "nginx_none_of $old || [ \$(nginx_hidden) -gt $hidden ]"
        # shellcheck disable=SC2086
        ! nginx_none_of $old || return 0
    done
    return 1
}
nginx_hidden() { grep -c '\[emerg\].*cannot load certificate key.*no token of the group is present' "$NGX/error.log"; }
nginx_none_of() {
    local pid
    for pid in "$@"; do ! kill -0 "$pid" 2>/dev/null || return 1; done
    nginx_has_workers
}

# nginx_kill PID...: kills workers at "one" while none of them logs in. SoftHSM empties its token's file there and writes
# it anew: a process that dies in between takes the token with it. They are stopped before, since the first that dies
# leaves its turn at self-tests to the next, which would then log in.
nginx_kill() {
    local i
    for ((i = 0; i < 200; i++)); do
        kill -STOP "$@" 2>/dev/null
        wait_for 30 nginx_halted "$@"
        [ -e "$SANDBOX/one.so.control" ] && [ "$(faulty one inside C_Login)" -ne 0 ] || break
        kill -CONT "$@" 2>/dev/null
        sleep 0.05
    done
    kill -KILL "$@" 2>/dev/null
}
nginx_halted() { # PID...: every thread is stopped
    local pid
    for pid in "$@"; do ! cat "/proc/$pid"/task/*/status 2>/dev/null | grep '^State:' | grep -qv 'T (stopped)' || return 1; done
}

# What no run may leave in the log.
nginx_bad_lines() {
    grep -E '\[(crit|alert|emerg)\]|exited on signal|exited with code [1-9]' "$NGX/error.log"
    cat "$SANDBOX"/nginx.*.log "$SANDBOX"/env.*.log 2>/dev/null | grep -E 'AddressSanitizer|runtime error|ThreadSanitizer'
}

# load PORT [name=value...]: the load tool's line in $LOAD, its fields as $load_done and so on.
load() {
    LOAD=$("$SUPPORT/tls_load_tool" "$@")
    local field
    for field in ${LOAD%% first=*}; do printf -v "load_${field%%=*}" '%s' "${field#*=}"; done
}

# nginx_key NAME [TYPE]: a software key (ec or rsa) $SANDBOX/NAME.key, its certificate NAME.pem of ca_new's CA.
nginx_key() {
    local options=(-algorithm EC -pkeyopt ec_paramgen_curve:P-256)
    [ "${2:-ec}" = ec ] || options=(-algorithm RSA -pkeyopt rsa_keygen_bits:2048)
    openssl genpkey "${options[@]}" -out "$SANDBOX/$1.key" 2>/dev/null &&
        openssl req -new -key "$SANDBOX/$1.key" -subj "/CN=$1" -out "$SANDBOX/$1.csr" 2>/dev/null &&
        ca_sign "$SANDBOX/$1.csr" "$SANDBOX/$1.pem"
}

# nginx_token NAME...: such keys (NAME rsa... is an RSA key) in a SoftHSM token "web" behind the faulty module
# "one": references $SANDBOX/NAME.ref, the group in $SANDBOX/kyok.conf with $NGINX_GROUP's lines.
NGINX_GROUP=('timeout = 20s')
nginx_token() {
    local name id=1
    softhsm_new hsm && softhsm_token hsm web && ca_new || return 1
    for name in "$@"; do
        nginx_key "$name" "$(case $name in rsa*) echo rsa ;; *) echo ec ;; esac)" &&
            token_import hsm web "$name" "$(printf %02x $id)" "$SANDBOX/$name.key" || return 1
        pem_reference "pkcs11:token=web;object=$name;type=private" "$SANDBOX/$name.ref"
        chmod 644 "$SANDBOX/$name.ref" "$SANDBOX/$name.pem"
        id=$((id + 1))
    done
    faulty_new one hsm || return 1
    # Workers have given up root and must reach the token, but not the PIN.
    [ "$(id -u)" -ne 0 ] || chown -R nobody "$SANDBOX/hsm"
    printf '%s\n' '[token web]' "module = $SANDBOX/one.so" 'uri = pkcs11:token=web' "pin-source = file:$(pin_file)" \
        "${NGINX_GROUP[@]}" >"$SANDBOX/kyok.conf"
}

# metric PORT NAME: a figure of the kyok_status at /kyok there.
metric() { curl -sS -m 60 "http://127.0.0.1:$1/kyok" | awk -v name="$2" '$1 == name { print $2 }'; }
metric_reaches() { [ "$(metric "$1" "$2")" -ge "$3" ]; } # PORT NAME NUMBER
