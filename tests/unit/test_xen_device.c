/* SPDX-License-Identifier: BSD-2-Clause */
/* The handshake with front ends, honest and hostile, without Xen: nodes in, orders out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vtpm-mgr/xen_device.h"
#include "tests/unit/xen_scene.h"

static void a_guest_connects(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	/* Whoever sends its first command at once is in state 4 before it is looked at. */
	powered(&s);
	front(&s, "4", "8", "9");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
}

static void a_guest_that_is_quicker_than_its_tpm_waits(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	front(&s, "3", "8", "9");
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_MARK | XEN_DO_POWER);
	s.tpm = XEN_TPM_STARTING;
	assert_int_equal(step(&s), 0);
	s.tpm = XEN_TPM_ON;
	assert_int_equal(step(&s), XEN_DO_ATTACH);
}

static void a_driver_is_unloaded_and_loaded(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	front(&s, "5", "8", "9");
	assert_int_equal(step(&s), XEN_DO_DETACH);
	assert_int_equal(step(&s), 0); /* not before it is unmapped */
	s.d.ring = XEN_RING_OFF;
	assert_int_equal(step(&s), XEN_DO_STATE);
	assert_int_equal(s.d.state, XEN_STATE_CLOSING);
	front(&s, "6", "8", "9");
	assert_int_equal(step(&s), XEN_DO_STATE);
	assert_int_equal(s.d.state, XEN_STATE_INIT_WAIT);
	front(&s, "1", "", "");
	assert_int_equal(step(&s), 0);
	front(&s, "3", "10", "11");
	assert_int_equal(step(&s), XEN_DO_ATTACH); /* no power-on: the TPM is the one it was */
	assert_int_equal(s.d.ref, 10);
}

/* After xl save --checkpoint a front end makes a new ring without a word, perhaps with the numbers of the last. */
static void a_new_ring_without_a_word(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	front(&s, "3", "8", "9");
	assert_int_equal(step(&s), XEN_DO_DETACH);
	s.d.ring = XEN_RING_OFF;
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	connected(&s);
	front(&s, "4", "8", "10");
	assert_int_equal(step(&s), XEN_DO_DETACH);
}

static void libxl_takes_it_away(void **state)
{
	struct scene s;

	(void)state;
	for (int own = 0; own < 2; own++) {
		connected(&s);
		s.policy.own = own;
		set(&s, XEN_NODE_ONLINE, "0");
		set(&s, XEN_NODE_STATE, "5");
		assert_int_equal(step(&s), XEN_DO_DETACH);
		assert_int_equal(step(&s), 0);
		s.d.ring = XEN_RING_OFF;
		assert_int_equal(step(&s), XEN_DO_STATE | XEN_DO_RELEASE | (own ? XEN_DO_REMOVE : 0u));
		assert_int_equal(s.d.state, XEN_STATE_CLOSED);
		s.tpm = XEN_TPM_OFF;
		assert_int_equal(step(&s), 0);
		memset(s.values, 0, sizeof(s.values));
		assert_int_equal(step(&s), XEN_DO_RELEASE | XEN_DO_FORGET);
	}
}

static void it_vanishes(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	memset(s.values, 0, sizeof(s.values));
	assert_int_equal(step(&s), XEN_DO_DETACH);
	s.d.ring = XEN_RING_OFF;
	/* What was written into a directory that had gone is taken away again. */
	set(&s, XEN_NODE_STATE, "4");
	assert_int_equal(step(&s), XEN_DO_RELEASE | XEN_DO_REMOVE | XEN_DO_FORGET);
}

static void a_domain_dies(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	s.d.dead = true;
	assert_int_equal(step(&s), XEN_DO_DETACH);
	s.d.ring = XEN_RING_OFF;
	assert_int_equal(step(&s), XEN_DO_STATE | XEN_DO_RELEASE);
}

/* libxl waits for CLOSED whatever it asked for, also of a device that nobody ever served. */
static void a_device_that_was_never_looked_at_is_closed(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	set(&s, XEN_NODE_ONLINE, "0");
	set(&s, XEN_NODE_STATE, "5");
	assert_int_equal(step(&s), XEN_DO_STATE | XEN_DO_RELEASE);
	assert_int_equal(s.d.state, XEN_STATE_CLOSED);
}

static void the_same_domain_is_given_it_again(void **state)
{
	struct scene s;

	(void)state;
	powered(&s);
	set(&s, XEN_NODE_ONLINE, "0");
	(void)step(&s);
	assert_int_equal(s.d.phase, XEN_LEFT);
	made_again(&s);
	assert_int_equal(step(&s), XEN_DO_RELEASE | XEN_DO_LOOK);
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_MARK | XEN_DO_POWER);
}

/* Its directory went and came between two looks: nothing of what was there before is the new one's. */
static void another_is_made_in_its_place(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	memset(s.values, 0, sizeof(s.values));
	set(&s, XEN_NODE_FRONTEND, FRONT);
	set(&s, XEN_NODE_FRONTEND_ID, "5");
	set(&s, XEN_NODE_UUID, "99999999-2222-3333-4444-555555555555");
	set(&s, XEN_NODE_ONLINE, "1");
	set(&s, XEN_NODE_STATE, "1");
	front(&s, "3", "8", "9");
	assert_int_equal(step(&s), XEN_DO_DETACH);
	assert_int_equal(step(&s), 0);
	s.d.ring = XEN_RING_OFF;
	assert_int_equal(step(&s), XEN_DO_RELEASE | XEN_DO_LOOK);
	s.tpm = XEN_TPM_OFF;
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_MARK | XEN_DO_POWER);

	/* One that was refused, and one whose domain had died. */
	made(&s);
	s.tpm = XEN_TPM_UNKNOWN;
	(void)step(&s);
	set(&s, XEN_NODE_STATE, "1");
	assert_int_equal(step(&s), XEN_DO_RELEASE | XEN_DO_LOOK);
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
	powered(&s);
	s.d.dead = true;
	assert_int_equal(step(&s), XEN_DO_STATE | XEN_DO_RELEASE);
	made_again(&s);
	assert_int_equal(step(&s), XEN_DO_RELEASE | XEN_DO_LOOK);
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_MARK | XEN_DO_POWER);
}

/* A quota of it is used up, say. Unwatched it would not be heard; unmarked it could have its TPM reset by a crash of the manager. */
static void xenstore_does_not_take_what_is_written(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	s.d.mute = true;
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
	assert_null(s.o.why);
	assert_int_equal(s.d.state, XEN_STATE_CLOSED);
	connected(&s);
	s.d.mute = true;
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_DETACH);
	s.d.ring = XEN_RING_OFF;
	assert_int_equal(step(&s), XEN_DO_STATE);
	/* Not even that was written: the device is not taken for a new one. */
	set(&s, XEN_NODE_STATE, "1");
	assert_int_equal(step(&s), 0);
	set(&s, XEN_NODE_ONLINE, "0");
	assert_int_equal(step(&s), XEN_DO_RELEASE);
}

static void refusals(void **state)
{
	static const struct {
		enum xen_tpm tpm;
		bool served;
		const char *why;
	} cases[] = {
		{ XEN_TPM_UNKNOWN, false, "no vTPM has its uuid" },
		{ XEN_TPM_TAKEN, false, "another domain" },
		{ XEN_TPM_OFF, true, "was lost with the manager" },
	};
	struct scene s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		made(&s);
		s.tpm = cases[i].tpm;
		if (cases[i].served)
			set(&s, XEN_NODE_SERVED, "1");
		assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
		assert_int_equal(s.d.state, XEN_STATE_CLOSED);
		assert_non_null(strstr(s.o.why, cases[i].why));
		/* Whatever its front end does then. */
		front(&s, "3", "8", "9");
		assert_int_equal(step(&s), 0);
		front(&s, "6", "", "");
		assert_int_equal(step(&s), 0);
		set(&s, XEN_NODE_ONLINE, "0");
		set(&s, XEN_NODE_STATE, "5");
		assert_int_equal(step(&s), XEN_DO_RELEASE);
	}
}

static void one_that_comes_early_waits_for_one_that_goes(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	s.tpm = XEN_TPM_LEAVING;
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE);
	assert_int_equal(s.d.state, XEN_STATE_INIT_WAIT);
	assert_int_equal(step(&s), 0);
	s.tpm = XEN_TPM_OFF;
	assert_int_equal(step(&s), XEN_DO_MARK | XEN_DO_POWER);
}

static void an_announced_one_goes_on_without_a_reset(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	front(&s, "3", "8", "9");
	s.tpm = XEN_TPM_LEAVING;
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE);
	s.tpm = XEN_TPM_HELD;
	assert_int_equal(step(&s), XEN_DO_MARK | XEN_DO_ADOPT);
	s.tpm = XEN_TPM_ON;
	assert_int_equal(step(&s), XEN_DO_ATTACH);
}

static void a_tpm_that_ends_by_itself(void **state)
{
	struct scene s;

	(void)state;
	connected(&s);
	s.d.ring = XEN_RING_OFF; /* its backend has crashed */
	s.tpm = XEN_TPM_FAILED;
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
	assert_int_equal(s.d.state, XEN_STATE_CLOSED);
	assert_null(s.o.why);
	connected(&s);
	s.d.ring = XEN_RING_OFF;
	s.tpm = XEN_TPM_OFF; /* switched off: it is not switched on again by itself */
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
	/* A reset, on the other hand, leaves the ring where it is. */
	connected(&s);
	s.tpm = XEN_TPM_STARTING;
	assert_int_equal(step(&s), 0);
	s.d.ring = XEN_RING_OFF;
	s.tpm = XEN_TPM_ON;
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	assert_int_equal(s.d.ref, 8);
}

/* Its backend was killed, and the next one is there after a while. */
static void replaced(struct scene *s, const char *meanwhile)
{
	connected(s);
	assert_false(s->o.again);
	s->d.ring = XEN_RING_OFF;
	s->d.lost = true;
	s->tpm = XEN_TPM_STARTING;
	set(s, XEN_NODE_FRONT_STATE, meanwhile);
	assert_int_equal(step(s), 0);
	s->tpm = XEN_TPM_ON;
}

static void a_backend_that_is_replaced(void **state)
{
	struct scene s;

	(void)state;
	replaced(&s, "4");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	assert_true(s.o.again);
	assert_int_equal(s.d.state, XEN_STATE_CONNECTED); /* the front end has seen nothing */
	s.d.ring = XEN_RING_ON;
	assert_int_equal(step(&s), 0);
	/* A front end that has closed meanwhile makes a new ring, whatever its numbers; so does one that was resumed. */
	replaced(&s, "6");
	set(&s, XEN_NODE_FRONT_STATE, "3");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	assert_false(s.o.again);
	replaced(&s, "3");
	set(&s, XEN_NODE_FRONT_STATE, "4");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	assert_false(s.o.again);
	replaced(&s, "4");
	front(&s, "4", "8", "10");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	assert_false(s.o.again);
}

static void a_vtpm_is_made_if_that_is_the_policy(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	s.policy.autocreate = true;
	s.tpm = XEN_TPM_UNKNOWN;
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_CREATE);
	assert_int_equal(step(&s), 0); /* once */
	s.tpm = XEN_TPM_OFF;
	assert_int_equal(step(&s), XEN_DO_MARK | XEN_DO_POWER);
	made(&s);
	s.policy.autocreate = true;
	s.tpm = XEN_TPM_UNKNOWN;
	(void)step(&s);
	s.d.hopeless = true;
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
}

/* --- what guests write --- */

static void a_ring_that_is_none(void **state)
{
	struct scene s;

	(void)state;
	powered(&s);
	front(&s, "3", "4294967295", "3");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
	s.d.ring = XEN_RING_BAD; /* says the hypervisor */
	assert_int_equal(step(&s), XEN_DO_STATE);
	assert_int_equal(s.d.state, XEN_STATE_CLOSING);
	assert_int_equal(step(&s), 0); /* not tried again and again */
	front(&s, "3", "8", "9");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
}

static void junk_in_the_front_ends_nodes(void **state)
{
	static const char *const junk[] = {
		"", "-1", "+3", " 3", "3 ", "0x3", "03a", "4294967296", "18446744073709551617", "99999999999999999999999999",
		"\xff\xfe", "%n%n%s", "../../0", "NaN", "3.0", "\n3",
	};
	struct scene s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
		connected(&s);
		front(&s, junk[i], "8", "9");
		assert_int_equal(step(&s), XEN_DO_DETACH);
		powered(&s);
		front(&s, "3", junk[i], "9");
		assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
		assert_int_equal(s.d.state, XEN_STATE_CLOSING);
		powered(&s);
		front(&s, "3", "8", junk[i]);
		assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
		assert_int_equal(step(&s), 0); /* one line in the log, however often it is looked at */
	}
	powered(&s);
	front(&s, "7", "8", "9");
	assert_int_equal(step(&s), 0);
	front(&s, "3", "8", "131072"); /* above the highest port */
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
}

/* A guest cannot write these. A toolstack that does is a broken one, and is told so. */
static void junk_in_the_back_ends_nodes(void **state)
{
	static const struct {
		enum xen_node node;
		const char *value, *why;
	} cases[] = {
		{ XEN_NODE_FRONTEND, "/local/domain/6/device/vtpm/0", "frontend" },
		{ XEN_NODE_FRONTEND, "/local/domain/5/device/vtpm/1", "frontend" },
		{ XEN_NODE_FRONTEND, "/local/domain/5/device/vtpm/0/../../6", "frontend" },
		{ XEN_NODE_FRONTEND_ID, "6", "frontend-id" },
		{ XEN_NODE_FRONTEND_ID, "65541", "frontend-id" },
		{ XEN_NODE_FRONTEND_ID, "4294967301", "frontend-id" },
		{ XEN_NODE_UUID, "", "uuid" },
		{ XEN_NODE_UUID, "11111111-2222-3333-4444-55555555555", "uuid" },
		{ XEN_NODE_UUID, UUID "0", "uuid" },
	};
	struct scene s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		made(&s);
		set(&s, cases[i].node, cases[i].value);
		assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
		assert_int_equal(s.d.state, XEN_STATE_CLOSED);
		assert_non_null(strstr(s.o.why, cases[i].why));
	}
}

static uint32_t next(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*x >> 33);
}

/*
 * Front ends that write anything in any order: two rings are never ordered at once, nothing is ordered of a TPM
 * that is not on, and at the end libxl can take the device away.
 */
static void any_order_of_anything(void **state)
{
	static const char *const values[] = { "0", "1", "2", "3", "4", "5", "6", "7", "", "8", "x", "4294967295" };
	struct scene s;
	uint64_t x = 1;

	(void)state;
	for (int run = 0; run < 2000; run++) {
		made(&s);
		for (int i = 0; i < 40; i++) {
			enum xen_ring_phase before = s.d.ring;
			uint32_t what;

			set(&s, XEN_NODE_FRONT_STATE + next(&x) % 3, values[next(&x) % ARRAY_LEN(values)]);
			what = step(&s);
			assert_false((what & XEN_DO_ATTACH) && (s.tpm != XEN_TPM_ON || before == XEN_RING_ON ||
								before == XEN_RING_COMING || before == XEN_RING_GOING));
			assert_false((what & XEN_DO_DETACH) && before != XEN_RING_ON);
			assert_false(what & (XEN_DO_RELEASE | XEN_DO_REMOVE | XEN_DO_FORGET | XEN_DO_CREATE));
			assert_false((what & XEN_DO_POWER) && i > 0);
			if (what & XEN_DO_POWER)
				s.tpm = XEN_TPM_STARTING;
			else if (s.tpm == XEN_TPM_STARTING && next(&x) % 2)
				s.tpm = XEN_TPM_ON;
			if (s.d.ring == XEN_RING_COMING && next(&x) % 2)
				s.d.ring = next(&x) % 4 ? XEN_RING_ON : XEN_RING_BAD;
			else if (s.d.ring == XEN_RING_GOING && next(&x) % 2)
				s.d.ring = XEN_RING_OFF;
		}
		set(&s, XEN_NODE_ONLINE, "0");
		if (s.d.ring == XEN_RING_COMING)
			s.d.ring = XEN_RING_ON;
		(void)step(&s);
		s.d.ring = XEN_RING_OFF;
		(void)step(&s);
		assert_int_equal(s.d.phase, XEN_LEFT);
		assert_int_equal(s.d.state, XEN_STATE_CLOSED);
	}
}

/* Who launches a domain makes it paused: its device is there before the launch, and libxl waits for the back end. */
static void one_that_is_to_be_launched_waits(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	s.tpm = XEN_TPM_UNLAUNCHED;
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE);
	assert_int_equal(s.d.state, XEN_STATE_INIT_WAIT);
	assert_int_equal(step(&s), 0);
	s.tpm = XEN_TPM_LEAVING; /* its launch is under way */
	assert_int_equal(step(&s), 0);
	s.tpm = XEN_TPM_HELD;
	assert_int_equal(step(&s), XEN_DO_MARK | XEN_DO_ADOPT);
	s.tpm = XEN_TPM_ON;
	front(&s, "3", "8", "9");
	assert_int_equal(step(&s), XEN_DO_ATTACH);
}

static void one_that_was_not_launched_is_refused(void **state)
{
	static const char *const states[] = { "3", "4" };
	struct scene s;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		made(&s);
		s.tpm = XEN_TPM_UNLAUNCHED;
		(void)step(&s);
		front(&s, states[i], "8", "9");
		assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
		assert_int_equal(s.d.state, XEN_STATE_CLOSED);
		assert_non_null(strstr(s.o.why, "vtpm-launch"));
		/* A launch that comes when it runs already is too late, whatever it does with its front end. */
		s.tpm = XEN_TPM_HELD;
		assert_int_equal(step(&s), 0);
		front(&s, "1", "", "");
		assert_int_equal(step(&s), 0);
		front(&s, "3", "10", "11");
		assert_int_equal(step(&s), 0);
		assert_int_equal(s.d.phase, XEN_REFUSED);
	}
	/* Hot-attached: its guest is quicker than whoever looks. */
	made(&s);
	s.tpm = XEN_TPM_UNLAUNCHED;
	front(&s, "3", "8", "9");
	assert_int_equal(step(&s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_ERROR);
	assert_int_equal(s.d.state, XEN_STATE_CLOSED);
}

/* Its launch is over with its TPM: it does not come back by itself, and not without a launch. */
static void a_launched_tpm_that_ends(void **state)
{
	struct scene s;

	(void)state;
	made(&s);
	s.tpm = XEN_TPM_UNLAUNCHED;
	(void)step(&s);
	s.tpm = XEN_TPM_HELD;
	(void)step(&s);
	s.tpm = XEN_TPM_UNLAUNCHED;
	assert_int_equal(step(&s), XEN_DO_ERROR | XEN_DO_STATE);
	assert_int_equal(s.d.phase, XEN_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_connects),
		cmocka_unit_test(a_guest_that_is_quicker_than_its_tpm_waits),
		cmocka_unit_test(a_driver_is_unloaded_and_loaded),
		cmocka_unit_test(a_new_ring_without_a_word),
		cmocka_unit_test(libxl_takes_it_away),
		cmocka_unit_test(it_vanishes),
		cmocka_unit_test(a_domain_dies),
		cmocka_unit_test(a_device_that_was_never_looked_at_is_closed),
		cmocka_unit_test(the_same_domain_is_given_it_again),
		cmocka_unit_test(another_is_made_in_its_place),
		cmocka_unit_test(xenstore_does_not_take_what_is_written),
		cmocka_unit_test(refusals),
		cmocka_unit_test(one_that_comes_early_waits_for_one_that_goes),
		cmocka_unit_test(an_announced_one_goes_on_without_a_reset),
		cmocka_unit_test(a_tpm_that_ends_by_itself),
		cmocka_unit_test(a_backend_that_is_replaced),
		cmocka_unit_test(a_vtpm_is_made_if_that_is_the_policy),
		cmocka_unit_test(a_ring_that_is_none),
		cmocka_unit_test(junk_in_the_front_ends_nodes),
		cmocka_unit_test(junk_in_the_back_ends_nodes),
		cmocka_unit_test(any_order_of_anything),
		cmocka_unit_test(one_that_is_to_be_launched_waits),
		cmocka_unit_test(one_that_was_not_launched_is_refused),
		cmocka_unit_test(a_launched_tpm_that_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
