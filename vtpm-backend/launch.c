/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/launch.h"

#include <string.h>

#include "vtpm-backend/engine.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

/* Read by everyone; written by the platform, until the next TPM2_Startup(CLEAR) not even by that. */
#define LAUNCH_NV_ATTRIBUTES                                                                                           \
	(TPMA_NV_PLATFORMCREATE | TPMA_NV_NO_DA | TPMA_NV_PPREAD | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD |              \
	 TPMA_NV_PPWRITE | TPMA_NV_WRITE_STCLEAR)

/* --- the log in NV --- */

/* What one index is to hold; size 0: it is not to be there. */
struct part {
	uint32_t index;
	uint16_t size;
	uint8_t data[LAUNCH_NV_SIZE];
};

static void cut(const uint8_t *log, size_t len, unsigned i, struct part *p)
{
	const size_t head = i == 0 ? 4 : 0, at = i == 0 ? 0 : i * LAUNCH_NV_SIZE - 4;
	const size_t left = len > at ? len - at : 0;
	const size_t n = left < LAUNCH_NV_SIZE - head ? left : LAUNCH_NV_SIZE - head;
	struct buf w;

	*p = (struct part){ .index = LAUNCH_NV_FIRST + i, .size = (uint16_t)(n > 0 ? head + n : 0) };
	buf_init(&w, p->data, sizeof(p->data));
	if (head > 0)
		(void)!buf_put_u32le(&w, (uint32_t)len); /* there is room */
	(void)!buf_put_bytes(&w, n > 0 ? log + at : log, n);
}

/* What there is under that handle; *size 0: nothing. */
static int look(struct tpmrun *t, uint32_t index, uint32_t *attributes, uint16_t *size)
{
	int err;

	*attributes = *size = 0;
	err = tpmcmd_nv_read_public(&t->cmd, index);
	if (err == 0)
		err = tpmrun(t, 0);
	if (err == ERR_ENGINE && t->rsp.rc == TPM_RC_HANDLE_1)
		return 0;
	return err != 0 ? err : tpmrsp_nv_public(&t->rsp, attributes, size);
}

/* In pieces of TPMCMD_NV_CHUNK: whether the index holds what it is to hold. */
static int compare(struct tpmrun *t, const struct part *p, bool *same)
{
	uint8_t got[TPMCMD_NV_CHUNK];
	int err = 0;

	*same = true;
	for (uint16_t at = 0, n; err == 0 && *same && at < p->size; at = (uint16_t)(at + n)) {
		n = (uint16_t)(p->size - at < (int)TPMCMD_NV_CHUNK ? p->size - at : (int)TPMCMD_NV_CHUNK);
		err = tpmcmd_nv_read(&t->cmd, TPM_RH_PLATFORM, p->index, n, at);
		if (err == 0)
			err = tpmrun(t, 0);
		if (err == 0)
			err = tpmrsp_nv_data(&t->rsp, got, n);
		*same = err == 0 && memcmp(got, p->data + at, n) == 0;
	}
	return err;
}

/* ERR_FULL: firmware, which had the platform hierarchy, has made it so that only its policy undefines it. */
static int undefine(struct tpmrun *t, uint32_t index)
{
	int err = tpmcmd_nv_undefine_space(&t->cmd, index);

	if (err == 0)
		err = tpmrun(t, 0);
	return err == ERR_ENGINE && t->rsp.rc == TPM_RC_ATTRIBUTES_2 ? ERR_FULL : err;
}

static int replace(struct tpmrun *t, const struct part *p, bool there)
{
	const struct tpm_nv nv = { .index = p->index, .attributes = LAUNCH_NV_ATTRIBUTES, .size = p->size };
	int err = there ? undefine(t, p->index) : 0;

	if (err == ERR_FULL && p->size == 0)
		return 0; /* it stays: the log is not there, and what is there is no log */
	if (err != 0 || p->size == 0)
		return err;
	err = tpmcmd_nv_define_space(&t->cmd, &nv);
	if (err == 0)
		err = tpmrun(t, 0);
	return err;
}

static int lock(struct tpmrun *t, const struct part *p)
{
	int err = tpmcmd_nv_write_lock(&t->cmd, p->index);

	return err != 0 ? err : tpmrun(t, 0);
}

/*
 * One index: as it was after the same launch, it stays; of another one, only its contents are new; whatever else is there, an index of the
 * guest's, too, goes. So the state does not grow from one launch to the next.
 */
static int put_part(struct tpmrun *t, const struct part *p)
{
	uint32_t attributes;
	uint16_t size;
	bool ours, same = false;
	int err = look(t, p->index, &attributes, &size);

	if (err != 0)
		return err;
	ours = size == p->size && (attributes & ~(TPMA_NV_WRITTEN | TPMA_NV_WRITELOCKED)) == LAUNCH_NV_ATTRIBUTES;
	if (!ours)
		err = replace(t, p, attributes != 0);
	else if (attributes & TPMA_NV_WRITTEN)
		err = compare(t, p, &same);
	if (err != 0 || p->size == 0)
		return err;
	if (!same)
		err = tpmrun_nv_write(t, p->index, p->data, p->size);
	return err != 0 ? err : lock(t, p);
}

static int put_parts(const struct backend *b, size_t len)
{
	struct tpmrun t;
	struct part p;
	int err = 0;

	tpmrun_init(&t);
	for (unsigned i = 0; err == 0 && i < LAUNCH_NV_COUNT; i++) {
		cut(b->launch, len, i, &p);
		err = put_part(&t, &p);
	}
	return err == ERR_ENGINE && t.rsp.rc == TPM_RC_NV_SPACE ? ERR_FULL : err;
}

/* A guest that has filled its NV, or the log's place, does without the log rather than without a boot in which it could make room: the manager has it. */
static int write_log(const struct backend *b)
{
	int err = put_parts(b, b->launch_len);

	return err == ERR_FULL ? put_parts(b, 0) : err;
}

/* --- the events --- */

static int run_startup(void)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_startup(&t.cmd, TPM_SU_CLEAR);
	return err != 0 ? err : tpmrun(&t, 0);
}

static int run_shutdown(void)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_shutdown(&t.cmd, TPM_SU_CLEAR);
	return err != 0 ? err : tpmrun(&t, 0);
}

/* Before TPM2_Startup nothing can be written: a round of its own, as a platform's manufacturer would have had one. */
static int write_log_apart(struct backend *b)
{
	int err;

	err = run_startup();
	if (err == 0)
		err = write_log(b);
	if (err == 0)
		err = run_shutdown();
	engine_power_off();
	if (err == 0)
		err = engine_power_on(NULL, 0);
	b->launch_written = err == 0;
	return err;
}

/* _TPM_Hash_Start, _Data, _End at locality 4 before TPM2_Startup: PCR 0 begins with that locality (Part 1, 34.2). */
static int measure_crtm(const struct launch_event *e)
{
	int err;

	err = engine_hash_start();
	if (err == 0)
		err = engine_hash_data(e->data, e->size);
	return err != 0 ? err : engine_hash_end();
}

int launch_begin(struct backend *b)
{
	struct launch_event e;
	struct launch_log l;
	int err = 0;

	if (!(b->start.flags & RUN_STARTUP) && !b->launch_written)
		err = write_log_apart(b);
	if (err == 0)
		err = launch_log_open(&l, b->launch, b->launch_len);
	if (err != 0 || !l.crtm)
		return err;
	err = launch_log_next(&l, &e);
	return err != 0 ? err : measure_crtm(&e);
}

/* All digests that the log has; those of banks that are not active the TPM passes over. */
static int extend(struct tpmrun *t, const struct launch_event *e)
{
	struct tpm_digest digests[LAUNCH_BANKS];
	unsigned n = 0;
	int err;

	for (unsigned i = 0; i < LAUNCH_BANKS; i++)
		if (e->digest[i] != NULL)
			digests[n++] = (struct tpm_digest){ launch_alg(i), e->digest[i], launch_digest_size(i) };
	err = tpmcmd_pcr_extend(&t->cmd, e->pcr, digests, n);
	return err != 0 ? err : tpmrun(t, 0);
}

/* A bank without digests would look as if nothing had been launched. */
static int check_banks(struct backend *b, struct tpmrun *t, const struct launch_log *l)
{
	bool active;
	int err;

	if (l->sha1)
		return 0;
	err = tpmcmd_get_capability(&t->cmd, TPM_CAP_PCRS, 0, 1);
	if (err == 0)
		err = tpmrun(t, 0);
	if (err == 0)
		err = tpmrsp_bank_active(&t->rsp, launch_alg(LAUNCH_SHA1), &active);
	if (err == 0 && active)
		backend_refuse(b, ERR_INVAL, "it has an active SHA-1 bank, and its launch gives no SHA-1 digests");
	return err;
}

int launch_extend(struct backend *b)
{
	struct launch_event e;
	struct launch_log l = { 0 };
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = write_log(b);
	if (err == 0)
		err = launch_log_open(&l, b->launch, b->launch_len);
	if (err == 0)
		err = check_banks(b, &t, &l);
	if (err == 0 && l.crtm)
		err = launch_log_next(&l, &e); /* launch_begin has */
	while (err == 0) {
		err = launch_log_next(&l, &e);
		if (err == 0)
			err = extend(&t, &e);
	}
	return err == ERR_NOTFOUND ? 0 : err;
}
