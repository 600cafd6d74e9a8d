/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine thread's side of QEMU's control channel: a function for each command.
 *
 * STOP halts the TPM, and INIT resets it: only then, or at the end, it is shut down in order. Between the two QEMU may
 * bring a saved state back, and a TPM that had been shut down would have moved on from it.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-backend/store.h"

/*
 * Set by a handler where the process cannot go on: the manager has gone, or libtpms does not take the state. The job
 * is then never answered.
 */
static uint32_t fatal(struct backend *b, int err, const char *what)
{
	backend_fail(b, err, what);
}

/* What was brought back or kept, if it still fits; otherwise a reset of what the engine has. */
static int power_anew(struct backend *b)
{
	const struct qemu_saved *s = &b->qemu->resume;

	if (s->p != NULL && (b->qemu->permanent.p != NULL || (!b->commit.stale && s->version == b->commit.version))) {
		power_cut(b);
		return power_resume(b, s->p, s->len);
	}
	(void)!power_off(b); /* what could not be stored stays, and is tried again by power_on */
	return power_on(b);
}

static uint32_t run_init(struct backend *b, struct qemu_job *job)
{
	struct qemu *q = b->qemu;
	bool brought = q->permanent.p != NULL;
	uint32_t flags;
	int err;

	/* QEMU_INIT_DELETE_VOLATILE or not: a volatile state is used once. */
	if (buf_get_u32be(&job->body, &flags))
		return QEMU_BAD_PARAMETER;
	qemu_data_forget(b);
	err = qemu_state_take(b);
	if (err == 0) {
		err = power_anew(b);
		if (err != 0)
			return fatal(b, err, "power on the engine");
	}
	qemu_state_forget(q);
	if (err != 0)
		return QEMU_FAIL;
	if (brought && b->commit.stale) { /* it would not be used up */
		power_cut(b);
		return QEMU_IOERROR;
	}
	b->halted = false;
	return QEMU_SUCCESS;
}

static uint32_t run_stop(struct backend *b, struct qemu_job *job)
{
	(void)job;
	qemu_data_forget(b);
	b->halted = true;
	return QEMU_SUCCESS;
}

static uint32_t run_shutdown(struct backend *b, struct qemu_job *job)
{
	(void)job;
	b->halted = true;
	b->qemu->quit = true; /* serve_run powers off once the reply has gone out */
	return QEMU_SUCCESS;
}

static uint32_t run_get_established(struct backend *b, struct qemu_job *job)
{
	bool bit;

	(void)b;
	if (engine_established(&bit) != 0 || buf_put_u8(&job->reply.b, bit) ||
	    buf_put_bytes(&job->reply.b, (const uint8_t[3]){ 0 }, 3))
		return QEMU_FAIL;
	return QEMU_SUCCESS;
}

/* Before something happens to the TPM: as before a command, a state that was given away must have become an old one. */
static uint32_t move_on(struct backend *b)
{
	int err;

	if (!b->commit.exported)
		return QEMU_SUCCESS;
	err = store_commit_newest(b);
	if (err != 0)
		return fatal(b, err, "store the state");
	return b->commit.exported ? QEMU_IOERROR : QEMU_SUCCESS;
}

/* What libtpms changed on its own account is committed as after a command. */
static uint32_t settle(struct backend *b, int err)
{
	int end = 0;

	if (engine_dirty())
		end = store_commit_newest(b);
	if (end != 0)
		return fatal(b, end, "store the state");
	if (err == 0 && b->commit.stale)
		return QEMU_IOERROR;
	return err == 0 ? QEMU_SUCCESS : QEMU_FAIL;
}

static uint32_t run_reset_established(struct backend *b, struct qemu_job *job)
{
	uint8_t locality;
	uint32_t result;
	int err;

	if (buf_get_u8(&job->body, &locality))
		return QEMU_BAD_PARAMETER;
	if (locality > QEMU_LOCALITY_MAX)
		return QEMU_BAD_LOCALITY;
	result = move_on(b);
	if (result != QEMU_SUCCESS)
		return result;
	err = engine_established_reset(locality);
	return err == ERR_DENIED ? QEMU_BAD_LOCALITY : settle(b, err);
}

static uint32_t run_set_locality(struct backend *b, struct qemu_job *job)
{
	uint8_t locality;

	if (buf_get_u8(&job->body, &locality))
		return QEMU_BAD_PARAMETER;
	if (locality > QEMU_LOCALITY_MAX)
		return QEMU_BAD_LOCALITY;
	b->qemu->locality = locality;
	return QEMU_SUCCESS;
}

static uint32_t run_hash_start(struct backend *b, struct qemu_job *job)
{
	uint32_t result = move_on(b);

	(void)job;
	return result == QEMU_SUCCESS ? settle(b, engine_hash_start()) : result;
}

static uint32_t run_hash_data(struct backend *b, struct qemu_job *job)
{
	const uint8_t *data;
	uint32_t n, result;

	if (buf_get_u32be(&job->body, &n) || buf_get_view(&job->body, n, &data))
		return QEMU_BAD_PARAMETER;
	result = move_on(b);
	return result == QEMU_SUCCESS ? settle(b, engine_hash_data(data, n)) : result;
}

static uint32_t run_hash_end(struct backend *b, struct qemu_job *job)
{
	uint32_t result = move_on(b);

	(void)job;
	return result == QEMU_SUCCESS ? settle(b, engine_hash_end()) : result;
}

static uint32_t run_store_volatile(struct backend *b, struct qemu_job *job)
{
	(void)job;
	return qemu_state_keep(b);
}

/* No key that QEMU would have to know of. */
static uint32_t run_get_config(struct backend *b, struct qemu_job *job)
{
	(void)b;
	return buf_put_u32be(&job->reply.b, 0) ? QEMU_FAIL : QEMU_SUCCESS;
}

/*
 * The other end of a data channel was closed, which the engine thread may not have come to notice yet. If it is gone
 * altogether, what it still sent is nobody's: no answer would arrive.
 */
static bool has_ended(int fd)
{
	char c;
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct pollfd p = { .fd = fd };

	return (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR))) || recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static uint32_t run_set_datafd(struct backend *b, struct qemu_job *job)
{
	struct stat st;
	uint32_t flags;

	if (buf_get_u32be(&job->body, &flags))
		flags = 0; /* swtpm knows none */
	if (b->qemu->data >= 0 && has_ended(b->qemu->data))
		qemu_data_close(b->qemu);
	if (b->qemu->data >= 0)
		return QEMU_IOERROR;
	if (job->fd < 0 || fstat(job->fd, &st) != 0 || !S_ISSOCK(st.st_mode))
		return QEMU_BAD_PARAMETER;
	b->qemu->data = job->fd;
	b->qemu->once = flags == QEMU_DATAFD_ONCE;
	job->fd = -1;
	return QEMU_SUCCESS;
}

/* 0 asks for the size in use. */
static uint32_t run_set_buffersize(struct backend *b, struct qemu_job *job)
{
	uint32_t wanted, now, min;

	if (buf_get_u32be(&job->body, &wanted))
		return QEMU_BAD_PARAMETER;
	if (wanted != 0 && b->powered && !b->halted)
		return QEMU_BAD_ORDINAL;
	now = engine_packet_max(wanted, &min);
	if (buf_put_u32be(&job->reply.b, now) || buf_put_u32be(&job->reply.b, min) ||
	    buf_put_u32be(&job->reply.b, CHAN_PACKET_MAX))
		return QEMU_FAIL;
	return QEMU_SUCCESS;
}

/* {u64 flags, u32 offset, u32}: JSON with its NUL, from an offset. */
static uint32_t run_get_info(struct backend *b, struct qemu_job *job)
{
	uint32_t offset, total, rest;
	uint64_t flags;
	char *text;
	int err;

	(void)b;
	if (buf_get_u64be(&job->body, &flags) || buf_get_u32be(&job->body, &offset))
		return QEMU_BAD_PARAMETER;
	text = engine_info((uint32_t)flags); /* nothing is known by a higher one */
	if (text == NULL)
		return QEMU_FAIL;
	total = (uint32_t)strlen(text) + 1;
	rest = offset < total ? total - offset : 0;
	if (rest > QEMU_REPLY_MAX - 12)
		rest = QEMU_REPLY_MAX - 12;
	err = buf_put_u32be(&job->reply.b, total) || buf_put_u32be(&job->reply.b, rest) ||
	      buf_put_bytes(&job->reply.b, text + (rest > 0 ? offset : 0), rest);
	free(text);
	return err ? QEMU_FAIL : offset < total ? QEMU_SUCCESS : QEMU_BAD_PARAMETER;
}

/*
 * The store is locked as long as the manager runs. QEMU sends this when its machine goes on after a save, be it that a migration
 * failed or that it was a snapshot.
 */
static uint32_t run_lock_storage(struct backend *b, struct qemu_job *job)
{
	(void)job;
	return move_on(b);
}

static const struct qemu_rule rules[] = {
	{ CMD_GET_CAPABILITY, QEMU_ANY, false, 0, NULL },
	{ CMD_INIT, QEMU_ANY, true, 4, run_init },
	{ CMD_SHUTDOWN, QEMU_ANY, true, 0, run_shutdown },
	{ CMD_GET_TPMESTABLISHED, QEMU_ON, false, 0, run_get_established },
	{ CMD_SET_LOCALITY, QEMU_ANY, false, 1, run_set_locality },
	{ CMD_HASH_START, QEMU_ON, false, 0, run_hash_start },
	{ CMD_HASH_DATA, QEMU_ON, false, 4, run_hash_data },
	{ CMD_HASH_END, QEMU_ON, false, 0, run_hash_end },
	{ CMD_CANCEL_TPM_CMD, QEMU_ANY, false, 0, NULL },
	{ CMD_STORE_VOLATILE, QEMU_ON, false, 0, run_store_volatile },
	{ CMD_RESET_TPMESTABLISHED, QEMU_ON, false, 1, run_reset_established },
	{ CMD_GET_STATEBLOB, QEMU_ON, false, 12, qemu_state_get },
	{ CMD_SET_STATEBLOB, QEMU_OFF, false, 12, qemu_state_set },
	{ CMD_STOP, QEMU_ANY, true, 0, run_stop },
	{ CMD_GET_CONFIG, QEMU_ANY, false, 0, run_get_config },
	{ CMD_SET_DATAFD, QEMU_ANY, false, 0, run_set_datafd },
	{ CMD_SET_BUFFERSIZE, QEMU_ANY, false, 4, run_set_buffersize },
	{ CMD_GET_INFO, QEMU_ANY, false, 16, run_get_info },
	{ CMD_LOCK_STORAGE, QEMU_ANY, false, 4, run_lock_storage },
};

const struct qemu_rule *qemu_rule_find(uint32_t cmd)
{
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (rules[i].cmd == cmd)
			return &rules[i];
	return NULL;
}

void qemu_job_run(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_job *job = &q->job;
	uint8_t state = b->powered && !b->halted ? QEMU_ON : QEMU_OFF;
	const uint64_t one = 1;
	uint64_t count;
	uint32_t result;

	(void)!read(q->job_fd, &count, sizeof(count)); /* fails only if it was not readable */
	if (atomic_load(&job->stage) != QEMU_JOB_POSTED)
		return;
	qemu_reply_begin(&job->reply);
	result = job->rule->state & state ? job->rule->run(b, job) : QEMU_BAD_ORDINAL;
	qemu_reply_end(&job->reply, result);
	atomic_store(&job->stage, QEMU_JOB_DONE);
	(void)!write(b->busy_fd, &one, sizeof(one)); /* fails only if it is readable already */
}
