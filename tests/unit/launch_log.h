/* SPDX-License-Identifier: BSD-2-Clause */
/* A log of a launch for the tests: the H-CRTM's event, if there is one, and n events for PCR 4. */
#ifndef VTPM_TESTS_LAUNCH_LOG_H
#define VTPM_TESTS_LAUNCH_LOG_H

#include "vtpm-mgr/proto/launch.h"

struct launch_fixture {
	struct buf b;
	uint8_t mem[LAUNCH_LOG_MAX + 64u];
};

/* Whether there was room. Event i has i + 1 bytes of data, and digests whose bytes are all i + 1. */
static inline int launch_fixture_make(struct launch_fixture *f, bool sha1, bool crtm, unsigned n)
{
	uint8_t bytes[LAUNCH_DATA_MAX];
	struct launch_event e = { .pcr = 0, .type = LAUNCH_EV_S_CRTM_CONTENTS, .digest = { bytes, bytes, bytes, bytes }, .data = bytes };
	int err;

	buf_init(&f->b, f->mem, sizeof(f->mem));
	err = launch_log_begin(&f->b, sha1, crtm);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = 0xcc;
	e.size = 24;
	if (err == 0 && crtm)
		err = launch_log_add(&f->b, sha1, &e);
	for (unsigned i = 0; err == 0 && i < n; i++) {
		for (unsigned k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)(i + 1);
		e.pcr = 4;
		e.type = 13;
		e.size = i + 1;
		err = launch_log_add(&f->b, sha1, &e);
	}
	return err;
}

#endif
