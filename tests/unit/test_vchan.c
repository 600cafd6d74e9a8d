/* SPDX-License-Identifier: BSD-2-Clause */
/* A vchan on a page that both ends share, and what comes of an end that writes nonsense there. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <xen/io/libxenvchan.h>

#include "hv/page.h"
#include "hv/xen/vchan.h"
#include "lib/util.h"
#include "vtpm-mgr/vchan/pump.h"

struct scene {
	struct vchan server, client;
	struct vchan_interface *raw;
};

static void *map(int fd)
{
	void *p = mmap(NULL, CHAN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	int fd = memfd_create("page", MFD_CLOEXEC);

	assert_non_null(s);
	assert_int_equal(ftruncate(fd, CHAN_PAGE_SIZE), 0);
	s->server = s->client = VCHAN_NONE;
	s->raw = map(fd);
	vchan_init_server(&s->server, map(fd));
	assert_int_equal(vchan_peer(&s->server), VCHAN_PEER_AWAITED);
	assert_int_equal(vchan_init_client(&s->client, map(fd)), 0);
	assert_int_equal(vchan_peer(&s->server), VCHAN_PEER_THERE);
	assert_int_equal(vchan_peer(&s->client), VCHAN_PEER_THERE);
	close(fd);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	vchan_close(&s->client);
	vchan_close(&s->server);
	munmap(s->raw, CHAN_PAGE_SIZE);
	free(s);
	return 0;
}

static uint8_t nth(size_t i)
{
	return (uint8_t)(i * 31 + i / 256);
}

/* Pieces of all sizes, over the end of the ring and again. */
static void carry(struct vchan *from, struct vchan *to)
{
	uint8_t piece[3000], back[3000];
	size_t sent = 0, got = 0, n;

	for (size_t want = 1; sent < 200000; want = want * 7 % 2999 + 1) {
		for (size_t i = 0; i < want; i++)
			piece[i] = nth(sent + i);
		assert_int_equal(vchan_write(from, piece, want, &n), 0);
		assert_in_range(n, 1, want);
		sent += n;
		while (vchan_read(to, back, want / 3 + 1, &n) == 0)
			for (size_t i = 0; i < n; i++)
				assert_int_equal(back[i], nth(got++));
		assert_int_equal(got, sent);
	}
}

static void test_bytes_pass_both_ways(void **state)
{
	struct scene *s = *state;

	carry(&s->client, &s->server);
	carry(&s->server, &s->client);
}

static void test_a_full_ring_waits(void **state)
{
	struct scene *s = *state;
	uint8_t bytes[4096] = { 0 };
	size_t n;

	assert_int_equal(vchan_write(&s->server, bytes, sizeof(bytes), &n), 0);
	assert_int_equal(n, VCHAN_DOWN_SIZE);
	assert_int_equal(vchan_write(&s->server, bytes, 1, &n), ERR_AGAIN);
	assert_int_equal(n, 0);
	assert_int_equal(vchan_read(&s->client, bytes, 10, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(vchan_write(&s->server, bytes, sizeof(bytes), &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(vchan_write(&s->client, bytes, sizeof(bytes), &n), 0);
	assert_int_equal(n, VCHAN_UP_SIZE);
	assert_int_equal(vchan_read(&s->server, bytes, sizeof(bytes), &n), 0);
	assert_int_equal(vchan_read(&s->server, bytes, sizeof(bytes), &n), ERR_AGAIN);
}

/* Each end asks to be told in its own byte, and the other clears what it has told. */
static void test_signals_are_asked_for(void **state)
{
	struct scene *s = *state;
	uint8_t byte = 0;
	size_t n;

	assert_int_equal(vchan_read(&s->server, &byte, 1, &n), ERR_AGAIN);
	assert_true(s->raw->cli_notify & VCHAN_NOTIFY_WRITE);
	assert_int_equal(vchan_write(&s->client, &byte, 1, &n), 0);
	assert_false(s->raw->cli_notify & VCHAN_NOTIFY_WRITE);
	assert_true(s->raw->srv_notify & VCHAN_NOTIFY_READ);
	assert_int_equal(vchan_read(&s->server, &byte, 1, &n), 0);
	assert_false(s->raw->srv_notify & VCHAN_NOTIFY_READ);
}

static void test_indices_out_of_the_ring(void **state)
{
	struct scene *s = *state;
	uint8_t bytes[CHAN_PAGE_SIZE] = { 0 };
	size_t n = 1;

	s->raw->left.prod = VCHAN_UP_SIZE + 1;
	assert_int_equal(vchan_read(&s->server, bytes, sizeof(bytes), &n), ERR_PROTO);
	assert_int_equal(n, 0);
	s->raw->left.prod = UINT32_MAX;
	assert_int_equal(vchan_read(&s->server, bytes, sizeof(bytes), &n), ERR_PROTO);
	s->raw->right.cons = 1; /* read before it was written */
	assert_int_equal(vchan_write(&s->server, bytes, 1, &n), ERR_PROTO);
	s->raw->right.prod = VCHAN_DOWN_SIZE + 1;
	assert_int_equal(vchan_read(&s->client, bytes, sizeof(bytes), &n), ERR_PROTO);
	s->raw->left.cons = 0x80000000;
	assert_int_equal(vchan_write(&s->client, bytes, 1, &n), ERR_PROTO);
}

/* What is ours in the page is written there and never read back; orders are constant. */
static void test_our_own_progress_is_not_the_pages(void **state)
{
	struct scene *s = *state;
	uint8_t byte = 7;
	size_t n;

	s->raw->left.cons = 500;
	s->raw->right.prod = 500;
	s->raw->left_order = 20;
	s->raw->right_order = 31;
	assert_int_equal(vchan_write(&s->client, &byte, 1, &n), ERR_PROTO); /* the client does not believe it */
	s->raw->left.prod = 1;
	((uint8_t *)s->raw)[1024] = 9;
	assert_int_equal(vchan_read(&s->server, &byte, 1, &n), 0);
	assert_int_equal(byte, 9);
	assert_int_equal(s->raw->left.cons, 1);
	assert_int_equal(vchan_write(&s->server, &byte, 1, &n), 0);
	assert_int_equal(s->raw->right.prod, 1);
	assert_int_equal(((uint8_t *)s->raw)[2048], 9);
}

static void test_whose_vchan_it_is(void **state)
{
	struct scene *s = *state;
	struct vchan other = VCHAN_NONE;
	uint8_t *page = (uint8_t *)s->raw;

	assert_int_equal(vchan_init_client(&other, page), ERR_BUSY); /* it has a client */
	s->raw->cli_live = 0;
	assert_int_equal(vchan_init_client(&other, page), ERR_BUSY); /* it had one */
	s->raw->cli_live = 2;
	s->raw->srv_live = 0;
	assert_int_equal(vchan_init_client(&other, page), ERR_BUSY);
	s->raw->srv_live = 1;
	s->raw->left_order = 12;
	assert_int_equal(vchan_init_client(&other, page), ERR_VERSION);
	s->raw->left_order = 10;
	s->raw->right_order = 65535;
	assert_int_equal(vchan_init_client(&other, page), ERR_VERSION);
	assert_int_equal(s->raw->cli_live, 2);
	assert_null(other.page);
	s->raw->cli_live = 1;
}

static void test_last_bytes_come_before_the_end(void **state)
{
	struct scene *s = *state;
	uint8_t byte = 5;
	size_t n;

	assert_int_equal(vchan_write(&s->server, &byte, 1, &n), 0);
	vchan_close(&s->server);
	byte = 0;
	assert_int_equal(vchan_read(&s->client, &byte, 1, &n), 0);
	assert_int_equal(byte, 5);
	assert_int_equal(vchan_read(&s->client, &byte, 1, &n), ERR_CLOSED);
	assert_int_equal(vchan_write(&s->client, &byte, 1, &n), ERR_CLOSED);
}

/* --- the pump: signals come over a socket here --- */

struct pumping {
	struct vchan *v;
	int sock, result;
	pthread_t thread;
};

static void *run(void *arg)
{
	struct pumping *p = arg;

	p->result = pump(p->v, p->sock);
	return NULL;
}

struct rig {
	struct pumping p;
	int manager, signal;
};

static void rig_start(struct rig *r, struct scene *s)
{
	int socks[2], signals[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, signals), 0);
	r->p = (struct pumping){ .v = &s->server, .sock = socks[0] };
	r->manager = socks[1];
	s->server.fd = signals[0];
	r->signal = signals[1];
	assert_int_equal(pthread_create(&r->p.thread, NULL, run, &r->p), 0);
}

static void tell(struct rig *r)
{
	assert_int_equal(write(r->signal, &(uint32_t){ 1 }, 4), 4);
}

static int rig_end(struct rig *r, struct scene *s)
{
	pthread_join(r->p.thread, NULL);
	close(r->p.sock);
	close(r->manager);
	close(r->signal);
	fd_close(&s->server.fd);
	return r->p.result;
}

static void client_put(struct rig *r, struct vchan *v, const uint8_t *p, size_t len)
{
	size_t n;

	while (len > 0) {
		int err = vchan_write(v, p, len, &n);

		assert_true(!err || err == ERR_AGAIN);
		p += n;
		len -= n;
		if (n > 0)
			tell(r);
		else
			sched_yield();
	}
}

static void client_get(struct rig *r, struct vchan *v, uint8_t *p, size_t len)
{
	size_t n;

	while (len > 0) {
		int err = vchan_read(v, p, len, &n);

		assert_true(!err || err == ERR_AGAIN);
		p += n;
		len -= n;
		if (n > 0)
			tell(r);
		else
			sched_yield();
	}
}

#define MUCH 50000u
static void test_pump_passes_both_ways(void **state)
{
	struct scene *s = *state;
	uint8_t *out = malloc(MUCH), *in = malloc(MUCH);
	size_t n = 0;
	struct rig r;

	rig_start(&r, s);
	for (size_t i = 0; i < MUCH; i++)
		out[i] = nth(i);
	client_put(&r, &s->client, out, MUCH);
	for (ssize_t got; n < MUCH; n += (size_t)got)
		assert_true((got = recv(r.manager, in + n, MUCH - n, 0)) > 0);
	assert_memory_equal(in, out, MUCH);
	memset(in, 0, MUCH);
	assert_int_equal(send(r.manager, out, MUCH, 0), MUCH);
	assert_int_equal(shutdown(r.manager, SHUT_WR), 0); /* what was said before is passed on */
	client_get(&r, &s->client, in, MUCH);
	assert_memory_equal(in, out, MUCH);
	assert_int_equal(rig_end(&r, s), ERR_CLOSED);
	free(out);
	free(in);
}

static void test_pump_ends_with_its_client(void **state)
{
	struct scene *s = *state;
	struct rig r;

	rig_start(&r, s);
	s->raw->cli_live = 0; /* as the kernel does for a client that was killed */
	tell(&r);
	assert_int_equal(rig_end(&r, s), ERR_CLOSED);
}

static void test_pump_ends_with_nonsense(void **state)
{
	struct scene *s = *state;
	struct rig r;

	rig_start(&r, s);
	s->raw->left.prod = 0x7fffffff;
	tell(&r);
	assert_int_equal(rig_end(&r, s), ERR_PROTO);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_bytes_pass_both_ways),
		T(test_a_full_ring_waits),
		T(test_signals_are_asked_for),
		T(test_indices_out_of_the_ring),
		T(test_our_own_progress_is_not_the_pages),
		T(test_whose_vchan_it_is),
		T(test_last_bytes_come_before_the_end),
		T(test_pump_passes_both_ways),
		T(test_pump_ends_with_its_client),
		T(test_pump_ends_with_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
