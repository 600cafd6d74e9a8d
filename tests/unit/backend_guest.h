/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of the rig: one rig with two manufactured vTPMs, one command at a time, built in `cmd`
 * and answered in `rsp`. A test program runs its tests twice, with forked and with executed backends;
 * *state is a bool, true for the latter.
 */
#ifndef VTPM_TESTS_BACKEND_GUEST_H
#define VTPM_TESTS_BACKEND_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/backend_rig.h"
#include "vtpm-backend/tpmcmd.h"

#define SLOT(index) (0x01500000u + (index)) /* NV indices that the tests define */

extern struct rig rig;
extern struct rig_disk disk, other;
extern uint8_t rsp[CHAN_PACKET_MAX];
extern size_t rsp_len;
extern struct buf cmd;

int guest_test_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n);
/* Sends cmd, as often as the TPM asks for it; returns the response code. */
uint32_t guest_run(struct rig_backend *b);
/* Powers the vTPM of `disk` on and off. */
void guest_power_on(struct rig_backend *b);
void guest_power_off(struct rig_backend *b);
/* An NV index of the owner, auth "pin", with dictionary-attack protection. */
void guest_build_define(struct buf *c, uint32_t index, uint16_t size);
/* An NV command with a password; data is NULL for those that have none. */
void guest_build_nv(struct buf *c, uint32_t code, uint32_t auth, uint32_t index, const char *pin, const char *data);
void guest_build_write(struct buf *c, uint32_t index, const char *pin, const char *data);
/* CreatePrimary of an RSA-2048 key, another each time. */
void guest_build_rsa(struct buf *c);
void guest_build_capability(struct buf *c, uint32_t capability, uint32_t property, uint32_t count);
/* A TPM_PT. */
uint32_t guest_property(struct rig_backend *b, uint32_t which);
uint32_t guest_lockout_counter(struct rig_backend *b);
void guest_undefine(struct rig_backend *b, uint32_t index);

#endif
