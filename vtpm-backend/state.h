/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sealing of a vTPM's state under its own key.
 *
 *	offset 0  u32 magic "VTST"	(little-endian fields, as in lib/ipc.h)
 *	       4  u8  format version 1
 *	       5  u8  kind
 *	       6  u16 0
 *	       8  16 bytes salt of the process that sealed it
 *	      24  u64 state version
 *	      32  u64 counter of that process
 *	      40  ciphertext
 *	     end  16 bytes AES-256-GCM tag
 *
 *	subkey = HKDF-SHA256(key = vTPM key, salt, info = "vtpm state v1")
 *	nonce  = 4 zero bytes ‖ counter;  associated data = header ‖ uuid
 *
 * Each process draws its own salt and counts from 1, so a nonce never repeats under a subkey.
 * Random nonces would pass their limit of 2^32 sealings in days.
 */
#ifndef VTPM_BACKEND_STATE_H
#define VTPM_BACKEND_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/limits.h"

#define STATE_SALT_LEN	  16u
#define STATE_HEADER_SIZE 40u
#define STATE_VERSION_OFF 24u
#define STATE_TAG_LEN	  16u
#define STATE_OVERHEAD	  (STATE_HEADER_SIZE + STATE_TAG_LEN)
#define STATE_PLAIN_MAX	  (SEALED_STATE_MAX - STATE_OVERHEAD)

enum state_kind {
	STATE_PERMANENT = 1,
	STATE_SAVED_PERMANENT = 2, /* what a hypervisor keeps while a guest is saved or migrated; never in the store */
	STATE_SAVED_VOLATILE = 3,  /* the volatile state that belongs to it */
	STATE_CHECKPOINT = 4,	   /* these two: checkpoint.h; never in the store */
	STATE_REDO = 5,
};

/* What a sealed state must be to be accepted. */
struct state_id {
	uint8_t uuid[UUID_LEN];
	uint8_t kind; /* enum state_kind */
	uint64_t version;
	uint64_t line; /* of saved ones: those of before a restore are of another, whatever their version; elsewhere 0 */
};

struct evp_cipher_ctx_st; /* OpenSSL's EVP_CIPHER_CTX */

/* The sealing half of one process: keep it in locked memory. */
struct sealer {
	struct evp_cipher_ctx_st *ctx; /* holds the subkey */
	uint8_t salt[STATE_SALT_LEN];
	uint64_t counter; /* last used */
};

/* n bytes of a secret for one use: HKDF-SHA256, no salt, info. */
CHECKED int state_derive(const uint8_t key[static KEY_LEN], const char *info, uint8_t *out, size_t n);
/* Draws a salt and derives the subkey; key is not kept. */
CHECKED int sealer_init(struct sealer *s, const uint8_t key[static KEY_LEN]);
void sealer_wipe(struct sealer *s);
/*
 * Appends the sealed form of n bytes to out: n + STATE_OVERHEAD bytes. ERR_RANGE: no room, or
 * n is 0 or beyond STATE_PLAIN_MAX.
 */
CHECKED int state_seal(struct sealer *s, const struct state_id *id, const uint8_t *plain, size_t n, struct buf *out);
/* The same of a plaintext in several pieces, of which some may be empty. */
struct state_part {
	const uint8_t *data;
	size_t len;
};
CHECKED int state_seal_parts(struct sealer *s, const struct state_id *id, const struct state_part *parts, unsigned nparts,
			     struct buf *out);
/*
 * Opens a sealed state of at most SEALED_STATE_MAX bytes into plain, which has room for
 * n - STATE_OVERHEAD bytes. ERR_VERSION: a newer format. ERR_AUTH: anything else that is not
 * exactly what id says, sealed under key; plain is then zeroed.
 */
CHECKED int state_open(const uint8_t key[static KEY_LEN], const struct state_id *id, const uint8_t *sealed, size_t n,
		       uint8_t *plain, size_t *plain_len);

#endif
