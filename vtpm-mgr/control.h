/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control interface: Varlink (https://varlink.org: JSON objects ended by NUL over AF_UNIX SOCK_STREAM) on
 * <runtime-dir>/control.sock. This module speaks the protocol, checks who may call what, and
 * hands a call to a table of methods; vtpm-mgr/org.vtpm.Manager.varlink describes them.
 *
 * Limits: CONTROL_CLIENTS_MAX clients, CONTROL_REQUEST_MAX bytes a request, one request at a time per
 * client and round of events (more wait), CONTROL_REPLY_MAX bytes unread by a client before it is dropped, CONTROL_IDLE_MS for half a message.
 */
#ifndef VTPM_MGR_CONTROL_H
#define VTPM_MGR_CONTROL_H

#include <jansson.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/loop.h"

#define CONTROL_CLIENTS_MAX 320u /* of whom verifiers are many: one call at a time each */
#define CONTROL_VIEWERS_MAX 32u	 /* that are no operators */
#define CONTROL_NOBODIES_MAX 8u	 /* that are neither */
#define CONTROL_REQUEST_MAX (64u * 1024u)
#define CONTROL_REPLY_MAX   (16u * 1024u * 1024u)
#define CONTROL_IDLE_MS	    10000u
#define CONTROL_QUIET_MS    1000u /* between two lines about clients that were refused or dropped */
#define CONTROL_FDS_MAX	    2u	  /* descriptors with a call */
#define CONTROL_INTERFACE   "org.vtpm.Manager"

/* Roles, by SO_PEERCRED and SO_PEERGROUPS: operator = root, the manager's own uid, members of the operator
 * group; viewer = members of the viewer group. Others are refused. */
enum control_role { ROLE_NONE = 0, ROLE_VIEWER = 1, ROLE_OPERATOR = 2 };

struct control;
struct call; /* one method call in flight: it ends with exactly one call_reply or call_error */

struct control_method {
	const char *name; /* without the interface */
	enum control_role role;
	const char *takes; /* the names of its parameters, with a space between two: any other is refused */
	unsigned min_fds, max_fds; /* descriptors with the call, which only operators may send: another number ends the client */
	void (*handle)(void *arg, struct call *c, json_t *params); /* params is borrowed, an object */
};

struct control_config {
	const char *path;	 /* of the socket */
	int listener;		 /* that listens there already, taken over; -1: none */
	int64_t operator_gid;	 /* -1: none */
	int64_t viewer_gid;	 /* -1: none */
	const struct control_method *methods;
	size_t nmethods;
	void *arg;
	const char *description; /* the .varlink text, for org.varlink.service.GetInterfaceDescription */
};

/* Replaces a stale socket file (one that nobody listens on); ERR_BUSY if somebody does. Mode 0666: the kernel tells who connects. */
CHECKED int control_open(struct control **out, struct loop *l, const struct control_config *cfg);
/* Its listener, which stays its own. */
int control_listener(const struct control *c);
/* Drops all clients and removes the socket. Calls in flight stay valid until they end. */
void control_close(struct control *c);

/* Ends a call. params is stolen (NULL: an empty object). Nothing is sent if the client has gone. */
void call_reply(struct call *c, json_t *params);
/* Ends a call with "org.vtpm.Manager.<Error>" for err and {"message": text, "code": err}. */
void call_error(struct call *c, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The caller's credentials when it connected. */
uid_t call_uid(const struct call *c);
pid_t call_pid(const struct call *c);
enum control_role call_role(const struct call *c);
/* The descriptors that came with it: untrusted, of any kind. Taken ones are the caller's, others are closed when the call ends. */
unsigned call_nfds(const struct call *c);
int call_take_fd(struct call *c, unsigned i);

/*
 * What outlives a call and not its client: gone is called when the client has gone, once, unless bond_end came before. The struct is
 * the caller's. A client has one; ERR_BUSY: there is another.
 */
struct call_bond {
	struct call_bond **at; /* NULL: it has ended */
	void (*gone)(void *arg);
	void *arg;
};
CHECKED int call_bind(struct call *c, struct call_bond *b, void (*gone)(void *arg), void *arg);
void bond_end(struct call_bond *b);

/* The role of whoever is at the other end of sock, by the same rules, for other sockets of the manager. */
enum control_role control_role_of(const struct control *c, int sock, uid_t *uid);
/*
 * A connection that waits at listener, this one's or another one of the manager's, or -1. When descriptors have run
 * out, it is taken and closed: it would keep the loop busy otherwise.
 */
int control_accept(struct control *c, int listener);
/* Logs that a client was refused or dropped: a line now and then with the number of those before, as anyone can cause it. */
void control_log(struct control *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
