#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A full disk must not become an oracle: a wrong PIN writes (the dictionary-attack counter), a right one does not. So
# after a commit has failed both are answered alike, to the byte, and what was executed is counted when there is room.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${VTPM_TEST_NS:-}" ]; then
	unshare -m true 2>/dev/null || { echo "skip oracle: mounting a small disk needs root"; exit 0; }
	VTPM_TEST_NS=1 exec unshare -m --propagation private "$0"
fi
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/raw.sh
lab_init
small_disk

INDEX=01500030
RIGHT=34373131 WRONG=34373132 SHORT=3437 # "4711", "4712", "47"
right() { nv_read_pin_hex $INDEX 4 "$RIGHT"; }
wrong() { nv_read_pin_hex $INDEX 4 "$WRONG"; }
counter() { say g "$(lockout_counter_hex)"; echo $((16#${REPLY: -8})); }
counter_is() { local n; n=$(counter); [ "$n" -eq "$1" ] || { echo "the counter is $n, not $1"; return 1; }; }
all_alike() { # every authorisation, right or wrong, PIN or none, gets the same bytes
	all answers g "$(right)" $RC_NV_UNAVAILABLE -- answers g "$(wrong)" $RC_NV_UNAVAILABLE -- \
		answers g "$(nv_read_pin_hex $INDEX 4 "$SHORT")" $RC_NV_UNAVAILABLE -- answers g "$(right)" $RC_NV_UNAVAILABLE -- \
		answers g "$(nv_read_pin_hex $INDEX 4 "")" $RC_NV_UNAVAILABLE -- answers g "$(pcr_extend_hex)" $RC_NV_UNAVAILABLE -- \
		answers g "$(nv_read_hex 01c0000a 16)" $RC_NV_UNAVAILABLE
}
others_go_on() { all succeeds g "$(get_random_hex)" -- succeeds g "$(lockout_counter_hex)"; }

chip_and_store
mgr_start --pool 0
ctl create g >/dev/null
ctl start g >/dev/null
guest g tpm2_dictionarylockout -s -n 31 -t 100000 -l 100000
guest g tpm2_nvdefine -Q -C o -s 4 -a 'authread|authwrite' -p 4711 0x$INDEX
printf 0123 | guest g tpm2_nvwrite -Q -C 0x$INDEX -P 4711 -i - 0x$INDEX
line_open g
check right-pin-reads succeeds g "$(right)"
say g "$(wrong)"
check wrong-pin-is-a-failed-authorisation test "$(rc_of "$REPLY")" = 0000098e
check it-is-counted counter_is 1

fill_disk
check a-right-pin-writes-nothing succeeds g "$(right)"
tries=1
until say g "$(wrong)"; tries=$((tries + 1)); [ "$(rc_of "$REPLY")" != 0000098e ] || [ $tries -ge 25 ]; do :; done
check wrong-pin-on-a-full-disk test "$REPLY" = $RC_NV_UNAVAILABLE
check now-all-get-the-same-bytes all_alike
check and-again all_alike
check others-go-on others_go_on
check only-executed-tries-count counter_is $tries
check status-says-full eval 'ctl status --json | grep -q "\"store\": *\"full\""'
free_disk
check with-room-the-right-pin-reads succeeds g "$(right)"
check exactly-the-tries-executed-are-counted counter_is $tries
check with-room-a-wrong-pin-fails eval 'say g "$(wrong)"; [ "$(rc_of "$REPLY")" = 0000098e ]'
tries=$((tries + 1))
line_close g
ctl stop g
ctl start g >/dev/null
line_open g
check they-are-on-the-disk counter_is $tries

# What the store has of its own, its log, takes changes when the disk is full already; h uses it up.
ctl create h --commit-rate 0 >/dev/null
ctl start h >/dev/null
guest h tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x01500031
ctl stop h
use_up_the_log() {
	ctl start h >/dev/null
	line_open h
	fill_disk
	local n=0
	until say h "$(nv_write_hex 01500031 "$(printf %016x $((++n + $RANDOM * 100000)))")"; [ "$REPLY" = $RC_NV_UNAVAILABLE ]; do :; done
	line_close h
}

# Reset and restart on a full disk give no free try: nothing is authorised from TPM2_Startup on.
fill_disk
check a-reset-buys-nothing all ctl reset g -- all_alike -- all_alike -- others_go_on
line_close g
mgr_stop KILL || true
fill_disk
mgr_start --pool 0
check nothing-is-served-on-a-full-disk all refused "full" ctl start g -- refused "full" ctl start g
for i in 1 2 3; do # a manager that has found room to begin, and then has none
	mgr_stop KILL || true
	free_disk
	mgr_start --pool 0
	use_up_the_log
	check start-on-a-full-disk-$i ctl start g
	line_open g
	check restart-$i-buys-nothing all all_alike -- all_alike -- others_go_on
	line_close g
done
line_open g
n=$(counter)
check no-try-is-forgotten test "$n" -ge $tries
free_disk
# The first authorisation of this kind after a start is answered with TPM_RC_RETRY: the TPM notes that one is about to come.
say g "$(right)"
check with-room-the-right-pin-reads-again eval '[ "$(rc_of "$REPLY")" = 00000922 ] || succeeds g "$(right)" && succeeds g "$(right)"'
check no-try-was-executed counter_is "$n"
check wrong-pin-counts-again eval 'say g "$(wrong)"; [ "$(rc_of "$REPLY")" = 0000098e ] && counter_is $((n + 1))'
line_close g
mgr_stop
exit $FAILED
