#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# vtpm-swtpm's --server, --flags and --locality: a script that talks to swtpm over a socket, beside Debian's swtpm with
# the same command line, and then what only ours has to stand.
set -u
. tests/lib.sh
. tests/checks.sh
lab_init
export VTPM_RUNTIME_DIR=$LAB/run
FRONT=
end() {
	[ -z "$FRONT" ] || kill "$FRONT" 2>/dev/null
	lab_end
}
trap end EXIT

swtpm_of() { case $1 in ours) echo "$B/swtpm/swtpm" ;; *) command -v swtpm ;; esac; }
begin() { # ours or theirs, options: it serves at $LAB/t.ours; the pid is in FRONT
	local who=$1 rc=0
	shift
	timeout 200 "$(swtpm_of "$who")" socket --tpm2 --tpmstate "dir=$LAB/s.$who" --server "type=unixio,path=$LAB/t.$who${SERVER:-}" --daemon \
		--pid "file=$LAB/pid" --log "file=$LAB/log.$who" "$@" >"$LAB/begin" 2>&1 || rc=$?
	[ $rc -ne 0 ] || FRONT=$(cat "$LAB/pid")
	return $rc
}
with_ctrl() { begin "$@" --ctrl "type=unixio,path=$LAB/t.$1.ctrl"; }
gone() { ended "$FRONT"; FRONT=; }
end_by() { kill "-$1" "$FRONT"; gone; }
ioctl() { timeout 200 swtpm_ioctl --unix "$LAB/t.$1.ctrl" "${@:2}"; }
tpm() { TPM2TOOLS_TCTI="swtpm:path=$LAB/t.$1" timeout 200 "${@:2}"; }
client() { timeout 300 tests/integration/fronts_server.py "$LAB/t.$1" "$2"; }
left() { (cd "$LAB" && ls -d t.* pid 2>/dev/null | tr '\n' ' '); }
tell() { # what a command answers, in one line: its status, and what it prints unless it fails
	local out rc=0
	out=$("${@:2}" 2>/dev/null) || rc=$?
	[ $rc -eq 0 ] || out=
	echo "$1: $rc ${out//$'\n'/;}"
}

# Each line of these stories is to be the same for both.
story_without_flags() {
	tell start with_ctrl "$1"
	tell random_before_init tpm "$1" tpm2_getrandom -o /dev/null 8
	tell init ioctl "$1" -i
	tell random_before_startup tpm "$1" tpm2_getrandom -o /dev/null 8
	tell startup tpm "$1" tpm2_startup -c
	tell random tpm "$1" tpm2_getrandom -o /dev/null 8
	tell extend tpm "$1" tpm2_pcrextend 16:sha256=$(printf 'ab%.0s' $(seq 32))
	tell extended tpm "$1" tpm2_pcrread sha256:0,16
	for c in -e -g -C "-l 3" "-l 5" "-h data"; do
		tell "ioctl $c" ioctl "$1" $c
	done
	tell drtm tpm "$1" tpm2_pcrread sha256:17
	tell init_again ioctl "$1" -i
	tell random_after_init tpm "$1" tpm2_getrandom -o /dev/null 8
	tell startup_again tpm "$1" tpm2_startup -c
	tell reset tpm "$1" tpm2_pcrread sha256:0,16
	tell extend_again tpm "$1" tpm2_pcrextend 16:sha256=$(printf 'cd%.0s' $(seq 32))
	tell store_volatile ioctl "$1" -v
	tell init_of_that ioctl "$1" -i
	tell it_goes_on tpm "$1" tpm2_pcrread sha256:16
	tell stop ioctl "$1" --stop
	tell random_after_stop tpm "$1" tpm2_getrandom -o /dev/null 8
	tell established_after_stop ioctl "$1" -e
	FRONT=$(cat "$LAB/pid")
	tell shutdown ioctl "$1" -s
	gone
	tell left left
}
story_of_flags() {
	local f
	for f in not-need-init startup-clear not-need-init,startup-clear startup-state startup-none not-need-init,startup-none ""; do
		tell "start $f" with_ctrl "$1" --flags "$f"
		FRONT=$(cat "$LAB/pid")
		tell "random $f" tpm "$1" tpm2_getrandom -o /dev/null 8
		tell "startup $f" tpm "$1" tpm2_startup -c
		tell "random then $f" tpm "$1" tpm2_getrandom -o /dev/null 8
		end_by TERM
		tell "left $f" left
	done
	tell start_nonsense with_ctrl "$1" --flags frob
	tell start_nonsense_locality with_ctrl "$1" --locality frob
}
story_of_a_restart() {
	tell start with_ctrl "$1" --flags not-need-init,startup-clear
	tell define tpm "$1" tpm2_nvdefine 0x1500016 -C o -s 8 -a "ownerread|ownerwrite|authread|authwrite"
	tell write tpm "$1" tpm2_nvwrite 0x1500016 -C o -i - < <(printf 12345678)
	tell read tpm "$1" tpm2_nvread 0x1500016 -C o
	FRONT=$(cat "$LAB/pid")
	end_by TERM
	tell left left
	python3 -c 'import socket, sys; [socket.socket(socket.AF_UNIX).bind(p) for p in sys.argv[1:]]' "$LAB/t.$1" "$LAB/t.$1.ctrl"
	tell start_over_stale_sockets with_ctrl "$1" --flags not-need-init,startup-clear
	tell read_again tpm "$1" tpm2_nvread 0x1500016 -C o
	tell undefine tpm "$1" tpm2_nvundefine 0x1500016 -C o
	FRONT=$(cat "$LAB/pid")
	end_by TERM
	tell left left
	SERVER=,mode=0700 tell start_with_mode with_ctrl "$1" --flags startup-clear
	tell mode stat -c %a "$LAB/t.$1"
	FRONT=$(cat "$LAB/pid")
	end_by TERM
}
story_of_clients() {
	local c
	tell start with_ctrl "$1" --flags not-need-init,startup-clear --locality reject-locality-4
	FRONT=$(cat "$LAB/pid")
	for c in in_turns half vanish create come_and_go beside floods; do
		tell "$c" client "$1" $c
	done
	tell locality_4 ioctl "$1" -l 4
	tell locality_3 ioctl "$1" -l 3
	end_by TERM
	SERVER=,disconnect tell start_disconnect begin "$1" --flags not-need-init,startup-clear
	FRONT=$(cat "$LAB/pid")
	tell once client "$1" once
	end_by TERM
	tell start_terminate with_ctrl "$1" --flags not-need-init,startup-clear --terminate
	FRONT=$(cat "$LAB/pid")
	tell ioctl_does_not_end_it ioctl "$1" -e
	tell terminate python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(bytes.fromhex("80010000000c0000017b0008")); print(len(s.recv(99)))' "$LAB/t.$1"
	gone
	tell left left
}
same() { # name: a story, told by both
	"story_$1" theirs 2>&1 | sed 's/t\.theirs/t.X/g' >"$LAB/theirs"
	"story_$1" ours 2>&1 | sed 's/t\.ours/t.X/g' >"$LAB/ours"
	FRONT=
	check "same_$1" diff "$LAB/theirs" "$LAB/ours"
	check "told_$1" test "$(wc -l <"$LAB/theirs")" -ge "$2"
}

chip_start && mgr_init --insecure-pcrs >/dev/null && mgr_start || { echo "not ok start"; exit 1; }
mkdir "$LAB/s.theirs" "$LAB/s.ours"
check setup "$B/swtpm/swtpm_setup" --tpm2 --tpm-state "$LAB/s.ours" --vmid vm
same without_flags 27
same of_flags 36
same of_a_restart 11
same of_clients 16

# --- ours alone ---
# Another TPM: that one has spent its starts, of which a fast machine gives it no new ones by here.
exits first_is_destroyed 0 ctl destroy vm
rm -r "$LAB/s.ours"
mkdir "$LAB/s.ours"
exits second_setup 0 "$B/swtpm/swtpm_setup" --tpm2 --tpm-state "$LAB/s.ours" --vmid vm
state() { ctl show vm | awk '$1 == "state" { print $2 }'; }
start() { with_ctrl ours --flags not-need-init,startup-clear "$@"; }
exits start 0 start
exits the_front_has_no_part_in_it 0 env "FRONT=$FRONT" tests/integration/fronts_server.py "$LAB/t.ours" front_asleep
exits garbage 0 client ours garbage
exits deaf 0 client ours deaf
exits deaf_at_ctrl 0 client ours deaf_at_ctrl
exits stray 0 client ours stray
exits sends_no_more 0 client ours sends_no_more
exits not_for_ctrl 0 client ours not_for_ctrl
is capabilities "$(ioctl ours -c)" "ptm capability is 0x16cff"
exits locality_4_if_nobody_minds 0 ioctl ours -l 4
cp "$LAB/pid" "$LAB/pid.first"
exits a_second_front_is_refused 1 timeout 60 "$B/swtpm/swtpm" socket --tpm2 --tpmstate "dir=$LAB/s.ours" \
	--server "type=unixio,path=$LAB/t.second" --flags not-need-init
cp "$LAB/out" "$LAB/begin"
check and_says_why grep -q "not to be had" "$LAB/begin"
check and_leaves_no_socket test ! -e "$LAB/t.second"
exits the_first_goes_on 0 tpm ours tpm2_getrandom -o /dev/null 8
# In order: a TPM that is not shut down counts its next start as a wrong PIN, if there was one.
lockout() { tpm ours tpm2_getcap properties-variable | awk '$1 == "TPM2_PT_LOCKOUT_COUNTER:" { print $2 }'; }
exits define 0 tpm ours tpm2_nvdefine 0x1500017 -C o -s 4 -p pin -a "authread|authwrite"
exits wrong_pin 3 tpm ours tpm2_nvread 0x1500017 -P bad
is one_try_is_counted "$(lockout)" 0x1
FRONT=$(cat "$LAB/pid.first")
end_by TERM
is off_when_it_has_ended "$(state)" stopped
exits start_after_sigterm 0 start
is it_was_shut_down_in_order "$(lockout)" 0x1
end_by KILL
exits start_after_sigkill 0 start # the sockets are stale, and the TPM perhaps on its way off
is that_was_in_order_too "$(lockout)" 0x1
exits random_after_sigkill 0 tpm ours tpm2_getrandom -o /dev/null 8
exits at_work 0 client ours at_work
end_by INT
is sigint_takes_the_sockets "$(left)" ""
is off_in_mid_command "$(state)" stopped
exits start_after_that 0 start
exits operator_stops_it 0 ctl stop vm
gone
is operators_stop_ends_it "$(left)" ""
check and_the_log_says_so grep -q "its TPM is off" "$LAB/log.ours"
check listens tests/integration/fronts_server.py --listen "$LAB/t.ours" "$B/swtpm/swtpm" socket --tpm2 --tpmstate "dir=$LAB/s.ours" \
	--server type=unixio,fd=9 --flags startup-clear --daemon --pid "file=$LAB/pid" --log "file=$LAB/log.ours"
FRONT=$(cat "$LAB/pid")
exits descriptor 0 client ours in_turns
end_by TERM
rm -f "$LAB/t.ours"
for o in "--server type=tcp,port=2321" "--server port=2321" "--flags startup-deactivated" "--locality allow-set-locality" "--port 2321"; do
	exits "refused_${o//[^a-z0-9]/_}" 1 start $o
	check "why_${o//[^a-z0-9]/_}" grep -q "offered" "$LAB/begin"
done
exits descriptor_that_does_not_listen 1 timeout 60 "$B/swtpm/swtpm" socket --tpm2 --tpmstate "dir=$LAB/s.ours" --server type=unixio,fd=9 9</dev/null
exits without_a_path_to_bind 1 begin ours --server "type=unixio,path=/nonexistent/t"
is and_the_tpm_is_off_again "$(state)" stopped
# With --ctrl alone it is QEMU that sends INIT.
exits flags_without_server 0 timeout 60 "$B/swtpm/swtpm" socket --tpm2 --tpmstate "dir=$LAB/s.ours" --ctrl "type=unixio,path=$LAB/t.ours.ctrl" \
	--flags not-need-init,startup-clear --daemon --pid "file=$LAB/pid" --log "file=$LAB/log.ours,truncate"
FRONT=$(cat "$LAB/pid")
check flags_are_commented_on grep -q "it is QEMU that sends INIT" "$LAB/log.ours"
exits init_over_ctrl 0 ioctl ours -i
end_by TERM
exits start_while_the_manager_goes 0 start
mgr_stop
gone
check it_goes_with_the_manager grep -q "its TPM is off\|the manager has ended" "$LAB/log.ours"
is and_takes_its_sockets "$(ls "$LAB"/t.* 2>/dev/null)" ""
exits no_manager 1 start
