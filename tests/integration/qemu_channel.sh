#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# NAME.swtpm: swtpm's own control program, and QEMU's TIS and CRB, against a real manager.
set -u
. tests/lib.sh
. tests/checks.sh
lab_init

# $1: text, the rest: what has the manager log it, unless it has just logged another of that kind
is_logged() {
	local i
	for i in $(seq 100); do
		"${@:2}" >/dev/null 2>&1
		in_log "$1" && return 0
		pause 0.1
	done
	return 1
}

come_and_go() { # $1: socket, $2: how often; STOP is the least that the TPM has to be on for
	timeout 60 python3 - "$@" <<'PY'
import socket, sys
for i in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(sys.argv[1])
        try:
            s.sendall(b"\0\0\0\x0e")
            s.recv(4)
        except (BrokenPipeError, ConnectionResetError):
            pass
PY
}

knock() { # $1: socket, $2: how many connections, each of which must end
	timeout 60 python3 - "$@" <<'PY'
import socket, sys
for i in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(sys.argv[1])
    try:
        while s.recv(4096):
            pass
    except ConnectionResetError:
        pass
PY
}
SOCK=$LAB/run/web1.swtpm
ioctl() { timeout 20 swtpm_ioctl --unix "$SOCK" "$@" 2>&1; }

ioctl_answers() { # $1: expected, the rest: options
	local want=$1 got
	shift
	becomes web1 stopped || return 1
	got=$(ioctl "$@")
	[[ $got == *"$want"* ]] || { echo "# $* said: $got"; return 1; }
}

machine() { # a QEMU that reads QMP from its input
	timeout 60 qemu-system-x86_64 -nodefaults -display none -M q35 -m 32 \
		-chardev "socket,id=c,path=$SOCK" -tpmdev emulator,id=t,chardev=c -device "$@" -qmp stdio
}

qmp() { printf '{"execute":"%s"}\n' qmp_capabilities "$@"; }

gets_through() { # $1: device
	local out
	out=$(qmp query-tpm system_reset cont system_reset quit | machine "$1,tpmdev=t" -S)
	[[ $out == *"\"model\": \"$1\""* && $out == *'"type": "emulator"'* && $out != *'"error"'* ]] || { echo "# $out"; return 1; }
	becomes web1 stopped
}

# A QEMU that stays: its QMP in and out are descriptors 7 and 8 of this shell.
stay() { # $1: device, the rest: options
	coproc QEMU { machine "$@"; }
	STAYS=$QEMU_PID # bash forgets its own when the process has ended
	exec 7>&"${QEMU[1]}" 8<&"${QEMU[0]}"
	qmp >&7
	answer return
}

answer() { # waits for a line of QMP that has $1
	local line
	while read -r -t 30 line <&8; do
		[[ $line == *"\"error\""* ]] && { echo "# $line"; return 1; }
		[[ $line == *"\"$1\""* ]] && return 0
	done
	return 1
}

say() { # $1: command, $2: what the answer has
	printf '%s\n' "$1" >&7
	answer "${2:-return}"
}

gone() {
	exec 7>&- 8<&-
	wait "$STAYS" 2>/dev/null
	true
}

save_and_go_on() {
	stay tpm-crb,tpmdev=t || return 1
	say '{"execute":"migrate","arguments":{"uri":"exec:cat >'"$LAB"'/saved"}}' STOP || return 1
	until printf '{"execute":"query-migrate"}\n' >&7 && read -r -t 10 line <&8 && [[ $line == *completed* ]]; do
		[[ $line == *failed* ]] && { echo "# $line"; return 1; }
	done
	say '{"execute":"quit"}' || return 1
	gone
	becomes web1 stopped || return 1
	stay tpm-crb,tpmdev=t -incoming "exec:cat $LAB/saved" || return 1
	until printf '{"execute":"query-status"}\n' >&7 && read -r -t 10 line <&8 && [[ $line == *'"running": true'* ]]; do
		[[ -n $line ]] || return 1
	done
	say '{"execute":"quit"}' || return 1
	gone
}

# The TPM has moved on since: QEMU does not resume the machine, says so and ends.
save_is_of_the_past() {
	local out
	gets_through tpm-crb || return 1
	out=$(qmp query-status | machine tpm-crb,tpmdev=t -incoming "exec:cat $LAB/saved" 2>&1)
	[[ $out == *CMD_INIT*0x9* && $out != *'"status": "running"'* ]] || { echo "# $out"; return 1; }
}

chip_start
mgr_init --insecure-pcrs >/dev/null 2>&1
mgr_start
ctl create web1 >/dev/null
ctl create web2 >/dev/null

check "every vTPM has its socket" test -S "$SOCK" -a -S "$LAB/run/web2.swtpm"
check "capabilities" ioctl_answers 0x17fff -c
check "init" ioctl_answers "" -i
check "not running" ioctl_answers "PTM_GET_TPMESTABLISHED: 0xa" -e
check "information" ioctl_answers '"family":"2.0"' --info 1
check "features" ioctl_answers RSAKeySizes --info 4
check "configuration" ioctl_answers "flags: 0x0" -g
check "buffer size" ioctl_answers "TPM buffersize: 4088" -b 4096
check "locality" ioctl_answers "" -l 2
check "stop" ioctl_answers "" --stop
check "shutdown" ioctl_answers "" -s
check "off without a client" becomes web1 stopped

if ! command -v qemu-system-x86_64 >/dev/null; then
	echo "skip QEMU: qemu-system-x86_64 is not installed"
	exit 0
fi
check "tpm-tis" gets_through tpm-tis
check "tpm-crb" gets_through tpm-crb

check "a QEMU that stays" stay tpm-tis,tpmdev=t
check "is running" becomes web1 running
check "is shown" bash -c "'$B/vtpmctl' --runtime-dir '$LAB/run' show web1 | grep -q 'QEMU of uid $(id -u)'"
check "start beside it is refused" bash -c "'$B/vtpmctl' --runtime-dir '$LAB/run' start web1 2>&1 | grep -q 'for a QEMU'"
check "reset is the machine's" bash -c "'$B/vtpmctl' --runtime-dir '$LAB/run' reset web1 2>&1 | grep -q system_reset"
ioctl -i >/dev/null 2>&1
check "a second one cannot use it" logged "QEMU refused: another QEMU, of uid $(id -u), has its TPM"
check "another vTPM is not concerned" bash -c "timeout 5 swtpm_ioctl --unix '$LAB/run/web2.swtpm' -c | grep -q 0x"
say '{"execute":"query-status"}' # it is alive
kill -KILL "$(pgrep -P "$(pgrep -P "$STAYS" timeout)" 2>/dev/null || pgrep -P "$STAYS" qemu)"
gone
check "one that comes at once waits" bash -c "timeout 20 swtpm_ioctl --unix '$SOCK' -c | grep -q 0x"
check "a killed QEMU leaves it off" becomes web1 stopped

ctl start web1 >/dev/null
check "with a ring no QEMU" is_logged "QEMU refused: web1 is running already, for its ring" ioctl -c
ctl stop web1

check "save, and go on elsewhere" save_and_go_on
becomes web1 stopped
check "a save of the past" save_is_of_the_past
check "and the log says what to do" logged "the TPM has gone on since, to change .* boot the machine"
becomes web1 stopped

if [ "$(id -u)" -eq 0 ]; then
	stranger() { as 12345 12345 "$@"; }
	check "not for everybody" is_logged "QEMU refused: uid 12345" stranger timeout 5 swtpm_ioctl --unix "$SOCK" -c
	lines=$(wc -l <"$LAB/mgr.log")
	SECONDS=0
	check "strangers are hung up on" stranger bash -c "$(declare -f knock); knock '$SOCK' 300"
	check "and do not flood the log" test $(($(wc -l <"$LAB/mgr.log") - lines)) -le $((SECONDS + 2))
	ctl create web3 --user 12345 >/dev/null
	check "but for its user" stranger timeout 5 swtpm_ioctl --unix "$LAB/run/web3.swtpm" --stop
	# Each power-on is a durable change and two lines of the audit log, on the disk of all.
	SECONDS=0
	check "who has no use of it but to come and go" stranger bash -c "$(declare -f come_and_go); come_and_go '$LAB/run/web3.swtpm' 300"
	check "is told to wait" is_logged "web3: QEMU refused: it was powered on too often" stranger timeout 5 swtpm_ioctl --unix "$LAB/run/web3.swtpm" --stop
	check "and does not wear the disk" test "$(grep -c '"start","vtpm":"web3"' "$LAB/state/audit.log")" -le $((SECONDS + 22))
	check "an operator is not held up" timeout 20 swtpm_ioctl --unix "$LAB/run/web3.swtpm" --stop
else
	echo "skip credentials: needs root"
fi

ctl stop web2 2>/dev/null
ctl destroy web2
check "no socket of a destroyed one" test ! -e "$LAB/run/web2.swtpm"
mgr_stop
check "no socket without a manager" test ! -e "$SOCK"
mgr_start
check "all are there again" test -S "$SOCK"
