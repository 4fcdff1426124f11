#ifndef GATEWAY_HTTP_MANAGE_JSON_H
#define GATEWAY_HTTP_MANAGE_JSON_H

/* Bodies of the management API, read and written. Unknown members are refused by
 * name, so that a misspelt setting does not go unnoticed. Pure; any thread. */

#include "gateway/core/core.h"

enum { HTTP_PARTITIONS_DEFAULT = 4 };

/* As --auto-deflate-after: 49 days. */
#define HTTP_DEFLATE_AFTER_MAX_MS UINT64_C(4233600000)
/* Of a limit, a second: more than any machine moves, and far from the end of the
 * numbers. */
#define HTTP_LIMIT_RATE_MAX (UINT64_C(1) << 50)

/* {"partitions": n, "retentionMs": n or null, "retentionBytes": n or null, "cleanup":
 * "delete" | "compact" | "compact,delete"}; null: for ever, no bound; an empty body is
 * {}. Sets only the fields given. ERR_INVALID, ERR_NOMEM. */
enum err http_hub_body(struct span body, struct catalog_command *cmd, struct err_detail *d) MUST_CHECK;
/* {"rights": ["send", ...]} or {"rights": "send,..."}. ERR_INVALID, ERR_NOMEM. */
enum err http_policy_body(struct span body, unsigned *rights, struct err_detail *d) MUST_CHECK;
/* {"key": "primary" | "secondary"}; an empty body is the primary. */
enum err http_rotate_body(struct span body, bool *secondary, struct err_detail *d) MUST_CHECK;

/* What PATCH /units changes: {"units": n, "autoInflateMax": n or null,
 * "autoDeflateAfterMs": n or null}; null as 0: off. Sets the fields given and their
 * has_ flags; none given: ERR_INVALID. */
enum err http_units_body(struct span body, struct catalog_command *cmd, struct err_detail *d) MUST_CHECK;
/* {"inBytes": n or null, "inEvents", "outBytes", "outEvents": the same, "units": n}: null
 * as 0: no limit; "units" gives what is not given of the four the limits of so many
 * units. One that limits nothing: ERR_INVALID. */
enum err http_limit_body(struct span body, struct catalog_limit *limit, struct err_detail *d) MUST_CHECK;

/* As in paths: "hub", "partition", "publisher", "policy", "client", any case. False:
 * none of them. */
bool http_limit_kind(struct span text, enum catalog_limit_kind *out);
/* A whole limit. */
void http_limit_put(const struct catalog_limit *limit, struct str *out);
/* A scope with its limits and figures. */
void http_scope_put(const struct throttle_scope_info *scope, struct str *out);

/* The members of a hub without the closing brace, so that more may follow. */
void http_hub_put(const struct catalog_hub *hub, struct str *out);
/* A whole policy. */
void http_policy_put(const struct catalog_policy *p, bool with_keys, struct str *out);
/* "2026-01-31T12:00:00.123Z", or null for 0. */
void http_time_put(int64_t ms, struct str *out);

#endif
