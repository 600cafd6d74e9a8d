/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer: the input is what a guest sends after a power-on: {u8 locality, u8 length, bytes} …
 * The size field of each command is made right, as hv/chan.c demands it; everything else is
 * the input's. Whatever comes, the engine answers with a well-formed response, and its state can be loaded again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/guest_evidence.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/serve.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"
#include "vtpm-mgr/proto/limits.h"

#define COMMANDS_MAX 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t base[SEALED_STATE_MAX];
static size_t base_len;

static void demand(int truth)
{
	if (!truth)
		abort();
}

static void keep_state(void)
{
	const uint8_t *state;

	demand(engine_state(&state, &base_len) == 0);
	memcpy(base, state, base_len);
}

static void power_on(void)
{
	demand(engine_prepare() == 0);
	demand(engine_open(base_len != 0 ? base : NULL, base_len) == 0);
	demand(provision_startup() == 0);
}

static void check_response(const uint8_t *rsp, size_t n)
{
	struct tpm_header h;
	struct buf b;

	buf_wrap(&b, rsp, n);
	demand(n >= TPM_HEADER_SIZE && n <= CHAN_PACKET_MAX);
	demand(tpm_header_get(&b, &h) == 0 && h.size == n);
}

/* False: the input has ended. */
static int one_command(struct buf *in)
{
	uint8_t cmd[CHAN_PACKET_MAX], rsp[CHAN_PACKET_MAX], locality, len;
	struct buf c;
	size_t n, at;

	if (buf_get_u8(in, &locality) || buf_get_u8(in, &len) || len < TPM_HEADER_SIZE || len > buf_left(in))
		return 0;
	buf_init(&c, cmd, sizeof(cmd));
	demand(buf_get_bytes(in, cmd, len) == 0);
	c.len = len;
	demand(buf_set_u32be(&c, 2, len) == 0);
	(void)quota_refuses(cmd, len, base_len, base_len);
	demand(!guest_evidence_parse(cmd, len, &n, &at) || (n <= GUEST_NONCE_MAX && at <= UINT16_MAX));
	demand(engine_process(cmd, len, locality % 5, rsp, &n) == 0);
	check_response(rsp, n);
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t newest[SEALED_STATE_MAX];
	const uint8_t *state;
	struct buf in;
	size_t n;

	if (base_len == 0) {
		power_on();
		keep_state();
		engine_close();
	}
	power_on();
	buf_wrap(&in, data, size);
	for (unsigned i = 0; i < COMMANDS_MAX && one_command(&in); i++)
		;
	demand(engine_state(&state, &n) == 0);
	memcpy(newest, state, n);
	engine_close();
	demand(engine_prepare() == 0);
	demand(engine_open(newest, n) == 0);
	engine_close();
	return 0;
}
