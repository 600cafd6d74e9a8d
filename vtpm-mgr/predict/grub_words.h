/* SPDX-License-Identifier: BSD-2-Clause */
/* The words of a grub.cfg: where they end, and what they become (GRUB: script/yylex.l, script/execute.c). */
#ifndef VTPM_PREDICT_GRUB_WORDS_H
#define VTPM_PREDICT_GRUB_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define GRUB_ARGS_MAX 128u

enum grub_token { TOKEN_END, TOKEN_DELIMITER, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_WORD, TOKEN_BAD };

struct grub_text {
	const char *p, *end;
	unsigned line;
};
/* Text of a token; of a word as it is written, quotes and all. */
struct grub_word {
	const char *p;
	size_t n;
};

enum grub_token grub_token(struct grub_text *t, struct grub_word *w);

/* Arguments of a command. Zero is an empty one. */
struct grub_args {
	char *v[GRUB_ARGS_MAX];
	size_t n;
};
void grub_args_free(struct grub_args *a);
/* Takes over text, also on failure. */
CHECKED int grub_args_add(struct grub_args *a, char *text);

/* The value of a variable; NULL: it has none. *unknown: only GRUB knows it. */
typedef const char *grub_lookup(const void *arg, const char *name, bool *unknown);

/*
 * Appends what a word becomes: one argument, none, or several if a variable outside quotes has spaces. ERR_INVAL: it
 * holds what is not followed here; *what says what.
 */
CHECKED int grub_expand(const struct grub_word *w, grub_lookup *lookup, const void *arg, struct grub_args *a,
			const char **what);

/* All arguments from the i-th, separated by spaces; NULL: out of memory. */
char *grub_join(const struct grub_args *a, size_t i);
/* The same, as a loader passes them to what it loads (lib/cmdline.c). */
char *grub_cmdline(const struct grub_args *a, size_t i);

#endif
