/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-mgr --init --from: the disk with the store is lost, the TPM is not. The backup's header brings what the TPM
 * needs to unseal the root (public, and of no use to another TPM); with it the keeper opens the rest, which becomes the
 * store.
 *
 *	header -> OPEN (the pinned storage root key) -> GROUP_OPEN -> every part -> vtpm.db
 *
 * Nothing is anchored here: what the TPM's anchors vouch for is a newer store, so the manager will quarantine this one
 * until an operator says "quarantine release --store". If the TPM is lost, too: recreate_recover.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/recreate.h"

void recreate_end(struct recreate *rc, int err, const char *text)
{
	struct mgr *m = rc->m;

	if (err)
		log_error("not initialised: %s (%s)", text[0] ? text : err_text(err), err_text(err));
	if (rc->c) {
		mgr_audit(m, rc->c, "recover", NULL, err, "a backup, onto another TPM");
		call_error(rc->c, err, "nothing is recovered: %s", text[0] ? text : err_text(err));
	}
	m->exit_code = err ? 1 : 0;
	m->recreate = NULL;
	reroot_order_free(&rc->order);
	restore_free(rc->r);
	free(rc);
	loop_stop(&m->loop);
}

static void place(struct recreate *rc)
{
	struct mgr *m = rc->m;
	char why[TEXT_MAX + 1], when[BACKUP_TIME_MAX];
	struct store *from;
	int err = restore_store(rc->r, &from, why);

	if (err) {
		recreate_end(rc, err, why);
		return;
	}
	backup_time(restore_created(rc->r), when);
	err = store_image_write(from, m->cfg.state_dir);
	mgr_audit(m, NULL, "init", NULL, err, "of a backup");
	if (!err && rc->c) {
		recover_placed(rc);
		return;
	}
	if (!err)
		log_info("initialised %s with the backup of %s. If anything has happened since, vtpm-mgr quarantines "
			 "it until you accept that: "
			 "vtpmctl quarantine release --store --i-accept-rollback",
			 m->cfg.state_dir, when);
	recreate_end(rc, err, "the store cannot be written");
}

/* ---- the file ---- */

static void on_taken(void *arg, int code, const char *text)
{
	uint8_t piece[RESTORE_PIECE_MAX];
	struct recreate *rc = arg;
	ssize_t n;

	if (code) {
		recreate_end(rc, code, text);
		return;
	}
	do {
		n = read(rc->m->from, piece, sizeof(piece));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		recreate_end(rc, err_from_errno(errno), "the backup cannot be read");
	else if (n == 0)
		place(rc);
	else
		restore_write(rc->r, piece, (size_t)n, on_taken, rc);
}

/* ---- the keys ---- */

void recreate_read(struct recreate *rc)
{
	rc->r = restore_new(rc->m);
	if (!rc->r || lseek(rc->m->from, 0, SEEK_SET) != 0)
		recreate_end(rc, ERR_NOMEM, "");
	else
		on_taken(rc, 0, "");
}

static void on_group(void *arg, const struct keeper_reply *k)
{
	struct recreate *rc = arg;

	if (k->code)
		recreate_end(rc, k->code, k->text);
	else
		recreate_read(rc);
}

static void on_open(void *arg, const struct keeper_reply *k)
{
	struct recreate *rc = arg;
	struct keeper_group_open req = {.group = DEFAULT_GROUP, .sets = rc->header.sets, .sets_len = rc->header.sets_len};
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b, root;

	if (k->code == ERR_TPM_IDENTITY || k->code == ERR_INVAL) {
		recover_foreign(rc);
		return;
	}
	buf_wrap(&root, rc->header.root, rc->header.root_len);
	buf_init(&b, mem, sizeof(mem));
	if (k->code)
		recreate_end(rc, k->code, k->text);
	else if (rc->m->cfg.recover)
		recreate_end(rc, ERR_WRONG_STATE,
			     "this TPM is the one that the backup was taken with: leave --recover out. If it does not open the root any "
			     "more, whatever it boots, clear it in the firmware's setup first");
	else if (sealed_root_decode(&root, &req.root) || buf_left(&root) || keeper_group_open_encode(&b, &req))
		recreate_end(rc, ERR_AUTH, "this is no backup of vtpmctl, or its beginning is damaged");
	else
		keeper_ask(rc->m, KEEPER_GROUP_OPEN, &b, on_group, rc);
}

/* ---- the header ---- */

static int read_header(struct recreate *rc)
{
	ssize_t n = pread(rc->m->from, rc->mem, sizeof(rc->mem), 0);
	struct buf b;
	size_t len;
	int err;

	if (n < 0)
		return err_from_errno(errno);
	buf_wrap(&b, rc->mem, (size_t)n);
	err = backup_prefix_decode(&b, &len);
	if (!err && len > (size_t)n)
		err = ERR_PROTO;
	if (err)
		return err;
	buf_wrap(&b, rc->mem, len);
	return backup_header_decode(&b, &rc->header);
}

void recreate_start(struct mgr *m)
{
	struct recreate *rc = calloc(1, sizeof(*rc));
	struct keeper_open req;
	uint8_t mem[KEEPER_OPEN_MAX];
	struct buf b;
	int err;

	if (!rc) {
		m->exit_code = 1;
		loop_stop(&m->loop);
		return;
	}
	rc->m = m;
	err = read_header(rc);
	req = (struct keeper_open){.name = rc->header.srk_name, .name_len = rc->header.srk_name_len};
	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = keeper_open_encode(&b, &req);
	if (err)
		recreate_end(rc, err == ERR_VERSION ? err : ERR_AUTH,
			     err == ERR_VERSION ? "this backup was made by a newer release: use that one"
						: "this is no backup of vtpmctl, or its beginning is damaged");
	else
		keeper_ask(m, KEEPER_OPEN, &b, on_open, rc);
}
