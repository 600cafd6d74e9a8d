# SPDX-License-Identifier: BSD-2-Clause
"""Whether each method of the manager takes the parameters that its description names, and no other. Usage: parameters.py SOCKET"""
import json
import os
import re
import socket
import sys


def call(method, parameters, fds=()):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    socket.send_fds(s, [json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"], fds)
    reply = b""
    while not reply.endswith(b"\0"):
        more = s.recv(65536)
        assert more, "%s: hung up" % method
        reply += more
    return json.loads(reply[:-1])


text = call("org.varlink.service.GetInterfaceDescription", {"interface": "org.vtpm.Manager"})["parameters"]["description"]
methods = re.findall(r"^method (\w+)\((.*?)\) ->", text, re.M)
assert len(methods) > 10
for name, takes in methods:
    named = [word.split(":")[0].strip() for word in takes.split(",") if word]
    # The first that is not taken is named, and then nothing is done.
    reply = call("org.vtpm.Manager." + name, {**dict.fromkeys(named), "grop": 1}, [os.memfd_create("x")] if name == "Import" else [])
    assert (reply.get("error"), reply["parameters"]) == ("org.varlink.service.InvalidParameter", {"parameter": "grop"}), (name, reply)
    if named:
        reply = call("org.vtpm.Manager." + name, {named[0] + "s": 1}, [os.memfd_create("x")] if name == "Import" else [])
        assert reply["parameters"] == {"parameter": named[0] + "s"}, (name, reply)
print("%d methods" % len(methods))
