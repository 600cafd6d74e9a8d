/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * New vTPMs. A worker backend manufactures a TPM with its endorsement keys and has the keeper
 * certify them, or takes one over from swtpm as it is, and hands back a sealed state; the manager inserts it in one transaction and
 * only then answers. Making RSA keys takes long, so a few instances are made ahead: they have
 * keys, but no name and no certificates, and belong to nobody. They are in memory only, and each leaves
 * the pool before it is used: on a disk one could be put back, and two vTPMs have the same seeds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/log.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/reroot.h"

struct pool_tpm {
	struct pool_tpm *next;
	uint8_t uuid[UUID_LEN];
	uint8_t wrapped[WRAPPED_KEY_LEN];
	uint64_t version;
	size_t sealed_len;
	uint8_t sealed[];
};

struct provision {
	struct provision *next;
	struct mgr *m;
	struct call *call;	       /* who asked for it; */
	struct provision_order *order; /* or this one; neither: for the pool */
	struct store_vtpm row;
	struct certs certs;
	bool done; /* the worker has said how it went */
	bool storing; /* what it made is on its way to the store */
	bool exited;
	bool waits; /* for roots to be rotated */
	unsigned tries;
	struct pool_tpm *made; /* what it was made ahead as; NULL: it is made from nothing */
	struct import from;    /* swtpm's state that it becomes; no descriptors: none */
	struct worker w;
	int32_t failed_code;
	char failed_text[TEXT_MAX + 1];
};

static void provision_free(struct provision *p)
{
	for (struct provision **at = &p->m->provisions; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	import_close(&p->from);
	free(p->made);
	free(p);
}

static bool ahead(const struct provision *p)
{
	return !p->call && !p->order;
}

static void provision_answer(struct provision *p, int code, const char *text)
{
	struct mgr *m = p->m;

	if (p->order)
		p->order->done(p->order->arg, code, text, &p->row);
	else if (code)
		call_error(p->call, code, "%s: %s", p->row.name, text);
	else
		call_reply(p->call, json_pack("{s:o}", "vtpm", describe_vtpm(m, &p->row, true)));
}

static bool is_import(const struct provision *p)
{
	return p->from.nfds > 0;
}

/* Every key. An imported TPM keeps the certificates that its EKs have. */
static bool is_certified(const struct provision *p)
{
	return !ahead(p) && !is_import(p);
}

static uint8_t kinds(const struct provision *p)
{
	return (uint8_t)(ahead(p) ? 0 : is_import(p) ? AK_ONLY : ALL_KINDS);
}

/* Ends it: who asked is answered, and the pool may go on. */
static void provision_end(struct provision *p, int code, const char *text)
{
	struct mgr *m = p->m;

	if (!ahead(p)) {
		if (p->order)
			mgr_audit_for(m, p->order->uid, p->order->pid, "create", &p->row, code, text);
		else
			mgr_audit(m, p->call, is_import(p) ? "import" : "create", &p->row, code, text);
		if (!code)
			qemu_port_open(m, &p->row);
		provision_answer(p, code, text);
		m->pool_paused = false;
	} else if (code && !m->draining) {
		log_warn("no vTPM could be made ahead: %s (%s)", text, err_text(code));
		m->pool_paused = true;
	}
	provision_free(p);
	pool_refill(m);
	mgr_check_drained(m);
}

/* What a pool instance's key is bound to: no owner, no name. */
static int pool_binding(const uint8_t uuid[static UUID_LEN], struct key_binding *k)
{
	*k = (struct key_binding){ .group = DEFAULT_GROUP };
	memcpy(k->uuid, uuid, UUID_LEN);
	return 0;
}

static int provision_binding(const struct provision *p, struct key_binding *k)
{
	return ahead(p) ? pool_binding(p->row.uuid, k) : vtpm_binding(&p->row, k);
}

/* --- what the worker says --- */

const char *provision_twin(const struct mgr *m, const struct store_vtpm *row)
{
	for (const struct provision *o = m->provisions; o; o = o->next)
		if (&o->row != row && o->storing && import_is_twin(row, &o->row))
			return o->row.name;
	return NULL;
}

static int row_fill(struct provision *p, const struct backend_provisioned *b)
{
	char twin[NAME_MAX_LEN + 1];
	int err = certs_take(&p->certs, &p->row, b, is_certified(p));

	if (!err && is_import(p))
		err = import_find_twin(p->m, &p->row, twin);
	if (err == ERR_EXISTS)
		snprintf(p->failed_text, sizeof(p->failed_text), "this TPM is here already, as %s; destroy that first", twin);
	if (err)
		return err;
	p->row.created = (int64_t)time(NULL);
	p->row.version = b->version;
	p->row.sealed_len = (uint32_t)b->sealed_len;
	return 0;
}

static void on_exited(void *arg, uint32_t status);

/* It is durable and anchored, or not there. */
static void on_stored(void *arg, int code)
{
	struct provision *p = arg;

	p->storing = false;
	p->failed_code = code;
	if (code)
		snprintf(p->failed_text, sizeof(p->failed_text), "it cannot be stored: %s",
			 code == ERR_EXISTS ? err_text(code) : store_why(p->m->store));
	if (p->exited)
		on_exited(p, 0);
}

/* Row, state and leaf, in the next batch. */
static int submit(struct provision *p, const struct backend_provisioned *b)
{
	const struct group *g = group_find(p->m, p->row.group);
	int err = row_fill(p, b);
	struct change *ch = err || !g ? NULL : change_new(STORE_INSERT, on_stored, p);

	if (!ch)
		return err ? err : g ? ERR_NOMEM : ERR_NOTFOUND;
	ch->mem = malloc(b->sealed_len);
	if (!ch->mem) {
		change_free(ch);
		return ERR_NOMEM;
	}
	memcpy(ch->mem, b->sealed, b->sealed_len);
	ch->c.row = &p->row;
	ch->c.version = b->version;
	ch->c.sealed = ch->mem;
	ch->c.sealed_len = b->sealed_len;
	memcpy(ch->c.uuid, p->row.uuid, UUID_LEN);
	memcpy(ch->leaf.uuid, p->row.uuid, UUID_LEN);
	ch->leaf.epoch = p->row.epoch;
	ch->leaf.mode = g->mode;
	err = certs_put(&ch->metas, &ch->leaf, &p->row, &p->certs);
	if (err) {
		change_free(ch);
		return err;
	}
	p->storing = true;
	change_submit(p->m, ch);
	return 0;
}

static int pool_put(struct provision *p, const struct backend_provisioned *b)
{
	struct pool_tpm *made = malloc(sizeof(*made) + b->sealed_len);

	if (!made)
		return ERR_NOMEM;
	memcpy(made->uuid, p->row.uuid, UUID_LEN);
	memcpy(made->wrapped, p->row.wrapped, WRAPPED_KEY_LEN);
	made->version = b->version;
	made->sealed_len = b->sealed_len;
	memcpy(made->sealed, b->sealed, b->sealed_len);
	made->next = p->m->pool;
	p->m->pool = made;
	p->m->pool_count++;
	return 0;
}

static int on_provisioned(void *arg, struct ipc_msg *msg)
{
	struct provision *p = arg;
	struct backend_provisioned b;
	int err = backend_provisioned_decode(&msg->body, &b);

	if (!err && p->done)
		err = ERR_PROTO;
	if (err)
		return err;
	p->done = true;
	if (!b.rows)
		log_warn("%s: there is no room in its NV for evidence: its guest cannot ask for it", p->row.name);
	err = ahead(p) ? pool_put(p, &b) : submit(p, &b);
	p->failed_code = err;
	return err == ERR_PROTO ? err : 0;
}

static int on_failed(void *arg, struct ipc_msg *msg)
{
	struct provision *p = arg;
	struct backend_failed f;
	int err = backend_failed_decode(&msg->body, &f);

	if (!err && p->done) /* the row is in the store: what it says now must not deny it */
		err = ERR_PROTO;
	if (err)
		return err;
	p->done = true;
	p->failed_code = f.code;
	snprintf(p->failed_text, sizeof(p->failed_text), "%s", f.text);
	return 0;
}

static const struct ipc_rule rules[] = {
	{ BACKEND_PROVISIONED, 1, BACKEND_PROVISIONED_MIN, BACKEND_PROVISIONED_MAX, 0, 0, on_provisioned },
	{ BACKEND_FAILED, 1, BACKEND_FAILED_MIN, BACKEND_FAILED_MAX, 0, 0, on_failed },
};

static void provision_run(struct provision *p);

static void provision_failed(struct provision *p, int code, const char *text)
{
	if (code == ERR_TPM_LOST && p->tries++ == 0 && !p->m->draining)
		provision_run(p); /* the TPM went away in the middle; a new keeper may find it again */
	else
		provision_end(p, code, text[0] ? text : err_text(code));
}

static void on_exited(void *arg, uint32_t status)
{
	struct provision *p = arg;
	char text[80];

	p->exited = true;
	if (p->storing) /* it has done its part; the answer comes with the batch */
		return;
	if (p->done && !p->failed_code) {
		provision_end(p, 0, NULL);
		return;
	}
	if (!p->failed_code) {
		if (is_import(p) && WIFSIGNALED((int)status))
			snprintf(text, sizeof(text), "libtpms crashed on the state: it is damaged, or made to do harm");
		else
			snprintf(text, sizeof(text), "the worker ended unexpectedly (status %#x)", status);
		provision_failed(p, ERR_ENGINE, text);
		return;
	}
	snprintf(text, sizeof(text), "%s", err_text(p->failed_code));
	provision_failed(p, p->failed_code, p->failed_text[0] ? p->failed_text : text);
}

/* --- step by step --- */

static uint32_t run_flags(const struct provision *p)
{
	if (is_import(p))
		return RUN_IMPORT | RUN_CERTIFY_AK | RUN_SECRET(p->from.secret);
	return (p->made ? 0 : RUN_MANUFACTURE) | (is_certified(p) ? RUN_CERTIFY : 0);
}

static int start_worker(struct provision *p)
{
	const struct pool_tpm *made = p->made;
	struct backend_start s = { .flags = run_flags(p),
				   .state_max = p->row.state_max,
				   .sealed = made ? made->sealed : NULL,
				   .sealed_len = made ? made->sealed_len : 0,
				   .version = made ? made->version : 0 };

	memcpy(s.uuid, p->row.uuid, UUID_LEN);
	memcpy(s.from_uuid, made ? made->uuid : p->row.uuid, UUID_LEN);
	p->done = p->exited = false;
	p->failed_code = 0;
	p->failed_text[0] = '\0';
	p->w.rules = rules;
	p->w.nrules = ARRAY_LEN(rules);
	p->w.state = 1;
	p->w.exited = on_exited;
	p->w.arg = p;
	p->w.gives = p->from.fds;
	p->w.ngives = p->from.nfds;
	return worker_start(p->m, &p->w, p->w.token, &(struct worker_guest){ .kind = SERVE_NOBODY, .fds = { -1 }, .ours = -1 }, &s);
}

static void on_handed(void *arg, const struct keeper_reply *r)
{
	struct provision *p = arg;
	int err;

	if (r->code) {
		provision_failed(p, r->code, r->text);
		return;
	}
	p->certs.kinds = kinds(p);
	if (p->certs.kinds && r->result_len == SERIAL_LEN)
		memcpy(p->certs.serial, r->result, SERIAL_LEN);
	err = p->m->draining ? ERR_CLOSED : p->certs.kinds && r->result_len != SERIAL_LEN ? ERR_PROTO : start_worker(p);
	if (err) {
		keeper_drop(p->m, p->w.token);
		provision_failed(p, err, err_text(err));
	}
}

static void hand(struct provision *p)
{
	struct keeper_key_hand h = { .wrapped = p->row.wrapped, .wrapped_len = WRAPPED_KEY_LEN, .certify = kinds(p) };
	uint8_t mem[KEEPER_KEY_HAND_MAX];
	struct buf b;

	p->w.token = h.token = worker_token_next(p->m);
	buf_init(&b, mem, sizeof(mem));
	if (provision_binding(p, &h.binding) || keeper_key_hand_encode(&b, &h))
		provision_end(p, ERR_RANGE, "its key cannot be bound");
	else
		keeper_ask(p->m, KEEPER_KEY_HAND, &b, on_handed, p);
}

static void on_key(void *arg, const struct keeper_reply *r)
{
	struct provision *p = arg;

	if (r->code || r->result_len != WRAPPED_KEY_LEN) {
		provision_failed(p, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(p->row.wrapped, r->result, WRAPPED_KEY_LEN);
	p->row.wrapped_len = WRAPPED_KEY_LEN;
	hand(p);
}

static int key_request(struct provision *p, struct buf *b)
{
	struct keeper_key_rebind r = { .wrapped_len = WRAPPED_KEY_LEN };
	int err = provision_binding(p, &r.to);

	if (err)
		return err;
	if (!p->made)
		return key_binding_encode(b, &r.to);
	r.wrapped = p->made->wrapped;
	err = pool_binding(p->made->uuid, &r.from);
	return err ? err : keeper_key_rebind_encode(b, &r);
}

static void ask_key(struct provision *p)
{
	uint8_t mem[KEEPER_KEY_REBIND_MAX];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = key_request(p, &b);
	if (err)
		provision_failed(p, err, err_text(err));
	else
		keeper_ask(p->m, p->made ? KEEPER_KEY_REBIND : KEEPER_KEY_NEW, &b, on_key, p);
}

static void on_ca(void *arg, int code, const char *text)
{
	if (code)
		provision_end(arg, code, text);
	else
		ask_key(arg);
}

static void on_group(void *arg, const struct keeper_reply *r)
{
	struct provision *p = arg;

	if (r->code)
		provision_end(p, r->code, r->text[0] ? r->text : err_text(r->code));
	else if (kinds(p))
		keeper_open_ca(p->m, on_ca, p);
	else
		ask_key(p);
}

static void provision_run(struct provision *p)
{
	p->waits = p->m->reseal != NULL;
	if (p->waits)
		return;
	keeper_open_group(p->m, p->row.group, on_group, p);
}

/* --- who begins it --- */

/* What is taken is gone, whatever becomes of p: it cannot become two vTPMs. */
static void pool_take(struct provision *p)
{
	struct mgr *m = p->m;

	if (!m->pool || m->reseal || strcmp(p->row.group, DEFAULT_GROUP) != 0)
		return;
	p->made = m->pool;
	m->pool = m->pool->next;
	m->pool_count--;
}

int provision_check_free(struct mgr *m, const struct store_vtpm *want)
{
	struct store_vtpm *row = malloc(sizeof(*row));
	int err = row ? 0 : ERR_NOMEM;

	if (!err && (store_vtpm_by_name(m->store, want->name, row) != ERR_NOTFOUND ||
		     store_vtpm_by_uuid(m->store, want->uuid, row) != ERR_NOTFOUND))
		err = ERR_EXISTS;
	free(row);
	for (struct provision *o = m->provisions; o && !err; o = o->next)
		if (!ahead(o) && (!strcmp(o->row.name, want->name) || !memcmp(o->row.uuid, want->uuid, UUID_LEN)))
			err = ERR_EXISTS;
	return err;
}

static struct provision *provision_new(struct mgr *m, const struct store_vtpm *want)
{
	struct provision *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->m = m;
	p->row = *want;
	p->w.control = p->w.store = p->w.control_io.fd = p->w.store_io.fd = -1;
	p->next = m->provisions;
	m->provisions = p;
	return p;
}

/* NULL: the call has been answered. */
static struct provision *provision_begin(struct mgr *m, const struct store_vtpm *want, struct call *c)
{
	struct provision *p;
	int err = provision_check_free(m, want);

	if (err) {
		call_error(c, err, "%s: a vTPM of that name or uuid exists already", want->name);
		return NULL;
	}
	p = provision_new(m, want);
	if (p)
		p->call = c;
	else
		call_error(c, ERR_NOMEM, "out of memory");
	return p;
}

void provision_create(struct mgr *m, const struct store_vtpm *want, struct call *c)
{
	struct provision *p = provision_begin(m, want, c);

	if (!p)
		return;
	pool_take(p);
	provision_run(p);
}

void provision_import(struct mgr *m, const struct store_vtpm *want, struct import *from, struct call *c)
{
	struct provision *p = provision_begin(m, want, c);

	if (!p) {
		import_close(from);
		return;
	}
	p->from = *from;
	provision_run(p);
}

int provision_order(struct mgr *m, const struct store_vtpm *want, struct provision_order *order)
{
	int err = provision_check_free(m, want);
	struct provision *p = err ? NULL : provision_new(m, want);

	if (!p)
		return err ? err : ERR_NOMEM;
	p->order = order;
	pool_take(p);
	provision_run(p);
	return 0;
}

bool provision_in_hand(const struct mgr *m)
{
	for (const struct provision *p = m->provisions; p; p = p->next)
		if (!p->waits)
			return true;
	return false;
}

void provision_go_on(struct mgr *m)
{
	for (struct provision *p = m->provisions, *next; p; p = next) {
		next = p->next;
		if (p->waits)
			provision_run(p);
	}
	pool_refill(m);
}

void pool_refill(struct mgr *m)
{
	struct store_vtpm row = { .group = DEFAULT_GROUP, .name = "pool", .state_max = STATE_MAX_DEFAULT };
	struct provision *p;

	if (m->draining || m->cfg.init || m->reseal || m->pool_paused || m->provisions || m->pool_count >= m->cfg.pool)
		return;
	if (m->keeper.state != KEEPER_READY || m->continuity.state != CONTINUITY_OPEN || !group_find(m, DEFAULT_GROUP) || !group_find(m, DEFAULT_GROUP)->open)
		return;
	if (uuid_random(row.uuid))
		return;
	p = provision_new(m, &row);
	if (p)
		provision_run(p);
}

void provision_close(struct mgr *m)
{
	for (struct provision *p = m->provisions; p; p = p->next)
		if (p->w.control >= 0)
			worker_kill(&p->w);
}

void pool_free(struct mgr *m)
{
	for (struct pool_tpm *made = m->pool, *next; made; made = next) {
		next = made->next;
		free(made);
	}
	m->pool = NULL;
	m->pool_count = 0;
}
