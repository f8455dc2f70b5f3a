#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A disk outlives kyok: with the custodian and standard tools alone its record gives the passphrase, and
# any LUKS tool opens it (docs/vm-disks.md, docs/recover-record.py).
. "$(dirname "$0")/../support/lib.sh"
need pkcs11-tool softhsm2-util cryptsetup qemu-io /usr/bin/python3
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip_all "python3-cryptography is not installed"

cd "$SANDBOX" || exit 1
softhsm_new hsm; softhsm_token hsm bank
p11tool hsm --token-label bank --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
kyok_conf '[token bank]' "module = $(softhsm_module)" 'uri = pkcs11:token=bank' "pin-source = file:$(pin_file)" \
    '[key root]' 'uri = pkcs11:token=bank;object=root'
ok "a disk" "$KYOK" disk create a.img --size 2M --key root
"$BUILD/kyok-qemu-secret" --disk s=a.img -- qemu-io --object secret,id=s,file=@s@ -c 'write -P 90 0 4096' \
    --image-opts driver=luks,key-secret=s,file.filename=a.img >/dev/null
unset KYOK_CONF
recover() { /usr/bin/python3 "$SOURCE/docs/recover-record.py" a.img.kyok "$(softhsm_module)" bank root "$SANDBOX/pin" >pass; }
ok "the record opens without kyok" recover
is "to 64 characters" "$(wc -c <pass)" 64
ok "cryptsetup opens the disk with it" cryptsetup luksOpen --test-passphrase --key-file pass a.img
ok "qemu-io reads it" qemu-io -r --object secret,id=s,file=pass -c 'read -P 90 0 4096' --image-opts driver=luks,key-secret=s,file.filename=a.img
export SOFTHSM2_CONF=$SANDBOX/hsm.conf
export KYOK_CONF=$SANDBOX/kyok.conf
softhsm_token hsm vendor
p11tool hsm --token-label vendor --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
printf '%s\n' '[token vendor]' "module = $(softhsm_module)" 'uri = pkcs11:token=vendor' "pin-source = file:$(pin_file)" \
    '[key vendor]' 'uri = pkcs11:token=vendor;object=root' >>"$KYOK_CONF"
ok "a disk of two parties" "$KYOK" disk create two.img --size 1M --key 'all-of(root, vendor)'
unset KYOK_CONF
layer() { /usr/bin/python3 "$SOURCE/docs/recover-record.py" "$1" "$(softhsm_module)" "$2" root "$SANDBOX/pin"; }
layers() { layer two.img.kyok bank >inner.jwe && layer inner.jwe vendor >two.pass; }
ok "layer by layer it opens without kyok, each by its custodian" layers
ok "cryptsetup opens the disk with it" cryptsetup luksOpen --test-passphrase --key-file two.pass two.img
softhsm_new thief; softhsm_token thief bank
p11tool thief --token-label bank --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
export SOFTHSM2_CONF=$SANDBOX/thief.conf
refused "with another token it opens nothing" any 'InvalidTag' recover
done_testing
