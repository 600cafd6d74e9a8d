# SPDX-License-Identifier: BSD-2-Clause
# A host that may die at any instant, on top of tests/lib.sh: manager and keeper that say what they do, a disk that is looked at, a chip
# whose power can be cut. Sourced after tests/integration/faults.sh.

LOG_PID= RESETS=0
CHIP_RESETS=yes
ENV=()
mortals() { :; } # whom a life has die at the instant that a keeper says
# The programs as the manager finds them, with the traced keeper in the keeper's place.
powercut_init() {
	LIBEXEC=$LAB/libexec
	mkdir "$LIBEXEC" "$LAB/cut" "$LAB/know" "$LAB/base"
	ln -s "$B/vtpm-spawn" "$B/vtpm-backend" "$LIBEXEC/"
	ln -s "$B/tests/powercut_keeper" "$LIBEXEC/vtpm-keeper"
	touch "$LAB/cut/disk" "$LAB/cut/victims" "$LAB/cut/plan"
	chmod 777 "$LAB/cut"
	chmod 666 "$LAB/cut/disk" "$LAB/cut/plan"
	arm
}
# The manager ends in the place of that operation on its disk, the keeper at that instant (plan.h); without a number, or 0, never.
arm() {
	local n bytes=
	for n in "${1:-0}" "${2:-0}"; do
		printf -v bytes '%s\\x%02x\\x%02x\\x00\\x00\\x00\\x00\\x00\\x00' "$bytes" $((n & 255)) $((n >> 8))
	done
	printf "$bytes" 1<>"$LAB/cut/plan" # not made anew: it is mapped
}
note() { echo "powercut: trace $*" >>"$LAB/mgr.log"; } # what nobody else can say

# Everything that the manager and its processes say goes through one reader, which ends with the last of them.
log_open() {
	rm -f "$LAB/log.in"
	mkfifo "$LAB/log.in"
	"$B/tests/powercut_log" "$LAB/mgr.log" "$LAB/cut/victims" <"$LAB/log.in" &
	LOG_PID=$!
}
traced_init() {
	log_open
	"$B/tests/powercut_mgr" --init $(mgr_options) "$@" >/dev/null 2>"$LAB/log.in"
	wait "$LOG_PID"
}
# HOLD: options of a vtpm-hold that starts it. Status 1: it has ended before it was ready.
traced_start() {
	local program=("$B/tests/powercut_mgr")
	[ -z "${HOLD+set}" ] || program=("$B/vtpm-hold" $HOLD --manager "$B/tests/powercut_mgr" --)
	rm -f "$LAB/ready" "$LAB"/base/* "$LAB"/know/*.pcr
	cp -a "$LAB"/state/vtpm.db* "$LAB/base/"
	: >"$LAB/cut/disk"
	mkfifo "$LAB/ready"
	log_open
	env "${ENV[@]}" POWERCUT_PLAN="$LAB/cut/plan" POWERCUT_LOG="$LAB/cut/disk" "${program[@]}" $(mgr_options) --ready-fd 9 --pool 0 \
		--anchor-writes-per-day 1000000 --anchors-per-guest 1000000 "$@" 9>"$LAB/ready" 2>"$LAB/log.in" &
	MGR_PID=$!
	mortals >"$LAB/cut/victims"
	read -r _ <"$LAB/ready"
}
# Waits for the end of all of its processes. What it did is noted, so that the next one is another.
traced_down() {
	wait "$MGR_PID" 2>/dev/null || true
	MGR_PID=
	wait "$LOG_PID" || true
	note crash
}
up() { [ -n "$MGR_PID" ] && [ -e "/proc/$MGR_PID/exe" ]; }

# The chip loses power: no TPM2_Shutdown, and what it has in RAM is gone. PCRs begin anew, and the host boots as before.
chip_kill() {
	kill -KILL "$CHIP_PID" 2>/dev/null || true
	ended "$CHIP_PID"
}
chip_alive() { [ -e "/proc/$CHIP_PID/exe" ]; }
chip_again() {
	note reset
	RESETS=$((RESETS + 1))
	chip_boot
}
# What the disk holds after the cut, chosen by a number.
disk_cut() { "$B/tests/powercut_disk" "$LAB/base" "$LAB/state" "$LAB/cut/disk" "$1"; }
continuity() { ctl status --json | sed -n '/^ *"continuity": {/,/^    }/p' | value_of "$1"; }
