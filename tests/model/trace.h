/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Part of the verifier that spin makes of continuity.pml with -DTRACE: the events of one recorded run, as trace.awk
 * makes them: a line each, a name and numbers. A row is named by its place among the rows of the run; 0 is none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX 32000 /* what a short of the model can count */

struct trace_event {
	char what[16];
	int n[7];
};
static struct trace_event trace_events[TRACE_MAX + 1];
static int trace_n;
static int trace_far; /* the first event that nobody could explain yet */

static void trace_verdict(void)
{
	if (trace_far >= trace_n)
		printf("trace: one without an end is none of the model's\n");
	else if (strcmp(trace_events[trace_far].what, "end") != 0)
		printf("trace: event %d (%s %d) is none of the model's\n", trace_far + 1, trace_events[trace_far].what,
		       trace_events[trace_far].n[0]);
}

static void trace_load(void)
{
	const char *path = getenv("TRACE");
	FILE *f = path ? fopen(path, "r") : NULL;
	char line[256];

	while (f && trace_n < TRACE_MAX && fgets(line, sizeof(line), f)) {
		struct trace_event *e = &trace_events[trace_n++];
		int *n = e->n;

		if (sscanf(line, "%15s %d %d %d %d %d %d %d", e->what, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6) < 1)
			exit(2);
	}
	if (!f || !trace_n || !feof(f)) {
		fprintf(stderr, "TRACE names no trace\n");
		exit(2);
	}
	fclose(f);
	atexit(trace_verdict);
}

static const struct trace_event *told(int t, const char *what)
{
	if (t > trace_far)
		trace_far = t;
	return t < trace_n && !strcmp(trace_events[t].what, what) ? &trace_events[t] : NULL;
}

static int told_row(int t, const char *what, int id)
{
	const struct trace_event *e = told(t, what);

	return e && e->n[0] == id;
}
static int told_written(int t, int id) { return told_row(t, "written", id); }
static int told_v(int t, int id) { return told_row(t, "V", id); }
static int told_a(int t, int id) { return told_row(t, "A", id); }
static int told_acked(int t, int id) { return told_row(t, "acked", id); }
static int told_opened(int t, int disc) { return told_row(t, "opened", disc); }
static int told_crash(int t) { return told(t, "crash") != NULL; }

/* writing ID N KIND RESET PARENT A V; a row that was made before is the same row. */
static int told_writing(int t, int id, int n, int kind, int reset, int parent, int a, int v)
{
	const struct trace_event *e = told(t, "writing");

	return e && (!id || id == e->n[0]) && e->n[1] == n && e->n[2] == kind && e->n[3] == reset && e->n[4] == parent &&
	       e->n[5] == a && e->n[6] == v;
}
static int told_id(int t) { return trace_events[t].n[0]; }

/* recovered OUTCOME RESET, of enum recovery_outcome: it goes on, was rebooted, has lost power. */
static int told_recovered(int t, int resets, int verdict, int has_v, int flagged)
{
	const struct trace_event *e = told(t, "recovered");

	return e && verdict && e->n[0] == (has_v ? 0 : flagged ? 2 : 1) && e->n[1] == resets;
}

/* How often the chip may have been reset until the next look at it. */
static int told_resets(int t)
{
	while (t < trace_n && strcmp(trace_events[t].what, "recovered") != 0)
		t++;
	return t < trace_n ? trace_events[t].n[1] : 0;
}

/* Only where nothing follows. */
static int told_end(int t)
{
	return told(t, "end") && t + 1 == trace_n;
}
