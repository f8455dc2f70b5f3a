#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lint.sh FILE...: clang-format, clang-tidy and cppcheck for C, shellcheck for scripts, man for the
# manual pages, and a few rules of our own. FLAGS: the compiler's. Prints what is wrong; fails if so.
set -u
failed=0
c=() headers=() shell=()
for file in "$@"; do
    case $file in
    *.c) c+=("$file") ;;
    *.h) headers+=("$file") ;;
    *) if head -1 "$file" | grep -Eq 'bash|/sh|SPDX'; then shell+=("$file"); fi ;; # else perl
    esac
done

step() {
    local name=$1
    shift
    if "$@"; then echo "ok - $name"; else echo "not ok - $name"; failed=1; fi
}

format() { clang-format --dry-run -Werror "${c[@]}" "${headers[@]}"; }
# shellcheck disable=SC2086
tidy() { printf '%s\n' "${c[@]}" | grep -v '^tests/' | xargs -P "$(nproc)" -n 6 sh -c 'clang-tidy --quiet "$@" -- '"$FLAGS"' 2>/dev/null' sh; }
# cppcheck 2.10 knows neither __attribute__((cleanup)) nor parameters that take what they are given, nor
# out parameters; NULL is a pointer on every system that kyok runs on.
check() {
    cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -D_GNU_SOURCE -I. -j "$(nproc)" \
        --enable=warning,performance,portability --suppress=missingIncludeSystem \
        --suppress=nullPointerRedundantCheck:tests/unit/* --suppress=unusedStructMember \
        --suppress=varFuncNullUB --suppress=memleak --suppress=autoVariables --suppress=legacyUninitvar --suppress=uninitvar --suppress=ctuuninitvar "${c[@]}"
}
# Variables are set by, and for, files that are sourced; helpers take arguments that not every test gives.
scripts() { [ ${#shell[@]} -eq 0 ] || shellcheck -S warning -e SC1090,SC2034,SC2154,SC2120 -x -P tests/support -s bash "${shell[@]}"; }
licences() {
    local file bad=0
    for file in "${c[@]}" "${headers[@]}" "${shell[@]}"; do
        head -3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || { echo "$file: no SPDX line"; bad=1; }
    done
    return $bad
}
# The unfinished is not committed; a function has one screen.
leftovers() { ! grep -nE '\b(TODO|FIXME|XXX)\b' "${c[@]}" "${headers[@]}" "${shell[@]}" | grep -v 'lint.sh' | grep -vE 'X{6}'; }
lengths() {
    awk 'FNR == 1 { start = 0 }
        /^[a-z].*\)$/ || /^[a-z].*[^;,]$/ { name = $0 }
        /^\{/ { start = FNR }
        /^\}/ { if (start && FNR - start > 75) { print FILENAME ":" start ": " FNR - start " lines: " name; bad = 1 } start = 0 }
        END { exit bad }' "${c[@]}"
}
# A folder knows those below it alone: base < config < pkcs11, kmip < key < envelope; no plugin another.
layers() {
    local bad=0
    deny() {
        local folder=$1
        shift
        [ -d "$folder" ] || return 0
        if grep -nE "#include \"($(IFS='|'; echo "$*"))/" "$folder"/*.[ch] 2>/dev/null; then
            echo "$folder must not include that"
            bad=1
        fi
    }
    deny common/base 'common/(config|pkcs11|kmip|key|work|envelope)' openssl-provider cli
    deny common/config 'common/(pkcs11|kmip|key|work|envelope)' openssl-provider cli
    deny common/work 'common/(config|pkcs11|kmip|key|envelope)' openssl-provider cli
    deny common/pkcs11 'common/(kmip|envelope)' openssl-provider cli
    deny common/kmip 'common/(pkcs11|envelope)' openssl-provider cli
    deny common/key 'common/envelope' openssl-provider cli
    deny openssl-provider 'common/(pkcs11|kmip)' cli qemu-secret libvirt-hook nginx-module
    deny qemu-secret 'common/(pkcs11|kmip)' cli openssl-provider libvirt-hook nginx-module
    deny libvirt-hook 'common/(pkcs11|kmip)' cli openssl-provider qemu-secret nginx-module
    deny nginx-module 'common/(pkcs11|kmip)' cli openssl-provider qemu-secret libvirt-hook
    return $bad
}
manuals() {
    local page bad=0 warnings
    for page in openssl-provider/*.[1-8] nginx-module/*.[1-8] libvirt-hook/*.[1-8] qemu-secret/*.[1-8] cli/*.[1-8]; do
        [ -e "$page" ] || continue
        warnings=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=100 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
        [ -z "$warnings" ] || { echo "$page: $warnings"; bad=1; }
    done
    return $bad
}

step 'clang-format' format
step 'cppcheck' check
step 'shellcheck' scripts
step 'licence lines' licences
step 'nothing left over' leftovers
step 'functions of one screen' lengths
step 'layers' layers
step 'manual pages' manuals
[ -n "${KYOK_NO_TIDY:-}" ] || step 'clang-tidy' tidy
exit $failed
