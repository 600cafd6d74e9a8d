/* SPDX-License-Identifier: BSD-2-Clause */
/* A device of Xen with what is around it, for the test of vtpm-mgr/xen_device.c, which includes what this needs. */
#ifndef VTPM_TESTS_XEN_SCENE_H
#define VTPM_TESTS_XEN_SCENE_H

#define UUID  "11111111-2222-3333-4444-555555555555"
#define FRONT "/local/domain/5/device/vtpm/0"

/* A device, its nodes and its surroundings; step() does what an honest xen_serve.c would. */
struct scene {
	struct xen_device d;
	struct xen_value values[XEN_NODES];
	struct xen_nodes n;
	struct xen_policy policy;
	enum xen_tpm tpm;
	struct xen_orders o;
};

static inline void set(struct scene *s, enum xen_node node, const char *text)
{
	xen_value_set(&s->values[node], text, strlen(text));
}

/* As libxl makes it. */
static inline void made_again(struct scene *s)
{
	memset(s->values, 0, sizeof(s->values));
	s->tpm = XEN_TPM_OFF;
	set(s, XEN_NODE_FRONTEND, FRONT);
	set(s, XEN_NODE_FRONTEND_ID, "5");
	set(s, XEN_NODE_UUID, UUID);
	set(s, XEN_NODE_ONLINE, "1");
	set(s, XEN_NODE_STATE, "1");
	set(s, XEN_NODE_FRONT_STATE, "1");
}

static inline void made(struct scene *s)
{
	*s = (struct scene){ .tpm = XEN_TPM_OFF };
	made_again(s);
}

static inline uint32_t step(struct scene *s)
{
	char text[4];

	xen_nodes_parse(&s->n, s->values, 5, 0);
	xen_device_step(&s->d, &s->n, s->tpm, &s->policy, &s->o);
	if (s->o.what & XEN_DO_STATE) {
		(void)snprintf(text, sizeof(text), "%d", s->d.state);
		set(s, XEN_NODE_STATE, text);
	}
	if (s->o.what & XEN_DO_MARK)
		set(s, XEN_NODE_SERVED, "1");
	return s->o.what;
}

static inline void front(struct scene *s, const char *state, const char *ref, const char *port)
{
	set(s, XEN_NODE_FRONT_STATE, state);
	set(s, XEN_NODE_RING_REF, ref);
	set(s, XEN_NODE_EVENT_CHANNEL, port);
}

/* Admitted, TPM on, nothing connected. */
static inline void powered(struct scene *s)
{
	made(s);
	assert_int_equal(step(s), XEN_DO_FEATURES | XEN_DO_STATE | XEN_DO_MARK | XEN_DO_POWER);
	assert_int_equal(s->d.state, XEN_STATE_INIT_WAIT);
	s->tpm = XEN_TPM_STARTING;
	assert_int_equal(step(s), 0);
	s->tpm = XEN_TPM_ON;
	assert_int_equal(step(s), 0);
}

static inline void connected(struct scene *s)
{
	powered(s);
	front(s, "3", "8", "9");
	assert_int_equal(step(s), XEN_DO_ATTACH);
	assert_int_equal(s->d.ref, 8);
	assert_int_equal(s->d.port, 9);
	assert_int_equal(step(s), 0);
	s->d.ring = XEN_RING_ON;
	assert_int_equal(step(s), XEN_DO_STATE);
	assert_int_equal(s->d.state, XEN_STATE_CONNECTED);
	front(s, "4", "8", "9");
	assert_int_equal(step(s), 0);
}

#endif
