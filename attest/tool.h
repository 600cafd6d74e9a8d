/* SPDX-License-Identifier: BSD-2-Clause */
/* The program vtpm-verify: what its files share. */
#ifndef VTPM_ATTEST_TOOL_H
#define VTPM_ATTEST_TOOL_H

#include <stdbool.h>

#include "attest/evidence.h"
#include "attest/vtpm-verify.h"

#define TRUST_FILES_MAX 64u
#define TRUST_FILE_MAX	(64u << 20)
#define KNOWN_MAX	100000u

enum { EXIT_VERIFIED = 0, EXIT_NOT_VERIFIED = 1, EXIT_USAGE = 2, EXIT_TROUBLE = 3 };

/* A whole file, or with "-" standard input, NUL-terminated; NULL, and said why: it cannot be read or has more than max bytes. */
void *file_read(const char *path, size_t max, size_t *len);
CHECKED int file_write(const char *dir, const char *name, const void *p, size_t n);

struct tool {
	const char *evidence, *policy, *known, *launch_log, *export_dir;
	const char *trust[TRUST_FILES_MAX];
	size_t ntrust;
	uint8_t nonce[EVIDENCE_NONCE_MAX];
	size_t nonce_len;
	uint8_t uuid[EVIDENCE_UUID];
	bool has_uuid;
	uint64_t time;
	bool json, exports;
};

/* What a verifier remembers, as a file: {"vtpms": {uuid: {…}}}. Locked from reading to writing. */
struct known_file {
	const char *path;
	int lock;
	struct vtpm_known *list;
	size_t n;
};
/* One that is not there is empty. */
CHECKED int known_open(struct known_file *k, const char *path);
CHECKED int known_keep(struct known_file *k, const struct vtpm_known *seen);
void known_close(struct known_file *k);

void print_report(const struct vtpm_report *r);
/* As EAT attestation result. policy_id: SHA-256 of the policy. */
CHECKED int print_ear(const struct tool *t, const struct vtpm_report *r, const uint8_t policy_id[static EVIDENCE_DIGEST]);

/* Files for other tools. */
int export_files(const struct tool *t);

#endif
