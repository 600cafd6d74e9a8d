/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linked into a keeper under test with --wrap: what it does to the anchors is lines of its log, which is the manager's, too; and it
 * can end, or stand still, at one exact extend.
 *
 *	trace will A|V N VALUE	what extending it by row N leads to
 *	trace A|V N		it was read back, and is that
 *
 *	POWERCUT_PLAN		plan.h: ends before or after one of its extends
 *	POWERCUT_KEEPER_HANG	a word: instead it says "powercut WORD PID" and stands still, so that others die at the same instant
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "tests/powercut/plan.h"
#include "vtpm-mgr/keeper/anchor.h"

#define SHOWN 16u /* bytes of a value */

/* The names are the linker's (ld(1), --wrap). */
int __real_anchor_extend(struct anchor *an, const struct journal_row *row);
int __wrap_anchor_extend(struct anchor *an, const struct journal_row *row);
int __real_nv_extend(struct tpm *t, struct nv_index *x, const uint8_t data[static DIGEST_LEN]);
int __wrap_nv_extend(struct tpm *t, struct nv_index *x, const uint8_t data[static DIGEST_LEN]);
int __real_nv_read(struct tpm *t, struct nv_index *x, uint8_t value[static DIGEST_LEN]);
int __wrap_nv_read(struct tpm *t, struct nv_index *x, uint8_t value[static DIGEST_LEN]);
int __real_nv_extended(const uint8_t value[static DIGEST_LEN], const uint8_t data[static DIGEST_LEN],
		       uint8_t out[static DIGEST_LEN]);
int __wrap_nv_extended(const uint8_t value[static DIGEST_LEN], const uint8_t data[static DIGEST_LEN],
		       uint8_t out[static DIGEST_LEN]);

/* The calls that are wrapped have no argument for them. */
static const struct anchor *anchors;
static const struct journal_row *extending;
static bool said_a, said_v;
static struct plan *plan;
static const char *hangs; /* NULL: it ends */

/* Before the sandbox. */
__attribute__((constructor)) static void arm(void)
{
	plan = plan_map();
	hangs = getenv("POWERCUT_KEEPER_HANG");
}

static void end_at(int64_t moment)
{
	const struct timespec a_while = {.tv_sec = 1};

	if (!plan || plan->keeper != moment)
		return;
	plan->keeper = 0;
	if (!hangs)
		_exit(137);
	log_info("powercut %s %d", hangs, (int)getpid());
	for (;;)
		nanosleep(&a_while, NULL);
}

int __wrap_nv_extend(struct tpm *t, struct nv_index *x, const uint8_t data[static DIGEST_LEN])
{
	int r;

	end_at(2);
	r = __real_nv_extend(t, x, data);
	end_at(3);
	if (plan && plan->keeper > 3)
		plan->keeper -= 2;
	return r;
}

int __wrap_nv_extended(const uint8_t value[static DIGEST_LEN], const uint8_t data[static DIGEST_LEN],
		       uint8_t out[static DIGEST_LEN])
{
	int r = __real_nv_extended(value, data, out);
	char text[2 * SHOWN + 1];

	if (!extending || r)
		return r;
	for (size_t i = 0; i < SHOWN; i++)
		snprintf(text + 2 * i, 3, "%02x", out[i]);
	/* row_after: first A, unless the row is plain. */
	log_info("trace will %c %llu %s", !said_a && extending->kind != ROW_PLAIN ? 'A' : 'V',
		(unsigned long long)extending->n, text);
	said_a = true;
	return r;
}

static void say(char which, bool *said)
{
	if (!*said)
		log_info("trace %c %llu", which, (unsigned long long)extending->n);
	*said = true;
}

/* In an extend nothing is read that was not extended before. */
int __wrap_nv_read(struct tpm *t, struct nv_index *x, uint8_t value[static DIGEST_LEN])
{
	int r = __real_nv_read(t, x, value);

	if (extending && !r && x == &anchors->v && memcmp(value, extending->v_prev, DIGEST_LEN) != 0)
		say('V', &said_v);
	return r;
}

int __wrap_anchor_extend(struct anchor *an, const struct journal_row *row)
{
	bool a = row->kind != ROW_PLAIN;
	int r;

	anchors = an;
	extending = row;
	said_a = said_v = false;
	r = __real_anchor_extend(an, row);
	said_a = !a;
	if (!r) {
		say('V', &said_v);
		say('A', &said_a);
	}
	extending = NULL;
	return r;
}
