/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/eventlog.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define ALG_SHA256   0x000bu
#define EV_NO_ACTION 3u
#define SHA1_LEN     20u

/* TCG_EfiSpecIdEvent (10.4.5.1), behind its signature. */
static int spec_id_read(struct buf *b, struct eventlog *l)
{
	uint8_t vendor;

	if (buf_skip(b, 4 + 4) || buf_get_u32le(b, &l->nalgs) || l->nalgs > EVENTLOG_ALGS_MAX)
		return ERR_PROTO;
	for (uint32_t i = 0; i < l->nalgs; i++)
		if (buf_get_u16le(b, &l->algs[i].alg) || buf_get_u16le(b, &l->algs[i].size))
			return ERR_PROTO;
	if (buf_get_u8(b, &vendor) || buf_skip(b, vendor) || buf_left(b))
		return ERR_PROTO;
	for (uint32_t i = 0; i < l->nalgs; i++)
		if (l->algs[i].alg == ALG_SHA256 && l->algs[i].size == EVENTLOG_DIGEST)
			return 0;
	return ERR_PROTO;
}

/* TCG_PCClientPCREvent, the old format, which the first event has for the sake of old parsers. */
int eventlog_open(struct eventlog *l, const void *p, size_t n)
{
	static const uint8_t signature[16] = "Spec ID Event03";
	uint32_t pcr, type, size;
	const uint8_t *event, *sign;
	struct buf spec;

	memset(l, 0, sizeof(*l));
	if (n > EVENTLOG_MAX)
		return ERR_PROTO;
	buf_wrap(&l->b, p, n);
	if (buf_get_u32le(&l->b, &pcr) || buf_get_u32le(&l->b, &type) || type != EV_NO_ACTION ||
	    buf_skip(&l->b, SHA1_LEN) || buf_get_u32le(&l->b, &size) || buf_get_view(&l->b, size, &event))
		return ERR_PROTO;
	buf_wrap(&spec, event, size);
	if (buf_get_view(&spec, sizeof(signature), &sign) || memcmp(sign, signature, sizeof(signature)) != 0)
		return ERR_PROTO;
	return spec_id_read(&spec, l);
}

static int digest_read(struct eventlog *l, struct event *e)
{
	const uint8_t *digest;
	uint16_t alg;

	if (buf_get_u16le(&l->b, &alg))
		return ERR_PROTO;
	for (uint32_t i = 0; i < l->nalgs; i++) {
		if (l->algs[i].alg != alg)
			continue;
		if (buf_get_view(&l->b, l->algs[i].size, &digest))
			return ERR_PROTO;
		if (alg == ALG_SHA256 && l->algs[i].size == EVENTLOG_DIGEST)
			e->digest = digest;
		return 0;
	}
	return ERR_PROTO;
}

/* TCG_PCR_EVENT2 */
static int event_read(struct eventlog *l, struct event *e)
{
	uint32_t count, size;

	*e = (struct event){0};
	if (buf_get_u32le(&l->b, &e->pcr) || buf_get_u32le(&l->b, &e->type) || buf_get_u32le(&l->b, &count) ||
	    count > EVENTLOG_ALGS_MAX)
		return ERR_PROTO;
	for (uint32_t i = 0; i < count; i++)
		if (digest_read(l, e))
			return ERR_PROTO;
	if (!e->digest || buf_get_u32le(&l->b, &size) || buf_get_view(&l->b, size, &e->data))
		return ERR_PROTO;
	e->size = size;
	return 0;
}

/* TCG_EfiStartupLocalityEvent */
static void locality_read(struct eventlog *l, const struct event *e)
{
	static const uint8_t signature[16] = "StartupLocality";

	if (e->size == sizeof(signature) + 1 && !memcmp(e->data, signature, sizeof(signature)))
		l->locality = e->data[sizeof(signature)];
}

int eventlog_next(struct eventlog *l, struct event *e)
{
	while (buf_left(&l->b)) {
		if (event_read(l, e))
			return ERR_PROTO;
		if (e->type == EV_NO_ACTION) {
			locality_read(l, e);
			continue;
		}
		return e->pcr < EVENTLOG_PCRS ? 0 : ERR_PROTO;
	}
	return ERR_NOTFOUND;
}

int eventlog_extend(uint8_t pcr[static EVENTLOG_DIGEST], const uint8_t digest[static EVENTLOG_DIGEST])
{
	uint8_t both[2 * EVENTLOG_DIGEST];

	memcpy(both, pcr, EVENTLOG_DIGEST);
	memcpy(both + EVENTLOG_DIGEST, digest, EVENTLOG_DIGEST);
	return EVP_Digest(both, sizeof(both), pcr, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

int eventlog_replay(const void *p, size_t n, uint8_t pcr[static EVENTLOG_PCRS][EVENTLOG_DIGEST], uint32_t *seen)
{
	struct eventlog l;
	struct event e;
	int r;

	memset(pcr, 0, EVENTLOG_PCRS * EVENTLOG_DIGEST);
	*seen = 0;
	r = eventlog_open(&l, p, n);
	while (!r && !(r = eventlog_next(&l, &e))) {
		if (e.pcr == 0 && !(*seen & 1))
			pcr[0][EVENTLOG_DIGEST - 1] = l.locality;
		r = eventlog_extend(pcr[e.pcr], e.digest);
		*seen |= 1u << e.pcr;
	}
	return r == ERR_NOTFOUND ? 0 : r;
}

static const char *type_name(uint32_t type)
{
	static const struct {
		uint32_t type;
		const char *name;
	} names[] = {
		{EV_SEPARATOR, "EV_SEPARATOR"},
		{EV_EFI_ACTION, "EV_EFI_ACTION"},
		{EV_IPL, "EV_IPL"},
		{EV_EFI_BOOT_SERVICES_APPLICATION, "EV_EFI_BOOT_SERVICES_APPLICATION"},
		{5, "EV_ACTION"},
		{6, "EV_EVENT_TAG"},
		{7, "EV_S_CRTM_CONTENTS"},
		{8, "EV_S_CRTM_VERSION"},
		{0x80000001, "EV_EFI_VARIABLE_DRIVER_CONFIG"},
		{0x80000002, "EV_EFI_VARIABLE_BOOT"},
		{0x80000004, "EV_EFI_BOOT_SERVICES_DRIVER"},
		{0x80000006, "EV_EFI_GPT_EVENT"},
		{0x80000008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"},
		{0x80000009, "EV_EFI_HANDOFF_TABLES"},
		{0x8000000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"},
		{0x8000000b, "EV_EFI_HANDOFF_TABLES2"},
		{0x800000e0, "EV_EFI_VARIABLE_AUTHORITY"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type)
			return names[i].name;
	return NULL;
}

void eventlog_name(const struct event *e, char out[static EVENTLOG_NAME_MAX + 1])
{
	const char *name = type_name(e->type);
	bool text = e->type == EV_IPL || e->type == EV_EFI_ACTION;
	size_t n = 0;

	if (!text) {
		if (name)
			snprintf(out, EVENTLOG_NAME_MAX + 1, "%s", name);
		else
			snprintf(out, EVENTLOG_NAME_MAX + 1, "event of type %#x", e->type);
		return;
	}
	for (; n < e->size && n < EVENTLOG_NAME_MAX && e->data[n]; n++)
		out[n] = e->data[n] >= ' ' && e->data[n] <= '~' ? (char)e->data[n] : ' ';
	out[n] = '\0';
}

char *eventlog_text(const struct event *e)
{
	char name[EVENTLOG_NAME_MAX + 1];

	if (!e->data)
		return strdup("");
	if (e->type == EV_IPL || e->type == EV_EFI_ACTION)
		return strndup((const char *)e->data, e->size);
	eventlog_name(e, name);
	return strdup(name);
}

/* The next event of one PCR; at the end data is NULL. */
static int next_of(struct eventlog *l, unsigned pcr, struct event *e)
{
	int r;

	do
		r = eventlog_next(l, e);
	while (!r && e->pcr != pcr);
	if (r == ERR_NOTFOUND)
		*e = (struct event){.pcr = pcr};
	return r == ERR_NOTFOUND ? 0 : r;
}

int eventlog_difference(const void *a, size_t a_len, const void *b, size_t b_len, unsigned pcr, struct event *was,
			struct event *is)
{
	struct eventlog la, lb;
	int r = eventlog_open(&la, a, a_len);

	if (!r)
		r = eventlog_open(&lb, b, b_len);
	while (!r) {
		r = next_of(&la, pcr, was);
		if (!r)
			r = next_of(&lb, pcr, is);
		if (r)
			break;
		if (!was->data && !is->data)
			return ERR_NOTFOUND;
		if (!was->data || !is->data || memcmp(was->digest, is->digest, EVENTLOG_DIGEST) != 0)
			return 0;
	}
	return r;
}

#define EXCERPT_BEFORE 24u

static void excerpt(const char *s, size_t from, size_t max, char *out)
{
	size_t left = strlen(s) - from;
	bool cut = left > max - 7; /* two times "..." and a NUL */
	int n = snprintf(out, max, "%s%.*s%s", from ? "..." : "", (int)(cut ? max - 7 : left), s + from, cut ? "..." : "");

	for (int i = 0; i < n; i++)
		if (out[i] < ' ' || out[i] > '~')
			out[i] = ' ';
}

void eventlog_excerpt(const char *a, const char *b, size_t max, char *out_a, char *out_b)
{
	size_t same = 0;

	while (a[same] && a[same] == b[same])
		same++;
	same = same > EXCERPT_BEFORE ? same - EXCERPT_BEFORE : 0;
	excerpt(a, same, max, out_a);
	excerpt(b, same, max, out_b);
}
