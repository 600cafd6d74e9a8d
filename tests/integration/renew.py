#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What QEMU has saved of a TPM, and whose target waits, when its group's root is rotated. Started by renew.sh with a manager at work.

Usage: renew.py VTPMCTL RUNTIME-DIR LOG NAME
"""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
from qemu_peer import Gone, Qemu  # noqa: E402

VTPMCTL, RUN, LOG, NAME = sys.argv[1:5]
FAIL = 9


def ctl(*words):
    return subprocess.run([VTPMCTL, "--runtime-dir", RUN, *words], capture_output=True, text=True, timeout=60)


def show():
    return json.loads(ctl("show", NAME, "--json").stdout)["vtpm"]


def reseal():
    """How many vTPMs have changed."""
    return json.loads(ctl("reseal", "--json").stdout)["changed"]


def until(condition):
    """What another process does, it has done a moment later."""
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.05)
    return False


def connect():
    qemu = Qemu("%s/%s.swtpm" % (RUN, NAME))
    qemu.arrive()
    return qemu


def off():
    return until(lambda: show()["state"] == "stopped")


def logged(text):
    with open(LOG) as log:
        return text in log.read()


def check(name, *pairs):
    complaints = ["%r, not %r" % (got, want) for got, want in pairs if got != want]
    for complaint in complaints:
        print("#", complaint)
    print("%s %s" % ("not ok" if complaints else "ok", name), flush=True)


def running():
    """A machine that runs: it notices nothing, and what it was given is as it was."""
    qemu = Qemu("%s/%s.swtpm" % (RUN, NAME))
    qemu.boot()
    qemu.extend()
    pcr = qemu.pcr()
    changed = reseal()
    check("qemu_running", (changed, 1), (show()["key_due"], False), (qemu.pcr(), pcr), (qemu.random(), 0))
    qemu.shutdown()
    qemu.hang_up()
    off()


def saved():
    """A machine that was saved before: it goes on, once, and then its TPM has another key."""
    qemu = Qemu("%s/%s.swtpm" % (RUN, NAME))
    qemu.boot()
    qemu.extend()
    pcr = qemu.pcr()
    blobs = qemu.save()
    changed = reseal()
    check("qemu_between_save_and_end_keeps_its_key", (changed, 0), (show()["key_due"], True))
    qemu.hang_up()
    off()
    check("qemu_off_is_due", (reseal(), 0), (show()["key_due"], True))
    qemu = connect()
    check("qemu_saved_before_goes_on", (qemu.bring(blobs), [0, 0]), (qemu.resume(), 0), (qemu.pcr(), pcr),
          (show()["key_due"], False))
    later = qemu.save()
    qemu.hang_up()
    off()
    qemu = connect()
    check("qemu_saved_under_the_new_key", (qemu.bring(later), [0, 0]), (qemu.resume(), 0), (qemu.pcr(), pcr))
    qemu.hang_up()
    off()
    return blobs


def stale(blobs):
    """What the replaced key has sealed is opened by nobody, whatever the policy."""
    ctl("set", NAME, "--snapshots", "allow")
    qemu = connect()
    check("qemu_an_older_file_is_refused", (qemu.bring(blobs)[0], FAIL), (until(lambda: logged("or got another key")), True))
    check("qemu_and_boots", (qemu.init(), 0))
    qemu.hang_up()
    off()
    ctl("set", NAME, "--snapshots", "refuse")


def waiting():
    """A migration on one host: the key is not replaced under the target that has it."""
    source = Qemu("%s/%s.swtpm" % (RUN, NAME))
    source.boot()
    source.extend()
    pcr = source.pcr()
    target = connect()
    changed = reseal()
    check("qemu_with_a_target_keeps_its_key", (changed, 0), (show()["key_due"], True))
    blobs = source.save()
    check("qemu_target_takes_over", (target.bring(blobs), [0, 0]), (target.resume(), 0), (target.pcr(), pcr))
    source.hang_up()
    check("qemu_and_then_it_changes", (until(lambda: not show()["key_due"]), True), (target.pcr(), pcr))
    target.hang_up()
    off()


running()
stale(saved())
waiting()
