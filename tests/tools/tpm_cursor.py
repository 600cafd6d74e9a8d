# SPDX-License-Identifier: BSD-2-Clause
"""Reads what a TPM marshals (big-endian, TPM 2.0 Part 2), and fails where it is cut off."""
import struct


class Cursor:
    def __init__(self, data):
        self.data = data

    def take(self, n):
        out, self.data = self.data[:n], self.data[n:]
        assert len(out) == n, "it is cut off"
        return out

    def number(self, fmt):
        return struct.unpack(">" + fmt, self.take(struct.calcsize(">" + fmt)))[0]

    def sized(self):
        return self.take(self.number("H"))
