/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * powercut_disk BASE STATE LOG SEED: what the disk may hold after a power cut, into STATE: the store's files of BASE, what LOG (disk.h) says
 * was done to them and synced, and an arbitrary subset of what was not: any sectors of any write, sizes and names
 * each by themselves. A sector that was written in part keeps its other bytes, which SQLite takes for granted, too. Says what it chose.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/powercut/disk.h"

#define FILES	 512
#define NAME_LEN 64
#define FILE_MAX (64u << 20)

struct pending {
	struct pending *next;
	struct disk_record r;
	unsigned long seq;
	uint8_t data[];
};

struct file {
	uint8_t *mem; /* FILE_MAX, zeros where nothing is */
	uint64_t size;
	struct pending *first, **end;
	char name[NAME_LEN];
};

/* A name on the disk. */
struct entry {
	char name[NAME_LEN];
	struct file *file;
};

struct disk {
	struct entry names[FILES];
	size_t nnames;
	struct file *files[FILES]; /* by number of the record */
	struct pending *first, **end; /* names */
	unsigned long seq;
	uid_t uid;
	gid_t gid;
};

/* How much of what was not synced is kept. */
enum keep { KEEP_NONE, KEEP_ALL, KEEP_HALF, KEEP_FEW, KEEP_MOST, KEEP_PREFIX, KEEPS };
static const char *const keep_names[KEEPS] = { "none", "all", "half", "few", "most", "a prefix" };

struct choice {
	enum keep keep;
	unsigned long until; /* KEEP_PREFIX: the operations before this one */
	uint64_t rng;
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(2);
}

static void *need(void *p)
{
	if (!p)
		die("memory");
	return p;
}

static uint64_t rng_next(uint64_t *s) /* splitmix64 */
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static bool coin(struct choice *c, unsigned long seq)
{
	uint64_t r = rng_next(&c->rng) % 100;

	switch (c->keep) {
	case KEEP_NONE:
		return false;
	case KEEP_ALL:
		return true;
	case KEEP_HALF:
		return r < 50;
	case KEEP_FEW:
		return r < 8;
	case KEEP_MOST:
		return r < 92;
	default:
		return seq < c->until || (seq == c->until && r < 50);
	}
}

/* ---- files ---- */

static struct file *file_new(const char *name)
{
	struct file *f = need(calloc(1, sizeof(*f)));

	f->mem = need(calloc(1, FILE_MAX));
	f->end = &f->first;
	snprintf(f->name, sizeof(f->name), "%s", name);
	return f;
}

static void put(struct file *f, uint64_t off, const uint8_t *p, uint64_t n)
{
	if (off > FILE_MAX || n > FILE_MAX - off) {
		fprintf(stderr, "%s is too large\n", f->name);
		exit(2);
	}
	if (p)
		memcpy(f->mem + off, p, n);
	else
		memset(f->mem + off, 0, n);
}

static void resize(struct file *f, uint64_t size)
{
	if (size < f->size)
		put(f, size, NULL, f->size - size);
	f->size = size;
}

static uint64_t length(const struct disk_record *r)
{
	return r->op == DISK_ZERO ? r->b : r->len;
}

static void file_sync(struct file *f)
{
	while (f->first) {
		struct pending *p = f->first;

		if (p->r.op == DISK_SIZE) {
			resize(f, p->r.a);
		} else {
			put(f, p->r.a, p->r.op == DISK_ZERO ? NULL : p->data, length(&p->r));
			if (p->r.a + length(&p->r) > f->size)
				f->size = p->r.a + length(&p->r);
		}
		f->first = p->next;
		free(p);
	}
	f->end = &f->first;
}

/* Runs of kept (+) and lost (-) sectors. */
static void write_some(struct choice *c, struct file *f, const struct pending *p)
{
	uint64_t n = length(&p->r), off = 0, run = 0;
	bool was = false;

	printf("  %s @%llu", f->name, (unsigned long long)p->r.a);
	while (off < n) {
		uint64_t piece = DISK_SECTOR - (p->r.a + off) % DISK_SECTOR;
		bool kept = coin(c, p->seq);

		if (piece > n - off)
			piece = n - off;
		if (kept)
			put(f, p->r.a + off, p->r.op == DISK_ZERO ? NULL : p->data + off, piece);
		if (run && kept != was) {
			printf(" %c%llu", was ? '+' : '-', (unsigned long long)run);
			run = 0;
		}
		was = kept;
		run++;
		off += piece;
	}
	printf(" %c%llu", was ? '+' : '-', (unsigned long long)run);
	if (p->r.a + n > f->size) {
		bool grows = coin(c, p->seq);

		printf(" size %s", grows ? "+" : "-");
		if (grows)
			f->size = p->r.a + n;
	}
	putchar('\n');
}

static void file_cut(struct choice *c, struct file *f)
{
	for (const struct pending *p = f->first; p; p = p->next) {
		if (p->r.op != DISK_SIZE) {
			write_some(c, f, p);
		} else {
			bool kept = coin(c, p->seq);

			printf("  %s to %llu %s\n", f->name, (unsigned long long)p->r.a, kept ? "+" : "-");
			if (kept)
				resize(f, p->r.a);
		}
	}
	f->first = NULL; /* chosen from */
}

/* ---- names ---- */

static struct entry *find(struct disk *d, const char *name)
{
	for (size_t i = 0; i < d->nnames; i++)
		if (strcmp(d->names[i].name, name) == 0)
			return &d->names[i];
	return NULL;
}

static void name_apply(struct disk *d, const struct pending *p)
{
	char name[NAME_LEN];
	struct entry *e;

	snprintf(name, sizeof(name), "%.*s", (int)p->r.len, (const char *)p->data);
	e = find(d, name);
	if (p->r.op == DISK_UNLINK) {
		if (e)
			*e = d->names[--d->nnames];
		return;
	}
	if (!e) {
		if (d->nnames == FILES)
			exit(2);
		e = &d->names[d->nnames++];
		memcpy(e->name, name, sizeof(name));
	}
	e->file = d->files[p->r.file];
}

static void names_settle(struct disk *d, struct choice *c)
{
	while (d->first) {
		struct pending *p = d->first;
		bool kept = !c || coin(c, p->seq);

		if (c)
			printf("  %s of %.*s %s\n", p->r.op == DISK_UNLINK ? "removal" : "making", (int)p->r.len,
			       (const char *)p->data, kept ? "+" : "-");
		if (kept)
			name_apply(d, p);
		d->first = p->next;
		free(p);
	}
	d->end = &d->first;
}

/* ---- the record ---- */

static void on_open(struct disk *d, struct pending *p)
{
	char name[NAME_LEN];
	struct entry *e;

	snprintf(name, sizeof(name), "%.*s", (int)p->r.len, (const char *)p->data);
	e = find(d, name);
	if (!p->r.a && e) {
		d->files[p->r.file] = e->file;
		free(p);
		return;
	}
	d->files[p->r.file] = file_new(name);
	*d->end = p;
	d->end = &p->next;
}

static void take(struct disk *d, struct pending *p)
{
	struct file *f = d->files[p->r.file];

	p->seq = d->seq++;
	switch (p->r.op) {
	case DISK_OPEN:
		on_open(d, p);
		return;
	case DISK_WRITE:
	case DISK_ZERO:
	case DISK_SIZE:
		*f->end = p;
		f->end = &p->next;
		return;
	case DISK_UNLINK:
		*d->end = p;
		d->end = &p->next;
		return;
	case DISK_SYNC:
		file_sync(f);
		break;
	default:
		names_settle(d, NULL);
		break;
	}
	free(p);
}

/* The last record may be cut off by the end of the process. */
static void read_log(struct disk *d, const char *path)
{
	FILE *in = fopen(path, "r");
	struct disk_record r;

	if (!in)
		die(path);
	while (fread(&r, sizeof(r), 1, in) == 1) {
		struct pending *p;

		if (r.op < DISK_OPEN || r.op >= DISK_OPS || r.file >= FILES || r.len > FILE_MAX) {
			fprintf(stderr, "%s is no record\n", path);
			exit(2);
		}
		p = need(calloc(1, sizeof(*p) + r.len + 1));
		p->r = r;
		if (fread(p->data, 1, r.len, in) != r.len) {
			free(p);
			break;
		}
		take(d, p);
	}
	fclose(in);
}

/* ---- directories ---- */

static void load(struct disk *d, const char *dir, const char *name)
{
	char path[512];
	struct file *f = file_new(name);
	struct stat sb;
	FILE *in;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	in = fopen(path, "r");
	if (!in || fstat(fileno(in), &sb) != 0 || (uint64_t)sb.st_size > FILE_MAX)
		die(path);
	f->size = (uint64_t)sb.st_size;
	if (fread(f->mem, 1, f->size, in) != f->size)
		die(path);
	fclose(in);
	d->uid = sb.st_uid;
	d->gid = sb.st_gid;
	snprintf(d->names[d->nnames].name, NAME_LEN, "%s", name);
	d->names[d->nnames++].file = f;
}

static void each_file(const char *dir, void (*fn)(struct disk *d, const char *dir, const char *name), struct disk *d)
{
	DIR *at = opendir(dir);
	const struct dirent *e;

	if (!at)
		die(dir);
	while ((e = readdir(at)))
		if (strncmp(e->d_name, DISK_PREFIX, strlen(DISK_PREFIX)) == 0)
			fn(d, dir, e->d_name);
	closedir(at);
}

static void erase(struct disk *d, const char *dir, const char *name)
{
	char path[512];

	(void)d;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (unlink(path) != 0)
		die(path);
}

static void save(const struct disk *d, const char *dir, const struct entry *e)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, e->name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, e->file->mem, e->file->size) != (ssize_t)e->file->size || fchown(fd, d->uid, d->gid) != 0)
		die(path);
	close(fd);
	printf("  %s has %llu bytes\n", e->name, (unsigned long long)e->file->size);
}

int main(int argc, char **argv)
{
	static struct disk d;
	struct choice c;

	if (argc != 5) {
		fputs("usage: powercut_disk BASE STATE LOG SEED\n", stderr);
		return 2;
	}
	d.end = &d.first;
	each_file(argv[1], load, &d);
	read_log(&d, argv[3]);
	c.rng = strtoull(argv[4], NULL, 10);
	c.keep = (enum keep)(rng_next(&c.rng) % KEEPS);
	/* Near the end, where what is not synced is. */
	c.until = d.seq - (d.seq ? rng_next(&c.rng) % (d.seq < 12 ? d.seq : 12) : 0);
	printf("of what was not synced %s is kept (+ kept, - lost, in sectors)\n", keep_names[c.keep]);
	for (size_t i = 0; i < d.nnames; i++) /* those that only a removed or a new name leads to come below */
		if (d.names[i].file->first)
			file_cut(&c, d.names[i].file);
	for (size_t i = 0; i < FILES; i++)
		if (d.files[i] && d.files[i]->first)
			file_cut(&c, d.files[i]);
	names_settle(&d, &c);
	each_file(argv[2], erase, &d);
	for (size_t i = 0; i < d.nnames; i++)
		save(&d, argv[2], &d.names[i]);
	return 0;
}
