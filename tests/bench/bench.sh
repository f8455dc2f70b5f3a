#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bench.sh [NAME...]: runs tests/bench/*.bench (or those named) and writes docs/benchmarks.md: the last
# run with its machine and method. BENCH_ROUNDS and BENCH_SECONDS change the method (5, 1 s). With names
# the result goes to standard output alone.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD
result=$(mktemp) || exit 1
trap 'rm -f "$result" "$result.part"' EXIT

version() { dpkg-query -W -f='${Version}' "$1" 2>/dev/null || echo 'not installed'; }
{
    echo '<!-- SPDX-License-Identifier: Apache-2.0 -->'
    echo '# Benchmarks'
    echo
    echo 'The last run of `make bench`, on whatever machine that was: ratios within one table mean something,'
    echo 'absolute figures belong to the machine. None of this is a timed test; nothing fails by being slow.'
    echo
    echo '| | |'
    echo '|---|---|'
    echo "| date | $(date -u +%Y-%m-%d) |"
    echo "| kyok | $(git describe --always --dirty 2>/dev/null || echo release) |"
    echo "| machine | $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, load before: $(cut -d' ' -f1 /proc/loadavg) |"
    echo "| system | $(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r), $(openssl version | cut -d' ' -f1,2) |"
    echo "| peers | SoftHSM $(version softhsm2), nginx $(version nginx), libengine-pkcs11-openssl $(version libengine-pkcs11-openssl), pkcs11-provider $(version pkcs11-provider) |"
    echo "| method | ${BENCH_ROUNDS:-5} rounds of ${BENCH_SECONDS:-1} s, interleaved: each round measures every configuration once. Medians; ratios are medians of the rounds' own ratios, with least and greatest |"
} >"$result"

status=0
named=$#
[ $named -gt 0 ] || set -- tests/bench/*.bench
for bench in "$@"; do
    [[ $bench == */* ]] || bench=tests/bench/$bench.bench
    echo "bench: $(basename "$bench" .bench)" >&2
    if "$bench" >"$result.part"; then
        { echo; cat "$result.part"; } >>"$result"
    else
        { echo; echo "## $(basename "$bench" .bench)"; echo; echo 'This part failed in the last run.'; } >>"$result"
        status=1
    fi
done
if [ $named -gt 0 ]; then cat "$result"; else cp "$result" docs/benchmarks.md; fi
exit $status
