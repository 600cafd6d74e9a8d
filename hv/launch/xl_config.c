/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A domain's configuration, as "xl -N create" prints it after its own parser has read it: libxl_domain_config in JSON, without
 * what has its default. Only what a launch can measure is taken.
 */
#include <stdlib.h>
#include <string.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

const struct xl_end xl_ends[XL_ENDS] = {
	{"on_poweroff", 0},
	{"on_reboot", 1},
	{"on_crash", 3},
	{"on_watchdog", 4},
};

static int refuse(struct ctl_error *e, const char *what)
{
	return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "the domain's configuration: %s", what);
}

static int no_memory(struct ctl_error *e)
{
	return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
}

/* A string that must be there, copied. */
static int take(char **out, json_t *o, const char *key, const char *missing, struct ctl_error *e)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || !s[0])
		return refuse(e, missing);
	*out = strdup(s);
	return *out ? 0 : no_memory(e);
}

static int take_maybe(char **out, json_t *o, const char *key, const char *none, struct ctl_error *e)
{
	json_t *v = json_object_get(o, key);

	if (v && !json_is_string(v))
		return refuse(e, key);
	if (!v && !none)
		return 0;
	*out = strdup(v ? json_string_value(v) : none);
	return *out ? 0 : no_memory(e);
}

/* What would bring in code that is not measured. */
static int check_build(const char *type, json_t *b_info, struct ctl_error *e)
{
	json_t *pv = json_object_get(b_info, "type.pv"), *pvh = json_object_get(b_info, "type.pvh");

	if (strcmp(type, "pv") != 0 && strcmp(type, "pvh") != 0)
		return refuse(e, "only domains of type pv and pvh can be launched: firmware of another one boots what nobody measures");
	if (json_object_get(b_info, "bootloader") || json_object_get(pv, "bootloader"))
		return refuse(e, "bootloader= chooses what is booted when it is too late to measure it; kernel= can be a measured GRUB");
	if (json_object_get(pv, "kernel") || json_object_get(pv, "ramdisk"))
		return refuse(e, "this version of xl says in another way what is booted");
	if (json_object_get(pvh, "pvshim") || json_object_get(pvh, "pvshim_path"))
		return refuse(e, "pvshim= is not measured");
	if (json_object_get(b_info, "device_tree"))
		return refuse(e, "device_tree= is not measured");
	return 0;
}

static int take_vtpm(struct xl_config *c, json_t *root, struct ctl_error *e)
{
	json_t *list = json_object_get(root, "vtpms"), *vtpm = json_array_get(list, 0);
	uint8_t uuid[UUID_LEN];
	int err;

	if (json_array_size(list) != 1)
		return refuse(e, "it must have one vTPM: vtpm = [ \"backend=…,uuid=…\" ]");
	err = take(&c->uuid, vtpm, "uuid", "its vTPM has no uuid", e);
	if (!err && uuid_parse(c->uuid, uuid))
		err = refuse(e, "the uuid of its vTPM is none");
	return err ? err : take_maybe(&c->backend, vtpm, "backend_domname", "0", e);
}

/* A domain that is made anew is launched anew: that is not xl's to do. A soft reset is none, as long as it is not made to be one. */
static int take_ends(struct xl_config *c, json_t *root, struct ctl_error *e)
{
	const char *soft = json_string_value(json_object_get(root, "on_soft_reset"));

	if (soft && strstr(soft, "restart"))
		return refuse(e, "on_soft_reset= may not make the domain anew");
	for (size_t i = 0; i < XL_ENDS; i++) {
		const char *action = json_string_value(json_object_get(root, xl_ends[i].key));

		c->restart[i] = action && strcmp(action, "restart") == 0;
		if (action && !c->restart[i] && strstr(action, "restart"))
			return refuse(e, "of the actions that make a domain anew only \"restart\" can be launched");
	}
	return 0;
}

/* xl makes a new uuid for a domain whose configuration names none. */
static int make_canonical(struct xl_config *c, json_t *root, struct ctl_error *e)
{
	static const char *const apart[] = {"kernel", "ramdisk", "cmdline"};

	json_object_del(json_object_get(root, "c_info"), "uuid");
	for (size_t i = 0; i < ARRAY_LEN(apart); i++)
		json_object_del(json_object_get(root, "b_info"), apart[i]);
	c->canonical = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
	return c->canonical ? 0 : no_memory(e);
}

static int take_all(struct xl_config *c, json_t *root, bool stub, struct ctl_error *e)
{
	json_t *c_info = json_object_get(root, "c_info"), *b_info = json_object_get(root, "b_info");
	const char *type = json_string_value(json_object_get(c_info, "type"));
	int err = take(&c->name, c_info, "name", "it has no name", e);

	if (!err && !name_valid(c->name))
		err = refuse(e, "its name may have letters, digits and . _ - only");
	if (!err)
		err = check_build(type ? type : "", b_info, e);
	if (!err)
		err = take(&c->kernel, b_info, "kernel", "it has no kernel=", e);
	if (!err)
		err = take_maybe(&c->ramdisk, b_info, "ramdisk", NULL, e);
	if (!err)
		err = take_maybe(&c->cmdline, b_info, "cmdline", "", e);
	if (!err && !stub)
		err = take_vtpm(c, root, e);
	if (!err && stub && json_array_size(json_object_get(b_info, "iomem")) == 0)
		err = refuse(e, "it has no iomem=, and so not the TPM");
	if (!err)
		err = take_ends(c, root, e);
	return err ? err : make_canonical(c, root, e);
}

int xl_config_parse(struct xl_config *c, const char *json, bool stub, struct ctl_error *e)
{
	json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	int err;

	*c = (struct xl_config){0};
	err = root ? take_all(c, root, stub, e) : refuse(e, "what xl prints of it makes no sense");
	json_decref(root);
	if (err)
		xl_config_free(c);
	return err;
}

void xl_config_free(struct xl_config *c)
{
	free(c->name);
	free(c->kernel);
	free(c->ramdisk);
	free(c->cmdline);
	free(c->uuid);
	free(c->backend);
	free(c->canonical);
	*c = (struct xl_config){0};
}
