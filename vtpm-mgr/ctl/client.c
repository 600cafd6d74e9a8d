/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "vtpm-mgr/control.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/ctl/link.h"

#define CHUNK 4096u

/* More of the message into *buf, which grows. */
static int receive_chunk(struct link *l, char **buf, size_t *len)
{
	char *bigger;
	size_t n;
	int err;

	if (*len > CONTROL_REPLY_MAX)
		return ERR_RANGE;
	bigger = realloc(*buf, *len + CHUNK);
	if (!bigger)
		return ERR_NOMEM;
	*buf = bigger;
	err = link_receive(l, *buf + *len, CHUNK, &n);
	*len += n;
	return err;
}

/* One message up to its NUL. */
static int receive(struct link *l, char **buf)
{
	size_t len = 0;
	size_t seen = 0;
	int err;

	*buf = NULL;
	do {
		seen = len;
		err = receive_chunk(l, buf, &len);
	} while (!err && !(len > seen && memchr(*buf + seen, '\0', len - seen)));
	return err;
}

static int status_of(int code)
{
	static const struct {
		int code, status;
	} map[] = {
		{ERR_NOTFOUND, EXIT_NOT_FOUND},
		{ERR_EXISTS, EXIT_STATE},
		{ERR_BUSY, EXIT_STATE},
		{ERR_AGAIN, EXIT_STATE},
		{ERR_WRONG_STATE, EXIT_STATE},
		{ERR_DENIED, EXIT_DENIED},
		{ERR_QUARANTINE, EXIT_QUARANTINED},
		{ERR_AUTH, EXIT_QUARANTINED},
		{ERR_PCR, EXIT_TPM},
		{ERR_TPM, EXIT_TPM},
		{ERR_TPM_LOST, EXIT_TPM},
		{ERR_TPM_IDENTITY, EXIT_TPM},
		{ERR_INVAL, EXIT_USAGE},
		{ERR_RANGE, EXIT_USAGE},
	};

	for (size_t i = 0; i < ARRAY_LEN(map); i++) {
		if (map[i].code == code)
			return map[i].status;
	}
	return EXIT_FAILED;
}

static int refused(json_t *root, const char *error, struct ctl_error *e)
{
	json_t *params = json_object_get(root, "parameters");
	const char *message = json_string_value(json_object_get(params, "message"));
	json_int_t code = json_integer_value(json_object_get(params, "code"));
	int err = code < 0 && code > ERR_LAST ? (int)code : ERR_PROTO;

	snprintf(e->name, sizeof(e->name), "%s", error);
	return ctl_fail(e, err, status_of(err), "%s", message ? message : error);
}

static int read_reply(const char *text, json_t **reply, struct ctl_error *e)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_value(json_object_get(root, "error"));
	json_t *params = json_object_get(root, "parameters");
	int err = 0;

	if (error)
		err = refused(root, error, e);
	else if (!json_is_object(root) || (params && !json_is_object(params)))
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
	else
		*reply = params ? json_incref(params) : json_object();
	json_decref(root);
	return err;
}

static int exchange(struct link *l, const char *request, const int *fds, unsigned nfds, json_t **reply, struct ctl_error *e)
{
	char *text = NULL;
	int err = link_send(l, request, strlen(request) + 1, fds, nfds); /* the NUL ends the message */

	if (!err || err == ERR_CLOSED) /* who refuses says so, perhaps, before it closes */
		err = receive(l, &text);
	if (err == ERR_CLOSED)
		err = link_unreachable(l, e, "it closed the connection: too many clients, or a request it did not like");
	else if (err)
		err = ctl_fail(e, err, EXIT_FAILED, "%s: %s", l->where, err_text(err));
	else
		err = read_reply(text, reply, e);
	free(text);
	return err;
}

int client_ask(struct link *l, const char *method, json_t *params, const int *fds, unsigned nfds, json_t **reply,
	       struct ctl_error *e)
{
	char *name = NULL;
	char *request = NULL;
	json_t *root = NULL;
	int err;

	*reply = NULL;
	if (asprintf(&name, CONTROL_INTERFACE ".%s", method) < 0)
		name = NULL;
	if (name)
		root = json_pack("{s:s, s:O}", "method", name, "parameters", params);
	request = root ? json_dumps(root, JSON_COMPACT) : NULL;
	if (request)
		err = exchange(l, request, fds, nfds, reply, e);
	else
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	json_decref(root);
	free(request);
	free(name);
	return err;
}

int client_call(const struct ctl_target *at, const char *method, json_t *params, const int *fds, unsigned nfds,
		json_t **reply, struct ctl_error *e)
{
	struct link l;
	int err = link_open(&l, at, e);

	*reply = NULL;
	if (!err)
		err = client_ask(&l, method, params, fds, nfds, reply, e);
	link_close(&l);
	return err;
}
