#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Debian's libvirt with vtpm-swtpm in swtpm's place, through virsh: a machine is defined, uses its TPM, is rebooted,
# destroyed, saved, put back to a snapshot, undefined; and what must be refused is refused. docs/lab.md says more.
set -u
cd "$(dirname "$0")/../../.."
if [ "${1:-}" != inside ]; then
	[ "$(id -u)" -eq 0 ] || { echo "skip libvirt: it runs as root, in namespaces of its own"; exit 0; }
	tests/lab/qemu/image.sh "${VTPM_BUILD:-build}" >/dev/null || { echo "not ok image"; exit 1; }
	exec unshare --mount --pid --net --fork --mount-proc --kill-child=TERM "$0" inside
fi
. tests/lib.sh
. tests/lab/qemu/machine.sh
. tests/lab/libvirt/daemon.sh
LOG=$B/lab/log
mkdir -p "$LOG"
lab_init
WEB=11111111-2222-4333-8444-555555555555 DB=22222222-2222-4333-8444-555555555555

refused() { # name, text, command…: it fails, and says why
	local name=$1 text=$2
	shift 2
	if "$@" >"$LAB/out" 2>&1; then
		echo "    it was not refused"; echo "not ok $name"
	elif grep -qF -- "$text" "$LAB/out"; then
		echo "ok $name"
	else
		sed 's/^/    /' "$LAB/out"; echo "not ok $name"
	fi
}
# As libvirt runs swtpm.
as() { timeout 60 setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups env VTPM_RUNTIME_DIR="$LAB/run" "${@:2}"; }
member() { ctl show "$1" --json | python3 -c "import json,sys; print(json.load(sys.stdin)['vtpm'].get('$2'))"; }
same() { is "$1" "${NOTE[$2]:-nothing}" "${3:-nothing}"; }
other() { check "$1" test "${NOTE[$2]:-}" != "$3" -a -n "${NOTE[$2]:-}"; }

prepare() {
	chip_start && mgr_init --insecure-pcrs && mgr_start --swtpm-user tss || return 1
	image_build && cp "$KERNEL" "$LAB/vmlinuz" && cp "$INITRAMFS" "$LAB/initrd" || return 1
	# Where tss can execute it, wherever this clone is.
	mkdir "$LAB/swtpm" && cp "$B/vtpm-swtpm" "$LAB/" && cp -P "$B"/swtpm/* "$LAB/swtpm/"
	libvirt_start "$LAB/swtpm"
}
offers() {
	virsh domcapabilities --virttype qemu >"$LAB/caps" || return 1
	sed -n '/<tpm /,/<\/tpm>/p' "$LAB/caps" | tr -d ' \n' | grep -q "<enumname='backendVersion'><value>2.0</value></enum>"
}
certified() { # the EK that the guest makes is the one that the manager shows, and its CA vouches for
	base64 -d <<<"${NOTE[web.ek]}" >"$LAB/ek.pem" && ctl ca >"$LAB/ca.pem" && ctl show web --ek-cert rsa >"$LAB/cert.pem" &&
		openssl verify -x509_strict -CAfile "$LAB/ca.pem" "$LAB/cert.pem" &&
		cmp <(openssl pkey -pubin -in "$LAB/ek.pem" -outform der) \
			<(openssl x509 -in "$LAB/cert.pem" -noout -pubkey | openssl pkey -pubin -outform der)
}

first_life() {
	check offers_tpm_2_alone offers
	check define domain_define web "$WEB" || return 1
	domain_start web web && vm_ready web || { echo "not ok start"; return 1; }
	vm_plan web kernel && vm_plan web use || return 1
	check ek_is_certified certified
	is machine_is_shown "$(member web machine)" "$WEB"
	is it_is_no_orphan "$(member web orphaned)" False
	is token_is_tss_alone "$(stat -c '%U %a' "$(token_dir "$WEB")/vtpm-token")" "tss 600"
	EK=${NOTE[web.ek]} KEY=${NOTE[web.primary_name]} NV=${NOTE[web.nv]}
	vm_reboot web && vm_plan web again web_rebooted || return 1
	same reboot_keeps_the_ek web.ek "$EK"
	check destroy domain_destroy web || return 1
	domain_start web web_again && vm_ready web && vm_plan web again || { echo "not ok start_again"; return 1; }
	same start_again_keeps_the_ek web.ek "$EK"
	same start_again_keeps_a_key web.primary_name "$KEY"
	same start_again_keeps_nv web.nv "$NV"
}

# What is in memory only survives the end of the stand-in, and a save to the disk.
held() {
	vm_plan web hold || return 1
	kill -KILL "$(front_pid web)" && ended "$(front_pid web)"
	vm_plan web held web_without_front
	is it_is_still_on "$(member web state)" running
	check managedsave virsh managedsave web && domain_close web || return 1
	is it_is_off "$(member web state)" stopped
	domain_start web web_restored && vm_plan web held || { echo "not ok restore"; domain_log web; return 1; }
	check destroy_restored domain_destroy web
}

# libvirtd goes and comes, and knows its machine and the stand-in again.
restarted() {
	local pid
	domain_start web web_over_a_restart || { echo "not ok start_for_a_restart"; return 1; }
	pid=$(front_pid web)
	kill "$LIBVIRTD_PID" && wait "$LIBVIRTD_PID"
	check libvirtd_starts_again libvirtd_start "$LAB/swtpm"
	is machine_goes_on "$(virsh domstate web | head -n 1) $(member web state)" "running running"
	check destroy_after_the_restart domain_destroy web
	check ends_the_front ended "$pid"
}

# An internal snapshot of a machine that runs: its TPM goes back only where the operator permits it.
snapshots() { # the machine, which is on
	vm_plan "$1" hold
	check snapshot virsh snapshot-create-as "$1" before || return 1
	vm_plan "$1" held "${1}_after_it"
	refused refused_to_go_back "tpm-emulator" virsh snapshot-revert "$1" before
	check show_says_what_to_do grep -q "vtpmctl set $1 --snapshots allow" <(ctl show "$1")
	virsh destroy "$1" >"$LAB/out" 2>&1; domain_close "$1"
	is refused_and_off "$(member "$1" state) $(member "$1" rollbacks)" "stopped 0"
	check permit ctl set "$1" --snapshots allow
	domain_start "$1" "${1}_permitted" && vm_ready "$1" && vm_plan "$1" hold || { echo "not ok start_permitted"; return 1; }
	check another_snapshot virsh snapshot-create-as "$1" again || return 1
	vm_plan "$1" spoil "${1}_spoilt"
	check reverted virsh snapshot-revert "$1" again || { domain_log "$1"; return 1; }
	vm_plan "$1" held "${1}_reverted"
	check destroy_reverted domain_destroy "$1"
	check reverted_from_off virsh snapshot-revert "$1" again || { domain_log "$1"; return 1; }
	domain_open "$1" "${1}_from_off"
	vm_plan "$1" held "${1}_from_off"
	is both_are_counted "$(member "$1" rollbacks)" 2
	check destroy_at_last domain_destroy "$1"
}

# A machine whose TPM swtpm made, with Debian's own tools, before vtpm-swtpm came.
taken_over() {
	local uuid=33333333-2222-4333-8444-555555555555 dir
	dir=$(token_dir $uuid)
	check define_an_old_one domain_define old $uuid
	install -d -m 711 "$(dirname "$dir")" && install -d -m 700 -o tss -g tss "$dir"
	check swtpm_makes_its_tpm as tss /usr/bin/swtpm_setup --tpm2 --tpmstate "$dir" --createek --overwrite --logfile "$dir/log"
	refused state_of_swtpm "state of a TPM of swtpm itself" virsh start old
	check import_it ctl import old --swtpm "$dir" --token "$dir" --machine $uuid
	domain_start old old && is and_it_starts "$(member old state) $(member old machine)" "running $uuid"
	vm_ready old || { echo "not ok and_boots"; return 1; }
	snapshots old
}

wrong_tokens() {
	local dir token
	dir=$(token_dir "$WEB")
	token=$dir/vtpm-token
	check define_another domain_define db "$DB"
	domain_start db db && check destroy_another domain_destroy db
	cp -p "$token" "$LAB/token"
	sed -i '3s/^\(.\)\(.\)/\2\1/; 3s/^\(.\)\1/\1f/' "$token"
	refused wrong_token "no TPM was set up with that token" virsh start web
	check the_log_says_so grep -q "no TPM was set up with that token" <(domain_log web)
	sed "2s/.*/$(member db uuid)/" "$LAB/token" >"$token"
	refused token_of_another_machine "no TPM was set up with that token" virsh start web
	echo nonsense >"$token"
	refused damaged_token "something else than the token" virsh start web
	rm "$token"
	refused missing_token "holds no token" virsh start web
	cp -p "$LAB/token" "$token"
}

stolen_vmid() {
	local before thief=$LAB/thief
	before=$(ctl list | wc -l)
	install -d -o daemon "$thief.daemon" && install -d -o tss "$thief.tss"
	refused a_user_without_rights_sets_nothing_up "may not set up a TPM" \
		as daemon "$LAB/swtpm/swtpm_setup" --tpm2 --tpm-state "$thief.daemon" --vmid "web:$WEB" --createek
	refused a_directory_without_token_is_nothing "holds no token" \
		as daemon "$LAB/swtpm/swtpm" socket --tpm2 --tpmstate "dir=$thief.daemon" --ctrl "type=unixio,path=$thief.daemon/s"
	is nothing_was_made "$(ctl list | wc -l)" "$before"
	# Who may set up TPMs and claims to be this machine gets a new TPM, and the machine keeps its own.
	check a_claimed_vmid as tss "$LAB/swtpm/swtpm_setup" --tpm2 --tpm-state "$thief.tss" --vmid "web:$WEB" --createek
	check gets_another_tpm test "$(member web-2 uuid)" != "$(member web uuid)"
	is the_first_is_called_an_orphan "$(member web orphaned)" True
	domain_start web web_after_theft && check and_serves_its_machine test "$(member web state)" = running
	domain_destroy web
	ctl destroy web-2
	is until_the_thief_is_gone "$(member web orphaned)" False
}

manager_down() {
	mgr_stop
	refused no_manager "no manager at $LAB/run/swtpm.sock" virsh start web
	check the_log_names_the_manager grep -q "no manager at" <(domain_log web)
	mgr_start --swtpm-user tss
	check and_with_one virsh start web
	domain_open web web_up_again && domain_destroy web
}

second_life() {
	check undefine virsh undefine web
	check token_goes_with_the_machine test ! -e "$(token_dir "$WEB")"
	check define_again domain_define web "$WEB"
	domain_start web web_new && vm_ready web && vm_plan web identity || { echo "not ok second_life"; return 1; }
	other another_machine_has_another_ek web.ek "$EK"
	is the_old_one_is_orphaned "$(member web orphaned)" True
	is the_new_one_is_not "$(member web-2 orphaned)" False
	check list_shows_the_orphan grep -q '^web .*orphaned' <(ctl list)
	is nothing_is_deleted "$(ctl list | grep -c '^web')" 2
	domain_destroy web
}

check prepare prepare || exit 1
first_life && held && restarted
taken_over
wrong_tokens
stolen_vmid
manager_down
second_life
