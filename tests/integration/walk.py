#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU that obeys nobody: up to two connections, steps at random, blobs of different saves mixed, backends killed in between.
Whatever it does, an NV counter never goes back and a PCR is what was answered last, or reset. Started by walk.sh.

Usage: walk.py SOCKET SEED STEPS
"""
import os
import random
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
import ptm  # noqa: E402
from qemu_peer import Gone, Qemu  # noqa: E402

PATH, SEED, STEPS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
COUNTER = "01500077"
DEFINE = ptm.command(0x8002, "0000012a40000001" + ptm.PASSWORD + "0000000e" + COUNTER + "000b0002001200000008")
INCREMENT = ptm.command(0x8002, "0000013440000001" + COUNTER + ptm.PASSWORD)
READ = ptm.command(0x8002, "0000014e40000001" + COUNTER + ptm.PASSWORD + "00080000")
LAST = 4  # blobs that it chooses from

rnd = random.Random(SEED)
qemus, saved = [], {ptm.PERMANENT: [], ptm.VOLATILE: []}
counter, pcr, resumed = 0, bytes(32), 0


def read_counter(qemu):
    response = qemu.respond(READ)
    return struct.unpack(">Q", response[16:24])[0] if ptm.code_of(response) == 0 else None


def look(qemu):
    """What must hold."""
    global counter, pcr
    value, response = read_counter(qemu), qemu.respond(ptm.PCR_READ)
    assert value is None or value >= counter, "the counter was %d and is %d" % (counter, value)
    counter = counter if value is None else value
    if ptm.code_of(response) == 0:
        assert response[-32:] in (pcr, bytes(32)), "the PCR was %s and is %s" % (pcr.hex(), response[-32:].hex())
        pcr = response[-32:]


def increment(qemu):
    global counter
    if qemu.run(INCREMENT) == 0:
        counter += 1
        assert read_counter(qemu) in (counter, None), "an increment is lost"


def extend(qemu):
    global pcr
    look(qemu)
    if qemu.extend() == 0:
        pcr = qemu.pcr()


def save(qemu, *kinds):
    for kind in kinds:
        reply = qemu.control.exchange(ptm.words(ptm.GET_STATEBLOB, 0, kind, 0))
        if len(reply) > 16:
            saved[kind].append(reply[16:])


def bring(qemu, pick):
    global resumed
    if saved[ptm.PERMANENT] and saved[ptm.VOLATILE]:
        results = qemu.bring([pick(saved[kind][-LAST:]) for kind in (ptm.PERMANENT, ptm.VOLATILE)])
        resumed += qemu.resume() == 0 and results == [0, 0]


def boot(qemu):
    qemu.init()
    qemu.run(ptm.STARTUP)


def killed(qemu):
    """Its backend, which alone has the other end of the data channel."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink("/proc/%s/fd/%s" % (pid, fd)) == "socket:[%d]" % qemu.data_inode
                   for fd in os.listdir("/proc/%s/fd" % pid)):
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            continue


def hang_up(qemu):
    qemu.hang_up()
    qemus.remove(qemu)


OFTEN = [boot, look, increment, extend, lambda q: save(q, ptm.PERMANENT, ptm.VOLATILE), lambda q: bring(q, lambda b: b[-1])]
SOMETIMES = [Qemu.init, Qemu.resume, Qemu.reset, Qemu.go_on, lambda q: q.call(ptm.STOP), lambda q: q.call(ptm.STORE_VOLATILE),
             lambda q: save(q, ptm.PERMANENT), lambda q: save(q, ptm.VOLATILE), lambda q: bring(q, rnd.choice), hang_up]
RARELY = [killed]


def step():
    if len(qemus) < 2 and (not qemus or rnd.random() < 0.2):
        qemus.append(Qemu(PATH))
        qemus[-1].arrive()
        return
    qemu = rnd.choice(qemus)
    try:
        rnd.choice(rnd.choices([OFTEN, SOMETIMES, RARELY], [60, 38, 2])[0])(qemu)
    except (Gone, ConnectionError):
        if qemu in qemus:
            hang_up(qemu)


first = Qemu(PATH)
first.boot()
assert first.run(DEFINE) == 0 and first.run(INCREMENT) == 0
counter = read_counter(first)
first.hang_up()
for _ in range(STEPS):
    try:
        step()
    except (Gone, ConnectionError):
        qemus[:] = [q for q in qemus if q.data]  # one that was not let in
    except ptm.socket.timeout:
        sys.exit("somebody does not answer")
print("# counter %d, %d blobs, %d resumed" % (counter, len(saved[ptm.PERMANENT]), resumed))
assert counter > 3 and resumed > 0, "it has not come far"
