# SPDX-License-Identifier: BSD-2-Clause
"""Plays QEMU 7.2 and its guest on both channels of a vTPM, step by step, for tests that need several at once."""
import os
import socket

from ptm import (GET_RANDOM, INIT, LOCK_STORAGE, NV_DEFINE, PCR_EXTEND, PCR_READ, PERMANENT, READ_CLOCK, SET_BUFFERSIZE,
                 SET_DATAFD, SHUTDOWN, STARTUP, STOP, VOLATILE, Control, Data, Gone, code_of, words)

FAILURE = 0x101


class Qemu:
    def __init__(self, path):
        self.control = Control(path)
        self.data = None
        self.data_inode = None  # of the end that was handed over

    # --- what QEMU does; results are those of swtpm ---

    def call(self, *values):
        return self.control.call(*values)

    def arrive(self):
        """What it does before it knows whether a state comes. Whether its probe is answered as by a TPM that is off."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control.call(SET_DATAFD, fds=[theirs.fileno()])
        self.data_inode = os.fstat(theirs.fileno()).st_ino
        theirs.close()
        self.data = Data(ours)
        probe = self.run(READ_CLOCK)
        for size in 0, 0xF80:
            self.call(STOP)
            self.control.exchange(words(SET_BUFFERSIZE, size))
        return probe == FAILURE

    def init(self, flags=0):
        return self.call(INIT, flags)

    def boot(self):
        self.arrive()
        return self.init() or self.run(STARTUP)

    def backend(self):
        """The process at the other end of the data channel: only the backend has it."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                for fd in os.listdir("/proc/%s/fd" % pid):
                    if os.readlink("/proc/%s/fd/%s" % (pid, fd)) == "socket:[%d]" % self.data_inode:
                        return int(pid)
            except OSError:
                continue
        return None

    def save(self):
        """Both blobs."""
        results, blobs = zip(*(self.control.get_blob(kind) for kind in (PERMANENT, VOLATILE)))
        if any(results):
            raise ValueError("GET_STATEBLOB is answered with %s" % (results,))
        return blobs

    def bring(self, blobs):
        """The results of both SET_STATEBLOB."""
        self.call(STOP)
        return [self.control.set_blob(kind, blob) for kind, blob in zip((PERMANENT, VOLATILE), blobs)]

    def resume(self):
        return self.init(1)

    def go_on(self):
        """Its machine runs again after a save."""
        return self.call(LOCK_STORAGE, 300)

    def reset(self):
        self.call(STOP)
        return self.init()

    def shutdown(self):
        return self.call(SHUTDOWN)

    def hang_up(self):
        self.control.close()
        if self.data:
            self.data.close()

    # --- what its guest does; results are response codes ---

    def respond(self, request):
        try:
            return self.data.run(request)
        except OSError as error:
            raise Gone(str(error)) from error

    def run(self, request):
        return code_of(self.respond(request))

    def random(self):
        return self.run(GET_RANDOM)

    def extend(self):
        return self.run(PCR_EXTEND)

    def pcr(self):
        return self.respond(PCR_READ)[-32:]

    def define(self):
        """An NV index, which must not be there yet."""
        return self.run(NV_DEFINE)
