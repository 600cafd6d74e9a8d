/* SPDX-License-Identifier: BSD-2-Clause */
/* What the control interface answers: vTPMs, groups and status as JSON, as org.vtpm.Manager.varlink describes them. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vtpm-mgr/attest.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/launch.h"
#include "vtpm-mgr/reroot.h"
#include "lib/version.h"

const char *const snapshots_words[] = { "refuse", "allow" };
const char *const launch_words[] = { "auto", "required", "off" };

json_t *describe_time(int64_t seconds)
{
	char text[32] = "";
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

json_t *describe_pem(const char *label, const uint8_t *der, size_t len)
{
	char b64[(CERT_MAX + 2) / 3 * 4 + 1], pem[sizeof(b64) + sizeof(b64) / 64 + 96];
	size_t n, at;

	if (len > CERT_MAX)
		return json_null();
	n = (size_t)EVP_EncodeBlock((unsigned char *)b64, der, (int)len);
	at = (size_t)snprintf(pem, sizeof(pem), "-----BEGIN %s-----\n", label);
	for (size_t i = 0; i < n; i += 64)
		at += (size_t)snprintf(pem + at, sizeof(pem) - at, "%.64s\n", b64 + i);
	snprintf(pem + at, sizeof(pem) - at, "-----END %s-----\n", label);
	return json_string(pem);
}

/* Why it takes its time; text: where that may be put. */
static const char *waits_for(const struct vtpm *v, char *text, size_t cap)
{
	const uint64_t now = loop_now_ms();

	if (v->state == VTPM_FAILED || v->waits_share)
		return v->reason;
	if (v->state == VTPM_STOPPING || v->held_until <= now)
		return NULL;
	snprintf(text, cap, "its quota of anchored changes (--anchors-per-guest) is spent: its guest gets the next answer in %llu s",
		 (unsigned long long)((v->held_until - now + 999) / 1000));
	return text;
}

static void describe_run(struct mgr *m, const struct store_vtpm *row, const char *why, json_t *j)
{
	static const char *const words[] = { "stopped", "starting", "running", "stopping", "failed", "launched" };
	struct vtpm *v = vtpm_find(m, row->uuid), *waiting = takeover_waiting(m, row->uuid);
	const char *state = v ? words[v->state] : "stopped";
	char path[128], held[160];
	const char *reason = v ? waits_for(v, held, sizeof(held)) : NULL;

	if (why && !(v && v->state == VTPM_RUNNING)) {
		state = "quarantined";
		reason = why;
	} else if (m->continuity.state == CONTINUITY_QUARANTINED && !v) {
		state = "quarantined";
		reason = m->continuity.reason;
	}
	json_object_set_new(j, "state", json_string(state));
	if (reason)
		json_object_set_new(j, "reason", json_string(reason));
	if (v && v->state == VTPM_RUNNING && v->qemu < 0 && !v->xen && !ring_path(m, row->name, path, sizeof(path)))
		json_object_set_new(j, "ring", json_string(path));
	if (!qemu_path(m, row->name, path, sizeof(path)))
		json_object_set_new(j, "swtpm", json_string(path));
	json_object_set_new(j, "held", json_boolean(v && v->kept_as && held_generation(m) > 0));
	if (v && v->replacements > 0)
		json_object_set_new(j, "replacements", json_integer((json_int_t)v->replacements));
	if (v && v->state == VTPM_RUNNING && v->qemu >= 0)
		json_object_set_new(j, "qemu_uid", json_integer(v->qemu_uid));
	if (v && v->front)
		json_object_set_new(j, "domain", json_integer(xen_domid(v->front)));
	if (v && v->announced)
		json_object_set_new(j, "announced", json_true());
	if (waiting)
		json_object_set_new(j, "waiting_uid", json_integer(waiting->qemu_uid));
	if (qemu_refusal(m, row->uuid))
		json_object_set_new(j, "refusal", json_string(qemu_refusal(m, row->uuid)));
}

/* Whom it was set up for, as he said. */
static void describe_machine(const struct store_vtpm *row, json_t *j)
{
	char uuid[UUID_STR_LEN + 1];

	uuid_format(row->machine, uuid);
	if (row->has_machine)
		json_object_set_new(j, "machine", json_string(uuid));
	json_object_set_new(j, "orphaned", json_boolean(row->orphaned));
}

json_t *describe_vtpm(struct mgr *m, const struct store_vtpm *row, bool with_eks)
{
	const struct leaf *leaf = leaves_find(&m->continuity.leaves, row->uuid);
	const char *why = vtpm_why_quarantined(m, row);
	struct vtpm *v = vtpm_find(m, row->uuid);
	char uuid[UUID_STR_LEN + 1];
	json_t *j;

	uuid_format(row->uuid, uuid);
	j = json_pack("{s:s, s:s, s:s, s:o, s:I, s:i, s:i, s:i, s:i, s:s, s:I, s:o}", "name", row->name, "uuid", uuid, "group",
		      row->group, "created", describe_time(row->created), "version",
		      (json_int_t)(v && v->version > row->version ? v->version : row->version), "sealed_bytes",
		      (int)row->sealed_len, "state_max", (int)row->state_max, "commit_rate", (int)row->commit_rate,
		      "locality_max", (int)row->locality_max, "snapshots", snapshots_words[row->snapshots], "rollbacks",
		      (json_int_t)(v && v->row.rollbacks > row->rollbacks ? v->row.rollbacks : row->rollbacks), "ek", json_array());
	if (!j)
		return NULL;
	json_object_set_new(j, "key_due", json_boolean(row->key_due));
	if (with_eks)
		describe_keys(m, row, j);
	if (leaf)
		json_object_set_new(j, "mode", json_string(describe_mode(leaf->l.mode)));
	if (leaf)
		json_object_set_new(j, "discontinuities", json_integer((json_int_t)leaf->l.discontinuities));
	json_object_set_new(j, "launch", json_string(launch_words[row->launch]));
	launch_describe(v, j);
	if (row->user >= 0)
		json_object_set_new(j, "user", json_integer(row->user));
	if (row->has_token)
		describe_machine(row, j);
	describe_run(m, row, why, j);
	return j;
}

json_t *describe_group(const struct group *g)
{
	json_t *pcrs = json_array(), *j;

	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (g->mask & (1u << i))
			json_array_append_new(pcrs, json_integer(i));
	j = json_pack("{s:s, s:o, s:b, s:b}", "name", g->name, "pcrs", pcrs, "insecure_pcrs",
		      (int)(g->flags & SEAL_INSECURE_PCRS), "open", (int)g->open);
	if (j && g->flags & SEAL_SHARE)
		json_object_set_new(j, "share", json_true());
	if (j && g->vouched)
		json_object_set_new(j, "mode", json_string(describe_mode(g->mode)));
	if (j)
		json_object_set_new(j, "policy", json_string(g->kind == POLICY_SIGNED ? "signed" : "fixed"));
	if (j)
		json_object_set_new(j, "locked", json_boolean(g->locked));
	if (j)
		json_object_set_new(j, "recovery_key", json_boolean(g->has_recovery));
	if (j && g->reason[0] && (!g->open || g->locked || g->recovered))
		json_object_set_new(j, "reason", json_string(g->reason));
	return j;
}

static json_t *describe_tpm(const struct mgr *m)
{
	static const char *const kinds[] = { "hardware", "software", "virtual" };
	const struct keeper *k = &m->keeper;
	const struct group *g = k->groups;
	static const char *const states[] = { "lost", "starting", "ok", "foreign" }; /* enum keeper_state */
	const char *state = states[k->state];
	const char *reason = k->reason;
	char firmware[40];
	json_t *j;

	while (g && strcmp(g->name, DEFAULT_GROUP) != 0)
		g = g->next;
	if (k->state == KEEPER_READY && g && !g->open) {
		state = "sealed";
		reason = g->reason;
	}
	snprintf(firmware, sizeof(firmware), "%u.%u", (unsigned)(k->status.firmware >> 32),
		 (unsigned)(k->status.firmware & 0xffffffff));
	j = json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s}", "state", state, "kind",
		      k->has_status ? kinds[k->status.kind] : "unknown", "hardware_backed",
		      k->has_status && k->status.kind == TPM_HARDWARE, "manufacturer", k->status.manufacturer, "vendor",
		      k->status.vendor, "firmware", firmware, "tcti", m->cfg.tcti);
	if (j && reason[0])
		json_object_set_new(j, "reason", json_string(reason));
	return j;
}

static json_t *describe_warnings(struct mgr *m)
{
	json_t *w = json_array();

	if (m->keeper.has_status && m->keeper.status.kind != TPM_HARDWARE)
		json_array_append_new(w, json_string("the physical TPM is not hardware-backed: whoever can read its state "
						     "can read every vTPM"));
	for (const struct group *g = m->keeper.groups; g; g = g->next)
		if (g->flags & SEAL_INSECURE_PCRS)
			json_array_append_new(w, json_sprintf("group %s is sealed to PCRs that were never extended "
							      "(--insecure-pcrs): any boot of this host opens it",
							      g->name));
	for (const struct group *g = m->keeper.groups; g; g = g->next)
		if (g->open && (g->locked || g->recovered))
			json_array_append_new(w, json_sprintf("group %s: %s", g->name, g->reason));
	if (!m->sandboxed)
		json_array_append_new(w, json_string("the manager was not started as root: backends share its uid and are "
						     "confined by seccomp alone"));
	describe_continuity_warnings(m, w);
	describe_recovery_warnings(m, w);
	return w;
}

struct counts {
	struct mgr *m;
	int all, quarantined, due;
};

static int count_row(void *arg, const struct store_vtpm *row)
{
	struct counts *n = arg;

	n->all++;
	n->quarantined += vtpm_why_quarantined(n->m, row) != NULL;
	n->due += row->key_due;
	return 0;
}

static const char *store_word(int err)
{
	return !err ? "ok" : err == ERR_FULL ? "full" : err == ERR_READONLY ? "readonly" : "failing";
}

/* Absent without vtpm-hold. */
static void describe_hold(const struct mgr *m, json_t *j)
{
	if (j && held_generation(m) > 0)
		json_object_set_new(j, "hold", json_pack("{s:I, s:i}", "generation", (json_int_t)held_generation(m), "waiting",
							 (int)held_guests_waiting(m)));
}

json_t *describe_status(struct mgr *m)
{
	json_t *groups = json_array(), *j;
	struct counts n = { .m = m };
	int running = 0;

	for (struct group *g = m->keeper.groups; g; g = g->next)
		json_array_append_new(groups, describe_group(g));
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		running += v->state == VTPM_RUNNING && !v->incoming;
	if (store_vtpm_each(m->store, count_row, &n))
		n = (struct counts){ .m = m };
	j = json_pack("{s:s, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:s, s:o, s:b, s:o}", "version", VTPM_VERSION,
			 "tpm", describe_tpm(m), "groups", groups, "vtpms", n.all, "running", running, "quarantined",
			 n.quarantined, "keys_due", n.due, "pool", (int)m->pool_count, "pool_target", (int)m->cfg.pool, "commits",
			 (json_int_t)m->continuity.commits, "changes", (json_int_t)m->continuity.changes, "store",
			 store_word(m->continuity.store_result), "continuity", describe_continuity(m), "sandboxed", (int)m->sandboxed, "warnings",
			 describe_warnings(m));
	describe_hold(m, j);
	if (j)
		json_object_set_new(j, "attestation", attest_describe(m));
	if (j && m->xen)
		json_object_set_new(j, "xsm", json_string(xen_xsm_word(m->xsm)));
	return j;
}
