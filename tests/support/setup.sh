#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that GROUP... of tests/support/packages name and that are missing: as
# root on Debian or a child of it. Elsewhere it says in one line what is missing and fails.
# KYOK_SETUP=no: never installs.
set -u
list=$(dirname "$0")/packages
[ $# -gt 0 ] || { echo "usage: setup.sh GROUP..." >&2; exit 2; }

clang=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
clang=${clang:-14}
wanted=()
for group in "$@"; do
    while read -r name packages; do
        # shellcheck disable=SC2206
        [ "$name" != "$group" ] || wanted+=(${packages//-N-/-$clang-})
    done < <(grep -v '^#' "$list")
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    # Another distribution: the compiler and pkg-config tell what counts.
    missing=()
    for module in libcrypto libssl p11-kit-1 jansson libxml-2.0; do
        pkg-config --exists "$module" 2>/dev/null || missing+=("$module")
    done
    case " $* " in *" demo "* | *" check "*)
        echo "kyok: only Debian 12 and 13 are set up by 'make demo' and 'make check'; 'make' builds elsewhere" >&2
        exit 1 ;;
    esac
    [ ${#missing[@]} -eq 0 ] && exit 0
    echo "kyok: pkg-config knows no ${missing[*]}: install their development files" >&2
    exit 1
fi

missing=()
installed=$(dpkg-query -W -f='${db:Status-Status} ${binary:Package}\n' | sed -n 's/^installed //p' | sed 's/:.*//')
for package in "${wanted[@]}"; do
    case " ${missing[*]-} " in *" $package "*) continue ;; esac
    grep -qx "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || [ "${KYOK_SETUP:-}" = no ]; then
    echo "kyok: missing packages: ${missing[*]}; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

# No service is started by this: the tests and the demo run their own servers.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp) || exit 1
install() { apt-get install -y -q --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; }
echo "kyok: installing ${missing[*]}"
if ! install; then
    apt-get update -q >>"$log" 2>&1
    if ! install; then
        tail -5 "$log" >&2
        echo "kyok: apt-get could not install ${missing[*]}" >&2
        rm -f "$log"
        exit 1
    fi
fi
rm -f "$log"
