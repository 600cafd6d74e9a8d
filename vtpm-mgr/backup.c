/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backup: a copy of the store in memory, a few pages in each round of events; then the header; then the copy, which
 * the keeper seals part by part. The manager has no key of it.
 */
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"
#include "vtpm-mgr/reroot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct backup {
	struct mgr *m;
	unsigned asked; /* of the keeper, which answers before this is freed */
	bool gone;
	uint8_t (*only)[UUID_LEN];
	size_t nonly;
	bool all;
	backup_done *done;
	backup_piece *piece;
	void *arg;
	struct store_copy *copy;
	struct loop_timer step;
	const uint8_t *image;
	size_t size;
	int64_t created;
	uint8_t header[BACKUP_HEADER_MAX];
	size_t header_len;
	struct recovery_keys keys; /* that open the file, too */
	uint8_t file[DIGEST_LEN]; /* hash of the header */
	bool begun;		  /* the header was handed out */
	uint64_t next, parts;
	/* The piece that the keeper is sealing. */
	struct sealing {
		struct backup *b;
		size_t at; /* where in it */
	} sealing[BACKUP_PIECE_PARTS];
	int failed;
	char text[TEXT_MAX + 1];
	uint8_t out[BACKUP_PIECE_MAX];
	size_t out_len;
};

void backup_time(int64_t seconds, char out[static BACKUP_TIME_MAX])
{
	time_t when = (time_t)seconds;
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&when, &tm))
		strftime(out, BACKUP_TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void backup_free(struct backup *b)
{
	if (!b)
		return;
	loop_timer_cancel(&b->m->loop, &b->step);
	b->gone = true;
	if (b->asked)
		return;
	store_copy_free(b->copy);
	free(b->only);
	free(b);
}

static void begun(struct backup *b, int code, const char *text)
{
	b->done(b->arg, code, text);
}

/* False: who wanted it has gone, and b with him. */
static bool answered(struct backup *b)
{
	b->asked--;
	if (!b->gone)
		return true;
	backup_free(b);
	return false;
}

/* ---- the header ---- */

/* What offline keys hold of the root that the group has now, if they do: mem is what it views. */
static void keep_group(struct mgr *m, const struct group *g, uint8_t mem[static ESCROW_SET_MAX], struct backup_header *h)
{
	struct backup_kept *k = &h->kept[h->nkept];
	uint8_t root[SEALED_ROOT_MAX];
	struct sealed_root row;

	if (escrow_load(m, ESCROW_ROOT, g->name, mem, &k->set) || !k->set.n || group_root(m, g, root, &row) ||
	    memcmp(row.root_id, k->set.root_id, ROOT_ID_LEN) != 0)
		return;
	snprintf(k->group, sizeof(k->group), "%s", g->name);
	h->nkept++;
}

/* "default" first; without it nothing opens the file, whatever is known of the others. */
static void keep_groups(struct mgr *m, uint8_t (*mem)[ESCROW_SET_MAX], struct backup_header *h)
{
	const struct group *first = group_find(m, DEFAULT_GROUP);

	if (first)
		keep_group(m, first, mem[0], h);
	for (const struct group *g = m->keeper.groups; g && h->nkept && h->nkept < KEEPER_GROUPS_MAX; g = g->next)
		if (g != first)
			keep_group(m, g, mem[h->nkept], h);
}

static int write_header(struct backup *b, struct backup_header *h)
{
	uint8_t (*mem)[ESCROW_SET_MAX] = calloc(KEEPER_GROUPS_MAX, sizeof(*mem));
	struct buf out;
	int err;

	if (!mem)
		return ERR_NOMEM;
	keep_groups(b->m, mem, h);
	backup_header_keys(h, &b->keys);
	buf_init(&out, b->header, sizeof(b->header));
	err = backup_header_encode(&out, h);
	b->header_len = out.len;
	free(mem);
	return err ? err : leaf_hash(b->header, b->header_len, b->file);
}

static int make_header(struct backup *b, const uint8_t *key_id)
{
	uint8_t name[TPM_NAME_MAX], root[STORE_META_MAX];
	struct backup_header h = {.created = b->created, .size = b->size, .srk_name = name, .root = root};
	struct set_list sets;
	int err = random_bytes(h.salt, sizeof(h.salt));

	memcpy(h.key_id, key_id, DIGEST_LEN);
	h.srk_name_len = sizeof(name);
	h.root_len = sizeof(root);
	sets_load(b->m, DEFAULT_GROUP, &sets);
	h.sets = sets.mem;
	h.sets_len = sets.len;
	if (!err)
		err = store_meta_get(b->m->store, "srk_name", name, &h.srk_name_len);
	if (!err)
		err = store_group_get(b->m->store, DEFAULT_GROUP, root, &h.root_len);
	return err ? err : write_header(b, &h);
}

static void on_key(void *arg, const struct keeper_reply *r)
{
	struct backup *b = arg;
	int err = r->code ? r->code : r->result_len != DIGEST_LEN ? ERR_PROTO : 0;

	if (!answered(b))
		return;
	if (!err)
		err = make_header(b, r->result);
	begun(b, err, r->code ? r->text : err_text(err));
}

/* ---- the copy ---- */

static int copied(struct backup *b)
{
	int err = b->all ? 0 : store_copy_keep(b->copy, (const uint8_t(*)[UUID_LEN])b->only, b->nonly);

	if (err)
		return err;
	b->image = store_copy_bytes(b->copy, &b->size);
	b->parts = backup_parts(b->size);
	b->created = (int64_t)time(NULL);
	return b->image && b->size <= STORE_COPY_MAX ? 0 : ERR_NOMEM;
}

static void on_step(void *arg)
{
	struct backup *b = arg;
	int err = store_copy_step(b->copy);

	if (err == ERR_AGAIN) {
		loop_timer_set(&b->m->loop, &b->step, 0, on_step, b);
		return;
	}
	if (!err)
		err = copied(b);
	if (err) {
		begun(b, err,
		      err == ERR_FULL ? "the store is larger than a copy in memory may be" : store_why(b->m->store));
		return;
	}
	b->asked++;
	keeper_ask(b->m, KEEPER_BACKUP_KEY, NULL, on_key, b);
}

/* Only of what the anchors vouch for: a copy of anything else would look like a good one. */
static void on_gate(void *arg, const struct keeper_reply *r)
{
	struct backup *b = arg;
	int err = r->code;

	if (!answered(b))
		return;
	if (!err)
		err = store_copy_begin(b->m->store, &b->copy);
	if (err)
		begun(b, err, r->code ? r->text : err_text(err));
	else
		on_step(b);
}

int backup_begin(struct mgr *m, const uint8_t (*only)[UUID_LEN], size_t n, backup_done *done, void *arg,
		 struct backup **out)
{
	struct backup *b = calloc(1, sizeof(*b));

	*out = b;
	if (!b)
		return ERR_NOMEM;
	*b = (struct backup){.m = m, .done = done, .arg = arg, .all = !only, .nonly = n};
	b->only = only && n ? malloc(n * sizeof(*b->only)) : NULL;
	if (only && n && !b->only) {
		free(b);
		*out = NULL;
		return ERR_NOMEM;
	}
	if (b->only)
		memcpy(b->only, only, n * sizeof(*b->only));
	b->asked++;
	keeper_open_group(m, DEFAULT_GROUP, on_gate, b);
	return 0;
}

/* ---- its pieces ---- */

static void on_sealed(void *arg, const struct keeper_reply *r)
{
	const struct sealing *s = arg;
	struct backup *b = s->b;

	if (r->code && !b->failed) {
		b->failed = r->code;
		snprintf(b->text, sizeof(b->text), "%s", r->text);
	}
	if (!r->code && r->result_len <= sizeof(b->out) - s->at) {
		memcpy(b->out + s->at, r->result, r->result_len);
		b->out_len += r->result_len;
	}
	if (answered(b) && b->asked == 0)
		b->piece(b->arg, b->failed, b->text, b->out, b->failed ? 0 : b->out_len);
}

static int seal_part(struct backup *b, struct sealing *s)
{
	struct backup_part p = {.n = b->next, .last = b->next + 1 == b->parts};
	uint8_t mem[BACKUP_PART_MAX];
	struct buf body;

	memcpy(p.file, b->file, DIGEST_LEN);
	p.data = b->image + b->next * BACKUP_PART;
	p.len = backup_part_len(b->size, b->next);
	buf_init(&body, mem, sizeof(mem));
	if (backup_part_encode(&body, &p))
		return ERR_RANGE;
	b->next++;
	b->asked++;
	keeper_ask(b->m, KEEPER_BACKUP_SEAL, &body, on_sealed, s);
	return 0;
}

/* Several at once, so that neither of the two processes waits for the other part by part. */
static void seal_parts(struct backup *b)
{
	uint64_t left = b->parts - b->next;
	unsigned n = left < BACKUP_PIECE_PARTS ? (unsigned)left : BACKUP_PIECE_PARTS;
	int err = 0;

	b->out_len = 0;
	b->asked++; /* this one: an answer within keeper_ask is not the last */
	for (unsigned i = 0; i < n && !err; i++) {
		b->sealing[i] = (struct sealing){.b = b, .at = i * (BACKUP_PART + BACKUP_TAG)};
		err = seal_part(b, &b->sealing[i]);
	}
	if (err && !b->failed)
		b->failed = err;
	if (answered(b) && b->asked == 0)
		b->piece(b->arg, b->failed, b->text, b->out, b->failed ? 0 : b->out_len);
}

void backup_next(struct backup *b, backup_piece *piece, void *arg)
{
	b->piece = piece;
	b->arg = arg;
	if (!b->begun) {
		b->begun = true;
		piece(arg, 0, "", b->header, b->header_len);
	} else if (b->next == b->parts) {
		piece(arg, 0, "", NULL, 0);
	} else {
		seal_parts(b);
	}
}

uint64_t backup_file_size(const struct backup *b)
{
	return b->header_len + b->size + b->parts * BACKUP_TAG;
}

int64_t backup_created(const struct backup *b)
{
	return b->created;
}

const struct recovery_keys *backup_keys(const struct backup *b)
{
	return &b->keys;
}
