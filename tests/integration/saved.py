#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU that keeps what it saves, and a thief who wants tries at a PIN. saved.sh says what must hold.

saved.py VTPMCTL RUNTIME-DIR NAME FILE save CHANGES [later]   so many changes, then (with later after a line of standard input) saves into FILE
                                       resume          from FILE
                                       pad             tries wrong PINs until the TPM has as many changes as FILE, then resumes from it

Prints what SET_STATEBLOB or INIT was answered, what the TPM counts of failed authorisations, and how many wrong PINs were tried."""
import json
import os
import pickle
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from ptm import NV_DEFINE, NV_UNDEFINE, command
from qemu_peer import Qemu

VTPMCTL, RUN, NAME, FILE, ACT = sys.argv[1:6]
WRONG, RETRY = 0x98E, 0x922
GUARDED = "01500030"
WRONG_PIN = command(0x8002, "0000014e" + GUARDED * 2 + "0000000d" "40000009" "0000" "00" "0004" + b"4712".hex() + "0004" "0000")
LOCKOUT_COUNTER = command(0x8001, "0000017a" "00000006" "0000020e" "00000001")


def version():
    shown = subprocess.run([VTPMCTL, "--runtime-dir", RUN, "show", NAME, "--json"], capture_output=True, text=True, timeout=60)
    return json.loads(shown.stdout)["vtpm"]["version"]


def counted(qemu):
    return int.from_bytes(qemu.respond(LOCKOUT_COUNTER)[-4:], "big")


def save(qemu):
    qemu.boot()
    for i in range(int(sys.argv[6])):
        answer = qemu.run(NV_UNDEFINE if i % 2 else NV_DEFINE)
        if answer:
            sys.exit("change %d is answered with 0x%x" % (i, answer))
    if sys.argv[7:] == ["later"]:
        print("waits", flush=True)
        sys.stdin.readline()
    counts, blobs = counted(qemu), qemu.save()
    with open(FILE, "wb") as file:
        pickle.dump((version(), blobs), file)
    print("counts %d" % counts)


def resume(qemu):
    with open(FILE, "rb") as file:
        _, blobs = pickle.load(file)
    answer = max(qemu.bring(blobs)) or qemu.resume()
    print("resume %d" % answer)
    if answer == 0:
        print("counts %d" % counted(qemu))


def pad(qemu):
    with open(FILE, "rb") as file:
        wanted, _ = pickle.load(file)
    qemu.boot()
    tried = 0
    while version() < wanted or tried == 0:
        answer = qemu.run(WRONG_PIN)
        if answer not in (WRONG, RETRY):
            sys.exit("a wrong PIN is answered with 0x%x" % answer)
        tried += answer == WRONG
    print("tried %d" % tried)
    print("counts %d" % counted(qemu))
    resume(qemu)


def main():
    qemu = Qemu("%s/%s.swtpm" % (RUN, NAME))
    if ACT == "resume":
        qemu.arrive()
    {"save": save, "resume": resume, "pad": pad}[ACT](qemu)
    qemu.hang_up()


main()
