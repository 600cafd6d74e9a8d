/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/escrow.h"

#include <openssl/ec.h>
#include <string.h>
#include <time.h>

#include "lib/secmem.h"
#include "lib/util.h"
#include "vtpm-mgr/keeper/wrap.h"

uint64_t challenge_now(void)
{
	struct timespec t;

	return clock_gettime(CLOCK_BOOTTIME, &t) ? UINT64_MAX : (uint64_t)t.tv_sec;
}

int challenge_new(struct challenge *c, uint64_t now, uint8_t der[static PUBKEY_MAX], size_t *len)
{
	int r;

	challenge_end(c);
	c->key = EVP_EC_gen("P-256");
	r = c->key ? random_bytes(c->nonce, CHALLENGE_NONCE_LEN) : ERR_CRYPTO;
	if (!r)
		r = envelope_key_encode(c->key, der, len);
	c->until = now + CHALLENGE_SECONDS;
	if (r)
		challenge_end(c);
	return r;
}

void challenge_end(struct challenge *c)
{
	EVP_PKEY_free(c->key);
	c->key = NULL;
	secmem_wipe(c->nonce, sizeof(c->nonce));
	c->nused = 0;
}

static bool was_used(const struct challenge *c, const uint8_t id[static ROOT_ID_LEN])
{
	for (unsigned i = 0; i < c->nused; i++)
		if (!memcmp(c->used[i], id, ROOT_ID_LEN))
			return true;
	return c->nused == KEEPER_GROUPS_MAX;
}

int challenge_open(struct challenge *c, uint64_t now, const struct root_restore *m, uint8_t root[static KEY_LEN])
{
	uint8_t mem[ESCROW_CONTEXT_MAX], id[ROOT_ID_LEN];
	struct buf context;
	int r;

	if (c->key && now >= c->until)
		challenge_end(c);
	if (!c->key)
		return ERR_TIMEOUT;
	buf_init(&context, mem, sizeof(mem));
	r = escrow_context(&context, &m->tag, c->nonce);
	if (!r)
		r = envelope_open(c->key, &context, m->envelope, m->envelope_len, root);
	if (!r)
		r = wrap_root_id(root, id);
	if (!r && memcmp(id, m->tag.root_id, ROOT_ID_LEN) != 0)
		r = ERR_AUTH;
	if (!r && was_used(c, id))
		r = ERR_TIMEOUT;
	if (!r)
		memcpy(c->used[c->nused++], id, ROOT_ID_LEN);
	if (r)
		secmem_wipe(root, KEY_LEN);
	return r == ERR_NOTFOUND ? ERR_AUTH : r;
}

int escrow_seal(EVP_PKEY *key, const struct escrow_tag *tag, const uint8_t secret[static KEY_LEN], struct buf *out)
{
	uint8_t mem[ESCROW_CONTEXT_MAX];
	struct buf context;

	buf_init(&context, mem, sizeof(mem));
	return escrow_context(&context, tag, NULL) ? ERR_RANGE : envelope_seal(key, &context, secret, out);
}
