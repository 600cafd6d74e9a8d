/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes that go over a socket while who sends or receives them is killed again and again: none is lost, none goes twice. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "vtpm-backend/transfer.h"

#define CAP    262144u
#define ROUNDS 12u

struct shared {
	struct transfer t;
	uint8_t mem[CAP];
};

static struct shared *shared;
static uint8_t pattern[CAP];
static int sv[2];
static unsigned seed, kills;

static int setup(void **state)
{
	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	assert_int_equal(mlock(&shared->t, sizeof(shared->t)), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	kills = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(sv[0]);
	close(sv[1]);
	return munmap(shared, sizeof(*shared));
}

static void fill(void)
{
	for (size_t i = 0; i < CAP; i++)
		pattern[i] = (uint8_t)rand_r(&seed);
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	(void)poll(&p, 1, 1000);
}

/* In a child: all of it, or killed. */
static void send_all(void)
{
	int err;

	while ((err = transfer_send(&shared->t, sv[1], shared->mem, CAP)) == ERR_AGAIN)
		wait_for(sv[1], POLLOUT);
	_exit(err == 0 ? 0 : 1);
}

static void receive_all(void)
{
	size_t want;
	int err = 0;

	while ((want = transfer_done(&shared->t, CAP)) < CAP && err == 0) {
		want += 1 + (size_t)rand_r(&seed) % 3000;
		err = transfer_receive(&shared->t, sv[1], shared->mem, want < CAP ? want : CAP);
		if (err == ERR_AGAIN) {
			wait_for(sv[1], POLLIN);
			err = 0;
		}
	}
	_exit(err == 0 ? 0 : 1);
}

/* Moves what the other end has, or wants, until nothing is to be had. */
static void serve_send(size_t *at)
{
	ssize_t n = send(sv[0], pattern + *at, CAP - *at < 5000 ? CAP - *at : 5000, MSG_DONTWAIT);

	*at += n > 0 ? (size_t)n : 0;
}

static void serve_receive(size_t *at)
{
	static uint8_t got[5000];
	ssize_t n = recv(sv[0], got, sizeof(got), MSG_DONTWAIT);

	if (n <= 0)
		return;
	assert_true(*at + (size_t)n <= CAP);
	assert_memory_equal(got, pattern + *at, (size_t)n);
	*at += (size_t)n;
}

/* A child at a time; most of them are killed. */
static void run(void (*child)(void), void (*serve)(size_t *at))
{
	size_t at = 0;
	int status;
	pid_t pid;

	do {
		long left = rand_r(&seed) % 60;

		seed++; /* the next child is another */
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			child();
		while (waitpid(pid, &status, WNOHANG) == 0) {
			serve(&at);
			if (left-- == 0) {
				kill(pid, SIGKILL);
				kills++;
			}
		}
	} while (WIFSIGNALED(status));
	assert_int_equal(status, 0);
	while (at < CAP)
		serve(&at);
}

static void test_sent_once(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= ROUNDS; i++) {
		fill();
		transfer_clear(&shared->t);
		memcpy(shared->mem, pattern, CAP);
		transfer_start(&shared->t, i, CAP);
		run(send_all, serve_receive);
		assert_int_equal(transfer_left(&shared->t, CAP), 0);
		assert_int_equal(recv(sv[0], pattern, 1, MSG_DONTWAIT), -1);
	}
	print_message("killed %u times\n", kills);
	assert_true(kills > ROUNDS);
}

static void test_received_once(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= ROUNDS; i++) {
		fill();
		transfer_clear(&shared->t);
		memset(shared->mem, 0, CAP);
		transfer_start(&shared->t, i, 0);
		run(receive_all, serve_send);
		assert_memory_equal(shared->mem, pattern, CAP);
	}
	print_message("killed %u times\n", kills);
	assert_true(kills > ROUNDS);
}

static void test_ends(void **state)
{
	struct transfer *t = &shared->t;

	(void)state;
	transfer_clear(t);
	transfer_start(t, 7, 0);
	assert_int_equal(transfer_what(t), 7);
	assert_int_equal(transfer_receive(t, sv[1], shared->mem, 10), ERR_AGAIN);
	assert_int_equal(send(sv[0], "abcdefgh", 8, 0), 8);
	assert_int_equal(transfer_receive(t, sv[1], shared->mem, 3), 0);
	assert_int_equal(transfer_done(t, CAP), 3);
	assert_int_equal(transfer_receive(t, sv[1], shared->mem, 3), 0); /* it has all that is wanted */
	assert_int_equal(transfer_receive(t, sv[1], shared->mem, 10), 0);
	assert_int_equal(transfer_done(t, CAP), 8);
	assert_memory_equal(shared->mem, "abcdefgh", 8);
	transfer_clear(t);
	assert_int_equal(transfer_what(t), 0);
	transfer_start(t, 8, 5);
	assert_int_equal(transfer_left(t, CAP), 5);
	transfer_give_up(t);
	assert_int_equal(transfer_left(t, CAP), 0);
	assert_int_equal(transfer_send(t, sv[1], shared->mem, CAP), 0);
	transfer_clear(t);
	transfer_start(t, 9, 5);
	close(sv[0]);
	assert_int_equal(transfer_send(t, sv[1], shared->mem, CAP), ERR_CLOSED);
	transfer_clear(t);
	transfer_start(t, 10, 0);
	assert_int_equal(transfer_receive(t, sv[1], shared->mem, 10), ERR_CLOSED);
	sv[0] = dup(sv[1]);
}

/* What a process that was taken over may have left there is bounded. */
static void test_hostile(void **state)
{
	struct transfer *t = &shared->t;

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t *p = (uint8_t *)t;

		for (size_t k = 0; k < sizeof(*t); k++)
			p[k] = (uint8_t)rand_r(&seed);
		assert_true(transfer_done(t, 100) <= 100);
		assert_true(transfer_left(t, 100) <= 100);
		(void)!transfer_send(t, sv[1], shared->mem, 100);
		(void)!transfer_receive(t, sv[1], shared->mem, 100);
		assert_true(transfer_done(t, 100) <= 100);
		while (recv(sv[0], pattern, CAP, MSG_DONTWAIT) > 0)
			;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sent_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_received_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
