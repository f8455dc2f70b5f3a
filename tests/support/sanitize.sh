#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make check-sanitize: every phase to its end, also when one before it fails, and a summary.
#   tests/support/sanitize.sh BUILD [PHASE...]
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
shift
[ $# -gt 0 ] || set -- asan tsan nginx
jobs=$(nproc)
summary=()
failed=0

# phase NAME BUILD SANITIZE TARGET: its output is kept, for the figures.
phase() {
    local name=$1 tree=$2 sanitize=$3 target=$4 log status began=$SECONDS result
    mkdir -p "$tree"
    log=$tree/check-$target.log
    echo "# $name"
    make --no-print-directory -j"$jobs" BUILD="$tree" SANITIZE="$sanitize" CFLAGS='-O1 -g' "$target" 2>&1 |
        tee "$log"
    status=${PIPESTATUS[0]}
    result=$(grep -oE '^Files=[0-9]+, Tests=[0-9]+' "$log" | tail -1)
    findings=$(grep -cE 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:' "$log")
    [ "$status" -eq 0 ] || failed=1
    summary+=("$(printf '%-22s %-26s findings=%s %5d s  %s' "$name" "${result:-nothing ran}" "$findings" \
        $((SECONDS - began)) "$([ "$status" -eq 0 ] && echo passed || echo "FAILED, see $log")")")
}

# The nginx module has flags of its own, and is built with the rest.
export NGX_KYOK_CFLAGS=-fsanitize=address NGX_KYOK_LDFLAGS=-fsanitize=address
for one; do
    case $one in
    asan) phase 'unit, ASan and UBSan' "$build-asan" address,undefined unit ;;
    tsan) phase 'threads, TSan' "$build-tsan" thread unit-threads ;;
    nginx) phase 'nginx, ASan' "$build-asan" address,undefined check-nginx ;;
    *) echo "sanitize: no phase $one" >&2; exit 2 ;;
    esac
done
echo
printf '%s\n' "${summary[@]}"
printf 'check-sanitize: %s in %d s\n' "$([ $failed -eq 0 ] && echo passed || echo FAILED)" $SECONDS
exit $failed
