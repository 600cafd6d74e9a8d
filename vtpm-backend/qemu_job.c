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
#include "vtpm-backend/resume.h"

/*
 * Set by a handler where the process cannot go on: the manager has gone, or libtpms does not take the state. The job
 * is then never answered.
 */
static uint32_t fatal(struct backend *b, int err, const char *what)
{
	backend_fail(b, err, what);
}

static void halt(struct backend *b, bool yes)
{
	b->halted = yes;
	qemu_note(&b->qemu->area->halted, yes);
}

/* The engine has done the job: what is checkpointed next says so. */
static void done(struct backend *b, uint32_t result)
{
	b->job = b->qemu->job.number;
	b->job_result = result;
}

/* What was brought back or kept, if it still fits; otherwise a reset of what the engine has. */
static int power_anew(struct backend *b)
{
	const struct qemu_saved *s = &b->qemu->saved[SAVED_VOLATILE];
	const bool brought = b->qemu->saved[SAVED_PERMANENT].p != NULL;
	int err;

	checkpoint_power_set(&b->area, CHECKPOINT_CHANGING);
	if (s->p != NULL && (brought || (!b->commit.stale && s->version == b->commit.version))) {
		power_cut(b);
		err = power_continue(b, s->p, s->len);
		if (err == 0)
			err = power_stir(b);
		done(b, QEMU_SUCCESS);
		if (err == 0)
			err = resume_begin_commit(b);
		return err != 0 || brought || !b->commit.stale ? err : resume_begin(b);
	}
	(void)!power_off(b); /* what could not be stored stays, and is tried again by power_on */
	err = power_on(b);
	done(b, QEMU_SUCCESS);
	return err != 0 ? err : resume_begin(b);
}

/* INIT comes to nothing. That is what it would come to again, with what was brought or, worse, without. */
static uint32_t init_refused(struct backend *b, uint32_t result)
{
	qemu_judge(b->qemu, result);
	qemu_state_forget(b->qemu);
	return result;
}

/* Perhaps of one that was killed before it had said so: then its key could not be replaced yet. */
static uint32_t init_done(struct backend *b)
{
	int err;

	qemu_state_forget(b->qemu);
	halt(b, false);
	checkpoint_power_set(&b->area, CHECKPOINT_ON);
	err = resume_renew(b, 0);
	return err != 0 ? fatal(b, err, "store the state") : QEMU_SUCCESS;
}

static uint32_t run_init(struct backend *b, struct qemu_job *job)
{
	bool brought = b->qemu->saved[SAVED_PERMANENT].p != NULL;
	uint32_t flags;
	int err;

	/* QEMU_INIT_DELETE_VOLATILE or not: a volatile state is used once. */
	if (buf_get_u32be(&job->body, &flags))
		return QEMU_BAD_PARAMETER;
	qemu_data_forget(b);
	if (qemu_state_take(b) != 0)
		return init_refused(b, QEMU_FAIL);
	err = power_anew(b);
	if (err != 0)
		return fatal(b, err, "power on the engine");
	if (brought && b->commit.stale) { /* it would not be used up */
		qemu_judge(b->qemu, QEMU_IOERROR); /* first: one that is killed here has not taken it */
		power_cut(b);
		checkpoint_drop(&b->area);
		checkpoint_power_set(&b->area, CHECKPOINT_OFF);
		return init_refused(b, QEMU_IOERROR);
	}
	return init_done(b);
}

static uint32_t run_stop(struct backend *b, struct qemu_job *job)
{
	(void)job;
	qemu_data_forget(b);
	halt(b, true);
	return QEMU_SUCCESS;
}

static uint32_t run_shutdown(struct backend *b, struct qemu_job *job)
{
	(void)job;
	halt(b, true);
	qemu_note(&b->qemu->area->quit, true);
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
	err = resume_commit(b, &(size_t){ 0 });
	if (err != 0)
		return fatal(b, err, "store the state");
	return b->commit.exported ? QEMU_IOERROR : QEMU_SUCCESS;
}

/* What libtpms has done is checkpointed, and what it changed on its own account committed, as after a command. */
static uint32_t settle(struct backend *b, int err)
{
	const uint32_t result = err == 0 ? QEMU_SUCCESS : QEMU_FAIL;
	int end = 0;

	done(b, result);
	if (engine_dirty())
		end = resume_commit(b, &(size_t){ 0 });
	else
		resume_keep(b, 0, false);
	if (end != 0)
		return fatal(b, end, "store the state");
	if (err != 0 || !b->commit.stale)
		return result;
	qemu_judge(b->qemu, QEMU_IOERROR);
	return QEMU_IOERROR;
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
	qemu_note(&b->qemu->area->locality, locality);
	b->qemu->locality = locality;
	return QEMU_SUCCESS;
}

static uint32_t run_hash_start(struct backend *b, struct qemu_job *job)
{
	uint32_t result = move_on(b);

	(void)job;
	if (result != QEMU_SUCCESS)
		return result;
	b->hashing = true;
	return settle(b, engine_hash_start());
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
	int err;

	(void)job;
	if (result != QEMU_SUCCESS)
		return result;
	err = engine_hash_end();
	b->hashing = false;
	return settle(b, err != 0 ? err : power_stir(b));
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
	struct qemu_area *a = b->qemu->area;
	struct stat st;
	uint32_t flags;

	if (buf_get_u32be(&job->body, &flags))
		flags = 0; /* swtpm knows none */
	if (a->data == job->number)
		return QEMU_SUCCESS; /* the backend before this one has done it */
	if (b->qemu->data >= 0 && has_ended(b->qemu->data))
		qemu_data_close(b);
	if (b->qemu->data >= 0)
		return QEMU_IOERROR;
	if (job->fd < 0 || fstat(job->fd, &st) != 0 || !S_ISSOCK(st.st_mode))
		return QEMU_BAD_PARAMETER;
	if (qemu_stash_put(job->number, job->fd) != 0)
		return QEMU_IOERROR;
	qemu_note(&a->once, flags == QEMU_DATAFD_ONCE ? b->seq + 1 : 0);
	qemu_note(&a->data, job->number);
	b->qemu->data = job->fd;
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
	if (wanted != 0)
		qemu_note(&b->qemu->area->packet_max, now);
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

/* Whether a backend before this one has done the job, and it is only the reply that is missing. */
static bool is_done(struct backend *b, uint32_t *result)
{
	const struct qemu_job *job = &b->qemu->job;
	const uint64_t verdict = b->qemu->area->verdict;

	if (verdict >> 32 == job->number) {
		*result = (uint32_t)verdict;
		return true;
	}
	if (b->job != job->number)
		return false;
	*result = job->rule->cmd == CMD_INIT ? init_done(b) : b->job_result;
	return true;
}

static uint32_t run(struct backend *b, struct qemu_job *job)
{
	const uint8_t state = b->powered && !b->halted ? QEMU_ON : QEMU_OFF;
	uint32_t result;

	if (is_done(b, &result))
		return result;
	if (resume_refuses(b))
		return QEMU_FAIL;
	if (!(job->rule->state & state))
		return QEMU_BAD_ORDINAL;
	resume_attempt(b);
	return job->rule->run(b, job);
}

void qemu_job_run(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_job *job = &q->job;
	const uint64_t one = 1;
	uint64_t count;

	(void)!read(q->job_fd, &count, sizeof(count)); /* fails only if it was not readable */
	if (atomic_load(&job->stage) != QEMU_JOB_POSTED)
		return;
	qemu_reply_begin(&job->reply);
	qemu_reply_end(&job->reply, run(b, job));
	resume_settled(b);
	atomic_store(&job->stage, QEMU_JOB_DONE);
	(void)!write(b->busy_fd, &one, sizeof(one)); /* fails only if it is readable already */
}
