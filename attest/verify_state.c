/* SPDX-License-Identifier: BSD-2-Clause */
/* What was booted, on the host and in the guest, and how old the state may be: against the policy, and against what is known already. */
#include "attest/verify.h"

#include <stdio.h>
#include <string.h>

#include "lib/eventlog.h"
#include "lib/util.h"

/* ---- PCRs ---- */

/* The first that has these values; NULL and *pcr: which PCR of the last set is another. */
static const struct pcr_values *sets_find(const struct pcr_values *sets, size_t n, uint32_t quoted,
					  uint8_t pcr[static EVIDENCE_PCRS][EVIDENCE_DIGEST], unsigned *other)
{
	for (size_t i = 0; i < n; i++) {
		unsigned k = 0;

		while (k < EVIDENCE_PCRS && (!(sets[i].mask >> k & 1) ||
					     (quoted >> k & 1 && !memcmp(sets[i].value[k], pcr[k], EVIDENCE_DIGEST))))
			k++;
		if (k == EVIDENCE_PCRS)
			return &sets[i];
		*other = k;
	}
	return NULL;
}

enum vtpm_outcome step_host_pcrs(struct verify *v)
{
	const struct vtpm_policy *p = v->in->policy;
	const struct pcr_values *found;
	unsigned other = 0;

	if (!p->nhost_pcrs)
		return p->nrules ? skipped(v, "the policy has no values of host PCRs: its event rules say what may boot")
				 : warned(v, "the policy demands nothing of the host's PCRs: whatever it has booted is accepted");
	found = sets_find(p->host_pcrs, p->nhost_pcrs, v->outer.pcrs, v->host_pcr, &other);
	if (found)
		return passed(v, "the host's PCRs %#x have the values that the policy allows%s%s", found->mask, found->description[0] ? ": " : "",
			      found->description);
	if (!(v->outer.pcrs >> other & 1))
		return failed(v, "the host's TPM has not quoted PCR %u, which the policy names", other);
	return failed(v, "the host has booted something else: none of the %zu sets of the policy fits; PCR %u is %s", p->nhost_pcrs, other,
		      verify_hex(v->host_pcr[other], EVIDENCE_DIGEST));
}

/* Whose events the policy has rules for: that there is none must be true, too. */
static uint32_t ruled_pcrs(const struct vtpm_policy *p)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < p->nrules; i++)
		mask |= 1u << p->rules[i].pcr;
	return mask;
}

enum vtpm_outcome step_host_log(struct verify *v)
{
	uint8_t pcr[EVENTLOG_PCRS][EVENTLOG_DIGEST];
	uint32_t seen, look;

	if (!v->e.host_log.n)
		return v->in->policy->host_log ? failed(v, "the host's event log is not there, and the policy demands it")
					       : skipped(v, "the evidence has no event log of the host");
	if (eventlog_replay(v->e.host_log.p, v->e.host_log.n, pcr, &seen))
		return failed(v, "the host's event log is damaged");
	look = v->outer.pcrs & (seen | HOST_PCRS | ruled_pcrs(v->in->policy));
	for (unsigned i = 0; i < EVIDENCE_PCRS; i++)
		if (look >> i & 1 && memcmp(pcr[i], v->host_pcr[i], EVIDENCE_DIGEST) != 0)
			return failed(v, "the host's event log does not lead to PCR %u as it was quoted: it was edited, reordered or cut, or is another boot's", i);
	return passed(v, "the host's event log leads to its PCRs %#x as they were quoted", look);
}

/* What an event breaks, or NULL. */
static const char *rule_broken(const struct event_rule *rule, const struct event *e)
{
	if (digest_in(&rule->forbidden, e->digest))
		return "is forbidden";
	return rule->only && !digest_in(&rule->allowed, e->digest) && !digest_in(&rule->required, e->digest) ? "is not among those that are allowed"
													      : NULL;
}

static enum vtpm_outcome events_check(struct verify *v, const struct event_rule *rule, bool *met)
{
	char name[EVENTLOG_NAME_MAX + 1];
	size_t have = 0;
	struct eventlog l;
	struct event e;

	memset(met, 0, POLICY_DIGESTS_MAX);
	if (eventlog_open(&l, v->e.host_log.p, v->e.host_log.n))
		return failed(v, "the host's event log is damaged");
	while (!eventlog_next(&l, &e)) {
		const char *broken = e.pcr == rule->pcr ? rule_broken(rule, &e) : NULL;

		if (broken) {
			eventlog_name(&e, name);
			return failed(v, "the host's event log: an event of PCR %u %s: %s, %s", e.pcr, broken,
				      verify_hex(e.digest, EVIDENCE_DIGEST), name);
		}
		for (size_t i = 0; e.pcr == rule->pcr && i < rule->required.n; i++)
			met[i] = met[i] || !memcmp(rule->required.digest[i], e.digest, EVIDENCE_DIGEST);
	}
	while (have < rule->required.n && met[have])
		have++;
	if (have < rule->required.n)
		return failed(v, "the host's event log has no event %s for PCR %u, which the policy demands",
			      verify_hex(rule->required.digest[have], EVIDENCE_DIGEST), rule->pcr);
	return VTPM_PASSED;
}

enum vtpm_outcome step_host_events(struct verify *v)
{
	const struct vtpm_policy *p = v->in->policy;
	bool met[POLICY_DIGESTS_MAX];

	if (!p->nrules)
		return skipped(v, "the policy has no rules for the host's events");
	for (size_t i = 0; i < p->nrules; i++) {
		if (!(v->outer.pcrs >> p->rules[i].pcr & 1))
			return failed(v, "the host's TPM has not quoted PCR %u, whose events the policy has a rule for", p->rules[i].pcr);
		if (events_check(v, &p->rules[i], met))
			return VTPM_FAILED;
	}
	return passed(v, "the host's events are as the policy demands: %zu rules", p->nrules);
}

/* ---- the guest ---- */

enum vtpm_outcome step_launch(struct verify *v)
{
	const struct vtpm_policy *p = v->in->policy;
	const char *digest;

	if (!v->b.nlaunch && (p->launch_required || !p->launch_any))
		return failed(v, "the guest's launch was not measured, and the policy demands that it was");
	if (!v->b.nlaunch)
		return skipped(v, "the guest's launch was not measured, which the policy permits");
	digest = verify_hex(v->b.launch[0], EVIDENCE_DIGEST);
	if (p->launch_any)
		return skipped(v, "the guest's launch was measured, %s; the policy permits any", digest);
	if (!digest_in(&p->launch, v->b.launch[0]))
		return failed(v, "the guest's launch digest %s is not among those that the policy permits", digest);
	return passed(v, "the guest's launch digest %s is one that the policy permits", digest);
}

enum vtpm_outcome step_launch_log(struct verify *v)
{
	uint8_t pcr[EVENTLOG_PCRS][EVENTLOG_DIGEST], digest[EVIDENCE_DIGEST];
	uint32_t seen, look;

	if (!v->e.guest_log.n)
		return v->b.nlaunch ? failed(v, "the launch event log is not there, although the binding has its digest: it was taken out on the way, or its guest has asked, and not put it there")
				    : skipped(v, "the evidence has no launch event log");
	if (!v->b.nlaunch || tpms_sha256(&v->e.guest_log, digest) || memcmp(digest, v->b.launch[0], sizeof(digest)) != 0)
		return failed(v, "the launch event log is not the one whose digest the binding has: it was edited, reordered or cut");
	if (eventlog_replay(v->e.guest_log.p, v->e.guest_log.n, pcr, &seen))
		return failed(v, "the launch event log is damaged");
	look = seen & v->inner.pcrs & v->in->policy->launch_pcrs;
	for (unsigned i = 0; i < EVIDENCE_PCRS; i++)
		if (look >> i & 1 && memcmp(pcr[i], v->guest_pcr[i], EVIDENCE_DIGEST) != 0)
			return failed(v, "the launch event log does not lead to the guest's PCR %u: the guest has extended it, or was launched otherwise", i);
	return passed(v, "the launch event log leads to the guest's PCRs %#x as they were quoted", look);
}

enum vtpm_outcome step_guest_pcrs(struct verify *v)
{
	const struct vtpm_policy *p = v->in->policy;
	const struct pcr_values *found;
	unsigned other = 0;

	if (!p->nguest_pcrs)
		return skipped(v, "the policy demands nothing of the guest's PCRs");
	found = sets_find(p->guest_pcrs, p->nguest_pcrs, v->inner.pcrs, v->guest_pcr, &other);
	if (!found)
		return failed(v, "the guest has booted something else: none of the %zu sets of the policy fits; PCR %u is %s", p->nguest_pcrs, other,
			      verify_hex(v->guest_pcr[other], EVIDENCE_DIGEST));
	return passed(v, "the guest's PCRs %#x have the values that the policy allows%s%s", found->mask, found->description[0] ? ": " : "",
		      found->description);
}

/* ---- the state ---- */

enum vtpm_outcome step_freshness(struct verify *v)
{
	static const char *const modes[] = {[EVIDENCE_STRICT] = "strict", [EVIDENCE_BOUNDED] = "bounded", [EVIDENCE_NONE] = "none"};
	const struct vtpm_policy *p = v->in->policy;

	if (v->b.mode > p->mode)
		return failed(v, "the vTPM's freshness mode is %s, and the policy demands %s", modes[v->b.mode], modes[p->mode]);
	if (v->b.discontinuities > p->discontinuities)
		return failed(v, "the vTPM has %llu discontinuities, and the policy permits %llu", (unsigned long long)v->b.discontinuities,
			      (unsigned long long)p->discontinuities);
	if (v->b.discontinuities)
		return warned(v, "freshness mode %s; the vTPM has been through %llu power cuts that may have lost its last changes", modes[v->b.mode],
			      (unsigned long long)v->b.discontinuities);
	return passed(v, "freshness mode %s, no discontinuities; version %llu of the state", modes[v->b.mode], (unsigned long long)v->b.version);
}

static enum vtpm_outcome compare(struct verify *v, const struct vtpm_known *k)
{
	const unsigned long long epoch = v->b.epoch, was = k->epoch;

	if (epoch < was)
		return failed(v, "owner epoch %llu is older than %llu, which is known: this is a former owner's copy of the vTPM", epoch, was);
	if (epoch > was)
		return warned(v, "the vTPM has another owner epoch than last time, %llu after %llu: it was restored or has moved%s", epoch, was,
			      memcmp(k->ak, v->ak.name, EVIDENCE_NAME) != 0 ? ", and has another attestation key" : "");
	if (memcmp(k->host, v->host_ak.name, EVIDENCE_NAME) != 0)
		return failed(v, "owner epoch %llu of this vTPM is known on another host, %s: the vTPM was cloned", epoch,
			      verify_hex(k->host, EVIDENCE_NAME));
	if (memcmp(k->ak, v->ak.name, EVIDENCE_NAME) != 0)
		return failed(v, "the vTPM has another attestation key than last time, in the same owner epoch");
	if (v->b.version < k->version || v->b.discontinuities < k->discontinuities)
		return failed(v, "the vTPM was rolled back: version %llu of its state, and %llu is known", (unsigned long long)v->b.version,
			      (unsigned long long)k->version);
	return passed(v, "it goes on from what is known of this vTPM: owner epoch %llu, version %llu after %llu", epoch,
		      (unsigned long long)v->b.version, (unsigned long long)k->version);
}

enum vtpm_outcome step_known(struct verify *v)
{
	for (size_t i = 0; i < v->in->nknown; i++)
		if (!memcmp(v->in->known[i].uuid, v->b.uuid, EVIDENCE_UUID))
			return compare(v, &v->in->known[i]);
	return skipped(v, "nothing is known of this vTPM from before");
}
