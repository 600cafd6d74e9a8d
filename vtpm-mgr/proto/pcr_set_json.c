/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/pcr_set_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const schemes[] = {[SCHEME_ECDSA] = "ecdsa-sha256", [SCHEME_RSASSA] = "rsassa-sha256"};

const char *scheme_word(uint8_t scheme)
{
	return scheme < ARRAY_LEN(schemes) && schemes[scheme] ? schemes[scheme] : "";
}

uint8_t scheme_of_word(const char *word)
{
	for (uint8_t i = 1; word && i < ARRAY_LEN(schemes); i++)
		if (!strcmp(schemes[i], word))
			return i;
	return 0;
}

__attribute__((format(printf, 2, 3))) static int wrong(char why[static TEXT_MAX + 1], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, TEXT_MAX + 1, fmt, ap);
	va_end(ap);
	return ERR_INVAL;
}

static int check_members(json_t *o, char why[static TEXT_MAX + 1])
{
	static const char *const known[] = {"format", "description", "pcrs", "group", "version", "counter", "signature"};
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach(o, key, value)
	{
		for (i = 0; i < ARRAY_LEN(known) && strcmp(known[i], key) != 0; i++)
			;
		if (i == ARRAY_LEN(known))
			return wrong(why, "a PCR set has no member \"%.40s\"", key);
	}
	return 0;
}

static int read_values(json_t *pcrs, struct pcr_set *s, char why[static TEXT_MAX + 1])
{
	json_t *bank = json_object_get(pcrs, "sha256"), *value;
	const char *key, *hex;
	uint64_t n;

	if (json_object_size(pcrs) != 1 || !json_is_object(bank) || !json_object_size(bank))
		return wrong(why, "\"pcrs\" must have one member, \"sha256\", with at least one PCR");
	json_object_foreach(bank, key, value)
	{
		hex = json_string_value(value);
		if (parse_u64(key, PCR_COUNT - 1, &n) || s->mask >> n & 1)
			return wrong(why, "\"%.20s\" is no number of a PCR, or is there twice", key);
		if (!hex || strlen(hex) != 2 * DIGEST_LEN || hex_decode(hex, s->pcr[n], DIGEST_LEN))
			return wrong(why, "the value of PCR %u must have %u hexadecimal digits", (unsigned)n, 2 * DIGEST_LEN);
		s->mask |= 1u << n;
	}
	return 0;
}

static int read_text(json_t *j, struct pcr_set *s, char why[static TEXT_MAX + 1])
{
	const char *text = json_string_value(j);

	if (!j)
		return 0;
	if (!text || json_string_length(j) > SET_TEXT_MAX || strlen(text) != json_string_length(j))
		return wrong(why, "\"description\" must be a text of at most %u bytes", SET_TEXT_MAX);
	for (const char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			return wrong(why, "\"description\" must be printable ASCII");
	memcpy(s->text, text, strlen(text) + 1);
	return 0;
}

static int read_counter(json_t *j, uint32_t *counter, char why[static TEXT_MAX + 1])
{
	const char *text = json_string_value(j);
	unsigned long n;
	char *end;

	*counter = POLICY_COUNTER_DEFAULT;
	if (!j)
		return 0;
	n = text ? strtoul(text, &end, 16) : 0;
	if (!text || strncmp(text, "0x", 2) != 0 || *end || n >> 24 != 1)
		return wrong(why, "\"counter\" must be an NV handle, such as \"0x%08x\"", POLICY_COUNTER_DEFAULT);
	*counter = (uint32_t)n;
	return 0;
}

static int read_signature(json_t *j, struct pcr_set *s, char why[static TEXT_MAX + 1])
{
	const char *hex = json_string_value(json_object_get(j, "value"));
	size_t len = hex ? strlen(hex) / 2 : 0;

	if (!j)
		return 0;
	s->scheme = scheme_of_word(json_string_value(json_object_get(j, "scheme")));
	if (!hex || json_object_size(j) != 2 || !signature_valid(s->scheme, len) || strlen(hex) != 2 * len || hex_decode(hex, s->signature, len))
		return wrong(why, "\"signature\" must have the members \"scheme\" and \"value\", as vtpmctl policy sign writes them");
	s->signature_len = len;
	return 0;
}

static int read_tags(json_t *o, struct pcr_set_file *f, char why[static TEXT_MAX + 1])
{
	json_t *group = json_object_get(o, "group"), *version = json_object_get(o, "version");
	const char *name = group ? json_string_value(group) : "default";
	json_int_t n = json_integer_value(version);

	if (!name || !name_valid(name))
		return wrong(why, "\"group\" must be the name of a group");
	if (version && (!json_is_integer(version) || n < 1 || n > UINT32_MAX))
		return wrong(why, "\"version\" must be a whole number from 1 to %u", UINT32_MAX);
	snprintf(f->group, sizeof(f->group), "%s", name);
	f->set.version = (uint32_t)n;
	return read_counter(json_object_get(o, "counter"), &f->counter, why);
}

int pcr_set_from_json(json_t *o, struct pcr_set_file *f, char why[static TEXT_MAX + 1])
{
	const char *format = json_string_value(json_object_get(o, "format"));
	int r;

	memset(f, 0, sizeof(*f));
	if (!format || strcmp(format, PCR_SET_FORMAT) != 0)
		return wrong(why, "this is no PCR set: \"format\" must be \"" PCR_SET_FORMAT "\"");
	r = check_members(o, why);
	if (!r)
		r = read_values(json_object_get(o, "pcrs"), &f->set, why);
	if (!r)
		r = read_text(json_object_get(o, "description"), &f->set, why);
	if (!r)
		r = read_tags(o, f, why);
	return r ? r : read_signature(json_object_get(o, "signature"), &f->set, why);
}

json_t *pcr_values_to_json(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN])
{
	char key[4], hex[2 * DIGEST_LEN + 1];
	json_t *o = json_object();

	for (unsigned i = 0; i < PCR_COUNT; i++) {
		if (!(mask >> i & 1))
			continue;
		snprintf(key, sizeof(key), "%u", i);
		if (hex_encode(pcr[i], DIGEST_LEN, hex, sizeof(hex)) || json_object_set_new(o, key, json_string(hex))) {
			json_decref(o);
			return NULL;
		}
	}
	return o;
}

static int add_signature(json_t *o, const struct pcr_set *s)
{
	char hex[2 * SIGNATURE_MAX + 1];

	if (!s->signature_len)
		return 0;
	if (hex_encode(s->signature, s->signature_len, hex, sizeof(hex)))
		return ERR_RANGE;
	return json_object_set_new(o, "signature", json_pack("{s:s, s:s}", "scheme", scheme_word(s->scheme), "value", hex));
}

json_t *pcr_set_to_json(const struct pcr_set_file *f)
{
	char counter[16];
	json_t *o;

	snprintf(counter, sizeof(counter), "0x%08x", f->counter);
	o = json_pack("{s:s, s:s, s:{s:o}, s:s, s:s}", "format", PCR_SET_FORMAT, "description", f->set.text, "pcrs", "sha256",
		      pcr_values_to_json(f->set.mask, f->set.pcr), "group", f->group, "counter", counter);
	if (!o)
		return NULL;
	if ((f->set.version && json_object_set_new(o, "version", json_integer(f->set.version))) || add_signature(o, &f->set)) {
		json_decref(o);
		return NULL;
	}
	return o;
}
