/* SPDX-License-Identifier: BSD-2-Clause */
/* Real backends and a guest that sends nonsense, cancels, or makes one crash; and what /proc shows of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "hv/page.h"
#include "tests/unit/backend_guest.h"
#include "vtpm-backend/tpm.h"

static void test_hostile_ring(void **state)
{
	static const uint8_t random_cmd[] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8 };
	const uint64_t one = 1;
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	rig_submit(&b, random_cmd, sizeof(random_cmd), 1);
	assert_int_equal(rig_receive(&b, rsp), 10);
	assert_memory_equal(rsp + 6, "\0\0\x09\x07", 4);
	page_set_length(b.page, 0xffffffff);
	page_set_state(b.page, CHAN_STATE_SUBMIT);
	assert_int_equal(write(b.ring.to_back, &one, sizeof(one)), sizeof(one));
	assert_int_equal(rig_receive(&b, rsp), 10);
	assert_memory_equal(rsp + 6, "\0\0\x01\x42", 4);
	/* A TPM 1.2 command, as Linux sends while probing. */
	rig_submit(&b, "\x00\xc1\x00\x00\x00\x0a\x00\x00\x00\x46", 10, 0);
	assert_int_equal(rig_receive(&b, rsp), 10);
	rig_submit(&b, random_cmd, sizeof(random_cmd), 0);
	assert_true(rig_receive(&b, rsp) > 10);
	guest_power_off(&b);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void test_cancel(void **state)
{
	enum { ROUNDS = 15 };
	uint64_t took[ROUNDS], begun;
	unsigned cancelled = 0;
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	for (unsigned i = 0; i < ROUNDS; i++) {
		guest_build_rsa(&cmd);
		begun = now_us();
		rig_submit(&b, cmd.data, cmd.len, 0);
		while (now_us() - begun < 3000) /* let it begin */
			usleep(500);
		if (!page_swap_state(b.page, CHAN_STATE_SUBMIT, CHAN_STATE_CANCEL))
			assert_int_equal(page_get_state(b.page), CHAN_STATE_FINISH);
		rsp_len = rig_receive(&b, rsp);
		took[i] = now_us() - begun;
		if (rsp_len == 10) {
			assert_memory_equal(rsp + 6, "\0\0\x09\x09", 4);
			cancelled++;
		} else {
			struct tpmrsp r;

			assert_int_equal(tpmrsp_parse(&r, rsp, rsp_len, true, 1), 0);
			assert_int_equal(tpmcmd_flush_context(&cmd, r.handle), 0);
			assert_int_equal(guest_run(&b), 0);
		}
	}
	qsort(took, ROUNDS, sizeof(took[0]), compare);
	print_message("RSA-2048 cancelled: %u of %u, median %llu us\n", cancelled, ROUNDS,
		      (unsigned long long)took[ROUNDS / 2]);
	assert_true(cancelled > ROUNDS / 2);
	/* A stop cancels too, and is answered in order. */
	guest_build_rsa(&cmd);
	rig_submit(&b, cmd.data, cmd.len, 0);
	guest_power_off(&b);
}

/* Deterministic, so that a failure can be repeated. */
static uint32_t next_random(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void build_noise(struct buf *c, unsigned i)
{
	const size_t body = next_random() % 120;

	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, i % 2 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS) |
			 buf_put_u32be(c, (uint32_t)(10 + body)) | buf_put_u32be(c, 0x11f + next_random() % 0x80), 0);
	for (size_t n = 0; n < body; n++)
		assert_int_equal(buf_put_u8(c, (uint8_t)(next_random() % 3 ? 0 : next_random())), 0);
}

static void build_mutant(struct buf *c)
{
	switch (next_random() % 4) {
	case 0: guest_build_define(c, SLOT(next_random() % 8), 8); break;
	case 1: guest_build_write(c, SLOT(next_random() % 8), "pin", "abcd"); break;
	case 2: guest_build_capability(c, next_random() % 8, 0, 64); break;
	default: assert_int_equal(tpmcmd_get_random(c, (uint16_t)next_random()), 0); break;
	}
	c->data[6 + next_random() % (c->len - 6)] ^= (uint8_t)(1u << next_random() % 8);
}

static void test_random_commands(void **state)
{
	static struct rig_disk copy;
	struct rig_backend b;

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	rig_spawn(&rig, &b, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&b);
	for (unsigned i = 0; i < 20000; i++) {
		if (next_random() % 2)
			build_noise(&cmd, i);
		else
			build_mutant(&cmd);
		(void)guest_run(&b);
	}
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
}

static void read_proc(pid_t pid, const char *file, char *out, size_t cap)
{
	char path[64];
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(out, 1, cap - 1, f);
	out[n] = '\0';
	fclose(f);
}

static unsigned count_fds(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* What /proc shows of a serving backend. Only root may look: it is not dumpable. */
static void test_process(void **state)
{
	char text[4096], want[64];
	struct rig_backend b;
	pid_t pid;

	guest_power_on(&b);
	pid = rig_newest_child(&rig);
	read_proc(pid, "comm", text, sizeof(text));
	assert_string_equal(text, *(const bool *)*state ? "vtpm-backend\n" : "vtpm-spawn\n");
	read_proc(pid, "status", text, sizeof(text));
	assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
	assert_non_null(strstr(text, "Seccomp:\t2\n"));
	assert_non_null(strstr(text, "Threads:\t2\n"));
	if (geteuid() == 0) {
		const unsigned id = 1879048192u + 1u + (unsigned)(b.token % 1000);

		(void)snprintf(want, sizeof(want), "Uid:\t%u\t%u\t%u\t%u\n", id, id, id, id);
		assert_non_null(strstr(text, want));
		assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
		/* 0 to 2, control, store, the ring's two, two between the threads */
		assert_int_equal(count_fds(pid), 9);
	}
	guest_power_off(&b);
}

/* After a crash the spawner executes itself again; children, link and manager socket go on. */
static void test_crash_renews_the_spawner(void **state)
{
	static struct rig_disk copy;
	struct rig_backend survivor, victim, next;

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	guest_power_on(&survivor);
	rig_spawn(&rig, &victim, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&victim);
	rig_kill_newest(&rig, SIGABRT);
	assert_int_equal(rig_exited(&victim) & 0x7f, SIGABRT);
	rig_forget(&victim);
	rig_spawn(&rig, &next, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&next);
	assert_int_equal(tpmcmd_get_random(&cmd, 32), 0);
	assert_int_equal(guest_run(&next), 0);
	assert_int_equal(rig_stop(&next), 0);
	rig_forget(&next);
	assert_int_equal(guest_run(&survivor), 0);
	guest_power_off(&survivor);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_ring),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_random_commands),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_crash_renews_the_spawner),
	};

	return guest_test_main(argc, argv, tests, ARRAY_LEN(tests));
}
