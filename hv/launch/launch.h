/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-launch: boots a guest from bytes that it has measured into the guest's vTPM, and from no others (vtpm-launch(8)).
 *
 * Each file that a guest boots is read once, into a memfd that is sealed (lib/sealed.h). Those bytes are hashed, and the path of that
 * memfd, which the toolstack inherits, takes the file's place on its command line. So what the file is later does not matter.
 *
 * main.c reads the command line, image.c reads and hashes files, events.c makes the list of events and their log, manager.c asks
 * the manager for the launch, run.c runs the toolstack's program, report.c says what came of it; qemu.c and xl.c are the two toolstacks, qemu_words.c and
 * xl_config.c what their users say, domain.c has xl make a domain, xl_wait.c waits for its end; stub.c starts the domain that has the physical TPM, and
 * measures it into that (pcr.c). efi.c is a program of its own, of the host's boot.
 *
 * It is a client of the manager as vtpmctl is, and has that one's errors, link and exit codes.
 */
#ifndef VTPM_HV_LAUNCH_H
#define VTPM_HV_LAUNCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/proto/launch.h"

#define IMAGE_MAX	(1u << 30) /* bytes of a kernel, an initrd, a device tree or firmware */
#define XL_CONFIG_MAX	(1u << 20) /* bytes of a domain's configuration, and of what xl makes of it */
#define LAUNCH_PATH_MAX 32u	   /* "/proc/self/fd/N" */

/* --- image.c --- */

struct digests {
	uint8_t of[LAUNCH_BANKS][LAUNCH_DIGEST_MAX];
};
CHECKED int digests_of(const void *p, size_t n, struct digests *d);

/* A file as it was read once. */
struct image {
	int fd; /* a sealed memfd, which programs that are executed inherit; -1: there is none */
	size_t size;
	struct digests digests;
	char path[LAUNCH_PATH_MAX]; /* of that memfd, in this process and in those that it executes */
};
#define IMAGE_NONE ((struct image){ .fd = -1 })

/* Reads and hashes it. A pipe is read to its end. */
CHECKED int image_read(struct image *i, const char *file, size_t max, struct ctl_error *e);
void image_close(struct image *i);
/* Its bytes, to be given back with image_unmap; NULL: out of memory. */
const void *image_map(const struct image *i);
void image_unmap(const struct image *i, const void *p);

/* --- events.c --- */

/* What will be measured, in order. Digests and data are in memory of its own. */
struct events {
	struct launch_event list[LAUNCH_EVENTS_MAX];
	struct digests digests[LAUNCH_EVENTS_MAX];
	size_t n;
	bool startup; /* TPM2_Startup is the manager's, and events follow it; otherwise the guest's firmware starts the TPM */
	struct buf data;
	uint8_t room[LAUNCH_LOG_MAX];
};

void events_init(struct events *l);
/* An event whose digest is of its data. */
CHECKED int events_add_data(struct events *l, uint32_t pcr, uint32_t type, const void *data, size_t size);
/* One whose digest is of something else. */
CHECKED int events_add(struct events *l, uint32_t pcr, uint32_t type, const struct digests *d, const void *data, size_t size);

/* What there is to measure; what a guest does not have is NULL. */
struct measured {
	const struct image *firmware, *kernel, *initrd, *device_tree;
	const char *command_line;
	const void *config; /* in a form that is the same for the same configuration */
	size_t config_len;
	bool self_measuring; /* the firmware is UEFI: it starts the TPM and measures what it boots */
};
/* The list of a launch. */
CHECKED int events_make(struct events *l, const struct measured *m, struct ctl_error *e);

/* The event log, in room of LAUNCH_LOG_MAX bytes, and its SHA-256, which names the launch. */
CHECKED int events_log(const struct events *l, uint8_t log[static LAUNCH_LOG_MAX], size_t *size, char digest[static 65]);
/* As the manager's method takes them. NULL: out of memory. */
json_t *events_json(const struct events *l);
/* For a person: a line for each event. */
void events_print(const struct events *l);

/* --- manager.c --- */

/* The name of the vTPM that has a uuid. Owned by the caller. */
CHECKED int manager_find(const struct ctl_target *at, const char *uuid, char **name, struct ctl_error *e);
/* domid: -1 for a QEMU. signature: base64, or NULL. The digest is the manager's. */
CHECKED int manager_launch(const struct ctl_target *at, const char *name, int64_t domid, const struct events *l,
			   const char *signature, char digest[static 65], struct ctl_error *e);
/* Powers off what was launched for nothing. What fails is passed over: that launch ends by itself. */
void manager_cancel(const struct ctl_target *at, const char *name);

/* --- run.c --- */

/* Runs a program, of PATH, to its end. out: what it wrote to standard output, at most max bytes, owned by the caller; NULL: it has ours.
 * ERR_SYS: it could not be run, or did not end with 0. */
CHECKED int run_program(char *const *argv, char **out, size_t max, struct ctl_error *e);

/* --- qemu_words.c --- */

#define QEMU_WORDS_MAX 512u

/* QEMU's command line, with what it boots found in it. Strings belong to the caller, but those in made. */
struct qemu_words {
	char *argv[QEMU_WORDS_MAX + 4]; /* to execute; ends with NULL */
	size_t argc;
	/* places in argv of files' names, 0: there is none */
	size_t kernel, initrd, dtb, bios, pflash, append, menu;
	char *pflash_file;   /* of the read-only flash, out of argv[pflash] */
	char *pflash_before; /* what of argv[pflash] stands before and after that name */
	char *pflash_after;
};
/* ERR_INVAL: there is something in it that would boot unmeasured. */
CHECKED int qemu_words_parse(struct qemu_words *q, int argc, char *const *argv, struct ctl_error *e);
void qemu_words_free(struct qemu_words *q);

/* --- xl_config.c --- */

#define XL_ENDS 4u

/* What matters of a domain's configuration, as xl prints it. Owned. */
struct xl_config {
	char *name, *kernel, *ramdisk, *cmdline; /* ramdisk NULL: none; cmdline "" without */
	char *uuid;				 /* of the vTPM; NULL: it is a stub domain's */
	char *backend;				 /* the name or number of the domain that the vTPM's manager is in */
	char *canonical;			 /* everything but what is measured by itself, as JSON with sorted keys */
	bool restart[XL_ENDS];			 /* after which ends the domain is to be made anew */
};
/* What a domain ends by, as public/sched.h numbers it. */
extern const struct xl_end {
	const char *key; /* in the configuration */
	unsigned reason;
} xl_ends[XL_ENDS];
/* stub: of a domain that has the TPM, and so no vTPM. */
CHECKED int xl_config_parse(struct xl_config *c, const char *json, bool stub, struct ctl_error *e);
void xl_config_free(struct xl_config *c);

/* --- xl_wait.c --- */

/* Returns when the domain, by its number, has ended. *end: how, of xl_ends; XL_ENDS: in another way, or it is gone. */
CHECKED int xl_wait(const char *id, size_t *end, struct ctl_error *e);
/* Whether that is so, by what "xl list -v" of it says. A domain that is suspended, as while it is saved, goes on or goes away. */
bool xl_domain_has_ended(const char *list, size_t *end);

/* --- report.c --- */

/* What the user says. */
struct launch_args {
	struct ctl_target at;
	const char *vtpm;      /* NULL: xl's configuration names it */
	const char *signature; /* a file; NULL: none */
	const char *eventlog;  /* of measure: a file for the log; NULL: none */
	bool json, measure;
	unsigned pcr; /* of the physical TPM, for a stub domain */
	bool give_up; /* dom0 is to give up its access to the TPM */
	int argc; /* the toolstack's words */
	char *const *argv;
};
/* What came of it, to standard output. */
int launch_report(const struct launch_args *a, const struct events *l, const char *digest, struct ctl_error *e);
/* Base64 of the file --signature. Owned; NULL without. */
CHECKED int launch_signature(const struct launch_args *a, char **base64, struct ctl_error *e);

/* --- qemu.c, xl.c, stub.c: return an exit code's status in e on failure --- */

CHECKED int qemu_launch(const struct launch_args *a, struct ctl_error *e); /* does not return when it has succeeded, but with measure */
CHECKED int xl_launch(const struct launch_args *a, struct ctl_error *e);
/* The command line as it is measured: words with one space between them. For the start that makes a store, which ends there, without what says so,
 * so that the store is sealed to the domain as it will be started. Owned by the caller. */
CHECKED int stub_command_line(const char *line, char **out);
CHECKED int stub_launch(const struct launch_args *a, struct ctl_error *e);

#endif
