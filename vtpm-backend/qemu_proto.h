/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control channel of swtpm, as its clients speak it: AF_UNIX SOCK_STREAM, numbers big-endian.
 *
 *	request  u32 command | body	reply  u32 result | body
 *
 * A request has no length and may be longer than its command needs (QEMU pads SET_LOCALITY), so what one recvmsg brings
 * is one request, as in swtpm; QEMU sends each in one piece and waits for the reply. Only the data of SET_STATEBLOB
 * comes apart. A reply with an error is its result alone.
 */
#ifndef VTPM_BACKEND_QEMU_PROTO_H
#define VTPM_BACKEND_QEMU_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

enum {
	CMD_GET_CAPABILITY = 0x01,
	CMD_INIT = 0x02,
	CMD_SHUTDOWN = 0x03,
	CMD_GET_TPMESTABLISHED = 0x04,
	CMD_SET_LOCALITY = 0x05,
	CMD_HASH_START = 0x06,
	CMD_HASH_DATA = 0x07,
	CMD_HASH_END = 0x08,
	CMD_CANCEL_TPM_CMD = 0x09,
	CMD_STORE_VOLATILE = 0x0a,
	CMD_RESET_TPMESTABLISHED = 0x0b,
	CMD_GET_STATEBLOB = 0x0c,
	CMD_SET_STATEBLOB = 0x0d,
	CMD_STOP = 0x0e,
	CMD_GET_CONFIG = 0x0f,
	CMD_SET_DATAFD = 0x10,
	CMD_SET_BUFFERSIZE = 0x11,
	CMD_GET_INFO = 0x12,
	CMD_LOCK_STORAGE = 0x13,
};

/* All of the commands above: PTM_CAP_* in the order of their bits, without bit 15, a header before TPM commands. */
#define QEMU_CAPABILITIES 0x17fffu

/* Results: codes of TPM 1.2, whatever the TPM. */
enum {
	QEMU_SUCCESS = 0,
	QEMU_BAD_PARAMETER = 0x03,
	QEMU_FAIL = 0x09,
	QEMU_BAD_ORDINAL = 0x0a, /* unknown, or not in this state */
	QEMU_IOERROR = 0x1f,
	QEMU_BAD_LOCALITY = 0x3d,
	QEMU_NO_BLOB = 0x800,
};

enum { BLOB_PERMANENT = 1, BLOB_VOLATILE = 2, BLOB_SAVESTATE = 3 };
#define BLOB_FLAG_DECRYPTED 1u /* get: in the clear, please */
#define BLOB_FLAG_ENCRYPTED 2u /* it is not in the clear */

#define QEMU_INIT_DELETE_VOLATILE 1u /* INIT does so whether it is asked or not */
#define QEMU_DATAFD_ONCE	  0x4f4e4345u /* "ONCE": our own, and what a client of swtpm's pads with is none */
#define QEMU_LOCALITY_MAX	  4u
#define QEMU_HASH_MAX		  4096u
#define QEMU_REQUEST_MAX	  (4u + 4u + QEMU_HASH_MAX)
#define QEMU_REPLY_MAX		  3084u /* GET_INFO: three words and 3 KiB */

/* When a command is permitted. */
enum { QEMU_ON = 1, QEMU_OFF = 2, QEMU_ANY = 3 };

struct backend;
struct qemu_job;

struct qemu_rule {
	uint32_t cmd;
	uint8_t state; /* of the TPM */
	bool ends;     /* does not wait for the TPM command in hand, but has it cancelled */
	size_t min;    /* size of the body; what is beyond counts for nothing */
	/* In the engine thread; NULL: the control thread answers. Returns the result. */
	uint32_t (*run)(struct backend *b, struct qemu_job *job);
};

struct qemu_reply {
	struct buf b;
	uint8_t mem[QEMU_REPLY_MAX];
	uint8_t *blob; /* follows, blob_len bytes; freed with the reply */
	size_t blob_len;
};

/* NULL: no such command. */
const struct qemu_rule *qemu_rule_find(uint32_t cmd);

/* Begins a reply with QEMU_SUCCESS; handlers append, and qemu_reply_end cuts what was appended off if the result is an error. */
void qemu_reply_begin(struct qemu_reply *r);
void qemu_reply_end(struct qemu_reply *r, uint32_t result);
void qemu_reply_free(struct qemu_reply *r);

#endif
