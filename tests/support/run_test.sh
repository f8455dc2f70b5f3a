#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs one test for prove: with a time limit, its TAP also in $BUILD/tests/log, and an environment that
# does not depend on who calls. KYOK_TEST_SECONDS changes the limit (long soaks raise it).
set -u
test=$1
shift
limit=${KYOK_TEST_SECONDS:-900}
[ -z "${KYOK_LONG:-}" ] || limit=$((limit * 6))
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD CMOCKA_MESSAGE_OUTPUT=TAP LC_ALL=C
# The slow unwinder sees through libraries without frame pointers, which the suppressions need.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:fast_unwind_on_malloc=0}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$(realpath "$(dirname "$0")/lsan.supp"):print_suppressions=0}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$(realpath "$(dirname "$0")/tsan.supp"):print_suppressions=0:die_after_fork=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
unset MAKEFLAGS MAKELEVEL MFLAGS
mkdir -p "$BUILD/tests/log" || exit 1
log=$BUILD/tests/log/$(basename "$test").tap

[[ $test == /* || $test == ./* ]] || test=./$test
# cmocka 1.1 writes "not ok" before a SKIP, which prove takes for a failure.
setsid --wait timeout --kill-after=20 "$limit" "$test" "$@" </dev/null > >(sed -u 's/^not \(ok [0-9]* # SKIP\)/\1/' | tee "$log") 2> >(tee "$log.err" >&2)
status=$?
if [ $status -eq 124 ] || [ $status -eq 137 ]; then
    echo "# $test did not end within $limit s" >&2
fi
exit $status
