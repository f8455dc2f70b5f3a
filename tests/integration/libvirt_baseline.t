#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The ground that the hook's tests stand on: libvirt starts a VM on a LUKS disk with a stored secret.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$@"
n=0; ok() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi; }

cd "$LIBVIRT_DIR" || exit 1
printf %064d 7 >pass
qemu-img create -q --object secret,id=s,file=pass -f luks -o key-secret=s,iter-time=10 disk.luks 4M
ok $? "a LUKS image is made"
libvirtd_start; ok $? "libvirtd answers"
u=6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11
echo "<secret ephemeral='yes' private='yes'><uuid>$u</uuid></secret>" >secret.xml
virsh -q secret-define secret.xml >/dev/null && virsh -q secret-set-value $u --file pass --plain >/dev/null
ok $? "the secret is stored"
libvirtd_domain base raw "$PWD/disk.luks" "uuid='$u'" >base.xml
virsh -q define base.xml >/dev/null; ok $? "the domain is defined"
virsh -q start --paused base >&2; ok $? "it starts ($LIBVIRT_TYPE)"
libvirtd_restart; ok $? "libvirtd restarts"
[ "$(virsh domstate base | head -1)" = paused ]; ok $? "and the VM is still there"
virsh -q destroy base >/dev/null; ok $? "it stops"
virsh -q start base >/dev/null 2>&1; [ $? != 0 ]; ok $? "an ephemeral secret is gone after the restart: no start"
echo "1..$n"
