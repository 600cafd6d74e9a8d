/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The shared page of Xen's tpmif, as xen/include/public/io/tpmif.h and Linux's
 * xen-tpmfront lay it out. Plain constants and offsets, no includes: a kernel module can use it too.
 *
 *	offset 0  u32 length		bytes of request or response
 *	       4  u8  state
 *	       5  u8  locality		written by the front end with a request
 *	       6  u8  pad		low bits of the number of the response; the back end's, see hv/chan.c
 *	       7  u8  nr_extra_pages	u32 grant references that follow; no extra pages are used
 *	       8 + 4 * nr_extra_pages	the packet
 *
 * Numbers are little-endian (native on every architecture Xen runs on with this interface).
 * The comment in tpmif.h says that the header has 16 bytes; the code of all users says 8.
 */
#ifndef VTPM_HV_CHAN_ABI_H
#define VTPM_HV_CHAN_ABI_H

#define CHAN_PAGE_SIZE	    4096u
#define CHAN_OFF_LENGTH	    0u
#define CHAN_OFF_STATE	    4u
#define CHAN_OFF_LOCALITY   5u
#define CHAN_OFF_PAD	    6u
#define CHAN_OFF_NR_EXTRA   7u
#define CHAN_HEADER_SIZE    8u
#define CHAN_EXTRA_REF_SIZE 4u
#define CHAN_PACKET_MAX	    (CHAN_PAGE_SIZE - CHAN_HEADER_SIZE) /* 4088 */

/* Who writes what: the front end SUBMIT and CANCEL, the back end IDLE and FINISH. */
#define CHAN_STATE_IDLE	  0u
#define CHAN_STATE_SUBMIT 1u
#define CHAN_STATE_FINISH 2u
#define CHAN_STATE_CANCEL 3u

#endif
