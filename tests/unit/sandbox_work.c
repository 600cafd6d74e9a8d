/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/sandbox_work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "lib/ipc.h"
#include "lib/loop.h"
#include "lib/secmem.h"
#include "lib/sandbox.h"
#include "lib/util.h"

static const char *work_dir;

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
	void *big = malloc(33u << 20); /* above what malloc(3) would ever take from its heap */
	void *secret;

	MUST(numbers && big);
	big = realloc(big, 36u << 20);
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

void sandbox_work_common(void)
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

/* The signal to a guest; what is no port does not know it. */
void sandbox_work_xen(void)
{
	uint32_t port = 1;

	sandbox_work_common();
	MUST(ioctl(STDIN_FILENO, SANDBOX_IOCTL_NOTIFY, &port) != 0);
}

static struct loop loop;

static void loop_ends(void *arg)
{
	(void)arg;
	loop_stop(&loop);
}

void sandbox_work_keeper(void)
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

	snprintf(path, sizeof(path), "%s/db", work_dir);
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

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/sock", work_dir);
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

void sandbox_work_manager(void)
{
	char path[128];

	sandbox_work_common();
	MUST(loop_open(&loop) == 0);
	sandbox_work_keeper();
	database();
	listening();
	rings();
	snprintf(path, sizeof(path), "%s/dir", work_dir);
	MUST(mkdir(path, 0700) == 0 && rmdir(path) == 0);
}

/* Everything that is open before the filter. */
void sandbox_work_prepare(const char *dir)
{
	work_dir = dir;
	warm_openssl();
	log_open("test_sandbox", 0);
	MUST(ipc_pair(record_pair) == 0 && loop_open(&loop) == 0);
	event_fd = eventfd(0, EFD_CLOEXEC);
	sealed_memfd = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	MUST(event_fd >= 0 && sealed_memfd >= 0 && ftruncate(sealed_memfd, 4096) == 0);
	MUST(fcntl(sealed_memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
}
