/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event log's parser against logs that lie, the hash of EFI programs, and what GRUB measures. That all of it is what
 * firmware and GRUB really do is shown by the lab (tests/lab/host).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "lib/util.h"
#include "tests/unit/event_log.h"
#include "vtpm-mgr/predict/authenticode.h"
#include "vtpm-mgr/predict/predict.h"

/* ---- event logs ---- */

static void extend(uint8_t pcr[static 32], const void *data, size_t n)
{
	uint8_t both[64];

	memcpy(both, pcr, 32);
	sha256(data, n, both + 32);
	sha256(both, sizeof(both), pcr);
}

static void test_replay(void **state)
{
	uint8_t want[32] = {0}, pcr[EVENTLOG_PCRS][32];
	struct log l;
	uint32_t seen;

	(void)state;
	log_begin(&l);
	log_event(&l, 4, EV_SEPARATOR, "abcd", 4, NULL);
	log_event(&l, 4, 3, "not extended", 12, NULL);
	log_event(&l, 23, EV_IPL, "x", 1, NULL);
	log_event(&l, 4, EV_IPL, "efgh", 4, NULL);
	CHECK(eventlog_replay(l.mem, l.b.len, pcr, &seen));
	extend(want, "abcd", 4);
	extend(want, "efgh", 4);
	assert_memory_equal(pcr[4], want, 32);
	assert_int_equal(seen, 1u << 4 | 1u << 23);
	assert_memory_equal(pcr[5], (uint8_t[32]){0}, 32);
}

/* Firmware that was started at locality 3 has PCR 0 begin with a 3. */
static void test_startup_locality(void **state)
{
	uint8_t want[32] = {[31] = 3}, pcr[EVENTLOG_PCRS][32];
	struct log l;
	uint32_t seen;

	(void)state;
	log_begin(&l);
	log_event(&l, 0, 3, "StartupLocality\0\3", 17, NULL);
	log_event(&l, 0, EV_SEPARATOR, "abcd", 4, NULL);
	CHECK(eventlog_replay(l.mem, l.b.len, pcr, &seen));
	extend(want, "abcd", 4);
	assert_memory_equal(pcr[0], want, 32);
}

/* However it is cut, it is read to its end or refused; a log without its last events is shorter, not damaged. */
static void test_cut_logs(void **state)
{
	uint8_t pcr[EVENTLOG_PCRS][32];
	size_t head, first, whole = 0;
	struct log l;
	uint32_t seen;

	(void)state;
	log_begin(&l);
	head = l.b.len;
	log_event(&l, 4, EV_SEPARATOR, "abcd", 4, NULL);
	first = l.b.len;
	log_event(&l, 4, EV_IPL, "efgh", 4, NULL);
	for (size_t n = 0; n <= l.b.len; n++) {
		uint8_t *copy = malloc(n ? n : 1); /* so that a sanitizer sees what is read beyond */
		int r;

		memcpy(copy, l.mem, n);
		r = eventlog_replay(copy, n, pcr, &seen);
		assert_int_equal(r, n == head || n == first || n == l.b.len ? 0 : ERR_PROTO);
		whole += r == 0;
		free(copy);
	}
	assert_int_equal(whole, 3);
}

static void expect_bad(const struct log *l)
{
	uint8_t pcr[EVENTLOG_PCRS][32];
	uint32_t seen;

	assert_int_equal(eventlog_replay(l->mem, l->b.len, pcr, &seen), ERR_PROTO);
}

static void test_lying_logs(void **state)
{
	static const struct {
		size_t at; /* from the start of the first event behind the header */
		uint8_t value;
		const char *why;
	} lies[] = {
		{0, 24, "there is no such PCR"},	{3, 0x80, "nor that"},
		{8, 3, "more digests than there are"},	{11, 0xff, "many more"},
		{8, 1, "no SHA-256 among them"},	{12, 0x0c, "a bank that was not announced"},
		{71, 0xff, "an event that is longer than the log"},
	};
	size_t head;
	struct log l;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		log_begin(&l);
		head = l.b.len;
		log_event(&l, 4, EV_SEPARATOR, "abcd", 4, NULL);
		l.mem[head + lies[i].at] = lies[i].value;
		print_message("%s\n", lies[i].why);
		expect_bad(&l);
	}
	for (size_t i = 0; i < 16 + 8 + 4 + 8 + 1; i++) { /* the first event: signature, numbers of banks, sizes */
		log_begin(&l);
		log_event(&l, 4, EV_SEPARATOR, "abcd", 4, NULL);
		l.mem[32 + i] ^= 0x41;
		if (i >= 16 && i < 24) /* versions and class of platform: nothing hangs on them */
			continue;
		expect_bad(&l);
	}
}

/* data NULL: no event is told. */
static void expect_event(const struct event *e, const char *data)
{
	char *text = eventlog_text(e);

	assert_string_equal(text, data ? data : "");
	assert_int_equal(e->data == NULL, data == NULL);
	free(text);
}

static void test_differences(void **state)
{
	struct event was, is;
	struct log a, b;

	(void)state;
	log_begin(&a);
	log_event(&a, 4, EV_IPL, "same", 4, NULL);
	log_event(&a, 8, EV_IPL, "one", 3, NULL);
	log_event(&a, 9, EV_IPL, "gone", 4, NULL);
	log_event(&a, 4, EV_IPL, "name", 4, (uint8_t[32]){1});
	log_begin(&b);
	log_event(&b, 8, EV_IPL, "two", 3, NULL);
	log_event(&b, 4, EV_IPL, "same", 4, NULL);
	log_event(&b, 4, EV_IPL, "name", 4, (uint8_t[32]){2});
	log_event(&b, 7, EV_IPL, "new", 3, NULL);
	CHECK(eventlog_difference(a.mem, a.b.len, b.mem, b.b.len, 4, &was, &is));
	expect_event(&was, "name");
	expect_event(&is, "name");
	CHECK(eventlog_difference(a.mem, a.b.len, b.mem, b.b.len, 8, &was, &is));
	expect_event(&was, "one");
	expect_event(&is, "two");
	CHECK(eventlog_difference(a.mem, a.b.len, b.mem, b.b.len, 9, &was, &is));
	expect_event(&was, "gone");
	expect_event(&is, NULL);
	CHECK(eventlog_difference(a.mem, a.b.len, b.mem, b.b.len, 7, &was, &is));
	expect_event(&was, NULL);
	expect_event(&is, "new");
	assert_int_equal(eventlog_difference(a.mem, a.b.len, b.mem, b.b.len, 0, &was, &is), ERR_NOTFOUND);
	assert_int_equal(eventlog_difference(a.mem, a.b.len, b.mem, b.b.len - 1, 7, &was, &is), ERR_PROTO);
}

static void test_names(void **state)
{
	char name[EVENTLOG_NAME_MAX + 1], big[1000];
	struct event e = {.type = EV_IPL, .data = (const uint8_t *)"grub_cmd: \x1b[2J\xff", .size = 15};

	(void)state;
	eventlog_name(&e, name);
	assert_string_equal(name, "grub_cmd:  [2J ");
	memset(big, 'a', sizeof(big));
	e = (struct event){.type = EV_IPL, .data = (const uint8_t *)big, .size = sizeof(big)};
	eventlog_name(&e, name);
	assert_int_equal(strlen(name), EVENTLOG_NAME_MAX);
	e.type = 0x80000006;
	eventlog_name(&e, name);
	assert_string_equal(name, "EV_EFI_GPT_EVENT");
	e.type = 0x12345;
	eventlog_name(&e, name);
	assert_string_equal(name, "event of type 0x12345");
}

/* ---- EFI programs ---- */

#define PE_LEN	    0x500u
#define PE_CHECKSUM (0x80u + 24 + 64)
#define PE_CERTS    (0x80u + 24 + 112 + 32)

static void put32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* PE32+ with two sections, in the table in the other order than in the file, and something behind them. */
static void pe_make(uint8_t p[static PE_LEN])
{
	for (size_t i = 0; i < PE_LEN; i++)
		p[i] = (uint8_t)(i * 7);
	put32(p + 0x3c, 0x80);
	memcpy(p + 0x80, "PE\0\0", 4);
	put32(p + 0x80 + 6, 2);		 /* sections */
	put32(p + 0x80 + 20, 240);	 /* optional header */
	put32(p + 0x80 + 24, 0x20b);	 /* PE32+ */
	put32(p + 0x80 + 24 + 60, 0x200); /* headers */
	put32(p + 0x80 + 24 + 108, 16);	 /* directories */
	put32(p + PE_CERTS, 0);
	put32(p + PE_CERTS + 4, 0);
	put32(p + 0x80 + 24 + 240 + 16, 0x180);
	put32(p + 0x80 + 24 + 240 + 20, 0x300);
	put32(p + 0x80 + 24 + 280 + 16, 0x100);
	put32(p + 0x80 + 24 + 280 + 20, 0x200);
}

static void test_authenticode(void **state)
{
	uint8_t p[PE_LEN + 64], want[32], got[32];
	EVP_MD_CTX *h = EVP_MD_CTX_new();

	(void)state;
	pe_make(p);
	EVP_DigestInit_ex(h, EVP_sha256(), NULL);
	EVP_DigestUpdate(h, p, PE_CHECKSUM);
	EVP_DigestUpdate(h, p + PE_CHECKSUM + 4, PE_CERTS - PE_CHECKSUM - 4);
	EVP_DigestUpdate(h, p + PE_CERTS + 8, PE_LEN - PE_CERTS - 8);
	EVP_DigestFinal_ex(h, want, NULL);
	EVP_MD_CTX_free(h);
	CHECK(authenticode_hash(p, PE_LEN, got));
	assert_memory_equal(got, want, 32);
	p[PE_CHECKSUM] ^= 1;
	put32(p + PE_CERTS, PE_LEN);
	put32(p + PE_CERTS + 4, 64);
	memset(p + PE_LEN, 'c', 64); /* signatures */
	CHECK(authenticode_hash(p, PE_LEN + 64, got));
	assert_memory_equal(got, want, 32);
	for (size_t i = PE_CERTS + 8; i < PE_LEN; i += 61) {
		if (i >= 0x80 + 24 + 240 && i < 0x80 + 24 + 320) /* the table of sections: tested below */
			continue;
		p[i] ^= 1;
		CHECK(authenticode_hash(p, PE_LEN + 64, got));
		assert_memory_not_equal(got, want, 32);
		p[i] ^= 1;
	}
}

static void test_damaged_programs(void **state)
{
	uint8_t p[PE_LEN], got[32];

	(void)state;
	pe_make(p);
	for (size_t n = 0; n < 0x480; n += 5)
		assert_int_equal(authenticode_hash(p, n, got), ERR_PROTO);
	put32(p + 0x80 + 24 + 240 + 16, 0xfffffff0); /* a section longer than anything */
	assert_int_equal(authenticode_hash(p, PE_LEN, got), ERR_PROTO);
	pe_make(p);
	put32(p + 0x80 + 24 + 60, 0x10); /* headers that end before the checksum */
	assert_int_equal(authenticode_hash(p, PE_LEN, got), ERR_PROTO);
	pe_make(p);
	put32(p + PE_CERTS + 4, 0x1000); /* signatures longer than what is left */
	assert_int_equal(authenticode_hash(p, PE_LEN, got), ERR_PROTO);
	pe_make(p);
	put32(p + 0x3c, 0xffffffff);
	assert_int_equal(authenticode_hash(p, PE_LEN, got), ERR_PROTO);
}

/* ---- GRUB ---- */

static struct grub_boot boot_of(const char *cfg)
{
	return (struct grub_boot){.cfg = cfg,
				  .cfg_len = strlen(cfg),
				  .files = {{.name = "xen.gz"}, {.name = "vmlinuz"}, {.name = "initrd.img"}},
				  .nfiles = 3};
}

/* want: names in order, the last NULL. */
static void expect_trace(const char *cfg, const char *const *want)
{
	struct grub_boot boot = boot_of(cfg);
	struct trace t = {.v = NULL};
	char why[GRUB_WHY_MAX] = "";
	size_t i;

	if (grub_run(&boot, &t, why))
		fail_msg("%s", why);
	for (i = 0; i < t.n && want[i]; i++)
		assert_string_equal(t.v[i].name, want[i]);
	assert_int_equal(i, t.n);
	assert_null(want[i]);
	for (i = 0; i < t.n; i++) {
		const char *text = strstr(t.v[i].name, ": ");
		uint8_t digest[32];

		if (t.v[i].pcr != GRUB_PCR_STRING)
			continue;
		sha256(text + 2, strlen(text + 2), digest);
		assert_memory_equal(t.v[i].digest, digest, 32);
	}
	trace_free(&t);
}

static void test_grub_boots(void **state)
{
	static const char *const want[] = {
		"grub.cfg",
		"grub_cmd: set timeout=0",
		"grub_cmd: set options=console=com1  loglvl=all",
		"grub_cmd: [ y = y ]",
		"grub_cmd: set default=xen",
		"grub_cmd: [ x = y ]",
		"grub_cmd: menuentry It's Xen --class xen --id xen {\n\t# a note\n\tshow \"one {\" two\n"
		"\tmultiboot2 /boot/xen.gz ${options} 'a b' it\\'s\n\tmodule2 /boot/vmlinuz \\\nro\n"
		"\tmodule2 --nounzip /boot/initrd.img\n}",
		"grub_cmd: menuentry other {\n\tboot\n}",
		"grub_cmd: setparams It's Xen",
		"grub_cmd: show one { two",
		"grub_cmd: echo booting",
		"grub_cmd: multiboot2 /boot/xen.gz console=com1 loglvl=all a b it's",
		"/boot/xen.gz",
		"kernel_cmdline: console=com1 loglvl=all \"a b\" it\\'s",
		"grub_cmd: module2 /boot/vmlinuz ro",
		"/boot/vmlinuz",
		"module_cmdline: ro",
		"grub_cmd: module2 --nounzip /boot/initrd.img",
		"/boot/initrd.img",
		"module_cmdline: ",
		NULL,
	};

	(void)state;
	expect_trace("# a comment\n"
		     "set timeout=0\n\n"
		     "set options=\"console=com1  loglvl=all\"\r\n"
		     "function show {\n\techo booting\n}\n"
		     "if [ $feature_menuentry_id = y ]; then\n\tset default=xen\nelse\n\tset default=none\nfi\n"
		     "if [ x = y ]\nthen\n\tset default=none\nfi\n"
		     "menuentry \"It's Xen\" --class xen --id xen {\n\t# a note\n# one that GRUB never sees\n"
		     "\tshow \"one {\" two\n\tmultiboot2 /boot/xen.gz ${options} 'a b' it\\'s\n"
		     "\tmodule2 /boot/vmlinuz \\\nro\n"
		     "\tmodule2 --nounzip /boot/initrd.img\n}\n"
		     "menuentry other {\n\tboot\n}\n",
		     want);
}

static void expect_refusal(const char *cfg, const char *text)
{
	struct grub_boot boot = boot_of(cfg);
	struct trace t = {.v = NULL};
	char why[GRUB_WHY_MAX] = "";

	assert_int_equal(grub_run(&boot, &t, why), ERR_INVAL);
	if (strncmp(why, text, strlen(text)) != 0)
		fail_msg("'%s', not '%s'", why, text);
	trace_free(&t);
}

#define ENTRY "menuentry a {\nmultiboot2 /xen.gz\n}\n"
static void test_grub_refuses(void **state)
{
	(void)state;
	expect_refusal("\n# x\nload_env\n" ENTRY, "line 3: what \"load_env\" does");
	expect_refusal("set a=$root\n" ENTRY, "line 1: a=$root: a variable that only GRUB knows");
	expect_refusal("search --file /x\n" ENTRY, "line 1: search opens files");
	expect_refusal("search --set=where --label x\nset b=$where\n" ENTRY, "line 2: b=$where: a variable that only GRUB");
	expect_refusal("if [ -f /x ]; then\ntrue\nfi\n" ENTRY, "line 1: a test of another kind");
	expect_refusal("if true; then\ntrue\n" ENTRY, "line 1: \"elif\" is missing");
	expect_refusal("for a in b; do\ntrue\ndone\n" ENTRY, "line 1: \"for\"");
	expect_refusal("set a=\"b\n" ENTRY, "line ");
	expect_refusal("echo $1\n" ENTRY, "line 1: $1: a variable of a kind");
	expect_refusal("echo a && echo b\n" ENTRY, "line 1: \"&\"");
	expect_refusal("submenu a {\n" ENTRY "}\n", "line 1: entry \"a\" is a menu of its own");
	expect_refusal("menuentry a {\n\n\tmultiboot2 /other.gz\n}\n", "line 3: it boots /other.gz");
	expect_refusal("menuentry a {\ntrue\n}\n", "line 1: entry \"a\" loads nothing");
	expect_refusal("set default=$default\n", "line 1: there is no menuentry");
	expect_refusal("function f {\nf\n}\nf\n" ENTRY, "line 2: deeper");
}

static void test_grub_entries(void **state)
{
	static const char cfg[] = "menuentry a {\nmultiboot2 /xen.gz one\n}\nmenuentry b --id c {\nmultiboot2 /xen.gz two\n}\n";
	static const struct {
		const char *entry, *want;
	} cases[] = {{NULL, "one"}, {"1", "two"}, {"c", "two"}, {"b", "two"}, {"7", "one"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct grub_boot boot = boot_of(cfg);
		struct trace t = {.v = NULL};
		char why[GRUB_WHY_MAX];

		boot.entry = cases[i].entry;
		CHECK(grub_run(&boot, &t, why));
		assert_string_equal(strrchr(t.v[t.n - 1].name, ' ') + 1, cases[i].want);
		trace_free(&t);
	}
}

/* ---- the whole ---- */

static void test_prediction(void **state)
{
	static const char cfg[] = "menuentry a {\nmultiboot2 /xen.gz\n}\n";
	uint8_t want[32] = {0}, loader[32];
	struct prediction *p = calloc(1, sizeof(*p));
	struct log l;

	(void)state;
	log_begin(&l);
	log_event(&l, 0, EV_SEPARATOR, "abcd", 4, NULL);
	log_event(&l, 4, EV_EFI_ACTION, "go", 2, NULL);
	log_event(&l, 4, EV_EFI_BOOT_SERVICES_APPLICATION, "path", 4, (uint8_t[32]){1});
	log_event(&l, 8, EV_IPL, "grub_cmd: old", 13, NULL);
	sha256("the new loader", 14, loader);
	*p = (struct prediction){.log = l.mem, .log_len = l.b.len, .nefi = 1};
	memcpy(p->efi[0], loader, 32);
	p->boot = (struct grub_boot){.cfg = cfg, .cfg_len = sizeof(cfg) - 1, .files = {{.name = "xen.gz"}}, .nfiles = 1};
	CHECK(predict(p));
	extend(want, "go", 2);
	extend(want, "the new loader", 14);
	assert_memory_equal(p->pcr[4], want, 32);
	assert_int_equal(p->known, 1u << 0 | 1u << 4 | 1u << 8 | 1u << 9);
	trace_free(&p->trace);

	p->nefi = 2;
	assert_int_equal(predict(p), ERR_INVAL);
	assert_non_null(strstr(p->why, "loaded 1 EFI programs"));
	trace_free(&p->trace);

	p->nefi = 1;
	p->boot.files[p->boot.nfiles++].name = "vmlinuz";
	assert_int_equal(predict(p), ERR_INVAL);
	assert_non_null(strstr(p->why, "vmlinuz was given"));
	trace_free(&p->trace);

	p->boot.nfiles = 1;
	p->log = NULL;
	CHECK(predict(p));
	assert_int_equal(p->known, 1u << 8 | 1u << 9);
	trace_free(&p->trace);
	free(p);
}

/* A log that leaves a PCR out says that nothing was measured into it, which the TPM denies; and predicts nothing of it. */
static void test_what_the_log_leaves_out(void **state)
{
	static const char cfg[] = "menuentry a {\nmultiboot2 /xen.gz\n}\n";
	uint8_t now[EVENTLOG_PCRS][EVENTLOG_DIGEST] = {0};
	struct prediction *p = calloc(1, sizeof(*p));
	struct log l;
	unsigned at = 99;

	(void)state;
	log_begin(&l);
	assert_int_equal(predict_log_holds(l.mem, l.b.len, now, &at), 0);
	extend(now[4], "abcd", 4);
	assert_int_equal(predict_log_holds(l.mem, l.b.len, now, &at), ERR_PCR);
	assert_int_equal(at, 4);
	log_event(&l, 0, EV_SEPARATOR, "abcd", 4, NULL);
	extend(now[0], "abcd", 4);
	assert_int_equal(predict_log_holds(l.mem, l.b.len, now, &at), ERR_PCR);
	assert_int_equal(at, 4);
	*p = (struct prediction){.log = l.mem, .log_len = l.b.len};
	p->boot = (struct grub_boot){.cfg = cfg, .cfg_len = sizeof(cfg) - 1, .files = {{.name = "xen.gz"}}, .nfiles = 1};
	CHECK(predict(p));
	assert_int_equal(p->known, 1u << 0 | 1u << 8 | 1u << 9);
	trace_free(&p->trace);
	free(p);
	log_event(&l, 4, EV_SEPARATOR, "abcd", 4, NULL);
	assert_int_equal(predict_log_holds(l.mem, l.b.len, now, &at), 0);
	memset(now[15], 1, EVENTLOG_DIGEST); /* not predicted */
	assert_int_equal(predict_log_holds(l.mem, l.b.len, now, &at), 0);
	assert_int_equal(predict_log_holds(l.mem, l.b.len - 1, now, &at), ERR_PROTO);
}

static void test_excerpts(void **state)
{
	char a[40], b[40];

	(void)state;
	eventlog_excerpt("abc", "abd", sizeof(a), a, b);
	assert_string_equal(a, "abc");
	assert_string_equal(b, "abd");
	eventlog_excerpt("0123456789012345678901234567890123456789A\nand more than fits", "0123456789012345678901234567890123456789B", sizeof(a),
			a, b);
	assert_string_equal(a, "...678901234567890123456789A and mor...");
	assert_string_equal(b, "...678901234567890123456789B");
	eventlog_excerpt("", "x", sizeof(a), a, b);
	assert_string_equal(a, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replay),	     cmocka_unit_test(test_startup_locality),
		cmocka_unit_test(test_cut_logs),     cmocka_unit_test(test_lying_logs),
		cmocka_unit_test(test_names),	     cmocka_unit_test(test_differences),
		cmocka_unit_test(test_authenticode),
		cmocka_unit_test(test_damaged_programs), cmocka_unit_test(test_grub_boots),
		cmocka_unit_test(test_grub_refuses), cmocka_unit_test(test_grub_entries),
		cmocka_unit_test(test_prediction),   cmocka_unit_test(test_excerpts),
		cmocka_unit_test(test_what_the_log_leaves_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
