/* SPDX-License-Identifier: BSD-2-Clause */
/* Create, Import and Clone: what a client wants of a new vTPM. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/mgr.h"

/* An optional whole number between min and max; deflt if it is absent. */
static int int_param(struct call *c, json_t *params, const char *key, json_int_t min, json_int_t max, json_int_t deflt,
		     json_int_t *out)
{
	json_t *j = json_object_get(params, key);

	*out = deflt;
	if (!j || json_is_null(j))
		return 0;
	*out = json_integer_value(j);
	if (json_is_integer(j) && *out >= min && *out <= max)
		return 0;
	call_error(c, ERR_INVAL, "%s must be a whole number from %lld to %lld", key, (long long)min, (long long)max);
	return ERR_INVAL;
}

/* An optional string; deflt if it is absent. */
static int str_param(struct call *c, json_t *params, const char *key, const char *deflt, const char **out)
{
	json_t *j = json_object_get(params, key);

	*out = json_is_string(j) ? json_string_value(j) : deflt;
	if (!j || json_is_null(j) || json_is_string(j))
		return 0;
	call_error(c, ERR_INVAL, "%s must be a string", key);
	return ERR_INVAL;
}

static int create_uuid(struct call *c, json_t *params, struct store_vtpm *want)
{
	json_t *j = json_object_get(params, "uuid");

	if (!j || json_is_null(j)) {
		if (!uuid_random(want->uuid))
			return 0;
		call_error(c, ERR_SYS, "no random numbers to be had");
		return ERR_SYS;
	}
	if (json_is_string(j) && !uuid_parse(json_string_value(j), want->uuid))
		return 0;
	call_error(c, ERR_INVAL, "uuid must look like 123e4567-e89b-42d3-a456-426614174000");
	return ERR_INVAL;
}

static int create_names(struct mgr *m, struct call *c, json_t *params, struct store_vtpm *want)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	const char *group;
	char path[108]; /* sizeof sun_path */

	if (!name || !name_valid(name)) {
		call_error(c, ERR_INVAL, "a name has 1 to %u letters, digits, '.', '_' and '-', and begins with none of '.' and '-'",
			   NAME_MAX_LEN);
		return ERR_INVAL;
	}
	if (strncmp(name, STORE_DAMAGED, strlen(STORE_DAMAGED)) == 0) {
		call_error(c, ERR_INVAL, "names that begin with " STORE_DAMAGED " are for rows that cannot be read");
		return ERR_INVAL;
	}
	if (ring_path(m, name, path, sizeof(path)) || qemu_path(m, name, path, sizeof(path))) {
		call_error(c, ERR_RANGE, "%s: the path of its sockets would be too long for a socket; use a shorter name or --runtime-dir",
			   name);
		return ERR_RANGE;
	}
	if (str_param(c, params, "group", DEFAULT_GROUP, &group))
		return ERR_INVAL;
	if (!name_valid(group) || !group_find(m, group)) {
		call_error(c, ERR_NOTFOUND, "there is no such group; see vtpmctl group list");
		return ERR_NOTFOUND;
	}
	snprintf(want->name, sizeof(want->name), "%s", name);
	snprintf(want->group, sizeof(want->group), "%s", group);
	return 0;
}

/* The parameter "snapshots"; absent: deflt. */
int snapshots_param(struct call *c, json_t *params, uint8_t deflt, uint8_t *out)
{
	json_t *j = json_object_get(params, "snapshots");

	*out = deflt;
	if (!j || json_is_null(j))
		return 0;
	for (*out = SNAPSHOTS_REFUSE; *out <= SNAPSHOTS_ALLOW; (*out)++)
		if (json_is_string(j) && !strcmp(json_string_value(j), snapshots_words[*out]))
			return 0;
	call_error(c, ERR_INVAL, "snapshots must be refuse or allow");
	return ERR_INVAL;
}

/* The same for "launch". */
int launch_param(struct call *c, json_t *params, uint8_t deflt, uint8_t *out)
{
	json_t *j = json_object_get(params, "launch");

	*out = deflt;
	if (!j || json_is_null(j))
		return 0;
	for (*out = LAUNCH_AUTO; *out <= LAUNCH_OFF; (*out)++)
		if (json_is_string(j) && !strcmp(json_string_value(j), launch_words[*out]))
			return 0;
	call_error(c, ERR_INVAL, "launch must be auto, required or off");
	return ERR_INVAL;
}

/* A token's hash, and the machine that it is for. */
static int create_token(struct call *c, json_t *params, struct store_vtpm *want)
{
	const char *token, *machine;

	if (str_param(c, params, "token", NULL, &token) || str_param(c, params, "machine", NULL, &machine))
		return ERR_INVAL;
	want->has_token = token != NULL;
	want->has_machine = machine != NULL;
	if ((!token || (strlen(token) == 2 * DIGEST_LEN && !hex_decode(token, want->token, DIGEST_LEN))) &&
	    (!machine || (token && !uuid_parse(machine, want->machine))))
		return 0;
	call_error(c, ERR_INVAL, "token must be a SHA-256 in hex, and machine a uuid that comes with one");
	return ERR_INVAL;
}

/* The row that Create and Import ask for, freed by the caller; NULL: the call has been answered. */
static struct store_vtpm *wanted_row(struct mgr *m, struct call *c, json_t *params)
{
	struct store_vtpm *want = calloc(1, sizeof(*want));
	json_int_t user, state_max, rate, locality;

	if (!want) {
		call_error(c, ERR_NOMEM, "out of memory");
		return NULL;
	}
	if (create_names(m, c, params, want) || create_uuid(c, params, want) || create_token(c, params, want) ||
	    int_param(c, params, "user", 0, UINT32_MAX - 1, -1, &user) ||
	    int_param(c, params, "state_max", 16 * 1024, STATE_MAX_LIMIT, STATE_MAX_DEFAULT, &state_max) ||
	    int_param(c, params, "commit_rate", 0, 1000000, COMMIT_RATE_DEFAULT, &rate) ||
	    int_param(c, params, "locality_max", 0, 4, 0, &locality) ||
	    snapshots_param(c, params, SNAPSHOTS_REFUSE, &want->snapshots) ||
	    launch_param(c, params, LAUNCH_AUTO, &want->launch)) {
		free(want);
		return NULL;
	}
	want->epoch = 1;
	want->user = user;
	want->state_max = (uint32_t)state_max;
	want->commit_rate = (uint32_t)rate;
	want->locality_max = (uint8_t)locality;
	return want;
}

void method_create(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *want = wanted_row(arg, c, params);

	if (want)
		provision_create(arg, want, c);
	free(want);
}

void method_import(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *want = wanted_row(arg, c, params);
	struct import from;

	if (want && !import_take(c, params, &from))
		provision_import(arg, want, &from, c);
	free(want);
}

/* What it is allowed to, and nothing that it is: seeds, keys and state are those of a new one, and so is its machine's token. */
static void copy_settings(struct store_vtpm *to, const struct store_vtpm *from)
{
	memcpy(to->group, from->group, sizeof(to->group));
	to->user = from->user;
	to->state_max = from->state_max;
	to->commit_rate = from->commit_rate;
	to->locality_max = from->locality_max;
	to->snapshots = from->snapshots;
	to->launch = from->launch;
	to->rules = from->rules;
}

void method_clone(void *arg, struct call *c, json_t *params)
{
	struct store_vtpm *source = row_named(arg, c, params, "source");
	struct store_vtpm *want = source ? wanted_row(arg, c, params) : NULL;
	char detail[NAME_MAX_LEN + 40];

	if (want && source->damaged) {
		call_error(c, ERR_QUARANTINE, "%s: its row is damaged; its settings cannot be believed", source->name);
	} else if (want) {
		copy_settings(want, source);
		snprintf(detail, sizeof(detail), "its settings, for a new one: %s", want->name);
		mgr_audit(arg, c, "clone", source, 0, detail);
		provision_create(arg, want, c);
	}
	free(want);
	free(source);
}
