# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The scripted KMIP server (tests/support/kmip_server.h) for shell tests; source after lib.sh.

CERTS=$SANDBOX/certs

# kmip_certs: the test PKI in $CERTS.
kmip_certs() { [ -e "$CERTS/ca.crt" ] || "$TESTS/support/certs.sh" "$CERTS"; }

# kmip_server NAME [COMMAND...]: starts one ($PORT), gives it the commands.
kmip_server() {
    local name=$1 command
    shift
    kmip_certs
    mkfifo "$SANDBOX/$name.in"
    setsid "$SUPPORT/kmip_server_tool" --certs "$CERTS" <"$SANDBOX/$name.in" >"$SANDBOX/$name.out" 2>"$SANDBOX/$name.err" &
    started+=("$!")
    # It ends when the last writer of the pipe does, that is, with this shell.
    eval "exec {kmip_fd_$name}>\"\$SANDBOX/\$name.in\""
    wait_for 10 grep -q '^port' "$SANDBOX/$name.out" || return 1
    PORT=$(sed -n 's/^port //p' "$SANDBOX/$name.out")
    for command in "$@"; do kmip_tell "$name" "$command" >/dev/null || return 1; done
}

# kmip_tell NAME COMMAND: prints the server's answer, fails when it is no "ok".
kmip_tell() {
    local before fd=kmip_fd_$1
    before=$(wc -l <"$SANDBOX/$1.out")
    printf '%s\n' "$2" >&"${!fd}"
    # shellcheck disable=SC2016
    wait_for 10 perl -e 'open F, $ARGV[0]; my @l = <F>; exit !(@l > $ARGV[1])' "$SANDBOX/$1.out" "$before"
    tail -n +"$((before + 1))" "$SANDBOX/$1.out" | head -1
    tail -n +"$((before + 1))" "$SANDBOX/$1.out" | head -1 | grep -q ^ok
}

# kmip_group NAME IDENTITY PORT[,PORT] [LINE...]: a [kmip] section on standard output.
kmip_group() {
    local name=$1 identity=$2 ports=$3 port
    shift 3
    echo "[kmip $name]"
    for port in ${ports//,/ }; do echo "server = kmips://127.0.0.1:$port"; done
    printf '%s\n' "ca = $CERTS/ca.crt" "certificate = $CERTS/$identity.crt" "key = $CERTS/$identity.key" "$@"
}
