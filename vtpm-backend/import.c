/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/import.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/secmem.h"
#include "vtpm-backend/ek.h"
#include "vtpm-backend/swtpm_state.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const char bad_file[] = "this is not a file of swtpm's, or it is damaged";
static const char bad_version[] = "swtpm's file has a format that is not known here";
static const char bad_descriptor[] = "a descriptor is not a sealed memfd of a size that can be";
static const char bad_secret[] = "the key has not the length or the form that this state needs";
static const char bad_key[] = "the key or passphrase is not the one that the state was encrypted with, or the file was changed";
static const char want_secret[] = "the state is encrypted; give the key or the passphrase that swtpm was given";
static const char no_secret[] = "the state is not encrypted; leave the key out";
static const char too_large[] = "the state is larger than the vTPM's quota; give a higher --state-max";
static const char no_crypto[] = "OpenSSL or memory failed";

struct view {
	const uint8_t *p; /* NULL: none */
	size_t n;
};

/* Mapped, not read: where in the file a reader would begin is the sender's to say, and may be read anew after a failure. */
static int map(int fd, size_t max, struct view *v)
{
	struct stat st;
	void *p;
	int seals;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) != 0)
		return ERR_INVAL;
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		return ERR_INVAL;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return ERR_NOMEM;
	v->p = p;
	v->n = (size_t)st.st_size;
	return 0;
}

static void unmap(struct view *v)
{
	if (v->p != NULL)
		munmap((void *)(uintptr_t)v->p, v->n);
	v->p = NULL;
}

/* plain: room for s->data_len bytes. */
static int decrypt(const struct swtpm_state *s, enum import_secret kind, const struct view *secret, uint8_t *plain,
		   size_t *n, const char **why)
{
	uint8_t key[SWTPM_KEY_MAX];
	int err;

	err = swtpm_key_make(kind, secret->p, secret->n, s->key_len, key);
	*why = err == ERR_INVAL ? bad_secret : no_crypto;
	if (err == 0) {
		err = swtpm_state_open(s, key, plain, n);
		*why = err == ERR_AUTH ? bad_key : no_crypto;
	}
	secmem_wipe(key, sizeof(key));
	return err == ERR_AUTH ? ERR_INVAL : err; /* nothing of ours fails to verify */
}

static int take(struct backend *b, const struct swtpm_state *s, const struct view *secret, const char **why)
{
	const enum import_secret kind = RUN_SECRET_OF(b->start.flags);
	int err;

	if ((s->key_len != 0) != (kind != SECRET_NONE)) {
		*why = s->key_len != 0 ? want_secret : no_secret;
		return ERR_INVAL;
	}
	*why = no_crypto;
	b->plain = malloc(s->data_len);
	if (b->plain == NULL)
		return ERR_NOMEM;
	if (kind != SECRET_NONE) {
		err = decrypt(s, kind, secret, b->plain, &b->plain_len, why);
		if (err != 0)
			return err;
	} else {
		memcpy(b->plain, s->data, s->data_len);
		b->plain_len = s->data_len;
	}
	*why = too_large;
	return b->plain_len > b->start.state_max ? ERR_FULL : 0;
}

static int parse(const struct view *file, struct swtpm_state *s, const char **why)
{
	int err = swtpm_state_parse(file->p, file->n, s);

	*why = err == ERR_VERSION ? bad_version : bad_file;
	return err == ERR_PROTO ? ERR_INVAL : err;
}

int import_load(struct backend *b, const char **why)
{
	struct view file = { 0 }, secret = { 0 };
	struct swtpm_state s;
	int err;

	*why = bad_descriptor;
	err = map(b->import_fd[0], SWTPM_FILE_MAX, &file);
	if (err == 0 && b->import_fd[1] >= 0)
		err = map(b->import_fd[1], SWTPM_SECRET_MAX, &secret);
	fd_close(&b->import_fd[0]);
	fd_close(&b->import_fd[1]);
	if (err == 0)
		err = parse(&file, &s, why);
	if (err == 0)
		err = take(b, &s, &secret, why);
	unmap(&file);
	unmap(&secret);
	return err;
}

int import_identify(struct product *p)
{
	int err = 0;

	for (unsigned kind = 0; err == 0 && kind < EK_KINDS; kind++) {
		err = ek_find_public(kind, p->pub[kind], &p->pub_len[kind]);
		if (err == 0)
			err = ek_find_cert(kind, p->pub[kind], p->pub_len[kind], p->cert[kind], &p->cert_len[kind]);
		if (err == ERR_NOTFOUND)
			err = 0;
	}
	return err;
}
