/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests of Xen: finds the devices that libxl has made for this domain as their back end, by a watch on
 * backend/vtpm, and keeps a struct xen_front for each. Another watch is on the state of each front end, and one on
 * domains that end, where this domain may have it (dom0 may).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/xen.h"

#define TOKEN_BACK   "back"
#define TOKEN_DOMAIN "domain"
#define TOKEN_FRONT  "front/" /* DOMID/HANDLE */

#define LIST_AGAIN_MS 5000u

int xen_back_path(const struct xen_front *f, const char *node, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s/%u/%u%s%s", f->m->xen->base, f->domid, f->handle, node[0] ? "/" : "", node);

	return n < 0 || (size_t)n >= cap ? ERR_RANGE : 0;
}

int xen_front_path(const struct xen_front *f, const char *node, char *out, size_t cap)
{
	int n = snprintf(out, cap, "/local/domain/%u/device/vtpm/%u/%s", f->domid, f->handle, node);

	return n < 0 || (size_t)n >= cap ? ERR_RANGE : 0;
}

/* --- front ends --- */

static void front_token(const struct xen_front *f, char token[static 32])
{
	snprintf(token, 32, TOKEN_FRONT "%u/%u", f->domid, f->handle);
}

static struct xen_front *front_find(const struct mgr *m, unsigned domid, unsigned handle)
{
	struct xen_front *f = m->xen->fronts;

	while (f && (f->domid != domid || f->handle != handle))
		f = f->next;
	return f;
}

static void on_watched(void *arg, int err, const char *value, size_t len)
{
	(void)value;
	(void)len;
	xen_mute(arg, err);
}

struct xen_front *xen_front_recall(struct mgr *m, unsigned domid, unsigned handle)
{
	struct xen_front *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct xen_front){ .m = m, .domid = domid, .handle = handle, .at = XEN_NODES, .next = m->xen->fronts };
	m->xen->fronts = f;
	return f;
}

static void front_watch(struct xen_front *f)
{
	char path[128], token[32];

	front_token(f, token);
	f->watched = !xen_front_path(f, "state", path, sizeof(path));
	if (f->watched)
		xenstore_watch(f->m->xen->store, path, token, on_watched, f); /* fires at once: the first look */
}

/* Looks at a device that may be new. */
static void front_touch(struct mgr *m, unsigned domid, unsigned handle)
{
	struct xen_front *f = front_find(m, domid, handle);

	if (f) {
		xen_look(f);
		return;
	}
	f = xen_front_recall(m, domid, handle);
	if (f)
		front_watch(f);
	else
		log_error("domain %u: no memory to serve it", domid);
}

void xen_front_free(struct xen_front *f)
{
	char path[128], token[32];

	for (struct xen_front **p = &f->m->xen->fronts; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	xen_look_end(f);
	xen_making_end(f);
	front_token(f, token);
	if (f->watched && f->m->xen->store && !xen_front_path(f, "state", path, sizeof(path)))
		xenstore_unwatch(f->m->xen->store, path, token);
	free(f);
}

/* --- what there is --- */

static void list_handles(struct mgr *m, unsigned domid);
static void on_list_again(void *arg);

/* The names of children that are numbers; others are nobody's device. */
static void each_number(const char *list, size_t len, void (*fn)(struct mgr *m, unsigned parent, unsigned n), struct mgr *m,
			unsigned parent)
{
	const char *end = list + len;
	uint64_t v;

	for (const char *p = list; p < end; p += strlen(p) + 1)
		if (!parse_u64(p, UINT16_MAX, &v))
			fn(m, parent, (unsigned)v);
}

struct listing {
	struct mgr *m;
	unsigned domid;
};

/* A list that was not had is had later: nothing else would tell of devices that are there already. */
static void not_listed(struct mgr *m, int err)
{
	if (err == ERR_NOTFOUND || err == ERR_CLOSED || !m->xen->store || m->xen->list_again.due_ms)
		return;
	log_error("the guests of Xen cannot be listed: %s; trying again", err_text(err));
	loop_timer_set(&m->loop, &m->xen->list_again, LIST_AGAIN_MS, on_list_again, m);
}

static void on_handles(void *arg, int err, const char *value, size_t len)
{
	struct listing *l = arg;

	if (err)
		not_listed(l->m, err);
	else if (l->m->xen->store)
		each_number(value, len, front_touch, l->m, l->domid);
	free(l);
}

static void list_handles(struct mgr *m, unsigned domid)
{
	struct listing *l = malloc(sizeof(*l));
	char path[96];

	if (!l) {
		not_listed(m, ERR_NOMEM);
		return;
	}
	*l = (struct listing){ m, domid };
	snprintf(path, sizeof(path), "%s/%u", m->xen->base, domid);
	xenstore_list(m->xen->store, path, on_handles, l);
}

static void on_domain(struct mgr *m, unsigned parent, unsigned domid)
{
	(void)parent;
	list_handles(m, domid);
}

static void walk_on(struct mgr *m);

static void on_walked(void *arg, int err, const char *value, size_t len)
{
	struct mgr *m = arg;

	if (!err && m->xen->store)
		each_number(value, len, front_touch, m, m->xen->walk);
	if (err && err != ERR_NOTFOUND) {
		m->xen->walk = 0;
		not_listed(m, err);
	} else {
		walk_on(m);
	}
}

/* The names of all do not fit into one message: the directory of each domain that there may be is asked for, one after the other. */
static void walk_on(struct mgr *m)
{
	char path[96];

	if (m->xen->walk == XEN_DOMID_MAX) {
		m->xen->walk = 0;
		return;
	}
	m->xen->walk++;
	snprintf(path, sizeof(path), "%s/%u", m->xen->base, m->xen->walk);
	xenstore_list(m->xen->store, path, on_walked, m);
}

static void on_domains(void *arg, int err, const char *value, size_t len)
{
	struct mgr *m = arg;

	if (err == ERR_RANGE && !m->xen->walk) {
		log_info("there are more guests than one message of xenstore names: looking for each");
		list_handles(m, 0);
		walk_on(m);
	} else if (err && err != ERR_RANGE) {
		not_listed(m, err);
	} else if (!err && m->xen->store) {
		each_number(value, len, on_domain, m, 0);
	}
}

static void list_domains(struct mgr *m)
{
	xenstore_list(m->xen->store, m->xen->base, on_domains, m);
}

static void on_list_again(void *arg)
{
	struct mgr *m = arg;

	if (m->xen->store)
		list_domains(m);
}

/* A subtree that goes away fires with its own path only. */
static void look_at_all(struct mgr *m)
{
	for (struct xen_front *f = m->xen->fronts; f; f = f->next)
		xen_look(f);
}

/* rest: of a path below base; "" or "/DOMID…" */
static void on_back(struct mgr *m, const char *rest)
{
	unsigned domid, handle;
	const char *end;
	uint64_t v;

	if (rest[0] == '/' && !xen_path_parse(rest + 1, &domid, &handle, &end)) {
		front_touch(m, domid, handle);
		return;
	}
	look_at_all(m);
	if (rest[0] == '\0')
		list_domains(m);
	else if (!parse_u64(rest + 1, UINT16_MAX, &v))
		list_handles(m, (unsigned)v);
}

/* Whose ring it was may have ended meanwhile. */
int xen_ring_refused(struct mgr *m, const struct spawn_attach *a)
{
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		if (v->front && v->front->domid == a->domid && v->front->d.ring == XEN_RING_COMING && v->front->d.ref == a->ref &&
		    v->front->d.port == a->port)
			return xen_ring_attached(v, ERR_FULL);
	return 0;
}

/* --- domains that end --- */

static void ask_for_domain(struct xen_front *f);

static void on_introduced(void *arg, int err, const char *value, size_t len)
{
	struct xen_front *f = arg;
	bool again = f->ask_again;

	(void)len;
	f->asking = f->ask_again = false;
	if (!err && strcmp(value, "F") == 0) {
		f->d.dead = true;
		xen_look(f);
	} else if (again && err != ERR_CLOSED) {
		ask_for_domain(f);
	}
}

/* One question at a time: hundreds of domains that end at once would have each of the others asked for hundreds of times. */
static void ask_for_domain(struct xen_front *f)
{
	if (f->asking) {
		f->ask_again = true;
		return;
	}
	f->asking = true;
	xenstore_is_introduced(f->m->xen->store, f->domid, on_introduced, f);
}

static void on_released(struct mgr *m)
{
	for (struct xen_front *f = m->xen->fronts; f; f = f->next)
		ask_for_domain(f);
}

/* --- xenstore --- */

static void on_fired(void *arg, const char *path, const char *token)
{
	struct mgr *m = arg;
	size_t n = strlen(m->xen->base);
	struct xen_front *f;
	unsigned domid, handle;
	const char *end;

	if (m->draining)
		return;
	if (!strcmp(token, TOKEN_DOMAIN)) {
		on_released(m);
	} else if (!strcmp(token, TOKEN_BACK)) {
		if (!strncmp(path, m->xen->base, n))
			on_back(m, path + n);
	} else if (!strncmp(token, TOKEN_FRONT, strlen(TOKEN_FRONT)) &&
		   !xen_path_parse(token + strlen(TOKEN_FRONT), &domid, &handle, &end)) {
		f = front_find(m, domid, handle);
		if (f)
			xen_look(f);
	}
}

/* The kernel gives no second connection to a process in its sandbox. Guests that have their ring go on. */
static void on_lost(void *arg)
{
	struct mgr *m = arg;

	log_error("xenstore has gone: guests of Xen keep their TPMs, and none can come or go before the manager is restarted");
	xenstore_free(m->xen->store);
	m->xen->store = NULL;
}

static void on_watching(void *arg, int err, const char *value, size_t len)
{
	struct mgr *m = arg;

	(void)value;
	(void)len;
	if (err)
		log_error("guests of Xen are not served: %s cannot be watched: %s", m->xen->base, err_text(err));
	else
		log_info("serving guests of Xen below %s", m->xen->base);
}

static void on_domid(void *arg, int err, const char *value, size_t len)
{
	struct mgr *m = arg;
	uint64_t domid;

	(void)len;
	if (err == ERR_CLOSED)
		return;
	/* xenstored's own socket knows no domain that a path could be relative to. It is where dom0 is. */
	if (err == ERR_NOTFOUND) {
		err = 0;
		value = "0";
	}
	if (err || parse_u64(value, UINT16_MAX, &domid)) {
		log_error("guests of Xen are not served: this domain has no id: %s", err_text(err ? err : ERR_PROTO));
		return;
	}
	snprintf(m->xen->base, sizeof(m->xen->base), "/local/domain/%u/backend/vtpm", (unsigned)domid);
	m->xen->policy.own = domid != 0;
	xenstore_watch(m->xen->store, m->xen->base, TOKEN_BACK, on_watching, m);
	xenstore_watch(m->xen->store, "@releaseDomain", TOKEN_DOMAIN, NULL, NULL); /* elsewhere libxl takes the nodes away */
	for (struct xen_front *f = m->xen->fronts; f; f = f->next)
		front_watch(f); /* the last manager's; the watch before fires at once, and tells which of them have gone */
}

int xen_open(struct mgr *m, int fd)
{
	const struct xenstore_events events = { on_fired, on_lost, m };
	int err;

	m->xen = calloc(1, sizeof(*m->xen));
	if (!m->xen) {
		fd_close(&fd);
		return ERR_NOMEM;
	}
	m->xen->policy.autocreate = m->cfg.autocreate;
	err = xenstore_new(&m->xen->store, &m->loop, fd, &events);
	if (!err)
		xenstore_read(m->xen->store, "domid", on_domid, m);
	return err;
}

void xen_close(struct mgr *m)
{
	if (!m->xen)
		return;
	loop_timer_cancel(&m->loop, &m->xen->list_again);
	xenstore_free(m->xen->store);
	m->xen->store = NULL;
	for (struct xen_front *f = m->xen->fronts, *next; f; f = next) {
		next = f->next;
		xen_front_free(f);
	}
	free(m->xen);
	m->xen = NULL;
}
