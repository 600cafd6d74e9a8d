#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A TPM, or somebody on the way to it, that answers with error codes: right or refused, and right when it is over.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/bus.sh
lab_init
bus_record

for r in "${RECORDED[@]}"; do
	read -r n len <<<"$r"
	run_case retry "" code "$n" 0x922
	run_case failure "" code "$n" 0x101
	run_case rate "" code "$n" 0x920
done
cases error-codes-are-right-or-refused
# A TPM that answers everything with an error: nothing starts, in words, and when it is well again it does.
for code in 0x922 0x101 0x920; do
	bus code 1-100000 $code
	mgr_start --pool 0
	check "always-$code" all refused "TPM" ctl start web1 -- refused "TPM" ctl create web9 -- ctl status
	bus
	check "always-$code-is-over" eval 'ctl start web1 || ctl start web1'
	mgr_stop
done

# A TPM that answers everything else, but quotes only at the fourth time: it is asked a second after it has refused, then two, then four, however often
# evidence is asked for, by whomever; who asks meanwhile hears the reason all the same.
quotes() { awk 'substr($1, 13, 8) == "00000158"' "$LAB/bus.log" | wc -l; }
attests() { ctl attest web1 --nonce 0011223344556677 --out "$LAB/ev"; }
guest_is_told() { head -c 8 /dev/urandom | guest web1 tpm2_nvwrite -Q 0x01407700 -i - && gives "no evidence: $1" eval 'guest web1 tpm2_nvread 0x01407701 2>/dev/null | tr -d "\0"'; }
until_it_quotes() { # each refusal is in $LAB/refusals
	until attests 2>>"$LAB/refusals"; do pause 0.2; done
}
bus code 158/1-3 0x143
mgr_start --pool 0
ctl start web1
began=$(date +%s%N)
log_mark
check no-quote-is-refused refused "TPM2_Quote" attests
check no-quote-guests-are-told-no-more guest_is_told "the physical TPM does not speak for the host"
check no-quote-passes until_it_quotes
check no-quote-every-refusal-has-the-reason no grep -v "TPM2_Quote" "$LAB/refusals"
check no-quote-and-when-it-is-asked-again grep -q "; again in 4 s" "$LAB/refusals"
check no-quote-is-not-tried-more-often gives 4 quotes
check no-quote-rests-for-longer-and-longer test $((($(date +%s%N) - began) / 1000000)) -ge 7000
check no-quote-many-have-asked test "$(wc -l <"$LAB/refusals")" -ge 8
check no-quote-log-has-it-once gives 1 eval 'tail -n "+$((MARK + 1))" "$LAB/mgr.log" | grep -c "does not speak for the host"'
check no-quote-is-over-at-once attests
bus code 158/2-2 0x143 # the quote that is good makes the next refusal the first one again
check another-keeper-quotes soon attests
check the-next-one-is-refused refused "TPM2_Quote" attests
rm "$LAB/refusals"
check and-passes until_it_quotes
check after-a-second all grep -q "again in" "$LAB/refusals" -- no grep -v "; again in 1 s" "$LAB/refusals"
mgr_stop
exit $FAILED
