/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Roots that outlive their chip (docs/recovery.md):
 *
 *	escrow_keep.c	what the offline keys hold of each root is made by the keeper and kept in the store
 *	reseal.c	online rotation: another root for a group, under which its vTPMs' keys are wrapped anew, in one commit
 *	renew.c		and then another key for each of these vTPMs
 *	reroot.c	a store whose chip is another one, or whose PCRs are others for good, with the answer of an offline key
 *	share_methods.c	groups that need a second share
 *	recovery_methods.c  the methods about these; describe_recovery.c: what is said of them
 *
 * The values of the table meta: "escrow:GROUP" and "escrow-owner" (escrow_set.h);
 * "share:GROUP" (proto/share.h); "former", the keys of journal rows and anchors before a rotation, until the row that ends it is anchored; "former-cas", the certificates
 * of CA keys that went with their chips, each var DER; "moved", u64 seconds since 1970, when the store was last put on another chip.
 */
#ifndef VTPM_MGR_REROOT_H
#define VTPM_MGR_REROOT_H

#include "vtpm-mgr/escrow_set.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/share.h"

/* ---- escrow_keep.c ---- */

void escrow_meta_key(uint8_t what, const char *group, char key[static NAME_MAX_LEN + 16]);
/* Reads and decodes one; mem: ESCROW_SET_MAX bytes. ERR_NOTFOUND: nothing is kept; ERR_AUTH: it is damaged. */
CHECKED int escrow_load(struct mgr *m, uint8_t what, const char *group, uint8_t *mem, struct escrow_set *set);

/* Has the keeper seal a root (or the owner's auth) to each of its recovery keys; done is called once. len 0: it has none. */
typedef void escrow_done(void *arg, int code, const char *text, const uint8_t *set, size_t len);
void escrow_make(struct mgr *m, uint8_t what, const char *group, const uint8_t *root, size_t root_len, escrow_done *done, void *arg);
/* Asks the keeper which recovery keys it has; m->keeper.recovery is that. done: as for keeper_ask. */
void escrow_ask_keys(struct mgr *m, keeper_done *done, void *arg);

/* ---- reseal.c ---- */

/* Rotates the root of one group, or (group NULL) of all that are open. Ends the call. */
void reseal_start(struct mgr *m, const char *group, struct call *c);
/* The keeper, or the anchors, cannot be relied on: a successor that is not stored is forgotten. */
void reseal_interrupt(struct mgr *m);
/* The manager ends. */
void reseal_close(struct mgr *m);
/* A group's keys are being wrapped anew: no other key is made under its root meanwhile. */
bool reseal_holds(const struct mgr *m);
/* A new keeper has opened group "default": it is told of the root before, if the rotation's row was not anchored in time. done is called once. */
void reseal_remind(struct mgr *m, keeper_done *done, void *arg);
/* The row that ended the last rotation is in the anchors. */
void reseal_settled(struct mgr *m);

/* ---- renew.c ---- */

/* Has its backend replaced by one that gives it another key, if it is due and that can be now. */
void renew_try(struct vtpm *v);
void renew_all(struct mgr *m);
/* Before a rotation: whether no backend has a key that no row has; those that do are replaced. Asked until it is so. */
bool renew_still(struct mgr *m);
/* KEY_HAND: whose key it is; and of one that is due, what the other one is to be bound to. Then its answer; false: nonsense. */
CHECKED int renew_bind(struct vtpm *v, struct keeper_key_hand *hand);
CHECKED bool renew_take(struct vtpm *v, const struct keeper_reply *r);
#define RENEWED_TEXT "the key of the TPM that it waits for was replaced; start it once more"
/* Whether the row has another key than was given to the backend, of a change that the one before it had sent. Once nothing is on its way. */
bool renew_overtook(const struct vtpm *v);
/* Its backend has ended: if that was in order, before it could be killed for the next key, it is as if nobody had tried. */
void renew_missed(struct vtpm *v, uint32_t status);
/* v->change, sealed under its other key, is durable. */
void renew_committed(struct vtpm *v);
/* How many vTPMs are due. */
int renew_due(struct mgr *m);
/* Answers the call of a rotation that began when m->renewed was before, when no vTPM that runs is on its way to another key. */
CHECKED int renew_wait(struct mgr *m, struct call *c, json_t *names, uint64_t before);
/* After each round of events. */
void renew_look(struct mgr *m);
void renew_close(struct mgr *m);

/* provision.c: whether any vTPM is being made; those that wait until the rotation is over are not. */
bool provision_in_hand(const struct mgr *m);
/* It is: those that waited go on. */
void provision_go_on(struct mgr *m);

/* ---- reroot.c ---- */

/* What came with the answer of an offline key. */
struct reroot_answer {
	struct escrow_tag tag;
	uint8_t envelope[ENVELOPE_MAX];
	size_t len;
};
struct reroot_order {
	struct reroot_answer *answers; /* owned */
	size_t n;
	uint32_t mask, flags; /* of the seal: 0 for the default set */
	bool accept_rollback;
};
/* A root that is back. */
struct regained {
	char group[NAME_MAX_LEN + 1];
	struct store_leaf leaf;
	struct sealed_root sealed; /* views into root */
	uint8_t root[SEALED_ROOT_MAX];
	size_t len;
	uint8_t was[DIGEST_LEN]; /* hash of the row that says which root it is: to be vouched for */
};

struct reroot {
	struct mgr *m;
	struct call *c;
	struct reroot_order order;
	bool moved; /* the TPM is another one, or cleared */
	size_t i;   /* the answer in hand */
	struct regained *back;
	size_t nback;
	size_t stored; /* same TPM: seals that are committed */
	uint8_t name[TPM_NAME_MAX], ek[TPM_NAME_MAX], ca[CA_KEY_MAX], record[ANCHOR_RECORD_SIZE], owner[ESCROW_SET_MAX], former_cas[STORE_META_MAX];
	size_t name_len, ek_len, ca_len, owner_len, former_cas_len;
	struct anchor_record old;
	struct journal_row row;
	struct store_row stored_row;
	uint8_t wear[WEAR_SIZE], when[8];
};

/* Takes the order over. Ends the call. */
void reroot_start(struct mgr *m, struct reroot_order *order, struct call *c);
#define REROOT_MOVED_TEXT                                                                                                                      \
	"this TPM is another one than the store was made with, or was cleared: nothing proves that the store is the "                          \
	"newest one, with all failed authorisations in it; say --i-accept-rollback if you know that it is"
/* Where recreate_recover.c is when it has a store: the TPM is adopted, and one root is back, that of "default". */
struct reroot_first {
	uint8_t name[TPM_NAME_MAX], ek[TPM_NAME_MAX];
	size_t name_len, ek_len;
	uint8_t root[SEALED_ROOT_MAX]; /* struct sealed_root */
	size_t len;
};
/* Goes on from there to a store that was moved. Takes the order over; ends the call, and the manager. */
void reroot_go_on(struct mgr *m, struct reroot_order *order, struct call *c, const struct reroot_first *first);
void reroot_order_free(struct reroot_order *order);
/* NULL: there is none. */
const struct reroot_answer *reroot_answer_for(const struct reroot_order *order, const char *group);
/* Between its two files. */
void reroot_end(struct reroot *r, int code, const char *text);
/* Whether the leaves are those of the rows that were believed. ERR_AUTH: not. */
CHECKED int reroot_vouched(const struct reroot *r);
/* The manager's picture of what the keeper has open. */
void reroot_mark_open(struct reroot *r);
/* The roots are back, in a TPM that was adopted. Model: provision. */
void reroot_move(struct reroot *r);

/* ---- share_methods.c ---- */

void share_meta_key(const char *group, char key[static NAME_MAX_LEN + 16]);
/* The record of a group's second share, for another root. */
CHECKED int share_renew(struct mgr *m, const char *group, const uint8_t root_id[static ROOT_ID_LEN], uint8_t out[static SHARE_RECORD_SIZE]);
/* What a call that makes a shared group has with it. */
struct share_param {
	bool given;
	struct share_record record; /* but for the root id */
	uint8_t envelope[ENVELOPE_MAX];
	size_t len;
};
/* share_kind, share_salt and share_envelope; absent: not given. Otherwise the call has been answered. */
CHECKED int share_params(struct call *c, json_t *params, struct share_param *out);
void method_share_begin(void *arg, struct call *c, json_t *params);
void method_group_unlock(void *arg, struct call *c, json_t *params);

/* ---- recovery_methods.c, describe_recovery.c ---- */

void method_recovery_init(void *arg, struct call *c, json_t *params);
void method_recovery_show(void *arg, struct call *c, json_t *params);
void method_recovery_challenge(void *arg, struct call *c, json_t *params);
void method_recovery_restore(void *arg, struct call *c, json_t *params);
void method_reseal(void *arg, struct call *c, json_t *params);
json_t *describe_recovery(struct mgr *m);
/* One for each envelope, appended to list; and those that the store has. */
void describe_escrow(json_t *list, uint8_t what, const char *group, const struct escrow_set *set);
json_t *describe_escrows(struct mgr *m);
json_t *describe_offline_keys(const struct recovery_keys *keys);
void describe_recovery_warnings(struct mgr *m, json_t *warnings);

#endif
