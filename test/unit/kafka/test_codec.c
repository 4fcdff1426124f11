#include "gateway/kafka/codec.h"

#include <stdio.h>
#include <stdlib.h>

#include "test/unit/kafka/codec_help.h"

Suite *codec_suite(void);

enum { SEEDS = 24, SEEDS_CUT = 2 };

/* ---- every form ------------------------------------------------------------ */

static void round_trip(const struct form *f, uint64_t seed)
{
	size_t size = kafka_struct_size(f->desc);
	void *in = malloc(size);
	void *out = malloc(size);
	ck_assert(in != NULL && out != NULL);
	struct kafka_arena arena = {0};
	struct err_detail d = {0};
	ck_assert_int_eq(kafka_random(f->desc, f->version, &seed, &arena, in), ERR_OK);
	struct span bytes = encode(f, in);
	ck_assert_msg(decode(f, bytes, &arena, out, &d) == ERR_OK, "%s", d.text);
	ck_assert_msg(kafka_equal(f->desc, in, out), "%s: seed gives another message", f->name);
	struct span again = encode(f, out);
	check_same(f->name, again, bytes);
	span_free(bytes);
	span_free(again);
	kafka_arena_fini(&arena);
	free(in);
	free(out);
}

START_TEST(every_form_comes_back)
{
	struct form f;
	uint32_t forms = 0;
	for (uint32_t at = 0; form_next(&at, &f); forms++) {
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			round_trip(&f, seed);
		}
	}
	ck_assert_uint_eq(forms, 316);
}
END_TEST

START_TEST(every_form_is_refused_when_cut_or_too_long)
{
	struct form f;
	for (uint32_t at = 0; form_next(&at, &f);) {
		void *m = malloc(kafka_struct_size(f.desc));
		ck_assert_ptr_nonnull(m);
		for (uint64_t i = 0; i < SEEDS_CUT; i++) {
			uint64_t seed = 1000 + i;
			struct kafka_arena arena = {0};
			ck_assert_int_eq(kafka_random(f.desc, f.version, &seed, &arena, m), ERR_OK);
			struct span bytes = encode(&f, m);
			for (size_t n = 0; n < bytes.n; n++) {
				struct span cut = prefix(bytes, n);
				struct err_detail d = {0};
				ck_assert_msg(decode(&f, cut, &arena, m, &d) == ERR_DECODE,
					      "%s: %zu of %zu bytes", f.name, n, bytes.n);
				ck_assert_msg(strncmp(d.text, f.name, strlen(f.name)) == 0, "%s", d.text);
				span_free(cut);
				kafka_arena_fini(&arena);
			}
			uint8_t *longer = malloc(bytes.n + 1);
			ck_assert_ptr_nonnull(longer);
			memcpy(longer, bytes.p, bytes.n);
			longer[bytes.n] = 0;
			check_refused(&f, span_of(longer, bytes.n + 1), ERR_DECODE, "1 bytes left over");
			free(longer);
			span_free(bytes);
			kafka_arena_fini(&arena);
		}
		free(m);
	}
}
END_TEST

/* A message of one version may be sent in any other: what that lacks is left
 * out, and null becomes empty where null did not exist. */
START_TEST(any_message_encodes_in_any_version)
{
	struct form f;
	for (uint32_t at = 0; form_next(&at, &f);) {
		void *m = malloc(kafka_struct_size(f.desc));
		void *out = malloc(kafka_struct_size(f.desc));
		ck_assert(m != NULL && out != NULL);
		for (uint64_t i = 0; i < 8; i++) {
			uint64_t seed = i;
			struct kafka_arena arena = {0};
			struct err_detail d = {0};
			ck_assert_int_eq(kafka_random(f.desc, f.api->last, &seed, &arena, m), ERR_OK);
			struct span bytes = encode(&f, m);
			ck_assert_msg(decode(&f, bytes, &arena, out, &d) == ERR_OK, "%s", d.text);
			struct span again = encode(&f, out);
			check_same(f.name, again, bytes);
			span_free(bytes);
			span_free(again);
			kafka_arena_fini(&arena);
		}
		free(m);
		free(out);
	}
}
END_TEST

/* ---- bytes written by hand --------------------------------------------------- */

static struct kafka_string text(const char *s)
{
	return kafka_string_of(span_str(s));
}

static void check_form(const struct form *f, const void *in, const char *want)
{
	struct span bytes = encode(f, in);
	struct span golden = hex(want);
	check_same(f->name, bytes, golden);
	void *out = malloc(kafka_struct_size(f->desc));
	struct kafka_arena arena = {0};
	struct err_detail d = {0};
	ck_assert_ptr_nonnull(out);
	ck_assert_msg(decode(f, golden, &arena, out, &d) == ERR_OK, "%s", d.text);
	span_free(bytes);
	bytes = encode(f, out);
	check_same(f->name, bytes, golden);
	kafka_arena_fini(&arena);
	free(out);
	span_free(bytes);
	span_free(golden);
}

START_TEST(produce_request_bytes)
{
	struct span parts[] = {span_str("ab"), span_str(""), span_str("c")};
	struct kafka_produce_request_partition p[] = {
		{.index = 1, .records = {.parts = parts, .n_parts = 3}},
		{.index = 2, .records = {.is_null = true}},
	};
	struct kafka_produce_request_topic t = {
		.name = text("hub"), .partition_data = p, .n_partition_data = 2};
	struct kafka_produce_request m = {
		.transactional_id = kafka_string_null(),
		.acks = -1,
		.timeout_ms = 30000,
		.topic_data = &t,
		.n_topic_data = 1,
	};
	struct form f = form_of(KAFKA_API_Produce, 3, true);
	check_form(&f, &m,
		   "ffff ffff 00007530 00000001 0003687562 00000002"
		   "00000001 00000003616263 00000002 ffffffff");
	f = form_of(KAFKA_API_Produce, 9, true);
	check_form(&f, &m,
		   "00 ffff 00007530 02 04687562 03"
		   "00000001 04616263 00 00000002 00 00 00 00");
}
END_TEST

START_TEST(fetch_response_bytes)
{
	struct kafka_fetch_response_partition p = {
		.partition_index = 7,
		.error_code = 6,
		.high_watermark = 258,
		.last_stable_offset = 257,
		.log_start_offset = 1,
		.n_aborted_transactions = -1,
		.preferred_read_replica = -1,
		.records = {.s = span_str("xyz")},
		.current_leader = {.leader_id = 1, .leader_epoch = 5},
		.has_current_leader = true,
	};
	struct kafka_fetch_response_topic t = {
		.topic = text("t"), .partitions = &p, .n_partitions = 1};
	struct kafka_fetch_response m = {
		.throttle_time_ms = 9, .session_id = 3, .responses = &t, .n_responses = 1};
	struct form f = form_of(KAFKA_API_Fetch, 4, false);
	check_form(&f, &m,
		   "00000009 00000001 000174 00000001 00000007 0006 0000000000000102"
		   "0000000000000101 ffffffff 0000000378797a");
	f = form_of(KAFKA_API_Fetch, 12, false);
	check_form(&f, &m,
		   "00000009 0000 00000003 02 0274 02 00000007 0006 0000000000000102"
		   "0000000000000101 0000000000000001 00 ffffffff 0478797a"
		   "01 01 09 00000001 00000005 00 00 00");
}
END_TEST

START_TEST(old_forms_have_their_own_fields)
{
	struct kafka_offset_commit_request_partition p = {
		.partition_index = 2,
		.committed_offset = 5,
		.committed_leader_epoch = 8,
		.commit_timestamp = 1,
		.committed_metadata = kafka_string_null(),
	};
	struct kafka_offset_commit_request_topic t = {
		.name = text("a"), .partitions = &p, .n_partitions = 1};
	struct kafka_offset_commit_request m = {
		.group_id = text("g"),
		.generation_id_or_member_epoch = 3,
		.member_id = text("m"),
		.retention_time_ms = 16,
		.topics = &t,
		.n_topics = 1,
	};
	struct form f = form_of(KAFKA_API_OffsetCommit, 1, true);
	check_form(&f, &m,
		   "000167 00000003 00016d 00000001 000161 00000001"
		   "00000002 0000000000000005 0000000000000001 ffff");
	f = form_of(KAFKA_API_OffsetCommit, 2, true);
	check_form(&f, &m,
		   "000167 00000003 00016d 0000000000000010 00000001 000161 00000001"
		   "00000002 0000000000000005 ffff");
	f = form_of(KAFKA_API_OffsetCommit, 6, true);
	check_form(&f, &m,
		   "000167 00000003 00016d 00000001 000161 00000001"
		   "00000002 0000000000000005 00000008 ffff");

	struct kafka_create_topics_request c = {.timeout_ms = 1, .validate_only = true};
	f = form_of(KAFKA_API_CreateTopics, 0, true);
	check_form(&f, &c, "00000000 00000001");
	f = form_of(KAFKA_API_CreateTopics, 1, true);
	check_form(&f, &c, "00000000 00000001 01");
	struct kafka_create_topics_response r = {.throttle_time_ms = 4};
	f = form_of(KAFKA_API_CreateTopics, 1, false);
	check_form(&f, &r, "00000000");
	f = form_of(KAFKA_API_CreateTopics, 2, false);
	check_form(&f, &r, "00000004 00000000");
	f = form_of(KAFKA_API_DeleteTopics, 0, false);
	struct kafka_delete_topics_response dr = {.throttle_time_ms = 4};
	check_form(&f, &dr, "00000000");
	f = form_of(KAFKA_API_JoinGroup, 0, true);
	struct kafka_join_group_request j = {.group_id = text("g"), .session_timeout_ms = 6000};
	check_form(&f, &j, "000167 00001770 0000 0000 00000000");
}
END_TEST

START_TEST(api_versions_bytes)
{
	struct kafka_api_versions_response_api row = {.api_key = 18, .max_version = 4};
	struct kafka_api_versions_response m = {
		.error_code = 35,
		.api_keys = &row,
		.n_api_keys = 1,
		.finalized_features_epoch = -1,
		.has_finalized_features_epoch = true,
	};
	struct form f = form_of(KAFKA_API_ApiVersions, 0, false);
	check_form(&f, &m, "0023 00000001 0012 0000 0004");
	f = form_of(KAFKA_API_ApiVersions, 3, false);
	check_form(&f, &m, "0023 02 0012 0000 0004 00 00000000 01 01 08 ffffffffffffffff");
}
END_TEST

START_TEST(fields_that_a_version_lacks_get_defaults)
{
	struct kafka_arena arena = {0};
	struct kafka_fetch_request m;
	struct form f = form_of(KAFKA_API_Fetch, 4, true);
	struct span in = hex("ffffffff 00000064 00000001 00000400 01 00000001 000174 00000001"
			     "00000000 0000000000000009 00000200");
	ck_assert_int_eq(decode(&f, in, &arena, &m, NULL), ERR_OK);
	ck_assert_int_eq(m.session_epoch, -1);
	ck_assert_int_eq(m.n_forgotten_topics_data, 0);
	ck_assert(!m.rack_id.is_null);
	ck_assert(!m.has_cluster_id);
	ck_assert_int_eq(m.n_topics, 1);
	ck_assert(span_eq_str(m.topics[0].topic.s, "t"));
	ck_assert_int_eq(m.topics[0].partitions[0].current_leader_epoch, -1);
	ck_assert_int_eq(m.topics[0].partitions[0].log_start_offset, -1);
	ck_assert_int_eq(m.topics[0].partitions[0].fetch_offset, 9);
	kafka_arena_fini(&arena);
	span_free(in);
}
END_TEST

/* ---- tags (KIP-482) ------------------------------------------------------------ */

static const struct {
	const char *bytes;	/* behind error 0, no keys, throttle 0 */
	int64_t epoch;
	bool has_epoch;
	bool zk;
} tags[] = {
	{"00", -1, false, false},
	{"01 01 08 0000000000000007", 7, true, false},
	{"02 03 01 01 01 08 0000000000000007", 7, true, true},		/* out of order */
	{"02 09 02 abcd 01 08 0000000000000007", 7, true, false},	/* unknown first */
	{"02 01 08 0000000000000007 ffffffff0f 00", 7, true, false},	/* unknown last */
	{"02 01 08 0000000000000007 01 08 0000000000000008", 8, true, false},	/* twice */
};

START_TEST(tags_are_taken_in_any_order)
{
	char text[200];
	snprintf(text, sizeof text, "0000 01 00000000 %s", tags[_i].bytes);
	struct span in = hex(text);
	struct kafka_arena arena = {0};
	struct kafka_api_versions_response m;
	struct form f = form_of(KAFKA_API_ApiVersions, 3, false);
	struct err_detail d = {0};
	ck_assert_msg(decode(&f, in, &arena, &m, &d) == ERR_OK, "%s", d.text);
	ck_assert_int_eq(m.finalized_features_epoch, tags[_i].epoch);
	ck_assert_int_eq(m.has_finalized_features_epoch, tags[_i].has_epoch);
	ck_assert_int_eq(m.has_zk_migration_ready, tags[_i].zk);
	ck_assert_int_eq(m.zk_migration_ready, tags[_i].zk);
	kafka_arena_fini(&arena);
	span_free(in);
}
END_TEST

/* ---- headers --------------------------------------------------------------------- */

static const struct {
	const char *hex;
	int16_t key;
	int16_t version;
	const char *client;	/* NULL: null */
	size_t body_at;
} headers[] = {
	{"0000 0003 00000001 0002 6162 ff", 0, 3, "ab", 12},
	{"0000 0009 00000001 0002 6162 00 ff", 0, 9, "ab", 13},
	{"0000 0009 00000001 ffff 00 ff", 0, 9, NULL, 11},
	{"0000 0009 00000001 0000 02 05 01 aa 06 00 ff", 0, 9, "", 16},	/* tags passed over */
	{"0012 0005 00000001 0000 ff", 18, 5, "", 10},			/* version not served */
	{"0063 0000 00000001 0000", 99, 0, "", 10},			/* nor this key */
	{"0011 0001 00000001 0000 ff", 17, 1, "", 10},
};

START_TEST(header_is_read)
{
	struct span in = hex(headers[_i].hex);
	struct kafka_request_header h;
	size_t body_at;
	struct err_detail d = {0};
	ck_assert_msg(kafka_header_read(in, &h, &body_at, &d) == ERR_OK, "%s", d.text);
	ck_assert_int_eq(h.key, headers[_i].key);
	ck_assert_int_eq(h.version, headers[_i].version);
	ck_assert_int_eq(h.correlation, 1);
	ck_assert_int_eq(h.client_id.is_null, headers[_i].client == NULL);
	if (headers[_i].client != NULL) {
		ck_assert(span_eq_str(h.client_id.s, headers[_i].client));
	}
	ck_assert_uint_eq(body_at, headers[_i].body_at);
	span_free(in);
}
END_TEST

static const char *const bad_headers[] = {
	"",
	"00",
	"0000 0009 00000001 00",
	"0000 0009 00000001 0001",		/* client id cut */
	"0000 0009 00000001 7fff 61",
	"0000 0009 00000001 fffe 00",		/* length -2 */
	"0000 0009 00000001 0000",		/* no tags */
	"0000 0009 00000001 0000 01",
	"0000 0009 00000001 0000 01 05 02 aa",	/* tag cut */
	"0000 0009 00000001 0000 ffffffffff 00",
	"0000 0009 00000001 0000 ffffffff0f",
	"0000 0009 00000001 0000 808080808000",
};
enum { N_BAD_HEADERS = sizeof bad_headers / sizeof *bad_headers };

START_TEST(malformed_header_is_refused)
{
	struct span in = hex(bad_headers[_i]);
	struct kafka_request_header h;
	size_t body_at;
	struct err_detail d = {0};
	ck_assert_int_eq(kafka_header_read(in, &h, &body_at, &d), ERR_DECODE);
	ck_assert_ptr_nonnull(strstr(d.text, "request header"));
	span_free(in);
}
END_TEST

START_TEST(header_is_written)
{
	struct kafka_request_header h = {
		.key = 0, .version = 3, .correlation = 258, .client_id = text("ab")};
	const struct kafka_api *api = kafka_api_find(0);
	struct str out = {0};
	kafka_header_write(&out, api, &h);
	h.version = 9;
	h.client_id = kafka_string_null();
	kafka_header_write(&out, api, &h);
	struct span want = hex("0000 0003 00000102 0002 6162 0000 0009 00000102 ffff 00");
	check_same("header", str_span(&out), want);
	span_free(want);
	str_fini(&out);
}
END_TEST

/* ---- arenas ------------------------------------------------------------------------ */

START_TEST(arena_gives_zeroed_and_aligned_memory)
{
	struct kafka_arena a = {0};
	for (size_t n = 0; n < 3000; n += 7) {
		uint8_t *p = kafka_arena_alloc(&a, n);
		ck_assert_ptr_nonnull(p);
		ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++) {
			ck_assert_uint_eq(p[i], 0);
			p[i] = 0xee;
		}
	}
	struct span s = kafka_arena_copy(&a, span_str("text"));
	ck_assert(span_eq_str(s, "text"));
	ck_assert_ptr_nonnull(kafka_arena_copy(&a, span_of(NULL, 0)).p);
	kafka_arena_fini(&a);
	ck_assert_uint_eq(a.used, 0);
}
END_TEST

START_TEST(arena_has_a_bound)
{
	struct kafka_arena a = {.max = 1024};
	ck_assert_ptr_nonnull(kafka_arena_alloc(&a, 1000));
	ck_assert_ptr_null(kafka_arena_alloc(&a, 100));
	ck_assert_ptr_null(kafka_arena_alloc(&a, SIZE_MAX));
	kafka_arena_fini(&a);
	ck_assert_ptr_null(kafka_arena_alloc(&a, 1025));
	ck_assert_ptr_nonnull(kafka_arena_alloc(&a, 1024));
	ck_assert_uint_eq(a.used, 1024);
	kafka_arena_fini(&a);
	ck_assert_uint_eq(a.max, 1024);
}
END_TEST

Suite *codec_suite(void)
{
	Suite *s = suite_create("codec");
	TCase *t = tcase_create("codec");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, every_form_comes_back);
	tcase_add_test(t, every_form_is_refused_when_cut_or_too_long);
	tcase_add_test(t, any_message_encodes_in_any_version);
	tcase_add_test(t, produce_request_bytes);
	tcase_add_test(t, fetch_response_bytes);
	tcase_add_test(t, old_forms_have_their_own_fields);
	tcase_add_test(t, api_versions_bytes);
	tcase_add_test(t, fields_that_a_version_lacks_get_defaults);
	tcase_add_loop_test(t, tags_are_taken_in_any_order, 0, sizeof tags / sizeof *tags);
	tcase_add_loop_test(t, header_is_read, 0, sizeof headers / sizeof *headers);
	tcase_add_loop_test(t, malformed_header_is_refused, 0, N_BAD_HEADERS);
	tcase_add_test(t, header_is_written);
	tcase_add_test(t, arena_gives_zeroed_and_aligned_memory);
	tcase_add_test(t, arena_has_a_bound);
	suite_add_tcase(s, t);
	return s;
}
