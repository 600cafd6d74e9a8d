/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A real backend that serves a guest of Xen, without Xen: what comes over its attach channel are a page that can be mapped
 * and, in the place of a port, a socket. Rings come and go, and the TPM notices nothing.
 */
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "hv/page.h"
#include "tests/unit/backend_guest.h"
#include "vtpm-backend/tpm.h"

#define LOOK_MS 1


static void send_ring_again(struct rig_backend *b, int32_t code, const int *fds, unsigned n, bool again)
{
	const struct attach_ring a = { .code = code, .port = 5, .again = again };
	uint8_t mem[ATTACH_RING_SIZE];
	struct buf msg;

	buf_init(&msg, mem, sizeof(mem));
	assert_int_equal(attach_ring_encode(&msg, &a), 0);
	assert_int_equal(ipc_send(b->attach, ATTACH_RING, &msg, fds, n), 0);
}

static void send_ring(struct rig_backend *b, int32_t code, const int *fds, unsigned n)
{
	send_ring_again(b, code, fds, n, false);
}

/* The next word of the backend. */
static uint32_t hear(struct rig_backend *b, int32_t *code)
{
	uint8_t mem[BACKEND_ATTACHED_SIZE];
	struct ipc_msg m;

	assert_true(rig_wait(b, b->control));
	assert_int_equal(ipc_recv(b->control, &m, mem, sizeof(mem), 0), 0);
	if (m.type == BACKEND_ATTACHED)
		assert_int_equal(backend_attached_decode(&m.body, code), 0);
	return m.type;
}

static int32_t attached(struct rig_backend *b)
{
	int32_t code;

	assert_int_equal(hear(b, &code), BACKEND_ATTACHED);
	return code;
}

static void forget_page(struct rig_backend *b)
{
	local_ring_unmap((void *)(uintptr_t)b->page);
	b->page = NULL;
	local_ring_close(&b->ring);
	fd_close(&b->ring.to_back);
}

/* A new page and a new port; the guest's side of the port becomes ring.to_back. */
static void make_ring(struct rig_backend *b, int fds[static ATTACH_FDS])
{
	void *page;
	int sv[2];

	forget_page(b);
	assert_int_equal(local_ring_make(&b->ring), 0);
	assert_int_equal(local_ring_map(&b->ring, &page), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	close(b->ring.to_back);
	b->ring.to_back = sv[0];
	b->page = page;
	fds[0] = b->ring.memfd;
	fds[1] = sv[1];
}

static void attach(struct rig_backend *b)
{
	int fds[ATTACH_FDS];

	make_ring(b, fds);
	send_ring(b, 0, fds, ATTACH_FDS);
	close(fds[1]);
	assert_int_equal(attached(b), 0);
}

static void detach(struct rig_backend *b)
{
	assert_int_equal(ipc_send(b->control, BACKEND_DETACH, NULL, NULL, 0), 0);
	assert_int_equal(hear(b, NULL), BACKEND_DETACHED);
}

static void submit(struct rig_backend *b)
{
	const uint32_t port = 5;

	page_write(b->page, CHAN_HEADER_SIZE, cmd.data, cmd.len);
	page_set_length(b->page, (uint32_t)cmd.len);
	page_set_state(b->page, CHAN_STATE_SUBMIT);
	/* A port that nobody has bound takes nothing. */
	assert_true(write(b->ring.to_back, &port, sizeof(port)) == sizeof(port) || errno == ECONNREFUSED || errno == ECONNRESET || errno == EPIPE);
}

/* The signal is an ioctl that a socket does not have, so the page is looked at, with the store at work meanwhile. */
static uint32_t answer(struct rig_backend *b)
{
	const struct itimerspec every = { { 0, LOOK_MS * 1000000 }, { 0, LOOK_MS * 1000000 } };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t n;
	uint32_t rc;
	struct buf r;

	assert_int_equal(timerfd_settime(timer, 0, &every, NULL), 0);
	while (page_get_state(b->page) != CHAN_STATE_FINISH) {
		assert_true(rig_wait(b, timer));
		assert_int_equal(read(timer, &n, sizeof(n)), sizeof(n));
	}
	close(timer);
	rsp_len = page_get_length(b->page);
	assert_in_range(rsp_len, 10, CHAN_PACKET_MAX);
	page_read(b->page, CHAN_HEADER_SIZE, rsp, rsp_len);
	buf_wrap(&r, rsp, rsp_len);
	assert_int_equal(buf_skip(&r, 6) | buf_get_u32be(&r, &rc), 0);
	return rc;
}

static uint32_t run(struct rig_backend *b)
{
	submit(b);
	return answer(b);
}

static void power_on(struct rig_backend *b)
{
	rig_spawn_serving(&rig, b, &disk, SERVE_XEN, RUN_SERVE | RUN_STARTUP);
	rig_ready(b);
}

static void power_off(struct rig_backend *b)
{
	assert_int_equal(rig_stop(b), 0);
	forget_page(b);
	rig_forget(b);
}

static const uint8_t extend[] = { 0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 10, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
				  0, 0, 0, 1, 0, 0xb };
static const uint8_t pcr_read[] = { 0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0, 4, 0 };

static void build(const uint8_t *bytes, size_t n, size_t len)
{
	static uint8_t mem[128];

	memset(mem, 0, sizeof(mem));
	memcpy(mem, bytes, n);
	buf_init(&cmd, mem, sizeof(mem));
	cmd.len = len;
}

/* TPM2_PCR_Extend of PCR 10 with 32 zeros, and what is in it. */
static void test_the_tpm_does_not_notice_a_new_ring(void **state)
{
	static const uint8_t zero[32];
	uint8_t before[32];
	struct rig_backend b;

	(void)state;
	power_on(&b);
	attach(&b);
	build(extend, sizeof(extend), 65);
	assert_int_equal(run(&b), 0);
	build(pcr_read, sizeof(pcr_read), sizeof(pcr_read));
	assert_int_equal(run(&b), 0);
	assert_true(rsp_len >= 32);
	memcpy(before, rsp + rsp_len - 32, 32);
	assert_memory_not_equal(before, zero, 32);
	for (int i = 0; i < 50; i++) {
		detach(&b);
		attach(&b);
		assert_int_equal(run(&b), 0);
		assert_memory_equal(rsp + rsp_len - 32, before, 32);
	}
	power_off(&b);
}

static void test_a_request_that_is_there_already(void **state)
{
	struct rig_backend b;
	int fds[ATTACH_FDS];

	(void)state;
	power_on(&b);
	make_ring(&b, fds);
	build(pcr_read, sizeof(pcr_read), sizeof(pcr_read));
	page_write(b.page, CHAN_HEADER_SIZE, cmd.data, cmd.len);
	page_set_length(b.page, (uint32_t)cmd.len);
	page_set_state(b.page, CHAN_STATE_SUBMIT); /* and no signal */
	send_ring(&b, 0, fds, ATTACH_FDS);
	close(fds[1]);
	assert_int_equal(attached(&b), 0);
	assert_int_equal(answer(&b), 0);
	power_off(&b);
}

/* A domain that is destroyed in mid-command: the command is cancelled, and the page let go of, in well under a key's time. */
static void test_detach_cancels_a_long_command(void **state)
{
	struct rig_backend b;

	(void)state;
	power_on(&b);
	for (int i = 0; i < 5; i++) {
		attach(&b);
		guest_build_rsa(&cmd);
		submit(&b);
		detach(&b);
	}
	attach(&b);
	build(pcr_read, sizeof(pcr_read), sizeof(pcr_read));
	assert_int_equal(run(&b), 0);
	power_off(&b);
}

static void test_without_a_ring(void **state)
{
	struct rig_backend b;

	(void)state;
	power_on(&b);
	detach(&b); /* there is none: that is as good */
	power_off(&b);
	power_on(&b);
	attach(&b);
	detach(&b);
	power_off(&b);
	power_on(&b);
	attach(&b);
	power_off(&b); /* with its ring */
}

/* A hostile guest names a grant that is none: the spawner or mmap says so, and the next one is taken. */
static void test_a_ring_that_is_none(void **state)
{
	struct rig_backend b;
	int fds[ATTACH_FDS], pipes[2];

	(void)state;
	power_on(&b);
	send_ring(&b, ERR_INVAL, NULL, 0);
	assert_int_equal(attached(&b), ERR_INVAL);
	make_ring(&b, fds);
	assert_int_equal(pipe(pipes), 0);
	send_ring(&b, 0, (const int[]){ pipes[0], fds[1] }, ATTACH_FDS); /* cannot be mapped */
	assert_true(attached(&b) < 0);
	close(pipes[0]);
	close(pipes[1]);
	close(fds[1]);
	attach(&b);
	build(pcr_read, sizeof(pcr_read), sizeof(pcr_read));
	assert_int_equal(run(&b), 0);
	power_off(&b);
}

/* What only a broken or hostile spawner or manager would send ends the backend, as every breach does. */
static void test_breaches_end_it(void **state)
{
	struct rig_backend b;
	int fds[ATTACH_FDS];

	(void)state;
	for (int i = 0; i < 4; i++) {
		power_on(&b);
		attach(&b);
		make_ring(&b, fds);
		if (i == 0)
			send_ring(&b, 0, fds, ATTACH_FDS); /* a second ring */
		else if (i == 1)
			send_ring(&b, 0, NULL, 0); /* none, and no reason */
		else if (i == 2)
			send_ring(&b, ERR_INVAL, fds, ATTACH_FDS); /* a reason, and one */
		else
			assert_int_equal(ipc_send(b.attach, BACKEND_STOP, NULL, NULL, 0), 0);
		close(fds[1]);
		assert_int_equal(rig_exited(&b), 0x100);
		forget_page(&b);
		rig_forget(&b);
	}
}

static void read_pcr(struct rig_backend *b, uint8_t pcr[static 32])
{
	build(pcr_read, sizeof(pcr_read), sizeof(pcr_read));
	assert_int_equal(run(b), 0);
	memcpy(pcr, rsp + rsp_len - 32, 32);
}

/* It is killed; the next one gets the ring that this one had, or a new one. */
static void killed(struct rig_backend *b)
{
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(b) & 0x7f, SIGKILL);
	rig_resume(b, 0);
	rig_ready(b);
}

static void attach_again(struct rig_backend *b)
{
	int sv[2];

	close(b->ring.to_back);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	b->ring.to_back = sv[0];
	send_ring_again(b, 0, (const int[]){ b->ring.memfd, sv[1] }, ATTACH_FDS, true);
	close(sv[1]);
	assert_int_equal(attached(b), 0);
}

static void test_a_killed_one_is_replaced(void **state)
{
	uint8_t before[32], after[32];
	struct rig_backend b;

	(void)state;
	power_on(&b);
	attach(&b);
	for (unsigned i = 0; i < 20; i++) {
		/* Killed while it is idle; with a command that nobody has seen; somewhere in a command. */
		build(extend, sizeof(extend), 65);
		assert_int_equal(run(&b), 0);
		read_pcr(&b, before);
		if (i % 3 == 0)
			killed(&b);
		build(extend, sizeof(extend), 65);
		submit(&b);
		if (i % 3 == 1)
			killed(&b);
		if (i % 3 != 2)
			attach_again(&b);
		assert_int_equal(answer(&b), 0);
		read_pcr(&b, after);
		assert_memory_not_equal(before, after, 32);
	}
	/* The ring is a new one: what was on the old one was another's, and the TPM is the same. */
	submit(&b);
	killed(&b);
	attach(&b);
	read_pcr(&b, before);
	killed(&b);
	killed(&b); /* without one */
	attach_again(&b);
	read_pcr(&b, after);
	assert_memory_equal(before, after, 32);
	power_off(&b);
}

/* Whatever has happened to the command, its response comes once, and it was executed once. */
static void test_killed_at_random(void **state)
{
	uint8_t pcr[32], want[32], data[64];
	unsigned seed = (unsigned)time(NULL);
	struct rig_backend b;

	(void)state;
	print_message("seed %u\n", seed);
	power_on(&b);
	attach(&b);
	read_pcr(&b, want);
	for (unsigned i = 0; i < 150; i++) {
		const struct timespec wait = { .tv_nsec = (rand_r(&seed) % 400) * 1000 };

		build(extend, sizeof(extend), 65);
		submit(&b);
		nanosleep(&wait, NULL);
		killed(&b);
		attach_again(&b);
		assert_int_equal(answer(&b), 0);
		memcpy(data, want, 32);
		memset(data + 32, 0, 32);
		assert_int_equal(EVP_Digest(data, 64, want, NULL, EVP_sha256(), NULL), 1);
	}
	read_pcr(&b, pcr);
	assert_memory_equal(pcr, want, 32);
	power_off(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_tpm_does_not_notice_a_new_ring),
		cmocka_unit_test(test_a_request_that_is_there_already),
		cmocka_unit_test(test_detach_cancels_a_long_command),
		cmocka_unit_test(test_without_a_ring),
		cmocka_unit_test(test_a_ring_that_is_none),
		cmocka_unit_test(test_breaches_end_it),
		cmocka_unit_test(test_a_killed_one_is_replaced),
		cmocka_unit_test(test_killed_at_random),
	};

	return guest_test_main(argc, argv, tests, ARRAY_LEN(tests));
}
