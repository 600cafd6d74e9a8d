/* SPDX-License-Identifier: BSD-2-Clause */
/* Plays QEMU: the control channel of a rig's backend. Every step that fails ends the test. */
#ifndef VTPM_TESTS_QEMU_CLIENT_H
#define VTPM_TESTS_QEMU_CLIENT_H

#include "tests/unit/backend_guest.h"
#include "vtpm-backend/qemu_proto.h"

#define BLOB_MAX (SEALED_STATE_MAX + 16u)

struct blob {
	uint8_t data[BLOB_MAX];
	size_t len;
};

/* A backend for a QEMU, ready and without a data channel. */
void client_connect(struct rig_backend *b, struct rig_disk *d);
/* One that waits for a TPM that another has. */
void client_connect_standby(struct rig_backend *b, struct rig_disk *d);
/* Sends n bytes as they are, with a descriptor unless it is -1. */
void client_send(struct rig_backend *b, const void *p, size_t n, int fd);
/* Receives exactly n bytes with the store at work. */
void client_receive(struct rig_backend *b, void *p, size_t n);
/* Sends n bytes and returns the result, which is all that comes back. */
uint32_t client_raw(struct rig_backend *b, const void *p, size_t n);
/* A command with nothing behind it, or with one number; the reply is a result. */
uint32_t client_command(struct rig_backend *b, uint32_t cmd);
uint32_t client_command_u32(struct rig_backend *b, uint32_t cmd, uint32_t value);
uint32_t client_command_u8(struct rig_backend *b, uint32_t cmd, uint8_t value);
/* SET_DATAFD; b->data is the other end. */
uint32_t client_set_datafd(struct rig_backend *b);
/* SET_BUFFERSIZE; the size in use. */
uint32_t client_buffer_size(struct rig_backend *b, uint32_t wanted);
bool client_established(struct rig_backend *b);
uint32_t client_get_blob(struct rig_backend *b, uint32_t type, struct blob *blob);
uint32_t client_set_blob(struct rig_backend *b, uint32_t type, const uint8_t *data, size_t n);
/* All that QEMU does until the guest runs. */
void client_power_on(struct rig_backend *b, struct rig_disk *d);
/* Commands of the guest: GetRandom, which changes nothing; PCR 16, which is lost at power-off. */
uint32_t client_get_random(struct rig_backend *b);
void client_extend_pcr16(struct rig_backend *b);
bool client_pcr16_is_zero(struct rig_backend *b);
/* Hangs up on both channels and waits for the end; the wait status. */
uint32_t client_hang_up(struct rig_backend *b);
/* The answer to what was written to the data channel: a code. */
uint32_t client_answer(struct rig_backend *b);

#endif
