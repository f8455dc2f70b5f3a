#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# VMs whose disks need a KMIP server: a record of two parties, revoked at the bank's side; and disks
# without a record, whose passphrase the server keeps.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"
. "$TESTS/support/kmip.sh"
need openssl

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
kmip_server bank "key kek aes-256" || skip_all "the scripted KMIP server does not start"
{
    kmip_group party alice "$PORT" 'timeout = 2s'
    kmip_group keeper alice "$PORT" 'timeout = 2s' 'release = yes'
    printf '%s\n' '[key bank]' 'uri = kmip://party/kek'
} >>/etc/kyok/kyok.conf
ok "libvirtd answers" libvirtd_start
ok "the host is hardened" "$KYOK" vm harden
start() { virsh -q start --paused "$1"; }
no_secrets() { [ "$(virsh -q secret-list | grep -c .)" = 0 ]; }
define() { # NAME IMAGE UUID
    libvirtd_domain "$1" raw "$2" "$(grep -o "uuid='[^']*'" "$2.xml")" | sed "s|</name>|</name><uuid>$3</uuid>|" >"$1.domain"
    virsh -q define "$1.domain" >/dev/null
}

# --- two parties: the vendor's token and the bank's server ---
u=$(cat /proc/sys/kernel/random/uuid)
"$KYOK" disk create "$SANDBOX/two.img" --size 2M --key 'all-of(root, bank)' --vm "$u" >two.img.xml
ok "a disk that needs both" test -s two.img.xml
ok "a VM" define two "$SANDBOX/two.img" "$u"
ok "its secrets are looked for from now on" leaks_watch two.img
ok "starts with both" start two
virsh -q destroy two >/dev/null
mv /etc/softhsm/softhsm2.conf away
refused "without the vendor's token: refused, naming it" any 'VM two: disk vda.*key pkcs11:token=bank' start two
mv away /etc/softhsm/softhsm2.conf
stopped_at=$(now_ms)
ok "the bank's server stops" kmip_tell bank "down"
refused "without the bank: refused, naming its server" any 'VM two: disk vda.*kmip' start two
at_most "within the deadline (ms)" $(($(now_ms) - stopped_at)) 5000
ok "it is back" kmip_tell bank "up"
ok "the VM starts" start two
ok "libvirtd holds no secret" no_secrets
ok "the bank revokes its key, on its side alone" kmip_tell bank "state kek deactivated"
no_leaks 'two parties'
is "the running VM goes on" "$(virsh domstate two | head -1)" paused
virsh -q destroy two >/dev/null
refused "the next start is refused, naming the key" any 'VM two: disk vda.*(kek|party)' start two
ok "libvirtd holds no secret" no_secrets

# --- no record: the server keeps the passphrase ---
refused "a group that does not release keys" any 'release = yes' "$KYOK" disk create "$SANDBOX/no.img" --size 2M --kmip party
ok "leaves no image" test ! -e no.img
refused "and no binding without a record" 2 'cannot be bound' "$KYOK" disk create "$SANDBOX/no.img" --size 2M --kmip keeper --any-vm
"$KYOK" disk create "$SANDBOX/plain.img" --size 2M --kmip keeper >plain.img.xml
ok "a disk without a record" test -s plain.img.xml
is "nothing lies beside it" "$(ls plain.img*)" "plain.img
plain.img.xml"
ok "verify opens it" "$KYOK" disk verify plain.img --kmip keeper
ok "kyok-qemu-secret too" "$BUILD/kyok-qemu-secret" --kmip keeper --disk s=plain.img -- qemu-io -r --object secret,id=s,file=@s@ \
    -c 'read 0 512' --image-opts driver=luks,key-secret=s,file.filename=plain.img
ok "a VM" define plain "$SANDBOX/plain.img" "$(cat /proc/sys/kernel/random/uuid)"
refused "without the hook's configuration it does not start" any 'ecret' start plain
echo 'kmip = keeper' >/etc/kyok/libvirt-hook.conf
LEAKS_OPTIONS=(--kmip keeper); leaks_watch plain.img
ok "with it, it starts" start plain
no_leaks 'no record'
ok "libvirtd holds no secret" no_secrets
virsh -q destroy plain >/dev/null
printf %064d 7 >pass
qemu_made() { wait_for 60 qemu-img create -q --object secret,id=s,file=pass -f luks -o key-secret=s,iter-time=10 stored.img 1M; }
ok "a disk that is none of kyok's" qemu_made
s=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
echo "<secret ephemeral='no' private='yes'><uuid>$s</uuid></secret>" >s.xml
virsh -q secret-define s.xml >/dev/null; virsh -q secret-set-value $s --file pass --plain >/dev/null
libvirtd_domain stored raw "$SANDBOX/stored.img" "uuid='$s'" >stored.xml; virsh -q define stored.xml >/dev/null
ok "starts with its stored secret as ever" start stored
virsh -q destroy stored >/dev/null
like "list: its key leaves its custodian" "$("$KYOK" vm list)" 'plain .*kmip://keeper\?name=[-0-9a-f]* \(leaves its custodian\)'
unlike "and two's does not" "$("$KYOK" vm list | grep '^two ')" 'leaves'
like "audit says that keys leave that group" "$("$KYOK" vm audit 2>/dev/null)" '^release: keeper'
ok "the server stops" kmip_tell bank "down"
refused "then it does not start" any 'VM plain: disk vda.*kmip://keeper' start plain
done_testing
