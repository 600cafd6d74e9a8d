# SPDX-License-Identifier: BSD-2-Clause
"""Whether what methods answer is what the manager's description says of them: each member there, of its type, and no other. Makes vTPMs, a group and a
backup of its own. Usage: replies.py SOCKET"""
import hashlib
import json
import re
import socket
import sys


def call(method, parameters):
    s.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
    reply = b""
    while not reply.endswith(b"\0"):
        more = s.recv(65536)
        assert more, "%s: hung up" % method
        reply += more
    reply = json.loads(reply[:-1])
    assert "error" not in reply, (method, reply)
    return reply["parameters"]


def parsed(words):
    """The type at the head of words, which is taken off: ("?", type), ("[]", type), ("{}", type), {member: type}, or a name."""
    word = words.pop(0)
    if word == "?":
        return "?", parsed(words)
    if word == "[":
        kind = "{}" if words[0] == "string" else "[]"
        del words[: words.index("]") + 1]
        return kind, parsed(words)
    if word != "(":
        return word
    members = {}
    while words[0] != ")":
        name, colon = words.pop(0), words.pop(0)
        assert colon == ":", (name, colon)
        members[name] = parsed(words)
        if words[0] == ",":
            del words[0]
    del words[0]
    return members


def fits(value, kind, where):
    if isinstance(kind, dict):
        assert isinstance(value, dict), (where, value)
        assert set(value) <= set(kind), (where, "has what is not described", set(value) - set(kind))
        for name, inner in kind.items():
            optional = isinstance(inner, tuple) and inner[0] == "?"
            if name in value:
                fits(value[name], inner[1] if optional else inner, where + "." + name)
            else:
                assert optional, (where, "lacks", name)
    elif isinstance(kind, tuple) and kind[0] == "[]":
        for one in value:
            fits(one, kind[1], where + "[]")
    elif isinstance(kind, tuple):
        for name, one in value.items():
            fits(one, kind[1], where + "[%s]" % name)
    elif kind in types:
        fits(value, types[kind], where)
    else:
        assert type(value) is {"string": str, "int": int, "bool": bool, "object": dict}[kind], (where, kind, value)


def answers(method, **parameters):
    reply = call("org.vtpm.Manager." + method, parameters)
    fits(reply, methods[method], method)
    called.add(method)
    return reply


s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
text = call("org.varlink.service.GetInterfaceDescription", {"interface": "org.vtpm.Manager"})["description"]
todo = re.findall(r"\w+|->|[^\w\s]", re.sub(r"#.*", "", text))
types, methods, called = {}, {}, set()
while todo:
    what = todo.pop(0)
    if what == "interface":
        todo = todo[todo.index("Manager") + 1 :]
        continue
    name = todo.pop(0)
    first = parsed(todo)
    if what == "type":
        types[name] = first
    elif what == "method":
        assert todo.pop(0) == "->", name
        methods[name] = parsed(todo)

answers("Create", name="described", launch="off")
answers("Clone", name="another", source="described")
answers("Set", name="described", snapshots="allow")
answers("LaunchAllow", name="described", digest="11" * 32)
answers("LaunchPolicy", name="described", mismatch="serve")
event = {"pcr": 4, "type": 13, "data": "", **{bank: getattr(hashlib, bank)(b"").hexdigest() for bank in ("sha256", "sha384", "sha512")}}
answers("Launch", name="described", events=[event])
answers("Show", name="described")
answers("Start", name="described")
answers("EventLog", name="described")
answers("LaunchShow", name="described")
answers("Attest", name="described", nonce="00" * 8)
for method in ("List", "Status", "Ca", "Crl", "Enroll", "RecoveryShow", "PolicyShow", "PolicyTest", "PolicyPlan", "ListQuarantine", "Reseal"):
    answers(method)
answers("Show", name="described")
answers("Reset", name="described")
answers("Stop", name="described")
answers("Certify", name="described")
answers("CreateGroup", name="described", insecure_pcrs=True)
answers("ShareBegin", nonce="00" * 32)
backup = answers("Backup")["id"]
data = answers("BackupRead", id=backup)
whole, more = data["data"], data
while not more["last"]:
    more = answers("BackupRead", id=backup)
    whole += more["data"]
restore = answers("Restore", check=True)
for at in range(0, len(whole), 2 * restore["piece_max"]):
    answers("RestoreWrite", id=restore["id"], data=whole[at : at + 2 * restore["piece_max"]])
answers("RestoreCommit", id=restore["id"])
answers("Destroy", name="another")
answers("Destroy", name="described")
print("%d methods; not called: %s" % (len(called), " ".join(sorted(set(methods) - called))))
