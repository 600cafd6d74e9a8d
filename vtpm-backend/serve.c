/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One command after the other:
 *
 *	1. take it off the page; nonsense and too high a locality are answered here
 *	2. if an earlier commit failed, try again with the newest state
 *	3. may it run? (commit.h, quota.c)
 *	4. run it
 *	5. if it changed the permanent state: seal, send to the store, wait until it is durable
 *	6. only then answer
 */
#include "vtpm-backend/serve.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/store.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define SPIN_US		  30u /* about the time in which a guest's next command follows the last */
#define PLATFORM_AUTH_LEN 32u

/* A response that is only a code. */
static size_t put_rc(struct backend *b, uint32_t rc)
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
static void begin_long(struct backend *b)
{
	const uint64_t one = 1;

	atomic_store(&b->busy, true);
	/* It can only fail with EAGAIN, when the counter is full: then it is readable anyway. */
	(void)!write(b->busy_fd, &one, sizeof(one));
}

static uint32_t response_code(const struct backend *b, size_t len)
{
	struct tpm_header h;
	struct buf r;

	buf_wrap(&r, b->rsp, len);
	return tpm_header_get(&r, &h) ? TPM_RC_FAILURE : h.code;
}

/* Step 4. */
static size_t execute(struct backend *b, const struct chan_request *req, uint32_t code)
{
	bool lengthy = is_long(code);
	size_t len;
	int err;

	if (lengthy)
		begin_long(b);
	err = engine_process(b->cmd, req->len, req->locality, b->rsp, &len);
	if (lengthy)
		atomic_store(&b->busy, false);
	if (err != 0)
		return put_rc(b, TPM_RC_FAILURE);
	b->shutdown_seen = code == TPM_CC_Shutdown && response_code(b, len) == TPM_RC_SUCCESS;
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
	int err;

	buf_wrap(&c, b->cmd, req->len);
	if (tpm_header_get(&c, &h))
		return ERR_RANGE;
	if (b->commit.stale) {
		err = store_commit_newest(b);
		if (err != 0)
			return err;
	}
	if (!commit_admits(&b->commit, h.tag)) {
		*len = put_rc(b, TPM_RC_NV_UNAVAILABLE);
		return 0;
	}
	if (over_quota(b, req->len)) {
		*len = put_rc(b, TPM_RC_NV_SPACE);
		return 0;
	}
	engine_clean();
	*len = execute(b, req, h.code);
	if (!engine_dirty())
		return 0;
	err = store_commit_newest(b);
	if (err == 0 && commit_withholds(&b->commit, true))
		*len = put_rc(b, TPM_RC_NV_UNAVAILABLE);
	return err;
}

static int serve_one(struct backend *b)
{
	struct chan_request req;
	size_t len = 0;
	int err = 0;

	switch (chan_take(&b->chan, b->cmd, &req)) {
	case CHAN_NONE:
		return 0;
	case CHAN_BAD:
		len = put_rc(b, TPM_RC_COMMAND_SIZE);
		break;
	case CHAN_REQUEST:
		if (req.locality > b->start.locality_max)
			len = put_rc(b, TPM_RC_LOCALITY);
		else
			err = answer(b, &req, &len);
		break;
	}
	if (err == 0)
		err = chan_respond(&b->chan, b->rsp, len);
	secmem_wipe(b->cmd, req.len);
	secmem_wipe(b->rsp, sizeof(b->rsp)); /* all of it: a withheld answer may have been longer */
	return err;
}

/*
 * A guest without UEFI firmware must not own the platform hierarchy: with its auth empty it could
 * change the endorsement seed. Nobody will ever know the one that is set here.
 */
static int randomise_platform_auth(struct tpmrun *t)
{
	uint8_t auth[PLATFORM_AUTH_LEN];
	int err;

	err = random_bytes(auth, sizeof(auth));
	if (err == 0)
		err = tpmcmd_hierarchy_change_auth(&t->cmd, TPM_RH_PLATFORM, auth, sizeof(auth));
	secmem_wipe(auth, sizeof(auth));
	return err != 0 ? err : tpmrun(t, 0);
}

/*
 * RUN_STARTUP. The state is committed whether it changed or not: if the store cannot take it,
 * the vTPM is stale before the first guest byte. Otherwise each reset on a full disk
 * would give away one guess at a PIN.
 */
static int power_on(struct backend *b)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_startup(&t.cmd, TPM_SU_CLEAR);
	if (err == 0)
		err = tpmrun(&t, 0);
	if (err == 0)
		err = randomise_platform_auth(&t);
	tpmrun_wipe(&t);
	return err != 0 ? err : store_commit_newest(b);
}

/*
 * BACKEND_STOP. An engine that is not shut down in order counts the next start as a failed
 * authorisation, if one was used (Part 1, 19.8.6).
 */
static int power_off(struct backend *b)
{
	struct tpmrun t;
	int err = 0;

	engine_clean();
	tpmrun_init(&t);
	/* What it answers does not matter: a guest that never sent TPM2_Startup has nothing to shut down. */
	if (!b->shutdown_seen && tpmcmd_shutdown(&t.cmd, TPM_SU_CLEAR) == 0)
		(void)!tpmrun(&t, 0);
	tpmrun_wipe(&t);
	if (engine_dirty() || b->commit.stale)
		err = store_commit_newest(b);
	if (err == 0 && b->commit.stale)
		err = b->commit.why;
	return err;
}

static void forget_plain(struct backend *b)
{
	secmem_wipe(b->plain, b->plain_len);
	free(b->plain);
	b->plain = NULL;
}

/* Until BACKEND_STOP (0) or something that ends the process. */
static int serve_loop(struct backend *b)
{
	int err;

	for (;;) {
		err = chan_wait(&b->chan, b->stop_fd, SPIN_US);
		if (err == ERR_CLOSED)
			return 0;
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
	err = engine_open(b->plain, b->plain_len);
	forget_plain(b);
	if (err != 0)
		backend_fail(b, err, "power on the engine");
	if (b->start.flags & RUN_STARTUP)
		err = power_on(b);
	if (err != 0)
		backend_fail(b, err, "start the TPM");
	err = ipc_send(BACKEND_FD_CONTROL, BACKEND_READY, NULL, NULL, 0);
	if (err == 0)
		err = serve_loop(b);
	if (err != 0)
		backend_fail(b, err, "serve the ring");
	err = power_off(b);
	if (err != 0)
		backend_fail(b, err, "store the state at the end");
	backend_exit(b);
}
