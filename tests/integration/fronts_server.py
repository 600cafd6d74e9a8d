#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Clients of a swtpm socket --server, good and bad, on PATH and its control socket PATH.ctrl. The TPM must be started.

Usage: fronts_server.py PATH ATTEMPT     exit 0: what had to happen did. Of each attempt the next client is served.
       fronts_server.py --listen PATH COMMAND…     executes COMMAND with a listening socket as descriptor 9
"""
import os
import select
import signal
import socket
import struct
import sys

GET_RANDOM = bytes.fromhex("80010000000c0000017b0008")
# TPM2_CreatePrimary in the null hierarchy, RSA-2048 to sign: nobody knows how long that takes
CREATE = bytes.fromhex("800200000047" "00000131" "40000007" "00000009" "40000009" "0000000000" "0004" "00000000"
                       "001a" "0001" "000b" "00040072" "0000" "0010" "0010" "0800" "00000000" "0000" "0000" "00000000")
GET_CONFIG, GET_STATEBLOB, SET_STATEBLOB, SET_DATAFD = 0x0F, 0x0C, 0x0D, 0x10


def dial(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)  # waits for its place in the queue, which a socket with a timeout does not
    s.settimeout(120)
    return s


def receive(s):
    head = s.recv(10, socket.MSG_WAITALL)
    assert len(head) == 10, "it hung up: %r" % head
    size = struct.unpack(">I", head[2:6])[0]
    return head + (s.recv(size - 10, socket.MSG_WAITALL) if size > 10 else b"")


def run(s, command=GET_RANDOM, rc=0):
    s.sendall(command)
    answer = receive(s)
    got = struct.unpack(">I", answer[6:10])[0]
    assert got == rc, "answered 0x%x" % got


def ended(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


def silent(s):
    return not select.select([s], [], [], 0)[0]


def word(s, *words):
    s.sendall(struct.pack(">%dI" % len(words), *words))
    return struct.unpack(">I", s.recv(4096)[:4])[0]


def in_turns(path):
    one = dial(path)
    run(one)
    two = dial(path)
    two.sendall(GET_RANDOM)
    for _ in range(20):
        run(one)
        assert silent(two), "the second is served beside the first"
    one.close()
    receive(two)
    run(two)


def half(path):
    for n in (1, 6, 10, 11):
        s = dial(path)
        s.sendall(GET_RANDOM[:n])
        s.close()


def vanish(path):
    for _ in range(20):
        s = dial(path)
        s.sendall(GET_RANDOM)
        s.close()
    s = dial(path)
    s.sendall(CREATE)
    s.close()


def create(path):
    run(dial(path), CREATE)


def come_and_go(path):
    for _ in range(100):
        dial(path).close()


def garbage(path):
    for noise in (b"\xff" * 10, b"\0" * 4096, os.urandom(70000), b"GET / HTTP/1.0\r\n\r\n"):
        s = dial(path)
        s.setblocking(False)
        try:
            s.send(noise)
        except (BrokenPipeError, ConnectionResetError):
            pass
        s.close()


def once(path):
    for _ in range(3):
        s = dial(path)
        run(s)
        assert ended(s), "it goes on"


def sends_no_more(path):
    s = dial(path)
    s.sendall(GET_RANDOM)
    s.shutdown(socket.SHUT_WR)
    receive(s)
    assert ended(s)


def beside(path):
    """A client of the control socket and one of the data socket, both for long; a second one of the former waits."""
    data, control = dial(path), dial(path + ".ctrl")
    for _ in range(20):
        run(data)
        assert word(control, GET_CONFIG) == 0
    second = dial(path + ".ctrl")
    second.sendall(struct.pack(">I", GET_CONFIG))
    for _ in range(20):
        run(data)
        assert word(control, GET_CONFIG) == 0
        assert silent(second), "two at a time"
    control.close()
    assert len(second.recv(4096)) == 8
    run(data)


def stray(path):
    """Requests that are none, halves, and clients that do not wait for the reply."""
    for request in (b"\0", b"\0\0\0\0", b"\xff" * 4, b"\0\0\0\2\0", os.urandom(3000)):
        s = dial(path + ".ctrl")
        s.sendall(request)
        s.close()
    run(dial(path))
    assert word(dial(path + ".ctrl"), GET_CONFIG) == 0


def not_for_ctrl(path):
    """What belongs to QEMU, or to --server."""
    s = dial(path + ".ctrl")
    assert word(s, GET_STATEBLOB, 0, 1, 0) == 0x0A
    one, other = socket.socketpair()
    socket.send_fds(s, [struct.pack(">I", SET_DATAFD)], [one.fileno()])
    assert struct.unpack(">I", s.recv(4)) == (0x0A,)
    one.close()
    assert ended(other), "somebody kept it"
    assert word(s, GET_CONFIG) == 0
    assert word(s, SET_STATEBLOB, 0, 1, 4) == 0x0A
    assert ended(s), "what follows a blob's head could be taken for requests"


def floods(path):
    """Both sockets at once, for as long as it takes that each is served fifty times more."""
    for _ in range(50):
        a, b = dial(path), dial(path + ".ctrl")
        b.sendall(struct.pack(">I", GET_CONFIG))
        run(a)
        a.close()
        assert len(b.recv(4096)) == 8
        b.close()


def deaf(path):
    """One that never reads is sent away once its answers have nowhere to go; the next is served."""
    s = dial(path)
    try:
        while True:
            s.sendall(GET_RANDOM)
    except (BrokenPipeError, ConnectionResetError):
        pass


def deaf_at_ctrl(path):
    s = dial(path + ".ctrl")
    try:
        while True:
            s.sendall(struct.pack(">I", GET_CONFIG))
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert word(dial(path + ".ctrl"), GET_CONFIG) == 0


def front_asleep(path):
    """The front has no part in what a client says: it is stopped meanwhile. Its pid is in the environment."""
    s = dial(path)
    run(s)
    pid = int(os.environ["FRONT"])
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(20):
            run(s)
    finally:
        os.kill(pid, signal.SIGCONT)


def at_work(path):
    """Leaves the TPM at a command."""
    s = dial(path)
    run(s)
    s.sendall(CREATE)
    os._exit(0)


def listen(path, command):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(8)
    os.dup2(s.fileno(), 9, inheritable=True)
    os.execv(command[0], command)


if sys.argv[1] == "--listen":
    listen(sys.argv[2], sys.argv[3:])
globals()[sys.argv[2]](sys.argv[1])
run(dial(sys.argv[1]))
