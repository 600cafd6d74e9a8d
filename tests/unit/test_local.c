/* SPDX-License-Identifier: BSD-2-Clause */
/* The local hypervisor: what a ring is made of, and what either side must not accept as one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "hv/local/local.h"
#include "hv/page.h"
#include "lib/util.h"

struct fixture {
	struct local_ring ring;
	int sv[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(local_ring_make(&f->ring), 0);
	assert_int_equal(ipc_pair(f->sv), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	local_ring_close(&f->ring);
	fd_close(&f->sv[0]);
	fd_close(&f->sv[1]);
	free(f);
	return 0;
}

static void makes_a_sealed_zeroed_page(void **state)
{
	struct fixture *f = *state;
	const int fds[] = {f->ring.memfd, f->ring.to_back, f->ring.to_front};
	uint8_t zeros[CHAN_PAGE_SIZE] = {0};
	void *page;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(f->ring.to_back, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(f->ring.to_front, F_GETFL) & O_NONBLOCK);
	assert_int_equal(local_ring_map(&f->ring, &page), 0);
	assert_memory_equal(page, zeros, sizeof(zeros));
	local_ring_unmap(page);
}

static void cannot_be_shrunk_grown_or_unsealed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ftruncate(f->ring.memfd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(f->ring.memfd, 4095), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(f->ring.memfd, 8192), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(f->ring.memfd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(errno, EPERM);
}

static void demand_refused(const struct local_ring *r)
{
	struct chan c;
	void *page;

	assert_int_equal(local_ring_map(r, &page), ERR_PROTO);
	assert_null(page);
	assert_int_equal(local_attach_back(&c, r), ERR_PROTO);
}

static int memfd_with(off_t size, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void demands_seals_and_size(void **state)
{
	static const struct {
		off_t size;
		int seals;
	} bad[] = {
		{CHAN_PAGE_SIZE, 0},
		{CHAN_PAGE_SIZE, F_SEAL_SHRINK | F_SEAL_GROW},
		{CHAN_PAGE_SIZE, F_SEAL_GROW | F_SEAL_SEAL},
		{CHAN_PAGE_SIZE, F_SEAL_SHRINK | F_SEAL_SEAL},
		{0, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL},
		{CHAN_PAGE_SIZE - 1, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL},
		{CHAN_PAGE_SIZE * 2, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct local_ring r = f->ring;

		r.memfd = memfd_with(bad[i].size, bad[i].seals);
		demand_refused(&r);
		close(r.memfd);
	}
}

static void demands_the_right_descriptors(void **state)
{
	struct fixture *f = *state;
	const int wrong[] = {
		-1,
		f->ring.memfd,
		f->sv[0],
		epoll_create1(EPOLL_CLOEXEC),
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
		open("/dev/null", O_RDWR | O_CLOEXEC),
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct local_ring r = f->ring;

		r.to_back = wrong[i];
		demand_refused(&r);
		r = f->ring;
		r.to_front = wrong[i];
		demand_refused(&r);
	}
	demand_refused(&(struct local_ring){f->ring.to_back, f->ring.to_back, f->ring.to_front});
	demand_refused(&(struct local_ring){wrong[5], f->ring.to_back, f->ring.to_front});
	for (size_t i = 3; i < ARRAY_LEN(wrong); i++)
		close(wrong[i]);
}

static void checking_leaves_no_signal(void **state)
{
	struct fixture *f = *state;
	uint64_t n;
	void *page;

	assert_int_equal(local_ring_map(&f->ring, &page), 0);
	assert_int_equal(read(f->ring.to_back, &n, sizeof(n)), -1);
	assert_int_equal(errno, EAGAIN);
	local_ring_unmap(page);
}

static void signals_pass_both_ways(void **state)
{
	struct fixture *f = *state;
	const uint64_t one = 1;
	uint64_t n;
	struct chan c;

	assert_int_equal(local_attach_back(&c, &f->ring), 0);
	assert_int_equal(c.port.wait_fd, f->ring.to_back);
	assert_int_equal(write(f->ring.to_back, &one, sizeof(one)), sizeof(one));
	assert_int_equal(c.port.ack(&c.port), 0);
	assert_int_equal(read(f->ring.to_back, &n, sizeof(n)), -1);
	assert_int_equal(c.port.notify(&c.port), 0);
	assert_int_equal(read(f->ring.to_front, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	local_ring_unmap((void *)(uintptr_t)c.page);
}

/* Both ends share the file description: the guest makes reads of an empty counter block, and fills the other. */
static void full_and_empty_counters_do_not_block(void **state)
{
	struct fixture *f = *state;
	const uint64_t full = UINT64_MAX - 1;
	struct chan c;

	assert_int_equal(local_attach_back(&c, &f->ring), 0);
	assert_int_equal(fcntl(f->ring.to_back, F_SETFL, 0), 0);
	assert_int_equal(c.port.ack(&c.port), 0);
	assert_int_equal(write(f->ring.to_front, &full, sizeof(full)), sizeof(full));
	assert_int_equal(c.port.notify(&c.port), 0);
	local_ring_unmap((void *)(uintptr_t)c.page);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* The guest makes writes block and fills the counter: whoever stops the back end can still interrupt it. */
static void a_blocked_signal_can_be_interrupted(void **state)
{
	const struct sigaction catch = {.sa_handler = on_alarm}; /* no SA_RESTART */
	const struct itimerval soon = {.it_value.tv_usec = 20000};
	const uint64_t full = UINT64_MAX - 1;
	struct fixture *f = *state;
	struct sigaction before;
	struct chan c;

	assert_int_equal(local_attach_back(&c, &f->ring), 0);
	assert_int_equal(sigaction(SIGALRM, &catch, &before), 0);
	assert_int_equal(write(f->ring.to_front, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(f->ring.to_front, F_SETFL, 0), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	assert_int_equal(c.port.notify(&c.port), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	local_ring_unmap((void *)(uintptr_t)c.page);
}

static void grants(void **state)
{
	struct fixture *f = *state;
	struct local_ring got;
	char why[64];
	void *mine, *theirs;

	assert_int_equal(local_send_grant(f->sv[0], &f->ring), 0);
	assert_int_equal(local_receive(f->sv[1], &got, 1000, why, sizeof(why)), 0);
	assert_string_equal(why, "");
	assert_int_equal(local_ring_map(&f->ring, &mine), 0);
	assert_int_equal(local_ring_map(&got, &theirs), 0);
	page_set_u8(mine, 100, 42);
	assert_int_equal(page_get_u8(theirs, 100), 42);
	local_ring_unmap(mine);
	local_ring_unmap(theirs);
	local_ring_close(&got);
}

static void refuses_with_words(void **state)
{
	struct fixture *f = *state;
	struct local_ring got;
	char why[64], small[5];

	assert_int_equal(local_send_refusal(f->sv[0], ERR_BUSY, "web1: another front end has it\033[31m"), 0);
	assert_int_equal(local_receive(f->sv[1], &got, 1000, why, sizeof(why)), ERR_BUSY);
	assert_string_equal(why, "web1: another front end has it?[31m");
	assert_int_equal(got.memfd, -1);

	assert_int_equal(local_send_refusal(f->sv[0], ERR_DENIED, "not yours"), 0);
	assert_int_equal(local_receive(f->sv[1], &got, 1000, small, sizeof(small)), ERR_DENIED);
	assert_string_equal(small, "not ");
}

static void cuts_a_long_refusal(void **state)
{
	struct fixture *f = *state;
	struct local_ring got;
	char text[2000], why[1000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(local_send_refusal(f->sv[0], ERR_FULL, text), 0);
	assert_int_equal(local_receive(f->sv[1], &got, 1000, why, sizeof(why)), ERR_FULL);
	assert_int_equal(strlen(why), 512);
}

static void times_out_and_sees_the_end(void **state)
{
	struct fixture *f = *state;
	struct local_ring got;
	char why[8];

	assert_int_equal(local_receive(f->sv[1], &got, 5, why, sizeof(why)), ERR_TIMEOUT);
	fd_close(&f->sv[0]);
	assert_int_equal(local_receive(f->sv[1], &got, -1, why, sizeof(why)), ERR_CLOSED);
}

/* Sends words and descriptors of the test's choice, and demands that it is taken for neither message. */
static void demand_not_taken(struct fixture *f, uint32_t type, const uint32_t *words, unsigned nwords, unsigned nfds,
			     int want)
{
	const int fds[4] = {f->ring.memfd, f->ring.to_back, f->ring.to_front, f->ring.memfd};
	struct local_ring got;
	uint8_t mem[64];
	char why[8];
	struct buf b;
	int probe;

	buf_init(&b, mem, sizeof(mem));
	for (unsigned i = 0; i < nwords; i++)
		assert_int_equal(buf_put_u32le(&b, words[i]), 0);
	assert_int_equal(ipc_send(f->sv[0], type, &b, fds, nfds), 0);
	assert_int_equal(local_receive(f->sv[1], &got, 1000, why, sizeof(why)), want);
	assert_int_equal(got.memfd, -1);
	assert_int_equal(got.to_back, -1);
	assert_int_equal(got.to_front, -1);
	/* No descriptor was left open: the lowest free number is the same each time. */
	probe = dup(0);
	assert_int_equal(probe, f->sv[1] + 1);
	close(probe);
}

static void takes_nothing_else(void **state)
{
	const uint32_t abi1[] = {1, 1}, abi2[] = {2};
	const uint32_t positive[] = {5, 0}, unknown[] = {(uint32_t)-1000, 0}, lying[] = {(uint32_t)ERR_BUSY, 400};
	struct fixture *f = *state;

	demand_not_taken(f, RING_GRANT, abi1, 1, 0, ERR_PROTO);
	demand_not_taken(f, RING_GRANT, abi1, 1, 2, ERR_PROTO);
	demand_not_taken(f, RING_GRANT, abi1, 1, 4, ERR_PROTO);
	demand_not_taken(f, RING_GRANT, abi1, 2, 3, ERR_PROTO);
	demand_not_taken(f, RING_GRANT, abi1, 0, 3, ERR_PROTO);
	demand_not_taken(f, RING_GRANT, abi2, 1, 3, ERR_VERSION);
	demand_not_taken(f, RING_REFUSE, positive, 2, 0, ERR_PROTO);
	demand_not_taken(f, RING_REFUSE, unknown, 2, 0, ERR_PROTO);
	demand_not_taken(f, RING_REFUSE, lying, 2, 0, ERR_PROTO);
	demand_not_taken(f, RING_REFUSE, positive, 2, 3, ERR_PROTO);
	demand_not_taken(f, 7, abi1, 1, 3, ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(makes_a_sealed_zeroed_page, setup, teardown),
		cmocka_unit_test_setup_teardown(cannot_be_shrunk_grown_or_unsealed, setup, teardown),
		cmocka_unit_test_setup_teardown(demands_seals_and_size, setup, teardown),
		cmocka_unit_test_setup_teardown(demands_the_right_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(checking_leaves_no_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_pass_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(full_and_empty_counters_do_not_block, setup, teardown),
		cmocka_unit_test_setup_teardown(a_blocked_signal_can_be_interrupted, setup, teardown),
		cmocka_unit_test_setup_teardown(grants, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_with_words, setup, teardown),
		cmocka_unit_test_setup_teardown(cuts_a_long_refusal, setup, teardown),
		cmocka_unit_test_setup_teardown(times_out_and_sees_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_nothing_else, setup, teardown),
	};

	return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
