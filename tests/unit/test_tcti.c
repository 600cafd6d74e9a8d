/* SPDX-License-Identifier: BSD-2-Clause */
/* The TCTI module as the TSS loads it: a shared object with one symbol, and the calls of the TCTI specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <poll.h>
#include <tss2/tss2_tcti.h>

#include "tests/unit/fake_back.h"

#define WAIT_MS 5000

static const uint8_t command[12] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
static const TSS2_TCTI_INFO *info;

struct fixture {
	struct fake_back back;
	TSS2_TCTI_CONTEXT *ctx;
};

static int load(void **state)
{
	const char *path = getenv("VTPM_TCTI_SO");
	TSS2_TCTI_INFO_FUNC get;
	void *dl;

	(void)state;
	dl = dlopen(path != NULL ? path : "build/libtss2-tcti-vtpm.so.0", RTLD_NOW | RTLD_LOCAL);
	if (dl == NULL)
		fprintf(stderr, "%s\n", dlerror());
	assert_non_null(dl);
	*(void **)&get = dlsym(dl, TSS2_TCTI_INFO_SYMBOL);
	assert_non_null(get);
	assert_non_null(dlsym(dl, "Tss2_Tcti_Vtpm_Init"));
	assert_null(dlsym(dl, "vtpm_open"));
	info = get();
	return info == NULL;
}

static TSS2_RC init(const char *config, TSS2_TCTI_CONTEXT **ctx)
{
	size_t size = 0;
	TSS2_RC rc;

	assert_int_equal(info->init(NULL, &size, config), TSS2_RC_SUCCESS);
	assert_true(size >= sizeof(TSS2_TCTI_CONTEXT_COMMON_V2));
	*ctx = calloc(1, size);
	rc = info->init(*ctx, &size, config);
	if (rc != TSS2_RC_SUCCESS) {
		free(*ctx);
		*ctx = NULL;
	}
	return rc;
}

static struct fixture *begin(int (*serve)(struct fake_back *, uint8_t *, size_t), const char *format)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char config[256];

	fake_back_make(&f->back, serve);
	fake_back_start(&f->back);
	if (format == NULL)
		snprintf(config, sizeof(config), "name=web1,runtime-dir=%s", f->back.dir);
	else
		snprintf(config, sizeof(config), "%s%s", format, f->back.path);
	assert_int_equal(init(config, &f->ctx), TSS2_RC_SUCCESS);
	return f;
}

static void end(struct fixture *f)
{
	Tss2_Tcti_Finalize(f->ctx);
	free(f->ctx);
	fake_back_stop(&f->back);
	free(f);
}

static void demand_round_trip(TSS2_TCTI_CONTEXT *ctx)
{
	uint8_t resp[4096];
	size_t size = sizeof(resp);

	assert_int_equal(Tss2_Tcti_Transmit(ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Receive(ctx, &size, resp, TSS2_TCTI_TIMEOUT_BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof(command));
	assert_memory_equal(resp, command, size);
}

static void describes_itself(void **state)
{
	(void)state;
	assert_int_equal(info->version, 2);
	assert_string_equal(info->name, "tcti-vtpm");
	assert_non_null(info->description);
	assert_non_null(strstr(info->config_help, "name="));
	assert_int_equal(info->init(NULL, NULL, NULL), TSS2_TCTI_RC_BAD_VALUE);
}

static void takes_every_kind_of_config(void **state)
{
	static const char *const formats[] = {"path=", "", NULL};

	(void)state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct fixture *f = begin(serve_echo, formats[i]);

		assert_int_equal(TSS2_TCTI_VERSION(f->ctx), 2);
		demand_round_trip(f->ctx);
		demand_round_trip(f->ctx);
		end(f);
	}
}

static void refuses_bad_config(void **state)
{
	static const char *const bad[] = {
		NULL,
		"",
		"path=",
		"name=",
		"name=../web1",
		"name=a/b",
		"name=web1,runtime-dir=",
		"name=web1,dir=/tmp",
		"name=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
	};
	TSS2_TCTI_CONTEXT *ctx;
	uint8_t small[8];
	size_t size = sizeof(small);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(init(bad[i], &ctx), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(init("/nonexistent/web1.ring", &ctx), TSS2_TCTI_RC_NO_CONNECTION);
	assert_int_equal(info->init((TSS2_TCTI_CONTEXT *)small, &size, "/x"), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
}

static void passes_refusals_on(void **state)
{
	struct fake_back b;
	TSS2_TCTI_CONTEXT *ctx;

	(void)state;
	fake_back_make(&b, serve_echo);
	b.refuse = ERR_DENIED;
	fake_back_start(&b);
	assert_int_equal(init(b.path, &ctx), TSS2_TCTI_RC_NOT_PERMITTED);
	fake_back_stop(&b);
}

static void demands_the_sequence(void **state)
{
	struct fixture *f = begin(serve_until_cancelled, "");
	uint8_t resp[64];
	size_t size = sizeof(resp);

	(void)state;
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_Cancel(f->ctx), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 1), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, 0), TSS2_TCTI_RC_TRY_AGAIN);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, 10), TSS2_TCTI_RC_TRY_AGAIN);
	assert_int_equal(Tss2_Tcti_Cancel(f->ctx), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, WAIT_MS), TSS2_RC_SUCCESS);
	assert_int_equal(resp[8] << 8 | resp[9], TPM2_RC_CANCELED);
	assert_int_equal(Tss2_Tcti_Cancel(f->ctx), TSS2_TCTI_RC_BAD_SEQUENCE);
	end(f);
}

static void checks_its_arguments(void **state)
{
	struct fixture *f = begin(serve_echo, "");
	uint8_t big[5000] = {0x80, 0x01, 0, 0, 0x13, 0x88}, resp[64];
	size_t size = sizeof(resp);

	(void)state;
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, 9, command), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, 11, command), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(big), big), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 5), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_MakeSticky(f->ctx, NULL, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, NULL, resp, 0), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, -2), TSS2_TCTI_RC_BAD_VALUE);
	end(f);
}

static void tells_the_size_first(void **state)
{
	struct fixture *f = begin(serve_echo, "");
	uint8_t resp[12];
	size_t size = 0;

	(void)state;
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, NULL, WAIT_MS), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof(command));
	size = 11;
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, WAIT_MS), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
	assert_int_equal(size, sizeof(command));
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, WAIT_MS), TSS2_RC_SUCCESS);
	assert_memory_equal(resp, command, sizeof(command));
	end(f);
}

static void passes_the_locality(void **state)
{
	struct fixture *f = begin(serve_echo, "");

	(void)state;
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 2), TSS2_RC_SUCCESS);
	demand_round_trip(f->ctx);
	assert_int_equal(f->back.locality, 2);
	end(f);
}

static void gives_a_handle_to_poll(void **state)
{
	struct fixture *f = begin(serve_echo, "");
	TSS2_TCTI_POLL_HANDLE h[2];
	size_t n = 0;

	(void)state;
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, NULL, NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, h, &n), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, NULL, &n), TSS2_RC_SUCCESS);
	assert_int_equal(n, 1);
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, h, &n), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(poll(h, 1, WAIT_MS), 1);
	end(f);
}

static void sees_the_back_end_die(void **state)
{
	struct fixture *f = begin(serve_hang_up, "");
	uint8_t resp[64];
	size_t size = sizeof(resp);

	(void)state;
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, -1), TSS2_TCTI_RC_NO_CONNECTION);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, -1), TSS2_TCTI_RC_BAD_SEQUENCE);
	end(f);
}

static void sees_a_response_that_lies(void **state)
{
	struct fixture *f = begin(serve_length, "");
	uint8_t resp[64];
	size_t size = sizeof(resp);

	(void)state;
	f->back.value = 0xffffffff;
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, resp, -1), TSS2_TCTI_RC_MALFORMED_RESPONSE);
	end(f);
}

static void knows_its_own_contexts(void **state)
{
	struct fixture *f = begin(serve_echo, "");
	uint64_t magic = TSS2_TCTI_MAGIC(f->ctx);
	size_t n = 0;

	(void)state;
	assert_int_equal(TSS2_TCTI_TRANSMIT(f->ctx)(NULL, sizeof(command), command), TSS2_TCTI_RC_BAD_REFERENCE);
	TSS2_TCTI_MAGIC(f->ctx) = 1;
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_TCTI_RC_BAD_CONTEXT);
	TSS2_TCTI_MAGIC(f->ctx) = magic;
	Tss2_Tcti_Finalize(f->ctx);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, NULL, &n), TSS2_TCTI_RC_BAD_SEQUENCE);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describes_itself),	     cmocka_unit_test(takes_every_kind_of_config),
		cmocka_unit_test(refuses_bad_config),	     cmocka_unit_test(passes_refusals_on),
		cmocka_unit_test(demands_the_sequence),	     cmocka_unit_test(checks_its_arguments),
		cmocka_unit_test(tells_the_size_first),	     cmocka_unit_test(passes_the_locality),
		cmocka_unit_test(gives_a_handle_to_poll),    cmocka_unit_test(sees_the_back_end_die),
		cmocka_unit_test(sees_a_response_that_lies), cmocka_unit_test(knows_its_own_contexts),
	};

	setenv("TSS2_LOG", "all+NONE", 1); /* refusals are expected here */
	return cmocka_run_group_tests_name("tcti", tests, load, NULL);
}
