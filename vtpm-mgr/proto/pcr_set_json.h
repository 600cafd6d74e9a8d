/* SPDX-License-Identifier: BSD-2-Clause */
/* A PCR set as a file, for people and programs: docs/sealing.md. */
#ifndef VTPM_PROTO_PCR_SET_JSON_H
#define VTPM_PROTO_PCR_SET_JSON_H

#include <jansson.h>

#include "vtpm-mgr/proto/policy.h"

#define PCR_SET_FORMAT "vtpm-pcr-set-1"

/* What is in a file besides the set itself. */
struct pcr_set_file {
	struct pcr_set set;
	char group[NAME_MAX_LEN + 1];
	uint32_t counter; /* NV handle */
};

/* ERR_INVAL: why[TEXT_MAX + 1] says what is wrong with it. Without a signature set.signature_len is 0, without a version set.version. */
CHECKED int pcr_set_from_json(json_t *o, struct pcr_set_file *f, char why[static TEXT_MAX + 1]);
/* NULL: out of memory. */
json_t *pcr_set_to_json(const struct pcr_set_file *f);
/* The values of a mask: {"0": "hex", …}. */
json_t *pcr_values_to_json(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN]);
/* The word for a scheme, and back; 0: there is none of that name. */
const char *scheme_word(uint8_t scheme);
uint8_t scheme_of_word(const char *word);

#endif
