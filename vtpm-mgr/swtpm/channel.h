/* SPDX-License-Identifier: BSD-2-Clause */
/* Of swtpm's control channel what swtpm_ioctl says and hears: big-endian, u32 command | body; u32 result | body. */
#ifndef VTPM_SWTPM_CHANNEL_H
#define VTPM_SWTPM_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define CHANNEL_WORD	  4u
#define CHANNEL_REPLY_MAX 4096u

enum channel_command {
	CHANNEL_GET_CAPABILITY = 0x01,
	CHANNEL_INIT = 0x02,
	CHANNEL_SHUTDOWN = 0x03,
	CHANNEL_GET_TPMESTABLISHED = 0x04,
	CHANNEL_SET_LOCALITY = 0x05,
	CHANNEL_HASH_START = 0x06,
	CHANNEL_HASH_DATA = 0x07,
	CHANNEL_HASH_END = 0x08,
	CHANNEL_CANCEL_TPM_CMD = 0x09,
	CHANNEL_STORE_VOLATILE = 0x0a,
	CHANNEL_RESET_TPMESTABLISHED = 0x0b,
	CHANNEL_STOP = 0x0e,
	CHANNEL_GET_CONFIG = 0x0f,
	CHANNEL_SET_BUFFERSIZE = 0x11,
	CHANNEL_GET_INFO = 0x12,
};

#define CHANNEL_INIT_DELETE_VOLATILE 1u
#define CHANNEL_HASH_MAX	     4096u

/* Whether the n bytes that a connection begins with are a SHUTDOWN. */
bool channel_is_shutdown(const uint8_t *p, size_t n);
/* Result 0 and no body, to whoever said SHUTDOWN. */
CHECKED int channel_answer(int sock);

#endif
