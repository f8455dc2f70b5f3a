#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the commands of the guides in docs/, in their order. A fence says where: "sh host" on the host with
# its token, "sh customer" on a machine that has no configuration, "sh bank" and "sh other" at the bank and
# at another vendor; "refused" after that: the block must fail.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
softhsm_need python3
mkdir "$SANDBOX/bin" && ln -s "$KYOK" "$SANDBOX/bin/kyok"
export PATH=$SANDBOX/bin:$PATH

# prepare NAME: a host with an empty token "company", as every guide begins.
prepare() {
    rm -rf "${SANDBOX:?}/$1" && mkdir "$SANDBOX/$1"
    softhsm_new "$1/hsm" && softhsm_token "$1/hsm" company
    export SOFTHSM2_CONF=$SANDBOX/$1/hsm.conf
    kyok_conf '[token company]' "module = $(softhsm_module)" 'uri = pkcs11:token=company' \
        "pin-source = file:$(pin_file)" 'require = non-extractable'
}

# The bank's KMIP server is a process of its own; what its operator types goes to that process.
prepare_bank() {
    kmip_server bank 'key vendor-a aes-256 alice' 'key vendor-b aes-256 bob' || return 1
    kmip_group bank bob "$PORT" >"$SANDBOX/other.conf"
    printf 'theirs' | KYOK_CONF=$SANDBOX/other.conf "$KYOK" seal --to kmip://bank/vendor-b \
        -o "$SANDBOX/two-parties/theirs.jwe" || return 1
    kmip_group bank alice "$PORT" 'timeout = 3' >>"$SANDBOX/kyok.conf"
}
revoke() { kmip_tell bank "state $1 deactivated"; }

# blocks FILE: each block as a file NUMBER.sh in ./blocks, its fence's words in NUMBER.fence.
blocks() {
    mkdir -p "$SANDBOX/blocks" && rm -f "$SANDBOX/blocks/"*
    python3 - "$1" "$SANDBOX/blocks" <<'PY'
import re, sys
text = open(sys.argv[1]).read()
for number, (fence, body) in enumerate(re.findall(r"^```sh ([a-z ]+)\n(.*?)^```$", text, re.M | re.S)):
    open(f"{sys.argv[2]}/{number:02}.fence", "w").write(fence)
    open(f"{sys.argv[2]}/{number:02}.sh", "w").write(body)
PY
}

run_block() { # WHERE FILE
    case $1 in
    customer) env -u KYOK_CONF -u SOFTHSM2_CONF bash -e -o pipefail "$2" ;;
    bank) . "$2" ;;
    other) KYOK_CONF=$SANDBOX/other.conf bash -e -o pipefail "$2" ;;
    *) bash -e -o pipefail "$2" ;;
    esac
}

guide() {
    local name=$1 fence where refused number
    prepare "$name" || { fail "$name: a host"; return; }
    [ "$name" != two-parties ] || prepare_bank || { fail "$name: a bank" "$(cat "$SANDBOX"/bank.*)"; return; }
    blocks "$SOURCE/docs/$name.md"
    cd "$SANDBOX/$name" || return
    for fence in "$SANDBOX"/blocks/*.fence; do
        read -r where refused <"$fence"
        number=$(basename "$fence" .fence)
        if [ "${refused:-}" = refused ]; then
            refused "$name: block $number is refused" 1 '.' run_block "$where" "${fence%.fence}.sh"
        else
            ok "$name: block $number" run_block "$where" "${fence%.fence}.sh"
        fi
    done
    cd "$SANDBOX" || return
}

for name in bring-your-own-key rotation key-per-vendor two-parties from-ibm-hpcs from-vault-transit; do
    guide $name
done
done_testing
