#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Envelopes and the life of keys on HSM products, by what they lack (faulty_tool profiles): each verb's
# result is stated below; what cannot work is refused with a reason and a way out, and leaves nothing.
# And an HSM that makes AES-GCM's IV itself.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need python3
cd "$SANDBOX" || exit 1
softhsm_new soft && softhsm_token soft test
faulty_new hsm soft || skip_all "no faulty module"
kyok_conf '[token hsm]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=test' "pin-source = file:$(pin_file)" \
    '[key a]' 'uri = pkcs11:token=test;object=a' '[key r]' 'uri = pkcs11:token=test;object=r' \
    '[key d]' 'uri = pkcs11:token=test;object=d'
echo secret >s
ok 'keys, while nothing is missing' bash -c "'$KYOK' key generate a --type aes-256 && '$KYOK' key generate r --type rsa-2048 && '$KYOK' key descend a --for d"
"$KYOK" seal --to a s -o gcm.jwe && "$KYOK" seal --to a --algorithm A256KW s -o kw.jwe
"$KYOK" seal --to r s -o rsa.jwe && "$KYOK" seal --to d s -o descendant.jwe

# The columns: seal to an AES key; with A256KW; to an RSA key; open each of A256GCMKW, A256KW, RSA-OAEP-256
# and of a descendant; descend; suspend; rotate. "hpcs" and "google" have OAEP, but SoftHSM below them knows
# it with SHA-1 only and they lack raw RSA; "azure" has AES keys only to wrap, and not for this interface.
while read -r profile seal seal_kw seal_rsa open open_kw open_rsa open_descendant descend suspend rotate; do
    faulty hsm profile "$profile"
    # verb WANTED NAME ARGUMENT...
    verb() {
        local wanted=$1 name=$2
        shift 2
        rm -f out
        if [ "$wanted" = yes ]; then
            ok "$profile: $name" "$KYOK" "$@"
        else
            refused "$profile: $name is refused, with the reason" 1 'CKR_|CKM_|can(not)? ' "$KYOK" "$@"
            if [ -e out ]; then fail "$profile: $name left a file"; fi
        fi
    }
    verb "$seal" 'seal' seal --to a s -o out
    verb "$seal_kw" 'seal with A256KW' seal --to a --algorithm A256KW s -o out
    verb "$seal_rsa" 'seal to an RSA key' seal --to r s -o out
    verb "$open" 'open A256GCMKW' open gcm.jwe -o out
    verb "$open_kw" 'open A256KW' open kw.jwe -o out
    verb "$open_rsa" 'open RSA-OAEP-256' open rsa.jwe -o out
    verb "$open_descendant" 'open with a descendant' open descendant.jwe -o out
    verb "$descend" 'descend' key descend a --for "d-$profile"
    verb "$suspend" 'suspend' key state a suspended
    [ "$suspend" = no ] || "$KYOK" key state a active >/dev/null
    before=$("$KYOK" key list 2>/dev/null | wc -l)
    verb "$rotate" 'rotate' key rotate "pkcs11:token=test;object=r"
    [ "$rotate" = yes ] || is "$profile: nothing new is there" "$("$KYOK" key list 2>/dev/null | wc -l)" "$before"
done <<'PROFILES'
none     yes yes yes yes yes yes yes yes yes yes
hpcs     no  no  no  no  no  no  no  no  yes yes
cloudhsm yes yes yes yes yes yes yes yes yes yes
google   yes no  no  yes no  no  no  no  no  no
azure    no  no  no  no  no  no  no  no  no  no
PROFILES

# --- the verbs of keys: docs/key-verbs.md holds this table ---------------------------------------------------
# generate an AES key; an RSA key; pre-active; descend; rotate an AES key; suspend; import; destroy.
mkdir empty
table=$(sed -n 's/^| *\(none\|hpcs\|cloudhsm\|google\|azure\) *|/\1 /p' "$SOURCE/docs/key-verbs.md" | tr -d '|')
is 'the documented table has each profile' "$(wc -l <<<"$table")" 5
n=0
while read -r profile aes rsa pre descend rotate suspend import destroy; do
    n=$((n + 1))
    faulty hsm profile none
    for key in v s x; do "$KYOK" key generate "pkcs11:token=test;object=$key$n" --type aes-256 >/dev/null; done
    faulty hsm profile "$profile"
    key="pkcs11:token=test;object=v$n"
    stated() {
        local wanted=$1 name=$2
        shift 2
        if [ "$wanted" = yes ]; then ok "$profile: $name" "$KYOK" "$@"
        else refused "$profile: $name is refused, with the reason" any 'CKR_|CKM_|can(not)? |lacks' "$KYOK" "$@"; fi
    }
    stated "$aes" 'generate aes-256' key generate "pkcs11:token=test;object=a$n" --type aes-256
    stated "$rsa" 'generate rsa-2048' key generate "pkcs11:token=test;object=r$n" --type rsa-2048
    stated "$pre" 'generate pre-active' key generate "pkcs11:token=test;object=p$n" --type aes-256 --pre-active
    stated "$descend" 'descend' key descend "$key" --for "w$n"
    stated "$import" 'import' key import "pkcs11:token=test;object=i$n" --begin --allow-oaep-sha1 -o "$SANDBOX/offer$n"
    stated "$rotate" 'rotate aes-256' key rotate "$key"
    stated "$suspend" 'suspend' key state "pkcs11:token=test;object=s$n" suspended
    stated "$destroy" 'destroy' key destroy "pkcs11:token=test;object=x$n" --in empty --confirm "x$n"
    faulty hsm profile none
    for wanted in "$aes a" "$rsa r" "$pre p"; do
        [ "${wanted% *}" = yes ] || unlike "$profile: nothing is left of what was refused, ${wanted#* }" "$("$KYOK" key list)" "object=${wanted#* }$n;"
    done
done <<<"$table"
faulty hsm profile none
ok 'whatever they refused, all opens where nothing is missing' bash -c "
    for f in gcm kw rsa descendant; do '$KYOK' open \$f.jwe | cmp - s || exit 1; done"

# --- the token's own IV ------------------------------------------------------------------------------
faulty hsm lie own-iv
ok 'an HSM that makes the IV itself: seal' "$KYOK" seal --to a s -o iv1.jwe
ok 'again' "$KYOK" seal --to a s -o iv2.jwe
is 'open' "$("$KYOK" open iv1.jwe)" secret
is 'its IVs are in the envelopes' "$(python3 -c '
import json
ivs = {json.load(open(f))["recipients"][0]["header"]["iv"] for f in ("iv1.jwe", "iv2.jwe")}
print(len(ivs), "AAAAAAAAAAAAAAAA" in ivs)')" '2 False'
faulty hsm lie
is 'opened where the host gives the IV' "$("$KYOK" open iv2.jwe)" secret
done_testing
