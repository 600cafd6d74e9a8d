/* SPDX-License-Identifier: BSD-2-Clause */
/* Real backends that are asked for quotes while their guests are at work: over a ring, with a QEMU, and without a machine. */
#include "tests/unit/audit_session.h"
#include "tests/unit/qemu_client.h"

#include <signal.h>
#include <unistd.h>

#include "vtpm-backend/tpm.h"

static const uint8_t over[DIGEST_LEN] = "what is quoted over";

static void ask(struct rig_backend *b)
{
	uint8_t mem[BACKEND_QUOTE_SIZE];
	struct buf m;

	buf_init(&m, mem, sizeof(mem));
	assert_int_equal(backend_quote_encode(&m, over), 0);
	assert_int_equal(ipc_send(b->control, BACKEND_QUOTE, &m, NULL, 0), 0);
}

static int quoted(struct rig_backend *b, struct backend_quoted *q, uint8_t mem[static BACKEND_QUOTED_MAX])
{
	struct ipc_msg m;

	assert_true(rig_wait(b, b->control));
	assert_int_equal(ipc_recv(b->control, &m, mem, BACKEND_QUOTED_MAX, 0), 0);
	assert_int_equal(m.type, BACKEND_QUOTED);
	assert_int_equal(backend_quoted_decode(&m.body, q), 0);
	assert_int_equal(buf_left(&m.body), 0);
	return q->code;
}

static int quote(struct rig_backend *b)
{
	uint8_t mem[BACKEND_QUOTED_MAX];
	struct backend_quoted q;

	ask(b);
	return quoted(b, &q, mem);
}

static bool has_over(const struct backend_quoted *q)
{
	return memmem(q->attest, q->attest_len, over, sizeof(over)) != NULL;
}

/* Idle, between commands, and again: and nothing of it is a change of the state. */
static void test_between_commands(void **state)
{
	uint8_t mem[BACKEND_QUOTED_MAX];
	struct backend_quoted q;
	struct rig_backend b;
	unsigned commits;

	(void)state;
	guest_power_on(&b);
	commits = disk.commits;
	for (unsigned i = 0; i < 8; i++) {
		ask(&b);
		assert_int_equal(quoted(&b, &q, mem), 0);
		assert_true(has_over(&q));
		assert_int_equal(tpmcmd_get_random(&cmd, 16), 0);
		assert_int_equal(guest_run(&b), 0);
	}
	assert_int_equal(disk.commits, commits);
	guest_power_off(&b);
}

static size_t over_ring(void *arg, const uint8_t *c, size_t len, uint8_t *r)
{
	size_t n;

	(void)rig_command(arg, c, len, r, &n);
	return n;
}

static void test_between_audited_commands(void **state)
{
	struct rig_backend b;
	struct audit_session s = { .execute = over_ring, .arg = &b };

	(void)state;
	guest_power_on(&b);
	assert_int_equal(quote(&b), 0);
	audit_start(&s);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(audit_command(&s, 0), 0);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(audit_command(&s, 1), 0);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(audit_command(&s, 1), 0);
	assert_int_equal(tpmcmd_get_random(&cmd, 16), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(audit_command(&s, 1), AUDIT_RC_EXCLUSIVE);
	guest_power_off(&b);
}

/* Asked in the middle of a long command, it is answered after that, which gets its own answer. */
static void test_while_a_command_runs(void **state)
{
	uint8_t mem[BACKEND_QUOTED_MAX];
	struct backend_quoted q;
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	guest_build_rsa(&cmd);
	rig_submit(&b, cmd.data, cmd.len, 0);
	ask(&b);
	assert_int_equal(quoted(&b, &q, mem), 0);
	rsp_len = rig_receive(&b, rsp);
	assert_true(rsp_len > TPM_HEADER_SIZE);
	assert_int_equal(rsp[9], 0);
	assert_int_equal(tpmcmd_flush_context(&cmd, 0x80000000), 0); /* what it made is still there */
	assert_int_equal(guest_run(&b), 0);
	guest_power_off(&b);
}

/* The guest has shut its TPM down, and does not do so again: the quote is not to be the last command. */
static void test_after_shutdown(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	assert_int_equal(tpmcmd_shutdown(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(quote(&b), 0);
	guest_power_off(&b);
}

/* A second one, before the first is answered: no manager does that. */
static void test_one_at_a_time(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	guest_build_rsa(&cmd);
	rig_submit(&b, cmd.data, cmd.len, 0);
	ask(&b);
	ask(&b);
	assert_int_equal(rig_exited(&b), 0x100);
	rig_forget(&b);
}

static void test_of_a_worker(void **state)
{
	struct rig_backend b;

	(void)state;
	rig_spawn(&rig, &b, &disk, RUN_CERTIFY); /* waits for its certificates */
	ask(&b);
	assert_int_equal(rig_exited(&b), 0x100);
	rig_forget(&b);
}

/* QEMU says when the TPM is on; its hash sequence must not be ended by a command of ours. */
static void test_with_a_qemu(void **state)
{
	static const uint8_t data[] = { 0, 0, 0, CMD_HASH_DATA, 0, 0, 0, 4, 'a', 'b', 'c', 'd' };
	struct rig_backend b;

	(void)state;
	client_connect(&b, &disk);
	assert_int_equal(quote(&b), ERR_WRONG_STATE);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(quote(&b), ERR_WRONG_STATE); /* its firmware has not started it up */
	assert_int_equal(client_hang_up(&b), 0);
	client_power_on(&b, &disk);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(client_command(&b, CMD_HASH_START), 0);
	assert_int_equal(quote(&b), ERR_BUSY);
	assert_int_equal(client_raw(&b, data, sizeof(data)), 0);
	assert_int_equal(client_command(&b, CMD_HASH_END), 0);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(client_get_random(&b), 0);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(quote(&b), ERR_WRONG_STATE);
	assert_int_equal(client_hang_up(&b), 0);
}

/* A saved state stays the newest one: the machine can be resumed from it, after a quote as before. */
static void test_of_a_saved_guest(void **state)
{
	static struct blob permanent, memory;
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	client_extend_pcr16(&b);
	assert_int_equal(client_get_blob(&b, 1, &permanent), 0);
	assert_int_equal(client_get_blob(&b, 2, &memory), 0);
	assert_int_equal(quote(&b), 0);
	assert_int_equal(client_hang_up(&b), 0);
	client_connect(&b, &disk);
	assert_int_equal(client_set_datafd(&b), 0);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_set_blob(&b, 1, permanent.data, permanent.len), 0);
	assert_int_equal(client_set_blob(&b, 2, memory.data, memory.len), 0);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_false(client_pcr16_is_zero(&b));
	assert_int_equal(quote(&b), 0);
	assert_int_equal(client_hang_up(&b), 0);
}

static void kill_and_replace(struct rig_backend *b)
{
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(b) & 0x7f, SIGKILL);
	rig_resume(b, 0);
	rig_ready(b);
}

/* The vTPM's key is replaced, while it runs and while it is off: the one that quotes stays. */
static void test_with_other_keys(void **state)
{
	unsigned renewed = disk.renewed;
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	assert_int_equal(quote(&b), 0);
	disk.renew = true;
	kill_and_replace(&b);
	assert_int_equal(disk.renewed, renewed + 1);
	assert_int_equal(quote(&b), 0);
	kill_and_replace(&b);
	assert_int_equal(quote(&b), 0);
	guest_power_off(&b);
	disk.renew = true;
	guest_power_on(&b);
	assert_int_equal(disk.renewed, renewed + 2);
	assert_int_equal(quote(&b), 0);
	guest_power_off(&b);
}

/* One that was started without a state quotes once it has one: of the store, or of what another QEMU saved. */
static void test_of_one_that_waited(void **state)
{
	static struct blob permanent, memory;
	struct rig_backend source, target;

	(void)state;
	client_connect_standby(&target, &disk);
	assert_int_equal(client_set_datafd(&target), 0);
	assert_int_equal(client_command_u32(&target, CMD_INIT, 0), 0);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&target), 0);
	assert_int_equal(quote(&target), 0);
	assert_int_equal(client_hang_up(&target), 0);
	client_power_on(&source, &disk);
	assert_int_equal(client_get_blob(&source, BLOB_PERMANENT, &permanent), 0);
	assert_int_equal(client_get_blob(&source, BLOB_VOLATILE, &memory), 0);
	client_connect_standby(&target, &disk);
	assert_int_equal(client_set_datafd(&target), 0);
	assert_int_equal(client_set_blob(&target, BLOB_PERMANENT, permanent.data, permanent.len), 0);
	assert_int_equal(client_set_blob(&target, BLOB_VOLATILE, memory.data, memory.len), 0);
	assert_int_equal(client_command_u32(&target, CMD_INIT, 0), 0);
	assert_int_equal(quote(&target), 0);
	assert_int_equal(client_hang_up(&target), 0);
	(void)client_hang_up(&source);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_between_commands),
		cmocka_unit_test(test_between_audited_commands),
		cmocka_unit_test(test_while_a_command_runs),
		cmocka_unit_test(test_after_shutdown),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_of_a_worker),
		cmocka_unit_test(test_with_a_qemu),
		cmocka_unit_test(test_of_a_saved_guest),
		cmocka_unit_test(test_with_other_keys),
		cmocka_unit_test(test_of_one_that_waited),
	};

	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
