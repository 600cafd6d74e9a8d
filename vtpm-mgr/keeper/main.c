/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-keeper: the one process that speaks to the physical TPM and knows the groups' keys. It is
 * started by vtpm-spawn with the manager on descriptor 3, the spawner on 4 and the fence (host_fence) on 5, opens the TPM,
 * enters the sandbox, and only then reads its first request.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/secmem.h"
#include "lib/version.h"
#include "vtpm-mgr/keeper/serve.h"
#include "vtpm-mgr/keeper/warm.h"

#define MANAGER_FD 3
#define SPAWNER_FD 4
#define FENCE_FD   5 /* never used: only its end counts */

#define DEFAULT_TCTI "device:/dev/tpmrm0"

struct options {
	const char *tcti, *empty_dir, *recovery_keys;
	uint64_t uid, gid; /* 0: not given */
};

static const char usage[] = "usage: vtpm-keeper [--tcti STRING] [--uid N --gid N] [--empty-dir DIR] [--recovery-keys DIR]\n"
			    "Keeps the keys of vtpm-mgr's vTPMs under a physical TPM. Started by vtpm-spawn with\n"
			    "the manager's socket as descriptor 3 and the spawner's as 4.\n"
			    "\n"
			    "  --tcti STRING    the TPM, as tpm2-tss names it (default " DEFAULT_TCTI ")\n"
			    "  --uid N, --gid N whom to become; needed when started as root\n"
			    "  --empty-dir DIR  the root directory to have from then on\n"
			    "  --recovery-keys DIR  public keys, *.pem, that roots are wrapped to\n"
			    "  --help, --version\n";

static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"tcti", required_argument, NULL, 't'},
		{"uid", required_argument, NULL, 'u'},
		{"gid", required_argument, NULL, 'g'},
		{"empty-dir", required_argument, NULL, 'e'},
		{"recovery-keys", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int c, r = 0;

	*o = (struct options){.tcti = DEFAULT_TCTI};
	while (!r && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 't')
			o->tcti = optarg;
		else if (c == 'e')
			o->empty_dir = optarg;
		else if (c == 'r')
			o->recovery_keys = optarg;
		else if (c == 'u')
			r = parse_u64(optarg, UINT32_MAX - 1, &o->uid);
		else if (c == 'g')
			r = parse_u64(optarg, UINT32_MAX - 1, &o->gid);
		else if (c == 'h')
			exit(fputs(usage, stdout) < 0);
		else if (c == 'v')
			exit(puts("vtpm-keeper " VTPM_VERSION) < 0);
		else
			r = ERR_INVAL;
	}
	return r || optind != argc || !o->uid != !o->gid ? ERR_INVAL : 0;
}

/* While the process is still itself: everything that opens a file, a socket or a library. */
static int prepare(struct keeper *k, const struct options *o)
{
	const int keep[] = {MANAGER_FD, SPAWNER_FD, FENCE_FD};
	int r;

	/* The TPM's socket, if it is one, may be closed from the other side at any moment. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return ERR_SYS;
	/* tpm2-tss writes its own lines to standard error; what they say is in our texts. */
	if (setenv("TSS2_LOG", "all+NONE", 0))
		return ERR_NOMEM;
	r = sandbox_close_others(keep, ARRAY_LEN(keep));
	if (!r)
		r = warm_openssl();
	if (!r)
		r = keeper_init(k, MANAGER_FD, SPAWNER_FD);
	if (!r && o->recovery_keys)
		offline_load(&k->offline, o->recovery_keys);
	if (!r && tpm_open(&k->tpm))
		log_error("%s", k->tpm.text); /* and whoever asks is told */
	return r;
}

/*
 * It must not outlive its spawner, not even in the middle of a command: a row that it extends when the next keeper has looked at the
 * anchors already locks everybody out. (The spawner ends it when the manager ends, or wants another.) A change of ids takes this back,
 * so it comes after. Who has died before it asks nothing more.
 */
static int end_with_spawner(void)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) ? ERR_SYS : 0;
}

static int enter_sandbox(const struct options *o)
{
	int r = sandbox_drop((uid_t)o->uid, (gid_t)o->gid, o->empty_dir);

	if (!r)
		r = end_with_spawner();
	if (!r)
		r = sandbox_limit(SANDBOX_KEEPER);
	return r ? r : sandbox_filter(SANDBOX_KEEPER);
}

static int run(const struct options *o)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int code = 1, r;

	if (!k)
		return 1;
	k->loop.epfd = k->mgr_io.fd = -1;
	r = tpm_init(&k->tpm, o->tcti);
	if (r)
		log_error("--tcti is longer than %zu bytes", sizeof(k->tpm.tcti_name) - 1);
	if (!r) {
		r = prepare(k, o);
		if (r)
			log_error("cannot start: %s", err_text(r));
	}
	if (!r) {
		r = enter_sandbox(o);
		if (r)
			log_error("cannot enter the sandbox: %s%s", err_text(r),
				  o->uid ? "" : " (as root, --uid and --gid are needed)");
	}
	if (!r)
		code = keeper_run(k);
	keeper_free(k);
	tpm_close(&k->tpm);
	free(k);
	return code;
}

int main(int argc, char **argv)
{
	struct options o;

	if (parse_options(&o, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	log_open("vtpm-keeper", 0);
	if (secmem_process()) {
		log_error("cannot keep memory out of core dumps");
		return 1;
	}
	return run(&o);
}
