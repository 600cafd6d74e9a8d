/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <time.h>

#include "tests/bench/bench.h"

double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

void samples_add(struct samples *s, double v)
{
	if (s->n == SAMPLES_MAX)
		die("more than %u samples", SAMPLES_MAX);
	s->v[s->n++] = v;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

double samples_median(struct samples *s)
{
	if (s->n == 0)
		die("a median of nothing");
	qsort(s->v, s->n, sizeof(s->v[0]), compare);
	return (s->v[(s->n - 1) / 2] + s->v[s->n / 2]) / 2;
}
