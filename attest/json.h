/* SPDX-License-Identifier: BSD-2-Clause */
/* JSON of files that people write: whatever is not as described is an error that says where. */
#ifndef VTPM_ATTEST_JSON_H
#define VTPM_ATTEST_JSON_H

#include <stdbool.h>

#include <jansson.h>

#include "attest/vtpm-verify.h"
#include "lib/err.h"

struct reader {
	const char *what; /* the file, for texts */
	char *why;	  /* VTPM_VERIFY_TEXT bytes; the first error stays */
	bool bad;
};

__attribute__((format(printf, 2, 3))) void json_wrong(struct reader *r, const char *fmt, ...);
/* NULL: it is no object. */
json_t *json_read(struct reader *r, const void *file, size_t len);
/* The object has no members but those of names, which ends with NULL. */
void json_members(struct reader *r, const char *path, json_t *o, const char *const *names);

/* Optional members: what is not there leaves *out as it is. */
void json_flag(struct reader *r, const char *path, json_t *o, const char *key, bool *out);
void json_number(struct reader *r, const char *path, json_t *o, const char *key, uint64_t *out);
void json_text(struct reader *r, const char *path, json_t *o, const char *key, size_t max, char *out);
json_t *json_member(struct reader *r, const char *path, json_t *o, const char *key, json_type type);
/* A text of 2n hexadecimal digits. */
void json_hex(struct reader *r, const char *path, json_t *text, void *out, size_t n);

#endif
