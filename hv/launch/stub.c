/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-launch stub: before dom0 lets go of the TPM, a PCR is extended with what the stub domain boots, so that the manager's seal can
 * demand this image.
 *
 * The PCR says which images have had the TPM since the host booted, so the rule for the next start of the domain is: if the PCR holds
 * what this very image, alone, leaves there, nothing is to be added; another image has had it, or this one is another, and nothing is started: the
 * PCR cannot be what either seal wants before the host boots anew. Then every value that unseals stands for one image, however often
 * that one was started.
 *
 * Whoever is root in dom0 before the domain has the TPM can extend that PCR by hand. It binds the image for those who come later, and
 * for a dom0 that is measured up to here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hv/launch/domain.h"
#include "hv/launch/pcr.h"
#include "hv/xen/hypercall.h"
#include "lib/util.h"

#define DRIVER	      "/sys/bus/platform/drivers/tpm_tis"
#define DEVICE	      "MSFT0101:00"
#define RESOURCE_MANAGER "/sys/bus/platform/devices/" DEVICE "/tpmrm"
#define TPM_PATH_MAX  64u
#define GAVE_UP	      "/run/vtpm-launch.gave-up" /* gone when the host boots anew, as what it stands for */
#define INIT	      "vtpm.init" /* words for the domain's own init: hv/xen/stubdom/init */
#define ARGUMENT      "vtpm.arg="
#define TPM_PAGE      0xfed40u
#define TPM_PAGES     5u
#define DOMAINS_MAX   (1u << 20) /* bytes of a list of them */
#define STUB_TEXT_MAX 512u

struct stub {
	const struct launch_args *a;
	struct domain d;
	char text[STUB_TEXT_MAX];	   /* what is measured */
	uint8_t digest[PCR_SIZE], value[PCR_SIZE]; /* its hash, and what the PCR holds then, beginning with zero */
};

/* --- what it is --- */

static int hash(const void *p, size_t n, uint8_t out[static PCR_SIZE])
{
	unsigned len;

	return EVP_Digest(p, n, out, &len, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

static bool has_word(const char *line, const char *word)
{
	const size_t n = strlen(word);

	for (const char *p = line; *p; p += strcspn(p, " "), p += strspn(p, " "))
		if (strncmp(p, word, n) == 0 && (p[n] == ' ' || p[n] == '\0'))
			return true;
	return false;
}

static int put_line(struct stub *s, const char *what, const uint8_t digest[static PCR_SIZE])
{
	size_t n = strlen(s->text);
	char hex[2 * PCR_SIZE + 1];
	int err = hex_encode(digest, PCR_SIZE, hex, sizeof(hex));

	snprintf(s->text + n, sizeof(s->text) - n, "%s sha256 %s\n", what, hex);
	return err;
}

int stub_command_line(const char *line, char **out)
{
	const bool init = has_word(line, INIT);
	char *copy = strdup(line), *rest = copy, *word, *to;

	*out = to = calloc(1, strlen(line) + 1);
	while (copy && to && (word = strsep(&rest, " "))) {
		if (!*word || (init && (strcmp(word, INIT) == 0 || strncmp(word, ARGUMENT, strlen(ARGUMENT)) == 0)))
			continue;
		if (to != *out)
			*to++ = ' ';
		to = stpcpy(to, word);
	}
	free(copy);
	return copy && *out ? 0 : ERR_NOMEM;
}

static int hash_line(const char *line, uint8_t out[static PCR_SIZE])
{
	char *words;
	int err = stub_command_line(line, &words);

	if (!err)
		err = hash(words, strlen(words), out);
	free(words);
	return err;
}

static int measure(struct stub *s)
{
	uint8_t before[2 * PCR_SIZE] = {0}, of_line[PCR_SIZE];
	int err = hash_line(s->d.parsed.cmdline, of_line);

	snprintf(s->text, sizeof(s->text), "vtpm-launch stub\n");
	if (!err)
		err = put_line(s, "kernel", s->d.kernel.digests.of[LAUNCH_SHA256]);
	if (!err && s->d.parsed.ramdisk)
		err = put_line(s, "initrd", s->d.ramdisk.digests.of[LAUNCH_SHA256]);
	if (!err)
		err = put_line(s, "command line", of_line);
	if (!err)
		err = hash(s->text, strlen(s->text), s->digest);
	memcpy(before + PCR_SIZE, s->digest, PCR_SIZE);
	return err ? err : hash(before, sizeof(before), s->value);
}

static int report(const struct stub *s, struct ctl_error *e)
{
	char digest[2 * PCR_SIZE + 1], value[2 * PCR_SIZE + 1];
	json_t *o;
	int err = hex_encode(s->digest, PCR_SIZE, digest, sizeof(digest));

	if (!err)
		err = hex_encode(s->value, PCR_SIZE, value, sizeof(value));
	if (err)
		return ctl_fail(e, err, EXIT_FAILED, "%s", err_text(err));
	if (!s->a->json) {
		printf("%sdigest %s\nPCR %u %s\n", s->text, digest, s->a->pcr, value);
		return 0;
	}
	o = json_pack("{s:s, s:s, s:i, s:s}", "measured", s->text, "digest", digest, "pcr", (int)s->a->pcr, "value", value);
	print_json(o);
	json_decref(o);
	return 0;
}

/* --- the TPM, as long as it is dom0's --- */

static int tell_driver(const char *verb, struct ctl_error *e)
{
	char path[sizeof(DRIVER) + 16];
	int fd, failed;

	snprintf(path, sizeof(path), DRIVER "/%s", verb);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	failed = fd < 0 || write(fd, DEVICE, sizeof(DEVICE) - 1) != (ssize_t)sizeof(DEVICE) - 1;
	if (failed)
		(void)ctl_fail(e, ERR_SYS, EXIT_TPM, "%s: " DEVICE ": %s", path, strerror(errno));
	fd_close(&fd);
	return failed ? ERR_SYS : 0;
}

/* xl's list: a line of headings, then one for each domain, which its name begins. */
static int check_is_off(const char *name, struct ctl_error *e)
{
	static char xl[] = "xl", list[] = "list";
	char *argv[] = {xl, list, NULL}, *domains = NULL, *rest, *line;
	int err = run_program(argv, &domains, DOMAINS_MAX, e);

	rest = domains;
	while (!err && (line = strsep(&rest, "\n")))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ')
			err = ctl_fail(e, ERR_WRONG_STATE, EXIT_STATE, "domain %s runs already", name);
	free(domains);
	return err;
}

/* The kernel's number for it need not be 0: IMA holds on to the one that the TPM had before its driver let go. */
static int find_tpm(char path[static TPM_PATH_MAX])
{
	DIR *d = opendir(RESOURCE_MANAGER);
	struct dirent *entry;
	int err = ERR_NOTFOUND;

	while (d && err && (entry = readdir(d))) {
		if (strncmp(entry->d_name, "tpmrm", 5) != 0)
			continue;
		snprintf(path, TPM_PATH_MAX, "/dev/%.16s", entry->d_name);
		err = 0;
	}
	if (d)
		closedir(d);
	return err;
}

static int open_tpm(int *fd, struct ctl_error *e)
{
	char path[TPM_PATH_MAX] = RESOURCE_MANAGER;
	int err = 0;

	if (find_tpm(path) && access(GAVE_UP, F_OK) == 0)
		return ctl_fail(e, ERR_TPM_LOST, EXIT_TPM, "dom0 has given the TPM up: boot the host anew");
	if (find_tpm(path))
		err = tell_driver("bind", e); /* the domain had it, and has ended */
	if (err)
		return err;
	*fd = find_tpm(path) ? -1 : open(path, O_RDWR | O_CLOEXEC);
	return *fd >= 0 ? 0 : ctl_fail(e, ERR_TPM_LOST, EXIT_TPM, "%s: %s", path, strerror(errno));
}

static int extend(const struct stub *s, int fd, struct ctl_error *e)
{
	static const uint8_t zero[PCR_SIZE];
	uint8_t now[PCR_SIZE];
	int err = pcr_read(fd, s->a->pcr, now);

	if (!err && memcmp(now, zero, PCR_SIZE) == 0) {
		err = pcr_extend(fd, s->a->pcr, s->digest);
		if (!err)
			err = pcr_read(fd, s->a->pcr, now);
	}
	if (err)
		return ctl_fail(e, err, EXIT_TPM, "PCR %u of the TPM: %s", s->a->pcr, err_text(err));
	if (memcmp(now, s->value, PCR_SIZE) != 0)
		return ctl_fail(e, ERR_PCR, EXIT_TPM,
				"PCR %u of the TPM says that another image than this one was started, or that others use that PCR: nothing would be "
				"unsealed before the host boots anew",
				s->a->pcr);
	return 0;
}

/* --- all of it --- */

static int give_up(struct ctl_error *e)
{
	int fd = open(GAVE_UP, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = fd < 0 ? err_from_errno(errno) : 0;

	fd_close(&fd);
	if (!err)
		err = xen_iomem_deny_dom0(TPM_PAGE, TPM_PAGES);
	return err ? ctl_fail(e, err, EXIT_FAILED, "the domain has the TPM, but dom0 could not give up its own access: %s", err_text(err)) : 0;
}

static int start(struct stub *s, struct ctl_error *e)
{
	int fd = -1;
	int err = check_is_off(s->d.parsed.name, e);

	if (!err)
		err = open_tpm(&fd, e);
	if (!err)
		err = extend(s, fd, e);
	fd_close(&fd);
	if (!err)
		err = tell_driver("unbind", e);
	if (!err)
		err = domain_create(&s->d, e);
	return err || !s->a->give_up ? err : give_up(e);
}

int stub_launch(const struct launch_args *a, struct ctl_error *e)
{
	struct stub s = {.a = a, .d = DOMAIN_NONE};
	int err;

	s.d.a = a;
	s.d.stub = true;
	err = domain_read(&s.d, e);
	if (!err && (err = measure(&s)))
		(void)ctl_fail(e, err, EXIT_FAILED, "measuring: %s", err_text(err));
	if (!err && !a->measure)
		err = start(&s, e);
	if (!err && (a->measure || a->json))
		err = report(&s, e);
	domain_free(&s.d);
	return err;
}
