#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""One order to a QEMU over its QMP socket; returns when it is done, 1 with QEMU's reason if it failed.

Usage: qmp.py SOCKET migrate URI | cancel URI | lose URI PID | save TAG DISK | load TAG DISK | there | running | cont | quit

cancel begins a migration and cancels it; lose begins one and kills the target. Both return when the machine runs again.
"""
import json
import os
import signal
import socket
import sys
import time


def connect(path):
    """QEMU says nowhere that its socket is there: a few tries while it starts."""
    for left in range(100, -1, -1):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        try:
            sock.connect(path)
            return sock
        except OSError as error:
            sock.close()
            if not left:
                sys.exit("qmp: %s: %s" % (path, error))
            time.sleep(0.05)


class Qmp:
    def __init__(self, path):
        self.sock = connect(path)
        self.lines = self.sock.makefile("r")
        self.lines.readline()  # the greeting
        self.events = []
        self.call("qmp_capabilities")

    def receive(self):
        line = self.lines.readline()
        if not line:
            sys.exit("qmp: QEMU is gone")
        return json.loads(line)

    def call(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            message = self.receive()
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                sys.exit("qmp: %s: %s" % (command, message["error"]["desc"]))
            else:
                return message["return"]

    def wait(self, event, wanted=(None,)):
        while True:
            message = self.events.pop(0) if self.events else self.receive()
            status = message.get("data", {}).get("status")
            if message.get("event") == event and status in wanted:
                return status


def migrate(qmp, uri):
    qmp.call("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    qmp.call("migrate", uri=uri)
    if qmp.wait("MIGRATION", ("completed", "failed")) == "failed":
        sys.exit("qmp: " + qmp.call("query-migrate").get("error-desc", "migration failed"))


def begin_slowly(qmp, uri):
    """A migration that does not come to its end by itself."""
    qmp.call("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
    qmp.call("migrate-set-parameters", **{"max-bandwidth": 1 << 16})
    qmp.call("migrate", uri=uri)
    qmp.wait("MIGRATION", ("active",))


def end_slowly(qmp, wanted):
    qmp.wait("MIGRATION", (wanted,))
    qmp.call("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
    if not qmp.call("query-status")["running"]:
        sys.exit("qmp: the machine stands still")


def cancel(qmp, uri):
    begin_slowly(qmp, uri)
    qmp.call("migrate_cancel")
    end_slowly(qmp, "cancelled")


def lose(qmp, uri, pid):
    begin_slowly(qmp, uri)
    os.kill(int(pid), signal.SIGKILL)
    end_slowly(qmp, "failed")


def running(qmp):
    """Returns when what migrates to it has arrived and runs."""
    if not qmp.call("query-status")["running"]:
        qmp.wait("RESUME")


def snapshot(qmp, command, tag, disk):
    qmp.call(command, **{"job-id": tag, "tag": tag, "vmstate": disk, "devices": [disk]})
    qmp.wait("JOB_STATUS_CHANGE", ("concluded",))
    job = next(j for j in qmp.call("query-jobs") if j["id"] == tag)
    qmp.call("job-dismiss", id=tag)
    if "error" in job:
        sys.exit("qmp: " + job["error"])


def main():
    path, order, *rest = sys.argv[1:]
    qmp = Qmp(path)
    if order in ("migrate", "cancel", "lose"):
        globals()[order](qmp, *rest)
    elif order in ("save", "load"):
        snapshot(qmp, "snapshot-" + order, *rest)
        if order == "load":
            qmp.call("cont")
    elif order == "running":
        running(qmp)
    elif order == "there":  # it has answered
        pass
    else:
        qmp.call(order)


main()
