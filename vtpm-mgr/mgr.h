/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manager: one process, one loop, and these parts. It is trusted for continuity and never
 * sees a plaintext state, a key or a guest's bytes.
 *
 *	host.c		the spawner process and what it reports
 *	keeper_client.c	requests to the keeper and its respawn; keeper_boot.c: the first ones; groups.c
 *	worker.c	one backend process: its two channels and its end
 *	power_on.c	power-on of a vTPM, and what its backend says
 *	vtpm.c		its end: power-off, reset and failure
 *	resume.c	one whose backend was killed goes on in another
 *	held.c		what outlives this manager in vtpm-hold
 *	takeover.c	which of two QEMUs has a vTPM, and which state it goes on from
 *	ring.c		NAME.ring: who may have a vTPM's ring
 *	qemu.c		NAME.swtpm: QEMUs that come
 *	fronts.c	swtpm.sock: stand-ins for swtpm, which set vTPMs up and bring QEMUs
 *	xen.c		guests of Xen that come and go; xen_scan.c, xen_device.c, xen_serve.c: how they are served
 *	commit.c	durable changes of vTPMs; continuity.h: how all changes become durable, and what is found at a start
 *	provision.c	new vTPMs, and the pool of manufactured ones; import.c: those that were swtpm's
 *	launch.h	measured launch
 *	reroot.h	offline keys, rotation of roots and keys, recovery on another chip
 *	policy.h, backup.h, attest.h	what groups are sealed to; backups of the store, and what comes back of them; evidence about vTPMs
 *	methods.c	the control interface's methods, create_methods.c those that make vTPMs, group_methods.c those about groups; configure.c: Set; describe.c: what they answer
 */
#ifndef VTPM_MGR_MGR_H
#define VTPM_MGR_MGR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/local/local.h"
#include "hv/xen/hypercall.h"
#include "lib/err.h"
#include "lib/ipc.h"
#include "lib/loop.h"
#include "lib/util.h"
#include "vtpm-mgr/audit.h"
#include "vtpm-mgr/bootlog.h"
#include "vtpm-mgr/continuity.h"
#include "vtpm-mgr/control.h"
#include "vtpm-mgr/held.h"
#include "vtpm-mgr/proto/backend.h"
#include "vtpm-mgr/proto/escrow.h"
#include "vtpm-mgr/proto/keeper.h"
#include "vtpm-mgr/proto/spawn.h"
#include "vtpm-mgr/provision.h"
#include "vtpm-mgr/store.h"

#define STATE_MAX_DEFAULT   (128u * 1024u)
#define SEAL_MARGIN	    (4096u + LAUNCH_LOG_MAX + 4096u + GUEST_EVIDENCE_STATE) /* what the seal adds to a state, and what is in it whatever its quota: a launch's log, in nine indices, and evidence */
#define STATE_MAX_LIMIT	    (SEALED_STATE_MAX - SEAL_MARGIN)
#define COMMIT_RATE_DEFAULT 100u			/* a second; bursts of COMMIT_BURST seconds */
#define COMMIT_BURST	    10u
#define POOL_DEFAULT	    4u
#define POOL_LIMIT	    256u
#define CRASHES_MAX	    3u
#define STOP_TIMEOUT_MS	    15000u
#define WORKER_TIMEOUT_MS   120000u /* to power on, or to make a TPM with its keys */
#define KEEPER_TIMEOUT_MS   180000u /* for one answer: longer than the keeper waits for a TPM */
#define RECHECK_DEFAULT_S   60u
#define LAUNCH_WAIT_DEFAULT_S 300u
#define RESPAWN_MIN_MS	    1000u
#define RESPAWN_MAX_MS	    30000u
#define AUDIT_DELAY_MS	    2u /* from a line of the audit log to its sync */

struct config {
	const char *state_dir, *runtime_dir, *tcti, *libexec_dir;
	const char *user, *operator_group, *viewer_group; /* NULL: the default, if it exists */
	const char *swtpm_user;				  /* NULL: nobody */
	const char *from;				  /* with init: a backup to make the store of; NULL: it is new */
	uint32_t seal_pcrs;				  /* 0: the default set */
	const char *recovery_keys;			  /* directory */
	bool insecure_pcrs, init, recover, no_prefork, no_guest_evidence, verbose;
	enum { XEN_AUTO, XEN_ON, XEN_NEVER } xen; /* guests of Xen: if this is a domain of Xen; must be; no */
	bool autocreate;			  /* a vTPM for a domain whose uuid nobody knows */
	uint32_t pool;
	uint32_t uid_base;
	int ready_fd; /* -1: nobody waits */
	int hold_fd, hold_spawner_fd; /* channels to vtpm-hold; -1: there is none */
	uint32_t anchor_a, anchor_v; /* NV handles, with --init */
	bool anchors_given, shared_chip;
	uint32_t anchor_writes;	    /* budget of writes to anchor A, a day */
	uint32_t anchors_per_guest; /* a day; 0: no quota */
	uint32_t checkpoint_s;
	uint32_t recheck_s; /* 0: never */
	uint32_t launch_wait_s;
	enum { CHANGE_KEEP, CHANGE_STOP, CHANGE_ACCEPT } on_change; /* what becomes of what runs when the TPM is not what it was; accept: it may be reset */
};

struct mgr;
struct launch;
struct transfer;
struct committing;
struct recreate;
struct xen;
struct xen_front;

/* --- worker.c: one backend process --- */

struct worker {
	struct worker *next;
	struct mgr *m;
	uint64_t token; /* 0: no process */
	bool killed;	/* on our word: nobody goes on from there */
	bool leashed;	/* held.h */
	uint32_t slot;
	int control, store;
	struct loop_io control_io, store_io;
	const struct ipc_rule *rules; /* of the owner; handlers get arg */
	size_t nrules;
	uint32_t state; /* bit for the rules, the owner's to set */
	struct loop_timer deadline;
	void (*exited)(void *arg, uint32_t status);
	void *arg;
	const int *gives; /* the owner's: descriptors that go with the start */
	unsigned ngives;
};

/* What a backend serves: SERVE_NOBODY for one that provisions. */
struct worker_guest {
	enum serve_kind kind;
	int fds[SPAWN_FDS_MAX - SPAWN_FDS_MIN]; /* as its kind wants them (proto/spawn.h); the caller's */
	int ours; /* the manager's end of one of fds that is a channel; -1: none is */
	uint64_t replaces; /* the area of the one that was killed and whose guest it goes on with; 0: none */
};

/*
 * Starts a backend process for owner arg and sends it start.
 * The key must have been handed to the keeper for worker_token_next's token before.
 */
CHECKED int worker_start(struct mgr *m, struct worker *w, uint64_t token, const struct worker_guest *guest,
			 const struct backend_start *start);
uint64_t worker_token_next(struct mgr *m);
/* It has done what it was started for, or serves: the time in which it must is over. */
void worker_settled(struct worker *w);
/* What an earlier generation has left in the area of that name is to be gone on from; 0: that was all. */
void worker_claim(struct mgr *m, uint64_t area);
/* Nobody will go on from what was left in the area of that name. */
void worker_forget(struct mgr *m, uint64_t area);
/* Closes the channels and has the process killed; exited is still called when it is gone. */
void worker_kill(struct worker *w);
/* Has it killed where it stands, as if by somebody else: another goes on. What it still sends is not read. */
void worker_replace(struct worker *w);
/* Closes the channels: it ends by itself, and what it has left stays. */
void worker_hang_up(struct worker *w);
CHECKED int worker_send(struct worker *w, uint32_t type);
/* From host.c: the spawner reports an end. */
void worker_exited(struct mgr *m, uint64_t token, uint32_t status);

/* --- keeper_client.c --- */

enum keeper_state {
	KEEPER_DOWN,	 /* none, or its TPM is lost; a respawn is due */
	KEEPER_STARTING, /* answering the first requests */
	KEEPER_READY,	 /* the TPM is the pinned one */
	KEEPER_FOREIGN,	 /* the TPM is another one: nothing is asked of it */
};

typedef void keeper_done(void *arg, const struct keeper_reply *r);

struct keeper_call;
struct keeper {
	enum keeper_state state;
	unsigned number; /* how many there were, with this one */
	int sock;
	struct loop_io io;
	struct loop_timer respawn, silence;
	uint64_t respawn_ms;
	uint64_t next_id;
	struct keeper_call *sent, *queued; /* lists in order */
	bool has_status, ca_open;
	bool reset_known;     /* how often the TPM had been reset when this manager first saw it */
	uint32_t reset_count;
	struct keeper_status status;
	char reason[TEXT_MAX + 1];
	struct group *groups;
	struct recovery_keys recovery; /* the offline keys that it wraps roots to */
};

struct group {
	struct group *next;
	char name[NAME_MAX_LEN + 1];
	bool open;
	bool vouched; /* its row is the one that the journal vouches for; known once continuity is open */
	uint8_t mode; /* enum store_mode of its new vTPMs; the same */
	uint8_t kind; /* enum policy_kind */
	bool has_recovery;
	uint32_t mask, flags;
	bool locked;	/* open, and could not be unsealed once more: it serves what runs */
	bool needs_share; /* not open, for want of its second share: share_methods.c */
	bool recovered; /* open by its recovery key */
	char reason[TEXT_MAX + 1];
};

CHECKED int keeper_start(struct mgr *m);
/*
 * Asks the keeper; done is called exactly once, possibly before this returns, with the reply or
 * with ERR_TPM_LOST or ERR_TPM_IDENTITY. Waits for a keeper that is starting, starts one if there is
 * none, and asks once more if the TPM was lost during the request.
 */
void keeper_ask(struct mgr *m, uint32_t type, const struct buf *body, keeper_done *done, void *arg);
/*
 * Makes sure that a group's root is unsealed and that continuity is open, asking the TPM again if it was not. ERR_QUARANTINE:
 * the store, or the group's row, is not what the anchors vouch for.
 */
void keeper_open_group(struct mgr *m, const char *name, keeper_done *done, void *arg);
/* The request that loads the CA's key, over mem. ERR_AUTH: its row is damaged. */
CHECKED int keeper_ca_request(struct mgr *m, uint8_t mem[static CA_KEY_MAX], struct buf *b);
/* The backend of that token is not to come after all. */
void keeper_drop(struct mgr *m, uint64_t token);
struct group *group_find(struct mgr *m, const char *name);
size_t group_count(const struct mgr *m);
/* ERR_FULL: there are KEEPER_GROUPS_MAX. */
CHECKED int group_add(struct mgr *m, const char *name, const struct sealed_root *root, bool open);
void keeper_close(struct mgr *m);

/* --- recheck.c --- */

void recheck_start(struct mgr *m);
void recheck_stop(struct mgr *m);

/* --- init.c: a new store --- */

/* Adopts the TPM, seals a new root, makes the CA key, writes all of it, and ends the loop; m->exit_code tells. */
void init_start(struct mgr *m);

/* --- recreate.c: the store of a backup --- */

/* In place of init_start: makes a new store of the file m->from, and ends the loop; m->exit_code tells. */
void recreate_start(struct mgr *m);
/* Of main.c: the store that is in the state directory, and its groups. */
CHECKED int mgr_open_store(struct mgr *m, char why[static TEXT_MAX + 1]);

/* --- commit.c --- */

struct vtpm;
/* Takes a change from a worker's store channel; answers it now (refused) or after the next transaction. Non-zero: the worker broke the protocol. */
CHECKED int commit_take(struct vtpm *v, struct ipc_msg *msg);
/* Its backend has gone: forgets a change that no batch has taken. */
void commit_forget(struct vtpm *v);
/* Answers now what waits for the vTPM's quota of anchored changes: it is being stopped. */
void commit_release(struct vtpm *v);

/* --- vtpm.c, power_on.c --- */

/* VTPM_LAUNCHED: off, and launched for a QEMU, or a ring, that comes. */
enum vtpm_state { VTPM_STOPPED, VTPM_STARTING, VTPM_RUNNING, VTPM_STOPPING, VTPM_FAILED, VTPM_LAUNCHED };

/* A vTPM that is powered on, or that failed. */
struct vtpm {
	struct vtpm *next;
	struct mgr *m;
	struct store_vtpm row; /* as read at power-on */
	enum vtpm_state state;
	char reason[TEXT_MAX + 1];
	unsigned crashes; /* in a row */
	bool firmware;	  /* RUN_STARTUP is the guest firmware's */
	bool restart;	  /* power on again when stopped: a reset */
	bool abandoned;	  /* stopped while being started */
	struct call *starting; /* who waits for it */
	struct call *stopping;
	struct launch *launch; /* owned; NULL: it was not launched (launch.h) */
	struct worker w;
	int32_t failed_code;	  /* what the backend said before it ended */
	unsigned key_at; /* number of the keeper that its key was handed to */
	uint64_t version;
	struct loop_timer stop_timer;
	/* resume.c */
	bool resuming;	     /* VTPM_STARTING, for a guest that runs */
	bool crashed;	     /* what ended the last backend was no SIGKILL */
	bool stop_asked;     /* stop or reset has come meanwhile */
	uint64_t area;	     /* name of where its backends leave checkpoints: the token of the first one */
	uint64_t replaces;   /* the same, from the end of the last backend until another has its place */
	unsigned kills;	     /* in a row, without one that was ready in between */
	uint64_t replacements; /* since it was powered on */
	struct loop_timer resume_timer;
	/* held_guests.c */
	bool served;  /* a guest, since it was powered on: another manager would go on with it */
	uint64_t kept_as; /* vtpm-hold has it under this name; 0: it has not */
	bool inherited; /* from the last manager, whose backend may still serve it */
	bool adopted; /* resuming, and what ended the last backend was that manager's end */
	bool waits_share; /* resuming, once its group is unlocked */
	/* renew.c: the keeper was asked for another key, too; its backend has both; its last one was ended so that the next has */
	bool asks_next, has_next, renewing;
	uint8_t next_wrapped[WRAPPED_KEY_LEN];
	/* qemu.c */
	int qemu; /* the control channel of the QEMU that it is on for; -1: it is on for a ring */
	uid_t qemu_uid;
	unsigned qemu_told; /* lines in the log about what it was refused */
	struct loop_io qemu_io;
	/* takeover.c */
	bool incoming; /* another QEMU has the TPM: vtpm_find does not find this one */
	bool standby;  /* its backend has no state yet, and may not commit */
	bool opening;  /* its backend was given the stored state and has not committed since: it may not verify */
	bool fenced;   /* another has taken over: it is being killed */
	bool asked;    /* STORE_TAKE has come and is not answered */
	uint64_t asked_version;
	uint64_t rollback_to; /* the version of an older state that was granted and is not committed yet; 0: none */
	/* attest_guest.c */
	struct attest_request *asking; /* its guest's, whose backend waits; NULL: there is none */
	double asks;		       /* that it may have more of, at asks_ms */
	uint64_t asks_ms;	       /* 0: it has not asked yet */
	int told;		       /* the code of why it had none, as the log has it; 0: it had some, or has not asked yet */
	/* xen_serve.c */
	bool xen;		 /* it is on for a guest of Xen */
	int attach;		 /* how rings come to its backend; -1: it has none */
	struct xen_front *front; /* the guest's; NULL: its domain has gone */
	bool announced;		 /* a save, restore or migration: the next domain goes on where this one ends */
	struct loop_timer announce_timer;
	/* ring.c */
	struct local_ring ring;
	int listener, client;
	struct loop_io listener_io, client_io;
	/* commit.c */
	struct change *change; /* on its way; changes.c has it, unless it waits for the quota */
	bool waits;
	bool anchoring;		  /* it is anchored at once */
	bool held;		  /* it is durable, and its answer waits for the quota of anchored changes */
	struct loop_timer held_timer;
	uint64_t held_until; /* until when the quota of anchored changes holds it back, on the clock of loop_now_ms; 0: it does not */
	bool startup_seen; /* the first change of this power-on has come */
	struct loop_timer change_timer;
	double bucket;
	uint64_t bucket_ms;
};

/* The one that has the TPM. */
struct vtpm *vtpm_find(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* These end the call, now or later. */
void vtpm_start(struct mgr *m, const struct store_vtpm *row, bool firmware, struct call *c);
/* Powers it on for a QEMU of uid, and takes sock over. Not 0: it cannot be now, why says why, and sock is the caller's. What comes to nothing later hangs up. */
CHECKED int vtpm_start_qemu(struct mgr *m, const struct store_vtpm *row, int sock, uid_t uid, char why[static TEXT_MAX + 1]);
/*
 * Powers it on for a guest of Xen. Not 0: it cannot be now, why says why; the call is the caller's then. What comes to
 * nothing later is told by xen_tpm_changed.
 */
CHECKED int vtpm_start_xen(struct mgr *m, const struct store_vtpm *row, struct xen_front *front, struct call *c, char why[static TEXT_MAX + 1]);
/* Powers it on by a measured launch for a domain, or makes it wait for another guest; l and c are its from there. Not 0: as above. */
CHECKED int vtpm_start_launched(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c,
				struct vtpm **out, char why[static TEXT_MAX + 1]);
/* Its domain has gone: powers it off, whatever it was about. May free v. */
void vtpm_deserted(struct vtpm *v);
/* Its QEMU has gone: powers it off in order. */
void vtpm_hung_up(struct vtpm *v);
/* Ends one that waits for its TPM. */
void vtpm_send_off(struct vtpm *v);
void vtpm_stop(struct vtpm *v, struct call *c);
void vtpm_reset(struct vtpm *v, const struct store_vtpm *row, struct call *c);
/* Forgets a vTPM that failed. Only when there is no process. */
void vtpm_free(struct vtpm *v);
/* Stops it in order, or its start; what is on its way out is left alone. */
void vtpm_stop_one(struct vtpm *v);
/* Stops all in order; m->draining tells the loop to end when the last is gone. */
void vtpm_stop_all(struct mgr *m);
/* Erases a vTPM that is off. done is called once. */
void vtpm_destroy(struct mgr *m, const struct store_vtpm *row, void (*done)(void *arg, int code, const char *text), void *arg);
/* Marks a row as quarantined, in store, log and audit. */
void vtpm_quarantine(struct mgr *m, const struct store_vtpm *row, const char *why);
/* Why it is quarantined, by its mark or because the journal does not vouch for its keys and certificates. NULL: it is not, as far as one can see while it is off. */
const char *vtpm_why_quarantined(struct mgr *m, const struct store_vtpm *row);
/* What a row's wrapped key is bound to. */
CHECKED int vtpm_binding(const struct store_vtpm *row, struct key_binding *b);
/* Whether somebody has its TPM, or waits for it. */
bool vtpm_powered(const struct mgr *m, const uint8_t uuid[static UUID_LEN]);

/* Between the files. */
struct vtpm *vtpm_new(struct mgr *m);
void vtpm_reason_set(struct vtpm *v, const char *text);
const char *vtpm_state_word(const struct vtpm *v);
/* Its TPM is gone until it is reset; hangs up on who has it. Frees v if it only waited for another's. */
void vtpm_failed(struct vtpm *v);
/* Its backend has ended; for struct worker. */
void vtpm_exited(void *arg, uint32_t status);
/* A power-on came to nothing: tells who waits, and forgets it. */
void vtpm_start_failed(struct vtpm *v, int code, const char *text);
/* Its key and state were opened: what it was quarantined for is over. */
void vtpm_verified(struct vtpm *v);
/* The sealed state that the store has, and v->version; *len is its length. ERR_AUTH: it is missing, damaged or not the newest,
 * as why says. */
CHECKED int vtpm_state_get(struct vtpm *v, uint8_t sealed[static SEALED_STATE_MAX], size_t *len, const char **why);
/* After a reset. */
void vtpm_start_again(struct vtpm *v);

/* What has to be said of an end. */
void vtpm_describe_end(char *out, size_t cap, uint32_t status);
/* It is off, asked for or not in order: tells who waits, and starts it anew after a reset. */
void vtpm_stopped(struct vtpm *v, uint32_t status);

/* --- resume.c --- */

/* Its backend has ended. True: another one takes its place; otherwise nobody can go on from there. */
bool resume_try(struct vtpm *v, uint32_t status);
/* Begins in that many milliseconds. */
void resume_in(struct vtpm *v, uint64_t ms);
/* That one is ready. */
void resume_done(struct vtpm *v);
/* That came to nothing. */
void resume_failed(struct vtpm *v, int code, const char *text);
/* A keeper has gone, perhaps with keys that were to be handed over: those that wait for them are begun anew. */
void resume_keeper_lost(struct mgr *m);
/* Stop or reset (v->restart) is asked for while it resumes: as soon as it has. */
void resume_stop(struct vtpm *v);
/* That group has its second share: those that waited for it go on. */
void resume_unlocked(struct mgr *m, const char *group);

/* --- ring.c --- */

CHECKED int ring_open(struct vtpm *v);
/* Ends the socket, its client and the ring. A reset does without: the front end keeps its ring. */
void ring_close(struct vtpm *v);
CHECKED int ring_path(const struct mgr *m, const char *name, char *out, size_t cap);

/* --- takeover.c --- */

/* The states of a backend's channels, for struct ipc_rule. */
enum { WORKER_OWNS = 1u << 0, WORKER_STANDBY = 1u << 1 };
/* The QEMU that waits for the TPM of that uuid; NULL: none. */
struct vtpm *takeover_waiting(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* STORE_TAKE: answered now or when whoever has the TPM is gone. Non-zero: the worker broke the protocol. */
CHECKED int takeover_ask(struct vtpm *v, struct ipc_msg *msg);
/* Somebody's turn with the TPM may have ended: who waits for it has his. */
void takeover_next(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* Who has the TPM of that uuid is there again: who asks for it is answered. */
void takeover_again(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* An older state that was granted is the newest now, as version. */
void takeover_rolled_back(struct vtpm *v);
/* Its backend has ended after one was granted, when the store had version was; now it has v->version. */
void takeover_settle(struct vtpm *v, uint64_t was);

/* --- qemu.c --- */

struct qemu_port;
CHECKED int qemu_path(const struct mgr *m, const char *name, char *out, size_t cap);
/* The sockets of all vTPMs of the store, or of one. One that cannot be made is reported and does without. */
CHECKED int qemu_ports_open(struct mgr *m);
void qemu_ports_close(struct mgr *m);
void qemu_port_open(struct mgr *m, const struct store_vtpm *row);
void qemu_port_close(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* Waits for v->qemu to hang up: vtpm_hung_up. */
CHECKED int qemu_watch(struct vtpm *v);
/* Hangs up on it. */
void qemu_release(struct vtpm *v);
/* Whether its QEMU has gone, noticed or not. */
bool qemu_has_gone(const struct vtpm *v);
/* Keeps why a QEMU did not get what it wanted, for qemu_refusal, and logs it, unless it has had its share of the log. */
__attribute__((format(printf, 2, 3))) void qemu_refused(struct vtpm *v, const char *fmt, ...);
/* Whether its TPM may go back to an older state once more: each time is a line of the audit log. */
bool qemu_may_go_back(struct vtpm *v);
/* What was said last, since the manager's start; NULL: nothing. */
const char *qemu_refusal(const struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* A QEMU of uid has come, sock is taken over: it gets the vTPM, waits for its end, or is hung up on. */
void qemu_offer(struct mgr *m, const uint8_t uuid[static UUID_LEN], int sock, uid_t uid);

/* --- xen.c, xen_serve.c --- */

/* Serves guests of Xen over a connection to xenstore, which is taken over. What goes wrong later is in the log. */
CHECKED int xen_open(struct mgr *m, int fd);
void xen_close(struct mgr *m);
/* A vTPM has come, gone, or is in another state: who waits for that looks again. */
void xen_tpm_changed(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* The backend of v has ended, and its ring with it. why: if that was not meant to be; NULL. */
void xen_backend_ended(struct vtpm *v, const char *why);
/* The same, and another one goes on. */
void xen_backend_lost(struct vtpm *v);
/* v is being started again, by somebody's word. */
void xen_revive(struct vtpm *v);
/* If a domain waits for that word, with a TPM that is off: resets it and ends the call, now or later. */
bool xen_reset_lost(struct mgr *m, const struct store_vtpm *row, struct call *c);
unsigned xen_domid(const struct xen_front *f);
/* Whether its domain is on the way out, and no other was announced that goes on with it. */
bool xen_is_leaving(const struct vtpm *v);
/* From v's backend. Not 0: it broke the protocol. */
CHECKED int xen_ring_attached(struct vtpm *v, int32_t code);
CHECKED int xen_ring_detached(struct vtpm *v);
/* From the spawner, in the place of either: it had no room for what came with the order. */
CHECKED int xen_ring_refused(struct mgr *m, const struct spawn_attach *a);
/* Announces that the next domain with its uuid goes on with v as it is; takes that back. End the call. */
void xen_suspend(struct vtpm *v, struct call *c);
void xen_resume(struct vtpm *v, struct call *c);

/* --- fronts.c --- */

struct fronts;
CHECKED int fronts_open(struct mgr *m);
void fronts_close(struct mgr *m);
/* A QEMU's control channel is about to be closed: tells who brought it. why: empty if it ended in order. */
void fronts_hung_up(struct mgr *m, int sock, const char *why);

/* --- configure.c --- */

/* Changes the policy of a vTPM that is off, row as it was read, to that of want: asks the keeper, then writes the row. Ends the call, with
 * reply's parameters. detail: for the audit log. */
void configure_set(struct mgr *m, const struct store_vtpm *row, const struct store_vtpm *want, const char *detail,
		   json_t *(*reply)(struct mgr *m, const struct store_vtpm *row), struct call *c);

/* --- methods.c, describe.c, describe_ek.c --- */

extern const struct control_method methods[], recover_methods[];
extern const size_t methods_len, recover_methods_len;
/* The row of the parameter "name", the caller's to free; NULL: the call has been answered. */
struct store_vtpm *row_of(struct mgr *m, struct call *c, json_t *params);
struct store_vtpm *row_named(struct mgr *m, struct call *c, json_t *params, const char *key);
/* create_methods.c: settings among the parameters; absent: deflt. Not 0: the call has been answered. */
CHECKED int snapshots_param(struct call *c, json_t *params, uint8_t deflt, uint8_t *out);
CHECKED int launch_param(struct call *c, json_t *params, uint8_t deflt, uint8_t *out);
void method_create(void *arg, struct call *c, json_t *params);
void method_import(void *arg, struct call *c, json_t *params);
void method_clone(void *arg, struct call *c, json_t *params);
/* An optional true or false; false if it is absent. Otherwise the call has been answered. */
CHECKED int bool_param(struct call *c, json_t *params, const char *key, bool *out);
/* group_methods.c */
/* A list of PCRs; absent: 0. Otherwise the call has been answered. */
CHECKED int pcr_param(struct call *c, json_t *params, uint32_t *mask);
void method_create_group(void *arg, struct call *c, json_t *params);
json_t *describe_vtpm(struct mgr *m, const struct store_vtpm *row, bool with_eks);
extern const char *const launch_words[]; /* by LAUNCH_AUTO, LAUNCH_REQUIRED, LAUNCH_OFF */
extern const char *const snapshots_words[]; /* by SNAPSHOTS_REFUSE, SNAPSHOTS_ALLOW */
json_t *describe_status(struct mgr *m);
json_t *describe_group(const struct group *g);
/* describe_continuity.c */
json_t *describe_continuity(const struct mgr *m);
void describe_continuity_warnings(const struct mgr *m, json_t *warnings);
const char *describe_mode(uint8_t mode);
json_t *describe_pem(const char *label, const uint8_t *der, size_t len);

/* --- main.c, host.c --- */

struct mgr {
	struct config cfg;
	struct loop loop;
	struct store *store;
	struct audit audit;
	struct bootlog bootlog;
	struct loop_timer audit_due;
	struct control *control;
	int spawner;
	int fence; /* of this manager and its keepers: host_fence */
	struct loop_io spawner_io;
	pid_t spawner_pid;
	int signals;
	struct loop_io signals_io;
	struct keeper keeper;
	struct continuity continuity;
	struct loop_timer recheck;
	struct worker *workers;
	struct vtpm *vtpms;
	struct qemu_port *qemu_ports;
	struct fronts *fronts;
	struct attesting *attesting; /* attest.h; NULL: nobody has asked */
	int64_t swtpm_uid; /* who may set vTPMs up besides operators; -1: nobody */
	struct xen *xen; /* NULL: no guests of Xen */
	enum xen_xsm xsm; /* what the hypervisor said at the start */
	struct launch_waiting *launches; /* launch.c: until the last guest's TPM is off */
	struct provision *provisions;
	struct reseal *reseal; /* NULL: no root is being rotated */
	struct renewal *renewals; /* who waits for other keys of vTPMs; */
	uint64_t renewed; /* how many have got one */
	int from; /* the file of cfg.from, opened with the rights of who started this; -1: none */
	bool viewer_looks;	      /* the chip is asked something for a viewer */
	struct transfer *transfer;     /* a backup or restore on its way; NULL: none */
	struct recreate *recreate;     /* recreate.h: it waits for an offline key; NULL: nothing does */
	struct committing *restoring; /* what it puts into the store; NULL: nothing */
	struct certifying *certifying;
	struct crl_making *crl;
	struct group_making *groups_making; /* methods.c: asked of the keeper, not in the store yet */
	struct pool_tpm *pool; /* made ahead, only ever in memory: what the disk holds can be put back and used twice */
	uint32_t pool_count;
	bool pool_paused; /* making one failed: wait for the next create before trying again */
	uint64_t next_token;
	uint8_t slots[(SPAWN_SLOT_MAX + 1) / 8]; /* bit set: uid slot in use */
	bool draining, sandboxed;
	struct held held;
	int exit_code;
	uint8_t rx[IPC_BODY_MAX + 64]; /* the message being handled */
	uint8_t tx[IPC_BODY_MAX + 64]; /* the message being written */
};

CHECKED int host_start_spawner(struct mgr *m);
/*
 * Waits until no keeper of an earlier manager lives: one that was in the middle of an extend would go on with it (docs/continuity.md,
 * "Variants"). Each holds the lock that this takes, through a descriptor that it got from its manager. ERR_BUSY: one does not end.
 */
CHECKED int host_fence(struct mgr *m);
CHECKED int host_watch_spawner(struct mgr *m);
CHECKED int host_send(struct mgr *m, uint32_t type, const struct buf *body, const int *fds, unsigned nfds);
void host_close(struct mgr *m);
/* One line of the audit log for a call (NULL: the manager itself); a failure to write it is logged. */
void mgr_audit(struct mgr *m, const struct call *c, const char *action, const struct store_vtpm *row, int result,
	       const char *detail);
void mgr_audit_for(struct mgr *m, int64_t uid, int64_t pid, const char *action, const struct store_vtpm *row, int result,
		   const char *detail);
/* The TPM has answered, or does not: tell who started the manager (--ready-fd), once. */
void mgr_ready(struct mgr *m);
/* Closes the journal and ends the loop once nothing runs any more, if the manager is stopping. */
void mgr_check_drained(struct mgr *m);
/* From batch.c: the close row is anchored, or could not be. */
void mgr_closed(struct mgr *m, int code);

#endif
