/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What GRUB 2.06 measures when it boots an entry of a grub.cfg on EFI with its module tpm: each file that it opens into
 * PCR 9, each command after its variables are expanded, and each command line of multiboot2 and module2, into PCR 8
 * (GRUB: commands/tpm.c, script/execute.c, lib/cmdline.c). grub.cfg is run as GRUB would run it, as far as that can be known
 * without GRUB's disks and environment. What cannot be known is an error that names the line: a guess would be worse.
 */
#ifndef VTPM_PREDICT_GRUB_H
#define VTPM_PREDICT_GRUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define GRUB_CFG_MAX	(1u << 20)
#define GRUB_WHY_MAX	400u /* with the NUL */
#define GRUB_FILES_MAX	16u
#define GRUB_PCR_STRING 8u
#define GRUB_PCR_BINARY 9u

/* One measurement, as it will be in the log. */
struct measured {
	unsigned pcr;
	uint8_t digest[32];
	char *name; /* owned by the trace */
};
struct trace {
	struct measured *v;
	size_t n;
};
/* name is copied. */
CHECKED int trace_add(struct trace *t, unsigned pcr, const uint8_t digest[static 32], const char *name);
void trace_free(struct trace *t);

/* A file that is to be booted. grub.cfg may name it by another directory: GRUB's root is not the host's. */
struct grub_file {
	const char *name; /* its last component */
	uint8_t digest[32];
	bool used; /* the entry boots it */
};

struct grub_boot {
	const char *cfg; /* text of grub.cfg; not NUL-terminated */
	size_t cfg_len;
	const char *entry; /* number, id or title; NULL: the default of grub.cfg */
	struct grub_file files[GRUB_FILES_MAX];
	size_t nfiles;
};

/* Appends what is measured to t, in order. ERR_INVAL: it cannot be known; why says what, and in which line. */
CHECKED int grub_run(struct grub_boot *boot, struct trace *t, char why[static GRUB_WHY_MAX]);

#endif
