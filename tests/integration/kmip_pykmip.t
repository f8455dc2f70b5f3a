#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok kmip against PyKMIP: every version, every operation that both have, two identities.

. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
. "$(dirname "$0")/../support/pykmip.sh"

pykmip_needed
kmip_certs
at_end+=(pykmip_stop)
pykmip_start pykmip "$CERTS" || skip_all "PyKMIP does not start"

{
    kmip_group alice alice "$PORT"
    kmip_group bob bob "$PORT"
    for version in 1.0 1.1 1.2 1.3 1.4 2.0; do kmip_group "v$version" alice "$PORT" "version = $version"; done
} >"$SANDBOX/kyok.conf"
export KYOK_CONF=$SANDBOX/kyok.conf

kmip() { "$KYOK" kmip "$@"; }
quiet() { "$KYOK" kmip "$@" 2>/dev/null; } # without what revocation means here

ok "ping" kmip ping alice
like "ping tells versions" "$(quiet ping alice)" 'speaks +KMIP 1\.4 \(offers 2\.0 1\.4 1\.3 1\.2 1\.1 1\.0\)'
like "ping tells the identity" "$(quiet ping alice)" 'identity +/CN=alice'
like "ping tells TLS" "$(quiet ping alice)" 'TLS +TLSv1\.2'
like "ping tells operations" "$(quiet ping alice)" 'operations .*Create .*Get'
like "ping tells what revocation means here" "$(kmip ping alice 2>&1)" 'Get still hands it out'

for version in 1.0 1.1 1.2 1.3 1.4 2.0; do
    group=v$version name=key-$version
    like "$version: ping" "$(quiet ping "$group")" "speaks +KMIP $version "
    ok "$version: create" kmip create "$group" --algorithm AES --length 256 --name "$name"
    id=$(kmip locate "$group" --name "$name")
    like "$version: locate by name" "$id" '^[0-9]+$'
    refused "$version: a name that is taken" 1 'exists' kmip create "$group" --algorithm AES --name "$name"
    like "$version: attributes" "$(quiet attributes "$group" "$id")" 'Cryptographic Length +256'
    like "$version: state" "$(quiet attributes "$group" "$id")" 'State +Active'
    ok "$version: activating again" kmip activate "$group" "$id"
    ok "$version: get" kmip get "$group" "$id" --out "$SANDBOX/$name"
    is "$version: 32 bytes" "$(stat -c %s "$SANDBOX/$name")" 32
    is "$version: mode 0600" "$(stat -c %a "$SANDBOX/$name")" 600
    refused "$version: another identity" 1 'PermissionDenied' kmip get bob "$id" --out "$SANDBOX/bob"
    refused "$version: an active key is not destroyed" 1 'PermissionDenied' kmip destroy "$group" "$id" --yes
    like "$version: revoke, measured" "$(kmip revoke "$group" "$id" 2>&1)" 'still hands the revoked key out'
    ok "$version: destroy" kmip destroy "$group" "$id" --yes
    refused "$version: gone" 1 'ItemNotFound' kmip get "$group" "$id" --out "$SANDBOX/gone"
    [ -e "$SANDBOX/gone" ] && fail "$version: no file is left" || pass "$version: no file is left"

    printf 'correct horse battery staple' >"$SANDBOX/secret"
    for type in secret-data opaque-object; do
        id=$(quiet register "$group" "$SANDBOX/secret" --type $type --no-activate)
        like "$version: register $type" "$id" '^[0-9]+$'
        is "$version: get it back" "$(quiet get "$group" "$id")" 'correct horse battery staple'
    done
    head -c 32 /dev/urandom >"$SANDBOX/raw"
    id=$(quiet register "$group" "$SANDBOX/raw" --type symmetric-key)
    quiet get "$group" "$id" >"$SANDBOX/raw.back"
    ok "$version: a registered AES key comes back" cmp "$SANDBOX/raw" "$SANDBOX/raw.back"

    pair=$(quiet create "$group" --algorithm RSA --length 2048)
    like "$version: create a key pair" "$pair" 'public [0-9]+'
    public=$(sed -n 's/^public //p' <<<"$pair")
    quiet get "$group" "$public" >"$SANDBOX/public"
    at_least "$version: its public half" "$(stat -c %s "$SANDBOX/public")" 200
done

# What no verb uses, through the client: a line per operation.
done_by_tool() { # by the number of operations, so that none is left out in silence
    case $1 in 1.0) echo 6 ;; 1.1) echo 7 ;; 1.[23]) echo 10 ;; 1.4) echo 11 ;; 2.0) echo 12 ;; esac
}
for version in 1.0 1.1 1.2 1.3 1.4 2.0; do
    done=0
    while read -r line; do
        case $line in
        "ok "*) pass "$version: ${line#ok }"; done=$((done + 1)) ;;
        "skip "*) ;; # the version has no such operation
        *) fail "$version: $line" ;;
        esac
    done < <("$SUPPORT/kmip_operations_tool" "$PORT" "$CERTS" "${version/./}" 2>&1)
    is "$version: operations that no verb uses" "$done" "$(done_by_tool "$version")"
done

# Every operation that PyKMIP's engine has is used above or by the verbs: a new one must be looked at.
operations=$(sed -n 's/^    def _process_\([a-z_]*\)(self, payload):$/\1/p' \
    "$(/usr/bin/python3 -W ignore -c 'from kmip.services.server import engine; print(engine.__file__)')" |
    LC_ALL=C sort | paste -sd' ')
is "PyKMIP's operations are those that are tested" "$operations" "activate create create_key_pair decrypt \
delete_attribute derive_key destroy discover_versions encrypt get get_attribute_list get_attributes locate mac \
modify_attribute query register revoke set_attribute sign signature_verify"

like "JSON" "$(quiet ping alice --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["endpoints"][0]["version"])')" '^1\.4$'
like "ping warns of keys that may be used and taken out" "$(quiet ping alice)" 'may Sign with kmip://alice/[0-9]+ and Get'
refused "a key is not shown on a terminal" 1 'not shown on a terminal' \
    script -qec "$KYOK kmip get alice $id" /dev/null
refused "an unknown group" 2 'no \[kmip nobody\]' kmip ping nobody
refused "an unknown option value" 2 'KMIP knows no' kmip create alice --algorithm rot13

done_testing
