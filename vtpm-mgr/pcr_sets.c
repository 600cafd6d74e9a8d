/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/policy.h"

static void sets_key(const char *group, char key[static NAME_MAX_LEN + 8])
{
	snprintf(key, NAME_MAX_LEN + 8, "sets.%s", group);
}

unsigned sets_count(const struct set_list *l)
{
	struct pcr_set s;
	unsigned n = 0;
	struct buf b;

	buf_wrap(&b, l->mem, l->len);
	while (buf_left(&b) && !pcr_set_decode(&b, &s))
		n++;
	return n;
}

void sets_load(struct mgr *m, const char *group, struct set_list *out)
{
	char key[NAME_MAX_LEN + 8];
	struct pcr_set s;
	struct buf b;
	size_t good = 0;
	int err;

	sets_key(group, key);
	out->len = PCR_SETS_ENCODED_MAX;
	err = store_meta_get(m->store, key, out->mem, &out->len);
	if (err)
		out->len = 0;
	buf_wrap(&b, out->mem, out->len);
	while (buf_left(&b) && !pcr_set_decode(&b, &s))
		good = b.pos;
	if (good != out->len || (err && err != ERR_NOTFOUND))
		log_error("group %s: PCR sets in the store are damaged; apply them anew", group);
	out->len = good;
}

int sets_save(struct mgr *m, const char *group, const struct set_list *l)
{
	char key[NAME_MAX_LEN + 8];

	sets_key(group, key);
	if (sets_count(l) > PCR_SETS_MAX)
		return ERR_FULL;
	return store_meta_put(m->store, key, l->mem, l->len);
}

int sets_add(struct set_list *l, const struct pcr_set *s)
{
	struct buf b;

	buf_init(&b, l->mem + l->len, sizeof(l->mem) - l->len);
	if (pcr_set_encode(&b, s))
		return ERR_FULL;
	l->len += b.len;
	return 0;
}

void sets_filter(struct set_list *l, bool (*keep)(const struct pcr_set *s, unsigned i, void *arg), void *arg)
{
	struct pcr_set s;
	unsigned n = 0;
	size_t to = 0, from;
	struct buf b;

	buf_wrap(&b, l->mem, l->len);
	while (from = b.pos, buf_left(&b) && !pcr_set_decode(&b, &s)) {
		if (!keep(&s, n++, arg))
			continue;
		memmove(l->mem + to, l->mem + from, b.pos - from);
		to += b.pos - from;
	}
	l->len = to;
}
