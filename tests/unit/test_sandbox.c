/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox from inside: for each kind, a child enters it and tries what it must not be able
 * to do, from its first thread and from a second one, and then what it must still be able to do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/sandbox.h"

#ifdef __SANITIZE_ADDRESS__
int main(void)
{
	print_message("test_sandbox: skipped: the AddressSanitizer runtime opens /proc/self/maps and makes calls of its "
		      "own that the filters forbid\n");
	return 0;
}
#else
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#define ERR_STATE OPENSSL_ERR_STATE /* a type in openssl/types.h, a code in lib/err.h */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#undef ERR_STATE
#include <pthread.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/ipc.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/secmem.h"
#include "lib/util.h"

#define NOBODY 65534u

#define B (1u << SANDBOX_BACKEND)
#define K (1u << SANDBOX_KEEPER)
#define M (1u << SANDBOX_MANAGER)
#define ALL (B | K | M)

static const char *const kind_names[] = { "backend", "keeper", "manager" };

static pid_t test_pid;	   /* of the parent: the target of attacks */
static int null_fd;	   /* /dev/null, open before the filter */
static long word;	   /* what an attacker would read or write */
static char tmp_dir[] = "/tmp/test_sandbox.XXXXXX";

/* What must kill: raw system calls, so that no library changes the attempt. */
static void try_open(void)
{
	syscall(SYS_open, "/etc/passwd", O_RDONLY);
}

static void try_openat(void)
{
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static void try_openat2(void)
{
	syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0);
}

static void try_unlink(void)
{
	syscall(SYS_unlink, "/nonexistent");
}

static void try_stat(void)
{
	struct stat st;

	syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &st, 0);
}

static void try_socket_unix(void)
{
	syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static void try_socket_inet(void)
{
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static void try_socket_inet6(void)
{
	syscall(SYS_socket, AF_INET6, SOCK_DGRAM, 0);
}

static void try_socket_netlink(void)
{
	syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0);
}

static void try_connect(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };

	syscall(SYS_connect, null_fd, &to, sizeof(to));
}

static void try_execve(void)
{
	char *const none[] = { NULL };

	syscall(SYS_execve, "/bin/true", none, none);
}

static void try_execveat(void)
{
	char *const none[] = { NULL };

	syscall(SYS_execveat, AT_FDCWD, "/bin/true", none, none, 0);
}

static void try_fork(void)
{
	if (syscall(SYS_fork) == 0)
		_exit(0);
}

static void try_vfork(void)
{
	if (vfork() == 0)
		_exit(0);
}

static void try_clone(void)
{
	if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0)
		_exit(0);
}

static void try_clone3(void)
{
	syscall(SYS_clone3, NULL, 0);
}

static void try_ptrace(void)
{
	syscall(SYS_ptrace, PTRACE_SEIZE, test_pid, NULL, NULL);
}

static void try_process_vm_readv(void)
{
	struct iovec local = { &word, sizeof(word) }, remote = { &word, sizeof(word) };

	syscall(SYS_process_vm_readv, test_pid, &local, 1, &remote, 1, 0);
}

static void try_process_vm_writev(void)
{
	struct iovec local = { &word, sizeof(word) }, remote = { &word, sizeof(word) };

	syscall(SYS_process_vm_writev, test_pid, &local, 1, &remote, 1, 0);
}

static void try_kill(void)
{
	syscall(SYS_kill, test_pid, 0);
}

static void try_tgkill(void)
{
	syscall(SYS_tgkill, test_pid, test_pid, 0);
}

static void try_pidfd_open(void)
{
	syscall(SYS_pidfd_open, test_pid, 0);
}

static void try_mmap_exec(void)
{
	syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_mprotect_exec(void)
{
	static char page[8192];
	uintptr_t at = ((uintptr_t)page + 4095) & ~(uintptr_t)4095;

	syscall(SYS_mprotect, at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void try_pkey_mprotect(void)
{
	syscall(SYS_pkey_mprotect, NULL, 4096, PROT_READ | PROT_EXEC, -1);
}

static void try_ioctl(void)
{
	char c = 'x';

	syscall(SYS_ioctl, null_fd, TIOCSTI, &c);
}

static void try_prctl(void)
{
	syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void try_memfd_create(void)
{
	syscall(SYS_memfd_create, "x", 0);
}

static void try_fcntl_setown(void)
{
	syscall(SYS_fcntl, null_fd, F_SETOWN, test_pid);
}

static void try_dupfd(void)
{
	syscall(SYS_fcntl, null_fd, F_DUPFD, 0);
}

static void try_setuid(void)
{
	syscall(SYS_setuid, 0);
}

static void try_mount(void)
{
	syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL);
}

static void try_unshare(void)
{
	syscall(SYS_unshare, CLONE_NEWUSER);
}

static void try_setrlimit(void)
{
	static const struct rlimit rl = { 1, 1 };

	syscall(SYS_prlimit64, 0, RLIMIT_CORE, &rl, NULL);
}

static void try_io_uring(void)
{
	syscall(SYS_io_uring_setup, 1, NULL);
}

static void try_bpf(void)
{
	syscall(SYS_bpf, 0, NULL, 0);
}

static void try_epoll_create(void)
{
	syscall(SYS_epoll_create1, 0);
}

#ifdef __x86_64__
/* The same number in the ia32 table and in x32: another way to the same calls. */
static void try_ia32(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(5 /* open */), "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
}

static void try_x32(void)
{
	syscall(0x40000000 | SYS_read, null_fd, &word, sizeof(word));
}
#endif

static const struct attempt {
	const char *name;
	void (*run)(void);
	unsigned kinds; /* that must die of it */
} attempts[] = {
	{ "open", try_open, B | K },
	{ "openat", try_openat, B | K },
	{ "openat2", try_openat2, ALL },
	{ "unlink", try_unlink, B | K },
	{ "stat", try_stat, B | K },
	{ "socket(AF_UNIX)", try_socket_unix, B | K },
	{ "socket(AF_INET)", try_socket_inet, ALL },
	{ "socket(AF_INET6)", try_socket_inet6, ALL },
	{ "socket(AF_NETLINK)", try_socket_netlink, ALL },
	{ "connect", try_connect, ALL },
	{ "execve", try_execve, ALL },
	{ "execveat", try_execveat, ALL },
	{ "fork", try_fork, ALL },
	{ "vfork", try_vfork, ALL },
	{ "clone", try_clone, ALL },
	{ "clone3", try_clone3, ALL },
	{ "ptrace", try_ptrace, ALL },
	{ "process_vm_readv", try_process_vm_readv, ALL },
	{ "process_vm_writev", try_process_vm_writev, ALL },
	{ "kill", try_kill, ALL },
	{ "tgkill", try_tgkill, ALL },
	{ "pidfd_open", try_pidfd_open, ALL },
	{ "mmap(PROT_EXEC)", try_mmap_exec, ALL },
	{ "mprotect(PROT_EXEC)", try_mprotect_exec, ALL },
	{ "pkey_mprotect", try_pkey_mprotect, ALL },
	{ "ioctl", try_ioctl, ALL },
	{ "prctl", try_prctl, ALL },
	{ "memfd_create", try_memfd_create, B | K },
	{ "fcntl(F_SETOWN)", try_fcntl_setown, ALL },
	{ "fcntl(F_DUPFD)", try_dupfd, B | K },
	{ "setuid", try_setuid, ALL },
	{ "mount", try_mount, ALL },
	{ "unshare", try_unshare, ALL },
	{ "prlimit64", try_setrlimit, ALL },
	{ "io_uring_setup", try_io_uring, ALL },
	{ "bpf", try_bpf, ALL },
	{ "epoll_create1", try_epoll_create, B | K },
	{ "abort", abort, ALL },
#ifdef __x86_64__
	{ "ia32 open", try_ia32, ALL },
	{ "x32 read", try_x32, ALL },
#endif
};

/* A second thread that exists before the filter and runs one job after it. */
struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	void (*job)(void);
	bool go, done;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->go)
		pthread_cond_wait(&w->cond, &w->lock);
	w->job();
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void worker_start(struct worker *w, void (*job)(void))
{
	*w = (struct worker){ .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .job = job };
	if (pthread_create(&w->thread, NULL, worker_main, w))
		_exit(10);
}

static void worker_run(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	w->go = true;
	pthread_cond_signal(&w->cond);
	while (!w->done)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
}

static int reap(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

static int attempt_status(enum sandbox_kind kind, const struct attempt *a, bool second_thread)
{
	struct worker w;
	pid_t pid = fork();

	if (pid != 0)
		return reap(pid);
	if (second_thread)
		worker_start(&w, a->run);
	/* Deliberately without sandbox_drop and sandbox_limit: the filter must hold alone, also for root. */
	if (sandbox_filter(kind))
		_exit(11);
	if (second_thread)
		worker_run(&w);
	else
		a->run();
	_exit(0);
}

static void forbidden(enum sandbox_kind kind)
{
	int wrong = 0;

	for (size_t i = 0; i < 2 * ARRAY_LEN(attempts); i++) {
		const struct attempt *a = &attempts[i / 2];
		int status;

		if (!(a->kinds & (1u << kind)))
			continue;
		status = attempt_status(kind, a, i % 2);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
			continue;
		print_error("%s: %s from thread %zu: status 0x%x\n", kind_names[kind], a->name, i % 2 + 1,
			    (unsigned)status);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

static void backend_dies_of_what_is_forbidden(void **state)
{
	(void)state;
	forbidden(SANDBOX_BACKEND);
}

static void keeper_dies_of_what_is_forbidden(void **state)
{
	(void)state;
	forbidden(SANDBOX_KEEPER);
}

static void manager_dies_of_what_is_forbidden(void **state)
{
	(void)state;
	forbidden(SANDBOX_MANAGER);
}

/* What must still work. A child has no test runner: it says where it failed and ends. */
#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			log_error("line %d: %s", __LINE__, #cond);                                                     \
			_exit(12);                                                                                     \
		}                                                                                                      \
	} while (0)

static void crypto(void)
{
	uint8_t key[32], iv[12], in[256] = { 1 }, out[256], tag[16], hash[32];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0;

	MUST(ctx && RAND_bytes(key, sizeof(key)) == 1 && RAND_bytes(iv, sizeof(iv)) == 1);
	MUST(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv) == 1);
	MUST(EVP_EncryptUpdate(ctx, out, &n, in, sizeof(in)) == 1 && EVP_EncryptFinal_ex(ctx, out + n, &n) == 1);
	MUST(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, 16, tag) == 1);
	MUST(EVP_Digest(out, sizeof(out), hash, NULL, EVP_sha256(), NULL) == 1);
	EVP_CIPHER_CTX_free(ctx);
}

static void make_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	MUST(key);
	EVP_PKEY_free(key);
}

static void warm_openssl(void)
{
	crypto();
	make_key();
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Grows and shrinks the heap in every way, in the calling thread's arena. */
static void memory(void)
{
	enum { PIECES = 4000 };
	static void *pieces[PIECES];
	int *numbers = calloc(PIECES, sizeof(*numbers));
	void *big = malloc(64u << 20);
	void *secret;

	MUST(numbers && big);
	big = realloc(big, 96u << 20);
	MUST(big);
	memset(big, 1, 1u << 20);
	free(big);
	for (size_t i = 0; i < PIECES; i++)
		MUST((pieces[i] = malloc(i % 5000 + 1)) != NULL);
	for (size_t i = 0; i < PIECES; i++)
		free(pieces[i]);
	qsort(numbers, PIECES, sizeof(*numbers), compare);
	free(numbers);
	secret = secmem_alloc(100);
	MUST(secret);
	secmem_free(secret, 100);
}

static int record_pair[2];
static int event_fd;
static int sealed_memfd;

static void records(void)
{
	struct pollfd pfd = { .fd = record_pair[1], .events = POLLIN };
	static uint8_t storage[4096];
	struct ipc_msg m;
	struct stat st;
	uint64_t v = 1;
	void *page;
	int fd;

	MUST(ipc_send(record_pair[0], 7, NULL, &sealed_memfd, 1) == 0);
	MUST(poll(&pfd, 1, 1000) == 1);
	MUST(ipc_recv(record_pair[1], &m, storage, sizeof(storage), MSG_DONTWAIT) == 0);
	fd = ipc_take_fd(&m, 0);
	MUST(fstat(fd, &st) == 0 && st.st_size == 4096);
	MUST(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(page != MAP_FAILED);
	munmap(page, 4096);
	close(fd);
	MUST(write(event_fd, &v, sizeof(v)) == sizeof(v));
	pfd.fd = event_fd;
	MUST(ppoll(&pfd, 1, &(struct timespec){ 1, 0 }, NULL) == 1);
	MUST(read(event_fd, &v, sizeof(v)) == sizeof(v));
}

static void time_passes(void)
{
	struct timespec ts = { 0, 1000 };

	MUST(nanosleep(&ts, NULL) == 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL) == 0);
	MUST(time(NULL) > 0 && loop_now_ms() > 0 && sched_yield() == 0);
}

static void worker_work(void)
{
	uint8_t uuid[UUID_LEN];

	crypto();
	make_key();
	memory();
	records();
	time_passes();
	MUST(uuid_random(uuid) == 0);
	log_debug("nobody sees this");
}

static struct loop loop;

static void loop_ends(void *arg)
{
	(void)arg;
	loop_stop(&loop);
}

static void keeper_work(void)
{
	struct loop_timer t = { 0 };
	char c = 'x';

	loop_timer_set(&loop, &t, 1, loop_ends, NULL);
	MUST(loop_run(&loop) == 0);
	MUST(send(record_pair[0], &c, 1, MSG_NOSIGNAL) == 1 && recv(record_pair[1], &c, 1, 0) == 1);
}

static void database(void)
{
	char path[128];
	sqlite3 *db = NULL;

	snprintf(path, sizeof(path), "%s/db", tmp_dir);
	MUST(sqlite3_open(path, &db) == SQLITE_OK);
	MUST(sqlite3_exec(db,
			  "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(a, b);"
			  "BEGIN; INSERT INTO t VALUES(1, randomblob(200000)); COMMIT; DELETE FROM t;"
			  "PRAGMA wal_checkpoint(TRUNCATE); VACUUM;",
			  NULL, NULL, NULL) == SQLITE_OK);
	MUST(sqlite3_close(db) == SQLITE_OK);
	MUST(unlink(path) == 0);
}

static void listening(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/sock", tmp_dir);
	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 4) == 0);
	MUST(chmod(a.sun_path, 0660) == 0 && fchmodat(AT_FDCWD, a.sun_path, 0600, 0) == 0);
	MUST(chown(a.sun_path, (uid_t)-1, (gid_t)-1) == 0);
	MUST(accept4(fd, NULL, NULL, SOCK_CLOEXEC) < 0 && errno == EAGAIN);
	MUST(unlink(a.sun_path) == 0);
	close(fd);
}

static void rings(void)
{
	int sv[2];
	int fd = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ev = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	MUST(fd >= 0 && ftruncate(fd, 4096) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) == 0);
	MUST(ev >= 0 && ipc_pair(sv) == 0 && fcntl(sv[0], F_DUPFD_CLOEXEC, 3) >= 0);
}

static void manager_work(void)
{
	char path[128];

	worker_work();
	MUST(loop_open(&loop) == 0);
	keeper_work();
	database();
	listening();
	rings();
	snprintf(path, sizeof(path), "%s/dir", tmp_dir);
	MUST(mkdir(path, 0700) == 0 && rmdir(path) == 0);
}

static void (*const works[])(void) = { worker_work, worker_work, manager_work };

/* Everything that is open before the filter. */
static void prepare(void)
{
	warm_openssl();
	log_open("test_sandbox", 0);
	MUST(ipc_pair(record_pair) == 0 && loop_open(&loop) == 0);
	event_fd = eventfd(0, EFD_CLOEXEC);
	sealed_memfd = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	MUST(event_fd >= 0 && sealed_memfd >= 0 && ftruncate(sealed_memfd, 4096) == 0);
	MUST(fcntl(sealed_memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
}

/* As the processes do it: identity, threads, limits, filter, work. */
static void work_status(enum sandbox_kind kind)
{
	struct worker w;
	pid_t pid = fork();

	if (pid == 0) {
		prepare();
		MUST(sandbox_drop(NOBODY, NOBODY, kind == SANDBOX_MANAGER ? NULL : tmp_dir) == 0);
		worker_start(&w, works[kind]);
		MUST(sandbox_limit(kind) == 0 && sandbox_filter(kind) == 0);
		works[kind]();
		worker_run(&w);
		if (kind == SANDBOX_KEEPER)
			keeper_work();
		exit(0); /* with all exit handlers: they must not die either */
	}
	assert_int_equal(reap(pid), 0);
}

static void backend_can_work(void **state)
{
	(void)state;
	work_status(SANDBOX_BACKEND);
}

static void keeper_can_work(void **state)
{
	(void)state;
	work_status(SANDBOX_KEEPER);
}

static void manager_can_work(void **state)
{
	(void)state;
	work_status(SANDBOX_MANAGER);
}

/* The value of a field of /proc/PID/task/TID/status. */
static unsigned long long status_field(const char *path, const char *field)
{
	FILE *f = fopen(path, "re");
	char line[256];
	unsigned long long v = ~0ull;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		size_t n = strlen(field);

		if (strncmp(line, field, n) == 0)
			v = strtoull(line + n, NULL, strncmp(field, "Cap", 3) == 0 ? 16 : 10);
	}
	fclose(f);
	return v;
}

static void check_task(pid_t pid, pid_t tid)
{
	static const char *const caps[] = { "CapInh:", "CapPrm:", "CapEff:", "CapAmb:" };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	assert_int_equal(status_field(path, "NoNewPrivs:"), 1);
	assert_int_equal(status_field(path, "Seccomp:"), 2);
	for (size_t i = 0; i < ARRAY_LEN(caps); i++)
		assert_int_equal(status_field(path, caps[i]), 0);
}

static void sit(void)
{
}

/* Tells the parent its second thread's id, then waits for the end of file. */
static int report_fd;

static void *sitting_thread(void *arg)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);
	char c;

	(void)arg;
	if (write(report_fd, &tid, sizeof(tid)) != sizeof(tid))
		_exit(13);
	while (read(report_fd, &c, 1) > 0)
		continue;
	return NULL;
}

static void proc_shows_the_sandbox(void **state)
{
	pthread_t thread;
	pid_t pid, tids[2];
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pid = fork();
	if (pid == 0) {
		close(sv[0]);
		report_fd = sv[1];
		MUST(sandbox_drop(NOBODY, NOBODY, tmp_dir) == 0);
		MUST(pthread_create(&thread, NULL, sitting_thread, NULL) == 0);
		MUST(sandbox_limit(SANDBOX_BACKEND) == 0 && sandbox_filter(SANDBOX_BACKEND) == 0);
		sitting_thread(NULL);
		exit(0);
	}
	close(sv[1]);
	assert_int_equal(recv(sv[0], tids, sizeof(tids), MSG_WAITALL), sizeof(tids));
	check_task(pid, tids[0]);
	check_task(pid, tids[1]);
	close(sv[0]);
	assert_int_equal(reap(pid), 0);
}

static bool limit_is(__rlimit_resource_t resource, rlim_t want)
{
	struct rlimit rl;

	return getrlimit(resource, &rl) == 0 && rl.rlim_cur == want && rl.rlim_max == want;
}

static void limits_of(enum sandbox_kind kind, rlim_t files)
{
	char path[128];
	uint64_t v = 1;
	pthread_t t;
	struct worker w;
	int file, pipefd[2], ev;

	snprintf(path, sizeof(path), "%s/limits.%d", tmp_dir, (int)getpid());
	file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ev = eventfd(0, 0);
	MUST(file >= 0 && ev >= 0 && pipe(pipefd) == 0 && unlink(path) == 0);
	MUST(sandbox_drop(NOBODY, NOBODY, NULL) == 0);
	worker_start(&w, sit);
	MUST(sandbox_limit(kind) == 0);
	MUST(limit_is(RLIMIT_CORE, 0) && limit_is(RLIMIT_NPROC, 0) && limit_is(RLIMIT_FSIZE, 0));
	MUST(limit_is(RLIMIT_NOFILE, files));
	MUST(write(file, &v, sizeof(v)) < 0 && errno == EFBIG);
	MUST(write(pipefd[1], &v, sizeof(v)) == sizeof(v) && write(ev, &v, sizeof(v)) == sizeof(v));
	MUST(fcntl(file, F_DUPFD, (int)files) < 0);
	worker_run(&w); /* made before: still there */
	if (geteuid() == NOBODY) /* the kernel does not count the processes of a privileged one */
		MUST(pthread_create(&t, NULL, sitting_thread, NULL) == EAGAIN && fork() < 0 && errno == EAGAIN);
	MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }) < 0);
	_exit(0);
}

static void limits_bind_the_workers(void **state)
{
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		limits_of(SANDBOX_BACKEND, 16);
	assert_int_equal(reap(pid), 0);
	pid = fork();
	if (pid == 0)
		limits_of(SANDBOX_KEEPER, 64);
	assert_int_equal(reap(pid), 0);
}

static void limits_of_the_manager(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct rlimit rl;

		MUST(sandbox_limit(SANDBOX_MANAGER) == 0 && limit_is(RLIMIT_CORE, 0));
		MUST(getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur == rl.rlim_max);
		_exit(0);
	}
	assert_int_equal(reap(pid), 0);
}

static void dropping_is_for_good(void **state)
{
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root has something to drop\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		MUST(sandbox_drop(0, NOBODY, NULL) == ERR_INVAL && sandbox_drop(NOBODY, 0, NULL) == ERR_INVAL);
		MUST(sandbox_drop((uid_t)-1, NOBODY, NULL) == ERR_INVAL);
		MUST(sandbox_drop(NOBODY, NOBODY, "/nonexistent") == ERR_NOTFOUND && geteuid() == 0);
		MUST(sandbox_drop(NOBODY, NOBODY, tmp_dir) == 0);
		MUST(getuid() == NOBODY && geteuid() == NOBODY && getgid() == NOBODY && getgroups(0, NULL) == 0);
		MUST(setuid(0) < 0 && seteuid(0) < 0 && setgid(0) < 0 && setgroups(0, NULL) < 0);
		MUST(open("/etc/passwd", O_RDONLY) < 0 && errno == ENOENT);
		MUST(chroot("/") < 0);
		MUST(sandbox_drop(NOBODY, NOBODY, "/nonexistent") == 0); /* not root any more: nothing to do */
		_exit(0);
	}
	assert_int_equal(reap(pid), 0);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void others_are_closed(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		static const int keep[] = { 200, -1, 7, 100, 7, 101 };

		for (int fd = 3; fd < 256; fd++)
			MUST(dup2(null_fd, fd) == fd);
		MUST(sandbox_close_others(keep, ARRAY_LEN(keep)) == 0);
		for (int fd = 0; fd < 256; fd++)
			MUST(is_open(fd) == (fd < 3 || fd == 7 || fd == 100 || fd == 101 || fd == 200));
		MUST(sandbox_close_others(NULL, 0) == 0);
		for (int fd = 3; fd < 256; fd++)
			MUST(!is_open(fd));
		_exit(0);
	}
	assert_int_equal(reap(pid), 0);
}

static int group_setup(void **state)
{
	(void)state;
	test_pid = getpid();
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || !mkdtemp(tmp_dir))
		return -1;
	return chmod(tmp_dir, 0777);
}

static int group_teardown(void **state)
{
	(void)state;
	close(null_fd);
	return rmdir(tmp_dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backend_dies_of_what_is_forbidden),
		cmocka_unit_test(keeper_dies_of_what_is_forbidden),
		cmocka_unit_test(manager_dies_of_what_is_forbidden),
		cmocka_unit_test(backend_can_work),
		cmocka_unit_test(keeper_can_work),
		cmocka_unit_test(manager_can_work),
		cmocka_unit_test(proc_shows_the_sandbox),
		cmocka_unit_test(limits_bind_the_workers),
		cmocka_unit_test(limits_of_the_manager),
		cmocka_unit_test(dropping_is_for_good),
		cmocka_unit_test(others_are_closed),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
#endif
