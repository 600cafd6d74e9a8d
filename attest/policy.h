/* SPDX-License-Identifier: BSD-2-Clause */
/* What a verifier demands, as vtpm-verify(1) says it in JSON. */
#ifndef VTPM_ATTEST_POLICY_H
#define VTPM_ATTEST_POLICY_H

#include <stdbool.h>

#include "attest/evidence.h"
#include "attest/vtpm-verify.h"

#define POLICY_SETS_MAX	   64u
#define POLICY_RULES_MAX   64u
#define POLICY_DIGESTS_MAX 4096u
#define POLICY_TEXT_MAX	   64u
#define POLICY_FILE_MAX	   (4u << 20)

struct pcr_values {
	char description[POLICY_TEXT_MAX + 1];
	uint32_t mask;
	uint8_t value[EVIDENCE_PCRS][EVIDENCE_DIGEST];
};
struct digest_list {
	uint8_t (*digest)[EVIDENCE_DIGEST];
	size_t n;
};
/* Of the events of one PCR in the host's log. */
struct event_rule {
	unsigned pcr;
	bool only; /* no events but those of allowed */
	struct digest_list allowed, required, forbidden;
};

struct vtpm_policy {
	struct pcr_values *host_pcrs, *guest_pcrs; /* one of them must be what was quoted; none: nothing is demanded */
	size_t nhost_pcrs, nguest_pcrs;
	bool host_log; /* must be there */
	struct event_rule *rules;
	size_t nrules;
	bool launch_required;
	struct digest_list launch; /* allowed by name, or by a signature that was checked when the policy was read */
	bool launch_any;
	uint32_t launch_pcrs; /* of the guest, which must be what the launch log leads to; those without an event there are not looked at */
	enum evidence_mode mode; /* the weakest that is permitted */
	uint64_t discontinuities; /* at most */
	bool ek_chain, vtpm_ek; /* certificates that are demanded */
	bool crl_required;
	uint64_t crl_age; /* seconds; 0: as long as the list itself says */
	bool clock; /* the time is true: validity and age are checked */
};

bool digest_in(const struct digest_list *l, const uint8_t digest[static EVIDENCE_DIGEST]);

#endif
