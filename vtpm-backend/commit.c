/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/commit.h"

#include "vtpm-backend/tpm.h"

void commit_init(struct commit *c, uint64_t version)
{
	c->version = version;
	c->stale = false;
	c->why = 0;
	c->exported = false;
	c->first = true;
}

void commit_resume(struct commit *c, uint64_t version, int why)
{
	commit_init(c, version);
	c->stale = why != 0;
	c->why = why;
	c->first = false;
}

uint64_t commit_next(const struct commit *c)
{
	return c->version + 1;
}

void commit_export(struct commit *c)
{
	c->exported = true;
}

bool commit_due(const struct commit *c)
{
	return c->stale || c->exported;
}

void commit_settle(struct commit *c, int code)
{
	c->stale = code != 0;
	c->why = code;
	if (code == 0) {
		c->version++;
		c->exported = false;
		c->first = false;
	}
}

/* Anything but the one tag that cannot carry an authorisation counts as carrying one. */
bool commit_admits(const struct commit *c, uint16_t tag)
{
	return !c->exported && (!c->stale || tag == TPM_ST_NO_SESSIONS);
}

bool commit_withholds(const struct commit *c, bool changed)
{
	return c->stale && changed;
}
