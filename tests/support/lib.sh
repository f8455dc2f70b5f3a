# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2120,SC2034
# What every integration test stands on: TAP, a sandbox, servers that are gone afterwards, tokens,
# configuration. Source it first; bash only; works as root and as anyone else.
#
#   . "$(dirname "$0")/../support/lib.sh"
#
# The environment is made clean here: nothing of the host's OpenSSL, SoftHSM, p11-kit or kyok set-up
# is read, no default socket or port is used, and what a test starts it ends by its recorded id.

set -u
TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SOURCE=$(dirname "$TESTS")
BUILD=$(cd "$SOURCE" && realpath -m "${BUILD:-build}")
SUPPORT=$BUILD/tests/support
KYOK=$BUILD/kyok
MODULES=$BUILD/ossl-modules
export BUILD KYOK MODULES LC_ALL=C TZ=UTC
unset OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES SOFTHSM2_CONF KYOK_CONF KYOK_DEBUG \
    KYOK_FAULTY_CONTROL KYOK_FAULTY_MODULE P11_KIT_SERVER_ADDRESS P11_KIT_STRICT SSL_CERT_FILE \
    SSL_CERT_DIR http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY no_proxy MAKEFLAGS

# --- TAP -----------------------------------------------------------------------------------------

tap_number=0
tap_failed=0

diag() { printf '%s\n' "$@" | sed 's/^/# /'; }

pass() { tap_number=$((tap_number + 1)); echo "ok $tap_number - $1"; }

fail() {
    tap_number=$((tap_number + 1))
    tap_failed=$((tap_failed + 1))
    echo "not ok $tap_number - $1"
    shift
    [ $# -eq 0 ] || diag "$@"
}

# ok NAME COMMAND...: the command succeeds (in this shell: it may set variables). Its output is shown when
# it does not.
ok() {
    local name=$1 status
    shift
    "$@" >"$SANDBOX/.output" 2>&1
    status=$?
    if [ $status -eq 0 ]; then pass "$name"; else fail "$name" "exit $status: $*" "$(cat "$SANDBOX/.output")"; fi
    return $status
}

# must NAME COMMAND...: the same, and without it nothing that follows makes sense: the test ends.
must() { ok "$@" || { echo "1..$tap_number"; exit 1; }; }

# refused NAME STATUS REGEX COMMAND...: the command ends with STATUS ("any": not 0) and says REGEX.
refused() {
    local name=$1 wanted=$2 regex=$3 output status
    shift 3
    output=$("$@" 2>&1)
    status=$?
    if [ "$wanted" = any ] && [ $status -ne 0 ] && [ $status -lt 124 ]; then wanted=$status; fi
    if [ $status -ne "$wanted" ] 2>/dev/null || [ "$wanted" = any ]; then
        fail "$name" "exit $status instead of $wanted: $*" "$output"
    elif ! grep -Eq -- "$regex" <<<"$output"; then
        fail "$name" "does not say /$regex/: $*" "$output"
    else
        pass "$name"
    fi
}

# is NAME GOT WANTED
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got:    $2" "wanted: $3"; fi; }

# like NAME TEXT REGEX, unlike NAME TEXT REGEX
like() { if grep -Eq -- "$3" <<<"$2"; then pass "$1"; else fail "$1" "not /$3/ in:" "$2"; fi; }
unlike() { if grep -Eq -- "$3" <<<"$2"; then fail "$1" "/$3/ in:" "$2"; else pass "$1"; fi; }

# at_most NAME NUMBER LIMIT, at_least NAME NUMBER LIMIT (also fractions)
at_most() {
    if perl -e 'exit !($ARGV[0] =~ /^[-\d.e]+$/ && $ARGV[0] <= $ARGV[1])' -- "$2" "$3"; then
        pass "$1 ($2)"
    else fail "$1" "$2 is above $3"; fi
}
at_least() {
    if perl -e 'exit !($ARGV[0] =~ /^[-\d.e]+$/ && $ARGV[0] >= $ARGV[1])' -- "$2" "$3"; then
        pass "$1 ($2)"
    else fail "$1" "$2 is below $3"; fi
}

# skip REASON [COUNT]: COUNT tests (1) that cannot run here; .ci/run knows which reasons are expected.
skip() {
    local i
    for ((i = 0; i < ${2:-1}; i++)); do
        tap_number=$((tap_number + 1))
        echo "ok $tap_number # SKIP $1"
    done
}

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

# The last line of every test.
done_testing() {
    echo "1..$tap_number"
    [ "$tap_failed" -eq 0 ]
    exit
}

# need PROGRAM...: skips the whole test where one is missing.
need() {
    local program
    for program in "$@"; do
        case $program in
        /*) [ -e "$program" ] || skip_all "$program is missing" ;;
        *) command -v "$program" >/dev/null || skip_all "$program is not installed" ;;
        esac
    done
}

# --- sandbox, processes, ports -------------------------------------------------------------------

SANDBOX=$(mktemp -d "${TMPDIR:-/tmp}/kyok-test.XXXXXX") || exit 1
# Servers that drop their privileges must reach what is below.
chmod 711 "$SANDBOX"
SANDBOX=$(realpath "$SANDBOX")
export HOME=$SANDBOX XDG_RUNTIME_DIR=$SANDBOX XDG_CONFIG_HOME=$SANDBOX/config
lib_started=()
at_end=()

# background COMMAND...: runs it in a process group of its own, its output in $SANDBOX/NAME.log
# (also $LOG); $PID is its id.
background() {
    LOG=$SANDBOX/$(basename "$1").$((${#lib_started[@]} + 1)).log
    setsid "$@" >"$LOG" 2>&1 </dev/null &
    PID=$!
    lib_started+=("$PID")
    disown "$PID" # or bash tells of its end
}

# events_collect SOCKET FILE: FILE gets a line for each datagram that comes to SOCKET.
events_collect() {
    background perl -MIO::Socket::UNIX -e '
        my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
        open my $out, ">>", $ARGV[1]; $out->autoflush(1);
        print $out "$_\n" while defined $s->recv($_, 65536)' "$1" "$2"
    wait_for 30 test -S "$1"
}

# stop PID [SIGNAL]: ends the process group of something that background started, waits for it.
stop() {
    local i
    kill "-${2:-TERM}" -- "-$1" 2>/dev/null || kill "-${2:-TERM}" "$1" 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        kill -0 -- "-$1" 2>/dev/null || break
        [ $i -ne 60 ] || kill -KILL -- "-$1" 2>/dev/null
        sleep 0.05
    done
}

# wait_for SECONDS COMMAND...: until it succeeds; fails at the deadline.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the kernel gives ports to clients.
free_port() {
    perl -MIO::Socket::INET -e '
        for (1 .. 200) {
            my $port = 20000 + int rand 12000;
            my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:$port") or next;
            print "$port\n"; exit 0;
        }
        exit 1'
}

cleanup() {
    local status=$? pid step
    trap - EXIT INT TERM HUP
    for step in ${at_end[@]+"${at_end[@]}"}; do $step; done
    for pid in ${lib_started[@]+"${lib_started[@]}"}; do stop "$pid"; done
    if [ -n "${KEEP:-}" ]; then diag "kept: $SANDBOX"; else rm -rf "$SANDBOX"; fi
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# --- SoftHSM -------------------------------------------------------------------------------------

PIN=1234
SO_PIN=5678

softhsm_module() {
    local path
    for path in ${KYOK_SOFTHSM:-} /usr/lib/softhsm/libsofthsm2.so /usr/lib*/*/softhsm/libsofthsm2.so \
        /usr/lib*/pkcs11/libsofthsm2.so; do
        if [ -e "$path" ]; then echo "$path"; return 0; fi
    done
    return 1
}

# softhsm_need [PROGRAM...]: skips the test unless SoftHSM and these programs are there.
softhsm_need() {
    need softhsm2-util "$@"
    softhsm_module >/dev/null || skip_all "SoftHSM is not installed"
}

# softhsm_new NAME: an empty SoftHSM in $SANDBOX/NAME and its configuration in $SANDBOX/NAME.conf. A
# forked child must begin anew there, as real modules demand.
softhsm_new() {
    mkdir -m 700 "$SANDBOX/$1" || return 1
    printf '%s\n' "directories.tokendir = $SANDBOX/$1" 'objectstore.backend = file' \
        'log.level = ERROR' 'slots.removable = false' 'library.reset_on_fork = true' >"$SANDBOX/$1.conf"
}

# softhsm_token HSM LABEL: initialises a token with $PIN.
softhsm_token() {
    SOFTHSM2_CONF=$SANDBOX/$1.conf softhsm2-util --init-token --free --label "$2" --pin "$PIN" \
        --so-pin "$SO_PIN" >/dev/null
}

# softhsm HSM COMMAND...: with SOFTHSM2_CONF set to HSM's.
softhsm() { local hsm=$1; shift; SOFTHSM2_CONF=$SANDBOX/$hsm.conf "$@"; }

# p11tool HSM ARGUMENT...: pkcs11-tool, logged in.
p11tool() {
    local hsm=$1
    shift
    softhsm "$hsm" pkcs11-tool --module "$(softhsm_module)" --login --pin "$PIN" "$@"
}

# token_key HSM TOKEN LABEL ID TYPE: generated in the token (TYPE as pkcs11-tool's --key-type:
# rsa:2048, EC:prime256v1, EC:edwards25519).
token_key() {
    p11tool "$1" --token-label "$2" --keypairgen --key-type "$5" --label "$3" --id "$4" \
        --usage-sign ${6:+"$6"} >/dev/null 2>&1
}

# token_import HSM TOKEN LABEL ID PEM: a key pair from a file.
token_import() {
    softhsm "$1" softhsm2-util --import "$5" --token "$2" --label "$3" --id "$4" --pin "$PIN" \
        >/dev/null 2>&1
}

pin_file() {
    local path=$SANDBOX/${1:-pin}
    (umask 077 && printf '%s\n' "${2:-$PIN}" >"$path")
    echo "$path"
}

# --- the faulty HSM ------------------------------------------------------------------------------

# softhsm_root: a SoftHSM with the token "t", a kyok.conf for it, and the AES key "root" (a [key] section,
# too) in it, in $SANDBOX. Without SoftHSM the whole test is skipped.
softhsm_root() {
    softhsm_module >/dev/null || skip_all "SoftHSM is not installed"
    cd "$SANDBOX" || exit 1
    softhsm_new hsm && softhsm_token hsm t
    export SOFTHSM2_CONF=$SANDBOX/hsm.conf
    kyok_conf '[token t]' "module = $(softhsm_module)" 'uri = pkcs11:token=t' "pin-source = file:$(pin_file)" \
        '[key root]' 'uri = pkcs11:token=t;object=root'
    must 'a root key' "$KYOK" key generate root --type aes-256
}

# faulty_new NAME HSM [clone]: a faulty module $SANDBOX/NAME.so in front of a SoftHSM that reads
# $SANDBOX/HSM.conf. "clone": a SoftHSM library of its own, as two members of a group need that live
# in one process but in two token directories; its variable's name is changed in a copy of the library.
faulty_new() {
    local real variable=SOFTHSM2_CONF
    real=$(softhsm_module) || return 1
    if [ "${3:-}" = clone ]; then
        variable=SOFTHSM2_$(printf '%04X' $((RANDOM % 65536)))
        sed "s/SOFTHSM2_CONF/$variable/g" "$real" >"$SANDBOX/$1-softhsm.so" || return 1
        real=$SANDBOX/$1-softhsm.so
    fi
    cp "$SUPPORT/faulty_module.so" "$SANDBOX/$1.so" || return 1
    "$SUPPORT/faulty_tool" "$SANDBOX/$1.so.control" create --module "$real" \
        --environment "$variable=$SANDBOX/$2.conf"
}

# faulty NAME VERB...: see tests/support/faulty_tool.
faulty() {
    local name=$1
    shift
    "$SUPPORT/faulty_tool" "$SANDBOX/$name.so.control" "$@"
}

# softhsm_clone FROM TO: the whole token directory, as a vendor clones a token.
softhsm_clone() {
    cp -a "$SANDBOX/$1" "$SANDBOX/$2" &&
        sed "s|$SANDBOX/$1\$|$SANDBOX/$2|" "$SANDBOX/$1.conf" >"$SANDBOX/$2.conf"
}

# --- configuration -------------------------------------------------------------------------------

# kyok_conf TEXT...: writes $SANDBOX/kyok.conf, one line per argument, and exports KYOK_CONF.
kyok_conf() {
    printf '%s\n' "$@" >"$SANDBOX/kyok.conf"
    export KYOK_CONF=$SANDBOX/kyok.conf
}

# openssl_conf [ORDER [LINE...]]: writes $SANDBOX/openssl.cnf and exports OPENSSL_CONF. ORDER lists the
# providers in the order of activation (default: "default kyok"); the lines go to kyok's section.
openssl_conf() {
    local order=${1:-default kyok} provider
    [ $# -eq 0 ] || shift
    {
        printf '%s\n' 'openssl_conf = init' '[init]' 'providers = providers' '[providers]'
        for provider in $order; do echo "$provider = ${provider}_section"; done
        for provider in $order; do
            printf '%s\n' "[${provider}_section]"
            if [ "$provider" = kyok ]; then
                echo "module = $MODULES/kyok.so"
                [ $# -eq 0 ] || printf '%s\n' "$@"
            fi
            echo 'activate = 1'
        done
    } >"$SANDBOX/openssl.cnf"
    export OPENSSL_CONF=$SANDBOX/openssl.cnf
}

# without_provider COMMAND...: as on a host that has never heard of kyok.
without_provider() { env -u OPENSSL_CONF -u KYOK_CONF "$@"; }

# ca_new: a CA in $SANDBOX/ca.pem and ca.key, software keys. ca_sign CSR OUT [NAME]: a certificate for
# a server of that name (localhost).
ca_new() {
    without_provider openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=kyok test CA" -keyout "$SANDBOX/ca.key" -out "$SANDBOX/ca.pem" 2>/dev/null
}
ca_sign() {
    printf 'subjectAltName=DNS:%s,IP:127.0.0.1\n' "${3:-localhost}" >"$SANDBOX/extensions"
    without_provider openssl x509 -req -in "$1" -CA "$SANDBOX/ca.pem" -CAkey "$SANDBOX/ca.key" \
        -set_serial "0x$(openssl rand -hex 8)" -days 1 -extfile "$SANDBOX/extensions" -out "$2" 2>/dev/null
}

# tls_get PORT [ARGUMENT...]: curl that trusts the test's CA alone and knows nothing of kyok.
tls_get() {
    local port=$1
    shift
    without_provider curl -sS --max-time 20 --cacert "$SANDBOX/ca.pem" \
        --resolve "localhost:$port:127.0.0.1" "$@" "https://localhost:$port/"
}

now_ms() { perl -MTime::HiRes=time -e 'printf "%.0f\n", time * 1000'; }

# --- an HSM with keys, and programs that sign ----------------------------------------------------

# hsm_new [KEY...]: SoftHSM "soft" with the token "test", the faulty module "hsm" in front of it, the
# keys (of the table below; default: ec), and [token test] in kyok.conf, openssl.cnf with kyok in it.
# Lines for that section go to $HSM_LINES before.
HSM_LINES=()
declare -gA HSM_TYPES=([rsa]=rsa:2048 [rsa4096]=rsa:4096 [ec]=EC:prime256v1 [ec384]=EC:secp384r1
    [ec521]=EC:secp521r1 [ed]=EC:edwards25519)
hsm_new() {
    local key id=1
    softhsm_new soft && softhsm_token soft test && faulty_new hsm soft || return 1
    for key in "${@:-ec}"; do
        token_key soft test "$key" "$(printf %02x $id)" "${HSM_TYPES[$key]}" || return 1
        id=$((id + 1))
    done
    kyok_conf '[token test]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=test' \
        "pin-source = file:$(pin_file)" ${HSM_LINES[@]+"${HSM_LINES[@]}"}
    openssl_conf
}

# pem_reference URI FILE: a PEM key reference in the two-member form (what `kyok key reference` writes).
pem_reference() {
    perl -MMIME::Base64 -e '
        sub der { my ($tag, $body) = @_; my $n = length $body;
            pack("C", $tag) . ($n < 128 ? pack("C", $n) : $n < 256 ? pack("CC", 0x81, $n) : pack("Cn", 0x82, $n)) . $body }
        my $der = der(0x30, der(0x1a, "PKCS#11 Provider URI v1.0") . der(0x0c, $ARGV[0]));
        my $text = encode_base64($der, ""); $text =~ s/(.{1,64})/$1\n/g;
        print "-----BEGIN PKCS#11 PROVIDER URI-----\n$text-----END PKCS#11 PROVIDER URI-----\n"' "$1" >"$2"
}

# reference KEY: $SANDBOX/KEY.key refers to a key of hsm_new.
reference() { pem_reference "pkcs11:token=test;object=$1;type=private" "$SANDBOX/$1.key"; }

# signer KEY: a process that signs when asked (tests/support/sign_tool); "signer_ask COMMAND" prints
# its answer, within 60 s.
signer() {
    coproc SIGNER { exec "$SUPPORT/sign_tool" ask "$1" 2>"$SANDBOX/signer.err"; }
    # shellcheck disable=SC2153
    lib_started+=("$SIGNER_PID")
    local from=${SIGNER[0]} to=${SIGNER[1]}
    exec {SIGNER_OUT}>&"$to" {SIGNER_IN}<&"$from"
    exec {from}<&- {to}>&-
    SIGNER_ID=$SIGNER_PID
    local line
    IFS= read -r -t 60 line <&"$SIGNER_IN" || line='no answer'
    [ "$line" = ready ] || { diag "$line"; return 1; }
}
signer_ask() {
    local line
    echo "$*" >&"$SIGNER_OUT"
    IFS= read -r -t 60 line <&"$SIGNER_IN" || line='no answer within 60 s'
    echo "$line"
}
signer_end() { exec {SIGNER_OUT}>&- {SIGNER_IN}<&-; wait "$SIGNER_ID" 2>/dev/null; }

# certificate KEY [NAME]: CSR signed by the key of that PEM reference (through kyok), certificate by the
# test's CA: $SANDBOX/KEY.pem for $SANDBOX/KEY.key.
certificate() {
    openssl req -new -key "$SANDBOX/$1.key" -subj "/CN=${2:-localhost}" -out "$SANDBOX/$1.csr" &&
        ca_sign "$SANDBOX/$1.csr" "$SANDBOX/$1.pem" "${2:-localhost}"
}

# nginx_server PORT KEY [LINE...]: a server block in $NGINX_SERVERS. nginx_start [LINE...]: nginx with these
# and the lines at main level, as $NGINX_PID; its log is $SANDBOX/nginx-error.log.
NGINX_SERVERS=''
NGINX_PORTS=()
nginx_server() {
    local port=$1 key=$2
    shift 2
    NGINX_PORTS+=("$port")
    NGINX_SERVERS+="server { listen 127.0.0.1:$port ssl; server_name localhost;
        ssl_certificate $SANDBOX/$key.pem; ssl_certificate_key $SANDBOX/$key.key;
        ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
        $* location / { return 200 \"served with $key\\n\"; } }
"
}
nginx_conf() {
    local user=''
    [ "$(id -u)" != 0 ] || user='user root;'
    [[ "$*" != *'user '* ]] || user=''
    [[ "$*" == *worker_processes* ]] || user+=' worker_processes 1;'
    printf '%s\n' "$user" "$@" 'env OPENSSL_CONF; env SOFTHSM2_CONF; env KYOK_CONF; env P11_KIT_SERVER_ADDRESS;' \
        "pid $SANDBOX/nginx.pid; error_log $SANDBOX/nginx-error.log info;" \
        'events { worker_connections 512; }' "http { access_log off;" \
        "client_body_temp_path $SANDBOX/t1; proxy_temp_path $SANDBOX/t2; fastcgi_temp_path $SANDBOX/t3;" \
        "uwsgi_temp_path $SANDBOX/t4; scgi_temp_path $SANDBOX/t5;" "$NGINX_SERVERS }" >"$SANDBOX/nginx.conf"
}
nginx_start() {
    local port
    nginx_conf "$@"
    background nginx -e "$SANDBOX/nginx-error.log" -c "$SANDBOX/nginx.conf" -p "$SANDBOX" -g 'daemon off;'
    NGINX_PID=$PID
    for port in "${NGINX_PORTS[@]}"; do
        wait_for 10 port_answers "$port" || { cat "$LOG" "$SANDBOX/nginx-error.log" >&2; return 1; }
    done
}
