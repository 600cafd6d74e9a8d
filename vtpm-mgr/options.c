/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/version.h"
#include "paths.h"
#include "vtpm-mgr/options.h"


static const char usage[] =
	"usage: vtpm-mgr [--init] [options]\n"
	"Gives every guest of this host a TPM 2.0 whose state only the host's physical TPM can open.\n"
	"\n"
	"  --init               make a new store in an empty state directory, seal a new root, exit\n"
	"  --from FILE          with --init: make the store of a backup instead, because the old one is lost\n"
	"  --recover            with --from: the TPM is lost, too; wait for the answer of an offline key to\n"
	"                       vtpmctl recovery challenge, and seal the roots in this TPM\n"
	"  --state-dir DIR      where the store and the audit log are (/var/lib/vtpm)\n"
	"  --runtime-dir DIR    where the sockets are (/run/vtpm)\n"
	"  --tcti STRING        the physical TPM (device:/dev/tpmrm0)\n"
	"  --seal-pcrs LIST     with --init: PCRs to seal the root to, such as 0,2,4,7 (0,2,4,7 and,\n"
	"                       where the boot measured into them, 8, 9 and 11)\n"
	"  --insecure-pcrs      with --init: accept PCRs that nothing was measured into\n"
	"  --anchor-handles A,V with --init: NV indices to define in the TPM (0x01805640,0x01805641)\n"
	"  --shared-chip        with --init: other software uses the TPM's owner hierarchy; leave it alone\n"
	"  --anchor-writes-per-day N\n"
	"                       writes to the TPM's flash that checkpoints may cause (98)\n"
	"  --anchors-per-guest N\n"
	"                       a day; a guest that causes more waits for its answers; 0: no limit (98)\n"
	"  --checkpoint-interval SECONDS\n"
	"                       what a power cut may lose of bounded vTPMs (900)\n"
	"  --recheck-interval SECONDS\n"
	"                       how often it is seen whether the TPM still unseals what is open (60); 0: never\n"
	"  --on-tpm-change WHAT when it does not: keep, what runs goes on (the default); stop, it is powered off; accept, a TPM that\n"
	"                       was reset is as good as before: for a software TPM\n"
	"  --launch-wait SECONDS\n"
	"                       how long a vTPM that was launched waits for its guest (300)\n"
	"  --pool N             vTPMs to make ahead, so that create is immediate (4)\n"
	"  --user USER          when started as root: user to run as (vtpm); root keeps root\n"
	"  --uid-base N         when started as root: first of the uids for keeper and backends (1879048192)\n"
	"  --operator-group G   group that may do everything on the control socket (vtpm, if it exists)\n"
	"  --viewer-group G     group that may list and show (vtpm-view, if it exists)\n"
	"  --swtpm-user USER    whom libvirt runs swtpm as: may set vTPMs up through vtpm-swtpm (nobody)\n"
	"  --libexec-dir DIR    where vtpm-spawn, vtpm-keeper and vtpm-backend are\n"
	"  --recovery-keys DIR  public keys, *.pem, that may recover the roots (/etc/vtpm/recovery.d)\n"
	"  --hold N, --hold-spawner N\n"
	"                       channels to vtpm-hold, which gives them\n"
	"  --ready-fd N         write a line to descriptor N and close it when the start is over\n"
	"  --xen MODE           guests of Xen: auto, if this is a domain of Xen (the default); on, it must be; off\n"
	"  --autocreate         make a vTPM for a domain of Xen whose uuid has none\n"
	"  --no-prefork         start each backend by exec, with an address layout of its own\n"
	"  --no-guest-evidence  give none to guests that ask their TPM for it\n"
	"  --verbose            log more\n"
	"  --help, --version\n"
	"\n"
	"See vtpm-mgr(8), vtpmctl(1).\n";

enum { OPT_INIT = 256, OPT_FROM, OPT_RECOVER, OPT_STATE, OPT_RUNTIME, OPT_TCTI, OPT_PCRS, OPT_INSECURE, OPT_POOL, OPT_ANCHORS, OPT_SHARED, OPT_WRITES, OPT_PER_GUEST, OPT_CHECKPOINT, OPT_RECHECK, OPT_CHANGE, OPT_LAUNCH_WAIT, OPT_USER, OPT_UID, OPT_OPERATOR,
       OPT_VIEWER, OPT_SWTPM_USER, OPT_LIBEXEC, OPT_RECOVERY_KEYS, OPT_NO_PREFORK, OPT_NO_EVIDENCE, OPT_XEN, OPT_AUTOCREATE, OPT_READY_FD, OPT_HOLD, OPT_HOLD_SPAWNER, OPT_VERBOSE, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
	{ "init", no_argument, NULL, OPT_INIT },
	{ "from", required_argument, NULL, OPT_FROM },
	{ "recover", no_argument, NULL, OPT_RECOVER },
	{ "state-dir", required_argument, NULL, OPT_STATE },
	{ "runtime-dir", required_argument, NULL, OPT_RUNTIME },
	{ "tcti", required_argument, NULL, OPT_TCTI },
	{ "seal-pcrs", required_argument, NULL, OPT_PCRS },
	{ "insecure-pcrs", no_argument, NULL, OPT_INSECURE },
	{ "pool", required_argument, NULL, OPT_POOL },
	{ "anchor-handles", required_argument, NULL, OPT_ANCHORS },
	{ "shared-chip", no_argument, NULL, OPT_SHARED },
	{ "anchor-writes-per-day", required_argument, NULL, OPT_WRITES },
	{ "anchors-per-guest", required_argument, NULL, OPT_PER_GUEST },
	{ "checkpoint-interval", required_argument, NULL, OPT_CHECKPOINT },
	{ "recheck-interval", required_argument, NULL, OPT_RECHECK },
	{ "on-tpm-change", required_argument, NULL, OPT_CHANGE },
	{ "launch-wait", required_argument, NULL, OPT_LAUNCH_WAIT },
	{ "user", required_argument, NULL, OPT_USER },
	{ "uid-base", required_argument, NULL, OPT_UID },
	{ "operator-group", required_argument, NULL, OPT_OPERATOR },
	{ "viewer-group", required_argument, NULL, OPT_VIEWER },
	{ "swtpm-user", required_argument, NULL, OPT_SWTPM_USER },
	{ "libexec-dir", required_argument, NULL, OPT_LIBEXEC },
	{ "recovery-keys", required_argument, NULL, OPT_RECOVERY_KEYS },
	{ "xen", required_argument, NULL, OPT_XEN },
	{ "autocreate", no_argument, NULL, OPT_AUTOCREATE },
	{ "no-prefork", no_argument, NULL, OPT_NO_PREFORK },
	{ "no-guest-evidence", no_argument, NULL, OPT_NO_EVIDENCE },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "hold", required_argument, NULL, OPT_HOLD },
	{ "hold-spawner", required_argument, NULL, OPT_HOLD_SPAWNER },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static _Noreturn void usage_error(const char *text, const char *what)
{
	fprintf(stderr, "vtpm-mgr: %s%s%s; see vtpm-mgr --help\n", text, what ? ": " : "", what ? what : "");
	exit(2);
}

static uint32_t number(const char *s, uint64_t max, const char *what)
{
	uint64_t v;

	if (parse_u64(s, max, &v))
		usage_error("not a number in range", what);
	return (uint32_t)v;
}

static uint32_t pcr_list(const char *s)
{
	uint32_t mask = 0;
	char item[4];

	while (*s) {
		size_t n = strcspn(s, ",");
		if (n == 0 || n >= sizeof(item))
			usage_error("not a list of PCRs", s);
		memcpy(item, s, n);
		item[n] = '\0';
		mask |= 1u << number(item, PCR_COUNT - 1, "--seal-pcrs");
		s += n;
		s += *s == ',' && s[1] ? 1 : 0;
		if (*s == ',')
			usage_error("not a list of PCRs", s);
	}
	return mask ? mask : (usage_error("--seal-pcrs needs at least one PCR", NULL), 0u);
}

static void set_path(const char **out, const char *value, const char *what)
{
	if (value[0] != '/')
		usage_error("must be an absolute path", what);
	*out = value;
}

static void set_xen(struct config *cfg, const char *value)
{
	if (!strcmp(value, "auto"))
		cfg->xen = XEN_AUTO;
	else if (!strcmp(value, "on"))
		cfg->xen = XEN_ON;
	else if (!strcmp(value, "off"))
		cfg->xen = XEN_NEVER;
	else
		usage_error("--xen wants auto, on or off", value);
}

static void set_change(struct config *cfg, const char *value)
{
	if (!strcmp(value, "keep"))
		cfg->on_change = CHANGE_KEEP;
	else if (!strcmp(value, "stop"))
		cfg->on_change = CHANGE_STOP;
	else if (!strcmp(value, "accept"))
		cfg->on_change = CHANGE_ACCEPT;
	else
		usage_error("--on-tpm-change wants keep, stop or accept", value);
}

/* Two NV handles (TPM 2.0 Part 2, 7.2), in any base that strtoul(3) knows. */
static void anchor_handles(struct config *cfg, const char *s)
{
	char *end;
	unsigned long a = strtoul(s, &end, 0);
	unsigned long v = *end == ',' ? strtoul(end + 1, &end, 0) : 0;

	if (*end || a >> 24 != 1 || v >> 24 != 1 || a == v)
		usage_error("--anchor-handles takes two NV handles, such as 0x01805640,0x01805641", NULL);
	cfg->anchor_a = (uint32_t)a;
	cfg->anchor_v = (uint32_t)v;
	cfg->anchors_given = true;
}

static void set_option(struct config *cfg, int opt, char *value)
{
	switch (opt) {
	case OPT_INIT: cfg->init = true; break;
	case OPT_FROM: cfg->from = value; break;
	case OPT_RECOVER: cfg->recover = true; break;
	case OPT_STATE: set_path(&cfg->state_dir, value, "--state-dir"); break;
	case OPT_RUNTIME: set_path(&cfg->runtime_dir, value, "--runtime-dir"); break;
	case OPT_TCTI: cfg->tcti = value; break;
	case OPT_PCRS: cfg->seal_pcrs = pcr_list(value); break;
	case OPT_INSECURE: cfg->insecure_pcrs = true; break;
	case OPT_POOL: cfg->pool = number(value, POOL_LIMIT, "--pool"); break;
	case OPT_ANCHORS: anchor_handles(cfg, value); break;
	case OPT_SHARED: cfg->shared_chip = true; break;
	case OPT_WRITES: cfg->anchor_writes = number(value, 1000000, "--anchor-writes-per-day"); break;
	case OPT_PER_GUEST: cfg->anchors_per_guest = number(value, 1000000, "--anchors-per-guest"); break;
	case OPT_CHECKPOINT: cfg->checkpoint_s = number(value, 86400, "--checkpoint-interval"); break;
	case OPT_RECHECK: cfg->recheck_s = number(value, 86400, "--recheck-interval"); break;
	case OPT_CHANGE: set_change(cfg, value); break;
	case OPT_LAUNCH_WAIT: cfg->launch_wait_s = number(value, 86400, "--launch-wait"); break;
	case OPT_USER: cfg->user = value; break;
	case OPT_UID: cfg->uid_base = number(value, UINT32_MAX - 2 - SPAWN_SLOT_MAX, "--uid-base"); break;
	case OPT_OPERATOR: cfg->operator_group = value; break;
	case OPT_VIEWER: cfg->viewer_group = value; break;
	case OPT_SWTPM_USER: cfg->swtpm_user = value; break;
	case OPT_LIBEXEC: set_path(&cfg->libexec_dir, value, "--libexec-dir"); break;
	case OPT_RECOVERY_KEYS: set_path(&cfg->recovery_keys, value, "--recovery-keys"); break;
	case OPT_XEN: set_xen(cfg, value); break;
	case OPT_AUTOCREATE: cfg->autocreate = true; break;
	case OPT_NO_PREFORK: cfg->no_prefork = true; break;
	case OPT_NO_EVIDENCE: cfg->no_guest_evidence = true; break;
	case OPT_READY_FD: cfg->ready_fd = (int)number(value, 1023, "--ready-fd"); break;
	case OPT_HOLD: cfg->hold_fd = (int)number(value, INT32_MAX, "--hold"); break;
	case OPT_HOLD_SPAWNER: cfg->hold_spawner_fd = (int)number(value, INT32_MAX, "--hold-spawner"); break;
	case OPT_VERBOSE: cfg->verbose = true; break;
	case OPT_HELP: fputs(usage, stdout); exit(0);
	case OPT_VERSION: puts("vtpm-mgr " VTPM_VERSION); exit(0);
	default: exit(2); /* getopt_long has said why */
	}
}

void options_parse(int argc, char **argv, struct config *cfg)
{
	int opt;

	*cfg = (struct config){ .state_dir = "/var/lib/vtpm",
				.runtime_dir = "/run/vtpm",
				.tcti = "device:/dev/tpmrm0",
				.libexec_dir = LIBEXECDIR,
				.recovery_keys = "/etc/vtpm/recovery.d",
				.pool = POOL_DEFAULT,
				.anchor_a = ANCHOR_A_DEFAULT,
				.anchor_v = ANCHOR_V_DEFAULT,
				.anchor_writes = ANCHOR_WRITES_DEFAULT,
				.anchors_per_guest = ANCHORS_PER_GUEST,
				.checkpoint_s = CHECKPOINT_DEFAULT_S,
				.recheck_s = RECHECK_DEFAULT_S,
				.launch_wait_s = LAUNCH_WAIT_DEFAULT_S,
				.ready_fd = -1,
				.hold_fd = -1,
				.hold_spawner_fd = -1,
				.uid_base = UID_BASE_DEFAULT };
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		set_option(cfg, opt, optarg);
	if (optind < argc)
		usage_error("unknown argument", argv[optind]);
	if (!cfg->init && (cfg->seal_pcrs || cfg->insecure_pcrs))
		usage_error("--seal-pcrs and --insecure-pcrs choose how a new root is sealed and go with --init", NULL);
	if (!cfg->init && (cfg->anchors_given || cfg->shared_chip))
		usage_error("--anchor-handles and --shared-chip say how the anchors are defined and go with --init", NULL);
	if ((cfg->hold_fd < 0) != (cfg->hold_spawner_fd < 0) || (cfg->init && cfg->hold_fd >= 0))
		usage_error("--hold and --hold-spawner go together, and not with --init", NULL);
	if (cfg->from && (!cfg->init || cfg->seal_pcrs || cfg->insecure_pcrs || cfg->anchors_given || cfg->shared_chip))
		usage_error("--from goes with --init, and what the other options of --init choose is in the backup", NULL);
	if (cfg->recover && !cfg->from)
		usage_error("--recover goes with --init --from", NULL);
	if (cfg->launch_wait_s == 0)
		usage_error("--launch-wait must be a second at least", NULL);
	if (cfg->uid_base == 0)
		usage_error("--uid-base 0 is root", NULL);
	if (strlen(cfg->tcti) >= sizeof(((struct keeper_status *)NULL)->tcti))
		usage_error("--tcti is too long", NULL);
}
