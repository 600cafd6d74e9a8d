/* SPDX-License-Identifier: BSD-2-Clause */
/* The keeper's side of vtpm-mgr/proto/keeper.h: one table of requests, one reply to each, in order. */
#ifndef VTPM_KEEPER_SERVE_H
#define VTPM_KEEPER_SERVE_H

#include "lib/loop.h"
#include "vtpm-mgr/keeper/anchor.h"
#include "vtpm-mgr/keeper/ca.h"
#include "vtpm-mgr/keeper/crl.h"
#include "vtpm-mgr/keeper/escrow.h"
#include "vtpm-mgr/keeper/groups.h"
#include "vtpm-mgr/keeper/links.h"
#include "vtpm-mgr/keeper/offline.h"
#include "vtpm-mgr/keeper/share.h"
#include "vtpm-mgr/keeper/tpm.h"

struct keeper_recovery { /* a challenge to the recovery key */
	ESYS_TR session;
	uint64_t context; /* of struct tpm, in which the session is */
};

struct keeper {
	struct loop loop;
	struct tpm tpm;
	struct groups groups;
	struct ca ca;
	struct crl crl;
	struct links links;
	struct anchor anchor;
	struct offline offline;
	struct challenge challenge;
	struct share_exchange share;
	struct keeper_recovery recovery;
	int mgr_fd;
	struct loop_io mgr_io;
	uint32_t state; /* see serve.c */
	int exit_code;
	uint8_t *root;	       /* locked memory for the one root that is being worked on */
	struct key_give *give; /* locked memory for the one key that is being worked on */
	uint8_t in[KEEPER_REQUEST_MAX];
};

/* The sockets stay the caller's. k->tpm was set up by tpm_init. */
CHECKED int keeper_init(struct keeper *k, int mgr_fd, int spawn_fd);
/* Until the manager or the spawner has gone, or the TPM is lost; returns the exit code of the process. */
int keeper_run(struct keeper *k);
void keeper_free(struct keeper *k);

/* Answers a request: with result, or with k->tpm.text. Non-zero only if the manager is not there to be answered. */
CHECKED int serve_reply(struct keeper *k, uint64_t id, int code, const void *result, size_t len);
/* A vTPM's key into k->give, which is the caller's to wipe; also under the root before one that was rotated. */
CHECKED int serve_unwrap(struct keeper *k, const struct key_binding *b, const uint8_t *wrapped, size_t len);

/* policy_serve.c */
int serve_group_new(void *peer, struct ipc_msg *m);
int serve_group_open(void *peer, struct ipc_msg *m);
int serve_policy_look(void *peer, struct ipc_msg *m);
int serve_policy_seal(void *peer, struct ipc_msg *m);
int serve_policy_raise(void *peer, struct ipc_msg *m);
int serve_recover_begin(void *peer, struct ipc_msg *m);
int serve_recover(void *peer, struct ipc_msg *m);

/* anchor_serve.c */
int serve_anchor_new(void *peer, struct ipc_msg *m);
int serve_anchor_renew(void *peer, struct ipc_msg *m);
int serve_anchor_open(void *peer, struct ipc_msg *m);
int serve_anchor_own(void *peer, struct ipc_msg *m);
int serve_row_mac(void *peer, struct ipc_msg *m);
int serve_anchor_extend(void *peer, struct ipc_msg *m);
int serve_rows_verify(void *peer, struct ipc_msg *m);
int serve_tpm_shutdown(void *peer, struct ipc_msg *m);

/* share_serve.c */
int serve_share_begin(void *peer, struct ipc_msg *m);
int serve_group_new_shared(void *peer, struct ipc_msg *m);
int serve_group_unlock(void *peer, struct ipc_msg *m);

/* escrow_serve.c */
int serve_recovery_keys(void *peer, struct ipc_msg *m);
int serve_escrow_wrap(void *peer, struct ipc_msg *m);
int serve_challenge(void *peer, struct ipc_msg *m);
int serve_root_restore(void *peer, struct ipc_msg *m);
int serve_group_reseal(void *peer, struct ipc_msg *m);
int serve_key_reseal(void *peer, struct ipc_msg *m);
int serve_ca_reseal(void *peer, struct ipc_msg *m);
int serve_anchor_reseal(void *peer, struct ipc_msg *m);
int serve_group_switch(void *peer, struct ipc_msg *m);
int serve_group_switched(void *peer, struct ipc_msg *m);
int serve_group_former(void *peer, struct ipc_msg *m);
int serve_group_return(void *peer, struct ipc_msg *m);

/* enroll_serve.c */
int serve_enroll(void *peer, struct ipc_msg *m);
int serve_enroll_ek(void *peer, struct ipc_msg *m);
int serve_activate(void *peer, struct ipc_msg *m);
int serve_crl_begin(void *peer, struct ipc_msg *m);
int serve_crl_add(void *peer, struct ipc_msg *m);
int serve_crl_sign(void *peer, struct ipc_msg *m);
int serve_crl_read(void *peer, struct ipc_msg *m);

/* attest.c */
int serve_host_quote(void *peer, struct ipc_msg *m);

/* backup.c */
int serve_backup_key(void *peer, struct ipc_msg *m);
int serve_backup_seal(void *peer, struct ipc_msg *m);
int serve_backup_open(void *peer, struct ipc_msg *m);

#endif
