#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
# What a host has after a cut, against what it promised: "vtpmctl list --json" on standard input.
# Usage: promised.py KNOW DISCONTINUITIES RESETS LOST SERVED: at the last look bounded guests had that many; since then the chip was reset
# so often, and a recovery said so often that power was lost (once more each time that it was cut before the chip knew of it); 1 if an open row
# was in anchor A and no stop was asked for. Prints the discontinuities of bounded guests.
import json
import sys

know = sys.argv[1] + "/churn"
before, resets, lost, served = (int(a) for a in sys.argv[2:6])
vtpms = {v["name"]: v for v in json.load(sys.stdin)["vtpms"]}

last = {}
for line in open(know):
    last[line[1:].strip()] = line[0]
for name, mark in last.items():
    if mark != "?" and (mark == "+") != (name in vtpms):
        sys.exit("%s was %s, and is %s" % (name, "made" if mark == "+" else "removed", "there" if name in vtpms else "gone"))
for name in vtpms:
    if name not in last and name not in ("a", "b", "s"):
        sys.exit("nobody made %s" % name)
with open(know, "w") as f:  # what was open is decided now
    for name in last:
        f.write(("+" if name in vtpms else "-") + name + "\n")

disc = {name: vtpms[name]["discontinuities"] for name in "abs"}
now = disc["a"]
if disc["s"] != 0:
    sys.exit("the strict guest has %d discontinuities" % disc["s"])
if disc["b"] != now:
    sys.exit("two bounded guests differ: %s" % disc)
if now < before or now - before > lost or (now > before and not resets):
    sys.exit("%d discontinuities, %d at the last look; %d resets since, %d recoveries from a power loss" % (now, before, resets, lost))
if served and resets and now == before:
    sys.exit("the chip was reset while the manager served, and there is no discontinuity more")
for name, v in vtpms.items():
    if v["state"] == "quarantined":
        sys.exit("%s is quarantined" % name)
print(now)
