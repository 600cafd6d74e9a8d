#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# A front that says what it should not, on a manager's swtpm.sock. After each attempt an orderly client must be served.
# Usage: fronts.py RUNTIME_DIR ATTEMPT       exit 0: what had to happen did
import array
import os
import socket
import struct
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
from stuck_file import StuckFile  # noqa: E402

SETUP, MADE, KEPT, CLAIM, READY, CONNECT, OFF, REFUSED = range(0x46520001, 0x46520009)
path = os.path.join(sys.argv[1], "swtpm.sock")


def var(b):
    return struct.pack("<I", len(b)) + b


def dial():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(60)
    s.connect(path)
    return s


def say(s, kind, body=b"", fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    s.sendmsg([struct.pack("<I", kind) + body], rights)


def hear(s):
    """type and body; None: it has hung up"""
    try:
        b = s.recv(4096)
    except ConnectionResetError:
        return None, b""
    return (struct.unpack("<I", b[:4])[0], b[4:]) if b else (None, b"")


def text(body):
    """of OFF and REFUSED: code, sentence"""
    code, n = struct.unpack("<iI", body[:8])
    assert len(body) == 8 + n
    return code, body[8:].decode()


def setup(name=b"m", machine=bytes(16)):
    s = dial()
    say(s, SETUP, machine + var(name))
    kind, body = hear(s)
    assert kind == MADE, (kind, body)
    return s, body[:16], body[16:48]


def kept(name=b"m", machine=bytes(16)):
    s, who, token = setup(name, machine)
    say(s, KEPT)
    assert hear(s)[0] == READY
    assert hear(s)[0] is None
    return who, token


def claim(who, token):
    s = dial()
    say(s, CLAIM, who + token)
    return s, *hear(s)


def orderly():
    s, kind, body = claim(uuid.uuid4().bytes, bytes(32))
    assert kind == REFUSED and "no TPM was set up with that token" in text(body)[1], (kind, body)
    assert hear(s)[0] is None


def dropped(*messages):
    """said to a new connection, each; the last ends it without an answer"""
    s = dial()
    for m in messages:
        s.sendmsg(*m) if isinstance(m, tuple) else s.send(m)
    assert hear(s)[0] is None, messages


def ancillary(kind, body, fds):
    return [struct.pack("<I", kind) + body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]


def head(kind, body=b""):
    return struct.pack("<I", kind) + body


# --- attempts ---

def garbage():
    for m in (b"\0", b"\1\2\3", os.urandom(4), os.urandom(64), os.urandom(4096), head(0), head(0xffffffff), b"\xff" * 8):
        dropped(m)
        orderly()


def bad_bodies():
    for m in (head(SETUP), head(SETUP, bytes(16)), head(SETUP, bytes(16) + struct.pack("<I", 5) + b"abcd"),
              head(SETUP, bytes(16) + struct.pack("<I", 0xffffffff)), head(SETUP, bytes(16) + var(b"n" * 256)),
              head(SETUP, bytes(16) + var(b"a\0b")), head(SETUP, bytes(16) + var(b"ab") + b"c"),
              head(CLAIM), head(CLAIM, bytes(47)), head(CLAIM, bytes(49))):
        dropped(m)
        orderly()


def wrong_state():
    r, w = os.pipe()
    for m in (head(KEPT), head(MADE, bytes(60)), head(READY, var(b"x")), head(OFF, bytes(8)), head(REFUSED, bytes(8)),
              head(CONNECT), ancillary(CONNECT, b"", [r])):
        dropped(m)
        orderly()
    who, token = kept()
    for m in (head(CLAIM, who + token), head(SETUP, bytes(16) + var(b"m")), head(KEPT)):
        s, kind, _ = claim(who, token)
        assert kind == READY
        s.send(m)
        assert hear(s)[0] is None
        orderly()


def descriptors():
    r, w = os.pipe()
    dropped(ancillary(SETUP, bytes(16) + var(b"m"), [r]))
    dropped(ancillary(CLAIM, bytes(48), [r]))
    who, token = kept()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("\0fronts.%d" % os.getpid())
    listener.listen()
    datagrams = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    records = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    streams = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    inet = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with open("/proc/self/status") as plain:
        for fds in ([], [r], [plain.fileno()], [listener.fileno()], [socket.socket(socket.AF_UNIX).fileno()],
                    [datagrams[0].fileno()], [records[0].fileno()], [inet.fileno()],
                    [s.fileno() for s in streams], [r] * 6, [r] * 7, [r] * 200):
            s, kind, _ = claim(who, token)
            assert kind == READY
            try:
                say(s, CONNECT, b"", fds)
            except OSError:  # a descriptor that is closed already; the kernel does not take it
                s.close()
                continue
            assert hear(s)[0] is None, fds
            orderly()


def stuck_file():
    """who has shown no token cannot have the manager close a file that does not let itself be closed"""
    stuck = StuckFile(os.path.join(os.path.dirname(sys.argv[1]), "stuck"))
    try:
        for kind, body in ((0, b""), (SETUP, bytes(16) + var(b"m")), (CLAIM, bytes(48)), (CONNECT, b"")):
            dropped(ancillary(kind, body, [stuck.fd]))
            orderly()
    finally:
        stuck.release()


def crowd():
    """who has one token cannot take what there is for all"""
    a, token_a = kept(b"a")
    b, token_b = kept(b"b")
    fronts = []
    for _ in range(100):
        s, kind, body = claim(a, token_a)
        fronts.append(s)
        if kind != READY:
            break
    assert kind == REFUSED and "served" in text(body)[1], (kind, body)
    assert claim(b, token_b)[1] == READY
    fronts[0].close()
    for _ in range(100):  # that it has gone, and that another comes, are two events
        if claim(a, token_a)[1] == READY:
            return
    raise AssertionError("one that goes does not make room")


def undone():
    """who goes before it has kept the token leaves nothing behind"""
    s = dial()
    say(s, SETUP, bytes(16) + var(b"undone-1"))
    s.close()
    s, _, _ = setup(b"undone-2")
    s.close()
    orderly()


def tokens():
    a, token_a = kept(b"a")
    b, token_b = kept(b"b")
    for who, token in ((a, token_b), (b, token_a), (a, bytes(32)), (a, token_a[:31] + bytes([token_a[31] ^ 1]))):
        _, kind, body = claim(who, token)
        assert kind == REFUSED and text(body)[0] == -9, (kind, body)
    assert claim(a, token_a)[1] == READY


def on_and_off():
    who, token = kept(b"on")
    s, kind, _ = claim(who, token)
    assert kind == READY
    for _ in range(2):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        say(s, CONNECT, b"", [theirs.fileno()])
        theirs.close()
        ours.settimeout(60)
        ours.sendall(struct.pack(">I", 1))
        assert ours.recv(64) == struct.pack(">II", 0, 0x17fff)
        # another front, another QEMU: it waits, and a third is hung up on
        second, kind, _ = claim(who, token)
        assert kind == READY
        p, q = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        say(second, CONNECT, b"", [q.fileno()])
        q.close()
        p.settimeout(60)
        p.sendall(struct.pack(">II", 2, 0))
        assert p.recv(64) == struct.pack(">I", 9)
        third, kind, _ = claim(who, token)
        assert kind == READY
        x, y = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        say(third, CONNECT, b"", [y.fileno()])
        y.close()
        kind, body = hear(third)
        assert kind == OFF and "another waits" in text(body)[1], (kind, body)
        assert x.recv(4) == b""
        p.close()
        kind, body = hear(second)
        assert kind == OFF and "has its TPM" in text(body)[1], (kind, body)
        ours.close()
        kind, body = hear(s)
        assert kind == OFF and text(body) == (0, ""), (kind, body)
    # a front that goes leaves its QEMU alone
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    say(s, CONNECT, b"", [theirs.fileno()])
    theirs.close()
    s.close()
    ours.settimeout(60)
    ours.sendall(struct.pack(">I", 1))
    assert ours.recv(64) == struct.pack(">II", 0, 0x17fff)


def stranger():
    """a user without rights: told so, and kept from locking others out"""
    os.setgroups([])
    os.setgid(1)
    os.setuid(1)
    s = dial()
    say(s, SETUP, bytes(16) + var(b"m"))
    kind, body = hear(s)
    assert kind == REFUSED and "may not set up" in text(body)[1], (kind, body)
    crowd = [dial() for _ in range(40)]
    ended = 0
    for c in crowd:
        c.settimeout(0.01)
        try:
            ended += c.recv(4) == b""
        except (TimeoutError, ConnectionResetError) as e:
            ended += isinstance(e, ConnectionResetError)
    print("# %d of 40 hung up on" % ended)
    assert ended >= 20
    print("held", flush=True)
    sys.stdin.readline()


def names():
    """a machine may be called anything"""
    made = [b"web", b"web", b"../../etc/passwd", b"-x", b"damaged-row-1", b"", b"\xff\xfe", b"n" * 255, b"n" * 255]
    for name in made:
        kept(name)


globals()[sys.argv[2]]()
