/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/ipc.h"
#include "lib/util.h"
#include "tests/unit/lingering.h"

#define SAMPLE "00112233-4455-6677-8899-aabbccddeeff"

static void uuids_go_there_and_back(void **state)
{
	uint8_t uuid[UUID_LEN];
	uint8_t again[UUID_LEN];
	char text[UUID_STR_LEN + 1];

	(void)state;
	assert_int_equal(uuid_parse(SAMPLE, uuid), 0);
	for (unsigned i = 0; i < UUID_LEN; i++)
		assert_int_equal(uuid[i], i * 0x11);
	uuid_format(uuid, text);
	assert_string_equal(text, SAMPLE);
	assert_int_equal(uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", again), 0);
	assert_memory_equal(uuid, again, UUID_LEN);
}

static void bad_uuids_are_refused_and_change_nothing(void **state)
{
	static const char *const bad[] = {
		"", "0", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
		"00112233445566778899aabbccddeeff", "{0112233-4455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeefg", "0011223-34455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeeff ", " 0112233-4455-6677-8899-aabbccddeeff",
		"00112233_4455-6677-8899-aabbccddeeff", "0x112233-4455-6677-8899-aabbccddeeff",
	};
	uint8_t uuid[UUID_LEN];
	uint8_t before[UUID_LEN];

	(void)state;
	memset(uuid, 0x5a, sizeof(uuid));
	memcpy(before, uuid, sizeof(uuid));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(uuid_parse(bad[i], uuid), ERR_INVAL);
		assert_memory_equal(uuid, before, UUID_LEN);
	}
}

static void random_uuids_are_version_4(void **state)
{
	uint8_t a[UUID_LEN], b[UUID_LEN];

	(void)state;
	for (int i = 0; i < 64; i++) {
		assert_int_equal(uuid_random(a), 0);
		assert_int_equal(a[6] >> 4, 4);
		assert_int_equal(a[8] >> 6, 2);
	}
	assert_int_equal(uuid_random(b), 0);
	assert_memory_not_equal(a, b, UUID_LEN);
}

static void hex_keeps_its_bounds(void **state)
{
	static const uint8_t in[] = { 0x00, 0x9f, 0xff };
	uint8_t out[4] = { 1, 1, 1, 0x77 };
	char text[7];

	(void)state;
	assert_int_equal(hex_encode(in, 3, text, 6), ERR_RANGE);
	assert_int_equal(hex_encode(in, 3, text, 0), ERR_RANGE);
	assert_int_equal(hex_encode(in, SIZE_MAX, text, 7), ERR_RANGE);
	assert_int_equal(hex_encode(in, SIZE_MAX / 2 + 1, text, 7), ERR_RANGE);
	assert_int_equal(hex_encode(in, 3, text, 7), 0);
	assert_string_equal(text, "009fff");
	assert_int_equal(hex_encode(in, 0, text, 1), 0);
	assert_string_equal(text, "");
	assert_int_equal(hex_decode("009FfF", out, 3), 0);
	assert_memory_equal(out, in, 3);
	assert_int_equal(out[3], 0x77);
	assert_int_equal(hex_decode("009fff", out, 2), ERR_INVAL);
	assert_int_equal(hex_decode("009fff", out, 4), ERR_INVAL);
	assert_int_equal(hex_decode("009ff", out, 3), ERR_INVAL);
	assert_int_equal(hex_decode("00 fff", out, 3), ERR_INVAL);
	assert_int_equal(hex_decode("", out, SIZE_MAX / 2 + 1), ERR_INVAL);
	assert_int_equal(hex_decode("", out, 0), 0);
}

static void hostile_names_are_refused(void **state)
{
	static const char *const good[] = { "a", "web1", "A.b_c-9", "_", "0" };
	static const char *const bad[] = { "",	".",	"..",	".a",  "-a",	"--help", "a/b", "/",	   "a b",
					   "a\n", "a\x1b", "a\x7f", "\xc3\xa4", "a%s\t", "a;b",	  "a'b", "a\\b", "a:b" };
	char name[NAME_MAX_LEN + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(name_valid(bad[i]));
	memset(name, 'n', sizeof(name));
	name[NAME_MAX_LEN] = '\0';
	assert_true(name_valid(name));
	name[NAME_MAX_LEN] = 'n';
	name[NAME_MAX_LEN + 1] = '\0';
	assert_false(name_valid(name));
}

static void numbers_are_parsed_strictly(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x1", "1e3", "1.0", "a", "1\n" };
	uint64_t v = 42;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_u64(bad[i], UINT64_MAX, &v), ERR_INVAL);
	assert_int_equal(parse_u64("18446744073709551616", UINT64_MAX, &v), ERR_RANGE);
	assert_int_equal(parse_u64("99999999999999999999999", UINT64_MAX, &v), ERR_RANGE);
	assert_int_equal(parse_u64("101", 100, &v), ERR_RANGE);
	assert_true(v == 42);
	assert_int_equal(parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(parse_u64("100", 100, &v), 0);
	assert_true(v == 100);
	assert_int_equal(parse_u64("0", 0, &v), 0);
	assert_true(v == 0);
}

static void fd_close_forgets_and_keeps_errno(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int copy = fd;

	(void)state;
	assert_true(fd >= 0);
	errno = ENOLCK;
	fd_close(&fd);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, ENOLCK);
	assert_int_equal(fcntl(copy, F_GETFD), -1);
	errno = ENOLCK;
	fd_close(&fd);
	assert_int_equal(errno, ENOLCK);
}

static void random_bytes_fill_all(void **state)
{
	uint8_t big[1024];
	uint8_t acc[32] = { 0 };

	(void)state;
	memset(big, 0, sizeof(big));
	for (int i = 0; i < 32; i++) {
		assert_int_equal(random_bytes(big, sizeof(big)), 0);
		for (size_t j = 0; j < sizeof(acc); j++)
			acc[j] = (uint8_t)(acc[j] | big[sizeof(big) - 1 - j]);
	}
	for (size_t j = 0; j < sizeof(acc); j++)
		assert_int_not_equal(acc[j], 0);
	assert_int_equal(random_bytes(NULL, 0), 0);
}

/* Behind the others, for what is prepared stays. */
static void fd_close_does_not_linger(void **state)
{
	struct timespec begun, now;
	int fd, peer;

	(void)state;
	fd_hurry_begin(); /* nothing yet */
	fd_hurry_end();
	assert_int_equal(fd_hurry_prepare(), 0);
	fd = lingering(&peer);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	fd_close(&fd);
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_int_equal(fd, -1);
	assert_true(now.tv_sec - begun.tv_sec < 500); /* neither a busy host's doing nor a thousand seconds */
	close(peer);
}

/* After the one above, which prepares it. What comes without descriptors is taken as it is; a socket that nobody wants is let go of. */
static void receiving_does_not_linger(void **state)
{
	struct timespec begun, now;
	struct ipc_msg m;
	uint8_t mem[8];
	int sv[2], fd, peer;

	(void)state;
	assert_int_equal(ipc_pair(sv), 0);
	assert_int_equal(ipc_recv_bare(sv[0], &m, mem, sizeof(mem), MSG_DONTWAIT), ERR_AGAIN);
	assert_int_equal(ipc_send(sv[1], 7, NULL, NULL, 0), 0);
	fd = lingering(&peer);
	assert_int_equal(ipc_send(sv[1], 8, NULL, &fd, 1), 0);
	close(fd);
	assert_int_equal(ipc_recv_bare(sv[0], &m, mem, sizeof(mem), MSG_DONTWAIT), 0);
	assert_int_equal(m.type, 7);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	assert_int_equal(ipc_recv_bare(sv[0], &m, mem, sizeof(mem), MSG_DONTWAIT), ERR_PROTO);
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_true(now.tv_sec - begun.tv_sec < 500);
	close(peer);
	fd_close(&sv[0]);
	fd_close(&sv[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uuids_go_there_and_back),
		cmocka_unit_test(bad_uuids_are_refused_and_change_nothing),
		cmocka_unit_test(random_uuids_are_version_4),
		cmocka_unit_test(hex_keeps_its_bounds),
		cmocka_unit_test(hostile_names_are_refused),
		cmocka_unit_test(numbers_are_parsed_strictly),
		cmocka_unit_test(fd_close_forgets_and_keeps_errno),
		cmocka_unit_test(random_bytes_fill_all),
		cmocka_unit_test(fd_close_does_not_linger),
		cmocka_unit_test(receiving_does_not_linger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
