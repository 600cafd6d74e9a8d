/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_back.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hv/page.h"
#include "lib/util.h"

static void demand(bool truth, const char *what)
{
	if (truth)
		return;
	perror(what);
	abort();
}

void fake_back_make(struct fake_back *b, int (*serve)(struct fake_back *b, uint8_t *cmd, size_t len))
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	memset(b, 0, sizeof(*b));
	b->serve = serve;
	b->client_fd = -1;
	snprintf(b->dir, sizeof(b->dir), "/tmp/vtpm-test-XXXXXX");
	demand(mkdtemp(b->dir) != NULL, "mkdtemp");
	snprintf(b->path, sizeof(b->path), "%s/web1.ring", b->dir);
	memcpy(sun.sun_path, b->path, strlen(b->path));
	b->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	demand(bind(b->listen_fd, (struct sockaddr *)&sun, sizeof(sun)) == 0, "bind");
	demand(listen(b->listen_fd, 1) == 0, "listen");
	b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	demand(local_ring_make(&b->ring) == 0, "local_ring_make");
	demand(local_attach_back(&b->chan, &b->ring) == 0, "local_attach_back");
}

static bool accept_client(struct fake_back *b)
{
	struct pollfd fds[2] = {{.fd = b->listen_fd, .events = POLLIN}, {.fd = b->stop_fd, .events = POLLIN}};

	demand(poll(fds, 2, -1) > 0, "poll");
	if (fds[1].revents != 0)
		return false;
	b->client_fd = accept(b->listen_fd, NULL, NULL);
	demand(b->client_fd >= 0, "accept");
	if (b->refuse == 0)
		return local_send_grant(b->client_fd, &b->ring) == 0;
	demand(local_send_refusal(b->client_fd, b->refuse, "web1: told to refuse") == 0, "refuse");
	fd_close(&b->client_fd);
	return false;
}

static void *fake_back_run(void *arg)
{
	struct fake_back *b = arg;
	uint8_t cmd[CHAN_PACKET_MAX];
	struct chan_request req;

	if (!accept_client(b))
		return NULL;
	do {
		if (chan_take(&b->chan, cmd, &req) != CHAN_REQUEST)
			continue;
		b->locality = req.locality;
		__atomic_fetch_add(&b->served, 1, __ATOMIC_RELEASE);
		if (b->serve(b, cmd, req.len) != 0)
			break;
	} while (chan_wait(&b->chan, b->stop_fd, 20) == 0);
	fd_close(&b->client_fd);
	return NULL;
}

void fake_back_start(struct fake_back *b)
{
	demand(pthread_create(&b->thread, NULL, fake_back_run, b) == 0, "pthread_create");
}

void fake_back_stop(struct fake_back *b)
{
	const uint64_t one = 1;

	demand(write(b->stop_fd, &one, sizeof(one)) == (ssize_t)sizeof(one), "write");
	demand(pthread_join(b->thread, NULL) == 0, "pthread_join");
	local_ring_unmap((void *)(uintptr_t)b->chan.page);
	local_ring_close(&b->ring);
	fd_close(&b->listen_fd);
	fd_close(&b->stop_fd);
	unlink(b->path);
	rmdir(b->dir);
}

int serve_echo(struct fake_back *b, uint8_t *cmd, size_t len)
{
	return chan_respond(&b->chan, 1, cmd, len);
}

int serve_until_cancelled(struct fake_back *b, uint8_t *cmd, size_t len)
{
	static const uint8_t canceled[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09};
	struct pollfd fds[2] = {{.fd = b->stop_fd, .events = POLLIN}, {.fd = b->ring.to_back, .events = POLLIN}};

	(void)cmd;
	(void)len;
	while (!chan_cancelled(&b->chan)) {
		demand(poll(fds, 2, -1) > 0, "poll");
		if (fds[0].revents != 0)
			return -1;
		demand(b->chan.port.ack(&b->chan.port) == 0, "ack");
	}
	return chan_respond(&b->chan, 1, canceled, sizeof(canceled));
}

int serve_hang_up(struct fake_back *b, uint8_t *cmd, size_t len)
{
	(void)b;
	(void)cmd;
	(void)len;
	return -1;
}

int serve_length(struct fake_back *b, uint8_t *cmd, size_t len)
{
	page_write(b->chan.page, CHAN_HEADER_SIZE, cmd, len);
	page_set_length(b->chan.page, b->value);
	page_set_state(b->chan.page, CHAN_STATE_FINISH);
	return b->chan.port.notify(&b->chan.port);
}

int serve_state(struct fake_back *b, uint8_t *cmd, size_t len)
{
	(void)cmd;
	(void)len;
	page_set_state(b->chan.page, (uint8_t)b->value);
	return b->chan.port.notify(&b->chan.port);
}
