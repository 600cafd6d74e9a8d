/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client gives for an import. The manager looks at what kind of descriptors they are, never into them: a worker
 * does that. Anything but a sealed memfd is turned away here, since whoever holds another kind of file may be made to wait for it.
 */
#include <fcntl.h>
#include <string.h>

#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/mgr.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int secret_param(struct call *c, json_t *params, enum import_secret *out)
{
	static const char *const words[] = { [SECRET_KEY_HEX] = "hex",
					     [SECRET_KEY_BINARY] = "binary",
					     [SECRET_PASS_PBKDF2] = "pbkdf2",
					     [SECRET_PASS_SHA512] = "sha512" };
	json_t *j = json_object_get(params, "secret");
	const char *s = json_string_value(j);

	*out = SECRET_NONE;
	if (!j || json_is_null(j))
		return 0;
	for (unsigned i = SECRET_KEY_HEX; s && i < ARRAY_LEN(words); i++)
		if (strcmp(s, words[i]) == 0)
			*out = i;
	if (*out != SECRET_NONE)
		return 0;
	call_error(c, ERR_INVAL, "secret must be hex, binary, pbkdf2 or sha512");
	return ERR_INVAL;
}

static bool is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

int import_take(struct call *c, json_t *params, struct import *out)
{
	int err;

	*out = (struct import){ .fds = { -1, -1 } };
	err = secret_param(c, params, &out->secret);
	if (err)
		return err;
	if (call_nfds(c) != (out->secret == SECRET_NONE ? 1u : 2u)) {
		call_error(c, ERR_INVAL, "the state is one descriptor, a secret another");
		return ERR_INVAL;
	}
	out->nfds = call_nfds(c);
	for (unsigned i = 0; i < out->nfds; i++)
		out->fds[i] = call_take_fd(c, i);
	if (is_sealed(out->fds[0]) && (out->nfds == 1 || is_sealed(out->fds[1])))
		return 0;
	import_close(out);
	call_error(c, ERR_INVAL, "descriptors must be memfds with the seals SHRINK, GROW and WRITE");
	return ERR_INVAL;
}

void import_close(struct import *i)
{
	for (unsigned n = 0; n < i->nfds; n++)
		fd_close(&i->fds[n]);
	i->nfds = 0;
}

/* --- no TPM twice --- */

struct twin {
	const struct store_vtpm *row;
	char *name;
};

bool import_is_twin(const struct store_vtpm *one, const struct store_vtpm *other)
{
	for (unsigned i = 0; i < EK_KINDS; i++) {
		const struct store_blob *a = &one->ek_public[i], *b = &other->ek_public[i];

		if (a->len != 0 && a->len == b->len && memcmp(a->data, b->data, a->len) == 0)
			return true;
	}
	return false;
}

static int compare(void *arg, const struct store_vtpm *other)
{
	const struct twin *t = arg;

	if (!import_is_twin(t->row, other))
		return 0;
	memcpy(t->name, other->name, NAME_MAX_LEN + 1);
	return ERR_EXISTS;
}

int import_find_twin(struct mgr *m, const struct store_vtpm *row, char name[static NAME_MAX_LEN + 1])
{
	struct twin t = { .row = row, .name = name };
	const char *made = provision_twin(m, row);
	int err = restore_find_twin(m, row, name);

	if (err)
		return err;
	if (made) {
		memcpy(name, made, NAME_MAX_LEN + 1);
		return ERR_EXISTS;
	}
	return store_vtpm_each(m->store, compare, &t);
}
