/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libvtpm: the guest's end of a local ring, in user space. One handle, one ring, one command
 * at a time; not thread-safe, except that vtpm_cancel may be called from another thread or a
 * signal handler while vtpm_receive waits.
 *
 * Functions return 0 or a negative errno value: -EBUSY another front end has the ring,
 * -EACCES the manager refuses this user, -ENOENT/-ECONNREFUSED no such vTPM is running,
 * -ECONNRESET the back end has gone, -ETIMEDOUT, -EMSGSIZE, -EINVAL (no command in hand, or one already in hand), -EPROTO.
 */
#ifndef VTPM_H
#define VTPM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VTPM_COMMAND_MAX 4088 /* bytes of a command or response */

struct vtpm;

/* Connects to the ring at path (<runtime-dir>/NAME.ring). A command that an earlier front end left behind is cancelled and its
 * response thrown away. *out is freed with vtpm_close. */
int vtpm_open(const char *path, struct vtpm **out);
void vtpm_close(struct vtpm *v);
/* Locality (0 to 4) of the commands that follow; the manager's policy caps it, and a command above the cap is answered with TPM_RC_LOCALITY. */
int vtpm_set_locality(struct vtpm *v, uint8_t locality);
/* Sends a command of 10 to VTPM_COMMAND_MAX bytes, whose header (TPM 2.0 Part 1, 18) must hold that size. Does not wait for the response. */
int vtpm_send(struct vtpm *v, const void *cmd, size_t len);
/* Waits up to timeout_ms (-1: for ever, 0: looks) for the response; *len is the room in resp and then the length of the response. -ETIMEDOUT leaves the command in hand. -ENOBUFS sets *len to what is needed and leaves the response. */
int vtpm_receive(struct vtpm *v, void *resp, size_t *len, int timeout_ms);
/* Asks the back end to end the command in hand early; its response (TPM_RC_CANCELED, or the full one) still comes by vtpm_receive. */
int vtpm_cancel(struct vtpm *v);
/* A descriptor that is readable when the response may be there (poll it for POLLIN); owned by the library. */
int vtpm_poll_fd(const struct vtpm *v);
/* The manager's words when it refused, for vtpm_open's callers: a static buffer of the calling thread, "" if there were none. */
const char *vtpm_refusal(void);

#ifdef __cplusplus
}
#endif
#endif
