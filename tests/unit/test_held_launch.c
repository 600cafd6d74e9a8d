/* SPDX-License-Identifier: BSD-2-Clause */
/* What a manager leaves of a launch in vtpm-hold, and what the next one makes of it: held_launch.c, with a vtpm-hold that is one item. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "tests/unit/launch_log.h"
#include "vtpm-mgr/launch.h"

static struct mgr mgr;
static struct held_item kept;
static bool is_kept;
static unsigned waits, forgotten;
static bool row_missing;

/* --- the rest of the manager --- */

unsigned held_generation(const struct mgr *m)
{
	(void)m;
	return 1;
}

void held_keep(struct mgr *m, enum held_kind kind, const uint8_t *uuid, const struct buf *blob, const int *fds, unsigned nfds)
{
	(void)m;
	assert_int_equal(kind, HELD_LAUNCH);
	assert_true(blob->len <= HOLD_BLOB_MAX);
	kept.tag[0] = (uint8_t)kind;
	memcpy(kept.tag + 1, uuid, UUID_LEN);
	kept.tag_len = 1 + UUID_LEN;
	memcpy(kept.blob, blob->data, blob->len);
	kept.blob_len = blob->len;
	assert_int_equal(nfds, !is_kept);
	if (nfds)
		kept.fds[0] = dup(fds[0]);
	kept.nfds = 1;
	is_kept = true;
}

void held_drop(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	(void)m;
	(void)uuid;
	assert_int_equal(kind, HELD_LAUNCH);
	is_kept = false;
}

struct held_item *held_take(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	struct held_item *it;

	(void)m;
	assert_int_equal(kind, HELD_LAUNCH);
	if (!is_kept || (uuid && memcmp(kept.tag + 1, uuid, UUID_LEN) != 0))
		return NULL;
	it = malloc(sizeof(*it));
	assert_non_null(it);
	*it = kept;
	is_kept = false;
	return it;
}

void held_item_free(struct held_item *it)
{
	for (unsigned i = 0; i < it->nfds; i++)
		close(it->fds[i]);
	free(it);
}

void held_forget(struct mgr *m, const struct held_item *it)
{
	(void)m;
	(void)it;
	forgotten++;
}

void launch_wait(struct vtpm *v)
{
	(void)v;
	waits++;
}

struct vtpm *vtpm_new(struct mgr *m)
{
	struct vtpm *v = calloc(1, sizeof(*v));

	assert_non_null(v);
	v->m = m;
	v->next = m->vtpms;
	m->vtpms = v;
	return v;
}

void vtpm_free(struct vtpm *v)
{
	v->m->vtpms = v->next;
	free(v->launch);
	free(v);
}

struct vtpm *vtpm_find(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct vtpm *v = m->vtpms;

	while (v && memcmp(v->row.uuid, uuid, UUID_LEN) != 0)
		v = v->next;
	return v;
}

int store_vtpm_by_uuid(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *out)
{
	(void)s;
	memcpy(out->uuid, uuid, UUID_LEN);
	return row_missing ? ERR_NOTFOUND : 0;
}

/* --- */

static int setup(void **state)
{
	(void)state;
	if (is_kept)
		close(kept.fds[0]);
	is_kept = false;
	waits = forgotten = 0;
	row_missing = false;
	return 0;
}

static struct vtpm *launched(bool for_domain, bool taken)
{
	static struct launch_fixture fixture;
	struct vtpm *v = vtpm_new(&mgr);

	assert_int_equal(launch_fixture_make(&fixture, false, true, 3), 0);
	v->row.uuid[0] = 7;
	v->launch = calloc(1, sizeof(*v->launch));
	assert_non_null(v->launch);
	*v->launch = (struct launch){
		.for_domain = for_domain, .domid = for_domain ? 5 : 0, .startup = true, .waits = !taken, .mismatch = true, .until_ms = 123456 };
	memcpy(v->launch->log, fixture.b.data, fixture.b.len);
	v->launch->len = fixture.b.len;
	assert_int_equal(EVP_Digest(v->launch->log, v->launch->len, v->launch->digest, NULL, EVP_sha256(), NULL), 1);
	return v;
}

static void same(const struct launch *a, const struct launch *b)
{
	assert_int_equal(a->for_domain, b->for_domain);
	assert_int_equal(a->domid, b->domid);
	assert_int_equal(a->startup, b->startup);
	assert_int_equal(a->waits, b->waits);
	assert_int_equal(a->mismatch, b->mismatch);
	assert_int_equal(a->until_ms, b->until_ms);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->log, b->log, a->len);
	assert_memory_equal(a->digest, b->digest, DIGEST_LEN);
}

/* One that is on: it is as it was, and what changed after it was kept, too. */
static void a_running_one_is_as_it_was(void **state)
{
	(void)state;
	for (int domain = 0; domain < 2; domain++) {
		struct vtpm *v = launched(domain, false), *next;
		struct launch was;

		setup(NULL);
		held_launch_keep(v);
		v->launch->waits = domain; /* taken meanwhile */
		held_launch_keep(v);
		was = *v->launch;
		vtpm_free(v);
		next = vtpm_new(&mgr);
		next->row.uuid[0] = 8;
		held_launch_recall(next); /* another's */
		assert_null(next->launch);
		next->row.uuid[0] = 7;
		held_launch_recall(next);
		assert_non_null(next->launch);
		same(next->launch, &was);
		assert_true(next->launch->kept);
		assert_int_equal(waits, domain);
		vtpm_free(next);
	}
}

static void one_that_waits_is_there_again(void **state)
{
	struct vtpm *v = launched(false, false);
	struct launch was = *v->launch;

	(void)state;
	held_launch_keep(v);
	vtpm_free(v);
	held_launches_revive(&mgr);
	assert_non_null(mgr.vtpms);
	assert_int_equal(mgr.vtpms->state, VTPM_LAUNCHED);
	same(mgr.vtpms->launch, &was);
	assert_int_equal(waits, 1);
	vtpm_free(mgr.vtpms);
}

/* Whose guest had come, or whose domain's vTPM is not there, is nobody's: a launch is for one guest, once. */
static void others_are_forgotten(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct vtpm *v = launched(i == 0, i == 1);

		setup(NULL);
		held_launch_keep(v);
		vtpm_free(v);
		row_missing = i == 2;
		held_launches_revive(&mgr);
		assert_null(mgr.vtpms);
		assert_int_equal(forgotten, 1);
	}
}

static void damage_is_no_launch(void **state)
{
	static const size_t at[] = { 0, 1, 14, 45 }; /* format, flags, digest */

	(void)state;
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		struct vtpm *v = launched(false, true);

		setup(NULL);
		held_launch_keep(v);
		vtpm_free(v);
		kept.blob[at[i]] ^= 0x80;
		v = vtpm_new(&mgr);
		v->row.uuid[0] = 7;
		held_launch_recall(v);
		assert_null(v->launch);
		assert_int_equal(forgotten, 1);
		vtpm_free(v);
	}
}

/* Nobody who has the descriptor can make another launch of it. */
static void the_log_is_sealed(void **state)
{
	struct vtpm *v = launched(false, false);

	(void)state;
	held_launch_keep(v);
	assert_int_equal(pwrite(kept.fds[0], "x", 1, 0), -1);
	assert_int_equal(ftruncate(kept.fds[0], 0), -1);
	vtpm_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_running_one_is_as_it_was, setup),
		cmocka_unit_test_setup(one_that_waits_is_there_again, setup),
		cmocka_unit_test_setup(others_are_forgotten, setup),
		cmocka_unit_test_setup(damage_is_no_launch, setup),
		cmocka_unit_test_setup(the_log_is_sealed, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
