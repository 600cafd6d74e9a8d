/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/swtpm/front.h"

#include <string.h>

static struct keyval *find(struct keyval *kv, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(kv[i].key, key) == 0)
			return &kv[i];
	return NULL;
}

int keyval_parse(char *text, struct keyval *kv, size_t n, char why[static WHY_MAX + 1])
{
	char *next = text;

	while (next) {
		char *item = next, *value;
		struct keyval *k;

		next = strchr(item, ',');
		if (next)
			*next++ = '\0';
		value = strchr(item, '=');
		if (value)
			*value++ = '\0';
		k = find(kv, n, item);
		if (!k)
			return explain(why, ERR_INVAL, "\"%.64s\" is not known there, or not offered", item);
		if (k->value)
			return explain(why, ERR_INVAL, "%s is given twice", k->key);
		if (k->bare ? value != NULL : !value || !*value)
			return explain(why, ERR_INVAL, k->bare ? "%s takes no value" : "%s needs a value", k->key);
		k->value = value ? value : "";
	}
	return 0;
}

int keyval_mode(const struct keyval *kv, mode_t deflt, mode_t *out)
{
	unsigned mode = 0;

	*out = deflt;
	if (!kv->value)
		return 0;
	for (const char *s = kv->value; *s; s++) {
		if (*s < '0' || *s > '7' || mode > 0777)
			return ERR_INVAL;
		mode = mode * 8 + (unsigned)(*s - '0');
	}
	*out = (mode_t)mode;
	return 0;
}

int keyval_number(const struct keyval *kv, uint64_t max, int64_t deflt, int64_t *out)
{
	uint64_t n;

	*out = deflt;
	if (!kv->value)
		return 0;
	if (parse_u64(kv->value, max, &n))
		return ERR_INVAL;
	*out = (int64_t)n;
	return 0;
}
