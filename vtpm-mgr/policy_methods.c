/* SPDX-License-Identifier: BSD-2-Clause */
/* What would unseal a group, and the PCR sets that do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"

struct policy_call *policy_begin(struct mgr *m, struct call *c, json_t *params, const char *action)
{
	json_t *group = json_object_get(params, "group");
	const char *name = !group || json_is_null(group) ? DEFAULT_GROUP : json_string_value(group);
	struct group *g = name && name_valid(name) ? group_find(m, name) : NULL;
	struct policy_call *p = g ? calloc(1, sizeof(*p)) : NULL;

	if (!g)
		call_error(c, ERR_NOTFOUND, "there is no such group; see vtpmctl group list");
	else if (!p)
		call_error(c, ERR_NOMEM, "out of memory");
	if (!p)
		return NULL;
	p->m = m;
	p->c = c;
	p->g = g;
	p->action = action;
	sets_load(m, g->name, &p->sets);
	p->installed = sets_count(&p->sets);
	return p;
}

static void policy_end(struct policy_call *p)
{
	if (p->viewer)
		p->m->viewer_looks = false;
	free(p);
}

void policy_fail(struct policy_call *p, int code, const char *text)
{
	if (p->action)
		mgr_audit(p->m, p->c, p->action, NULL, code, p->g->name);
	call_error(p->c, code, "group %s: %s", p->g->name, text[0] ? text : err_text(code));
	policy_end(p);
}

void policy_done(struct policy_call *p, json_t *reply)
{
	if (p->action)
		mgr_audit(p->m, p->c, p->action, NULL, 0, p->g->name);
	call_reply(p->c, reply);
	policy_end(p);
}

int policy_set_param(struct policy_call *p, json_t *params, bool needed)
{
	json_t *set = json_object_get(params, "set");
	char why[TEXT_MAX + 1];

	if (!needed && (!set || json_is_null(set)))
		return 0;
	if (pcr_set_from_json(set, &p->file, why)) {
		policy_fail(p, ERR_INVAL, why);
		return ERR_INVAL;
	}
	if (!p->file.set.signature_len || !p->file.set.version) {
		policy_fail(p, ERR_INVAL, "the PCR set is not signed: vtpmctl policy sign does that");
		return ERR_INVAL;
	}
	if (strcmp(p->file.group, p->g->name) != 0) {
		policy_fail(p, ERR_INVAL, "the PCR set is for another group");
		return ERR_INVAL;
	}
	p->has_file = true;
	return 0;
}

int policy_request(struct policy_call *p, const struct set_list *sets, struct buf *b)
{
	int err = group_row_hash(p->m, p->g, p->was);

	return err ? err : group_request(p->m, p->g, sets->mem, sets->len, b);
}

/* ---- answers ---- */

static json_t *describe_key(const struct policy_key *k)
{
	uint8_t name[POLICY_NAME_LEN];
	char hex[2 * POLICY_NAME_LEN + 1];

	if (!k->len || policy_key_name(k, name) || hex_encode(name, sizeof(name), hex, sizeof(hex)))
		return NULL;
	return json_string(hex);
}

static json_t *describe_mask(uint32_t mask)
{
	json_t *pcrs = json_array();

	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (mask >> i & 1)
			json_array_append_new(pcrs, json_integer(i));
	return pcrs;
}

/* The sets in the order in which they were looked at: the installed ones, then the one that came. */
static json_t *describe_sets(const struct policy_call *p, const struct set_list *l, const struct policy_look *look)
{
	static const char *const words[] = {"opens", "other-boot", "revoked", "unsigned", "empty", "narrow"};
	json_t *list = json_array();
	struct pcr_set s;
	struct buf b;

	buf_wrap(&b, l->mem, l->len);
	for (unsigned i = 0; i < look->n && !pcr_set_decode(&b, &s); i++)
		json_array_append_new(list, json_pack("{s:I, s:s, s:o, s:b, s:s, s:s}", "version", (json_int_t)s.version, "description",
						      s.text, "pcrs", describe_mask(s.mask), "installed", (int)(i < p->installed),
						      "verdict", words[look->sets[i].verdict], "text", look->sets[i].text));
	return list;
}

static json_t *describe_policy(const struct policy_call *p, const struct set_list *l, const struct policy_look *look)
{
	uint8_t mem[SEALED_ROOT_MAX];
	struct sealed_root root;
	char counter[16];
	json_t *j;

	if (group_root(p->m, p->g, mem, &root))
		return NULL;
	j = json_pack("{s:s, s:s, s:o, s:b, s:b, s:o, s:o}", "group", p->g->name, "kind",
		      root.policy.kind == POLICY_SIGNED ? "signed" : "fixed", "pcrs", describe_mask(root.policy.mask), "insecure_pcrs",
		      (int)(root.policy.flags & SEAL_INSECURE_PCRS), "opens", (int)look->opens, "now",
		      pcr_values_to_json((1u << PCR_COUNT) - 1u, look->pcr), "sets", describe_sets(p, l, look));
	if (!j)
		return NULL;
	if (look->reason[0])
		json_object_set_new(j, "reason", json_string(look->reason));
	if (root.policy.recovery.len)
		json_object_set_new(j, "recovery_key", describe_key(&root.policy.recovery));
	if (root.policy.kind == POLICY_FIXED)
		return j;
	snprintf(counter, sizeof(counter), "0x%08x", root.policy.counter);
	json_object_set_new(j, "policy_key", describe_key(&root.policy.signer));
	json_object_set_new(j, "counter", json_string(counter));
	json_object_set_new(j, "minimum", json_integer(look->minimum));
	return j;
}

static int read_look(const struct keeper_reply *r, struct policy_look *look)
{
	struct buf b;

	if (r->code)
		return r->code;
	buf_wrap(&b, r->result, r->result_len);
	return policy_look_decode(&b, look) || buf_left(&b) ? ERR_PROTO : 0;
}

/* With the set that came, if there is one, behind those that are installed. */
static void ask_look(struct policy_call *p, keeper_done *done)
{
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;
	int err = 0;

	p->next = p->sets;
	if (p->has_file)
		err = sets_add(&p->next, &p->file.set);
	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = policy_request(p, &p->next, &b);
	if (!err)
		err = buf_put_u32le(&b, p->version);
	if (err)
		policy_fail(p, err, err == ERR_AUTH ? "its row in the store is damaged" : "");
	else
		keeper_ask(p->m, KEEPER_POLICY_LOOK, &b, done, p);
}

static void on_look(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	struct policy_look look;
	int err = read_look(r, &look);
	json_t *j = err ? NULL : describe_policy(p, &p->next, &look);

	if (j)
		policy_done(p, json_pack("{s:o}", "policy", j));
	else
		policy_fail(p, err ? err : ERR_AUTH, r->text);
}

/* It takes commands of the chip, which commits wait for: viewers have one of them on its way, all together. */
void method_policy_show(void *arg, struct call *c, json_t *params)
{
	const bool viewer = call_role(c) < ROLE_OPERATOR;
	struct mgr *m = arg;
	struct policy_call *p;

	if (viewer && m->viewer_looks) {
		call_error(c, ERR_BUSY, "the TPM is being asked for another viewer; try again");
		return;
	}
	p = policy_begin(m, c, params, NULL);
	if (!p)
		return;
	p->viewer = m->viewer_looks = viewer;
	ask_look(p, on_look);
}

/* A version; 0 if it is absent and not needed. Not 0: the call has been answered, and p is gone. */
static int version_param(struct policy_call *p, json_t *params, bool needed)
{
	json_t *j = json_object_get(params, "version");
	json_int_t n = json_integer_value(j);

	if (!needed && (!j || json_is_null(j)))
		return 0;
	if (!json_is_integer(j) || n < 1 || n > UINT32_MAX) {
		policy_fail(p, ERR_INVAL, "version must be a whole number from 1 on");
		return ERR_INVAL;
	}
	p->version = (uint32_t)n;
	return 0;
}

void method_policy_plan(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, NULL);

	if (p && !policy_set_param(p, params, false) && !version_param(p, params, false))
		ask_look(p, on_look);
}

/* ---- installing and removing ---- */

struct superseded {
	const struct policy_look *look;
	const struct pcr_set *by;
};

/* What can never unseal again, or says the same as the new one. */
static bool still_wanted(const struct pcr_set *s, unsigned i, void *arg)
{
	const struct superseded *old = arg;

	if (old->look->sets[i].verdict != SET_OPENS && old->look->sets[i].verdict != SET_OTHER_BOOT)
		return false;
	return s->mask != old->by->mask || memcmp(s->pcr, old->by->pcr, sizeof(s->pcr)) != 0;
}

static void on_apply(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	struct policy_look look;
	struct superseded old = {.look = &look, .by = &p->file.set};
	int err = read_look(r, &look);
	const char *text = r->text;

	if (!err && look.n != p->installed + 1) {
		err = ERR_WRONG_STATE;
		text = "it is sealed to fixed values, and takes no PCR sets; vtpmctl policy set changes that";
	} else if (!err && look.sets[p->installed].verdict > SET_OTHER_BOOT) {
		err = ERR_AUTH;
		text = look.sets[p->installed].text;
	}
	if (!err) {
		sets_filter(&p->sets, still_wanted, &old);
		err = sets_add(&p->sets, &p->file.set);
		if (!err)
			err = sets_save(p->m, p->g->name, &p->sets);
		text = err == ERR_FULL ? "four PCR sets are installed that could all be needed; vtpmctl policy remove takes one away"
				       : store_why(p->m->store);
	}
	if (err) {
		policy_fail(p, err, text);
		return;
	}
	p->has_file = false;
	p->installed = sets_count(&p->sets);
	mgr_audit(p->m, p->c, p->action, NULL, 0, p->g->name);
	p->action = NULL;
	ask_look(p, on_look);
}

void method_policy_apply(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, "policy-apply");

	if (p && !policy_set_param(p, params, true))
		ask_look(p, on_apply);
}

static bool of_another_version(const struct pcr_set *s, unsigned i, void *arg)
{
	(void)i;
	return s->version != *(const uint32_t *)arg;
}

void method_policy_remove(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, "policy-remove");
	int err;

	if (!p || version_param(p, params, true))
		return;
	sets_filter(&p->sets, of_another_version, &p->version);
	if (sets_count(&p->sets) == p->installed) {
		policy_fail(p, ERR_NOTFOUND, "no PCR set of that version is installed");
		return;
	}
	err = sets_save(p->m, p->g->name, &p->sets);
	if (err)
		policy_fail(p, err, store_why(p->m->store));
	else
		policy_done(p, NULL);
}

static void on_raised(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	uint32_t minimum = 0;
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code || buf_get_u32le(&b, &minimum))
		policy_fail(p, r->code ? r->code : ERR_PROTO, r->text);
	else
		policy_done(p, json_pack("{s:I}", "minimum", (json_int_t)minimum));
}

/* Only the owner's authorisation raises it, which the keeper has once the anchors are open. */
static void on_raise_gate(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (r->code || policy_request(p, &p->sets, &b) || buf_put_u32le(&b, p->version))
		policy_fail(p, r->code ? r->code : ERR_AUTH, r->text);
	else
		keeper_ask(p->m, KEEPER_POLICY_RAISE, &b, on_raised, p);
}

void method_policy_raise(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, "policy-raise");

	if (p && !version_param(p, params, true))
		keeper_open_group(p->m, DEFAULT_GROUP, on_raise_gate, p);
}

/* ---- trying ---- */

static void on_tested(void *arg, const struct keeper_reply *r)
{
	struct policy_call *p = arg;

	if (r->code)
		policy_fail(p, r->code, r->text);
	else
		policy_done(p, json_pack("{s:s}", "group", p->g->name));
}

void method_policy_test(void *arg, struct call *c, json_t *params)
{
	struct policy_call *p = policy_begin(arg, c, params, NULL);

	if (p)
		group_open(p->m, p->g, on_tested, p);
}
