/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What QEMU's command line boots. QEMU's own parser is the one that counts; so what this one could understand in another way is refused:
 * an option that decides what is booted is permitted only where it cannot be another option's value, and what would bring
 * in code by another door is not permitted at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

/* QEMU's options that take no value. One that is missing here makes the next one ambiguous, and so refused. */
static const char *const flags[] = {
	"S", "async-teardown", "daemonize", "enable-kvm", "enable-sync-profile", "full-screen", "mem-prealloc", "no-acpi", "no-fd-bootchk",
	"no-hpet", "no-reboot", "no-shutdown", "no-user-config", "nodefaults", "nographic", "only-migratable", "portrait", "preconfig", "s",
	"sdl", "singlestep", "snapshot", "usb", "win2k-hack",
};

static int refuse(struct ctl_error *e, const char *word, const char *why)
{
	return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: %s", word, why);
}

/* An option's name, or NULL: it is none. */
static const char *option_name(const char *word)
{
	if (word[0] != '-' || word[1] == '\0')
		return NULL;
	return word[1] == '-' ? word + 2 : word + 1;
}

static bool takes_value(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (strcmp(flags[i], name) == 0)
			return false;
	return true;
}

/* Whether a list a,b=c,d has an item that begins so; a JSON object has it if the text is anywhere in it. */
static bool has_item(const char *value, const char *begin)
{
	const size_t n = strcspn(begin, "=");

	if (value[0] == '{') {
		char quoted[64];

		snprintf(quoted, sizeof(quoted), "\"%.*s\"", (int)n, begin);
		return strstr(value, quoted) || strchr(value, '\\'); /* an escape could hide it */
	}
	while (value) {
		if (strncmp(value, begin, strlen(begin)) == 0)
			return true;
		value = strchr(value, ',');
		value = value ? value + 1 : NULL;
	}
	return false;
}

static bool has_any(const char *value, const char *const *items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (has_item(value, items[i]))
			return true;
	return false;
}

/* --- one function an option: i is its place --- */

static int once(struct qemu_words *q, size_t *place, size_t i, struct ctl_error *e)
{
	if (*place)
		return refuse(e, q->argv[i], "said twice");
	*place = i + 1;
	return 0;
}
static int on_kernel(struct qemu_words *q, size_t i, struct ctl_error *e) { return once(q, &q->kernel, i, e); }
static int on_initrd(struct qemu_words *q, size_t i, struct ctl_error *e) { return once(q, &q->initrd, i, e); }
static int on_append(struct qemu_words *q, size_t i, struct ctl_error *e) { return once(q, &q->append, i, e); }
static int on_dtb(struct qemu_words *q, size_t i, struct ctl_error *e) { return once(q, &q->dtb, i, e); }
static int on_bios(struct qemu_words *q, size_t i, struct ctl_error *e) { return once(q, &q->bios, i, e); }

static int on_never(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return refuse(e, q->argv[i], "this would bring in what is not measured");
}

static int on_machine(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	static const char *const items[] = {"kernel=", "initrd=", "append=", "dtb=", "firmware=", "pflash0=", "pflash1="};

	if (has_any(q->argv[i + 1], items, ARRAY_LEN(items)))
		return refuse(e, q->argv[i + 1], "say it with -kernel, -initrd, -append, -dtb, -bios or -drive if=pflash");
	return 0;
}

static int on_device(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	static const char *const items[] = {"loader", "guest-loader", "driver=loader", "driver=guest-loader", "romfile="};

	return has_any(q->argv[i + 1], items, ARRAY_LEN(items)) ? on_never(q, i, e) : 0;
}

static int on_global(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return strstr(q->argv[i + 1], "romfile") ? on_never(q, i, e) : 0;
}

static int on_file(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return has_item(q->argv[i + 1], "file=") ? on_never(q, i, e) : 0;
}

/* "if=pflash,readonly=on,file=CODE" is the firmware; another flash, of its variables, is the guest's to write. */
static int on_drive(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	const char *value = q->argv[i + 1], *file;
	size_t len;

	if (!has_item(value, "if=pflash"))
		return 0;
	if (!has_item(value, "readonly=on") && !has_item(value, "read-only=on"))
		return 0;
	file = strncmp(value, "file=", 5) == 0 ? value : strstr(value, ",file=");
	if (!file || strstr(value, ",,") || strstr(file + 1, ",file="))
		return refuse(e, value, "its file is not clear");
	if (q->pflash)
		return refuse(e, value, "a second read-only flash");
	file = strchr(file, '=') + 1;
	len = strcspn(file, ",");
	q->pflash = i + 1;
	q->pflash_before = strndup(value, (size_t)(file - value));
	q->pflash_file = strndup(file, len);
	q->pflash_after = strdup(file + len);
	if (!q->pflash_before || !q->pflash_file || !q->pflash_after)
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	return 0;
}

static const struct {
	const char *name;
	int (*see)(struct qemu_words *q, size_t i, struct ctl_error *e);
} options[] = {
	{"kernel", on_kernel},	  {"initrd", on_initrd},   {"append", on_append},    {"dtb", on_dtb},	   {"bios", on_bios},
	{"M", on_machine},	  {"machine", on_machine}, {"device", on_device},    {"global", on_global}, {"drive", on_drive},
	{"fw_cfg", on_file},	  {"smbios", on_file},	   {"readconfig", on_never}, {"loadvm", on_never}, {"incoming", on_never},
	{"option-rom", on_never}, {"acpitable", on_never}, {"pflash", on_never},     {"mtdblock", on_never}, {"set", on_never},
};

static int see_option(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	const char *name = option_name(q->argv[i]);

	for (size_t k = 0; k < ARRAY_LEN(options); k++)
		if (strcmp(options[k].name, name) == 0)
			return options[k].see(q, i, e);
	return 0;
}

/* Whether the word, which stands where a value does, is one that matters if it does not. */
static bool could_be_option(const char *word)
{
	const char *name = option_name(word);

	for (size_t k = 0; k < ARRAY_LEN(options) && name; k++)
		if (strcmp(options[k].name, name) == 0)
			return true;
	return false;
}

static int walk(struct qemu_words *q, struct ctl_error *e)
{
	int err = 0;

	for (size_t i = 1; i < q->argc && !err; i++) {
		const char *name = option_name(q->argv[i]);

		if (!name || !takes_value(name))
			continue;
		if (i + 1 == q->argc)
			return could_be_option(q->argv[i]) ? refuse(e, q->argv[i], "this option needs a value") : 0;
		if (could_be_option(q->argv[i + 1]))
			return refuse(e, q->argv[i + 1], "this could be another option's value; put it elsewhere");
		err = see_option(q, i, e);
		i++;
	}
	return err;
}

int qemu_words_parse(struct qemu_words *q, int argc, char *const *argv, struct ctl_error *e)
{
	int err;

	*q = (struct qemu_words){.argc = (size_t)argc};
	if (argc < 1)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "QEMU's command line is missing");
	if (q->argc > QEMU_WORDS_MAX)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "QEMU's command line has more than %u words", QEMU_WORDS_MAX);
	for (size_t i = 0; i < q->argc; i++)
		q->argv[i] = argv[i];
	err = walk(q, e);
	if (!err && q->bios && q->pflash)
		err = refuse(e, "-bios", "there is a read-only flash, too");
	if (!err && (q->initrd || q->append) && !q->kernel)
		err = refuse(e, "-initrd, -append", "there is no -kernel");
	return err;
}

void qemu_words_free(struct qemu_words *q)
{
	free(q->pflash_before);
	free(q->pflash_file);
	free(q->pflash_after);
}
