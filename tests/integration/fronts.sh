#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# swtpm.sock: fronts that break the protocol, go half-way, have no token or another's; and vtpm-swtpm itself, against a
# real manager. What libvirt does with it is tests/lab/libvirt's.
set -u
. tests/lib.sh
. tests/checks.sh
lab_init
export VTPM_RUNTIME_DIR=$LAB/run

front() { timeout 120 tests/integration/fronts.py "$LAB/run" "$1"; }
count() { ctl list | grep -c "^$1" || true; }
names() { ctl list | awk 'NR > 1 { print $1 }' | LC_ALL=C sort | tr '\n' ' '; }
tool() { local name=$1; shift; timeout 60 "$B/swtpm/$name" "$@"; }

chip_start && mgr_init --insecure-pcrs >/dev/null && mgr_start || { echo "not ok start"; exit 1; }
check garbage front garbage
check bad_bodies front bad_bodies
check wrong_state front wrong_state
check descriptors front descriptors
check tokens front tokens
check crowd front crowd
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null && [ -e /dev/fuse ]; then
	check stuck_file front stuck_file
else
	echo "skip stuck_file: mounting a file system of one's own needs root and FUSE"
fi
check on_and_off front on_and_off
check undone front undone
check undone_leaves_nothing soon gives 0 count undone
for n in $(ctl list | awk 'NR > 1 { print $1 }'); do ctl stop "$n" 2>/dev/null; ctl destroy "$n"; done
check names front names
is names_are_fit_for_files "$(names)" "$(printf '%s\n' web web-2 .._.._etc_passwd _x vm-damaged-row-1 machine __ \
	"$(printf 'n%.0s' $(seq 56))" "$(printf 'n%.0s' $(seq 56))-2" | sed 's/^\./_/' | LC_ALL=C sort | tr '\n' ' ')"
if [ "$(id -u)" -eq 0 ]; then
	coproc CROWD { front stranger 2>&1; }
	while read -r line <&"${CROWD[0]}" && [ "$line" != held ]; do echo "    $line"; done
	is stranger_is_refused "$line" held
	check and_keeps_nobody_out front tokens
	echo >&"${CROWD[1]}"
	wait "$CROWD_PID"
else
	echo "skip stranger_is_refused: not root"
	echo "skip and_keeps_nobody_out: not root"
fi

# --- the command lines, in order ---
S=$LAB/state.vm
mkdir "$S"
exits setup 0 tool swtpm_setup --tpm2 --tpm-state "$S" --vmid "vm:11111111-2222-4333-8444-555555555555" --createek
exits again_not_overwritten 0 tool swtpm_setup --tpm2 --tpm-state "$S" --vmid vm --not-overwrite
exits again_refused 1 tool swtpm_setup --tpm2 --tpm-state "$S" --vmid vm
is one_was_made "$(count vm)" 2 # vm, and vm-damaged-row-1 of above
exits overwritten 0 tool swtpm_setup --tpm2 --tpm-state "$S" --vmid "vm:11111111-2222-4333-8444-555555555555" --overwrite
check the_old_one_is_an_orphan grep -q '^vm .*orphaned' <(ctl list)
exits another_bank_is_refused 1 tool swtpm_setup --tpm2 --tpm-state "$S" --pcr-banks sha1 --reconfigure
exits print_states 0 tool swtpm socket --tpm2 --print-states --tpmstate "dir=$S"
says the_state_is_named permall
check capabilities python3 -c 'import json,sys; d=json.load(sys.stdin); assert "tpm-2.0" in d["features"] and "tpm-1.2" not in d["features"]' \
	< <(tool swtpm socket --print-capabilities)
serve() { tool swtpm socket --tpm2 --tpmstate "dir=$S" --ctrl "type=unixio,path=$LAB/vm.ctrl,mode=0600" --daemon \
	--pid "file=$LAB/vm.pid" --log "file=$LAB/vm.log" "$@"; }
exits serve 0 serve
is socket_has_its_mode "$(stat -c %a "$LAB/vm.ctrl")" 600
# Ours against ours, and Debian's swtpm_ioctl against ours: the same words.
for c in -c -g "--info 1" -i -e -C "-h data"; do
	is "ioctl_${c//[ -]/}" "$(tool swtpm_ioctl --unix "$LAB/vm.ctrl" $c 2>&1)" "$(timeout 60 swtpm_ioctl --unix "$LAB/vm.ctrl" $c 2>&1 | sed 's/^TPM/vtpm-swtpm: &/')"
done
exits ioctl_refuses_tcp 1 tool swtpm_ioctl --tcp :1 -c
pid=$(cat "$LAB/vm.pid")
check it_is_off becomes vm-2 stopped
exits shutdown 0 tool swtpm_ioctl --unix "$LAB/vm.ctrl" -s
check shutdown_ends_it ended "$pid"
check and_takes_its_socket test ! -e "$LAB/vm.ctrl"
exits serve_once 0 serve --terminate
pid=$(cat "$LAB/vm.pid")
exits one_connection 0 tool swtpm_ioctl --unix "$LAB/vm.ctrl" -c
check terminate_ends_it ended "$pid"
# A file, as a volume of Proxmox's is one.
truncate -s 4M "$LAB/volume"
exits setup_in_a_volume 0 tool swtpm_setup --tpm2 --tpmstate "file://$LAB/volume" --createek --ecc --config /etc/swtpm_setup.conf --not-overwrite
is the_volume_keeps_its_size "$(stat -c %s "$LAB/volume")" 4194304
exits serve_a_volume 0 tool swtpm socket --tpm2 --tpmstate "backend-uri=file://$LAB/volume" --terminate --daemon \
	--ctrl "type=unixio,path=$LAB/volume.ctrl" --pid "file=$LAB/volume.pid" --log "file=$LAB/volume.log,level=1,prefix=[id=1]"
pid=$(cat "$LAB/volume.pid")
exits use_a_volume 0 tool swtpm_ioctl --unix "$LAB/volume.ctrl" -i
check volume_ends ended "$pid"
# A TPM that was swtpm's is refused, then imported with a token, then served.
mkdir "$LAB/old"
check swtpm_makes_one swtpm_setup --tpm2 --tpmstate "$LAB/old" --createek --overwrite
old() { tool swtpm socket --tpm2 --tpmstate "dir=$LAB/old" --terminate --daemon --ctrl "type=unixio,path=$LAB/old.ctrl" \
	--pid "file=$LAB/old.pid" --log "file=$LAB/old.log"; }
exits state_of_swtpm_is_refused 1 old
says the_way_out_is_named "vtpmctl import"
exits import_with_a_token 0 ctl import old --swtpm "$LAB/old" --token "$LAB/old" --machine 33333333-2222-4333-8444-555555555555
is token_is_the_owners_alone "$(stat -c '%a %u' "$LAB/old/vtpm-token")" "600 $(stat -c %u "$LAB/old")"
exits serve_the_imported 0 old
pid=$(cat "$LAB/old.pid")
exits use_the_imported 0 tool swtpm_ioctl --unix "$LAB/old.ctrl" -i
check imported_ends ended "$pid"
is a_token_of_ones_own_is_nothing_to_say "$(grep -c "others may open" "$LAB/old.log")" 0
chmod 644 "$LAB/old/vtpm-token"
exits serve_with_a_shared_token 0 old
pid=$(cat "$LAB/old.pid")
exits use_with_a_shared_token 0 tool swtpm_ioctl --unix "$LAB/old.ctrl" -i
check shared_token_ends ended "$pid"
check a_shared_token_is_said grep -q "others may open the token" "$LAB/old.log"
exits a_second_token_is_refused 4 ctl create other --token "$LAB/old"
exits a_machine_without_token 2 ctl create other --machine 33333333-2222-4333-8444-555555555555
# The manager goes while it waits.
exits serve_while_the_manager_goes 0 serve
pid=$(cat "$LAB/vm.pid")
mgr_stop
check it_goes_with_the_manager ended "$pid"
check and_says_why grep -q "the manager has ended" "$LAB/vm.log"
exits no_manager 1 serve
says no_manager_is_named "no manager at $LAB/run/swtpm.sock"
