#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every verb of the tables: completion, manual page, help, and --json, whose output is one JSON value. A verb
# that is added must be given a line below, or this test fails.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
softhsm_need python3 openssl
cd "$SANDBOX" || exit 1
"$KYOK" --help --json >help.json
python3 - >verbs <<'PY'
import json
for c in json.load(open("help.json"))["commands"]:
    print(c["command"] + "|" + " ".join(sorted(o["name"] for o in c.get("options", []))) + "|" + ("hidden" if c["hidden"] else ""))
PY
at_least 'the table has verbs' "$(wc -l <verbs)" 40

# --- completion and manual page ------------------------------------------------------------------------
cat >complete.sh <<'SH'
compopt() { :; }
source <("$KYOK" completion)
while IFS='|' read -r verb options hidden; do
    read -ra words <<<"$verb"
    COMP_WORDS=("$KYOK" "${words[@]}" --) COMP_CWORD=$((${#words[@]} + 1)) COMPREPLY=()
    _kyok
    offered=" $(printf '%s ' "${COMPREPLY[@]}")"
    for option in $options --json --config --help; do
        [[ $offered == *" $option "* ]] || echo "$verb lacks $option"
    done
    for option in "${COMPREPLY[@]}"; do
        [[ " $options --json --config --help --version " == *" $option "* ]] || echo "$verb has no $option"
    done
    [ -z "$hidden" ] || continue
    COMP_WORDS=("$KYOK" "${words[@]}") COMP_CWORD=${#words[@]} COMPREPLY=()
    _kyok
    [[ " $(printf '%s ' "${COMPREPLY[@]}")" == *" ${words[-1]} "* ]] || echo "$verb is not offered"
done
SH
is 'completion offers what the tables have, no more and no less' "$(bash --norc complete.sh <verbs)" ''
is 'the manual page has every verb and every option' "$(python3 - "$SOURCE/cli/kyok.1" <<'PY'
import json, sys
page = open(sys.argv[1]).read().replace("\\-", "-")
sections = {s.split("\n", 1)[0]: s for s in page.split(".Ss kyok ")[1:]}
for c in json.load(open("help.json"))["commands"]:
    if c["hidden"]:
        continue
    text = next((t for line, t in sections.items() if (line + " ").startswith(c["command"] + " ")), None)
    if text is None:
        print("no", c["command"])
        continue
    for o in c.get("options", []):
        if o["name"].lstrip("-") not in text:
            print(c["command"], "lacks", o["name"])
PY
)" ''

# --- --json ----------------------------------------------------------------------------------------------
# one_json FILE: it holds exactly one JSON value.
one_json() { python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$1" 2>/dev/null; }
bad=''
while IFS='|' read -r verb _; do
    # shellcheck disable=SC2086
    KYOK_CONF=$SANDBOX/none.conf timeout 60 "$KYOK" $verb --no-such-option --json >out 2>err </dev/null
    status=$?
    { [ $status = 2 ] && one_json out; } || bad="$bad $verb($status)"
done <verbs
is 'every verb says in JSON what is wrong' "$bad" ''

softhsm_new hsm && softhsm_token hsm t
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
pin=$(pin_file)
kyok_conf '[token t]' "module = $(softhsm_module)" 'uri = pkcs11:token=t' "pin-source = file:$pin" \
    '[key root]' 'uri = pkcs11:token=t;object=root' '[key www]' 'uri = pkcs11:token=t;object=www'
kmip=no
if kmip_server bank 'key kek aes-256 alice'; then
    kmip=yes
    kmip_group bank alice "$PORT" 'timeout = 20' >>kyok.conf
fi
printf 'secret' >secret
head -c 32 /dev/urandom >material
: >empty
# Each verb once, so that it does its work.
cat >commands <<COMMANDS
key generate root --type aes-256
key generate www --type ec-p256
key list t
key show www
key reference www -o www.pem
key state root
key descend root --for vendor
key rotate root
module list
module probe $(softhsm_module)
module test $(softhsm_module) --token t --pin-source file:$pin
seal --to root secret -o s.jwe
open s.jwe -o opened
inspect s.jwe
rewrap s.jwe --to root --dry-run
uses root s.jwe
events --file empty
setup --module $(softhsm_module) --config new.conf --dry-run
doctor --openssl-conf empty --nginx-conf empty
completion --names
disk create d.img --size 1M --key root
disk info d.img
disk verify d.img
key generate pkcs11:token=t;object=gone --type aes-256
key destroy pkcs11:token=t;object=gone --confirm gone --in site
COMMANDS
mkdir site
[ $kmip = no ] || cat >>commands <<'COMMANDS'
kmip ping bank
kmip create bank --algorithm AES --length 256
kmip locate bank
kmip attributes bank kek
kmip get bank kek --out got
kmip revoke bank kek
kmip destroy bank kek --yes
COMMANDS
while read -r command; do
    # shellcheck disable=SC2086
    timeout 120 "$KYOK" $command --json >out 2>err </dev/null
    status=$?
    # What doctor or a server has to say may be bad news: JSON it is all the same.
    if one_json out && { [ $status = 0 ] || [[ $command == doctor* ]]; }; then
        pass "JSON of ${command:0:50}"
    else
        fail "JSON of ${command:0:50}" "exit $status" "$(cat out err)"
    fi
done <commands
# These need libvirtd, a second token or a disk in a state of its own: their JSON is read by their own tests,
# named here.
cat >elsewhere <<'LIST'
key import|key_import.t
key replicate|key_replicate.t
key seal|key_import.t
kmip register|kmip_cli.t
kmip activate|kmip_pykmip.t
kmip dump|kmip_dump.t
disk rekey|disk.t
disk adopt|disk.t
disk reencrypt|disk.t
disk bind|disk.t
disk grant|disk.t
disk revoke|disk.t
disk rewrap|disk.t
vm list|libvirt_vm.t
vm autostart|libvirt_autostart.t
vm lock|libvirt_vm.t
vm unlock|libvirt_vm.t
vm attach|libvirt_vm.t
vm detach|libvirt_vm.t
vm tpm|libvirt_vm.t
vm copy|libvirt_vm.t
vm audit|libvirt_audit.t
vm harden|libvirt_audit.t
manual|cli.t
LIST
missing=''
while IFS='|' read -r verb _; do
    grep -q "^$verb\( \|\$\)" commands || grep -q "^$verb|" elsewhere || missing="$missing '$verb'"
done <verbs
[ $kmip = yes ] || missing=$(tr "'" '\n' <<<"$missing" | grep -v 'kmip\|^ *$')
is 'no verb is left out' "$missing" ''
bad=''
while IFS='|' read -r verb test; do
    grep -q -- "$verb" "$SOURCE/tests/integration/$test" || bad="$bad '$verb' in $test"
done <elsewhere
is 'and those that run elsewhere do' "$bad" ''

# --- progress ----------------------------------------------------------------------------------------------
head -c 60000000 /dev/zero >large
is 'no progress without a terminal' "$("$KYOK" seal --to root large -o large.kyok 2>&1)" ''
like 'progress on a terminal' "$(script -qec "'$KYOK' seal --to root large -o large.kyok" /dev/null </dev/null)" 'sealed MiB'
like 'opening, too' "$(script -qec "'$KYOK' open large.kyok -o large" /dev/null </dev/null)" 'opened MiB'
done_testing
