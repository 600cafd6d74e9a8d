/* SPDX-License-Identifier: BSD-2-Clause */
/* What the commands about recovery print. */
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/ctl/ctl.h"

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void print_name(const char *label, const char *s)
{
	printf("%-11s ", label);
	ctl_put_text(s);
	putchar('\n');
}

static void print_kept(json_t *recovery)
{
	json_t *g;
	size_t i;

	json_array_foreach(json_object_get(recovery, "groups"), i, g) {
		printf("%-11s ", "group");
		ctl_put_text(text(g, "name"));
		puts(json_is_true(json_object_get(g, "kept")) ? ": every recovery key opens its root" : ": not every recovery key, or none, opens its root");
	}
}

int print_recovery(const struct ctl_args *a, json_t *params)
{
	json_t *r = json_object_get(params, "recovery"), *key;
	size_t i;

	(void)a;
	print_name("keys from", text(r, "directory"));
	json_array_foreach(json_object_get(r, "keys"), i, key)
		print_name("key", json_is_string(key) ? json_string_value(key) : "");
	print_kept(r);
	if (text(r, "moved")[0])
		print_name("moved", text(r, "moved"));
	return EXIT_OK;
}

int print_recovery_init(const struct ctl_args *a, json_t *params)
{
	int status = print_recovery(a, params);

	puts("\nAny one of these keys recovers. Keep each private key off this host, where neither a fire nor a thief has both; with it, or in the\n"
	     "backup, a copy of what \"vtpmctl recovery show --json\" prints: it is no secret. The store holds one, too. Then try it: docs/recovery.md.");
	return status;
}

/* A file, with a note beside it for a person. */
int print_challenge(const struct ctl_args *a, json_t *params)
{
	(void)a;
	fputs("vtpmctl: the keeper has logged the code of this challenge: journalctl -u vtpm-mgr, or the terminal of vtpm-mgr --recover; it is "
	      "good for an hour\n", stderr);
	return print_json(params);
}

/* The answers, which are a file; the owner hierarchy's password as the one line that tools of TPMs take. */
int print_opened(const struct ctl_args *a, json_t *params)
{
	if (!a->owner_auth)
		return print_json(params);
	return puts(text(params, "owner_auth")) < 0 ? EXIT_FAILED : EXIT_OK;
}

int print_resealed(const struct ctl_args *a, json_t *params)
{
	json_t *g;
	size_t i;

	(void)a;
	json_array_foreach(json_object_get(params, "groups"), i, g) {
		ctl_put_text(json_is_string(g) ? json_string_value(g) : "");
		puts(": another root");
	}
	printf("vTPMs with another key: %lld; that get theirs when they are powered on, or change: %lld\n",
	       (long long)json_integer_value(json_object_get(params, "changed")), (long long)json_integer_value(json_object_get(params, "due")));
	return EXIT_OK;
}

int print_restored(const struct ctl_args *a, json_t *params)
{
	json_t *g;
	size_t i;

	(void)a;
	json_array_foreach(json_object_get(params, "groups"), i, g) {
		ctl_put_text(json_is_string(g) ? json_string_value(g) : "");
		puts(": its root is sealed in this TPM");
	}
	if (json_is_true(json_object_get(params, "moved")))
		puts("The TPM is another one than before: nothing proves that this store is the newest. Each vTPM has one discontinuity more, and\n"
		     "the CA is another one; certificates of vTPMs that there are verify against the former one, which \"vtpmctl ca\" prints, too.");
	return EXIT_OK;
}
