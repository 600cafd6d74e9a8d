# SPDX-License-Identifier: BSD-2-Clause
"""
What tests ask of the manager, and what they say of it. Read by scripts whose first arguments are vtpmctl and the manager's runtime directory.
"""
import json
import subprocess
import sys
import time

from qemu_peer import Qemu

VTPMCTL, RUN = sys.argv[1:3]


def ctl(*words):
    return subprocess.run([VTPMCTL, "--runtime-dir", RUN, *words], capture_output=True, timeout=60)


def show(name):
    return json.loads(ctl("show", name, "--json").stdout)["vtpm"]


def until(condition, times=1200):
    """What another process does, it has done a moment later."""
    for _ in range(times):
        if condition():
            return True
        time.sleep(0.05)
    return False


def off(name):
    return until(lambda: show(name)["state"] == "stopped")


def connect(name):
    return Qemu("%s/%s.swtpm" % (RUN, name))


def report(name, complaints):
    for complaint in complaints:
        print("#", complaint)
    print("%s %s" % ("not ok" if complaints else "ok", name), flush=True)


def expect(complaints, what, got, want):
    if got != want:
        complaints.append("%s: %r, not %r" % (what, got, want))
