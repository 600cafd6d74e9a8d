/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/util.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static const char digits[] = "0123456789abcdef";

/* The value of a hexadecimal digit, -1 if it is none. Not isxdigit: that depends on the locale. */
static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Two digits at s to a byte, -1 if they are none. Does not look past a NUL. */
static int byte_value(const char *s)
{
	int hi = digit_value(s[0]);
	int lo = hi < 0 ? -1 : digit_value(s[1]);

	return lo < 0 ? -1 : hi << 4 | lo;
}

/* RFC 9562, section 4: 8-4-4-4-12 digits, so a hyphen stands before these bytes. */
static bool hyphen_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const uint8_t uuid[static UUID_LEN], char out[static UUID_STR_LEN + 1])
{
	for (size_t i = 0; i < UUID_LEN; i++) {
		if (hyphen_before(i))
			*out++ = '-';
		*out++ = digits[uuid[i] >> 4];
		*out++ = digits[uuid[i] & 15];
	}
	*out = '\0';
}

int uuid_parse(const char *s, uint8_t uuid[static UUID_LEN])
{
	uint8_t tmp[UUID_LEN];

	for (size_t i = 0; i < UUID_LEN; i++) {
		int v;

		if (hyphen_before(i) && *s++ != '-')
			return ERR_INVAL;
		v = byte_value(s);
		if (v < 0)
			return ERR_INVAL;
		tmp[i] = (uint8_t)v;
		s += 2;
	}
	if (*s != '\0')
		return ERR_INVAL;
	memcpy(uuid, tmp, UUID_LEN);
	return 0;
}

int uuid_random(uint8_t uuid[static UUID_LEN])
{
	int err = random_bytes(uuid, UUID_LEN);

	if (err)
		return err;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 9562, section 5.4: version 4 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* section 4.1: the variant of that RFC */
	return 0;
}

int hex_encode(const void *p, size_t n, char *out, size_t cap)
{
	const uint8_t *in = p;

	if (cap == 0 || n > (cap - 1) / 2)
		return ERR_RANGE;
	for (size_t i = 0; i < n; i++) {
		*out++ = digits[in[i] >> 4];
		*out++ = digits[in[i] & 15];
	}
	*out = '\0';
	return 0;
}

int hex_decode(const char *s, void *p, size_t n)
{
	uint8_t *out = p;

	if (n > SIZE_MAX / 2 || strlen(s) != 2 * n)
		return ERR_INVAL;
	for (size_t i = 0; i < n; i++) {
		int v = byte_value(s + 2 * i);

		if (v < 0)
			return ERR_INVAL;
		out[i] = (uint8_t)v;
	}
	return 0;
}

bool name_valid(const char *s)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strnlen(s, NAME_MAX_LEN + 1);

	return n >= 1 && n <= NAME_MAX_LEN && s[0] != '.' && s[0] != '-' && strspn(s, allowed) == n;
}

int random_bytes(void *p, size_t n)
{
	uint8_t *out = p;

	while (n > 0) {
		ssize_t r = getrandom(out, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return ERR_SYS;
		out += r;
		n -= (size_t)r;
	}
	return 0;
}

/* The timer's signal comes again and again: one that came before the wait began would be lost. */
#define HURRY_NS 500000

static timer_t hurry_timer; /* a signal and its timer are the process's */
static bool hurry_ready;

static void on_hurry(int sig)
{
	(void)sig; /* that it came ends the wait */
}

int fd_hurry_prepare(void)
{
	struct sigaction sa = { .sa_handler = on_hurry };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };

	if (sigaction(SIGALRM, &sa, NULL) || timer_create(CLOCK_MONOTONIC, &ev, &hurry_timer))
		return err_from_errno(errno);
	hurry_ready = true;
	return 0;
}

void fd_hurry_forget(void)
{
	if (hurry_ready)
		(void)timer_delete(hurry_timer); /* a parent's is not there */
	signal(SIGALRM, SIG_DFL);
	hurry_ready = false;
}

bool fd_hurry_is_prepared(void)
{
	return hurry_ready;
}

static void hurry_set(long ns)
{
	const struct itimerspec t = { .it_value.tv_nsec = ns, .it_interval.tv_nsec = ns };
	int saved = errno;

	if (hurry_ready)
		(void)timer_settime(hurry_timer, 0, &t, NULL); /* fails for no timer and no time, and here are both */
	errno = saved;
}

void fd_hurry_begin(void)
{
	hurry_set(HURRY_NS);
}

void fd_hurry_end(void)
{
	hurry_set(0);
}

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0) {
		fd_hurry_begin();
		close(*fd);
		fd_hurry_end();
	}
	*fd = -1;
	errno = saved;
}

int parse_u64(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (*s == '\0')
		return ERR_INVAL;
	for (; *s; s++) {
		unsigned d;

		if (*s < '0' || *s > '9')
			return ERR_INVAL;
		d = (unsigned)(*s - '0');
		if (v > (UINT64_MAX - d) / 10)
			return ERR_RANGE;
		v = v * 10 + d;
	}
	if (v > max)
		return ERR_RANGE;
	*out = v;
	return 0;
}
