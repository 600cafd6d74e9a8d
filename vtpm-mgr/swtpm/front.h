/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-swtpm: one program that is called swtpm, swtpm_setup or swtpm_ioctl, and takes the command lines that libvirt,
 * Proxmox and scripts know. It holds no TPM: it has the manager make one, keeps the token for it where swtpm would keep
 * its state, and brings the manager the QEMU that connects to it. What it cannot do for real it refuses in a sentence.
 *
 *	main.c	    which of the three
 *	setup.c	    swtpm_setup
 *	serve.c	    swtpm socket; serve_options.c: its command line; listen.c: its sockets
 *	server.c    the same with --server; held.c: the TPM is on for the front itself
 *	ioctl.c	    swtpm_ioctl; channel.c: what it says
 *	place.c	    where the token is kept
 *	link.c	    the manager
 *	keyval.c    option values of the form key=value,…
 *	say.c	    the log, as swtpm keeps one; user.c: --runas
 */
#ifndef VTPM_SWTPM_FRONT_H
#define VTPM_SWTPM_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "vtpm-mgr/proto/front.h"

#define RUNTIME_DIR_DEFAULT "/run/vtpm"
#define RUNTIME_DIR_VAR	    "VTPM_RUNTIME_DIR"
#define WHY_MAX		    768u /* a sentence with a path and the manager's words in it, without the NUL */

/* The version of swtpm whose command lines are taken: programs compare it with what they need. */
#define SWTPM_VERSION "0.7.1"

/* Each returns the process's exit status: 0, or 1 as swtpm's do. */
int setup_main(int argc, char **argv);
int serve_main(int argc, char **argv);
int ioctl_main(int argc, char **argv);

/* --- say.c --- */

/* Lines go to this file from now on, and what is wrong to standard error, too. fd: -1: path; path NULL: standard error alone. */
CHECKED int say_open(const char *path, int fd, const char *prefix, bool truncate);
/* One line. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, for what ends the program; returns 1, the exit status. */
int say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes why and returns err. */
CHECKED int explain(char why[static WHY_MAX + 1], int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* --- keyval.c --- */

struct keyval {
	const char *key;
	bool bare; /* stands without a value; value is then "" */
	const char *value; /* a view of the text; NULL: not given */
};

/*
 * Takes text apart: key=value or key, between commas; text is cut in place and must outlive kv. ERR_INVAL: not one of
 * the n keys, given twice, or a value where none belongs; why says which.
 */
CHECKED int keyval_parse(char *text, struct keyval *kv, size_t n, char why[static WHY_MAX + 1]);
/* Value of a key as an octal mode (0 to 07777), or as a number up to max; deflt if it was not given. */
CHECKED int keyval_mode(const struct keyval *kv, mode_t deflt, mode_t *out);
CHECKED int keyval_number(const struct keyval *kv, uint64_t max, int64_t deflt, int64_t *out);

/* --- place.c --- */

/* Where swtpm would keep a TPM's state: a directory, or a file or device. */
struct place {
	const char *path;
	bool is_file;
};

/* "DIR", "dir://DIR" or "file://FILE". */
CHECKED int place_parse(const char *text, struct place *p);
/* ERR_NOTFOUND: there is nothing; ERR_EXISTS: a TPM of swtpm's; ERR_AUTH: what is there is no token. why says more. */
CHECKED int place_read(const struct place *p, struct front_claim *c, char why[static WHY_MAX + 1]);
/* On the disk when it returns 0. Replaces a token, and nothing else. */
CHECKED int place_write(const struct place *p, const struct front_claim *c, char why[static WHY_MAX + 1]);
/* Takes back what place_write has just written. */
void place_forget(const struct place *p);

/* --- link.c --- */

#define LINK_TIMEOUT_MS 180000 /* an RSA key may have to be made, and a TPM to be waited for */

/* Connects to the manager. */
CHECKED int link_open(int *sock, char why[static WHY_MAX + 1]);
/* Has a vTPM made; c is its uuid, token and name. */
CHECKED int link_setup(int sock, const struct front_setup *s, struct front_claim *c, char why[static WHY_MAX + 1]);
/* The token is on the disk. */
CHECKED int link_kept(int sock, char why[static WHY_MAX + 1]);
/* Shows the token; name is what the vTPM is called. */
CHECKED int link_claim(int sock, const struct front_claim *c, char name[static NAME_MAX_LEN + 1],
		       char why[static WHY_MAX + 1]);
/* Hands a QEMU's control channel over; it stays the caller's. */
CHECKED int link_connect(int sock, int qemu);
/* What has come about that QEMU: FRONT_OFF. ERR_CLOSED: the manager has ended. */
CHECKED int link_off(int sock, struct front_result *r);
/* The same, and waits for it. ERR_TIMEOUT: it does not come. */
CHECKED int link_wait_off(int sock, struct front_result *r);

/* --- listen.c --- */

struct listen_options {
	const char *path; /* to be bound; or */
	int fd;		  /* a socket that listens; -1: none */
	mode_t mode;
	int64_t uid, gid; /* of the socket's file; -1: as it is */
};

/* -1 and no error if there is neither path nor descriptor. */
CHECKED int listen_open(const struct listen_options *o, int *sock, char why[static WHY_MAX + 1]);
/* Nobody can connect any more. */
void listen_close(const struct listen_options *o, int *sock);

/* --- serve_options.c --- */

enum startup { STARTUP_NONE, STARTUP_CLEAR, STARTUP_STATE };

struct serve_options {
	bool tpm2, terminate, daemon, print_capabilities, print_states, has_place, has_ctrl, has_server;
	struct place place;
	struct listen_options ctrl, server;
	int client_fd; /* --ctrl: a connected socket; -1: none */
	/* With --server: a client has one answer; _TPM_Init and TPM2_Startup before the first; SET_LOCALITY takes no 4. */
	bool once, init, reject_locality_4;
	enum startup startup;
	const char *log_path, *log_prefix, *pid_path, *runas;
	int log_fd, pid_fd; /* -1: none */
	bool log_truncate;
};

/* The values are views of argv, which is cut in place. ERR_INVAL: why says what is wrong with it. */
CHECKED int serve_options_parse(int argc, char **argv, struct serve_options *o, char why[static WHY_MAX + 1]);

/* --- setup.c --- */

struct setup_options {
	bool tpm2, overwrite, not_overwrite, reconfigure, print_capabilities, version, has_place, platform_cert;
	struct place place;
	const char *log_path, *runas, *pcr_banks;
	struct front_setup machine;
};

CHECKED int setup_options_parse(int argc, char **argv, struct setup_options *o, char why[static WHY_MAX + 1]);

/* --- user.c --- */

/* Becomes user, a name or number, if it is not already. */
CHECKED int become(const char *user, char why[static WHY_MAX + 1]);

#endif
