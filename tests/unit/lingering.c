/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/lingering.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

int lingering(int *peer)
{
	const struct linger forever = { .l_onoff = 1, .l_linger = 1000 };
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	static const uint8_t zeros[65536];
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	must(listener >= 0 && fd >= 0, "socket");
	must(bind(listener, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(listener, 1) == 0, "listen");
	must(getsockname(listener, (struct sockaddr *)&sa, &len) == 0, "getsockname");
	must(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0, "connect");
	*peer = accept(listener, NULL, NULL);
	must(*peer >= 0, "accept");
	while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT) > 0)
		;
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &forever, sizeof(forever)) == 0, "SO_LINGER");
	close(listener);
	return fd;
}
