/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The second share of a group's root, encrypted here to the keeper. That it is the keeper's key is known from the certificate of the
 * host's CA (--ca), whose key is in the chip and under the root of group "default": it has signed the key together with a nonce of ours.
 *
 *	passphrase	scrypt (RFC 7914), N = 2^17, r = 8, p = 1: 128 MiB and a third of a second for each guess
 *	keyfile		HMAC-SHA256 of the file, which has 32 bytes at least, under the salt
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/escrow/envelope.h"
#include "vtpm-mgr/proto/share.h"

#define SCRYPT_N       (1u << 17)
#define SCRYPT_R       8u
#define SCRYPT_P       1u
#define SCRYPT_MEMORY  (160u * 1024u * 1024u)
#define PASSPHRASE_MIN 8u
#define PASSPHRASE_MAX 1024u
#define KEYFILE_MIN    32u
#define KEYFILE_MAX    65536u

struct exchange {
	uint8_t nonce[CHALLENGE_NONCE_LEN], salt[SHARE_SALT_LEN];
	uint8_t kind; /* enum share_kind */
	uint8_t der[PUBKEY_MAX], signature[SHARE_SIGNATURE_LEN];
	size_t der_len;
	EVP_PKEY *keeper;
};

/* ---- whose key it is ---- */

static int der_signature(const uint8_t raw[static SHARE_SIGNATURE_LEN], unsigned char *der, size_t *len)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
	unsigned char *p = der;
	int n = 0;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* they are its now */
		n = i2d_ECDSA_SIG(sig, &p);
	}
	ECDSA_SIG_free(sig);
	BN_free(r);
	BN_free(s);
	*len = n > 0 ? (size_t)n : 0;
	return n > 0 ? 0 : ERR_CRYPTO;
}

static bool signed_by(EVP_PKEY *ca, const struct exchange *x)
{
	uint8_t mem[64 + CHALLENGE_NONCE_LEN + PUBKEY_MAX];
	unsigned char sig[80];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct buf b;
	size_t len;
	bool ok;

	buf_init(&b, mem, sizeof(mem));
	ok = ca && ctx && !share_signed(&b, x->nonce, x->der, x->der_len) && !der_signature(x->signature, sig, &len) &&
	     EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, ca) == 1 && EVP_DigestVerify(ctx, sig, len, mem, b.len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

/* By any of the certificates in the file: "vtpmctl ca" prints those of earlier chips, too. */
static int check_signature(const struct ctl_args *a, const struct exchange *x, struct ctl_error *e)
{
	FILE *f = a->ca ? fopen(a->ca, "re") : NULL;
	X509 *cert = NULL;
	bool ok = false;

	if (!a->ca)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE,
				"--ca FILE is missing: the host's CA, as \"vtpmctl ca\" printed it when you had reason to trust this host; without it "
				"the share could go to anybody");
	if (!f)
		return ctl_fail(e, err_from_errno(errno), EXIT_FAILED, "%s: %s", a->ca, strerror(errno));
	while (!ok && (cert = PEM_read_X509(f, NULL, NULL, NULL))) {
		ok = signed_by(X509_get0_pubkey(cert), x);
		X509_free(cert);
	}
	(void)fclose(f);
	return ok ? 0 : ctl_fail(e, ERR_AUTH, EXIT_DENIED,
				 "the share was not sent: the key to send it to is not signed by a CA of %s; somebody stands between, or it is "
				 "another host, or it has another chip",
				 a->ca);
}

/* ---- the share ---- */

static int prompt(const char *what, const char *group, char *out, size_t cap, struct ctl_error *e)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct termios old, quiet;
	FILE *f = tty < 0 ? NULL : fdopen(tty, "r+");
	bool ok;

	if (!f || tcgetattr(tty, &old)) {
		fd_close(&tty);
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "there is no terminal to ask for it: --share-file FILE");
	}
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	/* First the terminal, which forgets what was typed, then the question: what is typed after that is the answer. */
	ok = tcsetattr(tty, TCSAFLUSH, &quiet) == 0 && dprintf(tty, "%s for group %s: ", what, group) > 0 && fgets(out, (int)cap, f);
	(void)tcsetattr(tty, TCSAFLUSH, &old);
	(void)dprintf(tty, "\n");
	(void)fclose(f);
	out[ok ? strcspn(out, "\n") : 0] = '\0';
	return ok ? 0 : ctl_fail(e, ERR_INVAL, EXIT_USAGE, "nothing was entered");
}

/* Twice where a mistake would lock the group for ever. */
static int ask(const struct ctl_args *a, bool twice, char *out, size_t cap, struct ctl_error *e)
{
	char again[PASSPHRASE_MAX + 2];
	int err = prompt("Passphrase", a->name, out, cap, e);

	if (err || !twice)
		return err;
	err = prompt("Once more, the passphrase", a->name, again, sizeof(again), e);
	if (!err && strcmp(out, again) != 0)
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "the two are not the same");
	explicit_bzero(again, sizeof(again));
	return err;
}

/* The whole file, if it has at most cap bytes. */
static int read_file(const char *path, uint8_t *out, size_t cap, size_t *len, struct ctl_error *e)
{
	FILE *f = fopen(path, "re");

	*len = f ? fread(out, 1, cap, f) : 0;
	if (!f || ferror(f)) {
		int errnum = errno;

		if (f)
			(void)fclose(f);
		return ctl_fail(e, err_from_errno(errnum), EXIT_FAILED, "%s: %s", path, strerror(errnum));
	}
	(void)fclose(f);
	return 0;
}

static int of_passphrase(const struct ctl_args *a, const struct exchange *x, bool twice, uint8_t share[static KEY_LEN], struct ctl_error *e)
{
	char pass[PASSPHRASE_MAX + 2];
	size_t len = 0;
	int err;

	if (a->share_file) {
		err = read_file(a->share_file, (uint8_t *)pass, sizeof(pass) - 1, &len, e);
		pass[err ? 0 : len] = '\0';
		pass[strcspn(pass, "\n")] = '\0';
	} else {
		err = ask(a, twice, pass, sizeof(pass), e);
	}
	len = err ? 0 : strlen(pass);
	if (!err && (len < PASSPHRASE_MIN || len > PASSPHRASE_MAX))
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "a passphrase has %u to %u bytes", PASSPHRASE_MIN, PASSPHRASE_MAX);
	if (!err && EVP_PBE_scrypt(pass, len, x->salt, SHARE_SALT_LEN, SCRYPT_N, SCRYPT_R, SCRYPT_P, SCRYPT_MEMORY, share, KEY_LEN) != 1)
		err = ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "scrypt failed: it needs 128 MiB of memory");
	explicit_bzero(pass, sizeof(pass));
	return err;
}

static int of_keyfile(const struct ctl_args *a, const struct exchange *x, uint8_t share[static KEY_LEN], struct ctl_error *e)
{
	uint8_t *mem = malloc(KEYFILE_MAX + 1);
	unsigned n = 0;
	size_t len = 0;
	int err = 0;

	if (!mem)
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	else if (!a->share_file)
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--share-file FILE is missing: the group's second share is a key file");
	else
		err = read_file(a->share_file, mem, KEYFILE_MAX + 1, &len, e);
	if (!err && (len < KEYFILE_MIN || len > KEYFILE_MAX))
		err = ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: a key file has %u to %u bytes", a->share_file, KEYFILE_MIN, KEYFILE_MAX);
	if (!err && (!HMAC(EVP_sha256(), x->salt, SHARE_SALT_LEN, mem, len, share, &n) || n != KEY_LEN))
		err = ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "HMAC failed");
	if (mem)
		explicit_bzero(mem, KEYFILE_MAX + 1);
	free(mem);
	return err;
}

/* ---- the exchange ---- */

static size_t hex_of(json_t *object, const char *key, uint8_t *out, size_t cap)
{
	const char *hex = json_string_value(json_object_get(object, key));
	size_t n = hex ? strlen(hex) : 0;

	return n % 2 || n / 2 > cap || !n || hex_decode(hex, out, n / 2) ? 0 : n / 2;
}

static int set_hex(json_t *o, const char *key, const uint8_t *p, size_t n)
{
	char hex[2 * ENVELOPE_MAX + 1];

	return hex_encode(p, n, hex, sizeof(hex)) || json_object_set_new(o, key, json_string(hex)) ? ERR_NOMEM : 0;
}

static int kind_of(const char *word, uint8_t *kind)
{
	*kind = !word ? 0 : !strcmp(word, "passphrase") ? SHARE_PASSPHRASE : !strcmp(word, "keyfile") ? SHARE_KEYFILE : 0;
	return *kind ? 0 : ERR_INVAL;
}

/* Asks for the keeper's key of the moment; of a group that there is also for its kind and salt. */
static int begin(const struct ctl_args *a, bool there, struct exchange *x, struct ctl_error *e)
{
	json_t *params = json_object(), *reply = NULL, *share;
	int err = random_bytes(x->nonce, sizeof(x->nonce));

	if (err || set_hex(params, "nonce", x->nonce, sizeof(x->nonce)) ||
	    (there && json_object_set_new(params, "name", json_string(a->name))))
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	else
		err = client_call(&a->at, "ShareBegin", params, NULL, 0, &reply, e);
	json_decref(params);
	if (err)
		return err;
	share = json_object_get(reply, "share");
	x->der_len = hex_of(reply, "keeper", x->der, sizeof(x->der));
	if (hex_of(reply, "signature", x->signature, sizeof(x->signature)) != sizeof(x->signature) ||
	    envelope_key_decode(x->der, x->der_len, &x->keeper) ||
	    (there && (kind_of(json_string_value(json_object_get(share, "kind")), &x->kind) ||
		       hex_of(share, "salt", x->salt, sizeof(x->salt)) != sizeof(x->salt))))
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
	json_decref(reply);
	return err ? err : check_signature(a, x, e);
}

/* key: the parameter that the envelope becomes. */
static int send(struct ctl_args *a, const struct exchange *x, bool twice, const char *key, struct ctl_error *e)
{
	uint8_t share[KEY_LEN], envelope[ENVELOPE_MAX], mem[ESCROW_CONTEXT_MAX];
	struct buf context, out;
	int err = x->kind == SHARE_PASSPHRASE ? of_passphrase(a, x, twice, share, e) : of_keyfile(a, x, share, e);

	buf_init(&context, mem, sizeof(mem));
	buf_init(&out, envelope, sizeof(envelope));
	if (!err && (share_context(&context, x->nonce, a->name) || envelope_seal(x->keeper, &context, share, &out) ||
		     set_hex(a->params, key, envelope, out.len)))
		err = ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "the share cannot be encrypted");
	explicit_bzero(share, sizeof(share));
	return err;
}

int share_unlock_prepare(struct ctl_args *a, struct ctl_error *e)
{
	struct exchange x = {0};
	int err = begin(a, true, &x, e);

	if (!err)
		err = send(a, &x, false, "envelope", e);
	EVP_PKEY_free(x.keeper);
	return err;
}

int share_create_prepare(struct ctl_args *a, struct ctl_error *e)
{
	const char *kind = json_string_value(json_object_get(a->params, "share_kind"));
	struct exchange x = {0};
	int err;

	if (!kind)
		return 0;
	if (kind_of(kind, &x.kind))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--share: neither passphrase nor keyfile: %s", kind);
	err = begin(a, false, &x, e);
	if (!err && (random_bytes(x.salt, sizeof(x.salt)) || set_hex(a->params, "share_salt", x.salt, sizeof(x.salt))))
		err = ctl_fail(e, ERR_SYS, EXIT_FAILED, "there is no salt to be had");
	if (!err)
		err = send(a, &x, true, "share_envelope", e);
	EVP_PKEY_free(x.keeper);
	return err;
}
