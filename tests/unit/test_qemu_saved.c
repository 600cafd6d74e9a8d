/* SPDX-License-Identifier: BSD-2-Clause */
/* Real spawner, real backends: states that QEMU saves and brings back, and backends that wait for another's TPM. */
#include "tests/unit/qemu_client.h"

#include <unistd.h>

#include "vtpm-backend/state.h"
#include "vtpm-backend/tpm.h"

/* What a QEMU has saved. */
struct saved {
	struct blob permanent, volatile_;
};
static struct saved first, second, foreign;

static void save(struct rig_backend *b, struct saved *s)
{
	static struct blob none;

	assert_int_equal(client_get_blob(b, BLOB_PERMANENT, &s->permanent), 0);
	assert_int_equal(client_get_blob(b, BLOB_VOLATILE, &s->volatile_), 0);
	assert_int_equal(client_get_blob(b, BLOB_SAVESTATE, &none), QEMU_NO_BLOB);
	assert_int_equal(none.len, 0);
	assert_memory_equal(s->permanent.data, "VTST", 4);
	assert_memory_equal(s->volatile_.data, "VTST", 4);
}

static uint32_t set(struct rig_backend *b, uint32_t type, const struct blob *blob)
{
	return client_set_blob(b, type, blob->data, blob->len);
}

/* What QEMU does with a saved state; the result of INIT. */
static uint32_t bring(struct rig_backend *b, const struct saved *s)
{
	assert_int_equal(client_command(b, CMD_STOP), 0);
	assert_int_equal(set(b, BLOB_PERMANENT, &s->permanent), 0);
	assert_int_equal(set(b, BLOB_VOLATILE, &s->volatile_), 0);
	return client_command_u32(b, CMD_INIT, QEMU_INIT_DELETE_VOLATILE);
}

static uint32_t reset(struct rig_backend *b)
{
	assert_int_equal(client_command(b, CMD_STOP), 0);
	return client_command_u32(b, CMD_INIT, 0);
}

static void startup(struct rig_backend *b)
{
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(b), 0);
}

/* Another QEMU, as far as it gets before a state arrives. */
static void arrive(struct rig_backend *b, bool standby)
{
	if (standby)
		client_connect_standby(b, &disk);
	else
		client_connect(b, &disk);
	assert_int_equal(client_set_datafd(b), 0);
	assert_int_equal(client_get_random(b), TPM_RC_FAILURE);
	assert_int_equal(client_command(b, CMD_STOP), 0);
	assert_int_equal(client_buffer_size(b, 0xf80), 0xf80);
}

/* A state is resumed once, in the QEMU that saved it or in another, and is of the past from then on. */
static void test_once(void **state)
{
	struct rig_backend b;
	uint64_t version;

	(void)state;
	client_power_on(&b, &disk);
	client_extend_pcr16(&b);
	save(&b, &first);
	version = disk.version;
	assert_int_equal(bring(&b, &first), 0);
	assert_int_equal(disk.version, version + 1);
	assert_false(client_pcr16_is_zero(&b));
	assert_int_equal(bring(&b, &first), QEMU_FAIL);
	assert_int_equal(client_get_random(&b), TPM_RC_FAILURE); /* the machine stands still, and so does its TPM */
	assert_int_equal(reset(&b), 0);
	startup(&b);
	assert_true(client_pcr16_is_zero(&b));
	client_extend_pcr16(&b);
	save(&b, &first);
	version = disk.version;
	assert_int_equal(client_hang_up(&b), 0);
	assert_int_equal(disk.version, version); /* no TPM2_Shutdown: what was saved is still the newest */
	arrive(&b, false);
	assert_int_equal(bring(&b, &first), 0);
	assert_false(client_pcr16_is_zero(&b));
	assert_int_equal(reset(&b), 0); /* not resumed again */
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(client_hang_up(&b), 0);
	arrive(&b, false);
	assert_int_equal(bring(&b, &first), QEMU_FAIL);
	assert_int_equal(client_hang_up(&b), 0);
}

/* What is given away is anchored, once since the last change; without that nothing is given. */
static void test_anchored(void **state)
{
	static struct blob none;
	struct rig_backend b;
	uint64_t version;

	(void)state;
	client_power_on(&b, &disk);
	assert_false(disk.flags & COMMIT_ANCHOR);
	version = disk.version;
	assert_int_equal(client_get_blob(&b, BLOB_SAVESTATE, &none), QEMU_NO_BLOB);
	assert_int_equal(disk.version, version);
	save(&b, &first);
	assert_int_equal(disk.version, version + 1);
	assert_int_equal(disk.flags, COMMIT_ANCHOR);
	save(&b, &first);
	assert_int_equal(disk.version, version + 1);
	client_extend_pcr16(&b);
	assert_int_equal(disk.version, version + 2);
	assert_int_equal(disk.flags, 0);
	assert_int_equal(client_command(&b, CMD_STORE_VOLATILE), 0);
	assert_int_equal(disk.version, version + 3);
	assert_int_equal(disk.flags, COMMIT_ANCHOR);
	client_extend_pcr16(&b);
	disk.fail = ERR_FULL;
	assert_int_equal(client_get_blob(&b, BLOB_PERMANENT, &none), QEMU_IOERROR);
	assert_int_equal(client_get_blob(&b, BLOB_VOLATILE, &none), QEMU_IOERROR);
	assert_int_equal(none.len, 0);
	disk.fail = 0;
	assert_int_equal(client_get_random(&b), 0);
	version = disk.version;
	assert_int_equal(disk.flags, 0); /* what was to be given away then is not any more */
	save(&b, &first);
	assert_int_equal(disk.version, version + 1);
	assert_int_equal(disk.flags, COMMIT_ANCHOR);
	assert_int_equal(client_hang_up(&b), 0);
	assert_int_equal(disk.version, version + 1);
}

static void command(struct rig_backend *b)
{
	assert_int_equal(client_get_random(b), 0);
}

static void lock_storage(struct rig_backend *b) /* QEMU's word that its machine goes on */
{
	assert_int_equal(client_command_u32(b, CMD_LOCK_STORAGE, 300), 0);
}

static void hash(struct rig_backend *b)
{
	assert_int_equal(client_command(b, CMD_HASH_START), 0);
}

static void established(struct rig_backend *b)
{
	assert_int_equal(client_command_u8(b, CMD_RESET_TPMESTABLISHED, 3), 0);
}

static void system_reset(struct rig_backend *b)
{
	assert_int_equal(reset(b), 0);
}

/* Whatever happens to the TPM after a save, if it only changes what is in memory or nothing at all: the save is of the past. */
static void test_gone_on(void **state)
{
	static void (*const moves[])(struct rig_backend *b) = { command, client_extend_pcr16, lock_storage, hash, established,
								system_reset };
	struct rig_backend b, target;
	uint64_t version;

	(void)state;
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		client_power_on(&b, &disk);
		save(&b, &first);
		version = disk.version;
		moves[i](&b);
		assert_true(disk.version > version);
		arrive(&target, true);
		assert_int_equal(bring(&target, &first), QEMU_FAIL);
		assert_int_equal(client_hang_up(&target), 0);
		assert_int_equal(client_hang_up(&b), 0);
	}
}

/* The new version must be stored before the TPM moves on; until then it does not, and the save can be resumed. */
static void test_gone_on_with_full_store(void **state)
{
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	save(&b, &first);
	disk.fail = ERR_FULL;
	assert_int_equal(client_get_random(&b), TPM_RC_NV_UNAVAILABLE);
	assert_int_equal(client_command_u32(&b, CMD_LOCK_STORAGE, 300), QEMU_IOERROR);
	assert_int_equal(client_command(&b, CMD_HASH_START), QEMU_IOERROR);
	assert_int_equal(client_command_u8(&b, CMD_RESET_TPMESTABLISHED, 3), QEMU_IOERROR);
	disk.fail = 0;
	assert_int_equal(client_get_random(&b), 0);
	assert_true(client_pcr16_is_zero(&b));
	save(&b, &first);
	disk.fail = ERR_FULL;
	assert_int_equal(client_hang_up(&b), 0); /* with nothing to store */
	arrive(&b, false);
	assert_int_equal(bring(&b, &first), QEMU_IOERROR); /* it would not be used up */
	assert_int_equal(client_get_random(&b), TPM_RC_FAILURE);
	(void)client_hang_up(&b);
	disk.fail = 0;
	arrive(&b, false);
	assert_int_equal(bring(&b, &first), 0);
	assert_int_equal(client_get_random(&b), 0);
	assert_int_equal(client_hang_up(&b), 0);
}

/* One that waits answers what needs no TPM, and nothing else, until it is given one. */
static void test_standby(void **state)
{
	static const uint32_t not_yet[] = { CMD_GET_TPMESTABLISHED, CMD_HASH_START, CMD_STORE_VOLATILE };
	struct rig_backend b;

	(void)state;
	arrive(&b, true);
	for (size_t i = 0; i < sizeof(not_yet) / sizeof(not_yet[0]); i++)
		assert_int_equal(client_command(&b, not_yet[i]), QEMU_BAD_ORDINAL);
	assert_int_equal(client_command_u8(&b, CMD_SET_LOCALITY, 0), 0);
	disk.busy = true;
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), QEMU_FAIL);
	assert_int_equal(client_get_random(&b), TPM_RC_FAILURE);
	disk.busy = false;
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	startup(&b);
	assert_int_equal(client_get_random(&b), 0);
	assert_int_equal(client_hang_up(&b), 0);
	arrive(&b, true); /* and its end without one is in order, too */
	assert_int_equal(client_command(&b, CMD_SHUTDOWN), 0);
	assert_int_equal(rig_exited(&b), 0);
	rig_forget(&b);
}

/* What the store has is of no line, also where what a QEMU saves is of one. */
static void test_standby_after_restore(void **state)
{
	struct rig_backend source, target;

	(void)state;
	disk.line = 5;
	arrive(&target, true);
	assert_int_equal(client_command_u32(&target, CMD_INIT, 0), 0);
	startup(&target);
	assert_int_equal(client_hang_up(&target), 0);
	client_power_on(&source, &disk);
	client_extend_pcr16(&source);
	save(&source, &first);
	arrive(&target, true);
	assert_int_equal(bring(&target, &first), 0);
	assert_false(client_pcr16_is_zero(&target));
	assert_int_equal(client_hang_up(&target), 0);
	(void)client_hang_up(&source);
	disk.line = 0;
}

/* A target that goes away at any step before INIT leaves the source as it was. */
static void test_target_goes_away(void **state)
{
	struct rig_backend source, target;
	uint64_t version;

	(void)state;
	client_power_on(&source, &disk);
	client_extend_pcr16(&source);
	save(&source, &first);
	version = disk.version;
	for (unsigned steps = 0; steps < 4; steps++) {
		arrive(&target, true);
		if (steps > 0)
			assert_int_equal(set(&target, BLOB_PERMANENT, &first.permanent), 0);
		if (steps > 1)
			assert_int_equal(set(&target, BLOB_VOLATILE, &first.volatile_), 0);
		if (steps > 2) {
			disk.busy = true;
			assert_int_equal(client_command_u32(&target, CMD_INIT, 0), QEMU_FAIL);
			disk.busy = false;
		}
		assert_int_equal(client_hang_up(&target), 0);
		assert_int_equal(disk.version, version);
	}
	arrive(&target, true);
	assert_int_equal(bring(&target, &first), 0);
	assert_false(client_pcr16_is_zero(&target));
	assert_int_equal(client_hang_up(&target), 0);
	(void)client_hang_up(&source);
}

/* What the manager gives to one that waits is judged as at any start. */
static void test_standby_damaged(void **state)
{
	struct rig_backend b;

	(void)state;
	arrive(&b, true);
	disk.sealed[disk.sealed_len / 2] ^= 1;
	client_send(&b, "\0\0\0\2\0\0\0\0", 8, -1); /* INIT */
	assert_int_equal(rig_failed(&b), ERR_AUTH);
	assert_int_not_equal(rig_exited(&b), 0);
	disk.sealed[disk.sealed_len / 2] ^= 1;
	rig_forget(&b);
}

/* Where the policy permits it the TPM goes back, in all that it holds, and the store goes on. */
static void test_older(void **state)
{
	struct rig_backend b;
	uint64_t version;

	(void)state;
	disk.older = true;
	client_power_on(&b, &disk);
	client_extend_pcr16(&b);
	save(&b, &first);
	guest_build_define(&cmd, SLOT(5), 4);
	assert_int_equal(guest_run(&b), 0);
	save(&b, &second);
	version = disk.version;
	assert_int_equal(bring(&b, &first), 0);
	assert_int_equal(disk.version, version + 1);
	assert_false(client_pcr16_is_zero(&b));
	guest_build_define(&cmd, SLOT(5), 4); /* it is not there any more */
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(reset(&b), 0);
	startup(&b);
	assert_int_equal(bring(&b, &second), 0); /* one branch or the other */
	guest_undefine(&b, SLOT(5));
	assert_int_equal(client_hang_up(&b), 0);
	arrive(&b, true); /* with the older one in a QEMU of its own */
	assert_int_equal(bring(&b, &first), 0);
	assert_false(client_pcr16_is_zero(&b));
	assert_int_equal(client_hang_up(&b), 0);
	disk.older = false;
	client_power_on(&b, &disk);
	assert_int_equal(client_hang_up(&b), 0);
}

/* What STORE_VOLATILE keeps goes with the TPM of that moment, and is undone by whatever follows. */
static void test_store_volatile(void **state)
{
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	client_extend_pcr16(&b);
	assert_int_equal(client_command(&b, CMD_STORE_VOLATILE), 0);
	assert_int_equal(reset(&b), 0);
	assert_false(client_pcr16_is_zero(&b));
	/* It was for one INIT. */
	assert_int_equal(reset(&b), 0);
	startup(&b);
	assert_int_equal(client_command(&b, CMD_STORE_VOLATILE), 0);
	client_extend_pcr16(&b);
	assert_int_equal(reset(&b), 0);
	startup(&b);
	/* Nor is there one to keep while the store does not have the newest. */
	disk.fail = ERR_FULL;
	guest_build_define(&cmd, SLOT(4), 4);
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	assert_int_equal(client_command(&b, CMD_STORE_VOLATILE), QEMU_IOERROR);
	disk.fail = 0;
	guest_undefine(&b, SLOT(4));
	assert_int_equal(client_command(&b, CMD_STORE_VOLATILE), 0);
	assert_int_equal(client_hang_up(&b), 0);
}

static void refused(struct rig_backend *b, uint32_t type, const uint8_t *data, size_t n)
{
	assert_int_equal(client_set_blob(b, type, data, n), QEMU_FAIL);
}

static void test_bad_blobs(void **state)
{
	const struct blob *p = &first.permanent, *v = &first.volatile_;
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &other);
	assert_int_equal(client_get_blob(&b, BLOB_PERMANENT, &foreign.permanent), 0);
	assert_int_equal(client_hang_up(&b), 0);
	client_power_on(&b, &disk);
	save(&b, &second);
	assert_int_equal(client_get_random(&b), 0);
	save(&b, &first);
	assert_int_equal(set(&b, BLOB_PERMANENT, p), QEMU_BAD_ORDINAL); /* running */
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	refused(&b, BLOB_PERMANENT, foreign.permanent.data, foreign.permanent.len); /* another vTPM's */
	refused(&b, BLOB_VOLATILE, v->data, v->len); /* without the state it belongs to */
	refused(&b, BLOB_PERMANENT, v->data, v->len);
	refused(&b, BLOB_PERMANENT, p->data, p->len - 1);
	refused(&b, BLOB_PERMANENT, p->data, 20);
	refused(&b, BLOB_PERMANENT, p->data, 0);
	for (size_t i = 0; i < p->len; i += 397) {
		first.permanent.data[i] ^= 1;
		refused(&b, BLOB_PERMANENT, p->data, p->len);
		first.permanent.data[i] ^= 1;
	}
	refused(&b, BLOB_PERMANENT, disk.sealed, disk.sealed_len); /* what the store has is no saved state */
	assert_int_equal(client_set_blob(&b, BLOB_SAVESTATE, p->data, 64), QEMU_BAD_PARAMETER);
	assert_int_equal(set(&b, BLOB_PERMANENT, p), 0);
	refused(&b, BLOB_VOLATILE, p->data, p->len);
	refused(&b, BLOB_VOLATILE, second.volatile_.data, second.volatile_.len); /* of another save */
	assert_int_equal(set(&b, BLOB_VOLATILE, v), 0);
	refused(&b, BLOB_PERMANENT, foreign.permanent.data, foreign.permanent.len); /* what came before is forgotten */
	refused(&b, BLOB_VOLATILE, v->data, v->len);
	assert_int_equal(bring(&b, &first), 0);
	assert_int_equal(client_hang_up(&b), 0);
}

/* A state of a time that the store does not know: an older store was put back. */
static void test_from_the_future(void **state)
{
	static struct rig_disk past;
	struct rig_backend b;

	(void)state;
	past = disk;
	client_power_on(&b, &disk);
	save(&b, &first);
	assert_int_equal(client_hang_up(&b), 0);
	past.older = true;
	client_connect(&b, &past);
	assert_int_equal(bring(&b, &first), QEMU_FAIL);
	assert_int_equal(client_hang_up(&b), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_anchored),
		cmocka_unit_test(test_gone_on),
		cmocka_unit_test(test_gone_on_with_full_store),
		cmocka_unit_test(test_standby),
		cmocka_unit_test(test_standby_after_restore),
		cmocka_unit_test(test_target_goes_away),
		cmocka_unit_test(test_standby_damaged),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_store_volatile),
		cmocka_unit_test(test_bad_blobs),
		cmocka_unit_test(test_from_the_future),
	};

	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
