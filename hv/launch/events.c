/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The events of a launch, as firmware of a machine would have measured them (TCG PC Client Platform Firmware Profile, 2.3.4 and
 * 10.4.1): what the launcher and the firmware are (PCR 0), the configuration (1), a separator in each of PCRs 0 to 7, and then
 * what is booted. PCR 4 has the kernel as the code that the platform gives control to; 8 the command line and 9 kernel and initrd, in the
 * form in which GRUB measures them.
 *
 * No event names a path: the same bytes make the same launch, whatever they are called.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "hv/launch/launch.h"
#include "lib/util.h"
#include "lib/version.h"

#define SELF "/proc/self/exe"

enum {
	PCR_FIRMWARE = 0,
	PCR_CONFIG = 1,
	PCR_BOOT = 4,
	PCR_SEPARATED = 7, /* the last one with a separator */
	PCR_COMMAND_LINE = 8,
	PCR_FILES = 9,
};

enum {
	EV_PLATFORM_CONFIG_FLAGS = 0xa,
	EV_TABLE_OF_DEVICES = 0xb,
	EV_COMPACT_HASH = 0xc,
	EV_IPL = 0xd,
	EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000000a,
};

void events_init(struct events *l)
{
	l->n = 0;
	l->startup = true;
	buf_init(&l->data, l->room, sizeof(l->room));
}

int events_add(struct events *l, uint32_t pcr, uint32_t type, const struct digests *d, const void *data, size_t size)
{
	struct launch_event *event;

	if (l->n == LAUNCH_EVENTS_MAX || size > LAUNCH_DATA_MAX)
		return ERR_RANGE;
	event = &l->list[l->n];
	*event = (struct launch_event){.pcr = pcr, .type = type, .data = l->room + l->data.len, .size = size};
	if (buf_put_bytes(&l->data, data, size))
		return ERR_RANGE;
	l->digests[l->n] = *d;
	for (unsigned i = 0; i < LAUNCH_BANKS; i++)
		event->digest[i] = l->digests[l->n].of[i];
	l->n++;
	return 0;
}

int events_add_data(struct events *l, uint32_t pcr, uint32_t type, const void *data, size_t size)
{
	struct digests d;
	int err = digests_of(data, size, &d);

	return err ? err : events_add(l, pcr, type, &d, data, size);
}

/* --- what the launcher and the firmware are --- */

static void put_line(char *text, size_t cap, const char *what, const struct digests *d)
{
	char hex[65];
	size_t n = strlen(text);

	if (hex_encode(d->of[LAUNCH_SHA256], 32, hex, sizeof(hex)) == 0)
		snprintf(text + n, cap - n, "%s sha256 %s\n", what, hex);
}

static int put_bytes_line(char *text, size_t cap, const char *what, const void *p, size_t n)
{
	struct digests d;
	int err = digests_of(p, n, &d);

	if (!err)
		put_line(text, cap, what, &d);
	return err;
}

/*
 * What goes into the H-CRTM sequence, before TPM2_Startup: this program. Where the firmware starts the TPM nothing else can be
 * measured from outside, so there it also names what the firmware does not measure, or only as far as it likes.
 */
static int add_crtm(struct events *l, const struct measured *m, struct ctl_error *e)
{
	char text[LAUNCH_DATA_MAX] = "vtpm-launch " VTPM_VERSION "\n";
	struct image self;
	int err = image_read(&self, SELF, IMAGE_MAX, e);

	if (err)
		return err;
	put_line(text, sizeof(text), "launcher", &self.digests);
	image_close(&self);
	if (m->self_measuring) {
		put_line(text, sizeof(text), "firmware", &m->firmware->digests);
		err = put_bytes_line(text, sizeof(text), "configuration", m->config, m->config_len);
		if (m->kernel)
			put_line(text, sizeof(text), "kernel", &m->kernel->digests);
		if (m->initrd)
			put_line(text, sizeof(text), "initrd", &m->initrd->digests);
		if (m->device_tree)
			put_line(text, sizeof(text), "device tree", &m->device_tree->digests);
		if (!err && m->command_line)
			err = put_bytes_line(text, sizeof(text), "command line", m->command_line, strlen(m->command_line));
	}
	return err ? err : events_add_data(l, PCR_FIRMWARE, LAUNCH_EV_S_CRTM_CONTENTS, text, strlen(text));
}

/* As text in UCS-2 with its end (10.4.1: EV_S_CRTM_VERSION). */
static int add_version(struct events *l)
{
	static const char version[] = "vtpm-launch " VTPM_VERSION;
	uint8_t wide[2 * sizeof(version)];
	struct buf b;

	buf_init(&b, wide, sizeof(wide));
	for (size_t i = 0; i < sizeof(version); i++)
		if (buf_put_u16le(&b, (uint8_t)version[i]))
			return ERR_RANGE;
	return events_add_data(l, PCR_FIRMWARE, LAUNCH_EV_S_CRTM_VERSION, wide, sizeof(wide));
}

/* UEFI_PLATFORM_FIRMWARE_BLOB2. Where in memory it will lie is the machine's to know: 0. */
static int add_firmware(struct events *l, const struct image *i)
{
	static const char what[] = "firmware";
	uint8_t blob[64];
	struct buf b;

	buf_init(&b, blob, sizeof(blob));
	if (buf_put_u8(&b, sizeof(what) - 1) || buf_put_bytes(&b, what, sizeof(what) - 1) || buf_put_u64le(&b, 0) ||
	    buf_put_u64le(&b, i->size))
		return ERR_RANGE;
	return events_add(l, PCR_FIRMWARE, EV_EFI_PLATFORM_FIRMWARE_BLOB2, &i->digests, blob, b.len);
}

/* --- the rest --- */

/* The data is as much of the configuration as goes into an event; the digest is of all of it. */
static int add_config(struct events *l, const struct measured *m)
{
	size_t shown = m->config_len < LAUNCH_DATA_MAX ? m->config_len : LAUNCH_DATA_MAX;
	struct digests d;
	int err = digests_of(m->config, m->config_len, &d);

	return err ? err : events_add(l, PCR_CONFIG, EV_PLATFORM_CONFIG_FLAGS, &d, m->config, shown);
}

static int add_separators(struct events *l)
{
	static const uint8_t separator[4];
	int err = 0;

	for (uint32_t pcr = 0; pcr <= PCR_SEPARATED && !err; pcr++)
		err = events_add_data(l, pcr, LAUNCH_EV_SEPARATOR, separator, sizeof(separator));
	return err;
}

static int add_file(struct events *l, uint32_t pcr, uint32_t type, const struct image *i, const char *what)
{
	return i ? events_add(l, pcr, type, &i->digests, what, strlen(what) + 1) : 0;
}

static int add_command_line(struct events *l, const char *line)
{
	char text[LAUNCH_DATA_MAX];
	struct digests d;
	int err = digests_of(line, strlen(line), &d);

	snprintf(text, sizeof(text), "kernel_cmdline: %s", line);
	return err ? err : events_add(l, PCR_COMMAND_LINE, EV_IPL, &d, text, strlen(text) + 1);
}

static int add_all(struct events *l, const struct measured *m)
{
	int err = add_version(l);

	if (!err && m->firmware)
		err = add_firmware(l, m->firmware);
	if (!err)
		err = add_config(l, m);
	if (!err)
		err = add_file(l, PCR_CONFIG, EV_TABLE_OF_DEVICES, m->device_tree, "device tree");
	if (!err)
		err = add_separators(l);
	if (!err)
		err = add_file(l, PCR_BOOT, EV_COMPACT_HASH, m->kernel, "kernel");
	if (!err && m->command_line)
		err = add_command_line(l, m->command_line);
	if (!err)
		err = add_file(l, PCR_FILES, EV_IPL, m->kernel, "kernel");
	return err ? err : add_file(l, PCR_FILES, EV_IPL, m->initrd, "initrd");
}

int events_make(struct events *l, const struct measured *m, struct ctl_error *e)
{
	int err;

	events_init(l);
	l->startup = !m->self_measuring;
	err = add_crtm(l, m, e);
	if (!err && l->startup)
		err = add_all(l, m);
	if (err && !e->message[0])
		return ctl_fail(e, err, EXIT_FAILED, "measuring: %s", err_text(err));
	return err;
}

/* --- as others want them --- */

int events_log(const struct events *l, uint8_t log[static LAUNCH_LOG_MAX], size_t *size, char digest[static 65])
{
	struct digests d;
	struct buf b;
	int err;

	buf_init(&b, log, LAUNCH_LOG_MAX);
	err = launch_log_begin(&b, true, true);
	for (size_t i = 0; i < l->n && !err; i++)
		err = launch_log_add(&b, true, &l->list[i]);
	if (!err)
		err = digests_of(log, b.len, &d);
	*size = b.len;
	return err ? err : hex_encode(d.of[LAUNCH_SHA256], 32, digest, 65);
}

static json_t *hex_json(const uint8_t *p, size_t n)
{
	char hex[2 * LAUNCH_DIGEST_MAX + 1];

	return hex_encode(p, n, hex, sizeof(hex)) ? NULL : json_string(hex);
}

static json_t *data_json(const struct launch_event *event)
{
	unsigned char text[4 * ((LAUNCH_DATA_MAX + 2) / 3) + 1];

	EVP_EncodeBlock(text, event->data, (int)event->size);
	return json_string((const char *)text);
}

static json_t *event_json(const struct launch_event *event)
{
	static const char *const names[LAUNCH_BANKS] = {"sha1", "sha256", "sha384", "sha512"};
	json_t *o = json_pack("{s:I, s:I, s:o}", "pcr", (json_int_t)event->pcr, "type", (json_int_t)event->type, "data",
			      data_json(event));

	for (unsigned i = 0; i < LAUNCH_BANKS && o; i++) {
		if (json_object_set_new(o, names[i], hex_json(event->digest[i], launch_digest_size(i)))) {
			json_decref(o);
			o = NULL;
		}
	}
	return o;
}

json_t *events_json(const struct events *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n && list; i++) {
		if (json_array_append_new(list, event_json(&l->list[i]))) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static const char *type_name(uint32_t type)
{
	switch (type) {
	case LAUNCH_EV_SEPARATOR:
		return "EV_SEPARATOR";
	case LAUNCH_EV_S_CRTM_CONTENTS:
		return "EV_S_CRTM_CONTENTS";
	case LAUNCH_EV_S_CRTM_VERSION:
		return "EV_S_CRTM_VERSION";
	case EV_PLATFORM_CONFIG_FLAGS:
		return "EV_PLATFORM_CONFIG_FLAGS";
	case EV_COMPACT_HASH:
		return "EV_COMPACT_HASH";
	case EV_TABLE_OF_DEVICES:
		return "EV_TABLE_OF_DEVICES";
	case EV_EFI_PLATFORM_FIRMWARE_BLOB2:
		return "EV_EFI_PLATFORM_FIRMWARE_BLOB2";
	default:
		return "EV_IPL";
	}
}

void events_print(const struct events *l)
{
	char hex[65];

	for (size_t i = 0; i < l->n; i++) {
		const struct launch_event *event = &l->list[i];

		if (hex_encode(event->digest[LAUNCH_SHA256], 32, hex, sizeof(hex)))
			continue;
		printf("%2u  %-31s %s", event->pcr, type_name(event->type), hex);
		if (event->type == EV_IPL && event->size > 0) { /* a text with its end */
			fputs("  ", stdout);
			ctl_put_text((const char *)event->data);
		}
		putchar('\n');
	}
}
