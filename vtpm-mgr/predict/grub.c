/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/predict/grub.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "lib/util.h"
#include "vtpm-mgr/predict/grub_run.h"

/* The line of grub.cfg that is the line-th of those that cfg_text leaves. */
static unsigned cfg_line(const struct grub_boot *boot, unsigned line)
{
	const char *p = boot->cfg, *end = p + boot->cfg_len;
	unsigned at = 1;

	for (; p < end; at++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		if (*p != '#' && --line == 0)
			break;
		if (!newline)
			break;
		p = newline + 1;
	}
	return at;
}

int grub_refuse(struct grub_run *g, unsigned line, const char *fmt, ...)
{
	size_t n = (size_t)snprintf(g->why, GRUB_WHY_MAX, "line %u: ", cfg_line(g->boot, line));
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->why + n, GRUB_WHY_MAX - n, fmt, ap);
	va_end(ap);
	return ERR_INVAL;
}

static bool is_word(const struct grub_word *w, const char *text)
{
	return w->n == strlen(text) && !memcmp(w->p, text, w->n);
}

/* Behind the "}" that closes a block whose "{" has been read. *body: what is between. */
static int block_skip(struct grub_run *g, struct grub_text *t, struct grub_text *body)
{
	unsigned depth = 1, line = t->line;
	struct grub_word w;

	*body = *t;
	for (;;) {
		switch (grub_token(t, &w)) {
		case TOKEN_OPEN:
			depth++;
			break;
		case TOKEN_CLOSE:
			if (--depth)
				break;
			body->end = w.p;
			return 0;
		case TOKEN_END:
		case TOKEN_BAD:
			return grub_refuse(g, line, "a block that is not closed, or holds what is not followed here");
		default:
			break;
		}
	}
}

/* What stands between the braces is an argument, as it is written. */
static int block_add(struct grub_run *g, struct grub_text *t, struct grub_args *a)
{
	struct grub_text body;
	char *text;
	int r = block_skip(g, t, &body);

	if (r)
		return r;
	if (asprintf(&text, "{%.*s}", (int)(body.end - body.p), body.p) < 0)
		return ERR_NOMEM;
	return grub_args_add(a, text);
}

static int word_add(struct grub_run *g, const struct grub_word *w, unsigned line, struct grub_args *a)
{
	const char *what = "";
	int r = grub_expand(w, grub_get, g, a, &what);

	return r == ERR_INVAL ? grub_refuse(g, line, "%.*s: %s", (int)(w->n > 80 ? 80 : w->n), w->p, what) : r;
}

static int command_run(struct grub_run *g, const struct grub_args *a, bool block, unsigned line)
{
	char *text;
	int r;

	if (!a->n)
		return 0;
	if (++g->commands > GRUB_COMMANDS_MAX)
		return grub_refuse(g, line, "more commands than are followed");
	text = grub_join(a, 0);
	r = text ? grub_measure_text(g, "grub_cmd: ", text) : ERR_NOMEM;
	free(text);
	return r ? r : grub_command(g, a, block, line);
}

/* A command up to its delimiter, which is read, too. */
static int statement_command(struct grub_run *g, struct grub_text *t, struct grub_word w, bool run)
{
	struct grub_args a = {.n = 0};
	unsigned line = t->line;
	enum grub_token type = TOKEN_WORD;
	bool block = false;
	int r = 0;

	for (; !r && type != TOKEN_DELIMITER && type != TOKEN_END; type = r ? TOKEN_END : grub_token(t, &w)) {
		if (block || type == TOKEN_CLOSE || type == TOKEN_BAD)
			r = grub_refuse(g, line, "\"%.*s\" is not followed here", (int)w.n, w.p);
		else if (type == TOKEN_WORD && run)
			r = word_add(g, &w, line, &a);
		else if (type == TOKEN_OPEN)
			r = block_add(g, t, &a);
		block = type == TOKEN_OPEN;
	}
	if (!r && run)
		r = command_run(g, &a, block, line);
	grub_args_free(&a);
	return r;
}

/* function NAME { … } */
static int statement_function(struct grub_run *g, struct grub_text *t, bool run)
{
	struct grub_function f = {.name = NULL};
	struct grub_word name, w;
	unsigned line = t->line;
	enum grub_token type;
	int r;

	if (grub_token(t, &name) != TOKEN_WORD)
		return grub_refuse(g, line, "a function without a name");
	do
		type = grub_token(t, &w);
	while (type == TOKEN_DELIMITER && *w.p == '\n');
	if (type != TOKEN_OPEN)
		return grub_refuse(g, line, "a function without a block");
	r = block_skip(g, t, &f.body);
	if (r || !run)
		return r;
	if (g->nfunctions == GRUB_FUNCTIONS_MAX)
		return grub_refuse(g, line, "more functions than are followed");
	f.name = strndup(name.p, name.n);
	if (!f.name)
		return ERR_NOMEM;
	g->functions[g->nfunctions++] = f;
	return 0;
}

static int statements_until(struct grub_run *g, struct grub_text *t, bool run, const char *const *ends,
			    struct grub_word *end);

/* Behind "if" or "elif". */
static int statement_if(struct grub_run *g, struct grub_text *t, bool run)
{
	static const char *const then[] = {"then", NULL}, *const rest[] = {"elif", "else", "fi", NULL},
				 *const fi[] = {"fi", NULL};
	bool taken = false, holds;
	struct grub_word w;
	int r;

	do {
		r = statements_until(g, t, run && !taken, then, &w);
		holds = run && !taken && !g->failed;
		if (!r)
			r = statements_until(g, t, holds, rest, &w);
		taken |= holds;
	} while (!r && is_word(&w, "elif"));
	if (!r && is_word(&w, "else"))
		r = statements_until(g, t, run && !taken, fi, &w);
	return r;
}

static int statement(struct grub_run *g, struct grub_text *t, const struct grub_word *w, bool run)
{
	static const char *const unknown[] = {"for", "while", "until", "case", "select", "[[", "]]", "do", "done",
					      "then", "elif", "else", "fi", "in", "esac"};
	int r;

	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		if (is_word(w, unknown[i]))
			return grub_refuse(g, t->line, "\"%s\" is not followed here", unknown[i]);
	if (is_word(w, "function"))
		return statement_function(g, t, run);
	if (!is_word(w, "if"))
		return statement_command(g, t, *w, run);
	if (++g->depth > GRUB_DEPTH_MAX)
		return grub_refuse(g, t->line, "deeper than is followed");
	r = statement_if(g, t, run);
	g->depth--;
	return r;
}

/* ends: words that end it, where a command could begin; NULL: only the end of the text does. */
static int statements_until(struct grub_run *g, struct grub_text *t, bool run, const char *const *ends,
			    struct grub_word *end)
{
	unsigned line = t->line;
	int r = 0;

	while (!r && !g->done) {
		struct grub_word w;
		enum grub_token type = grub_token(t, &w);

		if (type == TOKEN_DELIMITER)
			continue;
		if (type == TOKEN_END)
			return ends ? grub_refuse(g, line, "\"%s\" is missing", ends[0]) : 0;
		if (type != TOKEN_WORD)
			return grub_refuse(g, t->line, "\"%.*s\" is not followed here", (int)w.n, w.p);
		for (size_t i = 0; ends && ends[i]; i++) {
			if (is_word(&w, ends[i])) {
				*end = w;
				return 0;
			}
		}
		r = statement(g, t, &w, run);
	}
	if (!r)
		*end = (struct grub_word){.p = "fi", .n = 2}; /* booted: nothing more is looked at */
	return r;
}

int grub_statements(struct grub_run *g, struct grub_text *t, bool run)
{
	struct grub_word end;

	return statements_until(g, t, run, NULL, &end);
}

/* As GRUB reads it (normal/main.c): without carriage returns and without lines that begin with "#". */
static char *cfg_text(const struct grub_boot *boot, size_t *len)
{
	char *text = malloc(boot->cfg_len + 1);
	bool fresh = true, comment = false;
	size_t n = 0;

	for (size_t i = 0; text && i < boot->cfg_len; i++) {
		char c = boot->cfg[i];

		if (c == '\r')
			continue;
		if (fresh)
			comment = c == '#';
		fresh = c == '\n';
		if (!comment)
			text[n++] = c;
	}
	if (text && !fresh && !comment)
		text[n++] = '\n';
	*len = n;
	return text;
}

static int environment(struct grub_run *g)
{
	static const char *const grubs_own[] = {"root", "prefix", "cmdpath", "config_file", "config_directory", "?", "lang"};
	static const char *const features[] = {
		"feature_chainloader_bpb", "feature_ntldr", "feature_platform_search_hint", "feature_default_font_path",
		"feature_all_video_module", "feature_menuentry_id", "feature_menuentry_options", "feature_200_final",
		"feature_nativedisk_cmd", "feature_timeout_style"};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_LEN(grubs_own); i++)
		r = grub_set(g, grubs_own[i], NULL);
	for (size_t i = 0; !r && i < ARRAY_LEN(features); i++)
		r = grub_set(g, features[i], "y");
	if (!r)
		r = grub_set(g, "grub_cpu", "x86_64");
	return r ? r : grub_set(g, "grub_platform", "efi");
}

/* GRUB: normal/menu.c, get_entry_number; one that is not there is the first. */
static const struct grub_entry *entry_find(const struct grub_run *g, const char *which)
{
	char *end;
	unsigned long n = strtoul(which, &end, 0);

	if (end != which)
		return &g->entries[n < g->nentries ? n : 0];
	for (size_t i = 0; i < g->nentries; i++)
		if (!strcmp(g->entries[i].title, which) || !strcmp(g->entries[i].id, which))
			return &g->entries[i];
	return g->boot->entry ? NULL : &g->entries[0];
}

static int entry_run(struct grub_run *g)
{
	const struct grub_entry *e;
	struct grub_text t;
	bool unknown = false;
	const char *which = g->boot->entry ? g->boot->entry : grub_get(g, "default", &unknown);
	int r;

	if (!g->nentries)
		return grub_refuse(g, 1, "there is no menuentry");
	if (unknown)
		return grub_refuse(g, 1, "the default entry is known to GRUB alone; name one with --entry");
	e = entry_find(g, which ? which : "0");
	if (!e)
		return grub_refuse(g, 1, "there is no entry \"%.60s\"", which);
	if (e->submenu)
		return grub_refuse(g, e->line, "entry \"%.60s\" is a menu of its own, which is not followed here", e->title);
	t = (struct grub_text){.p = e->source, .end = e->source + strlen(e->source), .line = e->line - 1};
	r = grub_statements(g, &t, true);
	if (!r && !g->loaded)
		r = grub_refuse(g, e->line, "entry \"%.60s\" loads nothing", e->title);
	return r;
}

static void run_free(struct grub_run *g)
{
	for (size_t i = 0; i < g->nvariables; i++) {
		free(g->variables[i].name);
		free(g->variables[i].value);
	}
	for (size_t i = 0; i < g->nfunctions; i++)
		free(g->functions[i].name);
	for (size_t i = 0; i < g->nentries; i++) {
		free(g->entries[i].title);
		free(g->entries[i].id);
		free(g->entries[i].source);
	}
	free(g);
}

int grub_run(struct grub_boot *boot, struct trace *t, char why[static GRUB_WHY_MAX])
{
	struct grub_run *g = calloc(1, sizeof(*g));
	uint8_t digest[32];
	struct grub_text text;
	char *cfg = NULL;
	size_t len;
	int r = 0;

	snprintf(why, GRUB_WHY_MAX, "out of memory");
	if (!g)
		return ERR_NOMEM;
	*g = (struct grub_run){.boot = boot, .trace = t, .why = why};
	if (boot->cfg_len > GRUB_CFG_MAX || memchr(boot->cfg, '\0', boot->cfg_len))
		r = grub_refuse(g, 1, "it is no text, or too long");
	else if (EVP_Digest(boot->cfg, boot->cfg_len, digest, NULL, EVP_sha256(), NULL) != 1)
		r = ERR_CRYPTO;
	if (!r)
		r = trace_add(t, GRUB_PCR_BINARY, digest, "grub.cfg");
	if (!r)
		r = environment(g);
	cfg = r ? NULL : cfg_text(boot, &len);
	if (!r && !cfg)
		r = ERR_NOMEM;
	if (!r) {
		text = (struct grub_text){.p = cfg, .end = cfg + len, .line = 1};
		r = grub_statements(g, &text, true);
	}
	if (!r && !g->done)
		r = entry_run(g);
	run_free(g);
	free(cfg);
	return r;
}
