/* SPDX-License-Identifier: BSD-2-Clause */
/* What a manager leaves of its guests in vtpm-hold, and what the next one makes of it: held_guests.c, with a vtpm-hold that is an array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-mgr/launch.h"

#define KEPT_MAX 4u

static struct mgr mgr;
static struct held_item kept[KEPT_MAX];
static unsigned nkept, updates;
static uint64_t claimed[8];
static unsigned nclaimed;

/* --- the rest of the manager --- */

void held_keep(struct mgr *m, enum held_kind kind, const uint8_t *uuid, const struct buf *blob, const int *fds, unsigned nfds)
{
	unsigned i = 0;

	(void)m;
	(void)fds;
	assert_int_equal(kind, HELD_GUEST);
	while (i < nkept && memcmp(kept[i].tag + 1, uuid, UUID_LEN) != 0)
		i++;
	updates += i < nkept;
	if (i == nkept) {
		assert_true(nkept < KEPT_MAX);
		kept[nkept++] = (struct held_item){ .tag = { (uint8_t)kind }, .tag_len = 1 + UUID_LEN, .nfds = nfds };
	}
	memcpy(kept[i].tag + 1, uuid, UUID_LEN);
	assert_true(blob->len <= HOLD_BLOB_MAX);
	memcpy(kept[i].blob, blob->data, blob->len);
	kept[i].blob_len = blob->len;
}

void held_drop(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	(void)m;
	(void)kind;
	(void)uuid;
}

struct held_item *held_take(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	struct held_item *it = m->held.items;

	assert_true(kind == HELD_GUEST && uuid == NULL);
	if (it)
		m->held.items = it->next;
	return it;
}

int held_take_listener(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	(void)m;
	(void)kind;
	(void)uuid;
	return -1;
}

void held_item_free(struct held_item *it)
{
	free(it);
}

void held_forget(struct mgr *m, const struct held_item *it)
{
	(void)m;
	(void)it;
}

bool xen_remember(const struct vtpm *v, struct xen_memory *x)
{
	*x = (struct xen_memory){ .domid = 7 };
	return v->front != NULL;
}

int xen_recall(struct vtpm *v, const struct xen_memory *x)
{
	assert_int_equal(x->domid, 7);
	v->front = (struct xen_front *)&mgr;
	return 0;
}

struct vtpm *vtpm_new(struct mgr *m)
{
	struct vtpm *v = calloc(1, sizeof(*v));

	assert_non_null(v);
	v->m = m;
	v->ring = LOCAL_RING_NONE;
	v->qemu = -1;
	v->next = m->vtpms;
	m->vtpms = v;
	return v;
}

void vtpm_free(struct vtpm *v)
{
	v->m->vtpms = v->next;
	free(v);
}

struct vtpm *vtpm_find(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct vtpm *v = m->vtpms;

	while (v && (v->incoming || memcmp(v->row.uuid, uuid, UUID_LEN) != 0))
		v = v->next;
	return v;
}

int store_vtpm_by_uuid(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *out)
{
	(void)s;
	memcpy(out->uuid, uuid, UUID_LEN);
	return uuid[0] == 0xee ? ERR_NOTFOUND : 0;
}

void held_launch_recall(struct vtpm *v)
{
	(void)v;
}

void held_launches_revive(struct mgr *m)
{
	(void)m;
}

int ring_open(struct vtpm *v)
{
	(void)v;
	return 0;
}

int qemu_watch(struct vtpm *v)
{
	(void)v;
	return 0;
}

void resume_in(struct vtpm *v, uint64_t ms)
{
	(void)v;
	(void)ms;
}

void worker_claim(struct mgr *m, uint64_t area)
{
	(void)m;
	assert_true(nclaimed < ARRAY_LEN(claimed));
	claimed[nclaimed++] = area;
}

/* --- two managers --- */

/* One that serves, of that uuid, in the area of that name. */
static struct vtpm *one(uint8_t uuid, uint64_t area)
{
	struct vtpm *v = vtpm_new(&mgr);

	memset(v->row.uuid, uuid, UUID_LEN);
	v->area = area;
	v->served = true;
	v->state = VTPM_RUNNING;
	return v;
}

static struct vtpm *of_xen(bool here, bool announced)
{
	struct vtpm *v = one(1, 1);

	v->xen = true;
	v->front = here ? (struct xen_front *)&mgr : NULL;
	v->announced = announced;
	return v;
}

static struct vtpm *of_qemu(uint8_t uuid, uint64_t area, bool incoming)
{
	struct vtpm *v = one(uuid, area);

	v->qemu = 0;
	v->incoming = incoming;
	return v;
}

static void forget_all(void)
{
	while (mgr.vtpms)
		vtpm_free(mgr.vtpms);
}

/* All of them are kept, and the manager is killed. */
static void keep_all(void)
{
	for (struct vtpm *v = mgr.vtpms; v; v = v->next)
		held_guest_keep(v);
	forget_all();
	updates = 0;
	for (unsigned i = 0; i < nkept; i++) {
		struct held_item *it = malloc(sizeof(*it));

		assert_non_null(it);
		*it = kept[i];
		it->next = mgr.held.items;
		mgr.held.items = it;
	}
}

static struct vtpm *next_manager(void)
{
	keep_all();
	assert_int_equal(held_guests_check(&mgr), 0);
	held_guests_revive(&mgr);
	return mgr.vtpms;
}

static int teardown(void **state)
{
	struct held_item *it;

	(void)state;
	forget_all();
	while ((it = mgr.held.items) != NULL) {
		mgr.held.items = it->next;
		free(it);
	}
	nkept = nclaimed = updates = 0;
	return 0;
}

/* A domain that has gone without a word leaves a TPM that nobody may go on with. */
static void a_domain_that_has_gone(void **state)
{
	struct vtpm *v;

	(void)state;
	of_xen(false, false);
	v = next_manager();
	assert_non_null(v);
	assert_true(v->stop_asked);
	assert_false(v->restart);
}

static void a_domain_that_is_saved(void **state)
{
	struct vtpm *v;

	(void)state;
	of_xen(false, true);
	v = next_manager();
	assert_false(v->stop_asked);
	assert_true(v->announced);
}

static void a_domain_that_is_there(void **state)
{
	struct vtpm *v;

	(void)state;
	of_xen(true, false);
	v = next_manager();
	assert_false(v->stop_asked);
	assert_non_null(v->front);
}

/* Of two QEMUs the second waits for the first; where that has gone it has the TPM. */
static void a_qemu_whose_other_has_gone(void **state)
{
	struct vtpm *v;

	(void)state;
	of_qemu(1, 1, true);
	v = next_manager();
	assert_false(v->incoming);
	assert_int_equal(updates, 1); /* and the manager after that knows it, too */
}

static void a_qemu_whose_other_is_not_gone_on_with(void **state)
{
	struct vtpm *v;

	(void)state;
	of_qemu(1, 1, false)->served = false; /* nobody knew of it yet */
	of_qemu(1, 2, true);
	v = next_manager();
	assert_non_null(v);
	assert_null(v->next);
	assert_false(v->incoming);
}

static void two_qemus(void **state)
{
	struct vtpm *v;

	(void)state;
	of_qemu(1, 1, false);
	of_qemu(1, 2, true);
	of_qemu(2, 3, false);
	next_manager();
	for (v = mgr.vtpms; v; v = v->next)
		assert_true(v->incoming == (v->area == 2));
}

/* A reset has another area, and is the same guest: there is no instant at which it is not kept. */
static void a_reset_keeps_its_guest(void **state)
{
	struct vtpm *v = of_qemu(1, 11, false);

	(void)state;
	held_guest_keep(v);
	v->area = 12;
	held_guest_keep(v);
	assert_int_equal(nkept, 1);
	v = next_manager();
	assert_int_equal(v->area, 12);
	held_guest_update(v);
	v->area = 13;
	held_guest_update(v);
	assert_int_equal(nkept, 1);
	v = next_manager();
	assert_null(v->next);
	assert_int_equal(v->area, 13);
}

/* Until another is ready, which has dealt with it. */
static void what_crashed(void **state)
{
	struct vtpm *v = one(1, 1);

	(void)state;
	v->qemu = 0;
	v->crashed = v->resuming = true;
	v->state = VTPM_STARTING;
	v = next_manager();
	assert_true(v->crashed && v->adopted);
	assert_false(v->stop_asked);
	teardown(NULL);
	v = of_qemu(1, 1, false);
	v->crashed = true;
	v = next_manager();
	assert_false(v->crashed);
}

/* Those of vTPMs that are gone on with, and that was all. */
static void areas_are_claimed(void **state)
{
	(void)state;
	of_qemu(1, 11, false);
	of_qemu(2, 12, false)->served = false;
	of_qemu(0xee, 13, false); /* the store has none of that uuid */
	next_manager();
	assert_int_equal(nclaimed, 2);
	assert_int_equal(claimed[0], 11);
	assert_int_equal(claimed[1], 0);
}

/* One that another build has left is no reason to do anything to anybody. */
static void another_format(void **state)
{
	const struct held_item *first;

	(void)state;
	of_qemu(1, 11, false);
	of_qemu(2, 12, false);
	keep_all();
	first = mgr.held.items;
	mgr.held.items->next->blob[0]++;
	assert_int_equal(held_guests_check(&mgr), ERR_VERSION);
	assert_ptr_equal(mgr.held.items, first);
	assert_null(mgr.vtpms);
	assert_int_equal(nclaimed, 0);
	mgr.held.items->next->blob_len = 0;
	assert_int_equal(held_guests_check(&mgr), ERR_VERSION);
}

#define T(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_domain_that_has_gone), T(a_domain_that_is_saved), T(a_domain_that_is_there), T(a_qemu_whose_other_has_gone),
		T(a_qemu_whose_other_is_not_gone_on_with), T(two_qemus), T(a_reset_keeps_its_guest), T(what_crashed), T(areas_are_claimed), T(another_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
