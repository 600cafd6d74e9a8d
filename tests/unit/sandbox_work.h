/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process in a sandbox must still be able to do. */
#ifndef TESTS_SANDBOX_WORK_H
#define TESTS_SANDBOX_WORK_H

#include <unistd.h>

#include "lib/log.h"

/* A child has no test runner: it says where it failed and ends. */
#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			log_error("line %d: %s", __LINE__, #cond);                                                     \
			_exit(12);                                                                                     \
		}                                                                                                      \
	} while (0)

/* Before the filter: warms OpenSSL and opens what the work uses; dir is a directory to write in. */
void sandbox_work_prepare(const char *dir);
/* Backend and keeper, in any thread. */
void sandbox_work_common(void);
/* A backend that serves a guest of Xen, in any thread. */
void sandbox_work_xen(void);
/* The keeper's first thread. */
void sandbox_work_keeper(void);
void sandbox_work_manager(void);

#endif
