/* SPDX-License-Identifier: BSD-2-Clause */
/* RecoveryInit, RecoveryShow, RecoveryChallenge, RecoveryRestore and Reseal. What comes back from an offline key is passed on unread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/recreate.h"

/* ---- RecoveryInit ---- */

struct initing {
	struct mgr *m;
	struct call *c;
	uint8_t wanted[RECOVERY_KEYS_MAX][DIGEST_LEN];
	unsigned n;
	bool renewed; /* the keeper was ended, so that it reads the keys anew */
	struct group *g; /* in hand */
	uint8_t root[SEALED_ROOT_MAX];
	size_t root_len;
};

static void init_end(struct initing *in, int code, const char *text)
{
	char detail[64];

	snprintf(detail, sizeof(detail), "%u recovery keys", in->m->keeper.recovery.n);
	mgr_audit(in->m, in->c, "recovery-init", NULL, code, detail);
	if (code)
		call_error(in->c, code, "%s", text);
	else
		call_reply(in->c, json_pack("{s:o}", "recovery", describe_recovery(in->m)));
	free(in);
}

static void init_group(struct initing *in);

/* What was kept before is for keys of before: it goes. ERR_BUSY: what was wrapped is not the group's root any more. */
static int keep(struct initing *in, uint8_t what, const uint8_t *set, size_t len)
{
	char key[NAME_MAX_LEN + 16];
	uint8_t now[SEALED_ROOT_MAX];
	size_t n = sizeof(now);

	if (store_group_get(in->m->store, in->g->name, now, &n) || n != in->root_len || memcmp(now, in->root, n) != 0)
		return ERR_BUSY;
	escrow_meta_key(what, in->g->name, key);
	return store_meta_put(in->m->store, key, set, len);
}

static const char *keep_why(const struct initing *in, int err)
{
	return err == ERR_BUSY ? "a root was sealed anew meanwhile; give the order again" : store_why(in->m->store);
}

static void on_owner(void *arg, int code, const char *text, const uint8_t *set, size_t len)
{
	struct initing *in = arg;
	int err = code ? code : keep(in, ESCROW_OWNER, set, len);

	if (err) {
		init_end(in, err, code ? text : keep_why(in, err));
		return;
	}
	in->g = in->g->next;
	init_group(in);
}

static void on_root(void *arg, int code, const char *text, const uint8_t *set, size_t len)
{
	struct initing *in = arg;
	int err = code ? code : keep(in, ESCROW_ROOT, set, len);

	if (err) {
		init_end(in, err, code ? text : keep_why(in, err));
		return;
	}
	if (!strcmp(in->g->name, DEFAULT_GROUP) && !(in->m->continuity.record.flags & ANCHOR_SHARED)) {
		escrow_make(in->m, ESCROW_OWNER, in->g->name, in->root, in->root_len, on_owner, in);
		return;
	}
	in->g = in->g->next;
	init_group(in);
}

/* A group whose row was changed, or that the chip does not open now, is not; status goes on to complain of it. */
static void init_group(struct initing *in)
{
	while (in->g && (!in->g->open || !in->g->vouched))
		in->g = in->g->next;
	if (!in->g) {
		init_end(in, 0, "");
		return;
	}
	in->root_len = sizeof(in->root);
	if (store_group_get(in->m->store, in->g->name, in->root, &in->root_len))
		init_end(in, ERR_AUTH, store_why(in->m->store));
	else
		escrow_make(in->m, ESCROW_ROOT, in->g->name, in->root, in->root_len, on_root, in);
}

static bool has_wanted(const struct initing *in)
{
	const struct recovery_keys *keys = &in->m->keeper.recovery;
	bool all = keys->n > 0;

	for (unsigned i = 0; i < in->n && all; i++) {
		bool found = false;

		for (unsigned j = 0; j < keys->n; j++)
			found = found || !memcmp(in->wanted[i], keys->fingerprints[j], DIGEST_LEN);
		all = found;
	}
	return all;
}

static void on_renewed(void *arg, const struct keeper_reply *r);

static void on_known(void *arg, const struct keeper_reply *r)
{
	struct initing *in = arg;

	if (r->code) {
		init_end(in, r->code, r->text);
	} else if (has_wanted(in)) {
		in->g = in->m->keeper.groups;
		init_group(in);
	} else if (!in->renewed) {
		in->renewed = true;
		keeper_end(in->m, "the next one is to read the recovery keys anew");
		keeper_ask(in->m, KEEPER_STATUS, NULL, on_renewed, in);
	} else {
		char text[TEXT_MAX];

		snprintf(text, sizeof(text), "not every one of these keys, or none, can be used from %s: see the log for why", in->m->cfg.recovery_keys);
		init_end(in, ERR_NOTFOUND, text);
	}
}

static void on_init_gate(void *arg, const struct keeper_reply *r)
{
	struct initing *in = arg;

	if (r->code)
		init_end(in, r->code, r->text);
	else
		escrow_ask_keys(in->m, on_known, in);
}

static void on_renewed(void *arg, const struct keeper_reply *r)
{
	struct initing *in = arg;

	if (r->code)
		init_end(in, r->code, r->text);
	else
		keeper_open_group(in->m, DEFAULT_GROUP, on_init_gate, in);
}

/* "keys": fingerprints that must be among those that the keeper has. */
static int wanted_param(struct initing *in, struct call *c, json_t *params)
{
	json_t *list = json_object_get(params, "keys"), *j;
	size_t i;

	if (!list || json_is_null(list))
		return 0;
	json_array_foreach(list, i, j) {
		const char *hex = json_string_value(j);

		if (in->n == RECOVERY_KEYS_MAX || !hex || strlen(hex) != 2 * DIGEST_LEN || hex_decode(hex, in->wanted[in->n], DIGEST_LEN))
			break;
		in->n++;
	}
	if (json_is_array(list) && i == json_array_size(list))
		return 0;
	call_error(c, ERR_INVAL, "keys must be a list of at most %u fingerprints (SHA-256, hex)", RECOVERY_KEYS_MAX);
	return ERR_INVAL;
}

void method_recovery_init(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	struct initing *in = calloc(1, sizeof(*in));

	if (!in) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	in->m = m;
	in->c = c;
	if (m->reseal)
		call_error(c, ERR_BUSY, "roots are being rotated; try again");
	else if (!wanted_param(in, c, params)) {
		keeper_open_group(m, DEFAULT_GROUP, on_init_gate, in);
		return;
	}
	free(in);
}

void method_recovery_show(void *arg, struct call *c, json_t *params)
{
	(void)params;
	call_reply(c, json_pack("{s:o}", "recovery", describe_recovery(arg)));
}

/* ---- RecoveryChallenge ---- */

struct challenging {
	struct mgr *m;
	struct call *c;
};

/* As a list of hex strings; NULL: malformed, or no memory. */
static json_t *nonces_of(struct buf *b)
{
	json_t *list = json_array();
	char hex[2 * ENVELOPE_MAX + 1];
	const uint8_t *p;
	size_t len;
	uint8_t n;
	int err = !list || buf_get_u8(b, &n) || n > RECOVERY_KEYS_MAX;

	for (unsigned i = 0; !err && i < n; i++)
		err = buf_get_var(b, ENVELOPE_MAX, &p, &len) || hex_encode(p, len, hex, sizeof(hex)) || json_array_append_new(list, json_string(hex));
	if (!err)
		return list;
	json_decref(list);
	return NULL;
}

static void on_challenge(void *arg, const struct keeper_reply *r)
{
	struct challenging *ch = arg;
	char key[2 * PUBKEY_MAX + 1];
	json_t *escrows = NULL, *nonces = NULL;
	const uint8_t *der;
	size_t len = 0;
	struct buf b;
	int err = r->code;

	buf_wrap(&b, r->result, r->result_len);
	if (!err)
		nonces = nonces_of(&b);
	if (!err && (!nonces || buf_get_var(&b, PUBKEY_MAX, &der, &len) || buf_left(&b) || hex_encode(der, len, key, sizeof(key))))
		err = ERR_PROTO;
	if (!err)
		escrows = ch->m->cfg.init ? recover_escrows(ch->m) : describe_escrows(ch->m);
	mgr_audit(ch->m, ch->c, "recovery-challenge", NULL, err, NULL);
	if (err || !escrows)
		call_error(ch->c, err ? err : ERR_WRONG_STATE, "there is no challenge: %s", r->text);
	else
		call_reply(ch->c, json_pack("{s:O, s:s, s:O}", "nonces", nonces, "keeper", key, "escrows", escrows));
	json_decref(nonces);
	json_decref(escrows);
	free(ch);
}

/* Another challenge ends the one before, whose answer may be in hand. */
static bool may_challenge(const struct mgr *m)
{
	return m->cfg.init ? recover_waits(m) : !m->continuity.releasing;
}

void method_recovery_challenge(void *arg, struct call *c, json_t *params)
{
	struct challenging *ch = calloc(1, sizeof(*ch));

	(void)params;
	if (!ch) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	if (!may_challenge(arg)) {
		free(ch);
		call_error(c, ERR_BUSY, "a recovery is on its way, with the answer to the last challenge");
		return;
	}
	*ch = (struct challenging){.m = arg, .c = c};
	keeper_ask_once(arg, KEEPER_CHALLENGE, NULL, on_challenge, ch);
}

/* ---- RecoveryRestore ---- */

/* Bytes of a hex string; 0: it is none, or too long. */
static size_t hex_param(json_t *object, const char *key, uint8_t *out, size_t cap)
{
	const char *hex = json_string_value(json_object_get(object, key));
	size_t n = hex ? strlen(hex) : 0;

	return n % 2 || n / 2 > cap || !n || hex_decode(hex, out, n / 2) ? 0 : n / 2;
}

static int answer_param(json_t *j, struct reroot_answer *a)
{
	const char *group = json_string_value(json_object_get(j, "group"));

	if (!group || !name_valid(group))
		return ERR_INVAL;
	a->tag.what = ESCROW_ROOT;
	snprintf(a->tag.group, sizeof(a->tag.group), "%s", group);
	a->len = hex_param(j, "envelope", a->envelope, sizeof(a->envelope));
	return hex_param(j, "root_id", a->tag.root_id, ROOT_ID_LEN) == ROOT_ID_LEN && a->len ? 0 : ERR_INVAL;
}

static int answers_param(struct call *c, json_t *params, struct reroot_order *o)
{
	json_t *list = json_object_get(params, "answers"), *j;
	size_t i;

	if (json_array_size(list) == 0 || json_array_size(list) > KEEPER_GROUPS_MAX) {
		call_error(c, ERR_INVAL, "answers must be a list, as vtpmctl recovery open makes it");
		return ERR_INVAL;
	}
	o->answers = calloc(json_array_size(list), sizeof(*o->answers));
	if (!o->answers) {
		call_error(c, ERR_NOMEM, "out of memory");
		return ERR_NOMEM;
	}
	json_array_foreach(list, i, j) {
		if (answer_param(j, &o->answers[o->n])) {
			call_error(c, ERR_INVAL, "an answer makes no sense: it was cut off or changed");
			return ERR_INVAL;
		}
		o->n++;
	}
	return 0;
}

void method_recovery_restore(void *arg, struct call *c, json_t *params)
{
	struct reroot_order o = {0};
	struct mgr *m = arg;
	bool insecure = false;

	if (answers_param(c, params, &o) || pcr_param(c, params, &o.mask) || bool_param(c, params, "insecure_pcrs", &insecure) ||
	    bool_param(c, params, "accept_rollback", &o.accept_rollback)) {
		reroot_order_free(&o);
		return;
	}
	o.flags = insecure ? SEAL_INSECURE_PCRS : 0;
	if (m->cfg.init)
		recover_answer(m, &o, c);
	else
		reroot_start(m, &o, c);
}

/* ---- Reseal ---- */

void method_reseal(void *arg, struct call *c, json_t *params)
{
	json_t *group = json_object_get(params, "group");

	if (group && !json_is_null(group) && !json_is_string(group))
		call_error(c, ERR_INVAL, "group must be a name");
	else
		reseal_start(arg, json_string_value(group), c);
}
