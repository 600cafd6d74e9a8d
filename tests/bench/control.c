/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define REPLY_MAX    (1024u * 1024u) /* of the methods called here: List of all vTPMs */
#define POOL_LOOK_MS 20
#define POOL_LOOKS   3000

int control_dial(const struct bench *b)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", b->runtime);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		die("%s: %s", sa.sun_path, strerror(errno));
	return fd;
}

static json_t *receive(int fd)
{
	static char text[REPLY_MAX];
	size_t n = 0;
	ssize_t r;
	json_t *j;

	do {
		r = recv(fd, text + n, sizeof(text) - n, 0);
		if (r <= 0)
			die("the manager has gone: %s", r < 0 ? strerror(errno) : "it closed the connection");
		n += (size_t)r;
	} while (text[n - 1] != '\0');
	j = json_loads(text, 0, NULL);
	if (!j)
		die("the manager's reply makes no sense");
	return j;
}

json_t *control_call(const struct bench *b, const char *method, json_t *params)
{
	char name[64], *text;
	json_t *j, *reply;
	size_t n;

	snprintf(name, sizeof(name), "org.vtpm.Manager.%s", method);
	j = json_pack("{s:s, s:o}", "method", name, "parameters", params ? params : json_object());
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (!text)
		die("out of memory");
	n = strlen(text) + 1; /* the NUL ends the message */
	if (send(b->control, text, n, MSG_NOSIGNAL) != (ssize_t)n)
		die("the manager has gone: %s", strerror(errno));
	free(text);
	json_decref(j);
	j = receive(b->control);
	if (json_object_get(j, "error"))
		die("%s: %s", method, json_string_value(json_object_get(json_object_get(j, "parameters"), "message")));
	reply = json_incref(json_object_get(j, "parameters"));
	json_decref(j);
	return reply;
}

void control_name(const struct bench *b, const char *method, const char *name)
{
	json_decref(control_call(b, method, json_pack("{s:s}", "name", name)));
}

/* Without a quota: what is measured is how fast it can be, not how fast it may be. */
void control_create(const struct bench *b, const char *name)
{
	json_decref(control_call(b, "Create", json_pack("{s:s, s:i}", "name", name, "commit_rate", 0)));
}

size_t control_sealed_bytes(const struct bench *b, const char *name)
{
	json_t *reply = control_call(b, "Show", json_pack("{s:s}", "name", name));
	json_int_t n = json_integer_value(json_object_get(json_object_get(reply, "vtpm"), "sealed_bytes"));

	json_decref(reply);
	if (n <= 0)
		die("%s has no state", name);
	return (size_t)n;
}

bool control_has(const struct bench *b, const char *name)
{
	json_t *reply = control_call(b, "List", NULL), *v;
	bool has = false;
	size_t i;

	json_array_foreach(json_object_get(reply, "vtpms"), i, v)
		has |= !strcmp(json_string_value(json_object_get(v, "name")), name);
	json_decref(reply);
	return has;
}

json_int_t control_anchor_writes(const struct bench *b)
{
	json_t *reply = control_call(b, "Status", NULL);
	json_int_t n = -1;

	if (json_unpack(reply, "{s:{s:{s:{s:I}}}}", "status", "continuity", "wear", "total", &n))
		die("the status does not count the writes to anchor A");
	json_decref(reply);
	return n;
}

static bool pool_full(const struct bench *b)
{
	json_t *reply = control_call(b, "Status", NULL), *status = json_object_get(reply, "status");
	json_int_t have = json_integer_value(json_object_get(status, "pool"));
	json_int_t target = json_integer_value(json_object_get(status, "pool_target"));

	json_decref(reply);
	return have >= target;
}

/* The pool is in the manager's memory, so there is no event to wait for. */
void control_wait_pool(const struct bench *b)
{
	for (int i = 0; !pool_full(b); i++) {
		if (i == POOL_LOOKS)
			die("the pool does not fill");
		poll(NULL, 0, POOL_LOOK_MS);
	}
}
