#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A QEMU that does what none should. Ends with 0 if the TPM bore it and works on.

Usage: ptm_faults.py SOCKET FAULT [ARGUMENT…]     HOSTILE_SEED=N repeats a run

  prepare            defines the NV index and writes zero
  noise              any bytes on both channels, descriptors with anything
  datafd             a second data channel, and ones that are none
  half               half a request on both channels, then gone
  cancel             RSA keys in the making are cancelled; a cancel that comes too late cancels nothing
  make               begins an RSA key, says "begun", and stays until it is killed
  count              writes 1, 2, 3 … into the index and says each that was acknowledged
  kept N             the index has N or a later number
  full DIRECTORY     a disk that is full during an NV write, and then is not
  linger SOCKET…     sockets that linger, sent to sockets of the manager that are in use
  blobs FOREIGN      saved states that are damaged, cut, too long, of another kind, or of the TPM at that socket
"""
import array
import errno
import os
import random
import socket
import struct
import sys

from ptm import *  # the commands, all of them

CANCELED, COMMAND_SIZE, RETRY, NV_UNAVAILABLE, FAILURE, INITIALIZE = 0x909, 0x142, 0x922, 0x923, 0x101, 0x100
RANDOM = random.Random(int(os.environ.setdefault("HOSTILE_SEED", str(random.SystemRandom().randrange(1 << 32)))))
TRIES = 64
BLOB_MAX, HEADER, TAG = 262144, 40, 16


def need(wanted, got, what):
    if wanted != got:
        sys.exit("%s: %r, not %r (HOSTILE_SEED=%s)" % (what, got, wanted, os.environ["HOSTILE_SEED"]))


def value(number):
    return number.to_bytes(SIZE, "big")


def read(data):
    """Behind header and parameter size: a size, the number."""
    return int.from_bytes(data.must(NV_READ)[16:16 + SIZE], "big")


def write(data, number):
    return data.code(nv_write(value(number)))


def works_on(data, number):
    """It does: what is kept is there, what is written is kept, a key can be made."""
    need(number, read(data), "the index")
    need(SUCCESS, write(data, number + 1), "NV_Write")
    need(SUCCESS, write(data, number), "NV_Write")
    response = data.must(rsa_key(RANDOM.randrange(1 << 32)))
    data.must(flush(response[10:14]))


def prepare(path):
    control = Control(path)
    data = control.power_on()
    data.must(NV_DEFINE)
    data.must(GUARDED_DEFINE)
    need(SUCCESS, write(data, 0), "NV_Write")
    control.close()


# --- any bytes ---

def drained(data):
    """Forgets the answers that have come; what was sent before the last STOP is answered with it."""
    data.sock.setblocking(False)
    try:
        while data.sock.recv(65536):
            pass
        raise Gone("the data channel was closed")
    except BlockingIOError:
        data.sock.settimeout(LIMIT)


def restart(control, data):
    need(SUCCESS, control.call(STOP), "STOP")
    drained(data)
    need(SUCCESS, control.call(INIT, 0), "INIT")
    need(SUCCESS, control.call(SET_LOCALITY, 0), "SET_LOCALITY")
    data.must(STARTUP)


def noise_on_data(control, data):
    for piece in (b"STRAY!", READ_CLOCK[:4], READ_CLOCK[:9], command(0x8001, ""), b"\x80\x01\x00\x01\x00\x00"):
        data.send(piece)
        need(SUCCESS, control.call(SET_LOCALITY, 0), "SET_LOCALITY beside it")
        need(COMMAND_SIZE, code_of(data.answer()), "stray bytes " + piece.hex())
        need(SUCCESS, data.code(GET_RANDOM), "GetRandom behind it")
    for _ in range(40):
        data.send(RANDOM.randbytes(RANDOM.randrange(1, 60000)))
        need(SUCCESS, control.call(GET_CONFIG) or control.result(), "GET_CONFIG beside it")
        restart(control, data)


def noise_on_control(control):
    """Commands with any bodies, and none; each is answered, and so is what comes next."""
    commands = [c for c in range(20) if c not in (SHUTDOWN, SET_STATEBLOB, SET_DATAFD)] + [0x80010000, 0xFFFFFFFF]
    null, (near, far) = os.open("/dev/null", os.O_RDWR), socket.socketpair()
    for _ in range(600):
        fds = RANDOM.choices((null, near.fileno(), far.fileno()), k=RANDOM.choice((0, 0, 1, 2, 9)))
        control.exchange(words(RANDOM.choice(commands)) + RANDOM.randbytes(RANDOM.choice((0, 1, 4, 12, 16, 64, 4000))), fds)
        control.exchange(RANDOM.randbytes(RANDOM.choice((1, 2, 3))))
    for fd in (near, far):
        fd.close()
    os.close(null)


def noise(path):
    control = Control(path)
    data = control.power_on()
    noise_on_data(control, data)
    noise_on_control(control)
    restart(control, data)
    works_on(data, 0)
    data.close()
    data = control.data()  # no descriptor that came was kept: there is room for this one
    restart(control, data)
    control.send(RANDOM.randbytes(200000)[:150000])  # and gone, with most of it not yet read
    control.close()
    control = Control(path)
    works_on(control.power_on(), 0)
    control.close()


# --- data channels ---

def datafd(path):
    control = Control(path)
    null, (one, other) = os.open("/dev/null", os.O_RDWR), socket.socketpair()
    need(BAD_PARAMETER, control.call(SET_DATAFD), "without a descriptor")
    need(BAD_PARAMETER, control.call(SET_DATAFD, fds=[null]), "with a file")
    need(BAD_PARAMETER, control.call(SET_DATAFD, fds=os.pipe()), "with a pipe")
    data = control.power_on()
    need(IOERROR, control.call(SET_DATAFD, fds=[other.fileno()]), "a second one")
    need(IOERROR, control.call(SET_DATAFD, fds=[other.fileno(), one.fileno()]), "two more")
    other.close()
    need(b"", one.recv(1), "the end of the second one")  # closed, not kept
    works_on(data, 0)
    data.close()
    restart(control, control.data())  # the first has ended: now there may be another


# --- half a request, and the end ---

def half(path):
    control = Control(path)
    data = control.power_on()
    data.send(GET_RANDOM[:7])
    control.send(words(INIT)[:3])
    need(BAD_PARAMETER, control.result(), "three bytes")
    need(COMMAND_SIZE, code_of(data.answer()), "seven bytes")
    works_on(data, 0)
    need(SUCCESS, control.call(STOP), "STOP")
    control.send(words(SET_STATEBLOB, 0, PERMANENT, 1000) + bytes(500))
    data.send(GET_RANDOM[:7])
    need(COMMAND_SIZE, code_of(data.answer()), "seven bytes beside half a blob")
    need(FAILURE, data.code(GET_RANDOM), "a command of a stopped TPM")
    data.send(GET_RANDOM[:7])
    control.close()
    control = Control(path)  # waits until that one is off
    works_on(control.power_on(), 0)


# --- cancel ---

def cancel(path):
    control = Control(path)
    data = control.power_on()
    cancelled = 0
    for number in range(TRIES):
        data.send(rsa_key(RANDOM.randrange(1 << 32)))
        need(SUCCESS, control.call(CANCEL_TPM_CMD), "CANCEL_TPM_CMD")
        response = data.answer()
        if code_of(response) == CANCELED:
            cancelled += 1
        else:
            need(SUCCESS, code_of(response), "a key that was there before")
            data.must(flush(response[10:14]))
        need(SUCCESS, data.code(GET_RANDOM), "GetRandom behind it")
        if cancelled == 5:
            break
    need(5, cancelled, "keys cancelled")
    for _ in range(50):
        need(SUCCESS, control.call(CANCEL_TPM_CMD), "CANCEL_TPM_CMD of nothing")
    works_on(data, 0)
    # What ends the TPM's life does not wait for a key, either.
    data.send(rsa_key(RANDOM.randrange(1 << 32)))
    restart(control, data)
    works_on(data, 0)


# --- killed ---

def make(path):
    control = Control(path)
    data = control.power_on()
    need(RETRY, data.code(GUARDED_WRITE), "a guarded one that is the first")  # it is noted that there was one
    data.must(GUARDED_WRITE)
    data.send(rsa_key(RANDOM.randrange(1 << 32)))
    print("begun", flush=True)
    while True:
        data.answer()
        data.send(rsa_key(RANDOM.randrange(1 << 32)))


def count(path):
    control = Control(path)
    data = control.power_on()
    number = read(data)
    while True:
        number += 1
        need(SUCCESS, write(data, number), "NV_Write")
        print(number, flush=True)


def kept(path, number):
    control = Control(path)
    data = control.power_on()
    got = read(data)
    if not int(number) <= got <= int(number) + 1:
        sys.exit("the index has %d; acknowledged was %s" % (got, number))
    need(SUCCESS, write(data, 0), "NV_Write")
    control.close()


# --- a full disk ---

def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            need(errno.ENOSPC, error.errno, "filling the disk")


def full(path, directory):
    control = Control(path)
    data = control.power_on()
    filler, number, code = directory + "/fill", 0, SUCCESS
    fill(filler)
    while code == SUCCESS and number < 5000:
        number += 1
        code = write(data, number)
    need(NV_UNAVAILABLE, code, "NV_Write on a full disk")
    need(SUCCESS, data.code(GET_RANDOM), "GetRandom on a full disk")
    need(NV_UNAVAILABLE, data.code(NV_READ), "an authorisation that could not be recorded")
    need(IOERROR, control.get_blob(PERMANENT)[0], "saving what is not stored")
    need(IOERROR, control.call(STORE_VOLATILE), "keeping what is not stored")
    os.unlink(filler)
    if not number - 1 <= read(data) <= number:  # the first that needs it finds out that there is room again
        sys.exit("after it the index has %d; %d was acknowledged" % (read(data), number - 1))
    need(SUCCESS, write(data, 0), "NV_Write with room again")
    works_on(data, 0)
    need(SUCCESS, control.get_blob(PERMANENT)[0], "saving")


# --- sockets that linger ---

def leave_one(listener, target):
    """
    Sends a TCP socket with data that nobody reads: whoever lets go of the last of it waits, as it says, for 1000 seconds.
    But not a process that ends, as this one does.
    """
    if os.fork():
        os.wait()
        return
    lingering = socket.create_connection(listener.getsockname())
    lingering.setblocking(False)
    try:
        while True:
            lingering.send(bytes(65536))
    except BlockingIOError:
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if target.endswith(".ring") else socket.SOCK_STREAM)
    try:
        stranger.connect(target)
        stranger.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lingering.fileno()]))])
    except OSError:
        pass  # it was hung up on before
    os._exit(0)


def linger(path, *others):
    """Leaves some with the manager, at sockets that are in use: it refuses the connection, and what came over it with it."""
    control = Control(path)
    data = control.power_on()
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    for _ in range(20):
        for target in (path,) + others:
            leave_one(listener, target)
    need(SUCCESS, write(data, 1), "NV_Write")  # it needs the manager
    need(SUCCESS, write(data, 0), "NV_Write")
    works_on(data, 0)


# --- saved states ---

def damaged(blob):
    """A bit of each byte of header and tag, and of some between; then lengths."""
    places = list(range(HEADER)) + list(range(HEADER, len(blob) - TAG, 311)) + list(range(len(blob) - TAG, len(blob)))
    for place in places:
        yield "byte %d" % place, blob[:place] + bytes([blob[place] ^ 1 << RANDOM.randrange(8)]) + blob[place + 1:]
    for length in (0, 1, 4, HEADER - 1, HEADER, HEADER + TAG - 1, HEADER + TAG, HEADER + TAG + 1, len(blob) // 2, len(blob) - 1):
        yield "the first %d bytes" % length, blob[:length]
    yield "a byte too many", blob + b"\0"
    yield "all that may be sent", blob + bytes(BLOB_MAX - len(blob))
    yield "zeros", bytes(len(blob))
    yield "twice", (blob + blob)[:BLOB_MAX]


def refuse_all(control, kind, blobs):
    for name, blob in blobs:
        need(FAIL, control.set_blob(kind, blob), "blob %d, %s" % (kind, name))


def save(path):
    control = Control(path)
    control.power_on()
    (one, permanent), (other, volatile) = control.get_blob(PERMANENT), control.get_blob(VOLATILE)
    need((SUCCESS, SUCCESS), (one, other), "GET_STATEBLOB")
    control.close()
    return permanent, volatile


def blobs(path, foreign_path):
    foreign = save(foreign_path)
    control = Control(path)
    data = control.power_on()
    data.must(PCR_EXTEND)
    pcr = data.must(PCR_READ)
    permanent, volatile = control.get_blob(PERMANENT)[1], control.get_blob(VOLATILE)[1]
    need(SUCCESS, control.call(STOP), "STOP")
    refuse_all(control, VOLATILE, [("without the permanent one", volatile)])
    refuse_all(control, PERMANENT, list(damaged(permanent)) + [("foreign", foreign[0]), ("volatile", volatile)])
    refuse_all(control, VOLATILE, [("after all that", volatile)])
    need(SUCCESS, control.set_blob(PERMANENT, permanent), "the permanent state")
    refuse_all(control, VOLATILE, list(damaged(volatile)) + [("foreign", foreign[1]), ("permanent", permanent)])
    need(SUCCESS, control.set_blob(VOLATILE, volatile), "the volatile state")
    need(SUCCESS, control.call(INIT, 1), "INIT")
    need(pcr, data.must(PCR_READ), "the PCR after it")  # neither was spoilt by what was refused
    need(SUCCESS, control.call(STOP), "STOP")
    need(SUCCESS, control.set_blob(PERMANENT, permanent), "the same again")
    need(FAIL, control.call(INIT, 1), "INIT with what is of the past")
    need(SUCCESS, control.call(INIT, 0), "INIT")
    need(INITIALIZE, data.code(GET_RANDOM), "a TPM that was reset")
    data.must(STARTUP)
    works_on(data, 0)
    # More than any state: nobody waits for its end. The next connection finds all as it was.
    for length in (BLOB_MAX + 1, 0xFFFFFFFF):
        need(SUCCESS, control.call(STOP), "STOP")
        control.send(words(SET_STATEBLOB, 0, PERMANENT, length))
        try:
            need("hung up", control.result(), "%d bytes announced" % length)
        except Gone:
            pass
        control = Control(path)
        works_on(control.power_on(), 0)


FAULTS = {f.__name__: f for f in (prepare, noise, datafd, half, cancel, make, count, kept, full, linger, blobs)}
if len(sys.argv) < 3 or sys.argv[2] not in FAULTS:
    sys.exit(__doc__)
FAULTS[sys.argv[2]](sys.argv[1], *sys.argv[3:])
