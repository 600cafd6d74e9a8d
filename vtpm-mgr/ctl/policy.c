/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/ctl/policy.h"

json_t *policy_file_read(const char *path, struct ctl_error *e)
{
	FILE *f = strcmp(path, "-") != 0 ? fopen(path, "re") : stdin;
	char text[POLICY_FILE_MAX + 1];
	json_error_t where;
	json_t *o = NULL;
	size_t n;

	if (!f) {
		ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: %s", path, strerror(errno));
		return NULL;
	}
	n = fread(text, 1, sizeof(text), f);
	if (n == sizeof(text))
		ctl_fail(e, ERR_RANGE, EXIT_FAILED, "%s: longer than %u bytes", path, POLICY_FILE_MAX);
	else if (ferror(f))
		ctl_fail(e, ERR_IO, EXIT_FAILED, "%s: %s", path, strerror(errno));
	else if (!(o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where)))
		ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: line %d: %s", path, where.line, where.text);
	else if (!json_is_object(o)) {
		ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: this is no JSON object", path);
		json_decref(o);
		o = NULL;
	}
	if (f != stdin)
		fclose(f);
	return o;
}

/* A PCR set goes along as it is, once it makes sense: the manager reads it anew, and the TPM verifies it. */
static int add_set(struct ctl_args *a, const char *path, struct ctl_error *e)
{
	json_t *o = policy_file_read(path, e);
	struct pcr_set_file f;
	char why[TEXT_MAX + 1];
	int err = o ? 0 : e->code;

	if (!err && pcr_set_from_json(o, &f, why))
		err = ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: %s", path, why);
	/* Which group it is for stands in it. */
	if (!err && !json_object_get(a->params, "group"))
		json_object_set_new(a->params, "group", json_string(f.group));
	if (!err)
		json_object_set(a->params, "set", o);
	json_decref(o);
	return err;
}

int policy_prepare_file(struct ctl_args *a, struct ctl_error *e)
{
	return a->name ? add_set(a, a->name, e) : 0;
}

static int add_key(struct ctl_args *a, const char *name, const char *path, struct ctl_error *e)
{
	char hex[2 * POLICY_KEY_MAX + 1] = "";
	int err = path && strcmp(path, "none") != 0 ? key_public_hex(path, hex, e) : 0;

	if (!err && path)
		json_object_set_new(a->params, name, json_string(hex));
	return err;
}

int policy_prepare_set(struct ctl_args *a, struct ctl_error *e)
{
	int err = add_key(a, "policy_key", a->policy_key, e);

	if (!err)
		err = add_key(a, "recovery_key", a->recovery_key, e);
	if (!err && a->policy_key && !json_object_get(a->params, "kind"))
		json_object_set_new(a->params, "kind", json_string("signed"));
	return !err && a->set ? add_set(a, a->set, e) : err;
}

int policy_prepare_answer(struct ctl_args *a, struct ctl_error *e)
{
	static const char *const keys[] = {"group", "scheme", "signature", "seconds"};
	json_t *o = policy_file_read(a->name, e);
	const char *format = json_string_value(json_object_get(o, "format"));
	int err = o ? 0 : e->code;

	if (!err && (!format || strcmp(format, ANSWER_FORMAT) != 0))
		err = ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: this is no answer of vtpmctl policy sign to a challenge", a->name);
	for (size_t i = 0; !err && i < ARRAY_LEN(keys); i++)
		json_object_set(a->params, keys[i], json_object_get(o, keys[i]));
	json_decref(o);
	return err;
}

/* ---- files of replies ---- */

/* The values of PCRs as they are now. */
static json_t *current_values(json_t *list, json_t *policy)
{
	json_t *out = json_object(), *n;
	char key[24];
	size_t i;

	json_array_foreach(list, i, n)
	{
		snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(n));
		json_object_set(out, key, json_object_get(json_object_get(policy, "now"), key));
	}
	return out;
}

int policy_current(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	json_t *pcrs = json_incref(json_object_get(a->params, "pcrs")), *policy, *shown = NULL;
	int err;

	json_object_del(a->params, "pcrs");
	err = client_call(&a->at, "PolicyShow", a->params, NULL, 0, &shown, e);
	policy = json_object_get(shown, "policy");
	if (!err)
		*reply = json_pack("{s:s, s:s, s:{s:o}, s:O, s:O*}", "format", PCR_SET_FORMAT, "description",
				   a->description ? a->description : "", "pcrs", "sha256",
				   current_values(pcrs ? pcrs : json_object_get(policy, "pcrs"), policy), "group",
				   json_object_get(policy, "group"), "counter", json_object_get(policy, "counter"));
	if (!err && !*reply)
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
	json_decref(shown);
	json_decref(pcrs);
	return err;
}

int policy_challenge(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	int err = client_call(&a->at, "PolicyChallenge", a->params, NULL, 0, reply, e);

	if (!err)
		json_object_set_new(*reply, "format", json_string(CHALLENGE_FORMAT));
	return err;
}

int print_file(const struct ctl_args *a, json_t *params)
{
	(void)a;
	return print_json(params);
}
