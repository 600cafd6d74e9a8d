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
	print_message("skip test_sandbox: the AddressSanitizer runtime opens /proc/self/maps and makes calls of its "
		      "own that the filters forbid\n");
	return 0;
}
#else
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/unit/sandbox_attempts.h"
#include "tests/unit/sandbox_work.h"

#define NOBODY 65534u

static const char *const kind_names[] = { "backend", "keeper", "manager", "backend of a guest of Xen" };

static int null_fd; /* open before the filter */
static char tmp_dir[] = "/tmp/test_sandbox.XXXXXX";
static char empty_dir[] = "/tmp/test_sandbox_empty.XXXXXX";

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

static int attempt_status(enum sandbox_kind kind, const struct sandbox_attempt *a, bool second_thread)
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

	for (size_t i = 0; i < 2 * sandbox_attempts_count; i++) {
		const struct sandbox_attempt *a = &sandbox_attempts[i / 2];
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

static void (*const works[])(void) = { sandbox_work_common, sandbox_work_common, sandbox_work_manager,
				     sandbox_work_xen };

/* As the processes do it: identity, threads, limits, filter, work. */
static void work_status(enum sandbox_kind kind)
{
	struct worker w;
	pid_t pid = fork();

	if (pid == 0) {
		sandbox_work_prepare(tmp_dir);
		MUST(sandbox_drop(NOBODY, NOBODY, kind == SANDBOX_MANAGER ? NULL : empty_dir) == 0);
		worker_start(&w, works[kind]);
		MUST(sandbox_limit(kind) == 0 && sandbox_filter(kind) == 0);
		works[kind]();
		worker_run(&w);
		if (kind == SANDBOX_KEEPER)
			sandbox_work_keeper();
		exit(0); /* with all exit handlers: they must not die either */
	}
	assert_int_equal(reap(pid), 0);
}

static void xen_backend_dies_of_what_is_forbidden(void **state)
{
	(void)state;
	forbidden(SANDBOX_BACKEND_XEN);
}

static void backend_can_work(void **state)
{
	(void)state;
	work_status(SANDBOX_BACKEND);
}

static void xen_backend_can_work(void **state)
{
	(void)state;
	work_status(SANDBOX_BACKEND_XEN);
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
		MUST(sandbox_drop(NOBODY, NOBODY, empty_dir) == 0);
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

static _Noreturn void meet_limits(enum sandbox_kind kind, rlim_t files, rlim_t memory)
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
	MUST(limit_is(RLIMIT_NOFILE, files) && (memory == RLIM_INFINITY || limit_is(RLIMIT_AS, memory)));
	MUST(write(file, &v, sizeof(v)) < 0 && errno == EFBIG);
	MUST(write(pipefd[1], &v, sizeof(v)) == sizeof(v) && write(ev, &v, sizeof(v)) == sizeof(v));
	MUST(fcntl(file, F_DUPFD, (int)files) < 0);
	worker_run(&w); /* made before: still there */
	if (geteuid() == NOBODY) /* the kernel does not count the processes of a privileged one */
		MUST(pthread_create(&t, NULL, sitting_thread, NULL) == EAGAIN && fork() < 0 && errno == EAGAIN);
	MUST(setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 }) < 0);
	_exit(0);
}

static void limits_of(enum sandbox_kind kind, rlim_t files, rlim_t memory)
{
	pid_t pid = fork();

	if (pid == 0)
		meet_limits(kind, files, memory);
	assert_int_equal(reap(pid), 0);
}

static void limits_bind_the_workers(void **state)
{
	(void)state;
	limits_of(SANDBOX_BACKEND, 16, 96u << 20);
	limits_of(SANDBOX_KEEPER, 64, RLIM_INFINITY);
}

static void a_backend_cannot_take_the_hosts_memory(void **state)
{
	pid_t pid = fork();
	size_t got = 0;

	(void)state;
	if (pid == 0) {
		MUST(sandbox_limit(SANDBOX_BACKEND) == 0);
		while (got < 1000 && mmap(NULL, 1u << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
			got++;
		MUST(errno == ENOMEM && got > 32 && got < 96);
		_exit(0);
	}
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
		print_message("skip test_sandbox: only root has something to drop\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		MUST(sandbox_drop(0, NOBODY, NULL) == ERR_INVAL && sandbox_drop(NOBODY, 0, NULL) == ERR_INVAL);
		MUST(sandbox_drop((uid_t)-1, NOBODY, NULL) == ERR_INVAL);
		MUST(sandbox_drop(NOBODY, NOBODY, "/nonexistent") == ERR_NOTFOUND && geteuid() == 0);
		MUST(sandbox_drop(NOBODY, NOBODY, empty_dir) == 0);
		MUST(getuid() == NOBODY && geteuid() == NOBODY && getgid() == NOBODY && getgroups(0, NULL) == 0);
		MUST(setuid(0) < 0 && seteuid(0) < 0 && setgid(0) < 0 && setgroups(0, NULL) < 0);
		MUST(open("/etc/passwd", O_RDONLY) < 0 && errno == ENOENT);
		MUST(chroot("/") < 0);
		MUST(sandbox_drop(NOBODY, NOBODY, "/nonexistent") == 0); /* not root any more: nothing to do */
		_exit(0);
	}
	assert_int_equal(reap(pid), 0);
}

/* In two steps: after the first one is still root, without files, groups and anything that an exec could give back. */
static void confining_comes_first(void **state)
{
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skip test_sandbox: only root has something to drop\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		MUST(sandbox_confine("/nonexistent") == ERR_NOTFOUND);
		MUST(sandbox_confine(empty_dir) == 0);
		MUST(geteuid() == 0 && getgroups(0, NULL) == 0 && prctl(PR_CAPBSET_READ, 0) == 0);
		MUST(open("/etc/passwd", O_RDONLY) < 0 && errno == ENOENT);
		MUST(sandbox_become(0, NOBODY) == ERR_INVAL && sandbox_become(NOBODY, 0) == ERR_INVAL);
		MUST(sandbox_become(NOBODY, NOBODY) == 0);
		MUST(getuid() == NOBODY && setuid(0) < 0 && setgid(0) < 0);
		_exit(0);
	}
	assert_int_equal(reap(pid), 0);
}

/* A change of ids sets what fs.suid_dumpable says. Hosts differ; it shall not depend on that, nor does this test change it. */
static void dropping_leaves_nothing_to_dump(void **state)
{
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skip test_sandbox: only root has something to drop\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		MUST(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
		MUST(sandbox_drop(NOBODY, NOBODY, empty_dir) == 0);
		MUST(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
		_exit(0);
	}
	assert_int_equal(reap(pid), 0);
}

/* A path below a directory that somebody else owns: what is there may not be what was made. */
static void only_an_empty_directory_of_ones_own_is_entered(void **state)
{
	char path[64];
	int fd;

	(void)state;
	fd = sandbox_open_empty(empty_dir);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/link", tmp_dir);
	assert_int_equal(symlink(empty_dir, path), 0);
	assert_true(sandbox_open_empty(path) < 0);
	assert_int_equal(sandbox_open_empty(tmp_dir), ERR_DENIED); /* others may write to it */
	assert_int_equal(chmod(tmp_dir, 0755), 0);
	assert_int_equal(sandbox_open_empty(tmp_dir), ERR_DENIED); /* there is something in it */
	assert_int_equal(unlink(path), 0);
	fd = sandbox_open_empty(tmp_dir);
	assert_true(fd >= 0);
	close(fd);
	if (geteuid() == 0) {
		assert_int_equal(chown(tmp_dir, NOBODY, NOBODY), 0);
		assert_int_equal(sandbox_open_empty(tmp_dir), ERR_DENIED);
		assert_int_equal(chown(tmp_dir, 0, 0), 0);
	}
	assert_int_equal(chmod(tmp_dir, 0777), 0);
	assert_true(sandbox_open_empty("/dev/null") < 0);
	assert_int_equal(sandbox_open_empty("/nonexistent"), ERR_NOTFOUND);
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
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0 || !mkdtemp(tmp_dir) || !mkdtemp(empty_dir))
		return -1;
	sandbox_attempts_prepare(getpid(), null_fd);
	return chmod(tmp_dir, 0777) || chmod(empty_dir, 0555);
}

static int group_teardown(void **state)
{
	(void)state;
	close(null_fd);
	return rmdir(empty_dir) || rmdir(tmp_dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backend_dies_of_what_is_forbidden),
		cmocka_unit_test(keeper_dies_of_what_is_forbidden),
		cmocka_unit_test(manager_dies_of_what_is_forbidden),
		cmocka_unit_test(xen_backend_dies_of_what_is_forbidden),
		cmocka_unit_test(backend_can_work),
		cmocka_unit_test(xen_backend_can_work),
		cmocka_unit_test(keeper_can_work),
		cmocka_unit_test(manager_can_work),
		cmocka_unit_test(proc_shows_the_sandbox),
		cmocka_unit_test(limits_bind_the_workers),
		cmocka_unit_test(a_backend_cannot_take_the_hosts_memory),
		cmocka_unit_test(limits_of_the_manager),
		cmocka_unit_test(dropping_is_for_good),
		cmocka_unit_test(confining_comes_first),
		cmocka_unit_test(dropping_leaves_nothing_to_dump),
		cmocka_unit_test(only_an_empty_directory_of_ones_own_is_entered),
		cmocka_unit_test(others_are_closed),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
#endif
