/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The firmware's event log, as Linux shows it in binary_bios_measurements: the crypto-agile format of the TCG PC Client
 * Platform Firmware Profile, 10.2 and 10.4.5. Nobody vouches for it: it is read as hostile, it explains and predicts, and
 * nothing is permitted because of it. Numbers are little-endian. Only the SHA-256 bank is looked at.
 *
 * Events are views into the caller's bytes, which must outlive them.
 */
#ifndef VTPM_LIB_EVENTLOG_H
#define VTPM_LIB_EVENTLOG_H

#include <stdint.h>

#include "lib/buf.h"

#define EVENTLOG_MAX	  (4u << 20) /* bytes that are taken for a log */
#define EVENTLOG_PCRS	  24u
#define EVENTLOG_DIGEST	  32u
#define EVENTLOG_ALGS_MAX 16u
#define EVENTLOG_NAME_MAX 160u /* without the NUL */
#define EVENTLOG_LINUX	  "/sys/kernel/security/tpm0/binary_bios_measurements"

enum {
	EV_SEPARATOR = 4,
	EV_EFI_ACTION = 0x80000007,
	EV_IPL = 0xd, /* what GRUB logs: data is a text that says what it is */
	EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003,
};

struct eventlog {
	struct buf b;
	struct {
		uint16_t alg, size;
	} algs[EVENTLOG_ALGS_MAX];
	uint32_t nalgs;
	uint8_t locality; /* of TPM2_Startup, which PCR 0 begins with; from an event of its own (10.4.5.3) */
};

struct event {
	uint32_t pcr, type;
	const uint8_t *digest; /* EVENTLOG_DIGEST bytes */
	const uint8_t *data;
	size_t size;
};

/* Reads the first event, which says which digests follow. ERR_PROTO: it is no such log, or has no SHA-256. */
CHECKED int eventlog_open(struct eventlog *l, const void *p, size_t n);
/* The next event that was extended into a PCR; ERR_NOTFOUND after the last. Those of type EV_NO_ACTION are passed over. */
CHECKED int eventlog_next(struct eventlog *l, struct event *e);

/* A PCR as an event leaves it: SHA-256(PCR ‖ digest). */
CHECKED int eventlog_extend(uint8_t pcr[static EVENTLOG_DIGEST], const uint8_t digest[static EVENTLOG_DIGEST]);
/* What the PCRs hold if the log is true; zero for those without an event. *seen: which have one, bit i for PCR i. */
CHECKED int eventlog_replay(const void *p, size_t n, uint8_t pcr[static EVENTLOG_PCRS][EVENTLOG_DIGEST],
			    uint32_t *seen);

/* What an event is, for a person: printable, whatever the log holds. */
void eventlog_name(const struct event *e, char out[static EVENTLOG_NAME_MAX + 1]);

/* The same as a text of any length, not made printable; owned by the caller, NULL: out of memory. Empty: no event (data NULL). */
char *eventlog_text(const struct event *e);

/*
 * The first event of a PCR that is another in log b than in log a. data is NULL in was, or is, if that log has none there.
 * ERR_NOTFOUND: there is none. ERR_PROTO: a log is damaged.
 */
CHECKED int eventlog_difference(const void *a, size_t a_len, const void *b, size_t b_len, unsigned pcr, struct event *was,
				struct event *is);

/*
 * What two texts have that is different, with some of what is around it, printable: from the same place, at most max bytes
 * each, NUL included. "..." marks what was left out.
 */
void eventlog_excerpt(const char *a, const char *b, size_t max, char *out_a, char *out_b);

#endif
