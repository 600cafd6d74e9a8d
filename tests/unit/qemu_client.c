/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/qemu_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include "vtpm-backend/tpm.h"

void client_connect(struct rig_backend *b, struct rig_disk *d)
{
	rig_spawn_serving(&rig, b, d, SERVE_QEMU, RUN_SERVE);
	rig_ready(b);
}

void client_connect_standby(struct rig_backend *b, struct rig_disk *d)
{
	rig_spawn_standby(&rig, b, d);
	rig_ready(b);
}

void client_send(struct rig_backend *b, const void *p, size_t n, int fd)
{
	union {
		struct cmsghdr align;
		uint8_t mem[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fd)) };
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(b->qemu, &msg, MSG_NOSIGNAL), n);
}

void client_receive(struct rig_backend *b, void *p, size_t n)
{
	uint8_t *at = p;
	ssize_t got;

	while (n > 0) {
		assert_true(rig_wait(b, b->qemu));
		got = read(b->qemu, at, n);
		assert_true(got > 0);
		at += got;
		n -= (size_t)got;
	}
}

static uint32_t receive_u32(struct rig_backend *b)
{
	uint8_t mem[4];
	uint32_t v;
	struct buf r;

	client_receive(b, mem, sizeof(mem));
	buf_wrap(&r, mem, sizeof(mem));
	assert_int_equal(buf_get_u32be(&r, &v), 0);
	return v;
}

uint32_t client_raw(struct rig_backend *b, const void *p, size_t n)
{
	client_send(b, p, n, -1);
	return receive_u32(b);
}

static void send_words(struct rig_backend *b, const uint32_t *words, unsigned n)
{
	uint8_t mem[32];
	struct buf m;

	buf_init(&m, mem, sizeof(mem));
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(buf_put_u32be(&m, words[i]), 0);
	client_send(b, mem, m.len, -1);
}

uint32_t client_command(struct rig_backend *b, uint32_t command)
{
	send_words(b, &command, 1);
	return receive_u32(b);
}

uint32_t client_command_u32(struct rig_backend *b, uint32_t command, uint32_t value)
{
	send_words(b, (const uint32_t[]){ command, value }, 2);
	return receive_u32(b);
}

/* As QEMU sends it: padded to a word. */
uint32_t client_command_u8(struct rig_backend *b, uint32_t command, uint8_t value)
{
	return client_command_u32(b, command, (uint32_t)value << 24);
}

uint32_t client_set_datafd(struct rig_backend *b)
{
	static const uint8_t request[] = { 0, 0, 0, CMD_SET_DATAFD };
	uint32_t result;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	client_send(b, request, sizeof(request), sv[1]);
	close(sv[1]);
	result = receive_u32(b);
	if (result == 0)
		b->data = sv[0];
	else
		close(sv[0]);
	return result;
}

uint32_t client_buffer_size(struct rig_backend *b, uint32_t wanted)
{
	uint32_t size;

	assert_int_equal(client_command_u32(b, CMD_SET_BUFFERSIZE, wanted), 0);
	size = receive_u32(b);
	assert_in_range(receive_u32(b), 1024, size);
	assert_int_equal(receive_u32(b), CHAN_PACKET_MAX);
	return size;
}

bool client_established(struct rig_backend *b)
{
	assert_int_equal(client_command(b, CMD_GET_TPMESTABLISHED), 0);
	return receive_u32(b) == 0x01000000;
}

uint32_t client_get_blob(struct rig_backend *b, uint32_t type, struct blob *blob)
{
	uint32_t result;

	send_words(b, (const uint32_t[]){ CMD_GET_STATEBLOB, BLOB_FLAG_DECRYPTED, type, 0 }, 4);
	result = receive_u32(b);
	assert_int_equal(receive_u32(b), 0);
	blob->len = receive_u32(b);
	assert_int_equal(receive_u32(b), blob->len);
	assert_true(blob->len <= sizeof(blob->data));
	client_receive(b, blob->data, blob->len);
	return result;
}

/* As QEMU does: head and body apart. */
uint32_t client_set_blob(struct rig_backend *b, uint32_t type, const uint8_t *data, size_t n)
{
	send_words(b, (const uint32_t[]){ CMD_SET_STATEBLOB, 0, type, (uint32_t)n }, 4);
	client_send(b, data, n, -1);
	return receive_u32(b);
}

void client_power_on(struct rig_backend *b, struct rig_disk *d)
{
	client_connect(b, d);
	assert_int_equal(client_set_datafd(b), 0);
	assert_int_equal(client_command(b, CMD_STOP), 0);
	assert_int_equal(client_buffer_size(b, 0xf80), 0xf80);
	assert_int_equal(client_command_u32(b, CMD_INIT, 0), 0);
	assert_int_equal(client_command_u8(b, CMD_SET_LOCALITY, 0), 0);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(b), 0);
}

uint32_t client_hang_up(struct rig_backend *b)
{
	uint32_t status;

	close(b->data);
	close(b->qemu);
	b->data = b->qemu = -1;
	status = rig_exited(b);
	rig_forget(b);
	return status;
}

uint32_t client_answer(struct rig_backend *b)
{
	uint32_t rc;
	struct buf r;

	rsp_len = rig_receive(b, rsp);
	buf_wrap(&r, rsp, rsp_len);
	assert_int_equal(buf_skip(&r, 6) | buf_get_u32be(&r, &rc), 0);
	return rc;
}

uint32_t client_get_random(struct rig_backend *b)
{
	assert_int_equal(tpmcmd_get_random(&cmd, 8), 0);
	return guest_run(b);
}

void client_extend_pcr16(struct rig_backend *b)
{
	static const uint8_t extend[] = { 0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, 16, 0, 0, 0, 9, 0x40, 0, 0, 9,
					  0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xb, 0x77 };

	buf_reset(&cmd);
	assert_int_equal(buf_put_bytes(&cmd, extend, sizeof(extend)), 0);
	while (cmd.len < 65)
		assert_int_equal(buf_put_u8(&cmd, 0), 0);
	assert_int_equal(guest_run(b), 0);
}

bool client_pcr16_is_zero(struct rig_backend *b)
{
	static const uint8_t read[] = { 0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0, 0, 1 };
	static const uint8_t zero[32];

	buf_reset(&cmd);
	assert_int_equal(buf_put_bytes(&cmd, read, sizeof(read)), 0);
	assert_int_equal(guest_run(b), 0);
	assert_int_equal(rsp_len, 62);
	return memcmp(rsp + 30, zero, sizeof(zero)) == 0;
}
