#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs leave in every order, with keys alive or not, and library contexts come and go in threads:
# nothing crashes, and under valgrind nothing of kyok's is read after it is freed, or lost.
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
hsm_new ec || { fail 'token'; done_testing; }
sed -i "s|^module = .*|module = $(softhsm_module)|" kyok.conf
export SOFTHSM2_CONF=$SANDBOX/soft.conf
generate RSA rsa && generate EC ec256 group:P-256 && generate ED25519 ed || { fail 'keys'; done_testing; }
tool=$SUPPORT/provider_tool
WAYS='free keep cleanup atexit atexit-first quick'
for order in 'default kyok' 'kyok default'; do
    openssl_conf "$order"
    for way in $WAYS; do
        for key in rsa ec256 ed; do ok "$order: leaving: $way, $key" "$tool" leave "$way" "$key.ref"; done
    done
done
openssl_conf
mkdir modules && cp "$MODULES/kyok.so" modules/
ok '16 threads, a library context each' env LD_LIBRARY_PATH="$BUILD" OPENSSL_CONF=/dev/null "$tool" contexts "$SANDBOX/modules" rsa.ref 16

command -v valgrind >/dev/null || { skip 'valgrind is not installed' 7; done_testing; }
printf '%s\n' '{' '   ld.so-reads-words' '   Memcheck:Addr8' '   fun:strncmp' '   fun:is_dst' '   ...' '}' \
    '{' '   softhsm' '   Memcheck:Leak' '   ...' '   obj:*libsofthsm2*' '   obj:*libsofthsm2*' '   ...' '}' >valgrind.supp
clean() { valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --suppressions=valgrind.supp "$@"; }
for way in $WAYS; do ok "valgrind: leaving: $way" clean "$tool" leave "$way" ec256.ref; done
ok 'valgrind: 4 threads, a library context each' env LD_LIBRARY_PATH="$BUILD" OPENSSL_CONF=/dev/null \
    valgrind -q --error-exitcode=99 --suppressions=valgrind.supp "$tool" contexts "$SANDBOX/modules" rsa.ref 4
done_testing
