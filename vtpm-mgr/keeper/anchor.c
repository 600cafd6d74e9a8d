/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/anchor.h"

#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "lib/secmem.h"
#include "vtpm-mgr/keeper/wrap.h"

#define EXTEND_TRIES	3u    /* of an extend that failed for no reason that passes */
#define PATIENCE_MS	60000 /* with a TPM that is busy with its NV */
#define WAIT_FIRST_MS	10
#define WAIT_LONGEST_MS 1000

int anchor_init(struct anchor *an, struct tpm *t, const struct groups *g)
{
	memset(an, 0, sizeof(*an));
	an->tpm = t;
	an->groups = g;
	an->secrets = secmem_alloc(sizeof(*an->secrets));
	return an->secrets ? 0 : ERR_NOMEM;
}

void anchor_free(struct anchor *an)
{
	secmem_free(an->secrets, sizeof(*an->secrets));
	an->secrets = NULL;
}

static int keys_of(struct anchor *an, const struct group_key **keys)
{
	*keys = groups_keys(an->groups, GROUP_DEFAULT);
	return *keys ? 0 : tpm_fail(an->tpm, ERR_WRONG_STATE, "group %s is not open", GROUP_DEFAULT);
}

static void indices_set(struct anchor *an)
{
	const struct anchor_record *r = &an->record;

	an->a = (struct nv_index){.handle = r->a, .attributes = r->a_attributes, .auth = an->secrets->a};
	an->v = (struct nv_index){.handle = r->v, .attributes = r->v_attributes, .auth = an->secrets->v};
	an->open = false;
	an->last = 0;
}

static bool has_v(const struct anchor *an)
{
	return !(an->record.flags & ANCHOR_STRICT_ONLY);
}

/* ---- looking ---- */

/* Whose auth the owner hierarchy has: a command that changes nothing tells whether ours is right. */
static int look_at_owner(struct anchor *an, uint8_t *owner)
{
	struct tpm *t = an->tpm;
	uint32_t permanent;
	TSS2_RC rc;
	int r = tpm_property(t, TPM2_PT_PERMANENT, &permanent);

	*owner = permanent & TPMA_PERMANENT_OWNERAUTHSET ? OWNER_OTHER : OWNER_EMPTY;
	if (r || *owner == OWNER_EMPTY || an->record.flags & ANCHOR_SHARED)
		return r;
	r = nv_owner(t, an->secrets->owner);
	if (r)
		return r;
	rc = Esys_ClockRateAdjust(t->esys, ESYS_TR_RH_OWNER, t->session, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CLOCK_NO_CHANGE);
	if (!(rc & TSS2_RC_LAYER_MASK) && tpm_rc_base(rc) == TPM2_RC_BAD_AUTH)
		return 0;
	*owner = OWNER_OURS;
	return tpm_check(t, rc, "TPM2_ClockRateAdjust by 0");
}

struct look_job {
	struct anchor *an;
	struct anchor_view *view;
};

static int look_op(struct tpm *t, void *arg)
{
	struct look_job *job = arg;
	struct anchor *an = job->an;
	struct anchor_view *view = job->view;
	enum anchor_state a, v = ANCHOR_ABSENT;
	int r;

	memset(view, 0, sizeof(*view));
	r = nv_look(t, &an->a, &a, view->a);
	if (!r && has_v(an))
		r = nv_look(t, &an->v, &v, view->v);
	if (!r)
		r = tpm_reset_count(t, &view->reset_count);
	if (!r)
		r = look_at_owner(an, &view->owner);
	view->a_state = (uint8_t)a;
	view->v_state = (uint8_t)v;
	return r;
}

static bool by_error_code(uint8_t state)
{
	return state == ANCHOR_MISSING || state == ANCHOR_AUTH;
}

/* An error code proves nothing, since it carries no HMAC: what rests on one is asked again, in another session. */
static int look(struct anchor *an, struct anchor_view *view)
{
	struct look_job job = {.an = an, .view = view};
	int r = tpm_run(an->tpm, look_op, &job);

	if (!r && (by_error_code(view->a_state) || by_error_code(view->v_state))) {
		tpm_forget(an->tpm);
		r = tpm_run(an->tpm, look_op, &job);
	}
	if (r)
		return r;
	memcpy(an->a_now, view->a, DIGEST_LEN);
	memcpy(an->v_now, view->v, DIGEST_LEN);
	an->open = view->a_state <= ANCHOR_ABSENT && view->v_state <= ANCHOR_ABSENT;
	return 0;
}

static int record_open(struct anchor *an, const struct anchor_record *record)
{
	const struct group_key *keys;
	int r = keys_of(an, &keys);

	if (r)
		return r;
	an->record = *record;
	an->known = false;
	indices_set(an);
	r = unwrap_anchor_auth(keys->key, record, AUTH_A, record->a_auth, an->secrets->a);
	if (!r)
		r = unwrap_anchor_auth(keys->key, record, AUTH_V, record->v_auth, an->secrets->v);
	if (!r)
		r = unwrap_anchor_auth(keys->key, record, AUTH_OWNER, record->owner_auth, an->secrets->owner);
	an->known = !r;
	return r ? tpm_fail(an->tpm, r, "the record of the anchors does not verify: it was changed or damaged") : 0;
}

/* Model: decide. */
int anchor_open(struct anchor *an, const struct anchor_record *record, struct anchor_view *view)
{
	int r = record_open(an, record);

	return r ? r : look(an, view);
}

/* ---- making ---- */

/* A TPM drops trailing zeros of an auth value (TPM 2.0 Part 1, 19.6.4.3): there shall be none. */
static int random_auth(uint8_t auth[static KEY_LEN])
{
	int r = random_bytes(auth, KEY_LEN);

	auth[KEY_LEN - 1] |= 1;
	return r;
}

static int record_seal_under(const struct anchor *an, const struct group_key *keys, struct anchor_record *rec)
{
	int r = wrap_anchor_auth(keys->key, rec, AUTH_A, an->secrets->a, rec->a_auth);

	if (!r)
		r = wrap_anchor_auth(keys->key, rec, AUTH_V, an->secrets->v, rec->v_auth);
	if (!r)
		r = wrap_anchor_auth(keys->key, rec, AUTH_OWNER, an->secrets->owner, rec->owner_auth);
	return r;
}

static int record_seal(struct anchor *an)
{
	const struct group_key *keys;
	int r = keys_of(an, &keys);

	return r ? r : record_seal_under(an, keys, &an->record);
}

int anchor_reseal(struct anchor *an, struct anchor_record *record)
{
	const struct group_key *next = groups_next(an->groups, GROUP_DEFAULT);

	*record = an->record;
	if (!next || !an->known)
		return tpm_fail(an->tpm, ERR_WRONG_STATE, "the root of group %s has no successor, or the anchors are not open",
				GROUP_DEFAULT);
	return record_seal_under(an, next, record);
}

const uint8_t *anchor_owner(const struct anchor *an)
{
	return an->known ? an->secrets->owner : NULL;
}

static int refuse_taken(struct tpm *t, uint32_t handle)
{
	ESYS_TR tr = ESYS_TR_NONE;
	TSS2_RC rc = Esys_TR_FromTPMPublic(t->esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &tr);

	if (!(rc & TSS2_RC_LAYER_MASK) && tpm_rc_base(rc) == TPM2_RC_HANDLE)
		return 0;
	if (rc)
		return tpm_check(t, rc, "TPM2_NV_ReadPublic");
	return tpm_fail(t, ERR_EXISTS,
			"the TPM has an NV index at 0x%08x already; if it is another program's, choose other handles with "
			"--anchor-handles; if it is left from an --init that was interrupted or from a store that is gone, "
			"remove it with tpm2_nvundefine 0x%08x",
			handle, handle);
}

/* Model: provision. A first, then V; a TPM without room for V, or without orderly indices, gets A alone. */
static int define_both(struct anchor *an)
{
	struct tpm *t = an->tpm;
	int r = nv_define(t, &an->a);

	if (r)
		return r;
	an->record.flags &= ~ANCHOR_STRICT_ONLY;
	r = nv_define(t, &an->v);
	if (r == ERR_FULL) {
		log_warn("the TPM cannot have an orderly index: every durable change will be anchored, which wears it out");
		an->record.flags |= ANCHOR_STRICT_ONLY;
		r = 0;
	}
	return r;
}

static int new_op(struct tpm *t, void *arg)
{
	struct anchor *an = arg;
	uint32_t permanent;
	int r = tpm_property(t, TPM2_PT_PERMANENT, &permanent);

	if (!r && permanent & TPMA_PERMANENT_OWNERAUTHSET)
		r = tpm_fail(t, ERR_EXISTS,
			     "the owner hierarchy of the TPM has a password, so no index can be defined: another store on "
			     "this TPM owns it, or another program; take the password off (tpm2_changeauth -c owner), or clear "
			     "the TPM");
	if (!r)
		r = refuse_taken(t, an->a.handle);
	if (!r)
		r = refuse_taken(t, an->v.handle);
	if (!r)
		r = nv_owner(t, NULL);
	return r ? r : define_both(an);
}

int anchor_as_owner(struct anchor *an)
{
	uint32_t permanent;
	int r = tpm_property(an->tpm, TPM2_PT_PERMANENT, &permanent);

	return r ? r : nv_owner(an->tpm, permanent & TPMA_PERMANENT_OWNERAUTHSET ? an->secrets->owner : NULL);
}

/* Model: provision. */
static int renew_op(struct tpm *t, void *arg)
{
	struct anchor *an = arg;
	int r = anchor_as_owner(an);

	if (!r)
		r = nv_undefine(t, &an->a);
	if (!r)
		r = nv_undefine(t, &an->v);
	return r ? r : define_both(an);
}

/* New auth values, both defined by op, and looked at. */
static int make(struct anchor *an, int (*op)(struct tpm *t, void *arg), struct anchor_view *view)
{
	int r;

	indices_set(an);
	r = random_auth(an->secrets->a);
	if (!r)
		r = random_auth(an->secrets->v);
	if (!r)
		r = tpm_run(an->tpm, op, an);
	if (!r)
		r = record_seal(an);
	an->known = !r;
	return r ? r : look(an, view);
}

/* Model: provision. */
int anchor_new(struct anchor *an, const struct anchor_new *want, struct anchor_view *view)
{
	int r = random_auth(an->secrets->owner);

	if (r)
		return tpm_fail(an->tpm, r, "no random bytes: %s", err_text(r));
	an->record = (struct anchor_record){.a = want->a,
					    .v = want->v,
					    .flags = want->flags,
					    .a_attributes = NV_ANCHOR,
					    .v_attributes = NV_ORDERLY};
	return make(an, new_op, view);
}

/* Model: provision. */
int anchor_renew(struct anchor *an, const struct anchor_record *old, struct anchor_view *view)
{
	int r = record_open(an, old);

	an->record.a_attributes = NV_ANCHOR;
	an->record.v_attributes = NV_ORDERLY;
	return r ? r : make(an, renew_op, view);
}

static int own_op(struct tpm *t, void *arg)
{
	TPM2B_AUTH auth = {.size = KEY_LEN};
	struct anchor *an = arg;
	uint32_t permanent;
	TSS2_RC rc;
	int r = tpm_property(t, TPM2_PT_PERMANENT, &permanent);

	if (!r && !(permanent & TPMA_PERMANENT_OWNERAUTHSET))
		r = nv_owner(t, NULL);
	if (r || permanent & TPMA_PERMANENT_OWNERAUTHSET)
		return r;
	memcpy(auth.buffer, an->secrets->owner, KEY_LEN);
	rc = Esys_HierarchyChangeAuth(t->esys, ESYS_TR_RH_OWNER, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &auth);
	secmem_wipe(&auth, sizeof(auth));
	return tpm_check(t, rc, "TPM2_HierarchyChangeAuth of the owner");
}

int anchor_own(struct anchor *an)
{
	if (an->record.flags & ANCHOR_SHARED)
		return 0;
	return tpm_run(an->tpm, own_op, an);
}

static int shutdown_op(struct tpm *t, void *arg)
{
	(void)arg;
	return tpm_check(t, Esys_Shutdown(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_SU_CLEAR),
			 "TPM2_Shutdown");
}

int anchor_shutdown(struct anchor *an)
{
	return an->record.flags & ANCHOR_SHARED ? 0 : tpm_run(an->tpm, shutdown_op, NULL);
}

/* ---- rows ---- */

static int row_bytes(const struct journal_row *row, uint8_t mem[static JOURNAL_ROW_SIZE])
{
	struct buf b;

	buf_init(&b, mem, JOURNAL_ROW_SIZE);
	return journal_row_encode(&b, row);
}

/* Model: make_row. */
int anchor_mac(struct anchor *an, const struct journal_row *row, uint8_t mac[static DIGEST_LEN])
{
	uint8_t mem[JOURNAL_ROW_SIZE];
	const struct group_key *keys;
	int r = keys_of(an, &keys);

	if (!r)
		r = row_bytes(row, mem);
	return r ? r : wrap_hmac(keys->row, mem, sizeof(mem), mac);
}

/* What a row makes of the values before it; e: what it extends them with. */
static int row_after(const struct anchor *an, const struct group_key *keys, const struct journal_row *row,
		     uint8_t e[static DIGEST_LEN], struct row_view *view)
{
	uint8_t mem[JOURNAL_ROW_SIZE];
	int r = row_bytes(row, mem);

	if (!r)
		r = wrap_hmac(keys->extend, mem, sizeof(mem), e);
	memcpy(view->a_after, row->a_prev, DIGEST_LEN);
	memcpy(view->v_after, row->v_prev, DIGEST_LEN);
	if (!r && row->kind != ROW_PLAIN)
		r = nv_extended(row->a_prev, e, view->a_after);
	if (!r && has_v(an))
		r = nv_extended(row->v_prev, e, view->v_after);
	view->ok = !r;
	return r;
}

static int check_under(const struct anchor *an, const struct group_key *keys, const struct journal_row *row,
		       const uint8_t mac[static DIGEST_LEN], struct row_view *view)
{
	uint8_t mem[JOURNAL_ROW_SIZE], right[DIGEST_LEN], e[DIGEST_LEN];
	int r = row_bytes(row, mem);

	if (!r)
		r = wrap_hmac(keys->row, mem, sizeof(mem), right);
	if (!r && secmem_equal(mac, right, DIGEST_LEN))
		r = row_after(an, keys, row, e, view);
	secmem_wipe(right, sizeof(right));
	secmem_wipe(e, sizeof(e));
	return r;
}

/* Model: decide. Rows from before the root was rotated are verified as they were made. */
int anchor_check(struct anchor *an, const struct journal_row *row, const uint8_t mac[static DIGEST_LEN],
		 struct row_view *view)
{
	const struct group_key *keys, *former = groups_former(an->groups, GROUP_DEFAULT);
	int r = keys_of(an, &keys);

	memset(view, 0, sizeof(*view));
	if (!r)
		r = check_under(an, keys, row, mac, view);
	if (!r && !view->ok && former)
		r = check_under(an, former, row, mac, view);
	return r;
}

struct extend_job {
	struct anchor *an;
	const struct journal_row *row;
	uint8_t e[DIGEST_LEN];
	struct row_view after;
};

/* Model: stopped. */
static int foreign_value(struct tpm *t, const struct nv_index *x, const char *what)
{
	return tpm_fail(t, ERR_WRONG_STATE, "the anchor at 0x%08x %s", x->handle, what);
}

/*
 * Model: extend_v, extend_a.
 * Extends one index and reads it back. In a new context, which is also what follows a failure, it is read first: the old
 * value is extended, the new one was extended by the attempt that failed, and anything else is somebody else's.
 */
static int extend_one(struct tpm *t, struct extend_job *job, struct nv_index *x, const uint8_t *before,
		      const uint8_t *after)
{
	enum anchor_state state;
	uint8_t now[DIGEST_LEN];
	int r;

	if (x->context != t->context) {
		r = nv_look(t, x, &state, now);
		if (r)
			return r;
		if (state > ANCHOR_ABSENT)
			return foreign_value(t, x, "is not the index that we defined any more");
		if (state == ANCHOR_VALUE && !memcmp(now, after, DIGEST_LEN))
			return 0;
		if (memcmp(now, before, DIGEST_LEN) != 0)
			return foreign_value(t, x, "holds another value than we left there: the TPM was reset, or "
						   "somebody else extends it");
	}
	r = nv_extend(t, x, job->e);
	if (!r)
		r = nv_read(t, x, now);
	if (!r && memcmp(now, after, DIGEST_LEN) != 0)
		r = foreign_value(t, x, "holds another value than we extended it to: somebody else extends it, too");
	return r;
}

/* Model: extend_v, extend_a. V always before A. */
static int extend_op(struct tpm *t, void *arg)
{
	struct extend_job *job = arg;
	struct anchor *an = job->an;
	int r = 0;

	if (has_v(an))
		r = extend_one(t, job, &an->v, job->row->v_prev, job->after.v_after);
	if (!r && job->row->kind != ROW_PLAIN)
		r = extend_one(t, job, &an->a, job->row->a_prev, job->after.a_after);
	return r;
}

/* The TPM asks for time: it limits how fast its NV is written, or is busy with it (TPM 2.0 Part 2, 6.6.3). */
static bool passes(TSS2_RC rc)
{
	return rc == TPM2_RC_NV_RATE || rc == TPM2_RC_NV_UNAVAILABLE || rc == TPM2_RC_RETRY || rc == TPM2_RC_TESTING;
}

static void wait_ms(long ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&left, &left))
		;
}

/* One row, until it is there for certain or cannot be. */
static int extend_patiently(struct extend_job *job)
{
	struct tpm *t = job->an->tpm;
	long wait = WAIT_FIRST_MS, waited = 0;
	unsigned tries = 0;
	int r;

	while ((r = tpm_run(t, extend_op, job)) == ERR_TPM) {
		if (!passes(t->rc)) {
			if (++tries == EXTEND_TRIES)
				break;
			continue;
		}
		if (waited >= PATIENCE_MS)
			break;
		wait_ms(wait);
		waited += wait;
		wait = wait * 2 > WAIT_LONGEST_MS ? WAIT_LONGEST_MS : wait * 2;
	}
	return r;
}

/* Model: extend_v, extend_a. */
int anchor_extend(struct anchor *an, const struct journal_row *row)
{
	struct extend_job job = {.an = an, .row = row};
	const struct group_key *keys;
	int r = keys_of(an, &keys);

	if (r)
		return r;
	if (!an->open || (an->last && row->n <= an->last) || memcmp(row->a_prev, an->a_now, DIGEST_LEN) != 0 ||
	    memcmp(row->v_prev, an->v_now, DIGEST_LEN) != 0 || (!has_v(an) && row->kind == ROW_PLAIN))
		return tpm_fail(an->tpm, ERR_WRONG_STATE, "row %llu does not follow what the anchors hold",
				(unsigned long long)row->n);
	r = row_after(an, keys, row, job.e, &job.after);
	if (!r)
		r = extend_patiently(&job);
	secmem_wipe(job.e, sizeof(job.e));
	an->open = !r; /* after a failure only a look tells what they hold */
	if (r)
		return r;
	an->last = row->n;
	memcpy(an->a_now, job.after.a_after, DIGEST_LEN);
	memcpy(an->v_now, job.after.v_after, DIGEST_LEN);
	return 0;
}
