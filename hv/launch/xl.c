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

#include "hv/launch/domain.h"
#include "lib/util.h"

#define LOG_DIR "/var/log/xen"

struct launch {
	const struct launch_args *a;
	struct domain d;
	struct ctl_target at; /* the manager of its vTPM */
	char *vtpm, *signature;
	struct events events;
};

/* The configuration names the domain that the manager is in; who says which manager is asked says it for both. */
static void choose_manager(struct launch *l)
{
	const char *backend = l->d.parsed.backend;
	uint64_t n;

	l->at = l->a->at;
	if (l->at.xen_domain || l->at.runtime_dir)
		return;
	l->at.runtime_dir = CTL_RUNTIME_DIR;
	if (strcmp(backend, "Domain-0") != 0 && (parse_u64(backend, INT32_MAX, &n) || n != 0))
		l->at.xen_domain = backend;
}

static int measure(struct launch *l, struct ctl_error *e)
{
	const struct xl_config *c = &l->d.parsed;
	const struct measured what = {
		.kernel = &l->d.kernel,
		.initrd = c->ramdisk ? &l->d.ramdisk : NULL,
		.command_line = c->cmdline,
		.config = c->canonical,
		.config_len = strlen(c->canonical),
	};

	return events_make(&l->events, &what, e);
}

/* What can be wrong is found before there is a domain. */
static int find(struct launch *l, struct ctl_error *e)
{
	int err;

	choose_manager(l);
	err = launch_signature(l->a, &l->signature, e);
	if (!err)
		err = manager_find(&l->at, l->d.parsed.uuid, &l->vtpm, e);
	if (!err && l->a->vtpm && strcmp(l->a->vtpm, l->vtpm) != 0)
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "the domain's configuration has the uuid of %s, not of %s", l->vtpm, l->a->vtpm);
	return err;
}

static int boot(struct launch *l, char digest[static 65], struct ctl_error *e)
{
	uint64_t domid = 0;
	int err = domain_create(&l->d, e);

	if (!err)
		err = parse_u64(l->d.id, INT32_MAX, &domid);
	if (!err)
		err = manager_launch(&l->at, l->vtpm, (int64_t)domid, &l->events, l->signature, digest, e);
	if (err) {
		domain_destroy(&l->d);
		return err;
	}
	err = xl_run("unpause", l->d.id, NULL, e);
	if (err) {
		domain_destroy(&l->d);
		manager_cancel(&l->at, l->vtpm);
	}
	return err;
}

/* --- the next boots --- */

/* What happens then is for its log, as xl's is beside it. */
static int detach(const char *name, struct ctl_error *e)
{
	char path[sizeof(LOG_DIR) + NAME_MAX_LEN + 32];
	int fd, in = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(path, sizeof(path), LOG_DIR "/vtpm-launch-%s.log", name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		fd = dup(in);
	if (in < 0 || setsid() < 0 || chdir("/") || dup2(in, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		return ctl_fail(e, ERR_SYS, EXIT_FAILED, "%s: %s", path, strerror(errno));
	return 0;
}

/* As long as the domain ends in such a way that it is to be made anew, it is, of the same bytes, and launched. */
static int stay(struct launch *l, struct ctl_error *e)
{
	char digest[65];
	size_t end;
	int err = detach(l->d.parsed.name, e);

	while (!err && (err = xl_wait(l->d.id, &end, e)) == 0 && end < XL_ENDS && l->d.parsed.restart[end]) {
		domain_destroy(&l->d);
		err = boot(l, digest, e);
		if (!err && launch_report(l->a, &l->events, digest, e))
			ctl_print_error(e, false); /* it runs, and must not be left alone */
	}
	return err;
}

/* Leaves a process behind, if the domain is ever to be made anew. */
static void stay_behind(struct launch *l, struct ctl_error *e)
{
	bool any = false;
	pid_t pid;

	for (size_t i = 0; i < XL_ENDS; i++)
		any |= l->d.parsed.restart[i];
	if (!any)
		return;
	pid = fork();
	if (pid < 0)
		fprintf(stderr, "vtpm-launch: %s; after a reboot the domain must be launched by hand\n", strerror(errno));
	if (pid != 0)
		return;
	if (stay(l, e))
		ctl_print_error(e, false);
	_exit(0);
}

static int launch(struct launch *l, struct ctl_error *e)
{
	char digest[65];
	int err = domain_read(&l->d, e);

	if (!err)
		err = measure(l, e);
	if (!err && l->a->measure)
		return launch_report(l->a, &l->events, NULL, e);
	if (!err)
		err = find(l, e);
	if (!err)
		err = boot(l, digest, e);
	if (err)
		return err;
	stay_behind(l, e); /* before anything else can go wrong: it runs */
	return launch_report(l->a, &l->events, digest, e);
}

int xl_launch(const struct launch_args *a, struct ctl_error *e)
{
	struct launch *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	l->a = a;
	l->d = DOMAIN_NONE;
	l->d.a = a;
	err = launch(l, e);
	domain_free(&l->d);
	free(l->vtpm);
	free(l->signature);
	free(l);
	return err;
}
