/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State continuity: nothing acknowledged is lost, nothing old is accepted. docs/continuity.md has the protocol; each step
 * of it is one function of these files:
 *
 *	changes.c	what waits to become durable, and whose answer waits
 *	batch.c		one commit: row -> MAC -> transaction -> anchors -> answers
 *	recovery.c	what a new keeper finds, and the open row; recovery_table.c: what follows from it
 *	wear.c		the budget of writes to anchor A, and checkpoints
 *	release.c	out of quarantine, because an operator says so
 */
#ifndef VTPM_MGR_CONTINUITY_H
#define VTPM_MGR_CONTINUITY_H

#include "lib/loop.h"
#include "vtpm-mgr/leaves.h"
#include "vtpm-mgr/recovery_table.h"
#include "vtpm-mgr/store.h"

#define ANCHOR_A_DEFAULT	 0x01805640u /* in the range of the owner: TCG "Registry of Reserved TPM 2.0 Handles", 2.2.2 */
#define ANCHOR_V_DEFAULT	 0x01805641u
#define ANCHOR_WRITES_DEFAULT	 98u /* a day: half of 500,000 writes over seven years */
#define ANCHORS_PER_GUEST	 98u /* a day, and at once */
#define CHECKPOINT_DEFAULT_S	 900u
#define CHECKPOINT_ROWS		 65536u /* plain rows after which a checkpoint does not wait for its time */
#define COMMIT_BATCH		 256u

struct mgr;

/* Named values that are put, or removed, with a change. */
struct metas {
	size_t n, room;
	struct store_meta *v; /* with their values */
};

/* One durable change on its way. It belongs to changes.c once it was submitted. */
struct change {
	struct change *next;
	struct store_change c;
	struct store_leaf leaf; /* of STORE_INSERT, STORE_GROUP, STORE_CONFIGURE, STORE_RELEASE: what to record; of a STORE_UPDATE with a row its certs */
	bool anchors;		/* of STORE_UPDATE: it may not be lost in a bounded group either */
	bool switches;		/* of STORE_GROUP_SEAL: the keeper has a successor of that root, and the row is the first that is made with it */
	uint8_t was[DIGEST_LEN]; /* of STORE_GROUP_SEAL: hash of the row that it was made from (group_row_hash), which must still be the one */
	uint8_t *mem;		/* what c.sealed points to; freed with it */
	struct store_rewrap rewrap; /* what c.rewrap points to */
	struct metas metas;	/* what c.meta is, from change_submit on; freed with it */
	/* Called once, with 0 when it is durable and what its group promises holds. arg NULL: nobody waits any more. */
	void (*done)(void *arg, int code);
	void *arg;
};

enum continuity_state {
	CONTINUITY_WAITING,	/* for a keeper, the root of group "default", or a store that can be written */
	CONTINUITY_RECOVERING,
	CONTINUITY_OPEN,	/* A holds an open row of this manager */
	CONTINUITY_QUARANTINED,
	CONTINUITY_STOPPED,	/* A holds a close row */
};

struct wear {
	uint64_t total, today, day; /* writes to A since it was defined; on that day since 1970 */
	double tokens;		    /* writes that the budget has left */
	uint64_t unix_ms;	    /* when that was */
};

struct batch;
struct continuity {
	enum continuity_state state;
	int code;		     /* why it is not open */
	char reason[TEXT_MAX + 1];   /* the same for a person */
	bool decided;
	enum recovery_outcome outcome; /* of the last recovery */
	struct leaves leaves;
	struct anchor_record record;
	struct anchor_view view; /* as the anchors are now */
	uint64_t first, last;	 /* rows in the store */
	uint8_t last_hash[DIGEST_LEN];
	uint64_t anchored;	 /* the row that A holds the value of */
	int64_t anchored_at;	 /* seconds since 1970 */
	int64_t dirty_since;	 /* the first plain row after it; 0: there is none */
	struct change *queue;	 /* for the next batch, in order */
	struct change *written;	 /* of a batch that is on the disk and whose anchors are not certain */
	struct batch *batch;	 /* in flight */
	bool checkpoint_due, close_due;
	bool releasing; /* the anchors are being defined anew: nobody is to look at them meanwhile */
	struct waiter *waiters;
	struct wear wear;
	struct loop_timer checkpoint, retry;
	uint64_t retry_ms;
	uint64_t commits, changes; /* since the start */
	int store_result;	   /* of the last transaction */
};

CHECKED int continuity_init(struct mgr *m);
void continuity_free(struct mgr *m);
/* It is not open any more; what was in flight is kept. code and text: why. */
void continuity_lost(struct mgr *m, int code, const char *text);
/* Not open: the code and reason of that. */
int continuity_why(struct mgr *m, char text[static TEXT_MAX + 1]);

/* --- changes.c --- */

struct change *change_new(enum store_op op, void (*done)(void *arg, int code), void *arg);
void change_free(struct change *ch);
/* Its end: done is called. */
void change_finish(struct change *ch, int code);
/* A copy of n bytes under key; p NULL: what is there is removed. */
CHECKED int metas_add(struct metas *list, const char *key, const void *p, size_t n);
bool metas_has(const struct metas *list, const char *key);
void metas_free(struct metas *list);
/* Whether it may not be lost, whatever its group promises otherwise. */
bool change_anchors(const struct mgr *m, const struct change *ch);
/* Takes ch over: it goes into the next batch. */
void change_submit(struct mgr *m, struct change *ch);
/* Nobody waits for it any more. Unless a batch has it, it is forgotten. */
void change_abandon(struct mgr *m, void *arg);
/* All that waits ends with a code. */
void changes_fail(struct mgr *m, int code);
/* Calls back when what is in flight now is over; at once if nothing is. */
void changes_wait(struct mgr *m, void (*over)(void *arg), void *arg);
void changes_wait_no_more(struct mgr *m, const void *arg);
void changes_settled(struct mgr *m);
/* The end: nobody is told. */
void changes_drop(struct mgr *m);
/* Whether a row of that number is about to be removed. */
bool changes_destroy(const struct mgr *m, int64_t id);
/* Whether a change of its row is on its way: what is read of it now is not what it will be. */
bool changes_configure(const struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* How long the answer to an anchored change of a vTPM must wait (ms), so that its next one is within its quota. */
uint64_t anchor_quota_spend(struct mgr *m, const uint8_t uuid[static UUID_LEN]);

/* --- batch.c --- */

/* Forms a batch of what waits, if nothing is in flight. Called after each round of events. */
void commit_flush(struct mgr *m);
/* What the batch in flight has taken. */
struct change *batch_changes(const struct mgr *m);
/* The row with which a manager begins to serve; power_lost: every bounded guest has one discontinuity more. */
void batch_open(struct mgr *m, bool power_lost);
/* The keeper, or the anchors, cannot be relied on: what is on the disk may be committed, the rest is tried again. */
void batch_interrupt(struct mgr *m);
/* The batch in flight has switched a root, and is on the disk. */
bool batch_has_switched(const struct mgr *m);
/* Answers what an interrupted batch had on the disk: the base of the recovery contains it. */
void batch_answer_written(struct mgr *m, int code);

/* --- recovery.c --- */

void recovery_begin(struct mgr *m);
/* From batch.c: A holds the open row, or it could not be written. */
void recovery_opened(struct mgr *m, int code, const char *text);
CHECKED int row_hash(const struct store_row *row, uint8_t hash[static DIGEST_LEN]);
/* The record of the anchors in the store. */
CHECKED int record_load(struct mgr *m, struct anchor_record *record);
CHECKED int record_encode(const struct anchor_record *record, uint8_t mem[static ANCHOR_RECORD_SIZE]);

/* --- wear.c --- */

#define WEAR_SIZE 40u
void wear_load(struct mgr *m);
/* One write to A; mem: what to store with it. */
void wear_spend(struct mgr *m, uint8_t mem[static WEAR_SIZE]);
/* As it is now. */
struct wear wear_now(const struct mgr *m);
/* A plain row was committed; or an anchoring one. */
void wear_dirty(struct mgr *m);
void wear_clean(struct mgr *m);

/* --- release.c --- */

struct call;
struct store_vtpm;
void release_vtpm(struct mgr *m, const struct store_vtpm *row, struct call *c);
void release_store(struct mgr *m, struct call *c);
/* The first epoch of a line that nobody has had (EPOCH_LINE_SHIFT). */
CHECKED int release_line(uint64_t *epoch);

#endif
