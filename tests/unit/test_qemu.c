/* SPDX-License-Identifier: BSD-2-Clause */
/* Real spawner, real backends, and a QEMU's two channels: what it does in its life, and what it must not do. */
#include "tests/unit/qemu_client.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vtpm-backend/state.h"
#include "vtpm-backend/tpm.h"

static const uint8_t read_clock[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81 };
static const uint8_t off[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1 };

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

/* DESIGN: what QEMU 7.2 sends from its start to its end, and what it must get. */
static void test_life(void **state)
{
	static const uint8_t caps[] = { 0, 0, 0, CMD_GET_CAPABILITY };
	struct rig_backend b;
	uint8_t reply[8];

	(void)state;
	client_connect(&b, &disk);
	assert_int_equal(client_set_datafd(&b), 0);
	rig_submit(&b, read_clock, sizeof(read_clock), 0);
	assert_int_equal(rig_receive(&b, rsp), sizeof(off));
	assert_memory_equal(rsp, off, sizeof(off));
	client_send(&b, caps, sizeof(caps), -1);
	client_receive(&b, reply, sizeof(reply));
	assert_memory_equal(reply, "\0\0\0\0\0\1\x7f\xff", 8);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_buffer_size(&b, 0), CHAN_PACKET_MAX);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_buffer_size(&b, 0xf80), 0xf80);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_false(client_established(&b));
	assert_int_equal(client_command_u8(&b, CMD_SET_LOCALITY, 0), 0);
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(guest_property(&b, 0x11e), 0xf80); /* TPM_PT_MAX_COMMAND_SIZE */
	guest_build_define(&cmd, SLOT(1), 16);
	assert_int_equal(guest_run(&b), 0);
	client_extend_pcr16(&b);
	assert_false(client_pcr16_is_zero(&b));
	/* A reset. */
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_get_random(&b), TPM_RC_FAILURE);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_true(client_pcr16_is_zero(&b));
	guest_undefine(&b, SLOT(1));
	assert_int_equal(client_command(&b, CMD_SHUTDOWN), 0);
	assert_int_equal(rig_exited(&b), 0);
	rig_forget(&b);
}

/* A wrong PIN before the end makes a disorderly shutdown count as another: there must be none. */
static void test_ends_in_order(void **state)
{
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	guest_build_define(&cmd, SLOT(2), 4);
	assert_int_equal(guest_run(&b), 0);
	guest_build_write(&cmd, SLOT(2), "bad", "1234");
	assert_int_equal(guest_run(&b), 0x98e);
	assert_int_equal(guest_lockout_counter(&b), 1);
	assert_int_equal(client_command(&b, CMD_STOP), 0); /* a reset */
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(guest_lockout_counter(&b), 1);
	assert_int_equal(client_hang_up(&b), 0);
	client_power_on(&b, &disk);
	assert_int_equal(guest_lockout_counter(&b), 1);
	guest_build_write(&cmd, SLOT(2), "pin", "1234");
	assert_int_equal(guest_run(&b), 0);
	guest_undefine(&b, SLOT(2));
	assert_int_equal(client_hang_up(&b), 0);
}

static void test_refusals(void **state)
{
	static const uint32_t not_while_off[] = { CMD_GET_TPMESTABLISHED, CMD_HASH_START, CMD_HASH_END, CMD_STORE_VOLATILE };
	static const uint8_t stray[] = { 0, 0, 0 }, half[] = { 0, 0, 0, CMD_INIT, 0, 0 };
	static const uint8_t fd_only[] = { 0, 0, 0, CMD_SET_DATAFD };
	struct rig_backend b;

	(void)state;
	client_connect(&b, &disk);
	for (size_t i = 0; i < sizeof(not_while_off) / sizeof(not_while_off[0]); i++)
		assert_int_equal(client_command(&b, not_while_off[i]), QEMU_BAD_ORDINAL);
	assert_int_equal(client_command(&b, 0), QEMU_BAD_ORDINAL);
	assert_int_equal(client_command(&b, 0x14), QEMU_BAD_ORDINAL);
	assert_int_equal(client_command(&b, 0xffffffff), QEMU_BAD_ORDINAL);
	assert_int_equal(client_raw(&b, stray, sizeof(stray)), QEMU_BAD_PARAMETER);
	assert_int_equal(client_raw(&b, half, sizeof(half)), QEMU_BAD_PARAMETER);
	assert_int_equal(client_raw(&b, fd_only, sizeof(fd_only)), QEMU_BAD_PARAMETER); /* without one */
	client_send(&b, fd_only, sizeof(fd_only), STDERR_FILENO); /* no socket */
	client_receive(&b, rsp, 4);
	assert_int_equal(rsp[3], QEMU_BAD_PARAMETER);
	assert_int_equal(client_set_datafd(&b), 0);
	close(b.data);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_set_datafd(&b), 0); /* the first one has ended */
	assert_int_equal(client_hang_up(&b), 0);

	client_power_on(&b, &disk);
	assert_int_equal(client_set_datafd(&b), QEMU_IOERROR);
	assert_int_equal(client_command_u32(&b, CMD_SET_BUFFERSIZE, 4096), QEMU_BAD_ORDINAL);
	assert_int_equal(client_command_u8(&b, CMD_SET_LOCALITY, 5), QEMU_BAD_LOCALITY);
	assert_int_equal(client_command_u8(&b, CMD_RESET_TPMESTABLISHED, 0), QEMU_BAD_LOCALITY);
	assert_int_equal(client_command_u32(&b, CMD_HASH_DATA, 5), QEMU_BAD_PARAMETER);
	assert_int_equal(client_command(&b, CMD_CANCEL_TPM_CMD), 0);
	assert_int_equal(client_get_random(&b), 0);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0); /* of a running one: a reset without STOP */
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(client_hang_up(&b), 0);
}

/* A D-RTM event resets PCR 17 and extends it; nothing else at locality 0 can. */
static void test_hash(void **state)
{
	static const uint8_t data[] = { 0, 0, 0, CMD_HASH_DATA, 0, 0, 0, 4, 'a', 'b', 'c', 'd' };
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	assert_int_equal(client_command(&b, CMD_HASH_START), 0);
	assert_int_equal(client_raw(&b, data, sizeof(data)), 0);
	assert_int_equal(client_command(&b, CMD_HASH_END), 0);
	assert_true(client_established(&b));
	assert_int_equal(client_command_u8(&b, CMD_RESET_TPMESTABLISHED, 3), 0);
	assert_false(client_established(&b));
	assert_int_equal(client_hang_up(&b), 0);
}

/* The control channel lives on whatever comes over the data channel, and the next command is answered as ever. */
static void test_stray_data(void **state)
{
	static const uint8_t six[] = { 'S', 'T', 'R', 'A', 'Y', '!' }, four[] = { 0x80, 1, 0, 0 };
	static const uint8_t tiny[] = { 0x80, 1, 0, 0, 0, 6 }, huge[] = { 0x80, 1, 0, 1, 0, 0, 0, 0, 1, 0x7b, 0, 8 };
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	rig_submit(&b, six, sizeof(six), 0);
	assert_int_equal(client_command_u8(&b, CMD_SET_LOCALITY, 0), 0);
	assert_int_equal(client_answer(&b), TPM_RC_COMMAND_SIZE);
	assert_int_equal(client_get_random(&b), 0);
	rig_submit(&b, four, sizeof(four), 0);
	assert_int_equal(client_command_u8(&b, CMD_SET_LOCALITY, 0), 0);
	assert_int_equal(client_answer(&b), TPM_RC_COMMAND_SIZE); /* after the time in which the rest could have come */
	rig_submit(&b, tiny, sizeof(tiny), 0);
	assert_int_equal(client_answer(&b), TPM_RC_COMMAND_SIZE);
	rig_submit(&b, huge, sizeof(huge), 0);
	assert_int_equal(client_answer(&b), TPM_RC_COMMAND_SIZE);
	rig_submit(&b, read_clock, 9, 0); /* half a request */
	assert_int_equal(client_answer(&b), TPM_RC_COMMAND_SIZE);
	for (size_t i = 0; i < sizeof(read_clock); i++) /* in pieces, but in time */
		rig_submit(&b, read_clock + i, 1, 0);
	assert_int_equal(client_answer(&b), 0);
	rig_submit(&b, four, sizeof(four), 0); /* a reset forgets it */
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(client_get_random(&b), TPM_RC_INITIALIZE);
	assert_int_equal(client_hang_up(&b), 0);
}

/* Commands at once are answered in their order, and what came of the next one is kept. */
static void test_pipelined(void **state)
{
	uint8_t three[3 * sizeof(read_clock)];
	struct rig_backend b;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		memcpy(three + i * sizeof(read_clock), read_clock, sizeof(read_clock));
	client_power_on(&b, &disk);
	rig_submit(&b, three, sizeof(three), 0);
	assert_int_equal(client_answer(&b), 0);
	assert_int_equal(client_answer(&b), 0);
	assert_int_equal(client_answer(&b), 0);
	rig_submit(&b, three, sizeof(three) - 4, 0);
	assert_int_equal(client_answer(&b), 0);
	assert_int_equal(client_answer(&b), 0);
	rig_submit(&b, read_clock + 6, 4, 0);
	assert_int_equal(client_answer(&b), 0);
	assert_int_equal(client_get_random(&b), 0);
	assert_int_equal(client_hang_up(&b), 0);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void test_cancel(void **state)
{
	enum { ROUNDS = 15 };
	uint64_t took[ROUNDS], begun;
	struct rig_backend b;
	unsigned cancelled = 0;

	(void)state;
	client_power_on(&b, &disk);
	for (unsigned i = 0; i < ROUNDS; i++) {
		guest_build_rsa(&cmd);
		rig_submit(&b, cmd.data, cmd.len, 0);
		begun = now_us();
		assert_int_equal(client_command(&b, CMD_CANCEL_TPM_CMD), 0);
		if (client_answer(&b) == 0x909) {
			cancelled++;
		} else {
			struct tpmrsp r;

			assert_int_equal(tpmrsp_parse(&r, rsp, rsp_len, true, 1), 0);
			assert_int_equal(tpmcmd_flush_context(&cmd, r.handle), 0);
			assert_int_equal(guest_run(&b), 0);
		}
		took[i] = now_us() - begun;
	}
	qsort(took, ROUNDS, sizeof(took[0]), compare);
	print_message("RSA-2048 cancelled: %u of %u, median %llu us\n", cancelled, ROUNDS,
		      (unsigned long long)took[ROUNDS / 2]);
	assert_true(cancelled > 0); /* a prime may be found at once */
	assert_int_equal(client_get_random(&b), 0);
	/* QEMU is killed in mid-command. */
	guest_build_rsa(&cmd);
	rig_submit(&b, cmd.data, cmd.len, 0);
	assert_int_equal(client_hang_up(&b), 0);
	client_power_on(&b, &disk);
	assert_int_equal(client_hang_up(&b), 0);
}

/* A wrong PIN is not free while the store is full, and neither is a reset. */
static void test_full_store(void **state)
{
	struct rig_backend b;

	(void)state;
	client_power_on(&b, &disk);
	guest_build_define(&cmd, SLOT(3), 4);
	assert_int_equal(guest_run(&b), 0);
	disk.fail = ERR_FULL;
	guest_build_write(&cmd, SLOT(3), "bad", "1234");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	guest_build_write(&cmd, SLOT(3), "pin", "1234");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	assert_int_equal(client_command(&b, CMD_STOP), 0);
	assert_int_equal(client_command_u32(&b, CMD_INIT, 0), 0);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	(void)guest_run(&b); /* it may change the state: then its answer is withheld */
	guest_build_write(&cmd, SLOT(3), "pin", "1234");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	disk.fail = 0;
	assert_int_equal(guest_run(&b), 0);
	assert_true(guest_lockout_counter(&b) >= 1);
	guest_undefine(&b, SLOT(3));
	assert_int_equal(client_hang_up(&b), 0);
}

/* A length that nothing can be said to is the end of the connection, in order. */
static void test_endless_blob(void **state)
{
	static const uint8_t head[] = { 0, 0, 0, CMD_SET_STATEBLOB, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff };
	struct rig_backend b;

	(void)state;
	client_connect(&b, &disk);
	client_send(&b, head, sizeof(head), -1);
	assert_int_equal(rig_exited(&b), 0);
	rig_forget(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_ends_in_order),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_stray_data),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_full_store),
		cmocka_unit_test(test_endless_blob),
	};

	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
