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
for f in usr/sbin/vtpm-{mgr,vchan} usr/bin/vtpmctl usr/libexec/vtpm/vtpm-{spawn,keeper,backend} usr/include/vtpm.h \
	usr/share/man/man1/vtpmctl.1 usr/share/man/man8/vtpm-{mgr,spawn,keeper,backend,vchan}.8 usr/share/man/man3/libvtpm.3 \
	usr/share/man/man7/tss2-tcti-vtpm.7 usr/share/bash-completion/completions/vtpmctl \
	usr/lib/systemd/system/vtpm-mgr.service usr/lib/sysusers.d/vtpm.conf; do
	[ -s "$root/$f" ] || { echo "install: $f is missing"; exit 1; }
done
lib=$(dirname "$(find "$root" -name libtss2-tcti-vtpm.so.0)")
[ -s "$lib/libvtpm.so.0" ]
# A program against the installed library and header, as a user would build one.
cat >"$LAB/use.c" <<'C'
#include <vtpm.h>
int main(int argc, char **argv) { struct vtpm *v; int r = vtpm_open(argv[argc - 1], &v); if (!r) vtpm_close(v); return r ? 1 : 0; }
C
gcc -Wall -Werror -I"$root/usr/include" -o "$LAB/use" "$LAB/use.c" -L"$lib" -lvtpm
B=$root/usr/libexec/vtpm
export LD_LIBRARY_PATH=$lib
chip_start
"$root/usr/sbin/vtpm-mgr" --init $(mgr_options) --insecure-pcrs 2>/dev/null
ln -s "$root/usr/sbin/vtpm-mgr" "$root/usr/bin/vtpmctl" "$B/"
mgr_start
ctl create web1 >/dev/null
ctl start web1 >/dev/null
"$LAB/use" "$LAB/run/web1.ring"
TPM2TOOLS_TCTI="vtpm:path=$LAB/run/web1.ring" tpm2_getrandom --hex 8 >/dev/null
mgr_stop
echo "install: what is installed works"
