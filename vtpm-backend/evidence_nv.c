/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/evidence_nv.h"

#include <openssl/evp.h>
#include <string.h>

#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define NONCE_ATTRIBUTES                                                                                               \
	(TPMA_NV_PLATFORMCREATE | TPMA_NV_NO_DA | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD | TPMA_NV_OWNERWRITE | TPMA_NV_AUTHWRITE)
#define READ_ATTRIBUTES                                                                                                \
	(TPMA_NV_PLATFORMCREATE | TPMA_NV_NO_DA | TPMA_NV_PPREAD | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD | TPMA_NV_POLICYWRITE)
/* AUTHREAD: or TPM2_PolicySecret would not take its auth (Part 3, 23.4). */
#define KEY_ATTRIBUTES (TPMA_NV_PLATFORMCREATE | TPMA_NV_NO_DA | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE)

#define INDICES (3u + EVIDENCE_NV_ROWS)

static struct tpm_nv key_index(const struct ak_secret *s)
{
	return (struct tpm_nv){ .index = EVIDENCE_NV_KEY, .attributes = KEY_ATTRIBUTES, .size = 1, .auth = s->rows, .auth_len = sizeof(s->rows) };
}

/* Of TPM2_PolicySecret with the key's Name, which is of its public area as it was defined, and no reference: Part 3, 23.2.3. */
static int policy_digest(const struct ak_secret *s, uint8_t out[static DIGEST_LEN])
{
	static const uint8_t none[DIGEST_LEN];
	const struct tpm_nv key = key_index(s);
	uint8_t public[NV_PUBLIC_LEN], digest[DIGEST_LEN], mem[2 * DIGEST_LEN + 6];
	struct buf b;
	int err;

	buf_init(&b, public, sizeof(public));
	err = tpmcmd_nv_public(&b, &key);
	if (err == 0 && EVP_Digest(b.data, b.len, digest, NULL, EVP_sha256(), NULL) != 1)
		err = ERR_CRYPTO;
	buf_init(&b, mem, sizeof(mem));
	if (err != 0 || buf_put_bytes(&b, none, sizeof(none)) || buf_put_u32be(&b, TPM_CC_PolicySecret) || buf_put_u16be(&b, TPM_ALG_SHA256) ||
	    buf_put_bytes(&b, digest, sizeof(digest)))
		return err != 0 ? err : ERR_RANGE;
	if (EVP_Digest(mem, b.len, digest, NULL, EVP_sha256(), NULL) != 1)
		return ERR_CRYPTO;
	return EVP_Digest(digest, sizeof(digest), out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO; /* and the reference */
}

/* All of them, by number. */
static struct tpm_nv index_of(const struct ak_secret *s, const uint8_t policy[static DIGEST_LEN], unsigned i)
{
	struct tpm_nv nv = { .attributes = READ_ATTRIBUTES, .policy = policy, .policy_len = DIGEST_LEN };

	switch (i) {
	case 0:
		return key_index(s);
	case 1:
		return (struct tpm_nv){ .index = EVIDENCE_NV_NONCE, .attributes = NONCE_ATTRIBUTES, .size = GUEST_NONCE_MAX };
	case 2:
		nv.index = EVIDENCE_NV_STATUS;
		nv.size = EVIDENCE_NV_STATUS_SIZE;
		return nv;
	default:
		nv.index = EVIDENCE_NV_ROW + i - 3;
		nv.size = EVIDENCE_NV_SIZE;
		return nv;
	}
}

static int undefine_all(struct tpmrun *t, const struct ak_secret *s)
{
	static const uint8_t any[DIGEST_LEN];
	int err = 0;

	for (unsigned i = 0; err == 0 && i < INDICES; i++) {
		err = tpmcmd_nv_undefine_space(&t->cmd, index_of(s, any, i).index);
		if (err == 0)
			err = tpmrun(t, 0);
		if (err == ERR_ENGINE && t->rsp.rc == TPM_RC_HANDLE_2)
			err = 0; /* there is none */
	}
	return err;
}

static int define_all(struct tpmrun *t, const struct ak_secret *s)
{
	uint8_t policy[DIGEST_LEN];
	int err = policy_digest(s, policy);

	for (unsigned i = 0; err == 0 && i < INDICES; i++) {
		const struct tpm_nv nv = index_of(s, policy, i);

		err = tpmcmd_nv_define_space(&t->cmd, &nv);
		if (err == 0)
			err = tpmrun(t, 0);
	}
	return err;
}

/* --- writing --- */

static int begin(struct tpmrun *t, uint32_t *session)
{
	int err = tpmcmd_start_policy(&t->cmd);

	if (err == 0)
		err = tpmrun(t, 1);
	*session = err == 0 ? t->rsp.handle : 0;
	return err;
}

static int end(struct tpmrun *t, uint32_t session)
{
	int err = tpmcmd_flush_context(&t->cmd, session);

	return err != 0 ? err : tpmrun(t, 0);
}

static int satisfy(struct tpmrun *t, const struct ak_secret *s, uint32_t session)
{
	int err = tpmcmd_policy_secret(&t->cmd, EVIDENCE_NV_KEY, s->rows, sizeof(s->rows), session);

	return err != 0 ? err : tpmrun(t, 0);
}

/* size bytes of an index: n of data, and zeros. */
static int fill(struct tpmrun *t, const struct ak_secret *s, uint32_t session, uint32_t index, size_t size, const uint8_t *data, size_t n)
{
	uint8_t chunk[TPMCMD_NV_CHUNK];
	size_t part, have;
	int err = 0;

	for (size_t at = 0; err == 0 && at < size; at += part) {
		part = size - at < sizeof(chunk) ? size - at : sizeof(chunk);
		have = n <= at ? 0 : n - at < part ? n - at : part;
		memset(chunk, 0, sizeof(chunk));
		if (have > 0)
			memcpy(chunk, data + at, have);
		err = satisfy(t, s, session);
		if (err == 0)
			err = tpmcmd_nv_write_policy(&t->cmd, session, index, chunk, part, (uint16_t)at);
		if (err == 0)
			err = tpmrun(t, 0);
	}
	return err;
}

static int fill_all(struct tpmrun *t, const struct ak_secret *s, uint32_t session, const uint8_t *evidence, size_t n, const char *status)
{
	int err = fill(t, s, session, EVIDENCE_NV_STATUS, EVIDENCE_NV_STATUS_SIZE, (const uint8_t *)status, strlen(status));

	for (unsigned i = 0; err == 0 && i < EVIDENCE_NV_ROWS; i++) {
		const size_t at = (size_t)i * EVIDENCE_NV_SIZE, left = n > at ? n - at : 0;

		err = fill(t, s, session, EVIDENCE_NV_ROW + i, EVIDENCE_NV_SIZE, left > 0 ? evidence + at : NULL, left);
	}
	return err;
}

int evidence_nv_put(const struct ak_secret *s, const uint8_t *evidence, size_t n, const char *status)
{
	uint32_t session;
	struct tpmrun t;
	int err, ended;

	if (n > GUEST_EVIDENCE_MAX || strlen(status) >= EVIDENCE_NV_STATUS_SIZE)
		return ERR_RANGE;
	tpmrun_init(&t);
	err = begin(&t, &session);
	if (err == 0) {
		err = fill_all(&t, s, session, evidence, n, status);
		ended = end(&t, session);
		err = err != 0 ? err : ended;
	}
	tpmrun_wipe(&t);
	return err;
}

int evidence_nv_settle(const struct ak_secret *s)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = undefine_all(&t, s);
	if (err == 0)
		err = define_all(&t, s);
	if (err == 0)
		err = evidence_nv_put(s, NULL, 0, "no evidence: nobody has asked for it\n");
	if (err == ERR_ENGINE)
		(void)!undefine_all(&t, s); /* as far as that goes */
	tpmrun_wipe(&t);
	return err;
}

/* --- the guest's --- */

/* Another's under the dictionary-attack lockout is not to be tried: that would be a failed authorisation. */
static bool is_ours(struct tpmrun *t, uint32_t index, uint32_t expected)
{
	uint32_t attributes;
	uint16_t size;
	int err = tpmcmd_nv_read_public(&t->cmd, index);

	if (err == 0)
		err = tpmrun(t, 0);
	return err == 0 && tpmrsp_nv_public(&t->rsp, &attributes, &size) == 0 && (attributes & ~TPMA_NV_WRITTEN) == expected;
}

static bool is_full(uint32_t rc)
{
	return rc == TPM_RC_SESSION_MEMORY || rc == TPM_RC_SESSION_HANDLES || rc == TPM_RC_CONTEXT_GAP;
}

int evidence_nv_ready(const struct ak_secret *s, uint32_t *rc)
{
	uint32_t session;
	struct tpmrun t;
	int err, ended;

	*rc = TPM_RC_SUCCESS;
	tpmrun_init(&t);
	if (!is_ours(&t, EVIDENCE_NV_KEY, KEY_ATTRIBUTES) || !is_ours(&t, EVIDENCE_NV_NONCE, NONCE_ATTRIBUTES))
		return ERR_NOTFOUND;
	err = begin(&t, &session);
	*rc = err == ERR_ENGINE ? t.rsp.rc : TPM_RC_SUCCESS;
	if (err == 0) {
		err = satisfy(&t, s, session);
		ended = end(&t, session);
		err = err != 0 ? err : ended;
	}
	tpmrun_wipe(&t);
	if (err == ERR_ENGINE)
		return is_full(*rc) ? ERR_FULL : ERR_NOTFOUND;
	return err;
}

int evidence_nv_nonce(uint8_t *out, size_t n)
{
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_nv_read(&t.cmd, EVIDENCE_NV_NONCE, EVIDENCE_NV_NONCE, (uint16_t)n, 0);
	if (err == 0)
		err = tpmrun(&t, 0);
	return err != 0 ? err : tpmrsp_nv_data(&t.rsp, out, n);
}
