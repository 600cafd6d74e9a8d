/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certify: a vTPM that is off gets its certificates anew, those of before are revoked. A worker opens its state, has the TPM make the keys of its
 * own seeds again, and the keeper certify them; state, certificates, what is revoked and the new record go into the store in one commit.
 *
 *	group open -> CA open -> KEY_HAND -> the worker -> STORE_UPDATE
 */
#include "vtpm-mgr/certs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/enroll.h"

struct certifying {
	struct certifying *next;
	struct mgr *m;
	struct call *call;
	struct vtpm *of; /* not powered on, and in no list: what its state is read as */
	struct store_certs was;
	struct certs certs; /* kinds and serial; then what is certified */
	struct worker w;
	bool done, storing, exited;
	int32_t code;
	char text[TEXT_MAX + 1];
};

const char *vtpm_held_back(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	for (const struct certifying *c = m->certifying; c; c = c->next)
		if (!memcmp(c->of->row.uuid, uuid, UUID_LEN))
			return "is being certified";
	return restore_holds(m, uuid) ? "is being restored" : NULL;
}

static void certify_end(struct certifying *c, int code, const char *text)
{
	struct mgr *m = c->m;

	for (struct certifying **at = &m->certifying; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	mgr_audit(m, c->call, "certify", &c->of->row, code, code ? text : NULL);
	if (code)
		call_error(c->call, code, "%s is not certified: %s", c->of->row.name, text && text[0] ? text : err_text(code));
	else
		call_reply(c->call, json_pack("{s:o}", "vtpm", describe_vtpm(m, &c->of->row, true)));
	free(c->of);
	free(c);
	mgr_check_drained(m);
}

/* ---- what the worker says ---- */

static void settle(struct certifying *c)
{
	if (!c->exited || c->storing)
		return;
	if (!c->done)
		certify_end(c, ERR_ENGINE, "its worker ended unexpectedly");
	else
		certify_end(c, c->code, c->text);
}

static void on_stored(void *arg, int code)
{
	struct certifying *c = arg;

	c->storing = false;
	c->code = code;
	if (code)
		snprintf(c->text, sizeof(c->text), "it cannot be stored: %s", store_why(c->m->store));
	settle(c);
}

static int submit(struct certifying *c, const struct backend_provisioned *b)
{
	struct store_vtpm *row = &c->of->row;
	struct change *ch = change_new(STORE_UPDATE, on_stored, c);
	int err = ch ? 0 : ERR_NOMEM;

	if (!err)
		err = certs_take(&c->certs, row, b, false);
	if (!err)
		err = certs_revoke(c->m, &ch->metas, &c->was, REVOKED_SUPERSEDED);
	if (!err)
		err = certs_put(&ch->metas, &ch->leaf, row, &c->certs);
	if (!err)
		ch->mem = malloc(b->sealed_len);
	if (err || !ch->mem) {
		if (ch)
			change_free(ch);
		return err ? err : ERR_NOMEM;
	}
	memcpy(ch->mem, b->sealed, b->sealed_len);
	ch->c.row = row;
	ch->c.version = b->version;
	ch->c.sealed = ch->mem;
	ch->c.sealed_len = b->sealed_len;
	memcpy(ch->c.uuid, row->uuid, UUID_LEN);
	row->version = b->version;
	c->storing = true;
	change_submit(c->m, ch);
	return 0;
}

static int on_provisioned(void *arg, struct ipc_msg *msg)
{
	struct certifying *c = arg;
	struct backend_provisioned b;
	int err = backend_provisioned_decode(&msg->body, &b);

	if (err || c->done)
		return ERR_PROTO;
	c->done = true;
	if (!b.cert_len[AK_ECC_P256]) {
		c->code = ERR_ENGINE;
		snprintf(c->text, sizeof(c->text), "its TPM has no room for an attestation key");
		return 0;
	}
	if (!b.rows)
		log_warn("%s: there is no room in its NV for evidence: its guest cannot ask for it", c->of->row.name);
	c->code = submit(c, &b);
	return c->code == ERR_PROTO ? ERR_PROTO : 0;
}

static int on_failed(void *arg, struct ipc_msg *msg)
{
	struct certifying *c = arg;
	struct backend_failed f;
	int err = backend_failed_decode(&msg->body, &f);

	if (err || c->done)
		return ERR_PROTO;
	c->done = true;
	c->code = f.code;
	snprintf(c->text, sizeof(c->text), "%s", f.text);
	return 0;
}

static const struct ipc_rule rules[] = {
	{ BACKEND_PROVISIONED, 1, BACKEND_PROVISIONED_MIN, BACKEND_PROVISIONED_MAX, 0, 0, on_provisioned },
	{ BACKEND_FAILED, 1, BACKEND_FAILED_MIN, BACKEND_FAILED_MAX, 0, 0, on_failed },
};

static void on_exited(void *arg, uint32_t status)
{
	struct certifying *c = arg;

	(void)status;
	c->exited = true;
	settle(c);
}

/* ---- step by step ---- */

static int start_worker(struct certifying *c, const char **why)
{
	const struct store_vtpm *row = &c->of->row;
	struct backend_start s = { .flags = c->certs.kinds == ALL_KINDS ? RUN_CERTIFY : RUN_CERTIFY_AK, .state_max = row->state_max };
	uint8_t *sealed = malloc(SEALED_STATE_MAX);
	int err = sealed ? vtpm_state_get(c->of, sealed, &s.sealed_len, why) : ERR_NOMEM;

	memcpy(s.uuid, row->uuid, UUID_LEN);
	memcpy(s.from_uuid, row->uuid, UUID_LEN);
	s.version = c->of->version;
	s.sealed = sealed;
	c->w.rules = rules;
	c->w.nrules = ARRAY_LEN(rules);
	c->w.state = 1;
	c->w.exited = on_exited;
	c->w.arg = c;
	if (!err)
		err = worker_start(c->m, &c->w, c->w.token, &(struct worker_guest){ .kind = SERVE_NOBODY, .fds = { -1 }, .ours = -1 }, &s);
	free(sealed);
	return err;
}

static void on_handed(void *arg, const struct keeper_reply *r)
{
	struct certifying *c = arg;
	const char *why = NULL;
	int err = r->code ? r->code : r->result_len != SERIAL_LEN ? ERR_PROTO : c->m->draining ? ERR_CLOSED : 0;

	if (err) {
		certify_end(c, err, r->text);
		return;
	}
	memcpy(c->certs.serial, r->result, SERIAL_LEN);
	err = start_worker(c, &why);
	if (err) {
		keeper_drop(c->m, c->w.token);
		certify_end(c, err, err == ERR_AUTH ? why : NULL);
	}
}

static void on_ca(void *arg, int code, const char *text)
{
	struct certifying *c = arg;
	const struct store_vtpm *row = &c->of->row;
	struct keeper_key_hand h = { .wrapped = row->wrapped, .wrapped_len = row->wrapped_len, .certify = c->certs.kinds };
	uint8_t mem[KEEPER_KEY_HAND_MAX];
	struct buf b;

	if (code) {
		certify_end(c, code, text);
		return;
	}
	c->w.token = h.token = worker_token_next(c->m);
	buf_init(&b, mem, sizeof(mem));
	if (vtpm_binding(row, &h.binding) || keeper_key_hand_encode(&b, &h))
		certify_end(c, ERR_RANGE, "its key cannot be bound");
	else
		keeper_ask(c->m, KEEPER_KEY_HAND, &b, on_handed, c);
}

/* The journal is open. */
static void on_group(void *arg, const struct keeper_reply *r)
{
	struct certifying *c = arg;
	const struct leaf *leaf = leaves_find(&c->m->continuity.leaves, c->of->row.uuid);
	int err = r->code ? r->code : leaf ? certs_load(c->m->store, &leaf->l, &c->of->row, &c->certs) : ERR_AUTH;

	if (err) {
		certify_end(c, err, r->code ? r->text : err == ERR_AUTH ? CERTS_NOT_VOUCHED : NULL);
		return;
	}
	c->was = leaf->l.certs;
	keeper_open_ca(c->m, on_ca, c);
}

static void certify_begin(struct mgr *m, const struct store_vtpm *row, struct call *call)
{
	struct certifying *c = calloc(1, sizeof(*c));
	struct vtpm *of = calloc(1, sizeof(*of));

	if (!c || !of) {
		free(c);
		free(of);
		call_error(call, ERR_NOMEM, "out of memory");
		return;
	}
	of->m = m;
	of->row = *row;
	*c = (struct certifying){ .m = m, .call = call, .of = of, .next = m->certifying };
	c->w.control = c->w.store = c->w.control_io.fd = c->w.store_io.fd = -1;
	m->certifying = c;
	keeper_open_group(m, row->group, on_group, c);
}

void certify_vtpm(struct mgr *m, const struct store_vtpm *row, struct call *call)
{
	const struct vtpm *v = vtpm_find(m, row->uuid);
	const char *why = vtpm_why_quarantined(m, row);

	if (why)
		call_error(call, ERR_QUARANTINE, "%s is quarantined: %s", row->name, why);
	else if (v && v->state != VTPM_FAILED)
		call_error(call, ERR_WRONG_STATE, "%s is %s; stop it first", row->name, vtpm_state_word(v));
	else if (vtpm_held_back(m, row->uuid))
		call_error(call, ERR_BUSY, "%s %s", row->name, vtpm_held_back(m, row->uuid));
	else if (changes_destroy(m, row->id) || changes_configure(m, row->uuid))
		call_error(call, ERR_BUSY, "%s is being destroyed or changed", row->name);
	else if (m->reseal || m->draining)
		call_error(call, ERR_BUSY, "%s: its group's root is being rotated, or the manager is stopping; try again", row->name);
	else
		certify_begin(m, row, call);
}

void certify_close(struct mgr *m)
{
	for (struct certifying *c = m->certifying; c; c = c->next)
		if (c->w.control >= 0)
			worker_kill(&c->w);
}
