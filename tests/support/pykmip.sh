# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# PyKMIP as a server for tests; source after lib.sh. Debian's package dies on Python 3.12 and later.

pykmip_needed() {
    need /usr/bin/python3 /usr/bin/pykmip-server
    /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 12))' ||
        skip_all "PyKMIP does not run on Python 3.12 and later"
    /usr/bin/python3 -W ignore -c 'import kmip' 2>/dev/null || skip_all "python3-pykmip is not installed"
}

# pykmip_start NAME CERTS: a server on a free port ($PORT) with a database of its own, in memory where
# the host has /dev/shm (the schema costs about 48 fsyncs).
pykmip_start() {
    local dir=$SANDBOX/$1 database
    mkdir -p "$dir/policies"
    database=$(mktemp -u -p "$([ -w /dev/shm ] && echo /dev/shm || echo "$dir")" kyok-pykmip.XXXXXX)
    pykmip_databases+=("$database")
    PORT=$(free_port)
    cat >"$dir/server.conf" <<CONF
[server]
hostname=127.0.0.1
port=$PORT
certificate_path=$2/server.crt
key_path=$2/server.key
ca_path=$2/ca.crt
auth_suite=TLS1.2
enable_tls_client_auth=True
policy_path=$dir/policies
logging_level=WARNING
database_path=$database
CONF
    background /usr/bin/python3 -W ignore /usr/bin/pykmip-server -f "$dir/server.conf" -l "$dir/server.log"
    PYKMIP=$PID
    wait_for 20 pykmip_listens "$PORT"
}
pykmip_databases=()

# A plain TCP connection would leave a traceback in its log.
pykmip_listens() { ss -Hltn "sport = :$1" | grep -q LISTEN; }

# SIGTERM takes it 10 s; the database is for one test only.
pykmip_stop() {
    kill -KILL -- "-$PYKMIP" 2>/dev/null
    wait "$PYKMIP" 2>/dev/null
    rm -f "${pykmip_databases[@]}"
}
