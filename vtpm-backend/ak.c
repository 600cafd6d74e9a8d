/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/ak.h"

#include <stdbool.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-backend/ek.h"
#include "vtpm-backend/state.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

/* fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign */
#define AK_ATTRIBUTES 0x00050472u

#define SIZE_LEN 2u /* of a TPM2B's size field */

int ak_derive(struct ak_secret *s, const uint8_t secret[static KEY_LEN])
{
	int err = state_derive(secret, "vtpm attestation key auth v1", s->auth, sizeof(s->auth));

	if (err == 0)
		err = state_derive(secret, "vtpm evidence rows auth v1", s->rows, sizeof(s->rows));
	/* A TPM drops trailing zeros of an auth value (Part 1, 19.6.4.3): there shall be none. */
	s->auth[KEY_LEN - 1] |= 1;
	s->rows[KEY_LEN - 1] |= 1;
	return err != 0 ? err : state_derive(secret, "vtpm attestation key unique v1", s->unique, sizeof(s->unique));
}

int ak_template(const struct ak_secret *s, struct buf *out)
{
	if (buf_put_u16be(out, TPM_ALG_ECC) || buf_put_u16be(out, TPM_ALG_SHA256) || buf_put_u32be(out, AK_ATTRIBUTES) ||
	    buf_put_u16be(out, 0) || buf_put_u16be(out, TPM_ALG_NULL) || buf_put_u16be(out, TPM_ALG_ECDSA) ||
	    buf_put_u16be(out, TPM_ALG_SHA256) || buf_put_u16be(out, TPM_ECC_NIST_P256) || buf_put_u16be(out, TPM_ALG_NULL) ||
	    buf_put_2b(out, s->unique, P256_LEN) || buf_put_2b(out, s->unique + P256_LEN, P256_LEN))
		return ERR_RANGE;
	return 0;
}

/* All but the key must be what was asked for. */
static int check(const struct buf *tmpl, const uint8_t *pub, size_t n)
{
	const size_t fixed = tmpl->len - 2 * (SIZE_LEN + P256_LEN);

	return n == SIZE_LEN + tmpl->len && n <= PUBLIC_MAX && memcmp(pub + SIZE_LEN, tmpl->data, fixed) == 0 ? 0 : ERR_ENGINE;
}

/* Makes it, as *object. */
static int make(struct tpmrun *t, const struct ak_secret *s, uint8_t out[static PUBLIC_MAX], size_t *n, uint32_t *object)
{
	uint8_t mem[PUBLIC_MAX];
	const uint8_t *pub;
	struct buf tmpl;
	int err;

	buf_init(&tmpl, mem, sizeof(mem));
	err = ak_template(s, &tmpl);
	if (err == 0)
		err = tpmcmd_create_primary(&t->cmd, TPM_RH_PLATFORM, s->auth, sizeof(s->auth), tmpl.data, tmpl.len);
	if (err == 0)
		err = tpmrun(t, 1);
	*object = err == 0 ? t->rsp.handle : 0;
	if (err == 0)
		err = tpmrsp_public(&t->rsp, &pub, n);
	if (err == 0)
		err = check(&tmpl, pub, *n);
	if (err == 0)
		memcpy(out, pub, *n);
	secmem_wipe(mem, sizeof(mem)); /* unique is in it */
	return err;
}

static int evict(struct tpmrun *t, uint32_t object)
{
	int err = tpmcmd_evict_control(&t->cmd, TPM_RH_PLATFORM, object, AK_HANDLE);

	return err != 0 ? err : tpmrun(t, 0);
}

/* What is at the handle is it, or nothing. */
static int clear_handle(struct tpmrun *t, const uint8_t *pub, size_t n, bool *there)
{
	const uint8_t *now;
	size_t len = 0;
	int err = tpmcmd_read_public(&t->cmd, AK_HANDLE);

	*there = false;
	if (err == 0)
		err = tpmrun(t, 0);
	if (err == ERR_ENGINE) /* TPM_RC_HANDLE */
		return 0;
	if (err == 0)
		err = tpmrsp_public(&t->rsp, &now, &len);
	if (err != 0)
		return err;
	*there = len == n && memcmp(now, pub, n) == 0;
	return *there ? 0 : evict(t, AK_HANDLE);
}

int ak_settle(const struct ak_secret *s, uint8_t out[static PUBLIC_MAX], size_t *n)
{
	uint32_t object = 0;
	struct tpmrun t;
	bool there;
	int err, flushed;

	tpmrun_init(&t);
	err = make(&t, s, out, n, &object);
	if (err == 0)
		err = clear_handle(&t, out, *n, &there);
	if (err == 0 && !there)
		err = evict(&t, object);
	if (object != 0) {
		flushed = tpmcmd_flush_context(&t.cmd, object);
		if (flushed == 0)
			flushed = tpmrun(&t, 0);
		err = err != 0 ? err : flushed;
	}
	tpmrun_wipe(&t);
	if (err != 0)
		*n = 0;
	return err;
}
