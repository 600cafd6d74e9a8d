/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * <runtime-dir>/NAME.swtpm: where a QEMU connects its tpm-emulator. Every vTPM of the store has one. To connect is to
 * power the TPM on; the socket goes to the backend, which alone reads what comes over it. When QEMU hangs up, the
 * TPM is powered off in order.
 *
 * As NAME.ring it may be connected by anyone, and serves operators and the vTPM's own user. One QEMU has the TPM at a
 * time. One more may come meanwhile, to wait or to take over (takeover.c); any other is hung up on, with a line in the
 * log, if there was none in the last second.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/control_socket.h"
#include "vtpm-mgr/mgr.h"

#define REFUSALS_LOGGED 8u /* of one connection */

/*
 * What may be done without a quota of its own though it goes to the disk of all: power-ons by a user who is no operator,
 * each a durable change and two lines of the audit log, and going back to an older state, a line.
 */
#define ALLOWANCE_MAX	   20u /* at once, */
#define ALLOWANCE_EVERY_MS 1000u /* and one more in that time */
struct allowance {
	uint64_t used, since_ms;
};

struct qemu_port {
	struct qemu_port *next;
	struct mgr *m;
	uint8_t uuid[UUID_LEN];
	char name[NAME_MAX_LEN + 1];
	int listener;
	struct loop_io listener_io;
	struct allowance power_ons, goings_back;
	char refusal[TEXT_MAX + 1]; /* why a QEMU did not get what it wanted, the last time */
};

int qemu_path(const struct mgr *m, const char *name, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s/%s.swtpm", m->cfg.runtime_dir, name);

	return n < 0 || (size_t)n >= cap ? ERR_RANGE : 0;
}

/* --- the QEMU that has the TPM --- */

bool qemu_has_gone(const struct vtpm *v)
{
	struct pollfd p = { .fd = v->qemu, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

void qemu_release(struct vtpm *v)
{
	loop_remove(&v->m->loop, &v->qemu_io);
	held_guest_drop(v);
	if (v->qemu >= 0) {
		v->firmware = false; /* it was the QEMU's: a ring that comes next need not have one */
		fronts_hung_up(v->m, v->qemu, v->reason);
	}
	fd_close(&v->qemu);
}

/* The backend sees it, too, and ends by itself; from here on there is a limit to how long it may take. */
static void on_hung_up(void *arg, uint32_t events)
{
	struct vtpm *v = arg;

	(void)events;
	loop_remove(&v->m->loop, &v->qemu_io);
	vtpm_hung_up(v); /* or resume_done, if it is without a backend */
}

int qemu_watch(struct vtpm *v)
{
	if (v->qemu_io.fd >= 0)
		return 0; /* since its last backend */
	return loop_add(&v->m->loop, &v->qemu_io, v->qemu, EPOLLRDHUP, on_hung_up, v);
}

/* --- those that come --- */

static struct qemu_port *port_find(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct qemu_port *p = m->qemu_ports;

	while (p && memcmp(p->uuid, uuid, UUID_LEN) != 0)
		p = p->next;
	return p;
}

void qemu_refused(struct vtpm *v, const char *fmt, ...)
{
	struct qemu_port *p = port_find(v->m, v->row.uuid);
	va_list ap;

	if (!p)
		return;
	va_start(ap, fmt);
	vsnprintf(p->refusal, sizeof(p->refusal), fmt, ap);
	va_end(ap);
	vtpm_reason_set(v, p->refusal); /* for whoever brought it, when it ends */
	if (v->qemu_told++ < REFUSALS_LOGGED)
		log_warn("%s: QEMU refused: %s", p->name, p->refusal);
}

const char *qemu_refusal(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	const struct qemu_port *p = port_find(m, uuid);

	return p && p->refusal[0] ? p->refusal : NULL;
}

static bool allowance_take(struct allowance *a)
{
	uint64_t now = loop_now_ms(), back = (now - a->since_ms) / ALLOWANCE_EVERY_MS;

	if (back > 0) {
		a->used -= back < a->used ? back : a->used;
		a->since_ms = now;
	}
	if (a->used >= ALLOWANCE_MAX)
		return false;
	a->used++;
	return true;
}

bool qemu_may_go_back(struct vtpm *v)
{
	struct qemu_port *p = port_find(v->m, v->row.uuid);

	return p && allowance_take(&p->goings_back);
}

static void refuse(const struct qemu_port *p, int sock, const char *why)
{
	control_log(p->m->control, "%s: QEMU refused: %s", p->name, why);
	fronts_hung_up(p->m, sock, why);
	fd_close(&sock);
}

static void start(struct qemu_port *p, int sock, uid_t uid)
{
	struct store_vtpm *row = malloc(sizeof(*row));
	char why[TEXT_MAX + 1];
	int err = row ? store_vtpm_by_uuid(p->m->store, p->uuid, row) : ERR_NOMEM;

	if (err) {
		refuse(p, sock, err == ERR_NOMEM ? err_text(err) : store_why(p->m->store));
	} else if (vtpm_start_qemu(p->m, row, sock, uid, why)) {
		snprintf(p->refusal, sizeof(p->refusal), "%s", why);
		refuse(p, sock, why);
	}
	free(row);
}

/* Only operators and the vTPM's own user. */
static bool permitted(const struct qemu_port *p, int sock, uid_t *uid, bool *operator)
{
	struct store_vtpm *row = malloc(sizeof(*row));
	bool yes = control_role_of(p->m->control, sock, uid) == ROLE_OPERATOR;

	*operator = yes;
	if (!yes && row && !store_vtpm_by_uuid(p->m->store, p->uuid, row))
		yes = row->user >= 0 && *uid == (uid_t)row->user;
	free(row);
	return yes;
}

/* An operator has said what that guest was booted from. A QEMU of the vTPM's user may be another one. */
static bool launched_for_another(const struct qemu_port *p)
{
	const struct vtpm *v = vtpm_find(p->m, p->uuid);

	return v && v->state == VTPM_LAUNCHED;
}

/* One that may have the TPM, or wait for it: it is started, or hung up on. */
static void admit(struct qemu_port *p, int sock, uid_t uid, bool operator)
{
	if (p->m->draining) {
		refuse(p, sock, "the manager is stopping");
	} else if (!operator && !allowance_take(&p->power_ons)) {
		refuse(p, sock, "it was powered on too often; its user has one more each second");
	} else {
		start(p, sock, uid);
	}
}

static void on_listener(void *arg, uint32_t events)
{
	struct qemu_port *p = arg;
	char why[80];
	int sock = control_accept(p->m->control, p->listener);
	bool operator;
	uid_t uid;

	(void)events;
	if (sock < 0)
		return;
	if (permitted(p, sock, &uid, &operator)) {
		if (operator || !launched_for_another(p))
			admit(p, sock, uid, operator);
		else
			refuse(p, sock, "it was launched, and only a QEMU of an operator, who vouches for what it boots, takes that");
		return;
	}
	snprintf(why, sizeof(why), "uid %u may not use it; the operator can permit one user with create --user", uid);
	refuse(p, sock, why);
}

void qemu_offer(struct mgr *m, const uint8_t uuid[static UUID_LEN], int sock, uid_t uid)
{
	struct qemu_port *p = port_find(m, uuid);

	if (p) {
		admit(p, sock, uid, false); /* as a user's: whoever has the token */
		return;
	}
	fronts_hung_up(m, sock, "it has been destroyed, or no socket could be made for it; the manager's log says more");
	fd_close(&sock);
}

/* --- ports --- */

static int listener_open(struct qemu_port *p)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int err = qemu_path(p->m, p->name, path, sizeof(path));

	p->listener = held_take_listener(p->m, HELD_PORT, p->uuid);
	if (!err && p->listener < 0)
		err = socket_listen_anew(path, SOCK_STREAM, 8, &p->listener);
	if (!err)
		held_keep(p->m, HELD_PORT, p->uuid, NULL, &p->listener, 1);
	return err ? err : loop_add(&p->m->loop, &p->listener_io, p->listener, EPOLLIN, on_listener, p);
}

static void port_free(struct qemu_port *p)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	loop_remove(&p->m->loop, &p->listener_io);
	if (p->listener >= 0)
		held_drop(p->m, HELD_PORT, p->uuid);
	if (p->listener >= 0 && !qemu_path(p->m, p->name, path, sizeof(path)))
		unlink(path);
	fd_close(&p->listener);
	free(p);
}

void qemu_port_open(struct mgr *m, const struct store_vtpm *row)
{
	struct qemu_port *p = calloc(1, sizeof(*p));
	int err = ERR_NOMEM;

	if (p) {
		*p = (struct qemu_port){ .m = m, .listener = -1, .listener_io.fd = -1 };
		memcpy(p->uuid, row->uuid, UUID_LEN);
		snprintf(p->name, sizeof(p->name), "%s", row->name);
		err = listener_open(p);
	}
	if (!err) {
		p->next = m->qemu_ports;
		m->qemu_ports = p;
		return;
	}
	log_error("%s: no QEMU can use it: its socket cannot be made: %s", row->name, err_text(err));
	if (p)
		port_free(p);
}

static int open_row(void *arg, const struct store_vtpm *row)
{
	/* A damaged row may hold anything; it could not be started, either. */
	if (!row->damaged && name_valid(row->name))
		qemu_port_open(arg, row);
	return 0;
}

int qemu_ports_open(struct mgr *m)
{
	return store_vtpm_each(m->store, open_row, m);
}

void qemu_port_close(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct qemu_port **at = &m->qemu_ports, *p;

	while (*at && memcmp((*at)->uuid, uuid, UUID_LEN) != 0)
		at = &(*at)->next;
	p = *at;
	if (!p)
		return;
	*at = p->next;
	port_free(p);
}

void qemu_ports_close(struct mgr *m)
{
	while (m->qemu_ports)
		qemu_port_close(m, m->qemu_ports->uuid);
}
