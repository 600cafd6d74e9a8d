/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCRs of the next boot, from the event log of a boot of this host and the files that are about to be booted:
 *	0 to 3, 5 to 7	as the log has them: the firmware's
 *	4		the same events, with the hashes of the EFI programs that are there now
 *	8, 9		what GRUB will measure (grub.h)
 * Nothing else can be known beforehand.
 */
#ifndef VTPM_PREDICT_PREDICT_H
#define VTPM_PREDICT_PREDICT_H

#include "lib/eventlog.h"
#include "vtpm-mgr/predict/grub.h"

#define PREDICT_EFI_MAX 8u
#define PREDICT_WHY_MAX (GRUB_WHY_MAX + 32u)
#define PREDICT_FIRMWARE (1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7)
#define PREDICT_ALL	 (PREDICT_FIRMWARE | 1u << 4 | 1u << 8 | 1u << 9)

struct prediction {
	/* In: log NULL: there is none. */
	const uint8_t *log;
	size_t log_len;
	uint8_t efi[PREDICT_EFI_MAX][EVENTLOG_DIGEST]; /* in the order in which they are loaded; none: those of the log */
	size_t nefi;
	struct grub_boot boot;
	/* Out */
	uint8_t pcr[EVENTLOG_PCRS][EVENTLOG_DIGEST];
	uint32_t known; /* bit i: PCR i */
	struct trace trace;
	char why[PREDICT_WHY_MAX]; /* after a failure */
};

/* ERR_INVAL, ERR_PROTO: why says what is wrong. The caller frees trace in any case. */
CHECKED int predict(struct prediction *p);

/* Whether a log leads to what the PCRs of PREDICT_ALL hold. ERR_PCR: not to that of *at. ERR_PROTO: it is damaged, or no such log. */
CHECKED int predict_log_holds(const uint8_t *log, size_t len, const uint8_t now[static EVENTLOG_PCRS][EVENTLOG_DIGEST], unsigned *at);

/* Calls back for each measurement of GRUB that will not be what the log has, in order; was or is NULL: there is none. */
typedef void predict_difference(void *arg, unsigned pcr, const char *was, const char *is);
void predict_compare(const struct prediction *p, predict_difference *tell, void *arg);

#endif
