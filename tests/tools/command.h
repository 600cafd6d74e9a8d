/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole TPM 2.0 commands (Part 3) for test programs that sit in a guest's place. Each builder resets its cursor. */
#ifndef TESTS_TOOLS_COMMAND_H
#define TESTS_TOOLS_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "hv/chan_abi.h"
#include "lib/buf.h"

#define COMMAND_PCR	16u	    /* resettable, so that nobody else's measurements are in it */
#define COMMAND_NV	0x01500020u /* written and read with owner authorisation */
#define COMMAND_NV_SIZE 32u
#define COMMAND_DIGEST	32u
#define COMMAND_PIN	0x01500021u /* read under an auth value that can be guessed, and locks out */

enum {
	RC_SUCCESS = 0,
	RC_FAILURE = 0x101,
	RC_COMMAND_SIZE = 0x142,
	RC_NV_DEFINED = 0x14c,
	RC_LOCALITY = 0x907,
	RC_CANCELED = 0x909,
	RC_RETRY = 0x922,
	RC_AUTH_FAIL_1 = 0x98e, /* of the first session */
};

struct command {
	uint8_t mem[CHAN_PACKET_MAX];
	struct buf b; /* over mem */
};

void command_get_random(struct command *c);
void command_pcr_read(struct command *c);
void command_pcr_extend(struct command *c, const uint8_t digest[static COMMAND_DIGEST]);
void command_nv_define(struct command *c);
void command_nv_write(struct command *c, const uint8_t data[static COMMAND_NV_SIZE]);
void command_nv_read(struct command *c);
/* A hash sequence, SHA-256, with an empty auth; its handle is the first field of the answer, as that of a session. */
void command_sequence_start(struct command *c);
void command_sequence_update(struct command *c, uint32_t sequence, const uint8_t data[static COMMAND_DIGEST]);
void command_sequence_complete(struct command *c, uint32_t sequence);
/* A policy session, SHA-256. */
void command_policy_start(struct command *c);
#define COMMAND_POLICY_CODE 0x13du /* what command_policy_extend restricts it to, once more each time */
void command_policy_extend(struct command *c, uint32_t session);
void command_policy_digest(struct command *c, uint32_t session);
/* COMMAND_PIN, of 4 bytes. */
void command_pin_define(struct command *c, const char *pin);
void command_pin_try(struct command *c, const char *pin);
/* The lockout authorisation is empty. */
void command_da_parameters(struct command *c, uint32_t max_tries, uint32_t seconds);
void command_lockout_counter(struct command *c);
/* A storage key in the owner hierarchy, another one for each value of unique. */
void command_create_primary_rsa(struct command *c, uint32_t unique);
void command_create_primary_ecc(struct command *c);
void command_flush(struct command *c, uint32_t handle);
void command_shutdown(struct command *c);
void command_get_capability(struct command *c);
void command_hash(struct command *c);
void command_clear(struct command *c);
/* What a rogue backend takes for an order: see rogue.h. */
void command_rogue(struct command *c, uint32_t attempt, uint32_t victim);

/* TPM_RC of a response; UINT32_MAX if its header disagrees with its length. */
uint32_t response_code(const uint8_t *rsp, size_t len);
/* The n last bytes of a parameter, at offset off of the response; NULL if it is shorter. */
const uint8_t *response_bytes(const uint8_t *rsp, size_t len, size_t off, size_t n);

#endif
