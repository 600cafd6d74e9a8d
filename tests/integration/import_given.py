# SPDX-License-Identifier: BSD-2-Clause
"""A client of the control socket that gives Import what one asks for, by name; prints the name of the vTPM that was made,
or the error's, or "closed". Usage: import_given.py SOCKET STATE-FILE KIND… [secret=WORD]"""
import fcntl
import json
import os
import socket
import sys

SEAL, SHRINK, GROW, WRITE, FUTURE_WRITE = 1, 2, 4, 8, 16


def memfd(data, seals, at=0):
    fd = os.memfd_create("given", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    os.lseek(fd, at, os.SEEK_SET)
    return fd


def sparse(size, seals):
    fd = os.memfd_create("given", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def make(kind, path):
    data = open(path, "rb").read()
    every = SEAL | SHRINK | GROW | WRITE
    return {
        "sealed": lambda: memfd(data, every),
        "sealed-at-end": lambda: memfd(data, every, len(data)),
        "half-sealed": lambda: memfd(data, SHRINK | GROW),
        "unsealed": lambda: memfd(data, 0),
        "empty": lambda: memfd(b"", every),
        "written-later": lambda: memfd(data, SEAL | SHRINK | GROW | FUTURE_WRITE),
        "huge": lambda: sparse(1 << 40, every),
        "directory": lambda: os.open("/", os.O_RDONLY),
        "path": lambda: os.open(path, os.O_PATH),
        "plain-file": lambda: os.open(path, os.O_RDONLY),
        "zero": lambda: os.open("/dev/zero", os.O_RDONLY),
        "pipe": lambda: os.pipe()[0],
        "socket": lambda: socket.socketpair()[0].detach(),
    }[kind]()


sock, path, words = sys.argv[1], sys.argv[2], sys.argv[3:]
params = {"name": "given"}
params.update(w.split("=") for w in words if "=" in w)
fds = [make(w, path) for w in words if "=" not in w]
call = json.dumps({"method": "org.vtpm.Manager.Import", "parameters": params}).encode() + b"\0"
s = socket.socket(socket.AF_UNIX)
s.connect(sock)
socket.send_fds(s, [call], fds)
reply = b""
while not reply.endswith(b"\0"):
    try:
        more = s.recv(65536)
    except ConnectionResetError:
        more = b""
    if not more:
        print("closed")
        sys.exit(0)
    reply += more
reply = json.loads(reply[:-1])
print(reply.get("error") or reply["parameters"]["vtpm"]["name"])
