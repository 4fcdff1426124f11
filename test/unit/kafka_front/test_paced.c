/* Requests that change something, beyond the namespace's rate of management calls. */

#include "gateway/kafka/settings.h"
#include "test/unit/kafka_front/faults.h"

/* A slow machine gets a new call each second while it tries. */
enum { ATTEMPTS = 100, CREATE_LAST = 7, DELETE_LAST = 6, GROW_LAST = 3, TOPIC = 2 };

static struct kafka_fix fix;
static struct kafka_arena arena;
static struct kafka_conn *root;

static void setup(void)
{
	fix_management_rate = 1;
	fix_open(&fix);
	fix_management_rate = 0;
	root = fix_conn(&fix, "", ALL_RIGHTS);
}

static void teardown(void)
{
	fix_conn_close(&fix, &root);
	kafka_arena_fini(&arena);
	fix_close(&fix);
}

struct outcome {
	int16_t code;
	int32_t throttle_ms;
	struct kafka_string text;
};

typedef struct outcome attempt_fn(int16_t version);

static struct outcome create_with(int16_t version, bool validate_only)
{
	static char name[16] = "made-0000";
	for (size_t i = 8; ++name[i] > '9'; i--) {
		name[i] = '0';
	}
	struct kafka_create_topics_request_topic t = {
		.name = TEXT(name), .num_partitions = 1, .replication_factor = 1};
	struct kafka_create_topics_request q = {
		.topics = &t, .n_topics = 1, .validate_only = validate_only};
	struct kafka_create_topics_response *p =
		fix_call(&fix, root, KAFKA_API_CreateTopics, version, &q, &arena);
	return (struct outcome){p->topics[0].error_code, p->throttle_time_ms,
				p->topics[0].error_message};
}

static struct outcome create(int16_t version)
{
	return create_with(version, false);
}

static struct outcome delete_topic(int16_t version)
{
	static const char *const names[] = {"events", "other"};
	static int turn;
	struct kafka_string s = TEXT(names[turn++ % 2]);
	struct kafka_delete_topics_request_topic t = {.name = s};
	struct kafka_delete_topics_request q = {
		.topics = &t, .n_topics = 1, .topic_names = &s, .n_topic_names = 1};
	struct kafka_delete_topics_response *p =
		fix_call(&fix, root, KAFKA_API_DeleteTopics, version, &q, &arena);
	return (struct outcome){p->responses[0].error_code, p->throttle_time_ms,
				p->responses[0].error_message};
}

static struct outcome grow(int16_t version)
{
	static int32_t count = 4;
	struct kafka_create_partitions_request_topic t = {
		.name = TEXT("events"), .count = ++count, .n_assignments = -1};
	struct kafka_create_partitions_request q = {.topics = &t, .n_topics = 1};
	struct kafka_create_partitions_response *p =
		fix_call(&fix, root, KAFKA_API_CreatePartitions, version, &q, &arena);
	return (struct outcome){p->results[0].error_code, p->throttle_time_ms,
				p->results[0].error_message};
}

static struct outcome alter(int16_t version)
{
	struct kafka_alter_configs_request_resource t = {.resource_type = TOPIC,
							 .resource_name = TEXT("events")};
	struct kafka_alter_configs_request q = {.resources = &t, .n_resources = 1};
	struct kafka_alter_configs_response *p =
		fix_call(&fix, root, KAFKA_API_AlterConfigs, version, &q, &arena);
	return (struct outcome){p->responses[0].error_code, p->throttle_time_ms,
				p->responses[0].error_message};
}

static struct outcome alter_some(int16_t version)
{
	struct kafka_incremental_alter_configs_request_config c = {
		.name = TEXT("retention.ms"), .value = TEXT("3600000")};
	struct kafka_incremental_alter_configs_request_resource t = {
		.resource_type = TOPIC,
		.resource_name = TEXT("events"),
		.configs = &c,
		.n_configs = 1};
	struct kafka_incremental_alter_configs_request q = {.resources = &t, .n_resources = 1};
	struct kafka_incremental_alter_configs_response *p =
		fix_call(&fix, root, KAFKA_API_IncrementalAlterConfigs, version, &q, &arena);
	return (struct outcome){p->responses[0].error_code, p->throttle_time_ms,
				p->responses[0].error_message};
}

static struct outcome trim(int16_t version)
{
	struct kafka_delete_records_request_partition part = {.offset = -1};
	struct kafka_delete_records_request_topic t = {
		.name = TEXT("events"), .partitions = &part, .n_partitions = 1};
	struct kafka_delete_records_request q = {.topics = &t, .n_topics = 1};
	struct kafka_delete_records_response *p =
		fix_call(&fix, root, KAFKA_API_DeleteRecords, version, &q, &arena);
	return (struct outcome){p->topics[0].partitions[0].error_code, p->throttle_time_ms,
				kafka_string_null()};
}

static struct outcome until_refused(attempt_fn *attempt, int16_t version)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		struct outcome o = attempt(version);
		if (o.code == KAFKA_THROTTLING_QUOTA_EXCEEDED || o.code == KAFKA_REQUEST_TIMED_OUT) {
			return o;
		}
		ck_assert_int_eq(o.throttle_ms, 0);
	}
	ck_abort_msg("version %d is never refused", version);
	return (struct outcome){0};
}

static bool has(const struct kafka_string *s, const char *part)
{
	return memmem(s->s.p, s->s.n, part, strlen(part)) != NULL;
}

struct row {
	attempt_fn *attempt;
	int16_t first_with_time;
	int16_t first_with_code;
	int16_t first_with_text;
	int16_t last;
};
static const struct row rows[] = {
	{create, 2, 6, 1, CREATE_LAST},
	{delete_topic, 1, 5, 5, DELETE_LAST},
	{grow, 0, 3, 0, GROW_LAST},
	{alter, 0, INT16_MAX, 0, 2},
	{alter_some, 0, INT16_MAX, 0, 1},
	{trim, 0, INT16_MAX, INT16_MAX, 2},
};

START_TEST(refused_with_the_code_the_version_knows)
{
	const struct row *row = &rows[_i];
	for (int16_t v = 0; v <= row->last; v++) {
		struct outcome o = until_refused(row->attempt, v);
		ck_assert_int_eq(o.code, v >= row->first_with_code
						 ? KAFKA_THROTTLING_QUOTA_EXCEEDED
						 : KAFKA_REQUEST_TIMED_OUT);
		if (v >= row->first_with_time) {
			ck_assert_int_gt(o.throttle_ms, 0);
			ck_assert_int_le(o.throttle_ms, 1000);
		}
		ck_assert(v < row->first_with_text || has(&o.text, "50008"));
	}
}
END_TEST

START_TEST(only_changes_count)
{
	until_refused(create, CREATE_LAST);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(create_with(CREATE_LAST, true).code, KAFKA_NONE);
	}
	struct kafka_conn *reader = fix_conn(&fix, "", AUTH_LISTEN);
	struct kafka_string s = TEXT("events");
	struct kafka_delete_topics_request q = {.topic_names = &s, .n_topic_names = 1};
	struct kafka_delete_topics_response *p =
		fix_call(&fix, reader, KAFKA_API_DeleteTopics, 5, &q, &arena);
	ck_assert_int_eq(p->responses[0].error_code, KAFKA_TOPIC_AUTHORIZATION_FAILED);
	fix_conn_close(&fix, &reader);
}
END_TEST

Suite *paced_suite(void)
{
	Suite *s = suite_create("paced");
	TCase *t = tcase_create("paced");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, refused_with_the_code_the_version_knows, 0,
			    sizeof rows / sizeof *rows);
	tcase_add_test(t, only_changes_count);
	suite_add_tcase(s, t);
	return s;
}
