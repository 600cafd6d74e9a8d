# SPDX-License-Identifier: BSD-2-Clause
# Runs a command on a terminal of its own and types argv 1 whenever it asks for a passphrase; its other output goes to standard output.
import os
import pty
import re
import sys

secret = sys.argv[1].encode() + b"\n"
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
tail = b""
while True:
    try:
        data = os.read(terminal, 4096)
    except OSError:  # Linux says EIO when the other end has gone
        break
    if not data:
        break
    tail += data
    if re.search(rb"pass ?phrase[^\n]*: ?$", tail, re.I):
        os.write(terminal, secret)
        tail = b""
    elif b"\n" in tail:
        lines, tail = tail.rsplit(b"\n", 1)
        sys.stdout.buffer.write(lines + b"\n")
sys.stdout.buffer.write(tail)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
