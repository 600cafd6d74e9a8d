/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages of Varlink (https://varlink.org/Method-Call) and what it demands of every service:
 * pure functions over bytes and JSON, no sockets. vtpm-mgr/control.c does the rest.
 */
#ifndef VTPM_MGR_CONTROL_PROTO_H
#define VTPM_MGR_CONTROL_PROTO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define CONTROL_DEPTH_MAX  16	/* objects and arrays within one another */
#define CONTROL_NAME_LIMIT 128u /* bytes of a method's full name that errors repeat */

#define VARLINK_SERVICE "org.varlink.service"

struct request {
	json_t *root;	    /* owned: request_free */
	const char *method; /* views into root */
	json_t *params;	    /* an object; NULL if "parameters" is something else */
	bool oneway;
	bool upgrade;
};

/* Parses one message without its NUL. ERR_PROTO: not JSON, not UTF-8, too deep, or no call: drop the client. */
CHECKED int request_parse(const char *msg, size_t len, struct request *r);
void request_free(struct request *r);

/* Replies, as new objects; NULL if out of memory. params and value are stolen. */
json_t *reply_params(json_t *params);
json_t *reply_error(const char *error, json_t *params);
/* An org.varlink.service error that names one thing: {key: value}. */
json_t *reply_service_error(const char *error, const char *key, const char *value);
/* The method's name without the interface; NULL if it is one of another interface than ours. */
const char *request_method(const struct request *r);
/* The first of the parameters that is not among the words of takes; NULL: none. */
const char *request_unknown(const struct request *r, const char *takes);
/* Answers a call of what every service has, with an error if there is no such method. description: of our interface. */
json_t *service_reply(const struct request *r, const char *description);
/* The name of our error for a code, without the interface. */
const char *error_name(int err);

#endif
