/* SPDX-License-Identifier: BSD-2-Clause */
/* GRUB's commands, as far as they measure, or change what will be measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "lib/util.h"
#include "vtpm-mgr/predict/grub_run.h"

int trace_add(struct trace *t, unsigned pcr, const uint8_t digest[static 32], const char *name)
{
	struct measured *v = realloc(t->v, (t->n + 1) * sizeof(*v));
	char *copy = strdup(name);

	if (v)
		t->v = v;
	if (!v || !copy) {
		free(copy);
		return ERR_NOMEM;
	}
	v[t->n] = (struct measured){.pcr = pcr, .name = copy};
	memcpy(v[t->n++].digest, digest, 32);
	return 0;
}

void trace_free(struct trace *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].name);
	free(t->v);
	*t = (struct trace){.v = NULL};
}

int grub_measure_text(struct grub_run *g, const char *prefix, const char *text)
{
	uint8_t digest[32];
	char *name;
	int r;

	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
		return ERR_CRYPTO;
	if (asprintf(&name, "%s%s", prefix, text) < 0)
		return ERR_NOMEM;
	r = trace_add(g->trace, GRUB_PCR_STRING, digest, name);
	free(name);
	return r;
}

int grub_set(struct grub_run *g, const char *name, const char *value)
{
	struct grub_variable *v = NULL;
	char *copy = value ? strdup(value) : NULL;

	if (value && !copy)
		return ERR_NOMEM;
	for (size_t i = 0; i < g->nvariables && !v; i++)
		if (!strcmp(g->variables[i].name, name))
			v = &g->variables[i];
	if (!v) {
		char *own = g->nvariables < GRUB_VARIABLES_MAX ? strdup(name) : NULL;

		if (!own) {
			free(copy);
			return ERR_NOMEM;
		}
		v = &g->variables[g->nvariables++];
		*v = (struct grub_variable){.name = own};
	}
	free(v->value);
	v->value = copy;
	return 0;
}

const char *grub_get(const void *run, const char *name, bool *unknown)
{
	const struct grub_run *g = run;

	for (size_t i = 0; i < g->nvariables; i++) {
		if (strcmp(g->variables[i].name, name) != 0)
			continue;
		*unknown = !g->variables[i].value;
		return g->variables[i].value;
	}
	return NULL;
}

/* A command, with its arguments; it is not called for those that have no effect here. */
typedef int command(struct grub_run *g, const struct grub_args *a, unsigned line);

static int assign(struct grub_run *g, const char *text)
{
	const char *eq = strchr(text, '=');
	char *name = strndup(text, (size_t)(eq - text));
	int r = name ? grub_set(g, name, eq + 1) : ERR_NOMEM;

	free(name);
	return r;
}

static int do_set(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	(void)line;
	g->failed = false;
	return a->n > 1 && strchr(a->v[1], '=') ? assign(g, a->v[1]) : 0;
}

static int do_unset(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	(void)line;
	g->failed = false;
	return a->n > 1 ? grub_set(g, a->v[1], "") : 0; /* which reads the same */
}

/* Where it was found only GRUB knows. With --file it opens, and so measures, what it finds on any disk. */
static int do_search(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	const char *name = "root";
	bool file = true;

	g->failed = false;
	for (size_t i = 1; i < a->n; i++) {
		if (!strncmp(a->v[i], "--set=", 6))
			name = a->v[i] + 6;
		else if (!strcmp(a->v[i], "--fs-uuid") || !strcmp(a->v[i], "--label") || !strcmp(a->v[i], "-u") ||
			 !strcmp(a->v[i], "-l"))
			file = false;
	}
	if (file)
		return grub_refuse(g, line, "search opens files on whatever disks there are; use --fs-uuid or --label");
	return grub_set(g, name, NULL);
}

/* [ … ]: comparisons of texts. */
static int do_test(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	size_t n = a->n - 1;
	char *const *v = a->v + 1;
	bool invert = false, holds;

	if (!strcmp(a->v[0], "[") && n && !strcmp(v[n - 1], "]"))
		n--;
	if (n > 1 && !strcmp(v[0], "!")) {
		invert = true;
		v++;
		n--;
	}
	if (n == 3 && (!strcmp(v[1], "=") || !strcmp(v[1], "==")))
		holds = !strcmp(v[0], v[2]);
	else if (n == 3 && !strcmp(v[1], "!="))
		holds = strcmp(v[0], v[2]) != 0;
	else if (n == 2 && !strcmp(v[0], "-n"))
		holds = *v[1] != '\0';
	else if (n == 2 && !strcmp(v[0], "-z"))
		holds = *v[1] == '\0';
	else if (n == 1 && v[0][0] != '-')
		holds = *v[0] != '\0';
	else
		return grub_refuse(g, line, "a test of another kind than of texts is not followed here");
	g->failed = holds == invert;
	return 0;
}

/* setparams 'title' …, with which the source of an entry begins. */
static char *entry_source(const struct grub_args *a, const char *block)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs("setparams", out);
	for (size_t i = 0; i < a->n; i++) {
		fputs(" '", out);
		for (const char *c = a->v[i]; *c; c++)
			*c == '\'' ? fputs("'\\''", out) : fputc(*c, out);
		fputs("'", out);
	}
	fprintf(out, "\n%.*s", (int)strlen(block) - 2, block + 1); /* without the braces */
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* Whether the *i-th argument is an option with a value, which may be the next one; *value is borrowed. */
static bool valued_option(const struct grub_args *a, size_t *i, const char *name, const char **value)
{
	const char *arg = a->v[*i];
	size_t n = strlen(name);

	if (strncmp(arg, name, n) != 0)
		return false;
	if (arg[n] == '=')
		*value = arg + n + 1;
	else if (!arg[n] && *i + 2 < a->n) /* the last argument is the block */
		*value = a->v[++*i];
	else
		return false;
	return true;
}

/* Its positional arguments go to plain, borrowed. */
static int entry_options(struct grub_run *g, const struct grub_args *a, unsigned line, struct grub_args *plain,
			 const char **id)
{
	const char *ignored;

	for (size_t i = 1; i + 1 < a->n; i++) {
		if (valued_option(a, &i, "--id", id) || valued_option(a, &i, "--class", &ignored) ||
		    valued_option(a, &i, "--users", &ignored) || valued_option(a, &i, "--hotkey", &ignored) ||
		    !strcmp(a->v[i], "--unrestricted"))
			continue;
		if (a->v[i][0] == '-')
			return grub_refuse(g, line, "menuentry %.40s is not followed here", a->v[i]);
		plain->v[plain->n++] = a->v[i];
	}
	return 0;
}

static int do_menuentry(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	struct grub_entry *e = &g->entries[g->nentries];
	struct grub_args plain = {.n = 0};
	const char *id = NULL;
	int r = entry_options(g, a, line, &plain, &id);

	g->failed = false;
	if (r)
		return r;
	if (!plain.n || g->nentries == GRUB_ENTRIES_MAX)
		return grub_refuse(g, line, "a menuentry without a title, or one more than are followed");
	*e = (struct grub_entry){.title = strdup(plain.v[0]),
				 .id = strdup(id ? id : plain.v[0]),
				 .source = entry_source(&plain, a->v[a->n - 1]),
				 .line = line,
				 .submenu = a->v[0][0] == 's'};
	g->nentries++;
	return e->title && e->id && e->source ? 0 : ERR_NOMEM;
}

static int measure_file(struct grub_run *g, const char *path, unsigned line)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < g->boot->nfiles; i++) {
		struct grub_file *f = &g->boot->files[i];

		if (strcmp(f->name, name) != 0)
			continue;
		f->used = true;
		return trace_add(g->trace, GRUB_PCR_BINARY, f->digest, path);
	}
	return grub_refuse(g, line, "it boots %.100s, and no file of that name was given", path);
}

static int measure_cmdline(struct grub_run *g, const char *prefix, const struct grub_args *a, size_t from)
{
	char *text = grub_cmdline(a, from);
	int r = text ? grub_measure_text(g, prefix, text) : ERR_NOMEM;

	free(text);
	return r;
}

static int do_multiboot2(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	int r;

	if (a->n < 2 || a->v[1][0] == '-')
		return grub_refuse(g, line, "%s without a file, or with an option", a->v[0]);
	r = measure_file(g, a->v[1], line);
	g->loaded = true;
	g->failed = false;
	return r ? r : measure_cmdline(g, "kernel_cmdline: ", a, 2);
}

static int do_module2(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	size_t file = a->n > 1 && !strcmp(a->v[1], "--nounzip") ? 2 : 1;
	int r;

	if (a->n <= file || a->v[file][0] == '-' || !g->loaded)
		return grub_refuse(g, line, "%s without a file, or before multiboot2", a->v[0]);
	r = measure_file(g, a->v[file], line);
	g->failed = false;
	return r ? r : measure_cmdline(g, "module_cmdline: ", a, file + 1);
}

static int do_boot(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	(void)a;
	if (!g->loaded)
		return grub_refuse(g, line, "boot, and nothing is loaded");
	g->done = true;
	return 0;
}

static int do_nothing(struct grub_run *g, const struct grub_args *a, unsigned line)
{
	(void)line;
	g->failed = !strcmp(a->v[0], "false");
	return 0;
}

static const struct {
	const char *name;
	command *run;
	bool block; /* it takes one */
} commands[] = {
	{"set", do_set, false},
	{"unset", do_unset, false},
	{"search", do_search, false},
	{"[", do_test, false},
	{"test", do_test, false},
	{"menuentry", do_menuentry, true},
	{"submenu", do_menuentry, true},
	{"multiboot2", do_multiboot2, false},
	{"module2", do_module2, false},
	{"boot", do_boot, false},
	/* What follows measures nothing, and changes nothing that is measured. */
	{"setparams", do_nothing, false},
	{"export", do_nothing, false},
	{"echo", do_nothing, false},
	{"true", do_nothing, false},
	{"false", do_nothing, false},
	{"insmod", do_nothing, false}, /* of a module that is in GRUB's image */
	{"serial", do_nothing, false},
	{"terminal_input", do_nothing, false},
	{"terminal_output", do_nothing, false},
	{"clear", do_nothing, false},
	{"sleep", do_nothing, false},
};

static int function_run(struct grub_run *g, const struct grub_function *f, unsigned line)
{
	struct grub_text body = f->body;
	int r;

	if (++g->depth > GRUB_DEPTH_MAX)
		return grub_refuse(g, line, "deeper than is followed");
	r = grub_statements(g, &body, true);
	g->depth--;
	return r;
}

int grub_command(struct grub_run *g, const struct grub_args *a, bool block, unsigned line)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(a->v[0], commands[i].name) && block == commands[i].block)
			return commands[i].run(g, a, line);
	for (size_t i = g->nfunctions; i > 0; i--)
		if (!block && !strcmp(a->v[0], g->functions[i - 1].name))
			return function_run(g, &g->functions[i - 1], line);
	if (!block && strchr(a->v[0], '=') && a->v[0][0] != '=') {
		g->failed = false;
		return assign(g, a->v[0]);
	}
	return grub_refuse(g, line, "what \"%.40s\" does is not followed here", a->v[0]);
}
