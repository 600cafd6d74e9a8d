/* SPDX-License-Identifier: BSD-2-Clause */
/* The anchors of the real vtpm-keeper in a real software TPM: what is defined, what is extended, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "tests/integration/test_keeper_manager.h"
#include "vtpm-mgr/proto/attest.h"

#define A 0x01805640u
#define V 0x01805641u
#define INSECURE SEAL_INSECURE_PCRS

/* TPM 2.0 Part 2, 6.5.2 */
enum { CC_NV_EXTEND = 0x136, CC_NV_READ = 0x14e, CC_LOAD = 0x157, CC_QUOTE = 0x158, CC_NV_READ_PUBLIC = 0x169, CC_PCR_READ = 0x17e, CC_NV_CERTIFY = 0x184, CC_READ_CLOCK = 0x181 };

static struct anchor_record record;
static struct anchor_view view;
static struct journal_row row;
static uint8_t mac[DIGEST_LEN];

/* --- requests --- */

static int take_view(int r, bool with_record)
{
	struct buf b;

	buf_wrap(&b, a.r.result, a.r.result_len);
	if (!r && with_record)
		assert_int_equal(anchor_record_decode(&b, &record), 0);
	if (!r) {
		assert_int_equal(anchor_view_decode(&b, &view), 0);
		assert_int_equal(buf_left(&b), 0);
	}
	return r;
}

static int new_anchors(uint32_t flags)
{
	const struct anchor_new m = {.a = A, .v = V, .flags = flags};
	struct request q;

	assert_int_equal(anchor_new_encode(rig_request(&rig, &q), &m), 0);
	return take_view(rig_ask(&rig, KEEPER_ANCHOR_NEW, &q, &a), true);
}

static int ask_record(uint32_t type, const struct anchor_record *r)
{
	struct request q;

	assert_int_equal(anchor_record_encode(rig_request(&rig, &q), r), 0);
	return take_view(rig_ask(&rig, type, &q, &a), type == KEEPER_ANCHOR_RENEW);
}

static int open_anchors(void)
{
	return ask_record(KEEPER_ANCHOR_OPEN, &record);
}

static int ask_row(uint32_t type, const struct journal_row *r)
{
	struct request q;

	assert_int_equal(journal_row_encode(rig_request(&rig, &q), r), 0);
	return rig_ask(&rig, type, &q, &a);
}

/* The next row on what the view says, authenticated and extended; the view follows. */
static int commit(uint8_t kind)
{
	int r;

	row.n++;
	row.kind = kind;
	row.reset_count = view.reset_count;
	row.root[0]++;
	memcpy(row.a_prev, view.a, DIGEST_LEN);
	memcpy(row.v_prev, view.v, DIGEST_LEN);
	assert_int_equal(ask_row(KEEPER_ROW_MAC, &row), 0);
	memcpy(mac, a.r.result, DIGEST_LEN);
	r = ask_row(KEEPER_ANCHOR_EXTEND, &row);
	if (!r) {
		memcpy(view.a, a.r.result, DIGEST_LEN);
		memcpy(view.v, a.r.result + DIGEST_LEN, DIGEST_LEN);
	}
	return r;
}

static void verify(const struct journal_row *r, const uint8_t *m, struct row_view *out)
{
	struct request q;
	struct buf b;

	assert_int_equal(journal_row_encode(rig_request(&rig, &q), r), 0);
	assert_int_equal(buf_put_bytes(&q.b, m, DIGEST_LEN), 0);
	assert_int_equal(rig_ask(&rig, KEEPER_ROWS_VERIFY, &q, &a), 0);
	buf_wrap(&b, a.r.result, a.r.result_len);
	assert_int_equal(row_view_decode(&b, out), 0);
	assert_int_equal(buf_left(&b), 0);
}

static void provision(uint32_t flags)
{
	memset(&row, 0, sizeof(row));
	begin(0, INSECURE);
	assert_int_equal(new_anchors(flags), 0);
	assert_int_equal(view.a_state, ANCHOR_ABSENT);
	assert_int_equal(view.v_state, ANCHOR_ABSENT);
	assert_int_equal(commit(ROW_GENESIS), 0);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_ANCHOR_OWN, &a), 0);
}

/* A new keeper on the TPM as it is. */
static int come_back(void)
{
	again();
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	return open_anchors();
}

static void stop_keeper(void)
{
	assert_int_equal(rig_keeper_stop(&rig), 0);
}

/* A stock tool on the TPM, as somebody with the host has it; only while no keeper is connected. */
static int tool(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int tool(const char *fmt, ...)
{
	char args[512], cmd[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "cd %s && TPM2TOOLS_TCTI=swtpm:path=%s/tpm tpm2_%s >/dev/null 2>&1", rig.dir, rig.dir, args);
	return system(cmd);
}

/* --- tests --- */

static void test_values_follow_the_rows(void **state)
{
	struct anchor_view before;
	struct row_view after;

	(void)state;
	provision(0);
	before = view;
	assert_int_equal(commit(ROW_PLAIN), 0);
	assert_memory_equal(view.a, before.a, DIGEST_LEN);
	assert_memory_not_equal(view.v, before.v, DIGEST_LEN);
	before = view;
	assert_int_equal(commit(ROW_ANCHOR), 0);
	assert_memory_not_equal(view.a, before.a, DIGEST_LEN);
	assert_memory_not_equal(view.v, before.v, DIGEST_LEN);
	verify(&row, mac, &after);
	assert_true(after.ok);
	assert_memory_equal(after.a_after, view.a, DIGEST_LEN);
	assert_memory_equal(after.v_after, view.v, DIGEST_LEN);
	before = view;
	stop_keeper();
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.a_state, ANCHOR_VALUE);
	assert_int_equal(view.v_state, ANCHOR_VALUE);
	assert_memory_equal(view.a, before.a, DIGEST_LEN);
	assert_memory_equal(view.v, before.v, DIGEST_LEN);
	assert_int_equal(view.reset_count, before.reset_count);
	assert_int_equal(view.owner, OWNER_OURS);
	assert_int_equal(commit(ROW_OPEN), 0);
}

static void test_changed_rows_do_not_verify(void **state)
{
	uint8_t bytes[JOURNAL_ROW_SIZE];
	struct journal_row changed;
	struct row_view after;
	struct buf b;

	(void)state;
	provision(0);
	assert_int_equal(commit(ROW_PLAIN), 0);
	for (size_t i = 0; i < JOURNAL_ROW_SIZE; i += 3) {
		buf_init(&b, bytes, sizeof(bytes));
		assert_int_equal(journal_row_encode(&b, &row), 0);
		bytes[i] ^= 1;
		if (journal_row_decode(&b, &changed)) /* its kind is none */
			continue;
		verify(&changed, mac, &after);
		assert_false(after.ok);
	}
	mac[31] ^= 1;
	verify(&row, mac, &after);
	assert_false(after.ok);
}

/* Only what follows the present values is extended, and each row once. */
static void test_rows_are_used_once(void **state)
{
	struct journal_row used;

	(void)state;
	provision(0);
	assert_int_equal(commit(ROW_ANCHOR), 0);
	used = row;
	assert_int_equal(ask_row(KEEPER_ANCHOR_EXTEND, &used), ERR_WRONG_STATE);
	used.n++;
	assert_int_equal(ask_row(KEEPER_ANCHOR_EXTEND, &used), ERR_WRONG_STATE);
	memcpy(used.v_prev, view.v, DIGEST_LEN);
	assert_int_equal(ask_row(KEEPER_ANCHOR_EXTEND, &used), ERR_WRONG_STATE);
	assert_int_equal(commit(ROW_ANCHOR), 0);
}

static void reset(bool orderly)
{
	if (orderly)
		assert_int_equal(rig_ask_empty(&rig, KEEPER_TPM_SHUTDOWN, &a), 0);
	stop_keeper();
	if (orderly)
		rig_tpm_reset(&rig);
	else
		rig_tpm_restart(&rig);
}

static void test_v_is_gone_after_a_reset(void **state)
{
	uint8_t a_value[DIGEST_LEN];
	uint32_t count;

	(void)state;
	provision(0);
	for (int orderly = 0; orderly < 2; orderly++) {
		assert_int_equal(commit(ROW_ANCHOR), 0);
		memcpy(a_value, view.a, DIGEST_LEN);
		count = view.reset_count;
		reset(orderly);
		assert_int_equal(come_back(), 0);
		assert_int_equal(view.a_state, ANCHOR_VALUE);
		assert_memory_equal(view.a, a_value, DIGEST_LEN);
		assert_int_equal(view.v_state, ANCHOR_ABSENT);
		assert_int_equal(view.reset_count, count + 1);
		assert_int_equal(commit(ROW_OPEN), 0);
	}
}

/* Under a keeper that runs: nothing is extended on a V that has lost its value. */
static void test_reset_under_a_keeper(void **state)
{
	(void)state;
	provision(0);
	assert_int_equal(commit(ROW_PLAIN), 0);
	stop_keeper();
	store.open_flags = OPEN_ACCEPT_RESETS; /* as for a software TPM */
	again();
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	assert_int_equal(open_anchors(), 0);
	assert_int_equal(commit(ROW_PLAIN), 0);
	rig_tpm_reset(&rig);
	assert_int_equal(commit(ROW_PLAIN), ERR_WRONG_STATE);
	assert_int_equal(commit(ROW_PLAIN), ERR_WRONG_STATE);
	assert_int_equal(open_anchors(), 0);
	assert_int_equal(view.v_state, ANCHOR_ABSENT);
	assert_int_equal(view.a_state, ANCHOR_VALUE);
	assert_int_equal(commit(ROW_OPEN), 0);
}

static void test_taken_handles_are_refused(void **state)
{
	(void)state;
	assert_int_equal(tool("nvdefine -C o -s 8 -a 'ownerread|ownerwrite' 0x%x", V), 0);
	begin(0, INSECURE);
	assert_int_equal(new_anchors(0), ERR_EXISTS);
	assert_non_null(strstr(a.r.text, "0x01805641"));
	assert_non_null(strstr(a.r.text, "--anchor-handles"));
	stop_keeper();
	assert_int_not_equal(tool("nvreadpublic 0x%x", A), 0); /* and nothing was made */
	assert_int_equal(tool("nvundefine -C o 0x%x", V), 0);
	assert_int_equal(tool("changeauth -c owner secret"), 0);
	again();
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	assert_int_equal(new_anchors(0), ERR_EXISTS);
	assert_non_null(strstr(a.r.text, "owner hierarchy"));
}

static void put_file(const char *name, const uint8_t value[static DIGEST_LEN])
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(value, DIGEST_LEN, 1, f), 1);
	assert_int_equal(fclose(f), 0);
}

/* What an adversary who may use the owner hierarchy can put in the place of an anchor. */
static void test_other_indices_are_not_taken_for_ours(void **state)
{
	uint8_t value[DIGEST_LEN];

	(void)state;
	provision(ANCHOR_SHARED);
	memcpy(value, view.a, DIGEST_LEN);
	stop_keeper();
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.owner, OWNER_EMPTY);
	stop_keeper();

	/* An ordinary index that holds the recorded value. */
	assert_int_equal(tool("nvundefine -C o 0x%x", A), 0);
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.a_state, ANCHOR_MISSING);
	assert_int_equal(view.v_state, ANCHOR_VALUE);
	assert_int_equal(commit(ROW_OPEN), ERR_WRONG_STATE);
	stop_keeper();
	assert_int_equal(tool("nvdefine -C o -s 32 -a 'authread|authwrite|no_da' 0x%x", A), 0);
	put_file("value", value);
	assert_int_equal(tool("nvwrite -C 0x%x -i value 0x%x", A, A), 0);
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.a_state, ANCHOR_FOREIGN);
	stop_keeper();

	/* An extend index defined like ours, whose auth value is not. */
	assert_int_equal(tool("nvundefine -C o 0x%x", A), 0);
	assert_int_equal(tool("nvdefine -C o -g sha256 -a 'nt=extend|authread|authwrite|no_da' 0x%x", A), 0);
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.a_state, ANCHOR_AUTH);
	stop_keeper();
	assert_int_equal(tool("nvundefine -C o 0x%x", V), 0);
	assert_int_equal(tool("nvdefine -C o -g sha256 -a 'nt=extend|authread|authwrite|no_da|orderly' 0x%x", V), 0);
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.v_state, ANCHOR_AUTH);

	/* Made anew because an operator says so: both begin empty, under a new record. */
	assert_int_equal(ask_record(KEEPER_ANCHOR_RENEW, &record), 0);
	assert_int_equal(view.a_state, ANCHOR_ABSENT);
	assert_int_equal(view.v_state, ANCHOR_ABSENT);
	assert_int_equal(commit(ROW_GENESIS), 0);
	stop_keeper();
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.a_state, ANCHOR_VALUE);
}

static void test_the_owner_is_ours(void **state)
{
	(void)state;
	provision(0);
	stop_keeper();
	assert_int_not_equal(tool("nvundefine -C o 0x%x", A), 0);
	assert_int_not_equal(tool("nvextend -C o -i /etc/hostname 0x%x", A), 0);
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.owner, OWNER_OURS);
	assert_int_equal(ask_record(KEEPER_ANCHOR_RENEW, &record), 0);
	assert_int_equal(commit(ROW_GENESIS), 0);
}

static void test_changed_record(void **state)
{
	uint8_t bytes[ANCHOR_RECORD_SIZE];
	struct anchor_record changed;
	struct buf b;

	(void)state;
	provision(0);
	for (size_t i = 0; i < ANCHOR_RECORD_SIZE; i += 5) {
		buf_init(&b, bytes, sizeof(bytes));
		assert_int_equal(anchor_record_encode(&b, &record), 0);
		bytes[i] ^= 1;
		if (!anchor_record_decode(&b, &changed))
			assert_int_equal(ask_record(KEEPER_ANCHOR_OPEN, &changed), ERR_AUTH);
	}
	assert_int_equal(open_anchors(), 0);
	assert_int_equal(view.a_state, ANCHOR_VALUE);
}

/* A response of an extend that was changed on the way: the index is read, and no row is lost nor extended twice. */
static void test_changed_answers(void **state)
{
	static const uint32_t commands[] = {CC_NV_EXTEND, CC_NV_READ, CC_NV_READ_PUBLIC, CC_READ_CLOCK};
	struct row_view after;
	int changed = 0;

	(void)state;
	rig_proxy_start(&rig);
	provision(0);
	for (unsigned c = 0; c < ARRAY_LEN(commands); c++)
		for (uint32_t offset = 10; offset < 90; offset += 7) {
			rig.plan->done = 0;
			rig.plan->offset = offset;
			rig.plan->command = commands[c];
			if (c >= 2 && open_anchors())
				assert_int_equal(open_anchors(), 0);
			assert_true(c < 2 || view.a_state == ANCHOR_VALUE);
			assert_int_equal(commit(offset % 2 ? ROW_PLAIN : ROW_ANCHOR), 0);
			verify(&row, mac, &after);
			assert_memory_equal(after.a_after, view.a, DIGEST_LEN);
			assert_memory_equal(after.v_after, view.v, DIGEST_LEN);
			changed += (int)rig.plan->done;
		}
	assert_true(changed > 20);
}

/* The code of a response: an error that was none, which proves nothing, so that it is no verdict. */
static void test_invented_errors(void **state)
{
	(void)state;
	rig_proxy_start(&rig);
	provision(0);
	for (uint32_t offset = 6; offset < 10; offset++) {
		rig.plan->done = 0;
		rig.plan->offset = offset;
		rig.plan->command = CC_NV_READ;
		if (open_anchors())
			assert_int_equal(open_anchors(), 0);
		assert_int_equal(view.a_state, ANCHOR_VALUE);
		rig.plan->done = 0;
		rig.plan->command = CC_NV_EXTEND;
		assert_int_equal(commit(ROW_ANCHOR), 0);
	}
}

/* TPM_RC_NV_RATE: the TPM is given the time that it asks for. */
static void test_nv_rate(void **state)
{
	(void)state;
	rig_proxy_start(&rig);
	provision(0);
	rig.plan->command = CC_NV_EXTEND;
	rig.plan->rc = 0x920;
	rig.plan->times = 4;
	assert_int_equal(commit(ROW_ANCHOR), 0);
	assert_int_equal(rig.plan->times, 0);
	rig.plan->rc = 0x101; /* and failures are not asked for ever */
	rig.plan->times = 1000;
	assert_int_equal(commit(ROW_ANCHOR), ERR_TPM);
	rig.plan->times = 0;
	assert_int_equal(open_anchors(), 0);
	assert_int_equal(commit(ROW_OPEN), 0);
}

/* No room in the TPM's RAM: there is no V, and every row must go into A. */
static void test_without_room_for_v(void **state)
{
	static const uint8_t zeros[DIGEST_LEN];
	unsigned n = 0;

	(void)state;
	while (n < 64 && tool("nvdefine -C o -s 64 -a 'ownerread|ownerwrite|orderly' 0x%x", 0x01500100 + n) == 0)
		n++;
	assert_in_range(n, 1, 63);
	while (n < 64 && tool("nvdefine -C o -s 1 -a 'ownerread|ownerwrite|orderly' 0x%x", 0x01500200 + n) == 0)
		n++;
	provision(0);
	assert_true(record.flags & ANCHOR_STRICT_ONLY);
	assert_int_equal(commit(ROW_PLAIN), ERR_WRONG_STATE);
	assert_int_equal(commit(ROW_ANCHOR), 0);
	assert_memory_equal(view.v, zeros, DIGEST_LEN);
	stop_keeper();
	assert_int_equal(come_back(), 0);
	assert_int_equal(view.a_state, ANCHOR_VALUE);
	assert_int_equal(commit(ROW_OPEN), 0);
}

/* --- what the physical TPM says of the host, and of anchor A (proto/attest.h) --- */

static uint8_t enrolment[ENROLMENT_MAX];
static size_t enrolment_len;

static int enroll(void)
{
	struct request q;
	int r;

	assert_int_equal(buf_put_var(rig_request(&rig, &q), NULL, 0), 0);
	r = rig_ask(&rig, KEEPER_ENROLL, &q, &a);
	if (!r)
		memcpy(enrolment, a.r.result, enrolment_len = a.r.result_len);
	return r;
}

static int host_quote(struct host_quote *out)
{
	const struct host_quote_request m = {.record = enrolment, .record_len = enrolment_len, .root = {7}, .mask = 0x3ff};
	struct request q;
	struct buf b;
	int r;

	assert_int_equal(host_quote_request_encode(rig_request(&rig, &q), &m), 0);
	r = rig_ask(&rig, KEEPER_HOST_QUOTE, &q, &a);
	buf_wrap(&b, a.r.result, a.r.result_len);
	if (!r)
		assert_true(!host_quote_decode(&b, out) && !buf_left(&b));
	return r;
}

/* A whole one: the PCRs are those that it ends with the digest of, and the certificate has what A holds. */
static void demand_whole(const struct host_quote *q)
{
	uint8_t digest[DIGEST_LEN];

	assert_int_equal(q->pcrs_len, 10 * DIGEST_LEN);
	assert_non_null(SHA256(q->pcrs, q->pcrs_len, digest));
	assert_true(q->attest_len > DIGEST_LEN);
	assert_memory_equal(q->attest + q->attest_len - DIGEST_LEN, digest, DIGEST_LEN);
	assert_true(q->anchor_len > DIGEST_LEN);
	assert_memory_equal(q->anchor + q->anchor_len - DIGEST_LEN, view.a, DIGEST_LEN);
}

static void test_quotes_and_certifies(void **state)
{
	struct host_quote q;

	(void)state;
	provision(0);
	assert_int_equal(host_quote(&q), ERR_AUTH); /* no record */
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
	assert_int_equal(enroll(), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(host_quote(&q), 0);
		demand_whole(&q);
		assert_int_equal(commit(i ? ROW_PLAIN : ROW_ANCHOR), 0);
	}
	enrolment[enrolment_len - 1] ^= 1; /* of what the key has signed: that is for the verifier */
	assert_int_equal(host_quote(&q), 0);
	enrolment[6] ^= 1; /* of its public area */
	assert_true(host_quote(&q) < 0);
	enrolment[6] ^= 1;
	assert_int_equal(commit(ROW_ANCHOR), 0); /* whatever has failed, rows go on */
}

/* Nobody on the way makes it say something else, and a quote that failed is in no row's way. */
static void test_changed_quotes(void **state)
{
	static const uint32_t commands[] = {CC_QUOTE, CC_NV_CERTIFY, CC_PCR_READ, CC_LOAD};
	int changed = 0, refused = 0;
	struct host_quote q;

	(void)state;
	rig_proxy_start(&rig);
	provision(0);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
	assert_int_equal(enroll(), 0);
	for (unsigned c = 0; c < ARRAY_LEN(commands); c++)
		for (uint32_t offset = 10; offset < 200; offset += 13) {
			rig.plan->done = 0;
			rig.plan->offset = offset;
			rig.plan->command = commands[c];
			if (host_quote(&q))
				refused++;
			else
				demand_whole(&q);
			changed += (int)rig.plan->done;
			assert_int_equal(commit(ROW_ANCHOR), 0);
		}
	assert_true(changed > 20 && refused > 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, manager_setup, manager_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values_follow_the_rows),  TEST(test_changed_rows_do_not_verify), TEST(test_rows_are_used_once),
		TEST(test_v_is_gone_after_a_reset), TEST(test_reset_under_a_keeper),	   TEST(test_taken_handles_are_refused),
		TEST(test_changed_record),	    TEST(test_the_owner_is_ours),	   TEST(test_changed_answers),
		TEST(test_invented_errors),	    TEST(test_nv_rate),			   TEST(test_other_indices_are_not_taken_for_ours),
		TEST(test_without_room_for_v),	    TEST(test_quotes_and_certifies),	   TEST(test_changed_quotes),
	};

	return cmocka_run_group_tests(tests, manager_check, NULL);
}
