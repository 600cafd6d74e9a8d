/* SPDX-License-Identifier: BSD-2-Clause */
/* Launch and EventLog: every word of a client's is hostile until it is an event of a log (proto/launch.h). */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/launch.h"
#include "vtpm-mgr/xen_device.h"

#define BASE64_MAX    ((LAUNCH_DATA_MAX + 2u) / 3u * 4u)
#define SIGNATURE_MEM (LAUNCH_SIGNATURE_MAX + 4u)

/* One event as it was sent, decoded. */
struct given {
	uint8_t digest[LAUNCH_BANKS][LAUNCH_DIGEST_MAX];
	uint8_t data[BASE64_MAX + 4];
	struct launch_event e;
};

static const char *const digest_keys[LAUNCH_BANKS] = { "sha1", "sha256", "sha384", "sha512" };

static const EVP_MD *md_of(enum launch_bank bank)
{
	switch (bank) {
	case LAUNCH_SHA1: return EVP_sha1();
	case LAUNCH_SHA256: return EVP_sha256();
	case LAUNCH_SHA384: return EVP_sha384();
	default: return EVP_sha512();
	}
}

/* Strict: padded, and nothing else in it. */
static int base64_decode(const char *s, size_t max, uint8_t *out, size_t *n)
{
	size_t len = strlen(s), pad = 0;

	*n = 0;
	if (len == 0)
		return 0;
	if (len % 4 != 0 || len > (max + 2) / 3 * 4 ||
	    strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") < len - 2)
		return ERR_INVAL;
	while (pad < 2 && s[len - 1 - pad] == '=')
		pad++;
	if (strchr(s, '=') != NULL && strchr(s, '=') != s + len - pad)
		return ERR_INVAL;
	if (EVP_DecodeBlock(out, (const unsigned char *)s, (int)len) != (int)(len / 4 * 3))
		return ERR_INVAL;
	*n = len / 4 * 3 - pad;
	return *n > max ? ERR_INVAL : 0;
}

/* A whole number that fits 32 bits. */
static int get_number(json_t *j, uint32_t max, uint32_t *out)
{
	json_int_t n = json_integer_value(j);

	if (!json_is_integer(j) || n < 0 || n > (json_int_t)max)
		return ERR_INVAL;
	*out = (uint32_t)n;
	return 0;
}

static int get_digests(json_t *j, struct given *g)
{
	for (unsigned i = 0; i < LAUNCH_BANKS; i++) {
		json_t *d = json_object_get(j, digest_keys[i]);
		const char *s = json_string_value(d);

		if (i == LAUNCH_SHA1 && (!d || json_is_null(d)))
			continue;
		if (!s || strlen(s) != 2 * launch_digest_size(i) || strspn(s, "0123456789abcdef") != strlen(s) ||
		    hex_decode(s, g->digest[i], launch_digest_size(i)))
			return ERR_INVAL;
		g->e.digest[i] = g->digest[i];
	}
	return 0;
}

static const char *event_decode(json_t *j, struct given *g)
{
	static const char *const known[] = { "pcr", "type", "sha1", "sha256", "sha384", "sha512", "data" };
	const char *data = json_string_value(json_object_get(j, "data")), *key;
	json_t *value;

	memset(g, 0, sizeof(*g));
	if (!json_is_object(j))
		return "it is no object";
	json_object_foreach(j, key, value) {
		size_t i = 0;

		while (i < ARRAY_LEN(known) && strcmp(key, known[i]) != 0)
			i++;
		if (i == ARRAY_LEN(known))
			return "it has a field that there is not";
	}
	if (get_number(json_object_get(j, "pcr"), LAUNCH_PCR_MAX, &g->e.pcr))
		return "pcr must be a number from 0 to 15";
	if (get_number(json_object_get(j, "type"), UINT32_MAX, &g->e.type) || g->e.type == LAUNCH_EV_NO_ACTION)
		return "type must be the number of an event that is extended";
	if (get_digests(j, g))
		return "its digests must be sha256, sha384, sha512 and perhaps sha1, in lower-case hex";
	if (!data || base64_decode(data, LAUNCH_DATA_MAX, g->data, &g->e.size))
		return "data must be base64 of at most 1024 bytes";
	g->e.data = g->data;
	return NULL;
}

static bool is_of_data(const struct launch_event *e, bool crtm)
{
	switch (e->type) {
	case LAUNCH_EV_SEPARATOR:
	case LAUNCH_EV_ACTION:
	case LAUNCH_EV_S_CRTM_VERSION:
	case LAUNCH_EV_EFI_ACTION:
		return true;
	default:
		return crtm;
	}
}

/* For these types a digest is that of the data, and for the H-CRTM's the TPM itself computes it. */
static bool digests_match(const struct launch_event *e)
{
	uint8_t md[EVP_MAX_MD_SIZE];

	for (unsigned i = 0; i < LAUNCH_BANKS; i++)
		if (e->digest[i] && (EVP_Digest(e->data, e->size, md, NULL, md_of(i), NULL) != 1 ||
				     memcmp(md, e->digest[i], launch_digest_size(i)) != 0))
			return false;
	return true;
}

/* The next event; number: its own. */
static const char *add_event(struct buf *log, json_t *j, size_t number, bool *sha1, bool *crtm)
{
	struct given g;
	const char *why = event_decode(j, &g);
	const bool first = number == 0;

	if (why)
		return why;
	if (first) {
		*sha1 = g.e.digest[LAUNCH_SHA1] != NULL;
		*crtm = g.e.pcr == 0 && g.e.type == LAUNCH_EV_S_CRTM_CONTENTS;
	}
	if (*sha1 != (g.e.digest[LAUNCH_SHA1] != NULL))
		return "either all events have a sha1, or none has";
	if (first && *crtm && g.e.size == 0)
		return "the H-CRTM's event has no data";
	if (is_of_data(&g.e, first && *crtm) && !digests_match(&g.e))
		return "a digest is not that of its data, as its type demands";
	if (first && launch_log_begin(log, *sha1, *crtm))
		return "the log is larger than 16 KiB";
	return launch_log_add(log, *sha1, &g.e) ? "the log is larger than 16 KiB" : NULL;
}

/* Not 0: the call has been answered. */
static int take_events(struct call *c, json_t *params, struct launch *l)
{
	json_t *list = json_object_get(params, "events"), *j;
	bool sha1 = false, crtm = false;
	struct buf log;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > LAUNCH_EVENTS_MAX) {
		call_error(c, ERR_INVAL, "events must be a list of 1 to %u events", LAUNCH_EVENTS_MAX);
		return ERR_INVAL;
	}
	buf_init(&log, l->log, sizeof(l->log));
	json_array_foreach(list, i, j) {
		const char *why = add_event(&log, j, i, &sha1, &crtm);

		if (why) {
			call_error(c, ERR_INVAL, "event %zu: %s", i, why);
			return ERR_INVAL;
		}
	}
	l->len = log.len;
	if (launch_log_check(l->log, l->len, l->startup)) {
		call_error(c, ERR_INVAL, "without startup there is one event, the H-CRTM's: PCR 0, type 7");
		return ERR_INVAL;
	}
	if (EVP_Digest(l->log, l->len, l->digest, NULL, EVP_sha256(), NULL) == 1)
		return 0;
	call_error(c, ERR_CRYPTO, "no digest could be computed");
	return ERR_CRYPTO;
}

static int take_domain(struct mgr *m, struct call *c, json_t *params, struct launch *l)
{
	json_t *j = json_object_get(params, "domain");

	l->for_domain = j && !json_is_null(j);
	if (l->for_domain && !m->xen) {
		call_error(c, ERR_INVAL, "this manager serves no guests of Xen");
		return ERR_INVAL;
	}
	if (!l->for_domain || (!get_number(j, XEN_DOMID_MAX, &l->domid) && l->domid != 0))
		return 0;
	call_error(c, ERR_INVAL, "domain must be the id of a domain of Xen");
	return ERR_INVAL;
}

static int take_startup(struct call *c, json_t *params, struct launch *l)
{
	json_t *j = json_object_get(params, "startup");

	l->startup = !j || json_is_null(j) || json_is_true(j);
	if (l->startup || json_is_false(j))
		return 0;
	call_error(c, ERR_INVAL, "startup must be true or false");
	return ERR_INVAL;
}

/* An optional signature of the log, base64. */
static int take_signature(struct call *c, json_t *params, uint8_t mem[static SIGNATURE_MEM], size_t *len)
{
	json_t *j = json_object_get(params, "signature");

	*len = 0;
	if (!j || json_is_null(j) ||
	    (json_is_string(j) && !base64_decode(json_string_value(j), LAUNCH_SIGNATURE_MAX, mem, len)))
		return 0;
	call_error(c, ERR_INVAL, "signature must be base64 of at most %u bytes", LAUNCH_SIGNATURE_MAX);
	return ERR_INVAL;
}

/* It is what its vTPM, or the group, allows. Not 0: the call has been answered. */
static int permit(struct mgr *m, struct call *c, json_t *params, const struct store_vtpm *row, struct launch *l)
{
	uint8_t signature[SIGNATURE_MEM];
	char why[TEXT_MAX + 1];
	size_t len;
	int err = take_signature(c, params, signature, &len);

	if (err)
		return err;
	err = launch_judge(m, row, l, signature, len, why);
	if (err) {
		mgr_audit(m, c, "launch", row, err, why);
		call_error(c, err, "%s", why);
	} else if (l->mismatch) {
		log_warn("%s: this launch is not among those that are allowed, and it is served, as its policy says", row->name);
	}
	return err;
}

void method_launch(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	struct store_vtpm *row = row_of(m, c, params);
	struct launch *l = row ? calloc(1, sizeof(*l)) : NULL;

	if (row && !l)
		call_error(c, ERR_NOMEM, "out of memory");
	if (l && (take_domain(m, c, params, l) || take_startup(c, params, l) || take_events(c, params, l) ||
		  permit(m, c, params, row, l))) {
		free(l);
		l = NULL;
	}
	if (l) {
		l->waits = true;
		launch_begin(m, row, l, c);
	}
	free(row);
}

void method_event_log(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	struct store_vtpm *row = row_of(m, c, params);
	struct vtpm *v = row ? vtpm_find(m, row->uuid) : NULL;
	char digest[2 * DIGEST_LEN + 1], *text;

	if (row && (!v || !v->launch)) {
		call_error(c, ERR_WRONG_STATE, "%s is not on by a measured launch: it has no event log", row->name);
	} else if (row) {
		text = malloc(LAUNCH_LOG_MAX / 3 * 4 + 8);
		if (text && !hex_encode(v->launch->digest, DIGEST_LEN, digest, sizeof(digest))) {
			EVP_EncodeBlock((unsigned char *)text, v->launch->log, (int)v->launch->len);
			call_reply(c, json_pack("{s:s, s:s}", "log", text, "digest", digest));
		} else {
			call_error(c, ERR_NOMEM, "out of memory");
		}
		free(text);
	}
	free(row);
}
