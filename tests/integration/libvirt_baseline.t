#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The ground that the hook's tests stand on: libvirt starts a VM on a LUKS disk with a stored secret.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"

printf %064d 7 >pass
create() {
    # qemu-img measures the processor and gives up under load.
    wait_for 60 qemu-img create -q --object secret,id=s,file=pass -f luks -o key-secret=s,iter-time=10 disk.luks 4M
}
ok "a LUKS image is made" create
ok "libvirtd answers" libvirtd_start
u=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
echo "<secret ephemeral='yes' private='yes'><uuid>$u</uuid></secret>" >secret.xml
ok "a secret is defined" virsh -q secret-define secret.xml
ok "and has a value" virsh -q secret-set-value $u --file pass --plain
libvirtd_domain base raw "$PWD/disk.luks" "uuid='$u'" >base.xml
ok "the domain is defined" virsh -q define base.xml
ok "it starts ($LIBVIRT_TYPE)" virsh -q start --paused base
ok "libvirtd restarts" libvirtd_restart
is "and the VM is still there" "$(virsh domstate base | head -1)" paused
ok "it stops" virsh -q destroy base
refused "an ephemeral secret is gone after the restart: no start" any "no secret" virsh -q start base
done_testing
