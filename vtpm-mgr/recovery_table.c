/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/recovery_table.h"

static const char *const sentences[RECOVERY_OUTCOMES] = {
	[RECOVERY_GOES_ON] = "the TPM was not reset since the last commit: the store is the newest",
	[RECOVERY_REBOOTED] = "the last stop was in order: the store is the newest",
	[RECOVERY_POWER_LOST] = "the TPM was reset without an orderly stop before it: the store is not older than its last "
				"anchored row; what bounded guests changed after that cannot be proven to be there, so each of "
				"them has one discontinuity more",
	[RECOVERY_A_MISSING] = "the TPM has no index at the handle of anchor A: it was removed or the TPM was cleared, and "
			       "nothing tells whether the store is the newest",
	[RECOVERY_A_FOREIGN] = "what the TPM has at the handle of anchor A is not the index that was defined there: somebody "
			       "replaced it",
	[RECOVERY_A_AUTH] = "anchor A was removed and defined anew by somebody else: its authorisation is another",
	[RECOVERY_A_EMPTY] = "anchor A was removed and defined anew: nothing was ever extended into it",
	[RECOVERY_A_UNKNOWN] = "no row of the journal has the value of anchor A: the store is an older one that was put back, or "
			       "another one, or rows of its journal are missing",
	[RECOVERY_V_MISSING] = "the TPM has no index at the handle of anchor V: somebody removed it",
	[RECOVERY_V_FOREIGN] = "what the TPM has at the handle of anchor V is not the index that was defined there: somebody "
			       "replaced it",
	[RECOVERY_V_AUTH] = "anchor V was removed and defined anew by somebody else: its authorisation is another",
	[RECOVERY_V_UNKNOWN] = "no row of the journal has the value of anchor V: the store is an older one that was put back, or "
			       "rows of its journal are missing",
	[RECOVERY_V_SPLIT] = "anchors A and V hold values that never were there together",
	[RECOVERY_V_REMOVED] = "anchor V is empty although the TPM was not reset: somebody removed it and defined it anew",
	[RECOVERY_RECORD] = "the store's record of the anchors is missing or was changed",
	[RECOVERY_JOURNAL] = "a row of the journal was changed, removed or put in",
	[RECOVERY_LEAVES] = "the record of the newest states (table leaf) is not the one that the journal vouches for: it, or the "
			    "journal, was changed or put back",
};

static enum recovery_outcome refuse_a(enum anchor_state a)
{
	switch (a) {
	case ANCHOR_MISSING:
		return RECOVERY_A_MISSING;
	case ANCHOR_FOREIGN:
		return RECOVERY_A_FOREIGN;
	case ANCHOR_AUTH:
		return RECOVERY_A_AUTH;
	default:
		return RECOVERY_A_EMPTY;
	}
}

/* Model: decide. V holds nothing: because of a TPM reset, or because somebody made it so. */
static enum recovery_outcome without_v(const struct recovery_facts *f)
{
	if (f->reset_count == f->a_reset_count)
		return RECOVERY_V_REMOVED;
	return f->a_kind == ROW_CLOSE || f->a_kind == ROW_GENESIS ? RECOVERY_REBOOTED : RECOVERY_POWER_LOST;
}

/* Model: decide. */
enum recovery_outcome recovery_decide(const struct recovery_facts *f)
{
	if (f->a != ANCHOR_VALUE)
		return refuse_a(f->a);
	if (!f->a_row)
		return RECOVERY_A_UNKNOWN;
	if (f->strict_only) /* every row is in A */
		return RECOVERY_GOES_ON;
	switch (f->v) {
	case ANCHOR_VALUE:
		if (!f->v_row)
			return RECOVERY_V_UNKNOWN;
		return f->v_fits ? RECOVERY_GOES_ON : RECOVERY_V_SPLIT;
	case ANCHOR_ABSENT:
		return without_v(f);
	case ANCHOR_MISSING:
		return RECOVERY_V_MISSING;
	case ANCHOR_FOREIGN:
		return RECOVERY_V_FOREIGN;
	default:
		return RECOVERY_V_AUTH;
	}
}

bool recovery_refuses(enum recovery_outcome o)
{
	return o > RECOVERY_POWER_LOST;
}

const char *recovery_sentence(enum recovery_outcome o)
{
	return o < RECOVERY_OUTCOMES ? sentences[o] : "";
}
