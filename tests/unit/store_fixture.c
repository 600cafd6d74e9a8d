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

static void add_vtpm(struct store *s, unsigned n)
{
	struct store_vtpm v = fixture_make_vtpm(n);

	memset(fixture_sealed, (int)n, sizeof(fixture_sealed));
	assert_int_equal(store_vtpm_insert(s, &v, 1, fixture_sealed, sizeof(fixture_sealed)), 0);
}

struct store *fixture_with_vtpms(unsigned n)
{
	struct store *s = fixture_open_store(true);

	assert_int_equal(store_group_put(s, "default", "root", 4), 0);
	for (unsigned i = 1; i <= n; i++)
		add_vtpm(s, i);
	return s;
}

int fixture_commit_one(struct store *s, unsigned n, uint64_t version)
{
	struct store_change c = {.version = version, .sealed = fixture_sealed, .sealed_len = sizeof(fixture_sealed)};
	int err;

	fixture_make_uuid(c.uuid, n);
	memcpy(fixture_sealed, &version, sizeof(version));
	err = store_commit(s, &c, 1);
	return err ? err : c.result;
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
