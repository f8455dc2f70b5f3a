#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Workers and their master: self-tests of four workers at one custodian, the status page's two forms, a PIN that
# changes, a worker without fibers, an HSM that hangs while the master reads its configuration, a worker
# that is ended while calls run, and a reload that takes http away.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need pkcs11-tool
nginx_level=${KYOK_NGINX_LOG:-info}
keys=(ec1 ec2 ec3 ec4 rsa1 rsa2)
# A deadline that only a real hang reaches; a short one where the HSM hangs for good.
NGINX_GROUP=('timeout = 120s')
must "a token with six keys" nginx_token "${keys[@]}"
https=$(free_port) plain=$(free_port) streams=$(free_port) smtp=$(free_port) nobody=$(free_port)

servers='' main="kyok_config $SANDBOX/kyok.conf;"
for key in "${keys[@]}"; do
    servers+="server { listen 127.0.0.1:$https ssl; server_name $key; ssl_certificate $SANDBOX/$key.pem;
        ssl_certificate_key $SANDBOX/$key.ref; location / { return 200 \"hello\\n\"; } } "
done
servers+="server { listen 127.0.0.1:$plain; location / { return 200 \"hello\\n\"; } location = /kyok { kyok_status; }
    location = /kyok.json { kyok_status json; } }"
begin() { # [MAIN]
    nginx_stop TERM
    : >"$NGX/error.log"
    nginx_conf "$main ${1:-}" "$servers"
    nginx_start || { fail "nginx starts"; done_testing; }
}
good='kyok_keys{state="good"}' bad='kyok_keys{state="bad"}' untried='kyok_keys{state="untried"}'
nobody_inside() { [ "$(faulty one sessions)" -eq 0 ]; }
hanging() { [ "$(faulty one hanging)" -ge "$1" ]; }

# --- self-tests: four workers, six keys each ------------------------------------------------------------
nginx_workers=4
faulty one delay C_Sign 200ms
begin
ok "every worker tries every key" wait_for 240 metric_reaches "$plain" "$good" 24
is "once" "$(faulty one count C_Sign | awk '{ print $NF }')" 24
at_most "all of them together have at most four signatures under way" "$(faulty one peak C_Sign)" 4
at_least "and not one after the other" "$(faulty one peak C_Sign)" 2
faulty one delay C_Sign 0ms
faulty one hang C_Sign 4
nginx_signal HUP
ok "four of the next workers' self-tests hang" wait_for 60 hanging 4
ok "the others wait for their turn" wait_for 30 metric_reaches "$plain" "$untried" 4
is "and are not begun" "$(faulty one hanging)" 4
# shellcheck disable=SC2046
nginx_kill $(nginx_children)
ok "workers that are killed in it leave their turn to others" wait_for 240 metric_reaches "$plain" "$good" 24
faulty one release
faulty one fail C_Sign CKR_FUNCTION_FAILED 1000
nginx_reload 60
ok "failures are in the status" wait_for 240 metric_reaches "$plain" "$bad" 24
told() { [ "$(grep -c '\[emerg\].*self-test of a key failed.*CKR_' "$NGX/error.log")" -ge "$1" ]; }
ok "and in the log" wait_for 30 told 24
is "handshakes fail with it" "$(load "$https" clients=2 count=2; echo "$load_failed")" 2
faulty one clear
ok "a self-test that failed is made again" wait_for 240 metric_reaches "$plain" "$good" 24
like "and the log says so" "$(cat "$NGX/error.log")" '\[notice\].*self-test of key .* succeeds now'

# --- a custodian that hangs takes nobody's place ------------------------------------------------------------
nginx_workers=1
faulty one hang C_Sign 4
begin 'kyok_max_inflight 2;'
ok "self-tests hang" wait_for 60 hanging 4
load "$https" clients=1 count=8
is "handshakes are not refused for that" "$load_failed $load_done $(metric "$plain" kyok_refused_total)" "0 8 0"
faulty one release

# --- the status page --------------------------------------------------------------------------------------
nginx_workers=1
begin
load "$https" clients=4 count=40
cat >"$SANDBOX/prometheus.pl" <<'PERL'
# The text format 0.0.4, strictly: every family once, HELP and TYPE before its samples, no series twice, histograms
# that add up. Prints what is wrong.
use strict;
my ($text, $name, %help, %type, %done, %seen, %hist) = (join '', <STDIN>);
sub wrong { print "$_[0]\n" }
wrong('no newline at the end') unless $text =~ /\n\z/;
for (split /\n/, $text) {
    if (/^# HELP ([a-zA-Z_:][\w:]*) \S.*$/) { wrong("twice: $_") if $help{$1}++; $name = $1; $done{$1}++; next }
    if (/^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/) {
        wrong("TYPE without its HELP: $_") unless $1 eq $name;
        wrong("twice: $_") if $type{$1};
        $type{$1} = $2;
        wrong("a counter's name: $_") if $2 eq 'counter' && $1 !~ /_total$/;
        next;
    }
    my $label = qr/[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"/;
    wrong("no sample: $_"), next unless /^([a-zA-Z_:][\w:]*)(?:\{($label(?:,$label)*)\})? (\d+(?:\.\d+)?|\+Inf)$/;
    my ($sample, $labels, $value) = ($1, $2 // '', $3);
    my $family = $sample;
    $family =~ s/_(?:bucket|sum|count)$// unless $type{$sample};
    wrong("not among its family: $_") unless $family eq $name && $type{$family};
    wrong("series twice: $_") if $seen{"$sample\{$labels}"}++;
    if ($type{$family} eq 'histogram') {
        (my $series = $labels) =~ s/,?le="([^"]*)"//;
        my ($le, $h) = ($1, $hist{"$family $series"} //= {last => -1, le => -1});
        if ($sample eq "${family}_bucket") {
            wrong("buckets go down: $_") if $value < $h->{last};
            wrong("bounds go down: $_") unless $le eq '+Inf' || $le > $h->{le};
            ($h->{last}, $h->{le}, $h->{inf}) = ($value, $le eq '+Inf' ? 1e300 : $le, $le eq '+Inf' ? $value : undef);
        } elsif ($sample eq "${family}_sum") { $h->{sum} = $value }
        elsif ($sample eq "${family}_count") { $h->{count} = $value }
        else { wrong("no sample of a histogram: $_") }
    }
}
for (keys %hist) {
    my $h = $hist{$_};
    wrong("$_: no +Inf, _sum or _count") unless defined $h->{inf} && defined $h->{sum} && defined $h->{count};
    wrong("$_: +Inf is not _count") unless ($h->{inf} // 'x') eq ($h->{count} // 'y');
    wrong("$_: _sum of nothing") if $h->{count} && !$h->{sum};
}
wrong("no histogram") unless %hist;
PERL
curl -sS "http://127.0.0.1:$plain/kyok" >"$SANDBOX/page"
is "the page is Prometheus text" "$(perl "$SANDBOX/prometheus.pl" <"$SANDBOX/page")" ""
for broken in 's/^# TYPE kyok_sessions.*$//m' 's/(le="\+Inf"} )\d+/${1}0/' 's/^kyok_operation_seconds_sum.*\n//m' 's/\n\z//' 's/member="/member=/'; do
    like "and the test knows what is not: $broken" "$(perl -0pe "$broken" "$SANDBOX/page" | perl "$SANDBOX/prometheus.pl")" .
done
faulty one delay C_Sign 100ms
was=$(metric "$plain" 'kyok_operation_seconds_sum{custodian="web",member="web"}')
load "$https" clients=4 count=20
now=$(metric "$plain" 'kyok_operation_seconds_sum{custodian="web",member="web"}')
at_least "_sum grows by the time that operations took, seconds" "$(perl -e 'print $ARGV[0] - $ARGV[1]' "$now" "$was")" 2
faulty one delay C_Sign 0ms
wanted='cancellations certificates failed_handshakes full_handshakes in_flight keys members refused resumed_handshakes suspended threads threads_written_off waits_timed_out'
is "the JSON form has the same" "$(curl -sS "http://127.0.0.1:$plain/kyok.json" | perl -MJSON::PP -0ne '
    my $p = decode_json($_); print join(" ", sort keys %$p)')" "$wanted"
is "and its members" "$(curl -sS "http://127.0.0.1:$plain/kyok.json" | perl -MJSON::PP -0ne '
    my $p = decode_json($_); my $m = $p->{members}[0]; print join(" ", $p->{full_handshakes}, scalar @{$p->{certificates}}, sort keys %$m)')" \
    "60 6 custodian failovers failures in_flight latency_quarter_ms_doubled logins member operations seconds sessions state timeouts"

# --- a PIN that changes --------------------------------------------------------------------------------------
nginx_workers=4
if [ "$(id -u)" -eq 0 ]; then
    begin
    ok "four workers" wait_for 240 metric_reaches "$plain" "$good" 24
    p11tool hsm --token-label web --change-pin --new-pin 87654321 >/dev/null 2>&1
    chown -R nobody "$SANDBOX/hsm"
    pin_file pin 87654321 >/dev/null
    load "$https" clients=2 count=4
    is "a PIN that changes: who is logged in stays so" "$load_failed $load_done" "0 4"
    faulty one reset
    faulty one restart
    load "$https" clients=8 count=16
    is "at the next login it is wrong: alerts" "$load_failed $load_alerts" "16 16"
    # shellcheck disable=SC2046
    nginx_kill $(nginx_children)
    ok "nor can those that follow log in" wait_for 240 metric_reaches "$plain" "$bad" 24
    is "all of them together burn one try" "$(faulty one count C_Login)" 1
    ok "the log says that it takes a reload" wait_for 60 grep -q 'PIN.*[Rr]eload' "$NGX/error.log"
    nginx_reload 60
    load "$https" clients=2 count=4
    is "after which all is well" "$load_failed $load_done" "0 4"
else skip "not root" 7; fi
nginx_workers=1

# --- no fibers ---------------------------------------------------------------------------------------------------
kept=$nginx_preload
nginx_preload="${nginx_preload:+$nginx_preload:}$SUPPORT/nostack_module.so"
begin
load "$https" clients=8 count=32
is "a worker that cannot start fibers blocks" "$load_failed $load_done" "0 32"
is "and says so once" "$(grep -c 'no stack for a fiber' "$NGX/error.log")" 1
nginx_preload=$kept

# --- mail whose greeting waits for a resolver ----------------------------------------------------------------
if [ -e $nginx_modules/ngx_mail_module.so ]; then
    nginx_stop TERM
    nginx_conf "load_module $nginx_modules/ngx_mail_module.so; $main" "$servers" "mail { auth_http 127.0.0.1:$plain/;
        server_name localhost; ssl_certificate $SANDBOX/ec1.pem; ssl_certificate_key $SANDBOX/ec1.ref;
        server { listen 127.0.0.1:$smtp; protocol smtp; starttls on; resolver 127.0.0.1:$nobody; resolver_timeout 200ms; } }"
    nginx_start
    ok "the workers of mail" wait_for 240 metric_reaches "$plain" "$good" 6
    faulty one hang C_Sign
    pids=()
    for i in 1 2 3 4 5 6; do
        without_provider timeout 120 openssl s_client -starttls smtp -connect "127.0.0.1:$smtp" </dev/null >"$SANDBOX/smtp.$i" 2>&1 & pids+=($!)
    done
    ok "STARTTLS behind a resolver is suspended too: six signatures of one worker are at the HSM at once" wait_for 90 hanging 6
    faulty one release
    wait "${pids[@]}"
    is "and all of them succeed" "$(cat "$SANDBOX"/smtp.* | grep -cE 'Cipher is (TLS|ECDHE)')" 6
else skip "nginx's mail module is not installed" 3; fi

# --- the HSM hangs while the master reads its configuration ----------------------------------------------
sed -i 's/^timeout = .*/timeout = 3s/' "$SANDBOX/kyok.conf"
begin
ok "keys are good" wait_for 240 metric_reaches "$plain" "$good" 6
old=$(nginx_children)
faulty one hang all
refused "nginx -t has a deadline" any 'within its deadline|did not answer|hang' \
    timeout 100 env LD_PRELOAD="$nginx_preload" nginx -p "$NGX" -e "$NGX/error.log" -c "$NGX/nginx.conf" -t
: >"$NGX/error.log"
nginx_signal HUP
ok "so has a reload" wait_for 120 grep -q '\[emerg\]' "$NGX/error.log"
is "the old workers stay" "$(nginx_children)" "$old"
is "and answer" "$(curl -sS -m 60 "http://127.0.0.1:$plain/")" hello
nginx_signal QUIT
ok "the master can be told to quit" wait_for 120 nginx_gone
faulty one release
MASTER=
sed -i 's/^timeout = .*/timeout = 120s/' "$SANDBOX/kyok.conf"

# --- ended while calls run -------------------------------------------------------------------------------------
# A master that has waited for 1.6 s kills: signal 9 is nginx's impatience, the others are falls.
fell() { grep 'exited on signal' "$NGX/error.log" | grep -v 'on signal 9'; }
faulty one delay signs 3ms
for i in 1 2 3; do
    begin
    "$SUPPORT/tls_load_tool" "$https" clients=24 seconds=60 timeout=2 >"$SANDBOX/load" 2>&1 &
    busy=$!
    ok "signatures run" wait_for 120 metric_reaches "$plain" kyok_full_handshakes_total 20
    nginx_stop TERM
    kill $busy
    wait $busy 2>/dev/null
    is "a worker that is ended while signatures run ends in peace ($i)" "$(fell)" ""
done
faulty one clear

# --- http goes away --------------------------------------------------------------------------------------------
if [ -e $nginx_modules/ngx_stream_module.so ]; then
    main="load_module $nginx_modules/ngx_stream_module.so; $main"
    begin
    ok "keys are good again" wait_for 240 metric_reaches "$plain" "$good" 6
    cp "$NGX/nginx.conf" "$SANDBOX/with-http.conf"
    perl -0ne 's/^http \{.*//ms; print' "$SANDBOX/with-http.conf" >"$NGX/nginx.conf"
    echo "stream { server { listen 127.0.0.1:$streams ssl; ssl_certificate $SANDBOX/ec1.pem; ssl_certificate_key $SANDBOX/ec1.ref; return hello; } }" >>"$NGX/nginx.conf"
    stream_serves() { load "$streams" clients=4 count=8 request=no; [ "$load_failed $load_done" = "0 8" ]; }
    ok "a reload that takes http away" nginx_reload 120
    ok "stream serves" wait_for 120 stream_serves
    is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
    cp "$SANDBOX/with-http.conf" "$NGX/nginx.conf"
    ok "and one that brings it back" nginx_reload 120
    ok "and its keys" wait_for 240 metric_reaches "$plain" "$good" 6
else skip "nginx's stream module is not installed" 6; fi

# --- kyok_config goes away ----------------------------------------------------------------------------------------
# The master has logged in to read the configuration, and its login is what was left.
begin
ok "keys of a configuration that goes" wait_for 240 metric_reaches "$plain" "$good" 6
at_least "sessions of the master and the worker" "$(faulty one sessions)" 2
nginx_conf "" "server { listen 127.0.0.1:$plain; location / { return 200 \"hello\n\"; } location = /kyok { kyok_status; } }"
ok "a reload without kyok_config" nginx_reload 120
ok "nobody stays logged in" wait_for 60 nobody_inside
nginx_conf "$main" "$servers"
ok "a reload that brings it back" nginx_reload 120
ok "and keys are good" wait_for 240 metric_reaches "$plain" "$good" 6
nginx_stop
is "no session is left" "$(faulty one sessions)" 0
done_testing
