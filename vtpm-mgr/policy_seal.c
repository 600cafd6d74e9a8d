/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another policy for the same root, and the recovery key's way in. The sealed root goes to the store with its leaf, in one commit.
 * The sets that the new policy needs are there before it, and those of the old one go after it: a crash in between leaves both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"

/* ---- the new seal becomes durable ---- */

static void on_sealed_stored(void *arg, int code)
{
	struct policy_call *p = arg;

	if (code) {
		policy_fail(p, code, code == ERR_WRONG_STATE ? "its row was changed meanwhile: look, and give the order again" : store_why(p->m->store));
		return;
	}
	group_policy_set(p->g, &p->want);
	if (sets_save(p->m, p->g->name, &p->next))
		log_warn("group %s: PCR sets of its former policy are still in the store; they open nothing", p->g->name);
	policy_done(p, json_pack("{s:o}", "group", describe_group(p->g)));
}

/* The row as the keeper gave it; the mode stays what the journal says. */
static int submit_seal(struct policy_call *p, const struct keeper_reply *r)
{
	struct change *ch = change_new(STORE_GROUP_SEAL, on_sealed_stored, p);
	struct sealed_root root;
	struct buf b;

	if (!ch)
		return ERR_NOMEM;
	ch->mem = malloc(r->result_len + 1);
	if (ch->mem)
		memcpy(ch->mem, r->result, r->result_len);
	buf_wrap(&b, ch->mem, r->result_len);
	if (!ch->mem || sealed_root_decode(&b, &root) || buf_left(&b) ||
	    leaf_of_group(p->g->name, ch->mem, r->result_len, p->g->mode, &ch->leaf)) {
		change_free(ch);
		return ERR_PROTO;
	}
	p->want = root.policy; /* for mask and flags; its views end with the change */
	ch->c.group = p->g->name;
	ch->c.sealed = ch->mem;
	ch->c.sealed_len = r->result_len;
	memcpy(ch->c.uuid, ch->leaf.uuid, UUID_LEN);
	memcpy(ch->was, p->was, DIGEST_LEN);
	change_submit(p->m, ch);
	return 0;
}

static void on_sealed(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	int err = r->code ? r->code : submit_seal(p, r);

	if (err)
		policy_fail(p, err, r->text);
}

/* ---- PolicySet ---- */

/* A TPMT_PUBLIC in hex; absent: the key that is, "": none. */
static int key_param(struct policy_call *p, json_t *params, const char *name, uint8_t mem[static POLICY_KEY_MAX], struct policy_key *k)
{
	json_t *j = json_object_get(params, name);
	const char *hex = json_string_value(j);

	if (!j || json_is_null(j)) {
		memcpy(mem, k->pub, k->len);
		k->pub = mem;
		return 0;
	}
	k->pub = mem;
	k->len = hex ? strlen(hex) / 2 : 0;
	if (hex && !hex[0])
		return 0;
	if (!hex || strlen(hex) != 2 * k->len || k->len > POLICY_KEY_MAX || hex_decode(hex, mem, k->len) || !policy_key_valid(k)) {
		policy_fail(p, ERR_INVAL, "a key must be a TPMT_PUBLIC, in hex, of ECC P-256 or RSA with 2048, 3072 or 4096 bits, as vtpmctl "
					  "makes it of a PEM file");
		return ERR_INVAL;
	}
	return 0;
}

/* What stays is what is not said. */
static int want_param(struct policy_call *p, json_t *params)
{
	const char *kind = json_string_value(json_object_get(params, "kind"));
	json_t *insecure = json_object_get(params, "insecure_pcrs");

	if (kind)
		p->want.kind = strcmp(kind, "signed") ? POLICY_FIXED : POLICY_SIGNED;
	if (kind && strcmp(kind, "signed") != 0 && strcmp(kind, "fixed") != 0) {
		policy_fail(p, ERR_INVAL, "kind must be fixed or signed");
		return ERR_INVAL;
	}
	if (json_is_boolean(insecure))
		p->want.flags = (p->want.flags & SEAL_SHARE) | (json_is_true(insecure) ? SEAL_INSECURE_PCRS : 0);
	if (key_param(p, params, "policy_key", p->keys[0], &p->want.signer) ||
	    key_param(p, params, "recovery_key", p->keys[1], &p->want.recovery) || policy_set_param(p, params, false))
		return ERR_INVAL;
	if (p->want.kind == POLICY_FIXED) {
		p->want.signer.len = 0;
		p->want.counter = 0;
	} else {
		p->want.counter = p->has_file ? p->file.counter : p->want.counter;
		memset(p->want.pcr, 0, sizeof(p->want.pcr));
		p->want.mask = p->has_file ? p->file.set.mask : p->want.mask;
	}
	if (p->want.kind == POLICY_FIXED || (p->want.signer.len && p->want.counter))
		return 0;
	policy_fail(p, ERR_INVAL, "a signed policy needs a policy key and a PCR set that it has signed");
	return ERR_INVAL;
}

/* The sets after it: the one that came, or those that are there. */
static int choose_sets(struct policy_call *p)
{
	struct set_list both = p->sets;
	int err = 0;

	p->next.len = 0;
	if (p->want.kind == POLICY_FIXED)
		return 0;
	if (!p->has_file) {
		p->next = p->sets;
		return 0;
	}
	err = sets_add(&p->next, &p->file.set);
	if (!err)
		err = sets_add(&both, &p->file.set);
	while (!err && sets_count(&both) > PCR_SETS_MAX) /* there is room for the new one: the others go anyway */
		both = p->next;
	return err ? err : sets_save(p->m, p->g->name, &both);
}

static void on_set_gate(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	struct keeper_policy_seal to = {.policy = p->want};
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;
	int err = r->code ? r->code : choose_sets(p);

	if (err) {
		policy_fail(p, err, r->code ? r->text : store_why(p->m->store));
		return;
	}
	to.sets = p->next.mem;
	to.sets_len = p->next.len;
	buf_init(&b, mem, sizeof(mem));
	if (policy_request(p, &p->sets, &b) || keeper_policy_seal_encode(&b, &to))
		policy_fail(p, ERR_AUTH, "its row in the store is damaged");
	else
		keeper_ask(p->m, KEEPER_POLICY_SEAL, &b, on_sealed, p);
}

static int load_policy(struct policy_call *p, uint8_t mem[static SEALED_ROOT_MAX])
{
	struct sealed_root root;
	int err = group_root(p->m, p->g, mem, &root);

	if (err)
		policy_fail(p, err, "its row in the store is damaged");
	else
		p->want = root.policy;
	return err;
}

void method_policy_set(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, "policy-set");
	uint8_t mem[SEALED_ROOT_MAX];
	uint32_t mask;

	if (!p)
		return;
	if (pcr_param(c, params, &mask)) {
		free(p);
		return;
	}
	if (load_policy(p, mem))
		return;
	if (json_is_array(json_object_get(params, "pcrs")))
		p->want.mask = mask;
	if (!want_param(p, params))
		keeper_open_group(p->m, p->g->name, on_set_gate, p);
}

/* ---- recovery ---- */

static void on_challenge(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	char hex[2 * 64 + 1];

	if (r->code || hex_encode(r->result, r->result_len, hex, sizeof(hex)))
		policy_fail(p, r->code ? r->code : ERR_PROTO, r->text);
	else
		policy_done(p, json_pack("{s:s, s:s}", "group", p->g->name, "nonce", hex));
}

static void ask_recovery(struct policy_call *p, uint32_t type, keeper_done *done)
{
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (policy_request(p, &p->sets, &b) || (type == KEEPER_RECOVER && keeper_recover_encode(&b, &p->recover)))
		policy_fail(p, ERR_AUTH, "its row in the store is damaged");
	else
		keeper_ask(p->m, type, &b, done, p);
}

void method_policy_challenge(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, "recovery-challenge");

	if (p)
		ask_recovery(p, KEEPER_RECOVER_BEGIN, on_challenge);
}

/* The group is open. Of a fixed policy there is a new seal, to what the host is now; of a signed one a set has to follow. */
static void on_recovered(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;

	if (r->code) {
		policy_fail(p, r->code, r->text);
		return;
	}
	log_warn("group %s: its root was unsealed by the recovery key", p->g->name);
	if (p->g->open || !(p->g->flags & SEAL_SHARE)) /* otherwise it waits for its second share */
		group_recovered(p->m, p->g);
	if (r->result_len)
		on_sealed(p, r);
	else
		policy_done(p, json_pack("{s:o}", "group", describe_group(p->g)));
}

static int recover_param(struct policy_call *p, json_t *params)
{
	const char *hex = json_string_value(json_object_get(params, "signature"));
	json_int_t seconds = json_integer_value(json_object_get(params, "seconds"));

	p->recover.scheme = scheme_of_word(json_string_value(json_object_get(params, "scheme")));
	p->recover.signature = p->signature;
	p->recover.signature_len = hex ? strlen(hex) / 2 : 0;
	if (seconds > 0 && seconds <= INT32_MAX && signature_valid(p->recover.scheme, p->recover.signature_len) &&
	    !hex_decode(hex, p->signature, p->recover.signature_len)) {
		p->recover.seconds = (uint32_t)seconds;
		return 0;
	}
	policy_fail(p, ERR_INVAL, "scheme, signature and seconds must be those of an answer, as vtpmctl policy sign writes it");
	return ERR_INVAL;
}

void method_policy_recover(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, "recovery");

	if (p && !recover_param(p, params))
		ask_recovery(p, KEEPER_RECOVER, on_recovered);
}
