/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "hv/launch/launch.h"
#include "lib/util.h"
#include "lib/version.h"

#define STUB_PCR 15u

static const char summary[] =
	"usage: vtpm-launch [OPTION…] xl CONFIG [NAME=VALUE…]\n"
	"       vtpm-launch [OPTION…] --vtpm NAME qemu [--] QEMU-SYSTEM-… [QEMU'S OPTION…]\n"
	"       vtpm-launch [--pcr N] [--give-up] stub CONFIG [NAME=VALUE…]\n"
	"       vtpm-launch measure [OPTION…] {xl|qemu|stub} …\n"
	"\n"
	"Measures what a guest boots into its vTPM, and boots those bytes.\n"
	"\n"
	"  measure                only prints what would be measured, and the launch's digest\n"
	"  --vtpm NAME            the guest's vTPM; with xl, that the configuration must have this one\n"
	"  --signature FILE       a signature over the event log, by a key that the vTPM's policy allows\n"
	"  --eventlog FILE        with measure: writes the event log there\n"
	"  --runtime-dir DIR      of the manager; default " CTL_RUNTIME_DIR "\n"
	"  --xen-domain DOMAIN    the manager in that domain; with xl, default: the vTPM's backend=\n"
	"  --pcr N                with stub: the PCR of the physical TPM, default 15\n"
	"  --give-up              with stub: dom0 gives up its access to the TPM until the host boots anew\n"
	"  --json                 prints JSON\n"
	"  --help, --version\n";

/* --- the command line --- */

enum { OPT_PCR = 1, OPT_GIVE_UP, OPT_VTPM, OPT_SIGNATURE, OPT_EVENTLOG, OPT_RUNTIME_DIR, OPT_XEN_DOMAIN, OPT_JSON, OPT_HELP, OPT_VERSION };

struct words {
	struct launch_args a;
	const char *toolstack;
	bool help, version;
};

static int set_option(struct words *w, int option, struct ctl_error *e)
{
	uint64_t n;

	switch (option) {
	case OPT_VTPM:
		w->a.vtpm = optarg;
		return name_valid(optarg) ? 0 : ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not a name of a vTPM", optarg);
	case OPT_PCR:
		w->a.pcr = parse_u64(optarg, LAUNCH_PCR_MAX, &n) ? 0 : (unsigned)n;
		return w->a.pcr ? 0 : ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: not a PCR from 1 to %u", optarg, LAUNCH_PCR_MAX);
	case OPT_GIVE_UP:
		w->a.give_up = true;
		return 0;
	case OPT_SIGNATURE:
		w->a.signature = optarg;
		return 0;
	case OPT_EVENTLOG:
		w->a.eventlog = optarg;
		return 0;
	case OPT_RUNTIME_DIR:
		w->a.at.runtime_dir = optarg;
		return 0;
	case OPT_XEN_DOMAIN:
		w->a.at.xen_domain = optarg;
		return 0;
	case OPT_JSON:
		w->a.json = true;
		return 0;
	case OPT_HELP:
		w->help = true;
		return 0;
	case OPT_VERSION:
		w->version = true;
		return 0;
	default:
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "see vtpm-launch --help");
	}
}

/* Options up to the first word that is none. */
static int read_options(struct words *w, int argc, char **argv, struct ctl_error *e)
{
	static const struct option options[] = {
		{"vtpm", required_argument, NULL, OPT_VTPM},
		{"signature", required_argument, NULL, OPT_SIGNATURE},
		{"eventlog", required_argument, NULL, OPT_EVENTLOG},
		{"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
		{"xen-domain", required_argument, NULL, OPT_XEN_DOMAIN},
		{"pcr", required_argument, NULL, OPT_PCR},
		{"give-up", no_argument, NULL, OPT_GIVE_UP},
		{"json", no_argument, NULL, OPT_JSON},
		{"help", no_argument, NULL, OPT_HELP},
		{"version", no_argument, NULL, OPT_VERSION},
		{NULL, 0, NULL, 0},
	};
	int option, err = 0;

	while (!err && (option = getopt_long(argc, argv, "+", options, NULL)) != -1)
		err = set_option(w, option, e);
	return err;
}

static int read_words(struct words *w, int argc, char **argv, struct ctl_error *e)
{
	int err = read_options(w, argc, argv, e);

	if (!err && optind < argc && strcmp(argv[optind], "measure") == 0) {
		w->a.measure = true;
		optind++;
		err = read_options(w, argc, argv, e);
	}
	if (err || w->help || w->version)
		return err;
	if (optind == argc)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "say xl, qemu or stub; see vtpm-launch --help");
	w->toolstack = argv[optind++];
	if (optind < argc && strcmp(argv[optind], "--") == 0)
		optind++;
	w->a.argc = argc - optind;
	w->a.argv = argv + optind;
	return 0;
}

static int run(struct words *w, struct ctl_error *e)
{
	struct launch_args *a = &w->a;

	if (a->eventlog && !a->measure)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--eventlog goes with measure; afterwards there is vtpmctl eventlog");
	if (strcmp(w->toolstack, "xl") == 0)
		return xl_launch(a, e);
	if (strcmp(w->toolstack, "stub") == 0)
		return stub_launch(a, e);
	if (strcmp(w->toolstack, "qemu") != 0)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s: neither xl nor qemu nor stub", w->toolstack);
	if (!a->vtpm && !a->measure)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "say with --vtpm which vTPM the machine has");
	if (!a->at.runtime_dir)
		a->at.runtime_dir = CTL_RUNTIME_DIR;
	return qemu_launch(a, e);
}

int main(int argc, char **argv)
{
	struct ctl_error e = {.status = EXIT_FAILED};
	struct words w = {.a.pcr = STUB_PCR};
	int err;

	signal(SIGPIPE, SIG_IGN); /* to be killed between launch and boot would leave a launch for whoever comes; who is executed has the default */
	err = read_words(&w, argc, argv, &e);
	if (!err && w.help)
		fputs(summary, stdout);
	else if (!err && w.version)
		puts("vtpm-launch " VTPM_VERSION);
	else if (!err)
		err = run(&w, &e);
	if (err)
		ctl_print_error(&e, w.a.json);
	if (fflush(stdout) || ferror(stdout))
		return EXIT_FAILED;
	return err ? e.status : EXIT_OK;
}
