/* SPDX-License-Identifier: BSD-2-Clause */
/* The rig's part of the manager that has the store. */
#include <string.h>

#include "tests/unit/backend_rig.h"
#include "vtpm-backend/permanent.h"

void rig_disk_init(struct rig_disk *d)
{
	memset(d, 0, sizeof(*d));
	MUST(uuid_random(d->uuid) == 0 && random_bytes(d->key, sizeof(d->key)) == 0);
}

/* The manager's verdict on STORE_TAKE. */
static bool serve_take(struct rig_backend *b, struct buf *body)
{
	static uint8_t mem[STORE_TAKEN_MAX];
	struct rig_disk *d = b->disk;
	struct store_taken taken = { .version = d->version };
	struct store_take t;
	struct buf msg;

	MUST(store_take_decode(body, &t) == 0);
	if (d->busy)
		taken.code = ERR_BUSY;
	else if (t.version > d->version || (t.version != 0 && t.version < d->version && !d->older))
		taken.code = ERR_WRONG_STATE;
	if (taken.code == 0 && t.version == 0) {
		taken.sealed = d->sealed;
		taken.sealed_len = d->sealed_len;
	}
	d->takes += taken.code == 0;
	buf_init(&msg, mem, sizeof(mem));
	MUST(store_taken_encode(&msg, &taken) == 0);
	return ipc_send(b->store, STORE_TAKEN, &msg, NULL, 0) == 0;
}

bool rig_serve_store(struct rig_backend *b)
{
	static uint8_t mem[STORE_COMMIT_MAX];
	struct store_done done = { 0 };
	struct store_commit c;
	uint8_t out[STORE_DONE_SIZE];
	struct ipc_msg m;
	struct buf msg;
	int err;

	err = ipc_recv(b->store, &m, mem, sizeof(mem), 0);
	if (err != 0)
		return false;
	if (m.type == STORE_TAKE)
		return serve_take(b, &m.body);
	MUST(m.type == STORE_COMMIT && store_commit_decode(&m.body, &c) == 0);
	MUST(c.version == b->disk->version + 1);
	done.version = c.version;
	done.code = b->disk->fail;
	if (done.code == 0) {
		b->disk->version = c.version;
		b->disk->sealed_len = c.sealed_len;
		b->disk->flags = c.flags;
		b->disk->commits++;
		memcpy(b->disk->sealed, c.sealed, c.sealed_len);
	}
	if (done.code == 0 && c.flags & COMMIT_RENEWED) {
		MUST(b->disk->renew);
		memcpy(b->disk->key, b->disk->next, KEY_LEN);
		b->disk->renew = false;
		b->disk->renewed++;
	}
	buf_init(&msg, out, sizeof(out));
	MUST(store_done_encode(&msg, &done) == 0);
	return ipc_send(b->store, STORE_DONE, &msg, NULL, 0) == 0;
}

size_t rig_disk_open(const struct rig_disk *d, uint8_t secret[static KEY_LEN], uint8_t *blob)
{
	struct state_id id = { .kind = STATE_PERMANENT, .version = d->version };
	uint8_t *opened;
	size_t n;

	memcpy(id.uuid, d->uuid, UUID_LEN);
	MUST(permanent_open(d->key, &id, d->sealed, d->sealed_len, secret, &opened, &n) == 0);
	memcpy(blob, opened, n);
	free(opened);
	return n;
}

/* --- new ones --- */

static void issue(struct rig_backend *b, const uint8_t *cert, size_t cert_len)
{
	static uint8_t mem[CERT_REQUEST_MAX], out[CERT_ISSUED_MAX];
	struct cert_issued ci = { .der = cert, .der_len = cert_len };
	struct cert_request cr;
	struct ipc_msg m;
	struct buf msg;

	MUST(ipc_recv(b->key, &m, mem, sizeof(mem), 0) == 0 && m.type == CERT_REQUEST);
	MUST(cert_request_decode(&m.body, &cr) == 0 && cr.key_public_len > 64);
	ci.kind = cr.kind;
	buf_init(&msg, out, sizeof(out));
	MUST(cert_issued_encode(&msg, &ci) == 0);
	MUST(ipc_send(b->key, CERT_ISSUED, &msg, NULL, 0) == 0);
}

void rig_provisioned(struct rig_backend *b, const uint8_t *cert, size_t cert_len)
{
	static uint8_t mem[BACKEND_PROVISIONED_MAX];
	struct backend_provisioned p;
	struct ipc_msg m;

	for (unsigned i = 0; cert != NULL && i < KEY_KINDS; i++) {
		MUST(rig_wait(b, b->key));
		issue(b, cert, cert_len);
	}
	MUST(rig_wait(b, b->control));
	MUST(ipc_recv(b->control, &m, mem, sizeof(mem), 0) == 0);
	if (m.type != BACKEND_PROVISIONED)
		fprintf(stderr, "%.*s\n", (int)m.body.len, (const char *)m.body.data + 8);
	MUST(m.type == BACKEND_PROVISIONED && backend_provisioned_decode(&m.body, &p) == 0);
	for (unsigned i = 0; i < KEY_KINDS; i++)
		MUST(p.key_public_len[i] > 64 && p.cert_len[i] == cert_len);
	b->disk->version = p.version;
	b->disk->sealed_len = p.sealed_len;
	memcpy(b->disk->sealed, p.sealed, p.sealed_len);
	MUST(rig_exited(b) == 0);
}

void rig_make(struct rig *r, struct rig_disk *d)
{
	struct rig_backend b;

	rig_disk_init(d);
	rig_spawn(r, &b, d, RUN_MANUFACTURE);
	rig_provisioned(&b, NULL, 0);
	rig_forget(&b);
}
