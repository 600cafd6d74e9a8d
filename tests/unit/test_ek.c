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

static void test_certificates(void **state)
{
	uint8_t cert[CERT_MAX];
	struct tpmrun t;

	(void)state;
	memset(cert, 0xc5, sizeof(cert));
	assert_int_equal(ek_write_cert(EK_RSA2048, cert, CERT_MAX), 0);
	assert_int_equal(ek_write_cert(EK_ECC_P256, cert, 1), 0);
	assert_int_equal(ek_write_cert(EK_ECC_P256, cert, 1), ERR_ENGINE); /* it is there already */
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
		cmocka_unit_test(test_certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
