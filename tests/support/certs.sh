#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# usage: certs.sh DIR
# Makes a throw-away PKI for the KMIP and TLS tests (P-256, 30 days), each as NAME.crt and NAME.key:
#   ca other-ca                two authorities (other-ca is the one nobody trusts)
#   server                     localhost, 127.0.0.1, ::1
#   server-expired server-wronghost server-otherca server-selfsigned server-revoked
#   server-commonname          localhost as common name only
#   alice bob carol            client identities (CN)
#   mallory                    a client of other-ca
# and ca.crl (revokes server-revoked), ca-revokes-server.crl, ca-expired.crl (out of date).
set -e
[ $# -eq 1 ] || { echo "usage: certs.sh DIR" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
unset OPENSSL_CONF
umask 077

key() {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

authority() { # NAME
    key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=kyok test $1" -days 30 -out "$1.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

# sign NAME SUBJECT EXTENDED-USAGE SUBJECT-ALT-NAME CA [from to]
sign() {
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    {
        echo "basicConstraints=CA:FALSE"
        echo "keyUsage=critical,digitalSignature,keyEncipherment"
        echo "extendedKeyUsage=$3"
        if [ -n "$4" ]; then echo "subjectAltName=$4"; fi
    } > "$1.ext"
    if [ -n "$6" ]; then
        mkdir -p "db-$1"
        : > "db-$1/index.txt"
        printf '[ca]\ndefault_ca=c\n[c]\ndatabase=db-%s/index.txt\nnew_certs_dir=db-%s\ndefault_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n' \
            "$1" "$1" > "$1.cnf"
        openssl ca -batch -config "$1.cnf" -in "$1.csr" -out "$1.crt" -cert "$5.crt" -keyfile "$5.key" \
            -extfile "$1.ext" -startdate "$6" -enddate "$7" -notext 2>/dev/null
    else
        openssl x509 -req -in "$1.csr" -CA "$5.crt" -CAkey "$5.key" -set_serial "0x$(openssl rand -hex 8)" \
            -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    fi
}

# crl OUT REVOKED-CERT-OR-EMPTY [more options for openssl ca]
crl() {
    out=$1 revoked=$2
    shift 2
    mkdir -p "db-crl"
    : > db-crl/index.txt
    echo 01 > db-crl/number
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=db-crl/index.txt\ncrlnumber=db-crl/number\ndefault_md=sha256\n' > crl.cnf
    if [ -n "$revoked" ]; then
        openssl ca -config crl.cnf -cert ca.crt -keyfile ca.key -revoke "$revoked" 2>/dev/null
    fi
    openssl ca -config crl.cnf -cert ca.crt -keyfile ca.key -gencrl -out "$out" "$@" 2>/dev/null
}

authority ca
authority other-ca
names="DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"
sign server "/CN=localhost" serverAuth "$names" ca
sign server-expired "/CN=localhost" serverAuth "$names" ca 20200101000000Z 20200201000000Z
sign server-wronghost "/CN=elsewhere.example" serverAuth "DNS:elsewhere.example,IP:192.0.2.1" ca
sign server-commonname "/CN=localhost" serverAuth "" ca
sign server-otherca "/CN=localhost" serverAuth "$names" other-ca
sign server-revoked "/CN=localhost" serverAuth "$names" ca
key server-selfsigned
openssl req -x509 -new -key server-selfsigned.key -subj "/CN=localhost" -days 30 -out server-selfsigned.crt \
    -addext "subjectAltName=$names" -addext basicConstraints=CA:FALSE
for name in alice bob carol; do sign $name "/CN=$name" clientAuth "" ca; done
sign mallory "/CN=mallory" clientAuth "" other-ca
crl ca.crl server-revoked.crt -crldays 30
crl ca-revokes-server.crl server.crt -crldays 30
crl ca-expired.crl "" -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z
rm -rf ./*.csr ./*.ext ./*.cnf db-*
