/* SPDX-License-Identifier: BSD-2-Clause */
/* How long a list of revoked certificates is good: whoever has the manager for a day must not have one for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <openssl/x509v3.h>

#include "vtpm-mgr/keeper/crl.h"

static EVP_PKEY *key;
static X509 *ca;

static int setup(void **state)
{
	X509_EXTENSION *id;
	X509V3_CTX ctx;

	(void)state;
	key = EVP_EC_gen("P-256");
	ca = X509_new();
	assert_true(X509_set_version(ca, X509_VERSION_3) && X509_set_pubkey(ca, key));
	X509V3_set_ctx(&ctx, ca, ca, NULL, NULL, 0);
	id = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_key_identifier, "hash");
	assert_true(id && X509_add_ext(ca, id, -1) && X509_sign(ca, key, EVP_sha256()));
	X509_EXTENSION_free(id);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	X509_free(ca);
	EVP_PKEY_free(key);
	return 0;
}

static int begin(int64_t from, int64_t life)
{
	const uint64_t at = (uint64_t)((int64_t)time(NULL) + from);
	struct crl c = {0};
	int err = crl_begin(&c, ca, 7, at, at + (uint64_t)life);

	assert_int_equal(c.list == NULL, err != 0);
	crl_free(&c);
	return err;
}

static void test_times(void **state)
{
	struct crl c = {0};

	(void)state;
	assert_int_equal(begin(0, 7 * 86400), 0);
	assert_int_equal(begin(-1000, 60), 0);
	assert_int_equal(begin(0, 7 * 86400 + 1), ERR_RANGE); /* for ever */
	assert_int_equal(begin(0, 1LL << 40), ERR_RANGE);
	assert_int_equal(begin(3600, 86400), ERR_RANGE); /* for later */
	assert_int_equal(begin(0, 0), ERR_RANGE);
	assert_int_equal(begin(0, -1), ERR_RANGE);
	assert_int_equal(crl_begin(&c, ca, 7, UINT64_MAX, 5), ERR_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
