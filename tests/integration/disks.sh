# SPDX-License-Identifier: BSD-2-Clause
# Power cuts of the chip, and disks that are put back, on top of tests/lib.sh and faults.sh.

# The chip loses power: no TPM2_Shutdown, and what it has in RAM is gone. PCRs begin anew, and the host boots as before.
chip_cut() {
	kill -KILL "$CHIP_PID"
	ended "$CHIP_PID"
	chip_boot
}
host_cut() { mgr_stop KILL || true; chip_cut; } # all of the host
disk_copy() { rm -rf "$LAB/disk.$1"; cp -a "$LAB/state" "$LAB/disk.$1"; }
disk_back() { rm -f "$LAB"/state/vtpm.db*; cp -a "$LAB/disk.$1/"vtpm.db* "$LAB/state/"; }
continuity() { ctl status --json | json "['status']['continuity'].get('$1', '')"; }
wear() { status continuity wear "$1"; }
is_found() { continuity found | grep -qE -- "$1" || { continuity found; return 1; }; }

# The manager is up, says why, serves nothing and writes nothing.
store_refused() { # TEXT GUEST…
	local text=$1
	shift
	log_mark
	disk_copy before
	mgr_start --pool 0 || return 1
	all logged "the store is quarantined: .*$text" -- test "$(continuity state)" = quarantined -- is_found "$text" -- \
		refused "quarantined" ctl create new -- refused "quarantined" ctl destroy "$1" -- refused "quarantined" ctl group create other --pcrs 0 &&
		ctl list >/dev/null && ctl quarantine list | grep -q "the store is quarantined" &&
		for g in "$@"; do all refused "quarantined: .*$text" ctl start "$g" -- is_state "$g" quarantined || return 1; done
	local rc=$?
	mgr_stop || rc=1
	[ "$(db .dump | sha256sum)" = "$(sqlite3 "$LAB/disk.before/vtpm.db" .dump | sha256sum)" ] || { echo "the store has changed"; rc=1; }
	return $rc
}
accepted() { mgr_start --pool 0 && [ "$(continuity state)" = open ]; }
