#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make demo`: a web server whose private key no file holds. Everything lives in one temporary folder
# and on free ports, and is gone at the end. KEEP=1 leaves it running until `make demo-stop`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
BUILD=$(realpath -m "${BUILD:-$here/../build}")
state=$BUILD/demo
unset OPENSSL_CONF SOFTHSM2_CONF KYOK_CONF KYOK_DEBUG MAKEFLAGS
export LC_ALL=C

stop_all() {
    local dir pid
    [ -f "$state" ] || return 0
    { read -r dir; while read -r pid; do kill "$pid" 2>/dev/null; done; } <"$state"
    sleep 0.3
    case $dir in /*/kyok-demo.*) rm -rf "$dir" ;; esac
    rm -f "$state"
}
if [ "${1:-}" = stop ]; then
    [ -f "$state" ] || { echo 'kyok demo: nothing is running'; exit 0; }
    stop_all
    echo 'kyok demo: stopped, its folder is removed'
    exit 0
fi
[ ! -f "$state" ] || { echo "kyok demo: one is running already: make demo-stop" >&2; exit 1; }

# --- telling what happens ------------------------------------------------------------------------
bold='' plain=''
[ ! -t 1 ] || { bold=$(printf '\033[1m') plain=$(printf '\033[0m'); }
number=0
step() { number=$((number + 1)); printf '\n%s%d. %s%s\n' "$bold" $number "$1" "$plain"; shift; [ $# -eq 0 ] || printf '   %s\n' "$@"; }
short() { sed "s|$BUILD/kyok|kyok|g; s|$D/||g; s|$D|.|g"; }
# Shows a command and its output; show fails when it fails, show_failure when it does not.
run() {
    printf "   $ %s\n" "$*" | sed "s|^   . serve|   $ nginx|" | short
    output=$("$@" 2>&1)
    status=$?
    [ -z "$output" ] || printf '%s\n' "$output" | short | sed 's/^/     /'
    return $status
}
show() { run "$@" || die "the demo's command failed: $*"; }
show_failure() { ! run "$@" || die "this should have failed: $*"; }
die() { echo "kyok demo: $1" >&2; exit 1; }

D=$(mktemp -d "${TMPDIR:-/tmp}/kyok-demo.XXXXXX") || exit 1
chmod 711 "$D"
mkdir -p "$BUILD"
echo "$D" >"$state"
finish() {
    local code=$?
    trap - EXIT
    [ -n "${kept:-}" ] || stop_all
    exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
for program in "$BUILD/kyok" "$BUILD/ossl-modules/kyok.so"; do
    [ -e "$program" ] || die "$program is not built: make"
done
free_port() { perl -MIO::Socket::INET -e 'for (1..200) { my $p = 20000 + int rand 12000; if (IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:$p")) { print $p; exit } }'; }
port=$(free_port)
module=$(ls /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so 2>/dev/null | head -1)
[ -n "$module" ] || die 'SoftHSM is not installed'
cd "$D" || exit 1

# --- the HSM -------------------------------------------------------------------------------------
step 'An HSM' 'SoftHSM stands for it here; with a real one only the path of its PKCS#11 module differs.'
mkdir -m 700 tokens
printf '%s\n' "directories.tokendir = $D/tokens" 'objectstore.backend = file' 'log.level = ERROR' \
    'library.reset_on_fork = true' >softhsm2.conf
export SOFTHSM2_CONF=$D/softhsm2.conf
show softhsm2-util --init-token --free --label hsm --pin 271828 --so-pin 314159
(umask 077 && echo 271828 >pin)

step 'kyok.conf names it' 'require: a key that could ever leave the HSM is refused.'
cat >kyok.conf <<END
[token hsm]
module = $module
uri = pkcs11:token=hsm
pin-source = file:$D/pin
require = never-extractable

[key web]
uri = pkcs11:token=hsm;object=web
END
sed 's/^/     /' kyok.conf | short
export KYOK_CONF=$D/kyok.conf
cat >openssl.cnf <<END
openssl_conf = init
[init]
providers = providers
[providers]
default = default_section
kyok = kyok_section
[default_section]
activate = 1
[kyok_section]
module = $BUILD/ossl-modules/kyok.so
activate = 1
END

# --- key, reference, certificate -----------------------------------------------------------------
step 'A key is made in the HSM' 'Sensitive, never extractable: it has never been anywhere else.'
show "$BUILD/kyok" key generate web --type ec-p256
show "$BUILD/kyok" key list hsm

step 'A reference goes where programs want a private key file' 'It is a PEM file that holds the name of the key and nothing secret.'
show "$BUILD/kyok" key reference web -o web.key
show cat web.key

step 'Request and certificate, by the ordinary openssl command' \
    'Configuration (OPENSSL_CONF) loads kyok as a provider; the signature is made in the HSM.'
without_kyok() { env -u OPENSSL_CONF -u KYOK_CONF "$@"; }
without_kyok openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj '/CN=kyok demo CA' -keyout ca.key -out ca.pem 2>/dev/null || die 'no CA'
export OPENSSL_CONF=$D/openssl.cnf
show openssl req -new -key web.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -out web.csr
without_kyok openssl x509 -req -in web.csr -CA ca.pem -CAkey ca.key -days 1 -copy_extensions copy \
    -out web.pem 2>/dev/null || die 'no certificate'
rm -f ca.key
show openssl x509 -in web.pem -noout -subject -issuer

# --- nginx ---------------------------------------------------------------------------------------
step 'Stock nginx serves TLS with it' 'Nothing but the two ssl_certificate lines that everybody has.'
user=''
if [ "$(id -u)" = 0 ]; then
    # The worker drops its privileges: the token must be its own; the PIN stays root's.
    user='user www-data;'
    chown -R www-data tokens
    chgrp www-data softhsm2.conf kyok.conf
fi
cat >nginx.conf <<END
$user
env OPENSSL_CONF; env SOFTHSM2_CONF; env KYOK_CONF;
worker_processes 1;
pid $D/nginx.pid;
error_log $D/error.log;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path $D/t1; proxy_temp_path $D/t2; fastcgi_temp_path $D/t3;
    uwsgi_temp_path $D/t4; scgi_temp_path $D/t5;
    server {
        listen 127.0.0.1:$port ssl;
        server_name localhost;
        ssl_certificate     $D/web.pem;
        ssl_certificate_key $D/web.key;
        location / { return 200 "hello, from a key that no file holds\n"; }
    }
}
END
show grep ssl_certificate nginx.conf
serve() { nginx -e "$D/error.log" -c "$D/nginx.conf" -p "$D" "$@"; }
serve || { tail -5 error.log; die 'nginx does not start'; }
cat nginx.pid >>"$state"
visit() {
    env -u OPENSSL_CONF -u KYOK_CONF curl -sS --max-time 10 --cacert "$D/ca.pem" \
        --resolve "localhost:$port:127.0.0.1" "https://localhost:$port/"
}
printf '   $ curl --cacert ca.pem https://localhost:%s/\n' "$port"
answer=$(visit) || { tail -5 error.log; die 'curl does not get its page'; }
printf '     %s\n' "$answer"

step 'No file holds the key' 'Nothing here is a private key, and the HSM does not give it out.'
show_failure grep -rlE 'BEGIN ([A-Z]+ )?PRIVATE KEY' "$D"
printf '   $ openssl pkey -in web.key    # without kyok: as a thief of these files\n'
without_kyok openssl pkey -in web.key >/dev/null 2>&1 && die 'the reference is a key'
printf '     Could not read key from web.key\n'
show "$BUILD/kyok" key show web

step 'The same files without the HSM are worth nothing' 'A copy on another machine, or the HSM unplugged:'
mv tokens unplugged && mkdir tokens
kill "$(cat nginx.pid)"
sleep 0.3
show_failure serve -t
rmdir tokens && mv unplugged tokens
step 'The HSM is back' 'And so is the server, with the same files.'
serve || die 'nginx does not start again'
cat nginx.pid >>"$state"
printf '   $ curl --cacert ca.pem https://localhost:%s/\n' "$port"
answer=$(visit) || { tail -5 error.log; die 'curl does not get its page'; }
printf '     %s\n' "$answer"

# --- a KMIP server ---------------------------------------------------------------------------------
[ ! -x "$BUILD/tests/support/kmip_server_tool" ] || . "$here/kmip-server.sh"

# --- kyok's nginx module ---------------------------------------------------------------------------
ngx_module=$BUILD/nginx-module/ngx_kyok_module.so
# Sixteen visitors at once; prints the milliseconds until all are served.
crowd() {
    local begin now clients=() i served=0
    begin=$(date +%s%3N)
    for i in $(seq 16); do visit >"crowd.$i" 2>/dev/null & clients+=($!); done
    for i in "${clients[@]}"; do wait "$i" && served=$((served + 1)); done
    now=$(date +%s%3N)
    rm -f crowd.*
    printf '     %d of 16 visitors served after %d ms\n' $served $((now - begin))
}
restart_nginx() {
    kill "$(cat nginx.pid)"
    for _ in $(seq 50); do [ -e nginx.pid ] || break; sleep 0.1; done
    serve || { tail -5 error.log; die 'nginx does not start'; }
    cat nginx.pid >>"$state"
}
if [ -e "$ngx_module" ] && [ -e "$BUILD/tests/support/faulty_module.so" ]; then
    step 'A network HSM is slow: 200 ms for each signature, and one worker' \
        'Stock nginx waits for each signature, and so does everybody else on that worker:'
    cp "$BUILD/tests/support/faulty_module.so" hsm.so
    faulty() { "$BUILD/tests/support/faulty_tool" "$D/hsm.so.control" "$@"; }
    faulty create --module "$module" --environment "SOFTHSM2_CONF=$D/softhsm2.conf"
    sed -i "s|^module = .*|module = $D/hsm.so|" kyok.conf
    restart_nginx
    faulty delay C_Sign 200ms
    crowd
    faulty delay C_Sign 0ms
    step 'The same with kyok'\''s nginx module' \
        'Handshakes are suspended while the HSM works; the worker goes on. No env lines, no openssl.cnf:'
    sed -i "/^env /d; 1i load_module $ngx_module;\nkyok_config $D/kyok.conf;" nginx.conf
    show grep -E '^(load_module|kyok_config)' nginx.conf
    unset OPENSSL_CONF
    restart_nginx
    faulty delay C_Sign 200ms
    crowd
    faulty delay C_Sign 0ms
fi

if [ -n "${KEEP:-}" ]; then
    kept=1
    printf '\nLeft running in %s: make demo-stop ends it and removes everything.\n' "$D"
    printf '  export OPENSSL_CONF=%s/openssl.cnf KYOK_CONF=%s/kyok.conf SOFTHSM2_CONF=%s/softhsm2.conf\n' "$D" "$D" "$D"
else
    printf '\nDone: nothing of this is left on the machine. KEEP=1 make demo leaves it running.\n'
fi
