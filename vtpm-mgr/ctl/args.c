/* SPDX-License-Identifier: BSD-2-Clause */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/proto/limits.h"

#define WORDS_MAX 8u

static const struct ctl_option global_options[] = {
	{"--runtime-dir", "DIR", NULL, ARG_STRING, 0, NULL},
	{"--xen-domain", "DOMAIN", NULL, ARG_STRING, 0, NULL},
	{"--json", NULL, NULL, ARG_FLAG, 0, NULL},
	{"--help", NULL, NULL, ARG_FLAG, 0, NULL},
	{"--version", NULL, NULL, ARG_FLAG, 0, NULL},
};

static int usage(struct ctl_error *e, const char *what, const char *word)
{
	return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: %s", what, word);
}

/* Name equals the option's, up to an '='. */
static const struct ctl_option *find_option(const struct ctl_option *o, size_t n, const char *arg)
{
	size_t len = strcspn(arg, "=");

	for (size_t i = 0; i < n; i++) {
		if (strlen(o[i].name) == len && strncmp(o[i].name, arg, len) == 0)
			return &o[i];
	}
	return NULL;
}

static void set_global(struct ctl_args *a, const struct ctl_option *o, const char *value)
{
	if (o == &global_options[0])
		a->at.runtime_dir = value;
	else if (o == &global_options[1])
		a->at.xen_domain = value;
	else if (o == &global_options[2])
		a->json = true;
	else if (o == &global_options[3])
		a->help = true;
	else
		a->version = true;
}

/* The uid of a user's name, or a number. */
static json_t *user_value(const char *s)
{
	const struct passwd *pw;
	uint64_t uid;

	if (parse_u64(s, UINT32_MAX - 1, &uid) == 0)
		return json_integer((json_int_t)uid);
	pw = getpwnam(s);
	return pw ? json_integer(pw->pw_uid) : NULL;
}

static json_t *number_value(const char *s, uint64_t max)
{
	uint64_t n;

	return parse_u64(s, max, &n) ? NULL : json_integer((json_int_t)n);
}

/* "0,2,4,7" */
static json_t *pcrs_value(const char *s)
{
	json_t *list = json_array();
	char *copy = strdup(s);
	char *rest = copy;
	const char *word;
	uint64_t n;

	while ((word = strsep(&rest, ","))) {
		if (parse_u64(word, PCR_COUNT - 1, &n) || json_array_append_new(list, json_integer((json_int_t)n))) {
			json_decref(list);
			list = NULL;
			break;
		}
	}
	free(copy);
	return list;
}

/* "web1,web2" */
static json_t *names_value(const char *s)
{
	json_t *list = json_array();
	char *copy = strdup(s);
	char *rest = copy;
	const char *word;

	while (list && (word = strsep(&rest, ","))) {
		if (!name_valid(word) || json_array_append_new(list, json_string(word))) {
			json_decref(list);
			list = NULL;
		}
	}
	free(copy);
	return list;
}

static json_t *option_value(const struct ctl_option *o, const char *s)
{
	switch (o->kind) {
	case ARG_FLAG:
		return json_true();
	case ARG_NUMBER:
		return number_value(s, o->max);
	case ARG_USER:
		return user_value(s);
	case ARG_PCRS:
		return pcrs_value(s);
	case ARG_NAMES:
		return names_value(s);
	default:
		return json_string(s);
	}
}

static int set_ek(struct ctl_args *a, const struct ctl_option *o, const char *value, struct ctl_error *e)
{
	const char *kind = NULL;

	if (strcmp(value, "rsa") == 0)
		kind = "rsa2048";
	else if (strcmp(value, "ecc") == 0)
		kind = "ecc-p256";
	else
		return usage(e, "neither rsa nor ecc", value);
	if (strcmp(o->name, "--ek-cert") == 0)
		a->ek_cert = kind;
	else
		a->ek_public = kind;
	return 0;
}

static int set_file(struct ctl_args *a, const struct ctl_option *o, const char *value, struct ctl_error *e)
{
	if (strcmp(o->name, "--policy-key") == 0)
		a->policy_key = value;
	else if (strcmp(o->name, "--recovery-key") == 0)
		a->recovery_key = value;
	else if (strcmp(o->name, "--set") == 0)
		a->set = value;
	else if (strcmp(o->name, "--token") == 0)
		a->token_dir = value;
	else if (strcmp(o->name, "--swtpm") == 0)
		a->swtpm = value;
	else if (strcmp(o->name, "--response") == 0)
		a->response = value;
	else if (strcmp(o->name, "--known") == 0)
		a->known = value;
	else if (strcmp(o->name, "--out") == 0)
		a->out = value;
	else if (strcmp(o->name, "--ca") == 0)
		a->ca = value;
	else if (strcmp(o->name, "--share-file") == 0)
		a->share_file = value;
	else if (strcmp(o->name, "--dir") == 0)
		a->dir = value;
	else if (strcmp(o->name, "--pwd") == 0)
		a->pwd = value;
	else if (a->nkeys < (o->max ? o->max : 1))
		a->keys[a->nkeys++] = value;
	else
		return usage(e, "too many keys", value);
	return 0;
}

/* What goes into a file and not into a call. */
static int set_local(struct ctl_args *a, const struct ctl_option *o, const char *value, struct ctl_error *e)
{
	uint64_t n = 0;

	if (o->max && (parse_u64(value, o->max, &n) || !n))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not a valid %s: %s", o->name, o->metavar, value);
	if (strcmp(o->name, "--number") == 0)
		a->number = (uint32_t)n;
	else if (strcmp(o->name, "--seconds") == 0)
		a->seconds = (uint32_t)n;
	else if (strcmp(o->name, "--accept-empty") == 0)
		a->insecure_pcrs = true;
	else if (strcmp(o->name, "--ak-cert") == 0)
		a->ak = "certificate";
	else if (strcmp(o->name, "--ak-public") == 0)
		a->ak = "public_pem";
	else if (strcmp(o->name, "--owner-auth") == 0)
		a->owner_auth = true;
	else if (strcmp(o->name, "--code") == 0)
		a->code = value;
	else if (strcmp(o->name, "--description") == 0)
		a->description = value;
	else if (!name_valid(value))
		return usage(e, "no name of a group", value);
	else
		a->group_name = value;
	return 0;
}

static int set_option(struct ctl_args *a, const struct ctl_option *o, const char *value, struct ctl_error *e)
{
	json_t *v;

	if (o->kind == ARG_EK)
		return set_ek(a, o, value, e);
	if (o->kind == ARG_FILE)
		return set_file(a, o, value, e);
	if (o->kind == ARG_LOCAL)
		return set_local(a, o, value, e);
	v = option_value(o, value);
	if (v && o->kind == ARG_NAMES && json_object_get(a->params, o->key)) { /* said once more: these, too */
		int failed = json_array_extend(json_object_get(a->params, o->key), v);

		json_decref(v);
		return failed ? ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory") : 0;
	}
	if (!v && o->kind == ARG_USER)
		return usage(e, "no such user", value);
	if (!v || json_object_set_new(a->params, o->key, v))
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not a valid %s: %s", o->name, o->metavar, value);
	return 0;
}

/* The words that are no options, and the options' places, found before the command is known. */
struct split {
	char *words[WORDS_MAX];
	size_t nwords;
	struct {
		char *text;
		char *value;
	} options[64];
	size_t noptions;
};

/* Whether an option of this name, of whichever command, takes a value: names mean the same everywhere. */
static const struct ctl_option *any_option(const char *arg)
{
	const struct ctl_option *o = find_option(global_options, ARRAY_LEN(global_options), arg);

	for (size_t i = 0; i < ctl_ncommands && !o; i++)
		o = find_option(ctl_commands[i].options, ctl_commands[i].noptions, arg);
	return o;
}

static int split_option(struct split *sp, int argc, char **argv, int *i, struct ctl_error *e)
{
	const char *arg = strcmp(argv[*i], "-h") == 0 ? "--help" : argv[*i];
	const struct ctl_option *o = any_option(arg);
	char *value = strchr(argv[*i], '=');

	if (!o)
		return usage(e, "unknown option", argv[*i]);
	if (!o->metavar && value)
		return usage(e, "this option takes no value", argv[*i]);
	if (o->metavar && !value && *i + 1 >= argc)
		return usage(e, "this option needs a value", argv[*i]);
	if (sp->noptions == ARRAY_LEN(sp->options))
		return usage(e, "too many options", argv[*i]);
	sp->options[sp->noptions].text = argv[*i];
	if (o->metavar)
		value = value ? value + 1 : argv[++*i];
	sp->options[sp->noptions++].value = value;
	return 0;
}

static int split_args(struct split *sp, int argc, char **argv, struct ctl_error *e)
{
	bool only_words = false;
	int err = 0;

	memset(sp, 0, sizeof(*sp));
	for (int i = 1; i < argc && !err; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (!only_words && argv[i][0] == '-' && argv[i][1])
			err = split_option(sp, argc, argv, &i, e);
		else if (sp->nwords == WORDS_MAX)
			err = usage(e, "too many arguments", argv[i]);
		else
			sp->words[sp->nwords++] = argv[i];
	}
	return err;
}

static int apply_options(struct ctl_args *a, const struct split *sp, struct ctl_error *e)
{
	int err = 0;

	for (size_t i = 0; i < sp->noptions && !err; i++) {
		const char *text = strcmp(sp->options[i].text, "-h") == 0 ? "--help" : sp->options[i].text;
		const struct ctl_option *o = find_option(global_options, ARRAY_LEN(global_options), text);

		if (o) {
			set_global(a, o, sp->options[i].value);
			continue;
		}
		o = a->command ? find_option(a->command->options, a->command->noptions, text) : NULL;
		if (!o)
			err = usage(e, "not an option of this command", text);
		else
			err = set_option(a, o, sp->options[i].value, e);
	}
	return err;
}

static size_t words_wanted(const struct ctl_args *a, bool more)
{
	switch (a->command->takes) {
	case NAME_NONE:
		return 0;
	case NAME_OR_STORE:
		return json_is_true(json_object_get(a->params, "store")) ? 0 : 1;
	case NAME_OR_GROUP:
		return json_object_get(a->params, "group") ? 0 : 1;
	case NAME_DIGEST:
		return (json_object_get(a->params, "group") ? 0u : 1u) + (a->nkeys ? 0u : 1u);
	case FILE_MAYBE:
		return more ? 1 : 0;
	case NAME_TWO:
		return 2;
	default:
		return 1;
	}
}

/* The command's words are used up; what is left is what it takes. */
static int apply_words(struct ctl_args *a, const struct split *sp, size_t used, struct ctl_error *e)
{
	size_t n = words_wanted(a, sp->nwords > used), want = used + n;

	if (a->help || a->version)
		return 0;
	if (sp->nwords < want && a->command->takes == NAME_DIGEST)
		return usage(e, "a NAME (or --group) and a DIGEST (or --key) are missing after", a->command->name);
	if (sp->nwords < want)
		return usage(e, a->command->takes == NAME_OF_FILE ? "a FILE is missing after" : "a NAME is missing after",
			     a->command->name);
	if (sp->nwords > want)
		return usage(e, "one argument too many", sp->words[want]);
	if (a->command->takes == NAME_DIGEST && !a->nkeys &&
	    json_object_set_new(a->params, "digest", json_string(sp->words[--want])))
		return usage(e, "not a digest", sp->words[want]);
	if (want == used)
		return 0;
	a->name = sp->words[want - 1];
	if (a->command->takes == NAME_OF_FILE || a->command->takes == FILE_MAYBE)
		return 0;
	if (a->command->takes == NAME_TWO && json_object_set_new(a->params, "source", json_string(sp->words[used])))
		return usage(e, "not a valid name", sp->words[used]);
	if (json_object_set_new(a->params, "name", json_string(a->name)))
		return usage(e, "not a valid name", a->name);
	return 0;
}

int args_parse(struct ctl_args *a, int argc, char **argv, struct ctl_error *e)
{
	struct split sp;
	size_t used = 0;
	size_t skip = 0;
	int err;

	*a = (struct ctl_args){.at.runtime_dir = CTL_RUNTIME_DIR, .params = json_object(), .lock = -1};
	err = split_args(&sp, argc, argv, e);
	if (err)
		return err;
	skip = sp.nwords > 0 && strcmp(sp.words[0], "help") == 0;
	a->command = ctl_find_command(sp.words + skip, sp.nwords - skip, &used);
	err = apply_options(a, &sp, e);
	if (err)
		return err;
	a->help |= skip == 1;
	if (!a->command && sp.nwords == skip + 1 && ctl_is_group(sp.words[skip]))
		a->group = sp.words[skip];
	if (!a->command && sp.nwords > skip && !a->group)
		return usage(e, "unknown command (see vtpmctl --help)", sp.words[skip]);
	if (a->group && !a->help)
		return usage(e, "a command is missing after (see --help)", a->group);
	if (!a->command && !a->help && !a->version)
		return usage(e, "a command is missing", "see vtpmctl --help");
	return a->command ? apply_words(a, &sp, used + skip, e) : 0;
}
