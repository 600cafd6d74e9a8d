/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-launch qemu: what QEMU would read from files it reads from sealed copies, and this process becomes QEMU when the
 * vTPM has been launched.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

#define FVH_OFFSET 40u /* of the signature in an EFI_FIRMWARE_VOLUME_HEADER (UEFI PI 1.7, volume 3, 2.1.5) */
#define FVH	   "_FVH"

struct machine {
	struct qemu_words words;
	struct image kernel, initrd, dtb, firmware;
	char flash[512]; /* what takes the place of the flash's word */
	char *config;	 /* the command line, with null where something measured by itself stands */
};

/* --- the firmware that QEMU would look for by itself --- */

static bool is_x86(const char *program)
{
	const char *name = strrchr(program, '/');

	name = name ? name + 1 : program;
	return strcmp(name, "qemu-system-x86_64") == 0 || strcmp(name, "qemu-system-i386") == 0 || strcmp(name, "qemu-kvm") == 0 ||
	       strcmp(name, "kvm") == 0;
}

static bool is_microvm(const struct qemu_words *q)
{
	for (size_t i = 1; i < q->argc; i++)
		if ((strcmp(q->argv[i - 1], "-M") == 0 || strcmp(q->argv[i - 1], "-machine") == 0) &&
		    strncmp(q->argv[i], "microvm", 7) == 0)
			return true;
	return false;
}

/* QEMU says itself where it looks. */
static int data_dirs(const struct qemu_words *q, char **dirs, struct ctl_error *e)
{
	static char option[] = "-L", help[] = "help";
	char *argv[] = {q->argv[0], option, help, NULL};

	return run_program(argv, dirs, XL_CONFIG_MAX, e);
}

static int read_default_firmware(struct machine *m, struct ctl_error *e)
{
	const char *name = is_microvm(&m->words) ? "bios-microvm.bin" : "bios-256k.bin", *dir;
	char path[4096], *dirs = NULL, *rest;
	int err;

	if (!is_x86(m->words.argv[0]))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: say with -bios which firmware it boots", m->words.argv[0]);
	err = data_dirs(&m->words, &dirs, e);
	rest = dirs;
	while (!err && m->firmware.fd < 0 && (dir = strsep(&rest, "\n"))) {
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		if (dir[0] && access(path, R_OK) == 0)
			err = image_read(&m->firmware, path, IMAGE_MAX, e);
	}
	free(dirs);
	if (!err && m->firmware.fd < 0)
		err = ctl_fail(e, ERR_NOTFOUND, EXIT_NOT_FOUND, "%s: it is in none of QEMU's directories", name);
	return err;
}

/* --- the files --- */

/* Reads the file of a word, and puts the copy's path there. */
static int replace(struct machine *m, size_t place, struct image *i, struct ctl_error *e)
{
	int err;

	if (!place)
		return 0;
	err = image_read(i, m->words.argv[place], IMAGE_MAX, e);
	m->words.argv[place] = i->path;
	return err;
}

static int read_firmware(struct machine *m, struct ctl_error *e)
{
	struct qemu_words *q = &m->words;
	static char bios[] = "-bios";
	int n, err;

	if (q->bios)
		return replace(m, q->bios, &m->firmware, e);
	if (!q->pflash) {
		err = read_default_firmware(m, e);
		q->argv[q->argc++] = bios;
		q->argv[q->argc++] = m->firmware.path;
		return err;
	}
	err = image_read(&m->firmware, q->pflash_file, IMAGE_MAX, e);
	n = snprintf(m->flash, sizeof(m->flash), "%s%s%s", q->pflash_before, m->firmware.path, q->pflash_after);
	if (!err && (n < 0 || (size_t)n >= sizeof(m->flash)))
		err = ctl_fail(e, ERR_RANGE, EXIT_USAGE, "%s: too long", q->argv[q->pflash]);
	q->argv[q->pflash] = m->flash;
	return err;
}

static int firmware_is_uefi(const struct machine *m, bool *uefi)
{
	const char *p = image_map(&m->firmware);

	*uefi = p && m->firmware.size >= FVH_OFFSET + 4 && memcmp(p + FVH_OFFSET, FVH, 4) == 0;
	image_unmap(&m->firmware, p);
	return p ? 0 : ERR_NOMEM;
}

/* --- what is measured --- */

/* The command line as the user has it, so the order of events is: this, then the files take their words' places. */
static int describe(struct machine *m, struct ctl_error *e)
{
	const struct qemu_words *q = &m->words;
	json_t *list = json_array();
	int failed = !list;

	for (size_t i = 0; i < q->argc && !failed; i++) {
		const bool apart = i && (i == q->kernel || i == q->initrd || i == q->dtb || i == q->bios || i == q->append);

		if (i && i == q->pflash) {
			failed = json_array_append_new(list, json_pack("[s, n, s]", q->pflash_before, q->pflash_after));
			continue;
		}
		failed = json_array_append_new(list, apart ? json_null() : json_string(q->argv[i]));
	}
	m->config = failed ? NULL : json_dumps(list, JSON_COMPACT);
	json_decref(list);
	return m->config ? 0 : ctl_fail(e, ERR_INVAL, EXIT_USAGE, "QEMU's command line is not UTF-8");
}

static int measure(struct machine *m, struct events *l, struct ctl_error *e)
{
	const struct qemu_words *q = &m->words;
	struct measured what = {.firmware = &m->firmware, .config = m->config, .config_len = strlen(m->config)};
	bool uefi;
	int err = firmware_is_uefi(m, &uefi);

	if (err)
		return ctl_fail(e, err, EXIT_FAILED, "%s", err_text(err));
	what.self_measuring = uefi || !q->kernel;
	what.kernel = q->kernel ? &m->kernel : NULL;
	what.initrd = q->initrd ? &m->initrd : NULL;
	what.device_tree = q->dtb ? &m->dtb : NULL;
	if (q->kernel)
		what.command_line = q->append ? q->argv[q->append] : "";
	return events_make(l, &what, e);
}

static int prepare(struct machine *m, const struct launch_args *a, struct events *l, struct ctl_error *e)
{
	static char alone[] = "-no-user-config"; /* options in a file */
	int err = qemu_words_parse(&m->words, a->argc, a->argv, e);

	if (!err)
		err = describe(m, e);
	if (!err)
		m->words.argv[m->words.argc++] = alone;
	if (!err)
		err = read_firmware(m, e);
	if (!err)
		err = replace(m, m->words.kernel, &m->kernel, e);
	if (!err)
		err = replace(m, m->words.initrd, &m->initrd, e);
	if (!err)
		err = replace(m, m->words.dtb, &m->dtb, e);
	return err ? err : measure(m, l, e);
}

static int start(struct machine *m, const struct launch_args *a, const struct events *l, struct ctl_error *e)
{
	char digest[65], *signature;
	int err = launch_signature(a, &signature, e);

	if (!err)
		err = manager_launch(&a->at, a->vtpm, -1, l, signature, digest, e);
	free(signature);
	if (err)
		return err;
	err = launch_report(a, l, digest, e);
	if (!err) {
		signal(SIGPIPE, SIG_DFL);
		execvp(m->words.argv[0], m->words.argv);
		err = ctl_fail(e, err_from_errno(errno), EXIT_FAILED, "%s: %s", m->words.argv[0], strerror(errno));
	}
	manager_cancel(&a->at, a->vtpm);
	return err;
}

int qemu_launch(const struct launch_args *a, struct ctl_error *e)
{
	struct machine m = {.kernel = IMAGE_NONE, .initrd = IMAGE_NONE, .dtb = IMAGE_NONE, .firmware = IMAGE_NONE};
	struct events *l = malloc(sizeof(*l));
	int err = l ? prepare(&m, a, l, e) : ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");

	if (!err)
		err = a->measure ? launch_report(a, l, NULL, e) : start(&m, a, l, e);
	image_close(&m.kernel);
	image_close(&m.initrd);
	image_close(&m.dtb);
	image_close(&m.firmware);
	qemu_words_free(&m.words);
	free(m.config);
	free(l);
	return err;
}
