/* SPDX-License-Identifier: BSD-2-Clause */
/* What a backup has, what of it is wanted, and whether that may come back. */
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/certs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
	struct mgr *m;
	struct store *from;
	struct leaves leaves; /* of the backup */
	struct restore_list *list;
	uint8_t *sealed;
	struct store_vtpm *mem;
	struct certs certs;
};

void restore_list_free(struct restore_list *list)
{
	free(list->v);
	*list = (struct restore_list){0};
}

__attribute__((format(printf, 3, 4))) static void cannot(struct restore_item *it, int code, const char *fmt, ...)
{
	va_list ap;

	if (it->code)
		return;
	va_start(ap, fmt);
	vsnprintf(it->why, sizeof(it->why), fmt, ap);
	va_end(ap);
	it->code = code;
}

/* ---- what there is ---- */

static struct restore_item *list_add(struct restore_list *list)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		struct restore_item *v = reallocarray(list->v, cap, sizeof(*v));

		if (!v)
			return NULL;
		list->v = v;
		list->cap = cap;
	}
	list->v[list->n] = (struct restore_item){0};
	return &list->v[list->n++];
}

/* The state, keys and certificates that the backup has are those that the journal vouched for when it was taken. */
static int check_state(struct listing *l, const struct store_vtpm *row, struct restore_item *it)
{
	const struct leaf *leaf = leaves_find(&l->leaves, row->uuid), *now;
	size_t len = SEALED_STATE_MAX;
	uint8_t hash[DIGEST_LEN];
	uint64_t version;
	int err = store_state_get(l->from, row->uuid, &version, l->sealed, &len);

	if (!err)
		err = leaf_hash(l->sealed, len, hash);
	if (!err)
		err = leaf ? certs_load(l->from, &leaf->l, row, &l->certs) : ERR_AUTH;
	if (err == ERR_CRYPTO || err == ERR_NOMEM)
		return err;
	if (err || row->damaged || row->wrapped_len != WRAPPED_KEY_LEN || leaf->l.epoch != row->epoch ||
	    leaf->l.version != version || memcmp(leaf->l.hash, hash, DIGEST_LEN) != 0) {
		cannot(it, ERR_QUARANTINE, "it was damaged, or not the newest, when the backup was taken");
		return 0;
	}
	now = leaves_find(&l->m->continuity.leaves, row->uuid);
	it->same = it->known && now && now->l.version == version && !memcmp(now->l.hash, hash, DIGEST_LEN);
	it->leaf = leaf->l;
	return 0;
}

static int list_row(void *arg, const struct store_vtpm *row)
{
	struct listing *l = arg;
	struct restore_item *it = list_add(l->list);
	int err;

	if (!it)
		return ERR_NOMEM;
	memcpy(it->uuid, row->uuid, UUID_LEN);
	memcpy(it->name, row->name, sizeof(it->name));
	memcpy(it->group, row->group, sizeof(it->group));
	it->version = row->version;
	err = store_vtpm_by_uuid(l->m->store, row->uuid, l->mem);
	if (err && err != ERR_NOTFOUND)
		return err;
	it->known = !err;
	it->now = err ? 0 : l->mem->version;
	return check_state(l, row, it);
}

/* ---- what is wanted ---- */

static struct restore_item *find(const struct restore_list *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->v[i].name, name))
			return &list->v[i];
	return NULL;
}

static int choose_named(struct restore_list *list, json_t *names, char *why)
{
	json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
	{
		struct restore_item *it = find(list, json_string_value(name));

		if (!it) {
			snprintf(why, TEXT_MAX + 1, "the backup has no vTPM named %s", json_string_value(name));
			return ERR_NOTFOUND;
		}
		list->chosen += !it->chosen;
		it->chosen = true;
	}
	return 0;
}

/* Who was destroyed stays so, unless somebody says his name. */
static int choose_all(struct restore_list *list, char *why)
{
	for (size_t i = 0; i < list->n; i++) {
		struct restore_item *it = &list->v[i];

		if (!it->known)
			cannot(it, ERR_NOTFOUND, "it was destroyed since, or was never here: --only %s brings it back",
			       it->name);
		if (it->same)
			cannot(it, ERR_EXISTS, "it has not changed since");
		it->chosen = !it->code;
		list->chosen += it->chosen;
	}
	if (list->chosen)
		return 0;
	snprintf(why, TEXT_MAX + 1,
		 "nothing of the backup is there and has changed since (--check says more, --only brings back what was "
		 "destroyed)");
	return ERR_NOTFOUND;
}

int restore_choose(struct mgr *m, struct store *from, json_t *names, struct restore_list *list,
		   char why[static TEXT_MAX + 1])
{
	struct listing l = {.m = m, .from = from, .list = list};
	int err = leaves_init(&l.leaves);

	*list = (struct restore_list){0};
	l.sealed = malloc(SEALED_STATE_MAX);
	l.mem = malloc(sizeof(*l.mem));
	if (!err)
		err = l.sealed && l.mem ? leaves_load(&l.leaves, from) : ERR_NOMEM;
	if (!err)
		err = store_vtpm_each(from, list_row, &l);
	leaves_free(&l.leaves);
	free(l.sealed);
	free(l.mem);
	if (err) {
		snprintf(why, TEXT_MAX + 1, "the backup, or the store, cannot be read: %s", err_text(err));
		return err;
	}
	return names ? choose_named(list, names, why) : choose_all(list, why);
}

/* ---- whether it may ---- */

/* The present store, whatever was so when the file was read. */
static int check_store(struct mgr *m, struct store *from, struct restore_item *it, struct store_vtpm *row)
{
	char twin[NAME_MAX_LEN + 1];
	int err = store_vtpm_by_name(m->store, it->name, row);

	if (!err && memcmp(row->uuid, it->uuid, UUID_LEN) != 0)
		cannot(it, ERR_EXISTS, "its name belongs to another vTPM now; destroy that first");
	if (err && err != ERR_NOTFOUND)
		return err;
	err = store_vtpm_by_uuid(m->store, it->uuid, row);
	if (!err && changes_destroy(m, row->id))
		cannot(it, ERR_BUSY, "it is being destroyed");
	if (err != ERR_NOTFOUND)
		return err;
	err = store_vtpm_by_uuid(from, it->uuid, row);
	if (!err)
		err = import_find_twin(m, row, twin);
	if (err != ERR_EXISTS)
		return err;
	cannot(it, ERR_EXISTS, "this TPM is here already, as %s: there are never two of one", twin);
	return 0;
}

static int check_item(struct mgr *m, struct store *from, struct restore_item *it, struct store_vtpm *row)
{
	if (m->draining)
		cannot(it, ERR_CLOSED, "the manager is stopping");
	if (vtpm_held_back(m, it->uuid) && !restore_holds(m, it->uuid))
		cannot(it, ERR_BUSY, "it is being certified");
	if (vtpm_powered(m, it->uuid))
		cannot(it, ERR_WRONG_STATE, "it is powered on; stop it first");
	if (!group_find(m, it->group))
		cannot(it, ERR_NOTFOUND, "its group %s is not there", it->group);
	return check_store(m, from, it, row);
}

int restore_check(struct mgr *m, struct store *from, struct restore_list *list, char why[static TEXT_MAX + 1])
{
	struct store_vtpm *row = malloc(sizeof(*row));
	int err = row ? 0 : ERR_NOMEM;

	for (size_t i = 0; i < list->n && !err; i++)
		if (list->v[i].chosen)
			err = check_item(m, from, &list->v[i], row);
	free(row);
	if (err) {
		snprintf(why, TEXT_MAX + 1, "the store cannot be read: %s", err_text(err));
		return err;
	}
	for (size_t i = 0; i < list->n; i++) {
		const struct restore_item *it = &list->v[i];

		if (!it->chosen || !it->code)
			continue;
		snprintf(why, TEXT_MAX + 1, "%s: %.400s", it->name, it->why);
		return it->code;
	}
	return 0;
}
