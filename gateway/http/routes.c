/* Every path and method there is. */

#include <string.h>

#include "gateway/http/http_priv.h"

enum {
	MAIN = HTTP_DOOR_MAIN,
	METRICS = HTTP_DOOR_METRICS,
	ANY_RIGHT = AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE,
};

#define V1 "/$management/v1"
#define SMALL HTTP_MANAGE_BODY_MAX

/* The first row is the one that is asked for most. */
static const struct http_route routes[] = {
	{"**/messages", HTTP_POST, MAIN, HTTP_SENDER, AUTH_SEND, HTTP_COUNTED, SIZE_MAX,
	 http_send, http_send_finish},

	{"/health/live", HTTP_GET, MAIN | METRICS, HTTP_OPEN, 0, HTTP_UNCOUNTED, 0, http_health_live, NULL},
	{"/health/ready", HTTP_GET, MAIN | METRICS, HTTP_OPEN, 0, HTTP_UNCOUNTED, 0, http_health_ready, NULL},
	{"/health", HTTP_GET, METRICS, HTTP_OPEN, 0, HTTP_UNCOUNTED, 0, http_health_emulator, NULL},
	{"/metrics", HTTP_GET, METRICS, HTTP_OPEN, 0, HTTP_UNCOUNTED, 0, http_metrics, NULL},
	{"/metrics", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_LISTEN, HTTP_UNCOUNTED, 0, http_metrics, NULL},

	{V1 "/openapi.json", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_COUNTED, 0,
	 http_openapi, NULL},
	{V1 "/info", HTTP_GET, MAIN, HTTP_NAMESPACE, ANY_RIGHT, HTTP_COUNTED, 0, http_info, NULL},

	{V1 "/hubs", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, 0, http_hub_list, NULL},
	{V1 "/hubs/{}", HTTP_GET, MAIN, HTTP_HUB, ANY_RIGHT, HTTP_MANAGED, 0, http_hub_show, NULL},
	{V1 "/hubs/{}", HTTP_PUT, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_hub_create, http_hub_created},
	{V1 "/hubs/{}", HTTP_PATCH, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_hub_update, http_hub_updated},
	{V1 "/hubs/{}", HTTP_DELETE, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_hub_delete, http_deleted},

	{V1 "/hubs/{}/groups", HTTP_GET, MAIN, HTTP_HUB, ANY_RIGHT, HTTP_MANAGED, 0, http_group_list, NULL},
	{V1 "/groups", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_LISTEN | AUTH_MANAGE, HTTP_MANAGED, 0,
	 http_groups_list, http_groups_found},
	{V1 "/groups/{}", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_LISTEN | AUTH_MANAGE, HTTP_MANAGED, 0,
	 http_groups_show, http_groups_found},
	{V1 "/groups/{}", HTTP_DELETE, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_groups_delete, http_deleted},
	{V1 "/hubs/{}/groups/{}", HTTP_GET, MAIN, HTTP_HUB, ANY_RIGHT, HTTP_MANAGED, 0,
	 http_group_show, NULL},
	{V1 "/hubs/{}/groups/{}", HTTP_PUT, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_group_create, http_group_created},
	{V1 "/hubs/{}/groups/{}", HTTP_DELETE, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_group_delete, http_deleted},

	{V1 "/hubs/{}/policies", HTTP_GET, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, 0,
	 http_policy_list, NULL},
	{V1 "/hubs/{}/policies/{}", HTTP_GET, MAIN, HTTP_HUB, ANY_RIGHT, HTTP_MANAGED, 0,
	 http_policy_show, NULL},
	{V1 "/hubs/{}/policies/{}", HTTP_PUT, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_policy_create, http_policy_created},
	{V1 "/hubs/{}/policies/{}", HTTP_DELETE, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_policy_delete, http_deleted},
	{V1 "/hubs/{}/policies/{}/rotate", HTTP_POST, MAIN, HTTP_HUB, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_policy_rotate, http_policy_rotated},

	{V1 "/policies", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, 0,
	 http_policy_list, NULL},
	{V1 "/policies/{}", HTTP_GET, MAIN, HTTP_NAMESPACE, ANY_RIGHT, HTTP_MANAGED, 0,
	 http_policy_show, NULL},
	{V1 "/policies/{}", HTTP_PUT, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_policy_create, http_policy_created},
	{V1 "/policies/{}", HTTP_DELETE, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_policy_delete, http_deleted},
	{V1 "/policies/{}/rotate", HTTP_POST, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_policy_rotate, http_policy_rotated},

	{V1 "/units", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, 0,
	 http_units_show, NULL},
	{V1 "/units", HTTP_PATCH, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_units_set, http_units_done},
	{V1 "/limits", HTTP_GET, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, 0,
	 http_limits_list, NULL},
	{V1 "/limits/{}/{}", HTTP_PUT, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_limit_set, http_limit_done},
	{V1 "/limits/{}/{}", HTTP_DELETE, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_limit_delete, http_deleted},

	{V1 "/backups", HTTP_POST, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_backup_begin, http_backup_begun},
	{V1 "/backups/{}", HTTP_PUT, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_backup_renew, NULL},
	{V1 "/backups/{}", HTTP_DELETE, MAIN, HTTP_NAMESPACE, AUTH_MANAGE, HTTP_MANAGED, SMALL,
	 http_backup_end, NULL},
};

static const struct {
	const char *name;
	enum http_method method;
} methods[] = {
	{"POST", HTTP_POST}, {"GET", HTTP_GET}, {"HEAD", HTTP_GET}, {"PUT", HTTP_PUT},
	{"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
};

static unsigned method_bit(const char *name)
{
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		if (strcmp(methods[i].name, name) == 0) {
			return methods[i].method;
		}
	}
	return 0;
}

enum err http_route_find(struct span path, const char *method, enum http_door door,
			 const struct http_route **out, struct http_params *params,
			 unsigned *allow)
{
	unsigned bit = method_bit(method);
	*allow = 0;
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		const struct http_route *route = &routes[i];
		if ((route->doors & door) == 0 || !http_path_match(route->pattern, path, params)) {
			continue;
		}
		if (route->method == bit) {
			*out = route;
			return ERR_OK;
		}
		*allow |= route->method;
	}
	return *allow != 0 ? ERR_NOT_ALLOWED : ERR_NOT_FOUND;
}
