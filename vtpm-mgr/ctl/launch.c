/* SPDX-License-Identifier: BSD-2-Clause */
/* Measured launch: what is allowed, and event logs. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vtpm-mgr/ctl/ctl.h"

#define PEM_MAX 4096u

/* The manager takes a key apart; here it is a text. */
int launch_allow_prepare(struct ctl_args *a, struct ctl_error *e)
{
	char pem[PEM_MAX + 1];
	size_t n;
	FILE *f;

	if (!a->nkeys == !json_object_get(a->params, "digest"))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "either a DIGEST or --key FILE must be given");
	if (!a->nkeys)
		return 0;
	f = fopen(a->keys[0], "re");
	if (!f)
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: %s", a->keys[0], strerror(errno));
	n = fread(pem, 1, PEM_MAX, f);
	fclose(f);
	pem[n] = '\0';
	if (strlen(pem) != n || strstr(pem, "-----BEGIN PUBLIC KEY-----") == NULL ||
	    json_object_set_new(a->params, "key", json_string(pem)))
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: no public key in PEM form can be read from it", a->keys[0]);
	return 0;
}

static void print_allowed(json_t *p, const char *whose)
{
	json_t *j;
	size_t i;

	json_array_foreach(json_object_get(p, "digests"), i, j)
		printf("digest  %-64s  %s\n", json_is_string(j) ? json_string_value(j) : "", whose);
	json_array_foreach(json_object_get(p, "keys"), i, j)
		printf("key     %-64s  %s\n", str(j, "fingerprint"), whose);
}

int print_launch_list(const struct ctl_args *a, json_t *params)
{
	json_t *p = json_object_get(params, "policy");

	(void)a;
	print_allowed(p, "");
	if (json_array_size(json_object_get(p, "digests")) + json_array_size(json_object_get(p, "keys")) == 0)
		print_allowed(json_object_get(p, "of_group"), "group's");
	return EXIT_OK;
}

static size_t count(json_t *p)
{
	return json_array_size(json_object_get(p, "digests")) + json_array_size(json_object_get(p, "keys"));
}

int print_launch(const struct ctl_args *a, json_t *params)
{
	json_t *p = json_object_get(params, "policy"), *g = json_object_get(p, "of_group");

	(void)a;
	line("launch", str(p, "launch"));
	if (g)
		linef("required", "%s", flag(p, "required") ? "of every guest" : flag(p, "required_of_domains") ? "of domains of Xen" : "no");
	if (count(p))
		linef("allowed", "%zu digests and keys; a launch that is not: %s", count(p), str(p, "mismatch"));
	else if (g && count(g))
		linef("allowed", "%zu digests and keys of group %s; a launch that is not: %s", count(g), str(p, "group"), str(p, "mismatch"));
	else
		line("allowed", "every measured launch");
	line("digest", str(p, "launch_digest"));
	if (json_is_integer(json_object_get(p, "launch_domain")))
		linef("for", "domain %lld of Xen", num(p, "launch_domain"));
	if (flag(p, "launch_waits"))
		line("waiting", "who it was launched for has not come yet");
	if (json_is_false(json_object_get(p, "launch_allowed")))
		line("mismatch", "this launch is not allowed; its PCRs tell");
	return EXIT_OK;
}

/* Strict base64, as the manager writes it. NULL: it is none. */
static unsigned char *decode(const char *s, size_t *n)
{
	size_t len = strlen(s), pad = 0;
	unsigned char *out = len > 0 && len % 4 == 0 ? malloc(len) : NULL;

	while (out && pad < 2 && s[len - 1 - pad] == '=')
		pad++;
	if (out && EVP_DecodeBlock(out, (const unsigned char *)s, (int)len) == (int)(len / 4 * 3)) {
		*n = len / 4 * 3 - pad;
		return out;
	}
	free(out);
	return NULL;
}

int print_eventlog(const struct ctl_args *a, json_t *params)
{
	size_t n = 0;
	unsigned char *log;
	FILE *f = stdout;
	bool ok;

	if (!a->out && isatty(STDOUT_FILENO)) {
		fputs("vtpmctl: the log is binary: say --out FILE, or have a program read it\n", stderr);
		return EXIT_USAGE;
	}
	log = decode(str(params, "log"), &n);
	if (log && a->out)
		f = fopen(a->out, "we");
	ok = log && f && fwrite(log, 1, n, f) == n;
	if (f && a->out)
		ok = !fclose(f) && ok;
	free(log);
	if (!ok)
		fprintf(stderr, "vtpmctl: %s: the log cannot be written\n", a->out ? a->out : "standard output");
	return ok ? EXIT_OK : EXIT_FAILED;
}
