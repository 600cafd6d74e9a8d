/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which of two QEMUs has a vTPM, and which state it goes on from. A migration on one host has two: the target
 * connects while the source has the TPM, and is let in to wait, with a backend that has the key but no state and
 * may not commit. When a QEMU initialises the TPM with a state that was saved, or one that waits does it without,
 * its backend asks (STORE_TAKE), and is answered by who has the TPM:
 *
 *	nobody, or	nothing was brought: the newest state is given out
 *	the asker	the newest version: yes
 *			an older one: if the policy allows, and the next commit counts it as a rollback
 *	one that ends	as above, when it is gone
 *	one that runs	what it stored last, and it has no change on the way: it is killed, and then as above
 *			anything else, or nothing: no
 *
 * So a TPM moves only with a state of its present version, and whatever happens to a TPM after it was saved changes
 * the version before it happens (vtpm-backend/commit.h): nothing that the source's guest was told is lost, and what
 * was on the way in the source's backend when it is killed was told nobody.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/reroot.h"

struct vtpm *takeover_waiting(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		if (v->incoming && !memcmp(v->row.uuid, uuid, UUID_LEN))
			return v;
	return NULL;
}

/* --- answers --- */

static void answer(struct vtpm *v, const struct store_taken *t)
{
	struct buf b;
	int err;

	v->asked = false;
	if (v->w.store < 0)
		return;
	buf_init(&b, v->m->tx, sizeof(v->m->tx));
	err = store_taken_encode(&b, t);
	if (!err)
		err = ipc_send(v->w.store, STORE_TAKEN, &b, NULL, 0);
	if (err && err != ERR_CLOSED) /* one that has ended asks again, by the one that takes its place */
		worker_kill(&v->w);
}

__attribute__((format(printf, 3, 4))) static void refuse(struct vtpm *v, int code, const char *fmt, ...)
{
	char why[TEXT_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	qemu_refused(v, "%s", why);
	answer(v, &(struct store_taken){ .code = code });
}

static void refuse_version(struct vtpm *v, uint64_t stored)
{
	unsigned long long had = v->asked_version, has = stored;
	const char *name = v->row.name;

	if (had > has)
		refuse(v, ERR_WRONG_STATE,
		       "it brought the TPM as of change %llu, and the store has change %llu: an older store was put back, or "
		       "the state is of another time; boot the machine instead of resuming it",
		       had, has);
	else if (v->incoming)
		refuse(v, ERR_WRONG_STATE,
		       "it brought the TPM as of change %llu, and the QEMU that has it went on to change %llu: go on there, "
		       "or save it anew",
		       had, has);
	else
		refuse(v, ERR_WRONG_STATE,
		       "it brought the TPM as of change %llu, and the TPM has gone on since, to change %llu: boot the machine "
		       "instead of resuming it, or, if it may forget what happened, vtpmctl stop %s; vtpmctl set %s "
		       "--snapshots allow",
		       had, has, name, name);
}

/* It has the TPM from here on. sealed: the state that it starts from, if it brought none. */
static void grant(struct vtpm *v, const uint8_t *sealed, size_t len)
{
	if (v->asked_version)
		log_info("%s: a QEMU of uid %u resumes it as of change %llu", v->row.name, v->qemu_uid,
			 (unsigned long long)v->asked_version);
	v->rollback_to = v->asked_version && v->asked_version != v->version ? v->asked_version : 0;
	v->opening = !v->asked_version;
	vtpm_reason_set(v, "");
	v->standby = false;
	v->w.state = WORKER_OWNS;
	held_guest_update(v);
	answer(v, &(struct store_taken){ .version = v->version, .sealed = sealed, .sealed_len = len });
}

/* Nobody else has the TPM. */
static void settle(void *arg)
{
	const char *why = "its state cannot be read";
	struct vtpm *v = arg;
	uint8_t *sealed = NULL;
	size_t len = 0;
	int err = 0;

	if (renew_overtook(v)) { /* what it seals would be under a key that nobody has any more */
		refuse(v, ERR_WRONG_STATE, RENEWED_TEXT);
		return;
	}
	if (v->standby) {
		sealed = malloc(SEALED_STATE_MAX);
		err = sealed ? vtpm_state_get(v, sealed, &len, &why) : ERR_NOMEM;
	}
	if (err == ERR_AUTH && !v->row.quarantine[0]) { /* however often it asks */
		vtpm_quarantine(v->m, &v->row, why);
		snprintf(v->row.quarantine, sizeof(v->row.quarantine), "%s", why);
	}
	if (err)
		refuse(v, err, "%s: %s", why, err_text(err));
	else if (!v->asked_version)
		grant(v, sealed, len);
	else if (v->asked_version == v->version)
		grant(v, NULL, 0);
	else if (v->asked_version > v->version || v->row.snapshots != SNAPSHOTS_ALLOW)
		refuse_version(v, v->version);
	else if (!qemu_may_go_back(v))
		refuse(v, ERR_AGAIN, "its TPM went back to older states too often; it may once more each second");
	else
		grant(v, NULL, 0);
	free(sealed);
}

/* --- who has it --- */

/* What is on its way in its channels is not read any more: it was answered to nobody. */
static void fence(struct vtpm *owner, const struct vtpm *by)
{
	log_info("%s: a QEMU of uid %u takes it over from one of uid %u", owner->row.name, by->qemu_uid, owner->qemu_uid);
	owner->fenced = true;
	vtpm_reason_set(owner, "another QEMU has taken it over");
	owner->state = VTPM_STOPPING;
	loop_remove(&owner->m->loop, &owner->qemu_io);
	worker_kill(&owner->w);
}

/* The version that the store has of a vTPM that somebody has. */
static uint64_t version_of(struct vtpm *owner)
{
	struct store_vtpm *row;

	if (!owner->standby)
		return owner->version;
	row = malloc(sizeof(*row));
	if (row && !store_vtpm_by_uuid(owner->m->store, owner->row.uuid, row))
		owner->version = row->version;
	free(row);
	return owner->version;
}

static void decide(struct vtpm *v)
{
	struct vtpm *owner = v->incoming ? vtpm_find(v->m, v->row.uuid) : NULL;

	if (v->m->draining || v->state != VTPM_RUNNING)
		answer(v, &(struct store_taken){ .code = ERR_CLOSED });
	else if (!owner)
		changes_wait(v->m, settle, v); /* what the last one had in flight is durable then, or never will be */
	else if (owner->state == VTPM_STOPPING || owner->resuming || qemu_has_gone(owner))
		return; /* takeover_next, takeover_again */
	else if (owner->state != VTPM_RUNNING || !v->asked_version)
		refuse(v, ERR_BUSY, "another QEMU, of uid %u, has its TPM: end that one first, or resume what it saves",
		       owner->qemu_uid);
	else if (owner->change || v->asked_version != version_of(owner))
		refuse_version(v, version_of(owner) + (owner->change != NULL));
	else
		fence(owner, v);
}

int takeover_ask(struct vtpm *v, struct ipc_msg *msg)
{
	struct store_take t;
	int err = store_take_decode(&msg->body, &t);

	if (err)
		return err;
	/* One request at a time; only who has no state may ask for one. */
	if (v->qemu < 0 || v->asked || v->change || (!t.version && !v->standby))
		return ERR_PROTO;
	v->asked = true;
	v->asked_version = t.version;
	decide(v);
	return 0;
}

/* As one that connects anew: otherwise a QEMU that makes TPMs crash would only need another that waits. */
static void send_off(struct vtpm *v, const struct vtpm *owner)
{
	qemu_refused(v, "it crashed %u times in a row and is not started again before \"vtpmctl stop %s\": %.200s",
		     owner->crashes, v->row.name, owner->reason);
	vtpm_send_off(v);
	if (v->asked)
		decide(v);
}

void takeover_next(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct vtpm *v = takeover_waiting(m, uuid), *owner = vtpm_find(m, uuid);

	if (!v || (owner && owner->state != VTPM_FAILED))
		return;
	if (owner && owner->crashes >= CRASHES_MAX) {
		send_off(v, owner);
		return;
	}
	if (owner) {
		v->crashes = owner->crashes;
		vtpm_free(owner);
	}
	v->incoming = false;
	held_guest_update(v);
	if (v->asked)
		decide(v);
}

void takeover_again(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct vtpm *v = takeover_waiting(m, uuid);

	if (v && v->asked)
		decide(v);
}

void takeover_settle(struct vtpm *v, uint64_t was)
{
	if (v->version > was)
		takeover_rolled_back(v);
	v->rollback_to = 0; /* or its next backend asks for it once more */
}

void takeover_rolled_back(struct vtpm *v)
{
	char detail[160];

	snprintf(detail, sizeof(detail), "from change %llu to the state of change %llu, which is now change %llu",
		 (unsigned long long)(v->version - 1), (unsigned long long)v->rollback_to, (unsigned long long)v->version);
	v->rollback_to = 0;
	log_warn("%s: went back %s, as --snapshots allow permits", v->row.name, detail);
	mgr_audit(v->m, NULL, "rollback", &v->row, 0, detail);
}
