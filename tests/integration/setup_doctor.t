#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok setup with a KMIP server; what doctor finds in nginx's configuration, and of the clock.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
softhsm_need openssl
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm web
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
kmip_server bank 'key disks aes-256 alice' 'key www ec-p256 alice' || skip_all "the scripted KMIP server does not start"
kmip_certs
conf=$SANDBOX/etc/kyok.conf
kmip=(--kmip bank --server "kmips://127.0.0.1:$PORT" --ca certs/ca.crt --certificate certs/alice.crt --key certs/alice.key)

# --- setup -----------------------------------------------------------------------------------------
for missing in --server --ca --certificate --key; do
    some=()
    for ((i = 0; i < ${#kmip[@]}; i += 2)); do
        [ "${kmip[i]}" = $missing ] || some+=("${kmip[i]}" "${kmip[i + 1]}")
    done
    refused "--kmip without $missing" 2 'needs --server, --ca, --certificate and --key' \
        "$KYOK" setup --config "$conf" "${some[@]}"
done
refused '--ca without --kmip' 2 'name its group with --kmip' "$KYOK" setup --config "$conf" --ca certs/ca.crt
refused 'a file that is not there' 1 'ENOENT' "$KYOK" setup --config "$conf" "${kmip[@]:0:4}" --ca nowhere.crt "${kmip[@]:6}"
refused 'a name with a line break' 2 'name of a group' "$KYOK" setup --config "$conf" --kmip $'a]\nrelease = yes\n[b' "${kmip[@]:2}"
refused 'a server with a line break' 2 'line break' "$KYOK" setup --config "$conf" --kmip bank \
    --server $'kmips://127.0.0.1:1\nrelease = yes' "${kmip[@]:4}"
refused 'a server that is no URL' 2 'kmips://' "$KYOK" setup --config "$conf" --kmip bank --server 127.0.0.1 "${kmip[@]:4}"
ok 'after all of which nothing is written' test ! -e "$conf"
dry=$("$KYOK" setup --config "$conf" "${kmip[@]}" --dry-run)
like 'a dry run shows the section' "$(tr '\n' ' ' <<<"$dry")" "\[kmip bank\] server = kmips://127.0.0.1:$PORT ca = $SANDBOX/certs/ca.crt"
like 'and that nothing was tried' "$dry" 'not tried'
like 'and the lines for libvirt' "$dry" 'kmip://bank\?name=disks'
like 'and for nginx' "$dry" "key reference 'kmip://bank\?name=www'"
ok 'and writes nothing' test ! -e "$conf"
tried=$("$KYOK" setup --config "$conf" "${kmip[@]}" --test)
like 'tried: the server answers' "$tried" 'kmips://127.0.0.1:[0-9]+  answers'
like 'and can sign' "$tried" 'yes  signing'
like 'and holds keys for envelopes' "$tried" 'yes  envelopes under a key that stays'
like 'what was written works' "$("$KYOK" key list --config "$conf")" 'kmip://bank/disks'
like 'the same in JSON' "$("$KYOK" setup --config "$conf" "${kmip[@]}" --test --json | tr -d ' \n')" \
    '"kmip":"bank","servers":\[\{"server":"kmips://127.0.0.1:[0-9]+","answers":true'
ok 'with a token beside it' "$KYOK" setup --config "$conf" "${kmip[@]}" --module "$(softhsm_module)" --pin-source "file:$(pin_file)"
is 'both are there' "$(grep -c '^\[token web\]\|^\[kmip bank\]' "$conf")" 2
refused 'a server that does not answer, tried' 3 'ECONNREFUSED' "$KYOK" setup --config "$SANDBOX/other.conf" --kmip bank \
    --server "kmips://127.0.0.1:$(free_port)" "${kmip[@]:4}" --test
ok 'then nothing is written' test ! -e other.conf
ok 'it is taken back' "$KYOK" setup --undo --config "$conf"
ok 'whole' test ! -e "$conf"

# --- nginx, as doctor sees it ------------------------------------------------------------------------
ok 'configured again' "$KYOK" setup --config "$conf" --module "$(softhsm_module)" --pin-source "file:$(pin_file)"
export KYOK_CONF=$conf
"$KYOK" key generate 'pkcs11:token=web;object=www' --type ec-p256 >/dev/null
mkdir -m 755 nginx nginx/sites
certificate() { # NAME DAYS
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=c -keyout "nginx/$1.key" \
        -out "nginx/$1.crt" -days "$2" 2>/dev/null
    chmod 600 "nginx/$1.key"
}
certificate good 400
certificate soon 5
certificate gone 400
# OpenSSL 3.5 takes no negative days, 3.0 no dates.
over() { openssl x509 -in nginx/gone.crt -signkey nginx/gone.key "$@" -out nginx/over.crt 2>/dev/null; }
over -not_before 20200101000000Z -not_after 20200201000000Z || over -days -1
mv nginx/over.crt nginx/gone.crt
"$KYOK" key reference 'pkcs11:token=web;object=www' -o nginx/www.pem
chmod 644 nginx/good.key
cat >nginx/nginx.conf <<'CONF'
# ssl_certificate commented.crt;
http {
    include "sites/*.conf";
    ssl_certificate     good.crt; ssl_certificate_key www.pem;
    proxy_ssl_certificate soon.crt;
    proxy_ssl_certificate_key 'soon.key';
    content_by_lua_block { local a = "}"; ssl_certificate lua.crt; }
    server { ssl_certificate $host.crt; ssl_certificate_key data:$key; ssl_certificate_key engine:pkcs11:x; }
}
CONF
printf 'server {\n  ssl_certificate gone.crt;\n  ssl_certificate_key good.key;\n ssl_certificate_key absent.pem; }\n' >nginx/sites/a.conf
: >empty.cnf
doctor() { "$KYOK" doctor --openssl-conf empty.cnf --nginx-conf "$SANDBOX/nginx/nginx.conf" "$@" 2>/dev/null; }
all=$(doctor)
found() { like "doctor: $1" "$all" "$2"; }
found 'a certificate that is valid' '^good +nginx: .*good.crt: it is valid for another'
found 'one that ends soon, of an upstream' '^warning +nginx: .*soon.crt: it expires in [45] days'
found 'one that is over, in an included file' '^bad +nginx: .*gone.crt: it (expired|is not valid)'
found 'a key that is a reference' '^good +reference: .*www.pem: pkcs11:token=web'
found 'a key that is a file' '^note +nginx: .*soon.key: this private key is a file'
found 'such a file that others can read' '^bad +nginx: .*good.key: others than its owner can read'
found 'a key that is not there' '^bad +nginx: .*absent.pem: the file cannot be found'
found 'references without the module' "^note +nginx: .*nginx.conf: without kyok's module"
found 'what was looked at' '^good +nginx: .*nginx.conf: 2 files, 1 keys at custodians, 3 in files'
unlike 'doctor: neither comments, Lua nor variables' "$all" 'commented|lua.crt|host.crt|pkcs11:x'
like 'doctor: every finding has its remedy' "$(doctor --json | python3 -c '
import json, sys
print(sum(1 for f in json.load(sys.stdin)["findings"] if f["level"] in ("warning", "bad") and not f.get("remedy")))')" '^0$'
sed -i '1i load_module modules/ngx_kyok_module.so;' nginx/nginx.conf
all=$(doctor)
unlike 'doctor: with the module no note' "$all" "without kyok's module"
p11tool hsm --token-label web --delete-object --type privkey --label www >/dev/null 2>&1
all=$(doctor --login)
found "a reference whose key is gone, after a login" '^bad +reference: '
echo 'include sites/*.conf;' >nginx/sites/loop.conf
all=$(doctor)
found 'a circle of includes ends' '^warning +nginx: .*nested deeper than 16'
echo 'include' >nginx/nginx.conf
all=$(doctor)
found 'a cut file' '^good +nginx: .*1 files, 0 keys'
refused 'a nginx.conf that is named and not there' 1 'cannot be found|findings are bad' "$KYOK" doctor --openssl-conf empty.cnf --nginx-conf nowhere

# --- a clock that is wrong ---------------------------------------------------------------------------
clock() { # TIME STATE: what doctor says of it
    LD_PRELOAD=$SUPPORT/clock_module.so CLOCK_TIME=$1 CLOCK_STATE=$2 ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 \
        "$KYOK" doctor --openssl-conf empty.cnf 2>/dev/null | grep -A1 ' clock'
}
like 'doctor: a clock before this program was written' "$(clock 1000000000 0)" '^bad +clock: it is before 2026.*
.*set the clock'
like 'doctor: one that nobody sets' "$(clock 1767225600 5)" '^note +clock: it is not synchronised.*
.*chrony'
like 'doctor: a good one' "$(clock 1767225600 0)" '^good +clock: it is synchronised'
done_testing
