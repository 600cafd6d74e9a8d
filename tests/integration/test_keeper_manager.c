/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/test_keeper_manager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

struct rig rig;
struct answer a;
struct store store;

int manager_check(void **state)
{
	(void)state;
	rig_check();
	return 0;
}

int manager_setup(void **state)
{
	(void)state;
	rig_start(&rig);
	return 0;
}

int manager_teardown(void **state)
{
	(void)state;
	rig_stop(&rig);
	return 0;
}

void keep_root(void)
{
	struct buf b;

	store.root_len = a.r.result_len;
	memcpy(store.root, a.r.result, a.r.result_len);
	buf_wrap(&b, store.root, store.root_len);
	assert_int_equal(sealed_root_decode(&b, &store.s), 0);
	assert_int_equal(buf_left(&b), 0);
}

int key_new(const struct key_binding *b)
{
	struct request q;

	assert_int_equal(key_binding_encode(rig_request(&rig, &q), b), 0);
	return rig_ask(&rig, KEEPER_KEY_NEW, &q, &a);
}

void keep_key(void)
{
	store.binding = (struct key_binding){.group = "default", .uuid = {1, 2, 3}, .epoch = 7, .config = {9}};
	assert_int_equal(key_new(&store.binding), 0);
	assert_int_equal(a.r.result_len, WRAPPED_KEY_LEN);
	memcpy(store.wrapped, a.r.result, WRAPPED_KEY_LEN);
}

static void keep_names(void)
{
	struct keeper_adopted m;
	struct buf b;

	buf_wrap(&b, a.r.result, a.r.result_len);
	assert_int_equal(keeper_adopted_decode(&b, &m), 0);
	assert_int_equal(buf_left(&b), 0);
	assert_int_equal(m.ek_len, 34);
	store.open_flags = 0;
	store.name_len = m.name_len;
	memcpy(store.name, m.name, m.name_len);
	store.ek_len = m.ek_len;
	memcpy(store.ek, m.ek, m.ek_len);
}

void begin(uint32_t mask, uint32_t flags)
{
	rig_keeper_start(&rig, NULL);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_ADOPT, &a), 0);
	keep_names();
	assert_int_equal(rig_group_new(&rig, "default", mask, flags, &a), 0);
	keep_root();
	keep_key();
}

int open_srk(void)
{
	const struct keeper_open m = {.name = store.name, .name_len = store.name_len, .ek = store.ek, .ek_len = store.ek_len, .flags = store.open_flags};
	struct request q;

	assert_int_equal(keeper_open_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_OPEN, &q, &a);
}

void again(void)
{
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_srk(), 0);
}

int hand(const struct key_binding *b, const uint8_t *wrapped, uint64_t token, bool certify)
{
	struct keeper_key_hand m = {
		.binding = *b, .wrapped = wrapped, .wrapped_len = WRAPPED_KEY_LEN, .token = token, .certify = certify ? 3 : 0};
	struct request q;

	assert_int_equal(keeper_key_hand_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_KEY_HAND, &q, &a);
}

void expect_key(int fd, struct key_give *give)
{
	uint8_t mem[KEY_GIVE_SIZE];
	struct ipc_msg m;

	assert_int_equal(rig_backend_recv(fd, &m, mem, sizeof(mem)), 0);
	assert_int_equal(m.type, KEY_GIVE);
	assert_int_equal(key_give_decode(&m.body, give), 0);
	assert_memory_equal(give->uuid, store.binding.uuid, UUID_LEN);
	assert_int_equal(give->epoch, store.binding.epoch);
}

int ask_ca_open(const uint8_t *row, size_t len)
{
	struct request q;

	assert_int_equal(buf_put_bytes(rig_request(&rig, &q), row, len), 0);
	return rig_ask(&rig, KEEPER_CA_OPEN, &q, &a);
}
