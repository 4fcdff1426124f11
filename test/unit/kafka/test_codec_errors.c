#include <stdlib.h>

#include "base/mem.h"
#include "test/unit/kafka/codec_help.h"

/* What the codec refuses, and memory that runs out. */

Suite *codec_errors_suite(void);

/* ---- malformed input ------------------------------------------------------------ */

static const struct {
	int16_t key;
	int16_t version;
	const char *hex;
	const char *detail;
} bad[] = {
	/* Strings: too short, lying, negative, null. */
	{12, 0, "00", "Heartbeat v0 request: group_id: needs 2 bytes, 1 are left"},
	{12, 0, "0005 6162", "Heartbeat v0 request: group_id: needs 5 bytes, 2 are left"},
	{12, 0, "fffe", "Heartbeat v0 request: group_id: length -2"},
	{12, 0, "8000", "Heartbeat v0 request: group_id: length -32768"},
	{12, 0, "ffff", "Heartbeat v0 request: group_id: is null"},
	{12, 4, "00", "Heartbeat v4 request: group_id: is null"},
	{12, 4, "818002", "Heartbeat v4 request: group_id: length 32768"},
	{12, 4, "ffffffff0f", "Heartbeat v4 request: group_id: length 4294967294"},
	{12, 4, "ffffffff1f", "Heartbeat v4 request: group_id: malformed length"},
	{12, 4, "808080808000", "Heartbeat v4 request: group_id: malformed length"},
	{12, 4, "8080", "Heartbeat v4 request: group_id: malformed length"},
	{12, 0, "000161 000000", "Heartbeat v0 request: generation_id: needs 4 bytes, 3 are left"},
	{12, 0, "000161 00000001 000162 00", "Heartbeat v0 request: 1 bytes left over"},
	/* Null only from some version on. */
	{3, 0, "ffffffff", "Metadata v0 request: topics: is null"},
	{3, 9, "02 00 00 000000 00", "Metadata v9 request: topics[0].name: is null"},
	{9, 1, "000167 ffffffff", "OffsetFetch v1 request: topics: is null"},
	/* Bytes. */
	{36, 0, "ffffffff", "SaslAuthenticate v0 request: auth_bytes: is null"},
	{36, 0, "7fffffff 00", "SaslAuthenticate v0 request: auth_bytes: needs 2147483647 bytes, 1"},
	{36, 0, "80000000", "SaslAuthenticate v0 request: auth_bytes: length -2147483648"},
	{36, 2, "818080800800", "SaslAuthenticate v2 request: auth_bytes: length 2147483648"},
	/* Arrays: more elements than bytes. */
	{3, 0, "7fffffff", "topics: 2147483647 elements do not fit into the 0 bytes left"},
	{3, 0, "00000003 0000 0000 00", "topics: 3 elements do not fit into the 5 bytes left"},
	{3, 0, "fffffffe", "Metadata v0 request: topics: length -2"},
	{3, 9, "ffffffff0f", "Metadata v9 request: topics: length 4294967294"},
	{3, 9, "feffffff07 00", "topics: 2147483645 elements do not fit"},
	{3, 0, "00000002 0000 0005 61", "Metadata v0 request: topics[1].name: needs 5 bytes, 1 are left"},
	{15, 0, "00000002 0001 61 00", "DescribeGroups v0 request: groups[1]: needs"},
	{15, 0, "00000001 ffff", "DescribeGroups v0 request: groups[0]: is null"},
	{9, 1, "0000 00000001 0000 00000002 00000000",
	 "topics[0].partition_indexes: 2 elements do not fit into the 4 bytes left"},
	{0, 9, "00 0001 00000000 02 0261 03 00000001 01 00 00000002 05 61",
	 "Produce v9 request: topic_data[0].partition_data[1].records: needs 4 bytes, 1 are left"},
	/* Tags. */
	{18, 3, "0161 0161", "ApiVersions v3 request: client_software_version: needs 96 bytes, 2 are left"},
	{18, 3, "0261 0261", "ApiVersions v3 request: malformed tag section"},
	{18, 3, "0261 0261 01 05", "ApiVersions v3 request: malformed tag section"},
	{18, 3, "0261 0261 01 05 02 00", "ApiVersions v3 request: tag 5: 2 bytes, 1 are left"},
	{18, 3, "0261 0261 ffffffff0f 05 00", "ApiVersions v3 request: malformed tag section"},
	{18, 3, "0261 0261 01 ffffffff7f 00", "ApiVersions v3 request: malformed tag section"},
	{1, 12, "ffffffff 00000000 00000000 00000000 00 00000000 00000000 01 01 01 01 00 03 0261ff",
	 "Fetch v12 request: cluster_id: 1 bytes left over in its tag"},
	{1, 12, "ffffffff 00000000 00000000 00000000 00 00000000 00000000 01 01 01 01 00 02 0561",
	 "Fetch v12 request: cluster_id: needs 4 bytes, 1 are left"},
};
enum { N_BAD = sizeof bad / sizeof *bad };

START_TEST(malformed_request_is_refused)
{
	struct form f = form_of(bad[_i].key, bad[_i].version, true);
	struct span in = hex(bad[_i].hex);
	check_refused(&f, in, ERR_DECODE, bad[_i].detail);
	/* And nobody need listen. */
	struct kafka_arena arena = {0};
	void *out = malloc(kafka_struct_size(f.desc));
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(decode(&f, in, &arena, out, NULL), ERR_DECODE);
	kafka_arena_fini(&arena);
	free(out);
	span_free(in);
}
END_TEST

START_TEST(tagged_struct_names_its_path)
{
	struct form f = form_of(KAFKA_API_Fetch, 12, false);
	struct span in = hex("00000000 0000 00000000 02 0274 02 00000007 0006 0000000000000102"
			     "0000000000000101 0000000000000001 00 ffffffff 01"
			     "01 01 06 00000001 0000");
	check_refused(&f, in, ERR_DECODE,
		      "Fetch v12 response: responses[0].partitions[0].current_leader.leader_epoch: "
		      "needs 4 bytes, 2 are left");
	span_free(in);
}
END_TEST

/* A long array of elements that are large in memory and small on the wire. */
START_TEST(memory_of_a_request_is_bounded)
{
	enum { N = 1000000 };
	struct form f = form_of(KAFKA_API_Metadata, 9, true);
	uint8_t *in = calloc(1, N + 16);
	ck_assert_ptr_nonnull(in);
	size_t at = 0;
	for (uint32_t n = N / 2 + 1; n != 0; n >>= 7) {
		in[at++] = (uint8_t)(n >> 7 != 0 ? n | 0x80 : n);
	}
	for (size_t i = 0; i < N / 2; i++) {
		in[at++] = 1;	/* an empty name */
		in[at++] = 0;	/* no tags */
	}
	in[at] = 1;
	at += 4;
	struct span s = span_of(in, at);
	check_refused(&f, s, ERR_TOO_LARGE, "topics: needs more than 16777216 bytes of memory");
	struct kafka_arena arena = {.max = 64 << 20};
	struct kafka_metadata_request m;
	struct err_detail d = {0};
	ck_assert_msg(decode(&f, s, &arena, &m, &d) == ERR_OK, "%s", d.text);
	ck_assert_int_eq(m.n_topics, N / 2);
	kafka_arena_fini(&arena);
	free(in);
}
END_TEST

START_TEST(any_byte_changed_never_crashes)
{
	struct form f;
	for (uint32_t at = 0; form_next(&at, &f);) {
		uint64_t seed = 77;
		void *m = malloc(kafka_struct_size(f.desc));
		ck_assert_ptr_nonnull(m);
		struct kafka_arena arena = {0};
		ck_assert_int_eq(kafka_random(f.desc, f.version, &seed, &arena, m), ERR_OK);
		struct span bytes = encode(&f, m);
		uint8_t *change = malloc(bytes.n + 1);
		ck_assert_ptr_nonnull(change);
		memcpy(change, bytes.p, bytes.n);
		static const uint8_t values[] = {0x00, 0x7f, 0xff};
		for (size_t i = 0; i < bytes.n; i++) {
			for (size_t k = 0; k < sizeof values; k++) {
				change[i] = values[k];
				struct span in = prefix(span_of(change, bytes.n), bytes.n);
				enum err e = decode(&f, in, &arena, m, NULL);
				ck_assert(e == ERR_OK || e == ERR_DECODE);
				span_free(in);
				kafka_arena_fini(&arena);
			}
			change[i] = bytes.p[i];
		}
		free(change);
		span_free(bytes);
		free(m);
	}
}
END_TEST

/* ---- values that cannot be sent ---------------------------------------------------- */

static bool is_bad(int16_t key, int16_t version, bool is_request, const void *m)
{
	struct form f = form_of(key, version, is_request);
	struct kafka_out o = {0};
	kafka_encode(&o, f.desc, f.version, f.is_flexible, m);
	bool is = o.bad;
	struct str flat = {0};
	kafka_out_flatten(&o, &flat);
	ck_assert_int_eq(flat.bad, is);
	str_fini(&flat);
	kafka_out_fini(&o);
	return is;
}

START_TEST(unsendable_values_are_bad)
{
	static char text[KAFKA_STRING_MAX + 1];
	memset(text, 'a', sizeof text);
	struct kafka_sasl_handshake_request h = {
		.mechanism = kafka_string_of(span_of(text, KAFKA_STRING_MAX))};
	ck_assert(!is_bad(KAFKA_API_SaslHandshake, 0, true, &h));
	h.mechanism.s.n++;
	ck_assert(is_bad(KAFKA_API_SaslHandshake, 0, true, &h));
	struct kafka_heartbeat_request b = {.group_id = h.mechanism};
	ck_assert(is_bad(KAFKA_API_Heartbeat, 4, true, &b));

	struct kafka_metadata_request m = {.n_topics = -2};
	ck_assert(is_bad(KAFKA_API_Metadata, 1, true, &m));
	m.n_topics = 1;
	ck_assert(is_bad(KAFKA_API_Metadata, 1, true, &m));

	struct span huge[3] = {{(const uint8_t *)text, INT32_MAX / 2}, {(const uint8_t *)text, INT32_MAX / 2},
			       {(const uint8_t *)text, 2}};
	struct kafka_fetch_response_partition p = {.records = {.parts = huge, .n_parts = 3}};
	struct kafka_fetch_response_topic t = {.partitions = &p, .n_partitions = 1};
	struct kafka_fetch_response r = {.responses = &t, .n_responses = 1};
	ck_assert(is_bad(KAFKA_API_Fetch, 4, false, &r));
}
END_TEST

START_TEST(null_becomes_empty_where_it_may_not_be)
{
	struct kafka_metadata_request m = {.n_topics = -1};
	struct form f = form_of(KAFKA_API_Metadata, 0, true);
	struct span got = encode(&f, &m);
	struct span want = hex("00000000");
	check_same("topics", got, want);
	span_free(got);
	span_free(want);
	struct kafka_heartbeat_request h = {.group_id = kafka_string_null()};
	f = form_of(KAFKA_API_Heartbeat, 0, true);
	got = encode(&f, &h);
	want = hex("0000 00000000 0000");
	check_same("group_id", got, want);
	span_free(got);
	span_free(want);
}
END_TEST

START_TEST(output_has_its_bound)
{
	struct kafka_out o = {.bytes.max = 8};
	struct kafka_sasl_handshake_request h = {.mechanism = kafka_string_of(span_str("PLAIN"))};
	kafka_encode(&o, &kafka_sasl_handshake_request_desc, 0, false, &h);
	ck_assert(!o.bad);
	kafka_encode(&o, &kafka_sasl_handshake_request_desc, 0, false, &h);
	ck_assert(o.bad);
	kafka_out_fini(&o);
	ck_assert_uint_eq(o.bytes.max, 8);
	ck_assert(!o.bad);
}
END_TEST

/* ---- memory that runs out ------------------------------------------------------------- */

static const int16_t large[] = {KAFKA_API_Produce, KAFKA_API_Fetch, KAFKA_API_Metadata,
				KAFKA_API_OffsetFetch, KAFKA_API_CreateTopics};

START_TEST(each_allocation_may_fail)
{
	struct form f = form_of(large[_i], kafka_api_find(large[_i])->last, false);
	size_t size = kafka_struct_size(f.desc);
	void *m = malloc(size);
	void *out = malloc(size);
	ck_assert(m != NULL && out != NULL);
	bool fired = true;
	long n;
	for (n = 1; fired && n < 1000; n++) {
		struct kafka_arena a = {0};
		struct kafka_arena b = {0};
		struct kafka_out o = {0};
		struct str flat = {0};
		uint64_t seed = 5;
		mem_fault_at(n);
		enum err made = kafka_random(f.desc, f.version, &seed, &a, m);
		enum err e = ERR_OK;
		if (made == ERR_OK) {
			kafka_encode(&o, f.desc, f.version, f.is_flexible, m);
			kafka_out_flatten(&o, &flat);
			struct err_detail d;
			if (!flat.bad) {
				e = decode(&f, str_span(&flat), &b, out, &d);
			}
		}
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert(made == ERR_OK || made == ERR_NOMEM);
		ck_assert(e == ERR_OK || e == ERR_NOMEM);
		ck_assert_int_eq(fired, made != ERR_OK || flat.bad || e != ERR_OK);
		str_fini(&flat);
		kafka_out_fini(&o);
		kafka_arena_fini(&a);
		kafka_arena_fini(&b);
	}
	ck_assert_int_gt(n, 4);
	ck_assert_int_lt(n, 1000);
	free(m);
	free(out);
}
END_TEST

Suite *codec_errors_suite(void)
{
	Suite *s = suite_create("codec_errors");
	TCase *t = tcase_create("codec_errors");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, malformed_request_is_refused, 0, N_BAD);
	tcase_add_test(t, tagged_struct_names_its_path);
	tcase_add_test(t, memory_of_a_request_is_bounded);
	tcase_add_test(t, any_byte_changed_never_crashes);
	tcase_add_test(t, unsendable_values_are_bad);
	tcase_add_test(t, null_becomes_empty_where_it_may_not_be);
	tcase_add_test(t, output_has_its_bound);
	tcase_add_loop_test(t, each_allocation_may_fail, 0, sizeof large / sizeof *large);
	suite_add_tcase(s, t);
	return s;
}
