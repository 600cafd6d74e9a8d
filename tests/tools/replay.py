#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
# What the PCRs of the SHA-256 bank hold if a crypto-agile event log is true: lines "PCR HEX". Written apart from the project's own reader, by the TCG
# PC Client Platform Firmware Profile, 10.2 and 10.4.5: PCR 0 begins with the locality of the StartupLocality event.
# Usage: replay.py FILE
import hashlib
import struct
import sys

SHA256, NO_ACTION = 0x000B, 3


def events(log):
    """(PCR, type, SHA-256, data) of each event after the first, whose form is that of TPM 1.2."""
    pcr, kind, _, size = struct.unpack_from("<II20sI", log)
    spec = log[32 : 32 + size]
    assert kind == NO_ACTION and spec[:16] == b"Spec ID Event03\0", "not a crypto-agile log"
    (n,) = struct.unpack_from("<I", spec, 24)
    sizes = dict(struct.unpack_from("<HH", spec, 28 + 4 * i) for i in range(n))
    at = 32 + size
    while at < len(log):
        pcr, kind, n = struct.unpack_from("<III", log, at)
        at += 12
        digests = {}
        for _ in range(n):
            (alg,) = struct.unpack_from("<H", log, at)
            digests[alg] = log[at + 2 : at + 2 + sizes[alg]]
            at += 2 + sizes[alg]
        (size,) = struct.unpack_from("<I", log, at)
        yield pcr, kind, digests[SHA256], log[at + 4 : at + 4 + size]
        at += 4 + size
    assert at == len(log), "the last event is cut"


pcrs = {}
with open(sys.argv[1], "rb") as f:
    for pcr, kind, digest, data in events(f.read()):
        if kind == NO_ACTION:
            if data[:16] == b"StartupLocality\0":
                pcrs[0] = bytes(31) + data[16:17]
            continue
        pcrs[pcr] = hashlib.sha256(pcrs.get(pcr, bytes(32)) + digest).digest()
for pcr in sorted(pcrs):
    print(pcr, pcrs[pcr].hex())
