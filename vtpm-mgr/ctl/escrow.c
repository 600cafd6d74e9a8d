/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpmctl recovery: "init" puts public keys where the keeper reads them, "open" answers a challenge of the keeper with a private key,
 * here, without a manager, and "restore" reads that answer. What is in a challenge's file is untrusted; so is what is in an answer's.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/escrow/code.h"
#include "vtpm-mgr/escrow/envelope.h"

#define PATH_LEN 4096u

/* ---- init ---- */

static EVP_PKEY *read_public(const char *path, struct ctl_error *e)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = f ? PEM_read_PUBKEY(f, NULL, NULL, NULL) : NULL;

	if (!f)
		(void)ctl_fail(e, err_from_errno(errno), EXIT_FAILED, "%s: %s", path, strerror(errno));
	else
		(void)fclose(f);
	if (f && (!key || envelope_check_key(key))) {
		(void)ctl_fail(e, ERR_INVAL, EXIT_USAGE,
			       "%s: not one public key in PEM, RSA of 2048 to 4096 bits or on P-256 or P-384; of a private key: openssl pkey -in "
			       "FILE -pubout",
			       path);
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

/* Complete, or not there: the keeper reads it whenever it is started. */
static int write_public(EVP_PKEY *key, const char *dir, const char *hex, struct ctl_error *e)
{
	char path[PATH_LEN], temp[PATH_LEN];
	FILE *f = NULL;
	int fd, ok;

	if ((mkdir(dir, 0755) && errno != EEXIST && errno != ENOENT) ||
	    (size_t)snprintf(path, sizeof(path), "%s/%.16s.pem", dir, hex) >= sizeof(path) ||
	    (size_t)snprintf(temp, sizeof(temp), "%s/.%.16s.new", dir, hex) >= sizeof(temp))
		return ctl_fail(e, ERR_DENIED, EXIT_DENIED, "%s: %s", dir, strerror(errno));
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		int err = err_from_errno(errno);

		fd_close(&fd);
		return ctl_fail(e, err, err == ERR_DENIED ? EXIT_DENIED : EXIT_FAILED,
				"%s: %s; recovery keys are read from there, and only root may write it: run this as root, or put them there first",
				dir, strerror(errno));
	}
	ok = PEM_write_PUBKEY(f, key) == 1 && fchmod(fd, 0644) == 0 && fflush(f) == 0 && fsync(fd) == 0;
	ok = fclose(f) == 0 && ok && rename(temp, path) == 0;
	return ok ? 0 : ctl_fail(e, err_from_errno(errno), EXIT_FAILED, "%s: %s", path, strerror(errno));
}

static bool listed(json_t *recovery, const char *hex)
{
	json_t *j;
	size_t i;

	json_array_foreach(json_object_get(recovery, "keys"), i, j) {
		const char *known = json_string_value(j);

		if (known && !strcmp(known, hex))
			return true;
	}
	return false;
}

static int install_key(struct ctl_args *a, json_t *recovery, const char *path, json_t *list, struct ctl_error *e)
{
	const char *dir = json_string_value(json_object_get(recovery, "directory"));
	EVP_PKEY *key = read_public(path, e);
	uint8_t fingerprint[DIGEST_LEN];
	char hex[2 * DIGEST_LEN + 1];
	int err = key ? 0 : ERR_INVAL;

	if (!err && (envelope_fingerprint(key, fingerprint) || hex_encode(fingerprint, sizeof(fingerprint), hex, sizeof(hex)) ||
		     json_array_append_new(list, json_string(hex))))
		err = ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "%s: it has no fingerprint", path);
	if (!err && !listed(recovery, hex)) {
		if (a->at.xen_domain || !dir)
			err = ctl_fail(e, ERR_DENIED, EXIT_DENIED, "%s: put it into %s in that domain first", path, dir ? dir : "?");
		else
			err = write_public(key, dir, hex, e);
	}
	EVP_PKEY_free(key);
	return err;
}

int recovery_init_prepare(struct ctl_args *a, struct ctl_error *e)
{
	json_t *none = json_object(), *list = json_array(), *reply = NULL;
	int err = client_call(&a->at, "RecoveryShow", none, NULL, 0, &reply, e);

	for (unsigned i = 0; i < a->nkeys && !err; i++)
		err = install_key(a, json_object_get(reply, "recovery"), a->keys[i], list, e);
	if (!err && json_object_set(a->params, "keys", list))
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	json_decref(reply);
	json_decref(list);
	json_decref(none);
	return err;
}

/* ---- open ---- */

/* What a challenge's file says. */
struct question {
	json_t *root;
	json_t *known; /* roots that an answer may be for; NULL: any */
	uint8_t nonce[CHALLENGE_NONCE_LEN], der[PUBKEY_MAX];
	size_t der_len;
	EVP_PKEY *keeper;
};

/* Bytes of a hex string; 0: it is none, or too long. */
static size_t hex_bytes(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = hex ? strlen(hex) : 0;

	return n % 2 || n / 2 > cap || !n || hex_decode(hex, out, n / 2) ? 0 : n / 2;
}

static size_t hex_of(json_t *object, const char *key, uint8_t *out, size_t cap)
{
	return hex_bytes(json_string_value(json_object_get(object, key)), out, cap);
}

static json_t *read_json(const char *path, struct ctl_error *e)
{
	json_error_t why;
	json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &why);

	if (!j)
		(void)ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: %s", path, why.text);
	return j;
}

/* Whether the code is that of the keeper's key: nobody on the way has put his own in its place. */
static int check_code(const struct ctl_args *a, const struct question *q, struct ctl_error *e)
{
	char code[CODE_STR_LEN + 1];

	if (challenge_code(q->nonce, q->der, q->der_len, code))
		return ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "the challenge has no code");
	if (a->code && !strcasecmp(a->code, code))
		return 0;
	return ctl_fail(e, ERR_AUTH, EXIT_DENIED,
			"%s%sread the code where the keeper has logged it, not in this file: journalctl -u vtpm-mgr, \"the code of the "
			"challenge\"; another one means that somebody on the way has changed the challenge",
			a->code ? "the code of this challenge is another one; " : "", a->code ? "" : "--code is missing: ");
}

static EVP_PKEY *read_private(const struct ctl_args *a, struct ctl_error *e)
{
	FILE *f = a->nkeys == 1 ? fopen(a->keys[0], "re") : NULL;
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;

	if (a->nkeys != 1)
		(void)ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--key names the private key: one");
	else if (!f)
		(void)ctl_fail(e, err_from_errno(errno), EXIT_FAILED, "%s: %s", a->keys[0], strerror(errno));
	else if (!key)
		(void)ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not a private key in PEM, or its passphrase is another", a->keys[0]);
	if (f)
		(void)fclose(f);
	return key;
}

/* The nonce that is encrypted to this key. ERR_NOTFOUND: none is. */
static int open_nonce(EVP_PKEY *key, struct question *q)
{
	uint8_t envelope[ENVELOPE_MAX], mem[ESCROW_CONTEXT_MAX];
	json_t *list = json_object_get(q->root, "nonces"), *j;
	struct buf context;
	int err = ERR_NOTFOUND;
	size_t i, len;

	json_array_foreach(list, i, j) {
		len = hex_bytes(json_string_value(j), envelope, sizeof(envelope));
		buf_init(&context, mem, sizeof(mem));
		if (!len || nonce_context(&context))
			return ERR_AUTH;
		err = envelope_open(key, &context, envelope, len, q->nonce);
		if (err != ERR_NOTFOUND)
			return err;
	}
	return err;
}

static int read_question(const struct ctl_args *a, EVP_PKEY *key, struct question *q, struct ctl_error *e)
{
	int err;

	if (a->owner_auth)
		return 0;
	q->der_len = hex_of(q->root, "keeper", q->der, sizeof(q->der));
	if (!json_is_array(json_object_get(q->root, "nonces")) || !q->der_len || envelope_key_decode(q->der, q->der_len, &q->keeper))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not a challenge, as vtpmctl recovery challenge makes it", a->name);
	err = open_nonce(key, q);
	if (err == ERR_NOTFOUND)
		return ctl_fail(e, err, EXIT_NOT_FOUND, "%s: nothing in it is for this key; the keeper must have been started with its public half", a->name);
	if (err)
		return ctl_fail(e, err, EXIT_FAILED, "%s: what it has for this key does not open: it was cut off or changed", a->name);
	return check_code(a, q, e);
}

static int read_tag(json_t *j, struct escrow_tag *tag)
{
	const char *group = json_string_value(json_object_get(j, "group"));
	const char *what = json_string_value(json_object_get(j, "what"));

	if (!group || !name_valid(group) || !what || hex_of(j, "root_id", tag->root_id, ROOT_ID_LEN) != ROOT_ID_LEN)
		return ERR_INVAL;
	tag->what = !strcmp(what, "owner") ? ESCROW_OWNER : ESCROW_ROOT;
	snprintf(tag->group, sizeof(tag->group), "%s", group);
	return 0;
}

/* ERR_NOTFOUND: it is for another key. */
static int open_one(EVP_PKEY *key, json_t *j, struct escrow_tag *tag, uint8_t secret[static KEY_LEN])
{
	uint8_t envelope[ENVELOPE_MAX], mem[ESCROW_CONTEXT_MAX];
	size_t len = hex_of(j, "envelope", envelope, sizeof(envelope));
	struct buf context;

	buf_init(&context, mem, sizeof(mem));
	if (!len || read_tag(j, tag) || escrow_context(&context, tag, NULL))
		return ERR_AUTH;
	return envelope_open(key, &context, envelope, len, secret);
}

static int answer_one(const struct question *q, const struct escrow_tag *tag, const uint8_t secret[static KEY_LEN], json_t *answers)
{
	uint8_t envelope[ENVELOPE_MAX], mem[ESCROW_CONTEXT_MAX];
	char hex[2 * ENVELOPE_MAX + 1], id[2 * ROOT_ID_LEN + 1];
	struct buf context, out;
	int err;

	buf_init(&context, mem, sizeof(mem));
	buf_init(&out, envelope, sizeof(envelope));
	err = escrow_context(&context, tag, q->nonce);
	if (!err)
		err = envelope_seal(q->keeper, &context, secret, &out);
	if (!err && (hex_encode(envelope, out.len, hex, sizeof(hex)) || hex_encode(tag->root_id, ROOT_ID_LEN, id, sizeof(id)) ||
		     json_array_append_new(answers, json_pack("{s:s, s:s, s:s}", "group", tag->group, "root_id", id, "envelope", hex))))
		err = ERR_NOMEM;
	return err;
}

/* What a challenge has for offline keys; what RecoveryShow prints has it further in. */
static json_t *escrows_of(json_t *root)
{
	json_t *inner = json_object_get(root, "recovery");

	return json_object_get(inner ? inner : root, "escrows");
}

/* The id of a root tells it from any other, and says nothing of it: who does not have this root makes none that has its id. */
static int check_known(const struct ctl_args *a, const struct question *q, struct ctl_error *e)
{
	json_t *j, *other;
	size_t i, k;

	json_array_foreach(q->known ? escrows_of(q->root) : NULL, i, j) {
		bool found = false;

		json_array_foreach(escrows_of(q->known), k, other)
			found = found || (json_equal(json_object_get(j, "group"), json_object_get(other, "group")) &&
					  json_equal(json_object_get(j, "root_id"), json_object_get(other, "root_id")));
		if (!found)
			return ctl_fail(e, ERR_AUTH, EXIT_DENIED,
					"%s: a root in it is none that %s has: it is of before or after a rotation, of another host, or somebody's own",
					a->name, a->known);
	}
	return 0;
}

static int take_one(const struct ctl_args *a, const struct question *q, EVP_PKEY *key, json_t *j, json_t *answers)
{
	struct escrow_tag tag = {0};
	uint8_t secret[KEY_LEN];
	char hex[2 * KEY_LEN + 1];
	int err = open_one(key, j, &tag, secret);

	if (!err && a->owner_auth && tag.what == ESCROW_OWNER) {
		if (hex_encode(secret, sizeof(secret), hex, sizeof(hex)) || json_array_append_new(answers, json_string(hex)))
			err = ERR_NOMEM;
		explicit_bzero(hex, sizeof(hex));
	} else if (!err && !a->owner_auth && tag.what == ESCROW_ROOT) {
		err = answer_one(q, &tag, secret, answers);
	}
	explicit_bzero(secret, sizeof(secret));
	return err == ERR_NOTFOUND ? 0 : err;
}

static int answer_all(const struct ctl_args *a, const struct question *q, EVP_PKEY *key, json_t **reply, struct ctl_error *e)
{
	json_t *answers = json_array(), *j;
	int err = 0;
	size_t i;

	json_array_foreach(escrows_of(q->root), i, j) {
		err = take_one(a, q, key, j, answers);
		if (err)
			break;
	}
	if (err)
		err = ctl_fail(e, err, EXIT_FAILED, "%s: what it has for this key does not open: it was cut off or changed", a->name);
	else if (!json_array_size(answers))
		err = ctl_fail(e, ERR_NOTFOUND, EXIT_NOT_FOUND, "%s: nothing in it is for this key", a->name);
	else if (a->owner_auth)
		*reply = json_pack("{s:O}", "owner_auth", json_array_get(answers, 0));
	else
		*reply = json_pack("{s:O}", "answers", answers);
	if (!err && !*reply)
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	json_decref(answers);
	return err;
}

int recovery_open(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	struct question q = {.root = read_json(a->name, e)};
	EVP_PKEY *key = NULL;
	int err = q.root ? 0 : ERR_INVAL;

	if (!err && a->known && !(q.known = read_json(a->known, e)))
		err = ERR_INVAL;
	if (!err)
		err = check_known(a, &q, e);
	if (!err && !(key = read_private(a, e)))
		err = ERR_INVAL;
	if (!err)
		err = read_question(a, key, &q, e);
	if (!err)
		err = answer_all(a, &q, key, reply, e);
	explicit_bzero(q.nonce, sizeof(q.nonce));
	EVP_PKEY_free(key);
	EVP_PKEY_free(q.keeper);
	json_decref(q.root);
	json_decref(q.known);
	return err;
}

/* ---- restore ---- */

int recovery_restore_prepare(struct ctl_args *a, struct ctl_error *e)
{
	json_t *root = a->response ? read_json(a->response, e) : NULL;
	json_t *answers = json_object_get(root, "answers");
	int err = 0;

	if (!a->response)
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--response FILE is missing: what vtpmctl recovery open has printed");
	else if (!root)
		err = ERR_INVAL;
	else if (!json_is_array(answers))
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not what vtpmctl recovery open prints", a->response);
	else if (json_object_set(a->params, "answers", answers))
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	json_decref(root);
	return err;
}
