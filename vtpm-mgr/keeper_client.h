/* SPDX-License-Identifier: BSD-2-Clause */
/* What the three files of the keeper's client share: keeper_client.c (asking), keeper_boot.c (the first requests), groups.c. */
#ifndef VTPM_MGR_KEEPER_CLIENT_H
#define VTPM_MGR_KEEPER_CLIENT_H

#include "vtpm-mgr/mgr.h"

/* Asks this keeper, starting or not, before all that waits; never repeated with another one. */
void keeper_ask_once(struct mgr *m, uint32_t type, const struct buf *body, keeper_done *done, void *arg);
/* The first requests to a new keeper, up to KEEPER_READY or KEEPER_FOREIGN. */
void keeper_boot(struct mgr *m);
/* The same from where the groups are opened on, for one that is ready: what was refused may be permitted now. */
void keeper_boot_again(struct mgr *m);
/* From recovery.c: it is known whether the store may be served. */
void keeper_boot_done(struct mgr *m);
/* It is not to be relied on any more: it ends, and another one begins. */
void keeper_end(struct mgr *m, const char *why);
/* Sends what waits, if the keeper is ready. */
void keeper_queue_send(struct mgr *m);
/* Ends what waits with a code and the reason that the keeper's state has. */
void keeper_queue_fail(struct mgr *m, int code);
/* Asks for a group's root to be unsealed; done NULL: as one of the first requests. */
void group_open(struct mgr *m, struct group *g, keeper_done *done, void *arg);
/* Begins a request about a group: its name, its sealed root, sets. ERR_AUTH: its row is damaged. */
CHECKED int group_request(struct mgr *m, const struct group *g, const uint8_t *sets, size_t sets_len, struct buf *b);
/* Its sealed root; views into mem. */
CHECKED int group_root(struct mgr *m, const struct group *g, uint8_t mem[static SEALED_ROOT_MAX], struct sealed_root *root);
/* Of its row as it is in the store: what its leaf has, if nobody has changed it. */
CHECKED int group_row_hash(struct mgr *m, const struct group *g, uint8_t hash[static DIGEST_LEN]);
void group_policy_set(struct group *g, const struct policy *p);
void group_recovered(struct mgr *m, struct group *g);
/* recheck.c: what an open group was found to be when it was unsealed once more. */
void recheck_failed(struct mgr *m, struct group *g, const char *why);
void recheck_passed(struct group *g);
void groups_free(struct mgr *m);

#endif
