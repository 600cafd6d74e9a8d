/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/ipc.h"
#include "lib/util.h"

static int sv[2];
static uint8_t storage[IPC_BODY_MAX];
static int fds_before;

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	(void)state;
	if (ipc_pair(sv))
		return -1;
	fds_before = count_fds();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fd_close(&sv[0]);
	fd_close(&sv[1]);
	return 0;
}

/* Sends raw bytes and n copies of one descriptor, as a hostile peer would. */
static void send_raw(const void *p, size_t len, unsigned n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 64)];
	} ctl;
	struct iovec iov = { (void *)(uintptr_t)p, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		int fd = sv[0];
		struct cmsghdr *c = &ctl.align;

		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.bytes;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		for (unsigned i = 0; i < n; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(sv[0], &mh, MSG_NOSIGNAL), (ssize_t)len);
}

static void a_message_arrives_whole(void **state)
{
	uint8_t mem[16];
	struct ipc_msg m;
	struct buf b;
	int fds[2], got;
	uint64_t v;

	(void)state;
	fds[0] = eventfd(7, 0);
	fds[1] = eventfd(9, 0);
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u64le(&b, 0x1122334455667788), 0);
	assert_int_equal(ipc_send(sv[0], 0xabcd0123, &b, fds, 2), 0);
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), 0), 0);
	assert_int_equal(m.type, 0xabcd0123);
	assert_int_equal(m.nfds, 2);
	assert_int_equal(buf_get_u64le(&m.body, &v), 0);
	assert_true(v == 0x1122334455667788 && buf_left(&m.body) == 0);
	got = ipc_take_fd(&m, 1);
	assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(eventfd_read(got, &v), 0);
	assert_true(v == 9);
	assert_int_equal(ipc_take_fd(&m, 1), -1);
	assert_int_equal(ipc_take_fd(&m, 2), -1);
	assert_int_equal(ipc_take_fd(&m, 1000), -1);
	ipc_msg_done(&m);
	assert_int_equal(ipc_take_fd(&m, 0), -1);
	close(got);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(count_fds(), fds_before);
}

static void the_largest_message_fits_and_no_larger(void **state)
{
	uint8_t *mem = calloc(1, IPC_BODY_MAX + 1);
	struct ipc_msg m;
	struct buf b;

	(void)state;
	assert_non_null(mem);
	mem[IPC_BODY_MAX - 1] = 0x5a;
	buf_wrap(&b, mem, IPC_BODY_MAX + 1);
	assert_int_equal(ipc_send(sv[0], 1, &b, NULL, 0), ERR_RANGE);
	buf_wrap(&b, mem, IPC_BODY_MAX);
	assert_int_equal(ipc_send(sv[0], 1, &b, NULL, 0), 0);
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), 0), 0);
	assert_int_equal(m.body.len, IPC_BODY_MAX);
	assert_int_equal(storage[IPC_BODY_MAX - 1], 0x5a);
	assert_int_equal(ipc_send(sv[0], 1, NULL, (int[IPC_FDS_MAX + 1]){ 0 }, IPC_FDS_MAX + 1), ERR_RANGE);
	free(mem);
}

static void an_empty_body_works(void **state)
{
	struct ipc_msg m;

	(void)state;
	assert_int_equal(ipc_send(sv[0], 5, NULL, NULL, 0), 0);
	assert_int_equal(ipc_recv(sv[1], &m, NULL, 0, 0), 0);
	assert_true(m.type == 5 && m.body.len == 0 && m.nfds == 0);
}

/* Expects ERR_PROTO, and that no descriptor is left behind. */
static void expect_proto(size_t cap)
{
	struct ipc_msg m;

	assert_int_equal(ipc_recv(sv[1], &m, storage, cap, 0), ERR_PROTO);
	assert_int_equal(m.nfds, 0);
	for (unsigned i = 0; i < IPC_FDS_MAX; i++)
		assert_int_equal(m.fds[i], -1);
	assert_int_equal(count_fds(), fds_before);
}

static void a_truncated_record_is_refused_and_its_fds_closed(void **state)
{
	static const uint8_t big[104];

	(void)state;
	send_raw(big, sizeof(big), 3);
	expect_proto(99);
	send_raw(big, sizeof(big), 0);
	expect_proto(0);
}

/* As from a stranger: what has none is received, what has some is refused, and none is let in. */
static void a_stranger_gives_no_fds(void **state)
{
	static const uint8_t small[4];
	struct ipc_msg m;

	(void)state;
	for (unsigned n = 0; n < 4; n++) {
		send_raw(small, sizeof(small), n);
		assert_int_equal(ipc_recv_bare(sv[1], &m, storage, sizeof(storage), 0), n ? ERR_PROTO : 0);
		assert_int_equal(m.nfds, 0);
	}
}

static void too_many_fds_are_refused_and_closed(void **state)
{
	static const uint8_t small[4];

	(void)state;
	for (unsigned n = IPC_FDS_MAX + 1; n < 20; n++) {
		send_raw(small, sizeof(small), n);
		expect_proto(sizeof(storage));
	}
}

static void records_without_a_type_are_refused_and_their_fds_closed(void **state)
{
	static const uint8_t small[3];

	(void)state;
	for (size_t len = 1; len <= 3; len++) {
		send_raw(small, len, 2);
		expect_proto(sizeof(storage));
	}
	send_raw(small, 0, 2);
	expect_proto(sizeof(storage));
}

/* Not the sender's breach: it must be possible to say which request it was that failed. */
static void fds_without_room_leave_a_readable_message(void **state)
{
	static const uint8_t word[8] = { 9, 0, 0, 0, 1, 2, 3, 4 };
	struct rlimit old, none;
	struct ipc_msg m;
	uint32_t v;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	for (unsigned room = 0; room < 3; room++) {
		none.rlim_cur = (rlim_t)sv[1] + 1 + room;
		send_raw(word, sizeof(word), 3);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), 0), ERR_FULL);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(m.type, 9);
		assert_int_equal(m.nfds, 0);
		assert_true(buf_get_u32le(&m.body, &v) == 0 && v == 0x04030201 && buf_left(&m.body) == 0);
		assert_int_equal(count_fds(), fds_before);
	}
}

static void foreign_control_data_is_refused(void **state)
{
	static const uint8_t small[4];
	int on = 1;

	(void)state;
	assert_int_equal(setsockopt(sv[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	send_raw(small, sizeof(small), 1);
	expect_proto(sizeof(storage));
}

static void gone_peers_and_empty_queues_are_told_apart(void **state)
{
	struct ipc_msg m;

	(void)state;
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), MSG_DONTWAIT), ERR_AGAIN);
	assert_int_equal(ipc_send(sv[0], 1, NULL, NULL, 0), 0);
	fd_close(&sv[0]);
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), MSG_DONTWAIT), 0);
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), MSG_DONTWAIT), ERR_CLOSED);
	assert_int_equal(ipc_send(sv[1], 1, NULL, NULL, 0), ERR_CLOSED);
	assert_int_equal(ipc_recv(-1, &m, storage, sizeof(storage), 0), ERR_SYS);
}

static void a_full_queue_says_again_and_never_waits(void **state)
{
	struct ipc_msg m;
	struct buf b;
	int err, sent = 0;

	(void)state;
	assert_int_equal(fcntl(sv[0], F_GETFL) & O_NONBLOCK, 0); /* that it does not wait is not the socket's doing */
	buf_wrap(&b, storage, 100000);
	while ((err = ipc_send(sv[0], 1, &b, NULL, 0)) == 0)
		assert_true(++sent < 1000);
	assert_int_equal(err, ERR_AGAIN);
	assert_true(sent > 0);
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), 0), 0);
	assert_int_equal(ipc_send(sv[0], 1, NULL, NULL, 0), 0);
}

static void pairs_are_close_on_exec(void **state)
{
	(void)state;
	assert_true(fcntl(sv[0], F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(sv[1], F_GETFD) & FD_CLOEXEC);
}

static int calls;
static int handler_result;

static int read_four(void *peer, struct ipc_msg *m)
{
	uint32_t v;

	assert_ptr_equal(peer, &calls);
	calls++;
	if (handler_result)
		return handler_result;
	return m->body.len ? buf_get_u32le(&m->body, &v) : 0;
}

static const struct ipc_rule rules[] = {
	{ .type = 1, .states = 0x1, .min = 4, .max = 8, .min_fds = 1, .max_fds = 2, .handle = read_four },
	{ .type = 2, .states = 0x6, .min = 0, .max = 0, .min_fds = 0, .max_fds = 0, .handle = read_four },
};

static int dispatch(uint32_t type, uint32_t st, size_t len, unsigned nfds)
{
	struct ipc_msg m;
	struct buf b;
	int fds[] = { sv[0], sv[0], sv[0] };
	int err;

	buf_wrap(&b, storage, len);
	assert_int_equal(ipc_send(sv[0], type, &b, fds, nfds), 0);
	assert_int_equal(ipc_recv(sv[1], &m, storage, sizeof(storage), 0), 0);
	err = ipc_dispatch(rules, ARRAY_LEN(rules), st, &calls, &m);
	assert_int_equal(m.nfds, 0);
	assert_int_equal(count_fds(), fds_before);
	return err;
}

static void the_table_permits_and_nothing_else(void **state)
{
	(void)state;
	calls = 0;
	handler_result = 0;
	assert_int_equal(dispatch(3, 1, 4, 1), ERR_PROTO);
	assert_int_equal(dispatch(1, 2, 4, 1), ERR_PROTO);
	assert_int_equal(dispatch(1, 0, 4, 1), ERR_PROTO);
	assert_int_equal(dispatch(1, 1, 3, 1), ERR_PROTO);
	assert_int_equal(dispatch(1, 1, 9, 1), ERR_PROTO);
	assert_int_equal(dispatch(1, 1, 4, 0), ERR_PROTO);
	assert_int_equal(dispatch(1, 1, 4, 3), ERR_PROTO);
	assert_int_equal(dispatch(2, 1, 0, 0), ERR_PROTO);
	assert_int_equal(calls, 0);
	assert_int_equal(dispatch(1, 1, 4, 2), 0);
	assert_int_equal(dispatch(2, 2, 0, 0), 0);
	assert_int_equal(dispatch(2, 4, 0, 0), 0);
	assert_int_equal(calls, 3);
}

static void unread_rests_and_handlers_end_a_peer(void **state)
{
	(void)state;
	handler_result = 0;
	assert_int_equal(dispatch(1, 1, 5, 1), ERR_PROTO);
	assert_int_equal(dispatch(1, 1, 8, 1), ERR_PROTO);
	handler_result = ERR_BUSY;
	assert_int_equal(dispatch(1, 1, 8, 1), ERR_BUSY);
}

#define IPC_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IPC_TEST(a_message_arrives_whole),
		IPC_TEST(the_largest_message_fits_and_no_larger),
		IPC_TEST(an_empty_body_works),
		IPC_TEST(a_truncated_record_is_refused_and_its_fds_closed),
		IPC_TEST(a_stranger_gives_no_fds), IPC_TEST(too_many_fds_are_refused_and_closed),
		IPC_TEST(records_without_a_type_are_refused_and_their_fds_closed),
		IPC_TEST(fds_without_room_leave_a_readable_message),
		IPC_TEST(foreign_control_data_is_refused),
		IPC_TEST(gone_peers_and_empty_queues_are_told_apart),
		IPC_TEST(a_full_queue_says_again_and_never_waits),
		IPC_TEST(pairs_are_close_on_exec),
		IPC_TEST(the_table_permits_and_nothing_else),
		IPC_TEST(unread_rests_and_handlers_end_a_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
