/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a backend leaves for the one that takes its place when it is killed: an area of memory that the spawner makes, keeps
 * and gives to the next one, and nobody else ever holds. So nobody can put an old one back. It may be swapped out, therefore what is
 * secret in it is sealed; its first page, which says what counts, and the second, a response in clear, are locked as long as a backend lives.
 *
 *	page 0	16 bytes run	random; drawn at power-on, and part of each checkpoint
 *		u64 published	number of the newest checkpoint << 1 | 1 if it rests on a commit whose outcome is not known; 0: none
 *		u64 answered	number of a response << 16 | its length; it changed nothing and lies in page 1. 0: none
 *		u64 attempts	how often the command in hand was begun; 0: none is in execution
 *		u64 redo	number of a checkpoint << 16 | how many records in the log belong to it
 *		u64 power	enum checkpoint_power
 *	page 1	that response, in clear: its next copy is on the guest's page
 *	then	three slots; checkpoint n is in slot n mod 3: u32 length, and a state of kind STATE_CHECKPOINT and version n (state.h) of
 *
 *	16 bytes run | u64 seq | u64 base | u32 flags | i32 why | u64 job | u32 job_result
 *		| u32 lengths of response, volatile, permanent | these three
 *
 *	then	a log of records, one behind the other: u32 length, and a state of kind STATE_REDO and version checkpoint << 16 | n, n
 *		from 1, of a command that was executed since that checkpoint and would have the same effect again:
 *
 *	16 bytes run | u64 seq | u8 locality | var command
 *
 *	then	what the transport needs to go on (checkpoint_link)
 *
 * Native numbers, for one machine; a build that has another layout has another FORMAT in vtpm-mgr/held_guests.c, too. Each u64 is written in one store, with release order, after what it speaks of.
 *
 * The newest checkpoint counts if it rests on the version of the permanent state that the store has; the one before it only if the
 * newest was published together with a commit and the store has no such version: then the command was never durable.
 */
#ifndef VTPM_BACKEND_CHECKPOINT_H
#define VTPM_BACKEND_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/chan_abi.h"
#include "vtpm-backend/state.h"

#define CHECKPOINT_RUN_LEN  16u
#define CHECKPOINT_LINK_LEN (5u * SEALED_STATE_MAX)

/* Whether there must be a checkpoint that counts. */
enum checkpoint_power {
	CHECKPOINT_OFF,	     /* no: the TPM is off */
	CHECKPOINT_ON,	     /* yes */
	CHECKPOINT_CHANGING, /* it is about to be off, or on with another state: if none counts it is off */
};

enum {
	CHECKPOINT_SHUTDOWN = 1u << 0,	  /* the last command was a successful TPM2_Shutdown */
	CHECKPOINT_AUTH_FAILED = 1u << 1, /* an authorisation has failed since the last commit */
	CHECKPOINT_HASHING = 1u << 2,	  /* the hardware's hash sequence is under way, which any command ends */
};

struct checkpoint {
	uint64_t seq;  /* the last command that is in it */
	uint64_t base; /* version of the permanent state that it rests on */
	uint32_t flags;
	int32_t why;   /* with permanent: why the store does not have it */
	uint64_t job;  /* the last request of QEMU's control channel that is in it, and its result */
	uint32_t job_result;
	struct state_part response; /* of that command; may be empty */
	struct state_part volatile_state; /* engine_volatile */
	struct state_part permanent; /* libtpms's; empty: the store has it */
	struct state_part redo; /* of checkpoint_open: records for checkpoint_redo_next */
};

/* A command that goes on top of a checkpoint. */
struct checkpoint_redo {
	uint64_t seq;
	uint8_t locality;
	struct state_part command;
};

/* One backend's mapping of it. */
struct checkpoint_area {
	uint8_t *map; /* NULL: there is none, and all of the below do nothing */
	uint8_t run[CHECKPOINT_RUN_LEN];
	uint64_t number; /* of the newest one */
	unsigned redone;   /* records that belong to it, */
	size_t redone_len; /* and bytes of the log that they take */
};

/* A memfd, zeroed, with its size sealed and close-on-exec: the spawner's. */
CHECKED int checkpoint_area_make(int *fd);
/* Maps it and locks its first two pages; fd may be closed. ERR_PROTO: it is none. */
CHECKED int checkpoint_area_map(struct checkpoint_area *a, int fd);
void checkpoint_area_unmap(struct checkpoint_area *a);
/* A TPM has been powered on: nothing that was before counts. */
CHECKED int checkpoint_begin(struct checkpoint_area *a);
/*
 * Seals c into the slot after the newest and publishes it. pending: base is the version of a commit that is
 * sent next; the one before counts, too, until checkpoint_settle or the next one. On failure nothing has changed.
 */
CHECKED int checkpoint_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
			     const struct checkpoint *c, bool pending);
/*
 * Writes a record for a command on top of the newest checkpoint instead of another one: far less to seal. ERR_FULL: there are so many
 * that another checkpoint is due, or there is none to put it on.
 */
CHECKED int checkpoint_redo_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
				  const struct checkpoint_redo *r);
void checkpoint_power_set(struct checkpoint_area *a, enum checkpoint_power power);
enum checkpoint_power checkpoint_power(const struct checkpoint_area *a);
/* The transport's CHECKPOINT_LINK_LEN bytes, of which the first `locked` are locked. ERR_NOMEM: they cannot be. */
CHECKED int checkpoint_link(const struct checkpoint_area *a, size_t locked, void **link);
/* The commit is durable. */
void checkpoint_settle(struct checkpoint_area *a);
/* There is no going on from here: a backend that is killed from now on has no successor. */
void checkpoint_drop(struct checkpoint_area *a);
/*
 * The checkpoint that counts, given the version that the store has; its views are of *mem, secret, wiped with checkpoint_free. a goes on
 * from there. ERR_NOTFOUND: there is none. ERR_AUTH: one that should be there does not verify, or is older.
 */
CHECKED int checkpoint_open(struct checkpoint_area *a, const uint8_t key[static KEY_LEN],
			    const uint8_t uuid[static UUID_LEN], uint64_t stored, struct checkpoint *c, uint8_t **mem,
			    size_t *len);
/* The next command that goes on top of it, in order; ERR_NOTFOUND: that was all. */
CHECKED int checkpoint_redo_next(struct checkpoint *c, struct checkpoint_redo *r);
void checkpoint_free(uint8_t *mem, size_t len);

/* The response number seq, of len bytes, to a command that changed nothing, is what the guest will get. */
void checkpoint_answer(struct checkpoint_area *a, uint64_t seq, const uint8_t *rsp, size_t len);
/* The last of these; copies it. 0: there was none. */
uint64_t checkpoint_answered(const struct checkpoint_area *a, uint8_t rsp[static CHAN_PACKET_MAX], size_t *len);
void checkpoint_attempts_set(struct checkpoint_area *a, uint64_t n);
uint64_t checkpoint_attempts(const struct checkpoint_area *a);

#endif
