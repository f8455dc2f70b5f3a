#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The provider through OpenSSL's own interface (tests/support/provider_tool.c).
. "$(dirname "$0")/../support/lib.sh"
need openssl softhsm2-util
. "$TESTS/support/provider.sh"
softhsm_new soft && softhsm_token soft test && faulty_new hsm soft
kyok_conf '[token test]' "module = $SANDBOX/hsm.so" 'uri = pkcs11:token=test' "pin-source = file:$(pin_file)"
openssl_conf
generate RSA rsa && generate EC ec group:P-256 && generate ED25519 ed || { echo '1..0 # SKIP no token'; exit 1; }
"$SUPPORT/provider_tool" api rsa.ref ec.ref ed.ref
