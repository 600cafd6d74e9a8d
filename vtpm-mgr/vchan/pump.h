/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes between a vchan and a socket, both ways, unread. */
#ifndef VTPM_VCHAN_PUMP_H
#define VTPM_VCHAN_PUMP_H

#include "hv/xen/vchan.h"

/*
 * Until either end has gone: ERR_CLOSED, and what the socket had said last is in the vchan if the other end was there to
 * take it. ERR_PROTO: the other domain makes no sense. Both stay the caller's.
 */
CHECKED int pump(struct vchan *v, int sock);

#endif
