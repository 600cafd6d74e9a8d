/* SPDX-License-Identifier: BSD-2-Clause */
/* Linked into a backend with --wrap=engine_process: see rogue.h. */
#include "tests/tools/rogue.h"

#include <errno.h>

#include "lib/buf.h"
#include "lib/ipc.h"
#include "vtpm-backend/backend.h"
#include "vtpm-backend/engine.h"

#define RESPONSE_SIZE 14u
#define FLOOD_MAX     20000u

/* The names are the linker's (ld(1), --wrap). */
int __real_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX],
			  size_t *rsp_len);
int __wrap_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX],
			  size_t *rsp_len);

static bool is_order(const uint8_t *cmd, size_t len, uint32_t *attempt, uint32_t *victim)
{
	struct buf b;
	uint16_t tag;
	uint32_t size, code;

	buf_wrap(&b, cmd, len);
	return buf_get_u16be(&b, &tag) == 0 && buf_get_u32be(&b, &size) == 0 && buf_get_u32be(&b, &code) == 0 &&
	       code == ROGUE_COMMAND && buf_get_u32be(&b, attempt) == 0 && buf_get_u32be(&b, victim) == 0;
}

static int flood(uint64_t version)
{
	uint8_t mem[STORE_COMMIT_MIN + 64], junk[64] = { 0 };
	struct store_commit m = { .flags = COMMIT_STARTUP, .sealed = junk, .sealed_len = sizeof(junk) };
	struct buf b;
	int err = 0;

	for (unsigned i = 0; i < FLOOD_MAX && (err == 0 || err == ERR_AGAIN); i++) {
		m.version = version + i;
		buf_init(&b, mem, sizeof(mem));
		if (store_commit_encode(&b, &m) != 0)
			return EINVAL;
		do
			err = ipc_send(BACKEND_FD_STORE, STORE_COMMIT, &b, NULL, 0);
		while (err == ERR_AGAIN); /* the manager is busy with the last ones */
	}
	return EPIPE;
}

int __wrap_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX],
			  size_t *rsp_len)
{
	uint32_t attempt, victim;
	struct buf b;
	int errnum;

	if (!is_order(cmd, len, &attempt, &victim))
		return __real_engine_process(cmd, len, locality, rsp, rsp_len);
	errnum = attempt == ROGUE_FLOOD ? flood(victim) : rogue_run(attempt, victim);
	buf_init(&b, rsp, CHAN_PACKET_MAX);
	if (buf_put_u16be(&b, 0x8001) != 0 || buf_put_u32be(&b, RESPONSE_SIZE) != 0 || buf_put_u32be(&b, 0) != 0 ||
	    buf_put_u32be(&b, (uint32_t)errnum) != 0)
		return ERR_RANGE;
	*rsp_len = b.len;
	return 0;
}
