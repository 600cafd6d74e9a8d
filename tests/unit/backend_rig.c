/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/backend_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv/page.h"

#define WAIT_MS 30000
#define STUB_LINK 0x52494701u /* stand-in -> test: its link, 1 fd */

void rig_keeper_main(int argc, char **argv)
{
	const int link = 4;
	char c;

	if (argc < 1 || strcmp(argv[0], "vtpm-keeper") != 0)
		return;
	if (ipc_send(3, STUB_LINK, NULL, &link, 1) != 0)
		_exit(1);
	(void)!read(3, &c, 1); /* until the test goes */
	_exit(0);
}

static void program(char *out, size_t cap, const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	MUST(n > 0);
	self[n] = '\0';
	MUST(snprintf(out, cap, "%s/../%s", dirname(self), name) < (int)cap);
}

/* execv(3) has no const for historical reasons, and writes nothing. */
static char *as_arg(const char *s)
{
	return (char *)(uintptr_t)s;
}

static _Noreturn void exec_spawner(const struct rig *r, int sock, bool no_prefork)
{
	const int hold = r->hold > 0 ? fcntl(r->hold, F_DUPFD, 5) : -1;
	char spawn[PATH_MAX + 64], backend[PATH_MAX + 64], self[PATH_MAX];
	char *argv[11];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int n = 0;

	MUST(len > 0);
	self[len] = '\0';
	program(spawn, sizeof(spawn), r->mortal ? "tests/mortal_spawn" : "vtpm-spawn");
	program(backend, sizeof(backend), r->mortal ? "tests/mortal_backend" : "vtpm-backend");
	argv[n++] = spawn;
	argv[n++] = as_arg("--keeper");
	argv[n++] = self;
	argv[n++] = as_arg("--backend");
	argv[n++] = backend;
	if (no_prefork)
		argv[n++] = as_arg("--no-prefork");
	if (hold >= 0)
		argv[n++] = as_arg("--held");
	argv[n++] = as_arg("--");
	argv[n] = NULL;
	MUST(dup2(sock, 3) >= 0 && (hold < 0 || dup2(hold, 4) >= 0));
	execv(spawn, argv);
	_exit(127);
}

void rig_start_keeper(struct rig *r)
{
	struct ipc_msg m;
	uint8_t none[1];
	int sv[2], gives[SPAWN_KEEPER_FDS];

	MUST(ipc_pair(sv) == 0);
	gives[0] = sv[1];
	gives[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
	MUST(gives[1] >= 0 && ipc_send(r->manager, SPAWN_KEEPER, NULL, gives, SPAWN_KEEPER_FDS) == 0);
	close(sv[1]);
	close(gives[1]);
	r->keeper = sv[0];
	MUST(ipc_recv(r->keeper, &m, none, sizeof(none), 0) == 0 && m.type == STUB_LINK);
	r->link = ipc_take_fd(&m, 0);
	MUST(r->link >= 0);
}

void rig_open(struct rig *r, bool no_prefork)
{
	int sv[2];

	MUST(ipc_pair(sv) == 0);
	MUST(r->queue == 0 || setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &r->queue, sizeof(r->queue)) == 0);
	r->spawn = fork();
	MUST(r->spawn >= 0);
	if (r->spawn == 0)
		exec_spawner(r, sv[1], no_prefork);
	close(sv[1]);
	r->manager = sv[0];
	r->token = 0;
	rig_start_keeper(r);
}

void rig_close(struct rig *r)
{
	int status;

	close(r->manager);
	MUST(waitpid(r->spawn, &status, 0) == r->spawn);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(r->keeper);
	close(r->link);
}

static void wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	MUST(poll(&p, 1, WAIT_MS) == 1);
}

static void receive_link(struct rig *r, struct rig_backend *b)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct ipc_msg m;
	uint64_t token;

	wait_readable(r->link);
	MUST(ipc_recv(r->link, &m, mem, sizeof(mem), 0) == 0 && m.type == LINK_BACKEND);
	MUST(spawn_token_decode(&m.body, &token) == 0 && token == b->token);
	b->key = ipc_take_fd(&m, 0);
	MUST(b->key >= 0);
}

/* Fills in what a backend gets of its guest. */
static void make_guest(struct rig_backend *b, enum serve_kind kind, int fds[static SPAWN_FDS_MAX])
{
	void *page;
	int sv[2];

	b->ring = LOCAL_RING_NONE;
	b->qemu = b->data = b->attach = b->theirs = -1;
	b->kind = kind;
	if (kind == SERVE_NOBODY)
		return;
	if (kind != SERVE_RING) {
		MUST(kind == SERVE_XEN ? ipc_pair(sv) == 0 : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
		*(kind == SERVE_XEN ? &b->attach : &b->qemu) = sv[0];
		fds[2] = sv[1];
		return;
	}
	MUST(local_ring_make(&b->ring) == 0 && local_ring_map(&b->ring, &page) == 0);
	b->page = page;
	fds[2] = b->ring.memfd;
	fds[3] = b->ring.to_back;
	fds[4] = b->ring.to_front;
}

/* New channels to it, and fds[0] and fds[1] for the other ends. */
static void make_channels(struct rig_backend *b, int fds[static SPAWN_FDS_MAX])
{
	int control[2], store[2];

	MUST(ipc_pair(control) == 0 && ipc_pair(store) == 0);
	b->control = control[0];
	b->store = store[0];
	fds[0] = control[1];
	fds[1] = store[1];
}

static void send_spawn_fds(struct rig *r, struct rig_backend *b, enum serve_kind kind, uint64_t replaces,
			   int fds[static SPAWN_FDS_MAX])
{
	const struct spawn_backend req = {
		.token = b->token, .slot = (uint32_t)(b->token % 1000), .kind = kind, .replaces = replaces };
	uint8_t mem[SPAWN_BACKEND_SIZE];
	struct buf msg;

	buf_init(&msg, mem, sizeof(mem));
	MUST(spawn_backend_encode(&msg, &req) == 0);
	MUST(ipc_send(r->manager, SPAWN_BACKEND, &msg, fds, spawn_backend_fds(kind)) == 0);
	close(fds[0]);
	close(fds[1]);
}

static void send_spawn(struct rig *r, struct rig_backend *b, enum serve_kind kind)
{
	int fds[SPAWN_FDS_MAX];

	make_channels(b, fds);
	make_guest(b, kind, fds);
	send_spawn_fds(r, b, kind, 0, fds);
	if (kind == SERVE_QEMU && r->heirs)
		b->theirs = fds[2];
	else if (kind == SERVE_QEMU || kind == SERVE_XEN)
		close(fds[2]);
}

static void send_start(struct rig_backend *b, const struct backend_start *start, const int *fds, unsigned n)
{
	uint8_t *mem = malloc(BACKEND_START_MAX);
	struct buf msg;
	int err;

	MUST(mem != NULL);
	buf_init(&msg, mem, BACKEND_START_MAX);
	MUST(backend_start_encode(&msg, start) == 0);
	err = ipc_send(b->control, BACKEND_START, &msg, fds, n);
	MUST(err == 0 || err == ERR_CLOSED); /* the spawner has refused it, and says so */
	free(mem);
}

static void send_key(struct rig_backend *b, struct rig_disk *d)
{
	struct key_give k = { .epoch = 1, .renew = d->renew };
	uint8_t mem[KEY_GIVE_SIZE];
	struct buf msg;
	int err;

	memcpy(k.uuid, d->uuid, UUID_LEN);
	memcpy(k.key, d->key, KEY_LEN);
	if (d->renew) {
		MUST(random_bytes(d->next, KEY_LEN) == 0);
		memcpy(k.next, d->next, KEY_LEN);
	}
	buf_init(&msg, mem, sizeof(mem));
	MUST(key_give_encode(&msg, &k) == 0);
	err = ipc_send(b->key, KEY_GIVE, &msg, NULL, 0);
	MUST(err == 0 || err == ERR_CLOSED); /* what it was started with was reason enough to end */
}

void rig_kill_keeper(struct rig *r)
{
	uint8_t mem[SPAWN_EXITED_SIZE];
	struct spawn_exited e;
	struct ipc_msg m;
	struct buf msg;

	buf_init(&msg, mem, sizeof(mem));
	MUST(spawn_token_encode(&msg, 0) == 0 && ipc_send(r->manager, SPAWN_KILL, &msg, NULL, 0) == 0);
	wait_readable(r->manager);
	MUST(ipc_recv(r->manager, &m, mem, sizeof(mem), 0) == 0 && m.type == SPAWN_EXITED);
	MUST(spawn_exited_decode(&m.body, &e) == 0 && e.token == 0);
	fd_close(&r->keeper);
	fd_close(&r->link);
}

static void spawn_started(struct rig *r, struct rig_backend *b, struct rig_disk *d, const struct backend_start *start,
			  enum serve_kind guest)
{
	memset(b, 0, sizeof(*b));
	b->rig = r;
	b->disk = d;
	b->token = b->area = ++r->token;
	b->key = -1;
	send_spawn(r, b, guest);
	send_start(b, start, NULL, 0);
}

void rig_spawn_start(struct rig *r, struct rig_backend *b, struct rig_disk *d, const struct backend_start *start)
{
	spawn_started(r, b, d, start, start->flags & RUN_SERVE ? SERVE_RING : SERVE_NOBODY);
	receive_link(r, b);
	send_key(b, d);
}

static void fill_start(struct backend_start *start, const struct rig_disk *d, uint32_t flags)
{
	*start = (struct backend_start){ .flags = flags, .line = d->line, .state_max = 64 * 1024 };
	memcpy(start->uuid, d->uuid, UUID_LEN);
	memcpy(start->from_uuid, d->uuid, UUID_LEN);
	if (flags & (RUN_MANUFACTURE | RUN_STANDBY))
		return;
	start->version = d->version;
	start->sealed = d->sealed;
	start->sealed_len = d->sealed_len;
}

void rig_spawn(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags)
{
	struct backend_start start;

	fill_start(&start, d, flags);
	rig_spawn_start(r, b, d, &start);
}

void rig_spawn_serving(struct rig *r, struct rig_backend *b, struct rig_disk *d, enum serve_kind kind, uint32_t flags)
{
	struct backend_start start;

	fill_start(&start, d, flags);
	spawn_started(r, b, d, &start, kind);
	receive_link(r, b);
	send_key(b, d);
}

void rig_spawn_replacing(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags, uint64_t replaces)
{
	int fds[SPAWN_FDS_MAX] = { -1, -1, b->ring.memfd, b->ring.to_back, b->ring.to_front };
	struct backend_start start;
	int sv[2];

	if (b->kind == SERVE_QEMU)
		fds[2] = b->theirs;
	if (b->kind == SERVE_XEN) {
		fd_close(&b->attach);
		MUST(ipc_pair(sv) == 0);
		b->attach = sv[0];
		fds[2] = sv[1];
	}

	fd_close(&b->control);
	fd_close(&b->store);
	fd_close(&b->key);
	b->disk = d;
	b->token = ++r->token;
	b->area = replaces ? replaces : b->token;
	make_channels(b, fds);
	send_spawn_fds(r, b, b->kind, replaces, fds);
	if (b->kind == SERVE_XEN)
		close(fds[2]);
	fill_start(&start, d, RUN_SERVE | RUN_RESUME | flags);
	send_start(b, &start, NULL, 0);
}

void rig_resume(struct rig_backend *b, uint32_t flags)
{
	rig_spawn_replacing(b->rig, b, b->disk, flags, b->area);
	receive_link(b->rig, b);
	send_key(b, b->disk);
}

void rig_drop_area(struct rig *r, uint64_t area)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf msg;

	buf_init(&msg, mem, sizeof(mem));
	MUST(spawn_token_encode(&msg, area) == 0 && ipc_send(r->manager, SPAWN_KILL, &msg, NULL, 0) == 0);
}

void rig_give_key(struct rig_backend *b)
{
	receive_link(b->rig, b);
	send_key(b, b->disk);
}

void rig_spawn_standby(struct rig *r, struct rig_backend *b, struct rig_disk *d)
{
	rig_spawn_serving(r, b, d, SERVE_QEMU, RUN_SERVE | RUN_STANDBY);
}

void rig_spawn_import(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags, const int *fds, unsigned n)
{
	struct backend_start start = { .flags = RUN_IMPORT | flags, .state_max = 64 * 1024 };

	memset(b, 0, sizeof(*b));
	b->rig = r;
	b->disk = d;
	b->token = ++r->token;
	memcpy(start.uuid, d->uuid, UUID_LEN);
	memcpy(start.from_uuid, d->uuid, UUID_LEN);
	send_spawn(r, b, SERVE_NOBODY);
	send_start(b, &start, fds, n);
	receive_link(r, b);
	send_key(b, d);
}

void rig_spawn_keyless(struct rig *r, struct rig_backend *b, struct rig_disk *d, uint32_t flags)
{
	struct backend_start start;

	fill_start(&start, d, flags);
	spawn_started(r, b, d, &start, flags & RUN_SERVE ? SERVE_RING : SERVE_NOBODY);
}

/* Somebody puts another in the place of one that has gone. */
static bool is_replaced(struct rig_backend *b)
{
	void (*gone)(struct rig_backend *b) = b->rig->gone;

	if (gone == NULL)
		return false;
	b->rig->gone = NULL; /* what it waits for meanwhile is the next one */
	gone(b);
	b->rig->gone = gone;
	return true;
}

/* Waits until fd is readable, or the backend has gone (false); the store is at work meanwhile. */
static bool wait_serving(struct rig_backend *b, int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = b->store, .events = POLLIN } };

	for (;;) {
		MUST(poll(p, 2, WAIT_MS) > 0);
		if (p[1].revents != 0 && !rig_serve_store(b)) {
			if (poll(p, 1, 0) > 0) /* what it said before it went counts */
				return true;
			if (!is_replaced(b))
				return false;
			p[1].fd = b->store;
			continue;
		}
		if (p[0].revents != 0)
			return true;
	}
}

void rig_ready(struct rig_backend *b)
{
	uint8_t mem[BACKEND_FAILED_MAX];
	struct backend_failed f;
	struct ipc_msg m;

	wait_serving(b, b->control);
	MUST(ipc_recv(b->control, &m, mem, sizeof(mem), 0) == 0);
	if (m.type == BACKEND_FAILED && backend_failed_decode(&m.body, &f) == 0)
		fprintf(stderr, "backend failed: %d %s\n", f.code, f.text);
	MUST(m.type == BACKEND_READY);
}

bool rig_ready_or_gone(struct rig_backend *b)
{
	uint8_t mem[BACKEND_FAILED_MAX];
	struct ipc_msg m;

	(void)wait_serving(b, b->control);
	if (ipc_recv(b->control, &m, mem, sizeof(mem), 0) != 0)
		return false;
	MUST(m.type == BACKEND_READY);
	return true;
}

int rig_failed(struct rig_backend *b)
{
	uint8_t mem[BACKEND_FAILED_MAX];
	struct backend_failed f;
	struct ipc_msg m;

	do {
		wait_serving(b, b->control);
		MUST(ipc_recv(b->control, &m, mem, sizeof(mem), 0) == 0);
	} while (m.type == BACKEND_READY);
	MUST(m.type == BACKEND_FAILED && backend_failed_decode(&m.body, &f) == 0);
	return f.code;
}

uint32_t rig_exited(struct rig_backend *b)
{
	uint8_t mem[SPAWN_EXITED_SIZE];
	struct spawn_exited e;
	struct ipc_msg m;

	wait_serving(b, b->rig->manager);
	wait_readable(b->rig->manager);
	MUST(ipc_recv(b->rig->manager, &m, mem, sizeof(mem), 0) == 0 && m.type == SPAWN_EXITED);
	MUST(spawn_exited_decode(&m.body, &e) == 0 && e.token == b->token);
	b->status = e.status;
	return e.status;
}

uint32_t rig_stop(struct rig_backend *b)
{
	MUST(ipc_send(b->control, BACKEND_STOP, NULL, NULL, 0) == 0);
	return rig_exited(b);
}

void rig_forget(struct rig_backend *b)
{
	if (b->page != NULL)
		munmap((void *)(uintptr_t)b->page, CHAN_PAGE_SIZE);
	local_ring_close(&b->ring);
	fd_close(&b->qemu);
	fd_close(&b->theirs);
	fd_close(&b->attach);
	fd_close(&b->data);
	fd_close(&b->control);
	fd_close(&b->store);
	fd_close(&b->key);
}

void rig_submit(struct rig_backend *b, const void *cmd, size_t len, uint8_t locality)
{
	const uint64_t one = 1;

	if (b->data >= 0) {
		MUST(write(b->data, cmd, len) == (ssize_t)len);
		return;
	}
	page_set_u8(b->page, CHAN_OFF_LOCALITY, locality);
	page_write(b->page, CHAN_HEADER_SIZE, cmd, len);
	page_set_length(b->page, (uint32_t)len);
	page_set_state(b->page, CHAN_STATE_SUBMIT);
	MUST(write(b->ring.to_back, &one, sizeof(one)) == sizeof(one));
}

bool rig_wait(struct rig_backend *b, int fd)
{
	return wait_serving(b, fd);
}

/* One answer of the data channel: the header says how long it is. */
static size_t receive_data(struct rig_backend *b, uint8_t rsp[static CHAN_PACKET_MAX])
{
	size_t have = 0, want = 10;
	uint32_t size;
	struct buf r;
	ssize_t n;

	while (have < want) {
		if (!wait_serving(b, b->data))
			return 0;
		n = read(b->data, rsp + have, want - have);
		if (n <= 0)
			return 0;
		have += (size_t)n;
		if (have != 10)
			continue;
		buf_wrap(&r, rsp, have);
		MUST(buf_skip(&r, 2) == 0 && buf_get_u32be(&r, &size) == 0);
		MUST(size >= 10 && size <= CHAN_PACKET_MAX);
		want = size;
	}
	return have;
}

/* A cancel that came before the back end took the request: it ends in IDLE, which a driver reports as TPM_RC_CANCELED. */
static size_t cancelled_unseen(uint8_t rsp[static CHAN_PACKET_MAX])
{
	static const uint8_t rc[] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09 };

	memcpy(rsp, rc, sizeof(rc));
	return sizeof(rc);
}

size_t rig_receive(struct rig_backend *b, uint8_t rsp[static CHAN_PACKET_MAX])
{
	uint64_t n;
	size_t len;

	if (b->data >= 0)
		return receive_data(b, rsp);

	do {
		if (!wait_serving(b, b->ring.to_front))
			return 0;
		(void)!read(b->ring.to_front, &n, sizeof(n));
		if (page_get_state(b->page) == CHAN_STATE_IDLE)
			return cancelled_unseen(rsp);
	} while (page_get_state(b->page) != CHAN_STATE_FINISH);
	len = page_get_length(b->page);
	MUST(len >= 10 && len <= CHAN_PACKET_MAX);
	page_read(b->page, CHAN_HEADER_SIZE, rsp, len);
	return len;
}

uint32_t rig_command(struct rig_backend *b, const void *cmd, size_t len, uint8_t rsp[static CHAN_PACKET_MAX],
		     size_t *rsp_len)
{
	struct buf r;
	uint32_t rc;

	rig_submit(b, cmd, len, 0);
	*rsp_len = rig_receive(b, rsp);
	MUST(*rsp_len >= 10);
	buf_wrap(&r, rsp, *rsp_len);
	MUST(buf_skip(&r, 6) == 0 && buf_get_u32be(&r, &rc) == 0);
	return rc;
}
