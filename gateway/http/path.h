#ifndef GATEWAY_HTTP_PATH_H
#define GATEWAY_HTTP_PATH_H

/* Request targets and the small values in them. Paths are handled as received,
 * percent escapes and all: a hub's name may hold '/', which in the management API
 * is written %2F. Pure; any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	HTTP_PARAMS_MAX = 3,
	HTTP_TIMEOUT_DEFAULT_S = 60,	/* event-hubs "7.1" */
	HTTP_TIMEOUT_MAX_S = 240,
};

/* What stood where a pattern has {}, still escaped; borrowed from the path. */
struct http_params {
	struct span v[HTTP_PARAMS_MAX];
	size_t n;
};

/* Compares a path with a pattern: "{}" stands for one segment that is not empty,
 * a leading "**" for one or more segments of anything, all else for itself with
 * ASCII case ignored. One trailing '/' of the path does not count. */
bool http_path_match(const char *pattern, struct span path, struct http_params *out);

/* Undoes %XX. ERR_INVALID (bad escape, NUL byte), ERR_TOO_LARGE. */
enum err http_path_decode(struct span in, char *out, size_t out_size) MUST_CHECK;

/* A number of seconds as `timeout=` has it; more than the maximum is cut.
 * NULL gives the default. ERR_INVALID. */
enum err http_timeout_parse(const char *text, uint32_t *seconds) MUST_CHECK;

/* A Content-Length. False: not a number or more than 2^63. */
bool http_length_parse(const char *text, uint64_t *out);

#endif
