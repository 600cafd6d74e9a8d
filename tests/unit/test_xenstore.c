/* SPDX-License-Identifier: BSD-2-Clause */
/* The client of xenstore on a socket whose other end is the test: the wire format, and what is no such thing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <xen/io/xs_wire.h>

#include "hv/xen/xenstore_wait.h"
#include "lib/util.h"

struct scene {
	struct loop loop;
	struct loop_timer bound;
	struct xenstore *x;
	int peer;
	int lost, fired, ended;
	int err;
	char value[XENSTORE_LIST_MAX + 1], path[64], token[64];
	size_t len;
	int wait; /* how many of all of these to wait for */
};

static void happened(struct scene *s)
{
	if (s->lost + s->fired + s->ended >= s->wait)
		loop_stop(&s->loop);
}

static void on_fired(void *arg, const char *path, const char *token)
{
	struct scene *s = arg;

	s->fired++;
	(void)snprintf(s->path, sizeof(s->path), "%s", path);
	(void)snprintf(s->token, sizeof(s->token), "%s", token);
	happened(s);
}

static void on_lost(void *arg)
{
	struct scene *s = arg;

	s->lost++;
	happened(s);
}

static void on_done(void *arg, int err, const char *value, size_t len)
{
	struct scene *s = arg;

	s->ended++;
	s->err = err;
	s->len = len;
	memcpy(s->value, value, len + 1);
	happened(s);
}

static void on_bound(void *arg)
{
	(void)arg;
	fail_msg("nothing happens");
}

static void on_turn(void *arg)
{
	loop_stop(arg);
}

/* One turn of the loop. */
static void turn(struct scene *s)
{
	s->loop.stop = false;
	loop_timer_set(&s->loop, &s->bound, 0, on_turn, &s->loop);
	assert_int_equal(loop_run(&s->loop), 0);
}

static void until(struct scene *s, int n)
{
	s->wait = n;
	if (s->lost + s->fired + s->ended >= n)
		return;
	loop_timer_set(&s->loop, &s->bound, 20000, on_bound, NULL);
	s->loop.stop = false;
	assert_int_equal(loop_run(&s->loop), 0);
	loop_timer_cancel(&s->loop, &s->bound);
}

static int begin(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	const struct xenstore_events events = { on_fired, on_lost, s };
	int sv[2];

	assert_int_equal(loop_open(&s->loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(xenstore_new(&s->x, &s->loop, sv[0], &events), 0);
	s->peer = sv[1];
	*state = s;
	return 0;
}

static int end(void **state)
{
	struct scene *s = *state;

	xenstore_free(s->x);
	if (s->peer >= 0)
		close(s->peer);
	loop_close(&s->loop);
	free(s);
	return 0;
}

/* The stand-in for xenstored: takes one request, which must be these bytes; returns its id. */
static uint32_t expect(struct scene *s, uint32_t type, const char *payload, size_t n)
{
	struct xsd_sockmsg head;
	char got[256];
	ssize_t have;

	do { /* it goes out as the loop turns */
		turn(s);
		have = recv(s->peer, &head, sizeof(head), MSG_DONTWAIT | MSG_PEEK);
	} while (have < 0);
	assert_int_equal(recv(s->peer, &head, sizeof(head), MSG_WAITALL), sizeof(head));
	assert_int_equal(head.type, type);
	assert_int_equal(head.tx_id, 0);
	assert_int_equal(head.len, n);
	assert_int_equal(recv(s->peer, got, n, MSG_WAITALL), n);
	assert_memory_equal(got, payload, n);
	return head.req_id;
}

static void reply_head(struct scene *s, uint32_t type, uint32_t id, uint32_t len)
{
	const struct xsd_sockmsg head = { .type = type, .req_id = id, .len = len };

	assert_int_equal(send(s->peer, &head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
}

static void reply(struct scene *s, uint32_t type, uint32_t id, const char *payload, size_t n)
{
	reply_head(s, type, id, (uint32_t)n);
	assert_int_equal(send(s->peer, payload, n, MSG_NOSIGNAL), n);
}

/* The kernel's device never says that it can be written to: poll(2) tells of what can be read, and that alone. */
static void a_request_goes_out_by_itself(void **state)
{
	struct scene *s = *state;
	char got[64];

	xenstore_read(s->x, "/a", on_done, s);
	assert_int_equal(recv(s->peer, got, sizeof(got), MSG_DONTWAIT), sizeof(struct xsd_sockmsg) + 3);
}

/* Whoever asks is not called back from there, and nothing is torn down under it. */
static void a_request_that_cannot_go_out(void **state)
{
	struct scene *s = *state;

	close(s->peer);
	s->peer = -1;
	xenstore_read(s->x, "/a", on_done, s);
	assert_int_equal(s->ended + s->lost, 0);
	until(s, 2);
	assert_int_equal(s->err, ERR_CLOSED);
	assert_int_equal(s->lost, 1);
}

/* --- for who waits: the answer of the stand-in is there before the question --- */

static int wait_begin(struct xenstore_wait *w, int *peer)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	*peer = sv[1];
	return xenstore_wait_new(w, sv[0]);
}

static void peer_says(int peer, uint32_t type, uint32_t id, const char *payload, uint32_t n)
{
	const struct xsd_sockmsg head = { .type = type, .req_id = id, .len = n };

	assert_int_equal(send(peer, &head, sizeof(head), 0), sizeof(head));
	assert_int_equal(send(peer, payload, n, 0), n);
}

static void who_waits_gets_the_answer(void **state)
{
	struct xenstore_wait w;
	char value[8];
	int peer;

	(void)state;
	assert_int_equal(wait_begin(&w, &peer), 0);
	peer_says(peer, XS_READ, 0, "text", 4);
	assert_int_equal(xenstore_wait_read(&w, "/a", 20000, value, sizeof(value)), 0);
	assert_string_equal(value, "text");
	peer_says(peer, XS_READ, 1, "12345678", 8);
	assert_int_equal(xenstore_wait_read(&w, "/a", 20000, value, sizeof(value)), ERR_RANGE);
	assert_string_equal(value, "");
	peer_says(peer, XS_READ, 2, "a\0b", 3);
	assert_int_equal(xenstore_wait_read(&w, "/a", 20000, value, sizeof(value)), ERR_PROTO);
	peer_says(peer, XS_ERROR, 3, "ENOENT", 7);
	assert_int_equal(xenstore_wait_read(&w, "/a", 20000, value, sizeof(value)), ERR_NOTFOUND);
	peer_says(peer, XS_WATCH_EVENT, 0, "/a\0changed", 11);
	peer_says(peer, XS_WATCH, 4, "OK", 3);
	assert_int_equal(xenstore_wait_watch(&w, "/a", 20000), 0);
	assert_int_equal(xenstore_wait_change(&w, 20000), 0);
	assert_int_equal(xenstore_wait_change(&w, 0), ERR_TIMEOUT);
	close(peer);
	xenstore_wait_close(&w);
}

/* An answer that comes too late is nobody's. */
static void who_has_waited_in_vain_asks_no_more(void **state)
{
	struct xenstore_wait w;
	char value[8];
	int peer;

	(void)state;
	assert_int_equal(wait_begin(&w, &peer), 0);
	assert_int_equal(xenstore_wait_read(&w, "/a", 0, value, sizeof(value)), ERR_TIMEOUT);
	peer_says(peer, XS_READ, 0, "late", 4);
	assert_int_equal(xenstore_wait_read(&w, "/b", 20000, value, sizeof(value)), ERR_CLOSED);
	close(peer);
	xenstore_wait_close(&w);
}

static void requests_as_the_wire_wants_them(void **state)
{
	struct scene *s = *state;
	uint32_t id;

	xenstore_read(s->x, "/a/b", on_done, s);
	xenstore_write(s->x, "/a", "value", on_done, s);
	xenstore_watch(s->x, "/a", "token", on_done, s);
	xenstore_list(s->x, "/a", on_done, s);
	xenstore_is_introduced(s->x, 17, on_done, s);
	xenstore_remove(s->x, "/a", on_done, s);
	xenstore_unwatch(s->x, "/a", "token");
	id = expect(s, XS_READ, "/a/b", 5);
	reply(s, XS_READ, id, "text", 4);
	until(s, 1);
	assert_int_equal(s->err, 0);
	assert_string_equal(s->value, "text");
	reply(s, XS_WRITE, expect(s, XS_WRITE, "/a\0value", 8), "OK", 3);
	reply(s, XS_WATCH, expect(s, XS_WATCH, "/a\0token", 9), "OK", 3);
	reply(s, XS_DIRECTORY, expect(s, XS_DIRECTORY, "/a", 3), "x\0y", 4);
	until(s, 4);
	assert_int_equal(s->len, 4);
	assert_memory_equal(s->value, "x\0y", 4);
	reply(s, XS_IS_DOMAIN_INTRODUCED, expect(s, XS_IS_DOMAIN_INTRODUCED, "17", 3), "T", 2);
	reply(s, XS_ERROR, expect(s, XS_RM, "/a", 3), "ENOENT", 7);
	until(s, 6);
	assert_int_equal(s->err, ERR_NOTFOUND);
	reply(s, XS_ERROR, expect(s, XS_UNWATCH, "/a\0token", 9), "ENOENT", 7);
	xenstore_write(s->x, "/a", "value", on_done, s);
	reply(s, XS_ERROR, expect(s, XS_WRITE, "/a\0value", 8), "EQUOTA", 7);
	until(s, 7);
	assert_int_equal(s->err, ERR_FULL);
	xenstore_list(s->x, "/a", on_done, s);
	reply(s, XS_ERROR, expect(s, XS_DIRECTORY, "/a", 3), "E2BIG", 6);
	until(s, 8);
	assert_int_equal(s->err, ERR_RANGE);
	assert_int_equal(s->lost, 0);
}

static void events_in_the_middle_of_a_request(void **state)
{
	struct scene *s = *state;
	uint32_t id;

	xenstore_read(s->x, "/a", on_done, s);
	id = expect(s, XS_READ, "/a", 3);
	reply(s, XS_WATCH_EVENT, 0, "/b\0t", 5);
	until(s, 1);
	assert_string_equal(s->path, "/b");
	assert_string_equal(s->token, "t");
	reply(s, XS_READ, id, "", 0);
	until(s, 2);
	assert_int_equal(s->err, 0);
	assert_int_equal(s->len, 0);
}

static void a_value_in_pieces(void **state)
{
	struct scene *s = *state;
	static char big[XENSTORE_VALUE_MAX];

	memset(big, 'v', sizeof(big));
	xenstore_read(s->x, "/a", on_done, s);
	reply_head(s, XS_READ, expect(s, XS_READ, "/a", 3), sizeof(big));
	for (size_t i = 0; i < sizeof(big); i += 512) {
		assert_int_equal(send(s->peer, big + i, 512, 0), 512);
		turn(s);
	}
	until(s, 1);
	assert_int_equal(s->len, sizeof(big));
	assert_memory_equal(s->value, big, sizeof(big));
}

/* From oxenstored, in dom0. After it messages are as long as ever. */
static void a_list_longer_than_a_message(void **state)
{
	struct scene *s = *state;
	static char big[XENSTORE_LIST_MAX];

	memset(big, 'n', sizeof(big) - 1);
	xenstore_list(s->x, "/a", on_done, s);
	reply_head(s, XS_DIRECTORY, expect(s, XS_DIRECTORY, "/a", 3), sizeof(big));
	for (size_t i = 0; i < sizeof(big); i += 4096) {
		assert_int_equal(send(s->peer, big + i, 4096, 0), 4096);
		turn(s);
	}
	until(s, 1);
	assert_int_equal(s->err, 0);
	assert_int_equal(s->len, sizeof(big));
	assert_memory_equal(s->value, big, sizeof(big));
	xenstore_read(s->x, "/a", on_done, s);
	reply(s, XS_READ, expect(s, XS_READ, "/a", 3), "text", 4);
	until(s, 2);
	assert_string_equal(s->value, "text");
	xenstore_read(s->x, "/a", on_done, s);
	reply_head(s, XS_READ, expect(s, XS_READ, "/a", 3), XENSTORE_VALUE_MAX + 1);
	until(s, 4);
	assert_int_equal(s->err, ERR_CLOSED);
	assert_int_equal(s->lost, 1);
}

static void whoever_forgets_is_not_called(void **state)
{
	struct scene *s = *state;
	struct scene other = { .wait = 1 };

	xenstore_read(s->x, "/a", on_done, &other);
	xenstore_read(s->x, "/b", on_done, s);
	xenstore_forget(s->x, &other);
	reply(s, XS_READ, expect(s, XS_READ, "/a", 3), "1", 1);
	reply(s, XS_READ, expect(s, XS_READ, "/b", 3), "2", 1);
	until(s, 1);
	assert_string_equal(s->value, "2");
	assert_int_equal(other.ended, 0);
}

/* Everything that waits ends, and what comes after ends at once. */
static void demand_lost(struct scene *s, int requests)
{
	until(s, requests + 1);
	assert_int_equal(s->lost, 1);
	assert_int_equal(s->ended, requests);
	assert_int_equal(s->err, ERR_CLOSED);
	xenstore_read(s->x, "/c", on_done, s);
	assert_int_equal(s->ended, requests + 1);
	assert_int_equal(s->err, ERR_CLOSED);
}

static void the_end_of_xenstored(void **state)
{
	struct scene *s = *state;

	xenstore_read(s->x, "/a", on_done, s);
	xenstore_read(s->x, "/b", on_done, s);
	(void)expect(s, XS_READ, "/a", 3);
	shutdown(s->peer, SHUT_RDWR);
	demand_lost(s, 2);
}

static void what_is_no_reply_ends_it(void **state)
{
	struct scene *s;
	uint32_t id;

	for (int i = 0; i < 8; i++) {
		if (i > 0) {
			end(state);
			begin(state);
		}
		s = *state;
		if (i == 7) {
			xenstore_list(s->x, "/a", on_done, s);
			reply_head(s, XS_DIRECTORY, expect(s, XS_DIRECTORY, "/a", 3), XENSTORE_LIST_MAX + 1);
			demand_lost(s, 1);
			break;
		}
		xenstore_read(s->x, "/a", on_done, s);
		id = expect(s, XS_READ, "/a", 3);
		switch (i) {
		case 0: reply_head(s, XS_READ, id, XENSTORE_PAYLOAD_MAX + 1); break;
		case 1: reply_head(s, XS_READ, id, UINT32_MAX); break;
		case 2: reply(s, XS_READ, id + 1, "x", 1); break;
		case 3: reply(s, XS_WRITE, id, "OK", 3); break;
		case 4: reply(s, XS_WATCH_EVENT, 0, "no token", 9); break;
		case 5: reply(s, XS_WATCH_EVENT, 0, "a\0no end", 8); break;
		case 6: reply(s, XS_WATCH_EVENT, 0, "", 0); break;
		}
		demand_lost(s, 1);
	}
}

static void a_reply_that_nobody_asked_for(void **state)
{
	struct scene *s = *state;

	reply(s, XS_READ, 0, "x", 1);
	until(s, 1);
	assert_int_equal(s->lost, 1);
}

static void bounds(void **state)
{
	struct scene *s = *state;
	static char big[XENSTORE_VALUE_MAX + 1];

	memset(big, 'p', sizeof(big) - 1);
	xenstore_write(s->x, big, "", on_done, s);
	assert_int_equal(s->err, ERR_RANGE);
	xenstore_write(s->x, "/a", big, on_done, s);
	assert_int_equal(s->err, ERR_RANGE);
	xenstore_read(s->x, big, on_done, s);
	assert_int_equal(s->err, ERR_RANGE);
	assert_int_equal(s->ended, 3);
	for (unsigned i = 0; i < XENSTORE_QUEUE_MAX; i++)
		xenstore_read(s->x, "/a", on_done, s);
	assert_int_equal(s->ended, 3);
	xenstore_read(s->x, "/a", on_done, s);
	assert_int_equal(s->ended, 4);
	assert_int_equal(s->err, ERR_FULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_request_goes_out_by_itself, begin, end),
		cmocka_unit_test_setup_teardown(a_request_that_cannot_go_out, begin, end),
		cmocka_unit_test(who_waits_gets_the_answer),
		cmocka_unit_test(who_has_waited_in_vain_asks_no_more),
		cmocka_unit_test_setup_teardown(requests_as_the_wire_wants_them, begin, end),
		cmocka_unit_test_setup_teardown(events_in_the_middle_of_a_request, begin, end),
		cmocka_unit_test_setup_teardown(a_value_in_pieces, begin, end),
		cmocka_unit_test_setup_teardown(a_list_longer_than_a_message, begin, end),
		cmocka_unit_test_setup_teardown(whoever_forgets_is_not_called, begin, end),
		cmocka_unit_test_setup_teardown(the_end_of_xenstored, begin, end),
		cmocka_unit_test_setup_teardown(what_is_no_reply_ends_it, begin, end),
		cmocka_unit_test_setup_teardown(a_reply_that_nobody_asked_for, begin, end),
		cmocka_unit_test_setup_teardown(bounds, begin, end),
	};

	signal(SIGPIPE, SIG_IGN); /* as whoever speaks to xenstored does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
