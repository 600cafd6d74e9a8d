/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/guest_evidence.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/loop.h"
#include "vtpm-backend/evidence_nv.h"
#include "vtpm-backend/quote.h"
#include "vtpm-backend/serve.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"

/* Who has b->ask.answer and b->ask.evidence. One step of the two threads each: the engine's makes it AWAITED and NOBODYS, the control thread's the others. */
enum stage { NOBODYS, AWAITED, COMES, HERE };

static uint_fast64_t stage_of(uint32_t id, enum stage s)
{
	return (uint_fast64_t)id << 2 | s;
}

bool guest_evidence_parse(const uint8_t *cmd, size_t len, size_t *n, size_t *offset)
{
	struct tpm_header h;
	const uint8_t *data;
	uint32_t auth, index, size;
	uint16_t at;
	struct buf b;

	buf_wrap(&b, cmd, len);
	if (tpm_header_get(&b, &h) || h.tag != TPM_ST_SESSIONS || h.code != TPM_CC_NV_Write)
		return false;
	if (buf_get_u32be(&b, &auth) || buf_get_u32be(&b, &index) || index != EVIDENCE_NV_NONCE)
		return false;
	if (buf_get_u32be(&b, &size) || buf_skip(&b, size) || buf_get_2b(&b, GUEST_NONCE_MAX, &data, n) || buf_get_u16be(&b, &at))
		return false;
	*offset = at;
	return buf_left(&b) == 0;
}

int guest_evidence_expect(struct backend *b, size_t len, uint32_t *rc)
{
	struct guest_ask *a = &b->ask;
	int err;

	*rc = TPM_RC_SUCCESS;
	a->asks = guest_evidence_parse(b->cmd, len, &a->nonce_len, &a->offset);
	if (!a->asks)
		return 0;
	err = evidence_nv_ready(&b->ak, rc);
	a->asks = err == 0;
	if (err == ERR_FULL)
		return 0;
	*rc = TPM_RC_SUCCESS;
	return err == ERR_NOTFOUND ? 0 : err; /* without ours, that index is the guest's own */
}

/* --- the answer --- */

static void hand_over(struct backend *b, uint32_t id)
{
	const uint64_t one = 1;

	atomic_store(&b->ask.stage, stage_of(id, HERE));
	(void)!write(b->stop_fd, &one, sizeof(one)); /* fails only if it is readable already */
}

int guest_evidence_take(struct backend *b, struct buf *body)
{
	struct guest_ask *a = &b->ask;
	struct backend_evidence m;
	uint_fast64_t now;

	if (backend_evidence_decode(body, &m) != 0)
		return ERR_PROTO;
	now = stage_of(m.id, AWAITED);
	if (!atomic_compare_exchange_strong(&a->stage, &now, stage_of(m.id, COMES)))
		return 0; /* nobody waits for it any more */
	a->answer = m;
	a->evidence = m.evidence_len > 0 ? malloc(m.evidence_len) : NULL;
	if (a->evidence != NULL)
		memcpy(a->evidence, m.evidence, m.evidence_len);
	else if (m.evidence_len > 0)
		(void)snprintf(a->answer.text, sizeof(a->answer.text), "out of memory");
	a->answer.evidence = NULL; /* that was a view */
	hand_over(b, m.id);
	return 0;
}

void guest_evidence_cancel(struct backend *b)
{
	struct guest_ask *a = &b->ask;
	uint_fast64_t now = atomic_load(&a->stage);
	const uint32_t id = (uint32_t)(now >> 2);

	if (now != stage_of(id, AWAITED) || !atomic_compare_exchange_strong(&a->stage, &now, stage_of(id, COMES)))
		return;
	a->answer = (struct backend_evidence){ .id = id, .text = "the command was cancelled" };
	hand_over(b, id);
}

/* False: it is coming in this moment. */
static bool give_up(struct guest_ask *a)
{
	uint_fast64_t now = stage_of(a->id, AWAITED);

	if (!atomic_compare_exchange_strong(&a->stage, &now, stage_of(a->id, NOBODYS)))
		return false;
	a->answer = (struct backend_evidence){ .id = a->id, .text = "the host has not answered in time; ask again" };
	return true;
}

/* Meanwhile the manager has this vTPM quote. What else stop_fd was written to for is looked at after the command: it is made readable again. */
static int await(struct backend *b)
{
	const uint64_t one = 1, until = loop_now_ms() + GUEST_EVIDENCE_WAIT_MS;
	struct pollfd p = { .fd = b->stop_fd, .events = POLLIN };
	struct guest_ask *a = &b->ask;
	uint64_t count, now;
	int err = 0;

	serve_lengthy(b, true);
	while (err == 0 && atomic_load(&a->stage) != stage_of(a->id, HERE)) {
		now = loop_now_ms();
		if (now >= until && give_up(a))
			break;
		if (poll(&p, 1, now < until ? (int)(until - now) : 1) < 0 && errno != EINTR)
			err = ERR_SYS;
		(void)!read(b->stop_fd, &count, sizeof(count)); /* fails only if it is not readable */
		if (err == 0)
			err = quote_serve(b);
	}
	serve_lengthy(b, false);
	(void)!write(b->stop_fd, &one, sizeof(one));
	return err;
}

static int ask(struct backend *b, const uint8_t *nonce)
{
	const struct backend_ask m = { .id = ++b->ask.id, .nonce = nonce, .nonce_len = b->ask.nonce_len };
	uint8_t mem[BACKEND_ASK_MAX];
	struct buf out;
	int err;

	buf_init(&out, mem, sizeof(mem));
	err = backend_ask_encode(&out, &m);
	if (err != 0)
		return err;
	b->unsettled = true; /* whoever quotes for it is a copy: the command in hand is not kept yet */
	atomic_store(&b->ask.stage, stage_of(m.id, AWAITED));
	err = ipc_send(BACKEND_FD_CONTROL, BACKEND_ASK, &out, NULL, 0);
	return err != 0 ? err : await(b);
}

/* --- what the guest reads --- */

static int put(struct backend *b)
{
	struct guest_ask *a = &b->ask;
	const size_t n = a->evidence != NULL ? a->answer.evidence_len : 0;
	char status[EVIDENCE_NV_STATUS_SIZE];
	int err;

	if (n > 0)
		(void)snprintf(status, sizeof(status), "evidence of %zu bytes\n", n);
	else
		(void)snprintf(status, sizeof(status), "no evidence: %s\n", a->answer.text);
	err = evidence_nv_put(&b->ak, a->evidence, n, status);
	free(a->evidence);
	a->evidence = NULL;
	return err == ERR_ENGINE ? 0 : err; /* firmware has changed an index: that is its guest's loss */
}

int guest_evidence_answer(struct backend *b, bool succeeded, bool *changed)
{
	struct guest_ask *a = &b->ask;
	uint8_t nonce[GUEST_NONCE_MAX];
	int err;

	*changed = a->asks && succeeded;
	a->asks = false;
	if (!*changed)
		return 0;
	a->answer = (struct backend_evidence){ .text = "a nonce has 8 to 64 bytes, and is written at once" };
	if (a->offset != 0 || a->nonce_len < GUEST_NONCE_MIN)
		return put(b);
	err = evidence_nv_nonce(nonce, a->nonce_len);
	if (err != 0)
		return err == ERR_ENGINE ? 0 : err;
	err = ask(b, nonce);
	return err != 0 ? err : put(b);
}
