/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/store.h"

#include <stdlib.h>
#include <string.h>

#include "vtpm-backend/engine.h"

int store_seal_newest(struct backend *b, uint64_t version, struct buf *out)
{
	struct state_id id = { .kind = STATE_PERMANENT, .version = version };
	const uint8_t *plain;
	size_t n;
	int err;

	err = engine_state(&plain, &n);
	if (err != 0)
		return err;
	if (n > STATE_PLAIN_MAX)
		return ERR_FULL;
	memcpy(id.uuid, b->start.uuid, UUID_LEN);
	return state_seal(&b->sealer, &id, plain, n, out);
}

/* The commit message of the newest state; mem is the caller's to free. */
static int build_commit(struct backend *b, struct buf *msg, uint8_t **mem)
{
	struct store_commit m = { .version = commit_next(&b->commit) };
	const uint8_t *plain;
	struct buf sealed;
	size_t n, cap;
	int err;

	*mem = NULL;
	err = engine_state(&plain, &n);
	if (err != 0)
		return err;
	cap = n + STATE_OVERHEAD;
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
