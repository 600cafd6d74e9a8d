/* SPDX-License-Identifier: BSD-2-Clause */
/* A run of a grub.cfg: shared by grub.c, which follows its statements, and grub_commands.c, which knows the commands. */
#ifndef VTPM_PREDICT_GRUB_RUN_H
#define VTPM_PREDICT_GRUB_RUN_H

#include "vtpm-mgr/predict/grub.h"
#include "vtpm-mgr/predict/grub_words.h"

#define GRUB_VARIABLES_MAX 256u
#define GRUB_FUNCTIONS_MAX 64u
#define GRUB_ENTRIES_MAX   64u
#define GRUB_COMMANDS_MAX  4096u /* executed in one run */
#define GRUB_DEPTH_MAX	   16u	 /* of functions and ifs in one another */

struct grub_variable {
	char *name, *value; /* value NULL: only GRUB knows it */
};
struct grub_function {
	char *name;
	struct grub_text body; /* a part of the text that defines it */
};
struct grub_entry {
	char *title, *id, *source;
	unsigned line; /* of its first command */
	bool submenu;
};

struct grub_run {
	struct grub_boot *boot;
	struct trace *trace;
	char *why;
	struct grub_variable variables[GRUB_VARIABLES_MAX];
	struct grub_function functions[GRUB_FUNCTIONS_MAX];
	struct grub_entry entries[GRUB_ENTRIES_MAX];
	size_t nvariables, nfunctions, nentries;
	unsigned commands, depth;
	bool failed; /* what the last command returned */
	bool loaded; /* there is something to boot */
	bool done;   /* it was booted */
};

/* Says why, once. Returns ERR_INVAL. */
__attribute__((format(printf, 3, 4))) int grub_refuse(struct grub_run *g, unsigned line, const char *fmt, ...);
/* Follows statements until the text ends. */
CHECKED int grub_statements(struct grub_run *g, struct grub_text *t, bool run);

/* Carries a command out, after it was measured. block: whether the last argument is one in braces. */
CHECKED int grub_command(struct grub_run *g, const struct grub_args *a, bool block, unsigned line);
/* Measures a text into PCR 8, and describes it as GRUB does. */
CHECKED int grub_measure_text(struct grub_run *g, const char *prefix, const char *text);
/* value NULL: only GRUB knows it. */
CHECKED int grub_set(struct grub_run *g, const char *name, const char *value);
const char *grub_get(const void *run, const char *name, bool *unknown);

#endif
