/* SPDX-License-Identifier: BSD-2-Clause */
/* The CA key: it may have been refused when the keeper was started, or the store's row may have been damaged; that was then. */
#include <stdio.h>
#include <stdlib.h>

#include "vtpm-mgr/enroll.h"

struct opening {
	struct mgr *m;
	void (*done)(void *arg, int code, const char *text);
	void *arg;
};

static void opening_end(struct opening *o, int code, const char *text)
{
	o->done(o->arg, code, text);
	free(o);
}

static void on_ca(void *arg, const struct keeper_reply *r)
{
	struct opening *o = arg;
	char text[TEXT_MAX + 40];

	o->m->keeper.ca_open = r->code == 0;
	snprintf(text, sizeof(text), "the CA key cannot be loaded: %s", r->text[0] ? r->text : err_text(r->code));
	opening_end(o, r->code, r->code ? text : "");
}

static void on_group(void *arg, const struct keeper_reply *r)
{
	struct opening *o = arg;
	uint8_t mem[CA_KEY_MAX];
	struct buf b;

	if (r->code)
		opening_end(o, r->code, r->text[0] ? r->text : err_text(r->code));
	else if (o->m->keeper.ca_open)
		opening_end(o, 0, "");
	else if (keeper_ca_request(o->m, mem, &b))
		on_ca(o, &(struct keeper_reply){ .code = ERR_AUTH, .text = "its row in the store is damaged" });
	else
		keeper_ask(o->m, KEEPER_CA_OPEN, &b, on_ca, o);
}

void keeper_open_ca(struct mgr *m, void (*done)(void *arg, int code, const char *text), void *arg)
{
	struct opening *o = malloc(sizeof(*o));

	if (!o) {
		done(arg, ERR_NOMEM, "out of memory");
		return;
	}
	*o = (struct opening){ .m = m, .done = done, .arg = arg };
	keeper_open_group(m, DEFAULT_GROUP, on_group, o);
}
