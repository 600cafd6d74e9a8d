/* SPDX-License-Identifier: BSD-2-Clause */
/* What tpmproxy does to the responses that pass it. */
#ifndef TESTS_TOOLS_TPMPROXY_H
#define TESTS_TOOLS_TPMPROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_FRAME_MAX 4096u

enum plan_kind {
	PLAN_PASS,
	PLAN_FLIP,    /* one bit of byte `value` of the response, counted from its end if negative */
	PLAN_CODE,    /* TPM_RC `value` in place of a response; the TPM never sees the command */
	PLAN_SIZE,    /* `value` in the response's size field */
	PLAN_CUT,     /* `value` bytes of the response, then the end of the connection */
	PLAN_GARBAGE, /* `value` bytes of 0xa5 in place of a response */
};

/* Commands, or those of one code, count from 1, over all connections. */
struct plan {
	enum plan_kind kind;
	uint32_t code; /* TPM_CC; 0: any */
	unsigned long first, last;
	long value;
};

struct frame {
	uint8_t mem[PROXY_FRAME_MAX];
	size_t len;
};

/* KIND [CODE/]FIRST[-LAST] VALUE, as words, CODE in hex; no words pass everything on. False: no plan. */
bool plan_parse(struct plan *p, int nwords, char *const *words);
/* Does this command count? */
bool plan_counts(const struct plan *p, const struct frame *cmd);
/* Is the n-th command kept from the TPM? */
bool plan_answers(const struct plan *p, unsigned long n);
/* Changes the n-th response. True: the connection ends after it. */
bool plan_apply(const struct plan *p, unsigned long n, struct frame *rsp);

#endif
