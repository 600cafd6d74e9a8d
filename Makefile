# SPDX-License-Identifier: BSD-2-Clause
# One Makefile, not recursive; sources are listed, not globbed. "make help" says what there is.

SHELL    := /bin/bash
BUILD    ?= build
PREFIX   ?= /usr/local
BINDIR   ?= $(PREFIX)/bin
SBINDIR  ?= $(PREFIX)/sbin
LIBDIR   ?= $(PREFIX)/lib/$(shell gcc -dumpmachine)
LIBEXECDIR ?= $(PREFIX)/libexec/vtpm
INCDIR   ?= $(PREFIX)/include
MANDIR   ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
UNITDIR  ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
# For who wants the audit log rotated: see vtpm-mgr(8).
LOGROTATEDIR ?= $(PREFIX)/share/vtpm/logrotate.d
# What libvirt needs, laid out as below /etc: see vtpm-swtpm(8).
LIBVIRTDIR ?= $(PREFIX)/share/vtpm/libvirt

CC       := gcc
WARN     := -Wall -Wextra -Werror -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wformat=2
HARDEN   := -D_FORTIFY_SOURCE=3 -fstack-protector-strong
OPT      := -O2 -g
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) $(HARDEN) -fPIC -fvisibility=hidden -I. -I$(BUILD)/gen \
             $(CFLAGS)
LDFLAGS_ALL = -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs $(SANFLAGS) $(LDFLAGS)
LDPIE    := -pie

include sources.mk

PROGRAMS := $(addprefix $(BUILD)/,vtpm-hold vtpm-mgr vtpm-keeper vtpm-spawn vtpm-backend vtpmctl vtpm-swtpm vtpm-vchan vtpm-verify vtpm-launch)
# The names that vtpm-swtpm is called by, in a directory that can stand first in PATH.
SWTPM_NAMES := $(addprefix $(BUILD)/swtpm/,swtpm swtpm_setup swtpm_ioctl)
LIBS     := $(BUILD)/libvtpm.so.0 $(BUILD)/libtss2-tcti-vtpm.so.0 $(BUILD)/libvtpm-verify.so.0
TESTS    := $(addprefix $(BUILD)/tests/,$(UNIT_TESTS) $(INTEGRATION_TESTS) $(TEST_TOOLS))
GUEST    := $(addprefix $(BUILD)/tests/,$(GUEST_TOOLS))

.PHONY: FORCE all programs deps help demo test check asan bench fuzz install clean lint tests unit integration analyze module install-module lab-qemu lab-xen lab-flask lab-launch lab-libvirt lab-host efi torture model
all: programs tests
programs: $(PROGRAMS) $(LIBS) $(SWTPM_NAMES)
tests: $(TESTS)

help:
	@sed -n 's/^## //p' Makefile

## make            build everything into build/
## make deps       install the Debian packages that building and testing need (packages.txt is the one list)
## make demo       install, build, and show a guest using its own TPM 2.0
## make test       install, build, and run every test
## make check      unit tests and lint, under a minute
## make module     the Linux driver for Xen guests, against KDIR (default: headers of the running kernel)
## make install-module   its sources for DKMS, in a guest
## make stubdom    the stub domain that owns the TPM: kernel, initramfs, xl's configuration, in build/stubdom (docs/xen.md)
## make efi        the EFI program that gives dom0 the firmware's event log, in build/efi (docs/sealing.md)
## make asan       unit and integration tests with AddressSanitizer and UBSan
## make lab-qemu   Debian's kernel in QEMU on our TPM; LAB_PEERS=swtpm for the reference (docs/lab.md)
## make lab-xen   Debian's Xen in QEMU, our manager in dom0, guests; LAB_XEN=short for the essence (docs/lab.md)
## make lab-flask  the same with a Xen that enforces the XSM policy of hv/flask, which is built from source once
## make lab-launch   guests of Xen that vtpm-launch makes, others that come without, and all of it from the firmware on in one boot; LAB_LAUNCH=short for the essence (docs/lab.md)
## make lab-host   a measured boot: OVMF, GRUB, Xen, dom0; LAB_HOST=short for the essence (docs/lab.md)
## make lab-libvirt   Debian's libvirt with vtpm-swtpm in swtpm's place, through virsh
## make torture    CUTS power cuts of processes, chip and disk; SEED=n does one life again (docs/continuity.md)
## make model      the model of state continuity with its larger bounds
## make bench      measure, beside swtpm and libtpms; writes build/bench.json
## make fuzz       fuzz the parsers (FUZZ_SECONDS each)
## make analyze    clang-tidy and cppcheck
## make install    DESTDIR, PREFIX
## make clean

# --- building ---

OBJ = $(BUILD)/obj
objs = $(addprefix $(OBJ)/,$(1:.c=.o))

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(SANFLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/vtpm-mgr/main.o: $(BUILD)/gen/varlink.inc
$(OBJ)/vtpm-mgr/options.o: $(BUILD)/gen/paths.h
# Made anew only when PREFIX or LIBEXECDIR is another than last time.
$(BUILD)/gen/paths.h: FORCE
	@mkdir -p $(@D)
	@echo '#define LIBEXECDIR "$(LIBEXECDIR)"' | cmp -s - $@ || echo '#define LIBEXECDIR "$(LIBEXECDIR)"' >$@
FORCE:
$(BUILD)/gen/varlink.inc: vtpm-mgr/org.vtpm.Manager.varlink
	@mkdir -p $(@D)
	sed -e 's/["\\]/\\&/g' -e 's/.*/"&\\n"/' $< >$@

# $(call program,FILE,SOURCES,LIBRARIES,FLAGS)
define program
$(BUILD)/$(1): $(call objs,$(2)) $(5)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS_ALL) $(4) -o $$@ $(call objs,$(2)) $(3)
-include $(patsubst %.o,%.d,$(call objs,$(2)))
endef

$(eval $(call program,vtpm-mgr,$(MGR_SRCS),$(LIBS_MGR),$(LDPIE)))
$(eval $(call program,vtpm-hold,$(HOLD_SRCS),,$(LDPIE)))
$(eval $(call program,vtpm-keeper,$(KEEPER_SRCS),$(LIBS_KEEPER),$(LDPIE)))
$(eval $(call program,vtpm-backend,$(BACKEND_SRCS),$(LIBS_BACKEND),$(LDPIE)))
$(eval $(call program,vtpm-spawn,$(SPAWN_SRCS),$(LIBS_BACKEND),$(LDPIE)))
$(eval $(call program,vtpm-swtpm,$(SWTPM_SRCS),,$(LDPIE)))
$(eval $(call program,vtpmctl,$(CTL_SRCS),$(LIBS_CTL),$(LDPIE)))
$(eval $(call program,vtpm-launch,$(LAUNCH_SRCS),$(LIBS_CTL),$(LDPIE)))
$(eval $(call program,vtpm-vchan,$(BRIDGE_SRCS),$(LIBS_BRIDGE),$(LDPIE)))
$(eval $(call program,vtpm-verify,$(VERIFY_SRCS),$(LIBS_VERIFY),$(LDPIE)))

$(SWTPM_NAMES): $(BUILD)/vtpm-swtpm
	@mkdir -p $(@D)
	ln -sfn ../vtpm-swtpm $@

LIBVTPM_LD := -shared -Wl,-soname,libvtpm.so.0 -Wl,--version-script=frontend-drivers/libvtpm/libvtpm.map
TCTI_LD    := -shared -Wl,-soname,libtss2-tcti-vtpm.so.0 -Wl,--version-script=frontend-drivers/tcti/tcti.map
$(eval $(call program,libvtpm.so.0,$(LIBVTPM_SRCS),,$(LIBVTPM_LD),frontend-drivers/libvtpm/libvtpm.map))
VERIFY_LD  := -shared -Wl,-soname,libvtpm-verify.so.0 -Wl,--version-script=attest/libvtpm-verify.map
$(eval $(call program,libvtpm-verify.so.0,$(VERIFY_LIB_SRCS),$(LIBS_VERIFY),$(VERIFY_LD),attest/libvtpm-verify.map))
$(eval $(call program,libtss2-tcti-vtpm.so.0,$(TCTI_SRCS),,$(TCTI_LD),frontend-drivers/tcti/tcti.map))

$(foreach t,$(UNIT_TESTS),$(eval $(call program,tests/$(t),tests/unit/$(t).c $($(t)_SRCS),$($(t)_LIBS) -lcmocka,$(LDPIE))))
$(foreach t,$(INTEGRATION_TESTS),$(eval $(call program,tests/$(t),tests/integration/$(t).c $($(t)_SRCS),$($(t)_LIBS) -lcmocka,$(LDPIE))))
$(foreach t,$(GUEST_TOOLS),$(eval $(call program,tests/$(t),$($(t)_SRCS),$($(t)_LIBS),-static)))
$(foreach t,$(TEST_TOOLS),$(eval $(call program,tests/$(t),$($(t)_SRCS),$($(t)_LIBS),$(LDPIE))))

# The guest's kernel module. Kbuild builds where the sources are, so that is a copy, laid out as DKMS has it.
KDIR ?= /lib/modules/$(shell uname -r)/build
module:
	@mkdir -p $(BUILD)/module/hv
	cp -u $(addprefix frontend-drivers/linux/,$(MODULE_FILES)) $(BUILD)/module/
	cp -u hv/chan_abi.h $(BUILD)/module/hv/
	$(MAKE) -C $(KDIR) M=$(abspath $(BUILD)/module) modules

DKMS_DIR := /usr/src/xen-tpm2front-$(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' frontend-drivers/linux/dkms.conf)
install-module:
	install -d $(DESTDIR)$(DKMS_DIR)/hv $(DESTDIR)/usr/lib/modprobe.d $(DESTDIR)$(MANDIR)/man4
	install -m 644 $(addprefix frontend-drivers/linux/,$(MODULE_FILES) dkms.conf COPYING) $(DESTDIR)$(DKMS_DIR)/
	install -m 644 hv/chan_abi.h $(DESTDIR)$(DKMS_DIR)/hv/
	install -m 644 frontend-drivers/linux/modprobe.conf $(DESTDIR)/usr/lib/modprobe.d/xen-tpm2front.conf
	install -m 644 docs/man/xen-tpm2front.4 $(DESTDIR)$(MANDIR)/man4/

stubdom: $(BUILD)/stubdom/initramfs
$(BUILD)/stubdom/initramfs: $(PROGRAMS) $(addprefix hv/xen/stubdom/,init vtpmmgr.cfg image.sh)
	hv/xen/stubdom/image.sh $(BUILD)

# What is started before GRUB on a host of Xen. Same sources and tools make the same bytes: no debugger's sections, no time.
EFI_INC ?= /usr/include/efi
EFI_LIB ?= /usr/lib
EFI_CFLAGS := -std=gnu11 -O2 $(filter-out -Wcast-qual,$(WARN)) -ffreestanding -fpic -fshort-wchar -fno-stack-protector \
              -fno-strict-aliasing -mno-red-zone -maccumulate-outgoing-args -DGNU_EFI_USE_MS_ABI \
              -isystem $(EFI_INC) -isystem $(EFI_INC)/x86_64
EFI_SECTIONS := .text .sdata .data .dynamic .dynsym .rel .rela .rel.* .rela.* .reloc
efi: $(BUILD)/efi/vtpm-launch.efi
$(BUILD)/efi/vtpm-launch.efi: $(EFI_SRCS)
	@mkdir -p $(@D)
	$(CC) $(EFI_CFLAGS) -c -o $(@D)/efi.o $<
	ld -nostdlib -znocombreloc -shared -Bsymbolic --no-undefined -T $(EFI_LIB)/elf_x86_64_efi.lds -o $(@D)/efi.so \
	  $(EFI_LIB)/crt0-efi-x86_64.o $(@D)/efi.o $(EFI_LIB)/libefi.a $(EFI_LIB)/libgnuefi.a
	SOURCE_DATE_EPOCH=0 objcopy $(addprefix -j ,$(EFI_SECTIONS)) --target efi-app-x86_64 --subsystem=10 $(@D)/efi.so $@

# --- installing what is needed ---

deps:
	tests/deps.sh

# --- testing ---

unit: all
	tests/run.sh --build $(BUILD) --name unit $(addprefix $(BUILD)/tests/,$(UNIT_TESTS))

# The guests' tools are linked statically, which programs with sanitizers cannot be: those take the other build's.
integration: all $(if $(SANFLAGS),,$(GUEST))
	tests/run.sh --build $(BUILD) --name integration $(addprefix $(BUILD)/tests/,$(INTEGRATION_TESTS)) $(INTEGRATION_SCRIPTS)

lint:
	tests/lint.sh

check: unit lint

test: deps
	tests/all.sh

demo: deps
	$(MAKE) programs
	tests/demo.sh $(BUILD)

bench: programs tests $(GUEST)
	tests/bench/bench.sh $(BUILD)

# It boots two machines at a time; TEST_TIMEOUT is for a host that is busy with other things, too.
LAB_PEERS ?= ours
lab-qemu: deps
	$(MAKE) programs $(GUEST)
	LAB_PEERS='$(LAB_PEERS)' TEST_JOBS=1 TEST_TIMEOUT=900 tests/run.sh --build $(BUILD) --name lab-qemu $(LAB_SCRIPTS)

lab-libvirt: programs $(GUEST)
	tests/run.sh --build $(BUILD) --name lab-libvirt tests/lab/libvirt/run.sh

LAB_XEN ?= stub power ends held edges guests bench hostile driver host
lab-xen: programs stubdom $(GUEST) $(BUILD)/tests/xenback
	LAB_XEN='$(LAB_XEN)' TEST_TIMEOUT=1800 tests/run.sh --build $(BUILD) --name lab-xen tests/lab/xen/run.sh

lab-flask: programs stubdom $(GUEST) $(BUILD)/tests/xenback
	TEST_TIMEOUT=1800 tests/run.sh --build $(BUILD) --name lab-flask tests/lab/flask/run.sh

LAB_LAUNCH ?= long
lab-launch: programs stubdom efi $(GUEST) $(BUILD)/tests/xenback
	LAB_LAUNCH='$(LAB_LAUNCH)' TEST_TIMEOUT=1800 tests/run.sh --build $(BUILD) --name lab-launch tests/lab/launch/run.sh

LAB_HOST ?= long
lab-host: programs efi $(GUEST)
	LAB_HOST='$(LAB_HOST)' TEST_TIMEOUT=900 tests/run.sh --build $(BUILD) --name lab-host tests/lab/host/run.sh

ASAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan: programs $(GUEST)
	VTPM_TCTI=$(CURDIR)/$(BUILD)/libtss2-tcti-vtpm.so.0 $(MAKE) BUILD=$(BUILD)/asan OPT='-O1 -g' HARDEN= SANFLAGS='$(ASAN_FLAGS)' unit integration

# Lives of hosts that lose processes, chip and disk at random instants; SEED=n does one life again.
CUTS ?= 2000
torture: programs tests
	tests/powercut/run.sh --build $(BUILD) $(CUTS)

# The model of state continuity with its larger bounds: minutes, and 8 GiB.
model:
	tests/model/run.sh full

FUZZ_SECONDS ?= 60
fuzz:
	tests/fuzz/run.sh $(BUILD) $(FUZZ_SECONDS) $(FUZZERS)

# What tests/fuzz/run.sh asks for.
sources-%:
	@echo $($*_SRCS)
libs-%:
	@echo $($*_LIBS)

analyze: $(BUILD)/gen/varlink.inc $(BUILD)/gen/paths.h
	tests/analyze.sh $(BUILD)

fill = sed 's|@LIBEXECDIR@|$(LIBEXECDIR)|g' vtpm-mgr/libvirt/$(1) | install -m 644 /dev/stdin $(DESTDIR)$(LIBVIRTDIR)/$(2)

install: programs
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(LIBDIR) $(DESTDIR)$(INCDIR) \
	  $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man3 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8 \
	  $(DESTDIR)$(COMPLETIONDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(LOGROTATEDIR)
	install -m 755 $(BUILD)/vtpm-hold $(BUILD)/vtpm-mgr $(BUILD)/vtpm-vchan $(BUILD)/vtpm-launch $(DESTDIR)$(SBINDIR)/
	install -m 755 $(BUILD)/vtpmctl $(BUILD)/vtpm-verify $(DESTDIR)$(BINDIR)/
	install -m 755 $(BUILD)/vtpm-keeper $(BUILD)/vtpm-spawn $(BUILD)/vtpm-backend $(BUILD)/vtpm-swtpm $(DESTDIR)$(LIBEXECDIR)/
	install -d $(DESTDIR)$(LIBEXECDIR)/swtpm
	for n in $(notdir $(SWTPM_NAMES)); do ln -sfn ../vtpm-swtpm $(DESTDIR)$(LIBEXECDIR)/swtpm/$$n; done
	install -m 644 $(BUILD)/libvtpm.so.0 $(BUILD)/libtss2-tcti-vtpm.so.0 $(BUILD)/libvtpm-verify.so.0 $(DESTDIR)$(LIBDIR)/
	ln -sf libvtpm.so.0 $(DESTDIR)$(LIBDIR)/libvtpm.so
	ln -sf libvtpm-verify.so.0 $(DESTDIR)$(LIBDIR)/libvtpm-verify.so
	install -m 644 frontend-drivers/libvtpm/vtpm.h attest/vtpm-verify.h $(DESTDIR)$(INCDIR)/
	install -m 644 docs/man/vtpmctl.1 docs/man/vtpmctl-policy.1 docs/man/vtpm-verify.1 $(DESTDIR)$(MANDIR)/man1/
	install -m 644 docs/man/libvtpm.3 docs/man/libvtpm-verify.3 $(DESTDIR)$(MANDIR)/man3/
	install -m 644 docs/man/tss2-tcti-vtpm.7 $(DESTDIR)$(MANDIR)/man7/
	install -m 644 docs/man/vtpm-hold.8 docs/man/vtpm-mgr.8 docs/man/vtpm-keeper.8 docs/man/vtpm-spawn.8 docs/man/vtpm-backend.8 docs/man/vtpm-swtpm.8 docs/man/vtpm-vchan.8 docs/man/vtpm-launch.8 $(DESTDIR)$(MANDIR)/man8/
	install -m 644 vtpm-mgr/ctl/vtpmctl.bash-completion $(DESTDIR)$(COMPLETIONDIR)/vtpmctl
	sed 's|@SBINDIR@|$(SBINDIR)|g' vtpm-mgr/systemd/vtpm-mgr.service.in >$(DESTDIR)$(UNITDIR)/vtpm-mgr.service
	chmod 644 $(DESTDIR)$(UNITDIR)/vtpm-mgr.service
	install -m 644 vtpm-mgr/systemd/vtpm.sysusers $(DESTDIR)$(SYSUSERSDIR)/vtpm.conf
	install -m 644 vtpm-mgr/vtpm.logrotate $(DESTDIR)$(LOGROTATEDIR)/vtpm
	install -d $(addprefix $(DESTDIR)$(LIBVIRTDIR)/,systemd/system/libvirtd.service.d systemd/system/virtqemud.service.d \
	  systemd/system/vtpm-mgr.service.d apparmor.d/vtpm/abstractions)
	install -m 644 vtpm-mgr/libvirt/manager.conf $(DESTDIR)$(LIBVIRTDIR)/systemd/system/vtpm-mgr.service.d/libvirt.conf
	install -m 644 vtpm-mgr/libvirt/apparmor-qemu $(DESTDIR)$(LIBVIRTDIR)/apparmor.d/vtpm/abstractions/libvirt-qemu
	$(call fill,service.conf.in,systemd/system/libvirtd.service.d/vtpm.conf)
	$(call fill,service.conf.in,systemd/system/virtqemud.service.d/vtpm.conf)
	$(call fill,apparmor-libvirtd.in,apparmor.d/vtpm/usr.sbin.libvirtd)
	$(call fill,apparmor-vtpm-swtpm.in,apparmor.d/vtpm-swtpm)

install-stubdom: stubdom
	install -d $(DESTDIR)$(PREFIX)/lib/vtpm/stubdom
	install -m 644 $(BUILD)/stubdom/vmlinux $(BUILD)/stubdom/initramfs $(BUILD)/stubdom/vtpmmgr.cfg $(DESTDIR)$(PREFIX)/lib/vtpm/stubdom/

install-efi: efi
	install -d $(DESTDIR)$(PREFIX)/lib/vtpm
	install -m 644 $(BUILD)/efi/vtpm-launch.efi $(DESTDIR)$(PREFIX)/lib/vtpm/

clean:
	rm -rf $(BUILD)
