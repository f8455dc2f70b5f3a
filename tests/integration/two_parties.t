#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two parties are two systems: the bank's custodian is a KMIP server in a process, under a user, in a folder
# of its own; the host has its token and a client identity, and as root each is a user of its own, who cannot
# look into the other's folder. The bank revokes on its side alone.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
softhsm_need setsid

bank=$SANDBOX/bank host=$SANDBOX/host rival=$SANDBOX/rival
mkdir -m 700 "$bank" "$host" "$rival"
CERTS=$bank/certs
kmip_certs
mkfifo "$bank/operator"
users=''
[ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null || users=yes
# The programs where every user reaches them.
mkdir "$SANDBOX/bin" && cp "$KYOK" "$BUILD"/libkyok.so.? "$SUPPORT/kmip_server_tool" "$SANDBOX/bin/" && chmod -R a+rX "$SANDBOX/bin"
# user_of FOLDER: a folder's user is a number of its own. own FOLDER: it is its user's alone.
user_of() { case ${1#"$SANDBOX/"} in bank | forged*) echo 65534 ;; host) echo 65533 ;; rival) echo 65532 ;; *) echo 65531 ;; esac; }
own() { [ -z "$users" ] || chown -R "$(user_of "$1"):$(user_of "$1")" "$1"; }
turn_into() { turn=(); [ -z "$users" ] || turn=(setpriv "--reuid=$(user_of "$1")" "--regid=$(user_of "$1")" --clear-groups); }
as() { turn_into "$1"; shift; "${turn[@]}" "$@"; }
own "$bank"
exec 7<>"$bank/operator"
turn_into "$bank"
setsid "${turn[@]}" "$SANDBOX/bin/kmip_server_tool" --certs "$CERTS" <&7 >"$SANDBOX/bank.out" 2>"$SANDBOX/bank.err" 7<&- &
started+=("$!")
server_pid=$!
wait_for 10 grep -q '^port' "$SANDBOX/bank.out" || skip_all "the bank's server does not start: $(head -1 "$SANDBOX/bank.err")"
PORT=$(sed -n 's/^port //p' "$SANDBOX/bank.out")
# The operator at the bank types; nothing of this is on the host.
operator() {
    local before
    before=$(wc -l <"$SANDBOX/bank.out")
    echo "$*" >&7
    wait_for 10 bash -c "[ \$(wc -l <'$SANDBOX/bank.out') -gt $before ]"
    tail -1 "$SANDBOX/bank.out" | grep -q ^ok
}
ok "the bank makes a key for the host's identity alone" operator key for-host aes-256 alice
ok "and one for another vendor" operator key for-rival aes-256 bob

# party FOLDER IDENTITY: a vendor's host with a token; of the bank it gets a certificate and the CA.
party() {
    local folder=$1 identity=$2
    mkdir "$folder/tokens"
    printf '%s\n' "directories.tokendir = $folder/tokens" 'log.level = ERROR' >"$folder/softhsm.conf"
    SOFTHSM2_CONF=$folder/softhsm.conf softhsm2-util --init-token --free --label host --pin "$PIN" --so-pin "$SO_PIN" >/dev/null
    (umask 077 && echo "$PIN" >"$folder/pin")
    cp "$CERTS/ca.crt" "$CERTS/$identity.crt" "$CERTS/$identity.key" "$folder/"
    printf '%s\n' '[token host]' "module = $(softhsm_module)" 'uri = pkcs11:token=host' "pin-source = file:$folder/pin" \
        '[kmip bank]' "server = kmips://127.0.0.1:$PORT" "ca = $folder/ca.crt" "certificate = $folder/$identity.crt" \
        "key = $folder/$identity.key" 'timeout = 3' '[key own]' 'uri = pkcs11:token=host;object=own' >"$folder/kyok.conf"
    own "$folder"
}
at() {
    local folder=$1
    shift
    as "$folder" env HOME="$folder" SOFTHSM2_CONF="$folder/softhsm.conf" KYOK_CONF="$folder/kyok.conf" "$SANDBOX/bin/kyok" "$@"
}
party "$host" alice
party "$rival" bob
if [ -n "$users" ]; then
    refused "the host's user cannot look into the bank's folder" any 'Permission denied' as "$host" cat "$CERTS/ca.key"
    refused "nor into the rival's" any 'Permission denied' as "$host" cat "$rival/pin"
    refused "nor the bank's into the host's" any 'Permission denied' as "$bank" cat "$host/pin"
else
    skip 'needs root: a user for each party' 3
fi
ok "the host's own key" at "$host" key generate own --type aes-256
ok "the rival's own key" at "$rival" key generate own --type aes-256
printf 'marker-of-the-secret' >"$SANDBOX/secret"
ok "seals to both" at "$host" seal --to 'all-of(kmip://bank/for-host, own)' --owner vm1 "$SANDBOX/secret" -o "$host/secret.jwe"
ok "the rival too" at "$rival" seal --to 'all-of(own, kmip://bank/for-rival)' "$SANDBOX/secret" -o "$rival/secret.jwe"
opened() { [ "$(at "$1" open "$1/secret.jwe" 2>/dev/null)" = marker-of-the-secret ]; }
ok "the host opens" opened "$host"
ok "the rival opens" opened "$rival"
cp "$host/secret.jwe" "$rival/other.jwe" && own "$rival"
refused "the rival's identity cannot use the host's key" any '' at "$rival" open "$rival/other.jwe" --foreign
rm "$rival/other.jwe"
unlike "the secret lies nowhere on the host" "$(grep -rl marker-of-the-secret "$host" "$bank" 2>/dev/null)" .

# --- states at the server ------------------------------------------------------------------------
like "the state is the server's" "$(at "$host" key state kmip://bank/for-host)" 'for-host +active +\(the KMIP server'
ok "suspended by the host's own word" at "$host" key state kmip://bank/for-host suspended
refused "which kyok alone keeps" 1 'suspended' at "$host" open "$host/secret.jwe"
ok "and takes back" at "$host" key state kmip://bank/for-host active
ok "it opens" opened "$host"
ok "a key of the host's own at the server" operator key scrap aes-256 alice
ok "deactivated by its owner" at "$host" key state kmip://bank/scrap deactivated
like "is deactivated" "$(at "$host" key state kmip://bank/scrap)" 'scrap +deactivated'
refused "and destroyed by name only" 1 'its name was not given' at "$host" key destroy kmip://bank/scrap --in "$host/tokens" --confirm crap
ok "with it" at "$host" key destroy kmip://bank/scrap --in "$host/tokens" --confirm scrap

# --- the bank stops --------------------------------------------------------------------------------
cp -a "$host" "$SANDBOX/stolen"
sed -i "s|$host|$SANDBOX/stolen|g" "$SANDBOX/stolen/kyok.conf" "$SANDBOX/stolen/softhsm.conf" && own "$SANDBOX/stolen"
before=$(cd "$host" && find . -type f -exec cksum {} + | sort)
ok "the bank revokes, on its side" operator state for-host deactivated
refused "the next open is refused, naming the bank" 1 'kmip://bank/for-host|bank' at "$host" open "$host/secret.jwe" -o "$host/out"
ok "the other vendor's still opens" opened "$rival"
refused "a stolen copy of the host opens nothing" 1 '' at "$SANDBOX/stolen" open "$SANDBOX/stolen/secret.jwe"
is "no command changed the host, and nothing was written" "$(cd "$host" && find . -type f -exec cksum {} + | sort)" "$before"
ok "the bank consents again" operator state for-host active
ok "the host opens again" opened "$host"

# --- each alone ------------------------------------------------------------------------------------
mv "$host/tokens" "$SANDBOX/away" && mkdir "$host/tokens"
refused "without its token the host opens nothing" any '' at "$host" open "$host/secret.jwe"
rmdir "$host/tokens" && mv "$SANDBOX/away" "$host/tokens"
# The bank signs identities: it can be the host at its own server. It can also make a token like the host's.
mkdir -m 711 "$SANDBOX/forged"
for identity in carol alice; do
    party_of_bank=$SANDBOX/forged/$identity
    mkdir "$party_of_bank" && party "$party_of_bank" $identity
    cp "$host/secret.jwe" "$party_of_bank/"
    rm -r "$party_of_bank/tokens" && mkdir "$party_of_bank/tokens" && own "$party_of_bank"
    refused "all that the bank has opens nothing, as $identity" any '.' at "$party_of_bank" open "$party_of_bank/secret.jwe" -o "$party_of_bank/out"
done
SOFTHSM2_CONF=$party_of_bank/softhsm.conf softhsm2-util --init-token --free --label host --pin "$PIN" --so-pin "$SO_PIN" >/dev/null
own "$party_of_bank"
id=$(at "$host" key show own | sed -n 's/.*id=\([%0-9A-F]*\);.*/\1/p' | head -1 | tr -d %)
ok "a token and key of the same names" at "$party_of_bank" key generate own --type aes-256 --id "$id"
refused "open nothing either" 1 'not what this key|altered|decrypt' at "$party_of_bank" open "$party_of_bank/secret.jwe" -o "$party_of_bank/out"
is "nothing was written" "$(find "$SANDBOX/forged" -name out)" ''
stop "$server_pid" KILL 2>/dev/null
refused "with the bank's server away: not reachable" 3 'bank' at "$host" open "$host/secret.jwe"
refused "nor for the stolen copy" 3 'bank' at "$SANDBOX/stolen" open "$SANDBOX/stolen/secret.jwe"
done_testing
