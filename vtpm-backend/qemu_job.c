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

static uint32_t run_init(struct backend *b, struct qemu_job *job)
{
	struct qemu *q = b->qemu;
	uint32_t flags;
	bool resumes;
	int err = 0;

	if (buf_get_u32be(&job->body, &flags))
		return QEMU_BAD_PARAMETER;
	qemu_data_forget(b);
	resumes = qemu_state_resumes(b);
	if (q->imported || resumes)
		power_cut(b);
	else
		(void)!power_off(b); /* what could not be stored stays, and is tried again by power_on */
	if (resumes)
		err = power_resume(b, q->resume, q->resume_len);
	else
		err = power_on(b);
	if (err != 0)
		return fatal(b, err, "power on the engine");
	b->halted = false;
	q->imported = q->exported = false;
	qemu_state_forget(q); /* whatever the flags say: power-on has changed the permanent state */
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

/* What libtpms changed on its own account is committed as after a command; the TPM's state has moved on. */
static uint32_t settle(struct backend *b, int err)
{
	int end = 0;

	b->qemu->exported = false;
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
	int err;

	if (buf_get_u8(&job->body, &locality))
		return QEMU_BAD_PARAMETER;
	if (locality > QEMU_LOCALITY_MAX)
		return QEMU_BAD_LOCALITY;
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
	(void)job;
	return settle(b, engine_hash_start());
}

static uint32_t run_hash_data(struct backend *b, struct qemu_job *job)
{
	const uint8_t *data;
	uint32_t n;

	if (buf_get_u32be(&job->body, &n) || buf_get_view(&job->body, n, &data))
		return QEMU_BAD_PARAMETER;
	return settle(b, engine_hash_data(data, n));
}

static uint32_t run_hash_end(struct backend *b, struct qemu_job *job)
{
	(void)job;
	return settle(b, engine_hash_end());
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

/* The store is locked as long as the manager runs. */
static uint32_t run_lock_storage(struct backend *b, struct qemu_job *job)
{
	(void)b;
	(void)job;
	return QEMU_SUCCESS;
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
