/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * <runtime-dir>/swtpm.sock: fronts, programs that stand where libvirt and others expect swtpm (proto/front.h tells what
 * they say). They name a machine, which proves nothing. So whoever sets a vTPM up is given a token, of which only the
 * SHA-256 is kept here, bound to the vTPM's key; who presents it, and nobody else, may bring the vTPM a QEMU.
 *
 * Setting up is for operators and the user that --swtpm-user names. A vTPM whose token never came to rest on the
 * front's side is undone: nobody could ever have used it. Everything else here only adds: a second vTPM for a machine
 * leaves the first one as it is, and the store says that it is an orphan.
 */
#include <ctype.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/control_socket.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/front.h"

/* Connections that have not shown a token: of those who may set up, and of all others. */
#define KNOWN_MAX     64u
#define STRANGERS_MAX 16u
#define CLAIMED_MAX   8192u /* that have: some for each vTPM that is served, */
#define EACH_MAX      8u    /* no more than this; one QEMU has it and one waits */
#define KEEP_MS	      30000u /* for the front's disk */
#define NAMES_MAX     1000u  /* vTPMs of machines that are all called the same */
#define NAME_ROOM     (NAME_MAX_LEN - 8u) /* leaves place for a number */

enum front_state {
	FRONT_NEW = 1,	   /* has said nothing yet */
	FRONT_MAKING = 2,  /* its vTPM is being made */
	FRONT_HELD = 4,	   /* has been told the token, and is to say that it keeps it */
	FRONT_CLAIMED = 8, /* has shown the token */
	FRONT_ON = 16,	   /* has brought a QEMU */
	FRONT_DONE = 32,
};

enum front_kind { KIND_STRANGER, KIND_KNOWN, KIND_CLAIMED, KINDS };

struct front {
	struct front *next;
	struct mgr *m;
	int sock; /* -1: it has gone while its vTPM is being made */
	struct loop_io io;
	struct loop_timer timer;
	enum front_state state;
	enum front_kind kind;
	uid_t uid;
	pid_t pid;
	struct provision_order order;
	struct front_claim made; /* the token is wiped as soon as it is sent */
	ino_t qemu;		 /* the socket that it brought: fstat tells it from all others that are open */
};

struct fronts {
	int listener;
	struct loop_io io;
	struct front *list;
	unsigned count[KINDS];
};

static void front_free(struct front *f)
{
	struct front **at = &f->m->fronts->list;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	f->m->fronts->count[f->kind]--;
	loop_remove(&f->m->loop, &f->io);
	loop_timer_cancel(&f->m->loop, &f->timer);
	fd_close(&f->sock);
	OPENSSL_cleanse(f->made.token, sizeof(f->made.token));
	free(f);
}

static void front_count(struct front *f, enum front_kind kind)
{
	f->m->fronts->count[f->kind]--;
	f->m->fronts->count[kind]++;
	f->kind = kind;
}

/* --- what nobody took --- */

struct undoing {
	struct mgr *m;
	uid_t uid;
	pid_t pid;
	struct store_vtpm row;
};

static void on_undone(void *arg, int code, const char *text)
{
	struct undoing *u = arg;

	(void)text;
	mgr_audit_for(u->m, u->uid, u->pid, "destroy", &u->row, code, "whoever had it set up did not take it");
	free(u);
}

/* A vTPM that nobody has the token of. One that an operator has powered on meanwhile is the operator's. */
static void undo(const struct front *f)
{
	struct mgr *m = f->m;
	struct undoing *u = calloc(1, sizeof(*u));
	int err = u ? store_vtpm_by_uuid(m->store, f->made.uuid, &u->row) : ERR_NOMEM;

	if (err == ERR_NOTFOUND || !u) {
		free(u);
		return;
	}
	u->m = m;
	u->uid = f->uid;
	u->pid = f->pid;
	if (!err && vtpm_find(m, u->row.uuid))
		err = ERR_BUSY;
	if (err)
		on_undone(u, err, "");
	else
		vtpm_destroy(m, &u->row, on_undone, u);
}

static void front_drop(struct front *f)
{
	if (f->state == FRONT_MAKING) { /* on_made comes yet */
		loop_remove(&f->m->loop, &f->io);
		fd_close(&f->sock);
		return;
	}
	if (f->state == FRONT_HELD)
		undo(f);
	front_free(f);
}

static void on_timeout(void *arg)
{
	struct front *f = arg;

	control_log(f->m->control, "swtpm.sock: client of uid %u dropped: it did not finish in time", f->uid);
	front_drop(f);
}

static int front_send(struct front *f, uint32_t type, const struct buf *b)
{
	return f->sock < 0 ? ERR_CLOSED : ipc_send(f->sock, type, b, NULL, 0);
}

/* --- refusals --- */

static int send_result(struct front *f, uint32_t type, int code, const char *text)
{
	struct front_result r = { .code = code };
	uint8_t mem[FRONT_RESULT_MAX];
	struct buf b;

	snprintf(r.text, sizeof(r.text), "%s", text);
	buf_init(&b, mem, sizeof(mem));
	return front_result_encode(&b, &r) ? ERR_RANGE : front_send(f, type, &b);
}

/* For a handler to return: the peer is told why, and dropped. */
static int refuse(struct front *f, int code, const char *text)
{
	control_log(f->m->control, "swtpm.sock: uid %u refused: %s", f->uid, text);
	if (send_result(f, FRONT_REFUSED, code, text))
		log_debug("swtpm.sock: the refused client has gone");
	return code;
}

static int send_ready(struct front *f, const char *name)
{
	uint8_t mem[FRONT_READY_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	return front_ready_encode(&b, name) ? ERR_RANGE : front_send(f, FRONT_READY, &b);
}

/* --- setting up --- */

static int token_hash(const uint8_t token[static FRONT_TOKEN_LEN], uint8_t out[static DIGEST_LEN])
{
	return EVP_Digest(token, FRONT_TOKEN_LEN, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

/* A machine may be called anything; what is not fit for a vTPM's name becomes '_'. */
static void base_name(const char *machine, char out[static NAME_MAX_LEN + 1])
{
	size_t n = 0;

	if (strncmp(machine, STORE_DAMAGED, strlen(STORE_DAMAGED)) == 0)
		n = (size_t)snprintf(out, NAME_MAX_LEN + 1, "vm-");
	for (const char *s = machine; *s && n < NAME_ROOM; s++)
		out[n++] = isascii((unsigned char)*s) && (isalnum((unsigned char)*s) || strchr("._-", *s)) ? *s : '_';
	out[n] = '\0';
	if (n == 0)
		snprintf(out, NAME_MAX_LEN + 1, "machine");
	if (out[0] == '.' || out[0] == '-')
		out[0] = '_';
}

/* The machine's name if it is free; otherwise with a number. */
static int choose_name(struct mgr *m, const char *machine, struct store_vtpm *want)
{
	char base[NAME_MAX_LEN + 1], path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int err = ERR_EXISTS;

	base_name(machine, base);
	snprintf(want->name, sizeof(want->name), "%s", base);
	for (unsigned i = 2; err == ERR_EXISTS && i < NAMES_MAX; i++) {
		err = provision_check_free(m, want);
		if (err == ERR_EXISTS)
			snprintf(want->name, sizeof(want->name), "%.*s-%u", (int)NAME_ROOM, base, i);
	}
	if (!err && (ring_path(m, want->name, path, sizeof(path)) || qemu_path(m, want->name, path, sizeof(path))))
		err = ERR_RANGE;
	return err;
}

static int send_made(struct front *f, const struct store_vtpm *row)
{
	uint8_t mem[FRONT_MADE_MAX];
	struct buf b;
	int err;

	snprintf(f->made.name, sizeof(f->made.name), "%s", row->name);
	buf_init(&b, mem, sizeof(mem));
	err = front_made_encode(&b, &f->made);
	if (!err)
		err = front_send(f, FRONT_MADE, &b);
	OPENSSL_cleanse(mem, sizeof(mem));
	OPENSSL_cleanse(f->made.token, sizeof(f->made.token));
	return err;
}

static void on_made(void *arg, int code, const char *text, const struct store_vtpm *row)
{
	struct front *f = arg;

	f->state = code ? FRONT_DONE : FRONT_HELD;
	if (code) {
		(void)!refuse(f, code, text);
		front_drop(f);
		return;
	}
	log_info("%s: set up for a machine of uid %u", row->name, f->uid);
	if (send_made(f, row))
		front_drop(f);
	else
		loop_timer_set(&f->m->loop, &f->timer, KEEP_MS, on_timeout, f);
}

static int setup_fill(struct front *f, const struct front_setup *s, struct store_vtpm *want)
{
	static const uint8_t unknown[UUID_LEN];
	int err;

	*want = (struct store_vtpm){ .group = DEFAULT_GROUP,
				     .epoch = 1,
				     .user = -1,
				     .state_max = STATE_MAX_DEFAULT,
				     .commit_rate = COMMIT_RATE_DEFAULT,
				     .has_token = true };
	want->has_machine = memcmp(s->machine, unknown, UUID_LEN) != 0;
	memcpy(want->machine, s->machine, UUID_LEN);
	/* A uuid of its own: the certificates of its EKs say this one, and the machine's is a mere claim. */
	err = uuid_random(want->uuid);
	if (!err)
		err = random_bytes(f->made.token, sizeof(f->made.token));
	if (!err)
		err = token_hash(f->made.token, want->token);
	if (!err)
		err = choose_name(f->m, s->name, want);
	memcpy(f->made.uuid, want->uuid, UUID_LEN);
	return err;
}

static int on_setup(void *arg, struct ipc_msg *msg)
{
	struct front *f = arg;
	struct front_setup s;
	struct store_vtpm *want;
	char why[TEXT_MAX + 1];
	int err = front_setup_decode(&msg->body, &s);

	if (err)
		return err;
	if (f->kind != KIND_KNOWN) {
		snprintf(why, sizeof(why), "uid %u may not set up a TPM; vtpm-mgr --swtpm-user names who may", f->uid);
		return refuse(f, ERR_DENIED, why);
	}
	if (f->m->draining)
		return refuse(f, ERR_CLOSED, "the manager is stopping");
	want = malloc(sizeof(*want));
	if (!want)
		return refuse(f, ERR_NOMEM, err_text(ERR_NOMEM));
	err = setup_fill(f, &s, want);
	f->order = (struct provision_order){ .uid = f->uid, .pid = f->pid, .done = on_made, .arg = f };
	loop_timer_cancel(&f->m->loop, &f->timer);
	f->state = FRONT_MAKING;
	if (!err)
		err = provision_order(f->m, want, &f->order);
	free(want);
	if (!err)
		return 0; /* f may have gone by now */
	f->state = FRONT_NEW;
	return refuse(f, err, err == ERR_EXISTS ? "there are too many vTPMs of that name" : err_text(err));
}

static int on_kept(void *arg, struct ipc_msg *msg)
{
	struct front *f = arg;

	(void)msg;
	f->state = FRONT_DONE;
	if (send_ready(f, f->made.name))
		log_debug("swtpm.sock: who has set %s up has gone", f->made.name);
	return ERR_CLOSED; /* that was all */
}

/* --- serving --- */

/* Whether the token is that of the row; what there is besides is nobody's business who has it not. */
static int claim_check(struct mgr *m, const struct front_claim *c, struct store_vtpm *row)
{
	uint8_t hash[DIGEST_LEN];
	int err = store_vtpm_by_uuid(m->store, c->uuid, row);

	if (!err && !row->has_token)
		err = ERR_DENIED;
	if (!err)
		err = token_hash(c->token, hash);
	if (!err && CRYPTO_memcmp(hash, row->token, DIGEST_LEN) != 0)
		err = ERR_DENIED;
	return err == ERR_NOTFOUND ? ERR_DENIED : err;
}

static unsigned fronts_of(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	unsigned n = 0;

	for (const struct front *f = m->fronts->list; f; f = f->next)
		n += f->kind == KIND_CLAIMED && memcmp(f->made.uuid, uuid, UUID_LEN) == 0;
	return n;
}

/* 0, or the code that it is refused with. */
static int claim_admit(struct mgr *m, const struct front_claim *c, struct store_vtpm *row, char why[static TEXT_MAX + 1])
{
	int err = claim_check(m, c, row);
	const struct vtpm *v = err ? NULL : vtpm_find(m, row->uuid);

	if (err) {
		snprintf(why, TEXT_MAX + 1, "%s",
			 err == ERR_DENIED ? "no TPM was set up with that token, or it has been destroyed" : store_why(m->store));
		return err;
	}
	if (m->draining) {
		snprintf(why, TEXT_MAX + 1, "the manager is stopping");
		return ERR_CLOSED;
	}
	if (v && v->state != VTPM_FAILED && v->qemu < 0) {
		snprintf(why, TEXT_MAX + 1, "%s is on for its ring; \"vtpmctl stop %s\" powers it off", row->name, row->name);
		return ERR_BUSY;
	}
	if (m->fronts->count[KIND_CLAIMED] >= CLAIMED_MAX) {
		snprintf(why, TEXT_MAX + 1, "%u machines are served already", CLAIMED_MAX);
		return ERR_FULL;
	}
	if (fronts_of(m, row->uuid) >= EACH_MAX) {
		snprintf(why, TEXT_MAX + 1, "%s is served by %u fronts already", row->name, EACH_MAX);
		return ERR_BUSY;
	}
	return 0;
}

static int on_claim(void *arg, struct ipc_msg *msg)
{
	struct front *f = arg;
	struct store_vtpm *row = malloc(sizeof(*row));
	struct front_claim c;
	char why[TEXT_MAX + 1];
	int err = front_claim_decode(&msg->body, &c);

	if (!err && !row)
		err = ERR_NOMEM;
	if (err)
		goto out;
	err = claim_admit(f->m, &c, row, why);
	if (err) {
		err = refuse(f, err, why);
		goto out;
	}
	loop_timer_cancel(&f->m->loop, &f->timer);
	memcpy(f->made.uuid, row->uuid, UUID_LEN);
	f->state = FRONT_CLAIMED;
	front_count(f, KIND_CLAIMED);
	err = send_ready(f, row->name);
out:
	OPENSSL_cleanse(&c, sizeof(c));
	free(row);
	return err;
}

static bool sockopt_is(int fd, int option, int want)
{
	int got = -1;
	socklen_t len = sizeof(got);

	return !getsockopt(fd, SOL_SOCKET, option, &got, &len) && got == want;
}

/* A connected stream socket and nothing else: what does not behave like one is not for a backend to find out. */
static bool is_channel(int fd, struct stat *sb, struct ucred *peer)
{
	socklen_t len = sizeof(*peer);

	return sockopt_is(fd, SO_DOMAIN, AF_UNIX) && sockopt_is(fd, SO_TYPE, SOCK_STREAM) &&
	       sockopt_is(fd, SO_ACCEPTCONN, 0) && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &len) &&
	       peer->pid != 0 && !fstat(fd, sb) && !fcntl(fd, F_SETFL, O_NONBLOCK);
}

static int on_connect(void *arg, struct ipc_msg *msg)
{
	struct front *f = arg;
	struct ucred peer;
	struct stat sb;
	int qemu = ipc_take_fd(msg, 0);

	if (!is_channel(qemu, &sb, &peer)) {
		fd_close(&qemu);
		return ERR_PROTO;
	}
	f->qemu = sb.st_ino;
	f->state = FRONT_ON;
	qemu_offer(f->m, f->made.uuid, qemu, peer.uid);
	return 0;
}

void fronts_hung_up(struct mgr *m, int sock, const char *why)
{
	struct front *f = m->fronts ? m->fronts->list : NULL;
	struct stat sb;

	if (fstat(sock, &sb))
		return;
	while (f && !(f->state == FRONT_ON && f->qemu == sb.st_ino))
		f = f->next;
	if (!f)
		return;
	f->state = FRONT_CLAIMED;
	/* One that is not told has gone, or does not read: the loop finds the one, and the other finds that its QEMU is off. */
	if (send_result(f, FRONT_OFF, why[0] ? ERR_CLOSED : 0, why))
		log_debug("swtpm.sock: a front is not told that its QEMU is off");
}

/* --- connections --- */

static const struct ipc_rule rules[] = {
	{ FRONT_SETUP, FRONT_NEW, FRONT_SETUP_MIN, FRONT_SETUP_MAX, 0, 0, on_setup },
	{ FRONT_KEPT, FRONT_HELD, 0, 0, 0, 0, on_kept },
	{ FRONT_CLAIM, FRONT_NEW, FRONT_CLAIM_SIZE, FRONT_CLAIM_SIZE, 0, 0, on_claim },
	{ FRONT_CONNECT, FRONT_CLAIMED, 0, 0, 1, 1, on_connect },
};

static void on_message(void *arg, uint32_t events)
{
	struct front *f = arg;
	struct mgr *m = f->m;
	struct ipc_msg msg;
	uint8_t mem[FRONT_BODY_MAX];
	uid_t uid = f->uid;
	int err;

	(void)events;
	if (f->state == FRONT_CLAIMED)
		err = ipc_recv(f->sock, &msg, mem, sizeof(mem), MSG_DONTWAIT);
	else
		err = ipc_recv_bare(f->sock, &msg, mem, sizeof(mem), MSG_DONTWAIT);
	if (err == ERR_AGAIN)
		return;
	if (!err)
		err = ipc_dispatch(rules, ARRAY_LEN(rules), f->state, f, &msg);
	else
		ipc_msg_done(&msg);
	OPENSSL_cleanse(mem, sizeof(mem));
	if (err == ERR_PROTO || err == ERR_FULL)
		control_log(m->control, "swtpm.sock: client of uid %u dropped: %s", uid, err_text(err));
	if (err)
		front_drop(f);
}

static void front_add(struct mgr *m, int sock)
{
	struct front *f = calloc(1, sizeof(*f));
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	uid_t uid;
	bool known = control_role_of(m->control, sock, &uid) == ROLE_OPERATOR || (int64_t)uid == m->swtpm_uid;
	enum front_kind kind = known ? KIND_KNOWN : KIND_STRANGER;

	if (!f || m->fronts->count[kind] >= (known ? KNOWN_MAX : STRANGERS_MAX) ||
	    getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
		control_log(m->control, "swtpm.sock: client of uid %u refused: too many clients", uid);
		fd_close(&sock);
		free(f);
		return;
	}
	*f = (struct front){ .m = m, .sock = sock, .io.fd = -1, .state = FRONT_NEW, .kind = kind, .uid = uid, .pid = cred.pid };
	f->next = m->fronts->list;
	m->fronts->list = f;
	m->fronts->count[kind]++;
	loop_timer_set(&m->loop, &f->timer, CONTROL_IDLE_MS, on_timeout, f);
	if (loop_add(&m->loop, &f->io, sock, EPOLLIN | EPOLLRDHUP, on_message, f))
		front_free(f);
}

static void on_listener(void *arg, uint32_t events)
{
	struct mgr *m = arg;
	int sock = control_accept(m->control, m->fronts->listener);

	(void)events;
	if (sock >= 0)
		front_add(m, sock);
}

static int listener_open(struct mgr *m)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct fronts *s = m->fronts;
	int n = snprintf(path, sizeof(path), "%s/" FRONT_SOCKET, m->cfg.runtime_dir);
	int err = n < 0 || (size_t)n >= sizeof(path) ? ERR_RANGE : 0;

	s->listener = held_take_listener(m, HELD_FRONTS, NULL);
	if (!err && s->listener < 0)
		err = socket_listen_anew(path, SOCK_SEQPACKET, 64, &s->listener);
	if (!err)
		held_keep(m, HELD_FRONTS, NULL, NULL, &s->listener, 1);
	return err ? err : loop_add(&m->loop, &s->io, s->listener, EPOLLIN, on_listener, m);
}

int fronts_open(struct mgr *m)
{
	int err;

	m->fronts = calloc(1, sizeof(*m->fronts));
	if (!m->fronts)
		return ERR_NOMEM;
	m->fronts->listener = m->fronts->io.fd = -1;
	err = listener_open(m);
	if (err)
		fronts_close(m);
	return err;
}

void fronts_close(struct mgr *m)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	if (!m->fronts)
		return;
	for (struct front *f = m->fronts->list, *next; f; f = next) {
		next = f->next;
		if (f->state == FRONT_HELD)
			undo(f);
		front_free(f);
	}
	loop_remove(&m->loop, &m->fronts->io);
	snprintf(path, sizeof(path), "%s/" FRONT_SOCKET, m->cfg.runtime_dir);
	if (m->fronts->listener >= 0)
		unlink(path);
	fd_close(&m->fronts->listener);
	free(m->fronts);
	m->fronts = NULL;
}
