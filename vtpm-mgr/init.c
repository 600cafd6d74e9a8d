/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-mgr --init: explicit, never automatic. Adopt the TPM (pin its storage root), seal a new
 * root for the group "default", make the CA key in the TPM, then write all of it. The value
 * "provisioned" is written last: a store without it was interrupted here and is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

struct init {
	struct mgr *m;
	uint8_t name[TPM_NAME_MAX], root[SEALED_ROOT_MAX];
	size_t name_len, root_len;
};

static void init_end(struct init *in, int err, const char *text)
{
	struct mgr *m = in->m;

	if (err)
		log_error("not initialised: %s (%s)", text, err_text(err));
	m->exit_code = err ? 1 : 0;
	free(in);
	loop_stop(&m->loop);
}

static int init_write(struct init *in, const struct keeper_reply *ca)
{
	struct mgr *m = in->m;
	int err = store_meta_put(m->store, "srk_name", in->name, in->name_len);

	if (!err)
		err = store_group_put(m->store, DEFAULT_GROUP, in->root, in->root_len);
	if (!err)
		err = store_meta_put(m->store, "ca", ca->result, ca->result_len);
	if (!err)
		err = store_meta_put(m->store, "provisioned", "1", 1);
	return err;
}

static void on_ca(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct mgr *m = in->m;
	char why[TEXT_MAX + 1];
	int err;

	if (r->code) {
		init_end(in, r->code, r->text);
		return;
	}
	err = store_open(&m->store, m->cfg.state_dir, true, why);
	if (err) {
		init_end(in, err, why);
		return;
	}
	err = init_write(in, r);
	mgr_audit(m, NULL, "init", NULL, err, NULL);
	if (!err)
		log_info("initialised %s: a new root is sealed in the TPM", m->cfg.state_dir);
	init_end(in, err, store_why(m->store));
}

static void print_pcrs(uint32_t mask, uint32_t flags)
{
	char list[PCR_COUNT * 4] = "";
	size_t n = 0;

	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (mask & (1u << i))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%u", n ? "," : "", i);
	log_info("the root is sealed to PCRs %s (SHA-256)", list);
	if (flags & SEAL_INSECURE_PCRS)
		log_warn("--insecure-pcrs: PCRs that were never extended were accepted; they bind nothing");
}

static void on_root(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct sealed_root root;
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code || sealed_root_decode(&b, &root) || r->result_len > sizeof(in->root)) {
		init_end(in, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(in->root, r->result, r->result_len);
	in->root_len = r->result_len;
	print_pcrs(root.mask, root.flags);
	keeper_ask(in->m, KEEPER_CA_NEW, NULL, on_ca, in);
}

static void on_adopted(void *arg, const struct keeper_reply *r)
{
	struct init *in = arg;
	struct keeper_group_new req = { .group = DEFAULT_GROUP, .mask = in->m->cfg.seal_pcrs };
	uint8_t mem[KEEPER_GROUP_NEW_MAX];
	struct buf b;

	if (r->code || r->result_len == 0 || r->result_len > sizeof(in->name)) {
		init_end(in, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(in->name, r->result, r->result_len);
	in->name_len = r->result_len;
	req.flags = in->m->cfg.insecure_pcrs ? SEAL_INSECURE_PCRS : 0;
	buf_init(&b, mem, sizeof(mem));
	if (keeper_group_new_encode(&b, &req))
		init_end(in, ERR_RANGE, "internal");
	else
		keeper_ask(in->m, KEEPER_GROUP_NEW, &b, on_root, in);
}

void init_start(struct mgr *m)
{
	struct init *in = calloc(1, sizeof(*in));

	if (!in) {
		m->exit_code = 1;
		loop_stop(&m->loop);
		return;
	}
	in->m = m;
	keeper_ask(m, KEEPER_ADOPT, NULL, on_adopted, in);
}
