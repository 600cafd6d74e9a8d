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
#include "vtpm-mgr/proto/anchor.h"
#include "vtpm-mgr/proto/limits.h"

#define STORE_SCHEMA	1
#define STORE_DAMAGED	"damaged-row-" /* begins the name of a row that has none to be used */
#define DEFAULT_GROUP	"default" /* there always is one */
#define STORE_META_MAX	8192u /* bytes of one meta or group value */
#define STORE_EK_KINDS	2u    /* enum ek_kind */
#define SNAPSHOTS_REFUSE 0u   /* a saved state is taken back only if nothing has happened since */
#define SNAPSHOTS_ALLOW	 1u   /* an older one of the same vTPM, too */
/* Whether a guest must come by a measured launch (launch.h). */
#define LAUNCH_AUTO	0u /* as its group says; if that says the same, a domain of Xen must */
#define LAUNCH_REQUIRED 1u
#define LAUNCH_OFF	2u
#define STORE_RULES_MAX 4096u /* bytes of encoded rules of launches: launch_rules.h */
#define STORE_TEXT_MAX	TEXT_MAX
/*
 * The upper part of an epoch is 0, or random: the line that a vTPM began when an operator accepted an old state of it. The lower one counts changes
 * of settings. So no line is had twice, whatever became of the vTPM, the store and its journal in between.
 */
#define EPOCH_LINE_SHIFT 16u
#define EPOCH_LINE_BITS	 46u

struct store;

/* A row of data with its own storage; len 0: absent. */
struct store_blob {
	size_t len;
	uint8_t data[CERT_MAX];
};

/* Which launches are allowed, encoded; len 0: any. */
struct store_rules {
	size_t len;
	uint8_t data[STORE_RULES_MAX];
};

struct store_vtpm {
	int64_t id;	       /* number of the row, the one thing in it that is never damaged; read only */
	uint8_t uuid[UUID_LEN];
	char name[NAME_MAX_LEN + 1];
	char group[NAME_MAX_LEN + 1];
	uint64_t epoch;	       /* owner epoch, starts at 1; see EPOCH_LINE_SHIFT */
	int64_t user;	       /* uid that may use the ring besides operators; -1: none */
	uint32_t state_max;    /* bytes of plaintext state */
	uint32_t commit_rate;  /* durable changes per second, 0: unlimited */
	uint8_t locality_max;
	uint8_t snapshots;     /* SNAPSHOTS_REFUSE or SNAPSHOTS_ALLOW */
	uint8_t launch;	       /* LAUNCH_AUTO, LAUNCH_REQUIRED or LAUNCH_OFF */
	struct store_rules rules; /* of launches: read only what launch_rules.h has checked */
	uint64_t rollbacks;    /* how often an older state was taken back */
	int64_t created;       /* seconds since 1970 */
	/* Of one that was set up through a stand-in for swtpm (fronts.c); otherwise both are absent. */
	bool has_machine, has_token;
	uint8_t machine[UUID_LEN];  /* uuid of the virtual machine, as it was claimed */
	uint8_t token[DIGEST_LEN];  /* SHA-256 of the token that it is handed out for */
	bool key_due;	       /* the group's root was rotated since it was made: it is to be replaced by another */
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

/* What may be lost of a guest's changes: docs/continuity.md. */
enum store_mode { MODE_BOUNDED, MODE_STRICT, MODE_LAST = MODE_STRICT };

/* What a vTPM's keys are, and what is certified of them: see certs.h. */
struct store_certs {
	uint8_t kinds; /* of keys that we certify, a bit each */
	uint8_t serial[SERIAL_LEN]; /* of their certificates, but for the last byte, which is the kind; zeros: they were revoked */
	uint8_t hash[DIGEST_LEN];   /* of the keys and certificates themselves */
};

/* What the journal vouches for: see leaves.h. */
struct store_leaf {
	uint8_t uuid[UUID_LEN];
	uint64_t epoch;
	uint64_t version;
	uint8_t mode; /* enum store_mode */
	uint64_t discontinuities; /* how often a loss, or a rollback that an operator accepted, cannot be ruled out */
	uint8_t hash[DIGEST_LEN]; /* SHA-256 of what is sealed */
	struct store_certs certs; /* of a vTPM; of anything else zeros */
};

/* A row of the journal as it is stored: struct journal_row, encoded, and its MAC. */
struct store_row {
	uint64_t n;
	uint8_t row[JOURNAL_ROW_SIZE];
	uint8_t mac[DIGEST_LEN];
};

enum store_op {
	STORE_UPDATE, /* a state: uuid, version (the stored one + 1), sealed; row: and its EKs and certificates, NULL: not these */
	STORE_INSERT, /* a vTPM with its first state: row, version, sealed */
	STORE_DELETE, /* a vTPM, its key and its state: id. With secure_delete the key is overwritten: that is the crypto-erase */
	STORE_CONFIGURE, /* the policy of a row, its key, which is bound to it, and its epoch: row as it was read, to. ERR_NOTFOUND: its key is not row's any more */
	STORE_RELEASE, /* the same, and its quarantine is over */
	STORE_RESTORE, /* vTPMs of a backup, each in the place of what there is of its uuid: restore */
	STORE_GROUP,  /* a group: group, sealed (its encoded struct sealed_root) */
	STORE_GROUP_LAUNCH, /* what its vTPMs demand of launches: meta */
	STORE_GROUP_SEAL, /* its sealed root in the place of the one there was: the same, and what reseal says. ERR_NOTFOUND: there is no such group, or a
			   * key is not what it was any more */
};

/* A vTPM's key under another root, or another key, if the row still has the one of before; a row that has gone is no matter. */
struct store_rewrap {
	int64_t id;
	uint8_t old[WRAPPED_KEY_LEN], new[WRAPPED_KEY_LEN];
	bool due; /* it is to be replaced, as the row then says */
	uint64_t epoch; /* that it is bound to; 0: that of before */
};
struct store_meta {
	char key[NAME_MAX_LEN + 16];
	const void *value; /* NULL: it is removed */
	size_t len;
};
struct store_reseal {
	const struct store_rewrap *rewraps;
	size_t nrewraps;
	const struct store_meta *meta;
	size_t nmeta;
};

/* vTPMs as a backup has them, but for what is here. */
struct store_restored {
	uint8_t uuid[UUID_LEN];
	uint64_t epoch;
	uint8_t wrapped[WRAPPED_KEY_LEN]; /* under that epoch */
	struct store_leaf leaf;
};
struct store_restore {
	struct store *from; /* store_image_open */
	struct store_restored *v;
	size_t n;
};

/* One change, part of a batch. */
struct store_change {
	enum store_op op;
	uint8_t uuid[UUID_LEN];
	uint64_t version;
	const uint8_t *sealed;
	size_t sealed_len;
	const struct store_vtpm *row;
	int64_t id;
	const char *group;
	bool rollback; /* of STORE_UPDATE: it is an older state taken back: count it */
	const struct store_rewrap *rewrap; /* of STORE_UPDATE: the key that the state is under; NULL: that of before */
	const struct store_vtpm *to; /* of STORE_CONFIGURE and STORE_RELEASE: settings, key and epoch as they are to be */
	const struct store_reseal *reseal; /* of STORE_GROUP_SEAL; NULL: nothing; of STORE_GROUP its meta */
	const struct store_restore *restore;
	const struct store_meta *meta; /* of any */
	size_t nmeta;
	/* out: 0; for this one alone ERR_WRONG_STATE (version), ERR_NOTFOUND, ERR_EXISTS, ERR_AUTH (damaged), ERR_INVAL; or that of
	 * the transaction */
	int result;
};

/* What is written with a batch. */
struct store_tail {
	const struct store_leaf *const *leaves; /* set */
	size_t nleaves;
	const uint8_t (*gone)[UUID_LEN]; /* leaves that are removed */
	size_t ngone;
	const struct store_row *row;
	uint64_t prune; /* rows below are removed; 0: none */
	const struct store_meta *meta;
	size_t nmeta;
	const struct store_rewrap *rewraps;
	size_t nrewraps;
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
/* It need not be there. */
CHECKED int store_meta_remove(struct store *s, const char *key);

/* All whose keys begin with prefix, in order of their keys; a non-zero return of row ends it and is returned. ERR_AUTH: one
 * is damaged. row must not use the store. */
CHECKED int store_meta_each(struct store *s, const char *prefix, int (*row)(void *arg, const char *key, const uint8_t *p, size_t len),
			    void *arg);

/* Groups: name and an encoded struct sealed_root. */
CHECKED int store_group_get(struct store *s, const char *name, void *p, size_t *len);
CHECKED int store_group_each(struct store *s, int (*row)(void *arg, const char *name), void *arg);

/* Also "damaged-row-N". */
CHECKED int store_vtpm_by_name(struct store *s, const char *name, struct store_vtpm *v);
CHECKED int store_vtpm_by_uuid(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *v);
/* All rows ordered by name; a non-zero return of row ends it and is returned. */
CHECKED int store_vtpm_each(struct store *s, int (*row)(void *arg, const struct store_vtpm *v), void *arg);
/* Sets (why) or clears ("") the quarantine mark. */
CHECKED int store_vtpm_quarantine(struct store *s, const uint8_t uuid[static UUID_LEN], const char *why);
/* The sealed state. *len is the room and then the length; a row that is longer than the room is ERR_RANGE. */
CHECKED int store_state_get(struct store *s, const uint8_t uuid[static UUID_LEN], uint64_t *version, void *p, size_t *len);
/*
 * All changes and the tail in one transaction. ERR_AGAIN: nothing is stored, because changes that concern one vTPM each have
 * failed, as their results say; the row vouches for all of them, so it must be made anew without these.
 */
CHECKED int store_commit(struct store *s, struct store_change *changes, size_t n, const struct store_tail *tail);

/*
 * A copy of the whole store in memory, as of one commit: as of the last one before store_copy_step says 0. Between its steps the
 * store is used as ever. ERR_FULL: it is larger than STORE_COPY_MAX.
 */
#define STORE_COPY_MAX (1024u * 1024u * 1024u)
struct store_copy;
CHECKED int store_copy_begin(struct store *s, struct store_copy **out);
/* About a millisecond of it. ERR_AGAIN: there is more. */
CHECKED int store_copy_step(struct store_copy *c);
/* Of all vTPMs only these stay, in an image that is no larger than it must be. */
CHECKED int store_copy_keep(struct store_copy *c, const uint8_t (*uuids)[UUID_LEN], size_t n);
/* The image, as long as the copy is there. */
const uint8_t *store_copy_bytes(const struct store_copy *c, size_t *len);
void store_copy_free(struct store_copy *c);
/*
 * Such an image as a store that can only be read. image is store_image_alloc's, and the store's from here on, or freed.
 * Errors as of store_open.
 */
uint8_t *store_image_alloc(size_t len);
void store_image_free(uint8_t *image);
CHECKED int store_image_open(struct store **out, uint8_t *image, size_t len, char why[static TEXT_MAX + 1]);
/* Makes such a store dir/vtpm.db, whole and durable or not at all. ERR_EXISTS: there is one. */
CHECKED int store_image_write(const struct store *image, const char *dir);

/* Leaves in order of uuid. ERR_AUTH: one is damaged. row must not use the store. */
CHECKED int store_leaf_each(struct store *s, int (*row)(void *arg, const struct store_leaf *l), void *arg);
/* At most max rows whose numbers are from on, in order. ERR_AUTH: one is damaged. */
CHECKED int store_journal_read(struct store *s, uint64_t from, struct store_row *rows, size_t max, size_t *n);
/* The last of them. ERR_NOTFOUND: there is none; ERR_AUTH: it is damaged. */
CHECKED int store_last_row(struct store *s, struct store_row *row);

#endif
