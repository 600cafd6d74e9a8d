/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/quote.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/secmem.h"
#include "lib/util.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/resume.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define TRANSIENT_FIRST 0x80000000u
#define TRANSIENT_SLOTS 3u /* of libtpms; the guest's objects in them are in the way of the key */
#define STIR_LEN	32u
#define PCRS_AT_ONCE	8u /* that TPM2_PCR_Read returns */

/* All that the engine is: secret. */
struct copy {
	uint8_t *permanent, *volatile_state;
	size_t permanent_len, volatile_len;
};

static void copy_free(struct copy *c)
{
	if (c->permanent != NULL)
		secmem_wipe(c->permanent, c->permanent_len);
	if (c->volatile_state != NULL)
		secmem_wipe(c->volatile_state, c->volatile_len);
	free(c->permanent);
	free(c->volatile_state);
}

static int copy_take(struct copy *c)
{
	const uint8_t *state;
	int err;

	*c = (struct copy){ 0 };
	err = engine_state(&state, &c->permanent_len);
	if (err != 0)
		return err;
	c->permanent = malloc(c->permanent_len);
	if (c->permanent == NULL)
		return ERR_NOMEM;
	memcpy(c->permanent, state, c->permanent_len);
	return engine_volatile(&c->volatile_state, &c->volatile_len);
}

/* The engine as it was. */
static int copy_return(const struct copy *c)
{
	int err;

	engine_power_off();
	err = engine_load(c->permanent, c->permanent_len);
	return err != 0 ? err : engine_power_on(c->volatile_state, c->volatile_len);
}

/* What of the guest's is loaded. Whether a slot was full does not matter. */
static void make_room(struct tpmrun *t)
{
	for (uint32_t i = 0; i < TRANSIENT_SLOTS; i++)
		if (tpmcmd_flush_context(&t->cmd, TRANSIENT_FIRST + i) == 0)
			(void)!tpmrun(t, 0);
}

static int read_pcrs(struct tpmrun *t, uint8_t *out)
{
	int err = 0;

	for (unsigned first = 0; err == 0 && first < QUOTE_PCRS; first += PCRS_AT_ONCE) {
		const uint16_t mask = (uint16_t)(((1u << PCRS_AT_ONCE) - 1u) << first);

		err = tpmcmd_pcr_read(&t->cmd, mask);
		if (err == 0)
			err = tpmrun(t, 0);
		if (err == 0)
			err = tpmrsp_pcrs(&t->rsp, mask, out + (size_t)first * DIGEST_LEN, PCRS_AT_ONCE);
	}
	return err;
}

static int take(struct tpmrun *t, struct quote *q)
{
	const uint8_t *attest, *sig;
	int err = tpmrsp_quote(&t->rsp, &attest, &q->attest_len, &sig, &q->sig_len);

	if (err != 0)
		return err;
	if (q->attest_len > sizeof(q->attest) || q->sig_len > sizeof(q->sig))
		return ERR_ENGINE;
	memcpy(q->attest, attest, q->attest_len);
	memcpy(q->sig, sig, q->sig_len);
	return 0;
}

/* What the engine said, for who asked. */
static int judge(uint32_t rc)
{
	if (rc == TPM_RC_INITIALIZE)
		return ERR_WRONG_STATE;
	if (rc == TPM_RC_OBJECT_MEMORY)
		return ERR_FULL;
	return rc == TPM_RC_HANDLE_1 || rc == TPM_RC_BAD_AUTH_1 ? ERR_NOTFOUND : ERR_ENGINE;
}

/* Before anything else: what the generator would give next is the guest's. */
static int stir(struct tpmrun *t)
{
	uint8_t fresh[STIR_LEN];
	int err = random_bytes(fresh, sizeof(fresh));

	if (err == 0)
		err = tpmcmd_stir_random(&t->cmd, fresh, sizeof(fresh));
	secmem_wipe(fresh, sizeof(fresh));
	return err != 0 ? err : tpmrun(t, 0);
}

/* By whichever TPM the engine is now. ERR_FULL: there is no slot for the key. */
static int quote_run(struct tpmrun *t, const struct ak_secret *ak, const uint8_t over[static DIGEST_LEN], struct quote *q)
{
	int err = tpmcmd_quote(&t->cmd, AK_HANDLE, ak->auth, sizeof(ak->auth), over, DIGEST_LEN);

	if (err == 0)
		err = tpmrun(t, 0);
	if (err == ERR_ENGINE)
		err = judge(t->rsp.rc);
	if (err == 0)
		err = take(t, q);
	return err == 0 ? read_pcrs(t, q->pcrs) : err;
}

/* --- by a copy --- */

static int in_copy(const struct ak_secret *ak, const uint8_t over[static DIGEST_LEN], struct quote *q)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = stir(&t);
	if (err == ERR_ENGINE)
		err = judge(t.rsp.rc);
	if (err == 0) {
		make_room(&t);
		err = quote_run(&t, ak, over, q);
	}
	tpmrun_wipe(&t);
	return err;
}

static int by_copy(const struct ak_secret *ak, const uint8_t over[static DIGEST_LEN], struct quote *q, int *code)
{
	struct copy c;
	int err = 0;

	*code = copy_take(&c);
	if (*code == 0) {
		*code = in_copy(ak, over, q);
		err = copy_return(&c);
	}
	copy_free(&c);
	return err;
}

/* --- by itself --- */

/* Commands that the guest has audited, besides the one that always is: TPM2_SetCommandCodeAuditStatus. Part 1, 31.3 */
static bool audits(struct tpmrun *t)
{
	uint32_t first, second;
	int err = tpmcmd_get_capability(&t->cmd, TPM_CAP_AUDIT_COMMANDS, 0, 2);

	if (err == 0)
		err = tpmrun(t, 0);
	return err != 0 || tpmrsp_audited(&t->rsp, &first, &second) != 0 || first != TPM_CC_SetCommandCodeAuditStatus || second != 0;
}

/* A key that firmware has put there, under the dictionary-attack lockout: trying it would be a failed authorisation. */
static bool may_be_tried(struct tpmrun *t)
{
	const uint8_t *pub;
	uint32_t attributes;
	struct buf b;
	size_t n;
	int err = tpmcmd_read_public(&t->cmd, AK_HANDLE);

	if (err == 0)
		err = tpmrun(t, 0);
	if (err == 0)
		err = tpmrsp_public(&t->rsp, &pub, &n);
	if (err != 0)
		return false;
	buf_wrap(&b, pub, n);
	return buf_skip(&b, 2 + 2 + 2) == 0 && buf_get_u32be(&b, &attributes) == 0 && (attributes & TPMA_OBJECT_NODA) != 0;
}

/*
 * Whether the guest's own TPM may quote. The last command of the guest was without sessions, so that no audit session is exclusive that
 * another command would end, and no TPM2_Shutdown; and its generator owes nothing to a saved state.
 */
static bool leaves_no_trace(const struct backend *b, struct tpmrun *t)
{
	return !b->unsettled && !b->unstirred && !commit_due(&b->commit) && !audits(t) && may_be_tried(t);
}

/* A clock that is stored once in a while is a change as after any command. */
static int by_itself(struct backend *b, struct tpmrun *t, const uint8_t over[static DIGEST_LEN], struct quote *q, int *code)
{
	size_t none = 0;

	*code = quote_run(t, &b->ak, over, q);
	return engine_dirty() ? resume_commit(b, &none) : 0;
}

int quote_make(struct backend *b, const uint8_t over[static DIGEST_LEN], struct quote *q, int *code)
{
	struct tpmrun t;
	int err = 0;

	tpmrun_init(&t);
	engine_clean();
	*code = ERR_FULL;
	if (leaves_no_trace(b, &t))
		err = by_itself(b, &t, over, q, code);
	tpmrun_wipe(&t);
	return err != 0 || *code != ERR_FULL ? err : by_copy(&b->ak, over, q, code);
}

int quote_ask(struct backend *b, struct buf *body)
{
	const uint64_t one = 1;

	if (b->transport == NULL || atomic_load(&b->quote_asked) || backend_quote_decode(body, b->quote_over) != 0)
		return ERR_PROTO;
	atomic_store(&b->quote_asked, true);
	(void)!write(b->stop_fd, &one, sizeof(one)); /* fails only if it is readable already */
	return 0;
}

static int answer(const struct quote *q, int code)
{
	const struct backend_quoted m = { .code = code, .attest = q->attest, .attest_len = q->attest_len, .sig = q->sig,
					  .sig_len = q->sig_len, .pcrs = q->pcrs };
	uint8_t mem[BACKEND_QUOTED_MAX];
	struct buf out;
	int err;

	buf_init(&out, mem, sizeof(mem));
	err = backend_quoted_encode(&out, &m);
	return err != 0 ? err : ipc_send(BACKEND_FD_CONTROL, BACKEND_QUOTED, &out, NULL, 0);
}

int quote_serve(struct backend *b)
{
	uint8_t over[DIGEST_LEN];
	struct quote q = { 0 };
	int code = ERR_WRONG_STATE, err = 0;

	if (!atomic_load(&b->quote_asked))
		return 0;
	memcpy(over, b->quote_over, sizeof(over));
	if (b->hashing)
		code = ERR_BUSY; /* the hardware's hash sequence, which a command would end */
	else if (b->powered && !b->halted)
		err = quote_make(b, over, &q, &code);
	atomic_store(&b->quote_asked, false);
	return err != 0 ? err : answer(&q, code);
}
