#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU and its guest whose backend is killed at any moment: they notice nothing but time. It keeps its own record of what the
TPM must hold, and demands each reply and each response once, and not a byte besides.

resume_qemu.py VTPMCTL RUNTIME-DIR NAME SEED STEPS [PID]

PID: of a vtpm-hold whose managers, with all that comes from them, are killed in place of backends."""
import hashlib
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import ptm
from ptm import PASSWORD, command, words
from qemu_peer import FAILURE, Qemu

VTPMCTL, RUN, NAME, SEED, STEPS = sys.argv[1:4] + [int(n) for n in sys.argv[4:6]]
HOLD = int(sys.argv[6]) if len(sys.argv) > 6 else None
rnd = random.Random(SEED)


def show(key):
    out = subprocess.run([VTPMCTL, "--runtime-dir", RUN, "show", NAME, "--json"], capture_output=True, text=True, timeout=60)
    return json.loads(out.stdout)["vtpm"].get(key, 0)


def demand(what, got, want):
    if got != want:
        sys.exit("%s: %r, not %r" % (what, got, want))


# --- who kills ---

qemu = Qemu("%s/%s.swtpm" % (RUN, NAME))
over = threading.Event()
kills = 0


def children(parents, name):
    out = subprocess.run(["pgrep", "-P", ",".join(map(str, parents)), "-x", name], capture_output=True, text=True)
    return [int(p) for p in out.stdout.split()]


def of_a_generation(whom):
    managers = children([HOLD], "vtpm-mgr")
    spawners = children(managers, "vtpm-spawn") if managers else []
    keepers = children(spawners, "vtpm-keeper") if spawners else []
    return {"manager": managers, "spawner": spawners, "keeper": keepers, "all": managers + spawners + keepers}[whom]


def kill(pids):
    global kills
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            kills += 1
        except ProcessLookupError:
            pass


def killer():
    chance = random.Random(SEED)
    if HOLD:
        while not over.wait(0.1 + chance.random() * 0.4):  # also while the next one begins
            kill(of_a_generation(chance.choice(["manager", "manager", "keeper", "spawner", "all"])))
    while not over.wait(0.03 + chance.random() * 0.06):  # not twice in one command, which would be once too often
        pid = qemu.backend()
        if pid and show("state") == "running":  # three in a row before one is ready would be the end
            kill([pid])


# --- what the guest does, and what its TPM must hold ---

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def run(request):
    response = qemu.data.run(request)
    demand("a response's code", ptm.code_of(response), 0)
    return response


pcr, value, policy, hashed = bytes(32), None, bytes(32), b""
first_info = None


def extend():
    global pcr
    digest = rnd.randbytes(32)
    run(command(0x8002, "00000182" "00000010" + PASSWORD + "00000001" "000b" + digest.hex()))
    pcr = sha(pcr, digest)


def read():
    demand("PCR 16", run(ptm.PCR_READ)[-32:], pcr)


def random_bytes():
    demand("length of GetRandom", len(run(ptm.GET_RANDOM)), 10 + 2 + 16)


def write():
    global value
    value = rnd.randbytes(ptm.SIZE)
    run(ptm.nv_write(value))


def read_back():
    if value:
        demand("the index", run(ptm.NV_READ)[16:16 + ptm.SIZE], value)


def update():
    global hashed
    data = rnd.randbytes(rnd.randrange(1, 1000))
    run(command(0x8002, "0000015c" + sequence.hex() + PASSWORD + "%04x" % len(data) + data.hex()))
    hashed += data


def policy_step():
    global policy
    run(command(0x8001, "0000016b" + session.hex()))
    policy = sha(policy, struct.pack(">I", 0x16B))
    demand("the policy", run(command(0x8001, "00000189" + session.hex()))[-32:], policy)


def key():
    demand("the key's name", run(command(0x8001, "00000173" + handle.hex())), public)


def long_command():
    """So long that two backends may be killed over it: it is not tried a third time."""
    response = qemu.data.run(ptm.rsa_key(rnd.randrange(1 << 32)))
    if ptm.code_of(response) != FAILURE:
        demand("making a key", ptm.code_of(response), 0)
        run(ptm.flush(response[10:14]))


# --- what its QEMU does ---

def ask():
    global first_info
    demand("GET_CONFIG", qemu.control.exchange(words(ptm.GET_CONFIG)), words(0, 0))
    demand("SET_BUFFERSIZE", qemu.control.exchange(words(ptm.SET_BUFFERSIZE, 0))[:8], words(0, 0xF80))
    info = qemu.control.exchange(words(ptm.GET_INFO, 0, 1, 0, 0))
    first_info = first_info or info
    demand("GET_INFO", info, first_info)
    demand("an unknown request", qemu.call(0x77), ptm.BAD_ORDINAL)


def tell():
    demand("SET_LOCALITY", qemu.call(ptm.SET_LOCALITY, 0), 0)
    demand("CANCEL", qemu.call(ptm.CANCEL_TPM_CMD), 0)
    demand("a second data channel", ptm.words(qemu.control.call(ptm.SET_DATAFD, fds=[sys.stdin.fileno()])), words(ptm.IOERROR))


def channel():
    """A new data channel in place of the old one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    qemu.data.sock.shutdown(socket.SHUT_RDWR)  # a process that is being forked for the killer may have it, too
    qemu.data.close()
    demand("SET_DATAFD", qemu.control.call(ptm.SET_DATAFD, fds=[theirs.fileno()]), 0)
    qemu.data_inode = os.fstat(theirs.fileno()).st_ino
    theirs.close()
    qemu.data = ptm.Data(ours)


def snapshot():
    """Saved, and brought back: the guest is where it was."""
    blobs = qemu.save()
    demand("SET_STATEBLOB", qemu.bring(blobs), [0, 0])
    demand("INIT", qemu.resume(), 0)


def save():
    qemu.save()
    demand("LOCK_STORAGE", qemu.go_on(), 0)


def nothing_besides():
    readable = select.select([qemu.control.sock, qemu.data.sock], [], [], 0)[0]
    demand("what comes besides", [sock.recv(4096) for sock in readable], [])


def clock():
    """resetCount, restartCount, safe: the TPM was not reset."""
    return run(ptm.READ_CLOCK)[26:35]


demand("boot", qemu.boot(), 0)
demand("define", qemu.define(), 0)
sequence = run(command(0x8001, "00000186" "0000" "000b"))[10:14]
session = run(command(0x8001, "00000176" "40000007" "40000007" "0010" + "01" * 16 + "0000" "01" "0010" "000b"))[10:14]
handle = run(ptm.command(0x8002, "00000131" "40000001" + PASSWORD + "0004" "00000000" "001a" "0023" "000b" "00030072" "0000"
                         "0006" "0080" "0043" "0010" "0003" "0010" "0000" "0000" "0000" "00000000"))[10:14]
public = run(command(0x8001, "00000173" + handle.hex()))
was = clock()
OFTEN = [extend, read, random_bytes, write, read_back, update, policy_step, key]
RARELY = [ask, tell, channel, save, snapshot, long_command]
thread = threading.Thread(target=killer)
thread.start()
try:
    steps = 0
    while steps < STEPS or (HOLD and kills < 20):
        steps += 1
        rnd.choice(rnd.choices([OFTEN, RARELY], [85, 15])[0])()
        nothing_besides()
finally:
    over.set()
    thread.join()
for check in read, read_back, policy_step, key:
    check()
demand("the hash", run(command(0x8002, "0000013e" + sequence.hex() + PASSWORD + "0000" "40000007"))[16:48], sha(hashed))
demand("the clock", clock(), was)
run(ptm.NV_UNDEFINE)
replacements = show("replacements")
print("killed %d times, %d replacements" % (kills, replacements))
if replacements < (4 if HOLD else 10):  # who dies while the next one begins is not replaced, nor is who loses a keeper
    sys.exit("it was killed too seldom")
demand("SHUTDOWN", qemu.shutdown(), 0)
qemu.hang_up()
