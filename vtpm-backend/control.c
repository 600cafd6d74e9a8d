/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/secmem.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/guest_evidence.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-backend/quote.h"
#include "vtpm-backend/resume.h"
#include "vtpm-backend/transport.h"
#include "vtpm-backend/xen.h"

#define CANCEL_EVERY_MS 1 /* libtpms looks only between candidate primes, and forgets what came too early */

/* The states of the control channel. */
enum {
	CONTROL_NEW = 1u << 0,	   /* BACKEND_START is awaited */
	CONTROL_STARTED = 1u << 1, /* it has come */
};

/* A state of swtpm's, and what opens it if it is encrypted. */
static int take_import(struct backend *b, struct ipc_msg *m)
{
	const bool secret = RUN_SECRET_OF(b->start.flags) != SECRET_NONE;
	const unsigned want = (b->start.flags & RUN_IMPORT) ? 1u + secret : 0;

	if (m->nfds != want)
		return ERR_PROTO;
	for (unsigned i = 0; i < IMPORT_FDS_MAX; i++)
		b->import_fd[i] = ipc_take_fd(m, i); /* -1 where there is none */
	return 0;
}

static int on_start(void *peer, struct ipc_msg *m)
{
	struct backend *b = peer;
	int err;

	err = backend_start_decode(&m->body, &b->start);
	if (err != 0)
		return err;
	if ((b->start.flags & RUN_STARTUP) && b->transport == &transport_qemu && b->start.launch_len == 0)
		return ERR_PROTO;
	if ((b->start.flags & RUN_STANDBY) && b->transport != &transport_qemu)
		return ERR_PROTO;
	if (!(b->start.flags & RUN_SERVE) != !b->transport)
		return ERR_PROTO;
	if (b->start.launch_len != 0) {
		b->launch = malloc(b->start.launch_len);
		if (b->launch == NULL)
			return ERR_NOMEM;
		memcpy(b->launch, b->start.launch, b->start.launch_len);
		b->launch_len = b->start.launch_len;
	}
	return take_import(b, m);
}

void control_end(struct backend *b)
{
	const uint64_t one = 1;

	b->stopping = true;
	(void)!write(b->stop_fd, &one, sizeof(one)); /* fails only if it is readable already */
}

/* The engine thread finishes what it has in hand; a long command is cancelled by control_watch. */
static int on_stop(void *peer, struct ipc_msg *m)
{
	struct backend *b = peer;

	(void)m;
	if (b->transport == NULL)
		backend_exit(b); /* a worker has nothing that would have to be kept */
	control_end(b);
	return 0;
}

static int on_detach(void *peer, struct ipc_msg *m)
{
	(void)m;
	return xen_detach(peer);
}

static int on_quote(void *peer, struct ipc_msg *m)
{
	return quote_ask(peer, &m->body);
}

static int on_evidence(void *peer, struct ipc_msg *m)
{
	return guest_evidence_take(peer, &m->body);
}

static const struct ipc_rule control_rules[] = {
	{ BACKEND_START, CONTROL_NEW, BACKEND_START_MIN, BACKEND_START_MAX, 0, IMPORT_FDS_MAX, on_start },
	{ BACKEND_STOP, CONTROL_STARTED, 0, 0, 0, 0, on_stop },
	{ BACKEND_DETACH, CONTROL_STARTED, 0, 0, 0, 0, on_detach },
	{ BACKEND_QUOTE, CONTROL_STARTED, BACKEND_QUOTE_SIZE, BACKEND_QUOTE_SIZE, 0, 0, on_quote },
	{ BACKEND_EVIDENCE, CONTROL_STARTED, BACKEND_EVIDENCE_MIN, BACKEND_EVIDENCE_MAX, 0, 0, on_evidence },
};

static int control_receive(struct backend *b, uint32_t state, void *mem, size_t cap)
{
	struct ipc_msg m;
	int err;

	err = ipc_recv(BACKEND_FD_CONTROL, &m, mem, cap, 0);
	if (err == ERR_CLOSED)
		_exit(1); /* the manager has gone, and nothing that is not stored was acknowledged */
	if (err != 0)
		return err;
	return ipc_dispatch(control_rules, ARRAY_LEN(control_rules), state, b, &m);
}

/* Waits for one message on the key channel; the control channel is watched meanwhile. */
static int await_key(struct backend *b)
{
	struct pollfd fds[2] = { { .fd = BACKEND_FD_CONTROL, .events = POLLIN },
				 { .fd = BACKEND_FD_KEY, .events = POLLIN } };
	uint8_t none[1];
	int err;

	for (;;) {
		if (poll(fds, ARRAY_LEN(fds), -1) < 0) {
			if (errno != EINTR)
				return ERR_SYS;
			continue;
		}
		if (fds[0].revents != 0) {
			err = control_receive(b, CONTROL_STARTED, none, sizeof(none));
			if (err != 0)
				return err;
			if (b->stopping)
				backend_exit(b); /* nothing has begun */
		}
		if (fds[1].revents != 0)
			return 0;
	}
}

/* k: in locked memory. */
static int receive_key(struct backend *b, struct key_give *k, uint8_t mem[static KEY_GIVE_SIZE])
{
	struct ipc_msg m;
	int err;

	err = await_key(b);
	if (err != 0)
		return err;
	err = ipc_recv(BACKEND_FD_KEY, &m, mem, KEY_GIVE_SIZE, 0);
	if (err != 0)
		return err == ERR_CLOSED ? ERR_TPM_LOST : err;
	err = m.type == KEY_GIVE && m.nfds == 0 ? key_give_decode(&m.body, k) : ERR_PROTO;
	ipc_msg_done(&m);
	if (err == 0 && buf_left(&m.body) != 0)
		err = ERR_PROTO;
	if (err == 0 && !secmem_equal(k->uuid, b->start.uuid, UUID_LEN))
		err = ERR_AUTH;
	return err;
}

/* What is sealed, and by whom it is opened again. */
static int prepare_sealers(struct backend *b, const struct key_give *k)
{
	int err = sealer_init(&b->sealer, k->key);

	if (b->qemu != NULL)
		memcpy(b->key, k->key, KEY_LEN);
	if (err != 0 || !k->renew)
		return err;
	b->renews = true;
	if (b->qemu != NULL)
		memcpy(b->next_key, k->next, KEY_LEN);
	return sealer_init(&b->next_sealer, k->next);
}

/* Opens the given state, if there is one, and prepares to seal new ones. */
static int use_key(struct backend *b, const struct key_give *k)
{
	struct state_id id = { .kind = STATE_PERMANENT, .version = b->start.version };
	int err;

	if (k->renew && (b->start.version == 0 || b->transport == NULL))
		return ERR_PROTO; /* there is nothing under the key that it has */
	err = prepare_sealers(b, k);
	if (err != 0 || (b->start.flags & RUN_STANDBY))
		return err;
	memcpy(id.uuid, b->start.from_uuid, UUID_LEN);
	if (b->start.version == 0)
		err = random_bytes(b->secret, sizeof(b->secret)); /* of a TPM that is to be made, or taken over */
	else
		err = permanent_open(k->key, &id, b->start.sealed, b->start.sealed_len, b->secret, &b->plain, &b->plain_len);
	if (err == 0)
		err = ak_derive(&b->ak, b->secret);
	if (err == 0 && (b->start.flags & RUN_RESUME))
		resume_open(b, k->key);
	return err;
}

static int take_key(struct backend *b)
{
	struct secret {
		struct key_give give;
		uint8_t mem[KEY_GIVE_SIZE];
	} *s;
	int err;

	s = secmem_alloc(sizeof(*s));
	if (s == NULL)
		return ERR_NOMEM;
	err = receive_key(b, &s->give, s->mem);
	if (err != 0) {
		secmem_free(s, sizeof(*s));
		backend_fail(b, err, "receive the key");
	}
	err = use_key(b, &s->give);
	secmem_free(s, sizeof(*s));
	return err;
}

static void control_start(struct backend *b)
{
	void *mem;
	int err;

	mem = malloc(BACKEND_START_MAX);
	if (mem == NULL)
		backend_fail(b, ERR_NOMEM, "start");
	err = control_receive(b, CONTROL_NEW, mem, BACKEND_START_MAX);
	if (err != 0)
		backend_fail(b, err, "understand what to start");
	err = take_key(b);
	if (err != 0)
		backend_fail(b, err, "open the state");
	free(mem);
	b->start.sealed = NULL;
	b->start.sealed_len = 0;
	b->start.launch = NULL;
	b->start.launch_len = 0;
	/* Only the certificates of a worker still need the keeper. */
	if (!(b->start.flags & (RUN_CERTIFY | RUN_CERTIFY_AK)))
		close(BACKEND_FD_KEY);
	qemu_begin_control(b);
	sem_post(&b->go);
}

static bool cancelled(struct backend *b)
{
	return b->transport != NULL && b->transport->cancelled(b);
}

/*
 * The page is looked at every millisecond while a long command is in hand, rather than on the
 * guest's signal: its eventfd belongs to the engine thread, and two readers would steal from each other.
 */
static int control_watch(struct backend *b)
{
	struct pollfd fds[4] = { { .fd = BACKEND_FD_CONTROL, .events = POLLIN },
				 { .fd = b->busy_fd, .events = POLLIN },
				 { .fd = -1 },
				 { .fd = b->xen != NULL ? BACKEND_FD_ATTACH : -1, .events = POLLIN } };
	uint8_t body[BACKEND_EVIDENCE_MAX];
	uint64_t count;
	int err;

	for (;;) {
		qemu_watch(b, &fds[2]);
		if (poll(fds, ARRAY_LEN(fds), atomic_load(&b->busy) ? CANCEL_EVERY_MS : -1) < 0 && errno != EINTR)
			return ERR_SYS;
		if (fds[1].revents != 0)
			(void)!read(b->busy_fd, &count, sizeof(count)); /* fails only if it was not readable */
		if (fds[0].revents != 0) {
			err = control_receive(b, CONTROL_STARTED, body, sizeof(body));
			if (err != 0)
				return err;
		}
		if (fds[3].revents != 0) {
			err = xen_receive(b);
			if (err != 0)
				return err;
		}
		qemu_service(b, &fds[2]);
		if (atomic_load(&b->busy) && (b->stopping || cancelled(b))) {
			engine_cancel();
			guest_evidence_cancel(b);
		}
	}
}

_Noreturn void control_run(struct backend *b)
{
	control_start(b);
	(void)control_watch(b);
	_exit(1); /* a manager that speaks nonsense is no manager; the engine thread may be using the channel */
}
