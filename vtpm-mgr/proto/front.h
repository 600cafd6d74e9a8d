/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A front and the manager, on <runtime-dir>/swtpm.sock: a front is a program that stands where others expect swtpm
 * (vtpm-swtpm). One connection is one of two conversations; FRONT_REFUSED ends either at any point.
 *
 * A vTPM is set up. It lasts when FRONT_KEPT has come: until then an end of the connection undoes it.
 *	f -> m  FRONT_SETUP {uuid machine, str name}		machine: all zero if it is not known; name: any text
 *	m -> f  FRONT_MADE {uuid, token, str name}		what to keep, and what the vTPM is called
 *	f -> m  FRONT_KEPT {}					it is on the front's disk
 *	m -> f  FRONT_READY {str name}
 *
 * A vTPM is served to the QEMUs that the front brings, one after the other.
 *	f -> m  FRONT_CLAIM {uuid, token}
 *	m -> f  FRONT_READY {str name}
 *	f -> m  FRONT_CONNECT {} + 1 fd				QEMU's control channel, a connected AF_UNIX SOCK_STREAM
 *	m -> f  FRONT_OFF {i32 code, str text}			that one is closed; code 0: in order
 * The end of the connection has no effect on a QEMU that was brought.
 */
#ifndef VTPM_PROTO_FRONT_H
#define VTPM_PROTO_FRONT_H

#include <stdint.h>

#include "lib/ipc.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/limits.h"

#define FRONT_SOCKET   "swtpm.sock" /* in the runtime directory; AF_UNIX SOCK_SEQPACKET */
#define FRONT_TOKEN_LEN 32u
#define FRONT_NAME_MAX 255u /* of a machine, without the NUL */

enum {
	FRONT_SETUP = 0x46520001,
	FRONT_MADE = 0x46520002,
	FRONT_KEPT = 0x46520003,
	FRONT_CLAIM = 0x46520004,
	FRONT_READY = 0x46520005,
	FRONT_CONNECT = 0x46520006,
	FRONT_OFF = 0x46520007,
	FRONT_REFUSED = 0x46520008,
};

struct front_setup {
	uint8_t machine[UUID_LEN];
	char name[FRONT_NAME_MAX + 1];
};
/* FRONT_MADE; FRONT_CLAIM has no name. */
struct front_claim {
	uint8_t uuid[UUID_LEN]; /* of the vTPM */
	uint8_t token[FRONT_TOKEN_LEN];
	char name[NAME_MAX_LEN + 1];
};
/* FRONT_OFF and FRONT_REFUSED. */
struct front_result {
	int32_t code;
	char text[TEXT_MAX + 1];
};

#define FRONT_SETUP_MIN	 (UUID_LEN + 4u)
#define FRONT_SETUP_MAX	 (FRONT_SETUP_MIN + FRONT_NAME_MAX)
#define FRONT_MADE_MIN	 (UUID_LEN + FRONT_TOKEN_LEN + 4u + 1u)
#define FRONT_MADE_MAX	 (UUID_LEN + FRONT_TOKEN_LEN + 4u + NAME_MAX_LEN)
#define FRONT_CLAIM_SIZE (UUID_LEN + FRONT_TOKEN_LEN)
#define FRONT_READY_MIN	 (4u + 1u)
#define FRONT_READY_MAX	 (4u + NAME_MAX_LEN)
#define FRONT_RESULT_MIN (4u + 4u)
#define FRONT_RESULT_MAX (4u + 4u + TEXT_MAX)
#define FRONT_BODY_MAX	 FRONT_RESULT_MAX /* of all of them */

CHECKED int front_setup_encode(struct buf *b, const struct front_setup *m);
CHECKED int front_setup_decode(struct buf *b, struct front_setup *m);
CHECKED int front_made_encode(struct buf *b, const struct front_claim *m);
CHECKED int front_made_decode(struct buf *b, struct front_claim *m);
CHECKED int front_claim_encode(struct buf *b, const struct front_claim *m);
CHECKED int front_claim_decode(struct buf *b, struct front_claim *m);
CHECKED int front_ready_encode(struct buf *b, const char *name);
CHECKED int front_ready_decode(struct buf *b, char name[static NAME_MAX_LEN + 1]);
CHECKED int front_result_encode(struct buf *b, const struct front_result *m);
CHECKED int front_result_decode(struct buf *b, struct front_result *m);

#endif
