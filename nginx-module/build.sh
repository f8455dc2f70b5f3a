#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds ngx_kyok_module.so against the distribution's nginx headers (Debian's
# nginx-dev), or the nginx source tree that NGINX_SRC names.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$here/../build}
source=${NGINX_SRC:-/usr/share/nginx/src}
out=$build/nginx-module

if [ ! -x "$source/configure" ]; then
    echo "nginx-module: no nginx sources in $source, not built (Debian: nginx-dev)" >&2
    exit 0
fi

mkdir -p "$out"
build=$(cd "$build" && pwd)
objects=$build/obj/nginx-module
log=$objects.log
export KYOK_BUILD=$build

# Debian's flags beside its headers; a plain source tree needs only --with-compat.
NGX_CONF_FLAGS=(--with-compat --with-http_ssl_module --with-threads)
[ -f "$source/conf_flags" ] && . "$source/conf_flags"
# libkyok as it was built, or (LIBDIR) installed.
ld_opt="-Wl,-z,relro,-z,now,-z,nodelete -Wl,-rpath,\\\$\$ORIGIN/..${LIBDIR:+:$LIBDIR}"

cd "$source"
newest=$(find "$here" "$source/conf_flags" -newer "$objects/Makefile" -name '*config*' 2>/dev/null | head -1)
if [ ! -f "$objects/Makefile" ] || [ -n "$newest" ]; then
    mkdir -p "$objects"
    ./configure "${NGX_CONF_FLAGS[@]}" --with-cc-opt="-g -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2 ${NGX_KYOK_CFLAGS:-}" \
        --with-ld-opt="$ld_opt ${NGX_KYOK_LDFLAGS:-}" --add-dynamic-module="$here" --builddir="$objects" >"$log" 2>&1 ||
        { tail -20 "$log" >&2; exit 1; }
fi
# A caller's CFLAGS would replace those of nginx's own Makefile.
env -u MAKEFLAGS -u MFLAGS make -s -f "$objects/Makefile" modules >>"$log" 2>&1 || { tail -40 "$log" >&2; exit 1; }
cp "$objects/ngx_kyok_module.so" "$out/ngx_kyok_module.so"
