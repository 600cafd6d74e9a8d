/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"

#define FINGERPRINT_LEN (2 * EVP_MAX_MD_SIZE + 1)

int ctl_fail(struct ctl_error *e, int code, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	if (e->name[0] == '\0')
		snprintf(e->name, sizeof(e->name), "org.vtpm.ctl.%s", status == EXIT_USAGE ? "Usage" : "Failed");
	e->code = code;
	e->status = status;
	return code;
}

/* Text for a terminal: what is not printable ASCII becomes \xNN, so that data cannot move a cursor. */
static void put_text(FILE *f, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x20 && c < 0x7f)
			fputc(c, f);
		else
			fprintf(f, "\\x%02x", c);
	}
}

void ctl_put_text(const char *s)
{
	put_text(stdout, s);
}

/* A PEM block, which has lines. */
int put_pem(const char *pem)
{
	for (const char *s = pem; *s; s++) {
		if (*s == '\n' || (*s >= 0x20 && *s < 0x7f))
			putchar(*s);
	}
	if (pem[0] && pem[strlen(pem) - 1] != '\n')
		putchar('\n');
	return EXIT_OK;
}

const char *str(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

long long num(json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

bool flag(json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

void line(const char *label, const char *value)
{
	if (value[0] == '\0')
		return;
	printf("%-12s  ", label);
	put_text(stdout, value);
	putchar('\n');
}

void linef(const char *label, const char *fmt, ...)
{
	char value[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	line(label, value);
}

void ctl_print_error(const struct ctl_error *e, bool json)
{
	json_t *o;

	fprintf(stderr, "%s: ", program_invocation_short_name); /* vtpmctl, or another client of the manager */
	put_text(stderr, e->message);
	fputc('\n', stderr);
	if (!json)
		return;
	o = json_pack("{s:s, s:s, s:i}", "error", e->name, "message", e->message, "code", e->code);
	if (o)
		print_json(o);
	else /* the message is not UTF-8 */
		printf("{\"error\": \"%s\", \"message\": \"%s\", \"code\": %d}\n", e->name, err_text(e->code), e->code);
	json_decref(o);
}

int print_json(json_t *value)
{
	char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;

	if (!text)
		return EXIT_FAILED;
	puts(text);
	free(text);
	return EXIT_OK;
}

int print_nothing(const struct ctl_args *a, json_t *params)
{
	(void)a;
	(void)params;
	return EXIT_OK;
}

/* SHA-256 over the DER inside a PEM block, as "openssl x509 -fingerprint -sha256" counts it. */
static bool fingerprint(const char *pem, char out[static FINGERPRINT_LEN])
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	char *name = NULL;
	char *header = NULL;
	unsigned char *der = NULL;
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	long len = 0;
	bool ok = bio && PEM_read_bio(bio, &name, &header, &der, &len) == 1 &&
		  EVP_Digest(der, (size_t)len, md, &n, EVP_sha256(), NULL) == 1 &&
		  hex_encode(md, n, out, FINGERPRINT_LEN) == 0;

	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	BIO_free(bio);
	return ok;
}

static void print_key(const char *label, json_t *key)
{
	const char *cert = str(key, "certificate");
	char fp[FINGERPRINT_LEN];
	bool has = fingerprint(cert[0] ? cert : str(key, "public_pem"), fp);

	linef(label, "%s, %s SHA-256 %s", str(key, "kind"), cert[0] ? "certificate" : "public key", has ? fp : "(unreadable)");
}

static void print_keys(json_t *vtpm)
{
	const char *state = str(vtpm, "certificates");
	json_t *ek;
	size_t i;

	json_array_foreach(json_object_get(vtpm, "ek"), i, ek)
		print_key("ek", ek);
	if (json_object_get(vtpm, "ak"))
		print_key("ak", json_object_get(vtpm, "ak"));
	else if (strcmp(state, "issued") == 0 && strcmp(str(vtpm, "state"), "quarantined") != 0)
		linef("ak", "none: its TPM had no room for it when it was imported; make some, stop it, and vtpmctl certify %s", str(vtpm, "name"));
	if (strcmp(state, "revoked") == 0)
		linef("certificates", "they are revoked; stop it, and vtpmctl certify %s", str(vtpm, "name"));
}

int print_created(const struct ctl_args *a, json_t *params)
{
	json_t *v = json_object_get(params, "vtpm");

	(void)a;
	line("name", str(v, "name"));
	line("uuid", str(v, "uuid"));
	line("group", str(v, "group"));
	print_keys(v);
	return EXIT_OK;
}

/* Also what is the operator's to do now: two copies of one TPM are in the world. */
int print_imported(const struct ctl_args *a, json_t *params)
{
	json_t *v = json_object_get(params, "vtpm");

	print_created(a, params);
	line("for QEMU", str(v, "swtpm"));
	puts("\nNow give the virtual machine that socket in the place of swtpm's, and see that it starts.");
	put_text(stdout, a->swtpm);
	puts(" is as it was. From the machine's next start on it is an old state: whoever starts\n"
	     "swtpm on it undoes what has happened since, tries at a PIN included. Destroy it, or keep it as you would\n"
	     "keep the keys of the machine's disks.");
	return EXIT_OK;
}

/* Width of the widest value of a column, its title included; escaped text may be wider and then is not aligned. */
static int width(json_t *list, const char *key, const char *title)
{
	size_t max = strlen(title);
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		size_t n = strlen(str(v, key));

		max = n > max ? n : max;
	}
	return max < 200 ? (int)max : 200;
}

static void cell(const char *s, int w)
{
	put_text(stdout, s);
	printf("%*s  ", strlen(s) < (size_t)w ? w - (int)strlen(s) : 0, "");
}

int print_list(const struct ctl_args *a, json_t *params)
{
	json_t *list = json_object_get(params, "vtpms");
	int name = width(list, "name", "NAME");
	int group = width(list, "group", "GROUP");
	json_t *v;
	size_t i;

	(void)a;
	if (json_array_size(list) == 0)
		return EXIT_OK;
	printf("%-*s  %-36s  %-*s  %-11s  %s\n", name, "NAME", "UUID", group, "GROUP", "STATE", "CHANGES");
	json_array_foreach(list, i, v)
	{
		cell(str(v, "name"), name);
		cell(str(v, "uuid"), 36);
		cell(str(v, "group"), group);
		cell(str(v, "state"), 11);
		printf("%lld%s\n", num(v, "version"), flag(v, "orphaned") ? "  orphaned" : "");
	}
	return EXIT_OK;
}

/* Keys that the journal does not vouch for are not shown. */
static int no_such_key(json_t *vtpm, const char *what)
{
	if (strcmp(str(vtpm, "state"), "quarantined") == 0) {
		fprintf(stderr, "vtpmctl: %s is quarantined: %s\n", str(vtpm, "name"), str(vtpm, "reason"));
		return EXIT_QUARANTINED;
	}
	fprintf(stderr, "vtpmctl: it has no %s\n", what);
	return EXIT_NOT_FOUND;
}

/* The only thing that was asked for: one key's certificate or public key. */
static int print_ek_pem(json_t *vtpm, const char *kind, const char *member)
{
	json_t *ek;
	size_t i;

	json_array_foreach(json_object_get(vtpm, "ek"), i, ek)
	{
		if (strcmp(str(ek, "kind"), kind) == 0 && str(ek, member)[0])
			return put_pem(str(ek, member));
	}
	return no_such_key(vtpm, strcmp(member, "certificate") == 0 ? "such certificate" : "such key");
}

static int print_ak_pem(json_t *vtpm, const char *member)
{
	const char *pem = str(json_object_get(vtpm, "ak"), member);

	if (pem[0])
		return put_pem(pem);
	return no_such_key(vtpm, strcmp(member, "certificate") == 0 ? "attestation key, or no certificate for it; \"vtpmctl certify\" makes it"
								     : "attestation key; \"vtpmctl certify\" makes it");
}

/* What becomes of an older saved state, and what to do if that is not what is wanted. */
static void print_snapshots(json_t *v)
{
	if (strcmp(str(v, "snapshots"), "allow") == 0)
		line("snapshots", "allow: QEMU may bring an older saved state back, and the TPM forgets what happened since");
	else
		linef("snapshots", "refuse: a saved state is resumed once, and only if nothing has happened since; to permit older ones, "
				   "stop it and vtpmctl set %s --snapshots allow", str(v, "name"));
	if (num(v, "rollbacks"))
		linef("went back", "%lld times to an older state; see the audit log", num(v, "rollbacks"));
}

int print_show(const struct ctl_args *a, json_t *params)
{
	json_t *v = json_object_get(params, "vtpm");

	if (a->ek_cert)
		return print_ek_pem(v, a->ek_cert, "certificate");
	if (a->ek_public)
		return print_ek_pem(v, a->ek_public, "public_pem");
	if (a->ak)
		return print_ak_pem(v, a->ak);
	line("name", str(v, "name"));
	line("uuid", str(v, "uuid"));
	line("group", str(v, "group"));
	line("state", str(v, "state"));
	line("reason", str(v, "reason"));
	line("mode", str(v, "mode"));
	if (num(v, "discontinuities"))
		linef("continuity", "%lld times a loss or rollback of its last changes could not be ruled out",
		      num(v, "discontinuities"));
	if (flag(v, "held"))
		linef("held", "its guest does not notice when the manager ends");
	if (num(v, "replacements"))
		linef("replaced", "%lld times its backend was killed and another one went on", num(v, "replacements"));
	line("created", str(v, "created"));
	linef("changes", "%lld", num(v, "version"));
	linef("stored", "%lld bytes sealed, at most %lld of state", num(v, "sealed_bytes"), num(v, "state_max"));
	if (num(v, "commit_rate"))
		linef("commit rate", "at most %lld durable changes a second", num(v, "commit_rate"));
	linef("locality", "at most %lld", num(v, "locality_max"));
	print_snapshots(v);
	if (flag(v, "key_due"))
		linef("key", "is replaced when it is powered on, or changes: the root of its group was rotated");
	if (json_is_integer(json_object_get(v, "user")))
		linef("user", "uid %lld", num(v, "user"));
	line("ring", str(v, "ring"));
	line("for QEMU", str(v, "swtpm"));
	line("machine", str(v, "machine"));
	if (flag(v, "orphaned"))
		line("orphaned", "a newer TPM was set up for that machine; \"vtpmctl destroy\" if this one is not wanted any more");
	if (json_is_integer(json_object_get(v, "qemu_uid")))
		linef("in use by", "a QEMU of uid %lld", num(v, "qemu_uid"));
	if (json_is_integer(json_object_get(v, "waiting_uid")))
		linef("waiting", "a QEMU of uid %lld, to take over", num(v, "waiting_uid"));
	line("QEMU refused", str(v, "refusal"));
	line("launch", str(v, "launch"));
	if (str(v, "launch_digest")[0])
		linef("launched", "digest %s%s%s", str(v, "launch_digest"), flag(v, "launch_allowed") ? "" : ", not allowed",
		      flag(v, "launch_waits") ? ", waiting for its guest" : "");
	if (json_is_integer(json_object_get(v, "domain")))
		linef("in use by", "domain %lld of Xen", num(v, "domain"));
	if (json_is_true(json_object_get(v, "announced")))
		line("announced", "the next domain with its uuid goes on with it as it is");
	print_keys(v);
	return EXIT_OK;
}

int print_quarantine(const struct ctl_args *a, json_t *params)
{
	json_t *list = json_object_get(params, "vtpms");
	int name = width(list, "name", "NAME");
	json_t *v;
	size_t i;

	(void)a;
	if (str(params, "store")[0]) {
		put_text(stdout, str(params, "store"));
		putchar('\n');
	}
	json_array_foreach(list, i, v)
	{
		cell(str(v, "name"), name);
		put_text(stdout, str(v, "reason"));
		putchar('\n');
	}
	return EXIT_OK;
}

int print_started(const struct ctl_args *a, json_t *params)
{
	(void)a;
	put_text(stdout, str(params, "ring"));
	putchar('\n');
	return EXIT_OK;
}

int print_ca(const struct ctl_args *a, json_t *params)
{
	(void)a;
	return put_pem(str(params, "certificate"));
}

static void print_one_group(json_t *g, int w)
{
	json_t *pcr;
	size_t i;

	cell(str(g, "name"), w);
	cell(!flag(g, "open") ? "not open" : flag(g, "locked") ? "locked" : "open", 8);
	cell(str(g, "mode"), 7);
	cell(str(g, "policy"), 6);
	printf("PCRs ");
	json_array_foreach(json_object_get(g, "pcrs"), i, pcr)
		printf("%s%lld", i ? "," : "", (long long)json_integer_value(pcr));
	if (flag(g, "insecure_pcrs"))
		printf(" (insecure: PCRs that were never extended are accepted)");
	if (flag(g, "share"))
		printf(" and a second share");
	if (str(g, "reason")[0]) {
		printf(": ");
		put_text(stdout, str(g, "reason"));
	}
	putchar('\n');
}

int print_group(const struct ctl_args *a, json_t *params)
{
	(void)a;
	print_one_group(json_object_get(params, "group"), 0);
	return EXIT_OK;
}

int print_groups(const struct ctl_args *a, json_t *params)
{
	json_t *list = json_object_get(json_object_get(params, "status"), "groups");
	int w = width(list, "name", "");
	json_t *g;
	size_t i;

	(void)a;
	json_array_foreach(list, i, g) print_one_group(g, w);
	return EXIT_OK;
}

static void print_tpm(json_t *tpm)
{
	line("TPM", flag(tpm, "hardware_backed") ? "hardware"
						 : "not hardware-backed: whoever is root can read and replace it");
	linef("TPM kind", "%s, %s %s, firmware %s", str(tpm, "kind"), str(tpm, "manufacturer"), str(tpm, "vendor"),
	      str(tpm, "firmware"));
	line("TPM state", str(tpm, "state"));
	line("TPM reason", str(tpm, "reason"));
	line("TPM tcti", str(tpm, "tcti"));
}

static void print_continuity(json_t *c)
{
	json_t *wear = json_object_get(c, "wear");

	line("continuity", str(c, "state"));
	line("reason", str(c, "reason"));
	line("found", str(c, "found"));
	if (str(c, "anchor_a")[0])
		linef("anchors", "%s %s, owner hierarchy: %s", str(c, "anchor_a"), str(c, "anchor_v"), str(c, "owner"));
	if (num(c, "last_row"))
		linef("journal", "row %lld, anchored up to row %lld%s%s", num(c, "last_row"), num(c, "anchored_row"),
		      str(c, "dirty_since")[0] ? ", rows that are not since " : "", str(c, "dirty_since"));
	linef("wear", "%lld writes to the TPM's flash today, %lld a day in the budget, %lld left, %lld in all",
	      num(wear, "today"), num(wear, "per_day"), num(wear, "left"), num(wear, "total"));
}

static void print_hold(json_t *h)
{
	if (!h)
		line("hold", "none: guests do not outlive this manager");
	else if (num(h, "waiting"))
		linef("hold", "manager %lld; %lld vTPMs of the last one are not taken over yet", num(h, "generation"), num(h, "waiting"));
	else
		linef("hold", "manager %lld under vtpm-hold, which keeps guests when it ends", num(h, "generation"));
}

int print_status(const struct ctl_args *a, json_t *params)
{
	json_t *s = json_object_get(params, "status");
	json_t *warning;
	size_t i;

	line("vtpm-mgr", str(s, "version"));
	print_tpm(json_object_get(s, "tpm"));
	line("store", str(s, "store"));
	print_continuity(json_object_get(s, "continuity"));
	linef("vTPMs", "%lld: %lld running, %lld quarantined", num(s, "vtpms"), num(s, "running"),
	      num(s, "quarantined"));
	if (num(s, "keys_due"))
		linef("keys", "%lld vTPMs get another key, for the root of their group was rotated: when they are powered on, or change",
		      num(s, "keys_due"));
	linef("pool", "%lld of %lld", num(s, "pool"), num(s, "pool_target"));
	linef("commits", "%lld with %lld changes", num(s, "commits"), num(s, "changes"));
	print_hold(json_object_get(s, "hold"));
	line("sandbox",
	     flag(s, "sandboxed") ? "every backend has a uid of its own" : "backends share the manager's uid");
	if (json_object_get(s, "xsm"))
		line("XSM", str(s, "xsm"));
	json_array_foreach(json_object_get(s, "warnings"), i, warning)
		line("warning", json_is_string(warning) ? json_string_value(warning) : "");
	puts("groups:");
	return print_groups(a, params);
}
