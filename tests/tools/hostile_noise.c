/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lib/util.h"
#include "tests/tools/hostile.h"

#define HEADER_SIZE    10u
#define NOISE_MAX      600u /* bytes of a random command; longer ones say nothing new */
#define COMMAND_FIRST  0x11fu
#define COMMAND_COUNT  0x80u
#define SCRIBBLE_RANGE 96u

uint64_t hostile_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static uint32_t pick(uint64_t *x, uint32_t n)
{
	return (uint32_t)((hostile_next(x) >> 16) % n);
}

static void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The size is right, so that it gets past the channel; nothing else is. */
static void make_noise(struct command *c, uint64_t *x)
{
	size_t n = HEADER_SIZE + pick(x, NOISE_MAX);

	for (size_t i = 0; i < n; i++)
		c->mem[i] = (uint8_t)hostile_next(x);
	put_be32(c->mem + 2, (uint32_t)n);
	c->b.len = n;
}

/* A code that exists, a tag that exists, and a handle or two and a session that might. */
static void make_known(struct command *c, uint64_t *x)
{
	static const uint32_t words[] = {
		0x40000001, 0x4000000a, 0x4000000b, 0x4000000c, 0x40000007, 0x40000009, 0x80000000, 0x81010001,
		0x01c00002, 0x01500020, 0,	    16,		9,	    1,		0xffffffff, 0x00020000,
	};
	size_t at = HEADER_SIZE;

	make_noise(c, x);
	c->mem[0] = 0x80;
	c->mem[1] = (uint8_t)(1 + pick(x, 2));
	put_be32(c->mem + 6, COMMAND_FIRST + pick(x, COMMAND_COUNT));
	for (unsigned i = pick(x, 6); i > 0 && at + 4 <= c->b.len; i--, at += 4)
		put_be32(c->mem + at, words[pick(x, ARRAY_LEN(words))]);
}

static void make_valid(struct command *c, uint32_t which)
{
	static const uint8_t bytes[COMMAND_DIGEST];
	static void (*const plain[])(struct command *) = {
		command_get_random, command_pcr_read, command_nv_define, command_nv_read, command_create_primary_ecc,
		command_shutdown, command_get_capability, command_hash, command_clear,
	};

	if (which < ARRAY_LEN(plain))
		plain[which](c);
	else if (which == ARRAY_LEN(plain))
		command_pcr_extend(c, bytes);
	else if (which == ARRAY_LEN(plain) + 1)
		command_nv_write(c, bytes);
	else
		command_flush(c, 0x80000000u + which % 4);
}

/* One to four bits turned, or the end cut off or made longer; then the size made right. */
static void make_mutant(struct command *c, uint64_t *x)
{
	size_t n;

	make_valid(c, pick(x, 15));
	for (unsigned i = pick(x, 4); i > 0; i--)
		c->mem[6 + pick(x, (uint32_t)c->b.len - 6)] ^= (uint8_t)(1u << pick(x, 8));
	n = c->b.len;
	if (pick(x, 8) == 0)
		n = HEADER_SIZE + pick(x, (uint32_t)(2 * n));
	if (n > c->b.len)
		memset(c->mem + c->b.len, 0, n - c->b.len);
	put_be32(c->mem + 2, (uint32_t)n);
	c->b.len = n;
}

void hostile_random(struct front *f, uint64_t seed, unsigned n)
{
	static void (*const makers[])(struct command *, uint64_t *) = {make_noise, make_known, make_mutant};
	uint64_t x = 2 * seed + 1; /* never 0 */
	unsigned good = 0;
	struct command c;

	for (unsigned i = 0; i < n; i++) {
		uint32_t rc;

		makers[i % ARRAY_LEN(makers)](&c, &x);
		rc = front_command(f, &c);
		if (rc == UINT32_MAX || rc == 0x101)
			front_die("seed %llu, command %u: answered with %#x", (unsigned long long)seed, i, rc);
		good += rc == RC_SUCCESS;
	}
	printf("seed %llu: %u commands, %u of them accepted\n", (unsigned long long)seed, n, good);
	front_demand_service(f);
}

struct scribbler {
	struct front *f;
	uint64_t x;
	atomic_bool end;
	unsigned long writes;
};

static void scribble(struct scribbler *s)
{
	static const uint32_t lengths[] = {0, 9, 10, 12, 4088, 4089, 0x80000000u, 0xffffffffu};
	volatile uint8_t *page = s->f->page;

	switch (pick(&s->x, 4)) {
	case 0:
		page_set_length(page, lengths[pick(&s->x, ARRAY_LEN(lengths))]);
		break;
	case 1: /* the states, some that do not exist, and most often SUBMIT */
		page_set_state(page, (uint8_t)(pick(&s->x, 2) != 0 ? CHAN_STATE_SUBMIT : pick(&s->x, 6)));
		front_signal(s->f);
		break;
	case 2:
		page_set_u8(page, CHAN_OFF_LOCALITY + pick(&s->x, 3), (uint8_t)hostile_next(&s->x));
		break;
	default:
		page_set_u8(page, CHAN_HEADER_SIZE + pick(&s->x, SCRIBBLE_RANGE), (uint8_t)hostile_next(&s->x));
	}
}

static void *scribble_main(void *arg)
{
	struct scribbler *s = arg;

	for (; !atomic_load(&s->end); s->writes++)
		scribble(s);
	return NULL;
}

void hostile_toggle(struct front *f, uint64_t seed, unsigned rounds)
{
	struct scribbler s = {.f = f, .x = 2 * seed + 1};
	struct command valid;
	pthread_t thread;
	uint64_t x = ~seed | 1;

	if (pthread_create(&thread, NULL, scribble_main, &s) != 0)
		front_die("no thread");
	for (unsigned i = 0; i < rounds; i++) {
		/* Whole, on the page, and then it is the scribbler's. Its states end the wait, too. */
		make_valid(&valid, pick(&x, 15));
		front_submit(f, valid.mem, valid.b.len, (uint32_t)valid.b.len, 0, 0);
		if (!front_wait(f))
			front_die("seed %llu, round %u: the back end has gone", (unsigned long long)seed, i);
	}
	atomic_store(&s.end, true);
	pthread_join(thread, NULL);
	printf("seed %llu: %u rounds, %lu changes\n", (unsigned long long)seed, rounds, s.writes);
	front_resync(f);
	front_demand_service(f);
}
