/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-launch xl: the domain's configuration is read once, into a sealed copy, and xl's own parser says what it means. xl then
 * makes the domain, paused, of that copy, with the copies of kernel and ramdisk in their places; its vTPM is launched; and it is let run. A domain
 * whose launch fails is destroyed before its first instruction.
 *
 * A domain that reboots is another domain, and a launch is good for one. So a process stays behind, as one of xl's does: xl is told to keep
 * the domain as it ended, and this one destroys it and launches the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

#define WORDS_MAX 64u
#define LOG_DIR	  "/var/log/xen"

struct domain {
	const struct launch_args *a;
	struct image config, kernel, ramdisk;
	struct xl_config parsed;
	struct ctl_target at; /* the manager of its vTPM */
	char *vtpm, *signature;
	struct events events;
	char id[12]; /* a number */
};

/* --- xl --- */

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
	put(w, "-p");
	put(w, d->config.path);
	for (int i = 1; i < d->a->argc; i++)
		put(w, d->a->argv[i]);
}

static int run_xl(const char *verb, const char *what, char **out, struct ctl_error *e)
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
		err = xl_config_parse(&d->parsed, json, e);
	free(json);
	return err;
}

/* The last assignment of a name counts, so ours come after the user's. */
static int create(struct domain *d, struct ctl_error *e)
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
		if (d->parsed.restart[i]) {
			snprintf(ends[i], sizeof(ends[i]), "%s=\"preserve\"", xl_ends[i].key);
			put(&w, ends[i]);
		}
	err = run_program(w.argv, NULL, 0, e);
	if (!err)
		err = run_xl("domid", d->parsed.name, &id, e);
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

static void destroy(const struct domain *d)
{
	struct ctl_error ignored = {0};

	if (d->id[0] && run_xl("destroy", d->id, NULL, &ignored))
		fprintf(stderr, "vtpm-launch: domain %s is still there, paused: xl destroy %s\n", d->id, d->id);
}

/* --- a launch --- */

/* The configuration names the domain that the manager is in; who says which manager is asked says it for both. */
static void choose_manager(struct domain *d)
{
	uint64_t n;

	d->at = d->a->at;
	if (d->at.xen_domain || d->at.runtime_dir)
		return;
	d->at.runtime_dir = CTL_RUNTIME_DIR;
	if (strcmp(d->parsed.backend, "Domain-0") != 0 && (parse_u64(d->parsed.backend, INT32_MAX, &n) || n != 0))
		d->at.xen_domain = d->parsed.backend;
}

static int prepare(struct domain *d, struct ctl_error *e)
{
	struct measured what = {.kernel = &d->kernel};
	int err = check_words(d->a, e);

	if (!err)
		err = image_read(&d->config, d->a->argv[0], XL_CONFIG_MAX, e);
	if (!err)
		err = parse(d, e);
	if (!err)
		err = image_read(&d->kernel, d->parsed.kernel, IMAGE_MAX, e);
	if (!err && d->parsed.ramdisk)
		err = image_read(&d->ramdisk, d->parsed.ramdisk, IMAGE_MAX, e);
	if (err)
		return err;
	what.initrd = d->parsed.ramdisk ? &d->ramdisk : NULL;
	what.command_line = d->parsed.cmdline;
	what.config = d->parsed.canonical;
	what.config_len = strlen(d->parsed.canonical);
	return events_make(&d->events, &what, e);
}

/* What can be wrong is found before there is a domain. */
static int find(struct domain *d, struct ctl_error *e)
{
	int err;

	choose_manager(d);
	err = launch_signature(d->a, &d->signature, e);
	if (!err)
		err = manager_find(&d->at, d->parsed.uuid, &d->vtpm, e);
	if (!err && d->a->vtpm && strcmp(d->a->vtpm, d->vtpm) != 0)
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "the domain's configuration has the uuid of %s, not of %s", d->vtpm, d->a->vtpm);
	return err;
}

static int boot(struct domain *d, char digest[static 65], struct ctl_error *e)
{
	uint64_t domid = 0;
	int err = create(d, e);

	if (!err)
		err = parse_u64(d->id, INT32_MAX, &domid);
	if (!err)
		err = manager_launch(&d->at, d->vtpm, (int64_t)domid, &d->events, d->signature, digest, e);
	if (err) {
		destroy(d);
		return err;
	}
	err = run_xl("unpause", d->id, NULL, e);
	if (err) {
		destroy(d);
		manager_cancel(&d->at, d->vtpm);
	}
	return err;
}

/* --- the next boots --- */

/* What happens then is for its log, as xl's is beside it. */
static int detach(const struct domain *d, struct ctl_error *e)
{
	char path[sizeof(LOG_DIR) + NAME_MAX_LEN + 32];
	int fd, in = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(path, sizeof(path), LOG_DIR "/vtpm-launch-%s.log", d->parsed.name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		fd = dup(in);
	if (in < 0 || setsid() < 0 || chdir("/") || dup2(in, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		return ctl_fail(e, ERR_SYS, EXIT_FAILED, "%s: %s", path, strerror(errno));
	return 0;
}

/* As long as the domain ends in such a way that it is to be made anew, it is, of the same bytes, and launched. */
static int stay(struct domain *d, struct ctl_error *e)
{
	char digest[65];
	size_t end;
	int err = detach(d, e);

	while (!err && (err = xl_wait(d->id, &end, e)) == 0 && end < XL_ENDS && d->parsed.restart[end]) {
		destroy(d);
		d->id[0] = '\0';
		err = boot(d, digest, e);
		if (!err)
			err = launch_report(d->a, &d->events, digest, e);
	}
	return err;
}

/* Leaves a process behind, if the domain is ever to be made anew. */
static int stay_behind(struct domain *d, struct ctl_error *e)
{
	bool any = false;
	pid_t pid;

	for (size_t i = 0; i < XL_ENDS; i++)
		any |= d->parsed.restart[i];
	if (!any)
		return 0;
	pid = fork();
	if (pid < 0)
		fprintf(stderr, "vtpm-launch: %s; after a reboot the domain must be launched by hand\n", strerror(errno));
	if (pid != 0)
		return 0;
	if (stay(d, e))
		ctl_print_error(e, false);
	_exit(0);
}

static int launch(struct domain *d, struct ctl_error *e)
{
	char digest[65];
	int err = prepare(d, e);

	if (!err && d->a->measure)
		return launch_report(d->a, &d->events, NULL, e);
	if (!err)
		err = find(d, e);
	if (!err)
		err = boot(d, digest, e);
	if (!err)
		err = launch_report(d->a, &d->events, digest, e);
	return err ? err : stay_behind(d, e);
}

int xl_launch(const struct launch_args *a, struct ctl_error *e)
{
	struct domain *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	d->a = a;
	d->config = d->kernel = d->ramdisk = IMAGE_NONE;
	err = launch(d, e);
	image_close(&d->config);
	image_close(&d->kernel);
	image_close(&d->ramdisk);
	xl_config_free(&d->parsed);
	free(d->vtpm);
	free(d->signature);
	free(d);
	return err;
}
