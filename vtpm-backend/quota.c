/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The quota on the size of a vTPM's permanent state is kept before a command runs, not after: once the
 * engine has a state that is too large to be stored, no commit can ever succeed again, and
 * the commands that would free space are the very ones that a stale vTPM refuses (commit.h).
 *
 * The permanent state grows by three commands only: NV_DefineSpace and EvictControl add one
 * item, NV_ChangeAuth makes one a little larger. All else in it has a place of its own from
 * the start (hierarchy auths and policies, PCR policies, audit and physical presence lists),
 * less than QUOTA_FIXED bytes together.
 */
#include "vtpm-backend/serve.h"

#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"

#define QUOTA_ITEM_MAX 3072u /* the largest persistent object or NV index with its public area */
#define QUOTA_FIXED    1024u

/* EvictControl of a persistent object removes it; of any other, it adds it (Part 3, 28.5). */
static bool evict_adds(struct buf *b)
{
	uint32_t auth, object;

	if (buf_get_u32be(b, &auth) || buf_get_u32be(b, &object))
		return false;
	return object >> 24 != TPM_HT_PERSISTENT;
}

static bool may_grow(const uint8_t *cmd, size_t len)
{
	struct tpm_header h;
	struct buf b;

	buf_wrap(&b, cmd, len);
	if (tpm_header_get(&b, &h))
		return false;
	switch (h.code) {
	case TPM_CC_NV_DefineSpace:
	case TPM_CC_NV_ChangeAuth:
		return true;
	case TPM_CC_EvictControl:
		return evict_adds(&b);
	default:
		return false;
	}
}

bool quota_refuses(const uint8_t *cmd, size_t len, size_t state_len, size_t state_max)
{
	return may_grow(cmd, len) && state_len + QUOTA_ITEM_MAX + QUOTA_FIXED > state_max;
}
