#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Servers that nobody had kyok in mind for, with a PEM reference where they want a key file and no other
# change: Python's ssl; PostgreSQL, stunnel, lighttpd and Mosquitto where they are installed.
. "$(dirname "$0")/../support/lib.sh"
need python3 curl softhsm2-util pkcs11-tool "$MODULES/kyok.so"
PATH=$PATH:/usr/sbin:/usr/bin
must 'an HSM' hsm_new ec rsa
ca_new
for key in ec rsa; do
    must "$key: reference, request and certificate" eval "reference $key && certificate $key"
done
verified() { # PORT OPTIONS...
    without_provider openssl s_client -connect "127.0.0.1:$1" -CAfile "$SANDBOX/ca.pem" -verify_return_error \
        "${@:2}" </dev/null 2>&1
}
# served NAME PATTERN COMMAND...: once the server on $port answers, the command says so, and the token signed.
served() {
    local name=$1 pattern=$2 before
    shift 2
    ok "$name starts" wait_for 30 port_answers "$port"
    before=$(faulty hsm count C_Sign)
    like "$name serves" "$("$@" 2>&1)" "$pattern"
    at_least "$name: the token signed" $(($(faulty hsm count C_Sign) - before)) 1
    diag "$(tail -5 "$LOG")"
}

port=$(free_port)
cat >"$SANDBOX/server.py" <<'PYTHON'
import http.server, ssl, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'served by Python\n')

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PYTHON
background python3 "$SANDBOX/server.py" "$port" "$SANDBOX/rsa.pem" "$SANDBOX/rsa.key"
served 'Python' '^served by Python' tls_get "$port"

if program=$(command -v stunnel4); then
    port=$(free_port)
    printf '%s\n' 'foreground = yes' 'pid =' '[one]' "accept = 127.0.0.1:$port" "connect = 127.0.0.1:$(free_port)" \
        "cert = $SANDBOX/ec.pem" "key = $SANDBOX/ec.key" >"$SANDBOX/stunnel.conf"
    background "$program" "$SANDBOX/stunnel.conf"
    served 'stunnel' 'Verify return code: 0' verified "$port"
else
    skip 'stunnel4 is not installed here' 3
fi

if program=$(command -v lighttpd); then
    port=$(free_port)
    mkdir "$SANDBOX/www"
    echo 'served by lighttpd' >"$SANDBOX/www/index.html"
    printf '%s\n' "server.document-root = \"$SANDBOX/www\"" "server.port = $port" 'server.bind = "127.0.0.1"' \
        'server.modules = ("mod_openssl")' 'ssl.engine = "enable"' "ssl.pemfile = \"$SANDBOX/ec.pem\"" \
        "ssl.privkey = \"$SANDBOX/ec.key\"" 'index-file.names = ("index.html")' >"$SANDBOX/lighttpd.conf"
    background "$program" -D -m "$(dirname "$program")/../lib/lighttpd" -f "$SANDBOX/lighttpd.conf"
    served 'lighttpd' '^served by lighttpd' tls_get "$port"
else
    skip 'lighttpd is not installed here' 3
fi

if program=$(command -v mosquitto); then
    port=$(free_port)
    printf '%s\n' "listener $port 127.0.0.1" "certfile $SANDBOX/ec.pem" "keyfile $SANDBOX/ec.key" \
        "user $(id -un)" >"$SANDBOX/mosquitto.conf"
    background "$program" -c "$SANDBOX/mosquitto.conf"
    served 'Mosquitto' 'Verify return code: 0' verified "$port"
else
    skip 'mosquitto is not installed here' 3
fi

# PostgreSQL refuses to be root, and forks a process for each connection.
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
postgres=$(printf '%s\n' /usr/lib/postgresql/*/bin | tail -1)
if [ "$(id -u)" = 0 ] && [ -x "$postgres/postgres" ] && id postgres >/dev/null 2>&1; then
    port=$(free_port)
    mkdir "$SANDBOX/pg"
    cp "$SANDBOX/ec.key" "$SANDBOX/pg.key"
    chmod 600 "$SANDBOX/pg.key"
    chmod a+x "$SANDBOX"
    chown -R postgres "$SANDBOX"/{pg,pg.key,pin,soft,soft.conf}
    must 'a database' as_postgres "$postgres/initdb" -D "$SANDBOX/pg" -A trust -U postgres
    background setpriv --reuid=postgres --regid=postgres --init-groups "$postgres/postgres" -D "$SANDBOX/pg" \
        -p "$port" -k "$SANDBOX/pg" -c listen_addresses=127.0.0.1 -c ssl=on -c "ssl_cert_file=$SANDBOX/ec.pem" \
        -c "ssl_key_file=$SANDBOX/pg.key"
    served 'PostgreSQL' '^42$' without_provider psql -AtX -c 'select 6*7' \
        "host=localhost hostaddr=127.0.0.1 port=$port user=postgres sslmode=verify-full sslrootcert=$SANDBOX/ca.pem"
else
    skip 'PostgreSQL is not installed here, or this is not root' 4
fi
done_testing
