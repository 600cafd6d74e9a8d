/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/policy.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "attest/json.h"
#include "lib/util.h"

#define LAUNCH_PCRS 0x3ffu /* that a launcher measures into */

bool digest_in(const struct digest_list *l, const uint8_t digest[static EVIDENCE_DIGEST])
{
	for (size_t i = 0; i < l->n; i++)
		if (!memcmp(l->digest[i], digest, EVIDENCE_DIGEST))
			return true;
	return false;
}

/* Room for n more. */
static bool list_grow(struct reader *r, struct digest_list *l, size_t n)
{
	void *more = n > POLICY_DIGESTS_MAX - l->n ? NULL : realloc(l->digest, (l->n + n + 1) * EVIDENCE_DIGEST);

	if (!more)
		json_wrong(r, "there are more than %u digests", POLICY_DIGESTS_MAX);
	else
		l->digest = more;
	return more != NULL;
}

static void read_digests(struct reader *r, const char *path, json_t *o, const char *key, struct digest_list *l)
{
	json_t *array = json_member(r, path, o, key, JSON_ARRAY), *text;
	size_t i;

	if (r->bad || !array || !list_grow(r, l, json_array_size(array)))
		return;
	json_array_foreach(array, i, text)
		json_hex(r, key, text, l->digest[l->n++], EVIDENCE_DIGEST);
}

/* ---- values of PCRs: as vtpmctl policy current prints them ---- */

static void read_values(struct reader *r, const char *path, json_t *o, struct pcr_values *v)
{
	static const char *const members[] = {"format", "description", "pcrs", "group", "version", "counter", "signature", NULL};
	json_t *bank, *value;
	const char *key;
	uint64_t n;

	if (!json_is_object(o)) {
		json_wrong(r, "each of %s must be an object", path);
		return;
	}
	json_members(r, path, o, members);
	json_text(r, path, o, "description", POLICY_TEXT_MAX, v->description);
	bank = json_object_get(json_member(r, path, o, "pcrs", JSON_OBJECT), "sha256");
	if (!json_is_object(bank) || !json_object_size(bank) || json_object_size(json_object_get(o, "pcrs")) != 1)
		json_wrong(r, "%s: \"pcrs\" must have one member, \"sha256\", with at least one PCR", path);
	json_object_foreach(bank, key, value)
	{
		if (parse_u64(key, EVIDENCE_PCRS - 1, &n) || v->mask >> n & 1) {
			json_wrong(r, "%s: \"%.20s\" is no number of a PCR, or is there twice", path, key);
			return;
		}
		v->mask |= 1u << n;
		json_hex(r, path, value, v->value[n], EVIDENCE_DIGEST);
	}
}

static void read_sets(struct reader *r, const char *path, json_t *o, struct pcr_values **sets, size_t *n)
{
	json_t *array = json_member(r, path, o, "pcrs", JSON_ARRAY);

	if (!array)
		return;
	if (json_array_size(array) < 1 || json_array_size(array) > POLICY_SETS_MAX) {
		json_wrong(r, "%s.pcrs must have 1 to %u sets", path, POLICY_SETS_MAX);
		return;
	}
	*sets = calloc(json_array_size(array), sizeof(**sets));
	if (!*sets) {
		json_wrong(r, "out of memory");
		return;
	}
	for (*n = 0; *n < json_array_size(array) && !r->bad; ++*n)
		read_values(r, path, json_array_get(array, *n), &(*sets)[*n]);
}

/* ---- the host ---- */

static void read_rule(struct reader *r, json_t *o, struct event_rule *rule)
{
	static const char *const members[] = {"pcr", "allowed", "required", "forbidden", NULL};
	uint64_t pcr = EVIDENCE_PCRS;

	if (!json_is_object(o)) {
		json_wrong(r, "each of host.events must be an object");
		return;
	}
	json_members(r, "host.events", o, members);
	json_number(r, "host.events", o, "pcr", &pcr);
	if (pcr >= EVIDENCE_PCRS)
		json_wrong(r, "host.events.pcr must be 0 to %u", EVIDENCE_PCRS - 1);
	rule->pcr = (unsigned)pcr;
	rule->only = json_object_get(o, "allowed") != NULL;
	read_digests(r, "host.events", o, "allowed", &rule->allowed);
	read_digests(r, "host.events", o, "required", &rule->required);
	read_digests(r, "host.events", o, "forbidden", &rule->forbidden);
	if (!rule->only && !rule->required.n && !rule->forbidden.n)
		json_wrong(r, "host.events: a rule demands nothing: it needs allowed, required or forbidden");
}

static void read_host(struct reader *r, json_t *o, struct vtpm_policy *p)
{
	static const char *const members[] = {"pcrs", "log", "events", "ek_chain", NULL};
	json_t *rules;

	json_members(r, "host", o, members);
	read_sets(r, "host", o, &p->host_pcrs, &p->nhost_pcrs);
	json_flag(r, "host", o, "log", &p->host_log);
	json_flag(r, "host", o, "ek_chain", &p->ek_chain);
	rules = json_member(r, "host", o, "events", JSON_ARRAY);
	if (json_array_size(rules) > POLICY_RULES_MAX)
		json_wrong(r, "host.events has more than %u rules", POLICY_RULES_MAX);
	if (r->bad || !json_array_size(rules))
		return;
	p->host_log = true;
	p->rules = calloc(json_array_size(rules), sizeof(*p->rules));
	if (!p->rules) {
		json_wrong(r, "out of memory");
		return;
	}
	while (!r->bad && p->nrules < json_array_size(rules)) {
		read_rule(r, json_array_get(rules, p->nrules), &p->rules[p->nrules]);
		p->nrules++;
	}
}

/* ---- the guest ---- */

static bool signed_by(json_t *signers, const uint8_t digest[static EVIDENCE_DIGEST], const uint8_t *sig, size_t len)
{
	bool ok = false;
	json_t *pem;
	size_t i;

	json_array_foreach(signers, i, pem)
	{
		BIO *bio = BIO_new_mem_buf(json_string_value(pem), -1);
		EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)"") : NULL;
		EVP_MD_CTX *md = EVP_MD_CTX_new();

		if (key && md && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1)
			ok = ok || EVP_DigestVerify(md, sig, len, digest, EVIDENCE_DIGEST) == 1;
		EVP_MD_CTX_free(md);
		EVP_PKEY_free(key);
		BIO_free(bio);
	}
	return ok;
}

/* A launch digest that one of the signers vouches for. */
static void read_signed(struct reader *r, json_t *o, json_t *signers, struct digest_list *l)
{
	static const char *const members[] = {"digest", "signature", NULL};
	json_t *text = json_object_get(o, "signature");
	uint8_t sig[1024];
	size_t max = json_string_length(text);
	int n = -1;

	if (!json_is_object(o) || !json_is_string(text) || max > sizeof(sig) || max % 4) {
		json_wrong(r, "each of launch.signed must have a digest and a signature in base64");
		return;
	}
	json_members(r, "launch.signed", o, members);
	json_hex(r, "launch.signed.digest", json_object_get(o, "digest"), l->digest[l->n], EVIDENCE_DIGEST);
	n = EVP_DecodeBlock(sig, (const unsigned char *)json_string_value(text), (int)max);
	for (size_t i = max; n > 0 && i && json_string_value(text)[i - 1] == '='; i--)
		n--;
	if (r->bad || n <= 0 || !signed_by(signers, l->digest[l->n], sig, (size_t)n))
		json_wrong(r, "launch.signed: none of launch.signers has signed that digest");
	else
		l->n++;
}

static void read_launch(struct reader *r, json_t *o, struct vtpm_policy *p)
{
	static const char *const members[] = {"required", "digests", "signers", "signed", "pcrs", NULL};
	json_t *signers, *list, *pcrs, *item;
	size_t i;

	json_members(r, "launch", o, members);
	json_flag(r, "launch", o, "required", &p->launch_required);
	read_digests(r, "launch", o, "digests", &p->launch);
	signers = json_member(r, "launch", o, "signers", JSON_ARRAY);
	list = json_member(r, "launch", o, "signed", JSON_ARRAY);
	json_array_foreach(signers, i, item)
		if (!json_is_string(item))
			json_wrong(r, "launch.signers must be public keys in PEM");
	if (signers && !list)
		json_wrong(r, "launch.signers: there is nothing that they have signed");
	if (!r->bad && list && list_grow(r, &p->launch, json_array_size(list)))
		json_array_foreach(list, i, item)
			read_signed(r, item, signers, &p->launch);
	p->launch_any = !json_object_get(o, "digests") && !list;
	pcrs = json_member(r, "launch", o, "pcrs", JSON_ARRAY);
	p->launch_pcrs = pcrs ? 0 : LAUNCH_PCRS;
	json_array_foreach(pcrs, i, item)
	{
		if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > 15)
			json_wrong(r, "launch.pcrs must be numbers from 0 to 15");
		else
			p->launch_pcrs |= 1u << json_integer_value(item);
	}
}

static void read_guest(struct reader *r, json_t *o, struct vtpm_policy *p)
{
	static const char *const members[] = {"pcrs", "ek_certificate", NULL};

	json_members(r, "guest", o, members);
	read_sets(r, "guest", o, &p->guest_pcrs, &p->nguest_pcrs);
	json_flag(r, "guest", o, "ek_certificate", &p->vtpm_ek);
}

static void read_freshness(struct reader *r, json_t *o, struct vtpm_policy *p)
{
	static const char *const members[] = {"mode", "discontinuities", NULL};
	static const char *const modes[] = {[EVIDENCE_STRICT] = "strict", [EVIDENCE_BOUNDED] = "bounded", [EVIDENCE_NONE] = "none"};
	char mode[16] = "none";
	size_t i;

	json_members(r, "freshness", o, members);
	json_text(r, "freshness", o, "mode", sizeof(mode) - 1, mode);
	json_number(r, "freshness", o, "discontinuities", &p->discontinuities);
	for (i = EVIDENCE_STRICT; i <= EVIDENCE_NONE && strcmp(modes[i], mode) != 0; i++)
		;
	if (i > EVIDENCE_NONE)
		json_wrong(r, "freshness.mode must be strict, bounded or none");
	else
		p->mode = (enum evidence_mode)i;
}

static void read_revocation(struct reader *r, json_t *o, struct vtpm_policy *p)
{
	static const char *const members[] = {"required", "max_age", NULL};

	json_members(r, "revocation", o, members);
	json_flag(r, "revocation", o, "required", &p->crl_required);
	json_number(r, "revocation", o, "max_age", &p->crl_age);
}

static void read_policy(struct reader *r, json_t *root, struct vtpm_policy *p)
{
	static const struct {
		const char *name;
		void (*read)(struct reader *r, json_t *o, struct vtpm_policy *p);
	} parts[] = {
		{"host", read_host},
		{"launch", read_launch},
		{"guest", read_guest},
		{"freshness", read_freshness},
		{"revocation", read_revocation},
	};
	static const char *const members[] = {"host", "launch", "guest", "freshness", "revocation", "clock", NULL};
	char clock[16] = "trusted";
	json_t *o;

	json_members(r, "a policy", root, members);
	json_text(r, "policy", root, "clock", sizeof(clock) - 1, clock);
	p->clock = strcmp(clock, "trusted") == 0;
	if (!p->clock && strcmp(clock, "untrusted") != 0)
		json_wrong(r, "clock must be trusted or untrusted");
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if ((o = json_member(r, "policy", root, parts[i].name, JSON_OBJECT)))
			parts[i].read(r, o, p);
	if (!p->clock && p->crl_age)
		json_wrong(r, "revocation.max_age needs a trusted clock");
}

int vtpm_policy_read(const void *file, size_t len, struct vtpm_policy **out, char why[VTPM_VERIFY_TEXT])
{
	struct reader r = {.what = "policy", .why = why};
	struct vtpm_policy *p = calloc(1, sizeof(*p));
	json_t *root = NULL;

	*out = NULL;
	if (!p || len > POLICY_FILE_MAX)
		json_wrong(&r, p ? "it is too long" : "out of memory");
	else
		root = json_read(&r, file, len);
	if (root) {
		p->mode = EVIDENCE_NONE;
		p->discontinuities = UINT64_MAX;
		p->launch_any = true;
		p->launch_pcrs = LAUNCH_PCRS;
		read_policy(&r, root, p);
	}
	json_decref(root);
	if (!r.bad)
		*out = p;
	else
		vtpm_policy_free(p);
	return r.bad ? ERR_INVAL : 0;
}

void vtpm_policy_free(struct vtpm_policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->nrules; i++) {
		free(p->rules[i].allowed.digest);
		free(p->rules[i].required.digest);
		free(p->rules[i].forbidden.digest);
	}
	free(p->rules);
	free(p->launch.digest);
	free(p->host_pcrs);
	free(p->guest_pcrs);
	free(p);
}
