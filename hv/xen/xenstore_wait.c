/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/xen/xenstore_wait.h"

#include <string.h>

#include "lib/util.h"

static void on_fired(void *arg, const char *path, const char *token)
{
	struct xenstore_wait *w = arg;

	(void)path;
	(void)token;
	w->fired = true;
	loop_stop(&w->loop);
}

static void on_lost(void *arg)
{
	struct xenstore_wait *w = arg;

	w->lost = true;
	loop_stop(&w->loop);
}

static void on_late(void *arg)
{
	struct xenstore_wait *w = arg;

	w->late = true;
	loop_stop(&w->loop);
}

static void on_done(void *arg, int err, const char *value, size_t len)
{
	struct xenstore_wait *w = arg;

	if (!err && w->value && len >= w->cap)
		err = ERR_RANGE;
	w->err = err;
	w->len = err ? 0 : len;
	if (w->value) {
		memcpy(w->value, value, w->len);
		w->value[w->len] = '\0';
	}
	w->ended = true;
	loop_stop(&w->loop);
}

int xenstore_wait_new(struct xenstore_wait *w, int fd)
{
	const struct xenstore_events events = { on_fired, on_lost, w };
	int err;

	*w = (struct xenstore_wait){ 0 };
	err = loop_open(&w->loop);
	if (err) {
		fd_close(&fd);
		return err;
	}
	err = xenstore_new(&w->x, &w->loop, fd, &events);
	if (err)
		loop_close(&w->loop);
	return err;
}

int xenstore_wait_open(struct xenstore_wait *w)
{
	int fd;
	int err = xenstore_open(&fd);

	w->x = NULL;
	return err ? err : xenstore_wait_new(w, fd);
}

void xenstore_wait_close(struct xenstore_wait *w)
{
	if (!w->x)
		return;
	w->value = NULL;
	xenstore_free(w->x);
	w->x = NULL;
	loop_close(&w->loop);
}

/* Until *what, which a callback sets. */
static int wait_for(struct xenstore_wait *w, const bool *what, unsigned ms)
{
	int err = 0;

	w->late = false;
	loop_timer_set(&w->loop, &w->bound, ms, on_late, w);
	while (!*what && !w->late && !w->lost && !err)
		err = loop_run(&w->loop);
	loop_timer_cancel(&w->loop, &w->bound);
	if (err || *what)
		return err;
	return w->lost ? ERR_CLOSED : ERR_TIMEOUT;
}

static void begin(struct xenstore_wait *w, char *value, size_t cap)
{
	w->value = value;
	w->cap = cap;
	w->ended = false;
}

/* An answer that comes too late would be taken for the next one's: the connection is not used any more. */
static int end(struct xenstore_wait *w, unsigned ms)
{
	int err = w->lost ? ERR_CLOSED : wait_for(w, &w->ended, ms);

	if (err == ERR_TIMEOUT)
		w->lost = true;
	if (err)
		xenstore_forget(w->x, w);
	return err ? err : w->err;
}

int xenstore_wait_read(struct xenstore_wait *w, const char *path, unsigned ms, char *value, size_t cap)
{
	int err;

	begin(w, value, cap);
	xenstore_read(w->x, path, on_done, w);
	err = end(w, ms);
	if (!err && memchr(value, '\0', w->len))
		err = ERR_PROTO;
	return err;
}

int xenstore_wait_list(struct xenstore_wait *w, const char *path, unsigned ms, char *names, size_t cap, size_t *len)
{
	int err;

	begin(w, names, cap);
	xenstore_list(w->x, path, on_done, w);
	err = end(w, ms);
	*len = err ? 0 : w->len;
	return err;
}

int xenstore_wait_write(struct xenstore_wait *w, const char *path, const char *value, unsigned ms)
{
	begin(w, NULL, 0);
	xenstore_write(w->x, path, value, on_done, w);
	return end(w, ms);
}

int xenstore_wait_watch(struct xenstore_wait *w, const char *path, unsigned ms)
{
	begin(w, NULL, 0);
	xenstore_watch(w->x, path, "changed", on_done, w);
	return end(w, ms);
}

int xenstore_wait_change(struct xenstore_wait *w, unsigned ms)
{
	int err = w->lost && !w->fired ? ERR_CLOSED : wait_for(w, &w->fired, ms);

	w->fired = false;
	return err;
}
