/* SPDX-License-Identifier: BSD-2-Clause */
/* A swtpm in a directory of its own: its state in state, its sockets tpm and tpm.ctrl. What goes wrong fails the test. */
#ifndef VTPM_TEST_SOFTWARE_TPM_H
#define VTPM_TEST_SOFTWARE_TPM_H

#include <sys/types.h>

/* A command of the shell, which must succeed. */
__attribute__((format(printf, 1, 2))) void shell(const char *fmt, ...);
/* Returns its pid when its sockets are there. A state that is there is gone on with. */
pid_t software_tpm_start(const char *dir);
/* A power cut; returns when it has gone. */
void software_tpm_kill(const char *dir, pid_t pid);

#endif
