#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make install into an empty directory, and a vTPM made and used with what was installed. Usage: install.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
B=${1:-build}
. tests/lib.sh
lab_init
root=$LAB/root
make -s install BUILD="$B" DESTDIR="$root" PREFIX=/usr
for f in usr/sbin/vtpm-{hold,mgr,vchan,launch} usr/bin/vtpm{ctl,-verify} usr/libexec/vtpm/vtpm-{spawn,keeper,backend,swtpm} usr/libexec/vtpm/swtpm/swtpm{,_setup,_ioctl} usr/include/vtpm{,-verify}.h \
	usr/share/man/man1/vtpm{ctl,ctl-policy,-verify}.1 usr/share/man/man8/vtpm-{hold,mgr,spawn,keeper,backend,swtpm,vchan,launch}.8 usr/share/man/man3/libvtpm{,-verify}.3 \
	usr/share/man/man7/tss2-tcti-vtpm.7 usr/share/bash-completion/completions/vtpmctl \
	usr/lib/systemd/system/vtpm-mgr.service usr/lib/sysusers.d/vtpm.conf usr/share/vtpm/logrotate.d/vtpm \
	usr/share/vtpm/libvirt/systemd/system/{libvirtd,virtqemud}.service.d/vtpm.conf \
	usr/share/vtpm/libvirt/systemd/system/vtpm-mgr.service.d/libvirt.conf; do
	[ -s "$root/$f" ] || { echo "install: $f is missing"; exit 1; }
done
make -s install-module DESTDIR="$root" PREFIX=/usr
module=usr/src/xen-tpm2front-$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' frontend-drivers/linux/dkms.conf)
for f in "$module"/{Kbuild,dkms.conf,front.c,chip.c,ring.c,compat.h,hv/chan_abi.h} \
	usr/share/man/man4/xen-tpm2front.4 usr/lib/modprobe.d/xen-tpm2front.conf; do
	[ -s "$root/$f" ] || { echo "install: $f is missing"; exit 1; }
done
# What README has one do for libvirt, and whether AppArmor's parser takes it; it is enforced nowhere here.
cp -r /etc/apparmor.d "$LAB/apparmor.d"
cp -r "$root"/usr/share/vtpm/libvirt/apparmor.d "$LAB/"
for f in usr.sbin.libvirtd abstractions/libvirt-qemu; do echo "include <vtpm/$f>" >>"$LAB/apparmor.d/local/$f"; done
printf '#include <tunables/global>\nprofile vtpm-test-machine {\n  #include <abstractions/libvirt-qemu>\n}\n' >"$LAB/apparmor.d/machine"
for p in vtpm-swtpm usr.sbin.libvirtd machine; do
	apparmor_parser --skip-kernel-load --skip-cache --base "$LAB/apparmor.d" --policy-features /etc/apparmor.d/abi/3.0 \
		"$LAB/apparmor.d/$p" 2>"$LAB/out" || { cat "$LAB/out"; echo "install: AppArmor does not take $p"; exit 1; }
done
grep -q "^Environment=PATH=/usr/libexec/vtpm/swtpm:" "$root"/usr/share/vtpm/libvirt/systemd/system/libvirtd.service.d/vtpm.conf
lib=$(dirname "$(find "$root" -name libtss2-tcti-vtpm.so.0)")
[ -s "$lib/libvtpm.so.0" ]
# A program against the installed library and header, as a user would build one.
cat >"$LAB/use.c" <<'C'
#include <vtpm.h>
int main(int argc, char **argv) { struct vtpm *v; int r = vtpm_open(argv[argc - 1], &v); if (!r) vtpm_close(v); return r ? 1 : 0; }
C
gcc -Wall -Werror -I"$root/usr/include" -o "$LAB/use" "$LAB/use.c" -L"$lib" -lvtpm
cat >"$LAB/ask.c" <<'C'
#include <vtpm-verify.h>
int main(void) { struct vtpm_verify_input in = {.evidence = "", .trust = vtpm_trust_new()}; struct vtpm_report r; vtpm_verify(&in, &r); return r.verdict == VTPM_FAILED ? 0 : 1; }
C
gcc -Wall -Werror -I"$root/usr/include" -o "$LAB/ask" "$LAB/ask.c" -L"$lib" -lvtpm-verify
B=$root/usr/libexec/vtpm
export LD_LIBRARY_PATH=$lib
chip_start
"$root/usr/sbin/vtpm-mgr" --init $(mgr_options) --insecure-pcrs 2>/dev/null
ln -s "$root/usr/sbin/vtpm-mgr" "$root/usr/bin/vtpmctl" "$B/"
HOLD="--manager $root/usr/sbin/vtpm-mgr"
ln -s "$root/usr/sbin/vtpm-hold" "$B/"
mgr_start
ctl create web1 >/dev/null
ctl start web1 >/dev/null
"$LAB/use" "$LAB/run/web1.ring"
"$LAB/ask"
"$root/usr/bin/vtpm-verify" --version >/dev/null
TPM2TOOLS_TCTI="vtpm:path=$LAB/run/web1.ring" tpm2_getrandom --hex 8 >/dev/null
mgr_stop
echo "install: what is installed works"
