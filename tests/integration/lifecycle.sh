#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What an operator does with vtpmctl: create, list, show, start, stop, reset, destroy, groups, quotas, roles, audit log.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

of_json() { python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"d": d}))' "$@"; }

for p in vtpm-mgr vtpmctl vtpm-keeper vtpm-spawn vtpm-backend; do
	exits "${p}_help" 0 "$B/$p" --help
	exits "${p}_version" 0 "$B/$p" --version
	exits "${p}_unknown_option" 2 "$B/$p" --no-such-option
done
exits help_of_a_group 0 ctl group --help
says help_of_a_group_names_its_commands "group create NAME"
exits group_alone_is_usage 2 ctl group
exits no_manager_is_exit_8 8 ctl status
says no_manager_names_the_socket "$LAB/run/control.sock"
exits no_store_is_refused 1 "$B/vtpm-mgr" $(mgr_options)
says no_store_names_init "--init"
if [ "$(id -u)" -eq 0 ]; then
	# Somebody else's directory, named by mistake, stays whose it is.
	mkdir "$LAB/etc" "$LAB/root" && touch "$LAB/etc/passwd"
	for o in --state-dir --runtime-dir; do
		exits "${o#--}_of_root_with_files_is_refused" 1 "$B/vtpm-mgr" $(mgr_options) $o "$LAB/etc"
		says "${o#--}_refusal_says_why" "belongs to another user"
		is "${o#--}_keeps_its_owner" "$(stat -c %u "$LAB/etc")" 0
	done
	exits empty_directory_of_root_is_taken 1 "$B/vtpm-mgr" $(mgr_options) --state-dir "$LAB/root"
	is empty_directory_has_the_user "$(stat -c %U "$LAB/root")" "$(id -un 65534)"
fi

chip_start
check init mgr_init --insecure-pcrs
exits init_twice_is_refused 1 mgr_init --insecure-pcrs
check start mgr_start --pool 1 --viewer-group 64123 --operator-group 64124

# --- create, show ---
U=123e4567-e89b-42d3-a456-426614174000
exits create 0 ctl create web1 --uuid $U --user 64200 --state-max 32768 --locality-max 2 --json
cp "$LAB/out" "$LAB/web1.json"
is uuid_is_kept "$(of_json "$LAB/web1.json" 'd["vtpm"]["uuid"]')" $U
is two_eks "$(of_json "$LAB/web1.json" '[e["kind"] for e in d["vtpm"]["ek"]]')" "['rsa2048', 'ecc-p256']"
is user_is_kept "$(of_json "$LAB/web1.json" 'd["vtpm"]["user"]')" 64200
exits duplicate_name_is_exit_4 4 ctl create web1
exits duplicate_uuid_is_exit_4 4 ctl create web9 --uuid $U
for bad in '../x' '-x' '.x' 'a b' 'a/b' "$(printf 'a\nb')" "$(printf 'a\033[31m')" "$(printf 'x%.0s' {1..65})" '' "x'; DROP TABLE vtpm" '%s%n'; do
	exits "hostile_name_$(printf %s "$bad" | md5sum | cut -c1-4)" 2 ctl create -- "$bad"
done
exits unknown_name_is_exit_3 3 ctl show nobody
exits bad_uuid_is_usage 2 ctl create web8 --uuid 12
exits unknown_group_is_exit_3 3 ctl create web8 --group nogroup

# A program of somebody's own may send anything: what has the wrong type is not taken for absent.
invalid() { # METHOD PARAMETERS TEXT
	python3 - "$LAB/run/control.sock" "$@" <<'PY'
import json, socket, sys
path, method, parameters, text = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(path)
s.sendall(b'{"method":"org.vtpm.Manager.%s","parameters":%s}\0' % (method.encode(), parameters.encode()))
reply = b""
while not reply.endswith(b"\0"):
    reply += s.recv(65536) or sys.exit("hung up")
print(reply)
reply = json.loads(reply[:-1])
sys.exit(reply.get("error") != "org.vtpm.Manager.Invalid" or text not in reply["parameters"]["message"])
PY
}
check group_of_wrong_type invalid Create '{"name":"typed","group":5}' "group must be a string"
check user_of_wrong_type invalid Create '{"name":"typed","user":"64200"}' "user must be a whole number"
check locality_of_wrong_type invalid Create '{"name":"typed","locality_max":2.0}' "locality_max must be a whole number"
check uuid_of_wrong_type invalid Create '{"name":"typed","uuid":7}' "uuid must look like"
check name_of_wrong_type invalid Show '{"name":["web1"]}' "a name has 1 to 64"
check firmware_of_wrong_type invalid Start '{"name":"web1","firmware":"yes"}' "firmware must be true or false"
check force_of_wrong_type invalid Destroy '{"name":"web1","force":1}' "force must be true or false"
check pcrs_of_wrong_type invalid CreateGroup '{"name":"typed","pcrs":{"0":0}}' "pcrs must be a list"
check insecure_of_wrong_type invalid CreateGroup '{"name":"typed","pcrs":[0],"insecure_pcrs":"false"}' "insecure_pcrs must be true or false"
exits none_of_it_was_made 3 ctl show typed

# --- the certificates ---
ctl ca >"$LAB/ca.pem"
for k in 0 1; do
	kind=$(of_json "$LAB/web1.json" "d['vtpm']['ek'][$k]['kind']")
	of_json "$LAB/web1.json" "d['vtpm']['ek'][$k]['certificate']" >"$LAB/ek.pem"
	of_json "$LAB/web1.json" "d['vtpm']['ek'][$k]['public_pem']" | grep . >"$LAB/ek.pub"
	check "${kind}_certificate_verifies" openssl verify -x509_strict -CAfile "$LAB/ca.pem" "$LAB/ek.pem"
	openssl x509 -in "$LAB/ek.pem" -noout -text >"$LAB/out"
	says "${kind}_eku_ek_certificate" 2.23.133.8.1
	says "${kind}_names_the_uuid" $U
	for oid in 2.23.133.2.1 2.23.133.2.2 2.23.133.2.3; do
		openssl asn1parse -in "$LAB/ek.pem" -strparse "$(openssl asn1parse -in "$LAB/ek.pem" | awk '/X509v3 Subject Alternative Name/ { f = 1 } f && /OCTET STRING/ { sub(":.*", ""); print $1; exit }')" >"$LAB/out" 2>&1
		says "${kind}_san_has_$oid" ":$oid"
	done
	is "${kind}_public_is_the_certified" "$(openssl x509 -in "$LAB/ek.pem" -noout -pubkey | md5sum)" "$(md5sum <"$LAB/ek.pub")"
done

check ak_public ctl show web1 --ak-public
openssl x509 -in <(ctl show web1 --ak-cert) -noout -text >"$LAB/out" 2>&1
says ak_certificate_is_for_attestation 2.23.133.8.3
says ak_certificate_names_the_uuid $U
says ak_certificate_is_for_signatures "Digital Signature"
ctl show web1 --ak-cert >"$LAB/ak.pem"
check ak_certificate_verifies openssl verify -x509_strict -CAfile "$LAB/ca.pem" "$LAB/ak.pem"
is ak_is_the_certified "$(openssl x509 -in "$LAB/ak.pem" -noout -pubkey | md5sum)" "$(ctl show web1 --ak-public | md5sum)"
serial() { openssl x509 -noout -serial | cut -d= -f2; }
is serials_differ_in_the_kind_alone "$(ctl show web1 --ek-cert rsa | serial)" "$(ctl show web1 --ek-cert ecc | serial | sed 's/..$/00/')"
is serial_of_the_ak "$(serial <"$LAB/ak.pem")" "$(ctl show web1 --ek-cert rsa | serial | sed 's/..$/02/')"

# --- power ---
exits start_says_where_the_ring_is 0 ctl start web1
is ring_path "$(cat "$LAB/out")" "$LAB/run/web1.ring"
exits start_twice_is_exit_4 4 ctl start web1
for h in 0x81010001 0x81010002; do
	check "ek_is_persistent_at_$h" guest web1 tpm2_readpublic -c $h -f pem -o "$LAB/$h.pem"
done
is persistent_rsa_ek_is_the_certified "$(openssl pkey -pubin -in "$LAB/0x81010001.pem" -pubout)" "$(of_json "$LAB/web1.json" "d['vtpm']['ek'][0]['public_pem']" | grep .)"
is persistent_ecc_ek_is_the_certified "$(openssl pkey -pubin -in "$LAB/0x81010002.pem" -pubout)" "$(of_json "$LAB/web1.json" "d['vtpm']['ek'][1]['public_pem']" | grep .)"
check ak_is_persistent guest web1 tpm2_readpublic -c 0x81810001 -f pem -o "$LAB/ak.pub"
is persistent_ak_is_the_certified "$(openssl pkey -pubin -in "$LAB/ak.pub" -pubout)" "$(ctl show web1 --ak-public)"
check owner_cannot_evict_the_ak refused "auth|hierarchy|handle" guest web1 tpm2_evictcontrol -C o -c 0x81810001
check guest_cannot_quote_with_the_ak refused "auth" guest web1 tpm2_quote -c 0x81810001 -l sha256:0 -q 00
exits destroy_running_is_exit_4 4 ctl destroy web1
check list ctl list
# When somebody keeps knocking at one of its sockets.
knock() { # N TYPE FILE: as many connections, each of which must end
	timeout 60 python3 - "$LAB/run/$3" "$1" "$2" <<'PY'
import socket, sys
for i in range(int(sys.argv[2])):
    s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[3]))
    s.settimeout(20)
    s.connect(sys.argv[1])
    try:
        while s.recv(4096):
            pass
    except ConnectionResetError:
        pass
PY
}
if [ "$(id -u)" -eq 0 ]; then
	for s in SEQPACKET:ring STREAM:swtpm; do
		lines=$(wc -l <"$LAB/mgr.log")
		SECONDS=0
		check "${s#*:}_refuses_strangers" setpriv --reuid 64300 --regid 64300 --clear-groups bash -c "$(declare -f knock); LAB=$LAB knock 300 SOCK_${s%:*} web1.${s#*:}"
		lines=$(($(wc -l <"$LAB/mgr.log") - lines))
		if [ $lines -le $((SECONDS + 2)) ]; then ok "refusals_of_the_${s#*:}_do_not_flood_the_log"; else echo "    $lines lines"; not_ok "refusals_of_the_${s#*:}_do_not_flood_the_log"; fi
	done
else
	echo "skip ring_refusals: needs root to be somebody else"
fi
exits show_json 0 ctl show web1 --json
is state_running "$(of_json "$LAB/out" 'd["vtpm"]["state"]')" running
guest web1 tpm2_pcrextend 16:sha256=$(printf x | sha256sum | cut -d' ' -f1)
check reset ctl reset web1
is reset_clears_pcrs "$(guest web1 tpm2_pcrread sha256:16 | grep -c 0x0000000000)" 1
check stop ctl stop web1
exits stop_twice_is_exit_4 4 ctl stop web1
exits reset_stopped_is_exit_4 4 ctl reset web1

# --- quotas ---
check start_again ctl start web1
n=0
while [ $n -lt 64 ] && guest web1 tpm2_nvdefine -Q -C o -s 2048 -a 'ownerread|ownerwrite' 0x$(printf %x $((0x1500020 + n))) >"$LAB/out" 2>&1; do n=$((n + 1)); done
says state_quota_is_an_error_of_the_command 0x14B
check state_quota_leaves_room_for_deleting guest web1 tpm2_nvundefine -C o 0x1500020
check state_quota_then_permits_again guest web1 tpm2_nvdefine -C o -s 8 -a 'ownerread|ownerwrite' 0x1500020
check create_slow ctl create slow --commit-rate 5
check start_slow ctl start slow
guest slow tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x1500001
start=$(date +%s%N)
for i in {1..60}; do printf '%08d' $i | guest slow tpm2_nvwrite -Q -C o -i - 0x1500001 || break; done
# 50 are the burst; what follows comes at 5 a second
if [ $(($(date +%s%N) - start)) -ge 1500000000 ] && [ "$i" -eq 60 ]; then ok commit_rate_delays_and_loses_nothing; else not_ok commit_rate_delays_and_loses_nothing; fi

# --- groups ---
check group_create ctl group create blue --insecure-pcrs
exits group_twice_is_exit_4 4 ctl group create blue
exits group_bad_pcr_is_usage 2 ctl group create red --pcrs 24
exits group_of_unmeasured_pcrs_is_exit_7 7 ctl group create red --pcrs 14
check create_in_group ctl create inblue --group blue
check start_in_group ctl start inblue
check use_in_group guest inblue tpm2_getrandom 8 --hex
# Two who ask for the same one at once: there is one root, and what is made in the group is under that.
for i in 1 2; do (ctl group create twice --insecure-pcrs >"$LAB/twice.$i" 2>&1; echo $? >"$LAB/twice.$i.rc") & twice[i]=$!; done
wait "${twice[@]}"
is one_of_two_makes_the_group "$(cat "$LAB"/twice.?.rc | sort | xargs)" "0 4"
check create_in_that_group ctl create intwice --group twice

# --- roles ---
if [ "$(id -u)" -eq 0 ]; then
	exits viewer_lists 0 as 64300 64123 "$B/vtpmctl" --runtime-dir "$LAB/run" list
	exits viewer_may_not_stop 5 as 64300 64123 "$B/vtpmctl" --runtime-dir "$LAB/run" stop slow
	exits operator_group_stops 0 as 64300 64124 "$B/vtpmctl" --runtime-dir "$LAB/run" stop slow
	exits stranger_is_refused 5 as 64300 64300 "$B/vtpmctl" --runtime-dir "$LAB/run" list
else
	echo "skip roles: needs root to be somebody else"
fi

# --- the manager's end, and after it ---
check orderly_stop mgr_stop
check start_after_stop mgr_start --pool 0
exits list_after_stop 0 ctl list --json
is four_are_known "$(of_json "$LAB/out" 'len(d["vtpms"])')" 4
is none_runs "$(of_json "$LAB/out" '{v["state"] for v in d["vtpms"]}')" "{'stopped'}"
check groups_open_again ctl start inblue
check that_group_opens_its_own_again ctl start intwice
check cold_create ctl create cold
check destroy ctl destroy web1
exits destroyed_is_gone 3 ctl show web1
check name_can_be_used_again ctl create web1 --json
if [ "$(of_json "$LAB/out" 'd["vtpm"]["ek"][0]["public"]')" != "$(of_json "$LAB/web1.json" 'd["vtpm"]["ek"][0]["public"]')" ]; then ok new_identity; else not_ok new_identity; fi
check methods_take_what_is_described python3 tests/integration/parameters.py "$LAB/run/control.sock"
check and_answer_what_is_described python3 tests/integration/replies.py "$LAB/run/control.sock"
exits status 0 ctl status
says status_says_not_hardware "not hardware-backed"

# --- what is made ahead: in memory only, and each for one vTPM ---
pool_is_full() {
	ctl status --json >"$LAB/status" && [ "$(of_json "$LAB/status" 'd["status"]["pool"] == d["status"]["pool_target"]')" = True ]
}
states_are_of_vtpms() { is "$1" "$(db "SELECT count(*) = (SELECT count(*) FROM vtpm) FROM state") $(db .tables | xargs)" "1 grp journal leaf meta state vtpm"; }
check stop_before_pool mgr_stop
check start_with_pool mgr_start --pool 2
check pool_fills soon pool_is_full
mgr_stop KILL
# What it leaves, also if it had just removed a row: a start removes it, and nothing else.
python3 -c 'import socket, sys; [socket.socket(socket.AF_UNIX).bind(sys.argv[1] + n) for n in ("gone.swtpm", "gone.ring", "kept.sock")]' "$LAB/run/"
touch "$LAB/run/kept.ring"
states_are_of_vtpms pool_is_not_on_disk_after_a_crash
check start_with_pool_again mgr_start --pool 2
is sockets_of_nothing_are_removed "$(cd "$LAB/run" && ls -d gone.* kept.* 2>/dev/null | xargs)" "kept.ring kept.sock"
rm -f "$LAB/run/kept.ring" "$LAB/run/kept.sock"
check pool_fills_again soon pool_is_full
for i in 1 2 3 4 5 6; do ctl create "ahead$i" >"$LAB/out" 2>&1 & creates[i]=$!; done
for i in 1 2 3 4 5 6; do check "create_ahead_$i" wait "${creates[i]}"; done
check pool_fills_after_creates soon pool_is_full
for i in 1 2 3 4 5 6; do ctl show "ahead$i" --ek-public rsa; ctl show "ahead$i" --ek-public ecc; done >"$LAB/eks"
is each_has_eks_of_its_own "$(awk '/^-----BEGIN/ { k = "" } { k = k $0 } /^-----END/ { print k }' "$LAB/eks" | sort -u | wc -l)" 12
check start_one_of_the_pool ctl start ahead1
check its_ek_is_the_shown guest ahead1 tpm2_readpublic -c 0x81010002 -f pem -o "$LAB/ahead1.pem"
is it_is_the_same "$(openssl pkey -pubin -in "$LAB/ahead1.pem" -pubout)" "$(ctl show ahead1 --ek-public ecc)"
check stop_with_pool mgr_stop
states_are_of_vtpms pool_is_not_on_disk
check start_after_pool mgr_start --pool 0

# --- a terminal that is closed ---
check start_before_the_hangup ctl start inblue
exits hangup_is_an_orderly_stop 0 mgr_stop HUP
check hangup_powered_it_off grep -q '"action":"stop","vtpm":"inblue".*"result":"ok"' <(tail -n 1 "$LAB/state/audit.log")
check start_after_the_hangup mgr_start --pool 0

# --- audit ---
python3 - "$LAB/state/audit.log" >"$LAB/out" <<'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
did = [(l["action"], l.get("vtpm"), l["result"]) for l in lines]
for want in [("init", None, "ok"), ("create", "web1", "ok"), ("start", "web1", "ok"), ("stop", "web1", "ok"), ("destroy", "web1", "ok"), ("group-create", None, "ok")]:
    assert want in did, want
assert all(set(l) >= {"time", "uid", "pid", "action", "result"} for l in lines)
print("complete")
PY
says audit_log_is_complete complete

# --- rotated under the manager, with the file that is installed: each line is in one file, and whole ---
if [ "$(id -u)" = 0 ]; then su="s/su .*/su $(id -nu "${MGR_USER:-65534}") $(id -ng "${MGR_USER:-65534}")/"; else su='/^\tsu /d'; fi
sed "s|/var/lib/vtpm|$LAB/state|; $su" vtpm-mgr/vtpm.logrotate >"$LAB/rotate.conf"
cp "$LAB/state/audit.log" "$LAB/lines.before"
rotates() { for i in 1 2 3 4 5 6; do logrotate --force --state "$LAB/rotate.state" "$LAB/rotate.conf" || return 1; pause 0.1; done; }
on_and_off() { for i in $(seq 20); do ctl start inblue && ctl stop inblue || return 1; done; }
rotates >"$LAB/rotated" 2>&1 &
check goes_on_while_it_is_rotated on_and_off
check rotate wait $!
check which_takes_effect rotates
ctl create after >/dev/null
is the_next_line_begins_another_file "$(wc -l <"$LAB/state/audit.log") $(stat -c %a "$LAB/state/audit.log")" "1 600"
zcat -f "$LAB/state"/audit.log.* >"$LAB/lines"
is none_is_lost_or_there_twice "$(sort "$LAB/lines.before" "$LAB/lines" | uniq -u | wc -l) $(($(wc -l <"$LAB/lines") - $(wc -l <"$LAB/lines.before")))" "40 40"
check each_is_whole python3 -c 'import json, sys; [json.loads(l) for l in open(sys.argv[1])]' "$LAB/lines"
check stop_at_the_end mgr_stop
if grep -qa "THE-SECRET" "$LAB/mgr.log"; then not_ok log; else ok log_has_no_secret; fi
