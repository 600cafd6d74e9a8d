/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/util.h"

void json_wrong(struct reader *r, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (r->bad)
		return;
	r->bad = true;
	snprintf(r->why, VTPM_VERIFY_TEXT, "%s: ", r->what);
	n = strlen(r->why); /* a long name is cut off */
	va_start(ap, fmt);
	vsnprintf(r->why + n, VTPM_VERIFY_TEXT - n, fmt, ap);
	va_end(ap);
}

json_t *json_read(struct reader *r, const void *file, size_t len)
{
	json_error_t e;
	json_t *o = json_loadb(file, len, JSON_REJECT_DUPLICATES, &e);

	if (!o)
		json_wrong(r, "line %d: %s", e.line, e.text);
	else if (!json_is_object(o))
		json_wrong(r, "it is no object");
	if (!r->bad)
		return o;
	json_decref(o);
	return NULL;
}

void json_members(struct reader *r, const char *path, json_t *o, const char *const *names)
{
	const char *key;
	json_t *value;
	size_t i;

	json_object_foreach(o, key, value)
	{
		for (i = 0; names[i] && strcmp(names[i], key) != 0; i++)
			;
		if (!names[i])
			json_wrong(r, "%s has no member \"%.40s\"", path, key);
	}
}

json_t *json_member(struct reader *r, const char *path, json_t *o, const char *key, json_type type)
{
	static const char *const names[] = {[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a text",
					    [JSON_INTEGER] = "a number"};
	json_t *value = json_object_get(o, key);

	if (value && json_typeof(value) != type) {
		json_wrong(r, "%s.%s must be %s", path, key, names[type]);
		return NULL;
	}
	return value;
}

void json_flag(struct reader *r, const char *path, json_t *o, const char *key, bool *out)
{
	json_t *value = json_object_get(o, key);

	if (value && !json_is_boolean(value))
		json_wrong(r, "%s.%s must be true or false", path, key);
	else if (value)
		*out = json_is_true(value);
}

void json_number(struct reader *r, const char *path, json_t *o, const char *key, uint64_t *out)
{
	json_t *value = json_member(r, path, o, key, JSON_INTEGER);

	if (value && json_integer_value(value) < 0)
		json_wrong(r, "%s.%s must not be negative", path, key);
	else if (value)
		*out = (uint64_t)json_integer_value(value);
}

void json_text(struct reader *r, const char *path, json_t *o, const char *key, size_t max, char *out)
{
	json_t *value = json_member(r, path, o, key, JSON_STRING);
	const char *s = json_string_value(value);

	if (!value)
		return;
	for (size_t i = 0; s[i]; i++)
		if (s[i] < ' ' || s[i] > '~')
			json_wrong(r, "%s.%s must be printable ASCII", path, key);
	if (json_string_length(value) > max)
		json_wrong(r, "%s.%s is longer than %zu", path, key, max);
	else if (!r->bad)
		memcpy(out, s, json_string_length(value) + 1);
}

void json_hex(struct reader *r, const char *path, json_t *text, void *out, size_t n)
{
	if (!json_is_string(text) || json_string_length(text) != 2 * n || hex_decode(json_string_value(text), out, n))
		json_wrong(r, "%s must be %zu hexadecimal digits", path, 2 * n);
}
