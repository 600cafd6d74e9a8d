#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Debian's kernel in QEMU, with its own drivers, on a TPM behind a control socket: tpm-tis and tpm-crb side by side, each
# booted by SeaBIOS, rebooted, powered off, booted by OVMF, rebooted, killed at work, booted again. docs/lab.md says more.
# LAB_PEERS: whose TPMs, of peers.sh; default ours. Logs go to BUILD/lab/log.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/qemu/machine.sh
. tests/lab/qemu/peers.sh
. tests/lab/verify.sh
LOG=$B/lab/log
mkdir -p "$LOG"
lab_init

ek_certificate_is_signed() { # openssl does not know the EK profile's critical extensions
	local vm=$1
	"peer_${vm%_*}_ca" "$LAB/$vm.ca" && file "$vm.ek_certificate" &&
		openssl x509 -inform der -in "$LAB/$vm.ek_certificate" -out "$LAB/$vm.ek.pem" &&
		openssl verify -partial_chain -ignore_critical -CAfile "$LAB/$vm.ca" "$LAB/$vm.ek.pem"
}

# What a guest of ours has had of its own TPM: somebody who has enrolled the chip believes it.
evidence_is_believed() {
	local vm=$1
	file "$vm.nonce" && file "$vm.evidence" && mkdir -p "$LAB/$vm.host" &&
		ctl enroll show --dir "$LAB/$vm.host" >/dev/null && echo '{}' >"$LAB/policy.json" &&
		printf '{"hosts": [{"name": "lab", "ak": "%s"}]}' "$(cat "$LAB/$vm.host/ak.name")" >"$LAB/$vm.trust" &&
		"$B/vtpm-verify" --nonce "$(od -An -v -tx1 "$LAB/$vm.nonce" | tr -d ' \n')" --uuid "$(uuid_of "$vm")" \
			--trust "$LAB/$vm.trust" --policy "$LAB/policy.json" "$LAB/$vm.evidence"
}

by_bios() { # machine, device
	local vm=$1 was
	vm_start "$vm" "$2" bios "$SOCKET" "$vm" || return 1
	vm_plan "$vm" kernel && vm_plan "$vm" use || return 1
	check "${vm}_ek_is_the_certified_one" ek_is_the_certified_one "$vm"
	check "${vm}_ek_certificate_is_signed" ek_certificate_is_signed "$vm"
	check "${vm}_rsa_signature_is_good" rsa_signature_is_good "$vm"
	case $vm in ours_*) vm_plan "$vm" evidence && check "${vm}_evidence_is_believed" evidence_is_believed "$vm" || return 1 ;; esac
	was=("${NOTE[$vm.ek]:-}" "${NOTE[$vm.primary_name]:-}" "${NOTE[$vm.nv]:-}")
	vm_reboot "$vm" && vm_plan "$vm" kernel "${vm}_rebooted" && vm_plan "$vm" again "${vm}_rebooted" || return 1
	kept "$vm" "${vm}_reboot" "${was[@]}"
}

by_uefi() { # machine, device
	local vm=$1 was=("${NOTE[$1.ek]:-}" "${NOTE[$1.primary_name]:-}" "${NOTE[$1.nv]:-}")
	vm_start "$vm" "$2" uefi "$SOCKET" "${vm}_uefi" || return 1
	vm_plan "$vm" kernel && vm_plan "$vm" again && vm_plan "$vm" eventlog || return 1
	kept "$vm" "${vm}_uefi" "${was[@]}"
	vm_reboot "$vm" && vm_plan "$vm" eventlog "${vm}_uefi_rebooted"
}

by_killing() { # machine, device: the QEMU of a guest whose TPM is at work
	local vm=$1 was=("${NOTE[$1.ek]:-}" "${NOTE[$1.primary_name]:-}" "${NOTE[$1.nv]:-}")
	vm_start "$vm" "$2" bios "$SOCKET" "${vm}_busy" || return 1
	vm_plan "$vm" busy || return 1
	vm_kill "$vm"
	"peer_${vm%_*}_power" "$vm" && vm_start "$vm" "$2" bios "$SOCKET" "${vm}_killed" || return 1
	vm_plan "$vm" kernel && vm_plan "$vm" again || return 1
	kept "$vm" "${vm}_killed" "${was[@]}"
}

life() { # peer, device
	local vm=$1_${2#tpm-} means
	trap vm_kill_all EXIT
	for means in bios uefi killing; do
		"peer_$1_power" "$vm" || { echo "not ok ${vm}_socket"; return 1; }
		"by_$means" "$vm" "$2"
		[ -z "${VM_PID[$vm]:-}" ] || vm_end "$vm"
	done
}

image_build || { echo "not ok image"; exit 1; }
for peer in ${LAB_PEERS:-ours}; do
	start=$EPOCHREALTIME
	check "${peer}_prepare" "peer_${peer}_prepare" || continue
	for device in tpm-tis tpm-crb; do
		check "${peer}_${device#tpm-}_make" "peer_${peer}_make" "${peer}_${device#tpm-}"
	done
	lives=()
	for device in tpm-tis tpm-crb; do
		life "$peer" "$device" >"$LAB/$device.results" &
		lives+=($!)
	done
	wait "${lives[@]}" # not for the peer
	cat "$LAB"/tpm-{tis,crb}.results
	echo "    $peer: $(since "$start") s"
done
