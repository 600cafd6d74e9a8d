/* SPDX-License-Identifier: BSD-2-Clause */
/* vtpm-launch without a guest: what of QEMU's command line and of xl's configuration is taken and refused, and what is measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

/* --- QEMU's command line --- */

#define WORDS_MAX 24

/* Words between spaces; "" ends. */
static int parse(struct qemu_words *q, char *text, struct ctl_error *e)
{
	char *argv[WORDS_MAX], *word;
	int argc = 0;

	*e = (struct ctl_error){0};
	while ((word = strsep(&text, " ")) && argc < WORDS_MAX)
		argv[argc++] = word;
	return qemu_words_parse(q, argc, argv, e);
}

static void what_qemu_boots_is_found(void **state)
{
	char text[] = "qemu-system-x86_64 -M q35 --kernel k -nodefaults -initrd i -append a=b -dtb d -bios f -name x";
	struct qemu_words q;
	struct ctl_error e;

	(void)state;
	assert_int_equal(parse(&q, text, &e), 0);
	assert_string_equal(q.argv[q.kernel], "k");
	assert_string_equal(q.argv[q.initrd], "i");
	assert_string_equal(q.argv[q.append], "a=b");
	assert_string_equal(q.argv[q.dtb], "d");
	assert_string_equal(q.argv[q.bios], "f");
	assert_int_equal(q.pflash, 0);
	qemu_words_free(&q);
}

static void a_read_only_flash_is_the_firmware(void **state)
{
	char text[] = "q -drive if=pflash,format=raw,unit=1,file=vars -drive if=pflash,unit=0,file=/a/b,readonly=on,format=raw "
		      "-drive if=virtio,readonly=on,file=disk";
	char first[] = "q -drive file=/c,if=pflash,readonly=on,format=raw -drive if=pflash,format=qcow2,file=vars";
	struct qemu_words q;
	struct ctl_error e;

	(void)state;
	assert_int_equal(parse(&q, text, &e), 0);
	assert_string_equal(q.pflash_before, "if=pflash,unit=0,file=");
	assert_string_equal(q.pflash_file, "/a/b");
	assert_string_equal(q.pflash_after, ",readonly=on,format=raw");
	qemu_words_free(&q);
	assert_int_equal(parse(&q, first, &e), 0);
	assert_string_equal(q.pflash_file, "/c");
	assert_string_equal(q.pflash_before, "file=");
	qemu_words_free(&q);
}

static const char *const unmeasured[] = {
	"q -kernel",
	"q -kernel a -kernel b",
	"q -kernel a --kernel b",
	"q -name -kernel a", /* -kernel may be the name */
	"q -option-that-is-new -kernel a",
	"q -append x -append y -kernel k",
	"q -initrd i",
	"q -append a",
	"q -machine q35,kernel=a",
	"q -M kernel=a",
	"q --machine pc,pflash0=x",
	"q -machine firmware=a",
	"q -machine {\"type\":\"q35\",\"initrd\":\"x\"}",
	"q -machine {\"type\":\"q35\",\"\\u0069nitrd\":\"x\"}",
	"q -device loader,file=a",
	"q -device driver=loader,file=a",
	"q -device {\"driver\":\"loader\"}",
	"q -device guest-loader,kernel=a",
	"q -device virtio-net-pci,romfile=a",
	"q -global virtio-net-pci.romfile=a",
	"q -fw_cfg name=opt/a,file=b",
	/* names of SeaBIOS's own: a menu, an order, an option ROM */
	"q -fw_cfg name=etc/show-boot-menu,string=1",
	"q -fw_cfg etc/show-boot-menu,string=1",
	"q -fw_cfg name=opt/a,name=bootorder,string=b",
	"q -fw_cfg string=b,name=genroms/a",
	"q -fw_cfg opt/a,name=etc/b,string=c",
	"q -smbios file=a",
	"q -acpitable file=a",
	"q -option-rom a",
	"q -readconfig a",
	"q -loadvm a",
	"q -incoming defer",
	"q -pflash a",
	"q -mtdblock a",
	"q -set device.a.b=c",
	"q -bios a -drive if=pflash,readonly=on,file=b",
	"q -drive if=pflash,readonly=on,file=a -drive if=pflash,readonly=on,file=b",
	"q -drive if=pflash,readonly=on",
	"q -drive if=pflash,readonly=on,file=a,,b",
	"q -drive if=pflash,readonly=on,file=a,file=b",
	/* the first flash is what the machine boots, whatever -bios says */
	"q -drive if=pflash,format=raw,file=a",
	"q -drive if=pflash,format=raw,unit=0,file=a",
	"q -drive if=pflash,format=raw,unit=0,file=a -drive if=pflash,unit=1,readonly=on,format=raw,file=b",
	"q -drive if=pflash,format=raw,index=0,file=a",
	"q -drive if=pflash,format=raw,readonly,file=a",
	"q -drive if=pflash,format=raw,readonly=on,unit=1,file=a",
	"q -drive if=pflash,format=raw,unit=1,unit=0,file=a",
	"q -drive if=pflash,format=raw,readonly=on,if=none,file=a",
	/* what else its bytes could say is elsewhere */
	"q -drive if=pflash,readonly=on,file=a",
	"q -drive if=pflash,readonly=on,format=qcow2,file=a",
	"q -drive if=pflash,readonly=on,format=raw,file=a,file.filename=b",
	"q -global cfi.pflash01.drive=a",
	/* QEMU takes strings in apostrophes */
	"q -device {'driver':'loader','file':'a'}",
	"q -device {\"driver\":\"e1000\",\"romfile\":\"a\"}",
	"q -object igvm-cfg,id=a,file=b",
	"q -object {\"qom-type\":\"igvm-cfg\"}",
	"q -smbios type=11,path=a",
	"q -icount shift=auto,rr=replay,rrfile=a,rrsnapshot=b",
	"q -machine q35,boot.menu=on",
	"q -machine q35,shim=a",
	"q -shim a",
	"q -L a",
	"q -plugin a",
	"q -gdb tcp::1",
	"q -s",
	"q -kernel k -boot order=c,menu=on",
	"q -boot menu=on -kernel k",
	/* a flag that is new, and then what would be taken for an option's value */
	"q -flag-that-is-new -name -kernel a",
	"q -name", /* words of ours follow */
};

static void what_would_boot_unmeasured_is_refused(void **state)
{
	struct qemu_words q;
	struct ctl_error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unmeasured); i++) {
		char text[256];

		snprintf(text, sizeof(text), "%s", unmeasured[i]);
		if (parse(&q, text, &e) != ERR_INVAL)
			fail_msg("taken: %s", unmeasured[i]);
		assert_int_equal(e.status, EXIT_USAGE);
		qemu_words_free(&q);
	}
}

static void what_boots_nothing_else_is_taken(void **state)
{
	static const char *const lines[] = {
		"q -device {\"driver\":\"virtio-net-pci\",\"netdev\":\"n\"}",
		"q -object {\"qom-type\":\"rng-random\",\"id\":\"r\"}",
		"q -object memory-backend-memfd,id=m,size=1G",
		"q -boot menu=on",
		"q -kernel k -boot order=c",
		"q -smbios type=1,manufacturer=a",
		"q -fw_cfg name=opt/org.a,string=b",
		"q -fw_cfg opt/org.a,string=b",
		"q -icount shift=auto",
		"q -append -x -kernel k",
		"q -serial - -monitor none",
		"q -machine q35,kernel_irqchip=on",
	};
	struct qemu_words q;
	struct ctl_error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		char text[256];

		snprintf(text, sizeof(text), "%s", lines[i]);
		if (parse(&q, text, &e) != 0)
			fail_msg("refused: %s: %s", lines[i], e.message);
		qemu_words_free(&q);
	}
}

static void more_words_than_there_is_room_for_are_refused(void **state)
{
	static char word[] = "x";
	char *argv[QEMU_WORDS_MAX + 1];
	struct ctl_error e = {0};
	struct qemu_words q;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(argv); i++)
		argv[i] = word;
	assert_int_equal(qemu_words_parse(&q, QEMU_WORDS_MAX + 1, argv, &e), ERR_INVAL);
	assert_int_equal(qemu_words_parse(&q, QEMU_WORDS_MAX, argv, &e), 0);
	assert_int_equal(qemu_words_parse(&q, 0, argv, &e), ERR_INVAL);
}

/* --- xl's configuration --- */

#define UUID	"9e4b1a7e-51f1-4e6d-8c2c-6d6a0c1f1a11"
#define C_INFO	"\"c_info\": {\"type\": \"pv\", \"name\": \"web1\", \"uuid\": \"f6486f0e-d14e-4d9f-918e-609c4ddba9ef\"}"
#define B_INFO	"\"b_info\": {\"max_vcpus\": 1, \"kernel\": \"/k\", \"ramdisk\": \"/r\", \"cmdline\": \"a=b\", \"type.pv\": {}}"
#define VTPMS	"\"vtpms\": [{\"backend_domname\": \"vtpmmgr\", \"devid\": 0, \"uuid\": \"" UUID "\"}]"

static void a_configuration_is_taken(void **state)
{
	struct ctl_error e = {0};
	struct xl_config c;

	(void)state;
	assert_int_equal(xl_config_parse(&c, "{" C_INFO "," B_INFO "," VTPMS "}", false, &e), 0);
	assert_string_equal(c.name, "web1");
	assert_string_equal(c.kernel, "/k");
	assert_string_equal(c.ramdisk, "/r");
	assert_string_equal(c.cmdline, "a=b");
	assert_string_equal(c.uuid, UUID);
	assert_string_equal(c.backend, "vtpmmgr");
	assert_string_equal(c.canonical, "{\"b_info\":{\"max_vcpus\":1,\"type.pv\":{}},\"c_info\":{\"name\":\"web1\",\"type\":\"pv\"},"
					 "\"vtpms\":[{\"backend_domname\":\"vtpmmgr\",\"devid\":0,\"uuid\":\"" UUID "\"}]}");
	xl_config_free(&c);
}

static void what_is_absent_has_its_default(void **state)
{
	struct ctl_error e = {0};
	struct xl_config c;

	(void)state;
	assert_int_equal(xl_config_parse(&c, "{" C_INFO ",\"b_info\": {\"kernel\": \"/k\"}, \"vtpms\": [{\"uuid\": \"" UUID "\"}]}", false, &e), 0);
	assert_null(c.ramdisk);
	assert_string_equal(c.cmdline, "");
	assert_string_equal(c.backend, "0");
	xl_config_free(&c);
}

static void a_configuration_that_cannot_be_measured_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"null",
		"[]",
		"{}",
		"{" C_INFO "," B_INFO "}",
		"{" C_INFO "," VTPMS "}",
		"{" B_INFO "," VTPMS "}",
		"{" C_INFO "," C_INFO "," B_INFO "," VTPMS "}",
		"{" C_INFO "," B_INFO ", \"vtpms\": []}",
		"{" C_INFO "," B_INFO ", \"vtpms\": {\"uuid\": \"" UUID "\"}}",
		"{" C_INFO "," B_INFO ", \"vtpms\": [{\"uuid\": \"" UUID "\"}, {\"uuid\": \"" UUID "\"}]}",
		"{" C_INFO "," B_INFO ", \"vtpms\": [{\"uuid\": \"web1\"}]}",
		"{" C_INFO "," B_INFO ", \"vtpms\": [{\"uuid\": 1}]}",
		"{" C_INFO "," B_INFO ", \"vtpms\": [{\"uuid\": \"" UUID "\", \"backend_domname\": 0}]}",
		"{\"c_info\": {\"type\": \"hvm\", \"name\": \"web1\"}, " B_INFO "," VTPMS "}",
		"{\"c_info\": {\"name\": \"web1\"}, " B_INFO "," VTPMS "}",
		"{\"c_info\": {\"type\": \"pv\", \"name\": \"-f\"}, " B_INFO "," VTPMS "}",
		"{\"c_info\": {\"type\": \"pv\", \"name\": \"\"}, " B_INFO "," VTPMS "}",
		"{\"c_info\": {\"type\": \"pv\", \"name\": [\"a\"]}, " B_INFO "," VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"cmdline\": \"a\"}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"\"}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"ramdisk\": 1}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"cmdline\": null}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"bootloader\": \"pygrub\"}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"type.pv\": {\"kernel\": \"/other\"}}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"type.pv\": {\"bootloader\": \"pygrub\"}}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"type.pvh\": {\"pvshim\": \"True\"}}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": {\"kernel\": \"/k\", \"device_tree\": \"/d\"}, " VTPMS "}",
		"{" C_INFO ", \"b_info\": [\"kernel\"], " VTPMS "}",
		"{" C_INFO "," B_INFO "," VTPMS ", \"on_soft_reset\": \"restart\"}",
		"{" C_INFO "," B_INFO "," VTPMS ", \"on_soft_reset\": \"rename-restart\"}",
		"{" C_INFO "," B_INFO "," VTPMS "} rest",
		"{" C_INFO "," B_INFO "," VTPMS,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct ctl_error e = {0};
		struct xl_config c;

		if (xl_config_parse(&c, texts[i], false, &e) != ERR_INVAL)
			fail_msg("taken: %s", texts[i]);
		assert_null(c.canonical);
	}
}

/* --- files --- */

static int file_of(const char *text)
{
	int fd = memfd_create("test", 0);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void read_image(struct image *i, const char *text)
{
	struct ctl_error e = {0};
	char path[64];
	int fd = file_of(text);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(image_read(i, path, IMAGE_MAX, &e), 0);
	/* What the file is now does not matter. */
	assert_int_equal(pwrite(fd, "XXXX", 4, 0), 4);
	close(fd);
}

static void a_copy_is_sealed(void **state)
{
	char byte = 'X', got[8] = "";
	struct image i;
	int fd;

	(void)state;
	read_image(&i, "kernel");
	assert_int_equal(i.size, 6);
	assert_int_equal(pread(i.fd, got, sizeof(got), 0), 6);
	assert_string_equal(got, "kernel");
	assert_int_equal(write(i.fd, &byte, 1), -1);
	assert_int_equal(ftruncate(i.fd, 1), -1);
	assert_int_equal(fcntl(i.fd, F_GETFD), 0); /* who is executed inherits it */
	fd = open(i.path, O_RDWR);
	assert_true(fd < 0 || write(fd, &byte, 1) < 0);
	if (fd >= 0)
		close(fd);
	image_close(&i);
	assert_int_equal(i.fd, -1);
}

static void a_file_that_is_too_long_or_missing_is_refused(void **state)
{
	struct ctl_error e = {0};
	struct image i;
	char path[64];
	int fd = file_of("kernel");

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(image_read(&i, path, 5, &e), ERR_RANGE);
	assert_int_equal(i.fd, -1);
	assert_int_equal(image_read(&i, path, 6, &e), 0);
	image_close(&i);
	assert_int_equal(image_read(&i, "/nonexistent", 6, &e), ERR_NOTFOUND);
	assert_int_equal(e.status, EXIT_NOT_FOUND);
	close(fd);
}

/* --- events --- */

static struct events events, others;

static void make(struct events *l, struct measured m, char digest[static 65])
{
	static uint8_t log[LAUNCH_LOG_MAX];
	struct ctl_error e = {0};
	size_t size;

	assert_int_equal(events_make(l, &m, &e), 0);
	assert_int_equal(events_log(l, log, &size, digest), 0);
	assert_int_equal(launch_log_check(log, size, l->startup), 0);
}

static void assert_event(size_t i, uint32_t pcr, uint32_t type, const char *hashed)
{
	struct digests d;

	assert_in_range(i, 0, events.n - 1);
	assert_int_equal(events.list[i].pcr, pcr);
	assert_int_equal(events.list[i].type, type);
	if (!hashed)
		return;
	assert_int_equal(digests_of(hashed, strlen(hashed), &d), 0);
	for (unsigned bank = 0; bank < LAUNCH_BANKS; bank++)
		assert_memory_equal(events.list[i].digest[bank], d.of[bank], launch_digest_size(bank));
}

static void a_boot_is_measured_in_order(void **state)
{
	struct image kernel, initrd, firmware;
	struct measured m = {.kernel = &kernel, .initrd = &initrd, .firmware = &firmware, .command_line = "a=b", .config = "[]", .config_len = 2};
	char digest[65];

	(void)state;
	read_image(&kernel, "the kernel");
	read_image(&initrd, "the initrd");
	read_image(&firmware, "the firmware");
	make(&events, m, digest);
	assert_true(events.startup);
	assert_int_equal(events.n, 16);
	assert_event(0, 0, 7, NULL);
	assert_memory_equal(events.list[0].data, "vtpm-launch ", 12);
	assert_event(1, 0, 8, NULL);
	assert_event(2, 0, 0x8000000a, "the firmware");
	assert_event(3, 1, 0xa, "[]");
	for (uint32_t pcr = 0; pcr < 8; pcr++)
		assert_event(4 + pcr, pcr, 4, NULL);
	assert_event(12, 4, 0xc, "the kernel");
	assert_event(13, 8, 0xd, "a=b");
	assert_string_equal((const char *)events.list[13].data, "kernel_cmdline: a=b");
	assert_event(14, 9, 0xd, "the kernel");
	assert_event(15, 9, 0xd, "the initrd");
	image_close(&kernel);
	image_close(&initrd);
	image_close(&firmware);
}

/* One byte of each, and the launch is another. */
static void a_byte_makes_another_launch(void **state)
{
	struct image kernel, other;
	const struct measured m = {.kernel = &kernel, .command_line = "a=b", .config = "[]", .config_len = 2};
	struct measured n;
	char digest[65], another[65];

	(void)state;
	read_image(&kernel, "the kernel");
	read_image(&other, "the kernal");
	make(&events, m, digest);
	make(&others, m, another);
	assert_string_equal(digest, another);
	n = m;
	n.command_line = "a=c";
	make(&others, n, another);
	assert_string_not_equal(digest, another);
	n = m;
	n.config = "{}";
	make(&others, n, another);
	assert_string_not_equal(digest, another);
	n = m;
	n.kernel = &other;
	make(&others, n, another);
	assert_string_not_equal(digest, another);
	n = m;
	n.initrd = &other;
	make(&others, n, another);
	assert_string_not_equal(digest, another);
	image_close(&kernel);
	image_close(&other);
}

/* What an event cannot show is in its digest all the same. */
static void the_end_of_a_long_text_is_measured(void **state)
{
	static char line[4000], config[4000];
	struct image kernel;
	struct measured m = {.kernel = &kernel, .command_line = line, .config = config, .config_len = sizeof(config)};
	char digest[65], another[65];

	(void)state;
	read_image(&kernel, "the kernel");
	memset(line, 'a', sizeof(line) - 1);
	memset(config, 'b', sizeof(config));
	make(&events, m, digest);
	assert_int_equal(events.list[2].size, LAUNCH_DATA_MAX);
	line[sizeof(line) - 2] = 'b';
	make(&others, m, another);
	assert_string_not_equal(digest, another);
	line[sizeof(line) - 2] = 'a';
	config[sizeof(config) - 1] = 'a';
	make(&others, m, another);
	assert_string_not_equal(digest, another);
	image_close(&kernel);
}

/* Everything is in the one event that comes before the firmware. */
static void firmware_that_measures_has_one_event_before_it(void **state)
{
	struct image kernel, firmware;
	struct measured m = {.firmware = &firmware, .config = "[]", .config_len = 2, .self_measuring = true};
	char digest[65], another[65];

	(void)state;
	read_image(&kernel, "the kernel");
	read_image(&firmware, "the firmware");
	make(&events, m, digest);
	assert_false(events.startup);
	assert_int_equal(events.n, 1);
	assert_event(0, 0, 7, NULL);
	assert_non_null(memmem(events.list[0].data, events.list[0].size, "\nfirmware sha256 ", 17));
	m.kernel = &kernel;
	make(&others, m, another);
	assert_string_not_equal(digest, another);
	image_close(&kernel);
	image_close(&firmware);
}

static void events_beyond_the_bounds_are_refused(void **state)
{
	static uint8_t data[LAUNCH_DATA_MAX + 1];
	size_t n = 0;

	(void)state;
	events_init(&events);
	assert_int_equal(events_add_data(&events, 1, 5, data, LAUNCH_DATA_MAX + 1), ERR_RANGE);
	while (events_add_data(&events, 1, 5, data, 1) == 0)
		n++;
	assert_int_equal(n, LAUNCH_EVENTS_MAX);
	events_init(&events);
	for (n = 0; events_add_data(&events, 1, 5, data, LAUNCH_DATA_MAX) == 0;)
		n++;
	assert_int_equal(n, LAUNCH_LOG_MAX / LAUNCH_DATA_MAX);
}

/* --- how a domain ends --- */

#define LIST(state, reason)                                                                                                                    \
	"Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label\n"                                                                         \
	"web1 7 160 1 " state " 12.3 5761b7d3-f18b-4927-890c-5cab56dca4ae " reason " -\n"

static void ends_of_a_domain(void **state)
{
	static const struct {
		const char *list;
		bool ended;
		size_t end;
	} cases[] = {
		{LIST("r-----", "-"), false, XL_ENDS},
		{LIST("-b----", "-"), false, XL_ENDS},
		{LIST("---s--", "0"), true, 0},
		{LIST("---s--", "1"), true, 1},
		{LIST("---s--", "2"), false, XL_ENDS}, /* it is being saved */
		{LIST("---sc-", "3"), true, 2},
		{LIST("---s--", "4"), true, 3},
		{LIST("---s--", "9"), true, XL_ENDS},
		{"Name ID\n", true, XL_ENDS},
		{"", true, XL_ENDS},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t end = 77;

		assert_int_equal(xl_domain_has_ended(cases[i].list, &end), cases[i].ended);
		assert_int_equal(end, cases[i].end);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_qemu_boots_is_found),
		cmocka_unit_test(a_read_only_flash_is_the_firmware),
		cmocka_unit_test(what_would_boot_unmeasured_is_refused),
		cmocka_unit_test(what_boots_nothing_else_is_taken),
		cmocka_unit_test(more_words_than_there_is_room_for_are_refused),
		cmocka_unit_test(a_configuration_is_taken),
		cmocka_unit_test(what_is_absent_has_its_default),
		cmocka_unit_test(a_configuration_that_cannot_be_measured_is_refused),
		cmocka_unit_test(ends_of_a_domain),
		cmocka_unit_test(a_copy_is_sealed),
		cmocka_unit_test(a_file_that_is_too_long_or_missing_is_refused),
		cmocka_unit_test(a_boot_is_measured_in_order),
		cmocka_unit_test(a_byte_makes_another_launch),
		cmocka_unit_test(the_end_of_a_long_text_is_measured),
		cmocka_unit_test(firmware_that_measures_has_one_event_before_it),
		cmocka_unit_test(events_beyond_the_bounds_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
