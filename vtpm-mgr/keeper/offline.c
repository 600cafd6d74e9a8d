/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/offline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/util.h"

/* Only who starts us, or root, may have written it: everybody else would be given the roots. */
static bool trusted(const struct stat *sb)
{
	return (sb->st_uid == 0 || sb->st_uid == geteuid()) && !(sb->st_mode & (S_IWGRP | S_IWOTH));
}

/* NULL: it is none, and the log says why. */
static EVP_PKEY *read_key(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	EVP_PKEY *key = NULL;
	struct stat sb;

	if (!f) {
		log_error("recovery key %s: %s", name, strerror(errno));
		fd_close(&fd);
		return NULL;
	}
	if (fstat(fd, &sb) || !S_ISREG(sb.st_mode) || !trusted(&sb)) {
		log_error("recovery key %s is left out: it must be a file that only root can write", name);
	} else {
		key = PEM_read_PUBKEY(f, NULL, NULL, (void *)""); /* a password that is none: nobody is asked for one */
		if (!key || envelope_check_key(key)) {
			log_error("recovery key %s is left out: it must be one public key in PEM, RSA of 2048 to 4096 bits or on P-256 "
				  "or P-384",
				  name);
			EVP_PKEY_free(key);
			key = NULL;
		}
	}
	(void)fclose(f);
	return key;
}

static int is_pem(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 4 && !strcmp(d->d_name + n - 4, ".pem");
}

static void take(struct offline *o, EVP_PKEY *key, const char *name)
{
	uint8_t fingerprint[DIGEST_LEN];

	if (!key)
		return;
	if (!envelope_fingerprint(key, fingerprint) && !offline_find(o, fingerprint) && o->n < RECOVERY_KEYS_MAX) {
		memcpy(o->fingerprints[o->n], fingerprint, DIGEST_LEN);
		o->keys[o->n++] = key;
		return;
	}
	if (o->n == RECOVERY_KEYS_MAX)
		log_error("recovery key %s is left out: %u are possible", name, RECOVERY_KEYS_MAX);
	EVP_PKEY_free(key);
}

static void load_from(struct offline *o, int fd)
{
	struct dirent **names = NULL;
	int n = scandirat(fd, ".", &names, is_pem, alphasort);

	for (int i = 0; i < n; i++) {
		take(o, read_key(fd, names[i]->d_name), names[i]->d_name);
		free(names[i]);
	}
	free(names);
}

void offline_load(struct offline *o, const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat sb;

	o->n = 0;
	if (fd < 0) {
		if (errno != ENOENT)
			log_error("recovery keys in %s: %s", dir, strerror(errno));
		return;
	}
	if (fstat(fd, &sb) || !trusted(&sb))
		log_error("recovery keys in %s are not used: others than root can write that directory", dir);
	else
		load_from(o, fd);
	fd_close(&fd);
}

void offline_free(struct offline *o)
{
	while (o->n)
		EVP_PKEY_free(o->keys[--o->n]);
}

EVP_PKEY *offline_find(const struct offline *o, const uint8_t fingerprint[static DIGEST_LEN])
{
	for (unsigned i = 0; i < o->n; i++)
		if (!memcmp(o->fingerprints[i], fingerprint, DIGEST_LEN))
			return o->keys[i];
	return NULL;
}
