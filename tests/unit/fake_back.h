/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A manager and back end for tests of front ends: a thread that listens on a ring's path,
 * grants the ring to one client and serves each request with the function the test gave.
 */
#ifndef VTPM_TESTS_FAKE_BACK_H
#define VTPM_TESTS_FAKE_BACK_H

#include <pthread.h>

#include "hv/local/local.h"

struct fake_back {
	char dir[64];
	char path[96]; /* of the ring's socket */
	struct local_ring ring;
	struct chan chan;
	int listen_fd, client_fd, stop_fd;
	pthread_t thread;
	/* Answers a request through b->chan. Non-zero: hangs up on the client. */
	int (*serve)(struct fake_back *b, uint8_t *cmd, size_t len);
	int refuse;	   /* not 0: refuses the client with this code */
	unsigned locality; /* of the last request */
	unsigned served;   /* atomic */
	unsigned value;	   /* the test's, for serve */
};

/* Listens on a fresh directory. The ring may be written to before fake_back_start. */
void fake_back_make(struct fake_back *b, int (*serve)(struct fake_back *b, uint8_t *cmd, size_t len));
void fake_back_start(struct fake_back *b);
void fake_back_stop(struct fake_back *b);

/* Ways to serve. */
int serve_echo(struct fake_back *b, uint8_t *cmd, size_t len);
/* Waits for a cancel (TPM_RC_CANCELED), or for the end of the test. */
int serve_until_cancelled(struct fake_back *b, uint8_t *cmd, size_t len);
int serve_hang_up(struct fake_back *b, uint8_t *cmd, size_t len);
/* A hostile back end: b->value as length over an otherwise good response. */
int serve_length(struct fake_back *b, uint8_t *cmd, size_t len);
/* A hostile back end: b->value as state. */
int serve_state(struct fake_back *b, uint8_t *cmd, size_t len);

#endif
