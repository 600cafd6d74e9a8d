/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"

int store_seal_newest(struct backend *b, uint64_t version, struct buf *out)
{
	struct state_id id = { .kind = STATE_PERMANENT, .version = version };
	const uint8_t *blob;
	size_t n;
	int err;

	err = engine_state(&blob, &n);
	if (err != 0)
		return err;
	memcpy(id.uuid, b->start.uuid, UUID_LEN);
	return permanent_seal(store_sealer(b), &id, b->secret, blob, n, out);
}

struct sealer *store_sealer(struct backend *b)
{
	return b->renews ? &b->next_sealer : &b->sealer;
}

/* The store has the state under it, and nothing is sealed under the one before any more. */
static void renewed(struct backend *b)
{
	sealer_wipe(&b->sealer);
	b->sealer = b->next_sealer;
	secmem_wipe(&b->next_sealer, sizeof(b->next_sealer));
	memcpy(b->key, b->next_key, KEY_LEN);
	secmem_wipe(b->next_key, KEY_LEN);
	b->renews = false;
}

/* The commit message of the newest state; mem is the caller's to free. */
static int build_commit(struct backend *b, struct buf *msg, uint8_t **mem)
{
	struct store_commit m = { .version = commit_next(&b->commit) };
	const uint8_t *blob;
	struct buf sealed;
	size_t n, cap;
	int err;

	*mem = NULL;
	err = engine_state(&blob, &n);
	if (err != 0)
		return err;
	cap = n + PERMANENT_OVERHEAD;
	*mem = malloc(2 * cap + STORE_COMMIT_MIN);
	if (*mem == NULL)
		return ERR_NOMEM;
	buf_init(&sealed, *mem, cap);
	buf_init(msg, *mem + cap, cap + STORE_COMMIT_MIN);
	err = store_seal_newest(b, m.version, &sealed);
	if (err != 0)
		return err;
	if (b->commit.first)
		m.flags |= COMMIT_STARTUP;
	if (b->auth_failed)
		m.flags |= COMMIT_AUTH_FAILED;
	if (b->renews)
		m.flags |= COMMIT_RENEWED;
	if (b->giving)
		m.flags |= COMMIT_ANCHOR;
	m.sealed = sealed.data;
	m.sealed_len = sealed.len;
	return store_commit_encode(msg, &m);
}

/* The store's answer: nothing else may come, and only about the version that was sent. */
static int receive_done(struct backend *b, int *code)
{
	uint8_t mem[STORE_DONE_SIZE];
	struct store_done done;
	struct ipc_msg m;
	int err;

	err = ipc_recv(BACKEND_FD_STORE, &m, mem, sizeof(mem), 0);
	if (err != 0)
		return err;
	err = m.type == STORE_DONE && m.nfds == 0 ? store_done_decode(&m.body, &done) : ERR_PROTO;
	if (err == 0 && (buf_left(&m.body) != 0 || done.version != commit_next(&b->commit)))
		err = ERR_PROTO;
	ipc_msg_done(&m);
	if (err == 0)
		*code = done.code;
	return err;
}

int store_commit_newest(struct backend *b)
{
	uint8_t *mem;
	struct buf msg;
	int err, code;

	code = build_commit(b, &msg, &mem);
	if (code == 0) {
		err = ipc_send(BACKEND_FD_STORE, STORE_COMMIT, &msg, NULL, 0);
		if (err == 0)
			err = receive_done(b, &code);
		if (err != 0) {
			free(mem);
			return err;
		}
	}
	free(mem);
	commit_settle(&b->commit, code);
	if (code == 0) {
		engine_clean();
		b->auth_failed = false;
		if (b->renews)
			renewed(b);
	}
	return 0;
}

static int send_take(uint64_t version)
{
	uint8_t mem[STORE_TAKE_SIZE];
	struct buf msg;
	int err;

	buf_init(&msg, mem, sizeof(mem));
	err = store_take_encode(&msg, &(struct store_take){ .version = version });
	return err != 0 ? err : ipc_send(BACKEND_FD_STORE, STORE_TAKE, &msg, NULL, 0);
}

int store_take(uint64_t version, struct store_taken *t, uint8_t **mem)
{
	struct ipc_msg m;
	int err;

	*mem = malloc(STORE_TAKEN_MAX);
	if (*mem == NULL)
		return ERR_NOMEM;
	err = send_take(version);
	if (err == 0)
		err = ipc_recv(BACKEND_FD_STORE, &m, *mem, STORE_TAKEN_MAX, 0);
	if (err != 0)
		return err;
	err = m.type == STORE_TAKEN && m.nfds == 0 ? store_taken_decode(&m.body, t) : ERR_PROTO;
	if (err == 0 && buf_left(&m.body) != 0)
		err = ERR_PROTO;
	ipc_msg_done(&m);
	return err;
}
