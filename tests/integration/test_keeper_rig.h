/* SPDX-License-Identifier: BSD-2-Clause */
/* A software TPM, a proxy in front of it that can change one byte of a response, and a real vtpm-keeper. */
#ifndef VTPM_TESTS_KEEPER_RIG_H
#define VTPM_TESTS_KEEPER_RIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "vtpm-mgr/proto/keeper.h"

struct proxy_plan {	  /* shared with the proxy process */
	uint32_t command; /* TPM_CC; 0: change nothing */
	uint32_t offset;  /* byte of the response; beyond its end: done is not set */
	uint32_t done;
	uint32_t commands; /* seen so far */
	uint32_t rc, times; /* the next so many of command are not passed on, but answered with this code */
};
struct rig {
	char dir[64];
	pid_t swtpm, proxy, keeper;
	struct proxy_plan *plan;
	int mgr, spawn;
	uint64_t id;
};
struct answer {
	struct keeper_reply r;
	uint8_t mem[KEEPER_REPLY_MAX];
};
struct request {
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;
};

/* Fails if what the rig starts is not there. */
void rig_check(void);
/* A fresh TPM. */
void rig_start(struct rig *g);
void rig_stop(struct rig *g);
void rig_tpm_kill(struct rig *g);
/* _TPM_Init without Startup, the connection stays. */
void rig_tpm_reset(struct rig *g);
/* A power cut: it is killed, and starts on the state that it has on the disk. No keeper may be connected. */
void rig_tpm_restart(struct rig *g);
/* Another TPM: the state is thrown away. */
void rig_tpm_replace(struct rig *g);
/* Extends a PCR of the SHA-256 bank; no keeper may be connected. */
void rig_pcr_extend(struct rig *g, unsigned pcr);
void rig_proxy_start(struct rig *g);

/* tcti NULL: the software TPM. */
void rig_keeper_start(struct rig *g, const char *tcti);
/* Closes its sockets; returns its exit code. */
int rig_keeper_stop(struct rig *g);
/* Waits for it to exit by itself. */
int rig_keeper_wait(struct rig *g);

/* Begins a request with the next id. */
struct buf *rig_request(struct rig *g, struct request *q);
/* Sends it and returns the code of its reply, which is in *a. */
int rig_ask(struct rig *g, uint32_t type, const struct request *q, struct answer *a);
int rig_ask_empty(struct rig *g, uint32_t type, struct answer *a);
int rig_group_new(struct rig *g, const char *group, uint32_t mask, uint32_t flags, struct answer *a);
int rig_group_open(struct rig *g, const char *group, const struct sealed_root *s, struct answer *a);
/* Links a backend; returns the backend's end. */
int rig_link(struct rig *g, uint64_t token);
/* The next message on a backend's channel; 0, or what ipc_recv said. */
int rig_backend_recv(int fd, struct ipc_msg *m, uint8_t *mem, size_t cap);
/* Demands that the keeper has closed it, and closes it. */
void rig_expect_closed(int fd);

#endif
