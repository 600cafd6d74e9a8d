#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Two QEMUs and one vTPM, in every order of their steps. Started by takeover.sh with a manager at work.

Usage: takeover.py VTPMCTL RUNTIME-DIR LOG
"""
import itertools
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tools"))
from managed import connect, ctl, expect, off, report, show, until  # noqa: E402
from qemu_peer import Gone, Qemu  # noqa: E402

LOG = sys.argv[3]
FAIL = 9


def is_gone(step):
    try:
        step()
    except (Gone, ConnectionError):
        return True
    return False


def logged(text):
    with open(LOG) as log:
        return text in log.read()


# --- every order ---

def nothing(_):
    pass


def hang_up(source):
    source.hang_up()


def shut_down(source):
    source.shutdown()
    source.hang_up()


def end_backend(qemu, by):
    """Its backend ends by a signal, and another one has taken its place."""
    pid = qemu.backend()
    os.kill(pid, by)
    return until(lambda: qemu.backend() not in (None, pid))


def killed(source):
    assert end_backend(source, signal.SIGKILL)


# What may happen to the source after it has saved: how, and whether the saved state is of the past then.
MOVES = {
    "nothing": (nothing, False),
    "goes_on": (Qemu.go_on, True),
    "reads": (Qemu.random, True),
    "extends": (Qemu.extend, True),
    "resets": (Qemu.reset, True),
    "saves_again": (Qemu.save, False),
    "hangs_up": (hang_up, False),
    "shuts_down": (shut_down, False),
    "backend_is_killed": (killed, False),
}


def orders():
    """Target: connect, set, init. Source: save, then a move. What is set must have been saved."""
    for order in itertools.permutations(("connect", "set", "init", "save", "move")):
        at = order.index
        if at("connect") < at("set") < at("init") and at("save") < at("move") and at("save") < at("set"):
            yield order


def in_order(order, move):
    """Complaints about one order."""
    act, stales = MOVES[move]
    complaints, blobs, target, taken = [], None, None, False
    source = connect("web1")
    expect(complaints, "boot", source.boot(), 0)
    source.extend()
    pcr = source.pcr()
    moved = False
    for step in order:
        if step == "save":
            blobs = source.save()
        elif step == "connect":
            target = connect("web1")
            expect(complaints, "the probe of the target", target.arrive(), True)
        elif step == "set":
            expect(complaints, "set", target.bring(blobs), [0, 0])
        elif step == "init":
            taken = not (moved and stales)
            expect(complaints, "init", target.resume(), 0 if taken else FAIL)
        elif taken and act not in (nothing, hang_up):
            expect(complaints, "the source is cut off", is_gone(lambda: (source.random(), act(source))), True)
        else:
            act(source)
            moved = True
    if taken:
        expect(complaints, "PCR of the target", target.pcr(), pcr)
        expect(complaints, "the source is gone", move in ("hangs_up", "shuts_down") or
               is_gone(source.random), True)
    else:
        expect(complaints, "the source goes on", source.random() in (0, 0x100), True)
        expect(complaints, "the target has nothing", target.random(), 0x101)
    source.hang_up()
    target.hang_up()
    expect(complaints, "off at the end", off("web1"), True)
    return complaints


def every_order():
    for move in MOVES:
        complaints = []
        for order in orders():
            complaints += ["%s: %s" % (" ".join(order), c) for c in in_order(order, move)]
        report("source_%s_in_every_order" % move, complaints)


# --- the others ---

def target_goes_away():
    """At any step before INIT: the source has noticed nothing."""
    complaints = []
    source = connect("web1")
    source.boot()
    source.extend()
    pcr, blobs = source.pcr(), source.save()
    for steps in range(3):
        target = connect("web1")
        if steps > 0:
            target.arrive()
        if steps > 1:
            target.bring(blobs)
        target.hang_up()
        expect(complaints, "nobody waits any more", until(lambda: "waiting_uid" not in show("web1")), True)
    expect(complaints, "the source goes on", (source.random(), source.pcr()), (0, pcr))
    source.hang_up()
    off("web1")
    report("target_goes_away_at_each_step", complaints)


def boots_beside():
    complaints = []
    source, other = connect("web1"), connect("web1")
    source.boot()
    other.arrive()
    expect(complaints, "INIT beside another", other.init(), FAIL)
    expect(complaints, "the log says what to do", until(lambda: logged("has its TPM: end that one first")), True)
    expect(complaints, "show says who waits", show("web1").get("waiting_uid"), os.getuid())
    expect(complaints, "show says why it was refused", "end that one first" in show("web1").get("refusal", ""), True)
    expect(complaints, "a third one is hung up on", is_gone(lambda: connect("web1")), True)
    expect(complaints, "the first notices nothing", source.random(), 0)
    source.hang_up()
    expect(complaints, "INIT when the first is gone", other.init(), 0)
    expect(complaints, "a TPM that was just powered on", other.random(), 0x100)
    other.hang_up()
    expect(complaints, "off at the end", off("web1"), True)
    report("boots_only_when_the_first_is_gone", complaints)


def at_once():
    """A QEMU that ends and one that starts, with nothing between them."""
    complaints = []
    for _ in range(20):
        qemu = connect("web1")
        expect(complaints, "boot", qemu.boot(), 0)
        qemu.hang_up()
    expect(complaints, "off at the end", off("web1"), True)
    report("one_after_the_other_at_once", complaints)


def once():
    complaints = []
    qemu = connect("web1")
    qemu.boot()
    blobs = qemu.save()
    qemu.hang_up()
    for want in 0, FAIL:
        qemu = connect("web1")
        qemu.arrive()
        qemu.bring(blobs)
        expect(complaints, "resume", qemu.resume(), want)
        qemu.hang_up()
    off("web1")
    expect(complaints, "show says what to do", "--snapshots allow" in show("web1").get("refusal", ""), True)
    expect(complaints, "and so does the log", until(lambda: logged("boot the machine instead of resuming it")), True)
    report("a_state_is_resumed_once", complaints)


def foreign():
    complaints = []
    one = connect("web2")
    one.boot()
    blobs = one.save()
    one.hang_up()
    two = connect("web1")
    two.arrive()
    expect(complaints, "another's state", two.bring(blobs)[0], FAIL)
    expect(complaints, "and then a boot", two.init(), 0)
    two.hang_up()
    expect(complaints, "off at the end", off("web1") and off("web2"), True)
    report("the_state_of_another_vtpm", complaints)


def policy():
    complaints = []
    qemu = connect("web1")
    qemu.boot()
    expect(complaints, "set while it is on", ctl("set", "web1", "--snapshots", "allow").returncode, 4)
    qemu.hang_up()
    off("web1")
    expect(complaints, "nonsense", ctl("set", "web1", "--snapshots", "perhaps").returncode, 2)
    expect(complaints, "show before", show("web1")["snapshots"], "refuse")
    expect(complaints, "set", ctl("set", "web1", "--snapshots", "allow").returncode, 0)
    expect(complaints, "show after", show("web1")["snapshots"], "allow")
    expect(complaints, "create", ctl("create", "web3", "--snapshots", "allow").returncode, 0)
    expect(complaints, "show of that", show("web3")["snapshots"], "allow")
    report("snapshots_policy_is_set", complaints)


def older():
    """web1 may go back."""
    complaints = []
    qemu = connect("web1")
    qemu.boot()
    qemu.extend()
    pcr, blobs, version = qemu.pcr(), qemu.save(), show("web1")["version"]
    expect(complaints, "an index is made", qemu.define(), 0)
    waiting = connect("web1")
    waiting.arrive()
    waiting.bring(blobs)
    expect(complaints, "an older one beside one that has it", waiting.resume(), FAIL)
    expect(complaints, "which notices nothing", qemu.random(), 0)
    waiting.hang_up()
    qemu.bring(blobs)
    expect(complaints, "loadvm", qemu.resume(), 0)
    expect(complaints, "PCR", qemu.pcr(), pcr)
    expect(complaints, "the index is not there any more", qemu.define(), 0)
    expect(complaints, "counted", show("web1")["rollbacks"], 1)
    qemu.hang_up()
    off("web1")
    qemu = connect("web1")
    qemu.arrive()
    qemu.bring(blobs)
    expect(complaints, "in a QEMU of its own", qemu.resume(), 0)
    expect(complaints, "PCR there", qemu.pcr(), pcr)
    qemu.hang_up()
    off("web1")
    expect(complaints, "counted again", show("web1")["rollbacks"], 2)
    expect(complaints, "the store's version goes up", show("web1")["version"] > version + 2, True)
    report("an_older_state_where_it_is_allowed", complaints)


def too_often():
    complaints = []
    qemu = connect("web1")
    qemu.boot()
    blobs = qemu.save()
    qemu.extend()
    begun, times, before = time.monotonic(), 0, show("web1")["rollbacks"]
    while times < 200 and not qemu.bring(blobs)[0] and qemu.resume() == 0:
        times += 1
    most = 21 + time.monotonic() - begun
    expect(complaints, "it has an end", 0 < times <= most, True)
    expect(complaints, "which show explains", "too often" in show("web1").get("refusal", ""), True)
    expect(complaints, "each is counted", show("web1")["rollbacks"], before + times)
    for _ in range(100):
        qemu.bring(blobs)
        qemu.resume()
    with open(LOG) as log:
        expect(complaints, "few lines about it", log.read().count("too often") <= 8, True)
    qemu.hang_up()
    off("web1")
    report("older_states_have_a_limit", complaints)


def forbidden_again():
    complaints = []
    qemu = connect("web1")
    qemu.boot()
    blobs = qemu.save()
    qemu.define()
    qemu.hang_up()
    off("web1")
    expect(complaints, "set", ctl("set", "web1", "--snapshots", "refuse").returncode, 0)
    qemu = connect("web1")
    qemu.arrive()
    qemu.bring(blobs)
    expect(complaints, "an older one", qemu.resume(), FAIL)
    qemu.hang_up()
    off("web1")
    report("not_where_it_is_not", complaints)


def operator_stops():
    complaints = []
    first, second = connect("web1"), connect("web1")
    first.boot()
    second.arrive()
    for word in ("destroy", "reset", "start"):
        expect(complaints, word, ctl(word, "web1").returncode, 4)
    expect(complaints, "set", ctl("set", "web1", "--snapshots", "allow").returncode, 4)
    expect(complaints, "both have noticed nothing", (first.random(), show("web1").get("waiting_uid")), (0, os.getuid()))
    expect(complaints, "stop", ctl("stop", "web1").returncode, 0)
    expect(complaints, "the first is hung up on", is_gone(first.random), True)
    expect(complaints, "the second, too", until(lambda: is_gone(second.go_on)), True)
    first.hang_up()
    second.hang_up()
    expect(complaints, "off at the end", off("web1"), True)
    report("stop_ends_both", complaints)


def crash_after_crash():
    """Whoever makes its TPM crash and has another QEMU wait is stopped as one that connects anew is."""
    complaints = []
    has = connect("web2")
    has.boot()
    has.extend()
    pcr = has.pcr()
    waits = connect("web2")
    waits.arrive()
    for _ in range(2):
        expect(complaints, "it is replaced", end_backend(has, signal.SIGSEGV), True)
        expect(complaints, "its QEMU goes on", (has.pcr(), has.random()), (pcr, 0))
    os.kill(has.backend(), signal.SIGSEGV)
    expect(complaints, "after the third its QEMU is hung up on", until(lambda: is_gone(has.go_on)), True)
    has.hang_up()
    expect(complaints, "failed", until(lambda: show("web2")["state"] == "failed"), True)
    expect(complaints, "who waited is hung up on", until(lambda: is_gone(waits.go_on)), True)
    waits.hang_up()
    expect(complaints, "who comes, too", is_gone(lambda: connect("web2").boot()), True)
    expect(complaints, "show says what to do", "vtpmctl stop web2" in show("web2").get("refusal", ""), True)
    ctl("stop", "web2")
    has = connect("web2")
    expect(complaints, "after a stop", has.boot(), 0)
    has.hang_up()
    expect(complaints, "off at the end", off("web2"), True)
    report("three_crashes_end_whoever_waits", complaints)


def mixed():
    """The permanent state of one save and the volatile one of another; web1 may go back."""
    complaints = []
    qemu = connect("web1")
    qemu.boot()
    first = qemu.save()
    qemu.extend()
    second = qemu.save()
    for blobs in ((first[0], second[1]), (second[0], first[1])):
        expect(complaints, "two saves", qemu.bring(blobs), [0, FAIL])
    expect(complaints, "each for the other", qemu.bring(first[::-1]), [FAIL, FAIL])
    qemu.hang_up()
    off("web1")
    report("blobs_of_two_saves", complaints)


def with_a_ring():
    complaints = []
    ctl("start", "web1")
    expect(complaints, "hung up on", is_gone(lambda: connect("web1")), True)
    expect(complaints, "the ring stays", show("web1")["state"], "running")
    ctl("stop", "web1")
    report("no_qemu_beside_a_ring", complaints)


def main():
    every_order()
    for test in (target_goes_away, boots_beside, at_once, once, foreign, policy, older, mixed, too_often, forbidden_again, operator_stops,
                 crash_after_crash, with_a_ring):
        test()
    # Left for takeover.sh to end the manager over.
    first, second = connect("web1"), connect("web1")
    first.boot()
    second.arrive()
    print("# two are left", flush=True)
    sys.stdin.readline()


main()
