/* SPDX-License-Identifier: BSD-2-Clause */
/* The manager's socket, as a front speaks to it: see vtpm-mgr/proto/front.h. */
#include "vtpm-mgr/swtpm/front.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A message from the manager, and what it is for. */
struct answer {
	uint32_t type; /* of what came */
	struct front_claim made;
	char name[NAME_MAX_LEN + 1];
	struct front_result result;
};

static int on_made(void *arg, struct ipc_msg *m)
{
	struct answer *a = arg;

	return front_made_decode(&m->body, &a->made);
}

static int on_ready(void *arg, struct ipc_msg *m)
{
	struct answer *a = arg;

	return front_ready_decode(&m->body, a->name);
}

static int on_result(void *arg, struct ipc_msg *m)
{
	struct answer *a = arg;

	return front_result_decode(&m->body, &a->result);
}

enum { WAIT_MADE = 1, WAIT_READY = 2, WAIT_OFF = 4, WAIT_ANY = 7 };

static const struct ipc_rule rules[] = {
	{ FRONT_MADE, WAIT_MADE, FRONT_MADE_MIN, FRONT_MADE_MAX, 0, 0, on_made },
	{ FRONT_READY, WAIT_READY, FRONT_READY_MIN, FRONT_READY_MAX, 0, 0, on_ready },
	{ FRONT_OFF, WAIT_OFF, FRONT_RESULT_MIN, FRONT_RESULT_MAX, 0, 0, on_result },
	{ FRONT_REFUSED, WAIT_ANY, FRONT_RESULT_MIN, FRONT_RESULT_MAX, 0, 0, on_result },
};

static int receive(int sock, uint32_t wait, struct answer *a)
{
	uint8_t mem[FRONT_BODY_MAX];
	struct ipc_msg m;
	int err;

	*a = (struct answer){ 0 };
	err = ipc_recv(sock, &m, mem, sizeof(mem), MSG_DONTWAIT);
	if (err) {
		ipc_msg_done(&m);
		return err;
	}
	a->type = m.type;
	err = ipc_dispatch(rules, sizeof(rules) / sizeof(rules[0]), wait, a, &m);
	explicit_bzero(mem, sizeof(mem));
	return err;
}

/* Waits for the answer to what was just sent. */
static int ask(int sock, uint32_t type, const struct buf *body, uint32_t wait, struct answer *a,
	       char why[static WHY_MAX + 1])
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int err = ipc_send(sock, type, body, NULL, 0), n = 0;

	*a = (struct answer){ 0 };
	while (!err && (n = poll(&p, 1, LINK_TIMEOUT_MS)) < 0 && errno == EINTR)
		;
	if (!err)
		err = n == 0 ? ERR_TIMEOUT : receive(sock, wait, a);
	if (err == ERR_CLOSED)
		return explain(why, err, "the manager has ended, or was too busy to hear this");
	if (err)
		return explain(why, err, "the manager does not answer as it should: %s", err_text(err));
	if (a->type != FRONT_REFUSED)
		return 0;
	err = a->result.code < 0 ? a->result.code : ERR_DENIED;
	return explain(why, err, "the manager refused: %s", a->result.text);
}

int link_open(int *sock, char why[static WHY_MAX + 1])
{
	/* Not under another's rights: who runs this chooses his manager, and only he. */
	const char *dir = secure_getenv(RUNTIME_DIR_VAR);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n, err;

	*sock = -1;
	n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/" FRONT_SOCKET, dir && *dir ? dir : RUNTIME_DIR_DEFAULT);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return explain(why, ERR_RANGE, RUNTIME_DIR_VAR ": the path is too long");
	*sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (*sock < 0)
		return explain(why, ERR_SYS, "no socket to be had: %s", strerror(errno));
	if (connect(*sock, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return 0;
	err = explain(why, ERR_CLOSED, "no manager at %s: %s; see systemctl status vtpm-mgr", sa.sun_path, strerror(errno));
	fd_close(sock);
	return err;
}

int link_setup(int sock, const struct front_setup *s, struct front_claim *c, char why[static WHY_MAX + 1])
{
	uint8_t mem[FRONT_SETUP_MAX];
	struct answer a;
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	if (front_setup_encode(&b, s))
		return explain(why, ERR_RANGE, "--vmid is too long");
	err = ask(sock, FRONT_SETUP, &b, WAIT_MADE, &a, why);
	*c = a.made;
	explicit_bzero(&a, sizeof(a));
	return err;
}

int link_kept(int sock, char why[static WHY_MAX + 1])
{
	struct answer a;

	return ask(sock, FRONT_KEPT, NULL, WAIT_READY, &a, why);
}

int link_claim(int sock, const struct front_claim *c, char name[static NAME_MAX_LEN + 1],
	       char why[static WHY_MAX + 1])
{
	uint8_t mem[FRONT_CLAIM_SIZE];
	struct answer a;
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	if (front_claim_encode(&b, c))
		return explain(why, ERR_RANGE, "the token is too long");
	err = ask(sock, FRONT_CLAIM, &b, WAIT_READY, &a, why);
	explicit_bzero(mem, sizeof(mem));
	memcpy(name, a.name, sizeof(a.name));
	return err;
}

int link_connect(int sock, int qemu)
{
	return ipc_send(sock, FRONT_CONNECT, NULL, &qemu, 1);
}

int link_off(int sock, struct front_result *r)
{
	struct answer a;
	int err = receive(sock, WAIT_OFF, &a);

	*r = a.result;
	return err;
}

int link_wait_off(int sock, struct front_result *r)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int n;

	*r = (struct front_result){ 0 };
	while ((n = poll(&p, 1, LINK_TIMEOUT_MS)) < 0 && errno == EINTR)
		;
	return n > 0 ? link_off(sock, r) : n == 0 ? ERR_TIMEOUT : ERR_SYS;
}
