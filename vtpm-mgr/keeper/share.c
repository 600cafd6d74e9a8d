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

/* Its own, or a free one, or that of all others: the index. */
static unsigned tries_of(const struct share_exchange *x, const uint8_t root_id[static ROOT_ID_LEN])
{
	unsigned place = SHARE_TRIES_MAX;

	for (unsigned i = SHARE_TRIES_MAX; i-- > 0;) {
		if (x->tries[i].wrong == 0)
			place = i;
		else if (!memcmp(x->tries[i].root_id, root_id, ROOT_ID_LEN))
			return i;
	}
	return place;
}

uint64_t share_must_wait(const struct share_exchange *x, const uint8_t root_id[static ROOT_ID_LEN], uint64_t now)
{
	const struct share_tries *t = &x->tries[tries_of(x, root_id)];

	return t->wrong > 0 && now < t->not_before ? t->not_before - now : 0;
}

void share_tried(struct share_exchange *x, const uint8_t root_id[static ROOT_ID_LEN], uint64_t now, bool right)
{
	const unsigned i = tries_of(x, root_id);
	struct share_tries *t = &x->tries[i];
	uint64_t wait = SHARE_WAIT_MIN;

	if (right && i < SHARE_TRIES_MAX)
		t->wrong = 0;
	if (right)
		return;
	memcpy(t->root_id, root_id, ROOT_ID_LEN);
	t->wrong++;
	for (unsigned n = 1; n < t->wrong && wait < SHARE_WAIT_MAX; n++)
		wait *= 2;
	t->not_before = now + (wait > SHARE_WAIT_MAX ? SHARE_WAIT_MAX : wait);
}
