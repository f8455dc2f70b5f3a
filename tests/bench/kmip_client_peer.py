# SPDX-License-Identifier: Apache-2.0
# PyKMIP's client for kmip_client.bench: kmip_client_peer.py PORT CERTIFICATES ID COUNT prints the
# processor time per Get over one live connection, in microseconds.
import resource
import sys

from kmip.core import enums
from kmip.pie.client import ProxyKmipClient

port, certs, uid, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e6


client = ProxyKmipClient(hostname="127.0.0.1", port=port, cert=certs + "/alice.crt", key=certs + "/alice.key",
                         ca=certs + "/ca.crt", ssl_version="PROTOCOL_TLSv1_2", config_file="/dev/null",
                         kmip_version=enums.KMIPVersion.KMIP_1_4)
with client:
    client.get(uid)
    began = cpu()
    for _ in range(count):
        client.get(uid)
    print("%.2f" % ((cpu() - began) / count))
