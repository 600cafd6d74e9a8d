#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Everything: lint, build, unit, sanitizers, integration, the demo, real machines, short fuzzing. Ends with the count of all of it.
set -u
cd "$(dirname "$0")/.."
rm -rf build/results build/asan/results
mkdir -p build/results
step() { # name, command…: a step without a count of its own is one test
	local name=$1 start=$SECONDS
	shift
	echo "== $name"
	if "$@"; then
		[ -f "build/results/$name" ] || echo "1 0 0" >"build/results/$name"
	else
		[ -f "build/results/$name" ] || echo "0 1 0" >"build/results/$name"
	fi
	echo "== $name took $((SECONDS - start)) s"
}
step build make -s -j2 all
step lint make -s lint
step unit make -s unit
step integration make -s integration
step model tests/run.sh --name model tests/model/run.sh tests/model/trace_test.sh
step attack tests/run.sh --name attack tests/powercut/attack.sh
step torture make -s torture CUTS=100
step demo tests/demo.sh build
step lab-qemu make -s lab-qemu
step install tests/install.sh build
step lab-xen make -s lab-xen LAB_XEN=short
step lab-flask make -s lab-flask LAB_FLASK=short
step lab-launch make -s lab-launch LAB_LAUNCH=short
step lab-host make -s lab-host LAB_HOST=short
step stubdom tests/stubdom.sh build
step lab-libvirt make -s lab-libvirt
# The scripts that are about bytes of others; make asan has them all, which takes ten minutes.
step asan make -s -j2 asan INTEGRATION_SCRIPTS="$(echo tests/integration/{guest,hostile_ring,qemu_channel,walk,fronts,qemu_faults,import,breaches,policy,share,resume_qemu,backup}.sh)"
step fuzz make -s fuzz FUZZ_SECONDS=10
for r in unit integration; do
	[ -f "build/asan/results/$r" ] && cp "build/asan/results/$r" "build/results/asan-$r"
done
awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' build/results/*
