/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State blobs. What QEMU saves is sealed under the vTPM's key: it can keep it, and give it back, and nothing else.
 *
 * The version in a blob is that of the permanent state in the store. The manager says whether a blob is taken back: an older one
 * would undo what the guest was told is durable. Each state of the TPM that was given away has a version of its own, the volatile
 * state included (commit.h), and to resume is to make a new one. So a blob can be taken once, and only if nothing has happened to the TPM
 * since. A TPM that was given away and then ends does so without TPM2_Shutdown: that would be something.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/ipc.h"
#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-backend/resume.h"
#include "vtpm-backend/store.h"

static void saved_forget(struct qemu *q, unsigned which)
{
	struct qemu_saved *s = &q->saved[which];

	qemu_note(&q->area->saved_len[which], 0);
	if (s->p != NULL)
		secmem_wipe(s->p, s->len);
	free(s->p);
	secmem_wipe(s, sizeof(*s));
}

void qemu_state_forget(struct qemu *q)
{
	saved_forget(q, SAVED_PERMANENT);
	saved_forget(q, SAVED_VOLATILE);
}

/* Sealed, for the next backend. */
static void saved_note(struct qemu *q, unsigned which, const uint8_t *sealed, size_t n)
{
	memcpy(q->area->saved[which], sealed, n);
	qemu_note(&q->area->saved_len[which], n);
}

/*
 * Before the answer: from then on somebody has it. The version that is given away must be anchored first. Otherwise a power cut and an
 * older disk would lead to another state of the same version, and this one could be resumed in its place: with fewer failed authorisations,
 * say, and nobody would notice. What is committed for it is also what the store did not have yet.
 */
static uint32_t give_away(struct backend *b)
{
	int err;

	if (b->commit.exported)
		return QEMU_SUCCESS;
	b->giving = true;
	err = resume_commit(b, &(size_t){ 0 });
	b->giving = false;
	if (err != 0)
		backend_fail(b, err, "store the state");
	if (b->commit.stale)
		return QEMU_IOERROR;
	commit_export(&b->commit);
	qemu_note(&b->qemu->area->exported, b->commit.version);
	return QEMU_SUCCESS;
}

static struct state_id blob_id(const struct backend *b, uint8_t kind, uint64_t version)
{
	struct state_id id = { .kind = kind, .version = version, .line = b->start.line };

	memcpy(id.uuid, b->start.uuid, UUID_LEN);
	return id;
}

/* Room for a blob of n bytes. */
static int blob_begin(struct qemu_reply *r, size_t n, struct buf *out)
{
	r->blob = malloc(n);
	if (r->blob == NULL)
		return ERR_NOMEM;
	buf_init(out, r->blob, n);
	return 0;
}

static int seal_permanent(struct backend *b, struct qemu_reply *r)
{
	const struct state_id id = blob_id(b, STATE_SAVED_PERMANENT, b->commit.version);
	const uint8_t *plain;
	struct buf out;
	size_t n;
	int err = engine_state(&plain, &n);

	if (err == 0)
		err = blob_begin(r, n + PERMANENT_OVERHEAD, &out);
	if (err != 0)
		return err;
	err = permanent_seal(&b->sealer, &id, b->secret, plain, n, &out);
	r->blob_len = err == 0 ? out.len : 0;
	return err;
}

static int seal_volatile(struct backend *b, const uint8_t *plain, size_t n, struct qemu_reply *r)
{
	const struct state_id id = blob_id(b, STATE_SAVED_VOLATILE, b->commit.version);
	struct buf out;
	int err = blob_begin(r, n + STATE_OVERHEAD, &out);

	if (err == 0)
		err = state_seal(&b->sealer, &id, plain, n, &out);
	r->blob_len = err == 0 ? out.len : 0;
	return err;
}

static int get_volatile(struct backend *b, struct qemu_reply *r)
{
	uint8_t *plain;
	size_t n;
	int err = engine_volatile(&plain, &n);

	if (err == 0) {
		err = seal_volatile(b, plain, n, r);
		secmem_wipe(plain, n);
	}
	free(plain);
	return err;
}

/* Its volatile state as a blob that nobody fetches. */
uint32_t qemu_state_keep(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_saved *s = &q->saved[SAVED_VOLATILE];
	struct qemu_reply r = { 0 };
	uint32_t result;
	int err;

	saved_forget(q, SAVED_VOLATILE);
	result = give_away(b);
	if (result != QEMU_SUCCESS)
		return result;
	err = engine_volatile(&s->p, &s->len);
	if (err == 0)
		err = seal_volatile(b, s->p, s->len, &r);
	s->version = b->commit.version;
	if (err == 0)
		saved_note(q, SAVED_VOLATILE, r.blob, r.blob_len);
	else
		saved_forget(q, SAVED_VOLATILE);
	free(r.blob);
	return err == 0 ? QEMU_SUCCESS : QEMU_FAIL;
}

/* {u32 flags, u32 type, u32 offset} -> {u32 result, u32 flags, u32 total, u32 length} and the blob from there. */
static uint32_t get_blob(struct backend *b, struct qemu_reply *r, uint32_t type)
{
	uint32_t result;
	int err;

	if (type != BLOB_PERMANENT && type != BLOB_VOLATILE) /* a TPM 1.2 would have another one */
		return QEMU_NO_BLOB;
	result = give_away(b);
	if (result != QEMU_SUCCESS)
		return result;
	err = type == BLOB_PERMANENT ? seal_permanent(b, r) : get_volatile(b, r);
	return err == 0 ? QEMU_SUCCESS : QEMU_FAIL;
}

uint32_t qemu_state_get(struct backend *b, struct qemu_job *job)
{
	struct qemu_reply *r = &job->reply;
	uint32_t flags, type, offset, result;

	if (buf_get_u32be(&job->body, &flags) || buf_get_u32be(&job->body, &type) || buf_get_u32be(&job->body, &offset))
		return QEMU_BAD_PARAMETER;
	/* Each request seals anew, so a blob goes out in one piece. DECRYPTED is asked for by those who migrate it; it is no. */
	result = offset == 0 ? get_blob(b, r, type) : QEMU_BAD_PARAMETER;
	if (result != QEMU_SUCCESS)
		r->blob_len = 0;
	if (buf_put_u32be(&r->b, 0) || buf_put_u32be(&r->b, (uint32_t)r->blob_len) ||
	    buf_put_u32be(&r->b, (uint32_t)r->blob_len))
		return QEMU_FAIL;
	return result;
}

/* What a blob says of its version: state_open then holds it to that. */
static int claimed_version(const uint8_t *blob, size_t n, uint64_t *version)
{
	struct buf head;

	buf_wrap(&head, blob, n);
	return buf_skip(&head, STATE_VERSION_OFF) || buf_get_u64le(&head, version) || *version == 0 ? ERR_AUTH : 0;
}

static int open_volatile(const struct backend *b, const struct state_id *id, const uint8_t *blob, size_t n, struct qemu_saved *s)
{
	int err;

	if (n <= STATE_OVERHEAD || n > SEALED_STATE_MAX)
		return ERR_AUTH;
	s->p = malloc(n - STATE_OVERHEAD);
	if (s->p == NULL)
		return ERR_NOMEM;
	err = state_open(b->key, id, blob, n, s->p, &s->len);
	if (err == 0)
		return 0;
	free(s->p); /* wiped by state_open */
	s->p = NULL;
	return err;
}

/* Opens a blob into *s, which is empty. */
static int open_blob(const struct backend *b, unsigned which, const uint8_t *blob, size_t n, struct qemu_saved *s)
{
	struct state_id id;
	uint64_t version;
	int err;

	if (claimed_version(blob, n, &version))
		return ERR_AUTH;
	id = blob_id(b, which == SAVED_PERMANENT ? STATE_SAVED_PERMANENT : STATE_SAVED_VOLATILE, version);
	if (which == SAVED_PERMANENT)
		err = permanent_open(b->key, &id, blob, n, s->secret, &s->p, &s->len);
	else
		err = open_volatile(b, &id, blob, n, s);
	s->version = err == 0 ? version : 0;
	return err;
}

/* QEMU can show no more than a number; the manager's log can say why. */
static uint32_t refuse(int code)
{
	uint8_t mem[BACKEND_REFUSED_SIZE];
	struct buf m;

	buf_init(&m, mem, sizeof(mem));
	/* If the manager has gone, the control thread ends this process. */
	if (backend_refused_encode(&m, code) == 0)
		(void)!ipc_send(BACKEND_FD_CONTROL, BACKEND_REFUSED, &m, NULL, 0);
	return QEMU_FAIL;
}

static uint32_t set_permanent(struct backend *b, const struct qemu_job *job)
{
	int err;

	qemu_state_forget(b->qemu);
	if (b->commit.stale)
		return refuse(b->commit.why);
	err = open_blob(b, SAVED_PERMANENT, job->blob, job->blob_len, &b->qemu->saved[SAVED_PERMANENT]);
	if (err != 0)
		return refuse(err);
	saved_note(b->qemu, SAVED_PERMANENT, job->blob, job->blob_len);
	return QEMU_SUCCESS;
}

static uint32_t set_volatile(struct backend *b, const struct qemu_job *job)
{
	struct qemu *q = b->qemu;
	int err;

	saved_forget(q, SAVED_VOLATILE);
	if (q->saved[SAVED_PERMANENT].p == NULL)
		return refuse(ERR_INVAL); /* it belongs to no state that was set */
	err = open_blob(b, SAVED_VOLATILE, job->blob, job->blob_len, &q->saved[SAVED_VOLATILE]);
	if (err == 0 && q->saved[SAVED_VOLATILE].version != q->saved[SAVED_PERMANENT].version) {
		saved_forget(q, SAVED_VOLATILE);
		err = ERR_AUTH;
	}
	if (err != 0)
		return refuse(err);
	saved_note(q, SAVED_VOLATILE, job->blob, job->blob_len);
	return QEMU_SUCCESS;
}

void qemu_state_restore(struct backend *b)
{
	struct qemu *q = b->qemu;

	for (unsigned i = 0; i < SAVED_KINDS; i++) {
		const uint64_t n = q->area->saved_len[i];

		if (n > 0 && open_blob(b, i, q->area->saved[i], (size_t)n, &q->saved[i]) != 0)
			saved_forget(q, i);
	}
}

/* {u32 flags, u32 type, u32 length} and the blob. */
uint32_t qemu_state_set(struct backend *b, struct qemu_job *job)
{
	uint32_t flags, type;

	if (buf_get_u32be(&job->body, &flags) || buf_get_u32be(&job->body, &type))
		return QEMU_BAD_PARAMETER;
	switch (type) {
	case BLOB_PERMANENT:
		return set_permanent(b, job);
	case BLOB_VOLATILE:
		return set_volatile(b, job);
	default:
		return QEMU_BAD_PARAMETER;
	}
}

/* --- taking the TPM --- */

/* The state that the store has, for a backend that was started without. */
static int open_stored(struct backend *b, const struct store_taken *t)
{
	struct state_id id = { .kind = STATE_PERMANENT, .version = t->version };
	size_t n;
	uint8_t *plain;
	int err;

	memcpy(id.uuid, b->start.uuid, UUID_LEN);
	err = permanent_open(b->key, &id, t->sealed, t->sealed_len, b->secret, &plain, &n);
	if (err == 0) {
		err = engine_load(plain, n);
		secmem_wipe(plain, n);
	}
	free(plain);
	return err;
}

static int load_saved(struct backend *b, const struct qemu_saved *s)
{
	memcpy(b->secret, s->secret, sizeof(b->secret));
	return engine_load(s->p, s->len);
}

int qemu_state_take(struct backend *b)
{
	const struct qemu_saved *s = &b->qemu->saved[SAVED_PERMANENT];
	struct store_taken t;
	uint8_t *mem;
	int err;

	if (s->p == NULL && b->commit.version != 0)
		return 0;
	if (b->commit.stale)
		return b->commit.why;
	err = store_take(s->version, &t, &mem);
	if (err != 0)
		backend_fail(b, err, "ask for the TPM");
	if (t.code == 0) {
		checkpoint_power_set(&b->area, CHECKPOINT_CHANGING);
		power_cut(b);
		err = s->p != NULL ? load_saved(b, s) : open_stored(b, &t);
		if (err == 0)
			err = ak_derive(&b->ak, b->secret);
		if (err != 0)
			backend_fail(b, err, "open the state");
		commit_init(&b->commit, t.version);
	}
	free(mem);
	return t.code;
}
