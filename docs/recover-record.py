#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Opens a record (one layer, A256GCMKW) without kyok: prints the passphrase.

usage: recover-record.py RECORD MODULE TOKEN-LABEL KEY-LABEL PIN-FILE >passphrase
Needs OpenSC's pkcs11-tool and python3-cryptography. The tool knows no AES-GCM, so the content key is
unwrapped with what GCM is made of: counter blocks encrypted in the token, one at a time. What comes
out is authenticated by the second step.
"""
import base64, json, subprocess, sys, tempfile
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def b64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encrypt_block(block):
    with tempfile.NamedTemporaryFile() as before, tempfile.NamedTemporaryFile() as after:
        before.write(block)
        before.flush()
        subprocess.run(
            ["pkcs11-tool", "--module", module, "--token-label", token, "--login",
             "--pin", open(pin_file).read().strip(), "--encrypt", "--label", key,
             "-m", "AES-CBC", "--iv", "00" * 16, "-i", before.name, "-o", after.name],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return after.read(16)


record, module, token, key, pin_file = sys.argv[1:6]
jwe = json.load(open(record))
recipient = jwe["recipients"][0]
iv, wrapped = b64(recipient["header"]["iv"]), b64(recipient["encrypted_key"])
stream = b"".join(encrypt_block(iv + (2 + i).to_bytes(4, "big")) for i in range(2))
content_key = bytes(a ^ b for a, b in zip(wrapped, stream))
sys.stdout.buffer.write(AESGCM(content_key).decrypt(
    b64(jwe["iv"]), b64(jwe["ciphertext"]) + b64(jwe["tag"]), jwe["protected"].encode()))
