/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What prediction reads: event logs, EFI programs, grub.cfg. The first byte says which. Most logs are given a first event that
 * is right: otherwise few inputs would come behind it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/predict/authenticode.h"
#include "vtpm-mgr/predict/predict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tell(void *arg, unsigned pcr, const char *was, const char *is)
{
	char a[100], b[100];

	(void)arg;
	(void)pcr;
	eventlog_excerpt(was ? was : "", is ? is : "", sizeof(a), a, b);
	if (strlen(a) >= sizeof(a) || strlen(b) >= sizeof(b))
		abort();
}

static const uint8_t header[32 + 37] = {
	[4] = 3, [28] = 37, [32] = 'S', 'p', 'e', 'c', ' ', 'I', 'D', ' ', 'E', 'v', 'e', 'n', 't', '0', '3', 0,
	[56] = 2, [60] = 4, [62] = 20, [64] = 0x0b, [66] = 32,
};

static uint8_t *with_header(const uint8_t *data, size_t size)
{
	uint8_t *log = malloc(sizeof(header) + size);

	if (!log)
		abort();
	memcpy(log, header, sizeof(header));
	memcpy(log + sizeof(header), data, size);
	return log;
}

/* The halves, as two logs. */
static void fuzz_difference(const uint8_t *data, size_t size)
{
	size_t half = size / 2;
	uint8_t *a = with_header(data, half), *b = with_header(data + half, size - half);
	struct event was, is;

	for (unsigned pcr = 0; pcr < EVENTLOG_PCRS; pcr++)
		if (!eventlog_difference(a, sizeof(header) + half, b, sizeof(header) + size - half, pcr, &was, &is))
			free(eventlog_text(&is));
	free(a);
	free(b);
}

static void fuzz_log(const uint8_t *data, size_t size)
{
	static char cfg[] = "menuentry a {\nmultiboot2 /xen\n}\n";
	struct prediction p = {.log = data, .log_len = size};
	struct eventlog l;
	struct event e;
	char name[EVENTLOG_NAME_MAX + 1];

	p.boot = (struct grub_boot){.cfg = cfg, .cfg_len = sizeof(cfg) - 1, .files = {{.name = "xen"}}, .nfiles = 1};
	if (!eventlog_open(&l, data, size))
		while (!eventlog_next(&l, &e))
			eventlog_name(&e, name);
	if (!predict(&p))
		predict_compare(&p, tell, NULL);
	trace_free(&p.trace);
}

static void fuzz_cfg(const uint8_t *data, size_t size)
{
	struct grub_boot boot = {.cfg = (const char *)data, .cfg_len = size, .files = {{.name = "x"}}, .nfiles = 1};
	struct trace t = {.v = NULL};
	char why[GRUB_WHY_MAX];

	if (grub_run(&boot, &t, why) && !strchr(why, ':') && strcmp(why, "out of memory") != 0)
		abort(); /* a refusal without a line */
	trace_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t digest[32];

	if (!size)
		return 0;
	switch (data[0] % 5) {
	case 0:
		fuzz_log(data + 1, size - 1);
		break;
	case 1: {
		uint8_t *log = with_header(data + 1, size - 1);

		fuzz_log(log, sizeof(header) + size - 1);
		free(log);
		break;
	}
	case 2:
		fuzz_difference(data + 1, size - 1);
		break;
	case 3:
		fuzz_cfg(data + 1, size - 1);
		break;
	default:
		if (authenticode_hash(data + 1, size - 1, digest))
			break;
	}
	return 0;
}
