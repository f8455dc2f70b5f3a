#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The kyok command: framework, key verbs, module, doctor, setup, completion, manual page.
. "$(dirname "$0")/../support/lib.sh"
. "$(dirname "$0")/../support/kmip.sh"
need softhsm2-util pkcs11-tool openssl perl

module=$(softhsm_module) || skip_all "SoftHSM is not installed"

# json EXPRESSION: evaluates perl over the JSON on standard input ($j).
json() {
    perl -MJSON::PP -e '
        local $/; my $j = decode_json(<STDIN>); my $r = eval $ARGV[0]; die $@ if $@;
        print ref $r && !JSON::PP::is_bool($r) ? encode_json($r) : $r // "", "\n"' "$1"
}

# --- framework -----------------------------------------------------------------------------------

help=$($KYOK --help)
is "the overview ends well" $? 0
for verb in "key generate" "key list" "key show" "key reference" doctor setup completion; do
    like "the overview has $verb" "$help" "kyok $verb "
done
like "a group of verbs has help of its own" "$($KYOK key --help)" 'kyok key generate'
unlike "and no other verbs" "$($KYOK key --help)" 'kyok doctor'
while IFS= read -r verb; do
    # shellcheck disable=SC2086
    like "kyok $verb --help has usage, options and exit codes" \
        "$($KYOK $verb --help | tr '\n' ' ')" "Usage.*kyok $verb.*--json.*Exit codes.*0  done"
done < <($KYOK --help --json | json 'join "\n", map { $_->{command} } @{$j->{commands}}')
like "the version" "$($KYOK --version)" '^kyok [0-9]+\.[0-9]+\.[0-9]+$'
like "the version in JSON" "$($KYOK --version --json | json '$j->{version}')" '^[0-9.]+$'

refused "nothing at all is wrong usage" 2 'no command is given' "$KYOK"
refused "half a command" 2 '"key" is not a whole command' "$KYOK" key
refused "a misspelt verb" 2 'did you mean "kyok key list"' "$KYOK" key lits
refused "a misspelt group" 2 'did you mean "kyok doctor"' "$KYOK" docter
refused "a verb that is nothing like any" 2 'see "kyok --help"' "$KYOK" frobnicate
refused "a misspelt option" 2 'did you mean "--type"' "$KYOK" key generate a --tpye rsa-2048
refused "a missing operand" 2 'expected REF' "$KYOK" key show
refused "an operand too many" 2 '"b" is one too many' "$KYOK" key show a b
refused "a missing option" 2 'type TYPE is missing' "$KYOK" key generate a
refused "a value that is no choice" 2 'expected one of rsa-2048, .*aes-256' "$KYOK" key generate a --type rsa
refused "an option twice" 2 'type is given twice' "$KYOK" key generate a --type aes-256 --type aes-256
refused "a value for an option that takes none" 2 'all takes no value' "$KYOK" key list --all=yes
refused "a missing value" 2 'config needs a value' "$KYOK" key list --config
refused "an unknown letter" 2 'no option "-x"' "$KYOK" key list -x
refused "control characters are not repeated" 2 'no command "a\?\[31m"' "$KYOK" $'a\e[31m'
is "an error in JSON" "$($KYOK --json frobnicate | json '$j->{error}{status}')" invalid
is "--json behind the error counts too" "$($KYOK key lits --json | json '$j->{error}{remedy}')" \
    'did you mean "kyok key list"?'
unlike "no colours without a terminal" "$($KYOK key lits 2>&1)" $'\e'
like "colours on a terminal" "$(TERM=xterm script -qec "$KYOK key lits" /dev/null 2>&1)" $'\e\\[1;31mkyok:'
unlike "NO_COLOR is obeyed" "$(NO_COLOR=1 TERM=xterm script -qec "$KYOK key lits" /dev/null 2>&1)" $'\e'
if [ -w /dev/full ]; then
    output=$($KYOK --help 2>&1 >/dev/full)
    is "a result that cannot be written is no success" $? 1
    like "and says why" "$output" 'ENOSPC'
else
    skip "no /dev/full" 2
fi

ok "the manual page is what the tables say" diff "$SOURCE/cli/kyok.1" <($KYOK manual)
if command -v groff >/dev/null; then
    is "groff has no complaint" "$(groff -mdoc -ww -Tutf8 "$SOURCE/cli/kyok.1" \
        "$SOURCE/common/config/kyok.conf.5" 2>&1 >/dev/null)" ""
else
    skip "groff is not installed"
fi

# --- configuration -------------------------------------------------------------------------------

export KYOK_CONF=$SANDBOX/absent.conf
refused "a configuration that is named must be there" 2 'absent.conf.*ENOENT' "$KYOK" key list
kyok_conf '[token hsm]' 'uri = pkcs11:token=web' 'sesions = 3'
refused "a wrong line by file, line, what was expected" 2 'kyok.conf:3: unknown setting "sesions"' \
    "$KYOK" key list
refused "its remedy" 2 'expected one of module, uri, pin-source' "$KYOK" key list
like "the same in JSON" "$($KYOK key list --json | json '$j->{error}{object}')" 'kyok.conf:3$'

softhsm_new a
softhsm_token a web
softhsm_token a spare
export SOFTHSM2_CONF=$SANDBOX/a.conf
pin=$(pin_file)
kyok_conf "[token hsm]" "module = $module" "uri = pkcs11:token=web" "pin-source = file:$pin" \
    "[token away]" "module = $module" "uri = pkcs11:token=nobody" "timeout = 1s" \
    "[key www]" "uri = pkcs11:token=web;object=www"
only=$SANDBOX/only.conf
printf '%s\n' "[token hsm]" "module = $module" "uri = pkcs11:token=web" "pin-source = file:$pin" >"$only"
like "--config goes before the environment" "$($KYOK key list --config "$only")" '^hsm'

# --- key generate, list, show ----------------------------------------------------------------------

reference=$($KYOK key generate www --type ec-p256)
like "generate prints the exact reference" "$reference" \
    '^pkcs11:token=web;id=(%[0-9A-F]{2})+;object=www;type=private$'
for type in rsa-2048 ec-p384 ec-p521 ed25519 aes-256; do
    is "a key of type $type" "$($KYOK key generate "pkcs11:token=web;object=$type" --type $type --json |
        json '"$j->{label} $j->{attributes}{sensitive} $j->{attributes}{extractable} " . @{$j->{flags}}')" \
        "$type yes no 0"
done
like "the id is the one given" "$($KYOK key generate 'pkcs11:token=web;object=named' --type ec-p256 \
    --id 0A0b)" ';id=%0A%0B;'
refused "an id that is not hexadecimal" 2 'id must be' "$KYOK" key generate www --type ec-p256 --id 0g
refused "a name that exists" 1 'already has a key of this name' "$KYOK" key generate www --type ec-p256
refused "a name that nobody knows" 2 'neither a key reference nor the name' "$KYOK" key show nobody
refused "an unknown attribute" 2 'unknown attribute "objekt"' "$KYOK" key show 'pkcs11:objekt=www'
refused "an unknown group" 2 'group "other" is not configured' "$KYOK" key show 'pkcs11:?kyok-group=other'
refused "no such key" 1 'no object fits' "$KYOK" key show 'pkcs11:token=web;object=missing'

p11tool a --token-label web --keygen --key-type AES:32 --label weak --id 77 --extractable >/dev/null 2>&1
without_provider openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$SANDBOX/soft.pem" 2>/dev/null
token_import a web imported 78 "$SANDBOX/soft.pem"
list=$($KYOK key list hsm)
like "list has type and reference" "$list" 'private +ec-p256 +pkcs11:token=web;id=.*object=www'
like "list flags an extractable key" "$list" 'object=weak.*extractable, not sensitive'
like "list flags an imported key" "$list" 'object=imported.*was extractable or imported'
unlike "list leaves a good key alone" "$list" 'object=www.*extractable'
unlike "list shows no public keys" "$list" 'type=public'
like "unless asked" "$($KYOK key list hsm --all)" 'type=public'
unlike "nothing private without a login" "$($KYOK key list hsm --all --no-login)" 'type=private'
refused "a group that is not there" 2 'no such group' "$KYOK" key list nobody
refused "one group that does not answer" 3 'nobody|away' "$KYOK" key list away
output=$($KYOK key list 2>"$SANDBOX/stderr")
is "some of several groups: incomplete" $? 4
like "the others are listed" "$output" 'object=www'
like "and the failure is told" "$(cat "$SANDBOX/stderr")" '1 of 2 groups'
is "the same in JSON" "$($KYOK key list --json 2>/dev/null |
    json 'join " ", map { ($_->{group}, exists $_->{error} ? "failed" : "fine") } @{$j->{groups}}')" \
    "hsm fine away failed"
is "show in JSON" "$($KYOK key show www --json |
    json 'join " ", sort map { "$_->{object}-$_->{type}-$_->{bits}" } @{$j->{objects}}')" \
    "private-ec-256 public-ec-256"
like "show has the public key" "$($KYOK key show www | openssl pkey -pubin -noout -text 2>&1)" 'P-256'

printf '0000\n' >"$pin"
refused "a wrong PIN names its source" 1 "$pin|CKR_PIN_INCORRECT" "$KYOK" key list hsm
printf '%s\n' "$PIN" >"$pin"
chmod 644 "$pin"
refused "a PIN file that others can read" 1 'chmod 0600' "$KYOK" key list hsm
chmod 600 "$pin"

# --- key reference ------------------------------------------------------------------------------------

pem=$SANDBOX/www.pem
ok "a PEM reference is written" "$KYOK" key reference www -o "$pem"
is "in pkcs11-provider's form" "$(head -1 "$pem")" '-----BEGIN PKCS#11 PROVIDER URI-----'
der=$(openssl asn1parse -in "$pem" 2>/dev/null)
like "a VisibleString first" "$der" 'VISIBLESTRING +:PKCS#11 Provider URI v1.0'
like "then the exact reference" "$der" "UTF8STRING +:${reference//%/\\%}"
is "readable, not writable by others" "$(stat -c %a "$pem")" 644
is "standard output is the same" "$($KYOK key reference www)" "$(cat "$pem")"
ok "a reference may replace a reference" "$KYOK" key reference www -o "$pem" --with-public
is "with the public key under kyok's label" "$(head -1 "$pem")" '-----BEGIN KYOK KEY REFERENCE-----'
cp "$SANDBOX/soft.pem" "$SANDBOX/precious.pem"
refused "but not a private key" 1 'holds no key reference' "$KYOK" key reference www -o "$SANDBOX/precious.pem"
ok "which is still there" cmp "$SANDBOX/soft.pem" "$SANDBOX/precious.pem"
ok "unless forced" "$KYOK" key reference www -o "$SANDBOX/precious.pem" --force
refused "a secret key has no PEM reference" 2 'this is a secret-key' \
    "$KYOK" key reference 'pkcs11:token=web;object=aes-256'
refused "nor does a PIN go into a file" 1 'PIN does not belong' \
    "$KYOK" key reference 'pkcs11:token=web;object=www?pin-value=1234'
mkfifo "$SANDBOX/pipe"
refused "no pipe or device is replaced" 2 'not a regular file' "$KYOK" key reference www --force -o "$SANDBOX/pipe"
ok "it is still there" test -p "$SANDBOX/pipe"
refused "a folder that is not there" 1 'ENOENT' "$KYOK" key reference www -o "$SANDBOX/no/where.pem"
is "nothing is left behind" "$(find "$SANDBOX" -name '*.pem.*')" ""
like "a group is kept in the file" "$($KYOK key reference 'pkcs11:object=www?kyok-group=hsm' --json |
    json '$j->{reference}')" 'kyok-group=hsm'

# --- module ----------------------------------------------------------------------------------------------

probe=$($KYOK module probe "$module" --json)
like "probe finds the token" "$(json 'join " ", map { $_->{token} } @{$j->{tokens}}' <<<"$probe")" 'web'
like "and its mechanisms" "$(json 'join " ", @{$j->{tokens}[0]{mechanisms}}' <<<"$probe")" 'ecdsa.*aes-gcm'
refused "a library that is no module" 2 'no C_GetFunctionList' \
    "$KYOK" module probe "$(ldconfig -p | sed -n 's/.* => \(.*libcrypto.so.3\)$/\1/p' | head -1)"
refused "a file that is no library" 2 'cannot be loaded' "$KYOK" module probe "$pem"
refused "no file" 2 'cannot be loaded' "$KYOK" module probe /nowhere.so
like "list finds SoftHSM" "$($KYOK module list 2>/dev/null)" 'softhsm'

before=$(p11tool a --token-label web --list-objects 2>/dev/null | grep -c Object)
tests=$($KYOK module test "$module" --token web --pin-source "file:$pin" --json)
is "test: what works" "$(json 'join " ", map { $j->{answers}{$_} } qw(ecdsa rsa-pss aes-gcm)' <<<"$tests")" \
    "CKR_OK CKR_OK CKR_OK"
unlike "test: what SoftHSM only promises" "$(json '$j->{answers}{"rsa-oaep-sha256"}' <<<"$tests")" '^CKR_OK$'
is "test: nothing stays in the token" "$before" "$(p11tool a --token-label web --list-objects 2>/dev/null | grep -c Object)"
refused "test: a wrong PIN" 1 'CKR_PIN_INCORRECT' "$KYOK" module test "$module" --token web \
    --pin-source "file:$(pin_file wrong 0000)"
"$KYOK" key list hsm >/dev/null # a right PIN clears the token's count
refused "test: no such token" 1 'no token with this label' "$KYOK" module test "$module" --token nobody \
    --pin-source "file:$pin"

# --- completion ------------------------------------------------------------------------------------------

# complete WORD...: what bash would offer for the last word.
offers() {
    bash --norc -c '
        compopt() { :; }
        source <("$KYOK" completion)
        COMP_WORDS=("$KYOK" "$@"); COMP_CWORD=$#
        _kyok; printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | sort | tr '\n' ' '
}
like "bash completes verbs" "$(offers d)" '^disk doctor '
like "and their second words" "$(offers key g)" '^generate '
like "and options" "$(offers key generate --t)" '^--type '
is "and choices" "$(offers key generate www --type ec)" "ec-p256 ec-p384 ec-p521 "
is "and names from kyok.conf" "$(offers key show w)" "www "
is "the names in JSON" "$($KYOK completion --names --json | json 'join " ", @{$j->{names}}')" "www hsm away"
refused "a script is no JSON" 2 'no JSON' "$KYOK" completion --json
is "and files" "$(cd "$SANDBOX" && offers doctor --certificate ww)" "www.pem "

# --- doctor ----------------------------------------------------------------------------------------------

faulty_new f a
faulty_conf=$SANDBOX/faulty.conf
printf '%s\n' "[token hsm]" "module = $SANDBOX/f.so" "uri = pkcs11:token=web" "pin-source = file:$pin" \
    "timeout = 2s" "require = never-extractable" >"$faulty_conf"
cp /dev/null "$SANDBOX/empty.cnf"

# doctor CONF ARGUMENT...: findings as lines "level check what".
doctor() {
    local conf=$1
    shift
    "$KYOK" doctor --config "$conf" --openssl-conf "$SANDBOX/empty.cnf" --nginx-conf "$SANDBOX/empty.cnf" --json "$@" 2>/dev/null |
        json 'join "\n", map { "$_->{level} $_->{check}: " . ($_->{object} // "") . " $_->{what} [" . ($_->{remedy} // "") . "]" } @{$j->{findings}}'
}
# found NAME REGEX CONF ARGUMENT...
found() {
    local name=$1 regex=$2
    shift 2
    like "doctor: $name" "$(doctor "$@")" "$regex"
}

faulty f reset
found "a good group" '^good token hsm: web the token is there' "$faulty_conf"
is "doctor does not log in" "$(faulty f count C_Login)" 0
ok "nothing bad: exit code 0" "$KYOK" doctor --config "$faulty_conf" --openssl-conf "$SANDBOX/empty.cnf" --nginx-conf "$SANDBOX/empty.cnf"
found "a plain PIN file is flagged" '^warning token hsm: .*plain file.*LoadCredentialEncrypted' "$faulty_conf"
all=$(doctor "$faulty_conf" --login)
at_most "logged in once at most" "$(faulty f count C_Login)" 1
like "doctor: keys that could leave" "$all" '^warning token hsm: .*object=weak.*extractable.*require refuses it'
like "doctor: imported keys" "$all" '^warning token hsm: .*object=imported.*imported.*require refuses it'
unlike "doctor: good keys are left alone" "$all" 'object=www'
unlike "doctor: every finding but good has a remedy" "$(grep -Ev '^good|^note' <<<"$all")" '\[\]'

faulty f pin-limit 3
printf '0000\n' >"$pin"
"$KYOK" key list --config "$faulty_conf" >/dev/null 2>&1
found "a wrong PIN was tried" '^warning token hsm: web a wrong PIN was tried' "$faulty_conf"
"$KYOK" key list --config "$faulty_conf" >/dev/null 2>&1
faulty f reset
found "the last try" '^bad token hsm: web the next wrong PIN locks' "$faulty_conf"
found "is not taken" 'not logged in: a wrong PIN would lock' "$faulty_conf" --login
is "by any login" "$(faulty f count C_Login)" 0
softhsm a pkcs11-tool --module "$SANDBOX/f.so" --token-label web --login --pin 0000 -O >/dev/null 2>&1
found "a locked PIN" '^bad token hsm: web the user PIN is locked' "$faulty_conf"
faulty f pin-limit 0
printf '%s\n' "$PIN" >"$pin"

faulty f hang C_GetTokenInfo
refused "a module that hangs is cut off" 3 'does not answer' timeout 40 \
    "$KYOK" doctor --config "$faulty_conf" --openssl-conf "$SANDBOX/empty.cnf" --nginx-conf "$SANDBOX/empty.cnf"
faulty f release
faulty f clear
faulty f remove
refused "a token that is away" 3 'no token fits' "$KYOK" doctor --config "$faulty_conf" \
    --openssl-conf "$SANDBOX/empty.cnf" --nginx-conf "$SANDBOX/empty.cnf"
faulty f return

chmod 644 "$pin"
found "a PIN file that others can read" '^bad token hsm: .*others than its owner' "$faulty_conf"
chmod 600 "$pin"
mv "$pin" "$pin.away"
found "a PIN file that is missing" '^bad token hsm: .*ENOENT' "$faulty_conf"
mv "$pin.away" "$pin"

conf_with() { printf '%s\n' "$@" >"$SANDBOX/try.conf"; chmod 644 "$SANDBOX/try.conf"; }
conf_with "[token t]" "module = /nowhere.so" "uri = pkcs11:token=web"
found "a missing module" '^bad module: /nowhere.so .*ENOENT' "$SANDBOX/try.conf"
cat >"$SANDBOX/crash.c" <<'C'
#include <stdlib.h>
unsigned long C_GetFunctionList(void **list) { (void)list; abort(); }
C
if gcc -shared -fPIC -o "$SANDBOX/crash.so" "$SANDBOX/crash.c" 2>/dev/null; then
    conf_with "[token t]" "module = $SANDBOX/crash.so" "uri = pkcs11:token=web"
    found "a module that crashes" '^bad module: .*brings its process down' "$SANDBOX/try.conf"
else
    skip "no compiler"
fi
cp "$pem" "$SANDBOX/text.so"
conf_with "[token t]" "module = $SANDBOX/text.so" "uri = pkcs11:token=web"
found "a module that is none" '^bad module: .*cannot be loaded' "$SANDBOX/try.conf"
chmod 666 "$SANDBOX/text.so"
found "a module that others can write" '^bad module: .*others than its owner can write' "$SANDBOX/try.conf"
conf_with "[token t]" "module = $module" "uri = pkcs11:token=web"
found "no PIN source" '^warning token t: .*no pin-source' "$SANDBOX/try.conf"
found "require = none" '^note token t: .*require = none' "$SANDBOX/try.conf"
conf_with "[token t]" "module = $module" "uri = pkcs11:token=web" "pin-source = credential:kyok"
found "a credential is the unit's" '^note token t: .*in the service alone' "$SANDBOX/try.conf"
conf_with "[token t]" "module = $module" "uri = pkcs11:token=web" "cache-keys = 500ms"
found "cache-keys" '^note token t: .*signs up to 500 ms more' "$SANDBOX/try.conf"
conf_with ""
found "an empty configuration" '^warning configuration: .*no group is configured' "$SANDBOX/try.conf"
conf_with "[token t]" "uri = pkcs11:token=web" "isolate = perhaps"
refused "a wrong line" 2 'try.conf:3' "$KYOK" doctor --config "$SANDBOX/try.conf"
conf_with "[token t]" "uri = pkcs11:token=web"
chmod 666 "$SANDBOX/try.conf"
refused "a configuration that others can write" 2 'chmod go-w' "$KYOK" doctor --config "$SANDBOX/try.conf"
conf_with ""
mkdir "$SANDBOX/open"
chmod 777 "$SANDBOX/open"
cp "$only" "$SANDBOX/open/kyok.conf"
found "a folder that others can write" '^bad configuration: .*put another file' "$SANDBOX/open/kyok.conf"

conf_with "[kmip k]" "server = kmips://127.0.0.1:$(free_port)" "ca = $SANDBOX/ca.pem" \
    "certificate = $SANDBOX/client.pem" "key = $SANDBOX/ca.key" "timeout = 1s" "release = yes"
ca_new
without_provider openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=c \
    -keyout "$SANDBOX/client.key" -out "$SANDBOX/client.pem" 2>/dev/null
chmod 600 "$SANDBOX/ca.key"
kmip=$(doctor "$SANDBOX/try.conf")
like "doctor: a certificate that ends soon" "$kmip" '^warning kmip k: .*client.pem it expires in'
like "doctor: a key that is another's" "$kmip" '^bad kmip k: .*ca.key it does not belong'
like "doctor: keys that leave" "$kmip" '^warning kmip k: .*release = yes'

if kmip_server one "key p256 ec-p256" "key kek aes-256"; then
    vault=$SANDBOX/vault.conf
    kmip_group vault alice "$PORT" "timeout = 5s" >"$vault"
    like "list shows a server's keys" "$($KYOK key list --config "$vault")" 'ec-p256 +kmip://vault/p256'
    like "show one" "$($KYOK key show kmip://vault/p256 --config "$vault")" '^reference +kmip://vault/p256$'
    like "its PEM reference has the public key" \
        "$($KYOK key reference kmip://vault/p256 --config "$vault")" 'BEGIN KYOK KEY REFERENCE'
    like "generate at the server" \
        "$($KYOK key generate 'kmip://vault?name=new' --type aes-256 --config "$vault")" '^kmip://vault/'
    found "a server that answers" '^good kmip vault: .*shows' "$vault"
    printf '[kmip gone]\nserver = kmips://127.0.0.1:%s\nca = %s\ncertificate = %s\nkey = %s\ntimeout = 2s\n' \
        "$(free_port)" "$CERTS/ca.crt" "$CERTS/alice.crt" "$CERTS/alice.key" >>"$vault"
    refused "one server away: incomplete" 4 '1 of 2 groups' "$KYOK" key list --config "$vault"
    found "a server that is away" '^bad kmip gone: .*ECONNREFUSED' "$vault"
else
    skip "the scripted KMIP server does not start" 7
fi

without_provider openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 400 -subj /CN=c \
    -keyout /dev/null -out "$SANDBOX/good.pem" 2>/dev/null
found "a certificate that is named" '^good certificate: .*another 399 days|another 400 days' "$only" \
    --certificate "$SANDBOX/good.pem"
found "a file without certificate" '^bad certificate: .*no certificate' "$only" --certificate "$pem"
found "a PEM reference whose key is there" '^good reference: .*www.pem' "$only" --reference "$pem" --login
openssl asn1parse -in "$SANDBOX/www.pem" -noout 2>/dev/null
"$KYOK" key reference www --with-public --config "$KYOK_CONF" >"$SANDBOX/swapped.pem"
"$KYOK" key generate 'pkcs11:token=web;object=gone' --type ec-p256 --config "$only" >/dev/null
"$KYOK" key reference 'pkcs11:token=web;object=gone' -o "$SANDBOX/gone.pem" --config "$only"
p11tool a --token-label web --delete-object --type privkey --label gone >/dev/null 2>&1
found "a PEM reference whose key is gone" '^bad reference: ' "$only" --reference "$SANDBOX/gone.pem" --login
found "a file that is no reference" '^bad reference: .*no key reference' "$only" --reference "$SANDBOX/soft.pem"

cp "$KYOK_CONF" "$SANDBOX/named.conf"
sed -i '/\[token away\]/,/timeout/d' "$SANDBOX/named.conf"
found "a key by name, after a login" '^good key www: .*every member' "$SANDBOX/named.conf" --login
printf '[key lost]\nuri = pkcs11:token=web;object=lost\n' >>"$SANDBOX/named.conf"
found "a named key that is gone" '^bad key lost: ' "$SANDBOX/named.conf" --login

openssl_conf "default kyok" "pkcs11-module-token-pin = 1234"
like "doctor: a PIN in openssl.cnf" "$("$KYOK" doctor --config "$only" 2>/dev/null)" '^bad .*holds a PIN'
openssl_conf "default kyok" "pkcs11-module-cache-pins = cache" "implicit-rejecton = no" "require = none"
misspelt=$("$KYOK" doctor --config "$only" 2>/dev/null)
like "doctor: a misspelt parameter in openssl.cnf" "$misspelt" '^bad .*"implicit-rejecton" .* no effect'
like "doctor: with the right one" "$misspelt" 'did you mean implicit-rejection'
like "doctor: one that belongs elsewhere" "$misspelt" '^bad .*"require" .* no effect'
unlike "doctor: those of pkcs11-provider are known" "$misspelt" 'cache-pins'
unset OPENSSL_CONF

# order NAME PROVIDERS REGEX
order() {
    openssl_conf "$2"
    like "doctor: $1" "$("$KYOK" doctor --config "$only" --json 2>/dev/null |
        json 'join "\n", map { "$_->{level} $_->{what}" } grep { $_->{check} eq "openssl.cnf" } @{$j->{findings}}')" "$3"
    unset OPENSSL_CONF
}
order "default, then kyok" "default kyok" '^good default, then kyok'
order "kyok, then default" "kyok default" '^warning .*before default'
order "kyok alone" "kyok" '^bad .*alone'
order "no kyok" "default" '^note kyok is not activated'

# --- setup -----------------------------------------------------------------------------------------------

new=$SANDBOX/etc/kyok.conf
dry=$($KYOK setup --module "$module" --config "$new" --dry-run)
like "setup --dry-run shows the sections" "$(tr '\n' ' ' <<<"$dry")" '\[token web\].*\[token spare\]|\[token spare\].*\[token web\]'
like "and the order for openssl.cnf" "$(tr '\n' ' ' <<<"$dry")" 'default = default_section kyok = kyok_section'
ok "but writes nothing" test ! -e "$new"
result=$($KYOK setup --module "$module" --token web --config "$new" --json)
is "setup writes" "$(json '$j->{written} ? "yes" : "no"' <<<"$result")" yes
is "one token was asked for" "$(grep -c '^\[token' "$new")" 1
is "it can do TLS" "$(json '$j->{groups}[0]{can}{"TLS with ECDSA keys"} ? 1 : 0' <<<"$result")" 1
ok "again" "$KYOK" setup --module "$module" --config "$new" --pin-source "file:$pin"
is "now both" "$(grep -c '^\[token' "$new")" 2
like "what it wrote works" "$($KYOK key list web --config "$new")" 'object=www'
refused "--test needs a PIN source" 2 'needs --pin-source' "$KYOK" setup --module "$module" --test --config "$new"
result=$($KYOK setup --module "$module" --token web --config "$new" --pin-source "file:$pin" --test --json)
like "what was tried" "$(json 'join " ", @{$j->{groups}[0]{mechanisms}}' <<<"$result")" 'rsa-oaep-sha1'
ok "with both again" "$KYOK" setup --module "$module" --config "$new" --pin-source "file:$pin"
if [ -e "$MODULES/kyok.so" ]; then
    $KYOK setup --module "$module" --token web --config "$new" --pin-source "file:$pin" --json |
        json '$j->{openssl}' >"$SANDBOX/setup.cnf"
    like "the lines for openssl.cnf work" "$(OPENSSL_CONF=$SANDBOX/setup.cnf KYOK_CONF=$new \
        openssl pkey -in "$pem" -pubout 2>&1)" 'BEGIN PUBLIC KEY'
    ok "with both once more" "$KYOK" setup --module "$module" --config "$new" --pin-source "file:$pin"
else
    skip "the provider is not built" 2
fi
refused "a file of someone else is kept" 1 "not \"kyok setup\"'s" "$KYOK" setup --module "$module" --config "$only"
refused "a wrong PIN source" 2 'no PIN source' "$KYOK" setup --module "$module" --config "$new" --pin-source pin
refused "no token" 1 'no token was found' "$KYOK" setup --module "$module" --token nobody --config "$new"
refused "--undo leaves another's file" 1 'did not make' "$KYOK" setup --undo --config "$only"
ok "--undo" "$KYOK" setup --undo --config "$new"
ok "takes it back" test ! -e "$new"
refused "once" 1 'nothing to take back' "$KYOK" setup --undo --config "$new"
softhsm_new many
for label in 'my token' 'my/token' '[x]'; do softhsm_token many "$label"; done
SOFTHSM2_CONF=$SANDBOX/many.conf ok "odd labels become names" "$KYOK" setup --module "$module" --config "$new"
is "each its own" "$(grep '^\[token' "$new" | sort | tr '\n' ' ')" "[token my-token-2] [token my-token] [token x-] "

# --- events ----------------------------------------------------------------------------------------------

# Everything that this test's commands tell goes to a socket of its own, one event on each line.
events_collect "$SANDBOX/events.sock" "$SANDBOX/events"
export KYOK_EVENT_SOCKET=$SANDBOX/events.sock
"$KYOK" key generate 'pkcs11:token=web;object=seen' --type ec-p256 --config "$only" >/dev/null
printf '0000\n' >"$pin"
"$KYOK" key list --config "$only" >/dev/null 2>&1
printf '%s\n' "$PIN" >"$pin"
wait_for 5 grep -q '"result":"pin"' "$SANDBOX/events"
events() { "$KYOK" events --file "$SANDBOX/events" "$@"; }
like "events: a key that was made" "$(events --type create)" ' create ok .*object=seen.* at hsm'
like "events: by key" "$(events --key seen --json | json 'join " ", map { $_->{event} } @{$j->{events}}')" '^create$'
like "events: by result" "$(events --result pin --json | json 'join " ", map { $_->{event} } @{$j->{events}}')" '^login'
unlike "events: no PIN in any" "$(cat "$SANDBOX/events")" '0000|1234'
is "events: filters are joined" "$(events --type create --result pin)" ""
is "events: before all" "$(events --until 2020-01-01)" ""
like "events: of the last minutes" "$(events --since 5m --type create)" 'object=seen'
is "events: nothing from tomorrow on" "$(events --since "$(date -u -d tomorrow +%Y-%m-%d)")" ""
refused "events: a time that is none" 2 'since must be like' "$KYOK" events --since yesterday
refused "events: a file that is not there" 1 'ENOENT' "$KYOK" events --file "$SANDBOX/nowhere"
{
    sed 's/^/Nov 21 18:00:00 host kyok: /' "$SANDBOX/events"
    echo 'Nov 21 18:00:01 host sshd: something else'
    echo '{"event": 1}'
    head -c 100000 /dev/zero | tr '\0' x
    echo
} >"$SANDBOX/syslog"
is "events: in lines of syslog, others skipped" \
    "$("$KYOK" events --file "$SANDBOX/syslog" --type create --json | json '@{$j->{events}} . " " . $j->{skipped}')" "1 3"
mkdir "$SANDBOX/bin"
cat >"$SANDBOX/bin/journalctl" <<'SH'
#!/bin/sh
printf '%s ' "$@" >"$JOURNAL_ARGUMENTS"
cat "$JOURNAL"
SH
chmod +x "$SANDBOX/bin/journalctl"
export JOURNAL=$SANDBOX/journal JOURNAL_ARGUMENTS=$SANDBOX/arguments
perl -MJSON::PP -ne 'chomp; print encode_json({MESSAGE => $_, _UID => "'"$(id -u)"'", _EXE => "/usr/bin/kyok"}), "\n";
    s/"uid":\d+/"uid":4711/; print encode_json({MESSAGE => $_, _UID => "65534", _EXE => "/bin/logger"}), "\n"
        if /"create"/' "$SANDBOX/events" >"$JOURNAL"
journal=$(PATH=$SANDBOX/bin:$PATH "$KYOK" events --type create --since 2026-01-02T03:04)
like "events: from the journal" "$journal" ' create ok .*object=seen'
like "events: a sender that is another is marked" "$journal" 'uid 4711 .*NOT SENT BY WHOM IT SAYS'
is "events: and only that" "$(grep -c 'NOT SENT' <<<"$journal")" 1
like "events: journalctl is asked for the time" "$(cat "$JOURNAL_ARGUMENTS")" \
    '--identifier=kyok --since=2026-01-02 03:04:00 UTC'

done_testing
