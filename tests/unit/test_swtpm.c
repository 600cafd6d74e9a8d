/* SPDX-License-Identifier: BSD-2-Clause */
/* The command lines that libvirt, Proxmox and scripts pass to swtpm and swtpm_setup, and the file that holds a token. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util.h"
#include "vtpm-mgr/swtpm/channel.h"
#include "vtpm-mgr/swtpm/front.h"

#define ARGS_MAX 24

/* A command line as one text; the parsers cut their arguments, so each parse has a copy. */
struct line {
	char text[512];
	char *argv[ARGS_MAX + 1];
	int argc;
};

static void split(struct line *l, const char *text)
{
	char *save = NULL;

	snprintf(l->text, sizeof(l->text), "%s", text);
	memset(l->argv, 0, sizeof(l->argv));
	l->argc = 0;
	for (char *w = strtok_r(l->text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_in_range(l->argc, 0, ARGS_MAX - 1);
		l->argv[l->argc++] = w;
	}
}

static int serve_parse(const char *text, struct line *l, struct serve_options *o)
{
	char why[WHY_MAX + 1] = "";
	int err;

	split(l, text);
	err = serve_options_parse(l->argc, l->argv, o, why);
	assert_true(err == 0 || why[0]);
	return err;
}

static int setup_parse(const char *text, struct line *l, struct setup_options *o)
{
	char why[WHY_MAX + 1] = "";
	int err;

	split(l, text);
	err = setup_options_parse(l->argc, l->argv, o, why);
	assert_true(err == 0 || why[0]);
	return err;
}

/* libvirt 9.0 on Debian 12, word for word. */
static void test_libvirt_starts_it(void **state)
{
	struct serve_options o;
	struct line l;

	(void)state;
	assert_int_equal(serve_parse("socket --ctrl type=unixio,path=/run/libvirt/qemu/swtpm/1-web1-swtpm.sock,mode=0600 "
				     "--tpmstate dir=/var/lib/libvirt/swtpm/U/tpm2,mode=0600 "
				     "--log file=/var/log/swtpm/libvirt/qemu/web1-swtpm.log --terminate --tpm2",
				     &l, &o), 0);
	assert_string_equal(o.ctrl.path, "/run/libvirt/qemu/swtpm/1-web1-swtpm.sock");
	assert_int_equal(o.ctrl.mode, 0600);
	assert_string_equal(o.place.path, "/var/lib/libvirt/swtpm/U/tpm2");
	assert_false(o.place.is_file);
	assert_string_equal(o.log_path, "/var/log/swtpm/libvirt/qemu/web1-swtpm.log");
	assert_true(o.terminate && o.tpm2 && !o.daemon);
	assert_int_equal(o.ctrl.uid, -1);
	assert_int_equal(serve_parse("socket --print-capabilities", &l, &o), 0);
	assert_true(o.print_capabilities);
	assert_int_equal(serve_parse("socket --tpm2 --print-capabilities", &l, &o), 0);
}

static void test_proxmox_starts_it(void **state)
{
	struct serve_options o;
	struct line l;

	(void)state;
	assert_int_equal(serve_parse("socket --tpmstate backend-uri=file:///dev/vg/vm-100-disk-1,mode=0600 "
				     "--ctrl type=unixio,path=/var/run/qemu-server/100.swtpm,mode=0600 "
				     "--pid file=/var/run/qemu-server/100.swtpm.pid --terminate --daemon "
				     "--log file=/run/qemu-server/100-swtpm.log,level=1,prefix=[id=1] --tpm2",
				     &l, &o), 0);
	assert_true(o.place.is_file && o.daemon && o.terminate);
	assert_string_equal(o.place.path, "/dev/vg/vm-100-disk-1");
	assert_string_equal(o.pid_path, "/var/run/qemu-server/100.swtpm.pid");
	assert_string_equal(o.log_prefix, "[id=1]");
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,fd=7,terminate --pid fd=8 -d -r tss", &l, &o), 0);
	assert_int_equal(o.ctrl.fd, 7);
	assert_int_equal(o.pid_fd, 8);
	assert_true(o.terminate && o.daemon);
	assert_string_equal(o.runas, "tss");
}

/* As the manual pages and test suites of others write it. */
static void test_scripts_start_it(void **state)
{
	struct serve_options o;
	struct line l;

	(void)state;
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/t,mode=0666,uid=1,gid=2,disconnect "
				     "--ctrl type=unixio,path=/t.ctrl --flags not-need-init,startup-clear --daemon "
				     "--locality reject-locality-4", &l, &o), 0);
	assert_true(o.has_server && o.has_ctrl && o.once && o.init && o.reject_locality_4);
	assert_string_equal(o.server.path, "/t");
	assert_string_equal(o.ctrl.path, "/t.ctrl");
	assert_int_equal(o.server.mode, 0666);
	assert_int_equal(o.server.uid, 1);
	assert_int_equal(o.server.gid, 2);
	assert_int_equal(o.ctrl.uid, -1);
	assert_int_equal(o.startup, STARTUP_CLEAR);
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --server type=unixio,fd=5", &l, &o), 0);
	assert_true(o.has_server && !o.has_ctrl && !o.once && !o.init && !o.reject_locality_4);
	assert_int_equal(o.server.fd, 5);
	assert_int_equal(o.server.mode, 0770);
	assert_int_equal(o.ctrl.fd, -1);
	assert_int_equal(o.startup, STARTUP_NONE);
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/t --flags startup-state", &l, &o), 0);
	assert_true(o.init && o.startup == STARTUP_STATE);
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/t --flags startup-none", &l, &o), 0);
	assert_true(!o.init && o.startup == STARTUP_NONE);
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/t --flags startup-none,not-need-init",
				     &l, &o), 0);
	assert_true(o.init && o.startup == STARTUP_NONE);
	assert_int_equal(serve_parse("socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --flags not-need-init", &l, &o), 0);
}

static void test_what_serving_refuses(void **state)
{
	static const char *const bad[] = {
		"socket --tpmstate dir=/s --ctrl type=unixio,path=/p", /* TPM 1.2 */
		"socket --tpm2 --ctrl type=unixio,path=/p",
		"socket --tpm2 --tpmstate dir=/s",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=tcp,port=1",
		"socket --tpm2 --tpmstate dir=/s --ctrl path=/p",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p,fd=3",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p,path=/q",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p,mode=0888",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p,mode=77777",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p,uid=-1",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,fd=99999999999",
		"socket --tpm2 --tpmstate dir=/s --ctrl ,",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p,terminate=1",
		"socket --tpm2 --tpmstate dir=/s,backend-uri=dir:///s --ctrl type=unixio,path=/p",
		"socket --tpm2 --tpmstate backend-uri=/s --ctrl type=unixio,path=/p",
		"socket --tpm2 --tpmstate backend-uri=file:// --ctrl type=unixio,path=/p",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --key file=/k",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --migration-key pwdfd=3",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --migration incoming",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --server type=tcp,port=1",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p,port=1",
		"socket --tpm2 --tpmstate dir=/s --server path=/p", /* TCP, if nothing is said */
		"socket --tpm2 --tpmstate dir=/s --server type=unixio",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p,fd=3",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,clientfd=3",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p,disconnect=1",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p,mode=9",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --flags startup-deactivated",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --flags startup-clear,startup-state",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --flags frob",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --flags not-need-init=1",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --locality allow-set-locality",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --locality frob",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --locality reject-locality-4", /* QEMU is not read */
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --port 2321",
		"socket --tpm2 --tpmstate dir=/s --server type=unixio,path=/p --fd 3",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --frob",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p extra",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --log file=/l,fd=3",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --pid",
		"socket --tpm2 --tpmstate dir=/s --ctrl type=unixio,path=/p --pid file=/p,fd=3",
	};
	struct serve_options o;
	struct line l;

	(void)state;
	assert_int_equal(unsetenv("TPM_PATH"), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (serve_parse(bad[i], &l, &o) != ERR_INVAL)
			fail_msg("taken: %s", bad[i]);
}

static void test_libvirt_sets_it_up(void **state)
{
	static const uint8_t uuid[UUID_LEN] = { 0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x43, 0x33, 0x84, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55 };
	static const uint8_t none[UUID_LEN];
	struct setup_options o;
	struct line l;

	(void)state;
	assert_int_equal(setup_parse("swtpm_setup --tpm2 --tpm-state /var/lib/libvirt/swtpm/U/tpm2 "
				     "--vmid web1:11111111-2222-4333-8444-555555555555 --logfile /l --createek --create-ek-cert "
				     "--create-platform-cert --lock-nvram --not-overwrite", &l, &o), 0);
	assert_string_equal(o.machine.name, "web1");
	assert_memory_equal(o.machine.machine, uuid, UUID_LEN);
	assert_true(o.not_overwrite && o.platform_cert && !o.overwrite && !o.reconfigure);
	assert_int_equal(setup_parse("swtpm_setup --tpm2 --tpm-state dir:///s --vmid a:b --overwrite --pcr-banks sha256,sha384 --logfile /l", &l, &o), 0);
	assert_string_equal(o.machine.name, "a:b");
	assert_memory_equal(o.machine.machine, none, UUID_LEN);
	assert_string_equal(o.place.path, "/s");
	assert_int_equal(setup_parse("swtpm_setup --tpm2 --tpmstate file:///v --createek --create-ek-cert --create-platform-cert "
				     "--lock-nvram --config /etc/swtpm_setup.conf --runas 0 --not-overwrite --ecc", &l, &o), 0);
	assert_true(o.place.is_file);
	assert_string_equal(o.machine.name, "");
	assert_int_equal(setup_parse("swtpm_setup --tpm-state /s --pcr-banks - --reconfigure --tpm2", &l, &o), 0);
	assert_true(o.reconfigure);
	assert_int_equal(setup_parse("swtpm_setup --print-capabilities", &l, &o), 0);
}

static void test_what_setting_up_refuses(void **state)
{
	static const char *const bad[] = {
		"swtpm_setup --tpm-state /s",
		"swtpm_setup --tpm2",
		"swtpm_setup --tpm2 --tpm-state dir://",
		"swtpm_setup --tpm2 --tpm-state /s --pcr-banks sha1",
		"swtpm_setup --tpm2 --tpm-state /s --pcr-banks sha256,sha512",
		"swtpm_setup --tpm2 --tpm-state /s --pcr-banks sha2560",
		"swtpm_setup --tpm2 --tpm-state /s --rsa-keysize 3072",
		"swtpm_setup --tpm2 --tpm-state /s --keyfile /k",
		"swtpm_setup --tpm2 --tpm-state /s --pwdfile-fd 4 --cipher aes-256-cbc",
		"swtpm_setup --tpm2 --tpm-state /s --allow-signing",
		"swtpm_setup --tpm2 --tpm-state /s --take-ownership",
		"swtpm_setup --tpm2 --tpm-state /s --frob",
		"swtpm_setup --tpm2 --tpm-state /s extra",
	};
	struct setup_options o;
	struct line l;
	char *argv[] = { (char[]){ "swtpm_setup" }, (char[]){ "--vmid" }, NULL, NULL };
	char name[FRONT_NAME_MAX + 2], why[WHY_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (setup_parse(bad[i], &l, &o) != ERR_INVAL)
			fail_msg("taken: %s", bad[i]);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	argv[2] = name;
	assert_int_equal(setup_options_parse(3, argv, &o, why), ERR_INVAL);
}

/* --- the token's place --- */

static char dir[32];

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb, (void)type, (void)ftw;
	return remove(path);
}

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/test_swtpm.XXXXXX");
	*state = mkdtemp(dir);
	return *state ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put_file(const char *path, const void *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, p, n), n);
	assert_int_equal(close(fd), 0);
}

static void test_token_in_a_directory(void **state)
{
	struct place p = { .path = dir };
	struct front_claim in = { .uuid = { 1, 2 }, .token = { 0xfe, 3 } }, out;
	char why[WHY_MAX + 1], path[64], text[256];
	struct stat sb;
	int fd;
	ssize_t n;

	(void)state;
	snprintf(path, sizeof(path), "%s/vtpm-token", dir);
	assert_int_equal(place_read(&p, &out, why), ERR_NOTFOUND);
	assert_int_equal(place_write(&p, &in, why), 0);
	assert_int_equal(place_read(&p, &out, why), 0);
	assert_memory_equal(in.uuid, out.uuid, UUID_LEN);
	assert_memory_equal(in.token, out.token, FRONT_TOKEN_LEN);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text));
	close(fd);
	for (ssize_t cut = 0; cut < n; cut++) { /* no part of it is one, and none with a byte more */
		put_file(path, text, (size_t)cut);
		assert_int_equal(place_read(&p, &out, why), ERR_AUTH);
	}
	text[n] = '\n';
	put_file(path, text, (size_t)n + 1);
	assert_int_equal(place_read(&p, &out, why), ERR_AUTH);
	place_forget(&p);
	assert_int_equal(place_read(&p, &out, why), ERR_NOTFOUND);
	snprintf(path, sizeof(path), "%s/tpm2-00.permall", dir);
	put_file(path, "x", 1);
	assert_int_equal(place_read(&p, &out, why), ERR_EXISTS);
}

static void test_token_in_a_file(void **state)
{
	static const uint8_t zeros[4096];
	char why[WHY_MAX + 1], path[64];
	struct place p = { .path = path, .is_file = true };
	struct front_claim in = { .uuid = { 9 }, .token = { 7 } }, out;
	struct stat sb;

	(void)state;
	snprintf(path, sizeof(path), "%s/volume", dir);
	assert_int_equal(place_read(&p, &out, why), ERR_NOTFOUND);
	put_file(path, zeros, sizeof(zeros)); /* a volume has its size before and after */
	assert_int_equal(place_read(&p, &out, why), ERR_NOTFOUND);
	assert_int_equal(place_write(&p, &in, why), 0);
	assert_int_equal(place_read(&p, &out, why), 0);
	assert_memory_equal(in.token, out.token, FRONT_TOKEN_LEN);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, sizeof(zeros));
	place_forget(&p);
	assert_int_equal(place_read(&p, &out, why), ERR_NOTFOUND);
	put_file(path, "somebody else's", 15);
	assert_int_equal(place_read(&p, &out, why), ERR_EXISTS);
}

static void test_shutdown_is_told(void **state)
{
	static const uint8_t shutdown[] = { 0, 0, 0, 3 }, init[] = { 0, 0, 0, 2 };

	(void)state;
	assert_true(channel_is_shutdown(shutdown, 4));
	assert_false(channel_is_shutdown(shutdown, 3));
	assert_false(channel_is_shutdown(init, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_libvirt_starts_it),
		cmocka_unit_test(test_proxmox_starts_it),
		cmocka_unit_test(test_scripts_start_it),
		cmocka_unit_test(test_what_serving_refuses),
		cmocka_unit_test(test_libvirt_sets_it_up),
		cmocka_unit_test(test_what_setting_up_refuses),
		cmocka_unit_test_setup_teardown(test_token_in_a_directory, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_token_in_a_file, make_dir, remove_dir),
		cmocka_unit_test(test_shutdown_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
