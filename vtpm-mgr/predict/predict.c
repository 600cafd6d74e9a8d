/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/predict/predict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int firmware(struct prediction *p)
{
	uint32_t seen = 0;

	if (eventlog_replay(p->log, p->log_len, p->pcr, &seen)) {
		snprintf(p->why, sizeof(p->why), "the event log is damaged, or none of TPM 2.0 with SHA-256");
		return ERR_PROTO;
	}
	p->known = seen & PREDICT_FIRMWARE;
	return 0;
}

/* PCR 4 once more, with other programs in the place of those that were loaded. */
static int boot_programs(struct prediction *p)
{
	struct eventlog l;
	struct event e;
	size_t n = 0;
	bool seen = false;
	int r = eventlog_open(&l, p->log, p->log_len);

	memset(p->pcr[4], 0, EVENTLOG_DIGEST);
	while (!r && !(r = eventlog_next(&l, &e))) {
		const uint8_t *digest = e.digest;

		if (e.pcr != 4)
			continue;
		if (e.type == EV_EFI_BOOT_SERVICES_APPLICATION && n++ < p->nefi)
			digest = p->efi[n - 1];
		r = eventlog_extend(p->pcr[4], digest);
		seen = true;
	}
	if (r != ERR_NOTFOUND)
		return r;
	if (p->nefi && n != p->nefi) {
		snprintf(p->why, sizeof(p->why), "PCR 4: the firmware loaded %zu EFI programs at the boot of the log, and %zu were given",
			 n, p->nefi);
		return ERR_INVAL;
	}
	if (seen)
		p->known |= 1u << 4;
	return 0;
}

static int boot_loader(struct prediction *p)
{
	char why[GRUB_WHY_MAX];
	int r = grub_run(&p->boot, &p->trace, why);

	if (r) {
		snprintf(p->why, sizeof(p->why), "grub.cfg, %s", why);
		return r;
	}
	memset(p->pcr[GRUB_PCR_STRING], 0, EVENTLOG_DIGEST);
	memset(p->pcr[GRUB_PCR_BINARY], 0, EVENTLOG_DIGEST);
	for (size_t i = 0; i < p->trace.n && !r; i++)
		r = eventlog_extend(p->pcr[p->trace.v[i].pcr], p->trace.v[i].digest);
	for (size_t i = 0; i < p->boot.nfiles && !r; i++) {
		if (p->boot.files[i].used)
			continue;
		snprintf(p->why, sizeof(p->why), "%.100s was given, and the entry does not boot it", p->boot.files[i].name);
		r = ERR_INVAL;
	}
	if (!r)
		p->known |= 1u << GRUB_PCR_STRING | 1u << GRUB_PCR_BINARY;
	return r;
}

int predict(struct prediction *p)
{
	int r = 0;

	p->known = 0;
	if (p->log)
		r = firmware(p);
	if (!r && p->log)
		r = boot_programs(p);
	return r ? r : boot_loader(p);
}

int predict_log_holds(const uint8_t *log, size_t len, const uint8_t now[static EVENTLOG_PCRS][EVENTLOG_DIGEST], unsigned *at)
{
	uint8_t pcr[EVENTLOG_PCRS][EVENTLOG_DIGEST];
	uint32_t seen;
	int r = eventlog_replay(log, len, pcr, &seen);

	for (unsigned i = 0; i < EVENTLOG_PCRS && !r; i++) {
		*at = i;
		if (PREDICT_ALL >> i & 1 && memcmp(now[i], pcr[i], EVENTLOG_DIGEST) != 0)
			r = ERR_PCR;
	}
	return r;
}

static bool grubs_own(const struct event *e)
{
	return e->type == EV_IPL && (e->pcr == GRUB_PCR_STRING || e->pcr == GRUB_PCR_BINARY);
}

void predict_compare(const struct prediction *p, predict_difference *tell, void *arg)
{
	const struct measured *m = p->trace.v, *end = m ? m + p->trace.n : NULL;
	struct eventlog l;
	struct event e;
	int r = eventlog_open(&l, p->log, p->log_len);

	while (!r && !(r = eventlog_next(&l, &e))) {
		char *was;

		if (!grubs_own(&e))
			continue;
		was = eventlog_text(&e);
		if (was && m == end)
			tell(arg, e.pcr, was, NULL);
		else if (was && (m->pcr != e.pcr || memcmp(m->digest, e.digest, EVENTLOG_DIGEST) != 0))
			tell(arg, m->pcr, was, m->name);
		free(was);
		m += m != end;
	}
	for (; m != end; m++)
		tell(arg, m->pcr, NULL, m->name);
}
