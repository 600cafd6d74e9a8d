/* SPDX-License-Identifier: BSD-2-Clause */
/* The EK templates of the TCG profile, and EKs and certificates in a real engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/sha.h>

#include "vtpm-backend/ek.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

/* TPM2_PolicySecret(TPM_RH_ENDORSEMENT) with empty policyRef: Part 3, 23.4, and Part 1, 19.7. */
static void policy_a(uint8_t out[static SHA256_DIGEST_LENGTH])
{
	uint8_t step[SHA256_DIGEST_LENGTH + 8] = { 0 };

	memcpy(step + SHA256_DIGEST_LENGTH, "\x00\x00\x01\x51\x40\x00\x00\x0b", 8);
	SHA256(step, sizeof(step), out);
	SHA256(out, SHA256_DIGEST_LENGTH, out);
}

static void test_templates(void **state)
{
	uint8_t mem[PUBLIC_MAX], policy[SHA256_DIGEST_LENGTH];
	struct buf b;

	(void)state;
	policy_a(policy);
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(ek_template(EK_RSA2048, &b), 0);
	assert_int_equal(b.len, 314);
	assert_memory_equal(b.data, "\x00\x01\x00\x0b\x00\x03\x00\xb2\x00\x20", 10);
	assert_memory_equal(b.data + 10, policy, sizeof(policy));
	assert_memory_equal(b.data + 42, "\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\x00\x00\x01\x00", 16);
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(ek_template(EK_ECC_P256, &b), 0);
	assert_int_equal(b.len, 122);
	assert_memory_equal(b.data, "\x00\x23\x00\x0b\x00\x03\x00\xb2\x00\x20", 10);
	assert_memory_equal(b.data + 42, "\x00\x06\x00\x80\x00\x43\x00\x10\x00\x03\x00\x10\x00\x20", 14);
	assert_int_equal(engine_prepare(), 0);
	assert_int_equal(engine_open(NULL, 0), 0);
	assert_int_equal(provision_startup(), 0);
	assert_int_equal(provision_manufacture(), 0);
}

static void test_publics(void **state)
{
	uint8_t pub[PUBLIC_MAX], template[PUBLIC_MAX];
	struct buf b;
	size_t n;

	(void)state;
	for (unsigned kind = 0; kind < EK_KINDS; kind++) {
		const size_t fixed = kind == EK_RSA2048 ? 56 : 54; /* all before unique */

		buf_init(&b, template, sizeof(template));
		assert_int_equal(ek_template(kind, &b), 0);
		assert_int_equal(ek_read_public(kind, pub, &n), 0);
		assert_int_equal(n, b.len + 2);
		assert_memory_equal(pub + 2, b.data, fixed);
		assert_memory_not_equal(pub + 2 + fixed, b.data + fixed, b.len - fixed);
	}
}

static void run_command(struct tpmrun *t)
{
	assert_int_equal(tpmrun(t, 0), 0);
}

/* What was made elsewhere: the same keys, persistent or not, as long as the endorsement hierarchy is open. */
static void test_found_publics(void **state)
{
	uint8_t pub[PUBLIC_MAX], found[PUBLIC_MAX];
	struct tpmrun t;
	size_t n, m;

	(void)state;
	tpmrun_init(&t);
	for (unsigned kind = 0; kind < EK_KINDS; kind++) {
		const uint32_t handle = kind == EK_RSA2048 ? 0x81010001 : 0x81010002;

		assert_int_equal(ek_read_public(kind, pub, &n), 0);
		assert_int_equal(ek_find_public(kind, found, &m), 0);
		assert_int_equal(m, n);
		assert_memory_equal(found, pub, n);
		assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_OWNER, handle, handle), 0);
		run_command(&t);
		memset(found, 0, sizeof(found));
		assert_int_equal(ek_find_public(kind, found, &m), 0);
		assert_int_equal(m, n);
		assert_memory_equal(found, pub, n);
		assert_int_equal(ek_read_public(kind, found, &m), ERR_ENGINE); /* and nothing is left there */
	}
	assert_int_equal(ek_create(EK_RSA2048), 0);
	assert_int_equal(tpmcmd_hierarchy_change_auth(&t.cmd, TPM_RH_ENDORSEMENT, pub, 16), 0);
	run_command(&t);
	assert_int_equal(ek_find_public(EK_RSA2048, found, &m), 0);
	assert_int_equal(ek_find_public(EK_ECC_P256, found, &m), ERR_NOTFOUND);
	assert_int_equal(m, 0);
}

/* The least that passes for a certificate: a sequence of 304 bytes with the modulus in it. */
static size_t fake_cert(const uint8_t *pub, size_t pub_len, uint8_t out[static CERT_MAX])
{
	memset(out, 0, CERT_MAX);
	memcpy(out, "\x30\x82\x01\x2c", 4);
	memcpy(out + 40, pub + pub_len - RSA_2048_LEN, RSA_2048_LEN);
	return 304;
}

static int find_cert_after(const uint8_t *in, size_t len, const uint8_t *pub, size_t pub_len, uint8_t *out, size_t *n)
{
	static const uint32_t index = 0x01c00002;
	struct tpmrun t;
	int err;

	assert_int_equal(ek_write_cert(EK_RSA2048, in, len), 0);
	err = ek_find_cert(EK_RSA2048, pub, pub_len, out, n);
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_PLATFORM, index, 0), 0);
	assert_int_equal(buf_set_u32be(&t.cmd, 6, 0x122), 0); /* NV_UndefineSpace: the same but for its end */
	t.cmd.len -= 4;
	assert_int_equal(buf_set_u32be(&t.cmd, 2, (uint32_t)t.cmd.len), 0);
	run_command(&t);
	return err;
}

static void test_found_certificates(void **state)
{
	uint8_t pub[PUBLIC_MAX], der[CERT_MAX], found[CERT_MAX];
	size_t pub_len, n, len;

	(void)state;
	assert_int_equal(ek_find_public(EK_RSA2048, pub, &pub_len), 0);
	len = fake_cert(pub, pub_len, der);
	assert_int_equal(ek_find_cert(EK_RSA2048, pub, pub_len, found, &n), ERR_NOTFOUND);
	assert_int_equal(n, 0);
	assert_int_equal(find_cert_after(der, len, pub, pub_len, found, &n), 0);
	assert_int_equal(n, len);
	assert_memory_equal(found, der, len);
	assert_int_equal(find_cert_after(der, CERT_MAX, pub, pub_len, found, &n), 0); /* room behind it */
	assert_int_equal(n, len);
	assert_int_equal(find_cert_after(der, len - 1, pub, pub_len, found, &n), ERR_NOTFOUND);
	assert_int_equal(find_cert_after(der, 3, pub, pub_len, found, &n), ERR_NOTFOUND);
	der[0] = 0x31;
	assert_int_equal(find_cert_after(der, len, pub, pub_len, found, &n), ERR_NOTFOUND);
	der[0] = 0x30;
	der[100] ^= 1; /* of another key */
	assert_int_equal(find_cert_after(der, len, pub, pub_len, found, &n), ERR_NOTFOUND);
	assert_int_equal(n, 0);
}

static void test_certificates(void **state)
{
	uint8_t cert[CERT_MAX];
	struct tpmrun t;

	(void)state;
	memset(cert, 0xc5, sizeof(cert));
	assert_int_equal(ek_write_cert(EK_RSA2048, cert, CERT_MAX), 0);
	assert_int_equal(ek_write_cert(EK_ECC_P256, cert, 1), 0);
	assert_int_equal(ek_write_cert(EK_ECC_P256, cert, 2), 0); /* in the place of the one that is locked there */
	assert_int_equal(ek_write_cert(EK_ECC_P256, cert, 0), ERR_RANGE);
	assert_int_equal(ek_write_cert(EK_ECC_P256, cert, CERT_MAX + 1), ERR_RANGE);
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_nv_write(&t.cmd, 0x01c00002, cert, 4, 0), 0);
	assert_int_equal(tpmrun(&t, 0), ERR_ENGINE);
	assert_int_equal(t.rsp.rc, 0x148); /* TPM_RC_NV_LOCKED */
	engine_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_templates),
		cmocka_unit_test(test_publics),
		cmocka_unit_test(test_found_publics),
		cmocka_unit_test(test_found_certificates),
		cmocka_unit_test(test_certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
