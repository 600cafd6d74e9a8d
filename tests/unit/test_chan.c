/* SPDX-License-Identifier: BSD-2-Clause */
/* The back end's half of the ring against every page a hostile guest can present. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/hv.h"
#include "hv/page.h"
#include "lib/loop.h"

#define RACE_MS 400u

/* A page that ends where unmapped memory begins, and a port that counts. */
struct fixture {
	struct chan c;
	uint8_t *map, *page;
	uint8_t *out; /* of the heap, so that an overrun is seen by the address sanitizer */
	int wait_fd, stop_fd;
	unsigned acks, notifies;
};

static int fake_ack(struct chan_port *port)
{
	struct fixture *f = port->ctx;
	uint64_t n;

	__atomic_fetch_add(&f->acks, 1, __ATOMIC_RELEASE);
	return read(port->wait_fd, &n, sizeof(n)) == sizeof(n) ? 0 : ERR_SYS;
}

static int fake_notify(struct chan_port *port)
{
	struct fixture *f = port->ctx;

	f->notifies++;
	return 0;
}

static void signal_fd(int fd)
{
	const uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct chan_port port = {.ack = fake_ack, .notify = fake_notify, .ctx = f};

	f->map = mmap(NULL, 2 * CHAN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f->map, MAP_FAILED);
	assert_int_equal(mprotect(f->map + CHAN_PAGE_SIZE, CHAN_PAGE_SIZE, PROT_NONE), 0);
	f->page = f->map;
	f->out = malloc(CHAN_PACKET_MAX);
	f->wait_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	port.wait_fd = f->wait_fd;
	chan_init(&f->c, f->page, &port);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	munmap(f->map, 2 * CHAN_PAGE_SIZE);
	close(f->wait_fd);
	close(f->stop_fd);
	free(f->out);
	free(f);
	return 0;
}

static void put_header(uint8_t *packet, uint32_t size)
{
	packet[0] = 0x80;
	packet[1] = 0x01;
	packet[2] = (uint8_t)(size >> 24);
	packet[3] = (uint8_t)(size >> 16);
	packet[4] = (uint8_t)(size >> 8);
	packet[5] = (uint8_t)size;
}

static uint32_t header_size(const uint8_t *packet)
{
	return (uint32_t)packet[2] << 24 | (uint32_t)packet[3] << 16 | (uint32_t)packet[4] << 8 | packet[5];
}

static void submit(struct fixture *f, uint8_t nr_extra, uint32_t length, uint32_t claimed)
{
	size_t off = CHAN_HEADER_SIZE + (size_t)nr_extra * CHAN_EXTRA_REF_SIZE;

	put_header(f->page + off, claimed);
	page_set_u8(f->page, CHAN_OFF_NR_EXTRA, nr_extra);
	page_set_length(f->page, length);
	page_set_state(f->page, CHAN_STATE_SUBMIT);
}

/* What the next back end finds after one that was killed with response 256 + n as its last. */
static enum chan_left left_by(struct fixture *f, uint8_t state, uint8_t pad, uint8_t n)
{
	page_set_u8(f->page, CHAN_OFF_PAD, pad);
	page_set_state(f->page, state);
	return chan_resume(&f->c, n);
}

static void numbers_its_responses(void **state)
{
	struct fixture *f = *state;
	const uint8_t resp[10] = {0x80, 0x01, 0, 0, 0, 10};
	struct chan_request req;

	for (unsigned n = 0; n < 600; n += 37) {
		page_set_u8(f->page, CHAN_OFF_LOCALITY, 2);
		submit(f, 3, 10, 10);
		assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
		assert_int_equal(chan_respond(&f->c, (uint8_t)n, resp, sizeof(resp)), 0);
		assert_int_equal(page_get_state(f->page), CHAN_STATE_FINISH);
		assert_int_equal(page_get_u8(f->page, CHAN_OFF_PAD), (uint8_t)n);
		assert_int_equal(page_get_u8(f->page, CHAN_OFF_LOCALITY), 2);
		assert_int_equal(page_get_u8(f->page, CHAN_OFF_NR_EXTRA), 3);
		assert_int_equal(chan_resume(&f->c, (uint8_t)n), CHAN_LEFT_NOTHING);
		submit(f, 3, 10, 10);
		assert_int_equal(chan_resume(&f->c, (uint8_t)n), CHAN_LEFT_REQUEST);
		assert_int_equal(chan_resume(&f->c, (uint8_t)(n + 1)), CHAN_LEFT_RESPONSE);
	}
	chan_begin(&f->c, 9);
	assert_int_equal(chan_resume(&f->c, 9), CHAN_LEFT_REQUEST); /* it was there before */
	for (unsigned n = 0; n < 256; n++) {
		const uint8_t last = (uint8_t)(n - 1);

		assert_int_equal(left_by(f, CHAN_STATE_CANCEL, last, (uint8_t)n), CHAN_LEFT_RESPONSE);
		assert_int_equal(left_by(f, CHAN_STATE_CANCEL, (uint8_t)n, (uint8_t)n), CHAN_LEFT_NOTHING);
		assert_int_equal(left_by(f, CHAN_STATE_IDLE, last, (uint8_t)n), CHAN_LEFT_NOTHING);
		assert_int_equal(left_by(f, 77, last, (uint8_t)n), CHAN_LEFT_NOTHING);
	}
}

static void takes_a_request_and_answers(void **state)
{
	struct fixture *f = *state;
	uint8_t resp[20] = {0x80, 0x01, 0, 0, 0, 20};
	struct chan_request req;

	f->page[CHAN_HEADER_SIZE + 11] = 0x5a;
	page_set_u8(f->page, CHAN_OFF_LOCALITY, 3);
	submit(f, 0, 12, 12);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
	assert_int_equal(req.len, 12);
	assert_int_equal(req.locality, 3);
	assert_int_equal(f->out[11], 0x5a);
	assert_int_equal(page_get_state(f->page), CHAN_STATE_SUBMIT);

	resp[19] = 0xa5;
	assert_int_equal(chan_respond(&f->c, 1, resp, sizeof(resp)), 0);
	assert_int_equal(page_get_state(f->page), CHAN_STATE_FINISH);
	assert_int_equal(page_get_length(f->page), 20);
	assert_memory_equal(f->page + CHAN_HEADER_SIZE, resp, sizeof(resp));
	assert_int_equal(f->notifies, 1);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_NONE);
}

static void takes_the_largest_request(void **state)
{
	struct fixture *f = *state;
	struct chan_request req;

	f->page[CHAN_PAGE_SIZE - 1] = 0x77;
	submit(f, 0, CHAN_PACKET_MAX, CHAN_PACKET_MAX);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
	assert_int_equal(req.len, CHAN_PACKET_MAX);
	assert_int_equal(f->out[CHAN_PACKET_MAX - 1], 0x77);
}

static void refuses_lying_lengths(void **state)
{
	static const uint32_t lengths[] = {0, 1, 9, 4089, 4096, 65546, 0x7fffffff, 0x80000000, 0xfffffff6, 0xffffffff};
	struct fixture *f = *state;
	struct chan_request req;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		submit(f, 0, lengths[i], lengths[i]);
		assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_BAD);
		assert_int_equal(req.len, 0);
	}
}

static void refuses_a_header_that_disagrees(void **state)
{
	static const uint32_t claims[] = {0, 9, 11, 13, 4088, 0x0c000000, 0xffffffff};
	static const uint8_t zeros[12];
	struct fixture *f = *state;
	struct chan_request req;

	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		submit(f, 0, 12, claims[i]);
		assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_BAD);
		assert_memory_equal(f->out, zeros, sizeof(zeros));
	}
}

static void follows_extra_pages_and_no_further(void **state)
{
	const uint32_t off = CHAN_HEADER_SIZE + 255 * CHAN_EXTRA_REF_SIZE, room = CHAN_PAGE_SIZE - off;
	struct fixture *f = *state;
	struct chan_request req;

	f->page[CHAN_PAGE_SIZE - 1] = 0x33;
	submit(f, 255, room, room);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
	assert_int_equal(req.len, room);
	assert_int_equal(f->out[room - 1], 0x33);

	submit(f, 255, room + 1, room + 1);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_BAD);
}

static void answers_where_the_request_was(void **state)
{
	const uint32_t off = CHAN_HEADER_SIZE + 255 * CHAN_EXTRA_REF_SIZE;
	static const uint8_t rc_size[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0x95};
	struct fixture *f = *state;
	uint8_t resp[CHAN_PACKET_MAX];
	struct chan_request req;

	memset(resp, 0xee, sizeof(resp));
	submit(f, 255, 10, 10);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
	page_set_u8(f->page, CHAN_OFF_NR_EXTRA, 1); /* too late */
	assert_int_equal(chan_respond(&f->c, 1, resp, CHAN_PAGE_SIZE - off), 0);
	assert_int_equal(page_get_length(f->page), CHAN_PAGE_SIZE - off);
	assert_int_equal(f->page[off - 1], 0);
	assert_int_equal(f->page[off], 0xee);

	assert_int_equal(chan_respond(&f->c, 1, resp, CHAN_PAGE_SIZE - off + 1), 0);
	assert_int_equal(page_get_length(f->page), sizeof(rc_size));
	assert_memory_equal(f->page + off, rc_size, sizeof(rc_size));
}

static void refuses_to_send_nonsense(void **state)
{
	struct fixture *f = *state;
	uint8_t resp[CHAN_PACKET_MAX + 1] = {0};

	assert_int_equal(chan_respond(&f->c, 1, resp, 0), ERR_RANGE);
	assert_int_equal(chan_respond(&f->c, 1, resp, 9), ERR_RANGE);
	assert_int_equal(chan_respond(&f->c, 1, resp, sizeof(resp)), ERR_RANGE);
	assert_int_equal(f->notifies, 0);
}

static void ignores_states_that_are_none(void **state)
{
	struct fixture *f = *state;
	struct chan_request req;

	submit(f, 0, 10, 10);
	for (unsigned s = 0; s < 256; s++) {
		if (s == CHAN_STATE_SUBMIT || s == CHAN_STATE_CANCEL)
			continue;
		page_set_state(f->page, (uint8_t)s);
		assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_NONE);
		assert_int_equal(page_get_state(f->page), s);
		assert_false(chan_cancelled(&f->c));
	}
	assert_int_equal(f->notifies, 0);
}

static void ends_a_cancel_that_has_no_request(void **state)
{
	struct fixture *f = *state;
	struct chan_request req;

	page_set_state(f->page, CHAN_STATE_CANCEL);
	assert_int_equal(chan_wait(&f->c, f->stop_fd, 0), 0);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_NONE);
	assert_int_equal(page_get_state(f->page), CHAN_STATE_IDLE);
	assert_int_equal(f->notifies, 1);
}

static void sees_a_cancel_of_the_request_in_hand(void **state)
{
	struct fixture *f = *state;
	struct chan_request req;

	submit(f, 0, 10, 10);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
	assert_false(chan_cancelled(&f->c));
	page_set_state(f->page, CHAN_STATE_CANCEL);
	assert_true(chan_cancelled(&f->c));
	assert_int_equal(chan_respond(&f->c, 1, f->out, 10), 0);
	assert_int_equal(page_get_state(f->page), CHAN_STATE_FINISH);
}

static void stops_also_while_the_guest_is_busy(void **state)
{
	struct fixture *f = *state;

	signal_fd(f->stop_fd);
	assert_int_equal(chan_wait(&f->c, f->stop_fd, 50), ERR_CLOSED);
	submit(f, 0, 10, 10);
	assert_int_equal(chan_wait(&f->c, f->stop_fd, 50), ERR_CLOSED);
}

/* Submits once the old signal has been taken off. */
static void *flood_then_submit(void *arg)
{
	struct fixture *f = arg;

	while (__atomic_load_n(&f->acks, __ATOMIC_ACQUIRE) == 0)
		sched_yield();
	for (int i = 0; i < 1000; i++)
		signal_fd(f->wait_fd);
	submit(f, 0, 10, 10);
	signal_fd(f->wait_fd);
	return NULL;
}

static void waits_for_work_and_not_for_signals(void **state)
{
	struct fixture *f = *state;
	struct chan_request req;
	pthread_t t;

	signal_fd(f->wait_fd);
	assert_int_equal(pthread_create(&t, NULL, flood_then_submit, f), 0);
	assert_int_equal(chan_wait(&f->c, f->stop_fd, 0), 0);
	assert_int_equal(chan_take(&f->c, f->out, &req), CHAN_REQUEST);
	assert_int_equal(pthread_join(t, NULL), 0);
}

/* The processor's time that this process has had: what others do meanwhile does not count. */
static uint64_t cpu_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void gives_up_spinning_that_does_not_pay(void **state)
{
	struct fixture *f = *state;
	uint64_t begin = cpu_ms();

	/* Every wait misses; at 20 ms each, 32 full spins would take 640 ms. */
	for (int i = 0; i < 32; i++) {
		signal_fd(f->stop_fd);
		assert_int_equal(chan_wait(&f->c, f->stop_fd, 20000), ERR_CLOSED);
	}
	assert_true(cpu_ms() - begin < 320);
}

static bool race_over;

/* Writes nonsense over the fields and the header as fast as it can. */
static void *race_guest(void *arg)
{
	volatile uint8_t *page = arg;
	uint32_t x = 2463534242u;

	while (!__atomic_load_n(&race_over, __ATOMIC_RELAXED)) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		page_set_length(page, (x & 1) ? 12 : (x & 2) ? x : x % 4100);
		page_set_u8(page, CHAN_HEADER_SIZE + 2, 0);
		page_set_u8(page, CHAN_HEADER_SIZE + 4, (x & 4) ? 0 : (uint8_t)(x >> 8));
		page_set_u8(page, CHAN_HEADER_SIZE + 5, (x & 8) ? 12 : (uint8_t)(x >> 16));
		page_set_u8(page, CHAN_OFF_NR_EXTRA, (x & 16) ? 0 : (uint8_t)(x >> 24));
		page_set_u8(page, CHAN_OFF_LOCALITY, (uint8_t)x);
		page_set_state(page, (x & 32) ? CHAN_STATE_SUBMIT : (uint8_t)(x >> 12));
	}
	return NULL;
}

static void survives_a_page_that_changes_while_it_is_read(void **state)
{
	struct fixture *f = *state;
	uint64_t end = loop_now_ms() + RACE_MS;
	uint8_t resp[CHAN_PACKET_MAX] = {0};
	struct chan_request req;
	size_t taken = 0;
	pthread_t t;

	race_over = false;
	assert_int_equal(pthread_create(&t, NULL, race_guest, f->page), 0);
	while (loop_now_ms() < end || taken == 0) { /* at least one, also where the guest seldom gets its turn */
		enum chan_verdict v = chan_take(&f->c, f->out, &req);

		if (v == CHAN_NONE)
			continue;
		if (v == CHAN_REQUEST) {
			taken++;
			assert_in_range(req.len, 10, CHAN_PACKET_MAX);
			assert_int_equal(header_size(f->out), req.len);
		}
		assert_int_equal(chan_respond(&f->c, 1, resp, 10 + (size_t)req.locality * 15), 0);
	}
	__atomic_store_n(&race_over, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(t, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(takes_a_request_and_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_the_largest_request, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_lying_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_a_header_that_disagrees, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_extra_pages_and_no_further, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_where_the_request_was, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_to_send_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(ignores_states_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_a_cancel_that_has_no_request, setup, teardown),
		cmocka_unit_test_setup_teardown(sees_a_cancel_of_the_request_in_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_its_responses, setup, teardown),
		cmocka_unit_test_setup_teardown(stops_also_while_the_guest_is_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_for_work_and_not_for_signals, setup, teardown),
		cmocka_unit_test_setup_teardown(gives_up_spinning_that_does_not_pay, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_a_page_that_changes_while_it_is_read, setup, teardown),
	};

	return cmocka_run_group_tests_name("chan", tests, NULL, NULL);
}
