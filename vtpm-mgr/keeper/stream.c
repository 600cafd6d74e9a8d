/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/stream.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/buf.h"
#include "lib/loop.h"
#include "lib/util.h"

#define STREAM_PREFIX	"swtpm"
#define STREAM_MAGIC	0x7674706d2d737472u /* "vtpm-str" */
#define STREAM_VERSION	2u
#define TPM_HEADER_SIZE 10u   /* TPM 2.0 Part 1, 18.2: tag, size, code */
#define TPM_PACKET_MAX	4096u /* commands and responses; what swtpm and the TSS can hold */
#define PATIENCE_MS	120000 /* for "block": making an RSA key takes seconds, and who takes minutes is gone */

enum stream_state {
	STREAM_TRANSMIT = 1,
	STREAM_RECEIVE,
	STREAM_BROKEN, /* closed, or where the next response would begin is not known */
};

struct stream {
	TSS2_TCTI_CONTEXT_COMMON_V2 common; /* first: the TSS knows no more of us */
	int fd;
	enum stream_state state;
	size_t got; /* bytes of the response that have come */
	uint8_t response[TPM_PACKET_MAX];
};

struct stream_config {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* empty: host and port */
	char host[256];
	char port[6];
};

/* The context, if it may do what belongs to the state. */
static TSS2_RC stream_get(TSS2_TCTI_CONTEXT *ctx, enum stream_state state, struct stream **out)
{
	struct stream *s = (struct stream *)ctx;

	if (!s)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (s->common.v1.magic != STREAM_MAGIC)
		return TSS2_TCTI_RC_BAD_CONTEXT;
	if (s->state == STREAM_BROKEN)
		return TSS2_TCTI_RC_IO_ERROR;
	*out = s;
	return s->state == state ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_BAD_SEQUENCE;
}

static int header_size(const uint8_t *packet, size_t n, uint32_t *size)
{
	struct buf b;

	buf_wrap(&b, packet, n);
	return buf_left(&b) < TPM_HEADER_SIZE || buf_skip(&b, 2) || buf_get_u32be(&b, size) ? ERR_RANGE : 0;
}

static int send_all(int fd, const uint8_t *p, size_t n)
{
	ssize_t sent;

	while (n) {
		sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return err_from_errno(errno);
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

static TSS2_RC stream_transmit(TSS2_TCTI_CONTEXT *ctx, size_t size, const uint8_t *command)
{
	struct stream *s;
	uint32_t claimed;
	TSS2_RC rc = stream_get(ctx, STREAM_TRANSMIT, &s);

	if (rc)
		return rc;
	if (!command)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (size > TPM_PACKET_MAX || header_size(command, size, &claimed) || claimed != size)
		return TSS2_TCTI_RC_BAD_VALUE;
	if (send_all(s->fd, command, size)) {
		s->state = STREAM_BROKEN;
		return TSS2_TCTI_RC_IO_ERROR;
	}
	s->got = 0;
	s->state = STREAM_RECEIVE;
	return TSS2_RC_SUCCESS;
}

/*
 * How long the response is, as far as one knows: a header, then what the header says. Bytes
 * behind the response are an answer to nothing, and would be taken for the next one.
 */
static TSS2_RC response_size(const struct stream *s, size_t *size)
{
	uint32_t claimed;

	*size = TPM_HEADER_SIZE;
	if (header_size(s->response, s->got, &claimed))
		return TSS2_RC_SUCCESS;
	if (claimed < TPM_HEADER_SIZE || claimed > TPM_PACKET_MAX || claimed < s->got)
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	*size = claimed;
	return TSS2_RC_SUCCESS;
}

/* Waits once and takes what is there, which may be nothing. */
static TSS2_RC response_read(struct stream *s, int wait_ms)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	int ready = poll(&p, 1, wait_ms);
	ssize_t n;

	if (!ready)
		return TSS2_TCTI_RC_TRY_AGAIN;
	n = ready < 0 ? -1 : recv(s->fd, s->response + s->got, sizeof(s->response) - s->got, MSG_DONTWAIT);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return TSS2_RC_SUCCESS;
	if (n <= 0)
		return TSS2_TCTI_RC_IO_ERROR;
	s->got += (size_t)n;
	return TSS2_RC_SUCCESS;
}

static int wait_left(int32_t timeout, uint64_t began)
{
	uint64_t passed = loop_now_ms() - began;

	return passed < (uint64_t)timeout ? (int)((uint64_t)timeout - passed) : 0;
}

/* The whole response, however many pieces and calls it takes. */
static TSS2_RC response_await(struct stream *s, int32_t timeout, size_t *size)
{
	const bool block = timeout == TSS2_TCTI_TIMEOUT_BLOCK;
	uint64_t began = loop_now_ms();
	TSS2_RC rc = response_size(s, size);

	while (!rc && s->got < *size) {
		rc = response_read(s, wait_left(block ? PATIENCE_MS : timeout, began));
		if (!rc)
			rc = response_size(s, size);
	}
	if (rc == TSS2_TCTI_RC_TRY_AGAIN && block)
		rc = TSS2_TCTI_RC_IO_ERROR;
	if (rc && rc != TSS2_TCTI_RC_TRY_AGAIN)
		s->state = STREAM_BROKEN;
	return rc;
}

/* Without room for it the response stays, and its size is told; no buffer at all is a question for the size. */
static TSS2_RC stream_receive(TSS2_TCTI_CONTEXT *ctx, size_t *size, uint8_t *response, int32_t timeout)
{
	struct stream *s;
	size_t need, room;
	TSS2_RC rc = stream_get(ctx, STREAM_RECEIVE, &s);

	if (rc)
		return rc;
	if (!size)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (timeout < TSS2_TCTI_TIMEOUT_BLOCK)
		return TSS2_TCTI_RC_BAD_VALUE;
	rc = response_await(s, timeout, &need);
	if (rc)
		return rc;
	room = *size;
	*size = need;
	if (!response)
		return TSS2_RC_SUCCESS;
	if (room < need)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	memcpy(response, s->response, need);
	s->state = STREAM_TRANSMIT;
	return TSS2_RC_SUCCESS;
}

static void stream_finalize(TSS2_TCTI_CONTEXT *ctx)
{
	struct stream *s = (struct stream *)ctx;

	fd_close(&s->fd);
	s->state = STREAM_BROKEN;
}

static TSS2_RC stream_get_poll_handles(TSS2_TCTI_CONTEXT *ctx, TSS2_TCTI_POLL_HANDLE *handles, size_t *num)
{
	struct stream *s = (struct stream *)ctx;

	if (!num)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (handles && *num < 1)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	*num = 1;
	if (handles)
		handles[0] = (TSS2_TCTI_POLL_HANDLE){.fd = s->fd, .events = POLLIN};
	return TSS2_RC_SUCCESS;
}

/* A raw stream cannot carry another locality than the server's own, 0. */
static TSS2_RC stream_set_locality(TSS2_TCTI_CONTEXT *ctx, uint8_t locality)
{
	struct stream *s;
	TSS2_RC rc = stream_get(ctx, STREAM_TRANSMIT, &s);

	if (rc)
		return rc;
	return locality ? TSS2_TCTI_RC_NOT_IMPLEMENTED : TSS2_RC_SUCCESS;
}

bool stream_serves(const char *tcti)
{
	size_t n = strlen(STREAM_PREFIX);

	return !strncmp(tcti, STREAM_PREFIX, n) && (tcti[n] == '\0' || tcti[n] == ':');
}

/* The value of "key=value", n bytes long, if it has that key and fits. */
static bool value_take(const char *pair, size_t n, const char *key, char *out, size_t cap)
{
	size_t k = strlen(key);

	if (n <= k || n - k >= cap || strncmp(pair, key, k) != 0)
		return false;
	memcpy(out, pair + k, n - k);
	out[n - k] = '\0';
	return true;
}

static int config_parse(const char *tcti, struct stream_config *c)
{
	const char *p = tcti + strlen(STREAM_PREFIX);
	uint64_t port;
	size_t n;

	*c = (struct stream_config){.host = "127.0.0.1", .port = "2321"};
	if (*p == ':')
		p++;
	/* To the end: a path may have commas. */
	if (value_take(p, strlen(p), "path=", c->path, sizeof(c->path)))
		return 0;
	for (; *p; p += n + (p[n] == ',')) {
		n = strcspn(p, ",");
		if (!value_take(p, n, "host=", c->host, sizeof(c->host)) &&
		    !value_take(p, n, "port=", c->port, sizeof(c->port)))
			return ERR_INVAL;
	}
	return parse_u64(c->port, UINT16_MAX, &port) || !port ? ERR_INVAL : 0;
}

static int connect_one(int family, const struct sockaddr *addr, socklen_t len, int *fd)
{
	*fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && !connect(*fd, addr, len))
		return 0;
	fd_close(fd);
	return ERR_TPM_LOST;
}

static int connect_unix(const char *path, int *fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, path, strlen(path)); /* config_parse left room */
	return connect_one(AF_UNIX, (const struct sockaddr *)&addr, sizeof(addr), fd);
}

/* Tries all addresses of the name: "localhost" has two, and the server listens on one. */
static int connect_tcp(const struct stream_config *c, int *fd, const char **reason)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int r, gai = getaddrinfo(c->host, c->port, &hints, &list);

	if (gai) {
		*reason = gai_strerror(gai);
		return ERR_TPM_LOST;
	}
	r = ERR_TPM_LOST;
	for (const struct addrinfo *a = list; a && r; a = a->ai_next)
		r = connect_one(a->ai_family, a->ai_addr, a->ai_addrlen, fd);
	freeaddrinfo(list);
	return r;
}

static int stream_connect(const struct stream_config *c, int *fd, char *why, size_t cap)
{
	const char *reason = NULL;
	int r = c->path[0] ? connect_unix(c->path, fd) : connect_tcp(c, fd, &reason);

	if (r)
		snprintf(why, cap, "%s; is the software TPM running?", reason ? reason : strerror(errno));
	return r;
}

static struct stream *stream_new(void)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	/* cancel and makeSticky stay NULL: Tss2_Tcti_Cancel and its like answer "not implemented" then. */
	s->common.v1 = (TSS2_TCTI_CONTEXT_COMMON_V1){
		.magic = STREAM_MAGIC,
		.version = STREAM_VERSION,
		.transmit = stream_transmit,
		.receive = stream_receive,
		.finalize = stream_finalize,
		.getPollHandles = stream_get_poll_handles,
		.setLocality = stream_set_locality,
	};
	s->fd = -1;
	s->state = STREAM_TRANSMIT;
	return s;
}

int stream_open(const char *tcti, TSS2_TCTI_CONTEXT **ctx, char *why, size_t cap)
{
	struct stream_config config;
	struct stream *s;
	int r;

	*ctx = NULL;
	if (!stream_serves(tcti) || config_parse(tcti, &config)) {
		snprintf(why, cap, "expected " STREAM_PREFIX ":path=SOCKET or " STREAM_PREFIX ":host=HOST,port=PORT");
		return ERR_INVAL;
	}
	s = stream_new();
	if (!s) {
		snprintf(why, cap, "out of memory");
		return ERR_NOMEM;
	}
	r = stream_connect(&config, &s->fd, why, cap);
	if (r)
		free(s);
	else
		*ctx = (TSS2_TCTI_CONTEXT *)s;
	return r;
}

void stream_close(TSS2_TCTI_CONTEXT **ctx)
{
	if (*ctx)
		stream_finalize(*ctx);
	free(*ctx);
	*ctx = NULL;
}
