/* SPDX-License-Identifier: BSD-2-Clause */
/* The keeper's connection to a software TPM, against a server that dawdles, dies or lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/keeper/stream.h"

#define RESPONSE_MAX 4096u
#define BLOCK	     TSS2_TCTI_TIMEOUT_BLOCK

static const uint8_t command[12] = {0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 4};
static const uint8_t response[16] = {0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4};

/* Everything fits into the socket's buffers, so that the test plays the server's part as well. */
struct fixture {
	char dir[32], path[64];
	int listener, server;
	TSS2_TCTI_CONTEXT *ctx;
};

static void demand_open(struct fixture *f, const char *tcti)
{
	char why[128] = "";

	assert_true(stream_serves(tcti));
	assert_int_equal(stream_open(tcti, &f->ctx, why, sizeof(why)), 0);
	assert_non_null(f->ctx);
	assert_string_equal(why, "");
	f->server = accept(f->listener, NULL, NULL);
	assert_true(f->server >= 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char tcti[96];

	strcpy(f->dir, "/tmp/test_stream.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	/* A comma in a path is nothing special. */
	snprintf(f->path, sizeof(f->path), "%s/s,port=1", f->dir);
	strcpy(addr.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	snprintf(tcti, sizeof(tcti), "swtpm:path=%s", f->path);
	demand_open(f, tcti);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stream_close(&f->ctx);
	assert_null(f->ctx);
	stream_close(&f->ctx);
	fd_close(&f->server);
	fd_close(&f->listener);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void transmit(struct fixture *f)
{
	uint8_t got[sizeof(command)];

	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_RC_SUCCESS);
	assert_int_equal(recv(f->server, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(got, command, sizeof(got));
}

static void serve(struct fixture *f, const void *p, size_t n)
{
	assert_int_equal(send(f->server, p, n, MSG_NOSIGNAL), n);
}

static TSS2_RC receive(struct fixture *f, int32_t timeout)
{
	uint8_t got[RESPONSE_MAX];
	size_t size = sizeof(got);
	TSS2_RC rc = Tss2_Tcti_Receive(f->ctx, &size, got, timeout);

	if (rc == TSS2_RC_SUCCESS) {
		assert_int_equal(size, sizeof(response));
		assert_memory_equal(got, response, size);
	}
	return rc;
}

/* After what it cannot make sense of, a connection is not used again, whatever comes over it. */
static void demand_broken(struct fixture *f)
{
	if (f->server >= 0)
		send(f->server, response, sizeof(response), MSG_NOSIGNAL);
	assert_int_equal(receive(f, 0), TSS2_TCTI_RC_IO_ERROR);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_TCTI_RC_IO_ERROR);
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 0), TSS2_TCTI_RC_IO_ERROR);
}

static void keeps_one_connection(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		transmit(f);
		serve(f, response, sizeof(response));
		assert_int_equal(receive(f, BLOCK), TSS2_RC_SUCCESS);
	}
}

static void joins_pieces(void **state)
{
	struct fixture *f = *state;

	transmit(f);
	assert_int_equal(receive(f, 0), TSS2_TCTI_RC_TRY_AGAIN);
	for (size_t i = 0; i < sizeof(response); i++) {
		assert_int_equal(receive(f, i % 2 ? 0 : 1), TSS2_TCTI_RC_TRY_AGAIN);
		serve(f, response + i, 1);
	}
	assert_int_equal(receive(f, 0), TSS2_RC_SUCCESS);
}

static void takes_the_longest(void **state)
{
	static const uint8_t header[10] = {0x80, 0x01, 0, 0, 0x10, 0};
	static uint8_t got[RESPONSE_MAX], rest[RESPONSE_MAX - sizeof(header)];
	struct fixture *f = *state;
	size_t size = sizeof(got);

	memset(rest, 0xa5, sizeof(rest));
	transmit(f);
	serve(f, header, sizeof(header));
	serve(f, rest, sizeof(rest));
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, got, BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(size, RESPONSE_MAX);
	assert_memory_equal(got, header, sizeof(header));
	assert_memory_equal(got + sizeof(header), rest, sizeof(rest));
}

static void tells_the_size(void **state)
{
	struct fixture *f = *state;
	uint8_t small[sizeof(response) - 1];
	size_t size = 0;

	transmit(f);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, NULL, 0), TSS2_TCTI_RC_TRY_AGAIN);
	assert_int_equal(size, 0);
	serve(f, response, sizeof(response));
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, NULL, BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(size, sizeof(response));
	size = sizeof(small);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, small, BLOCK), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
	assert_int_equal(size, sizeof(response));
	assert_int_equal(receive(f, BLOCK), TSS2_RC_SUCCESS);
}

static void refuses_lying_headers(void **state)
{
	static const uint32_t sizes[] = {0, 9, 5000, RESPONSE_MAX + 1, 0x80000010, UINT32_MAX};
	uint8_t lie[sizeof(response)];
	uint32_t be;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct fixture *f = *state;

		memcpy(lie, response, sizeof(lie));
		be = htonl(sizes[i]);
		memcpy(lie + 2, &be, sizeof(be));
		transmit(f);
		serve(f, lie, sizeof(lie));
		assert_int_equal(receive(f, BLOCK), TSS2_TCTI_RC_MALFORMED_RESPONSE);
		demand_broken(f);
		teardown(state);
		setup(state);
	}
}

static void refuses_bytes_behind_the_response(void **state)
{
	struct fixture *f = *state;
	uint8_t more[sizeof(response) + 1] = {0};

	memcpy(more, response, sizeof(response));
	transmit(f);
	serve(f, more, sizeof(more));
	assert_int_equal(receive(f, BLOCK), TSS2_TCTI_RC_MALFORMED_RESPONSE);
	demand_broken(f);
}

static void notices_the_end(void **state)
{
	static const size_t before[] = {0, 1, 9, 10, sizeof(response) - 1};

	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		struct fixture *f = *state;

		transmit(f);
		if (before[i])
			serve(f, response, before[i]);
		fd_close(&f->server);
		assert_int_equal(receive(f, BLOCK), TSS2_TCTI_RC_IO_ERROR);
		demand_broken(f);
		teardown(state);
		setup(state);
	}
}

/* The response came before the end; the next command finds nobody, and no SIGPIPE. */
static void survives_a_closed_peer(void **state)
{
	struct fixture *f = *state;

	transmit(f);
	serve(f, response, sizeof(response));
	fd_close(&f->server);
	assert_int_equal(receive(f, BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_TCTI_RC_IO_ERROR);
	demand_broken(f);
}

static void holds_to_the_sequence(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(receive(f, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
	transmit(f);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), command), TSS2_TCTI_RC_BAD_SEQUENCE);
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
	serve(f, response, sizeof(response));
	assert_int_equal(receive(f, BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(receive(f, 0), TSS2_TCTI_RC_BAD_SEQUENCE);
	Tss2_Tcti_Finalize(f->ctx);
	demand_broken(f);
}

static void refuses_bad_arguments(void **state)
{
	static const uint8_t big[RESPONSE_MAX + 1] = {0x80, 0x01, 0, 0, 0x10, 0x01};
	struct fixture *f = *state;
	uint8_t got[sizeof(response)];
	size_t size = sizeof(got);

	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command), NULL), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, 0, command), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, 9, command), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(command) - 1, command), TSS2_TCTI_RC_BAD_VALUE);
	assert_int_equal(Tss2_Tcti_Transmit(f->ctx, sizeof(big), big), TSS2_TCTI_RC_BAD_VALUE);
	transmit(f);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, NULL, got, 0), TSS2_TCTI_RC_BAD_REFERENCE);
	assert_int_equal(Tss2_Tcti_Receive(f->ctx, &size, got, -2), TSS2_TCTI_RC_BAD_VALUE);
}

static void answers_the_rest_of_the_interface(void **state)
{
	struct fixture *f = *state;
	TSS2_TCTI_POLL_HANDLE h[2];
	TPM2_HANDLE handle = 0x80000000;
	size_t n = 0;

	assert_int_equal(TSS2_TCTI_VERSION(f->ctx), 2);
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, NULL, &n), TSS2_RC_SUCCESS);
	assert_int_equal(n, 1);
	n = 0;
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, h, &n), TSS2_TCTI_RC_INSUFFICIENT_BUFFER);
	n = ARRAY_LEN(h);
	assert_int_equal(Tss2_Tcti_GetPollHandles(f->ctx, h, &n), TSS2_RC_SUCCESS);
	assert_int_equal(n, 1);
	assert_int_equal(poll(h, 1, 0), 0);
	transmit(f);
	serve(f, response, sizeof(response));
	assert_int_equal(poll(h, 1, 0), 1);
	assert_int_equal(Tss2_Tcti_Cancel(f->ctx), TSS2_TCTI_RC_NOT_IMPLEMENTED);
	assert_int_equal(receive(f, BLOCK), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 0), TSS2_RC_SUCCESS);
	assert_int_equal(Tss2_Tcti_SetLocality(f->ctx, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
	assert_int_equal(Tss2_Tcti_MakeSticky(f->ctx, &handle, 1), TSS2_TCTI_RC_NOT_IMPLEMENTED);
}

static void speaks_over_tcp(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct fixture f = {.server = -1};
	socklen_t len = sizeof(addr);
	char tcti[3][64];

	(void)state;
	f.listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(f.listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(f.listener, 1), 0);
	assert_int_equal(getsockname(f.listener, (struct sockaddr *)&addr, &len), 0);
	snprintf(tcti[0], sizeof(tcti[0]), "swtpm:host=127.0.0.1,port=%u", ntohs(addr.sin_port));
	snprintf(tcti[1], sizeof(tcti[1]), "swtpm:port=%u,host=127.0.0.1", ntohs(addr.sin_port));
	snprintf(tcti[2], sizeof(tcti[2]), "swtpm:port=%u", ntohs(addr.sin_port));
	for (size_t i = 0; i < ARRAY_LEN(tcti); i++) {
		demand_open(&f, tcti[i]);
		transmit(&f);
		serve(&f, response, sizeof(response));
		assert_int_equal(receive(&f, BLOCK), TSS2_RC_SUCCESS);
		stream_close(&f.ctx);
		fd_close(&f.server);
	}
	fd_close(&f.listener);
}

static void knows_its_own(void **state)
{
	static const char *const others[] = {"",	   "swtp", "swtpms:", "device:/dev/tpmrm0", "mssim:port=2321",
					     "vtpm:name=a"};

	(void)state;
	assert_true(stream_serves("swtpm"));
	assert_true(stream_serves("swtpm:"));
	assert_true(stream_serves("swtpm:path=/x"));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(stream_serves(others[i]));
}

static void refuses_bad_strings(void **state)
{
	static const char *const bad[] = {
		"device:/dev/tpm0", "swtpm:path=",	"swtpm:host=",	  "swtpm:port=",	  "swtpm:port=0",
		"swtpm:port=65536", "swtpm:port=99999", "swtpm:port=-1",  "swtpm:port=1000000",	  "swtpm:/x",
		"swtpm:socket=/x",  "swtpm:,port=1",	"swtpm:port=1,,", "swtpm:port=1,path=/x",
	};
	char why[128], longer[160] = "swtpm:path=/";
	TSS2_TCTI_CONTEXT *ctx;

	(void)state;
	memset(longer + strlen(longer), 'x', sizeof(longer) - strlen(longer) - 1);
	assert_int_equal(stream_open(longer, &ctx, why, sizeof(why)), ERR_INVAL);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		why[0] = '\0';
		assert_int_equal(stream_open(bad[i], &ctx, why, sizeof(why)), ERR_INVAL);
		assert_null(ctx);
		assert_non_null(strstr(why, "expected"));
	}
	assert_int_equal(stream_open("swtpm:path=/nonexistent/s", &ctx, why, sizeof(why)), ERR_TPM_LOST);
	assert_null(ctx);
	assert_non_null(strstr(why, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_one_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(joins_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_the_longest, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_the_size, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_lying_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bytes_behind_the_response, setup, teardown),
		cmocka_unit_test_setup_teardown(notices_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(survives_a_closed_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(holds_to_the_sequence, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bad_arguments, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_the_rest_of_the_interface, setup, teardown),
		cmocka_unit_test(speaks_over_tcp),
		cmocka_unit_test(knows_its_own),
		cmocka_unit_test(refuses_bad_strings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
