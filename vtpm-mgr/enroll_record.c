/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The record of the physical TPM's attestation key, for this keeper: the one of the store, or a new one where that is none.
 *
 *	group "default" open -> CA open -> ENROLL
 */
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/enroll.h"

struct recording {
	struct mgr *m;
	const struct call *call; /* for the audit log */
	enroll_done *done;
	void *arg;
	size_t len;
	uint8_t record[ENROLMENT_MAX];
};

static void recording_end(struct recording *e, int code, const char *text, const uint8_t *record, size_t len)
{
	e->done(e->arg, code, text[0] || !code ? text : err_text(code), record, len);
	free(e);
}

static void on_record(void *arg, const struct keeper_reply *reply)
{
	struct recording *e = arg;
	int err = reply->code ? reply->code : reply->result_len > ENROLMENT_MAX ? ERR_PROTO : 0;

	if (err) {
		recording_end(e, err, reply->text, NULL, 0);
		return;
	}
	if (reply->result_len != e->len || memcmp(reply->result, e->record, e->len) != 0) {
		err = store_meta_put(e->m->store, "enrolment", reply->result, reply->result_len);
		mgr_audit(e->m, e->call, "enroll", NULL, err, "a new attestation key of the physical TPM");
	}
	recording_end(e, err, err ? store_why(e->m->store) : "", reply->result, reply->result_len);
}

static void on_ca(void *arg, int code, const char *text)
{
	struct recording *e = arg;
	uint8_t mem[KEEPER_ENROLL_MAX];
	struct buf b;

	if (code) {
		recording_end(e, code, text, NULL, 0);
		return;
	}
	e->len = sizeof(e->record);
	if (store_meta_get(e->m->store, "enrolment", e->record, &e->len))
		e->len = 0; /* none, or a damaged one: the keeper makes another */
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_var(&b, e->record, e->len))
		recording_end(e, ERR_RANGE, "", NULL, 0);
	else
		keeper_ask(e->m, KEEPER_ENROLL, &b, on_record, e);
}

void enroll_record(struct mgr *m, const struct call *c, enroll_done *done, void *arg)
{
	struct recording *e = calloc(1, sizeof(*e));

	if (!e) {
		done(arg, ERR_NOMEM, "out of memory", NULL, 0);
		return;
	}
	e->m = m;
	e->call = c;
	e->done = done;
	e->arg = arg;
	keeper_open_ca(m, on_ca, e);
}
