/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "tests/bench/bench.h"

/* TPM 2.0 Part 2, by their names there. */
enum { TPM_ST_NO_SESSIONS = 0x8001, TPM_ST_SESSIONS = 0x8002 };
enum {
	TPM_CC_NV_DefineSpace = 0x12a,
	TPM_CC_CreatePrimary = 0x131,
	TPM_CC_NV_Write = 0x137,
	TPM_CC_PCR_Reset = 0x13d,
	TPM_CC_Startup = 0x144,
	TPM_CC_FlushContext = 0x165,
	TPM_CC_GetRandom = 0x17b,
	TPM_CC_PCR_Read = 0x17e,
	TPM_CC_PCR_Extend = 0x182,
	TPM_CC_NV_Extend = 0x136,
};
#define TPM_ALG_SHA256 0x000b
#define TPM_RH_OWNER   0x40000001u
#define TPM_RS_PW      0x40000009u
/* OWNERWRITE, OWNERREAD, NO_DA: Part 2, 13.4 */
#define NV_ATTRIBUTES ((1u << 1) | (1u << 17) | (1u << 25))
/* The same, extend and ORDERLY. */
#define EXTEND_INDEX	  0x01500021u
#define EXTEND_ATTRIBUTES (NV_ATTRIBUTES | (4u << 4) | (1u << 26))

static void put16(struct command *c, uint16_t v)
{
	if (buf_put_u16be(&c->b, v))
		die("a command is too long");
}

static void put32(struct command *c, uint32_t v)
{
	if (buf_put_u32be(&c->b, v))
		die("a command is too long");
}

static void put(struct command *c, const void *p, size_t n)
{
	if (buf_put_bytes(&c->b, p, n))
		die("a command is too long");
}

static void begin(struct command *c, uint16_t tag, uint32_t code)
{
	buf_init(&c->b, c->mem, sizeof(c->mem));
	put16(c, tag);
	put32(c, 0); /* the size, once it is known */
	put32(c, code);
}

static void end(struct command *c)
{
	if (buf_set_u32be(&c->b, 2, (uint32_t)c->b.len))
		die("a command without a header");
}

/* One password session with an empty password: Part 1, 19.4. */
static void put_password(struct command *c)
{
	static const uint8_t session[] = { 0x40, 0, 0, 9, 0, 0, 0, 0, 0 };

	put32(c, sizeof(session));
	put(c, session, sizeof(session));
}

void command_startup(struct command *c)
{
	begin(c, TPM_ST_NO_SESSIONS, TPM_CC_Startup);
	put16(c, 0); /* TPM_SU_CLEAR */
	end(c);
}

void command_get_random(struct command *c, uint16_t n)
{
	begin(c, TPM_ST_NO_SESSIONS, TPM_CC_GetRandom);
	put16(c, n);
	end(c);
}

void command_pcr_read(struct command *c, unsigned pcr)
{
	uint8_t select[4] = { 3 };

	select[1 + pcr / 8] = (uint8_t)(1u << (pcr % 8));
	begin(c, TPM_ST_NO_SESSIONS, TPM_CC_PCR_Read);
	put32(c, 1);
	put16(c, TPM_ALG_SHA256);
	put(c, select, sizeof(select));
	end(c);
}

void command_pcr_extend(struct command *c, unsigned pcr)
{
	static const uint8_t digest[32] = { 0xbe };

	begin(c, TPM_ST_SESSIONS, TPM_CC_PCR_Extend);
	put32(c, pcr);
	put_password(c);
	put32(c, 1);
	put16(c, TPM_ALG_SHA256);
	put(c, digest, sizeof(digest));
	end(c);
}

void command_pcr_reset(struct command *c, unsigned pcr)
{
	begin(c, TPM_ST_SESSIONS, TPM_CC_PCR_Reset);
	put32(c, pcr);
	put_password(c);
	end(c);
}

void command_nv_define(struct command *c)
{
	begin(c, TPM_ST_SESSIONS, TPM_CC_NV_DefineSpace);
	put32(c, TPM_RH_OWNER);
	put_password(c);
	put16(c, 0);  /* no auth value */
	put16(c, 14); /* TPMS_NV_PUBLIC */
	put32(c, NV_INDEX);
	put16(c, TPM_ALG_SHA256);
	put32(c, NV_ATTRIBUTES);
	put16(c, 0); /* no policy */
	put16(c, NV_BYTES);
	end(c);
}

void command_extend_define(struct command *c)
{
	begin(c, TPM_ST_SESSIONS, TPM_CC_NV_DefineSpace);
	put32(c, TPM_RH_OWNER);
	put_password(c);
	put16(c, 0);  /* no auth value */
	put16(c, 14); /* TPMS_NV_PUBLIC */
	put32(c, EXTEND_INDEX);
	put16(c, TPM_ALG_SHA256);
	put32(c, EXTEND_ATTRIBUTES);
	put16(c, 0); /* no policy */
	put16(c, 32);
	end(c);
}

void command_extend(struct command *c)
{
	static const uint8_t data[32] = { 0xbe };

	begin(c, TPM_ST_SESSIONS, TPM_CC_NV_Extend);
	put32(c, TPM_RH_OWNER);
	put32(c, EXTEND_INDEX);
	put_password(c);
	put16(c, sizeof(data));
	put(c, data, sizeof(data));
	end(c);
}

void command_nv_write(struct command *c)
{
	static uint32_t serial;
	uint8_t data[NV_BYTES];

	memset(data, 0x5a, sizeof(data));
	serial++;
	memcpy(data, &serial, sizeof(serial));
	begin(c, TPM_ST_SESSIONS, TPM_CC_NV_Write);
	put32(c, TPM_RH_OWNER);
	put32(c, NV_INDEX);
	put_password(c);
	put16(c, NV_BYTES);
	put(c, data, sizeof(data));
	put16(c, 0); /* offset */
	end(c);
}

/* A storage key: AES-128-CFB, the default exponent. */
void command_create_rsa(struct command *c, uint32_t unique)
{
	static const uint8_t public[] = { 0, 1, 0, 0x0b, 0, 3, 0, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0 };

	begin(c, TPM_ST_SESSIONS, TPM_CC_CreatePrimary);
	put32(c, TPM_RH_OWNER);
	put_password(c);
	put16(c, 4); /* neither a password nor data */
	put32(c, 0);
	put16(c, sizeof(public) + 2 + sizeof(unique));
	put(c, public, sizeof(public));
	put16(c, sizeof(unique));
	put32(c, unique);
	put16(c, 0); /* nothing from outside */
	put32(c, 0); /* no PCRs */
	end(c);
}

void command_flush(struct command *c, uint32_t handle)
{
	begin(c, TPM_ST_NO_SESSIONS, TPM_CC_FlushContext);
	put32(c, handle);
	end(c);
}
