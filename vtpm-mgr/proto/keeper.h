/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Manager and keeper. Every request begins with u64 id and gets exactly one KEEPER_REPLY
 * {u64 id, i32 code, str text, var result}; the keeper answers in the order of asking. text is a
 * sentence for a person when code is not 0. A keeper that has lost the TPM answers
 * ERR_TPM_LOST and exits.
 *
 * Order: STATUS at any time; OPEN (an existing store) or ADOPT (a new one) before all others;
 * GROUP_OPEN or GROUP_NEW of a group before the KEY requests and CA requests that name it.
 *
 *	STATUS	     {}				-> struct keeper_status
 *	OPEN	     {srk name, ek name, flags}	-> {reset count}	 ERR_TPM_IDENTITY: no SRK, or not the pinned one; or another EK
 *	ADOPT	     {}				-> {srk name, ek name}	 makes the SRK at 0x81000001 if it is absent
 *	GROUP_NEW    {group, mask, flags}	-> struct sealed_root  a new random root; ERR_PCR: PCRs that bind nothing
 *	GROUP_OPEN   {group, sealed root, sets}	-> {}		 ERR_PCR: says which PCR differs
 *	POLICY_LOOK  {the same, version}	-> struct policy_look	what would unseal; version: as if that were the least
 *	POLICY_SEAL  {the same, policy, sets}	-> struct sealed_root	the root sealed anew; these sets must unseal it now
 *	POLICY_RAISE {the same, version}	-> {minimum}	 ERR_PCR: nothing would unseal on this boot after that
 *	RECOVER_BEGIN {the same}		-> {nonce}	 what a recovery key is to sign: policy_recovery_hash
 *	RECOVER	     {the same, seconds, scheme, signature} -> struct sealed_root; of a signed policy nothing
 *	CA_NEW	     {}				-> struct ca_key  in the TPM under the SRK; needs group "default"
 *	CA_OPEN	     {struct ca_key}		-> {}
 *	KEY_NEW	     {struct key_binding}		-> {wrapped key}
 *	KEY_REBIND   {old binding, wrapped, new binding} -> {wrapped key}	both in the same group
 *	KEY_HAND     {binding, wrapped, token, certify, renew, config} -> {serial} or {wrapped key}	unwraps; the key goes to the
 *							backend of that token as soon as the spawner has linked it. ERR_AUTH: quarantine it.
 *							serial: with certify, that of its certificates, but for the kind in the last byte.
 *							renew, never with certify: with it goes a new key, wrapped for the binding with that config
 *	KEY_DROP     {token}			-> {}	that backend is not to come after all
 *	and those of anchor.h and backup.h
 *
 * Asked again for a group or CA that is open, GROUP_OPEN and CA_OPEN succeed; ERR_EXISTS: another is open
 * under that name. A group that is open is unsealed once more for that: if it cannot be, its keys serve what runs, and no KEY
 * request is answered until it can (ERR_PCR). A root of GROUP_NEW takes the place of one there was: the manager asks for it only
 * where it has none, so that one was never stored and nothing is under it.
 *
 * A wrapped key is AES-256-GCM under the wrapping key that HKDF derives from the group's root; its
 * associated data is the whole binding.
 */
#ifndef VTPM_PROTO_KEEPER_H
#define VTPM_PROTO_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipc.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/anchor.h"
#include "vtpm-mgr/proto/backup.h"
#include "vtpm-mgr/proto/limits.h"
#include "vtpm-mgr/proto/policy.h"

enum {
	KEEPER_STATUS = 0x4b450001,
	KEEPER_OPEN,
	KEEPER_ADOPT,
	KEEPER_GROUP_NEW,
	KEEPER_GROUP_OPEN,
	KEEPER_CA_NEW,
	KEEPER_CA_OPEN,
	KEEPER_KEY_NEW,
	KEEPER_KEY_REBIND,
	KEEPER_KEY_HAND,
	KEEPER_KEY_DROP,
	KEEPER_POLICY_LOOK,
	KEEPER_POLICY_SEAL,
	KEEPER_POLICY_RAISE,
	KEEPER_RECOVER_BEGIN,
	KEEPER_RECOVER,
	KEEPER_REPLY = 0x4b4500ff,
};

#define KEEPER_GROUPS_MAX 64u
#define ROOT_ID_LEN	  16u

enum tpm_kind { TPM_HARDWARE = 0, TPM_SOFTWARE = 1, TPM_VIRTUAL = 2 };

struct keeper_status {
	uint8_t kind;		  /* enum tpm_kind, by manufacturer, vendor string and TCTI */
	char manufacturer[5];	  /* TPM_PT_MANUFACTURER */
	char vendor[17];	  /* TPM_PT_VENDOR_STRING_1…4 */
	uint64_t firmware;	  /* TPM_PT_FIRMWARE_VERSION_1, _2 */
	char tcti[256];		  /* as given */
};

/* A root key sealed in the TPM, with what its policy was made of: public, and only believed if the authPolicy is that of it. */
struct sealed_root {
	struct policy policy;
	uint8_t root_id[ROOT_ID_LEN]; /* of what is sealed: HKDF of it, which tells roots apart and says nothing of them */
	const uint8_t *pub, *priv; /* views: marshalled TPM2B_PUBLIC, TPM2B_PRIVATE */
	size_t pub_len, priv_len;
};

/* What one set of a list would do. */
enum set_verdict {
	SET_OPENS,	/* it unseals the root now */
	SET_OTHER_BOOT, /* it would, on the boot that it is for: the text names a PCR that differs */
	SET_REVOKED,	/* its version is below the minimum */
	SET_UNSIGNED,	/* its signature is not that of the policy key: damaged, another key's, or for another group or counter */
	SET_EMPTY,	/* it has a PCR that nothing was measured into */
	SET_NARROW,	/* it lacks a PCR that the policy wants in every set */
	SET_VERDICTS
};
struct policy_look {
	uint32_t minimum; /* version in the counter; 0: there is none, or it was never written */
	bool opens;	  /* the present boot unseals it */
	char reason[TEXT_MAX + 1]; /* why not */
	uint8_t pcr[PCR_COUNT][DIGEST_LEN]; /* as they are now */
	unsigned n;
	struct {
		uint8_t verdict; /* enum set_verdict */
		char text[TEXT_MAX + 1];
	} sets[2u * PCR_SETS_MAX];
};

struct ca_key {
	const uint8_t *pub, *priv; /* views: marshalled TPM2B_PUBLIC, TPM2B_PRIVATE under the SRK */
	const uint8_t *auth;	   /* the key's auth value, wrapped under the root of "default" */
	const uint8_t *cert;	   /* self-signed X.509, DER */
	const uint8_t *creation;   /* TPM2B_CREATION_DATA, TPMT_TK_CREATION */
	size_t pub_len, priv_len, auth_len, cert_len, creation_len;
};

/* What a wrapped key is bound to. */
struct key_binding {
	char group[NAME_MAX_LEN + 1];
	uint8_t uuid[UUID_LEN];
	uint64_t epoch;		    /* owner epoch */
	uint8_t config[DIGEST_LEN]; /* SHA-256 of the row's other fields: name, permitted user, quotas */
};

#define OPEN_ACCEPT_RESETS (1u << 0) /* a TPM that is reset under the keeper goes on being used */
#define OPEN_RESET_KNOWN   (1u << 1) /* it must have been reset so often, and no oftener */

/*
 * The requests' bodies after the id, which the caller puts and gets itself. KEY_NEW is a
 * key_binding, CA_OPEN a ca_key, STATUS, ADOPT and CA_NEW are empty.
 */
struct keeper_open {
	const uint8_t *name; /* view: the SRK's Name (TPM 2.0 Part 1, 16), algorithm and digest */
	size_t name_len;
	const uint8_t *ek; /* view: the Name of the endorsement key that was enrolled; none: nobody has looked */
	size_t ek_len;
	uint32_t flags; /* OPEN_… */
	uint32_t reset_count; /* with OPEN_RESET_KNOWN */
};
struct keeper_adopted { /* the reply to ADOPT */
	const uint8_t *name, *ek; /* views, as above */
	size_t name_len, ek_len;
};
struct keeper_group_new {
	char group[NAME_MAX_LEN + 1];
	uint32_t mask;	/* 0: the default set */
	uint32_t flags; /* SEAL_… */
};
struct keeper_group_open { /* also the beginning of the POLICY requests and RECOVER */
	char group[NAME_MAX_LEN + 1];
	struct sealed_root root;
	const uint8_t *sets; /* view: encoded struct pcr_sets, one after the other, as they lie on the disk */
	size_t sets_len;
};
struct keeper_policy_seal { /* what follows it in POLICY_SEAL */
	struct policy policy; /* of a fixed one mask (0: the default set) and flags count, the values are those that are */
	const uint8_t *sets;
	size_t sets_len;
};
struct keeper_recover { /* what follows it in RECOVER */
	uint32_t seconds; /* since RECOVER_BEGIN, after which the signature is worth nothing */
	uint8_t scheme;	  /* enum policy_scheme */
	const uint8_t *signature; /* view */
	size_t signature_len;
};
struct keeper_key_rebind {
	struct key_binding from;
	const uint8_t *wrapped; /* view */
	size_t wrapped_len;
	struct key_binding to;
};
struct keeper_key_hand {
	struct key_binding binding;
	const uint8_t *wrapped; /* view */
	size_t wrapped_len;
	uint64_t token;
	uint8_t certify; /* answer its CERT_REQUESTs of these kinds (enum ek_kind), a bit each, too */
	bool renew;   /* a new key goes with it, to take its place */
	uint8_t config[DIGEST_LEN]; /* of the row that has the new one; without renew zeros */
};

struct keeper_reply {
	uint64_t id;
	int32_t code;
	char text[TEXT_MAX + 1];
	const uint8_t *result; /* view */
	size_t result_len;
};

#define KEY_BINDING_MIN (4u + 1u + UUID_LEN + 8u + DIGEST_LEN)
#define KEY_BINDING_MAX (KEY_BINDING_MIN - 1u + NAME_MAX_LEN)
#define SEALED_ROOT_MIN (8u + POLICY_ENCODED_MIN + ROOT_ID_LEN)
#define SEALED_ROOT_MAX (8u + POLICY_ENCODED_MAX + ROOT_ID_LEN + 2u * SEALED_BLOB_MAX)
#define CA_KEY_MIN	20u
#define CA_KEY_MAX	(CA_KEY_MIN + 2u * SEALED_BLOB_MAX + WRAPPED_KEY_LEN + CERT_MAX + CREATION_MAX)
#define KEEPER_ID_SIZE	8u
/* Whole bodies, id included. */
#define KEEPER_OPEN_MIN	      (KEEPER_ID_SIZE + 16u)
#define KEEPER_OPEN_MAX	      (KEEPER_OPEN_MIN + 2u * TPM_NAME_MAX)
#define KEEPER_GROUP_NEW_MIN  (KEEPER_ID_SIZE + 13u)
#define KEEPER_GROUP_NEW_MAX  (KEEPER_GROUP_NEW_MIN - 1u + NAME_MAX_LEN)
#define KEEPER_GROUP_OPEN_MIN (KEEPER_ID_SIZE + 5u + SEALED_ROOT_MIN + 4u)
#define KEEPER_GROUP_OPEN_MAX (KEEPER_ID_SIZE + 4u + NAME_MAX_LEN + SEALED_ROOT_MAX + 4u + PCR_SETS_ENCODED_MAX)
#define KEEPER_LOOK_MIN	      (KEEPER_GROUP_OPEN_MIN + 4u)
#define KEEPER_LOOK_MAX	      (KEEPER_GROUP_OPEN_MAX + PCR_SET_ENCODED_MAX + 4u) /* one more set than are installed */
#define KEEPER_RAISE_MAX      (KEEPER_GROUP_OPEN_MAX + 4u)
#define KEEPER_SEAL_MIN	      (KEEPER_GROUP_OPEN_MIN + POLICY_ENCODED_MIN + 4u)
#define KEEPER_SEAL_MAX	      (KEEPER_GROUP_OPEN_MAX + POLICY_ENCODED_MAX + 4u + PCR_SETS_ENCODED_MAX)
#define KEEPER_RECOVER_MIN    (KEEPER_GROUP_OPEN_MIN + 9u)
#define KEEPER_RECOVER_MAX    (KEEPER_GROUP_OPEN_MAX + 9u + SIGNATURE_MAX)
#define KEEPER_CA_OPEN_MIN    (KEEPER_ID_SIZE + CA_KEY_MIN)
#define KEEPER_CA_OPEN_MAX    (KEEPER_ID_SIZE + CA_KEY_MAX)
#define KEEPER_KEY_NEW_MIN    (KEEPER_ID_SIZE + KEY_BINDING_MIN)
#define KEEPER_KEY_NEW_MAX    (KEEPER_ID_SIZE + KEY_BINDING_MAX)
#define KEEPER_KEY_REBIND_MIN (KEEPER_ID_SIZE + 2u * KEY_BINDING_MIN + 4u)
#define KEEPER_KEY_REBIND_MAX (KEEPER_ID_SIZE + 2u * KEY_BINDING_MAX + 4u + WRAPPED_KEY_LEN)
#define KEEPER_KEY_HAND_MIN   (KEEPER_ID_SIZE + KEY_BINDING_MIN + 14u + DIGEST_LEN)
#define KEEPER_KEY_HAND_MAX   (KEEPER_ID_SIZE + KEY_BINDING_MAX + 14u + DIGEST_LEN + WRAPPED_KEY_LEN)
#define KEEPER_KEY_DROP_SIZE  (KEEPER_ID_SIZE + 8u)
#define KEEPER_ANCHOR_NEW_SIZE (KEEPER_ID_SIZE + ANCHOR_NEW_SIZE)
#define KEEPER_RECORD_SIZE    (KEEPER_ID_SIZE + ANCHOR_RECORD_SIZE)
#define KEEPER_ROW_SIZE	      (KEEPER_ID_SIZE + JOURNAL_ROW_SIZE)
#define KEEPER_ROWS_MIN	      (KEEPER_ID_SIZE + ROW_SEALED_SIZE)
#define KEEPER_ROWS_MAX	      (KEEPER_ID_SIZE + ROWS_VERIFY_MAX * ROW_SEALED_SIZE)
#define KEEPER_REQUEST_MAX KEEPER_SEAL_MAX
#define POLICY_LOOK_MAX	   (5u + 4u + TEXT_MAX + PCR_COUNT * DIGEST_LEN + 4u + 2u * PCR_SETS_MAX * (5u + TEXT_MAX))
#define KEEPER_RESULT_MAX  5632u /* a challenge, for eight recovery keys */
#define KEEPER_BACKUP_MIN     (KEEPER_ID_SIZE + BACKUP_PART_MIN)
#define KEEPER_BACKUP_MAX     (KEEPER_ID_SIZE + BACKUP_PART_MAX)
_Static_assert(KEEPER_BACKUP_MAX <= KEEPER_REQUEST_MAX && BACKUP_PART + BACKUP_TAG <= KEEPER_RESULT_MAX, "a part fits");
_Static_assert(POLICY_LOOK_MAX <= KEEPER_RESULT_MAX, "a look fits");
_Static_assert(CA_KEY_MAX <= KEEPER_RESULT_MAX && KEEPER_CA_OPEN_MAX <= KEEPER_REQUEST_MAX, "a CA fits");
#define KEEPER_REPLY_MIN   20u
#define KEEPER_REPLY_MAX   (KEEPER_REPLY_MIN + TEXT_MAX + KEEPER_RESULT_MAX)

CHECKED int keeper_status_encode(struct buf *b, const struct keeper_status *s);
CHECKED int keeper_status_decode(struct buf *b, struct keeper_status *s);
CHECKED int sealed_root_encode(struct buf *b, const struct sealed_root *s);
CHECKED int sealed_root_decode(struct buf *b, struct sealed_root *s);
CHECKED int ca_key_encode(struct buf *b, const struct ca_key *k);
CHECKED int ca_key_decode(struct buf *b, struct ca_key *k);
CHECKED int key_binding_encode(struct buf *b, const struct key_binding *k);
CHECKED int key_binding_decode(struct buf *b, struct key_binding *k);
CHECKED int keeper_open_encode(struct buf *b, const struct keeper_open *m);
CHECKED int keeper_open_decode(struct buf *b, struct keeper_open *m);
CHECKED int keeper_adopted_encode(struct buf *b, const struct keeper_adopted *m);
CHECKED int keeper_adopted_decode(struct buf *b, struct keeper_adopted *m);
CHECKED int keeper_policy_seal_encode(struct buf *b, const struct keeper_policy_seal *m);
CHECKED int keeper_policy_seal_decode(struct buf *b, struct keeper_policy_seal *m);
CHECKED int keeper_recover_encode(struct buf *b, const struct keeper_recover *m);
CHECKED int keeper_recover_decode(struct buf *b, struct keeper_recover *m);
CHECKED int policy_look_encode(struct buf *b, const struct policy_look *l);
CHECKED int policy_look_decode(struct buf *b, struct policy_look *l);
CHECKED int keeper_group_new_encode(struct buf *b, const struct keeper_group_new *m);
CHECKED int keeper_group_new_decode(struct buf *b, struct keeper_group_new *m);
CHECKED int keeper_group_open_encode(struct buf *b, const struct keeper_group_open *m);
CHECKED int keeper_group_open_decode(struct buf *b, struct keeper_group_open *m);
CHECKED int keeper_key_rebind_encode(struct buf *b, const struct keeper_key_rebind *m);
CHECKED int keeper_key_rebind_decode(struct buf *b, struct keeper_key_rebind *m);
CHECKED int keeper_key_hand_encode(struct buf *b, const struct keeper_key_hand *m);
CHECKED int keeper_key_hand_decode(struct buf *b, struct keeper_key_hand *m);
CHECKED int keeper_key_drop_encode(struct buf *b, uint64_t token);
CHECKED int keeper_key_drop_decode(struct buf *b, uint64_t *token);
CHECKED int keeper_reply_encode(struct buf *b, const struct keeper_reply *r);
CHECKED int keeper_reply_decode(struct buf *b, struct keeper_reply *r);

#endif
