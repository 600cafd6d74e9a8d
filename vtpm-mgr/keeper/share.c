/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/share.h"

#include <openssl/ec.h>
#include <string.h>

int share_begin(struct share_exchange *x, uint64_t now, const uint8_t nonce[static CHALLENGE_NONCE_LEN],
		uint8_t der[static PUBKEY_MAX], size_t *len)
{
	int r;

	share_end(x);
	x->key = EVP_EC_gen("P-256");
	memcpy(x->nonce, nonce, CHALLENGE_NONCE_LEN);
	x->until = now + SHARE_SECONDS;
	r = x->key ? envelope_key_encode(x->key, der, len) : ERR_CRYPTO;
	if (r)
		share_end(x);
	return r;
}

void share_end(struct share_exchange *x)
{
	EVP_PKEY_free(x->key);
	x->key = NULL;
}

int share_receive(struct share_exchange *x, uint64_t now, const char *group, const uint8_t *envelope, size_t len,
		  uint8_t share[static KEY_LEN])
{
	uint8_t mem[ESCROW_CONTEXT_MAX];
	struct buf context;
	int r;

	if (x->key && now >= x->until)
		share_end(x);
	if (!x->key)
		return ERR_TIMEOUT;
	buf_init(&context, mem, sizeof(mem));
	r = share_context(&context, x->nonce, group);
	if (!r)
		r = envelope_open(x->key, &context, envelope, len, share);
	share_end(x);
	return r == ERR_NOTFOUND ? ERR_AUTH : r;
}

uint64_t share_must_wait(const struct share_exchange *x, uint64_t now)
{
	return now < x->not_before ? x->not_before - now : 0;
}

void share_tried(struct share_exchange *x, uint64_t now, bool right)
{
	uint64_t wait = SHARE_WAIT_MIN;

	x->wrong = right ? 0 : x->wrong + 1;
	for (unsigned i = 1; i < x->wrong && wait < SHARE_WAIT_MAX; i++)
		wait *= 2;
	if (wait > SHARE_WAIT_MAX)
		wait = SHARE_WAIT_MAX;
	x->not_before = right ? 0 : now + wait;
}
