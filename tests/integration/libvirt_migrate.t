#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Live migration between two libvirtd: the target opens the record for itself, or is refused by the
# custodian before any memory moves.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"
need nsenter

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
ok "libvirtd answers" libvirtd_start
ok "this host is hardened" "$KYOK" vm harden

# --- the other host: folders, libvirtd and identity of its own; the images are shared storage ---
softhsm_new stranger; softhsm_token stranger bank
p11tool stranger --token-label bank --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
mkdir other
cat >other.sh <<X
#!/bin/bash
. "$TESTS/support/libvirtd.sh"
libvirtd_namespace
mkdir -p /etc/kyok/vm /etc/softhsm
cp $SANDBOX/bank.conf /etc/softhsm/softhsm2.conf; cp $SANDBOX/kyok.conf.a /etc/kyok/kyok.conf
ln -s "$BUILD/libvirt-hook/kyok" /etc/libvirt/hooks/qemu.d/kyok
libvirtd_start && "$KYOK" vm harden && touch $SANDBOX/other.ready
while [ ! -e $SANDBOX/other.stop ]; do sleep 0.2; done
libvirtd_stop
X
cp /etc/kyok/kyok.conf kyok.conf.a; chmod +x other.sh
LIBVIRT_DIR=$SANDBOX/other LIBVIRT_HOST=kyokother unshare -m -u ./other.sh >other.log 2>&1 &
OTHER=$!
end_other() { touch "$SANDBOX/other.stop"; wait $OTHER 2>/dev/null; }
at_end=(end_other "${at_end[@]}")
ok "the other host's libvirtd answers" wait_for 30 test -e other.ready
# unshare becomes the script: its process is in the other host's namespaces
on_other() { nsenter -t $OTHER -m -u -r -w env LIBVIRT_DEFAULT_URI=qemu:///system "$@"; }
is "it is another host" "$(on_other virsh -q hostname)" kyokother
migrate() {
    virsh migrate --live --p2p --persistent --undefinesource --unsafe one \
        "qemu+unix:///system?socket=/proc/$OTHER/root/run/libvirt/libvirt-sock" --migrateuri "unix://$SANDBOX/migrate.sock"
}
no_secrets() { [ "$("$@" virsh -q secret-list | grep -c .)" = 0 ]; }

ok "a VM" libvirtd_vm one "$SANDBOX/one.img"
ok "its secrets are looked for from now on" leaks_watch one.img
ok "it boots a guest that writes a marker" guest_boots one.img
ok "starts" virsh -q start one
ok "the guest writes it" wait_for 60 guest_wrote one.img

# --- a target without rights ---
on_other cp "$SANDBOX/stranger.conf" /etc/softhsm/softhsm2.conf
refused "a target without rights: refused there, by the hook" any 'VM one: disk vda.*key pkcs11:token=bank' migrate
is "the VM runs on where it was" "$(virsh domstate one | head -1)" running
is "and is unknown there" "$(on_other virsh -q list --all | grep -c one)" 0
ok "no secret there" no_secrets on_other
no_leaks 'a refused migration'

# --- a target with rights ---
on_other cp "$SANDBOX/bank.conf" /etc/softhsm/softhsm2.conf
ok "a target with rights" migrate
is "the VM runs there" "$(on_other virsh domstate one | head -1)" running
is "and no longer here" "$(virsh -q list --all | grep -c one)" 0
ok "no secret there" no_secrets on_other
ok "no secret here" no_secrets env
no_leaks 'a migration'
ok "it stops there" on_other virsh -q destroy one
ok "and starts there again" on_other virsh -q start one
on_other virsh -q destroy one >/dev/null
ok "a backup: image, record and XML on the other host" cp one.img restored.img
cp one.img.kyok restored.img.kyok; sed "s|$SANDBOX/one.img|$SANDBOX/restored.img|" one.img.domain >restored.xml
on_other virsh -q undefine one >/dev/null
ok "it is defined there" on_other virsh -q define "$SANDBOX/restored.xml"
ok "and starts" on_other virsh -q start --paused one
on_other virsh -q destroy one >/dev/null
done_testing
