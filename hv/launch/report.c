/* SPDX-License-Identifier: BSD-2-Clause */
/* What both toolstacks' launches begin and end with: the user's signature, and the word of what came of it. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/launch/launch.h"

#define SIGNATURE_MAX 1024u /* bytes */

static int write_log(const char *file, const uint8_t *log, size_t size, struct ctl_error *e)
{
	FILE *f = fopen(file, "we");
	bool bad = !f || fwrite(log, 1, size, f) != size;

	if (f && fclose(f))
		bad = true;
	return bad ? ctl_fail(e, ERR_IO, EXIT_FAILED, "%s: %s", file, strerror(errno)) : 0;
}

static int print_launch_json(const struct launch_args *a, const struct events *l, const char *digest, size_t size)
{
	json_t *o = json_pack("{s:s?, s:s, s:b, s:I, s:o}", "vtpm", a->vtpm, "digest", digest, "startup", l->startup, "eventlog_size",
			      (json_int_t)size, "events", events_json(l));
	int status = print_json(o);

	json_decref(o);
	return status;
}

int launch_report(const struct launch_args *a, const struct events *l, const char *digest, struct ctl_error *e)
{
	uint8_t log[LAUNCH_LOG_MAX];
	char ours[65];
	size_t size;
	int err = events_log(l, log, &size, ours);

	if (err)
		return ctl_fail(e, err, EXIT_FAILED, "the event log: %s", err_text(err));
	if (a->eventlog)
		err = write_log(a->eventlog, log, size, e);
	if (err)
		return err;
	if (a->json) {
		print_launch_json(a, l, digest ? digest : ours, size);
	} else if (a->measure) {
		events_print(l);
		printf("digest %s\n", ours);
	} else {
		fprintf(stderr, "vtpm-launch: launched with digest %s\n", digest);
	}
	if (fflush(stdout) || ferror(stdout))
		return ctl_fail(e, ERR_IO, EXIT_FAILED, "standard output: %s", strerror(errno));
	return 0;
}

int launch_signature(const struct launch_args *a, char **base64, struct ctl_error *e)
{
	struct image i;
	const void *p;
	int err;

	*base64 = NULL;
	if (!a->signature)
		return 0;
	err = image_read(&i, a->signature, SIGNATURE_MAX, e);
	if (err)
		return err;
	p = image_map(&i);
	*base64 = p ? malloc(4 * ((i.size + 2) / 3) + 1) : NULL;
	if (*base64)
		EVP_EncodeBlock((unsigned char *)*base64, p, (int)i.size);
	else
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	image_unmap(&i, p);
	image_close(&i);
	return err;
}
