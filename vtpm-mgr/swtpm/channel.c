/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/swtpm/channel.h"

#include <errno.h>
#include <sys/socket.h>

bool channel_is_shutdown(const uint8_t *p, size_t n)
{
	struct buf b;
	uint32_t command;

	buf_wrap(&b, p, n);
	return !buf_get_u32be(&b, &command) && command == CHANNEL_SHUTDOWN;
}

int channel_answer(int sock)
{
	static const uint8_t success[CHANNEL_WORD];

	return send(sock, success, sizeof(success), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(success)
		       ? 0
		       : err_from_errno(errno);
}
