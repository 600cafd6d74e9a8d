#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measured launches as QEMUs and control clients have them, honest and hostile. Started by launch.sh with a manager at work.

launch_qemu.py VTPMCTL RUNTIME-DIR [PID]    vTPMs web1 (may come unlaunched) and web2 (must be launched) are there, and off
PID: of a vtpm-hold, whose manager is killed while a QEMU is there
"""
import base64
import copy
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import launch  # noqa: E402
import ptm  # noqa: E402
from managed import RUN, connect, ctl, expect, off, report, show, until  # noqa: E402
from qemu_peer import Gone  # noqa: E402

BANKS = {"sha256": "000b", "sha384": "000c"}


def do_launch(name, events, **more):
    return launch.call(RUN, "Launch", name=name, events=events, **more)


def replay(name):
    """{bank: {pcr: value}} as tpm2_eventlog has it of the manager's log, but for PCR 0."""
    log = ctl("eventlog", name).stdout
    out = subprocess.run(["tpm2_eventlog", "/dev/stdin"], input=log, capture_output=True, timeout=60).stdout.decode()
    pcrs, bank = {}, None
    for bank in BANKS:
        pcrs[bank] = {0: int.from_bytes(launch.pcr0(log, bank), "big")}
    bank = None
    for line in out[out.index("\npcrs:"):].splitlines():
        words = line.replace(":", " ").split()
        if len(words) == 1 and words[0].startswith("sha"):
            bank = pcrs.setdefault(words[0], {})
        elif bank is not None and len(words) == 2 and words[0] != "0":
            bank[int(words[0])] = int(words[1], 16)
    return pcrs


def pcr(qemu, bank, number):
    select = 1 << number
    request = ptm.command(0x8001, "0000017e" "00000001" + BANKS[bank] + "03" + select.to_bytes(3, "little").hex())
    response = qemu.data.must(request)
    return int.from_bytes(response[10 + 4 + 4 + 2 + 1 + 3 + 4 + 2:], "big")


def expect_launched(complaints, qemu, name, pcrs=(0, 1, 4, 7, 8, 9)):
    log = replay(name)
    for bank in BANKS:
        for number in pcrs:
            expect(complaints, "%s PCR %d" % (bank, number), "%x" % pcr(qemu, bank, number), "%x" % log[bank][number])
        expect(complaints, "%s PCR 10" % bank, pcr(qemu, bank, 10), 0)


EXTEND_4 = ptm.command(0x8002, "00000182" "00000004" + ptm.PASSWORD + "00000001" "000b" + "11" * 32)
PLATFORM_CHANGE_AUTH = ptm.command(0x8002, "00000129" "4000000c" + ptm.PASSWORD + "0000")


def kill_backend(name, qemu):
    before = show(name).get("replacements", 0)
    os.kill(qemu.backend(), signal.SIGKILL)
    return until(lambda: show(name).get("replacements", 0) > before and show(name)["state"] == "running")


def hung_up(name):
    """Whether a QEMU that comes is hung up on."""
    try:
        connect(name).call(ptm.STOP)
        return False
    except (Gone, OSError):
        return True


def test_boot():
    c = []
    reply = do_launch("web1", launch.boot())
    expect(c, "the log's size", len(ctl("eventlog", "web1").stdout), reply["eventlog_size"])
    expect(c, "state", show("web1")["state"], "launched")
    expect(c, "a second launch", do_launch("web1", launch.boot())[0], "org.vtpm.Manager.WrongState")
    qemu = connect("web1")
    expect(c, "off before INIT", qemu.arrive(), True)
    expect(c, "INIT", qemu.init(), 0)
    expect(c, "Startup was ours", qemu.run(ptm.STARTUP), 0x100)
    expect_launched(c, qemu, "web1")
    expect(c, "the platform is nobody's", qemu.run(PLATFORM_CHANGE_AUTH), 0x9A2)
    qemu.run(EXTEND_4)
    expect(c, "it can be extended", pcr(qemu, "sha256", 4) != replay("web1")["sha256"][4], True)
    report("qemu_begins_with_the_launch", c)
    return qemu


def test_second(qemu):
    c = []
    expect(c, "a second QEMU", hung_up("web1"), True)
    expect(c, "why", "launched for another QEMU" in show("web1").get("refusal", ""), True)
    expect(c, "a ring", ctl("start", "web1").returncode, 4)
    expect(c, "the first one", qemu.run(ptm.READ_CLOCK), 0)
    report("a_second_qemu_is_refused", c)


def test_kills(qemu):
    c = []
    now = [pcr(qemu, "sha256", n) for n in range(16)]
    expect(c, "another goes on", kill_backend("web1", qemu), True)
    expect(c, "PCRs", [pcr(qemu, "sha256", n) for n in range(16)], now)
    report("a_killed_backend_keeps_the_pcrs", c)
    c = []
    expect(c, "reset", qemu.reset(), 0)
    expect_launched(c, qemu, "web1")
    expect(c, "another goes on", kill_backend("web1", qemu), True)
    expect(c, "reset by that", qemu.reset(), 0)
    expect_launched(c, qemu, "web1")
    report("each_reset_begins_with_the_launch", c)


def test_saved(qemu):
    """What a guest measured comes back with its saved state, and a reset begins with the launch of then."""
    c = []
    qemu.run(EXTEND_4)
    was = pcr(qemu, "sha256", 4)
    blobs = qemu.save()
    qemu.hang_up()
    expect(c, "off", off("web1"), True)
    do_launch("web1", launch.boot())
    qemu = connect("web1")
    qemu.arrive()
    expect(c, "brought", qemu.bring(blobs), [0, 0])
    expect(c, "resumed", qemu.resume(), 0)
    expect(c, "PCR 4", "%x" % pcr(qemu, "sha256", 4), "%x" % was)
    expect(c, "reset", qemu.reset(), 0)
    expect_launched(c, qemu, "web1")
    qemu.hang_up()
    expect(c, "off again", off("web1"), True)
    report("a_saved_machine_resumes", c)


def test_once():
    c = []
    qemu = connect("web1")
    expect(c, "boots", qemu.boot(), 0)
    expect(c, "PCR 4", pcr(qemu, "sha256", 4), 0)
    expect(c, "no log", ctl("eventlog", "web1").returncode, 4)
    qemu.hang_up()
    off("web1")
    report("the_next_qemu_is_not_launched", c)
    c = []
    expect(c, "a QEMU without a launch", hung_up("web2"), True)
    expect(c, "why", "--launch off" in show("web2").get("refusal", ""), True)
    do_launch("web2", launch.boot())
    qemu = connect("web2")
    qemu.arrive()
    expect(c, "with one", qemu.init(), 0)
    qemu.hang_up()
    off("web2")
    expect(c, "the next one", hung_up("web2"), True)
    report("required_is_required_of_qemus", c)


def test_at_once():
    """The next launch of a machine may come while the TPM of the last is being powered off."""
    c = []
    for _ in range(5):
        reply = do_launch("web1", launch.boot())
        expect(c, "launched", isinstance(reply, dict), True)
        qemu = connect("web1")
        qemu.arrive()
        expect(c, "INIT", qemu.init(), 0)
        expect_launched(c, qemu, "web1", (4,))
        qemu.hang_up()
    off("web1")
    report("a_launch_waits_for_the_end_of_the_last", c)


def test_firmware():
    """The guest's firmware starts the TPM: PCR 0 begins with the H-CRTM."""
    c = []
    do_launch("web1", launch.crtm(), startup=False)
    qemu = connect("web1")
    qemu.arrive()
    expect(c, "INIT", qemu.init(), 0)
    expect(c, "not started", qemu.run(ptm.READ_CLOCK), 0x100)
    expect(c, "another goes on", kill_backend("web1", qemu), True)
    expect(c, "Startup", qemu.run(ptm.STARTUP), 0)
    expect_launched(c, qemu, "web1", (0,))
    expect(c, "PCR 4", pcr(qemu, "sha256", 4), 0)
    expect(c, "the platform is the firmware's", qemu.run(PLATFORM_CHANGE_AUTH), 0)
    expect(c, "reset", qemu.reset(), 0)
    expect(c, "Startup again", qemu.run(ptm.STARTUP), 0)
    expect_launched(c, qemu, "web1", (0,))
    qemu.hang_up()
    off("web1")
    report("firmware_of_the_guest_starts_it", c)


def hostile_calls():
    """Name, what is changed of an honest call, the error."""
    long = base64.b64encode(bytes(1025)).decode()
    invalid = "org.vtpm.Manager.Invalid"

    def events(change, at=1, boot=None):
        made = copy.deepcopy(boot or launch.boot())
        change(made[at])
        return dict(events=made)

    return [
        ("no events", dict(events=[])), ("not a list", dict(events={})), ("null", dict(events=None)),
        ("65 events", dict(events=launch.boot()[:1] * 65)), ("an event that is a number", dict(events=[7])),
        ("PCR 16", events(lambda e: e.update(pcr=16))), ("PCR -1", events(lambda e: e.update(pcr=-1))),
        ("PCR as text", events(lambda e: e.update(pcr="0"))), ("PCR 2^32", events(lambda e: e.update(pcr=1 << 32))),
        ("EV_NO_ACTION", events(lambda e: e.update(type=3))), ("type as text", events(lambda e: e.update(type="EV_IPL"))),
        ("type 2^32", events(lambda e: e.update(type=1 << 32))), ("no sha256", events(lambda e: e.pop("sha256"))),
        ("a short digest", events(lambda e: e.update(sha384=e["sha384"][:-2]))),
        ("a digest in capitals", events(lambda e: e.update(sha384="A" * 96))),
        ("one sha1 alone", events(lambda e: e.update(sha1="0" * 40))), ("no data", events(lambda e: e.pop("data"))),
        ("data that is no base64", events(lambda e: e.update(data="****"))),
        ("data with spaces", events(lambda e: e.update(data="AA A"))),
        ("data with padding inside", events(lambda e: e.update(data="AA==AAAA"))),
        ("data of 1025 bytes", events(lambda e: e.update(data=long))),
        ("a field that there is not", events(lambda e: e.update(more=1))),
        ("a separator that says another digest", events(lambda e: e.update(sha512="0" * 128), 4)),
        ("an H-CRTM whose digest is not of its data", events(lambda e: e.update(sha256="0" * 64), 0)),
        ("an H-CRTM without data", events(lambda e: e.update(data=""), 0)),
        ("a log beyond 16 KiB", dict(events=launch.boot() + [launch.event(9, 13, bytes(1024))] * 15)),
        ("firmware that starts it, and more events", dict(startup=False)),
        ("firmware that starts it, and no H-CRTM", dict(startup=False, events=launch.boot()[1:2])),
        ("startup as text", dict(startup="yes")), ("domain 0", dict(domain=0)), ("domain -1", dict(domain=-1)),
        ("domain 40000", dict(domain=40000)), ("domain as text", dict(domain="5")), ("a domain where there is no Xen", dict(domain=5)),
        ("a signature that is no base64", dict(signature="!")), ("a signature of 1025 bytes", dict(signature=long)),
        ("a name that is none", dict(name="../web1")),
    ], invalid


def test_hostile():
    calls, invalid = hostile_calls()
    c = []
    for what, change in calls:
        reply = launch.call(RUN, "Launch", **{**dict(name="web1", events=launch.boot()), **change})
        expect(c, what, reply[0] if isinstance(reply, tuple) else reply, invalid)
    expect(c, "a vTPM that there is not", do_launch("nobody", launch.boot())[0], "org.vtpm.Manager.NotFound")
    expect(c, "an argument that there is not", do_launch("web1", launch.boot(), more=1)[0], "org.varlink.service.InvalidParameter")
    expect(c, "web1", show("web1")["state"], "stopped")
    report("hostile_launches_are_refused", c)


def nv_define(index, size):
    return ptm.command(0x8002, "0000012a" "40000001" + ptm.PASSWORD + "0000" "000e" "%08x" % index + "000b" "00020002" "0000" "%04x" % size)


def test_full():
    """A guest that has filled its NV boots, and has its log from its host alone."""
    c = []
    qemu = connect("web1")
    qemu.boot()
    index = 0x01500000
    for size in 2048, 1024, 256, 64, 8:
        while qemu.run(nv_define(index, size)) == 0:
            index += 1
        expect(c, "NV of %d" % size, qemu.run(nv_define(index, size)), 0x14B)
    qemu.hang_up()
    off("web1")
    do_launch("web1", launch.boot())
    qemu = connect("web1")
    qemu.arrive()
    expect(c, "INIT", qemu.init(), 0)
    expect_launched(c, qemu, "web1")
    expect(c, "the log", qemu.run(ptm.command(0x8001, "00000169" "01407600")), 0x18B)
    qemu.hang_up()
    off("web1")
    report("a_full_nv_is_no_end", c)


def test_held(hold):
    """The next manager goes on with what was launched, and a reset begins with it."""
    c = []
    do_launch("web1", launch.boot())
    qemu = connect("web1")
    qemu.arrive()
    expect(c, "INIT", qemu.init(), 0)
    qemu.run(EXTEND_4)
    was = pcr(qemu, "sha256", 4)
    status = lambda: json.loads(ctl("status", "--json").stdout or b"{}").get("status", {}).get("hold", {})  # noqa: E731
    generation = status()["generation"]
    for pid in subprocess.run(["pgrep", "-P", str(hold), "-x", "vtpm-mgr"], capture_output=True, text=True).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    expect(c, "another manager", until(lambda: status().get("generation", 0) > generation and status()["waiting"] == 0), True)
    expect(c, "PCR 4", "%x" % pcr(qemu, "sha256", 4), "%x" % was)
    expect(c, "a second QEMU", hung_up("web1"), True)
    expect(c, "reset", qemu.reset(), 0)
    expect_launched(c, qemu, "web1")
    qemu.hang_up()
    off("web1")
    report("a_launched_qemu_outlives_the_manager", c)


if __name__ == "__main__" and len(sys.argv) > 3:
    test_held(int(sys.argv[3]))
elif __name__ == "__main__":
    machine = test_boot()
    test_second(machine)
    test_kills(machine)
    test_saved(machine)
    test_once()
    test_at_once()
    test_firmware()
    test_hostile()
    test_full()
