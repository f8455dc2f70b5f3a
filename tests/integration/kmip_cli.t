#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok kmip against the scripted server: exit codes, two endpoints, the smallest server, lost answers.

. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"

kmip_server one "key kek aes-256" || skip_all "the scripted server does not start"
one=$PORT
kmip_server two "key kek aes-256" || skip_all "the scripted server does not start"
two=$PORT
{
    kmip_group both alice "$one,$two" "timeout = 2"
    kmip_group one alice "$one" "timeout = 2"
    kmip_group nobody alice 1 "timeout = 2"
    kmip_group stranger mallory "$one" "timeout = 2"
    kmip_group crl alice "$one" "timeout = 2" "crl = $CERTS/ca-revokes-server.crl"
    kmip_group keyless alice "$one" | sed "s|^key = .*|key = $CERTS/none.key|"
} >"$SANDBOX/kyok.conf"
kmip_group bare alice "$one" | grep -v '^certificate\|^key' >"$SANDBOX/bare.conf"
export KYOK_CONF=$SANDBOX/kyok.conf
kmip() { "$KYOK" kmip "$@"; }
quiet() { "$KYOK" kmip "$@" 2>/dev/null; }
field() { perl -MJSON::PP -e 'local $/; my $v = decode_json(<STDIN>); print eval $ARGV[0]' "$1"; }

# --- ping ------------------------------------------------------------------------------------------
ok "ping both" kmip ping both
like "each endpoint has its part" "$(quiet ping both | grep -c '^up')" '^2$'
kmip_tell two down >/dev/null
refused "one of two" 4 '1 of 2 endpoints answer' kmip ping both
is "JSON says which" "$(quiet ping both --json | field '$v->{endpoints}[1]{ok} ? 1 : 0')" 0
is "and why" "$(quiet ping both --json | field '$v->{endpoints}[1]{error}{reason} =~ /ECONNREFUSED/ ? "yes" : "no"')" yes
ok "a read finds the other" kmip get both kek --out "$SANDBOX/kek"
kmip_tell two up >/dev/null
ok "and both answer again" kmip ping both
refused "no server" 3 'cannot connect.*ECONNREFUSED' kmip ping nobody
refused "a certificate of another CA" 1 'does not know the CA' kmip ping stranger
refused "a revoked server" 1 'has been revoked' kmip ping crl
refused "no client certificate" 2 'has no "certificate"' kmip ping bare --config "$SANDBOX/bare.conf"
refused "no client key" 2 'cannot read the client key' kmip ping keyless
kmip_tell one "certificate server-expired" >/dev/null
refused "an expired server" 1 'has expired' kmip ping one
kmip_tell one "certificate server" >/dev/null
kmip_tell one "tls 1.1" >/dev/null
refused "TLS 1.1" 1 'TLS 1\.2' kmip ping one
kmip_tell one "tls 1.3" >/dev/null
like "TLS 1.3" "$(quiet ping one)" 'TLS +TLSv1\.3'

# --- the smallest server --------------------------------------------------------------------------
kmip_tell one "profile nine" >/dev/null
kmip_tell one "versions 1.4" >/dev/null
kmip_tell one reset-stats >/dev/null
like "ping, without Query" "$(quiet ping one)" 'the server answers no Query'
id=$(quiet create one --algorithm AES --length 256 --name smallest)
like "create" "$id" 'kyok-test$'
is "locate" "$(quiet locate one --name smallest)" "$id"
like "attributes" "$(quiet attributes one "$id")" 'State +Active'
ok "get" kmip get one "$id" --out "$SANDBOX/smallest"
like "revoke" "$(quiet revoke one "$id")" ': deactivated$'
like "state" "$(quiet attributes one "$id")" 'State +Deactivated'
kmip_tell one "deny alice Revoke" >/dev/null
refused "deactivated is not yet compromised" 1 'refused Revoke' kmip revoke one "$id" --reason key-compromise
kmip_tell one "allow alice Revoke" >/dev/null
is "compromised, in JSON" "$(quiet revoke one "$id" --reason key-compromise --json | field '$v->{state}')" compromised
like "state" "$(quiet attributes one "$id")" 'State +Compromised'
ok "destroy" kmip destroy one "$id" --yes
refused "register: not offered" 1 'not offered|OperationNotSupported' kmip register one "$SANDBOX/kek" --type symmetric-key
kmip_tell one "profile full" >/dev/null
kmip_tell one "versions 1.4 1.3 1.2 1.1 1.0" >/dev/null

# --- lost answers ------------------------------------------------------------------------------------
kmip_tell one "fault Create 1 close-after" >/dev/null
like "a created key whose answer is lost is found" "$(kmip create one --algorithm AES --name lost 2>&1)" 'found by its name'
is "and is the only one" "$(quiet locate one --name lost | wc -l)" 1
kmip_tell one "fault Create 1 close-before" >/dev/null
refused "one that was not made is not made again" 3 'look for the name "never"' kmip create one --algorithm AES --name never
is "so there is none" "$(quiet locate one --name never | wc -l)" 0
kmip_tell one "fault Create 1 silent" >/dev/null
like "a key created by a server that went silent is found" "$(kmip create one --algorithm AES --name slow 2>&1)" 'found by its name'
kmip_tell one "fault Get 2 silent" >/dev/null
refused "a silent server" 3 'Get: the server did not answer in time' kmip get one kek --out "$SANDBOX/silent"
kmip_tell one "fault none" >/dev/null

# --- output --------------------------------------------------------------------------------------------
refused "an existing file is not overwritten" any 'File exists' kmip get one kek --out "$SANDBOX/kek"
exec 9>"$SANDBOX/by-descriptor"
ok "to a descriptor" kmip get one kek --fd 9
exec 9>&-
is "the same key as digits" "$(quiet get one kek --hex)" "$(od -An -v -tx1 "$SANDBOX/by-descriptor" | tr -d ' \n')"
like "EC pairs" "$(quiet create one --algorithm ECDSA --length 384 --name pair)" '^public '
like "located by type" "$(quiet locate one --type private-key)" 'kyok-test'
like "a limit is told" "$(kmip locate one --limit 1 2>&1)" 'there are more than 1'
# Never onto a screen, whichever descriptor leads there, unless told so.
screen() { python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' "$@" </dev/null; }
refused "a key is not shown on a terminal" 1 'not shown on a terminal' screen "$KYOK" kmip get one kek
refused "nor through --fd" 1 'not shown on a terminal' screen "$KYOK" kmip get one kek --fd 2
refused "nor as digits" 1 'not shown on a terminal' screen "$KYOK" kmip get one kek --hex
like "--reveal" "$(screen "$KYOK" kmip get one kek --hex --reveal | tr -d '\r')" "^$(quiet get one kek --hex)"

chmod 640 "$CERTS/alice.key"
like "a client key that others can read is logged" "$(KYOK_DEBUG=1 kmip ping one 2>&1)" 'alice.key can be read by others.*mode 640'
chmod 600 "$CERTS/alice.key"
unlike "one that they cannot is not" "$(KYOK_DEBUG=1 kmip ping one 2>&1)" 'read by others'

# --- nonsense ------------------------------------------------------------------------------------------
bad=$'no\xff\xfetext'
refused "an identifier that is no text" 2 'not UTF-8|UTF-8' kmip get one "$bad" --out "$SANDBOX/bad"
refused "a name that is no text" 2 'UTF-8' kmip locate one --name "$bad"
refused "an empty identifier" 2 'empty name or identifier' kmip destroy one "" --yes
refused "no use at all" 2 'names no use' kmip create one --algorithm AES --usage ""
[ -e "$SANDBOX/bad" ] && fail "no file is left" || pass "no file is left"
closed() { "$@" >&-; }
refused "standard output closed" 1 'cannot be written|EBADF' closed "$KYOK" kmip locate one
refused "closed, and a key file opened" 1 'cannot be written|EBADF' \
    closed "$KYOK" kmip get one kek --out "$SANDBOX/alone" --json
is "nothing but the key is in it" "$(stat -c %s "$SANDBOX/alone")" 32
full() { "$@" >/dev/full; }
refused "a full disk" 1 'ENOSPC' full "$KYOK" kmip get one kek
if [ "$(id -u)" -eq 0 ] && mkdir "$SANDBOX/small" && mount -t tmpfs -o size=4k tmpfs "$SANDBOX/small" 2>/dev/null; then
    head -c 4096 /dev/zero >"$SANDBOX/small/rest"
    refused "a disk that fills up" 1 'ENOSPC' kmip get one kek --out "$SANDBOX/small/key"
    [ -e "$SANDBOX/small/key" ] && fail "and half a key is left" || pass "no half of a key is left"
    umount "$SANDBOX/small"
else
    skip "needs root: a small file system" 2
fi
kmip_tell one "fault Get 1 silent" >/dev/null
timeout 1 "$KYOK" kmip get one kek --out "$SANDBOX/unasked" 2>/dev/null
[ -e "$SANDBOX/unasked" ] && fail "whoever gives up leaves no file" || pass "whoever gives up leaves no file"
kmip_tell one "fault none" >/dev/null
kmip_tell one "fault Get 2 delay 2000" >/dev/null
"$KYOK" kmip get both kek --out "$SANDBOX/survivor" 2>"$SANDBOX/survivor.err" &
getting=$!
kmip_tell one down >/dev/null
ok "a server that dies in the middle is no matter where there is another" wait "$getting"
kmip_tell one up >/dev/null
kmip_tell one "fault none" >/dev/null

# --- each verb says what revocation means here, and answers in JSON -------------------------------------
meaning='revocation means|revoked key|destroyed object'
like "ping says what revocation means" "$(kmip ping one 2>&1)" "$meaning"
for verb in "locate one" "attributes one kek" "activate one kek" "create one --algorithm AES" \
    "register one $SANDBOX/kek --type secret-data"; do
    # shellcheck disable=SC2086 # words
    like "${verb%% *} says what revocation means" "$(kmip $verb 2>&1 >/dev/null)" "note: .*($meaning)"
    # shellcheck disable=SC2086
    like "${verb%% *} says it in JSON" "$(quiet $verb --json | field '$v->{revocation}')" "$meaning"
done
like "get says what revocation means" "$(kmip get one kek 2>&1 >/dev/null | tr -d '\0')" "note: .*($meaning)"
like "get says it in JSON" "$(quiet get one kek --out "$SANDBOX/json-key" --json | field '$v->{revocation}')" "$meaning"
old=$(quiet create one --algorithm AES) older=$(quiet create one --algorithm AES)
like "revoke says what revocation means" "$(kmip revoke one "$old" 2>&1 >/dev/null)" "note: .*($meaning)"
like "revoke says it in JSON" "$(quiet revoke one "$older" --json | field '$v->{revocation}')" "$meaning"
like "destroy says what revocation means" "$(kmip destroy one "$old" --yes 2>&1 >/dev/null)" "note: .*($meaning)"
like "destroy says it in JSON" "$(quiet destroy one "$older" --yes --json | field '$v->{revocation}')" "$meaning"

# --- pages ---------------------------------------------------------------------------------------------
kmip_server many || skip_all "the scripted server does not start"
kmip_group many alice "$PORT" >>"$SANDBOX/kyok.conf"
for i in $(seq 1100); do echo "key page-$i aes-128"; done >&"${kmip_fd_many:?}" # all at once
many_are_made() { [ "$(grep -c '^ok' "$SANDBOX/many.out")" -ge 1100 ]; }
ok "1100 keys" wait_for 60 many_are_made
kmip_tell many reset-stats >/dev/null
is "all of 1100 objects, in two pages" "$(quiet locate many --limit 2000 | sort -u | grep -c '^page-')" 1100
is "asked for twice" "$(kmip_tell many stats | grep -o 'Locate=[0-9]*')" Locate=2
is "the first ten" "$(quiet locate many --limit 10 | wc -l)" 10
is "JSON says that there are more" "$(quiet locate many --limit 10 --json | field '$v->{more} ? "more" : "all"')" more

refused "destroying asks first" 1 'not confirmed' kmip destroy one kek
refused "usage" 2 'KMIP knows no use' kmip create one --algorithm AES --usage dance

done_testing
