/* SPDX-License-Identifier: BSD-2-Clause */
/* The binding to libtpms: states, dirtiness, locality, and that nothing but an order makes a new TPM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/ek.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"
#include "vtpm-mgr/proto/limits.h"

static uint8_t saved[SEALED_STATE_MAX];
static size_t saved_len;

static void save(void)
{
	const uint8_t *state;

	assert_int_equal(engine_state(&state, &saved_len), 0);
	memcpy(saved, state, saved_len);
}

static int power_on(const uint8_t *state, size_t len)
{
	engine_close();
	assert_int_equal(engine_prepare(), 0);
	return engine_open(state, len);
}

static void test_manufacture_and_reload(void **state)
{
	uint8_t first[PUBLIC_MAX], second[PUBLIC_MAX];
	size_t n, m;

	(void)state;
	assert_int_equal(power_on(NULL, 0), 0);
	assert_true(engine_dirty());
	assert_int_equal(provision_startup(), 0);
	assert_int_equal(ek_create(EK_ECC_P256), 0);
	assert_int_equal(ek_read_public(EK_ECC_P256, first, &n), 0);
	save();
	assert_int_equal(power_on(saved, saved_len), 0);
	assert_int_equal(provision_startup(), 0);
	assert_int_equal(ek_read_public(EK_ECC_P256, second, &m), 0);
	assert_int_equal(n, m);
	assert_memory_equal(first, second, n);
}

static void test_bad_states_make_nothing(void **state)
{
	uint8_t *bad = malloc(saved_len);

	(void)state;
	assert_non_null(bad);
	for (size_t n = 1; n < saved_len; n += 97) { /* truncated */
		memcpy(bad, saved, saved_len);
		assert_int_equal(power_on(bad, n), ERR_ENGINE);
	}
	memset(bad, 0xa5, saved_len);
	assert_int_equal(power_on(bad, saved_len), ERR_ENGINE);
	memcpy(bad, saved, saved_len);
	assert_int_equal(power_on(bad, SEALED_STATE_MAX + 1), ERR_WRONG_STATE);
	free(bad);
}

static void test_dirtiness(void **state)
{
	struct tpmrun t;

	(void)state;
	assert_int_equal(power_on(saved, saved_len), 0);
	assert_int_equal(provision_startup(), 0);
	assert_true(engine_dirty());
	engine_clean();
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_get_random(&t.cmd, 8), 0);
	assert_int_equal(tpmrun(&t, 0), 0);
	assert_false(engine_dirty());
	assert_int_equal(ek_write_cert(EK_RSA2048, saved, 100), 0);
	assert_true(engine_dirty());
}

static void test_order_of_calls(void **state)
{
	uint8_t cmd[12] = { 0 }, rsp[CHAN_PACKET_MAX];
	const uint8_t *view;
	size_t n;

	(void)state;
	engine_close();
	engine_close();
	engine_cancel();
	assert_int_equal(engine_open(saved, saved_len), ERR_WRONG_STATE);
	assert_int_equal(engine_process(cmd, sizeof(cmd), 0, rsp, &n), ERR_WRONG_STATE);
	assert_int_equal(engine_state(&view, &n), ERR_WRONG_STATE);
	assert_int_equal(engine_prepare(), 0);
	assert_int_equal(engine_prepare(), ERR_WRONG_STATE);
	assert_int_equal(engine_open(saved, saved_len), 0);
	assert_int_equal(engine_open(saved, saved_len), ERR_WRONG_STATE);
}

/* PCR 20 may be extended from locality 2 and 3 alone (PC Client profile). */
static void test_locality(void **state)
{
	static const uint8_t extend[] = { 0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 20, 0, 0, 0, 9, 0x40, 0, 0, 9,
					  0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xb };
	uint8_t cmd[65], rsp[CHAN_PACKET_MAX];
	size_t n;

	(void)state;
	assert_int_equal(provision_startup(), 0);
	memset(cmd, 0, sizeof(cmd));
	memcpy(cmd, extend, sizeof(extend));
	assert_int_equal(engine_process(cmd, sizeof(cmd), 0, rsp, &n), 0);
	assert_memory_equal(rsp + 6, "\0\0\x09\x07", 4);
	memset(cmd, 0, sizeof(cmd));
	memcpy(cmd, extend, sizeof(extend));
	assert_int_equal(engine_process(cmd, sizeof(cmd), 2, rsp, &n), 0);
	assert_memory_equal(rsp + 6, "\0\0\0\0", 4);
	engine_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manufacture_and_reload),
		cmocka_unit_test(test_bad_states_make_nothing),
		cmocka_unit_test(test_dirtiness),
		cmocka_unit_test(test_order_of_calls),
		cmocka_unit_test(test_locality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
