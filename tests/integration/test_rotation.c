/* SPDX-License-Identifier: BSD-2-Clause */
/* Roots and keys that are replaced: the real vtpm-keeper against a real software TPM, its manager and spawner played by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/ec.h>
#include <openssl/pem.h>

#include "tests/integration/test_keeper_manager.h"
#include "vtpm-mgr/escrow/envelope.h"
#include "vtpm-mgr/keeper/wrap.h"
#include "vtpm-mgr/proto/escrow.h"

#define DRTM (1u << 17) /* the PCR that swtpm's control channel extends, while the keeper has the TPM's other one */

static void measure(const char *what)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "swtpm_ioctl --unix %s/tpm.ctrl -h %s", rig.dir, what);
	assert_int_equal(system(cmd), 0);
}

static int renew(const struct key_binding *later, uint64_t token)
{
	struct keeper_key_hand m = {.binding = store.binding, .wrapped = store.wrapped, .wrapped_len = WRAPPED_KEY_LEN, .token = token, .renew = true};
	struct request q;

	memcpy(m.config, later->config, DIGEST_LEN);
	assert_int_equal(keeper_key_hand_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_KEY_HAND, &q, &a);
}

static void receive(uint64_t token, const struct key_binding *b, const uint8_t *wrapped, struct key_give *give)
{
	int fd = rig_link(&rig, token);

	assert_int_equal(hand(b, wrapped, token, false), 0);
	assert_int_equal(a.r.result_len, 0);
	expect_key(fd, give);
	rig_expect_closed(fd);
	assert_false(give->renew);
}

/* Two keys for one backend: the second is the row's from then on, if it says what the wrapping is bound to. */
static void test_another_key(void **state)
{
	struct key_binding later;
	struct key_give give, after;
	uint8_t next[WRAPPED_KEY_LEN];
	int fd;

	(void)state;
	begin(0, SEAL_INSECURE_PCRS);
	later = store.binding;
	later.config[0] ^= 1;
	fd = rig_link(&rig, 1);
	assert_int_equal(renew(&later, 1), 0);
	assert_int_equal(a.r.result_len, WRAPPED_KEY_LEN);
	memcpy(next, a.r.result, WRAPPED_KEY_LEN);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	assert_true(give.renew);
	assert_memory_not_equal(give.key, give.next, KEY_LEN);
	assert_int_equal(hand(&store.binding, next, 2, false), ERR_AUTH);
	assert_int_equal(hand(&later, store.wrapped, 2, false), ERR_AUTH);
	receive(2, &later, next, &after);
	assert_memory_equal(after.key, give.next, KEY_LEN);
}

/* ---- roots ---- */

static int reseal(void)
{
	struct keeper_group_open m = {.root = store.s};
	struct request q;

	strcpy(m.group, "default");
	assert_int_equal(keeper_group_open_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_GROUP_RESEAL, &q, &a);
}

static int reseal_key(const struct key_binding *later)
{
	struct key_reseal m = {.binding = store.binding, .wrapped = store.wrapped, .wrapped_len = WRAPPED_KEY_LEN};
	struct request q;

	memcpy(m.config, later->config, DIGEST_LEN);
	assert_int_equal(key_reseal_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_KEY_RESEAL, &q, &a);
}

static int switch_root(uint32_t type)
{
	struct request q;

	assert_int_equal(group_name_encode(rig_request(&rig, &q), "default"), 0);
	return rig_ask(&rig, type, &q, &a);
}

/* The same key, for a row that says another thing; under the root before until it is forgotten, and then no more. */
static void test_another_root(void **state)
{
	struct key_binding later;
	struct key_give was, give;
	uint8_t next[WRAPPED_KEY_LEN];

	(void)state;
	begin(0, SEAL_INSECURE_PCRS);
	receive(1, &store.binding, store.wrapped, &was);
	later = store.binding;
	later.config[0] ^= 1;
	assert_int_equal(reseal_key(&later), ERR_WRONG_STATE);
	assert_int_equal(reseal(), 0);
	assert_int_equal(reseal_key(&later), 0);
	memcpy(next, a.r.result, WRAPPED_KEY_LEN);
	assert_int_equal(hand(&later, next, 2, false), ERR_AUTH);
	assert_int_equal(switch_root(KEEPER_GROUP_SWITCH), 0);
	assert_int_equal(switch_root(KEEPER_GROUP_RETURN), 0); /* it was not stored */
	assert_int_equal(hand(&later, next, 2, false), ERR_AUTH);
	receive(2, &store.binding, store.wrapped, &give);
	assert_int_equal(switch_root(KEEPER_GROUP_SWITCH), ERR_WRONG_STATE);
	assert_int_equal(reseal(), 0);
	assert_int_equal(reseal_key(&later), 0);
	memcpy(next, a.r.result, WRAPPED_KEY_LEN);
	assert_int_equal(switch_root(KEEPER_GROUP_SWITCH), 0);
	receive(3, &later, next, &give);
	assert_memory_equal(give.key, was.key, KEY_LEN);
	assert_int_equal(hand(&store.binding, next, 4, false), ERR_AUTH);
	receive(4, &store.binding, store.wrapped, &give);
	assert_int_equal(switch_root(KEEPER_GROUP_SWITCHED), 0);
	assert_int_equal(switch_root(KEEPER_GROUP_RETURN), 0); /* too late */
	assert_int_equal(hand(&store.binding, store.wrapped, 5, false), ERR_AUTH);
	receive(6, &later, next, &give);
}

/* A PCR that was extended since somebody has last looked is not sealed to: the root before must unseal first. */
static void test_changed_meanwhile(void **state)
{
	(void)state;
	begin(1u << 4 | DRTM, SEAL_INSECURE_PCRS);
	assert_int_equal(reseal(), 0);
	measure("measured-meanwhile");
	assert_int_equal(reseal(), ERR_PCR);
	assert_non_null(strstr(a.r.text, "PCR 17 is "));
}

/* A row with another root, whose policy somebody chose: the successor would be under that. */
static void test_another_row(void **state)
{
	uint8_t mem[SEALED_ROOT_MAX];
	struct sealed_root now, before = {0};
	struct buf b;

	(void)state;
	begin(1u << 4, SEAL_INSECURE_PCRS);
	assert_int_equal(reseal(), 0);
	memcpy(mem, store.root, store.root_len);
	buf_wrap(&b, mem, store.root_len);
	assert_int_equal(sealed_root_decode(&b, &before), 0);
	assert_int_equal(rig_group_new(&rig, "default", 1u << 5, SEAL_INSECURE_PCRS, &a), 0);
	keep_root();
	now = store.s;
	store.s = before;
	assert_int_equal(reseal(), ERR_AUTH);
	assert_non_null(strstr(a.r.text, "another root than is open"));
	store.s = now;
	assert_int_equal(reseal(), 0);
}

/* What a challenge says: the keeper's key, and what the recovery key opens of it, if there is one. */
static EVP_PKEY *challenge(EVP_PKEY *offline, uint8_t nonce[static CHALLENGE_NONCE_LEN])
{
	const uint8_t *envelope, *der;
	size_t envelope_len, len;
	struct buf b, context;
	EVP_PKEY *key = NULL;
	uint8_t n, ctx[ESCROW_CONTEXT_MAX];

	assert_int_equal(rig_ask_empty(&rig, KEEPER_CHALLENGE, &a), 0);
	buf_wrap(&b, a.r.result, a.r.result_len);
	assert_int_equal(buf_get_u8(&b, &n) | buf_get_var(&b, ENVELOPE_MAX, &envelope, &envelope_len) | buf_get_var(&b, PUBKEY_MAX, &der, &len), 0);
	assert_int_equal(n, 1);
	assert_int_equal(buf_left(&b), 0);
	assert_int_equal(envelope_key_decode(der, len, &key), 0);
	buf_init(&context, ctx, sizeof(ctx));
	assert_int_equal(nonce_context(&context), 0);
	assert_int_equal(envelope_open(offline, &context, envelope, envelope_len, nonce), 0);
	return key;
}

/* A root of the manager's own, as an answer to a challenge that it has asked for. */
static int restore(const char *group, EVP_PKEY *key, const uint8_t nonce[static CHALLENGE_NONCE_LEN])
{
	struct escrow_tag tag = {.what = ESCROW_ROOT};
	uint8_t root[KEY_LEN] = "of the manager's own", mem[ENVELOPE_MAX], ctx[ESCROW_CONTEXT_MAX];
	struct root_restore m = {.flags = SEAL_INSECURE_PCRS, .envelope = mem};
	struct buf b, context;
	struct request q;

	snprintf(tag.group, sizeof(tag.group), "%s", group);
	assert_int_equal(wrap_root_id(root, tag.root_id), 0);
	buf_init(&context, ctx, sizeof(ctx));
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(escrow_context(&context, &tag, nonce), 0);
	assert_int_equal(envelope_seal(key, &context, root, &b), 0);
	m.tag = tag;
	m.envelope_len = b.len;
	assert_int_equal(root_restore_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_ROOT_RESTORE, &q, &a);
}

/* Before the keeper starts: the public half where it looks. */
static EVP_PKEY *recovery_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char path[256];
	FILE *f;

	assert_non_null(key);
	snprintf(path, sizeof(path), "%s/recovery.d", rig.dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/recovery.d/a.pem", rig.dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_PUBKEY(f, key), 1);
	assert_int_equal(fclose(f), 0);
	return key;
}

/* Anybody can encrypt a root to the keeper. Only who has an offline key knows what its answer is bound to; and one that is open is not replaced. */
static void test_restore(void **state)
{
	const uint8_t guess[CHALLENGE_NONCE_LEN] = {0};
	uint8_t nonce[CHALLENGE_NONCE_LEN];
	EVP_PKEY *offline = recovery_key(), *key;
	struct key_give give;

	(void)state;
	begin(0, SEAL_INSECURE_PCRS);
	key = challenge(offline, nonce);
	assert_int_equal(restore("closed", key, guess), ERR_AUTH);
	assert_int_equal(restore("default", key, nonce), ERR_WRONG_STATE);
	assert_int_equal(restore("closed", key, nonce), 0);
	EVP_PKEY_free(key);
	EVP_PKEY_free(offline);
	receive(1, &store.binding, store.wrapped, &give);
}

static void test_nobody_could_answer(void **state)
{
	(void)state;
	begin(0, SEAL_INSECURE_PCRS);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CHALLENGE, &a), ERR_NOTFOUND);
	assert_non_null(strstr(a.r.text, "recovery key"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, manager_setup, manager_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_another_key),
		TEST(test_another_root),
		TEST(test_changed_meanwhile),
		TEST(test_another_row),
		TEST(test_restore),
		TEST(test_nobody_could_answer),
	};

	return cmocka_run_group_tests(tests, manager_check, NULL);
}
