/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/backend_guest.h"

#include "vtpm-backend/tpm.h"

#define RC_RETRY 0x922

struct rig rig;
struct rig_disk disk, other;

uint8_t cmd_mem[CHAN_PACKET_MAX], rsp[CHAN_PACKET_MAX];
size_t rsp_len;
struct buf cmd = { .data = cmd_mem, .cap = sizeof(cmd_mem) };

/*
 * TPM_RC_RETRY: the first use of an authorisation with dictionary-attack protection since the
 * power-on; the TPM has noted that in its state, and the command is to be sent again.
 */
uint32_t guest_run(struct rig_backend *b)
{
	uint32_t rc;

	do
		rc = rig_command(b, cmd.data, cmd.len, rsp, &rsp_len);
	while (rc == RC_RETRY);
	return rc;
}

void guest_power_on(struct rig_backend *b)
{
	rig_spawn(&rig, b, &disk, RUN_SERVE | RUN_STARTUP);
	rig_ready(b);
}

void guest_power_off(struct rig_backend *b)
{
	assert_int_equal(rig_stop(b), 0);
	rig_forget(b);
}

/* Owner NV index with auth "pin", subject to dictionary-attack protection; AUTHREAD, AUTHWRITE. */
void guest_build_define(struct buf *c, uint32_t index, uint16_t size)
{
	static const uint8_t auth_area[] = { 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0 };

	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_SESSIONS) | buf_put_u32be(c, 0) |
			 buf_put_u32be(c, TPM_CC_NV_DefineSpace) | buf_put_u32be(c, TPM_RH_OWNER) |
			 buf_put_bytes(c, auth_area, sizeof(auth_area)) | buf_put_2b(c, "pin", 3) |
			 buf_put_u16be(c, 14) | buf_put_u32be(c, index) | buf_put_u16be(c, TPM_ALG_SHA256) |
			 buf_put_u32be(c, 0x00040004) | buf_put_u16be(c, 0) | buf_put_u16be(c, size), 0);
	assert_int_equal(buf_set_u32be(c, 2, (uint32_t)c->len), 0);
}

/* NV_Write (or NV_UndefineSpace with the owner's auth if data is NULL) with a password. */
void guest_build_nv(struct buf *c, uint32_t code, uint32_t auth, uint32_t index, const char *pin, const char *data)
{
	const uint16_t n = (uint16_t)strlen(pin);

	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_SESSIONS) | buf_put_u32be(c, 0) | buf_put_u32be(c, code) |
			 buf_put_u32be(c, auth) | buf_put_u32be(c, index) | buf_put_u32be(c, 9u + n) |
			 buf_put_u32be(c, TPM_RS_PW) | buf_put_u16be(c, 0) | buf_put_u8(c, 0) | buf_put_2b(c, pin, n), 0);
	if (data != NULL)
		assert_int_equal(buf_put_2b(c, data, strlen(data)) | buf_put_u16be(c, 0), 0);
	assert_int_equal(buf_set_u32be(c, 2, (uint32_t)c->len), 0);
}

void guest_build_write(struct buf *c, uint32_t index, const char *pin, const char *data)
{
	guest_build_nv(c, TPM_CC_NV_Write, index, index, pin, data);
}

void guest_build_rsa(struct buf *c)
{
	/* a storage key under the owner: the L-1 template with userWithAuth instead of a policy */
	uint8_t mem[400];
	struct buf t;

	buf_init(&t, mem, sizeof(mem));
	assert_int_equal(buf_put_u16be(&t, TPM_ALG_RSA) | buf_put_u16be(&t, TPM_ALG_SHA256) |
			 buf_put_u32be(&t, 0x00030072) | buf_put_u16be(&t, 0) | buf_put_u16be(&t, TPM_ALG_AES) |
			 buf_put_u16be(&t, 128) | buf_put_u16be(&t, TPM_ALG_CFB) | buf_put_u16be(&t, TPM_ALG_NULL) |
			 buf_put_u16be(&t, 2048) | buf_put_u32be(&t, 0) | buf_put_u16be(&t, 8), 0);
	/* a different key each time, so that the time is not always the same */
	static uint64_t nonce;
	assert_int_equal(buf_put_u64be(&t, ++nonce), 0);
	assert_int_equal(tpmcmd_create_primary(c, TPM_RH_OWNER, NULL, 0, t.data, t.len), 0);
}

void guest_build_capability(struct buf *c, uint32_t capability, uint32_t property, uint32_t count)
{
	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_NO_SESSIONS) | buf_put_u32be(c, 22) | buf_put_u32be(c, 0x17a) |
			 buf_put_u32be(c, capability) | buf_put_u32be(c, property) | buf_put_u32be(c, count), 0);
}

uint32_t guest_property(struct rig_backend *b, uint32_t which)
{
	uint32_t v = 0;
	struct buf r;

	guest_build_capability(&cmd, 6, which, 1);
	assert_int_equal(guest_run(b), 0);
	buf_wrap(&r, rsp, rsp_len);
	assert_int_equal(buf_skip(&r, 10 + 1 + 4 + 4 + 4) | buf_get_u32be(&r, &v), 0);
	return v;
}

uint32_t guest_lockout_counter(struct rig_backend *b)
{
	return guest_property(b, 0x20e);
}

void guest_undefine(struct rig_backend *b, uint32_t index)
{
	guest_build_nv(&cmd, 0x122, TPM_RH_OWNER, index, "", NULL);
	assert_int_equal(guest_run(b), 0);
}

static int open_rig(void **state, bool no_prefork)
{
	static bool executed;

	executed = no_prefork;
	*state = &executed;
	rig_open(&rig, no_prefork);
	rig_make(&rig, &disk);
	rig_make(&rig, &other);
	return 0;
}

static int setup_fork(void **state)
{
	return open_rig(state, false);
}

static int setup_exec(void **state)
{
	return open_rig(state, true);
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

int guest_test_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
	int failed;

	rig_keeper_main(argc, argv);
	failed = _cmocka_run_group_tests("fork", tests, n, setup_fork, teardown);
	return failed + _cmocka_run_group_tests("exec", tests, n, setup_exec, teardown);
}
