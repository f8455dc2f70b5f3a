#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The blocks of docs/vm-disks.md and docs/from-kmip-for-vmware.md as they stand: a disk of two parties, a .vmdk taken over, a backup restored on a second host by its record, a host
# group's revocation, and the recovery when kyok is gone.
. "$(dirname "$0")/../support/lib.sh"
need pkcs11-tool softhsm2-util qemu-img qemu-io /usr/bin/python3 /usr/lib/softhsm/libsofthsm2.so
export PATH=$PATH:/usr/sbin:/sbin
need cryptsetup
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip_all "python3-cryptography is not installed"

cd "$SANDBOX" || exit 1
softhsm_new hsm; pin_file >/dev/null
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
for t in rack-1 rack-2 rack-3 bank-root vendor-root bank-2026; do
    softhsm_token hsm $t
    p11tool hsm --token-label $t --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
done
# host NAME TOKEN...: its folder and configuration; what it may use is there alone
host() {
    local name=$1 t
    shift
    mkdir "$name"
    ln -s ../backup "$name/backup"
    for t; do
        printf '%s\n' "[token $t]" "module = $(softhsm_module)" "uri = pkcs11:token=$t" "pin-source = file:$(pin_file)" \
            "[key $t]" "uri = pkcs11:token=$t;object=root"
    done >"$name/kyok.conf"
}
mkdir backup bin
host admin rack-1 rack-2; host rack-2 rack-2
host racks rack-1 rack-2 rack-3; host rack-1 rack-1
host both bank-root vendor-root; host vendor vendor-root; host vsphere bank-2026
ln -s "$KYOK" "$BUILD/kyok-qemu-secret" bin/
# The VMs that the documents name, as libvirt would.
printf '%s\n' '#!/bin/sh' 'case "$*" in *domuuid*) echo 6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11 ;; *) exit 1 ;; esac' >bin/virsh; chmod +x bin/virsh
qemu-img create -q -f vmdk vsphere/vm.vmdk 2M && qemu-io -f vmdk -c 'write -P 77 65536 4096' vsphere/vm.vmdk >/dev/null
python3 - "$SOURCE/docs/vm-disks.md" "$SOURCE/docs/from-kmip-for-vmware.md" <<'PY'
import re, sys
text = "\n".join(open(name).read() for name in sys.argv[1:])
for number, (_, where, body) in enumerate(re.findall(r"^( *)```sh disk ([-a-z0-9 ]+)\n(.*?)^\1```$", text, re.M | re.S)):
    open(f"{number:02}.sh", "w").write(body)
    open(f"{number:02}.where", "w").write(where + "\n")
PY
at_least "blocks" "$(ls -- *.sh | wc -l)" 12
block() { # WHERE FILE
    if [ "$1" = recovery ]; then
        # Nothing of kyok's but the document and its script.
        mkdir -p gone && cp admin/db.img admin/db.img.kyok gone/ && ln -sfn "$SOURCE/docs" gone/docs && cp "$(pin_file)" gone/pin-file
        (cd gone && env -u KYOK_CONF PATH=/usr/bin:/usr/sbin:/bin:/sbin bash -e "$2")
    else
        (cd "$1" && PATH=$SANDBOX/bin:$PATH KYOK_CONF=$SANDBOX/$1/kyok.conf bash -e "$2")
    fi
}
for file in [0-9][0-9].where; do
    read -r where wanted <"$file"
    code=$SANDBOX/${file%.where}.sh
    if [ "$wanted" = refused ]; then
        why='generation 1 does not open|pkcs11:token=(rack-[12]|bank-root)'
        refused "$where: $(tail -1 "$code")" any "$why" block "$where" "$code"
    else
        ok "$where: $(tail -1 "$code")" block "$where" "$code"
    fi
done
is "what was recovered has the disk's size" "$(stat -c %s gone/clear.img 2>/dev/null)" $((4 << 20))
done_testing
