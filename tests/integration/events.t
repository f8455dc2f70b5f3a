#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every kind of event, from the programs that cause it; losses; and that docs/events.md names all fields.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
. "$(dirname "$0")/../support/provider.sh"
softhsm_need perl openssl python3
cd "$SANDBOX" || exit 1
softhsm_new one && softhsm_token one t
faulty_new hsm one || skip_all "no faulty module"
pin=$(pin_file)
kyok_conf '[token t]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=t' "pin-source = file:$pin" 'timeout = 20' \
    '[key root]' 'uri = pkcs11:token=t;object=root' '[key www]' 'uri = pkcs11:token=t;object=www'
events_collect "$SANDBOX/socket" "$SANDBOX/events"
export KYOK_EVENT_SOCKET=$SANDBOX/socket

# tells NAME TYPE REGEX: an event of this type came whose JSON, without blanks, fits.
tells() {
    wait_for 10 grep -Eq "\"event\":\"$2\".*$3" events
    like "$1" "$(grep "\"event\":\"$2\"" events)" "$3"
}
forget() { : >events; }

"$KYOK" key generate root --type aes-256 >/dev/null
tells 'login' login '"custodian":"t[^"]*".*"result":"ok"'
tells 'a key is made' create '"key":"pkcs11:token=t;.*object=root.*"custodian":"t","result":"ok"'
tells 'with host, user and program' create "\"host\":\"$(uname -n)\",\"uid\":$(id -u),\"pid\":[0-9]+,\"program\":\"kyok\""
echo 0000 >"$pin"
"$KYOK" key list >/dev/null 2>&1
echo "$PIN" >"$pin"
tells 'a wrong PIN' login '"result":"pin"'
"$KYOK" key list >/dev/null
echo secret | "$KYOK" seal --to root --use backup --owner db -o s.jwe
"$KYOK" open s.jwe >/dev/null
tells 'an envelope is opened' open '"use":"backup","owner":"db","result":"ok","detail":"by pkcs11:token=t;[^"]*object=root"'
"$KYOK" open s.jwe --owner other 2>/dev/null
tells 'another owner is refused' refuse '"owner":"db","result":"refused","detail":"[^}]*owner is'
sed 's/"recipients":\[{/"recipients":[{"x":1,/' s.jwe >bad.jwe
"$KYOK" open bad.jwe 2>/dev/null
tells 'what is not canonical is refused' refuse '"result":"invalid","detail":"[^}]*canonical'
python3 - <<'PY'
import json
j = json.load(open("s.jwe"))
j["recipients"].append(j["recipients"][0])
json.dump(j, open("bad.jwe", "w"), separators=(",", ":"))
PY
"$KYOK" open bad.jwe 2>/dev/null
tells 'an added recipient is refused' refuse '"result":"tampered","detail":"the envelope has 2 recipients'
faulty hsm remove
"$KYOK" open s.jwe >/dev/null 2>&1
faulty hsm return
tells 'a custodian that is away' refuse '"result":"unreachable"'
"$KYOK" key rotate root >/dev/null
tells 'a new version' create '"key":"root[^"]*".*"custodian":"t".*"detail":"rotation"'
forget
"$KYOK" rewrap s.jwe >/dev/null
tells 'other recipients' open '"result":"ok","detail":"for other recipients"'
"$KYOK" key generate pkcs11:token=t\;object=gone --type aes-256 >/dev/null
"$KYOK" key state pkcs11:token=t\;object=gone suspended >/dev/null
tells 'a change of state' state '"key":"gone","version":"[0-9a-f]+","custodian":"t","result":"ok","detail":"suspended"'
"$KYOK" key destroy pkcs11:token=t\;object=gone --confirm gone --in "$SANDBOX/one" >/dev/null
tells 'a key is destroyed' destroy '"key":"gone".*"result":"ok"'

# --- programs that sign --------------------------------------------------------------------------------
"$KYOK" key generate www --type ec-p256 >/dev/null
"$KYOK" key reference www -o www.pem >/dev/null
openssl_conf 'default kyok'
for _ in 1 2 3; do echo data; done >data
openssl dgst -sha256 -sign www.pem -out sig data 2>/dev/null
tells 'openssl signs: how often' signatures '"program":"openssl","key":"pkcs11:[^"]*object=www[^"]*","custodian":"t","result":"ok","count":1'
faulty hsm fail C_Sign CKR_FUNCTION_FAILED
openssl dgst -sha256 -sign www.pem -out sig data 2>/dev/null
faulty hsm clear
tells 'and how often not' signatures '"program":"openssl".*"result":"failed","count":1'
unset OPENSSL_CONF

# --- groups ----------------------------------------------------------------------------------------------
cp -a one two && sed "s|$SANDBOX/one|$SANDBOX/two|" one.conf >two.conf
faulty_new second two clone
kyok_conf '[token t]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=t' "pin-source = file:$pin" 'timeout = 20' \
    '[token pair]' "module = $SANDBOX/hsm.so" "uri = pkcs11:token=t" "uri = pkcs11:token=t?module-path=$SANDBOX/second.so" \
    "pin-source = file:$pin" 'timeout = 20'
forget
faulty hsm fail C_Sign CKR_DEVICE_REMOVED
"$KYOK" key show 'pkcs11:object=www?kyok-group=pair' >/dev/null
openssl_conf 'default kyok'
"$SUPPORT/sign_tool" run 'pkcs11:object=www?kyok-group=pair' 1 8 >/dev/null 2>&1
unset OPENSSL_CONF
faulty hsm clear
tells 'an operation goes to another member' failover '"custodian":"pair","result":"(unreachable|fault|busy|timeout)"'
softhsm two pkcs11-tool --module "$(softhsm_module)" --login --pin "$PIN" --token-label t --delete-object --type privkey --label www >/dev/null 2>&1
softhsm two pkcs11-tool --module "$(softhsm_module)" --login --pin "$PIN" --token-label t --delete-object --type pubkey --label www >/dev/null 2>&1
id=$("$KYOK" key show 'pkcs11:token=t;object=www' | sed -n 's/.*id=\([%0-9A-F]*\);.*/\1/p' | head -1 | tr -d %)
token_key two t www "$id" EC:prime256v1
faulty hsm remove
"$KYOK" key reference 'pkcs11:object=www?kyok-group=pair' --with-public -o other.pem >/dev/null 2>&1
faulty hsm return
openssl_conf 'default kyok'
for _ in $(seq 4); do openssl dgst -sha256 -sign other.pem -out sig data 2>/dev/null; done
unset OPENSSL_CONF
tells 'a member with another key is quarantined' quarantine '"key":"[^"]*object=www[^"]*","custodian":"pair"'

# --- a KMIP server ----------------------------------------------------------------------------------------
if kmip_server vault 'key kek aes-256 alice'; then
    kmip_group vault alice "$PORT" 'timeout = 20' >vault.conf
    forget
    "$KYOK" key generate 'kmip://vault?name=made' --type aes-256 --config vault.conf >made
    tells 'a key is made at a server' create '"key":"kmip://vault/.*"result":"ok"'
    "$KYOK" key state kmip://vault/kek deactivated --config vault.conf >/dev/null
    tells 'its state is changed' state '"key":"kmip://vault/kek".*"result":"ok"'
    kmip_tell vault 'state kek destroyed' >/dev/null 2>&1
    "$KYOK" key destroy kmip://vault/kek --confirm kek --in "$SANDBOX/one" --config vault.conf >/dev/null 2>&1 ||
        "$KYOK" kmip destroy vault kek --config vault.conf >/dev/null 2>&1
    tells 'and it is destroyed' destroy '"key":"kmip://vault/kek"'
else
    skip 'the scripted KMIP server does not start' 3
fi

# --- all of them ---------------------------------------------------------------------------------------------
is 'every line is JSON, and no field is undocumented' "$(cat events | python3 -c '
import json, re, sys
documented = set(re.findall(r"`([a-z]+)`", open(sys.argv[1]).read()))
fields = set()
for line in sys.stdin:
    fields |= set(json.loads(line))
print(" ".join(sorted(fields - documented)))' "$SOURCE/docs/events.md")" ''
unlike 'no PIN in any' "$(cat events)" "\"($PIN|0000)\""
KYOK_EVENT_SOCKET='' "$KYOK" key list >/dev/null
is 'a socket that is not there costs nothing' $? 0
done_testing
