/* SPDX-License-Identifier: BSD-2-Clause */
/* Backups: the header of a file, copies of a store and what comes back of them, how the keeper seals their parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "vtpm-mgr/backup_file.h"
#include "vtpm-mgr/keeper/backup.h"
#include "vtpm-mgr/keeper/wrap.h"

/* ---- the header ---- */

static const uint8_t name[34] = {0, 11, 1}, root[1000] = {2};

/* What n offline keys hold of a root. */
static size_t make_set(uint8_t mem[static ESCROW_SET_MAX], unsigned n)
{
	static const uint8_t id[ROOT_ID_LEN] = {7};
	uint8_t envelope[ENVELOPE_MAX] = {1};
	struct buf b;

	buf_init(&b, mem, ESCROW_SET_MAX);
	assert_int_equal(buf_put_bytes(&b, id, sizeof(id)) | buf_put_u8(&b, (uint8_t)n), 0);
	for (unsigned i = 0; i < n; i++) {
		memset(envelope + 1, (int)i + 1, DIGEST_LEN);
		assert_int_equal(buf_put_var(&b, envelope, ENVELOPE_MIN + i), 0);
	}
	return b.len;
}

static void keep(struct backup_header *h, const char *group, uint8_t mem[static ESCROW_SET_MAX], unsigned n)
{
	struct backup_kept *k = &h->kept[h->nkept++];
	size_t len = make_set(mem, n);

	snprintf(k->group, sizeof(k->group), "%s", group);
	assert_int_equal(escrow_set_decode(mem, len, &k->set), 0);
}

static size_t make_header(uint8_t mem[static BACKUP_HEADER_MAX])
{
	static uint8_t first[ESCROW_SET_MAX], second[ESCROW_SET_MAX];
	struct backup_header h = {.key_id = {1},
				  .salt = {2},
				  .created = 1234567890,
				  .size = 5 * BACKUP_PART + 1,
				  .srk_name = name,
				  .srk_name_len = sizeof(name),
				  .root = root,
				  .root_len = sizeof(root)};
	struct buf b;

	keep(&h, "default", first, 2);
	keep(&h, "vault", second, RECOVERY_KEYS_MAX);

	buf_init(&b, mem, BACKUP_HEADER_MAX);
	assert_int_equal(backup_header_encode(&b, &h), 0);
	return b.len;
}

static int decode(const uint8_t *p, size_t n, struct backup_header *h)
{
	struct buf b;

	buf_wrap(&b, p, n);
	return backup_header_decode(&b, h);
}

static void test_header(void **state)
{
	uint8_t mem[BACKUP_HEADER_MAX];
	struct backup_header h;
	size_t len = make_header(mem), told;
	uint8_t fingerprint[DIGEST_LEN];
	struct recovery_keys keys;
	struct buf b;

	(void)state;
	buf_wrap(&b, mem, BACKUP_PREFIX_SIZE);
	assert_int_equal(backup_prefix_decode(&b, &told), 0);
	assert_int_equal(told, len);
	assert_int_equal(decode(mem, len, &h), 0);
	assert_int_equal(h.created, 1234567890);
	assert_int_equal(h.size, 5 * BACKUP_PART + 1);
	assert_int_equal(h.root_len, sizeof(root));
	assert_memory_equal(h.root, root, sizeof(root));
	assert_memory_equal(h.srk_name, name, sizeof(name));
	assert_int_equal(h.nkept, 2);
	assert_string_equal(h.kept[0].group, "default");
	assert_string_equal(h.kept[1].group, "vault");
	assert_int_equal(h.kept[1].set.n, RECOVERY_KEYS_MAX);
	backup_header_keys(&h, &keys);
	assert_int_equal(keys.n, 2);
	memset(fingerprint, 2, sizeof(fingerprint));
	assert_memory_equal(keys.fingerprints[1], fingerprint, sizeof(fingerprint));
	for (size_t n = 0; n < len; n++)
		assert_int_not_equal(decode(mem, n, &h), 0);
	mem[len] = 0;
	assert_int_not_equal(decode(mem, len + 1, &h), 0);
}

static void test_header_lies(void **state)
{
	uint8_t mem[BACKUP_HEADER_MAX];
	struct backup_header h;
	size_t len = make_header(mem);
	const size_t at_created = BACKUP_PREFIX_SIZE + DIGEST_LEN + BACKUP_SALT_LEN, at_size = at_created + 8;

	(void)state;
	mem[8] = 2;
	assert_int_equal(decode(mem, len, &h), ERR_VERSION);
	mem[8] = 0;
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	mem[0] = 'v';
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	memset(mem + 12, 0xff, 4); /* its length */
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	memset(mem + at_created, 0xff, 8);
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	memset(mem + at_size, 0, 8);
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	memset(mem + at_size, 0xff, 8);
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	memset(mem + at_size + 8, 0xff, 4); /* the name's */
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
}

/* Offsets in the header of make_header: of the number of groups, and of what follows it. */
static void test_kept_lies(void **state)
{
	const size_t at = BACKUP_HEADER_MIN - 1 + sizeof(name) + sizeof(root), name_at = at + 5, n_at = name_at + 7 + 4 + ROOT_ID_LEN;
	uint8_t mem[BACKUP_HEADER_MAX];
	struct backup_header h;
	size_t len = make_header(mem);

	(void)state;
	assert_int_equal(mem[at], 2);
	assert_memory_equal(mem + name_at, "default", 7);
	assert_int_equal(mem[n_at], 2);
	mem[at] = KEEPER_GROUPS_MAX + 1;
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	mem[at] = 1;
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	mem[at] = 0;
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	mem[name_at] = 'D'; /* whatever is known of another group, nothing opens the file */
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	mem[name_at] = '/';
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
	make_header(mem);
	for (unsigned n = 0; n < 256; n++) {
		mem[n_at] = (uint8_t)n;
		assert_int_equal(decode(mem, len, &h), n == 2 ? 0 : ERR_PROTO);
	}
	make_header(mem);
	mem[n_at + 1]--; /* an envelope that is too short */
	assert_int_equal(decode(mem, len, &h), ERR_PROTO);
}

/* As many groups as there can be, with as many keys. */
static void test_kept_most(void **state)
{
	uint8_t *mem = malloc(BACKUP_HEADER_MAX), set[ESCROW_SET_MAX], envelope[ENVELOPE_MAX] = {0};
	struct backup_header h = {.size = 1, .nkept = KEEPER_GROUPS_MAX}, back;
	struct buf b;

	(void)state;
	assert_non_null(mem);
	buf_init(&b, set, sizeof(set));
	assert_int_equal(buf_put_bytes(&b, envelope, ROOT_ID_LEN) | buf_put_u8(&b, RECOVERY_KEYS_MAX), 0);
	for (unsigned i = 0; i < RECOVERY_KEYS_MAX; i++)
		assert_int_equal(buf_put_var(&b, envelope, sizeof(envelope)), 0);
	assert_int_equal(b.len, ESCROW_SET_MAX);
	for (unsigned i = 0; i < h.nkept; i++) {
		snprintf(h.kept[i].group, sizeof(h.kept[i].group), i ? "%064u" : DEFAULT_GROUP, i);
		assert_int_equal(escrow_set_decode(set, b.len, &h.kept[i].set), 0);
	}
	buf_init(&b, mem, BACKUP_HEADER_MAX);
	assert_int_equal(backup_header_encode(&b, &h), 0);
	assert_int_equal(decode(mem, b.len, &back), 0);
	assert_int_equal(back.nkept, KEEPER_GROUPS_MAX);
	free(mem);
}

static void test_parts(void **state)
{
	(void)state;
	assert_int_equal(backup_parts(1), 1);
	assert_int_equal(backup_parts(BACKUP_PART), 1);
	assert_int_equal(backup_parts(BACKUP_PART + 1), 2);
	assert_int_equal(backup_part_len(BACKUP_PART + 1, 0), BACKUP_PART);
	assert_int_equal(backup_part_len(BACKUP_PART + 1, 1), 1);
	assert_int_equal(backup_part_len(BACKUP_PART, 0), BACKUP_PART);
}

/* ---- sealing ---- */

static void test_seal(void **state)
{
	const uint8_t key[KEY_LEN] = {1}, other[KEY_LEN] = {2}, text[100] = {3};
	uint8_t sealed[BACKUP_PART + BACKUP_TAG], back[BACKUP_PART], id[DIGEST_LEN], id2[DIGEST_LEN];
	struct backup_part p = {.file = {4}, .n = 5, .data = text, .len = sizeof(text)}, q;
	static const uint8_t zero[BACKUP_PART];

	(void)state;
	assert_int_equal(backup_seal(key, &p, sealed), 0);
	q = p, q.data = sealed, q.len = sizeof(text) + BACKUP_TAG;
	assert_int_equal(backup_open(key, &q, back), 0);
	assert_memory_equal(back, text, sizeof(text));
	assert_int_equal(backup_open(other, &q, back), ERR_AUTH);
	assert_memory_equal(back, zero, sizeof(text));
	/* Its place, its file, whether it is the last, its length. */
	q.n = 6;
	assert_int_equal(backup_open(key, &q, back), ERR_AUTH);
	q.n = 5, q.file[31] = 1;
	assert_int_equal(backup_open(key, &q, back), ERR_AUTH);
	q.file[31] = 0, q.last = true;
	assert_int_equal(backup_open(key, &q, back), ERR_AUTH);
	q.last = false;
	for (q.len = 0; q.len < sizeof(text) + BACKUP_TAG; q.len++)
		assert_int_equal(backup_open(key, &q, back), ERR_AUTH);
	for (size_t i = 0; i < 8 * q.len; i++) {
		sealed[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(backup_open(key, &q, back), ERR_AUTH);
		sealed[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(backup_open(key, &q, back), 0);
	p.len = 0;
	assert_int_equal(backup_seal(key, &p, sealed), ERR_RANGE);
	p.len = BACKUP_PART + 1;
	assert_int_equal(backup_seal(key, &p, sealed), ERR_RANGE);
	assert_int_equal(backup_key_id(key, id), 0);
	assert_int_equal(backup_key_id(other, id2), 0);
	assert_memory_not_equal(id, id2, sizeof(id));
}

static void test_key(void **state)
{
	/* HKDF-SHA256 of 32 bytes 0x0b, no salt, info "vtpm backup key v1", by another implementation. */
	static const char want[] = "baa58d08e04103e3702b156bea2e4c4897444331859e898314a1db0d296f6a04";
	uint8_t secret[KEY_LEN], key[KEY_LEN];
	char hex[2 * KEY_LEN + 1];

	(void)state;
	memset(secret, 0x0b, sizeof(secret));
	assert_int_equal(wrap_derive_backup(secret, key), 0);
	assert_int_equal(hex_encode(key, sizeof(key), hex, sizeof(hex)), 0);
	assert_string_equal(hex, want);
}

/* ---- copies of a store ---- */

/* The whole copy; between each two steps another commit. */
static struct store_copy *copy_of(struct store *s, unsigned n, uint64_t *version)
{
	struct store_copy *c;
	int err;

	assert_int_equal(store_copy_begin(s, &c), 0);
	while ((err = store_copy_step(c)) == ERR_AGAIN)
		assert_int_equal(fixture_commit_one(s, n, ++*version), 0);
	assert_int_equal(err, 0);
	return c;
}

static struct store *open_copy(const struct store_copy *c, int want)
{
	char why[TEXT_MAX + 1];
	struct store *s;
	size_t len;
	const uint8_t *bytes = store_copy_bytes(c, &len);
	uint8_t *image = store_image_alloc(len);

	assert_non_null(bytes);
	assert_non_null(image);
	memcpy(image, bytes, len);
	assert_int_equal(store_image_open(&s, image, len, why), want);
	return s;
}

/* As of its last step, and of no time in between; the store goes on. */
static void test_copy_is_of_one_instant(void **state)
{
	struct store *s = fixture_with_vtpms(60), *from;
	struct store_copy *c;
	uint64_t version = 1;

	(void)state;
	c = copy_of(s, 7, &version);
	assert_true(version > 1); /* or it has shown nothing */
	assert_int_equal(fixture_commit_one(s, 7, version + 1), 0);
	from = open_copy(c, 0);
	assert_int_equal(fixture_version_of(from, 7), version);
	assert_int_equal(fixture_version_of(from, 60), 1);
	assert_int_equal(fixture_version_of(s, 7), version + 1);
	assert_int_not_equal(fixture_commit_one(from, 7, version + 1), 0); /* read only */
	store_close(from);
	store_copy_free(c);
	store_close(s);
	s = fixture_open_store(false);
	assert_int_equal(fixture_version_of(s, 7), version + 1);
	store_close(s);
}

static void test_copy_of_some(void **state)
{
	struct store *s = fixture_with_vtpms(60), *from;
	struct store_vtpm *row = malloc(sizeof(*row));
	struct store_copy *c;
	uint64_t version = 1;
	uint8_t keep[2][UUID_LEN];
	size_t all, some;

	(void)state;
	assert_non_null(row);
	c = copy_of(s, 7, &version);
	store_copy_bytes(c, &all);
	fixture_make_uuid(keep[0], 7);
	fixture_make_uuid(keep[1], 9);
	assert_int_equal(store_copy_keep(c, (const uint8_t(*)[UUID_LEN])keep, 2), 0);
	store_copy_bytes(c, &some);
	assert_true(some < all / 5);
	from = open_copy(c, 0);
	assert_int_equal(fixture_version_of(from, 7), version);
	assert_int_equal(fixture_version_of(from, 9), 1);
	fixture_make_uuid(keep[0], 8);
	assert_int_equal(store_vtpm_by_uuid(from, keep[0], row), ERR_NOTFOUND);
	store_close(from);
	store_copy_free(c);
	store_close(s);
	free(row);
}

/* What is no store of this release is refused, as on the disk. */
static void test_image_lies(void **state)
{
	struct store *s = fixture_with_vtpms(1), *from;
	struct store_copy *c;
	uint64_t version = 1;
	char why[TEXT_MAX + 1];
	size_t len;
	uint8_t *bytes, *image;

	(void)state;
	c = copy_of(s, 1, &version);
	bytes = (uint8_t *)(uintptr_t)store_copy_bytes(c, &len);
	bytes[63] = STORE_SCHEMA + 1; /* user_version: https://sqlite.org/fileformat2.html, section 1.3 */
	from = open_copy(c, ERR_VERSION);
	bytes[63] = STORE_SCHEMA;
	bytes[71] ^= 1; /* application_id */
	from = open_copy(c, ERR_AUTH);
	bytes[71] ^= 1;
	bytes[0] ^= 1;
	from = open_copy(c, ERR_AUTH);
	bytes[0] ^= 1;
	from = open_copy(c, 0);
	store_close(from);
	image = store_image_alloc(10);
	assert_int_equal(store_image_open(&from, image, 10, why), ERR_AUTH);
	image = store_image_alloc(len);
	memset(image, 0xff, len);
	assert_int_equal(store_image_open(&from, image, len, why), ERR_AUTH);
	store_copy_free(c);
	store_close(s);
}

/* Of the image a store on the disk is made, once. */
static void test_image_becomes_a_store(void **state)
{
	struct store *s = fixture_with_vtpms(3), *from;
	struct store_copy *c;
	uint64_t version = 1;
	char cmd[80];

	(void)state;
	c = copy_of(s, 2, &version);
	from = open_copy(c, 0);
	assert_int_equal(store_image_write(from, fixture_dir), ERR_EXISTS);
	store_close(s);
	snprintf(cmd, sizeof(cmd), "rm %s/vtpm.db*", fixture_dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(store_image_write(from, fixture_dir), 0);
	s = fixture_open_store(false);
	assert_int_equal(fixture_version_of(s, 2), version);
	assert_int_equal(fixture_commit_one(s, 2, version + 1), 0);
	store_close(s);
	store_close(from);
	store_copy_free(c);
}

/* ---- what comes back ---- */

static int restore(struct store *s, struct store *from, struct store_restored *v, size_t n)
{
	struct store_restore r = {.from = from, .v = v, .n = n};
	struct store_change ch = {.op = STORE_RESTORE, .restore = &r};
	int err = fixture_commit(s, &ch, 1);

	return err == ERR_AGAIN ? ch.result : err;
}

static void test_restore(void **state)
{
	struct store *s = fixture_with_vtpms(3), *from;
	struct store_vtpm *row = malloc(sizeof(*row));
	struct store_restored v[2] = {{.epoch = 77, .wrapped = {9}, .leaf.version = 1},
				      {.epoch = 78, .wrapped = {8}, .leaf.version = 1}};
	struct store_copy *c;
	uint64_t version = 1;
	int64_t id;

	(void)state;
	assert_non_null(row);
	c = copy_of(s, 3, &version);
	from = open_copy(c, 0);
	fixture_make_uuid(v[0].uuid, 1);
	fixture_make_uuid(v[1].uuid, 2);
	assert_int_equal(store_vtpm_by_uuid(s, v[0].uuid, row), 0);
	id = row->id;
	assert_int_equal(fixture_commit_one(s, 1, 2), 0);
	assert_int_equal(fixture_commit_one(s, 1, 3), 0);
	assert_int_equal(store_vtpm_by_uuid(s, v[1].uuid, row), 0);
	assert_int_equal(fixture_delete(s, row->id), 0);
	/* All or nothing: the second one's state is not the one that its leaf says. */
	v[1].leaf.version = 2;
	assert_int_equal(restore(s, from, v, 2), ERR_AUTH);
	assert_int_equal(fixture_version_of(s, 1), 3);
	assert_int_equal(store_vtpm_by_uuid(s, v[1].uuid, row), ERR_NOTFOUND);
	v[1].leaf.version = 1;
	assert_int_equal(restore(s, from, v, 2), 0);
	assert_int_equal(fixture_version_of(s, 1), 1);
	assert_int_equal(fixture_version_of(s, 2), 1);
	assert_int_equal(store_vtpm_by_uuid(s, v[0].uuid, row), 0);
	assert_int_equal(row->id, id); /* or its machine's newest would be another */
	assert_int_equal(row->epoch, 77);
	assert_memory_equal(row->wrapped, v[0].wrapped, WRAPPED_KEY_LEN);
	store_close(from);
	store_copy_free(c);
	store_close(s);
	free(row);
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_header_lies),
		cmocka_unit_test(test_kept_lies),
		cmocka_unit_test(test_kept_most),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_key),
		STORE_TEST(test_copy_is_of_one_instant),
		STORE_TEST(test_copy_of_some),
		STORE_TEST(test_image_lies),
		STORE_TEST(test_image_becomes_a_store),
		STORE_TEST(test_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
