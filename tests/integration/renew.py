#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What QEMU has saved of a TPM, and whose target waits, when its group's root is rotated. Started by renew.sh with a manager at work.

Usage: renew.py VTPMCTL RUNTIME-DIR LOG NAME PID

PID: of the manager, whose processes are stopped and killed at moments that are known.
"""
import glob
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
import managed  # noqa: E402
from managed import ctl  # noqa: E402
from qemu_peer import STARTUP, Qemu  # noqa: E402

RUN, LOG, NAME, PID = sys.argv[2:6]
FAIL = 9
RECVMSG = "47 "
ENDED = "another one goes on with its guest"


def show():
    return managed.show(NAME)


def reseal():
    """How many vTPMs have changed."""
    return json.loads(ctl("reseal", "--json").stdout)["changed"]


def until(condition):
    return managed.until(condition, 600)


def connect():
    qemu = Qemu("%s/%s.swtpm" % (RUN, NAME))
    qemu.arrive()
    return qemu


def off():
    return until(lambda: show()["state"] == "stopped")


def counted(text):
    with open(LOG) as log:
        return log.read().count(text)


def logged(text):
    return counted(text) > 0


def children(pid, name):
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(pid), "-x", name], capture_output=True, text=True).stdout.split()]


def processes():
    """Keeper, and backends."""
    spawner = children(PID, "vtpm-spawn")[0]
    keeper = children(spawner, "vtpm-keeper")[0]
    pids = subprocess.run(["pgrep", "-P", str(spawner)], capture_output=True, text=True).stdout.split()
    return keeper, {int(p) for p in pids if int(p) != keeper and len(os.listdir("/proc/%s/task" % p)) == 2}


def at_the_store(pid):
    """It has sent a change, and waits for what comes of it."""
    return any(open(name).read().startswith(RECVMSG) for name in glob.glob("/proc/%d/task/*/syscall" % pid))


def cut(qemu, backend):
    """INIT, whose change brings the next key. Its backend is killed while the keeper has not authenticated that yet. The result."""
    result, before = [], counted(ENDED)
    keeper = processes()[0]
    os.kill(keeper, signal.SIGSTOP)
    asking = threading.Thread(target=lambda: result.append(qemu.init()))
    asking.start()
    sent = until(lambda: at_the_store(backend)) and ctl("list").returncode == 0
    os.kill(backend, signal.SIGKILL)
    again = until(lambda: counted(ENDED) > before)
    os.kill(keeper, signal.SIGCONT)
    asking.join(60)
    return sent, again, result


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


def killed():
    """Whoever takes the place of a backend that was killed has the key of the state that is there by then."""
    reseal()
    qemu = connect()
    check("qemu_killed_with_the_next_key_on_its_way", (show()["key_due"], True),
          (cut(qemu, *processes()[1]), (True, True, [0])), (show()["key_due"], False), (show()["state"], "running"))
    check("qemu_goes_on", (qemu.run(STARTUP), 0), (qemu.random(), 0))
    qemu.hang_up()
    off()


def killed_with_a_target():
    """A target that waits has the key of before: it is not given the TPM with that."""
    reseal()
    source = connect()
    backends = processes()[1]
    target = connect()
    check("qemu_source_killed_likewise", (cut(source, *backends), (True, True, [0])), (show()["key_due"], False))
    source.hang_up()
    until(lambda: show()["key_due"] is False)
    check("qemu_target_of_before_is_refused", (target.init(), FAIL),
          (until(lambda: logged("was replaced; start it once more")), True))
    target.hang_up()
    off()
    qemu = connect()
    check("qemu_nothing_is_lost", (qemu.init(), 0), (qemu.run(STARTUP), 0), (show()["state"], "running"))
    qemu.hang_up()
    off()


def ends():
    """Its last change is one after which it would be given its next key: it has come to its end in order, all the same."""
    for i in range(5):
        source = Qemu("%s/%s.swtpm" % (RUN, NAME))
        source.boot()
        target = connect()
        changed = reseal()
        due = show()["key_due"]
        target.hang_up()
        gone = until(lambda: len(processes()[1]) == 1)
        result = source.shutdown()
        ended = until(lambda: not processes()[1])
        source.hang_up()
        if not off():
            break
    check("qemu_comes_to_its_end_with_a_key_due", (changed, 0), (due, True), (gone, True), (result, 0), (ended, True), (show()["state"], "stopped"))


running()
stale(saved())
waiting()
killed()
killed_with_a_target()
ends()
