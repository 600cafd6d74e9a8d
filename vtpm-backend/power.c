/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/power.h"

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/launch.h"
#include "vtpm-backend/store.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define PLATFORM_AUTH_LEN 32u
#define STIR_LEN	  32u

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

static int startup(struct backend *b)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_startup(&t.cmd, TPM_SU_CLEAR);
	if (err == 0)
		err = tpmrun(&t, 0);
	if (err == 0 && b->launch != NULL)
		err = launch_extend(b);
	if (err == 0)
		err = randomise_platform_auth(&t);
	tpmrun_wipe(&t);
	return err;
}

int power_on(struct backend *b)
{
	int err;

	err = engine_power_on(NULL, 0);
	if (err == 0 && b->launch != NULL)
		err = launch_begin(b);
	if (err == 0 && (b->start.flags & RUN_STARTUP))
		err = startup(b);
	if (err != 0)
		return err;
	b->powered = true;
	b->shutdown_seen = b->hashing = b->unstirred = false;
	return store_commit_newest(b);
}

/* A restored generator would repeat its output. One that was never started has none yet. */
static int stir_random(void)
{
	uint8_t fresh[STIR_LEN];
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = random_bytes(fresh, sizeof(fresh));
	if (err == 0)
		err = tpmcmd_stir_random(&t.cmd, fresh, sizeof(fresh));
	if (err == 0)
		err = tpmrun(&t, 0);
	if (err == ERR_ENGINE && t.rsp.rc == TPM_RC_INITIALIZE)
		err = 0;
	tpmrun_wipe(&t);
	secmem_wipe(fresh, sizeof(fresh));
	return err;
}

int power_continue(struct backend *b, const uint8_t *state, size_t len)
{
	int err;

	err = engine_power_on(state, len);
	if (err != 0)
		return err;
	b->powered = true;
	b->shutdown_seen = false;
	b->hashing = false;
	b->unstirred = true;
	return 0;
}

int power_stir(struct backend *b)
{
	int err = b->unstirred ? stir_random() : 0;

	b->unstirred = false;
	return err;
}

/*
 * An engine that is not shut down in order counts the next start as a failed authorisation, if one
 * was used (Part 1, 19.8.6).
 */
static void shut_down(struct backend *b)
{
	struct tpmrun t;

	if (b->shutdown_seen)
		return;
	tpmrun_init(&t);
	/* What it answers does not matter: a guest that never sent TPM2_Startup has nothing to shut down. */
	if (tpmcmd_shutdown(&t.cmd, TPM_SU_CLEAR) == 0)
		(void)!tpmrun(&t, 0);
	tpmrun_wipe(&t);
}

int power_off(struct backend *b)
{
	int err = 0;

	engine_clean();
	if (b->powered)
		shut_down(b);
	b->powered = false;
	if (engine_dirty() || b->commit.stale)
		err = store_commit_newest(b);
	engine_power_off();
	if (err == 0 && b->commit.stale)
		err = b->commit.why;
	return err;
}

void power_cut(struct backend *b)
{
	b->powered = false;
	engine_power_off();
}
