#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Keyless with a KMIP server that others wrote: an edge nginx whose RSA keys are at two PyKMIP servers, beside
# an ECDSA key of the same name at the scripted server, which PyKMIP cannot have. TLS 1.2 and 1.3; one of
# the two ends..
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
. "$TESTS/support/kmip.sh"
. "$TESTS/support/pykmip.sh"
nginx_need
pykmip_needed
kmip_certs
nginx_level=${KYOK_NGINX_LOG:-info}
pids=()
stop_servers() { for PYKMIP in "${pids[@]}"; do pykmip_stop; done; }
at_end+=(stop_servers)
for name in first second; do
    pykmip_start $name "$CERTS" || skip_all "PyKMIP does not start"
    pids+=("$PYKMIP") ports+=("$PORT")
done
ca_new
nginx_key ec
kmip_server scripted "key ec ec-p256" "load ec $SANDBOX/ec.key" || skip_all "the scripted server does not start"
{
    kmip_group one alice "${ports[0]}"
    kmip_group two alice "${ports[1]}"
    kmip_group rsa alice "${ports[0]},${ports[1]}" 'timeout = 20'
    kmip_group ec alice "$PORT" 'timeout = 20'
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf
chmod 711 "$CERTS"
chmod 644 "$CERTS"/ca.crt "$CERTS"/alice.crt
[ "$(id -u)" -ne 0 ] || chown nobody "$CERTS/alice.key"

# The same RSA key at both, as a vendor's cluster has it: brought there as a pair. 1040 bits is the one length whose
# longest PSS salt is that of TLS 1.3 with SHA-512 (64 bytes), and PyKMIP only makes the longest.
for key in rsa:2048 short:1040; do
    openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:${key#*:}" -out "$SANDBOX/${key%:*}.key" 2>/dev/null
    openssl req -new -key "$SANDBOX/${key%:*}.key" -subj /CN=localhost -out "$SANDBOX/${key%:*}.csr" 2>/dev/null
    ca_sign "$SANDBOX/${key%:*}.csr" "$SANDBOX/${key%:*}.pem"
done
register() { # PORT KEY: prints the identifiers of the private and the public half
    /usr/bin/python3 -W ignore - "$1" "$CERTS" "$SANDBOX/$2.key" <<'PYTHON'
import subprocess, sys
from kmip.pie.client import ProxyKmipClient
from kmip.pie.objects import PrivateKey, PublicKey
from kmip.core import enums
port, certs, path = sys.argv[1:]
def der(*arguments):
    return subprocess.run(["openssl", *arguments, "-outform", "DER"], check=True, capture_output=True).stdout
bits = int(subprocess.run(["openssl", "rsa", "-in", path, "-noout", "-text"], check=True, capture_output=True,
                          text=True).stdout.split("(")[1].split()[0])
client = ProxyKmipClient("127.0.0.1", int(port), cert=certs + "/alice.crt", key=certs + "/alice.key",
                         ca=certs + "/ca.crt", kmip_version=enums.KMIPVersion.KMIP_1_2)
with client:
    private = client.register(PrivateKey(enums.CryptographicAlgorithm.RSA, bits, der("rsa", "-in", path, "-traditional"),
        enums.KeyFormatType.PKCS_1, masks=[enums.CryptographicUsageMask.SIGN]))
    public = client.register(PublicKey(enums.CryptographicAlgorithm.RSA, bits,
        der("rsa", "-in", path, "-RSAPublicKey_out"), enums.KeyFormatType.PKCS_1,
        masks=[enums.CryptographicUsageMask.VERIFY]))
    client.activate(private)
    client.activate(public)
    print(private, public)
PYTHON
}
for key in rsa short; do
    read -r private public < <(register "${ports[0]}" $key)
    is "the $key key has the same identifiers at both servers" "$(register "${ports[1]}" $key)" "$private $public"
    ok "a reference to it, with its public half" "$KYOK" key reference "kmip://rsa/$private?public=$public" -o "$SANDBOX/$key.ref"
    rm -f "$SANDBOX/$key.key"
done
ok "a reference to the ECDSA key" "$KYOK" key reference kmip://ec/ec -o "$SANDBOX/ec.ref"
rm -f "$SANDBOX/ec.key"
chmod 644 "$SANDBOX"/*.ref
unset KYOK_CONF

https=$(free_port) short=$(free_port) plain=$(free_port) resuming=$(free_port)
# 1040 bits are below what Debian's default allows: for that server alone, by nginx's own OPENSSL_CONF.
printf '%s\n' 'openssl_conf = init' '[init]' 'ssl_conf = ssl' '[ssl]' 'system_default = lax' '[lax]' \
    'CipherString = DEFAULT@SECLEVEL=1' >"$SANDBOX/lax.cnf"
export OPENSSL_CONF=$SANDBOX/lax.cnf
certificate() { echo "ssl_certificate $SANDBOX/$1.pem; ssl_certificate_key $SANDBOX/$1.ref;"; }
nginx_conf "kyok_config $SANDBOX/kyok.conf; env OPENSSL_CONF;" "
    server { listen 127.0.0.1:$https ssl; $(certificate ec) $(certificate rsa) location / { return 200 \"hello\\n\"; } }
    server { listen 127.0.0.1:$resuming ssl; $(certificate rsa) ssl_session_tickets on; location / { return 200 \"hello\\n\"; } }
    server { listen 127.0.0.1:$short ssl; $(certificate short) ssl_ciphers DEFAULT:@SECLEVEL=1; location / { return 200 \"hello\\n\"; } }
    server { listen 127.0.0.1:$plain; location /kyok { kyok_status; } }"
must "nginx starts" nginx_start
unset OPENSSL_CONF
operations() { curl -sS "http://127.0.0.1:$plain/kyok" | perl -ne '$n += $1 if /^kyok_operations_total\{custodian="rsa".* (\d+)$/; END { print $n // 0 }'; }
ok "the worker has tried its keys" wait_for 60 metric_reaches "$plain" 'kyok_keys{state="good"}' 3
before=$(operations)
load "$https" clients=8 count=24 tls=1.2 sigalgs=RSA+SHA256
is "TLS 1.2, RSA at PyKMIP" "$load_failed $load_done" "0 24"
at_least "where the signatures were made" $(($(operations) - before)) 24
load "$https" clients=8 count=24 tls=1.2 sigalgs=ECDSA+SHA256
is "TLS 1.2, ECDSA at the scripted server" "$load_failed $load_done" "0 24"
load "$https" clients=8 count=24 tls=1.3 sigalgs=ECDSA+SHA256
is "TLS 1.3, ECDSA at the scripted server" "$load_failed $load_done" "0 24"
before=$(operations)
load "$short" clients=8 count=24 tls=1.3 sigalgs=RSA-PSS+SHA512 ciphers=DEFAULT:@SECLEVEL=1
is "TLS 1.3, RSA at PyKMIP, where its salt is what TLS 1.3 asks for" "$load_failed $load_done" "0 24"
at_least "where the signatures were made, too" $(($(operations) - before)) 24
load "$https" clients=2 count=2 tls=1.3 sigalgs=RSA-PSS+SHA256
is "TLS 1.3, RSA, where PyKMIP's salt is another: alerts" "$load_failed $load_alerts" "2 2"
like "and the log says why" "$(cat "$NGX/error.log")" 'another PSS salt length'

PYKMIP=${pids[1]}
kill -KILL -- "-$PYKMIP"
load "$https" clients=4 count=16 tls=1.2 sigalgs=RSA+SHA256
is "one of the two is killed: no handshake fails" "$load_failed $load_done" "0 16"
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""

load "$resuming" clients=2 count=20 tls=1.2 resume=yes sigalgs=RSA+SHA256
is "resumed handshakes need no server" "$load_failed $load_resumed" "0 18"
nginx_stop
done_testing
