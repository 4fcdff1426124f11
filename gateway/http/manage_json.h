#ifndef GATEWAY_HTTP_MANAGE_JSON_H
#define GATEWAY_HTTP_MANAGE_JSON_H

/* Bodies of the management API, read and written. Unknown members are refused by
 * name, so that a misspelt setting does not go unnoticed. Pure; any thread. */

#include "gateway/core/core.h"

enum { HTTP_PARTITIONS_DEFAULT = 4 };

/* {"partitions": n, "retentionMs": n or null, "retentionBytes": n or null, "cleanup":
 * "delete" | "compact" | "compact,delete"}; null: for ever, no bound; an empty body is
 * {}. Sets only the fields given. ERR_INVALID, ERR_NOMEM. */
enum err http_hub_body(struct span body, struct catalog_command *cmd, struct err_detail *d) MUST_CHECK;
/* {"rights": ["send", ...]} or {"rights": "send,..."}. ERR_INVALID, ERR_NOMEM. */
enum err http_policy_body(struct span body, unsigned *rights, struct err_detail *d) MUST_CHECK;
/* {"key": "primary" | "secondary"}; an empty body is the primary. */
enum err http_rotate_body(struct span body, bool *secondary, struct err_detail *d) MUST_CHECK;

/* The members of a hub without the closing brace, so that more may follow. */
void http_hub_put(const struct catalog_hub *hub, struct str *out);
/* A whole policy. */
void http_policy_put(const struct catalog_policy *p, bool with_keys, struct str *out);
/* "2026-01-31T12:00:00.123Z", or null for 0. */
void http_time_put(int64_t ms, struct str *out);

#endif
