/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/control.h"
#include "vtpm-mgr/ctl/ctl.h"

#define CHUNK 4096u

static int unreachable(struct ctl_error *e, const char *path, const char *why)
{
	snprintf(e->name, sizeof(e->name), "org.vtpm.ctl.Unreachable");
	return ctl_fail(e, ERR_CLOSED, EXIT_UNREACHABLE, "no manager at %s: %s; is vtpm-mgr running?", path, why);
}

static int dial(const char *path, int *fd, struct ctl_error *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sa.sun_path))
		return unreachable(e, path, "the path is too long for a socket");
	memcpy(sa.sun_path, path, strlen(path));
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && connect(*fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return 0;
	return unreachable(e, path, strerror(errno));
}

union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * CTL_FDS_MAX)];
};

/* Descriptors go with the first byte. */
static void put_fds(struct msghdr *mh, union rights *room, const int *fds, unsigned nfds)
{
	struct cmsghdr *c;

	memset(room, 0, sizeof(*room));
	mh->msg_control = room->bytes;
	mh->msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
}

static int send_all(int fd, const char *p, size_t n, const int *fds, unsigned nfds)
{
	union rights room;

	while (n > 0) {
		struct iovec iov = {(void *)(uintptr_t)p, n};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t r;

		if (nfds > 0)
			put_fds(&mh, &room, fds, nfds);
		r = sendmsg(fd, &mh, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_from_errno(errno);
		nfds = 0;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* More of the message into *buf, which grows. */
static int receive_chunk(int fd, char **buf, size_t *len)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char *bigger;
	ssize_t r;
	int n = poll(&pfd, 1, CTL_TIMEOUT_MS);

	if (n < 0)
		return errno == EINTR ? 0 : err_from_errno(errno);
	if (n == 0)
		return ERR_TIMEOUT;
	if (*len > CONTROL_REPLY_MAX)
		return ERR_RANGE;
	bigger = realloc(*buf, *len + CHUNK);
	if (!bigger)
		return ERR_NOMEM;
	*buf = bigger;
	r = recv(fd, *buf + *len, CHUNK, 0);
	if (r < 0)
		return errno == EINTR ? 0 : err_from_errno(errno);
	*len += (size_t)r;
	return r == 0 ? ERR_CLOSED : 0;
}

/* One message up to its NUL. */
static int receive(int fd, char **buf)
{
	size_t len = 0;
	size_t seen = 0;
	int err;

	*buf = NULL;
	do {
		seen = len;
		err = receive_chunk(fd, buf, &len);
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

static int exchange(const char *path, const char *request, const int *fds, unsigned nfds, json_t **reply,
		    struct ctl_error *e)
{
	char *text = NULL;
	int fd = -1;
	int err = dial(path, &fd, e);

	if (err)
		goto out;
	err = send_all(fd, request, strlen(request) + 1, fds, nfds); /* the NUL ends the message */
	if (!err || err == ERR_CLOSED)			  /* who refuses says so, perhaps, before it closes */
		err = receive(fd, &text);
	if (err == ERR_CLOSED)
		err = unreachable(e, path, "it closed the connection: too many clients, or a request it did not like");
	else if (err)
		err = ctl_fail(e, err, EXIT_FAILED, "%s: %s", path, err_text(err));
	else
		err = read_reply(text, reply, e);
out:
	free(text);
	fd_close(&fd);
	return err;
}

int client_call(const char *runtime_dir, const char *method, json_t *params, const int *fds, unsigned nfds,
		json_t **reply, struct ctl_error *e)
{
	char *path = NULL;
	char *name = NULL;
	char *request = NULL;
	json_t *root = NULL;
	int err;

	*reply = NULL;
	if (asprintf(&path, "%s/control.sock", runtime_dir) < 0)
		path = NULL;
	if (asprintf(&name, CONTROL_INTERFACE ".%s", method) < 0)
		name = NULL;
	if (path && name)
		root = json_pack("{s:s, s:O}", "method", name, "parameters", params);
	request = root ? json_dumps(root, JSON_COMPACT) : NULL;
	if (request)
		err = exchange(path, request, fds, nfds, reply, e);
	else
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	json_decref(root);
	free(request);
	free(name);
	free(path);
	return err;
}
