/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpmctl policy sign: where the operator's key is, which need not be where the host is. Nothing is asked of anybody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/ctl/policy.h"

static int sign_set(const struct ctl_args *a, json_t *o, json_t **reply, struct ctl_error *e)
{
	struct pcr_set_file f;
	struct key_signature s;
	uint8_t hash[DIGEST_LEN];
	char why[TEXT_MAX + 1];
	int err, empty;

	if (pcr_set_from_json(o, &f, why))
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: %s", a->name, why);
	if (a->number)
		f.set.version = a->number;
	if (a->group_name)
		snprintf(f.group, sizeof(f.group), "%s", a->group_name);
	if (!f.set.version)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "which version is it? --number says; vtpmctl policy show has the least that is good");
	empty = policy_empty_pcr(f.set.mask, f.set.pcr);
	if (empty >= 0 && !a->insecure_pcrs)
		return ctl_fail(e, ERR_PCR, EXIT_FAILED, "%s: PCR %d is all %s: nothing was measured into it; --accept-empty signs it all "
							 "the same", a->name, empty, f.set.pcr[empty][0] ? "ones" : "zero");
	if (policy_set_hash(&f.set, f.counter, f.group, hash))
		return ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "the digest of the policy cannot be calculated");
	err = key_sign(a->keys[0], hash, &s, e);
	if (err)
		return err;
	f.set.scheme = s.scheme;
	f.set.signature_len = s.len;
	memcpy(f.set.signature, s.bytes, s.len);
	*reply = pcr_set_to_json(&f);
	return *reply ? 0 : ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
}

static int sign_challenge(const struct ctl_args *a, json_t *o, json_t **reply, struct ctl_error *e)
{
	const char *group = json_string_value(json_object_get(o, "group")), *nonce = json_string_value(json_object_get(o, "nonce"));
	uint32_t seconds = a->seconds ? a->seconds : ANSWER_SECONDS;
	uint8_t bytes[64], hash[DIGEST_LEN];
	char hex[2 * SIGNATURE_MAX + 1];
	struct key_signature s;
	size_t len = nonce ? strlen(nonce) / 2 : 0;
	int err;

	if (!group || !name_valid(group) || len < 16 || len > sizeof(bytes) || hex_decode(nonce, bytes, len))
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: this is no challenge of vtpmctl policy challenge", a->name);
	if (policy_recovery_hash(bytes, len, seconds, group, hash))
		return ctl_fail(e, ERR_CRYPTO, EXIT_FAILED, "the digest of the challenge cannot be calculated");
	err = key_sign(a->keys[0], hash, &s, e);
	if (!err)
		err = hex_encode(s.bytes, s.len, hex, sizeof(hex));
	if (err)
		return err;
	*reply = json_pack("{s:s, s:s, s:s, s:s, s:I}", "format", ANSWER_FORMAT, "group", group, "scheme", scheme_word(s.scheme), "signature",
		      hex, "seconds", (json_int_t)seconds);
	return *reply ? 0 : ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
}

int policy_sign(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	json_t *o;
	const char *format;
	int err;

	if (!a->keys[0])
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--key must name the file with the private key (PEM)");
	o = policy_file_read(a->name, e);
	if (!o)
		return e->code;
	format = json_string_value(json_object_get(o, "format"));
	err = format && !strcmp(format, CHALLENGE_FORMAT) ? sign_challenge(a, o, reply, e) : sign_set(a, o, reply, e);
	json_decref(o);
	return err;
}
