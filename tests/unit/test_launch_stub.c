/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpm-launch stub without a domain: what it measures, and a TPM that says anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hv/launch/launch.h"
#include "hv/launch/pcr.h"
#include "lib/util.h"

#define NAME "\"c_info\": {\"type\": \"pv\", \"name\": \"vtpmmgr\"}"

struct answer {
	size_t len;
	uint8_t bytes[96];
};

/* TPM2_PCR_Read's answer for PCR 15: all bytes 0x11. */
static struct answer read_answer(void)
{
	struct answer a = {.len = 62, .bytes = {0x80, 0x01, 0, 0, 0, 62, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0x80, 0, 0, 0, 0, 1, 0, 32}};

	memset(a.bytes + 30, 0x11, PCR_SIZE);
	return a;
}

/* Gives the answer beforehand, and takes the command afterwards. */
static int read_with(const struct answer *a, uint8_t value[static PCR_SIZE])
{
	const uint8_t want[] = {0x80, 0x01, 0, 0, 0, 20, 0, 0, 0x01, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0x80, 0};
	uint8_t command[256];
	int fds[2], err;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	assert_int_equal(send(fds[1], a->bytes, a->len, 0), (ssize_t)a->len);
	err = pcr_read(fds[0], 15, value);
	assert_int_equal(recv(fds[1], command, sizeof(command), 0), sizeof(want));
	assert_memory_equal(command, want, sizeof(want));
	close(fds[0]);
	close(fds[1]);
	return err;
}

static void a_pcr_is_read(void **state)
{
	struct answer a = read_answer();
	uint8_t value[PCR_SIZE];

	(void)state;
	assert_int_equal(read_with(&a, value), 0);
	assert_memory_equal(value, a.bytes + 30, PCR_SIZE);
}

static void an_answer_that_makes_no_sense_is_no_pcr(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		int err;
	} lies[] = {
		{0, 0x81, ERR_PROTO},  {1, 0x02, ERR_PROTO}, {5, 61, ERR_PROTO},   {5, 63, ERR_PROTO},	 {2, 1, ERR_PROTO},   {9, 1, ERR_TPM},
		{17, 2, ERR_PROTO},    {17, 0, ERR_PROTO},   {19, 0x0c, ERR_PROTO}, {20, 255, ERR_PROTO}, {20, 4, ERR_PROTO}, {27, 2, ERR_PROTO},
		{27, 0, ERR_NOTFOUND}, {29, 31, ERR_PROTO},  {29, 33, ERR_PROTO},  {28, 1, ERR_PROTO},	 {24, 0xff, ERR_PROTO},
	};
	uint8_t value[PCR_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		struct answer a = read_answer();

		a.bytes[lies[i].at] = lies[i].byte;
		assert_int_equal(read_with(&a, value), lies[i].err);
	}
	for (size_t len = 1; len < 62; len++) {
		struct answer a = read_answer();

		a.len = len;
		assert_int_not_equal(read_with(&a, value), 0);
		a.bytes[5] = (uint8_t)len; /* and says so itself */
		assert_int_not_equal(read_with(&a, value), 0);
	}
}

static void a_pcr_is_extended(void **state)
{
	static const uint8_t good[] = {0x80, 0x02, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0};
	static const uint8_t bad[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x07};
	const uint8_t head[] = {0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82, 0, 0, 0, 15, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x0b};
	uint8_t digest[PCR_SIZE], command[256];
	int fds[2];

	(void)state;
	memset(digest, 0x22, sizeof(digest));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	assert_int_equal(send(fds[1], good, sizeof(good), 0), sizeof(good));
	assert_int_equal(pcr_extend(fds[0], 15, digest), 0);
	assert_int_equal(recv(fds[1], command, sizeof(command), 0), sizeof(head) + PCR_SIZE);
	assert_memory_equal(command, head, sizeof(head));
	assert_memory_equal(command + sizeof(head), digest, PCR_SIZE);
	assert_int_equal(send(fds[1], bad, sizeof(bad), 0), sizeof(bad));
	assert_int_equal(pcr_extend(fds[0], 15, digest), ERR_TPM);
	close(fds[1]);
	assert_int_equal(pcr_extend(fds[0], 15, digest), ERR_TPM_LOST);
	close(fds[0]);
}

static void a_stub_domain_has_the_tpm_and_no_vtpm(void **state)
{
	struct ctl_error e = {0};
	struct xl_config c;

	(void)state;
	assert_int_equal(xl_config_parse(&c, "{" NAME ", \"b_info\": {\"kernel\": \"/k\", \"iomem\": [{\"start\": 1043776, \"number\": 5}]}}", true, &e), 0);
	assert_null(c.uuid);
	xl_config_free(&c);
	assert_int_equal(xl_config_parse(&c, "{" NAME ", \"b_info\": {\"kernel\": \"/k\"}}", true, &e), ERR_INVAL);
	assert_int_equal(xl_config_parse(&c, "{" NAME ", \"b_info\": {\"kernel\": \"/k\", \"iomem\": {}}}", true, &e), ERR_INVAL);
}

static void the_start_that_makes_a_store_is_measured_as_the_next_one(void **state)
{
	static const char *const lines[][2] = {
		{"", ""},
		{"a", "a"},
		{" a  b ", "a b"},
		{"a vtpm.arg=x b", "a vtpm.arg=x b"},
		{"a vtpm.init b", "a b"},
		{"vtpm.init", ""},
		{"a vtpm.arg=x vtpm.init vtpm.arg=y b", "a b"},
		{"a vtpm.initx vtpm.arg=x", "a vtpm.initx vtpm.arg=x"},
		{"a xvtpm.init vtpm.arg=x", "a xvtpm.init vtpm.arg=x"},
		{"vtpm.init=1 vtpm.arg=x", "vtpm.init=1 vtpm.arg=x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		char *out;

		assert_int_equal(stub_command_line(lines[i][0], &out), 0);
		assert_string_equal(out, lines[i][1]);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pcr_is_read),
		cmocka_unit_test(an_answer_that_makes_no_sense_is_no_pcr),
		cmocka_unit_test(a_pcr_is_extended),
		cmocka_unit_test(the_start_that_makes_a_store_is_measured_as_the_next_one),
		cmocka_unit_test(a_stub_domain_has_the_tpm_and_no_vtpm),
	};

	signal(SIGPIPE, SIG_IGN); /* of the TPM that is gone */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
