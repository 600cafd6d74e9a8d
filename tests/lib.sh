# SPDX-License-Identifier: BSD-2-Clause
# For the demo and the test scripts: a stand-in chip, a manager, guests. Everything lives in one
# temporary directory, on unix sockets, and ends with the script. Sourced, with $B = build directory.

B=$(cd "${VTPM_BUILD:-${B:-build}}" && pwd)
# What a stock tool loads: it cannot load a module that was built with sanitizers, so those tests take the other build's.
TCTI=${VTPM_TCTI:-$B/libtss2-tcti-vtpm.so.0}
export LD_LIBRARY_PATH=$(dirname "$TCTI")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
LAB=
CHIP_PID= MGR_PID=

lab_init() {
	LAB=$(mktemp -d /tmp/vtpm.XXXXXX)
	chmod 755 "$LAB"
	trap lab_end EXIT
	trap 'exit 143' TERM INT HUP # lab_end runs then, too
	# A loader that finds TCTI modules by file name needs the short name, too.
	ln -sf "$TCTI" "$LAB/libtss2-tcti-vtpm.so.0"
}

lab_end() {
	local rc=$?
	mgr_stop 2>/dev/null || true
	chip_stop 2>/dev/null || true
	for m in $(awk -v d="$LAB/" 'index($2, d) == 1 { print $2 }' /proc/mounts | tac); do umount "$m"; done
	rm -rf "$LAB"
	exit $rc
}

# What a chip has from its maker: an RSA EK, with a certificate in NV, by $LAB/maker/issuer.pem. Before chip_start.
chip_made() {
	mkdir -p "$LAB/chip" "$LAB/maker"
	printf 'statedir = %s\nsigningkey = %s/sign.pem\nissuercert = %s/issuer.pem\ncertserial = %s/serial\n' \
		"$LAB/maker" "$LAB/maker" "$LAB/maker" "$LAB/maker" >"$LAB/maker.conf"
	printf 'create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = /dev/null\n' \
		"$LAB/maker.conf" >"$LAB/setup.conf"
	swtpm_setup --tpm2 --tpmstate "$LAB/chip" --config "$LAB/setup.conf" --createek --create-ek-cert --lock-nvram
}

# The stand-in for the chip: Debian's swtpm. --daemon returns when it listens. $1: name of its state, default chip. $2: its socket.
chip_start() {
	local d=$LAB/${1:-chip} sock=$LAB/${2:-chip.sock}
	mkdir -p "$d"
	swtpm socket --tpm2 --tpmstate "dir=$d" --server "type=unixio,path=$sock" \
		--ctrl "type=unixio,path=$sock.ctrl" --flags not-need-init,startup-clear \
		--daemon --pid "file=$LAB/chip.pid" --log "file=$LAB/chip.log,level=1"
	CHIP_PID=$(cat "$LAB/chip.pid")
}

# Waits for a process that is nobody's child any more. One that has ended may stay a zombie for as long as init likes.
ended() { while [ -e "/proc/$1/exe" ]; do sleep 0.01; done; }

# No event tells that a process of others has come so far.
pause() { read -rt "$1" _ <> <(:) || true; }
soon() { # command…: within half a minute
	local i
	for ((i = 0; i < 1500; i++)); do
		"$@" >/dev/null 2>&1 && return
		pause 0.02
	done
	"$@"
}

chip_stop() {
	[ -n "$CHIP_PID" ] || return 0
	kill "$CHIP_PID" 2>/dev/null || true
	ended "$CHIP_PID"
	CHIP_PID=
}

# A tool on the chip itself, as host software would use it. swtpm serves one connection at a time: only while no manager runs.
chip() { TPM2TOOLS_TCTI="swtpm:path=$LAB/${CHIP_SOCK:-chip.sock}" "$@"; }

# CHIP_RESETS set: the chip loses power while the manager runs, which would be the end of its trust in a host's own.
mgr_options() {
	echo --state-dir "$LAB/state" --runtime-dir "$LAB/run" --tcti "${MGR_TCTI:-swtpm:path=$LAB/chip.sock}" \
		--libexec-dir "${LIBEXEC:-$B}" --recovery-keys "$LAB/recovery.d" ${CHIP_RESETS:+--on-tpm-change accept}
	[ "$(id -u)" -ne 0 ] || echo --user "${MGR_USER:-65534}"
}

# The manager's log is a pipe into a file: the processes it starts may not write files.
mgr_init() { "$B/vtpm-mgr" --init $(mgr_options) "$@" 2>&1 | tee -a "$LAB/mgr.log"; return "${PIPESTATUS[0]}"; }

# Returns when the manager listens and knows its TPM, or has ended (1). HOLD: options of the vtpm-hold that starts it; it is MGR_PID then.
mgr_start() {
	local fifo=$LAB/ready.$RANDOM program="$B/vtpm-mgr"
	[ -z "${HOLD+set}" ] || program="$B/vtpm-hold $HOLD --"
	mkfifo "$fifo"
	$program $(mgr_options) --ready-fd 9 "$@" 9>"$fifo" 2> >(cat >>"$LAB/mgr.log") &
	MGR_PID=$!
	read -r _ <"$fifo" || { wait "$MGR_PID"; MGR_PID=; rm -f "$fifo"; return 1; }
	rm -f "$fifo"
}

mgr_stop() { # $1: signal, default TERM
	[ -n "$MGR_PID" ] || return 0
	kill "-${1:-TERM}" "$MGR_PID" 2>/dev/null || true
	local rc=0
	wait "$MGR_PID" 2>/dev/null || rc=$?
	MGR_PID=
	return $rc
}

# The manager's processes. A backend has a second thread; the one in reserve has not.
spawner() { pgrep -P "$MGR_PID" -x vtpm-spawn; }
keeper() { pgrep -P "$(spawner)" -x vtpm-keeper | head -n 1; }
backends() { local p; for p in $(pgrep -P "$(spawner)"); do [ "$(ls "/proc/$p/task" 2>/dev/null | wc -l)" -ne 2 ] || [ "$p" = "$(keeper)" ] || echo "$p"; done; }
newest() { backends | sort -n | tail -n 1 | grep .; }
areas() { ls -l "/proc/$1/fd" | grep -c vtpm-checkpoint; } # that such a process has open
as() { setpriv --reuid "$1" --regid "$2" --clear-groups "${@:3}"; } # uid, gid, command…

ctl() { "$B/vtpmctl" --runtime-dir "$LAB/run" "$@"; }
db() { sqlite3 "$LAB/state/vtpm.db" "$@"; }

json() { python3 -c 'import json, sys; print(eval("j" + sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; } # json PATH <JSON
uuid_of() { ctl show "$1" --json | json "['vtpm']['uuid']"; }
field() { ctl show "$1" --json | json "['vtpm'].get('$2', '')"; } # guest, member
status() { ctl status --json | json "['status']$(printf "['%s']" "$@")"; } # member, member of that…
# One value of what vtpmctl says with --json, a line each. Asked all the time, so no Python.
value_of() { sed -n "s/^ *\"$1\": \"\{0,1\}\(.*[^\",]\)\"\{0,1\},\{0,1\}\$/\\1/p"; }
is_state() { [ "$(field "$1" state)" = "$2" ] || { echo "$1 is $(field "$1" state), not $2"; return 1; }; }
becomes() { soon is_state "$@"; }

# What the manager has logged since the last log_mark. The log comes through a pipe and a process: a moment later.
MARK=0
log_mark() { MARK=$(cat "$LAB/mgr.log" 2>/dev/null | wc -l); }
in_log() { tail -n "+$((MARK + 1))" "$LAB/mgr.log" | grep -E -- "$1" >/dev/null; }
logged() { soon in_log "$1" || { echo "not in the log: $1"; return 1; }; }
audited() { grep -qE -- "$1" "$LAB/state/audit.log" || { echo "not in the audit log: $1"; return 1; }; }

# What an operator does once per host, whose chip is chip_made: "rack 1" is in $1, for vtpm-verify --trust.
enroll() {
	ctl enroll show --dir "$LAB/host" >/dev/null && head -c 32 /dev/urandom >"$LAB/secret" &&
		tpm2_makecredential -Q -T none -G rsa -u "$LAB/host/ek-rsa.pem" -s "$LAB/secret" -n "$(cat "$LAB/host/ak.name")" -o "$LAB/challenge" &&
		[ "$(ctl enroll activate "$LAB/challenge")" = "$(od -An -v -tx1 "$LAB/secret" | tr -d ' \n')" ] &&
		printf '{"hosts": [{"name": "rack 1", "ak": "%s", "ek": "%s"}]}\n' "$(cat "$LAB/host/ak.name")" \
			"$(openssl pkey -pubin -in "$LAB/host/ek-rsa.pem" -outform DER | sha256sum | cut -d' ' -f1)" >"$1"
}

# A stock tool inside guest $1.
guest() {
	local name=$1
	shift
	TPM2TOOLS_TCTI="$TCTI:path=$LAB/run/$name.ring" "$@"
}
