/* SPDX-License-Identifier: BSD-2-Clause */
/* Linked into a backend with --wrap=engine_process: see rogue.h. */
#include "tests/tools/rogue.h"

#include "lib/buf.h"
#include "vtpm-backend/engine.h"

#define RESPONSE_SIZE 14u

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

int __wrap_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX],
			  size_t *rsp_len)
{
	uint32_t attempt, victim;
	struct buf b;
	int errnum;

	if (!is_order(cmd, len, &attempt, &victim))
		return __real_engine_process(cmd, len, locality, rsp, rsp_len);
	errnum = rogue_run(attempt, victim);
	buf_init(&b, rsp, CHAN_PACKET_MAX);
	if (buf_put_u16be(&b, 0x8001) != 0 || buf_put_u32be(&b, RESPONSE_SIZE) != 0 || buf_put_u32be(&b, 0) != 0 ||
	    buf_put_u32be(&b, (uint32_t)errnum) != 0)
		return ERR_RANGE;
	*rsp_len = b.len;
	return 0;
}
