/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event log of a measured launch: what manager and backend hand each other, what the guest reads from NV, and
 * what `vtpmctl eventlog` writes, byte for byte the same. It is crypto-agile (TCG PC Client Platform Firmware Profile, 10.2 and
 * 10.4.5), with numbers little-endian:
 *
 *	TCG_PCR_EVENT	the header: EV_NO_ACTION, "Spec ID Event03", which digests follow
 *	TCG_PCR_EVENT2	EV_NO_ACTION, "StartupLocality" 4: only if the next is the H-CRTM's
 *	TCG_PCR_EVENT2	PCR 0, EV_S_CRTM_CONTENTS: its data is what _TPM_Hash_Data took before TPM2_Startup
 *	TCG_PCR_EVENT2	what was extended after TPM2_Startup, in this order
 *
 * Each event has a SHA-256, a SHA-384 and a SHA-512, and all of them a SHA-1, or none. So the log, and with it the digest of a
 * launch, does not depend on which banks a TPM has.
 */
#ifndef VTPM_PROTO_LAUNCH_H
#define VTPM_PROTO_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

#define LAUNCH_LOG_MAX	  (16u * 1024u)
#define LAUNCH_EVENTS_MAX 64u
#define LAUNCH_DATA_MAX	  1024u
#define LAUNCH_PCR_MAX	  15u /* those above a guest may reset by itself, or its hardware alone extends */
#define LAUNCH_DIGEST_MAX 64u

enum launch_bank { LAUNCH_SHA1, LAUNCH_SHA256, LAUNCH_SHA384, LAUNCH_SHA512, LAUNCH_BANKS };

/* TCG PC Client Platform Firmware Profile, 10.4.1; the digest of those of the second line is of their data. */
enum {
	LAUNCH_EV_NO_ACTION = 3,
	LAUNCH_EV_SEPARATOR = 4,
	LAUNCH_EV_ACTION = 5,
	LAUNCH_EV_S_CRTM_CONTENTS = 7,
	LAUNCH_EV_S_CRTM_VERSION = 8,
	LAUNCH_EV_EFI_ACTION = 0x80000007,
};

struct launch_event {
	uint32_t pcr, type;
	const uint8_t *digest[LAUNCH_BANKS]; /* views; of SHA-1 perhaps NULL */
	const uint8_t *data;
	size_t size;
};

/* TPM_ALG_ID, and bytes of a digest. */
uint16_t launch_alg(enum launch_bank bank);
size_t launch_digest_size(enum launch_bank bank);

/* Begins a log whose events have a SHA-1, too, or not. crtm: the first one is the H-CRTM's. */
CHECKED int launch_log_begin(struct buf *b, bool sha1, bool crtm);
CHECKED int launch_log_add(struct buf *b, bool sha1, const struct launch_event *e);

struct launch_log {
	struct buf b;
	bool sha1; /* its events have one */
	bool crtm; /* its first event is the H-CRTM's */
	unsigned n; /* events that were read */
};

/* Reads the header, and what says that there is an H-CRTM. ERR_PROTO: it is no such log. */
CHECKED int launch_log_open(struct launch_log *l, const void *p, size_t n);
/* ERR_NOTFOUND: that was all. ERR_PROTO: it is damaged, or has an event that may not be. */
CHECKED int launch_log_next(struct launch_log *l, struct launch_event *e);
/* All of it. startup: with events after the H-CRTM's. */
CHECKED int launch_log_check(const void *p, size_t n, bool startup);

#endif
