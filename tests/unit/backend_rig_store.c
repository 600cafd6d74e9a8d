/* SPDX-License-Identifier: BSD-2-Clause */
/* The rig's part of the manager that has the store. */
#include <string.h>

#include "tests/unit/backend_rig.h"

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
	buf_init(&msg, out, sizeof(out));
	MUST(store_done_encode(&msg, &done) == 0);
	return ipc_send(b->store, STORE_DONE, &msg, NULL, 0) == 0;
}
