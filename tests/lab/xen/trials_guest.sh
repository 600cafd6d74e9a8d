# SPDX-License-Identifier: BSD-2-Clause
# What guests do in trials.sh. Read by plans.sh, in the guest; busybox sh.

# Without a driver: the program is the front end.
plan_hostile() { # mode, arguments
	check "$(echo "$*" | tr ' ' _)" hostile_xen 0 "$@"
}
# Commands that must all succeed, whatever others do meanwhile.
plan_neighbour() { # how many
	local i bad=0
	for i in $(seq "$1"); do tpm2 getrandom --hex 8 >/tmp/random 2>/tmp/out || bad=$((bad + 1)); done
	is neighbour_has_no_failure "$bad" 0
}
plan_measured() { check measure measure here; pcr $pcr_used >pcr.was; }
plan_measured_still() { is pcr_is_what_it_was "$(pcr $pcr_used)" "$(cat pcr.was)"; }
plan_measured_nothing() { is pcr_is_empty "$(pcr $pcr_used)" "$(zero)"; }
# Keys without end, from the background.
plan_busy() { (while tpm2 createprimary -Q -C o -G rsa2048 -c busy.ctx; do :; done >/dev/null 2>&1 &); }
# TPM2_GetRandom(8): one command, since each may wait half a minute for a back end that comes back.
one_command() { printf '\200\001\0\0\0\014\0\0\001\173\0\010' | dd bs=12 of=/dev/tpmrm0; }
plan_finds_no_tpm() { is no_tpm "$(ls /dev/tpmrm0 /dev/tpm0 2>/dev/null)" ""; }
plan_has_no_tpm() { refused commands_fail . one_command; }
# Nobody waits for one whose domain has died.
plan_back_end_is_gone() { refused commands_fail_at_once 'Broken pipe' one_command; }
# Our driver waits for a back end that has gone, and goes on with the one that comes.
plan_tpm_comes_back() {
	until tpm2 getrandom --hex 8 >/tmp/random 2>&1; do usleep 200000; done
	check tpm_serves tpm2 getrandom --hex 8
}

# Failed authorisations, each of which is anchored.
try_wrong() { tpm2 nvread -C 0x01500020 -P wrong -o /tmp/nothing 0x01500020; }
plan_wrong() {
	check nv_define tpm2 nvdefine -Q -C o -s 1 -a 'ownerwrite|authread' -p right 0x01500020
	check nv_write sh -c 'echo x | head -c 1 | tpm2 nvwrite -Q -C o -i - 0x01500020'
	refused wrong_is_refused 0x98e try_wrong
}
plan_wrong_again() {
	try_wrong >/tmp/wrong 2>&1 &
	wrong=$!
}
plan_wrong_waits() { check its_answer_waits kill -0 "$wrong"; }
# --- what domains can have of each other ---
plan_offers() { # domain: a page and a port for it
	rm -f /tmp/offer
	xen_reach offer "$1" >/tmp/offer 2>&1 &
	until [ -s /tmp/offer ]; do usleep 20000; done
	note offer "$(cat /tmp/offer)"
}
plan_takes_nothing() { # domain, page, port
	xen_reach take "$@" >/tmp/taken 2>&1
	is takes_nothing "$(tr -d ' \n' </tmp/taken)" ""
}
plan_has_a_tpm() { check tpm tpm2 getrandom --hex 8; }
plan_has_no_device() { check no_tpm test ! -e /dev/tpm0; }
