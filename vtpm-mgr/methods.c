/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods of org.vtpm.Manager: check what a client sent, act or ask, answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/attest.h"
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/launch.h"
#include "vtpm-mgr/policy.h"
#include "vtpm-mgr/reroot.h"

/* Reads the parameter key, a name, and its row; on failure the call has been answered. The row is freed by the caller. */
struct store_vtpm *row_named(struct mgr *m, struct call *c, json_t *params, const char *key)
{
	const char *name = json_string_value(json_object_get(params, key));
	struct store_vtpm *row;
	int err;

	if (!name || !name_valid(name)) {
		call_error(c, ERR_INVAL, "a name has 1 to %u letters, digits, '.', '_' and '-', and begins with none of '.' and '-'",
			   NAME_MAX_LEN);
		return NULL;
	}
	row = malloc(sizeof(*row));
	err = row ? store_vtpm_by_name(m->store, name, row) : ERR_NOMEM;
	if (!err)
		return row;
	if (err == ERR_NOTFOUND)
		call_error(c, err, "there is no vTPM named %s; see vtpmctl list", name);
	else
		call_error(c, err, "%s: %s", name, err == ERR_NOMEM ? err_text(err) : store_why(m->store));
	free(row);
	return NULL;
}

struct store_vtpm *row_of(struct mgr *m, struct call *c, json_t *params)
{
	return row_named(m, c, params, "name");
}

int bool_param(struct call *c, json_t *params, const char *key, bool *out)
{
	json_t *j = json_object_get(params, key);

	*out = json_is_true(j);
	if (!j || json_is_null(j) || json_is_boolean(j))
		return 0;
	call_error(c, ERR_INVAL, "%s must be true or false", key);
	return ERR_INVAL;
}

struct listing {
	struct mgr *m;
	json_t *list;
};

static int list_row(void *arg, const struct store_vtpm *row)
{
	struct listing *l = arg;

	return json_array_append_new(l->list, describe_vtpm(l->m, row, false)) ? ERR_NOMEM : 0;
}

static void method_list(void *arg, struct call *c, json_t *params)
{
	struct listing l = { .m = arg, .list = json_array() };
	int err = store_vtpm_each(l.m->store, list_row, &l);

	(void)params;
	if (!err) {
		call_reply(c, json_pack("{s:o}", "vtpms", l.list));
		return;
	}
	json_decref(l.list);
	call_error(c, err, "the list cannot be read: %s", store_why(l.m->store));
}

static void method_show(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *row = row_of(arg, c, params);

	if (row)
		call_reply(c, json_pack("{s:o}", "vtpm", describe_vtpm(arg, row, true)));
	free(row);
}

static json_t *reply_vtpm(struct mgr *m, const struct store_vtpm *row)
{
	return json_pack("{s:o}", "vtpm", describe_vtpm(m, row, true));
}

static void method_set(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *row = row_of(arg, c, params), *want = row ? malloc(sizeof(*want)) : NULL;
	char detail[80];

	if (row && !want)
		call_error(c, ERR_NOMEM, "out of memory");
	if (want)
		*want = *row;
	if (want && !snapshots_param(c, params, row->snapshots, &want->snapshots) &&
	    !launch_param(c, params, row->launch, &want->launch)) {
		snprintf(detail, sizeof(detail), "snapshots: %s, launch: %s", snapshots_words[want->snapshots],
			 launch_words[want->launch]);
		configure_set(arg, row, want, detail, reply_vtpm, c);
	}
	free(want);
	free(row);
}

static void method_start(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *row;
	struct vtpm *v;
	bool firmware;

	if (bool_param(c, params, "firmware", &firmware))
		return;
	row = row_of(arg, c, params);
	v = row ? vtpm_find(arg, row->uuid) : NULL;
	if (v && v->front)
		call_error(c, ERR_WRONG_STATE, "%s belongs to domain %u; reset powers it on for that", row->name,
			   xen_domid(v->front));
	else if (row)
		vtpm_start(arg, row, firmware, c);
	free(row);
}

static void method_stop(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *row = row_of(arg, c, params);
	struct vtpm *v = row ? vtpm_find(arg, row->uuid) : NULL;

	if (v)
		vtpm_stop(v, c);
	else if (row)
		call_error(c, ERR_WRONG_STATE, "%s is not running", row->name);
	free(row);
}

static void method_reset(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *row = row_of(arg, c, params);
	struct vtpm *v = row ? vtpm_find(arg, row->uuid) : NULL;

	if (v)
		vtpm_reset(v, row, c);
	else if (row && !xen_reset_lost(arg, row, c))
		call_error(c, ERR_WRONG_STATE, "%s is not running; start powers it on", row->name);
	free(row);
}

/* Suspend and Resume: fn ends the call. */
static void announce(struct mgr *m, struct call *c, json_t *params, void (*fn)(struct vtpm *v, struct call *c))
{
	struct store_vtpm *row = row_of(m, c, params);
	struct vtpm *v = row ? vtpm_find(m, row->uuid) : NULL;

	if (v)
		fn(v, c);
	else if (row)
		call_error(c, ERR_WRONG_STATE, "%s is not running", row->name);
	free(row);
}

static void method_suspend(void *arg, struct call *c, json_t *params)
{
	announce(arg, c, params, xen_suspend);
}

static void method_resume(void *arg, struct call *c, json_t *params)
{
	announce(arg, c, params, xen_resume);
}

/* By the number of its row: the uuid may be damaged since it was powered on. */
static struct vtpm *powered_row(struct mgr *m, const struct store_vtpm *row)
{
	struct vtpm *v = m->vtpms;

	while (v && v->row.id != row->id)
		v = v->next;
	return v;
}

struct destroy_call {
	struct mgr *m;
	struct call *c;
	struct store_vtpm row;
};

static void on_destroyed(void *arg, int code, const char *text)
{
	struct destroy_call *d = arg;

	mgr_audit(d->m, d->c, "destroy", &d->row, code, NULL);
	if (code)
		call_error(d->c, code, "%s is not destroyed: %s (%s)", d->row.name, err_text(code), text);
	else
		call_reply(d->c, NULL);
	free(d);
}

static void destroy_begin(struct mgr *m, struct call *c, const struct store_vtpm *row)
{
	struct destroy_call *d = calloc(1, sizeof(*d));

	if (!d) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*d = (struct destroy_call){ .m = m, .c = c, .row = *row };
	vtpm_destroy(m, row, on_destroyed, d);
}

static void method_destroy(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	struct store_vtpm *row;
	struct vtpm *v;
	bool force;

	if (bool_param(c, params, "force", &force))
		return;
	row = row_of(m, c, params);
	if (!row)
		return;
	v = powered_row(m, row);
	if (v && v->state != VTPM_FAILED) {
		call_error(c, ERR_WRONG_STATE, "%s is powered on; stop it first", row->name);
	} else if (vtpm_held_back(m, row->uuid)) {
		call_error(c, ERR_BUSY, "%s %s", row->name, vtpm_held_back(m, row->uuid));
	} else if (changes_destroy(m, row->id)) {
		call_error(c, ERR_BUSY, "%s is being destroyed", row->name);
	} else if (vtpm_why_quarantined(m, row) && !force) {
		call_error(c, ERR_QUARANTINE, "%s is quarantined (%s); --force destroys it all the same", row->name,
			   vtpm_why_quarantined(m, row));
	} else {
		if (v)
			vtpm_free(v);
		destroy_begin(m, c, row);
	}
	free(row);
}

static void method_certify(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *row = row_of(arg, c, params);

	if (row)
		certify_vtpm(arg, row, c);
	free(row);
}

static void method_status(void *arg, struct call *c, json_t *params)
{
	(void)params;
	call_reply(c, json_pack("{s:o}", "status", describe_status(arg)));
}

static void method_upgrade(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;

	(void)params;
	if (held_generation(m) == 0) {
		call_error(c, ERR_WRONG_STATE, "this manager was not started by vtpm-hold: guests would not outlive it");
		return;
	}
	mgr_audit(m, c, "upgrade", NULL, 0, NULL);
	m->held.again = true; /* when this round is over, and the answer on its way */
	call_reply(c, NULL);
}

/* --- quarantine --- */

static int list_quarantined(void *arg, const struct store_vtpm *row)
{
	struct listing *l = arg;

	if (!vtpm_why_quarantined(l->m, row))
		return 0;
	return json_array_append_new(l->list, describe_vtpm(l->m, row, false)) ? ERR_NOMEM : 0;
}

static void method_list_quarantine(void *arg, struct call *c, json_t *params)
{
	struct listing l = { .m = arg, .list = json_array() };
	int err = store_vtpm_each(l.m->store, list_quarantined, &l);
	json_t *reply = err ? NULL : json_pack("{s:o}", "vtpms", l.list);

	(void)params;
	if (!reply) {
		json_decref(l.list);
		call_error(c, err ? err : ERR_NOMEM, "the list cannot be read: %s", store_why(l.m->store));
		return;
	}
	if (l.m->continuity.state == CONTINUITY_QUARANTINED)
		json_object_set_new(reply, "store", json_string(l.m->continuity.reason));
	call_reply(c, reply);
}

/* A state that may be an old one is taken only by who says that he knows. */
static bool accepted(struct call *c, json_t *params)
{
	bool accept;

	if (bool_param(c, params, "accept_rollback", &accept))
		return false;
	if (accept)
		return true;
	call_error(c, ERR_INVAL, "what is released may be an old state, with old counters of failed authorisations: say "
				 "--i-accept-rollback if you accept that");
	return false;
}

static void method_release(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	struct store_vtpm *row;
	bool store;

	if (!accepted(c, params) || bool_param(c, params, "store", &store))
		return;
	if (store) {
		release_store(m, c);
		return;
	}
	row = row_of(m, c, params);
	if (row)
		release_vtpm(m, row, c);
	free(row);
}

/* What wanted_row reads. */
#define ROW_PARAMS "name uuid group user state_max commit_rate locality_max snapshots launch token machine"

const struct control_method methods[] = {
	{ "Create", ROLE_OPERATOR, ROW_PARAMS, 0, 0, method_create },
	{ "Import", ROLE_OPERATOR, ROW_PARAMS " secret", 1, IMPORT_FDS_MAX, method_import },
	{ "Clone", ROLE_OPERATOR, "name source uuid", 0, 0, method_clone },
	{ "List", ROLE_VIEWER, "", 0, 0, method_list },
	{ "Show", ROLE_VIEWER, "name", 0, 0, method_show },
	{ "Set", ROLE_OPERATOR, "name snapshots launch", 0, 0, method_set },
	{ "Launch", ROLE_OPERATOR, "name domain startup events signature", 0, 0, method_launch },
	{ "LaunchAllow", ROLE_OPERATOR, "name group digest key remove", 0, 0, method_launch_allow },
	{ "LaunchPolicy", ROLE_OPERATOR, "name group launch mismatch", 0, 0, method_launch_policy },
	{ "LaunchShow", ROLE_VIEWER, "name group", 0, 0, method_launch_show },
	{ "EventLog", ROLE_VIEWER, "name", 0, 0, method_event_log },
	{ "Start", ROLE_OPERATOR, "name firmware", 0, 0, method_start },
	{ "Stop", ROLE_OPERATOR, "name", 0, 0, method_stop },
	{ "Reset", ROLE_OPERATOR, "name", 0, 0, method_reset },
	{ "Suspend", ROLE_OPERATOR, "name", 0, 0, method_suspend },
	{ "Resume", ROLE_OPERATOR, "name", 0, 0, method_resume },
	{ "Destroy", ROLE_OPERATOR, "name force", 0, 0, method_destroy },
	{ "Certify", ROLE_OPERATOR, "name", 0, 0, method_certify },
	{ "Status", ROLE_VIEWER, "", 0, 0, method_status },
	{ "Upgrade", ROLE_OPERATOR, "", 0, 0, method_upgrade },
	{ "Ca", ROLE_VIEWER, "", 0, 0, method_ca },
	{ "Crl", ROLE_VIEWER, "", 0, 0, method_crl },
	{ "Attest", ROLE_OPERATOR, "name nonce", 0, 0, method_attest },
	{ "Enroll", ROLE_OPERATOR, "", 0, 0, method_enroll },
	{ "EnrollActivate", ROLE_OPERATOR, "blob", 0, 0, method_enroll_activate },
	{ "CreateGroup", ROLE_OPERATOR, "name pcrs insecure_pcrs mode share_kind share_salt share_envelope", 0, 0, method_create_group },
	{ "ShareBegin", ROLE_OPERATOR, "name nonce", 0, 0, method_share_begin },
	{ "GroupUnlock", ROLE_OPERATOR, "name envelope", 0, 0, method_group_unlock },
	{ "RecoveryInit", ROLE_OPERATOR, "keys", 0, 0, method_recovery_init },
	{ "RecoveryShow", ROLE_VIEWER, "", 0, 0, method_recovery_show },
	{ "RecoveryChallenge", ROLE_OPERATOR, "", 0, 0, method_recovery_challenge },
	{ "RecoveryRestore", ROLE_OPERATOR, "answers pcrs insecure_pcrs accept_rollback", 0, 0, method_recovery_restore },
	{ "Reseal", ROLE_OPERATOR, "group", 0, 0, method_reseal },
	{ "PolicyShow", ROLE_VIEWER, "group", 0, 0, method_policy_show },
	{ "PolicyPlan", ROLE_OPERATOR, "group set version", 0, 0, method_policy_plan },
	{ "PolicyApply", ROLE_OPERATOR, "group set", 0, 0, method_policy_apply },
	{ "PolicyRemove", ROLE_OPERATOR, "group version", 0, 0, method_policy_remove },
	{ "PolicyRaise", ROLE_OPERATOR, "group version", 0, 0, method_policy_raise },
	{ "PolicyTest", ROLE_OPERATOR, "group", 0, 0, method_policy_test },
	{ "PolicySet", ROLE_OPERATOR, "group kind policy_key recovery_key pcrs insecure_pcrs set", 0, 0, method_policy_set },
	{ "PolicyChallenge", ROLE_OPERATOR, "group", 0, 0, method_policy_challenge },
	{ "PolicyRecover", ROLE_OPERATOR, "group scheme signature seconds", 0, 0, method_policy_recover },
	{ "ListQuarantine", ROLE_VIEWER, "", 0, 0, method_list_quarantine },
	{ "Release", ROLE_OPERATOR, "name store accept_rollback", 0, 0, method_release },
	{ "Backup", ROLE_OPERATOR, "", 0, 0, method_backup },
	{ "BackupRead", ROLE_OPERATOR, "id", 0, 0, method_backup_read },
	{ "Restore", ROLE_OPERATOR, "only accept_rollback check", 0, 0, method_restore },
	{ "RestoreWrite", ROLE_OPERATOR, "id data", 0, 0, method_restore_write },
	{ "RestoreCommit", ROLE_OPERATOR, "id", 0, 0, method_restore_commit },
};
const size_t methods_len = ARRAY_LEN(methods);

/* Of vtpm-mgr --init --from --recover, which has no store yet. */
const struct control_method recover_methods[] = {
	{ "RecoveryChallenge", ROLE_OPERATOR, "", 0, 0, method_recovery_challenge },
	{ "RecoveryRestore", ROLE_OPERATOR, "answers pcrs insecure_pcrs accept_rollback", 0, 0, method_recovery_restore },
};
const size_t recover_methods_len = ARRAY_LEN(recover_methods);
