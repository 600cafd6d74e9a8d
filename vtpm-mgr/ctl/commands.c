/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/policy.h"

/* clang-format off */
#define CREATE_OPTIONS \
	{"--uuid", "U", "uuid", ARG_STRING, 0, "its UUID, that of the virtual machine (default: a random one)"}, \
	{"--group", "G", "group", ARG_STRING, 0, "the group whose root key wraps its key (default: default)"}, \
	{"--user", "USER", "user", ARG_USER, 0, "name or uid that may use its ring besides operators"}, \
	{"--state-max", "BYTES", "state_max", ARG_NUMBER, UINT32_MAX, "quota: bytes of state"}, \
	{"--commit-rate", "N", "commit_rate", ARG_NUMBER, UINT32_MAX, "quota: durable changes a second, 0: no limit"}, \
	{"--locality-max", "N", "locality_max", ARG_NUMBER, 4, "highest locality the guest may use (default: 0)"}, \
	{"--snapshots", "refuse|allow", "snapshots", ARG_STRING, 0, \
	 "older saved states that QEMU brings back (default: refuse)"}, \
	{"--launch", "auto|required|off", "launch", ARG_STRING, 0, \
	 "whether its guest must come by vtpm-launch (default: auto, as its group says, and else domains of Xen must)"}, \
	{"--token", "DIR", NULL, ARG_FILE, 0, "keep a token there, by which libvirt's machine has it (vtpm-swtpm(8))"}, \
	{"--machine", "U", "machine", ARG_STRING, 0, "with --token: UUID of that machine"}
/* clang-format on */
static const struct ctl_option create_options[] = { CREATE_OPTIONS };
static const struct ctl_option import_options[] = {
	{"--swtpm", "DIR", NULL, ARG_FILE, 0, "directory with swtpm's tpm2-00.permall"},
	{"--key", "FILE", NULL, ARG_FILE, 0, "key that swtpm was given; FILE,format=binary: as bytes, not as digits"},
	{"--pwd", "FILE", NULL, ARG_FILE, 0, "passphrase that swtpm was given; FILE,kdf=sha512: without PBKDF2"},
	CREATE_OPTIONS,
};
static const struct ctl_option set_options[] = {
	{"--snapshots", "refuse|allow", "snapshots", ARG_STRING, 0, "older saved states that QEMU brings back"},
	{"--launch", "auto|required|off", "launch", ARG_STRING, 0, "whether its guest must come by vtpm-launch"},
};
/* clang-format off */
#define LAUNCH_GROUP {"--group", "G", "group", ARG_STRING, 0, "in place of NAME: for all vTPMs of a group that do not say so themselves"}
/* clang-format on */
static const struct ctl_option launch_options[] = { LAUNCH_GROUP };
static const struct ctl_option launch_allow_options[] = {
	LAUNCH_GROUP,
	{"--key", "FILE", NULL, ARG_FILE, 0, "in place of DIGEST: what this public key (PEM) has signed"},
	{"--remove", NULL, "remove", ARG_FLAG, 0, "it is not allowed any more"},
};
static const struct ctl_option launch_policy_options[] = {
	LAUNCH_GROUP,
	{"--launch", "auto|required|off", "launch", ARG_STRING, 0, "whether guests must come by vtpm-launch"},
	{"--mismatch", "refuse|serve", "mismatch", ARG_STRING, 0, "what becomes of a launch that is not allowed"},
};
static const struct ctl_option eventlog_options[] = {
	{"--out", "FILE", NULL, ARG_FILE, 0, "write it there (default: standard output, if that is no terminal)"},
};
static const struct ctl_option start_options[] = {
	{"--firmware", NULL, "firmware", ARG_FLAG, 0,
	 "the guest's firmware sends TPM2_Startup and sets the platform auth"},
};
static const struct ctl_option destroy_options[] = {
	{"--force", NULL, "force", ARG_FLAG, 0, "also a quarantined one"},
};
static const struct ctl_option show_options[] = {
	{"--ek-cert", "rsa|ecc", NULL, ARG_EK, 0, "print only this endorsement key's certificate (PEM)"},
	{"--ek-public", "rsa|ecc", NULL, ARG_EK, 0, "print only this endorsement key's public key (PEM)"},
	{"--ak-cert", NULL, NULL, ARG_LOCAL, 0, "print only the attestation key's certificate (PEM)"},
	{"--ak-public", NULL, NULL, ARG_LOCAL, 0, "print only the attestation key's public key (PEM)"},
};
/* clang-format off */
#define SHARE_OPTIONS \
	{"--ca", "FILE", NULL, ARG_FILE, 0, "with a second share: certificate of this host's CA (PEM), as you had it from \"vtpmctl ca\" when you trusted it"}, \
	{"--share-file", "FILE", NULL, ARG_FILE, 0, "the key file, or a file whose first line is the passphrase (default: ask on the terminal)"}
/* clang-format on */
static const struct ctl_option unlock_options[] = { SHARE_OPTIONS };
static const struct ctl_option group_options[] = {
	{"--share", "passphrase|keyfile", "share_kind", ARG_STRING, 0, "it needs that, besides the TPM, each time that the keeper begins"},
	SHARE_OPTIONS,
	{"--pcrs", "LIST", "pcrs", ARG_PCRS, 0, "PCRs of the physical TPM to seal to, such as 0,2,4,7"},
	{"--insecure-pcrs", NULL, "insecure_pcrs", ARG_FLAG, 0, "accept PCRs that were never extended"},
	{"--mode", "bounded|strict", "mode", ARG_STRING, 0,
	 "what a power cut with a restored disk may take back of its vTPMs' changes: the last minutes, or nothing"},
};

static const struct ctl_option enroll_options[] = {
	{"--dir", "DIR", NULL, ARG_FILE, 0, "write it into files there, for tpm2-tools and OpenSSL"},
};

static const struct ctl_option attest_options[] = {
	{"--nonce", "HEX", "nonce", ARG_STRING, 0, "the verifier's, 8 to 64 bytes: the evidence is made for it"},
	{"--out", "FILE", NULL, ARG_FILE, 0, "where the evidence goes (-: standard output)"},
};

static const struct ctl_option release_options[] = {
	{"--store", NULL, "store", ARG_FLAG, 0, "the whole store, in place of one vTPM"},
	{"--i-accept-rollback", NULL, "accept_rollback", ARG_FLAG, 0,
	 "what is released may be an old state, with old counters of failed authorisations"},
};

static const struct ctl_option recovery_init_options[] = {
	{"--key", "FILE", NULL, ARG_FILE, CTL_KEYS_MAX, "public key (PEM) of whoever may recover; several times: any one suffices (default: those that are there)"},
};
static const struct ctl_option recovery_open_options[] = {
	{"--key", "FILE", NULL, ARG_FILE, 0, "the private key (PEM)"},
	{"--code", "CODE", NULL, ARG_LOCAL, 0, "the challenge's, as the keeper has logged it"},
	{"--known", "FILE", NULL, ARG_FILE, 0, "answer only for roots that this has, what \"recovery show --json\" has printed"},
	{"--owner-auth", NULL, NULL, ARG_LOCAL, 0, "print the authorisation of the TPM's owner hierarchy, in hex, in place of an answer"},
};
static const struct ctl_option recovery_restore_options[] = {
	{"--response", "FILE", NULL, ARG_FILE, 0, "what \"recovery open\" has printed"},
	{"--pcrs", "LIST", "pcrs", ARG_PCRS, 0, "PCRs to seal to (default: as for a new group)"},
	{"--insecure-pcrs", NULL, "insecure_pcrs", ARG_FLAG, 0, "accept PCRs that were never extended"},
	{"--i-accept-rollback", NULL, "accept_rollback", ARG_FLAG, 0,
	 "on another TPM: nothing proves that this store is the newest one"},
};
static const struct ctl_option reseal_options[] = {
	{"--group", "G", "group", ARG_STRING, 0, "this one alone (default: all that are open)"},
};
/* clang-format off */
#define GROUP_OPTION {"--group", "G", "group", ARG_STRING, 0, "the group of vTPMs (default: default)"}
/* clang-format on */
static const struct ctl_option policy_options[] = {GROUP_OPTION};
static const struct ctl_option policy_plan_options[] = {
	GROUP_OPTION,
	{"--raise", "N", "version", ARG_NUMBER, UINT32_MAX, "as if version N were the least that is good"},
};
static const struct ctl_option policy_raise_options[] = {
	GROUP_OPTION,
	{"--to", "N", "version", ARG_NUMBER, UINT32_MAX, "the least version that is good from now on"},
};
static const struct ctl_option policy_remove_options[] = {
	GROUP_OPTION,
	{"--of", "N", "version", ARG_NUMBER, UINT32_MAX, "the version of the sets to remove"},
};
static const struct ctl_option policy_current_options[] = {
	GROUP_OPTION,
	{"--pcrs", "LIST", "pcrs", ARG_PCRS, 0, "PCRs to have in it (default: those of the policy)"},
	{"--description", "TEXT", NULL, ARG_LOCAL, 0, "what you call this boot"},
};
static const struct ctl_option policy_predict_options[] = {
	{"--grub-cfg", "FILE", "grub_cfg", ARG_STRING, 0, "GRUB's configuration"},
	{"--entry", "ENTRY", "entry", ARG_STRING, 0, "number, id or title of the menu entry (default: the file's default)"},
	{"--xen", "FILE", "xen", ARG_STRING, 0, "what the entry loads with multiboot2"},
	{"--kernel", "FILE", "kernel", ARG_STRING, 0, "what it loads with module2: dom0's kernel,"},
	{"--initrd", "FILE", "initrd", ARG_STRING, 0, "its initramfs,"},
	{"--flask", "FILE", "flask", ARG_STRING, 0, "the XSM policy"},
	{"--efi", "FILE[,FILE...]", "efi", ARG_STRING, 0, "boot loaders in the order in which they are started"},
	{"--eventlog", "current|FILE", "eventlog", ARG_STRING, 0, "event log of this boot, or of another of this host"},
	{"--pcrs", "LIST", "pcrs", ARG_PCRS, 0, "PCRs to have in it (default: 0,2,4,7,8,9)"},
	{"--description", "TEXT", NULL, ARG_LOCAL, 0, "what you call that boot"},
};
static const struct ctl_option policy_sign_options[] = {
	{"--key", "FILE", NULL, ARG_FILE, 0, "the private key (PEM): the policy key, or for a challenge the recovery key"},
	{"--number", "N", NULL, ARG_LOCAL, UINT32_MAX, "the version to sign it as (default: the one in FILE)"},
	{"--for-group", "G", NULL, ARG_LOCAL, 0, "the group to sign it for (default: the one in FILE)"},
	{"--accept-empty", NULL, NULL, ARG_LOCAL, 0, "sign PCRs that were never extended, too"},
	{"--seconds", "N", NULL, ARG_LOCAL, INT32_MAX, "of a challenge: how long the answer is good (default: 600)"},
};
static const struct ctl_option policy_set_options[] = {
	GROUP_OPTION,
	{"--policy-key", "FILE", NULL, ARG_FILE, 0, "public key (PEM) whose signed PCR sets unseal"},
	{"--set", "FILE", NULL, ARG_FILE, 0, "a PCR set that it has signed, for the boot that is"},
	{"--recovery-key", "FILE", NULL, ARG_FILE, 0, "public key (PEM) that may open it on any boot; none: there is none"},
	{"--kind", "fixed|signed", "kind", ARG_STRING, 0, "fixed: the values that PCRs have now"},
	{"--pcrs", "LIST", "pcrs", ARG_PCRS, 0, "of a fixed one: PCRs to seal to"},
	{"--insecure-pcrs", NULL, "insecure_pcrs", ARG_FLAG, 0, "accept PCRs that were never extended"},
};
static const struct ctl_option clone_options[] = {
	{"--uuid", "U", "uuid", ARG_STRING, 0, "its UUID, that of the virtual machine (default: a random one)"},
};
static const struct ctl_option restore_options[] = {
	{"--only", "NAME,...", "only", ARG_NAMES, 0, "these alone, also if they were destroyed (default: all that there are)"},
	{"--accept-rollback", NULL, "accept_rollback", ARG_FLAG, 0,
	 "they become old states, with old counters of failed authorisations"},
	{"--check", NULL, "check", ARG_FLAG, 0, "verify the file, show what is in it, and change nothing"},
};

static json_t *select_groups(json_t *params)
{
	return json_object_get(json_object_get(params, "status"), "groups");
}

#define OPTIONS(o) o, ARRAY_LEN(o)
const struct ctl_command ctl_commands[] = {
	{NULL, "create", "Create", NAME_NEEDED, OPTIONS(create_options), print_created, NULL,
	 "Make a vTPM with endorsement keys and their certificates.", token_prepare, NULL},
	{NULL, "import", "Import", NAME_NEEDED, OPTIONS(import_options), print_imported, NULL,
	 "Make a vTPM of a TPM 2.0 that was swtpm's, with all that is in it.", import_prepare, NULL},
	{NULL, "clone", "Clone", NAME_TWO, OPTIONS(clone_options), print_created, NULL,
	 "Make a new vTPM, with keys of its own, that has the settings of another.", NULL, NULL},
	{NULL, "list", "List", NAME_NONE, NULL, 0, print_list, NULL, "List all vTPMs.", NULL, NULL},
	{NULL, "show", "Show", NAME_NEEDED, OPTIONS(show_options), print_show, NULL, "Show one vTPM.", NULL, NULL},
	{NULL, "set", "Set", NAME_NEEDED, OPTIONS(set_options), print_show, NULL, "Change settings of a vTPM that is off.", NULL, NULL},
	{NULL, "start", "Start", NAME_NEEDED, OPTIONS(start_options), print_started, NULL,
	 "Power a vTPM on and print the path of its ring.", NULL, NULL},
	{NULL, "stop", "Stop", NAME_NEEDED, NULL, 0, print_nothing, NULL, "Power a vTPM off in order.", NULL, NULL},
	{NULL, "reset", "Reset", NAME_NEEDED, NULL, 0, print_nothing, NULL, "Reset a vTPM, as when its machine is reset.", NULL, NULL},
	{NULL, "suspend", "Suspend", NAME_NEEDED, NULL, 0, print_nothing, NULL,
	 "Announce that its domain of Xen is to be saved or migrated: the next one goes on with the TPM as it is.", NULL, NULL},
	{NULL, "resume", "Resume", NAME_NEEDED, NULL, 0, print_nothing, NULL, "Take that back: the domain is not saved after all.", NULL, NULL},
	{NULL, "destroy", "Destroy", NAME_NEEDED, OPTIONS(destroy_options), print_nothing, NULL,
	 "Erase the key of a stopped vTPM, then its state. There is no way back.", NULL, NULL},
	{NULL, "backup", "Backup", NAME_OF_FILE, NULL, 0, print_backup, NULL,
	 "Copy all vTPMs, as they are now, to a new file that only this host's TPM opens.", NULL, backup_run},
	{NULL, "restore", "Restore", NAME_OF_FILE, OPTIONS(restore_options), print_restore, NULL,
	 "Put vTPMs back to what they were when a backup was taken.", NULL, restore_run},
	{NULL, "certify", "Certify", NAME_NEEDED, NULL, 0, print_show, NULL,
	 "Certify the keys of a vTPM that is off anew, and revoke the certificates of before.", NULL, NULL},
	{NULL, "status", "Status", NAME_NONE, NULL, 0, print_status, NULL,
	 "Show the physical TPM, the groups and what the manager does.", NULL, domain_status},
	{NULL, "upgrade", "Upgrade", NAME_NONE, NULL, 0, print_nothing, NULL,
	 "Have the programs that are installed now take over, without a guest noticing.", NULL, NULL},
	{"ca", "crl", "Crl", NAME_NONE, NULL, 0, print_crl, NULL,
	 "Print the list of the certificates that are revoked (PEM).", NULL, NULL},
	{NULL, "ca", "Ca", NAME_NONE, NULL, 0, print_ca, NULL,
	 "Print the CA certificate that endorsement key certificates verify against (PEM).", NULL, NULL},
	{NULL, "attest", "Attest", NAME_NEEDED, OPTIONS(attest_options), print_attest, NULL,
	 "Have a vTPM and the physical TPM say, for a nonce, what guest and host have booted.", NULL, attest_run},
	{"enroll", "show", "Enroll", NAME_NONE, OPTIONS(enroll_options), print_enroll, NULL,
	 "Show who the physical TPM is, and its word that the CA key is in it.", NULL, NULL},
	{"enroll", "activate", "EnrollActivate", NAME_OF_FILE, NULL, 0, print_credential, NULL,
	 "Have the physical TPM open a credential of tpm2_makecredential, and print it in hex.", enroll_activate_prepare, NULL},
	{"group", "create", "CreateGroup", NAME_NEEDED, OPTIONS(group_options), print_group, NULL,
	 "Make a group with a sealed root key of its own.", share_create_prepare, NULL},
	{"group", "unlock", "GroupUnlock", NAME_NEEDED, OPTIONS(unlock_options), print_group, NULL,
	 "Give a group its second share.", share_unlock_prepare, NULL},
	{"group", "list", "Status", NAME_NONE, NULL, 0, print_groups, select_groups, "List the groups.", NULL, NULL},
	{NULL, "reseal", "Reseal", NAME_NONE, OPTIONS(reseal_options), print_resealed, NULL,
	 "Rotate root keys, and what is wrapped under them; guests run on.", NULL, NULL},
	{NULL, "eventlog", "EventLog", NAME_NEEDED, OPTIONS(eventlog_options), print_eventlog, NULL,
	 "Write the event log of the measured launch by which a vTPM is on.", NULL, NULL},
	{"launch", "allow", "LaunchAllow", NAME_DIGEST, OPTIONS(launch_allow_options), print_launch, NULL,
	 "Allow a launch, by its digest or by a key that signs such; what is not allowed then is a mismatch.", launch_allow_prepare, NULL},
	{"launch", "list", "LaunchShow", NAME_OR_GROUP, OPTIONS(launch_options), print_launch_list, NULL,
	 "List the launches that are allowed.", NULL, NULL},
	{"launch", "show", "LaunchShow", NAME_OR_GROUP, OPTIONS(launch_options), print_launch, NULL,
	 "Show what is demanded of launches, and the launch by which a vTPM is on.", NULL, NULL},
	{"launch", "policy", "LaunchPolicy", NAME_OR_GROUP, OPTIONS(launch_policy_options), print_launch, NULL,
	 "Say whether guests must come by a launch, and what becomes of one that is not allowed.", NULL, NULL},
	{"recovery", "init", "RecoveryInit", NAME_NONE, OPTIONS(recovery_init_options), print_recovery_init, NULL,
	 "Wrap every root to offline keys, which open it when this TPM does not any more.", recovery_init_prepare, NULL},
	{"recovery", "show", "RecoveryShow", NAME_NONE, NULL, 0, print_recovery, NULL,
	 "Show who can recover what; with --json, what to keep a copy of.", NULL, NULL},
	{"recovery", "challenge", "RecoveryChallenge", NAME_NONE, NULL, 0, print_challenge, NULL,
	 "Print what a recovery key has to answer.", NULL, NULL},
	{"recovery", "open", NULL, NAME_OF_FILE, OPTIONS(recovery_open_options), print_opened, NULL,
	 "Answer a challenge with a private key, on whichever machine that is; no manager is asked.", NULL, recovery_open},
	{"recovery", "restore", "RecoveryRestore", NAME_NONE, OPTIONS(recovery_restore_options), print_restored, NULL,
	 "Seal the roots of an answer in the TPM that there is now.", recovery_restore_prepare, NULL},
	{"policy", "show", "PolicyShow", NAME_NONE, OPTIONS(policy_options), print_policy, NULL,
	 "Show what a group's root is sealed to, and what unseals it.", NULL, NULL},
	{"policy", "plan", "PolicyPlan", FILE_MAYBE, OPTIONS(policy_plan_options), print_policy_plan, NULL,
	 "Say what would still unseal, and what would not, with a PCR set installed or the least version raised.", policy_prepare_file, NULL},
	{"policy", "current", "PolicyShow", NAME_NONE, OPTIONS(policy_current_options), print_file, NULL,
	 "Write a PCR set of the boot that is, to be signed.", NULL, policy_current},
	{"policy", "predict", NULL, NAME_NONE, OPTIONS(policy_predict_options), print_file, NULL,
	 "Write a PCR set of a boot to come, from the files that it will read. Needs no manager.", NULL, policy_predict},
	{"policy", "sign", NULL, NAME_OF_FILE, OPTIONS(policy_sign_options), print_file, NULL,
	 "Sign a PCR set, or a recovery challenge. Needs no manager, no TPM and no host.", NULL, policy_sign},
	{"policy", "apply", "PolicyApply", NAME_OF_FILE, OPTIONS(policy_options), print_policy, NULL,
	 "Install a signed PCR set, beside those that are installed.", policy_prepare_file, NULL},
	{"policy", "remove", "PolicyRemove", NAME_NONE, OPTIONS(policy_remove_options), print_nothing, NULL,
	 "Remove the PCR sets of one version.", NULL, NULL},
	{"policy", "raise", "PolicyRaise", NAME_NONE, OPTIONS(policy_raise_options), print_policy_raised, NULL,
	 "Revoke all PCR sets below a version, for ever.", NULL, NULL},
	{"policy", "test", "PolicyTest", NAME_NONE, OPTIONS(policy_options), print_policy_tested, NULL,
	 "Have the TPM unseal a group's root, now.", NULL, NULL},
	{"policy", "set", "PolicySet", NAME_NONE, OPTIONS(policy_set_options), print_group, NULL,
	 "Seal a group's root to another policy.", policy_prepare_set, NULL},
	{"policy", "challenge", "PolicyChallenge", NAME_NONE, OPTIONS(policy_options), print_file, NULL,
	 "Write what the recovery key is to sign.", NULL, policy_challenge},
	{"policy", "recover", "PolicyRecover", NAME_OF_FILE, OPTIONS(policy_options), print_group, NULL,
	 "Open a group with the recovery key's answer.", policy_prepare_answer, NULL},
	{"quarantine", "list", "ListQuarantine", NAME_NONE, NULL, 0, print_quarantine, NULL,
	 "List what is quarantined: vTPMs, or the whole store.", NULL, NULL},
	{"quarantine", "show", "Show", NAME_NEEDED, NULL, 0, print_show, NULL, "Show a quarantined vTPM, and why it is.", NULL, NULL},
	{"quarantine", "release", "Release", NAME_OR_STORE, OPTIONS(release_options), print_nothing, NULL,
	 "Take what the disk holds for the newest state although nothing proves it.", NULL, NULL},
};
const size_t ctl_ncommands = ARRAY_LEN(ctl_commands);

const struct ctl_command *ctl_find_command(char *const *words, size_t n, size_t *used)
{
	for (size_t i = 0; i < ctl_ncommands && n > 0; i++) {
		const struct ctl_command *c = &ctl_commands[i];

		if (!c->group && strcmp(words[0], c->name) == 0) {
			*used = 1;
			return c;
		}
		if (c->group && n > 1 && strcmp(words[0], c->group) == 0 && strcmp(words[1], c->name) == 0) {
			*used = 2;
			return c;
		}
	}
	return NULL;
}

static const char *const name_words[] = {[NAME_NONE] = "", [NAME_NEEDED] = " NAME", [NAME_OR_STORE] = " NAME|--store",
					 [NAME_OF_FILE] = " FILE", [FILE_MAYBE] = " [FILE]", [NAME_TWO] = " SOURCE NAME",
					 [NAME_OR_GROUP] = " NAME|--group G", [NAME_DIGEST] = " NAME|--group G [DIGEST]"};

bool ctl_is_group(const char *word)
{
	for (size_t i = 0; i < ctl_ncommands; i++) {
		if (ctl_commands[i].group && strcmp(ctl_commands[i].group, word) == 0)
			return true;
	}
	return false;
}

static void print_summary(const char *group)
{
	printf("usage: vtpmctl [--runtime-dir DIR | --xen-domain DOMAIN] [--json] %s%sCOMMAND [OPTION ...]\n\n", group ? group : "",
	       group ? " " : "");
	for (size_t i = 0; i < ctl_ncommands; i++) {
		const struct ctl_command *c = &ctl_commands[i];
		char left[80];

		if (group && (!c->group || strcmp(c->group, group) != 0))
			continue;
		snprintf(left, sizeof(left), "%s%s%s%s", c->group ? c->group : "", c->group ? " " : "", c->name,
			 name_words[c->takes]);
		printf("  %-33s  %s\n", left, c->help);
	}
	printf("\n  --runtime-dir DIR   where the manager's sockets are (default: " CTL_RUNTIME_DIR ")\n"
	       "  --xen-domain DOMAIN the manager in that domain of Xen, by name or number\n"
	       "  --json              print the reply as JSON\n"
	       "  --help, --version   of vtpmctl; COMMAND --help: of a command\n");
}

void ctl_print_help(const struct ctl_command *c, const char *group)
{
	if (!c) {
		print_summary(group);
		return;
	}
	printf("usage: vtpmctl %s%s%s%s%s\n\n%s\n", c->group ? c->group : "", c->group ? " " : "", c->name,
	       name_words[c->takes], c->noptions ? " [OPTION ...]" : "", c->help);
	for (size_t i = 0; i < c->noptions; i++) {
		const struct ctl_option *o = &c->options[i];
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
		printf("%s  %-20s  %s\n", i == 0 ? "\n" : "", left, o->help);
	}
}
