/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/sandbox_attempts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/sandbox.h"
#include "lib/util.h"

#define X (1u << SANDBOX_BACKEND_XEN)
#define B ((1u << SANDBOX_BACKEND) | X)
#define K (1u << SANDBOX_KEEPER)
#define M (1u << SANDBOX_MANAGER)
#define ALL (B | K | M)

static pid_t test_pid; /* the target of attacks */
static int null_fd;
static long word; /* what an attacker would read or write */

void sandbox_attempts_prepare(pid_t victim, int open_fd)
{
	test_pid = victim;
	null_fd = open_fd;
}

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

/* IOCTL_EVTCHN_BIND_INTERDOMAIN and IOCTL_GNTDEV_MAP_GRANT_REF of xen/sys: another domain's signals and pages. */
static void try_ioctl_bind(void)
{
	uint32_t domain_and_port[2] = { 1, 1 };

	syscall(SYS_ioctl, null_fd, _IOC(_IOC_NONE, 'E', 1, 8), domain_and_port);
}

static void try_ioctl_map(void)
{
	uint32_t map[6] = { 1, 0, 0, 0, 1, 1 };

	syscall(SYS_ioctl, null_fd, _IOC(_IOC_NONE, 'G', 0, 24), map);
}

static void try_ioctl_notify(void)
{
	uint32_t port = 1;

	syscall(SYS_ioctl, null_fd, SANDBOX_IOCTL_NOTIFY, &port);
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

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(5 /* open */), "b"(0), "c"(0), "d"(0)
			 : "memory", "r8", "r9", "r10", "r11");
}

static void try_x32(void)
{
	syscall(0x40000000 | SYS_read, null_fd, &word, sizeof(word));
}
#endif

const struct sandbox_attempt sandbox_attempts[] = {
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
	{ "ioctl(EVTCHN_BIND_INTERDOMAIN)", try_ioctl_bind, ALL },
	{ "ioctl(GNTDEV_MAP_GRANT_REF)", try_ioctl_map, ALL },
	{ "ioctl(EVTCHN_NOTIFY)", try_ioctl_notify, ALL & ~X },
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

const size_t sandbox_attempts_count = ARRAY_LEN(sandbox_attempts);
