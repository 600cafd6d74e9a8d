/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * --token DIR: a token for vtpm-swtpm, kept where libvirt looks for a machine's TPM. It is made here, and the manager is
 * told its SHA-256 alone.
 */
#include <openssl/evp.h>
#include <string.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/swtpm/front.h"

int token_prepare(struct ctl_args *a, struct ctl_error *e)
{
	struct place place = {.path = a->token_dir};
	struct front_claim there;
	uint8_t digest[DIGEST_LEN];
	char why[WHY_MAX + 1], hex[2 * DIGEST_LEN + 1];
	int err;

	if (!a->token_dir)
		return 0;
	err = place_read(&place, &there, why);
	explicit_bzero(&there, sizeof(there));
	if (!err)
		return ctl_fail(e, ERR_EXISTS, EXIT_STATE, "%s: there is a token in it already", a->token_dir);
	if (err != ERR_NOTFOUND && err != ERR_EXISTS) /* beside a state of swtpm's is the place for it, if that is imported */
		return ctl_fail(e, err, err == ERR_DENIED ? EXIT_DENIED : EXIT_FAILED, "%s", why);
	if (random_bytes(a->token, sizeof(a->token)) ||
	    EVP_Digest(a->token, sizeof(a->token), digest, NULL, EVP_sha256(), NULL) != 1 ||
	    hex_encode(digest, sizeof(digest), hex, sizeof(hex)) ||
	    json_object_set_new(a->params, "token", json_string(hex)))
		return ctl_fail(e, ERR_SYS, EXIT_FAILED, "no token can be made");
	return 0;
}

int token_keep(struct ctl_args *a, json_t *reply, struct ctl_error *e)
{
	const char *uuid = json_string_value(json_object_get(json_object_get(reply, "vtpm"), "uuid"));
	struct place place = {.path = a->token_dir};
	struct front_claim claim = {0};
	char why[WHY_MAX + 1];
	int err;

	if (!a->token_dir)
		return 0;
	memcpy(claim.token, a->token, sizeof(claim.token));
	explicit_bzero(a->token, sizeof(a->token));
	err = uuid ? uuid_parse(uuid, claim.uuid) : ERR_PROTO;
	if (err)
		return ctl_fail(e, err, EXIT_FAILED, "the manager's reply makes no sense");
	err = place_write(&place, &claim, why);
	explicit_bzero(&claim, sizeof(claim));
	return err ? ctl_fail(e, err, EXIT_FAILED, "%s; the vTPM is there: destroy it, and try again", why) : 0;
}
