# SPDX-License-Identifier: Apache-2.0
# PyKMIP's codec for kmip_codec_bench: kmip_codec_peer.py HEX prints three rates (calls per second):
# the Get response in HEX decoded, a Get request encoded, the response encoded.
import sys
import time

from kmip.core import enums, utils
from kmip.core.messages import contents, messages, payloads

message = bytes.fromhex(sys.argv[1])
VERSION = enums.KMIPVersion.KMIP_1_4


def decode():
    response = messages.ResponseMessage()
    response.read(utils.BytearrayStream(message), kmip_version=VERSION)
    return response


def encode(what):
    stream = utils.BytearrayStream()
    what.write(stream, kmip_version=VERSION)
    return stream.buffer


def request():
    header = messages.RequestHeader(
        protocol_version=contents.ProtocolVersion(1, 4), batch_count=contents.BatchCount(1))
    item = messages.RequestBatchItem(
        operation=contents.Operation(enums.Operation.GET) if hasattr(contents, "Operation")
        else messages.Operation(enums.Operation.GET),
        request_payload=payloads.GetRequestPayload(unique_identifier="1"))
    return messages.RequestMessage(request_header=header, batch_items=[item])


def rate(call):
    calls, start = 0, time.process_time()
    while time.process_time() - start < 0.2:
        for _ in range(20):
            call()
        calls += 20
    return calls / (time.process_time() - start)


response = decode()
assert bytes(encode(response)) == message, "PyKMIP writes another response"
print(rate(decode), rate(lambda: encode(request())), rate(lambda: encode(response)))
