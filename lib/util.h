/* SPDX-License-Identifier: BSD-2-Clause */
/* Small things that several processes need: uuids, hex, names, descriptors, time. */
#ifndef VTPM_LIB_UTIL_H
#define VTPM_LIB_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define UUID_LEN 16u
#define UUID_STR_LEN 36u /* without the NUL */
#define NAME_MAX_LEN 64u /* a vTPM or group name, without the NUL */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* RFC 9562 text form, lower case on output, either case on input. Random ones are version 4. */
void uuid_format(const uint8_t uuid[static UUID_LEN], char out[static UUID_STR_LEN + 1]);
CHECKED int uuid_parse(const char *s, uint8_t uuid[static UUID_LEN]);
CHECKED int uuid_random(uint8_t uuid[static UUID_LEN]);

/* 2n lower-case digits and a NUL; cap must be at least 2n + 1 or ERR_RANGE. */
CHECKED int hex_encode(const void *p, size_t n, char *out, size_t cap);
/* Decodes exactly n bytes from 2n digits. */
CHECKED int hex_decode(const char *s, void *p, size_t n);

/* 1 to NAME_MAX_LEN of [A-Za-z0-9._-], not starting with '.' or '-': safe as a file name and on a terminal. */
bool name_valid(const char *s);

/* Fills p from getrandom(2), all of it or an error. */
CHECKED int random_bytes(void *p, size_t n);

/* Closes *fd unless it is -1, and makes it -1. errno is kept. */
void fd_close(int *fd);

/*
 * Whoever sends a socket with SO_LINGER and unsent data, and closes his own, leaves the waiting to the one who lets go of the
 * last of it: who closes the socket that it came over, or receives without taking it. For a process that serves many
 * and must not wait for one: once it has prepared this (one SIGALRM handler, one timer), neither fd_close nor what stands
 * between fd_hurry_begin and fd_hurry_end waits longer than half a millisecond; system calls there may fail with
 * EINTR. Without it they do nothing. Not for threads. A process that is forked has no such timer, and must forget it, or prepare one
 * of its own: what its parent has closed meanwhile is for it to close.
 */
CHECKED int fd_hurry_prepare(void);
void fd_hurry_forget(void);
bool fd_hurry_is_prepared(void);
void fd_hurry_begin(void);
void fd_hurry_end(void);

/* Unsigned decimal without sign, spaces or rest, at most max. */
CHECKED int parse_u64(const char *s, uint64_t max, uint64_t *out);

#endif
