/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/launch.h"

#include <string.h>

#define SPEC_SIGNATURE	   "Spec ID Event03" /* with its NUL */
#define SIGNATURE_LEN	   16u
#define SHA1_LEN	   20u
#define UINTN_64	   2u
#define CRTM_LOCALITY	   4u

static const struct {
	uint16_t alg, size;
} banks[LAUNCH_BANKS] = {
	[LAUNCH_SHA1] = { 0x0004, SHA1_LEN },
	[LAUNCH_SHA256] = { 0x000b, 32 },
	[LAUNCH_SHA384] = { 0x000c, 48 },
	[LAUNCH_SHA512] = { 0x000d, 64 },
};
static const uint8_t zeroes[LAUNCH_DIGEST_MAX];

uint16_t launch_alg(enum launch_bank bank)
{
	return banks[bank].alg;
}

size_t launch_digest_size(enum launch_bank bank)
{
	return banks[bank].size;
}

static unsigned first_bank(bool sha1)
{
	return sha1 ? LAUNCH_SHA1 : LAUNCH_SHA256;
}

/* --- the header: TCG_PCR_EVENT with a TCG_EfiSpecIdEvent --- */

static uint32_t spec_size(bool sha1)
{
	return SIGNATURE_LEN + 4 + 4 + 4 + 4 * (LAUNCH_BANKS - first_bank(sha1)) + 1;
}

static int put_header(struct buf *b, bool sha1)
{
	if (buf_put_u32le(b, 0) || buf_put_u32le(b, LAUNCH_EV_NO_ACTION) || buf_put_bytes(b, zeroes, SHA1_LEN) ||
	    buf_put_u32le(b, spec_size(sha1)) || buf_put_bytes(b, SPEC_SIGNATURE, SIGNATURE_LEN))
		return ERR_RANGE;
	/* platformClass, versions minor and major, errata, uintnSize */
	if (buf_put_u32le(b, 0) || buf_put_u8(b, 0) || buf_put_u8(b, 2) || buf_put_u8(b, 0) || buf_put_u8(b, UINTN_64) ||
	    buf_put_u32le(b, LAUNCH_BANKS - first_bank(sha1)))
		return ERR_RANGE;
	for (unsigned i = first_bank(sha1); i < LAUNCH_BANKS; i++)
		if (buf_put_u16le(b, banks[i].alg) || buf_put_u16le(b, banks[i].size))
			return ERR_RANGE;
	return buf_put_u8(b, 0); /* vendorInfoSize */
}

/* Takes what want holds off the beginning of b, if that is what it begins with. */
static bool begins_with(struct buf *b, const struct buf *want)
{
	struct buf look = *b;
	const uint8_t *got;

	if (buf_get_view(&look, want->len, &got) || memcmp(got, want->data, want->len) != 0)
		return false;
	*b = look;
	return true;
}

/* There are two headers: with SHA-1 and without. */
static int get_header(struct buf *b, bool *sha1)
{
	uint8_t mem[128];
	struct buf want;

	for (unsigned i = 0; i < 2; i++) {
		*sha1 = i == 1;
		buf_init(&want, mem, sizeof(mem));
		if (put_header(&want, *sha1))
			return ERR_RANGE;
		if (begins_with(b, &want))
			return 0;
	}
	return ERR_PROTO;
}

/* --- TCG_PCR_EVENT2 --- */

static int put_event(struct buf *b, bool sha1, const struct launch_event *e)
{
	if (buf_put_u32le(b, e->pcr) || buf_put_u32le(b, e->type) || buf_put_u32le(b, LAUNCH_BANKS - first_bank(sha1)))
		return ERR_RANGE;
	for (unsigned i = first_bank(sha1); i < LAUNCH_BANKS; i++)
		if (buf_put_u16le(b, banks[i].alg) || buf_put_bytes(b, e->digest[i], banks[i].size))
			return ERR_RANGE;
	return buf_put_var(b, e->data, e->size);
}

static int get_event(struct buf *b, bool sha1, struct launch_event *e)
{
	uint32_t n;
	uint16_t alg;

	*e = (struct launch_event){ 0 };
	if (buf_get_u32le(b, &e->pcr) || buf_get_u32le(b, &e->type) || buf_get_u32le(b, &n) ||
	    n != LAUNCH_BANKS - first_bank(sha1))
		return ERR_PROTO;
	for (unsigned i = first_bank(sha1); i < LAUNCH_BANKS; i++)
		if (buf_get_u16le(b, &alg) || alg != banks[i].alg || buf_get_view(b, banks[i].size, &e->digest[i]))
			return ERR_PROTO;
	return buf_get_var(b, LAUNCH_DATA_MAX, &e->data, &e->size) ? ERR_PROTO : 0;
}

static const struct launch_event startup_locality = {
	.type = LAUNCH_EV_NO_ACTION,
	.digest = { zeroes, zeroes, zeroes, zeroes },
	.data = (const uint8_t[]){ 'S', 't', 'a', 'r', 't', 'u', 'p', 'L', 'o', 'c', 'a', 'l', 'i', 't', 'y', 0, CRTM_LOCALITY },
	.size = SIGNATURE_LEN + 1,
};

int launch_log_begin(struct buf *b, bool sha1, bool crtm)
{
	int err = put_header(b, sha1);

	return err != 0 || !crtm ? err : put_event(b, sha1, &startup_locality);
}

int launch_log_add(struct buf *b, bool sha1, const struct launch_event *e)
{
	return e->size > LAUNCH_DATA_MAX ? ERR_RANGE : put_event(b, sha1, e);
}

/* --- reading --- */

int launch_log_open(struct launch_log *l, const void *p, size_t n)
{
	uint8_t mem[256];
	struct buf want;

	*l = (struct launch_log){ 0 };
	if (n > LAUNCH_LOG_MAX)
		return ERR_PROTO;
	buf_wrap(&l->b, p, n);
	buf_init(&want, mem, sizeof(mem));
	if (get_header(&l->b, &l->sha1) || put_event(&want, l->sha1, &startup_locality))
		return ERR_PROTO;
	l->crtm = begins_with(&l->b, &want);
	return 0;
}

int launch_log_next(struct launch_log *l, struct launch_event *e)
{
	const bool crtm = l->crtm && l->n == 0;

	if (buf_left(&l->b) == 0)
		return crtm || l->n == 0 ? ERR_PROTO : ERR_NOTFOUND;
	if (l->n >= LAUNCH_EVENTS_MAX || get_event(&l->b, l->sha1, e))
		return ERR_PROTO;
	if (e->pcr > LAUNCH_PCR_MAX || e->type == LAUNCH_EV_NO_ACTION)
		return ERR_PROTO;
	if (crtm && (e->pcr != 0 || e->type != LAUNCH_EV_S_CRTM_CONTENTS || e->size == 0))
		return ERR_PROTO;
	l->n++;
	return 0;
}

int launch_log_check(const void *p, size_t n, bool startup)
{
	struct launch_event e;
	struct launch_log l;
	int err = launch_log_open(&l, p, n);

	while (err == 0)
		err = launch_log_next(&l, &e);
	if (err != ERR_NOTFOUND)
		return ERR_PROTO;
	return startup || (l.crtm && l.n == 1) ? 0 : ERR_PROTO;
}
