/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measuring: the same work done by this project, by Debian's swtpm and by the floor beneath both (libtpms in this
 * process, or one SQLite commit), in turn, round after round. What is measured is written down as it is.
 *
 * A program for one run: what cannot go on ends it with a message (die); children end with their connection.
 */
#ifndef VTPM_BENCH_H
#define VTPM_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "frontend-drivers/libvtpm/vtpm.h"
#include "lib/buf.h"
#include "vtpm-mgr/proto/limits.h"

enum column { OURS, SWTPM, FLOOR, COLUMNS };

#define CROWD_IDLE    100u /* powered-on instances that do nothing */
#define CROWD_WRITERS 64u  /* of them, those that write at once */

/* Where the laboratory is; the manager runs already. */
struct bench {
	const char *lab;     /* a directory on the file system that the store is on */
	const char *runtime; /* the manager's --runtime-dir */
	pid_t manager;
	FILE *results; /* lines "KEY COLUMN NUMBER" */
	char **keys;   /* what to measure; none: everything */
	int nkeys;
	int control; /* the connection to the manager */
};

/* --- bench.c --- */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Whether a figure was asked for. */
bool wanted(const struct bench *b, const char *key);
void result(const struct bench *b, const char *key, enum column c, double value);

/* --- sample.c --- */
#define SAMPLES_MAX 8192u
struct samples {
	double v[SAMPLES_MAX];
	size_t n;
};
double now_us(void);
void samples_add(struct samples *s, double v);
/* Sorts them. */
double samples_median(struct samples *s);

/* --- command.c: TPM 2.0 Part 3, by hand --- */
#define COMMAND_MAX 512u
struct command {
	struct buf b;
	uint8_t mem[COMMAND_MAX];
};
#define NV_INDEX 0x01500020u
#define NV_BYTES 64u
void command_startup(struct command *c);
void command_get_random(struct command *c, uint16_t n);
void command_pcr_read(struct command *c, unsigned pcr);
void command_pcr_extend(struct command *c, unsigned pcr);
void command_pcr_reset(struct command *c, unsigned pcr);
/* An index of NV_BYTES that the owner may write and read. */
void command_nv_define(struct command *c);
/* Other bytes at each call: an NV_Write of what is there already changes nothing. */
void command_nv_write(struct command *c);
/* An orderly extend index like anchor V, and its extension, by password: the least that the chip takes for it. */
void command_extend_define(struct command *c);
void command_extend(struct command *c);
/* An RSA-2048 key of the owner's, another one for each number. */
void command_create_rsa(struct command *c, uint32_t unique);
void command_flush(struct command *c, uint32_t handle);

/* --- target.c: who executes a command --- */
struct target {
	enum column kind;
	struct vtpm *ring; /* OURS */
	int sock;	   /* SWTPM */
	pid_t pid;	   /* SWTPM */
};
void target_open_ring(struct target *t, const struct bench *b, const char *name);
void target_call(struct target *t, const struct command *c);
/* The two halves of target_call for those who wait for many: fd to poll; false: the response is not there yet. */
int target_fd(const struct target *t);
void target_send(struct target *t, const struct command *c);
bool target_done(struct target *t);
void target_close(struct target *t);

/* --- floor.c: libtpms in this process. One at a time. --- */
struct floor_state {
	size_t len;
	uint8_t bytes[SEALED_STATE_MAX];
};
/* Powers the engine on, with TPM2_Startup. NULL: a new TPM. */
void floor_on(const struct floor_state *s);
/* A new TPM with both endorsement keys. */
void floor_manufacture(void);
void floor_save(struct floor_state *s);
void floor_off(void);
void floor_call(const struct command *c);

/* --- swtpm.c --- */
/* Configures a CA of its own under the laboratory and makes the state that swtpm_copy copies. */
void swtpm_prepare(const struct bench *b);
/* swtpm_setup with EKs and their certificates, as a user would run it; the state goes to a directory of that name. */
void swtpm_setup(const struct bench *b, const char *name);
void swtpm_copy(const struct bench *b, const char *name);
/* fork, exec, connect; it has answered nothing yet. */
void swtpm_start(struct target *t, const struct bench *b, const char *name);
/* Its control channel alone, as QEMU has it; ends with it. The state must have been copied. */
pid_t swtpm_start_for_qemu(const struct bench *b, const char *name, int *control);

/* --- control.c: Varlink over one connection --- */
int control_dial(const struct bench *b);
/* The reply's parameters; the caller releases them. params is stolen (NULL: none). */
json_t *control_call(const struct bench *b, const char *method, json_t *params);
void control_create(const struct bench *b, const char *name);
void control_name(const struct bench *b, const char *method, const char *name);
/* What the state of a vTPM takes in the store. */
size_t control_sealed_bytes(const struct bench *b, const char *name);
bool control_has(const struct bench *b, const char *name);
/* Writes to anchor A since it was defined, as the manager accounts for them. */
json_int_t control_anchor_writes(const struct bench *b);
/* Waits until the pool of instances made ahead is full, and nothing is made any more. */
void control_wait_pool(const struct bench *b);

/* --- procs.c --- */
struct procs {
	pid_t backend[2 * CROWD_IDLE], shared[16]; /* shared: manager, keeper, spawner */
	size_t nbackend, nshared;
};
void procs_find(const struct bench *b, struct procs *p);
/* -1: not permitted. */
double proc_pss_kib(pid_t pid);
/* CPU time used so far by all threads. */
double proc_cpu_us(pid_t pid);

/* --- sqlite.c: the same bytes by themselves --- */
struct commits;
struct commits *commits_open(const struct bench *b, unsigned rows, size_t bytes);
/* One durable transaction that changes the first n rows. */
void commits_run(struct commits *s, unsigned n);
void commits_close(struct commits *s);

/* --- the measurements; the guests named are there --- */
void bench_create_cold(const struct bench *b); /* the manager has no pool */
void bench_create_pool(const struct bench *b);
void bench_commands(const struct bench *b); /* solo */
void bench_spawn(const struct bench *b);    /* solo */
void bench_nv(const struct bench *b);	    /* solo */
void bench_cancel(const struct bench *b);   /* solo, which is off */
void bench_writers(const struct bench *b);  /* g0 … g63 */
void bench_idle(const struct bench *b);	    /* g0 … g99 */

void bench_attest(const struct bench *b);
/* --- verify.c --- */
void bench_verify(const struct bench *b); /* makes g0 … g255, and leaves them on */

#define WEAR_SCALE 300.0 /* times as fast as life: the manager's checkpoint interval is 3 s for 15 minutes */
void bench_wear(const struct bench *b); /* vault0, of a strict group, which is off */

/* --- report.c --- */
/* Prints the table and writes the JSON. */
int report(const char *results, const char *json);

#endif
