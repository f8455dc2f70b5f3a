#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each command that changes keys in tokens, killed at every system call that writes: a second run completes
# it, and at no point is an envelope unreadable. With KYOK_LONG at each; else at one of seven in turn.
. "$(dirname "$0")/../support/lib.sh"
softhsm_need pkcs11-tool python3 strace
strace -o /dev/null true 2>/dev/null || skip_all "strace cannot trace here"
cd "$SANDBOX" || exit 1
softhsm_new hsm && softhsm_token hsm t && softhsm_token hsm u
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
conf() { kyok_conf '[token hsm]' "module = $(softhsm_module)" "$@" "pin-source = file:$(pin_file)"; }
conf 'uri = pkcs11:token=t'
k() { echo "pkcs11:token=t;object=$1"; }
echo 'a secret' >secret
sealed() { "$KYOK" seal --to "$(k "$1")" secret -o "$2"; }
opens() { [ "$("$KYOK" open "$1" 2>&1)" = 'a secret' ]; }
state() { "$KYOK" --json key state "$1" | python3 -c '
import json, sys
print(" ".join(v["label"] + ":" + v["state"] for v in json.load(sys.stdin)["versions"]))'; }
mkdir empty
"$KYOK" key generate "$(k root)" --type aes-256 >/dev/null
sealed root r.jwe
"$KYOK" key descend "$(k root)" --for a >/dev/null
sealed a a.jwe
"$KYOK" key generate "$(k gone)" --type aes-256 >/dev/null
head -c 32 /dev/urandom >material
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out pair.pem 2>/dev/null
for name in byok:material pair:pair.pem; do
    "$KYOK" key import "$(k "${name%:*}")" --begin --allow-oaep-sha1 -o transport >/dev/null
    "$KYOK" key seal --transport transport "${name#*:}" --allow-oaep-sha1 -o "${name%:*}.sealed" 2>/dev/null
done
cp -a hsm saved

restore() { rm -rf hsm && cp -a saved hsm; }
# SoftHSM rewrites an object by emptying its file first (its token object at each login): killed just then it
# has lost that object, whoever asked. No HSM does that, and no caller can help it.
softhsm_lost_one() { local file; while read -r file; do
    [ -s "hsm/$file" ] || [ ! -e "hsm/$file" ] || return 0
done < <(cd saved && find . -name '*.object'); return 1; }
writes=write,pwrite64,rename,renameat2,unlink,unlinkat,ftruncate,fsync
step=7 first=0
[ -z "${KYOK_LONG:-}" ] || step=1
# killed NAME CHECK COMMAND...: killed at a write, run again, asks CHECK; until it is no longer killed.
killed() {
    local name=$1 check=$2 nth lost=0 count=0 bad='' status=137
    shift 2
    first=$((first % step + 1)) # not always the same writes
    for ((nth = first; nth < 200; nth += step)); do
        restore
        rm -rf work && mkdir work && cp ./*.jwe work/
        { strace -f -qq -o /dev/null -e trace=$writes -e "inject=$writes:signal=SIGKILL:when=$nth" "$@" >/dev/null; } 2>/dev/null
        status=$?
        [ $status -eq 137 ] || break
        if softhsm_lost_one; then lost=$((lost + 1)); continue; fi
        count=$((count + 1))
        $check before || bad="$bad $nth:unreadable"
        again "$@" >/dev/null 2>&1 || bad="$bad $nth:second-run"
        $check after || bad="$bad $nth:incomplete"
    done
    is "$name: killed at $count writes up to the ${nth}th" "$bad" ''
    diag "$lost more lost an object file of SoftHSM's"
    at_least "$name: it was killed often enough" $((count)) 1
}
again() { "$@"; }
root_rotated() {
    opens work/r.jwe && opens work/a.jwe || return 1
    [ "$1" = before ] || [ "$(state "$(k root)" | tr ' ' '\n' | grep -c :active)" = 1 ]
}
killed 'rotate' root_rotated "$KYOK" key rotate "$(k root)"
rewrapped() { opens work/a.jwe && opens work/r.jwe || return 1; [ "$1" = before ] || [ "$(grep -c . work/r.jwe)" = 1 ]; }
killed 'rewrap' rewrapped "$KYOK" rewrap work/r.jwe work/a.jwe --to "all-of($(k root), $(k a))"
suspended() { [ "$1" = before ] || [ "$(state "$(k root)")" = root:suspended ]; }
killed 'state' suspended "$KYOK" key state "$(k root)" suspended
imported() { opens work/a.jwe || return 1; [ "$1" = before ] || "$KYOK" seal --to "$(k byok)" secret >/dev/null; }
killed 'import' imported "$KYOK" key import "$(k byok)" byok.sealed
paired() { opens work/a.jwe || return 1; [ "$1" = before ] || [ "$(p11tool hsm --token-label t -O 2>/dev/null | grep -c 'label: *pair$')" = 2 ]; }
killed 'import of a pair' paired "$KYOK" key import "$(k pair)" pair.sealed
born() { opens work/a.jwe || return 1; [ "$1" = before ] || [ "$(state "$(k born)")" = born:pre-active ]; }
# Whoever is told that the name is taken knows that the first run was done.
again() { "$@" || "$@" 2>&1 | grep 'already'; }
killed 'generate pre-active' born "$KYOK" key generate "$(k born)" --type aes-256 --pre-active
descended() { opens work/a.jwe || return 1; [ "$1" = before ] || "$KYOK" seal --to "$(k d)" secret >/dev/null; }
killed 'descend' descended "$KYOK" key descend "$(k root)" --for d
# A key without a record that is gone is not found again: that is how its end is told.
again() { "$@" || "$@" 2>&1 | grep -E 'no such key'; }
destroyed() {
    opens work/r.jwe && opens work/a.jwe || return 1
    [ "$1" = before ] || ! p11tool hsm --token-label t -O --type secrkey 2>/dev/null | grep -q 'label: *gone$'
}
killed 'destroy' destroyed "$KYOK" key destroy "$(k gone)" --in empty --confirm gone
again() { "$@"; }

# --- a group of two tokens: the same key in both, the record in both ---------------------------------
restore
p11tool hsm --token-label t --keygen --key-type AES:32 --label both --id 0b --sensitive --extractable --usage-decrypt --usage-wrap >/dev/null 2>&1
conf 'uri = pkcs11:token=t' 'uri = pkcs11:token=u'
both='pkcs11:object=both?kyok-group=hsm'
ok 'a key in two tokens' "$KYOK" key replicate "$both" --to u --allow-oaep-sha1
"$KYOK" seal --to "$both" secret -o both.jwe
rm -rf saved && cp -a hsm saved
both_suspended() { [ "$1" = before ] || { [ "$(state "$both")" = both:suspended ] && ! opens work/both.jwe; }; }
killed 'state in two tokens' both_suspended "$KYOK" key state "$both" suspended
both_gone() { [ "$1" = before ] || ! p11tool hsm --token-label u -O --type secrkey 2>/dev/null | grep -q 'label: *both$'; }
killed 'destroy in two tokens' both_gone "$KYOK" key destroy "$both" --in empty --confirm both
# All or nothing: whatever a killed run had put into one token is replaced by the second.
[ -n "${KYOK_LONG:-}" ] || step=41
both_rotated() {
    opens work/both.jwe || return 1
    # Killed when all but its last word was written, it was done: the second run rotates once more.
    [ "$1" = before ] || { newest=$(state "$both" | tr ' ' '\n' | sed -n 's/:active$//p')
        case $newest in both.v2 | both.v3) ;; *) return 1 ;; esac
        for token in t u; do
            [ "$(p11tool hsm --token-label $token -O --type secrkey 2>/dev/null | grep -c "label: *$newest\$")" = 1 ] || return 1
        done; }
}
killed 'rotate in two tokens' both_rotated "$KYOK" key rotate "$both" --allow-oaep-sha1
[ -n "${KYOK_LONG:-}" ] || step=67
shared='pkcs11:object=shared?kyok-group=hsm'
both_made() {
    opens work/both.jwe || return 1
    [ "$1" = before ] || { [ "$(state "$shared")" = shared:active ] && "$KYOK" seal --to "$shared" secret >/dev/null; }
}
again() { "$@" || "$@" 2>&1 | grep 'already'; }
killed 'generate in two tokens' both_made "$KYOK" key generate "$shared" --type aes-256 --replicate --allow-oaep-sha1
done_testing
