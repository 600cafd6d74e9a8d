/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpmctl: turns a command line into one Varlink call and its reply into text. main.c runs it,
 * commands.c is the table of commands, args.c reads the command line by that table, import.c reads
 * what an import takes along, backup.c carries a backup's file to and fro, token.c makes and keeps a token, client.c speaks to the manager over a link.c,
 * domain.c finds one in another domain, launch.c is about measured launch, output.c prints. What the manager sends is data, never trusted to be
 * printable.
 */
#ifndef VTPM_CTL_H
#define VTPM_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define CTL_RUNTIME_DIR "/run/vtpm"
#define CTL_XEN_NODE	"data/vtpmctl" /* below a domain's own directory in xenstore: its vchan (vtpm-vchan(8)) */
#define CTL_TIMEOUT_MS	120000 /* a manager that says nothing for that long is not well */
#define CTL_MESSAGE_MAX 1200u

/* Exit codes, as vtpmctl(1) documents them. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_FOUND = 3,
	EXIT_STATE = 4, /* exists already, busy, wrong state */
	EXIT_DENIED = 5,
	EXIT_QUARANTINED = 6,
	EXIT_TPM = 7,	      /* sealed, or trouble with the physical TPM */
	EXIT_UNREACHABLE = 8, /* no manager */
};

enum ctl_kind { ARG_FLAG, ARG_LOCAL, ARG_STRING, ARG_NUMBER, ARG_USER, ARG_PCRS, ARG_NAMES, ARG_EK, ARG_FILE };

#define CTL_KEYS_MAX 8u
#define CTL_FDS_MAX 2u /* descriptors with a call */

struct ctl_option {
	const char *name;    /* with the dashes */
	const char *metavar; /* NULL for a flag */
	const char *key;     /* of the call's parameters; options of kind ARG_EK, ARG_FILE and ARG_LOCAL stay local */
	enum ctl_kind kind;
	uint64_t max; /* of a number; of --key: how many times, 0 is once */
	const char *help;
};

struct ctl_args;
struct ctl_error;
struct ctl_command {
	const char *group; /* first word of two, or NULL */
	const char *name;
	const char *method; /* without the interface */
	/* NAME_OR_STORE: a NAME, or the option --store. NAME_OF_FILE: FILE, FILE_MAYBE: or none. NAME_TWO: SOURCE NAME.
	 * NAME_OR_GROUP: a NAME, or the option --group. NAME_DIGEST: the same, and perhaps a DIGEST. */
	enum { NAME_NONE, NAME_NEEDED, NAME_OR_STORE, NAME_OF_FILE, FILE_MAYBE, NAME_TWO, NAME_OR_GROUP, NAME_DIGEST } takes;
	const struct ctl_option *options;
	size_t noptions;
	/* Prints the reply for a person. Returns an exit code. */
	int (*print)(const struct ctl_args *a, json_t *params);
	/* What --json prints, if it is not the whole reply: a borrowed part. */
	json_t *(*select)(json_t *params);
	const char *help;
	/* What is to be done before the call; NULL: nothing. */
	int (*prepare)(struct ctl_args *a, struct ctl_error *e);
	/* In place of one call of method; *reply as client_call. */
	int (*run)(struct ctl_args *a, json_t **reply, struct ctl_error *e);
};

/* Which manager. */
struct ctl_target {
	const char *runtime_dir;
	const char *xen_domain; /* by name or number: the manager in that domain; NULL: the one of runtime_dir */
};

struct ctl_args {
	const struct ctl_command *command;
	const char *group; /* the first word of commands of two, alone; NULL: none */
	struct ctl_target at;
	bool json, help, version;
	const char *name;    /* NULL: none; with NAME_OF_FILE and FILE_MAYBE the file's, "-": standard input */
	const char *ek_cert; /* kind as the interface names it */
	const char *ek_public;
	const char *ak; /* "certificate" or "public_pem" */
	const char *swtpm, *pwd; /* files of an import */
	const char *keys[CTL_KEYS_MAX]; /* files with keys: of an import, to sign with, of a recovery */
	unsigned nkeys;
	const char *code, *response, *known; /* of a recovery */
	bool owner_auth;
	const char *dir; /* for files of an enrolment */
	const char *out; /* for evidence, where "-" is standard output, or an event log */
	const char *ca, *share_file; /* of a group's second share */
	const char *policy_key, *recovery_key, *set; /* files; "none" for no key */
	/* Of policy sign and policy current, which make files of them. */
	const char *group_name, *description;
	uint32_t number, seconds;
	bool insecure_pcrs;
	const char *token_dir;	       /* where a token is to be kept; NULL: none is made */
	uint8_t token[32];
	json_t *params;		       /* owned */
	int lock;		       /* of a directory, held until the end; -1: none */
	unsigned nfds;
	int fds[CTL_FDS_MAX]; /* owned; go with the call */
};

struct ctl_error {
	char name[128];
	char message[CTL_MESSAGE_MAX];
	int code;   /* of lib/err.h */
	int status; /* exit code */
};

/* ---- commands.c ---- */

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_ncommands;
/* NULL if there is none; *used words of argv named it. */
const struct ctl_command *ctl_find_command(char *const *words, size_t n, size_t *used);
/* Whether commands of two words begin with this one. */
bool ctl_is_group(const char *word);
/* The help of one command, or the summary: of a group's commands, or (NULL) of all. */
void ctl_print_help(const struct ctl_command *c, const char *group);

/* ---- args.c ---- */

/* Reads the command line. ERR_INVAL: e says what is wrong. params is owned by a in any case. */
CHECKED int args_parse(struct ctl_args *a, int argc, char **argv, struct ctl_error *e);

/* ---- client.c ---- */

/* Calls a method of the manager, with nfds descriptors. All is borrowed. On success *reply is its parameters, owned by the caller. */
CHECKED int client_call(const struct ctl_target *at, const char *method, json_t *params, const int *fds, unsigned nfds,
			json_t **reply, struct ctl_error *e);

/* ---- import.c ---- */

/* Copies swtpm's files for the call, if its directory is at rest. On failure what was opened is a's to close all the same. */
CHECKED int import_prepare(struct ctl_args *a, struct ctl_error *e);

/* ---- domain.c ---- */

/* Status: where the manager's domain may not ask the hypervisor, this one is asked, which may. */
CHECKED int domain_status(struct ctl_args *a, json_t **reply, struct ctl_error *e);

/* ---- backup.c ---- */

/* Takes a backup, and keeps it in a file that is not there yet. */
CHECKED int backup_run(struct ctl_args *a, json_t **reply, struct ctl_error *e);
/* Gives one back. */
CHECKED int restore_run(struct ctl_args *a, json_t **reply, struct ctl_error *e);
int print_backup(const struct ctl_args *a, json_t *params);
int print_restore(const struct ctl_args *a, json_t *params);

/* ---- token.c ---- */

/* Before the call: makes a token, if one is wanted, and tells the call its hash. */
CHECKED int token_prepare(struct ctl_args *a, struct ctl_error *e);
/* After it: keeps the token, with the uuid that the manager gave. */
CHECKED int token_keep(struct ctl_args *a, json_t *reply, struct ctl_error *e);

/* ---- escrow.c ---- */

/* Before RecoveryInit: puts the keys where the keeper reads them, and their fingerprints among the parameters. */
CHECKED int recovery_init_prepare(struct ctl_args *a, struct ctl_error *e);
/* Answers a challenge with a private key, or has {"owner_auth"} of it. Asks nobody. */
CHECKED int recovery_open(struct ctl_args *a, json_t **reply, struct ctl_error *e);
/* Before RecoveryRestore: reads the answer. */
CHECKED int recovery_restore_prepare(struct ctl_args *a, struct ctl_error *e);

/* ---- enroll.c ---- */

int print_enroll(const struct ctl_args *a, json_t *params);
int print_crl(const struct ctl_args *a, json_t *params);
int print_credential(const struct ctl_args *a, json_t *params);
/* Before EnrollActivate: reads the file. */
CHECKED int enroll_activate_prepare(struct ctl_args *a, struct ctl_error *e);

/* ---- attest.c ---- */

/* Has evidence made, and keeps it in a file. */
CHECKED int attest_run(struct ctl_args *a, json_t **reply, struct ctl_error *e);
int print_attest(const struct ctl_args *a, json_t *params);

/* ---- share.c ---- */

/* Encrypt a group's second share to the keeper; before CreateGroup, if it is to have one, and GroupUnlock. */
CHECKED int share_create_prepare(struct ctl_args *a, struct ctl_error *e);
CHECKED int share_unlock_prepare(struct ctl_args *a, struct ctl_error *e);

/* ---- launch.c ---- */

/* Before LaunchAllow: reads a key's file. */
CHECKED int launch_allow_prepare(struct ctl_args *a, struct ctl_error *e);
int print_launch(const struct ctl_args *a, json_t *params);
int print_launch_list(const struct ctl_args *a, json_t *params);
/* The log itself, in bytes. */
int print_eventlog(const struct ctl_args *a, json_t *params);

/* ---- output.c ---- */

__attribute__((format(printf, 4, 5))) int ctl_fail(struct ctl_error *e, int code, int status, const char *fmt, ...);
/* To standard error; with json also {"error", "message", "code"} to standard output. */
void ctl_print_error(const struct ctl_error *e, bool json);
int print_json(json_t *value);
/* Text of the manager's for a terminal. */
void ctl_put_text(const char *s);
/* A PEM block, and nothing that is none. Returns an exit code. */
int put_pem(const char *pem);
/* Members of an object; "", 0, false if they are absent or something else. */
const char *str(json_t *o, const char *key);
long long num(json_t *o, const char *key);
bool flag(json_t *o, const char *key);
/* One "label  value" line; nothing for an absent value. */
void line(const char *label, const char *value);
__attribute__((format(printf, 2, 3))) void linef(const char *label, const char *fmt, ...);
int print_nothing(const struct ctl_args *a, json_t *params);
int print_created(const struct ctl_args *a, json_t *params);
int print_imported(const struct ctl_args *a, json_t *params);
int print_list(const struct ctl_args *a, json_t *params);
int print_show(const struct ctl_args *a, json_t *params);
int print_started(const struct ctl_args *a, json_t *params);
int print_quarantine(const struct ctl_args *a, json_t *params);
int print_status(const struct ctl_args *a, json_t *params);
int print_ca(const struct ctl_args *a, json_t *params);
int print_group(const struct ctl_args *a, json_t *params);
int print_groups(const struct ctl_args *a, json_t *params);

/* ---- output_recovery.c ---- */

int print_recovery(const struct ctl_args *a, json_t *params);
int print_recovery_init(const struct ctl_args *a, json_t *params);
int print_challenge(const struct ctl_args *a, json_t *params);
int print_opened(const struct ctl_args *a, json_t *params);
int print_resealed(const struct ctl_args *a, json_t *params);
int print_restored(const struct ctl_args *a, json_t *params);

#endif
