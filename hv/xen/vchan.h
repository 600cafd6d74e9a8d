/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stream of bytes between two domains of Xen, in one shared page: what libxenvchan calls a vchan, on the wire as
 * xen/io/libxenvchan.h has it, with orders 10 and 11, so that both rings are in the one page. Both ends of the real thing
 * can be the other end of this. Here it stands on the kernel's devices alone, whose interfaces do not change, where
 * libxenvchan has no stable one.
 *
 * Who may connect is the hypervisor's to say, not a message's: page and event channel are granted to one domain by its
 * number, and the client maps a page of the domain whose number it was told.
 *
 * The page is the other domain's as much as ours. How far we have read and written we know ourselves; what it says about
 * its own progress is checked against the size of the ring before each use, and the orders are never read again.
 */
#ifndef VTPM_HV_XEN_VCHAN_H
#define VTPM_HV_XEN_VCHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define VCHAN_DOMID_MAX 0x7fefu /* of a domain: above are names for other things */
#define VCHAN_UP_SIZE	1024u /* bytes of the ring from client to server */
#define VCHAN_DOWN_SIZE 2048u /* from server to client */

enum vchan_peer { VCHAN_PEER_AWAITED, VCHAN_PEER_THERE, VCHAN_PEER_GONE };

struct vchan {
	uint8_t *page; /* shared; NULL: closed */
	bool server;
	uint32_t got, put; /* bytes read and written so far, modulo 2^32 */
	int fd;		   /* of the event channel, the server's borrowed: readable when there is something to look at; -1: none */
	uint32_t port;	   /* ours */
	int grant;	   /* the client's: what the page is mapped by */
};

#define VCHAN_NONE ((struct vchan){ .fd = -1, .grant = -1 })

/* What a server needs to make its ends; opening them takes rights, using them none. -1: closed. */
struct vchan_devices {
	int ports, pages;
};

/* ERR_NOTFOUND, ERR_DENIED: this process cannot speak to Xen. */
CHECKED int vchan_devices_open(struct vchan_devices *d);
void vchan_devices_close(struct vchan_devices *d);

/*
 * The server's end: a page and an event channel for domain domid and no other. ref, port: what the client must be told.
 * A client has one connection; for the next one a new page is offered. d stays the caller's, and open while v is.
 */
CHECKED int vchan_offer(struct vchan *v, const struct vchan_devices *d, uint32_t domid, uint32_t *ref, uint32_t *port);
/*
 * The client's end. ERR_INVAL: the domain does not grant that to us. ERR_BUSY: the page is no vchan that awaits a client.
 * ERR_VERSION: one with other rings than ours.
 */
CHECKED int vchan_attach(struct vchan *v, uint32_t domid, uint32_t ref, uint32_t port);
/* Says good-bye and gives all back. A process that ends does the same: the kernel sees to it. */
void vchan_close(struct vchan *v);

/* Page and role alone, for who has both: the first half of the above. The server's initialises the page. */
void vchan_init_server(struct vchan *v, uint8_t *page);
CHECKED int vchan_init_client(struct vchan *v, uint8_t *page);

/*
 * What is there, at most cap bytes: *n is not 0. ERR_AGAIN: nothing yet. ERR_CLOSED: nothing, and the other end has gone.
 * ERR_PROTO: it claims to have written more than the ring holds.
 */
CHECKED int vchan_read(struct vchan *v, void *p, size_t cap, size_t *n);
/* As much of it as there is room for: *n may be less than len, not 0. Errors as for vchan_read. */
CHECKED int vchan_write(struct vchan *v, const void *p, size_t len, size_t *n);
enum vchan_peer vchan_peer(const struct vchan *v);
/* After fd was readable, before the ring is looked at. */
CHECKED int vchan_ack(struct vchan *v);

#endif
