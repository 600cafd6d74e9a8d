/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swtpm_setup: has the manager make a vTPM for the machine that --vmid names, and keeps its token. EKs and their
 * certificates are made with every vTPM; the log says what else was asked for and what came of it.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>

#include "vtpm-mgr/swtpm/front.h"

#define NOT_OFFERED 1000 /* as in serve_options.c */
#define BANKS	    "SHA-256 and SHA-384"

enum { OPT_STATE = 256, OPT_VMID, OPT_LOGFILE, OPT_TPM2, OPT_OVERWRITE, OPT_NOT_OVERWRITE, OPT_BANKS, OPT_RECONFIGURE,
       OPT_PRINT_CAPS, OPT_RUNAS, OPT_PLATFORM, OPT_RSA, OPT_NOTHING, OPT_VERSION };

static const char *const refused[] = {
	"--keyfile, --pwdfile and --cipher: the state is sealed under the host's TPM, and under no key of yours",
	"--allow-signing: EKs are those of the TCG's templates",
	"--take-ownership, --create-spk and passwords: the guest makes its storage keys itself",
	"--write-ek-cert-files: vtpmctl show NAME --ek-cert rsa|ecc prints them",
	"--create-config-files: there are none to be made",
	"--profile: there is one",
};
enum { NO_KEY, NO_SIGNING, NO_OWNER, NO_CERT_FILES, NO_CONFIG, NO_PROFILE };

static const struct option options[] = {
	{ "tpm-state", required_argument, NULL, OPT_STATE },
	{ "tpmstate", required_argument, NULL, OPT_STATE },
	{ "vmid", required_argument, NULL, OPT_VMID },
	{ "logfile", required_argument, NULL, OPT_LOGFILE },
	{ "tpm2", no_argument, NULL, OPT_TPM2 },
	{ "overwrite", no_argument, NULL, OPT_OVERWRITE },
	{ "not-overwrite", no_argument, NULL, OPT_NOT_OVERWRITE },
	{ "pcr-banks", required_argument, NULL, OPT_BANKS },
	{ "reconfigure", no_argument, NULL, OPT_RECONFIGURE },
	{ "print-capabilities", no_argument, NULL, OPT_PRINT_CAPS },
	{ "runas", required_argument, NULL, OPT_RUNAS },
	{ "create-platform-cert", no_argument, NULL, OPT_PLATFORM },
	{ "rsa-keysize", required_argument, NULL, OPT_RSA },
	{ "version", no_argument, NULL, OPT_VERSION },
	/* what every vTPM has, or what concerns files that are not needed here */
	{ "createek", no_argument, NULL, OPT_NOTHING },
	{ "create-ek-cert", no_argument, NULL, OPT_NOTHING },
	{ "lock-nvram", no_argument, NULL, OPT_NOTHING },
	{ "decryption", no_argument, NULL, OPT_NOTHING },
	{ "ecc", no_argument, NULL, OPT_NOTHING },
	{ "display", no_argument, NULL, OPT_NOTHING },
	{ "config", required_argument, NULL, OPT_NOTHING },
	{ "tpm", required_argument, NULL, OPT_NOTHING },
	{ "swtpm_ioctl", required_argument, NULL, OPT_NOTHING },
	{ "tcsd-system-ps-file", required_argument, NULL, OPT_NOTHING },
	{ "keyfile", required_argument, NULL, NOT_OFFERED + NO_KEY },
	{ "keyfile-fd", required_argument, NULL, NOT_OFFERED + NO_KEY },
	{ "pwdfile", required_argument, NULL, NOT_OFFERED + NO_KEY },
	{ "pwdfile-fd", required_argument, NULL, NOT_OFFERED + NO_KEY },
	{ "cipher", required_argument, NULL, NOT_OFFERED + NO_KEY },
	{ "allow-signing", no_argument, NULL, NOT_OFFERED + NO_SIGNING },
	{ "take-ownership", no_argument, NULL, NOT_OFFERED + NO_OWNER },
	{ "create-spk", no_argument, NULL, NOT_OFFERED + NO_OWNER },
	{ "ownerpass", required_argument, NULL, NOT_OFFERED + NO_OWNER },
	{ "owner-well-known", no_argument, NULL, NOT_OFFERED + NO_OWNER },
	{ "srkpass", required_argument, NULL, NOT_OFFERED + NO_OWNER },
	{ "srk-well-known", no_argument, NULL, NOT_OFFERED + NO_OWNER },
	{ "write-ek-cert-files", required_argument, NULL, NOT_OFFERED + NO_CERT_FILES },
	{ "create-config-files", optional_argument, NULL, NOT_OFFERED + NO_CONFIG },
	{ "profile", required_argument, NULL, NOT_OFFERED + NO_PROFILE },
	{ NULL, 0, NULL, 0 },
};

/* NAME:UUID, as libvirt says it; a name may hold colons, and the uuid may be missing. */
static int parse_vmid(const char *value, struct front_setup *s, char why[static WHY_MAX + 1])
{
	const char *colon = strrchr(value, ':');
	size_t n = colon && !uuid_parse(colon + 1, s->machine) ? (size_t)(colon - value) : strlen(value);

	if (n > FRONT_NAME_MAX)
		return explain(why, ERR_INVAL, "--vmid is too long: a name has at most %u bytes", FRONT_NAME_MAX);
	memcpy(s->name, value, n);
	s->name[n] = '\0';
	return 0;
}

/* Which banks there are is not a matter of choice: what is among them is had, what is not is refused. */
static int check_banks(const char *list, char why[static WHY_MAX + 1])
{
	while (*list) {
		size_t n = strcspn(list, ",");

		if (!(n == 1 && list[0] == '-') && !(n == 6 && (!strncmp(list, "sha256", n) || !strncmp(list, "sha384", n))))
			return explain(why, ERR_INVAL, "--pcr-banks: \"%.*s\" is not offered; every vTPM has " BANKS,
				    n > 32 ? 32 : (int)n, list);
		list += n;
		list += *list == ',';
	}
	return 0;
}

static int set_option(int opt, char *value, struct setup_options *o, char why[static WHY_MAX + 1])
{
	switch (opt) {
	case OPT_STATE:
		o->has_place = true;
		return place_parse(value, &o->place) ? explain(why, ERR_INVAL, "--tpm-state is empty") : 0;
	case OPT_VMID: return parse_vmid(value, &o->machine, why);
	case OPT_LOGFILE: o->log_path = value; return 0;
	case OPT_TPM2: o->tpm2 = true; return 0;
	case OPT_OVERWRITE: o->overwrite = true; return 0;
	case OPT_NOT_OVERWRITE: o->not_overwrite = true; return 0;
	case OPT_BANKS: o->pcr_banks = value; return check_banks(value, why);
	case OPT_RECONFIGURE: o->reconfigure = true; return 0;
	case OPT_PRINT_CAPS: o->print_capabilities = true; return 0;
	case OPT_VERSION: o->version = true; return 0;
	case OPT_RUNAS: o->runas = value; return 0;
	case OPT_PLATFORM: o->platform_cert = true; return 0;
	case OPT_RSA:
		return strcmp(value, "2048") != 0 ? explain(why, ERR_INVAL, "--rsa-keysize: RSA EKs have 2048 bits") : 0;
	case OPT_NOTHING: return 0;
	default: break;
	}
	if (opt >= NOT_OFFERED)
		return explain(why, ERR_INVAL, "not offered: %s", refused[opt - NOT_OFFERED]);
	return explain(why, ERR_INVAL, "an option is not known, or has no value; see vtpm-swtpm(8)");
}

int setup_options_parse(int argc, char **argv, struct setup_options *o, char why[static WHY_MAX + 1])
{
	int opt, err = 0;

	*o = (struct setup_options){ 0 };
	optind = 0; /* GNU: begin anew, for who parses twice */
	opterr = 0;
	while (!err && (opt = getopt_long(argc, argv, "+", options, NULL)) != -1)
		err = set_option(opt, optarg, o, why);
	if (!err && optind < argc)
		err = explain(why, ERR_INVAL, "\"%.64s\" is one argument too many", argv[optind]);
	if (err || o->print_capabilities || o->version)
		return err;
	if (!o->tpm2)
		return explain(why, ERR_INVAL, "TPM 1.2 is not offered; --tpm2 asks for TPM 2.0");
	return o->has_place ? 0 : explain(why, ERR_INVAL, "--tpm-state is missing");
}

/* --- doing it --- */

static int make(const struct setup_options *o, char why[static WHY_MAX + 1])
{
	struct front_claim token = { 0 };
	char uuid[UUID_STR_LEN + 1];
	int sock, err = link_open(&sock, why);

	if (!err)
		err = link_setup(sock, &o->machine, &token, why);
	if (!err)
		err = place_write(&o->place, &token, why);
	if (!err && (err = link_kept(sock, why)))
		place_forget(&o->place); /* perhaps the manager has undone it: a token must not promise what is not there */
	uuid_format(token.uuid, uuid);
	if (!err)
		say("vTPM %s (%s) is made, with RSA-2048 and ECC P-256 EKs and their certificates, locked in NV, and with "
		    "PCRs of " BANKS "; its token is kept in %s",
		    token.name, uuid, o->place.path);
	if (!err && o->platform_cert)
		say("%s: there is no platform certificate: nobody here could vouch for a platform", token.name);
	explicit_bzero(&token, sizeof(token));
	fd_close(&sock);
	return err;
}

/* There is one already. */
static int keep(const struct setup_options *o, char why[static WHY_MAX + 1])
{
	if (o->not_overwrite || o->reconfigure) {
		say("%s: there is a TPM already, and it stays%s", o->place.path,
		    o->reconfigure ? "; it has PCRs of " BANKS : "");
		return 0;
	}
	return explain(why, ERR_EXISTS, "there is a TPM in %.300s already; --overwrite sets up another one", o->place.path);
}

static int setup(const struct setup_options *o, char why[static WHY_MAX + 1])
{
	struct front_claim token;
	int err = place_read(&o->place, &token, why);

	explicit_bzero(&token, sizeof(token));
	if (!err && !o->overwrite)
		return keep(o, why);
	if (err == ERR_NOTFOUND && o->reconfigure)
		return err;
	if (!err || err == ERR_NOTFOUND)
		return make(o, why);
	return err; /* what is there is not ours to replace */
}

static const char capabilities[] =
	"{ \"type\": \"swtpm_setup\", \"features\": [ \"tpm-2.0\", \"tpm2-rsa-keysize-2048\" ], \"version\": \"" SWTPM_VERSION
	"\" }\n";

int setup_main(int argc, char **argv)
{
	struct setup_options o;
	char why[WHY_MAX + 1];

	if (setup_options_parse(argc, argv, &o, why))
		return say_error("swtpm_setup: %s", why);
	if (o.print_capabilities)
		return fputs(capabilities, stdout) < 0;
	if (o.version)
		return puts("TPM emulator setup tool version " SWTPM_VERSION ", by vtpm-swtpm") < 0;
	if (o.runas && become(o.runas, why))
		return say_error("swtpm_setup: %s", why);
	if (o.log_path && say_open(o.log_path, -1, NULL, false))
		return say_error("--logfile %s: %s", o.log_path, strerror(errno));
	return setup(&o, why) ? say_error("%s", why) : 0;
}
