#include "gateway/http/http_priv.h"
#include "test/unit/http/suites.h"

/* The table's members, so that it links without the front end behind it. */
#define HANDLER(name)                        \
	bool name(struct http_request *r)    \
	{                                    \
		(void)r;                     \
		return true;                 \
	}
#define FINISHER(name)                       \
	void name(struct http_request *r)    \
	{                                    \
		(void)r;                     \
	}
HANDLER(http_send)
HANDLER(http_health_live)
HANDLER(http_health_ready)
HANDLER(http_health_emulator)
HANDLER(http_metrics)
HANDLER(http_openapi)
HANDLER(http_info)
HANDLER(http_hub_list)
HANDLER(http_hub_show)
HANDLER(http_hub_create)
HANDLER(http_hub_update)
HANDLER(http_hub_delete)
HANDLER(http_group_list)
HANDLER(http_group_create)
HANDLER(http_group_delete)
HANDLER(http_group_show)
HANDLER(http_groups_list)
HANDLER(http_groups_show)
HANDLER(http_groups_delete)
HANDLER(http_policy_list)
HANDLER(http_policy_show)
HANDLER(http_policy_create)
HANDLER(http_policy_rotate)
HANDLER(http_policy_delete)
HANDLER(http_units_show)
HANDLER(http_units_set)
HANDLER(http_limits_list)
HANDLER(http_limit_set)
HANDLER(http_limit_delete)
HANDLER(http_backup_begin)
HANDLER(http_backup_renew)
HANDLER(http_backup_end)
FINISHER(http_send_finish)
FINISHER(http_hub_created)
FINISHER(http_hub_updated)
FINISHER(http_group_created)
FINISHER(http_policy_created)
FINISHER(http_policy_rotated)
FINISHER(http_deleted)
FINISHER(http_groups_found)
FINISHER(http_backup_begun)
FINISHER(http_units_done)
FINISHER(http_limit_done)

#define V1 "/$management/v1"

static const struct {
	const char *method;
	const char *path;
	enum http_door door;
	enum err err;
	bool (*handle)(struct http_request *r);
	unsigned allow;
} rows[] = {
	{"POST", "/hub/messages", HTTP_DOOR_MAIN, ERR_OK, http_send, 0},
	{"POST", "/a/b/partitions/0/messages/", HTTP_DOOR_MAIN, ERR_OK, http_send, 0},
	{"GET", "/hub/messages", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL, HTTP_POST},
	{"POST", "/hub/messages", HTTP_DOOR_METRICS, ERR_NOT_FOUND, NULL, 0},
	{"GET", "/health/live", HTTP_DOOR_MAIN, ERR_OK, http_health_live, 0},
	{"HEAD", "/health/live", HTTP_DOOR_METRICS, ERR_OK, http_health_live, 0},
	{"GET", "/health", HTTP_DOOR_METRICS, ERR_OK, http_health_emulator, 0},
	{"GET", "/health", HTTP_DOOR_MAIN, ERR_NOT_FOUND, NULL, 0},
	{"GET", "/metrics", HTTP_DOOR_METRICS, ERR_OK, http_metrics, 0},
	{"POST", "/metrics", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL, HTTP_GET},
	{"get", "/metrics", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL, HTTP_GET},
	{"GET", V1 "/hubs/messages", HTTP_DOOR_MAIN, ERR_OK, http_hub_show, 0},
	{"POST", V1 "/backups", HTTP_DOOR_MAIN, ERR_OK, http_backup_begin, 0},
	{"PUT", V1 "/backups/7", HTTP_DOOR_MAIN, ERR_OK, http_backup_renew, 0},
	{"DELETE", V1 "/backups/7", HTTP_DOOR_MAIN, ERR_OK, http_backup_end, 0},
	{"GET", V1 "/backups", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL, HTTP_POST},
	{"PUT", V1 "/hubs/a%2Fb", HTTP_DOOR_MAIN, ERR_OK, http_hub_create, 0},
	{"POST", V1 "/hubs/h", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL,
	 HTTP_GET | HTTP_PUT | HTTP_PATCH | HTTP_DELETE},
	{"GET", V1 "/hubs/h", HTTP_DOOR_METRICS, ERR_NOT_FOUND, NULL, 0},
	{"DELETE", V1 "/hubs/h/groups/g", HTTP_DOOR_MAIN, ERR_OK, http_group_delete, 0},
	{"GET", V1 "/hubs/h/groups/g", HTTP_DOOR_MAIN, ERR_OK, http_group_show, 0},
	{"GET", V1 "/groups", HTTP_DOOR_MAIN, ERR_OK, http_groups_list, 0},
	{"GET", V1 "/groups/g", HTTP_DOOR_MAIN, ERR_OK, http_groups_show, 0},
	{"DELETE", V1 "/groups/g", HTTP_DOOR_MAIN, ERR_OK, http_groups_delete, 0},
	{"PUT", V1 "/groups/g", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL, HTTP_GET | HTTP_DELETE},
	{"POST", V1 "/policies/p/rotate", HTTP_DOOR_MAIN, ERR_OK, http_policy_rotate, 0},
	{"POST", V1 "/hubs/h/policies/p/rotate", HTTP_DOOR_MAIN, ERR_OK, http_policy_rotate, 0},
	{"GET", V1 "/units", HTTP_DOOR_MAIN, ERR_OK, http_units_show, 0},
	{"PATCH", V1 "/units", HTTP_DOOR_MAIN, ERR_OK, http_units_set, 0},
	{"PUT", V1 "/units", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL, HTTP_GET | HTTP_PATCH},
	{"GET", V1 "/units", HTTP_DOOR_METRICS, ERR_NOT_FOUND, NULL, 0},
	{"GET", V1 "/limits", HTTP_DOOR_MAIN, ERR_OK, http_limits_list, 0},
	{"PUT", V1 "/limits/hub/a%2Fb", HTTP_DOOR_MAIN, ERR_OK, http_limit_set, 0},
	{"PUT", V1 "/limits/client/*", HTTP_DOOR_MAIN, ERR_OK, http_limit_set, 0},
	{"DELETE", V1 "/limits/policy/p", HTTP_DOOR_MAIN, ERR_OK, http_limit_delete, 0},
	{"GET", V1 "/limits/policy/p", HTTP_DOOR_MAIN, ERR_NOT_ALLOWED, NULL,
	 HTTP_PUT | HTTP_DELETE},
	{"GET", "/", HTTP_DOOR_MAIN, ERR_NOT_FOUND, NULL, 0},
	{"GET", "", HTTP_DOOR_MAIN, ERR_NOT_FOUND, NULL, 0},
	{"BREW", "/nowhere", HTTP_DOOR_MAIN, ERR_NOT_FOUND, NULL, 0},
};

START_TEST(request_finds_its_route)
{
	const struct http_route *route = NULL;
	struct http_params params;
	unsigned allow;
	enum err e = http_route_find(span_str(rows[_i].path), rows[_i].method, rows[_i].door, &route,
				     &params, &allow);
	ck_assert_int_eq(e, rows[_i].err);
	ck_assert_uint_eq(e == ERR_OK ? 0 : allow, rows[_i].allow);
	if (e == ERR_OK) {
		ck_assert(route->handle == rows[_i].handle);
	}
}
END_TEST

static const struct {
	const char *method;
	const char *path;
	enum http_account account;
} accounts[] = {
	{"POST", "/hub/messages", HTTP_COUNTED},
	{"GET", "/health/live", HTTP_UNCOUNTED},
	{"GET", "/metrics", HTTP_UNCOUNTED},
	{"GET", V1 "/openapi.json", HTTP_COUNTED},
	{"GET", V1 "/info", HTTP_COUNTED},
	{"GET", V1 "/hubs", HTTP_MANAGED},
	{"GET", V1 "/units", HTTP_MANAGED},
	{"PUT", V1 "/backups/7", HTTP_MANAGED},
};

START_TEST(only_management_calls_are_in_their_rate)
{
	const struct http_route *route = NULL;
	struct http_params params;
	unsigned allow;
	ck_assert_int_eq(http_route_find(span_str(accounts[_i].path), accounts[_i].method,
					 HTTP_DOOR_MAIN, &route, &params, &allow),
			 ERR_OK);
	ck_assert_int_eq(route->account, accounts[_i].account);
}
END_TEST

Suite *routes_suite(void)
{
	Suite *s = suite_create("routes");
	TCase *t = tcase_create("routes");
	tcase_add_loop_test(t, request_finds_its_route, 0, sizeof rows / sizeof *rows);
	tcase_add_loop_test(t, only_management_calls_are_in_their_rate, 0,
			    sizeof accounts / sizeof *accounts);
	suite_add_tcase(s, t);
	return s;
}
