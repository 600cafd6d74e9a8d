/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-vchan: the manager's control socket for another domain of Xen, dom0 if nothing else is said. It offers a vchan,
 * waits for a client, connects to control.sock and passes bytes on, both ways, until either end has gone; then it
 * offers a new one. It understands none of them: to the manager it is a client like others, and an operator by its uid,
 * so whoever holds the number of that domain is an operator. It never looks at who speaks, because the hypervisor
 * lets nobody else.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hv/xen/vchan.h"
#include "hv/xen/xenstore_wait.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/util.h"
#include "lib/version.h"
#include "vtpm-mgr/identity.h"
#include "vtpm-mgr/vchan/pump.h"

#define NODE	  "data/vtpmctl" /* below this domain's own directory; vtpmctl looks there */
#define ANSWER_MS 10000u	 /* of xenstore */

static const char usage[] =
	"usage: vtpm-vchan [options]\n"
	"Offers the control socket of a manager in this domain of Xen to another one, for vtpmctl --xen-domain.\n"
	"\n"
	"  --domain N           whom: everything that an operator may is that domain's (0)\n"
	"  --runtime-dir DIR    where control.sock is (/run/vtpm)\n"
	"  --user USER          when started as root: user to run as, the manager's (vtpm)\n"
	"  --help, --version\n"
	"\n"
	"See vtpm-vchan(8), vtpmctl(1).\n";

struct settings {
	const char *runtime_dir, *user;
	uint32_t domid;
};

static _Noreturn void die(const char *what, const char *why)
{
	log_error("%s: %s", what, why);
	exit(1);
}

static _Noreturn void usage_error(const char *what)
{
	fprintf(stderr, "vtpm-vchan: %s; see vtpm-vchan --help\n", what);
	exit(2);
}

static void parse(int argc, char **argv, struct settings *s)
{
	enum { OPT_DOMAIN = 256, OPT_RUNTIME, OPT_USER, OPT_HELP, OPT_VERSION };
	static const struct option options[] = {
		{ "domain", required_argument, NULL, OPT_DOMAIN },
		{ "runtime-dir", required_argument, NULL, OPT_RUNTIME },
		{ "user", required_argument, NULL, OPT_USER },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t n;
	int opt;

	*s = (struct settings){ .runtime_dir = "/run/vtpm" };
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case OPT_DOMAIN:
			if (parse_u64(optarg, VCHAN_DOMID_MAX, &n) != 0)
				usage_error("--domain wants the number of a domain");
			s->domid = (uint32_t)n;
			break;
		case OPT_RUNTIME: s->runtime_dir = optarg; break;
		case OPT_USER: s->user = optarg; break;
		case OPT_HELP: fputs(usage, stdout); exit(0);
		case OPT_VERSION: puts("vtpm-vchan " VTPM_VERSION); exit(0);
		default: exit(2);
		}
	}
	if (optind < argc)
		usage_error("it takes options only");
}

/* What takes rights has been opened. */
static void drop_root(const char *user)
{
	uid_t uid;
	gid_t gid;

	if (geteuid() != 0)
		return;
	if (identity_user(user, &uid, &gid))
		die(user ? user : "vtpm", "there is no such user; name the manager's with --user");
	if (uid != 0 && sandbox_drop(uid, gid, NULL))
		die("cannot give up the rights of root", strerror(errno));
}

static int dial(const char *runtime_dir, int *out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", runtime_dir);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return ERR_RANGE;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		fd_close(&fd);
		return ERR_CLOSED;
	}
	*out = fd;
	return 0;
}

/* Two nodes: whoever reads one of each of two vchans gets neither. */
static int announce(struct xenstore_wait *w, uint32_t ref, uint32_t port)
{
	char text[12];
	int err;

	snprintf(text, sizeof(text), "%u", ref);
	err = xenstore_wait_write(w, NODE "/ring-ref", text, ANSWER_MS);
	snprintf(text, sizeof(text), "%u", port);
	return err ? err : xenstore_wait_write(w, NODE "/event-channel", text, ANSWER_MS);
}

static int await_client(struct vchan *v)
{
	struct pollfd pfd = { .fd = v->fd, .events = POLLIN };
	int err = 0;

	while (!err && vchan_peer(v) == VCHAN_PEER_AWAITED) {
		if (poll(&pfd, 1, -1) < 0)
			err = errno == EINTR ? 0 : err_from_errno(errno);
		else
			err = vchan_ack(v);
	}
	return err;
}

/* One client. What it does wrong ends its connection; an error ends the program. */
static int serve(const struct settings *s, const struct vchan_devices *d, struct xenstore_wait *w)
{
	struct vchan v;
	uint32_t ref, port;
	int sock = -1;
	int err = vchan_offer(&v, d, s->domid, &ref, &port);
	int ended;

	if (err)
		return err;
	err = announce(w, ref, port);
	if (!err)
		err = await_client(&v);
	if (err)
		goto out;
	ended = dial(s->runtime_dir, &sock);
	if (ended)
		log_warn("%s/control.sock: no manager listens there", s->runtime_dir);
	else
		ended = pump(&v, sock);
	if (ended == ERR_PROTO)
		log_warn("domain %u does not keep to the vchan's protocol: its connection is closed", s->domid);
out:
	fd_close(&sock);
	vchan_close(&v);
	return err;
}

int main(int argc, char **argv)
{
	struct vchan_devices d;
	struct xenstore_wait w;
	struct settings s;
	int err;

	parse(argc, argv, &s);
	log_open("vtpm-vchan", false);
	if (sandbox_close_others(NULL, 0))
		die("cannot close inherited descriptors", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	if (vchan_devices_open(&d))
		die("/dev/xen/evtchn, /dev/xen/gntalloc", "they cannot be opened: load xen-evtchn and xen-gntalloc, start as root");
	if (xenstore_wait_open(&w))
		die("xenstore", "it cannot be reached: this is no domain of Xen, or not root");
	drop_root(s.user);
	log_info("offering %s/control.sock to domain %u", s.runtime_dir, s.domid);
	do {
		err = serve(&s, &d, &w);
	} while (!err);
	die("the vchan", err_text(err));
}
