/* SPDX-License-Identifier: BSD-2-Clause */
/* A front end of a local ring. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/tools/front.h"

void front_open(struct front *f, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char why[256];
	void *page;
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		front_die("%s: too long", path);
	memcpy(sa.sun_path, path, strlen(path));
	f->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (f->sock < 0 || connect(f->sock, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		front_die("%s: %s", path, strerror(errno));
	err = local_receive(f->sock, &f->ring, FRONT_TIMEOUT_MS, why, sizeof(why));
	if (err != 0)
		front_die("%s: %s: %s", path, err_text(err), why);
	err = local_ring_map(&f->ring, &page);
	if (err != 0)
		front_die("%s: map: %s", path, err_text(err));
	f->page = page;
}

void front_signal(const struct front *f)
{
	const uint64_t one = 1;

	if (write(f->ring.to_back, &one, sizeof(one)) < 0 && errno != EAGAIN)
		front_die("signal: %s", strerror(errno));
}

bool front_wait(struct front *f)
{
	struct pollfd fds[2] = {{.fd = f->ring.to_front, .events = POLLIN}, {.fd = f->sock, .events = POLLIN}};
	uint64_t count;

	while (front_in_hand(f)) {
		if (poll(fds, 2, FRONT_TIMEOUT_MS) <= 0)
			front_die("no answer within %d s", FRONT_TIMEOUT_MS / 1000);
		if (fds[0].revents != 0 && read(f->ring.to_front, &count, sizeof(count)) < 0 && errno != EAGAIN)
			front_die("signals: %s", strerror(errno));
		if (fds[1].revents != 0 && front_in_hand(f))
			return false;
	}
	return true;
}
