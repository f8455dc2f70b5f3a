#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run_fuzz.sh FUZZER SECONDS: runs a fuzz target on the seeds of its name (tests/fuzz/seeds/NAME), new
# inputs being kept in $BUILD/tests/fuzz/corpus alone. One line when nothing was found.
set -u
export KYOK_EVENT_SOCKET= # millions of refusals are not for the journal
fuzzer=$1 seconds=$2
name=$(basename "$fuzzer" _fuzz)
corpus=$(dirname "$fuzzer")/corpus/$name
mkdir -p "$corpus" || exit 1
folders=("$corpus")
[ ! -d "tests/fuzz/seeds/$name" ] || folders+=("tests/fuzz/seeds/$name")
options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
    -artifact_prefix="$corpus/../$name-")
[ ! -f "tests/fuzz/seeds/$name.dict" ] || options+=(-dict="tests/fuzz/seeds/$name.dict")
if ! output=$("$fuzzer" "${options[@]}" "${folders[@]}" 2>&1); then
    printf '%s\n' "$output" | tail -60
    echo "not ok - fuzz $name"
    exit 1
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' <<<"$output")
echo "ok - fuzz $name: ${runs:-0} runs in $seconds s, ${#folders[@]} folders of seeds"
