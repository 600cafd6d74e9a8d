/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VTPM_LIB_VERSION_H
#define VTPM_LIB_VERSION_H

#ifndef VTPM_VERSION /* a test builds another one */
#define VTPM_VERSION "0.1.0"
#endif

#endif
