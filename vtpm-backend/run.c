/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/run.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/local/local.h"
#include "lib/sandbox.h"
#include "lib/secmem.h"
#include "vtpm-backend/control.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-backend/serve.h"
#include "vtpm-backend/transport.h"
#include "vtpm-backend/xen.h"

#define ENGINE_STACK_SIZE (256u * 1024u) /* making RSA-2048 keys touches 24 KiB of it */

static void wipe_keys(struct backend *b)
{
	sealer_wipe(&b->sealer);
	sealer_wipe(&b->next_sealer);
	secmem_wipe(b->key, sizeof(b->key));
	secmem_wipe(b->next_key, sizeof(b->next_key));
	secmem_wipe(b->secret, sizeof(b->secret));
	secmem_wipe(&b->ak, sizeof(b->ak));
}

_Noreturn void backend_exit(struct backend *b)
{
	engine_close();
	wipe_keys(b);
	_exit(0);
}

_Noreturn void backend_refuse(struct backend *b, int code, const char *why)
{
	struct backend_failed m = { .code = code };
	uint8_t mem[BACKEND_FAILED_MAX];
	struct buf msg;

	(void)snprintf(m.text, sizeof(m.text), "%s", why);
	buf_init(&msg, mem, sizeof(mem));
	/* If it cannot be said, the exit status says it. */
	if (backend_failed_encode(&msg, &m) == 0)
		(void)!ipc_send(BACKEND_FD_CONTROL, BACKEND_FAILED, &msg, NULL, 0);
	if (b != NULL)
		wipe_keys(b);
	_exit(1);
}

_Noreturn void backend_fail(struct backend *b, int code, const char *what)
{
	char text[TEXT_MAX + 1];

	(void)snprintf(text, sizeof(text), "%s: %s", what, err_text(code));
	backend_refuse(b, code, text);
}

static void *engine_main(void *arg)
{
	struct backend *b = arg;

	while (sem_wait(&b->go) != 0)
		;
	if (b->start.flags & RUN_SERVE)
		serve_run(b);
	provision_run(b);
}

static int make_signals(struct backend *b)
{
	b->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->busy_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return b->stop_fd < 0 || b->busy_fd < 0 || sem_init(&b->go, 0, 0) != 0 ? ERR_SYS : 0;
}

static int attach_ring(struct backend *b)
{
	const struct local_ring ring = {
		.memfd = BACKEND_FD_MEMFD, .to_back = BACKEND_FD_TO_BACK, .to_front = BACKEND_FD_TO_FRONT };
	int err;

	err = local_attach_back(&b->chan, &ring);
	close(BACKEND_FD_MEMFD);
	return err;
}

static int attach(struct backend *b, const struct run_config *cfg)
{
	int err;

	b->transport = cfg->transport;
	if (b->transport == NULL)
		return 0;
	err = checkpoint_area_map(&b->area, b->transport->area_fd);
	if (err != 0)
		return err;
	close(b->transport->area_fd);
	if (b->transport == &transport_ring)
		return attach_ring(b);
	if (b->transport == &transport_xen)
		return xen_prepare(b);
	return qemu_attach(b);
}

static int start_engine_thread(struct backend *b)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err = 0;

	if (pthread_attr_init(&attr) != 0)
		return ERR_NOMEM;
	/* glibc puts a guard page of its own below the stack. */
	if (pthread_attr_setstacksize(&attr, ENGINE_STACK_SIZE) != 0 ||
	    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) != 0 ||
	    pthread_create(&thread, &attr, engine_main, b) != 0)
		err = ERR_SYS;
	pthread_attr_destroy(&attr);
	return err;
}

int backend_prepare(struct backend **out)
{
	int err;

	err = secmem_process();
	if (err != 0)
		return err;
	*out = secmem_alloc(sizeof(**out));
	return *out != NULL ? engine_prepare() : ERR_NOMEM;
}

_Noreturn void backend_run(struct backend *b, const struct run_config *cfg)
{
	const enum sandbox_kind kind = cfg->transport ? cfg->transport->sandbox : SANDBOX_BACKEND;
	int err;

	/* libtpms takes 128 KiB for each checkpoint, and writes a few: off the heap that is not mapped anew each time. */
	(void)mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
	err = sandbox_become(cfg->uid, cfg->gid);
	if (err == 0)
		err = make_signals(b);
	if (err == 0)
		err = attach(b, cfg);
	if (err == 0)
		err = start_engine_thread(b); /* it waits for `go` */
	if (err == 0)
		err = sandbox_limit(kind);
	if (err == 0)
		err = cfg->filter ? sandbox_load(cfg->filter) : sandbox_filter(kind);
	if (err != 0)
		backend_fail(b, err, "enter the sandbox");
	control_run(b); /* the first byte from outside is read in here */
}
