/* Names of topics, what grants allow on them, and small things answers need. */

#include <string.h>

#include "base/clock.h"
#include "gateway/kafka/kafka_priv.h"

static bool grants_cover(const struct kafka_conn *c, const char *path, unsigned rights)
{
	static const enum auth_right each[] = {AUTH_SEND, AUTH_LISTEN, AUTH_MANAGE};
	int64_t now_ms = clock_wall_ms();
	for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
		int64_t expires_ms;
		struct err_detail d;
		if ((rights & each[i]) != 0 &&
		    core_grants_check(c->front->core, &c->grants, path, each[i], now_ms,
				      &expires_ms, &d) == ERR_OK) {
			return true;
		}
	}
	return false;
}

enum kafka_code kafka_topic_allowed(const struct kafka_conn *c, struct span name, unsigned rights)
{
	char path[AUTH_SCOPE_MAX];
	if (name.n == 0 || name.n > LIMIT_HUB_NAME ||
	    auth_path_normalise(name, path) != ERR_OK) {
		return KAFKA_INVALID_TOPIC;
	}
	return grants_cover(c, path, rights) ? KAFKA_NONE : KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

enum kafka_code kafka_topic_find(const struct kafka_conn *c, struct span name, unsigned rights,
				 struct kafka_topic *out)
{
	enum kafka_code code = kafka_topic_allowed(c, name, rights);
	if (code != KAFKA_NONE) {
		return code == KAFKA_INVALID_TOPIC ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION : code;
	}
	const struct catalog *cat = core_catalog(c->front->core);
	const struct catalog_hub *hub = catalog_hub_find(cat, name);
	if (hub != NULL) {
		out->hub_id = hub->id;
		out->partitions = hub->partitions;
		out->cleanup = hub->cleanup;
		memcpy(out->name, hub->name, sizeof out->name);
	} else {
		code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
	}
	catalog_drop(&cat);
	return code;
}

bool kafka_namespace_allowed(const struct kafka_conn *c, unsigned rights)
{
	return grants_cover(c, "", rights);
}

bool kafka_any_allowed(const struct kafka_conn *c, unsigned rights)
{
	int64_t now_ms = clock_wall_ms();
	for (size_t i = 0; i < c->grants.n; i++) {
		const struct auth_grant *g = c->grants.v[i];
		if (g->expires_ms > now_ms && (g->rights & rights) != 0) {
			return true;
		}
	}
	return false;
}

bool kafka_topic_name_is_valid(struct span name)
{
	if (name.n == 0 || name.n > KAFKA_TOPIC_MAX || span_eq_str(name, ".") ||
	    span_eq_str(name, "..")) {
		return false;
	}
	for (size_t i = 0; i < name.n; i++) {
		uint8_t b = name.p[i];
		bool is_fine = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
			       (b >= '0' && b <= '9') || b == '.' || b == '_' || b == '-';
		if (!is_fine) {
			return false;
		}
	}
	return true;
}

/* The store's UUID is of version 4 and its version and variant bits lie in the
 * 12 bytes that are kept, so this is one too. */
struct kafka_uuid kafka_topic_id(const struct kafka_front *f, uint32_t hub_id)
{
	struct kafka_uuid id;
	memcpy(id.b, f->store_uuid, sizeof id.b);
	put_u32(id.b + 12, hub_id);
	return id;
}

uint32_t kafka_topic_of_id(const struct kafka_front *f, const struct kafka_uuid *id)
{
	return memcmp(id->b, f->store_uuid, 12) == 0 ? get_u32(id->b + 12) : 0;
}
