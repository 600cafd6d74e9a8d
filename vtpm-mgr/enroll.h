/* SPDX-License-Identifier: BSD-2-Clause */
/* The identity of the host: methods about its TPM and its CA. */
#ifndef VTPM_MGR_ENROLL_H
#define VTPM_MGR_ENROLL_H

#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/enroll.h"

/* enroll_methods.c */
void method_enroll(void *arg, struct call *c, json_t *params);
void method_enroll_activate(void *arg, struct call *c, json_t *params);
void method_ca(void *arg, struct call *c, json_t *params);

/* crl_methods.c */
void method_crl(void *arg, struct call *c, json_t *params);
void crl_forget(struct mgr *m);

/* enroll_record.c: done is called once, possibly before this returns; record is an encoded struct enrolment. c: for the audit log, or NULL. */
typedef void enroll_done(void *arg, int code, const char *text, const uint8_t *record, size_t len);
void enroll_record(struct mgr *m, const struct call *c, enroll_done *done, void *arg);

/* keeper_ca.c: sees to it that group "default" and the CA key are open; done is called once, possibly before this returns. */
void keeper_open_ca(struct mgr *m, void (*done)(void *arg, int code, const char *text), void *arg);

/* describe_ek.c */
extern const char *const ek_words[]; /* by enum ek_kind */
/* The attestation key, and whether the certificates are valid, into j. */
void describe_keys(struct mgr *m, const struct store_vtpm *row, json_t *j);
json_t *describe_time(int64_t seconds); /* RFC 3339 */
json_t *describe_spki(const uint8_t *pub, size_t len);
json_t *describe_key(const char *kind, const uint8_t *pub, size_t pub_len, const uint8_t *cert, size_t cert_len);

#endif
