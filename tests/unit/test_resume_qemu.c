/* SPDX-License-Identifier: BSD-2-Clause */
/* Backends of QEMU's channels that are killed (tests/tools/mortal.h), and those that take their place. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/mortal.h"
#include "tests/unit/qemu_client.h"
#include "tests/unit/resume_guest.h"
#include "vtpm-backend/tpm.h"

#define ROUNDS	   3000u
#define ROUNDS_MAX 300000u /* if the killer does not get the processor */
#define KILLED_MIN 20u

static struct record record;
static unsigned seed, replaced;

/* --- in the place of one that has gone --- */

static struct killer killer = { .over = true };

static void replace(struct rig_backend *b)
{
	do {
		replaced++;
		killer.pid = 0;
		rig_exited(b);
		rig_resume(b, 0);
	} while (!rig_ready_or_gone(b));
}

/* One that will end at so many gaps from here on. */
static void end_at(struct rig_backend *b, uint32_t gaps)
{
	buf_reset(&cmd);
	assert_int_equal(buf_put_u16be(&cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&cmd, 14) | buf_put_u32be(&cmd, MORTAL_COMMAND) |
			 buf_put_u32be(&cmd, gaps), 0);
	assert_int_equal(guest_run(b), 0);
	replaced = 0;
}

/* Runs it again and again, each time with a backend that ends one gap later, until it does not come so far. */
static void end_everywhere(struct rig_backend *b, void (*scene)(struct rig_backend *b), const char *name)
{
	uint32_t gaps = 0;

	do {
		end_at(b, ++gaps);
		scene(b);
	} while (replaced > 0);
	end_at(b, 0); /* nowhere */
	print_message("%s: %u places\n", name, gaps - 1);
	assert_true(gaps > 5);
}

/* --- what a guest and its QEMU do --- */

static void work(struct rig_backend *b, enum work w)
{
	if (record.data_len + RECORD_DIGEST > sizeof(record.data) && w == WORK_SEQUENCE)
		return;
	record_build(&record, w);
	(void)rig_command(b, cmd.data, cmd.len, rsp, &rsp_len);
	record_take(&record, w);
}

static void scene_commands(struct rig_backend *b)
{
	for (enum work w = WORK_EXTEND; w < WORK_KINDS; w++)
		work(b, w);
	record_compare(&record, b);
}

/* _TPM_Hash_Start counts as a restart (Part 1, 36.7): once. */
static void count_restart(void)
{
	for (unsigned i = 7; record.clock != 0 && i >= 4; i--)
		if (++record.clock_info[i] != 0)
			return;
}

/* A hash that the hardware makes, by way of QEMU: PCR 17 is what one sequence makes it. */
static void hash(struct rig_backend *b)
{
	static const uint8_t data[] = { 0, 0, 0, CMD_HASH_DATA, 0, 0, 0, 3, 'a', 'b', 'c' };

	assert_int_equal(client_command(b, CMD_HASH_START), 0);
	assert_int_equal(client_raw(b, data, sizeof(data)), 0);
	assert_int_equal(client_raw(b, data, sizeof(data)), 0);
	assert_int_equal(client_command(b, CMD_HASH_END), 0);
	count_restart();
}

static void read_pcr17(struct rig_backend *b, uint8_t out[static 32])
{
	static const uint8_t read[] = { 0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0, 0, 2 };

	buf_reset(&cmd);
	assert_int_equal(buf_put_bytes(&cmd, read, sizeof(read)), 0);
	assert_int_equal(guest_run(b), 0);
	assert_int_equal(rsp_len, 62);
	memcpy(out, rsp + 30, 32);
}

static uint8_t want17[32];

static void scene_hash(struct rig_backend *b)
{
	uint8_t got[32];

	hash(b);
	read_pcr17(b, got);
	assert_memory_equal(got, want17, sizeof(got));
	assert_true(client_established(b));
	assert_int_equal(client_command_u8(b, CMD_SET_LOCALITY, 0), 0);
	assert_int_equal(client_command_u8(b, CMD_RESET_TPMESTABLISHED, 3), 0);
	assert_false(client_established(b));
	record_compare(&record, b);
}

static void ask(struct rig_backend *b)
{
	static const uint8_t info[20] = { 0, 0, 0, CMD_GET_INFO, 0, 0, 0, 0, 0, 0, 0, 1 };
	uint8_t words[12], text[QEMU_REPLY_MAX];
	uint32_t n;

	assert_int_equal(client_command(b, CMD_GET_CAPABILITY), 0);
	client_receive(b, words, 4);
	assert_memory_equal(words, "\0\1\x7f\xff", 4);
	assert_int_equal(client_command(b, CMD_CANCEL_TPM_CMD), 0);
	assert_int_equal(client_command(b, 0x7777), QEMU_BAD_ORDINAL);
	assert_int_equal(client_command(b, CMD_GET_CONFIG), 0);
	client_receive(b, words, 4);
	assert_int_equal(client_raw(b, info, sizeof(info)), 0);
	client_receive(b, words, 8);
	n = (uint32_t)words[6] << 8 | words[7];
	assert_in_range(n, 2, sizeof(text));
	client_receive(b, text, n);
	assert_int_equal(text[n - 1], 0);
	assert_int_equal(client_command_u32(b, CMD_LOCK_STORAGE, 0), 0);
}

/* A data channel is replaced; one that is in use is not. */
static void reconnect(struct rig_backend *b)
{
	assert_int_equal(client_set_datafd(b), QEMU_IOERROR);
	close(b->data);
	b->data = -1;
	assert_int_equal(client_set_datafd(b), 0);
}

static void scene_requests(struct rig_backend *b)
{
	ask(b);
	reconnect(b);
	work(b, WORK_EXTEND);
	record_compare(&record, b);
}

static void keep_record(struct rig_backend *b)
{
	client_power_on(b, &disk);
	record_begin(&record, b);
	hash(b);
	read_pcr17(b, want17);
}

static void drop_record(struct rig_backend *b)
{
	record_end(&record, b);
	assert_int_equal(client_hang_up(b), 0);
}

static void test_every_gap(void **state)
{
	struct rig_backend b;

	(void)state;
	keep_record(&b);
	rig.gone = replace;
	end_everywhere(&b, scene_commands, "commands");
	end_everywhere(&b, scene_requests, "requests");
	end_everywhere(&b, scene_hash, "hardware's hash");
	rig.gone = NULL;
	drop_record(&b);
}

/* --- a state that is saved and brought back --- */

static struct blob permanent, volatile_;

/* The TPM goes on from there, each time: what was saved is taken once, by whichever backend. */
static void scene_save(struct rig_backend *b)
{
	assert_int_equal(client_get_blob(b, BLOB_PERMANENT, &permanent), 0);
	assert_int_equal(client_get_blob(b, BLOB_VOLATILE, &volatile_), 0);
	assert_int_equal(client_command(b, CMD_STOP), 0);
	assert_int_equal(client_set_blob(b, BLOB_PERMANENT, permanent.data, permanent.len), 0);
	assert_int_equal(client_set_blob(b, BLOB_VOLATILE, volatile_.data, volatile_.len), 0);
	assert_int_equal(client_command_u32(b, CMD_INIT, QEMU_INIT_DELETE_VOLATILE), 0);
	record_compare(&record, b);
}

/* What is given away is anchored; if that was done, the next backend knows. */
static void scene_given(struct rig_backend *b)
{
	uint64_t version = disk.version;

	assert_int_equal(client_get_blob(b, BLOB_PERMANENT, &permanent), 0);
	assert_true(disk.version == version + 1 || (replaced > 0 && disk.version == version + 2));
	assert_true(disk.flags & COMMIT_ANCHOR);
	version = disk.version;
	assert_int_equal(client_get_blob(b, BLOB_VOLATILE, &volatile_), 0);
	assert_int_equal(client_get_blob(b, BLOB_PERMANENT, &permanent), 0);
	assert_int_equal(disk.version, version);
	work(b, WORK_EXTEND);
	assert_true(disk.version > version);
	assert_false(disk.flags & COMMIT_ANCHOR);
	record_compare(&record, b);
}

/* What was saved before something happened is refused, and the TPM is as it was. */
static void scene_refused(struct rig_backend *b)
{
	assert_int_equal(client_get_blob(b, BLOB_PERMANENT, &permanent), 0);
	assert_int_equal(client_get_blob(b, BLOB_VOLATILE, &volatile_), 0);
	work(b, WORK_EXTEND);
	assert_int_equal(client_command(b, CMD_STOP), 0);
	assert_int_equal(client_set_blob(b, BLOB_PERMANENT, permanent.data, permanent.len), 0);
	assert_int_equal(client_set_blob(b, BLOB_VOLATILE, volatile_.data, volatile_.len), 0);
	assert_int_equal(client_command_u32(b, CMD_INIT, QEMU_INIT_DELETE_VOLATILE), QEMU_FAIL);
	assert_int_equal(client_get_random(b), TPM_RC_FAILURE); /* STOP is in force */
	/* It is brought as it is. */
	assert_int_equal(client_command_u32(b, CMD_INIT, 0), 0);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(b), 0);
	assert_true(client_pcr16_is_zero(b));
}

/* A machine is reset: whatever dies, the TPM is reset in order, and the guest finds no failed authorisation. */
static void scene_reset(struct rig_backend *b)
{
	client_extend_pcr16(b);
	assert_int_equal(client_command(b, CMD_STOP), 0);
	assert_int_equal(client_buffer_size(b, 0xf00), 0xf00);
	assert_int_equal(client_command_u32(b, CMD_INIT, 0), 0);
	assert_int_equal(client_buffer_size(b, 0), 0xf00);
	assert_int_equal(client_get_random(b), TPM_RC_INITIALIZE);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(b), 0);
	assert_true(client_pcr16_is_zero(b));
	assert_int_equal(guest_lockout_counter(b), 0);
}

static void test_saved(void **state)
{
	struct rig_backend b;

	(void)state;
	keep_record(&b);
	rig.gone = replace;
	end_everywhere(&b, scene_save, "saved and brought back");
	end_everywhere(&b, scene_given, "given away");
	record_end(&record, &b);
	end_everywhere(&b, scene_refused, "refused");
	end_everywhere(&b, scene_reset, "reset");
	rig.gone = NULL;
	assert_int_equal(client_hang_up(&b), 0);
}

/* --- at random --- */

static void test_at_random(void **state)
{
	struct rig_backend b;
	pthread_t thread;

	(void)state;
	seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	keep_record(&b);
	replaced = 0;
	killer.seed = seed;
	killer.wait_us = 4000;
	killer.over = false;
	rig.gone = replace;
	assert_int_equal(pthread_create(&thread, NULL, killer_main, &killer), 0);
	for (unsigned i = 0; i < ROUNDS || (replaced < KILLED_MIN && i < ROUNDS_MAX); i++) {
		/* Its heir is left alone until the next round: a command that two were killed over is not tried again. */
		if (killer.pid == 0)
			killer.pid = rig_newest_child(&rig);
		work(&b, (enum work)(rand_r(&seed) % WORK_BAD_PIN));
		if (rand_r(&seed) % 4 == 0)
			ask(&b);
		if (rand_r(&seed) % 16 == 0)
			hash(&b);
		if (rand_r(&seed) % 16 == 0)
			reconnect(&b);
	}
	killer.over = true;
	pthread_join(thread, NULL);
	record_compare(&record, &b);
	rig.gone = NULL;
	print_message("killed %u times\n", replaced);
	assert_true(replaced >= KILLED_MIN);
	drop_record(&b);
}

/* --- what is not tried again --- */

static void test_a_crash_is_not_repeated(void **state)
{
	struct rig_backend b;

	(void)state;
	keep_record(&b);
	for (unsigned i = 0; i < 2; i++) {
		buf_reset(&cmd);
		assert_int_equal(buf_put_u16be(&cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&cmd, 14) |
				 buf_put_u32be(&cmd, MORTAL_CRASH) | buf_put_u32be(&cmd, 0), 0);
		rig_submit(&b, cmd.data, cmd.len, 0);
		assert_int_not_equal(rig_exited(&b) & 0x7f, SIGKILL);
		rig_resume(&b, RUN_CRASHED);
		rig_ready(&b);
		rsp_len = rig_receive(&b, rsp);
		assert_int_equal(rsp_len, 10);
		assert_memory_equal(rsp + 6, "\0\0\1\1", 4); /* TPM_RC_FAILURE */
		record_compare(&record, &b);
	}
	drop_record(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_gap),
		cmocka_unit_test(test_saved),
		cmocka_unit_test(test_at_random),
		cmocka_unit_test(test_a_crash_is_not_repeated),
	};

	rig.mortal = rig.heirs = true;
	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
