# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For the tests of the OpenSSL provider: source after lib.sh. Works in $SANDBOX.

cd "$SANDBOX" || exit 1

# generate ALGORITHM LABEL [OPTION...]: openssl genpkey in the token; the PEM reference is LABEL.ref.
generate() {
    local algorithm=$1 label=$2 option options=()
    shift 2
    for option in "$@"; do options+=(-pkeyopt "$option"); done
    openssl genpkey -propquery provider=kyok -algorithm "$algorithm" ${options[@]+"${options[@]}"} \
        -pkeyopt "kyok_uri:pkcs11:token=test;object=$label" -out "$label.ref" 2>"$label.err" ||
        { cat "$label.err" >&2; return 1; }
}

# certificate LABEL [OPTION...]: self-signed, with the token's key; LABEL.crt.
certificate() {
    local label=$1
    shift
    openssl req -x509 -key "$label.ref" -subj "/CN=localhost/O=$label" -days 2 -config req.cnf \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' "$@" -out "$label.crt"
}
printf '%s\n' '[req]' 'distinguished_name = name' '[name]' >req.cnf

# The same text at both ends, whatever line ends S/MIME made of it.
same_text() { tr -d '\r' <"$1" | cmp - "$2"; }

# shellcheck disable=SC2034
EC_KEYS='ec256 ec384 ec521'
generate_ec() {
    generate EC ec256 group:P-256 && generate EC ec384 group:P-384 && generate EC ec521 group:P-521
}
