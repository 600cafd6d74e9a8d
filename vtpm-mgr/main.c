/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-mgr: the order of the start is the order in main. The spawner is started while there is
 * still the right to change uid; then the manager gives its own away, opens its store, and
 * enters its sandbox before the first client can connect.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "hv/xen/xenstore.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/secmem.h"
#include "vtpm-mgr/attest.h"
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/control_socket.h"
#include "vtpm-mgr/identity.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/options.h"
#include "vtpm-mgr/reroot.h"

static const char varlink_description[] =
#include "varlink.inc"
	;

struct identity {
	uid_t uid;
	gid_t gid;
	int64_t operator_gid, viewer_gid, swtpm_uid;
};

static _Noreturn void die(const char *what, const char *why)
{
	log_error("%s: %s", what, why);
	exit(1);
}

static void find_identity(const struct config *cfg, struct identity *id)
{
	uid_t uid;
	gid_t gid;

	id->uid = geteuid();
	id->gid = getegid();
	if (geteuid() == 0 && identity_user(cfg->user, &id->uid, &id->gid))
		die(cfg->user ? cfg->user : "vtpm",
		    "there is no such user; make one (adduser --system --group vtpm) or name another with --user");
	if (identity_group(cfg->operator_group, "vtpm", &id->operator_gid) ||
	    identity_group(cfg->viewer_group, "vtpm-view", &id->viewer_gid))
		die("--operator-group, --viewer-group", "there is no such group");
	id->swtpm_uid = -1;
	if (cfg->swtpm_user && identity_user(cfg->swtpm_user, &uid, &gid))
		die(cfg->swtpm_user, "there is no such user; --swtpm-user names whom libvirt runs swtpm as");
	if (cfg->swtpm_user)
		id->swtpm_uid = (int64_t)uid;
}

/*
 * Makes a directory with its owner and mode, or takes one that is there: the user's own, or an empty one of root's, as
 * systemd makes it. Any other is somebody else's, and stays so: a mistyped option must not give /run away.
 */
static void make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	bool made = mkdir(path, mode) == 0;
	struct stat sb;
	int fd;

	if (!made && errno != EEXIST)
		die(path, strerror(errno));
	if (made && chmod(path, mode)) /* and not what the umask leaves of it: others must reach the sockets */
		die(path, strerror(errno));
	if (geteuid() != 0)
		return;
	if (stat(path, &sb))
		die(path, strerror(errno));
	if (sb.st_uid == uid)
		return;
	fd = sandbox_open_empty(path);
	if (fd < 0)
		die(path, "it belongs to another user than the manager's (see --user), or to root and is not empty");
	if (fchown(fd, uid, gid))
		die(path, strerror(errno));
	fd_close(&fd);
}

/*
 * Where backends are locked in: root's, below a directory of the manager's user. What that user could
 * have put there instead is refused, not mended.
 */
static void make_empty(const char *path)
{
	int fd;

	if (mkdir(path, 0555) && errno != EEXIST)
		die(path, strerror(errno));
	fd = sandbox_open_empty(path);
	if (fd < 0)
		die(path, "it is not an empty directory that belongs to who starts vtpm-mgr; remove it");
	if (fchmod(fd, 0555))
		die(path, strerror(errno));
	fd_close(&fd);
}

static void make_dirs(const struct config *cfg, const struct identity *id)
{
	char empty[256];

	if ((size_t)snprintf(empty, sizeof(empty), "%s/empty", cfg->runtime_dir) >= sizeof(empty))
		die(cfg->runtime_dir, "the path is too long");
	make_dir(cfg->state_dir, 0700, id->uid, id->gid);
	make_dir(cfg->runtime_dir, 0755, id->uid, id->gid);
	make_empty(empty);
}

static void drop_root(struct mgr *m, const struct identity *id)
{
	bootlog_read(&m->bootlog, m->cfg.tcti);
	m->sandboxed = geteuid() == 0;
	if (id->uid == 0) {
		log_warn("--user root: the manager keeps the rights of root");
		return;
	}
	if (sandbox_drop(id->uid, id->gid, NULL))
		die("cannot give up the rights of root", strerror(errno));
	if (access(m->cfg.state_dir, R_OK | W_OK | X_OK) || access(m->cfg.runtime_dir, R_OK | W_OK | X_OK))
		die("the state or runtime directory cannot be reached by the manager's user (see --user)", strerror(errno));
}

static int load_group(void *arg, const char *name)
{
	struct mgr *m = arg;
	struct sealed_root root = { 0 };
	uint8_t mem[SEALED_ROOT_MAX];
	size_t len = sizeof(mem);
	struct buf b;
	int err = store_group_get(m->store, name, mem, &len);

	buf_wrap(&b, mem, err ? 0 : len);
	if (err || sealed_root_decode(&b, &root))
		log_error("group %s: its row in the store is damaged", name);
	err = group_add(m, name, &root, false);
	if (err)
		log_error("group %s is left out: %s", name, err_text(err));
	return err == ERR_FULL ? 0 : err;
}

int mgr_open_store(struct mgr *m, char why[static TEXT_MAX + 1])
{
	uint8_t mark[STORE_META_MAX];
	size_t len = sizeof(mark);
	int err = store_open(&m->store, m->cfg.state_dir, false, why);

	if (err)
		return err;
	if (store_meta_get(m->store, "provisioned", mark, &len)) {
		store_close(m->store); /* it leaves no log behind */
		m->store = NULL;
		snprintf(why, TEXT_MAX + 1, "its initialisation was interrupted and nothing was ever kept in it; remove vtpm.db "
					    "there and run vtpm-mgr --init again");
		return ERR_WRONG_STATE;
	}
	err = store_group_each(m->store, load_group, m);
	if (err)
		snprintf(why, TEXT_MAX + 1, "%s", store_why(m->store));
	return err;
}

static void open_store(struct mgr *m)
{
	char why[TEXT_MAX + 1];

	if (mgr_open_store(m, why))
		die(m->cfg.state_dir, why);
}

/* No other manager has the store; the keeper of one that has died may still be there. */
static void raise_fence(struct mgr *m)
{
	int err = host_fence(m);

	if (err)
		die(m->cfg.state_dir, err == ERR_BUSY ? "the keeper of an earlier vtpm-mgr does not end" : err_text(err));
}

/* What is there already is not touched by --init. */
static void check_no_store(const struct mgr *m)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/vtpm.db", m->cfg.state_dir);
	if (access(path, F_OK) == 0)
		die(path, "there is a store already; --init never replaces one");
}

/* Before the rights to read it are given away. */
static void open_from(struct mgr *m)
{
	struct stat sb;

	if (!m->cfg.from)
		return;
	m->from = open(m->cfg.from, O_RDONLY | O_CLOEXEC);
	if (m->from < 0 || fstat(m->from, &sb))
		die(m->cfg.from, strerror(errno));
	if (!S_ISREG(sb.st_mode))
		die(m->cfg.from, "not a file");
}

static void on_signal(void *arg, uint32_t events)
{
	struct mgr *m = arg;
	struct signalfd_siginfo si;

	(void)events;
	if (read(m->signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (m->draining) {
		loop_stop(&m->loop); /* asked twice */
		return;
	}
	log_info("stopping: powering off every vTPM in order");
	m->draining = true;
	recheck_stop(m);
	provision_close(m);
	certify_close(m);
	vtpm_stop_all(m);
	mgr_check_drained(m);
}

/* What asks for an orderly stop: systemd or a person, also one who closes the terminal. */
static void stop_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static void watch_signals(struct mgr *m)
{
	sigset_t set;

	stop_signals(&set);
	m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signals < 0 || loop_add(&m->loop, &m->signals_io, m->signals, EPOLLIN, on_signal, m))
		die("signals", strerror(errno));
}

static void open_control(struct mgr *m, const struct identity *id)
{
	char path[128];
	struct control_config cfg = { .path = path,
				      .operator_gid = id->operator_gid,
				      .viewer_gid = id->viewer_gid,
				      .methods = methods,
				      .nmethods = methods_len,
				      .arg = m,
				      .description = varlink_description };
	int err;

	if (m->cfg.recover) {
		cfg.methods = recover_methods;
		cfg.nmethods = recover_methods_len;
	}
	snprintf(path, sizeof(path), "%s/control.sock", m->cfg.runtime_dir);
	cfg.listener = held_take_listener(m, HELD_CONTROL, NULL);
	err = control_open(&m->control, &m->loop, &cfg);
	if (err)
		die(path, err == ERR_BUSY ? "another vtpm-mgr is listening there" : err_text(err));
	held_keep(m, HELD_CONTROL, NULL, NULL, (const int[]){ control_listener(m->control) }, 1);
}

/* A manager that was killed has left sockets, perhaps of vTPMs that are not there any more. Those that vtpm-hold has are in use. */
static void sweep(const struct mgr *m)
{
	if (m->held.generation > 1)
		return;
	if (socket_sweep(m->cfg.runtime_dir, ".ring") || socket_sweep(m->cfg.runtime_dir, ".swtpm"))
		log_warn("%s: sockets of a manager that has ended cannot be removed", m->cfg.runtime_dir);
}

static void ask_xsm(struct mgr *m)
{
	m->xsm = xen_xsm_ask();
	log_info("XSM of this Xen: %s", xen_xsm_word(m->xsm));
}

/* With the rights of root: that is what it takes to speak to xenstore. -1: no guests of Xen. */
static int connect_xen(struct mgr *m)
{
	const struct config *cfg = &m->cfg;
	int fd = -1;
	int err = cfg->xen == XEN_NEVER || cfg->init ? 0 : xenstore_open(&fd);

	if (err && cfg->xen == XEN_ON)
		die("--xen on", "xenstore cannot be reached: this is no domain of Xen, or not root, or xenstored does not run");
	if (fd >= 0)
		ask_xsm(m);
	return fd;
}

static void on_shut_down(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	if (r->code)
		log_warn("the TPM was not shut down in order: %s", r->text);
	loop_stop(&m->loop);
}

/* The last request: the TPM is the manager's own and may lose power now. */
void mgr_closed(struct mgr *m, int code)
{
	m->continuity.close_due = false;
	m->continuity.state = CONTINUITY_STOPPED;
	if (code)
		log_warn("stopped without a close row: if the TPM is reset now, bounded vTPMs have a discontinuity");
	keeper_ask_once(m, KEEPER_TPM_SHUTDOWN, NULL, on_shut_down, m);
}

void mgr_check_drained(struct mgr *m)
{
	if (!m->draining || m->workers)
		return;
	if (m->continuity.state == CONTINUITY_OPEN)
		m->continuity.close_due = true; /* commit_flush follows */
	else
		loop_stop(&m->loop);
}

void mgr_audit_for(struct mgr *m, int64_t uid, int64_t pid, const char *action, const struct store_vtpm *row, int result,
		   const char *detail)
{
	struct audit_entry e = { .uid = uid,
				 .pid = pid,
				 .action = action,
				 .vtpm = row ? row->name : NULL,
				 .uuid = row ? row->uuid : NULL,
				 .result = result,
				 .detail = detail };

	if (audit_write(&m->audit, &e))
		log_error("the audit log cannot be written; this is lost from it: %s %s: %s", action, row ? row->name : "",
			  err_text(result));
}

void mgr_audit(struct mgr *m, const struct call *c, const char *action, const struct store_vtpm *row, int result,
	       const char *detail)
{
	mgr_audit_for(m, c ? (int64_t)call_uid(c) : -1, c ? (int64_t)call_pid(c) : -1, action, row, result, detail);
}

static void on_audit_due(void *arg)
{
	struct mgr *m = arg;

	if (audit_sync(&m->audit))
		log_error("the audit log cannot be synced: %s", strerror(errno));
}

/*
 * After all events of a round: changes become durable together. The lines about what was done follow a moment later, when whoever
 * was answered has come for what he was promised: a sync holds up everybody.
 */
static void after_round(void *arg)
{
	struct mgr *m = arg;

	commit_flush(m);
	renew_look(m);
	if (m->audit.unsynced && !m->audit_due.due_ms)
		loop_timer_set(&m->loop, &m->audit_due, AUDIT_DELAY_MS, on_audit_due, m);
	held_again(m);
}

static void mgr_close(struct mgr *m)
{
	/* Its guests are not to notice that it ends: the next manager takes over everything as it is. */
	if (!m->draining && held_generation(m) > 0)
		_exit(m->exit_code);
	m->draining = true;
	reseal_close(m);
	renew_close(m);
	keeper_close(m);
	xen_close(m);
	attest_close(m);
	continuity_free(m);
	transfer_close(m);
	while (m->vtpms)
		vtpm_free(m->vtpms);
	fronts_close(m);
	qemu_ports_close(m);
	pool_free(m);
	crl_forget(m);
	control_close(m->control);
	held_unleash_spawner(m); /* its end of file is what ends it */
	host_close(m);
	held_close(m);
	store_close(m->store);
	on_audit_due(m);
	audit_close(&m->audit);
	bootlog_free(&m->bootlog);
	loop_close(&m->loop);
	if (m->spawner_pid > 0)
		waitpid(m->spawner_pid, NULL, 0); /* it ends all its children first */
}

static void block_signals(void)
{
	sigset_t set;

	stop_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

void mgr_ready(struct mgr *m)
{
	if (m->cfg.ready_fd >= 0 && write(m->cfg.ready_fd, "\n", 1) != 1)
		log_warn("--ready-fd %d: %s", m->cfg.ready_fd, strerror(errno));
	fd_close(&m->cfg.ready_fd);
}

/* Of what this was started with only what it was told of goes further, and to no child by itself. */
static void keep_given(struct config *cfg)
{
	int *const given[] = { &cfg->ready_fd, &cfg->hold_fd, &cfg->hold_spawner_fd };
	int keep[ARRAY_LEN(given)];

	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		if (*given[i] >= 0 && fcntl(*given[i], F_SETFD, FD_CLOEXEC))
			*given[i] = -1;
		keep[i] = *given[i];
	}
	if (sandbox_close_others(keep, ARRAY_LEN(keep)))
		die("cannot close inherited descriptors", strerror(errno));
}

/* What the last manager has left, if there was one. */
static void take_held(struct mgr *m)
{
	int err = held_open(m, m->cfg.hold_fd);

	if (err)
		die("vtpm-hold", err_text(err));
	if (held_guests_check(m))
		die("vtpm-hold", "the guests that it has are of a vtpm-mgr whose notes this one cannot read; they go on, without durable changes, until that "
				 "one is put back, or the service is stopped");
	if (m->held.generation > 1)
		fd_close(&m->cfg.ready_fd); /* who waited has long gone on */
}

static void take_given(struct mgr *m)
{
	open_from(m);
	take_held(m);
}

int main(int argc, char **argv)
{
	static struct mgr mgr;
	struct mgr *m = &mgr;
	struct identity id;
	int xenstore;

	options_parse(argc, argv, &m->cfg);
	log_open("vtpm-mgr", m->cfg.verbose);
	keep_given(&m->cfg);
	umask(0077);
	block_signals();
	m->spawner = m->spawner_io.fd = m->signals_io.fd = m->audit.dir = m->audit.fd = m->fence = -1;
	m->keeper.sock = m->keeper.io.fd = m->held.sock = m->held.io.fd = m->from = -1;
	take_given(m);
	find_identity(&m->cfg, &id);
	make_dirs(&m->cfg, &id);
	if (m->cfg.init)
		check_no_store(m);
	if (host_start_spawner(m))
		die("vtpm-spawn", strerror(errno));
	held_leash_spawner(m);
	xenstore = connect_xen(m);
	drop_root(m, &id);
	if (secmem_process())
		die("cannot forbid core dumps", strerror(errno));
	if (!m->cfg.init)
		open_store(m);
	raise_fence(m);
	if (audit_open(&m->audit, m->cfg.state_dir))
		die(m->cfg.state_dir, "the audit log cannot be opened");
	if (continuity_init(m))
		die("continuity", "out of memory");
	if (loop_open(&m->loop) || host_watch_spawner(m) || held_watch(m))
		die("event loop", strerror(errno));
	watch_signals(m);
	if (!m->cfg.init || m->cfg.recover)
		open_control(m, &id);
	if (!m->cfg.init)
		sweep(m);
	if (!m->cfg.init && qemu_ports_open(m))
		die(m->cfg.state_dir, store_why(m->store));
	if (xenstore >= 0 && xen_open(m, xenstore))
		die("guests of Xen", strerror(errno));
	held_guests_revive(m);
	m->swtpm_uid = id.swtpm_uid;
	if (!m->cfg.init && fronts_open(m))
		die(m->cfg.runtime_dir, "swtpm.sock cannot be made there");
	held_settle(m);
	if (fd_hurry_prepare())
		die("a timer", strerror(errno));
	EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL)); /* loads OpenSSL's configuration while files can be read */
	if (sandbox_limit(SANDBOX_MANAGER) || sandbox_filter(SANDBOX_MANAGER))
		die("cannot enter the sandbox", strerror(errno));
	loop_set_after(&m->loop, after_round, m);
	if (keeper_start(m))
		die("vtpm-keeper", "cannot be started");
	m->exit_code = loop_run(&m->loop) ? 1 : m->exit_code;
	mgr_close(m);
	return m->exit_code;
}
