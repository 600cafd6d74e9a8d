/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "lib/util.h"
#include "lib/version.h"
#include "vtpm-mgr/ctl/ctl.h"

static int print_reply(const struct ctl_args *a, json_t *reply)
{
	json_t *part = a->command->select ? a->command->select(reply) : NULL;
	json_t *object;
	int status;

	if (!a->json || a->ek_cert || a->ek_public || a->ak) /* a PEM block is what those ask for, in any case */
		return a->command->print(a, reply);
	if (!a->command->select)
		return print_json(reply);
	object = json_pack("{s:O?}", "groups", part);
	status = print_json(object);
	json_decref(object);
	return status;
}

static int call(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	int err = a->command->prepare ? a->command->prepare(a, e) : 0;

	if (!err && a->command->run)
		err = a->command->run(a, reply, e);
	else if (!err)
		err = client_call(&a->at, a->command->method, a->params, a->fds, a->nfds, reply, e);
	if (!err && (err = token_keep(a, *reply, e)))
		json_decref(*reply);
	for (unsigned i = 0; i < a->nfds; i++)
		fd_close(&a->fds[i]);
	fd_close(&a->lock);
	return err;
}

static int run(struct ctl_args *a, struct ctl_error *e)
{
	json_t *reply;
	int status;

	if (call(a, &reply, e)) {
		ctl_print_error(e, a->json);
		return e->status;
	}
	status = print_reply(a, reply);
	json_decref(reply);
	return status;
}

int main(int argc, char **argv)
{
	struct ctl_error e = {.status = EXIT_FAILED};
	struct ctl_args a;
	int status = EXIT_OK;

	if (args_parse(&a, argc, argv, &e)) {
		ctl_print_error(&e, false); /* a command line that makes no sense may not even say --json */
		status = e.status;
	} else if (a.version) {
		puts("vtpmctl " VTPM_VERSION);
	} else if (a.help) {
		ctl_print_help(a.command, a.group);
	} else {
		status = run(&a, &e);
	}
	json_decref(a.params);
	/* A reply that could not be written was not given: the disk behind standard output may be full. */
	if (fflush(stdout) || ferror(stdout))
		status = status ? status : EXIT_FAILED;
	return status;
}
