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
	"sdl", "singlestep", "snapshot", "usb", "win2k-hack", "xen-attach", "xen-domid-restrict",
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

/*
 * Whether a list a,b=c,d has an item that begins so; a JSON object has it if the text is anywhere in it. There an escape could hide it, and
 * QEMU takes strings in apostrophes, too.
 */
static bool has_item(const char *value, const char *begin)
{
	const size_t n = strcspn(begin, "=");

	if (value[0] == '{') {
		char quoted[64];

		if (begin[n] != '\0' && begin[n + 1] != '\0')
			return false; /* of key=value the value is an item of its own */
		snprintf(quoted, sizeof(quoted), "\"%.*s\"", (int)n, begin);
		return strstr(value, quoted) || strpbrk(value, "\\'");
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

/* SeaBIOS asks whoever is at the console. */
static int on_boot(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	(void)e;
	if (has_item(q->argv[i + 1], "menu="))
		q->menu = i + 1;
	return 0;
}

static int on_never(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return refuse(e, q->argv[i], "this would bring in what is not measured");
}

static int on_machine(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	static const char *const items[] = {"kernel=", "initrd=", "append=", "dtb=", "firmware=", "pflash0=", "pflash1=", "shim=", "boot."};

	if (has_any(q->argv[i + 1], items, ARRAY_LEN(items)))
		return refuse(e, q->argv[i + 1], "say it with -kernel, -initrd, -append, -dtb, -bios, -boot or -drive if=pflash");
	return 0;
}

static int on_device(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	static const char *const items[] = {"loader", "guest-loader", "driver=loader", "driver=guest-loader", "romfile="};

	return has_any(q->argv[i + 1], items, ARRAY_LEN(items)) ? on_never(q, i, e) : 0;
}

static int on_global(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return strstr(q->argv[i + 1], "romfile") || strstr(q->argv[i + 1], "pflash") ? on_never(q, i, e) : 0;
}

static int on_object(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	static const char *const items[] = {"igvm-cfg", "qom-type=igvm-cfg"};

	return has_any(q->argv[i + 1], items, ARRAY_LEN(items)) ? on_never(q, i, e) : 0;
}

static int on_file(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	static const char *const items[] = {"file=", "path="};

	return has_any(q->argv[i + 1], items, ARRAY_LEN(items)) ? on_never(q, i, e) : 0;
}

/* Under other names than those of the user's, opt/…, firmware looks for its own settings and for option ROMs. */
static int on_fw_cfg(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	const char *value = q->argv[i + 1];
	bool first = true, other = false;

	for (const char *item = value; item; item = strchr(item, ','), item = item ? item + 1 : NULL, first = false) {
		const char *name = strncmp(item, "name=", 5) == 0 ? item + 5 : first && item[strcspn(item, "=,")] != '=' ? item : NULL;

		other |= name && strncmp(name, "opt/", 4) != 0;
	}
	return other ? refuse(e, value, "its name must begin with opt/") : on_file(q, i, e);
}

/* A snapshot's memory is what it begins with. */
static int on_icount(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return has_item(q->argv[i + 1], "rrsnapshot=") ? on_never(q, i, e) : 0;
}

/* --- flash --- */

enum flash_key { FLASH_IF, FLASH_FORMAT, FLASH_UNIT, FLASH_READONLY, FLASH_ID, FLASH_FILE, FLASH_KEYS };
static const char *const flash_keys[FLASH_KEYS] = {"if=", "format=", "unit=", "readonly=", "id=", "file="};

/* Each of these at most once, and nothing else: of two QEMU would take the last. value[k]: NULL if it is not there; it ends at a comma. */
static int parse_flash(const char *word, const char *value[static FLASH_KEYS], struct ctl_error *e)
{
	if (strstr(word, ",,"))
		return refuse(e, word, "its file is not clear");
	for (const char *item = word; item; item = strchr(item, ','), item = item ? item + 1 : NULL) {
		size_t k = 0;

		while (k < FLASH_KEYS && strncmp(item, flash_keys[k], strlen(flash_keys[k])) != 0)
			k++;
		if (k == FLASH_KEYS || value[k])
			return refuse(e, word, "of a flash there may be if, format, unit, readonly, id and file, each once");
		value[k] = item + strlen(flash_keys[k]);
	}
	return value[FLASH_FILE] ? 0 : refuse(e, word, "it has no file");
}

static bool flash_is(const char *value, const char *word)
{
	return value && strncmp(value, word, strlen(word)) == 0 && strchr(",", value[strlen(word)]);
}

/* The machine boots unit 0, whatever -bios says. So that is read-only and measured; the other one, of its variables, is the guest's to write. */
static int on_flash(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	const char *word = q->argv[i + 1], *value[FLASH_KEYS] = {NULL}, *unit, *file;
	size_t len;
	int err = parse_flash(word, value, e);

	if (err)
		return err;
	unit = value[FLASH_UNIT];
	file = value[FLASH_FILE];
	if (!flash_is(value[FLASH_READONLY], "on"))
		return flash_is(unit, "1") || (!unit && q->pflash) ? 0 : refuse(e, word, "the flash that is booted must be readonly=on, and stand first");
	if (q->pflash)
		return refuse(e, word, "a second read-only flash");
	if (!flash_is(value[FLASH_FORMAT], "raw") || (unit && !flash_is(unit, "0")))
		return refuse(e, word, "the flash that is booted must be format=raw and unit=0");
	len = strcspn(file, ",");
	q->pflash = i + 1;
	q->pflash_before = strndup(word, (size_t)(file - word));
	q->pflash_file = strndup(file, len);
	q->pflash_after = strdup(file + len);
	if (!q->pflash_before || !q->pflash_file || !q->pflash_after)
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	return 0;
}

static int on_drive(struct qemu_words *q, size_t i, struct ctl_error *e)
{
	return has_item(q->argv[i + 1], "if=pflash") ? on_flash(q, i, e) : 0;
}

static const struct {
	const char *name;
	int (*see)(struct qemu_words *q, size_t i, struct ctl_error *e);
} options[] = {
	{"kernel", on_kernel},	  {"initrd", on_initrd},   {"append", on_append},    {"dtb", on_dtb},	   {"bios", on_bios},
	{"M", on_machine},	  {"machine", on_machine}, {"device", on_device},    {"global", on_global}, {"drive", on_drive},
	{"fw_cfg", on_fw_cfg},	  {"smbios", on_file},	   {"readconfig", on_never}, {"loadvm", on_never}, {"incoming", on_never},
	{"option-rom", on_never}, {"acpitable", on_never}, {"pflash", on_never},     {"mtdblock", on_never}, {"set", on_never},
	{"L", on_never},	  {"plugin", on_never},	   {"shim", on_never},	     {"gdb", on_never},	     {"s", on_never},
	{"boot", on_boot},	  {"object", on_object},   {"icount", on_icount},
};

/* An option's place in the table; ARRAY_LEN(options): it is none, or not one that matters. */
static size_t find_option(const char *word)
{
	const char *name = option_name(word);
	size_t k = 0;

	while (k < ARRAY_LEN(options) && (!name || strcmp(options[k].name, name) != 0))
		k++;
	return k;
}

/*
 * One option, and how many words it has. Of one that is not known here nobody knows if the next word is its value; that does not matter if that word is
 * no option in either case.
 */
static int step(struct qemu_words *q, size_t i, size_t *words, struct ctl_error *e)
{
	const char *name = option_name(q->argv[i]);
	const size_t k = find_option(q->argv[i]);
	const bool matters = k < ARRAY_LEN(options);

	*words = name && takes_value(name) ? 2 : 1;
	if (*words == 2 && i + 1 == q->argc)
		return refuse(e, q->argv[i], "this option needs a value; if it needs none, put it elsewhere");
	if (*words == 2 && option_name(q->argv[i + 1]) && (!matters || find_option(q->argv[i + 1]) < ARRAY_LEN(options)))
		return refuse(e, q->argv[i + 1], "this could be another option's value; put it elsewhere");
	return matters ? options[k].see(q, i, e) : 0;
}

static int walk(struct qemu_words *q, struct ctl_error *e)
{
	int err = 0;

	for (size_t i = 1, words = 1; i < q->argc && !err; i += words)
		err = step(q, i, &words, e);
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
	if (!err && q->menu && q->kernel)
		err = refuse(e, q->argv[q->menu], "a menu could boot what is not the -kernel");
	return err;
}

void qemu_words_free(struct qemu_words *q)
{
	free(q->pflash_before);
	free(q->pflash_file);
	free(q->pflash_after);
}
