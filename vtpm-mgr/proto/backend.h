/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a backend speaks: three channels, each for one peer.
 *
 * control (manager <-> control thread)
 *	m -> b  BACKEND_START {…}		first message, once; with RUN_IMPORT + 1 or 2 fds {state, secret}. With a launch,
 *						each power-on begins with what its log says (launch.h)
 *	b -> m  BACKEND_READY {}		serving; with RUN_STARTUP the engine has answered TPM2_Startup
 *	b -> m  BACKEND_PROVISIONED {…}	a worker is done: sealed state, EK public areas, certificates; it exits 0
 *	b -> m  BACKEND_FAILED {i32 code, str text}	it cannot go on and exits; ERR_AUTH: the state does not verify
 *	b -> m  BACKEND_REFUSED {i32 code}	its QEMU brought a saved state that does not verify
 *	b -> m  BACKEND_ATTACHED {i32 code}	it has looked at the ring that came over attach: 0, it serves it
 *	m -> b  BACKEND_DETACH {}		let go of the ring, if there is one; a command in hand is cancelled
 *	b -> m  BACKEND_DETACHED {}		nothing of the guest's is mapped any more
 *	m -> b  BACKEND_QUOTE {32 bytes}	TPM2_Quote of PCRs 0 to 15 by the attestation key, over that; one at a time
 *	b -> m  BACKEND_QUOTED {i32 code, var attest, var signature, var PCRs}	the answer, after the command in hand
 *	b -> m  BACKEND_ASK {u32 id, var nonce}	its guest asks for evidence with that nonce; ids rise
 *	m -> b  BACKEND_EVIDENCE {u32 id, str text, var evidence}	the answer to each: why there is none, or the evidence
 *	m -> b  BACKEND_STOP {}		shut the engine down in order, commit, exit 0
 *	End of file: the manager has gone; the backend exits at once, having acknowledged nothing that is not stored.
 *
 * store (manager <-> engine thread), one request at a time
 *	b -> m  STORE_COMMIT {u64 version, u8 flags, var sealed}	version is the last acknowledged one + 1
 *	m -> b  STORE_DONE {u64 version, i32 code}		0: durable. Otherwise nothing was stored, and the
 *								backend may send the same version again.
 *
 *	b -> m  STORE_TAKE {u64 version}	its QEMU initialises the TPM with the saved state of that version; 0: with
 *						none, and the backend has no state yet (RUN_STANDBY)
 *	m -> b  STORE_TAKEN {u64 version, i32 code, var sealed}	0: it has the TPM now, whoever had it is gone; version is that
 *						of the store, sealed its state if none was brought. Otherwise: no, ERR_WRONG_STATE:
 *						it is not the newest, ERR_BUSY: another has it.
 *
 * key channel (keeper <-> backend)
 *	k -> b  KEY_GIVE {uuid, u64 epoch, key, u8 renew, next key}	once; renew: the state it is given is sealed under key, and from its next
 *								commit on (COMMIT_RENEWED) everything is under the next one; otherwise zeros
 *	b -> k  CERT_REQUEST {u8 kind, var TPM2B_PUBLIC}	only for a worker started with RUN_CERTIFY or RUN_CERTIFY_AK; one per kind
 *	k -> b  CERT_ISSUED {u8 kind, i32 code, var DER}
 */
#ifndef VTPM_PROTO_BACKEND_H
#define VTPM_PROTO_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipc.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/launch.h"
#include "vtpm-mgr/proto/limits.h"

enum {
	BACKEND_START = 0x42450001,
	BACKEND_READY = 0x42450002,
	BACKEND_PROVISIONED = 0x42450003,
	BACKEND_FAILED = 0x42450004,
	BACKEND_STOP = 0x42450005,
	BACKEND_REFUSED = 0x42450006,
	BACKEND_ATTACHED = 0x42450007,
	BACKEND_DETACH = 0x42450008,
	BACKEND_DETACHED = 0x42450009,
	BACKEND_QUOTE = 0x4245000a,
	BACKEND_QUOTED = 0x4245000b,
	BACKEND_ASK = 0x4245000c,
	BACKEND_EVIDENCE = 0x4245000d,
	STORE_COMMIT = 0x42450011,
	STORE_DONE = 0x42450012,
	STORE_TAKE = 0x42450013,
	STORE_TAKEN = 0x42450014,
	KEY_GIVE = 0x42450021,
	CERT_REQUEST = 0x42450022,
	CERT_ISSUED = 0x42450023,
};

/*
 * What a backend is started for. Either RUN_SERVE (with a state), or RUN_MANUFACTURE and/or RUN_CERTIFY or RUN_CERTIFY_AK, or RUN_IMPORT
 * and RUN_CERTIFY_AK.
 */
enum {
	RUN_SERVE = 1u << 0,	   /* serve the ring */
	RUN_STARTUP = 1u << 1,	   /* with SERVE: send TPM2_Startup(CLEAR) and randomise the platform auth before the first guest byte; for a QEMU only with a launch */
	RUN_MANUFACTURE = 1u << 2, /* no state given: make a new TPM with its EKs */
	RUN_CERTIFY = 1u << 3,	   /* have all keys certified, and write the certificates of EKs to NV */
	RUN_STANDBY = 1u << 4,	   /* with SERVE, for a QEMU, and no state: another QEMU has the TPM; STORE_TAKE asks for it */
	RUN_RESUME = 1u << 5,	   /* with SERVE: go on where the backend that was killed stood; it left a checkpoint, or its TPM was off */
	RUN_CRASHED = 1u << 6,	   /* with RESUME: not SIGKILL has ended it: what it had in hand is not tried again */
	RUN_ADOPTED = 1u << 7,	   /* with RESUME: what it had in hand has nothing to do with its end, and is tried as if for the first time */
	/*
	 * The state is swtpm's, and comes as a descriptor with BACKEND_START: swtpm's file. If it is encrypted, a second
	 * one holds what opens it, and RUN_SECRET says what that is. Both are memfds that nobody can change any more.
	 */
	RUN_IMPORT = 1u << 8,
	RUN_CERTIFY_AK = 1u << 12, /* the AK alone: the EKs are certified by somebody else, as those of swtpm's */
};

/* What opens a state of swtpm, as its --key says it: bits 9 to 11 of the flags. */
enum import_secret {
	SECRET_NONE = 0,       /* it is not encrypted */
	SECRET_KEY_HEX = 1,    /* digits, perhaps behind 0x; ends at white space */
	SECRET_KEY_BINARY = 2,
	SECRET_PASS_PBKDF2 = 3, /* PBKDF2-HMAC-SHA512, salt "swtpm", 1000 rounds */
	SECRET_PASS_SHA512 = 4, /* the beginning of its SHA-512 */
};
#define RUN_SECRET(kind)     ((uint32_t)(kind) << 9)
#define RUN_SECRET_OF(flags) ((enum import_secret)((flags) >> 9 & 7u))
#define IMPORT_FDS_MAX	     2u

/* Keys that are certified. The two EKs of TCG EK Credential Profile 2.0: templates L-1 and L-2; the attestation key. */
enum ek_kind { EK_RSA2048 = 0, EK_ECC_P256 = 1, EK_KINDS = 2, AK_ECC_P256 = 2, KEY_KINDS = 3 };
#define ALL_KINDS ((1u << KEY_KINDS) - 1u)

struct backend_start {
	uint32_t flags;
	uint8_t uuid[UUID_LEN];	     /* seals new states */
	uint8_t from_uuid[UUID_LEN]; /* the given state was sealed for it; the same but for a pool instance that gets its name */
	uint64_t version;	     /* of the given state; 0: none given */
	uint64_t line;		     /* what a hypervisor saved is taken back on the same line alone */
	uint32_t state_max;	     /* quota: bytes of plaintext state, with what is the host's in it; a change that exceeds it fails */
	uint8_t locality_max;	     /* 0 … 4 */
	const uint8_t *sealed;	     /* view */
	size_t sealed_len;
	const uint8_t *launch; /* view: the event log of a measured launch (launch.h); length 0: there was none */
	size_t launch_len;
};

struct backend_provisioned {
	uint64_t version;
	bool rows; /* its guest can ask for evidence: there was room for the indices */
	const uint8_t *sealed; /* views */
	size_t sealed_len;
	const uint8_t *key_public[KEY_KINDS]; /* TPM2B_PUBLIC; length 0: there is none, or it cannot be had */
	size_t key_public_len[KEY_KINDS];
	const uint8_t *cert[KEY_KINDS]; /* DER; length 0 of what was not certified */
	size_t cert_len[KEY_KINDS];
};

struct backend_failed {
	int32_t code;
	char text[TEXT_MAX + 1];
};

/* What a backend quotes: SHA-256 bank, PCRs 0 to 15. */
#define QUOTE_PCRS     16u
#define QUOTE_PCRS_LEN (QUOTE_PCRS * DIGEST_LEN)
struct backend_quoted {
	int32_t code; /* ERR_NOTFOUND: it has no attestation key; ERR_WRONG_STATE: it is off, or was not started up; ERR_BUSY: not in this moment */
	const uint8_t *attest, *sig; /* views: TPMS_ATTEST, TPMT_SIGNATURE; with code 0 */
	const uint8_t *pcrs;	     /* QUOTE_PCRS_LEN bytes: the values that were quoted; with code 0 */
	size_t attest_len, sig_len;
};

struct backend_ask {
	uint32_t id;
	const uint8_t *nonce; /* view */
	size_t nonce_len;
};
struct backend_evidence {
	uint32_t id;
	char text[GUEST_TEXT_MAX + 1]; /* empty if there is evidence, and only then */
	const uint8_t *evidence;       /* view */
	size_t evidence_len;
};

#define COMMIT_STARTUP	   (1u << 0) /* the engine's first commit after a power-on */
#define COMMIT_AUTH_FAILED (1u << 1) /* since the last one that succeeded the engine has answered TPM_RC_AUTH_FAIL or TPM_RC_LOCKOUT */
#define COMMIT_ANCHOR	   (1u << 2) /* the state is to be given away: anchored, whatever its group promises otherwise */
#define COMMIT_RENEWED	   (1u << 3) /* it is sealed under the next key, which takes the place of the one there was with this commit */
struct store_commit {
	uint64_t version;
	uint8_t flags;
	const uint8_t *sealed; /* view */
	size_t sealed_len;
};
struct store_done {
	uint64_t version;
	int32_t code;
};
struct store_take {
	uint64_t version;
};
struct store_taken {
	uint64_t version;
	int32_t code;
	const uint8_t *sealed; /* view */
	size_t sealed_len;
};
struct key_give {
	uint8_t uuid[UUID_LEN];
	uint64_t epoch;
	uint8_t key[KEY_LEN]; /* secret */
	bool renew;
	uint8_t next[KEY_LEN]; /* secret */
};
struct cert_request {
	uint8_t kind;
	const uint8_t *key_public; /* view */
	size_t key_public_len;
};
struct cert_issued {
	uint8_t kind;
	int32_t code;
	const uint8_t *der; /* view */
	size_t der_len;
};

#define BACKEND_START_MIN	65u
#define BACKEND_START_MAX	(BACKEND_START_MIN + SEALED_STATE_MAX + LAUNCH_LOG_MAX)
#define BACKEND_PROVISIONED_MIN 37u
#define BACKEND_PROVISIONED_MAX (BACKEND_PROVISIONED_MIN + SEALED_STATE_MAX + KEY_KINDS * (PUBLIC_MAX + CERT_MAX))
#define BACKEND_REFUSED_SIZE	4u
#define BACKEND_ATTACHED_SIZE	4u
#define BACKEND_QUOTE_SIZE	DIGEST_LEN
#define BACKEND_QUOTED_MIN	16u
#define BACKEND_QUOTED_MAX	(BACKEND_QUOTED_MIN + ATTEST_MAX + ATTEST_SIG_MAX + QUOTE_PCRS_LEN)
#define BACKEND_ASK_MIN		(8u + GUEST_NONCE_MIN)
#define BACKEND_ASK_MAX		(8u + GUEST_NONCE_MAX)
#define BACKEND_EVIDENCE_MIN	13u
#define BACKEND_EVIDENCE_MAX	(12u + GUEST_TEXT_MAX + GUEST_EVIDENCE_MAX)
#define BACKEND_FAILED_MIN	8u
#define BACKEND_FAILED_MAX	(BACKEND_FAILED_MIN + TEXT_MAX)
#define STORE_COMMIT_MIN	13u
#define STORE_COMMIT_MAX	(STORE_COMMIT_MIN + SEALED_STATE_MAX)
#define STORE_DONE_SIZE		12u
#define STORE_TAKE_SIZE		8u
#define STORE_TAKEN_MIN		16u
#define STORE_TAKEN_MAX		(STORE_TAKEN_MIN + SEALED_STATE_MAX)
#define KEY_GIVE_SIZE		89u
#define CERT_REQUEST_MIN	5u
#define CERT_REQUEST_MAX	(CERT_REQUEST_MIN + PUBLIC_MAX)
#define CERT_ISSUED_MIN		9u
#define CERT_ISSUED_MAX		(CERT_ISSUED_MIN + CERT_MAX)

CHECKED int backend_start_encode(struct buf *b, const struct backend_start *m);
CHECKED int backend_start_decode(struct buf *b, struct backend_start *m);
CHECKED int backend_provisioned_encode(struct buf *b, const struct backend_provisioned *m);
CHECKED int backend_provisioned_decode(struct buf *b, struct backend_provisioned *m);
CHECKED int backend_failed_encode(struct buf *b, const struct backend_failed *m);
CHECKED int backend_failed_decode(struct buf *b, struct backend_failed *m);
/* code: negative. */
CHECKED int backend_refused_encode(struct buf *b, int32_t code);
CHECKED int backend_refused_decode(struct buf *b, int32_t *code);
/* code: 0 or negative. */
CHECKED int backend_attached_encode(struct buf *b, int32_t code);
CHECKED int backend_attached_decode(struct buf *b, int32_t *code);
CHECKED int backend_quote_encode(struct buf *b, const uint8_t qualifying[static DIGEST_LEN]);
CHECKED int backend_quote_decode(struct buf *b, uint8_t qualifying[static DIGEST_LEN]);
CHECKED int backend_quoted_encode(struct buf *b, const struct backend_quoted *m);
CHECKED int backend_quoted_decode(struct buf *b, struct backend_quoted *m);
CHECKED int backend_ask_encode(struct buf *b, const struct backend_ask *m);
CHECKED int backend_ask_decode(struct buf *b, struct backend_ask *m);
CHECKED int backend_evidence_encode(struct buf *b, const struct backend_evidence *m);
CHECKED int backend_evidence_decode(struct buf *b, struct backend_evidence *m);
CHECKED int store_commit_encode(struct buf *b, const struct store_commit *m);
CHECKED int store_commit_decode(struct buf *b, struct store_commit *m);
CHECKED int store_done_encode(struct buf *b, const struct store_done *m);
CHECKED int store_done_decode(struct buf *b, struct store_done *m);
CHECKED int store_take_encode(struct buf *b, const struct store_take *m);
CHECKED int store_take_decode(struct buf *b, struct store_take *m);
CHECKED int store_taken_encode(struct buf *b, const struct store_taken *m);
CHECKED int store_taken_decode(struct buf *b, struct store_taken *m);
CHECKED int key_give_encode(struct buf *b, const struct key_give *m);
CHECKED int key_give_decode(struct buf *b, struct key_give *m);
CHECKED int cert_request_encode(struct buf *b, const struct cert_request *m);
CHECKED int cert_request_decode(struct buf *b, struct cert_request *m);
CHECKED int cert_issued_encode(struct buf *b, const struct cert_issued *m);
CHECKED int cert_issued_decode(struct buf *b, struct cert_issued *m);

#endif
