# SPDX-License-Identifier: BSD-2-Clause
"""
Evidence, looked at without our code: its CBOR, and all the arithmetic between its parts but for signatures and certificates, which are
written into files for the tools that verify those. Usage: evidence.py FILE NONCE DIR [MEMBER]. Prints what is wrong, and fails. With MEMBER of
the binding (version, mode, epoch, discontinuities, count) or inner.PCR, outer.PCR it prints that.
"""
import hashlib
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
from tpm_cursor import Cursor  # noqa: E402

FILE, NONCE, DIR = sys.argv[1:4]
GENERATED, QUOTE, NV, CERTIFY, CREATION = 0xff544347, 0x8018, 0x8014, 0x8017, 0x801a


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Evidence(Cursor):
    """Deterministic CBOR (RFC 8949, 4.2.1): numbers, byte strings, arrays, maps."""
    def head(self):
        first = self.number("B")
        more, n = first & 31, first & 31
        if more >= 24:
            assert more <= 27, "a length that is none"
            n = self.number("BHIQ"[more - 24])
            assert n >= (24, 1 << 8, 1 << 16, 1 << 32)[more - 24], "not the shortest form"
        return first >> 5, n

    def item(self):
        major, n = self.head()
        if major == 0:
            return n
        if major == 2:
            return self.take(n)
        if major == 4:
            return [self.item() for _ in range(n)]
        assert major == 5, "an item of another kind"
        pairs = [(self.item(), self.item()) for _ in range(n)]
        assert [k for k, _ in pairs] == sorted({k for k, _ in pairs}), "keys out of order"
        return dict(pairs)


def whole(data):
    c = Evidence(data)
    out = c.item()
    assert not c.data, "something is left over"
    return out


def name(area):
    return b"\x00\x0b" + sha256(area)


class Attest:
    def __init__(self, data, kind):
        c = Cursor(data)
        assert c.number("I") == GENERATED and c.number("H") == kind, "no attestation of that kind"
        self.signer, self.extra = c.sized(), c.sized()
        self.clock = c.take(17)
        self.firmware = c.take(8)
        self.reset, self.restart, self.safe = struct.unpack(">8xIIB", self.clock)
        self.rest = c

    def end(self):
        assert not self.rest.data, "something is left over"


class Quote(Attest):
    def __init__(self, part):
        super().__init__(part[0], QUOTE)
        assert self.rest.number("I") == 1 and self.rest.number("H") == 0x000b and self.rest.number("B") == 3, "another selection"
        mask = struct.unpack("<I", self.rest.take(3) + b"\0")[0]
        self.pcrs = [i for i in range(24) if mask >> i & 1]
        assert self.rest.sized() == sha256(part[2]), "the values are not those that were quoted"
        self.end()
        assert len(part[2]) == 32 * len(self.pcrs)
        self.value = {p: part[2][32 * i:32 * i + 32] for i, p in enumerate(self.pcrs)}


def root_of(leaf, index, count, siblings):
    h, siblings = leaf, [siblings[i:i + 32] for i in range(0, len(siblings), 32)]
    while count > 1:
        if index ^ 1 < count:
            s = siblings.pop(0)
            h = sha256(b"\1", s, h) if index & 1 else sha256(b"\1", h, s)
        index, count = index >> 1, (count + 1) >> 1
    assert not siblings, "more siblings than there can be"
    return h


def put(file, data):
    with open(os.path.join(DIR, file), "wb") as f:
        f.write(data)


with open(FILE, "rb") as f:
    ev = whole(f.read())
assert ev[0] == 1
inner, ak, ek, binding, proof, outer, anchor, host_ak, ca, chain = [ev[k] for k in range(1, 11)]
b = whole(binding)
assert sorted(b) == list(range(12)), "the binding has other keys"
assert b[0].hex() == NONCE, "it is for another nonce"
assert b[2] == name(ek[0]) and b[3] == name(ak[0]), "it binds other keys"
assert b[4] == sha256(inner[0]), "it binds another quote"
q = Quote(inner)
assert q.pcrs == list(range(16)), "the vTPM has quoted other PCRs"
over = sha256(b"vtpm inner v1", bytes([len(b[0])]), b[0], b[1], b[2], b[3], struct.pack(">Q", b[5]))
assert q.extra == over, "the vTPM has quoted over something else"

index, count, siblings = proof
root = root_of(sha256(b"\0", binding), index, count, siblings)
over_host = sha256(b"vtpm outer v1", root, struct.pack(">Q", count), name(host_ak))
h = Quote(outer)
assert h.extra == over_host, "the host has quoted over something else"
assert set(range(10)) <= set(h.pcrs), "PCRs of the host are missing"
a = Attest(anchor[0], NV)
assert a.extra == over_host, "the anchor was certified over something else"
nv_name, offset, contents = a.rest.sized(), a.rest.number("H"), a.rest.sized()
a.end()
assert nv_name == name(anchor[2]) and offset == 0, "another NV index"
assert contents == b[9], "the anchor does not hold what the journal says"
assert a.clock[8:] == h.clock[8:] and a.firmware == h.firmware, "the TPM was reset in between"
assert (h.reset, h.restart) == (a.reset, a.restart) and a.signer == h.signer
assert b[10] == ([sha256(ev[11])] if 11 in ev else []), "it was launched otherwise than its log says"
assert b[11] == sha256(sha256(ev.get(12, b"")), sha256(ek[1]), *[sha256(c) for c in chain]), "what is attached is something else"

c = Attest(ca[2], CERTIFY)
assert c.rest.sized() == name(ca[0]) and c.extra == sha256(ca[1]), "another CA was certified"
c = Attest(ca[5], CREATION)
assert c.rest.sized() == name(ca[0]) and c.rest.sized() == sha256(ca[4]), "another CA was certified to be made"

for file, data in (("inner.attest", inner[0]), ("inner.sig", inner[1]), ("outer.attest", outer[0]), ("outer.sig", outer[1]),
                   ("anchor.attest", anchor[0]), ("anchor.sig", anchor[1]), ("ak.crt", ak[1]), ("ek.crt", ek[1]), ("ca.crt", ca[1]),
                   ("ca.attest", ca[2]), ("ca.sig", ca[3]), ("host-ak.pub", struct.pack(">H", len(host_ak)) + host_ak),
                   ("ak.pub", struct.pack(">H", len(ak[0])) + ak[0])):
    put(file, data)
put("inner.over", over.hex().encode())
put("outer.over", over_host.hex().encode())
put("uuid", b[1].hex().encode())
put("launch.log", ev.get(11, b""))

members = {"version": b[8], "mode": b[6], "epoch": b[5], "discontinuities": b[7], "count": count, "launch": len(b[10])}
if len(sys.argv) > 4:
    which, _, pcr = sys.argv[4].partition(".")
    print({"inner": q, "outer": h}[which].value[int(pcr)].hex() if pcr else members[which])
