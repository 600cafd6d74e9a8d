/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VTPM_TESTS_LINGERING_H
#define VTPM_TESTS_LINGERING_H

/* A TCP socket that is full, and waits for a thousand seconds when the last of it is let go of; *peer: its other end, which must stay. */
int lingering(int *peer);

#endif
