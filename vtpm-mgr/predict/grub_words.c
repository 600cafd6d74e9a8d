/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/predict/grub_words.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE_MAX 64u

/* Behind a quoted part that begins at p; end if it is not closed. */
static const char *quoted_end(const char *p, const char *end, unsigned *line)
{
	char quote = *p++;

	for (; p < end && *p != quote; p++) {
		if (*p == '\n')
			++*line;
		if (quote == '"' && *p == '\\' && p + 1 < end)
			p++;
	}
	return p < end ? p + 1 : end;
}

static bool ends_word(char c)
{
	return strchr(" \t\n{}|&;<>", c) != NULL;
}

static enum grub_token word_token(struct grub_text *t, struct grub_word *w)
{
	const char *p = t->p;

	while (p < t->end && !ends_word(*p)) {
		if (*p == '\'' || *p == '"') {
			p = quoted_end(p, t->end, &t->line);
		} else if (*p == '\\' && p + 1 < t->end) {
			t->line += p[1] == '\n';
			p += 2;
		} else if (*p == '$' && p + 1 < t->end && p[1] == '{') {
			while (p < t->end && *p != '}' && *p != '\n')
				p++;
			p += p < t->end && *p == '}';
		} else {
			p++;
		}
	}
	*w = (struct grub_word){ .p = t->p, .n = (size_t)(p - t->p) };
	t->p = p;
	return TOKEN_WORD;
}

static void skip_blanks(struct grub_text *t)
{
	for (;;) {
		if (t->p < t->end && (*t->p == ' ' || *t->p == '\t')) {
			t->p++;
		} else if (t->p + 1 < t->end && t->p[0] == '\\' && t->p[1] == '\n') {
			t->p += 2;
			t->line++;
		} else if (t->p < t->end && *t->p == '#') {
			while (t->p < t->end && *t->p != '\n')
				t->p++;
		} else {
			return;
		}
	}
}

enum grub_token grub_token(struct grub_text *t, struct grub_word *w)
{
	enum grub_token type;

	skip_blanks(t);
	*w = (struct grub_word){ .p = t->p, .n = 1 };
	if (t->p >= t->end)
		return TOKEN_END;
	switch (*t->p) {
	case '\n':
		t->line++;
		type = TOKEN_DELIMITER;
		break;
	case ';':
		type = t->p + 1 < t->end && t->p[1] == ';' ? TOKEN_BAD : TOKEN_DELIMITER;
		break;
	case '{':
		type = TOKEN_OPEN;
		break;
	case '}':
		type = TOKEN_CLOSE;
		break;
	case '|':
	case '&':
	case '<':
	case '>':
		type = TOKEN_BAD;
		break;
	default:
		return word_token(t, w);
	}
	t->p++;
	return type;
}

void grub_args_free(struct grub_args *a)
{
	while (a->n)
		free(a->v[--a->n]);
}

int grub_args_add(struct grub_args *a, char *text)
{
	if (text && a->n < GRUB_ARGS_MAX) {
		a->v[a->n++] = text;
		return 0;
	}
	free(text);
	return text ? ERR_RANGE : ERR_NOMEM;
}

/* A word on its way to arguments. */
struct expansion {
	struct grub_args *a;
	grub_lookup *lookup;
	const void *arg;
	const char **what;
	FILE *out;
	char *text; /* of out */
	size_t len;
	bool quoted; /* it has quotes, so that it is there even if empty */
};

static int argument_begin(struct expansion *x)
{
	x->text = NULL;
	x->out = open_memstream(&x->text, &x->len);
	return x->out ? 0 : ERR_NOMEM;
}

static int argument_end(struct expansion *x)
{
	int r = fclose(x->out) ? ERR_NOMEM : 0;

	x->out = NULL;
	if (!r && (x->len || x->quoted))
		return grub_args_add(x->a, x->text);
	free(x->text);
	return r;
}

/* Outside quotes spaces in a value separate arguments. */
static int put_split(struct expansion *x, const char *value)
{
	int r = 0;

	while (isspace((unsigned char)*value))
		value++;
	while (*value && !r) {
		if (!isspace((unsigned char)*value)) {
			fputc(*value++, x->out);
			continue;
		}
		while (isspace((unsigned char)*value))
			value++;
		if (*value && !(r = argument_end(x)))
			r = argument_begin(x);
	}
	return r;
}

static int refuse(const struct expansion *x, const char *what)
{
	*x->what = what;
	return ERR_INVAL;
}

/* *p is at the "$"; moved behind the name. */
static int put_variable(struct expansion *x, const char **p, const char *end, bool in_quotes)
{
	bool braces = *p + 1 < end && (*p)[1] == '{', unknown = false;
	char name[VARIABLE_MAX + 1];
	const char *value;
	size_t n = 0;

	*p += braces ? 2 : 1;
	for (; *p < end && (isalnum((unsigned char)**p) || **p == '_') && n < VARIABLE_MAX; ++*p)
		name[n++] = **p;
	name[n] = '\0';
	if (!n || isdigit((unsigned char)name[0]) || (braces && (*p >= end || **p != '}')))
		return refuse(x, "a variable of a kind that is not followed");
	*p += braces;
	value = x->lookup(x->arg, name, &unknown);
	if (unknown)
		return refuse(x, "a variable that only GRUB knows the value of");
	if (!value)
		return 0;
	if (!in_quotes)
		return put_split(x, value);
	fputs(value, x->out);
	return 0;
}

/* Between double quotes a backslash stays unless it stands before one of $ " \ or the end of the line. */
static int put_double(struct expansion *x, const char **p, const char *end)
{
	int r = 0;

	for (++*p; !r && *p < end && **p != '"';) {
		if (**p == '$') {
			r = put_variable(x, p, end, true);
		} else if (**p == '\\' && *p + 1 < end && strchr("$\"\\\n", (*p)[1])) {
			if ((*p)[1] != '\n')
				fputc((*p)[1], x->out);
			*p += 2;
		} else {
			fputc(*(*p)++, x->out);
		}
	}
	if (!r && *p >= end)
		return refuse(x, "a quote that is not closed");
	++*p;
	return r;
}

static int put_single(struct expansion *x, const char **p, const char *end)
{
	for (++*p; *p < end && **p != '\''; ++*p)
		fputc(**p, x->out);
	if (*p >= end)
		return refuse(x, "a quote that is not closed");
	++*p;
	return 0;
}

static int put_word(struct expansion *x, const struct grub_word *w)
{
	const char *p = w->p, *end = w->p + w->n;
	int r = 0;

	while (!r && p < end) {
		if (*p == '$' && p + 1 < end && p[1] == '"') {
			r = refuse(x, "a text that GRUB translates");
		} else if (*p == '$') {
			r = put_variable(x, &p, end, false);
		} else if (*p == '"' || *p == '\'') {
			x->quoted = true;
			r = *p == '"' ? put_double(x, &p, end) : put_single(x, &p, end);
		} else if (*p == '\\' && p + 1 < end) {
			if (p[1] != '\n')
				fputc(p[1], x->out);
			p += 2;
		} else {
			fputc(*p++, x->out);
		}
	}
	return r;
}

int grub_expand(const struct grub_word *w, grub_lookup *lookup, const void *arg, struct grub_args *a, const char **what)
{
	struct expansion x = { .a = a, .lookup = lookup, .arg = arg, .what = what };
	int r = argument_begin(&x);

	if (r)
		return r;
	r = put_word(&x, w);
	if (!r)
		return argument_end(&x);
	if (x.out) {
		fclose(x.out);
		free(x.text);
	}
	return r;
}

char *grub_join(const struct grub_args *a, size_t i)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (size_t k = i; k < a->n; k++)
		fprintf(out, "%s%s", k == i ? "" : " ", a->v[k]);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

char *grub_cmdline(const struct grub_args *a, size_t i)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (size_t k = i; k < a->n; k++) {
		bool spaces = strchr(a->v[k], ' ') != NULL;

		fputs(k == i ? "" : " ", out);
		fputs(spaces ? "\"" : "", out);
		for (const char *c = a->v[k]; *c; c++)
			fprintf(out, "%s%c", strchr("\\'\"", *c) ? "\\" : "", *c);
		fputs(spaces ? "\"" : "", out);
	}
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}
