/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tpmproxy LISTEN UPSTREAM LOG [KIND [CODE/]FIRST[-LAST] VALUE]
 *
 * Sits on the way to a TPM behind a unix stream socket, as somebody on the bus does. Goes into the background once it
 * listens, and prints its pid. One connection at a time. LOG gets a line a command: command and response in hex, as
 * they passed to and from the TPM. See tpmproxy.h for the kinds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/util.h"
#include "tests/tools/tpmproxy.h"

#define HEADER_SIZE 10u

struct proxy {
	struct plan plan;
	struct sockaddr_un upstream;
	FILE *log;
	unsigned long n;
	struct frame cmd, rsp;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tpmproxy: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool read_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = read(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r;
		n -= (size_t)r;
	}
	return true;
}

/* A command or response: the header tells its size (TPM 2.0 Part 1, 18). */
static bool read_frame(int fd, struct frame *f)
{
	uint16_t tag;
	uint32_t size;
	struct buf b;

	if (!read_all(fd, f->mem, HEADER_SIZE))
		return false;
	buf_wrap(&b, f->mem, HEADER_SIZE);
	if (buf_get_u16be(&b, &tag) || buf_get_u32be(&b, &size) || size < HEADER_SIZE || size > sizeof(f->mem))
		return false;
	f->len = size;
	return read_all(fd, f->mem + HEADER_SIZE, size - HEADER_SIZE);
}

static void note(struct proxy *p)
{
	static char cmd[2 * PROXY_FRAME_MAX + 1], rsp[2 * PROXY_FRAME_MAX + 1];

	if (hex_encode(p->cmd.mem, p->cmd.len, cmd, sizeof(cmd)) || hex_encode(p->rsp.mem, p->rsp.len, rsp, sizeof(rsp)))
		abort();
	fprintf(p->log, "%s %s\n", cmd, rsp);
	fflush(p->log);
}

static bool pass_one(struct proxy *p, int client, int tpm)
{
	bool counts, last;

	if (!read_frame(client, &p->cmd))
		return false;
	counts = plan_counts(&p->plan, &p->cmd);
	p->n += counts;
	p->rsp.len = 0;
	if (!(counts && plan_answers(&p->plan, p->n)) &&
	    (!write_all(tpm, p->cmd.mem, p->cmd.len) || !read_frame(tpm, &p->rsp)))
		return false;
	note(p);
	last = counts && plan_apply(&p->plan, p->n, &p->rsp);
	return write_all(client, p->rsp.mem, p->rsp.len) && !last;
}

static void serve(struct proxy *p, int client)
{
	int tpm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (tpm >= 0 && !connect(tpm, (const struct sockaddr *)&p->upstream, sizeof(p->upstream)))
		while (pass_one(p, client, tpm))
			;
	fd_close(&tpm);
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) || chmod(path, 0666) || listen(fd, 8))
		die(path);
	return fd;
}

static void go_background(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0) {
		printf("%d\n", pid);
		exit(0);
	}
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		exit(1);
}

int main(int argc, char **argv)
{
	static struct proxy p = { .upstream.sun_family = AF_UNIX };
	int listener, client;

	if (argc < 4 || !plan_parse(&p.plan, argc - 4, argv + 4)) {
		fputs("usage: tpmproxy LISTEN UPSTREAM LOG [flip|code|size|cut|garbage [CODE/]FIRST[-LAST] VALUE]\n", stderr);
		return 2;
	}
	snprintf(p.upstream.sun_path, sizeof(p.upstream.sun_path), "%s", argv[2]);
	p.log = fopen(argv[3], "we");
	if (!p.log)
		die(argv[3]);
	listener = listen_at(argv[1]);
	go_background();
	while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		serve(&p, client);
		fd_close(&client);
	}
	return 1;
}
