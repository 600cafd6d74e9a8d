/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/bench/bench.h"

#define ANSWER_MS 30000

void target_open_ring(struct target *t, const struct bench *b, const char *name)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/%s.ring", b->runtime, name);
	*t = (struct target){ .kind = OURS, .sock = -1 };
	err = vtpm_open(path, &t->ring);
	if (err)
		die("%s: %s %s", path, strerror(-err), vtpm_refusal());
}

/* A command that failed has not done the work that is measured. */
static void demand_success(const uint8_t *rsp, size_t n)
{
	uint16_t tag;
	uint32_t size, rc;
	struct buf b;

	buf_wrap(&b, rsp, n);
	if (buf_get_u16be(&b, &tag) || buf_get_u32be(&b, &size) || buf_get_u32be(&b, &rc) || size != n)
		die("a response of %zu bytes that is none", n);
	if (rc)
		die("a command failed with 0x%x", rc);
}

int target_fd(const struct target *t)
{
	return t->kind == OURS ? vtpm_poll_fd(t->ring) : t->sock;
}

void target_send(struct target *t, const struct command *c)
{
	int err = 0;

	if (t->kind == OURS)
		err = vtpm_send(t->ring, c->mem, c->b.len);
	else if (send(t->sock, c->mem, c->b.len, MSG_NOSIGNAL) != (ssize_t)c->b.len)
		err = -errno;
	if (err)
		die("a command could not be sent: %s", strerror(-err));
}

/* wait_ms 0: only looks. */
static bool receive(struct target *t, int wait_ms)
{
	uint8_t rsp[VTPM_COMMAND_MAX];
	size_t n = sizeof(rsp);
	ssize_t r;
	int err;

	if (t->kind == OURS) {
		err = vtpm_receive(t->ring, rsp, &n, wait_ms);
		if (err == -ETIMEDOUT && !wait_ms)
			return false;
	} else {
		r = recv(t->sock, rsp, sizeof(rsp), wait_ms ? 0 : MSG_DONTWAIT);
		if (r < 0 && errno == EAGAIN && !wait_ms)
			return false;
		err = r > 0 ? 0 : r < 0 ? -errno : -ECONNRESET;
		n = r > 0 ? (size_t)r : 0;
	}
	if (err)
		die("no response: %s", strerror(-err));
	demand_success(rsp, n);
	return true;
}

bool target_done(struct target *t)
{
	return receive(t, 0);
}

void target_call(struct target *t, const struct command *c)
{
	if (t->kind == FLOOR) {
		floor_call(c);
		return;
	}
	target_send(t, c);
	receive(t, ANSWER_MS);
}

/* A swtpm ends with its connection: it was started so. */
void target_close(struct target *t)
{
	vtpm_close(t->ring);
	t->ring = NULL;
	fd_close(&t->sock);
	if (t->kind == SWTPM && t->pid > 0)
		waitpid(t->pid, NULL, 0);
}
