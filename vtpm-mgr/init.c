/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-mgr --init: explicit, never automatic. Adopt the TPM (pin its storage root), seal a new
 * root for the group "default", make the CA key in the TPM, define the anchors, extend both with a genesis row,
 * then write all of it in one transaction. Last the owner hierarchy gets the auth value that the store now has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

struct init {
	struct mgr *m;
	uint8_t name[TPM_NAME_MAX], ek[TPM_NAME_MAX], root[SEALED_ROOT_MAX], ca[CA_KEY_MAX], record[ANCHOR_RECORD_SIZE];
	size_t name_len, ek_len, root_len, ca_len;
	struct store_leaf leaf; /* of group "default" */
	struct store_row genesis;
};

static void init_end(struct init *in, int err, const char *text)
{
	struct mgr *m = in->m;

	if (err)
		log_error("not initialised: %s (%s)", text, err_text(err));
	m->exit_code = err ? 1 : 0;
	free(in);
	loop_stop(&m->loop);
}

/* ---- last: all of it in one transaction ---- */

/* Model: provision. */
static int init_write(struct init *in)
{
	struct mgr *m = in->m;
	uint8_t wear[WEAR_SIZE];
	const struct store_meta meta[] = {
		{ "srk_name", in->name, in->name_len }, { "ek_name", in->ek, in->ek_len }, { "ca", in->ca, in->ca_len },  { "anchors", in->record, sizeof(in->record) },
		{ "wear", wear, sizeof(wear) },		{ "provisioned", "1", 1 },
	};
	const struct store_leaf *put = &in->leaf;
	struct store_change group = { .op = STORE_GROUP, .group = DEFAULT_GROUP, .sealed = in->root, .sealed_len = in->root_len };
	struct store_tail tail = { .leaves = &put, .nleaves = 1, .row = &in->genesis, .meta = meta, .nmeta = ARRAY_LEN(meta) };

	wear_load(m);
	wear_spend(m, wear);
	return store_commit(m->store, &group, 1, &tail);
}

static void on_owned(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;

	/* The store has the value: each start tries again. */
	if (r->code)
		log_warn("the owner hierarchy of the TPM keeps its empty password: %s", r->text);
	log_info("initialised %s: a new root is sealed in the TPM", in->m->cfg.state_dir);
	init_end(in, 0, "");
}

static void init_store(struct init *in)
{
	struct mgr *m = in->m;
	char why[TEXT_MAX + 1];
	int err = store_open(&m->store, m->cfg.state_dir, true, why);

	if (err) {
		init_end(in, err, why);
		return;
	}
	err = init_write(in);
	mgr_audit(m, NULL, "init", NULL, err, NULL);
	if (err)
		init_end(in, err, store_why(m->store));
	else
		keeper_ask(m, KEEPER_ANCHOR_OWN, NULL, on_owned, in);
}

/* ---- the anchors, before the disk: a store whose anchors were never extended would be quarantined for ever ---- */

static void on_extended(void *arg, const struct keeper_reply *r)
{
	if (r->code)
		init_end(arg, r->code, r->text);
	else
		init_store(arg);
}

/* Model: provision. */
static void on_mac(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct buf b;

	if (r->code || r->result_len != DIGEST_LEN) {
		init_end(in, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(in->genesis.mac, r->result, DIGEST_LEN);
	buf_wrap(&b, in->genesis.row, sizeof(in->genesis.row));
	keeper_ask(in->m, KEEPER_ANCHOR_EXTEND, &b, on_extended, in);
}

/* Model: provision. The first row: on nothing, with a nonce in the place of a row before it, so that no two are alike. */
static int genesis(struct init *in, const struct anchor_view *view)
{
	struct leaves *leaves = &in->m->continuity.leaves;
	struct journal_row row = { .n = 1, .kind = ROW_GENESIS, .reset_count = view->reset_count };
	struct buf b;
	int err = leaf_of_group(DEFAULT_GROUP, in->root, in->root_len, MODE_BOUNDED, &in->leaf);

	if (!err)
		err = leaves_put(leaves, &in->leaf);
	if (!err)
		err = leaves_root(leaves, row.root);
	if (!err)
		err = random_bytes(row.prev, DIGEST_LEN);
	in->genesis.n = row.n;
	buf_init(&b, in->genesis.row, sizeof(in->genesis.row));
	return err ? err : journal_row_encode(&b, &row);
}

/* Model: provision. */
static void on_anchors(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct anchor_view view;
	struct buf b;
	int err = r->code;

	buf_wrap(&b, r->result, r->result_len);
	if (err || buf_get_bytes(&b, in->record, sizeof(in->record)) || anchor_view_decode(&b, &view)) {
		init_end(in, err ? err : ERR_PROTO, r->text);
		return;
	}
	err = genesis(in, &view);
	buf_wrap(&b, in->genesis.row, sizeof(in->genesis.row));
	if (err)
		init_end(in, err, err_text(err));
	else
		keeper_ask(in->m, KEEPER_ROW_MAC, &b, on_mac, in);
}

/* Model: provision. */
static void on_ca(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	const struct config *cfg = &in->m->cfg;
	const struct anchor_new req = { .a = cfg->anchor_a, .v = cfg->anchor_v, .flags = cfg->shared_chip ? ANCHOR_SHARED : 0 };
	uint8_t mem[ANCHOR_NEW_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (r->code || r->result_len > sizeof(in->ca) || anchor_new_encode(&b, &req)) {
		init_end(in, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(in->ca, r->result, r->result_len);
	in->ca_len = r->result_len;
	keeper_ask(in->m, KEEPER_ANCHOR_NEW, &b, on_anchors, in);
}

/* ---- the keys ---- */

static void print_pcrs(uint32_t mask, uint32_t flags)
{
	char list[PCR_COUNT * 4] = "";
	size_t n = 0;

	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (mask & (1u << i))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%u", n ? "," : "", i);
	log_info("the root is sealed to PCRs %s (SHA-256)", list);
	if (flags & SEAL_INSECURE_PCRS)
		log_warn("--insecure-pcrs: PCRs that were never extended were accepted; they bind nothing");
}

static void on_root(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct sealed_root root;
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code || sealed_root_decode(&b, &root) || r->result_len > sizeof(in->root)) {
		init_end(in, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(in->root, r->result, r->result_len);
	in->root_len = r->result_len;
	print_pcrs(root.policy.mask, root.policy.flags);
	keeper_ask(in->m, KEEPER_CA_NEW, NULL, on_ca, in);
}

static void on_adopted(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct keeper_group_new req = { .group = DEFAULT_GROUP, .mask = in->m->cfg.seal_pcrs };
	uint8_t mem[KEEPER_GROUP_NEW_MAX];
	struct keeper_adopted a;
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code || keeper_adopted_decode(&b, &a) || buf_left(&b)) {
		init_end(in, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(in->name, a.name, a.name_len);
	in->name_len = a.name_len;
	memcpy(in->ek, a.ek, a.ek_len);
	in->ek_len = a.ek_len;
	req.flags = in->m->cfg.insecure_pcrs ? SEAL_INSECURE_PCRS : 0;
	buf_init(&b, mem, sizeof(mem));
	if (keeper_group_new_encode(&b, &req))
		init_end(in, ERR_RANGE, "internal");
	else
		keeper_ask(in->m, KEEPER_GROUP_NEW, &b, on_root, in);
}

void init_start(struct mgr *m)
{
	struct init *in = calloc(1, sizeof(*in));

	if (!in) {
		m->exit_code = 1;
		loop_stop(&m->loop);
		return;
	}
	in->m = m;
	keeper_ask(m, KEEPER_ADOPT, NULL, on_adopted, in);
}
