/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plays manager, keeper and guest against a real vtpm-spawn and its backends. The programs lie one
 * directory above the test's own. Every step that fails ends the test program.
 */
#ifndef VTPM_TESTS_BACKEND_RIG_H
#define VTPM_TESTS_BACKEND_RIG_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "hv/hv.h"
#include "hv/local/local.h"
#include "vtpm-mgr/proto/backend.h"
#include "vtpm-mgr/proto/spawn.h"

#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond, strerror(errno));                 \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

struct rig_backend;

struct rig {
	pid_t spawn;
	int manager; /* to the spawner */
	int keeper;  /* to the stand-in for the keeper */
	int link;    /* the keeper's end of its link */
	uint64_t token;
	bool mortal; /* spawner and backends are those of tests/tools/mortal.h */
	bool heirs;  /* backends of QEMU's channels are replaced: as the manager does, the rig keeps what they were given */
	void (*gone)(struct rig_backend *b); /* called when a backend has gone that somebody waits for; it puts another in its place. NULL */
	int hold;  /* of the test: an end of the spawner's channel to vtpm-hold, with what that has to say; 0: there is none */
	int queue; /* bytes of what the spawner may have on the way to the manager; 0: as always */
};

/* What a vTPM leaves behind: the newest state that the store has. */
struct rig_disk {
	uint8_t uuid[UUID_LEN], key[KEY_LEN];
	bool renew;	     /* with the key goes another, as the keeper makes one each time, until a commit is under it */
	uint8_t next[KEY_LEN];
	unsigned renewed;
	uint64_t line;	     /* of what a QEMU saves: not 0 once the vTPM was restored */
	uint64_t version;
	uint8_t sealed[SEALED_STATE_MAX];
	size_t sealed_len;
	int fail;	  /* a code: what the store answers instead of storing */
	unsigned commits; /* accepted */
	uint8_t flags;	  /* of the last commit */
	bool older;	  /* STORE_TAKE: an older state is granted, too */
	bool busy;	  /* STORE_TAKE: another backend has the TPM */
	unsigned takes;	  /* granted */
};

struct rig_backend {
	struct rig *rig;
	struct rig_disk *disk;
	uint64_t token;
	uint64_t area; /* name of what it will leave behind */
	int control, store, key;
	struct local_ring ring;
	volatile uint8_t *page;
	int attach; /* the test's end of a guest of Xen's attach channel; -1 */
	int qemu, data; /* the test's ends of QEMU's channels; -1: it serves a ring */
	enum serve_kind kind;
	int theirs; /* with rig.heirs: the other end of qemu; otherwise -1 */
	uint32_t status; /* once it has exited */
};

/* The stand-in for the keeper: hands its link to the test. Call it first in main; it does not return there. */
void rig_keeper_main(int argc, char **argv);
void rig_open(struct rig *r, bool no_prefork);
void rig_close(struct rig *r);
void rig_disk_init(struct rig_disk *d);
/* Opens what is on it; blob, of SEALED_STATE_MAX bytes, is then libtpms's, whose length is returned. */
size_t rig_disk_open(const struct rig_disk *d, uint8_t secret[static KEY_LEN], uint8_t *blob);

/* Spawns a backend, sends START with these flags and gives it the disk's key. */
void rig_spawn(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags);
void rig_spawn_start(struct rig *r, struct rig_backend *b, struct rig_disk *d, const struct backend_start *start);
/* The same for a QEMU or a guest of Xen: b->qemu is the end of its control channel, b->data the caller's to set; b->attach takes rings. */
void rig_spawn_serving(struct rig *r, struct rig_backend *b, struct rig_disk *d, enum serve_kind kind, uint32_t flags);
/* The same while another backend has the TPM: without a state. */
void rig_spawn_standby(struct rig *r, struct rig_backend *b, struct rig_disk *d);
/* A worker with RUN_IMPORT and these flags; fds go with the start and stay the caller's. */
void rig_spawn_import(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags, const int *fds, unsigned n);
/*
 * For the ring or channel of b, whose backend has exited: spawns another with RUN_RESUME and these flags, in the place of one that has left an area of that name. No
 * key is given.
 */
void rig_spawn_replacing(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags, uint64_t replaces);
/* Nobody goes on from that area. */
void rig_drop_area(struct rig *r, uint64_t area);
/* The same in the place of its own, and with the key. */
void rig_resume(struct rig_backend *b, uint32_t flags);
/* Gives a backend that was spawned without one its key. */
void rig_give_key(struct rig_backend *b);
/* Waits for BACKEND_READY; false: it has gone. */
bool rig_ready_or_gone(struct rig_backend *b);
/* Without a keeper: no link is awaited and no key sent. */
void rig_spawn_keyless(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags);
void rig_kill_keeper(struct rig *r);
void rig_start_keeper(struct rig *r);
/* Waits for BACKEND_READY, with the store at work. */
void rig_ready(struct rig_backend *b);
/* Waits for BACKEND_FAILED and returns its code. */
int rig_failed(struct rig_backend *b);
/*
 * Waits for BACKEND_PROVISIONED, answering certificate requests with cert (NULL: none is
 * expected); puts the result on the disk.
 */
void rig_provisioned(struct rig_backend *b, const uint8_t *cert, size_t cert_len);
/* Manufactures onto the disk. */
void rig_make(struct rig *r, struct rig_disk *d);
/* BACKEND_STOP, and waits for the end; returns the wait status. */
uint32_t rig_stop(struct rig_backend *b);
/* Waits for SPAWN_EXITED of this backend. */
uint32_t rig_exited(struct rig_backend *b);
void rig_forget(struct rig_backend *b);

/* One request of the store channel. False: the backend has gone. */
bool rig_serve_store(struct rig_backend *b);
/* Waits until fd is readable with the store at work; false: the backend has gone. */
bool rig_wait(struct rig_backend *b, int fd);
/* Puts a request on the page and signals; or sends it over b->data. */
void rig_submit(struct rig_backend *b, const void *cmd, size_t len, uint8_t locality);
/* Waits for FINISH, or the answer on b->data, with the store at work; returns the response's length, 0 if the backend has gone. */
size_t rig_receive(struct rig_backend *b, uint8_t rsp[static CHAN_PACKET_MAX]);
/* Both; returns the response code. */
uint32_t rig_command(struct rig_backend *b, const void *cmd, size_t len, uint8_t rsp[static CHAN_PACKET_MAX],
		     size_t *rsp_len);
/* A number out of /proc/PID/status; 0 if there is none. */
unsigned long rig_status(pid_t pid, const char *field);
/* The process of the newest backend of the spawner that is in its sandbox; -1: there is none. */
pid_t rig_newest_child(const struct rig *r);
/* Waits for one, and sends it a signal. */
void rig_kill_newest(const struct rig *r, int sig);

#endif
