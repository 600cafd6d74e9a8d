/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/resume.h"

#include <stdlib.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/serve.h"
#include "vtpm-backend/store.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/transport.h"

/* A command that was in execution when two backends were killed, or one crashed, is not tried again. */
#define ATTEMPTS_MAX 2u

void resume_keep(struct backend *b, size_t len, bool pending)
{
	struct checkpoint c = { .seq = b->seq, .why = b->commit.why, .job = b->job, .job_result = b->job_result,
				.response = { b->rsp, len } };
	uint8_t *state = NULL;
	int err;

	if (b->area.map == NULL || !b->powered)
		return;
	c.base = pending ? commit_next(&b->commit) : b->commit.version;
	c.flags = (b->shutdown_seen ? CHECKPOINT_SHUTDOWN : 0) | (b->auth_failed ? CHECKPOINT_AUTH_FAILED : 0) |
		  (b->hashing ? CHECKPOINT_HASHING : 0);
	err = engine_volatile(&state, &c.volatile_state.len);
	c.volatile_state.data = state;
	if (err == 0 && !pending && b->commit.stale)
		err = engine_state(&c.permanent.data, &c.permanent.len);
	if (err == 0)
		err = checkpoint_write(&b->area, &b->sealer, b->start.uuid, &c, pending);
	if (err != 0)
		checkpoint_drop(&b->area);
	if (state != NULL)
		secmem_wipe(state, c.volatile_state.len);
	free(state);
	b->kept_seq = b->seq;
}

/* One that is powered on again leaves the checkpoints that it has until there is another, so that one counts at each instant. */
static int begin(struct backend *b)
{
	return b->area.number == 0 ? checkpoint_begin(&b->area) : 0;
}

int resume_begin(struct backend *b)
{
	int err;

	err = begin(b);
	if (err != 0)
		return err;
	resume_keep(b, 0, false);
	checkpoint_power_set(&b->area, CHECKPOINT_ON);
	return 0;
}

int resume_begin_commit(struct backend *b)
{
	int err;

	err = begin(b);
	if (err != 0)
		return err;
	resume_keep(b, 0, true);
	err = store_commit_newest(b);
	if (err == 0 && !b->commit.stale)
		checkpoint_settle(&b->area);
	return err;
}

int resume_commit(struct backend *b, size_t *len)
{
	int err;

	resume_keep(b, *len, true);
	err = store_commit_newest(b);
	if (err != 0)
		return err;
	if (!b->commit.stale) {
		checkpoint_settle(&b->area);
		return 0;
	}
	if (*len > 0 && commit_withholds(&b->commit, true))
		*len = serve_put_rc(b, TPM_RC_NV_UNAVAILABLE);
	resume_keep(b, *len, false);
	return 0;
}

/*
 * Without a session these change nothing that could be seen later: the generator is reseeded anyway, and what an algorithm's
 * first use tests is tested again.
 */
static bool changes_nothing(uint32_t code)
{
	switch (code) {
	case TPM_CC_ECC_Parameters:
	case TPM_CC_GetCapability:
	case TPM_CC_GetRandom:
	case TPM_CC_GetTestResult:
	case TPM_CC_Hash:
	case TPM_CC_NV_ReadPublic:
	case TPM_CC_PCR_Read:
	case TPM_CC_PolicyGetDigest:
	case TPM_CC_ReadClock:
	case TPM_CC_ReadPublic:
	case TPM_CC_TestParms:
		return true;
	default:
		return false;
	}
}

/*
 * The first of those after a command with sessions is kept all the same: it ends the exclusiveness of an audit session (Part 1,
 * 19.8.3). After a TPM2_Shutdown, too, because then that is no longer the last one.
 */
bool resume_is_due(struct backend *b, const struct tpm_header *h)
{
	const bool due = b->unsettled || h->tag != TPM_ST_NO_SESSIONS || !changes_nothing(h->code);

	b->unsettled = h->tag != TPM_ST_NO_SESSIONS || b->shutdown_seen;
	return due;
}

/*
 * Commands whose effect follows from the state and the command alone, and that come in great numbers. With one password and nothing else: what a session
 * with an HMAC does depends on more.
 */
static bool is_repeatable(const uint8_t *cmd, size_t len)
{
	struct tpm_header h;
	const uint8_t *p;
	uint32_t handle, size, session;
	uint16_t nonce;
	uint8_t attributes;
	size_t n;
	struct buf b;

	buf_wrap(&b, cmd, len);
	if (tpm_header_get(&b, &h) || h.tag != TPM_ST_SESSIONS)
		return false;
	if (h.code != TPM_CC_PCR_Extend && h.code != TPM_CC_PCR_Event && h.code != TPM_CC_SequenceUpdate)
		return false;
	if (buf_get_u32be(&b, &handle) || buf_get_u32be(&b, &size) || buf_get_u32be(&b, &session) ||
	    buf_get_u16be(&b, &nonce) || buf_get_u8(&b, &attributes) || buf_get_2b(&b, size, &p, &n))
		return false;
	return session == TPM_RS_PW && nonce == 0 && size == 4u + 2u + 1u + 2u + n;
}

bool resume_redo(struct backend *b, const struct chan_request *req, bool succeeded)
{
	const struct checkpoint_redo r = { .seq = b->seq, .locality = req->locality, .command = { b->cmd, req->len } };

	if (!succeeded || b->area.map == NULL || !is_repeatable(b->cmd, req->len))
		return false;
	if (checkpoint_redo_write(&b->area, &b->sealer, b->start.uuid, &r) != 0)
		return false;
	b->unsettled = b->shutdown_seen;
	return true;
}

void resume_attempt(struct backend *b)
{
	checkpoint_attempts_set(&b->area, checkpoint_attempts(&b->area) + 1);
}

bool resume_refuses(const struct backend *b)
{
	return checkpoint_attempts(&b->area) >= ATTEMPTS_MAX;
}

void resume_answer(struct backend *b, uint64_t seq, size_t len)
{
	if (b->kept_seq != seq)
		checkpoint_answer(&b->area, seq, b->rsp, len);
	b->seq = seq;
	resume_settled(b);
}

void resume_settled(struct backend *b)
{
	checkpoint_attempts_set(&b->area, 0);
}

/* --- the second one --- */

static void forget_last(struct backend *b)
{
	checkpoint_free(b->last_mem, b->last_mem_len);
	b->last = (struct checkpoint){ 0 };
	b->last_mem = NULL;
}

void resume_open(struct backend *b, const uint8_t key[static KEY_LEN])
{
	const enum checkpoint_power power = checkpoint_power(&b->area);
	int err;

	if (power == CHECKPOINT_OFF && b->transport == &transport_qemu)
		return;
	err = checkpoint_open(&b->area, key, b->start.uuid, b->start.version, &b->last, &b->last_mem, &b->last_mem_len);
	if (err != 0 && power == CHECKPOINT_CHANGING) {
		forget_last(b);
		b->area.number = 0;
		return;
	}
	if (err == ERR_AUTH)
		backend_refuse(b, ERR_NOTFOUND, "the checkpoint that the last backend left is not the newest, or damaged");
	if (err != 0)
		backend_refuse(b, ERR_NOTFOUND, "the last backend left no checkpoint");
	if (b->last.permanent.len == 0)
		return;
	/* The store did not take the newest state, and the one that it has is older. */
	secmem_wipe(b->plain, b->plain_len);
	free(b->plain);
	b->plain_len = b->last.permanent.len;
	b->plain = malloc(b->plain_len);
	if (b->plain == NULL)
		backend_fail(b, ERR_NOMEM, "open the checkpoint");
	memcpy(b->plain, b->last.permanent.data, b->plain_len);
}

/*
 * Puts the last response into b->rsp: the one in the checkpoint or of what was done again, which has redone bytes, or that to a command
 * after it that changed nothing.
 */
static size_t last_response(struct backend *b, size_t redone)
{
	uint8_t answer[CHAN_PACKET_MAX];
	size_t len, n = redone;
	uint64_t seq;

	seq = checkpoint_answered(&b->area, answer, &len);
	b->seq = b->last.seq;
	if (redone == 0 && b->last.response.len > 0) {
		n = b->last.response.len;
		memcpy(b->rsp, b->last.response.data, n);
	}
	if (seq > b->last.seq || (seq == b->last.seq && n == 0)) {
		b->seq = seq;
		n = len;
		memcpy(b->rsp, answer, n);
	}
	secmem_wipe(answer, sizeof(answer));
	return n;
}

void resume_judge(struct backend *b, bool waits)
{
	const bool crashed = (b->start.flags & RUN_CRASHED) && checkpoint_attempts(&b->area) > 0;

	if (waits && crashed)
		checkpoint_attempts_set(&b->area, ATTEMPTS_MAX);
	else if (!waits || (b->start.flags & RUN_ADOPTED))
		resume_settled(b); /* it has given up what was in hand, or has its answer; or neither had to do with the end */
}

int resume_deliver(struct backend *b, size_t len)
{
	const enum chan_left left = chan_resume(&b->chan, (uint8_t)b->seq);

	if (left == CHAN_LEFT_RESPONSE && len >= TPM_HEADER_SIZE) {
		resume_settled(b);
		return chan_respond(&b->chan, (uint8_t)b->seq, b->rsp, len);
	}
	resume_judge(b, left != CHAN_LEFT_NOTHING);
	return chan_nudge(&b->chan);
}

/* Executes again what was executed since the checkpoint. b->rsp, of *len bytes, is then the response to the last of it. */
static int redo(struct backend *b, size_t *len)
{
	struct checkpoint_redo r;
	struct tpmrsp rsp;
	int err;

	while ((err = checkpoint_redo_next(&b->last, &r)) == 0) {
		memcpy(b->cmd, r.command.data, r.command.len);
		err = engine_process(b->cmd, r.command.len, r.locality, b->rsp, len);
		secmem_wipe(b->cmd, r.command.len);
		if (err == 0)
			err = tpmrsp_parse(&rsp, b->rsp, *len, true, 0);
		if (err == 0 && rsp.rc != TPM_RC_SUCCESS)
			err = ERR_ENGINE;
		if (err != 0)
			return err;
		b->last.seq = r.seq;
	}
	return err == ERR_NOTFOUND ? 0 : err;
}

int resume_restore(struct backend *b, size_t *len)
{
	const int why = b->last.permanent.len > 0 ? b->last.why : 0;
	int err;

	*len = 0;
	err = power_continue(b, b->last.volatile_state.data, b->last.volatile_state.len);
	b->hashing = b->last.flags & CHECKPOINT_HASHING;
	if (err == 0 && !b->hashing)
		err = power_stir(b);
	if (err == 0)
		err = redo(b, len);
	if (err != 0)
		return err;
	commit_resume(&b->commit, b->start.version, why);
	b->shutdown_seen = b->last.flags & CHECKPOINT_SHUTDOWN;
	b->auth_failed = b->last.flags & CHECKPOINT_AUTH_FAILED;
	b->job = b->last.job;
	b->job_result = b->last.job_result;
	*len = last_response(b, *len);
	resume_keep(b, *len, false); /* from here on there is one that rests on what the store has */
	b->unsettled = b->shutdown_seen;
	forget_last(b);
	return 0;
}

void resume_off(struct backend *b, size_t *len)
{
	b->seq = checkpoint_answered(&b->area, b->rsp, len);
	checkpoint_power_set(&b->area, CHECKPOINT_OFF);
}
