/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's identity, as files for the tools of whoever verifies it; and his challenge on its way to the TPM. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/proto/enroll.h"

#define FILE_MAX 4096u

static int put_bytes(const char *dir, const char *name, const void *p, size_t n)
{
	char path[4096];
	FILE *f;
	int bad;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return ERR_RANGE;
	f = fopen(path, "we");
	bad = !f || fwrite(p, 1, n, f) != n;
	if (f && fclose(f))
		bad = 1;
	if (bad)
		fprintf(stderr, "vtpmctl: %s: %s\n", path, strerror(errno));
	return bad ? ERR_IO : 0;
}

/* Nothing for an absent member. */
static int put_hex(const char *dir, const char *name, const char *hex)
{
	uint8_t mem[FILE_MAX];
	size_t n = strlen(hex) / 2;

	if (!n)
		return 0;
	return n > sizeof(mem) || hex_decode(hex, mem, n) ? ERR_PROTO : put_bytes(dir, name, mem, n);
}

static int put_text(const char *dir, const char *name, const char *text)
{
	return text[0] ? put_bytes(dir, name, text, strlen(text)) : 0;
}

static int write_ek(const char *dir, json_t *ek)
{
	const bool rsa = strcmp(str(ek, "kind"), "rsa2048") == 0;
	int err = put_hex(dir, rsa ? "ek-rsa.pub" : "ek-ecc.pub", str(ek, "public"));

	if (!err)
		err = put_text(dir, rsa ? "ek-rsa.pem" : "ek-ecc.pem", str(ek, "public_pem"));
	return err ? err : put_text(dir, rsa ? "ek-rsa.crt" : "ek-ecc.crt", str(ek, "certificate"));
}

static int write_files(const char *dir, json_t *o)
{
	json_t *ak = json_object_get(o, "ak"), *ca = json_object_get(o, "ca"), *made = json_object_get(ca, "creation"), *ek;
	const struct {
		const char *name;
		json_t *of;
		const char *key;
	} files[] = {
		{"ak.pub", ak, "public"},	 {"ca.pub", ca, "public"},	  {"ca.attest", ca, "attest"},
		{"ca.sig", ca, "signature"},	 {"creation.data", made, "data"}, {"creation.attest", made, "attest"},
		{"creation.sig", made, "signature"},
	};
	size_t i;
	int err;

	if (mkdir(dir, 0777) && errno != EEXIST) {
		fprintf(stderr, "vtpmctl: %s: %s\n", dir, strerror(errno));
		return ERR_IO;
	}
	err = put_text(dir, "ak.name", str(ak, "name"));
	if (!err)
		err = put_text(dir, "ak.pem", str(ak, "public_pem"));
	if (!err)
		err = put_text(dir, "ca.pem", str(ca, "certificate"));
	for (i = 0; i < ARRAY_LEN(files) && !err; i++)
		err = put_hex(dir, files[i].name, str(files[i].of, files[i].key));
	json_array_foreach(json_object_get(o, "eks"), i, ek)
		err = err ? err : write_ek(dir, ek);
	return err;
}

int print_enroll(const struct ctl_args *a, json_t *params)
{
	json_t *ek;
	size_t i;

	if (a->dir && write_files(a->dir, params))
		return EXIT_FAILED;
	json_array_foreach(json_object_get(params, "eks"), i, ek)
		linef("ek", "%s, %s", str(ek, "kind"), str(ek, "certificate")[0] ? "certificate of its maker" : "no certificate in the TPM");
	line("ak", str(json_object_get(params, "ak"), "name"));
	linef("ca", "%s, certified by that, and how it was made", str(json_object_get(params, "ca"), "name"));
	return EXIT_OK;
}

int print_crl(const struct ctl_args *a, json_t *params)
{
	(void)a;
	return put_pem(str(params, "crl"));
}

int print_credential(const struct ctl_args *a, json_t *params)
{
	(void)a;
	ctl_put_text(str(params, "credential"));
	putchar('\n');
	return EXIT_OK;
}

static int read_blob(const char *path, uint8_t mem[static CREDENTIAL_MAX + 1], size_t *len, struct ctl_error *e)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;
	int err = 0;

	*len = 0;
	while (fd >= 0 && n > 0 && *len <= CREDENTIAL_MAX) {
		n = read(fd, mem + *len, CREDENTIAL_MAX + 1 - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || n < 0)
		err = ctl_fail(e, ERR_IO, EXIT_FAILED, "%s: %s", path, strerror(errno));
	fd_close(&fd);
	if (err)
		return err;
	if (!*len || *len > CREDENTIAL_MAX)
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: this is no credential as tpm2_makecredential writes it", path);
	return 0;
}

int enroll_activate_prepare(struct ctl_args *a, struct ctl_error *e)
{
	char hex[2 * CREDENTIAL_MAX + 1];
	uint8_t mem[CREDENTIAL_MAX + 1];
	size_t len;
	int err = read_blob(a->name, mem, &len, e);

	if (err)
		return err;
	if (hex_encode(mem, len, hex, sizeof(hex)) || json_object_set_new(a->params, "blob", json_string(hex)))
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	return 0;
}
