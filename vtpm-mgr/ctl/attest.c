/* SPDX-License-Identifier: BSD-2-Clause */
/* Evidence, into a file for the verifier. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "vtpm-mgr/ctl/ctl.h"

static int failed(const char *path, struct ctl_error *e)
{
	return ctl_fail(e, ERR_IO, EXIT_FAILED, "%s: %s", path, strerror(errno));
}

static int write_out(const char *path, const uint8_t *p, size_t n, struct ctl_error *e)
{
	FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	int err;

	if (!f)
		return failed(path, e);
	err = fwrite(p, 1, n, f) != n ? failed(path, e) : 0;
	if (f != stdout && fclose(f) && !err)
		err = failed(path, e);
	return err;
}

/* Base64, whose padding stands for bytes that are none. */
static int decode(const char *text, uint8_t *out, size_t *n)
{
	const size_t len = strlen(text);
	int got;

	if (!len || len % 4 || len > (size_t)1 << 30)
		return ERR_PROTO;
	got = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
	if (got < 0)
		return ERR_PROTO;
	*n = (size_t)got - (text[len - 1] == '=') - (text[len - 2] == '=');
	return 0;
}

static int keep(const struct ctl_args *a, json_t *reply, struct ctl_error *e)
{
	const char *text = str(reply, "evidence");
	uint8_t *mem = malloc(strlen(text) + 1);
	size_t n = 0;
	int err = ERR_NOMEM;

	if (mem)
		err = decode(text, mem, &n);
	err = err ? ctl_fail(e, err, EXIT_FAILED, "the manager's answer is no evidence") : write_out(a->out, mem, n, e);
	free(mem);
	return err;
}

int attest_run(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	int err;

	if (!json_object_get(a->params, "nonce") || (!a->out && !a->json))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "attest needs --nonce, and --out or --json");
	err = client_call(&a->at, a->command->method, a->params, NULL, 0, reply, e);
	if (err || !a->out)
		return err;
	err = keep(a, *reply, e);
	if (err)
		json_decref(*reply);
	return err;
}

int print_attest(const struct ctl_args *a, json_t *params)
{
	(void)params;
	if (strcmp(a->out, "-") != 0)
		linef("evidence", "%s", a->out);
	return EXIT_OK;
}
