/* SPDX-License-Identifier: BSD-2-Clause */
/* What would unseal and what would not, for a person. */
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/ctl/policy.h"

static void print_pcrs(json_t *list)
{
	json_t *pcr;
	size_t i;

	json_array_foreach(list, i, pcr) printf("%s%lld", i ? "," : "", (long long)json_integer_value(pcr));
}

static void print_set_name(json_t *set)
{
	printf("\"");
	ctl_put_text(str(set, "description"));
	printf("\", version %lld", num(set, "version"));
}

/* Sentences, from the verdict's word. */
static void print_verdict(json_t *set)
{
	static const struct {
		const char *word, *says;
	} words[] = {{"opens", "unseals on this boot"},
		     {"other-boot", "unseals on the boot that it is for"},
		     {"revoked", "never unseals again"},
		     {"unsigned", "never unseals"},
		     {"empty", "is not used"},
		     {"narrow", "is not used"}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].word, str(set, "verdict")) == 0)
			printf("%s", words[i].says);
	if (str(set, "text")[0]) {
		printf(": ");
		ctl_put_text(str(set, "text"));
	}
	putchar('\n');
}

static void print_sets(json_t *policy, bool installed)
{
	json_t *set;
	size_t i;

	json_array_foreach(json_object_get(policy, "sets"), i, set)
	{
		if (flag(set, "installed") != installed)
			continue;
		printf("  %s ", installed ? "installed" : "new      ");
		print_set_name(set);
		printf(", PCRs ");
		print_pcrs(json_object_get(set, "pcrs"));
		printf(": ");
		print_verdict(set);
	}
}

int print_policy(const struct ctl_args *a, json_t *params)
{
	json_t *p = json_object_get(params, "policy");
	bool is_signed = strcmp(str(p, "kind"), "signed") == 0;

	(void)a;
	line("group", str(p, "group"));
	line("sealed to", is_signed ? "PCR sets that the policy key has signed" : "the values that PCRs had when it was sealed");
	printf("%-12s  ", "PCRs");
	print_pcrs(json_object_get(p, "pcrs"));
	puts(flag(p, "insecure_pcrs") ? " (insecure: PCRs that were never extended are accepted)" : "");
	line("policy key", str(p, "policy_key"));
	line("recovery key", str(p, "recovery_key")[0] ? str(p, "recovery_key") : "none: if this boot cannot be repeated, the root is lost");
	if (is_signed)
		linef("least", "version %lld, in the TPM's counter at %s", num(p, "minimum"), str(p, "counter"));
	line("this boot", flag(p, "opens") ? "unseals it" : str(p, "reason"));
	if (json_array_size(json_object_get(p, "sets")))
		puts("PCR sets:");
	print_sets(p, true);
	print_sets(p, false);
	return EXIT_OK;
}

/* Of the sets those that unseal on some boot. */
static size_t count_good(json_t *p)
{
	json_t *set;
	size_t i, n = 0;

	json_array_foreach(json_object_get(p, "sets"), i, set)
	{
		n += strcmp(str(set, "verdict"), "opens") == 0 || strcmp(str(set, "verdict"), "other-boot") == 0;
	}
	return n;
}

int print_policy_plan(const struct ctl_args *a, json_t *params)
{
	json_t *p = json_object_get(params, "policy");

	(void)a;
	printf("Group %s, after it (nothing has been changed):\n", str(p, "group"));
	if (flag(p, "opens"))
		puts("  The boot that is now would unseal it.");
	else {
		printf("  The boot that is now would NOT unseal it: ");
		ctl_put_text(str(p, "reason"));
		putchar('\n');
	}
	print_sets(p, true);
	print_sets(p, false);
	if (strcmp(str(p, "kind"), "signed") == 0 && !count_good(p))
		puts("  NO boot would unseal it.");
	puts(str(p, "recovery_key")[0] ? "  The recovery key would open it on any boot, on this TPM."
				       : "  There is no recovery key: what nothing above unseals is lost.");
	return flag(p, "opens") || count_good(p) ? EXIT_OK : EXIT_TPM;
}

int print_policy_raised(const struct ctl_args *a, json_t *params)
{
	(void)a;
	printf("PCR sets below version %lld never unseal again.\n", num(params, "minimum"));
	return EXIT_OK;
}

int print_policy_tested(const struct ctl_args *a, json_t *params)
{
	(void)a;
	printf("group %s: the TPM unseals its root\n", str(params, "group"));
	return EXIT_OK;
}
