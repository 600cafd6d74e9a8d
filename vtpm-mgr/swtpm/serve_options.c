/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of "swtpm socket". What would change what a guest gets, and does not exist here, is an error. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/swtpm/front.h"

#define NOT_OFFERED 1000 /* and above: options that are refused, by their place in the table below */

enum { OPT_CTRL = 256, OPT_TPMSTATE, OPT_LOG, OPT_PID, OPT_TPM2, OPT_PRINT_CAPS, OPT_PRINT_STATES, OPT_SECCOMP, OPT_SERVER, OPT_FLAGS,
       OPT_LOCALITY };

static const char *const refused[] = {
	"--port: there are unix sockets alone; --server type=unixio,path=PATH",
	"--fd: --server type=unixio,fd=N takes a socket that listens",
	"--key: the state is sealed under the host's TPM, and under no key of yours",
	"--migration-key: what QEMU saves is sealed under the host's TPM, and under no key of yours",
	"--migration: another host cannot take this TPM over",
	"--profile: there is one",
};
enum { NO_PORT, NO_FD, NO_KEY, NO_MIGRATION_KEY, NO_MIGRATION, NO_PROFILE };

static const struct option options[] = {
	{ "ctrl", required_argument, NULL, OPT_CTRL },
	{ "tpmstate", required_argument, NULL, OPT_TPMSTATE },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "pid", required_argument, NULL, OPT_PID },
	{ "terminate", no_argument, NULL, 't' },
	{ "daemon", no_argument, NULL, 'd' },
	{ "runas", required_argument, NULL, 'r' },
	{ "tpm2", no_argument, NULL, OPT_TPM2 },
	{ "print-capabilities", no_argument, NULL, OPT_PRINT_CAPS },
	{ "print-states", no_argument, NULL, OPT_PRINT_STATES },
	{ "seccomp", required_argument, NULL, OPT_SECCOMP },
	{ "server", required_argument, NULL, OPT_SERVER },
	{ "flags", required_argument, NULL, OPT_FLAGS },
	{ "locality", required_argument, NULL, OPT_LOCALITY },
	{ "port", required_argument, NULL, NOT_OFFERED + NO_PORT },
	{ "fd", required_argument, NULL, NOT_OFFERED + NO_FD },
	{ "key", required_argument, NULL, NOT_OFFERED + NO_KEY },
	{ "migration-key", required_argument, NULL, NOT_OFFERED + NO_MIGRATION_KEY },
	{ "migration", required_argument, NULL, NOT_OFFERED + NO_MIGRATION },
	{ "profile", required_argument, NULL, NOT_OFFERED + NO_PROFILE },
	{ NULL, 0, NULL, 0 },
};

static int as_fd(const struct keyval *kv, int *out)
{
	int64_t n;

	if (keyval_number(kv, 0xffff, -1, &n))
		return ERR_INVAL;
	*out = (int)n;
	return 0;
}

/* What --ctrl and --server have in common, from the first of kv on; option is for errors. */
enum { L_TYPE, L_PATH, L_FD, L_MODE, L_UID, L_GID, L_PORT, L_BIND, L_IFNAME, L_KEYS };
#define L_KEYVALS \
	{ .key = "type" }, { .key = "path" }, { .key = "fd" }, { .key = "mode" }, { .key = "uid" }, { .key = "gid" }, \
	{ .key = "port" }, { .key = "bindaddr" }, { .key = "ifname" }

static int parse_listen(const char *option, const struct keyval *kv, mode_t mode, struct listen_options *l,
			char why[static WHY_MAX + 1])
{
	if (!kv[L_TYPE].value || strcmp(kv[L_TYPE].value, "unixio") != 0 || kv[L_PORT].value || kv[L_BIND].value ||
	    kv[L_IFNAME].value)
		return explain(why, ERR_INVAL, "%s: only type=unixio is offered: the kernel asks nobody at a port who he is", option);
	if (keyval_mode(&kv[L_MODE], mode, &l->mode) || keyval_number(&kv[L_UID], UINT32_MAX - 1, -1, &l->uid) ||
	    keyval_number(&kv[L_GID], UINT32_MAX - 1, -1, &l->gid) || as_fd(&kv[L_FD], &l->fd))
		return explain(why, ERR_INVAL, "%s: a number makes no sense", option);
	l->path = kv[L_PATH].value;
	return 0;
}

static int parse_ctrl(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { CLIENT = L_KEYS, TERMINATE };
	struct keyval kv[] = { L_KEYVALS, { .key = "clientfd" }, { .key = "terminate", .bare = true } };
	char bad[WHY_MAX + 1];

	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--ctrl: %.600s", bad);
	if (parse_listen("--ctrl", kv, 0660, &o->ctrl, why))
		return ERR_INVAL;
	if ((kv[L_PATH].value != NULL) + (kv[L_FD].value != NULL) + (kv[CLIENT].value != NULL) != 1)
		return explain(why, ERR_INVAL, "--ctrl needs one of path, fd and clientfd");
	if (as_fd(&kv[CLIENT], &o->client_fd))
		return explain(why, ERR_INVAL, "--ctrl: a number makes no sense");
	o->terminate = o->terminate || kv[TERMINATE].value;
	o->has_ctrl = true;
	return 0;
}

static int parse_server(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { DISCONNECT = L_KEYS };
	struct keyval kv[] = { L_KEYVALS, { .key = "disconnect", .bare = true } };
	char bad[WHY_MAX + 1];

	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--server: %.600s", bad);
	if (parse_listen("--server", kv, 0770, &o->server, why))
		return ERR_INVAL;
	if ((kv[L_PATH].value != NULL) + (kv[L_FD].value != NULL) != 1)
		return explain(why, ERR_INVAL, "--server needs one of path and fd");
	o->once = kv[DISCONNECT].value;
	o->has_server = true;
	return 0;
}

/* As in swtpm, what sends a TPM2_Startup means not-need-init, too. */
static int parse_flags(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { INIT, NONE, CLEAR, STATE, DEACTIVATED };
	struct keyval kv[] = { { .key = "not-need-init", .bare = true },
			       { .key = "startup-none", .bare = true },
			       { .key = "startup-clear", .bare = true },
			       { .key = "startup-state", .bare = true },
			       { .key = "startup-deactivated", .bare = true } };
	char bad[WHY_MAX + 1];

	if (!*value)
		return 0;
	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--flags: %.600s", bad);
	if (kv[DEACTIVATED].value)
		return explain(why, ERR_INVAL, "--flags: startup-deactivated is of TPM 1.2, which is not offered");
	if ((kv[NONE].value != NULL) + (kv[CLEAR].value != NULL) + (kv[STATE].value != NULL) > 1)
		return explain(why, ERR_INVAL, "--flags: one of startup-… at a time");
	o->startup = kv[CLEAR].value ? STARTUP_CLEAR : kv[STATE].value ? STARTUP_STATE : STARTUP_NONE;
	o->init = kv[INIT].value || o->startup != STARTUP_NONE;
	return 0;
}

static int parse_locality(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { REJECT_4, ALLOW_SET };
	struct keyval kv[] = { { .key = "reject-locality-4", .bare = true }, { .key = "allow-set-locality", .bare = true } };
	char bad[WHY_MAX + 1];

	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--locality: %.600s", bad);
	if (kv[ALLOW_SET].value)
		return explain(why, ERR_INVAL, "--locality: allow-set-locality is not offered: who sends a command does not say "
					       "what locality it has");
	o->reject_locality_4 = true;
	return 0;
}

static int parse_tpmstate(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { DIR, URI, MODE, LOCK, FSYNC };
	struct keyval kv[] = { { .key = "dir" },
			       { .key = "backend-uri" },
			       { .key = "mode" },
			       { .key = "lock", .bare = true },
			       { .key = "fsync", .bare = true } };
	char bad[WHY_MAX + 1];
	mode_t mode; /* of state files, of which there are none */

	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--tpmstate: %.600s", bad);
	if ((kv[DIR].value != NULL) == (kv[URI].value != NULL))
		return explain(why, ERR_INVAL, "--tpmstate needs one of dir and backend-uri");
	if (keyval_mode(&kv[MODE], 0, &mode))
		return explain(why, ERR_INVAL, "--tpmstate: mode is not an octal number");
	if (kv[DIR].value)
		o->place = (struct place){ .path = kv[DIR].value };
	else if (place_parse(kv[URI].value, &o->place) || o->place.path == kv[URI].value)
		return explain(why, ERR_INVAL, "--tpmstate: backend-uri begins with dir:// or file://");
	o->has_place = true;
	return 0;
}

static int parse_log(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { FILE_, FD, LEVEL, PREFIX, TRUNCATE };
	struct keyval kv[] = { { .key = "file" }, { .key = "fd" }, { .key = "level" }, { .key = "prefix" },
			       { .key = "truncate", .bare = true } };
	char bad[WHY_MAX + 1];
	int64_t level; /* all levels are one here */

	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--log: %.600s", bad);
	if (as_fd(&kv[FD], &o->log_fd) || keyval_number(&kv[LEVEL], UINT32_MAX, 0, &level))
		return explain(why, ERR_INVAL, "--log: a number makes no sense");
	if (kv[FILE_].value && kv[FD].value)
		return explain(why, ERR_INVAL, "--log: file and fd exclude each other");
	o->log_path = kv[FILE_].value && strcmp(kv[FILE_].value, "-") == 0 ? "/dev/null" : kv[FILE_].value;
	o->log_prefix = kv[PREFIX].value;
	o->log_truncate = kv[TRUNCATE].value != NULL;
	return 0;
}

static int parse_pid(char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	enum { FILE_, FD };
	struct keyval kv[] = { { .key = "file" }, { .key = "fd" } };
	char bad[WHY_MAX + 1];

	if (keyval_parse(value, kv, ARRAY_LEN(kv), bad))
		return explain(why, ERR_INVAL, "--pid: %.600s", bad);
	if ((kv[FILE_].value != NULL) == (kv[FD].value != NULL) || as_fd(&kv[FD], &o->pid_fd))
		return explain(why, ERR_INVAL, "--pid needs one of file and fd");
	o->pid_path = kv[FILE_].value;
	return 0;
}

/* The backend has its filter, whoever asks for one here; no process of ours is without because somebody said so. */
static int parse_seccomp(char *value, char why[static WHY_MAX + 1])
{
	struct keyval kv[] = { { .key = "action" } };
	char bad[WHY_MAX + 1];

	return keyval_parse(value, kv, ARRAY_LEN(kv), bad) ? explain(why, ERR_INVAL, "--seccomp: %.600s", bad) : 0;
}

static int set_option(int opt, char *value, struct serve_options *o, char why[static WHY_MAX + 1])
{
	switch (opt) {
	case OPT_CTRL: return parse_ctrl(value, o, why);
	case OPT_SERVER: return parse_server(value, o, why);
	case OPT_FLAGS: return parse_flags(value, o, why);
	case OPT_LOCALITY: return parse_locality(value, o, why);
	case OPT_TPMSTATE: return parse_tpmstate(value, o, why);
	case OPT_LOG: return parse_log(value, o, why);
	case OPT_PID: return parse_pid(value, o, why);
	case OPT_SECCOMP: return parse_seccomp(value, why);
	case OPT_TPM2: o->tpm2 = true; return 0;
	case OPT_PRINT_CAPS: o->print_capabilities = true; return 0;
	case OPT_PRINT_STATES: o->print_states = true; return 0;
	case 't': o->terminate = true; return 0;
	case 'd': o->daemon = true; return 0;
	case 'r': o->runas = value; return 0;
	default: break;
	}
	if (opt >= NOT_OFFERED)
		return explain(why, ERR_INVAL, "not offered: %s", refused[opt - NOT_OFFERED]);
	return explain(why, ERR_INVAL, "an option is not known, or has no value; see vtpm-swtpm(8)");
}

static int check(struct serve_options *o, char why[static WHY_MAX + 1])
{
	char *path = getenv("TPM_PATH");

	if (o->print_capabilities)
		return 0;
	if (!o->tpm2)
		return explain(why, ERR_INVAL, "TPM 1.2 is not offered; --tpm2 asks for TPM 2.0");
	if (!o->has_place && path && *path) {
		o->place = (struct place){ .path = path };
		o->has_place = true;
	}
	if (!o->has_place)
		return explain(why, ERR_INVAL, "--tpmstate is missing");
	if (!o->has_ctrl && !o->has_server && !o->print_states)
		return explain(why, ERR_INVAL, "--ctrl or --server is missing");
	if (o->reject_locality_4 && !o->has_server)
		return explain(why, ERR_INVAL, "--locality: not without --server: what QEMU says over --ctrl goes to the TPM unread");
	return 0;
}

int serve_options_parse(int argc, char **argv, struct serve_options *o, char why[static WHY_MAX + 1])
{
	int opt, err = 0;

	*o = (struct serve_options){ .ctrl.fd = -1, .server.fd = -1, .client_fd = -1, .log_fd = -1, .pid_fd = -1 };
	optind = 0; /* GNU: begin anew, for who parses twice */
	opterr = 0;
	while (!err && (opt = getopt_long(argc, argv, "+tdr:", options, NULL)) != -1)
		err = set_option(opt, optarg, o, why);
	if (!err && optind < argc)
		err = explain(why, ERR_INVAL, "\"%.64s\" is one argument too many", argv[optind]);
	return err ? err : check(o, why);
}
