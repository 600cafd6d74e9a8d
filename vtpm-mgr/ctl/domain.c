/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpmctl --xen-domain: finds the domain in xenstore and the vchan that vtpm-vchan offers there. The name and the number
 * of a domain are the toolstack's to write; the domain itself writes which of its pages to map, and it can name only pages
 * that it has granted to us.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "hv/xen/hypercall.h"
#include "hv/xen/xenstore_wait.h"
#include "lib/util.h"
#include "vtpm-mgr/ctl/link.h"

#define ANSWER_MS 10000u /* of xenstore, and of a manager that has just had another client */
#define LOCK_DIR  "/run"

static int denied(struct ctl_error *e, const char *what, const char *why)
{
	snprintf(e->name, sizeof(e->name), "org.vtpm.ctl.Unreachable");
	return ctl_fail(e, ERR_CLOSED, EXIT_UNREACHABLE, "%s: %s", what, why);
}

/* --- which domain --- */

static bool has_name(struct xenstore_wait *w, unsigned domid, const char *name)
{
	char path[64], value[256];

	snprintf(path, sizeof(path), "/local/domain/%u/name", domid);
	return xenstore_wait_read(w, path, ANSWER_MS, value, sizeof(value)) == 0 && strcmp(value, name) == 0;
}

/* Their numbers do not fit into one message of xenstore: each that there may be is tried. */
static int walk(struct xenstore_wait *w, const char *name, unsigned *domid)
{
	for (*domid = 0; *domid <= VCHAN_DOMID_MAX && !w->lost; ++*domid)
		if (has_name(w, *domid, name))
			return 0;
	return w->lost ? ERR_CLOSED : ERR_NOTFOUND;
}

static int find_name(struct xenstore_wait *w, const char *name, unsigned *domid)
{
	char names[XENSTORE_VALUE_MAX + 1];
	size_t len;
	uint64_t id;
	int err = xenstore_wait_list(w, "/local/domain", ANSWER_MS, names, sizeof(names), &len);

	if (err == ERR_RANGE)
		return walk(w, name, domid);
	for (const char *p = names; !err && p < names + len; p += strlen(p) + 1) {
		if (parse_u64(p, VCHAN_DOMID_MAX, &id) != 0 || !has_name(w, (unsigned)id, name))
			continue;
		*domid = (unsigned)id;
		return 0;
	}
	return err ? err : ERR_NOTFOUND;
}

static int find_domain(struct xenstore_wait *w, const char *domain, unsigned *domid, struct ctl_error *e)
{
	uint64_t id;
	int err = 0;

	if (parse_u64(domain, VCHAN_DOMID_MAX, &id) == 0)
		*domid = (unsigned)id;
	else
		err = find_name(w, domain, domid);
	if (err == ERR_NOTFOUND)
		return denied(e, domain, "there is no domain of that name; xl list shows those that run");
	return err ? denied(e, "xenstore", err_text(err)) : 0;
}

/* --- its vchan --- */

/* One client at a time: the others wait here. It goes with the process. */
static int lock(struct link *l, unsigned domid, struct ctl_error *e)
{
	char path[64];

	snprintf(path, sizeof(path), LOCK_DIR "/vtpmctl-xen-%u.lock", domid);
	l->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->lock < 0)
		return denied(e, path, strerror(errno));
	while (flock(l->lock, LOCK_EX) != 0)
		if (errno != EINTR)
			return denied(e, path, strerror(errno));
	return 0;
}

static int read_number(struct xenstore_wait *w, unsigned domid, const char *node, uint32_t *out)
{
	char path[96], value[16];
	uint64_t n;
	int err;

	snprintf(path, sizeof(path), "/local/domain/%u/" CTL_XEN_NODE "/%s", domid, node);
	err = xenstore_wait_read(w, path, ANSWER_MS, value, sizeof(value));
	if (!err && parse_u64(value, UINT32_MAX, &n) != 0)
		err = ERR_PROTO;
	*out = err ? 0 : (uint32_t)n;
	return err;
}

/* What is offered now. Nodes of the last client's vchan may still be there: they lead to nothing, and new ones come. */
static int attach_once(struct link *l, struct xenstore_wait *w, unsigned domid)
{
	uint32_t ref, port;
	int err = read_number(w, domid, "ring-ref", &ref);

	if (!err)
		err = read_number(w, domid, "event-channel", &port);
	return err ? err : vchan_attach(&l->v, domid, ref, port);
}

static bool may_change(int err)
{
	return err == ERR_NOTFOUND || err == ERR_INVAL || err == ERR_BUSY || err == ERR_RANGE || err == ERR_PROTO;
}

static const char *explain(int err)
{
	switch (err) {
	case ERR_DENIED:
		return "Xen's devices below /dev/xen are root's";
	case ERR_VERSION:
		return "what it offers is no vchan of vtpm-vchan";
	case ERR_NOTFOUND:
	case ERR_TIMEOUT:
		return "no vtpm-vchan offers a connection there, or xen-gntdev and xen-evtchn are not loaded here; its console (xl "
		       "console) says how far it has come";
	default:
		return err_text(err);
	}
}

static int attach(struct link *l, struct xenstore_wait *w, unsigned domid, struct ctl_error *e)
{
	const uint64_t end = loop_now_ms() + ANSWER_MS;
	char path[64];
	int err, last = ERR_NOTFOUND;

	snprintf(path, sizeof(path), "/local/domain/%u/" CTL_XEN_NODE, domid);
	err = xenstore_wait_watch(w, path, ANSWER_MS);
	while (!err && last && may_change(last)) {
		uint64_t now = loop_now_ms();

		err = xenstore_wait_change(w, now < end ? (unsigned)(end - now) : 0);
		if (!err)
			last = attach_once(l, w, domid);
	}
	if (!last)
		return 0;
	return denied(e, l->where, explain(err == ERR_CLOSED ? err : last));
}

int domain_attach(struct link *l, const char *domain, struct ctl_error *e)
{
	struct xenstore_wait w;
	unsigned domid = 0;
	int err;

	snprintf(l->where, sizeof(l->where), "domain %s", domain);
	signal(SIGPIPE, SIG_IGN); /* xenstored may end while it is asked */
	if (xenstore_wait_open(&w))
		return denied(e, "xenstore", "it cannot be reached: this is no domain of Xen, or not root, or xenstored does not run");
	err = find_domain(&w, domain, &domid, e);
	if (!err)
		err = lock(l, domid, e);
	if (!err)
		err = attach(l, &w, domid, e);
	xenstore_wait_close(&w);
	return err;
}

int domain_status(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	int err = client_call(&a->at, a->command->method, a->params, NULL, 0, reply, e);
	json_t *status = err ? NULL : json_object_get(*reply, "status");
	const char *xsm = json_string_value(json_object_get(status, "xsm"));

	if (a->at.xen_domain && xsm && strcmp(xsm, "unknown") == 0)
		json_object_set_new(status, "xsm", json_string(xen_xsm_word(xen_xsm_ask())));
	return err;
}
