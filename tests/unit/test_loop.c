/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/loop.h"
#include "lib/util.h"

static struct loop loop;
static char trace[64]; /* one letter a call, in order */

static void note(char c)
{
	size_t n = strlen(trace);

	assert_true(n + 1 < sizeof(trace));
	trace[n] = c;
	trace[n + 1] = '\0';
}

static int setup(void **state)
{
	(void)state;
	memset(trace, 0, sizeof(trace));
	return loop_open(&loop);
}

static int teardown(void **state)
{
	(void)state;
	loop_close(&loop);
	assert_int_equal(loop.epfd, -1);
	return 0;
}

static int signalled(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void stop(void *arg)
{
	(void)arg;
	note('S');
	loop_stop(&loop);
}

struct pair {
	struct loop_io *mine, *other;
};

/* Whichever is first removes and frees the other, whose event is pending in the same round. */
static void remove_other(void *arg, uint32_t events)
{
	struct pair *p = arg;

	assert_true(events & EPOLLIN);
	note('r');
	loop_remove(&loop, p->other);
	loop_remove(&loop, p->mine);
	memset(p->other, 0xff, sizeof(*p->other)); /* touching it again would be a wild jump */
	p->other->fd = -1;
}

static void removal_of_a_pending_one_is_safe(void **state)
{
	struct loop_io a, b;
	struct pair pa = { &a, &b }, pb = { &b, &a };
	struct loop_timer t = { 0 };
	int fa = signalled(), fb = signalled();

	(void)state;
	assert_int_equal(loop_add(&loop, &a, fa, EPOLLIN, remove_other, &pa), 0);
	assert_int_equal(loop_add(&loop, &b, fb, EPOLLIN, remove_other, &pb), 0);
	loop_timer_set(&loop, &t, 5, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "rS");
	assert_int_equal(a.fd, -1);
	assert_int_equal(b.fd, -1);
	loop_remove(&loop, &a);
	close(fa);
	close(fb);
}

static void free_self(void *arg, uint32_t events)
{
	struct loop_io *io = arg;
	int fd = io->fd;

	(void)events;
	note('f');
	loop_remove(&loop, io);
	close(fd);
	free(io);
}

static void one_may_free_itself(void **state)
{
	struct loop_io *io = malloc(sizeof(*io));
	struct loop_timer t = { 0 };

	(void)state;
	assert_non_null(io);
	assert_int_equal(loop_add(&loop, io, signalled(), EPOLLIN, free_self, io), 0);
	loop_timer_set(&loop, &t, 2, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "fS");
}

static struct loop_timer t1, t2, t3, t4;

static void fire_letter(void *arg)
{
	note(*(const char *)arg);
}

static void timers_fire_in_order(void **state)
{
	uint64_t start = loop_now_ms();
	char letters[] = "1234";

	(void)state;
	loop_timer_set(&loop, &t3, 12, fire_letter, &letters[2]);
	loop_timer_set(&loop, &t1, 3, fire_letter, &letters[0]);
	loop_timer_set(&loop, &t2, 3, fire_letter, &letters[1]);
	loop_timer_set(&loop, &t4, 1, fire_letter, &letters[3]);
	loop_timer_cancel(&loop, &t4);
	loop_timer_cancel(&loop, &t4);
	assert_true(t4.due_ms == 0);
	loop_timer_set(&loop, &t4, 20, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "123S");
	assert_true(loop_now_ms() - start >= 20);
	assert_true(t1.due_ms == 0 && t2.due_ms == 0 && t3.due_ms == 0 && t4.due_ms == 0 && loop.timers == NULL);
}

static void rearming_moves_a_timer(void **state)
{
	char letters[] = "ab";

	(void)state;
	loop_timer_set(&loop, &t1, 1, fire_letter, &letters[0]);
	loop_timer_set(&loop, &t2, 3, fire_letter, &letters[1]);
	loop_timer_set(&loop, &t1, 6, fire_letter, &letters[0]);
	loop_timer_set(&loop, &t3, 10, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "baS");
}

static void a_far_timer_neither_wraps_nor_fires(void **state)
{
	char letters[] = "x";

	(void)state;
	loop_timer_set(&loop, &t1, UINT64_MAX, fire_letter, &letters[0]);
	loop_timer_set(&loop, &t2, UINT64_MAX - 1, fire_letter, &letters[0]);
	loop_timer_set(&loop, &t3, 1, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "S");
	loop_timer_cancel(&loop, &t1);
	loop_timer_cancel(&loop, &t2);
	assert_null(loop.timers);
}

static int rounds;

static void again(void *arg)
{
	(void)arg;
	if (rounds++ < 1000000)
		loop_timer_set(&loop, &t1, 0, again, NULL);
}

static void drain(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	note('d');
	loop_stop(&loop);
}

static void a_restless_timer_starves_nobody(void **state)
{
	struct loop_io io;
	int fd = signalled();

	(void)state;
	rounds = 0;
	assert_int_equal(loop_add(&loop, &io, fd, EPOLLIN, drain, NULL), 0);
	loop_timer_set(&loop, &t1, 0, again, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "d");
	assert_true(rounds < 1000);
	loop_timer_cancel(&loop, &t1);
	loop_remove(&loop, &io);
	close(fd);
}

static void cancel_second(void *arg)
{
	(void)arg;
	note('c');
	loop_timer_cancel(&loop, &t2);
}

static void a_due_timer_can_be_cancelled_by_another(void **state)
{
	char letters[] = "x";

	(void)state;
	loop_timer_set(&loop, &t1, 1, cancel_second, NULL);
	loop_timer_set(&loop, &t2, 1, fire_letter, &letters[0]);
	loop_timer_set(&loop, &t3, 4, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "cS");
}

static void letter_ready(void *arg, uint32_t events)
{
	struct loop_io *io = arg;

	(void)events;
	note('e');
	loop_remove(&loop, io);
}

static void after_round(void *arg)
{
	(void)arg;
	note('|');
	if (strlen(trace) >= 3)
		loop_stop(&loop);
}

static void after_comes_once_a_round(void **state)
{
	struct loop_io a, b;
	int fa = signalled(), fb = signalled();

	(void)state;
	assert_int_equal(loop_add(&loop, &a, fa, EPOLLIN, letter_ready, &a), 0);
	assert_int_equal(loop_add(&loop, &b, fb, EPOLLIN, letter_ready, &b), 0);
	loop_set_after(&loop, after_round, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "ee|");
	close(fa);
	close(fb);
}

static void modify_and_failures(void **state)
{
	struct loop_io io;
	struct loop_timer t = { 0 };
	int fd = signalled();

	(void)state;
	assert_int_not_equal(loop_add(&loop, &io, -1, EPOLLIN, drain, NULL), 0);
	assert_int_equal(io.fd, -1);
	loop_remove(&loop, &io);
	assert_int_equal(loop_add(&loop, &io, fd, EPOLLIN, drain, NULL), 0);
	assert_int_equal(loop_modify(&loop, &io, 0), 0);
	loop_timer_set(&loop, &t, 2, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "S");
	assert_int_equal(loop_modify(&loop, &io, EPOLLIN), 0);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "Sd");
	close(fd); /* before the removal: it must not matter */
	loop_remove(&loop, &io);
	assert_int_equal(io.fd, -1);
	assert_int_not_equal(loop_modify(&loop, &io, EPOLLIN), 0);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void signals_do_not_end_the_loop(void **state)
{
	static const struct itimerval soon = { { 0, 0 }, { 0, 2000 } };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct loop_timer t = { 0 };

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	loop_timer_set(&loop, &t, 10, stop, NULL);
	assert_int_equal(loop_run(&loop), 0);
	assert_string_equal(trace, "S");
}

static void a_stop_before_the_run_counts(void **state)
{
	(void)state;
	loop_stop(&loop);
	assert_int_equal(loop_run(&loop), 0);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(removal_of_a_pending_one_is_safe),
		LOOP_TEST(one_may_free_itself),
		LOOP_TEST(timers_fire_in_order),
		LOOP_TEST(rearming_moves_a_timer),
		LOOP_TEST(a_far_timer_neither_wraps_nor_fires),
		LOOP_TEST(a_restless_timer_starves_nobody),
		LOOP_TEST(a_due_timer_can_be_cancelled_by_another),
		LOOP_TEST(after_comes_once_a_round),
		LOOP_TEST(modify_and_failures),
		LOOP_TEST(signals_do_not_end_the_loop),
		LOOP_TEST(a_stop_before_the_run_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
