/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's side of the comparison: whole commands over /dev/tpm0, timed where a guest's program stands. Linked
 * statically, for it runs in the lab's initramfs.
 * guest_bench prepare   defines the NV index
 * guest_bench run       prints "OPERATION NANOSECONDS" lines, the median of each operation's samples
 * guest_bench create    the same for RSA-2048 primary keys, the same ones each time: how long one takes is chance
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/tools/command.h"

#define DEVICE	  "/dev/tpm0"
#define QUOTE_KEY 0x81000012u /* made by the guest's scripts */
#define SAMPLES	  200u
#define QUOTES	  40u
#define CREATIONS 5u

struct operation {
	const char *name;
	unsigned samples;
	void (*build)(struct command *c, uint32_t n);
};

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static void build_random(struct command *c, uint32_t n)
{
	(void)n;
	command_get_random(c);
}

static void build_extend(struct command *c, uint32_t n)
{
	uint8_t digest[COMMAND_DIGEST] = { 0 };

	memcpy(digest, &n, sizeof(n));
	command_pcr_extend(c, digest);
}

/* Other bytes each time: writing what is there already changes nothing. */
static void build_write(struct command *c, uint32_t n)
{
	uint8_t data[COMMAND_NV_SIZE] = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	memcpy(data, &now, sizeof(now));
	memcpy(data + sizeof(now), &n, sizeof(n));
	command_nv_write(c, data);
}

/* TPM2_Quote (Part 3, 18.4): the key's own scheme, SHA-256 PCR 0 to 7, a nonce that changes. */
static void build_quote(struct command *c, uint32_t n)
{
	static const uint8_t password[] = { 0x40, 0, 0, 9, 0, 0, 0, 0, 0 };
	static const uint8_t select[] = { 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 0 };
	struct buf *b = &c->b;

	buf_init(b, c->mem, sizeof(c->mem));
	if (buf_put_u16be(b, 0x8002) || buf_put_u32be(b, 0) || buf_put_u32be(b, 0x158) || buf_put_u32be(b, QUOTE_KEY) ||
	    buf_put_u32be(b, sizeof(password)) || buf_put_bytes(b, password, sizeof(password)) ||
	    buf_put_2b(b, &n, sizeof(n)) || buf_put_u16be(b, 0x10) || buf_put_bytes(b, select, sizeof(select)) ||
	    buf_set_u32be(b, 2, (uint32_t)b->len))
		die("a command is too long");
}

static void build_create(struct command *c, uint32_t n)
{
	command_create_primary_rsa(c, n);
}

static const struct operation creation = { "create_primary_rsa", CREATIONS, build_create };
static const struct operation operations[] = {
	{ "get_random", SAMPLES, build_random },
	{ "pcr_extend", SAMPLES, build_extend },
	{ "nv_write", SAMPLES, build_write },
	{ "quote", QUOTES, build_quote },
};

/* handle, if not NULL: the first handle of the response. */
static uint32_t transact(int fd, const struct command *c, uint32_t *handle)
{
	uint8_t rsp[CHAN_PACKET_MAX];
	struct buf b;
	ssize_t n;

	if (write(fd, c->mem, c->b.len) != (ssize_t)c->b.len)
		die("cannot write to the TPM: %s", strerror(errno));
	n = read(fd, rsp, sizeof(rsp));
	if (n < 0)
		die("cannot read from the TPM: %s", strerror(errno));
	buf_wrap(&b, rsp, (size_t)n);
	if (handle != NULL && (buf_skip(&b, 10) || buf_get_u32be(&b, handle)))
		*handle = 0;
	return response_code(rsp, (size_t)n);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int earlier(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(int fd, const struct operation *op)
{
	uint64_t times[SAMPLES];
	struct command c;
	uint32_t handle;

	for (unsigned i = 0; i < op->samples; i++) {
		uint64_t start;
		uint32_t rc;

		op->build(&c, i);
		start = now_ns();
		rc = transact(fd, &c, &handle);
		times[i] = now_ns() - start;
		if (rc != RC_SUCCESS)
			die("%s: the TPM answers 0x%x", op->name, rc);
		if (op != &creation)
			continue;
		command_flush(&c, handle);
		if (transact(fd, &c, NULL) != RC_SUCCESS)
			die("%s: the key cannot be flushed", op->name);
	}
	qsort(times, op->samples, sizeof(times[0]), earlier);
	return times[op->samples / 2];
}

int main(int argc, char **argv)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", DEVICE, strerror(errno));
	if (argc == 2 && strcmp(argv[1], "prepare") == 0) {
		struct command c;

		command_nv_define(&c);
		if (transact(fd, &c, NULL) != RC_SUCCESS)
			die("the NV index cannot be defined");
	} else if (argc == 2 && strcmp(argv[1], "run") == 0) {
		for (size_t i = 0; i < ARRAY_LEN(operations); i++)
			printf("%s %llu\n", operations[i].name, (unsigned long long)median(fd, &operations[i]));
	} else if (argc == 2 && strcmp(argv[1], "create") == 0) {
		printf("%s %llu\n", creation.name, (unsigned long long)median(fd, &creation));
	} else {
		die("usage: guest_bench prepare|run|create");
	}
	fd_close(&fd);
	return 0;
}
