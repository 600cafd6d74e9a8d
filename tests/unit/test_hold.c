/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpm-hold without its main: what it keeps for whom, what ends a client that says something else, and when a generation has ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/hold/hold.h"

static unsigned killed; /* how often the manager was to be */

void hold_kill_manager(struct hold *h)
{
	(void)h;
	killed++;
}

struct rig {
	struct hold h;
	int c[OWNERS]; /* the clients' ends */
};

static void on_stop(void *arg)
{
	loop_stop(arg);
}

/* Handles what has come. */
static void turn(struct rig *r)
{
	struct loop_timer t = { 0 };

	loop_timer_set(&r->h.loop, &t, 5, on_stop, &r->h.loop);
	assert_int_equal(loop_run(&r->h.loop), 0);
}

static void next_generation(struct rig *r)
{
	r->h.generation++;
	r->h.fenced = r->h.fencing = false;
	assert_int_equal(clients_open(&r->h, r->c), 0);
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	killed = 0;
	for (unsigned i = 0; i < OWNERS; i++)
		r->h.clients[i] = (struct client){ .h = &r->h, .sock = -1, .io.fd = -1 };
	assert_int_equal(loop_open(&r->h.loop), 0);
	next_generation(r);
	*state = r;
	return 0;
}

static void hang_up(struct rig *r)
{
	for (unsigned i = 0; i < OWNERS; i++)
		fd_close(&r->c[i]);
}

static int teardown(void **state)
{
	struct rig *r = *state;

	clients_close(&r->h);
	hang_up(r);
	items_free(&r->h.items);
	loop_close(&r->h.loop);
	free(r);
	return 0;
}

static void say(int sock, uint32_t type, const void *body, size_t len, const int *fds, unsigned nfds)
{
	struct buf b;

	buf_wrap(&b, body, len);
	assert_int_equal(ipc_send(sock, type, &b, fds, nfds), 0);
}

static struct hold_item named(const char *tag, const char *blob)
{
	return (struct hold_item){
		.tag = (const uint8_t *)tag, .tag_len = strlen(tag), .blob = (const uint8_t *)blob, .blob_len = strlen(blob) };
}

static void keep(int sock, const char *tag, const char *blob, bool leash, const int *fds, unsigned nfds)
{
	struct hold_item i = named(tag, blob);
	uint8_t mem[HOLD_KEEP_MAX];
	struct buf b;

	i.leash = leash;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(hold_keep_encode(&b, &i), 0);
	say(sock, HOLD_KEEP, b.data, b.len, fds, nfds);
}

static void drop(int sock, const char *tag)
{
	struct hold_item i = named(tag, "");
	uint8_t mem[HOLD_DROP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(hold_drop_encode(&b, &i), 0);
	say(sock, HOLD_DROP, b.data, b.len, NULL, 0);
}

/* The next message of that type; its descriptors are the caller's. */
static void hear(struct rig *r, int sock, struct ipc_msg *m, uint8_t mem[static HOLD_ITEM_MAX], uint32_t type)
{
	int err;

	while ((err = ipc_recv(sock, m, mem, HOLD_ITEM_MAX, MSG_DONTWAIT)) == ERR_AGAIN)
		turn(r);
	assert_int_equal(err, 0);
	assert_int_equal(m->type, type);
}

static void hear_item(struct rig *r, int sock, const char *tag, const char *blob, int *fds, unsigned nfds)
{
	uint8_t mem[HOLD_ITEM_MAX];
	struct hold_item i;
	struct ipc_msg m;

	hear(r, sock, &m, mem, HOLD_ITEM);
	assert_int_equal(hold_item_decode(&m.body, &i), 0);
	assert_int_equal(buf_left(&m.body), 0);
	assert_int_equal(i.tag_len, strlen(tag));
	assert_memory_equal(i.tag, tag, i.tag_len);
	assert_int_equal(i.blob_len, strlen(blob));
	assert_memory_equal(i.blob, blob, i.blob_len);
	assert_int_equal(m.nfds, nfds);
	for (unsigned n = 0; n < nfds; n++)
		fds[n] = ipc_take_fd(&m, n);
}

static void hear_end(struct rig *r, int sock, uint32_t generation)
{
	uint8_t mem[HOLD_ITEM_MAX];
	struct ipc_msg m;
	uint32_t got;

	hear(r, sock, &m, mem, HOLD_END);
	assert_int_equal(hold_end_decode(&m.body, &got), 0);
	assert_int_equal(got, generation);
	assert_int_equal(m.nfds, 0);
}

/* Both have been told that there is nothing. */
static void begin(struct rig *r)
{
	hear_end(r, r->c[OWNER_MANAGER], r->h.generation);
	hear_end(r, r->c[OWNER_SPAWNER], r->h.generation);
}

static void end_generation(struct rig *r)
{
	clients_close(&r->h);
	hang_up(r);
	next_generation(r);
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	assert_int_equal(fstat(a, &sa) | fstat(b, &sb), 0);
	return sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

static bool has_ended(int pipe_end)
{
	struct pollfd p = { .fd = pipe_end, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

/* --- what is kept --- */

static void each_gets_its_own(void **state)
{
	struct rig *r = *state;
	int a[2], b[2], got[2];

	begin(r);
	assert_int_equal(pipe2(a, O_CLOEXEC) | pipe2(b, O_CLOEXEC), 0);
	keep(r->c[OWNER_MANAGER], "x", "manager's", false, a, 2);
	keep(r->c[OWNER_SPAWNER], "x", "spawner's", false, b, 1);
	end_generation(r); /* what was still on the way counts */
	hear_item(r, r->c[OWNER_MANAGER], "x", "manager's", got, 2);
	assert_true(same_file(got[0], a[0]) && same_file(got[1], a[1]));
	close(got[0]);
	close(got[1]);
	hear_item(r, r->c[OWNER_SPAWNER], "x", "spawner's", got, 1);
	assert_true(same_file(got[0], b[0]));
	close(got[0]);
	begin(r);
	drop(r->c[OWNER_SPAWNER], "x");
	drop(r->c[OWNER_SPAWNER], "never kept");
	end_generation(r);
	hear_item(r, r->c[OWNER_MANAGER], "x", "manager's", got, 2);
	close(got[0]);
	close(got[1]);
	begin(r);
	assert_int_equal(killed, 0);
	for (unsigned i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static void keeping_again(void **state)
{
	struct rig *r = *state;
	int a[2], b[2], got[2];

	begin(r);
	assert_int_equal(pipe2(a, O_CLOEXEC) | pipe2(b, O_CLOEXEC), 0);
	keep(r->c[OWNER_MANAGER], "x", "one", false, &a[1], 1);
	fd_close(&a[1]);
	keep(r->c[OWNER_MANAGER], "x", "two", false, NULL, 0);
	turn(r);
	assert_false(has_ended(a[0]));
	keep(r->c[OWNER_MANAGER], "x", "", false, b, 2);
	turn(r);
	assert_true(has_ended(a[0]));
	end_generation(r);
	hear_item(r, r->c[OWNER_MANAGER], "x", "", got, 2);
	assert_true(same_file(got[0], b[0]));
	begin(r);
	for (unsigned i = 0; i < 2; i++) {
		close(got[i]);
		close(b[i]);
	}
	close(a[0]);
}

/* A leash is given to nobody, outlives its client, and ends with a fence of a later generation, not by a name of that one. */
static void leashes(void **state)
{
	struct rig *r = *state;
	uint8_t mem[HOLD_ITEM_MAX];
	int one[2], two[2];
	struct ipc_msg m;

	begin(r);
	assert_int_equal(pipe2(one, O_CLOEXEC) | pipe2(two, O_CLOEXEC), 0);
	keep(r->c[OWNER_MANAGER], "spawner", "", true, &one[1], 1);
	fd_close(&one[1]);
	end_generation(r);
	begin(r);
	keep(r->c[OWNER_MANAGER], "spawner", "", true, &two[1], 1);
	fd_close(&two[1]);
	turn(r);
	assert_false(has_ended(one[0]) || has_ended(two[0]));
	say(r->c[OWNER_MANAGER], HOLD_FENCE, NULL, 0, NULL, 0);
	hear(r, r->c[OWNER_MANAGER], &m, mem, HOLD_FENCED);
	assert_true(has_ended(one[0]));
	assert_false(has_ended(two[0]));
	drop(r->c[OWNER_MANAGER], "spawner");
	turn(r);
	assert_true(has_ended(two[0]));
	assert_int_equal(killed, 0);
	close(one[0]);
	close(two[0]);
}

/* Far more than a socket takes, and than a soft limit of 1024: 3000 vTPMs with all they have. */
static void thousands(void **state)
{
	enum { GUESTS = 3000, FDS = 5 };
	struct rlimit rl;
	struct rig *r = *state;
	int fds[FDS], got[FDS], fd = eventfd(0, EFD_CLOEXEC);
	char tag[HOLD_TAG_MAX];

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	if (rl.rlim_max < (rlim_t)GUESTS * FDS + 100)
		skip();
	rl.rlim_cur = rl.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	begin(r);
	for (unsigned i = 0; i < FDS; i++)
		fds[i] = fd;
	for (unsigned i = 0; i < GUESTS; i++) {
		(void)snprintf(tag, sizeof(tag), "guest %u", i);
		keep(r->c[OWNER_MANAGER], tag, "blob", false, fds, FDS);
		if (i % 64 == 63)
			turn(r);
	}
	turn(r);
	assert_int_equal(r->h.items.n, GUESTS);
	end_generation(r);
	for (unsigned i = GUESTS; i-- > 0;) {
		(void)snprintf(tag, sizeof(tag), "guest %u", i);
		hear_item(r, r->c[OWNER_MANAGER], tag, "blob", got, FDS);
		for (unsigned n = 0; n < FDS; n++)
			close(got[n]);
	}
	begin(r);
	assert_int_equal(killed, 0);
	close(fd);
}

/* --- what is not permitted --- */

static const uint8_t tag_only[] = { 0, 1, 0, 0, 0, 'x', 0, 0, 0, 0 };

static void refused(struct rig *r, enum item_owner who, uint32_t type, const void *body, size_t len, unsigned nfds)
{
	int fd = eventfd(0, EFD_CLOEXEC), fds[IPC_FDS_MAX];
	struct pollfd p = { .fd = r->c[who], .events = POLLIN };

	for (unsigned i = 0; i < IPC_FDS_MAX; i++)
		fds[i] = fd;
	killed = 0;
	say(r->c[who], type, body, len, fds, nfds);
	turn(r);
	assert_int_equal(killed, 1);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_true(p.revents & POLLHUP);
	assert_int_equal(r->h.items.n, 0);
	close(fd);
	end_generation(r);
	begin(r);
}

static void hostile_clients(void **state)
{
	static const uint8_t leash_2[] = { 2, 1, 0, 0, 0, 'x', 0, 0, 0, 0 };
	static const uint8_t no_tag[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t long_tag[40] = { 0, HOLD_TAG_MAX + 1 };
	static const uint8_t long_blob[90] = { 0, 1, 0, 0, 0, 'x', HOLD_BLOB_MAX + 1 };
	static const uint8_t short_blob[] = { 0, 1, 0, 0, 0, 'x', 9, 0, 0, 0 };
	static const uint8_t rest[] = { 0, 1, 0, 0, 0, 'x', 0, 0, 0, 0, 1 };
	static const uint8_t huge_tag[] = { 0, 0xff, 0xff, 0xff, 0xff, 'x', 0, 0, 0, 0 };
	static const uint8_t drop_x[] = { 1, 0, 0, 0, 'x' };
	struct rig *r = *state;

	begin(r);
	for (unsigned who = 0; who < OWNERS; who++) {
		refused(r, who, 0, NULL, 0, 0);
		refused(r, who, HOLD_ITEM, tag_only + 1, sizeof(tag_only) - 1, 0);
		refused(r, who, HOLD_FENCED, NULL, 0, 0);
		refused(r, who, HOLD_KEEP, leash_2, sizeof(leash_2), 0);
		refused(r, who, HOLD_KEEP, no_tag, sizeof(no_tag), 1);
		refused(r, who, HOLD_KEEP, long_tag, sizeof(long_tag), 1);
		refused(r, who, HOLD_KEEP, long_blob, sizeof(long_blob), 1);
		refused(r, who, HOLD_KEEP, short_blob, sizeof(short_blob), 1);
		refused(r, who, HOLD_KEEP, huge_tag, sizeof(huge_tag), IPC_FDS_MAX);
		refused(r, who, HOLD_KEEP, tag_only, 3, 0);
		refused(r, who, HOLD_DROP, drop_x, sizeof(drop_x), 1);
		refused(r, who, HOLD_DROP, drop_x, sizeof(drop_x) - 1, 0);
		refused(r, who, HOLD_FENCE, drop_x, 1, 0);
	}
	refused(r, OWNER_SPAWNER, HOLD_FENCE, NULL, 0, 0);
	refused(r, OWNER_SPAWNER, HOLD_AGAIN, NULL, 0, 0);
	killed = 0;
	say(r->c[OWNER_MANAGER], HOLD_KEEP, rest, sizeof(rest), NULL, 0);
	turn(r);
	assert_int_equal(killed, 1);
}

static void leash_or_none(void **state)
{
	struct rig *r = *state;

	begin(r);
	keep(r->c[OWNER_MANAGER], "x", "", false, NULL, 0);
	keep(r->c[OWNER_MANAGER], "x", "", true, NULL, 0);
	turn(r);
	assert_int_equal(killed, 1);
}

static void again(void **state)
{
	struct rig *r = *state;

	begin(r);
	say(r->c[OWNER_MANAGER], HOLD_AGAIN, NULL, 0, NULL, 0);
	turn(r);
	assert_true(r->h.again);
	assert_int_equal(killed, 1);
}

/* --- generations --- */

/* A manager with a child of its own, which ignores what can be ignored. Returns when both are there. */
static pid_t make_generation(void)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)setsid();
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		if (fork() == 0 && write(ready[1], "", 1) != 1)
			_exit(1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void await(bool (*what)(struct hold *h), struct hold *h)
{
	for (unsigned i = 0; !what(h); i++) {
		assert_true(i < 2000);
		(void)poll(NULL, 0, 5);
	}
}

static bool none_left(struct hold *h)
{
	(void)groups_reap(h);
	return h->ngroups == 0;
}

static void a_generation_ends_with_its_last(void **state)
{
	struct rig *r = *state;
	struct hold *h = &r->h;
	uint8_t mem[HOLD_ITEM_MAX];
	struct pollfd p;
	struct ipc_msg m;

	begin(r);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	h->manager = make_generation();
	h->alive = true;
	kill(h->manager, SIGKILL);
	await(groups_reap, h);
	assert_false(h->alive);
	assert_true(WIFSIGNALED(h->status) && WTERMSIG(h->status) == SIGKILL);
	clients_close(h);
	groups_retire(h);
	hang_up(r);
	next_generation(r);
	begin(r);
	assert_false(none_left(h)); /* the child serves on */
	h->manager = make_generation();
	h->alive = true;
	say(r->c[OWNER_MANAGER], HOLD_FENCE, NULL, 0, NULL, 0);
	turn(r);
	await(none_left, h);
	clients_fenced(h);
	hear(r, r->c[OWNER_MANAGER], &m, mem, HOLD_FENCED);
	p = (struct pollfd){ .fd = r->c[OWNER_MANAGER], .events = POLLIN };
	clients_fenced(h); /* once */
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_true(h->alive);
	groups_end(h);
	assert_int_equal(kill(-h->manager, 0), -1);
}

/* Killed between its fork and its setsid it is in no group of its own. */
static void one_that_ended_before_its_setsid(void **state)
{
	struct rig *r = *state;
	struct hold *h = &r->h;

	begin(r);
	h->manager = fork();
	assert_true(h->manager >= 0);
	if (h->manager == 0)
		for (;;)
			pause();
	h->alive = true;
	kill(h->manager, SIGKILL);
	await(groups_reap, h);
	assert_false(h->alive);
	assert_true(WIFSIGNALED(h->status) && WTERMSIG(h->status) == SIGKILL);
	clients_close(h);
	groups_retire(h);
	assert_int_equal(h->ngroups, 0);
}

/* Those who had ended before the fence send no signal after it. */
static void the_dead_say_nothing(void **state)
{
	struct rig *r = *state;
	struct hold *h = &r->h;
	uint8_t mem[HOLD_ITEM_MAX];
	struct ipc_msg m;
	siginfo_t si;
	pid_t first;

	begin(r);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	first = h->manager = make_generation();
	h->alive = true;
	kill(first, SIGKILL);
	await(groups_reap, h);
	clients_close(h);
	groups_retire(h);
	assert_int_equal(h->ngroups, 1);
	kill(-first, SIGKILL);
	assert_int_equal(waitid(P_PGID, (id_t)first, &si, WEXITED | WNOWAIT), 0);
	hang_up(r);
	next_generation(r);
	begin(r);
	say(r->c[OWNER_MANAGER], HOLD_FENCE, NULL, 0, NULL, 0);
	turn(r);
	assert_int_equal(h->ngroups, 0);
	hear(r, r->c[OWNER_MANAGER], &m, mem, HOLD_FENCED);
}

/* A manager that ends before it has served anybody takes everything of its own with it, and leaves the one before. */
static void who_serves_goes_on(void **state)
{
	struct rig *r = *state;
	struct hold *h = &r->h;
	pid_t first;

	begin(r);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	first = h->manager = make_generation();
	h->alive = true;
	kill(h->manager, SIGKILL);
	await(groups_reap, h);
	clients_close(h);
	groups_retire(h);
	for (unsigned i = 0; i < 3; i++) {
		hang_up(r);
		next_generation(r);
		begin(r);
		h->manager = make_generation();
		h->alive = true;
		kill(h->manager, SIGKILL);
		await(groups_reap, h);
		clients_close(h);
		groups_retire(h);
	}
	for (unsigned i = 0; h->ngroups > 1; i++) {
		assert_true(i < 2000);
		(void)groups_reap(h);
		(void)poll(NULL, 0, 5);
	}
	assert_int_equal(h->groups[0], first);
	assert_int_equal(kill(-first, 0), 0);
	groups_end(h);
	assert_int_equal(kill(-first, 0), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(each_gets_its_own), T(keeping_again), T(leashes), T(thousands), T(hostile_clients), T(leash_or_none), T(again),
		T(a_generation_ends_with_its_last), T(one_that_ended_before_its_setsid), T(the_dead_say_nothing), T(who_serves_goes_on),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
