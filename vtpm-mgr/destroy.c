/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a vTPM: its key, its state and its leaf go in one commit, which revokes its certificates, so the journal must be open. */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/mgr.h"

struct destroying {
	struct mgr *m;
	uint8_t uuid[UUID_LEN];
	int64_t id;
	void (*done)(void *arg, int code, const char *text);
	void *arg;
};

static void destroy_end(struct destroying *d, int code, const char *text)
{
	if (!code)
		qemu_port_close(d->m, d->uuid);
	d->done(d->arg, code, text);
	free(d);
}

static void on_destroyed(void *arg, int code)
{
	struct destroying *d = arg;

	destroy_end(d, code, code ? store_why(d->m->store) : "");
}

static void on_gate(void *arg, const struct keeper_reply *r)
{
	struct destroying *d = arg;
	struct change *ch = r->code ? NULL : change_new(STORE_DELETE, on_destroyed, d);
	const struct leaf *leaf = leaves_find(&d->m->continuity.leaves, d->uuid);
	int err;

	if (!ch) {
		destroy_end(d, r->code ? r->code : ERR_NOMEM, r->text);
		return;
	}
	if (!leaf)
		log_warn("the journal knows none with the uuid of the vTPM that is destroyed: no certificates are revoked");
	memcpy(ch->c.uuid, d->uuid, UUID_LEN);
	ch->c.id = d->id;
	err = leaf ? certs_revoke(d->m, &ch->metas, &leaf->l.certs, REVOKED_CESSATION) : 0;
	if (!err)
		err = certs_forget(&ch->metas, d->uuid);
	if (err) {
		change_free(ch);
		destroy_end(d, err, err_text(err));
		return;
	}
	change_submit(d->m, ch);
}

void vtpm_destroy(struct mgr *m, const struct store_vtpm *row, void (*done)(void *arg, int code, const char *text),
		  void *arg)
{
	struct destroying *d = calloc(1, sizeof(*d));

	if (!d) {
		done(arg, ERR_NOMEM, "out of memory");
		return;
	}
	*d = (struct destroying){ .m = m, .id = row->id, .done = done, .arg = arg };
	memcpy(d->uuid, row->uuid, UUID_LEN);
	keeper_open_group(m, DEFAULT_GROUP, on_gate, d);
}
