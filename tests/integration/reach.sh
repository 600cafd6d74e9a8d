#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Who is not root reaches the sockets, as far as a role permits, in directories that the manager itself made.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
if [ "$(id -u)" -ne 0 ]; then
	echo "skip reach: only root can become others"
	exit 0
fi
lab_init
chip_start
mgr_init --insecure-pcrs >/dev/null 2>&1
mgr_start --pool 0 --viewer-group 64123 --operator-group 64124
# The programs are copied: a stranger may not be able to reach the build directory.
install -m 755 "$B/vtpmctl" "$TCTI" "$LAB/"
is mode_of_runtime_dir "$(stat -c %a "$LAB/run")" 755
is mode_of_empty_dir "$(stat -c %a "$LAB/run/empty")" 555
is mode_of_state_dir "$(stat -c %a "$LAB/state")" 700
exits operator_creates 0 as 64300 64124 "$LAB/vtpmctl" --runtime-dir "$LAB/run" create web1 --user 64400
exits operator_starts 0 as 64300 64124 "$LAB/vtpmctl" --runtime-dir "$LAB/run" start web1
exits viewer_lists 0 as 64301 64123 "$LAB/vtpmctl" --runtime-dir "$LAB/run" list
# What viewers ask of the chip is asked once at a time, and keeps no operator from asking.
exits viewers_wait_for_each_other 0 timeout 60 python3 - "$LAB/run/control.sock" "$(keeper)" <<-'END'
	import json, os, select, signal, socket, sys
	path, keeper = sys.argv[1], int(sys.argv[2])
	def ask(uid, gid):
	    s = socket.socket(socket.AF_UNIX)
	    os.setegid(gid); os.seteuid(uid)
	    s.connect(path)
	    os.seteuid(0); os.setegid(0)
	    s.sendall(b'{"method":"org.vtpm.Manager.PolicyShow"}\0')
	    return s
	def answer(s):
	    data = b""
	    while not data.endswith(b"\0"):
	        data += s.recv(65536) or sys.exit("hung up on")
	    return json.loads(data[:-1])
	def busy(s):
	    a = answer(s)
	    return a.get("error") == "org.vtpm.Manager.Busy" and "another viewer" in json.dumps(a)
	os.setgroups([])
	os.kill(keeper, signal.SIGSTOP)
	waiting, refused = [ask(64301 + n, 64123) for n in range(4)], 0
	while refused < 3:
	    for s in select.select(waiting, [], [], 20)[0] or sys.exit("nobody is refused"):
	        assert busy(s), "it has an answer, and the chip was asked nothing"
	        waiting.remove(s)
	        refused += 1
	waiting.append(ask(64300, 64124))
	os.kill(keeper, signal.SIGCONT)
	assert ["policy" in answer(s)["parameters"] for s in waiting] == [True, True]
	assert "policy" in answer(ask(64302, 64123))["parameters"]
END
exits viewer_stops_nothing 5 as 64301 64123 "$LAB/vtpmctl" --runtime-dir "$LAB/run" stop web1
exits stranger_lists_nothing 5 as 64302 64302 "$LAB/vtpmctl" --runtime-dir "$LAB/run" list
tcti=TPM2TOOLS_TCTI=$LAB/libtss2-tcti-vtpm.so.0:path=$LAB/run/web1.ring
exits user_has_the_ring 0 as 64400 64400 env "$tcti" tpm2_getrandom --hex 8
exits stranger_has_no_ring 1 as 64302 64302 env "$tcti" tpm2_getrandom --hex 8
says stranger_is_told_why 'may not use web1'
