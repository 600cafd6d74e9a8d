/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two commands for the physical TPM of dom0 (TPM 2.0 Part 3, 22.2 and 22.4), over the kernel's device, which takes a command in one write and
 * gives its answer in one read. Without a session: who is on the bus can lie about both, and then the PCR is not what the seal
 * wants.
 */
#include "hv/launch/pcr.h"

#include <errno.h>
#include <unistd.h>

#include "lib/buf.h"

#define TAG_NO_SESSIONS 0x8001u
#define TAG_SESSIONS	0x8002u
#define CC_PCR_READ	0x17eu
#define CC_PCR_EXTEND	0x182u
#define RS_PW		0x40000009u
#define ALG_SHA256	0x000bu
#define SELECT_BYTES	3u
#define MESSAGE_MAX	4096u
#define SIZE_OFFSET	2u

/* The command, whose size is filled in, and the answer, which is left after its head. */
static int transmit(int fd, struct buf *command, struct buf *answer, uint8_t room[static MESSAGE_MAX], uint16_t tag)
{
	uint16_t got_tag;
	uint32_t size, rc;
	ssize_t n;
	int err = buf_set_u32be(command, SIZE_OFFSET, (uint32_t)command->len);

	if (err)
		return err;
	do {
		n = write(fd, command->data, command->len);
	} while (n < 0 && errno == EINTR);
	if (n < 0 || (size_t)n != command->len)
		return ERR_TPM_LOST;
	do {
		n = read(fd, room, MESSAGE_MAX);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return ERR_TPM_LOST;
	buf_wrap(answer, room, (size_t)n);
	if (buf_get_u16be(answer, &got_tag) || buf_get_u32be(answer, &size) || buf_get_u32be(answer, &rc) || size != (size_t)n)
		return ERR_PROTO;
	if (rc != 0)
		return ERR_TPM;
	return got_tag == tag ? 0 : ERR_PROTO;
}

int pcr_read(int fd, unsigned pcr, uint8_t value[static PCR_SIZE])
{
	uint8_t command[64], room[MESSAGE_MAX], select[SELECT_BYTES] = {0}, selected;
	uint32_t counter, n;
	uint16_t alg, len;
	struct buf c, a;
	int err;

	if (pcr >= 8 * SELECT_BYTES)
		return ERR_RANGE;
	select[pcr / 8] = (uint8_t)(1u << pcr % 8);
	buf_init(&c, command, sizeof(command));
	if (buf_put_u16be(&c, TAG_NO_SESSIONS) || buf_put_u32be(&c, 0) || buf_put_u32be(&c, CC_PCR_READ) || buf_put_u32be(&c, 1) ||
	    buf_put_u16be(&c, ALG_SHA256) || buf_put_u8(&c, SELECT_BYTES) || buf_put_bytes(&c, select, sizeof(select)))
		return ERR_RANGE;
	err = transmit(fd, &c, &a, room, TAG_NO_SESSIONS);
	if (err)
		return err;
	if (buf_get_u32be(&a, &counter) || buf_get_u32be(&a, &n) || n != 1 || buf_get_u16be(&a, &alg) || alg != ALG_SHA256 ||
	    buf_get_u8(&a, &selected) || buf_skip(&a, selected) || buf_get_u32be(&a, &n))
		return ERR_PROTO;
	if (n == 0)
		return ERR_NOTFOUND; /* the bank is not active */
	if (n != 1 || buf_get_u16be(&a, &len) || len != PCR_SIZE || buf_get_bytes(&a, value, PCR_SIZE) || buf_left(&a) != 0)
		return ERR_PROTO;
	return 0;
}

int pcr_extend(int fd, unsigned pcr, const uint8_t digest[static PCR_SIZE])
{
	uint8_t command[128], room[MESSAGE_MAX];
	struct buf c, a;

	buf_init(&c, command, sizeof(command));
	if (buf_put_u16be(&c, TAG_SESSIONS) || buf_put_u32be(&c, 0) || buf_put_u32be(&c, CC_PCR_EXTEND) || buf_put_u32be(&c, pcr))
		return ERR_RANGE;
	/* an empty password: size of what follows, handle, nonce, attributes, password */
	if (buf_put_u32be(&c, 9) || buf_put_u32be(&c, RS_PW) || buf_put_u16be(&c, 0) || buf_put_u8(&c, 0) || buf_put_u16be(&c, 0))
		return ERR_RANGE;
	if (buf_put_u32be(&c, 1) || buf_put_u16be(&c, ALG_SHA256) || buf_put_bytes(&c, digest, PCR_SIZE))
		return ERR_RANGE;
	return transmit(fd, &c, &a, room, TAG_SESSIONS);
}
