/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine without anything around it. */
#include <string.h>

#include "tests/bench/bench.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"

void floor_call(const struct command *c)
{
	static const uint8_t success[4];
	uint8_t packet[CHAN_PACKET_MAX];
	size_t n;

	memcpy(packet, c->mem, c->b.len);
	if (engine_process(packet, c->b.len, 0, packet, &n))
		die("libtpms failed");
	if (memcmp(packet + 6, success, sizeof(success)) != 0)
		die("libtpms: a command failed with 0x%02x%02x%02x%02x", packet[6], packet[7], packet[8], packet[9]);
}

void floor_on(const struct floor_state *s)
{
	struct command c;

	command_startup(&c);
	if (engine_prepare() || engine_open(s ? s->bytes : NULL, s ? s->len : 0))
		die("libtpms cannot be powered on");
	floor_call(&c);
}

void floor_manufacture(void)
{
	floor_on(NULL);
	if (provision_manufacture())
		die("libtpms cannot make endorsement keys");
}

void floor_save(struct floor_state *s)
{
	const uint8_t *bytes;

	if (engine_state(&bytes, &s->len))
		die("libtpms has no state");
	memcpy(s->bytes, bytes, s->len);
}

void floor_off(void)
{
	engine_close();
}
