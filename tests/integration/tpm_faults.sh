#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A physical TPM that is missing, restarts, is another one, was booted otherwise, answers with errors, or has somebody on
# the way to it who changes bits: what is not right is refused in words, running guests go on, nothing is overwritten.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init

store_rows() { db "SELECT key, hex(value) FROM meta; SELECT name, hex(root) FROM grp; SELECT name, hex(wrapped) FROM vtpm"; }
tpm_is() { [ "$(tpm_field state)" = "$1" ] || { ctl status; return 1; }; }
keeper() { pgrep -P "$(pgrep -P "$MGR_PID" -x vtpm-spawn)" -x vtpm-keeper | head -n 1; }

# --- the chip is missing, restarts, was booted otherwise, is another one ---
chip_and_store
mgr_start --pool 0
guest_make web1
guest_make web2
ctl stop web2
mgr_stop
chip_stop
store_rows >"$LAB/rows"

log_mark
check missing-manager-starts mgr_start --pool 0
check missing-status-says-so all tpm_is lost -- logged "cannot open the TPM at"
check missing-start-is-refused refused "cannot open the TPM at" ctl start web1
check missing-create-is-refused refused "cannot open the TPM at" ctl create web3
chip_start
chip_measure
check appears-and-is-found guest_works web1
check appears-status tpm_is ok

# A restart is a power cycle; PCRs start anew, and until the boot is measured the seal stays shut.
chip_stop
check restart-guests-go-on guest_is_whole web1
check restart-create-is-refused refused "cannot open the TPM at" ctl create web3 # it needs the chip: the keeper notices
chip_start
chip_measure otherwise
log_mark
check other-boot-is-refused-and-says-which-pcr refused "PCR 4 is .* and the seal wants" ctl start web2
check other-boot-create-is-refused refused "PCR 4 is .* and the seal wants" ctl create web3
check other-boot-status-says-sealed all tpm_is sealed -- logged "root stays sealed"
check other-boot-running-guests-go-on guest_is_whole web1
check other-boot-is-no-quarantine is_state web2 stopped
mgr_stop
chip_stop
chip_start
chip_measure
mgr_start --pool 0
check right-boot-opens all guest_works web1 -- tpm_is ok
old=$(keeper)
chip_stop
chip_start
chip_measure
check restart-next-create-works ctl create web3
check restart-keeper-is-another test "$(keeper)" != "$old"
check restart-next-start-works guest_works web2
check restart-running-guests-go-on guest_is_whole web1
mgr_stop

chip_stop
chip_start foreign
chip_measure
log_mark
mgr_start --pool 0
check foreign-is-refused refused "another TPM than the one|not the one this store was made with" ctl start web1
check foreign-status all tpm_is foreign -- logged "not the physical TPM, or not the storage root key, that was pinned"
check foreign-create-is-refused refused "TPM" ctl create web4
mgr_stop
check foreign-chip-is-left-alone refused "" chip tpm2_readpublic -c 0x81000001
chip_stop
chip_start foreign
chip_measure
chip tpm2_createprimary -Q -C o -g sha256 -G ecc -c "$LAB/other.ctx"
chip tpm2_evictcontrol -Q -C o -c "$LAB/other.ctx" 0x81000001
chip tpm2_flushcontext -t
mgr_start --pool 0
check foreign-with-a-key-is-refused refused "is not the one this store was made with" ctl start web1
mgr_stop
store_rows >"$LAB/rows.now"
check foreign-nothing-is-overwritten all grep -qxFf "$LAB/rows" "$LAB/rows.now" -- test "$(grep -cxFf "$LAB/rows" "$LAB/rows.now")" = "$(wc -l <"$LAB/rows")"
chip_stop

chip_start
chip_measure
mgr_start --pool 0
check right-chip-works-again all guest_works web1 -- guest_works web2
mgr_stop
chip_stop
cp -a "$LAB/chip" "$LAB/evicted"
chip_start evicted
chip_measure
chip tpm2_evictcontrol -Q -C o -c 0x81000001
mgr_start --pool 0
check srk-evicted-is-refused refused "has no storage root key at 0x81000001" ctl start web1
mgr_stop
check srk-is-not-made-again refused "" chip tpm2_readpublic -c 0x81000001
chip_stop
chip_start
chip_measure

# --- somebody on the way ---
PROXY_PID=
bus() { # PLAN…: from now on this happens on the way
	bus_stop
	PROXY_PID=$("$B/tests/tpmproxy" "$LAB/bus.sock" "$LAB/chip.sock" "$LAB/bus.log" "$@")
}
bus_stop() {
	[ -z "$PROXY_PID" ] || { kill "$PROXY_PID" && ended "$PROXY_PID"; }
	PROXY_PID=
}
trap 'bus_stop 2>/dev/null; lab_end' EXIT
MGR_TCTI=swtpm:path=$LAB/bus.sock
# Commands of the recorded start, each as CODE/OCCURRENCE LENGTH-OF-RESPONSE. How much a new keeper has to flush varies.
recorded() { awk '{ cc = substr($1, 13, 8); if (cc != "00000165") print cc "/" ++n[cc], length($2) / 2 }' "$LAB/start.log"; }

bus
mgr_start --pool 0
check through-the-bus guest_works web1
ctl create web5 >/dev/null
mgr_stop
cp "$LAB/bus.log" "$LAB/create.log"
# What carries a secret is encrypted in both directions, and two unseals of one root look different.
cat >"$LAB/sessions.py" <<'PY'
import struct, sys
# Code: name, handles, the attributes it must have (0x20 decrypt: of the command, 0x40 encrypt: of the response).
SECRET = {0x15e: ("Unseal", 1, 0x40), 0x153: ("Create", 1, 0x60), 0x15d: ("Sign", 1, 0x20)}
seen, unsealed = set(), []
for line in open(sys.argv[1]):
    words = line.split()
    cmd, rsp = bytes.fromhex(words[0]), bytes.fromhex(words[1])
    tag, _, code = struct.unpack(">HII", cmd[:10])
    if code not in SECRET:
        continue
    name, handles, needs = SECRET[code]
    at, attributes = 14 + 4 * handles, 0
    end = at + struct.unpack(">I", cmd[at - 4:at])[0]
    while at < end:
        at += 4
        at += 2 + struct.unpack(">H", cmd[at:at + 2])[0]
        attributes |= cmd[at]
        at += 1
        at += 2 + struct.unpack(">H", cmd[at:at + 2])[0]
    assert tag == 0x8002 and attributes & needs == needs, "%s with attributes %#x" % (name, attributes)
    seen.add(name)
    if name == "Unseal":
        unsealed.append(rsp[16:48])
assert {"Unseal", "Sign"} <= seen, seen
assert all(len(x) == 32 for x in unsealed) and len(set(unsealed)) == len(unsealed), "unsealed data repeats on the bus"
print(seen, len(unsealed))
PY
bus
mgr_start --pool 0
ctl start web1 >/dev/null
mgr_stop
cp "$LAB/bus.log" "$LAB/start.log"
cat "$LAB/create.log" "$LAB/start.log" >"$LAB/both.log"
check secrets-are-encrypted-on-the-bus python3 "$LAB/sessions.py" "$LAB/both.log"
rm -rf "$LAB/state.kept"
mv "$LAB/state" "$LAB/state.kept"
bus
check init-through-the-bus mgr_init --seal-pcrs 0,4
check init-secrets-are-encrypted-on-the-bus python3 "$LAB/sessions.py" "$LAB/bus.log"
# With a response changed, --init comes to nothing, or to a store that works without the change.
init_case() { # PLAN…
	rm -rf "$LAB/state"
	bus "$@"
	timeout 60 "$B/vtpm-mgr" --init $(mgr_options) --seal-pcrs 0,4 >"$LAB/said" 2>&1 || { [ $? -lt 124 ] && [ ! -e "$LAB/state/vtpm.db" ] && grep -q "not initialised\|TPM" "$LAB/said"; return; }
	bus
	mgr_start --pool 0 || return 1
	timeout 60 "$B/vtpmctl" --runtime-dir "$LAB/run" create web1 >"$LAB/said" 2>&1 || { mgr_stop; return 1; }
	mgr_stop
}
mapfile -t INIT < <(awk '{ cc = substr($1, 13, 8); if (cc != "00000165") print cc "/" ++n[cc], length($2) / 2 }' "$LAB/bus.log")
i=0
for r in "${INIT[@]}"; do
	i=$((i + 1))
	read -r n len <<<"$r"
	step=71
	[ "${n%/*}" != 00000173 ] || step=19 # ReadPublic: outside of a session at first, and what is pinned comes of it
	for ((k = 9 + i % 5; k < len; k += step)); do
		init_case flip "$n" $k || { echo "flip $n $k"; cat "$LAB/said"; } >>"$LAB/bad"
	done
done
for k in 16 17 18 19; do init_case flip 00000173/1 $k || { echo "flip of the SRK's attributes, $k"; cat "$LAB/said"; } >>"$LAB/bad"; done
if [ -s "$LAB/bad" ]; then not_ok init-flips-are-right-or-refused "$LAB/bad"; else ok init-flips-are-right-or-refused; fi
rm -f "$LAB/bad"
rm -rf "$LAB/state"
mv "$LAB/state.kept" "$LAB/state"

# One start with the n-th response changed: it is right, or refused; then, without the change, it is right.
bus_case() { # PLAN…
	bus "$@"
	mgr_start --pool 0 || return 1
	if timeout 30 "$B/vtpmctl" --runtime-dir "$LAB/run" start web1 >"$LAB/first" 2>&1; then
		:
	elif [ $? -ge 124 ] || [ ! -s "$LAB/first" ]; then
		echo "no answer"
		return 1
	else
		timeout 30 "$B/vtpmctl" --runtime-dir "$LAB/run" start web1 || return 1
	fi
	guest web1 tpm2_nvread -Q -C o -s "$(stat -c %s "$LAB/web1.nv")" $NV -o "$LAB/web1.nv.now" || return 1
	cmp "$LAB/web1.nv" "$LAB/web1.nv.now" || return 1
	no logged "crash|signal|quarantine"
}
run_case() { # NAME LOGGED PLAN…
	local name=$1 text=$2 rc=0
	shift 2
	log_mark
	bus_case "$@" >"$LAB/out" 2>&1 || rc=1
	mgr_stop || rc=1
	[ -z "$text" ] || logged "$text" >>"$LAB/out" || rc=1
	[ $rc -eq 0 ] || { echo "$name: $*" >>"$LAB/bad"; cat "$LAB/out" >>"$LAB/bad"; tail -n "+$((MARK + 1))" "$LAB/mgr.log" >>"$LAB/bad"; }
}
cases() { # NAME: none of the cases since the last one has gone wrong
	if [ -s "$LAB/bad" ]; then not_ok "$1" "$LAB/bad"; else ok "$1"; fi
	rm -f "$LAB/bad"
}
mapfile -t RECORDED < <(recorded)
UNSEAL=0000015e/1
unseal_len=$(recorded | awk -v u=$UNSEAL '$1 == u { print $2 }')
CHANGED="response of the TPM (does not verify|makes no sense).*somebody on the way changes it"

for ((k = 16; k < unseal_len; k += 9)); do run_case unseal "TPM2_Unseal: a $CHANGED" flip $UNSEAL $k; done
run_case unseal-last "TPM2_Unseal: a $CHANGED" flip $UNSEAL -1
cases bits-of-unseal-are-caught-by-the-hmac
i=0
for r in "${RECORDED[@]}"; do
	i=$((i + 1))
	read -r n len <<<"$r"
	for ((k = i % 5; k < len; k += k < 14 ? 5 : 31)); do run_case flip "" flip "$n" $k; done
done
cases flips-are-right-or-refused
for r in "${RECORDED[@]}"; do
	read -r n len <<<"$r"
	run_case retry "" code "$n" 0x922
	run_case failure "" code "$n" 0x101
	run_case rate "" code "$n" 0x920
done
cases error-codes-are-right-or-refused
for r in "${RECORDED[@]}"; do
	read -r n len <<<"$r"
	run_case size-zero "" size "$n" 0
	run_case size-huge "" size "$n" 0xffffffff
	run_case garbage "" garbage "$n" 100
	run_case cut-early "" cut "$n" 3
	run_case cut-late "" cut "$n" $((len - 1))
done
cases nonsense-and-hang-ups-are-right-or-refused

# A TPM that answers everything with an error: nothing starts, in words, and when it is well again it does.
for code in 0x922 0x101 0x920; do
	bus code 1-100000 $code
	mgr_start --pool 0
	check "always-$code" all refused "TPM" ctl start web1 -- refused "TPM" ctl create web9 -- ctl status
	bus
	check "always-$code-is-over" eval 'ctl start web1 || ctl start web1'
	mgr_stop
done
exit $FAILED
