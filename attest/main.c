/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpm-verify: the library, with files. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "attest/policy.h"
#include "attest/tool.h"
#include "lib/util.h"
#include "lib/version.h"

static const char usage[] =
	"Usage: vtpm-verify [OPTIONS] EVIDENCE\n"
	"       vtpm-verify export EVIDENCE DIR\n"
	"\n"
	"Whether evidence about a vTPM is to be believed. EVIDENCE: a file, or - for standard input.\n"
	"\n"
	"  --nonce HEX    the nonce that the evidence was asked with\n"
	"  --uuid UUID    the vTPM that it must be about\n"
	"  --trust FILE   hosts that were enrolled (JSON), roots and revocation lists (PEM); may be repeated\n"
	"  --policy FILE  what is demanded (JSON)\n"
	"  --launch-log FILE\n"
	"                 the launch event log of a guest that has asked for the evidence itself\n"
	"  --known FILE   remember vTPMs here, so that rollback and clones show; made if it is not there\n"
	"  --time N       verify as of N seconds after 1970 in place of now\n"
	"  --json         an EAT attestation result\n"
	"  --help, --version\n"
	"\n"
	"export writes files for tpm2_checkquote, tpm2_eventlog, openssl and Keylime into DIR. Nothing is verified.\n"
	"\n"
	"Exit status: 0 verified, 1 not verified, 2 wrong usage, 3 a file cannot be read or makes no sense.\n";

static int wrong_usage(const char *what)
{
	fprintf(stderr, "vtpm-verify: %s; see vtpm-verify --help\n", what);
	return EXIT_USAGE;
}

static int nonce_read(struct tool *t, const char *hex)
{
	size_t n = strlen(hex) / 2;

	if (n < EVIDENCE_NONCE_MIN || n > EVIDENCE_NONCE_MAX || strlen(hex) % 2 || hex_decode(hex, t->nonce, n))
		return ERR_INVAL;
	t->nonce_len = n;
	return 0;
}

enum { OPT_NONCE = 256, OPT_UUID, OPT_TRUST, OPT_POLICY, OPT_LAUNCH_LOG, OPT_KNOWN, OPT_TIME, OPT_JSON, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
	{"nonce", required_argument, NULL, OPT_NONCE}, {"trust", required_argument, NULL, OPT_TRUST},
	{"uuid", required_argument, NULL, OPT_UUID},   {"policy", required_argument, NULL, OPT_POLICY},
	{"known", required_argument, NULL, OPT_KNOWN}, {"launch-log", required_argument, NULL, OPT_LAUNCH_LOG},
	{"time", required_argument, NULL, OPT_TIME},   {"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},	       {"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

/* NULL, or what is wrong with it. */
static const char *option_take(struct tool *t, int c)
{
	switch (c) {
	case OPT_NONCE:
		return nonce_read(t, optarg) ? "--nonce must be 16 to 128 hexadecimal digits" : NULL;
	case OPT_UUID:
		t->has_uuid = !uuid_parse(optarg, t->uuid);
		return t->has_uuid ? NULL : "--uuid must be a uuid";
	case OPT_TRUST:
		if (t->ntrust == TRUST_FILES_MAX)
			return "too many --trust";
		t->trust[t->ntrust++] = optarg;
		return NULL;
	case OPT_POLICY:
		t->policy = optarg;
		return NULL;
	case OPT_LAUNCH_LOG:
		t->launch_log = optarg;
		return NULL;
	case OPT_KNOWN:
		t->known = optarg;
		return NULL;
	case OPT_TIME:
		return parse_u64(optarg, INT64_MAX, &t->time) ? "--time must be a number" : NULL;
	case OPT_JSON:
		t->json = true;
		return NULL;
	default:
		return "unknown option, or one without its argument";
	}
}

/* -1: go on; otherwise the status to end with. */
static int args_read(struct tool *t, int argc, char **argv)
{
	const char *wrong;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == OPT_HELP || c == OPT_VERSION) {
			fputs(c == OPT_HELP ? usage : "vtpm-verify " VTPM_VERSION "\n", stdout);
			return EXIT_VERIFIED;
		}
		wrong = option_take(t, c);
		if (wrong)
			return wrong_usage(wrong);
	}
	if (argc - optind == 3 && !strcmp(argv[optind], "export")) {
		t->exports = true;
		t->evidence = argv[optind + 1];
		t->export_dir = argv[optind + 2];
		return -1;
	}
	if (argc - optind != 1)
		return wrong_usage("one EVIDENCE");
	if (!t->nonce_len || !t->ntrust || !t->policy)
		return wrong_usage("--nonce, --trust and --policy are needed");
	t->evidence = argv[optind];
	return -1;
}

void *file_read(const char *path, size_t max, size_t *len)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	char *p = fd < 0 ? NULL : malloc(max + 2);
	ssize_t n = p ? 1 : -1;

	for (*len = 0; n > 0 && *len <= max; *len += n > 0 ? (size_t)n : 0)
		n = read(fd, p + *len, max + 1 - *len);
	if (n < 0 || *len > max) {
		fprintf(stderr, "vtpm-verify: %s: %s\n", path, n < 0 ? strerror(errno) : "it is too long");
		free(p);
		p = NULL;
	} else {
		p[*len] = '\0';
	}
	fd_close(&fd);
	return p;
}

static int trust_read(const struct tool *t, struct vtpm_trust *trust)
{
	char why[VTPM_VERIFY_TEXT];

	for (size_t i = 0; i < t->ntrust; i++) {
		size_t len;
		void *file = file_read(t->trust[i], TRUST_FILE_MAX, &len);
		int err = file ? vtpm_trust_add(trust, file, len, why) : ERR_IO;

		if (file && err)
			fprintf(stderr, "vtpm-verify: %s: %s\n", t->trust[i], why);
		free(file);
		if (err)
			return err;
	}
	return 0;
}

static int policy_read(const struct tool *t, struct vtpm_policy **policy, uint8_t id[static EVIDENCE_DIGEST])
{
	char why[VTPM_VERIFY_TEXT];
	size_t len;
	void *file = file_read(t->policy, POLICY_FILE_MAX, &len);
	int err = file ? vtpm_policy_read(file, len, policy, why) : ERR_IO;

	if (file && err)
		fprintf(stderr, "vtpm-verify: %s: %s\n", t->policy, why);
	if (!err)
		err = EVP_Digest(file, len, id, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
	free(file);
	return err;
}

static int launch_log_read(const struct tool *t, void **file, struct vtpm_verify_input *in)
{
	if (!t->launch_log)
		return 0;
	*file = file_read(t->launch_log, EVIDENCE_GUEST_LOG_MAX, &in->launch_log_len);
	in->launch_log = *file;
	return *file ? 0 : ERR_IO;
}

/* Says what came out, and remembers it. */
static int conclude(const struct tool *t, struct known_file *known, const struct vtpm_report *r, const uint8_t id[static EVIDENCE_DIGEST])
{
	if (r->verdict != VTPM_FAILED && t->known && known_keep(known, &r->seen))
		return EXIT_TROUBLE;
	if (!t->json)
		print_report(r);
	else if (print_ear(t, r, id))
		return EXIT_TROUBLE;
	if (fflush(stdout))
		return EXIT_TROUBLE;
	return r->verdict == VTPM_FAILED ? EXIT_NOT_VERIFIED : EXIT_VERIFIED;
}

static int run(const struct tool *t)
{
	struct vtpm_trust *trust = vtpm_trust_new();
	struct vtpm_policy *policy = NULL;
	struct known_file known = {.lock = -1};
	struct vtpm_verify_input in = {.nonce = t->nonce, .nonce_len = t->nonce_len, .trust = trust, .time = t->time};
	struct vtpm_report report;
	uint8_t id[EVIDENCE_DIGEST];
	void *file = NULL, *log = NULL;
	int status = EXIT_TROUBLE;

	if (trust && !trust_read(t, trust) && !policy_read(t, &policy, id) && !launch_log_read(t, &log, &in) &&
	    (!t->known || !known_open(&known, t->known)))
		file = file_read(t->evidence, EVIDENCE_MAX + 1, &in.evidence_len);
	if (file) {
		in.evidence = file;
		in.policy = policy;
		in.uuid = t->has_uuid ? t->uuid : NULL;
		in.known = known.list;
		in.nknown = known.n;
		vtpm_verify(&in, &report);
		status = conclude(t, &known, &report, id);
	}
	free(file);
	free(log);
	known_close(&known);
	vtpm_policy_free(policy);
	vtpm_trust_free(trust);
	return status;
}

int main(int argc, char **argv)
{
	struct tool t = {.time = (uint64_t)time(NULL)};
	int status = args_read(&t, argc, argv);

	if (status >= 0)
		return status;
	return t.exports ? export_files(&t) : run(&t);
}
