/* SPDX-License-Identifier: BSD-2-Clause */
/* The table that people read and the JSON that programs read, from the lines of results. */
#include <math.h>
#include <string.h>

#include "tests/bench/bench.h"

enum goal { NONE, AT_MOST, AT_LEAST, BELOW, ABOVE, ZERO }; /* BELOW, ABOVE: a number; ZERO: as good as */

/* What a figure is, and what it must reach: factor (a number), or factor times a column of the figure other (NULL: of itself). */
static const struct figure {
	const char *key, *what;
	enum goal goal;
	double factor;
	enum column of;
	const char *other;
	const char *plus; /* a figure whose swtpm column is added before the factor */
} figures[] = {
	{ "getrandom_us", "GetRandom(32), round trip", AT_MOST, 1, SWTPM, NULL, NULL },
	{ "pcr_read_us", "PCR_Read, one SHA-256 PCR", AT_MOST, 1, SWTPM, NULL, NULL },
	{ "pcr_extend_us", "PCR_Extend, PCR 16, SHA-256", AT_MOST, 1, SWTPM, NULL, NULL },
	{ "checkpoint_us", "  what a whole checkpoint adds", BELOW, 15, 0, NULL, NULL },
	{ "checkpoint_record_us", "  what a record of a command adds", BELOW, 15, 0, NULL, NULL },
	{ "spawn_us", "power-on until the first answer", AT_MOST, 0.25, SWTPM, NULL, NULL },
	{ "spawn_reply_us", "  until Start is answered", NONE, 0, 0, NULL, NULL },
	{ "create_ms", "create (from the pool)", AT_MOST, 0.05, SWTPM, NULL, NULL },
	{ "create_pool_ms", "create from the pool", AT_MOST, 0.05, SWTPM, NULL, NULL },
	{ "create_cold_ms", "create without a pool", AT_MOST, 0.5, SWTPM, NULL, NULL },
	{ "nv_write_us", "NV_Write, 64 bytes, durable", AT_MOST, 1.2, FLOOR, NULL, "nv_extend_us" },
	{ "nv_extend_us", "  NV_Extend of a chip like ours", NONE, 0, 0, NULL, NULL },
	{ "nv_write_engine_us", "  the engine's part of it", NONE, 0, 0, NULL, NULL },
	{ "nv_write_1_guest_per_s", "NV_Writes/s, one guest", NONE, 0, 0, NULL, NULL },
	{ "nv_write_64_guests_per_s", "NV_Writes/s, 64 guests", AT_LEAST, 8, OURS, "nv_write_1_guest_per_s", NULL },
	{ "start_1_vtpm_ms", "manager's start, one vTPM", NONE, 0, 0, NULL, NULL },
	{ "start_10000_vtpms_ms", "  10,000 vTPMs, verified", BELOW, 1000, 0, NULL, NULL },
	{ "ptpm_nv_writes_per_hour", "flash writes of the TPM, see bench.md", NONE, 0, 0, NULL, NULL },
	{ "attest_1_guest_per_s", "evidence/s, one guest", NONE, 0, 0, NULL, NULL },
	{ "attest_16_guests_per_s", "  16 guests", NONE, 0, 0, NULL, NULL },
	{ "attest_256_guests_per_s", "  256 guests", ABOVE, 1000, 0, NULL, NULL },
	{ "ptpm_quotes_per_attest_1", "  quotes of the chip for each, one", NONE, 0, 0, NULL, NULL },
	{ "ptpm_quotes_per_attest_16", "  16 guests", NONE, 0, 0, NULL, NULL },
	{ "ptpm_quotes_per_attest_256", "  256 guests", BELOW, 0.02, 0, NULL, NULL },
	{ "verify_per_s", "  verified/s, one core", ABOVE, 1000, 0, NULL, NULL },
	{ "ptpm_commands_per_quote", "  commands of the chip for a quote", NONE, 0, 0, NULL, NULL },
	{ "cancel_ms", "cancel of an RSA-2048 key", BELOW, 50, 0, NULL, NULL },
	{ "qemu_getrandom_us", "in a guest of QEMU: GetRandom(16)", AT_MOST, 1.05, SWTPM, NULL, NULL },
	{ "qemu_pcr_extend_us", "  PCR_Extend", AT_MOST, 1.05, SWTPM, NULL, NULL },
	{ "qemu_nv_write_us", "  NV_Write, 32 bytes", AT_MOST, 1.05, SWTPM, NULL, NULL },
	{ "qemu_quote_us", "  Quote, ECDSA P-256", AT_MOST, 1.05, SWTPM, NULL, NULL },
	{ "pss_kib", "memory of one idle instance", AT_MOST, 0.5, SWTPM, NULL, NULL },
	{ "pss_shared_kib", "  manager, keeper and spawner", NONE, 0, 0, NULL, NULL },
	{ "idle_cpu_pct", "CPU of 100 idle ones, % of a core", ZERO, 0.05, 0, NULL, NULL },
};
#define FIGURES (sizeof(figures) / sizeof(figures[0]))

struct numbers {
	double v[FIGURES][COLUMNS]; /* NAN: not measured */
};

static size_t figure_find(const char *key)
{
	size_t i;

	for (i = 0; i < FIGURES; i++) {
		if (strcmp(figures[i].key, key) == 0)
			break;
	}
	return i;
}

static int read_results(const char *path, struct numbers *n)
{
	FILE *f = fopen(path, "re");
	char key[64];
	unsigned column;
	double v;
	size_t i;

	for (i = 0; i < FIGURES; i++)
		n->v[i][OURS] = n->v[i][SWTPM] = n->v[i][FLOOR] = NAN;
	if (!f)
		return -1;
	while (fscanf(f, "%63s %u %lf", key, &column, &v) == 3) {
		i = figure_find(key);
		if (i < FIGURES && column < COLUMNS)
			n->v[i][column] = v;
	}
	fclose(f);
	return 0;
}

static bool measured(const struct numbers *n, size_t i)
{
	return !isnan(n->v[i][OURS]) || !isnan(n->v[i][SWTPM]) || !isnan(n->v[i][FLOOR]);
}

static void number(char out[static 16], double v)
{
	if (isnan(v))
		snprintf(out, 16, "-");
	else
		snprintf(out, 16, v < 1 ? "%.3f" : v < 100 ? "%.2f" : "%.0f", v);
}

static void verdict(const struct numbers *n, size_t i, char target[static 32], const char **word)
{
	const struct figure *f = &figures[i];
	size_t of = f->other ? figure_find(f->other) : i;
	bool fixed = f->goal == ZERO || f->goal == BELOW || f->goal == ABOVE, least = f->goal == AT_LEAST || f->goal == ABOVE;
	double more = f->plus ? n->v[figure_find(f->plus)][SWTPM] : 0;
	double limit = fixed ? f->factor : f->factor * (n->v[of][f->of] + more), v = n->v[i][OURS];
	char text[16];

	target[0] = '\0';
	*word = "";
	if (f->goal == NONE)
		return;
	number(text, limit);
	snprintf(target, 32, "%s %s", least ? ">=" : f->goal == BELOW ? "<" : "<=", f->goal == ZERO ? "0.0" : text);
	if (isnan(limit) || isnan(v))
		*word = "?";
	else
		*word = (least ? v >= limit : fixed ? v < limit : v <= limit) ? "hit" : "MISS";
}

static void print_table(const struct numbers *n)
{
	printf("\n%-25s %-34s %10s %10s %10s   %-12s\n", "", "", "ours", "swtpm", "floor", "target");
	for (size_t i = 0; i < FIGURES; i++) {
		char text[COLUMNS][16], target[32];
		const char *word;

		if (!measured(n, i))
			continue;
		for (enum column c = OURS; c < COLUMNS; c++)
			number(text[c], n->v[i][c]);
		verdict(n, i, target, &word);
		printf("%-25s %-34s %10s %10s %10s   %-12s %s\n", figures[i].key, figures[i].what, text[OURS],
		       text[SWTPM], text[FLOOR], target, word);
	}
	printf("\nswtpm's NV_Write is not durable: it does not sync. The floor of nv_write is one SQLite commit of\n"
	       "the same bytes, that of the others libtpms in this process. The vTPMs measured have no quota of\n"
	       "durable changes. docs/bench.md says what each figure is.\n");
}

static json_t *json_number(double v)
{
	return isnan(v) ? json_null() : json_real(round(v * 1000) / 1000);
}

int report(const char *results, const char *json)
{
	json_t *root = json_object();
	struct numbers n;
	int err;

	if (read_results(results, &n)) {
		json_decref(root);
		return -1;
	}
	for (size_t i = 0; i < FIGURES; i++) {
		if (measured(&n, i))
			json_object_set_new(root, figures[i].key,
					    json_pack("{s:o, s:o, s:o}", "ours", json_number(n.v[i][OURS]), "swtpm",
						      json_number(n.v[i][SWTPM]), "floor", json_number(n.v[i][FLOOR])));
	}
	print_table(&n);
	err = json_dump_file(root, json, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	json_decref(root);
	return err;
}
