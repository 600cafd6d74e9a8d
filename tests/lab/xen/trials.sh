# SPDX-License-Identifier: BSD-2-Clause
# What guests, toolstack and accidents do to the manager of a dom0, and what must come of it. Read by dom0.sh; busybox sh.

back_node() { echo "/local/domain/${back_domain:-0}/backend/vtpm/$(xl domid "$1")/0/$2"; } # guest, node
back_state() { xenstore-read "$(back_node "$1" state)"; }
in_state() { [ "$(back_state "$1")" = "$2" ]; }
vtpm_state() { ctl list | awk -v n="$1" '$1 == n { print $4 }'; }
vtpm_is() { [ "$(vtpm_state "$1")" = "$2" ]; }
log_has() { grep -q "$1" /var/log/vtpm.log; }

trial_guest() { # name, digit, uuid, arguments of the kernel
	guest_config "$1" "$2" pv "$4" <<-END
		vtpm = [ "backend=0,uuid=$3" ]
	END
}
with_driver="lab.modules=xen-tpm2front lab.wait=tpmrm0 rng_core.default_quality=0"
without_driver="lab.modules=xen-gntalloc,xen-evtchn"

# --- who is refused ---
trial_unknown=aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee

# xl create in the background; its error node is read while xl waits for the back end.
refused_create() { # name, what the node says
	local node
	xl create -q "/run/$1.cfg" >"/tmp/$1.create" 2>&1 &
	until_works xl domid "$1"
	until_works xenstore-read "$(back_node "$1" error)"
	node=$(xenstore-read "$(back_node "$1" error)")
	case $node in
	*"$2"*) say "ok $1_error_node_says_why" ;;
	*) say "fail $1_error_node_says_why: $node" ;;
	esac
	if wait $!; then say "fail $1_is_refused: xl made it"; else say "ok $1_is_refused"; fi
	check "$1_xl_names_the_vtpm" grep -qi vtpm "/tmp/$1.create"
	check "$1_log_says_why" log_has "$2"
}
plan_trial_refusals() {
	trial_guest unknown 6 $trial_unknown "$without_driver"
	refused_create unknown "vtpmctl create NAME --uuid $trial_unknown"
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	guest_create web1 || return
	trial_guest twin 6 "$(uuid_of web1)" "$without_driver"
	refused_create twin "another domain, or a program, has the TPM"
	guest_plan web1 neighbour 3
	is local_start_is_refused "$(ctl start web1 2>&1 | grep -c 'belongs to domain')" 1
	guest_end web1
	until_works vtpm_is web1 stopped
}

# A guest that nobody has measured, with a TPM that is only for one that was: it boots, and when its driver connects it is refused.
plan_trial_unlaunched() {
	local node
	check create_guarded ctl create guarded
	trial_guest guarded 6 "$(uuid_of guarded)" lab.modules=xen-tpm2front
	guest_create guarded || return
	until_works xenstore-read "$(back_node guarded error)"
	node=$(xenstore-read "$(back_node guarded error)")
	case $node in
	*vtpm-launch*) say "ok guarded_error_node_says_why" ;;
	*) say "fail guarded_error_node_says_why: $node" ;;
	esac
	until_works in_state guarded 6
	is guarded_is_off "$(vtpm_state guarded)" stopped
	guest_plan guarded finds_no_tpm
	guest_end guarded
}

# --- hostile guests ---
neighbour() { # plan of the hostile one; the neighbour works meanwhile
	guest_plan web2 neighbour "$neighbour_count" &
	guest_plan web1 "$@"
	wait $!
}
trial_pair() {
	trial_guest web1 4 "$(uuid_of web1)" "$without_driver"
	trial_guest web2 5 "$(uuid_of web2)" "$with_driver"
	guest_create web1 && guest_create web2
}
descriptors() { # of all processes of ours
	local d
	for d in /proc/[0-9]*; do case $(cat "$d/comm") in vtpm-*) ls "$d/fd" ;; esac; done 2>/dev/null | wc -l
}
descriptors_are() { [ "$(descriptors)" = "$1" ]; }
plan_trial_hostile() {
	local ref fds neighbour_count=8
	trial_pair || return
	ref=$(xenstore-read "/local/domain/$(xl domid web2)/device/vtpm/0/ring-ref")
	neighbour hostile grants "$ref"
	fds=$(descriptors)
	neighbour hostile nodes 1
	neighbour hostile flips 2
	neighbour hostile lengths
	neighbour hostile states
	neighbour hostile cancel
	neighbour hostile locality 0
	neighbour hostile flood
	neighbour hostile toggle 3 300
	neighbour hostile random 4 150
	neighbour hostile drop
	neighbour hostile reconnect 5
	until_works descriptors_are "$fds" # none is left of any of its rings
	is nobody_broke_a_protocol "$(grep -c 'broke its protocol' /var/log/vtpm.log)" 0
	is web1_is_still_on "$(vtpm_state web1)" running
	guest_end web1
	guest_end web2
	until_works vtpm_is web1 stopped
	until_works vtpm_is web2 stopped
}

# --- ends ---
# Backends have uids behind the keeper's, 1879048192. The one in reserve is root's.
backends() { awk '$1 == "Uid:" && $2 > 1879048192 { split(FILENAME, p, "/"); print p[3] }' /proc/[0-9]*/status 2>/dev/null; }
plan_trial_destroy() {
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	trial_guest web2 5 "$(uuid_of web2)" "$with_driver"
	guest_create web1 && guest_create web2 || return
	guest_plan web1 busy
	guest_plan web2 neighbour 10 &
	usleep 300000 # into the making of a key, most likely; whatever it hits must hold
	check destroy xl destroy web1
	wait $!
	until_works vtpm_is web1 stopped
	is nodes_are_gone "$(xenstore-ls /local/domain/0/backend/vtpm | grep -c frontend-id)" 1
	guest_create web1 && guest_plan web1 measured_nothing && guest_plan web1 neighbour 2
	guest_end web1
	guest_end web2
}

another_backend() { local now; now=$(backends); [ -n "$now" ] && [ "$now" != "$1" ] && vtpm_is web1 running; }
# signal: it is another one's turn then
end_backend() { local was; was=$(backends); kill "-$1" $was && until_works another_backend "$was"; }
plan_trial_killed() {
	local i
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	guest_create web1 || return
	guest_plan web1 hold
	is one_backend "$(backends | wc -w)" 1
	check kill end_backend KILL
	guest_plan web1 held
	guest_plan web1 neighbour 8 & # works meanwhile
	for i in 1 2 3 4 5; do check "kill_while_it_works_$i" end_backend KILL; done
	wait $!
	check crash_1 end_backend SEGV
	check crash_2 end_backend SEGV
	is front_end_has_seen_nothing "$(back_state web1)" 4
	guest_plan web1 held
	check crash_3 kill -SEGV "$(backends)"
	until_works vtpm_is web1 failed
	until_works in_state web1 6
	check error_node_says_why xenstore-read "$(back_node web1 error)"
	guest_plan web1 has_no_tpm
	refused reset_after_three_crashes "crashed 3 times" ctl reset web1
	check stop ctl stop web1
	check reset ctl reset web1
	guest_plan web1 tpm_comes_back
	guest_plan web1 measured_nothing

	check stop_the_manager mgr_stop
	check mgr_start mgr_start --xen on
	until_works in_state web1 6
	check told_that_it_is_lost log_has "was lost with the manager"
	is nothing_is_on "$(vtpm_state web1)" stopped
	check reset_after_restart ctl reset web1
	guest_plan web1 tpm_comes_back
	guest_plan web1 measured_nothing
	guest_end web1
	until_works vtpm_is web1 stopped
}

# --- saved and restored ---
trial_restore() { xl restore /run/web1.saved && guest_attach web1; }
plan_trial_saved() {
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	guest_create web1 || return
	guest_plan web1 hold
	check checkpoint xl save -c web1 /run/web1.saved
	guest_plan web1 held
	check suspend ctl suspend web1
	check save xl save web1 /run/web1.saved
	is held_while_nobody_has_it "$(vtpm_state web1)" running
	check restore trial_restore
	guest_plan web1 held
	refused nothing_is_announced_any_more "no suspend was announced" ctl resume web1
	check suspend_again ctl suspend web1
	check resume ctl resume web1
	check save_without_a_word xl save web1 /run/web1.saved
	until_works vtpm_is web1 stopped
	check restore_without_a_word trial_restore
	guest_plan web1 measured_nothing
	guest_end web1
	rm /run/web1.saved
}

# --- toolstacks that die, and how xenstore looks then ---
fake_back=/local/domain/0/backend/vtpm/999 # nobody's number
fake_device() { # uuid: what libxl writes
	xenstore-write $fake_back/0/frontend /local/domain/999/device/vtpm/0 $fake_back/0/frontend-id 999 \
		$fake_back/0/online 1 $fake_back/0/state 1 $fake_back/0/handle 0 $fake_back/0/uuid "$1"
}
fake_state() { [ "$(xenstore-read $fake_back/0/state)" = "$1" ]; }

# A directory goes and comes while nobody looks: what it had is not the next one's.
plan_trial_another() {
	local uuid2
	uuid2=$(uuid_of web2)
	fake_device "$(uuid_of web1)"
	until_works vtpm_is web1 running
	kill -STOP "$(cat /run/mgr.pid)"
	xenstore-rm $fake_back
	fake_device "$uuid2"
	kill -CONT "$(cat /run/mgr.pid)"
	until_works vtpm_is web2 running
	is the_first_one_lost_its_tpm "$(vtpm_state web1)" stopped
	xenstore-rm $fake_back
	until_works vtpm_is web2 stopped
	is nothing_is_left "$(xenstore-ls /local/domain/0/backend/vtpm | grep -c uuid)" 0
}
# A device of a domain that is not there, which nobody takes away.
plan_trial_dead_holder() {
	fake_device "$(uuid_of web1)"
	until_works vtpm_is web1 running
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	guest_create web1 || return
	guest_plan web1 neighbour 2
	check the_dead_one_is_closed fake_state 6
	guest_end web1
	xenstore-rm $fake_back
	until_works vtpm_is web1 stopped
}
# More directories than one message names, when the manager is started.
plan_trial_many() {
	local i uuid
	uuid=$(uuid_of web1)
	mgr_stop
	for i in $(seq 20000 20899); do echo "/local/domain/0/backend/vtpm/$i 1"; done | xargs -n 200 xenstore-write
	fake_device "$uuid"
	check mgr_start_among_many mgr_start --xen on
	until_works vtpm_is web1 running
	check found_among_many test "$(xenstore-read $fake_back/0/vtpm-served)" = 1
	for i in $(seq 20000 20899); do echo "/local/domain/0/backend/vtpm/$i"; done | xargs -n 200 xenstore-rm
	xenstore-rm $fake_back
	until_works vtpm_is web1 stopped
}

# --- an answer that waits for its vTPM's quota holds nobody up when its domain goes ---
version_of() { ctl show "$1" | awk '$1 ~ "^changes" { print $2; exit }'; }
version_is_above() { [ "$(version_of "$1")" -gt "$2" ]; }
plan_trial_waits() {
	local version
	mgr_stop
	check mgr_start_with_a_quota mgr_start --xen on --anchors-per-guest 2
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	guest_create web1 && guest_plan web1 wrong || return
	version=$(version_of web1)
	guest_plan web1 wrong_again
	until_works version_is_above web1 "$version"
	guest_plan web1 wrong_waits
	check destroy_of_one_that_waits xl destroy web1
	until_works vtpm_is web1 stopped
	is nobody_waits_for_its_quota "$(grep -c 'does not stop' /var/log/vtpm.log)" 0
}

# --- a vTPM for whoever comes, if the manager was told so ---
plan_trial_autocreate() {
	mgr_stop
	check mgr_start_autocreate mgr_start --xen on --autocreate
	check those_need_no_launch ctl launch policy --group default --launch off
	trial_guest anyone 6 $trial_unknown "$with_driver"
	guest_create anyone || return
	guest_plan anyone neighbour 2
	is it_has_the_uuid_for_a_name "$(uuid_of $trial_unknown)" $trial_unknown
	guest_end anyone
	until_works vtpm_is $trial_unknown stopped
}

# --- managers that end under vtpm-hold ---
manager() { # of this generation: vtpm-hold's child
	awk -v hold="$(cat /run/mgr.pid)" '$1 == "Name:" { name = $2 } $1 == "PPid:" && $2 == hold && name == "vtpm-mgr" { split(FILENAME, p, "/"); print p[3] }' \
		/proc/[0-9]*/status 2>/dev/null
}
another_manager() { local now; now=$(manager); [ -n "$now" ] && [ "$now" != "$1" ] && vtpm_is web1 running; }
next_manager() { # what ends this one
	local was i=0
	was=$(manager)
	"$@" || return
	until another_manager "$was"; do
		i=$((i + 1))
		[ $i -lt 1200 ] || { ps; ctl list; return 1; }
		usleep 50000
	done
}
kill_manager() { kill -KILL $(manager); }
plan_trial_held() {
	local i
	check stop_the_manager mgr_stop
	mgr_program="vtpm-hold --restarts 100 --"
	check start_it_under_hold mgr_start --xen on
	trial_guest web1 4 "$(uuid_of web1)" "$with_driver"
	guest_create web1 || return
	guest_plan web1 hold
	check kill_the_manager next_manager kill_manager
	guest_plan web1 held
	guest_plan web1 neighbour 8 & # works meanwhile
	for i in 1 2 3 4; do check "kill_while_it_works_$i" next_manager kill_manager; done
	wait $!
	check upgrade next_manager ctl upgrade
	is front_end_has_seen_nothing "$(back_state web1)" 4
	guest_plan web1 held
	guest_end web1
	until_works vtpm_is web1 stopped
	check stop_in_order mgr_stop
	mgr_program=
	check start_without_hold mgr_start --xen on
}
