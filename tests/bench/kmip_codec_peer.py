# SPDX-License-Identifier: Apache-2.0
# PyKMIP's codec for kmip_codec_bench: kmip_codec_peer.py HEX answers each line it is sent, the number of what to
# do (0: the Get response in HEX decoded, 1: a Get request encoded, 2: the response encoded), with the processor
# time of one such call in nanoseconds, over a slice of some milliseconds.
import sys
import time

from kmip.core import enums, utils
from kmip.core.messages import contents, messages, payloads

message = bytes.fromhex(sys.argv[1])
VERSION = enums.KMIPVersion.KMIP_1_4
SLICE = 10_000_000  # ns


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


def slice_ns(call):
    calls, start = 0, time.process_time_ns()
    while (taken := time.process_time_ns() - start) < SLICE:
        for _ in range(5):
            call()
        calls += 5
    return taken / calls


response = decode()
assert bytes(encode(response)) == message, "PyKMIP writes another response"
work = [decode, lambda: encode(request()), lambda: encode(response)]
for line in sys.stdin:
    print(slice_ns(work[int(line)]), flush=True)
