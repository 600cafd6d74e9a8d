/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Launches: event logs, as a backend gets them, and rules, as the store has them. The first byte says which, and what a log is given for a
 * beginning: otherwise few inputs would come behind it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/launch_rules.h"
#include "vtpm-mgr/proto/launch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read, written again, is the same bytes. */
static void fuzz_log(const uint8_t *data, size_t size)
{
	static uint8_t mem[LAUNCH_LOG_MAX];
	struct launch_event e;
	struct launch_log l;
	struct buf again;
	int err;

	if (launch_log_open(&l, data, size))
		return;
	buf_init(&again, mem, sizeof(mem));
	err = launch_log_begin(&again, l.sha1, l.crtm);
	while (!err && !(err = launch_log_next(&l, &e)))
		err = launch_log_add(&again, l.sha1, &e);
	if (err == ERR_RANGE || (err == ERR_NOTFOUND && (again.len != size || memcmp(mem, data, size) != 0)))
		abort();
	if ((err == ERR_NOTFOUND) != (launch_log_check(data, size, true) == 0))
		abort();
}

static void fuzz_begun(bool sha1, bool crtm, const uint8_t *data, size_t size)
{
	uint8_t *log = malloc(256 + 200 + size);
	struct buf b;

	if (!log)
		abort();
	buf_init(&b, log, 256 + 200 + size);
	if (launch_log_begin(&b, sha1, crtm) || buf_put_bytes(&b, data, size))
		abort();
	fuzz_log(log, b.len);
	free(log);
}

/* Rules that are good stay so, whatever is added and removed. */
static void fuzz_rules(const uint8_t *data, size_t size)
{
	static struct store_rules r, before;
	static const uint8_t digest[DIGEST_LEN] = { 1 };
	const struct rule one = { .kind = RULE_DIGEST, .value = digest, .len = DIGEST_LEN };
	const struct rules_launch l = { .digest = digest, .log = data, .log_len = size, .signature = data, .signature_len = size < 80 ? size : 80 };
	int err;

	if (size > STORE_RULES_MAX)
		return;
	memcpy(r.data, data, size);
	r.len = size;
	err = rules_check(&r);
	if ((rules_judge(&r, &l) == ERR_AUTH) != (err != 0))
		abort();
	before = r;
	if (err || rules_add(&r, &one))
		return;
	if (rules_check(&r) || rules_judge(&r, &l) || rules_remove(&r, &one) || rules_check(&r))
		abort();
	if (before.len > 0 && (r.len != before.len || memcmp(r.data, before.data, r.len) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 6) {
	case 0:
		fuzz_log(data + 1, size - 1);
		break;
	case 5:
		fuzz_rules(data + 1, size - 1);
		break;
	default:
		fuzz_begun(data[0] & 8, data[0] & 16, data + 1, size - 1);
	}
	return 0;
}
