# SPDX-License-Identifier: BSD-2-Clause
"""
What an enrolment says, looked at without our code: signatures, Names, hashes. Usage: attested.py DIR, as "vtpmctl enroll show --dir" has
written it. Prints what is wrong, and fails.
"""
import hashlib
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
from tpm_cursor import Cursor  # noqa: E402

DIR = sys.argv[1]
GENERATED, CERTIFY, CREATION = 0xff544347, 0x8017, 0x801a


def read(name):
    with open(DIR + "/" + name, "rb") as f:
        return f.read()


def name_of(file):
    pub = Cursor(read(file))
    return b"\x00\x0b" + hashlib.sha256(pub.sized()).digest()


def der_integer(b):
    b = b.lstrip(b"\0") or b"\0"
    b = b"\0" + b if b[0] & 0x80 else b
    return b"\x02" + bytes([len(b)]) + b


def verify(attest, signature):
    """TPMT_SIGNATURE (TPM 2.0 Part 2, 11.3.4), by OpenSSL."""
    sig = Cursor(read(signature))
    assert (sig.number("H"), sig.number("H")) == (0x18, 0x0b), "not ECDSA with SHA-256"
    both = der_integer(sig.sized()) + der_integer(sig.sized())
    assert not sig.data
    with tempfile.NamedTemporaryFile() as f:
        f.write(b"\x30" + bytes([len(both)]) + both)
        f.flush()
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", DIR + "/ak.pem", "-signature", f.name, DIR + "/" + attest],
                       check=True, stdout=subprocess.DEVNULL)


def attested(file, kind):
    """TPMS_ATTEST (10.12.12) up to what is attested; the qualifying data must be the hash of the CA's certificate."""
    a = Cursor(read(file))
    assert (a.number("I"), a.number("H")) == (GENERATED, kind)
    a.sized()
    der = subprocess.run(["openssl", "x509", "-in", DIR + "/ca.pem", "-outform", "der"], check=True, stdout=subprocess.PIPE).stdout
    assert a.sized() == hashlib.sha256(der).digest(), "another certificate"
    a.take(17 + 8)
    return a


verify("ca.attest", "ca.sig")
ca = attested("ca.attest", CERTIFY)
assert ca.sized() == name_of("ca.pub"), "another key was certified"
assert name_of("ak.pub").hex().encode() == read("ak.name")
# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign; and the CA key the same but restricted
for file, attributes in (("ak.pub", 0x50472), ("ca.pub", 0x40472)):
    pub = Cursor(Cursor(read(file)).sized())
    assert (pub.number("H"), pub.number("H"), pub.number("I")) == (0x23, 0x0b, attributes), file
# The key in the CA's certificate is the one that was certified.
point = subprocess.run(["openssl", "x509", "-in", DIR + "/ca.pem", "-noout", "-pubkey"], check=True, stdout=subprocess.PIPE).stdout
point = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=point, check=True, stdout=subprocess.PIPE).stdout
assert point[-64:-32] in read("ca.pub") and point[-32:] in read("ca.pub"), "the certificate is of another key"
verify("creation.attest", "creation.sig")
made = attested("creation.attest", CREATION)
assert made.sized() == name_of("ca.pub")
assert made.sized() == hashlib.sha256(read("creation.data")).digest(), "other creation data"
# TPMS_CREATION_DATA (15.1): PCRs 0 to 15 of SHA-256, as they were
assert read("creation.data")[:10] == bytes.fromhex("00000001000b03ffff00")
