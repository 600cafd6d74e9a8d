/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/spin.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

#define SPIN_LOOKS 32 /* looks between two readings of the clock */

#if defined(__x86_64__) || defined(__i386__)
#define cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define cpu_relax() __asm__ volatile("yield" ::: "memory")
#else
#define cpu_relax() __asm__ volatile("" ::: "memory")
#endif

static uint64_t spin_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool spin_look(bool (*ready)(const void *arg), const void *arg)
{
	for (int i = 0; i < SPIN_LOOKS; i++) {
		if (ready(arg))
			return true;
		cpu_relax();
	}
	return false;
}

bool spin_until(struct spin *s, unsigned us, bool (*ready)(const void *arg), const void *arg)
{
	uint64_t end;

	if (us == 0)
		return false;
	if (s->skip > 0) {
		s->skip--;
		return false;
	}
	end = spin_now_ns() + (uint64_t)us * 1000u;
	do {
		if (spin_look(ready, arg)) {
			s->misses = 0;
			return true;
		}
		sched_yield(); /* whom it waits for may want this very processor */
	} while (spin_now_ns() < end);
	if (s->misses < SPIN_MISSES_MAX)
		s->misses++;
	s->skip = (1u << s->misses) - 1;
	return false;
}
