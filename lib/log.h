/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: one line a call, to standard error, as "<N>ident: text" for systemd (N is the
 * syslog priority) if JOURNAL_STREAM is set, as "ident: text" otherwise. Bytes that are not
 * printable ASCII are escaped, so that no peer can forge a line. Never log a secret.
 */
#ifndef VTPM_LIB_LOG_H
#define VTPM_LIB_LOG_H

/* ident must be a string literal. verbose: also log_debug. */
void log_open(const char *ident, int verbose);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
