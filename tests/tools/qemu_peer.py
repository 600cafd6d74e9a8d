# SPDX-License-Identifier: BSD-2-Clause
"""Plays QEMU on the control channel of a vTPM, as QEMU 7.2's tpm-emulator speaks it, for tests that need several at once."""
import array
import os
import socket
import struct

INIT, SHUTDOWN, SET_LOCALITY, STOP = 0x02, 0x03, 0x05, 0x0E
GET_STATEBLOB, SET_STATEBLOB, SET_DATAFD, SET_BUFFERSIZE, LOCK_STORAGE = 0x0C, 0x0D, 0x10, 0x11, 0x13
PERMANENT, VOLATILE = 1, 2
FAILURE = 0x101
ZERO = bytes(32)


class Gone(Exception):
    """The other side hung up."""


class Qemu:
    def __init__(self, path):
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(60)
        self.control.connect(path)
        self.data = None
        self.data_inode = None  # of the end that was handed over

    # --- channels ---

    def _receive(self, sock, n):
        got = b""
        while len(got) < n:
            try:
                piece = sock.recv(n - len(got))
            except ConnectionError as error:
                raise Gone() from error
            if not piece:
                raise Gone()
            got += piece
        return got

    def _send(self, sock, what):
        try:
            sock.sendall(what)
        except (BrokenPipeError, ConnectionError) as error:
            raise Gone() from error

    def ask(self, command, body=b"", reply=0):
        """The result, and reply bytes behind it if it is 0."""
        self._send(self.control, struct.pack(">I", command) + body)
        result = struct.unpack(">I", self._receive(self.control, 4))[0]
        return result, self._receive(self.control, reply) if reply and not result else b""

    def command(self, packet):
        self._send(self.data, packet)
        head = self._receive(self.data, 10)
        size = struct.unpack(">I", head[2:6])[0]
        return struct.unpack(">I", head[6:10])[0], self._receive(self.data, size - 10)

    # --- what QEMU does ---

    def arrive(self):
        """What it does before it knows whether a state comes. Its probe is answered as by a TPM that is off."""
        mine, theirs = socket.socketpair()
        mine.settimeout(60)
        self.control.sendmsg([struct.pack(">I", SET_DATAFD)],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        self.data_inode = os.fstat(theirs.fileno()).st_ino
        theirs.close()
        self._receive(self.control, 4)
        self.data = mine
        probe = self.command(bytes.fromhex("80010000000a00000181"))[0]
        for size in 0, 0xF80:
            self.ask(STOP)
            self.ask(SET_BUFFERSIZE, struct.pack(">I", size), 12)
        return probe == FAILURE

    def init(self, flags=0):
        return self.ask(INIT, struct.pack(">I", flags))[0]

    def boot(self):
        self.arrive()
        result = self.init()
        return result if result else self.command(bytes.fromhex("80010000000c000001440000"))[0]

    def save(self):
        blobs = []
        for kind in PERMANENT, VOLATILE:
            self._send(self.control, struct.pack(">IIII", GET_STATEBLOB, 1, kind, 0))
            result, _, total, length = struct.unpack(">IIII", self._receive(self.control, 16))
            blobs.append(self._receive(self.control, length))
            assert result == 0 and total == length, "GET_STATEBLOB: %#x" % result
        return blobs

    def bring(self, blobs):
        """The results of SET_STATEBLOB; head and body go apart."""
        self.ask(STOP)
        results = []
        for kind, blob in zip((PERMANENT, VOLATILE), blobs):
            self._send(self.control, struct.pack(">IIII", SET_STATEBLOB, 0, kind, len(blob)))
            results.append(self.ask_rest(blob))
        return results

    def ask_rest(self, blob):
        self._send(self.control, blob)
        return struct.unpack(">I", self._receive(self.control, 4))[0]

    def resume(self):
        return self.init(1)

    def go_on(self):
        return self.ask(LOCK_STORAGE, struct.pack(">I", 300))[0]

    def reset(self):
        self.ask(STOP)
        return self.init()

    def shutdown(self):
        self.ask(SHUTDOWN)

    def hang_up(self):
        self.control.close()
        if self.data:
            self.data.close()

    # --- what its guest does ---

    def random(self):
        return self.command(bytes.fromhex("80010000000c0000017b0008"))[0]

    def extend(self):
        """PCR 16, which is lost with the power."""
        return self.authorised(0x182, 0x10, bytes.fromhex("00000001000b") + b"\1" * 32)

    def authorised(self, code, handle, rest):
        """With an empty password."""
        body = struct.pack(">II", handle, 9) + bytes.fromhex("400000090000000000") + rest
        return self.command(struct.pack(">HII", 0x8002, 10 + len(body), code) + body)[0]

    def pcr16(self):
        code, body = self.command(bytes.fromhex("8001000000140000017e00000001000b03000001"))
        return body[-32:] if code == 0 else None

    def define(self):
        """An NV index, which is kept. 0x14c: it is there already."""
        return self.authorised(0x12A, 0x40000001, bytes.fromhex("0000000e01500021000b0004000400000004"))
