/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/launch/domain.h"
#include "lib/util.h"

#define WORDS_MAX 64u

/* Words for xl: those of ours before the configuration and the user's, and those after. */
struct words {
	char *argv[WORDS_MAX + 16];
	size_t n;
};

static void put(struct words *w, const char *word)
{
	w->argv[w->n++] = (char *)(uintptr_t)word;
	w->argv[w->n] = NULL;
}

static void put_config(struct words *w, const struct domain *d)
{
	put(w, "create");
	put(w, "-q");
	if (!d->stub)
		put(w, "-p");
	put(w, d->config.path);
	for (int i = 1; i < d->a->argc; i++)
		put(w, d->a->argv[i]);
}

int xl_run(const char *verb, const char *what, char **out, struct ctl_error *e)
{
	struct words w = {.n = 0};

	put(&w, "xl");
	put(&w, verb);
	put(&w, what);
	return run_program(w.argv, out, XL_CONFIG_MAX, e);
}

/* Only assignments, as lines of the configuration: options of xl's could name other files, or say not to pause. */
static int check_words(const struct launch_args *a, struct ctl_error *e)
{
	if (a->argc < 1)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "the domain's configuration file is missing");
	if ((size_t)a->argc > WORDS_MAX)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "more than %u words for xl", WORDS_MAX);
	for (int i = 1; i < a->argc; i++)
		if (a->argv[i][0] == '-' || !strchr(a->argv[i], '='))
			return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: after the file there may be assignments, name=value", a->argv[i]);
	return 0;
}

static int parse(struct domain *d, struct ctl_error *e)
{
	struct words w = {.n = 0};
	char *json = NULL;
	int err;

	put(&w, "xl");
	put(&w, "-N");
	put_config(&w, d);
	err = run_program(w.argv, &json, XL_CONFIG_MAX, e);
	if (!err)
		err = xl_config_parse(&d->parsed, json, d->stub, e);
	free(json);
	return err;
}

int domain_read(struct domain *d, struct ctl_error *e)
{
	int err = check_words(d->a, e);

	if (!err)
		err = image_read(&d->config, d->a->argv[0], XL_CONFIG_MAX, e);
	if (!err)
		err = parse(d, e);
	if (!err)
		err = image_read(&d->kernel, d->parsed.kernel, IMAGE_MAX, e);
	if (!err && d->parsed.ramdisk)
		err = image_read(&d->ramdisk, d->parsed.ramdisk, IMAGE_MAX, e);
	return err;
}

void domain_free(struct domain *d)
{
	image_close(&d->config);
	image_close(&d->kernel);
	image_close(&d->ramdisk);
	xl_config_free(&d->parsed);
}

/* The last assignment of a name counts, so ours come after the user's. */
int domain_create(struct domain *d, struct ctl_error *e)
{
	char kernel[LAUNCH_PATH_MAX + 16], ramdisk[LAUNCH_PATH_MAX + 16], ends[XL_ENDS][32], *id = NULL;
	struct words w = {.n = 0};
	uint64_t n;
	int err;

	snprintf(kernel, sizeof(kernel), "kernel=\"%s\"", d->kernel.path);
	snprintf(ramdisk, sizeof(ramdisk), "ramdisk=\"%s\"", d->ramdisk.path);
	put(&w, "xl");
	put_config(&w, d);
	put(&w, kernel);
	if (d->ramdisk.fd >= 0)
		put(&w, ramdisk);
	for (size_t i = 0; i < XL_ENDS; i++)
		if (d->parsed.restart[i] && !d->stub) {
			snprintf(ends[i], sizeof(ends[i]), "%s=\"preserve\"", xl_ends[i].key);
			put(&w, ends[i]);
		}
	err = run_program(w.argv, NULL, 0, e);
	d->made = !err;
	if (!err)
		err = xl_run("domid", d->parsed.name, &id, e);
	if (!err) {
		id[strcspn(id, "\n")] = '\0';
		if (parse_u64(id, INT32_MAX, &n))
			err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "xl domid printed what makes no sense");
		else
			snprintf(d->id, sizeof(d->id), "%s", id);
	}
	free(id);
	return err;
}

void domain_destroy(struct domain *d)
{
	const char *which = d->id[0] ? d->id : d->parsed.name;
	struct ctl_error ignored = {0};

	if (d->made && xl_run("destroy", which, NULL, &ignored))
		fprintf(stderr, "vtpm-launch: domain %s is still there: xl destroy %s\n", which, which);
	d->made = false;
	d->id[0] = '\0';
}
