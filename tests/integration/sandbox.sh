#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The sandbox, from inside (a backend that its guest has taken over) and from outside (what /proc says of each process).
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

root() { [ "$(id -u)" -eq 0 ]; }

if nm -D "$B/vtpm-backend" | grep -q __asan_init; then
	echo "skip sandbox: the sanitizers' own system calls are not permitted in it"
	exit 0
fi

chip_start
check init mgr_init --insecure-pcrs --seal-pcrs 0
check start mgr_start --pool 0
for g in guest victim; do
	ctl create $g --commit-rate 0 >/dev/null && ctl start $g >/dev/null || echo "not ok create_$g"
	guest $g tpm2_getrandom 8 >/dev/null || echo "not ok serve_$g"
done

# --- from outside ---

children() { cat "/proc/$1/task/$1/children"; }
# Of the spawner's children, those that serve: one in reserve has no guest, no second thread and no filter yet.
others() { # value of Seccomp
	local p
	for p in $(children "$(spawner)"); do
		case $(tr '\0' ' ' <"/proc/$p/cmdline") in
		vtpm-keeper*) ;;
		*) [ "$(proc_field "$p" Seccomp)" != "$1" ] || echo "$p" ;;
		esac
	done
}
backends() { others 2; }
reserve() { others 0; }
proc_field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# What its descriptors are, in order of their numbers, without the inodes.
fds() {
	local fd
	for fd in $(ls "/proc/$1/fd" | sort -n); do
		printf '%s:%s ' "$fd" "$(readlink "/proc/$1/fd/$fd" | sed 's/:\[[0-9]*\]//; s/anon_inode://; s/ (deleted)//; s/[][]//g')"
	done
}
kinds() { fds "$1" | tr ' ' '\n' | sed 's/^[0-9]*://' | grep . | sort | uniq -c | awk '{ printf "%d×%s ", $1, $2 }'; }

SPAWNER=$(spawner)
KEEPER=$(keeper)
BACKEND=$(backends | sed -n 1p)
VICTIM=$(backends | sed -n 2p)

confined() { # name, pid, threads
	local t
	is "$1_no_new_privs" "$(proc_field "$2" NoNewPrivs)" 1
	is "$1_seccomp" "$(proc_field "$2" Seccomp)" 2
	is "$1_threads" "$(ls "/proc/$2/task" | wc -l)" "$3"
	for t in /proc/$2/task/*; do
		is "$1_thread_filtered" "$(awk '$1 == "Seccomp:" || $1 == "NoNewPrivs:" { printf "%s", $2 }' "$t/status")" 12
	done
	is "$1_core_limit" "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$2/limits")" "0 0"
	for c in CapInh CapPrm CapEff CapAmb; do
		root && is "$1_$c" "$(proc_field "$2" $c)" 0000000000000000
	done
	if root && setpriv --dump | grep -q '^Capability bounding set:.*setpcap'; then
		is "$1_CapBnd" "$(proc_field "$2" CapBnd)" 0000000000000000
	fi
}
unreadable() { # name, pid: not by its own uid
	local uid
	uid=$(proc_field "$2" Uid | cut -f1)
	is "$1_is_not_dumpable" "$(stat -c %u "/proc/$2/mem" "/proc/$2/environ" | sort -u)" 0
	for f in mem maps environ; do
		if setpriv --reuid="$uid" --regid="$uid" --clear-groups dd if="/proc/$2/$f" of=/dev/null count=1 2>"$LAB/out"; then
			not_ok "$1_${f}_is_closed_to_its_own_uid"
		else
			ok "$1_${f}_is_closed_to_its_own_uid"
		fi
	done
}
locked_in() { # name, pid
	is "$1_root_directory_is_empty" "$(ls -A "/proc/$2/root/" | wc -l)" 0
	is "$1_root_directory" "$(stat -c %i "/proc/$2/root/")" "$(stat -c %i "$LAB/run/empty")"
	is "$1_groups" "$(proc_field "$2" Groups | tr -d ' ')" ""
}

confined backend "$BACKEND" 2
confined keeper "$KEEPER" 1
confined manager "$MGR_PID" 1

if root; then
	is backend_descriptors "$(fds "$BACKEND")" \
		"0:/dev/null 1:/dev/null 2:/dev/null 3:socket 4:socket 7:eventfd 8:eventfd 10:eventfd 11:eventfd "
	echo "    keeper: $(kinds "$KEEPER")"
	is keeper_opens_nothing_but_its_ends "$(fds "$KEEPER" | tr ' ' '\n' | sed 's/^[0-9]*://' | grep -vE '^(/dev/null|socket|pipe|eventpoll|eventfd|)$')" \
		"$LAB/state/keeper.lock"
	is keeper_cannot_write_its_fence "$(awk '$1 == "flags:" { print substr($2, length($2)) }' "/proc/$KEEPER/fdinfo/5")" 0 # O_RDONLY
	echo "    manager: $(kinds "$MGR_PID" | sed "s|$LAB|…|g")"
	is backend_has_a_uid_of_its_own "$(proc_field "$BACKEND" Uid | tr '\t' '\n' | sort -u | wc -l) $(proc_field "$BACKEND" Uid | cut -f1 | grep -cxE "0|$(id -u nobody)|$(proc_field "$VICTIM" Uid | cut -f1)|$(proc_field "$KEEPER" Uid | cut -f1)")" "1 0"
	is backend_group_is_its_own "$(proc_field "$BACKEND" Gid)" "$(proc_field "$BACKEND" Uid)"
	is manager_uid "$(proc_field "$MGR_PID" Uid | tr '\t' ' ')" "65534 65534 65534 65534"
	for p in backend:$BACKEND keeper:$KEEPER; do
		locked_in "${p%:*}" "${p#*:}"
		unreadable "${p%:*}" "${p#*:}"
	done
	unreadable manager "$MGR_PID"
	is manager_groups "$(proc_field "$MGR_PID" Groups | tr -d ' ')" ""
	if [ "$(readlink "/proc/$BACKEND/ns/net")" = "$(readlink /proc/self/ns/net)" ]; then
		echo "skip backend_network: this machine does not permit network namespaces"
	else
		is backend_network_has_only_a_dead_loopback \
			"$(awk 'NR > 2 { print $1, $2, $10 }' "/proc/$BACKEND/net/dev") $(cat "/proc/$BACKEND/net/if_inet6" "/proc/$BACKEND/net/unix" 2>/dev/null | grep -vc ^Num)" "lo: 0 0 0"
		is backends_share_it "$(readlink "/proc/$BACKEND/ns/net")" "$(readlink "/proc/$VICTIM/ns/net")"
	fi
	# The one process that keeps rights, because only it can give others a uid: no filter, but also nothing to attack it with.
	is spawner_keeps_root "$(proc_field "$SPAWNER" Uid | cut -f1) seccomp $(proc_field "$SPAWNER" Seccomp)" "0 seccomp 0"
	is spawner_threads "$(ls "/proc/$SPAWNER/task" | wc -l)" 1
	is spawner_core_limit "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$SPAWNER/limits")" "0 0"
	is spawner_descriptors "$(fds "$SPAWNER" | tr ' ' '\n' | grep . | grep -v '^[012]:' | sed 's/^[0-9]*://' | sort -u | tr '\n' ' ')" \
		"$(printf '%s\n' /dev/null "$B/vtpm-spawn" /memfd:vtpm-checkpoint eventpoll net signalfd socket | sort | tr '\n' ' ')"
	is spawner_sockets "$([ "$(fds "$SPAWNER" | grep -o ':socket' | wc -l)" -le 3 ] && echo few)" few # manager, keeper, the one in reserve
	for p in $(reserve); do
		is the_one_in_reserve_has_one_socket "$(fds "$p")" "0:/dev/null 1:/dev/null 2:/dev/null 3:socket "
	done
else
	for p in backend:$BACKEND keeper:$KEEPER manager:$MGR_PID; do
		if ls "/proc/${p#*:}/fd" >"$LAB/out" 2>&1; then not_ok "${p%:*}_is_closed_to_its_own_uid"; else ok "${p%:*}_is_closed_to_its_own_uid"; fi
	done
	echo "skip uids_and_roots: only root can give each process a uid and an empty root directory"
fi
check stop mgr_stop

# --- from inside ---

# Stands where vtpm-backend or vtpm-spawn stands; the rest is what is shipped.
mkdir "$LAB/libexec"
ln -s "$B/vtpm-keeper" "$LAB/libexec/vtpm-keeper"
ln -s "$B/tests/rogue_backend" "$LAB/libexec/vtpm-backend"
ln -s "$B/tests/rogue_spawn" "$LAB/libexec/vtpm-spawn"
[ -e "$B/tests/rogue_spawn" ] || echo "not ok rogues_are_built"

attempts() { # how the backends are started, options…
	local how=$1 want needs_root n name got report
	shift
	LIBEXEC=$LAB/libexec check "${how}_start" mgr_start --pool 0 "$@"
	ctl start victim >/dev/null || echo "not ok ${how}_victim"
	victim=$(backends)
	is "${how}_one_victim" "$(wc -w <<<"$victim")" 1
	while IFS='|' read -r n want needs_root name; do
		if [ "$needs_root" = 1 ] && ! root; then
			echo "skip ${how}_$name: only root has an empty root directory"
			continue
		fi
		ctl start guest >/dev/null 2>"$LAB/out" || not_ok "${how}_start_for_$name"
		got=$(timeout 20 "$B/tests/hostile" "$LAB/run/guest.ring" rogue "$n" "$victim" 2>&1)
		report=$(ctl show guest --json | python3 -c 'import json,sys; d=json.load(sys.stdin)["vtpm"]; print(d["state"], d.get("reason", ""))')
		if [ "$want" = died ]; then
			report+=$(grep '"action":"crash","vtpm":"guest"' "$LAB/state/audit.log" | tail -n 1 | grep -o 'crashed (signal [0-9]*)')
			is "${how}_dies_of_$name" "$got: $report" "died: running crashed (signal 31)"
		else
			is "${how}_is_refused_$name" "$got: $report" "$want: running "
		fi
		ctl stop guest >/dev/null 2>&1
	done <<-END
		$("$B/tests/hostile" list-attempts)
	END
	check "${how}_victim_lives" guest victim tpm2_getrandom --hex 8
	is "${how}_victim_is_the_same_process" "$(kill -0 "$victim" 2>/dev/null && echo yes)" yes
	check "${how}_stop" mgr_stop
}
attempts exec --no-prefork
attempts fork

# --- the directory they are locked in: its place belongs to the manager's user ---

not_taken() { # name: what is at that place now is neither taken nor changed
	local before after
	before=$(stat -Lc '%a %u %g' "$LAB/run/empty/.")
	if mgr_start --pool 0; then
		mgr_stop
		not_ok "$1"
	else
		after=$(stat -Lc '%a %u %g' "$LAB/run/empty/.")
		is "$1" "$after" "$before"
	fi
	rm -rf "$LAB/run/empty"
}
rmdir "$LAB/run/empty"
mkdir -m 700 "$LAB/elsewhere"
ln -s ../elsewhere "$LAB/run/empty"
not_taken empty_is_no_link
mkdir -m 755 "$LAB/run/empty"
touch "$LAB/run/empty/file"
not_taken empty_is_empty
mkdir -m 777 "$LAB/run/empty"
chmod 777 "$LAB/run/empty"
not_taken empty_is_nobody_elses_to_write
check empty_is_made mgr_start --pool 0
is empty_mode "$(stat -c %a "$LAB/run/empty")" 555
check empty_stop mgr_stop
