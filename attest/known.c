/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "attest/json.h"
#include "attest/tool.h"
#include "lib/util.h"

#define KNOWN_FILE_MAX (64u << 20)

static int complain(const char *path, const char *what)
{
	fprintf(stderr, "vtpm-verify: %s: %s\n", path, what);
	return ERR_IO;
}

/* The directory, for the file is replaced. */
static int lock_take(struct known_file *k)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s", k->path) >= (int)sizeof(path))
		return complain(k->path, "the path is too long");
	k->lock = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return k->lock < 0 || flock(k->lock, LOCK_EX) ? complain(k->path, strerror(errno)) : 0;
}

static void read_one(struct reader *r, const char *uuid, json_t *o, struct vtpm_known *k)
{
	static const char *const members[] = {"epoch", "version", "discontinuities", "host", "ak", NULL};

	if (!json_is_object(o) || uuid_parse(uuid, k->uuid)) {
		json_wrong(r, "\"%.40s\" is no uuid with an object", uuid);
		return;
	}
	json_members(r, "a vTPM", o, members);
	json_number(r, uuid, o, "epoch", &k->epoch);
	json_number(r, uuid, o, "version", &k->version);
	json_number(r, uuid, o, "discontinuities", &k->discontinuities);
	json_hex(r, "host", json_object_get(o, "host"), k->host, sizeof(k->host));
	json_hex(r, "ak", json_object_get(o, "ak"), k->ak, sizeof(k->ak));
}

static void read_all(struct reader *r, json_t *root, struct known_file *k)
{
	static const char *const members[] = {"vtpms", NULL};
	json_t *vtpms = json_member(r, "the file", root, "vtpms", JSON_OBJECT), *o;
	const char *uuid;

	json_members(r, "the file", root, members);
	if (!vtpms || json_object_size(vtpms) > KNOWN_MAX)
		json_wrong(r, "it must have \"vtpms\", at most %u", KNOWN_MAX);
	k->list = r->bad ? NULL : calloc(json_object_size(vtpms) + 1, sizeof(*k->list));
	if (!k->list)
		return;
	json_object_foreach(vtpms, uuid, o)
		read_one(r, uuid, o, &k->list[k->n++]);
}

int known_open(struct known_file *k, const char *path)
{
	char why[VTPM_VERIFY_TEXT];
	struct reader r = {.what = path, .why = why};
	json_t *root;
	size_t len;
	void *file;

	*k = (struct known_file){.path = path, .lock = -1};
	if (lock_take(k))
		return ERR_IO;
	if (access(path, F_OK) && errno == ENOENT) {
		k->list = calloc(1, sizeof(*k->list));
		return k->list ? 0 : ERR_NOMEM;
	}
	file = file_read(path, KNOWN_FILE_MAX, &len);
	root = file ? json_read(&r, file, len) : NULL;
	if (root)
		read_all(&r, root, k);
	json_decref(root);
	free(file);
	if (r.bad)
		fprintf(stderr, "vtpm-verify: %s\n", why);
	return r.bad || !k->list ? ERR_INVAL : 0;
}

static int write_all(const struct known_file *k, FILE *f)
{
	char uuid[UUID_STR_LEN + 1], host[2 * EVIDENCE_NAME + 1], ak[2 * EVIDENCE_NAME + 1];

	fputs("{\"vtpms\": {", f);
	for (size_t i = 0; i < k->n; i++) {
		const struct vtpm_known *v = &k->list[i];

		uuid_format(v->uuid, uuid);
		if (hex_encode(v->host, sizeof(v->host), host, sizeof(host)) || hex_encode(v->ak, sizeof(v->ak), ak, sizeof(ak)))
			return ERR_RANGE;
		fprintf(f, "%s\n\"%s\": {\"epoch\": %" PRIu64 ", \"version\": %" PRIu64 ", \"discontinuities\": %" PRIu64
			   ", \"host\": \"%s\", \"ak\": \"%s\"}",
			i ? "," : "", uuid, v->epoch, v->version, v->discontinuities, host, ak);
	}
	fputs("\n}}\n", f);
	return ferror(f) || fflush(f) || fsync(fileno(f)) ? ERR_IO : 0;
}

int known_keep(struct known_file *k, const struct vtpm_known *seen)
{
	char path[PATH_MAX];
	size_t at = 0;
	int err;
	FILE *f;

	while (at < k->n && memcmp(k->list[at].uuid, seen->uuid, UUID_LEN) != 0)
		at++;
	if (at == KNOWN_MAX || seen->epoch > INT64_MAX || seen->version > INT64_MAX || seen->discontinuities > INT64_MAX)
		return complain(k->path, "it has no room for this vTPM");
	k->list[at] = *seen; /* there is room for one more */
	k->n += at == k->n ? 1 : 0;
	if (snprintf(path, sizeof(path), "%s.new", k->path) >= (int)sizeof(path))
		return complain(k->path, "the path is too long");
	f = fopen(path, "we");
	err = f ? write_all(k, f) : ERR_IO;
	if (f && fclose(f))
		err = ERR_IO;
	if (err || rename(path, k->path) || fsync(k->lock))
		return complain(path, "cannot be written");
	return 0;
}

void known_close(struct known_file *k)
{
	free(k->list);
	fd_close(&k->lock);
}
