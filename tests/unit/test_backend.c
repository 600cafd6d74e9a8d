/* SPDX-License-Identifier: BSD-2-Clause */
/* Real spawner, real backends; the test is manager, keeper and guest. Each test runs with fork and with exec. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hv/page.h"
#include "lib/loop.h"
#include "tests/unit/backend_rig.h"
#include "vtpm-backend/state.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"

#define RC_RETRY       0x922
#define SLOT(index)    (0x01500000u + (index))

static struct rig rig;
static struct rig_disk disk, other;

static uint8_t cmd_mem[CHAN_PACKET_MAX], rsp[CHAN_PACKET_MAX];
static size_t rsp_len;
static struct buf cmd = { .data = cmd_mem, .cap = sizeof(cmd_mem) };

/*
 * TPM_RC_RETRY: the first use of an authorisation with dictionary-attack protection since the
 * power-on; the TPM has noted that in its state, and the command is to be sent again.
 */
static uint32_t run(struct rig_backend *b)
{
	uint32_t rc;

	do
		rc = rig_command(b, cmd.data, cmd.len, rsp, &rsp_len);
	while (rc == RC_RETRY);
	return rc;
}

static void power_on(struct rig_backend *b)
{
	rig_spawn(&rig, b, &disk, RUN_SERVE | RUN_STARTUP);
	rig_ready(b);
}

static void power_off(struct rig_backend *b)
{
	assert_int_equal(rig_stop(b), 0);
	rig_forget(b);
}

/* Owner NV index with auth "pin", subject to dictionary-attack protection; AUTHREAD, AUTHWRITE. */
static void build_define_pin(struct buf *c, uint32_t index, uint16_t size)
{
	static const uint8_t auth_area[] = { 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0 };

	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_SESSIONS) | buf_put_u32be(c, 0) |
			 buf_put_u32be(c, TPM_CC_NV_DefineSpace) | buf_put_u32be(c, TPM_RH_OWNER) |
			 buf_put_bytes(c, auth_area, sizeof(auth_area)) | buf_put_2b(c, "pin", 3) |
			 buf_put_u16be(c, 14) | buf_put_u32be(c, index) | buf_put_u16be(c, TPM_ALG_SHA256) |
			 buf_put_u32be(c, 0x00040004) | buf_put_u16be(c, 0) | buf_put_u16be(c, size), 0);
	assert_int_equal(buf_set_u32be(c, 2, (uint32_t)c->len), 0);
}

/* NV_Write (or NV_UndefineSpace with the owner's auth if data is NULL) with a password. */
static void build_nv(struct buf *c, uint32_t code, uint32_t auth, uint32_t index, const char *pin, const char *data)
{
	const uint16_t n = (uint16_t)strlen(pin);

	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_SESSIONS) | buf_put_u32be(c, 0) | buf_put_u32be(c, code) |
			 buf_put_u32be(c, auth) | buf_put_u32be(c, index) | buf_put_u32be(c, 9u + n) |
			 buf_put_u32be(c, TPM_RS_PW) | buf_put_u16be(c, 0) | buf_put_u8(c, 0) | buf_put_2b(c, pin, n), 0);
	if (data != NULL)
		assert_int_equal(buf_put_2b(c, data, strlen(data)) | buf_put_u16be(c, 0), 0);
	assert_int_equal(buf_set_u32be(c, 2, (uint32_t)c->len), 0);
}

static void build_write(struct buf *c, uint32_t index, const char *pin, const char *data)
{
	build_nv(c, TPM_CC_NV_Write, index, index, pin, data);
}

static void build_capability(struct buf *c, uint32_t capability, uint32_t property, uint32_t count)
{
	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, TPM_ST_NO_SESSIONS) | buf_put_u32be(c, 22) | buf_put_u32be(c, 0x17a) |
			 buf_put_u32be(c, capability) | buf_put_u32be(c, property) | buf_put_u32be(c, count), 0);
}

static uint32_t property(struct rig_backend *b, uint32_t which)
{
	uint32_t v = 0;
	struct buf r;

	build_capability(&cmd, 6, which, 1);
	assert_int_equal(run(b), 0);
	buf_wrap(&r, rsp, rsp_len);
	assert_int_equal(buf_skip(&r, 10 + 1 + 4 + 4 + 4) | buf_get_u32be(&r, &v), 0);
	return v;
}

static uint32_t lockout_counter(struct rig_backend *b)
{
	return property(b, 0x20e);
}

static void test_provision_serve_restart(void **state)
{
	struct rig_backend b;

	(void)state;
	power_on(&b);
	assert_int_equal(disk.flags, COMMIT_STARTUP);
	assert_true(property(&b, 0x11e) <= CHAN_PACKET_MAX); /* TPM_PT_MAX_COMMAND_SIZE */
	assert_true(property(&b, 0x11f) <= CHAN_PACKET_MAX); /* TPM_PT_MAX_RESPONSE_SIZE */
	build_define_pin(&cmd, SLOT(1), 16);
	assert_int_equal(run(&b), 0);
	build_write(&cmd, SLOT(1), "pin", "sixteen bytes ok");
	assert_int_equal(run(&b), 0);
	assert_int_equal(disk.flags, 0);
	power_off(&b);
	power_on(&b);
	build_nv(&cmd, 0x14e, SLOT(1), SLOT(1), "pin", NULL); /* NV_Read */
	assert_int_equal(buf_put_u16be(&cmd, 16) | buf_put_u16be(&cmd, 0) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(run(&b), 0);
	assert_non_null(memmem(rsp, rsp_len, "sixteen bytes ok", 16));
	build_nv(&cmd, 0x122, TPM_RH_OWNER, SLOT(1), "", NULL);
	assert_int_equal(run(&b), 0);
	power_off(&b);
}

/* PCR_Allocate takes effect at the next _TPM_Init: here. */
static void test_banks_and_eks(void **state)
{
	static const uint8_t want[] = { 0, 0, 0, 4, 0, 4, 3, 0, 0, 0, 0, 0xb, 3, 0xff, 0xff, 0xff,
					0, 0xc, 3, 0xff, 0xff, 0xff, 0, 0xd, 3, 0, 0, 0 };
	struct rig_backend b;

	(void)state;
	power_on(&b);
	build_capability(&cmd, 5, 0, 8);
	assert_int_equal(run(&b), 0);
	assert_int_equal(rsp_len, 15 + sizeof(want));
	assert_memory_equal(rsp + 15, want, sizeof(want));
	for (uint32_t h = 0x81010001; h <= 0x81010002; h++) {
		assert_int_equal(tpmcmd_read_public(&cmd, h), 0);
		assert_int_equal(run(&b), 0);
	}
	/* The platform hierarchy's auth is nobody's. */
	assert_int_equal(tpmcmd_hierarchy_change_auth(&cmd, TPM_RH_PLATFORM, NULL, 0), 0);
	assert_int_equal(run(&b), 0x9a2); /* TPM_RC_BAD_AUTH, session 1 */
	power_off(&b);
}

static void nv_undefine(struct rig_backend *b, uint32_t index)
{
	build_nv(&cmd, 0x122, TPM_RH_OWNER, index, "", NULL);
	assert_int_equal(run(b), 0);
}

static void test_certify_renames(void **state)
{
	struct backend_start start = { .flags = RUN_CERTIFY, .state_max = 65536 };
	struct rig_backend b;
	uint8_t cert[1500];
	struct rig_disk named;

	(void)state;
	memset(cert, 0x5a, sizeof(cert));
	rig_disk_init(&named);
	memcpy(named.key, other.key, KEY_LEN);
	memcpy(start.uuid, named.uuid, UUID_LEN);
	memcpy(start.from_uuid, other.uuid, UUID_LEN);
	start.version = other.version;
	start.sealed = other.sealed;
	start.sealed_len = other.sealed_len;
	rig_spawn_start(&rig, &b, &named, &start);
	rig_provisioned(&b, cert, sizeof(cert));
	rig_forget(&b);
	assert_int_equal(named.version, other.version + 1);
	rig_spawn(&rig, &b, &named, RUN_SERVE | RUN_STARTUP);
	rig_ready(&b);
	build_nv(&cmd, 0x14e, TPM_RH_OWNER, 0x01c00002, "", NULL);
	assert_int_equal(buf_put_u16be(&cmd, 1000) | buf_put_u16be(&cmd, 500) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(run(&b), 0);
	assert_memory_equal(rsp + 16, cert, 1000);
	build_nv(&cmd, 0x122, TPM_RH_OWNER, 0x01c00002, "", NULL);
	assert_int_not_equal(run(&b), 0); /* the owner cannot remove it */
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
}

/* DESIGN: a wrong PIN on a full disk is not free, and a right one looks the same. */
static void test_store_failure_is_no_oracle(void **state)
{
	struct rig_backend b;
	unsigned commits;

	(void)state;
	power_on(&b);
	build_define_pin(&cmd, SLOT(2), 4);
	assert_int_equal(run(&b), 0);
	build_write(&cmd, SLOT(2), "pin", "abcd");
	assert_int_equal(run(&b), 0);
	assert_int_equal(lockout_counter(&b), 0);

	disk.fail = ERR_FULL;
	build_write(&cmd, SLOT(2), "bad", "abcd");
	assert_int_equal(run(&b), TPM_RC_NV_UNAVAILABLE);
	build_write(&cmd, SLOT(2), "pin", "abcd");
	assert_int_equal(run(&b), TPM_RC_NV_UNAVAILABLE);
	build_write(&cmd, SLOT(2), "bad", "abcd");
	assert_int_equal(run(&b), TPM_RC_NV_UNAVAILABLE);
	assert_int_equal(tpmcmd_get_random(&cmd, 16), 0);
	assert_int_equal(run(&b), 0); /* carries no authorisation, changes nothing */
	assert_int_equal(tpmcmd_shutdown(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(run(&b), TPM_RC_NV_UNAVAILABLE); /* changes something */

	disk.fail = 0;
	commits = disk.commits;
	assert_int_equal(lockout_counter(&b), 1); /* the one that was executed; the others were not */
	assert_int_equal(disk.commits, commits + 1);
	build_write(&cmd, SLOT(2), "pin", "efgh");
	assert_int_equal(run(&b), 0);
	power_off(&b);

	/* A reset while the store fails: no try at all before it recovers. */
	disk.fail = ERR_READONLY;
	power_on(&b);
	build_write(&cmd, SLOT(2), "bad", "abcd");
	assert_int_equal(run(&b), TPM_RC_NV_UNAVAILABLE);
	disk.fail = 0;
	assert_int_equal(lockout_counter(&b), 1);
	nv_undefine(&b, SLOT(2));
	power_off(&b);
}

/* A power-off in order leaves the dictionary-attack counter alone; kill -9 loses nothing acknowledged. */
static void test_stop_and_kill(void **state)
{
	struct rig_backend b;
	uint32_t before;

	(void)state;
	power_on(&b);
	build_define_pin(&cmd, SLOT(3), 4);
	assert_int_equal(run(&b), 0);
	build_write(&cmd, SLOT(3), "pin", "abcd");
	assert_int_equal(run(&b), 0);
	before = lockout_counter(&b);
	power_off(&b);
	power_on(&b);
	assert_int_equal(lockout_counter(&b), before);
	build_write(&cmd, SLOT(3), "pin", "wxyz");
	assert_int_equal(run(&b), 0);
	kill(rig_newest_child(&rig), SIGKILL);
	assert_true(WIFSIGNALED((int)rig_exited(&b)));
	rig_forget(&b);
	power_on(&b);
	assert_int_equal(lockout_counter(&b), before + 1); /* what an orderly stop avoids */
	build_nv(&cmd, 0x14e, SLOT(3), SLOT(3), "pin", NULL);
	assert_int_equal(buf_put_u16be(&cmd, 4) | buf_put_u16be(&cmd, 0) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(run(&b), 0);
	assert_non_null(memmem(rsp, rsp_len, "wxyz", 4));
	nv_undefine(&b, SLOT(3));
	power_off(&b);
}

static void test_wrong_states(void **state)
{
	static struct rig_disk bad;
	struct rig_backend b;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		memcpy(&bad, &disk, sizeof(bad));
		switch (i) {
		case 0: bad.sealed[bad.sealed_len / 2] ^= 1; break; /* corrupt */
		case 1: bad.sealed_len /= 2; break; /* truncated */
		case 2: bad.version++; break; /* older than the row says */
		case 3: memcpy(bad.uuid, other.uuid, UUID_LEN); break; /* swapped */
		case 4: memcpy(bad.key, other.key, KEY_LEN); break; /* wrong key */
		}
		rig_spawn(&rig, &b, &bad, RUN_SERVE | RUN_STARTUP);
		assert_int_equal(rig_failed(&b), ERR_AUTH);
		assert_int_equal(rig_exited(&b), 1 << 8);
		rig_forget(&b);
	}
	memcpy(&bad, &disk, sizeof(bad));
	bad.sealed[4] = 2; /* format */
	rig_spawn(&rig, &b, &bad, RUN_SERVE | RUN_STARTUP);
	assert_int_equal(rig_failed(&b), ERR_VERSION);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

static void test_manager_goes(void **state)
{
	struct rig_backend b;

	(void)state;
	power_on(&b);
	fd_close(&b.control);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

static void test_key_of_another(void **state)
{
	struct backend_start start = { .flags = RUN_MANUFACTURE };
	struct rig_disk none;
	struct rig_backend b;

	(void)state;
	rig_disk_init(&none);
	memcpy(start.uuid, disk.uuid, UUID_LEN);
	rig_spawn_start(&rig, &b, &none, &start);
	assert_int_equal(rig_failed(&b), ERR_AUTH);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

static void test_no_keeper(void **state)
{
	struct rig_backend b;

	(void)state;
	rig_kill_keeper(&rig);
	rig_spawn_keyless(&rig, &b, &disk, RUN_SERVE | RUN_STARTUP);
	assert_int_equal(rig_failed(&b), ERR_TPM_LOST);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
	rig_start_keeper(&rig);
	power_on(&b);
	power_off(&b);
}

static void test_quota(void **state)
{
	struct backend_start start = { .flags = RUN_SERVE | RUN_STARTUP, .state_max = 24 * 1024 };
	struct rig_backend b;
	uint32_t rc = 0;
	unsigned n;

	(void)state;
	memcpy(start.uuid, disk.uuid, UUID_LEN);
	memcpy(start.from_uuid, disk.uuid, UUID_LEN);
	start.version = disk.version;
	start.sealed = disk.sealed;
	start.sealed_len = disk.sealed_len;
	rig_spawn_start(&rig, &b, &disk, &start);
	rig_ready(&b);
	for (n = 0; rc == 0 && n < 64; n++) {
		build_define_pin(&cmd, SLOT(100 + n), 1024);
		rc = run(&b);
	}
	assert_int_equal(rc, TPM_RC_NV_SPACE);
	assert_true(n > 4 && disk.sealed_len <= start.state_max);
	/* Full, but not stuck: what frees space works, and then there is room. */
	for (unsigned i = 0; i + 1 < n; i++)
		nv_undefine(&b, SLOT(100 + i));
	build_define_pin(&cmd, SLOT(100), 64);
	assert_int_equal(run(&b), 0);
	nv_undefine(&b, SLOT(100));
	power_off(&b);
}

static void test_hostile_ring(void **state)
{
	static const uint8_t random_cmd[] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8 };
	const uint64_t one = 1;
	struct rig_backend b;

	(void)state;
	power_on(&b);
	rig_submit(&b, random_cmd, sizeof(random_cmd), 1);
	assert_int_equal(rig_receive(&b, rsp), 10);
	assert_memory_equal(rsp + 6, "\0\0\x09\x07", 4);
	page_set_length(b.page, 0xffffffff);
	page_set_state(b.page, CHAN_STATE_SUBMIT);
	assert_int_equal(write(b.ring.to_back, &one, sizeof(one)), sizeof(one));
	assert_int_equal(rig_receive(&b, rsp), 10);
	assert_memory_equal(rsp + 6, "\0\0\x01\x42", 4);
	/* A TPM 1.2 command, as Linux sends while probing. */
	rig_submit(&b, "\x00\xc1\x00\x00\x00\x0a\x00\x00\x00\x46", 10, 0);
	assert_int_equal(rig_receive(&b, rsp), 10);
	rig_submit(&b, random_cmd, sizeof(random_cmd), 0);
	assert_true(rig_receive(&b, rsp) > 10);
	power_off(&b);
}

static void build_rsa(struct buf *c)
{
	/* a storage key under the owner: the L-1 template with userWithAuth instead of a policy */
	uint8_t mem[400];
	struct buf t;

	buf_init(&t, mem, sizeof(mem));
	assert_int_equal(buf_put_u16be(&t, TPM_ALG_RSA) | buf_put_u16be(&t, TPM_ALG_SHA256) |
			 buf_put_u32be(&t, 0x00030072) | buf_put_u16be(&t, 0) | buf_put_u16be(&t, TPM_ALG_AES) |
			 buf_put_u16be(&t, 128) | buf_put_u16be(&t, TPM_ALG_CFB) | buf_put_u16be(&t, TPM_ALG_NULL) |
			 buf_put_u16be(&t, 2048) | buf_put_u32be(&t, 0) | buf_put_u16be(&t, 8), 0);
	/* a different key each time, so that the time is not always the same */
	static uint64_t nonce;
	assert_int_equal(buf_put_u64be(&t, ++nonce), 0);
	assert_int_equal(tpmcmd_create_primary(c, TPM_RH_OWNER, t.data, t.len), 0);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void test_cancel(void **state)
{
	enum { ROUNDS = 15 };
	uint64_t took[ROUNDS], begun;
	unsigned cancelled = 0;
	struct rig_backend b;

	(void)state;
	power_on(&b);
	for (unsigned i = 0; i < ROUNDS; i++) {
		build_rsa(&cmd);
		begun = now_us();
		rig_submit(&b, cmd.data, cmd.len, 0);
		while (now_us() - begun < 3000) /* let it begin */
			usleep(500);
		if (!page_swap_state(b.page, CHAN_STATE_SUBMIT, CHAN_STATE_CANCEL))
			assert_int_equal(page_get_state(b.page), CHAN_STATE_FINISH);
		rsp_len = rig_receive(&b, rsp);
		took[i] = now_us() - begun;
		if (rsp_len == 10) {
			assert_memory_equal(rsp + 6, "\0\0\x09\x09", 4);
			cancelled++;
		} else {
			struct tpmrsp r;

			assert_int_equal(tpmrsp_parse(&r, rsp, rsp_len, true, 1), 0);
			assert_int_equal(tpmcmd_flush_context(&cmd, r.handle), 0);
			assert_int_equal(run(&b), 0);
		}
	}
	qsort(took, ROUNDS, sizeof(took[0]), compare);
	print_message("RSA-2048 cancelled: %u of %u, median %llu us\n", cancelled, ROUNDS,
		      (unsigned long long)took[ROUNDS / 2]);
	assert_true(cancelled > ROUNDS / 2);
	/* A stop cancels too, and is answered in order. */
	build_rsa(&cmd);
	rig_submit(&b, cmd.data, cmd.len, 0);
	power_off(&b);
}

/* Deterministic, so that a failure can be repeated. */
static uint32_t next_random(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

static void build_noise(struct buf *c, unsigned i)
{
	const size_t body = next_random() % 120;

	buf_reset(c);
	assert_int_equal(buf_put_u16be(c, i % 2 ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS) |
			 buf_put_u32be(c, (uint32_t)(10 + body)) | buf_put_u32be(c, 0x11f + next_random() % 0x80), 0);
	for (size_t n = 0; n < body; n++)
		assert_int_equal(buf_put_u8(c, (uint8_t)(next_random() % 3 ? 0 : next_random())), 0);
}

static void build_mutant(struct buf *c)
{
	switch (next_random() % 4) {
	case 0: build_define_pin(c, SLOT(next_random() % 8), 8); break;
	case 1: build_write(c, SLOT(next_random() % 8), "pin", "abcd"); break;
	case 2: build_capability(c, next_random() % 8, 0, 64); break;
	default: assert_int_equal(tpmcmd_get_random(c, (uint16_t)next_random()), 0); break;
	}
	c->data[6 + next_random() % (c->len - 6)] ^= (uint8_t)(1u << next_random() % 8);
}

static void test_random_commands(void **state)
{
	static struct rig_disk copy;
	struct rig_backend b;

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	rig_spawn(&rig, &b, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&b);
	for (unsigned i = 0; i < 20000; i++) {
		if (next_random() % 2)
			build_noise(&cmd, i);
		else
			build_mutant(&cmd);
		(void)run(&b);
	}
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
}

static void read_proc(pid_t pid, const char *file, char *out, size_t cap)
{
	char path[64];
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(out, 1, cap - 1, f);
	out[n] = '\0';
	fclose(f);
}

static unsigned count_fds(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* What /proc shows of a serving backend. Only root may look: it is not dumpable. */
static void test_process(void **state)
{
	char text[4096], want[64];
	struct rig_backend b;
	pid_t pid;

	power_on(&b);
	pid = rig_newest_child(&rig);
	read_proc(pid, "comm", text, sizeof(text));
	assert_string_equal(text, *(const bool *)*state ? "vtpm-backend\n" : "vtpm-spawn\n");
	read_proc(pid, "status", text, sizeof(text));
	assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
	assert_non_null(strstr(text, "Seccomp:\t2\n"));
	assert_non_null(strstr(text, "Threads:\t2\n"));
	if (geteuid() == 0) {
		const unsigned id = 1879048192u + 1u + (unsigned)(b.token % 1000);

		(void)snprintf(want, sizeof(want), "Uid:\t%u\t%u\t%u\t%u\n", id, id, id, id);
		assert_non_null(strstr(text, want));
		assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
		/* 0 to 2, control, store, the ring's two, two between the threads */
		assert_int_equal(count_fds(pid), 9);
	}
	power_off(&b);
}

/* Backends forked from one parent share nothing random. */
static void test_no_twins(void **state)
{
	struct rig_backend a, b;
	static struct rig_disk copy;
	uint8_t first[CHAN_PACKET_MAX];

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	power_on(&a);
	rig_spawn(&rig, &b, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&b);
	assert_int_equal(tpmcmd_get_random(&cmd, 32), 0);
	assert_int_equal(run(&a), 0);
	memcpy(first, rsp, rsp_len);
	assert_int_equal(tpmcmd_get_random(&cmd, 32), 0);
	assert_int_equal(run(&b), 0);
	assert_memory_not_equal(first + 12, rsp + 12, 32);
	assert_memory_not_equal(disk.sealed + 8, copy.sealed + 8, STATE_SALT_LEN);
	power_off(&a);
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
}

/* After a crash the spawner executes itself again; children, link and manager socket go on. */
static void test_crash_renews_the_spawner(void **state)
{
	static struct rig_disk copy;
	struct rig_backend survivor, victim, next;

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	power_on(&survivor);
	rig_spawn(&rig, &victim, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&victim);
	kill(rig_newest_child(&rig), SIGABRT);
	assert_int_equal(rig_exited(&victim) & 0x7f, SIGABRT);
	rig_forget(&victim);
	rig_spawn(&rig, &next, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&next);
	assert_int_equal(tpmcmd_get_random(&cmd, 32), 0);
	assert_int_equal(run(&next), 0);
	assert_int_equal(rig_stop(&next), 0);
	rig_forget(&next);
	assert_int_equal(run(&survivor), 0);
	power_off(&survivor);
}

static int open_rig(void **state, bool no_prefork)
{
	static bool executed;

	executed = no_prefork;
	*state = &executed;
	rig_open(&rig, no_prefork);
	rig_make(&rig, &disk);
	rig_make(&rig, &other);
	return 0;
}

static int setup_fork(void **state)
{
	return open_rig(state, false);
}

static int setup_exec(void **state)
{
	return open_rig(state, true);
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_provision_serve_restart),
		cmocka_unit_test(test_banks_and_eks),
		cmocka_unit_test(test_certify_renames),
		cmocka_unit_test(test_store_failure_is_no_oracle),
		cmocka_unit_test(test_stop_and_kill),
		cmocka_unit_test(test_wrong_states),
		cmocka_unit_test(test_manager_goes),
		cmocka_unit_test(test_key_of_another),
		cmocka_unit_test(test_no_keeper),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_hostile_ring),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_random_commands),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_no_twins),
		cmocka_unit_test(test_crash_renews_the_spawner),
	};
	int failed;

	rig_keeper_main(argc, argv);
	failed = cmocka_run_group_tests_name("fork", tests, setup_fork, teardown);
	return failed + cmocka_run_group_tests_name("exec", tests, setup_exec, teardown);
}
