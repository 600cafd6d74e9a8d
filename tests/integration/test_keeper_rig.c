/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/test_keeper_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/software_tpm.h"
#include "vtpm-mgr/proto/backend.h"
#include "vtpm-mgr/proto/spawn.h"

#define FRAME_MAX 4096u
#define HEADER	  10u
#define PATIENCE  20000 /* ms: a keeper that does not answer by then has failed */

void rig_start(struct rig *g)
{
	memset(g, 0, sizeof(*g));
	strcpy(g->dir, "/tmp/test_keeper.XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	g->mgr = g->spawn = -1;
	shell("mkdir %s/empty", g->dir);
	g->swtpm = software_tpm_start(g->dir);
}

void rig_tpm_kill(struct rig *g)
{
	software_tpm_kill(g->dir, g->swtpm);
	g->swtpm = 0;
}

void rig_tpm_reset(struct rig *g)
{
	shell("swtpm_ioctl --unix %s/tpm.ctrl -i", g->dir);
}

void rig_tpm_restart(struct rig *g)
{
	rig_tpm_kill(g);
	shell("rm -rf %s/tpm %s/tpm.ctrl %s/pid", g->dir, g->dir, g->dir);
	g->swtpm = software_tpm_start(g->dir);
}

void rig_tpm_replace(struct rig *g)
{
	rig_tpm_kill(g);
	shell("rm -rf %s/state %s/tpm %s/tpm.ctrl %s/pid", g->dir, g->dir, g->dir, g->dir);
	g->swtpm = software_tpm_start(g->dir);
}

void rig_pcr_extend(struct rig *g, unsigned pcr)
{
	shell("tpm2_pcrextend -T swtpm:path=%s/tpm "
	    "%u:sha256=0101010101010101010101010101010101010101010101010101010101010101",
	    g->dir, pcr);
}

/* One TPM frame; its size is in the header. */
static size_t read_frame(int fd, uint8_t f[static FRAME_MAX])
{
	size_t have = 0, want = HEADER;
	ssize_t n;

	while (have < want) {
		n = read(fd, f + have, want - have);
		if (n <= 0)
			return 0;
		have += (size_t)n;
		if (have == HEADER)
			want = (size_t)f[4] << 8 | f[5];
		if (want > FRAME_MAX || want < HEADER)
			return 0;
	}
	return have;
}

/* Returns false when the connection is over. A changed size would leave both sides waiting: it ends there. */
static bool proxy_exchange(struct proxy_plan *plan, int client, int tpm)
{
	uint8_t f[FRAME_MAX];
	size_t n = read_frame(client, f);
	uint32_t cc = n ? (uint32_t)f[6] << 24 | (uint32_t)f[7] << 16 | (uint32_t)f[8] << 8 | f[9] : 0;
	bool go_on = true;

	if (n && cc == plan->command && plan->times) {
		const uint8_t error[HEADER] = {0x80, 0x01, 0, 0, 0, HEADER, 0, 0, (uint8_t)(plan->rc >> 8), (uint8_t)plan->rc};

		plan->times--;
		return write(client, error, HEADER) == (ssize_t)HEADER;
	}
	if (!n || write(tpm, f, n) != (ssize_t)n)
		return false;
	plan->commands++;
	n = read_frame(tpm, f);
	if (n && cc == plan->command && !plan->done && plan->offset < n) {
		f[plan->offset] ^= 0x10;
		plan->done = 1;
		go_on = plan->offset < 2 || plan->offset > 5;
	}
	return n && write(client, f, n) == (ssize_t)n && go_on;
}

static int unix_socket(const char *dir, const char *name, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof(a->sun_path), "%s/%s", dir, name);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void proxy_loop(struct rig *g, int listener)
{
	struct sockaddr_un a;
	int client, tpm;

	signal(SIGPIPE, SIG_IGN);
	while ((client = accept(listener, NULL, NULL)) >= 0) {
		tpm = unix_socket(g->dir, "tpm", &a);
		if (connect(tpm, (struct sockaddr *)&a, sizeof(a)))
			_exit(1);
		while (proxy_exchange(g->plan, client, tpm))
			;
		close(client);
		close(tpm);
	}
	_exit(1);
}

void rig_proxy_start(struct rig *g)
{
	struct sockaddr_un a;
	int listener = unix_socket(g->dir, "proxy", &a);

	g->plan = mmap(NULL, sizeof(*g->plan), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(g->plan != MAP_FAILED);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 4), 0);
	shell("ln -s tpm.ctrl %s/proxy.ctrl", g->dir);
	g->proxy = fork();
	if (!g->proxy)
		proxy_loop(g, listener);
	close(listener);
}

/* vtpm-keeper lies beside the directory of this test. */
static void keeper_path(char *path, size_t cap)
{
	char self[PATH_MAX] = "", *slash;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	for (int i = 0; i < 2; i++)
		if ((slash = strrchr(self, '/')))
			*slash = '\0';
	snprintf(path, cap, "%s/vtpm-keeper", self);
}

/* Otherwise every test fails, and none of them says why. */
void rig_check(void)
{
	char path[PATH_MAX + 32];

	keeper_path(path, sizeof(path));
	if (access(path, X_OK))
		fail_msg("%s is not built: make programs", path);
	if (system("command -v swtpm swtpm_ioctl tpm2_pcrextend >/dev/null"))
		fail_msg("swtpm or tpm2-tools is missing: make deps");
}

static void keeper_exec(const struct rig *g, const char *tcti, int mgr, int spawn)
{
	char path[PATH_MAX + 32], empty[128], keys[128];

	keeper_path(path, sizeof(path));
	snprintf(keys, sizeof(keys), "%s/recovery.d", g->dir);
	snprintf(empty, sizeof(empty), "%s/empty", g->dir);
	mgr = fcntl(mgr, F_DUPFD, 10);
	spawn = fcntl(spawn, F_DUPFD, 10);
	dup2(mgr, 3);
	dup2(spawn, 4);
	if (geteuid())
		execl(path, path, "--tcti", tcti, "--recovery-keys", keys, (char *)NULL);
	else
		execl(path, path, "--tcti", tcti, "--uid", "65534", "--gid", "65534", "--empty-dir", empty, "--recovery-keys", keys,
		      (char *)NULL);
	_exit(127);
}

void rig_keeper_start(struct rig *g, const char *tcti)
{
	char own[128];
	int mgr[2], spawn[2];

	snprintf(own, sizeof(own), "swtpm:path=%s/%s", g->dir, g->proxy ? "proxy" : "tpm");
	assert_int_equal(ipc_pair(mgr), 0);
	assert_int_equal(ipc_pair(spawn), 0);
	g->keeper = fork();
	if (!g->keeper)
		keeper_exec(g, tcti ? tcti : own, mgr[1], spawn[1]);
	close(mgr[1]);
	close(spawn[1]);
	g->mgr = mgr[0];
	g->spawn = spawn[0];
}

int rig_keeper_wait(struct rig *g)
{
	int status = -1;

	assert_int_equal(waitpid(g->keeper, &status, 0), g->keeper);
	g->keeper = 0;
	fd_close(&g->mgr);
	fd_close(&g->spawn);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

int rig_keeper_stop(struct rig *g)
{
	fd_close(&g->mgr);
	return rig_keeper_wait(g);
}

/* Takes everything down before it looks at what the keeper said last: a failed test leaves nothing behind. */
void rig_stop(struct rig *g)
{
	int status = 0;

	fd_close(&g->mgr);
	if (g->keeper)
		waitpid(g->keeper, &status, 0);
	fd_close(&g->spawn);
	if (g->proxy) {
		kill(g->proxy, SIGKILL);
		waitpid(g->proxy, NULL, 0);
		munmap(g->plan, sizeof(*g->plan));
	}
	if (g->swtpm)
		rig_tpm_kill(g);
	shell("rm -rf %s", g->dir);
	assert_int_equal(status, 0);
}

struct buf *rig_request(struct rig *g, struct request *q)
{
	buf_init(&q->b, q->mem, sizeof(q->mem));
	assert_int_equal(buf_put_u64le(&q->b, ++g->id), 0);
	return &q->b;
}

int rig_ask(struct rig *g, uint32_t type, const struct request *q, struct answer *a)
{
	struct pollfd p = {.fd = g->mgr, .events = POLLIN};
	struct ipc_msg m;

	assert_int_equal(ipc_send(g->mgr, type, &q->b, NULL, 0), 0);
	assert_int_equal(poll(&p, 1, PATIENCE), 1);
	assert_int_equal(ipc_recv(g->mgr, &m, a->mem, sizeof(a->mem), 0), 0);
	assert_int_equal(m.type, KEEPER_REPLY);
	assert_int_equal(keeper_reply_decode(&m.body, &a->r), 0);
	assert_int_equal(buf_left(&m.body), 0);
	assert_int_equal(a->r.id, g->id);
	assert_true(a->r.code == 0 || a->r.text[0]);
	return a->r.code;
}

int rig_ask_empty(struct rig *g, uint32_t type, struct answer *a)
{
	struct request q;

	rig_request(g, &q);
	return rig_ask(g, type, &q, a);
}

int rig_group_new(struct rig *g, const char *group, uint32_t mask, uint32_t flags, struct answer *a)
{
	struct keeper_group_new m = {.mask = mask, .flags = flags};
	struct request q;

	strcpy(m.group, group);
	assert_int_equal(keeper_group_new_encode(rig_request(g, &q), &m), 0);
	return rig_ask(g, KEEPER_GROUP_NEW, &q, a);
}

int rig_group_open(struct rig *g, const char *group, const struct sealed_root *s, struct answer *a)
{
	struct keeper_group_open m = {.root = *s};
	struct request q;

	strcpy(m.group, group);
	assert_int_equal(keeper_group_open_encode(rig_request(g, &q), &m), 0);
	return rig_ask(g, KEEPER_GROUP_OPEN, &q, a);
}

int rig_link(struct rig *g, uint64_t token)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;
	int sv[2];

	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(spawn_token_encode(&b, token), 0);
	assert_int_equal(ipc_pair(sv), 0);
	assert_int_equal(ipc_send(g->spawn, LINK_BACKEND, &b, &sv[1], 1), 0);
	close(sv[1]);
	return sv[0];
}

int rig_backend_recv(int fd, struct ipc_msg *m, uint8_t *mem, size_t cap)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, PATIENCE), 1);
	return ipc_recv(fd, m, mem, cap, 0);
}

void rig_expect_closed(int fd)
{
	uint8_t mem[CERT_ISSUED_MAX];
	struct ipc_msg m;

	assert_int_equal(rig_backend_recv(fd, &m, mem, sizeof(mem)), ERR_CLOSED);
	close(fd);
}
