/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State blobs. What QEMU saves is sealed under the vTPM's key: it can keep it, and give it back, and nothing else.
 *
 * The version in a blob is that of the permanent state in the store. A blob is taken back only if it still is: an older
 * one would undo what the guest was told is durable. So after a save the TPM must not move on by itself: when
 * its volatile state was given away and nothing was done with it since, it ends without TPM2_Shutdown.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/ipc.h"
#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-backend/store.h"

void qemu_state_forget(struct qemu *q)
{
	if (q->resume != NULL)
		secmem_wipe(q->resume, q->resume_len);
	free(q->resume);
	q->resume = NULL;
	q->resume_len = 0;
}

uint32_t qemu_state_keep(struct backend *b)
{
	struct qemu *q = b->qemu;

	qemu_state_forget(q);
	if (b->commit.stale)
		return QEMU_IOERROR; /* as in get_blob */
	q->resume_version = b->commit.version;
	if (engine_volatile(&q->resume, &q->resume_len) == 0)
		return QEMU_SUCCESS;
	qemu_state_forget(q);
	return QEMU_FAIL;
}

bool qemu_state_resumes(struct backend *b)
{
	struct qemu *q = b->qemu;

	if (b->commit.stale || q->resume_version != b->commit.version)
		qemu_state_forget(q);
	return q->resume != NULL;
}

static struct state_id blob_id(const struct backend *b, uint8_t kind)
{
	struct state_id id = { .kind = kind, .version = b->commit.version };

	memcpy(id.uuid, b->start.uuid, UUID_LEN);
	return id;
}

static int seal(struct backend *b, uint8_t kind, const uint8_t *plain, size_t n, struct qemu_reply *r)
{
	const struct state_id id = blob_id(b, kind);
	struct buf out;
	int err;

	r->blob = malloc(n + STATE_OVERHEAD);
	if (r->blob == NULL)
		return ERR_NOMEM;
	buf_init(&out, r->blob, n + STATE_OVERHEAD);
	err = state_seal(&b->sealer, &id, plain, n, &out);
	r->blob_len = err == 0 ? out.len : 0;
	return err;
}

static int seal_permanent(struct backend *b, struct qemu_reply *r)
{
	const uint8_t *plain;
	size_t n;
	int err = engine_state(&plain, &n);

	return err != 0 ? err : seal(b, STATE_SAVED_PERMANENT, plain, n, r);
}

static int seal_volatile(struct backend *b, struct qemu_reply *r)
{
	uint8_t *plain;
	size_t n;
	int err = engine_volatile(&plain, &n);

	if (err == 0) {
		err = seal(b, STATE_SAVED_VOLATILE, plain, n, r);
		secmem_wipe(plain, n);
		b->qemu->exported = err == 0;
	}
	free(plain);
	return err;
}

/* {u32 flags, u32 type, u32 offset} -> {u32 result, u32 flags, u32 total, u32 length} and the blob from there. */
static uint32_t get_blob(struct backend *b, struct qemu_reply *r, uint32_t type)
{
	/* What the store does not have yet could never be brought back. */
	if (b->commit.stale && store_commit_newest(b) != 0)
		backend_fail(b, ERR_CLOSED, "store the state");
	if (b->commit.stale)
		return QEMU_IOERROR;
	switch (type) {
	case BLOB_PERMANENT:
		return seal_permanent(b, r) == 0 ? QEMU_SUCCESS : QEMU_FAIL;
	case BLOB_VOLATILE:
		return seal_volatile(b, r) == 0 ? QEMU_SUCCESS : QEMU_FAIL;
	default: /* a TPM 1.2 would have another one */
		return QEMU_NO_BLOB;
	}
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
static int claimed_version(const struct qemu_job *job, uint64_t *version)
{
	struct buf head;

	buf_wrap(&head, job->blob, job->blob_len);
	return buf_skip(&head, STATE_VERSION_OFF) || buf_get_u64le(&head, version) ? ERR_AUTH : 0;
}

/* ERR_WRONG_STATE: it is this vTPM's, but not of its newest state. */
static int open_blob(const struct backend *b, uint8_t kind, const struct qemu_job *job, uint8_t **plain, size_t *n)
{
	struct state_id id = blob_id(b, kind);
	int err;

	*plain = NULL;
	if (job->blob_len <= STATE_OVERHEAD || claimed_version(job, &id.version))
		return ERR_AUTH;
	*plain = malloc(job->blob_len - STATE_OVERHEAD);
	if (*plain == NULL)
		return ERR_NOMEM;
	err = state_open(b->key, &id, job->blob, job->blob_len, *plain, n);
	if (err == 0 && id.version != b->commit.version) {
		secmem_wipe(*plain, *n);
		err = ERR_WRONG_STATE;
	}
	if (err != 0) {
		free(*plain); /* wiped, here or by state_open */
		*plain = NULL;
	}
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

/* Its contents are here already, if its version is: it says which state the volatile one belongs to. */
static uint32_t set_permanent(struct backend *b, const struct qemu_job *job)
{
	uint8_t *plain;
	size_t n;
	int err;

	if (b->commit.stale)
		return refuse(b->commit.why);
	err = open_blob(b, STATE_SAVED_PERMANENT, job, &plain, &n);
	if (err != 0)
		return refuse(err);
	secmem_wipe(plain, n);
	free(plain);
	b->qemu->imported = true;
	return QEMU_SUCCESS;
}

static uint32_t set_volatile(struct backend *b, const struct qemu_job *job)
{
	struct qemu *q = b->qemu;
	int err = ERR_INVAL; /* it belongs to no state that was set */

	qemu_state_forget(q);
	q->resume_version = b->commit.version;
	if (q->imported)
		err = open_blob(b, STATE_SAVED_VOLATILE, job, &q->resume, &q->resume_len);
	return err != 0 ? refuse(err) : QEMU_SUCCESS;
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
