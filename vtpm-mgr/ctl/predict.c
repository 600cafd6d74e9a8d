/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpmctl policy predict: no manager is asked. It makes a PCR set, and says on standard error what changes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/policy.h"
#include "vtpm-mgr/predict/authenticode.h"
#include "vtpm-mgr/predict/predict.h"

#define EFI_FILE_MAX	 (64u << 20)
#define PCRS_DEFAULT	 (1u << 0 | 1u << 2 | 1u << 4 | 1u << 7 | 1u << 8 | 1u << 9)
#define LINUX_PCR	 "/sys/class/tpm/tpm0/pcr-sha256/%u"
#define DIFFERENCE_MAX	 100u
#define DIFFERENCES_SHOWN 20u

static int cannot(struct ctl_error *e, const char *path, const char *why)
{
	return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: %s", path, why);
}

/* A whole file of at most max bytes; the caller frees it. Files of securityfs do not say how long they are. */
static int file_read(const char *path, size_t max, uint8_t **data, size_t *len, struct ctl_error *e)
{
	FILE *f = fopen(path, "rbe");
	uint8_t *p = f ? malloc(max + 1) : NULL;
	int r = 0;

	if (!f)
		return cannot(e, path, strerror(errno));
	if (!p)
		r = cannot(e, path, err_text(ERR_NOMEM));
	*len = p ? fread(p, 1, max + 1, f) : 0;
	if (!r && ferror(f))
		r = cannot(e, path, strerror(errno));
	else if (!r && *len > max)
		r = cannot(e, path, "it is too long");
	fclose(f);
	if (r)
		free(p);
	else
		*data = p;
	return r;
}

static int file_hash(const char *path, uint8_t out[static 32], struct ctl_error *e)
{
	EVP_MD_CTX *h = EVP_MD_CTX_new();
	FILE *f = fopen(path, "rbe");
	uint8_t *chunk = malloc(1 << 20);
	bool bad = !h || !f || !chunk || EVP_DigestInit_ex(h, EVP_sha256(), NULL) != 1;
	int errnum = errno;
	size_t n;

	while (!bad && (n = fread(chunk, 1, 1 << 20, f)) > 0)
		bad = EVP_DigestUpdate(h, chunk, n) != 1;
	if (!bad && ferror(f)) {
		errnum = errno;
		bad = true;
	}
	bad = bad || EVP_DigestFinal_ex(h, out, NULL) != 1;
	EVP_MD_CTX_free(h);
	free(chunk);
	if (f)
		fclose(f);
	return bad ? cannot(e, path, strerror(errnum)) : 0;
}

static const char *option(const struct ctl_args *a, const char *key)
{
	return json_string_value(json_object_get(a->params, key));
}

/* The files of multiboot2 and module2. */
static int boot_files(const struct ctl_args *a, struct prediction *p, struct ctl_error *e)
{
	static const char *const keys[] = {"xen", "kernel", "initrd", "flask"};
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys) && !r; i++) {
		const char *path = option(a, keys[i]);
		struct grub_file *f = &p->boot.files[p->boot.nfiles];
		const char *slash = path ? strrchr(path, '/') : NULL;

		if (!path)
			continue;
		f->name = slash ? slash + 1 : path;
		p->boot.nfiles++;
		r = file_hash(path, f->digest, e);
	}
	return r;
}

/* FILE[,FILE…] */
static int efi_files(const struct ctl_args *a, struct prediction *p, struct ctl_error *e)
{
	char *list = strdup(option(a, "efi") ? option(a, "efi") : ""), *rest = list;
	const char *path;
	int r = list ? 0 : cannot(e, "--efi", err_text(ERR_NOMEM));

	while (!r && rest && *rest) {
		uint8_t *image = NULL;
		size_t len = 0;

		path = strsep(&rest, ",");
		if (p->nefi == PREDICT_EFI_MAX)
			r = cannot(e, path, "that is one more than are followed");
		else
			r = file_read(path, EFI_FILE_MAX, &image, &len, e);
		if (r)
			break;
		if (authenticode_hash(image, len, p->efi[p->nefi++]))
			r = cannot(e, path, "it is no EFI program, or damaged");
		free(image);
	}
	free(list);
	return r;
}

/* What the running kernel says of a PCR. */
static int kernel_pcr(unsigned i, uint8_t out[static EVENTLOG_DIGEST])
{
	char path[64], text[2 * EVENTLOG_DIGEST + 1] = "";
	FILE *f;
	int r;

	snprintf(path, sizeof(path), LINUX_PCR, i);
	f = fopen(path, "re");
	r = f && fread(text, 1, sizeof(text) - 1, f) == sizeof(text) - 1 ? 0 : ERR_IO;
	if (f)
		fclose(f);
	return r ? r : hex_decode(text, out, EVENTLOG_DIGEST);
}

/* A log that does not lead to what the TPM holds predicts nothing. */
static int log_check(const uint8_t *log, size_t len, struct ctl_error *e)
{
	uint8_t now[EVENTLOG_PCRS][EVENTLOG_DIGEST] = {0};
	unsigned at = 0;
	int r;

	for (unsigned i = 0; i < EVENTLOG_PCRS; i++)
		if (PREDICT_ALL >> i & 1 && kernel_pcr(i, now[i]))
			return ctl_fail(e, ERR_IO, EXIT_FAILED, LINUX_PCR ": cannot be read", i);
	r = predict_log_holds(log, len, now, &at);
	if (r == ERR_PCR)
		return ctl_fail(e, r, EXIT_TPM, "the event log does not lead to what PCR %u holds: it is not of this boot, or not whole",
				at);
	return r ? cannot(e, EVENTLOG_LINUX, "it is damaged, or not of TPM 2.0 with SHA-256") : 0;
}

static int log_read(const struct ctl_args *a, struct prediction *p, uint8_t **log, struct ctl_error *e)
{
	const char *which = option(a, "eventlog");
	bool current = which && !strcmp(which, "current");
	int r;

	if (!which)
		return 0;
	r = file_read(current ? EVENTLOG_LINUX : which, EVENTLOG_MAX, log, &p->log_len, e);
	if (r)
		return r;
	p->log = *log;
	return current ? log_check(p->log, p->log_len, e) : 0;
}

static int cfg_read(const struct ctl_args *a, struct prediction *p, uint8_t **cfg, struct ctl_error *e)
{
	const char *path = option(a, "grub_cfg");
	int r;

	if (!path)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--grub-cfg FILE is missing");
	r = file_read(path, GRUB_CFG_MAX, cfg, &p->boot.cfg_len, e);
	p->boot.cfg = (const char *)*cfg;
	p->boot.entry = option(a, "entry");
	return r;
}

struct report {
	unsigned n;
};

/* The log has grub.cfg by its whole path, and by the name that GRUB gives its disk. */
static bool same_file(unsigned pcr, const char *was, const char *is)
{
	size_t a = strlen(was), b = strlen(is);

	return pcr == GRUB_PCR_BINARY && a >= b && !strcmp(was + a - b, is);
}

static void tell_difference(void *arg, unsigned pcr, const char *was, const char *is)
{
	char old[DIFFERENCE_MAX], new[DIFFERENCE_MAX];
	struct report *report = arg;

	if (++report->n > DIFFERENCES_SHOWN)
		return;
	eventlog_excerpt(was ? was : "", is ? is : "", sizeof(old), old, new);
	if (was && is && same_file(pcr, was, is))
		fprintf(stderr, "PCR %u: %s has another content\n", pcr, is);
	else
		fprintf(stderr, "PCR %u: %s%s\n       %s%s\n", pcr, was ? "was " : "was nothing", old,
			is ? "is  " : "is  nothing", new);
}

static void tell_changes(const struct prediction *p)
{
	struct report report = {.n = 0};

	if (!p->log)
		return;
	predict_compare(p, tell_difference, &report);
	if (report.n > DIFFERENCES_SHOWN)
		fprintf(stderr, "and %u more\n", report.n - DIFFERENCES_SHOWN);
	fprintf(stderr, report.n ? "compared with the boot of the log: %u measurements of GRUB change\n" :
				   "GRUB measures what it measured at the boot of the log\n", report.n);
	if (!p->nefi)
		fprintf(stderr, "PCR 4: as in the log; give --efi if a boot loader has changed\n");
}

/* A PCR that is wanted and not known is an error: a set without it would unseal more. */
static int check_known(const struct prediction *p, uint32_t mask, struct ctl_error *e)
{
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if ((mask & ~p->known) >> i & 1)
			return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "PCR %u cannot be predicted%s; --pcrs names others", i,
					!p->log && PREDICT_ALL >> i & 1 ? " without an event log (--eventlog)" : "");
	return 0;
}

static int make_set(const struct ctl_args *a, const struct prediction *p, json_t **set, struct ctl_error *e)
{
	const json_t *pcrs = json_object_get(a->params, "pcrs");
	uint32_t mask = pcrs ? 0 : PCRS_DEFAULT;
	int r;

	for (size_t i = 0; i < json_array_size(pcrs); i++)
		mask |= 1u << json_integer_value(json_array_get(pcrs, i));
	r = check_known(p, mask, e);
	if (r)
		return r;
	*set = json_pack("{s:s, s:s, s:{s:o}}", "format", PCR_SET_FORMAT, "description", a->description ? a->description : "",
			"pcrs", "sha256", pcr_values_to_json(mask, p->pcr));
	return *set ? 0 : ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "%s", err_text(ERR_NOMEM));
}

int policy_predict(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	struct prediction *p = calloc(1, sizeof(*p));
	uint8_t *log = NULL, *cfg = NULL;
	int r;

	if (!p)
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "%s", err_text(ERR_NOMEM));
	r = cfg_read(a, p, &cfg, e);
	if (!r)
		r = boot_files(a, p, e);
	if (!r)
		r = efi_files(a, p, e);
	if (!r)
		r = log_read(a, p, &log, e);
	if (!r && predict(p))
		r = ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s", p->why);
	if (!r) {
		tell_changes(p);
		r = make_set(a, p, reply, e);
	}
	trace_free(&p->trace);
	free(p);
	free(log);
	free(cfg);
	return r;
}
