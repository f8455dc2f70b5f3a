#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kyok disk rekey while the VM runs: QEMU writes the key slots, every copy of the record follows, or the
# command names the copy that it cannot change.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"
export PATH=$PATH:/usr/sbin:/sbin
need cryptsetup

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
export KYOK_CONF=/etc/kyok/kyok.conf
ok "libvirtd answers" libvirtd_start
start() { virsh -q start --paused "$1"; }
passphrase() { "$BUILD/kyok-qemu-secret" --disk d="$1" -- cat @d@; }
opens() { # IMAGE PASSPHRASE-FILE
    local o=driver=luks,key-secret=s,file.filename=$1
    case $1 in *.qcow2) o=driver=qcow2,encrypt.key-secret=s,file.filename=$1 ;; esac
    qemu-io -r -U --object secret,id=s,file="$2" -c 'read 0 512' --image-opts "$o" 2>&1
}
slots() { "$KYOK" disk info "$1" --json | grep -c '"iterations"'; }
generation() { "$KYOK" disk info "$1" --json | grep -o '"generation": [0-9]*' | head -1 | cut -d' ' -f2; }
metadata() { virsh -q metadata "$1" --uri urn:kyok:libvirt:1 "${@:2}" 2>/dev/null; }
# What "ps" would show anybody: every program's arguments and environment while COMMAND runs.
spied() {
    "$@" >spied.out 2>&1 &
    local pid=$!
    while kill -0 $pid 2>/dev/null; do
        cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' >>seen.txt
        sleep 0.02
    done
    wait $pid
}

# qcow2 through a QMP socket of its own: qemu_secret.t
for format in raw ${KYOK_LONG:+qcow2}; do
    image=$SANDBOX/$format.img; [ $format = raw ] || image=$SANDBOX/disk.qcow2
    ok "$format: a VM" libvirtd_vm $format "$image" $format
    u=$(virsh -q domuuid $format | head -1)
    ok "$format: a copy of the record is in its metadata" "$KYOK" disk bind "$image" --vm "$u" --metadata
    ok "$format: it starts" start $format
    passphrase "$image" >old
    : >seen.txt
    ok "$format: rekey while it runs" spied "$KYOK" disk rekey "$image"
    is "$format: it still runs" "$(virsh domstate $format | head -1)" paused
    is "$format: the generation counts" "$(generation "$image")" 2
    is "$format: one slot is left" "$(slots "$image")" 1
    passphrase "$image" >new
    unlike "$format: the passphrase is another" "$(cat new)" "$(cat old)"
    unlike "$format: neither was in a program's arguments or environment" "$(cat seen.txt)" "$(cat old)|$(cat new)"
    like "$format: virsh was watched, and gave QEMU ciphertext" "$(cat seen.txt)" '"keyid":"masterKey0"'
    unlike "$format: neither is in libvirt's or QEMU's log" "$(cat "$LIBVIRT_DIR/libvirtd.log" /var/log/libvirt/qemu/*.log)" "$(cat old)|$(cat new)"
    like "$format: the new one opens the disk" "$(opens "$image" new)" 'read 512/512'
    unlike "$format: the old one does not" "$(opens "$image" old)" 'read 512/512'
    record=$(cat "$image.kyok")
    is "$format: the stored domain has the new record" "$(metadata $format --config | grep -o '{.*}')" "$record"
    is "$format: the running domain too" "$(metadata $format --live | grep -o '{.*}')" "$record"
    is "$format: and nothing pending" "$(ls "$image.kyok.next" 2>/dev/null; metadata $format --config | grep pending)" ""
    unlike "$format: QEMU keeps none of kyok's secrets" \
        "$(virsh -q qemu-monitor-command $format '{"execute":"qom-list","arguments":{"path":"/objects"}}')" kyok-
done

# --- killed while QEMU works: the second run completes, running or off ---
image=$SANDBOX/raw.img
u=$(virsh -q domuuid raw | head -1)
for when in running off; do
    "$KYOK" disk rekey "$image" >/dev/null 2>&1 & pid=$!
    added() { [ "$(slots "$image")" = 2 ]; }
    ok "$when: the new slot is there" wait_for 60 added
    kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    # qemu-io cannot: QEMU keeps readers away until somebody has taken note that its job has ended.
    like "$when: the record opens the disk" "$(passphrase "$image")" '^[0-9a-f]{64}$'
    [ $when = running ] || virsh -q destroy raw >/dev/null
    ok "$when: a second run completes" "$KYOK" disk rekey "$image"
    ok "$when: the disk opens" "$KYOK" disk verify "$image"
    is "$when: one slot, nothing pending" "$(slots "$image") $(ls "$image.kyok.next" 2>/dev/null)" "1 "
done
ok "the VM starts" start raw

# --- a copy of the image, and a VM whose metadata cannot be read ---
cp "$image" clone.img; cp "$image.kyok" clone.img.kyok
refused "rekey of a copy would give the VM the copy's record" 1 'has another image with the same LUKS UUID' "$KYOK" disk rekey clone.img
rm clone.img*
libvirtd_domain poison raw "$SANDBOX/none.img" "uuid='$u'" "<k:vm xmlns:k='urn:kyok:libvirt:1'><k:record/></k:vm>" >poison.xml
ok "a tenant's odd metadata" virsh -q define poison.xml
ok "is no obstacle to another's disk" "$KYOK" disk rewrap "$image"
virsh -q undefine poison >/dev/null

# --- two disks of one VM at the same time: neither loses the other's metadata ---
for i in 1 2 3; do "$KYOK" disk create "m$i.img" --size 64K --key root --vm "$u" >/dev/null; "$KYOK" disk bind "m$i.img" --vm "$u" --metadata >/dev/null & pids[i]=$!; done
for i in 1 2 3; do wait "${pids[i]}"; done
is "three disks of a VM are bound at the same time: all records are there" "$(metadata raw --config | grep -o 'generation\|ciphertext' | grep -c ciphertext)" 4

# --- what cannot be updated is named, and nothing is changed ---
before=$(generation "$image")
virsh -q managedsave raw >/dev/null
refused "a managed save that holds the record: refused, naming it" 1 'the managed save holds a copy of the record' "$KYOK" disk rekey "$image"
ok "start it" virsh -q start raw
virsh -q destroy raw >/dev/null
echo "<domainsnapshot><name>old</name><state>shutoff</state><creationTime>1</creationTime>$(virsh dumpxml raw)</domainsnapshot>" >snap.xml
ok "a snapshot's description" virsh -q snapshot-create raw snap.xml --redefine
refused "a snapshot that holds the record: refused, naming it" 1 'snapshot old holds a copy of the record' "$KYOK" disk rekey "$image"
virsh -q snapshot-delete raw old --metadata >/dev/null
ok "unlock --hold" "$KYOK" vm unlock raw --hold
refused "a passphrase that libvirt holds: refused, naming it" 1 'libvirt holds the disk.s passphrase' "$KYOK" disk rekey "$image"
ok "lock" "$KYOK" vm lock raw
is "nothing was changed" "$(generation "$image")" "$before"
ok "then it is done" "$KYOK" disk rekey "$image"
ok "unlock" "$KYOK" vm unlock raw
ok "the VM starts" start raw
virsh -q destroy raw >/dev/null

# --- metadata that virsh cannot take: refused before anything is changed ---
before=$(cat "$image.kyok")
virsh dumpxml --inactive raw >usual.xml
perl -0777 -pe 'BEGIN { $pad = sprintf q(<kyok:record disk="00000000-0000-4000-8000-000000000000">{%s}</kyok:record>), q("x":1,) x 21700 }
    s{</kyok:vm>}{$pad</kyok:vm>} == 1 or die "no kyok:vm"' usual.xml >large.xml
ok "a VM with 130 kB of records" virsh -q define large.xml
for verb in rekey rewrap; do refused "$verb: refused, saying how much there is" any 'metadata would hold [0-9]* bytes of records, and virsh takes' "$KYOK" disk $verb "$image"; done
is "nothing was changed" "$(cat "$image.kyok"; ls "$image.kyok.next" 2>/dev/null)" "$before"
virsh -q define usual.xml >/dev/null

# --- QEMU finds no free slot: what was begun is taken back ---
passphrase "$image" >now
for i in 1 2 3 4 5 6 7; do printf %s "more $i" >added; cryptsetup luksAddKey -q --pbkdf-force-iterations 1000 --key-file now "$image" added; done
ok "the VM starts" start raw
refused "rekey while it runs finds no room" any '.' "$KYOK" disk rekey "$image"
is "nothing is pending, in the file or the metadata" "$(ls "$image.kyok.next" 2>/dev/null; metadata raw --config | grep pending; metadata raw --live | grep pending)" ""
ok "a change of recipients goes on" "$KYOK" disk rewrap "$image"
virsh -q destroy raw >/dev/null
ok "the other slots go" "$KYOK" disk adopt --forget-old "$image"
ok "rekey" "$KYOK" disk rekey "$image"

# --- adopt a disk whose passphrase libvirt stores ---
printf %s 'what libvirt stores' >stored.pass
truncate -s 4M stored.img
cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 --key-file stored.pass stored.img
for private in yes no; do
    s=$(cat /proc/sys/kernel/random/uuid)
    echo "<secret ephemeral='no' private='$private'><uuid>$s</uuid></secret>" >secret.xml
    virsh -q secret-define secret.xml >/dev/null; virsh -q secret-set-value "$s" --file stored.pass --plain >/dev/null
    [ $private = no ] || refused "a private secret is given to nobody" 1 'private.*|passphrase-file' "$KYOK" disk adopt stored.img --key root --libvirt-secret "$s" --any-vm
done
ok "adopt with libvirt's secret" "$KYOK" disk adopt stored.img --key root --libvirt-secret "$s" --any-vm
libvirtd_domain stored raw "$SANDBOX/stored.img" "uuid='$s'" >stored.xml; virsh -q define stored.xml >/dev/null
ok "the old passphrase still opens it" cryptsetup luksOpen --test-passphrase --key-file stored.pass stored.img
ok "forget it, here and in libvirt" "$KYOK" disk adopt stored.img --forget-old --libvirt-secret "$s"
refused "it opens nothing" any '.' cryptsetup luksOpen --test-passphrase --key-file stored.pass stored.img
refused "libvirt has it no longer" any 'ecret' virsh secret-get-value "$s"
ok "the VM starts, its XML as it was" start stored
virsh -q destroy stored >/dev/null
ok "unlock --hold" "$KYOK" vm unlock stored --hold
refused "rekey knows a held secret by its disk, whatever its name" 1 'libvirt holds the disk.s passphrase for a VM' "$KYOK" disk rekey stored.img
ok "lock" "$KYOK" vm lock stored
ok "then it is done" "$KYOK" disk rekey stored.img

# --- two VMs that share a disk ---
"$KYOK" disk create "$SANDBOX/shared.img" --size 1M --key root --any-vm >shared.xml
for i in s1 s2; do
    libvirtd_domain $i raw "$SANDBOX/shared.img" "$(grep -o "uuid='[^']*'" shared.xml)" | sed 's|</source>|</source><shareable/>|' >$i.xml
    virsh -q define $i.xml >/dev/null 2>>shared.err # where libvirt 11 refuses, 9 does at the start
done
if start s1 >/dev/null 2>>shared.err && start s2 >/dev/null 2>>shared.err; then
    refused "two running VMs on one disk: refused, naming them" 1 'two VMs share the disk' "$KYOK" disk rekey "$SANDBOX/shared.img"
elif grep -q 'requires use of supported storage format' shared.err; then
    skip "this libvirt lets no VMs share an encrypted disk"
else
    fail "two VMs share a disk" "$(cat shared.err)"
fi
done_testing
