/* SPDX-License-Identifier: BSD-2-Clause */
/* Which checkpoint counts, after every cut and for whoever puts an old one back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vtpm-backend/checkpoint.h"

#define PAGE 4096u
#define SLOT_LEN (SEALED_STATE_MAX + PAGE)
#define LOG (2 * PAGE + 3 * SLOT_LEN)

struct fixture {
	int fd;
	struct checkpoint_area a;
	struct sealer s;
	uint8_t key[KEY_LEN], uuid[UUID_LEN];
	size_t len;
	uint8_t *copy; /* of the whole area */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct stat st;

	assert_int_equal(checkpoint_area_make(&f->fd), 0);
	assert_int_equal(checkpoint_area_map(&f->a, f->fd), 0);
	assert_int_equal(random_bytes(f->key, sizeof(f->key)) | uuid_random(f->uuid), 0);
	assert_int_equal(sealer_init(&f->s, f->key) | checkpoint_begin(&f->a), 0);
	assert_int_equal(fstat(f->fd, &st), 0);
	f->len = (size_t)st.st_size;
	f->copy = malloc(f->len);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	checkpoint_area_unmap(&f->a);
	sealer_wipe(&f->s);
	close(f->fd);
	free(f->copy);
	free(f);
	return 0;
}

/* Command seq, resting on version base; its volatile state says which. */
static void put(struct fixture *f, uint64_t seq, uint64_t base, bool pending)
{
	uint8_t text[8];
	struct checkpoint c = { .seq = seq, .base = base, .flags = CHECKPOINT_SHUTDOWN,
				.response = { (const uint8_t *)"0123456789", 10 }, .volatile_state = { text, sizeof(text) } };

	memcpy(text, &seq, sizeof(text));
	assert_int_equal(checkpoint_write(&f->a, &f->s, f->uuid, &c, pending), 0);
}

/* The number of the command that the next backend goes on from; 0: none counts. */
static uint64_t found(struct fixture *f, uint64_t stored)
{
	struct checkpoint_area heir;
	struct checkpoint c;
	uint64_t seq = 0;
	uint8_t *mem;
	size_t len;
	int err;

	assert_int_equal(checkpoint_area_map(&heir, f->fd), 0);
	err = checkpoint_open(&heir, f->key, f->uuid, stored, &c, &mem, &len);
	assert_true(err == 0 || err == ERR_AUTH || err == ERR_NOTFOUND);
	if (err == 0) {
		assert_int_equal(c.response.len, 10);
		assert_int_equal(c.base, stored);
		assert_int_equal(c.flags, CHECKPOINT_SHUTDOWN);
		memcpy(&seq, c.volatile_state.data, sizeof(seq));
		assert_int_equal(seq, c.seq);
	}
	checkpoint_free(mem, len);
	checkpoint_area_unmap(&heir);
	return seq;
}

static void test_the_newest_counts(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(found(f, 7), 0);
	for (uint64_t n = 1; n < 12; n++) {
		put(f, n, 7, false);
		assert_int_equal(found(f, 7), n);
		assert_int_equal(found(f, 6), 0);
		assert_int_equal(found(f, 8), 0);
	}
	checkpoint_drop(&f->a);
	assert_int_equal(found(f, 7), 0);
	checkpoint_settle(&f->a);
	assert_int_equal(found(f, 7), 0);
	put(f, 13, 8, true); /* nothing before it counts: something was not written down */
	assert_int_equal(found(f, 7), 0);
	assert_int_equal(found(f, 8), 13);
}

static void test_with_a_commit(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 7, false);
	put(f, 2, 8, true);
	assert_int_equal(found(f, 7), 1); /* it is not durable */
	assert_int_equal(found(f, 8), 2); /* it is */
	checkpoint_settle(&f->a);
	assert_int_equal(found(f, 7), 0);
	assert_int_equal(found(f, 8), 2);
	put(f, 3, 9, true);
	put(f, 3, 8, false); /* the store did not take it */
	assert_int_equal(found(f, 8), 3);
	assert_int_equal(found(f, 9), 0);
}

/* While one is being written its slot holds anything. */
static void test_cut_while_writing(void **state)
{
	struct fixture *f = *state;

	for (uint64_t n = 1; n < 8; n++) {
		put(f, n, 7, false);
		memcpy(f->copy, f->a.map, f->len);
		put(f, n + 1, 7, false);
		memcpy(f->a.map, f->copy, PAGE); /* the words of before, and the slot of after */
		assert_int_equal(found(f, 7), n);
		f->a.number = n;
	}
}

static void test_old_ones_are_refused(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 7, false);
	memcpy(f->copy, f->a.map, f->len);
	put(f, 2, 7, false);
	put(f, 3, 7, false);
	put(f, 4, 7, false);
	/* All slots as they were, under the number of now. */
	memcpy(f->a.map + PAGE, f->copy + PAGE, f->len - PAGE);
	assert_int_equal(found(f, 7), 0);
	/* All of it, of a time before the last power-on. */
	assert_int_equal(checkpoint_begin(&f->a), 0);
	put(f, 1, 7, false);
	memcpy(f->a.map + PAGE, f->copy + PAGE, f->len - PAGE);
	assert_int_equal(found(f, 7), 0);
}

static void test_damage(void **state)
{
	struct fixture *f = *state;
	uint8_t other[UUID_LEN];
	size_t slot;

	put(f, 1, 7, false);
	slot = 2 * PAGE + SLOT_LEN;
	for (size_t i = 0; i < 4 + STATE_OVERHEAD + 52 + 10 + 8; i++) {
		f->a.map[slot + i] ^= 1;
		assert_int_equal(found(f, 7), 0);
		f->a.map[slot + i] ^= 1;
	}
	assert_int_equal(found(f, 7), 1);
	memcpy(other, f->uuid, sizeof(other));
	f->uuid[0] ^= 1;
	assert_int_equal(found(f, 7), 0);
	memcpy(f->uuid, other, sizeof(other));
	f->key[0] ^= 1;
	assert_int_equal(found(f, 7), 0);
}

static int redo(struct fixture *f, uint64_t seq)
{
	const struct checkpoint_redo r = { .seq = seq, .locality = 3, .command = { (const uint8_t *)"command", 7 } };

	return checkpoint_redo_write(&f->a, &f->s, f->uuid, &r);
}

/* The number of the last command that is done again; 0: nothing counts. */
static uint64_t redone(struct fixture *f, uint64_t stored)
{
	struct checkpoint_area heir;
	struct checkpoint_redo r;
	struct checkpoint c;
	uint64_t seq = 0;
	uint8_t *mem;
	size_t len;
	int err;

	assert_int_equal(checkpoint_area_map(&heir, f->fd), 0);
	err = checkpoint_open(&heir, f->key, f->uuid, stored, &c, &mem, &len);
	if (err == 0)
		seq = c.seq;
	while (err == 0 && (err = checkpoint_redo_next(&c, &r)) == 0) {
		assert_int_equal(r.seq, ++seq); /* each once, in order */
		assert_int_equal(r.locality, 3);
		assert_int_equal(r.command.len, 7);
		assert_memory_equal(r.command.data, "command", 7);
	}
	assert_true(err == ERR_NOTFOUND || err == ERR_AUTH);
	checkpoint_free(mem, len);
	checkpoint_area_unmap(&heir);
	return err == ERR_NOTFOUND ? seq : 0;
}

static void test_redo(void **state)
{
	struct fixture *f = *state;
	uint64_t seq = 1;

	assert_int_equal(redo(f, 1), ERR_FULL); /* there is nothing to put it on */
	put(f, 1, 7, false);
	while (redo(f, seq + 1) == 0) {
		seq++;
		if (seq % 16 == 0)
			assert_int_equal(redone(f, 7), seq);
	}
	assert_true(seq > 64);
	assert_int_equal(redone(f, 7), seq);
	put(f, seq + 1, 8, true);
	assert_int_equal(redone(f, 7), seq); /* not durable: the one before, with all that was on it */
	assert_int_equal(redone(f, 8), seq + 1);
	assert_int_equal(redo(f, seq + 2), ERR_FULL); /* while that is open there is none */
	checkpoint_settle(&f->a);
	assert_int_equal(redo(f, seq + 2), 0);
	assert_int_equal(redone(f, 8), seq + 2);
	assert_int_equal(redone(f, 7), 0);
}

static void test_old_records_are_refused(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 7, false);
	assert_int_equal(redo(f, 2) | redo(f, 3), 0);
	memcpy(f->copy, f->a.map, f->len);
	put(f, 4, 7, false);
	assert_int_equal(redo(f, 5) | redo(f, 6), 0);
	assert_int_equal(redone(f, 7), 6);
	memcpy(f->a.map + LOG, f->copy + LOG, f->len - LOG); /* those of the checkpoint before */
	assert_int_equal(redone(f, 7), 0);
	for (size_t i = 0; i < 4 + STATE_OVERHEAD + 30; i++) {
		memcpy(f->a.map, f->copy, f->len);
		assert_int_equal(redone(f, 7), 3);
		f->a.map[LOG + i] ^= 1;
		assert_int_equal(redone(f, 7), 0);
	}
}

static void test_answers(void **state)
{
	struct fixture *f = *state;
	uint8_t rsp[CHAN_PACKET_MAX], big[CHAN_PACKET_MAX];
	size_t len;

	assert_int_equal(checkpoint_answered(&f->a, rsp, &len), 0);
	assert_int_equal(len, 0);
	memset(big, 0x33, sizeof(big));
	checkpoint_answer(&f->a, 0x123456789aull, big, sizeof(big));
	assert_true(checkpoint_answered(&f->a, rsp, &len) == 0x123456789aull);
	assert_int_equal(len, sizeof(big));
	assert_memory_equal(rsp, big, sizeof(big));
}

static void test_no_area(void **state)
{
	struct checkpoint_area none = { 0 }, a;
	int fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(checkpoint_area_map(&a, fd), ERR_PROTO);
	close(fd);
	assert_int_equal(checkpoint_begin(&none), 0);
	checkpoint_settle(&none);
	checkpoint_answer(&none, 1, (const uint8_t *)"0123456789", 10);
	checkpoint_attempts_set(&none, 5);
	assert_int_equal(checkpoint_attempts(&none), 0);
}

/* Kilobytes of this process that are locked. */
static unsigned long locked(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long kb = 0;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "VmLck:", 6) == 0)
			kb = strtoul(line + 6, NULL, 10);
	fclose(f);
	return kb;
}

/* What says which one counts, and the response in clear, are not swapped out. */
static void test_what_is_in_clear_is_locked(void **state)
{
	const unsigned long before = locked();
	struct checkpoint_area a;
	int fd;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* its mlock(2) does nothing */
#endif
	assert_int_equal(checkpoint_area_make(&fd) | checkpoint_area_map(&a, fd), 0);
	assert_int_equal(locked() - before, 2 * PAGE / 1024);
	checkpoint_area_unmap(&a);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_newest_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_with_a_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_while_writing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_ones_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_records_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test(test_no_area),
		cmocka_unit_test(test_what_is_in_clear_is_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
