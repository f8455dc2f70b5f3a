#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The nginx module's manual page and example name what the module has, and nothing else; the example
# passes nginx -t.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
folder=$SOURCE/nginx-module
page=$folder/ngx_kyok_module.7
is "directives" "$(sed -n 's/^\.It Ic \(kyok[a-z_]*\) .*;$/\1/p' "$page" | sort)" \
    "$(grep -h -A1 'ngx_string("kyok' "$folder"/*.c | grep -B1 '_CONF|' | sed -n 's/.*ngx_string("\(.*\)"),$/\1/p' | sort)"
is "metrics" "$(grep -o 'kyok_[a-z_]*' <(sed -n '/^\.Sh FIGURES/,/^\.Sh KEYS/p' "$page") |
    grep -vE '^kyok_(status|max_inflight|config)$' | sort -u)" \
    "$(cat "$folder"/ngx_http_kyok_*.c | grep -oE 'ngx_string\("kyok_[a-z_]+"\)|# HELP kyok_[a-z_]+' |
        grep -oE 'kyok_[a-z_]+' | grep -vE '^kyok_(status|key_time)$' | sort -u)"
is "the default of kyok_threads" "$(sed -n '/^\.It Ic kyok_threads/,/^\.It/s/^Default: \([0-9]*\)\.$/\1/p' "$page")" \
    "$(sed -n 's/^#define KYOK_WORK_THREADS //p' "$SOURCE/common/work/work.h")"
if command -v man >/dev/null; then
    is "the page is without warnings" "$(man --warnings -l "$page" 2>&1 >/dev/null)" ""
else skip "man is not installed"; fi

nginx_need
need softhsm2-util
softhsm_new hsm && softhsm_token hsm web
ca_new
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$SANDBOX/ec.key" 2>/dev/null
openssl req -new -key "$SANDBOX/ec.key" -subj /CN=www.example.org -out "$SANDBOX/ec.csr" 2>/dev/null
ca_sign "$SANDBOX/ec.csr" "$SANDBOX/ec.pem"
token_import hsm web www 01 "$SANDBOX/ec.key"
faulty_new one hsm
kyok_conf '[token web]' "module = $SANDBOX/one.so" 'uri = pkcs11:token=web' "pin-source = file:$(pin_file)"
ok "the example's reference" "$KYOK" key reference 'pkcs11:token=web;object=www' -o "$SANDBOX/www.ref"
openssl rand -out "$SANDBOX/ticket.key" 80
sed -e "s|modules/ngx_kyok_module.so|$nginx_module|; s|/etc/kyok/kyok.conf|$KYOK_CONF|; s|/etc/nginx/www.pem|$SANDBOX/ec.pem|" \
    -e "s|/etc/nginx/www.ref|$SANDBOX/www.ref|; s|/etc/nginx/ticket-[a-z]*.key|$SANDBOX/ticket.key|" \
    -e "s|/var/log/nginx/|$NGX/|; s|^http {|pid $NGX/pid; http { client_body_temp_path $NGX/b; proxy_temp_path $NGX/p; fastcgi_temp_path $NGX/f; uwsgi_temp_path $NGX/u; scgi_temp_path $NGX/s;|; s|listen 443|listen 127.0.0.1:$(free_port)|" \
    -e "s|listen 127.0.0.1:8081|listen 127.0.0.1:$(free_port)|" "$folder/nginx.conf.example" >"$NGX/nginx.conf"
[ "$(id -u)" -eq 0 ] || sed -i '/^user /d' "$NGX/nginx.conf"
unset KYOK_CONF
ok "the example passes nginx -t" nginx_run -t
done_testing
