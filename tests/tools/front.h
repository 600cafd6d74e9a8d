/* SPDX-License-Identifier: BSD-2-Clause */
/* A front end that has its hands on the page itself, as a hostile guest has. What fails in here ends the program. */
#ifndef TESTS_TOOLS_FRONT_H
#define TESTS_TOOLS_FRONT_H

#include "hv/local/local.h"
#include "hv/page.h"
#include "tests/tools/command.h"

#define FRONT_TIMEOUT_MS 30000 /* making an RSA key takes seconds on a busy machine; nothing else comes near */

struct front {
	int sock;
	struct local_ring ring; /* for a guest of Xen: grant, event channel, nothing */
	uint32_t port, ref;	/* for a guest of Xen: what it has published */
	volatile uint8_t *page;
	uint8_t rsp[CHAN_PACKET_MAX];
	size_t rsp_len;
};

/* Prints what failed and ends the program with status 1. */
_Noreturn void front_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* front_local.c: the path of a ring; front_xen.c: the handle of the device. */
void front_open(struct front *f, const char *path);
void front_signal(const struct front *f);
/* Puts n bytes at the packet's place of nr_extra extra pages, and length, whatever it is; then SUBMIT and a signal. */
void front_submit(struct front *f, const uint8_t *packet, size_t n, uint32_t length, uint8_t nr_extra, uint8_t locality);
/* Waits for a state other than SUBMIT and CANCEL. False: the back end has gone. */
bool front_wait(struct front *f);
bool front_in_hand(const struct front *f);
/* Waits for FINISH and copies the response from behind nr_extra; returns its code. */
uint32_t front_response(struct front *f, uint8_t nr_extra);
/* The polite way: one whole command, its response code. */
uint32_t front_command(struct front *f, const struct command *c);
/* Whatever is on the page: ends it, and waits until the back end has nothing in hand. */
void front_resync(struct front *f);
/* GetRandom must be answered with TPM_RC_SUCCESS. */
void front_demand_service(struct front *f);

#endif
