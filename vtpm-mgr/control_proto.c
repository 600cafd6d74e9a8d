/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/control_proto.h"

#include <stdio.h>
#include <string.h>

#include "lib/version.h"
#include "vtpm-mgr/control.h"

/* jansson recurses once for each level: bound the levels before it sees them. Brackets in strings do not count. */
static bool depth_ok(const char *msg, size_t len)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = msg[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth--;
		if (depth > CONTROL_DEPTH_MAX)
			return false;
	}
	return true;
}

static int get_flag(json_t *root, const char *key, bool *flag)
{
	json_t *v = json_object_get(root, key);

	*flag = json_is_true(v);
	return !v || json_is_boolean(v) || json_is_null(v) ? 0 : ERR_PROTO;
}

static int get_params(json_t *root, json_t **params)
{
	json_t *v = json_object_get(root, "parameters");

	if (!v || json_is_null(v)) {
		v = json_object();
		if (json_object_set_new(root, "parameters", v))
			return ERR_NOMEM;
	}
	*params = json_is_object(v) ? v : NULL;
	return 0;
}

int request_parse(const char *msg, size_t len, struct request *r)
{
	bool more;
	int err;

	memset(r, 0, sizeof(*r));
	if (!depth_ok(msg, len))
		return ERR_PROTO;
	r->root = json_loadb(msg, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(r->root))
		goto bad;
	r->method = json_string_value(json_object_get(r->root, "method"));
	/* "more" permits several replies and asks for at least one: one is what every method of ours has. */
	if (!r->method || get_flag(r->root, "oneway", &r->oneway) || get_flag(r->root, "more", &more) ||
	    get_flag(r->root, "upgrade", &r->upgrade))
		goto bad;
	err = get_params(r->root, &r->params);
	if (!err)
		return 0;
bad:
	request_free(r);
	return ERR_PROTO;
}

void request_free(struct request *r)
{
	json_decref(r->root);
	memset(r, 0, sizeof(*r));
}

/* Sets a member; value is stolen. On failure o is freed and NULL comes back, so that calls chain. */
static json_t *with(json_t *o, const char *key, json_t *value)
{
	if (o && value && json_object_set_new(o, key, value) == 0)
		return o;
	if (!o)
		json_decref(value);
	json_decref(o);
	return NULL;
}

json_t *reply_params(json_t *params)
{
	return with(json_object(), "parameters", params ? params : json_object());
}

json_t *reply_error(const char *error, json_t *params)
{
	return with(reply_params(params), "error", json_string(error));
}

json_t *reply_service_error(const char *error, const char *key, const char *value)
{
	/* A view cut in the middle of a character would not be UTF-8: an overlong name is not repeated. */
	json_t *v = json_string(strlen(value) <= CONTROL_NAME_LIMIT ? value : "(too long)");

	return reply_error(error, with(json_object(), key, v));
}

const char *error_name(int err)
{
	static const struct {
		int err;
		const char *name;
	} names[] = {
		{ERR_NOTFOUND, "NotFound"},
		{ERR_EXISTS, "Exists"},
		{ERR_BUSY, "Busy"},
		{ERR_AGAIN, "Busy"},
		{ERR_DENIED, "Denied"},
		{ERR_INVAL, "Invalid"},
		{ERR_RANGE, "Invalid"},
		{ERR_WRONG_STATE, "WrongState"},
		{ERR_QUARANTINE, "Quarantined"},
		{ERR_AUTH, "Quarantined"},
		{ERR_PCR, "Sealed"},
		{ERR_TPM, "TpmFailed"},
		{ERR_TPM_LOST, "TpmFailed"},
		{ERR_TPM_IDENTITY, "TpmFailed"},
		{ERR_FULL, "NoRoom"},
		{ERR_READONLY, "NoRoom"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].err == err)
			return names[i].name;
	}
	return "Failed";
}

/* The method's name within interface, NULL if it is one of another. */
static const char *method_of(const char *full, const char *interface)
{
	size_t n = strlen(interface);

	return strncmp(full, interface, n) == 0 && full[n] == '.' && !strchr(full + n + 1, '.') ? full + n + 1 : NULL;
}

const char *request_method(const struct request *r)
{
	return method_of(r->method, CONTROL_INTERFACE);
}

static bool is_word_of(const char *key, const char *words)
{
	size_t n = strlen(key);

	for (const char *w = words; *w; w += strspn(w, " ")) {
		size_t len = strcspn(w, " ");

		if (len == n && memcmp(w, key, n) == 0)
			return true;
		w += len;
	}
	return false;
}

const char *request_unknown(const struct request *r, const char *takes)
{
	const char *key;
	json_t *value;

	json_object_foreach(r->params, key, value) {
		if (!is_word_of(key, takes))
			return key;
	}
	return NULL;
}

static json_t *service_info(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "vtpm", "product", "vtpm-mgr", "version",
			 VTPM_VERSION, "url", "", "interfaces", VARLINK_SERVICE, CONTROL_INTERFACE);
}

/* https://varlink.org/Service */
static const char service_description[] =
	"# The Varlink Service Interface is provided by every varlink service.\n"
	"interface " VARLINK_SERVICE "\n\n"
	"method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)\n"
	"method GetInterfaceDescription(interface: string) -> (description: string)\n"
	"error InterfaceNotFound (interface: string)\n"
	"error MethodNotFound (method: string)\n"
	"error MethodNotImplemented (method: string)\n"
	"error InvalidParameter (parameter: string)\n"
	"error PermissionDenied ()\n"
	"error ExpectedMore ()\n";

static json_t *describe(json_t *params, const char *ours)
{
	const char *name = json_string_value(json_object_get(params, "interface"));
	const char *text = NULL;

	if (!name)
		return reply_service_error(VARLINK_SERVICE ".InvalidParameter", "parameter", "interface");
	if (strcmp(name, VARLINK_SERVICE) == 0)
		text = service_description;
	else if (strcmp(name, CONTROL_INTERFACE) == 0)
		text = ours;
	if (!text)
		return reply_service_error(VARLINK_SERVICE ".InterfaceNotFound", "interface", name);
	return reply_params(json_pack("{s:s}", "description", text));
}

static json_t *unknown_method(const char *full)
{
	const char *dot = strrchr(full, '.');
	char interface[CONTROL_NAME_LIMIT + 1];

	if (method_of(full, CONTROL_INTERFACE) || method_of(full, VARLINK_SERVICE))
		return reply_service_error(VARLINK_SERVICE ".MethodNotFound", "method", full);
	if (!dot || (size_t)(dot - full) > CONTROL_NAME_LIMIT)
		return reply_service_error(VARLINK_SERVICE ".InterfaceNotFound", "interface", full);
	snprintf(interface, sizeof(interface), "%.*s", (int)(dot - full), full);
	return reply_service_error(VARLINK_SERVICE ".InterfaceNotFound", "interface", interface);
}

json_t *service_reply(const struct request *r, const char *description)
{
	if (strcmp(r->method, VARLINK_SERVICE ".GetInfo") == 0)
		return reply_params(service_info());
	if (strcmp(r->method, VARLINK_SERVICE ".GetInterfaceDescription") == 0)
		return describe(r->params, description);
	return unknown_method(r->method);
}
