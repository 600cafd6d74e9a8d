/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/policy_look.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/keeper/counter.h"
#include "vtpm-mgr/keeper/policy.h"

#define ALL_PCRS ((1u << PCR_COUNT) - 1u)
#define MENTION_MAX 160u /* bytes of a text about one PCR */

void sets_decode(const uint8_t *p, size_t len, struct pcr_sets *out)
{
	struct buf b;

	memset(out, 0, sizeof(*out));
	buf_wrap(&b, p, len);
	while (buf_left(&b) && !out->damaged) {
		if (out->n == ARRAY_LEN(out->v) || pcr_set_decode(&b, &out->v[out->n]))
			out->damaged = true;
		else
			out->n++;
	}
}

/* Adds to a text, which ends where its room does. */
__attribute__((format(printf, 2, 3))) static void add(char text[static TEXT_MAX + 1], const char *fmt, ...)
{
	size_t at = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + at, TEXT_MAX + 1 - at, fmt, ap);
	va_end(ap);
}

/* Says what a person can act on, as far as there is room. False: nothing differs. */
static bool say_differences(uint32_t mask, const uint8_t now[static PCR_COUNT][DIGEST_LEN],
			    const uint8_t want[static PCR_COUNT][DIGEST_LEN], const char *who, char text[static TEXT_MAX + 1])
{
	char is[2 * DIGEST_LEN + 1], wants[2 * DIGEST_LEN + 1];
	bool differs = false;
	int i;

	for (; (i = policy_differing_pcr(mask, now, want)) >= 0; mask &= ~(1u << i)) {
		if (strlen(text) > TEXT_MAX - MENTION_MAX || hex_encode(now[i], DIGEST_LEN, is, sizeof(is)) ||
		    hex_encode(want[i], DIGEST_LEN, wants, sizeof(wants)))
			return true;
		add(text, "%sPCR %d is %.16s... and %s wants %.16s...", differs ? "; " : "", i, is, who, wants);
		differs = true;
	}
	return differs;
}

static int lowest(uint32_t mask)
{
	int i = 0;

	while (mask && !(mask >> i & 1))
		i++;
	return i;
}

static uint8_t judge_contents(const struct policy *p, const struct pcr_set *s, const struct policy_look *look, uint32_t least,
			      char text[static TEXT_MAX + 1])
{
	int empty = policy_empty_pcr(s->mask, s->pcr);
	uint32_t missing = p->mask & ~s->mask;

	if (s->version < least) {
		add(text, "it is revoked: the least version is %u", least);
		return SET_REVOKED;
	}
	if (empty >= 0 && !(p->flags & SEAL_INSECURE_PCRS)) {
		add(text, "its PCR %d is all %s: nothing was measured into that", empty, s->pcr[empty][0] ? "ones" : "zero");
		return SET_EMPTY;
	}
	if (missing) {
		add(text, "it has no PCR %d, which the policy wants in every set", lowest(missing));
		return SET_NARROW;
	}
	return say_differences(s->mask, look->pcr, s->pcr, "it", text) ? SET_OTHER_BOOT : SET_OPENS;
}

/* An error is the TPM's; a signature that is wrong is none. */
static int judge(struct tpm *t, const struct policy *p, const char *group, const struct pcr_set *s, uint32_t least,
		 struct policy_look *look)
{
	char *text = look->sets[look->n].text;
	uint8_t hash[DIGEST_LEN];
	int r = policy_set_hash(s, p->counter, group, hash);

	text[0] = '\0';
	if (!r)
		r = policy_verify(t, &p->signer, hash, s->scheme, s->signature, s->signature_len, NULL);
	if (r == ERR_AUTH) {
		add(text, "its signature is not the policy key's: it was changed, or signed by another key, for another group or counter");
		look->sets[look->n++].verdict = SET_UNSIGNED;
		return 0;
	}
	if (r)
		return r;
	look->sets[look->n].verdict = judge_contents(p, s, look, least, text);
	look->n++;
	return 0;
}

static void say_why_signed(const struct pcr_sets *sets, struct policy_look *look)
{
	add(look->reason, !sets->n ? "no PCR set is installed" : "no PCR set unseals it on this boot");
	for (unsigned i = 0; i < look->n; i++)
		if (strlen(look->reason) < TEXT_MAX - MENTION_MAX)
			add(look->reason, "; \"%s\", version %u: %s", sets->v[i].text, sets->v[i].version, look->sets[i].text);
	if (sets->damaged)
		add(look->reason, "; what else is installed is damaged");
}

static int look_signed(struct tpm *t, const struct policy *p, const char *group, const struct pcr_sets *sets, uint32_t least,
		       struct policy_look *out)
{
	int r = counter_read(t, p->counter, &out->minimum);

	if (r)
		return r;
	if (least < out->minimum)
		least = out->minimum;
	for (unsigned i = 0; i < sets->n && !r; i++) {
		r = judge(t, p, group, &sets->v[i], least, out);
		if (!r && out->sets[i].verdict == SET_OPENS && out->minimum)
			out->opens = true;
	}
	if (!r && !out->minimum)
		add(out->reason, "the TPM has no counter of versions at 0x%08x: somebody removed it", p->counter);
	else if (!r && !out->opens)
		say_why_signed(sets, out);
	return r;
}

int policy_look(struct tpm *t, const struct policy *p, const char *group, const struct pcr_sets *sets, uint32_t least,
		struct policy_look *out)
{
	int r = tpm_pcr_read(t, ALL_PCRS, out->pcr);

	out->minimum = out->n = 0;
	out->opens = false;
	out->reason[0] = '\0';
	if (!r && p->kind == POLICY_SIGNED)
		return look_signed(t, p, group, sets, least, out);
	if (!r)
		out->opens = !say_differences(p->mask, out->pcr, p->pcr, "the seal", out->reason);
	if (!r && !out->opens)
		add(out->reason, "; the host did not boot what it was sealed to");
	return r;
}
