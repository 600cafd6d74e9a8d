/* SPDX-License-Identifier: BSD-2-Clause */
/* Backends that are killed, at each step and at random, and those that take their place. */
#include "tests/unit/resume_guest.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hv/page.h"
#include "tests/tools/mortal.h"
#include "vtpm-backend/checkpoint.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-mgr/proto/hold.h"

#define RANDOM_COMMANDS 3000u

static struct record record;

static uint32_t order(struct rig_backend *b, uint32_t code, uint32_t step)
{
	buf_reset(&cmd);
	assert_int_equal(buf_put_u16be(&cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&cmd, 14) | buf_put_u32be(&cmd, code) |
			 buf_put_u32be(&cmd, step), 0);
	return rig_command(b, cmd.data, cmd.len, rsp, &rsp_len);
}

static void submit(struct rig_backend *b)
{
	uint64_t n;

	(void)!read(b->ring.to_front, &n, sizeof(n));
	page_set_u8(b->page, MORTAL_MARK, 0);
	rig_submit(b, cmd.data, cmd.len, 0);
}

/* Until the backend has come to the step (true), or has answered; after MORTAL_SIGNALLED that says nothing. */
static bool wait_for_step(struct rig_backend *b, enum mortal_step step)
{
	struct pollfd p[2] = { { .fd = b->ring.to_front, .events = POLLIN }, { .fd = b->store, .events = POLLIN } };

	for (;;) {
		if (page_get_u8(b->page, MORTAL_MARK) != 0)
			return true;
		if (poll(p, 2, 1) < 0)
			fail();
		if (page_get_u8(b->page, MORTAL_MARK) != 0)
			return true;
		if (p[1].revents != 0)
			assert_true(rig_serve_store(b));
		if (p[0].revents != 0 && step != MORTAL_SIGNALLED)
			return page_get_u8(b->page, MORTAL_MARK) != 0;
	}
}

/* lose: what the backend has sent to the store, and nobody has read, does not arrive there. */
static void kill_backend(struct rig_backend *b, int sig, bool lose)
{
	rig_kill_newest(&rig, sig);
	if (lose)
		fd_close(&b->store);
	assert_int_equal(rig_exited(b) & 0x7f, (unsigned)sig);
	page_set_u8(b->page, MORTAL_MARK, 0);
}

/* One command that is killed at that step; false: it does not come to it. */
static bool kill_at(struct rig_backend *b, enum work w, enum mortal_step step, bool lose)
{
	bool reached;

	assert_int_equal(order(b, MORTAL_COMMAND, step), 0);
	record_build(&record, w);
	submit(b);
	/* The store is not at work at the step before it would be: what is lost is lost unread. */
	reached = wait_for_step(b, step);
	if (reached) {
		kill_backend(b, SIGKILL, lose);
		rig_resume(b, 0);
		rig_ready(b);
	}
	rsp_len = rig_receive(b, rsp);
	record_take(&record, w);
	assert_int_equal(order(b, MORTAL_COMMAND, MORTAL_NONE), 0);
	record_compare(&record, b);
	return reached;
}

/* Which kinds come to a step. */
static bool comes_to(enum work w, enum mortal_step step)
{
	bool reads = w == WORK_READ || w == WORK_RANDOM, durable = w == WORK_COUNT || w == WORK_BAD_PIN;
	bool repeated = w == WORK_EXTEND || w == WORK_SEQUENCE;

	switch (step) {
	case MORTAL_SEALING:
	case MORTAL_SEALED:
	case MORTAL_PUBLISHED:
		return !reads;
	case MORTAL_COMMIT_SENT:
	case MORTAL_COMMIT_DONE:
	case MORTAL_SETTLED:
		return durable;
	case MORTAL_RECORDED:
		return reads || repeated;
	default:
		return true;
	}
}

static void test_every_step(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	record_begin(&record, &b);
	for (enum mortal_step step = MORTAL_TAKEN; step < MORTAL_STEPS; step++)
		for (enum work w = WORK_EXTEND; w < WORK_KINDS; w++) {
			bool reached = kill_at(&b, w, step, false);

			if (reached != comes_to(w, step))
				fail_msg("work %u and step %u", w, step);
			if (step == MORTAL_COMMIT_SENT && reached)
				assert_true(kill_at(&b, w, step, true));
		}
	record_end(&record, &b);
	guest_power_off(&b);
}

/* A second one that is killed before it has delivered what the first left, and so on. */
static void test_heirs_are_killed_too(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	record_begin(&record, &b);
	for (enum work w = WORK_EXTEND; w < WORK_KINDS; w++) {
		assert_int_equal(order(&b, MORTAL_COMMAND, MORTAL_RESPONDING), 0);
		record_build(&record, w);
		submit(&b);
		assert_true(wait_for_step(&b, MORTAL_RESPONDING));
		kill_backend(&b, SIGKILL, false);
		for (unsigned i = 0; i < 3; i++) {
			rig_resume(&b, 0);
			rig_kill_newest(&rig, SIGKILL); /* somewhere on its way */
			(void)rig_ready_or_gone(&b);
			assert_int_equal(rig_exited(&b) & 0x7f, SIGKILL);
		}
		rig_resume(&b, 0);
		rig_ready(&b);
		rsp_len = rig_receive(&b, rsp);
		record_take(&record, w);
		record_compare(&record, &b);
	}
	record_end(&record, &b);
	guest_power_off(&b);
}

/* --- at random --- */

static struct killer killer;

/* Until one is ready. */
static void resume_until_ready(struct rig_backend *b)
{
	do {
		killer.pid = 0;
		rig_exited(b);
		rig_resume(b, 0);
	} while (!rig_ready_or_gone(b));
}

static void test_at_random(void **state)
{
	struct rig_backend b;
	unsigned killed = 0, seed = (unsigned)time(NULL);
	pthread_t thread;

	(void)state;
	print_message("seed %u\n", seed);
	killer = (struct killer){ .seed = seed, .wait_us = 3000 };
	guest_power_on(&b);
	record_begin(&record, &b);
	assert_int_equal(pthread_create(&thread, NULL, killer_main, &killer), 0);
	for (unsigned i = 0; i < RANDOM_COMMANDS; i++) {
		enum work w = (enum work)(rand_r(&seed) % WORK_BAD_PIN);

		if (record.data_len + RECORD_DIGEST > sizeof(record.data))
			w = WORK_EXTEND;
		record_build(&record, w);
		/* Its heir is left alone until the next command: one that two were killed over is not tried again. */
		if (killer.pid == 0)
			killer.pid = rig_newest_child(&rig);
		rig_submit(&b, cmd.data, cmd.len, 0);
		while ((rsp_len = rig_receive(&b, rsp)) == 0) {
			killed++;
			resume_until_ready(&b);
		}
		record_take(&record, w);
	}
	killer.over = true;
	pthread_join(thread, NULL);
	record_build(&record, WORK_READ);
	rig_submit(&b, cmd.data, cmd.len, 0);
	while ((rsp_len = rig_receive(&b, rsp)) == 0)
		resume_until_ready(&b);
	record_take(&record, WORK_READ);
	print_message("killed %u times\n", killed);
	assert_true(killed > 0);
	record_compare(&record, &b);
	record_end(&record, &b);
	guest_power_off(&b);
}

/* --- what is not tried again --- */

static void test_a_crash_is_not_repeated(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	record_begin(&record, &b);
	for (unsigned i = 0; i < 2; i++) {
		buf_reset(&cmd);
		assert_int_equal(buf_put_u16be(&cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&cmd, 14) |
				 buf_put_u32be(&cmd, MORTAL_CRASH) | buf_put_u32be(&cmd, 0), 0);
		submit(&b);
		assert_int_not_equal(rig_exited(&b) & 0x7f, SIGKILL);
		rig_resume(&b, i == 0 ? RUN_CRASHED : RUN_CRASHED | RUN_ADOPTED); /* its manager's end changes nothing of that */
		rig_ready(&b);
		rsp_len = rig_receive(&b, rsp);
		assert_int_equal(rsp_len, 10);
		assert_memory_equal(rsp + 6, "\0\0\1\1", 4); /* TPM_RC_FAILURE */
		record_compare(&record, &b);
	}
	/* One that crashed between two commands has not crashed in the next. */
	kill_backend(&b, SIGABRT, false);
	record_build(&record, WORK_EXTEND);
	rig_submit(&b, cmd.data, cmd.len, 0);
	rig_resume(&b, RUN_CRASHED);
	rig_ready(&b);
	rsp_len = rig_receive(&b, rsp);
	record_take(&record, WORK_EXTEND);
	record_compare(&record, &b);
	record_end(&record, &b);
	guest_power_off(&b);
}

/* SIGKILL says nothing of the command: it is tried once more, and no oftener. The end of a manager has nothing to do with it. */
static void test_two_tries(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	record_begin(&record, &b);
	buf_reset(&cmd);
	assert_int_equal(buf_put_u16be(&cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&cmd, 14) |
			 buf_put_u32be(&cmd, MORTAL_WAIT) | buf_put_u32be(&cmd, 0), 0);
	submit(&b);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(wait_for_step(&b, MORTAL_SIGNALLED));
		kill_backend(&b, SIGKILL, false);
		rig_resume(&b, RUN_ADOPTED);
		rig_ready(&b);
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_true(wait_for_step(&b, MORTAL_SIGNALLED)); /* the heir signals, too */
		kill_backend(&b, SIGKILL, false);
		rig_resume(&b, 0);
		rig_ready(&b);
	}
	rsp_len = rig_receive(&b, rsp);
	assert_memory_equal(rsp + 6, "\0\0\1\1", 4); /* TPM_RC_FAILURE */
	record_compare(&record, &b);
	record_end(&record, &b);
	guest_power_off(&b);
}

/* --- a store that takes nothing --- */

static void test_full_disk(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	record_begin(&record, &b);
	disk.fail = ERR_FULL;
	record_build(&record, WORK_BAD_PIN);
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	record.lockout++;
	record_build(&record, WORK_POLICY); /* carries no authorisation, and so goes on */
	assert_int_equal(guest_run(&b), 0);
	record_take(&record, WORK_POLICY);
	for (unsigned i = 0; i < 3; i++) {
		kill_backend(&b, SIGKILL, false);
		rig_resume(&b, 0);
		rig_ready(&b);
		record_build(&record, WORK_COUNT);
		assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE); /* still, whoever serves */
	}
	disk.fail = 0;
	record_compare(&record, &b); /* the try that could not be stored is there */
	record_end(&record, &b);
	guest_power_off(&b);
}

/* --- who lies --- */

static void refused_by(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint64_t replaces)
{
	rig_spawn_replacing(r, b, d, 0, replaces);
	assert_int_equal(rig_exited(b), SPAWN_NOTHING_LEFT);
}

static void refused(struct rig_backend *b, struct rig_disk *d, uint64_t replaces)
{
	refused_by(&rig, b, d, replaces);
}

static void test_hostile_manager(void **state)
{
	static struct rig_disk copy, old;
	struct rig_backend b, c, liar;
	uint64_t first;

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	guest_power_on(&b);
	record_begin(&record, &b);
	memcpy(&old, &disk, sizeof(old));
	record_build(&record, WORK_COUNT);
	assert_int_equal(guest_run(&b), 0);
	record_take(&record, WORK_COUNT);
	rig_spawn(&rig, &c, &copy, RUN_SERVE | RUN_STARTUP); /* another run of the same TPM */
	rig_ready(&c);
	first = c.area;
	liar = c;
	liar.control = liar.store = liar.key = -1;
	refused(&liar, &copy, b.area); /* of one that lives */
	refused(&liar, &copy, 0xdead);
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(&c) & 0x7f, SIGKILL);
	/* In the place of one whose TPM had another state, an older one here. */
	rig_spawn_replacing(&rig, &c, &old, 0, first);
	rig_give_key(&c);
	assert_int_equal(rig_failed(&c), ERR_NOTFOUND);
	assert_int_not_equal(rig_exited(&c), 0);
	/* It is still there for the right one. */
	rig_spawn_replacing(&rig, &c, &copy, 0, first);
	rig_give_key(&c);
	rig_ready(&c);
	refused(&liar, &copy, first); /* it was given away */
	fd_close(&liar.control);
	fd_close(&liar.store);
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(&c) & 0x7f, SIGKILL);
	rig_drop_area(&rig, first);
	refused(&c, &copy, first); /* it was thrown away */
	/* In nobody's place there is no checkpoint. */
	rig_spawn_replacing(&rig, &c, &disk, 0, 0);
	rig_give_key(&c);
	assert_int_equal(rig_failed(&c), ERR_NOTFOUND);
	assert_int_not_equal(rig_exited(&c), 0);
	rig_forget(&c);
	/* The store's state is not the one that the checkpoint rests on. */
	kill_backend(&b, SIGKILL, false);
	rig_spawn_replacing(&rig, &b, &old, 0, b.area);
	rig_give_key(&b);
	assert_int_equal(rig_failed(&b), ERR_NOTFOUND);
	assert_int_not_equal(rig_exited(&b), 0);
	rig_forget(&b);
	guest_power_on(&b);
	guest_undefine(&b, SLOT(40));
	guest_undefine(&b, SLOT(41));
	guest_power_off(&b);
}

/* So that as many descriptors as that are free for the spawner. */
static void leave_descriptors(struct rlimit *old, unsigned n)
{
	struct rlimit few;
	char path[64];

	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, NULL, old), 0);
	few = (struct rlimit){ 0, old->rlim_max };
	while (n > 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)rig.spawn, (unsigned)few.rlim_cur++);
		n -= access(path, F_OK) != 0 && errno == ENOENT;
	}
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, &few, NULL), 0);
}

/* What is left of one that was killed is there as long as another cannot be made, whatever that wants for. */
static void test_no_room_for_an_heir(void **state)
{
	struct rig_backend b;
	struct rlimit old;

	(void)state;
	guest_power_on(&b);
	record_begin(&record, &b);
	kill_backend(&b, SIGKILL, false);
	for (unsigned room = 4; room <= 5; room++) { /* less than it gets with the message, and for that alone */
		leave_descriptors(&old, room);
		rig_spawn_replacing(&rig, &b, &disk, 0, b.area);
		assert_int_equal(rig_exited(&b), SPAWN_NOT_BORN);
		assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, &old, NULL), 0);
	}
	rig_resume(&b, 0);
	rig_ready(&b);
	record_compare(&record, &b);
	record_end(&record, &b);
	guest_power_off(&b);
}

/* --- what a generation before has left --- */

static struct hold_item named(uint64_t name, uint8_t tag[static 8])
{
	struct buf b;

	buf_init(&b, tag, 8);
	assert_int_equal(buf_put_u64le(&b, name), 0);
	return (struct hold_item){ .tag = tag, .tag_len = 8 };
}

/* A channel on which vtpm-hold has said what it has: empty areas of those names. *theirs: the spawner's end. */
static int hold_with(const uint64_t *names, size_t n, int *theirs)
{
	uint8_t tag[8], mem[HOLD_ITEM_MAX];
	int sv[2], area;
	struct buf b;

	assert_int_equal(ipc_pair(sv), 0);
	*theirs = sv[1];
	for (size_t i = 0; i < n; i++) {
		const struct hold_item item = named(names[i], tag);

		assert_int_equal(checkpoint_area_make(&area), 0);
		buf_init(&b, mem, sizeof(mem));
		assert_int_equal(hold_item_encode(&b, &item) | ipc_send(sv[0], HOLD_ITEM, &b, &area, 1), 0);
		close(area);
	}
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(hold_end_encode(&b, 2) | ipc_send(sv[0], HOLD_END, &b, NULL, 0), 0);
	return sv[0];
}

static uint64_t dropped(int hold)
{
	uint8_t mem[HOLD_ITEM_MAX];
	struct hold_item item;
	struct ipc_msg m;
	uint64_t name;
	struct buf b;

	assert_int_equal(ipc_recv(hold, &m, mem, sizeof(mem), 0), 0);
	assert_int_equal(m.type, HOLD_DROP);
	assert_int_equal(hold_drop_decode(&m.body, &item), 0);
	buf_wrap(&b, item.tag, item.tag_len);
	assert_int_equal(buf_get_u64le(&b, &name), 0);
	return name;
}

static void claim(const struct rig *r, uint64_t area)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(spawn_token_encode(&b, area) | ipc_send(r->manager, SPAWN_CLAIM, &b, NULL, 0), 0);
}

/* What the manager names is there for it, once; nothing is kept for ever that nobody knows of. */
static void test_what_nobody_claims(void **state)
{
	static const uint64_t names[] = { 0x100000001, 0x100000002, 0x100000003 };
	struct rig heir = { .mortal = rig.mortal };
	const int hold = hold_with(names, ARRAY_LEN(names), &heir.hold);
	struct rig_backend b;

	(void)state;
	rig_open(&heir, false);
	close(heir.hold);
	claim(&heir, names[1]);
	claim(&heir, 77);
	claim(&heir, 0);
	assert_int_equal(dropped(hold) + dropped(hold), names[0] + names[2]);
	rig_spawn(&heir, &b, &disk, RUN_SERVE | RUN_STARTUP);
	assert_int_equal(rig_stop(&b), 0);
	assert_int_equal(ipc_recv(hold, &(struct ipc_msg){ 0 }, (uint8_t[HOLD_ITEM_MAX]){ 0 }, HOLD_ITEM_MAX, 0), 0); /* of that one */
	assert_int_equal(dropped(hold), b.area);
	refused_by(&heir, &b, &disk, names[0]);
	rig_spawn_replacing(&heir, &b, &disk, 0, names[1]);
	rig_give_key(&b);
	assert_int_equal(rig_failed(&b), ERR_NOTFOUND); /* it is empty, and his */
	assert_int_not_equal(rig_exited(&b), 0);
	rig_forget(&b);
	rig_close(&heir);
	close(hold);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),
		cmocka_unit_test(test_heirs_are_killed_too),
		cmocka_unit_test(test_at_random),
		cmocka_unit_test(test_a_crash_is_not_repeated),
		cmocka_unit_test(test_two_tries),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_hostile_manager),
		cmocka_unit_test(test_no_room_for_an_heir),
		cmocka_unit_test(test_what_nobody_claims),
	};

	rig.mortal = true;
	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
