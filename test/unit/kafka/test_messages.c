#include "gateway/kafka/messages.h"

#include "gateway/kafka/codec_priv.h"
#include "test/unit/kafka/codec_help.h"

Suite *messages_suite(void);

/* ---- what the codec relies on in every table ----------------------------- */

static uint32_t depth(const struct kafka_struct *s)
{
	uint32_t deepest = 0;
	for (uint32_t i = 0; i < s->n_fields; i++) {
		uint32_t d = s->fields[i].of != NULL ? depth(s->fields[i].of) : 0;
		deepest = d > deepest ? d : deepest;
	}
	return deepest + 1;
}

static void check_struct(const struct kafka_struct *s, int16_t first_flexible)
{
	int tag = KAFKA_NO_TAG;
	ck_assert_uint_gt(s->n_fields, 0);
	for (uint32_t i = 0; i < s->n_fields; i++) {
		const struct kafka_field *f = &s->fields[i];
		ck_assert_msg(f->first <= f->last, "%s.%s", s->name, f->name);
		ck_assert_msg(f->at < s->size, "%s.%s", s->name, f->name);
		ck_assert_int_eq(f->of != NULL, f->kind == KAFKA_STRUCT || f->kind == KAFKA_ARRAY);
		if (f->tag == KAFKA_NO_TAG) {
			ck_assert_msg(tag == KAFKA_NO_TAG, "%s.%s stands behind a tag", s->name, f->name);
			ck_assert_int_ne(f->kind, KAFKA_STRUCT);
		} else {
			ck_assert_msg(f->tag == tag + 1, "%s.%s: tag %d", s->name, f->name, f->tag);
			ck_assert_int_ge(f->first, first_flexible);
			ck_assert_int_ne(f->kind, KAFKA_RECORDS);
			tag = f->tag;
		}
		if (f->of != NULL) {
			check_struct(f->of, first_flexible);
		}
	}
}

START_TEST(tables_keep_their_rules)
{
	uint32_t n;
	const struct kafka_api *apis = kafka_apis(&n);
	uint32_t deepest = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct kafka_struct *both[] = {apis[i].request, apis[i].response};
		for (int k = 0; k < 2; k++) {
			check_struct(both[k], apis[i].first_flexible);
			deepest = depth(both[k]) > deepest ? depth(both[k]) : deepest;
		}
	}
	ck_assert_uint_eq(deepest, 4);
	ck_assert_uint_lt(deepest, KAFKA_DEPTH_MAX);
}
END_TEST

/* Key, served versions, advertised first, first flexible (-1: never). */
static const int16_t served[][5] = {
	{0, 3, 11, 0, 9},   {1, 4, 12, 4, 12},	{2, 1, 7, 1, 6},   {3, 0, 12, 0, 9},
	{8, 1, 9, 1, 8},    {9, 1, 9, 1, 6},	{10, 0, 5, 0, 3},  {11, 0, 9, 0, 6},
	{12, 0, 4, 0, 4},   {13, 0, 5, 0, 4},	{14, 0, 5, 0, 4},  {15, 0, 5, 0, 5},
	{16, 0, 5, 0, 3},   {17, 0, 1, 0, -1},	{18, 0, 4, 0, 3},  {19, 0, 7, 0, 5},
	{20, 0, 6, 0, 4},   {21, 0, 2, 0, 2},	{22, 0, 5, 0, 2},  {23, 2, 4, 2, 4},
	{32, 0, 4, 0, 4},   {33, 0, 2, 0, 2},	{36, 0, 2, 0, 2},  {37, 0, 3, 0, 2},
	{42, 0, 2, 0, 2},   {44, 0, 1, 0, 1},	{47, 0, 0, 0, -1},
	{60, 0, 1, 0, 0},
};
enum { N_SERVED = sizeof served / sizeof *served };

START_TEST(apis_are_served_in_their_versions)
{
	uint32_t n;
	const struct kafka_api *apis = kafka_apis(&n);
	ck_assert_uint_eq(n, N_SERVED);
	for (uint32_t i = 0; i < n; i++) {
		ck_assert_int_eq(apis[i].key, served[i][0]);
		ck_assert_int_eq(apis[i].first, served[i][1]);
		ck_assert_int_eq(apis[i].last, served[i][2]);
		ck_assert_int_eq(apis[i].advertised_first, served[i][3]);
		ck_assert_int_eq(apis[i].first_flexible,
				 served[i][4] < 0 ? INT16_MAX : served[i][4]);
		ck_assert_ptr_eq(kafka_api_find(apis[i].key), &apis[i]);
	}
}
END_TEST

START_TEST(unknown_key_is_not_found)
{
	static const int16_t keys[] = {4, 7, 25, 24, 61, KAFKA_API_MAX, INT16_MAX, -1, INT16_MIN};
	ck_assert_ptr_null(kafka_api_find(keys[_i]));
}
END_TEST

START_TEST(defaults_are_kafkas)
{
	struct kafka_produce_response_partition p;
	kafka_defaults(&kafka_produce_response_partition_desc, &p);
	ck_assert_int_eq(p.log_append_time_ms, -1);
	ck_assert_int_eq(p.log_start_offset, -1);
	ck_assert(p.error_message.is_null);
	ck_assert(!p.has_current_leader);
	ck_assert_int_eq(p.current_leader.leader_id, -1);
	struct kafka_metadata_request m;
	kafka_defaults(&kafka_metadata_request_desc, &m);
	ck_assert(m.allow_auto_topic_creation);
	ck_assert_int_eq(m.n_topics, 0);
	struct kafka_metadata_response r;
	kafka_defaults(&kafka_metadata_response_desc, &r);
	ck_assert_int_eq(r.cluster_authorized_operations, INT32_MIN);
	struct kafka_fetch_request f;
	kafka_defaults(&kafka_fetch_request_desc, &f);
	ck_assert_int_eq(f.max_bytes, INT32_MAX);
	ck_assert(!f.rack_id.is_null);
}
END_TEST

Suite *messages_suite(void)
{
	Suite *s = suite_create("messages");
	TCase *t = tcase_create("messages");
	tcase_add_test(t, tables_keep_their_rules);
	tcase_add_test(t, apis_are_served_in_their_versions);
	tcase_add_loop_test(t, unknown_key_is_not_found, 0, 9);
	tcase_add_test(t, defaults_are_kafkas);
	suite_add_tcase(s, t);
	return s;
}
