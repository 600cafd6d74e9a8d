# SPDX-License-Identifier: BSD-2-Clause
"""The launcher's side of a measured launch, for tests: raw calls of the control interface, and the events of a boot.

launch.py RUNTIME_DIR NAME [--domain N] [--no-startup] [--sha1] [--kernel TEXT] [--signature BASE64]: Launch; prints the digest
launch.py --replay FILE BANK [FILE]: PCR 0 as a log has it, and as the log of a firmware that came after it goes on
"""
import argparse
import base64
import hashlib
import json
import socket
import struct
import sys

EV_SEPARATOR, EV_S_CRTM_CONTENTS, EV_IPL = 4, 7, 13


def call(runtime_dir, method, **parameters):
    """The reply's parameters, or (error, text)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(runtime_dir + "/control.sock")
        s.sendall(json.dumps({"method": "org.vtpm.Manager." + method, "parameters": parameters}).encode() + b"\0")
        data = b""
        while not data.endswith(b"\0"):
            piece = s.recv(65536)
            if not piece:
                raise EOFError("the manager has hung up")
            data += piece
    reply = json.loads(data[:-1])
    if "error" in reply:
        return reply["error"], reply["parameters"].get("message", "")
    return reply["parameters"]


def event(pcr, kind, data, measured=None, sha1=False):
    measured = data if measured is None else measured
    digests = {alg: hashlib.new(alg, measured).hexdigest() for alg in ("sha256", "sha384", "sha512") + (("sha1",) if sha1 else ())}
    return dict(pcr=pcr, type=kind, data=base64.b64encode(data).decode(), **digests)


def boot(kernel=b"kernel", sha1=False, padding=0):
    """What a boot without firmware of its own is measured as."""
    events = [event(0, EV_S_CRTM_CONTENTS, b"launch.py, version 1", sha1=sha1), event(0, EV_IPL, b"firmware", b"firmware's bytes", sha1),
              event(1, EV_IPL, b"configuration", b"configuration's bytes", sha1)]
    events += [event(pcr, EV_SEPARATOR, bytes(4), sha1=sha1) for pcr in range(8)]
    events += [event(4, EV_IPL, b"kernel", kernel, sha1), event(8, EV_IPL, b"command line", b"console=hvc0", sha1),
               event(9, EV_IPL, b"kernel" + bytes(padding), kernel, sha1), event(9, EV_IPL, b"initrd", b"initrd's bytes", sha1)]
    return events


def crtm(sha1=False):
    return [event(0, EV_S_CRTM_CONTENTS, b"launch.py, version 1", sha1=sha1)]


def pcr0(log, bank, value=None):
    """PCR 0 of a crypto-agile log, by the TCG's rules. tpm2_eventlog replays the others, and this one too from version 5.6 on: before
    it does not know that StartupLocality says what PCR 0 begins with."""
    number = {"sha1": 4, "sha256": 11, "sha384": 12, "sha512": 13}[bank]
    at = 32 + struct.unpack_from("<I", log, 28)[0]
    n, = struct.unpack_from("<I", log, 32 + 24)
    sizes = dict(struct.unpack_from("<HH", log, 32 + 28 + 4 * i) for i in range(n))
    value = value or bytes(sizes[number])
    while at < len(log):
        pcr, kind, n = struct.unpack_from("<III", log, at)
        at += 12
        digests = {}
        for _ in range(n):
            alg, = struct.unpack_from("<H", log, at)
            digests[alg] = log[at + 2:at + 2 + sizes[alg]]
            at += 2 + sizes[alg]
        size, = struct.unpack_from("<I", log, at)
        data = log[at + 4:at + 4 + size]
        at += 4 + size
        if kind == 3 and data.startswith(b"StartupLocality\0"):
            value = value[:-1] + data[16:17]
        elif kind != 3 and pcr == 0:
            value = hashlib.new(bank, value + digests[number]).digest()
    return value


def main():
    if sys.argv[1:2] == ["--replay"]:
        value = None
        for path in [sys.argv[2]] + sys.argv[4:]:
            with open(path, "rb") as f:
                value = pcr0(f.read(), sys.argv[3], value)
        print("0", value.hex().upper())
        return 0
    p = argparse.ArgumentParser()
    p.add_argument("runtime_dir")
    p.add_argument("name")
    p.add_argument("--domain", type=int)
    p.add_argument("--no-startup", action="store_true")
    p.add_argument("--sha1", action="store_true")
    p.add_argument("--kernel", default="kernel")
    p.add_argument("--padding", type=int, default=0)
    p.add_argument("--signature")
    a = p.parse_args()
    more = {k: v for k, v in (("domain", a.domain), ("signature", a.signature)) if v is not None}
    events = crtm(a.sha1) if a.no_startup else boot(a.kernel.encode(), a.sha1, a.padding)
    reply = call(a.runtime_dir, "Launch", name=a.name, startup=not a.no_startup, events=events, **more)
    if isinstance(reply, tuple):
        print("%s: %s" % reply, file=sys.stderr)
        return 1
    print(reply["digest"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
