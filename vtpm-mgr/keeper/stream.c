/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/util.h"

#define STREAM_PREFIX "swtpm:path="
#define STREAM_MAGIC  0x7674706d73747231ULL
#define FRAME_MAX     4096u
#define FRAME_HEADER  10u    /* tag, size, code (TPM 2.0 Part 1, 18) */
#define PATIENCE_MS   120000 /* an RSA key takes seconds; who takes minutes is gone */

struct stream {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	int fd;
	bool sent; /* a response is due */
};

/* The specification hands contexts around as an opaque type. */
static struct stream *stream_get(TSS2_TCTI_CONTEXT *ctx)
{
	struct stream *s = (struct stream *)ctx;

	return s && s->common.v1.magic == STREAM_MAGIC ? s : NULL;
}

static TSS2_RC stream_transmit(TSS2_TCTI_CONTEXT *ctx, size_t size, const uint8_t *command)
{
	struct stream *s = stream_get(ctx);
	ssize_t n;

	if (!s)
		return TSS2_TCTI_RC_BAD_CONTEXT;
	if (s->sent)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	while (size) {
		n = send(s->fd, command, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return TSS2_TCTI_RC_IO_ERROR;
		command += n;
		size -= (size_t)n;
	}
	s->sent = true;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC stream_read(struct stream *s, uint8_t *p, size_t n)
{
	struct pollfd ready = {.fd = s->fd, .events = POLLIN};
	ssize_t got;

	while (n) {
		if (poll(&ready, 1, PATIENCE_MS) == 0)
			return TSS2_TCTI_RC_IO_ERROR;
		got = recv(s->fd, p, n, MSG_DONTWAIT);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return TSS2_TCTI_RC_IO_ERROR;
		p += got;
		n -= (size_t)got;
	}
	return TSS2_RC_SUCCESS;
}

/* A size that cannot be is the end: where the next response begins nobody knows. */
static TSS2_RC stream_receive(TSS2_TCTI_CONTEXT *ctx, size_t *size, uint8_t *response, int32_t timeout)
{
	struct stream *s = stream_get(ctx);
	uint16_t tag;
	uint32_t total = 0;
	struct buf b;
	TSS2_RC rc;

	(void)timeout; /* ESYS's synchronous calls always say "block" */
	if (!s)
		return TSS2_TCTI_RC_BAD_CONTEXT;
	if (!s->sent)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	if (!response) { /* asks how much there may be */
		*size = FRAME_MAX;
		return TSS2_RC_SUCCESS;
	}
	if (*size < FRAME_HEADER)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	rc = stream_read(s, response, FRAME_HEADER);
	if (rc)
		return rc;
	buf_wrap(&b, response, FRAME_HEADER);
	if (buf_get_u16be(&b, &tag) || buf_get_u32be(&b, &total) || total < FRAME_HEADER || total > *size)
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	rc = stream_read(s, response + FRAME_HEADER, total - FRAME_HEADER);
	*size = total;
	s->sent = false;
	return rc;
}

static void stream_finalize(TSS2_TCTI_CONTEXT *ctx)
{
	struct stream *s = stream_get(ctx);

	if (s)
		fd_close(&s->fd);
}

static TSS2_RC stream_no_cancel(TSS2_TCTI_CONTEXT *ctx)
{
	(void)ctx;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC stream_no_handles(TSS2_TCTI_CONTEXT *ctx, TSS2_TCTI_POLL_HANDLE *handles, size_t *n)
{
	(void)ctx;
	(void)handles;
	(void)n;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC stream_no_locality(TSS2_TCTI_CONTEXT *ctx, uint8_t locality)
{
	(void)ctx;
	(void)locality;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

static TSS2_RC stream_no_sticky(TSS2_TCTI_CONTEXT *ctx, TPM2_HANDLE *handle, uint8_t sticky)
{
	(void)ctx;
	(void)handle;
	(void)sticky;
	return TSS2_TCTI_RC_NOT_IMPLEMENTED;
}

bool stream_names(const char *name)
{
	return !strncmp(name, STREAM_PREFIX, strlen(STREAM_PREFIX));
}

static int stream_connect(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		fd_close(&fd);
	return fd;
}

TSS2_RC stream_open(const char *name, TSS2_TCTI_CONTEXT **ctx)
{
	struct stream *s = calloc(1, sizeof(*s));

	*ctx = NULL;
	if (!s)
		return TSS2_TCTI_RC_MEMORY;
	s->fd = stream_connect(name + strlen(STREAM_PREFIX));
	if (s->fd < 0) {
		free(s);
		return TSS2_TCTI_RC_NO_CONNECTION;
	}
	s->common.v1.magic = STREAM_MAGIC;
	s->common.v1.version = 2;
	s->common.v1.transmit = stream_transmit;
	s->common.v1.receive = stream_receive;
	s->common.v1.finalize = stream_finalize;
	s->common.v1.cancel = stream_no_cancel;
	s->common.v1.getPollHandles = stream_no_handles;
	s->common.v1.setLocality = stream_no_locality;
	s->common.makeSticky = stream_no_sticky;
	*ctx = (TSS2_TCTI_CONTEXT *)s;
	return TSS2_RC_SUCCESS;
}

void stream_close(TSS2_TCTI_CONTEXT **ctx)
{
	struct stream *s = stream_get(*ctx);

	stream_finalize(*ctx);
	free(s);
	*ctx = NULL;
}
