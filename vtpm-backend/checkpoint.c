/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/secmem.h"

#define PAGE_LEN       4096u
#define OFF_RUN	       0u
#define OFF_PUBLISHED  16u
#define OFF_ANSWERED   24u
#define OFF_ATTEMPTS   32u
#define OFF_REDO       40u
#define OFF_POWER      48u
#define OFF_RESPONSE   PAGE_LEN
#define OFF_SLOTS      (2u * PAGE_LEN)
#define SLOTS	       3u
#define SLOT_LEN       (SEALED_STATE_MAX + PAGE_LEN)
#define OFF_LOG	       (OFF_SLOTS + SLOTS * SLOT_LEN)
#define LOG_LEN	       (8u * PAGE_LEN)
#define OFF_LINK       (OFF_LOG + LOG_LEN)
#define AREA_LEN       (OFF_LINK + CHECKPOINT_LINK_LEN)
#define AREA_SEALS     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define FIELDS_LEN     (CHECKPOINT_RUN_LEN + 8u + 8u + 4u + 4u + 8u + 4u + 3u * 4u)
#define ANSWER_LEN_BITS 16
#define REDO_BITS	16
#define REDO_MAX	128u /* records on one checkpoint: what a resumption may take */
#define REDO_FIELDS_LEN (CHECKPOINT_RUN_LEN + 8u + 1u + 4u)
#define OPEN_LEN	(SEALED_STATE_MAX + LOG_LEN)

int checkpoint_area_make(int *fd)
{
	int err;

	*fd = memfd_create("vtpm-checkpoint", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return err_from_errno(errno);
	if (ftruncate(*fd, AREA_LEN) == 0 && fcntl(*fd, F_ADD_SEALS, AREA_SEALS) == 0)
		return 0;
	err = err_from_errno(errno);
	fd_close(fd);
	return err;
}

int checkpoint_area_map(struct checkpoint_area *a, int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *map;

	if (seals < 0 || (seals & AREA_SEALS) != AREA_SEALS || fstat(fd, &st) != 0 || st.st_size != AREA_LEN)
		return ERR_PROTO;
	map = mmap(NULL, AREA_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_from_errno(errno);
	if (mlock(map, OFF_SLOTS) != 0) {
		munmap(map, AREA_LEN);
		return ERR_NOMEM;
	}
	*a = (struct checkpoint_area){ .map = map };
	return 0;
}

void checkpoint_area_unmap(struct checkpoint_area *a)
{
	if (a->map != NULL)
		munmap(a->map, AREA_LEN);
	*a = (struct checkpoint_area){ 0 };
}

static uint64_t *word(const struct checkpoint_area *a, size_t off)
{
	void *p = a->map + off;

	return p;
}

static void set_word(struct checkpoint_area *a, size_t off, uint64_t v)
{
	if (a->map != NULL)
		__atomic_store_n(word(a, off), v, __ATOMIC_RELEASE);
}

static uint64_t get_word(const struct checkpoint_area *a, size_t off)
{
	return a->map != NULL ? __atomic_load_n(word(a, off), __ATOMIC_ACQUIRE) : 0;
}

int checkpoint_begin(struct checkpoint_area *a)
{
	int err;

	if (a->map == NULL)
		return 0;
	set_word(a, OFF_PUBLISHED, 0);
	set_word(a, OFF_ANSWERED, 0);
	set_word(a, OFF_ATTEMPTS, 0);
	set_word(a, OFF_REDO, 0);
	a->number = 0;
	a->redone = 0;
	a->redone_len = 0;
	err = random_bytes(a->run, sizeof(a->run));
	if (err == 0)
		memcpy(a->map + OFF_RUN, a->run, sizeof(a->run));
	return err;
}

static uint8_t *slot(const struct checkpoint_area *a, uint64_t number)
{
	return a->map + OFF_SLOTS + number % SLOTS * SLOT_LEN;
}

static int fields_encode(struct buf *b, const uint8_t *run, const struct checkpoint *c)
{
	if (buf_put_bytes(b, run, CHECKPOINT_RUN_LEN) || buf_put_u64le(b, c->seq) || buf_put_u64le(b, c->base) ||
	    buf_put_u32le(b, c->flags) || buf_put_u32le(b, (uint32_t)c->why) ||
	    buf_put_u64le(b, c->job) || buf_put_u32le(b, c->job_result) ||
	    buf_put_u32le(b, (uint32_t)c->response.len) || buf_put_u32le(b, (uint32_t)c->volatile_state.len) ||
	    buf_put_u32le(b, (uint32_t)c->permanent.len))
		return ERR_RANGE;
	return 0;
}

static int get_part(struct buf *b, uint32_t len, struct state_part *p)
{
	p->len = len;
	return buf_get_view(b, len, &p->data);
}

static int fields_decode(struct buf *b, uint8_t run[static CHECKPOINT_RUN_LEN], struct checkpoint *c)
{
	uint32_t why, response, volatile_len, permanent;

	if (buf_get_bytes(b, run, CHECKPOINT_RUN_LEN) || buf_get_u64le(b, &c->seq) || buf_get_u64le(b, &c->base) ||
	    buf_get_u32le(b, &c->flags) || buf_get_u32le(b, &why) || buf_get_u64le(b, &c->job) ||
	    buf_get_u32le(b, &c->job_result) || buf_get_u32le(b, &response) ||
	    buf_get_u32le(b, &volatile_len) || buf_get_u32le(b, &permanent) || get_part(b, response, &c->response) ||
	    get_part(b, volatile_len, &c->volatile_state) || get_part(b, permanent, &c->permanent))
		return ERR_AUTH;
	c->why = (int32_t)why;
	return buf_left(b) == 0 && c->response.len <= CHAN_PACKET_MAX && c->volatile_state.len > 0 ? 0 : ERR_AUTH;
}

int checkpoint_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
		     const struct checkpoint *c, bool pending)
{
	struct state_id id = { .kind = STATE_CHECKPOINT, .version = a->number + 1 };
	uint8_t fields[FIELDS_LEN];
	const struct state_part parts[] = { { fields, FIELDS_LEN }, c->response, c->volatile_state, c->permanent };
	struct buf f, out;
	uint32_t len;
	int err;

	if (a->map == NULL)
		return 0;
	memcpy(id.uuid, uuid, UUID_LEN);
	buf_init(&f, fields, sizeof(fields));
	buf_init(&out, slot(a, id.version) + sizeof(len), SLOT_LEN - sizeof(len));
	err = fields_encode(&f, a->run, c);
	if (err == 0)
		err = state_seal_parts(s, &id, parts, ARRAY_LEN(parts), &out);
	if (err != 0)
		return err;
	len = (uint32_t)out.len;
	memcpy(slot(a, id.version), &len, sizeof(len));
	a->number = id.version;
	a->redone = 0;
	a->redone_len = 0;
	set_word(a, OFF_PUBLISHED, a->number << 1 | pending);
	return 0;
}

/*
 * The log is written from its beginning again after each checkpoint. Until its first record is complete the word speaks of
 * the records of the checkpoint before: should that still count, they have not been touched, since none is written between a
 * commit and its outcome.
 */
int checkpoint_redo_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
			  const struct checkpoint_redo *r)
{
	struct state_id id = { .kind = STATE_REDO, .version = a->number << REDO_BITS | (a->redone + 1) };
	uint8_t fields[REDO_FIELDS_LEN];
	const struct state_part parts[] = { { fields, sizeof(fields) }, r->command };
	const size_t need = sizeof(uint32_t) + sizeof(fields) + r->command.len + STATE_OVERHEAD;
	struct buf f, out;
	uint32_t len;
	int err;

	if (a->map == NULL)
		return 0;
	if (a->number == 0 || get_word(a, OFF_PUBLISHED) != a->number << 1)
		return ERR_FULL;
	if (a->redone >= REDO_MAX || need > LOG_LEN - a->redone_len)
		return ERR_FULL;
	memcpy(id.uuid, uuid, UUID_LEN);
	buf_init(&f, fields, sizeof(fields));
	buf_init(&out, a->map + OFF_LOG + a->redone_len + sizeof(len), need - sizeof(len));
	if (buf_put_bytes(&f, a->run, CHECKPOINT_RUN_LEN) || buf_put_u64le(&f, r->seq) || buf_put_u8(&f, r->locality) ||
	    buf_put_u32le(&f, (uint32_t)r->command.len))
		return ERR_RANGE;
	err = state_seal_parts(s, &id, parts, ARRAY_LEN(parts), &out);
	if (err != 0)
		return err;
	len = (uint32_t)out.len;
	memcpy(a->map + OFF_LOG + a->redone_len, &len, sizeof(len));
	a->redone++;
	a->redone_len += need;
	set_word(a, OFF_REDO, id.version);
	return 0;
}

void checkpoint_power_set(struct checkpoint_area *a, enum checkpoint_power power)
{
	set_word(a, OFF_POWER, power);
}

enum checkpoint_power checkpoint_power(const struct checkpoint_area *a)
{
	const uint64_t power = get_word(a, OFF_POWER);

	/* Anything else was not written by one of ours: it demands the most. */
	return power == CHECKPOINT_OFF || power == CHECKPOINT_CHANGING ? (enum checkpoint_power)power : CHECKPOINT_ON;
}

int checkpoint_link(const struct checkpoint_area *a, size_t locked, void **link)
{
	*link = a->map + OFF_LINK;
	return mlock(*link, locked) == 0 ? 0 : ERR_NOMEM;
}

void checkpoint_settle(struct checkpoint_area *a)
{
	if (get_word(a, OFF_PUBLISHED) != 0)
		set_word(a, OFF_PUBLISHED, a->number << 1);
}

/* Its number is skipped, so that the next one has no predecessor that could count. */
void checkpoint_drop(struct checkpoint_area *a)
{
	set_word(a, OFF_PUBLISHED, 0);
	a->number++;
}

void checkpoint_free(uint8_t *mem, size_t len)
{
	if (mem != NULL)
		secmem_wipe(mem, len);
	free(mem);
}

/* Opens one slot; whether it counts is the caller's to say. mem: SEALED_STATE_MAX bytes. */
static int open_slot(const struct checkpoint_area *a, uint64_t number, const uint8_t *key, const uint8_t *uuid,
		     struct checkpoint *c, uint8_t *mem)
{
	struct state_id id = { .kind = STATE_CHECKPOINT, .version = number };
	uint8_t run[CHECKPOINT_RUN_LEN];
	struct buf b;
	uint32_t len;
	size_t n;
	int err;

	memcpy(id.uuid, uuid, UUID_LEN);
	memcpy(&len, slot(a, number), sizeof(len));
	if (len <= STATE_OVERHEAD || len > SEALED_STATE_MAX)
		return ERR_AUTH;
	err = state_open(key, &id, slot(a, number) + sizeof(len), len, mem, &n);
	if (err != 0)
		return err;
	buf_wrap(&b, mem, n);
	err = fields_decode(&b, run, c);
	if (err == 0 && memcmp(run, a->map + OFF_RUN, sizeof(run)) != 0)
		err = ERR_AUTH; /* of the time before the last power-on */
	return err;
}

/* Opens what was executed since checkpoint `number` into mem, LOG_LEN bytes: the plaintexts, one behind the other. */
static int open_log(const struct checkpoint_area *a, uint64_t number, const uint8_t *key, const uint8_t *uuid,
		    struct state_part *redo, uint8_t *mem)
{
	const uint64_t redo_word = get_word(a, OFF_REDO);
	const uint64_t count = redo_word >> REDO_BITS == number ? redo_word & ((1u << REDO_BITS) - 1) : 0;
	struct state_id id = { .kind = STATE_REDO };
	size_t at = 0, n;
	uint32_t len;
	int err;

	memcpy(id.uuid, uuid, UUID_LEN);
	*redo = (struct state_part){ mem, 0 };
	for (uint64_t i = 1; i <= count; i++) {
		if (at > LOG_LEN - sizeof(len))
			return ERR_AUTH;
		memcpy(&len, a->map + OFF_LOG + at, sizeof(len));
		at += sizeof(len);
		if (len <= STATE_OVERHEAD + REDO_FIELDS_LEN || len > LOG_LEN - at)
			return ERR_AUTH;
		id.version = number << REDO_BITS | i;
		err = state_open(key, &id, a->map + OFF_LOG + at, len, mem + redo->len, &n);
		if (err == 0 && memcmp(mem + redo->len, a->map + OFF_RUN, CHECKPOINT_RUN_LEN) != 0)
			err = ERR_AUTH;
		if (err != 0)
			return err;
		at += len;
		redo->len += n;
	}
	return 0;
}

int checkpoint_redo_next(struct checkpoint *c, struct checkpoint_redo *r)
{
	struct buf b;

	if (c->redo.len == 0)
		return ERR_NOTFOUND;
	buf_wrap(&b, c->redo.data, c->redo.len);
	if (buf_skip(&b, CHECKPOINT_RUN_LEN) || buf_get_u64le(&b, &r->seq) || buf_get_u8(&b, &r->locality) ||
	    buf_get_var(&b, CHAN_PACKET_MAX, &r->command.data, &r->command.len))
		return ERR_AUTH;
	c->redo.data += b.pos;
	c->redo.len -= b.pos;
	return 0;
}

/* One checkpoint, if it rests on what the store has, with all that goes on top of it. */
static int open_one(const struct checkpoint_area *a, uint64_t number, const uint8_t *key, const uint8_t *uuid,
		    uint64_t stored, struct checkpoint *c, uint8_t *mem)
{
	int err;

	err = open_slot(a, number, key, uuid, c, mem);
	if (err == 0 && c->base != stored)
		err = ERR_AUTH;
	return err != 0 ? err : open_log(a, number, key, uuid, &c->redo, mem + SEALED_STATE_MAX);
}

int checkpoint_open(struct checkpoint_area *a, const uint8_t key[static KEY_LEN], const uint8_t uuid[static UUID_LEN],
		    uint64_t stored, struct checkpoint *c, uint8_t **mem, size_t *len)
{
	const uint64_t published = get_word(a, OFF_PUBLISHED);
	const bool pending = published & 1;
	int err;

	*mem = NULL;
	*len = OPEN_LEN;
	if (published == 0)
		return ERR_NOTFOUND;
	*mem = malloc(*len);
	if (*mem == NULL)
		return ERR_NOMEM;
	memcpy(a->run, a->map + OFF_RUN, sizeof(a->run));
	a->number = published >> 1;
	err = open_one(a, a->number, key, uuid, stored, c, *mem);
	/* What was sent to the store with it has not arrived there: the command has had no effect. */
	if (err != 0 && pending)
		err = open_one(a, a->number - 1, key, uuid, stored, c, *mem);
	return err;
}

void checkpoint_answer(struct checkpoint_area *a, uint64_t seq, const uint8_t *rsp, size_t len)
{
	if (a->map == NULL)
		return;
	/* The response before it has been delivered: the guest has sent another command since. */
	memcpy(a->map + OFF_RESPONSE, rsp, len);
	set_word(a, OFF_ANSWERED, seq << ANSWER_LEN_BITS | len);
}

uint64_t checkpoint_answered(const struct checkpoint_area *a, uint8_t rsp[static CHAN_PACKET_MAX], size_t *len)
{
	const uint64_t answered = get_word(a, OFF_ANSWERED);

	*len = answered & ((1u << ANSWER_LEN_BITS) - 1);
	if (*len > CHAN_PACKET_MAX)
		*len = 0;
	if (*len > 0)
		memcpy(rsp, a->map + OFF_RESPONSE, *len);
	return answered >> ANSWER_LEN_BITS;
}

void checkpoint_attempts_set(struct checkpoint_area *a, uint64_t n)
{
	set_word(a, OFF_ATTEMPTS, n);
}

uint64_t checkpoint_attempts(const struct checkpoint_area *a)
{
	return get_word(a, OFF_ATTEMPTS);
}
