#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# nginx whose keys are in PKCS#11 tokens, by kyok_config alone (no OPENSSL_CONF, no env lines): checked
# by nginx -t, PINs handed down, workers that log in by themselves; and an HSM that is slow, hangs,
# restarts, or is one of two.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need pkcs11-tool
nginx_level=${KYOK_NGINX_LOG:-info}

# --- two members of one group, each a SoftHSM of its own with a faulty module in front ----------------
softhsm_new hsm1
softhsm_token hsm1 web
ca_new
nginx_key ec
nginx_key rsa rsa
nginx_key other
token_import hsm1 web ec 01 "$SANDBOX/ec.key"
token_import hsm1 web rsa 02 "$SANDBOX/rsa.key"
softhsm_clone hsm1 hsm2
faulty_new one hsm1
faulty_new two hsm2 clone
# Workers have given up root and must reach the tokens, but not the PIN.
[ "$(id -u)" -ne 0 ] || chown -R nobody "$SANDBOX/hsm1" "$SANDBOX/hsm2"
pin=$(pin_file)

deadline=120s # that only a real hang reaches
conf() { # [LINE...]: kyok.conf with the group "web"
    printf '%s\n' '[token web]' "module = $SANDBOX/one.so" 'uri = pkcs11:token=web' \
        "pin-source = file:$pin" "timeout = $deadline" "$@" >"$NGX/kyok.conf"
}
conf
cp "$NGX/kyok.conf" "$SANDBOX/kyok.conf"
reference() { # OBJECT
    KYOK_CONF=$SANDBOX/kyok.conf "$KYOK" key reference "pkcs11:token=web;object=$1" -o "$SANDBOX/$1.ref"
}
ok "key references" eval 'reference ec && reference rsa'

https=$(free_port) plain=$(free_port)
server() { # KEY-DIRECTIVES
    echo "server { listen 127.0.0.1:$https ssl http2; listen 127.0.0.1:$plain; $1
        location / { return 200 \"hello\\n\"; }
        location = /kyok { kyok_status; }
        location = /kyok.json { kyok_status json; } }"
}
both="ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key $SANDBOX/ec.ref;
    ssl_certificate $SANDBOX/rsa.pem; ssl_certificate_key $SANDBOX/rsa.ref;"
configure() { nginx_conf "kyok_config kyok.conf; ${2:-}" "$(server "${1:-$both}")"; }
begin() {
    nginx_stop TERM
    : >"$NGX/error.log"
    configure "$@"
    nginx_start || { fail "nginx starts"; done_testing; }
}
good='kyok_keys{state="good"}'
serves() { load "$https" clients=4 count=16; [ "$load_failed $load_done" = "0 16" ]; }
# Handshakes until load_end, and what became of them.
load_begin() { "$SUPPORT/tls_load_tool" "$https" clients=8 seconds=600 >"$SANDBOX/load" & busy=$!; }
load_goes_on() { wait_for 120 metric_reaches "$plain" kyok_full_handshakes_total $(($(full) + $1)); } # HANDSHAKES more
load_end() {
    kill -USR1 $busy
    wait $busy
    diag "$(cat "$SANDBOX/load")"
    done=$(grep -o 'done=[0-9]*' "$SANDBOX/load" | cut -d= -f2)
    failed=$(grep -o 'failed=[0-9]*' "$SANDBOX/load" | cut -d= -f2)
}
full() { metric "$plain" kyok_full_handshakes_total; }

# --- nginx -t -------------------------------------------------------------------------------------------
events_collect "$SANDBOX/socket" "$SANDBOX/events"
configure
ok "nginx -t accepts keys that are there" env KYOK_EVENT_SOCKET="$SANDBOX/socket" bash -c "$(declare -f nginx_run)
    NGX=$NGX nginx_preload=$nginx_preload nginx_run -t"
wait_for 30 grep -q '"event":"login"' "$SANDBOX/events"
like "an event tells of nginx's login" "$(grep '"event":"login"' "$SANDBOX/events")" \
    '"program":"nginx".*"custodian":"web[^"]*".*"result":"ok"'
configure "ssl_certificate $SANDBOX/rsa.pem; ssl_certificate_key $SANDBOX/ec.ref;"
refused "a key of another type than its certificate's" any 'key "pkcs11:.*object=ec.*" does not fit its certificate' nginx_run -t
configure "ssl_certificate $SANDBOX/other.pem; ssl_certificate_key $SANDBOX/ec.ref;"
refused "a key that does not fit its certificate" any 'key values mismatch' nginx_run -t
perl -MMIME::Base64 -e '
    my $uri = shift; my $mark = "PKCS#11 Provider URI v1.0";
    my $body = "\x1a" . chr(length $mark) . $mark . "\x0c" . chr(length $uri) . $uri;
    print "-----BEGIN PKCS#11 PROVIDER URI-----\n", encode_base64("\x30" . chr(length $body) . $body),
        "-----END PKCS#11 PROVIDER URI-----\n"' 'pkcs11:token=web;object=none;type=private' >"$SANDBOX/none.ref"
configure "ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key $SANDBOX/none.ref;"
refused "a key that the token does not have" any 'cannot load certificate key.*none.ref' nginx_run -t
conf 'require = never-extractable'
configure
refused "a key that breaks require" any 'extractable' nginx_run -t
conf "bogus = 1"
refused "an error in kyok.conf, with its place and that of the directive" any \
    'kyok.conf:6.*nginx.conf:[0-9]+' nginx_run -t
conf
chmod 644 "$pin"
refused "a PIN that others can read" any "$pin.*nginx.conf:[0-9]+" nginx_run -t
chmod 600 "$pin"
nginx_conf '' "$(server "$both")" "kyok_config kyok.conf;"
refused "kyok_config behind http" any '"kyok_config" directive must come before .* in .*nginx.conf:[0-9]+|cannot load certificate key' nginx_run -t
nginx_conf '' "server { listen 127.0.0.1:$plain; }" "kyok_config kyok.conf;"
refused "kyok_config behind http says where it belongs" any '"kyok_config" directive must come before .* in .*nginx.conf:[0-9]+' nginx_run -t
nginx_conf 'kyok_config absent.conf;' "server { listen 127.0.0.1:$plain; }"
refused "a kyok.conf that is not there" any 'absent.conf.*nginx.conf:[0-9]+' nginx_run -t
configure "ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key \"data:$(cat "$SANDBOX/ec.ref")\";"
ok "a reference inside the configuration" nginx_run -t

# --- handshakes -----------------------------------------------------------------------------------------
begin
faulty one reset
faulty one delay signs 20ms
for tls in 1.2 1.3; do
    for sigalgs in ECDSA+SHA256 RSA-PSS+SHA256; do
        load "$https" clients=16 count=64 tls=$tls sigalgs=$sigalgs
        is "TLS $tls with $sigalgs" "$load_failed $load_done" "0 64"
    done
done
hanging() { [ "$(faulty one hanging)" -ge "$1" ]; }
faulty one hang C_Sign
"$SUPPORT/tls_load_tool" "$https" clients=16 count=16 timeout=120 >"$SANDBOX/load" & busy=$!
ok "operations of one worker are at the HSM at once" wait_for 60 hanging 16
faulty one release
wait $busy
like "and succeed" "$(cat "$SANDBOX/load")" 'done=16 failed=0 '
load "$https" clients=8 count=32 tls=1.2 ciphers=AES128-GCM-SHA256:@SECLEVEL=0
is "TLS 1.2 with RSA key exchange" "$load_failed $load_done" "0 32"
faulty one delay signs 0ms
faulty one reset
load "$https" clients=1 count=50 tls=1.3 sigalgs=ECDSA+SHA256
calls=$(faulty one count all | awk '{ n += $NF } END { print n }')
at_most "PKCS#11 calls per handshake" "$(perl -e "print $calls / 50")" 2.1
is "nothing worse than an error in the log" "$(nginx_bad_lines)" ""

# --- certificates by variable -------------------------------------------------------------------------
begin "ssl_certificate $SANDBOX/\$ssl_server_name.pem; ssl_certificate_key $SANDBOX/\$ssl_server_name.ref;"
ln -sf "$SANDBOX/ec.pem" "$SANDBOX/localhost.pem"
ln -sf "$SANDBOX/ec.ref" "$SANDBOX/localhost.ref"
chmod 644 "$SANDBOX/ec.ref" "$SANDBOX/ec.pem"
load "$https" clients=8 count=64
is "certificates by variable" "$load_failed $load_done" "0 64"

# --- the HSM's faults -------------------------------------------------------------------------------------
deadline=2s
conf
begin
ok "keys are good" wait_for 120 metric_reaches "$plain" "$good" 2
before=$(metric "$plain" kyok_waits_timed_out_total)
faulty one hang C_Sign 4
load "$https" clients=4 count=40 tls=1.3
is "an HSM that hangs: the clients get alerts" "$load_failed $load_alerts" "40 40"
at_least "at the group's deadline" $(($(metric "$plain" kyok_waits_timed_out_total) - before)) 1
is "while the HSM still hangs" "$(faulty one hanging)" 4
is "and the worker answers" "$(curl -sS -m 60 "http://127.0.0.1:$plain/")" hello
# Each of them would be a line at [crit]: they are one for each cause and 5 s, and the number of the others.
failures() {
    perl -ne '$line++ if /\[crit\].*SSL_do_handshake\(\) failed.*kyok:/; $more += $1 if /\[error\].*kyok: (\d+) more handshakes failed/;
        END { printf "%d %d\n", $line, $line + $more }' "$NGX/error.log"
}
all_told() { [[ $(failures) == *' 40' ]]; }
ok "the log tells of all" wait_for 60 all_told
# At debug all are there.
if [ "$nginx_level" = debug ]; then is "in as many lines" "$(failures)" "40 40"; else at_most "in few lines" "$(failures | cut -d' ' -f1)" 20; fi
worker=$(nginx_worker)
faulty one release
ok "the HSM answers again: so does nginx" wait_for 60 serves
is "with the same worker" "$(nginx_worker)" "$worker"

deadline=120s
conf
begin
worker=$(nginx_worker)
wait_for 120 metric_reaches "$plain" "$good" 2
load_begin
for i in 1 2 3; do
    load_goes_on 200
    faulty one restart
done
load_goes_on 200
load_end
like "an HSM that restarts under load: no handshake fails" "$done $failed" '^[0-9]{3,} 0$'
is "and no worker was restarted" "$(nginx_worker)" "$worker"

faulty one remove
load "$https" clients=2 count=4
is "a token that is gone: alerts" "$load_failed $load_alerts" "4 4"
faulty one return
ok "a token that is back" wait_for 60 serves
is "no restart" "$(nginx_worker)" "$worker"

# --- configuration that changes under a running nginx --------------------------------------------------
old=$(nginx_children)
conf "bogus = 1"
nginx_signal HUP
ok "a reload that fails" wait_for 60 grep -q 'kyok.conf:6' "$NGX/error.log"
is "a reload that fails leaves the old workers" "$(nginx_children)" "$old"
load "$https" clients=4 count=16
is "which serve" "$load_failed $load_done" "0 16"
conf
load_begin
reloads=0
for i in 1 2 3 4 5; do
    load_goes_on 100
    nginx_reload && reloads=$((reloads + 1))
done
load_goes_on 100
load_end
is "five reloads under load" $reloads 5
like "no handshake fails" "$done $failed" '^[0-9]{3,} 0$'
nginx_kill "$(nginx_worker)"
ok "a killed worker's successor serves" wait_for 60 serves

# --- self-tests --------------------------------------------------------------------------------------
faulty one fail C_Sign CKR_FUNCTION_FAILED 1000
nginx_reload
ok "a worker's self-test that fails is told" wait_for 60 grep -q '\[emerg\].*self-test of a key failed' "$NGX/error.log"
like "with the key and the token's reason" "$(grep 'self-test' "$NGX/error.log")" 'object=(ec|rsa).*CKR_FUNCTION_FAILED'
faulty one clear
if [ "$(id -u)" -eq 0 ]; then
    chown -R root "$SANDBOX/hsm1"
    chmod 700 "$SANDBOX/hsm1"
    begin
    ok "nginx -t passes as root though workers cannot reach the token: they say so" \
        wait_for 60 grep -q '\[emerg\].*self-test of a key failed' "$NGX/error.log"
    chown -R nobody "$SANDBOX/hsm1"
else skip "not root"; fi

# --- kyok_status and $kyok_key_time ----------------------------------------------------------------
nginx_access_log="$NGX/access.log timed"
nginx_stop TERM
configure "$both"
# shellcheck disable=SC2016
sed -i "s|^http {|http { log_format timed '\$kyok_key_time';|" "$NGX/nginx.conf"
nginx_start
ok "two keys are tried" wait_for 120 metric_reaches "$plain" "$good" 2
faulty one delay C_Sign 50ms
load "$https" clients=8 count=40
wait_for 60 metric_reaches "$plain" kyok_full_handshakes_total 40
page=$(curl -sS "http://127.0.0.1:$plain/kyok")
figure() { awk -v name="$1" '$1 == name { print $2 }' <<<"$page"; }
is "full handshakes" "$(figure kyok_full_handshakes_total)" 40
# Two keys are tried as well.
is "operations by custodian and member" "$(figure 'kyok_operations_total{custodian="web",member="web"}')" 42
is "the histogram counts all" "$(figure 'kyok_operation_seconds_count{custodian="web",member="web"}')" 42
at_most "and knows which were slow" "$(figure 'kyok_operation_seconds_bucket{custodian="web",member="web",le="0.03200"}')" 2
is "keys that passed their self-test" "$(figure 'kyok_keys{state="good"}')" 2
is "the member is healthy" "$(figure 'kyok_member_state{custodian="web",member="web",state="healthy"}')" 1
at_least "sessions" "$(figure 'kyok_sessions{custodian="web",member="web"}')" 2
wanted=$(date -d "$(openssl x509 -in "$SANDBOX/ec.pem" -noout -enddate | cut -d= -f2)" +%s)
is "when a certificate expires" "$(sed -n "s|^kyok_certificate_expiry_seconds{certificate=\"$SANDBOX/ec.pem\",.*} ||p" <<<"$page")" "$wanted"
like "the same as JSON" "$(curl -sS "http://127.0.0.1:$plain/kyok.json" | perl -MJSON::PP -0ne '
    my $p = decode_json($_); print "$p->{full_handshakes} $p->{members}[0]{custodian} $p->{keys}{good}"')" '^40 web 2$'
wait_for 60 eval "[ \"\$(grep -cv '^-' '$NGX/access.log')\" -ge 40 ]"
at_least "\$kyok_key_time in the access log, seconds" "$(grep -v '^-' "$NGX/access.log" | sort -n | head -1)" 0.03
is "for each handshake" "$(grep -cv '^-' "$NGX/access.log")" 40
before=$(figure kyok_full_handshakes_total)
nginx_reload
page=$(curl -sS "http://127.0.0.1:$plain/kyok")
is "counters outlive a reload" "$(figure kyok_full_handshakes_total)" "$before"
nginx_access_log=off
nginx_conf "" "$(server "$both" | sed 's/kyok_status json/kyok_status yaml/')"
refused "kyok_status takes prometheus or json" any 'invalid value "yaml" in "kyok_status" directive.*nginx.conf:[0-9]+' nginx_run -t
faulty one clear

# --- a group of two -------------------------------------------------------------------------------------
printf '%s\n' '[token web]' "uri = pkcs11:token=web?module-path=$SANDBOX/one.so" \
    "uri = pkcs11:token=web?module-path=$SANDBOX/two.so" "pin-source = file:$pin" "timeout = $deadline" >"$NGX/kyok.conf"
begin
load "$https" clients=4 count=40
# One goes when both have had work, and is back when the other has had it all for a while.
load_begin
load_goes_on 300
faulty one remove
faulty two reset
more() { [ "$(faulty two count C_Sign)" -ge "$1" ]; }
ok "one of two HSMs is killed: the other takes over" wait_for 60 more 500
faulty one return
load_goes_on 300
load_end
at_most "at most 1 % of the handshakes fail" $((100 * failed)) "$done"
nginx_stop
is "nor at the other" "$(faulty two sessions)" 0
is "no session is left at the HSM" "$(faulty one sessions)" 0
is "nor was any worker killed by a signal of its own" "$(grep 'exited on signal' "$NGX/error.log" | grep -v 'signal 9')" ""
done_testing
