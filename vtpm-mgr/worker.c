/* SPDX-License-Identifier: BSD-2-Clause */
/* One backend process: started by the spawner, spoken to over two channels of its own, ended once. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

uint64_t worker_token_next(struct mgr *m)
{
	return ++m->next_token;
}

static int slot_take(struct mgr *m, uint32_t *slot)
{
	for (uint32_t i = 0; i <= SPAWN_SLOT_MAX; i++) {
		uint8_t bit = (uint8_t)(1u << (i % 8));
		if (m->slots[i / 8] & bit)
			continue;
		m->slots[i / 8] |= bit;
		*slot = i;
		return 0;
	}
	return ERR_FULL;
}

static void slot_give(struct mgr *m, uint32_t slot)
{
	m->slots[slot / 8] &= (uint8_t)~(1u << (slot % 8));
}

static void channels_close(struct worker *w)
{
	held_unleash_worker(w);
	loop_remove(&w->m->loop, &w->control_io);
	loop_remove(&w->m->loop, &w->store_io);
	fd_close(&w->control);
	fd_close(&w->store);
}

void worker_hang_up(struct worker *w)
{
	channels_close(w);
}

void worker_kill(struct worker *w)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;

	channels_close(w);
	w->killed = true;
	buf_init(&b, mem, sizeof(mem));
	if (spawn_token_encode(&b, w->token) || host_send(w->m, SPAWN_KILL, &b, NULL, 0))
		log_error("cannot have backend %llu killed", (unsigned long long)w->token);
}

/* More of them than the channel takes at once, before anything else is said: the spawner reads them when it has started. */
void worker_claim(struct mgr *m, uint64_t area)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (held_generation(m) > 1 && (spawn_token_encode(&b, area) || ipc_send_wait(m->spawner, SPAWN_CLAIM, &b, NULL, 0)))
		log_warn("what another manager's backend %llu has left cannot be had", (unsigned long long)area);
}

void worker_forget(struct mgr *m, uint64_t area)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (area != 0 && (spawn_token_encode(&b, area) || host_send(m, SPAWN_KILL, &b, NULL, 0)))
		log_warn("what backend %llu has left cannot be thrown away", (unsigned long long)area);
}

/* Handles one message; false when there is none, or will be none. */
static bool on_channel(struct worker *w, struct loop_io *io, int fd)
{
	struct ipc_msg msg;
	int err = ipc_recv(fd, &msg, w->m->rx, sizeof(w->m->rx), MSG_DONTWAIT);

	if (err == ERR_AGAIN)
		return false;
	if (err == ERR_CLOSED) {
		loop_remove(&w->m->loop, io); /* the spawner says how it ended */
		return false;
	}
	if (!err)
		err = ipc_dispatch(w->rules, w->nrules, w->state, w->arg, &msg);
	if (err) {
		log_error("a backend broke its protocol (%s); ending it", err_text(err));
		worker_kill(w);
	}
	return !err;
}

static void on_control(void *arg, uint32_t events)
{
	struct worker *w = arg;

	(void)events;
	on_channel(w, &w->control_io, w->control);
}

static void on_store(void *arg, uint32_t events)
{
	struct worker *w = arg;

	(void)events;
	on_channel(w, &w->store_io, w->store);
}

void worker_settled(struct worker *w)
{
	loop_timer_cancel(&w->m->loop, &w->deadline);
}

static void on_deadline(void *arg)
{
	struct worker *w = arg;

	log_error("a backend is not ready after %u s; ending it", WORKER_TIMEOUT_MS / 1000);
	worker_kill(w);
}

static int spawn(struct worker *w, int control, int store, const struct worker_guest *guest)
{
	struct spawn_backend req = { .token = w->token, .slot = w->slot, .kind = guest->kind,
				     .replaces = guest->replaces };
	int fds[SPAWN_FDS_MAX] = { control, store };
	uint8_t mem[SPAWN_BACKEND_SIZE];
	struct buf b;
	int err;

	memcpy(fds + SPAWN_FDS_MIN, guest->fds, sizeof(guest->fds));
	buf_init(&b, mem, sizeof(mem));
	err = spawn_backend_encode(&b, &req);
	if (!err)
		err = host_send(w->m, SPAWN_BACKEND, &b, fds, spawn_backend_fds(req.kind));
	return err;
}

static int send_start(struct worker *w, const struct backend_start *start)
{
	struct buf b;
	int err;

	buf_init(&b, w->m->tx, sizeof(w->m->tx));
	err = backend_start_encode(&b, start);
	return err ? err : ipc_send(w->control, BACKEND_START, &b, w->gives, w->ngives);
}

static void worker_unlink(struct worker *w)
{
	for (struct worker **p = &w->m->workers; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			return;
		}
}

int worker_start(struct mgr *m, struct worker *w, uint64_t token, const struct worker_guest *guest,
		 const struct backend_start *start)
{
	int control[2] = { -1, -1 }, store[2] = { -1, -1 };
	int err;

	w->m = m;
	w->token = token;
	w->killed = w->leashed = false;
	w->control = w->store = w->control_io.fd = w->store_io.fd = -1;
	err = slot_take(m, &w->slot);
	if (err)
		return err;
	err = ipc_pair(control);
	if (!err)
		err = ipc_pair(store);
	w->control = control[0];
	w->store = store[0];
	if (!err && guest->kind != SERVE_NOBODY)
		held_leash_worker(w, guest->ours); /* its end must not come from ours: it would look like its own */
	if (!err)
		err = spawn(w, control[1], store[1], guest);
	/* Not fd_close, which sets four timers while the backend waits: these were nobody else's, and nothing lingers in them. */
	close(control[1]);
	close(store[1]);
	if (err) {
		channels_close(w);
		slot_give(m, w->slot);
		return err;
	}
	w->next = m->workers;
	m->workers = w;
	loop_timer_set(&m->loop, &w->deadline, WORKER_TIMEOUT_MS, on_deadline, w);
	err = send_start(w, start);
	if (!err)
		err = loop_add(&m->loop, &w->control_io, w->control, EPOLLIN, on_control, w);
	if (!err)
		err = loop_add(&m->loop, &w->store_io, w->store, EPOLLIN, on_store, w);
	if (err && err != ERR_CLOSED)
		worker_kill(w); /* it exists: its end is reported as any other, and says that the start failed */
	return 0;
}

int worker_send(struct worker *w, uint32_t type)
{
	struct buf none;

	buf_init(&none, NULL, 0);
	return w->control < 0 ? ERR_CLOSED : ipc_send(w->control, type, &none, NULL, 0);
}

/* What it said before it ended still lies in the channel, and counts: the reason of a failure, a finished vTPM. */
static void drain_control(struct worker *w)
{
	while (w->control_io.fd >= 0 && on_channel(w, &w->control_io, w->control))
		;
}

void worker_exited(struct mgr *m, uint64_t token, uint32_t status)
{
	struct worker *w = m->workers;

	while (w && w->token != token)
		w = w->next;
	if (!w)
		return;
	drain_control(w);
	worker_unlink(w);
	worker_settled(w);
	channels_close(w);
	if (status != 0)
		keeper_drop(m, token); /* perhaps it never came to fetch its key */
	slot_give(m, w->slot);
	w->token = 0;
	w->exited(w->arg, status);
}
