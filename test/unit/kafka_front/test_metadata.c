/* Metadata with hubs made on demand, DescribeCluster, FindCoordinator. */

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

static struct kafka_metadata_response *ask(struct kafka_conn *c, int16_t version,
					   const struct kafka_metadata_request *q)
{
	return fix_call(&fix, c, KAFKA_API_Metadata, version, q, &arena);
}

static const struct kafka_metadata_response_topic *ask_one(struct kafka_conn *c, int16_t version,
							   const char *name)
{
	struct kafka_metadata_request_topic t = {.name = TEXT(name)};
	struct kafka_metadata_request q = {
		.topics = &t, .n_topics = 1, .allow_auto_topic_creation = true};
	struct kafka_metadata_response *p = ask(c, version, &q);
	ck_assert_int_eq(p->n_topics, 1);
	ck_assert(span_eq_str(p->topics[0].name.s, name));
	return &p->topics[0];
}

START_TEST(all_topics_by_version)
{
	for (int16_t v = 0; v <= 12; v++) {
		struct kafka_metadata_request q = {.n_topics = v == 0 ? 0 : -1};
		struct kafka_metadata_response *p = ask(root, v, &q);
		ck_assert_int_eq(p->n_brokers, 1);
		ck_assert_int_eq(p->brokers[0].node_id, 1);
		ck_assert(span_eq_str(p->brokers[0].host.s, "broker.example"));
		ck_assert_int_eq(p->brokers[0].port, 9093);
		ck_assert_int_eq(p->n_topics, 2); /* a/b has no name for Kafka */
		ck_assert(span_eq_str(p->topics[0].name.s, "events"));
		ck_assert(span_eq_str(p->topics[1].name.s, "other"));
		ck_assert_int_eq(p->topics[0].n_partitions, 4);
		ck_assert_int_eq(p->topics[1].n_partitions, 2);
		ck_assert_int_eq(p->controller_id, v >= 1 ? 1 : -1);
		ck_assert(v < 2 || span_eq_str(p->cluster_id.s, fix.front->cluster_id));
	}
}
END_TEST

START_TEST(an_empty_list_asks_for_none)
{
	for (int16_t v = 1; v <= 12; v++) {
		struct kafka_metadata_request q = {.n_topics = 0};
		struct kafka_metadata_response *p = ask(root, v, &q);
		ck_assert_int_eq(p->n_topics, 0);
		ck_assert_int_eq(p->n_brokers, 1);
	}
}
END_TEST

START_TEST(partitions_are_led_here)
{
	const struct kafka_metadata_response_topic *t = ask_one(root, 12, "events");
	ck_assert_int_eq(t->error_code, 0);
	ck_assert_int_eq(t->topic_authorized_operations, KAFKA_NO_OPERATIONS);
	ck_assert_uint_eq(kafka_topic_of_id(fix.front, &t->topic_id), fix_hub_id(&fix, "events"));
	for (int32_t i = 0; i < 4; i++) {
		const struct kafka_metadata_response_partition *p = &t->partitions[i];
		ck_assert_int_eq(p->partition_index, i);
		ck_assert_int_eq(p->error_code, 0);
		ck_assert_int_eq(p->leader_id, 1);
		ck_assert_int_eq(p->leader_epoch, 0);
		ck_assert_int_eq(p->n_replica_nodes, 1);
		ck_assert_int_eq(p->replica_nodes[0], 1);
		ck_assert_int_eq(p->n_isr_nodes, 1);
		ck_assert_int_eq(p->isr_nodes[0], 1);
		ck_assert_int_eq(p->n_offline_replicas, 0);
	}
}
END_TEST

START_TEST(named_topics_and_their_errors)
{
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_LISTEN);
	for (int16_t v = 0; v <= 12; v++) {
		ck_assert_int_eq(ask_one(root, v, "EVENTS")->n_partitions, 4);
		ck_assert_int_eq(ask_one(root, v, "nowhere")->error_code, 3);
		ck_assert_int_eq(ask_one(root, v, "a/b")->error_code, KAFKA_INVALID_TOPIC);
		ck_assert_int_eq(ask_one(root, v, "..")->error_code, KAFKA_INVALID_TOPIC);
		ck_assert_int_eq(ask_one(root, v, "")->error_code, KAFKA_INVALID_TOPIC);
		ck_assert_int_eq(ask_one(one, v, "events")->error_code, 0);
		ck_assert_int_eq(ask_one(one, v, "other")->error_code, 29);
		ck_assert_int_eq(ask_one(one, v, "nowhere")->error_code, 29);
	}
	struct kafka_metadata_request q = {.n_topics = -1};
	struct kafka_metadata_response *p = ask(one, 9, &q);
	ck_assert_int_eq(p->n_topics, 1);
	ck_assert(span_eq_str(p->topics[0].name.s, "events"));
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(topics_by_id)
{
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_SEND);
	struct kafka_metadata_request_topic t[3] = {
		{.topic_id = kafka_topic_id(fix.front, fix_hub_id(&fix, "events")), .name = NONE},
		{.topic_id = kafka_topic_id(fix.front, 4711), .name = NONE},
		{.topic_id = kafka_topic_id(fix.front, fix_hub_id(&fix, "other")), .name = NONE},
	};
	struct kafka_metadata_request q = {.topics = t, .n_topics = 3};
	struct kafka_metadata_response *p = ask(one, 12, &q);
	ck_assert_int_eq(p->n_topics, 3);
	ck_assert_int_eq(p->topics[0].error_code, 0);
	ck_assert(span_eq_str(p->topics[0].name.s, "events"));
	ck_assert_int_eq(p->topics[1].error_code, KAFKA_UNKNOWN_TOPIC_ID);
	ck_assert(p->topics[1].name.is_null);
	ck_assert_mem_eq(p->topics[1].topic_id.b, t[1].topic_id.b, 16);
	ck_assert_int_eq(p->topics[2].error_code, KAFKA_UNKNOWN_TOPIC_ID);
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(operations_follow_rights)
{
	static const struct {
		unsigned rights;
		int32_t bits;
	} each[] = {
		{AUTH_SEND, 1 << 4 | 1 << 8 | 1 << 10},
		{AUTH_LISTEN, 1 << 3 | 1 << 8 | 1 << 10},
		{ALL_RIGHTS, 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10},
	};
	for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
		struct kafka_conn *c = fix_conn(&fix, "", each[i].rights);
		struct kafka_metadata_request_topic t = {.name = TEXT("events")};
		struct kafka_metadata_request q = {.topics = &t,
						   .n_topics = 1,
						   .include_topic_authorized_operations = true,
						   .include_cluster_authorized_operations = true};
		struct kafka_metadata_response *p = ask(c, 10, &q);
		ck_assert_int_eq(p->topics[0].topic_authorized_operations, each[i].bits);
		ck_assert((p->cluster_authorized_operations & KAFKA_OP_DESCRIBE) != 0);
		ck_assert_int_eq((p->cluster_authorized_operations & KAFKA_OP_CREATE) != 0,
				 each[i].rights == ALL_RIGHTS);
		fix_conn_close(&fix, &c);
	}
}
END_TEST

START_TEST(missing_topics_are_made)
{
	struct kafka_conn *reader = fix_conn(&fix, "", AUTH_LISTEN);
	ck_assert_int_eq(ask_one(root, 12, "fresh")->error_code, 3); /* not set so */
	fix.front->options.auto_create = 3;
	ck_assert_int_eq(ask_one(reader, 12, "fresh")->error_code, 3);
	struct kafka_metadata_request_topic t = {.name = TEXT("fresh")};
	struct kafka_metadata_request q = {.topics = &t, .n_topics = 1};
	ck_assert_int_eq(ask(root, 12, &q)->topics[0].error_code, 3); /* not asked for */
	const struct kafka_metadata_response_topic *got = ask_one(root, 12, "fresh");
	ck_assert_int_eq(got->error_code, 0);
	ck_assert_int_eq(got->n_partitions, 3);
	ck_assert_uint_eq(kafka_topic_of_id(fix.front, &got->topic_id), fix_hub_id(&fix, "fresh"));
	ck_assert_int_eq(ask_one(root, 0, "older")->n_partitions, 3); /* implied then */
	ck_assert_int_eq(ask_one(root, 12, "odd name")->error_code, KAFKA_INVALID_TOPIC);
	fix_conn_close(&fix, &reader);
}
END_TEST

START_TEST(many_topics_are_made_at_once)
{
	enum { MANY = 40 };
	char names[MANY][24];
	struct kafka_metadata_request_topic t[MANY + 2];
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof names[i], "topic-%d", i);
		t[i] = (struct kafka_metadata_request_topic){.name = TEXT(names[i])};
	}
	t[MANY] = t[0];
	t[MANY + 1] = (struct kafka_metadata_request_topic){.name = TEXT("events")};
	fix.front->options.auto_create = 1;
	struct kafka_metadata_request q = {
		.topics = t, .n_topics = MANY + 2, .allow_auto_topic_creation = true};
	struct kafka_metadata_response *p = ask(root, 12, &q);
	ck_assert_int_eq(p->n_topics, MANY + 2);
	for (int i = 0; i < MANY + 2; i++) {
		ck_assert_int_eq(p->topics[i].error_code, 0);
		ck_assert_int_eq(p->topics[i].n_partitions, i <= MANY ? 1 : 4);
	}
	/* Closing in the middle, too. */
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof names[i], "gone-%d", i);
	}
	faults_gone(&fix, KAFKA_API_Metadata, 12, &q);
}
END_TEST

/* One hub asked for a thousand times is not told a thousand times. */
START_TEST(answers_are_bounded)
{
	enum { TIMES = LIMIT_HUBS + 1 };
	static struct kafka_metadata_request_topic t[TIMES];
	fix_make_hub(&fix, "wide", LIMIT_PARTITIONS);
	for (int i = 0; i < TIMES; i++) {
		t[i] = (struct kafka_metadata_request_topic){.name = TEXT("wide")};
	}
	struct kafka_conn *c = fix_conn(&fix, "", ALL_RIGHTS);
	struct kafka_metadata_request q = {.topics = t, .n_topics = TIMES};
	struct kafka_request *r = fix_begin(c, KAFKA_API_Metadata, 9, &q);
	ck_assert(r->is_answered);
	ck_assert(r->has_no_answer);
	fix_conn_close(&fix, &c);
	q.n_topics = 20;
	struct kafka_metadata_response *p = ask(root, 9, &q);
	ck_assert_int_eq(p->topics[19].n_partitions, LIMIT_PARTITIONS);
	ck_assert_int_eq(p->topics[19].partitions[LIMIT_PARTITIONS - 1].partition_index,
			 LIMIT_PARTITIONS - 1);
}
END_TEST

START_TEST(clusters)
{
	for (int16_t v = 0; v <= 1; v++) {
		struct kafka_describe_cluster_request q = {
			.include_cluster_authorized_operations = true, .endpoint_type = 1};
		struct kafka_describe_cluster_response *p =
			fix_call(&fix, root, KAFKA_API_DescribeCluster, v, &q, &arena);
		ck_assert_int_eq(p->error_code, 0);
		ck_assert(span_eq_str(p->cluster_id.s, fix.front->cluster_id));
		ck_assert_int_eq(p->controller_id, 1);
		ck_assert_int_eq(p->n_brokers, 1);
		ck_assert_int_eq(p->brokers[0].port, 9093);
		ck_assert_int_eq(p->cluster_authorized_operations,
				 1 << 5 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 12);
	}
	struct kafka_describe_cluster_request q = {.endpoint_type = 2};
	struct kafka_describe_cluster_response *p =
		fix_call(&fix, root, KAFKA_API_DescribeCluster, 1, &q, &arena);
	ck_assert_int_eq(p->error_code, KAFKA_UNSUPPORTED_ENDPOINT_TYPE);
	ck_assert_int_eq(p->n_brokers, 0);
}
END_TEST

static void check_coordinator(struct kafka_conn *c, int16_t v, int8_t type, const char *key,
			      int16_t code)
{
	struct kafka_string keys[2] = {TEXT(key), TEXT(key)};
	struct kafka_find_coordinator_request q = {.key = keys[0],
						   .key_type = type,
						   .coordinator_keys = keys,
						   .n_coordinator_keys = 2};
	struct kafka_find_coordinator_response *p =
		fix_call(&fix, c, KAFKA_API_FindCoordinator, v, &q, &arena);
	struct kafka_find_coordinator_response_coordinator one = {.error_code = p->error_code,
								  .node_id = p->node_id,
								  .host = p->host,
								  .port = p->port};
	if (v >= 4) {
		ck_assert_int_eq(p->n_coordinators, 2);
		one = p->coordinators[1];
		ck_assert(span_eq_str(one.key.s, key));
	}
	ck_assert_int_eq(one.error_code, code);
	ck_assert_int_eq(one.node_id, code == 0 ? 1 : -1);
	ck_assert_int_eq(one.port, code == 0 ? 9093 : -1);
	ck_assert(span_eq_str(one.host.s, code == 0 ? "broker.example" : ""));
}

START_TEST(coordinators)
{
	struct kafka_conn *sender = fix_conn(&fix, "", AUTH_SEND);
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_LISTEN);
	for (int16_t v = 0; v <= 5; v++) {
		check_coordinator(root, v, 0, "g", 0);
		check_coordinator(one, v, 0, "g", 0);
		check_coordinator(root, v, 0, "", KAFKA_INVALID_GROUP_ID);
		check_coordinator(sender, v, 0, "g", KAFKA_GROUP_AUTHORIZATION_FAILED);
		if (v >= 1) {
			check_coordinator(root, v, 1, "tx",
					  KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
			check_coordinator(root, v, 7, "x", KAFKA_INVALID_REQUEST);
		}
	}
	fix_conn_close(&fix, &sender);
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(no_memory)
{
	struct kafka_metadata_request_topic t[2] = {{.name = TEXT("events")},
						    {.name = TEXT("made")}};
	struct kafka_metadata_request q = {
		.topics = t, .n_topics = 2, .allow_auto_topic_creation = true};
	fix.front->options.auto_create = 1;
	faults_each_allocation(&fix, KAFKA_API_Metadata, 12, &q);
	q.n_topics = -1;
	faults_each_allocation(&fix, KAFKA_API_Metadata, 12, &q);
}
END_TEST

Suite *metadata_suite(void)
{
	Suite *s = suite_create("metadata");
	TCase *t = tcase_create("metadata");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, all_topics_by_version);
	tcase_add_test(t, an_empty_list_asks_for_none);
	tcase_add_test(t, partitions_are_led_here);
	tcase_add_test(t, named_topics_and_their_errors);
	tcase_add_test(t, topics_by_id);
	tcase_add_test(t, operations_follow_rights);
	tcase_add_test(t, missing_topics_are_made);
	tcase_add_test(t, many_topics_are_made_at_once);
	tcase_add_test(t, answers_are_bounded);
	tcase_add_test(t, clusters);
	tcase_add_test(t, coordinators);
	tcase_add_test(t, no_memory);
	suite_add_tcase(s, t);
	return s;
}
