/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LaunchAllow, LaunchPolicy, LaunchShow: which launches a vTPM takes, or those of a group that do not say so themselves. What
 * a vTPM says is part of its row, and bound to its key (configure.c); what a group says is a value with a leaf of its own, so that the
 * journal vouches for both.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/launch.h"

static const char *const mismatch_words[] = { "refuse", "serve" };

/* Whose policy is looked at or changed: a vTPM's (row) or a group's. */
struct target {
	struct mgr *m;
	struct call *c;
	struct store_vtpm *row; /* owned; NULL: a group's */
	char group[NAME_MAX_LEN + 1];
	struct launch_policy was, want;
	uint8_t hash[DIGEST_LEN];
	char detail[TEXT_MAX + 1];
};

static void target_free(struct target *t)
{
	if (t)
		free(t->row);
	free(t);
}

static int find_group(struct target *t, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "group"));
	int err;

	if (!name || !name_valid(name) || !group_find(t->m, name)) {
		call_error(t->c, ERR_NOTFOUND, "there is no such group; see vtpmctl group list");
		return ERR_NOTFOUND;
	}
	snprintf(t->group, sizeof(t->group), "%s", name);
	err = launch_group_policy(t->m, name, &t->was, t->hash);
	if (err)
		call_error(t->c, err, "group %s: what launches it allows was changed in the store, by somebody else", name);
	return err;
}

static int find_row(struct target *t, json_t *params)
{
	t->row = row_of(t->m, t->c, params);
	if (!t->row)
		return ERR_NOTFOUND;
	t->was = (struct launch_policy){ .mode = t->row->launch, .rules = t->row->rules };
	if (!t->row->damaged && !rules_check(&t->row->rules))
		return 0;
	call_error(t->c, ERR_QUARANTINE, "%s: its row is damaged", t->row->name);
	return ERR_QUARANTINE;
}

/* By "name" or "group"; NULL: the call has been answered. */
static struct target *target_of(struct mgr *m, struct call *c, json_t *params)
{
	json_t *name = json_object_get(params, "name"), *group = json_object_get(params, "group");
	struct target *t = calloc(1, sizeof(*t));

	if (!t) {
		call_error(c, ERR_NOMEM, "out of memory");
		return NULL;
	}
	t->m = m;
	t->c = c;
	if (!name == !group) {
		call_error(c, ERR_INVAL, "either name or group, of a vTPM or a group, must be there");
	} else if (group ? !find_group(t, params) : !find_row(t, params)) {
		t->want = t->was;
		return t;
	}
	target_free(t);
	return NULL;
}

/* --- show --- */

static json_t *describe_key(const struct rule *e)
{
	uint8_t hash[DIGEST_LEN];
	char text[2 * DIGEST_LEN + 1];

	if (leaf_hash(e->value, e->len, hash) || hex_encode(hash, DIGEST_LEN, text, sizeof(text)))
		return NULL;
	return json_pack("{s:s, s:o}", "fingerprint", text, "pem", describe_pem("PUBLIC KEY", e->value, e->len));
}

static json_t *describe_policy(const struct launch_policy *p)
{
	json_t *digests = json_array(), *keys = json_array();
	char text[2 * DIGEST_LEN + 1];
	uint8_t mismatch = 0;
	struct rule e;
	struct buf b;
	int err = rules_open(&p->rules, &b, &mismatch);

	while (!err && !rules_next(&b, &e)) {
		if (e.kind == RULE_KEY)
			json_array_append_new(keys, describe_key(&e));
		else if (!hex_encode(e.value, e.len, text, sizeof(text)))
			json_array_append_new(digests, json_string(text));
	}
	return json_pack("{s:s, s:s, s:o, s:o}", "launch", launch_words[p->mode], "mismatch",
			 mismatch_words[mismatch <= MISMATCH_SERVE ? mismatch : 0], "digests", digests, "keys", keys);
}

static json_t *reply_policy(struct mgr *m, const struct store_vtpm *row)
{
	const struct launch_policy own = { .mode = row->launch, .rules = row->rules };
	json_t *j = describe_policy(&own);
	struct launch_policy g;
	uint8_t hash[DIGEST_LEN];

	if (!j)
		return NULL;
	launch_describe(vtpm_find(m, row->uuid), j);
	json_object_set_new(j, "group", json_string(row->group));
	json_object_set_new(j, "required", json_boolean(launch_is_required(m, row, false)));
	json_object_set_new(j, "required_of_domains", json_boolean(launch_is_required(m, row, true)));
	if (!launch_group_policy(m, row->group, &g, hash)) {
		json_object_set_new(j, "of_group", describe_policy(&g));
		if (row->rules.len == 0) /* it has said nothing: its group's word counts, as in launch_judge */
			json_object_set(j, "mismatch", json_object_get(json_object_get(j, "of_group"), "mismatch"));
	}
	return json_pack("{s:o}", "policy", j);
}

void method_launch_show(void *arg, struct call *c, json_t *params)
{
	struct target *t = target_of(arg, c, params);

	if (t)
		call_reply(c, t->row ? reply_policy(t->m, t->row) : json_pack("{s:o}", "policy", describe_policy(&t->want)));
	target_free(t);
}

/* --- change --- */

static void finish_group(struct target *t, int err, const char *text)
{
	char detail[TEXT_MAX + NAME_MAX_LEN + 16];

	snprintf(detail, sizeof(detail), "group %s: %s", t->group, t->detail);
	mgr_audit(t->m, t->c, "launch-policy", NULL, err, detail);
	if (err)
		call_error(t->c, err, "group %s is not changed: %s", t->group, text[0] ? text : err_text(err));
	else
		call_reply(t->c, json_pack("{s:o}", "policy", describe_policy(&t->want)));
	target_free(t);
}

static void on_stored(void *arg, int err)
{
	struct target *t = arg;

	finish_group(t, err, err == ERR_WRONG_STATE ? "it was changed meanwhile: look, and give the order again" : store_why(t->m->store));
}

/* The value and its leaf, in one commit, on top of what was looked at. */
static void on_gate(void *arg, const struct keeper_reply *r)
{
	struct target *t = arg;
	struct change *ch = r->code ? NULL : change_new(STORE_GROUP_LAUNCH, on_stored, t);
	char key[NAME_MAX_LEN + 16];
	uint8_t mem[LAUNCH_POLICY_MAX];
	struct buf b;

	launch_meta_key(t->group, key);
	buf_init(&b, mem, sizeof(mem));
	if (!ch || buf_put_u8(&b, t->want.mode) || buf_put_bytes(&b, t->want.rules.data, t->want.rules.len) ||
	    leaf_of_launch(t->group, mem, b.len, &ch->leaf) || metas_add(&ch->metas, key, mem, b.len)) {
		if (ch)
			change_free(ch);
		finish_group(t, r->code ? r->code : ERR_NOMEM, r->text);
		return;
	}
	ch->c.group = t->group;
	memcpy(ch->c.uuid, ch->leaf.uuid, UUID_LEN);
	memcpy(ch->was, t->hash, DIGEST_LEN);
	change_submit(t->m, ch);
}

static void submit(struct target *t)
{
	struct store_vtpm *want;

	if (!t->row) {
		keeper_open_group(t->m, t->group, on_gate, t);
		return;
	}
	want = malloc(sizeof(*want));
	if (want) {
		*want = *t->row;
		want->launch = t->want.mode;
		want->rules = t->want.rules;
		configure_set(t->m, t->row, want, t->detail, reply_policy, t->c);
	} else {
		call_error(t->c, ERR_NOMEM, "out of memory");
	}
	free(want);
	target_free(t);
}

/* A word of a list; absent: *out stays. */
static int word_param(struct target *t, json_t *params, const char *key, const char *const *words, size_t n, uint8_t *out)
{
	json_t *j = json_object_get(params, key);

	if (!j || json_is_null(j))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (json_is_string(j) && !strcmp(json_string_value(j), words[i])) {
			*out = (uint8_t)i;
			return 0;
		}
	call_error(t->c, ERR_INVAL, "%s must be %s%s%s%s%s", key, words[0], n > 2 ? ", " : " or ", words[1], n > 2 ? " or " : "",
		   n > 2 ? words[2] : "");
	return ERR_INVAL;
}

void method_launch_policy(void *arg, struct call *c, json_t *params)
{
	struct target *t = target_of(arg, c, params);
	uint8_t mismatch = 0;
	struct buf b;
	int err;

	if (!t)
		return;
	err = rules_open(&t->want.rules, &b, &mismatch);
	if (err || word_param(t, params, "launch", launch_words, LAUNCH_OFF + 1, &t->want.mode) ||
	    word_param(t, params, "mismatch", mismatch_words, MISMATCH_SERVE + 1, &mismatch)) {
		target_free(t);
		return;
	}
	if (json_is_string(json_object_get(params, "mismatch")))
		err = rules_set_mismatch(&t->want.rules, mismatch);
	snprintf(t->detail, sizeof(t->detail), "launch: %s, mismatch: %s", launch_words[t->want.mode], mismatch_words[mismatch]);
	if (!err) {
		submit(t);
		return;
	}
	call_error(c, err, "there is no room for it");
	target_free(t);
}

/* What LaunchAllow names: a digest, or a key. mem: for its value. */
static int rule_param(struct target *t, json_t *params, uint8_t mem[static LAUNCH_KEY_MAX], struct rule *e)
{
	const char *digest = json_string_value(json_object_get(params, "digest"));
	const char *key = json_string_value(json_object_get(params, "key"));

	e->value = mem;
	e->len = DIGEST_LEN;
	if (digest && !key && strlen(digest) == 2 * DIGEST_LEN && !hex_decode(digest, mem, DIGEST_LEN)) {
		e->kind = RULE_DIGEST;
		return 0;
	}
	e->len = LAUNCH_KEY_MAX;
	if (key && !digest && !rules_key_of_pem(key, mem, &e->len)) {
		e->kind = RULE_KEY;
		return 0;
	}
	call_error(t->c, ERR_INVAL,
		   "either a digest, SHA-256 in hex, or a public key in PEM, RSA of 2048 to 4096 bits or ECC P-256, P-384 or P-521, must be there");
	return ERR_INVAL;
}

static void describe_change(struct target *t, const struct rule *e, bool removed)
{
	char text[2 * DIGEST_LEN + 1] = "";
	uint8_t hash[DIGEST_LEN];

	if (e->kind == RULE_DIGEST)
		memcpy(hash, e->value, DIGEST_LEN);
	if ((e->kind == RULE_KEY && leaf_hash(e->value, e->len, hash)) || hex_encode(hash, DIGEST_LEN, text, sizeof(text)))
		text[0] = '\0';
	snprintf(t->detail, sizeof(t->detail), "launch %s %s: %s", e->kind == RULE_KEY ? "key" : "digest", text,
		 removed ? "no longer allowed" : "allowed");
}

void method_launch_allow(void *arg, struct call *c, json_t *params)
{
	struct target *t = target_of(arg, c, params);
	uint8_t mem[LAUNCH_KEY_MAX];
	struct rule e;
	bool remove;
	int err;

	if (!t)
		return;
	if (bool_param(c, params, "remove", &remove) || rule_param(t, params, mem, &e)) {
		target_free(t);
		return;
	}
	err = remove ? rules_remove(&t->want.rules, &e) : rules_add(&t->want.rules, &e);
	if (err) {
		call_error(c, err,
			   err == ERR_EXISTS   ? "it is allowed already" :
			   err == ERR_NOTFOUND ? "it is not among what is allowed" :
						 "there is no room for more: allow a key that signs launches");
		target_free(t);
		return;
	}
	describe_change(t, &e, remove);
	submit(t);
}
