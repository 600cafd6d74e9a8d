/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TCTI module (TCG TSS 2.0 TPM Command Transmission Interface API) over libvtpm: every
 * program of the TSS reaches a vTPM of this host as "vtpm:name=NAME" or "vtpm:path=…/NAME.ring".
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_tcti.h>

#include "frontend-drivers/libvtpm/vtpm.h"
#include "lib/buf.h"
#include "lib/util.h"

#pragma GCC visibility push(default)
const TSS2_TCTI_INFO *Tss2_Tcti_Info(void);
TSS2_RC Tss2_Tcti_Vtpm_Init(TSS2_TCTI_CONTEXT *tcti, size_t *size, const char *config);
#pragma GCC visibility pop

#define TCTI_MAGIC	0x7674706d2d726e67u /* "vtpm-rng" */
#define TCTI_VERSION	2u
#define TPM_HEADER_SIZE 10u
#define RUNTIME_DIR	"/run/vtpm"
#define RING_PATH_MAX	128u /* longer than any socket address */
#define CONFIG_HELP	"path=" RUNTIME_DIR "/NAME.ring, or that path alone, or name=NAME[,runtime-dir=DIR]"

enum tcti_state { TCTI_TRANSMIT = 1, TCTI_RECEIVE };

struct tcti {
	TSS2_TCTI_CONTEXT_COMMON_V2 common; /* first: the caller knows no more of us */
	struct vtpm *vtpm;		    /* NULL: finalized */
	enum tcti_state state;		    /* what comes next */
};

/* One line, as other modules print, unless the program has asked for none. */
static void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void complain(const char *fmt, ...)
{
	const char *level = getenv("TSS2_LOG");
	char line[512];
	va_list ap;

	if (level != NULL && (strcasestr(level, "all+none") != NULL || strcasestr(level, "tcti+none") != NULL))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "ERROR:tcti-vtpm: %s\n", line);
}

static TSS2_RC to_rc(int err)
{
	switch (err) {
	case 0:
		return TSS2_RC_SUCCESS;
	case -ETIMEDOUT:
		return TSS2_TCTI_RC_TRY_AGAIN;
	case -ENOBUFS:
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	case -ENOENT:
	case -ECONNREFUSED:
	case -ECONNRESET:
		return TSS2_TCTI_RC_NO_CONNECTION;
	case -EACCES:
		return TSS2_TCTI_RC_NOT_PERMITTED;
	case -EPROTO:
		return TSS2_TCTI_RC_MALFORMED_RESPONSE;
	case -ENOMEM:
		return TSS2_TCTI_RC_MEMORY;
	default:
		return TSS2_TCTI_RC_IO_ERROR;
	}
}

/* The context, if it is one of ours and still open. */
static TSS2_RC tcti_get(TSS2_TCTI_CONTEXT *ctx, struct tcti **out)
{
	struct tcti *t = (struct tcti *)ctx;

	if (t == NULL)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (t->common.v1.magic != TCTI_MAGIC || t->common.v1.version != TCTI_VERSION)
		return TSS2_TCTI_RC_BAD_CONTEXT;
	if (t->vtpm == NULL)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	*out = t;
	return TSS2_RC_SUCCESS;
}

/* The same, and demands the state. */
static TSS2_RC tcti_get_in(TSS2_TCTI_CONTEXT *ctx, enum tcti_state state, struct tcti **out)
{
	TSS2_RC rc = tcti_get(ctx, out);

	if (rc == TSS2_RC_SUCCESS && (*out)->state != state)
		rc = TSS2_TCTI_RC_BAD_SEQUENCE;
	return rc;
}

static bool command_size_agrees(const uint8_t *command, size_t size)
{
	struct buf b;
	uint16_t tag;
	uint32_t claimed;

	buf_wrap(&b, command, size);
	return size >= TPM_HEADER_SIZE && buf_get_u16be(&b, &tag) == 0 && buf_get_u32be(&b, &claimed) == 0 &&
	       claimed == size;
}

static TSS2_RC tcti_transmit(TSS2_TCTI_CONTEXT *ctx, size_t size, const uint8_t *command)
{
	struct tcti *t;
	TSS2_RC rc = tcti_get_in(ctx, TCTI_TRANSMIT, &t);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (command == NULL)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (size > VTPM_COMMAND_MAX || !command_size_agrees(command, size))
		return TSS2_TCTI_RC_BAD_VALUE;
	rc = to_rc(vtpm_send(t->vtpm, command, size));
	if (rc == TSS2_RC_SUCCESS)
		t->state = TCTI_RECEIVE;
	return rc;
}

/* Without a response buffer the caller asks for the size, and the response stays. */
static TSS2_RC tcti_receive(TSS2_TCTI_CONTEXT *ctx, size_t *size, uint8_t *response, int32_t timeout)
{
	struct tcti *t;
	TSS2_RC rc = tcti_get_in(ctx, TCTI_RECEIVE, &t);
	size_t len;
	int err;

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (size == NULL)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (timeout < TSS2_TCTI_TIMEOUT_BLOCK)
		return TSS2_TCTI_RC_BAD_VALUE;
	len = response == NULL ? 0 : *size;
	err = vtpm_receive(t->vtpm, response, &len, timeout);
	if (err == 0 || err == -ENOBUFS)
		*size = len;
	if (err == -ENOBUFS && response == NULL)
		return TSS2_RC_SUCCESS;
	if (err != -ENOBUFS && err != -ETIMEDOUT)
		t->state = TCTI_TRANSMIT;
	return to_rc(err);
}

static void tcti_finalize(TSS2_TCTI_CONTEXT *ctx)
{
	struct tcti *t;

	if (tcti_get(ctx, &t) != TSS2_RC_SUCCESS)
		return;
	vtpm_close(t->vtpm);
	t->vtpm = NULL;
}

static TSS2_RC tcti_cancel(TSS2_TCTI_CONTEXT *ctx)
{
	struct tcti *t;
	TSS2_RC rc = tcti_get_in(ctx, TCTI_RECEIVE, &t);

	return rc == TSS2_RC_SUCCESS ? to_rc(vtpm_cancel(t->vtpm)) : rc;
}

static TSS2_RC tcti_get_poll_handles(TSS2_TCTI_CONTEXT *ctx, TSS2_TCTI_POLL_HANDLE *handles, size_t *num)
{
	struct tcti *t;
	TSS2_RC rc = tcti_get(ctx, &t);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	if (num == NULL)
		return TSS2_TCTI_RC_BAD_REFERENCE;
	if (handles != NULL && *num < 1)
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	*num = 1;
	if (handles != NULL)
		handles[0] = (TSS2_TCTI_POLL_HANDLE){.fd = vtpm_poll_fd(t->vtpm), .events = POLLIN};
	return TSS2_RC_SUCCESS;
}

static TSS2_RC tcti_set_locality(TSS2_TCTI_CONTEXT *ctx, uint8_t locality)
{
	struct tcti *t;
	TSS2_RC rc = tcti_get_in(ctx, TCTI_TRANSMIT, &t);

	if (rc != TSS2_RC_SUCCESS)
		return rc;
	return vtpm_set_locality(t->vtpm, locality) == 0 ? TSS2_RC_SUCCESS : TSS2_TCTI_RC_BAD_VALUE;
}

static TSS2_RC tcti_make_sticky(TSS2_TCTI_CONTEXT *ctx, TPM2_HANDLE *handle, uint8_t sticky)
{
	struct tcti *t;
	TSS2_RC rc = tcti_get(ctx, &t);

	(void)handle;
	(void)sticky;
	return rc == TSS2_RC_SUCCESS ? TSS2_TCTI_RC_NOT_IMPLEMENTED : rc;
}

static const char *after_prefix(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* "name=NAME[,runtime-dir=DIR]"; name points behind "name=". */
static bool path_from_name(const char *name, char path[static RING_PATH_MAX])
{
	const char *comma = strchr(name, ',');
	const char *dir = comma != NULL ? after_prefix(comma, ",runtime-dir=") : RUNTIME_DIR;
	size_t len = comma != NULL ? (size_t)(comma - name) : strlen(name);
	char plain[NAME_MAX_LEN + 1];
	int n;

	if (dir == NULL || dir[0] == '\0' || len > NAME_MAX_LEN)
		return false;
	memcpy(plain, name, len);
	plain[len] = '\0';
	if (!name_valid(plain))
		return false;
	n = snprintf(path, RING_PATH_MAX, "%s/%s.ring", dir, plain);
	return n > 0 && (unsigned)n < RING_PATH_MAX;
}

static bool path_from_config(const char *config, char path[static RING_PATH_MAX])
{
	const char *name = after_prefix(config, "name=");
	const char *p = after_prefix(config, "path=");
	int n;

	if (name != NULL)
		return path_from_name(name, path);
	n = snprintf(path, RING_PATH_MAX, "%s", p != NULL ? p : config);
	return n > 0 && (unsigned)n < RING_PATH_MAX;
}

static void tcti_fill(struct tcti *t, struct vtpm *vtpm)
{
	t->common = (TSS2_TCTI_CONTEXT_COMMON_V2){
		.v1 =
			{
				.magic = TCTI_MAGIC,
				.version = TCTI_VERSION,
				.transmit = tcti_transmit,
				.receive = tcti_receive,
				.finalize = tcti_finalize,
				.cancel = tcti_cancel,
				.getPollHandles = tcti_get_poll_handles,
				.setLocality = tcti_set_locality,
			},
		.makeSticky = tcti_make_sticky,
	};
	t->vtpm = vtpm;
	t->state = TCTI_TRANSMIT;
}

TSS2_RC Tss2_Tcti_Vtpm_Init(TSS2_TCTI_CONTEXT *tcti, size_t *size, const char *config)
{
	char path[RING_PATH_MAX];
	struct vtpm *vtpm;
	const char *why;
	int err;

	if (size == NULL)
		return TSS2_TCTI_RC_BAD_VALUE;
	if (tcti == NULL) {
		*size = sizeof(struct tcti);
		return TSS2_RC_SUCCESS;
	}
	if (*size < sizeof(struct tcti))
		return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
	if (config == NULL || !path_from_config(config, path)) {
		complain("\"%s\" names no vTPM; expected: %s", config != NULL ? config : "", CONFIG_HELP);
		return TSS2_TCTI_RC_BAD_VALUE;
	}
	err = vtpm_open(path, &vtpm);
	if (err != 0) {
		why = vtpm_refusal();
		complain("%s: %s", path, why[0] != '\0' ? why : strerror(-err));
		return to_rc(err);
	}
	tcti_fill((struct tcti *)tcti, vtpm);
	return TSS2_RC_SUCCESS;
}

const TSS2_TCTI_INFO *Tss2_Tcti_Info(void)
{
	static const TSS2_TCTI_INFO info = {
		.version = TCTI_VERSION,
		.name = "tcti-vtpm",
		.description = "TCTI module for the vTPMs of this host",
		.config_help = CONFIG_HELP,
		.init = Tss2_Tcti_Vtpm_Init,
	};

	return &info;
}
