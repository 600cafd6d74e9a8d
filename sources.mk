# SPDX-License-Identifier: BSD-2-Clause
# What each target is made of. Paths from the project's root; a source stands in every list that needs it.

comma := ,
LIB_SRCS   := lib/buf.c lib/err.c lib/ipc.c lib/log.c lib/loop.c lib/secmem.c lib/util.c
SANDBOX_SRCS := lib/sandbox.c lib/sandbox_filter.c
HV_SRCS    := hv/chan.c hv/spin.c hv/local/local.c
XEN_SRCS   := hv/xen/xen.c hv/xen/errno.c
XENSTORE_SRCS := hv/xen/xenstore.c
VCHAN_SRCS := hv/xen/vchan.c hv/xen/vchan_device.c hv/xen/errno.c hv/xen/xenstore_wait.c $(XENSTORE_SRCS)
PROTO_SRCS := vtpm-mgr/proto/anchor.c vtpm-mgr/proto/attest.c vtpm-mgr/proto/backend.c vtpm-mgr/proto/backup.c vtpm-mgr/proto/enroll.c vtpm-mgr/proto/escrow.c vtpm-mgr/proto/share.c vtpm-mgr/proto/front.c vtpm-mgr/proto/hold.c vtpm-mgr/proto/keeper.c vtpm-mgr/proto/launch.c vtpm-mgr/proto/policy_code.c vtpm-mgr/proto/spawn.c
# Digests of policies, without a TPM.
POLICY_SRCS := vtpm-mgr/proto/policy.c
STORE_SRCS := vtpm-mgr/store_sqlite.c vtpm-mgr/store_schema.c vtpm-mgr/store_commit.c vtpm-mgr/store_journal.c vtpm-mgr/store_column.c vtpm-mgr/store_image.c vtpm-mgr/store_restore.c vtpm-mgr/store_rows.c vtpm-mgr/store_values.c
CONTROL_SRCS := vtpm-mgr/control.c vtpm-mgr/control_inbox.c vtpm-mgr/control_proto.c vtpm-mgr/control_socket.c

# The format of evidence, in manager and verifier: -lcbor -lcrypto.
EVIDENCE_SRCS := attest/evidence.c attest/item.c

EVENTLOG_SRCS := lib/eventlog.c

MGR_SRCS := vtpm-mgr/main.c vtpm-mgr/options.c vtpm-mgr/identity.c vtpm-mgr/host.c vtpm-mgr/keeper_client.c vtpm-mgr/keeper_boot.c vtpm-mgr/groups.c \
            vtpm-mgr/worker.c vtpm-mgr/vtpm.c vtpm-mgr/takeover.c vtpm-mgr/power_on.c vtpm-mgr/launch.c vtpm-mgr/launch_methods.c vtpm-mgr/launch_policy.c vtpm-mgr/launch_policy_methods.c vtpm-mgr/launch_rules.c vtpm-mgr/resume.c vtpm-mgr/held.c vtpm-mgr/held_guests.c vtpm-mgr/held_launch.c vtpm-mgr/qemu.c vtpm-mgr/fronts.c vtpm-mgr/xen.c vtpm-mgr/xen_device.c vtpm-mgr/xen_scan.c vtpm-mgr/xen_serve.c vtpm-mgr/xen_held.c vtpm-mgr/ring.c vtpm-mgr/commit.c vtpm-mgr/provision.c vtpm-mgr/init.c \
            vtpm-mgr/changes.c vtpm-mgr/batch.c vtpm-mgr/recovery.c vtpm-mgr/recovery_table.c vtpm-mgr/wear.c vtpm-mgr/release.c vtpm-mgr/escrow_keep.c vtpm-mgr/escrow_set.c vtpm-mgr/reseal.c vtpm-mgr/renew.c vtpm-mgr/reroot.c vtpm-mgr/reroot_move.c vtpm-mgr/recovery_methods.c vtpm-mgr/share_methods.c vtpm-mgr/describe_recovery.c \
            vtpm-mgr/backup.c vtpm-mgr/backup_aside.c vtpm-mgr/backup_file.c vtpm-mgr/restore.c vtpm-mgr/restore_choose.c vtpm-mgr/restore_apply.c vtpm-mgr/recreate.c vtpm-mgr/recreate_recover.c vtpm-mgr/transfer.c \
            vtpm-mgr/leaves.c vtpm-mgr/merkle.c \
            vtpm-mgr/certify.c vtpm-mgr/certs.c vtpm-mgr/crl_methods.c vtpm-mgr/enroll_methods.c vtpm-mgr/enroll_record.c vtpm-mgr/attest.c vtpm-mgr/attest_guest.c vtpm-mgr/attest_host.c vtpm-mgr/attest_make.c $(EVIDENCE_SRCS) vtpm-mgr/keeper_ca.c vtpm-mgr/import.c vtpm-mgr/methods.c vtpm-mgr/create_methods.c vtpm-mgr/group_methods.c vtpm-mgr/pcr_sets.c vtpm-mgr/policy_methods.c vtpm-mgr/policy_seal.c vtpm-mgr/recheck.c vtpm-mgr/proto/pcr_set_json.c $(POLICY_SRCS) vtpm-mgr/destroy.c vtpm-mgr/configure.c vtpm-mgr/describe.c vtpm-mgr/describe_ek.c vtpm-mgr/describe_continuity.c vtpm-mgr/audit.c vtpm-mgr/bootlog.c $(EVENTLOG_SRCS) \
            $(STORE_SRCS) $(CONTROL_SRCS) $(PROTO_SRCS) $(HV_SRCS) $(XENSTORE_SRCS) hv/xen/hypercall.c $(LIB_SRCS) $(SANDBOX_SRCS)
HOLD_LIB_SRCS := vtpm-mgr/hold/clients.c vtpm-mgr/hold/groups.c vtpm-mgr/hold/items.c vtpm-mgr/proto/hold.c $(LIB_SRCS)
HOLD_SRCS := vtpm-mgr/hold/main.c $(HOLD_LIB_SRCS)
# Envelopes for public keys, in keeper and vtpmctl.
ESCROW_SRCS := vtpm-mgr/escrow/envelope.c vtpm-mgr/escrow/code.c
KEEPER_LIB_SRCS := $(ESCROW_SRCS) vtpm-mgr/keeper/attest.c vtpm-mgr/keeper/enroll.c vtpm-mgr/keeper/enroll_ek.c vtpm-mgr/keeper/enroll_serve.c vtpm-mgr/keeper/escrow.c vtpm-mgr/keeper/escrow_serve.c vtpm-mgr/keeper/offline.c vtpm-mgr/keeper/share.c vtpm-mgr/keeper/share_serve.c \
            vtpm-mgr/keeper/anchor.c vtpm-mgr/keeper/anchor_serve.c vtpm-mgr/keeper/backup.c vtpm-mgr/keeper/nv.c vtpm-mgr/keeper/ca.c vtpm-mgr/keeper/cert.c vtpm-mgr/keeper/crl.c vtpm-mgr/keeper/ek.c vtpm-mgr/keeper/object.c \
            vtpm-mgr/keeper/counter.c vtpm-mgr/keeper/groups.c vtpm-mgr/keeper/identity.c vtpm-mgr/keeper/links.c vtpm-mgr/keeper/policy.c vtpm-mgr/keeper/policy_look.c vtpm-mgr/keeper/policy_serve.c vtpm-mgr/keeper/root.c vtpm-mgr/keeper/serve.c vtpm-mgr/keeper/srk.c vtpm-mgr/keeper/stream.c vtpm-mgr/keeper/tpm.c vtpm-mgr/keeper/warm.c vtpm-mgr/keeper/wrap.c $(POLICY_SRCS) $(EVIDENCE_SRCS)
KEEPER_SRCS := vtpm-mgr/keeper/main.c vtpm-mgr/keeper/ossl.c $(KEEPER_LIB_SRCS) $(PROTO_SRCS) $(LIB_SRCS) $(SANDBOX_SRCS)
BACKEND_LIB_SRCS := vtpm-backend/checkpoint.c vtpm-backend/commit.c vtpm-backend/control.c vtpm-backend/ak.c vtpm-backend/ek.c vtpm-backend/ek_find.c vtpm-backend/engine.c \
            vtpm-backend/evidence_nv.c vtpm-backend/guest_evidence.c vtpm-backend/import.c vtpm-backend/launch.c vtpm-backend/swtpm_state.c \
            vtpm-backend/pack.c vtpm-backend/permanent.c vtpm-backend/power.c vtpm-backend/provision.c vtpm-backend/quote.c vtpm-backend/qemu_control.c vtpm-backend/qemu_data.c \
            vtpm-backend/qemu_job.c vtpm-backend/qemu_link.c vtpm-backend/qemu_proto.c vtpm-backend/qemu_state.c vtpm-backend/quota.c vtpm-backend/resume.c vtpm-backend/ring.c vtpm-backend/run.c vtpm-backend/serve.c vtpm-backend/state.c \
            vtpm-backend/store.c vtpm-backend/tpmcmd.c vtpm-backend/tpmrun.c vtpm-backend/transfer.c vtpm-backend/warm.c vtpm-backend/xen.c \
            $(PROTO_SRCS) $(HV_SRCS) $(XEN_SRCS) $(LIB_SRCS) $(SANDBOX_SRCS)
BACKEND_SRCS := vtpm-backend/main.c $(BACKEND_LIB_SRCS)
SPAWN_SRCS := vtpm-backend/spawn.c vtpm-backend/birth.c vtpm-backend/children.c vtpm-backend/held.c vtpm-backend/reexec.c $(BACKEND_LIB_SRCS)
# Where a token is kept.
TOKEN_SRCS := vtpm-mgr/swtpm/place.c vtpm-mgr/swtpm/say.c
PREDICT_SRCS := $(EVENTLOG_SRCS) vtpm-mgr/predict/authenticode.c vtpm-mgr/predict/grub.c vtpm-mgr/predict/grub_commands.c vtpm-mgr/predict/grub_words.c vtpm-mgr/predict/predict.c
CTL_LIB_SRCS := vtpm-mgr/ctl/args.c vtpm-mgr/ctl/attest.c vtpm-mgr/ctl/backup.c vtpm-mgr/ctl/client.c vtpm-mgr/ctl/commands.c vtpm-mgr/ctl/domain.c vtpm-mgr/ctl/enroll.c vtpm-mgr/ctl/import.c vtpm-mgr/ctl/launch.c vtpm-mgr/ctl/link.c \
            vtpm-mgr/ctl/output.c vtpm-mgr/ctl/output_recovery.c vtpm-mgr/ctl/escrow.c vtpm-mgr/ctl/share.c vtpm-mgr/proto/share.c $(ESCROW_SRCS) vtpm-mgr/proto/escrow.c vtpm-mgr/proto/keeper.c \
            vtpm-mgr/ctl/policy.c vtpm-mgr/ctl/policy_key.c vtpm-mgr/ctl/policy_print.c vtpm-mgr/ctl/policy_sign.c vtpm-mgr/proto/pcr_set_json.c vtpm-mgr/proto/policy_code.c $(POLICY_SRCS) vtpm-mgr/ctl/predict.c $(PREDICT_SRCS) vtpm-mgr/ctl/token.c $(TOKEN_SRCS) $(VCHAN_SRCS) hv/xen/hypercall.c lib/buf.c lib/err.c lib/loop.c lib/sealed.c lib/util.c
CTL_SRCS := vtpm-mgr/ctl/main.c $(CTL_LIB_SRCS)
# vtpm-launch is a client of the manager, as vtpmctl is.
LAUNCH_LIB_SRCS := hv/launch/domain.c hv/launch/events.c hv/launch/image.c hv/launch/manager.c hv/launch/pcr.c hv/launch/qemu.c hv/launch/qemu_words.c hv/launch/report.c hv/launch/run.c hv/launch/stub.c hv/launch/xl.c hv/launch/xl_config.c hv/launch/xl_wait.c \
            vtpm-mgr/proto/launch.c $(CTL_LIB_SRCS)
LAUNCH_SRCS := hv/launch/main.c $(LAUNCH_LIB_SRCS)
BRIDGE_SRCS := vtpm-mgr/vchan/main.c vtpm-mgr/vchan/pump.c vtpm-mgr/identity.c $(VCHAN_SRCS) lib/buf.c lib/err.c lib/log.c lib/loop.c lib/util.c $(SANDBOX_SRCS)
SWTPM_LIB_SRCS := vtpm-mgr/swtpm/channel.c vtpm-mgr/swtpm/held.c vtpm-mgr/swtpm/ioctl.c vtpm-mgr/swtpm/keyval.c vtpm-mgr/swtpm/link.c vtpm-mgr/swtpm/listen.c $(TOKEN_SRCS) \
            vtpm-mgr/swtpm/serve.c vtpm-mgr/swtpm/serve_options.c vtpm-mgr/swtpm/server.c vtpm-mgr/swtpm/setup.c vtpm-mgr/swtpm/user.c \
            vtpm-mgr/proto/front.c lib/buf.c lib/err.c lib/ipc.c lib/util.c
SWTPM_SRCS := vtpm-mgr/swtpm/main.c $(SWTPM_LIB_SRCS)
LIBVTPM_SRCS := frontend-drivers/libvtpm/vtpm.c $(HV_SRCS) lib/buf.c lib/err.c lib/ipc.c lib/loop.c lib/util.c
TCTI_SRCS := frontend-drivers/tcti/tcti.c $(LIBVTPM_SRCS)

# The verifier, which has nothing of the manager.
VERIFY_CORE_SRCS := attest/cert.c attest/json.c attest/policy.c attest/tpms.c attest/trust.c attest/verify.c attest/verify_guest.c attest/verify_host.c attest/verify_state.c \
            $(EVIDENCE_SRCS) lib/eventlog.c
VERIFY_LIB_SRCS := $(VERIFY_CORE_SRCS) lib/buf.c lib/err.c lib/util.c
VERIFY_TOOL_SRCS := attest/main.c attest/export.c attest/known.c attest/output.c
VERIFY_SRCS := $(VERIFY_TOOL_SRCS) $(VERIFY_LIB_SRCS)

LIBS_VERIFY  := -lcbor -ljansson -lcrypto
LIBS_MGR     := -lsqlite3 -ljansson -lcbor -lcrypto -lseccomp
LIBS_KEEPER  := -ltss2-esys -ltss2-mu -ltss2-rc -ltss2-tctildr -lcbor -lcrypto -lseccomp
LIBS_BACKEND := -ltpms -lcrypto -lseccomp -lpthread
LIBS_CTL     := -ljansson -lcrypto
LIBS_BRIDGE  := -lseccomp

# The guest's kernel module, which Kbuild builds.
MODULE_SRCS  := frontend-drivers/linux/front.c frontend-drivers/linux/chip.c frontend-drivers/linux/ring.c
MODULE_FILES := $(notdir $(MODULE_SRCS)) Kbuild compat.h front.h ring.h

# Before GRUB, in the firmware.
EFI_SRCS     := hv/launch/efi.c

# Tests: NAME, NAME_SRCS besides tests/…/NAME.c, NAME_LIBS. Unit tests need nothing but themselves.
UNIT_TESTS := test_held_launch test_launch_policy test_launch_begin test_policy_digest test_policy_file test_buf test_util test_log test_loop test_ipc test_secmem test_sandbox test_chan test_local test_libvtpm test_tcti test_stream \
              test_store test_store_disk test_merkle test_recovery test_swtpm test_audit test_control test_control_fds test_ctl \
              test_state test_permanent test_pack test_swtpm_state test_tpmcmd test_ak test_quote test_quote_serve test_ek test_crl test_engine test_backend test_backend_hostile test_backend_import test_checkpoint test_transfer test_resume test_resume_qemu test_qemu test_qemu_data test_qemu_saved test_xen_device test_xen_nodes test_hold test_hold_life test_held_guests test_xenstore test_vchan test_backend_xen test_escrow test_keeper_wrap test_backup
UNIT_TESTS += test_evidence_nv test_guest_evidence test_predict test_bootlog test_evidence test_attest test_verify_files test_launch test_backend_launch test_launcher test_launch_stub
INTEGRATION_TESTS := test_keeper test_rotation test_anchor test_policy test_breach test_verify test_verify_hostile
INTEGRATION_SCRIPTS := tests/integration/lifecycle.sh \
            tests/integration/guest.sh \
            tests/integration/hostile_ring.sh \
            tests/integration/sandbox.sh \
            tests/integration/reach.sh \
            tests/integration/qemu_channel.sh \
            tests/integration/takeover.sh \
            tests/integration/saved.sh \
            tests/integration/walk.sh \
            tests/integration/fronts.sh \
            tests/integration/fronts_server.sh \
            tests/integration/qemu_same.sh \
            tests/integration/qemu_faults.sh \
            tests/integration/quarantine.sh \
            tests/integration/store_damage.sh \
            tests/integration/store_faults.sh \
            tests/integration/oracle.sh \
            tests/integration/tpm_faults.sh \
            tests/integration/tpm_bus.sh \
            tests/integration/tpm_init.sh \
            tests/integration/tpm_errors.sh \
            tests/integration/tpm_nonsense.sh \
            tests/integration/continuity.sh \
            tests/integration/recovery.sh \
            tests/integration/drill.sh \
            tests/integration/reseal.sh \
            tests/integration/renew.sh \
            tests/powercut/rotation.sh \
            tests/integration/share.sh \
            tests/integration/identity.sh \
            tests/integration/certificates.sh \
            tests/integration/policy.sh \
            tests/integration/policy_bus.sh \
            tests/integration/recheck.sh \
            tests/integration/import.sh \
            tests/integration/breaches.sh \
            tests/integration/resume.sh \
            tests/integration/resume_qemu.sh \
            tests/integration/backup.sh \
            tests/integration/backup_faults.sh \
            tests/integration/lost_host.sh \
            tests/integration/hold.sh \
            tests/integration/verify.sh \
            tests/integration/attest.sh \
            tests/integration/evidence_nv.sh \
            tests/integration/launch.sh \
            tests/integration/launch_qemu.sh \
            tests/integration/completion.sh
LAB_SCRIPTS := tests/lab/qemu/run.sh tests/lab/qemu/snapshot.sh
TEST_TOOLS := vtpm_bench hostile neighbour rogue_backend rogue_spawn mortal_backend mortal_spawn tpmline tpmproxy xenback \
            powercut_mgr powercut_keeper powercut_disk powercut_guests powercut_log
FUZZERS := fuzz_chan fuzz_engine fuzz_pack fuzz_swtpm fuzz_predict fuzz_evidence fuzz_launch fuzz_backup

LIBTEST_SRCS := $(LIB_SRCS)
test_launcher_SRCS := $(LAUNCH_LIB_SRCS)
test_launcher_LIBS := $(LIBS_CTL)
test_launch_stub_SRCS := $(LAUNCH_LIB_SRCS)
test_launch_stub_LIBS := $(LIBS_CTL)
test_buf_SRCS := $(LIB_SRCS)
test_util_SRCS := tests/unit/lingering.c $(LIB_SRCS)
test_log_SRCS := $(LIB_SRCS)
test_loop_SRCS := $(LIB_SRCS)
test_ipc_SRCS := $(LIB_SRCS)
test_secmem_SRCS := $(LIB_SRCS)
test_sandbox_SRCS := tests/unit/sandbox_attempts.c tests/unit/sandbox_work.c $(LIB_SRCS) $(SANDBOX_SRCS)
test_sandbox_LIBS := -lseccomp -lcrypto -lsqlite3 -lpthread
test_chan_SRCS := $(HV_SRCS) $(LIB_SRCS)
test_chan_LIBS := -lpthread
test_local_SRCS := $(HV_SRCS) $(LIB_SRCS)
test_libvtpm_SRCS := tests/unit/fake_back.c frontend-drivers/libvtpm/vtpm.c $(HV_SRCS) $(LIB_SRCS)
test_libvtpm_LIBS := -lpthread
test_tcti_SRCS := tests/unit/fake_back.c $(HV_SRCS) $(LIB_SRCS)
test_tcti_LIBS := -lpthread -ldl
test_stream_SRCS := vtpm-mgr/keeper/stream.c $(LIB_SRCS)
test_stream_LIBS := -lpthread
test_store_SRCS := tests/unit/store_fixture.c $(STORE_SRCS) $(LIB_SRCS)
test_store_LIBS := -lsqlite3
test_store_disk_SRCS := tests/unit/store_fixture.c $(STORE_SRCS) $(LIB_SRCS)
test_store_disk_LIBS := -lsqlite3
test_merkle_SRCS := tests/unit/store_fixture.c vtpm-mgr/merkle.c vtpm-mgr/leaves.c $(STORE_SRCS) $(LIB_SRCS)
test_merkle_LIBS := -lsqlite3 -lcrypto
test_attest_SRCS := vtpm-mgr/attest_make.c vtpm-mgr/leaves.c vtpm-mgr/merkle.c $(EVIDENCE_SRCS) $(STORE_SRCS) $(PROTO_SRCS) $(LIB_SRCS)
test_attest_LIBS := -lsqlite3 -lcbor -lcrypto
test_evidence_SRCS := $(EVIDENCE_SRCS) lib/buf.c lib/err.c
test_evidence_LIBS := -lcbor -lcrypto
test_verify_files_SRCS := $(VERIFY_LIB_SRCS)
test_verify_files_LIBS := $(LIBS_VERIFY)
test_predict_SRCS := tests/unit/event_log.c $(PREDICT_SRCS) $(LIB_SRCS)
test_predict_LIBS := -lcrypto
test_bootlog_SRCS := tests/unit/event_log.c vtpm-mgr/bootlog.c $(EVENTLOG_SRCS) $(LIB_SRCS)
test_bootlog_LIBS := -lcrypto
test_recovery_SRCS := vtpm-mgr/recovery_table.c $(LIB_SRCS)
test_swtpm_SRCS := $(SWTPM_LIB_SRCS)
test_audit_SRCS := vtpm-mgr/audit.c $(LIB_SRCS)
test_audit_LIBS := -ljansson
test_control_SRCS := tests/unit/control_server.c $(CONTROL_SRCS) $(LIB_SRCS)
test_control_LIBS := -ljansson
test_control_fds_SRCS := $(test_control_SRCS)
test_control_fds_LIBS := -ljansson
test_policy_file_SRCS := $(CTL_LIB_SRCS)
test_policy_file_LIBS := -ljansson -lcrypto
test_ctl_SRCS := $(CTL_LIB_SRCS)
test_ctl_LIBS := -ljansson -lcrypto
test_state_SRCS := $(BACKEND_LIB_SRCS)
test_state_LIBS := $(LIBS_BACKEND)
test_pack_SRCS := vtpm-backend/pack.c lib/buf.c lib/err.c lib/secmem.c
test_permanent_SRCS := $(BACKEND_LIB_SRCS)
test_permanent_LIBS := $(LIBS_BACKEND)
test_swtpm_state_SRCS := tests/unit/swtpm_file.c vtpm-backend/swtpm_state.c lib/buf.c lib/err.c lib/secmem.c lib/util.c
test_swtpm_state_LIBS := -lcrypto
test_tpmcmd_SRCS := $(BACKEND_LIB_SRCS)
test_tpmcmd_LIBS := $(LIBS_BACKEND)
test_ak_SRCS := $(BACKEND_LIB_SRCS)
test_ak_LIBS := $(LIBS_BACKEND)
test_guest_evidence_SRCS := tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_guest_evidence_LIBS := $(LIBS_BACKEND)
test_evidence_nv_SRCS := $(BACKEND_LIB_SRCS)
test_evidence_nv_LIBS := $(LIBS_BACKEND)
test_quote_SRCS := tests/unit/audit_session.c $(BACKEND_LIB_SRCS)
test_quote_LIBS := $(LIBS_BACKEND)
test_crl_SRCS := vtpm-mgr/keeper/crl.c vtpm-mgr/keeper/cert.c $(LIB_SRCS)
test_crl_LIBS := -lcrypto
test_ek_SRCS := $(BACKEND_LIB_SRCS)
test_ek_LIBS := $(LIBS_BACKEND)
test_engine_SRCS := $(BACKEND_LIB_SRCS)
test_engine_LIBS := $(LIBS_BACKEND)
test_backend_SRCS := tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_backend_LIBS := $(LIBS_BACKEND)
test_backend_hostile_SRCS := tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_backend_hostile_LIBS := $(LIBS_BACKEND)
test_backend_import_SRCS := tests/unit/swtpm_file.c tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_backend_import_LIBS := $(LIBS_BACKEND)
test_checkpoint_SRCS := $(BACKEND_LIB_SRCS)
test_checkpoint_LIBS := $(LIBS_BACKEND)
test_launch_SRCS := vtpm-mgr/proto/launch.c vtpm-mgr/launch_rules.c lib/buf.c lib/err.c lib/util.c
test_launch_LIBS := -lcrypto
test_backend_launch_SRCS := tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_backend_launch_LIBS := $(LIBS_BACKEND)
test_transfer_SRCS := vtpm-backend/transfer.c lib/err.c
test_resume_qemu_SRCS := tests/unit/qemu_client.c tests/unit/resume_guest.c tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_resume_qemu_LIBS := $(LIBS_BACKEND) -lpthread
test_resume_SRCS := tests/unit/resume_guest.c tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_resume_LIBS := $(LIBS_BACKEND)
test_qemu_SRCS := tests/unit/qemu_client.c tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_quote_serve_SRCS := tests/unit/audit_session.c $(test_qemu_SRCS)
test_quote_serve_LIBS := $(LIBS_BACKEND)
test_qemu_LIBS := $(LIBS_BACKEND)
test_qemu_saved_SRCS := $(test_qemu_SRCS)
test_qemu_saved_LIBS := $(LIBS_BACKEND)
test_xen_nodes_SRCS := vtpm-mgr/xen_device.c $(LIB_SRCS)
test_xen_device_SRCS := vtpm-mgr/xen_device.c $(LIB_SRCS)
test_hold_SRCS := $(HOLD_LIB_SRCS)
test_hold_life_SRCS := tests/unit/lingering.c vtpm-mgr/proto/hold.c $(LIB_SRCS)
test_held_guests_SRCS := vtpm-mgr/held_guests.c $(LIB_SRCS)
test_held_launch_SRCS := vtpm-mgr/held_launch.c vtpm-mgr/proto/launch.c $(LIB_SRCS)
test_held_launch_LIBS := -lcrypto
test_launch_policy_SRCS := vtpm-mgr/launch_policy.c vtpm-mgr/launch_rules.c $(LIB_SRCS)
test_launch_policy_LIBS := -lcrypto
test_launch_begin_SRCS := vtpm-mgr/launch.c $(LIB_SRCS)
test_launch_begin_LIBS := -ljansson
test_xenstore_SRCS := hv/xen/xenstore_wait.c $(XENSTORE_SRCS) $(LIB_SRCS)
test_vchan_SRCS := vtpm-mgr/vchan/pump.c hv/xen/vchan.c hv/xen/vchan_device.c hv/xen/errno.c $(LIB_SRCS)
test_vchan_LIBS := -lpthread
test_backend_xen_SRCS := tests/unit/backend_rig.c tests/unit/backend_rig_store.c tests/unit/backend_rig_procs.c tests/unit/backend_guest.c $(BACKEND_LIB_SRCS)
test_backend_xen_LIBS := $(LIBS_BACKEND)
test_qemu_data_SRCS := tests/unit/lingering.c $(test_qemu_SRCS)
test_qemu_data_LIBS := $(LIBS_BACKEND)
test_policy_digest_SRCS := $(POLICY_SRCS) vtpm-mgr/proto/policy_code.c lib/buf.c lib/err.c lib/util.c
test_policy_digest_LIBS := -lcrypto
test_escrow_SRCS := $(KEEPER_LIB_SRCS) $(PROTO_SRCS) $(LIB_SRCS) $(SANDBOX_SRCS)
test_escrow_LIBS := $(LIBS_KEEPER)
test_keeper_wrap_SRCS := $(KEEPER_LIB_SRCS) $(PROTO_SRCS) $(LIB_SRCS) $(SANDBOX_SRCS)
test_keeper_wrap_LIBS := $(LIBS_KEEPER)
test_backup_SRCS := tests/unit/store_fixture.c vtpm-mgr/backup_file.c vtpm-mgr/escrow_set.c $(STORE_SRCS) $(KEEPER_LIB_SRCS) $(PROTO_SRCS) $(LIB_SRCS) $(SANDBOX_SRCS)
test_backup_LIBS := -lsqlite3 $(LIBS_KEEPER)
test_keeper_SRCS := tests/integration/test_keeper_rig.c tests/integration/software_tpm.c tests/integration/test_keeper_manager.c $(PROTO_SRCS) $(LIB_SRCS)
test_keeper_LIBS := -lcrypto
test_rotation_SRCS := tests/integration/test_keeper_rig.c tests/integration/software_tpm.c tests/integration/test_keeper_manager.c vtpm-mgr/escrow/envelope.c vtpm-mgr/keeper/wrap.c $(PROTO_SRCS) $(LIB_SRCS)
test_rotation_LIBS := -lcrypto
test_policy_SRCS := tests/integration/test_policy_rig.c tests/integration/test_keeper_rig.c tests/integration/software_tpm.c tests/integration/test_keeper_manager.c $(POLICY_SRCS) $(PROTO_SRCS) $(LIB_SRCS)
test_policy_LIBS := -lcrypto
test_verify_SRCS := tests/integration/attest_ask.c tests/integration/attest_rig.c tests/integration/software_tpm.c tests/unit/event_log.c vtpm-mgr/keeper/cert.c vtpm-mgr/keeper/ek.c $(VERIFY_LIB_SRCS)
test_verify_LIBS := $(LIBS_VERIFY) -ltss2-esys -ltss2-mu -ltss2-tctildr
test_verify_hostile_SRCS := $(test_verify_SRCS)
test_verify_hostile_LIBS := $(test_verify_LIBS)
test_breach_SRCS := $(test_policy_SRCS)
test_breach_LIBS := -lcrypto
test_anchor_LIBS := -lcrypto
test_anchor_SRCS := tests/integration/test_keeper_rig.c tests/integration/software_tpm.c tests/integration/test_keeper_manager.c $(PROTO_SRCS) $(LIB_SRCS)
fuzz_engine_SRCS := $(BACKEND_LIB_SRCS)
fuzz_engine_LIBS := $(LIBS_BACKEND)
fuzz_pack_SRCS := vtpm-backend/pack.c lib/buf.c lib/err.c lib/secmem.c
fuzz_swtpm_SRCS := tests/unit/swtpm_file.c vtpm-backend/swtpm_state.c lib/buf.c lib/err.c lib/secmem.c lib/util.c
fuzz_swtpm_LIBS := -lcrypto
fuzz_evidence_SRCS := $(VERIFY_LIB_SRCS)
fuzz_evidence_LIBS := $(LIBS_VERIFY)
fuzz_predict_SRCS := $(PREDICT_SRCS) lib/buf.c lib/err.c lib/util.c
fuzz_predict_LIBS := -lcrypto
fuzz_backup_SRCS := vtpm-mgr/backup_file.c vtpm-mgr/escrow_set.c lib/buf.c lib/err.c lib/util.c
fuzz_launch_SRCS := vtpm-mgr/proto/launch.c vtpm-mgr/launch_rules.c lib/buf.c lib/err.c lib/util.c
fuzz_launch_LIBS := -lcrypto
fuzz_chan_SRCS := hv/chan.c hv/spin.c lib/buf.c lib/loop.c lib/util.c lib/err.c
vtpm_bench_SRCS := tests/bench/attest.c tests/bench/bench.c tests/bench/cancel.c tests/bench/command.c tests/bench/control.c tests/bench/create.c tests/bench/crowd.c \
            tests/bench/floor.c tests/bench/procs.c tests/bench/report.c tests/bench/sample.c tests/bench/speed.c \
            tests/bench/sqlite.c tests/bench/swtpm.c tests/bench/target.c tests/bench/verify.c tests/bench/wear.c frontend-drivers/libvtpm/vtpm.c $(VERIFY_CORE_SRCS) $(BACKEND_LIB_SRCS)
vtpm_bench_LIBS := $(LIBS_BACKEND) -lsqlite3 -lcbor -ljansson -lm
hostile_SRCS := tests/tools/hostile.c tests/tools/hostile_page.c tests/tools/hostile_noise.c tests/tools/front.c tests/tools/front_local.c tests/tools/command.c \
            tests/tools/rogue_attempts.c tests/unit/sandbox_attempts.c hv/local/local.c hv/chan.c hv/spin.c $(LIB_SRCS)
hostile_LIBS := -lpthread
neighbour_SRCS := tests/tools/neighbour.c tests/tools/command.c $(LIBVTPM_SRCS)
neighbour_LIBS := -lcrypto
# The real backend and spawner, with a gap between them and the engine.
ROGUE_SRCS := tests/tools/rogue.c tests/tools/rogue_attempts.c tests/unit/sandbox_attempts.c
rogue_backend_SRCS := $(BACKEND_SRCS) $(ROGUE_SRCS)
rogue_backend_LIBS := $(LIBS_BACKEND) -Wl,--wrap=engine_process
rogue_spawn_SRCS := $(SPAWN_SRCS) $(ROGUE_SRCS)
rogue_spawn_LIBS := $(LIBS_BACKEND) -Wl,--wrap=engine_process
# The same, with gaps in which they can be killed.
MORTAL_WRAPS := $(addprefix -Wl$(comma)--wrap=,engine_process chan_take chan_respond state_seal_parts checkpoint_write \
            checkpoint_redo_write checkpoint_settle checkpoint_answer ipc_send transfer_clear transfer_receive transfer_start transfer_send)
mortal_backend_SRCS := $(BACKEND_SRCS) tests/tools/mortal.c
mortal_backend_LIBS := $(LIBS_BACKEND) $(MORTAL_WRAPS)
mortal_spawn_SRCS := $(SPAWN_SRCS) tests/tools/mortal.c
mortal_spawn_LIBS := $(LIBS_BACKEND) $(MORTAL_WRAPS)
# The real manager and keeper, which say what they do; the manager over a disk that is looked at.
powercut_mgr_SRCS := $(MGR_SRCS) tests/powercut/shim.c tests/powercut/trace_mgr.c
powercut_mgr_LIBS := $(LIBS_MGR) $(addprefix -Wl$(comma)--wrap=,store_commit recovery_decide recovery_opened wear_dirty wear_clean continuity_lost)
powercut_keeper_SRCS := $(KEEPER_SRCS) tests/powercut/trace_keeper.c
powercut_keeper_LIBS := $(LIBS_KEEPER) $(addprefix -Wl$(comma)--wrap=,anchor_extend nv_extend nv_extended nv_read)
powercut_disk_SRCS := tests/powercut/disk.c
powercut_guests_SRCS := tests/powercut/guests.c tests/tools/command.c $(LIBVTPM_SRCS)
powercut_guests_LIBS := -lpthread -lcrypto
powercut_log_SRCS := tests/powercut/log.c
tpmline_SRCS := tests/tools/tpmline.c $(LIBVTPM_SRCS)
xenback_SRCS := tests/tools/xenback.c lib/util.c lib/err.c
xenback_LIBS := -lxenevtchn -lxengnttab -lxenstore -lpthread
tpmproxy_SRCS := tests/tools/tpmproxy.c tests/tools/tpmproxy_plan.c lib/buf.c lib/util.c lib/err.c
# Runs in the lab's guests, which have no libraries for it.
GUEST_TOOLS := guest_bench hostile_xen xen_reach
xen_reach_SRCS := tests/tools/xen_reach.c hv/xen/hypercall.c lib/util.c lib/err.c
hostile_xen_SRCS := tests/tools/hostile_xen.c tests/tools/hostile_page.c tests/tools/hostile_noise.c tests/tools/front.c tests/tools/front_xen.c tests/tools/command.c \
            hv/local/local.c hv/chan.c hv/spin.c $(LIB_SRCS)
hostile_xen_LIBS := -lpthread
guest_bench_SRCS := tests/lab/guest_bench.c tests/tools/command.c lib/buf.c lib/util.c lib/err.c
