/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/warm.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-backend/ek.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/state.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

/* HKDF, AES-GCM both ways, the random generator. */
static int warm_crypto(void)
{
	uint8_t key[KEY_LEN], plain[KEY_LEN], mem[KEY_LEN + STATE_OVERHEAD];
	const struct state_id id = { .kind = STATE_PERMANENT, .version = 1 };
	struct sealer s;
	struct buf out;
	size_t n;
	int err;

	err = random_bytes(key, sizeof(key));
	if (err != 0)
		return err;
	err = sealer_init(&s, key);
	buf_init(&out, mem, sizeof(mem));
	if (err == 0)
		err = state_seal(&s, &id, key, sizeof(key), &out);
	if (err == 0)
		err = state_open(key, &id, out.data, out.len, plain, &n);
	sealer_wipe(&s);
	return err;
}

static int warm_commands(void)
{
	struct tpmrun t;
	int err;

	err = provision_startup();
	if (err == 0)
		err = ek_create(EK_ECC_P256);
	tpmrun_init(&t);
	if (err == 0)
		err = tpmcmd_get_random(&t.cmd, 16);
	if (err == 0)
		err = tpmrun(&t, 0);
	return err;
}

static int keep_state(struct warm_state *out)
{
	const uint8_t *state;
	int err = engine_state(&state, &out->len);

	if (err != 0)
		return err;
	out->data = malloc(out->len);
	if (out->data == NULL)
		return ERR_NOMEM;
	memcpy(out->data, state, out->len);
	return 0;
}

/* A TPM that nobody will ever use. */
static int warm_engine(struct warm_state *out)
{
	int err;

	err = engine_prepare();
	if (err == 0)
		err = engine_open(NULL, 0);
	if (err == 0)
		err = warm_commands();
	if (err == 0)
		err = keep_state(out);
	engine_close();
	return err;
}

int warm_up(enum warm_depth depth, struct warm_state *state)
{
	int err;

	(void)mallopt(M_ARENA_MAX, 1); /* saves memory; an allocator that does not know it does no harm here */
	err = warm_crypto();
	if (err == 0 && depth == WARM_ENGINE)
		err = warm_engine(state);
	malloc_trim(0);
	return err;
}

static void *warm_thread_main(void *arg)
{
	return arg;
}

static int warm_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, warm_thread_main, NULL) != 0)
		return ERR_SYS;
	return pthread_join(thread, NULL) == 0 ? 0 : ERR_SYS;
}

int warm_again(const struct warm_state *state)
{
	int err;

	err = warm_thread(); /* it is gone again: who changes his uid must be alone */
	if (err == 0)
		err = warm_crypto();
	if (err == 0)
		err = engine_prepare();
	if (err == 0)
		err = engine_open(state->data, state->len);
	if (err == 0)
		err = provision_startup();
	engine_close();
	return err;
}
