/* SPDX-License-Identifier: BSD-2-Clause */
/* CreateGroup: a root of its own, sealed; row and leaf in one commit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/reroot.h"

struct group_making {
	struct group_making *next;
	struct mgr *m;
	struct call *c;
	char name[NAME_MAX_LEN + 1];
	uint8_t mode;
	struct sealed_root root; /* views into the change's memory */
	struct share_param share;
	uint8_t record[SHARE_RECORD_SIZE]; /* of its second share */
	struct store_meta meta;
	struct store_reseal store;
};

/*
 * A second root of a name replaces the first in the keeper, so that a group whose row could not be written can be made
 * again. Asked for while the first is on its way to the store it would leave the keeper with a root that is nowhere.
 */
static bool group_is_being_made(const struct mgr *m, const char *name)
{
	const struct group_making *g = m->groups_making;

	while (g && strcmp(g->name, name) != 0)
		g = g->next;
	return g != NULL;
}

static void group_making_free(struct group_making *g)
{
	struct group_making **at = &g->m->groups_making;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	free(g);
}

static void group_end(struct group_making *g, int code, const char *text)
{
	mgr_audit(g->m, g->c, "group-create", NULL, code, g->name);
	if (code)
		call_error(g->c, code, "group %s: %s", g->name, text[0] ? text : err_text(code));
	else
		call_reply(g->c, json_pack("{s:o}", "group", describe_group(group_find(g->m, g->name))));
	group_making_free(g);
}

static void on_group_stored(void *arg, int code)
{
	struct group_making *g = arg;
	struct group *made;
	int err = code ? code : group_add(g->m, g->name, &g->root, true);

	made = err ? NULL : group_find(g->m, g->name);
	if (made) {
		made->vouched = true;
		made->mode = g->mode;
	}
	group_end(g, err, code ? store_why(g->m->store) : "");
}

/* What is kept of the second share goes with the row. */
static int keep_share(struct group_making *g, const uint8_t root_id[static ROOT_ID_LEN], struct store_change *c)
{
	struct buf b;

	memcpy(g->share.record.root_id, root_id, ROOT_ID_LEN);
	buf_init(&b, g->record, sizeof(g->record));
	share_meta_key(g->name, g->meta.key);
	g->meta.value = g->record;
	g->meta.len = sizeof(g->record);
	g->store = (struct store_reseal){.meta = &g->meta, .nmeta = 1};
	c->reseal = &g->store;
	return share_record_encode(&b, &g->share.record);
}

/* Its row and its leaf, in the next batch: the mode is what the leaf says, not what a row could be changed to. */
static int group_submit(struct group_making *g, const struct keeper_reply *r)
{
	const size_t len = g->share.given ? r->result_len - ROOT_ID_LEN : r->result_len;
	struct change *ch;
	struct buf b;

	if (r->result_len < ROOT_ID_LEN)
		return ERR_PROTO;
	ch = change_new(STORE_GROUP, on_group_stored, g);
	if (!ch)
		return ERR_NOMEM;
	ch->mem = malloc(r->result_len + 1);
	if (!ch->mem) {
		change_free(ch);
		return ERR_NOMEM;
	}
	memcpy(ch->mem, r->result, r->result_len);
	buf_wrap(&b, ch->mem, len);
	if (sealed_root_decode(&b, &g->root) || buf_left(&b) || leaf_of_group(g->name, ch->mem, len, g->mode, &ch->leaf) ||
	    (g->share.given && keep_share(g, ch->mem + len, &ch->c))) {
		change_free(ch);
		return ERR_PROTO;
	}
	ch->c.group = g->name;
	ch->c.sealed = ch->mem;
	ch->c.sealed_len = len;
	memcpy(ch->c.uuid, ch->leaf.uuid, UUID_LEN);
	change_submit(g->m, ch);
	return 0;
}

static void on_group_made(void *arg, const struct keeper_reply *r)
{
	struct group_making *g = arg;
	int err = r->code ? r->code : group_submit(g, r);

	if (err)
		group_end(g, err, r->code ? r->text : "");
}

static void on_group_gate(void *arg, const struct keeper_reply *r)
{
	struct group_making *g = arg;
	struct keeper_group_new req = { .mask = g->root.policy.mask, .flags = g->root.policy.flags };
	uint8_t mem[KEEPER_GROUP_NEW_SHARED_MAX];
	struct group_new_shared shared;
	struct buf b;
	int err = r->code;

	snprintf(req.group, sizeof(req.group), "%s", g->name);
	buf_init(&b, mem, sizeof(mem));
	shared = (struct group_new_shared){.group = req, .envelope = g->share.envelope, .envelope_len = g->share.len};
	if (!err)
		err = g->share.given ? group_new_shared_encode(&b, &shared) : keeper_group_new_encode(&b, &req);
	if (err)
		group_end(g, err, r->text);
	else
		keeper_ask(g->m, g->share.given ? KEEPER_GROUP_NEW_SHARED : KEEPER_GROUP_NEW, &b, on_group_made, g);
}

static int mode_param(struct call *c, json_t *params, uint8_t *mode)
{
	const char *s = json_string_value(json_object_get(params, "mode"));

	*mode = s && strcmp(s, "strict") == 0 ? MODE_STRICT : MODE_BOUNDED;
	if (!s || *mode == MODE_STRICT || strcmp(s, "bounded") == 0)
		return 0;
	call_error(c, ERR_INVAL, "mode must be bounded or strict");
	return ERR_INVAL;
}

int pcr_param(struct call *c, json_t *params, uint32_t *mask)
{
	json_t *list = json_object_get(params, "pcrs"), *j;
	size_t i;

	*mask = 0;
	if (!list || json_is_null(list))
		return 0;
	json_array_foreach(list, i, j) {
		json_int_t n = json_is_integer(j) ? json_integer_value(j) : -1;
		if (n < 0 || n >= (json_int_t)PCR_COUNT)
			break;
		*mask |= 1u << n;
	}
	if (json_is_array(list) && *mask && i == json_array_size(list))
		return 0;
	call_error(c, ERR_INVAL, "pcrs must be a list of numbers from 0 to %u", PCR_COUNT - 1);
	return ERR_INVAL;
}

static int group_check(struct mgr *m, struct call *c, const char *name)
{
	if (!name || !name_valid(name))
		call_error(c, ERR_INVAL, "a group needs a name of letters, digits, '.', '_' and '-'");
	else if (group_find(m, name))
		call_error(c, ERR_EXISTS, "group %s exists already", name);
	else if (group_is_being_made(m, name))
		call_error(c, ERR_BUSY, "group %s is being made", name);
	else if (group_count(m) >= KEEPER_GROUPS_MAX)
		call_error(c, ERR_FULL, "there are %u groups already, the most that are possible", KEEPER_GROUPS_MAX);
	else
		return 0;
	return ERR_INVAL;
}

void method_create_group(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	const char *name = json_string_value(json_object_get(params, "name"));
	struct share_param share;
	struct group_making *g;
	bool insecure;
	uint32_t mask;
	uint8_t mode;

	if (group_check(m, c, name) || pcr_param(c, params, &mask) || mode_param(c, params, &mode) ||
	    bool_param(c, params, "insecure_pcrs", &insecure) || share_params(c, params, &share))
		return;
	g = calloc(1, sizeof(*g));
	if (!g) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*g = (struct group_making){ .next = m->groups_making, .m = m, .c = c, .mode = mode, .root.policy.mask = mask, .share = share };
	m->groups_making = g;
	g->root.policy.flags = (insecure ? SEAL_INSECURE_PCRS : 0) | (share.given ? SEAL_SHARE : 0);
	snprintf(g->name, sizeof(g->name), "%s", name);
	keeper_open_group(m, DEFAULT_GROUP, on_group_gate, g);
}
