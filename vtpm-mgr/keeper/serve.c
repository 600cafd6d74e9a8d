/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/serve.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "lib/secmem.h"
#include "vtpm-mgr/keeper/identity.h"
#include "vtpm-mgr/keeper/srk.h"
#include "vtpm-mgr/keeper/wrap.h"
#include "vtpm-mgr/proto/attest.h"

enum {
	STATE_DEAD = 0,		/* there is no TPM: the first request is told so */
	STATE_NEW = 1u << 0,	/* the SRK is not pinned yet */
	STATE_PINNED = 1u << 1, /* all but OPEN and ADOPT */
};

int serve_reply(struct keeper *k, uint64_t id, int code, const void *result, size_t len)
{
	struct keeper_reply r = {.id = id, .code = code};
	uint8_t mem[KEEPER_REPLY_MAX];
	struct buf b;

	if (code)
		snprintf(r.text, sizeof(r.text), "%s", k->tpm.text[0] ? k->tpm.text : err_text(code));
	else
		r.result = result, r.result_len = len;
	buf_init(&b, mem, sizeof(mem));
	/* The manager reads its socket at leisure; there is nothing else to do than to wait for it. */
	return keeper_reply_encode(&b, &r) ? ERR_RANGE : ipc_send_wait(k->mgr_fd, KEEPER_REPLY, &b, NULL, 0);
}

static int read_empty(struct ipc_msg *m, uint64_t *id)
{
	return buf_get_u64le(&m->body, id) || buf_left(&m->body) ? ERR_PROTO : 0;
}

static int on_status(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_status s;
	uint8_t mem[512];
	struct buf b;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = tpm_status(&k->tpm, &s);
	if (!r)
		r = keeper_status_encode(&b, &s);
	return serve_reply(k, id, r, mem, b.len);
}

/* The endorsement key, where one was enrolled and can be looked at. */
static int check_ek(struct keeper *k, const struct keeper_open *q)
{
	uint8_t ek[TPM_NAME_MAX];
	size_t len;
	int r = q->ek_len ? identity_ek(&k->tpm, ek, &len) : 0;

	if (r || !q->ek_len || !len || (len == q->ek_len && !memcmp(ek, q->ek, len)))
		return r;
	return tpm_fail(&k->tpm, ERR_TPM_IDENTITY,
			"the endorsement key of the TPM at \"%s\" is not the one that was enrolled with this store: its endorsement "
			"seed was changed, or somebody stands in for it", k->tpm.tcti_name);
}

static int on_open(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_open q;
	uint8_t mem[4];
	uint32_t count = 0;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_open_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = srk_open(&k->tpm, q.name, q.name_len);
	if (!r)
		r = check_ek(k, &q);
	if (!r)
		r = identity_pin(&k->tpm, q.flags & OPEN_ACCEPT_RESETS, q.flags & OPEN_RESET_KNOWN ? &q.reset_count : NULL, &count);
	if (!r)
		r = buf_put_u32le(&b, count);
	if (!r)
		k->state = STATE_PINNED;
	return serve_reply(k, id, r, mem, b.len);
}

static int on_adopt(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[8 + 2 * TPM_NAME_MAX], ek[TPM_NAME_MAX];
	struct keeper_adopted a = {.ek = ek};
	uint32_t count;
	struct buf b;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = srk_adopt(&k->tpm);
	if (!r)
		r = identity_ek(&k->tpm, ek, &a.ek_len);
	if (!r)
		r = identity_pin(&k->tpm, false, NULL, &count);
	a.name = k->tpm.srk_name;
	a.name_len = k->tpm.srk_name_len;
	if (!r)
		r = keeper_adopted_encode(&b, &a);
	if (!r)
		k->state = STATE_PINNED;
	return serve_reply(k, id, r, mem, b.len);
}

static int group_key(struct keeper *k, const char *group, const uint8_t **key)
{
	const struct group_key *slot = groups_keys(&k->groups, group);

	*key = slot ? slot->key : NULL;
	if (!slot)
		return tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s is not open", group);
	if (k->tpm.foreign || slot->shut)
		return tpm_fail(&k->tpm, k->tpm.foreign ? ERR_TPM_IDENTITY : ERR_PCR,
				"group %s could not be unsealed once more: it serves what runs, and nothing else", group);
	return 0;
}

static int on_ca_new(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct ca_blob blob;
	struct ca_key ca = {0};
	uint8_t mem[CA_KEY_MAX];
	const uint8_t *key;
	struct buf b;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = group_key(k, GROUP_DEFAULT, &key);
	if (!r)
		r = ca_new(&k->ca, key, &blob, &ca);
	if (!r)
		r = ca_key_encode(&b, &ca);
	return serve_reply(k, id, r, mem, b.len);
}

static int on_ca_open(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct ca_key ca;
	const uint8_t *key;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || ca_key_decode(&m->body, &ca) || buf_left(&m->body))
		return ERR_PROTO;
	r = group_key(k, GROUP_DEFAULT, &key);
	if (!r)
		r = ca_open(&k->ca, key, &ca);
	return serve_reply(k, id, r, NULL, 0);
}

static int on_key_new(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t wrapped[WRAPPED_KEY_LEN];
	struct key_binding b;
	const uint8_t *key;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || key_binding_decode(&m->body, &b) || buf_left(&m->body))
		return ERR_PROTO;
	r = group_key(k, b.group, &key);
	if (!r)
		r = random_bytes(k->give->key, KEY_LEN);
	if (!r)
		r = wrap_vtpm_key(key, &b, k->give->key, wrapped);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, wrapped, sizeof(wrapped));
}

int serve_unwrap(struct keeper *k, const struct key_binding *b, const uint8_t *wrapped, size_t len)
{
	const struct group_key *former = groups_former(&k->groups, b->group);
	const uint8_t *key;
	int r;

	r = group_key(k, b->group, &key);
	if (r)
		return r;
	r = unwrap_vtpm_key(key, b, wrapped, len, k->give->key);
	if (r == ERR_AUTH && former && !former->rows_only)
		r = unwrap_vtpm_key(former->key, b, wrapped, len, k->give->key);
	if (r)
		return tpm_fail(&k->tpm, r,
				"the wrapped key does not verify: it, or the record it is bound to, was changed");
	memcpy(k->give->uuid, b->uuid, UUID_LEN);
	k->give->epoch = b->epoch;
	return 0;
}

static int on_key_rebind(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t wrapped[WRAPPED_KEY_LEN];
	struct keeper_key_rebind q;
	const uint8_t *key = NULL;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_key_rebind_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	r = strcmp(q.from.group, q.to.group)
		    ? tpm_fail(&k->tpm, ERR_INVAL, "a key cannot go from group %s to %s", q.from.group, q.to.group)
		    : group_key(k, q.to.group, &key);
	if (!r)
		r = serve_unwrap(k, &q.from, q.wrapped, q.wrapped_len);
	if (!r)
		r = wrap_vtpm_key(key, &q.to, k->give->key, wrapped);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, wrapped, sizeof(wrapped));
}

/* The key that takes the place of the one in k->give, which goes to the same backend. */
static int renew_key(struct keeper *k, const struct keeper_key_hand *q, uint8_t wrapped[static WRAPPED_KEY_LEN])
{
	struct key_binding to = q->binding;
	const uint8_t *key;
	int r = group_key(k, q->binding.group, &key);

	memcpy(to.config, q->config, DIGEST_LEN);
	k->give->renew = true;
	if (!r)
		r = random_bytes(k->give->next, KEY_LEN);
	return r ? r : wrap_vtpm_key(key, &to, k->give->next, wrapped);
}

static int on_key_hand(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t wrapped[WRAPPED_KEY_LEN];
	uint8_t serial[SERIAL_LEN];
	struct keeper_key_hand q;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_key_hand_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	r = serve_unwrap(k, &q.binding, q.wrapped, q.wrapped_len);
	if (!r && q.renew)
		r = renew_key(k, &q, wrapped);
	if (!r)
		r = cert_serial_new(serial);
	if (!r)
		r = links_hand(&k->links, q.token, q.certify, serial, k->give);
	secmem_wipe(k->give, sizeof(*k->give));
	return q.renew ? serve_reply(k, id, r, wrapped, sizeof(wrapped)) : serve_reply(k, id, r, serial, q.certify ? sizeof(serial) : 0);
}

static int on_key_drop(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint64_t id, token;

	if (buf_get_u64le(&m->body, &id) || keeper_key_drop_decode(&m->body, &token) || buf_left(&m->body))
		return ERR_PROTO;
	links_drop(&k->links, token);
	return serve_reply(k, id, 0, NULL, 0);
}

static const struct ipc_rule rules[] = {
	{KEEPER_STATUS, STATE_NEW | STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, on_status},
	{KEEPER_OPEN, STATE_NEW, KEEPER_OPEN_MIN, KEEPER_OPEN_MAX, 0, 0, on_open},
	{KEEPER_ADOPT, STATE_NEW, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, on_adopt},
	{KEEPER_GROUP_NEW, STATE_PINNED, KEEPER_GROUP_NEW_MIN, KEEPER_GROUP_NEW_MAX, 0, 0, serve_group_new},
	{KEEPER_GROUP_OPEN, STATE_PINNED, KEEPER_GROUP_OPEN_MIN, KEEPER_GROUP_OPEN_MAX, 0, 0, serve_group_open},
	{KEEPER_CA_NEW, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, on_ca_new},
	{KEEPER_CA_OPEN, STATE_PINNED, KEEPER_CA_OPEN_MIN, KEEPER_CA_OPEN_MAX, 0, 0, on_ca_open},
	{KEEPER_KEY_NEW, STATE_PINNED, KEEPER_KEY_NEW_MIN, KEEPER_KEY_NEW_MAX, 0, 0, on_key_new},
	{KEEPER_KEY_REBIND, STATE_PINNED, KEEPER_KEY_REBIND_MIN, KEEPER_KEY_REBIND_MAX, 0, 0, on_key_rebind},
	{KEEPER_KEY_HAND, STATE_PINNED, KEEPER_KEY_HAND_MIN, KEEPER_KEY_HAND_MAX, 0, 0, on_key_hand},
	{KEEPER_KEY_DROP, STATE_PINNED, KEEPER_KEY_DROP_SIZE, KEEPER_KEY_DROP_SIZE, 0, 0, on_key_drop},
	{KEEPER_POLICY_LOOK, STATE_PINNED, KEEPER_LOOK_MIN, KEEPER_LOOK_MAX, 0, 0, serve_policy_look},
	{KEEPER_POLICY_SEAL, STATE_PINNED, KEEPER_SEAL_MIN, KEEPER_SEAL_MAX, 0, 0, serve_policy_seal},
	{KEEPER_POLICY_RAISE, STATE_PINNED, KEEPER_LOOK_MIN, KEEPER_RAISE_MAX, 0, 0, serve_policy_raise},
	{KEEPER_RECOVER_BEGIN, STATE_PINNED, KEEPER_GROUP_OPEN_MIN, KEEPER_GROUP_OPEN_MAX, 0, 0, serve_recover_begin},
	{KEEPER_RECOVER, STATE_PINNED, KEEPER_RECOVER_MIN, KEEPER_RECOVER_MAX, 0, 0, serve_recover},
	{KEEPER_ANCHOR_NEW, STATE_PINNED, KEEPER_ANCHOR_NEW_SIZE, KEEPER_ANCHOR_NEW_SIZE, 0, 0, serve_anchor_new},
	{KEEPER_ANCHOR_RENEW, STATE_PINNED, KEEPER_RECORD_SIZE, KEEPER_RECORD_SIZE, 0, 0, serve_anchor_renew},
	{KEEPER_ANCHOR_OPEN, STATE_PINNED, KEEPER_RECORD_SIZE, KEEPER_RECORD_SIZE, 0, 0, serve_anchor_open},
	{KEEPER_ANCHOR_OWN, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_anchor_own},
	{KEEPER_ROW_MAC, STATE_PINNED, KEEPER_ROW_SIZE, KEEPER_ROW_SIZE, 0, 0, serve_row_mac},
	{KEEPER_ANCHOR_EXTEND, STATE_PINNED, KEEPER_ROW_SIZE, KEEPER_ROW_SIZE, 0, 0, serve_anchor_extend},
	{KEEPER_ROWS_VERIFY, STATE_PINNED, KEEPER_ROWS_MIN, KEEPER_ROWS_MAX, 0, 0, serve_rows_verify},
	{KEEPER_BACKUP_KEY, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_backup_key},
	{KEEPER_BACKUP_SEAL, STATE_PINNED, KEEPER_BACKUP_MIN, KEEPER_BACKUP_MAX, 0, 0, serve_backup_seal},
	{KEEPER_BACKUP_OPEN, STATE_PINNED, KEEPER_BACKUP_MIN, KEEPER_BACKUP_MAX, 0, 0, serve_backup_open},
	{KEEPER_TPM_SHUTDOWN, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_tpm_shutdown},
	{KEEPER_SHARE_BEGIN, STATE_PINNED, KEEPER_SHARE_BEGIN_SIZE, KEEPER_SHARE_BEGIN_SIZE, 0, 0, serve_share_begin},
	{KEEPER_GROUP_NEW_SHARED, STATE_PINNED, KEEPER_GROUP_NEW_SHARED_MIN, KEEPER_GROUP_NEW_SHARED_MAX, 0, 0, serve_group_new_shared},
	{KEEPER_GROUP_UNLOCK, STATE_PINNED, KEEPER_GROUP_UNLOCK_MIN, KEEPER_GROUP_UNLOCK_MAX, 0, 0, serve_group_unlock},
	{KEEPER_RECOVERY_KEYS, STATE_NEW | STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_recovery_keys},
	{KEEPER_ESCROW_WRAP, STATE_PINNED, KEEPER_ESCROW_WRAP_MIN, KEEPER_ESCROW_WRAP_MAX, 0, 0, serve_escrow_wrap},
	{KEEPER_CHALLENGE, STATE_NEW | STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_challenge},
	{KEEPER_ROOT_RESTORE, STATE_PINNED, KEEPER_ROOT_RESTORE_MIN, KEEPER_ROOT_RESTORE_MAX, 0, 0, serve_root_restore},
	{KEEPER_GROUP_RESEAL, STATE_PINNED, KEEPER_GROUP_OPEN_MIN, KEEPER_GROUP_OPEN_MAX, 0, 0, serve_group_reseal},
	{KEEPER_KEY_RESEAL, STATE_PINNED, KEEPER_KEY_RESEAL_MIN, KEEPER_KEY_RESEAL_MAX, 0, 0, serve_key_reseal},
	{KEEPER_CA_RESEAL, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_ca_reseal},
	{KEEPER_ANCHOR_RESEAL, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_anchor_reseal},
	{KEEPER_GROUP_SWITCH, STATE_PINNED, KEEPER_GROUP_MIN, KEEPER_GROUP_MAX, 0, 0, serve_group_switch},
	{KEEPER_GROUP_SWITCHED, STATE_PINNED, KEEPER_GROUP_MIN, KEEPER_GROUP_MAX, 0, 0, serve_group_switched},
	{KEEPER_GROUP_RETURN, STATE_PINNED, KEEPER_GROUP_MIN, KEEPER_GROUP_MAX, 0, 0, serve_group_return},
	{KEEPER_HOST_QUOTE, STATE_PINNED, KEEPER_HOST_QUOTE_MIN, KEEPER_HOST_QUOTE_MAX, 0, 0, serve_host_quote},
	{KEEPER_ENROLL, STATE_PINNED, KEEPER_ENROLL_MIN, KEEPER_ENROLL_MAX, 0, 0, serve_enroll},
	{KEEPER_ENROLL_EK, STATE_PINNED, KEEPER_EK_SIZE, KEEPER_EK_SIZE, 0, 0, serve_enroll_ek},
	{KEEPER_ACTIVATE, STATE_PINNED, KEEPER_ACTIVATE_MIN, KEEPER_ACTIVATE_MAX, 0, 0, serve_activate},
	{KEEPER_CRL_BEGIN, STATE_PINNED, KEEPER_CRL_BEGIN_SIZE, KEEPER_CRL_BEGIN_SIZE, 0, 0, serve_crl_begin},
	{KEEPER_CRL_ADD, STATE_PINNED, KEEPER_CRL_ADD_MIN, KEEPER_CRL_ADD_MAX, 0, 0, serve_crl_add},
	{KEEPER_CRL_SIGN, STATE_PINNED, KEEPER_ID_SIZE, KEEPER_ID_SIZE, 0, 0, serve_crl_sign},
	{KEEPER_CRL_READ, STATE_PINNED, KEEPER_CRL_READ_SIZE, KEEPER_CRL_READ_SIZE, 0, 0, serve_crl_read},
	{KEEPER_GROUP_FORMER, STATE_PINNED, KEEPER_FORMER_SIZE, KEEPER_FORMER_SIZE, 0, 0, serve_group_former},
};

static void keeper_stop(struct keeper *k, int code)
{
	k->exit_code = code;
	loop_stop(&k->loop);
}

/* Whatever is asked: there is no TPM, k->tpm.text says why. */
static int answer_dead(struct keeper *k, struct ipc_msg *m)
{
	uint64_t id;
	int r = buf_get_u64le(&m->body, &id) ? ERR_PROTO : serve_reply(k, id, ERR_TPM_LOST, NULL, 0);

	ipc_msg_done(m);
	keeper_stop(k, 1);
	return r;
}

static void manager_ready(void *arg, uint32_t events)
{
	struct keeper *k = arg;
	struct ipc_msg m;
	int r;

	(void)events;
	r = ipc_recv(k->mgr_fd, &m, k->in, sizeof(k->in), MSG_DONTWAIT);
	if (r == ERR_AGAIN)
		return;
	if (!r && k->state == STATE_DEAD) {
		r = answer_dead(k, &m);
	} else if (!r) {
		k->tpm.text[0] = '\0';
		r = ipc_dispatch(rules, ARRAY_LEN(rules), k->state, k, &m);
	}
	if (r && r != ERR_CLOSED)
		log_error("the manager's request %#x is not answered: %s", m.type, err_text(r));
	if (r)
		keeper_stop(k, r == ERR_CLOSED ? 0 : 1);
}

/* After a round: everybody who asked has been told by now. */
static void keeper_after(void *arg)
{
	struct keeper *k = arg;

	if (k->tpm.lost && k->state != STATE_DEAD)
		keeper_stop(k, 1);
	else if (k->links.ended)
		keeper_stop(k, k->links.ended == ERR_CLOSED ? 0 : 1);
}

int keeper_init(struct keeper *k, int mgr_fd, int spawn_fd)
{
	int r;

	k->mgr_fd = mgr_fd;
	k->mgr_io.fd = -1;
	k->recovery.session = ESYS_TR_NONE;
	k->root = secmem_alloc(KEY_LEN);
	k->give = secmem_alloc(sizeof(*k->give));
	r = k->root && k->give ? loop_open(&k->loop) : ERR_NOMEM;
	if (!r)
		r = groups_init(&k->groups);
	if (!r)
		r = ca_init(&k->ca, &k->tpm);
	if (!r)
		r = anchor_init(&k->anchor, &k->tpm, &k->groups);
	if (!r)
		r = links_init(&k->links, &k->loop, spawn_fd, &k->ca);
	if (!r)
		r = loop_add(&k->loop, &k->mgr_io, mgr_fd, EPOLLIN, manager_ready, k);
	loop_set_after(&k->loop, keeper_after, k);
	return r;
}

int keeper_run(struct keeper *k)
{
	k->state = k->tpm.lost ? STATE_DEAD : STATE_NEW;
	return loop_run(&k->loop) ? 1 : k->exit_code;
}

void keeper_free(struct keeper *k)
{
	links_free(&k->links);
	challenge_end(&k->challenge);
	share_end(&k->share);
	offline_free(&k->offline);
	anchor_free(&k->anchor);
	crl_free(&k->crl);
	ca_free(&k->ca);
	groups_free(&k->groups);
	loop_remove(&k->loop, &k->mgr_io);
	loop_close(&k->loop);
	secmem_free(k->give, sizeof(*k->give));
	secmem_free(k->root, KEY_LEN);
}
