/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Groups that need a second share: ShareBegin and GroupUnlock, and what CreateGroup has to do with it. The share passes through here in an
 * envelope that only the keeper opens.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"
#include "vtpm-mgr/reroot.h"

static const char *const kinds[] = {[SHARE_PASSPHRASE] = "passphrase", [SHARE_KEYFILE] = "keyfile"};

void share_meta_key(const char *group, char key[static NAME_MAX_LEN + 16])
{
	snprintf(key, NAME_MAX_LEN + 16, "share:%s", group);
}

static int load(struct mgr *m, const char *group, struct share_record *record)
{
	uint8_t mem[SHARE_RECORD_SIZE];
	char key[NAME_MAX_LEN + 16];
	size_t len = sizeof(mem);
	struct buf b;
	int err;

	share_meta_key(group, key);
	err = store_meta_get(m->store, key, mem, &len);
	buf_wrap(&b, mem, err ? 0 : len);
	return err ? err : share_record_decode(&b, record) || buf_left(&b) ? ERR_AUTH : 0;
}

int share_renew(struct mgr *m, const char *group, const uint8_t root_id[static ROOT_ID_LEN], uint8_t out[static SHARE_RECORD_SIZE])
{
	struct share_record record;
	struct buf b;
	int err = load(m, group, &record);

	buf_init(&b, out, SHARE_RECORD_SIZE);
	memcpy(record.root_id, root_id, ROOT_ID_LEN);
	return err ? err : share_record_encode(&b, &record);
}

/* ---- parameters ---- */

static size_t hex_param(json_t *object, const char *key, uint8_t *out, size_t cap)
{
	const char *hex = json_string_value(json_object_get(object, key));
	size_t n = hex ? strlen(hex) : 0;

	return n % 2 || n / 2 > cap || !n || hex_decode(hex, out, n / 2) ? 0 : n / 2;
}

int share_params(struct call *c, json_t *params, struct share_param *out)
{
	const char *kind = json_string_value(json_object_get(params, "share_kind"));

	*out = (struct share_param){.given = kind != NULL};
	if (!kind && !json_object_get(params, "share_salt") && !json_object_get(params, "share_envelope"))
		return 0;
	for (uint8_t k = SHARE_PASSPHRASE; kind && k <= SHARE_KEYFILE; k++)
		if (!strcmp(kind, kinds[k]))
			out->record.kind = k;
	out->len = hex_param(params, "share_envelope", out->envelope, sizeof(out->envelope));
	if (out->record.kind && out->len && hex_param(params, "share_salt", out->record.salt, SHARE_SALT_LEN) == SHARE_SALT_LEN)
		return 0;
	call_error(c, ERR_INVAL, "share_kind must be passphrase or keyfile, with a share_salt of %u bytes and a share_envelope, in hex", SHARE_SALT_LEN);
	return ERR_INVAL;
}

/* ---- ShareBegin ---- */

struct beginning {
	struct mgr *m;
	struct call *c;
	char name[NAME_MAX_LEN + 1]; /* of a group that there is; empty: of one to be made */
	uint8_t nonce[CHALLENGE_NONCE_LEN];
};

static json_t *describe_share(struct mgr *m, const char *group)
{
	char salt[2 * SHARE_SALT_LEN + 1];
	struct share_record record;

	if (!group[0])
		return json_object();
	if (load(m, group, &record) || hex_encode(record.salt, SHARE_SALT_LEN, salt, sizeof(salt)))
		return NULL;
	return json_pack("{s:s, s:s}", "kind", kinds[record.kind], "salt", salt);
}

static void on_begun(void *arg, const struct keeper_reply *r)
{
	struct beginning *b = arg;
	char key[2 * PUBKEY_MAX + 1], signature[2 * SHARE_SIGNATURE_LEN + 1];
	const uint8_t *der, *sig;
	json_t *share = NULL;
	struct buf in;
	size_t len;
	int err = r->code;

	buf_wrap(&in, r->result, r->result_len);
	if (!err && (buf_get_var(&in, PUBKEY_MAX, &der, &len) || buf_get_view(&in, SHARE_SIGNATURE_LEN, &sig) || buf_left(&in) ||
		     hex_encode(der, len, key, sizeof(key)) || hex_encode(sig, SHARE_SIGNATURE_LEN, signature, sizeof(signature))))
		err = ERR_PROTO;
	if (!err && !(share = describe_share(b->m, b->name)))
		err = ERR_AUTH;
	if (err)
		call_error(b->c, err, "%s", err == ERR_AUTH && !r->code ? "the record of the group's second share is missing or damaged" : r->text);
	else
		call_reply(b->c, json_pack("{s:s, s:s, s:o}", "keeper", key, "signature", signature, "share", share));
	free(b);
}

static void on_begin_gate(void *arg, const struct keeper_reply *r)
{
	struct beginning *b = arg;
	struct buf nonce;

	buf_wrap(&nonce, b->nonce, sizeof(b->nonce));
	if (!r->code) {
		keeper_ask(b->m, KEEPER_SHARE_BEGIN, &nonce, on_begun, b);
		return;
	}
	call_error(b->c, r->code, "%s", r->text);
	free(b);
}

/* The group of that name, if it has a second share. NULL: the call has been answered. */
static struct group *shared_group(struct mgr *m, struct call *c, const char *name)
{
	struct group *g = name ? group_find(m, name) : NULL;

	if (!g)
		call_error(c, ERR_NOTFOUND, "there is no group %s", name && name_valid(name) ? name : "of that name");
	else if (!(g->flags & SEAL_SHARE))
		call_error(c, ERR_WRONG_STATE, "group %s has no second share: it opens by itself", name);
	else
		return g;
	return NULL;
}

void method_share_begin(void *arg, struct call *c, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	struct mgr *m = arg;
	struct beginning *b;

	if (name && !shared_group(m, c, name))
		return;
	b = calloc(1, sizeof(*b));
	if (!b || hex_param(params, "nonce", b->nonce, sizeof(b->nonce)) != sizeof(b->nonce)) {
		call_error(c, b ? ERR_INVAL : ERR_NOMEM, b ? "nonce must be %u bytes in hex" : "out of memory", CHALLENGE_NONCE_LEN);
		free(b);
		return;
	}
	b->m = m;
	b->c = c;
	snprintf(b->name, sizeof(b->name), "%s", name ? name : "");
	keeper_open_group(m, DEFAULT_GROUP, on_begin_gate, b);
}

/* ---- GroupUnlock ---- */

struct unlocking {
	struct mgr *m;
	struct call *c;
	char name[NAME_MAX_LEN + 1];
};

static void on_unlocked(void *arg, const struct keeper_reply *r)
{
	struct unlocking *u = arg;
	struct group *g = group_find(u->m, u->name);

	mgr_audit(u->m, u->c, "group-unlock", NULL, r->code, u->name);
	if (!r->code && g) {
		g->open = true;
		g->needs_share = false;
		g->reason[0] = '\0';
		log_info("group %s: unlocked", u->name);
		call_reply(u->c, json_pack("{s:o}", "group", describe_group(g)));
		resume_unlocked(u->m, u->name);
	} else {
		call_error(u->c, r->code ? r->code : ERR_NOTFOUND, "%s", r->text);
	}
	free(u);
}

static int unlock_request(struct mgr *m, struct call *c, const char *name, json_t *params, struct buf *b)
{
	uint8_t row[SEALED_ROOT_MAX], envelope[ENVELOPE_MAX];
	struct group_unlock req = {.envelope = envelope, .envelope_len = hex_param(params, "envelope", envelope, sizeof(envelope))};
	struct share_record record;
	struct set_list sets;
	int err = req.envelope_len ? 0 : ERR_INVAL;

	if (err) {
		call_error(c, err, "envelope must be in hex");
		return err;
	}
	err = load(m, name, &record);
	sets_load(m, name, &sets);
	snprintf(req.group.group, sizeof(req.group.group), "%s", name);
	req.group.sets = sets.mem;
	req.group.sets_len = sets.len;
	if (err || group_root(m, group_find(m, name), row, &req.group.root)) {
		call_error(c, ERR_AUTH, "the row of group %s, or the record of its second share, is missing or damaged", name);
		return ERR_AUTH;
	}
	memcpy(req.root_id, record.root_id, ROOT_ID_LEN);
	return group_unlock_encode(b, &req);
}

void method_group_unlock(void *arg, struct call *c, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	struct mgr *m = arg;
	uint8_t mem[KEEPER_GROUP_UNLOCK_MAX];
	struct unlocking *u;
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (!shared_group(m, c, name) || unlock_request(m, c, name, params, &b))
		return;
	u = calloc(1, sizeof(*u));
	if (!u) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*u = (struct unlocking){.m = m, .c = c};
	snprintf(u->name, sizeof(u->name), "%s", name);
	keeper_ask(m, KEEPER_GROUP_UNLOCK, &b, on_unlocked, u);
}
