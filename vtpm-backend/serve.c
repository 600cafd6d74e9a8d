/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One command after the other:
 *
 *	1. take it from the transport; nonsense and too high a locality are answered here
 *	2. if an earlier commit failed, or QEMU was given the state, send the newest one to the store
 *	3. may it run? (commit.h, quota.c)
 *	4. run it; if it asks for evidence, wait for that (guest_evidence.h)
 *	5. leave a checkpoint, if it can have changed anything (resume.h); if it changed the permanent state: seal,
 *	   send to the store, wait until it is durable
 *	6. only then answer
 */
#include "vtpm-backend/serve.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/guest_evidence.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/quote.h"
#include "vtpm-backend/resume.h"
#include "vtpm-backend/store.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"
#include "vtpm-backend/transport.h"

size_t serve_put_rc(struct backend *b, uint32_t rc)
{
	struct buf r;

	buf_init(&r, b->rsp, sizeof(b->rsp));
	if (buf_put_u16be(&r, TPM_ST_NO_SESSIONS) || buf_put_u32be(&r, TPM_HEADER_SIZE) || buf_put_u32be(&r, rc))
		return 0;
	return r.len;
}

/* Commands that make primes, and so are worth cancelling. The others are over before a cancel could come. */
static bool is_long(uint32_t code)
{
	switch (code) {
	case TPM_CC_Create:
	case TPM_CC_CreatePrimary:
	case TPM_CC_CreateLoaded:
	case TPM_CC_Clear:
	case TPM_CC_ChangeEPS:
	case TPM_CC_ChangePPS:
		return true;
	default:
		return false;
	}
}

/* The control thread learns of a long command, so that a short one costs no system call. */
void serve_lengthy(struct backend *b, bool begins)
{
	const uint64_t one = 1;

	atomic_store(&b->busy, begins);
	/* It can only fail with EAGAIN, when the counter is full: then it is readable anyway. */
	if (begins)
		(void)!write(b->busy_fd, &one, sizeof(one));
}

static uint32_t response_code(const struct backend *b, size_t len)
{
	struct tpm_header h;
	struct buf r;

	buf_wrap(&r, b->rsp, len);
	return tpm_header_get(&r, &h) ? TPM_RC_FAILURE : h.code;
}

/* The dictionary-attack counter has moved, or would have: Part 2, 6.6.3 and 6.6.2 for the bits that number a session. */
static bool is_auth_failure(uint32_t rc)
{
	return rc == TPM_RC_LOCKOUT || ((rc & 0x80) && (rc & 0xbf) == TPM_RC_AUTH_FAIL);
}

/* Step 4. */
static size_t execute(struct backend *b, const struct chan_request *req, uint32_t code)
{
	bool lengthy = is_long(code);
	uint32_t rc = TPM_RC_SUCCESS;
	size_t len;
	int err;

	if (lengthy)
		serve_lengthy(b, true);
	resume_attempt(b);
	err = power_stir(b);
	if (err == 0)
		err = guest_evidence_expect(b, req->len, &rc);
	if (err == 0 && rc == TPM_RC_SUCCESS)
		err = engine_process(b->cmd, req->len, req->locality, b->rsp, &len);
	if (lengthy)
		serve_lengthy(b, false);
	b->seq++;
	b->hashing = false;
	if (err != 0 || rc != TPM_RC_SUCCESS)
		return serve_put_rc(b, err != 0 ? TPM_RC_FAILURE : rc);
	b->shutdown_seen = code == TPM_CC_Shutdown && response_code(b, len) == TPM_RC_SUCCESS;
	/* Until that is anchored, a power cut and an older disk would give the try back. */
	b->auth_failed |= is_auth_failure(response_code(b, len));
	return len;
}

static bool over_quota(const struct backend *b, size_t len)
{
	const uint8_t *state;
	size_t state_len;

	if (engine_state(&state, &state_len) != 0)
		state_len = SEALED_STATE_MAX;
	return quota_refuses(b->cmd, len, state_len, b->start.state_max);
}

/* Steps 2 to 5. A non-zero return is the end of the process. */
static int answer(struct backend *b, const struct chan_request *req, size_t *len)
{
	struct tpm_header h;
	struct buf c;
	bool due, asked;
	int err;

	buf_wrap(&c, b->cmd, req->len);
	if (tpm_header_get(&c, &h))
		return ERR_RANGE;
	if (commit_due(&b->commit)) {
		*len = 0;
		err = resume_commit(b, len);
		if (err != 0)
			return err;
	}
	if (!commit_admits(&b->commit, h.tag)) {
		*len = serve_put_rc(b, TPM_RC_NV_UNAVAILABLE);
		return 0;
	}
	if (over_quota(b, req->len)) {
		*len = serve_put_rc(b, TPM_RC_NV_SPACE);
		return 0;
	}
	engine_clean();
	*len = execute(b, req, h.code);
	err = guest_evidence_answer(b, response_code(b, *len) == TPM_RC_SUCCESS, &asked);
	if (err != 0)
		return err;
	due = resume_is_due(b, &h);
	if (engine_dirty() || asked)
		return resume_commit(b, len);
	if (due && !resume_redo(b, req, response_code(b, *len) == TPM_RC_SUCCESS))
		resume_keep(b, *len, false);
	return 0;
}

static int serve_one(struct backend *b)
{
	const uint64_t seq = b->seq + 1;
	struct chan_request req = { 0 };
	size_t len = 0;
	int err = 0;

	switch (b->transport->take(b, &req)) {
	case CHAN_NONE:
		return 0;
	case CHAN_BAD:
		len = serve_put_rc(b, TPM_RC_COMMAND_SIZE);
		break;
	case CHAN_REQUEST:
		if (!b->powered || b->halted || resume_refuses(b))
			len = serve_put_rc(b, TPM_RC_FAILURE);
		else if (req.locality > b->locality_max)
			len = serve_put_rc(b, TPM_RC_LOCALITY);
		else
			err = answer(b, &req, &len);
		break;
	}
	if (err == 0) {
		resume_answer(b, seq, len);
		err = b->transport->respond(b, len);
	}
	secmem_wipe(b->cmd, req.len);
	secmem_wipe(b->rsp, sizeof(b->rsp)); /* all of it: a withheld answer may have been longer */
	return err;
}

static void forget_plain(struct backend *b)
{
	secmem_wipe(b->plain, b->plain_len);
	free(b->plain);
	b->plain = NULL;
}

int transport_woken(struct backend *b)
{
	uint64_t count;

	(void)!read(b->stop_fd, &count, sizeof(count)); /* fails only if it was not readable */
	return atomic_load(&b->stopping) ? ERR_CLOSED : 0;
}

/* Until BACKEND_STOP (0) or something that ends the process. */
static int serve_loop(struct backend *b)
{
	int err;

	for (;;) {
		err = b->transport->wait(b);
		if (err == ERR_CLOSED)
			return 0;
		if (err == 0)
			err = quote_serve(b);
		if (err == 0)
			err = serve_one(b);
		if (err != 0)
			return err;
	}
}

_Noreturn void serve_run(struct backend *b)
{
	int err;

	commit_init(&b->commit, b->start.version);
	err = engine_load(b->plain, b->plain_len);
	forget_plain(b);
	if (err == 0)
		err = b->transport->begin(b);
	if (err != 0)
		backend_fail(b, err, "power on the engine");
	err = ipc_send(BACKEND_FD_CONTROL, BACKEND_READY, NULL, NULL, 0);
	if (err == 0)
		err = serve_loop(b);
	if (err != 0)
		backend_fail(b, err, "serve the guest");
	err = b->transport->end(b);
	if (err != 0)
		backend_fail(b, err, "store the state at the end");
	backend_exit(b);
}
