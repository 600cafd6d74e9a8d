/* SPDX-License-Identifier: BSD-2-Clause */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/swtpm/front.h"

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

	signal(SIGPIPE, SIG_IGN);
	if (strcmp(name, "swtpm") == 0)
		return serve_main(argc, argv);
	if (strcmp(name, "swtpm_setup") == 0)
		return setup_main(argc, argv);
	if (strcmp(name, "swtpm_ioctl") == 0)
		return ioctl_main(argc, argv);
	fputs("vtpm-swtpm: it is to be called as swtpm, swtpm_setup or swtpm_ioctl; see vtpm-swtpm(8)\n", stderr);
	return 1;
}
