# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What lies about on the host after a scenario: sourced after lib.sh by tests with a libvirtd.
#
#   leaks_watch IMAGE...   from now on the passphrase and the volume key of these disks (raw or qcow2) are
#                          searched for
#   no_leaks WHEN          a test: they are in no file below /etc/libvirt, /etc/kyok, /run, /var/*/libvirt and
#                          the test's folders, in no argument and no environment; nor is guest_marker; and
#                          no key of libvirt's that opens what its logs hold lies on a disk (hardened hosts)
#   guest_boots IMAGE      makes the disk boot a guest that writes guest_marker to sector 64 and forgets it
#   guest_wrote IMAGE      has it?
#
# The secrets go from variable to pipe only: this shell's own arguments would be found.

LEAKS=''
# In the boot sector the marker stands disguised, so only the guest can have written it.
guest_marker='guestMarkerA7f31c0be5d2946872ffQx9z'

# LEAKS_OPTIONS: of kyok-qemu-secret, for disks without a record.
LEAKS_OPTIONS=()
leaks_passphrase() { "$BUILD/kyok-qemu-secret" ${LEAKS_OPTIONS[@]+"${LEAKS_OPTIONS[@]}"} --config /etc/kyok/kyok.conf --disk "d=$1" -- cat @d@; }

# The LUKS header of a qcow2 image, at the place that its header extension 0x0537be77 names; of a raw one
# that image itself.
leaks_header() {
    # shellcheck disable=SC2016
    perl -e 'my ($image, $header) = @ARGV;
        open my $in, "<:raw", $image or die; read $in, my $head, 65536;
        if (substr($head, 0, 4) ne "QFI\xfb") { print $image; exit }
        my ($at, $type, $size) = (unpack "N", substr $head, 100, 4);
        for (;; $at += 8 + ($size + 7 & ~7)) {
            ($type, $size) = unpack "NN", substr $head, $at, 8;
            die "no LUKS header" if !$type || $at > 60000;
            last if $type == 0x0537be77;
        }
        my ($offset, $length) = unpack "Q>Q>", substr $head, $at + 8, 16;
        seek $in, $offset, 0; read $in, my $luks, $length;
        open my $out, ">:raw", $header or die; print $out $luks; close $out or die;
        print $header' "$1" "$SANDBOX/leaks.header"
}

# The volume key as hexadecimal digits.
leaks_volume_key() {
    command -v cryptsetup >/dev/null || return 0
    cryptsetup luksDump -q --dump-master-key --key-file - "$(leaks_header "$1")" 2>/dev/null |
        perl -0ne 's/\s+//g, print "$_\n" for /MK dump:((?:\s+[0-9a-f]{2})+)/'
    rm -f "$SANDBOX/leaks.header"
}

leaks_watch() {
    local image pass
    for image in "$@"; do
        pass=$(leaks_passphrase "$image") || return 1
        LEAKS+="passphrase $pass"$'\n'
        pass=$(printf %s "$pass" | leaks_volume_key "$image")
        ! command -v cryptsetup >/dev/null || LEAKS+="volume-key $pass"$'\n' # one that is missing is told
    done
}

# Prints what is found and where, never the secret itself.
leaks_search() {
    # shellcheck disable=SC2016
    { printf %s "$LEAKS"; printf 'marker %s\n' "$guest_marker"; } | perl -MFile::Find -MMIME::Base64 -e '
        my @patterns;
        while (<STDIN>) {
            chomp; my ($what, $text) = split / /, $_, 2;
            if (length($text // "") < 32) { print "a $what to look for is missing\n"; next }
            my @forms = ($text, encode_base64($text, ""));
            push @forms, pack("H*", $text), encode_base64(pack("H*", $text), ""), uc $text if $what ne "marker";
            push @patterns, [$what, $_] for @forms;
        }
        sub look { my ($where, $text) = @_;
            for (@patterns) { if (index($text, $_->[1]) >= 0) { print "$_->[0] in $where\n"; last } } }
        sub slurp { open my $f, "<", $_[0] or return ""; local $/; my $t = <$f>; defined $t ? $t : "" }
        my %seen;
        find({ no_chdir => 1, wanted => sub {
            return unless -f $_ && !-l $_;
            my ($dev, $inode) = stat _;
            look($_, slurp($_)) unless $seen{"$dev:$inode"}++;
        } }, grep { -d } @ARGV);
        for my $process (glob "/proc/[0-9]*") {
            look("$process/$_", slurp("$process/$_")) for "cmdline", "environ";
        }' /etc/libvirt /etc/kyok /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt "$SANDBOX" "$LIBVIRT_DIR"
    leaks_master_keys
}

leaks_master_keys() {
    local file
    while IFS= read -r file; do
        case $(stat -f -c %T "$file") in
        tmpfs | ramfs) ;;
        *) echo "master-key $file" ;;
        esac
    done < <(find /var/lib/libvirt/qemu /run/kyok/qemu "$LIBVIRT_DIR/lib" -xdev -name master-key.aes 2>/dev/null)
}

no_leaks() { is "nothing is left on the host that opens a disk: $1" "$(leaks_search)" ''; }

guest_boots() {
    # shellcheck disable=SC2016
    printf %s "$guest_marker" | perl -e '
        local $/; my $marker = <STDIN>; $marker ^= "\x5a" x length $marker;
        my $packet = pack "CCvvvVV", 16, 0, 1, 0x8000, 0, 64, 0;      # one sector from 0000:8000 to sector 64
        my $code = sub { my ($text, $request) = @_; pack "H*", join "",
            "31c08ed88ec08ed0bc007cfc",                                # segments and stack are 0
            "be", unpack("H4", pack "v", $text), "bf0080b9", unpack("H4", pack "v", length $marker),
            "ac345aaae2fa",                                            # the marker in the clear at 8000
            "be", unpack("H4", pack "v", $request), "b80043cd13",      # extended write, drive DL
            "bf008031c0b90001f3ab",                                    # forgotten
            "f4ebfd" };                                                # halt
        my $size = length $code->(0, 0);
        my $sector = $code->(0x7c00 + $size + 16, 0x7c00 + $size) . $packet . $marker;
        print $sector, "\0" x (510 - length $sector), "\x55\xaa"' >"$SANDBOX/boot.sector"
    leaks_qemu_io "$1" --write "write -s $SANDBOX/boot.sector 0 512" >/dev/null
}

leaks_qemu_io() {
    local image=$1 mode=(-r -U)
    shift
    [ "$1" != --write ] || { mode=(); shift; }
    local options="driver=luks,key-secret=s,file.filename=$image"
    "$BUILD/kyok-qemu-secret" --config /etc/kyok/kyok.conf --disk "d=$image" -- \
        qemu-io ${mode[@]+"${mode[@]}"} --object secret,id=s,file=@d@ -c "$1" --image-opts "$options"
}

# Of a raw image. shows_marker reads what qemu-io prints: sixteen characters a line.
guest_wrote() { leaks_qemu_io "$1" 'read -v 32768 512' | shows_marker; }
shows_marker() {
    # shellcheck disable=SC2016
    perl -e 'while (<STDIN>) { $t .= $1 if /^[0-9a-f]{8}:(?: +[0-9a-f]{2}){16}  (.{16})/ }
        exit !defined $t || index($t, $ARGV[0]) < 0' "$guest_marker"
}
