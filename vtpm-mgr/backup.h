/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backups of the store, and what comes back of them (docs/backup.md):
 *
 *	backup_file.c	  the header of a file
 *	backup.c	  a copy of the store becomes a sealed file, piece by piece
 *	backup_aside.c	  the same into a file of ours: what a restore is about to replace
 *	restore.c	  a file, piece by piece, becomes a store in memory again
 *	restore_choose.c  which vTPMs of it are to come back, and whether they may
 *	restore_apply.c  keys under a new epoch, then all of them in one commit
 *	recreate.c	  vtpm-mgr --init --from: a new store of a whole file; recreate_recover.c: on another TPM, with an offline key
 *	transfer.c	  the methods of the control interface; one copy on its way at a time
 */
#ifndef VTPM_MGR_BACKUP_H
#define VTPM_MGR_BACKUP_H

#include "vtpm-mgr/backup_file.h"
#include "vtpm-mgr/mgr.h"

#define BACKUP_TIME_MAX 32u
/* Seconds since 1970, RFC 3339. */
void backup_time(int64_t seconds, char out[static BACKUP_TIME_MAX]);

/* ---- backup.c ---- */

struct backup;
typedef void backup_done(void *arg, int code, const char *text);
/* p, n: the next bytes of the file; n is 0 at its end, or with a code. */
typedef void backup_piece(void *arg, int code, const char *text, const uint8_t *p, size_t n);

/*
 * Takes a copy of the store: of all, or (only not NULL) of these vTPMs alone. done is called once, later or at once; *out is valid in any
 * case until backup_free, also within done. ERR_NOMEM: neither.
 */
CHECKED int backup_begin(struct mgr *m, const uint8_t (*only)[UUID_LEN], size_t n, backup_done *done, void *arg,
			 struct backup **out);
/* The next piece; after done, and one at a time. */
#define BACKUP_PIECE_PARTS 8u /* that the keeper is asked for at once */
#define BACKUP_PIECE_MAX   (BACKUP_PIECE_PARTS * (BACKUP_PART + BACKUP_TAG))
void backup_next(struct backup *b, backup_piece *piece, void *arg);
/* Of the file; known after done. */
uint64_t backup_file_size(const struct backup *b);
int64_t backup_created(const struct backup *b);
/* The offline keys that open it. */
const struct recovery_keys *backup_keys(const struct backup *b);
/* Nobody is called back after this. NULL is fine. */
void backup_free(struct backup *b);

/* ---- backup_aside.c ---- */

/* Writes these vTPMs, as they are, to a file of its own in the state directory; path is where, within done. */
typedef void aside_done(void *arg, int code, const char *text, const char *path);
void backup_aside(struct mgr *m, const uint8_t (*only)[UUID_LEN], size_t n, aside_done *done, void *arg);

/* ---- restore.c ---- */

struct restore;
struct restore *restore_new(struct mgr *m);
/* Takes the next bytes of the file, at most RESTORE_PIECE_MAX of them; one call at a time. An error is the end of it. */
#define RESTORE_PIECE_MAX (24u * 1024u)
void restore_write(struct restore *r, const uint8_t *p, size_t n, backup_done *done, void *arg);
/* The file is complete: its image as a store, borrowed. Otherwise why says what is missing. */
CHECKED int restore_store(struct restore *r, struct store **from, char why[static TEXT_MAX + 1]);
int64_t restore_created(const struct restore *r);
const struct recovery_keys *restore_keys(const struct restore *r);
void restore_free(struct restore *r);

/* ---- restore_choose.c ---- */

/* One vTPM of a backup. */
struct restore_item {
	uint8_t uuid[UUID_LEN];
	char name[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
	uint64_t version;
	struct store_leaf leaf; /* as the backup has it */
	bool known;	     /* the store has a vTPM of that uuid */
	bool same;	     /* with that very state */
	uint64_t now;	     /* its version */
	bool chosen;
	int code;	     /* why it cannot come back; 0: it can */
	char why[TEXT_MAX + 1];
};
struct restore_list {
	struct restore_item *v; /* in order of name */
	size_t n, cap, chosen;
};

/*
 * All that the backup has, and which of it is wanted: names, a JSON array of strings, or (NULL) all that the store has and that have changed. On failure why says
 * what must be done first; list is to be freed in any case.
 */
CHECKED int restore_choose(struct mgr *m, struct store *from, json_t *names, struct restore_list *list,
			   char why[static TEXT_MAX + 1]);
/* Whether what was chosen can come back, now; each that cannot says why. */
CHECKED int restore_check(struct mgr *m, struct store *from, struct restore_list *list, char why[static TEXT_MAX + 1]);
void restore_list_free(struct restore_list *list);

/* ---- restore_apply.c ---- */

/*
 * Puts what was chosen in the place of what there is. r, list and call stay the caller's and must stay until done, whose path
 * is where what was replaced is kept (empty: nothing was). Meanwhile restore_holds what was chosen.
 */
void restore_apply(struct mgr *m, struct restore *r, struct restore_list *list, struct call *call, aside_done *done, void *arg);

/* Whether a vTPM is about to be replaced by what a backup has of it: nothing else is done with it meanwhile. */
bool restore_holds(const struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* Whether one of those, but row itself, has one of row's EKs; as import_find_twin. */
CHECKED int restore_find_twin(const struct mgr *m, const struct store_vtpm *row, char name[static NAME_MAX_LEN + 1]);

/* ---- transfer.c ---- */

void transfer_close(struct mgr *m);
void method_backup(void *arg, struct call *c, json_t *params);
void method_backup_read(void *arg, struct call *c, json_t *params);
void method_restore(void *arg, struct call *c, json_t *params);
void method_restore_write(void *arg, struct call *c, json_t *params);
void method_restore_commit(void *arg, struct call *c, json_t *params);

#endif
