/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-backend: what vtpm-spawn executes with --no-prefork, instead of forking a copy of itself. Its
 * descriptors are in place already (backend.h).
 *
 *	vtpm-backend [--uid N --gid N] [--empty-dir DIR] [--ring | --qemu | --xen]
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/version.h"
#include "vtpm-backend/run.h"
#include "vtpm-backend/transport.h"
#include "vtpm-backend/warm.h"

static const struct option options[] = {
	{ "uid", required_argument, NULL, 'u' },
	{ "gid", required_argument, NULL, 'g' },
	{ "empty-dir", required_argument, NULL, 'e' },
	{ "ring", no_argument, NULL, 'r' },
	{ "qemu", no_argument, NULL, 'q' },
	{ "xen", no_argument, NULL, 'x' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] = "usage: vtpm-backend [--uid N --gid N] [--empty-dir DIR] [--ring | --qemu | --xen]\n"
			    "One guest's TPM 2.0. Started by vtpm-spawn with its descriptors in place; see vtpm-backend(8).\n";

static int parse_id(const char *s, uint32_t *id)
{
	uint64_t v;
	int err;

	err = parse_u64(s, UINT32_MAX - 1, &v);
	if (err == 0)
		*id = (uint32_t)v;
	return err;
}

static int parse_options(int argc, char **argv, struct run_config *cfg, const char **empty_dir)
{
	int opt, err = 0;

	while (err == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'u':
			err = parse_id(optarg, &cfg->uid);
			break;
		case 'g':
			err = parse_id(optarg, &cfg->gid);
			break;
		case 'e':
			*empty_dir = optarg;
			break;
		case 'r':
			cfg->transport = &transport_ring;
			break;
		case 'q':
			cfg->transport = &transport_qemu;
			break;
		case 'x':
			cfg->transport = &transport_xen;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			puts("vtpm-backend " VTPM_VERSION);
			exit(0);
		default:
			err = ERR_INVAL;
		}
	}
	return err == 0 && optind == argc ? 0 : ERR_INVAL;
}

int main(int argc, char **argv)
{
	struct run_config cfg = { 0 };
	const char *empty_dir = NULL;
	struct backend *b;
	int err;

	log_open("vtpm-backend", 0);
	if (parse_options(argc, argv, &cfg, &empty_dir) != 0) {
		log_error("this program is started by vtpm-spawn");
		return 2;
	}
	if (warm_up(WARM_CRYPTO, NULL) != 0 || backend_prepare(&b) != 0)
		return 1;
	err = sandbox_confine(empty_dir);
	if (err != 0)
		backend_fail(b, err, "enter the sandbox");
	backend_run(b, &cfg);
}
