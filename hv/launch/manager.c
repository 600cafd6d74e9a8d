/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include <strings.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

static int no_memory(struct ctl_error *e)
{
	return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
}

/* One call; params is taken over. */
static int ask(const struct ctl_target *at, const char *method, json_t *params, json_t **reply, struct ctl_error *e)
{
	int err = params ? client_call(at, method, params, NULL, 0, reply, e) : no_memory(e);

	json_decref(params);
	return err;
}

int manager_find(const struct ctl_target *at, const char *uuid, char **name, struct ctl_error *e)
{
	json_t *reply = NULL, *one;
	const char *found = NULL;
	size_t i;
	int err = ask(at, "List", json_object(), &reply, e);

	*name = NULL;
	if (err)
		return err;
	json_array_foreach(json_object_get(reply, "vtpms"), i, one)
		if (strcasecmp(str(one, "uuid"), uuid) == 0)
			found = str(one, "name");
	if (found && name_valid(found))
		*name = strdup(found);
	if (!found)
		err = ctl_fail(e, ERR_NOTFOUND, EXIT_NOT_FOUND, "no vTPM has the uuid %s; make it: vtpmctl create NAME --uuid %s", uuid,
			       uuid);
	else if (!*name)
		err = no_memory(e);
	json_decref(reply);
	return err;
}

int manager_launch(const struct ctl_target *at, const char *name, int64_t domid, const struct events *l, const char *signature,
		   char digest[static 65], struct ctl_error *e)
{
	json_t *params = json_pack("{s:s, s:b, s:o}", "name", name, "startup", l->startup, "events", events_json(l));
	json_t *reply = NULL;
	const char *theirs;
	uint8_t binary[32];
	int err;

	if (params && ((domid >= 0 && json_object_set_new(params, "domain", json_integer(domid))) ||
		       (signature && json_object_set_new(params, "signature", json_string(signature))))) {
		json_decref(params);
		return no_memory(e);
	}
	err = ask(at, "Launch", params, &reply, e);
	if (err)
		return err;
	theirs = str(reply, "digest");
	if (strlen(theirs) != 64 || hex_decode(theirs, binary, sizeof(binary)))
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
	else
		memcpy(digest, theirs, 65);
	json_decref(reply);
	return err;
}

void manager_cancel(const struct ctl_target *at, const char *name)
{
	struct ctl_error ignored = {0};
	json_t *reply = NULL;

	if (ask(at, "Stop", json_pack("{s:s}", "name", name), &reply, &ignored) == 0)
		json_decref(reply);
}
