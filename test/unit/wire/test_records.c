#include "gateway/wire/records.h"

#include <stdlib.h>

#include "base/mem.h"
#include "test/unit/wire/golden.h"
#include "test/unit/wire/help.h"
#include "test/unit/wire/suites.h"

enum { MIB = 1 << 20, CODECS = RECORDS_ZSTD + 1 };

static const struct records_check lax = {
	.max_batch_bytes = 64 * MIB, .max_inflated_bytes = 64 * MIB, .allow_zstd = true,
};

struct checked {
	enum records_verdict verdict;
	struct batch_head head;
	int64_t max_ms;
	size_t inflated;
	struct err_detail d;
};

static struct checked check_with(struct span s, const struct records_check *rules)
{
	struct checked c = {.d = {""}};
	c.verdict = records_check(s, rules, &c.head, &c.max_ms, &c.inflated, &c.d);
	ck_assert(c.verdict == RECORDS_OK || c.d.text[0] != '\0');
	return c;
}

static enum records_verdict verdict(struct span s)
{
	return check_with(s, &lax).verdict;
}

/* Records of every codec, checked. */
static struct checked check_records(enum records_codec codec, struct span records, int32_t count)
{
	struct span batch = make_batch(codec, records, count);
	struct checked c = check_with(batch, &lax);
	batch_free(batch);
	return c;
}

START_TEST(batches_of_other_programs_are_accepted)
{
	struct checked c = check_with(span_of(goldens[_i].p, goldens[_i].n), &lax);
	ck_assert_msg(c.verdict == RECORDS_OK, "%s: %s", goldens[_i].name, c.d.text);
	ck_assert_int_eq(c.head.count, GOLDEN_RECORDS);
	ck_assert_int_eq(c.head.base_timestamp, GOLDEN_MS);
	ck_assert_int_eq(c.max_ms, GOLDEN_MS + 500);
	ck_assert_uint_eq(c.inflated, GOLDEN_INFLATED);
	ck_assert_uint_eq(c.head.total, goldens[_i].n);
}
END_TEST

/* The second of the three has none; an empty one is one. */
START_TEST(keys_are_needed_where_asked_for)
{
	int32_t keyless = -1;
	struct records_check rules = lax;
	rules.needs_keys = true;
	struct span golden = span_of(goldens[_i].p, goldens[_i].n);
	ck_assert_int_eq(check_with(golden, &rules).verdict, RECORDS_INVALID);
	rules.keyless = &keyless;
	struct checked c = check_with(golden, &rules);
	ck_assert_int_eq(c.verdict, RECORDS_INVALID);
	ck_assert_int_eq(keyless, 1);
	ck_assert_str_eq(c.d.text, "Record 1 of 3 has no key, which compaction of the hub needs.");
}
END_TEST

/* Damage is told from a key that is not there. */
START_TEST(keys_that_are_damaged_are_not_missing)
{
	static const uint8_t wrong[] = {0x03, 0x10, 0xff};	/* -2, 8, a cut length */
	for (size_t i = 0; i < sizeof wrong; i++) {
		int32_t keyless = -1;
		struct records_check rules = lax;
		rules.needs_keys = true;
		rules.keyless = &keyless;
		const uint8_t record[] = {10, 0, 0, 0, wrong[i], 'k'};
		struct span batch = make_batch(RECORDS_NONE, span_of(record, sizeof record), 1);
		struct checked c = check_with(batch, &rules);
		ck_assert_int_eq(c.verdict, RECORDS_INVALID);
		ck_assert_int_eq(keyless, -1);
		ck_assert_str_eq(c.d.text, "Record 0 of 1: its key length is wrong.");
		batch_free(batch);
	}
}
END_TEST

START_TEST(no_part_of_a_batch_is_a_batch)
{
	for (size_t n = 0; n < goldens[_i].n; n++) {
		uint8_t *copy = mem_dup(goldens[_i].p, n);
		ck_assert_int_eq(verdict(span_of(copy, n)), n == 0 ? RECORDS_INVALID : RECORDS_CORRUPT);
		/* The same with a head that fits. */
		if (n > BATCH_HEAD) {
			put_u32(copy + 8, (uint32_t)n - 12);
			reseal(span_of(copy, n));
			ck_assert_int_eq(verdict(span_of(copy, n)), RECORDS_INVALID);
		}
		mem_free(copy);
	}
}
END_TEST

/* One change of the head each; `n` octets from `at` on take the value. */
static const struct {
	unsigned at, n;
	uint64_t value;
	bool keeps_crc;
	enum records_verdict verdict;
} heads[] = {
	{0, 8, 1, false, RECORDS_INVALID},
	{0, 8, UINT64_MAX, false, RECORDS_INVALID},
	{8, 4, 0, false, RECORDS_CORRUPT},
	{8, 4, 48, false, RECORDS_CORRUPT},
	{8, 4, 10000, false, RECORDS_CORRUPT},
	{8, 4, UINT32_MAX, false, RECORDS_CORRUPT},
	{8, 4, 100, false, RECORDS_INVALID},	/* two batches */
	{12, 4, 5, false, RECORDS_OK},		/* leader epoch */
	{16, 1, 1, false, RECORDS_INVALID},
	{16, 1, 3, false, RECORDS_INVALID},
	{17, 4, 1, true, RECORDS_CORRUPT},
	{21, 2, 5, false, RECORDS_INVALID},
	{21, 2, 7, false, RECORDS_INVALID},
	{21, 2, 1 << 3, false, RECORDS_BAD_TIME},
	{21, 2, 1 << 4, false, RECORDS_IN_TRANSACTION},
	{21, 2, 1 << 5, false, RECORDS_INVALID},
	{21, 2, 1 << 4 | 1 << 5, false, RECORDS_INVALID},
	{21, 2, 1 << 6, false, RECORDS_INVALID},
	{21, 2, 1 << 7, false, RECORDS_INVALID},
	{21, 2, 1 << 15, false, RECORDS_INVALID},
	{23, 4, 1, false, RECORDS_INVALID},
	{23, 4, 3, false, RECORDS_INVALID},
	{23, 4, UINT32_MAX, false, RECORDS_INVALID},
	{35, 8, 1, false, RECORDS_OK},		/* maximum timestamp */
	{43, 8, 7, false, RECORDS_INVALID},	/* producer without epoch and sequence */
	{51, 2, 7, false, RECORDS_OK},
	{53, 4, 7, false, RECORDS_OK},
	{57, 4, 0, false, RECORDS_INVALID},
	{57, 4, 2, false, RECORDS_INVALID},
	{57, 4, 4, false, RECORDS_INVALID},
	{57, 4, UINT32_MAX, false, RECORDS_INVALID},
};

START_TEST(wrong_heads_are_refused_by_kind)
{
	struct span s = span_of(mem_dup(goldens[0].p, goldens[0].n), goldens[0].n);
	for (unsigned i = 0; i < heads[_i].n; i++) {
		unsigned shift = 8 * (heads[_i].n - 1 - i);
		bytes_of(s)[heads[_i].at + i] = (uint8_t)(heads[_i].value >> shift);
	}
	if (!heads[_i].keeps_crc) {
		reseal(s);
	}
	struct checked c = check_with(s, &lax);
	ck_assert_msg(c.verdict == heads[_i].verdict, "byte %u: %d: %s", heads[_i].at, c.verdict,
		      c.d.text);
	batch_free(s);
}
END_TEST

START_TEST(count_and_last_delta_must_agree_with_the_records)
{
	struct span s = span_of(mem_dup(goldens[_i].p, goldens[_i].n), goldens[_i].n);
	for (uint32_t count = 1; count < 6; count++) {
		put_u32(bytes_of(s) + 23, count - 1);
		put_u32(bytes_of(s) + 57, count);
		reseal(s);
		ck_assert_int_eq(verdict(s), count == GOLDEN_RECORDS ? RECORDS_OK : RECORDS_INVALID);
	}
	put_u32(bytes_of(s) + 23, INT32_MAX - 1);
	put_u32(bytes_of(s) + 57, INT32_MAX);
	reseal(s);
	ck_assert_int_eq(verdict(s), RECORDS_INVALID);
	batch_free(s);
}
END_TEST

START_TEST(producer_needs_epoch_and_sequence)
{
	struct span s = span_of(mem_dup(goldens[0].p, goldens[0].n), goldens[0].n);
	put_u64(bytes_of(s) + 43, 7);
	put_u16(bytes_of(s) + 51, 0);
	put_u32(bytes_of(s) + 53, 0);
	reseal(s);
	struct checked c = check_with(s, &lax);
	ck_assert_int_eq(c.verdict, RECORDS_OK);
	ck_assert_int_eq(c.head.producer_id, 7);
	put_u16(bytes_of(s) + 51, UINT16_MAX);
	reseal(s);
	ck_assert_int_eq(verdict(s), RECORDS_INVALID);
	put_u16(bytes_of(s) + 51, 0);
	put_u32(bytes_of(s) + 53, UINT32_MAX);
	reseal(s);
	ck_assert_int_eq(verdict(s), RECORDS_INVALID);
	batch_free(s);
}
END_TEST

START_TEST(sizes_are_bounded)
{
	struct records_check rules = lax;
	for (size_t i = 0; i < n_goldens; i++) {
		struct span s = span_of(goldens[i].p, goldens[i].n);
		bool is_packed = (s.p[22] & RECORDS_CODEC_MASK) != 0;
		rules = lax;
		rules.max_batch_bytes = s.n;
		rules.max_inflated_bytes = GOLDEN_INFLATED;
		ck_assert_int_eq(check_with(s, &rules).verdict, RECORDS_OK);
		rules.max_inflated_bytes = GOLDEN_INFLATED - 1;
		ck_assert_int_eq(check_with(s, &rules).verdict,
				 is_packed ? RECORDS_TOO_LARGE : RECORDS_OK);
		rules.max_batch_bytes = s.n - 1;
		ck_assert_int_eq(check_with(s, &rules).verdict, RECORDS_TOO_LARGE);
	}
}
END_TEST

START_TEST(zstd_needs_a_version)
{
	struct records_check rules = lax;
	rules.allow_zstd = false;
	for (size_t i = 0; i < n_goldens; i++) {
		struct span s = span_of(goldens[i].p, goldens[i].n);
		ck_assert_int_eq(check_with(s, &rules).verdict,
				 (s.p[22] & RECORDS_CODEC_MASK) == RECORDS_ZSTD ? RECORDS_NO_ZSTD
										 : RECORDS_OK);
	}
}
END_TEST

/* ---- records that are wrong ------------------------------------------------------------- */

#define RUN(text) {(const uint8_t *)(text), sizeof(text) - 1}

/* A record's bytes without its length; the first of two. */
static const struct {
	struct span body;
	bool is_right;
	const char *says;
} bodies[] = {
	/* attributes, ms, delta, key, value, headers */
	{RUN("\0\0\0\1\1\0"), true, ""},
	{RUN("\0\0\0\2k\4vv\0"), true, ""},
	{RUN("\0\0\0\0\0\2\2a\2b\2c\1"), false, "length"},
	{RUN("\0\0\0\0\0\4\2a\2b\2c\1"), true, ""},
	{RUN("\0\x7f\0\1\1\0"), true, ""},
	{RUN(""), false, "length"},
	{RUN("\0"), false, "timestamp delta"},
	{RUN("\0\0"), false, "offset delta"},
	{RUN("\0\0\0"), false, "key length"},
	{RUN("\0\0\0\1"), false, "value length"},
	{RUN("\0\0\0\1\1"), false, "header count"},
	{RUN("\1\0\0\1\1\0"), false, "attributes"},
	{RUN("\x80\0\0\1\1\0"), false, "attributes"},
	{RUN("\0\0\2\1\1\0"), false, "offset delta"},
	{RUN("\0\0\1\1\1\0"), false, "offset delta"},
	{RUN("\0\0\0\3\1\0"), false, "key length"},
	{RUN("\0\0\0\x40k\1\0"), false, "key length"},
	{RUN("\0\0\0\xfe\xff\xff\xff\x0f\1\0"), false, "key length"},
	{RUN("\0\0\0\xfe\xff\xff\xff\x1f\1\0"), false, "key length"},
	{RUN("\0\0\0\1\3\0"), false, "value length"},
	{RUN("\0\0\0\1\6vv\0"), false, "header count"},
	{RUN("\0\0\0\1\x10vv\0"), false, "value length"},
	{RUN("\0\0\0\1\xfe\xff\xff\xff\x0f\0"), false, "value length"},
	{RUN("\0\0\0\1\1\1"), false, "header count"},
	{RUN("\0\0\0\1\1\2"), false, "header count"},
	{RUN("\0\0\0\1\1\2\0"), false, "header count"},
	{RUN("\0\0\0\1\1\2\0\1"), true, ""},
	{RUN("\0\0\0\1\1\2\1\1"), false, "header name length"},
	{RUN("\0\0\0\1\1\2\2\1"), false, "header value length"},
	{RUN("\0\0\0\1\1\2\0\3"), false, "header value length"},
	{RUN("\0\0\0\1\1\2\0\4v"), false, "header value length"},
	{RUN("\0\0\0\1\1\xfe\xff\xff\xff\x0f\0\0"), false, "header count"},
	{RUN("\0\0\0\1\1\0x"), false, "length"},
	{RUN("\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0\1\1\0"), false, "timestamp delta"},
	{RUN("\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\0\1\1\0"), false, "timestamp delta"},
	{RUN("\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0\1\1\0"), false, "timestamp delta"},
	{RUN("\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1\0\1\1\0"), false, "timestamp delta"},
	/* Numbers longer than they need be, as Kafka's own readers take them. */
	{RUN("\0\x80\0\x80\0\1\1\x80\x80\0"), true, ""},
};

START_TEST(records_are_refused_for_what_is_wrong)
{
	for (int codec = 0; codec < CODECS; codec++) {
		struct str s = {.max = 0};
		put_varlong(&s, (int64_t)bodies[_i].body.n);
		str_addn(&s, bodies[_i].body.p, bodies[_i].body.n);
		struct raw_record next = {.delta = 1};
		put_record(&s, &next);
		struct span batch = make_batch((enum records_codec)codec, span_in(&s), 2);
		put_u64(bytes_of(batch) + 27, (uint64_t)(bodies[_i].body.n > 2 ? -1 : 0));
		if (bodies[_i].body.n > 5 && bodies[_i].body.p[1] == 0xfe) {
			put_u64(bytes_of(batch) + 27, 1);	/* + INT64_MAX */
		} else if (bodies[_i].body.n > 5 && bodies[_i].body.p[1] == 0xff) {
			put_u64(bytes_of(batch) + 27, UINT64_MAX);	/* + INT64_MIN */
		}
		reseal(batch);
		struct checked c = check_with(batch, &lax);
		ck_assert_msg(c.verdict == (bodies[_i].is_right ? RECORDS_OK : RECORDS_INVALID),
			      "codec %d: %d: %s", codec, c.verdict, c.d.text);
		ck_assert_msg(strstr(c.d.text, bodies[_i].says) != NULL, "codec %d: %s", codec, c.d.text);
		ck_assert(bodies[_i].is_right || strstr(c.d.text, "Record 0 of 2") != NULL);
		batch_free(batch);
		str_fini(&s);
	}
}
END_TEST

START_TEST(lengths_that_lead_out_of_the_batch_are_refused)
{
	static const struct span last[] = {
		RUN("\1"), RUN("\x0e\0\0\0\1\1\0"), RUN("\xfe\xff\xff\xff\x0f\0\0\0\1\1\0"), RUN("\x80"),
		RUN("\x0c\0\0\0\1\1"), RUN("\xff\xff\xff\xff\xff\xff"), RUN("\0"), RUN("\x0c\0\0\0\1\1\0z"),
	};
	bool is_huge = last[_i].n > 4 && last[_i].p[0] == 0xfe;
	for (int codec = 0; codec < CODECS; codec++) {
		ck_assert_int_eq(check_records((enum records_codec)codec, last[_i], 1).verdict,
				 is_huge && codec != RECORDS_NONE ? RECORDS_TOO_LARGE
								  : RECORDS_INVALID);
	}
}
END_TEST

/* What no reader could be given as one message is not taken. */
START_TEST(one_record_is_bounded)
{
	for (int over = 0; over < 2; over++) {
		struct str s = {.max = 32 * MIB};
		struct str value = {.max = 32 * MIB};
		size_t n = RECORDS_RECORD_MAX - 100 + (over ? 200U : 0U);
		for (size_t i = 0; i < n; i += 1000) {
			static const char zeros[1000];
			str_addn(&value, zeros, n - i < 1000 ? n - i : 1000);
		}
		struct raw_record r = {.value = span_of(value.p, value.len)};
		put_record(&s, &r);
		struct span batch = make_batch(RECORDS_GZIP, span_in(&s), 1);
		ck_assert_int_eq(check_with(batch, &lax).verdict,
				 over ? RECORDS_TOO_LARGE : RECORDS_OK);
		batch_free(batch);
		str_fini(&value);
		str_fini(&s);
	}
}
END_TEST

START_TEST(maximum_timestamp_is_the_records_own)
{
	static const int64_t deltas[] = {-5, -900, -3, -4};
	struct str s = {.max = 0};
	for (int32_t i = 0; i < 4; i++) {
		struct raw_record r = {.delta = i, .ms_delta = deltas[i]};
		put_record(&s, &r);
	}
	for (int codec = 0; codec < CODECS; codec++) {
		struct checked c = check_records((enum records_codec)codec, span_in(&s), 4);
		ck_assert_int_eq(c.verdict, RECORDS_OK);
		ck_assert_int_eq(c.max_ms, 997);
		ck_assert_int_eq(c.head.max_timestamp, 1000);
	}
	str_fini(&s);
}
END_TEST

/* ---- pieces -------------------------------------------------------------------------- */

START_TEST(records_of_any_size_are_walked)
{
	static const size_t sizes[] = {0, 1, 100, 1000, 40000, RECORDS_PIECE, 300000, 5 * MIB};
	static const int32_t counts[] = {20000, 20000, 5000, 500, 12, 5, 4, 2};
	struct str s = {.max = 64 * MIB};
	put_records(&s, counts[_i], sizes[_i]);
	for (int codec = 0; codec < CODECS; codec++) {
		struct checked c = check_records((enum records_codec)codec, span_in(&s), counts[_i]);
		ck_assert_msg(c.verdict == RECORDS_OK, "codec %d: %s", codec, c.d.text);
		ck_assert_uint_eq(c.inflated, s.len);
		ck_assert_int_eq(c.max_ms, 1000 + (counts[_i] > 6 ? 6 : counts[_i] - 1));
	}
	str_fini(&s);
}
END_TEST

/* The border between two pieces lies at every place of the second record. */
START_TEST(every_field_may_lie_in_two_pieces)
{
	static const uint8_t headers[] = {6, 'a', 'b', 'c', 2, 'v', 0, 1};
	uint8_t *value = calloc(1, RECORDS_PIECE);
	struct raw_record second = {
		.ms_delta = INT64_MAX - 1000, .delta = 1, .key = "key",
		.value = span_str("value"), .header_count = 2, .headers = span_of(headers, sizeof headers),
	};
	/* 11 octets around the first value, of which three are its length. */
	for (size_t at = 0; at < 45; at++) {
		struct str s = {.max = 0};
		struct raw_record first = {.value = span_of(value, RECORDS_PIECE - at)};
		put_record(&s, &first);
		put_record(&s, &second);
		for (int codec = 1; codec < CODECS; codec++) {
			struct checked c = check_records((enum records_codec)codec, span_in(&s), 2);
			ck_assert_msg(c.verdict == RECORDS_OK, "%zu, codec %d: %s", at, codec, c.d.text);
			ck_assert_int_eq(c.max_ms, INT64_MAX);
		}
		/* Cut short there, whatever the place. */
		struct span cut = span_of(s.p, s.len - 1);
		ck_assert_int_eq(check_records(RECORDS_ZSTD, cut, 2).verdict, RECORDS_INVALID);
		str_fini(&s);
	}
	free(value);
}
END_TEST

START_TEST(memory_that_is_short_is_for_later)
{
	struct str s = {.max = MIB};
	put_records(&s, 100, 1000);
	struct span batch = make_batch((enum records_codec)_i, span_in(&s), 100);
	bool fired = true;
	for (long n = 1; fired; n++) {
		mem_fault_at(n);
		enum records_verdict v = verdict(batch);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(v, fired ? RECORDS_BUSY : RECORDS_OK);
	}
	batch_free(batch);
	str_fini(&s);
}
END_TEST

START_TEST(working_memory_comes_from_the_budget)
{
	static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 11 << 3, 7 << 3 | 1, 0, 0,
					0x0c, 0, 0, 0, 1, 1, 0};
	struct span batch = make_batch(RECORDS_NONE, span_of(frame, sizeof frame), 1);
	bytes_of(batch)[22] = RECORDS_ZSTD;
	reseal(batch);
	struct budget b;
	struct records_check rules = lax;
	rules.memory = &b;
	budget_init(&b, 3 * MIB);
	ck_assert_int_eq(check_with(batch, &rules).verdict, RECORDS_OK);
	ck_assert_uint_eq(budget_used(&b), 0);
	ck_assert(budget_take(&b, 2 * MIB));
	ck_assert_int_eq(check_with(batch, &rules).verdict, RECORDS_BUSY);
	budget_init(&b, MIB);
	ck_assert_int_eq(check_with(batch, &rules).verdict, RECORDS_TOO_LARGE);
	ck_assert_uint_eq(budget_used(&b), 0);
	batch_free(batch);
}
END_TEST

Suite *records_suite(void)
{
	Suite *s = suite_create("records");
	TCase *t = tcase_create("check");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, batches_of_other_programs_are_accepted, 0, (int)n_goldens);
	tcase_add_loop_test(t, keys_are_needed_where_asked_for, 0, (int)n_goldens);
	tcase_add_test(t, keys_that_are_damaged_are_not_missing);
	tcase_add_loop_test(t, no_part_of_a_batch_is_a_batch, 0, (int)n_goldens);
	tcase_add_loop_test(t, wrong_heads_are_refused_by_kind, 0, sizeof heads / sizeof heads[0]);
	tcase_add_loop_test(t, count_and_last_delta_must_agree_with_the_records, 0, (int)n_goldens);
	tcase_add_test(t, producer_needs_epoch_and_sequence);
	tcase_add_test(t, sizes_are_bounded);
	tcase_add_test(t, one_record_is_bounded);
	tcase_add_test(t, zstd_needs_a_version);
	tcase_add_loop_test(t, records_are_refused_for_what_is_wrong, 0,
			    sizeof bodies / sizeof bodies[0]);
	tcase_add_loop_test(t, lengths_that_lead_out_of_the_batch_are_refused, 0, 8);
	tcase_add_test(t, maximum_timestamp_is_the_records_own);
	tcase_add_loop_test(t, records_of_any_size_are_walked, 0, 8);
	tcase_add_test(t, every_field_may_lie_in_two_pieces);
	tcase_add_loop_test(t, memory_that_is_short_is_for_later, 1, CODECS);
	tcase_add_test(t, working_memory_comes_from_the_budget);
	suite_add_tcase(s, t);
	return s;
}
