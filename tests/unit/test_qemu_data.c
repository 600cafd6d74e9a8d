/* SPDX-License-Identifier: BSD-2-Clause */
/* The data channel of a QEMU, or of whoever stands in its place: how it begins and ends. */
#include "tests/unit/lingering.h"
#include "tests/unit/qemu_client.h"

#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vtpm-backend/tpm.h"

#define FLOODS 1000000 /* of 64 KiB: more than anybody waits for */

static const uint8_t read_clock[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81 };

/* SET_DATAFD with something behind it; both ends stay with the caller, so that the other end's end can be seen. */
static uint32_t set_datafd(struct rig_backend *b, uint32_t flags, int sv[static 2])
{
	uint8_t request[8] = { 0, 0, 0, CMD_SET_DATAFD, (uint8_t)(flags >> 24), (uint8_t)(flags >> 16), (uint8_t)(flags >> 8),
			       (uint8_t)flags };
	uint8_t code[4];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	client_send(b, request, sizeof(request), sv[1]);
	client_receive(b, code, sizeof(code));
	assert_memory_equal(code, "\0\0\0", 3);
	return code[3];
}

/* Whether both directions of it have ended, without anything being read. */
static void assert_shut(int fd)
{
	struct pollfd p = { .fd = fd };

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_true(p.revents & POLLHUP);
}

/* Who brought a data channel and kept a copy learns of its end, whichever side made it. */
static void test_data_channel_is_shut(void **state)
{
	struct rig_backend b;
	int sv[2];

	(void)state;
	client_connect(&b, &disk);
	assert_int_equal(set_datafd(&b, QEMU_DATAFD_ONCE, sv), 0); /* one answer, whatever else has come */
	assert_int_equal(send(sv[0], read_clock, sizeof(read_clock), 0), sizeof(read_clock));
	b.data = sv[0];
	assert_int_equal(client_answer(&b), TPM_RC_FAILURE);
	assert_shut(sv[1]);
	close(sv[0]);
	close(sv[1]);
	assert_int_equal(set_datafd(&b, 0, sv), 0);
	b.data = sv[0];
	for (int i = 0; i < 2; i++) { /* and of no more than that one */
		assert_int_equal(send(sv[0], read_clock, sizeof(read_clock), 0), sizeof(read_clock));
		assert_int_equal(client_answer(&b), TPM_RC_FAILURE);
	}
	assert_int_equal(shutdown(sv[0], SHUT_WR), 0);
	assert_shut(sv[1]); /* a copy of the backend's own */
	close(sv[0]);
	close(sv[1]);
	assert_int_equal(client_set_datafd(&b), 0);
	assert_int_equal(client_hang_up(&b), 0);
}

/* One that has gone is replaced, whatever it still sent. */
static void test_data_channel_of_one_who_vanished(void **state)
{
	struct rig_backend b;
	int sv[2];

	(void)state;
	client_connect(&b, &disk);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(set_datafd(&b, 0, sv), 0);
		assert_int_equal(send(sv[0], read_clock, i % 2 ? 6 : sizeof(read_clock), MSG_NOSIGNAL), i % 2 ? 6 : sizeof(read_clock));
		close(sv[0]);
		close(sv[1]);
	}
	assert_int_equal(client_set_datafd(&b), 0);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(client_hang_up(&b), 0);
}

/* Writes to the data channel until nobody reads any more. */
static pid_t flood(const struct rig_backend *b)
{
	static const uint8_t zeros[65536];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	for (int i = 0; i < FLOODS; i++)
		if (send(b->data, zeros, sizeof(zeros), MSG_NOSIGNAL) < 0)
			_exit(0);
	_exit(1);
}

/* What is forgotten with STOP is what has come by then, not what comes as long as somebody sends. */
static void test_flood(void **state)
{
	struct rig_backend b;
	pid_t writers[4];
	int status;

	(void)state;
	client_power_on(&b, &disk);
	for (size_t i = 0; i < 4; i++)
		writers[i] = flood(&b);
	for (int i = 0; i < 50; i++)
		assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_hang_up(&b), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

/* A socket that is always ready and never has anything keeps the engine thread from sleeping: it is no data channel. */
static void test_busy_data_channel(void **state)
{
	static const uint8_t request[] = { 0, 0, 0, CMD_SET_DATAFD };
	const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);
	struct rig_backend b;
	struct pollfd p;
	uint8_t code[4];
	int fd, tries = 0;

	(void)state;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps)), 0);
	assert_int_equal(send(fd, request, 4, 0), 4);
	assert_int_equal(recv(fd, code, 4, 0), 4); /* its stamp stays in the error queue */
	p = (struct pollfd){ .fd = fd };
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(p.revents & POLLERR);
	client_connect(&b, &disk);
	client_send(&b, request, sizeof(request), fd);
	client_receive(&b, code, sizeof(code));
	assert_int_equal(code[3], 0);
	close(fd);
	/* It is closed as soon as the engine thread looks at it; until then there is one already. */
	while (client_set_datafd(&b) == QEMU_IOERROR)
		assert_true(++tries < 10000);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(client_hang_up(&b), 0);
}

/* The last to let go of a data channel is the spawner, when nobody is to go on with it; and it waits for nobody's socket. */
static void lingers(void)
{
	static const uint8_t request[] = { 0, 0, 0, CMD_SET_DATAFD };
	struct rig_backend b, next;
	uint8_t code[4];
	int fd, peer;

	client_connect(&b, &disk);
	fd = lingering(&peer);
	client_send(&b, request, sizeof(request), fd);
	close(fd);
	client_receive(&b, code, sizeof(code));
	assert_memory_equal(code, "\0\0\0\0", 4);
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(&b) & 0x7f, SIGKILL);
	rig_drop_area(&rig, b.area);
	client_connect(&next, &disk);
	assert_int_equal(client_hang_up(&next), 0);
	rig_forget(&b);
	close(peer);
}

/* More than once: whose copy is the last, the spawner's or that of a child it has just forked, is chance. */
static void test_lingering_data_channel(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++)
		lingers();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_channel_is_shut),
		cmocka_unit_test(test_data_channel_of_one_who_vanished),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_busy_data_channel),
		cmocka_unit_test(test_lingering_data_channel),
	};

	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
