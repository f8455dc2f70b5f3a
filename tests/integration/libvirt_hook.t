#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A VM on a disk whose passphrase is sealed to an HSM: libvirt starts it with the hook's help, and not
# without the custodian's consent.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
mkdir -p /run/systemd/journal # libvirtd hands no environment down: events go where they go in the field
events_collect /run/systemd/journal/socket "$SANDBOX/journal"
# tells NAME REGEX: the hook has told the journal of such an event since the last forget.
tells() { wait_for 30 grep -Eq "^MESSAGE=\{.*$2" journal; like "$1" "$(grep '^MESSAGE=' journal)" "$2"; }
forget() { : >journal; }
ok "libvirtd answers" libvirtd_start
ok "the host is hardened" "$KYOK" vm harden

secrets() { virsh -q secret-list | grep -c .; }
no_secrets() { [ "$(secrets)" = 0 ]; }
domain_uuid() { virsh -q domuuid "$1" | head -1; }

# --- start and stop ---
ok "a VM on a raw disk of kyok's" libvirtd_vm raw "$SANDBOX/raw.img"
ok "its secrets are looked for from now on" leaks_watch raw.img
forget
ok "starts ($LIBVIRT_TYPE)" virsh -q start --paused raw
tells 'the journal knows who opened which disk of which VM, with which key' '"event":"open".*"program":"kyok-libvirt-hook","key":"pkcs11:token=bank;[^"]*object=root","use":"vm-disk","owner":"luks:[-0-9a-f]+ vm:'"$(domain_uuid raw)"'","result":"ok"'
is "and runs" "$(virsh domstate raw | head -1)" paused
ok "its secret is gone as soon as it runs" no_secrets
is "no mark is left" "$(ls /run/kyok/starting)" ""
ok "it stops" virsh -q destroy raw
ok "and starts again" virsh -q start --paused raw
ok "libvirtd restarts while it runs" libvirtd_restart
is "it still runs" "$(virsh domstate raw | head -1)" paused
ok "it stops" virsh -q destroy raw
no_leaks 'start, restart of libvirtd, stop'
ok "a VM on a qcow2 disk" libvirtd_vm qcow "$SANDBOX/q.qcow2" qcow2
ok "its volume key is looked for, too" leaks_watch q.qcow2
ok "starts" virsh -q start --paused qcow
ok "managed save" virsh -q managedsave qcow
no_leaks 'managed save'
ok "and restore" virsh -q start qcow
ok "it stops" virsh -q destroy qcow
ok "no secret is left" no_secrets
no_leaks 'restore'

# --- a secret named by usage= ---
sed "s|uuid='[^']*'/></enc|usage='/my disk \&lt;1>'/></enc|; s|<name>raw|<name>usage|" raw.img.domain >usage.xml
virsh -q undefine raw >/dev/null
sed -i "s|<name>usage|<name>raw|" usage.xml
ok "the same VM with usage= instead of uuid=" virsh -q define usage.xml
ok "starts" virsh -q start --paused raw
ok "it stops" virsh -q destroy raw
ok "no secret is left" no_secrets
no_leaks 'usage='
virsh -q define raw.img.domain >/dev/null

# --- several disks ---
u=$(domain_uuid raw)
"$KYOK" disk create "$SANDBOX/second.img" --size 1M --key root --vm "$u" >second.xml
sed -i "s/'vda'/'vdb'/" second.xml
ok "a second disk" virsh -q attach-device raw second.xml --config
ok "both open" virsh -q start --paused raw
leaks_watch second.img
no_leaks 'several disks'
is "two encrypted disks" "$(virsh -q dumpxml raw | grep -c "<secret type='passphrase'")" 2
ok "it stops" virsh -q destroy raw
virsh -q detach-disk raw vdb --config >/dev/null

cp second.img.kyok kept-second.kyok; echo '{}' >second.img.kyok
virsh -q attach-device raw second.xml --config
refused "one of two disks does not open: refused, naming it" any 'VM raw: disk vdb' virsh -q start --paused raw
ok "and the other's secret is taken back" no_secrets
cp kept-second.kyok second.img.kyok
virsh -q detach-disk raw vdb --config >/dev/null

# --- refusals: what virsh shows ---
start_refused() { refused "$1" any "$2" virsh -q start --paused "${3:-raw}"; }
keep() { cp -a raw.img.kyok kept.kyok; }
restore() { cp -a kept.kyok raw.img.kyok; }
keep
sed -i 's/"iv":"-/"iv":"_/; t; s/"iv":"./"iv":"-/' raw.img.kyok # never the letter that is there
start_refused "a tampered record: refused" 'VM raw: disk vda \(.*raw.img\)'
cp q.qcow2.kyok raw.img.kyok
start_refused "another disk's record: refused" 'belongs to another volume'
restore
u2=$(cat /proc/sys/kernel/random/uuid)
ok "the record is bound to another VM" "$KYOK" disk bind raw.img --vm "$u2"
start_refused "and refused" 'belongs to another VM'
ok "bound to any VM" "$KYOK" disk bind raw.img --any-vm
ok "it starts" virsh -q start --paused raw
virsh -q destroy raw >/dev/null
restore
echo '{}' >raw.img.kyok
start_refused "a record that is none: refused" 'raw.img.kyok|VM raw'
rm -f raw.img.kyok; mkfifo raw.img.kyok
start_refused "a FIFO for a record: refused, and at once" 'no regular file'
rm -f raw.img.kyok; restore
"$KYOK" disk create "$SANDBOX/loose.img" --size 1M --key root >/dev/null
cp loose.img.kyok kept-loose.kyok
libvirtd_domain loose raw "$SANDBOX/loose.img" "$("$KYOK" disk info loose.img | grep -o "uuid='[^']*'")" >loose.xml
virsh -q define loose.xml >/dev/null
start_refused "a record bound to no VM yet: refused, naming the verb" 'kyok disk bind' loose
ok "bound by name" "$KYOK" disk bind loose.img --vm loose --metadata
ok "it starts" virsh -q start --paused loose
virsh -q destroy loose >/dev/null
mv loose.img.kyok away
like "what virsh has defined is found where libvirt keeps it" "$("$KYOK" uses root)" '/etc/libvirt/qemu/loose\.xml'
ok "without the sidecar: the copy in the metadata serves" virsh -q start --paused loose
virsh -q destroy loose >/dev/null
mv away loose.img.kyok

# --- the custodian is away ---
mv /etc/softhsm/softhsm2.conf /etc/softhsm/away
begun=$(now_ms)
forget
start_refused "custodian away: refused, naming the key" 'key pkcs11:token=bank'
tells 'which the journal knows, too' '"event":"refuse".*"program":"kyok-libvirt-hook".*"use":"vm-disk".*"result":"unreachable"'
at_most "within the deadline (ms)" $(($(now_ms) - begun)) 4500
mv /etc/softhsm/away /etc/softhsm/softhsm2.conf
ok "back: the next start works" virsh -q start --paused raw
virsh -q destroy raw >/dev/null
chmod 644 "$SANDBOX/pin"
start_refused "a PIN that others can read: refused" 'pin'
chmod 600 "$SANDBOX/pin"

# --- a stored secret of the same name is not touched ---
secret=$("$KYOK" disk info raw.img --json | grep -o '"secret": "[^"]*"' | cut -d'"' -f4)
echo "<secret ephemeral='no' private='no'><uuid>$secret</uuid></secret>" >stored.xml
virsh -q secret-define stored.xml >/dev/null
virsh -q secret-set-value "$secret" "$(echo -n other | base64)" >/dev/null 2>&1
start_refused "a stored secret of that name: refused, with the remedy" "virsh secret-undefine $secret"
is "and left as it was" "$(virsh -q secret-get-value "$secret" | head -1)" "$(echo -n other | base64)"
virsh -q secret-undefine "$secret" >/dev/null

no_leaks 'refused starts'

# --- lock ---
mkdir -p /etc/kyok/locked; touch "/etc/kyok/locked/$u"
start_refused "a locked VM: refused" 'is locked'
rm "/etc/kyok/locked/$u"

# --- others cost nothing: no worker is loaded ---
libvirtd_domain plain raw "$SANDBOX/raw.img" "uuid='$secret'" |
    sed 's|<encryption.*</encryption>||' >plain.xml
ok "the hook passes a domain without encryption" sh -c "'$BUILD/libvirt-hook/kyok' plain prepare begin - <plain.xml"
libraries() { LD_DEBUG=files "$BUILD/libvirt-hook/kyok" raw "$1" "$2" - 2>&1 | sed -n 's/.*calling init: .*\///p' | tr '\n' ' '; }
unlike "and loads nothing but the C library" "$(libraries prepare begin <plain.xml | sed 's/ld-linux[^ ]*//; s/libc\.so\.6//; s/lib[a-z]*san[^ ]*//')" '[a-z]'
unlike "nor when it runs" "$(libraries started begin <plain.xml)" 'kyok|xml'
echo "<secret ephemeral='no' private='no'><uuid>$u</uuid></secret>" >stored.xml
virsh -q secret-define stored.xml >/dev/null
stored() { sed "s|$SANDBOX/raw.img|$1|; s|uuid='[^']*'/></enc|uuid='$u'/></enc|" raw.img.domain | LD_DEBUG=files "$BUILD/libvirt-hook/kyok" raw prepare begin - 2>&1; }
unlike "one with a stored secret loads neither libkyok nor libvirt" "$(stored /nonexistent)" 'libkyok|libvirt\.so|kyok-hook\.so'
like "(which are seen where there is a record)" "$(stored "$SANDBOX/raw.img")" 'kyok-hook\.so'
virsh -q secret-undefine "$u" >/dev/null
mkdir -p /etc/kyok/locked; touch "/etc/kyok/locked/$u"
sed "s|</name>|</name><uuid>$u</uuid>|" plain.xml >locked.xml
refused "a locked VM without encryption is refused, too" 1 'is locked' sh -c "'$BUILD/libvirt-hook/kyok' plain prepare begin - <locked.xml"
rm "/etc/kyok/locked/$u"
for encoding in UTF-16 UTF-16LE UTF-16BE UTF-7; do
    { [ $encoding != UTF-7 ] || echo "<?xml version='1.0' encoding='UTF-7'?>"; iconv -f UTF-8 -t $encoding raw.img.domain; } >wide.xml
    like "a domain written in $encoding is read" "$(libraries prepare begin <wide.xml)" 'kyok-hook-handler\.so'
done
printf '<!DOCTYPE d [<!ENTITY a "b">]><domain><name>&a;</name></domain>' >hostile.xml
refused "XML with entities: refused" 1 'entities' sh -c "'$BUILD/libvirt-hook/kyok' x prepare begin - <hostile.xml"
refused "10 MB of XML: refused" 1 '8 MiB' sh -c "head -c 10000000 /dev/zero | tr '\\0' ' ' | '$BUILD/libvirt-hook/kyok' x prepare begin -"
{ echo '<domain><name>x</name><devices>'; for i in $(seq 1000); do
    echo "<disk><source file='/x$i'><encryption format='luks'><secret uuid='$u'/></encryption></source></disk>"
done; echo '</devices></domain>'; } >many.xml
refused "1000 encrypted disks: refused" 1 '256 encrypted' sh -c "'$BUILD/libvirt-hook/kyok' x prepare begin - <many.xml"

# --- what the XML names is looked at before it is opened: opening a device is an act ---
mknod device c 1 5; mkfifo pipe
for odd in device pipe; do
    sed "s|<source file='[^']*'|<source file='$SANDBOX/$odd'|" raw.img.domain >odd.xml
    strace -f -qq -o opened -e trace=openat,open "$BUILD/libvirt-hook/kyok" raw prepare begin - <odd.xml >/dev/null 2>&1
    like "a $odd is looked at" "$(cat opened)" "/$odd\", O_[A-Z|_]*O_PATH"
    unlike "and not opened" "$(grep "/$odd\"\|/proc/self/fd" opened | grep -v O_PATH)" '.'
done
printf '{}' >"$(printf 'new\nline.img').kyok"
sed "s|<source file='[^']*'|<source file='$SANDBOX/new\&#10;line.img'|" raw.img.domain >odd.xml
like "a newline in a path makes no line of its own" \
    "$("$BUILD/libvirt-hook/kyok" raw prepare begin - <odd.xml 2>&1)" '^kyok: VM raw: disk vda \(.*/new\?line.img\)'

# --- what is on the host ---
virsh -q start --paused raw >/dev/null
no_leaks 'while a VM runs'
virsh -q destroy raw >/dev/null
leaks_passphrase raw.img >planted
like "(the search finds a passphrase that lies about)" "$(leaks_search)" '^passphrase in .*/planted'
rm planted
done_testing
