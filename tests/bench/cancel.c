/* SPDX-License-Identifier: BSD-2-Clause */
/* A cancel over QEMU's control channel, while the TPM makes an RSA key: from the request until the command is answered. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/bench/bench.h"
#include "vtpm-backend/qemu_proto.h"

#define GUEST	"solo"
#define CANCELS 101u
#define RC_CANCELED 0x909u
#define AFTER_US_MAX 10000u /* into the making; few keys are made sooner */

struct client {
	int control, data;
	pid_t pid; /* swtpm's; -1: the manager's */
	unsigned cancelled;
	struct samples took;
};

static int dial(const struct bench *b)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/" GUEST ".swtpm", b->runtime) >= (int)sizeof(sa.sun_path))
		die("the laboratory's path is too long");
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("%s: %s", sa.sun_path, strerror(errno));
	return fd;
}

/* Sends a request of n words, with a descriptor unless it is -1, and demands success. */
static void request(const struct client *c, const uint32_t *words, size_t n, int fd)
{
	union {
		struct cmsghdr align;
		uint8_t mem[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	uint8_t mem[16], result[4];
	struct iovec iov = { .iov_base = mem, .iov_len = 4 * n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct buf out;

	buf_init(&out, mem, sizeof(mem));
	for (size_t i = 0; i < n; i++)
		if (buf_put_u32be(&out, words[i]))
			die("a request is too long");
	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
							 .cmsg_type = SCM_RIGHTS,
							 .cmsg_len = CMSG_LEN(sizeof(fd)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	}
	if (sendmsg(c->control, &msg, MSG_NOSIGNAL) != (ssize_t)(4 * n) ||
	    recv(c->control, result, sizeof(result), MSG_WAITALL) != sizeof(result))
		die("the control channel is gone");
	if (memcmp(result, (const uint8_t[4]){ 0 }, sizeof(result)) != 0)
		die("request %u failed", words[0]);
}

static void send_command(const struct client *c, const struct command *cmd)
{
	if (send(c->data, cmd->mem, cmd->b.len, MSG_NOSIGNAL) != (ssize_t)cmd->b.len)
		die("the data channel is gone");
}

/* The response code, and the handle that comes behind it. */
static uint32_t receive(const struct client *c, uint32_t *handle)
{
	uint8_t rsp[4096];
	ssize_t n = recv(c->data, rsp, sizeof(rsp), 0);
	uint32_t rc;
	struct buf b;

	buf_wrap(&b, rsp, n > 0 ? (size_t)n : 0);
	if (buf_skip(&b, 6) || buf_get_u32be(&b, &rc))
		die("no response over the data channel");
	*handle = 0;
	if (rc == 0)
		(void)!buf_get_u32be(&b, handle); /* not every response has one */
	return rc;
}

static void demand(const struct client *c, const struct command *cmd)
{
	uint32_t rc, handle;

	send_command(c, cmd);
	rc = receive(c, &handle);
	if (rc)
		die("a command failed with 0x%x", rc);
}

/* What QEMU does until its guest runs. */
static void power_on(struct client *c)
{
	struct command cmd;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		die("socketpair: %s", strerror(errno));
	request(c, (const uint32_t[]){ CMD_SET_DATAFD }, 1, sv[1]);
	close(sv[1]);
	c->data = sv[0];
	request(c, (const uint32_t[]){ CMD_INIT, 0 }, 2, -1);
	command_startup(&cmd);
	demand(c, &cmd);
}

/* A key that was there before the cancel is no sample. */
static void cancel_one(struct client *c, uint32_t serial)
{
	const struct timespec pause = { .tv_nsec = 1000L * (1000 + serial * 7919 % AFTER_US_MAX) };
	struct pollfd p = { .fd = c->data, .events = POLLIN };
	struct command cmd;
	uint32_t rc, handle;
	double from;
	bool late;

	command_create_rsa(&cmd, serial);
	send_command(c, &cmd);
	nanosleep(&pause, NULL);
	late = poll(&p, 1, 0) > 0;
	from = now_us();
	request(c, (const uint32_t[]){ CMD_CANCEL_TPM_CMD }, 1, -1);
	rc = receive(c, &handle);
	if (!late)
		samples_add(&c->took, (now_us() - from) / 1e3);
	c->cancelled += rc == RC_CANCELED;
	if (rc == RC_CANCELED)
		return;
	if (rc)
		die("CreatePrimary failed with 0x%x", rc);
	command_flush(&cmd, handle);
	demand(c, &cmd);
}

void bench_cancel(const struct bench *b)
{
	static struct client c[2];

	memset(c, 0, sizeof(c));
	swtpm_copy(b, "s1");
	c[OURS] = (struct client){ .control = dial(b), .pid = -1 };
	c[SWTPM].pid = swtpm_start_for_qemu(b, "s1", &c[SWTPM].control);
	power_on(&c[OURS]);
	power_on(&c[SWTPM]);
	for (uint32_t i = 1; i <= CANCELS; i++)
		for (enum column k = OURS; k <= SWTPM; k++)
			cancel_one(&c[k], i);
	for (enum column k = OURS; k <= SWTPM; k++) {
		printf("  %u of %zu cancelled in time were, by %s\n", c[k].cancelled, c[k].took.n, k == OURS ? "ours" : "swtpm");
		result(b, "cancel_ms", k, samples_median(&c[k].took));
		fd_close(&c[k].data);
		fd_close(&c[k].control);
	}
	waitpid(c[SWTPM].pid, NULL, 0);
}
