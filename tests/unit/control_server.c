/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/control_server.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/control.h"

static struct call *held; /* what Hold left unanswered */
static struct loop loop;

static void echo(void *arg, struct call *c, json_t *params)
{
	(void)arg;
	json_object_set_new(params, "role", json_integer(call_role(c)));
	json_object_set_new(params, "uid", json_integer(call_uid(c)));
	call_reply(c, json_incref(params));
}

static void hold(void *arg, struct call *c, json_t *params)
{
	(void)arg, (void)params;
	if (held)
		call_error(held, ERR_BUSY, "released \xff by another");
	held = c;
}

static void big(void *arg, struct call *c, json_t *params)
{
	size_t n = (size_t)json_integer_value(json_object_get(params, "size"));
	char *text = malloc(n + 1);

	(void)arg;
	memset(text, 'x', n);
	text[n] = '\0';
	call_reply(c, json_pack("{s:s}", "text", text));
	free(text);
}

static void count(void *arg, struct call *c, json_t *params)
{
	static json_int_t n;

	(void)arg, (void)params;
	call_reply(c, json_pack("{s:I}", "n", n++));
}

static void give(void *arg, struct call *c, json_t *params)
{
	char text[101] = "";
	int fd = call_take_fd(c, 0);

	(void)arg, (void)params;
	if (call_take_fd(c, 0) != -1 || call_take_fd(c, 2) != -1 || pread(fd, text, sizeof(text) - 1, 0) < 0)
		call_error(c, ERR_IO, "the descriptor cannot be read");
	else
		call_reply(c, json_pack("{s:s, s:i}", "text", text, "n", (int)call_nfds(c)));
	fd_close(&fd);
}

static void quit(void *arg, struct call *c, json_t *params)
{
	(void)arg, (void)params;
	call_reply(c, NULL);
	loop_stop(&loop);
}

static const struct control_method methods[] = {
	{"Echo", ROLE_VIEWER, "a n", 0, 0, echo},
	{"Hold", ROLE_OPERATOR, "", 0, 0, hold},
	{"Big", ROLE_OPERATOR, "size", 0, 0, big},
	{"Count", ROLE_VIEWER, "", 0, 0, count},
	{"Give", ROLE_OPERATOR, "", 1, 2, give},
	{"Quit", ROLE_OPERATOR, "", 0, 0, quit},
};

void control_server_run(const char *path, int ready)
{
	struct control_config cfg = {.path = path, .listener = -1,
				     .operator_gid = OPERATOR_GID,
				     .viewer_gid = VIEWER_GID,
				     .methods = methods,
				     .nmethods = ARRAY_LEN(methods),
				     .description = "interface " CONTROL_INTERFACE "\n"};
	struct control *c;

	if (loop_open(&loop) || control_open(&c, &loop, &cfg) || write(ready, "r", 1) != 1 || loop_run(&loop))
		_exit(1);
	control_close(c);
	if (held)
		call_error(held, ERR_CLOSED, "the end"); /* its client has gone: only its memory is left */
	loop_close(&loop);
	exit(0); /* not _exit: a leak checker has its say */
}

/* ---- its clients ---- */

void client_put(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t r = send(fd, text, n, MSG_NOSIGNAL);

		if (r < 0)
			return; /* it has dropped us, which the caller will notice */
		text += r;
		n -= (size_t)r;
	}
}

json_t *client_get(int fd)
{
	char *buf = malloc(CONTROL_REPLY_MAX + 1u);
	json_t *reply = NULL;
	size_t n = 0;

	while (n < CONTROL_REPLY_MAX && recv(fd, buf + n, 1, 0) == 1) {
		if (buf[n++] == '\0') {
			reply = json_loads(buf, 0, NULL);
			break;
		}
	}
	free(buf);
	return reply;
}

json_t *client_call(int fd, const char *text)
{
	client_put(fd, text, strlen(text) + 1);
	return client_get(fd);
}
