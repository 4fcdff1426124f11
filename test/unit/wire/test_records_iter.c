#include "base/mem.h"
#include "gateway/wire/records.h"
#include "test/unit/wire/golden.h"
#include "test/unit/wire/help.h"
#include "test/unit/wire/suites.h"

enum { MIB = 1 << 20, CODECS = RECORDS_ZSTD + 1 };

/* Walks to the end; *n the records. */
static enum err walk(struct span batch, size_t max, struct budget *memory, int32_t *n)
{
	struct records_iter *it;
	struct batch_record rec;
	*n = 0;
	enum err e = records_iter_new(batch, max, memory, &it);
	while (e == ERR_OK && (e = records_iter_next(it, &rec)) == ERR_OK) {
		++*n;
	}
	if (it != NULL) {	/* errors, and the end, are final */
		ck_assert_int_eq(records_iter_next(it, &rec), e);
	}
	records_iter_free(&it);
	ck_assert_ptr_null(it);
	return e;
}

START_TEST(batches_of_other_programs_are_walked)
{
	struct records_iter *it;
	struct batch_record rec;
	struct span batch = span_of(goldens[_i].p, goldens[_i].n);
	ck_assert_int_eq(records_iter_new(batch, MIB, NULL, &it), ERR_OK);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_OK);
	ck_assert_int_eq(rec.timestamp, GOLDEN_MS);
	ck_assert_int_eq(rec.offset_delta, 0);
	ck_assert(rec.has_key);
	ck_assert(span_eq_str(rec.key, "k1"));
	ck_assert(rec.has_value);
	ck_assert(span_eq_str(rec.value, "first value"));
	ck_assert_int_eq(rec.header_count, 2);
	ck_assert(span_eq_str(rec.headers, "\4h1\4v1\4h2\1"));
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_OK);
	ck_assert_int_eq(rec.timestamp, GOLDEN_MS + 500);
	ck_assert_int_eq(rec.offset_delta, 1);
	ck_assert(!rec.has_key);
	ck_assert_uint_eq(rec.value.n, 160);
	ck_assert_int_eq(rec.header_count, 0);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_OK);
	ck_assert_int_eq(rec.timestamp, GOLDEN_MS + 200);
	ck_assert_int_eq(rec.offset_delta, 2);
	ck_assert(rec.has_key);
	ck_assert_uint_eq(rec.key.n, 0);
	ck_assert(!rec.has_value);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_EOF);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_EOF);
	records_iter_free(&it);
}
END_TEST

START_TEST(every_codec_gives_the_same_records)
{
	static const size_t sizes[] = {0, 100, 1000, 40000, RECORDS_PIECE, 300000, 5 * MIB};
	static const int32_t counts[] = {20000, 5000, 500, 12, 5, 4, 2};
	struct str s = {.max = 64 * MIB};
	put_records(&s, counts[_i], sizes[_i]);
	struct span plain = make_batch(RECORDS_NONE, span_in(&s), counts[_i]);
	for (int codec = 0; codec < CODECS; codec++) {
		struct span batch = make_batch((enum records_codec)codec, span_in(&s), counts[_i]);
		struct records_iter *it;
		struct batch_iter want_it;
		struct batch_record got;
		struct batch_record want;
		ck_assert_int_eq(batch_iter_init(&want_it, plain), ERR_OK);
		ck_assert_int_eq(records_iter_new(batch, 64 * MIB, NULL, &it), ERR_OK);
		while (batch_iter_next(&want_it, &want) == ERR_OK) {
			ck_assert_int_eq(records_iter_next(it, &got), ERR_OK);
			ck_assert_int_eq(got.offset_delta, want.offset_delta);
			ck_assert_int_eq(got.timestamp, want.timestamp);
			ck_assert(span_eq(got.value, want.value));
			ck_assert(span_eq(got.headers, want.headers));
		}
		ck_assert_int_eq(records_iter_next(it, &got), ERR_EOF);
		records_iter_free(&it);
		batch_free(batch);
	}
	batch_free(plain);
	str_fini(&s);
}
END_TEST

START_TEST(log_append_time_is_the_time_of_all)
{
	for (size_t i = 0; i < n_goldens; i++) {
		struct span s = span_of(mem_dup(goldens[i].p, goldens[i].n), goldens[i].n);
		struct records_iter *it;
		struct batch_record rec;
		bytes_of(s)[22] |= RECORDS_LOG_APPEND_TIME;
		put_u64(bytes_of(s) + 35, 4711);
		ck_assert_int_eq(records_iter_new(s, MIB, NULL, &it), ERR_OK);
		for (int k = 0; k < GOLDEN_RECORDS; k++) {
			ck_assert_int_eq(records_iter_next(it, &rec), ERR_OK);
			ck_assert_int_eq(rec.timestamp, 4711);
		}
		records_iter_free(&it);
		batch_free(s);
	}
}
END_TEST

START_TEST(damage_is_told)
{
	struct span golden = span_of(goldens[_i].p, goldens[_i].n);
	int32_t n;
	for (size_t len = 0; len < golden.n; len++) {
		struct span s = span_of(mem_dup(golden.p, len), len);
		if (len > BATCH_HEAD) {
			put_u32(bytes_of(s) + 8, (uint32_t)len - 12);
		}
		ck_assert_int_eq(walk(s, MIB, NULL, &n), ERR_DECODE);
		batch_free(s);
	}
	for (size_t at = BATCH_HEAD; at < golden.n; at++) {
		struct span s = span_of(mem_dup(golden.p, golden.n), golden.n);
		bytes_of(s)[at] ^= 0x55;
		(void)!walk(s, MIB, NULL, &n);
		batch_free(s);
	}
	struct span s = span_of(mem_dup(golden.p, golden.n), golden.n);
	for (uint32_t count = 1; count < 6; count++) {
		put_u32(bytes_of(s) + 57, count);
		ck_assert_int_eq(walk(s, MIB, NULL, &n), count == GOLDEN_RECORDS ? ERR_EOF : ERR_DECODE);
	}
	bytes_of(s)[22] = 5;
	enum err unknown = walk(s, MIB, NULL, &n);
	ck_assert_int_eq(unknown, ERR_DECODE);
	batch_free(s);
}
END_TEST

START_TEST(unpacked_bytes_are_bounded)
{
	bool is_packed = (goldens[_i].p[22] & RECORDS_CODEC_MASK) != 0;
	struct span s = span_of(goldens[_i].p, goldens[_i].n);
	int32_t n;
	ck_assert_int_eq(walk(s, GOLDEN_INFLATED, NULL, &n), ERR_EOF);
	enum err e = walk(s, GOLDEN_INFLATED - 1, NULL, &n);
	ck_assert_int_eq(e, is_packed ? ERR_TOO_LARGE : ERR_EOF);
}
END_TEST

START_TEST(memory_comes_from_the_budget_and_goes_back)
{
	struct str s = {.max = 64 * MIB};
	int32_t n;
	put_records(&s, 3, 2 * MIB);
	struct span batch = make_batch((enum records_codec)_i, span_in(&s), 3);
	struct budget b;
	budget_init(&b, 8 * MIB);
	ck_assert_int_eq(walk(batch, 64 * MIB, &b, &n), ERR_EOF);
	ck_assert_uint_eq(budget_used(&b), 0);
	ck_assert(budget_take(&b, 7 * MIB));
	ck_assert_int_eq(walk(batch, 64 * MIB, &b, &n), ERR_BUSY);
	ck_assert_uint_eq(budget_used(&b), 7 * MIB);
	budget_init(&b, MIB);
	ck_assert_int_eq(walk(batch, 64 * MIB, &b, &n), ERR_TOO_LARGE);
	ck_assert_uint_eq(budget_used(&b), 0);
	budget_init(&b, 0);
	ck_assert_int_eq(walk(batch, 64 * MIB, &b, &n), ERR_TOO_LARGE);
	batch_free(batch);
	str_fini(&s);
}
END_TEST

START_TEST(what_is_not_packed_needs_no_budget)
{
	struct budget b;
	int32_t n;
	budget_init(&b, 0);
	ck_assert_int_eq(walk(span_of(goldens[0].p, goldens[0].n), MIB, &b, &n), ERR_EOF);
	ck_assert_int_eq(n, GOLDEN_RECORDS);
}
END_TEST

/* A record that says it has 1 GiB, in a stream of a few octets. */
START_TEST(length_that_lies_costs_no_memory)
{
	struct str s = {.max = 0};
	struct budget b;
	int32_t n;
	put_varlong(&s, 1 << 30);
	str_add(&s, "abc");
	struct span batch = make_batch((enum records_codec)_i, span_in(&s), 1);
	budget_init(&b, MIB);
	ck_assert_int_eq(walk(batch, RECORDS_INFLATED_MAX, &b, &n), ERR_DECODE);
	batch_free(batch);
	str_fini(&s);
}
END_TEST

START_TEST(memory_that_is_short_is_told_and_nothing_leaks)
{
	struct str s = {.max = MIB};
	int32_t n;
	put_records(&s, 3, 200000);
	struct span batch = make_batch((enum records_codec)_i, span_in(&s), 3);
	bool fired = true;
	for (long k = 1; fired; k++) {
		struct budget b;
		budget_init(&b, 64 * MIB);
		mem_fault_at(k);
		enum err e = walk(batch, 64 * MIB, &b, &n);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_EOF);
		ck_assert_uint_eq(budget_used(&b), 0);
	}
	batch_free(batch);
	str_fini(&s);
}
END_TEST

Suite *records_iter_suite(void)
{
	Suite *s = suite_create("records_iter");
	TCase *t = tcase_create("walk");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, batches_of_other_programs_are_walked, 0, (int)n_goldens);
	tcase_add_loop_test(t, every_codec_gives_the_same_records, 0, 7);
	tcase_add_test(t, log_append_time_is_the_time_of_all);
	tcase_add_loop_test(t, damage_is_told, 0, (int)n_goldens);
	tcase_add_loop_test(t, unpacked_bytes_are_bounded, 0, (int)n_goldens);
	tcase_add_loop_test(t, memory_comes_from_the_budget_and_goes_back, 1, CODECS);
	tcase_add_test(t, what_is_not_packed_needs_no_budget);
	tcase_add_loop_test(t, length_that_lies_costs_no_memory, 1, CODECS);
	tcase_add_loop_test(t, memory_that_is_short_is_told_and_nothing_leaks, 0, CODECS);
	suite_add_tcase(s, t);
	return s;
}
