/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linked into a manager under test with --wrap: each protocol step is a line of its log. tests/model/trace.sh
 * demands that the model takes the same steps.
 *
 *	trace writing N KIND RESET ROW BEFORE A V	a row, before its transaction: hashes of it and of the one before it, values it names
 *	trace written N					it is on the disk
 *	trace acked N					step 4
 *	trace recovered OUTCOME RESET			what the table says; RESET: resetCount
 *	trace opened DISCONTINUITIES			the most that any leaf has
 *	trace lost					the keeper or the TPM
 *
 * POWERCUT_COPIES and POWERCUT_STATE name two directories: the first gets a copy of the second's store after each commit: N.vtpm.db and N.vtpm.db-wal.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

#define SHOWN 16u /* bytes of a digest */

/* The names are the linker's (ld(1), --wrap). */
int __real_store_commit(struct store *s, struct store_change *changes, size_t n, const struct store_tail *tail);
int __wrap_store_commit(struct store *s, struct store_change *changes, size_t n, const struct store_tail *tail);
enum recovery_outcome __real_recovery_decide(const struct recovery_facts *f);
enum recovery_outcome __wrap_recovery_decide(const struct recovery_facts *f);
void __real_recovery_opened(struct mgr *m, int code, const char *text);
void __wrap_recovery_opened(struct mgr *m, int code, const char *text);
void __real_wear_dirty(struct mgr *m);
void __wrap_wear_dirty(struct mgr *m);
void __real_wear_clean(struct mgr *m);
void __wrap_wear_clean(struct mgr *m);
void __real_continuity_lost(struct mgr *m, int code, const char *text);
void __wrap_continuity_lost(struct mgr *m, int code, const char *text);

static const char *hex(const uint8_t *p, char out[static 2 * SHOWN + 1])
{
	for (size_t i = 0; i < SHOWN; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
	return out;
}

static void say_row(const struct store_row *stored)
{
	char row[2 * SHOWN + 1], before[2 * SHOWN + 1], a[2 * SHOWN + 1], v[2 * SHOWN + 1];
	uint8_t hash[DIGEST_LEN];
	struct journal_row r;
	struct buf b;

	buf_wrap(&b, stored->row, sizeof(stored->row));
	if (journal_row_decode(&b, &r) || leaf_hash(stored->row, sizeof(stored->row), hash))
		return;
	log_info("trace writing %llu %u %u %s %s %s %s", (unsigned long long)r.n, r.kind, r.reset_count,
		hex(hash, row), hex(r.prev, before), hex(r.a_prev, a), hex(r.v_prev, v));
}

static void copy(const char *from, const char *to)
{
	static uint8_t block[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n;

	while ((n = read(in, block, sizeof(block))) > 0)
		if (write(out, block, (size_t)n) != n)
			break;
	if (in < 0 || out < 0 || n != 0)
		log_error("%s is not copied", from);
	close(in);
	close(out);
}

/* SQLite keeps its lock by other means than a descriptor of its own; nobody else wants the store meanwhile. */
static void copy_store(uint64_t row)
{
	const char *dir = getenv("POWERCUT_COPIES"), *state = getenv("POWERCUT_STATE");
	static const char *const names[] = { "vtpm.db", "vtpm.db-wal" };

	for (size_t i = 0; dir && state && i < ARRAY_LEN(names); i++) {
		char from[512], to[512];

		snprintf(from, sizeof(from), "%s/%s", state, names[i]);
		snprintf(to, sizeof(to), "%s/%llu.%s", dir, (unsigned long long)row, names[i]);
		copy(from, to);
	}
}

int __wrap_store_commit(struct store *s, struct store_change *changes, size_t n, const struct store_tail *tail)
{
	int err;

	say_row(tail->row);
	err = __real_store_commit(s, changes, n, tail);
	if (!err)
		copy_store(tail->row->n);
	if (!err)
		log_info("trace written %llu", (unsigned long long)tail->row->n);
	return err;
}

enum recovery_outcome __wrap_recovery_decide(const struct recovery_facts *f)
{
	enum recovery_outcome o = __real_recovery_decide(f);

	log_info("trace recovered %d %u", (int)o, f->reset_count);
	return o;
}

void __wrap_recovery_opened(struct mgr *m, int code, const char *text)
{
	const struct leaves *leaves = &m->continuity.leaves;
	uint64_t most = 0;

	for (size_t i = 0; i < leaves->n; i++)
		if (leaves->v[i].l.discontinuities > most)
			most = leaves->v[i].l.discontinuities;
	if (!code)
		log_info("trace opened %llu", (unsigned long long)most);
	__real_recovery_opened(m, code, text);
}

void __wrap_wear_dirty(struct mgr *m)
{
	log_info("trace acked %llu", (unsigned long long)m->continuity.last);
	__real_wear_dirty(m);
}

void __wrap_wear_clean(struct mgr *m)
{
	log_info("trace acked %llu", (unsigned long long)m->continuity.last);
	__real_wear_clean(m);
}

void __wrap_continuity_lost(struct mgr *m, int code, const char *text)
{
	log_info("trace lost");
	__real_continuity_lost(m, code, text);
}
