/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/qemu_proto.h"

#include <stdlib.h>

void qemu_reply_begin(struct qemu_reply *r)
{
	buf_init(&r->b, r->mem, sizeof(r->mem));
	r->blob = NULL;
	r->blob_len = 0;
	(void)!buf_put_u32be(&r->b, QEMU_SUCCESS); /* there is room */
}

void qemu_reply_end(struct qemu_reply *r, uint32_t result)
{
	/* A blob that does not exist is told with all fields, and so is one that cannot be had: QEMU reads them. */
	if (result != QEMU_SUCCESS && r->b.len != 4 * sizeof(uint32_t))
		r->b.len = sizeof(uint32_t);
	(void)!buf_set_u32be(&r->b, 0, result); /* it was written by qemu_reply_begin */
}

void qemu_reply_free(struct qemu_reply *r)
{
	free(r->blob);
	r->blob = NULL;
	r->blob_len = 0;
	r->b.len = 0;
}
