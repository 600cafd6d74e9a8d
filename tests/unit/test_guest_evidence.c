/* SPDX-License-Identifier: BSD-2-Clause */
/* Real backends whose guests ask for evidence, before a manager that answers, late, something else, or not at all. */
#include "tests/unit/backend_guest.h"

#include <unistd.h>

#include "vtpm-backend/evidence_nv.h"
#include "vtpm-backend/tpm.h"

#define NONCE "a nonce of a guest's"

static uint8_t evidence[4321];

/* Its guest has sent the command: what comes of it. */
static uint32_t asked(struct rig_backend *b)
{
	uint8_t mem[BACKEND_ASK_MAX];
	struct backend_ask a;
	struct ipc_msg m;

	guest_build_write(&cmd, EVIDENCE_NV_NONCE, "", NONCE);
	rig_submit(b, cmd.data, cmd.len, 0);
	assert_true(rig_wait(b, b->control));
	assert_int_equal(ipc_recv(b->control, &m, mem, sizeof(mem), 0), 0);
	assert_int_equal(m.type, BACKEND_ASK);
	assert_int_equal(backend_ask_decode(&m.body, &a), 0);
	assert_int_equal(a.nonce_len, strlen(NONCE));
	assert_memory_equal(a.nonce, NONCE, a.nonce_len);
	return a.id;
}

static void answer(struct rig_backend *b, uint32_t id, const char *text)
{
	static uint8_t mem[BACKEND_EVIDENCE_MAX];
	struct backend_evidence e = { .id = id };
	struct buf m;

	if (text != NULL)
		(void)snprintf(e.text, sizeof(e.text), "%s", text);
	else
		e.evidence = evidence;
	e.evidence_len = text != NULL ? 0 : sizeof(evidence);
	buf_init(&m, mem, sizeof(mem));
	assert_int_equal(backend_evidence_encode(&m, &e), 0);
	assert_int_equal(ipc_send(b->control, BACKEND_EVIDENCE, &m, NULL, 0), 0);
}

static void written(struct rig_backend *b)
{
	rsp_len = rig_receive(b, rsp);
	assert_true(rsp_len > TPM_HEADER_SIZE);
	assert_int_equal(rsp[9], 0);
}

static void expect(struct rig_backend *b, uint32_t index, const void *what, uint16_t n)
{
	struct tpmrsp r;
	uint8_t got[TPMCMD_NV_CHUNK];

	assert_int_equal(tpmcmd_nv_read(&cmd, index, index, n, 0), 0);
	assert_int_equal(guest_run(b), 0);
	assert_int_equal(tpmrsp_parse(&r, rsp, rsp_len, true, 0), 0);
	assert_int_equal(tpmrsp_nv_data(&r, got, n), 0);
	assert_memory_equal(got, what, n);
}

static void expect_status(struct rig_backend *b, const char *text)
{
	expect(b, EVIDENCE_NV_STATUS, text, (uint16_t)(strlen(text) + 1));
}

static void quote(struct rig_backend *b)
{
	static const uint8_t over[DIGEST_LEN] = "what is quoted over";
	uint8_t mem[BACKEND_QUOTED_MAX];
	struct backend_quoted q;
	struct ipc_msg m;
	struct buf out;

	buf_init(&out, mem, sizeof(mem));
	assert_int_equal(backend_quote_encode(&out, over), 0);
	assert_int_equal(ipc_send(b->control, BACKEND_QUOTE, &out, NULL, 0), 0);
	assert_true(rig_wait(b, b->control));
	assert_int_equal(ipc_recv(b->control, &m, mem, sizeof(mem), 0), 0);
	assert_int_equal(m.type, BACKEND_QUOTED);
	assert_int_equal(backend_quoted_decode(&m.body, &q), 0);
	assert_int_equal(q.code, 0);
}

/* It is quoted while its guest waits; nonce and evidence are one commit. */
static void test_answered(void **state)
{
	struct rig_backend b;
	unsigned commits;
	uint32_t id, next;

	(void)state;
	for (size_t i = 0; i < sizeof(evidence); i++)
		evidence[i] = (uint8_t)(i * 13 + i / 256 + 1);
	guest_power_on(&b);
	commits = disk.commits;
	id = asked(&b);
	quote(&b);
	quote(&b);
	assert_int_equal(disk.commits, commits);
	answer(&b, id, NULL);
	written(&b);
	assert_int_equal(disk.commits, commits + 1);
	expect_status(&b, "evidence of 4321 bytes\n");
	for (unsigned i = 0; i < 2; i++)
		expect(&b, EVIDENCE_NV_ROW + i, evidence + (size_t)i * EVIDENCE_NV_SIZE, TPMCMD_NV_CHUNK);
	expect(&b, EVIDENCE_NV_ROW + 2, evidence + 4096, 225);
	expect(&b, EVIDENCE_NV_NONCE, NONCE, (uint16_t)strlen(NONCE));
	next = asked(&b);
	assert_true(next > id);
	answer(&b, next, "the reason");
	written(&b);
	expect_status(&b, "no evidence: the reason\n");
	guest_power_off(&b);
	guest_power_on(&b); /* it is the stored one */
	expect_status(&b, "no evidence: the reason\n");
	guest_power_off(&b);
}

static void test_too_late(void **state)
{
	struct rig_backend b;
	uint32_t id;

	(void)state;
	guest_power_on(&b);
	answer(&b, 99, NULL); /* to nothing */
	id = asked(&b);
	answer(&b, id + 1, NULL);
	answer(&b, id - 1, NULL);
	written(&b); /* when it has waited long enough */
	expect_status(&b, "no evidence: the host has not answered in time; ask again\n");
	answer(&b, id, NULL);
	expect_status(&b, "no evidence: the host has not answered in time; ask again\n");
	id = asked(&b);
	answer(&b, id, "another");
	written(&b);
	expect_status(&b, "no evidence: another\n");
	guest_power_off(&b);
}

/* Its answer is given, and goes on the disk, before it ends. */
static void test_stopped(void **state)
{
	struct rig_backend b;
	unsigned commits;

	(void)state;
	guest_power_on(&b);
	commits = disk.commits;
	(void)asked(&b);
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
	assert_true(disk.commits > commits);
	guest_power_on(&b);
	expect_status(&b, "no evidence: the command was cancelled\n");
	guest_power_off(&b);
}

/* Evidence and a reason, or neither: no manager sends that. */
static void test_nonsense(void **state)
{
	static const uint8_t neither[BACKEND_EVIDENCE_MIN] = { 1, 0, 0, 0 };
	struct rig_backend b;
	struct buf m;

	(void)state;
	guest_power_on(&b);
	(void)asked(&b);
	buf_wrap(&m, neither, sizeof(neither));
	assert_int_equal(ipc_send(b.control, BACKEND_EVIDENCE, &m, NULL, 0), 0);
	assert_int_not_equal(rig_exited(&b), 0);
	rig_forget(&b);
}

/* Another nonce than one of the guest's, from elsewhere in the TPM: it asks nobody. */
static void test_other_writes(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	guest_build_write(&cmd, EVIDENCE_NV_NONCE, "", "short");
	assert_int_equal(guest_run(&b), 0);
	expect_status(&b, "no evidence: a nonce has 8 to 64 bytes, and is written at once\n");
	guest_build_write(&cmd, EVIDENCE_NV_NONCE, "wrong", NONCE);
	assert_int_not_equal(guest_run(&b), 0);
	guest_build_write(&cmd, EVIDENCE_NV_ROW, "", NONCE);
	assert_int_not_equal(guest_run(&b), 0);
	guest_build_define(&cmd, SLOT(0x77), 64);
	assert_int_equal(guest_run(&b), 0);
	guest_build_write(&cmd, SLOT(0x77), "pin", NONCE);
	assert_int_equal(guest_run(&b), 0);
	guest_undefine(&b, SLOT(0x77));
	guest_power_off(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answered),
		cmocka_unit_test(test_too_late),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_other_writes),
	};

	return guest_test_main(argc, argv, tests, ARRAY_LEN(tests));
}
