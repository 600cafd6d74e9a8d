# SPDX-License-Identifier: BSD-2-Clause
# The manager in dom0, on the machine's TPM, and what a measured boot has left there. Read by dom0.sh of this lab and of the
# host's; busybox sh.
state=/var/lib/vtpm
measurements=/sys/kernel/security/tpm0/binary_bios_measurements

pcr() { tr A-F a-f </sys/class/tpm/tpm0/pcr-sha256/$1; }
note_boot() { # for firmware_log_is_true
	local i
	check event_log grep -q . $measurements
	note_file event_log $measurements
	for i in 0 1 2 3 4 5 6 7 8 9; do note "pcr$i" "$(pcr "$i")"; done
}

# A daemon says nothing when it is ready. What is not so after two minutes never will be: then all that is known is shown.
until_works() {
	local end=$(($(cut -d . -f 1 /proc/uptime) + 120))
	until "$@" >/dev/null 2>&1; do
		if [ "$(cut -d . -f 1 /proc/uptime)" -ge $end ]; then
			tail -n 40 /var/log/xen/*.log >/dev/console 2>&1
			check "waited_for_$(echo "$*" | tr -c 'a-zA-Z0-9\n' _)" "$@"
			return 1
		fi
		usleep 50000
	done
}

mgr_options="--state-dir $state/state --runtime-dir /run/vtpm --libexec-dir /bin --user vtpm"
mgr_start() {
	mkfifo /run/ready /run/log
	cat /run/log >>/var/log/vtpm.log & # a pipe: keeper and backends may not write files
	${mgr_program:-vtpm-mgr} $mgr_options --ready-fd 9 "$@" 9>/run/ready 2>/run/log &
	echo $! >/run/mgr.pid
	read -r _ </run/ready
	local rc=$?
	rm /run/ready /run/log
	return $rc
}
mgr_stop() { kill "$(cat /run/mgr.pid)" && until_works mgr_gone; }
mgr_gone() { ! kill -0 "$(cat /run/mgr.pid)"; }
ctl() { vtpmctl "$@"; }
