#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# rekey, reencrypt (also --to), grant and rewrap, killed before each system call that changes a file, and
# with a disk that is full at each step: one recorded generation opens the disk, a second run completes.
# KYOK_LONG=1 kills also before each fsync (what lies there is what the next call finds) and each write(2)
# (most are SoftHSM's own), tries more verbs and more sizes, and qcow2 at every call.
. "$(dirname "$0")/../support/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
need pkcs11-tool softhsm2-util qemu-img cryptsetup

cd "$SANDBOX" || exit 1
softhsm_new hsm
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
for t in bank hosts; do
    softhsm_token hsm $t
    p11tool hsm --token-label $t --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
done
kyok_conf '[token bank]' "module = $(softhsm_module)" 'uri = pkcs11:token=bank' "pin-source = file:$(pin_file)" \
    '[token hosts]' "module = $(softhsm_module)" 'uri = pkcs11:token=hosts' "pin-source = file:$(pin_file)" \
    '[key bank]' 'uri = pkcs11:token=bank;object=root' '[key hosts]' 'uri = pkcs11:token=hosts;object=root'
# The record opened by its custodian, and the passphrase proved on the header.
opens() { "$BUILD/kyok-qemu-secret" --disk d="$1" -- test -e @d@; }
# IMAGE: generations of every copy, key slots, what lies around
state() { echo "slots $("$KYOK" disk info "$1" --json | grep -c '"iterations"') $(ls "$1".* 2>/dev/null | tr '\n' ' ')"; }
export format=raw
marker() { # IMAGE read|write
    local driver=luks,key-secret=s
    [ $format = raw ] || driver=qcow2,encrypt.key-secret=s
    "$BUILD/kyok-qemu-secret" --disk s="$1" -- qemu-io --object secret,id=s,file=@s@ -c "$2 -P 77 4096 4096" \
        --image-opts "driver=${driver%%,*},${driver#*,},file.filename=$1" >/dev/null
}
fresh() { rm -f k.img* n.img*; "$KYOK" disk create k.img --size 64K --format $format --key bank >/dev/null && marker k.img write; }
# run NAME: the verb
run() {
    case $1 in
    rekey | reencrypt | rewrap) "$KYOK" disk $1 k.img --files-only ;;
    move) "$KYOK" disk reencrypt k.img --to n.img --files-only ;;
    grant) "$KYOK" disk grant k.img hosts --files-only ;;
    bind) "$KYOK" disk bind k.img --any-vm --files-only ;;
    adopt) "$KYOK" disk adopt k.img --key bank --passphrase-file k.pass --files-only ;;
    forget) "$KYOK" disk adopt k.img --forget-old --files-only ;;
    esac
}
as_it_was() { cp kept.bytes k.img; rm -f k.img.kyok*; }
result() { if [ "$1" = move ]; then echo n.img; else echo k.img; fi; } # what the verb makes

# --- killed ---
calls='pwrite64 rename renameat2 unlink ftruncate'
if strace -e trace=none true 2>/dev/null; then
    # SoftHSM loses its token when it is killed while it logs in: it gets it back.
    cp -a hsm hsm.kept
    killed_at() { # CALL N NAME
        (export -f run; strace -f -qq -o /dev/null -e trace=$1 -e "inject=$1:signal=KILL:when=$2" bash -c "run $3") >/dev/null 2>&1 && return 1
        cmp -s <(cd hsm && find . -type f -size +0 | sort) <(cd hsm.kept && find . -type f -size +0 | sort) || { rm -rf hsm && cp -a hsm.kept hsm; }
    }
    all="$calls ${KYOK_LONG:+fsync fchmod fchown write}"
    # VERB:FORMAT:CALLS: of qcow2 what is not the same as of raw: where the slots lie, and how the image is made.
    while IFS=: read -r verb format calls; do
        killed=0 reached='' unopened='' unfinished='' lost=''
        fresh
        if [ $verb = adopt ]; then
            # The disk as its owner made it: one slot, which the passphrase in k.pass opens.
            "$BUILD/kyok-qemu-secret" --disk d=k.img -- cat @d@ >k.pass
            rm k.img.kyok; cp k.img kept.bytes
        fi
        for call in $calls; do
            for n in $(seq 60); do
                [ $verb != adopt ] || as_it_was
                killed_at $call $n $verb || break
                killed=$((killed + 1)); reached="$reached $call"
                # Before its record is there an adopted disk opens with the old passphrase alone.
                opens k.img >/dev/null 2>&1 || [ $verb = adopt ] || unopened="$unopened $call:$n"
                [ $verb != adopt ] || cryptsetup luksOpen --test-passphrase --key-file k.pass k.img || lost="$lost $call:$n"
                # A grant or a move that was killed when it was done but for its answer is done.
                run $verb >second.out 2>&1 || grep -Eq 'already|exists|has a record' second.out || unfinished="$unfinished $call:$n"
                opens "$(result $verb)" >/dev/null 2>&1 || unopened="$unopened $call:$n:second"
                case $verb in
                move) marker n.img read 2>/dev/null || lost="$lost $call:$n"; [ "$(state n.img)" = "slots 1 n.img.kyok " ] || lost="$lost $call:$n:$(state n.img)"; rm -f n.img* ;;
                grant) "$KYOK" disk revoke k.img hosts --files-only >/dev/null 2>&1 ;;
                esac
            done
        done
        diag "$verb $format:$(tr ' ' '\n' <<<"$reached" | sort | uniq -c | awk 'NF == 2 { printf " %s %s", $1, $2 }')"
        case $verb:$format in rekey:raw | reencrypt:raw | move:raw) wanted=6 ;; *) wanted=2 ;; esac
        at_least "$verb $format was killed at so many calls" $killed $wanted
        is "$verb $format: a recorded generation opened the disk after each" "$unopened" ""
        is "$verb $format: a second run completed each" "$unfinished" ""
        is "$verb $format: the data and no mark were left" "$lost" ""
        [ $verb != adopt ] || { as_it_was && run adopt && run forget; } >/dev/null || lost=yes
        marker k.img read || lost=yes
        is "$verb $format: one slot, one record, nothing else; the old data is there" "$(state k.img)$lost" "slots 1 k.img.kyok "
    done < <(
        for verb in rekey reencrypt move grant rewrap adopt ${KYOK_LONG:+bind}; do echo "$verb:raw:$all"; done
        if [ -n "${KYOK_LONG:-}" ]; then for verb in rekey reencrypt move; do echo "$verb:qcow2:$all"; done
        else printf '%s\n' 'rekey:qcow2:pwrite64' 'reencrypt:qcow2:rename' 'move:qcow2:renameat2 unlink'; fi
    )
    format=raw

    # --- killed when the new slot was there, and then a custodian is gone for good ---
    # cut: a disk of the bank's, and a rekey to the other key cut off when its slot was there
    cut() {
        fresh
        (strace -f -qq -o /dev/null -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when=$1 "$KYOK" disk rekey k.img --key hosts --files-only; exit $?) >/dev/null 2>&1
        cp -a hsm.kept/. hsm/
        state k.img
    }
    # without NAME COMMAND...: with a configuration that does not know the group
    without() {
        local group=$1
        shift
        sed "/^\[token $group\]/,/^pin-source/d; /^\[key $group\]/,/^uri/d" "$KYOK_CONF" >without.conf
        KYOK_CONF=$SANDBOX/without.conf "$@"
    }
    rekey=("$KYOK" disk rekey k.img --files-only)
    for n in 2 3 4 5 6 7 8; do found=$(cut $n); [ "$found" = "slots 2 k.img.kyok k.img.kyok.next " ] && break; done
    is "the new slot is there, the old one still" "$found" "slots 2 k.img.kyok k.img.kyok.next "
    cp k.img cut.img; cp k.img.kyok cut.kyok; cp k.img.kyok.next cut.next
    refused "the former custodian is gone: completed, but an open slot is no success" 4 'completed, but key slot 0 may be open' without bank "${rekey[@]}"
    is "the new record is the record" "$(state k.img)" "slots 2 k.img.kyok "
    ok "it opens the disk" without bank opens k.img
    ok "the remedy" without bank "$KYOK" disk adopt --forget-old k.img --files-only
    is "one slot" "$(state k.img)" "slots 1 k.img.kyok "
    cp cut.kyok k.img.kyok
    refused "the former record opens nothing" any 'generation 1 does not open' opens k.img
    cp cut.img k.img; cp cut.kyok k.img.kyok; cp cut.next k.img.kyok.next
    refused "the new custodian is gone: taken back, but an open slot is no success" 4 'taken back, but key slot 1 may be open' without hosts "${rekey[@]}"
    is "the former record is the record" "$(state k.img)" "slots 2 k.img.kyok "
    ok "the remedy" without hosts "$KYOK" disk adopt --forget-old k.img --files-only
    ok "then a rekey" without hosts "${rekey[@]}"
    cp cut.next k.img.kyok
    refused "what the killed run left opens nothing" any 'generation 2 does not open' opens k.img
    cp cut.img k.img; cp cut.kyok k.img.kyok; cp cut.next k.img.kyok.next
    # The group is in kyok.conf, its token is not there: it may come back.
    for token in bank hosts; do
        rm -rf away && cp -a hsm.kept away && sed 's|/hsm$|/away|' hsm.conf >away.conf
        for folder in away/*/; do ! grep -q "$token" "$folder/token.object" || rm -rf "$folder"; done
        before=$(cksum k.img k.img.kyok k.img.kyok.next)
        refused "$token is away: it may come back, so nothing is decided" 3 "token=$token" env SOFTHSM2_CONF="$SANDBOX/away.conf" "${rekey[@]}"
        is "and nothing changed" "$(cksum k.img k.img.kyok k.img.kyok.next)" "$before"
    done
    ok "with both custodians a second run completes" "${rekey[@]}"
    is "one slot" "$(state k.img)" "slots 1 k.img.kyok "
else
    skip "strace cannot trace here" 61
fi

# --- a disk that is full after so many bytes ---
if [ "$(id -u)" = 0 ] && mkdir full && unshare -m true 2>/dev/null; then
    with_room() { # KIB NAME: in a file system that has so much room left
        unshare -m bash -c 'mount -t tmpfs -o size=8m t full && cp k.img k.img.kyok full && cd full || exit 90
            dd if=/dev/zero of=fill bs=4k status=none 2>/dev/null; truncate -s -'"$1"'K fill
            run '"$2"' >first.out 2>&1; first=$?
            opens k.img || exit 91
            rm -f fill
            [ $first = 0 ] || run '"$2"' || exit 92
            opens $(result '"$2"') && marker $(result '"$2"') read || exit 93
            [ "$(state $(result '"$2"'))" = "slots 1 $(result '"$2"').kyok " ] || { state $(result '"$2"'); exit 94; }
            [ $first != 0 ] && exit 10; exit 0'
    }
    export -f with_room run opens marker state result
    export TERM=dumb
    for what in rekey:raw reencrypt:raw move:raw grant:raw rewrap:raw reencrypt:qcow2 ${KYOK_LONG:+rekey:qcow2 move:qcow2}; do
        verb=${what%:*} format=${what#*:}
        fresh
        failed=0 bad=''
        case $what in *:raw) rooms='0 240' ;; *) rooms="240${KYOK_LONG:+ 0}" ;; esac
        for room in $rooms ${KYOK_LONG:+4 8 16 64 272 600 2200}; do
            with_room $room $verb >room.out 2>&1
            case $? in 0) ;; 10) failed=$((failed + 1)) ;; *) bad="$bad $room:$?"; diag "$(cat room.out)" ;; esac
        done
        at_least "$verb $format failed on a full disk, at so many sizes" $failed 1
        is "$verb $format: the disk opened after each, and a second run completed" "$bad" ""
    done
else
    skip "no mount namespace" 10
fi
done_testing
