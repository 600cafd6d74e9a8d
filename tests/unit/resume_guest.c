/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/resume_guest.h"

#include <signal.h>
#include <time.h>

#include <openssl/evp.h>

#include "vtpm-backend/tpm.h"

#define PCR	  16u
#define COUNTER	  SLOT(40)
#define PIN_INDEX SLOT(41)
#define RC_BAD_PIN 0x98eu /* TPM_RC_AUTH_FAIL, session 1 */

enum {
	CC_NV_INCREMENT = 0x134,
	CC_LOCK_RESET = 0x139,
	CC_SEQUENCE_COMPLETE = 0x13e,
	CC_SEQUENCE_UPDATE = 0x15c,
	CC_POLICY_AUTH_VALUE = 0x16b,
	CC_START_AUTH_SESSION = 0x176,
	CC_PCR_EXTEND = 0x182,
	CC_HASH_SEQUENCE_START = 0x186,
};

#define RH_NULL	   0x40000007u
#define RH_LOCKOUT 0x4000000au

static void ok(int err)
{
	assert_int_equal(err, 0);
}

static void begin(uint16_t tag, uint32_t code)
{
	buf_reset(&cmd);
	ok(buf_put_u16be(&cmd, tag) | buf_put_u32be(&cmd, 0) | buf_put_u32be(&cmd, code));
}

static void end(void)
{
	ok(buf_set_u32be(&cmd, 2, (uint32_t)cmd.len));
}

static void put_empty_auth(void)
{
	ok(buf_put_u32be(&cmd, 9) | buf_put_u32be(&cmd, TPM_RS_PW) | buf_put_u16be(&cmd, 0) | buf_put_u8(&cmd, 0) |
	   buf_put_u16be(&cmd, 0));
}

static void begin_auth(uint32_t code, uint32_t handle)
{
	begin(TPM_ST_SESSIONS, code);
	ok(buf_put_u32be(&cmd, handle));
	put_empty_auth();
}

static uint32_t rc(void)
{
	struct buf r;
	uint32_t v = UINT32_MAX;

	buf_wrap(&r, rsp, rsp_len);
	ok(buf_skip(&r, 6) | buf_get_u32be(&r, &v));
	return v;
}

static uint32_t handle(void)
{
	struct buf r;
	uint32_t v = 0;

	buf_wrap(&r, rsp, rsp_len);
	ok(buf_skip(&r, 10) | buf_get_u32be(&r, &v));
	return v;
}

static void run(struct rig_backend *b)
{
	assert_int_equal(guest_run(b), 0);
}

/* The last n bytes of the parameters: off from the beginning of the response. */
static const uint8_t *bytes(size_t off, size_t n)
{
	assert_true(rsp_len >= off + n);
	return rsp + off;
}

static void digest_extend(uint8_t d[static RECORD_DIGEST], const void *p, size_t n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	assert_non_null(ctx);
	assert_int_equal(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) & EVP_DigestUpdate(ctx, d, RECORD_DIGEST) &
			 EVP_DigestUpdate(ctx, p, n) & EVP_DigestFinal_ex(ctx, d, NULL), 1);
	EVP_MD_CTX_free(ctx);
}

static void build_pcr_read(void)
{
	begin(TPM_ST_NO_SESSIONS, TPM_CC_PCR_Read);
	ok(buf_put_u32be(&cmd, 1) | buf_put_u16be(&cmd, TPM_ALG_SHA256) | buf_put_u8(&cmd, 3) | buf_put_u8(&cmd, 0) |
	   buf_put_u8(&cmd, 0) | buf_put_u8(&cmd, 1u << (PCR - 16)));
	end();
}

/* What the next command of a kind has in it. */
static void fill(const struct record *r, uint8_t d[static RECORD_DIGEST])
{
	memset(d, 0x5a, RECORD_DIGEST);
	memcpy(d, &r->n, sizeof(r->n));
}

static void build_sequence(uint32_t code, uint32_t h, const uint8_t *data, size_t n)
{
	begin_auth(code, h);
	ok(buf_put_2b(&cmd, data, n));
	if (code == CC_SEQUENCE_COMPLETE)
		ok(buf_put_u32be(&cmd, RH_NULL));
	end();
}

static void build_define(uint32_t index, uint32_t attributes, uint16_t size)
{
	guest_build_define(&cmd, index, size);
	/* attributes are behind: header 10, handle 4, auth area 13, 2B "pin" 5, size 2, index 4, nameAlg 2 */
	ok(buf_set_u32be(&cmd, 10 + 4 + 13 + 5 + 2 + 4 + 2, attributes));
}

static void build_primary(void)
{
	uint8_t mem[64];
	struct buf t;

	buf_init(&t, mem, sizeof(mem));
	ok(buf_put_u16be(&t, TPM_ALG_ECC) | buf_put_u16be(&t, TPM_ALG_SHA256) | buf_put_u32be(&t, 0x00030072) |
	   buf_put_u16be(&t, 0) | buf_put_u16be(&t, TPM_ALG_AES) | buf_put_u16be(&t, 128) | buf_put_u16be(&t, TPM_ALG_CFB) |
	   buf_put_u16be(&t, TPM_ALG_NULL) | buf_put_u16be(&t, TPM_ECC_NIST_P256) | buf_put_u16be(&t, TPM_ALG_NULL) |
	   buf_put_u16be(&t, 0) | buf_put_u16be(&t, 0));
	ok(tpmcmd_create_primary(&cmd, TPM_RH_OWNER, NULL, 0, t.data, t.len));
}

/* TPM2_ReadPublic: TPM2B_PUBLIC, then the Name. */
static const uint8_t *key_name(struct rig_backend *b, uint32_t h)
{
	struct buf r;
	uint16_t n = 0, name = 0;

	ok(tpmcmd_read_public(&cmd, h));
	run(b);
	buf_wrap(&r, rsp, rsp_len);
	ok(buf_skip(&r, 10) | buf_get_u16be(&r, &n) | buf_skip(&r, n) | buf_get_u16be(&r, &name));
	assert_int_equal(name, RECORD_DIGEST + 2);
	return rsp + r.pos;
}

static void begin_volatile(struct record *r, struct rig_backend *b)
{
	const uint8_t nonce[16] = { 1 };

	begin(TPM_ST_NO_SESSIONS, CC_START_AUTH_SESSION);
	ok(buf_put_u32be(&cmd, RH_NULL) | buf_put_u32be(&cmd, RH_NULL) | buf_put_2b(&cmd, nonce, sizeof(nonce)) |
	   buf_put_u16be(&cmd, 0) | buf_put_u8(&cmd, 1) | buf_put_u16be(&cmd, TPM_ALG_NULL) |
	   buf_put_u16be(&cmd, TPM_ALG_SHA256));
	end();
	run(b);
	r->session = handle();
	begin(TPM_ST_NO_SESSIONS, CC_HASH_SEQUENCE_START);
	ok(buf_put_u16be(&cmd, 0) | buf_put_u16be(&cmd, TPM_ALG_SHA256));
	end();
	run(b);
	r->sequence = handle();
	build_primary();
	run(b);
	r->key = handle();
	memcpy(r->name, key_name(b, r->key), sizeof(r->name));
}

static void lock_reset(struct rig_backend *b)
{
	begin_auth(CC_LOCK_RESET, RH_LOCKOUT);
	end();
	run(b);
}

/* TPMS_TIME_INFO: time, clock, resetCount, restartCount, safe. */
static void read_clock(struct record *r, struct rig_backend *b)
{
	uint64_t clock = 0;

	begin(TPM_ST_NO_SESSIONS, TPM_CC_ReadClock);
	end();
	run(b);
	for (unsigned i = 0; i < 8; i++)
		clock = clock << 8 | bytes(18, 8)[i];
	assert_true(clock >= r->clock);
	if (r->clock != 0)
		assert_memory_equal(bytes(26, sizeof(r->clock_info)), r->clock_info, sizeof(r->clock_info));
	memcpy(r->clock_info, bytes(26, sizeof(r->clock_info)), sizeof(r->clock_info));
	r->clock = clock;
}

void record_begin(struct record *r, struct rig_backend *b)
{
	memset(r, 0, sizeof(*r));
	begin_volatile(r, b);
	build_define(COUNTER, 0x02040014, 8); /* NO_DA, AUTHREAD, AUTHWRITE, counter */
	run(b);
	guest_build_nv(&cmd, CC_NV_INCREMENT, COUNTER, COUNTER, "pin", NULL);
	run(b);
	guest_build_nv(&cmd, TPM_CC_NV_Read, COUNTER, COUNTER, "pin", NULL);
	ok(buf_put_u16be(&cmd, 8) | buf_put_u16be(&cmd, 0));
	end();
	run(b);
	for (unsigned i = 0; i < 8; i++)
		r->counter = r->counter << 8 | bytes(16, 8)[i];
	guest_build_define(&cmd, PIN_INDEX, 4);
	run(b);
	guest_build_write(&cmd, PIN_INDEX, "pin", "abcd");
	run(b);
	lock_reset(b);
}

void record_build(struct record *r, enum work w)
{
	uint8_t d[RECORD_DIGEST];

	r->n++;
	fill(r, d);
	switch (w) {
	case WORK_EXTEND:
		begin_auth(CC_PCR_EXTEND, PCR);
		ok(buf_put_u32be(&cmd, 1) | buf_put_u16be(&cmd, TPM_ALG_SHA256) | buf_put_bytes(&cmd, d, sizeof(d)));
		end();
		break;
	case WORK_READ:
		build_pcr_read();
		break;
	case WORK_RANDOM:
		ok(tpmcmd_get_random(&cmd, 32));
		break;
	case WORK_POLICY:
		begin(TPM_ST_NO_SESSIONS, CC_POLICY_AUTH_VALUE);
		ok(buf_put_u32be(&cmd, r->session));
		end();
		break;
	case WORK_SEQUENCE:
		build_sequence(CC_SEQUENCE_UPDATE, r->sequence, d, sizeof(d));
		break;
	case WORK_COUNT:
		guest_build_nv(&cmd, CC_NV_INCREMENT, COUNTER, COUNTER, "pin", NULL);
		break;
	case WORK_BAD_PIN:
		guest_build_write(&cmd, PIN_INDEX, "bad", "abcd");
		break;
	case WORK_KINDS:
		fail();
	}
}

void record_take(struct record *r, enum work w)
{
	const uint8_t policy[4] = { 0, 0, CC_POLICY_AUTH_VALUE >> 8, CC_POLICY_AUTH_VALUE & 0xff };
	uint8_t d[RECORD_DIGEST];

	fill(r, d);
	assert_int_equal(rc(), w == WORK_BAD_PIN ? RC_BAD_PIN : 0u);
	switch (w) {
	case WORK_EXTEND:
		digest_extend(r->pcr, d, sizeof(d));
		break;
	case WORK_READ:
		assert_memory_equal(bytes(30, RECORD_DIGEST), r->pcr, RECORD_DIGEST);
		break;
	case WORK_RANDOM:
		assert_int_equal(rsp_len, 12 + 32);
		break;
	case WORK_POLICY:
		digest_extend(r->policy, policy, sizeof(policy));
		break;
	case WORK_SEQUENCE:
		assert_true(r->data_len + sizeof(d) <= sizeof(r->data));
		memcpy(r->data + r->data_len, d, sizeof(d));
		r->data_len += sizeof(d);
		break;
	case WORK_COUNT:
		r->counter++;
		break;
	case WORK_BAD_PIN:
		r->lockout++;
		break;
	case WORK_KINDS:
		fail();
	}
}

static void compare_durable(struct record *r, struct rig_backend *b)
{
	uint64_t v = 0;

	guest_build_nv(&cmd, TPM_CC_NV_Read, COUNTER, COUNTER, "pin", NULL);
	ok(buf_put_u16be(&cmd, 8) | buf_put_u16be(&cmd, 0));
	end();
	run(b);
	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | bytes(16, 8)[i];
	assert_int_equal(v, r->counter);
	assert_int_equal(guest_lockout_counter(b), r->lockout);
	if (r->lockout == 0)
		return;
	lock_reset(b);
	r->lockout = 0;
}

void record_compare(struct record *r, struct rig_backend *b)
{
	build_pcr_read();
	run(b);
	assert_memory_equal(bytes(30, RECORD_DIGEST), r->pcr, RECORD_DIGEST);
	begin(TPM_ST_NO_SESSIONS, TPM_CC_PolicyGetDigest);
	ok(buf_put_u32be(&cmd, r->session));
	end();
	run(b);
	if (r->n > 0)
		assert_memory_equal(bytes(12, RECORD_DIGEST), r->policy, RECORD_DIGEST);
	assert_memory_equal(key_name(b, r->key), r->name, sizeof(r->name));
	read_clock(r, b);
	compare_durable(r, b);
}

void record_end(struct record *r, struct rig_backend *b)
{
	uint8_t want[RECORD_DIGEST];

	build_sequence(CC_SEQUENCE_COMPLETE, r->sequence, NULL, 0);
	run(b);
	assert_int_equal(EVP_Digest(r->data, r->data_len, want, NULL, EVP_sha256(), NULL), 1);
	assert_memory_equal(bytes(16, RECORD_DIGEST), want, sizeof(want));
	guest_undefine(b, COUNTER);
	guest_undefine(b, PIN_INDEX);
}

void *killer_main(void *arg)
{
	struct killer *k = arg;

	while (!k->over) {
		const struct timespec wait = { .tv_nsec = (long)((unsigned)rand_r(&k->seed) % k->wait_us) * 1000 };
		int pid;

		nanosleep(&wait, NULL);
		pid = atomic_exchange(&k->pid, 0);
		if (pid > 1)
			kill(pid, SIGKILL);
	}
	return NULL;
}
