/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xenback SOCKET: a back end for Xen's vtpm devices that can be told to misbehave: what a guest's driver must bear from a
 * hostile host. It serves one guest at a time, the first that appears below backend/vtpm in its own domain's xenstore,
 * with the TPM that swtpm serves at SOCKET. Orders are lines on standard input, what happens are lines on standard output.
 *
 * Not with the machine's TPM: the kernel's tpm_tis cancels PCR_Extend or GetCapability after 750 ms without having looked
 * whether the TPM has answered by then, and an emulated machine can stand still for longer than that.
 *
 *	honest		answer as the TPM does
 *	hold		answer nothing until the guest cancels; then TPM_RC_CANCELED
 *	mute		answer nothing, cancelled or not
 *	drop		give up each request: state IDLE, no answer
 *	length N	the TPM's answer, under a length of N
 *	extra		the TPM's answer, with 255 extra pages claimed
 *	tear		the TPM's answer, while length, state and bytes change all the time until the next request
 *	flood N		N signals for nothing, at once
 *	drip N		the same, but the guest is let run between them
 *	close		Closing, as before a restart; when the guest has closed, InitWait again
 *	vanish		InitWait at once: a back end that died and began anew
 *	hoard N		the same N times, each time that the guest is connected, and no page is let go of; 0: all are
 *	quit N		the TPM's answers, and to the request after N of them `vanish`, once
 *	banks N		the TPM's answers, but for TPM2_GetCapability(TPM_CAP_PCRS): N banks of SHA-1
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#include "hv/page.h"
#include "lib/util.h"
#include "vtpm-backend/tpm.h"

#define ROOT "backend/vtpm"
#define HOARD_MAX 64u

enum xenbus_state { INIT_WAIT = 2, INITIALISED = 3, CONNECTED = 4, CLOSING = 5, CLOSED = 6 };

struct back {
	struct xs_handle *xs;
	xenevtchn_handle *evtchn;
	xengnttab_handle *gnttab;
	int tpm;
	char dir[64];	 /* backend/vtpm/DOMAIN/HANDLE; empty: no guest yet */
	char front[128]; /* the guest's directory */
	uint32_t domain;
	int front_state; /* as last seen */
	volatile uint8_t *page;
	xenevtchn_port_or_error_t port;
	char manner[16];
	unsigned long manner_arg;
	bool requested; /* a request has been announced, and not answered */
	unsigned long hoarding; /* rings that are still to be had */
	void *hoard[HOARD_MAX]; /* pages that have been kept */
	size_t hoarded;
};

static atomic_bool tearing;
static pthread_t tearer;
static bool tearer_runs;

__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "xenback: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* dir/name as a string that the caller frees, or NULL. */
static char *read_node(struct back *b, const char *dir, const char *name)
{
	char path[256];
	unsigned len;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return xs_read(b->xs, XBT_NULL, path, &len);
}

static uint32_t read_number(struct back *b, const char *dir, const char *name)
{
	char *s = read_node(b, dir, name);
	uint64_t v = 0;

	if (s && parse_u64(s, UINT32_MAX, &v))
		v = 0;
	free(s);
	return (uint32_t)v;
}

static void write_node(struct back *b, const char *name, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	if (!xs_write(b->xs, XBT_NULL, path, value, (unsigned)strlen(value)))
		die(path);
}

static void set_state(struct back *b, enum xenbus_state state)
{
	char value[2] = { (char)('0' + state), '\0' };

	write_node(b, "state", value);
}

/* --- the TPM --- */

static int tpm_open(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int tpm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (tpm < 0 || connect(tpm, (struct sockaddr *)&sa, sizeof(sa)))
		die(path);
	return tpm;
}

static void tpm_read(int tpm, uint8_t *p, size_t len)
{
	ssize_t n;

	for (; len; p += n, len -= (size_t)n) {
		n = recv(tpm, p, len, 0);
		if (n <= 0)
			die("answer of the TPM");
	}
}

static size_t tpm_answer(int tpm, uint8_t *buf, size_t size)
{
	size_t len;

	tpm_read(tpm, buf, TPM_HEADER_SIZE);
	len = (size_t)buf[2] << 24 | (size_t)buf[3] << 16 | (size_t)buf[4] << 8 | buf[5];
	if (len < TPM_HEADER_SIZE || len > size)
		die("length of the TPM's answer");
	tpm_read(tpm, buf + TPM_HEADER_SIZE, len - TPM_HEADER_SIZE);
	return len;
}

/* --- the ring --- */

static void *tear(void *arg)
{
	volatile uint8_t *page = arg;

	for (uint32_t i = 0; atomic_load(&tearing); i++) {
		page_set_length(page, i % 3 ? 0xfffffff0u + i % 16 : i % CHAN_PAGE_SIZE);
		page_set_u8(page, CHAN_OFF_NR_EXTRA, (uint8_t)i);
		page_set_u8(page, CHAN_HEADER_SIZE + i % CHAN_PACKET_MAX, (uint8_t)i);
		/* Never SUBMIT or CANCEL: those are the guest's, and would be a request. */
		page_set_state(page, i % 2 ? CHAN_STATE_FINISH : CHAN_STATE_IDLE);
	}
	return NULL;
}

static void tear_stop(void)
{
	if (!tearer_runs)
		return;
	atomic_store(&tearing, false);
	pthread_join(tearer, NULL);
	tearer_runs = false;
}

static void tear_start(struct back *b)
{
	atomic_store(&tearing, true);
	if (pthread_create(&tearer, NULL, tear, (void *)(uintptr_t)b->page))
		die("thread");
	tearer_runs = true;
}

static void ring_unmap(struct back *b)
{
	tear_stop();
	if (!b->page)
		return;
	xenevtchn_unbind(b->evtchn, (evtchn_port_t)b->port);
	if (b->hoarding > 0 && b->hoarded < HOARD_MAX)
		b->hoard[b->hoarded++] = (void *)(uintptr_t)b->page;
	else
		xengnttab_unmap(b->gnttab, (void *)(uintptr_t)b->page, 1);
	b->page = NULL;
	b->requested = false;
}

static void vanish(struct back *b)
{
	ring_unmap(b);
	set_state(b, INIT_WAIT);
}

static void hoard_more(struct back *b)
{
	if (b->hoarding == 0 || !b->page)
		return;
	vanish(b);
	b->hoarding--;
}

static void hoard_drop(struct back *b)
{
	while (b->hoarded > 0)
		xengnttab_unmap(b->gnttab, b->hoard[--b->hoarded], 1);
}

static void ring_map(struct back *b)
{
	uint32_t ref = read_number(b, b->front, "ring-ref");

	b->page = xengnttab_map_grant_ref(b->gnttab, b->domain, ref, PROT_READ | PROT_WRITE);
	if (!b->page)
		die("map");
	b->port = xenevtchn_bind_interdomain(b->evtchn, b->domain, read_number(b, b->front, "event-channel"));
	if (b->port < 0)
		die("bind");
	set_state(b, CONNECTED);
	tell("connected");
}

static void respond(struct back *b, const uint8_t *rsp, size_t len)
{
	bool lie = strcmp(b->manner, "length") == 0;

	page_write(b->page, CHAN_HEADER_SIZE, rsp, len);
	page_set_length(b->page, lie ? (uint32_t)b->manner_arg : (uint32_t)len);
	page_set_u8(b->page, CHAN_OFF_NR_EXTRA, strcmp(b->manner, "extra") == 0 ? 255 : 0);
	page_set_state(b->page, CHAN_STATE_FINISH);
	if (strcmp(b->manner, "tear") == 0)
		tear_start(b);
	b->requested = false;
	xenevtchn_notify(b->evtchn, (evtchn_port_t)b->port);
}

/* TPM2_GetCapability(TPM_CAP_PCRS), answered with count banks of SHA-1, all of them in use. */
static void invent_banks(struct back *b, uint8_t count)
{
	static const uint8_t bank[] = { 0x00, 0x04, 3, 0xff, 0xff, 0xff };
	uint8_t rsp[19 + 255 * sizeof(bank)] = { 0x80, 0x01, [14] = 5, [18] = count };
	size_t len = 19 + count * sizeof(bank);

	rsp[4] = (uint8_t)(len >> 8);
	rsp[5] = (uint8_t)len;
	for (size_t i = 0; i < count; i++)
		memcpy(rsp + 19 + i * sizeof(bank), bank, sizeof(bank));
	respond(b, rsp, len);
}

static void execute(struct back *b)
{
	static const uint8_t asks_banks[] = { 0, 0, 0x01, 0x7a, 0, 0, 0, 5 };
	uint8_t buf[CHAN_PACKET_MAX];
	uint32_t len = page_get_length(b->page);

	if (len > sizeof(buf))
		len = sizeof(buf);
	page_read(b->page, CHAN_HEADER_SIZE, buf, len);
	if (strcmp(b->manner, "banks") == 0 && len >= 14 && memcmp(buf + 6, asks_banks, sizeof(asks_banks)) == 0) {
		invent_banks(b, (uint8_t)b->manner_arg);
		return;
	}
	if (send(b->tpm, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send to the TPM");
	respond(b, buf, tpm_answer(b->tpm, buf, sizeof(buf)));
}

static void cancelled(struct back *b)
{
	static const uint8_t rc_canceled[] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09 };

	tell("cancelled");
	if (strcmp(b->manner, "mute") != 0)
		respond(b, rc_canceled, sizeof(rc_canceled));
}

static uint32_t request_code(const struct back *b)
{
	uint8_t code[4];

	page_read(b->page, CHAN_HEADER_SIZE + 6, code, sizeof(code));
	return (uint32_t)code[0] << 24 | (uint32_t)code[1] << 16 | (uint32_t)code[2] << 8 | code[3];
}

static void ring_look(struct back *b)
{
	uint8_t state;

	if (!b->page)
		return;
	state = page_get_state(b->page);
	if (state == CHAN_STATE_CANCEL && b->requested) {
		cancelled(b);
	} else if (state == CHAN_STATE_SUBMIT) {
		tear_stop();
		page_set_state(b->page, CHAN_STATE_SUBMIT); /* torn after we looked, perhaps */
		if (strcmp(b->manner, "hold") == 0 || strcmp(b->manner, "mute") == 0) {
			if (!b->requested)
				tell("request %x", request_code(b));
			b->requested = true;
		} else if (strcmp(b->manner, "drop") == 0) {
			page_set_state(b->page, CHAN_STATE_IDLE);
			xenevtchn_notify(b->evtchn, (evtchn_port_t)b->port);
		} else if (strcmp(b->manner, "quit") == 0 && b->manner_arg-- == 0) {
			snprintf(b->manner, sizeof(b->manner), "honest");
			tell("quit");
			vanish(b);
		} else {
			execute(b);
		}
	}
}

/* --- the guest's life, in xenstore --- */

static void guest_adopt(struct back *b, const char *path)
{
	unsigned domain, handle;
	char *front;

	if (b->dir[0] || sscanf(path, ROOT "/%u/%u", &domain, &handle) != 2)
		return;
	snprintf(b->dir, sizeof(b->dir), ROOT "/%u/%u", domain, handle);
	front = read_node(b, b->dir, "frontend");
	if (!front) {
		b->dir[0] = '\0'; /* not written yet */
		return;
	}
	snprintf(b->front, sizeof(b->front), "%s", front);
	free(front);
	b->domain = domain;
	b->front_state = 0;
	snprintf(b->manner, sizeof(b->manner), "honest");
	write_node(b, "feature-protocol-v2", "1");
	set_state(b, INIT_WAIT);
	if (!xs_watch(b->xs, b->front, "front"))
		die("watch");
	tell("guest %u", domain);
}

static void guest_lose(struct back *b)
{
	ring_unmap(b);
	xs_unwatch(b->xs, b->front, "front");
	b->dir[0] = '\0';
	tell("gone");
}

static void guest_look(struct back *b)
{
	char *uuid;
	int state;

	if (!b->dir[0])
		return;
	uuid = read_node(b, b->dir, "uuid");
	if (!uuid) { /* the toolstack has removed the device */
		guest_lose(b);
		return;
	}
	free(uuid);
	if (read_number(b, b->dir, "online") == 0 && read_number(b, b->dir, "state") == CLOSING) {
		ring_unmap(b);
		set_state(b, CLOSED);
		return;
	}
	state = (int)read_number(b, b->front, "state");
	if (state == b->front_state)
		return;
	b->front_state = state;
	if ((state == INITIALISED || state == CONNECTED) && !b->page) {
		ring_map(b);
	} else if (state == CONNECTED) {
		hoard_more(b);
	} else if (state == CLOSING) {
		set_state(b, CLOSING);
	} else if (state == CLOSED) {
		ring_unmap(b);
		set_state(b, INIT_WAIT);
		tell("closed");
	}
}

static void watch_event(struct back *b)
{
	char **event;

	while ((event = xs_check_watch(b->xs)) != NULL) {
		if (strcmp(event[XS_WATCH_TOKEN], "back") == 0)
			guest_adopt(b, event[XS_WATCH_PATH]);
		free(event);
		guest_look(b);
		ring_look(b);
	}
}

/* --- orders --- */

static void obey(struct back *b, char *line)
{
	char word[16] = "";
	unsigned long arg = 0;

	if (sscanf(line, "%15s %lu", word, &arg) < 1)
		return;
	if (strcmp(word, "flood") == 0 || strcmp(word, "drip") == 0) {
		for (unsigned long i = 0; b->page && i < arg; i++) {
			xenevtchn_notify(b->evtchn, (evtchn_port_t)b->port);
			if (strcmp(word, "drip") == 0)
				usleep(1);
		}
	} else if (strcmp(word, "close") == 0) {
		set_state(b, CLOSING);
	} else if (strcmp(word, "vanish") == 0) {
		vanish(b);
	} else if (strcmp(word, "hoard") == 0) {
		b->hoarding = arg;
		if (arg == 0)
			hoard_drop(b);
		hoard_more(b);
	} else {
		tear_stop();
		snprintf(b->manner, sizeof(b->manner), "%s", word);
		b->manner_arg = arg;
		ring_look(b);
	}
	tell("did %s", word);
}

static void event(struct back *b)
{
	xenevtchn_port_or_error_t port = xenevtchn_pending(b->evtchn);

	if (port < 0)
		return;
	xenevtchn_unmask(b->evtchn, (evtchn_port_t)port);
	ring_look(b);
}

static void serve(struct back *b)
{
	struct pollfd fds[] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = xs_fileno(b->xs), .events = POLLIN },
		{ .fd = xenevtchn_fd(b->evtchn), .events = POLLIN },
	};
	char line[128];

	for (;;) {
		if (poll(fds, ARRAY_LEN(fds), -1) < 0)
			die("poll");
		if (fds[1].revents)
			watch_event(b);
		if (fds[2].revents)
			event(b);
		if (fds[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return;
			obey(b, line);
		}
	}
}

int main(int argc, char **argv)
{
	struct back b = { .tpm = -1 };

	if (argc != 2) {
		fprintf(stderr, "usage: xenback SOCKET\n");
		return 2;
	}
	setvbuf(stdin, NULL, _IONBF, 0); /* poll sees what fgets has not taken */
	b.tpm = tpm_open(argv[1]);
	b.xs = xs_open(0);
	b.evtchn = xenevtchn_open(NULL, 0);
	b.gnttab = xengnttab_open(NULL, 0);
	if (!b.xs || !b.evtchn || !b.gnttab || !xs_watch(b.xs, ROOT, "back"))
		die("open");
	tell("ready");
	serve(&b);
	ring_unmap(&b);
	fd_close(&b.tpm);
	return 0;
}
