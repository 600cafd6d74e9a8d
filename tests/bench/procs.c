/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory and CPU time of other processes. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"

#define COMM_MAX 32

static bool proc_look(pid_t pid, pid_t *parent, char comm[static COMM_MAX], int *threads)
{
	char path[64];
	FILE *f;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	/* proc(5): state, parent; 15 fields further on, the number of threads */
	n = fscanf(f, "%*d (%31[^)]) %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", comm, parent,
		   threads);
	fclose(f);
	return n == 3;
}

static void add(pid_t *list, size_t *n, size_t max, pid_t pid)
{
	if (*n == max)
		die("more processes than there should be");
	list[(*n)++] = pid;
}

/*
 * vtpm-mgr -> vtpm-spawn -> vtpm-keeper and the backends, which keep the spawner's name where they are forked. The
 * one in reserve serves nobody and has no second thread yet.
 */
static void classify(const struct bench *b, struct procs *p, pid_t pid)
{
	char comm[COMM_MAX] = "", above[COMM_MAX] = "";
	pid_t parent = 0, grandparent = 0;
	int threads = 0, unused = 0;
	bool backend;

	if (!proc_look(pid, &parent, comm, &threads))
		return;
	if (pid == b->manager || (parent == b->manager && strcmp(comm, "vtpm-spawn") == 0)) {
		add(p->shared, &p->nshared, sizeof(p->shared) / sizeof(p->shared[0]), pid);
		return;
	}
	if (!proc_look(parent, &grandparent, above, &unused) || grandparent != b->manager || strcmp(above, "vtpm-spawn") != 0)
		return;
	backend = strcmp(comm, "vtpm-keeper") != 0 && threads == 2;
	if (backend)
		add(p->backend, &p->nbackend, sizeof(p->backend) / sizeof(p->backend[0]), pid);
	else
		add(p->shared, &p->nshared, sizeof(p->shared) / sizeof(p->shared[0]), pid);
}

void procs_find(const struct bench *b, struct procs *p)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	memset(p, 0, sizeof(*p));
	if (!d)
		die("/proc cannot be read");
	while ((e = readdir(d)) != NULL) {
		if (isdigit((unsigned char)e->d_name[0]))
			classify(b, p, atoi(e->d_name));
	}
	closedir(d);
}

double proc_pss_kib(pid_t pid)
{
	char path[64], line[128];
	double kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (kib < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Pss: %lf kB", &kib) != 1)
			kib = -1;
	}
	fclose(f);
	return kib;
}

double proc_cpu_us(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		die("process %d has gone", pid);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}
