/* CreateTopics, DeleteTopics, CreatePartitions, DescribeConfigs. */

#include <stdio.h>
#include <string.h>

#include "gateway/kafka/handlers.h"
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

/* ---- CreateTopics ------------------------------------------------------------------- */

static const struct kafka_create_topics_response_topic *
create(struct kafka_conn *c, int16_t v, struct kafka_create_topics_request_topic t,
       bool validate_only)
{
	struct kafka_create_topics_request q = {
		.topics = &t, .n_topics = 1, .timeout_ms = 1000, .validate_only = validate_only};
	struct kafka_create_topics_response *p =
		fix_call(&fix, c, KAFKA_API_CreateTopics, v, &q, &arena);
	ck_assert_int_eq(p->n_topics, 1);
	ck_assert(span_eq(p->topics[0].name.s, t.name.s));
	return &p->topics[0];
}

static int16_t create_code(const char *name, int32_t partitions, int16_t factor)
{
	struct kafka_create_topics_request_topic t = {
		.name = TEXT(name), .num_partitions = partitions, .replication_factor = factor};
	return create(root, 7, t, false)->error_code;
}

START_TEST(create_in_every_version)
{
	for (int16_t v = 0; v <= 7; v++) {
		char name[16];
		snprintf(name, sizeof name, "made-%d", v);
		struct kafka_create_topics_request_topic t = {
			.name = TEXT(name), .num_partitions = 3, .replication_factor = 3};
		const struct kafka_create_topics_response_topic *p = create(root, v, t, false);
		ck_assert_int_eq(p->error_code, 0);
		uint32_t id = fix_hub_id(&fix, name);
		if (v >= 5) {
			ck_assert_int_eq(p->num_partitions, 3);
			ck_assert_int_eq(p->replication_factor, 1);
			ck_assert_int_gt(p->n_configs, 20);
		}
		ck_assert(v < 7 || kafka_topic_of_id(fix.front, &p->topic_id) == id);
		ck_assert_int_eq(create(root, v, t, false)->error_code, KAFKA_TOPIC_ALREADY_EXISTS);
	}
}
END_TEST

START_TEST(create_numbers)
{
	ck_assert_int_eq(create_code("a1", -1, -1), 0);
	ck_assert_int_eq(create_code("a2", 0, 1), KAFKA_INVALID_PARTITIONS);
	ck_assert_int_eq(create_code("a3", -2, 1), KAFKA_INVALID_PARTITIONS);
	ck_assert_int_eq(create_code("a4", LIMIT_PARTITIONS + 1, 1), KAFKA_INVALID_PARTITIONS);
	ck_assert_int_eq(create_code("a5", LIMIT_PARTITIONS, 1), 0);
	ck_assert_int_eq(create_code("a6", 1, 0), KAFKA_INVALID_REPLICATION_FACTOR);
	ck_assert_int_eq(create_code("a7", 1, -2), KAFKA_INVALID_REPLICATION_FACTOR);
	ck_assert_int_eq(create_code("a/b", 1, 1), KAFKA_INVALID_TOPIC);
	ck_assert_int_eq(create_code("", 1, 1), KAFKA_INVALID_TOPIC);
	ck_assert_int_eq(create_code("_private", 1, 1), 0);
	ck_assert_int_eq(create_code("EVENTS", 1, 1), KAFKA_TOPIC_ALREADY_EXISTS);
	struct kafka_create_topics_request_topic t = {
		.name = TEXT("a8"), .num_partitions = -1, .replication_factor = -1};
	ck_assert_int_eq(create(root, 5, t, true)->num_partitions, KAFKA_PARTITIONS_DEFAULT);
	fix.front->options.auto_create = 7;
	ck_assert_int_eq(create(root, 5, t, true)->num_partitions, 7);
	ck_assert_int_eq(create_code("a8", 1, 1), 0); /* validation made nothing */
}
END_TEST

START_TEST(create_validates_only)
{
	struct kafka_create_topics_request_topic t = {
		.name = TEXT("events"), .num_partitions = 1, .replication_factor = 1};
	ck_assert_int_eq(create(root, 7, t, true)->error_code, KAFKA_TOPIC_ALREADY_EXISTS);
	t.name = TEXT("od d");
	const struct kafka_create_topics_response_topic *p = create(root, 7, t, true);
	ck_assert_int_eq(p->error_code, KAFKA_INVALID_TOPIC);
	ck_assert(!p->error_message.is_null);
	ck_assert_int_eq(p->num_partitions, -1);
}
END_TEST

START_TEST(create_with_assignments)
{
	int32_t brokers[2] = {1, 2};
	struct kafka_create_topics_request_assignment a[2] = {
		{.partition_index = 1, .broker_ids = brokers, .n_broker_ids = 2},
		{.partition_index = 0, .broker_ids = brokers, .n_broker_ids = 1},
	};
	struct kafka_create_topics_request_topic t = {.name = TEXT("assigned"),
						      .num_partitions = -1,
						      .replication_factor = -1,
						      .assignments = a,
						      .n_assignments = 2};
	t.num_partitions = 2;
	ck_assert_int_eq(create(root, 7, t, false)->error_code, KAFKA_INVALID_REQUEST);
	t.num_partitions = -1;
	a[0].partition_index = 2;
	ck_assert_int_eq(create(root, 7, t, false)->error_code, KAFKA_INVALID_REPLICA_ASSIGNMENT);
	a[0].partition_index = 0;
	ck_assert_int_eq(create(root, 7, t, false)->error_code, KAFKA_INVALID_REPLICA_ASSIGNMENT);
	a[0].partition_index = 1;
	a[1].n_broker_ids = 0;
	ck_assert_int_eq(create(root, 7, t, false)->error_code, KAFKA_INVALID_REPLICA_ASSIGNMENT);
	a[1].n_broker_ids = 1;
	ck_assert_int_eq(create(root, 7, t, false)->num_partitions, 2);
}
END_TEST

START_TEST(create_with_settings)
{
	struct kafka_create_topics_request_config c[2] = {
		{.name = TEXT("cleanup.policy"), .value = TEXT("delete")},
		{.name = TEXT("compression.type"), .value = TEXT("producer")},
	};
	struct kafka_create_topics_request_topic t = {.name = TEXT("set"),
						      .num_partitions = 1,
						      .replication_factor = 1,
						      .configs = c,
						      .n_configs = 2};
	ck_assert_int_eq(create(root, 7, t, true)->error_code, 0);
	c[1].value = TEXT("gzip");
	const struct kafka_create_topics_response_topic *p = create(root, 7, t, false);
	ck_assert_int_eq(p->error_code, KAFKA_INVALID_CONFIG);
	ck_assert(span_eq_str(p->error_message.s, "compression.type: cannot be set, it is producer"));
	c[1].value = NONE;
	ck_assert_int_eq(create(root, 7, t, false)->error_code, KAFKA_INVALID_CONFIG);
	c[1] = (struct kafka_create_topics_request_config){.name = TEXT("wings"),
							   .value = TEXT("2")};
	p = create(root, 7, t, false);
	ck_assert_int_eq(p->error_code, KAFKA_INVALID_CONFIG);
	ck_assert(span_eq_str(p->error_message.s, "wings: there is no such setting"));
}
END_TEST

START_TEST(create_many_with_duplicates_and_rights)
{
	enum { MANY = 30 };
	char names[MANY][24];
	struct kafka_create_topics_request_topic t[MANY + 2];
	memset(t, 0, sizeof t);
	for (int i = 0; i < MANY + 2; i++) {
		if (i < MANY) {
			snprintf(names[i], sizeof names[i], "many-%d", i);
		}
		t[i] = (struct kafka_create_topics_request_topic){.name = TEXT(i < MANY ? names[i]
									       : i == MANY
										       ? "TWICE"
										       : "twice"),
								  .num_partitions = 1,
								  .replication_factor = 1};
	}
	struct kafka_create_topics_request q = {.topics = t, .n_topics = MANY + 2};
	struct kafka_create_topics_response *p =
		fix_call(&fix, root, KAFKA_API_CreateTopics, 7, &q, &arena);
	ck_assert_int_eq(p->n_topics, MANY + 1);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(p->topics[i].error_code, 0);
	}
	ck_assert_int_eq(p->topics[MANY].error_code, KAFKA_INVALID_REQUEST);
	struct kafka_conn *reader = fix_conn(&fix, "", AUTH_LISTEN | AUTH_SEND);
	ck_assert_int_eq(create(reader, 7, t[0], false)->error_code,
			 KAFKA_TOPIC_AUTHORIZATION_FAILED);
	fix_conn_close(&fix, &reader);
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof names[i], "more-%d", i);
	}
	faults_gone(&fix, KAFKA_API_CreateTopics, 7, &q);
}
END_TEST

/* ---- DeleteTopics --------------------------------------------------------------------- */

static int16_t delete_named(struct kafka_conn *c, int16_t v, const char *name)
{
	struct kafka_string s = TEXT(name);
	struct kafka_delete_topics_request_topic t = {.name = s};
	struct kafka_delete_topics_request q = {
		.topics = &t, .n_topics = 1, .topic_names = &s, .n_topic_names = 1};
	struct kafka_delete_topics_response *p =
		fix_call(&fix, c, KAFKA_API_DeleteTopics, v, &q, &arena);
	ck_assert_int_eq(p->n_responses, 1);
	ck_assert(span_eq_str(p->responses[0].name.s, name));
	return p->responses[0].error_code;
}

START_TEST(delete_in_every_version)
{
	struct kafka_conn *one = fix_conn(&fix, "events", ALL_RIGHTS);
	struct kafka_conn *reader = fix_conn(&fix, "", AUTH_LISTEN);
	for (int16_t v = 0; v <= 6; v++) {
		fix_make_hub(&fix, "brief", 1);
		ck_assert_int_eq(delete_named(one, v, "brief"), KAFKA_TOPIC_AUTHORIZATION_FAILED);
		ck_assert_int_eq(delete_named(reader, v, "brief"),
				 KAFKA_TOPIC_AUTHORIZATION_FAILED);
		ck_assert_int_eq(delete_named(root, v, "brief"), 0);
		ck_assert_int_eq(delete_named(root, v, "brief"), 3);
		ck_assert_int_eq(delete_named(root, v, "a/b"), 3);
	}
	fix_conn_close(&fix, &one);
	fix_conn_close(&fix, &reader);
}
END_TEST

START_TEST(delete_by_id)
{
	struct kafka_delete_topics_request_topic t[6] = {
		{.topic_id = kafka_topic_id(fix.front, fix_hub_id(&fix, "other")), .name = NONE},
		{.topic_id = kafka_topic_id(fix.front, 999), .name = NONE},
		{.name = NONE},
		{.topic_id = kafka_topic_id(fix.front, 1), .name = TEXT("events")},
		{.name = TEXT("dup")},
		{.name = TEXT("Dup")},
	};
	struct kafka_delete_topics_request q = {.topics = t, .n_topics = 6};
	struct kafka_delete_topics_response *p =
		fix_call(&fix, root, KAFKA_API_DeleteTopics, 6, &q, &arena);
	ck_assert_int_eq(p->n_responses, 5);
	ck_assert_int_eq(p->responses[0].error_code, 0);
	ck_assert(span_eq_str(p->responses[0].name.s, "other"));
	ck_assert_int_eq(p->responses[1].error_code, KAFKA_UNKNOWN_TOPIC_ID);
	ck_assert(p->responses[1].name.is_null);
	ck_assert_int_eq(p->responses[2].error_code, KAFKA_INVALID_REQUEST);
	ck_assert_int_eq(p->responses[3].error_code, KAFKA_INVALID_REQUEST);
	ck_assert_int_eq(p->responses[4].error_code, KAFKA_INVALID_REQUEST);
	ck_assert_int_eq(delete_named(root, 6, "other"), 3);
	ck_assert_int_eq(delete_named(root, 6, "events"), 0);
}
END_TEST

/* ---- CreatePartitions ------------------------------------------------------------------ */

static int16_t grow(struct kafka_conn *c, int16_t v, const char *name, int32_t count, bool validate)
{
	struct kafka_create_partitions_request_topic t = {
		.name = TEXT(name), .count = count, .n_assignments = -1};
	struct kafka_create_partitions_request q = {
		.topics = &t, .n_topics = 1, .validate_only = validate};
	struct kafka_create_partitions_response *p =
		fix_call(&fix, c, KAFKA_API_CreatePartitions, v, &q, &arena);
	ck_assert_int_eq(p->n_results, 1);
	ck_assert_int_eq(p->results[0].error_code != 0, !p->results[0].error_message.is_null);
	return p->results[0].error_code;
}

START_TEST(partitions_are_added)
{
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_SEND);
	for (int16_t v = 0; v <= 3; v++) {
		ck_assert_int_eq(grow(root, v, "events", 4 + v, false), KAFKA_INVALID_PARTITIONS);
		ck_assert_int_eq(grow(root, v, "events", 5 + v, true), 0);
		ck_assert_int_eq(grow(root, v, "events", 5 + v, false), 0);
		ck_assert_int_eq(grow(root, v, "nowhere", 5, false), 3);
		ck_assert_int_eq(grow(one, v, "events", 100, false),
				 KAFKA_TOPIC_AUTHORIZATION_FAILED);
		ck_assert_int_eq(grow(root, v, "events", LIMIT_PARTITIONS + 1, false),
				 KAFKA_INVALID_PARTITIONS);
		ck_assert_int_eq(grow(root, v, "events", -1, false), KAFKA_INVALID_PARTITIONS);
	}
	struct kafka_topic topic;
	ck_assert_int_eq(kafka_topic_find(root, span_str("events"), AUTH_SEND, &topic), 0);
	ck_assert_uint_eq(topic.partitions, 8);
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(added_partitions_with_assignments)
{
	int32_t broker = 1;
	struct kafka_create_partitions_request_assignment a[2] = {
		{.broker_ids = &broker, .n_broker_ids = 1}, {.n_broker_ids = 0}};
	struct kafka_create_partitions_request_topic t[3] = {
		{.name = TEXT("events"), .count = 6, .assignments = a, .n_assignments = 2},
		{.name = TEXT("other"), .count = 3, .assignments = a, .n_assignments = 2},
		{.name = TEXT("Other"), .count = 3, .assignments = a, .n_assignments = 1},
	};
	struct kafka_create_partitions_request q = {.topics = t, .n_topics = 3};
	struct kafka_create_partitions_response *p =
		fix_call(&fix, root, KAFKA_API_CreatePartitions, 3, &q, &arena);
	ck_assert_int_eq(p->n_results, 2);
	ck_assert_int_eq(p->results[0].error_code, KAFKA_INVALID_REPLICA_ASSIGNMENT);
	ck_assert_int_eq(p->results[1].error_code, KAFKA_INVALID_REQUEST);
	a[1] = a[0];
	q.n_topics = 2;
	p = fix_call(&fix, root, KAFKA_API_CreatePartitions, 3, &q, &arena);
	ck_assert_int_eq(p->results[0].error_code, 0);
	ck_assert_int_eq(p->results[1].error_code, KAFKA_INVALID_REPLICA_ASSIGNMENT);
}
END_TEST

/* ---- DescribeConfigs ---------------------------------------------------------------------- */

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

static const struct kafka_describe_configs_response_result *
describe(struct kafka_conn *c, int16_t v, struct kafka_describe_configs_request_resource what)
{
	struct kafka_describe_configs_request q = {.resources = &what, .n_resources = 1};
	struct kafka_describe_configs_response *p =
		fix_call(&fix, c, KAFKA_API_DescribeConfigs, v, &q, &arena);
	ck_assert_int_eq(p->n_results, 1);
	return &p->results[0];
}

START_TEST(settings_of_topics)
{
	for (int16_t v = 1; v <= 4; v++) {
		struct kafka_describe_configs_request_resource what = {.resource_type = 2,
								       .resource_name =
									       TEXT("events"),
								       .n_configuration_keys = -1};
		const struct kafka_describe_configs_response_result *p = describe(root, v, what);
		ck_assert_int_eq(p->error_code, 0);
		ck_assert(span_eq_str(find(p, "cleanup.policy")->value.s, "delete"));
		ck_assert(span_eq_str(find(p, "retention.ms")->value.s, "-1"));
		ck_assert(span_eq_str(find(p, "max.message.bytes")->value.s, "1048588"));
		const struct kafka_describe_configs_response_config *c = find(p, "retention.bytes");
		ck_assert(!c->read_only);
		ck_assert(find(p, "segment.ms")->read_only);
		ck_assert_int_eq(c->config_source, 5);
		ck_assert_int_eq(c->n_synonyms, 0);
		ck_assert(v < 3 || (c->config_type == 5 && c->documentation.is_null));
		struct kafka_string keys[2] = {TEXT("retention.ms"), TEXT("nonsense")};
		what.configuration_keys = keys;
		what.n_configuration_keys = 2;
		p = describe(root, v, what);
		ck_assert_int_eq(p->n_configs, 1);
		what.n_configuration_keys = 0;
		ck_assert_int_eq(describe(root, v, what)->n_configs, 0);
	}
}
END_TEST

START_TEST(settings_with_synonyms_and_texts)
{
	struct kafka_describe_configs_request_resource what = {
		.resource_type = 2, .resource_name = TEXT("events"), .n_configuration_keys = -1};
	struct kafka_describe_configs_request q = {.resources = &what,
						   .n_resources = 1,
						   .include_synonyms = true,
						   .include_documentation = true};
	struct kafka_describe_configs_response *p =
		fix_call(&fix, root, KAFKA_API_DescribeConfigs, 4, &q, &arena);
	const struct kafka_describe_configs_response_config *c =
		find(&p->results[0], "retention.ms");
	ck_assert_int_eq(c->n_synonyms, 1);
	ck_assert(span_eq_str(c->synonyms[0].name.s, "log.retention.ms"));
	ck_assert(!c->documentation.is_null);
}
END_TEST

START_TEST(settings_of_the_broker)
{
	fix.front->options.auto_create = 5;
	struct kafka_describe_configs_request_resource what = {
		.resource_type = 4, .resource_name = TEXT("1"), .n_configuration_keys = -1};
	const struct kafka_describe_configs_response_result *p = describe(root, 4, what);
	ck_assert_int_eq(p->error_code, 0);
	ck_assert(span_eq_str(find(p, "num.partitions")->value.s, "5"));
	ck_assert(span_eq_str(find(p, "auto.create.topics.enable")->value.s, "true"));
	ck_assert(span_eq_str(find(p, "fetch.max.bytes")->value.s, "8388608"));
	ck_assert(span_eq_str(find(p, "default.replication.factor")->value.s, "1"));
	what.resource_name = TEXT("");
	p = describe(root, 4, what);
	ck_assert_int_eq(p->error_code, 0);
	ck_assert_int_eq(p->n_configs, 0);
	what.resource_name = TEXT("2");
	ck_assert_int_eq(describe(root, 4, what)->error_code, KAFKA_INVALID_REQUEST);
	what.resource_type = 8;
	ck_assert_int_eq(describe(root, 4, what)->error_code, KAFKA_INVALID_REQUEST);
}
END_TEST

START_TEST(settings_are_shown_by_rights)
{
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_SEND);
	struct kafka_describe_configs_request_resource what = {
		.resource_type = 2, .resource_name = TEXT("events"), .n_configuration_keys = -1};
	ck_assert_int_eq(describe(one, 4, what)->error_code, 0);
	what.resource_name = TEXT("other");
	ck_assert_int_eq(describe(one, 4, what)->error_code, KAFKA_TOPIC_AUTHORIZATION_FAILED);
	what.resource_name = TEXT("nowhere");
	ck_assert_int_eq(describe(root, 4, what)->error_code, 3);
	what.resource_name = TEXT("a/b");
	ck_assert_int_eq(describe(root, 4, what)->error_code, KAFKA_INVALID_TOPIC);
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(no_memory)
{
	struct kafka_create_topics_request_topic t[2] = {
		{.name = TEXT("new"), .num_partitions = 1, .replication_factor = 1},
		{.name = TEXT("events"), .num_partitions = 1, .replication_factor = 1}};
	struct kafka_create_topics_request create_q = {.topics = t, .n_topics = 2};
	faults_each_allocation(&fix, KAFKA_API_CreateTopics, 7, &create_q);
	struct kafka_delete_topics_request_topic d[2] = {
		{.topic_id = kafka_topic_id(fix.front, fix_hub_id(&fix, "other")), .name = NONE},
		{.name = TEXT("new")}};
	struct kafka_delete_topics_request delete_q = {.topics = d, .n_topics = 2};
	faults_each_allocation(&fix, KAFKA_API_DeleteTopics, 6, &delete_q);
	struct kafka_create_partitions_request_topic g = {
		.name = TEXT("events"), .count = 9, .n_assignments = -1};
	struct kafka_create_partitions_request grow_q = {.topics = &g, .n_topics = 1};
	faults_each_allocation(&fix, KAFKA_API_CreatePartitions, 3, &grow_q);
	struct kafka_describe_configs_request_resource what[2] = {
		{.resource_type = 2, .resource_name = TEXT("events"), .n_configuration_keys = -1},
		{.resource_type = 4, .resource_name = TEXT("1"), .n_configuration_keys = -1}};
	struct kafka_describe_configs_request describe_q = {.resources = what, .n_resources = 2};
	faults_each_allocation(&fix, KAFKA_API_DescribeConfigs, 4, &describe_q);
}
END_TEST

Suite *admin_suite(void)
{
	Suite *s = suite_create("admin");
	TCase *t = tcase_create("admin");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, create_in_every_version);
	tcase_add_test(t, create_numbers);
	tcase_add_test(t, create_validates_only);
	tcase_add_test(t, create_with_assignments);
	tcase_add_test(t, create_with_settings);
	tcase_add_test(t, create_many_with_duplicates_and_rights);
	tcase_add_test(t, delete_in_every_version);
	tcase_add_test(t, delete_by_id);
	tcase_add_test(t, partitions_are_added);
	tcase_add_test(t, added_partitions_with_assignments);
	tcase_add_test(t, settings_of_topics);
	tcase_add_test(t, settings_with_synonyms_and_texts);
	tcase_add_test(t, settings_of_the_broker);
	tcase_add_test(t, settings_are_shown_by_rights);
	tcase_add_test(t, no_memory);
	suite_add_tcase(s, t);
	return s;
}
