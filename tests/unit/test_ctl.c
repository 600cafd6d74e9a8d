/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpmctl's command line, and its client against managers that answer anything at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"

#define ARGV_MAX 16

/* Parses a line of words. Returns the exit status it would lead to. */
static int parse(struct ctl_args *a, const char *line)
{
	static char copy[512];
	struct ctl_error e = {.status = EXIT_FAILED};
	char *argv[ARGV_MAX] = {"vtpmctl"};
	char *rest = copy;
	char *word;
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")) && argc < ARGV_MAX)
		argv[argc++] = word;
	return args_parse(a, argc, argv, &e) ? e.status : EXIT_OK;
}

static void expect_params(const char *line, const char *method, const char *params)
{
	struct ctl_args a;
	char *text;

	assert_int_equal(parse(&a, line), EXIT_OK);
	assert_string_equal(a.command->method, method);
	text = json_dumps(a.params, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, params);
	free(text);
	json_decref(a.params);
}

static void test_command_lines(void **state)
{
	(void)state;
	expect_params("create web1", "Create", "{\"name\":\"web1\"}");
	expect_params("create --user 7 web1 --group=g --locality-max 4", "Create",
		      "{\"group\":\"g\",\"locality_max\":4,\"name\":\"web1\",\"user\":7}");
	expect_params("--state-max=4294967295 --json create web1 --commit-rate 0", "Create",
		      "{\"commit_rate\":0,\"name\":\"web1\",\"state_max\":4294967295}");
	expect_params("policy raise --to 3", "PolicyRaise", "{\"version\":3}");
	expect_params("policy plan --raise 2 --group g", "PolicyPlan", "{\"group\":\"g\",\"version\":2}");
	expect_params("policy plan file", "PolicyPlan", "{}");
	expect_params("policy set --kind fixed --pcrs 0,4", "PolicySet", "{\"kind\":\"fixed\",\"pcrs\":[0,4]}");
	expect_params("recovery init --key a --key b", "RecoveryInit", "{}");
	expect_params("create web1 --user root", "Create", "{\"name\":\"web1\",\"user\":0}");
	expect_params("import web1 --swtpm /d --key f,format=hex --uuid u", "Import", "{\"name\":\"web1\",\"uuid\":\"u\"}");
	expect_params("destroy --force -- -x", "Destroy", "{\"force\":true,\"name\":\"-x\"}");
	expect_params("group --pcrs 0,2,23 create g", "CreateGroup", "{\"name\":\"g\",\"pcrs\":[0,2,23]}");
	expect_params("group list", "Status", "{}");
	expect_params("show web1 --ek-cert ecc", "Show", "{\"name\":\"web1\"}");
	expect_params("--runtime-dir /x ca", "Ca", "{}");
	expect_params("create web1 --snapshots allow", "Create", "{\"name\":\"web1\",\"snapshots\":\"allow\"}");
	expect_params("set --launch off web1", "Set", "{\"launch\":\"off\",\"name\":\"web1\"}");
	expect_params("launch allow web1 abc", "LaunchAllow", "{\"digest\":\"abc\",\"name\":\"web1\"}");
	expect_params("launch allow --group g abc --remove", "LaunchAllow", "{\"digest\":\"abc\",\"group\":\"g\",\"remove\":true}");
	expect_params("launch allow web1 --key f", "LaunchAllow", "{\"name\":\"web1\"}");
	expect_params("launch allow --group g --key f", "LaunchAllow", "{\"group\":\"g\"}");
	expect_params("launch list web1", "LaunchShow", "{\"name\":\"web1\"}");
	expect_params("launch policy --group g --launch required --mismatch serve", "LaunchPolicy",
		      "{\"group\":\"g\",\"launch\":\"required\",\"mismatch\":\"serve\"}");
	expect_params("eventlog web1 --out f", "EventLog", "{\"name\":\"web1\"}");
	expect_params("set --snapshots=refuse web1", "Set", "{\"name\":\"web1\",\"snapshots\":\"refuse\"}");
}

static void test_wrong_command_lines(void **state)
{
	static const char *const wrong[] = {
		"",
		"nothing",
		"create",
		"create a b", "policy", "policy sign", "policy show x", "policy sign f --number 0", "policy sign f --for-group ../x", "policy raise --to x",
		"policy sign f --key a --key b",
		"launch", "launch allow", "launch allow a", "launch allow --group g", "launch allow a b c", "launch allow --group g a b",
		"launch allow a b --key f", "launch show", "launch show a --group g", "eventlog", "eventlog a b",
		"recovery open f --key a --key b",
		"policy current --pcrs 24",
		"group",
		"group nothing",
		"create --user",
		"create a --locality-max 5",
		"list --force",
		"list x",
		"create a --bogus",
		"create a --state-max -1",
		"list --json=1",
		"show a --ek-cert dsa",
		"group create g --pcrs 24",
		"group create g --pcrs 1,,2",
		"group create g --pcrs 1,",
		"create a --user no-such-user-here",
		"create \xff",
		"create a --state-max 4294967296",
		"create a --uuid",
		"create a --swtpm /d",
		"import",
		"import a --swtpm",
		"import a --key",
	};
	struct ctl_args a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (parse(&a, wrong[i]) != EXIT_USAGE)
			fail_msg("accepted: %s", wrong[i]);
		json_decref(a.params);
	}
}

static void test_help_and_version(void **state)
{
	static const char *const lines[] = {"--help", "-h", "help", "help create", "create --help", "group create -h",
					    "group --help",  "help group"};
	struct ctl_args a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(parse(&a, lines[i]), EXIT_OK);
		assert_true(a.help);
		json_decref(a.params);
	}
	assert_int_equal(parse(&a, "--version"), EXIT_OK);
	assert_true(a.version);
	json_decref(a.params);
}

/* A manager that answers one call with these bytes and closes. */
static pid_t answer(const char *dir, const char *bytes, size_t n)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t pid;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", dir);
	unlink(sa.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 1), 0);
	pid = fork();
	if (pid == 0) {
		char request[4096];
		int fd = accept(listener, NULL, NULL);
		ssize_t r = recv(fd, request, sizeof(request), 0);

		_exit(r > 0 && send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : 1);
	}
	close(listener);
	return pid;
}

static int ask(const char *bytes, size_t n, struct ctl_error *e)
{
	char dir[] = "/tmp/test_ctl.XXXXXX";
	char path[64];
	json_t *params = json_object();
	json_t *reply = NULL;
	pid_t pid;
	int err;

	assert_non_null(mkdtemp(dir));
	pid = answer(dir, bytes, n);
	*e = (struct ctl_error){.status = EXIT_FAILED};
	err = client_call(&(struct ctl_target){.runtime_dir = dir}, "Status", params, NULL, 0, &reply, e);
	assert_true(err || json_is_object(reply));
	json_decref(reply);
	json_decref(params);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	unlink(path);
	rmdir(dir);
	return err ? e->status : EXIT_OK;
}

#define ERROR(name, code)                                                                                              \
	"{\"error\":\"org.vtpm.Manager." name "\",\"parameters\":{\"message\":\"m\",\"code\":" code "}}"

static void test_replies(void **state)
{
	static const struct {
		const char *text;
		int status;
	} replies[] = {
		{"{}", EXIT_OK},
		{"{\"parameters\":{\"a\":1}}", EXIT_OK},
		{"{\"parameters\":[]}", EXIT_FAILED},
		{"[]", EXIT_FAILED},
		{"", EXIT_FAILED},
		{"garbage", EXIT_FAILED},
		{"{\"a\":\"\xff\"}", EXIT_FAILED},
		{"{\"error\":\"x\"}", EXIT_FAILED},
		{ERROR("Failed", "77"), EXIT_FAILED},
		{ERROR("Failed", "-99999999999"), EXIT_FAILED},
		{ERROR("NotFound", "-6"), EXIT_NOT_FOUND},
		{ERROR("Exists", "-7"), EXIT_STATE},
		{ERROR("Denied", "-9"), EXIT_DENIED},
		{ERROR("Quarantined", "-23"), EXIT_QUARANTINED},
		{ERROR("Sealed", "-16"), EXIT_TPM},
		{ERROR("WrongState", "-21"), EXIT_STATE},
	};
	struct ctl_error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
		if (ask(replies[i].text, strlen(replies[i].text) + 1, &e) != replies[i].status)
			fail_msg("%s: %d", replies[i].text, e.status);
	}
	assert_int_equal(ask("{\"parameters\":", 14, &e), EXIT_UNREACHABLE); /* half a reply */
}

static void test_unreachable(void **state)
{
	struct ctl_error e = {0};
	json_t *params = json_object();
	json_t *reply;

	(void)state;
	assert_int_equal(client_call(&(struct ctl_target){.runtime_dir = "/nonexistent"}, "Status", params, NULL, 0, &reply, &e), ERR_CLOSED);
	assert_int_equal(e.status, EXIT_UNREACHABLE);
	assert_non_null(strstr(e.message, "/nonexistent/control.sock"));
	assert_non_null(strstr(e.message, "is vtpm-mgr running?"));
	json_decref(params);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_lines),	 cmocka_unit_test(test_wrong_command_lines),
		cmocka_unit_test(test_help_and_version), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_unreachable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
