/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swtpm socket, from its start to its end. There are two ways to serve:
 *
 *	serve.c	    --ctrl alone: each connection is brought to the manager, and nothing of it is read
 *	server.c    --server: the front has the TPM powered on for a control channel of its own (held.c), and hands each
 *		    client's connection on over it; what a client of --ctrl asks for it asks in the client's place
 */
#ifndef VTPM_SWTPM_SERVE_H
#define VTPM_SWTPM_SERVE_H

#include "vtpm-mgr/swtpm/front.h"

/* Whose question on our own control channel awaits its reply. */
enum serve_asked { ASKED_NOTHING, ASKED_DATA, ASKED_CTRL };

struct serve {
	const struct serve_options *o;
	char name[NAME_MAX_LEN + 1];
	int link, signals;
	int listener; /* --ctrl's; -1: none */
	int conn;     /* its client: one that has said nothing yet, or with --server the one that may ask; -1: none */
	bool on;      /* the manager has a connection, and the TPM is on for it */
	bool end;
	int status;

	/* --server */
	int held;     /* our end of our own control channel; -1: none, or it has ended */
	int server;   /* listens */
	int data;     /* the client that has the TPM: a copy that is never read, to see its end by; -1: none */
	enum serve_asked asked, last; /* last: before this one */
	uint32_t command;	      /* ASKED_CTRL: what */
};

void serve_end(struct serve *s, int status);
/* The manager has something to say: the TPM is off. */
void serve_on_link(struct serve *s);

/* Powers the TPM on and does what --flags says; s->held is open when it returns 0. */
CHECKED int held_begin(struct serve *s, char why[static WHY_MAX + 1]);
/* Lets go of the TPM, and waits until it is off. */
void held_end(struct serve *s);

/* Until the end; the exit status. */
int server_run(struct serve *s);

#endif
