/* SPDX-License-Identifier: BSD-2-Clause */
/* Of swtpm's control channel what swtpm_ioctl and a front that serves say and hear: big-endian, u32 command | body; u32 result | body. */
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
	CHANNEL_GET_STATEBLOB = 0x0c,
	CHANNEL_SET_STATEBLOB = 0x0d,
	CHANNEL_STOP = 0x0e,
	CHANNEL_GET_CONFIG = 0x0f,
	CHANNEL_SET_DATAFD = 0x10,
	CHANNEL_SET_BUFFERSIZE = 0x11,
	CHANNEL_GET_INFO = 0x12,
};

#define CHANNEL_INIT_DELETE_VOLATILE 1u
#define CHANNEL_DATAFD_ONCE	     0x4f4e4345u /* the data channel ends with its first answer */
#define CHANNEL_HASH_MAX	     4096u
#define CHANNEL_REQUEST_MAX	     (2 * CHANNEL_WORD + CHANNEL_HASH_MAX) /* what a TPM takes for one request */

/* Bits of GET_CAPABILITY. */
#define CHANNEL_CAP_STATEBLOBS 0x300u /* get and set */
#define CHANNEL_CAP_SET_DATAFD 0x1000u

/* Results. */
#define CHANNEL_FAIL	     0x09u
#define CHANNEL_BAD_ORDINAL  0x0au
#define CHANNEL_BAD_LOCALITY 0x3du

/* Whether the n bytes that a connection begins with are a SHUTDOWN. */
bool channel_is_shutdown(const uint8_t *p, size_t n);
/* n bytes in one piece, with a descriptor unless fd is -1; without waiting. */
CHECKED int channel_send(int sock, const void *p, size_t n, int fd);
/* Result 0 and no body, to whoever said SHUTDOWN. */
CHECKED int channel_answer(int sock);

#endif
