/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NV indices by which a guest comes to evidence about its vTPM (docs/attestation.md): it writes its nonce to one, and reads what has become of
 * it in the others. They are there from manufacture on, with an empty auth, and never grow.
 *
 *	nonce	the guest's to write and read
 *	status	text: how many bytes of evidence there are, or why there is none
 *	rows	the evidence, 2,048 bytes in each, zeros behind its end
 *	key	holds nothing. Its auth is ours alone (ak_secret.rows)
 *
 * Status and rows everybody reads, and nobody writes but by a policy: TPM2_PolicySecret with the auth of the key. It is the platform's auth that
 * undefines them, which firmware has taken away. The key is never written, so that its Name, which the policy names, stays as it is; and a policy by
 * an index needs no slot for an object, which the guest may have filled.
 */
#ifndef VTPM_BACKEND_EVIDENCE_NV_H
#define VTPM_BACKEND_EVIDENCE_NV_H

#include "vtpm-backend/ak.h"

/* Beside the launch's log (launch.h). */
#define EVIDENCE_NV_NONCE	0x01407700u
#define EVIDENCE_NV_STATUS	0x01407701u
#define EVIDENCE_NV_KEY		0x01407702u
#define EVIDENCE_NV_ROW		0x01407710u /* the first of them */
#define EVIDENCE_NV_ROWS	8u
#define EVIDENCE_NV_SIZE	2048u
#define EVIDENCE_NV_STATUS_SIZE 256u
_Static_assert(EVIDENCE_NV_ROWS * EVIDENCE_NV_SIZE == GUEST_EVIDENCE_MAX, "it fits");

/*
 * Whatever is at these handles goes, and they are defined anew, with nothing but zeros in them. The platform auth must be empty. ERR_ENGINE: the TPM has no
 * room for them, or something there cannot be undefined; none of ours is left then.
 */
CHECKED int evidence_nv_settle(const struct ak_secret *s);
/*
 * Whether they are there and ours to write. ERR_FULL: that cannot be known, since the guest has taken all sessions; *rc is what a command of its own would be
 * answered. ERR_NOTFOUND: they are not.
 */
CHECKED int evidence_nv_ready(const struct ak_secret *s, uint32_t *rc);
/* The n bytes that the guest has written last, whoever may have encrypted them on the way. */
CHECKED int evidence_nv_nonce(uint8_t *out, size_t n);
/* Both as a guest is to find them; status: less than EVIDENCE_NV_STATUS_SIZE bytes. ERR_ENGINE: firmware has changed an index. */
CHECKED int evidence_nv_put(const struct ak_secret *s, const uint8_t *evidence, size_t n, const char *status);

#endif
