/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/tools/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/rogue.h"

#define ST_NO_SESSIONS 0x8001u
#define ST_SESSIONS    0x8002u
#define RH_OWNER       0x40000001u
#define RH_LOCKOUT     0x4000000au
#define RH_NULL	       0x40000007u
#define RS_PW	       0x40000009u
#define ALG_RSA	       0x0001u
#define ALG_AES	       0x0006u
#define ALG_SHA256     0x000bu
#define ALG_NULL       0x0010u
#define ALG_ECC	       0x0023u
#define ALG_CFB	       0x0043u
#define ECC_P256       0x0003u
#define NV_ATTRIBUTES  0x00060006u /* OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD */
#define PIN_ATTRIBUTES 0x00040004u /* AUTHWRITE, AUTHREAD */
#define PIN_SIZE       4u
#define KEY_ATTRIBUTES 0x00030072u /* restricted, decrypt, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth */

/* A command that does not fit its own buffer is a bug of this file. */
static void must(int err)
{
	if (err != 0)
		abort();
}

static void begin(struct command *c, uint32_t tag, uint32_t code)
{
	buf_init(&c->b, c->mem, sizeof(c->mem));
	must(buf_put_u16be(&c->b, (uint16_t)tag));
	must(buf_put_u32be(&c->b, 0));
	must(buf_put_u32be(&c->b, code));
}

static void u16(struct command *c, uint32_t v)
{
	must(buf_put_u16be(&c->b, (uint16_t)v));
}

static void u32(struct command *c, uint32_t v)
{
	must(buf_put_u32be(&c->b, v));
}

/* One password session. */
static void auth_with(struct command *c, const char *password)
{
	size_t n = strlen(password);

	u32(c, (uint32_t)(9 + n));
	u32(c, RS_PW);
	u16(c, 0);
	must(buf_put_u8(&c->b, 0));
	must(buf_put_2b(&c->b, password, n));
}

static void auth(struct command *c)
{
	auth_with(c, "");
}

static void end(struct command *c)
{
	must(buf_set_u32be(&c->b, 2, (uint32_t)c->b.len));
}

void command_get_random(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x17b);
	u16(c, 16);
	end(c);
}

/* TPML_PCR_SELECTION of COMMAND_PCR alone, in the SHA-256 bank. */
void command_pcr_read(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x17e);
	u32(c, 1);
	u16(c, ALG_SHA256);
	u32(c, 0x03000001);
	end(c);
}

void command_pcr_extend(struct command *c, const uint8_t digest[static COMMAND_DIGEST])
{
	begin(c, ST_SESSIONS, 0x182);
	u32(c, COMMAND_PCR);
	auth(c);
	u32(c, 1);
	u16(c, ALG_SHA256);
	must(buf_put_bytes(&c->b, digest, COMMAND_DIGEST));
	end(c);
}

void command_nv_define(struct command *c)
{
	begin(c, ST_SESSIONS, 0x12a);
	u32(c, RH_OWNER);
	auth(c);
	u16(c, 0);
	u16(c, 14);
	u32(c, COMMAND_NV);
	u16(c, ALG_SHA256);
	u32(c, NV_ATTRIBUTES);
	u16(c, 0);
	u16(c, COMMAND_NV_SIZE);
	end(c);
}

void command_nv_write(struct command *c, const uint8_t data[static COMMAND_NV_SIZE])
{
	begin(c, ST_SESSIONS, 0x137);
	u32(c, RH_OWNER);
	u32(c, COMMAND_NV);
	auth(c);
	must(buf_put_2b(&c->b, data, COMMAND_NV_SIZE));
	u16(c, 0);
	end(c);
}

void command_nv_read(struct command *c)
{
	begin(c, ST_SESSIONS, 0x14e);
	u32(c, RH_OWNER);
	u32(c, COMMAND_NV);
	auth(c);
	u16(c, COMMAND_NV_SIZE);
	u16(c, 0);
	end(c);
}

void command_sequence_start(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x186);
	u16(c, 0);
	u16(c, ALG_SHA256);
	end(c);
}

void command_sequence_update(struct command *c, uint32_t sequence, const uint8_t data[static COMMAND_DIGEST])
{
	begin(c, ST_SESSIONS, 0x15c);
	u32(c, sequence);
	auth(c);
	must(buf_put_2b(&c->b, data, COMMAND_DIGEST));
	end(c);
}

void command_sequence_complete(struct command *c, uint32_t sequence)
{
	begin(c, ST_SESSIONS, 0x13e);
	u32(c, sequence);
	auth(c);
	u16(c, 0);
	u32(c, RH_NULL);
	end(c);
}

void command_policy_start(struct command *c)
{
	static const uint8_t nonce[16];

	begin(c, ST_NO_SESSIONS, 0x176);
	u32(c, RH_NULL);
	u32(c, RH_NULL);
	must(buf_put_2b(&c->b, nonce, sizeof(nonce)));
	u16(c, 0);
	must(buf_put_u8(&c->b, 1)); /* TPM_SE_POLICY */
	u16(c, ALG_NULL);
	u16(c, ALG_SHA256);
	end(c);
}

void command_policy_extend(struct command *c, uint32_t session)
{
	begin(c, ST_NO_SESSIONS, 0x16c);
	u32(c, session);
	u32(c, COMMAND_POLICY_CODE);
	end(c);
}

void command_policy_digest(struct command *c, uint32_t session)
{
	begin(c, ST_NO_SESSIONS, 0x189);
	u32(c, session);
	end(c);
}

void command_pin_define(struct command *c, const char *pin)
{
	begin(c, ST_SESSIONS, 0x12a);
	u32(c, RH_OWNER);
	auth(c);
	must(buf_put_2b(&c->b, pin, strlen(pin)));
	u16(c, 14);
	u32(c, COMMAND_PIN);
	u16(c, ALG_SHA256);
	u32(c, PIN_ATTRIBUTES);
	u16(c, 0);
	u16(c, PIN_SIZE);
	end(c);
}

void command_pin_try(struct command *c, const char *pin)
{
	begin(c, ST_SESSIONS, 0x14e);
	u32(c, COMMAND_PIN);
	u32(c, COMMAND_PIN);
	auth_with(c, pin);
	u16(c, PIN_SIZE);
	u16(c, 0);
	end(c);
}

void command_da_parameters(struct command *c, uint32_t max_tries, uint32_t seconds)
{
	begin(c, ST_SESSIONS, 0x13a);
	u32(c, RH_LOCKOUT);
	auth(c);
	u32(c, max_tries);
	u32(c, seconds);
	u32(c, seconds);
	end(c);
}

/* TPM_CAP_TPM_PROPERTIES, TPM_PT_LOCKOUT_COUNTER: the last four bytes of the answer. */
void command_lockout_counter(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x17a);
	u32(c, 6);
	u32(c, 0x20e);
	u32(c, 1);
	end(c);
}

/* Owner hierarchy, no sensitive data; the TPMT_PUBLIC of n bytes follows with its type. */
static void begin_create_primary(struct command *c, uint32_t n, uint32_t type)
{
	begin(c, ST_SESSIONS, 0x131);
	u32(c, RH_OWNER);
	auth(c);
	u16(c, 4);
	u32(c, 0);
	u16(c, n);
	u16(c, type);
	u16(c, ALG_SHA256);
	u32(c, KEY_ATTRIBUTES);
	u16(c, 0);
	u16(c, ALG_AES);
	u16(c, 128);
	u16(c, ALG_CFB);
	u16(c, ALG_NULL);
}

/* No outsideInfo, no creation PCRs. */
static void end_create_primary(struct command *c)
{
	u16(c, 0);
	u32(c, 0);
	end(c);
}

void command_create_primary_rsa(struct command *c, uint32_t unique)
{
	begin_create_primary(c, 30, ALG_RSA);
	u16(c, 2048);
	u32(c, 0);
	u16(c, 4);
	u32(c, unique);
	end_create_primary(c);
}

void command_create_primary_ecc(struct command *c)
{
	begin_create_primary(c, 26, ALG_ECC);
	u16(c, ECC_P256);
	u16(c, ALG_NULL);
	u16(c, 0);
	u16(c, 0);
	end_create_primary(c);
}

void command_flush(struct command *c, uint32_t handle)
{
	begin(c, ST_NO_SESSIONS, 0x165);
	u32(c, handle);
	end(c);
}

void command_shutdown(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x145);
	u16(c, 0);
	end(c);
}

/* TPM_CAP_TPM_PROPERTIES from PT_FIXED on. */
void command_get_capability(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x17a);
	u32(c, 6);
	u32(c, 0x100);
	u32(c, 64);
	end(c);
}

void command_hash(struct command *c)
{
	begin(c, ST_NO_SESSIONS, 0x17d);
	must(buf_put_2b(&c->b, "guest", 5));
	u16(c, ALG_SHA256);
	u32(c, RH_OWNER);
	end(c);
}

void command_clear(struct command *c)
{
	begin(c, ST_SESSIONS, 0x126);
	u32(c, RH_LOCKOUT);
	auth(c);
	end(c);
}

void command_rogue(struct command *c, uint32_t attempt, uint32_t victim)
{
	begin(c, ST_NO_SESSIONS, ROGUE_COMMAND);
	u32(c, attempt);
	u32(c, victim);
	end(c);
}

uint32_t response_code(const uint8_t *rsp, size_t len)
{
	struct buf b;
	uint16_t tag;
	uint32_t size, rc;

	buf_wrap(&b, rsp, len);
	if (buf_get_u16be(&b, &tag) != 0 || buf_get_u32be(&b, &size) != 0 || buf_get_u32be(&b, &rc) != 0 || size != len)
		return UINT32_MAX;
	return rc;
}

const uint8_t *response_bytes(const uint8_t *rsp, size_t len, size_t off, size_t n)
{
	return off <= len && n <= len - off ? rsp + off : NULL;
}
