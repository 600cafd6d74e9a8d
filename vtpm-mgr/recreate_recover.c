/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-mgr --init --from --recover: disk and TPM are lost. What there is: a backup, and somebody with an offline key. He is asked as by a
 * manager that has a store (recovery_methods.c), with the escrows of the backup's header, and one answer is enough for all of it:
 *
 *	RecoveryChallenge
 *	RecoveryRestore	-> ADOPT -> ROOT_RESTORE of "default", which opens the file -> every part -> vtpm.db -> the other roots, and the
 *			   rest of reroot.c
 *
 * Until the first part is open, the header may be a lie. A root that is not the one of the file opens no part of it, and nothing is written
 * before all of them are.
 */
#include "vtpm-mgr/recreate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"

/* ---- is there anybody who could answer? ---- */

static bool answerable(const struct recovery_keys *known, const struct recovery_keys *wanted)
{
	for (unsigned i = 0; i < wanted->n; i++)
		for (unsigned j = 0; j < known->n; j++)
			if (!memcmp(wanted->fingerprints[i], known->fingerprints[j], DIGEST_LEN))
				return true;
	return false;
}

static void no_key(struct recreate *rc, const struct recovery_keys *wanted)
{
	char text[TEXT_MAX + 1], hex[2 * DIGEST_LEN + 1];

	if (hex_encode(wanted->fingerprints[0], DIGEST_LEN, hex, sizeof(hex)))
		hex[0] = '\0';
	snprintf(text, sizeof(text),
		 "no public key of an offline key that opens this backup is in %s, so that nobody could answer: it wants %s%s; put its "
		 "public half there",
		 rc->m->cfg.recovery_keys, hex, wanted->n > 1 ? ", or another one" : "");
	recreate_end(rc, ERR_NOTFOUND, text);
}

static void on_keys(void *arg, const struct keeper_reply *k)
{
	struct recreate *rc = arg;
	struct mgr *m = rc->m;
	struct recovery_keys wanted;

	backup_header_keys(&rc->header, &wanted);
	if (k->code) {
		recreate_end(rc, k->code, k->text);
	} else if (!answerable(&m->keeper.recovery, &wanted)) {
		no_key(rc, &wanted);
	} else {
		m->recreate = rc;
		m->exit_code = 1; /* if it is stopped now */
		log_warn("this backup is sealed to another TPM; waiting for an offline key: vtpmctl recovery challenge, then vtpmctl "
			 "recovery restore --i-accept-rollback");
		mgr_ready(m);
	}
}

void recover_foreign(struct recreate *rc)
{
	if (!rc->header.nkept)
		recreate_end(rc, ERR_TPM_IDENTITY,
			     "this backup is sealed to another TPM, or this one was cleared: only the TPM that it was taken with opens it, "
			     "for no offline key (vtpmctl recovery init) opened its root then");
	else if (!rc->m->cfg.recover)
		recreate_end(rc, ERR_TPM_IDENTITY,
			     "this backup is sealed to another TPM, or this one was cleared; an offline key opens it, too: give --recover as "
			     "well, and see docs/recovery.md");
	else
		escrow_ask_keys(rc->m, on_keys, rc);
}

bool recover_waits(const struct mgr *m)
{
	return m->recreate && !m->recreate->c;
}

json_t *recover_escrows(const struct mgr *m)
{
	const struct recreate *rc = m->recreate;
	json_t *list = recover_waits(m) ? json_array() : NULL;

	for (unsigned i = 0; list && i < rc->header.nkept; i++)
		describe_escrow(list, ESCROW_ROOT, rc->header.kept[i].group, &rc->header.kept[i].set);
	return list;
}

/* ---- the answer ---- */

static void on_root(void *arg, const struct keeper_reply *k)
{
	struct recreate *rc = arg;

	if (k->code || k->result_len > sizeof(rc->first.root)) {
		recreate_end(rc, k->code ? k->code : ERR_PROTO, k->text);
		return;
	}
	memcpy(rc->first.root, k->result, k->result_len);
	rc->first.len = k->result_len;
	recreate_read(rc);
}

static void on_adopted(void *arg, const struct keeper_reply *k)
{
	struct recreate *rc = arg;
	const struct reroot_answer *a = reroot_answer_for(&rc->order, DEFAULT_GROUP);
	struct root_restore req = {.tag = a->tag,
				   .mask = rc->order.mask,
				   .flags = rc->order.flags,
				   .envelope = a->envelope,
				   .envelope_len = a->len};
	uint8_t mem[KEEPER_ROOT_RESTORE_MAX];
	struct keeper_adopted adopted;
	struct buf b;

	buf_wrap(&b, k->result, k->result_len);
	if (k->code || keeper_adopted_decode(&b, &adopted) || buf_left(&b)) {
		recreate_end(rc, k->code ? k->code : ERR_PROTO, k->text);
		return;
	}
	memcpy(rc->first.name, adopted.name, adopted.name_len);
	rc->first.name_len = adopted.name_len;
	memcpy(rc->first.ek, adopted.ek, adopted.ek_len);
	rc->first.ek_len = adopted.ek_len;
	buf_init(&b, mem, sizeof(mem));
	if (root_restore_encode(&b, &req))
		recreate_end(rc, ERR_RANGE, err_text(ERR_RANGE));
	else
		keeper_ask_once(rc->m, KEEPER_ROOT_RESTORE, &b, on_root, rc);
}

void recover_answer(struct mgr *m, struct reroot_order *order, struct call *c)
{
	struct recreate *rc = m->recreate;

	if (!rc || rc->c) {
		call_error(c, rc ? ERR_BUSY : ERR_WRONG_STATE,
			   rc ? "a recovery is on its way" : "there is nothing to recover yet: the TPM was not asked");
	} else if (!order->accept_rollback) {
		call_error(c, ERR_INVAL, "%s", REROOT_MOVED_TEXT);
	} else if (!reroot_answer_for(order, DEFAULT_GROUP)) {
		call_error(c, ERR_INVAL, "the answer has no root of group %s in it", DEFAULT_GROUP);
	} else {
		rc->c = c;
		rc->order = *order;
		keeper_ask_once(m, KEEPER_ADOPT, NULL, on_adopted, rc);
		return;
	}
	reroot_order_free(order);
}

/* ---- the store ---- */

void recover_placed(struct recreate *rc)
{
	struct mgr *m = rc->m;
	char why[TEXT_MAX + 1];
	int err;

	restore_free(rc->r);
	rc->r = NULL;
	err = mgr_open_store(m, why);
	if (err) {
		recreate_end(rc, err, why);
		return;
	}
	m->recreate = NULL;
	reroot_go_on(m, &rc->order, rc->c, &rc->first);
	free(rc);
}
