#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many handshakes with keys in a token: over several workers and reloads none fails, and none leaves
# memory behind; beside Lua, HTTP/2, stream preread and a PCRE map. KYOK_LONG: the whole 100,000.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
. "$TESTS/support/kmip.sh"
nginx_need
softhsm_need
mixed=2000 soak=4000 warm=2000
[ -z "${KYOK_LONG:-}" ] || mixed=10000 soak=100000 warm=10000

softhsm_new hsm && softhsm_token hsm web
ca_new
for type in ec rsa; do
    nginx_key $type $type
    token_import hsm web $type "$([ $type = ec ] && echo 01 || echo 02)" "$SANDBOX/$type.key"
done
faulty_new one hsm
[ "$(id -u)" -ne 0 ] || chown -R nobody "$SANDBOX/hsm"
kyok_conf '[token web]' "module = $SANDBOX/one.so" 'uri = pkcs11:token=web' "pin-source = file:$(pin_file)" 'timeout = 20'
for type in ec rsa; do
    ok "a reference to the $type key" "$KYOK" key reference "pkcs11:token=web;object=$type" -o "$SANDBOX/$type.ref"
done
unset KYOK_CONF
https=$(free_port) plain=$(free_port) streams=$(free_port)
both="ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key $SANDBOX/ec.ref;
    ssl_certificate $SANDBOX/rsa.pem; ssl_certificate_key $SANDBOX/rsa.ref;"
config="kyok_config $SANDBOX/kyok.conf;"
server="server { listen 127.0.0.1:$https ssl http2; listen 127.0.0.1:$plain; $both location / { return 200 ok; } }"

# --- 4 workers, 3 reloads, both types of key, both versions of TLS ------------------------------------
# At KMIP servers: SoftHSM loses sight of its token while another process logs in.
keys=() pids=()
for type in ec rsa; do
    [ $type = ec ] && made=ec-p256 || made=rsa-2048
    keys+=("key $type $made" "load $type $SANDBOX/$type.key")
done
kmip_server one "${keys[@]}" && first=$PORT
kmip_server two "${keys[@]}"
kmip_group edge alice "$first,$PORT" 'timeout = 20' >"$SANDBOX/kmip.conf"
chmod 711 "$CERTS"
chmod 644 "$CERTS"/ca.crt "$CERTS"/alice.crt
[ "$(id -u)" -ne 0 ] || chown nobody "$CERTS/alice.key"
edge=
for type in ec rsa; do
    KYOK_CONF=$SANDBOX/kmip.conf "$KYOK" key reference "kmip://edge/$type" -o "$SANDBOX/$type.edge"
    edge="$edge ssl_certificate $SANDBOX/$type.pem; ssl_certificate_key $SANDBOX/$type.edge;"
done
nginx_workers=4
nginx_conf "kyok_config $SANDBOX/kmip.conf;" "server { listen 127.0.0.1:$https ssl; listen 127.0.0.1:$plain; $edge
    location / { return 200 ok; } location = /kyok { kyok_status; } }"
nginx_start || exit 1
for tls in 1.2 1.3; do
    for sigalgs in ECDSA+SHA256 RSA-PSS+SHA256; do
        "$SUPPORT/tls_load_tool" "$https" clients=8 count=$((mixed / 4)) tls=$tls sigalgs=$sigalgs >"$SANDBOX/load.$tls.$sigalgs" &
        pids+=($!)
    done
done
for i in 1 2 3; do sleep 1; nginx_reload 60; done
wait "${pids[@]}"
is "$mixed connections over 4 workers and 3 reloads: none fails" \
    "$(cat "$SANDBOX"/load.* | perl -ne '/done=(\d+) failed=(\d+)/ and $d += $1, $f += $2; END { print "$d $f" }')" "$mixed 0"
sleep 1.5
is "the status counts those of all workers, also of ended ones" \
    "$(curl -sS "http://127.0.0.1:$plain/kyok" | awk '$1 == "kyok_full_handshakes_total" { print $2 }')" "$mixed"
is "nothing worse than an error in the log" "$(nginx_bad_lines)" ""
nginx_stop

# --- memory ---------------------------------------------------------------------------------------------
nginx_workers=1
: >"$NGX/error.log"
nginx_conf "$config" "$server"
nginx_start || exit 1
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$(nginx_worker)/status"; }
load "$https" clients=32 count=$warm
before=$(rss)
load "$https" clients=32 count=$soak
is "$soak handshakes" "$load_failed $load_done" "0 $soak"
after=$(rss)
diag "resident after warm-up $before KiB, after $soak handshakes $after KiB"
# Allocators keep some: 1 MiB, or 20 bytes a handshake.
at_most "resident size is flat, KiB more" $((after - before)) $((1024 + soak / 50))
nginx_stop

# --- beside other modules ---------------------------------------------------------------------------------
main='' tail=''
for module in ndk_http_module ngx_http_lua_module ngx_stream_module; do
    [ ! -e $nginx_modules/$module.so ] || main="$main load_module $nginx_modules/$module.so;"
done
lua=
[ ! -e $nginx_modules/ngx_http_lua_module.so ] || lua='location /lua {
    access_by_lua_block { ngx.sleep(0.01) } content_by_lua_block { ngx.say(string.rep("x", 3)) } }'
[ ! -e $nginx_modules/ngx_stream_module.so ] || tail="stream { map \$ssl_preread_server_name \$to { ~^local(host)\$ 127.0.0.1:$https; default 127.0.0.1:$plain; }
    server { listen 127.0.0.1:$streams; ssl_preread on; proxy_pass \$to; } }"
: >"$NGX/error.log"
nginx_conf "$config pcre_jit on; $main" "map \$request_uri \$mapped { ~^/(?<what>[a-z]+) \$what; default none; }
    server { listen 127.0.0.1:$https ssl http2; listen 127.0.0.1:$plain;
        ssl_certificate $SANDBOX/\$ssl_server_name.pem; ssl_certificate_key $SANDBOX/\$ssl_server_name.ref;
        location / { return 200 \"\$mapped\\n\"; } $lua }" "$tail"
ln -s "$SANDBOX/ec.pem" "$SANDBOX/localhost.pem"
ln -s "$SANDBOX/ec.ref" "$SANDBOX/localhost.ref"
chmod 644 "$SANDBOX/ec.ref"
nginx_start || exit 1
faulty one delay C_Sign 10ms
load "$https" clients=16 count=128
is "certificates by variable beside Lua" "$load_failed $load_done" "0 128"
is "a PCRE map" "$(without_provider curl -sS --cacert "$SANDBOX/ca.pem" --resolve "localhost:$https:127.0.0.1" "https://localhost:$https/word")" word
if [ -n "$lua" ]; then
    is "Lua over HTTP/2" "$(without_provider curl -sS --http2 --cacert "$SANDBOX/ca.pem" --resolve "localhost:$https:127.0.0.1" "https://localhost:$https/lua")" xxx
else skip "nginx's lua module is not installed"; fi
if [ -n "$tail" ]; then
    load "$streams" clients=8 count=32
    is "stream preread in front" "$load_failed $load_done" "0 32"
else skip "nginx's stream module is not installed"; fi
is "nothing worse than an error in the log" "$(nginx_bad_lines)" ""
nginx_stop
done_testing
