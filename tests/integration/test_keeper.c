/* SPDX-License-Identifier: BSD-2-Clause */
/* The real vtpm-keeper against a real software TPM, its manager and spawner played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/test_keeper_manager.h"
#include "tests/unit/test_keeper_ek.h"

#define INSECURE SEAL_INSECURE_PCRS

/* TPM 2.0 Part 2, 6.5.2 */
enum {
	CC_CREATE = 0x153,
	CC_LOAD = 0x157,
	CC_UNSEAL = 0x15e,
	CC_START = 0x176,
	CC_RANDOM = 0x17b,
	CC_PCR_READ = 0x17e,
	CC_POLICY_PCR = 0x17f,
	CC_SIGN = 0x15d
};

static void test_status(void **state)
{
	struct keeper_status s;
	struct buf b;

	(void)state;
	rig_keeper_start(&rig, NULL);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_STATUS, &a), 0);
	buf_wrap(&b, a.r.result, a.r.result_len);
	assert_int_equal(keeper_status_decode(&b, &s), 0);
	assert_int_equal(s.kind, TPM_SOFTWARE);
	assert_memory_equal(s.manufacturer, "IBM", 3);
	assert_non_null(strstr(s.tcti, rig.dir));
	assert_int_equal(rig_keeper_stop(&rig), 0);
}

static void test_keys_survive(void **state)
{
	struct key_give before, after;
	int fd;

	(void)state;
	begin(0, INSECURE);
	assert_int_equal(store.s.policy.mask, 0x95); /* 8, 9 and 11 were never extended */
	fd = rig_link(&rig, 1);
	assert_int_equal(hand(&store.binding, store.wrapped, 1, false), 0);
	expect_key(fd, &before);
	rig_expect_closed(fd);
	assert_int_equal(rig_keeper_stop(&rig), 0);

	again();
	assert_int_equal(hand(&store.binding, store.wrapped, 2, false), ERR_WRONG_STATE);
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0); /* nothing new, and nothing wrong */
	assert_int_equal(hand(&store.binding, store.wrapped, 2, false), 0); /* the other order */
	assert_int_equal(hand(&store.binding, store.wrapped, 2, false), ERR_EXISTS);
	fd = rig_link(&rig, 2);
	expect_key(fd, &after);
	rig_expect_closed(fd);
	assert_memory_equal(before.key, after.key, KEY_LEN);
}

static void test_changed_pcr(void **state)
{
	(void)state;
	rig_pcr_extend(&rig, 4);
	begin(1u << 4 | 1u << 10, INSECURE);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	rig_pcr_extend(&rig, 4);
	again();
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), ERR_PCR);
	assert_non_null(strstr(a.r.text, "PCR 4 is "));
	assert_null(strstr(a.r.text, "PCR 10"));
	/* What is recorded explains, and decides nothing: it must be what the blob is sealed to. */
	memset(store.s.policy.pcr[4], 0, DIGEST_LEN);
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), ERR_AUTH);
}

static void test_default_pcrs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++)
		rig_pcr_extend(&rig, i);
	rig_pcr_extend(&rig, 9);
	begin(0, 0);
	assert_int_equal(store.s.policy.mask, 0x295);
}

static void test_empty_pcrs(void **state)
{
	(void)state;
	rig_keeper_start(&rig, NULL);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_ADOPT, &a), 0);
	assert_int_equal(rig_group_new(&rig, "default", 0, 0, &a), ERR_PCR);
	assert_non_null(strstr(a.r.text, "PCR 0 is all zero"));
	assert_int_equal(rig_group_new(&rig, "default", 1u << 17, 0, &a), ERR_PCR);
	assert_non_null(strstr(a.r.text, "PCR 17 is all ones"));
	assert_int_equal(rig_group_new(&rig, "default", 0, INSECURE, &a), 0);
	assert_int_equal(rig_group_new(&rig, "other", 0x00ffffff, INSECURE, &a), 0); /* more than one response holds */
}

static void test_changed_rows(void **state)
{
	struct key_binding b = {0};
	struct sealed_root s;
	uint8_t pub[SEALED_BLOB_MAX], priv[SEALED_BLOB_MAX], wrapped[WRAPPED_KEY_LEN];

	(void)state;
	begin(0, INSECURE);
	b = store.binding, b.uuid[15] ^= 1;
	assert_int_equal(hand(&b, store.wrapped, 1, false), ERR_AUTH);
	b = store.binding, b.epoch++;
	assert_int_equal(hand(&b, store.wrapped, 1, false), ERR_AUTH);
	b = store.binding, b.config[31] ^= 0x80;
	assert_int_equal(hand(&b, store.wrapped, 1, false), ERR_AUTH);
	for (size_t i = 0; i < WRAPPED_KEY_LEN; i++) {
		memcpy(wrapped, store.wrapped, sizeof(wrapped));
		wrapped[i] ^= 1;
		assert_int_equal(hand(&store.binding, wrapped, 1, false), ERR_AUTH);
	}
	assert_int_equal(rig_keeper_stop(&rig), 0);
	again();
	for (size_t i = 0; i < store.s.pub_len + store.s.priv_len; i++) {
		s = store.s;
		memcpy(pub, store.s.pub, s.pub_len);
		memcpy(priv, store.s.priv, s.priv_len);
		*(i < s.pub_len ? &pub[i] : &priv[i - s.pub_len]) ^= 0x10;
		s.pub = pub;
		s.priv = priv;
		assert_int_equal(rig_group_open(&rig, "default", &s, &a), ERR_AUTH);
	}
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
}

static int rebind(const struct key_binding *from, const struct key_binding *to)
{
	struct keeper_key_rebind m = {
		.from = *from, .wrapped = store.wrapped, .wrapped_len = WRAPPED_KEY_LEN, .to = *to};
	struct request q;

	assert_int_equal(keeper_key_rebind_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_KEY_REBIND, &q, &a);
}

static void test_rebind(void **state)
{
	struct key_binding to, elsewhere;
	struct key_give give, was;
	int fd;

	(void)state;
	begin(0, INSECURE);
	assert_int_equal(rig_group_new(&rig, "other", 0, INSECURE, &a), 0);
	fd = rig_link(&rig, 1);
	assert_int_equal(hand(&store.binding, store.wrapped, 1, false), 0);
	expect_key(fd, &was);
	rig_expect_closed(fd);
	to = elsewhere = store.binding;
	to.epoch++;
	strcpy(elsewhere.group, "other");
	assert_int_equal(rebind(&store.binding, &elsewhere), ERR_INVAL);
	assert_int_equal(rebind(&to, &to), ERR_AUTH);
	assert_int_equal(rebind(&store.binding, &to), 0);
	assert_int_equal(a.r.result_len, WRAPPED_KEY_LEN);
	memcpy(store.wrapped, a.r.result, WRAPPED_KEY_LEN);
	assert_int_equal(hand(&store.binding, store.wrapped, 2, false), ERR_AUTH);
	store.binding = to;
	fd = rig_link(&rig, 2);
	assert_int_equal(hand(&to, store.wrapped, 2, false), 0);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	assert_memory_equal(give.key, was.key, KEY_LEN);
}

static void drop(uint64_t token)
{
	struct request q;

	assert_int_equal(keeper_key_drop_encode(rig_request(&rig, &q), token), 0);
	assert_int_equal(rig_ask(&rig, KEEPER_KEY_DROP, &q, &a), 0);
}

static void test_drop(void **state)
{
	int fd;

	(void)state;
	begin(0, INSECURE);
	assert_int_equal(hand(&store.binding, store.wrapped, 5, false), 0);
	drop(5);
	fd = rig_link(&rig, 5); /* its key is not to come; the two sockets have no order among them */
	for (struct pollfd p = {.fd = fd, .events = POLLIN}; poll(&p, 1, 0) == 0;)
		drop(5);
	rig_expect_closed(fd);
}

static void send_cert_request(int fd, uint8_t kind, const uint8_t *pub, size_t len)
{
	const struct cert_request r = {.kind = kind, .key_public = pub, .key_public_len = len};
	uint8_t mem[CERT_REQUEST_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(cert_request_encode(&b, &r), 0);
	assert_int_equal(ipc_send(fd, CERT_REQUEST, &b, NULL, 0), 0);
}

/* Returns the code; the certificate must be one for uuid that ca signed. */
static int expect_cert(int fd, uint8_t kind, X509 *ca)
{
	uint8_t mem[CERT_ISSUED_MAX];
	const unsigned char *p;
	struct cert_issued c;
	struct ipc_msg m;
	char cn[64] = "";
	X509 *x;

	assert_int_equal(rig_backend_recv(fd, &m, mem, sizeof(mem)), 0);
	assert_int_equal(m.type, CERT_ISSUED);
	assert_int_equal(cert_issued_decode(&m.body, &c), 0);
	assert_int_equal(c.kind, kind);
	if (c.code)
		return c.code;
	p = c.der;
	x = d2i_X509(NULL, &p, (long)c.der_len);
	assert_non_null(x);
	assert_int_equal(X509_verify(x, X509_get0_pubkey(ca)), 1);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof(cn));
	assert_string_equal(cn, "01020300-0000-0000-0000-000000000000");
	X509_free(x);
	return 0;
}

static void ca_begin(struct ca_key *k, X509 **ca, uint8_t mem[static CA_KEY_MAX])
{
	const unsigned char *p;
	struct buf b;

	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
	memcpy(mem, a.r.result, a.r.result_len);
	buf_wrap(&b, mem, a.r.result_len);
	assert_int_equal(ca_key_decode(&b, k), 0);
	p = k->cert;
	*ca = d2i_X509(NULL, &p, (long)k->cert_len);
	assert_non_null(*ca);
}

static void test_certificates(void **state)
{
	uint8_t mem[CA_KEY_MAX], rsa[PUBLIC_MAX], ecc[PUBLIC_MAX];
	size_t rsa_len = test_ek_rsa(rsa), ecc_len = test_ek_ecc(ecc);
	struct key_give give;
	struct request q;
	struct ca_key k;
	X509 *ca;
	int fd;

	(void)state;
	begin(0, INSECURE);
	ca_begin(&k, &ca, mem);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	again();
	assert_int_equal(ca_key_encode(rig_request(&rig, &q), &k), 0);
	assert_int_equal(rig_ask(&rig, KEEPER_CA_OPEN, &q, &a), ERR_WRONG_STATE);
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	assert_int_equal(ca_key_encode(rig_request(&rig, &q), &k), 0);
	assert_int_equal(rig_ask(&rig, KEEPER_CA_OPEN, &q, &a), 0);

	fd = rig_link(&rig, 1);
	assert_int_equal(hand(&store.binding, store.wrapped, 1, true), 0);
	expect_key(fd, &give);
	send_cert_request(fd, EK_ECC_P256, ecc, ecc_len);
	assert_int_equal(expect_cert(fd, EK_ECC_P256, ca), 0);
	send_cert_request(fd, EK_RSA2048, rsa, rsa_len);
	assert_int_equal(expect_cert(fd, EK_RSA2048, ca), 0);
	rig_expect_closed(fd);

	assert_int_equal(hand(&store.binding, store.wrapped, 2, true), 0);
	fd = rig_link(&rig, 2);
	expect_key(fd, &give);
	rsa[9] ^= 0x04; /* an attribute more */
	send_cert_request(fd, EK_RSA2048, rsa, rsa_len);
	assert_int_equal(expect_cert(fd, EK_RSA2048, ca), ERR_INVAL);
	send_cert_request(fd, EK_RSA2048, rsa, rsa_len); /* twice the same kind */
	rig_expect_closed(fd);

	fd = rig_link(&rig, 3); /* speaks before it is spoken to */
	send_cert_request(fd, EK_RSA2048, rsa, rsa_len);
	rig_expect_closed(fd);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_STATUS, &a), 0);
	X509_free(ca);
}

static void test_many_links(void **state)
{
	int fds[60];
	struct key_give give;

	(void)state;
	begin(0, INSECURE);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) /* more than the keeper has room for at once */
		fds[i] = rig_link(&rig, 100 + i);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		assert_int_equal(hand(&store.binding, store.wrapped, 100 + i, false), 0);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		expect_key(fds[i], &give);
		rig_expect_closed(fds[i]);
	}
}

static void test_other_tpm(void **state)
{
	(void)state;
	begin(0, INSECURE);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	rig_tpm_replace(&rig);
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_srk(), ERR_TPM_IDENTITY); /* nothing there */
	assert_int_equal(rig_ask_empty(&rig, KEEPER_ADOPT, &a), 0);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_srk(), ERR_TPM_IDENTITY); /* another key there */
}

static void test_lost_tpm(void **state)
{
	(void)state;
	begin(0, INSECURE);
	rig_tpm_kill(&rig);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_STATUS, &a), ERR_TPM_LOST);
	assert_int_equal(rig_keeper_wait(&rig), 1);
	rig_keeper_start(&rig, "device:/dev/no-such-tpm");
	assert_int_equal(rig_ask_empty(&rig, KEEPER_ADOPT, &a), ERR_TPM_LOST);
	assert_non_null(
		strstr(a.r.text, "cannot open the TPM at \"device:/dev/no-such-tpm\": No such file or directory"));
	assert_int_equal(rig_keeper_wait(&rig), 1);
}

/* The host's TPM loses sessions and Startup; a keeper that may goes on. */
static void test_reset_tpm(void **state)
{
	(void)state;
	begin(0, INSECURE);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	store.open_flags = OPEN_ACCEPT_RESETS;
	again();
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	rig_tpm_reset(&rig);
	assert_int_equal(rig_group_new(&rig, "other", 0, INSECURE, &a), 0);
	rig_tpm_reset(&rig);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
}

static void test_wrong_order(void **state)
{
	struct request q;

	(void)state;
	rig_keeper_start(&rig, NULL);
	rig_request(&rig, &q);
	assert_int_equal(ipc_send(rig.mgr, KEEPER_CA_NEW, &q.b, NULL, 0), 0);
	assert_int_equal(rig_keeper_wait(&rig), 1);
}

/*
 * Somebody on the way changes one byte of the answer to each command that opening a group takes.
 * Whatever it is: an error, never a group; and when he stops, the group opens with the right key.
 */
static int open_changed(uint32_t command, uint32_t at)
{
	int code;

	do {
		if (!rig.keeper) {
			rig.plan->command = 0;
			again();
		}
		*rig.plan = (struct proxy_plan){.command = command, .offset = at};
		code = rig_group_open(&rig, "default", &store.s, &a);
		if (code == ERR_TPM_LOST)
			assert_int_equal(rig_keeper_wait(&rig), 1);
	} while (code == ERR_TPM_LOST && !rig.plan->done); /* of the connection that a changed size has ended before */
	return code;
}

static void expect_right_key(void)
{
	struct key_give give;
	int fd = rig_link(&rig, 9);

	assert_int_equal(hand(&store.binding, store.wrapped, 9, false), 0);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	assert_memory_equal(give.key, store.key, KEY_LEN);
	assert_int_equal(rig_keeper_stop(&rig), 0);
}

/*
 * A changed handle of a new session is answered by the TPM as one that a reset took away, and that
 * is tried once more with everything new.
 */
static bool may_be_tried_again(uint32_t command, uint32_t at)
{
	return command == CC_START && at >= 10 && at <= 13;
}

static void change_every_byte(uint32_t command)
{
	uint32_t at;
	int code;

	for (at = 0; (code = open_changed(command, at)), rig.plan->done; at++) {
		if (!code && may_be_tried_again(command, at))
			expect_right_key();
		else if (code != ERR_TPM && code != ERR_TPM_LOST && !(code == ERR_AUTH && command == CC_LOAD))
			fail_msg("byte %u of the answer to %#x: code %d: %s", at, command, code, a.r.text);
	}
	assert_true(at > 10);
	if (code)
		fail_msg("%#x unchanged: code %d: %s", command, code, a.r.text);
	expect_right_key();
}

static void test_changed_answers(void **state)
{
	struct key_give give;
	int fd;

	(void)state;
	rig_proxy_start(&rig);
	begin(0, INSECURE);
	fd = rig_link(&rig, 8);
	assert_int_equal(hand(&store.binding, store.wrapped, 8, false), 0);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	memcpy(store.key, give.key, KEY_LEN);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	change_every_byte(CC_UNSEAL);
	change_every_byte(CC_POLICY_PCR);
	change_every_byte(CC_LOAD);
	change_every_byte(CC_START);
}

/*
 * The same for what a new group and a CA take. A size is left alone here: it only ends the
 * connection, as above.
 */
static void test_changed_seal(void **state)
{
	static const uint32_t commands[] = {CC_RANDOM, CC_PCR_READ, CC_CREATE};
	char group[16];
	int code;

	(void)state;
	rig_proxy_start(&rig);
	begin(0, INSECURE);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		for (uint32_t at = 6;; at++) {
			snprintf(group, sizeof(group), "g%zu", i);
			*rig.plan = (struct proxy_plan){.command = commands[i], .offset = at};
			code = rig_group_new(&rig, group, 0, INSECURE, &a);
			if (!rig.plan->done)
				break;
			if (code != ERR_TPM)
				fail_msg("byte %u of %#x: code %d: %s", at, commands[i], code, a.r.text);
		}
		assert_int_equal(code, 0);
	}
	*rig.plan = (struct proxy_plan){.command = CC_SIGN, .offset = 60};
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), ERR_TPM);
	assert_non_null(strstr(a.r.text, "does not verify"));
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
}

static int send_drop(uint64_t token)
{
	struct request q;

	assert_int_equal(keeper_key_drop_encode(rig_request(&rig, &q), token), 0);
	return ipc_send(rig.mgr, KEEPER_KEY_DROP, &q.b, NULL, 0);
}

/* A manager that asks and does not listen fills both queues; not one answer is lost, nor their order. */
static void test_unread_replies(void **state)
{
	struct keeper_reply r;
	struct ipc_msg m;
	uint64_t first;
	int err;

	(void)state;
	begin(0, INSECURE);
	first = rig.id + 1;
	while ((err = send_drop(99)) == 0)
		assert_true(rig.id < 100000);
	assert_int_equal(err, ERR_AGAIN);
	rig.id--; /* that one was not sent */
	for (uint64_t id = first; id <= rig.id; id++) {
		assert_int_equal(rig_backend_recv(rig.mgr, &m, a.mem, sizeof(a.mem)), 0);
		assert_int_equal(keeper_reply_decode(&m.body, &r), 0);
		assert_int_equal(r.id, id);
	}
	assert_int_equal(rig_ask_empty(&rig, KEEPER_STATUS, &a), 0);
}

/*
 * What a manager does that lost its own account of a request: it asks again. The same thing is no
 * error, another under the same name is; a new root takes the place of one that was never stored.
 */
static void test_asked_again(void **state)
{
	uint8_t first[CA_KEY_MAX], second[CA_KEY_MAX], old[SEALED_ROOT_MAX];
	struct sealed_root old_root = {0};
	size_t first_len, second_len, last;
	struct key_give give;
	struct ca_key ca;
	struct buf b;
	int fd;

	(void)state;
	begin(0, INSECURE);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
	first_len = a.r.result_len;
	memcpy(first, a.r.result, first_len);
	assert_int_equal(ask_ca_open(first, first_len), 0);
	assert_int_equal(rig_keeper_stop(&rig), 0);

	again();
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), 0);
	second_len = a.r.result_len;
	memcpy(second, a.r.result, second_len);
	assert_int_equal(ask_ca_open(second, second_len), 0);
	assert_int_equal(ask_ca_open(first, first_len), ERR_EXISTS);
	buf_wrap(&b, second, second_len);
	last = ca_key_decode(&b, &ca) ? 0 : (size_t)(ca.cert - second) + ca.cert_len - 1;
	second[last] ^= 1; /* the one in use suffers no harm from a row that was changed */
	assert_int_equal(ask_ca_open(second, second_len), ERR_AUTH);
	second[last] ^= 1;
	assert_int_equal(ask_ca_open(second, second_len), 0);

	memcpy(old, store.root, store.root_len);
	buf_wrap(&b, old, store.root_len);
	assert_int_equal(sealed_root_decode(&b, &old_root), 0);
	assert_int_equal(rig_group_new(&rig, "default", 0, INSECURE, &a), 0);
	keep_root();
	assert_int_equal(rig_group_open(&rig, "default", &old_root, &a), ERR_EXISTS);
	assert_int_equal(rig_group_open(&rig, "default", &store.s, &a), 0);
	assert_int_equal(hand(&store.binding, store.wrapped, 2, false), ERR_AUTH); /* wrapped under the old one */
	keep_key();
	assert_int_equal(hand(&store.binding, store.wrapped, 2, false), 0);
	fd = rig_link(&rig, 2);
	expect_key(fd, &give);
	rig_expect_closed(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, manager_setup, manager_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_status),	 TEST(test_keys_survive), TEST(test_changed_pcr),     TEST(test_default_pcrs),
		TEST(test_empty_pcrs),	 TEST(test_changed_rows), TEST(test_rebind),	      TEST(test_drop),
		TEST(test_certificates), TEST(test_many_links),	  TEST(test_other_tpm),	      TEST(test_lost_tpm),
		TEST(test_reset_tpm),	 TEST(test_wrong_order),  TEST(test_changed_answers), TEST(test_changed_seal),
		TEST(test_asked_again),	 TEST(test_unread_replies),
	};

	return cmocka_run_group_tests(tests, manager_check, NULL);
}
