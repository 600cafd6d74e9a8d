# SPDX-License-Identifier: BSD-2-Clause
# Somebody on the way to the chip, on top of faults.sh: a start is recorded, and then made again with each of its responses
# changed in one way.

PROXY_PID=
bus() { # PLAN…: from now on this happens on the way
	bus_stop
	PROXY_PID=$("$B/tests/tpmproxy" "$LAB/bus.sock" "$LAB/chip.sock" "$LAB/bus.log" "$@")
}
bus_stop() {
	[ -z "$PROXY_PID" ] || { kill "$PROXY_PID" && ended "$PROXY_PID"; }
	PROXY_PID=
}
# Commands of the recorded start, each as CODE/OCCURRENCE LENGTH-OF-RESPONSE. How much a new keeper has to flush varies.
recorded() { # LOG
	awk '{ cc = substr($1, 13, 8); if (cc != "00000165") print cc "/" ++n[cc], length($2) / 2 }' "${1:-$LAB/start.log}"
}

# One start with the n-th response changed: it is right, or refused; then, without the change, it is right.
bus_case() { # PLAN…
	bus "$@"
	mgr_start --pool 0 || return 1
	if timeout 30 "$B/vtpmctl" --runtime-dir "$LAB/run" start web1 >"$LAB/first" 2>&1; then
		:
	elif [ $? -ge 124 ] || [ ! -s "$LAB/first" ]; then
		echo "no answer"
		return 1
	else
		timeout 30 "$B/vtpmctl" --runtime-dir "$LAB/run" start web1 || return 1
	fi
	guest web1 tpm2_nvread -Q -C o -s "$(stat -c %s "$LAB/web1.nv")" $NV -o "$LAB/web1.nv.now" || return 1
	cmp "$LAB/web1.nv" "$LAB/web1.nv.now"
}
run_case() { # NAME LOGGED PLAN…
	local name=$1 text=$2 rc=0
	shift 2
	log_mark
	bus_case "$@" >"$LAB/out" 2>&1 || rc=1
	mgr_stop || rc=1
	no in_log "crash|signal|quarantine" || rc=1
	[ -z "$text" ] || logged "$text" >>"$LAB/out" || rc=1
	[ $rc -eq 0 ] || { echo "$name: $*" >>"$LAB/bad"; cat "$LAB/out" >>"$LAB/bad"; tail -n "+$((MARK + 1))" "$LAB/mgr.log" >>"$LAB/bad"; }
}
cases() { # NAME: none of the cases since the last one has gone wrong
	if [ -s "$LAB/bad" ]; then not_ok "$1" "$LAB/bad"; else ok "$1"; fi
	rm -f "$LAB/bad"
}

bus_begin() {
	MGR_TCTI=swtpm:path=$LAB/bus.sock
	trap 'bus_stop 2>/dev/null; lab_end' EXIT
	chip_start
	chip_measure
}

# A chip, a guest on it, and a start of both through the bus in $LAB/start.log. The chip's owner hierarchy is shared, so that
# a second store can be made on it.
bus_record() {
	bus_begin
	bus
	mgr_init --seal-pcrs 0,4 --shared-chip >/dev/null
	bus
	mgr_start --pool 0
	guest_make web1
	mgr_stop
	bus
	mgr_start --pool 0
	ctl start web1 >/dev/null
	mgr_stop
	cp "$LAB/bus.log" "$LAB/start.log"
	mapfile -t RECORDED < <(recorded)
}
