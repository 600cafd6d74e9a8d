/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state store: what the manager keeps on disk. It holds sealed states, wrapped keys and
 * public things only. A second engine can stand beside SQLite behind this header.
 *
 * Every function that writes is one durable transaction: when it returns 0 the change is on
 * the disk, otherwise nothing of it is. Errors: ERR_FULL no room, ERR_READONLY, ERR_IO, ERR_BUSY
 * another manager has the store, ERR_VERSION a newer release made it, ERR_AUTH the file is
 * not a store or is damaged, ERR_NOTFOUND, ERR_EXISTS. store_why says more.
 */
#ifndef VTPM_MGR_STORE_H
#define VTPM_MGR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/limits.h"

#define STORE_SCHEMA	1
#define STORE_DAMAGED	"damaged-row-" /* begins the name of a row that has none to be used */
#define STORE_META_MAX	8192u /* bytes of one meta or group value */
#define STORE_EK_KINDS	2u    /* enum ek_kind */
#define SNAPSHOTS_REFUSE 0u   /* a saved state is taken back only if nothing has happened since */
#define SNAPSHOTS_ALLOW	 1u   /* an older one of the same vTPM, too */
#define STORE_TEXT_MAX	TEXT_MAX

struct store;

/* A row of data with its own storage; len 0: absent. */
struct store_blob {
	size_t len;
	uint8_t data[CERT_MAX];
};

struct store_vtpm {
	int64_t id;	       /* number of the row, the one thing in it that is never damaged; read only */
	uint8_t uuid[UUID_LEN];
	char name[NAME_MAX_LEN + 1];
	char group[NAME_MAX_LEN + 1];
	uint64_t epoch;	       /* owner epoch, starts at 1 */
	int64_t user;	       /* uid that may use the ring besides operators; -1: none */
	uint32_t state_max;    /* bytes of plaintext state */
	uint32_t commit_rate;  /* durable changes per second, 0: unlimited */
	uint8_t locality_max;
	uint8_t snapshots;     /* SNAPSHOTS_REFUSE or SNAPSHOTS_ALLOW */
	uint64_t rollbacks;    /* how often an older state was taken back */
	int64_t created;       /* seconds since 1970 */
	/* Of one that was set up through a stand-in for swtpm (fronts.c); otherwise both are absent. */
	bool has_machine, has_token;
	uint8_t machine[UUID_LEN];  /* uuid of the virtual machine, as it was claimed */
	uint8_t token[DIGEST_LEN];  /* SHA-256 of the token that it is handed out for */
	uint8_t wrapped[WRAPPED_KEY_LEN];
	size_t wrapped_len;    /* what the row holds: anything but WRAPPED_KEY_LEN is damage, for the caller to find */
	char quarantine[STORE_TEXT_MAX + 1]; /* why; empty: it is not */
	bool damaged; /* read only: a column could not be believed, quarantine names it. What replaces it may be what was there before: use nothing of it */
	struct store_blob ek_public[STORE_EK_KINDS]; /* TPM2B_PUBLIC */
	struct store_blob cert[STORE_EK_KINDS];	     /* DER */
	uint64_t version;      /* of the state; read only, 0 if the state's row is missing */
	bool orphaned;	       /* read only: a newer one was set up for the same machine */
	uint32_t sealed_len;   /* of the state; read only */
};

/* One durable change of one vTPM, part of a batch. */
struct store_change {
	uint8_t uuid[UUID_LEN];
	uint64_t version; /* must be the stored one + 1 */
	const uint8_t *sealed;
	size_t sealed_len;
	bool rollback; /* it is an older state taken back: count it */
	int result; /* out: 0; ERR_WRONG_STATE (version), ERR_NOTFOUND or ERR_AUTH (damaged) for this one alone; or that of the transaction */
};

/*
 * Opens dir/vtpm.db (WAL, synchronous=FULL, locking_mode=EXCLUSIVE), mode 0600. create: makes it,
 * ERR_EXISTS if there is one; otherwise ERR_NOTFOUND if there is none. On error why[TEXT_MAX + 1] says what to do.
 */
CHECKED int store_open(struct store **out, const char *dir, bool create, char why[static TEXT_MAX + 1]);
/* Checkpoints the WAL and closes. NULL is fine. */
void store_close(struct store *s);
/* The last error in the engine's words. */
const char *store_why(const struct store *s);

/*
 * Every column of every row is untrusted. A vTPM's row with a column of the wrong type or out of its bounds is
 * handed over with that field neutral (0, empty), quarantine naming the column, and, where the name cannot be
 * used, the name "damaged-row-N"; the file is not touched. ERR_AUTH: the row cannot be read at all, or an index
 * led to a row of another name or uuid.
 */

/* Named single values. *len is the room and then the length; ERR_RANGE if it does not fit. */
CHECKED int store_meta_get(struct store *s, const char *key, void *p, size_t *len);
CHECKED int store_meta_put(struct store *s, const char *key, const void *p, size_t len);

/* Groups: name and an encoded struct sealed_root. put: ERR_EXISTS if there is one. */
CHECKED int store_group_get(struct store *s, const char *name, void *p, size_t *len);
CHECKED int store_group_put(struct store *s, const char *name, const void *p, size_t len);
CHECKED int store_group_each(struct store *s, int (*row)(void *arg, const char *name), void *arg);

/* Also "damaged-row-N". */
CHECKED int store_vtpm_by_name(struct store *s, const char *name, struct store_vtpm *v);
CHECKED int store_vtpm_by_uuid(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *v);
/* All rows ordered by name; a non-zero return of row ends it and is returned. */
CHECKED int store_vtpm_each(struct store *s, int (*row)(void *arg, const struct store_vtpm *v), void *arg);
/* Inserts a vTPM with its first state. ERR_EXISTS: its name or uuid is taken; ERR_NOTFOUND: no such group. */
CHECKED int store_vtpm_insert(struct store *s, const struct store_vtpm *v, uint64_t version, const uint8_t *sealed,
			      size_t sealed_len);
/* Sets (why) or clears ("") the quarantine mark. */
CHECKED int store_vtpm_quarantine(struct store *s, const uint8_t uuid[static UUID_LEN], const char *why);
/* Changes the policy of a row, and with it the wrapped key, which is bound to it. ERR_NOTFOUND: its wrapped key is not v's any more. */
CHECKED int store_vtpm_configure(struct store *s, const struct store_vtpm *v, uint8_t snapshots,
				 const uint8_t wrapped[static WRAPPED_KEY_LEN]);
/* Removes the vTPM, its key and its state; with secure_delete the wrapped key is overwritten: that is the crypto-erase. */
CHECKED int store_vtpm_delete(struct store *s, int64_t id);

/* The sealed state. *len is the room and then the length; a row that is longer than the room is ERR_RANGE. */
CHECKED int store_state_get(struct store *s, const uint8_t uuid[static UUID_LEN], uint64_t *version, void *p, size_t *len);
/* All changes in one transaction; each change's own result is set; the return value is that of the transaction. */
CHECKED int store_commit(struct store *s, struct store_change *changes, size_t n);

#endif
