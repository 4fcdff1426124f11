#include "gateway/http/manage_json.h"

#include "auth/policy.h"
#include "base/mem.h"
#include "test/unit/http/suites.h"

START_TEST(hub_settings_are_read)
{
	struct catalog_command c = {.partitions = HTTP_PARTITIONS_DEFAULT};
	ck_assert_int_eq(http_hub_body(span_str("{\"partitions\":8}"), &c, NULL), ERR_OK);
	ck_assert_uint_eq(c.partitions, 8);
	ck_assert(!c.has_retention && !c.has_retention_bytes && !c.has_cleanup);
}
END_TEST

START_TEST(retention_and_cleanup_are_read)
{
	struct catalog_command c = {.partitions = 1};
	ck_assert_int_eq(http_hub_body(span_str("{\"retentionMs\":86400000,\"retentionBytes\":1048576,"
						"\"cleanup\":\"delete, compact\"}"),
				       &c, NULL),
			 ERR_OK);
	ck_assert(c.has_retention && c.has_retention_bytes && c.has_cleanup);
	ck_assert_int_eq(c.retention_ms, 86400000);
	ck_assert_uint_eq(c.retention_bytes, 1048576);
	ck_assert_int_eq(c.cleanup, CATALOG_COMPACT_DELETE);
	ck_assert_int_eq(http_hub_body(span_str("{\"retentionMs\":null,\"retentionBytes\":null,"
						"\"cleanup\":\"compact\"}"),
				       &c, NULL),
			 ERR_OK);
	ck_assert(c.has_retention && c.has_retention_bytes);
	ck_assert_int_eq(c.retention_ms, 0);
	ck_assert_uint_eq(c.retention_bytes, 0);
	ck_assert_int_eq(c.cleanup, CATALOG_COMPACT);
}
END_TEST

START_TEST(absent_settings_are_left_alone)
{
	static const char *const bodies[] = {"", "{}"};
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		struct catalog_command c = {.partitions = HTTP_PARTITIONS_DEFAULT};
		ck_assert_int_eq(http_hub_body(span_str(bodies[i]), &c, NULL), ERR_OK);
		ck_assert_uint_eq(c.partitions, HTTP_PARTITIONS_DEFAULT);
		ck_assert(!c.has_retention && !c.has_retention_bytes && !c.has_cleanup);
	}
}
END_TEST

static const char *const bad_hubs[] = {
	"[]", "{", "{\"partitions\":0}", "{\"partitions\":1025}", "{\"partitions\":1.5}",
	"{\"partitions\":\"4\"}", "{\"partition\":4}", "{\"partitions\":4} x",
	"{\"retentionMs\":0}", "{\"retentionMs\":-1}", "{\"retentionMs\":\"7d\"}",
	"{\"retentionMs\":1e300}", "{\"retentionBytes\":0}", "{\"retentionBytes\":1.5}",
	"{\"cleanup\":\"\"}", "{\"cleanup\":\"compacted\"}", "{\"cleanup\":\"delete,\"}",
	"{\"cleanup\":null}", "{\"cleanup\":[\"delete\"]}",
};

START_TEST(bad_hub_settings_are_refused)
{
	struct catalog_command c = {0};
	struct err_detail d = {""};
	ck_assert_int_eq(http_hub_body(span_str(bad_hubs[_i]), &c, &d), ERR_INVALID);
	ck_assert_str_ne(d.text, "");
}
END_TEST

static const struct {
	const char *body;
	const char *detail;
} unknown[] = {
	{"{\"partition\":4}", "unknown member 'partition'"},
	{"{\"retention\":\"7d\"}", "unknown member 'retention'"},
	{"{\"partitions\":4,\"retentionDays\":1}", "unknown member 'retentionDays'"},
};

START_TEST(unknown_member_is_named)
{
	struct catalog_command c = {0};
	struct err_detail d = {""};
	ck_assert_int_eq(http_hub_body(span_str(unknown[_i].body), &c, &d), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, unknown[_i].detail));
}
END_TEST

static const struct {
	const char *body;
	enum err err;
	unsigned rights;
} rights[] = {
	{"{\"rights\":[\"send\"]}", ERR_OK, AUTH_SEND},
	{"{\"rights\":[\"Send\",\"listen\"]}", ERR_OK, AUTH_SEND | AUTH_LISTEN},
	{"{\"rights\":\"send,listen\"}", ERR_OK, AUTH_SEND | AUTH_LISTEN},
	{"{\"rights\":[\"manage\"]}", ERR_OK, AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE},
	{"{\"rights\":[]}", ERR_INVALID, 0},
	{"{\"rights\":[\"write\"]}", ERR_INVALID, 0},
	{"{\"rights\":[\"\"]}", ERR_INVALID, 0},
	{"{\"rights\":[\"send\\u0000x\"]}", ERR_INVALID, 0},
	{"{\"rights\":[1]}", ERR_INVALID, 0},
	{"{\"right\":[\"send\"]}", ERR_INVALID, 0},
	{"{}", ERR_INVALID, 0},
	{"", ERR_INVALID, 0},
};

START_TEST(policy_rights_are_read)
{
	unsigned got;
	ck_assert_int_eq(http_policy_body(span_str(rights[_i].body), &got, NULL), rights[_i].err);
	if (rights[_i].err == ERR_OK) {
		ck_assert_uint_eq(got, rights[_i].rights);
	}
}
END_TEST

START_TEST(key_to_rotate_is_read)
{
	bool secondary = true;
	ck_assert_int_eq(http_rotate_body(span_str(""), &secondary, NULL), ERR_OK);
	ck_assert(!secondary);
	ck_assert_int_eq(http_rotate_body(span_str("{\"key\":\"Secondary\"}"), &secondary, NULL), ERR_OK);
	ck_assert(secondary);
	ck_assert_int_eq(http_rotate_body(span_str("{\"key\":\"primary\"}"), &secondary, NULL), ERR_OK);
	ck_assert(!secondary);
	ck_assert_int_eq(http_rotate_body(span_str("{\"key\":\"third\"}"), &secondary, NULL),
			 ERR_INVALID);
}
END_TEST

START_TEST(hub_is_written)
{
	struct catalog_group group = {.name = "g\"1"};
	struct catalog_hub hub = {.name = "a/b", .partitions = 2, .retention_ms = 86400000,
				  .cleanup = CATALOG_COMPACT, .groups = &group, .n_groups = 1};
	struct str out = {0};
	http_hub_put(&hub, &out);
	ck_assert_str_eq(out.p,
			 "{\"name\":\"a/b\",\"partitions\":2,\"retentionMs\":86400000,"
			 "\"retentionBytes\":null,\"cleanup\":\"compact\",\"createdAt\":null,"
			 "\"updatedAt\":null,\"groups\":[\"$Default\",\"g\\\"1\"]");
	str_fini(&out);
}
END_TEST

START_TEST(keys_are_written_only_when_asked)
{
	struct catalog_policy p = {.name = "p", .rights = AUTH_SEND | AUTH_LISTEN, .primary = "K1",
				   .secondary = "K2"};
	struct str out = {0};
	http_policy_put(&p, false, &out);
	ck_assert_str_eq(out.p, "{\"name\":\"p\",\"rights\":[\"send\",\"listen\"]}");
	out.len = 0;
	http_policy_put(&p, true, &out);
	ck_assert_str_eq(out.p, "{\"name\":\"p\",\"rights\":[\"send\",\"listen\"],\"primaryKey\":\"K1\","
				"\"secondaryKey\":\"K2\"}");
	str_fini(&out);
}
END_TEST

/* ---- units and limits ---------------------------------------------------------- */

START_TEST(units_settings_are_read)
{
	struct catalog_command c = {0};
	ck_assert_int_eq(http_units_body(span_str("{\"units\":4}"), &c, NULL), ERR_OK);
	ck_assert(c.has_units && !c.has_inflate_max && !c.has_deflate_after);
	ck_assert_uint_eq(c.units.units, 4);
	c = (struct catalog_command){0};
	ck_assert_int_eq(http_units_body(span_str("{\"autoInflateMax\":10000,"
						  "\"autoDeflateAfterMs\":300000}"),
					 &c, NULL),
			 ERR_OK);
	ck_assert(!c.has_units && c.has_inflate_max && c.has_deflate_after);
	ck_assert_uint_eq(c.units.inflate_max, 10000);
	ck_assert_int_eq(c.units.deflate_after_ms, 300000);
	c = (struct catalog_command){.units = {.inflate_max = 7, .deflate_after_ms = 7}};
	ck_assert_int_eq(http_units_body(span_str("{\"units\":0,\"autoInflateMax\":null,"
						  "\"autoDeflateAfterMs\":null}"),
					 &c, NULL),
			 ERR_OK);
	ck_assert(c.has_units && c.has_inflate_max && c.has_deflate_after);
	ck_assert_uint_eq(c.units.inflate_max, 0);
	ck_assert_int_eq(c.units.deflate_after_ms, 0);
}
END_TEST

static const char *const bad_units[] = {
	"", "{}", "[]", "{\"units\":null}", "{\"units\":-1}", "{\"units\":10001}", "{\"units\":1.5}",
	"{\"units\":\"1\"}", "{\"unit\":1}", "{\"autoInflateMax\":10001}",
	"{\"autoDeflateAfterMs\":-1}", "{\"autoDeflateAfterMs\":4233600001}",
};

START_TEST(bad_units_settings_are_refused)
{
	struct catalog_command c = {0};
	struct err_detail d = {""};
	ck_assert_int_eq(http_units_body(span_str(bad_units[_i]), &c, &d), ERR_INVALID);
	ck_assert_str_ne(d.text, "");
}
END_TEST

static const struct {
	const char *body;
	uint64_t in_bytes, in_events, out_bytes, out_events;
} limits[] = {
	{"{\"inBytes\":5}", 5, 0, 0, 0},
	{"{\"inEvents\":1,\"outBytes\":2,\"outEvents\":3}", 0, 1, 2, 3},
	{"{\"units\":2}", 2 << 20, 2000, 4 << 20, 8192},
	{"{\"units\":1,\"inEvents\":null,\"outBytes\":0}", 1 << 20, 0, 0, 4096},
	{"{\"outEvents\":9,\"units\":1}", 1 << 20, 1000, 2 << 20, 9},
	{"{\"inBytes\":1125899906842624}", UINT64_C(1) << 50, 0, 0, 0},
};

START_TEST(limit_is_read)
{
	struct catalog_limit l = {0};
	ck_assert_int_eq(http_limit_body(span_str(limits[_i].body), &l, NULL), ERR_OK);
	ck_assert_uint_eq(l.in_bytes, limits[_i].in_bytes);
	ck_assert_uint_eq(l.in_events, limits[_i].in_events);
	ck_assert_uint_eq(l.out_bytes, limits[_i].out_bytes);
	ck_assert_uint_eq(l.out_events, limits[_i].out_events);
}
END_TEST

static const char *const bad_limits[] = {
	"", "{}", "{\"inBytes\":0}", "{\"inBytes\":null}", "{\"units\":0}", "{\"units\":10001}",
	"{\"inBytes\":-1}", "{\"inBytes\":1125899906842625}", "{\"bytes\":1}", "{\"inEvents\":1.5}",
};

START_TEST(bad_limit_is_refused)
{
	struct catalog_limit l = {0};
	struct err_detail d = {""};
	ck_assert_int_eq(http_limit_body(span_str(bad_limits[_i]), &l, &d), ERR_INVALID);
	ck_assert_str_ne(d.text, "");
}
END_TEST

START_TEST(kinds_of_limits_have_names)
{
	static const char *const names[] = {"hub", "Partition", "publisher", "POLICY", "client"};
	enum catalog_limit_kind kind;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ck_assert(http_limit_kind(span_str(names[i]), &kind));
		ck_assert_int_eq(kind, CATALOG_LIMIT_HUB + (int)i);
	}
	ck_assert(!http_limit_kind(span_str(""), &kind));
	ck_assert(!http_limit_kind(span_str("namespace"), &kind));
	ck_assert(!http_limit_kind(span_str("hubs"), &kind));
}
END_TEST

START_TEST(limit_is_written)
{
	struct catalog_limit l = {.kind = CATALOG_LIMIT_POLICY, .name = "h/p\"", .in_events = 3};
	struct str out = {0};
	http_limit_put(&l, &out);
	ck_assert_str_eq(out.p, "{\"kind\":\"policy\",\"name\":\"h/p\\\"\",\"inBytes\":null,"
				"\"inEvents\":3,\"outBytes\":null,\"outEvents\":null}");
	str_fini(&out);
}
END_TEST

START_TEST(scope_is_written)
{
	struct throttle_scope_info s = {
		.kind = THROTTLE_PUBLISHER,
		.name = "h/p",
		.limit.rate[THROTTLE_IN] = {.bytes = 10},
		.figures[THROTTLE_IN] = {1, 2, 3, 4, 5, 6, 7, 8999999},
		.waiting_flows[THROTTLE_OUT] = 9,
		.waiting_bytes[THROTTLE_OUT] = 10,
		.worst = "127.0.0.1:1",
		.worst_percent = 50,
	};
	struct str out = {0};
	http_scope_put(&s, &out);
	ck_assert_str_eq(out.p,
			 "{\"kind\":\"publisher\",\"name\":\"h/p\","
			 "\"in\":{\"waitedMs\":8,\"limitBytes\":10,\"limitEvents\":null,"
			 "\"admittedRequests\":1,\"admittedBytes\":2,\"admittedEvents\":3,"
			 "\"heldRequests\":4,\"refusedRequests\":5,\"throttledBytes\":6,"
			 "\"throttledEvents\":7,\"waitingConnections\":0,\"waitingBytes\":0},"
			 "\"out\":{\"waitedMs\":0,\"limitBytes\":null,\"limitEvents\":null,"
			 "\"admittedRequests\":0,\"admittedBytes\":0,\"admittedEvents\":0,"
			 "\"heldRequests\":0,\"refusedRequests\":0,\"throttledBytes\":0,"
			 "\"throttledEvents\":0,\"waitingConnections\":9,\"waitingBytes\":10},"
			 "\"worst\":\"127.0.0.1:1\",\"worstPercent\":50}");
	str_fini(&out);
}
END_TEST

START_TEST(failed_allocation_is_reported)
{
	struct catalog_command c = {0};
	enum err e = ERR_NOMEM;
	long n = 1;
	for (; e != ERR_OK; n++) {
		mem_fault_at(n);
		e = http_hub_body(span_str("{\"partitions\":4}"), &c, NULL);
		mem_fault_at(0);
		ck_assert(e == ERR_OK || e == ERR_NOMEM);
	}
	ck_assert_int_gt(n, 2);
}
END_TEST

Suite *manage_json_suite(void)
{
	Suite *s = suite_create("manage_json");
	TCase *t = tcase_create("manage_json");
	tcase_add_test(t, hub_settings_are_read);
	tcase_add_test(t, retention_and_cleanup_are_read);
	tcase_add_test(t, absent_settings_are_left_alone);
	tcase_add_loop_test(t, bad_hub_settings_are_refused, 0, sizeof bad_hubs / sizeof *bad_hubs);
	tcase_add_loop_test(t, unknown_member_is_named, 0, sizeof unknown / sizeof *unknown);
	tcase_add_loop_test(t, policy_rights_are_read, 0, sizeof rights / sizeof *rights);
	tcase_add_test(t, key_to_rotate_is_read);
	tcase_add_test(t, hub_is_written);
	tcase_add_test(t, keys_are_written_only_when_asked);
	tcase_add_test(t, units_settings_are_read);
	tcase_add_loop_test(t, bad_units_settings_are_refused, 0,
			    sizeof bad_units / sizeof *bad_units);
	tcase_add_loop_test(t, limit_is_read, 0, sizeof limits / sizeof *limits);
	tcase_add_loop_test(t, bad_limit_is_refused, 0, sizeof bad_limits / sizeof *bad_limits);
	tcase_add_test(t, kinds_of_limits_have_names);
	tcase_add_test(t, limit_is_written);
	tcase_add_test(t, scope_is_written);
	tcase_add_test(t, failed_allocation_is_reported);
	suite_add_tcase(s, t);
	return s;
}
