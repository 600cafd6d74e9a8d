/* SPDX-License-Identifier: BSD-2-Clause */
/* The manager's command line. */
#ifndef VTPM_MGR_OPTIONS_H
#define VTPM_MGR_OPTIONS_H

#include "vtpm-mgr/mgr.h"

/* Fills cfg from the command line and the defaults; prints and exits for --help, --version and errors of usage (2). */
void options_parse(int argc, char **argv, struct config *cfg);

#endif
