#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The same bytes to ours and to swtpm, over both channels: the same answers, but for the differences that are meant.

Usage: ptm_same.py OURS SWTPM      control sockets of two TPMs that are off; "ok NAME" or "not ok NAME" a line
"""
import os
import struct
import sys

from ptm import *  # the commands, all of them

HUNG_UP = "hung up"


class Peer:
    def __init__(self, path):
        self.path = path
        self.connect()

    def connect(self):
        self.control = Control(self.path)
        self.channel = None

    def ask(self, request, fds=()):
        try:
            return self.control.exchange(request, fds)
        except Gone:
            self.connect()
            return HUNG_UP


    def at_end(self):
        try:
            return self.control.some(1).hex()
        except Gone:
            return HUNG_UP


def shown(value):
    return value if isinstance(value, str) else value[:64].hex() + ("…" if len(value) > 64 else "")


def report(name, good, ours, theirs):
    print(("ok " if good else "not ok ") + name)
    if not good:
        print("    ours %s, swtpm %s" % (shown(ours), shown(theirs)))


class Comparison:
    def __init__(self, ours, theirs):
        self.peers = [Peer(ours), Peer(theirs)]

    def both(self, request, fds=()):
        return [peer.ask(request, fds) for peer in self.peers]

    def same(self, name, request, fds=(), look=lambda reply: reply):
        """look: what of a reply must be equal."""
        ours, theirs = self.both(request, fds)
        report(name, look(ours) == look(theirs), ours, theirs)

    def differ(self, name, request, ours_wanted, theirs_wanted):
        """A difference that is meant: each has its own answer, and one that goes away is noticed."""
        ours, theirs = self.both(request)
        report(name, (ours, theirs) == (ours_wanted, theirs_wanted), ours, theirs)

    def hang_up(self):
        for peer in self.peers:
            peer.control.close()
            peer.connect()

    def shutdown(self):
        """Answered, and then the end."""
        ours, theirs = [[peer.control.call(SHUTDOWN), peer.at_end()] for peer in self.peers]
        report("shutdown", ours == theirs == [SUCCESS, HUNG_UP], str(ours), str(theirs))

    def data(self, name, request, look=lambda response: response):
        ours, theirs = [peer.channel.run(request) for peer in self.peers]
        report(name, look(ours) == look(theirs), ours, theirs)


def u8(value):
    return bytes([value, 0, 0, 0])  # padded, as QEMU sends it


def info(flags, offset=0):
    return words(GET_INFO) + struct.pack(">QII", flags, offset, 0)


def sizes(now):
    return words(SUCCESS, now, 2808, 4088), words(SUCCESS, now, 2808, 4096)


def head_of_blob(reply):
    """Blobs themselves are each one's own: result, flags, and that both lengths are what follows."""
    result, flags, total, length = struct.unpack(">IIII", reply[:16])
    return result, flags, total == length == len(reply) - 16, length > 0


def while_off(c):
    # swtpm announces a header before TPM commands, which only its TCP socket has, and in 0.7 has no LOCK_STORAGE.
    report("capabilities", [p.control.capabilities for p in c.peers] == [words(0, 0x17FFF), words(0, 0xFFFF)],
           *[p.control.capabilities for p in c.peers])
    for cmd in (0, 0x14, 0x80010000, 0xFFFFFFFF):
        c.same("unknown_%x" % cmd, words(cmd))
    for cmd in (GET_TPMESTABLISHED, HASH_START, HASH_END, STORE_VOLATILE):
        c.same("off_%x" % cmd, words(cmd))
    c.same("off_hash_data", words(HASH_DATA, 0))
    c.same("off_reset_established", words(RESET_TPMESTABLISHED) + u8(3))
    c.same("off_get_blob", words(GET_STATEBLOB, 0, PERMANENT, 0))
    for locality in (0, 1, 4, 5, 255):
        c.same("locality_%d" % locality, words(SET_LOCALITY) + u8(locality))
    c.same("locality_unpadded", words(SET_LOCALITY) + b"\0")
    c.same("config", words(GET_CONFIG))
    for flags in (0, 1, 2, 4, 7, 8, 0xFFFF, 1 << 32):
        c.same("info_%x" % flags, info(flags))
    c.same("info_from_20", info(1, 20))
    c.same("info_from_its_end", info(1, 63))
    c.same("info_beyond", info(1, 99999))
    c.same("info_short", words(GET_INFO, 0, 1))
    c.same("datafd_without_one", words(SET_DATAFD))
    c.same("set_blob_of_no_type", words(SET_STATEBLOB, 0, 4, 4) + b"blob")
    c.same("set_blob_of_tpm_1_2", words(SET_STATEBLOB, 0, SAVESTATE, 4) + b"blob")
    c.same("stop", words(STOP))
    # What is advertised fits the ring's page, too.
    c.differ("size_asked", words(SET_BUFFERSIZE, 0), words(SUCCESS, 4088, 2808, 4088), sizes(4096)[1])
    c.differ("size_too_large", words(SET_BUFFERSIZE, 9999), words(SUCCESS, 4088, 2808, 4088), sizes(4096)[1])
    c.differ("size_too_small", words(SET_BUFFERSIZE, 1), *sizes(2808))
    c.differ("size_of_qemu", words(SET_BUFFERSIZE, 0xF80), *sizes(0xF80))
    c.same("size_short", words(SET_BUFFERSIZE))
    # One that has nothing to cancel is no error for us: it came too late.
    c.differ("off_cancel", words(CANCEL_TPM_CMD), words(SUCCESS), words(BAD_ORDINAL))
    c.differ("lock", words(LOCK_STORAGE, 0), words(SUCCESS), words(BAD_ORDINAL))
    c.differ("lock_short", words(LOCK_STORAGE), words(BAD_PARAMETER), words(BAD_ORDINAL))


def over_data(c):
    for peer in c.peers:
        peer.channel = peer.control.data()
    c.data("off_read_clock", READ_CLOCK)
    c.same("datafd_second", words(SET_DATAFD), fds=[0])
    c.same("init", words(INIT, 0))
    c.data("not_started", READ_CLOCK)
    c.data("startup", STARTUP)
    c.data("startup_again", STARTUP)
    c.data("pcr_extend", PCR_EXTEND)
    c.data("pcr_read", PCR_READ)
    c.data("no_such_command", command(0x8001, "00000999"))
    c.data("tpm_1_2", command(0x00C1, "00000065" "00000005" "00000004" "00000103"))
    c.same("stop_with_data", words(STOP))
    c.data("stopped_read_clock", READ_CLOCK)
    c.same("init_after_stop", words(INIT, 0))
    c.data("startup_after_reset", STARTUP)
    c.data("pcr_was_reset", PCR_READ)


def while_on(c):
    c.same("init_of_a_running_one", words(INIT, 0))
    c.data("which_is_a_reset", READ_CLOCK)
    c.data("startup_after_init", STARTUP)
    c.same("established", words(GET_TPMESTABLISHED))
    for locality in (0, 1, 2, 5):
        c.same("reset_established_%d" % locality, words(RESET_TPMESTABLISHED) + u8(locality))
    c.same("hash_start", words(HASH_START))
    c.same("hash_data", words(HASH_DATA, 4) + b"abcd")
    c.same("hash_end", words(HASH_END))
    c.same("is_established", words(GET_TPMESTABLISHED))
    # But for the update counter: without swtpm_setup swtpm has more banks, and counts a reset of each.
    c.data("pcr_17", command(0x8001, "0000017e" "00000001" "000b" "03" "000002"), look=lambda response: response[14:])
    c.same("reset_established", words(RESET_TPMESTABLISHED) + u8(3))
    c.same("is_not_established", words(GET_TPMESTABLISHED))
    c.same("on_size", words(SET_BUFFERSIZE, 4000))
    c.same("on_cancel", words(CANCEL_TPM_CMD))
    c.same("on_set_blob", words(SET_STATEBLOB, 0, PERMANENT, 0))
    c.same("store_volatile", words(STORE_VOLATILE))
    for kind in (PERMANENT, VOLATILE):
        c.same("blob_%d" % kind, words(GET_STATEBLOB, 0, kind, 0), look=head_of_blob)
    c.same("blob_flags", words(GET_STATEBLOB, 9, PERMANENT, 0), look=head_of_blob)
    c.same("blob_of_tpm_1_2", words(GET_STATEBLOB, 0, SAVESTATE, 0))
    c.same("blob_of_no_type", words(GET_STATEBLOB, 0, 4, 0))


def nonsense(c):
    """Where swtpm gives up, we answer."""
    for name, request in (("stray", b"\0\0\0"), ("init", words(INIT)), ("init_in_part", words(INIT) + b"\0\0"),
                          ("locality", words(SET_LOCALITY)), ("set_blob", words(SET_STATEBLOB, 0))):
        c.differ("short_" + name, request, words(BAD_PARAMETER), HUNG_UP)
    c.differ("blob_in_pieces", words(GET_STATEBLOB, 0, PERMANENT, 1 << 20), words(BAD_PARAMETER, 0, 0, 0), words(0, 0, 0, 0))
    for name, request in (("reset_established", words(RESET_TPMESTABLISHED)), ("hash_data", words(HASH_DATA)),
                          ("get_blob", words(GET_STATEBLOB, 0, 1))):
        c.differ("short_" + name, request, words(BAD_PARAMETER), HUNG_UP)
    # Where a length is beyond all states, the end of its data cannot be waited for: both hang up.
    c.same("stopped", words(STOP))
    c.same("endless_blob", words(SET_STATEBLOB, 0, PERMANENT, 0xFFFFFFFF))


def main():
    c = Comparison(*sys.argv[1:])
    while_off(c)
    over_data(c)
    while_on(c)
    nonsense(c)
    c.hang_up()
    c.shutdown()


os.environ["LC_ALL"] = "C"
main()
