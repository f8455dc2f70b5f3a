#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docs/tls-server.md, block by block: new key, request, certificate, nginx, reload, both renewals.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util nginx curl python3
[ -x "$KYOK" ] || skip_all 'the kyok command is not built'
cd "$SANDBOX" || exit 1
mkdir bin nginx blocks && chmod 755 nginx
ln -s "$KYOK" bin/kyok
softhsm_new soft && softhsm_token soft company || { fail 'a token'; done_testing; }
export SOFTHSM2_CONF=$SANDBOX/soft.conf
kyok_conf '[token company]' "module = $(softhsm_module)" 'uri = pkcs11:token=company' "pin-source = file:$(pin_file)" \
    'require = never-extractable'
openssl_conf
printf '%s\n' '[req]' 'distinguished_name = name' '[name]' >>openssl.cnf
ca_new
PORT=$(free_port)

# "nginx" of the guide: this test's own, with its configuration.
cat >bin/nginx <<END
#!/bin/sh
exec $(command -v nginx) -p $SANDBOX/nginx -e $SANDBOX/nginx/error.log -c $SANDBOX/nginx/nginx.conf "\$@"
END
chmod 755 bin/nginx
export PATH=$SANDBOX/bin:$PATH
temporary='client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi; access_log off;'

python3 - "$SOURCE/docs/tls-server.md" blocks <<'PY'
import re, sys
text = open(sys.argv[1]).read()
for number, (fence, body) in enumerate(re.findall(r"^```([a-z ]+)\n(.*?)^```$", text, re.M | re.S)):
    open(f"{sys.argv[2]}/{number:02} {fence}", "w").write(body)
PY
is 'the guide has its blocks' "$(find blocks -type f | wc -l)" 16

write_conf() {
    {
        [ "$(id -u)" -ne 0 ] || echo 'user root;' # SoftHSM's token belongs to this account
        echo "env SOFTHSM2_CONF; env KYOK_CONF; pid $SANDBOX/nginx/nginx.pid;"
        sed "s|listen 443|listen 127.0.0.1:$PORT|; s|^http {|http { $temporary|" "$1"
    } >nginx/nginx.conf
}
served() { # the public key of what the server shows
    without_provider openssl s_client -connect "127.0.0.1:$PORT" -servername www.example.org -CAfile ca.pem \
        -verify_return_error </dev/null 2>/dev/null | openssl x509 -noout -pubkey
}
is_served() { [ "$(served)" = "$(openssl pkey -in "pkcs11:token=company;object=$1" -pubout)" ] && served | grep -q PUBLIC; }

for block in blocks/*; do
    kind=${block#* }
    number=${block#blocks/}
    number=${number%% *}
    sed -i "s|/etc/nginx|$SANDBOX/nginx|g; s|kyok key destroy|& --in $SANDBOX/nginx|" "$block"
    case $kind in
    nginx)
        write_conf "$block"
        ;;
    'sh ca')
        ok "block $number: the CA signs" ca_sign www.csr "$(cat "$block")" www.example.org
        ;;
    'sh served')
        if [ ! -s nginx/nginx.pid ]; then
            background nginx -g 'daemon off;'
            wait_for 20 port_answers "$PORT" || diag "$(cat "$LOG" nginx/error.log)"
        fi
        ok "block $number: $(cat "$block") is served" wait_for 20 is_served "$(cat "$block")"
        ok '... to a client that knows nothing of kyok' without_provider curl -sSf --max-time 20 --cacert ca.pem \
            --resolve "www.example.org:$PORT:127.0.0.1" "https://www.example.org:$PORT/"
        ;;
    *)
        ok "block $number" bash -e -o pipefail "$block"
        ;;
    esac
done
unlike 'no file holds the key' "$(cat nginx/www.key)" 'PRIVATE KEY'
refused 'the destroyed key is gone' any 'no such key|not found' openssl pkey -in 'pkcs11:token=company;object=www-1' -noout
done_testing
