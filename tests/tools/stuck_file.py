# SPDX-License-Identifier: BSD-2-Clause
"""A file on a file system of ours (FUSE) that does not answer when it is closed: whoever closes it waits, and cannot be killed."""
import ctypes
import os
import struct
import threading

GETATTR, OPEN, FLUSH, INIT, FORGET, INTERRUPT, BATCH_FORGET = 3, 14, 25, 26, 2, 36, 42
INFO = 0o100644


class StuckFile:
    """fd is the open file; release() lets those go who wait for its end. PermissionError: this host does not let us mount."""

    def __init__(self, path):
        open(path, "w").close()
        self.let_go, self.waiting, self.lock = False, [], threading.Lock()
        self.dev = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = b"fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other" % (self.dev, INFO)
        if ctypes.CDLL(None, use_errno=True).mount(b"stuck", path.encode(), b"fuse", 0, options):
            raise PermissionError(ctypes.get_errno(), "mount")
        self.path = path
        threading.Thread(target=self.serve, daemon=True).start()
        self.fd = os.open(path, os.O_RDONLY)

    def answer(self, unique, body=b"", error=0):
        os.write(self.dev, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)

    def flush(self, unique):
        with self.lock:
            if not self.let_go:
                self.waiting.append(unique)
                return
        self.answer(unique)

    def serve(self):
        while True:
            try:
                request = os.read(self.dev, 1 << 20)
            except OSError:
                return  # unmounted
            _, op, unique = struct.unpack("<IIQ", request[:16])
            if op == INIT:
                self.answer(unique, struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0, 0))
            elif op == GETATTR:
                self.answer(unique, struct.pack("<QII6Q10I", 1000, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, INFO, 1, 0, 0, 0, 4096, 0))
            elif op == OPEN:
                self.answer(unique, bytes(16))
            elif op == FLUSH:
                self.flush(unique)
            elif op not in (FORGET, INTERRUPT, BATCH_FORGET):
                self.answer(unique)

    def release(self):
        with self.lock:
            self.let_go, waiting = True, self.waiting
        for unique in waiting:
            self.answer(unique)
        os.close(self.fd)
        ctypes.CDLL(None).umount2(self.path.encode(), 2)  # MNT_DETACH
