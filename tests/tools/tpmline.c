/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tpmline RING: each line of hex on standard input is sent to the ring as one command, as it is, and its
 * response is printed as a line of hex. Ends with its input; a ring that is gone prints "lost" and is status 3.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "frontend-drivers/libvtpm/vtpm.h"
#include "lib/util.h"

#define TIMEOUT_MS 30000

/* The response to one line, as hex; false if there is none. */
static bool answer(struct vtpm *v, const char *line, char *out, size_t cap)
{
	uint8_t cmd[VTPM_COMMAND_MAX], rsp[VTPM_COMMAND_MAX];
	size_t n = strlen(line) / 2, len = sizeof(rsp);

	if (n > sizeof(cmd) || hex_decode(line, cmd, n)) {
		fprintf(stderr, "not hex: %s\n", line);
		return false;
	}
	return !vtpm_send(v, cmd, n) && !vtpm_receive(v, rsp, &len, TIMEOUT_MS) && !hex_encode(rsp, len, out, cap);
}

int main(int argc, char **argv)
{
	static char line[2 * VTPM_COMMAND_MAX + 2], out[2 * VTPM_COMMAND_MAX + 1];
	struct vtpm *v;
	int err = argc == 2 ? vtpm_open(argv[1], &v) : -EINVAL;

	if (err) {
		fprintf(stderr, "tpmline RING: %s %s\n", strerror(-err), vtpm_refusal());
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!answer(v, line, out, sizeof(out))) {
			puts("lost");
			return 3;
		}
		puts(out);
	}
	vtpm_close(v);
	return 0;
}
