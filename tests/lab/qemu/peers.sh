# SPDX-License-Identifier: BSD-2-Clause
# Who answers on the control socket: "ours", vTPMs of a manager whose chip is a stand-in, or "swtpm", Debian's own, by
# which one sees whether the lab or the project is wrong. Sourced after tests/lib.sh. PEER_OURS_CREATE: options for vtpmctl create.
#	peer_PEER_prepare	once
#	peer_PEER_make NAME	a new TPM with an EK certificate
#	peer_PEER_ca FILE	the certificate of who signed it
#	peer_PEER_power NAME	sets $SOCKET to a control socket that takes a connection

peer_ours_prepare() { chip_start && mgr_init --insecure-pcrs >/dev/null && mgr_start; }
peer_ours_make() { ctl create "$1" ${PEER_OURS_CREATE:-} >/dev/null; }
peer_ours_ca() { ctl ca >"$1"; }
peer_ours_power() { # a connection is all it takes
	SOCKET=$LAB/run/$1.swtpm
	[ -S "$SOCKET" ] || { echo "    there is no $1.swtpm in the runtime directory"; return 1; }
}

peer_swtpm_prepare() {
	mkdir -p "$LAB/ca"
	cat >"$LAB/setup.conf" <<-END
		create_certs_tool = swtpm_localca
		create_certs_tool_config = $LAB/localca.conf
		create_certs_tool_options = $LAB/localca.options
		active_pcr_banks = sha256,sha384
	END
	cat >"$LAB/localca.conf" <<-END
		statedir = $LAB/ca
		signingkey = $LAB/ca/signkey.pem
		issuercert = $LAB/ca/issuercert.pem
		certserial = $LAB/ca/certserial
	END
	echo '--platform-manufacturer Lab --platform-version 1 --platform-model Lab' >"$LAB/localca.options"
}
peer_swtpm_make() {
	mkdir -p "$LAB/$1.state"
	swtpm_setup --tpm2 --tpmstate "$LAB/$1.state" --create-ek-cert --config "$LAB/setup.conf" --overwrite >"$LAB/$1.setup" 2>&1 ||
		{ cat "$LAB/$1.setup"; return 1; }
}
peer_swtpm_ca() { cp "$LAB/ca/issuercert.pem" "$1"; }
peer_swtpm_power() {
	SOCKET=$LAB/$1.ctrl
	# The one before ended with its connection, or is about to.
	[ ! -e "$LAB/$1.pid" ] || tail --pid="$(cat "$LAB/$1.pid")" -f /dev/null
	swtpm socket --tpm2 --tpmstate "dir=$LAB/$1.state" --ctrl "type=unixio,path=$SOCKET" --terminate \
		--daemon --pid "file=$LAB/$1.pid" --log "file=$LAB/$1.log,level=1"
}
