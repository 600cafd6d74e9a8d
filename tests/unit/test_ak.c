/* SPDX-License-Identifier: BSD-2-Clause */
/* The attestation key of a vTPM in a real engine: whose it is, and what nobody else can do to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/ak.h"
#include "vtpm-backend/ek.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define CC_SIGN  0x15du
#define CC_QUOTE 0x158u
#define RC_TICKET_P 0x3a0u /* TPM_RC_TICKET, parameter 3: what is signed did not come from the TPM */
#define RC_AUTH_FAIL 0x9a2u /* of a key that is not under the dictionary-attack lockout: TPM_RC_BAD_AUTH, session 1 */

static struct ak_secret secret;
static uint8_t pub[PUBLIC_MAX];
static size_t pub_len;

static uint32_t run(struct tpmrun *t, unsigned handles)
{
	int err = tpmrun(t, handles);

	assert_true(err == 0 || err == ERR_ENGINE);
	return t->rsp.rc;
}

static void begin(struct buf *c, uint32_t code, uint32_t handle, const uint8_t *auth, size_t n)
{
	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_SESSIONS) | buf_put_u32be(c, 0) | buf_put_u32be(c, code) | buf_put_u32be(c, handle) |
				 buf_put_u32be(c, (uint32_t)(9 + n)) | buf_put_u32be(c, TPM_RS_PW) | buf_put_u16be(c, 0) | buf_put_u8(c, 0) |
				 buf_put_2b(c, auth, n),
			 0);
}

static void end(struct buf *c)
{
	assert_int_equal(buf_set_u32be(c, 2, (uint32_t)c->len), 0);
}

static uint32_t quote(const uint8_t *auth, size_t n)
{
	struct tpmrun t;

	tpmrun_init(&t);
	begin(&t.cmd, CC_QUOTE, AK_HANDLE, auth, n);
	/* qualifying data, the key's own scheme, PCR 0 of the SHA-256 bank */
	assert_int_equal(buf_put_2b(&t.cmd, "nonce", 5) | buf_put_u16be(&t.cmd, TPM_ALG_NULL) | buf_put_u32be(&t.cmd, 1) |
				 buf_put_u16be(&t.cmd, TPM_ALG_SHA256) | buf_put_bytes(&t.cmd, "\x03\x01\x00\x00", 4),
			 0);
	end(&t.cmd);
	return run(&t, 0);
}

static void settle(struct ak_secret *s)
{
	uint8_t again[PUBLIC_MAX];
	size_t n;

	assert_int_equal(ak_settle(s, again, &n), 0);
	assert_int_equal(n, pub_len);
	assert_memory_equal(again, pub, n);
}

static void test_made(void **state)
{
	uint8_t key[KEY_LEN], mem[PUBLIC_MAX];
	const uint8_t *there;
	struct tpmrun t;
	struct buf b;
	size_t n;

	(void)state;
	assert_int_equal(engine_prepare(), 0);
	assert_int_equal(engine_open(NULL, 0), 0);
	assert_int_equal(provision_startup(), 0);
	memset(key, 0x42, sizeof(key));
	assert_int_equal(ak_derive(&secret, key), 0);
	assert_int_equal(ak_settle(&secret, pub, &pub_len), 0);
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(ak_template(&secret, &b), 0);
	assert_int_equal(pub_len, 2 + b.len);
	/* ECC, SHA-256, the attributes, no policy, ECDSA with SHA-256 on P-256: and nothing of what makes it ours alone */
	assert_memory_equal(pub, "\x00\x58\x00\x23\x00\x0b\x00\x05\x04\x72\x00\x00\x00\x10\x00\x18\x00\x0b\x00\x03\x00\x10\x00\x20", 24);
	assert_null(memmem(pub, pub_len, secret.unique, 8));
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_read_public(&t.cmd, AK_HANDLE), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(tpmrsp_public(&t.rsp, &there, &n), 0);
	assert_memory_equal(there, pub, pub_len);
	settle(&secret);
}

static void test_only_with_its_auth(void **state)
{
	(void)state;
	assert_int_equal(quote(secret.auth, sizeof(secret.auth)), 0);
	assert_int_equal(quote(NULL, 0), RC_AUTH_FAIL);
	assert_int_equal(quote(secret.unique, KEY_LEN), RC_AUTH_FAIL);
}

/* Nor does it with its auth: a digest of anybody's is nothing that the TPM has made. */
static void test_signs_no_digest(void **state)
{
	static const uint8_t digest[DIGEST_LEN] = { 1 };
	struct tpmrun t;

	(void)state;
	tpmrun_init(&t);
	begin(&t.cmd, CC_SIGN, AK_HANDLE, secret.auth, sizeof(secret.auth));
	assert_int_equal(buf_put_2b(&t.cmd, digest, sizeof(digest)) | buf_put_u16be(&t.cmd, TPM_ALG_NULL) |
				 buf_put_u16be(&t.cmd, 0x8024) | buf_put_u32be(&t.cmd, 0x40000007) | buf_put_u16be(&t.cmd, 0),
			 0);
	end(&t.cmd);
	assert_int_equal(run(&t, 0) & ~0x40u, RC_TICKET_P);
}

static void test_owner_cannot_evict(void **state)
{
	struct tpmrun t;

	(void)state;
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_OWNER, AK_HANDLE, AK_HANDLE), 0);
	assert_int_not_equal(run(&t, 0), 0);
	assert_int_equal(quote(secret.auth, sizeof(secret.auth)), 0);
}

/* Firmware without a platform auth can take it away, or put its own there; it is not certified, and the next time ours is back. */
static void test_another_at_the_handle(void **state)
{
	struct ak_secret firmware = { .auth = { 1 } };
	uint8_t other[PUBLIC_MAX];
	struct tpmrun t;
	size_t n;

	(void)state;
	assert_int_equal(ak_settle(&firmware, other, &n), 0);
	assert_memory_not_equal(other, pub, pub_len);
	assert_int_equal(quote(secret.auth, sizeof(secret.auth)), RC_AUTH_FAIL);
	settle(&secret);
	assert_int_equal(quote(secret.auth, sizeof(secret.auth)), 0);
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_PLATFORM, AK_HANDLE, AK_HANDLE), 0);
	assert_int_equal(run(&t, 0), 0);
	settle(&secret);
	assert_int_equal(quote(secret.auth, sizeof(secret.auth)), 0);
}

/* The auth of each hierarchy is another's: the key quotes on. Last: nothing gives these back. */
static void test_quotes_whatever_the_guest_sets(void **state)
{
	static const uint32_t hierarchies[] = { TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM };
	uint8_t out[PUBLIC_MAX];
	struct tpmrun t;
	size_t n;

	(void)state;
	tpmrun_init(&t);
	for (unsigned i = 0; i < ARRAY_LEN(hierarchies); i++) {
		assert_int_equal(tpmcmd_hierarchy_change_auth(&t.cmd, hierarchies[i], secret.unique, 16), 0);
		assert_int_equal(run(&t, 0), 0);
		assert_int_equal(quote(secret.auth, sizeof(secret.auth)), 0);
	}
	assert_int_equal(ak_settle(&secret, out, &n), ERR_ENGINE); /* only before a guest has the platform hierarchy */
	assert_int_equal(n, 0);
	engine_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_only_with_its_auth),
		cmocka_unit_test(test_signs_no_digest),
		cmocka_unit_test(test_owner_cannot_evict),
		cmocka_unit_test(test_another_at_the_handle),
		cmocka_unit_test(test_quotes_whatever_the_guest_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
