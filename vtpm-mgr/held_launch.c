/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A measured launch outlives the manager (held.h) under its vTPM's uuid: the log in a memfd that nobody can change any more, and in a blob
 *
 *	u8 format | u8 flags | u32 domid | u64 until_ms | 32 bytes digest of the log
 *
 * as in struct launch. One whose guest has not come yet, and that has no backend, is that alone.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/launch.h"

#define FORMAT 1u
#define SEALS  (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

enum {
	LAUNCH_FOR_DOMAIN = 1u << 0,
	LAUNCH_STARTUP = 1u << 1,
	LAUNCH_WAITS = 1u << 2,
	LAUNCH_MISMATCH = 1u << 3,
	LAUNCH_FLAGS = 1u << 4,
};

static uint8_t flags_of(const struct launch *l)
{
	return (uint8_t)((l->for_domain ? LAUNCH_FOR_DOMAIN : 0) | (l->startup ? LAUNCH_STARTUP : 0) |
			 (l->waits ? LAUNCH_WAITS : 0) | (l->mismatch ? LAUNCH_MISMATCH : 0));
}

static int encode(struct buf *b, const struct launch *l)
{
	if (buf_put_u8(b, FORMAT) || buf_put_u8(b, flags_of(l)) || buf_put_u32le(b, l->domid) ||
	    buf_put_u64le(b, l->until_ms) || buf_put_bytes(b, l->digest, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

static int decode(struct buf *b, struct launch *l)
{
	uint8_t format, flags;

	if (buf_get_u8(b, &format) || format != FORMAT)
		return ERR_VERSION;
	if (buf_get_u8(b, &flags) || flags >= LAUNCH_FLAGS || buf_get_u32le(b, &l->domid) || buf_get_u64le(b, &l->until_ms) ||
	    buf_get_bytes(b, l->digest, DIGEST_LEN) || buf_left(b))
		return ERR_PROTO;
	l->for_domain = flags & LAUNCH_FOR_DOMAIN;
	l->startup = flags & LAUNCH_STARTUP;
	l->waits = flags & LAUNCH_WAITS;
	l->mismatch = flags & LAUNCH_MISMATCH;
	return 0;
}

/* --- what is kept --- */

static int log_file(const struct launch *l)
{
	int fd = memfd_create("vtpm-launch", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && (write(fd, l->log, l->len) != (ssize_t)l->len || fcntl(fd, F_ADD_SEALS, SEALS) != 0))
		fd_close(&fd);
	return fd;
}

void held_launch_keep(struct vtpm *v)
{
	struct launch *l = v->launch;
	uint8_t mem[HOLD_BLOB_MAX];
	struct buf b;
	int fd = -1;

	if (!l || held_generation(v->m) == 0)
		return;
	if (!l->kept)
		fd = log_file(l);
	buf_init(&b, mem, sizeof(mem));
	if ((l->kept || fd >= 0) && !encode(&b, l)) {
		held_keep(v->m, HELD_LAUNCH, v->row.uuid, &b, &fd, l->kept ? 0 : 1);
		l->kept = true;
	} else {
		log_error("%s: its launch does not outlive this manager", v->row.name);
	}
	fd_close(&fd);
}

void held_launch_drop(struct vtpm *v)
{
	if (v->launch && v->launch->kept)
		held_drop(v->m, HELD_LAUNCH, v->row.uuid);
}

/* --- the next manager --- */

/* Only what was kept: the log that has this digest. */
static int read_log(int fd, struct launch *l)
{
	uint8_t digest[DIGEST_LEN];
	ssize_t n = pread(fd, l->log, sizeof(l->log), 0);

	if (n <= 0 || launch_log_check(l->log, (size_t)n, l->startup) ||
	    EVP_Digest(l->log, (size_t)n, digest, NULL, EVP_sha256(), NULL) != 1 ||
	    memcmp(digest, l->digest, DIGEST_LEN) != 0)
		return ERR_PROTO;
	l->len = (size_t)n;
	return 0;
}

static struct launch *recall(const struct held_item *it)
{
	struct launch *l = calloc(1, sizeof(*l));
	struct buf b;
	int err = l ? 0 : ERR_NOMEM;

	buf_wrap(&b, it->blob, it->blob_len);
	if (!err)
		err = decode(&b, l);
	if (!err)
		err = it->nfds == 1 ? read_log(it->fds[0], l) : ERR_PROTO;
	if (!err) {
		l->kept = true;
		return l;
	}
	log_error("a launch of the last manager's is lost: %s", err_text(err));
	free(l);
	return NULL;
}

void held_launch_recall(struct vtpm *v)
{
	struct held_item *it = held_take(v->m, HELD_LAUNCH, v->row.uuid);

	if (!it)
		return;
	v->launch = recall(it);
	if (!v->launch)
		held_forget(v->m, it);
	else if (v->launch->waits)
		launch_wait(v);
	held_item_free(it);
}

/* One that waits for a QEMU, or a ring. */
static bool revive(struct mgr *m, const struct held_item *it)
{
	struct launch *l = recall(it);
	struct vtpm *v = l && l->waits && !l->for_domain ? vtpm_new(m) : NULL;

	if (v && !store_vtpm_by_uuid(m->store, it->tag + 1, &v->row)) {
		v->launch = l;
		v->state = VTPM_LAUNCHED;
		launch_wait(v);
		return true;
	}
	if (v)
		vtpm_free(v);
	free(l);
	return false;
}

void held_launches_revive(struct mgr *m)
{
	struct held_item *it;

	while ((it = held_take(m, HELD_LAUNCH, NULL)) != NULL) {
		if (it->tag_len != 1 + UUID_LEN || vtpm_find(m, it->tag + 1) || !revive(m, it))
			held_forget(m, it);
		held_item_free(it);
	}
}
