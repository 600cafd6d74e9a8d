/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the manager under test did to its store's files, in order: written by shim.c, which stands between it (SQLite, too) and
 * the system; read by disk.c, which makes of it what a disk may hold after a power cut. Records of host byte order, one after another:
 *
 *	DISK_OPEN	file, a: 1 if it was made now; len bytes: its name
 *	DISK_WRITE	file, a: offset; len bytes
 *	DISK_ZERO	file, a: offset, b: how many zeros were written there
 *	DISK_SIZE	file, a: truncated, or extended with zeros, to this
 *	DISK_SYNC	file: everything of it until here is durable
 *	DISK_UNLINK	len bytes: a name
 *	DISK_DIRSYNC	every name until here is durable
 */
#ifndef TESTS_POWERCUT_DISK_H
#define TESTS_POWERCUT_DISK_H

#include <stdint.h>

enum disk_op { DISK_OPEN = 1, DISK_WRITE, DISK_ZERO, DISK_SIZE, DISK_SYNC, DISK_UNLINK, DISK_DIRSYNC, DISK_OPS };

struct disk_record {
	uint32_t op, file;
	uint64_t a, b;
	uint64_t len; /* of what follows */
};

#define DISK_SECTOR 512u
#define DISK_PREFIX "vtpm.db" /* the files that are looked at */

#endif
