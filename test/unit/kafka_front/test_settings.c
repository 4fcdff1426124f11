/* Settings of topics: at creation, changed, shown. */

#include <stdio.h>
#include <string.h>

#include "gateway/kafka/settings.h"
#include "test/unit/kafka_front/faults.h"

static struct kafka_fix fix;
static struct kafka_arena arena;
static struct kafka_conn *root;

static void setup(void)
{
	fix_open(&fix);
	root = fix_conn(&fix, "", ALL_RIGHTS);
}

static void teardown(void)
{
	fix_conn_close(&fix, &root);
	kafka_arena_fini(&arena);
	fix_close(&fix);
}

/* What a hub is set to. */
static void check_hub(const char *name, enum catalog_cleanup cleanup, int64_t retention_ms,
		      uint64_t retention_bytes)
{
	const struct catalog *cat = core_catalog(fix.core);
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(name));
	ck_assert_ptr_nonnull(hub);
	ck_assert_int_eq(hub->cleanup, cleanup);
	ck_assert_int_eq(hub->retention_ms, retention_ms);
	ck_assert_uint_eq(hub->retention_bytes, retention_bytes);
	catalog_drop(&cat);
}

/* "name=value,..."; a value with '+' for ','. The code. */
static int16_t create(const char *name, const char *settings, struct kafka_string *why)
{
	struct kafka_create_topics_request_config c[16] = {0};
	char copy[512];
	int32_t n = 0;
	snprintf(copy, sizeof copy, "%s", settings);
	for (char *w = strtok(copy, ","); w != NULL; w = strtok(NULL, ",")) {
		char *eq = strchr(w, '=');
		*eq = '\0';
		for (char *plus = strchr(eq + 1, '+'); plus != NULL; plus = strchr(plus, '+')) {
			*plus = ',';
		}
		c[n].name = TEXT(w);
		c[n++].value = TEXT(eq + 1);
	}
	struct kafka_create_topics_request_topic t = {.name = TEXT(name),
						      .num_partitions = 1,
						      .replication_factor = 1,
						      .configs = c,
						      .n_configs = n};
	struct kafka_create_topics_request q = {.topics = &t, .n_topics = 1};
	struct kafka_create_topics_response *p =
		fix_call(&fix, root, KAFKA_API_CreateTopics, 7, &q, &arena);
	if (why != NULL) {
		*why = p->topics[0].error_message;
	}
	return p->topics[0].error_code;
}

static const struct kafka_describe_configs_response_result *describe(const char *name)
{
	struct kafka_describe_configs_request_resource what = {
		.resource_type = 2, .resource_name = TEXT(name), .n_configuration_keys = -1};
	struct kafka_describe_configs_request q = {
		.resources = &what, .n_resources = 1, .include_synonyms = true};
	struct kafka_describe_configs_response *p =
		fix_call(&fix, root, KAFKA_API_DescribeConfigs, 4, &q, &arena);
	ck_assert_int_eq(p->results[0].error_code, 0);
	return &p->results[0];
}

static const struct kafka_describe_configs_response_config *
find(const struct kafka_describe_configs_response_result *p, const char *name)
{
	for (int32_t i = 0; i < p->n_configs; i++) {
		if (span_eq_str(p->configs[i].name.s, name)) {
			return &p->configs[i];
		}
	}
	ck_abort_msg("%s is missing", name);
	return NULL;
}

static void check_value(const char *topic, const char *name, const char *value, int8_t source)
{
	const struct kafka_describe_configs_response_config *c = find(describe(topic), name);
	ck_assert_msg(span_eq_str(c->value.s, value), "%s is %.*s", name, (int)c->value.s.n,
		      c->value.s.p);
	ck_assert_int_eq(c->config_source, source);
	ck_assert_int_eq(c->n_synonyms, source == KAFKA_SOURCE_TOPIC ? 2 : 1);
}

/* ---- creation --------------------------------------------------------------------------- */

/* What the tools send that make topics of their own. */
static const char *const taken[] = {
	"cleanup.policy=compact",						/* Connect, Schema Registry */
	"cleanup.policy=compact,min.insync.replicas=2",
	"segment.bytes=52428800,retention.ms=-1,cleanup.policy=delete,message.timestamp.type=CreateTime",
	"segment.bytes=52428800,cleanup.policy=compact+delete,retention.ms=172800000,"
	"message.timestamp.type=CreateTime",
	"cleanup.policy=compact,segment.bytes=104857600,min.compaction.lag.ms=0",
	"retention.ms=604800000,retention.bytes=-1,max.message.bytes=1048588,compression.type=producer",
	"segment.ms=60000,delete.retention.ms=1000,min.cleanable.dirty.ratio=0.01,max.message.bytes=1000",
	"unclean.leader.election.enable=true,preallocate=TRUE,flush.messages=1,flush.ms=1000",
	"index.interval.bytes=1,segment.index.bytes=1,segment.jitter.ms=1,file.delete.delay.ms=1",
	"leader.replication.throttled.replicas=*,follower.replication.throttled.replicas=0:1",
	"remote.storage.enable=false,local.retention.ms=-2,local.retention.bytes=-2",
	"min.cleanable.dirty.ratio=1,retention.ms=0,retention.bytes=0",
};
static const char *const refused[] = {
	"cleanup.policy=compacted", "cleanup.policy=", "cleanup.policy=delete+", "retention.ms=-2",
	"retention.ms=7d", "retention.ms=9223372036854775808", "retention.bytes= 1", "retention.bytes=",
	"min.compaction.lag.ms=1000", "max.compaction.lag.ms=1000", "message.timestamp.type=LogAppendTime",
	"delete.retention.ms=86400001", "max.message.bytes=1048589", "remote.storage.enable=true",
	"compression.type=zstd", "min.cleanable.dirty.ratio=2", "min.cleanable.dirty.ratio=nan",
	"segment.bytes=0", "segment.bytes=99999999999", "preallocate=2", "min.insync.replicas=0",
	"message.timestamp.after.max.ms=1000",
};

START_TEST(what_tools_send_is_taken)
{
	struct kafka_string why;
	ck_assert_msg(create("made", taken[_i], &why) == 0, "%.*s", (int)why.s.n, why.s.p);
}
END_TEST

START_TEST(what_would_not_hold_is_refused)
{
	struct kafka_string why;
	ck_assert_int_eq(create("made", refused[_i], &why), KAFKA_INVALID_CONFIG);
	size_t n = strcspn(refused[_i], "=");
	ck_assert_uint_gt(why.s.n, n);
	ck_assert_int_eq(memcmp(why.s.p, refused[_i], n), 0);
}
END_TEST

START_TEST(topics_are_made_as_asked)
{
	ck_assert_int_eq(create("kept", "retention.ms=86400000,retention.bytes=1048576", NULL), 0);
	check_hub("kept", CATALOG_DELETE, 86400000, 1048576);
	ck_assert_int_eq(create("table", "cleanup.policy=compact", NULL), 0);
	check_hub("table", CATALOG_COMPACT, 0, 0);
	ck_assert_int_eq(create("both", "cleanup.policy=delete + compact,retention.ms=1000", NULL), 0);
	check_hub("both", CATALOG_COMPACT_DELETE, 1000, 0);
	ck_assert_int_eq(create("nothing", "retention.ms=0,retention.bytes=0", NULL), 0);
	check_hub("nothing", CATALOG_DELETE, 1, 1);
	check_value("kept", "retention.ms", "86400000", KAFKA_SOURCE_TOPIC);
	check_value("kept", "retention.bytes", "1048576", KAFKA_SOURCE_TOPIC);
	check_value("kept", "cleanup.policy", "delete", KAFKA_SOURCE_DEFAULT);
	check_value("table", "cleanup.policy", "compact", KAFKA_SOURCE_TOPIC);
	check_value("both", "cleanup.policy", "compact,delete", KAFKA_SOURCE_TOPIC);
	check_value("events", "retention.ms", "-1", KAFKA_SOURCE_DEFAULT);
	check_value("events", "segment.bytes", "268435456", KAFKA_SOURCE_STATIC_BROKER);
	check_value("events", "delete.retention.ms", "86400000", KAFKA_SOURCE_STATIC_BROKER);
}
END_TEST

/* Resources of one request that are set differently are told apart. */
START_TEST(many_are_described_at_once)
{
	ck_assert_int_eq(create("table", "cleanup.policy=compact", NULL), 0);
	struct kafka_describe_configs_request_resource what[4];
	static const char *const names[] = {"events", "table", "other", "table"};
	for (int i = 0; i < 4; i++) {
		what[i] = (struct kafka_describe_configs_request_resource){
			.resource_type = 2, .resource_name = TEXT(names[i]), .n_configuration_keys = -1};
	}
	struct kafka_describe_configs_request q = {.resources = what, .n_resources = 4};
	struct kafka_describe_configs_response *p =
		fix_call(&fix, root, KAFKA_API_DescribeConfigs, 1, &q, &arena);
	for (int i = 0; i < 4; i++) {
		ck_assert(span_eq_str(find(&p->results[i], "cleanup.policy")->value.s,
				      i % 2 == 0 ? "delete" : "compact"));
	}
}
END_TEST

/* ---- changes ------------------------------------------------------------------------------ */

struct change {
	const char *name;
	int8_t op;
	const char *value;	/* NULL: null */
};

static int16_t incremental(struct kafka_conn *c, const char *topic, const struct change *v, int32_t n,
			   bool validate_only)
{
	struct kafka_incremental_alter_configs_request_config configs[8] = {0};
	for (int32_t i = 0; i < n; i++) {
		configs[i].name = TEXT(v[i].name);
		configs[i].config_operation = v[i].op;
		configs[i].value = v[i].value != NULL ? TEXT(v[i].value) : NONE;
	}
	struct kafka_incremental_alter_configs_request_resource what = {
		.resource_type = 2, .resource_name = TEXT(topic), .configs = configs, .n_configs = n};
	struct kafka_incremental_alter_configs_request q = {
		.resources = &what, .n_resources = 1, .validate_only = validate_only};
	struct kafka_incremental_alter_configs_response *p =
		fix_call(&fix, c, KAFKA_API_IncrementalAlterConfigs, 1, &q, &arena);
	ck_assert_int_eq(p->n_responses, 1);
	ck_assert(span_eq_str(p->responses[0].resource_name.s, topic));
	ck_assert_int_eq(p->responses[0].resource_type, 2);
	ck_assert(p->responses[0].error_message.is_null == (p->responses[0].error_code == 0));
	return p->responses[0].error_code;
}

static int16_t one(const char *name, int8_t op, const char *value)
{
	return incremental(root, "events", &(struct change){name, op, value}, 1, false);
}

START_TEST(single_settings_are_changed)
{
	ck_assert_int_eq(one("retention.ms", KAFKA_CONFIG_SET, "1000"), 0);
	check_hub("events", CATALOG_DELETE, 1000, 0);
	ck_assert_int_eq(one("retention.bytes", KAFKA_CONFIG_SET, "4096"), 0);
	check_hub("events", CATALOG_DELETE, 1000, 4096);
	ck_assert_int_eq(one("cleanup.policy", KAFKA_CONFIG_APPEND, "compact"), 0);
	check_hub("events", CATALOG_COMPACT_DELETE, 1000, 4096);
	ck_assert_int_eq(one("cleanup.policy", KAFKA_CONFIG_SUBTRACT, "delete"), 0);
	check_hub("events", CATALOG_COMPACT, 1000, 4096);
	ck_assert_int_eq(one("cleanup.policy", KAFKA_CONFIG_SUBTRACT, "compact"), KAFKA_INVALID_CONFIG);
	ck_assert_int_eq(one("retention.ms", KAFKA_CONFIG_DELETE, NULL), 0);
	check_hub("events", CATALOG_COMPACT, 0, 4096);
	ck_assert_int_eq(one("retention.bytes", KAFKA_CONFIG_DELETE, "9"), 0);
	ck_assert_int_eq(one("cleanup.policy", KAFKA_CONFIG_DELETE, NULL), 0);
	check_hub("events", CATALOG_DELETE, 0, 0);
	/* What has no effect changes nothing, and what is wrong neither. */
	ck_assert_int_eq(one("segment.ms", KAFKA_CONFIG_SET, "1000"), 0);
	ck_assert_int_eq(one("segment.ms", KAFKA_CONFIG_DELETE, NULL), 0);
	ck_assert_int_eq(one("segment.ms", KAFKA_CONFIG_APPEND, "1"), KAFKA_INVALID_CONFIG);
	ck_assert_int_eq(one("retention.ms", KAFKA_CONFIG_SET, NULL), KAFKA_INVALID_CONFIG);
	ck_assert_int_eq(one("retention.ms", 7, "1"), KAFKA_INVALID_REQUEST);
	ck_assert_int_eq(one("no.such", KAFKA_CONFIG_DELETE, NULL), 0);
	ck_assert_int_eq(one("no.such", KAFKA_CONFIG_SET, "1"), KAFKA_INVALID_CONFIG);
	check_hub("events", CATALOG_DELETE, 0, 0);
}
END_TEST

START_TEST(several_settings_are_changed_or_none)
{
	struct change v[3] = {{"retention.ms", KAFKA_CONFIG_SET, "5000"},
			      {"cleanup.policy", KAFKA_CONFIG_SET, "compact,delete"},
			      {"retention.bytes", KAFKA_CONFIG_SET, "x"}};
	ck_assert_int_eq(incremental(root, "events", v, 3, false), KAFKA_INVALID_CONFIG);
	check_hub("events", CATALOG_DELETE, 0, 0);
	v[2].value = "100";
	ck_assert_int_eq(incremental(root, "events", v, 3, true), 0);
	check_hub("events", CATALOG_DELETE, 0, 0);
	ck_assert_int_eq(incremental(root, "events", v, 3, false), 0);
	check_hub("events", CATALOG_COMPACT_DELETE, 5000, 100);
	v[2] = v[0];
	ck_assert_int_eq(incremental(root, "events", v, 3, false), KAFKA_INVALID_REQUEST);
	ck_assert_int_eq(incremental(root, "events", v, 0, false), 0);
	ck_assert_int_eq(incremental(root, "nowhere", v, 1, false), 3);
	ck_assert_int_eq(incremental(root, "a/b", v, 1, false), KAFKA_INVALID_TOPIC);
	struct kafka_conn *c = fix_conn(&fix, "events", AUTH_SEND | AUTH_LISTEN);
	ck_assert_int_eq(incremental(c, "events", v, 1, false), KAFKA_TOPIC_AUTHORIZATION_FAILED);
	fix_conn_close(&fix, &c);
}
END_TEST

/* What is not named goes back to its default. */
START_TEST(all_settings_are_set_at_once)
{
	for (int16_t version = 0; version <= 2; version++) {
		ck_assert_int_eq(one("retention.ms", KAFKA_CONFIG_SET, "1000"), 0);
		ck_assert_int_eq(one("cleanup.policy", KAFKA_CONFIG_SET, "compact"), 0);
		struct kafka_alter_configs_request_config c[2] = {
			{.name = TEXT("retention.bytes"), .value = TEXT("1000")},
			{.name = TEXT("segment.bytes"), .value = TEXT("1000")}};
		struct kafka_alter_configs_request_resource what[3] = {
			{.resource_type = 2, .resource_name = TEXT("events"), .configs = c, .n_configs = 2},
			{.resource_type = 4, .resource_name = TEXT("1"), .configs = c, .n_configs = 1},
			{.resource_type = 2, .resource_name = TEXT("other"), .configs = c, .n_configs = 1}};
		struct kafka_alter_configs_request q = {.resources = what, .n_resources = 3};
		struct kafka_alter_configs_response *p =
			fix_call(&fix, root, KAFKA_API_AlterConfigs, version, &q, &arena);
		ck_assert_int_eq(p->n_responses, 3);
		ck_assert_int_eq(p->responses[0].error_code, 0);
		ck_assert_int_eq(p->responses[1].error_code, KAFKA_INVALID_REQUEST);
		ck_assert_int_eq(p->responses[2].error_code, 0);
		check_hub("events", CATALOG_DELETE, 0, 1000);
		check_hub("other", CATALOG_DELETE, 0, 1000);
		what[2].resource_name = TEXT("EVENTS");
		p = fix_call(&fix, root, KAFKA_API_AlterConfigs, version, &q, &arena);
		ck_assert_int_eq(p->responses[0].error_code, KAFKA_INVALID_REQUEST);
		ck_assert_int_eq(p->responses[2].error_code, KAFKA_INVALID_REQUEST);
	}
}
END_TEST

START_TEST(no_memory_and_no_connection)
{
	struct kafka_alter_configs_request_config c[2] = {
		{.name = TEXT("retention.bytes"), .value = TEXT("1000")},
		{.name = TEXT("retention.ms"), .value = TEXT("1000")}};
	struct kafka_alter_configs_request_resource what[2] = {
		{.resource_type = 2, .resource_name = TEXT("events"), .configs = c, .n_configs = 2},
		{.resource_type = 2, .resource_name = TEXT("other"), .configs = c, .n_configs = 1}};
	struct kafka_alter_configs_request q = {.resources = what, .n_resources = 2};
	faults_each_allocation(&fix, KAFKA_API_AlterConfigs, 2, &q);
	faults_gone(&fix, KAFKA_API_AlterConfigs, 2, &q);
	c[1].value = TEXT("wrong");
	faults_each_allocation(&fix, KAFKA_API_AlterConfigs, 2, &q);
}
END_TEST

Suite *settings_suite(void)
{
	Suite *s = suite_create("settings");
	TCase *t = tcase_create("settings");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_tools_send_is_taken, 0, sizeof taken / sizeof *taken);
	tcase_add_loop_test(t, what_would_not_hold_is_refused, 0, sizeof refused / sizeof *refused);
	tcase_add_test(t, topics_are_made_as_asked);
	tcase_add_test(t, many_are_described_at_once);
	tcase_add_test(t, single_settings_are_changed);
	tcase_add_test(t, several_settings_are_changed_or_none);
	tcase_add_test(t, all_settings_are_set_at_once);
	tcase_add_test(t, no_memory_and_no_connection);
	suite_add_tcase(s, t);
	return s;
}
