/* SPDX-License-Identifier: BSD-2-Clause */
/* libvtpm against a back end that serves, dawdles, dies or lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>

#include "frontend-drivers/libvtpm/vtpm.h"
#include "hv/page.h"
#include "tests/unit/fake_back.h"

#define WAIT_MS 5000

static const uint8_t command[12] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
static const uint8_t canceled[10] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09};

static struct vtpm *open_with(struct fake_back *b, int (*serve)(struct fake_back *, uint8_t *, size_t))
{
	struct vtpm *v;

	fake_back_make(b, serve);
	fake_back_start(b);
	assert_int_equal(vtpm_open(b->path, &v), 0);
	assert_string_equal(vtpm_refusal(), "");
	return v;
}

static void close_both(struct fake_back *b, struct vtpm *v)
{
	vtpm_close(v);
	fake_back_stop(b);
}

static void demand_round_trip(struct vtpm *v)
{
	uint8_t resp[VTPM_COMMAND_MAX];
	size_t len = sizeof(resp);

	assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
	assert_int_equal(vtpm_receive(v, resp, &len, WAIT_MS), 0);
	assert_int_equal(len, sizeof(command));
	assert_memory_equal(resp, command, sizeof(command));
}

static void makes_round_trips(void **state)
{
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_echo);

	(void)state;
	for (int i = 0; i < 1000; i++)
		demand_round_trip(v);
	assert_int_equal(b.served, 1000);
	close_both(&b, v);
}

static void makes_the_largest_round_trip(void **state)
{
	uint8_t cmd[VTPM_COMMAND_MAX + 1] = {0x80, 0x01, 0, 0, 0x0f, 0xf8}, resp[VTPM_COMMAND_MAX];
	size_t len = sizeof(resp);
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_echo);

	(void)state;
	cmd[VTPM_COMMAND_MAX - 1] = 0x99;
	assert_int_equal(vtpm_send(v, cmd, VTPM_COMMAND_MAX), 0);
	assert_int_equal(vtpm_receive(v, resp, &len, WAIT_MS), 0);
	assert_int_equal(len, VTPM_COMMAND_MAX);
	assert_memory_equal(resp, cmd, len);
	assert_int_equal(vtpm_send(v, cmd, sizeof(cmd)), -EMSGSIZE);
	close_both(&b, v);
}

static void refuses_senseless_calls(void **state)
{
	uint8_t cmd[12], resp[64];
	size_t len = sizeof(resp);
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_until_cancelled);

	(void)state;
	memcpy(cmd, command, sizeof(cmd));
	assert_int_equal(vtpm_receive(v, resp, &len, 0), -EINVAL);
	assert_int_equal(vtpm_cancel(v), -EINVAL);
	assert_int_equal(vtpm_set_locality(v, 5), -EINVAL);
	assert_int_equal(vtpm_send(v, cmd, 0), -EINVAL);
	assert_int_equal(vtpm_send(v, cmd, 9), -EINVAL);
	assert_int_equal(vtpm_send(v, cmd, 11), -EINVAL);
	assert_int_equal(vtpm_send(v, cmd, 12), 0);
	assert_int_equal(vtpm_send(v, cmd, 12), -EINVAL);
	close_both(&b, v);
}

static void passes_the_locality(void **state)
{
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_echo);

	(void)state;
	assert_int_equal(vtpm_set_locality(v, 4), 0);
	demand_round_trip(v);
	assert_int_equal(b.locality, 4);
	close_both(&b, v);
}

static void times_out_and_cancels(void **state)
{
	uint8_t resp[64];
	size_t len = sizeof(resp);
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_until_cancelled);

	(void)state;
	assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
	assert_int_equal(vtpm_receive(v, resp, &len, 0), -ETIMEDOUT);
	assert_int_equal(vtpm_receive(v, resp, &len, 20), -ETIMEDOUT);
	assert_int_equal(vtpm_cancel(v), 0);
	assert_int_equal(vtpm_receive(v, resp, &len, WAIT_MS), 0);
	assert_int_equal(len, sizeof(canceled));
	assert_memory_equal(resp, canceled, len);
	close_both(&b, v);
}

/* It may or may not have seen the command: FINISH or IDLE, the answer is the same. */
static void cancels_at_once(void **state)
{
	uint8_t resp[64];
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_until_cancelled);

	(void)state;
	for (int i = 0; i < 200; i++) {
		size_t len = sizeof(resp);

		assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
		assert_int_equal(vtpm_cancel(v), 0);
		assert_int_equal(vtpm_receive(v, resp, &len, WAIT_MS), 0);
		assert_int_equal(len, sizeof(canceled));
		assert_memory_equal(resp, canceled, len);
	}
	close_both(&b, v);
}

static void keeps_a_response_that_does_not_fit(void **state)
{
	uint8_t resp[12];
	size_t len = 0;
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_echo);

	(void)state;
	assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
	assert_int_equal(vtpm_receive(v, NULL, &len, WAIT_MS), -ENOBUFS);
	assert_int_equal(len, sizeof(command));
	/* The page is not believed a second time. */
	page_set_length(b.chan.page, 4000);
	len = sizeof(command) - 1;
	assert_int_equal(vtpm_receive(v, resp, &len, 0), -ENOBUFS);
	assert_int_equal(len, sizeof(command));
	assert_int_equal(vtpm_receive(v, resp, &len, 0), 0);
	assert_memory_equal(resp, command, sizeof(command));
	close_both(&b, v);
}

static void sees_the_back_end_die(void **state)
{
	uint8_t resp[64];
	size_t len = sizeof(resp);
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_hang_up);
	struct pollfd pfd = {.fd = vtpm_poll_fd(v), .events = POLLIN};

	(void)state;
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
	assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
	assert_int_equal(vtpm_receive(v, resp, &len, -1), -ECONNRESET);
	assert_int_equal(vtpm_receive(v, resp, &len, -1), -EINVAL);
	close_both(&b, v);
}

static void can_be_polled(void **state)
{
	uint8_t resp[64];
	size_t len = sizeof(resp);
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_echo);
	struct pollfd pfd = {.fd = vtpm_poll_fd(v), .events = POLLIN};
	int err;

	(void)state;
	/* Leaves signals behind that nobody has taken. */
	demand_round_trip(v);
	assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
	do {
		assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
		err = vtpm_receive(v, resp, &len, 0);
	} while (err == -ETIMEDOUT);
	assert_int_equal(err, 0);
	close_both(&b, v);
}

static void does_not_believe_lengths(void **state)
{
	static const uint32_t lengths[] = {0, 9, 11, 13, 4089, 4096, 0x80000000, 0xffffffff};
	uint8_t resp[VTPM_COMMAND_MAX];
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_length);

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t len = sizeof(resp);

		b.value = lengths[i];
		assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
		assert_int_equal(vtpm_receive(v, resp, &len, WAIT_MS), -EPROTO);
	}
	b.value = sizeof(command);
	demand_round_trip(v);
	close_both(&b, v);
}

static void does_not_believe_states(void **state)
{
	static const uint8_t states[] = {CHAN_STATE_IDLE, 4, 77, 255};
	uint8_t resp[64];
	struct fake_back b;
	struct vtpm *v = open_with(&b, serve_state);

	(void)state;
	for (size_t i = 0; i < sizeof(states); i++) {
		size_t len = sizeof(resp);

		b.value = states[i];
		assert_int_equal(vtpm_send(v, command, sizeof(command)), 0);
		assert_int_equal(vtpm_receive(v, resp, &len, WAIT_MS), -EPROTO);
	}
	close_both(&b, v);
}

static void leave_behind(struct fake_back *b, uint8_t state)
{
	page_write(b->chan.page, CHAN_HEADER_SIZE, command, sizeof(command));
	page_set_length(b->chan.page, sizeof(command));
	page_set_state(b->chan.page, state);
}

static void ends_what_an_earlier_front_end_left(void **state)
{
	static const uint8_t states[] = {CHAN_STATE_IDLE, CHAN_STATE_SUBMIT, CHAN_STATE_FINISH, CHAN_STATE_CANCEL, 99};
	struct fake_back b;
	struct vtpm *v;

	(void)state;
	for (size_t i = 0; i < sizeof(states); i++) {
		fake_back_make(&b, serve_until_cancelled);
		leave_behind(&b, states[i]);
		fake_back_start(&b);
		assert_int_equal(vtpm_open(b.path, &v), 0);
		b.serve = serve_echo;
		demand_round_trip(v);
		close_both(&b, v);
	}
}

static void says_why_it_was_refused(void **state)
{
	static const struct {
		int code, want;
	} cases[] = {
		{ERR_BUSY, -EBUSY},	    {ERR_DENIED, -EACCES},	     {ERR_NOTFOUND, -ENOENT},
		{ERR_WRONG_STATE, -ECONNREFUSED}, {ERR_QUARANTINE, -ECONNREFUSED}, {ERR_VERSION, -EPROTO},
	};
	struct fake_back b;
	struct vtpm *v;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_back_make(&b, serve_echo);
		b.refuse = cases[i].code;
		fake_back_start(&b);
		assert_int_equal(vtpm_open(b.path, &v), cases[i].want);
		assert_null(v);
		assert_string_equal(vtpm_refusal(), "web1: told to refuse");
		fake_back_stop(&b);
	}
}

static void finds_nobody(void **state)
{
	char longer[200];
	struct vtpm *v;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(vtpm_open("/nonexistent/web1.ring", &v), -ENOENT);
	assert_string_equal(vtpm_refusal(), "");
	assert_int_equal(vtpm_open("", &v), -EINVAL);
	assert_int_equal(vtpm_open(longer, &v), -ENAMETOOLONG);
	vtpm_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_round_trips),
		cmocka_unit_test(makes_the_largest_round_trip),
		cmocka_unit_test(refuses_senseless_calls),
		cmocka_unit_test(passes_the_locality),
		cmocka_unit_test(times_out_and_cancels),
		cmocka_unit_test(cancels_at_once),
		cmocka_unit_test(keeps_a_response_that_does_not_fit),
		cmocka_unit_test(sees_the_back_end_die),
		cmocka_unit_test(can_be_polled),
		cmocka_unit_test(does_not_believe_lengths),
		cmocka_unit_test(does_not_believe_states),
		cmocka_unit_test(ends_what_an_earlier_front_end_left),
		cmocka_unit_test(says_why_it_was_refused),
		cmocka_unit_test(finds_nobody),
	};

	return cmocka_run_group_tests_name("libvtpm", tests, NULL, NULL);
}
