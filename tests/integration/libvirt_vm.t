#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What administrators do with encrypted VMs: list, lock, hold, snapshot, plug, share a disk, vTPM; a hook
# that is killed, a module that hangs, a disk copied to a host without rights.
. "$(dirname "$0")/../support/libvirtd.sh"
libvirtd_enter "$0" "$@"

ok "hook, token and kyok.conf are in place" libvirtd_hook_install
ok "libvirtd answers" libvirtd_start
ok "the host is hardened" "$KYOK" vm harden
ok "a VM" libvirtd_vm one "$SANDBOX/one.img"
ok "its secrets are looked for from now on" leaks_watch one.img
ok "it boots a guest that writes a marker" guest_boots one.img
u=$(virsh -q domuuid one | head -1)
no_secrets() { [ "$(virsh -q secret-list | grep -c .)" = 0 ]; }
start() { virsh -q start --paused "$1"; }

# --- list, lock, unlock ---
like "list: off, generation 1, its key" "$("$KYOK" vm list)" 'one +off +vda +1 +- +pkcs11:token=bank'
ok "it starts" start one
like "list: running, and when its record was opened" "$("$KYOK" vm list)" 'one +running +vda +1 +20..-..-..T'
ok "lock, which leaves it running" "$KYOK" vm lock one
is "it runs" "$(virsh domstate one | head -1)" paused
ok "lock --now stops it" "$KYOK" vm lock one --now
is "it is off" "$(virsh domstate one | head -1)" "shut off"
like "list: locked" "$("$KYOK" vm list)" 'one +locked'
refused "it does not start" any 'is locked; kyok vm unlock one' start one
ok "unlock" "$KYOK" vm unlock one
ok "it starts" start one
virsh -q destroy one >/dev/null

# --- held secrets: for what runs no hook ---
ok "unlock --hold" "$KYOK" vm unlock one --hold
like "list: unlocked" "$("$KYOK" vm list)" 'one +unlocked'
is "libvirt holds one secret" "$(virsh -q secret-list | grep -c .)" 1
mv /etc/softhsm/softhsm2.conf /etc/softhsm/away
ok "it starts without asking the custodian" start one
mv /etc/softhsm/away /etc/softhsm/softhsm2.conf
secret=$("$KYOK" disk info one.img --json | grep -o '"secret": "[^"]*"' | cut -d'"' -f4)
cat >snapshot.xml <<X
<domainsnapshot><name>s1</name><disks><disk name='vda' snapshot='external'><driver type='qcow2'/>
<source file='$SANDBOX/overlay.qcow2'><encryption format='luks'><secret type='passphrase' uuid='$secret'/></encryption></source>
</disk></disks></domainsnapshot>
X
# QEMU measures the processor for each header that it makes, for seconds: libvirt lets it make the overlay's
# with KYOK_LONG=1; else the overlay is there, and libvirt opens it.
reuse=(--reuse-external)
if [ -n "${KYOK_LONG:-}" ]; then
    reuse=()
else
    make_overlay() {
        "$BUILD/kyok-qemu-secret" --config /etc/kyok/kyok.conf --disk d=one.img -- qemu-img create -q --object secret,id=s,file=@d@ -f qcow2 \
            -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 overlay.qcow2 4M
    }
    ok "an encrypted overlay" wait_for 60 make_overlay
fi
snapshot() { wait_for 60 virsh -q snapshot-create one snapshot.xml --disk-only --no-metadata ${reuse[@]+"${reuse[@]}"}; }
ok "an external snapshot into an encrypted overlay" snapshot
like "the overlay is encrypted" "$(qemu-img info -U overlay.qcow2)" 'encrypted: yes'
cp one.img backup.img; cp one.img.kyok backup.img.kyok
virsh -q resume one
in_overlay() { "$BUILD/kyok-qemu-secret" --config /etc/kyok/kyok.conf --disk d=one.img -- qemu-io -r -U --object secret,id=s,file=@d@ \
    -c 'read -v 32768 512' --image-opts driver=qcow2,encrypt.key-secret=s,file.filename=overlay.qcow2,backing.driver=luks,backing.key-secret=s,backing.file.filename=one.img | shows_marker; }
ok "the guest writes its marker to the overlay" wait_for 60 in_overlay
no_leaks 'snapshot, overlay and backup, with held secrets'
virsh -q destroy one >/dev/null
ok "the secret stays" test "$(virsh -q secret-list | grep -c .)" = 1
ok "lock takes it back" "$KYOK" vm lock one
ok "no secret is left" no_secrets
"$KYOK" vm unlock one >/dev/null
refused "the overlay has the same passphrase but another volume: no record" any '.' "$KYOK" disk verify overlay.qcow2
virsh -q define one.img.domain >/dev/null
no_leaks 'held secrets'

# --- another VM names this VM's secret, past the record: through a link, a storage pool, for a disk of its own ---
mal() { # DISK-SOURCE... : a VM "mal" whose disk is that, with the secret of VM one
    libvirtd_domain mal raw /x "uuid='$secret'" "" | sed "s|<disk type='file' |<disk type='$1' |; s|<source file='/x'|<source $2|; s|</source>|</source><readonly/>|" >mal.xml
    virsh -q undefine mal >/dev/null 2>&1; virsh -q define mal.xml
}
ln -s "$SANDBOX/one.img" link.img
for held in held starting; do
    [ $held = starting ] || "$KYOK" vm unlock one --hold >/dev/null
    mal file "file='$SANDBOX/link.img'"
    refused "a link to the image, secret $held: refused" any 'VM mal: disk vda.*(another VM or disk|no such secret)' start mal
    mal volume "pool='p' volume='one.img'"
    refused "a pool's volume, secret $held: refused" any 'VM mal: disk vda.*(another VM or disk|no such secret)|pool' start mal
    ok "no secret is left" "$KYOK" vm lock one; "$KYOK" vm unlock one >/dev/null
done
# While VM one starts: its mark and its secret are there, as between prepare and started.
luks=$("$KYOK" disk info one.img --json | grep -o '"luks": "[^"]*"' | cut -d'"' -f4)
mkdir -p /run/kyok/starting; printf %s "$luks" >"/run/kyok/starting/$secret.$u"
echo "<secret ephemeral='yes' private='yes'><uuid>$secret</uuid><description>kyok: disk vda, volume $luks</description></secret>" >window.xml
virsh -q secret-define window.xml >/dev/null
mal file "file='$SANDBOX/link.img'"
refused "a link to the image while its VM starts: refused" any 'VM mal: disk vda.*another VM or disk' start mal
is "the starting VM's mark and secret stay" "$(ls /run/kyok/starting) $(virsh -q secret-list | grep -c "$secret")" "$secret.$u 1"
rm "/run/kyok/starting/$secret.$u"; virsh -q secret-undefine "$secret" >/dev/null
"$KYOK" vm unlock one --hold >/dev/null
"$KYOK" disk create "$SANDBOX/own.img" --size 1M --key root --any-vm >/dev/null
mal file "file='$SANDBOX/own.img'"
refused "a disk of its own under the other's secret: refused" any 'VM mal: disk vda.*in use for another disk' start mal
libvirtd_domain mal raw "$SANDBOX/own.img" "usage='kyok:$secret'" >mal.xml; virsh -q undefine mal >/dev/null; virsh -q define mal.xml
refused "its usage, too" any "VM mal: disk vda.*usage is another disk's" start mal
ok "and the other's is still right: it starts" start one
virsh -q destroy one >/dev/null; virsh -q undefine mal >/dev/null
"$KYOK" vm lock one >/dev/null; "$KYOK" vm unlock one >/dev/null

# --- hot-plug: no hook runs there ---
ok "it starts" start one
"$KYOK" disk create "$SANDBOX/plug.img" --size 1M --key root --vm "$u" >/dev/null
leaks_watch plug.img
ok "a disk is plugged into the running VM" "$KYOK" vm attach one "$SANDBOX/plug.img"
like "and there" "$(virsh -q domblklist one)" 'vdb'
ok "and unplugged" "$KYOK" vm detach one vdb
no_leaks 'hot-plug'
ok "no secret is left" no_secrets
# Killed when libvirt has the secret: as a hook that is killed, it leaves nothing for longer than a sweep.
mkdir killing; printf '%s\n' '#!/bin/sh' 'case "$*" in *attach-device*) kill -9 $PPID ;; *) exec /usr/bin/virsh "$@" ;; esac' >killing/virsh; chmod +x killing/virsh
(PATH=$SANDBOX/killing:$PATH "$KYOK" vm attach one "$SANDBOX/plug.img"; exit $?) >/dev/null 2>&1
is "attach is killed while libvirt has the secret" "$? $(virsh -q secret-list | grep -c .) $(ls /run/kyok/held)" "137 1 "
touch -d '-2 minutes' /run/kyok/starting/*
ok "a sweep" "$BUILD/libvirt-hook/kyok" --sweep
ok "takes it back" no_secrets
"$KYOK" disk create "$SANDBOX/foreign.img" --size 1M --key root --vm "$(cat /proc/sys/kernel/random/uuid)" >/dev/null
ok "unlock --hold" "$KYOK" vm unlock one --hold
"$KYOK" disk create "$SANDBOX/more.img" --size 1M --key root --vm "$u" >/dev/null
ok "a disk is plugged meanwhile" "$KYOK" vm attach one "$SANDBOX/more.img" --target vdd --config-too
is "libvirt holds the secret of the VM's own disk as before" "$(virsh -q secret-list | grep -c "$secret")" 1
is "and no other" "$(virsh -q secret-list | grep -c .)" 1
mv more.img.kyok away; echo '{}' >more.img.kyok
refused "a second hold that fails" 1 'disk vdd' "$KYOK" vm unlock one --hold
is "leaves what the first gave" "$(virsh -q secret-list | grep -c "$secret") $(ls /run/kyok/held)" "1 $secret.$u"
mv away more.img.kyok; virsh -q detach-disk one vdd --config >/dev/null # the paused guest lets it go when it is off
"$KYOK" vm lock one >/dev/null; "$KYOK" vm unlock one >/dev/null
ok "a process's environment leads the hook nowhere" sh -c "KYOK_CONF=/nonexistent '$KYOK' vm unlock one --hold --config /etc/kyok/kyok.conf"
"$KYOK" vm lock one >/dev/null; "$KYOK" vm unlock one >/dev/null
refused "another VM's disk is not plugged" 1 'belongs to another VM' "$KYOK" vm attach one "$SANDBOX/foreign.img" --target vdc
ok "no secret is left" no_secrets
virsh -q destroy one >/dev/null

# --- a new volume key for a running VM ---
"$KYOK" disk create "$SANDBOX/new.qcow2" --size 4M --format qcow2 --key root --vm "$u" >/dev/null
leaks_watch new.qcow2
ok "it starts" start one
virsh -q resume one
ok "the guest writes its marker" wait_for 60 guest_wrote one.img
ok "its disk is copied onto a new one while it runs" "$KYOK" vm copy one vda "$SANDBOX/new.qcow2"
refused "a disk that was written to is not copied over" 1 'has been written to' "$KYOK" vm copy one vda "$SANDBOX/one.img"
refused "nor a disk that a VM has" 1 "VM $u has this disk" "$KYOK" vm copy one vda "$SANDBOX/new.qcow2" --force
like "it goes on with the new one" "$(virsh -q domblklist one)" 'vda +.*new.qcow2'
ok "no secret is left" no_secrets
no_leaks 'a new volume key'
virsh -q destroy one >/dev/null
like "and keeps it" "$(virsh -q domblklist one --inactive)" 'vda +.*new.qcow2'
ok "it starts with it" start one
virsh -q destroy one >/dev/null
refused "a VM that is off is told what to do" 1 'kyok disk reencrypt' "$KYOK" vm copy one vda "$SANDBOX/plug.img"
virsh -q define one.img.domain >/dev/null
start one
refused "a qcow2 disk that was written to is not copied over" 1 'has been written to' "$KYOK" vm copy one vda "$SANDBOX/new.qcow2"
ok "unless that is wanted" "$KYOK" vm copy one vda "$SANDBOX/new.qcow2" --force
virsh -q destroy one >/dev/null; virsh -q define one.img.domain >/dev/null

# --- whoever may define domains chooses their UUIDs: a lock stays where the VM has been ---
"$KYOK" vm lock one >/dev/null; virsh -q undefine one >/dev/null
sed 's|<name>one<|<name>thief<|' one.img.domain >thief.xml; virsh -q define thief.xml >/dev/null
refused "another VM under a locked one's UUID, with its disk: refused" any 'VM thief is locked' start thief
virsh -q undefine thief >/dev/null; virsh -q define one.img.domain >/dev/null; "$KYOK" vm unlock one >/dev/null

# --- two domains share a disk's secret: a clone has the same LUKS UUID ---
"$KYOK" disk create "$SANDBOX/s1.img" --size 1M --key root --any-vm >/dev/null
cp s1.img s2.img; cp s1.img.kyok s2.img.kyok
sxml=$("$KYOK" disk info s1.img | grep -o "uuid='[^']*'")
for i in s1 s2; do libvirtd_domain $i raw "$SANDBOX/$i.img" "$sxml" >$i.xml; virsh -q define $i.xml; done
both() { local r=0; start s1 & local p=$!; start s2 || r=1; wait $p || r=1; return $r; }
ok "two VMs with one secret start at the same time" both
ok "no secret is left" no_secrets
leaks_watch s1.img
no_leaks 'a shared secret'
virsh -q destroy s1 >/dev/null; virsh -q destroy s2 >/dev/null

# --- vTPM ---
if command -v swtpm >/dev/null && command -v swtpm_setup >/dev/null; then
    tpm=$(cat /proc/sys/kernel/random/uuid)
    tpm_passphrase() { tr -d '\n' <"/etc/kyok/vm/$tpm.kyok" | KYOK_CONF=/etc/kyok/kyok.conf "$KYOK" open; }
    vtpm() { "$KYOK" vm tpm one --key root --secret "$tpm"; }
    ok "a record for a vTPM" vtpm
    sed "s|<memballoon|<tpm model='tpm-tis'><backend type='emulator' version='2.0'><encryption secret='$tpm'/></backend></tpm><memballoon|" one.img.domain >tpm.xml
    ok "the VM gets an encrypted vTPM" virsh -q define tpm.xml
    ok "it starts" start one
    LEAKS+="passphrase $(tpm_passphrase)"$'\n'
    no_leaks 'vTPM'
    like "the vTPM runs" "$(ls /run/libvirt/qemu/swtpm/ 2>/dev/null)" 'one.*swtpm.pid'
    ok "no secret is left" no_secrets
    virsh -q destroy one >/dev/null
    mv /etc/kyok/vm/$tpm.kyok away
    refused "without its record: no start" any '.' start one
    mv away /etc/kyok/vm/$tpm.kyok
    virsh -q undefine one --keep-tpm >/dev/null 2>&1 || virsh -q undefine one >/dev/null
    virsh -q define one.img.domain >/dev/null
else
    skip "no swtpm" 7
fi

# --- what a killed hook leaves ---
uuid2=$(cat /proc/sys/kernel/random/uuid)
mkdir -p /run/kyok/starting; printf %s "$uuid2" >"/run/kyok/starting/$secret.$uuid2"
echo "<secret ephemeral='yes' private='yes'><uuid>$secret</uuid><description>kyok: left behind</description></secret>" >left.xml
virsh -q secret-define left.xml >/dev/null
touch -d '-2 minutes' "/run/kyok/starting/$secret.$uuid2"
ok "a sweep" "$BUILD/libvirt-hook/kyok" --sweep
ok "removes what a killed hook left" no_secrets
is "and its mark" "$(ls /run/kyok/starting)" ""

# --- a module that hangs, and a hook that is killed then ---
faulty_new hung bank
sed -i "s|^module = .*|module = $SANDBOX/hung.so|" /etc/kyok/kyok.conf
faulty hung hang C_Decrypt
begun=$(now_ms)
virsh -q start --paused one >hung.out 2>&1 & starter=$!
hangs() { [ "$(faulty hung hanging)" != 0 ]; }
ok "the module hangs" wait_for 10 hangs
listed=$(now_ms)
ok "virsh list --all answers" timeout 8 virsh -q list --all
at_most "and waits no longer than the deadline (ms)" $(($(now_ms) - listed)) 4500
wait $starter
at_most "the start is refused within the deadline (ms)" $(($(now_ms) - begun)) 5000
like "and says what hangs" "$(cat hung.out)" 'VM one: .*(deadline|bank|time)'
faulty hung release; faulty hung clear; faulty hung hang C_Decrypt
virsh -q start --paused one >killed.out 2>&1 & starter=$!
wait_for 30 hangs
# With one of its processes killed another may end by itself before its turn.
kill_hook() {
    local pid killed=1
    for pid in $(libvirtd_hooks one); do kill -9 "$pid" && killed=0; done
    return $killed
}
ok "the hook is killed while it waits" kill_hook
wait $starter
is "the start failed" "$(virsh domstate one | head -1)" "shut off"
gone() { [ -z "$(libvirtd_hooks one)" ]; }
ok "no process of the hook is left" wait_for 5 gone
ok "libvirtd answers" timeout 5 virsh -q list --all
ok "no secret is left" no_secrets
is "no mark is left" "$(ls /run/kyok/starting)" ""
faulty hung release
sed -i "s|^module = .*|module = $(softhsm_module)|" /etc/kyok/kyok.conf
ok "afterwards it starts" start one
no_leaks 'killed hooks and hanging modules'
virsh -q destroy one >/dev/null

# --- a copy on a host without rights ---
softhsm_new thief; softhsm_token thief bank
p11tool thief --token-label bank --keygen --key-type AES:32 --label root --id 01 --sensitive >/dev/null 2>&1
cp /etc/softhsm/softhsm2.conf own.conf; cp thief.conf /etc/softhsm/softhsm2.conf
refused "disk and record copied to a host with another key of that name: refused" any 'VM one: disk vda.*key pkcs11:token=bank' start one
cp own.conf /etc/softhsm/softhsm2.conf
done_testing
