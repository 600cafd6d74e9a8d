/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/tpmrun.h"

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/tpm.h"

void tpmrun_init(struct tpmrun *t)
{
	buf_init(&t->cmd, t->cmd_mem, sizeof(t->cmd_mem));
	buf_wrap(&t->rsp.params, t->rsp_mem, 0);
	t->rsp.rc = TPM_RC_FAILURE;
	t->rsp.handle = 0;
}

int tpmrun(struct tpmrun *t, unsigned handles)
{
	struct tpm_header h;
	struct buf look;
	size_t n = 0;
	int err;

	buf_wrap(&look, t->cmd.data, t->cmd.len);
	if (tpm_header_get(&look, &h))
		return ERR_INVAL;
	err = engine_process(t->cmd.data, t->cmd.len, 0, t->rsp_mem, &n);
	if (err != 0)
		return err;
	err = tpmrsp_parse(&t->rsp, t->rsp_mem, n, h.tag == TPM_ST_SESSIONS, handles);
	if (err != 0)
		return err;
	return t->rsp.rc == TPM_RC_SUCCESS ? 0 : ERR_ENGINE;
}

int tpmrun_nv_write(struct tpmrun *t, uint32_t index, const uint8_t *data, size_t n)
{
	int err = 0;

	for (size_t at = 0, part; err == 0 && at < n; at += part) {
		part = n - at < TPMCMD_NV_CHUNK ? n - at : TPMCMD_NV_CHUNK;
		err = tpmcmd_nv_write(&t->cmd, index, data + at, part, (uint16_t)at);
		if (err == 0)
			err = tpmrun(t, 0);
	}
	return err;
}

void tpmrun_wipe(struct tpmrun *t)
{
	secmem_wipe(t, sizeof(*t));
}
