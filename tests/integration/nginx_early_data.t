#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Early data that arrives in one flight with its ClientHello, as a busy worker sees it, and early data that is
# refused, whose handshake then needs a signature; plain HTTP at a TLS port. In none of them may a request's
# handler run in a fiber: a location that needs a deep stack would end the worker.
. "$(dirname "$0")/../support/lib.sh"
. "$TESTS/support/nginx.sh"
nginx_need
softhsm_need
nginx_level=${KYOK_NGINX_LOG:-debug}
must "a token with a key" nginx_token ec
https=$(free_port) relay=$(free_port) plain=$(free_port) proxied=$(free_port)

# 150 nested callbacks take some 3 MiB of stack.
main="kyok_config $SANDBOX/kyok.conf;" deep='return 200 "deep\n";'
if [ -e $nginx_modules/ngx_http_lua_module.so ]; then
    main="load_module $nginx_modules/ndk_http_module.so; load_module $nginx_modules/ngx_http_lua_module.so; $main"
    deep='content_by_lua_block {
        local function down(n) if n == 0 then return "x" end
            return (string.gsub("a", "a", function() return down(n - 1) end)) end
        down(150) ngx.say("deep") }'
fi
for ticket in now later; do openssl rand -out "$SANDBOX/$ticket.key" 80; done
chmod 644 "$SANDBOX"/now.key "$SANDBOX"/later.key
begin() { # TICKET-KEY
    nginx_stop
    nginx_conf "$main" "server { listen 127.0.0.1:$https ssl; listen 127.0.0.1:$proxied ssl proxy_protocol;
        ssl_certificate $SANDBOX/ec.pem; ssl_certificate_key $SANDBOX/ec.ref;
        ssl_early_data on; ssl_session_tickets on; ssl_session_ticket_key $SANDBOX/$1.key; error_page 497 =200 /deep;
        location /deep { $deep } location / { return 200 \"hello \$uri \$ssl_early_data\\n\"; } }
        server { listen 127.0.0.1:$plain; location = /kyok { kyok_status; } }"
    nginx_start || { fail "nginx starts"; done_testing; }
    ok "the worker has tried its key" wait_for 120 metric_reaches "$plain" 'kyok_keys{state="good"}' 1
}

# Forwards what the client sends until it is silent for half a second in one piece, and everything after.
background perl -MIO::Socket::INET -MIO::Select -e '
    my ($port, $to) = @ARGV;
    my $listen = IO::Socket::INET->new(Listen => 8, LocalAddr => "127.0.0.1:$port", ReuseAddr => 1) or die;
    $SIG{CHLD} = "IGNORE"; $SIG{PIPE} = "IGNORE";
    while (my $client = $listen->accept) {
        next if fork;
        my $server = IO::Socket::INET->new("127.0.0.1:$to") or exit 1;
        my ($flight, $select) = ("", IO::Select->new($client));
        while (!length $flight || $select->can_read(0.5)) { sysread($client, $flight, 65536, length $flight) or last }
        syswrite $server, $flight;
        $select->add($server);
        while (my @ready = $select->can_read(60)) {
            for my $from (@ready) {
                sysread($from, my $data, 65536) or exit 0;
                syswrite $from == $client ? $server : $client, $data;
            }
        }
        exit 0;
    }' "$relay" "$https"
wait_for 60 port_answers "$relay"

request() { printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n' "$1" "${2:+Connection: $2
}"; }
tls() { # PORT OPTION...: until the server closes, at most 120 s
    without_provider timeout 120 openssl s_client -connect "127.0.0.1:$1" -servername localhost -tls1_3 -ign_eof "${@:2}" 2>&1
}
session() { { request / close; sleep 1; } | tls "$https" -sess_out "$SANDBOX/session" >/dev/null; }

begin now
for path in /one /deep; do
    session
    request $path >"$SANDBOX/early"
    answer=$({ sleep 2; request /two close; } | tls "$relay" -sess_in "$SANDBOX/session" -early_data "$SANDBOX/early")
    like "early data in one flight with its ClientHello ($path) is accepted" "$answer" 'Early data was accepted'
    # A busy worker may answer when the client has finished: $ssl_early_data is empty then, as in nginx without kyok.
    like "and answered" "$answer" "^(hello $path( 1)? *|deep)\$"
    like "and the connection goes on" "$answer" '^hello /two'
done
is "with no signature but that of the full handshakes and the self-test" "$(faulty one count C_Sign | awk '{ print $NF }')" 3

# --- refused ------------------------------------------------------------------------------------------------
session
begin later
faulty one reset
faulty one delay C_Sign 300ms
request /lost >"$SANDBOX/early"
for port in $https $relay; do
    answer=$({ sleep 2; request /again close; } | tls "$port" -sess_in "$SANDBOX/session" -early_data "$SANDBOX/early")
    like "early data of a ticket nobody knows is refused" "$answer" 'Early data was rejected'
    like "and the connection goes on after a full handshake" "$answer" '^hello /again'
    unlike "without that request" "$answer" '^hello /lost'
done
is "which needed a signature each" "$(faulty one count C_Sign | awk '{ print $NF }')" 2
faulty one delay C_Sign 0ms

# --- plain HTTP at a TLS port --------------------------------------------------------------------------------
is "plain HTTP at a TLS port" "$(curl -sS -m 120 "http://127.0.0.1:$https/")" deep
is "the same behind PROXY protocol" "$(curl -sS -m 120 --haproxy-protocol "http://127.0.0.1:$proxied/")" deep
is "no worker died" "$(grep 'exited on signal' "$NGX/error.log")" ""
nginx_stop
done_testing
