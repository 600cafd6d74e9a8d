/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backup's file comes back, piece by piece. The header is looked at first; each part is opened by the keeper as soon
 * as it is complete; what they hold together is a store in memory. Nothing of the disk is touched.
 */
#include "vtpm-mgr/backup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPENING_MAX (RESTORE_PIECE_MAX / (BACKUP_PART + BACKUP_TAG) + 2u) /* parts that one piece may complete */

struct restore {
	struct mgr *m;
	unsigned asked; /* as in backup.c */
	bool gone;
	backup_done *done;
	void *arg;
	uint8_t in[RESTORE_PIECE_MAX]; /* what was brought last */
	size_t in_len, in_pos;
	uint8_t have[BACKUP_HEADER_MAX]; /* the header, or a part, as far as it has come */
	size_t have_len, want;
	bool prefixed, headed; /* prefix, header are known */
	int failed;
	uint8_t file[DIGEST_LEN], key_id[DIGEST_LEN];
	int64_t created;
	struct recovery_keys keys;
	uint64_t size, next; /* bytes of the image; the next part to ask the keeper for */
	struct opening {
		struct restore *r;
		uint64_t n;
	} opening[OPENING_MAX];
	unsigned nopening;
	char text[TEXT_MAX + 1]; /* of failed */
	uint8_t *image;		 /* NULL: no part was opened yet, or the store has it */
	struct store *store;
};
_Static_assert(BACKUP_HEADER_MAX >= BACKUP_PART + BACKUP_TAG, "a part fits where a header does");

struct restore *restore_new(struct mgr *m)
{
	struct restore *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->m = m;
	r->want = BACKUP_PREFIX_SIZE;
	return r;
}

void restore_free(struct restore *r)
{
	if (!r)
		return;
	r->gone = true;
	if (r->asked)
		return;
	store_close(r->store);
	store_image_free(r->image);
	free(r);
}

static bool answered(struct restore *r)
{
	r->asked--;
	if (!r->gone)
		return true;
	restore_free(r);
	return false;
}

/* The first failure is the one that counts. */
__attribute__((format(printf, 3, 4))) static void refuse(struct restore *r, int code, const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	r->failed = code;
}

/* What was brought is used up, or of no use any more; all answers are there. */
static void end_piece(struct restore *r)
{
	r->done(r->arg, r->failed, r->failed ? r->text : "");
}

static void restore_go_on(struct restore *r);

/* ---- parts ---- */

static void take_part(struct restore *r, uint64_t n, const struct keeper_reply *k)
{
	size_t len = backup_part_len(r->size, n);

	if (k->code == ERR_AUTH)
		refuse(r, ERR_AUTH, "the backup was damaged or changed: its part %llu of %llu does not verify",
		       (unsigned long long)n + 1, (unsigned long long)backup_parts(r->size));
	else if (k->code || k->result_len != len)
		refuse(r, k->code ? k->code : ERR_PROTO, "%s", k->text);
	if (!r->failed && !r->image) { /* only now is it known that its size is no lie */
		r->image = store_image_alloc(r->size);
		if (!r->image)
			refuse(r, ERR_NOMEM, "out of memory");
	}
	if (!r->failed)
		memcpy(r->image + n * BACKUP_PART, k->result, len);
}

static void on_opened(void *arg, const struct keeper_reply *k)
{
	const struct opening *o = arg;
	struct restore *r = o->r;

	take_part(r, o->n, k);
	if (answered(r) && r->asked == 0)
		end_piece(r);
}

static void open_part(struct restore *r)
{
	struct backup_part p = {
		.n = r->next, .last = r->next + 1 == backup_parts(r->size), .data = r->have, .len = r->have_len};
	struct opening *o = &r->opening[r->nopening++];
	uint8_t mem[BACKUP_PART_MAX];
	struct buf body;

	*o = (struct opening){.r = r, .n = r->next};
	memcpy(p.file, r->file, DIGEST_LEN);
	buf_init(&body, mem, sizeof(mem));
	if (backup_part_encode(&body, &p)) {
		refuse(r, ERR_RANGE, "%s", err_text(ERR_RANGE));
		return;
	}
	r->next++;
	r->have_len = 0;
	r->want = r->next < backup_parts(r->size) ? backup_part_len(r->size, r->next) + BACKUP_TAG : 0;
	r->asked++;
	keeper_ask(r->m, KEEPER_BACKUP_OPEN, &body, on_opened, o);
}

/* ---- the header ---- */

static void on_key(void *arg, const struct keeper_reply *k)
{
	struct restore *r = arg;

	if (!answered(r))
		return;
	if (k->code || k->result_len != DIGEST_LEN)
		refuse(r, k->code ? k->code : ERR_PROTO, "%s", k->text);
	else if (memcmp(k->result, r->key_id, DIGEST_LEN) != 0)
		refuse(r, ERR_TPM_IDENTITY,
		       "this backup is sealed under another root key: that of another host, or of a store that was "
		       "here before");
	r->have_len = 0;
	r->want = backup_part_len(r->size, 0) + BACKUP_TAG;
	restore_go_on(r);
}

static void ask_key(struct restore *r)
{
	r->asked++;
	keeper_ask(r->m, KEEPER_BACKUP_KEY, NULL, on_key, r);
}

static void on_gate(void *arg, const struct keeper_reply *k)
{
	struct restore *r = arg;

	if (!answered(r))
		return;
	if (!k->code) {
		ask_key(r);
		return;
	}
	refuse(r, k->code, "%s", k->text[0] ? k->text : err_text(k->code));
	end_piece(r);
}

static void header_error(struct restore *r, int err)
{
	if (err == ERR_VERSION)
		refuse(r, err, "this backup was made by a newer release: use that one");
	else
		refuse(r, ERR_AUTH, "this is no backup of vtpmctl, or its beginning is damaged");
}

static void take_prefix(struct restore *r)
{
	struct buf b;
	int err;

	buf_wrap(&b, r->have, r->have_len);
	err = backup_prefix_decode(&b, &r->want);
	if (err)
		header_error(r, err);
	r->prefixed = !err;
}

static void take_header(struct restore *r)
{
	struct backup_header h;
	struct buf b;
	int err;

	buf_wrap(&b, r->have, r->have_len);
	err = backup_header_decode(&b, &h);
	if (!err)
		err = leaf_hash(r->have, r->have_len, r->file);
	if (err) {
		header_error(r, err);
		end_piece(r);
		return;
	}
	memcpy(r->key_id, h.key_id, DIGEST_LEN);
	r->size = h.size;
	r->created = h.created;
	backup_header_keys(&h, &r->keys);
	r->headed = true;
	if (r->m->cfg.init) { /* recreate.c has opened it, with the root that the header brought */
		ask_key(r);
		return;
	}
	r->asked++;
	keeper_open_group(r->m, DEFAULT_GROUP, on_gate, r);
}

/* ---- bytes ---- */

static void take_more(struct restore *r)
{
	size_t n = r->want - r->have_len;

	if (n > r->in_len - r->in_pos)
		n = r->in_len - r->in_pos;
	memcpy(r->have + r->have_len, r->in + r->in_pos, n);
	r->have_len += n;
	r->in_pos += n;
}

/* The next of it: a whole header, which the keeper must be asked about before more is looked at; or parts, all at once.
 */
static void restore_go_on(struct restore *r)
{
	r->asked++; /* this one: an answer within keeper_ask is not the last */
	while (r->in_pos < r->in_len && !r->failed) {
		if (r->want == 0) {
			refuse(r, ERR_AUTH, "there is more in the file than its backup: it was damaged or changed");
			break;
		}
		take_more(r);
		if (r->have_len < r->want)
			break;
		if (!r->prefixed) {
			take_prefix(r);
		} else if (r->headed) {
			open_part(r);
		} else {
			r->asked--;
			take_header(r);
			return;
		}
	}
	if (answered(r) && r->asked == 0)
		end_piece(r);
}

void restore_write(struct restore *r, const uint8_t *p, size_t n, backup_done *done, void *arg)
{
	r->done = done;
	r->arg = arg;
	if (r->store || n > sizeof(r->in))
		refuse(r, ERR_WRONG_STATE, "this restore has ended");
	r->in_len = r->in_pos = r->nopening = 0;
	if (!r->failed) {
		memcpy(r->in, p, n);
		r->in_len = n;
	}
	restore_go_on(r);
}

int restore_store(struct restore *r, struct store **from, char why[static TEXT_MAX + 1])
{
	uint8_t *image = r->image;
	int err;

	*from = r->store;
	if (r->store)
		return 0;
	snprintf(why, TEXT_MAX + 1, "the backup is cut off: its end is missing");
	if (r->failed || !r->headed || r->want != 0 || !image)
		return r->failed ? r->failed : ERR_AUTH;
	r->image = NULL;
	err = store_image_open(&r->store, image, r->size, why);
	if (err)
		r->failed = err;
	*from = r->store;
	return err;
}

int64_t restore_created(const struct restore *r)
{
	return r->created;
}

const struct recovery_keys *restore_keys(const struct restore *r)
{
	return &r->keys;
}
