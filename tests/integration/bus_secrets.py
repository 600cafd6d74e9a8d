# SPDX-License-Identifier: BSD-2-Clause
"""
Searches what passed on the bus for every secret there is. It derives them by itself from a root that the test has unsealed.
Usage: bus_secrets.py STORE ROOT CREDENTIAL (files) LOG…; prints the owner's authorisation value, for the test to try.
"""
import hashlib
import hmac
import sqlite3
import struct
import subprocess
import sys


def hkdf(root, info):
    """RFC 5869 with no salt and 32 bytes of output."""
    prk = hmac.new(bytes(32), root, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def opened(key, wrapped):
    """AES-256-GCM without looking at the tag: CTR from the second block on (NIST SP 800-38D, 7.2)."""
    run = subprocess.run(["openssl", "enc", "-d", "-aes-256-ctr", "-K", key.hex(), "-iv", wrapped[:12].hex() + "00000002"],
                         input=wrapped[12:44], stdout=subprocess.PIPE, check=True)
    return run.stdout


def fields(row, n):
    """The n variable fields at the beginning of a row."""
    out = []
    for _ in range(n):
        size = struct.unpack("<I", row[:4])[0]
        out.append(row[4:4 + size])
        row = row[4 + size:]
    return out


db = sqlite3.connect(sys.argv[1])
root = open(sys.argv[2], "rb").read()
assert len(root) == 32
meta = dict(db.execute("SELECT key, value FROM meta"))
key = hkdf(root, b"vtpm wrapping key v1")
record = meta["anchors"][20:]
secrets = {"root": root, "wrapping key": key, "row key": hkdf(root, b"vtpm journal row key v1"), "anchor key": hkdf(root, b"vtpm anchor key v1"),
           "auth of A": opened(key, record[:60]), "auth of V": opened(key, record[60:120]), "auth of the owner": opened(key, record[120:180]),
           "auth of the CA key": opened(key, fields(meta["ca"], 3)[2])}
ak = bytearray(hkdf(secrets["auth of the CA key"], b"vtpm host attestation key auth v1"))
ak[31] |= 1
secrets["auth of the attestation key"] = bytes(ak)
secrets["credential"] = open(sys.argv[3], "rb").read()
assert len(secrets["credential"]) == 32
for name, wrapped in db.execute("SELECT name, wrapped FROM vtpm"):
    secrets["key of " + name] = opened(key, wrapped)
assert len(secrets) > 8, secrets.keys()

traffic = "".join(open(log).read() for log in sys.argv[4:])
assert traffic.count("\n") > 100
# What is there is found: the Name of the storage root key.
assert meta["srk_name"][2:].hex() in traffic
for what, secret in secrets.items():
    for part in (secret[:16], secret[16:]):
        assert part.hex() not in traffic, "the bus shows the " + what
        assert part[::-1].hex() not in traffic, "the bus shows the " + what + ", turned round"
print(secrets["auth of the owner"].hex())
