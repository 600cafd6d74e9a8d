/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/store_fixture.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

char fixture_dir[32] = "/tmp/test_store.XXXXXX";

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb, (void)type, (void)ftw;
	return remove(path);
}

int fixture_setup(void **state)
{
	strcpy(fixture_dir, "/tmp/test_store.XXXXXX");
	*state = mkdtemp(fixture_dir);
	return *state ? 0 : -1;
}

int fixture_teardown(void **state)
{
	(void)state;
	return nftw(fixture_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct store *fixture_open_store(bool create)
{
	char why[TEXT_MAX + 1] = "";
	struct store *s;
	int err = store_open(&s, fixture_dir, create, why);

	if (err)
		fail_msg("%d: %s", err, why);
	return s;
}

void fixture_make_uuid(uint8_t uuid[static UUID_LEN], unsigned n)
{
	memset(uuid, 0x5a, UUID_LEN);
	uuid[0] = (uint8_t)n;
	uuid[1] = (uint8_t)(n >> 8);
}

struct store_vtpm fixture_make_vtpm(unsigned n)
{
	struct store_vtpm v = {.epoch = 1, .user = -1, .state_max = 65536, .created = 1700000000};

	fixture_make_uuid(v.uuid, n);
	snprintf(v.name, sizeof(v.name), "web%u", n);
	strcpy(v.group, "default");
	memset(v.wrapped, 0xa0 + (int)n, sizeof(v.wrapped));
	v.wrapped_len = WRAPPED_KEY_LEN;
	v.ek_public[0].len = 300;
	v.cert[1].len = CERT_MAX;
	memset(v.cert[1].data, 7, CERT_MAX);
	return v;
}

uint8_t fixture_sealed[STATE_LEN];

/* The next number, in this process or another. */
static uint64_t next_row(struct store *s)
{
	static uint64_t last;
	struct store_row rows[16];
	size_t n;

	do {
		assert_int_equal(store_journal_read(s, last + 1, rows, 16, &n), 0);
		if (n)
			last = rows[n - 1].n;
	} while (n);
	return ++last;
}

int fixture_commit(struct store *s, struct store_change *changes, size_t n)
{
	struct store_row row = {.n = next_row(s)};

	return store_commit(s, changes, n, &(struct store_tail){.row = &row});
}

static int commit_one(struct store *s, struct store_change *c)
{
	int err = fixture_commit(s, c, 1);

	return err == ERR_AGAIN ? c->result : err;
}

int fixture_insert(struct store *s, const struct store_vtpm *v, uint64_t version, const uint8_t *sealed, size_t len)
{
	return commit_one(s, &(struct store_change){
				     .op = STORE_INSERT, .row = v, .version = version, .sealed = sealed, .sealed_len = len});
}

int fixture_configure(struct store *s, const struct store_vtpm *v, uint8_t snapshots, const uint8_t *wrapped)
{
	struct store_vtpm to = *v;

	to.snapshots = snapshots;
	to.epoch++;
	memcpy(to.wrapped, wrapped, WRAPPED_KEY_LEN);
	return commit_one(s, &(struct store_change){.op = STORE_CONFIGURE, .row = v, .to = &to});
}

int fixture_delete(struct store *s, int64_t id)
{
	return commit_one(s, &(struct store_change){.op = STORE_DELETE, .id = id});
}

int fixture_group(struct store *s, const char *name)
{
	return commit_one(s, &(struct store_change){
				     .op = STORE_GROUP, .group = name, .sealed = (const uint8_t *)"root", .sealed_len = 4});
}

static void add_vtpm(struct store *s, unsigned n)
{
	struct store_vtpm v = fixture_make_vtpm(n);

	memset(fixture_sealed, (int)n, sizeof(fixture_sealed));
	assert_int_equal(fixture_insert(s, &v, 1, fixture_sealed, sizeof(fixture_sealed)), 0);
}

struct store *fixture_with_vtpms(unsigned n)
{
	struct store *s = fixture_open_store(true);

	assert_int_equal(fixture_group(s, "default"), 0);
	for (unsigned i = 1; i <= n; i++)
		add_vtpm(s, i);
	return s;
}

int fixture_commit_one(struct store *s, unsigned n, uint64_t version)
{
	struct store_change c = {.op = STORE_UPDATE, .version = version, .sealed = fixture_sealed, .sealed_len = sizeof(fixture_sealed)};

	fixture_make_uuid(c.uuid, n);
	memcpy(fixture_sealed, &version, sizeof(version));
	return commit_one(s, &c);
}

uint64_t fixture_version_of(struct store *s, unsigned n)
{
	uint8_t uuid[UUID_LEN];
	uint8_t p[STATE_LEN];
	size_t len = sizeof(p);
	uint64_t version;
	uint64_t inside;

	fixture_make_uuid(uuid, n);
	assert_int_equal(store_state_get(s, uuid, &version, p, &len), 0);
	assert_int_equal(len, STATE_LEN);
	memcpy(&inside, p, sizeof(inside));
	if (version > 1)
		assert_int_equal(inside, version);
	return version;
}

int fixture_expect_open(bool create, const char *text)
{
	char why[TEXT_MAX + 1] = "";
	struct store *s = NULL;
	int err = store_open(&s, fixture_dir, create, why);

	assert_true(err == 0 || s == NULL);
	if (err && text && !strstr(why, text))
		fail_msg("%s: no '%s'", why, text);
	store_close(s);
	return err;
}
