# SPDX-License-Identifier: BSD-2-Clause
# What dom0 does on a Xen with XSM and the policy of hv/flask, and what becomes of whoever tries. Read by dom0.sh; busybox
# sh. Refusals are judged by the hypervisor's own lines: errnos mislead.

label() { echo "system_u:system_r:$1"; }
denials() { xl dmesg | grep -a 'avc: *denied'; }
denials_forget() { xl dmesg -c >/dev/null; }
# A refusal that is one of the policy's: its permission, its class, whoever and whatever it names.
denied() { # name, permission, class, further pattern
	if denials | grep -aE "denied +\{ ([a-z_0-9]+ )*$2 .*tclass=$3( |\$)" | grep -aqE -- "${4:-.}"; then
		say "ok $1"
	else
		say "fail $1: $(denials | tail -n 2 | tr '\n' ' ')"
	fi
	denials_forget
}
nothing_denied() { is "$1" "$(denials | tail -n 3)" ""; }

plan_flask_is() { # Enforcing or Permissive
	is xl_getenforce "$(xl getenforce)" "$1"
	is dom0_label "$(xl list -Z Domain-0 | awk 'NR == 2 { print $NF }')" "$(label dom0_t)"
}

# The stub domain under its labels; the store is made first. Then dom0 gives the TPM up.
plan_flask_stub() {
	stub_labels=yes
	check mkfs /bin/mke2fs -q -t ext4 $stub_disk
	check init_create stub_create "vtpm.init vtpm.arg=--insecure-pcrs"
	until_works stub_gone
	check init_says_so stub_says "the store is made"
	plan_stub_up
	flask_stub_is "$1"
}
flask_stub_is() { # enforcing or permissive
	is stub_label "$(xl list -Z vtpmmgr | awk 'NR == 2 { print $NF }')" "$(label vtpmmgr_t)"
	is status_says_xsm "$(stub status | awk '$1 == "XSM" { print $2 }')" "$1"
}
plan_flask_give_up() {
	check dom0_had_the_tpm dom0_may_touch_the_tpm
	check dom0_gives_the_tpm_up xen_reach deny 0xfed40 5
	is dom0_has_it_no_more "$(dom0_may_touch_the_tpm && echo 'it has')" ''
	refused dom0_cannot_name_it_again 'permission denied' xen_reach deny 0xfed40 5
	nothing_denied giving_it_up_is_allowed
}
# Xen's own word: the ranges that dom0 may map (debug key q).
dom0_may_touch_the_tpm() {
	xl debug-keys q
	xl dmesg >/tmp/domains
	awk '/General information for domain/ { n = $NF } n == "0:" && /I\/O Memory/ { last = $0 } END { print last }' /tmp/domains | tr -d '{},' | tr ' ' '\n' |
		sed -n 's/^\([0-9a-f]*\)-\([0-9a-f]*\)$/\1 \2/p' |
		while read -r first last; do [ $((0x$first)) -gt $((0xfed40)) ] || [ $((0x$last)) -lt $((0xfed40)) ] || echo yes; done | grep -q yes
}

label_lines() { # of xl's configuration, for a guest of that type: a sealed one is built under another
	echo "seclabel = \"$(label "$1")\""
	[ "$1" != vtpm_sealed_guest_t ] || echo "init_seclabel = \"$(label "$1_building")\""
}
flask_guest() { # name, digit, type
	guest_config "$1" "$2" pv "lab.modules=xen-tpm2front,xen-gntalloc,xen-gntdev,xen-evtchn lab.wait=tpmrm0" <<-END
		vtpm = [ "backend=vtpmmgr,uuid=$(stub_uuid "$1")" ]
		$(label_lines "$3")
	END
	guest_create "$1"
	is "$1_label" "$(xl list -Z "$1" | awk 'NR == 2 { print $NF }')" "$(label "$3")"
}
plan_flask_guests() {
	flask_guest web1 4 vtpm_guest_t && flask_guest web2 5 vtpm_sealed_guest_t
}
plan_flask_nothing_denied() { nothing_denied nothing_was_denied; }

# --- who tries ---
plan_flask_thief() {
	guest_config thief 6 pv "tpm_tis.force=1 tpm_tis.interrupts=0" <<-END
		iomem = [ "fed40,5" ]
	END
	refused thief_create . xl create -q /run/thief.cfg
	denied thief_is_denied_the_tpm use_noiommu resource 'range=0xfed40-0xfed44.*domU_t.*tpm_mmio_t'
}
# The manager's label without its build label: nobody makes such a domain.
plan_flask_impostor() {
	guest_config impostor 6 pv "" <<-END
		seclabel = "$(label vtpmmgr_t)"
	END
	refused impostor_create . xl create -q /run/impostor.cfg
	denied impostor_is_denied_the_label create domain 'dom0_t.*vtpmmgr_t'
}
# A guest without a label: what another guest grants it, willingly, it does not get; nor do guests from one another.
plan_flask_reach() {
	guest_config rogue 6 pv "lab.modules=xen-gntdev,xen-evtchn" </dev/null
	guest_create rogue
	reach web1 rogue vtpm_guest_t domU_t
	reach web1 web2 vtpm_guest_t vtpm_sealed_guest_t
	reach web2 web1 vtpm_sealed_guest_t vtpm_guest_t
	guest_end rogue
}
reach() { # who gives, who takes, their types
	denials_forget
	guest_plan "$1" offers "$(xl domid "$2")"
	guest_plan "$2" takes_nothing "$(xl domid "$1")" $noted
	denials >/tmp/reach
	denied "$2_is_denied_the_page_of_$1" 'map_(read|write)' grant "$4.*$3"
	check "$1_is_denied_a_port_for_$2" grep -qE "denied +\{ bind \}.*$3_channel.*$4 tclass=event" /tmp/reach
}
plan_flask_dom0() {
	denials_forget
	refused dump_of_the_manager . xl dump-core vtpmmgr /dev/null
	denied dump_of_the_manager_is_denied '(map_read|stat|pageinfo|getvcpucontext)' '(mmu|domain)' 'dom0_t.*vtpmmgr_t'
	refused dump_of_a_sealed_guest . xl dump-core web2 /dev/null
	denied dump_of_a_sealed_guest_is_denied '(map_read|stat|pageinfo|getvcpucontext)' '(mmu|domain)' 'dom0_t.*vtpm_sealed_guest_t'
	check dump_of_a_guest_that_is_not xl dump-core web1 /dev/null
	denials_forget
	refused setenforce . xl setenforce 0
	denied setenforce_is_denied setenforce security 'dom0_t.*security_t'
	refused loadpolicy . xl loadpolicy /etc/passwd
	denied loadpolicy_is_denied load_policy security 'dom0_t.*security_t'
	refused label . flask-label-pci 0000:00:02.0 "$(label dom0_t)"
	denied label_is_denied '(add|del)_ocontext' security 'dom0_t.*security_t'
	refused livepatch . xen-livepatch list
	denied livepatch_is_denied livepatch_op xen2 'dom0_t.*xen_t'
	refused kexec . xen_reach kexec
	denied kexec_is_denied kexec xen 'dom0_t.*xen_t'
	is still_enforcing "$(xl getenforce)" Enforcing
}
# Lost with the stub domain, until the host boots anew.
plan_flask_no_second_stub() {
	plan_stub_down
	refused second_stub . stub_create
	is second_stub_is_not_there "$(xl list | awk '$1 == "vtpmmgr"' | wc -l)" 0
}

# --- the control: the same without enforcement ---
plan_flask_permissive() {
	guest_config thief 6 pv "tpm_tis.force=1 tpm_tis.interrupts=0 lab.wait=tpmrm0" <<-END
		iomem = [ "fed40,5" ]
	END
	guest_create thief && guest_plan thief has_a_tpm && guest_end thief
	denied control_would_deny_the_tpm use_noiommu resource 'range=0xfed40-0xfed44'
	check control_setenforce xl setenforce 0
}
