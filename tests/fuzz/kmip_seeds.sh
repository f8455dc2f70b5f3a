#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kmip_seeds.sh FOLDER: makes the seeds of the KMIP fuzz targets from the profile test cases in FOLDER
# (XML): all messages as TTLV, thinned out to those that reach code no other one reaches.
# Run it from the top of the source after changing the codec; needs the fuzz targets and the XML tool.
set -eu
cases=$1
build=${BUILD:-build}
all=$(mktemp -d)
trap 'rm -rf "$all"' EXIT
mkdir "$all/every" "$all/request" "$all/response"
find "$cases" -name '*.xml' -print0 | xargs -0 "$build/tests/support/kmip_xml_tool" write "$all/every"
cp "$all"/every/request-* "$all/request"
cp "$all"/every/response-* "$all/response"
thin() { # NAME SOURCE
    rm -rf "tests/fuzz/seeds/$1"
    mkdir -p "tests/fuzz/seeds/$1"
    "$build/tests/fuzz/$1_fuzz" -merge=1 -max_len=2048 "tests/fuzz/seeds/$1" "$all/$2" 2>/dev/null
    echo "$1: $(find "tests/fuzz/seeds/$1" -type f | wc -l) of $(find "$all/$2" -type f | wc -l)"
}
thin kmip_reader every
thin kmip_dump every
thin kmip_request request
thin kmip_response response
