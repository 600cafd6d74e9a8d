/* SPDX-License-Identifier: BSD-2-Clause */
/* The first requests to a new keeper: whose TPM is it, is it the pinned one, unseal the groups' roots, load the CA's key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/reroot.h"

static void boot_ready(struct mgr *m)
{
	if (m->keeper.state != KEEPER_STARTING) /* it has ended meanwhile */
		return;
	m->keeper.state = KEEPER_READY;
	m->keeper.respawn_ms = 0;
	m->keeper.reason[0] = '\0';
	keeper_queue_send(m);
	if (!m->cfg.recover) /* which is ready when it waits for an offline key */
		mgr_ready(m);
	if (!m->cfg.init)
		pool_refill(m);
}

void keeper_boot_done(struct mgr *m)
{
	boot_ready(m);
}

/* Rows from before a rotation that it does not know of do not verify, and the recovery says so. */
static void on_reminded(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	if (r->code)
		log_error("the keys of the root before: %s (%s)", r->text, err_text(r->code));
	if (m->keeper.state == KEEPER_STARTING)
		recovery_begin(m);
}

/* What the anchors say decides whether anything is served: docs/continuity.md. */
static void boot_anchors(struct mgr *m)
{
	const struct group *g = group_find(m, DEFAULT_GROUP);

	if (g && g->open && m->continuity.state != CONTINUITY_OPEN)
		reseal_remind(m, on_reminded, m);
	else
		boot_ready(m);
}

static void on_ca_open(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	m->keeper.ca_open = r->code == 0;
	if (r->code)
		log_error("the CA key cannot be loaded: %s (%s); new vTPMs cannot be certified", r->text, err_text(r->code));
	if (m->keeper.state == KEEPER_STARTING)
		boot_anchors(m);
}

/* The keeper ends over what it cannot parse, so a damaged row must not get there. */
int keeper_ca_request(struct mgr *m, uint8_t mem[static CA_KEY_MAX], struct buf *b)
{
	size_t len = CA_KEY_MAX;
	struct ca_key ca;
	int err = store_meta_get(m->store, "ca", mem, &len);

	buf_wrap(b, mem, err ? 0 : len);
	if (err || ca_key_decode(b, &ca) || buf_left(b))
		return ERR_AUTH;
	buf_wrap(b, mem, len);
	return 0;
}

static void boot_ca(struct mgr *m)
{
	struct group *g = group_find(m, DEFAULT_GROUP);
	uint8_t mem[CA_KEY_MAX];
	struct buf b;

	if (!g || !g->open)
		boot_ready(m);
	else if (m->keeper.ca_open)
		boot_anchors(m);
	else if (keeper_ca_request(m, mem, &b))
		on_ca_open(m, &(struct keeper_reply){ .code = ERR_AUTH, .text = "its row in the store is damaged" });
	else
		keeper_ask_once(m, KEEPER_CA_OPEN, &b, on_ca_open, m);
}

/*
 * The TPM answers, and makes no sense: this keeper comes to nothing. Its end of file fails what waits and has
 * another one started later.
 */
static void boot_failed(struct mgr *m, int code, const char *text)
{
	struct keeper *k = &m->keeper;

	snprintf(k->reason, sizeof(k->reason), "%s", text);
	log_error("physical TPM: %s (%s)", text, err_text(code));
	if (k->sock >= 0)
		shutdown(k->sock, SHUT_RDWR);
}

/* After the groups' answers: an empty request that the keeper answers last. */
static void on_groups_done(void *arg, const struct keeper_reply *r)
{
	if (r->code)
		boot_failed(arg, r->code, r->text);
	else
		boot_ca(arg);
}

static void boot_groups(struct mgr *m)
{
	for (struct group *g = m->keeper.groups; g; g = g->next)
		if (!g->open)
			group_open(m, g, NULL, NULL);
	keeper_ask_once(m, KEEPER_STATUS, NULL, on_groups_done, m);
}

void keeper_boot_again(struct mgr *m)
{
	if (m->keeper.state != KEEPER_READY || m->continuity.releasing)
		return;
	m->keeper.state = KEEPER_STARTING;
	boot_groups(m);
}

static void on_open(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct keeper *k = &m->keeper;
	struct buf b;

	if (r->code && r->code != ERR_TPM_IDENTITY && r->code != ERR_INVAL) {
		boot_failed(m, r->code, r->text);
		return;
	}
	if (r->code) {
		snprintf(k->reason, sizeof(k->reason), "%s", r->text);
		log_error("physical TPM: %s (%s)", r->text, err_text(r->code));
		k->state = KEEPER_FOREIGN;
		if (k->reset_known) /* it was the right one, and this manager has served on it */
			for (struct group *g = k->groups; g; g = g->next)
				recheck_failed(m, g, r->text);
		keeper_queue_fail(m, r->code);
		mgr_ready(m);
		return;
	}
	buf_wrap(&b, r->result, r->result_len);
	if (buf_get_u32le(&b, &k->reset_count)) {
		boot_failed(m, ERR_PROTO, "the keeper's answer is malformed");
		return;
	}
	k->reset_known = true;
	boot_groups(m);
}

static void status_warn(const struct keeper_status *s)
{
	if (s->kind != TPM_HARDWARE)
		log_warn("the physical TPM is a %s TPM (%s): not hardware-backed",
			 s->kind == TPM_SOFTWARE ? "software" : "virtual", s->vendor);
}

static void on_recovery_keys(void *arg, const struct keeper_reply *r)
{
	(void)arg;
	if (r->code)
		log_warn("the keeper does not say which recovery keys it has: %s", r->text);
}

/* Which chip it must be, and that it was not reset since this manager has seen it first. */
static int open_request(struct mgr *m, struct buf *b)
{
	const struct keeper *k = &m->keeper;
	uint8_t name[TPM_NAME_MAX], ek[TPM_NAME_MAX];
	struct keeper_open req = { .name = name, .name_len = sizeof(name), .ek = ek, .ek_len = sizeof(ek), .reset_count = k->reset_count };

	if (store_meta_get(m->store, "srk_name", name, &req.name_len))
		req.name_len = 0; /* matches no chip */
	if (store_meta_get(m->store, "ek_name", ek, &req.ek_len))
		req.ek_len = 0;
	if (m->cfg.on_change == CHANGE_ACCEPT)
		req.flags = OPEN_ACCEPT_RESETS;
	else if (k->reset_known)
		req.flags = OPEN_RESET_KNOWN;
	return keeper_open_encode(b, &req);
}

static void on_status(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct keeper *k = &m->keeper;
	uint8_t mem[KEEPER_OPEN_MAX];
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code || keeper_status_decode(&b, &k->status)) {
		boot_failed(m, r->code ? r->code : ERR_PROTO, r->code ? r->text : "the keeper's answer is malformed");
		return;
	}
	k->has_status = true;
	status_warn(&k->status);
	if (m->cfg.init) {
		boot_ready(m);
		if (m->cfg.from)
			recreate_start(m);
		else
			init_start(m);
		return;
	}
	escrow_ask_keys(m, on_recovery_keys, NULL);
	buf_init(&b, mem, sizeof(mem));
	if (!open_request(m, &b))
		keeper_ask_once(m, KEEPER_OPEN, &b, on_open, m);
}

void keeper_boot(struct mgr *m)
{
	m->keeper.reason[0] = '\0';
	keeper_ask_once(m, KEEPER_STATUS, NULL, on_status, m);
}
