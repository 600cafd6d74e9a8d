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

struct restore {
	struct mgr *m;
	bool asked, gone; /* as in backup.c */
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
	uint64_t size, next;
	uint8_t *image; /* NULL: no part was opened yet, or the store has it */
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
	r->asked = false;
	if (!r->gone)
		return true;
	restore_free(r);
	return false;
}

__attribute__((format(printf, 3, 4))) static void end(struct restore *r, int code, const char *fmt, ...)
{
	char text[TEXT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->failed = code;
	r->done(r->arg, code, text);
}

static void restore_go_on(struct restore *r);

/* ---- parts ---- */

static void on_opened(void *arg, const struct keeper_reply *k)
{
	struct restore *r = arg;
	size_t len = backup_part_len(r->size, r->next);

	if (!answered(r))
		return;
	if (k->code == ERR_AUTH) {
		end(r, ERR_AUTH, "the backup was damaged or changed: its part %llu of %llu does not verify",
		    (unsigned long long)r->next + 1, (unsigned long long)backup_parts(r->size));
		return;
	}
	if (!k->code && k->result_len == len && !r->image) /* only now is it known that its size is no lie */
		r->image = store_image_alloc(r->size);
	if (k->code || k->result_len != len || !r->image) {
		end(r, k->code ? k->code : r->image ? ERR_PROTO : ERR_NOMEM, "%s", k->code ? k->text : "out of memory");
		return;
	}
	memcpy(r->image + r->next * BACKUP_PART, k->result, len);
	r->next++;
	r->have_len = 0;
	r->want = r->next < backup_parts(r->size) ? backup_part_len(r->size, r->next) + BACKUP_TAG : 0;
	restore_go_on(r);
}

static void open_part(struct restore *r)
{
	struct backup_part p = {
		.n = r->next, .last = r->next + 1 == backup_parts(r->size), .data = r->have, .len = r->have_len};
	uint8_t mem[BACKUP_PART_MAX];
	struct buf body;

	memcpy(p.file, r->file, DIGEST_LEN);
	buf_init(&body, mem, sizeof(mem));
	if (backup_part_encode(&body, &p)) {
		end(r, ERR_RANGE, "%s", err_text(ERR_RANGE));
		return;
	}
	r->asked = true;
	keeper_ask(r->m, KEEPER_BACKUP_OPEN, &body, on_opened, r);
}

/* ---- the header ---- */

static void on_key(void *arg, const struct keeper_reply *k)
{
	struct restore *r = arg;

	if (!answered(r))
		return;
	if (k->code || k->result_len != DIGEST_LEN) {
		end(r, k->code ? k->code : ERR_PROTO, "%s", k->text);
		return;
	}
	if (memcmp(k->result, r->key_id, DIGEST_LEN) != 0) {
		end(r, ERR_TPM_IDENTITY,
		    "this backup is sealed under another root key: that of another host, or of a store that was here "
		    "before. Only "
		    "the TPM that keeps that root opens it");
		return;
	}
	r->have_len = 0;
	r->want = backup_part_len(r->size, 0) + BACKUP_TAG;
	restore_go_on(r);
}

static void ask_key(struct restore *r)
{
	r->asked = true;
	keeper_ask(r->m, KEEPER_BACKUP_KEY, NULL, on_key, r);
}

static void on_gate(void *arg, const struct keeper_reply *k)
{
	struct restore *r = arg;

	if (!answered(r))
		return;
	if (k->code)
		end(r, k->code, "%s", k->text[0] ? k->text : err_text(k->code));
	else
		ask_key(r);
}

static void header_error(struct restore *r, int err)
{
	if (err == ERR_VERSION)
		end(r, err, "this backup was made by a newer release: use that one");
	else
		end(r, ERR_AUTH, "this is no backup of vtpmctl, or its beginning is damaged");
}

static int take_prefix(struct restore *r)
{
	struct buf b;
	int err;

	buf_wrap(&b, r->have, r->have_len);
	err = backup_prefix_decode(&b, &r->want);
	if (err)
		header_error(r, err);
	r->prefixed = !err;
	return err;
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
		return;
	}
	memcpy(r->key_id, h.key_id, DIGEST_LEN);
	r->size = h.size;
	r->created = h.created;
	r->headed = true;
	r->asked = true;
	if (r->m->cfg.init) /* recreate.c has opened it, with the root that the header brought */
		ask_key(r);
	else
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

/* Until what was brought is used up, or the keeper was asked: its answer goes on. */
static void restore_go_on(struct restore *r)
{
	while (r->in_pos < r->in_len) {
		if (r->want == 0) {
			end(r, ERR_AUTH, "there is more in the file than its backup: it was damaged or changed");
			return;
		}
		take_more(r);
		if (r->have_len < r->want)
			break;
		if (!r->prefixed && take_prefix(r))
			return;
		if (r->have_len < r->want)
			continue;
		if (r->headed)
			open_part(r);
		else
			take_header(r);
		return;
	}
	r->done(r->arg, 0, "");
}

void restore_write(struct restore *r, const uint8_t *p, size_t n, backup_done *done, void *arg)
{
	r->done = done;
	r->arg = arg;
	if (r->failed || r->store || n > sizeof(r->in)) {
		end(r, r->failed ? r->failed : ERR_WRONG_STATE, "this restore has ended");
		return;
	}
	memcpy(r->in, p, n);
	r->in_len = n;
	r->in_pos = 0;
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
